//! Pendiente.
use crate::argumentos::Chat;
use crate::fallo::{Fallo, Salida};
use crate::pantalla::Pantalla;

/// Pendiente.
pub fn abrir(_opciones: Chat, _pantalla: &mut Pantalla) -> Result<Salida, Fallo> {
    Err(Fallo::nuevo("pendiente"))
}
