//! `nodo informe`: por escribir.

use std::path::{Path, PathBuf};

use crate::consola::Consola;
use crate::fallo::{Fallo, Salida};

/// `nodo informe`.
pub fn abrir(_: &[PathBuf], _: Option<&Path>, _: &mut Consola) -> Result<Salida, Fallo> {
    Err(Fallo::nuevo("por escribir"))
}
