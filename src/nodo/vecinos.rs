//! Quién es este nodo y a quién conoce: los `peers` de la guía, sin repetidos y sin uno mismo.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, Limites};
use crate::nodo::descarga::linea::Sockets;
use crate::red::es_de_esta_maquina;

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
