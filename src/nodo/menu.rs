//! Menú principal, como en la guía, con sus textos y sus números; del 4 en adelante, los nuestros.
//!
//! Aquí sólo se pregunta: cada opción llama a su acción (`acciones.rs`), la misma de la línea de órdenes.
//! El hilo principal espera con la [`Consola`]: por eso lo que llega mientras tanto se ve al momento.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::Config;
use crate::consola::{Consola, Fin};
use crate::fallo::{Fallo, Salida};
use crate::nodo::acciones;
use crate::nodo::arranque::EnMarcha;
use crate::nodo::{Nodo, descarga::envio::mirar};
use crate::texto::{cuenta, tamano};

const MENU: [&str; 10] = [
    "",
    "--- MENÚ P2P ---",
    "1. Ver archivos compartidos",
    "2. Buscar y descargar archivo",
    "3. Salir",
    "4. Ver archivos de la red",
    "5. Enviar archivo",
    "6. Enviar mensaje",
    "7. Mensajes recibidos",
    "8. Estado de los nodos",
];

/// Abre el nodo con su menú y no vuelve hasta que se sale.
pub fn abrir(config: &Config, consola: &mut Consola) -> Result<Salida, Fallo> {
    let marcha = EnMarcha::arrancar(config, consola)?;
    consola.pantalla.como_la_guia();
    let fin = loop {
        match una_vuelta(&marcha.nodo, consola) {
            Ok(()) if consola.pantalla.rota() => break Ok(Salida::NoSePudo),
            Ok(()) => {}
            Err(Fin::SeVa(salida)) => break Ok(salida),
            Err(Fin::Fallo(fallo)) => break Err(fallo),
        }
    };
    consola.pantalla.linea("Saliendo...");
    marcha.detener(consola);
    fin
}

/// El nodo sin menú: sirve y cuenta lo que pasa, hasta un Ctrl-C o un SIGTERM.
pub fn servir(config: &Config, consola: &mut Consola) -> Result<Salida, Fallo> {
    let marcha = EnMarcha::arrancar(config, consola)?;
    let salida = consola.mirar();
    marcha.detener(consola);
    Ok(salida)
}

fn una_vuelta(nodo: &Nodo, consola: &mut Consola) -> Result<(), Fin> {
    let quien = format!("{}:{}", nodo.vecinos.nombre, nodo.direccion.port());
    match consola.menu(&MENU, &quien)?.trim() {
        "1" => ver_archivos(nodo, consola),
        "2" => return buscar_y_descargar(nodo, consola),
        "3" => return Err(Fin::SeVa(Salida::Bien)),
        "4" => ver_archivos_de_la_red(nodo, consola)?,
        "5" => return enviar(nodo, consola),
        "6" => {
            let texto = consola.preguntar("Mensaje para todos: ")?;
            acciones::mandar_mensaje(consola, &nodo.vecinos, &texto, None)?;
        }
        "7" => ver_mensajes(nodo, consola),
        "8" => ver_estado(nodo, consola)?,
        _ => consola.pantalla.linea("Opción inválida."),
    }
    Ok(())
}

fn ver_archivos(nodo: &Nodo, consola: &mut Consola) {
    let pantalla = &mut consola.pantalla;
    let archivos = match nodo.lista() {
        Ok(archivos) => archivos,
        Err(fallo) => return pantalla.linea(format!("[ERROR] {fallo}")),
    };
    pantalla.tanda(["", "Archivos disponibles en este nodo:"]);
    if archivos.is_empty() {
        let carpeta = nodo.carpeta.ruta().display();
        pantalla.linea(format!(" (ninguno: copia alguno en {carpeta})"));
    }
    archivos.iter().for_each(|a| pantalla.recordar(&a.nombre));
    let lineas = archivos
        .iter()
        .map(|a| format!(" - {} ({})", a.nombre, tamano(a.tamano)));
    pantalla.tanda(lineas);
}

fn buscar_y_descargar(nodo: &Nodo, consola: &mut Consola) -> Result<(), Fin> {
    let nombre = consola.preguntar("Nombre del archivo que deseas buscar: ")?;
    let nombre = nombre.trim();
    if nombre.is_empty() {
        consola.pantalla.linea("No escribiste ningún nombre.");
        return Ok(());
    }
    let Some(disponibles) = acciones::buscar(consola, &nodo.vecinos, nombre, |_, _| {}) else {
        return Ok(());
    };
    if disponibles.is_empty() {
        acciones::no_se_encontro(consola, &nodo.carpeta, nombre);
        return Ok(());
    }
    consola.pantalla.linea("Archivo disponible en:");
    if disponibles.len() > 1 {
        consola.pantalla.linea("0. de todos a la vez");
    }
    consola.pantalla.tanda(numerados(&disponibles));
    let eleccion = consola.preguntar("Selecciona de dónde deseas descargar (número): ")?;
    match elegir(&eleccion, &disponibles) {
        Some(fuentes) => {
            acciones::descargar(consola, &nodo.vecinos, &nodo.carpeta, nombre, &fuentes)?;
            nodo.cambio_la_carpeta();
        }
        None => consola.pantalla.linea("Opción inválida."),
    }
    Ok(())
}

fn ver_archivos_de_la_red(nodo: &Nodo, consola: &mut Consola) -> Result<(), Fin> {
    acciones::listar_la_red(consola, &nodo.vecinos, |pantalla, peer, entradas| {
        let cuantos = cuenta(entradas.len(), "archivo", "archivos");
        pantalla.linea(format!("{peer}: {cuantos}"));
        entradas.iter().for_each(|e| pantalla.recordar(&e.nombre));
        let lineas = entradas
            .iter()
            .map(|e| format!(" - {} ({})", e.nombre, tamano(e.tamano)));
        pantalla.tanda(lineas);
    })?;
    Ok(())
}

fn enviar(nodo: &Nodo, consola: &mut Consola) -> Result<(), Fin> {
    let pregunta = "Archivo que deseas enviar (nombre de la carpeta compartida, o ruta): ";
    let escrito = consola.preguntar(pregunta)?;
    let escrito = escrito.trim();
    // Un nombre es primero el de un archivo de la carpeta; si no está en ella, una ruta cualquiera.
    let ruta = match nodo.carpeta.abrir_archivo(escrito) {
        Ok(_) => nodo.carpeta.ruta().join(escrito),
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
        _ => consola.pantalla.linea("Opción inválida."),
    }
    Ok(())
}

fn ver_mensajes(nodo: &Nodo, consola: &mut Consola) {
    let mensajes = nodo.mensajes();
    if mensajes.is_empty() {
        consola.pantalla.linea("No ha llegado ningún mensaje.");
    }
    consola
        .pantalla
        .tanda(mensajes.iter().map(ToString::to_string));
}

fn ver_estado(nodo: &Nodo, consola: &mut Consola) -> Result<(), Fin> {
    let peers: Vec<String> = nodo.vecinos.peers.iter().map(ToString::to_string).collect();
    let a_quienes = if peers.is_empty() {
        "nadie".into()
    } else {
        peers.join(", ")
    };
    consola.pantalla.tanda([
        format!(
            "Este nodo: {} (se cambia con --nombre)",
            nodo.vecinos.nombre
        ),
        format!("  escucha en {} (--ip, --puerto)", nodo.direccion),
        format!("  comparte {} (--carpeta)", nodo.carpeta.ruta().display()),
        format!("  pregunta a {a_quienes} (--peer, una vez por cada uno)"),
    ]);
    acciones::estado(consola, &nodo.vecinos)?;
    Ok(())
}

fn numerados(peers: &[SocketAddr]) -> impl Iterator<Item = String> {
    (1..)
        .zip(peers)
        .map(|(numero, peer)| format!("{numero}. {peer}"))
}

/// Lo elegido de una lista: `0` es toda (si hay más de uno), o el número de uno.
fn elegir(escrito: &str, peers: &[SocketAddr]) -> Option<Vec<SocketAddr>> {
    match escrito.trim().parse::<usize>().ok()? {
        0 if peers.len() > 1 => Some(peers.to_vec()),
        numero => peers.get(numero.checked_sub(1)?).map(|peer| vec![*peer]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solo_vale_un_numero_de_la_lista() {
        let peers: Vec<SocketAddr> = vec![
            "127.0.0.1:1".parse().unwrap(),
            "127.0.0.1:2".parse().unwrap(),
        ];
        assert_eq!(elegir(" 2 ", &peers), Some(vec![peers[1]]));
        assert_eq!(elegir("0", &peers), Some(peers.clone()));
        for malo in [
            "",
            "3",
            "-1",
            "99",
            "uno",
            "1 2",
            "99999999999999999999",
            "\u{fffd}",
        ] {
            assert_eq!(elegir(malo, &peers), None, "{malo:?}");
        }
        assert_eq!(elegir("0", &peers[..1]), None);
    }
}
