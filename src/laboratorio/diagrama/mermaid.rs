//! La ejecución como `sequenceDiagram` de Mermaid, que GitHub dibuja dentro de un Markdown.
//!
//! Aquí las flechas son horizontales y sólo se ve un orden de los muchos posibles. Lo
//! ajeno va escapado con las entidades de Mermaid (`#60;` es `<`).

use crate::laboratorio::diagrama::leer::Rumbo;
use crate::laboratorio::diagrama::relojes::Recorte;
use crate::laboratorio::diagrama::{Documento, Ejecucion, acortar, etiqueta, primeros, recortado};

/// Sucesos que van, como mucho: GitHub no dibuja más de 50.000 letras ni 500 flechas.
pub const TOPE: usize = 300;
/// Letras de todas las flechas: escapadas ocupan hasta seis veces más, y falta lo demás.
const TOPE_DE_LETRAS: usize = 36_000;
/// Letras de cada texto.
const LETRAS: usize = 48;
/// Avisos que se dibujan; todos se dicen en la pantalla.
const AVISOS: usize = 4;
/// Quien no llevaba diario.
const FUERA: &str = "fuera";

/// Escribe el diagrama de los `tope` primeros sucesos, o de los que quepan.
pub fn escribir(ejecucion: &Ejecucion, tope: usize) -> Documento {
    let todos = ejecucion.lamport.len();
    let recorte = ejecucion.recortar(tope);
    let (mut pasos, mut van) = (String::new(), 0);
    for lugar in 0..recorte.orden.len() {
        let paso = paso(&recorte, lugar).unwrap_or_default();
        if pasos.len() + paso.len() > TOPE_DE_LETRAS {
            break;
        }
        pasos += &paso;
        van += 1;
    }
    let aviso = recortado(van, todos);
    let mut texto = "sequenceDiagram\n".to_string();
    for (p, proceso) in recorte.traza.procesos.iter().enumerate() {
        let nombre = escapar(&proceso.nombre);
        texto += &format!("    participant p{p} as {nombre}\n");
    }
    if pasos.contains(FUERA) {
        texto += &format!("    participant {FUERA} as fuera de los diarios\n");
    }
    let ultimo = recorte.traza.procesos.len().saturating_sub(1);
    for aviso in primeros(&ejecucion.avisos, AVISOS).iter().chain(&aviso) {
        let dicho = escapar(&acortar(aviso, 3 * LETRAS));
        texto += &format!("    Note over p0,p{ultimo}: {dicho}\n");
    }
    texto += &pasos;
    Documento { texto, aviso }
}

/// Lo que se dibuja de un suceso: una flecha al salir, o al llegar si no se sabe de dónde. Los
/// cierres no se dibujan.
fn paso(recorte: &Recorte, lugar: usize) -> Option<String> {
    let este = recorte.orden[lugar];
    let hecho = &recorte.traza.hechos[este];
    let yo = format!("p{}", hecho.proceso);
    let dice = escapar(&acortar(&etiqueta(hecho), LETRAS));
    let reloj = |h: usize| format!("L{}", recorte.lamport[h]);
    let flecha = match (hecho.sentido(), recorte.parejas.de(este)) {
        (Rumbo::Sale, Some(suya)) => {
            let otro = recorte.traza.hechos[suya].proceso;
            let (sale, llega) = (reloj(este), reloj(suya));
            format!("    {yo}->>p{otro}: {dice} ({sale} → {llega})\n")
        }
        (Rumbo::Sale, None) => format!("    {yo}--x{FUERA}: {dice} ({})\n", reloj(este)),
        (Rumbo::Llega, None) => format!("    {FUERA}-->>{yo}: {dice} ({})\n", reloj(este)),
        _ => String::new(),
    };
    let falla = hecho.falla.as_ref().map(|falla| {
        let falla = escapar(&acortar(falla, LETRAS));
        format!("    Note over {yo}: falla puesta: {falla}\n")
    });
    let paso = flecha + &falla.unwrap_or_default();
    (!paso.is_empty()).then_some(paso)
}

/// Deja letras, cifras, espacios y poco más; lo que Mermaid podría entender va como entidad.
fn escapar(ajeno: &str) -> String {
    let limpio = crate::texto::limpiar(ajeno);
    let escapada = |letra: char| match letra {
        ' ' | '.' | ',' | '/' | '_' | '(' | ')' => letra.to_string(),
        _ if letra.is_alphanumeric() => letra.to_string(),
        _ => format!("#{};", u32::from(letra)),
    };
    // «end» solo, en un nombre o en un texto, cierra bloques.
    let limpio = limpio.split(' ').map(|palabra| match palabra {
        _ if palabra.eq_ignore_ascii_case("end") => "#101;nd".to_string(),
        _ => palabra.chars().map(escapada).collect(),
    });
    limpio.collect::<Vec<String>>().join(" ")
}
