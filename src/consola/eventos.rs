//! Lo que los hilos cuentan al hilo principal, que es el único que escribe en pantalla.
//!
//! En la guía cada hilo hace `print` cuando quiere y parte por la mitad lo que el estudiante está leyendo. Aquí
//! mandan un evento (los del nodo están en `nodo/evento.rs`) por un canal con tope. Si el hilo principal no da abasto, el evento se pierde pero se
//! cuenta: un servidor no puede quedarse esperando a una pantalla. Este archivo no pinta nada.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, at, bounded, never};

/// Eventos que caben en la cola antes de empezar a perderse.
const TOPE_DE_EVENTOS: usize = 4096;
/// Tras pintar una tanda, cuánto se deja que se junte la siguiente. Despertar al hilo principal por cada conexión
/// costaría más que atenderla.
const REPOSO: Duration = Duration::from_millis(50);

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

/// El extremo que escucha el hilo principal: lo primero que pasa se oye al momento; lo que sigue, por tandas.
pub struct Oyente<E> {
    canal: Receiver<E>,
    avisador: Avisador<E>,
    descansa_hasta: Cell<Option<Instant>>,
}

impl<E> Oyente<E> {
    /// El oyente de una cola.
    pub fn nuevo(avisador: Avisador<E>, canal: Receiver<E>) -> Oyente<E> {
        Oyente {
            canal,
            avisador,
            descansa_hasta: Cell::new(None),
        }
    }

    /// Los dos canales que hay que poner en un `select!`: el de los eventos (mudo mientras se junta una tanda) y el que
    /// avisa de que ya se puede volver a escuchar.
    pub fn canales(&self) -> (Receiver<E>, Receiver<Instant>) {
        match self.descansa_hasta.get() {
            Some(hasta) if hasta > Instant::now() => (never(), at(hasta)),
            _ => (self.canal.clone(), never()),
        }
    }

    /// Todo lo que haya llegado, empezando por `primero`, y cuántos eventos no cupieron.
    pub fn tanda(&self, primero: Option<E>) -> (Vec<E>, usize) {
        self.descansa_hasta.set(Some(Instant::now() + REPOSO));
        let tanda = primero
            .into_iter()
            .chain(self.canal.try_iter().take(TOPE_DE_EVENTOS));
        (tanda.collect(), self.avisador.perdidos())
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
    #[test]
    fn lo_que_sigue_a_una_tanda_se_junta() {
        let (avisador, canal) = Avisador::nuevo();
        let oyente = Oyente::nuevo(avisador.clone(), canal);
        avisador.avisar(1);
        assert_eq!(
            oyente.canales().0.try_recv(),
            Ok(1),
            "lo primero se oye al momento"
        );
        assert_eq!(oyente.tanda(Some(1)), (vec![1], 0));
        avisador.avisar(2);
        avisador.avisar(3);
        let (mudo, despertar) = oyente.canales();
        assert!(mudo.try_recv().is_err());
        despertar.recv().unwrap();
        let primero = oyente.canales().0.try_recv().ok();
        assert_eq!(oyente.tanda(primero), (vec![2, 3], 0));
    }
}
