//! Quién es este nodo y a quién conoce: los `peers` de la guía, sin repetidos y sin uno mismo.
//!
//! Los hay escritos (`PEERS`, `--peer`, `--peers`) y conocidos (oídos en la red, o del maestro). A
//! todos se les pregunta, se les baja y se les envía; aquí sólo escriben los escritos, si no se
//! dice otra cosa ([`Vecinos::puede_escribir`]).

use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::config::{Config, Limites};
use crate::lan::conocidos::Conocidos;
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
    /// A quiénes se pregunta en esta tanda: los escritos, en el orden de la lista, y los conocidos
    /// al empezarla. Sin uno mismo.
    pub peers: Vec<SocketAddr>,
    /// Los que se escribieron.
    escritos: Vec<SocketAddr>,
    /// Los que no, que van cambiando.
    pub conocidos: Arc<Conocidos>,
    /// ¿También los conocidos pueden enviarnos archivos?
    pub recibe_de_conocidos: bool,
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
            escritos: Vec::new(),
            conocidos: Arc::new(Conocidos::nuevos(config.encuentro.descubre())),
            recibe_de_conocidos: config.encuentro.recibir_de_conocidos.unwrap_or_default(),
            maestro: config.maestro.clone(),
            espera: config.espera,
            solo_peers: config.solo_peers,
            limites: config.limites.clone(),
            parada: Parada::nueva(),
            vistos: Arc::default(),
        };
        vecinos.conocer(&config.peers);
        vecinos.escritos.clone_from(&vecinos.peers);
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

    /// Los de ahora, para una tanda de preguntas que se puede cortar sin cortar las demás.
    pub fn para_una_tanda(&self, parada: &Parada) -> Vecinos {
        let mut tanda = Vecinos {
            parada: parada.clone(),
            vistos: Arc::new(Mutex::new(HashSet::from([self.id.clone()]))),
            ..self.clone()
        };
        tanda.conocer(&self.conocidos.direcciones());
        tanda
    }

    /// ¿Se escribió esa dirección?
    pub fn es_escrito(&self, peer: SocketAddr) -> bool {
        self.escritos.contains(&peer)
    }

    /// ¿Viene de la IP de un peer escrito? El puerto desde el que llama no cuenta.
    pub fn es_de_un_escrito(&self, desde: SocketAddr) -> bool {
        self.escritos.iter().any(|peer| peer.ip() == desde.ip())
    }

    /// ¿Puede enviarnos archivos quien llama `desde` ahí? Anunciarse no da permiso para escribir:
    /// los conocidos, sólo si probaron la clave de la clase (la conexión va `cifrada`) o si se
    /// pidió con `--recibir-de-conocidos`.
    pub fn puede_escribir(&self, desde: SocketAddr, cifrada: bool) -> bool {
        let conocido = || self.conocidos.quien_es(desde.ip()).is_some();
        self.es_de_un_escrito(desde) || ((self.recibe_de_conocidos || cifrada) && conocido())
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

    /// ¿No hay a quién preguntar, ni quien lo diga?
    pub fn esta_solo(&self) -> bool {
        let nadie = self.peers.is_empty() && self.conocidos.direcciones().is_empty();
        nadie && self.maestro.is_none()
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
    use crate::lan::conocidos::Conocido;

    #[test]
    fn es_de_un_escrito_quien_viene_de_su_ip_se_escriba_como_se_escriba() {
        let dir = |texto: &str| texto.parse::<SocketAddr>().unwrap();
        let mut config = crate::ordenes::opciones::decidir(Default::default()).unwrap();
        let escritos = [
            "[::ffff:10.0.0.2]:6001",
            "[fe80::1%3]:6001",
            "[2001:db8::7]:6001",
        ];
        config.peers = escritos.map(dir).to_vec();
        let vecinos = Vecinos::nuevos(&config, "yo".into(), None);
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
    fn de_un_conocido_se_recibe_si_probo_la_clave_o_si_se_pidio() {
        let dir = |texto: &str| texto.parse::<SocketAddr>().unwrap();
        let mut config = crate::ordenes::opciones::decidir(Default::default()).unwrap();
        config.peers = vec![dir("10.0.0.2:6001")];
        let mut vecinos = Vecinos::nuevos(&config, "yo".into(), None);
        let entra = vecinos.conocidos.entra(Conocido {
            id: "0000000a".into(),
            nombre: "ana".into(),
            direccion: dir("10.0.0.3:6001"),
        });
        assert!(entra);
        let puede = |vecinos: &Vecinos, ip: &str, cifrada| {
            vecinos.puede_escribir(dir(&format!("{ip}:50000")), cifrada)
        };
        for (ip, en_claro, cifrada) in [
            ("10.0.0.2", true, true),
            ("10.0.0.3", false, true),
            ("10.0.0.4", false, false),
        ] {
            assert_eq!(puede(&vecinos, ip, false), en_claro, "{ip}");
            assert_eq!(puede(&vecinos, ip, true), cifrada, "{ip}");
        }
        vecinos.recibe_de_conocidos = true;
        assert!(puede(&vecinos, "10.0.0.3", false) && !puede(&vecinos, "10.0.0.4", false));
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
            escritos: Vec::new(),
            conocidos: Arc::new(Conocidos::nuevos(false)),
            recibe_de_conocidos: false,
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
        vecinos.escritos.clone_from(&vecinos.peers);
        let escrito = |texto| vecinos.es_de_un_escrito(dir(texto));
        assert!(escrito("127.0.0.1:50000") && !escrito("127.0.0.2:6002"));
        let tanda = vecinos.para_una_tanda(&Parada::nueva());
        assert!(!tanda.es_nuevo("00000001"), "es el nuestro");
        assert!(tanda.es_nuevo("00000002") && !tanda.es_nuevo("00000002"));
    }
}
