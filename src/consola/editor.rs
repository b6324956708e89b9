//! La mitad de terminal del teclado: un editor de líneas que sobrevive a lo que se pinta encima.
//!
//! El `input()` de la guía pierde de vista lo tecleado en cuanto otro hilo hace `print`. Aquí,
//! mientras hay pregunta, la línea es del editor (rustyline: flechas, historial y Tab); lo que
//! haya que pintar se le manda por un [`Impresor`], y él borra la línea, lo pinta y repone la
//! pregunta con lo tecleado. No decide qué se pregunta ni limpia lo que pinta: eso ya viene hecho.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, IsTerminal, Write, stderr, stdin, stdout};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crossbeam_channel::{Receiver, Sender, bounded};
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Context, ExternalPrinter, Helper};

use crate::fallo::Fallo;
use crate::red::hilos::arrancar;
use crate::red::parada::cerrojo;

/// Lo que espera a pintarse encima de la pregunta. Si no cabe más, se pinta sin esperar.
const TOPE_POR_PINTAR: usize = 1024;
/// Un Esc suelto no puede quedarse esperando al resto de la tecla: nada se pintaría mientras. En
/// ms.
const ESPERA_DE_TECLA: u16 = 50;
/// Nombres que se recuerdan para completarlos con Tab.
const TOPE_DE_NOMBRES: usize = 10_000;

/// Lo que da el teclado.
pub enum Lectura {
    /// Una línea.
    Linea(String),
    /// Un Ctrl-C en mitad de la línea.
    CtrlC,
    /// No hay más.
    Fin,
}

/// El editor de líneas de la terminal.
pub struct Editor(rustyline::Editor<Nombres, MemHistory>);

/// Lo que pinta encima de lo que se edita.
pub type Pintor = Box<dyn ExternalPrinter + Send>;

impl Editor {
    /// Un editor y su pintor. `None` si no hay terminal, o no sabe mover el cursor.
    pub fn nuevo(nombres: &Nombres) -> Option<(Editor, Pintor)> {
        if !stdin().is_terminal() || !stdout().is_terminal() {
            return None;
        }
        let modo = rustyline::Config::builder()
            .completion_type(CompletionType::List)
            .keyseq_timeout(Some(ESPERA_DE_TECLA))
            // Tres líneas pegadas son tres respuestas, como en una tubería.
            .bracketed_paste(false)
            .build();
        let mut editor = rustyline::Editor::with_config(modo).ok()?;
        editor.set_helper(Some(nombres.clone()));
        let pintor = editor.create_external_printer().ok()?;
        Some((Editor(editor), Box::new(pintor)))
    }

    /// Hace la pregunta y lee la respuesta.
    pub fn leer(&mut self, pregunta: &str) -> Lectura {
        match self.0.readline(pregunta) {
            Ok(linea) => {
                // Los números del menú no son historia.
                if linea.trim().len() > 1 {
                    // Sólo falla un historial en disco.
                    let _ = self.0.add_history_entry(linea.as_str());
                }
                Lectura::Linea(linea)
            }
            Err(ReadlineError::Interrupted) => Lectura::CtrlC,
            // Teclas que no son UTF-8: como en una tubería.
            Err(ReadlineError::Io(e)) if e.kind() == ErrorKind::InvalidData => {
                Lectura::Linea(char::REPLACEMENT_CHARACTER.into())
            }
            Err(_) => Lectura::Fin,
        }
    }
}

/// Por dónde se pinta encima de la pregunta. Lo usan el hilo principal y el registro.
#[derive(Clone)]
pub struct Impresor {
    hay_pregunta: Arc<AtomicBool>,
    mandar: Sender<String>,
    recoger: Receiver<String>,
}

impl Impresor {
    /// Un impresor sin pregunta a la vista.
    pub fn nuevo() -> Impresor {
        let (mandar, recoger) = bounded(TOPE_POR_PINTAR);
        Impresor {
            hay_pregunta: Arc::default(),
            mandar,
            recoger,
        }
    }

    /// ¿Hay una pregunta a la vista?
    pub fn hay_pregunta(&self, hay: bool) {
        self.hay_pregunta.store(hay, Ordering::SeqCst);
    }

    /// Manda unas líneas enteras. Falso si no hay pregunta (o no caben más): que las pinte quien
    /// llama.
    pub fn imprimir(&self, lineas: &str) -> bool {
        self.hay_pregunta.load(Ordering::SeqCst) && self.mandar.try_send(lineas.into()).is_ok()
    }

    /// Arranca el hilo que se las da al editor.
    ///
    /// Es un hilo aparte porque darle una espera a que haya tomado la anterior, y el editor no
    /// toma nada desde que se pulsa Entrar hasta la pregunta siguiente: el principal no puede
    /// esperar eso.
    pub fn arrancar(&self, mut pintor: Pintor) -> Result<(), Fallo> {
        let recoger = self.recoger.clone();
        arrancar("pintor", move || {
            while let Ok(mut lineas) = recoger.recv() {
                lineas.extend(recoger.try_iter().take(TOPE_POR_PINTAR));
                if pintor.print(lineas).is_err() {
                    return;
                }
            }
        })?;
        Ok(())
    }
}

/// Donde escribe el registro: encima de la pregunta si la hay, y si no, en stderr.
impl Write for Impresor {
    fn write(&mut self, apunte: &[u8]) -> io::Result<usize> {
        if !(stderr().is_terminal() && self.imprimir(&String::from_utf8_lossy(apunte))) {
            stderr().write_all(apunte)?;
        }
        Ok(apunte.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        stderr().flush()
    }
}

/// Los nombres que se han visto en pantalla, para completarlos con Tab.
#[derive(Clone, Default)]
pub struct Nombres(Arc<Mutex<BTreeSet<String>>>);

impl Nombres {
    /// Apunta uno más.
    pub fn apuntar(&self, nombre: &str) {
        let mut nombres = cerrojo(&self.0);
        if nombres.len() < TOPE_DE_NOMBRES {
            nombres.insert(nombre.to_string());
        }
    }
}

impl Completer for Nombres {
    type Candidate = String;

    fn complete(
        &self,
        linea: &str,
        cursor: usize,
        _: &Context,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let nombres = cerrojo(&self.0);
        let empieza = |nombre: &&String| nombre.starts_with(&linea[..cursor]);
        Ok((0, nombres.iter().filter(empieza).cloned().collect()))
    }
}

impl Hinter for Nombres {
    type Hint = String;
}
impl Highlighter for Nombres {}
impl Validator for Nombres {}
impl Helper for Nombres {}
