//! Menú principal, como en la guía, con sus textos y sus números; del 4 en adelante, los nuestros.
//!
//! Aquí sólo se pregunta: cada opción llama a su acción (`acciones/`), la misma de la línea de
//! órdenes. El hilo principal espera con la [`Consola`]: por eso lo que llega mientras tanto se ve
//! al momento.

use std::sync::Arc;

use crate::config::Config;
use crate::consola::{Consola, Fin, elegir, numerados};
use crate::fallo::{Fallo, Salida};
use crate::guia;
use crate::laboratorio::puesto::Puesto;
use crate::nodo::Nodo;
use crate::nodo::acciones::{self, NADIE, nuestras};
use crate::nodo::arranque::EnMarcha;
use crate::texto::tamano;

/// Las tres opciones de la guía y las nuestras.
pub const MENU: &[&str] = &[
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
pub fn abrir(
    config: &Config,
    laboratorio: &Arc<Puesto>,
    consola: &mut Consola,
) -> Result<Salida, Fallo> {
    let marcha = EnMarcha::arrancar(config, laboratorio, consola)?;
    consola.pantalla.como_la_guia();
    let fin = loop {
        match una_vuelta(&marcha.nodo, consola) {
            Ok(()) if consola.pantalla.rota() => break Ok(Salida::NoSePudo),
            Ok(()) => {}
            Err(Fin::SeVa(salida)) => break Ok(salida),
            Err(Fin::Fallo(fallo)) => break Err(fallo),
        }
    };
    consola.pantalla.linea(guia::SALIENDO);
    marcha.detener(consola);
    fin
}

fn una_vuelta(nodo: &Nodo, consola: &mut Consola) -> Result<(), Fin> {
    match consola.menu(MENU, &nodo.quien_es())?.trim() {
        "4" | "5" | "6" if nodo.vecinos.esta_solo() => consola.pantalla.linea(NADIE),
        "1" => ver_archivos(nodo, consola),
        "2" => return buscar_y_descargar(nodo, consola),
        "3" => return Err(Fin::SeVa(Salida::Bien)),
        "4" => return nuestras::ver_archivos_de_la_red(nodo, consola),
        "5" => return nuestras::enviar(nodo, consola),
        "6" => return nuestras::enviar_mensaje(nodo, consola),
        "7" => nuestras::ver_mensajes(nodo, consola),
        "8" => return nuestras::ver_estado(nodo, consola),
        _ => consola.pantalla.linea(guia::OPCION_INVALIDA),
    }
    Ok(())
}

fn ver_archivos(nodo: &Nodo, consola: &mut Consola) {
    let pantalla = &mut consola.pantalla;
    let archivos = match nodo.lista() {
        Ok(archivos) => archivos,
        Err(fallo) => return pantalla.linea(format!("[ERROR] {fallo}")),
    };
    pantalla.tanda(["", guia::ARCHIVOS_DISPONIBLES]);
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
    let Some(escrito) = consola.preguntar_nombre(guia::QUE_ARCHIVO)? else {
        return Ok(());
    };
    let Some((nombre, disponibles)) = nuestras::buscar_o_adivinar(nodo, consola, escrito)? else {
        return Ok(());
    };
    consola.pantalla.linea(guia::DISPONIBLE_EN);
    if disponibles.len() > 1 {
        consola.pantalla.linea("0. de todos a la vez");
    }
    consola.pantalla.tanda(numerados(&disponibles));
    acciones::decir_si_ya_se_tiene(consola, &nodo.carpeta, &nombre);
    let eleccion = consola.preguntar(guia::DE_DONDE)?;
    match elegir(&eleccion, &disponibles) {
        Some(fuentes) => {
            acciones::descargar(consola, &nodo.vecinos, &nodo.carpeta, &nombre, &fuentes)?;
            nodo.cambio_la_carpeta();
        }
        None => consola.pantalla.linea(guia::OPCION_INVALIDA),
    }
    Ok(())
}
