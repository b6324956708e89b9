//! Turnos: que no más de unos cuantos hagan algo a la vez.
//!
//! Es el semáforo de las clases de concurrencia, hecho con un canal con tope: pedir turno es meter
//! una ficha, y si no cabe se espera. El turno se devuelve solo, con `Drop`.

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};

use crate::red::parada::Parada;

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
    /// `cuantos` a la vez (uno como mínimo).
    pub fn nuevos(cuantos: usize) -> Turnos {
        let (entrar, salir) = bounded(cuantos.max(1));
        Turnos { entrar, salir }
    }

    /// Espera su turno hasta `espera`, o hasta que se avise la `parada`. `None` si no llegó.
    pub fn pedir(&self, espera: Duration, parada: &Parada) -> Option<Turno> {
        if parada.avisada() {
            return None;
        }
        if self.entrar.try_send(()).is_err() {
            select! {
                send(self.entrar, ()) -> _ => {}
                recv(parada.canal()) -> _ => return None,
                default(espera) => return None,
            }
        }
        let salir = self.salir.clone();
        Some(Turno { salir })
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
        let (turnos, parada) = (Turnos::nuevos(2), Parada::nueva());
        let nada = Duration::from_millis(10);
        let (uno, _otro) = (
            turnos.pedir(nada, &parada).unwrap(),
            turnos.pedir(nada, &parada).unwrap(),
        );
        assert!(turnos.pedir(nada, &parada).is_none());
        drop(uno);
        assert!(turnos.pedir(nada, &parada).is_some());
    }

    #[test]
    fn la_parada_despierta_a_quien_espera() {
        let (turnos, parada) = (Turnos::nuevos(1), Parada::nueva());
        let _dentro = turnos.pedir(Duration::ZERO, &parada).unwrap();
        std::thread::scope(|ambito| {
            let espera = ambito.spawn(|| turnos.pedir(Duration::MAX, &parada).is_none());
            parada.avisar();
            assert!(espera.join().unwrap());
        });
    }
}
