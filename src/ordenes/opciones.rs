//! Qué se puede escribir: las órdenes y las opciones que sustituyen a las constantes de
//! `config.rs`.
//!
//! La guía se configura editando el archivo y no tiene órdenes sueltas. clap lee lo que aquí se
//! declara, y [`decidir`] lo vuelve una [`Config`]. No hace nada con ello: eso, en
//! `ordenes/mod.rs`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::config::*;
use crate::fallo::Fallo;
use crate::grpc::PUERTO_DEL_TRACKER;
use crate::http::url::Url;
use crate::laboratorio::Experimento;
use crate::laboratorio::puesto::{ConDiario, Instrumental};
use crate::lan::clave::OpcionesDeClave;
use crate::lan::encuentro::Encuentro;
use crate::lan::escritos::{ListaDePeers, PeerEscrito, con_ip, leer_lista, leer_peer_escrito};
use crate::ordenes::valores::*;
use crate::practicas::balanceador::canal::SILENCIO;
use crate::red::maquina::es_de_esta_maquina;

/// Nodo P2P para compartir archivos en una LAN. Sin orden, abre el menú.
#[derive(Debug, Parser)]
#[command(name = "nodo", version, disable_version_flag = true)]
pub struct Argumentos {
    /// Las opciones del nodo, escritas antes de la orden o después.
    #[command(flatten)]
    pub nodo: Opciones,
    /// La orden, si la hay.
    #[command(subcommand)]
    pub orden: Option<Orden>,
}

/// Las opciones del nodo, tal como se escriben. Valen antes y después de la orden.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Opciones del nodo")]
pub struct Opciones {
    /// Fila de `PEERS` que es este nodo.
    #[arg(long, value_name = "N", value_parser = leer_numero,
          help = format!("Fila de PEERS que es, de 1 a {}: da puerto y carpeta", PEERS.len()))]
    pub nodo: Option<usize>,
    /// IP en que escucha (0.0.0.0 = en todas las redes)
    #[arg(long, value_name = "IP", value_parser = leer_ip)]
    pub ip: Option<IpAddr>,
    /// Puerto en que escucha (0 = el que esté libre)
    #[arg(long, value_name = "PUERTO", value_parser = leer_puerto)]
    pub puerto: Option<u16>,
    /// Carpeta compartida
    #[arg(long, value_name = "CARPETA")]
    pub carpeta: Option<PathBuf>,
    /// Los demás nodos.
    #[arg(long = "peer", value_name = "IP[:PUERTO]", value_parser = leer_peer_escrito,
          help = format!("Otro nodo, en vez de PEERS (sin puerto, {PUERTO}); se repite, y vale \
                          el nombre de una máquina"))]
    pub peers: Vec<PeerEscrito>,
    /// Los demás nodos, de un archivo.
    #[arg(long = "peers", value_name = "ARCHIVO", value_parser = leer_lista,
          help = "Los demás nodos, de un archivo: en cada línea, IP[:PUERTO] y, si se quiere, un \
                  nombre")]
    pub listas: Vec<ListaDePeers>,
    /// Encontrarse sin escribirlos.
    #[command(flatten)]
    pub encuentro: Encuentro,
    /// Nombre con que se presenta
    #[arg(long, value_name = "NOMBRE", value_parser = leer_nombre)]
    pub nombre: Option<String>,
    /// Cuánto se espera a cada peer al buscar.
    #[arg(long, value_name = "SEGUNDOS", value_parser = leer_segundos,
          help = format!("Segundos que se da a cada peer ({ESPERA} si no se dice)"))]
    pub espera: Option<Duration>,
    /// Conexiones que atiende a la vez.
    // Por encima de unos 16 000 hilos un proceso de Linux puede abortar (vm.max_map_count / 4).
    #[arg(long, value_name = "N", value_parser = |escrito: &str| leer_hasta(escrito, 12_000),
          help = format!("Conexiones que atiende a la vez ({MAX_CONEXIONES} si no se dice)"))]
    pub max_conexiones: Option<usize>,
    /// Bytes por segundo que sirve, entre todos los que le piden: 5MB, 500KB (sin esto, sin tope)
    #[arg(long, value_name = "TASA", value_parser = leer_ritmo)]
    pub ritmo: Option<u64>,
    /// Segundos que una descarga espera a que vuelva la red (60 si no se dice; 0 = no)
    #[arg(long, value_name = "SEGUNDOS", value_parser = leer_espera_de_red)]
    pub esperar_red: Option<Duration>,
    /// Directorio «maestro» en que registrarse y al que preguntar, por ejemplo
    /// http://127.0.0.1:9000
    #[arg(long, value_name = "URL", value_parser = leer_maestro)]
    pub maestro: Option<String>,
    /// Con qué se cifra.
    #[command(flatten)]
    pub clave: OpcionesDeClave,
    /// Atiende sólo a los peers escritos y a esta máquina
    // Con `bool`, clap lo daría por escrito aunque no lo esté.
    #[arg(long, num_args = 0, default_missing_value = "true")]
    pub solo_peers: Option<bool>,
    /// Ver y romper los mensajes.
    #[command(flatten)]
    pub laboratorio: Instrumental,
}

/// Lo que se puede pedir.
#[derive(Debug, Subcommand)]
pub enum Orden {
    /// El nodo sin menú (para scripts)
    Servir,
    /// Archivos de la carpeta, o de todos los peers
    Listar {
        /// Los archivos de todos los peers, cada uno con su nodo
        #[arg(long)]
        red: bool,
    },
    /// Qué peers tienen un archivo
    Buscar {
        /// Nombre del archivo
        #[arg(value_name = "NOMBRE")]
        archivo: String,
    },
    /// Baja archivos, o carpetas enteras, de todos los que los tengan
    Descargar {
        /// Nombre del archivo (varios, si se quiere); acabado en /, todo lo que cuelgue de esa
        /// carpeta
        #[arg(value_name = "NOMBRE", required = true)]
        archivos: Vec<String>,
        /// De quién (se repite); sin esto, de todos los que lo tengan
        #[arg(long = "de", value_name = "IP:PUERTO", value_parser = leer_peer)]
        de: Vec<SocketAddr>,
    },
    /// Envía un archivo a otro nodo
    Enviar {
        /// El archivo, esté donde esté
        #[arg(value_name = "ARCHIVO")]
        archivo: PathBuf,
        /// A quién
        #[arg(long = "a", value_name = "IP:PUERTO", value_parser = leer_peer)]
        a: SocketAddr,
    },
    /// Manda un mensaje a todos los peers, o a uno
    Mensaje {
        /// El texto.
        #[arg(value_name = "TEXTO", help = format!("El texto ({MAX_MENSAJE} bytes como mucho)"))]
        texto: String,
        /// A quién; sin esto, a todos los peers
        #[arg(long = "a", value_name = "IP:PUERTO", value_parser = leer_peer)]
        a: Option<SocketAddr>,
    },
    /// Qué peers responden, quiénes son y en cuánto
    Estado,
    /// Por qué no nos vemos: qué pasa con cada peer, y qué hacer
    Diagnostico {
        /// A quién se mira; sin esto, a todos los peers
        #[arg(value_name = "IP[:PUERTO]", value_parser = leer_peer_escrito)]
        a_quienes: Vec<PeerEscrito>,
    },
    /// Qué nodos se anuncian en la red local (con --descubrir)
    Descubrir {
        /// Cuánto se oye.
        #[arg(long, value_name = "SEGUNDOS", value_parser = leer_segundos,
              help = format!("Cuánto se oye ({} si no se dice)", OIR.as_secs()))]
        segundos: Option<Duration>,
    },
    /// La huella BLAKE3 de un archivo, como la escribe b3sum
    Huella {
        /// Los archivos (- es la entrada estándar)
        #[arg(value_name = "ARCHIVO", required = true)]
        archivos: Vec<PathBuf>,
    },
    /// Pregunta al maestro (o a un peer) quién tiene un archivo
    Localizar {
        /// Nombre del archivo
        #[arg(value_name = "NOMBRE")]
        archivo: String,
        /// Preguntar a este peer en vez de al maestro
        #[arg(long, value_name = "URL", value_parser = leer_maestro)]
        por: Option<String>,
    },
    /// Las de los demás documentos.
    #[command(flatten)]
    Practica(Practica),
    /// Un .torrent con que otros programas lo bajan de los nodos que lo tienen
    Torrent {
        /// El archivo, o la subcarpeta, de la carpeta compartida
        #[arg(value_name = "NOMBRE")]
        archivo: String,
        /// Dónde se escribe (NOMBRE.torrent, aquí, si no se dice)
        #[arg(short = 'o', long = "salida", value_name = "ARCHIVO")]
        salida: Option<PathBuf>,
    },
    /// Inventa una frase para la clave de la clase, fácil de dictar
    Clave,
    /// La dirección de la página de este nodo como código QR, para un teléfono
    Qr,
    /// Lo que hace que Tab complete las órdenes y opciones en una shell
    Completar {
        /// bash, zsh, fish, powershell o elvish
        #[arg(value_name = "SHELL", hide_possible_values = true)]
        shell: Shell,
    },
    /// Las del laboratorio.
    #[command(flatten)]
    Laboratorio(Experimento),
}

/// Las prácticas: cada una es otro programa, con sus propias opciones.
#[derive(Debug, Subcommand)]
pub enum Practica {
    /// El nodo de la guía tal cual, con sus defectos (sólo en 127.x)
    Ingenuo {
        /// Los demás nodos, IP o IP:PUERTO (sin puerto, el de este nodo)
        #[arg(value_name = "IP", value_parser = leer_peer_ingenuo)]
        peers: Vec<(IpAddr, Option<u16>)>,
        /// Dónde escucha (puerto 6000 si no se dice).
        #[command(flatten)]
        donde: DondeEscucha,
        /// Carpeta compartida.
        #[arg(long, value_name = "CARPETA",
              help = format!("Carpeta compartida ({CARPETA_ARCHIVOS} si no se dice)"))]
        carpeta: Option<PathBuf>,
    },
    /// Práctica: chat entre dos o más
    Chat {
        /// Espera a los demás en esta dirección
        #[arg(long, value_name = "IP:PUERTO", value_parser = leer_direccion,
              conflicts_with = "conectar")]
        servidor: Option<SocketAddr>,
        /// Se conecta a quien espera en esta dirección
        #[arg(long, value_name = "IP:PUERTO", value_parser = leer_direccion)]
        conectar: Option<SocketAddr>,
        /// El diario.
        #[command(flatten)]
        diario: ConDiario,
    },
    /// Práctica: balanceador de carga round-robin
    Balanceador {
        /// Dónde escucha (puerto 8000 si no se dice).
        #[command(flatten)]
        donde: DondeEscucha,
        /// Un servidor al que repartir; se repite (sin esto, los puertos 8001 a 8003 de 127.0.0.1)
        #[arg(long = "backend", value_name = "IP:PUERTO", value_parser = leer_direccion)]
        backends: Vec<SocketAddr>,
        /// Cómo trata cada conexión.
        #[command(flatten)]
        conducta: Conducta,
        /// El diario.
        #[command(flatten)]
        diario: ConDiario,
    },
    /// Práctica: servidor de prueba para el balanceador
    Backend {
        /// Dónde escucha (puerto 8001 si no se dice).
        #[command(flatten)]
        donde: DondeEscucha,
        /// Nombre con que contesta («Server 1» si no se dice)
        #[arg(long, value_name = "NOMBRE")]
        nombre: Option<String>,
    },
    /// Práctica: solicita al balanceador y cuenta quién contesta
    Solicitar {
        /// El balanceador
        #[arg(long = "a", value_name = "IP:PUERTO", value_parser = leer_direccion)]
        a: Option<SocketAddr>,
        /// Cuántas solicitudes
        #[arg(long, value_name = "N", default_value = "1", hide_default_value = true,
              value_parser = |escrito: &str| leer_hasta(escrito, 1_000_000))]
        veces: usize,
        /// Lo que se manda
        #[arg(
            long,
            value_name = "TEXTO",
            default_value = "Hello Load Balancer",
            hide_default_value = true
        )]
        texto: String,
    },
    /// Práctica: directorio «maestro» con REST
    Maestro {
        /// Dónde escucha (puerto 9000 si no se dice).
        #[command(flatten)]
        donde: DondeEscucha,
        /// El tracker.
        #[arg(long, value_name = "PUERTO", value_parser = leer_puerto, num_args = 0..=1,
              default_missing_value = PUERTO_DEL_TRACKER,
              help = format!("También por gRPC, en otro puerto ({PUERTO_DEL_TRACKER} si no se \
                              dice)"))]
        tracker: Option<u16>,
        /// El diario.
        #[command(flatten)]
        diario: ConDiario,
    },
}

/// Dónde escucha una práctica.
#[derive(Debug, Clone, Args)]
pub struct DondeEscucha {
    /// IP en que escucha (127.0.0.1 si no se dice)
    #[arg(long, value_name = "IP", value_parser = leer_ip)]
    pub ip: Option<IpAddr>,
    /// Puerto en que escucha (0 = el que esté libre)
    #[arg(long, value_name = "PUERTO", value_parser = leer_puerto)]
    pub puerto: Option<u16>,
}

impl DondeEscucha {
    /// Toma de las opciones de `antes` de la orden lo que no se escribió después.
    fn completar(&mut self, antes: &Opciones) {
        self.ip = self.ip.or(antes.ip);
        self.puerto = self.puerto.or(antes.puerto);
    }

    /// La IP y el puerto en que escuchar; `puerto` es el de la práctica si no se escribió otro.
    pub fn o_en(&self, puerto: u16) -> SocketAddr {
        let ip = self.ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        SocketAddr::new(ip, self.puerto.unwrap_or(puerto))
    }
}

/// Cómo trata el balanceador cada conexión.
#[derive(Debug, Clone, Default, Args)]
pub struct Conducta {
    /// Cuánto puede estar callada.
    #[arg(long, value_name = "SEGUNDOS", value_parser = leer_silencio,
          help = format!("Segundos sin un byte tras los que se corta ({} si no se dice; 0 = \
                          sin tope)", SILENCIO.as_secs()))]
    pub silencio: Option<Duration>,
    /// Se conecta al backend sin esperar a que hable el cliente (SMTP, MySQL)
    #[arg(long)]
    pub saluda_el_servidor: bool,
}

impl Opciones {
    /// Si se escribió a quiénes, se mira a esos y a nadie más.
    pub(super) fn solo_con(&mut self, a_quienes: &[PeerEscrito]) {
        if !a_quienes.is_empty() {
            self.peers = a_quienes.to_vec();
            self.maestro = None;
        }
    }
}

impl ConDiario {
    fn completar(&mut self, antes: &mut Opciones) {
        self.diario = self.diario.take().or(antes.laboratorio.diario.take());
    }
}

impl Argumentos {
    /// Las prácticas toman de las opciones del nodo escritas antes de su orden las que ellas
    /// también tienen (lo escrito después manda).
    pub(super) fn dar_a_la_practica(&mut self) {
        let antes = &mut self.nodo;
        let Some(Orden::Practica(practica)) = &mut self.orden else {
            return;
        };
        match practica {
            Practica::Balanceador { donde, diario, .. }
            | Practica::Maestro { donde, diario, .. } => {
                donde.completar(antes);
                diario.completar(antes);
            }
            Practica::Chat { diario, .. } => diario.completar(antes),
            Practica::Backend { donde, nombre } => {
                donde.completar(antes);
                *nombre = nombre.take().or(antes.nombre.take());
            }
            Practica::Ingenuo { donde, carpeta, .. } => {
                donde.completar(antes);
                *carpeta = carpeta.take().or(antes.carpeta.take());
            }
            Practica::Solicitar { .. } => {}
        }
    }
}

/// ¿Es la orden de una práctica o del laboratorio, o la que no usa el nodo? Las suyas son sus
/// propias opciones.
pub(super) fn es_practica(orden: &str) -> bool {
    Practica::has_subcommand(orden)
        || Experimento::has_subcommand(orden)
        || matches!(orden, "completar" | "clave")
}

/// Cuánto oye `nodo descubrir` si no se dice otra cosa.
pub const OIR: Duration = Duration::from_secs(3);

// ----- De lo escrito a lo decidido -----

/// Decide la configuración a partir de lo escrito.
pub fn decidir(opciones: Opciones) -> Result<Config, Fallo> {
    if opciones.peers.len() > MAX_PEERS {
        let frase = format!("son demasiados peers: el tope es {MAX_PEERS}");
        return Err(Fallo::nuevo(frase));
    }
    let fila = elegir_fila(&opciones)?;
    let puerto_de_la_fila = match fila {
        Fila::Elegida(n) => PEERS[n - 1].2,
        Fila::PuertoLibre => PEERS[0].2,
        Fila::PrimeraLibre | Fila::Ninguna => PUERTO,
    };
    let descubre = opciones.encuentro.descubre();
    let mut peers = con_ip(&opciones.peers);
    // Con el maestro en otra máquina, las filas de PEERS (que son de esta) no dicen nada de la
    // clase. Y si se descubre, ya se las oirá.
    if peers.is_empty() && fila != Fila::PuertoLibre {
        peers = (1..=PEERS.len()).map(direccion_de_fila).collect();
        peers.retain(|fila| !(descubre && fila.ip().is_loopback()));
    }
    let ip_para_todos = || match descubre {
        true => en_todas_las_redes(),
        false => ip_para(&peers, opciones.maestro.as_deref()),
    };
    Ok(Config {
        fila,
        ip: opciones.ip.unwrap_or_else(ip_para_todos),
        puerto: opciones.puerto.unwrap_or(puerto_de_la_fila),
        carpeta: opciones.carpeta.or_else(|| carpeta_de(fila)),
        peers,
        nombre: opciones.nombre,
        espera: opciones.espera.unwrap_or(Duration::from_secs(ESPERA)),
        max_conexiones: opciones.max_conexiones.unwrap_or(MAX_CONEXIONES),
        solo_peers: opciones.solo_peers.unwrap_or_default(),
        maestro: opciones.maestro,
        identificado: opciones.nodo.is_some() || opciones.puerto.is_some(),
        encuentro: opciones.encuentro,
        limites: Limites::default(),
    })
}

fn elegir_fila(opciones: &Opciones) -> Result<Fila, Fallo> {
    let hay = PEERS.len();
    let no_hay = |n| format!("no hay nodo {n}: --nodo va de 1 a {hay}, las filas de PEERS");
    match opciones.nodo {
        Some(n) if (1..=hay).contains(&n) => Ok(Fila::Elegida(n)),
        Some(n) => Err(Fallo::nuevo(no_hay(n))),
        None if !opciones.peers.is_empty() || opciones.puerto.is_some() => Ok(Fila::Ninguna),
        None if opciones.encuentro.descubre() => Ok(Fila::PrimeraLibre),
        None if !es_de_aqui(opciones.maestro.as_deref()) => Ok(Fila::PuertoLibre),
        None => Ok(Fila::PrimeraLibre),
    }
}

fn carpeta_de(fila: Fila) -> Option<PathBuf> {
    match fila {
        Fila::Elegida(n) => Some(carpeta_de_fila(n)),
        Fila::PrimeraLibre => None,
        Fila::PuertoLibre | Fila::Ninguna => Some(PathBuf::from(CARPETA_ARCHIVOS)),
    }
}

/// Si todos los peers (y el maestro, que dirá a otros dónde estamos) son de esta máquina basta
/// escuchar en ella; si no, hay que escuchar en todas las redes. Con algún peer de IPv6, en `::`,
/// que atiende también a los de IPv4 (si en esta máquina hay IPv6).
fn ip_para(peers: &[SocketAddr], maestro: Option<&str>) -> IpAddr {
    let todos_de_aqui = es_de_aqui(maestro) && peers.iter().all(|peer| peer.ip().is_loopback());
    let del_maestro = maestro.and_then(Url::leer).and_then(|url| url.ip());
    let ips = peers.iter().map(SocketAddr::ip).chain(del_maestro);
    let de_ipv6: Vec<bool> = ips.map(|ip| ip.is_ipv6()).collect();
    let solo_ipv6 = !de_ipv6.is_empty() && !de_ipv6.contains(&false);
    match todos_de_aqui {
        true if solo_ipv6 => Ipv6Addr::LOCALHOST.into(),
        true => Ipv4Addr::LOCALHOST.into(),
        false if solo_ipv6 => Ipv6Addr::UNSPECIFIED.into(),
        false if de_ipv6.contains(&true) => en_todas_las_redes(),
        false => Ipv4Addr::UNSPECIFIED.into(),
    }
}

/// `::`, que atiende también a los de IPv4; `0.0.0.0` si en esta máquina no hay IPv6.
fn en_todas_las_redes() -> IpAddr {
    let todas = Ipv6Addr::UNSPECIFIED.into();
    match es_de_esta_maquina(todas) {
        true => todas,
        false => Ipv4Addr::UNSPECIFIED.into(),
    }
}

/// ¿Está el maestro en esta máquina? Si no hay, no está en otra.
fn es_de_aqui(maestro: Option<&str>) -> bool {
    let ip = |url: &str| Url::leer(url).and_then(|url| url.ip());
    maestro.is_none_or(|url| ip(url).is_some_and(|ip| ip.is_loopback()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::practicas::balanceador::canal::SIN_TOPE;

    fn config(opciones: Opciones) -> Config {
        decidir(opciones).unwrap()
    }

    fn con_peers(escritos: &[&str]) -> Opciones {
        Opciones {
            peers: escritos
                .iter()
                .map(|peer| leer_peer_escrito(peer).unwrap())
                .collect(),
            ..Default::default()
        }
    }

    fn con_maestro(maestro: &str) -> Opciones {
        Opciones {
            maestro: Some(leer_maestro(maestro).unwrap()),
            ..Default::default()
        }
    }

    #[test]
    fn la_fila_da_puerto_y_carpeta() {
        let con_nodo = |n| Opciones {
            nodo: Some(n),
            ..Default::default()
        };
        let segundo = config(con_nodo(2));
        assert_eq!(
            (segundo.fila, segundo.puerto),
            (Fila::Elegida(2), PEERS[1].2)
        );
        assert_eq!(segundo.carpeta, Some(carpeta_de_fila(2)));
        assert_eq!(segundo.ip, IpAddr::V4(Ipv4Addr::LOCALHOST));
        assert!(decidir(con_nodo(PEERS.len() + 1)).is_err());
        assert!(decidir(con_nodo(0)).is_err());
    }

    #[test]
    fn con_peers_de_otra_maquina_es_la_guia_en_la_lan() {
        let lan = config(con_peers(&["192.168.1.11"]));
        assert_eq!(lan.peers[0].port(), PUERTO);
        assert_eq!((lan.fila, lan.puerto), (Fila::Ninguna, PUERTO));
        assert_eq!(lan.ip, Ipv4Addr::UNSPECIFIED);
        assert_eq!(lan.carpeta, Some(CARPETA_ARCHIVOS.into()));
    }

    #[test]
    fn con_peers_de_ipv6_se_escucha_en_ipv6() {
        assert_eq!(
            config(con_peers(&["fe80::2", "fe80::3"])).ip,
            Ipv6Addr::UNSPECIFIED
        );
        assert_eq!(config(con_peers(&["::1"])).ip, Ipv6Addr::LOCALHOST);
        // Con peers de las dos, en `::`, que atiende a todos; menos donde no hay IPv6.
        let de_todas = match es_de_esta_maquina(Ipv6Addr::UNSPECIFIED.into()) {
            true => IpAddr::from(Ipv6Addr::UNSPECIFIED),
            false => Ipv4Addr::UNSPECIFIED.into(),
        };
        for mezclados in [["fe80::2", "10.0.0.2"], ["10.0.0.2", "fe80::2"]] {
            assert_eq!(config(con_peers(&mezclados)).ip, de_todas);
        }
        let como_ipv4 = config(con_peers(&["::ffff:10.0.0.2"]));
        assert_eq!(como_ipv4.peers, [leer_peer("10.0.0.2").unwrap()]);
        assert_eq!(como_ipv4.ip, Ipv4Addr::UNSPECIFIED);
    }

    #[test]
    fn con_un_maestro_de_otra_maquina_no_hay_fila_y_se_escucha_en_la_red() {
        for de_aqui in ["http://127.0.0.1:9000", "http://localhost:9000"] {
            let aqui = config(con_maestro(de_aqui));
            assert_eq!(
                (aqui.ip, aqui.fila),
                (Ipv4Addr::LOCALHOST.into(), Fila::PrimeraLibre)
            );
        }
        let fuera = config(con_maestro("http://192.168.1.10:9000"));
        assert_eq!(
            (fuera.ip, fuera.fila),
            (Ipv4Addr::UNSPECIFIED.into(), Fila::PuertoLibre)
        );
        assert_eq!((fuera.puerto, fuera.peers), (PEERS[0].2, vec![]));
        assert_eq!(fuera.carpeta, Some(CARPETA_ARCHIVOS.into()));
    }

    #[test]
    fn para_descubrir_se_escucha_en_todas_las_redes_y_no_hace_falta_ningun_peer() {
        let descubriendo = |mut opciones: Opciones| {
            opciones.encuentro.descubrir = Some(true);
            config(opciones)
        };
        for suyas in [Opciones::default(), con_maestro("http://192.168.1.10:9000")] {
            let solo = descubriendo(suyas);
            assert_eq!(
                (solo.fila, solo.ip),
                (Fila::PrimeraLibre, en_todas_las_redes())
            );
            // Los de esta máquina, si los hay, ya se oyen.
            assert_eq!(solo.peers, []);
        }
        let con_uno = descubriendo(con_peers(&["10.0.0.2"]));
        assert_eq!((con_uno.fila, con_uno.puerto), (Fila::Ninguna, PUERTO));
        assert_eq!(con_uno.peers.len(), 1);
        let aqui = Opciones {
            ip: Some(Ipv4Addr::LOCALHOST.into()),
            ..Default::default()
        };
        assert_eq!(descubriendo(aqui).ip, Ipv4Addr::LOCALHOST);
    }

    #[test]
    fn con_un_maestro_que_solo_tiene_ipv6_se_escucha_en_ipv6() {
        let fuera = config(con_maestro("http://[2001:db8::1]:9000"));
        assert_eq!(fuera.ip, Ipv6Addr::UNSPECIFIED);
    }

    #[test]
    fn a_secas_toma_la_primera_fila_libre() {
        let aqui = config(Opciones::default());
        assert_eq!((aqui.fila, aqui.carpeta), (Fila::PrimeraLibre, None));
        assert_eq!(aqui.peers.len(), PEERS.len());
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
        for malo in ["", "-1", "nan", "inf", "0.01", "86401", "nunca"] {
            assert!(leer_silencio(malo).is_err(), "{malo}");
        }
    }

    #[test]
    fn cero_de_silencio_es_sin_tope() {
        assert_eq!(leer_silencio("0"), Ok(SIN_TOPE));
        assert_eq!(leer_silencio("0,5"), Ok(Duration::from_millis(500)));
        assert_eq!(leer_silencio("90"), Ok(Duration::from_secs(90)));
    }
}
