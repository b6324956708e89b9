//! Lo que los hilos cuentan al hilo principal, que es el único que escribe en pantalla.
//!
//! En la guía cada hilo hace `print` cuando quiere y parte por la mitad lo que el estudiante está leyendo. Aquí
//! mandan un [`Evento`] por un canal con tope. Si el hilo principal no da abasto, el evento se pierde pero se
//! cuenta: un servidor no puede quedarse esperando a una pantalla. Este archivo no pinta nada.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded};

/// Eventos que caben en la cola antes de empezar a perderse.
const TOPE_DE_EVENTOS: usize = 1024;

/// Algo que pasó en el nodo y que quien está delante debe ver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evento {
    /// Alguien se conectó: `[CONEXIÓN] Desde …`.
    Conexion(SocketAddr),
    /// Se envió un archivo entero: `[ENVÍO COMPLETO] …`.
    EnvioCompleto(String),
    /// Llegó un mensaje de texto.
    Mensaje(Mensaje),
    /// Alguien nos envía un archivo (nombre, desde dónde).
    Recibiendo(String, SocketAddr),
    /// Terminó de llegar un archivo que nos enviaron: la frase que lo cuenta.
    Recibido(String),
    /// Algo que conviene saber y no es un error de quien está delante.
    Aviso(String),
}

/// Un mensaje recibido, con su texto tal como llegó (se limpia al pintarlo).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mensaje {
    /// Nombre del nodo que dice enviarlo.
    pub de: String,
    /// Desde dónde llegó.
    pub desde: SocketAddr,
    /// El texto.
    pub texto: String,
}

/// El extremo por el que los hilos avisan. Vale para cualquier tipo de evento: cada práctica tiene los suyos.
pub struct Avisador<E> {
    canal: Sender<E>,
    perdidos: Arc<AtomicUsize>,
}

impl<E> Avisador<E> {
    /// Una cola de eventos: el extremo que avisa y el que escucha el hilo principal.
    pub fn nuevo() -> (Avisador<E>, Receiver<E>) {
        let (canal, oir) = bounded(TOPE_DE_EVENTOS);
        (
            Avisador {
                canal,
                perdidos: Arc::default(),
            },
            oir,
        )
    }

    /// Avisa sin esperar. Con la cola llena, el evento sólo se cuenta.
    pub fn avisar(&self, evento: E) {
        if self.canal.try_send(evento).is_err() {
            self.perdidos.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Cuántos eventos se perdieron desde la última vez que se preguntó.
    pub fn perdidos(&self) -> usize {
        // Se pregunta tras cada tanda de eventos: leer primero evita ensuciar la línea de caché sin motivo.
        if self.perdidos.load(Ordering::Relaxed) == 0 {
            0
        } else {
            self.perdidos.swap(0, Ordering::Relaxed)
        }
    }
}

impl<E> Clone for Avisador<E> {
    fn clone(&self) -> Self {
        Avisador {
            canal: self.canal.clone(),
            perdidos: Arc::clone(&self.perdidos),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn una_cola_llena_no_frena_y_cuenta_lo_perdido() {
        let (avisador, oir) = Avisador::nuevo();
        for n in 0..TOPE_DE_EVENTOS + 7 {
            avisador.avisar(n);
        }
        assert_eq!(oir.len(), TOPE_DE_EVENTOS);
        assert_eq!(avisador.perdidos(), 7);
        assert_eq!(avisador.perdidos(), 0);
    }
}
