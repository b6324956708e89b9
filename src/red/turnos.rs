//! Turnos: que no más de unos cuantos hilos hagan a la vez algo que cuesta memoria o hilos.
//!
//! Es el semáforo de las clases de concurrencia, hecho con un canal con tope: pedir turno es meter una ficha, y si no
//! cabe se espera. El turno se devuelve solo, con `Drop`.

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

/// Un número fijo de turnos.
pub struct Turnos {
    entrar: Sender<()>,
    salir: Receiver<()>,
}

/// Un turno concedido. Al soltarlo pasa el siguiente.
pub struct Turno {
    salir: Receiver<()>,
}

impl Turnos {
    /// `cuantos` a la vez.
    pub fn nuevos(cuantos: usize) -> Turnos {
        let (entrar, salir) = bounded(cuantos);
        Turnos { entrar, salir }
    }

    /// Espera su turno hasta `espera`. `None` si no llegó.
    pub fn pedir(&self, espera: Duration) -> Option<Turno> {
        self.entrar.send_timeout((), espera).ok()?;
        Some(Turno {
            salir: self.salir.clone(),
        })
    }
}

impl Drop for Turno {
    fn drop(&mut self) {
        // Al menos está la ficha de este turno, así que no puede faltar.
        let _ = self.salir.try_recv();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_pasan_mas_de_los_que_caben_y_soltar_deja_pasar() {
        let turnos = Turnos::nuevos(2);
        let nada = Duration::from_millis(10);
        let (uno, _otro) = (turnos.pedir(nada).unwrap(), turnos.pedir(nada).unwrap());
        assert!(turnos.pedir(nada).is_none());
        drop(uno);
        assert!(turnos.pedir(nada).is_some());
    }
}
