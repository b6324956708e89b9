//! La aduana del maestro: qué dice un registro, y si quien llama puede decirlo. Sin sockets ni
//! directorio.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::directorio::{Ficha, sin_repetidos};
use crate::http::url::{MAX_URL, Url};
use crate::http::{CorteHttp, leer_json, rechazar};
use crate::nodo::maestro::registro::{MAX_ARCHIVOS, MAX_NOMBRE_DE_ARCHIVO};
use crate::red::maquina::es_de_esta_maquina;

/// `ttl` que se admite, en segundos; lo que se salga se recorta.
const TTL: (f64, f64) = (1.0, 86_400.0);
/// Comas y llaves que puede llevar un registro además de las de su lista de archivos.
const MAX_ADORNOS: usize = 64;

/// Lo que dice un `POST /register` que llegó `desde` esa IP, comprobado: la ficha, y por cuánto
/// tiempo si lo dio. Se rechaza lo que está mal escrito (400), trae demasiados archivos (413) o
/// dice ser otro (403).
pub fn leer_registro(cuerpo: &[u8], desde: IpAddr) -> Result<(Ficha, Option<Duration>), CorteHttp> {
    // Montar `[{},{},…]` ocupa cien veces lo que medía: se cuenta antes.
    if piezas(cuerpo) > MAX_ARCHIVOS + MAX_ADORNOS {
        return Err(demasiados());
    }
    let mut cuerpo = leer_json(cuerpo)?;
    let (rest, direccion) = quien_dice_ser(&cuerpo, desde)?;
    let ttl = match &cuerpo["ttl"] {
        Value::Null => None,
        ttl => {
            let segundos = ttl.as_f64().filter(|s| *s >= 0.0);
            let segundos =
                segundos.ok_or_else(|| rechazar(400, "«ttl» es un número de segundos"))?;
            Some(Duration::from_secs_f64(segundos.clamp(TTL.0, TTL.1)))
        }
    };
    let ficha = Ficha {
        rest,
        direccion,
        desde,
        de_aqui: es_de_esta_maquina(desde),
        grpc_port: leer_puerto(&cuerpo, "grpc_port", 0)?.unwrap_or(0),
        puerto: leer_puerto(&cuerpo, "puerto", 1)?,
        archivos: leer_archivos(cuerpo["files"].take())?,
    };
    Ok((ficha, ttl))
}

/// Cuántas comas, llaves y corchetes que se abren hay fuera de los textos: más o menos, los valores
/// que trae.
fn piezas(json: &[u8]) -> usize {
    let (mut en_texto, mut escapada) = (false, false);
    let cuenta = |letra: &&u8| {
        let tal_cual = std::mem::take(&mut escapada);
        match letra {
            _ if tal_cual => {}
            b'\\' => escapada = en_texto,
            b'"' => en_texto = !en_texto,
            b',' | b'{' | b'[' => return !en_texto,
            _ => {}
        }
        false
    };
    json.iter().filter(cuenta).count()
}

fn demasiados() -> CorteHttp {
    let frase = format!("son demasiados archivos: el tope es {MAX_ARCHIVOS}");
    rechazar(413, frase)
}

fn leer_archivos(files: Value) -> Result<Vec<Arc<str>>, CorteHttp> {
    let Value::Array(nombres) = files else {
        return Err(rechazar(400, "«files» es una lista de nombres de archivo"));
    };
    if nombres.len() > MAX_ARCHIVOS {
        return Err(demasiados());
    }
    let largos = format!("un nombre de archivo tiene de 1 a {MAX_NOMBRE_DE_ARCHIVO} bytes");
    let no_es_texto = "en «files» todos los nombres son texto, entre comillas";
    let nombres = nombres.into_iter().map(|nombre| match nombre {
        Value::String(nombre) if (1..=MAX_NOMBRE_DE_ARCHIVO).contains(&nombre.len()) => {
            Ok(Arc::from(nombre))
        }
        Value::String(_) => Err(rechazar(400, largos.as_str())),
        _ => Err(rechazar(400, no_es_texto)),
    });
    nombres.collect::<Result<_, _>>().map(sin_repetidos)
}

fn leer_puerto(cuerpo: &Value, campo: &str, minimo: u16) -> Result<Option<u16>, CorteHttp> {
    let valor = &cuerpo[campo];
    if valor.is_null() {
        return Ok(None);
    }
    let puerto = valor.as_u64().and_then(|n| u16::try_from(n).ok());
    let puerto = puerto.filter(|puerto| *puerto >= minimo).map(Some);
    puerto.ok_or_else(|| rechazar(400, format!("«{campo}» es un puerto: de {minimo} a 65535")))
}

/// El peer que dice ser quien llama `desde` esa IP: su URL y su dirección. Nadie puede hablar en
/// nombre de otra máquina (403), salvo desde la del maestro, que es la de quien da la clase.
pub fn quien_dice_ser(cuerpo: &Value, desde: IpAddr) -> Result<(String, SocketAddr), CorteHttp> {
    let peer = cuerpo["peer"].as_str().filter(|p| p.len() <= MAX_URL);
    let url = peer.and_then(Url::leer).filter(|url| url.ruta == "/");
    let (Some(peer), Some(url)) = (peer, url) else {
        let frase = "«peer» es la URL de quien llama, sin ruta: http://192.168.1.11:6000";
        return Err(rechazar(400, frase));
    };
    let de_aqui = es_de_esta_maquina(desde);
    // Así lo vemos nosotros, aunque él no sepa cómo lo llaman los demás.
    let visto = SocketAddr::new(desde, url.puerto);
    let sin_sentido_fuera = |ip: IpAddr| ip.is_loopback() && !de_aqui && ip != desde;
    // Un nombre de máquina se entiende aquí de una manera y allá de otra: vale la IP que se ve.
    let dicha = url
        .ip()
        .filter(|ip| !ip.is_unspecified() && !sin_sentido_fuera(*ip));
    let Some(ip) = dicha else {
        return Ok((format!("http://{visto}"), visto));
    };
    if ip != desde && !de_aqui {
        let frase = "cada uno se registra a sí mismo";
        let frase = format!("llamas desde {desde} y dices ser {ip}: {frase}");
        return Err(rechazar(403, frase));
    }
    let rest = peer.trim_end_matches('/').to_string();
    Ok((rest, SocketAddr::new(ip, url.puerto)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::net::Ipv4Addr;

    fn codigo(corte: CorteHttp) -> u16 {
        match corte {
            CorteHttp::Rechazo(respuesta) => respuesta.codigo,
            CorteHttp::Red(fallo) => panic!("{fallo}"),
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
            "http://aula-3.local:6000",
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
            "http://127.0.0.1:0",
        ] {
            assert_eq!(identidad(malo, "127.0.0.1"), Err(400), "{malo}");
        }
    }

    #[test]
    fn lo_que_ocuparia_mucho_mas_de_lo_que_mide_no_se_monta() {
        assert_eq!(piezas(br#"{"a,{[\",": ["\\", 1, {}]}"#), 5);
        for relleno in ["{},", "[],", "0,", "\"\","] {
            let cuerpo = format!("{{\"x\":[{}0]}}", relleno.repeat(MAX_ARCHIVOS + 100));
            let leido = leer_registro(cuerpo.as_bytes(), Ipv4Addr::LOCALHOST.into());
            assert_eq!(leido.map(|_| ()).map_err(codigo), Err(413), "{relleno}");
        }
    }

    fn registro(cuerpo: Value) -> Result<(Ficha, Option<Duration>), u16> {
        leer_registro(cuerpo.to_string().as_bytes(), Ipv4Addr::LOCALHOST.into()).map_err(codigo)
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
        let con = |archivos: usize| {
            let mut cuerpo = bueno();
            cuerpo["files"] = (0..archivos).map(|n| format!("{n},{{[")).collect();
            registro(cuerpo).map(|(ficha, _)| ficha.archivos.len())
        };
        assert_eq!(con(MAX_ARCHIVOS), Ok(MAX_ARCHIVOS));
        assert_eq!(con(MAX_ARCHIVOS + 1), Err(413));
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
