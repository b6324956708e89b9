//! El hilo que mantiene al día el directorio del maestro: quita a los caducados y mira si los demás siguen ahí.
//!
//! Duerme en una `Condvar` hasta lo próximo que toque, sin sondear. La salud se mira conectando y cerrando con FIN: un
//! RST mataría a un servidor sencillo como los del curso, y quedarse callado lo bloquearía. No sabe de HTTP.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Builder, JoinHandle};
use std::time::{Duration, Instant};

use log::{debug, warn};

use super::directorio::{Directorio, Id, Pendientes};
use super::ficha::Ficha;
use crate::fallo::{Fallo, motivo, sin_descriptores};
use crate::red::hilos::PILA;

/// Plazo para conectarse a un peer al ver si sigue.
const PLAZO_DE_SALUD: Duration = Duration::from_secs(1);
/// Cuántos peers se miran a la vez.
const HILOS_DE_SALUD: usize = 32;
/// Cuántos se atienden en una ronda, y lo que se descansa entre dos: con miles de peers sin `ttl` se les pregunta más
/// despacio en vez de ocupar la máquina en ello.
const RONDA: usize = 256;
const DESCANSO: Duration = Duration::from_secs(1);

/// El directorio con su cerrojo. Se toca sólo dentro de [`Guarda::con`].
#[derive(Default)]
pub struct Guarda {
    dentro: Mutex<Dentro>,
    cambio: Condvar,
}

#[derive(Default)]
struct Dentro {
    directorio: Directorio,
    parar: bool,
}

impl Guarda {
    /// Hace algo con el directorio, y despierta al vigilante si ahora lo próximo toca antes.
    pub fn con<T>(&self, hacer: impl FnOnce(&mut Directorio) -> T) -> T {
        let mut dentro = self.dentro();
        let antes = dentro.directorio.proxima();
        let hecho = hacer(&mut dentro.directorio);
        let despues = dentro.directorio.proxima();
        drop(dentro);
        if despues.is_some_and(|despues| antes.is_none_or(|antes| despues < antes)) {
            self.cambio.notify_one();
        }
        hecho
    }

    fn dentro(&self) -> MutexGuard<'_, Dentro> {
        self.dentro.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn parando(&self) -> bool {
        self.dentro().parar
    }

    fn parar(&self) {
        self.dentro().parar = true;
        self.cambio.notify_all();
    }

    /// Espera a que haya algo que hacer, y no antes de `desde`. `None` si hay que parar.
    fn esperar_pendientes(&self, desde: Instant) -> Option<Pendientes> {
        let mut dentro = self.dentro();
        loop {
            if dentro.parar {
                return None;
            }
            let ahora = Instant::now();
            let toca = dentro
                .directorio
                .proxima()
                .map(|proxima| proxima.max(desde));
            dentro = match toca {
                Some(toca) if toca <= ahora => {
                    return Some(dentro.directorio.pendientes(ahora, RONDA));
                }
                Some(toca) => {
                    self.cambio
                        .wait_timeout(dentro, toca - ahora)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
                None => self
                    .cambio
                    .wait(dentro)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

/// Por qué dejó de estar un peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ausencia {
    /// Dio `ttl` y no renovó.
    Caduco,
    /// No dio `ttl`, y no hay quien conteste en su puerto.
    NoResponde,
}

/// El vigilante en marcha, con dueño: quien lo arranca lo detiene.
pub struct Vigilante {
    guarda: Arc<Guarda>,
    hilo: JoinHandle<()>,
}

impl Vigilante {
    /// Arranca el hilo. `decir` cuenta cada peer que desaparece y por qué.
    ///
    /// # Errores
    /// El sistema no da más hilos.
    pub fn arrancar(
        guarda: Arc<Guarda>,
        decir: impl Fn(&Ficha, Ausencia) + Send + Sync + 'static,
    ) -> Result<Vigilante, Fallo> {
        let suya = Arc::clone(&guarda);
        let hilo = Builder::new()
            .name("vigilante".into())
            .spawn(move || vigilar(&suya, &decir))
            .map_err(|e| Fallo::de_sistema("creando el hilo vigilante", &e))?;
        Ok(Vigilante { guarda, hilo })
    }

    /// Manda parar y espera.
    pub fn detener(self) {
        self.guarda.parar();
        if self.hilo.join().is_err() {
            log::error!("el hilo vigilante terminó por un error interno");
        }
    }
}

fn vigilar(guarda: &Guarda, decir: &(impl Fn(&Ficha, Ausencia) + Sync)) {
    let mut desde = Instant::now();
    while let Some(Pendientes { caducados, por_ver }) = guarda.esperar_pendientes(desde) {
        caducados
            .iter()
            .for_each(|ficha| decir(ficha, Ausencia::Caduco));
        if !por_ver.is_empty() {
            ver_quien_sigue(guarda, &por_ver, decir);
            desde = Instant::now() + DESCANSO;
        }
    }
}

fn ver_quien_sigue(
    guarda: &Guarda,
    por_ver: &[(Id, SocketAddr)],
    decir: &(impl Fn(&Ficha, Ausencia) + Sync),
) {
    let turno = AtomicUsize::new(0);
    let mirar = || {
        while let Some(&(id, direccion)) = por_ver.get(turno.fetch_add(1, Ordering::Relaxed)) {
            if guarda.parando() {
                return;
            }
            let Some(sigue) = sigue(direccion) else {
                continue;
            };
            if let Some(ficha) = guarda.con(|directorio| directorio.revisado(id, direccion, sigue))
            {
                decir(&ficha, Ausencia::NoResponde);
            }
        }
    };
    thread::scope(|ambito| {
        for n in 1..=HILOS_DE_SALUD.min(por_ver.len()) {
            let hilo = Builder::new().name(format!("salud-{n}")).stack_size(PILA);
            if let Err(error) = hilo.spawn_scoped(ambito, mirar) {
                warn!(
                    "no se pudo crear un hilo para ver quién sigue: {}",
                    motivo(&error)
                );
                break;
            }
        }
    });
}

/// ¿Hay quien escuche ahí? `None` si no se pudo ni probar. Al soltar el socket, sin nada que leer, sale un FIN.
fn sigue(direccion: SocketAddr) -> Option<bool> {
    match TcpStream::connect_timeout(&direccion, PLAZO_DE_SALUD) {
        Ok(_) => Some(true),
        Err(error) if sin_descriptores(&error) => None,
        Err(error) => {
            debug!("{direccion} no responde: {}", motivo(&error));
            Some(false)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::unbounded;

    fn ficha(n: u16) -> Ficha {
        let direccion = SocketAddr::from(([127, 0, 0, 1], n));
        Ficha {
            rest: format!("http://{direccion}"),
            direccion,
            desde: direccion.ip(),
            de_aqui: true,
            grpc_port: 0,
            puerto: None,
            archivos: Vec::new(),
        }
    }

    #[test]
    fn despierta_a_tiempo_para_quien_caduca_antes() {
        let guarda = Arc::new(Guarda::default());
        let (decir, oir) = unbounded();
        let contar = move |f: &Ficha, por| decir.send((f.direccion.port(), por)).unwrap();
        let vigilante = Vigilante::arrancar(Arc::clone(&guarda), contar).unwrap();
        let registrar =
            |n, ttl| guarda.con(|d| d.registrar(ficha(n), Some(ttl), Instant::now()).unwrap());
        registrar(1, Duration::from_secs(3600));
        // Sin el aviso de `con`, seguiría dormido una hora.
        registrar(2, Duration::from_millis(50));
        assert_eq!(
            oir.recv_timeout(Duration::from_secs(10)),
            Ok((2, Ausencia::Caduco))
        );
        vigilante.detener();
        assert_eq!(oir.try_recv().ok(), None);
    }

    #[test]
    fn se_distingue_a_quien_escucha_de_quien_no() {
        let escucha = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let direccion = escucha.local_addr().unwrap();
        assert_eq!(sigue(direccion), Some(true));
        // Ve un final normal, no un corte.
        let (mut visita, _) = escucha.accept().unwrap();
        assert_eq!(std::io::Read::read(&mut visita, &mut [0]).unwrap(), 0);
        drop(escucha);
        assert_eq!(sigue(direccion), Some(false));
    }
}
