//! Hilos que se reutilizan: el hilo que acaba espera unos segundos por si llega otra conexión.
//!
//! La guía crea un hilo con cada conexión (`threading.Thread(...).start()`). Aquí también hay siempre un hilo por
//! conexión, nunca menos; pero crear uno cuesta decenas de microsegundos, así que el que termina se queda
//! [`ESPERA_OCIOSA`] en una lista de ociosos antes de irse. Quien reparte saca de la lista **al último que llegó**, le
//! deja el trabajo en su asiento y lo despierta; si la lista está vacía, crea un hilo. Así ninguna conexión espera
//! detrás de otra, por muchas que estén calladas.
//!
//! Con el último, y no con el que más lleva esperando, trabajan siempre los mismos hilos mientras basten (tienen lo
//! suyo aún en la caché) y los que sobran acaban yéndose. Cada uno duerme en su asiento, y no todos en un canal común,
//! porque los canales de crossbeam dan unas vueltas cediendo el procesador antes de dormir: medido en 2 núcleos con el
//! balanceador, 62 µs de procesador por conexión con un canal y 53 con asientos (con 64 clientes, 74 y 64).
//!
//! No sabe de sockets ni limita cuántos hilos hay: eso lo hace el permiso que se pide antes (`red.rs`).

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Builder, Scope, Thread};
use std::time::{Duration, Instant};

/// Cuánto espera un hilo sin trabajo antes de terminar.
pub const ESPERA_OCIOSA: Duration = Duration::from_secs(5);

/// Pila de cada hilo, en bytes. Los búferes grandes van en el montículo; con 256 KiB caben miles de hilos.
pub const PILA: usize = 256 * 1024;

type Trabajo<'a> = Box<dyn FnOnce() + Send + 'a>;

/// Reparte trabajos, cada uno en un hilo propio, dentro de un `thread::scope` (nadie sale de él con un hilo vivo).
///
/// Al soltarlo, los hilos que esperaban terminan.
pub struct Hilos<'ambito, 'entorno> {
    ambito: &'ambito Scope<'ambito, 'entorno>,
    prefijo: &'static str,
    creados: AtomicUsize,
    ociosos: Arc<Ociosos<'ambito>>,
}

impl<'ambito, 'entorno> Hilos<'ambito, 'entorno> {
    /// Hilos que se llamarán `prefijo-1`, `prefijo-2`… y terminarán antes que `ambito`.
    pub fn nuevos(ambito: &'ambito Scope<'ambito, 'entorno>, prefijo: &'static str) -> Self {
        Hilos {
            ambito,
            prefijo,
            creados: AtomicUsize::new(0),
            ociosos: Arc::default(),
        }
    }

    /// Hace `trabajo` en un hilo que no está haciendo otra cosa. Si el sistema no da más hilos, el trabajo se
    /// suelta sin hacerse (y con él lo que lleve dentro: la conexión se cierra, el permiso vuelve).
    pub fn lanzar(&self, trabajo: impl FnOnce() + Send + 'ambito) -> io::Result<()> {
        let trabajo: Trabajo<'ambito> = Box::new(trabajo);
        if let Some(asiento) = self.ociosos.sacar() {
            asiento.dejar(trabajo);
            return Ok(());
        }
        let numero = self.creados.fetch_add(1, Ordering::Relaxed) + 1;
        let ociosos = Arc::clone(&self.ociosos);
        Builder::new()
            .name(format!("{}-{numero}", self.prefijo))
            .stack_size(PILA)
            .spawn_scoped(self.ambito, move || trabajar(trabajo, &ociosos))?;
        Ok(())
    }
}

impl Drop for Hilos<'_, '_> {
    fn drop(&mut self) {
        self.ociosos.cerrar();
    }
}

/// La vida de un hilo: un trabajo, y los que lleguen mientras espera.
fn trabajar<'a>(primero: Trabajo<'a>, ociosos: &Ociosos<'a>) {
    let asiento = Arc::new(Asiento {
        hilo: thread::current(),
        trabajo: Mutex::new(None),
    });
    let mut trabajo = Some(primero);
    while let Some(este) = trabajo {
        // Un fallo de programación en una conexión no debe llevarse por delante a las demás.
        if catch_unwind(AssertUnwindSafe(este)).is_err() {
            log::error!("un hilo de conexión terminó por un error interno");
        }
        trabajo = ociosos.esperar(&asiento);
    }
}

/// Dónde espera un hilo, y dónde se le deja lo siguiente que hará.
struct Asiento<'a> {
    hilo: Thread,
    trabajo: Mutex<Option<Trabajo<'a>>>,
}

impl<'a> Asiento<'a> {
    fn dejar(&self, trabajo: Trabajo<'a>) {
        *abrir(&self.trabajo) = Some(trabajo);
        self.hilo.unpark();
    }
}

/// Los hilos que esperan trabajo. Un asiento que ya no está en la lista es que tiene un trabajo de camino.
#[derive(Default)]
struct Ociosos<'a>(Mutex<Lista<'a>>);

#[derive(Default)]
struct Lista<'a> {
    asientos: Vec<Arc<Asiento<'a>>>,
    cerrada: bool,
}

impl<'a> Ociosos<'a> {
    fn sacar(&self) -> Option<Arc<Asiento<'a>>> {
        abrir(&self.0).asientos.pop()
    }

    /// Espera sentado. `None` si pasó [`ESPERA_OCIOSA`], o se cerró la lista, sin que llegara nada.
    fn esperar(&self, asiento: &Arc<Asiento<'a>>) -> Option<Trabajo<'a>> {
        abrir(&self.0).asientos.push(Arc::clone(asiento));
        let limite = Instant::now() + ESPERA_OCIOSA;
        loop {
            if let Some(trabajo) = abrir(&asiento.trabajo).take() {
                return Some(trabajo);
            }
            let falta = limite.saturating_duration_since(Instant::now());
            if self.se_levanta(asiento, falta.is_zero()) {
                return None;
            }
            // Si el plazo venció con un trabajo de camino, lo que falta es muy poco.
            thread::park_timeout(falta.max(Duration::from_millis(1)));
        }
    }

    /// Si se acabó el tiempo o se cerró la lista, quita de ella el asiento. Falso si hay que seguir esperando.
    fn se_levanta(&self, asiento: &Arc<Asiento<'a>>, sin_tiempo: bool) -> bool {
        let mut lista = abrir(&self.0);
        if !sin_tiempo && !lista.cerrada {
            return false;
        }
        let antes = lista.asientos.len();
        lista.asientos.retain(|otro| !Arc::ptr_eq(otro, asiento));
        lista.asientos.len() < antes
    }

    fn cerrar(&self) {
        let mut lista = abrir(&self.0);
        lista.cerrada = true;
        lista
            .asientos
            .iter()
            .for_each(|asiento| asiento.hilo.unpark());
    }
}

/// Ningún trabajo se hace con el cerrojo puesto: si está envenenado, lo de dentro sigue siendo bueno.
fn abrir<T>(cerrojo: &Mutex<T>) -> MutexGuard<'_, T> {
    cerrojo.lock().unwrap_or_else(PoisonError::into_inner)
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
                // Espera a que el hilo se siente: sin esto, crear otro también sería correcto.
                while abrir(&hilos.ociosos.0).asientos.is_empty() {
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
