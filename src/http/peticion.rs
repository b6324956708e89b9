//! Una petición HTTP: de los bytes a lo que se pide, y qué se rechaza sin mirar más. Sin sockets.
//!
//! `httparse` separa la primera línea y las cabeceras; aquí se traducen los `%xx` y se comprueba
//! que quien llama no es una página ajena. No sabe qué rutas hay.

use super::url::{Url, descodificar, leer_consulta};
use super::{CorteHttp, RespuestaHttp, rechazar};

/// Tope de la primera línea y las cabeceras juntas, en bytes. Un navegador gasta menos de 2 KiB.
pub(super) const TOPE_CABEZA: usize = 8 * 1024;
/// Cuántas cabeceras se admiten.
pub(super) const TOPE_CABECERAS: usize = 64;
/// De estas no vale ni una que no sea texto ni dos: cada programa del camino podría quedarse con
/// otra.
const UNICAS: [&str; 3] = ["host", "origin", "content-length"];

/// Una petición ya leída, menos su cuerpo: ese lo pide quien sepa cuánto puede ocupar
/// ([`leer_cuerpo`](super::leer_cuerpo)).
#[derive(Debug, Clone)]
pub struct PeticionHttp {
    /// El método: `GET`, `HEAD`, `POST`…
    pub metodo: String,
    /// La ruta, con los `%xx` ya traducidos. Empieza por `/`.
    pub ruta: String,
    consulta: Vec<(String, String)>,
    /// A quién dice llamar en la propia dirección (`GET http://ip:puerto/…`), si lo dice.
    destino: Option<String>,
    /// Con el nombre en minúsculas; las repetidas, unidas con comas.
    cabeceras: Vec<(String, String)>,
    /// Bytes del cuerpo que aún no se han leído, si dijo cuántos son.
    pub(super) falta: Option<u64>,
}

/// ¿Viene de un navegador una petición que no se deja leer?
pub(super) fn parece_de_navegador(bruto: &[u8]) -> bool {
    let lineas = bruto.split(|&b| b == b'\n').map(<[u8]>::to_ascii_lowercase);
    let mut acepta = lineas.filter(|linea| linea.starts_with(b"accept:"));
    acepta.any(|linea| String::from_utf8_lossy(&linea).contains("text/html"))
}

impl PeticionHttp {
    /// El valor de una cabecera; su nombre va en minúsculas.
    pub fn cabecera(&self, nombre: &str) -> Option<&str> {
        let suya = self.cabeceras.iter().find(|(otro, _)| otro == nombre);
        suya.map(|(_, valor)| valor.as_str())
    }

    /// ¿Prefiere una página? Es lo que distingue a un navegador de `curl`.
    pub fn quiere_html(&self) -> bool {
        let acepta = self.cabecera("accept");
        acepta.is_some_and(|acepta| acepta.contains("text/html"))
    }

    /// El valor de `clave` en la consulta (`?clave=valor`). Sin él no hay pregunta: si falta o está
    /// vacío, 400.
    pub fn parametro(&self, clave: &str) -> Result<&str, CorteHttp> {
        let suyo = self.consulta.iter().find(|(otra, _)| otra == clave);
        let valor = suyo.map(|(_, valor)| valor.as_str());
        let valor = valor.filter(|valor| !valor.is_empty());
        valor.ok_or_else(|| rechazar(400, format!("falta «{clave}»: {}?{clave}=…", self.ruta)))
    }

    /// Una página de Internet puede hacer que el navegador de un estudiante llame a su nodo: o con
    /// `Origin` (la página es de otro sitio) o haciendo que un nombre suyo apunte a 127.0.0.1
    /// (`Host` es ese nombre). Las dos se rechazan.
    pub(super) fn comprobar_procedencia(&self) -> Result<(), CorteHttp> {
        let (destino, host) = (self.destino.as_deref(), self.cabecera("host"));
        if ![destino, host].into_iter().flatten().all(de_confianza) {
            let frase = "llámame por mi IP o por localhost, no por otro nombre";
            return Err(rechazar(403, frase));
        }
        let origen = self.cabecera("origin");
        let nuestro = destino.or(host);
        if origen.is_some_and(|o| nuestro.is_none() || o.strip_prefix("http://") != nuestro) {
            let frase = "esta petición viene de una página de otro sitio";
            return Err(rechazar(403, frase));
        }
        Ok(())
    }
}

/// El rechazo de un método que esa ruta no admite, diciendo cuáles valen.
pub fn solo_admite(valen: &'static str) -> CorteHttp {
    let respuesta = RespuestaHttp::fallo(405, format!("esa ruta sólo admite {valen}"));
    CorteHttp::Rechazo(Box::new(respuesta.con("Allow", valen)))
}

/// Una petición al principio de `bytes` y cuántos ocupa; `None` si aún faltan bytes.
pub(super) fn interpretar(bytes: &[u8]) -> Result<Option<(PeticionHttp, usize)>, CorteHttp> {
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
    // `parse` terminó: método, dirección y versión están.
    let metodo = leida.method.unwrap_or_default();
    let mut peticion = con_direccion(metodo, leida.path.unwrap_or_default())?;
    peticion.cabeceras = juntar(leida.headers)?;
    if leida.version == Some(1) && peticion.cabecera("host").is_none() {
        return Err(rechazar(400, "falta la cabecera Host"));
    }
    if peticion.cabecera("transfer-encoding").is_some() {
        let frase = "aquí el cuerpo va entero, con su Content-Length";
        return Err(rechazar(411, frase));
    }
    let escrito = peticion.cabecera("content-length");
    peticion.falta = escrito.map(largo_del_cuerpo).transpose()?;
    Ok(Some((peticion, largo)))
}

fn con_direccion(metodo: &str, escrita: &str) -> Result<PeticionHttp, CorteHttp> {
    let absoluta = Url::leer(escrita);
    let ruta = absoluta.as_ref().map_or(escrita, |url| &url.ruta);
    let (ruta, consulta) = ruta.split_once('?').unwrap_or((ruta, ""));
    let ruta = descodificar(ruta).filter(|ruta| ruta.starts_with('/'));
    let Some((ruta, consulta)) = ruta.zip(leer_consulta(consulta)) else {
        let frase = "la dirección está mal escrita: «%» y dos cifras, en UTF-8";
        return Err(rechazar(400, frase));
    };
    Ok(PeticionHttp {
        metodo: metodo.to_string(),
        ruta,
        consulta,
        destino: absoluta.map(|url| url.sitio()),
        cabeceras: Vec::new(),
        falta: None,
    })
}

fn juntar(cabeceras: &[httparse::Header]) -> Result<Vec<(String, String)>, CorteHttp> {
    let mut juntas: Vec<(String, String)> = Vec::new();
    for cabecera in cabeceras {
        let nombre = cabecera.name.to_ascii_lowercase();
        let unica = UNICAS.contains(&nombre.as_str());
        let anterior = juntas.iter_mut().find(|(otro, _)| *otro == nombre);
        match (str::from_utf8(cabecera.value).map(str::trim), anterior) {
            (Ok(valor), None) => juntas.push((nombre, valor.to_string())),
            (Ok(valor), Some((_, antes))) if !unica => *antes += &format!(", {valor}"),
            (Err(_), _) if !unica => {}
            _ => {
                let frase = format!("la cabecera {nombre} está repetida o no es texto");
                return Err(rechazar(400, frase));
            }
        }
    }
    Ok(juntas)
}

/// Sólo cifras, y que quepan en 64 bits: nadie manda más.
fn largo_del_cuerpo(escrito: &str) -> Result<u64, CorteHttp> {
    let cifras = escrito.bytes().all(|b| b.is_ascii_digit());
    let largo = escrito.parse().ok().filter(|_| cifras);
    largo.ok_or_else(|| rechazar(400, "Content-Length está mal escrito"))
}

/// ¿Es una IP o `localhost`, con o sin puerto?
fn de_confianza(host: &str) -> bool {
    let url = Url::leer(&format!("http://{host}")).filter(|_| !host.contains(['/', '?']));
    url.is_some_and(|url| url.ip().is_some())
}
