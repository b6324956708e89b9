//! CLIENTE DEL NODO: `buscar_en_peers` y `descargar_archivo`, como en la guía.
//!
//! La guía pregunta a los peers uno tras otro y cada uno que calla cuesta sus dos segundos; aquí se
//! pregunta a todos a la vez. Y descarga sin saber cuánto ni si llegó bien; aquí sólo se hace así
//! con quien no sabe otra cosa. Las demás preguntas están en `palabras/pedir.rs`. No escribe en
//! pantalla.

use std::net::SocketAddr;
use std::time::Instant;

use log::debug;

use crate::consola::preguntar_a_todos;
use crate::fallo::Fallo;
use crate::nodo::descarga::director::Obtenido;
use crate::nodo::descarga::pedido::{Descargado, NoDescargado, Pedido};
use crate::nodo::descarga::por_bloques;
use crate::nodo::descarga::sin_comprobar::bajar_como_la_guia;
use crate::nodo::palabras::protocolo::Palabra;
use crate::nodo::vecinos::Vecinos;
use crate::red::conexion::FalloRed;

/// Qué peers tienen un archivo, en el orden de la lista: la función de la guía. Da cada uno a
/// `al_encontrar` según contesta, y avisa de con quién no casa la clave. Uno mismo no está en la
/// lista.
pub fn buscar_en_peers(
    vecinos: &Vecinos,
    nombre: &str,
    al_encontrar: &(dyn Fn(SocketAddr) + Sync),
    avisar: &(dyn Fn(String) + Sync),
) -> Result<Vec<SocketAddr>, Fallo> {
    let peers = &vecinos.peers;
    let mut tienen = vec![false; peers.len()];
    let pregunta = |peer| lo_tiene(vecinos, peer, nombre, avisar);
    preguntar_a_todos(peers, pregunta, |respuestas| {
        for (lugar, _) in respuestas.iter().filter(|(_, tiene)| *tiene) {
            al_encontrar(peers[lugar]);
            tienen[lugar] = true;
        }
    })?;
    let disponibles = peers.iter().zip(tienen).filter(|(_, tiene)| *tiene);
    Ok(disponibles.map(|(peer, _)| *peer).collect())
}

/// ¿Tiene `peer` el archivo? Con la palabra de la guía, que entienden todos, y en menos de
/// `--espera`.
fn lo_tiene(vecinos: &Vecinos, peer: SocketAddr, nombre: &str, avisar: &dyn Fn(String)) -> bool {
    let respuesta = preguntar_a_uno(vecinos, peer, nombre);
    respuesta.unwrap_or_else(|fallo| {
        debug!("{peer} no contesta a la búsqueda: {fallo}");
        fallo.de_clave(peer).into_iter().for_each(avisar);
        false
    })
}

fn preguntar_a_uno(vecinos: &Vecinos, peer: SocketAddr, nombre: &str) -> Result<bool, FalloRed> {
    let limite = Instant::now() + vecinos.espera;
    let mut conexion = vecinos.conectar(peer, &vecinos.limites)?;
    // Un nodo de la guía lee la petición de una vez: un solo `write`, sin fin de línea.
    conexion.escribir_texto(&Palabra::Buscar(nombre.to_string()).to_string())?;
    while conexion.pendiente().len() < 2 {
        if conexion.recibir(limite, "la respuesta")? == 0 {
            return Err(FalloRed::Cerrada);
        }
    }
    let respuesta = String::from_utf8_lossy(conexion.pendiente()).into_owned();
    conexion.anotar(respuesta.trim_end(), respuesta.len());
    Ok(respuesta.starts_with("SI"))
}

/// Baja un archivo de las `fuentes`: la función de la guía, que reanuda, reparte y nunca pisa.
pub fn descargar_archivo(
    fuentes: &[SocketAddr],
    pedido: &Pedido,
) -> Result<Descargado, NoDescargado> {
    // Primero, de todos los que dan huellas: por bloques, cada uno comprobado al llegar.
    let de_la_guia = match por_bloques(fuentes, pedido)? {
        Obtenido::Comprobado(descargado) => return Ok(descargado),
        Obtenido::SoloLaGuia(peers) => peers,
    };
    // Si no hay ninguno, como la guía: `DESCARGAR` y lo que llegue hasta el cierre, de uno solo.
    let mut ultimo = NoDescargado::NoEncontrado;
    for peer in de_la_guia {
        match bajar_como_la_guia(peer, pedido) {
            Err(NoDescargado::NoEncontrado) => {}
            Err(NoDescargado::Fallo(fallo)) => {
                (pedido.avisar)(format!("[FUENTE RETIRADA] {peer}: {fallo}"));
                ultimo = NoDescargado::Fallo(fallo);
            }
            descargado => return descargado,
        }
    }
    Err(ultimo)
}
