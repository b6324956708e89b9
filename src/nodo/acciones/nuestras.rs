//! Las opciones 4 a 8 del menú, que la guía no tiene: preguntan lo que falte y llaman a su acción.

use std::path::PathBuf;

use crate::consola::{Consola, Fin, elegir, numerados};
use crate::guia::{NO_SE_ENCONTRO, OPCION_INVALIDA};
use crate::lan::qr;
use crate::nodo::Nodo;
use crate::nodo::acciones;
use crate::nodo::acciones::parecidos::{Quiso, cual_de_la_red};
use crate::nodo::descarga::envio::mirar;
use crate::nodo::maestro::localizar::Hallado;
use crate::nodo::vecinos::Vecinos;
use crate::nodo::vista::UltimaVista;
use crate::red::parada::cerrojo;
use crate::texto::cuenta;

/// 2. Quién tiene el archivo que se llama así; y si no lo tiene nadie, el que se quiso decir.
pub fn buscar_o_adivinar(
    nodo: &Nodo,
    consola: &mut Consola,
    escrito: String,
) -> Result<Option<(String, Vec<Hallado>)>, Fin> {
    let Some(hallados) = acciones::buscar(consola, &nodo.vecinos, &escrito, false)? else {
        return Ok(None);
    };
    if !hallados.is_empty() {
        return Ok(Some((escrito, hallados)));
    }
    let nombre = match cual_de_la_red(nodo, consola, &escrito)? {
        Quiso::YaEsta => return Ok(None),
        Quiso::Decir(nombre) => {
            consola.pantalla.linea(format!("«{nombre}»"));
            let Some(hallados) = acciones::buscar(consola, &nodo.vecinos, &nombre, false)? else {
                return Ok(None);
            };
            if !hallados.is_empty() {
                return Ok(Some((nombre, hallados)));
            }
            nombre
        }
        Quiso::Nada => escrito,
    };
    consola.pantalla.error(NO_SE_ENCONTRO);
    acciones::decir_si_ya_se_tiene(consola, &nodo.carpeta, &nombre);
    Ok(None)
}

/// 4. Ver archivos de la red, con un número cada nombre: con él se puede pedir en la opción 2.
pub fn ver_archivos_de_la_red(nodo: &Nodo, consola: &mut Consola) -> Result<(), Fin> {
    let mut vista = UltimaVista::default();
    acciones::listar_la_red(consola, &nodo.vecinos, |pantalla, peer, entradas| {
        let cuantos = cuenta(entradas.len(), "archivo", "archivos");
        pantalla.linea(format!("{peer}: {cuantos}"));
        entradas.iter().for_each(|e| pantalla.recordar(&e.nombre));
        pantalla.tanda(entradas.iter().map(|e| vista.linea(e)));
    })?;
    *cerrojo(&nodo.ultima_vista) = vista;
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
    let Vecinos { nombre, peers, .. } = nodo.vecinos.para_una_tanda(&nodo.saliendo);
    let peers: Vec<String> = peers.iter().map(ToString::to_string).collect();
    let a_quienes = match peers.is_empty() {
        true => "nadie".into(),
        false => peers.join(", "),
    };
    consola.pantalla.tanda([
        format!("Este nodo: {nombre} (se cambia con --nombre)"),
        format!("  escucha en {} (--ip, --puerto)", nodo.direccion),
        format!("  comparte {} (--carpeta)", nodo.carpeta.ruta().display()),
        format!("  pregunta a {a_quienes} (--peer, una vez por cada uno; --descubrir)"),
    ]);
    acciones::estado(consola, &nodo.vecinos)?;
    // Con clave, la página sólo se ve desde aquí.
    if nodo.vecinos.limites.clave.is_none() {
        qr::mostrar_si_cabe(nodo.direccion, &nodo.vecinos.peers, &mut consola.pantalla);
    }
    Ok(())
}
