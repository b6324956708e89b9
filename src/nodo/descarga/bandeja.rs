//! Dónde se recibe un bloque antes de comprobarlo: unas pocas bandejas, que se reutilizan.
//!
//! Un bloque está entero en memoria hasta que se sabe si es bueno. Con un tope de bandejas, la de
//! una descarga no crece con las fuentes que haya ni con las conexiones que se abran.

use std::ops::{Deref, DerefMut};
use std::sync::Mutex;
use std::time::Duration;

use crate::red::parada::{Parada, cerrojo};
use crate::red::turnos::{Turno, Turnos};

/// Con bloques de 4 MiB, 52 MiB: con lo demás, quien baja no pasa de 64.
const BANDEJAS: usize = 13;

/// Las de una descarga.
pub struct Bandejas {
    turnos: Turnos,
    libres: Mutex<Vec<Vec<u8>>>,
}

/// Una bandeja; al soltarla puede usarla otro.
pub struct Bandeja<'a> {
    bytes: Vec<u8>,
    de: &'a Bandejas,
    _turno: Turno,
}

impl Bandejas {
    /// Todas libres, y sin gastar nada todavía.
    pub fn nuevas() -> Bandejas {
        Bandejas {
            turnos: Turnos::nuevos(BANDEJAS),
            libres: Mutex::default(),
        }
    }

    /// Una, cuando la haya: la última que se soltó, que aún estará en la caché del procesador.
    pub fn tomar(&self, espera: Duration, parada: &Parada) -> Option<Bandeja<'_>> {
        let turno = self.turnos.pedir(espera, parada)?;
        let bytes = cerrojo(&self.libres).pop().unwrap_or_default();
        Some(Bandeja {
            bytes,
            de: self,
            _turno: turno,
        })
    }
}

impl Deref for Bandeja<'_> {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for Bandeja<'_> {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl Drop for Bandeja<'_> {
    fn drop(&mut self) {
        // Antes que el turno: quien lo espera la encuentra.
        cerrojo(&self.de.libres).push(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_hay_mas_de_las_que_hay_y_se_reutilizan() {
        let (bandejas, parada) = (Bandejas::nuevas(), Parada::nueva());
        let tomar = || bandejas.tomar(Duration::ZERO, &parada);
        let mut todas: Vec<_> = std::iter::from_fn(tomar).collect();
        assert_eq!(todas.len(), BANDEJAS);
        todas[3].resize(100, 7);
        todas.swap_remove(3);
        assert_eq!(tomar().unwrap().capacity(), 100);
        drop(todas);
        assert_eq!(cerrojo(&bandejas.libres).len(), BANDEJAS);
    }
}
