//! Pendiente.
use crate::conexion::Conexion;
use crate::nodo::Nodo;
use crate::nodo::servidor::Corte;

/// Pendiente.
pub fn responder(conexion: &mut Conexion, _nodo: &Nodo) -> Result<(), Corte> {
    Ok(conexion.escribir_texto(
        "HTTP/1.1 501 Not Implemented\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    )?)
}
