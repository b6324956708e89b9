//! Qué se baja, y cómo acabó: lo que se le pide al motor de transferencias y lo que contesta. Sólo
//! tipos.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::config::Limites;
use crate::consola::progreso::Progreso;
use crate::fallo::Fallo;
use crate::nodo::carpeta::Carpeta;
use crate::nodo::carpeta::huella::Huella;
use crate::red::parada::Parada;

/// Conexiones con cada fuente, como mucho: cuando se pierden paquetes, cada una va por su lado.
pub const CONEXIONES_POR_FUENTE: usize = 4;
/// Y entre todas las fuentes.
pub const CONEXIONES_POR_DESCARGA: usize = 16;

/// Qué se baja, a dónde y cómo se cuenta.
pub struct Pedido<'a> {
    /// El nombre con que se pide.
    pub nombre: &'a str,
    /// La carpeta en que se guarda.
    pub carpeta: &'a Carpeta,
    /// Plazos y topes.
    pub limites: &'a Limites,
    /// Conexiones con cada fuente.
    pub conexiones: usize,
    /// Otros nodos, que pueden tener bloques aunque no tengan el archivo.
    pub pares: &'a [SocketAddr],
    /// Para dejarlo a medias.
    pub parada: &'a Parada,
    /// Por dónde va.
    pub progreso: &'a Progreso,
    /// Lo que conviene saber mientras tanto: una fuente retirada, que se reanuda…
    pub avisar: &'a (dyn Fn(String) + Sync),
}

/// Un archivo que ya está en la carpeta.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descargado {
    /// El nombre con que quedó.
    pub nombre: String,
    /// Bytes.
    pub tamano: u64,
    /// Bytes que hubo que pasar por la red.
    pub bajados: u64,
    /// Lo que tardaron en pasar: lo que da la velocidad.
    pub bajando: Duration,
    /// Lo que tardó todo: preguntar, comprobar lo que había, bajar y guardar.
    pub tiempo: Duration,
    /// Cuántas fuentes dieron bloques.
    pub fuentes: usize,
    /// La huella del archivo.
    pub huella: Huella,
    /// ¿Se comprobó bloque a bloque? Con las palabras de la guía no hay con qué.
    pub comprobado: bool,
    /// ¿Ya se tenía, y no hizo falta guardarlo?
    pub ya_estaba: bool,
}

/// Por qué no se descargó.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoDescargado {
    /// Ninguna fuente lo tiene.
    NoEncontrado,
    /// Lo cancelaron; lo comprobado queda en el `.part`.
    Cancelado,
    /// No se pudo; la frase dice por qué y cómo seguir.
    Fallo(Fallo),
}

impl From<Fallo> for NoDescargado {
    fn from(fallo: Fallo) -> NoDescargado {
        NoDescargado::Fallo(fallo)
    }
}

impl NoDescargado {
    /// La frase que se le dice a otro.
    pub fn publico(&self) -> String {
        match self {
            NoDescargado::Fallo(fallo) => fallo.publico().to_string(),
            NoDescargado::NoEncontrado | NoDescargado::Cancelado => self.to_string(),
        }
    }
}

impl fmt::Display for NoDescargado {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoDescargado::NoEncontrado => f.write_str("El archivo no está disponible."),
            NoDescargado::Cancelado => f.write_str(
                "descarga cancelada; al volver a pedirlo, seguirá con lo que ya esté comprobado",
            ),
            NoDescargado::Fallo(fallo) => fallo.fmt(f),
        }
    }
}
