//! Lo que pasa en un nodo y debe ver quien está delante. Sólo tipos: viajan por los canales de `eventos.rs`.

use std::net::SocketAddr;

use crate::nodo::descarga::pedido::Descargado;

/// Algo que pasó en el nodo y que quien está delante debe ver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evento {
    /// Alguien se conectó: `[CONEXIÓN] Desde …`.
    Conexion(SocketAddr),
    /// Se envió un archivo entero: `[ENVÍO COMPLETO] …`.
    EnvioCompleto(String),
    /// Se envió una parte de un archivo (lo demás lo piden a otros, o por otra conexión).
    EnvioParcial {
        /// De qué archivo.
        nombre: String,
        /// Cuántos bytes.
        bytes: u64,
        /// A quién.
        a: SocketAddr,
    },
    /// Llegó un mensaje de texto.
    Mensaje(Mensaje),
    /// Alguien nos envía un archivo (nombre, desde dónde).
    Recibiendo(String, SocketAddr),
    /// Terminó de llegar un archivo que nos enviaron.
    Recibido(Box<Descargado>),
    /// Algo que conviene saber y no es un error de quien está delante.
    Aviso(String),
}

/// Un mensaje recibido, con su texto tal como llegó (se limpia al pintarlo).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mensaje {
    /// Nombre del nodo que dice enviarlo.
    pub de: String,
    /// Desde dónde llegó.
    pub desde: SocketAddr,
    /// El texto.
    pub texto: String,
}
