//! Pendiente.
use crate::argumentos::Backend;
use crate::fallo::{Fallo, Salida};
use crate::pantalla::Pantalla;

/// Pendiente.
pub fn abrir(_opciones: Backend, _pantalla: &mut Pantalla) -> Result<Salida, Fallo> {
    Err(Fallo::nuevo("pendiente"))
}

/// Pendiente.
pub fn solicitar(
    _opciones: crate::argumentos::Solicitar,
    _pantalla: &mut Pantalla,
) -> Result<Salida, Fallo> {
    Err(Fallo::nuevo("pendiente"))
}
