//! Preguntar por HTTP a otro (el maestro o un peer): entender el JSON que contesta, o empezar a
//! recibir un archivo.
//!
//! Unas decenas de líneas sobre httparse bastan: una conexión por pregunta, plazos y topes. Se
//! pregunta en HTTP/1.0, así que la respuesta acaba donde dice su `Content-Length` o donde cierra
//! la conexión: los peers del curso (Flask, FastAPI) lo entienden. Leer el cuerpo de un archivo,
//! que aun así puede venir a trozos, está en `cuerpo.rs`. No sigue redirecciones.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::cuerpo::CuerpoQueLlega;
use super::primera_linea;
use super::url::Url;
use crate::config::Limites;
use crate::fallo::Fallo;
use crate::red::conexion::{Conexion, FalloRed};
use crate::red::parada::Parada;
use crate::red::resolver;

/// Tope de la cabeza de una respuesta, en bytes.
const TOPE_CABEZA: usize = 16 * 1024;
/// Tope del cuerpo de una respuesta, en bytes.
const TOPE_CUERPO: usize = 8 * 1024 * 1024;

/// Pide `url` (con `POST` si hay `cuerpo`, y si no con `GET`) y devuelve el código y el JSON de la
/// respuesta (`null` si es un error que no viene en JSON). Al cortar la `parada` se deja.
pub fn pedir(
    url: &str,
    cuerpo: Option<&Value>,
    limites: &Limites,
    parada: &Parada,
) -> Result<(u16, Value), Fallo> {
    let partes = leer_url(url)?;
    let sitio = partes.sitio();
    let con_quien = |fallo: FalloRed| Fallo::nuevo(format!("http://{sitio}: {fallo}"));
    let no_es = |que| Fallo::nuevo(format!("http://{sitio}: contesta algo que no es {que}"));
    let mut conexion = abrir(&partes, limites, parada, con_quien)?;
    // Por su IP, aunque la URL lleve un nombre: los nuestros no atienden a otro.
    let ip = conexion.otro().to_string();
    preguntar(&mut conexion, &ip, &partes.ruta, cuerpo).map_err(con_quien)?;
    let recibido = recibir_todo(&mut conexion).map_err(con_quien)?;
    let (codigo, datos) = recibido.ok_or_else(|| no_es("HTTP, o más de lo que cabe"))?;
    match serde_json::from_slice(&datos) {
        Ok(valor) => Ok((codigo, valor)),
        Err(_) if codigo >= 300 => Ok((codigo, Value::Null)),
        Err(_) => Err(no_es("JSON")),
    }
}

/// La respuesta a una pregunta por un archivo: lo que dice su cabeza, y el cuerpo por llegar.
pub struct ArchivoQueLlega {
    /// La conexión por la que llega.
    pub conexion: Conexion,
    /// Lo que dice la cabeza.
    pub cabeza: Cabeza,
    /// Lo que queda por llegar.
    pub cuerpo: CuerpoQueLlega,
}

/// Pide con `GET` un archivo a quien no es de los nuestros. `None` si no contesta HTTP. El cuerpo
/// no se lee: puede no caber en memoria.
pub fn pedir_archivo(
    url: &str,
    limites: &Limites,
    parada: &Parada,
) -> Result<Option<ArchivoQueLlega>, Fallo> {
    let partes = leer_url(url)?;
    let fallo = |fallo: FalloRed| Fallo::nuevo(fallo.to_string());
    let mut conexion = abrir(&partes, limites, parada, fallo)?;
    // Tal como lo escribió quien lo dio: en una máquina ajena puede haber varios sitios, cada uno
    // con su nombre.
    preguntar(&mut conexion, &partes.sitio(), &partes.ruta, None).map_err(fallo)?;
    let cabeza = recibir_cabeza(&mut conexion).map_err(fallo)?;
    Ok(cabeza.map(|cabeza| ArchivoQueLlega {
        conexion,
        cuerpo: CuerpoQueLlega::nuevo(cabeza.largo, cabeza.a_trozos),
        cabeza,
    }))
}

fn leer_url(url: &str) -> Result<Url, Fallo> {
    let no_es = || Fallo::nuevo(format!("«{url}» no es una URL como http://127.0.0.1:9000"));
    Url::leer(url).ok_or_else(no_es)
}

/// Se conecta con quien diga `url`; si no puede, `contar` dice cómo se cuenta. El plazo es para
/// todo: saber su dirección, y conectarse. Con clave no se llega a preguntar: iría en claro.
fn abrir(
    url: &Url,
    limites: &Limites,
    parada: &Parada,
    contar: impl Fn(FalloRed) -> Fallo,
) -> Result<Conexion, Fallo> {
    if limites.clave.is_some() {
        let frase = "con clave no se pregunta por HTTP, que iría en claro";
        return Err(Fallo::nuevo(format!("http://{}: {frase}", url.sitio())));
    }
    let limite = Instant::now() + limites.conectar;
    let direccion = resolver(url, limites.conectar, parada)?;
    let queda = limite.saturating_duration_since(Instant::now());
    Conexion::conectar(direccion, queda, limites, parada).map_err(contar)
}

/// La dirección de `url`. Por un nombre se pregunta al sistema, hasta `plazo`.
pub fn resolver(url: &Url, plazo: Duration, parada: &Parada) -> Result<SocketAddr, Fallo> {
    match url.ip() {
        Some(ip) => Ok(SocketAddr::new(ip, url.puerto)),
        None => resolver::resolver(&url.anfitrion, url.puerto, plazo, parada),
    }
}

fn preguntar(
    conexion: &mut Conexion,
    anfitrion: &str,
    ruta: &str,
    cuerpo: Option<&Value>,
) -> Result<(), FalloRed> {
    let metodo = if cuerpo.is_some() { "POST" } else { "GET" };
    let contenido = cuerpo.map_or("\r\n".to_string(), |cuerpo| {
        let (tipo, cuerpo) = ("Content-Type: application/json", cuerpo.to_string());
        format!("{tipo}\r\nContent-Length: {}\r\n\r\n{cuerpo}", cuerpo.len())
    });
    let pregunta = format!(
        "{metodo} {ruta} HTTP/1.0\r\nHost: {anfitrion}\r\nAccept: application/json, */*\r\n\
         {contenido}"
    );
    conexion.prepararse_a_enviar()?;
    let cabeza = pregunta.find("\r\n\r\n").map_or(0, |fin| fin + 4);
    conexion.anunciar(&primera_linea(pregunta.as_bytes()), cabeza)?;
    conexion.escribir_datos(pregunta.as_bytes())
}

/// Recibe hasta tener la respuesta entera, en el plazo de [`Limites::respuesta`]. `None` si no se
/// entiende.
fn recibir_todo(conexion: &mut Conexion) -> Result<Option<(u16, Vec<u8>)>, FalloRed> {
    let limite = Instant::now() + conexion.limites().respuesta;
    let mut bytes = Vec::new();
    loop {
        let fin = conexion.recibir(limite, "la respuesta HTTP")? == 0;
        bytes.extend_from_slice(conexion.pendiente());
        conexion.consumir(conexion.pendiente().len());
        match entera(&bytes, fin) {
            Ok(None) if fin && bytes.is_empty() => return Err(FalloRed::Cerrada),
            Ok(None) if fin => return Err(FalloRed::Cortada),
            Ok(None) => {}
            Ok(Some((codigo, cuerpo))) => {
                let cuerpo = cuerpo.to_vec();
                conexion.anotar(&primera_linea(&bytes), bytes.len() - cuerpo.len());
                conexion.anotar_datos(cuerpo.len());
                return Ok(Some((codigo, cuerpo)));
            }
            Err(NoEsHttp) => return Ok(None),
        }
    }
}

/// Recibe la cabeza de una respuesta, y nada más. `None` si no se entiende.
fn recibir_cabeza(conexion: &mut Conexion) -> Result<Option<Cabeza>, FalloRed> {
    let limite = Instant::now() + conexion.limites().respuesta;
    loop {
        let fin = conexion.recibir(limite, "la respuesta HTTP")? == 0;
        match leer_cabeza(conexion.pendiente()) {
            Ok(None) if fin && conexion.pendiente().is_empty() => return Err(FalloRed::Cerrada),
            Ok(None) if fin => return Err(FalloRed::Cortada),
            Ok(None) => {}
            Ok(Some((cabeza, largo))) => {
                let linea = primera_linea(conexion.pendiente());
                conexion.anotar(&linea, largo);
                conexion.consumir(largo);
                return Ok(Some(cabeza));
            }
            Err(NoEsHttp) => return Ok(None),
        }
    }
}

/// Lo que dice la cabeza de una respuesta.
#[derive(Debug)]
pub struct Cabeza {
    /// El código.
    pub codigo: u16,
    /// Cuántos bytes dice que tiene el cuerpo.
    pub largo: Option<u64>,
    /// ¿Viene el cuerpo a trozos, cada uno con su longitud?
    pub a_trozos: bool,
    /// A dónde manda (`Location`).
    pub donde: Option<String>,
    /// Cómo viene comprimido (`Content-Encoding`).
    pub comprimido: Option<String>,
}

#[derive(Debug)]
struct NoEsHttp;

/// La cabeza que hay al principio de `bytes`, y lo que ocupa; `None` si falta algo.
fn leer_cabeza(bytes: &[u8]) -> Result<Option<(Cabeza, usize)>, NoEsHttp> {
    let mut sitio = [httparse::EMPTY_HEADER; 64];
    let mut leida = httparse::Response::new(&mut sitio);
    let ocupa = match leida.parse(bytes) {
        Ok(httparse::Status::Complete(largo)) if largo <= TOPE_CABEZA => largo,
        Ok(httparse::Status::Partial) if bytes.len() <= TOPE_CABEZA => return Ok(None),
        _ => return Err(NoEsHttp),
    };
    let valores = |nombre: &'static str| {
        let suyas = leida.headers.iter();
        let suyas = suyas.filter(move |c| c.name.eq_ignore_ascii_case(nombre));
        suyas.map(|c| String::from_utf8_lossy(c.value).trim().to_string())
    };
    let codigo = leida.code.filter(|codigo| *codigo >= 200).ok_or(NoEsHttp)?;
    let largo = match valores("content-length").next() {
        // Dos longitudes distintas no dicen ninguna.
        Some(una) if valores("content-length").any(|otra| otra != una) => return Err(NoEsHttp),
        Some(escrito) => Some(escrito.parse().map_err(|_| NoEsHttp)?),
        None => None,
    };
    let a_trozos = match valores("transfer-encoding").next() {
        Some(como) if !como.eq_ignore_ascii_case("chunked") => return Err(NoEsHttp),
        como => como.is_some(),
    };
    let cabeza = Cabeza {
        codigo,
        largo,
        a_trozos,
        donde: valores("location").next(),
        comprimido: valores("content-encoding").find(|como| como != "identity"),
    };
    Ok(Some((cabeza, ocupa)))
}

/// El código y el cuerpo de la respuesta que hay en `bytes`; `None` si falta algo. `fin`: ya no va
/// a llegar más.
fn entera(bytes: &[u8], fin: bool) -> Result<Option<(u16, &[u8])>, NoEsHttp> {
    let Some((cabeza, ocupa)) = leer_cabeza(bytes)? else {
        return Ok(None);
    };
    // En HTTP/1.0 no hay trozos: quien los manda no entendió la pregunta.
    if cabeza.a_trozos {
        return Err(NoEsHttp);
    }
    let (codigo, cuerpo) = (cabeza.codigo, &bytes[ocupa..]);
    let largo = match cabeza.largo {
        _ if matches!(codigo, 204 | 304) => Some(0),
        Some(largo) => Some(usize::try_from(largo).map_err(|_| NoEsHttp)?),
        None => None,
    };
    match largo {
        _ if largo.unwrap_or(cuerpo.len()) > TOPE_CUERPO => Err(NoEsHttp),
        Some(largo) => Ok(cuerpo.get(..largo).map(|cuerpo| (codigo, cuerpo))),
        None => Ok(fin.then_some((codigo, cuerpo))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::red::maquina::aceptar;
    use proptest::prelude::*;
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener};
    use std::thread;

    /// Contesta `respuesta` a la primera pregunta y devuelve la pregunta.
    fn contestando(respuesta: &'static [u8]) -> (String, thread::JoinHandle<String>) {
        let escucha = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/x?y=1", escucha.local_addr().unwrap());
        let hilo = thread::spawn(move || {
            let mut cliente = aceptar(&escucha).unwrap().0;
            let mut bytes = [0; 4096];
            let leidos = cliente.read(&mut bytes).unwrap();
            // De uno en uno: ninguna respuesta tiene por qué llegar junta.
            for byte in respuesta {
                if cliente.write_all(&[*byte]).is_err() {
                    break;
                }
            }
            // El fin se manda: en Windows, soltar el socket no basta si lo heredó un proceso que
            // otra prueba arrancaba en ese momento.
            let _ = cliente.shutdown(Shutdown::Write);
            String::from_utf8_lossy(&bytes[..leidos]).into_owned()
        });
        (url, hilo)
    }

    /// Preguntan en HTTP/1.0: Flask contesta con la longitud; FastAPI, sin trozos; y otros, hasta
    /// que cierran.
    #[test]
    fn se_entiende_a_flask_a_fastapi_y_a_quien_cierra() {
        for respuesta in [
            &b"HTTP/1.0 200 OK\r\ncontent-length: 7\r\n\r\n{\"a\":1}basura"[..],
            b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\n{\"a\":1}",
            b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"a\":1}",
        ] {
            let (url, hilo) = contestando(respuesta);
            let cuerpo = serde_json::json!({"z": 2});
            let limites = Limites::default();
            let recibido = pedir(&url, Some(&cuerpo), &limites, &Parada::nueva());
            let (codigo, valor) = recibido.unwrap();
            assert_eq!((codigo, valor["a"].as_u64()), (200, Some(1)));
            let pregunta = hilo.join().unwrap();
            let principio = "POST /x?y=1 HTTP/1.0\r\nHost: 127.0.0.1:";
            assert!(pregunta.starts_with(principio), "{pregunta}");
            assert!(pregunta.contains("Content-Length: 7\r\n"));
            assert!(pregunta.ends_with("\r\n\r\n{\"z\":2}"));
        }
    }

    #[test]
    fn lo_que_no_se_entiende_es_una_frase() {
        for (respuesta, dice) in [
            (&b""[..], "cerró la conexión sin contestar"),
            (b"HTTP/1.", "se cortó a la mitad"),
            (b"OK", "no es HTTP"),
            (b"SSH-2.0-hola\r\n", "no es HTTP"),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}",
                "se cortó a la mitad",
            ),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{}",
                "no es HTTP",
            ),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffff\r\n",
                "no es HTTP",
            ),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
                "no es HTTP",
            ),
            (b"HTTP/1.1 100 Continue\r\n\r\n", "no es HTTP"),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhola",
                "no es JSON",
            ),
        ] {
            let (url, hilo) = contestando(respuesta);
            let fallo = pedir(&url, None, &Limites::default(), &Parada::nueva())
                .unwrap_err()
                .to_string();
            assert!(
                fallo.contains(dice) && fallo.contains("127.0.0.1"),
                "{fallo}"
            );
            let _ = hilo.join();
        }
        assert!(
            pedir("ftp://x", None, &Limites::default(), &Parada::nueva())
                .unwrap_err()
                .to_string()
                .contains("no es una URL")
        );
    }

    #[test]
    fn un_error_sin_json_sigue_siendo_un_codigo() {
        let (url, hilo) = contestando(b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnada");
        assert_eq!(
            pedir(&url, None, &Limites::default(), &Parada::nueva()).unwrap(),
            (404, Value::Null)
        );
        hilo.join().unwrap();
    }

    #[test]
    fn un_servidor_mudo_tiene_plazo() {
        let escucha = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", escucha.local_addr().unwrap());
        let limites = Limites {
            respuesta: std::time::Duration::from_millis(200),
            ..Default::default()
        };
        let fallo = pedir(&url, None, &limites, &Parada::nueva())
            .unwrap_err()
            .to_string();
        assert!(fallo.contains("plazo"), "{fallo}");
    }

    proptest! {
        #[test]
        fn ninguna_respuesta_revienta(
            mut bytes in any::<Vec<u8>>(), buena in any::<bool>(), fin in any::<bool>(),
        ) {
            if buena {
                bytes.splice(0..0, *b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n");
            }
            let _ = entera(&bytes, fin);
        }
    }
}
