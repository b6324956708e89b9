//! Una petición HTTP: de los bytes a lo que se pide, y qué se rechaza sin mirar más. Sin sockets.
//!
//! `httparse` separa la primera línea y las cabeceras; aquí se traducen los `%xx`, se guardan las cabeceras que alguien
//! usa y se comprueba que quien llama no es una página ajena. No sabe qué rutas hay.

use std::net::{IpAddr, Ipv6Addr};

use super::url::{descodificar, leer_consulta};
use super::{Corte, Respuesta, rechazar};

/// Tope de la primera línea y las cabeceras juntas, en bytes. Un navegador gasta menos de 2 KiB.
pub(super) const TOPE_CABEZA: usize = 8 * 1024;
/// Cuántas cabeceras se admiten.
pub(super) const TOPE_CABECERAS: usize = 64;
/// El método de una petición; los que aquí no sirven para nada son todos el mismo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metodo {
    /// Pedir algo.
    Get,
    /// Pedir sólo la cabecera.
    Head,
    /// Mandar algo.
    Post,
    /// Cualquier otro.
    Otro,
}

/// Una petición ya leída, menos su cuerpo: ese lo pide quien sepa cuánto puede ocupar ([`leer_cuerpo`](crate::http::leer_cuerpo)).
#[derive(Debug, Clone)]
pub struct Peticion {
    /// El método.
    pub metodo: Metodo,
    /// La ruta, con los `%xx` ya traducidos. Empieza por `/`.
    pub ruta: String,
    /// `Accept`: qué prefiere quien pregunta.
    pub acepta: Option<String>,
    /// `Host`: con qué nombre nos llama.
    pub host: Option<String>,
    /// `Range`: qué parte quiere.
    pub rango: Option<String>,
    /// `If-None-Match`: sólo si cambió.
    pub si_no_coincide: Option<String>,
    /// `If-Range`: la parte, si no cambió; si cambió, entero.
    pub si_rango: Option<String>,
    consulta: Vec<(String, String)>,
    /// Bytes del cuerpo que aún no se han leído, si dijo cuántos son.
    pub(super) falta: Option<u64>,
    /// Con `Expect: 100-continue` no manda el cuerpo hasta que se le diga.
    pub(super) espera_permiso: bool,
}

impl Peticion {
    /// El valor de `clave` en la consulta (`?clave=valor`). `None` si no está o está vacío.
    pub fn parametro(&self, clave: &str) -> Option<&str> {
        let encontrado = self.consulta.iter().find(|(c, _)| c == clave);
        encontrado
            .map(|(_, valor)| valor.as_str())
            .filter(|valor| !valor.is_empty())
    }

    /// Bytes del cuerpo, según dice.
    pub fn largo(&self) -> u64 {
        self.falta.unwrap_or(0)
    }

    /// Como [`Peticion::parametro`], para cuando sin él no hay pregunta.
    ///
    /// # Errores
    /// No está: 400.
    pub fn exigir_parametro(&self, clave: &str) -> Result<&str, Corte> {
        self.parametro(clave)
            .ok_or_else(|| rechazar(400, format!("falta «{clave}»: {}?{clave}=…", self.ruta)))
    }

    /// Esta ruta sólo se lee.
    ///
    /// # Errores
    /// Se pidió con otro método: 405, diciendo cuáles valen.
    pub fn exigir_lectura(&self) -> Result<(), Corte> {
        match self.metodo {
            Metodo::Get | Metodo::Head => Ok(()),
            _ => Err(metodo_equivocado("GET, HEAD")),
        }
    }

    /// A esta ruta sólo se le manda algo.
    ///
    /// # Errores
    /// Se pidió con otro método: 405, diciendo cuál vale.
    pub fn exigir_envio(&self) -> Result<(), Corte> {
        if self.metodo == Metodo::Post {
            Ok(())
        } else {
            Err(metodo_equivocado("POST"))
        }
    }
}

fn metodo_equivocado(valen: &'static str) -> Corte {
    let respuesta = Respuesta::fallo(405, format!("esa ruta sólo admite {valen}"));
    Corte::Rechazo(Box::new(respuesta.con("Allow", valen)))
}

/// Una petición al principio de `bytes` y cuántos ocupa; `None` si aún faltan bytes.
pub(super) fn interpretar(bytes: &[u8]) -> Result<Option<(Peticion, usize)>, Corte> {
    let mut sitio = [httparse::EMPTY_HEADER; TOPE_CABECERAS];
    let mut leida = httparse::Request::new(&mut sitio);
    let largo = match leida.parse(bytes) {
        Ok(httparse::Status::Complete(largo)) if largo <= TOPE_CABEZA => largo,
        Ok(httparse::Status::Partial) if bytes.len() <= TOPE_CABEZA => return Ok(None),
        Ok(_) if !bytes[..TOPE_CABEZA].contains(&b'\n') => {
            return Err(rechazar(414, "la dirección es demasiado larga"));
        }
        Ok(_) | Err(httparse::Error::TooManyHeaders) => {
            return Err(rechazar(431, "las cabeceras ocupan demasiado"));
        }
        Err(httparse::Error::Version) => return Err(rechazar(505, "aquí se habla HTTP/1.1")),
        Err(_) => return Err(rechazar(400, "la petición HTTP está mal escrita")),
    };
    // `parse` terminó: método y ruta están.
    let metodo = match leida.method.unwrap_or_default() {
        "GET" => Metodo::Get,
        "HEAD" => Metodo::Head,
        "POST" => Metodo::Post,
        _ => Metodo::Otro,
    };
    let peticion = con_ruta(metodo, leida.path.unwrap_or_default())?;
    con_cabeceras(peticion, leida.headers).map(|peticion| Some((peticion, largo)))
}

fn con_ruta(metodo: Metodo, escrita: &str) -> Result<Peticion, Corte> {
    let (ruta, consulta) = escrita.split_once('?').unwrap_or((escrita, ""));
    let traducidas = descodificar(ruta)
        .filter(|ruta| ruta.starts_with('/'))
        .zip(leer_consulta(consulta));
    let Some((ruta, consulta)) = traducidas else {
        return Err(rechazar(
            400,
            "la dirección está mal escrita: «%» y dos cifras, en UTF-8",
        ));
    };
    Ok(Peticion {
        metodo,
        ruta,
        consulta,
        acepta: None,
        host: None,
        rango: None,
        si_no_coincide: None,
        si_rango: None,
        falta: None,
        espera_permiso: false,
    })
}

fn con_cabeceras(
    mut peticion: Peticion,
    cabeceras: &[httparse::Header],
) -> Result<Peticion, Corte> {
    let mut origen = None;
    for cabecera in cabeceras {
        let Ok(valor) = str::from_utf8(cabecera.value).map(str::trim) else {
            continue;
        };
        let es = |nombre| cabecera.name.eq_ignore_ascii_case(nombre);
        if es("host") {
            if peticion.host.replace(valor.to_string()).is_some() {
                return Err(rechazar(400, "hay dos cabeceras Host"));
            }
        } else if es("origin") {
            origen = Some(valor);
        } else if es("accept") {
            peticion.acepta = Some(valor.to_string());
        } else if es("range") {
            peticion.rango = Some(valor.to_string());
        } else if es("if-none-match") {
            peticion.si_no_coincide = Some(valor.to_string());
        } else if es("if-range") {
            peticion.si_rango = Some(valor.to_string());
        } else if es("content-length") {
            peticion.falta = Some(largo_del_cuerpo(valor, peticion.falta)?);
        } else if es("transfer-encoding") {
            return Err(rechazar(
                411,
                "aquí el cuerpo va entero, con su Content-Length",
            ));
        } else if es("expect") {
            peticion.espera_permiso = valor.eq_ignore_ascii_case("100-continue");
        }
    }
    comprobar_procedencia(peticion.host.as_deref(), origen)?;
    Ok(peticion)
}

fn largo_del_cuerpo(valor: &str, anterior: Option<u64>) -> Result<u64, Corte> {
    let cifras = !valor.is_empty() && valor.bytes().all(|b| b.is_ascii_digit());
    // Un número que no cabe en 64 bits es, en todo caso, demasiado.
    let largo = valor.parse().unwrap_or(u64::MAX);
    if cifras && anterior.is_none_or(|anterior| anterior == largo) {
        Ok(largo)
    } else {
        Err(rechazar(400, "Content-Length está mal escrito"))
    }
}

/// Una página de Internet puede hacer que el navegador de un estudiante llame a su nodo: o con `Origin` (la página
/// es de otro sitio) o haciendo que un nombre suyo apunte a 127.0.0.1 (`Host` es ese nombre). Las dos se rechazan.
fn comprobar_procedencia(host: Option<&str>, origen: Option<&str>) -> Result<(), Corte> {
    if !host.is_none_or(host_de_confianza) {
        return Err(rechazar(
            403,
            "llámame por mi IP o por localhost, no por otro nombre",
        ));
    }
    let propio =
        |origen: &str| host.is_some_and(|host| origen.strip_prefix("http://") == Some(host));
    if origen.is_none_or(propio) {
        Ok(())
    } else {
        Err(rechazar(
            403,
            "esta petición viene de una página de otro sitio",
        ))
    }
}

fn host_de_confianza(host: &str) -> bool {
    let (nombre, puerto) = match host
        .strip_prefix('[')
        .and_then(|resto| resto.split_once(']'))
    {
        Some((ip, puerto)) if ip.parse::<Ipv6Addr>().is_ok() => ("localhost", puerto),
        Some(_) => return false,
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let puerto = puerto.is_empty()
        || puerto
            .strip_prefix(':')
            .is_some_and(|p| p.parse::<u16>().is_ok());
    puerto && (nombre.eq_ignore_ascii_case("localhost") || nombre.parse::<IpAddr>().is_ok())
}
