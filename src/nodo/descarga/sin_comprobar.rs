//! Bajar de un nodo de la guía, el último recurso: sin longitud ni huella no hay con qué comprobar lo recibido.
//!
//! Se pide con `DESCARGAR`, en un solo `write` y sin fin de línea, y se guarda según llega en el `.part`. Si la conexión
//! se corta con un error se sabe; si el otro cierra antes de tiempo con un final normal, no hay manera de notarlo: por
//! eso se avisa siempre.

use std::net::SocketAddr;
use std::time::Instant;

use crate::consola::progreso::Fase;
use crate::fallo::Fallo;
use crate::nodo::carpeta::a_medias::AMedias;
use crate::nodo::carpeta::nombres::NombreRecibible;
use crate::nodo::descarga::pedido::{Descargado, NoDescargado, Pedido};
use crate::nodo::palabras::pedir::FalloPar;
use crate::nodo::palabras::protocolo::Palabra;
use crate::red::conexion::Conexion;

/// Bytes que se reciben de una vez.
const TROZO: usize = 256 * 1024;

/// Baja un archivo de `peer` con la palabra de la guía.
///
/// # Errores
/// No lo tiene, se canceló o no se pudo.
pub fn bajar_como_la_guia(peer: SocketAddr, pedido: &Pedido) -> Result<Descargado, NoDescargado> {
    let empezo = Instant::now();
    let nombre = &NombreRecibible::nuevo(pedido.nombre)
        .map_err(|malo| Fallo::nuevo(format!("no se puede guardar «{}»: {malo}", pedido.nombre)))?;
    let del_par = |fallo: FalloPar| Fallo::nuevo(fallo.to_string());
    let limites = pedido.limites;
    let pedida = Conexion::conectar(peer, limites.conectar, limites, pedido.parada)
        .map_err(FalloPar::from)
        .and_then(|mut conexion| {
            pedir_a_la_guia(&mut conexion, pedido.nombre)?;
            Ok(conexion)
        });
    if pedido.parada.avisada() {
        return Err(NoDescargado::Cancelado);
    }
    let mut conexion = pedida.map_err(|fallo| match fallo {
        FalloPar::NoLoTiene => NoDescargado::NoEncontrado,
        otro => del_par(otro).into(),
    })?;
    (pedido.avisar)(format!(
        "[SIN COMPROBAR] {peer} es un nodo de la guía: no dice la longitud ni la huella de {nombre}, así que no se puede comprobar"
    ));
    let a_medias = pedido.carpeta.empezar_sin_comprobar(nombre)?;
    let tamano = recibir_hasta_el_cierre(&mut conexion, &a_medias, pedido)?;
    if tamano == 0 {
        (pedido.avisar)(format!(
            "{nombre} llegó vacío: puede que lo esté, o que se cortara"
        ));
    }
    guardar(&a_medias, nombre, tamano, pedido, empezo)
}

/// Manda `DESCARGAR` y lee los dos bytes que deciden: `OK`, o `NO` de `NOFILE`. Lo que siga a `OK` ya son datos.
fn pedir_a_la_guia(conexion: &mut Conexion, nombre: &str) -> Result<(), FalloPar> {
    conexion.escribir_texto(&Palabra::Descargar(nombre.to_string()).to_string())?;
    let limite = Instant::now() + conexion.limites().respuesta;
    while conexion.pendiente().len() < 2 {
        if conexion.recibir(limite, "la respuesta")? == 0 {
            return Err(FalloPar::Cerro);
        }
    }
    let respuesta = [conexion.pendiente()[0], conexion.pendiente()[1]];
    conexion.consumir(2);
    match &respuesta {
        b"OK" => Ok(()),
        b"NO" => Err(FalloPar::NoLoTiene),
        _ => Err(FalloPar::Miente(
            "contestó algo que no es del protocolo".into(),
        )),
    }
}

/// Guarda lo que llega hasta que el otro cierre. Escribe encima de lo que hubiera en el `.part` y al acabar corta lo que
/// sobre: nunca queda una mezcla. Devuelve cuántos bytes llegaron.
fn recibir_hasta_el_cierre(
    conexion: &mut Conexion,
    a_medias: &AMedias,
    pedido: &Pedido,
) -> Result<u64, NoDescargado> {
    let mut bufer = vec![0; TROZO];
    let mut recibidos = 0;
    pedido.progreso.empezar(Fase::Pasando, 0, 0);
    pedido.progreso.fuentes(1);
    loop {
        let leido = conexion.leer_datos(&mut bufer, pedido.limites.respuesta);
        if pedido.parada.avisada() {
            return Err(NoDescargado::Cancelado);
        }
        match leido {
            Ok(0) => return Ok(recibidos),
            Ok(cuantos) => {
                a_medias.escribir_en(recibidos, &bufer[..cuantos])?;
                recibidos += cuantos as u64;
                pedido.progreso.sumar(cuantos as u64);
            }
            Err(fallo) => {
                return Err(Fallo::nuevo(format!(
                    "{fallo}, con {recibidos} bytes recibidos; de un nodo de la guía no se puede seguir por donde iba"
                ))
                .into());
            }
        }
    }
}

/// Le da su nombre, salvo que ya lo tuviéramos: eso sólo se puede saber ahora, con el archivo entero.
fn guardar(
    a_medias: &AMedias,
    nombre: &NombreRecibible,
    tamano: u64,
    pedido: &Pedido,
    empezo: Instant,
) -> Result<Descargado, NoDescargado> {
    pedido.progreso.empezar(Fase::Guardando, tamano, tamano);
    let que = |e: &std::io::Error| Fallo::de_sistema(format!("leyendo lo recibido de {nombre}"), e);
    let resumen = a_medias.resumir(pedido.parada).map_err(|e| que(&e));
    let ya = resumen.as_ref().ok().and_then(|r| {
        let (carpeta, parada) = (pedido.carpeta, pedido.parada);
        carpeta.copia_igual(nombre, tamano, r.huella, parada)
    });
    if pedido.parada.avisada() {
        return Err(NoDescargado::Cancelado);
    }
    let resumen = resumen?;
    let ya_estaba = ya.is_some();
    let nombre = match ya {
        Some(ya) => {
            a_medias.descartar();
            ya
        }
        None => a_medias.terminar(tamano)?,
    };
    let (bajados, fuentes, comprobado) = (tamano, 1, false);
    let (tiempo, huella) = (empezo.elapsed(), resumen.huella);
    Ok(Descargado {
        nombre,
        tamano,
        bajados,
        tiempo,
        fuentes,
        huella,
        comprobado,
        ya_estaba,
    })
}
