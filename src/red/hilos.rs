//! Hilos con nombre y con dueño: uno suelto ([`arrancar`]) y los que se reutilizan ([`Hilos`]).
//!
//! La guía crea un hilo con cada conexión (`threading.Thread(...).start()`). Aquí también hay
//! siempre un hilo por conexión, nunca menos; pero crear uno cuesta decenas de microsegundos, así
//! que el que termina se queda [`ESPERA_OCIOSA`] escuchando un canal antes de irse. La cuenta se
//! lleva con fichas: el que va a esperar suma una, y quien reparte sólo manda por el canal si
//! consigue retirar una; si no la hay, crea un hilo. Así ninguna conexión espera detrás de otra,
//! por muchas que callen.
//!
//! No sabe de sockets ni limita cuántos hilos hay: eso lo hace el turno que se pide antes.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{Builder, JoinHandle, Scope, ScopedJoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, select, unbounded};

use crate::fallo::Fallo;
use crate::red::parada::Nada;

/// Cuánto espera un hilo sin trabajo antes de terminar.
pub const ESPERA_OCIOSA: Duration = Duration::from_secs(5);

/// Pila de cada hilo, en bytes. Los búferes grandes van en el montículo; con 256 KiB caben miles.
pub const PILA: usize = 256 * 1024;

/// Un hilo en marcha; quien lo tiene es su dueño, y lo espera.
pub struct Hilo<T> {
    hilo: JoinHandle<T>,
    /// Se cierra cuando el hilo acaba: para un `select!`.
    pub fin: Receiver<Nada>,
}

/// Arranca un hilo con su nombre.
pub fn arrancar<T: Send + 'static>(
    nombre: &str,
    tarea: impl FnOnce() -> T + Send + 'static,
) -> Result<Hilo<T>, Fallo> {
    let (acabar, fin) = bounded(0);
    let hacer = move || {
        let _acabar: Sender<Nada> = acabar;
        tarea()
    };
    let hilo = Builder::new().name(nombre.into()).spawn(hacer);
    let hilo = hilo.map_err(|e| sin_hilo(nombre, &e))?;
    Ok(Hilo { hilo, fin })
}

/// Arranca un hilo con nombre dentro de un `thread::scope`, que es su dueño.
pub fn arrancar_en<'ambito, T: Send + 'ambito>(
    ambito: &'ambito Scope<'ambito, '_>,
    nombre: &str,
    tarea: impl FnOnce() -> T + Send + 'ambito,
) -> Result<ScopedJoinHandle<'ambito, T>, Fallo> {
    let hilo = Builder::new().name(nombre.into()).stack_size(PILA);
    let hilo = hilo.spawn_scoped(ambito, tarea);
    hilo.map_err(|e| sin_hilo(nombre, &e))
}

/// El fallo de no poder crear un hilo.
pub fn sin_hilo(nombre: &str, error: &io::Error) -> Fallo {
    let que = format!("no se pudo crear el hilo «{nombre}»");
    if error.kind() != io::ErrorKind::WouldBlock {
        return Fallo::de_sistema(que, error);
    }
    let motivo = "el sistema no da más (ulimit -u dice cuántos hay)";
    Fallo::nuevo(format!("{que}: {motivo}"))
}

impl<T> Hilo<T> {
    /// ¿Acaba antes de `plazo` y de que alguien tenga `prisa`?
    pub fn acaba_antes(&self, plazo: Duration, prisa: &Receiver<()>) -> bool {
        select! {
            recv(self.fin) -> _ => true,
            recv(prisa) -> _ => false,
            default(plazo) => false,
        }
    }

    /// Espera a que acabe. `None` si terminó por un error interno, que queda en el registro.
    pub fn esperar(self) -> Option<T> {
        let nombre = self.hilo.thread().name().unwrap_or("-").to_string();
        let fin = self.hilo.join();
        fin.inspect_err(|_| log::error!("el hilo «{nombre}» terminó por un error interno"))
            .ok()
    }
}

type Trabajo = Box<dyn FnOnce() + Send>;

/// Reparte trabajos, cada uno en un hilo propio.
pub struct Hilos {
    prefijo: &'static str,
    creados: AtomicUsize,
    fichas: Arc<AtomicUsize>,
    entregar: Sender<Trabajo>,
    recoger: Receiver<Trabajo>,
    /// Cada hilo guarda una copia: cuando no queda ninguna, no queda ningún hilo.
    vivo: Sender<Nada>,
    ninguno: Receiver<Nada>,
}

impl Hilos {
    /// Hilos que se llamarán `prefijo-1`, `prefijo-2`…
    pub fn nuevos(prefijo: &'static str) -> Hilos {
        // Sin tope porque no lo necesita: nunca hay en el canal más trabajos que hilos
        // esperándolos.
        let (entregar, recoger) = unbounded();
        let (vivo, ninguno) = bounded(0);
        Hilos {
            prefijo,
            creados: AtomicUsize::new(0),
            fichas: Arc::default(),
            entregar,
            recoger,
            vivo,
            ninguno,
        }
    }

    /// Hace `trabajo` en un hilo que no está haciendo otra cosa. Si el sistema no da más hilos, el
    /// trabajo se suelta sin hacerse (y con él lo que lleve dentro: la conexión se cierra, el turno
    /// vuelve).
    pub fn lanzar(&self, trabajo: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let trabajo: Trabajo = Box::new(trabajo);
        if tomar_ficha(&self.fichas) {
            let entregado = self.entregar.send(trabajo);
            entregado.expect("este mismo objeto guarda el otro extremo del canal");
            return Ok(());
        }
        let numero = self.creados.fetch_add(1, Ordering::Relaxed) + 1;
        let (fichas, recoger) = (Arc::clone(&self.fichas), self.recoger.clone());
        let vivo = self.vivo.clone();
        let hilo = Builder::new().name(format!("{}-{numero}", self.prefijo));
        hilo.stack_size(PILA).spawn(move || {
            trabajar(trabajo, &fichas, &recoger);
            drop(vivo);
        })?;
        Ok(())
    }

    /// Los ociosos terminan ya, y a los demás se les espera hasta `plazo`; al que quede se le corta
    /// lo que esté haciendo (`cortar`) y se le espera otra vez. Falso si aun así queda alguno.
    ///
    /// Es lo que garantiza que ninguno sobrevive a su dueño sin guardar cada hilo.
    pub fn despedir(self, plazo: Duration, cortar: impl FnOnce()) -> bool {
        drop((self.entregar, self.recoger, self.vivo));
        let ninguno = || self.ninguno.recv_timeout(plazo) == Err(RecvTimeoutError::Disconnected);
        ninguno() || {
            cortar();
            ninguno()
        }
    }
}

/// La vida de un hilo: un trabajo, y los que lleguen mientras espera.
fn trabajar(primero: Trabajo, fichas: &AtomicUsize, recoger: &Receiver<Trabajo>) {
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
            // No queda ninguna ficha: alguien acaba de retirar la nuestra y su trabajo viene de
            // camino.
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
    use crossbeam_channel::never;
    use std::thread;

    const PLAZO: Duration = Duration::from_secs(5);

    #[test]
    fn un_trabajo_callado_no_retiene_a_otro() {
        let (soltar, esperar) = bounded::<()>(0);
        let (hecho, ver) = bounded(64);
        let hilos = Hilos::nuevos("prueba");
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
            assert_eq!(ver.recv_timeout(PLAZO), Ok(n));
        }
        drop(soltar);
        assert!(hilos.despedir(PLAZO, || {}));
    }

    #[test]
    fn el_hilo_que_acaba_sirve_para_el_siguiente() {
        let (hecho, ver) = bounded(1);
        let hilos = Hilos::nuevos("prueba");
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
    }

    #[test]
    fn un_trabajo_que_revienta_no_tumba_el_hilo() {
        let (hecho, ver) = bounded(1);
        let hilos = Hilos::nuevos("prueba");
        hilos.lanzar(|| panic!("a propósito")).unwrap();
        hilos.lanzar(move || hecho.send(()).unwrap()).unwrap();
        assert!(ver.recv_timeout(PLAZO).is_ok());
    }

    #[test]
    fn despedir_espera_a_los_que_trabajan_y_corta_al_que_queda() {
        let trabajando = |esperar: Receiver<()>| {
            let hilos = Hilos::nuevos("prueba");
            hilos
                .lanzar(move || assert!(esperar.recv().is_err()))
                .unwrap();
            hilos
        };
        let (soltar, esperar) = bounded::<()>(0);
        let terco = trabajando(esperar);
        assert!(!terco.despedir(Duration::from_millis(20), || {}));
        drop(soltar);
        let (soltar, esperar) = bounded::<()>(0);
        let cortado = trabajando(esperar);
        assert!(cortado.despedir(Duration::from_millis(100), || drop(soltar)));
    }

    #[test]
    fn el_dueno_sabe_si_acabo_y_si_fue_mal() {
        let (soltar, esperar) = bounded::<()>(0);
        let hilo = arrancar("prueba", move || esperar.recv().is_err()).unwrap();
        assert!(!hilo.acaba_antes(Duration::from_millis(20), &never()));
        drop(soltar);
        assert!(hilo.acaba_antes(PLAZO, &never()));
        assert_eq!(hilo.esperar(), Some(true));
        let malo = arrancar("prueba", || panic!("a propósito")).unwrap();
        assert_eq!(malo.esperar(), None);
    }
}
