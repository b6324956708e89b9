//! Lo que los hilos cuentan al hilo principal, que es el único que escribe en pantalla.
//!
//! En la guía cada hilo hace `print` cuando quiere y parte por la mitad lo que el estudiante está
//! leyendo. Aquí mandan la línea por un [`Avisador`]: una cola con tope. Si el hilo principal no da
//! abasto, la línea se pierde pero se cuenta: un servidor no puede quedarse esperando a una
//! pantalla. Este archivo no pinta nada.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, at, bounded, never};

use crate::texto::cuenta;

/// Avisos que caben en cada cola antes de empezar a perderse.
const TOPE_DE_AVISOS: usize = 4096;
/// Tras pintar una tanda, cuánto se deja que se junte la siguiente. Despertar al hilo principal por
/// cada conexión costaría más que atenderla.
const REPOSO: Duration = Duration::from_millis(50);

/// El extremo por el que los hilos avisan.
#[derive(Clone)]
pub struct Avisador {
    corrientes: Sender<String>,
    importantes: Sender<Vec<String>>,
    timbre: Sender<()>,
    perdidos: Arc<AtomicUsize>,
}

/// El extremo que escucha el hilo principal: lo primero que pasa se oye al momento; lo que sigue,
/// por tandas.
pub struct Oyente {
    corrientes: Receiver<String>,
    importantes: Receiver<Vec<String>>,
    timbre: Receiver<()>,
    perdidos: Arc<AtomicUsize>,
    por_tanda: usize,
    descansa_hasta: Cell<Option<Instant>>,
}

impl Avisador {
    /// Una cola de avisos y quien la escucha, que de los corrientes enseña `por_tanda` cada vez y
    /// cuenta los demás.
    pub fn nuevo(por_tanda: usize) -> (Avisador, Oyente) {
        let (corrientes, oir_corrientes) = bounded(TOPE_DE_AVISOS);
        let (importantes, oir_importantes) = bounded(TOPE_DE_AVISOS);
        let (timbre, oir_timbre) = bounded(1);
        let perdidos = Arc::new(AtomicUsize::new(0));
        let avisador = Avisador {
            corrientes,
            importantes,
            timbre,
            perdidos: Arc::clone(&perdidos),
        };
        let oyente = Oyente {
            corrientes: oir_corrientes,
            importantes: oir_importantes,
            timbre: oir_timbre,
            perdidos,
            por_tanda,
            descansa_hasta: Cell::new(None),
        };
        (avisador, oyente)
    }

    /// Avisa sin esperar de algo que pasa muchas veces. Con la cola llena sólo se cuenta, y ni
    /// siquiera se escribe.
    pub fn avisar(&self, linea: fmt::Arguments) {
        let hay_sitio = !self.corrientes.is_full();
        self.despertar(hay_sitio && self.corrientes.try_send(linea.to_string()).is_ok());
    }

    /// Avisa, en una o varias líneas, de algo que no debe perderse entre lo corriente.
    pub fn destacar(&self, lineas: Vec<String>) {
        self.despertar(self.importantes.try_send(lineas).is_ok());
    }

    fn despertar(&self, cabe: bool) {
        if !cabe {
            self.perdidos.fetch_add(1, Ordering::Relaxed);
        }
        // Si ya sonó y nadie lo ha atendido, otro timbrazo no cambia nada.
        let _ = self.timbre.try_send(());
    }
}

impl Oyente {
    /// Los dos canales que hay que poner en un `select!`: el que dice que hay avisos (mudo mientras
    /// se junta una tanda) y el que dice que ya se puede volver a escuchar.
    pub fn canales(&self) -> (Receiver<()>, Receiver<Instant>) {
        match self.descansa_hasta.get() {
            Some(hasta) if hasta > Instant::now() => (never(), at(hasta)),
            _ => (self.timbre.clone(), never()),
        }
    }

    /// Las líneas de todo lo que haya llegado; lo importante, delante.
    pub fn tanda(&self) -> Vec<String> {
        self.descansa_hasta.set(Some(Instant::now() + REPOSO));
        let importantes = self.importantes.try_iter().take(TOPE_DE_AVISOS);
        let mut lineas: Vec<String> = importantes.flatten().collect();
        // Ni uno más de los que hay ahora: si siguen llegando, esto no acabaría.
        let cuantos = self.corrientes.len();
        lineas.extend(self.corrientes.try_iter().take(cuantos.min(self.por_tanda)));
        let callados = cuantos.saturating_sub(self.por_tanda);
        if callados > 0 {
            self.corrientes.try_iter().take(callados).for_each(drop);
            lineas.push(format!("… y {} más", cuenta(callados, "línea", "líneas")));
        }
        let perdidos = self.perdidos.swap(0, Ordering::Relaxed);
        if perdidos > 0 {
            let sucesos = cuenta(perdidos, "suceso", "sucesos");
            lineas.push(format!("[AVISO] … y {sucesos} que no dio tiempo a mostrar"));
        }
        lineas
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn una_cola_llena_no_frena_y_cuenta_lo_perdido() {
        let (avisador, oyente) = Avisador::nuevo(usize::MAX);
        for n in 0..TOPE_DE_AVISOS + 7 {
            avisador.avisar(format_args!("{n}"));
        }
        avisador.destacar(vec!["importante".into()]);
        let lineas = oyente.tanda();
        assert_eq!(lineas.len(), TOPE_DE_AVISOS + 2);
        assert_eq!(lineas[0], "importante");
        assert!(lineas.last().unwrap().contains("7 sucesos"));
        assert!(oyente.tanda().is_empty());
    }

    #[test]
    fn una_avalancha_se_resume_y_nada_se_calla() {
        let (avisador, oyente) = Avisador::nuevo(20);
        for n in 0..50 {
            avisador.avisar(format_args!("[CONEXIÓN] Desde {n}"));
        }
        avisador.destacar(vec!["[ENVÍO COMPLETO] a".into()]);
        let lineas = oyente.tanda();
        assert_eq!(lineas.len(), 1 + 20 + 1);
        assert!(lineas.contains(&"[ENVÍO COMPLETO] a".to_string()));
        assert_eq!(lineas.last().unwrap(), "… y 30 líneas más");
    }

    #[test]
    fn lo_que_sigue_a_una_tanda_se_junta() {
        let (avisador, oyente) = Avisador::nuevo(20);
        avisador.avisar(format_args!("1"));
        assert!(
            oyente.canales().0.try_recv().is_ok(),
            "lo primero se oye al momento"
        );
        assert_eq!(oyente.tanda(), ["1"]);
        avisador.avisar(format_args!("2"));
        avisador.avisar(format_args!("3"));
        let (mudo, despertar) = oyente.canales();
        assert!(mudo.try_recv().is_err());
        despertar.recv().unwrap();
        assert!(oyente.canales().0.try_recv().is_ok());
        assert_eq!(oyente.tanda(), ["2", "3"]);
    }
}
