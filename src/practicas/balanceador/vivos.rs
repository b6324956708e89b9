//! Los backends del balanceador: a quién le toca, quién está caído y quién ha vuelto.
//!
//! En el documento la lista `backend_servers` es fija y el turno avanza aunque el servidor no conteste. Aquí el turno
//! rota sólo entre los vivos: saltar al siguiente del caído cargaría el doble a su vecino. Un backend se retira
//! cuando no acepta una conexión, y el hilo [`Vigilante`] pregunta por los retirados hasta que vuelven.
//!
//! A los vivos no se les pregunta nada: el backend del curso atiende de uno en uno, y cada pregunta le gasta un turno.
//! No copia bytes (`canal.rs`) ni escribe en pantalla.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use log::debug;

use crate::config::Limites;
use crate::consola::eventos::Avisador;
use crate::fallo::Fallo;
use crate::red::conexion::Conexion;

/// Cada cuánto se pregunta por los retirados.
const CADA_CUANTO: Duration = Duration::from_secs(1);
/// Cuánto se espera a que un retirado acepte la conexión, y luego a que la cierre.
const PLAZO_DE_SALUD: Duration = Duration::from_secs(1);
/// Respuestas seguidas que hacen falta para volver: una sola puede ser un servidor que se está apagando.
const ACIERTOS_PARA_VOLVER: u8 = 2;

/// Un cambio en la lista de vivos, para contarlo en pantalla.
#[derive(Debug, PartialEq, Eq)]
pub enum Cambio {
    /// Un backend no aceptó una conexión (por qué) y deja de recibir clientes.
    Cae(SocketAddr, String),
    /// Un backend retirado contesta otra vez.
    Vuelve(SocketAddr),
}

/// La lista de backends, compartida entre los hilos de conexión, el vigilante y el hilo principal.
pub struct Vivos {
    backends: Vec<Backend>,
    turnos: Mutex<Turnos>,
    avisador: Avisador<Cambio>,
}

struct Backend {
    direccion: SocketAddr,
    asignadas: AtomicU64,
}

struct Turnos {
    /// Números de los vivos, en el orden en que se escribieron.
    vivos: Vec<usize>,
    /// A qué posición de `vivos` le toca.
    siguiente: usize,
}

impl Vivos {
    /// Todos vivos mientras no se demuestre lo contrario; los cambios se cuentan por `avisador`.
    pub fn nuevos(direcciones: &[SocketAddr], avisador: Avisador<Cambio>) -> Vivos {
        let nuevo = |&direccion| Backend {
            direccion,
            asignadas: AtomicU64::new(0),
        };
        let turnos = Turnos {
            vivos: (0..direcciones.len()).collect(),
            siguiente: 0,
        };
        Vivos {
            backends: direcciones.iter().map(nuevo).collect(),
            turnos: Mutex::new(turnos),
            avisador,
        }
    }

    /// A quién le toca, en turno rotatorio entre los vivos. `None` si no queda ninguno.
    pub fn siguiente(&self) -> Option<usize> {
        let mut turnos = self.turnos();
        let elegido = *turnos.vivos.get(turnos.siguiente)?;
        turnos.siguiente = (turnos.siguiente + 1) % turnos.vivos.len();
        Some(elegido)
    }

    /// La dirección del backend número `cual`.
    pub fn direccion(&self, cual: usize) -> SocketAddr {
        self.backends[cual].direccion
    }

    /// Cuántos backends hay, vivos o no.
    pub fn cuantos(&self) -> usize {
        self.backends.len()
    }

    /// Apunta una conexión más a su cuenta.
    pub fn apuntar(&self, cual: usize) {
        self.backends[cual]
            .asignadas
            .fetch_add(1, Ordering::Relaxed);
    }

    /// Cuántas conexiones recibió cada uno.
    pub fn reparto(&self) -> Vec<(SocketAddr, u64)> {
        self.backends
            .iter()
            .map(|b| (b.direccion, b.asignadas.load(Ordering::Relaxed)))
            .collect()
    }

    /// Deja de darle conexiones. Si varios clientes descubren a la vez la misma caída, se cuenta una.
    pub fn retirar(&self, cual: usize, motivo: String) {
        let mut turnos = self.turnos();
        let Some(donde) = turnos.vivos.iter().position(|&vivo| vivo == cual) else {
            return;
        };
        turnos.vivos.remove(donde);
        // El turno sigue siendo de quien era: si no, alguno se lo saltaría.
        if donde < turnos.siguiente {
            turnos.siguiente -= 1;
        }
        if turnos.siguiente == turnos.vivos.len() {
            turnos.siguiente = 0;
        }
        self.avisador
            .avisar(Cambio::Cae(self.direccion(cual), motivo));
    }

    fn devolver(&self, cual: usize) {
        let mut turnos = self.turnos();
        let Err(donde) = turnos.vivos.binary_search(&cual) else {
            return;
        };
        turnos.vivos.insert(donde, cual);
        if donde < turnos.siguiente {
            turnos.siguiente += 1;
        }
        self.avisador.avisar(Cambio::Vuelve(self.direccion(cual)));
    }

    fn esta_vivo(&self, cual: usize) -> bool {
        self.turnos().vivos.contains(&cual)
    }

    fn turnos(&self) -> MutexGuard<'_, Turnos> {
        // Nadie deja la lista a medias: un cerrojo envenenado sigue siendo bueno.
        self.turnos.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Se conecta a un backend en menos de `plazo`, sin retardo de Nagle.
///
/// # Errores
/// Nadie escucha ahí, no hay camino o se acabó el plazo.
pub fn conectar(direccion: SocketAddr, plazo: Duration) -> io::Result<TcpStream> {
    let socket = TcpStream::connect_timeout(&direccion, plazo)?;
    // En la propia máquina, si nadie escucha en un puerto de los que el sistema da a los clientes, TCP puede
    // conectar un socket consigo mismo. Eso no es un backend.
    if socket.local_addr()? == direccion {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// El hilo que pregunta por los retirados. Lo arranca y lo detiene el hilo principal.
pub struct Vigilante {
    parar: Sender<()>,
    hilo: JoinHandle<()>,
}

impl Vigilante {
    /// Empieza a vigilar.
    ///
    /// # Errores
    /// El sistema no da más hilos.
    pub fn arrancar(vivos: Arc<Vivos>) -> Result<Vigilante, Fallo> {
        let (parar, parado) = bounded::<()>(0);
        let hilo = Builder::new()
            .name("vigilante".into())
            .spawn(move || vigilar(&vivos, &parado, CADA_CUANTO))
            .map_err(|e| Fallo::de_sistema("creando el hilo vigilante", &e))?;
        Ok(Vigilante { parar, hilo })
    }

    /// Lo manda parar y lo espera (`PLAZO_DE_SALUD` dos veces como mucho, si está preguntando a alguien).
    pub fn detener(self) {
        drop(self.parar);
        if self.hilo.join().is_err() {
            log::error!("el hilo vigilante terminó por un error interno");
        }
    }
}

fn vigilar(vivos: &Vivos, parado: &Receiver<()>, cada_cuanto: Duration) {
    let mut aciertos = vec![0; vivos.cuantos()];
    while parado.recv_timeout(cada_cuanto) == Err(RecvTimeoutError::Timeout) {
        for (cual, aciertos) in aciertos.iter_mut().enumerate() {
            if parado.try_recv().is_err_and(|e| e.is_disconnected()) {
                return;
            }
            if vivos.esta_vivo(cual) {
                *aciertos = 0;
                continue;
            }
            *aciertos = if esta_sano(vivos.direccion(cual)) {
                *aciertos + 1
            } else {
                0
            };
            if *aciertos == ACIERTOS_PARA_VOLVER {
                vivos.devolver(cual);
                *aciertos = 0;
            }
        }
    }
}

/// ¿Acepta una conexión? Se cierra con FIN y se espera un poco el suyo: un RST mata al backend del curso, que no
/// atrapa errores, y dejarla abierta sin decir nada lo bloquea, porque atiende de uno en uno.
fn esta_sano(direccion: SocketAddr) -> bool {
    match conectar(direccion, PLAZO_DE_SALUD) {
        Ok(socket) => {
            Conexion::aceptada(&Arc::new(socket), direccion, Limites::default())
                .cerrar_con_calma(PLAZO_DE_SALUD);
            true
        }
        Err(error) => {
            debug!("{direccion} sigue caído: {}", crate::fallo::motivo(&error));
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    fn vivos(cuantos: u16) -> (Vivos, Receiver<Cambio>) {
        let direcciones: Vec<SocketAddr> =
            (1..=cuantos).map(|n| ([127, 0, 0, 1], n).into()).collect();
        let (avisador, oir) = Avisador::nuevo();
        (Vivos::nuevos(&direcciones, avisador), oir)
    }

    fn repartir(vivos: &Vivos, veces: usize) -> HashMap<usize, usize> {
        let mut cuenta = HashMap::new();
        (0..veces).for_each(|_| *cuenta.entry(vivos.siguiente().unwrap()).or_default() += 1);
        cuenta
    }

    #[test]
    fn reparte_por_turno_y_por_igual_entre_los_vivos() {
        let (vivos, oir) = vivos(4);
        assert_eq!(
            [(); 5].map(|()| vivos.siguiente().unwrap()),
            [0, 1, 2, 3, 0]
        );
        // Le tocaba al 1: caído él, le toca al siguiente, y nadie pierde su turno.
        vivos.retirar(1, "caído".into());
        assert_eq!([(); 4].map(|()| vivos.siguiente().unwrap()), [2, 3, 0, 2]);
        vivos.retirar(2, "caído".into());
        assert_eq!(vivos.siguiente(), Some(3));
        vivos.devolver(2);
        assert_eq!([(); 3].map(|()| vivos.siguiente().unwrap()), [0, 2, 3]);
        assert_eq!(
            repartir(&vivos, 300),
            HashMap::from([(0, 100), (2, 100), (3, 100)])
        );
        vivos.devolver(1);
        assert_eq!(repartir(&vivos, 400).values().max(), Some(&100));
        let cambios: Vec<Cambio> = oir.try_iter().collect();
        assert!(matches!(&cambios[0], Cambio::Cae(direccion, _) if direccion.port() == 2));
        assert!(matches!(cambios[3], Cambio::Vuelve(direccion) if direccion.port() == 2));
    }

    #[test]
    fn una_caida_descubierta_por_muchos_se_cuenta_una_vez() {
        let (vivos, oir) = vivos(1);
        vivos.retirar(0, "uno".into());
        vivos.retirar(0, "dos".into());
        assert_eq!(oir.len(), 1);
        assert_eq!(vivos.siguiente(), None);
    }

    #[test]
    fn la_pregunta_de_salud_acaba_en_fin_aunque_el_backend_conteste() {
        let escucha = TcpListener::bind("127.0.0.1:0").unwrap();
        let direccion = escucha.local_addr().unwrap();
        let backend = thread::spawn(move || {
            let mut conexion = escucha.accept().unwrap().0;
            let leido = conexion.read(&mut [0; 1024]).unwrap();
            conexion.write_all(b"Response from Server 1\n").unwrap();
            // Si el otro cerrara sin leer la respuesta, aquí llegaría un RST y no un final.
            conexion.shutdown(std::net::Shutdown::Write).unwrap();
            (leido, conexion.read(&mut [0; 1]).unwrap_or(99))
        });
        assert!(esta_sano(direccion));
        assert_eq!(backend.join().unwrap(), (0, 0));
        assert!(!esta_sano(direccion));
    }

    #[test]
    fn vuelve_tras_dos_aciertos_y_el_vigilante_se_para() {
        let escucha = TcpListener::bind("127.0.0.1:0").unwrap();
        let (avisador, oir) = Avisador::nuevo();
        let vivos = Vivos::nuevos(&[escucha.local_addr().unwrap()], avisador);
        vivos.retirar(0, "caído".into());
        let (parar, parado) = bounded::<()>(0);
        thread::scope(|ambito| {
            ambito.spawn(|| vigilar(&vivos, &parado, Duration::from_millis(10)));
            drop(escucha.accept().unwrap());
            assert_eq!(vivos.siguiente(), None, "con un acierto no basta");
            drop(escucha.accept().unwrap());
            assert!(matches!(oir.recv().unwrap(), Cambio::Cae(..)));
            assert!(matches!(
                oir.recv_timeout(Duration::from_secs(5)).unwrap(),
                Cambio::Vuelve(_)
            ));
            assert_eq!(vivos.siguiente(), Some(0));
            drop(parar);
        });
    }
}
