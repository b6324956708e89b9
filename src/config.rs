//! CONFIGURACIÓN DEL NODO, como en la guía: constantes, el vector `PEERS`, y las opciones que los sustituyen.
//!
//! Se lee una vez, al empezar, y de aquí sale una [`Config`] que ya no cambia. Nadie más mira las opciones ni el
//! entorno. No abre puertos ni toca el disco.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::fallo::Fallo;
use crate::http::url::Url;

/// Los nodos de la práctica: nombre y dirección. La fila da el puerto y la carpeta (`compartidos/nodoN`).
///
/// Es el vector `peers` de la guía. Los puertos empiezan en 6001 porque los navegadores se niegan a abrir el 6000.
/// Para cambiarlos sin recompilar: `--peer IP:PUERTO`, una vez por cada nodo.
pub const PEERS: [(&str, SocketAddr); 3] = [
    (
        "nodo1",
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 6001),
    ),
    (
        "nodo2",
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 6002),
    ),
    (
        "nodo3",
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 6003),
    ),
];

/// El `PUERTO` de la guía: el de un nodo que no está en [`PEERS`] y el de un peer escrito sin puerto.
pub const PUERTO: u16 = 6000;
/// La `CARPETA_ARCHIVOS` de la guía.
pub const CARPETA_ARCHIVOS: &str = "compartidos";
/// Cuántas conexiones atiende a la vez si no se dice otra cosa.
pub const MAX_CONEXIONES: usize = 1024;
/// Tope de peers: al buscar hay un hilo por cada uno.
pub const MAX_PEERS: usize = 512;
/// Tope del nombre de un nodo, en bytes.
pub const MAX_NOMBRE: usize = 64;
/// Tope de un mensaje, en bytes.
pub const MAX_MENSAJE: usize = 2000;
/// Cuántos mensajes recibidos se guardan; después se olvidan los más viejos.
pub const MAX_MENSAJES: usize = 200;
/// Conexiones que se abren a cada fuente al descargar (medido en 2 núcleos: ver `scripts/comparar.sh`).
pub const CONEXIONES_POR_FUENTE: usize = 2;

/// Los plazos y topes de una conversación. Las pruebas usan otros más cortos en vez de esperar.
#[derive(Debug, Clone, Copy)]
pub struct Limites {
    /// Para establecer una conexión.
    pub conectar: Duration,
    /// Para que llegue entera la línea de una petición (en total, no por lectura).
    pub peticion: Duration,
    /// Para que el otro empiece a contestar, o siga contestando.
    pub respuesta: Duration,
    /// Sin que el otro reciba un solo byte de lo que se le manda.
    pub escribir: Duration,
    /// Bytes de una línea.
    pub linea: usize,
}

impl Default for Limites {
    fn default() -> Self {
        Limites {
            conectar: Duration::from_secs(2),
            peticion: Duration::from_secs(10),
            respuesta: Duration::from_secs(10),
            escribir: Duration::from_secs(30),
            linea: 4096,
        }
    }
}

/// Las opciones del nodo, tal como se escriben. Valen antes y después de la orden.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Opciones del nodo")]
pub struct OpcionesNodo {
    /// Fila de PEERS que es este nodo (1, 2 o 3): da puerto y carpeta
    #[arg(long, value_name = "N", value_parser = leer_numero)]
    pub nodo: Option<usize>,
    /// IP en que escucha (0.0.0.0 = todas las de esta máquina)
    #[arg(long, value_name = "IP", value_parser = leer_ip)]
    pub ip: Option<IpAddr>,
    /// Puerto en que escucha (0 = el que esté libre)
    #[arg(long, value_name = "PUERTO", value_parser = leer_puerto)]
    pub puerto: Option<u16>,
    /// Carpeta compartida
    #[arg(long, value_name = "CARPETA")]
    pub carpeta: Option<PathBuf>,
    /// Otro nodo, IP o IP:PUERTO (sin puerto, 6000); se repite, y sustituye a PEERS
    #[arg(long = "peer", value_name = "IP[:PUERTO]", value_parser = leer_peer)]
    pub peers: Vec<SocketAddr>,
    /// Nombre con que se presenta
    #[arg(long, value_name = "NOMBRE", value_parser = leer_nombre)]
    pub nombre: Option<String>,
    /// Segundos que se espera a cada peer al buscar (2 si no se dice)
    #[arg(long, value_name = "SEGUNDOS", value_parser = leer_segundos)]
    pub espera: Option<Duration>,
    /// Conexiones que atiende a la vez (1024 si no se dice)
    #[arg(long, value_name = "N", value_parser = leer_max_conexiones)]
    pub max_conexiones: Option<usize>,
    /// Directorio «maestro» en que registrarse y al que preguntar, por ejemplo http://127.0.0.1:9000
    #[arg(long, value_name = "URL", value_parser = leer_maestro)]
    pub maestro: Option<String>,
}

impl OpcionesNodo {
    /// Une las escritas antes de la orden con las de después (`ultimas`): mandan las de después, los peers se suman.
    pub fn unir(mut self, ultimas: OpcionesNodo) -> OpcionesNodo {
        self.peers.extend(ultimas.peers);
        OpcionesNodo {
            nodo: ultimas.nodo.or(self.nodo),
            ip: ultimas.ip.or(self.ip),
            puerto: ultimas.puerto.or(self.puerto),
            carpeta: ultimas.carpeta.or(self.carpeta),
            peers: self.peers,
            nombre: ultimas.nombre.or(self.nombre),
            espera: ultimas.espera.or(self.espera),
            max_conexiones: ultimas.max_conexiones.or(self.max_conexiones),
            maestro: ultimas.maestro.or(self.maestro),
        }
    }
}

fn leer_numero(escrito: &str) -> Result<usize, String> {
    escrito.parse().map_err(|_| "se esperaba un número".into())
}

/// Lee una IP.
pub fn leer_ip(escrito: &str) -> Result<IpAddr, String> {
    escrito
        .parse()
        .map_err(|_| "se esperaba una IP, por ejemplo 192.168.1.10".into())
}

/// Lee un puerto, de 0 a 65535.
pub fn leer_puerto(escrito: &str) -> Result<u16, String> {
    escrito
        .parse()
        .map_err(|_| "se esperaba un puerto, de 0 a 65535".into())
}

/// Lee `IP:PUERTO`.
pub fn leer_direccion(escrito: &str) -> Result<SocketAddr, String> {
    escrito
        .parse()
        .map_err(|_| "se esperaba IP:PUERTO, por ejemplo 127.0.0.1:8001".into())
}

/// Lee `IP` o `IP:PUERTO` (sin puerto, 6000).
pub fn leer_peer(escrito: &str) -> Result<SocketAddr, String> {
    let con_puerto = escrito.parse::<SocketAddr>();
    let sin_puerto = || {
        escrito
            .parse::<IpAddr>()
            .map(|ip| SocketAddr::new(ip, PUERTO))
    };
    match con_puerto.or_else(|_| sin_puerto()) {
        Ok(peer) if peer.port() == 0 => Err("el puerto de un peer no puede ser 0".into()),
        Ok(peer) if peer.ip().is_unspecified() => {
            Err("0.0.0.0 no es la dirección de nadie: escribe la IP de ese nodo".into())
        }
        Ok(peer) => Ok(peer),
        Err(_) => {
            Err("se esperaba una IP o IP:PUERTO, por ejemplo 192.168.1.11 o 127.0.0.1:6002".into())
        }
    }
}

/// Un nombre de nodo viaja entre dos `:` en una línea: ni `:` ni controles, y 64 bytes como mucho.
fn leer_nombre(escrito: &str) -> Result<String, String> {
    if nombre_de_nodo_valido(escrito) {
        Ok(escrito.to_string())
    } else {
        Err(
            "el nombre de un nodo no lleva «:» ni caracteres de control, y tiene de 1 a 64 bytes"
                .into(),
        )
    }
}

/// ¿Puede llamarse así un nodo?
pub fn nombre_de_nodo_valido(nombre: &str) -> bool {
    !nombre.is_empty()
        && nombre.len() <= MAX_NOMBRE
        && !nombre.chars().any(|c| c == ':' || c.is_control())
}

fn leer_segundos(escrito: &str) -> Result<Duration, String> {
    match escrito.replace(',', ".").parse::<f64>() {
        Ok(segundos) if segundos > 0.0 && segundos <= 3600.0 => {
            Ok(Duration::from_secs_f64(segundos))
        }
        _ => Err("se esperaban segundos, más de 0 y hasta 3600; por ejemplo 2 o 0.5".into()),
    }
}

fn leer_max_conexiones(escrito: &str) -> Result<usize, String> {
    match escrito.parse() {
        // Por encima de unos 16 000 hilos un proceso de Linux puede abortar (vm.max_map_count / 4).
        Ok(n @ 1..=12_000) => Ok(n),
        _ => Err("se esperaba un número de 1 a 12000".into()),
    }
}

/// Lee la URL de un maestro o de un peer: `http://…`, sin barra final.
pub fn leer_maestro(escrito: &str) -> Result<String, String> {
    match escrito.strip_prefix("http://") {
        Some(resto) if !resto.is_empty() => Ok(escrito.trim_end_matches('/').to_string()),
        _ => Err("se esperaba una URL como http://127.0.0.1:9000".into()),
    }
}

/// Quién es este nodo dentro de la lista de la práctica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fila {
    /// La fila N de [`PEERS`] (desde 1), elegida con `--nodo`.
    Elegida(usize),
    /// La primera cuyo puerto esté libre: `nodo` a secas.
    PrimeraLibre,
    /// Ninguna: todo se dijo con opciones.
    Ninguna,
}

/// Lo que se decidió al arrancar, ya comprobado.
#[derive(Debug, Clone)]
pub struct Config {
    /// Fila de [`PEERS`].
    pub fila: Fila,
    /// IP en que escucha.
    pub ip: IpAddr,
    /// Puerto en que escucha; con [`Fila::PrimeraLibre`] lo da la fila que resulte.
    pub puerto: u16,
    /// Carpeta compartida; `None` con [`Fila::PrimeraLibre`] si la da la fila que resulte.
    pub carpeta: Option<PathBuf>,
    /// Los demás nodos (y quizá uno mismo, que se excluye al preguntar).
    pub peers: Vec<SocketAddr>,
    /// Nombre con que se presenta, si se escribió.
    pub nombre: Option<String>,
    /// Plazo total de cada peer al buscar.
    pub espera: Duration,
    /// Conexiones que atiende a la vez.
    pub max_conexiones: usize,
    /// Directorio en que registrarse.
    pub maestro: Option<String>,
    /// ¿Se dijo quién es este nodo (`--nodo` o `--puerto`)? Una orden suelta no abre puerto: sin esto no es nadie.
    pub identificado: bool,
    /// Plazos y topes.
    pub limites: Limites,
}

impl Config {
    /// Decide la configuración a partir de lo escrito.
    ///
    /// # Errores
    /// `--nodo` fuera de la lista, o demasiados peers.
    pub fn desde(opciones: OpcionesNodo) -> Result<Config, Fallo> {
        if opciones.peers.len() > MAX_PEERS {
            return Err(Fallo::nuevo(format!(
                "son demasiados peers: el tope es {MAX_PEERS}"
            )));
        }
        let fila = elegir_fila(&opciones)?;
        let puerto_de_la_fila = match fila {
            Fila::Elegida(n) => PEERS[n - 1].1.port(),
            Fila::PrimeraLibre | Fila::Ninguna => PUERTO,
        };
        let mut peers = opciones.peers;
        if peers.is_empty() {
            peers = PEERS.iter().map(|(_, direccion)| *direccion).collect();
        }
        Ok(Config {
            fila,
            ip: opciones
                .ip
                .unwrap_or_else(|| ip_para(&peers, opciones.maestro.as_deref())),
            puerto: opciones.puerto.unwrap_or(puerto_de_la_fila),
            carpeta: opciones.carpeta.or_else(|| carpeta_de(fila)),
            peers,
            nombre: opciones.nombre,
            espera: opciones.espera.unwrap_or(Duration::from_secs(2)),
            max_conexiones: opciones.max_conexiones.unwrap_or(MAX_CONEXIONES),
            maestro: opciones.maestro,
            identificado: opciones.nodo.is_some() || opciones.puerto.is_some(),
            limites: Limites::default(),
        })
    }

    /// La carpeta, o `compartidos` si nadie la dijo (las órdenes sueltas).
    pub fn carpeta_o_la_de_la_guia(&self) -> PathBuf {
        self.carpeta
            .clone()
            .unwrap_or_else(|| PathBuf::from(CARPETA_ARCHIVOS))
    }
}

fn elegir_fila(opciones: &OpcionesNodo) -> Result<Fila, Fallo> {
    match opciones.nodo {
        Some(n) if (1..=PEERS.len()).contains(&n) => Ok(Fila::Elegida(n)),
        Some(n) => Err(Fallo::nuevo(format!(
            "no hay nodo {n}: --nodo va de 1 a {}, las filas de PEERS",
            PEERS.len()
        ))),
        None if opciones.peers.is_empty() && opciones.puerto.is_none() => Ok(Fila::PrimeraLibre),
        None => Ok(Fila::Ninguna),
    }
}

fn carpeta_de(fila: Fila) -> Option<PathBuf> {
    match fila {
        Fila::Elegida(n) => Some(carpeta_de_fila(n)),
        Fila::PrimeraLibre => None,
        Fila::Ninguna => Some(PathBuf::from(CARPETA_ARCHIVOS)),
    }
}

/// La carpeta de la fila `n` (desde 1): `compartidos/nodoN`.
pub fn carpeta_de_fila(n: usize) -> PathBuf {
    [CARPETA_ARCHIVOS, PEERS[n - 1].0].iter().collect()
}

/// Si todos los peers (y el maestro, que dirá a otros dónde estamos) son de esta máquina basta escuchar en ella; si no,
/// hay que escuchar en todas las redes.
fn ip_para(peers: &[SocketAddr], maestro: Option<&str>) -> IpAddr {
    let maestro = maestro.and_then(Url::leer);
    let maestro_de_aqui =
        maestro.is_none_or(|maestro| maestro.ip().is_some_and(|ip| ip.is_loopback()));
    let todos_de_aqui = maestro_de_aqui && peers.iter().all(|peer| peer.ip().is_loopback());
    IpAddr::V4(if todos_de_aqui {
        Ipv4Addr::LOCALHOST
    } else {
        Ipv4Addr::UNSPECIFIED
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(opciones: OpcionesNodo) -> Config {
        Config::desde(opciones).unwrap()
    }

    #[test]
    fn la_fila_da_puerto_y_carpeta() {
        let segundo = config(OpcionesNodo {
            nodo: Some(2),
            ..Default::default()
        });
        assert_eq!((segundo.fila, segundo.puerto), (Fila::Elegida(2), 6002));
        assert_eq!(segundo.carpeta, Some(carpeta_de_fila(2)));
        assert_eq!(segundo.ip, IpAddr::V4(Ipv4Addr::LOCALHOST));
        assert!(
            Config::desde(OpcionesNodo {
                nodo: Some(4),
                ..Default::default()
            })
            .is_err()
        );
        assert!(
            Config::desde(OpcionesNodo {
                nodo: Some(0),
                ..Default::default()
            })
            .is_err()
        );
    }

    #[test]
    fn con_peers_de_otra_maquina_es_la_guia_en_la_lan() {
        let peers = vec![leer_peer("192.168.1.11").unwrap()];
        assert_eq!(peers[0].port(), PUERTO);
        let lan = config(OpcionesNodo {
            peers,
            ..Default::default()
        });
        assert_eq!(
            (lan.fila, lan.puerto, lan.ip),
            (Fila::Ninguna, 6000, Ipv4Addr::UNSPECIFIED.into())
        );
        assert_eq!(lan.carpeta, Some("compartidos".into()));
    }

    #[test]
    fn con_un_maestro_de_otra_maquina_hay_que_escuchar_en_la_red() {
        let con = |maestro: &str| {
            let maestro = Some(leer_maestro(maestro).unwrap());
            config(OpcionesNodo {
                maestro,
                ..Default::default()
            })
            .ip
        };
        assert_eq!(con("http://127.0.0.1:9000"), Ipv4Addr::LOCALHOST);
        assert_eq!(con("http://localhost:9000"), Ipv4Addr::LOCALHOST);
        assert_eq!(con("http://192.168.1.10:9000"), Ipv4Addr::UNSPECIFIED);
    }

    #[test]
    fn a_secas_toma_la_primera_fila_libre() {
        let aqui = config(OpcionesNodo::default());
        assert_eq!(
            (aqui.fila, aqui.carpeta, aqui.peers.len()),
            (Fila::PrimeraLibre, None, 3)
        );
    }

    #[test]
    fn los_peers_de_los_dos_lados_se_suman() {
        let peer = |texto| OpcionesNodo {
            peers: vec![leer_peer(texto).unwrap()],
            ..Default::default()
        };
        assert_eq!(peer("127.0.0.1:1").unir(peer("127.0.0.1:2")).peers.len(), 2);
    }

    #[test]
    fn lo_mal_escrito_se_rechaza() {
        for malo in [
            "",
            "hola",
            "127.0.0.1:",
            "127.0.0.1:0",
            "127.0.0.1:70000",
            "0.0.0.0:6000",
            "a:1",
        ] {
            assert!(leer_peer(malo).is_err(), "{malo}");
        }
        for malo in ["", "a:b", "a\nb", &"x".repeat(65)] {
            assert!(leer_nombre(malo).is_err(), "{malo:?}");
        }
        for malo in ["0", "-1", "nan", "inf", "x"] {
            assert!(leer_segundos(malo).is_err(), "{malo}");
        }
        assert!(leer_maestro("ftp://x").is_err());
    }
}
