//! El hueco por el que el laboratorio mira lo que pasa por una conexión, y lo estropea a propósito.
//!
//! La guía no deja ver sus mensajes ni romperlos. Aquí cada [`Conexion`] le cuenta a su [`Ojo`], si
//! lo tiene, cada línea que va a mandar y cada una que recibió; con eso se escribe el diario y se
//! ponen las fallas (`laboratorio/`). Este archivo no sabe hacer ninguna de las dos cosas.
//!
//! [`Conexion`]: crate::red::conexion::Conexion

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

/// Quién abrió una conexión.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuienLlama {
    /// Este programa.
    Nosotros,
    /// El otro.
    ElOtro,
}

/// Quien mira las conexiones de un programa.
pub trait Mirar: Send + Sync {
    /// Empieza una conexión con `otro`: antes de abrirla si la abrimos nosotros, y en el orden en
    /// que se aceptan si la abrió él.
    fn empezar(self: Arc<Self>, otro: SocketAddr, llama: QuienLlama) -> Box<dyn Ojo>;
}

/// Quien mira una conexión. Al soltarlo, la conexión se acabó.
pub trait Ojo: Send {
    /// Quedó abierta, o no se pudo.
    fn abierta(&mut self, socket: &TcpStream, fallo: Option<&io::Error>);
    /// Llegó una línea del protocolo, que ocupaba `bytes` con su final.
    fn recibida(&mut self, linea: &str, bytes: usize);
    /// Llegaron `bytes` de datos.
    fn recibidos(&mut self, bytes: usize);
    /// Van a salir una o varias líneas.
    ///
    /// # Errores
    /// No hay que mandarlas, sino cerrar: es una falla puesta a propósito, y dice cuál.
    fn por_enviar(&mut self, lineas: &str) -> Result<(), &'static str>;
    /// Van a salir `datos`. `None`: tal cual. Si no, lo que hay que mandar en su lugar, y si
    /// después se puede seguir.
    fn datos_por_enviar(&mut self, datos: &[u8]) -> Option<(Vec<u8>, Result<(), &'static str>)>;
    /// Cuántos bytes se escriben de una vez, como mucho.
    fn trozo(&self) -> usize;
}

/// Quien mira, si hay alguien. Viaja con los límites de una conversación.
#[derive(Clone, Default)]
pub struct Testigo(Option<Arc<dyn Mirar>>);

impl Testigo {
    /// Uno que mira.
    pub fn nuevo(mira: Arc<dyn Mirar>) -> Testigo {
        Testigo(Some(mira))
    }

    /// Empieza una conexión. `None` si nadie mira.
    pub fn empezar(&self, otro: SocketAddr, llama: QuienLlama) -> Option<Box<dyn Ojo>> {
        let mira = self.0.as_ref()?;
        Some(Arc::clone(mira).empezar(otro, llama))
    }
}

impl fmt::Debug for Testigo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "mira" } else { "nadie" })
    }
}
