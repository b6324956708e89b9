//! La última lista que se enseñó de los archivos de la red, numerada: para descargar vale también
//! su número. No sabe de red ni de pantalla.

use std::collections::BTreeMap;

use crate::nodo::palabras::protocolo::Entrada;
use crate::texto::tamano;

/// Nombres que se numeran, como mucho.
const TOPE: usize = 100_000;

/// La lista de la opción 4, que numera: el mismo nombre lleva el mismo número, lo tenga quien lo
/// tenga.
#[derive(Default)]
pub struct UltimaVista {
    nombres: Vec<String>,
    numeros: BTreeMap<String, usize>,
}

impl UltimaVista {
    /// El número de ese nombre, desde 1. Pasado el tope, ninguno.
    fn numero(&mut self, nombre: &str) -> Option<usize> {
        if let Some(numero) = self.numeros.get(nombre) {
            return Some(*numero);
        }
        if self.nombres.len() == TOPE {
            return None;
        }
        self.nombres.push(nombre.to_string());
        self.numeros.insert(nombre.to_string(), self.nombres.len());
        Some(self.nombres.len())
    }

    /// La línea de un archivo, con su número.
    pub fn linea(&mut self, entrada: &Entrada) -> String {
        let (nombre, cuanto) = (&entrada.nombre, tamano(entrada.tamano));
        match self.numero(nombre) {
            Some(numero) => format!(" {numero}. {nombre} ({cuanto})"),
            None => format!(" - {nombre} ({cuanto})"),
        }
    }

    /// Los nombres de unos números («3», «1 4 7»), si todos son de la lista.
    pub fn de_esos_numeros(&self, escrito: &str) -> Option<Vec<String>> {
        let numeros = escrito.split([' ', ',']).filter(|n| !n.is_empty());
        numeros
            .map(|numero| {
                let numero = numero.parse::<usize>().ok()?;
                self.nombres.get(numero.checked_sub(1)?).cloned()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn el_mismo_nombre_lleva_el_mismo_numero() {
        let mut vista = UltimaVista::default();
        let numeros = ["a", "b", "a", "c"].map(|nombre| vista.numero(nombre));
        assert_eq!(numeros, [Some(1), Some(2), Some(1), Some(3)]);
        assert_eq!(vista.de_esos_numeros("3").unwrap(), ["c"]);
        assert_eq!(vista.de_esos_numeros("1, 3").unwrap(), ["a", "c"]);
        for malo in ["0", "4", "1 b", "-1", "1.5"] {
            assert_eq!(vista.de_esos_numeros(malo), None, "{malo}");
        }
    }
}
