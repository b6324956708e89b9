//! Lo que llega de quien está delante: las líneas del teclado y el Ctrl-C, por canales.
//!
//! Es el `input()` de la guía, en un hilo que sólo lee, para que el principal pueda esperar a la
//! vez el teclado, los eventos y el Ctrl-C con un `select!`. Lee una línea por pregunta: en una
//! terminal, con el editor (`editor.rs`); de una tubería, tal cual. A ese hilo, y al que pinta
//! encima del editor, nadie los espera al salir: una lectura de stdin no se puede interrumpir. No
//! interpreta lo escrito.

use std::io::{self, BufRead, Read, stdin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, never, tick};

use crate::consola::editor::{Editor, Impresor, Lectura, Nombres, Pintor};
use crate::consola::terminal::Terminal;
use crate::fallo::Fallo;
use crate::red::hilos::{arrancar, sin_hilo};

/// Lo más largo que se lee de una línea, en bytes; el resto de la línea se descarta.
const TOPE_DE_LINEA: u64 = 64 * 1024;

/// Cada cuánto se mira si la terminal vuelve de la shell, mientras se escribe.
const PULSO: Duration = Duration::from_millis(200);

/// El teclado, que no se enciende hasta que alguien pregunta algo.
pub struct Teclado {
    /// La terminal en que se escribe.
    pub terminal: Terminal,
    impresor: Impresor,
    avisar_ctrl_c: Sender<()>,
    /// ¿Se escribe en una terminal? Entonces la pregunta la pinta el editor.
    pub en_terminal: bool,
    /// Con qué se lee en una terminal, hasta que se lo lleva el hilo.
    editor: Option<(Editor, Pintor)>,
    /// Por dónde se le pregunta al hilo, y por dónde contesta.
    hilo: Option<(Sender<String>, Receiver<String>)>,
    /// Se preguntó y no ha contestado.
    pendiente: bool,
    /// El editor tiene la línea.
    editando: Arc<AtomicBool>,
    /// Cada cuánto se mira que siga teniéndola.
    pulso: Receiver<Instant>,
    escuchando: bool,
    /// Se pide una línea detrás de otra.
    siempre: bool,
}

impl Teclado {
    /// Un teclado apagado. Lo que se pinte mientras se escribe va por `impresor`; los Ctrl-C
    /// tecleados, por `avisar_ctrl_c`, como los demás.
    pub fn nuevo(impresor: Impresor, nombres: &Nombres, avisar_ctrl_c: Sender<()>) -> Teclado {
        let editor = Editor::nuevo(nombres);
        Teclado {
            terminal: Terminal::default(),
            impresor,
            avisar_ctrl_c,
            en_terminal: editor.is_some(),
            editor,
            hilo: None,
            pendiente: false,
            editando: Arc::default(),
            pulso: tick(PULSO),
            escuchando: false,
            siempre: false,
        }
    }

    /// Pide una línea, con `pregunta` delante. Si la anterior no se contestó, sigue siendo esa.
    pub fn leer(&mut self, pregunta: &str) -> Result<(), Fallo> {
        if self.hilo.is_none() {
            self.hilo = Some(self.encender()?);
        }
        self.pedir(pregunta);
        Ok(())
    }

    fn pedir(&mut self, pregunta: &str) {
        self.escuchando = true;
        if self.pendiente {
            return;
        }
        self.pendiente = true;
        if self.en_terminal {
            self.terminal.apuntar();
            self.impresor.hay_pregunta(true);
            self.editando.store(true, Ordering::SeqCst);
        }
        if let Some((preguntar, _)) = &self.hilo {
            // Sólo falla si se acabó la entrada, y eso lo dice el otro canal.
            let _ = preguntar.send(pregunta.into());
        }
    }

    /// Pide una línea detrás de otra.
    pub fn leer_siempre(&mut self) -> Result<(), Fallo> {
        self.siempre = true;
        self.leer("")
    }

    /// Pide la siguiente, si se piden siempre.
    pub fn seguir(&mut self) {
        if self.siempre {
            self.pedir("");
        }
    }

    /// Por dónde llega la línea pedida.
    pub fn lineas(&self) -> Receiver<String> {
        match &self.hilo {
            Some((_, lineas)) if self.escuchando => lineas.clone(),
            _ => never(),
        }
    }

    /// ¿Hay que volver a pintar la línea, porque la terminal estuvo en manos de la shell?
    pub fn vuelve_de_la_shell(&mut self) -> bool {
        self.editando.load(Ordering::SeqCst) && self.terminal.vuelve_de_la_shell()
    }

    /// Cuándo toca mirarlo.
    pub fn pulso(&self) -> Receiver<Instant> {
        match self.editando.load(Ordering::SeqCst) {
            true => self.pulso.clone(),
            false => never(),
        }
    }

    /// Llegó la línea pedida.
    pub fn contestada(&mut self) {
        self.pendiente = false;
        self.callar();
    }

    /// Deja de escuchar. Cierto si la línea se quedó a medias: entonces la terminal vuelve a su
    /// estado.
    pub fn callar(&mut self) -> bool {
        self.escuchando = false;
        self.impresor.hay_pregunta(false);
        let a_medias = self.editando.swap(false, Ordering::SeqCst) && self.pendiente;
        if a_medias {
            self.terminal.reponer();
        } else if self.en_terminal {
            // Contestó, o se fue con un Ctrl-C: la siguiente será otra.
            self.pendiente = false;
        }
        a_medias
    }

    /// Arranca el hilo que lee. Su canal se cierra con el fin de la entrada.
    fn encender(&mut self) -> Result<(Sender<String>, Receiver<String>), Fallo> {
        let (preguntar, preguntas) = bounded::<String>(1);
        // Sin sitio de sobra: nadie lee la línea siguiente hasta que alguien quiere esta.
        let (contestar, lineas) = bounded(0);
        let (editando, ctrl_c) = (Arc::clone(&self.editando), self.avisar_ctrl_c.clone());
        let mut leer: Box<dyn FnMut(&str) -> Lectura + Send> = match self.editor.take() {
            Some((mut editor, pintor)) => {
                self.impresor.arrancar(pintor)?;
                Box::new(move |pregunta| editor.leer(pregunta))
            }
            None => Box::new(|_| match leer_linea(&mut stdin().lock()) {
                Ok(Some(linea)) => Lectura::Linea(linea),
                Ok(None) | Err(_) => Lectura::Fin,
            }),
        };
        arrancar("teclado", move || {
            for pregunta in preguntas {
                let leido = leer(&pregunta);
                editando.store(false, Ordering::SeqCst);
                let contestado = match leido {
                    Lectura::Linea(linea) => contestar.send(linea).is_ok(),
                    Lectura::CtrlC => {
                        // Si hay ocho sin atender, uno más no cambia nada.
                        let _ = ctrl_c.try_send(());
                        true
                    }
                    Lectura::Fin => false,
                };
                if !contestado {
                    return;
                }
            }
        })?;
        Ok((preguntar, lineas))
    }
}

/// La línea siguiente, sin su `\n`; lo que no sea UTF-8 llega como `�`.
fn leer_linea(entrada: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut linea = Vec::new();
    let mut con_tope = entrada.by_ref().take(TOPE_DE_LINEA);
    if con_tope.read_until(b'\n', &mut linea)? == 0 {
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
/// Por el otro extremo se avisa también de los que llegan como una tecla más.
pub fn avisos_de_ctrl_c() -> Result<(Sender<()>, Receiver<()>), Fallo> {
    let (avisar, oir) = bounded(8);
    let tecleados = avisar.clone();
    let apuntar = move || {
        // Si hay ocho sin atender, uno más no cambia nada.
        let _ = avisar.try_send(());
    };
    ctrlc::set_handler(apuntar).map_err(|error| match error {
        ctrlc::Error::System(e) => sin_hilo("ctrl-c", &e),
        _ => Fallo::nuevo("no se puede atender Ctrl-C: otro programa lo atiende ya"),
    })?;
    Ok((tecleados, oir))
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
