//! `nodo diagrama`: por escribir.

use std::path::{Path, PathBuf};

use crate::consola::Consola;
use crate::fallo::{Fallo, Salida};
use crate::laboratorio::Formato;

/// `nodo diagrama`.
pub fn abrir(
    _: &[PathBuf],
    _: Option<&Path>,
    _: Formato,
    _: &mut Consola,
) -> Result<Salida, Fallo> {
    Err(Fallo::nuevo("por escribir"))
}
