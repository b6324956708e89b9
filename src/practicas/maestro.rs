//! Pendiente.
use crate::argumentos::Maestro;
use crate::fallo::{Fallo, Salida};
use crate::pantalla::Pantalla;

/// Pendiente.
pub fn abrir(_opciones: Maestro, _pantalla: &mut Pantalla) -> Result<Salida, Fallo> {
    Err(Fallo::nuevo("pendiente"))
}
