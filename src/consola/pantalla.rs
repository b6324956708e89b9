//! El único lugar que escribe en pantalla, y sólo lo usa el hilo principal.
//!
//! Sustituye a los `print` e `input` de la guía. Todo lo que se pinta pasa por [`limpiar`]: un nombre o un mensaje
//! ajeno no puede mover el cursor ni fingir un menú, lo escriba quien lo escriba. Los resultados van por stdout y
//! lo demás por stderr; sin terminal no hay barra ni colores.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::consola::progreso::{Fase, Marcha};
use crate::texto::{cuenta, duracion, limpiar, tamano};

/// La pantalla, con la pregunta que esté a medias y la barra de progreso si la hay.
#[derive(Default)]
pub struct Pantalla {
    pregunta: Option<String>,
    barra: Option<ProgressBar>,
    fase: Fase,
    rota: bool,
    todo_a_stdout: bool,
}

impl Pantalla {
    /// Una pantalla sin nada pendiente.
    pub fn nueva() -> Pantalla {
        Pantalla::default()
    }

    /// Una línea por stdout: un resultado.
    pub fn linea(&mut self, texto: impl AsRef<str>) {
        self.tanda([texto]);
    }

    /// Varias líneas por stdout en un solo `write`.
    pub fn tanda<T: AsRef<str>>(&mut self, lineas: impl IntoIterator<Item = T>) {
        let mut todo = String::new();
        for linea in lineas {
            todo.push_str(&limpiar(linea.as_ref()));
            todo.push('\n');
        }
        self.escribir(&todo);
    }

    /// Una línea por stderr: un aviso o un error.
    pub fn aviso(&mut self, texto: impl AsRef<str>) {
        let linea = limpiar(texto.as_ref());
        let pintar = || writeln!(io::stderr(), "{linea}");
        // Sin stderr no queda dónde quejarse.
        let _ = match &self.barra {
            Some(barra) => barra.suspend(pintar),
            None => pintar(),
        };
    }

    /// Una línea que dice qué salió mal: por stderr, salvo en el menú, donde la guía lo dice todo por stdout.
    pub fn error(&mut self, texto: impl AsRef<str>) {
        if self.todo_a_stdout {
            self.linea(texto);
        } else {
            self.aviso(texto);
        }
    }

    /// Desde ahora los errores también van por stdout.
    pub fn como_la_guia(&mut self) {
        self.todo_a_stdout = true;
    }

    /// Hace una pregunta y deja el cursor detrás.
    pub fn preguntar(&mut self, texto: &str) {
        self.escribir(texto);
        self.pregunta = Some(texto.to_string());
    }

    /// Contestaron: la pregunta ya no hay que repetirla.
    pub fn contestada(&mut self) {
        self.pregunta = None;
    }

    /// Algo que llegó mientras alguien leía: se pinta en líneas propias y la pregunta se repite debajo.
    pub fn interrumpir<T: AsRef<str>>(&mut self, lineas: impl IntoIterator<Item = T>) {
        let pregunta = self.pregunta.take();
        if pregunta.is_some() {
            self.escribir("\n");
        }
        self.tanda(lineas);
        if let Some(pregunta) = pregunta {
            self.preguntar(&pregunta);
        }
    }

    /// ¿Falló stdout? (por ejemplo, quien leía la tubería se fue). Entonces no tiene sentido seguir.
    pub fn rota(&self) -> bool {
        self.rota
    }

    /// Enseña en stderr por dónde va un trabajo, si es una terminal.
    pub fn poner_barra(&mut self) {
        if io::stderr().is_terminal() {
            self.barra = Some(ProgressBar::new(0).with_style(estilo_de_barra(0)));
            self.fase = Fase::Preguntando;
        }
    }

    /// Pone la barra donde dice `marcha`.
    pub fn avanzar(&mut self, marcha: &Marcha) {
        let Some(barra) = &self.barra else { return };
        if barra.length() != Some(marcha.total) {
            barra.set_style(estilo_de_barra(marcha.total));
            barra.set_length(marcha.total);
        }
        barra.set_position(marcha.hechos);
        if marcha.fase != self.fase {
            // Lo comprobado de otra vez no cuenta para la velocidad.
            self.fase = marcha.fase;
            barra.reset_eta();
        }
        barra.set_message(match marcha.fase {
            Fase::Preguntando => "preguntando".to_string(),
            Fase::Calculando => "la fuente calcula la huella".to_string(),
            Fase::Comprobando => "comprobando lo que había".to_string(),
            Fase::Pasando if marcha.fuentes > 0 => cuenta(marcha.fuentes, "fuente", "fuentes"),
            Fase::Pasando => "enviando".to_string(),
            Fase::Guardando => "guardando".to_string(),
        });
    }

    /// Quita la barra sin dejar rastro.
    pub fn quitar_barra(&mut self) {
        if let Some(barra) = self.barra.take() {
            barra.finish_and_clear();
        }
    }

    fn escribir(&mut self, texto: &str) {
        let pintar = || {
            let mut salida = io::stdout().lock();
            salida
                .write_all(texto.as_bytes())
                .and_then(|()| salida.flush())
        };
        let pintado = match &self.barra {
            Some(barra) => barra.suspend(pintar),
            None => pintar(),
        };
        self.rota |= pintado.is_err();
    }
}

/// Sin saber cuántos bytes son (al preguntar, o con un nodo de la guía) no hay barra que llenar ni tiempo que anunciar.
fn estilo_de_barra(total: u64) -> ProgressStyle {
    let plantilla = match total {
        0 => "{msg} · {hechos}",
        _ => "{bar:28} {hechos} de {cuantos} · {ritmo}/s · faltan {falta} · {msg}",
    };
    ProgressStyle::with_template(plantilla)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("hechos", dato(|estado| tamano(estado.pos())))
        .with_key("cuantos", dato(|estado| tamano(estado.len().unwrap_or(0))))
        .with_key("ritmo", dato(|estado| tamano(estado.per_sec() as u64)))
        .with_key("falta", dato(lo_que_falta))
}

/// Al empezar aún no hay velocidad con que calcularlo.
fn lo_que_falta(estado: &ProgressState) -> String {
    if estado.per_sec() < 1.0 {
        return "…".into();
    }
    duracion(estado.eta())
}

/// Un dato de la barra escrito como en el resto del programa.
fn dato(
    escrito: fn(&ProgressState) -> String,
) -> impl Fn(&ProgressState, &mut dyn fmt::Write) + Send + Sync + Clone + 'static {
    move |estado, destino| {
        // Sólo falla si no cabe en memoria: la barra se queda sin ese dato.
        let _ = destino.write_str(&escrito(estado));
    }
}

/// Cada cuánto se repinta la barra.
pub const REPINTAR: Duration = Duration::from_millis(100);
