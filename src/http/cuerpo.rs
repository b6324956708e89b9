//! El cuerpo de una respuesta que no cabe en memoria, según llega: hasta la longitud que dijo, a
//! trozos, o hasta que cierre.
//!
//! Dice si llegó entero, hasta donde se puede saber. No guarda nada.

use std::io;
use std::time::{Duration, Instant};

use crate::red::conexion::{Conexion, FalloRed};

/// Lo que puede ocupar la línea con la longitud de un trozo, o una de las que van al final.
const TOPE_LINEA: usize = 1024;
/// Con todo recibido, lo que se espera a ver si manda más: quien contesta en HTTP/1.0 cierra ya.
const SOBRA: Duration = Duration::from_millis(500);

/// Lo que queda por llegar de un cuerpo.
pub struct CuerpoQueLlega {
    como: Como,
    /// Bytes que quedan (de todo, o del trozo).
    quedan: u64,
    acabado: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Como {
    Anunciado,
    ATrozos { primero: bool },
    HastaElCierre,
}

impl CuerpoQueLlega {
    /// Un cuerpo con esa longitud, si la dijo. Si viene a trozos, la longitud no vale.
    pub fn nuevo(largo: Option<u64>, a_trozos: bool) -> CuerpoQueLlega {
        let como = match largo {
            _ if a_trozos => Como::ATrozos { primero: true },
            Some(_) => Como::Anunciado,
            None => Como::HastaElCierre,
        };
        let quedan = largo.filter(|_| !a_trozos).unwrap_or(0);
        CuerpoQueLlega {
            como,
            quedan,
            acabado: false,
        }
    }

    /// ¿Se sabrá si llegó entero?
    pub fn se_sabra_el_final(&self) -> bool {
        self.como != Como::HastaElCierre
    }

    /// Lee en `destino` lo que haya. 0 es el final: llegó entero, o no hay cómo saberlo.
    ///
    /// # Errores
    /// Se cortó antes, llegó más de lo que dijo, o los trozos no se entienden.
    pub fn leer(
        &mut self,
        conexion: &mut Conexion,
        destino: &mut [u8],
        plazo: Duration,
    ) -> Result<usize, FalloRed> {
        if let Como::ATrozos { primero } = self.como
            && self.quedan == 0
            && !self.acabado
        {
            self.quedan = empezar_trozo(conexion, primero, plazo)?;
            self.como = Como::ATrozos { primero: false };
            self.acabado = self.quedan == 0;
            if self.acabado {
                leer_cola(conexion, plazo)?;
            }
        }
        match self.como {
            _ if self.acabado => Ok(0),
            Como::HastaElCierre => conexion.leer_datos(destino, plazo),
            Como::Anunciado if self.quedan == 0 => {
                self.acabado = true;
                sin_nada_mas(conexion).map(|()| 0)
            }
            Como::Anunciado | Como::ATrozos { .. } => {
                self.leer_de_lo_que_queda(conexion, destino, plazo)
            }
        }
    }

    fn leer_de_lo_que_queda(
        &mut self,
        conexion: &mut Conexion,
        destino: &mut [u8],
        plazo: Duration,
    ) -> Result<usize, FalloRed> {
        let cabe = usize::try_from(self.quedan).unwrap_or(usize::MAX);
        let cabe = cabe.min(destino.len());
        match conexion.leer_datos(&mut destino[..cabe], plazo)? {
            0 => Err(FalloRed::Cortada),
            cuantos => {
                self.quedan -= cuantos as u64;
                Ok(cuantos)
            }
        }
    }
}

/// La longitud del trozo que empieza, en hexadecimal; 0 es el último.
fn empezar_trozo(conexion: &mut Conexion, primero: bool, plazo: Duration) -> Result<u64, FalloRed> {
    let limite = Instant::now() + plazo;
    if !primero && !leer_linea(conexion, limite)?.is_empty() {
        return Err(mal("un trozo mide más de lo que dijo"));
    }
    let linea = leer_linea(conexion, limite)?;
    let cifras = linea.split(';').next().unwrap_or_default().trim();
    let son_cifras = cifras.bytes().all(|letra| letra.is_ascii_hexdigit());
    let largo = u64::from_str_radix(cifras, 16).ok().filter(|_| son_cifras);
    largo.ok_or_else(|| mal("los trozos en que lo manda no se entienden"))
}

/// Las líneas que pueden seguir al último trozo, hasta la vacía.
fn leer_cola(conexion: &mut Conexion, plazo: Duration) -> Result<(), FalloRed> {
    let limite = Instant::now() + plazo;
    for _ in 0..64 {
        if leer_linea(conexion, limite)?.is_empty() {
            return Ok(());
        }
    }
    Err(mal("manda demasiado después del último trozo"))
}

fn leer_linea(conexion: &mut Conexion, limite: Instant) -> Result<String, FalloRed> {
    loop {
        let pendiente = conexion.pendiente();
        if let Some(largo) = pendiente.iter().position(|&byte| byte == b'\n') {
            let linea = String::from_utf8_lossy(&pendiente[..largo]);
            let linea = linea.trim_end_matches('\r').to_string();
            conexion.consumir(largo + 1);
            return Ok(linea);
        }
        if pendiente.len() > TOPE_LINEA {
            return Err(mal("los trozos en que lo manda no se entienden"));
        }
        if conexion.recibir(limite, "el trozo siguiente")? == 0 {
            return Err(FalloRed::Cortada);
        }
    }
}

/// Quien manda más de lo que dijo no manda lo que dijo.
fn sin_nada_mas(conexion: &mut Conexion) -> Result<(), FalloRed> {
    let limite = Instant::now() + SOBRA;
    let hay = !conexion.pendiente().is_empty();
    // Que no cierre, o que corte, da igual: ya está todo.
    match hay || matches!(conexion.recibir(limite, "el final"), Ok(1..)) {
        true => Err(mal("manda más de lo que dijo")),
        false => Ok(()),
    }
}

fn mal(que: &str) -> FalloRed {
    FalloRed::Sistema(io::Error::other(que))
}
