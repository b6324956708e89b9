//! Cancelar un trabajo desde otro hilo: el fin es que un canal se cierra.
//!
//! La guía no se puede interrumpir a medias. Aquí quien manda guarda un [`Cancelador`]; al soltarlo, todos los que
//! miran su [`Cancelacion`] se enteran a la vez, estén esperando en un `select!` o preguntando de vez en cuando.

use std::net::{Shutdown, TcpStream};
use std::thread;

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded, select};

use crate::red::hilos::PILA;

/// Por este canal no viaja nada: sólo se cierra.
#[derive(Debug, Clone, Copy)]
pub enum Nada {}

/// Quien lo tiene puede cancelar, soltándolo.
#[derive(Debug)]
pub struct Cancelador {
    _canal: Sender<Nada>,
}

/// Dice si hay que dejarlo.
#[derive(Debug, Clone)]
pub struct Cancelacion {
    canal: Receiver<Nada>,
}

/// Una cancelación sin disparar, y con qué dispararla.
pub fn cancelacion() -> (Cancelador, Cancelacion) {
    let (_canal, canal) = bounded(0);
    (Cancelador { _canal }, Cancelacion { canal })
}

impl Cancelacion {
    /// ¿Hay que dejarlo ya?
    pub fn cancelada(&self) -> bool {
        self.canal.try_recv() == Err(TryRecvError::Disconnected)
    }

    /// El canal, para un `select!`: está listo cuando hay que dejarlo.
    pub fn canal(&self) -> &Receiver<Nada> {
        &self.canal
    }
}

impl Cancelacion {
    /// Hace algo con un socket; si mientras tanto se cancela, lo corta, y lo que espere en él termina con un error.
    pub fn cortando<T>(&self, socket: &TcpStream, hacer: impl FnOnce() -> T) -> T {
        let (terminado, fin) = bounded::<Nada>(0);
        thread::scope(|ambito| {
            let vigilar = move || {
                select! {
                    recv(fin) -> _ => {}
                    // Falla si ya estaba cerrado: es lo que se quería.
                    recv(self.canal) -> _ => drop(socket.shutdown(Shutdown::Both)),
                }
            };
            let vigia = thread::Builder::new().name("vigia".into()).stack_size(PILA);
            if let Err(error) = vigia.spawn_scoped(ambito, vigilar) {
                log::warn!("sin hilo para vigilar la cancelación: {error}");
            }
            let hecho = hacer();
            drop(terminado);
            hecho
        })
    }
}

impl PartialEq for Nada {
    fn eq(&self, _: &Nada) -> bool {
        match *self {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn soltar_el_cancelador_cancela_todas_las_copias() {
        let (cancelador, cancelacion) = cancelacion();
        let copia = cancelacion.clone();
        assert!(!cancelacion.cancelada() && !copia.cancelada());
        drop(cancelador);
        assert!(cancelacion.cancelada() && copia.cancelada());
    }
}
