//! El menú de la guía, en el hilo principal.
use crate::config::Config;
use crate::fallo::{Fallo, Salida};
use crate::pantalla::Pantalla;

/// Abre el menú.
pub fn abrir(_config: Config, _pantalla: &mut Pantalla) -> Result<Salida, Fallo> {
    Err(Fallo::nuevo("pendiente"))
}

/// El nodo sin menú.
pub fn servir(_config: Config, _pantalla: &mut Pantalla) -> Result<Salida, Fallo> {
    Err(Fallo::nuevo("pendiente"))
}
