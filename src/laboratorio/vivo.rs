//! Los sucesos, según pasan, para quien los mira en la página del nodo.
//!
//! Sin espectadores no cuesta nada. Con ellos, de lo que pasa se enseña lo que da tiempo a mirar:
//! lo demás se salta y se dice cuánto fue. Quien atiende a tope no lo nota. No sabe de HTTP: la
//! página, en `nodo/web/`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::laboratorio::suceso::Apunte;

/// Espectadores a la vez: cada uno ocupa un hilo.
pub const MAX_ESPECTADORES: usize = 8;
/// Sucesos que esperan a que un espectador los lea; con más, se le saltan.
const COLA: usize = 256;
/// Microsegundos de un rato.
const RATO: u64 = 100_000;
/// Sucesos que se enseñan en un rato: nadie lee más deprisa.
const POR_RATO: u64 = 50;

/// Los espectadores de un nodo.
#[derive(Default)]
pub struct Vivo {
    cuantos: AtomicUsize,
    sala: Mutex<SalaDeVivo>,
}

#[derive(Default)]
struct SalaDeVivo {
    butacas: Vec<Butaca>,
    siguiente: usize,
    rato: u64,
    ensenados: u64,
    saltados: u64,
}

struct Butaca {
    numero: usize,
    con_textos: bool,
    mandar: Sender<Arc<str>>,
}

/// Quien mira. Al soltarlo deja su sitio.
pub struct Espectador<'a> {
    vivo: &'a Vivo,
    numero: usize,
    /// Por donde llegan las líneas, en JSON: un suceso, o `{"saltados":n}`.
    pub lineas: Receiver<Arc<str>>,
}

impl Vivo {
    /// ¿Mira alguien?
    pub fn hay(&self) -> bool {
        self.cuantos.load(Ordering::Relaxed) > 0
    }

    /// Empieza a mirar. `None` si no queda sitio.
    pub fn mirar(&self, con_textos: bool) -> Option<Espectador<'_>> {
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
            });
            self.cuantos.store(sala.butacas.len(), Ordering::Relaxed);
            Some(Espectador {
                vivo: self,
                numero,
                lineas,
            })
        })
    }

    /// Enseña un suceso a quienes miran.
    pub fn contar(&self, apunte: &Apunte) {
        self.con(|sala| {
            if apunte.t / RATO != sala.rato {
                sala.rato = apunte.t / RATO;
                sala.ensenados = 0;
                let saltados = std::mem::take(&mut sala.saltados);
                if saltados > 0 {
                    let linea: Arc<str> = format!("{{\"saltados\":{saltados}}}").into();
                    sala.mandar(|_| Arc::clone(&linea));
                }
            }
            if sala.ensenados == POR_RATO {
                sala.saltados += 1;
                return;
            }
            sala.ensenados += 1;
            let callado = Apunte {
                texto: "",
                ..*apunte
            };
            let (entera, sin_texto) = (en_json(apunte), en_json(&callado));
            sala.mandar(|con_textos| match con_textos {
                true => Arc::clone(&entera),
                false => Arc::clone(&sin_texto),
            });
        });
    }

    fn con<T>(&self, hacer: impl FnOnce(&mut SalaDeVivo) -> T) -> T {
        hacer(&mut self.sala.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl SalaDeVivo {
    fn mandar(&self, linea: impl Fn(bool) -> Arc<str>) {
        for butaca in &self.butacas {
            // A quien no da abasto se le salta: no se espera a nadie.
            let _ = butaca.mandar.try_send(linea(butaca.con_textos));
        }
    }
}

fn en_json(apunte: &Apunte) -> Arc<str> {
    let mut linea = Vec::new();
    // En memoria no hay escritura que falle.
    let _ = apunte.escribir(&mut linea);
    String::from_utf8_lossy(&linea).into()
}

impl Drop for Espectador<'_> {
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

    #[test]
    fn lo_que_no_da_tiempo_a_mirar_se_salta_y_se_dice() {
        let vivo = Vivo::default();
        let mira = vivo.mirar(true).unwrap();
        (1..=60).for_each(|i| vivo.contar(&apunte(i, 5)));
        vivo.contar(&apunte(61, RATO + 5));
        let lineas: Vec<_> = mira.lineas.try_iter().collect();
        assert_eq!(lineas.len() as u64, POR_RATO + 2);
        assert_eq!(&*lineas[POR_RATO as usize], "{\"saltados\":10}");
    }

    #[test]
    fn caben_ocho_y_a_quien_no_es_de_aqui_no_se_le_ensenan_los_textos() {
        let vivo = Vivo::default();
        assert!(!vivo.hay());
        let miran: Vec<_> = (0..MAX_ESPECTADORES)
            .map_while(|n| vivo.mirar(n == 0))
            .collect();
        assert!(miran.len() == MAX_ESPECTADORES && vivo.mirar(true).is_none());
        vivo.contar(&apunte(1, 0));
        let con_texto = |n: usize| miran[n].lineas.try_recv().unwrap().contains("secreto");
        assert!(con_texto(0) && !con_texto(1));
        drop(miran);
        assert!(!vivo.hay() && vivo.mirar(true).is_some());
    }
}
