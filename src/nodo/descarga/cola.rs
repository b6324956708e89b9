//! La cola de bloques de una descarga: quién baja qué, y cuándo está todo. No sabe de red ni de disco.
//!
//! Cada conexión saca un bloque, lo baja y lo da por bueno, o lo devuelve si no pudo. Una cola a la que se devuelven
//! cosas no se cierra sola al vaciarse: por eso se cuentan los que faltan. Al final, cuando ya no queda ninguno sin
//! empezar, quien esté libre pide también uno de los que baja otra fuente: una lenta no retiene a las demás.

use std::collections::{HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Fuentes que pueden bajar a la vez el mismo bloque.
const TOPE_DE_REPETIDOS: usize = 2;

/// Los bloques que faltan, compartidos entre las conexiones de una descarga.
pub struct Cola {
    estado: Mutex<Estado>,
    cambio: Condvar,
}

struct Estado {
    sin_empezar: VecDeque<u64>,
    /// Los que alguien está bajando: qué fuentes, y en qué orden se empezaron.
    en_vuelo: HashMap<u64, EnVuelo>,
    turno: u64,
    /// Los que aún no están dados por buenos.
    faltan: u64,
    cerrada: bool,
}

struct EnVuelo {
    fuentes: Vec<usize>,
    turno: u64,
}

impl Cola {
    /// Una cola con esos bloques por bajar.
    pub fn nueva(bloques: impl IntoIterator<Item = u64>) -> Cola {
        let sin_empezar: VecDeque<u64> = bloques.into_iter().collect();
        let faltan = sin_empezar.len() as u64;
        let estado = Estado {
            sin_empezar,
            en_vuelo: HashMap::new(),
            turno: 0,
            faltan,
            cerrada: false,
        };
        Cola {
            estado: Mutex::new(estado),
            cambio: Condvar::new(),
        }
    }

    /// El siguiente bloque para `fuente`. Espera si los que quedan los baja ya esa misma fuente (pueden volver).
    /// `None` cuando está todo, se cerró, o `sigue` dice que esa fuente ya no.
    pub fn sacar(&self, fuente: usize, sigue: impl Fn() -> bool) -> Option<u64> {
        let mut estado = self.estado();
        loop {
            if estado.cerrada || estado.faltan == 0 || !sigue() {
                return None;
            }
            if let Some(bloque) = estado.elegir(fuente) {
                return Some(bloque);
            }
            estado = self
                .cambio
                .wait(estado)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// ¿Hace falta aún este bloque? (Otra fuente pudo darlo antes.)
    pub fn hace_falta(&self, bloque: u64) -> bool {
        self.estado().en_vuelo.contains_key(&bloque)
    }

    /// `bloque` está comprobado y guardado. Cuántos faltan ahora; `None` si otra fuente lo dio antes (no cuenta dos
    /// veces).
    pub fn dar_por_bueno(&self, bloque: u64) -> Option<u64> {
        let mut estado = self.estado();
        estado.en_vuelo.remove(&bloque)?;
        estado.faltan -= 1;
        let faltan = estado.faltan;
        drop(estado);
        self.cambio.notify_all();
        Some(faltan)
    }

    /// `fuente` no pudo con `bloque`: vuelve a la cola, salvo que otra lo esté bajando o ya esté.
    pub fn devolver(&self, bloque: u64, fuente: usize) {
        let mut estado = self.estado();
        let Some(en_vuelo) = estado.en_vuelo.get_mut(&bloque) else {
            return;
        };
        if let Some(donde) = en_vuelo.fuentes.iter().position(|f| *f == fuente) {
            en_vuelo.fuentes.swap_remove(donde);
        }
        if en_vuelo.fuentes.is_empty() {
            estado.en_vuelo.remove(&bloque);
            estado.sin_empezar.push_front(bloque);
        }
        drop(estado);
        self.cambio.notify_all();
    }

    /// Cuántos bloques no están dados por buenos.
    pub fn faltan(&self) -> u64 {
        self.estado().faltan
    }

    /// Hace que quien espera vuelva a mirar si sigue.
    pub fn despertar(&self) {
        // Con el cerrojo: así nadie está entre mirar y ponerse a esperar.
        drop(self.estado());
        self.cambio.notify_all();
    }

    /// Ya no se baja más: todos los que sacan reciben `None`.
    pub fn cerrar(&self) {
        self.estado().cerrada = true;
        self.cambio.notify_all();
    }

    fn estado(&self) -> MutexGuard<'_, Estado> {
        self.estado.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Estado {
    fn elegir(&mut self, fuente: usize) -> Option<u64> {
        self.turno += 1;
        let turno = self.turno;
        if let Some(bloque) = self.sin_empezar.pop_front() {
            self.en_vuelo.insert(
                bloque,
                EnVuelo {
                    fuentes: vec![fuente],
                    turno,
                },
            );
            return Some(bloque);
        }
        // El que lleva más tiempo en vuelo es el que más probablemente esté atascado.
        let (bloque, en_vuelo) = self
            .en_vuelo
            .iter_mut()
            .filter(|(_, v)| v.fuentes.len() < TOPE_DE_REPETIDOS && !v.fuentes.contains(&fuente))
            .min_by_key(|(_, v)| v.turno)?;
        en_vuelo.fuentes.push(fuente);
        Some(*bloque)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread;

    fn si() -> bool {
        true
    }

    #[test]
    fn cada_bloque_una_vez_y_luego_se_ayuda() {
        let cola = Cola::nueva(0..3);
        assert_eq!(
            (cola.sacar(0, si), cola.sacar(1, si), cola.sacar(1, si)),
            (Some(0), Some(1), Some(2))
        );
        // Sin ninguno por empezar, la 0 ayuda con el más viejo que no sea suyo.
        assert_eq!(cola.sacar(0, si), Some(1));
        assert_eq!(cola.dar_por_bueno(1), Some(2));
        assert!(!cola.hace_falta(1) && cola.hace_falta(2));
        assert_eq!(
            cola.dar_por_bueno(1),
            None,
            "el segundo que llega no cuenta"
        );
        assert_eq!(
            (cola.dar_por_bueno(0), cola.dar_por_bueno(2)),
            (Some(1), Some(0))
        );
        assert_eq!(cola.sacar(0, si), None);
    }

    #[test]
    fn un_bloque_devuelto_lo_toma_quien_esperaba() {
        let cola = Cola::nueva([7]);
        assert_eq!(cola.sacar(0, si), Some(7));
        thread::scope(|ambito| {
            // La misma fuente no repite su propio bloque: espera a ver si vuelve.
            let espera = ambito.spawn(|| cola.sacar(0, si));
            cola.devolver(7, 0);
            assert_eq!(espera.join().unwrap(), Some(7));
        });
    }

    #[test]
    fn devolver_uno_repetido_no_lo_pone_dos_veces() {
        let cola = Cola::nueva([7]);
        assert_eq!((cola.sacar(0, si), cola.sacar(1, si)), (Some(7), Some(7)));
        cola.devolver(7, 0);
        assert_eq!(cola.dar_por_bueno(7), Some(0));
        cola.devolver(7, 1);
        assert_eq!(cola.sacar(2, si), None);
    }

    #[test]
    fn cerrar_suelta_a_quien_espera() {
        let cola = Cola::nueva([1]);
        cola.sacar(0, si);
        thread::scope(|ambito| {
            let espera = ambito.spawn(|| cola.sacar(0, si));
            cola.cerrar();
            assert_eq!(espera.join().unwrap(), None);
        });
        assert_eq!(cola.faltan(), 1);
    }

    #[test]
    fn muchos_hilos_que_fallan_la_mitad_acaban_con_todo() {
        let cola = Cola::nueva(0..500);
        let buenos = AtomicU64::new(0);
        thread::scope(|ambito| {
            for fuente in 0..8 {
                let (cola, buenos) = (&cola, &buenos);
                ambito.spawn(move || {
                    let mut n = fuente;
                    while let Some(bloque) = cola.sacar(fuente, si) {
                        n += 1;
                        if n % 2 == 0 {
                            cola.devolver(bloque, fuente);
                        } else {
                            let cuenta = cola.dar_por_bueno(bloque).is_some();
                            buenos.fetch_add(u64::from(cuenta), Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(cola.faltan(), 0);
        assert_eq!(buenos.into_inner(), 500);
    }
}
