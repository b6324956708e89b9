//! Las opciones 4 a 8 del menú, que la guía no tiene: preguntan lo que falte y llaman a su acción. Y
//! cómo se pregunta un nombre o se elige de una lista, que también usa la 2.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::consola::{Consola, Fin, elegir, numerados};
use crate::guia::OPCION_INVALIDA;
use crate::nodo::Nodo;
use crate::nodo::acciones;
use crate::nodo::descarga::envio::mirar;
use crate::texto::{cuenta, tamano};

/// 4. Ver archivos de la red.
pub fn ver_archivos_de_la_red(nodo: &Nodo, consola: &mut Consola) -> Result<(), Fin> {
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
    consola
        .pantalla
        .tanda(mensajes.iter().map(ToString::to_string));
}

/// 8. Estado de los nodos, y el de este.
pub fn ver_estado(nodo: &Nodo, consola: &mut Consola) -> Result<(), Fin> {
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

/// Pregunta un nombre. `None` si no escribió ninguno.
pub fn preguntar_nombre(pregunta: &str, consola: &mut Consola) -> Result<Option<String>, Fin> {
    let nombre = consola.preguntar(pregunta)?.trim().to_string();
    if nombre.is_empty() {
        consola.pantalla.linea("No escribiste ningún nombre.");
    }
    Ok(Some(nombre).filter(|nombre| !nombre.is_empty()))
}

/// Una lista de la que se elige por número.
pub fn numerados(peers: &[SocketAddr]) -> impl Iterator<Item = String> {
    (1..)
        .zip(peers)
        .map(|(numero, peer)| format!("{numero}. {peer}"))
}

/// Lo elegido de una lista: `0` es toda (si hay más de uno), o el número de uno.
pub fn elegir(escrito: &str, peers: &[SocketAddr]) -> Option<Vec<SocketAddr>> {
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
