//! El nodo de la guía, por partes. Aquí, lo que comparten sus hilos: [`Nodo`].

use std::collections::{HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::config::{Config, Limites, MAX_MENSAJES};
use crate::eventos::Avisador;
use crate::fallo::Fallo;
use crate::nodo::cancelacion::Cancelacion;
use crate::nodo::carpeta::Carpeta;
use crate::nodo::estante::Estante;
use crate::nodo::evento::{Evento, Mensaje};
use crate::nodo::linea::Sockets;
use crate::nodo::registro::Inscripcion;
use crate::nodo::rest::Web;

pub mod archivos;
pub mod arranque;
pub mod cancelacion;
pub mod carpeta;
pub mod cliente;
pub mod cola;
pub mod descarga;
pub mod direccion;
pub mod disco;
pub mod envio;
pub mod espera;
pub mod estante;
pub mod evento;
pub mod fuente;
pub mod guia;
pub mod huella;
pub mod linea;
pub mod localizar;
pub mod menu;
pub mod nombres;
pub mod ordenes;
pub mod pagina;
pub mod palabras;
pub mod pedido;
pub mod progreso;
pub mod protocolo;
pub mod recepcion;
pub mod registro;
pub mod relato;
pub mod rest;
pub mod servidor;

/// Lo que los hilos de un nodo comparten.
pub struct Nodo {
    /// Quién es y a quién conoce.
    pub vecinos: Vecinos,
    /// Dónde escucha.
    pub direccion: SocketAddr,
    /// Los archivos que sirve, con sus huellas.
    pub estante: Estante,
    /// La carpeta en que guarda lo que recibe (la misma que sirve).
    pub carpeta: Carpeta,
    /// Por dónde cuenta lo que pasa.
    pub avisador: Avisador<Evento>,
    /// Se dispara al salir, para que lo que se esté recibiendo termine.
    pub saliendo: Cancelacion,
    /// Archivos que otros nos están enviando ahora.
    pub recepciones: AtomicUsize,
    /// El maestro en que se registra, si lo hay.
    pub maestro: Option<Arc<Inscripcion>>,
    /// Lo que comparten las peticiones REST.
    pub web: Web,
    mensajes: Mutex<VecDeque<Mensaje>>,
}

/// Quién pregunta y a quién: lo que necesita el lado cliente, con servidor o sin él.
#[derive(Debug, Clone)]
pub struct Vecinos {
    /// Nombre con que se presenta.
    pub nombre: String,
    /// Puerto en que escucha (0 si no escucha).
    pub puerto: u16,
    /// Dónde escucha, si escucha: así no se toma a sí mismo por otro.
    pub escucha: Option<SocketAddr>,
    /// Los demás nodos, en el orden de la lista y sin uno mismo.
    pub peers: Vec<SocketAddr>,
    /// El maestro al que también se pregunta al buscar, si lo hay.
    pub maestro: Option<String>,
    /// Plazo total de cada peer al buscar.
    pub espera: Duration,
    /// Plazos y topes.
    pub limites: Limites,
    /// Las conexiones con que se pregunta, para cortarlas si quien espera se cansa.
    pub preguntas: Arc<Sockets>,
}

impl Vecinos {
    /// Los de un nodo que escucha en `direccion` (`None`: una orden suelta que no es nadie).
    pub fn nuevos(config: &Config, nombre: String, direccion: Option<SocketAddr>) -> Vecinos {
        let mut vistos = HashSet::new();
        let peers = config
            .peers
            .iter()
            .copied()
            .filter(|peer| {
                vistos.insert(*peer) && !direccion.is_some_and(|nuestra| soy_yo(*peer, nuestra))
            })
            .collect();
        let puerto = direccion.map_or(0, |d| d.port());
        Vecinos {
            nombre,
            puerto,
            escucha: direccion,
            peers,
            maestro: config.maestro.clone(),
            espera: config.espera,
            limites: config.limites,
            preguntas: Arc::default(),
        }
    }

    /// Los mismos, para una tanda de preguntas que se puede cortar sin cortar las demás.
    pub fn para_una_tanda(&self) -> Vecinos {
        Vecinos {
            preguntas: Arc::default(),
            ..self.clone()
        }
    }

    /// ¿Es `peer` este mismo nodo?
    pub fn soy_yo(&self, peer: SocketAddr) -> bool {
        self.escucha.is_some_and(|nuestra| soy_yo(peer, nuestra))
    }
}

/// ¿Es `peer` este mismo nodo, que escucha en `nuestra`? Lo es si el puerto es el nuestro y la IP es aquella en que
/// escuchamos o, si escuchamos en todas, una de esta máquina. Descargarse de uno mismo destruiría el archivo.
pub fn soy_yo(peer: SocketAddr, nuestra: SocketAddr) -> bool {
    if peer.port() != nuestra.port() {
        return false;
    }
    let ip = peer.ip().to_canonical();
    ip == nuestra.ip().to_canonical() || (nuestra.ip().is_unspecified() && es_de_esta_maquina(ip))
}

/// ¿Es una IP de esta máquina? Lo es si el sistema deja enlazar un puerto en ella.
pub fn es_de_esta_maquina(ip: IpAddr) -> bool {
    ip.is_loopback() || TcpListener::bind((ip, 0)).is_ok()
}

impl Nodo {
    /// Un nodo que escucha en `direccion` y comparte la carpeta abierta dos veces: una para servir y otra para guardar.
    pub fn nuevo(
        vecinos: Vecinos,
        direccion: SocketAddr,
        carpetas: (Carpeta, Carpeta),
        avisador: Avisador<Evento>,
        saliendo: Cancelacion,
    ) -> Nodo {
        let (para_servir, carpeta) = carpetas;
        let maestro = vecinos.maestro.clone();
        Nodo {
            vecinos,
            direccion,
            estante: Estante::de_carpeta(para_servir),
            carpeta,
            avisador,
            saliendo,
            recepciones: AtomicUsize::new(0),
            maestro: maestro.map(|url| Arc::new(Inscripcion::nueva(url, direccion))),
            web: Web::default(),
            mensajes: Mutex::default(),
        }
    }

    /// Los nombres de lo que comparte.
    ///
    /// # Errores
    /// No se puede leer la carpeta.
    pub fn nombres(&self) -> Result<Vec<String>, Fallo> {
        let archivos = self.carpeta.listar()?.into_iter();
        Ok(archivos.map(|archivo| archivo.nombre).collect())
    }

    /// La carpeta tiene algo nuevo: si hay maestro, que lo sepa ya.
    pub fn cambio_la_carpeta(&self) {
        if let Some(maestro) = &self.maestro {
            maestro.despertar();
        }
    }

    /// Guarda un mensaje recibido. Pasado el tope, se olvida el más viejo.
    pub fn guardar_mensaje(&self, mensaje: Mensaje) {
        let mut mensajes = self.con_mensajes();
        if mensajes.len() == MAX_MENSAJES {
            mensajes.pop_front();
        }
        mensajes.push_back(mensaje);
    }

    /// Los mensajes guardados, del más viejo al más nuevo.
    pub fn mensajes(&self) -> Vec<Mensaje> {
        self.con_mensajes().iter().cloned().collect()
    }

    fn con_mensajes(&self) -> MutexGuard<'_, VecDeque<Mensaje>> {
        self.mensajes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(texto: &str) -> SocketAddr {
        texto.parse().unwrap()
    }

    #[test]
    fn uno_mismo_se_reconoce() {
        assert!(soy_yo(dir("127.0.0.1:6001"), dir("127.0.0.1:6001")));
        assert!(soy_yo(dir("127.0.0.1:6001"), dir("0.0.0.0:6001")));
        assert!(!soy_yo(dir("127.0.0.1:6002"), dir("0.0.0.0:6001")));
        // El mismo puerto en otra IP de la máquina es otro nodo, si no escuchamos en todas.
        assert!(!soy_yo(dir("127.0.0.2:6001"), dir("127.0.0.1:6001")));
        // Una IP reservada para documentación: no es de nadie.
        assert!(!soy_yo(dir("192.0.2.1:6001"), dir("0.0.0.0:6001")));
    }
}
