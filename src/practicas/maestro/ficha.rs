//! La ficha de un nodo en el directorio del maestro: lo que dio al registrarse. Sólo el tipo.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Lo que un peer dice de sí. No cambia: quien se registra de nuevo trae otra.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ficha {
    /// Su URL, `http://IP:PUERTO`.
    pub rest: String,
    /// Su dirección, que es lo que lo distingue de los demás.
    pub direccion: SocketAddr,
    /// La IP desde la que se registró.
    pub desde: IpAddr,
    /// ¿Se registró desde la máquina del maestro?
    pub de_aqui: bool,
    /// El puerto gRPC que dijo (0 si no tiene).
    pub grpc_port: u16,
    /// El puerto en que habla el protocolo de la guía, si lo dijo.
    pub puerto: Option<u16>,
    /// Sus archivos, sin repetidos.
    pub archivos: Vec<Arc<str>>,
}
