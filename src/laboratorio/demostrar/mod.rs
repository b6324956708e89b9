//! `nodo demostrar`: por escribir.

use std::path::Path;

use crate::consola::Consola;
use crate::fallo::{Fallo, Salida};

/// `nodo demostrar`.
pub fn abrir(_: Option<&str>, _: Option<&Path>, _: &mut Consola) -> Result<Salida, Fallo> {
    Err(Fallo::nuevo("por escribir"))
}
