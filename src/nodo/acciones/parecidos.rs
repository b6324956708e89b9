//! Encontrar un archivo sin saber cómo se llama exactamente: por un trozo de su nombre, por su
//! número en la última lista, o por lo que se le parece.
//!
//! No distingue mayúsculas ni tildes. En el menú se elige; en la línea de órdenes sólo se sugiere,
//! que un guion no debe bajar lo que nadie pidió. No está en la guía.

use std::collections::BTreeSet;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::consola::pantalla::Pantalla;
use crate::consola::{Consola, Fin, elegir, numerados};
use crate::fallo::Fallo;
use crate::guia::OPCION_INVALIDA;
use crate::nodo::Nodo;
use crate::nodo::acciones::{descargar_varios, todos};
use crate::nodo::carpeta::nombres::en_nfc;
use crate::nodo::palabras::pedir::listar_y_seguir;
use crate::nodo::palabras::protocolo::Entrada;
use crate::nodo::vecinos::Vecinos;
use crate::red::parada::{Parada, cerrojo};
use crate::texto::cuenta;

/// Nombres que se enseñan para elegir, o de la última lista que se recuerdan.
const TOPE: usize = 100_000;
/// Nombres que se enseñan de los que tienen un trozo.
const A_LA_VISTA: usize = 50;
/// Nombres que se sugieren.
const SE_SUGIEREN: usize = 3;
/// Letras que pueden cambiar para que un nombre se parezca a otro.
const LETRAS: usize = 2;

/// Como se compara: sin mayúsculas ni tildes.
fn en_llano(nombre: &str) -> String {
    let sin_tildes = nombre.nfd().filter(|letra| !is_combining_mark(*letra));
    sin_tildes.flat_map(char::to_lowercase).collect()
}

/// Cuánto se parece un nombre a otro, los dos en llano: de menos a más lejos. `None` si nada.
fn lejania(buscado: &str, nombre: &str) -> Option<usize> {
    if buscado.is_empty() {
        return None;
    }
    if nombre.contains(buscado) {
        return Some(0);
    }
    // El nombre sin su carpeta: quien la olvida escribe lo demás bien.
    let solo = nombre
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or(nombre);
    let buscado = buscado.trim_end_matches('/');
    let cambios = cambios(buscado, nombre.trim_end_matches('/')).min(cambios(buscado, solo));
    let pocos = cambios <= LETRAS && cambios * 3 <= buscado.chars().count();
    pocos.then_some(cambios)
}

/// Cuántas letras hay que poner, quitar o cambiar para ir de uno a otro, si son pocas.
fn cambios(uno: &str, otro: &str) -> usize {
    let (uno, otro): (Vec<char>, Vec<char>) = (uno.chars().collect(), otro.chars().collect());
    if uno.len().abs_diff(otro.len()) > LETRAS {
        return usize::MAX;
    }
    let mut fila: Vec<usize> = (0..=otro.len()).collect();
    for (n, letra) in uno.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut fila[0], n + 1);
        for (m, otra) in otro.iter().enumerate() {
            let cambiar = diagonal + usize::from(letra != otra);
            diagonal = fila[m + 1];
            fila[m + 1] = cambiar.min(diagonal + 1).min(fila[m] + 1);
        }
    }
    fila[otro.len()]
}

/// Nombres, con lo lejos que están del buscado: del que más se parece al que menos.
type Parecidos = BTreeSet<(usize, String)>;

/// Los nombres que hay en la red y se parecen a `buscado` según `se_parece`, del más al menos.
/// Con `carpetas`, sólo se miran las carpetas. `None` si un Ctrl-C lo dejó.
fn en_la_red(
    consola: &mut Consola,
    vecinos: &Vecinos,
    carpetas: bool,
    se_parece: impl Fn(&str) -> Option<usize> + Sync,
) -> Result<Option<Parecidos>, Fallo> {
    let vecinos = vecinos.para_una_tanda(&Parada::nueva());
    let pregunta = |peer| {
        let mut suyos = Parecidos::new();
        let anotar = |entrada: Entrada| {
            let nombre = match (carpetas, entrada.nombre.rsplit_once('/')) {
                (false, _) => entrada.nombre,
                (true, Some((carpeta, _))) => format!("{carpeta}/"),
                (true, None) => return,
            };
            let lejos = se_parece(&nombre).filter(|_| suyos.len() < TOPE);
            lejos.map(|lejos| suyos.insert((lejos, en_nfc(&nombre))));
        };
        // De quien no sabe listar no hay nombres.
        let _ = listar_y_seguir(&vecinos, peer, anotar);
        suyos
    };
    let mut todos = Parecidos::new();
    let llega = |_: &mut Pantalla, _, mut suyos: Parecidos| {
        if todos.len() < TOPE {
            todos.append(&mut suyos);
        }
    };
    let acabo = consola.consultar(&vecinos.peers, &vecinos.parada, pregunta, llega)?;
    Ok(acabo.then_some(todos))
}

/// Si los `vecinos` tienen algo que se parezca a `nombre`, lo dice.
pub fn sugerir(consola: &mut Consola, vecinos: &Vecinos, nombre: &str) -> Result<(), Fallo> {
    let buscado = en_llano(nombre);
    let se_parece = |otro: &str| lejania(&buscado, &en_llano(otro)).filter(|_| otro != nombre);
    let hay = en_la_red(consola, vecinos, nombre.ends_with('/'), se_parece)?;
    decir_parecidos(consola, hay.unwrap_or_default());
    Ok(())
}

fn decir_parecidos(consola: &mut Consola, hay: Parecidos) {
    let nombres = hay.into_iter().take(SE_SUGIEREN);
    let nombres: Vec<String> = nombres.map(|(_, nombre)| format!("«{nombre}»")).collect();
    if let Some((ultimo, otros)) = nombres.split_last() {
        let antes = if otros.is_empty() { "" } else { " o " };
        let frase = format!("¿querías decir {}{antes}{ultimo}?", otros.join(", "));
        consola.pantalla.error(frase);
    }
}

/// Lo que se quiso decir con algo que no es el nombre de ningún archivo.
pub enum Quiso {
    /// El que se llama así.
    Decir(String),
    /// Varios, que ya se bajaron; o lo dejó.
    YaEsta,
    /// No se sabe.
    Nada,
}

/// Nadie tiene un archivo que se llame justo así: ¿es un número de la última lista, una carpeta o
/// un trozo del nombre? Si resultan varios de una vez, los baja.
pub fn cual_de_la_red(nodo: &Nodo, consola: &mut Consola, escrito: &str) -> Result<Quiso, Fin> {
    let numerados = cerrojo(&nodo.ultima_vista).de_esos_numeros(escrito);
    match numerados {
        Some(mut uno) if uno.len() == 1 => return Ok(Quiso::Decir(uno.remove(0))),
        Some(varios) if !varios.is_empty() => return bajar(nodo, consola, varios),
        _ if escrito.ends_with('/') => return bajar(nodo, consola, vec![escrito.to_string()]),
        _ => {}
    }
    let Some((vecinos, _)) = todos(consola, &nodo.vecinos)? else {
        return Ok(Quiso::YaEsta);
    };
    let buscado = en_llano(escrito);
    let se_parece = |nombre: &str| lejania(&buscado, &en_llano(nombre));
    let Some(hay) = en_la_red(consola, &vecinos, false, se_parece)? else {
        return Ok(Quiso::YaEsta);
    };
    // Los que tienen el trozo están delante.
    let con_el_trozo = hay.iter().take_while(|(lejos, _)| *lejos == 0);
    let mut nombres: Vec<String> = con_el_trozo.map(|(_, nombre)| nombre.clone()).collect();
    match nombres.len() {
        0 => {
            decir_parecidos(consola, hay);
            Ok(Quiso::Nada)
        }
        1 => Ok(Quiso::Decir(nombres.remove(0))),
        _ => Ok(elegir_uno(consola, nombres)?.map_or(Quiso::YaEsta, Quiso::Decir)),
    }
}

fn elegir_uno(consola: &mut Consola, mut nombres: Vec<String>) -> Result<Option<String>, Fin> {
    let cuantos = cuenta(nombres.len(), "archivo", "archivos");
    let sobran = nombres.len().saturating_sub(A_LA_VISTA);
    nombres.truncate(A_LA_VISTA);
    consola.pantalla.linea(format!(
        "En la red hay {cuantos} con ese trozo en su nombre:"
    ));
    consola.pantalla.tanda(numerados(&nombres));
    if sobran > 0 {
        consola
            .pantalla
            .linea(format!("… y {sobran} más: escribe un trozo más largo"));
    }
    let eleccion = consola.preguntar("Selecciona cuál (número): ")?;
    match elegir(&eleccion, &nombres).as_deref() {
        Some([uno]) => Ok(Some(uno.clone())),
        _ => {
            consola.pantalla.linea(OPCION_INVALIDA);
            Ok(None)
        }
    }
}

fn bajar(nodo: &Nodo, consola: &mut Consola, escritos: Vec<String>) -> Result<Quiso, Fin> {
    descargar_varios(consola, &nodo.vecinos, false, &nodo.carpeta, &escritos)?;
    nodo.cambio_la_carpeta();
    Ok(Quiso::YaEsta)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ni_mayusculas_ni_tildes_y_alguna_letra() {
        let lejos = |buscado: &str, nombre: &str| lejania(&en_llano(buscado), &en_llano(nombre));
        assert_eq!(lejos("NANDU", "Ñandú.txt"), Some(0));
        assert_eq!(lejos("n\u{303}andú", "ÑANDU.txt"), Some(0));
        assert_eq!(lejos("hiaku.txt", "haiku.txt"), Some(2));
        assert_eq!(lejos("haiku.tx", "apuntes/haiku.txt"), Some(0));
        assert_eq!(lejos("haikú.md", "apuntes/haiku.me"), Some(1));
        assert_eq!(lejos("apunte/", "apuntes/"), Some(1));
        assert_eq!(lejos("a", "b"), None);
        assert_eq!(lejos("", "b"), None);
        assert_eq!(lejos("tarea.pdf", "foto.png"), None);
    }
}
