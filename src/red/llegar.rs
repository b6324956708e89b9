//! Por qué no se llega a otra máquina, y las frases con que se dice: las mismas en cada error de
//! red, en `estado` y en `diagnostico`.
//!
//! La guía dice lo que diga el sistema, que a un cortafuegos que rechaza lo llama «no hay camino».
//! Aquí se mira además la tabla de vecinos: quién contestó en esta red cuando se preguntó de quién
//! es esa IP. En Linux se puede leer; en los demás sistemas, y en IPv6, se sabe menos.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};

use crate::red::maquina::ip_en_la_red;

/// Por qué no se pudo conectar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoLlega {
    /// Este sistema no deja salir lo que va a esa dirección.
    NoSale,
    /// Este sistema no sabe por dónde se va.
    SinCamino,
    /// Alguien dice que no se puede llegar, y no se sabe más.
    NoSeAlcanza,
    /// Nadie contestó en esta red cuando se preguntó por esa IP.
    NadieConEsaIp,
    /// Hay alguien, y dice que no se puede llegar.
    Rechaza,
    /// Hay alguien, y no contesta nada.
    Calla,
    /// Contesta que en ese puerto no escucha nadie.
    Rechazada,
    /// No contesta nada, y no se sabe si hay alguien.
    NoContesta,
}

impl fmt::Display for NoLlega {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NoLlega::NoSale => "tu cortafuegos de salida no deja pasar lo que va a esa dirección",
            NoLlega::SinCamino => {
                "no hay camino hasta esa dirección, las dos máquinas están en redes distintas"
            }
            NoLlega::NoSeAlcanza => {
                "no se puede llegar a esa dirección (las dos máquinas están en redes distintas, no \
                 hay nadie con esa IP o un cortafuegos la rechaza)"
            }
            NoLlega::NadieConEsaIp => "no hay nadie con esa IP, o la red aísla a los equipos",
            NoLlega::Rechaza => "esa máquina está, pero su cortafuegos rechaza la conexión",
            NoLlega::Calla => {
                "se acabó el plazo, esa máquina está (o estaba hace un momento) y su cortafuegos \
                 calla"
            }
            NoLlega::Rechazada => {
                "conexión rechazada, ahí no escucha nadie (el nodo no corre, es otro puerto o su \
                 cortafuegos la rechaza)"
            }
            NoLlega::NoContesta => {
                "se acabó el plazo, no contesta nadie (su cortafuegos calla, la red aísla a los \
                 equipos o no es esa su IP)"
            }
        })
    }
}

impl Error for NoLlega {}

impl NoLlega {
    /// El que lleva dentro un error, si es de los que explica [`explicar`].
    pub fn en(error: &io::Error) -> Option<NoLlega> {
        error.get_ref()?.downcast_ref().copied()
    }
}

/// El mismo error, con el porqué dentro si se puede saber. En esta misma máquina no hay red que
/// mirar.
pub fn explicar(otro: SocketAddr, error: io::Error) -> io::Error {
    if otro.ip().is_loopback() {
        return error;
    }
    match por_que(otro, &error) {
        Some(no_llega) => io::Error::new(error.kind(), no_llega),
        None => error,
    }
}

/// Por qué no se pudo conectar con `otro`, con lo que el sistema sabe ahora mismo.
pub fn por_que(otro: SocketAddr, error: &io::Error) -> Option<NoLlega> {
    // El `EACCES` con que Linux cuenta en IPv6 que el otro lo prohíbe; el suyo propio es `EPERM`.
    let lo_prohiben = cfg!(unix) && error.raw_os_error() == Some(13);
    let clase = match error.kind() {
        io::ErrorKind::PermissionDenied if lo_prohiben => io::ErrorKind::HostUnreachable,
        clase => clase,
    };
    let vecino = match lo_prohiben {
        true => Vecino::Esta,
        false => vecino(otro.ip()),
    };
    segun(clase, ip_en_la_red(otro).is_some(), vecino)
}

fn segun(clase: io::ErrorKind, hay_camino: bool, vecino: Vecino) -> Option<NoLlega> {
    use io::ErrorKind as Clase;
    Some(match (clase, vecino) {
        (Clase::ConnectionRefused, _) => NoLlega::Rechazada,
        (Clase::PermissionDenied, _) => NoLlega::NoSale,
        (Clase::HostUnreachable | Clase::NetworkUnreachable | Clase::NetworkDown, vecino) => {
            match vecino {
                _ if !hay_camino => NoLlega::SinCamino,
                Vecino::Esta => NoLlega::Rechaza,
                Vecino::NoEsta => NoLlega::NadieConEsaIp,
                Vecino::NoSeSabe if clase == Clase::HostUnreachable => NoLlega::NoSeAlcanza,
                Vecino::NoSeSabe => NoLlega::SinCamino,
            }
        }
        (Clase::TimedOut, Vecino::Esta) => NoLlega::Calla,
        (Clase::TimedOut, Vecino::NoEsta) => NoLlega::NadieConEsaIp,
        (Clase::TimedOut, Vecino::NoSeSabe) => NoLlega::NoContesta,
        _ => return None,
    })
}

/// Lo que dice de una IP la tabla de vecinos. Sólo es de fiar después de intentar hablarle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vecino {
    /// Dijo cuál es su tarjeta de red.
    Esta,
    /// Se preguntó, y nadie contestó.
    NoEsta,
    /// No está en la tabla (se va por otra máquina), o aquí no se puede leer.
    NoSeSabe,
}

/// ¿Hay alguien con esa IP en esta red?
#[cfg(target_os = "linux")]
pub fn vecino(ip: IpAddr) -> Vecino {
    let tabla = std::fs::read_to_string("/proc/net/arp").unwrap_or_default();
    en_la_tabla(&tabla, ip)
}

/// En este sistema la tabla de vecinos no se lee como un archivo.
#[cfg(not(target_os = "linux"))]
pub fn vecino(_: IpAddr) -> Vecino {
    Vecino::NoSeSabe
}

/// Lee `/proc/net/arp`: la IP, el tipo de tarjeta y los avisos, que son 0 mientras nadie conteste.
/// La misma IP puede estar dos veces, por dos interfaces.
#[cfg(target_os = "linux")]
fn en_la_tabla(tabla: &str, ip: IpAddr) -> Vecino {
    let suyas = tabla.lines().skip(1).filter_map(|linea| {
        let mut columnas = linea.split_whitespace();
        let suya = columnas.next()?.parse() == Ok(ip);
        suya.then(|| columnas.nth(1) != Some("0x0"))
    });
    match suyas.max() {
        Some(true) => Vecino::Esta,
        Some(false) => Vecino::NoEsta,
        None => Vecino::NoSeSabe,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fallo::motivo;
    use io::ErrorKind as Clase;

    #[test]
    fn la_tabla_de_vecinos_distingue_a_quien_calla_de_quien_no_esta() {
        use Vecino::*;
        for (clase, hay_camino, vecino, por_que) in [
            (Clase::ConnectionRefused, true, Esta, NoLlega::Rechazada),
            (Clase::PermissionDenied, true, NoSeSabe, NoLlega::NoSale),
            (
                Clase::NetworkUnreachable,
                false,
                NoSeSabe,
                NoLlega::SinCamino,
            ),
            (Clase::HostUnreachable, false, NoSeSabe, NoLlega::SinCamino),
            (Clase::HostUnreachable, true, NoSeSabe, NoLlega::NoSeAlcanza),
            (
                Clase::NetworkUnreachable,
                true,
                NoSeSabe,
                NoLlega::SinCamino,
            ),
            (Clase::HostUnreachable, true, NoEsta, NoLlega::NadieConEsaIp),
            (Clase::HostUnreachable, true, Esta, NoLlega::Rechaza),
            (Clase::NetworkUnreachable, true, Esta, NoLlega::Rechaza),
            (Clase::TimedOut, true, Esta, NoLlega::Calla),
            (Clase::TimedOut, true, NoEsta, NoLlega::NadieConEsaIp),
            (Clase::TimedOut, true, NoSeSabe, NoLlega::NoContesta),
        ] {
            assert_eq!(segun(clase, hay_camino, vecino), Some(por_que), "{clase:?}");
        }
        assert_eq!(segun(Clase::ConnectionAborted, true, Esta), None);
    }

    #[test]
    fn el_porque_viaja_dentro_del_error_y_es_lo_que_se_lee() {
        // Una IP de los ejemplos: no es de nadie.
        let lejos = "192.0.2.1:6000".parse().unwrap();
        let error = explicar(lejos, Clase::ConnectionRefused.into());
        assert_eq!(error.kind(), Clase::ConnectionRefused);
        assert_eq!(NoLlega::en(&error), Some(NoLlega::Rechazada));
        assert_eq!(motivo(&error), NoLlega::Rechazada.to_string());
        let aqui = "127.0.0.1:6000".parse().unwrap();
        let error = explicar(aqui, Clase::ConnectionRefused.into());
        assert_eq!(NoLlega::en(&error), None);
        assert_eq!(motivo(&error), "conexión rechazada, ahí no escucha nadie");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn la_tabla_de_linux_se_lee() {
        let tabla = "IP address       HW type     Flags       HW address            Mask     Device
192.168.1.11     0x1         0x2         02:00:00:00:00:11     *        eth0
192.168.1.12     0x1         0x0         00:00:00:00:00:00     *        eth0
192.168.1.13     0x1         0x0         00:00:00:00:00:00     *        eth0
192.168.1.13     0x1         0x6         02:00:00:00:00:13     *        wlan0
";
        for (ip, vecino) in [
            ("192.168.1.11", Vecino::Esta),
            ("192.168.1.12", Vecino::NoEsta),
            ("192.168.1.13", Vecino::Esta),
            ("192.168.1.1", Vecino::NoSeSabe),
            ("fe80::1", Vecino::NoSeSabe),
        ] {
            assert_eq!(en_la_tabla(tabla, ip.parse().unwrap()), vecino, "{ip}");
        }
        assert_eq!(en_la_tabla("", [192, 168, 1, 11].into()), Vecino::NoSeSabe);
    }
}
