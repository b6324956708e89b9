//! Cómo se lee cada valor que se escribe en una opción, y la frase de lo que no vale.
//!
//! No sabe de órdenes ni de clap: de un texto, un valor o una queja en español.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::config::{MAX_NOMBRE, PUERTO};
use crate::nodo::palabras::protocolo::nombre_de_nodo_valido;
use crate::practicas::balanceador::canal::SIN_TOPE;
use crate::red::maquina::sin_mapear;

/// Lee un número.
pub fn leer_numero(escrito: &str) -> Result<usize, String> {
    escrito.parse().map_err(|_| "se esperaba un número".into())
}

/// Lee una IP.
pub fn leer_ip(escrito: &str) -> Result<IpAddr, String> {
    let mal = "se esperaba una IP, por ejemplo 192.168.1.10";
    escrito.parse().map_err(|_| mal.into())
}

/// Lee un puerto, de 0 a 65535.
pub fn leer_puerto(escrito: &str) -> Result<u16, String> {
    let mal = "se esperaba un puerto, de 0 a 65535";
    escrito.parse().map_err(|_| mal.into())
}

/// Lee `IP:PUERTO`.
pub fn leer_direccion(escrito: &str) -> Result<SocketAddr, String> {
    let mal = "se esperaba IP:PUERTO, por ejemplo 127.0.0.1:8001";
    escrito.parse().map_err(|_| mal.into())
}

/// Lee `IP` o `IP:PUERTO` (sin puerto, [`PUERTO`]).
pub fn leer_peer(escrito: &str) -> Result<SocketAddr, String> {
    let sin_puerto = |ip: IpAddr| SocketAddr::new(ip, PUERTO);
    let peer = escrito.parse().or_else(|_| escrito.parse().map(sin_puerto));
    match peer {
        Ok(peer) if peer.port() == 0 => Err("el puerto de un peer no puede ser 0".into()),
        Ok(peer) if peer.ip().is_unspecified() => {
            let no_es = "no es la dirección de nadie: escribe la IP de ese nodo";
            Err(format!("{} {no_es}", peer.ip()))
        }
        Ok(peer) => Ok(sin_mapear(peer)),
        Err(_) => {
            Err("se esperaba una IP o IP:PUERTO, por ejemplo 192.168.1.11 o 127.0.0.1:6002".into())
        }
    }
}

/// Lee `IP` o `IP:PUERTO` sin decidir el puerto: la guía usa siempre el suyo.
pub fn leer_peer_ingenuo(escrito: &str) -> Result<(IpAddr, Option<u16>), String> {
    let peer = leer_peer(escrito)?;
    let con_puerto = escrito.parse::<IpAddr>().is_err();
    Ok((peer.ip(), con_puerto.then_some(peer.port())))
}

/// Lee el nombre de un nodo.
pub fn leer_nombre(escrito: &str) -> Result<String, String> {
    match nombre_de_nodo_valido(escrito) {
        true => Ok(escrito.to_string()),
        false => Err(format!(
            "el nombre de un nodo no lleva «:» ni caracteres de control, y tiene de 1 a \
             {MAX_NOMBRE} bytes"
        )),
    }
}

/// Lee unos segundos.
pub fn leer_segundos(escrito: &str) -> Result<Duration, String> {
    match escrito.replace(',', ".").parse::<f64>() {
        Ok(segundos) if segundos > 0.0 && segundos <= 3600.0 => {
            Ok(Duration::from_secs_f64(segundos))
        }
        _ => Err("se esperaban segundos, más de 0 y hasta 3600; por ejemplo 2 o 0.5".into()),
    }
}

/// Lee los segundos de `--esperar-red`; 0 es no esperar.
pub fn leer_espera_de_red(escrito: &str) -> Result<Duration, String> {
    match escrito.replace(',', ".").parse::<f64>() {
        Ok(segundos) if (0.0..=86_400.0).contains(&segundos) => {
            Ok(Duration::from_secs_f64(segundos))
        }
        _ => Err("se esperaban segundos, de 0 (no esperar) a 86400".into()),
    }
}

/// Lee bytes por segundo, en unidades decimales: `5MB` son 5.000.000, `500KB` son 500.000.
pub fn leer_ritmo(escrito: &str) -> Result<u64, String> {
    let escrito = escrito.to_uppercase().replace(',', ".");
    let unidades = [("GB", 1e9), ("MB", 1e6), ("KB", 1e3), ("B", 1.0)];
    let leida = unidades.into_iter().find_map(|(unidad, bytes)| {
        let cantidad: f64 = escrito.strip_suffix(unidad)?.trim_end().parse().ok()?;
        Some(cantidad * bytes)
    });
    match leida {
        Some(bytes) if (1e3..=1e12).contains(&bytes) => Ok(bytes as u64),
        _ => Err("se esperaban bytes por segundo, 1KB o más: por ejemplo 5MB o 500KB".into()),
    }
}

/// Lee los segundos de `--silencio`; 0 es sin tope.
pub fn leer_silencio(escrito: &str) -> Result<Duration, String> {
    match escrito.replace(',', ".").parse::<f64>() {
        Ok(0.0) => Ok(SIN_TOPE),
        Ok(segundos) if (0.1..=86_400.0).contains(&segundos) => {
            Ok(Duration::from_secs_f64(segundos))
        }
        _ => Err("se esperaban segundos, de 0.1 a 86400, o 0 (sin tope)".into()),
    }
}

/// Lee un número de 1 a `tope`.
pub fn leer_hasta(escrito: &str, tope: usize) -> Result<usize, String> {
    let numero = escrito.parse().ok().filter(|n| (1..=tope).contains(n));
    numero.ok_or_else(|| format!("se esperaba un número de 1 a {tope}"))
}

/// Lee la URL de un maestro o de un peer: `http://…`, sin barra final.
pub fn leer_maestro(escrito: &str) -> Result<String, String> {
    match escrito.strip_prefix("http://") {
        Some(resto) if !resto.is_empty() => Ok(escrito.trim_end_matches('/').to_string()),
        _ => Err("se esperaba una URL como http://127.0.0.1:9000".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn esperar_a_la_red_puede_ser_nada() {
        assert_eq!(leer_espera_de_red("0"), Ok(Duration::ZERO));
        assert_eq!(leer_espera_de_red("1,5"), Ok(Duration::from_millis(1500)));
        for malo in ["", "-1", "nan", "inf", "90000"] {
            assert!(leer_espera_de_red(malo).is_err(), "{malo}");
        }
    }

    #[test]
    fn un_ritmo_va_en_unidades_decimales() {
        let casos = [
            ("5MB", 5_000_000),
            ("6250KB", 6_250_000),
            ("500kB", 500_000),
            ("1,5 mb", 1_500_000),
            ("1GB", 1_000_000_000),
            ("2000B", 2000),
        ];
        for (escrito, bytes) in casos {
            assert_eq!(leer_ritmo(escrito), Ok(bytes), "{escrito}");
        }
        for malo in [
            "", "5", "MB", "0MB", "-1MB", "5MiB", "NaNMB", "infMB", "999B", "1e9GB",
        ] {
            assert!(leer_ritmo(malo).is_err(), "{malo}");
        }
    }
}
