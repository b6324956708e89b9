//! Los sucesos, según pasan, para quien los mira en la página del nodo.
//!
//! Sin espectadores no cuesta nada. Con ellos, de lo que pasa se enseña lo que da tiempo a mirar:
//! lo demás se salta y se dice cuánto fue. Quien atiende a tope no lo nota. No sabe de HTTP: la
//! página, en `nodo/web/vivo.rs`.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};

use crate::laboratorio::suceso::Apunte;
use crate::red::parada::Parada;

/// Espectadores a la vez: cada uno ocupa un hilo.
pub const MAX_ESPECTADORES: usize = 8;
/// Sucesos que esperan a que un espectador los lea; con más, se le saltan.
const COLA: usize = 256;
/// Microsegundos de un rato.
const RATO: u64 = 100_000;
/// Sucesos que se enseñan en un rato: nadie lee más deprisa.
const POR_RATO: u64 = 50;
/// En el cupo, los bits de abajo cuentan los enseñados; los de arriba son el rato.
const BITS_DE_CUENTA: u32 = 16;

/// Los espectadores de un nodo.
#[derive(Default)]
pub struct Vivo {
    cuantos: AtomicUsize,
    /// El rato de que se trata y cuántos se han enseñado en él, juntos: se miran sin cerrojo, y lo
    /// que no cabe no cuesta más que esto.
    cupo: AtomicU64,
    /// Los que no cupieron, desde siempre.
    saltados: AtomicU64,
    sala: Mutex<SalaDeVivo>,
}

#[derive(Default)]
struct SalaDeVivo {
    butacas: Vec<Butaca>,
    siguiente: usize,
}

struct Butaca {
    numero: usize,
    con_textos: bool,
    mandar: Sender<Arc<str>>,
    /// Los que no cupieron en su cola y aún no se le han dicho.
    perdidos: u64,
}

/// Quien mira. Al soltarlo deja su sitio.
pub struct Espectador {
    vivo: Arc<Vivo>,
    numero: usize,
    lineas: Receiver<Arc<str>>,
    /// De los saltados por todos, los que ya se le dijeron.
    dichos: u64,
}

impl Vivo {
    /// ¿Mira alguien?
    pub fn hay(&self) -> bool {
        self.cuantos.load(Ordering::Relaxed) > 0
    }

    /// Empieza a mirar. `None` si no queda sitio.
    pub fn mirar(self: &Arc<Self>, con_textos: bool) -> Option<Espectador> {
        self.con(|sala| {
            if sala.butacas.len() >= MAX_ESPECTADORES {
                return None;
            }
            let (mandar, lineas) = bounded(COLA);
            sala.siguiente += 1;
            let numero = sala.siguiente;
            sala.butacas.push(Butaca {
                numero,
                con_textos,
                mandar,
                perdidos: 0,
            });
            self.cuantos.store(sala.butacas.len(), Ordering::Relaxed);
            Some(Espectador {
                vivo: Arc::clone(self),
                numero,
                lineas,
                dichos: self.saltados.load(Ordering::Relaxed),
            })
        })
    }

    /// Si da tiempo a mirar algo que pasa en `t`, le toma sitio.
    pub fn hay_sitio(&self, t: u64) -> bool {
        let rato = t / RATO;
        let uno_mas = |cupo: u64| {
            let ensenados = cupo & ((1 << BITS_DE_CUENTA) - 1);
            match cupo >> BITS_DE_CUENTA == rato {
                true => (ensenados < POR_RATO).then_some(cupo + 1),
                false => Some(rato << BITS_DE_CUENTA | 1),
            }
        };
        let (al_poner, al_mirar) = (Ordering::Relaxed, Ordering::Relaxed);
        let tomado = self.cupo.fetch_update(al_poner, al_mirar, uno_mas);
        tomado.is_ok()
    }

    /// Cuenta los que no tuvieron sitio. Van juntos: con el nodo a tope, que todos los hilos sumen
    /// aquí a cada suceso se nota.
    pub fn saltar(&self, cuantos: u64) {
        if cuantos > 0 {
            self.saltados.fetch_add(cuantos, Ordering::Relaxed);
        }
    }

    /// Enseña a quienes miran un suceso que tiene sitio.
    pub fn ensenar(&self, apunte: &Apunte) {
        let callado = Apunte {
            texto: "",
            ..*apunte
        };
        let (entera, sin_texto) = (apunte.en_json().into(), callado.en_json().into());
        self.con(|sala| {
            for butaca in &mut sala.butacas {
                let linea = if butaca.con_textos {
                    &entera
                } else {
                    &sin_texto
                };
                // A quien no da abasto se le salta: no se espera a nadie.
                if butaca.mandar.try_send(Arc::clone(linea)).is_err() {
                    butaca.perdidos += 1;
                }
            }
        });
    }

    fn con<T>(&self, hacer: impl FnOnce(&mut SalaDeVivo) -> T) -> T {
        hacer(&mut self.sala.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Espectador {
    /// Lo que pasó, una línea JSON por suceso, y `{"saltados":n}` si no se enseñó todo. Espera a
    /// que haya algo: `plazo` como mucho, y entonces no da ninguna. `None`: hay que dejarlo.
    pub fn siguientes(&mut self, plazo: Duration, parada: &Parada) -> Option<Vec<Arc<str>>> {
        let primera = select! {
            recv(parada.canal()) -> _ => return None,
            recv(self.lineas) -> linea => linea.ok(),
            default(plazo) => None,
        };
        let mut lineas: Vec<Arc<str>> = primera.into_iter().collect();
        lineas.extend(self.lineas.try_iter().take(COLA));
        let saltados = self.saltados();
        if saltados > 0 {
            lineas.push(format!("{{\"saltados\":{saltados}}}").into());
        }
        Some(lineas)
    }

    /// Cuántos se le saltaron desde la última vez.
    fn saltados(&mut self) -> u64 {
        let todos = self.vivo.saltados.load(Ordering::Relaxed);
        let de_todos = todos - std::mem::replace(&mut self.dichos, todos);
        let suyos = self.vivo.con(|sala| {
            let mut butacas = sala.butacas.iter_mut();
            let suya = butacas.find(|butaca| butaca.numero == self.numero);
            suya.map_or(0, |butaca| std::mem::take(&mut butaca.perdidos))
        });
        de_todos + suyos
    }
}

impl Drop for Espectador {
    fn drop(&mut self) {
        self.vivo.con(|sala| {
            sala.butacas.retain(|butaca| butaca.numero != self.numero);
            let quedan = sala.butacas.len();
            self.vivo.cuantos.store(quedan, Ordering::Relaxed);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laboratorio::suceso::Clase;

    fn apunte(i: u64, t: u64) -> Apunte<'static> {
        Apunte {
            i,
            t,
            nodo: "nodo1",
            hilo: "h",
            clase: Clase::Envia,
            c: 1,
            yo: "",
            otro: "",
            n: 1,
            palabra: "SI",
            texto: "secreto",
            bytes: 2,
            falla: None,
        }
    }

    fn contar(vivo: &Vivo, i: u64, t: u64) {
        match vivo.hay_sitio(t) {
            true => vivo.ensenar(&apunte(i, t)),
            false => vivo.saltar(1),
        }
    }

    fn ahora(mira: &mut Espectador) -> Vec<Arc<str>> {
        mira.siguientes(Duration::ZERO, &Parada::nueva()).unwrap()
    }

    #[test]
    fn lo_que_no_da_tiempo_a_mirar_se_salta_y_se_dice() {
        let vivo = Arc::<Vivo>::default();
        let mut mira = vivo.mirar(true).unwrap();
        (1..=60).for_each(|i| contar(&vivo, i, 5));
        let mut lineas = ahora(&mut mira);
        assert_eq!(&*lineas[POR_RATO as usize], "{\"saltados\":10}");
        contar(&vivo, 61, RATO + 5);
        lineas.extend(ahora(&mut mira));
        assert_eq!(lineas.len() as u64, POR_RATO + 2);
        // Ya se dijo: ni se repite, ni lo oye quien llega después.
        assert!(ahora(&mut mira).is_empty() && ahora(&mut vivo.mirar(true).unwrap()).is_empty());
    }

    #[test]
    fn a_quien_no_da_abasto_se_le_dice_lo_que_perdio_y_a_los_demas_no() {
        let vivo = Arc::<Vivo>::default();
        let (mut lento, mut atento) = (vivo.mirar(true).unwrap(), vivo.mirar(true).unwrap());
        for i in 0..COLA as u64 + 3 {
            contar(&vivo, i, i * RATO);
            assert_eq!(ahora(&mut atento).len(), 1);
        }
        let lineas = ahora(&mut lento);
        assert_eq!(lineas.len(), COLA + 1);
        assert_eq!(&*lineas[COLA], "{\"saltados\":3}");
    }

    #[test]
    fn caben_ocho_y_a_quien_no_es_de_aqui_no_se_le_ensenan_los_textos() {
        let vivo = Arc::<Vivo>::default();
        assert!(!vivo.hay());
        let mut miran: Vec<_> = (0..MAX_ESPECTADORES)
            .map_while(|n| vivo.mirar(n == 0))
            .collect();
        assert!(miran.len() == MAX_ESPECTADORES && vivo.mirar(true).is_none());
        contar(&vivo, 1, 0);
        let mut con_texto = |n: usize| ahora(&mut miran[n])[0].contains("secreto");
        assert!(con_texto(0) && !con_texto(1));
        drop(miran);
        assert!(!vivo.hay() && vivo.mirar(true).is_some());
    }

    #[test]
    fn al_parar_no_se_espera_nada() {
        let (vivo, parada) = (Arc::<Vivo>::default(), Parada::nueva());
        let mut mira = vivo.mirar(true).unwrap();
        parada.avisar();
        assert!(mira.siguientes(Duration::MAX, &parada).is_none());
    }
}
