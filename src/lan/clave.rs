//! La clave de la clase: de una frase que se dicta, 32 bytes; y `nodo clave`, que inventa una.
//!
//! No está en la guía. Quien escuche un solo saludo puede probar frases sin prisa: por eso de la
//! frase a la clave hay un paso lento (Argon2id), y una corta no se acepta. Cómo se cifra con ella
//! está en `red/cifrado.rs`; a quién se deja pasar, en `nodo/puerta.rs`.

use std::env::{self, VarError};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Params, Version};
use clap::Args;

use crate::consola::Consola;
use crate::fallo::{Fallo, Salida, motivo};
use crate::red::cifrado::Clave;

/// Lo que se lee del archivo de la frase, en bytes.
const TOPE_DE_ARCHIVO: u64 = 64 * 1024;
/// Letras de la frase más corta que se acepta.
const MINIMO: usize = 20;
/// La misma en todas las clases: la frase ya es distinta en cada una.
const SAL: &[u8] = b"nodo/clave/1";
/// Lo que cuesta probar una frase: 19 MiB de memoria y dos vueltas, lo que recomienda OWASP.
const MEMORIA_KIB: u32 = 19 * 1024;
const VUELTAS: u32 = 2;
const CARRILES: u32 = 1;
/// De dónde sale la frase si no se escribe: así no se ve en la lista de procesos.
pub const VARIABLE: &str = "NODO_CLAVE";

/// Consonantes y vocales con que se inventa una frase: las que al dictar no se confunden entre sí.
const CONSONANTES: &[u8] = b"bdfklmnprst";
const VOCALES: &[u8] = b"aeiou";
/// Sílabas de cada palabra, y palabras: 18 sílabas de 55 son 104 bits.
const SILABAS: usize = 3;
const PALABRAS: usize = 6;

/// Las opciones de la clave.
#[derive(Debug, Clone, Default, Args)]
pub struct OpcionesDeClave {
    /// Frase que comparte la clase: lo que se diga a otros nodos va cifrado con ella
    #[arg(long, value_name = "FRASE", conflicts_with = "clave_de")]
    pub clave: Option<String>,
    /// Archivo cuya primera línea es esa frase
    #[arg(long, value_name = "ARCHIVO")]
    pub clave_de: Option<PathBuf>,
}

impl OpcionesDeClave {
    /// Busca la frase donde se haya dicho (una opción, un archivo o la variable `NODO_CLAVE`) y
    /// mira que valga. Vacía no es lo mismo que ninguna: sin querer, se hablaría en claro.
    pub fn leer_frase(&mut self) -> Result<(), String> {
        if self.clave.is_some() && self.clave_de.is_some() {
            return Err("--clave y --clave-de no van juntos".into());
        }
        if let Some(archivo) = self.clave_de.take() {
            let primera = primera_linea(&archivo);
            let que = |motivo| format!("--clave-de {}: {motivo}", archivo.display());
            self.clave = Some(primera.map_err(que)?);
        }
        if self.clave.is_none() {
            self.clave = match env::var(VARIABLE) {
                Err(VarError::NotUnicode(_)) => return Err(format!("{VARIABLE} no es texto")),
                escrita => escrita.ok(),
            };
        }
        let corta = |frase: &String| frase.trim().chars().count() < MINIMO;
        match self.clave.as_ref().is_some_and(corta) {
            true => Err(format!(
                "la frase de la clave es corta: tiene que tener {MINIMO} letras o más, porque \
                 quien escuche un saludo puede probar frases sin prisa; «nodo clave» inventa una"
            )),
            false => Ok(()),
        }
    }

    /// La clave, si se dio una frase.
    pub fn clave(&self) -> Result<Option<Clave>, Fallo> {
        self.clave.as_deref().map(clave_de_frase).transpose()
    }
}

/// La primera línea de un archivo, sin la marca con que algunos editores de Windows empiezan.
fn primera_linea(archivo: &Path) -> Result<String, String> {
    let mut leido = Vec::new();
    let abierto = File::open(archivo).map(|archivo| archivo.take(TOPE_DE_ARCHIVO));
    let todo = abierto.and_then(|mut archivo| archivo.read_to_end(&mut leido));
    todo.map_err(|error| motivo(&error))?;
    let texto = String::from_utf8(leido);
    let texto = texto.map_err(|_| "no es texto UTF-8: guárdalo así, o escríbelo de nuevo")?;
    let linea = texto.trim_start_matches('\u{feff}').lines().next();
    Ok(linea.unwrap_or_default().to_string())
}

/// De la frase a la clave. Los espacios de los extremos no cuentan.
fn clave_de_frase(frase: &str) -> Result<Clave, Fallo> {
    let frase = frase.trim();
    let (mut bytes, largo) = ([0; 32], None);
    let coste = Params::new(MEMORIA_KIB, VUELTAS, CARRILES, largo);
    let coste = coste.expect("son parámetros que valen");
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, coste);
    let hecho = argon2.hash_password_into(frase.as_bytes(), SAL, &mut bytes);
    hecho.map_err(|e| Fallo::nuevo(format!("no se pudo calcular la clave: {e}")))?;
    Ok(Clave::nueva(bytes))
}

/// `nodo clave`: inventa una frase y la dice.
pub fn inventar(consola: &mut Consola) -> Result<Salida, Fallo> {
    consola.pantalla.linea(frase_al_azar()?);
    consola.pantalla.aviso(
        "En cada computadora: nodo --clave-de ARCHIVO, con la frase en la primera línea (o en la \
         variable NODO_CLAVE). Con --clave FRASE también, pero así se ve en la lista de procesos.",
    );
    Ok(Salida::Bien)
}

fn frase_al_azar() -> Result<String, Fallo> {
    let palabras: Result<Vec<String>, Fallo> = (0..PALABRAS).map(|_| palabra_al_azar()).collect();
    Ok(palabras?.join(" "))
}

fn palabra_al_azar() -> Result<String, Fallo> {
    let mut palabra = String::new();
    for _ in 0..SILABAS {
        palabra.push(letra_al_azar(CONSONANTES)?);
        palabra.push(letra_al_azar(VOCALES)?);
    }
    Ok(palabra)
}

/// Una letra de las que hay, todas con la misma probabilidad: lo que sobra de 256 se vuelve a
/// tirar.
fn letra_al_azar(letras: &[u8]) -> Result<char, Fallo> {
    let justo = 256 - 256 % letras.len();
    loop {
        let mut dado = [0];
        let tirado = getrandom::fill(&mut dado);
        tirado.map_err(|e| Fallo::nuevo(format!("el sistema no da números al azar: {e}")))?;
        if usize::from(dado[0]) < justo {
            return Ok(char::from(letras[usize::from(dado[0]) % letras.len()]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn una_frase_corta_no_vale_y_la_misma_da_la_misma() {
        let leer = |frase: &str| {
            let clave = Some(frase.to_string());
            OpcionesDeClave {
                clave,
                clave_de: None,
            }
            .leer_frase()
        };
        assert!(leer("diecinueve letras..").is_err());
        assert!(leer(&format!("{}   ", "x".repeat(19))).is_err());
        assert!(leer("una frase de veinte letras").is_ok());
        let clave = |frase| clave_de_frase(frase).unwrap();
        assert_eq!(
            clave("una frase de veinte letras"),
            clave(" una frase de veinte letras\n")
        );
        assert_ne!(
            clave("una frase de veinte letras"),
            clave("una frase de veinte letraz")
        );
    }

    #[test]
    fn la_clave_de_una_frase_es_la_de_argon2id() {
        // Calculada con otra implementación: argon2-cffi, con la misma sal y el mismo coste.
        let esperada = CALCULADA
            .as_bytes()
            .chunks(2)
            .map(|par| u8::from_str_radix(str::from_utf8(par).unwrap(), 16).unwrap());
        let esperada: Vec<u8> = esperada.collect();
        let esperada = Clave::nueva(esperada.try_into().unwrap());
        assert_eq!(
            clave_de_frase("batuki domite karusa lenopi").unwrap(),
            esperada
        );
    }

    const CALCULADA: &str = "e626f6d24f7679ae28f0e67311afcfdf6a6265fabd846735b42e8a5376084734";

    #[test]
    fn lo_que_se_inventa_vale_y_no_se_repite() {
        let frases: HashSet<String> = (0..50).map(|_| frase_al_azar().unwrap()).collect();
        assert_eq!(frases.len(), 50);
        for frase in frases {
            assert!(
                frase.len() >= MINIMO && frase.split(' ').count() == PALABRAS,
                "{frase}"
            );
            assert!(clave_de_frase(&frase).is_ok());
        }
    }
}
