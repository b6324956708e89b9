//! Los tramos que se mandan a la vez: cuántos, y de qué bloques.
//!
//! Con muchos a medias ninguno acabaría pronto, y los demás no tendrían qué repartir. Con `--ritmo`
//! hay menos turnos, y además no se manda a dos el mismo bloque: el segundo lo podrá pedir al
//! primero, y mientras tanto se manda otro. Si el primero se queda parado, sí: nadie espera por él.
//! No sabe de red ni de disco.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::nodo::carpeta::huella::BLOQUE;
use crate::red::parada::cerrojo;
use crate::red::turnos::{Turno, Turnos};

/// Tramos que se mandan a la vez, si no se dice otra cosa.
const SIN_RITMO: usize = 16;
/// Con `--ritmo`.
const CON_RITMO: usize = 4;
/// El doble de lo que miden los bloques que caben a la vez con `--ritmo`, en bytes.
const DOS_TANDAS: f64 = (2 * CON_RITMO as u64 * BLOQUE) as f64;

/// Un bloque entero de un archivo: cuál es el archivo en el disco, y en qué byte empieza.
pub type BloqueDe = ((u64, u64), u64);

/// Los turnos de mandar.
pub struct Ventanilla {
    turnos: Turnos,
    /// Los bloques que se están mandando, si no se mandan a dos.
    bloques: Option<Mandandose>,
}

/// Los bloques que se están mandando, y desde cuándo.
struct Mandandose {
    bloques: Mutex<Vec<(BloqueDe, Instant)>>,
    /// Lo que tarda uno, con holgura: el doble de lo que tardan los que caben a la vez.
    plazo: Duration,
}

/// El turno de mandar un tramo. Al soltarlo pasa el siguiente.
pub struct Atendido<'a> {
    _turno: Turno,
    /// Dónde está apuntado, y cuál es.
    apuntado: Option<(&'a Mandandose, (BloqueDe, Instant))>,
}

impl Ventanilla {
    /// La de un nodo que sirve a tantos bytes por segundo, o tan deprisa como puede.
    pub fn nueva(ritmo: Option<u64>) -> Ventanilla {
        let mandandose = |por_segundo: u64| Mandandose {
            bloques: Mutex::default(),
            plazo: Duration::from_secs_f64(DOS_TANDAS / por_segundo.max(1) as f64),
        };
        Ventanilla {
            turnos: Turnos::nuevos(ritmo.map_or(SIN_RITMO, |_| CON_RITMO)),
            bloques: ritmo.map(mandandose),
        }
    }

    /// El turno de mandar eso, si ahora cabe: un bloque o, si no se dice cuál, otro tramo. A quien
    /// acaba de llegar se le da el que quiera: aún no sabe a quién más pedir.
    pub fn tomar(&self, bloque: Option<BloqueDe>, recien: bool) -> Option<Atendido<'_>> {
        let turno = self.turnos.tomar()?;
        let apuntado = match (&self.bloques, bloque) {
            (Some(mandandose), Some(bloque)) => {
                let mut bloques = cerrojo(&mandandose.bloques);
                let se_manda = |(otro, desde): &(_, Instant)| {
                    *otro == bloque && desde.elapsed() < mandandose.plazo
                };
                if !recien && bloques.iter().any(se_manda) {
                    return None;
                }
                let apuntado = (bloque, Instant::now());
                bloques.push(apuntado);
                Some((mandandose, apuntado))
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
        let Some((mandandose, suyo)) = self.apuntado else {
            return;
        };
        let mut bloques = cerrojo(&mandandose.bloques);
        if let Some(lugar) = bloques.iter().position(|otro| *otro == suyo) {
            bloques.swap_remove(lugar);
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
        let ventanilla = Ventanilla::nueva(Some(1_000_000));
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
        let ventanilla = Ventanilla::nueva(None);
        let todos: Vec<_> = (0..SIN_RITMO)
            .filter_map(|_| ventanilla.tomar(UNO, false))
            .collect();
        assert_eq!(todos.len(), SIN_RITMO);
        assert!(ventanilla.tomar(OTRO, true).is_none());
    }

    #[test]
    fn quien_se_para_no_retiene_su_bloque() {
        // A ese ritmo, dos tandas son unos milisegundos.
        let ventanilla = Ventanilla::nueva(Some(10_000_000_000));
        let _parado = ventanilla.tomar(UNO, true);
        let empezo = Instant::now();
        while ventanilla.tomar(UNO, false).is_none() {
            assert!(empezo.elapsed() < Duration::from_secs(10));
        }
    }
}
