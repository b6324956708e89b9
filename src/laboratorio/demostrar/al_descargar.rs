//! Los defectos de quien descarga. Se teclea lo mismo en el menú de los dos nodos, y se mira qué
//! queda en la carpeta.
//!
//! Menos donde se mide justo eso, quien sirve es siempre el nodo de verdad: así no se mezcla el
//! defecto del `OK` pegado a los datos.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::fallo::Fallo;
use crate::laboratorio::demostrar::banco::{Banco, Desenlace, Lanzado, NOMBRE, Quien, dejar};
use crate::laboratorio::demostrar::medida::{Contado, Medida};
use crate::laboratorio::demostrar::trampas::{Trampa, Travesura};
use crate::texto::{cuenta, tamano};

/// Cuántas veces se repite lo que no depende de la suerte.
const VECES: usize = 5;

/// `tamano` bytes que no son todos iguales.
fn datos(tamano: usize) -> Vec<u8> {
    (0..tamano).map(|n| (n % 251) as u8).collect()
}

/// Lo que hay con ese nombre, si hay algo.
fn lo_que_hay(carpeta: &Path) -> Option<Vec<u8>> {
    fs::read(carpeta.join(NOMBRE)).ok()
}

/// Quita el archivo para descargarlo otra vez. Si no está, mejor.
fn quitar(carpeta: &Path) {
    let _ = fs::remove_file(carpeta.join(NOMBRE));
}

/// Un nodo de verdad que sirve `contenido`.
fn quien_lo_tiene(banco: &Banco, contenido: &[u8]) -> Result<(Lanzado, SocketAddr), Fallo> {
    banco.servidor(Quien::Nodo, &banco.carpeta_con(contenido)?)
}

// ----- 9. Descargarse de uno mismo -----

/// También es una carrera: se repite hasta verlo estas veces, o hasta cansarse.
const BASTANTES: usize = 4;
const DEMASIADAS: usize = 100;
/// Una máquina lenta hace las que le dé tiempo.
const TIEMPO: Duration = Duration::from_secs(4);
/// Más de lo que cabe en una conexión: al vaciarlo, aún no se ha leído entero.
const QUE_NO_CABE: usize = 16 << 20;

pub fn se_descarga_de_si_mismo(banco: &Banco) -> Result<Medida, Fallo> {
    let contenido = datos(QUE_NO_CABE);
    let guia = pedirse_a_uno_mismo(banco, Quien::Ingenuo, &contenido, DEMASIADAS)?;
    let nodo = pedirse_a_uno_mismo(banco, Quien::Nodo, &contenido, guia.veces)?;
    let mut visto =
        "En la lista de la guía está también uno mismo. Al pedirse su propio archivo lo \
                     vacía para escribir en él, mientras lo está leyendo para mandarlo."
            .to_string();
    if guia.destruidos > 0 {
        let (era, quedo) = (tamano(QUE_NO_CABE as u64), tamano(guia.quedo as u64));
        visto += &format!(" De {era} llegaron a quedar {quedo}.");
    }
    if guia.negados > 0 {
        let veces = cuenta(guia.negados, "vez", "veces");
        visto += &format!(" Y {veces} lo salvó el defecto 12: no entendió su propio OK.");
    }
    visto += " El nodo sabe quién es y no se pregunta.";
    Ok(Medida {
        ingenuo: Contado::Veces(guia.destruidos, guia.veces),
        nodo: Contado::Veces(nodo.destruidos, nodo.veces),
        visto,
    })
}

/// Lo que pasó al pedirse un archivo a uno mismo.
struct DeSiMismo {
    veces: usize,
    destruidos: usize,
    /// Cuántas veces dijo que no estaba.
    negados: usize,
    /// Lo menos que quedó del archivo.
    quedo: usize,
}

fn pedirse_a_uno_mismo(
    banco: &Banco,
    quien: Quien,
    contenido: &[u8],
    como_mucho: usize,
) -> Result<DeSiMismo, Fallo> {
    let carpeta = banco.carpeta_con(contenido)?;
    let mut proceso = conocerse_a_si_mismo(banco, quien, &carpeta)?;
    let limite = Instant::now() + TIEMPO;
    let mut van = DeSiMismo {
        veces: 0,
        destruidos: 0,
        negados: 0,
        quedo: contenido.len(),
    };
    while van.destruidos < BASTANTES && van.veces < como_mucho && Instant::now() < limite {
        let fin = proceso.buscar_y_descargar(NOMBRE)?;
        let queda = lo_que_hay(&carpeta).unwrap_or_default();
        van.veces += 1;
        van.negados += usize::from(fin == Desenlace::NoEncontrado);
        van.quedo = van.quedo.min(queda.len());
        if queda != contenido {
            van.destruidos += 1;
            dejar(&carpeta.join(NOMBRE), contenido)?;
        }
    }
    Ok(van)
}

/// Un nodo que está en su propia lista. Hay que saber su puerto antes de arrancarlo: se pide uno
/// libre, se suelta y, si otro se lo lleva mientras tanto, se prueba con otro.
fn conocerse_a_si_mismo(banco: &Banco, quien: Quien, carpeta: &Path) -> Result<Lanzado, Fallo> {
    let fallo = |e| Fallo::de_sistema("buscando un puerto libre", &e);
    let mut ultimo = Fallo::nuevo("no hay puertos libres");
    for _ in 0..2 {
        let libre = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|l| l.local_addr());
        let yo = libre.map_err(fallo)?;
        let mut proceso = banco.lanzar(quien, carpeta, yo.port(), &[yo], &[])?;
        match proceso.donde_escucha() {
            Ok(_) => return Ok(proceso),
            Err(fallo) => ultimo = fallo,
        }
    }
    Err(ultimo)
}

// ----- 11. Su propio puerto -----

pub fn descarga_de_su_propio_puerto(banco: &Banco) -> Result<Medida, Fallo> {
    let (_sirve, peer) = quien_lo_tiene(banco, &datos(10_000))?;
    let ingenuo = descargar_desde_otro_puerto(banco, Quien::Ingenuo, peer)?;
    let nodo = descargar_desde_otro_puerto(banco, Quien::Nodo, peer)?;
    let visto = format!(
        "Quien lo tiene escucha en el puerto {}, y quien lo pide en otro. La guía lo encuentra \
         ahí, pero al descargar se olvida del puerto y va al suyo: se lo pide a sí misma y dice \
         que no está. El nodo va a donde lo encontró.",
        peer.port()
    );
    Ok(Medida {
        ingenuo,
        nodo,
        visto,
    })
}

fn descargar_desde_otro_puerto(
    banco: &Banco,
    quien: Quien,
    peer: SocketAddr,
) -> Result<Contado, Fallo> {
    let carpeta = banco.carpeta()?;
    let mut proceso = banco.lanzar(quien, &carpeta, 0, &[peer], &[])?;
    let mut perdidas = 0;
    for _ in 0..VECES {
        quitar(&carpeta);
        proceso.buscar_y_descargar(NOMBRE)?;
        perdidas += usize::from(lo_que_hay(&carpeta).is_none());
    }
    Ok(Contado::Veces(perdidas, VECES))
}

// ----- 12. El OK pegado a los datos -----

const DESCARGAS: usize = 60;
/// Contra el nodo cada una lleva 100 ms de pausa: con menos basta para verlo.
const CON_PAUSA: usize = 20;

pub fn el_ok_pegado(banco: &Banco) -> Result<Medida, Fallo> {
    let contenido = datos(20_000);
    let (_sirve, peer) = banco.servidor(Quien::Ingenuo, &banco.carpeta_con(&contenido)?)?;
    let ingenuo = perder_descargas(banco, Quien::Ingenuo, peer, DESCARGAS)?;
    let nodo = perder_descargas(banco, Quien::Nodo, peer, DESCARGAS)?;
    let (_sirve, peer) = quien_lo_tiene(banco, &contenido)?;
    let al_nodo = perder_descargas(banco, Quien::Ingenuo, peer, CON_PAUSA)?;
    let visto = format!(
        "La guía compara su primera lectura con «OK». Si los datos llegan pegados al OK ya no es \
         igual, y dice que el archivo no está. Es una carrera: depende de la máquina y del \
         momento. El nodo mira los dos primeros bytes. Y cuando es él quien sirve espera 100 ms \
         tras el OK: a la guía, cuando le pide a él, se le pierden {al_nodo}."
    );
    Ok(Medida {
        ingenuo,
        nodo,
        visto,
    })
}

/// Cuántas descargas se pierden, de las `veces` que dé tiempo a hacer.
fn perder_descargas(
    banco: &Banco,
    quien: Quien,
    peer: SocketAddr,
    veces: usize,
) -> Result<Contado, Fallo> {
    let carpeta = banco.carpeta()?;
    let mut proceso = banco.cliente(quien, &carpeta, peer)?;
    let limite = Instant::now() + TIEMPO;
    let (mut hechas, mut perdidas) = (0, 0);
    while hechas < veces && Instant::now() < limite {
        quitar(&carpeta);
        proceso.buscar_y_descargar(NOMBRE)?;
        hechas += 1;
        perdidas += usize::from(lo_que_hay(&carpeta).is_none());
    }
    Ok(Contado::Veces(perdidas, hechas))
}

// ----- 13. Pisar -----

pub fn pisa_lo_que_habia(banco: &Banco) -> Result<Medida, Fallo> {
    let (_sirve, peer) = quien_lo_tiene(banco, b"la foto de otro")?;
    let ingenuo = descargar_encima(banco, Quien::Ingenuo, peer)?;
    let nodo = descargar_encima(banco, Quien::Nodo, peer)?;
    let visto = format!(
        "En la carpeta ya hay un {NOMBRE}, distinto del que se descarga. La guía escribe encima: \
         lo que había se pierde sin preguntar. El nodo guarda el nuevo como «foto (1).bin»."
    );
    Ok(Medida {
        ingenuo,
        nodo,
        visto,
    })
}

fn descargar_encima(banco: &Banco, quien: Quien, peer: SocketAddr) -> Result<Contado, Fallo> {
    let mut pisados = 0;
    for _ in 0..VECES {
        let carpeta = banco.carpeta_con(b"la foto que ya tenia")?;
        banco
            .cliente(quien, &carpeta, peer)?
            .buscar_y_descargar(NOMBRE)?;
        pisados += usize::from(lo_que_hay(&carpeta).as_deref() != Some(b"la foto que ya tenia"));
    }
    Ok(Contado::Veces(pisados, VECES))
}

// ----- 14 y 15. Lo que pasa en el camino -----

const FOTO: usize = 300_000;
const AQUI: usize = 100_000;

pub fn un_corte_parece_un_exito(banco: &Banco) -> Result<Medida, Fallo> {
    let (ingenuo, quedo) = descargar_por(banco, Quien::Ingenuo, Travesura::Cortar(AQUI))?;
    let (nodo, _) = descargar_por(banco, Quien::Nodo, Travesura::Cortar(AQUI))?;
    let visto = format!(
        "En medio, un intermediario cierra tras {}. La guía no sabe cuánto tenía que llegar: \
         guarda {} de {} y dice «DESCARGADO». El nodo sabe el tamaño: dice que falló y no da su \
         nombre a lo que no está entero.",
        tamano(AQUI as u64),
        tamano(quedo),
        tamano(FOTO as u64),
    );
    Ok(Medida {
        ingenuo,
        nodo,
        visto,
    })
}

pub fn un_byte_cambiado(banco: &Banco) -> Result<Medida, Fallo> {
    let (ingenuo, _) = descargar_por(banco, Quien::Ingenuo, Travesura::Cambiar(AQUI))?;
    let (nodo, _) = descargar_por(banco, Quien::Nodo, Travesura::Cambiar(AQUI))?;
    let visto = format!(
        "En medio, un intermediario cambia un solo byte de {}. La guía guarda el archivo \
         estropeado y dice «DESCARGADO». El nodo calcula la huella de cada bloque al llegar: no \
         es la suya, lo dice y no lo guarda.",
        tamano(FOTO as u64),
    );
    Ok(Medida {
        ingenuo,
        nodo,
        visto,
    })
}

/// Cuántas descargas por una trampa dejan un archivo malo con el nombre bueno, y lo menos que
/// tenía.
fn descargar_por(
    banco: &Banco,
    quien: Quien,
    travesura: Travesura,
) -> Result<(Contado, u64), Fallo> {
    let contenido = datos(FOTO);
    let (_sirve, peer) = quien_lo_tiene(banco, &contenido)?;
    let trampa = Trampa::poner(peer, travesura)?;
    let (mut malos, mut quedo) = (0, FOTO);
    for _ in 0..VECES {
        let carpeta = banco.carpeta()?;
        banco
            .cliente(quien, &carpeta, trampa.direccion)?
            .buscar_y_descargar(NOMBRE)?;
        let queda = lo_que_hay(&carpeta).filter(|queda| *queda != contenido);
        malos += usize::from(queda.is_some());
        quedo = quedo.min(queda.map_or(FOTO, |queda| queda.len()));
    }
    Ok((Contado::Veces(malos, VECES), quedo as u64))
}
