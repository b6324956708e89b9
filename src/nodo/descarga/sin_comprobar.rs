//! Bajar de quien no da huella: sin ella no hay con qué comprobar lo recibido.
//!
//! Es el bucle de recibir de la guía: `DESCARGAR`, en un solo `write` y sin fin de línea, y se
//! guarda lo que llegue hasta el cierre, en un archivo a medias aparte que si algo falla se borra.
//! Si la conexión se corta con un error se sabe; si el otro cierra antes de tiempo con un final
//! normal, no hay manera de notarlo: por eso se avisa siempre. El mismo bucle guarda lo que dan los
//! que no hablan nada de esto (`ajenas.rs`).

use std::net::SocketAddr;
use std::time::Instant;

use crate::consola::progreso::Fase;
use crate::fallo::Fallo;
use crate::nodo::carpeta::a_medias::AMedias;
use crate::nodo::carpeta::huella::Resumen;
use crate::nodo::carpeta::huellas::resumir;
use crate::nodo::carpeta::nombres::NombreRecibible;
use crate::nodo::descarga::linea::Ritmo;
use crate::nodo::descarga::pedido::{Descargado, NoDescargado, Pedido};
use crate::nodo::descarga::plan::{Contenido, Destino, dar_nombre};
use crate::nodo::palabras::pedir::{FalloPar, no_es_respuesta};
use crate::nodo::palabras::protocolo::Palabra;
use crate::red::conexion::{Conexion, FalloRed};

/// Bytes que se reciben de una vez.
const TROZO: usize = 256 * 1024;

/// Baja un archivo de `peer` con la palabra de la guía.
pub fn bajar_como_la_guia(peer: SocketAddr, pedido: &Pedido) -> Result<Descargado, NoDescargado> {
    let empezo = Instant::now();
    let nombre = &Destino::nuevo(pedido.nombre, false)?.nombre;
    let pedida = pedir_a_la_guia(peer, pedido);
    if pedido.parada.avisada() {
        return Err(NoDescargado::Cancelado);
    }
    let mut conexion = pedida.map_err(|fallo| match fallo {
        FalloPar::NoLoTiene => NoDescargado::NoEncontrado,
        otro => Fallo::nuevo(otro.to_string()).into(),
    })?;
    (pedido.avisar)(format!(
        "[SIN COMPROBAR] {peer} es un nodo de la guía: no dice la longitud ni la huella de \
         {nombre}, así que no se puede comprobar"
    ));
    let plazo = pedido.limites.respuesta;
    let llega = |destino: &mut [u8]| conexion.leer_datos(destino, plazo);
    guardar_sin_comprobar(nombre, None, empezo, pedido, llega)
}

/// Guarda con ese `nombre` lo que dé `llega` hasta que dé 0, y cuenta su huella: es la de lo que
/// llegó, y nadie dice que sea la buena. Si falla, lo recibido se borra.
pub fn guardar_sin_comprobar(
    nombre: &NombreRecibible,
    anunciados: Option<u64>,
    empezo: Instant,
    pedido: &Pedido,
    llega: impl FnMut(&mut [u8]) -> Result<usize, FalloRed>,
) -> Result<Descargado, NoDescargado> {
    let a_medias = pedido.carpeta.empezar_sin_comprobar(nombre)?;
    pedido
        .progreso
        .empezar(Fase::Pasando, anunciados.unwrap_or(0), 0);
    let tamano = recibir_hasta_el_final(&a_medias, pedido, llega)?;
    let bajando = empezo.elapsed();
    if tamano == 0 && anunciados != Some(0) {
        let frase = format!("{nombre} llegó vacío: puede que lo esté, o que se cortara");
        (pedido.avisar)(frase);
    }
    let leyendo = |e| Fallo::de_sistema(format!("leyendo lo recibido de {nombre}"), &e);
    let Resumen { huella, .. } = resumir(&a_medias.abierto()?, pedido.parada).map_err(leyendo)?;
    let (nombre, ya_estaba) = dar_nombre(&a_medias, nombre, Contenido { tamano, huella }, pedido)?;
    Ok(Descargado {
        nombre,
        tamano,
        bajados: tamano,
        bajando,
        tiempo: empezo.elapsed(),
        fuentes: 1,
        huella,
        comprobado: false,
        ya_estaba,
    })
}

/// Manda `DESCARGAR` y lee los dos bytes que deciden: `OK`, o `NO` de `NOFILE`. Lo que siga a `OK`
/// ya son datos.
fn pedir_a_la_guia(peer: SocketAddr, pedido: &Pedido) -> Result<Conexion, FalloPar> {
    let limites = pedido.limites;
    if limites.clave.is_some() {
        return Err(FalloRed::SinClave.into());
    }
    let mut conexion = Conexion::conectar(peer, limites.conectar, limites, pedido.parada)?;
    conexion.escribir_texto(&Palabra::Descargar(pedido.nombre.to_string()).to_string())?;
    let limite = Instant::now() + limites.respuesta;
    while conexion.pendiente().len() < 2 {
        if conexion.recibir(limite, "la respuesta")? == 0 {
            return Err(FalloPar::Cerro);
        }
    }
    let respuesta = [conexion.pendiente()[0], conexion.pendiente()[1]];
    let entera = match &respuesta {
        b"OK" => &respuesta,
        _ => conexion.pendiente(),
    };
    let (entera, largo) = (String::from_utf8_lossy(entera).into_owned(), entera.len());
    conexion.anotar(&entera, largo);
    conexion.consumir(2);
    match &respuesta {
        b"OK" => Ok(conexion),
        b"NO" => Err(FalloPar::NoLoTiene),
        _ => Err(no_es_respuesta()),
    }
}

/// Guarda lo que llega hasta el final. Devuelve cuántos bytes llegaron.
fn recibir_hasta_el_final(
    a_medias: &AMedias,
    pedido: &Pedido,
    mut llega: impl FnMut(&mut [u8]) -> Result<usize, FalloRed>,
) -> Result<u64, NoDescargado> {
    let mut bufer = vec![0; TROZO];
    let mut recibidos = 0;
    let mut ritmo = Ritmo::nuevo(pedido.limites.ventana);
    pedido.progreso.fuentes(1);
    loop {
        let leido = llega(&mut bufer);
        if pedido.parada.avisada() {
            return Err(NoDescargado::Cancelado);
        }
        let leido = leido.map_err(FalloPar::from).and_then(|cuantos| {
            let a_tiempo = cuantos == 0 || ritmo.mirar(recibidos + cuantos as u64).is_ok();
            a_tiempo.then_some(cuantos).ok_or(FalloPar::Lento)
        });
        match leido {
            Ok(0) => return Ok(recibidos),
            Ok(cuantos) => {
                a_medias.escribir_en(recibidos, &bufer[..cuantos])?;
                recibidos += cuantos as u64;
                pedido.progreso.sumar(cuantos as u64);
            }
            Err(fallo) => {
                return Err(Fallo::nuevo(format!(
                    "{fallo}, con {recibidos} bytes recibidos; de quien no da la huella no se \
                     puede seguir por donde iba"
                ))
                .into());
            }
        }
    }
}
