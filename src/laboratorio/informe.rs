//! `nodo informe`: el acta de la práctica en Markdown, sacada de los diarios.
//!
//! Lleva lo que se puede contar (nodos, transferencias, fallas, el diagrama) y las preguntas que la
//! guía plantea, sin contestar: eso es de quien hizo la práctica. Lo ajeno va entre acentos graves,
//! donde Markdown no entiende nada.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::consola::Consola;
use crate::fallo::{Fallo, Salida};
use crate::laboratorio::diagrama::leer::Participante;
use crate::laboratorio::diagrama::transferencias::{Transferencia, transferencias};
use crate::laboratorio::diagrama::{Documento, Ejecucion, entregar, mermaid};
use crate::laboratorio::suceso::Clase;
use crate::texto::{cuenta, duracion, limpiar, tamano};

/// Sucesos del diagrama: un acta se lee entera.
const TOPE_DEL_DIAGRAMA: usize = 120;
/// Filas de una tabla.
const TOPE_DE_FILAS: usize = 200;
/// Direcciones de un nodo que se escriben.
const DIRECCIONES: usize = 3;

/// Lo que la práctica pregunta, para contestarlo mirando lo de arriba.
const PREGUNTAS: [&str; 10] = [
    "Señala en el diagrama un momento en que un nodo pregunta y otro en que ese mismo nodo \
     contesta. ¿Por qué se dice que en esta red todos son iguales?",
    "Si se apaga el nodo que más archivos tiene, ¿qué sigue funcionando y qué se pierde? ¿Qué \
     pasaría en una red con un servidor en el centro?",
    "¿Cuántas conexiones abrió una búsqueda, y cuántas una descarga? ¿Quién las cierra?",
    "¿Qué hilos aparecen en los diarios y qué hace cada uno? ¿Qué habría esperado a qué con un \
     solo hilo?",
    "¿Cómo supo cada nodo a quién preguntar? ¿Cuánto costó preguntar a quien no contestó?",
    "Elige una transferencia de la tabla: ¿cómo sabes que el archivo llegó entero y sin cambios? \
     ¿Lo garantiza TCP?",
    "Busca dos sucesos concurrentes. ¿Se puede saber cuál fue antes? ¿Cambiaría algo que hubiera \
     sido al revés?",
    "¿Qué ocurre si dos nodos comparten archivos distintos con un mismo nombre?",
    "¿Quién puede pedir un archivo, y quién puede leer lo que viaja? ¿Qué pondrías para evitarlo?",
    "¿Qué se quedaría corto con treinta nodos, y qué cambiarías primero?",
];

/// `nodo informe`.
pub fn abrir(
    diarios: &[PathBuf],
    salida: Option<&Path>,
    consola: &mut Consola,
) -> Result<Salida, Fallo> {
    entregar(diarios, salida, consola, acta)
}

fn acta(ejecucion: &Ejecucion) -> Documento {
    let diagrama = mermaid::escribir(ejecucion, TOPE_DEL_DIAGRAMA);
    let recortado = diagrama.aviso.as_ref().map(|aviso| format!("{aviso}\n\n"));
    let avisos = ejecucion.avisos.iter();
    let avisos: String = avisos
        .map(|aviso| format!("- {}\n", literal(aviso)))
        .collect();
    let avisos = match avisos.is_empty() {
        true => avisos,
        false => format!("Al leer los diarios:\n\n{avisos}\n"),
    };
    let preguntas = PREGUNTAS.iter().enumerate();
    let preguntas: String = preguntas
        .map(|(n, pregunta)| format!("{}. {pregunta}\n\n   Respuesta:\n\n", n + 1))
        .collect();
    let texto = format!(
        "# Acta de la práctica\n\n\
         Integrantes:\n\nFecha:\n\n\
         En los diarios hay {resumen} (el otro no llevaba diario, o murió). Las horas son las del \
         reloj de cada máquina.\n\n{avisos}\
         ## Nodos\n\n{nodos}\n\
         ## Transferencias\n\n{pasaron}\n\
         ## Fallas puestas a propósito\n\n{fallas}\n\
         ## Qué viajó\n\n{recortado}```mermaid\n{diagrama}```\n\n\
         Entre paréntesis, el reloj de Lamport al salir y al llegar.\n\n\
         ## Preguntas\n\n{preguntas}",
        resumen = ejecucion.resumen(),
        nodos = nodos(ejecucion),
        pasaron = pasaron(ejecucion),
        fallas = fallas(ejecucion),
        recortado = recortado.unwrap_or_default(),
        diagrama = diagrama.texto,
    );
    Documento {
        texto: texto.trim_end().to_string() + "\n",
        aviso: diagrama.aviso,
    }
}

fn nodos(ejecucion: &Ejecucion) -> String {
    let procesos = ejecucion.traza.procesos.iter();
    let filas = procesos.map(|proceso| {
        let hechos = &ejecucion.traza.hechos[proceso.desde..proceso.hasta];
        let horas = || hechos.iter().map(|hecho| hecho.t);
        vec![
            literal(&proceso.nombre),
            direcciones(ejecucion, proceso),
            hechos.len().to_string(),
            horas().min().map_or(String::new(), hora),
            horas().max().map_or(String::new(), hora),
        ]
    });
    tabla(
        &["nodo", "direcciones", "sucesos", "el primero", "el último"],
        filas,
    )
}

/// Donde escucha un nodo; si no aceptó a nadie, las IP desde las que llamó.
fn direcciones(ejecucion: &Ejecucion, proceso: &Participante) -> String {
    let hechos = &ejecucion.traza.hechos[proceso.desde..proceso.hasta];
    let mut suyas: Vec<&str> = Vec::new();
    let de_clase = |clase| hechos.iter().filter(move |hecho| hecho.clase == clase);
    let escucha = de_clase(Clase::Acepta).map(|hecho| &*hecho.yo);
    let sin_puerto = |yo| str::rsplit_once(yo, ':').map_or(yo, |(ip, _)| ip);
    let llama = de_clase(Clase::Conecta).map(|hecho| sin_puerto(&*hecho.yo));
    for direccion in escucha {
        if !suyas.contains(&direccion) && suyas.len() < DIRECCIONES {
            suyas.push(direccion);
        }
    }
    if suyas.is_empty() {
        suyas.extend(llama.take(1));
    }
    let suyas: Vec<String> = suyas.into_iter().map(literal).collect();
    suyas.join(", ")
}

fn pasaron(ejecucion: &Ejecucion) -> String {
    let todas = transferencias(ejecucion);
    if todas.is_empty() {
        return "Ninguna.\n".to_string();
    }
    let fila = |((quien, archivo), una): (&(String, String), &Transferencia)| {
        let bytes = una
            .fuentes
            .values()
            .fold(0, |suma: u64, b| suma.saturating_add(*b));
        let tiempo = Duration::from_micros(una.hasta.saturating_sub(una.desde));
        let fuentes = una.fuentes.iter();
        let fuentes: Vec<String> = fuentes
            .map(|(fuente, bytes)| format!("{} ({})", literal(fuente), tamano(*bytes)))
            .collect();
        vec![
            literal(archivo),
            literal(quien),
            fuentes.len().to_string(),
            fuentes.join(", "),
            bytes.to_string(),
            duracion(tiempo),
            una.huella
                .as_deref()
                .map_or("no se vio".to_string(), literal),
        ]
    };
    let titulos = ["archivo", "a", "fuentes", "de", "bytes", "tiempo", "huella"];
    let sobran = todas.len().saturating_sub(TOPE_DE_FILAS);
    let resto = match sobran {
        0 => String::new(),
        _ => format!(
            "\nY {}.\n",
            cuenta(sobran, "transferencia más", "transferencias más")
        ),
    };
    tabla(&titulos, todas.iter().map(fila).take(TOPE_DE_FILAS)) + &resto
}

/// Qué fallas hubo en cada nodo, y cuántas veces.
fn fallas(ejecucion: &Ejecucion) -> String {
    let mut puestas: BTreeMap<(usize, &str), (usize, &str)> = BTreeMap::new();
    for hecho in &ejecucion.traza.hechos {
        let Some(falla) = hecho.falla.as_deref() else {
            continue;
        };
        let clase = falla.split('=').next().unwrap_or(falla);
        match puestas.entry((hecho.proceso, clase)) {
            Entry::Occupied(mut puesta) => puesta.get_mut().0 += 1,
            Entry::Vacant(hueco) => {
                hueco.insert((1, falla));
            }
        }
    }
    if puestas.is_empty() {
        return "Ninguna.\n".to_string();
    }
    let filas = puestas.iter().take(TOPE_DE_FILAS);
    let filas = filas.map(|((proceso, clase), (veces, ejemplo))| {
        let nodo = literal(&ejecucion.traza.procesos[*proceso].nombre);
        vec![nodo, literal(clase), veces.to_string(), literal(ejemplo)]
    });
    tabla(&["nodo", "falla", "veces", "la primera"], filas)
}

fn tabla(titulos: &[&str], filas: impl Iterator<Item = Vec<String>>) -> String {
    let mut tabla = format!(
        "| {} |\n|{}\n",
        titulos.join(" | "),
        "---|".repeat(titulos.len())
    );
    for fila in filas {
        tabla += &format!("| {} |\n", fila.join(" | "));
    }
    tabla
}

/// Un texto ajeno, entre tantos acentos graves como haga falta para que no los cierre él.
fn literal(ajeno: &str) -> String {
    let limpio = limpiar(ajeno);
    let limpio = limpio.trim();
    if limpio.is_empty() {
        return "—".to_string();
    }
    let mas_larga = limpio.split(|letra| letra != '`').map(str::len).max();
    let acentos = "`".repeat(mas_larga.unwrap_or(0) + 1);
    // En una tabla, `|` acaba la celda aunque vaya entre acentos.
    let limpio = limpio.replace('|', "\\|");
    match limpio.contains('`') {
        true => format!("{acentos} {limpio} {acentos}"),
        false => format!("{acentos}{limpio}{acentos}"),
    }
}

/// Un instante, en el reloj de aquí. Lo que no cabe en un calendario no se dice.
fn hora(micros: u64) -> String {
    let instante = i64::try_from(micros).ok();
    let instante = instante.and_then(|micros| Timestamp::from_microsecond(micros).ok());
    let en_zona = instante.map(|cuando| cuando.to_zoned(TimeZone::system()));
    en_zona.map_or("—".to_string(), |hora| {
        hora.strftime("%Y-%m-%d %H:%M:%S").to_string()
    })
}
