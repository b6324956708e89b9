//! Cómo estaba la terminal, para dejarla igual pase lo que pase.
//!
//! No está en la guía: allí nadie la cambia. Aquí la cambian el editor de líneas, mientras se
//! escribe (`editor.rs`), y este archivo, que calla el eco mientras se trabaja: sin él, un Enter o
//! el `^C` de quien cancela partirían la barra. Al soltarse la repone: valen igual la salida
//! normal, una señal (la atiende el hilo principal, que sale por donde siempre) y un pánico.

#[cfg(unix)]
use std::io::stdin;

#[cfg(unix)]
use rustix::process::getpgrp;
#[cfg(unix)]
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};

/// La terminal de la entrada, si lo es.
///
/// En Windows no hay nada que reponer: `cmd` y PowerShell ponen los modos de la consola cada vez
/// que van a leer, y lo que el programa dejara puesto no les llega.
#[derive(Default)]
pub struct Terminal {
    #[cfg(unix)]
    como_estaba: Option<Termios>,
    /// Como la dejó el editor para la línea de ahora.
    #[cfg(unix)]
    editando: Option<Termios>,
}

#[cfg(unix)]
impl Terminal {
    /// Apunta cómo está, la primera vez: el editor la va a cambiar.
    pub fn apuntar(&mut self) {
        self.editando = None;
        if self.como_estaba.is_none() && es_nuestra() {
            self.como_estaba = tcgetattr(stdin()).ok();
        }
    }

    /// Deja de repetir en pantalla lo que se teclee. Ctrl-C sigue siendo Ctrl-C, y lo tecleado no
    /// se pierde.
    pub fn callar_el_eco(&mut self) {
        self.apuntar();
        if let Some(mut callada) = self.como_estaba.clone() {
            callada.local_modes.remove(LocalModes::ECHO);
            poner(&callada);
        }
    }

    /// Tras un Ctrl-Z (o un `kill -STOP`) y un `fg`, la shell la devuelve con sus modos y no con
    /// los del editor: se le ponen otra vez. Cierto si ha pasado eso, y hay que volver a pintar la
    /// línea.
    ///
    /// El editor lo intenta, pero en un programa con hilos la señal lo detiene después de haberlo
    /// hecho.
    pub fn vuelve_de_la_shell(&mut self) -> bool {
        let Ok(ahora) = tcgetattr(stdin()) else {
            return false;
        };
        if !ahora.local_modes.contains(LocalModes::ICANON) {
            self.editando = Some(ahora);
            return false;
        }
        let perdida = self.editando.is_some() && es_nuestra();
        self.editando.iter().filter(|_| perdida).for_each(poner);
        perdida
    }

    /// La deja como estaba.
    pub fn reponer(&self) {
        self.como_estaba.iter().for_each(poner);
    }
}

#[cfg(unix)]
impl Drop for Terminal {
    fn drop(&mut self) {
        self.reponer();
    }
}

#[cfg(unix)]
fn poner(modos: &Termios) {
    if es_nuestra() {
        // Si ya no hay terminal, no hay nada que dejar bien.
        let _ = tcsetattr(stdin(), OptionalActions::Now, modos);
    }
}

/// A quien cambia la terminal desde el segundo plano (`nodo servir &`), el sistema lo detiene.
#[cfg(unix)]
fn es_nuestra() -> bool {
    !matches!(tcgetpgrp(stdin()), Ok(delante) if delante != getpgrp())
}

#[cfg(not(unix))]
impl Terminal {
    /// Nada que apuntar.
    pub fn apuntar(&mut self) {}

    /// En Windows no hay Ctrl-Z que detenga.
    pub fn vuelve_de_la_shell(&mut self) -> bool {
        false
    }

    /// El eco de Windows sólo existe mientras alguien lee.
    pub fn callar_el_eco(&mut self) {}

    /// Nada que reponer.
    pub fn reponer(&self) {}
}
