//! Gritar en la red local «aquí hay un nodo», y oír a los demás: mDNS y DNS-SD, lo de Bonjour y
//! `avahi-browse`.
//!
//! El servicio es `_nodo._tcp.local.`; la instancia y la máquina, `nodo-<id>`; el nombre va en el
//! TXT. Del protocolo se encarga `mdns-sd`, con un hilo suyo. De lo que se oye no se cree nada:
//! aquí sólo se limpia y se recorta. Quién contesta de verdad lo mira [`super::descubrir`].

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use mdns_sd::{
    IfKind, MDNS_PORT, ResolvedService, ScopedIp, ServiceDaemon, ServiceEvent, ServiceInfo,
};
use socket2::{Domain, Socket, Type};

use crate::fallo::Fallo;
use crate::nodo::palabras::protocolo::{Presentacion, nombre_de_nodo_valido};
use crate::red::hilos::{Hilo, arrancar};
use crate::texto::limpiar;

/// El servicio que se anuncia y se busca.
pub const SERVICIO: &str = "_nodo._tcp.local.";
/// La palabra del TXT que lleva el nombre.
const NOMBRE: &str = "nombre";
/// Direcciones que se toman de un anuncio: las demás se tiran.
const MAX_DIRECCIONES: usize = 8;
/// Anuncios oídos que esperan a que alguien los mire. Si no caben, espera quien los trae.
const EN_COLA: usize = 64;
/// Fichas que la biblioteca guarda de lo oído antes de empezar de cero: ella no tiene tope, y quien
/// grite nombres inventados la haría crecer.
const MAX_GUARDADO: i64 = 4096;
/// Lo que se espera a la biblioteca: que se despida, o que diga cuánto guarda.
const PACIENCIA: Duration = Duration::from_millis(500);

/// Alguien que dice ser un nodo. Falta ver si es verdad.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oido {
    /// Lo que lo distingue.
    pub id: String,
    /// El nombre que dice tener, si lo dice.
    pub nombre: Option<String>,
    /// Dónde dice estar, lo mejor delante.
    pub direcciones: Vec<SocketAddr>,
}

impl Oido {
    /// ¿Puede llegar algo mejor? Cada anuncio viene por partes, y la primera puede traer sólo la
    /// IPv6 de enlace o la 127.x.
    pub fn es_mejorable(&self) -> bool {
        let primera = self.direcciones.first();
        primera.is_none_or(|una| es_mejorable(una.ip()))
    }
}

/// ¿Es de las que sólo valen aquí, o sólo en este cable?
pub fn es_mejorable(ip: IpAddr) -> bool {
    ip.is_loopback() || es_de_enlace(ip)
}

/// Lo que se oye.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Anuncio {
    /// Hay uno, o cambió de direcciones.
    Hay(Oido),
    /// El de este `id` dejó de anunciarse.
    SeFue(String),
}

/// Quien grita y oye. Al cerrarla se despide.
pub struct Antena {
    demonio: ServiceDaemon,
    traer: Hilo<()>,
    /// Lo que se va oyendo. Se cierra si la biblioteca se rinde: hay que abrir otra.
    pub oidos: Receiver<Anuncio>,
}

impl Antena {
    /// Oye por las interfaces de `ip` (si es la de todas, por todas) y, si se da `yo`, lo anuncia.
    pub fn abrir(ip: IpAddr, yo: Option<&Presentacion>) -> Result<Antena, Fallo> {
        let fallo = |e| Fallo::nuevo(format!("no se puede oír la red local (mDNS): {e}"));
        hay_sitio().map_err(|e| Fallo::de_sistema(format!("UDP {MDNS_PORT}, el de mDNS"), &e))?;
        let demonio = ServiceDaemon::new().map_err(fallo)?;
        let abierta = elegir_interfaces(&demonio, ip)
            .and_then(|()| yo.map_or(Ok(()), |yo| demonio.register(ficha(ip, yo)?)))
            .and_then(|()| demonio.browse(SERVICIO));
        let eventos = abierta.map_err(|e| {
            let _ = demonio.shutdown();
            fallo(e)
        })?;
        let (entregar, oidos) = bounded(EN_COLA);
        let traer = arrancar("oir-mdns", move || traer(&eventos, &entregar))?;
        Ok(Antena {
            demonio,
            traer,
            oidos,
        })
    }

    /// ¿Guarda la biblioteca más de la cuenta? Entonces conviene cerrarla y abrir otra.
    pub fn esta_llena(&self) -> bool {
        let cuentas = self.demonio.get_metrics().ok();
        let cuentas = cuentas.and_then(|cuentas| cuentas.recv_timeout(PACIENCIA).ok());
        let guardado = |(que, cuanto): (String, i64)| match que.starts_with("cached-") {
            true => cuanto,
            false => 0,
        };
        let cuentas = cuentas.unwrap_or_default().into_iter();
        cuentas.map(guardado).sum::<i64>() > MAX_GUARDADO
    }

    /// Se despide (los demás lo saben al momento) y para sus hilos.
    pub fn cerrar(self) {
        drop(self.oidos);
        let despedida = self.demonio.shutdown().ok();
        let despedida = despedida.map(|fin| fin.recv_timeout(PACIENCIA));
        // Si la biblioteca no acaba a tiempo, su hilo y el nuestro se quedan: salir no espera más.
        if matches!(despedida, Some(Ok(_))) {
            self.traer.esperar();
        }
    }
}

/// ¿Se puede abrir su puerto, que se comparte? Si otro programa no lo comparte, la biblioteca no lo
/// diría: se quedaría sin oír nada.
fn hay_sitio() -> io::Result<()> {
    let prueba = |ip: IpAddr| {
        let donde = SocketAddr::new(ip, MDNS_PORT);
        let socket = Socket::new(Domain::for_address(donde), Type::DGRAM, None)?;
        socket.set_reuse_address(true)?;
        #[cfg(unix)]
        socket.set_reuse_port(true)?;
        socket.bind(&donde.into())
    };
    // Basta con una de las dos familias.
    prueba(Ipv4Addr::UNSPECIFIED.into()).or_else(|e| {
        let tampoco = |_| e;
        prueba(Ipv6Addr::UNSPECIFIED.into()).map_err(tampoco)
    })
}

/// En cuáles se oye y se grita. En todas las de IPv4 si se escucha sólo en ellas.
fn elegir_interfaces(demonio: &ServiceDaemon, ip: IpAddr) -> mdns_sd::Result<()> {
    match ip {
        IpAddr::V6(ip) if ip.is_unspecified() => Ok(()),
        IpAddr::V4(ip) if ip.is_unspecified() => demonio.disable_interface(IfKind::IPv6),
        _ => {
            demonio.disable_interface(IfKind::All)?;
            demonio.enable_interface(match ip {
                IpAddr::V4(ip) if ip.is_loopback() => IfKind::LoopbackV4,
                IpAddr::V6(ip) if ip.is_loopback() => IfKind::LoopbackV6,
                ip => IfKind::Addr(ip),
            })
        }
    }
}

/// Lo que se anuncia; el nombre, si lo hay. Con una IP en todas las redes, la de cada interfaz, y
/// al día si cambia.
fn ficha(ip: IpAddr, yo: &Presentacion) -> mdns_sd::Result<ServiceInfo> {
    let instancia = format!("nodo-{}", yo.id.as_deref().unwrap_or_default());
    let maquina = format!("{instancia}.local.");
    let txt = [(NOMBRE, yo.nombre.as_str())];
    let txt = if yo.nombre.is_empty() { &[] } else { &txt[..] };
    let puerto = yo.puerto;
    let mut ficha = match ip.is_unspecified() {
        true => {
            ServiceInfo::new(SERVICIO, &instancia, &maquina, (), puerto, txt)?.enable_addr_auto()
        }
        false => ServiceInfo::new(SERVICIO, &instancia, &maquina, ip, puerto, txt)?,
    };
    // El `id` es al azar: no hace falta preguntar antes si alguien lo usa.
    ficha.set_requires_probe(false);
    Ok(ficha)
}

/// Trae lo que oye la biblioteca, ya limpio, hasta que ella o quien lo mira lo dejan.
fn traer(eventos: &mdns_sd::Receiver<ServiceEvent>, entregar: &Sender<Anuncio>) {
    for evento in eventos.iter() {
        let anuncio = match evento {
            ServiceEvent::ServiceResolved(ficha) => leer(&ficha).map(Anuncio::Hay),
            ServiceEvent::ServiceRemoved(_, nombre) => leer_id(&nombre).map(Anuncio::SeFue),
            _ => None,
        };
        if anuncio.is_some_and(|anuncio| entregar.send(anuncio).is_err()) {
            return;
        }
    }
}

/// De un anuncio, lo que vale. `None` si no puede ser de un nodo.
fn leer(ficha: &ResolvedService) -> Option<Oido> {
    let direcciones = ficha.get_addresses().iter().filter_map(direccion_dicha);
    let direcciones = direcciones.map(|mut direccion| {
        direccion.set_port(ficha.get_port());
        direccion
    });
    let nombre = ficha.get_property_val_str(NOMBRE).map(limpiar);
    Some(Oido {
        id: leer_id(ficha.get_fullname())?,
        nombre: nombre.filter(|nombre| nombre_de_nodo_valido(nombre)),
        direcciones: elegir_direcciones(direcciones.collect()),
    })
}

/// `nodo-<id>._nodo._tcp.local.`: el `id`, si lo es.
fn leer_id(nombre: &str) -> Option<String> {
    let instancia = nombre.strip_suffix(SERVICIO)?.strip_suffix('.')?;
    let id = instancia.strip_prefix("nodo-")?;
    let vale = id.len() == 8 && id.bytes().all(|b| b.is_ascii_hexdigit());
    vale.then(|| id.to_ascii_lowercase())
}

/// La dirección de un anuncio, aún sin puerto. Una 127.x que llega por otra interfaz es de otra
/// máquina, y aquí no lleva a ella.
fn direccion_dicha(dicha: &ScopedIp) -> Option<SocketAddr> {
    match dicha {
        ScopedIp::V4(ip) => {
            let por_dentro = ip.interface_ids().iter().any(|i| es_la_interna(&i.name));
            let vale = !ip.addr().is_loopback() || por_dentro;
            vale.then(|| SocketAddr::new((*ip.addr()).into(), 0))
        }
        ScopedIp::V6(ip) => {
            let interfaz = ip.scope_id();
            let vale = !ip.addr().is_loopback() || es_la_interna(&interfaz.name);
            let de_enlace = ip.addr().is_unicast_link_local();
            let por = if de_enlace { interfaz.index } else { 0 };
            vale.then(|| SocketAddrV6::new(*ip.addr(), 0, 0, por).into())
        }
        _ => None,
    }
}

/// La interfaz de 127.0.0.1, como se llama en los tres sistemas.
fn es_la_interna(nombre: &str) -> bool {
    matches!(nombre, "lo" | "lo0") || nombre.starts_with("Loopback")
}

/// Sin las que no son de nadie, lo mejor delante: las de la red antes que las de esta máquina (las
/// demás no llevarían a nadie más hasta ahí), IPv4 antes que IPv6 y las de enlace al final.
pub fn elegir_direcciones(mut dichas: Vec<SocketAddr>) -> Vec<SocketAddr> {
    dichas.retain(|una| se_le_puede_llamar(*una));
    dichas.sort_by_key(|una| {
        let ip = una.ip();
        (ip.is_loopback(), es_de_enlace(ip), ip.is_ipv6(), *una)
    });
    dichas.dedup();
    dichas.truncate(MAX_DIRECCIONES);
    dichas
}

fn es_de_enlace(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

/// ¿Es la dirección de alguien? Ni la de todos, ni la de muchos, ni un puerto de los del sistema.
fn se_le_puede_llamar(una: SocketAddr) -> bool {
    let ip = una.ip().to_canonical();
    let de_muchos = match ip {
        IpAddr::V4(ip) => ip.is_broadcast() || ip.octets()[0] == 0,
        IpAddr::V6(_) => false,
    };
    una.port() >= 1024 && !ip.is_unspecified() && !ip.is_multicast() && !de_muchos
}

#[cfg(test)]
mod tests {
    use super::*;
    use mdns_sd::{InterfaceId, ScopedIpV4};

    #[test]
    fn solo_es_un_nodo_quien_lleva_su_id() {
        let leido = |instancia: &str| leer_id(&format!("{instancia}.{SERVICIO}"));
        assert_eq!(leido("nodo-0aF3219c").as_deref(), Some("0af3219c"));
        for malo in [
            "nodo-",
            "nodo-0af3219",
            "nodo-0af3219cc",
            "nodo-0af3219g",
            "0af3219c",
            "",
        ] {
            assert_eq!(leido(malo), None, "{malo}");
        }
        assert_eq!(leer_id("nodo-0af3219c._http._tcp.local."), None);
    }

    #[test]
    fn sin_nombre_no_se_grita_ninguno() {
        let ficha_de = |nombre: &str| {
            let yo = Presentacion {
                puerto: 6001,
                nombre: nombre.into(),
                id: Some("0af3219c".into()),
            };
            ficha(Ipv4Addr::UNSPECIFIED.into(), &yo).unwrap()
        };
        assert_eq!(ficha_de("ana").get_property_val_str(NOMBRE), Some("ana"));
        assert!(ficha_de("").get_properties().is_empty());
    }

    #[test]
    fn lo_mejor_va_delante_y_lo_absurdo_no_va() {
        let dichas = [
            "127.0.0.1:6001",
            "[fe80::2%3]:6001",
            "[2001:db8::2]:6001",
            "10.0.0.2:6001",
            "10.0.0.2:6001",
            "0.0.0.0:6001",
            "0.1.2.3:6001",
            "255.255.255.255:6001",
            "224.0.0.251:6001",
            "[::]:6001",
            "[ff02::1]:6001",
            "[::ffff:224.0.0.1]:6001",
            "10.0.0.3:22",
            "10.0.0.3:0",
        ];
        let elegidas = elegir_direcciones(dichas.map(|una| una.parse().unwrap()).to_vec());
        let elegidas: Vec<String> = elegidas.iter().map(ToString::to_string).collect();
        let buenas = [
            "10.0.0.2:6001",
            "[2001:db8::2]:6001",
            "[fe80::2%3]:6001",
            "127.0.0.1:6001",
        ];
        assert_eq!(elegidas, buenas);
        let muchas = (1..=200).map(|n| SocketAddr::from(([10, 0, 0, n], 6001)));
        assert_eq!(elegir_direcciones(muchas.collect()).len(), MAX_DIRECCIONES);
    }

    #[test]
    fn una_127_que_llega_por_otra_interfaz_se_tira() {
        let oida = |ip: &str, por: &str| {
            let (name, index) = (por.to_string(), 2);
            let por = InterfaceId { name, index };
            direccion_dicha(&ScopedIp::V4(ScopedIpV4::new(ip.parse().unwrap(), por)))
        };
        assert!(oida("127.0.0.1", "lo").is_some());
        assert_eq!(oida("127.0.0.1", "eth0"), None);
        assert_eq!(oida("127.9.9.9", "lolan"), None);
        assert!(oida("10.0.0.2", "eth0").is_some());
    }
}
