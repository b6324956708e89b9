//! La cola de bloques de una descarga: quién baja qué, y cuándo está todo. No sabe de red ni de
//! disco.
//!
//! Cada conexión saca un bloque, lo baja y lo guarda, o lo devuelve si no pudo. Una cola a la que
//! se devuelven cosas no se cierra sola al vaciarse: por eso se cuentan los que faltan. Al final,
//! cuando ya no queda ninguno sin pedir, quien esté libre pide también uno que otra fuente lleve
//! demasiado bajando: ninguna lenta retiene a las demás, por muchas que haya.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::red::parada::cerrojo;

/// Cada vez que un bloque lleva esto sin llegar se puede pedir a una fuente más.
const OTRA_COPIA: Duration = Duration::from_secs(5);

/// Los bloques que faltan, compartidos entre las conexiones de una descarga.
pub struct Cola {
    bloques: Mutex<Bloques>,
    cambio: Condvar,
    otra_copia: Duration,
}

#[derive(Default)]
struct Bloques {
    sin_pedir: VecDeque<u64>,
    en_vuelo: HashMap<u64, EnVuelo>,
    /// Los que aún no están guardados.
    faltan: u64,
    /// Conexiones que están sacando bloques.
    conexiones: usize,
    /// Fuentes que ya no sacan más.
    echadas: HashSet<usize>,
    /// ¿Llegó ya alguno bueno?
    empezada: bool,
    /// Buenos que se están escribiendo ahora.
    guardandose: usize,
    cerrada: bool,
}

/// Un bloque pedido: a qué fuentes, y cuándo la primera vez.
struct EnVuelo {
    fuentes: Vec<usize>,
    desde: Instant,
}

impl Cola {
    /// La de un archivo de tantos bloques: faltan todos, y ninguno se puede pedir hasta saber
    /// cuáles se tienen.
    pub fn nueva(cuantos: u64) -> Cola {
        Cola::con_plazo(cuantos, OTRA_COPIA)
    }

    fn con_plazo(cuantos: u64, otra_copia: Duration) -> Cola {
        let bloques = Bloques {
            faltan: cuantos,
            ..Bloques::default()
        };
        Cola {
            bloques: Mutex::new(bloques),
            cambio: Condvar::new(),
            otra_copia,
        }
    }

    /// De todos, estos no hace falta bajarlos y estos otros sí. Cuántos faltan.
    pub fn empezar(&self, buenos: &[u64], por_bajar: Vec<u64>) -> u64 {
        let mut bloques = cerrojo(&self.bloques);
        bloques.faltan -= buenos.len() as u64;
        bloques.sin_pedir = por_bajar.into();
        let faltan = bloques.faltan;
        self.avisar(bloques);
        faltan
    }

    /// Estos, que se dieron por buenos, no lo estaban.
    pub fn anadir(&self, malos: Vec<u64>) {
        let mut bloques = cerrojo(&self.bloques);
        bloques.faltan += malos.len() as u64;
        bloques.sin_pedir.extend(malos);
        self.avisar(bloques);
    }

    /// Una conexión más se pone a sacar bloques.
    pub fn entrar(&self) {
        cerrojo(&self.bloques).conexiones += 1;
    }

    /// Una conexión deja de sacar bloques.
    pub fn salir(&self) {
        cerrojo(&self.bloques).conexiones -= 1;
    }

    /// El siguiente bloque para `fuente`. Si no hay ninguno que pueda pedir, espera. `None` cuando
    /// está todo, se cerró o se la echó.
    pub fn sacar(&self, fuente: usize) -> Option<u64> {
        let mut bloques = cerrojo(&self.bloques);
        while bloques.sigue(fuente) {
            let espera = match bloques.elegir(fuente, self.otra_copia) {
                Ok(bloque) => return Some(bloque),
                Err(espera) => espera,
            };
            // También puede volver a la cola alguno de los que bajan otras, o ella misma.
            bloques = self.esperar(bloques, espera);
        }
        None
    }

    /// Otro bloque para quien ya espera uno, si quedan sin pedir para todas las conexiones. No
    /// espera.
    pub fn sacar_otro(&self, fuente: usize) -> Option<u64> {
        let mut bloques = cerrojo(&self.bloques);
        let sobran = bloques.sin_pedir.len() >= bloques.conexiones;
        if !sobran || !bloques.sigue(fuente) {
            return None;
        }
        bloques.sacar_sin_pedir(fuente)
    }

    /// `bloque` llegó bien y se va a guardar. Falso si otra fuente se adelantó o se cerró la cola.
    pub fn empezar_a_guardar(&self, bloque: u64) -> bool {
        let mut bloques = cerrojo(&self.bloques);
        let hace_falta = !bloques.cerrada && bloques.en_vuelo.remove(&bloque).is_some();
        bloques.empezada |= hace_falta;
        bloques.guardandose += usize::from(hace_falta);
        hace_falta
    }

    /// Ya está guardado. Cuántos faltan ahora.
    pub fn guardado(&self) -> u64 {
        let mut bloques = cerrojo(&self.bloques);
        bloques.guardandose -= 1;
        bloques.faltan -= 1;
        let faltan = bloques.faltan;
        self.avisar(bloques);
        faltan
    }

    /// `fuente` no pudo con `bloque`: vuelve a la cola, salvo que otra lo esté bajando o ya esté.
    pub fn devolver(&self, bloque: u64, fuente: usize) {
        let mut bloques = cerrojo(&self.bloques);
        let Some(en_vuelo) = bloques.en_vuelo.get_mut(&bloque) else {
            return;
        };
        en_vuelo.fuentes.retain(|otra| *otra != fuente);
        if en_vuelo.fuentes.is_empty() {
            bloques.en_vuelo.remove(&bloque);
            bloques.sin_pedir.push_front(bloque);
        }
        self.avisar(bloques);
    }

    /// Cuántos bloques no están guardados.
    pub fn faltan(&self) -> u64 {
        cerrojo(&self.bloques).faltan
    }

    /// `fuente` ya no saca más, por ninguna de sus conexiones.
    pub fn echar(&self, fuente: usize) {
        let mut bloques = cerrojo(&self.bloques);
        bloques.echadas.insert(fuente);
        self.avisar(bloques);
    }

    /// ¿Llegó ya algún bloque bueno?
    pub fn empezada(&self) -> bool {
        cerrojo(&self.bloques).empezada
    }

    /// La cierra para bajar otra cosa, y desde entonces nadie escribe nada de esta. Falso si ya
    /// llegó un bloque bueno y no se hace `aunque_empezara`: entonces sigue.
    pub fn abandonar(&self, aunque_empezara: bool) -> bool {
        let mut bloques = cerrojo(&self.bloques);
        if bloques.empezada && !aunque_empezara {
            return false;
        }
        while bloques.guardandose > 0 && !bloques.cerrada {
            bloques = self.esperar(bloques, self.otra_copia);
        }
        bloques.cerrada = true;
        self.avisar(bloques);
        true
    }

    /// Ya no se baja más: todos los que sacan reciben `None`.
    pub fn cerrar(&self) {
        let mut bloques = cerrojo(&self.bloques);
        bloques.cerrada = true;
        self.avisar(bloques);
    }

    /// ¿Se cerró?
    pub fn cerrada(&self) -> bool {
        cerrojo(&self.bloques).cerrada
    }

    fn esperar<'a>(
        &self,
        bloques: MutexGuard<'a, Bloques>,
        plazo: Duration,
    ) -> MutexGuard<'a, Bloques> {
        let esperado = self.cambio.wait_timeout(bloques, plazo);
        esperado.unwrap_or_else(PoisonError::into_inner).0
    }

    fn avisar(&self, bloques: MutexGuard<'_, Bloques>) {
        drop(bloques);
        self.cambio.notify_all();
    }
}

impl Bloques {
    fn sigue(&self, fuente: usize) -> bool {
        !self.cerrada && self.faltan > 0 && !self.echadas.contains(&fuente)
    }

    /// Un bloque para una fuente libre; si no lo hay, cuánto falta para que pueda haberlo.
    fn elegir(&mut self, fuente: usize, otra_copia: Duration) -> Result<u64, Duration> {
        if let Some(bloque) = self.sacar_sin_pedir(fuente) {
            return Ok(bloque);
        }
        let de_otras = |v: &&mut EnVuelo| !v.fuentes.contains(&fuente);
        // Uno que bajan dos lleva esperado el doble antes de que lo pida una tercera.
        let falta = |v: &EnVuelo| {
            let plazo = otra_copia * v.fuentes.len() as u32;
            plazo.saturating_sub(v.desde.elapsed())
        };
        let pedidos = self.en_vuelo.iter_mut();
        let pedidos = pedidos.filter(|(_, v)| de_otras(v));
        match pedidos.min_by_key(|(_, v)| (falta(v), v.desde)) {
            Some((bloque, v)) if falta(v).is_zero() => {
                v.fuentes.push(fuente);
                Ok(*bloque)
            }
            Some((_, v)) => Err(falta(v)),
            None => Err(otra_copia),
        }
    }

    fn sacar_sin_pedir(&mut self, fuente: usize) -> Option<u64> {
        let bloque = self.sin_pedir.pop_front()?;
        let en_vuelo = EnVuelo {
            fuentes: vec![fuente],
            desde: Instant::now(),
        };
        self.en_vuelo.insert(bloque, en_vuelo);
        Some(bloque)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread;

    /// Una cola con los bloques `0..cuantos` por bajar.
    fn cola(cuantos: u64, otra_copia: Duration) -> Cola {
        let cola = Cola::con_plazo(cuantos, otra_copia);
        cola.empezar(&[], (0..cuantos).collect());
        cola
    }

    /// Sin esperar nada para pedir otra copia.
    fn sin_espera(cuantos: u64) -> Cola {
        cola(cuantos, Duration::ZERO)
    }

    /// Cuántos faltan tras guardarlo; `None` si no hacía falta.
    fn guardar(cola: &Cola, bloque: u64) -> Option<u64> {
        cola.empezar_a_guardar(bloque).then(|| cola.guardado())
    }

    #[test]
    fn cada_bloque_una_vez_y_luego_se_ayuda() {
        let cola = sin_espera(3);
        assert_eq!(
            (cola.sacar(0), cola.sacar(1), cola.sacar(1)),
            (Some(0), Some(1), Some(2))
        );
        // Sin ninguno por pedir, la 0 ayuda con el más viejo que no sea suyo.
        assert_eq!(cola.sacar(0), Some(1));
        assert_eq!(guardar(&cola, 1), Some(2));
        assert_eq!(guardar(&cola, 1), None, "el segundo que llega no cuenta");
        assert_eq!((guardar(&cola, 0), guardar(&cola, 2)), (Some(1), Some(0)));
        assert_eq!(cola.sacar(0), None);
    }

    #[test]
    fn una_copia_mas_por_cada_plazo_sin_llegar_y_sin_tope() {
        let plazo = Duration::from_millis(50);
        let cola = cola(1, plazo);
        let empezo = Instant::now();
        for copias in 0..5 {
            assert_eq!(cola.sacar(copias as usize), Some(0));
            assert!(empezo.elapsed() >= plazo * copias, "{copias} copias");
        }
    }

    #[test]
    fn el_segundo_pedido_no_le_quita_su_bloque_a_otra_conexion() {
        let cola = sin_espera(5);
        cola.entrar();
        cola.entrar();
        assert_eq!((cola.sacar(0), cola.sacar_otro(0)), (Some(0), Some(1)));
        assert_eq!((cola.sacar(1), cola.sacar_otro(1)), (Some(2), Some(3)));
        // Queda uno: para quien no espere ninguno.
        assert_eq!(cola.sacar_otro(0), None);
        cola.salir();
        assert_eq!(cola.sacar_otro(0), Some(4));
        assert_eq!(cola.sacar_otro(0), None);
    }

    #[test]
    fn un_bloque_devuelto_lo_toma_quien_esperaba() {
        let cola = cola(1, OTRA_COPIA);
        assert_eq!(cola.sacar(0), Some(0));
        thread::scope(|ambito| {
            // La misma fuente no repite su propio bloque: espera a ver si vuelve.
            let espera = ambito.spawn(|| cola.sacar(0));
            cola.devolver(0, 0);
            assert_eq!(espera.join().unwrap(), Some(0));
        });
    }

    #[test]
    fn devolver_uno_repetido_no_lo_pone_dos_veces() {
        let cola = sin_espera(1);
        assert_eq!((cola.sacar(0), cola.sacar(1)), (Some(0), Some(0)));
        cola.devolver(0, 0);
        assert_eq!(guardar(&cola, 0), Some(0));
        cola.devolver(0, 1);
        assert_eq!(cola.sacar(2), None);
    }

    #[test]
    fn cerrar_suelta_a_quien_espera_y_echar_a_la_echada() {
        let cola = cola(2, OTRA_COPIA);
        cola.sacar(0);
        cola.sacar(0);
        thread::scope(|ambito| {
            let echada = ambito.spawn(|| cola.sacar(0));
            cola.echar(0);
            assert_eq!(echada.join().unwrap(), None);
            let espera = ambito.spawn(|| cola.sacar(1));
            cola.cerrar();
            assert_eq!(espera.join().unwrap(), None);
        });
        assert_eq!(cola.faltan(), 2);
        assert!(!cola.empezar_a_guardar(1), "cerrada, ya no se guarda nada");
    }

    #[test]
    fn hasta_saber_lo_que_falta_se_espera_y_lo_malo_vuelve() {
        let cola = Cola::nueva(3);
        thread::scope(|ambito| {
            let espera = ambito.spawn(|| cola.sacar(0));
            assert_eq!(cola.empezar(&[0, 2], vec![1]), 1);
            assert_eq!(espera.join().unwrap(), Some(1));
        });
        cola.anadir(vec![2]);
        assert_eq!((cola.faltan(), cola.sacar(0)), (2, Some(2)));
    }

    #[test]
    fn con_un_bloque_bueno_no_se_abandona() {
        let (una, otra) = (cola(1, OTRA_COPIA), cola(1, OTRA_COPIA));
        una.sacar(0);
        otra.sacar(0);
        assert!(una.empezar_a_guardar(0) && !una.abandonar(false));
        assert!(otra.abandonar(false) && !otra.empezar_a_guardar(0));
    }

    #[test]
    fn al_abandonar_no_queda_nadie_escribiendo() {
        let cola = cola(2, OTRA_COPIA);
        cola.sacar(0);
        cola.sacar(0);
        assert!(cola.empezar_a_guardar(1));
        thread::scope(|ambito| {
            let abandono = ambito.spawn(|| {
                let abandonada = cola.abandonar(true);
                (abandonada, cola.faltan())
            });
            assert_eq!(cola.guardado(), 1);
            assert_eq!(abandono.join().unwrap(), (true, 1));
        });
        assert!(!cola.empezar_a_guardar(2));
    }

    #[test]
    fn muchos_hilos_que_fallan_la_mitad_acaban_con_todo() {
        let cola = sin_espera(500);
        let buenos = AtomicU64::new(0);
        thread::scope(|ambito| {
            for fuente in 0..8 {
                let (cola, buenos) = (&cola, &buenos);
                ambito.spawn(move || {
                    let mut n = fuente;
                    while let Some(bloque) = cola.sacar(fuente) {
                        n += 1;
                        if n % 2 == 0 {
                            cola.devolver(bloque, fuente);
                        } else {
                            let cuenta = guardar(cola, bloque).is_some();
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
