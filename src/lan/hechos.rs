//! Lo que se vio al mirar a un par, sin decidir nada: lo que las sondas apuntan y la causa lee.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::lan::puerto::QuienEscucha;
use crate::nodo::palabras::protocolo::ComoTeVeo;
use crate::red::llegar::{NoLlega, Vecino};
use crate::texto::duracion;

/// Lo que se vio de un par.
#[derive(Debug, Clone)]
pub struct Hechos {
    /// A quién se miró.
    pub peer: SocketAddr,
    /// ¿Deja este sistema salir lo que va a él?
    pub sale: bool,
    /// Qué pasó al conectar.
    pub llegada: Llegada,
    /// Cuánto tardó.
    pub tiempo: Duration,
    /// Lo que se miró además, si no se llegó.
    pub alrededor: Option<Alrededor>,
    /// La VPN que se lleva lo que va a él, si la hay.
    pub vpn: Option<String>,
}

/// Qué pasó al conectar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Llegada {
    /// Se conectó, y esto se habló.
    Llega(Charla),
    /// No se llegó.
    No(NoLlega),
    /// No se llegó por algo de este sistema.
    Otra(String),
}

/// Lo que se habló.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Charla {
    /// Es un nodo.
    Nodo {
        /// Se llama así.
        nombre: String,
        /// ¿Llega él a nosotros?
        vuelta: Vuelta,
        /// ¿Pasa lo largo?
        rafaga: Rafaga,
    },
    /// Contesta a `BUSCAR` y no a `HOLA`.
    DeLaGuia,
    /// Su clave de clase y la nuestra no se entienden.
    Clave(Desacuerdo),
    /// Contesta algo que no es el protocolo, o cierra: qué.
    OtraCosa(String),
    /// No dice nada.
    Calla,
}

/// Por qué no se entienden las claves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Desacuerdo {
    /// Cada uno tiene una.
    NoCasan,
    /// Nosotros tenemos, y él no habló con ninguna.
    SoloNosotros,
    /// Él la pide, y nosotros no tenemos.
    SoloEl,
}

/// Lo que se supo del camino de vuelta.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Vuelta {
    /// Llamó, y le fue así.
    TeVeo {
        /// Cómo.
        como: ComoTeVeo,
        /// La IP con que nos ve.
        ip: IpAddr,
        /// ¿Es de esta máquina?
        es_mia: bool,
    },
    /// No había a qué llamar: nadie atiende nuestro puerto.
    NoEscuchamos(QuienEscucha),
    /// No se supo, y por qué.
    NoSeSabe(String),
}

/// Lo que pasó con 150 `HOLA` de un golpe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rafaga {
    /// Contestó a todos.
    Pasa,
    /// No llegaron.
    NoPasa {
        /// ¿Y con paquetes de 536 bytes? `None`: aquí no se puede probar.
        con_536: Option<bool>,
    },
    /// No se pudo probar, y por qué.
    NoSeSabe(String),
}

/// Lo que se miró alrededor de un par al que no se llegó.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alrededor {
    /// ¿Hay alguien con esa IP?
    pub vecino: Vecino,
    /// ¿Contesta, aunque sea que no, en el puerto 9 de TCP?
    pub tcp_9: bool,
    /// ¿Y en el 33434 de UDP?
    pub udp: bool,
    /// Otros puertos suyos en que hay un nodo.
    pub nodos: Vec<u16>,
    /// La puerta de enlace, y si está.
    pub puerta: Option<(IpAddr, bool)>,
}

impl Hechos {
    /// ¿Contestó algo, aunque fuera que no?
    pub fn contesta_algo(&self) -> bool {
        let al_conectar = match self.llegada {
            Llegada::Llega(_) => true,
            Llegada::No(por_que) => matches!(por_que, NoLlega::Rechazada | NoLlega::Rechaza),
            Llegada::Otra(_) => false,
        };
        al_conectar || self.alrededor.as_ref().is_some_and(|a| a.tcp_9 || a.udp)
    }

    /// ¿Dio alguna señal de estar ahí?
    pub fn da_senales(&self) -> bool {
        let esta = |a: &Alrededor| a.vecino == Vecino::Esta;
        self.contesta_algo() || self.alrededor.as_ref().is_some_and(esta)
    }

    /// Lo que se vio, en frases cortas.
    pub fn contar(&self) -> Vec<String> {
        let (puerto, tiempo) = (self.peer.port(), duracion(self.tiempo));
        let al_conectar = match &self.llegada {
            Llegada::Llega(charla) => format!("se conectó ({tiempo}); {charla}"),
            Llegada::No(por_que) => format!("{} ({tiempo})", en_corto(*por_que)),
            Llegada::Otra(motivo) => format!("{motivo} ({tiempo})"),
        };
        let mut visto = vec![format!("TCP {puerto}: {al_conectar}")];
        if !self.sale {
            visto.push("este sistema no deja salir lo que va a él".into());
        }
        visto.extend(self.alrededor.iter().flat_map(|a| a.contar(self.peer.ip())));
        visto
    }
}

fn en_corto(por_que: NoLlega) -> &'static str {
    match por_que {
        NoLlega::NoSale => "este sistema no lo deja salir",
        NoLlega::SinCamino => "el sistema dice que no hay camino",
        NoLlega::NoSeAlcanza => "contestaron que no se puede llegar",
        NoLlega::NadieConEsaIp => "nadie dijo tener esa IP",
        NoLlega::Rechaza => "contestaron que está prohibido",
        NoLlega::Rechazada => "rechazada",
        NoLlega::Calla | NoLlega::NoContesta => "sin respuesta",
    }
}

impl Alrededor {
    fn contar(&self, ip: IpAddr) -> Vec<String> {
        let contesta = |si: bool| if si { "contesta" } else { "sin respuesta" };
        let mut visto = vec![
            match self.vecino {
                Vecino::Esta => "en la tabla de vecinos: está".into(),
                Vecino::NoEsta => {
                    "en la tabla de vecinos: se preguntó por él y nadie contestó".into()
                }
                Vecino::NoSeSabe => sin_tabla(ip).into(),
            },
            format!("TCP 9: {}", contesta(self.tcp_9)),
            format!("UDP 33434: {}", contesta(self.udp)),
        ];
        visto.push(match self.nodos.is_empty() {
            true => "de 6000 a 6003: ningún otro nodo".into(),
            false => format!("hay un nodo en el {}", los_puertos(&self.nodos)),
        });
        let puerta = self.puerta.filter(|_| self.vecino != Vecino::Esta);
        visto.extend(puerta.map(|(ip, esta)| {
            let esta = if esta { "está" } else { "no contesta" };
            format!("la puerta de enlace {ip}: {esta}")
        }));
        visto
    }
}

/// Unos puertos, como se dicen tras «en el».
pub fn los_puertos(puertos: &[u16]) -> String {
    let puertos: Vec<String> = puertos.iter().map(u16::to_string).collect();
    puertos.join(" y en el ")
}

/// Lo que se dice cuando la tabla de vecinos no dice nada.
fn sin_tabla(ip: IpAddr) -> &'static str {
    match ip {
        _ if !cfg!(target_os = "linux") => {
            "en este sistema no se puede ver la tabla de vecinos: se sabe menos"
        }
        IpAddr::V6(_) => "de IPv6 no se puede ver la tabla de vecinos: se sabe menos",
        IpAddr::V4(_) => "no está en la tabla de vecinos",
    }
}

impl fmt::Display for Charla {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Charla::Nodo {
                nombre,
                vuelta,
                rafaga,
            } => {
                write!(f, "a HOLA contestó {nombre}; {vuelta}; {rafaga}")
            }
            Charla::DeLaGuia => f.write_str("a HOLA cerró y a BUSCAR contestó"),
            Charla::Clave(Desacuerdo::SoloEl) => f.write_str("a HOLA pidió la clave de la clase"),
            Charla::Clave(Desacuerdo::NoCasan) => f.write_str("a CLAVE dijo que no es esa"),
            Charla::Clave(Desacuerdo::SoloNosotros) => f.write_str("a CLAVE no supo contestar"),
            Charla::OtraCosa(que) => write!(f, "a HOLA {que}"),
            Charla::Calla => f.write_str("a HOLA no contestó"),
        }
    }
}

impl fmt::Display for Vuelta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Vuelta::TeVeo { como, ip, .. } => write!(f, "a LLAMAME, TE_VEO:{como}:{ip}"),
            Vuelta::NoEscuchamos(_) => f.write_str("no se le pidió que llamara"),
            Vuelta::NoSeSabe(por_que) => write!(f, "a LLAMAME {por_que}"),
        }
    }
}

impl fmt::Display for Rafaga {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rafaga::Pasa => f.write_str("150 HOLA de un golpe: pasan"),
            Rafaga::NoPasa { con_536: None } => f.write_str(
                "150 HOLA de un golpe: no pasan (en este sistema no se puede probar más)",
            ),
            Rafaga::NoPasa {
                con_536: Some(true),
            } => f.write_str("150 HOLA de un golpe: no pasan, y con MSS 536 sí"),
            Rafaga::NoPasa {
                con_536: Some(false),
            } => f.write_str("150 HOLA de un golpe: no pasan, y con MSS 536 tampoco"),
            Rafaga::NoSeSabe(por_que) => write!(f, "150 HOLA de un golpe: {por_que}"),
        }
    }
}
