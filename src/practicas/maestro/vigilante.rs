//! El hilo que mantiene al día el directorio del maestro: quita a los caducados y mira si los demás
//! siguen ahí.
//!
//! Duerme hasta lo próximo que toque, sin sondear. La salud se mira conectando y cerrando con FIN:
//! un RST mataría a un servidor sencillo como los del curso, y quedarse callado lo bloquearía. No
//! sabe de HTTP.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, at, bounded, never, select};
use log::{debug, warn};

use super::directorio::{Directorio, Pendientes};
use crate::consola::eventos::Avisador;
use crate::consola::preguntar_a_todos;
use crate::fallo::{motivo, sin_descriptores};
use crate::red::conexion::conectar;
use crate::red::parada::Parada;
use crate::red::parada::cerrojo;
use crate::testigo::Testigo;

/// Plazo para conectarse a un peer al ver si sigue.
const PLAZO_DE_SALUD: Duration = Duration::from_secs(1);
/// Cuántos se atienden en una ronda, todos a la vez, y lo que se descansa entre dos: con miles de
/// peers sin `ttl` se les pregunta más despacio en vez de ocupar la máquina en ello.
const RONDA: usize = 128;
const DESCANSO: Duration = Duration::from_secs(1);

/// El directorio con su cerrojo. Se toca sólo dentro de [`Guarda::con`].
pub struct Guarda {
    directorio: Mutex<Directorio>,
    /// Por aquí se despierta al vigilante. Cabe un aviso: si ya hay uno sin atender, otro no cambia
    /// nada.
    cambio: (Sender<()>, Receiver<()>),
}

impl Default for Guarda {
    fn default() -> Guarda {
        Guarda {
            directorio: Mutex::default(),
            cambio: bounded(1),
        }
    }
}

impl Guarda {
    /// Hace algo con el directorio, y despierta al vigilante si ahora lo próximo toca antes.
    pub fn con<T>(&self, hacer: impl FnOnce(&mut Directorio) -> T) -> T {
        let mut directorio = cerrojo(&self.directorio);
        let antes = directorio.proxima();
        let hecho = hacer(&mut directorio);
        let despues = directorio.proxima();
        drop(directorio);
        if despues.is_some_and(|despues| antes.is_none_or(|antes| despues < antes)) {
            let _ = self.cambio.0.try_send(());
        }
        hecho
    }

    /// Espera a que haya algo que hacer, y no antes de `desde`. `None` si hay que parar.
    fn esperar_pendientes(&self, desde: Instant, parada: &Parada) -> Option<Pendientes> {
        while !parada.avisada() {
            let proxima = cerrojo(&self.directorio).proxima();
            let toca = proxima.map(|toca| toca.max(desde));
            let ahora = Instant::now();
            if toca.is_some_and(|toca| toca <= ahora) {
                return Some(cerrojo(&self.directorio).pendientes(ahora, RONDA));
            }
            select! {
                recv(toca.map_or(never(), at)) -> _ => {}
                recv(self.cambio.1) -> _ => {}
                recv(parada.canal()) -> _ => {}
            }
        }
        None
    }
}

/// La vida del vigilante: hasta la `parada` cuenta cada peer que desaparece, y por qué.
pub fn vigilar(guarda: &Guarda, avisador: &Avisador, parada: &Parada) {
    let mut desde = Instant::now();
    while let Some(Pendientes { caducados, por_ver }) = guarda.esperar_pendientes(desde, parada) {
        for ficha in caducados {
            avisador.avisar(format_args!("[CADUCADO] {} dejó de renovar", ficha.rest));
        }
        if !por_ver.is_empty() {
            ver_quien_sigue(guarda, &por_ver, avisador, parada);
            desde = Instant::now() + DESCANSO;
        }
    }
}

fn ver_quien_sigue(guarda: &Guarda, por_ver: &[SocketAddr], avisador: &Avisador, parada: &Parada) {
    let mirar = |direccion| sigue(direccion, parada);
    let mirado = preguntar_a_todos(por_ver, mirar, |respuestas| {
        for (lugar, sigue) in respuestas.iter().take_while(|_| !parada.avisada()) {
            let revisar = |sigue| guarda.con(|d| d.revisado(por_ver[lugar], sigue));
            if let Some(ficha) = sigue.and_then(revisar) {
                avisador.avisar(format_args!("[CAÍDO] {} no responde", ficha.rest));
            }
        }
    });
    if let Err(fallo) = mirado {
        warn!("{fallo}");
    }
}

/// ¿Hay quien escuche ahí? `None` si no se pudo ni probar. Al soltar el socket, sin nada que leer,
/// sale un FIN.
fn sigue(direccion: SocketAddr, parada: &Parada) -> Option<bool> {
    match conectar(direccion, PLAZO_DE_SALUD, &Testigo::default(), parada) {
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
    use crate::practicas::maestro::directorio::Ficha;
    use crate::red::hilos::arrancar;
    use crate::red::maquina::aceptar;
    use std::sync::Arc;

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
        let (guarda, parada) = (Arc::<Guarda>::default(), Parada::nueva());
        let (avisador, oyente) = Avisador::nuevo(9);
        let (suya, hasta) = (Arc::clone(&guarda), parada.clone());
        let vigilante = arrancar("vigilante", move || vigilar(&suya, &avisador, &hasta)).unwrap();
        let registrar =
            |n, ttl| guarda.con(|d| d.registrar(ficha(n), Some(ttl), Instant::now()).unwrap());
        registrar(1, Duration::from_secs(3600));
        // Sin el aviso de `con`, seguiría dormido una hora.
        registrar(2, Duration::from_millis(50));
        let (hay_avisos, _) = oyente.canales();
        assert_eq!(hay_avisos.recv_timeout(Duration::from_secs(10)), Ok(()));
        let caducado = "[CADUCADO] http://127.0.0.1:2 dejó de renovar";
        assert_eq!(oyente.tanda(), [caducado]);
        parada.cortar();
        assert!(vigilante.esperar().is_some());
        assert!(oyente.tanda().is_empty());
    }

    #[test]
    fn se_distingue_a_quien_escucha_de_quien_no() {
        let escucha = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let direccion = escucha.local_addr().unwrap();
        assert_eq!(sigue(direccion, &Parada::nueva()), Some(true));
        // Ve un final normal, no un corte.
        let (mut visita, _) = aceptar(&escucha).unwrap();
        assert_eq!(std::io::Read::read(&mut visita, &mut [0]).unwrap(), 0);
        drop(escucha);
        assert_eq!(sigue(direccion, &Parada::nueva()), Some(false));
    }
}
