//! Lo que llega de quien está delante: las líneas del teclado y el Ctrl-C, por canales.
//!
//! Es el `input()` de la guía, en un hilo que sólo lee, para que el principal pueda esperar a la vez el teclado, los
//! eventos y el Ctrl-C con un `select!`. Ese hilo es el único que nadie espera al salir: una lectura de stdin no se
//! puede interrumpir. No interpreta lo escrito.

use std::io::{self, BufRead, Read};

use crossbeam_channel::{Receiver, bounded, never};

use crate::fallo::Fallo;
use crate::red::hilos::arrancar;

/// Lo más largo que se lee de una línea, en bytes; el resto de la línea se descarta.
const TOPE_DE_LINEA: u64 = 64 * 1024;

/// El teclado, que no se enciende hasta que alguien pregunta algo.
#[derive(Default)]
pub struct Teclado {
    lineas: Option<Receiver<String>>,
    leyendo: bool,
}

impl Teclado {
    /// Empieza a dar lo que se escriba, con `pregunta` delante.
    pub fn leer(&mut self, _pregunta: &str) -> Result<(), Fallo> {
        if self.lineas.is_none() {
            self.lineas = Some(lineas_del_teclado()?);
        }
        self.leyendo = true;
        Ok(())
    }

    /// Deja de dar lo que se escriba: espera a la siguiente pregunta.
    pub fn callar(&mut self) {
        self.leyendo = false;
    }

    /// Por dónde llega cada línea, si se está leyendo.
    pub fn lineas(&self) -> Receiver<String> {
        match &self.lineas {
            Some(lineas) if self.leyendo => lineas.clone(),
            _ => never(),
        }
    }
}

/// Arranca el hilo que lee stdin. El canal da una línea cada vez (sin su `\n`; lo que no sea UTF-8
/// llega como `�`) y se cierra con el fin de la entrada.
fn lineas_del_teclado() -> Result<Receiver<String>, Fallo> {
    // Sin sitio de sobra: el hilo no lee la línea siguiente hasta que alguien quiere esta.
    let (entregar, recoger) = bounded(0);
    // No se le espera al salir: una lectura de stdin no se puede interrumpir.
    arrancar("teclado", move || {
        let mut entrada = io::stdin().lock();
        while let Ok(Some(linea)) = leer_linea(&mut entrada) {
            if entregar.send(linea).is_err() {
                return;
            }
        }
    })?;
    Ok(recoger)
}

fn leer_linea(entrada: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut linea = Vec::new();
    if entrada
        .by_ref()
        .take(TOPE_DE_LINEA)
        .read_until(b'\n', &mut linea)?
        == 0
    {
        return Ok(None);
    }
    if linea.last() != Some(&b'\n') && linea.len() as u64 == TOPE_DE_LINEA {
        entrada.skip_until(b'\n')?;
    }
    while matches!(linea.last(), Some(b'\n' | b'\r')) {
        linea.pop();
    }
    Ok(Some(String::from_utf8_lossy(&linea).into_owned()))
}

/// Un aviso por cada Ctrl-C (y SIGTERM en Unix, o cerrar la consola en Windows).
///
/// # Errores
/// El sistema no deja atender la señal.
pub fn avisos_de_ctrl_c() -> Result<Receiver<()>, Fallo> {
    let (avisar, oir) = bounded(8);
    let apuntar = move || {
        // Si hay ocho sin atender, uno más no cambia nada.
        let _ = avisar.try_send(());
    };
    ctrlc::set_handler(apuntar)
        .map_err(|e| Fallo::nuevo(format!("no se puede atender Ctrl-C: {e}")))?;
    Ok(oir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lineas_rotas_largas_y_sin_final() {
        let mut entrada: Vec<u8> = b"uno\r\n\n\xff\n".to_vec();
        entrada.extend(vec![b'x'; 200_000]);
        entrada.extend(b"\nfin");
        let mut entrada = &entrada[..];
        let mut leidas = Vec::new();
        while let Some(linea) = leer_linea(&mut entrada).unwrap() {
            leidas.push(linea);
        }
        assert_eq!(leidas.len(), 5);
        assert_eq!(&leidas[..3], ["uno", "", "\u{fffd}"]);
        assert_eq!(leidas[3].len(), TOPE_DE_LINEA as usize);
        assert_eq!(leidas[4], "fin");
    }
}
