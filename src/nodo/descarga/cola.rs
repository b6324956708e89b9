//! La cola de bloques de una descarga: qué tiene cada fuente, quién baja qué y cuándo está todo. No
//! sabe de red ni de disco.
//!
//! Cada conexión saca un bloque, lo baja y lo guarda, o lo devuelve si no pudo. De los que tiene su
//! fuente se lleva el menos repetido, y a igualdad, al azar: si todos empezaran por el mismo, nadie
//! tendría nada que dar a los demás. Una cola a la que se devuelven cosas no se cierra sola al
//! vaciarse: por eso se cuentan los que faltan. Al final, cuando ya no queda ninguno sin pedir,
//! quien esté libre pide también uno que otra fuente lleve demasiado bajando: ninguna lenta retiene
//! a las demás, por muchas que haya.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::nodo::descarga::pedido::{CONEXIONES_POR_DESCARGA, CONEXIONES_POR_FUENTE};
use crate::red::parada::cerrojo;

/// Cada vez que un bloque lleva esto sin llegar se puede pedir a una fuente más.
const OTRA_COPIA: Duration = Duration::from_secs(5);
/// Conexiones que bastan con una fuente que va deprisa (medido con `scripts/comparar.sh`).
const SI_VA_DEPRISA: usize = 2;
/// Un bloque que lleva esto sin llegar no va deprisa: más conexiones ayudan.
const DESPACIO: Duration = Duration::from_millis(300);
/// Un número impar cualquiera, de bits revueltos: multiplicar por él desordena.
const MEZCLA: u64 = 0x9e37_79b9_7f4a_7c15;

/// Los bloques que faltan, compartidos entre las conexiones de una descarga.
pub struct Cola {
    bloques: Mutex<Bloques>,
    cambio: Condvar,
    otra_copia: Duration,
}

/// Una conexión de una fuente: las dos, por su número.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PorDonde {
    /// Qué fuente.
    pub fuente: usize,
    /// Cuál de sus conexiones, desde 0.
    pub conexion: usize,
}

/// Lo que se saca de la cola.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sacado {
    /// Este bloque.
    Bloque(u64),
    /// Ninguno todavía.
    Nada,
    /// Ninguno más: está todo, se cerró o se echó a esa fuente.
    Fin,
}

/// Qué bloques tiene una fuente.
enum Tiene {
    Todo,
    Algunos(Vec<bool>),
}

impl Tiene {
    fn tiene(&self, bloque: u64) -> bool {
        match self {
            Tiene::Todo => true,
            Tiene::Algunos(suyos) => suyos[bloque as usize],
        }
    }
}

struct Bloques {
    cuantos: u64,
    sin_pedir: Vec<u64>,
    en_vuelo: HashMap<u64, EnVuelo>,
    /// Los que aún no están guardados.
    faltan: u64,
    /// Lo que tiene cada fuente que tiene algo.
    tienen: HashMap<usize, Tiene>,
    /// Cuántas de las que no lo tienen todo tienen cada bloque.
    repetido: Vec<u32>,
    /// Las conexiones que están sacando bloques, o esperándolos.
    dentro: HashSet<PorDonde>,
    /// Fuentes que ya no sacan más.
    echadas: HashSet<usize>,
    /// Fuentes que alguna vez dijeron que no daban abasto: no se les piden copias.
    ocupadas: HashSet<usize>,
    /// ¿Llegó ya alguno bueno?
    empezada: bool,
    /// Buenos que se están escribiendo ahora.
    guardandose: usize,
    cerrada: bool,
    en_orden: bool,
    azar: u64,
}

/// Un bloque pedido: por quiénes, y cuándo la primera vez.
struct EnVuelo {
    por: Vec<PorDonde>,
    desde: Instant,
}

impl Cola {
    /// La de un archivo de tantos bloques: faltan todos, y ninguno se puede pedir hasta saber
    /// cuáles se tienen. Con una sola fuente que no da a nadie más, van `en_orden`.
    pub fn nueva(cuantos: u64, en_orden: bool) -> Cola {
        let cola = Cola::con_plazo(cuantos, OTRA_COPIA);
        cerrojo(&cola.bloques).en_orden = en_orden;
        cola
    }

    fn con_plazo(cuantos: u64, otra_copia: Duration) -> Cola {
        let bloques = Bloques {
            cuantos,
            sin_pedir: Vec::new(),
            en_vuelo: HashMap::new(),
            faltan: cuantos,
            tienen: HashMap::new(),
            repetido: Vec::new(),
            dentro: HashSet::new(),
            echadas: HashSet::new(),
            ocupadas: HashSet::new(),
            empezada: false,
            guardandose: 0,
            cerrada: false,
            en_orden: false,
            // Cada `RandomState` nace con una semilla al azar del sistema; cero no serviría.
            azar: RandomState::new().build_hasher().finish() | 1,
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
        bloques.sin_pedir = por_bajar;
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

    // ----- Qué tiene cada fuente -----

    /// `fuente` tiene el archivo entero.
    pub fn tiene_todo(&self, fuente: usize) {
        let mut bloques = cerrojo(&self.bloques);
        bloques.cambiar_lo_que_tiene(fuente, Some(Tiene::Todo));
        self.avisar(bloques);
    }

    /// `fuente` tiene estos bloques, y ningún otro.
    pub fn tiene(&self, fuente: usize, suyos: impl Iterator<Item = u64>) {
        let mut bloques = cerrojo(&self.bloques);
        let mut cuales = vec![false; bloques.cuantos as usize];
        suyos.for_each(|bloque| cuales[bloque as usize] = true);
        let alguno = cuales.contains(&true);
        bloques.cambiar_lo_que_tiene(fuente, alguno.then_some(Tiene::Algunos(cuales)));
        self.avisar(bloques);
    }

    /// De `fuente` ya no se sabe qué tiene.
    pub fn olvidar(&self, fuente: usize) {
        cerrojo(&self.bloques).cambiar_lo_que_tiene(fuente, None);
    }

    /// ¿Tiene `fuente` alguno de los que faltan?
    pub fn puede_dar(&self, fuente: usize) -> bool {
        let bloques = cerrojo(&self.bloques);
        let mut faltan = bloques.sin_pedir.iter().chain(bloques.en_vuelo.keys());
        let tiene = bloques.tienen.get(&fuente);
        !bloques.echadas.contains(&fuente)
            && tiene.is_some_and(|tiene| faltan.any(|bloque| tiene.tiene(*bloque)))
    }

    // ----- Sacar y devolver -----

    /// Una conexión más se pone a sacar bloques.
    pub fn entrar(&self, quien: PorDonde) {
        cerrojo(&self.bloques).dentro.insert(quien);
    }

    /// Una conexión deja de sacar bloques: otra de su fuente puede ocupar su puesto.
    pub fn salir(&self, quien: PorDonde) {
        let mut bloques = cerrojo(&self.bloques);
        bloques.dentro.remove(&quien);
        self.avisar(bloques);
    }

    /// El siguiente bloque para `quien`, que no lo quiere antes de `no_antes`. Si no hay ninguno
    /// que pueda pedir, espera a que lo haya, y como mucho hasta `hasta`.
    pub fn sacar(&self, quien: PorDonde, no_antes: Instant, hasta: Instant) -> Sacado {
        let mut bloques = cerrojo(&self.bloques);
        while bloques.sigue(quien.fuente) {
            let ahora = Instant::now();
            let espera = match no_antes.checked_duration_since(ahora) {
                Some(falta) if !falta.is_zero() => falta,
                _ => match bloques.elegir(quien, self.otra_copia) {
                    Ok(elegido) => return Sacado::Bloque(bloques.pedir(elegido, quien)),
                    Err(espera) => espera,
                },
            };
            if ahora >= hasta {
                return Sacado::Nada;
            }
            // También puede volver a la cola alguno de los que bajan otras, o ella misma.
            bloques = self.esperar(bloques, espera.min(hasta - ahora));
        }
        Sacado::Fin
    }

    /// Otro bloque para quien ya espera uno, si quedan sin pedir para todas las conexiones. No
    /// espera.
    pub fn sacar_otro(&self, quien: PorDonde) -> Option<u64> {
        let mut bloques = cerrojo(&self.bloques);
        let podrian = bloques.dentro.len().min(CONEXIONES_POR_DESCARGA);
        if bloques.sin_pedir.len() < podrian || !bloques.sigue(quien.fuente) {
            return None;
        }
        let elegido = bloques.el_menos_repetido(quien.fuente)?;
        Some(bloques.pedir(Escogido::SinPedir(elegido), quien))
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

    /// `quien` no pudo con `bloque`: vuelve a la cola, salvo que otra lo esté bajando o ya esté.
    pub fn devolver(&self, bloque: u64, quien: PorDonde) {
        let mut bloques = cerrojo(&self.bloques);
        bloques.devolver(bloque, quien);
        self.avisar(bloques);
    }

    /// Lo devuelve porque su fuente no da abasto.
    pub fn devolver_por_ocupada(&self, bloque: u64, quien: PorDonde) {
        cerrojo(&self.bloques).ocupadas.insert(quien.fuente);
        self.devolver(bloque, quien);
    }

    /// Lo devuelve porque su fuente no lo tenía.
    pub fn devolver_porque_no_lo_tiene(&self, bloque: u64, quien: PorDonde) {
        let mut bloques = cerrojo(&self.bloques);
        if let Some(Tiene::Algunos(suyos)) = bloques.tienen.get_mut(&quien.fuente)
            && std::mem::take(&mut suyos[bloque as usize])
        {
            bloques.repetido[bloque as usize] -= 1;
        }
        bloques.devolver(bloque, quien);
        self.avisar(bloques);
    }

    // ----- Cuándo se acaba -----

    /// Cuántos bloques no están guardados.
    pub fn faltan(&self) -> u64 {
        cerrojo(&self.bloques).faltan
    }

    /// Deja pasar `cuanto`, o menos si se acaba. ¿Hace falta `fuente` todavía?
    pub fn descansar(&self, fuente: usize, cuanto: Duration) -> bool {
        let sigue = |bloques: &mut Bloques| bloques.sigue(fuente);
        let bloques = cerrojo(&self.bloques);
        let esperado = self.cambio.wait_timeout_while(bloques, cuanto, sigue);
        let (bloques, _) = esperado.unwrap_or_else(PoisonError::into_inner);
        bloques.sigue(fuente)
    }

    /// `fuente` ya no saca más, por ninguna de sus conexiones.
    pub fn echar(&self, fuente: usize) {
        let mut bloques = cerrojo(&self.bloques);
        bloques.echadas.insert(fuente);
        bloques.cambiar_lo_que_tiene(fuente, None);
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

    /// Ya no se baja más: para todos los que sacan es el fin.
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

/// Un bloque para una fuente libre.
enum Escogido {
    /// El que ocupa ese lugar entre los que no ha pedido nadie.
    SinPedir(usize),
    /// Uno que ya baja otra.
    Copia(u64),
}

impl Bloques {
    fn sigue(&self, fuente: usize) -> bool {
        !self.cerrada && self.faltan > 0 && !self.echadas.contains(&fuente)
    }

    fn cambiar_lo_que_tiene(&mut self, fuente: usize, ahora: Option<Tiene>) {
        self.repetido.resize(self.cuantos as usize, 0);
        let antes = match ahora {
            Some(ahora) => {
                self.contar(&ahora, 1);
                self.tienen.insert(fuente, ahora)
            }
            None => self.tienen.remove(&fuente),
        };
        if let Some(antes) = antes {
            self.contar(&antes, -1);
        }
    }

    /// Las que lo tienen todo no cuentan: suman lo mismo a todos.
    fn contar(&mut self, tiene: &Tiene, cuanto: i32) {
        if let Tiene::Algunos(suyos) = tiene {
            for (veces, suyo) in self.repetido.iter_mut().zip(suyos) {
                *veces = veces.saturating_add_signed(if *suyo { cuanto } else { 0 });
            }
        }
    }

    /// Un bloque para una conexión libre; si no lo hay, cuánto falta para que pueda haberlo.
    fn elegir(&mut self, quien: PorDonde, otra_copia: Duration) -> Result<Escogido, Duration> {
        if !self.cabe_otra(quien) {
            return Err(otra_copia.min(DESPACIO));
        }
        if let Some(lugar) = self.el_menos_repetido(quien.fuente) {
            return Ok(Escogido::SinPedir(lugar));
        }
        self.elegir_copia(quien.fuente, otra_copia)
    }

    /// ¿Puede esa conexión, que está libre, ponerse a bajar? Las de una descarga tienen tope, y las
    /// de una fuente también: menos, cuantas más fuentes haya. Van por orden; si una se corta, la
    /// que sigue ocupa su puesto.
    fn cabe_otra(&self, quien: PorDonde) -> bool {
        let de_cada_una = CONEXIONES_POR_DESCARGA / self.tienen.len().max(1);
        let bajando = self.en_vuelo.values().flat_map(|v| v.por.iter());
        let suyo = |v: &EnVuelo| v.por.iter().any(|otra| otra.fuente == quien.fuente);
        let lento = |v: &EnVuelo| suyo(v) && v.desde.elapsed() >= DESPACIO;
        let tope = match self.en_vuelo.values().any(lento) {
            true => CONEXIONES_POR_FUENTE,
            false => SI_VA_DEPRISA,
        };
        let va_antes =
            |otra: &&PorDonde| otra.fuente == quien.fuente && otra.conexion < quien.conexion;
        self.dentro.iter().filter(va_antes).count() < de_cada_una.clamp(1, tope)
            && bajando.collect::<HashSet<_>>().len() < CONEXIONES_POR_DESCARGA
    }

    /// El lugar del bloque sin pedir que menos fuentes tengan, de los que tiene esa. A igualdad,
    /// cualquiera; pero el último, que suele ser corto, tras los demás: con él no hay qué repartir.
    fn el_menos_repetido(&mut self, fuente: usize) -> Option<usize> {
        let tiene = self.tienen.get(&fuente)?;
        let (azar, en_orden) = (self.azar, self.en_orden);
        self.azar = self.azar.rotate_left(1).wrapping_mul(MEZCLA);
        let suerte = |bloque: u64| match en_orden {
            true => bloque,
            false if bloque + 1 == self.cuantos => u64::MAX,
            false => (bloque ^ azar).wrapping_mul(MEZCLA).rotate_left(32),
        };
        let suyos = self.sin_pedir.iter().copied().enumerate();
        let suyos = suyos.filter(|(_, bloque)| tiene.tiene(*bloque));
        let veces = |bloque: u64| self.repetido[bloque as usize];
        let mejor = suyos.min_by_key(|(_, bloque)| (veces(*bloque), suerte(*bloque)));
        mejor.map(|(lugar, _)| lugar)
    }

    /// Uno que ya baja otra fuente y no llega. Sólo si no queda ninguno por pedir, y no de quien no
    /// da abasto.
    fn elegir_copia(&self, fuente: usize, otra_copia: Duration) -> Result<Escogido, Duration> {
        let Some(tiene) = self.tienen.get(&fuente) else {
            return Err(otra_copia);
        };
        if !self.sin_pedir.is_empty() || self.ocupadas.contains(&fuente) {
            return Err(otra_copia);
        }
        // Uno que bajan dos lleva esperado el doble antes de que lo pida una tercera.
        let falta = |v: &EnVuelo| {
            let plazo = otra_copia * v.por.len() as u32;
            plazo.saturating_sub(v.desde.elapsed())
        };
        let de_otras = |v: &EnVuelo| v.por.iter().all(|quien| quien.fuente != fuente);
        let pedidos = self.en_vuelo.iter();
        let pedidos = pedidos.filter(|(bloque, v)| de_otras(v) && tiene.tiene(**bloque));
        match pedidos.min_by_key(|(_, v)| (falta(v), v.desde)) {
            Some((bloque, v)) if falta(v).is_zero() => Ok(Escogido::Copia(*bloque)),
            Some((_, v)) => Err(falta(v)),
            None => Err(otra_copia),
        }
    }

    fn pedir(&mut self, elegido: Escogido, quien: PorDonde) -> u64 {
        let bloque = match elegido {
            Escogido::SinPedir(lugar) => self.sin_pedir.swap_remove(lugar),
            Escogido::Copia(bloque) => bloque,
        };
        let nuevo = || EnVuelo {
            por: Vec::new(),
            desde: Instant::now(),
        };
        let en_vuelo = self.en_vuelo.entry(bloque).or_insert_with(nuevo);
        en_vuelo.por.push(quien);
        bloque
    }

    fn devolver(&mut self, bloque: u64, quien: PorDonde) {
        let Some(en_vuelo) = self.en_vuelo.get_mut(&bloque) else {
            return;
        };
        en_vuelo.por.retain(|otro| *otro != quien);
        if en_vuelo.por.is_empty() {
            self.en_vuelo.remove(&bloque);
            self.sin_pedir.push(bloque);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::ops::Range;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread;

    /// Una cola con los bloques `0..cuantos` por bajar, de ocho fuentes que lo tienen todo.
    fn cola(cuantos: u64, otra_copia: Duration) -> Cola {
        let cola = vacia(cuantos, otra_copia);
        cola.empezar(&[], (0..cuantos).collect());
        (0..8).for_each(|fuente| cola.tiene_todo(fuente));
        cola
    }

    fn vacia(cuantos: u64, otra_copia: Duration) -> Cola {
        Cola::con_plazo(cuantos, otra_copia)
    }

    /// La primera conexión de esa fuente.
    fn de(fuente: usize) -> PorDonde {
        let conexion = 0;
        PorDonde { fuente, conexion }
    }

    /// El siguiente bloque para esa fuente, cuando lo haya.
    fn sacar(cola: &Cola, fuente: usize) -> Option<u64> {
        let ahora = Instant::now();
        match cola.sacar(de(fuente), ahora, ahora + Duration::from_secs(60)) {
            Sacado::Bloque(bloque) => Some(bloque),
            Sacado::Nada => panic!("no había nada que sacar"),
            Sacado::Fin => None,
        }
    }

    /// Lo que haya ahora mismo para esa conexión.
    fn ya(cola: &Cola, quien: PorDonde) -> Sacado {
        cola.sacar(quien, Instant::now(), Instant::now())
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
        let sacados = [0, 1, 1].map(|fuente| sacar(&cola, fuente).unwrap());
        let [suyo, viejo, nuevo] = sacados;
        assert_eq!(BTreeSet::from(sacados), BTreeSet::from([0, 1, 2]));
        // Sin ninguno por pedir, la 0 ayuda con el más viejo que no sea suyo.
        assert_eq!(sacar(&cola, 0), Some(viejo));
        assert_eq!(guardar(&cola, viejo), Some(2));
        assert_eq!(
            guardar(&cola, viejo),
            None,
            "el segundo que llega no cuenta"
        );
        assert_eq!(
            (guardar(&cola, suyo), guardar(&cola, nuevo)),
            (Some(1), Some(0))
        );
        assert_eq!(sacar(&cola, 0), None);
    }

    #[test]
    fn una_copia_mas_por_cada_plazo_sin_llegar_y_sin_tope() {
        let plazo = Duration::from_millis(50);
        let cola = cola(1, plazo);
        let empezo = Instant::now();
        for copias in 0..5 {
            assert_eq!(sacar(&cola, copias as usize), Some(0));
            assert!(empezo.elapsed() >= plazo * copias, "{copias} copias");
        }
    }

    #[test]
    fn el_segundo_pedido_no_le_quita_su_bloque_a_otra_conexion() {
        let cola = sin_espera(5);
        (0..2).for_each(|fuente| cola.entrar(de(fuente)));
        let mut sacados = BTreeSet::new();
        for fuente in 0..2 {
            sacados.extend([sacar(&cola, fuente), cola.sacar_otro(de(fuente))]);
        }
        // Queda uno: para quien no espere ninguno.
        assert_eq!(cola.sacar_otro(de(0)), None);
        cola.salir(de(1));
        sacados.insert(cola.sacar_otro(de(0)));
        assert_eq!(sacados, (0..5).map(Some).collect());
        assert_eq!(cola.sacar_otro(de(0)), None);
    }

    #[test]
    fn un_bloque_devuelto_lo_toma_quien_esperaba() {
        let cola = cola(1, OTRA_COPIA);
        assert_eq!(sacar(&cola, 0), Some(0));
        thread::scope(|ambito| {
            // La misma fuente no repite su propio bloque: espera a ver si vuelve.
            let espera = ambito.spawn(|| sacar(&cola, 0));
            cola.devolver(0, de(0));
            assert_eq!(espera.join().unwrap(), Some(0));
        });
    }

    #[test]
    fn devolver_uno_repetido_no_lo_pone_dos_veces() {
        let cola = sin_espera(1);
        assert_eq!((sacar(&cola, 0), sacar(&cola, 1)), (Some(0), Some(0)));
        cola.devolver(0, de(0));
        assert_eq!(guardar(&cola, 0), Some(0));
        cola.devolver(0, de(1));
        assert_eq!(sacar(&cola, 2), None);
    }

    #[test]
    fn cerrar_suelta_a_quien_espera_y_echar_a_la_echada() {
        let cola = cola(2, OTRA_COPIA);
        sacar(&cola, 0);
        sacar(&cola, 0);
        thread::scope(|ambito| {
            let echada = ambito.spawn(|| sacar(&cola, 0));
            cola.echar(0);
            assert_eq!(echada.join().unwrap(), None);
            let espera = ambito.spawn(|| sacar(&cola, 1));
            cola.cerrar();
            assert_eq!(espera.join().unwrap(), None);
        });
        assert_eq!(cola.faltan(), 2);
        assert!(!cola.empezar_a_guardar(1), "cerrada, ya no se guarda nada");
    }

    #[test]
    fn hasta_saber_lo_que_falta_se_espera_y_lo_malo_vuelve() {
        let cola = vacia(3, OTRA_COPIA);
        cola.tiene_todo(0);
        thread::scope(|ambito| {
            let espera = ambito.spawn(|| sacar(&cola, 0));
            assert_eq!(cola.empezar(&[0, 2], vec![1]), 1);
            assert_eq!(espera.join().unwrap(), Some(1));
        });
        cola.anadir(vec![2]);
        assert_eq!((cola.faltan(), sacar(&cola, 0)), (2, Some(2)));
    }

    #[test]
    fn con_un_bloque_bueno_no_se_abandona() {
        let (una, otra) = (cola(1, OTRA_COPIA), cola(1, OTRA_COPIA));
        sacar(&una, 0);
        sacar(&otra, 0);
        assert!(una.empezar_a_guardar(0) && !una.abandonar(false));
        assert!(otra.abandonar(false) && !otra.empezar_a_guardar(0));
    }

    #[test]
    fn al_abandonar_no_queda_nadie_escribiendo() {
        let cola = cola(2, OTRA_COPIA);
        sacar(&cola, 0);
        sacar(&cola, 0);
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
                    while let Some(bloque) = sacar(cola, fuente) {
                        n += 1;
                        if n % 2 == 0 {
                            cola.devolver(bloque, de(fuente));
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

    #[test]
    fn a_cada_fuente_lo_que_tiene_y_lo_menos_repetido_primero() {
        let cola = vacia(4, OTRA_COPIA);
        cola.empezar(&[], (0..4).collect());
        cola.tiene(1, [0, 1, 2].into_iter());
        cola.tiene(2, [0, 1].into_iter());
        cola.tiene(3, [0].into_iter());
        cola.tiene_todo(0);
        assert_eq!(ya(&cola, de(3)), Sacado::Bloque(0));
        assert_eq!(ya(&cola, de(3)), Sacado::Nada, "no tiene otro");
        let de_la_0 = [(); 3].map(|()| sacar(&cola, 0).unwrap());
        assert_eq!(de_la_0, [3, 2, 1], "del que menos tienen al que más");
        // Lo que se deja de tener ya no cuenta, ni se saca.
        cola.devolver_porque_no_lo_tiene(0, de(3));
        cola.devolver(2, de(0));
        assert_eq!(ya(&cola, de(3)), Sacado::Nada);
        assert!(!cola.puede_dar(3) && cola.puede_dar(2) && cola.puede_dar(0));
        cola.tiene(1, [].into_iter());
        assert!(!cola.puede_dar(1));
        assert_eq!(sacar(&cola, 0), Some(2), "ahora es el menos repetido");
        cola.olvidar(0);
        assert!(!cola.puede_dar(0));
    }

    #[test]
    fn a_igualdad_no_empiezan_todos_por_el_mismo() {
        let primero = |_| sacar(&cola(64, OTRA_COPIA), 0).unwrap();
        let primeros: BTreeSet<u64> = (0..64).map(primero).collect();
        // Que salgan menos de ocho distintos pasa una vez de cada 10^60.
        assert!(primeros.len() >= 8, "{primeros:?}");
    }

    #[test]
    fn a_quien_dijo_que_no_da_abasto_no_se_le_piden_copias() {
        let cola = sin_espera(2);
        let (uno, otro) = (sacar(&cola, 0).unwrap(), sacar(&cola, 1).unwrap());
        cola.devolver_por_ocupada(uno, de(0));
        // Ese, que ha vuelto, sí se le puede pedir.
        assert_eq!(ya(&cola, de(0)), Sacado::Bloque(uno));
        assert_eq!(ya(&cola, de(0)), Sacado::Nada);
        assert_eq!(
            ya(&cola, de(2)),
            Sacado::Bloque(otro),
            "a los demás, copias"
        );
    }

    #[test]
    fn mientras_quede_alguno_por_pedir_no_hay_copias() {
        let cola = vacia(2, Duration::ZERO);
        cola.empezar(&[], vec![0, 1]);
        cola.tiene(0, [0].into_iter());
        cola.tiene(1, [0].into_iter());
        assert_eq!(sacar(&cola, 0), Some(0));
        assert_eq!(ya(&cola, de(1)), Sacado::Nada, "el 1 no lo ha pedido nadie");
        cola.tiene_todo(2);
        assert_eq!(sacar(&cola, 2), Some(1));
        assert_eq!(sacar(&cola, 1), Some(0));
    }

    #[test]
    fn las_conexiones_tienen_tope_por_fuente_y_en_total() {
        let cola = cola(100, OTRA_COPIA);
        (1..8).for_each(|fuente| cola.olvidar(fuente));
        let suyas = |fuente| (0..8).map(move |conexion| PorDonde { fuente, conexion });
        let cuantas = |fuentes: Range<usize>| {
            let mut pueden = fuentes.flat_map(suyas).collect::<Vec<_>>();
            pueden.iter().for_each(|quien| cola.entrar(*quien));
            pueden.retain(|quien| ya(&cola, *quien) != Sacado::Nada);
            pueden.len()
        };
        assert_eq!(cuantas(0..1), SI_VA_DEPRISA);
        assert!(cola.descansar(0, DESPACIO));
        assert_eq!(cuantas(0..1), CONEXIONES_POR_FUENTE);
        (1..8).for_each(|fuente| cola.tiene_todo(fuente));
        assert_eq!(cuantas(1..2), 2, "entre ocho, a dos cada una");
        assert_eq!(4 + 2 + cuantas(2..8), CONEXIONES_POR_DESCARGA);
    }

    #[test]
    fn si_una_conexion_se_corta_otra_de_su_fuente_ocupa_su_puesto() {
        let cola = cola(100, OTRA_COPIA);
        let [primera, segunda, tercera] = [0, 1, 2].map(|conexion| PorDonde {
            fuente: 0,
            conexion,
        });
        for quien in [primera, segunda, tercera] {
            cola.entrar(quien);
        }
        assert_eq!(
            ya(&cola, tercera),
            Sacado::Nada,
            "entre ocho, a dos cada una"
        );
        let luego = Instant::now() + Duration::from_secs(60);
        thread::scope(|ambito| {
            let espera = ambito.spawn(|| cola.sacar(tercera, Instant::now(), luego));
            cola.salir(primera);
            assert!(matches!(espera.join().unwrap(), Sacado::Bloque(_)));
        });
        assert!(matches!(ya(&cola, segunda), Sacado::Bloque(_)));
    }

    #[test]
    fn antes_de_tiempo_no_se_saca_nada() {
        let cola = cola(1, OTRA_COPIA);
        let luego = Instant::now() + Duration::from_millis(60);
        assert_eq!(cola.sacar(de(0), luego, Instant::now()), Sacado::Nada);
        assert_eq!(
            cola.sacar(de(0), luego, luego + OTRA_COPIA),
            Sacado::Bloque(0)
        );
        assert!(Instant::now() >= luego);
        assert!(cola.descansar(0, Duration::from_millis(1)));
        cola.cerrar();
        assert!(!cola.descansar(0, OTRA_COPIA * 100));
    }
}
