//! La aduana del maestro: qué dice un registro, y si quien llama puede decirlo. Sin sockets ni directorio.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::cupo::{MAX_ARCHIVOS, MAX_NOMBRE_DE_ARCHIVO};
use super::directorio::sin_repetidos;
use super::ficha::Ficha;
use crate::http::url::Url;
use crate::http::{Corte, rechazar};
use crate::red::maquina::es_de_esta_maquina;

/// `ttl` que se admite, en segundos; lo que se salga se recorta.
const TTL: (f64, f64) = (1.0, 86_400.0);

/// Lo que dice un `POST /register` que llegó `desde` esa IP, comprobado: la ficha, y por cuánto tiempo si lo dio.
///
/// # Errores
/// Algo está mal escrito (400), son demasiados archivos (413) o dice ser otro (403).
pub fn leer_registro(mut cuerpo: Value, desde: IpAddr) -> Result<(Ficha, Option<Duration>), Corte> {
    let (rest, direccion) = quien_dice_ser(&cuerpo, desde)?;
    let archivos = leer_archivos(cuerpo["files"].take())?;
    let grpc_port = leer_puerto(&cuerpo, "grpc_port", 0)?.unwrap_or(0);
    let puerto = leer_puerto(&cuerpo, "puerto", 1)?;
    let ttl = match &cuerpo["ttl"] {
        Value::Null => None,
        ttl => {
            let segundos = ttl.as_f64().filter(|s| *s >= 0.0);
            let segundos =
                segundos.ok_or_else(|| rechazar(400, "«ttl» es un número de segundos"))?;
            Some(Duration::from_secs_f64(segundos.clamp(TTL.0, TTL.1)))
        }
    };
    let de_aqui = es_de_esta_maquina(desde);
    Ok((
        Ficha {
            rest,
            direccion,
            desde,
            de_aqui,
            grpc_port,
            puerto,
            archivos,
        },
        ttl,
    ))
}

fn leer_archivos(files: Value) -> Result<Vec<Arc<str>>, Corte> {
    let Value::Array(nombres) = files else {
        return Err(rechazar(400, "«files» es una lista de nombres de archivo"));
    };
    if nombres.len() > MAX_ARCHIVOS {
        return Err(rechazar(
            413,
            format!("son demasiados archivos: el tope es {MAX_ARCHIVOS}"),
        ));
    }
    let nombres = nombres.into_iter().map(|nombre| match nombre {
        Value::String(nombre) if nombre.is_empty() => {
            Err(rechazar(400, "hay un nombre de archivo vacío"))
        }
        Value::String(nombre) if nombre.len() > MAX_NOMBRE_DE_ARCHIVO => Err(rechazar(
            400,
            format!("hay un nombre de archivo de más de {MAX_NOMBRE_DE_ARCHIVO} bytes"),
        )),
        Value::String(nombre) => Ok(Arc::from(nombre)),
        _ => Err(rechazar(
            400,
            "en «files» todos los nombres son texto, entre comillas",
        )),
    });
    nombres.collect::<Result<_, _>>().map(sin_repetidos)
}

fn leer_puerto(cuerpo: &Value, campo: &str, minimo: u16) -> Result<Option<u16>, Corte> {
    match &cuerpo[campo] {
        Value::Null => Ok(None),
        valor => {
            let puerto = valor
                .as_u64()
                .and_then(|n| u16::try_from(n).ok())
                .filter(|&n| n >= minimo);
            puerto.map(Some).ok_or_else(|| {
                rechazar(400, format!("«{campo}» es un puerto: de {minimo} a 65535"))
            })
        }
    }
}

/// El peer que dice ser quien llama `desde` esa IP: su URL y su dirección. Nadie puede hablar en nombre de otra
/// máquina, salvo desde la del maestro, que es la de quien da la clase.
///
/// # Errores
/// No es una URL con IP (400), o la IP es de otro (403).
pub fn quien_dice_ser(cuerpo: &Value, desde: IpAddr) -> Result<(String, SocketAddr), Corte> {
    let Some(peer) = cuerpo["peer"].as_str() else {
        return Err(rechazar(
            400,
            "falta «peer», la URL de quien llama, por ejemplo http://192.168.1.11:6000",
        ));
    };
    let url = Url::leer(peer).filter(|url| url.ruta == "/");
    let Some((url, ip)) = url.and_then(|url| url.ip().map(|ip| (url, ip))) else {
        return Err(rechazar(
            400,
            "«peer» es una URL con IP, sin ruta, por ejemplo http://192.168.1.11:6000",
        ));
    };
    let como_lo_vemos = SocketAddr::new(desde, url.puerto);
    if ip == desde {
        return Ok((peer.trim_end_matches('/').to_string(), como_lo_vemos));
    }
    let de_aqui = es_de_esta_maquina(desde);
    if ip.is_unspecified() || (ip.is_loopback() && !de_aqui) {
        return Ok((format!("http://{como_lo_vemos}"), como_lo_vemos));
    }
    if !de_aqui {
        return Err(rechazar(
            403,
            format!("llamas desde {desde} y dices ser {ip}: cada uno se registra a sí mismo"),
        ));
    }
    Ok((
        peer.trim_end_matches('/').to_string(),
        SocketAddr::new(ip, url.puerto),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::net::Ipv4Addr;

    fn codigo(corte: Corte) -> u16 {
        match corte {
            Corte::Rechazo(respuesta) => respuesta.codigo(),
            Corte::Red(fallo) => panic!("{fallo}"),
        }
    }

    fn identidad(peer: &str, desde: &str) -> Result<(String, String), u16> {
        quien_dice_ser(&json!({"peer": peer}), desde.parse().unwrap())
            .map(|(rest, direccion)| (rest, direccion.to_string()))
            .map_err(codigo)
    }

    // 203.0.113.x no es de nadie: es la red de los ejemplos.
    #[test]
    fn cada_uno_se_registra_a_si_mismo() {
        let soy = |rest: &str, direccion: &str| Ok((rest.to_string(), direccion.to_string()));
        let otra = "203.0.113.7";
        assert_eq!(
            identidad("http://203.0.113.7:6000/", otra),
            soy("http://203.0.113.7:6000", "203.0.113.7:6000")
        );
        for local in [
            "http://localhost:6000",
            "http://127.0.0.1:6000",
            "http://127.8.8.8:6000",
            "http://0.0.0.0:6000",
            "http://[::1]:6000",
        ] {
            assert_eq!(
                identidad(local, otra),
                soy("http://203.0.113.7:6000", "203.0.113.7:6000"),
                "{local}"
            );
        }
        assert_eq!(identidad("http://203.0.113.8:6000", otra), Err(403));
        assert_eq!(
            identidad("http://203.0.113.8:6000", "127.0.0.1"),
            soy("http://203.0.113.8:6000", "203.0.113.8:6000")
        );
        assert_eq!(
            identidad("http://localhost:6000", "127.0.0.1"),
            soy("http://localhost:6000", "127.0.0.1:6000")
        );
        assert_eq!(
            identidad("http://127.0.0.2:6000", "127.0.0.1"),
            soy("http://127.0.0.2:6000", "127.0.0.2:6000")
        );
        assert_eq!(
            identidad("http://[::ffff:203.0.113.7]:6000", otra),
            soy("http://[::ffff:203.0.113.7]:6000", "203.0.113.7:6000")
        );
        for malo in [
            "",
            "peer_1",
            "https://127.0.0.1:1",
            "http://127.0.0.1:1/ruta",
            "http://alguien:1",
            "http://127.0.0.1:0",
        ] {
            assert_eq!(identidad(malo, "127.0.0.1"), Err(400), "{malo}");
        }
    }

    fn registro(cuerpo: Value) -> Result<(Ficha, Option<Duration>), u16> {
        leer_registro(cuerpo, Ipv4Addr::LOCALHOST.into()).map_err(codigo)
    }

    #[test]
    fn un_registro_mal_hecho_es_un_400() {
        let bueno = || json!({"peer": "http://127.0.0.1:1", "files": ["a", "b", "a"]});
        let (ficha, ttl) = registro(bueno()).unwrap();
        assert_eq!(
            (ficha.archivos.len(), ficha.grpc_port, ficha.puerto, ttl),
            (2, 0, None, None)
        );
        for (campo, valor) in [
            ("peer", json!(1)),
            ("files", json!("a")),
            ("files", Value::Null),
            ("files", json!([1])),
            ("files", json!([""])),
            ("files", json!(["x".repeat(1025)])),
            ("grpc_port", json!("9002")),
            ("grpc_port", json!(70000)),
            ("puerto", json!(0)),
            ("puerto", json!(-1)),
            ("ttl", json!("15")),
            ("ttl", json!(-1)),
        ] {
            let mut malo = bueno();
            malo[campo] = valor;
            assert_eq!(registro(malo.clone()).map(|_| ()), Err(400), "{malo}");
        }
        assert_eq!(registro(json!([])).map(|_| ()), Err(400));
        let con_ttl = |ttl: Value| {
            let mut cuerpo = bueno();
            cuerpo["ttl"] = ttl;
            registro(cuerpo).unwrap().1.unwrap().as_secs_f64()
        };
        assert_eq!(
            (
                con_ttl(json!(2.5)),
                con_ttl(json!(0)),
                con_ttl(json!(1e300))
            ),
            (2.5, 1.0, 86_400.0)
        );
    }
}
