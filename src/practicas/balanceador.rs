//! Pendiente.
use crate::argumentos::Balanceador;
use crate::fallo::{Fallo, Salida};
use crate::pantalla::Pantalla;

/// Pendiente.
pub fn abrir(_opciones: Balanceador, _pantalla: &mut Pantalla) -> Result<Salida, Fallo> {
    Err(Fallo::nuevo("pendiente"))
}
