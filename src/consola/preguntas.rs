//! Preguntar a quien está delante: el `input()` de la guía, y su menú.
//!
//! No interpreta lo que se contesta.

use std::fmt::Display;

use crossbeam_channel::never;
use textwrap::termwidth;

use crate::consola::{Consola, Paso};
use crate::fallo::{Fallo, Salida};
use crate::guia::SELECCIONE;
use crate::texto::limpiar;

/// Columnas que se dejan detrás de la pregunta del menú.
const SITIO_PARA_ESCRIBIR: usize = 8;

/// Por qué no hay respuesta a una pregunta.
#[derive(Debug)]
pub enum Fin {
    /// Quien está delante se va, y así acaba el programa.
    SeVa(Salida),
    /// Algo del sistema.
    Fallo(Fallo),
}

impl From<Fallo> for Fin {
    fn from(fallo: Fallo) -> Fin {
        Fin::Fallo(fallo)
    }
}

impl Consola {
    /// Desde ahora [`Consola::siguiente`] da también lo que se escriba (en el chat se habla sin que
    /// nadie pregunte).
    pub fn leer_siempre(&mut self) -> Result<(), Fallo> {
        self.teclado.leer_siempre()
    }

    /// El menú: las `opciones` enteras y la pregunta, como la guía. En una terminal empujarían
    /// fuera de la vista lo que se acaba de pedir: enteras, sólo al empezar y tras algo que no es
    /// una opción; después basta una línea que dice `quien` pregunta.
    pub fn menu(&mut self, opciones: &[&str], quien: &str) -> Result<String, Fin> {
        let en_terminal = self.teclado.en_terminal;
        let entera = format!(
            "{quien} · {} (Entrar: menú): ",
            SELECCIONE.trim_end_matches([':', ' '])
        );
        // En un panel estrecho la pregunta no cabría en su línea, ni lo que se teclee detrás.
        let cabe = termwidth() > entera.chars().count() + SITIO_PARA_ESCRIBIR;
        let pregunta = match (en_terminal, cabe) {
            (true, true) => entera,
            (true, false) => format!("{quien} · opción: "),
            (false, _) => SELECCIONE.to_string(),
        };
        // La línea en blanco de la guía, en un panel de doce, se llevaría lo que se dijo antes.
        let opciones = match opciones {
            ["", sin_hueco @ ..] if en_terminal => sin_hueco,
            todas => todas,
        };
        loop {
            if !self.menu_a_la_vista {
                self.pantalla.tanda(opciones);
            }
            let escrito = self.preguntar(&pregunta)?;
            let es =
                |opcion: &&str| opcion.split_once(". ").map(|(n, _)| n) == Some(escrito.trim());
            self.menu_a_la_vista = en_terminal && opciones.iter().any(es);
            if !en_terminal || !matches!(escrito.trim(), "" | "?") {
                return Ok(escrito);
            }
        }
    }

    /// El `input()` de la guía: pregunta y espera la respuesta. `Err` si en vez de contestar se va.
    pub fn preguntar(&mut self, texto: &str) -> Result<String, Fin> {
        let texto = limpiar(texto);
        self.teclado.leer(&texto)?;
        if !self.teclado.en_terminal {
            self.pantalla.preguntar(&texto);
        }
        let paso = self.siguiente(&never::<()>());
        self.teclado.callar();
        let tras_la_pregunta = self.pantalla.contestada();
        if let Paso::Escrito(linea) = paso {
            return Ok(linea);
        }
        if tras_la_pregunta {
            self.pantalla.linea("");
        }
        // Sin más entrada es como elegir Salir.
        Err(Fin::SeVa(match paso {
            Paso::Interrumpido => Salida::Interrumpido,
            _ => Salida::Bien,
        }))
    }

    /// Pregunta un nombre. `None` si no escribió ninguno.
    pub fn preguntar_nombre(&mut self, pregunta: &str) -> Result<Option<String>, Fin> {
        let nombre = self.preguntar(pregunta)?.trim().to_string();
        if nombre.is_empty() {
            self.pantalla.linea("No escribiste ningún nombre.");
        }
        Ok(Some(nombre).filter(|nombre| !nombre.is_empty()))
    }

    /// Quien escribía ya no va a acabar la línea: lo que siga se pinta debajo.
    pub(super) fn soltar_la_linea(&mut self) {
        if self.teclado.callar() {
            self.pantalla.linea("");
        }
    }
}

/// Una lista de la que se elige por número.
pub fn numerados(lista: &[impl Display]) -> impl Iterator<Item = String> {
    let con_numero = (1..).zip(lista);
    con_numero.map(|(numero, uno)| format!("{numero}. {uno}"))
}

/// Lo elegido de una lista: `0` es toda (si hay más de uno), o el número de uno.
pub fn elegir<T: Clone>(escrito: &str, lista: &[T]) -> Option<Vec<T>> {
    match escrito.trim().parse::<usize>().ok()? {
        0 if lista.len() > 1 => Some(lista.to_vec()),
        numero => Some(vec![lista.get(numero.checked_sub(1)?)?.clone()]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solo_vale_un_numero_de_la_lista() {
        let peers = vec!["127.0.0.1:1", "127.0.0.1:2"];
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
