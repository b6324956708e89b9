//! Hilos que se reutilizan: el hilo que acaba espera unos segundos por si llega otra conexión.
//!
//! La guía crea un hilo con cada conexión (`threading.Thread(...).start()`). Aquí también hay siempre un hilo por
//! conexión, nunca menos; pero crear uno cuesta decenas de microsegundos, así que el que termina se queda
//! [`ESPERA_OCIOSA`] escuchando un canal antes de irse. La cuenta se lleva con fichas: el que va a esperar suma
//! una, y quien reparte sólo manda por el canal si consigue retirar una; si no la hay, crea un hilo. Así ninguna
//! conexión espera detrás de otra, por muchas que estén calladas.
//!
//! No sabe de sockets ni limita cuántos hilos hay: eso lo hace el permiso que se pide antes (`red.rs`).

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{Builder, Scope};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

/// Cuánto espera un hilo sin trabajo antes de terminar.
pub const ESPERA_OCIOSA: Duration = Duration::from_secs(5);

/// Pila de cada hilo, en bytes. Los búferes grandes van en el montículo; con 256 KiB caben miles de hilos.
pub const PILA: usize = 256 * 1024;

type Trabajo<'a> = Box<dyn FnOnce() + Send + 'a>;

/// Reparte trabajos, cada uno en un hilo propio, dentro de un `thread::scope` (nadie sale de él con un hilo vivo).
///
/// Al soltarlo se cierra el canal y los hilos que esperaban terminan.
pub struct Hilos<'ambito, 'entorno> {
    ambito: &'ambito Scope<'ambito, 'entorno>,
    prefijo: &'static str,
    creados: AtomicUsize,
    fichas: Arc<AtomicUsize>,
    entregar: Sender<Trabajo<'ambito>>,
    recoger: Receiver<Trabajo<'ambito>>,
}

impl<'ambito, 'entorno> Hilos<'ambito, 'entorno> {
    /// Hilos que se llamarán `prefijo-1`, `prefijo-2`… y terminarán antes que `ambito`.
    pub fn nuevos(ambito: &'ambito Scope<'ambito, 'entorno>, prefijo: &'static str) -> Self {
        // Sin tope porque no lo necesita: nunca hay en el canal más trabajos que hilos esperándolos.
        let (entregar, recoger) = unbounded();
        let fichas = Arc::new(AtomicUsize::new(0));
        Hilos {
            ambito,
            prefijo,
            creados: AtomicUsize::new(0),
            fichas,
            entregar,
            recoger,
        }
    }

    /// Hace `trabajo` en un hilo que no está haciendo otra cosa. Si el sistema no da más hilos, el trabajo se
    /// suelta sin hacerse (y con él lo que lleve dentro: la conexión se cierra, el permiso vuelve).
    pub fn lanzar(&self, trabajo: impl FnOnce() + Send + 'ambito) -> io::Result<()> {
        let trabajo: Trabajo<'ambito> = Box::new(trabajo);
        if tomar_ficha(&self.fichas) {
            self.entregar
                .send(trabajo)
                .expect("este mismo objeto guarda el otro extremo del canal");
            return Ok(());
        }
        let numero = self.creados.fetch_add(1, Ordering::Relaxed) + 1;
        let (fichas, recoger) = (Arc::clone(&self.fichas), self.recoger.clone());
        Builder::new()
            .name(format!("{}-{numero}", self.prefijo))
            .stack_size(PILA)
            .spawn_scoped(self.ambito, move || trabajar(trabajo, &fichas, &recoger))?;
        Ok(())
    }
}

/// La vida de un hilo: un trabajo, y los que lleguen mientras espera.
fn trabajar<'a>(primero: Trabajo<'a>, fichas: &AtomicUsize, recoger: &Receiver<Trabajo<'a>>) {
    let mut trabajo = primero;
    loop {
        // Un fallo de programación en una conexión no debe llevarse por delante a las demás.
        if catch_unwind(AssertUnwindSafe(trabajo)).is_err() {
            log::error!("un hilo de conexión terminó por un error interno");
        }
        fichas.fetch_add(1, Ordering::SeqCst);
        trabajo = match recoger.recv_timeout(ESPERA_OCIOSA) {
            Ok(otro) => otro,
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) if tomar_ficha(fichas) => return,
            // No queda ninguna ficha: alguien acaba de retirar la nuestra y su trabajo viene de camino.
            Err(RecvTimeoutError::Timeout) => match recoger.recv() {
                Ok(otro) => otro,
                Err(_) => return,
            },
        };
    }
}

fn tomar_ficha(fichas: &AtomicUsize) -> bool {
    fichas
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::bounded;
    use std::thread;

    #[test]
    fn un_trabajo_callado_no_retiene_a_otro() {
        let (soltar, esperar) = bounded::<()>(0);
        let (hecho, ver) = bounded(64);
        thread::scope(|ambito| {
            let hilos = Hilos::nuevos(ambito, "prueba");
            for _ in 0..32 {
                let esperar = esperar.clone();
                hilos
                    .lanzar(move || assert!(esperar.recv().is_err()))
                    .unwrap();
            }
            for n in 0..32 {
                let hecho = hecho.clone();
                hilos.lanzar(move || hecho.send(n).unwrap()).unwrap();
                // Con los otros 32 aún callados, este termina.
                assert_eq!(ver.recv_timeout(Duration::from_secs(5)), Ok(n));
            }
            drop(soltar);
        });
    }

    #[test]
    fn el_hilo_que_acaba_sirve_para_el_siguiente() {
        let (hecho, ver) = bounded(1);
        thread::scope(|ambito| {
            let hilos = Hilos::nuevos(ambito, "prueba");
            for _ in 0..100 {
                let hecho = hecho.clone();
                hilos
                    .lanzar(move || hecho.send(thread::current().id()).unwrap())
                    .unwrap();
                ver.recv().unwrap();
                // Espera a que el hilo deje su ficha: sin esto, crear otro también sería correcto.
                while hilos.fichas.load(Ordering::SeqCst) == 0 {
                    thread::yield_now();
                }
            }
            assert_eq!(hilos.creados.load(Ordering::Relaxed), 1);
        });
    }

    #[test]
    fn un_trabajo_que_revienta_no_tumba_el_hilo() {
        let (hecho, ver) = bounded(1);
        thread::scope(|ambito| {
            let hilos = Hilos::nuevos(ambito, "prueba");
            hilos.lanzar(|| panic!("a propósito")).unwrap();
            hilos.lanzar(move || hecho.send(()).unwrap()).unwrap();
            assert!(ver.recv_timeout(Duration::from_secs(5)).is_ok());
        });
    }
}
