//! Las sondas: preguntar a un par por todos los caminos, y apuntar qué pasó.
//!
//! Ninguna necesita ser root. No deciden nada: eso, en `causa.rs`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::config::Limites;
use crate::consola::preguntar_a_todos;
use crate::fallo::motivo;
use crate::lan::hechos::{Alrededor, Charla, Desacuerdo, Hechos, Llegada, Rafaga, Vuelta};
use crate::lan::interfaces::{Interfaz, puerta_de_enlace, vpn_que_se_lleva};
use crate::lan::llamame;
use crate::lan::puerto::MiPuerto;
use crate::nodo::palabras::pedir::{FalloPar, pedir};
use crate::nodo::palabras::protocolo::{Palabra, Presentacion, Respuesta};
use crate::nodo::puerta::PIDE_CLAVE;
use crate::red::conexion::{Conexion, FalloRed, LA_CONEXION};
use crate::red::hilos::arrancar_en;
use crate::red::llegar::{NoLlega, Vecino, por_que, vecino};
use crate::red::maquina::{es_de_esta_maquina, es_la_misma};
use crate::red::parada::{Apuntado, Parada, Trato};

/// Cuánto se espera al conectar. Un sistema tarda 3 s en cansarse de preguntar de quién es una IP.
const CONECTAR: Duration = Duration::from_millis(3400);
/// Cuánto se espera a lo que se mira después, si no se llegó.
const ALREDEDOR: Duration = Duration::from_millis(1500);
/// Cuánto se espera una respuesta corta.
const RESPUESTA: Duration = Duration::from_secs(2);
/// Cuánto se espera a que pasen los `HOLA` de un golpe: unas cuantas pérdidas caben.
const GOLPE: Duration = Duration::from_secs(2);
/// Conectar con un plazo de cero es un error.
const UN_MOMENTO: Duration = Duration::from_millis(1);
/// Cuánto se espera a que alguien se queje de un UDP.
const QUEJA: Duration = Duration::from_millis(500);

/// Los `HOLA` que van de un golpe, y lo que mide el nombre en cada uno: entre todos, unos 6000
/// bytes, que son varios paquetes llenos.
const CUANTOS_HOLA: usize = 150;
const NOMBRE_DE_GOLPE: &str = "diagnostico-de-paquetes-largos";
/// El MSS con que caben en cualquier camino: todos los de IPv4 llevan paquetes de 576 bytes.
const MSS_CORTO: u32 = 536;

/// Un puerto en que no suele escuchar nadie: quien esté dirá que no.
const TCP_9: u16 = 9;
/// El de `traceroute`: quien esté se quejará de que ahí no escucha nadie.
const UDP_33434: u16 = 33434;
/// Donde se busca el nodo si no está en el suyo.
const PUERTOS_DE_NODO: [u16; 4] = [6000, 6001, 6002, 6003];

/// Quién pregunta, y hasta cuándo.
pub struct Sondas<'a> {
    /// Cómo se presenta.
    pub yo: &'a Presentacion,
    /// A dónde se le puede llamar.
    pub puerto: &'a MiPuerto,
    /// A quiénes se mira.
    pub peers: &'a [SocketAddr],
    /// Sus interfaces.
    pub interfaces: &'a [Interfaz],
    /// Plazos.
    pub limites: &'a Limites,
    /// Quien corta.
    pub parada: &'a Parada,
    /// Cuándo hay que haber acabado.
    pub limite: Instant,
}

/// Lo que se mira alrededor.
#[derive(Clone, Copy)]
enum Mirada {
    Tcp9,
    Nodo(u16),
    Udp,
    Puerta(IpAddr),
}

impl Sondas<'_> {
    /// Mira a un par.
    pub fn mirar(&self, peer: SocketAddr) -> Hechos {
        let (empezo, perdidos) = (Instant::now(), syn_que_no_salieron());
        let conectado = self.conectar(peer, CONECTAR, RESPUESTA);
        let tiempo = empezo.elapsed();
        let salen = syn_que_no_salieron() == perdidos;
        let llegada = match conectado {
            Ok(conexion) => Llegada::Llega(self.charlar(conexion)),
            Err(fallo) => match al_saludarse(&fallo, self.limites.clave.is_some()) {
                Some(charla) => Llegada::Llega(charla),
                None => no_llega(peer, &fallo),
            },
        };
        let (sale, alrededor) = match llegada {
            Llegada::Llega(_) => (true, None),
            Llegada::No(NoLlega::Calla | NoLlega::NoContesta) => {
                (salen && deja_salir(peer), self.alrededor(peer))
            }
            Llegada::No(NoLlega::SinCamino) | Llegada::Otra(_) => (deja_salir(peer), None),
            Llegada::No(_) => (deja_salir(peer), self.alrededor(peer)),
        };
        let vpn = vpn_que_se_lleva(peer, self.interfaces);
        Hechos {
            peer,
            sale,
            llegada,
            tiempo,
            alrededor,
            vpn,
        }
    }

    /// Una conexión que no espera más de `plazo` al abrirse, ni de `respuesta` a lo que se pida.
    fn conectar(
        &self,
        a: SocketAddr,
        plazo: Duration,
        respuesta: Duration,
    ) -> Result<Conexion, FalloRed> {
        let limites = Limites {
            respuesta: respuesta.min(self.queda()),
            ..self.limites.clone()
        };
        Conexion::conectar(a, plazo.min(self.queda()), &limites, self.parada)
    }

    /// Se conecta y no dice nada: ni la clave.
    fn tocar(&self, a: SocketAddr) -> Result<Conexion, FalloRed> {
        let limites = Limites {
            clave: None,
            ..self.limites.clone()
        };
        Conexion::conectar(a, ALREDEDOR.min(self.queda()), &limites, self.parada)
    }

    fn queda(&self) -> Duration {
        self.limite.saturating_duration_since(Instant::now())
    }

    // ----- Se llegó -----

    /// Averigua con quién se habla.
    fn charlar(&self, mut conexion: Conexion) -> Charla {
        let peer = conexion.otro();
        match pedir(&mut conexion, &Palabra::Hola(self.yo.clone())) {
            Ok(Respuesta::Hola(quien)) => {
                let (vuelta, rafaga) = self.ida_y_vuelta(peer);
                Charla::Nodo {
                    nombre: quien.nombre,
                    vuelta,
                    rafaga,
                }
            }
            Err(FalloPar::Cerro) => self.como_la_guia(peer),
            Err(FalloPar::Red(FalloRed::Vencio(_))) => Charla::Calla,
            Err(FalloPar::Rechaza(motivo)) if motivo == PIDE_CLAVE => {
                Charla::Clave(Desacuerdo::SoloEl)
            }
            Err(fallo) => Charla::OtraCosa(fallo.to_string()),
            Ok(_) => Charla::OtraCosa("contestó otra palabra".into()),
        }
    }

    /// Cerró al oír `HOLA`: ¿conoce las palabras de la guía?
    fn como_la_guia(&self, peer: SocketAddr) -> Charla {
        let preguntar = || -> Result<bool, FalloRed> {
            let mut conexion = self.conectar(peer, RESPUESTA, RESPUESTA)?;
            // Un nombre cualquiera: lo que importa es que conteste.
            let busca = Palabra::Buscar("diagnostico".into());
            conexion.escribir_texto(&busca.to_string())?;
            let limite = Instant::now() + conexion.limites().respuesta;
            while conexion.pendiente().len() < 2 && conexion.recibir(limite, "la respuesta")? > 0 {}
            let dicho = String::from_utf8_lossy(conexion.pendiente()).into_owned();
            Ok(matches!(dicho.trim_end(), "SI" | "NO"))
        };
        match preguntar() {
            Ok(true) => Charla::DeLaGuia,
            _ => Charla::OtraCosa("cerró sin contestar, y a BUSCAR tampoco dijo SI ni NO".into()),
        }
    }

    /// ¿Llega él a nosotros?, ¿y pasa lo largo? A la vez, por dos conexiones.
    fn ida_y_vuelta(&self, peer: SocketAddr) -> (Vuelta, Rafaga) {
        thread::scope(|ambito| {
            let rafaga = arrancar_en(ambito, "rafaga", || self.rafaga(peer));
            let vuelta = self.vuelta(peer);
            let no_se = |por_que: &str| Rafaga::NoSeSabe(por_que.into());
            let rafaga = match rafaga {
                Ok(hilo) => hilo.join().unwrap_or_else(|_| no_se("error interno")),
                Err(fallo) => no_se(&fallo.to_string()),
            };
            (vuelta, rafaga)
        })
    }

    fn vuelta(&self, peer: SocketAddr) -> Vuelta {
        let puerto = match self.puerto.al_que_llamar(peer.ip()) {
            Ok(puerto) => puerto,
            Err(quien) => return Vuelta::NoEscuchamos(quien),
        };
        let conexion = self.conectar_desde_aqui(peer, None, llamame::ESPERA);
        let pedido = conexion.map_err(FalloPar::from);
        match pedido.and_then(|(mut c, _)| pedir(&mut c, &Palabra::Llamame(puerto))) {
            Ok(Respuesta::TeVeo(como, ip)) => {
                let es_mia = es_de_esta_maquina(ip) || es_de_enlace(ip);
                Vuelta::TeVeo { como, ip, es_mia }
            }
            Ok(_) => Vuelta::NoSeSabe("contestó otra palabra".into()),
            Err(fallo) => Vuelta::NoSeSabe(fallo.to_string()),
        }
    }

    fn rafaga(&self, peer: SocketAddr) -> Rafaga {
        match self.golpe(peer, None) {
            Ok(()) => Rafaga::Pasa,
            Err(_) if self.queda() < GOLPE => Rafaga::NoSeSabe("no dio tiempo".into()),
            Err(FalloRed::Vencio(_)) => Rafaga::NoPasa {
                con_536: self.golpe_corto(peer),
            },
            Err(fallo) => Rafaga::NoSeSabe(fallo.to_string()),
        }
    }

    /// ¿Pasan en paquetes cortos? En Windows no se puede elegir lo que mide un paquete.
    fn golpe_corto(&self, peer: SocketAddr) -> Option<bool> {
        cfg!(unix).then(|| self.golpe(peer, Some(MSS_CORTO)).is_ok())
    }

    /// Muchos `HOLA` en una sola escritura, y todas sus respuestas.
    fn golpe(&self, peer: SocketAddr, mss: Option<u32>) -> Result<(), FalloRed> {
        let (mut conexion, _apuntada) = self.conectar_desde_aqui(peer, mss, GOLPE)?;
        let limite = Instant::now() + GOLPE.min(self.queda());
        let yo = Presentacion {
            puerto: 0,
            nombre: NOMBRE_DE_GOLPE.into(),
            id: None,
        };
        conexion.escribir_texto(&format!("{}\n", Palabra::Hola(yo)).repeat(CUANTOS_HOLA))?;
        for _ in 0..CUANTOS_HOLA {
            let falta = limite.saturating_duration_since(Instant::now());
            let linea = conexion.leer_linea(falta, "las respuestas")?;
            let linea = linea.ok_or(FalloRed::Cerrada)?;
            if !matches!(Respuesta::leer(&linea), Some(Respuesta::Hola(_))) {
                return Err(FalloRed::Cortada);
            }
        }
        Ok(())
    }

    /// Una conexión que sale de la IP en que se escucha, si es una: es a la que le llamarán. Y con
    /// los paquetes que se digan.
    fn conectar_desde_aqui(
        &self,
        a: SocketAddr,
        mss: Option<u32>,
        respuesta: Duration,
    ) -> Result<(Conexion, Apuntado), FalloRed> {
        let preparar = || -> io::Result<Socket> {
            let socket = Socket::new(Domain::for_address(a), Type::STREAM, Some(Protocol::TCP))?;
            let mia = self.puerto.direccion.ip();
            let vale = mia.is_ipv4() == a.is_ipv4() && mia.is_loopback() == a.ip().is_loopback();
            if vale && !mia.is_unspecified() {
                socket.bind(&SocketAddr::new(mia, 0).into())?;
            }
            #[cfg(unix)]
            if let Some(mss) = mss {
                socket.set_tcp_mss(mss)?;
            }
            #[cfg(not(unix))]
            let _ = mss;
            Ok(socket)
        };
        let socket = Arc::new(TcpStream::from(preparar().map_err(FalloRed::Sistema)?));
        let apuntado = self.parada.apuntar(&socket, Trato::Sigue);
        let plazo = RESPUESTA.min(self.queda()).max(UN_MOMENTO);
        let conectado = SockRef::from(&*socket).connect_timeout(&a.into(), plazo);
        conectado.map_err(FalloRed::Sistema)?;
        // Antes de conectarse no había nada que cortar.
        if self.parada.cortada() {
            return Err(FalloRed::Cortada);
        }
        let limites = Limites {
            respuesta: respuesta.min(self.queda()),
            ..self.limites.clone()
        };
        let mut conexion = Conexion::sin_testigo(&socket, a, &limites);
        if let Some(clave) = &limites.clave {
            conexion.pedir_cifrado(clave, Instant::now() + plazo)?;
        }
        Ok((conexion, apuntado))
    }

    // ----- No se llegó -----

    /// Mira lo que hay cerca de quien no contesta, todo a la vez.
    fn alrededor(&self, peer: SocketAddr) -> Option<Alrededor> {
        let otros = PUERTOS_DE_NODO.into_iter();
        let otros = otros.filter(|puerto| self.no_es_de_la_lista(con_puerto(peer, *puerto)));
        let puerta = puerta_de_enlace().map(IpAddr::from);
        let puerta = puerta.filter(|ip| peer.is_ipv4() && *ip != peer.ip());
        let mut miradas = vec![Mirada::Tcp9, Mirada::Udp];
        miradas.extend(otros.map(Mirada::Nodo));
        miradas.extend(puerta.map(Mirada::Puerta));
        let mut visto = Alrededor {
            vecino: Vecino::NoSeSabe,
            tcp_9: false,
            udp: false,
            nodos: Vec::new(),
            puerta: puerta.map(|ip| (ip, false)),
        };
        let pregunta = |mirada| self.echar(peer, mirada);
        let miradas = &miradas;
        let hecho = preguntar_a_todos(miradas, pregunta, |respuestas| {
            for (lugar, esta) in respuestas.iter().filter(|(_, esta)| *esta) {
                match miradas[lugar] {
                    Mirada::Tcp9 => visto.tcp_9 = esta,
                    Mirada::Udp => visto.udp = esta,
                    Mirada::Nodo(puerto) => visto.nodos.push(puerto),
                    Mirada::Puerta(ip) => visto.puerta = Some((ip, esta)),
                }
            }
        });
        hecho.ok()?;
        visto.vecino = vecino(peer.ip());
        visto.nodos.sort_unstable();
        Some(visto)
    }

    /// A los demás de la lista ya se les mira, y a uno mismo no.
    fn no_es_de_la_lista(&self, otro: SocketAddr) -> bool {
        !self.peers.contains(&otro) && !es_la_misma(otro, self.puerto.direccion)
    }

    fn echar(&self, peer: SocketAddr, mirada: Mirada) -> bool {
        match mirada {
            Mirada::Tcp9 => match self.tocar(con_puerto(peer, TCP_9)) {
                Ok(_) => true,
                Err(fallo) => matches!(
                    no_llega(peer, &fallo),
                    Llegada::No(NoLlega::Rechazada | NoLlega::Rechaza)
                ),
            },
            Mirada::Nodo(puerto) => {
                let conexion = self.conectar(con_puerto(peer, puerto), ALREDEDOR, ALREDEDOR);
                let hola = Palabra::Hola(self.yo.clone());
                let dicho = conexion.map(|mut conexion| pedir(&mut conexion, &hola));
                matches!(dicho, Ok(Ok(Respuesta::Hola(_))))
            }
            Mirada::Udp => hay_queja(con_puerto(peer, UDP_33434)),
            Mirada::Puerta(ip) => {
                let se_queja = hay_queja(SocketAddr::new(ip, UDP_33434));
                se_queja || vecino(ip) == Vecino::Esta
            }
        }
    }
}

/// Las IPv6 de enlace no salen de su cable: nadie las cambia por el camino.
fn es_de_enlace(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

fn con_puerto(mut peer: SocketAddr, puerto: u16) -> SocketAddr {
    peer.set_port(puerto);
    peer
}

/// Con clave, lo que se supo de quien dejó conectar y no se saludó con ella. `None` si ni siquiera
/// se llegó.
fn al_saludarse(fallo: &FalloRed, con_clave: bool) -> Option<Charla> {
    let charla = match fallo {
        FalloRed::OtraClave => Charla::Clave(Desacuerdo::NoCasan),
        FalloRed::SinClave | FalloRed::SinSaludo | FalloRed::Cerrada => {
            Charla::Clave(Desacuerdo::SoloNosotros)
        }
        FalloRed::Vencio(que) if *que != LA_CONEXION => Charla::Calla,
        FalloRed::LineaLarga | FalloRed::NoEsTexto | FalloRed::Alterado | FalloRed::Cortada => {
            Charla::OtraCosa(fallo.to_string())
        }
        FalloRed::Vencio(_) | FalloRed::Provocada(_) | FalloRed::Sistema(_) => return None,
    };
    Some(charla).filter(|_| con_clave)
}

fn no_llega(peer: SocketAddr, fallo: &FalloRed) -> Llegada {
    match fallo {
        FalloRed::Vencio(_) => Llegada::No(NoLlega::NoContesta),
        FalloRed::Sistema(error) => {
            let por_que = NoLlega::en(error).or_else(|| por_que(peer, error));
            por_que.map_or_else(|| Llegada::Otra(motivo(error)), Llegada::No)
        }
        otro => Llegada::Otra(otro.to_string()),
    }
}

/// Un socket UDP que sólo habla con `a`.
fn udp_hacia(a: SocketAddr) -> io::Result<UdpSocket> {
    let cualquiera: IpAddr = match a {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((cualquiera, 0))?;
    socket.connect(a)?;
    Ok(socket)
}

/// ¿Deja este sistema salir un UDP hacia ahí? De un UDP dice que no lo deja; de un TCP no dice
/// nada, y parece que es el otro quien calla.
fn deja_salir(peer: SocketAddr) -> bool {
    let prohibido = |a: SocketAddr| {
        let mandado = udp_hacia(a).and_then(|socket| socket.send(b"\n"));
        mandado.is_err_and(|e| e.kind() == io::ErrorKind::PermissionDenied)
    };
    !prohibido(con_puerto(peer, UDP_33434)) && !prohibido(peer)
}

/// Cuántos intentos de conectar, de todos los de esta máquina, no llegaron a salir de ella: así se
/// nota un cortafuegos de salida que sólo mira TCP.
#[cfg(target_os = "linux")]
fn syn_que_no_salieron() -> u64 {
    let cuentas = std::fs::read_to_string("/proc/net/netstat").unwrap_or_default();
    let mut de_tcp = cuentas.lines().filter(|linea| linea.starts_with("TcpExt:"));
    let (nombres, valores) = (de_tcp.next().unwrap_or(""), de_tcp.next().unwrap_or(""));
    let mut parejas = nombres.split_whitespace().zip(valores.split_whitespace());
    let cuenta = parejas.find(|(nombre, _)| *nombre == "TCPRetransFail");
    cuenta
        .and_then(|(_, valor)| valor.parse().ok())
        .unwrap_or(0)
}

/// En este sistema no se cuenta.
#[cfg(not(target_os = "linux"))]
fn syn_que_no_salieron() -> u64 {
    0
}

/// ¿Contesta alguien a un UDP, aunque sea que ahí no escucha nadie?
fn hay_queja(a: SocketAddr) -> bool {
    let Ok(socket) = udp_hacia(a) else {
        return false;
    };
    let preparado = socket
        .set_read_timeout(Some(QUEJA))
        .and_then(|()| socket.send(b"\n"));
    let oido = preparado.and_then(|_| socket.recv(&mut [0]));
    oido.map_or_else(|e| e.kind() == io::ErrorKind::ConnectionRefused, |_| true)
}
