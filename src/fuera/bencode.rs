//! Bencode: cómo se escribe un `.torrent`. Sólo se escribe; leerlo es cosa de quien lo abre.
//!
//! No está en la guía. Son cuatro formas: un entero `i42e`, unos bytes `4:hola`, una lista `l…e` y
//! un diccionario `d…e`. Un diccionario va siempre por orden de clave, y por eso dos programas que
//! digan lo mismo escriben los mismos bytes: de ellos sale el nombre con que la red conoce un
//! torrent. Funciones puras.

use std::collections::BTreeMap;

/// Un valor que se puede escribir.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bencode {
    /// Un entero.
    Entero(u64),
    /// Unos bytes: texto en UTF-8, o lo que sea.
    Bytes(Vec<u8>),
    /// Una lista.
    Lista(Vec<Bencode>),
    /// Un diccionario, en orden.
    Diccionario(BTreeMap<&'static str, Bencode>),
}

impl Bencode {
    /// Un texto.
    pub fn texto(texto: impl Into<String>) -> Bencode {
        Bencode::Bytes(texto.into().into_bytes())
    }

    /// Una lista de textos.
    pub fn textos<T: Into<String>>(textos: impl IntoIterator<Item = T>) -> Bencode {
        Bencode::Lista(textos.into_iter().map(Bencode::texto).collect())
    }

    /// Lo escribe detrás de lo que haya en `salida`.
    pub fn escribir(&self, salida: &mut Vec<u8>) {
        match self {
            Bencode::Entero(n) => salida.extend(format!("i{n}e").bytes()),
            Bencode::Bytes(bytes) => escribir_bytes(bytes, salida),
            Bencode::Lista(valores) => {
                salida.push(b'l');
                valores.iter().for_each(|valor| valor.escribir(salida));
                salida.push(b'e');
            }
            Bencode::Diccionario(parejas) => {
                salida.push(b'd');
                for (clave, valor) in parejas {
                    escribir_bytes(clave.as_bytes(), salida);
                    valor.escribir(salida);
                }
                salida.push(b'e');
            }
        }
    }
}

fn escribir_bytes(bytes: &[u8], salida: &mut Vec<u8>) {
    salida.extend(format!("{}:", bytes.len()).bytes());
    salida.extend(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn se_escribe_como_en_la_norma_y_en_orden() {
        let valor = Bencode::Diccionario(BTreeMap::from([
            ("spam", Bencode::textos(["a", "ñ"])),
            ("cow", Bencode::texto("moo")),
            ("largo", Bencode::Entero(u64::MAX)),
            ("vacios", Bencode::Lista(vec![Bencode::texto("")])),
        ]));
        let mut escrito = Vec::new();
        valor.escribir(&mut escrito);
        let esperado =
            "d3:cow3:moo5:largoi18446744073709551615e4:spaml1:a2:ñe6:vaciosl0:ee".as_bytes();
        assert_eq!(escrito, esperado);
    }
}
