//! Por dónde está esta máquina en la red: sus interfaces con sus IP, si alguna es de una VPN, y la
//! puerta de enlace.
//!
//! La guía pide escribir la IP a mano. Los tres sistemas dicen qué interfaces hay; por cuál se va a
//! cada sitio, y por dónde se sale de la red, sólo Linux se deja leer.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use if_addrs::{IfAddr, get_if_addrs};

use crate::red::maquina::ip_en_la_red;

/// Cómo empiezan los nombres de las interfaces de una VPN, en los tres sistemas.
const DE_VPN: [&str; 13] = [
    "tun",
    "tap",
    "wg",
    "ppp",
    "utun",
    "ipsec",
    "zt",
    "tailscale",
    "wireguard",
    "openvpn",
    "nordlynx",
    "proton",
    "mullvad",
];

/// Una interfaz con una de sus IP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interfaz {
    /// Su nombre en este sistema.
    pub nombre: String,
    /// La IP de esta máquina en ella.
    pub ip: IpAddr,
    /// Cuántos bits de la IP son los de la red.
    pub prefijo: u8,
    /// ¿Es de una VPN?
    pub vpn: bool,
}

impl fmt::Display for Interfaz {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let vpn = if self.vpn { " (una VPN)" } else { "" };
        write!(f, "{} por {}{vpn}", self.ip, self.nombre)
    }
}

impl Interfaz {
    /// ¿Está `otra` en la misma red, sin nadie en medio?
    fn alcanza(&self, otra: IpAddr) -> bool {
        match (self.ip, otra) {
            (IpAddr::V4(mia), IpAddr::V4(otra)) => {
                let fuera = 32 - u32::from(self.prefijo.min(32));
                (mia.to_bits() ^ otra.to_bits())
                    .checked_shr(fuera)
                    .unwrap_or(0)
                    == 0
            }
            (IpAddr::V6(mia), IpAddr::V6(otra)) => {
                let fuera = 128 - u32::from(self.prefijo.min(128));
                (mia.to_bits() ^ otra.to_bits())
                    .checked_shr(fuera)
                    .unwrap_or(0)
                    == 0
            }
            _ => false,
        }
    }
}

/// Las de esta máquina que llevan a otras. Las IPv6 que sólo valen dentro de su cable, sólo si no
/// hay otra.
pub fn interfaces() -> Vec<Interfaz> {
    let todas = get_if_addrs().unwrap_or_default();
    let todas: Vec<_> = todas
        .into_iter()
        .filter(|i| !i.is_loopback() && i.is_oper_up())
        .collect();
    let de_enlace = |ip: &IpAddr| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    let hay_otra = todas.iter().any(|i| !de_enlace(&i.ip()));
    let sirven = todas
        .into_iter()
        .filter(|i| !(hay_otra && de_enlace(&i.ip())));
    let leida = |i: if_addrs::Interface| {
        let vpn = i.is_p2p() || parece_vpn(&i.name);
        let (ip, prefijo) = (i.ip(), prefijo(&i.addr));
        Interfaz {
            nombre: i.name,
            ip,
            prefijo,
            vpn,
        }
    };
    sirven.map(leida).collect()
}

fn prefijo(direccion: &IfAddr) -> u8 {
    match direccion {
        IfAddr::V4(v4) => v4.prefixlen,
        IfAddr::V6(v6) => v6.prefixlen,
    }
}

fn parece_vpn(nombre: &str) -> bool {
    let nombre = nombre.to_lowercase();
    DE_VPN.iter().any(|principio| nombre.starts_with(principio))
}

/// La VPN que se lleva lo que va a `peer`, si se lo lleva: está en una de nuestras redes, o es de
/// una red privada que no es la de la VPN, y aun así se sale por ella.
pub fn vpn_que_se_lleva(peer: SocketAddr, mias: &[Interfaz]) -> Option<String> {
    let desde = ip_en_la_red(peer)?;
    let por_su_ip = mias.iter().find(|i| i.ip == desde);
    let por_la_ruta = ruta_hacia(peer.ip()).map(|ruta| ruta.interfaz);
    let vpn = match por_su_ip.filter(|i| i.vpn) {
        Some(suya) => suya.nombre.clone(),
        None => por_la_ruta.filter(|nombre| es_vpn(nombre, mias))?,
    };
    se_la_lleva(peer.ip(), &vpn, mias).then_some(vpn)
}

fn es_vpn(nombre: &str, mias: &[Interfaz]) -> bool {
    let suyas = mias.iter().find(|i| i.nombre == nombre);
    suyas.map_or_else(|| parece_vpn(nombre), |i| i.vpn)
}

fn se_la_lleva(ip: IpAddr, vpn: &str, mias: &[Interfaz]) -> bool {
    let en_la_lan = mias.iter().any(|i| !i.vpn && i.alcanza(ip));
    let en_la_vpn = mias.iter().any(|i| i.nombre == vpn && i.alcanza(ip));
    let privada = matches!(ip, IpAddr::V4(ip) if ip.is_private() || ip.is_link_local());
    en_la_lan || (privada && !en_la_vpn)
}

/// Por dónde se va a un sitio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruta {
    /// Por qué interfaz.
    pub interfaz: String,
    /// A través de quién; `None` si está en la misma red.
    pub puerta: Option<Ipv4Addr>,
}

/// Por dónde se va a `ip`, según la tabla de rutas.
#[cfg(target_os = "linux")]
pub fn ruta_hacia(ip: IpAddr) -> Option<Ruta> {
    let IpAddr::V4(ip) = ip else { return None };
    let tabla = std::fs::read_to_string("/proc/net/route").ok()?;
    en_la_tabla(&tabla, ip)
}

/// En este sistema la tabla de rutas no se lee como un archivo.
#[cfg(not(target_os = "linux"))]
pub fn ruta_hacia(_: IpAddr) -> Option<Ruta> {
    None
}

/// La puerta de enlace: por donde se sale a las demás redes.
pub fn puerta_de_enlace() -> Option<Ipv4Addr> {
    // La de una dirección de los ejemplos, que no está en la red de nadie.
    ruta_hacia(Ipv4Addr::new(192, 0, 2, 1).into())?.puerta
}

/// La ruta más precisa de `/proc/net/route` que lleva a `ip`. Sus direcciones van en hexadecimal y
/// al revés.
#[cfg(target_os = "linux")]
fn en_la_tabla(tabla: &str, ip: Ipv4Addr) -> Option<Ruta> {
    let leer = |cifras: &str| Some(u32::from_str_radix(cifras, 16).ok()?.swap_bytes());
    let leer = |cifras: &str| {
        leer(cifras).map(|bits| {
            if cfg!(target_endian = "big") {
                bits.swap_bytes()
            } else {
                bits
            }
        })
    };
    let rutas = tabla.lines().skip(1).filter_map(|linea| {
        let columnas: Vec<&str> = linea.split_whitespace().collect();
        let [interfaz, destino, puerta, _, _, _, metrica, mascara, ..] = columnas[..] else {
            return None;
        };
        let (destino, mascara, puerta) = (leer(destino)?, leer(mascara)?, leer(puerta)?);
        let metrica: u32 = metrica.parse().ok()?;
        let ruta = Ruta {
            interfaz: interfaz.to_string(),
            puerta: (puerta != 0).then(|| Ipv4Addr::from_bits(puerta)),
        };
        let lleva = ip.to_bits() & mascara == destino;
        lleva.then_some((mascara, std::cmp::Reverse(metrica), ruta))
    });
    let mejor = rutas.max_by_key(|(mascara, metrica, _)| (*mascara, *metrica));
    mejor.map(|(_, _, ruta)| ruta)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interfaz(nombre: &str, ip: &str, prefijo: u8) -> Interfaz {
        let (ip, vpn) = (ip.parse().unwrap(), parece_vpn(nombre));
        Interfaz {
            nombre: nombre.into(),
            ip,
            prefijo,
            vpn,
        }
    }

    #[test]
    fn en_la_misma_red_se_alcanza_y_en_otra_no() {
        let casa = interfaz("wlan0", "192.168.1.10", 24);
        assert!(casa.alcanza([192, 168, 1, 200].into()) && !casa.alcanza([192, 168, 2, 1].into()));
        assert!(interfaz("eth0", "10.0.0.1", 0).alcanza([8, 8, 8, 8].into()));
        let seis = interfaz("eth0", "2001:db8::1", 64);
        assert!(seis.alcanza("2001:db8::9".parse().unwrap()));
        assert!(
            !seis.alcanza("2001:db8:1::9".parse().unwrap()) && !seis.alcanza([10, 0, 0, 1].into())
        );
    }

    #[test]
    fn una_vpn_se_lleva_la_lan_pero_no_lo_suyo() {
        let mias = [
            interfaz("wlan0", "192.168.1.10", 24),
            interfaz("tun0", "10.8.0.2", 24),
        ];
        let lleva = |ip: [u8; 4]| se_la_lleva(ip.into(), "tun0", &mias);
        assert!(lleva([192, 168, 1, 11]), "está en nuestra red");
        assert!(lleva([172, 16, 0, 1]), "es de otra red privada");
        assert!(!lleva([10, 8, 0, 3]), "es de la red de la VPN");
        assert!(!lleva([9, 9, 9, 9]), "es de internet");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn manda_la_ruta_mas_precisa() {
        let tabla =
            "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0
eth0\t00000000\t01000A0A\t0003\t0\t0\t100\t00000000\t0\t0\t0
wlan0\t0001A8C0\t00000000\t0001\t0\t0\t600\t00FFFFFF\t0\t0\t0
tun0\t0001A8C0\t00000000\t0001\t0\t0\t0\t80FFFFFF\t0\t0\t0
";
        let hacia = |ip: [u8; 4]| en_la_tabla(tabla, ip.into()).unwrap();
        assert_eq!(hacia([192, 168, 1, 11]).interfaz, "tun0");
        assert_eq!(
            hacia([192, 168, 1, 200]),
            Ruta {
                interfaz: "wlan0".into(),
                puerta: None
            }
        );
        assert_eq!(
            hacia([8, 8, 8, 8]).puerta,
            Some([10, 10, 0, 1].into()),
            "la de menor métrica"
        );
        assert_eq!(en_la_tabla("", [8, 8, 8, 8].into()), None);
    }
}
