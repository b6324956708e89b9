//! Una línea del diario: algo que un proceso hizo con una conexión.
//!
//! Es lo único que comparten quien escribe el diario (`diario.rs`) y quienes lo leen (`diagrama/`,
//! `informe.rs`): aquí está su forma en JSON, de ida y de vuelta. No abre archivos.

use std::fmt::Write;

use serde_json::Value;

use crate::fallo::Fallo;

/// Qué pasó.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Clase {
    /// Abrió una conexión.
    Conecta,
    /// Aceptó una conexión.
    Acepta,
    /// Mandó una línea del protocolo.
    Envia,
    /// Recibió una línea del protocolo.
    Recibe,
    /// Cerró la conexión.
    Cierra,
    /// Pasaron datos de un archivo: `palabra` dice en qué sentido (`envia` o `recibe`).
    Datos,
}

const CLASES: [(Clase, &str); 6] = [
    (Clase::Conecta, "conecta"),
    (Clase::Acepta, "acepta"),
    (Clase::Envia, "envia"),
    (Clase::Recibe, "recibe"),
    (Clase::Cierra, "cierra"),
    (Clase::Datos, "datos"),
];

impl Clase {
    /// Como se escribe en el diario.
    pub fn nombre(self) -> &'static str {
        let suya = CLASES.iter().find(|(clase, _)| *clase == self);
        suya.map_or("", |(_, nombre)| nombre)
    }

    fn leer(nombre: &str) -> Option<Clase> {
        let suya = CLASES.iter().find(|(_, suyo)| *suyo == nombre);
        suya.map(|(clase, _)| *clase)
    }
}

/// Un suceso, con los campos de su línea.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suceso {
    /// Ordinal en su proceso, desde 1. Manda sobre `t` para ordenar: se toma antes de escribir en
    /// el socket y después de leer de él.
    pub i: u64,
    /// Microsegundos desde 1970, según el reloj de esa máquina.
    pub t: u64,
    /// Nombre del nodo.
    pub nodo: String,
    /// Nombre del hilo.
    pub hilo: String,
    /// Qué pasó.
    pub clase: Clase,
    /// Ordinal de la conexión en su proceso, desde 1.
    pub c: u64,
    /// Dirección de este lado, `ip:puerto`.
    pub yo: String,
    /// Dirección del otro lado.
    pub otro: String,
    /// Ordinal de la línea en su sentido dentro de la conexión, desde 1; 0 si no es una línea.
    pub n: u64,
    /// La palabra con que empieza la línea.
    pub palabra: String,
    /// La línea, sin su final y sin limpiar: puede traer cualquier cosa.
    pub texto: String,
    /// Bytes que ocupa.
    pub bytes: u64,
    /// La falla puesta a propósito que lo tocó, si la hubo: `callar`, `retraso=212`…
    pub falla: Option<String>,
}

/// Un suceso que se está apuntando: los mismos campos, prestados, para no copiar nada en mitad de
/// una conversación.
#[derive(Debug, Clone, Copy)]
pub struct Apunte<'a> {
    /// Ordinal en su proceso.
    pub i: u64,
    /// Microsegundos desde 1970.
    pub t: u64,
    /// Nombre del nodo.
    pub nodo: &'a str,
    /// Nombre del hilo.
    pub hilo: &'a str,
    /// Qué pasó.
    pub clase: Clase,
    /// Ordinal de la conexión.
    pub c: u64,
    /// Este lado.
    pub yo: &'a str,
    /// El otro lado.
    pub otro: &'a str,
    /// Ordinal de la línea.
    pub n: u64,
    /// La palabra.
    pub palabra: &'a str,
    /// La línea.
    pub texto: &'a str,
    /// Bytes que ocupa.
    pub bytes: u64,
    /// La falla puesta a propósito.
    pub falla: Option<&'a str>,
}

impl Apunte<'_> {
    /// La línea del diario, sin el salto. Se escribe a mano porque pasa por aquí cada mensaje.
    pub fn en_json(&self) -> String {
        let mut linea = String::with_capacity(256 + self.texto.len());
        con_numero(&mut linea, "{\"i\":", self.i);
        con_numero(&mut linea, ",\"t\":", self.t);
        con_texto(&mut linea, ",\"nodo\":", self.nodo);
        con_texto(&mut linea, ",\"hilo\":", self.hilo);
        con_texto(&mut linea, ",\"suceso\":", self.clase.nombre());
        con_numero(&mut linea, ",\"c\":", self.c);
        con_texto(&mut linea, ",\"yo\":", self.yo);
        con_texto(&mut linea, ",\"otro\":", self.otro);
        con_numero(&mut linea, ",\"n\":", self.n);
        con_texto(&mut linea, ",\"palabra\":", self.palabra);
        con_texto(&mut linea, ",\"texto\":", self.texto);
        con_numero(&mut linea, ",\"bytes\":", self.bytes);
        if let Some(falla) = self.falla {
            con_texto(&mut linea, ",\"falla\":", falla);
        }
        linea.push('}');
        linea
    }
}

fn con_numero(linea: &mut String, campo: &str, numero: u64) {
    linea.push_str(campo);
    // En un `String` no hay escritura que falle.
    let _ = write!(linea, "{numero}");
}

fn con_texto(linea: &mut String, campo: &str, texto: &str) {
    linea.push_str(campo);
    let sencillo = |b: u8| b >= b' ' && b != b'"' && b != b'\\';
    if texto.bytes().all(sencillo) {
        linea.push('"');
        linea.push_str(texto);
        linea.push('"');
    } else {
        linea.push_str(&Value::from(texto).to_string());
    }
}

impl Suceso {
    /// El mismo, prestado.
    pub fn apunte(&self) -> Apunte<'_> {
        Apunte {
            i: self.i,
            t: self.t,
            nodo: &self.nodo,
            hilo: &self.hilo,
            clase: self.clase,
            c: self.c,
            yo: &self.yo,
            otro: &self.otro,
            n: self.n,
            palabra: &self.palabra,
            texto: &self.texto,
            bytes: self.bytes,
            falla: self.falla.as_deref(),
        }
    }

    /// Lee una línea del diario.
    ///
    /// # Errores
    /// No es un objeto JSON, o le falta un campo de los que sitúan el suceso.
    pub fn de_json(linea: &str) -> Result<Suceso, Fallo> {
        let leido: Value =
            serde_json::from_str(linea).map_err(|_| Fallo::nuevo("no es una línea de diario"))?;
        let falta = |campo: &str| Fallo::nuevo(format!("le falta «{campo}»"));
        let numero = |campo: &str| leido[campo].as_u64().ok_or_else(|| falta(campo));
        let texto = |campo: &str| leido[campo].as_str().unwrap_or_default().to_string();
        let direccion = |campo: &str| match leido[campo].as_str() {
            Some(escrita) => Ok(escrita.to_string()),
            None => Err(falta(campo)),
        };
        let clase = leido["suceso"].as_str().and_then(Clase::leer);
        Ok(Suceso {
            i: numero("i")?,
            t: numero("t")?,
            nodo: direccion("nodo")?,
            hilo: texto("hilo"),
            clase: clase.ok_or_else(|| falta("suceso"))?,
            c: numero("c")?,
            yo: direccion("yo")?,
            otro: direccion("otro")?,
            n: leido["n"].as_u64().unwrap_or_default(),
            palabra: texto("palabra"),
            texto: texto("texto"),
            bytes: leido["bytes"].as_u64().unwrap_or_default(),
            falla: leido["falla"].as_str().map(str::to_string),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lo_escrito_se_lee_igual(
            (i, t, c, n, bytes) in any::<(u64, u64, u64, u64, u64)>(),
            (nodo, hilo, yo) in any::<(String, String, String)>(),
            (otro, palabra, texto) in any::<(String, String, String)>(),
            falla in any::<Option<String>>(),
            cual in 0..CLASES.len(),
        ) {
            let clase = CLASES[cual].0;
            let suceso = Suceso {
                i, t, nodo, hilo, clase, c, yo, otro, n, palabra, texto, bytes, falla,
            };
            prop_assert_eq!(Suceso::de_json(&suceso.apunte().en_json()).unwrap(), suceso);
        }

        #[test]
        fn ninguna_linea_tumba_la_lectura(linea in ".*") {
            let _ = Suceso::de_json(&linea);
        }
    }
}
