//! Una respuesta HTTP: código, cabeceras y un cuerpo que está en memoria o que alguien irá
//! mandando. Sin sockets.

use std::borrow::Cow;
use std::fmt;
use std::iter;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::{CorteHttp, PLAZO_RESPUESTA};
use crate::red::conexion::{Conexion, FalloRed};
use crate::texto::limpiar;

/// Lo que se junta de una lista antes de mandarlo, en bytes: de ella, es lo único que hay en
/// memoria.
const TROZO_DE_LISTA: usize = 32 * 1024;
/// Las páginas son de una máquina que no nos fía nada: sólo su propio estilo y su icono vacío, y ni
/// guiones ni marcos.
const POLITICA: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const JSON: &str = "application/json; charset=utf-8";
/// La última fecha que se sabe escribir: el final del año 9999.
const ULTIMA_FECHA: Duration = Duration::from_secs(253_402_300_799);

/// Manda la cabeza que recibe y el cuerpo: exactamente los bytes prometidos, o un error. Así los
/// dos pueden salir en un solo `write`.
pub type Envio = Box<dyn FnOnce(&mut Conexion, &[u8]) -> Result<(), FalloRed> + Send>;

/// Un trozo de un cuerpo que se escribe poco a poco; un fallo corta la respuesta.
pub type Pieza = Result<Cow<'static, str>, FalloRed>;

/// El cuerpo: ya está entero, o lo mandará alguien.
pub(super) enum Cuerpo {
    Memoria(Vec<u8>),
    Flujo { largo: Option<u64>, enviar: Envio },
}

/// Lo que se contesta.
pub struct RespuestaHttp {
    /// El código.
    pub codigo: u16,
    tipo: &'static str,
    extra: String,
    pub(super) cuerpo: Cuerpo,
    /// Si es un fallo, por qué: a un navegador se le dice de otra manera.
    motivo: Option<String>,
}

impl fmt::Debug for RespuestaHttp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP {} {:?}", self.codigo, self.motivo)
    }
}

impl RespuestaHttp {
    fn nueva(codigo: u16, tipo: &'static str, cuerpo: Cuerpo) -> RespuestaHttp {
        RespuestaHttp {
            codigo,
            tipo,
            extra: String::new(),
            cuerpo,
            motivo: None,
        }
    }

    fn json_escrito(codigo: u16, texto: String) -> RespuestaHttp {
        let cuerpo = Cuerpo::Memoria(texto.into_bytes());
        RespuestaHttp::nueva(codigo, JSON, cuerpo)
    }

    /// JSON.
    pub fn json(codigo: u16, valor: &Value) -> RespuestaHttp {
        RespuestaHttp::json_escrito(codigo, format!("{valor}\n"))
    }

    /// JSON que puede ser muy largo, pieza a pieza: nunca está entero en memoria, y mil que lo
    /// pidan y no lo lean cuestan mil trozos. Sólo si es corto se sabe cuánto mide; si no, acaba
    /// con la conexión.
    pub fn json_por_piezas(
        piezas: impl Iterator<Item = Pieza> + Send + 'static,
    ) -> Result<RespuestaHttp, CorteHttp> {
        let mut piezas = piezas.chain(iter::once(Ok("\n".into())));
        let mut trozo = un_trozo(&mut piezas)?;
        if trozo.len() < TROZO_DE_LISTA {
            return Ok(RespuestaHttp::json_escrito(200, trozo));
        }
        let enviar: Envio = Box::new(move |conexion, cabeza| {
            conexion.limitar_envio(PLAZO_RESPUESTA);
            conexion.escribir_datos(cabeza)?;
            while !trozo.is_empty() {
                conexion.escribir_datos(trozo.as_bytes())?;
                trozo = un_trozo(&mut piezas)?;
            }
            Ok(())
        });
        let largo = None;
        let cuerpo = Cuerpo::Flujo { largo, enviar };
        Ok(RespuestaHttp::nueva(200, JSON, cuerpo))
    }

    /// `{"error": motivo}`.
    pub fn fallo(codigo: u16, motivo: impl Into<String>) -> RespuestaHttp {
        let motivo = motivo.into();
        let respuesta = RespuestaHttp::json(codigo, &json!({"error": motivo}));
        RespuestaHttp {
            motivo: Some(motivo),
            ..respuesta.con("Vary", "Accept")
        }
    }

    /// Si es un fallo, por qué.
    pub fn por_que(&self) -> &str {
        self.motivo.as_deref().unwrap_or_default()
    }

    /// Una página; `extra` va en su `<head>` y `cuerpo` en su `<body>`, ya escapados.
    pub fn pagina(codigo: u16, titulo: &str, extra: &str, cuerpo: &str) -> RespuestaHttp {
        // Con un icono vacío, para que el navegador no busque otro en cada visita.
        let html = format!(
            "<!DOCTYPE html>\n<html lang=\"es\">\n<head>\n<meta charset=\"utf-8\">\n\
             <link rel=\"icon\" href=\"data:,\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{}</title>\n{extra}</head>\n<body>\n{cuerpo}</body>\n</html>\n",
            escapar(titulo)
        );
        RespuestaHttp::documento(codigo, html, POLITICA)
    }

    /// Un documento HTML entero, con lo que su página puede hacer.
    pub fn documento(codigo: u16, html: String, politica: &str) -> RespuestaHttp {
        let cuerpo = Cuerpo::Memoria(html.into_bytes());
        RespuestaHttp::nueva(codigo, "text/html; charset=utf-8", cuerpo)
            .con("Content-Security-Policy", politica)
            .con("Referrer-Policy", "no-referrer")
    }

    /// Si es un fallo, lo mismo en una página.
    pub(super) fn para_un_navegador(mut self) -> RespuestaHttp {
        let Some(motivo) = self.motivo.take() else {
            return self;
        };
        let titulo = format!("{} {}", self.codigo, frase(self.codigo));
        let cuerpo = format!("<h1>{titulo}</h1>\n<p>{}</p>\n", escapar(&motivo));
        let mut pagina = RespuestaHttp::pagina(self.codigo, &titulo, "", &cuerpo);
        pagina.extra.push_str(&self.extra);
        pagina
    }

    /// Sin cuerpo.
    pub fn vacia(codigo: u16) -> RespuestaHttp {
        let cuerpo = Cuerpo::Memoria(Vec::new());
        RespuestaHttp::nueva(codigo, "application/octet-stream", cuerpo)
    }

    /// `largo` bytes que mandará `enviar`. Si falla a medias, la conexión se corta con error: quien
    /// recibe no puede tomar lo que llegó por una respuesta entera.
    pub fn flujo(codigo: u16, largo: u64, enviar: Envio) -> RespuestaHttp {
        let largo = Some(largo);
        let cuerpo = Cuerpo::Flujo { largo, enviar };
        RespuestaHttp::nueva(codigo, "application/octet-stream", cuerpo)
    }

    /// Sucesos según pasan (`text/event-stream`), hasta que `enviar` acabe.
    pub fn sucesos(enviar: Envio) -> RespuestaHttp {
        let largo = None;
        let cuerpo = Cuerpo::Flujo { largo, enviar };
        RespuestaHttp::nueva(200, "text/event-stream; charset=utf-8", cuerpo)
    }

    /// Añade una cabecera. Un valor no puede traer otra dentro: los controles se quitan.
    pub fn con(mut self, nombre: &str, valor: impl AsRef<str>) -> RespuestaHttp {
        let limpio = valor.as_ref().chars().filter(|letra| !letra.is_control());
        let limpio: String = limpio.collect();
        self.extra += &format!("{nombre}: {limpio}\r\n");
        self
    }

    pub(super) fn cabeza(&self) -> Vec<u8> {
        let largo = match &self.cuerpo {
            // Un 304 no tiene cuerpo, y su longitud sería la del archivo: mejor no decirla.
            _ if self.codigo == 304 => None,
            Cuerpo::Memoria(datos) => Some(datos.len() as u64),
            Cuerpo::Flujo { largo, .. } => *largo,
        };
        let largo = largo.map_or(String::new(), |n| format!("Content-Length: {n}\r\n"));
        // Lo que se cuenta cambia a cada momento: que nadie lo guarde, si no se dijo otra cosa.
        let guardar = match self.extra.contains("Cache-Control: ") {
            true => "",
            false => "Cache-Control: no-store\r\n",
        };
        let cabeza = format!(
            "HTTP/1.1 {} {}\r\nDate: {}\r\nContent-Type: {}\r\n{largo}Connection: close\r\n\
             X-Content-Type-Options: nosniff\r\n{guardar}{}\r\n",
            self.codigo,
            frase(self.codigo),
            fecha_http(SystemTime::now()),
            self.tipo,
            self.extra
        );
        cabeza.into_bytes()
    }
}

/// Lo que sigue, hasta llenar un trozo. Vacío: se acabó.
fn un_trozo(piezas: &mut impl Iterator<Item = Pieza>) -> Result<String, FalloRed> {
    let mut trozo = String::new();
    while trozo.len() < TROZO_DE_LISTA
        && let Some(pieza) = piezas.next()
    {
        trozo.push_str(&pieza?);
    }
    Ok(trozo)
}

/// Un valor que se escribe de una vez.
pub fn pieza(valor: &Value) -> iter::Once<Pieza> {
    iter::once(Ok(valor.to_string().into()))
}

/// Las piezas del objeto `inicio` con una lista de más, `campo`.
pub fn con_lista<E: Iterator<Item = Pieza>, L: Iterator<Item = E>>(
    inicio: Value,
    campo: &str,
    elementos: L,
) -> impl Iterator<Item = Pieza> + use<E, L> {
    let mut apertura = inicio.to_string();
    apertura.pop();
    let coma = if apertura.len() > 1 { "," } else { "" };
    apertura.push_str(&format!("{coma}\"{campo}\":["));
    let elementos = elementos.enumerate().flat_map(|(n, elemento)| {
        let coma = if n > 0 { "," } else { "" };
        iter::once(Ok(coma.into())).chain(elemento)
    });
    iter::once(Ok(apertura.into()))
        .chain(elementos)
        .chain(iter::once(Ok("]}".into())))
}

/// Un instante como lo escribe HTTP. Un reloj o un archivo fuera de lo que sabe escribir va al
/// extremo.
pub fn fecha_http(cuando: SystemTime) -> String {
    httpdate::fmt_http_date(cuando.clamp(UNIX_EPOCH, UNIX_EPOCH + ULTIMA_FECHA))
}

/// Lee una fecha de HTTP. `None` si no lo es.
pub fn leer_fecha(escrita: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(escrita).ok()
}

/// Texto ajeno que ya no puede ser otra cosa que texto, ni dentro de un elemento ni de un atributo
/// entre comillas.
pub fn escapar(ajeno: &str) -> String {
    let limpio = limpiar(ajeno).replace('&', "&amp;");
    let limpio = limpio.replace('<', "&lt;").replace('>', "&gt;");
    limpio.replace('"', "&quot;").replace('\'', "&#39;")
}

/// Las palabras que la norma pone tras cada código.
fn frase(codigo: u16) -> &'static str {
    match codigo {
        200 => "OK",
        206 => "Partial Content",
        304 => "Not Modified",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        416 => "Range Not Satisfiable",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    }
}
