//! `nodo hablar`: por escribir.

use std::net::SocketAddr;

use crate::consola::Consola;
use crate::fallo::{Fallo, Salida};

/// `nodo hablar`.
pub fn abrir(_: SocketAddr, _: bool, _: &mut Consola) -> Result<Salida, Fallo> {
    Err(Fallo::nuevo("por escribir"))
}
