//! Los defectos de quien sirve: se ven llamándolo a mano, sin ningún nodo delante.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::fallo::Fallo;
use crate::guia;
use crate::laboratorio::demostrar::banco::{
    Banco, Lanzado, NOMBRE, PACIENCIA, Quien, dejar, leer_todo,
};
use crate::laboratorio::demostrar::medida::{Contado, Medida};
use crate::red::conexion::{Conexion, FalloRed};
use crate::texto::tamano;

/// Un archivo que no cabe en los búferes de una conexión: mandarlo lleva su tiempo.
const GRANDE: u64 = 32 << 20;

/// Una carpeta con uno de esos: todo ceros, que no ocupan disco.
fn carpeta_con_uno_grande(banco: &Banco) -> Result<PathBuf, Fallo> {
    let carpeta = banco.carpeta()?;
    let creado = File::create(carpeta.join(NOMBRE)).and_then(|f| f.set_len(GRANDE));
    creado.map_err(|e| Fallo::de_sistema(format!("creando {NOMBRE}"), &e))?;
    Ok(carpeta)
}

fn hablar(conexion: &mut Conexion, texto: &str) -> Result<(), Fallo> {
    let dicho = conexion.escribir_texto(texto);
    dicho.map_err(|fallo| Fallo::nuevo(format!("hablando con {}: {fallo}", conexion.otro())))
}

/// Lo que llegó antes de `limite` se lee aunque a esta conexión le toque el turno después.
fn recibir(conexion: &mut Conexion, limite: Instant) -> Result<usize, FalloRed> {
    let su_turno = Instant::now() + Duration::from_millis(10);
    conexion.recibir(limite.max(su_turno), "algo")
}

/// ¿Llegan `cuantos` bytes antes de `limite`?
fn llegan(conexion: &mut Conexion, cuantos: usize, limite: Instant) -> bool {
    while conexion.pendiente().len() < cuantos {
        if !matches!(recibir(conexion, limite), Ok(1..)) {
            return false;
        }
    }
    true
}

// ----- 1. No hay manera de terminar -----

const ENVIOS: usize = 4;

pub fn no_hay_manera_de_terminar(banco: &Banco) -> Result<Medida, Fallo> {
    let (ingenuo, cortados) = salir_con_envios(banco, Quien::Ingenuo)?;
    let (nodo, _) = salir_con_envios(banco, Quien::Nodo)?;
    let mas = cortados.iter().map(|llegado| llegado.bytes).max();
    let normales = cortados.iter().filter(|llegado| llegado.acabo_bien).count();
    let visto = format!(
        "«3. Salir» con {ENVIOS} envíos a medias: el proceso de la guía muere y se los lleva. El \
         que más recibió tiene {} de {}, y a {normales} les parece un final normal. El nodo deja \
         de aceptar, acaba lo que está mandando (hasta 5 s) y entonces sale.",
        tamano(mas.unwrap_or(GRANDE)),
        tamano(GRANDE),
    );
    Ok(Medida {
        ingenuo,
        nodo,
        visto,
    })
}

/// Cuántos envíos en curso se cortan al salir, y cómo quedaron.
fn salir_con_envios(banco: &Banco, quien: Quien) -> Result<(Contado, Vec<Llegado>), Fallo> {
    let carpeta = carpeta_con_uno_grande(banco)?;
    let (mut proceso, direccion) = banco.servidor(quien, &carpeta)?;
    let mut clientes = Vec::new();
    for _ in 0..ENVIOS {
        let mut cliente = banco.llamar(direccion)?;
        hablar(&mut cliente, &format!("DESCARGAR:{NOMBRE}"))?;
        llegan(&mut cliente, 3, Instant::now() + PACIENCIA);
        clientes.push(cliente);
    }
    proceso.escribir("3");
    proceso.esperar(&[guia::SALIENDO])?;
    let mut cortados: Vec<Llegado> = clientes.iter_mut().map(recibir_el_archivo).collect();
    cortados.retain(|llegado| llegado.bytes < GRANDE);
    Ok((Contado::Veces(cortados.len(), ENVIOS), cortados))
}

/// Lo que llegó de un archivo, y si la conexión acabó sin error.
struct Llegado {
    bytes: u64,
    acabo_bien: bool,
}

/// Recibe hasta el cierre como la guía: `OK`, y lo demás son datos.
fn recibir_el_archivo(cliente: &mut Conexion) -> Llegado {
    let mut trozo = vec![0; 64 * 1024];
    let mut bytes = 0;
    let fin = loop {
        match cliente.leer_datos(&mut trozo, PACIENCIA) {
            Ok(leido @ 1..) => bytes += leido as u64,
            fin => break fin,
        }
    };
    Llegado {
        bytes: bytes.saturating_sub(2),
        acabo_bien: fin.is_ok(),
    }
}

// ----- 3. Hilos sin tope -----

const LLEGAN: usize = 24;
const TOPE: usize = 8;

pub fn hilos_sin_tope(banco: &Banco) -> Result<Medida, Fallo> {
    let (a_la_vez_en_la_guia, _) = atendidas_a_la_vez(banco, Quien::Ingenuo)?;
    let (a_la_vez_en_el_nodo, despues) = atendidas_a_la_vez(banco, Quien::Nodo)?;
    let de_mas = |atendidas: usize| Contado::Veces(atendidas.saturating_sub(TOPE), LLEGAN);
    Ok(Medida {
        ingenuo: de_mas(a_la_vez_en_la_guia),
        nodo: de_mas(a_la_vez_en_el_nodo),
        visto: format!(
            "De {LLEGAN} descargas a la vez que nadie lee, la guía atiende {a_la_vez_en_la_guia}, \
             con un hilo cada una: con bastantes, no caben más. El nodo, con --max-conexiones \
             {TOPE}, atiende {a_la_vez_en_el_nodo} y las demás esperan su turno; al irse las \
             primeras entraron {despues} más."
        ),
    })
}

/// A cuántas se contesta a la vez, y a cuántas más al irse esas.
fn atendidas_a_la_vez(banco: &Banco, quien: Quien) -> Result<(usize, usize), Fallo> {
    let carpeta = carpeta_con_uno_grande(banco)?;
    let tope = TOPE.to_string();
    let otras: &[&str] = match quien {
        Quien::Ingenuo => &[],
        Quien::Nodo => &["--max-conexiones", &tope],
    };
    let mut proceso = banco.lanzar(quien, &carpeta, 0, &[], otras)?;
    let direccion = proceso.donde_escucha()?;
    let mut sin_atender = Vec::new();
    for _ in 0..LLEGAN {
        let mut cliente = banco.llamar(direccion)?;
        hablar(&mut cliente, &format!("DESCARGAR:{NOMBRE}"))?;
        sin_atender.push(cliente);
    }
    let mut tandas = Vec::new();
    for _ in 0..2 {
        let limite = Instant::now() + Duration::from_secs(1);
        let habia = sin_atender.len();
        // A las atendidas se las suelta al acabar la tanda, todas juntas.
        let mut atendidas = Vec::new();
        let mira = |mut cliente| match llegan(&mut cliente, 2, limite) {
            true => {
                atendidas.push(cliente);
                None
            }
            false => Some(cliente),
        };
        sin_atender = sin_atender.into_iter().filter_map(mira).collect();
        tandas.push(habia - sin_atender.len());
        banco.pausa(Duration::ZERO)?;
    }
    Ok((tandas[0], tandas[1]))
}

// ----- 4. Un cliente mudo -----

const MUDOS: usize = 12;
/// El nodo da 10 s para decir qué se quiere.
const RATO: Duration = Duration::from_millis(11_500);

pub fn un_cliente_mudo(banco: &Banco) -> Result<Medida, Fallo> {
    let mut ingenuo = llenar_de_mudos(banco, Quien::Ingenuo)?;
    let mut nodo = llenar_de_mudos(banco, Quien::Nodo)?;
    // Los dos a la vez, que la espera es larga.
    let limite = Instant::now() + RATO;
    let del_nodo = siguen_dentro(&mut nodo.1, limite);
    let de_la_guia = siguen_dentro(&mut ingenuo.1, limite);
    banco.pausa(Duration::ZERO)?;
    Ok(Medida {
        ingenuo: Contado::Veces(de_la_guia, MUDOS),
        nodo: Contado::Veces(del_nodo, MUDOS),
        visto: format!(
            "{MUDOS} clientes se conectan y no dicen nada. A los 11,5 s la guía sigue esperando a \
             {de_la_guia}, cada uno con su hilo, y no tiene cuándo dejarlo. El nodo da 10 s para \
             que llegue la petición: le quedan {del_nodo}."
        ),
    })
}

fn llenar_de_mudos(banco: &Banco, quien: Quien) -> Result<(Lanzado, Vec<Conexion>), Fallo> {
    let (proceso, direccion) = banco.servidor(quien, &banco.carpeta()?)?;
    let mudos = (0..MUDOS)
        .map(|_| banco.llamar(direccion))
        .collect::<Result<_, _>>()?;
    Ok((proceso, mudos))
}

/// A cuántos no se les ha cerrado en `limite`.
fn siguen_dentro(mudos: &mut [Conexion], limite: Instant) -> usize {
    let mudos = mudos.iter_mut().map(|mudo| recibir(mudo, limite));
    mudos
        .filter(|fin| matches!(fin, Err(FalloRed::Vencio(_))))
        .count()
}

// ----- 5. Una petición partida -----

const PARTIDAS: usize = 20;
/// Entre las dos mitades: lo que tarda en llegar otro paquete.
const ENTRE_PAQUETES: Duration = Duration::from_millis(5);
/// Si esta máquina tardó más, no se probó lo que se quería.
const DEMASIADO: Duration = Duration::from_millis(15);

pub fn una_peticion_partida(banco: &Banco) -> Result<Medida, Fallo> {
    let ingenuo = pedir_en_dos_paquetes(banco, Quien::Ingenuo)?;
    let nodo = pedir_en_dos_paquetes(banco, Quien::Nodo)?;
    let visto = format!(
        "El archivo está, pero «BUSCAR:{NOMBRE}» llega en dos paquetes: «BUSCAR:fo» y, 5 ms \
         después, «to.bin». La guía busca «fo» y dice NO. El nodo, si no lo tiene con ese nombre, \
         espera 20 ms por si falta algo."
    );
    Ok(Medida {
        ingenuo,
        nodo,
        visto,
    })
}

fn pedir_en_dos_paquetes(banco: &Banco, quien: Quien) -> Result<Contado, Fallo> {
    let carpeta = banco.carpeta_con(b"aqui esta")?;
    let (_proceso, direccion) = banco.servidor(quien, &carpeta)?;
    let (mut probadas, mut negadas) = (0, 0);
    for _ in 0..2 * PARTIDAS {
        if probadas == PARTIDAS {
            break;
        }
        let mut cliente = banco.llamar(direccion)?;
        hablar(&mut cliente, "BUSCAR:fo")?;
        let antes = Instant::now();
        banco.pausa(ENTRE_PAQUETES)?;
        // A quien ya contestó y cerró no se le puede decir nada más; lo que dijo está por leer.
        let _ = cliente.escribir_texto("to.bin");
        if antes.elapsed() < DEMASIADO {
            probadas += 1;
            negadas += usize::from(leer_todo(&mut cliente) != b"SI");
        }
    }
    Ok(Contado::Veces(negadas, probadas))
}

// ----- 6. Salir de la carpeta -----

const SECRETO: &str = "esto no lo comparte nadie";

pub fn salir_de_la_carpeta(banco: &Banco) -> Result<Medida, Fallo> {
    let ingenuo = pedir_lo_de_fuera(banco, Quien::Ingenuo)?;
    let nodo = pedir_lo_de_fuera(banco, Quien::Nodo)?;
    let visto = format!(
        "Al lado de la carpeta compartida hay un secreto.txt. Se pide con ../, con ./../ y con su \
         ruta entera. La guía lo manda en {ingenuo}; así se le puede pedir cualquier archivo de \
         la máquina. El nodo sólo abre lo que está dentro."
    );
    Ok(Medida {
        ingenuo,
        nodo,
        visto,
    })
}

/// De cuántas maneras se consigue un archivo que no está en la carpeta.
fn pedir_lo_de_fuera(banco: &Banco, quien: Quien) -> Result<Contado, Fallo> {
    let secreto = banco.raiz().join("secreto.txt");
    dejar(&secreto, SECRETO.as_bytes())?;
    let (_proceso, direccion) = banco.servidor(quien, &banco.carpeta()?)?;
    let entera = secreto.display().to_string();
    let maneras = ["../secreto.txt", "./../secreto.txt", &entera];
    let consigue = |manera: &str| -> Result<bool, Fallo> {
        let respuesta = banco.preguntar(direccion, &format!("DESCARGAR:{manera}"))?;
        Ok(respuesta.ends_with(SECRETO.as_bytes()))
    };
    contar(&maneras, consigue)
}

/// Cuántos de los `casos` salen mal.
fn contar(
    casos: &[&str],
    mut mal: impl FnMut(&str) -> Result<bool, Fallo>,
) -> Result<Contado, Fallo> {
    let mut malos = 0;
    for caso in casos {
        malos += usize::from(mal(caso)?);
    }
    Ok(Contado::Veces(malos, casos.len()))
}

// ----- 7. BUSCAR: sin nombre -----

pub fn buscar_sin_nombre(banco: &Banco) -> Result<Medida, Fallo> {
    let (ingenuo, descargado) = buscar_lo_que_no_es_un_archivo(banco, Quien::Ingenuo)?;
    let (nodo, _) = buscar_lo_que_no_es_un_archivo(banco, Quien::Nodo)?;
    let visto = format!(
        "Se busca «», «.», «..» y una subcarpeta. Para la guía existe todo lo que tenga ruta, y \
         la de «» es la carpeta misma. Y si se descarga «», contesta «{descargado}» y nada más. \
         El nodo dice SI sólo de un archivo que puede abrir."
    );
    Ok(Medida {
        ingenuo,
        nodo,
        visto,
    })
}

/// A cuántos nombres que no son de un archivo dice SI, y qué contesta si se descarga el vacío.
fn buscar_lo_que_no_es_un_archivo(banco: &Banco, quien: Quien) -> Result<(Contado, String), Fallo> {
    let carpeta = banco.carpeta()?;
    let creada = fs::create_dir(carpeta.join("apuntes"));
    creada.map_err(|e| Fallo::de_sistema("creando una subcarpeta", &e))?;
    let (_proceso, direccion): (Lanzado, SocketAddr) = banco.servidor(quien, &carpeta)?;
    let dice_si = |nombre: &str| {
        let respuesta = banco.preguntar(direccion, &format!("BUSCAR:{nombre}"))?;
        Ok(respuesta == b"SI")
    };
    let dichos = contar(&["", ".", "..", "apuntes"], dice_si)?;
    let descargado = banco.preguntar(direccion, "DESCARGAR:")?;
    Ok((dichos, String::from_utf8_lossy(&descargado).into_owned()))
}
