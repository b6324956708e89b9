//! Preguntar por HTTP a otro (el maestro o un peer) y entender el JSON que contesta.
//!
//! Unas decenas de líneas sobre httparse bastan: una conexión por pregunta, plazos y topes. Entiende a los peers del
//! curso (Flask, FastAPI): `Content-Length`, a trozos (`chunked`) o hasta el cierre. No sigue redirecciones.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Instant;

use log::debug;
use serde_json::Value;

use super::url::Url;
use crate::config::Limites;
use crate::fallo::Fallo;
use crate::red::conexion::{Conexion, FalloRed};
use crate::red::parada::Parada;

/// Tope de la cabeza de una respuesta, en bytes.
const TOPE_CABEZA: usize = 16 * 1024;
/// Tope del cuerpo de una respuesta, en bytes.
const TOPE_CUERPO: usize = 8 * 1024 * 1024;
/// Tope de lo recibido contando lo que añade mandarlo a trozos.
const TOPE_RECIBIDO: usize = 2 * TOPE_CUERPO;

/// Pide `url` con `metodo` (y `cuerpo`, si lo hay) y devuelve el código y el JSON de la respuesta
/// (`null` si es un error que no viene en JSON). Al cortar la `parada` se deja.
///
/// # Errores
/// La URL no vale, no hay quien conteste, o lo que contesta no se entiende; la frase dice quién.
pub fn pedir(
    metodo: &str,
    url: &str,
    cuerpo: Option<&Value>,
    limites: Limites,
    parada: &Parada,
) -> Result<(u16, Value), Fallo> {
    let partes = Url::leer(url)
        .ok_or_else(|| Fallo::nuevo(format!("«{url}» no es una URL como http://127.0.0.1:9000")))?;
    let con_quien = |fallo: FalloRed| Fallo::nuevo(format!("http://{}: {fallo}", partes.sitio()));
    let direccion = resolver(&partes)?;
    let mut conexion =
        Conexion::conectar(direccion, limites.conectar, limites, parada).map_err(con_quien)?;
    preguntar(&mut conexion, metodo, &partes, cuerpo).map_err(con_quien)?;
    let recibido = recibir_todo(&mut conexion).map_err(con_quien)?;
    let (codigo, datos) = recibido.ok_or_else(|| {
        Fallo::nuevo(format!(
            "http://{}: contesta algo que no es HTTP",
            partes.sitio()
        ))
    })?;
    debug!("← {direccion} HTTP {codigo}");
    match serde_json::from_slice(&datos) {
        Ok(valor) => Ok((codigo, valor)),
        Err(_) if codigo >= 300 => Ok((codigo, Value::Null)),
        Err(_) => Err(Fallo::nuevo(format!(
            "http://{}: contesta algo que no es JSON",
            partes.sitio()
        ))),
    }
}

/// La dirección de `url`. Con un nombre se pregunta al sistema, que tiene sus propios plazos.
///
/// # Errores
/// Nadie conoce ese nombre.
pub fn resolver(url: &Url) -> Result<SocketAddr, Fallo> {
    if let Some(ip) = url.ip() {
        return Ok(SocketAddr::new(ip, url.puerto));
    }
    let que = || format!("buscando la dirección de {}", url.anfitrion);
    let mut direcciones = (url.anfitrion.as_str(), url.puerto)
        .to_socket_addrs()
        .map_err(|_| {
            Fallo::nuevo(format!(
                "{}: nadie conoce ese nombre; prueba con la IP",
                que()
            ))
        })?;
    direcciones
        .next()
        .ok_or_else(|| Fallo::nuevo(format!("{}: no tiene ninguna", que())))
}

fn preguntar(
    conexion: &mut Conexion,
    metodo: &str,
    url: &Url,
    cuerpo: Option<&Value>,
) -> Result<(), FalloRed> {
    debug!("→ {} HTTP {metodo} {}", conexion.otro(), url.ruta);
    let cuerpo = cuerpo.map_or(String::new(), Value::to_string);
    let largo = match metodo {
        "GET" | "HEAD" => String::new(),
        _ => format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n",
            cuerpo.len()
        ),
    };
    let pregunta = format!(
        "{metodo} {} HTTP/1.1\r\nHost: {}\r\nAccept: application/json\r\nConnection: close\r\n{largo}\r\n{cuerpo}",
        url.ruta,
        url.sitio()
    );
    conexion.prepararse_a_enviar()?;
    conexion.escribir_datos(pregunta.as_bytes())
}

/// Recibe hasta tener la respuesta entera, en el plazo de [`Limites::respuesta`]. `None` si no se entiende.
fn recibir_todo(conexion: &mut Conexion) -> Result<Option<(u16, Vec<u8>)>, FalloRed> {
    let limite = Instant::now() + conexion.limites().respuesta;
    let mut respuesta = Recibida::default();
    loop {
        let llegados = conexion.recibir(limite, "la respuesta HTTP")?;
        respuesta.bytes.extend_from_slice(conexion.pendiente());
        conexion.consumir(conexion.pendiente().len());
        match respuesta.avanzar(llegados == 0) {
            Avance::Entera(codigo, cuerpo) => return Ok(Some((codigo, cuerpo))),
            Avance::Rota => return Ok(None),
            Avance::Falta if llegados == 0 && respuesta.bytes.is_empty() => {
                return Err(FalloRed::Cerrada);
            }
            Avance::Falta if llegados == 0 => return Err(FalloRed::Cortada),
            Avance::Falta => {}
        }
    }
}

/// Lo recibido de una respuesta y lo que ya se entendió de ella.
#[derive(Default)]
struct Recibida {
    bytes: Vec<u8>,
    cabeza: Option<Cabeza>,
}

#[derive(Clone, Copy)]
struct Cabeza {
    codigo: u16,
    /// Dónde empieza el cuerpo.
    cuerpo: usize,
    forma: Forma,
}

/// Cómo se sabe dónde acaba el cuerpo.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Forma {
    Largo(usize),
    ATrozos,
    HastaElCierre,
}

#[derive(Debug, PartialEq, Eq)]
enum Avance {
    Falta,
    Entera(u16, Vec<u8>),
    Rota,
}

impl Recibida {
    /// ¿Está ya entera? `fin`: el otro cerró y no va a llegar más.
    fn avanzar(&mut self, fin: bool) -> Avance {
        while self.cabeza.is_none() {
            match leer_cabeza(&self.bytes) {
                Ok(None) if self.bytes.len() > TOPE_CABEZA => return Avance::Rota,
                Ok(None) => return Avance::Falta,
                // Un 100 es sólo «sigue»: la respuesta viene detrás.
                Ok(Some(cabeza)) if cabeza.codigo < 200 => drop(self.bytes.drain(..cabeza.cuerpo)),
                Ok(Some(cabeza)) => self.cabeza = Some(cabeza),
                Err(()) => return Avance::Rota,
            }
        }
        let Some(cabeza) = self.cabeza else {
            return Avance::Falta;
        };
        let cuerpo = &self.bytes[cabeza.cuerpo..];
        match cabeza.forma {
            _ if cuerpo.len() > TOPE_RECIBIDO => Avance::Rota,
            Forma::Largo(largo) if largo > TOPE_CUERPO => Avance::Rota,
            Forma::Largo(largo) if cuerpo.len() >= largo => {
                Avance::Entera(cabeza.codigo, cuerpo[..largo].to_vec())
            }
            Forma::HastaElCierre if fin => Avance::Entera(cabeza.codigo, cuerpo.to_vec()),
            Forma::ATrozos => match juntar_trozos(cuerpo) {
                Ok(Some(datos)) => Avance::Entera(cabeza.codigo, datos),
                Ok(None) => Avance::Falta,
                Err(()) => Avance::Rota,
            },
            Forma::Largo(_) | Forma::HastaElCierre => Avance::Falta,
        }
    }
}

fn leer_cabeza(bytes: &[u8]) -> Result<Option<Cabeza>, ()> {
    let mut sitio = [httparse::EMPTY_HEADER; 64];
    let mut leida = httparse::Response::new(&mut sitio);
    let cuerpo = match leida.parse(bytes) {
        Ok(httparse::Status::Complete(largo)) if largo <= TOPE_CABEZA => largo,
        Ok(httparse::Status::Partial) => return Ok(None),
        _ => return Err(()),
    };
    let codigo = leida.code.ok_or(())?;
    let valor = |nombre: &str| {
        let cabecera = leida
            .headers
            .iter()
            .find(|c| c.name.eq_ignore_ascii_case(nombre))?;
        Some(
            String::from_utf8_lossy(cabecera.value)
                .trim()
                .to_ascii_lowercase(),
        )
    };
    let forma = match (valor("transfer-encoding"), valor("content-length")) {
        _ if matches!(codigo, 204 | 304) => Forma::Largo(0),
        (Some(como), _) if como == "chunked" => Forma::ATrozos,
        (Some(_), _) => return Err(()),
        (None, Some(largo)) => Forma::Largo(largo.parse().map_err(drop)?),
        (None, None) => Forma::HastaElCierre,
    };
    Ok(Some(Cabeza {
        codigo,
        cuerpo,
        forma,
    }))
}

/// Une los trozos de un cuerpo `chunked`; `None` si aún no llegó el último.
fn juntar_trozos(mut bytes: &[u8]) -> Result<Option<Vec<u8>>, ()> {
    let mut datos = Vec::new();
    loop {
        let (cabeza, largo) = match httparse::parse_chunk_size(bytes).map_err(drop)? {
            httparse::Status::Complete(leido) => leido,
            httparse::Status::Partial => return Ok(None),
        };
        if largo == 0 {
            return Ok(Some(datos));
        }
        let largo = usize::try_from(largo).map_err(drop)?;
        if largo > TOPE_CUERPO - datos.len() {
            return Err(());
        }
        let Some(trozo) = bytes.get(cabeza..cabeza + largo) else {
            return Ok(None);
        };
        datos.extend_from_slice(trozo);
        // Tras los datos va un fin de línea.
        let Some(resto) = bytes.get(cabeza + largo + 2..) else {
            return Ok(None);
        };
        bytes = resto;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    /// Contesta `respuesta` a la primera pregunta y devuelve la pregunta.
    fn contestando(respuesta: &'static [u8]) -> (String, thread::JoinHandle<String>) {
        let escucha = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/x?y=1", escucha.local_addr().unwrap());
        let hilo = thread::spawn(move || {
            let mut cliente = escucha.accept().unwrap().0;
            let mut bytes = [0; 4096];
            let leidos = cliente.read(&mut bytes).unwrap();
            // De uno en uno: ninguna respuesta tiene por qué llegar junta.
            for byte in respuesta {
                if cliente.write_all(&[*byte]).is_err() {
                    break;
                }
            }
            String::from_utf8_lossy(&bytes[..leidos]).into_owned()
        });
        (url, hilo)
    }

    #[test]
    fn se_entiende_a_flask_a_fastapi_y_a_quien_cierra() {
        for respuesta in [
            &b"HTTP/1.0 200 OK\r\ncontent-length: 7\r\n\r\n{\"a\":1}basura"[..],
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n4\r\n\":1}\r\n0\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{\"a\":1}",
        ] {
            let (url, hilo) = contestando(respuesta);
            let cuerpo = serde_json::json!({"z": 2});
            let (codigo, valor) = pedir("POST", &url, Some(&cuerpo), Limites::default(), &Parada::nueva()).unwrap();
            assert_eq!((codigo, valor["a"].as_u64()), (200, Some(1)));
            let pregunta = hilo.join().unwrap();
            assert!(pregunta.starts_with("POST /x?y=1 HTTP/1.1\r\nHost: 127.0.0.1:"), "{pregunta}");
            assert!(pregunta.contains("Content-Length: 7\r\n") && pregunta.ends_with("\r\n\r\n{\"z\":2}"));
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
                b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhola",
                "no es JSON",
            ),
        ] {
            let (url, hilo) = contestando(respuesta);
            let fallo = pedir("GET", &url, None, Limites::default(), &Parada::nueva())
                .unwrap_err()
                .to_string();
            assert!(
                fallo.contains(dice) && fallo.contains("127.0.0.1"),
                "{fallo}"
            );
            let _ = hilo.join();
        }
        assert!(
            pedir("GET", "ftp://x", None, Limites::default(), &Parada::nueva())
                .unwrap_err()
                .to_string()
                .contains("no es una URL")
        );
    }

    #[test]
    fn un_error_sin_json_sigue_siendo_un_codigo() {
        let (url, hilo) = contestando(b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnada");
        assert_eq!(
            pedir("GET", &url, None, Limites::default(), &Parada::nueva()).unwrap(),
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
        let fallo = pedir("GET", &url, None, limites, &Parada::nueva())
            .unwrap_err()
            .to_string();
        assert!(fallo.contains("plazo"), "{fallo}");
    }

    proptest! {
        #[test]
        fn ninguna_respuesta_revienta(mut bytes in any::<Vec<u8>>(), buena in any::<bool>(), fin in any::<bool>()) {
            if buena {
                bytes.splice(0..0, *b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            }
            let mut respuesta = Recibida { bytes, cabeza: None };
            let _ = respuesta.avanzar(fin);
        }
    }
}
