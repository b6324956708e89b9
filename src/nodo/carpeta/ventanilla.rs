//! Los tramos que se mandan a la vez: cuántos, y de qué bloques.
//!
//! Con muchos a medias ninguno acabaría pronto, y los demás no tendrían qué repartir. Con `--ritmo`
//! hay menos turnos, y además no se manda a dos el mismo bloque: el segundo lo podrá pedir al
//! primero, y mientras tanto se manda otro. No sabe de red ni de disco.

use std::sync::Mutex;

use crate::red::parada::cerrojo;
use crate::red::turnos::{Turno, Turnos};

/// Tramos que se mandan a la vez, si no se dice otra cosa.
const SIN_RITMO: usize = 16;
/// Con `--ritmo`.
const CON_RITMO: usize = 4;

/// Un bloque entero de un archivo: cuál es el archivo en el disco, y en qué byte empieza.
pub type BloqueDe = ((u64, u64), u64);

/// Los turnos de mandar.
pub struct Ventanilla {
    turnos: Turnos,
    /// Los bloques que se están mandando, si no se mandan a dos.
    bloques: Option<Mutex<Vec<BloqueDe>>>,
}

/// El turno de mandar un tramo. Al soltarlo pasa el siguiente.
pub struct Atendido<'a> {
    _turno: Turno,
    /// El bloque, y dónde está apuntado.
    apuntado: Option<(&'a Mutex<Vec<BloqueDe>>, BloqueDe)>,
}

impl Ventanilla {
    /// La de un nodo que sirve a un ritmo, o tan deprisa como puede.
    pub fn nueva(con_ritmo: bool) -> Ventanilla {
        Ventanilla {
            turnos: Turnos::nuevos(if con_ritmo { CON_RITMO } else { SIN_RITMO }),
            bloques: con_ritmo.then(Mutex::default),
        }
    }

    /// El turno de mandar eso, si ahora cabe: un bloque o, si no se dice cuál, otro tramo. A quien
    /// acaba de llegar se le da el que quiera: aún no sabe a quién más pedir.
    pub fn tomar(&self, bloque: Option<BloqueDe>, recien: bool) -> Option<Atendido<'_>> {
        let turno = self.turnos.tomar()?;
        let apuntado = match (&self.bloques, bloque) {
            (Some(bloques), Some(bloque)) => {
                let mut apuntados = cerrojo(bloques);
                if apuntados.contains(&bloque) && !recien {
                    return None;
                }
                apuntados.push(bloque);
                Some((bloques, bloque))
            }
            _ => None,
        };
        Some(Atendido {
            _turno: turno,
            apuntado,
        })
    }
}

impl Drop for Atendido<'_> {
    fn drop(&mut self) {
        let Some((bloques, bloque)) = self.apuntado else {
            return;
        };
        let mut apuntados = cerrojo(bloques);
        if let Some(lugar) = apuntados.iter().position(|otro| *otro == bloque) {
            apuntados.swap_remove(lugar);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNO: Option<BloqueDe> = Some(((1, 1), 0));
    const OTRO: Option<BloqueDe> = Some(((1, 1), 4));

    #[test]
    fn con_ritmo_cuatro_a_la_vez_y_el_mismo_bloque_solo_a_quien_llega() {
        let ventanilla = Ventanilla::nueva(true);
        let primero = ventanilla.tomar(UNO, true);
        assert!(primero.is_some() && ventanilla.tomar(UNO, false).is_none());
        let (otro, repetido) = (ventanilla.tomar(OTRO, false), ventanilla.tomar(UNO, true));
        assert!(otro.is_some() && repetido.is_some());
        let corto = ventanilla.tomar(None, false);
        assert!(
            corto.is_some() && ventanilla.tomar(None, true).is_none(),
            "son cuatro"
        );
        drop(primero);
        assert!(
            ventanilla.tomar(UNO, false).is_none(),
            "aún se manda a otro"
        );
        drop(repetido);
        assert!(ventanilla.tomar(UNO, false).is_some());
    }

    #[test]
    fn sin_ritmo_caben_mas_y_se_repiten() {
        let ventanilla = Ventanilla::nueva(false);
        let todos: Vec<_> = (0..SIN_RITMO)
            .filter_map(|_| ventanilla.tomar(UNO, false))
            .collect();
        assert_eq!(todos.len(), SIN_RITMO);
        assert!(ventanilla.tomar(OTRO, true).is_none());
    }
}
