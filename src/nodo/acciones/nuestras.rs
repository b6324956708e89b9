//! Las opciones 4 a 8 del menú, que la guía no tiene: preguntan lo que falte y llaman a su acción.

use std::path::PathBuf;

use crate::consola::{Consola, Fin, elegir, numerados};
use crate::guia::OPCION_INVALIDA;
use crate::lan::qr;
use crate::nodo::Nodo;
use crate::nodo::acciones;
use crate::nodo::descarga::envio::mirar;
use crate::nodo::palabras::protocolo::Entrada;
use crate::nodo::vecinos::Vecinos;
use crate::texto::{cuenta, tamano};

/// 4. Ver archivos de la red.
pub fn ver_archivos_de_la_red(nodo: &Nodo, consola: &mut Consola) -> Result<(), Fin> {
    acciones::listar_la_red(consola, &nodo.vecinos, |pantalla, peer, entradas| {
        let cuantos = cuenta(entradas.len(), "archivo", "archivos");
        pantalla.linea(format!("{peer}: {cuantos}"));
        entradas.iter().for_each(|e| pantalla.recordar(&e.nombre));
        let linea = |e: &Entrada| format!(" - {} ({})", e.nombre, tamano(e.tamano));
        pantalla.tanda(entradas.iter().map(linea));
    })?;
    Ok(())
}

/// 5. Enviar archivo. Se mira antes de preguntar a quién.
pub fn enviar(nodo: &Nodo, consola: &mut Consola) -> Result<(), Fin> {
    let pregunta = "Archivo que deseas enviar (nombre de la carpeta compartida, o ruta): ";
    let Some(escrito) = consola.preguntar_nombre(pregunta)? else {
        return Ok(());
    };
    // Un nombre es primero el de un archivo de la carpeta; si no está en ella, una ruta cualquiera.
    let ruta = match nodo.carpeta.abrir_archivo(&escrito) {
        Ok(_) => nodo.carpeta.ruta().join(&escrito),
        Err(_) => PathBuf::from(escrito),
    };
    if let Err(fallo) = mirar(&ruta) {
        consola.pantalla.linea(format!("[ERROR AL ENVIAR] {fallo}"));
        return Ok(());
    }
    let Some(peers) = acciones::a_quienes(consola, &nodo.vecinos)? else {
        return Ok(());
    };
    consola.pantalla.linea("Nodos:");
    consola.pantalla.tanda(numerados(&peers));
    let eleccion = consola.preguntar("Selecciona a quién deseas enviarlo (número): ")?;
    match elegir(&eleccion, &peers).as_deref() {
        Some([peer]) => drop(acciones::enviar(consola, &nodo.vecinos, &ruta, *peer)?),
        _ => consola.pantalla.linea(OPCION_INVALIDA),
    }
    Ok(())
}

/// 6. Enviar mensaje, a todos.
pub fn enviar_mensaje(nodo: &Nodo, consola: &mut Consola) -> Result<(), Fin> {
    let texto = consola.preguntar("Mensaje para todos: ")?;
    acciones::mandar_mensaje(consola, &nodo.vecinos, &texto, None)?;
    Ok(())
}

/// 7. Mensajes recibidos.
pub fn ver_mensajes(nodo: &Nodo, consola: &mut Consola) {
    let mensajes = nodo.mensajes();
    if mensajes.is_empty() {
        consola.pantalla.linea("No ha llegado ningún mensaje.");
    }
    let lineas = mensajes.iter().map(ToString::to_string);
    consola.pantalla.tanda(lineas);
}

/// 8. Estado de los nodos, y el de este.
pub fn ver_estado(nodo: &Nodo, consola: &mut Consola) -> Result<(), Fin> {
    let Vecinos { nombre, peers, .. } = &nodo.vecinos;
    let peers: Vec<String> = peers.iter().map(ToString::to_string).collect();
    let a_quienes = match peers.is_empty() {
        true => "nadie".into(),
        false => peers.join(", "),
    };
    consola.pantalla.tanda([
        format!("Este nodo: {nombre} (se cambia con --nombre)"),
        format!("  escucha en {} (--ip, --puerto)", nodo.direccion),
        format!("  comparte {} (--carpeta)", nodo.carpeta.ruta().display()),
        format!("  pregunta a {a_quienes} (--peer, una vez por cada uno)"),
    ]);
    acciones::estado(consola, &nodo.vecinos)?;
    qr::mostrar_si_cabe(nodo.direccion, &nodo.vecinos.peers, &mut consola.pantalla);
    Ok(())
}
