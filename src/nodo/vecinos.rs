//! Quién es este nodo y a quién conoce: los `peers` de la guía, sin repetidos y sin uno mismo.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::config::{Config, Limites};
use crate::nodo::palabras::protocolo::Presentacion;
use crate::red::conexion::{Conexion, FalloRed};
use crate::red::maquina::{es_la_misma, sin_mapear};
use crate::red::parada::Parada;

/// Quién pregunta y a quién: lo que necesita el lado cliente, con servidor o sin él.
#[derive(Debug, Clone)]
pub struct Vecinos {
    /// Nombre con que se presenta.
    pub nombre: String,
    /// Lo que lo distingue de los demás: 8 cifras al azar en cada arranque.
    pub id: String,
    /// Dónde escucha, si escucha: así no se toma a sí mismo por otro.
    pub escucha: Option<SocketAddr>,
    /// Los demás nodos, en el orden de la lista y sin uno mismo.
    pub peers: Vec<SocketAddr>,
    /// El maestro al que también se pregunta, si lo hay.
    pub maestro: Option<String>,
    /// Plazo total de cada peer al buscar.
    pub espera: Duration,
    /// ¿Se atiende sólo a los peers escritos y a esta máquina?
    pub solo_peers: bool,
    /// Plazos y topes.
    pub limites: Limites,
    /// Corta las conexiones con que se pregunta, si quien espera se cansa.
    pub parada: Parada,
    /// Los `id` de quienes ya contestaron en esta tanda.
    vistos: Arc<Mutex<HashSet<String>>>,
}

impl Vecinos {
    /// Los de un nodo que escucha en `escucha` (`None`: una orden suelta que no es nadie).
    pub fn nuevos(config: &Config, nombre: String, escucha: Option<SocketAddr>) -> Vecinos {
        let mut vecinos = Vecinos {
            nombre,
            // Cada `RandomState` nace con una semilla al azar del sistema.
            id: format!("{:08x}", RandomState::new().build_hasher().finish() as u32),
            escucha,
            peers: Vec::new(),
            maestro: config.maestro.clone(),
            espera: config.espera,
            solo_peers: config.solo_peers,
            limites: config.limites.clone(),
            parada: Parada::nueva(),
            vistos: Arc::default(),
        };
        vecinos.conocer(&config.peers);
        vecinos
    }

    /// Añade los que no estén ya y no sean uno mismo. `::ffff:a.b.c.d` es la IPv4 `a.b.c.d`.
    pub fn conocer(&mut self, otros: &[SocketAddr]) {
        let mut vistos: HashSet<SocketAddr> = self.peers.iter().copied().collect();
        for otro in otros {
            let peer = sin_mapear(*otro);
            if !self.soy_yo(peer) && vistos.insert(peer) {
                self.peers.push(peer);
            }
        }
    }

    /// Los mismos, para una tanda de preguntas que se puede cortar sin cortar las demás.
    pub fn para_una_tanda(&self, parada: &Parada) -> Vecinos {
        Vecinos {
            parada: parada.clone(),
            vistos: Arc::new(Mutex::new(HashSet::from([self.id.clone()]))),
            ..self.clone()
        }
    }

    /// Apunta el `id` de quien contesta. Falso si ya contestó por otra dirección, o es el nuestro.
    pub fn es_nuevo(&self, id: &str) -> bool {
        let mut vistos = self.vistos.lock().unwrap_or_else(PoisonError::into_inner);
        vistos.insert(id.to_string())
    }

    /// ¿Es `peer` este mismo nodo? Descargarse de uno mismo destruiría el archivo.
    pub fn soy_yo(&self, peer: SocketAddr) -> bool {
        let es_peer = |nuestra| es_la_misma(peer, nuestra);
        self.escucha.is_some_and(es_peer)
    }

    /// ¿Viene de la IP de un peer escrito? El puerto desde el que llama no cuenta.
    pub fn es_de_un_escrito(&self, desde: SocketAddr) -> bool {
        self.peers.iter().any(|peer| peer.ip() == desde.ip())
    }

    /// ¿No hay a quién preguntar, ni quien lo diga?
    pub fn esta_solo(&self) -> bool {
        self.peers.is_empty() && self.maestro.is_none()
    }

    /// Cómo se presenta este nodo. El puerto es 0 si no escucha.
    pub fn presentacion(&self) -> Presentacion {
        Presentacion {
            puerto: self.escucha.map_or(0, |escucha| escucha.port()),
            nombre: self.nombre.clone(),
            id: Some(self.id.clone()),
        }
    }

    /// Se conecta a `peer` para preguntarle algo, en lo que diga `--espera`.
    pub fn conectar(&self, peer: SocketAddr, limites: &Limites) -> Result<Conexion, FalloRed> {
        Conexion::conectar(peer, self.espera, limites, &self.parada)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn es_de_un_escrito_quien_viene_de_su_ip_se_escriba_como_se_escriba() {
        let dir = |texto: &str| texto.parse::<SocketAddr>().unwrap();
        let config = crate::ordenes::opciones::decidir(Default::default()).unwrap();
        let mut vecinos = Vecinos::nuevos(&config, "yo".into(), None);
        vecinos.peers.clear();
        let escritos = [
            "[::ffff:10.0.0.2]:6001",
            "[fe80::1%3]:6001",
            "[2001:db8::7]:6001",
        ];
        vecinos.conocer(&escritos.map(dir));
        for (desde, entra) in [
            ("10.0.0.2:50000", true),
            ("[fe80::1%3]:50000", true),
            ("[2001:db8:0:0::7]:1", true),
            ("10.0.0.3:6001", false),
            ("[fe80::2%3]:6001", false),
        ] {
            assert_eq!(vecinos.es_de_un_escrito(dir(desde)), entra, "{desde}");
        }
    }

    #[test]
    fn nadie_cuenta_dos_veces_ni_se_cuenta_a_si_mismo() {
        let dir = |texto: &str| texto.parse::<SocketAddr>().unwrap();
        let mut vecinos = Vecinos {
            nombre: "yo".into(),
            id: "00000001".into(),
            vistos: Arc::default(),
            escucha: Some(dir("127.0.0.1:6001")),
            peers: Vec::new(),
            maestro: None,
            espera: Duration::from_secs(1),
            solo_peers: false,
            limites: Limites::default(),
            parada: Parada::nueva(),
        };
        let todos = [
            "127.0.0.1:6001",
            "127.0.0.1:6002",
            "[::ffff:127.0.0.1]:6002",
        ];
        vecinos.conocer(&todos.map(dir));
        assert_eq!(vecinos.peers, [dir("127.0.0.1:6002")]);
        let escrito = |texto| vecinos.es_de_un_escrito(dir(texto));
        assert!(escrito("127.0.0.1:50000") && !escrito("127.0.0.2:6002"));
        let tanda = vecinos.para_una_tanda(&Parada::nueva());
        assert!(!tanda.es_nuevo("00000001"), "es el nuestro");
        assert!(tanda.es_nuevo("00000002") && !tanda.es_nuevo("00000002"));
    }
}
