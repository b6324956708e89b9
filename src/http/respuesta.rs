//! Una respuesta HTTP: código, cabeceras y un cuerpo que está en memoria o que alguien irá mandando. Sin sockets.

use std::any::Any;

use serde_json::{Value, json};

use crate::red::conexion::{Conexion, FalloRed};

/// Manda la cabeza que recibe y el cuerpo: exactamente los bytes prometidos, o un error. Así los dos pueden salir en un
/// solo `write`.
pub type Envio = Box<dyn FnOnce(&mut Conexion, &[u8]) -> Result<(), FalloRed>>;

/// El cuerpo: ya está entero, o lo mandará alguien.
pub(super) enum Cuerpo {
    Memoria(Vec<u8>),
    Flujo { largo: u64, enviar: Envio },
}

impl std::fmt::Debug for Cuerpo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Cuerpo::Memoria(datos) => f.write_str(&String::from_utf8_lossy(datos)),
            Cuerpo::Flujo { largo, .. } => write!(f, "({largo} bytes)"),
        }
    }
}

/// Lo que se contesta.
#[derive(Debug)]
pub struct Respuesta {
    pub(super) codigo: u16,
    tipo: &'static str,
    extra: String,
    pub(super) cuerpo: Cuerpo,
    retenido: Option<Box<dyn Any>>,
}

impl Respuesta {
    /// JSON ya escrito.
    pub fn json_escrito(codigo: u16, texto: impl Into<Vec<u8>>) -> Respuesta {
        Respuesta::de_memoria(codigo, "application/json; charset=utf-8", texto.into())
    }

    /// JSON.
    pub fn json(codigo: u16, valor: &Value) -> Respuesta {
        Respuesta::json_escrito(codigo, format!("{valor}\n"))
    }

    /// `{"error": motivo}`.
    pub fn fallo(codigo: u16, motivo: impl Into<String>) -> Respuesta {
        Respuesta::json(codigo, &json!({"error": motivo.into()}))
    }

    /// Una página.
    pub fn html(texto: String) -> Respuesta {
        Respuesta::de_memoria(200, "text/html; charset=utf-8", texto.into_bytes())
    }

    /// Sin cuerpo.
    pub fn vacia(codigo: u16) -> Respuesta {
        Respuesta::de_memoria(codigo, "application/octet-stream", Vec::new())
    }

    /// `largo` bytes que mandará `enviar`. Si falla a medias, la conexión se corta con error: quien recibe no puede
    /// tomar lo que llegó por una respuesta entera.
    pub fn flujo(codigo: u16, largo: u64, enviar: Envio) -> Respuesta {
        let cuerpo = Cuerpo::Flujo { largo, enviar };
        Respuesta {
            codigo,
            tipo: "application/octet-stream",
            extra: String::new(),
            cuerpo,
            retenido: None,
        }
    }

    fn de_memoria(codigo: u16, tipo: &'static str, datos: Vec<u8>) -> Respuesta {
        Respuesta {
            codigo,
            tipo,
            extra: String::new(),
            cuerpo: Cuerpo::Memoria(datos),
            retenido: None,
        }
    }

    /// El código.
    pub fn codigo(&self) -> u16 {
        self.codigo
    }

    /// Añade una cabecera. Un valor no puede traer otra dentro: los controles se quitan.
    pub fn con(mut self, nombre: &str, valor: impl AsRef<str>) -> Respuesta {
        let limpio = valor.as_ref().chars().filter(|letra| !letra.is_control());
        self.extra.extend(
            nombre
                .chars()
                .chain(": ".chars())
                .chain(limpio)
                .chain("\r\n".chars()),
        );
        self
    }

    /// Guarda `algo` hasta que la respuesta esté escrita (un turno, por ejemplo).
    pub fn reteniendo(mut self, algo: impl Any) -> Respuesta {
        self.retenido = Some(Box::new(algo));
        self
    }

    pub(super) fn cabeza(&self) -> Vec<u8> {
        let largo = match &self.cuerpo {
            Cuerpo::Memoria(datos) => datos.len() as u64,
            Cuerpo::Flujo { largo, .. } => *largo,
        };
        // Un 304 no tiene cuerpo, y su longitud sería la del archivo: mejor no decirla.
        let largo = if self.codigo == 304 {
            String::new()
        } else {
            format!("Content-Length: {largo}\r\n")
        };
        let cabeza = format!(
            "HTTP/1.1 {} {}\r\nContent-Type: {}\r\n{largo}Connection: close\r\nX-Content-Type-Options: nosniff\r\n{}\r\n",
            self.codigo,
            frase(self.codigo),
            self.tipo,
            self.extra
        );
        cabeza.into_bytes()
    }
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
        411 => "Length Required",
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
