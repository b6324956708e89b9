//! El único lugar que escribe en pantalla, y sólo lo usa el hilo principal.
//!
//! Sustituye a los `print` e `input` de la guía. Todo lo que se pinta pasa por [`limpiar`]: un
//! nombre o un mensaje ajeno no puede mover el cursor ni fingir un menú, lo escriba quien lo
//! escriba. Los resultados van por stdout y lo demás por stderr; sin terminal no hay barra ni
//! colores.

use std::fmt;
use std::io::{self, ErrorKind, IsTerminal, Write};

use terminal_size::{Height, Width, terminal_size};
use textwrap::{Options, WordSplitter, termwidth};

use crate::consola::barra::Barra;
use crate::consola::editor::{Impresor, Nombres};
use crate::consola::progreso::Marcha;
use crate::fallo::motivo;
use crate::texto::limpiar;

/// Columnas que se mete hacia dentro lo que sigue de una línea partida.
const SANGRIA: usize = 2;
/// Filas que se dejan debajo de un dibujo: lo que dice, la pregunta, y una para escribir.
const BAJO_EL_DIBUJO: usize = 3;

/// La pantalla, con la pregunta que esté a medias y la barra de progreso si la hay.
pub struct Pantalla {
    pregunta: Option<String>,
    barra: Option<Barra>,
    impresor: Impresor,
    nombres: Nombres,
    rota: bool,
    todo_a_stdout: bool,
    /// ¿Son una terminal la salida y la de errores? No cambia mientras se corre.
    en_terminal: [bool; 2],
}

impl Pantalla {
    /// Una pantalla sin nada pendiente. Lo que se pinte mientras se teclea va por `impresor`.
    pub fn nueva(impresor: Impresor, nombres: Nombres) -> Pantalla {
        Pantalla {
            pregunta: None,
            barra: None,
            impresor,
            nombres,
            rota: false,
            todo_a_stdout: false,
            en_terminal: [io::stdout().is_terminal(), io::stderr().is_terminal()],
        }
    }

    /// Una línea por stdout: un resultado.
    pub fn linea(&mut self, texto: impl AsRef<str>) {
        self.tanda([texto]);
    }

    /// Varias líneas por stdout en un solo `write`.
    pub fn tanda<T: AsRef<str>>(&mut self, lineas: impl IntoIterator<Item = T>) {
        let ancho = self.en_terminal[0].then(termwidth);
        let enteras = lineas
            .into_iter()
            .map(|linea| que_quepa(linea.as_ref(), ancho));
        self.escribir(&enteras.collect::<String>());
    }

    /// Un dibujo hecho de letras, en negro sobre blanco sean cuales sean los colores de la
    /// terminal. Sin terminal, tal cual.
    pub fn negro_sobre_blanco(&mut self, lineas: &[String]) {
        let (antes, despues) = match self.en_terminal[0] {
            true => ("\u{1b}[38;5;16;48;5;231m", "\u{1b}[0m"),
            false => ("", ""),
        };
        let lineas = lineas
            .iter()
            .map(|linea| format!("{antes}{}{despues}\n", limpiar(linea)));
        self.escribir(&lineas.collect::<String>());
    }

    /// ¿Caben esas líneas en la terminal, con sitio debajo para la pregunta? Sin terminal, no.
    pub fn cabe(&self, lineas: &[String]) -> bool {
        let ancho = lineas.iter().map(|linea| linea.chars().count()).max();
        let medidas = self.en_terminal[0].then(terminal_size).flatten();
        medidas.is_some_and(|(Width(columnas), Height(filas))| {
            ancho.unwrap_or(0) <= columnas.into() && lineas.len() + BAJO_EL_DIBUJO <= filas.into()
        })
    }

    /// Unos bytes por stdout sin limpiar. Si son ajenos, sólo para una tubería.
    pub fn tal_cual(&mut self, bytes: &[u8]) {
        let pintado = self.apartando_la_barra(|| {
            let mut salida = io::stdout().lock();
            salida.write_all(bytes)?;
            salida.flush()
        });
        if let Err(e) = pintado {
            let antes = std::mem::replace(&mut self.rota, true);
            // Quien leía la tubería se fue: no hay nada que contarle a nadie.
            if !antes && e.kind() != ErrorKind::BrokenPipe {
                self.aviso(format!("nodo: escribiendo la salida: {}", motivo(&e)));
            }
        }
    }

    /// Una línea por stderr: un aviso o un error.
    pub fn aviso(&mut self, texto: impl AsRef<str>) {
        let linea = que_quepa(texto.as_ref(), self.en_terminal[1].then(termwidth));
        // Sin stderr no queda dónde quejarse.
        let _ = self.apartando_la_barra(|| self.impresor.clone().write_all(linea.as_bytes()));
    }

    /// Una línea que dice qué salió mal: por stderr, salvo en el menú, donde la guía lo dice todo
    /// por stdout.
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

    /// Ya no se espera respuesta, ni hay que repetir la pregunta. Dice si la había.
    pub fn contestada(&mut self) -> bool {
        self.pregunta.take().is_some()
    }

    /// Algo que llegó mientras alguien leía: se pinta en líneas propias y la pregunta se repite
    /// debajo.
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

    /// ¿Falló stdout? (por ejemplo, quien leía la tubería se fue). Entonces no tiene sentido
    /// seguir.
    pub fn rota(&self) -> bool {
        self.rota
    }

    /// Enseña en stderr por dónde va un trabajo, si es una terminal.
    pub fn poner_barra(&mut self) {
        self.barra = Barra::nueva();
    }

    /// Pone la barra donde dice `marcha`.
    pub fn avanzar(&mut self, marcha: &Marcha) {
        if let Some(barra) = &mut self.barra {
            barra.avanzar(marcha);
        }
    }

    /// Quita la barra sin dejar rastro.
    pub fn quitar_barra(&mut self) {
        self.barra = None;
    }

    /// Un nombre que se ha enseñado: desde ahora Tab lo completa.
    pub fn recordar(&self, nombre: &str) {
        if limpiar(nombre) == nombre {
            self.nombres.apuntar(nombre);
        }
    }

    /// Vuelve a pintar la pregunta y lo tecleado.
    pub fn repintar(&mut self) {
        self.impresor.imprimir("");
    }

    /// Pinta lo ya limpio: encima de la pregunta, si la hay; si no, apartando la barra.
    fn escribir(&mut self, texto: &str) {
        if !self.impresor.imprimir(texto) {
            self.tal_cual(texto.as_bytes());
        }
    }

    fn apartando_la_barra<T>(&self, pintar: impl FnOnce() -> T) -> T {
        match &self.barra {
            Some(barra) => barra.apartar(pintar),
            None => pintar(),
        }
    }
}

/// Una línea limpia, con su final. Si no cabe en el `ancho` de la terminal se parte entre palabras,
/// y lo que sigue va sangrado; una palabra más larga (una ruta, una URL) no se parte, para poder
/// copiarla. Sin terminal, una línea es una línea.
fn que_quepa(texto: &str, ancho: Option<usize>) -> String {
    let mut linea = limpiar(texto);
    if let Some(ancho) = ancho {
        let sangria = linea.len() - linea.trim_start_matches(' ').len() + SANGRIA;
        let sangria = " ".repeat(sangria.min(ancho / 2));
        let partes = Options::new(ancho)
            .subsequent_indent(&sangria)
            .break_words(false)
            .word_splitter(WordSplitter::NoHyphenation);
        linea = textwrap::fill(&linea, partes);
    }
    linea + "\n"
}

/// Una huella como se lee en pantalla: sus 16 primeras cifras bastan para distinguir archivos y no
/// parten la línea. En una tubería, entera.
pub fn huella_en_pantalla(huella: &impl fmt::Display) -> String {
    let mut cifras = huella.to_string();
    if io::stdout().is_terminal() {
        cifras.truncate(16);
    }
    cifras
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn en_una_terminal_se_parte_entre_palabras_y_en_una_tuberia_no() {
        let larga = "  uno dos tres";
        assert_eq!(que_quepa(larga, None), "  uno dos tres\n");
        assert_eq!(que_quepa(larga, Some(14)), "  uno dos tres\n");
        assert_eq!(que_quepa(larga, Some(13)), "  uno dos\n    tres\n");
        assert_eq!(que_quepa("", Some(13)), "\n");
        let ruta = "en compartidos/con/una/ruta/larga";
        assert_eq!(
            que_quepa(ruta, Some(10)),
            "en\n  compartidos/con/una/ruta/larga\n"
        );
    }

    proptest! {
        #[test]
        fn partir_no_pierde_ni_una_letra(texto in "[ a-zñ·:/]{0,200}", ancho in 1usize..90) {
            let sin_blancos = |t: &str| t.split_whitespace().collect::<String>();
            let partida = que_quepa(&texto, Some(ancho));
            prop_assert_eq!(sin_blancos(&partida), sin_blancos(&texto));
        }
    }
}
