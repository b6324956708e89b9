//! La ejecución como registro para ShiViz: dos líneas por suceso, quién con su vector y qué pasó.
//!
//! Es el formato que ShiViz espera si no se le dice otro:
//! `(?<host>\S*) (?<clock>{.*})\n(?<event>.*)`. No dibuja nada.

use serde_json::{Map, Value};

use crate::laboratorio::diagrama::relojes::Recorte;
use crate::laboratorio::diagrama::{Documento, Ejecucion, acortar, que_es, recortado};

/// Sucesos que van, como mucho.
const TOPE: usize = 10_000;
/// Letras de cada suceso.
const LETRAS: usize = 200;

/// Escribe el registro.
pub fn escribir(ejecucion: &Ejecucion) -> Documento {
    let recorte = ejecucion.recortar(TOPE);
    let aviso = recortado(recorte.orden.len(), ejecucion.lamport.len());
    let procesos = recorte.traza.procesos.iter();
    // Los nombres no llevan blancos; lo que los distinguía va detrás, para que sigan distintos.
    let nombres: Vec<String> = procesos
        .enumerate()
        .map(
            |(p, proceso)| match proceso.nombre.contains(char::is_whitespace) {
                true => format!(
                    "{}#{}",
                    proceso.nombre.replace(char::is_whitespace, "_"),
                    p + 1
                ),
                false => proceso.nombre.clone(),
            },
        )
        .collect();
    let sucesos = (0..recorte.orden.len()).map(|lugar| dos_lineas(&recorte, &nombres, lugar));
    Documento {
        texto: sucesos.collect(),
        aviso,
    }
}

fn dos_lineas(recorte: &Recorte, nombres: &[String], lugar: usize) -> String {
    let contados = nombres.iter().zip(recorte.vector(lugar));
    let reloj: Map<String, Value> = contados
        .filter(|(_, cuantos)| **cuantos > 0)
        .map(|(nombre, cuantos)| (nombre.clone(), Value::from(*cuantos)))
        .collect();
    let hecho = &recorte.traza.hechos[recorte.orden[lugar]];
    let falla = hecho
        .falla
        .as_ref()
        .map(|falla| format!(" [falla: {falla}]"));
    let que = acortar(&(que_es(hecho) + &falla.unwrap_or_default()), LETRAS);
    let quien = &nombres[recorte.quien(lugar).0];
    format!("{quien} {}\n{que}\n", Value::Object(reloj))
}
