//! El caudal: cuántos bytes por segundo manda, como mucho, este programa entre todas sus
//! conexiones.
//!
//! La guía manda tan deprisa como puede. Con un tope se ve la barra, da tiempo a matar una fuente y
//! un enlace lento se imita en una sola máquina. Es un cubo que gotea: quien va a mandar toma su
//! hueco en una fila sola y espera a que le llegue; así ninguna conexión se queda sin mandar, por
//! muchas que haya. No sabe qué se manda: lo usa `palabras/servir.rs`.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam_channel::never;

use crate::red::parada::{Parada, cerrojo};

/// Cuánto de la fila ocupa, como mucho, un hueco: lo que espera cada una por las demás es esto
/// multiplicado por cuántas son.
const HUECO: Duration = Duration::from_millis(20);
/// Lo que se puede recuperar si se mandó de menos (un hilo que despertó tarde).
const ATRASO: Duration = Duration::from_millis(100);

/// Un tope de bytes por segundo, o ninguno. Clonarlo da el mismo cubo.
#[derive(Debug, Clone, Default)]
pub struct Caudal {
    cubo: Option<Arc<Cubo>>,
    /// Al cortarla nadie espera más.
    parada: Option<Parada>,
}

#[derive(Debug)]
struct Cubo {
    por_segundo: u64,
    /// Cuándo acaba el último hueco tomado.
    libre: Mutex<Instant>,
}

impl Caudal {
    /// `por_segundo` bytes entre todos los que lo compartan; `None`, sin tope.
    pub fn nuevo(por_segundo: Option<u64>) -> Caudal {
        let cubo = |por_segundo: u64| Cubo {
            por_segundo: por_segundo.max(1),
            libre: Mutex::new(Instant::now()),
        };
        Caudal {
            cubo: por_segundo.map(cubo).map(Arc::new),
            parada: None,
        }
    }

    /// El mismo, y quien espere su hueco deja de esperar si se corta la `parada`.
    pub fn hasta_que(&self, parada: &Parada) -> Caudal {
        let parada = Some(parada.clone());
        Caudal {
            parada,
            ..self.clone()
        }
    }

    /// El tope, si lo hay: bytes por segundo.
    pub fn tope(&self) -> Option<u64> {
        self.cubo.as_ref().map(|cubo| cubo.por_segundo)
    }

    /// Espera su hueco para mandar algo de `quiero` bytes. Cuántos se pueden mandar ya (uno, al
    /// menos, si se quería alguno).
    pub fn tomar(&self, quiero: usize) -> usize {
        let Some(cubo) = self.cubo.as_ref().filter(|_| quiero > 0) else {
            return quiero;
        };
        let (cuantos, espera) = cubo.apuntar(quiero);
        let nunca = never();
        let corte = self.parada.as_ref().map_or(&nunca, Parada::corte);
        // Sólo llega antes si se corta, y entonces lo que se mande fallará.
        let _ = corte.recv_timeout(espera);
        cuantos
    }
}

impl Cubo {
    /// Toma el hueco siguiente: cuántos bytes caben en él y cuánto falta para que empiece.
    fn apuntar(&self, quiero: usize) -> (usize, Duration) {
        let en_un_hueco = (self.por_segundo as f64 * HUECO.as_secs_f64()) as usize;
        let cuantos = quiero.min(en_un_hueco.max(1));
        let ahora = Instant::now();
        let mut libre = cerrojo(&self.libre);
        let empieza = ahora.checked_sub(ATRASO).unwrap_or(ahora).max(*libre);
        *libre = empieza + Duration::from_secs_f64(cuantos as f64 / self.por_segundo as f64);
        (cuantos, empieza.saturating_duration_since(ahora))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn entre_todos_no_pasan_del_tope_y_a_todos_les_toca() {
        let caudal = Caudal::nuevo(Some(1_000_000));
        let empezo = Instant::now();
        let cuanto = |caudal: &Caudal| {
            let mut mandados = 0;
            while empezo.elapsed() < Duration::from_millis(600) {
                mandados += caudal.tomar(1 << 20);
            }
            mandados
        };
        let mandados: Vec<usize> = thread::scope(|ambito| {
            let hilos = [(); 4].map(|()| ambito.spawn(|| cuanto(&caudal)));
            hilos.map(|hilo| hilo.join().unwrap()).into()
        });
        let tardo = empezo.elapsed().as_secs_f64();
        // Lo que se pudo recuperar, y el hueco que cada uno tenía ya tomado.
        let tope = 1e6 * (tardo + 0.1) + 4.0 * 20_000.0;
        let total: usize = mandados.iter().sum();
        assert!(total as f64 <= tope, "{total} en {tardo} s");
        assert!(
            mandados.iter().all(|suyos| *suyos * 10 > total),
            "{mandados:?}"
        );
    }

    #[test]
    fn sin_tope_no_se_espera_y_cortar_despierta() {
        assert_eq!(Caudal::default().tomar(usize::MAX), usize::MAX);
        assert_eq!(Caudal::nuevo(Some(1)).tomar(0), 0);
        let parada = Parada::nueva();
        let caudal = Caudal::nuevo(Some(1)).hasta_que(&parada);
        let empezo = Instant::now();
        thread::scope(|ambito| {
            // A un byte por segundo, el vigésimo espera casi veinte.
            let hilos = [(); 20].map(|()| ambito.spawn(|| caudal.tomar(100)));
            parada.avisar();
            parada.cortar();
            assert!(hilos.into_iter().all(|hilo| hilo.join().unwrap() == 1));
        });
        assert!(empezo.elapsed() < Duration::from_secs(5));
    }
}
