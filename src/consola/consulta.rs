//! Preguntar lo mismo a todos a la vez.
//!
//! La guía pregunta a un peer detrás de otro, y cada uno que calla retrasa a los demás. Aquí cada
//! pregunta va en su hilo y las respuestas se dan según llegan. No sabe qué se pregunta.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crossbeam_channel::{Receiver, bounded};

use crate::consola::pantalla::Pantalla;
use crate::consola::{Consola, Paso};
use crate::red::hilos::arrancar_en;
use crate::red::parada::Parada;

impl Consola {
    /// Hace la misma `pregunta` a todos a la vez, cada una en su hilo, y da cada respuesta a `llega`
    /// según viene. Falso si un Ctrl-C lo dejó: entonces se corta la `parada`, y con ella las preguntas.
    pub fn consultar<P: Copy + Sync, T: Send>(
        &mut self,
        a_quienes: &[P],
        parada: &Parada,
        pregunta: impl Fn(P) -> T + Sync,
        mut llega: impl FnMut(&mut Pantalla, P, T),
    ) -> bool {
        self.teclado.terminal.callar_el_eco();
        let acabo = preguntar_a_todos(a_quienes, pregunta, |respuestas| {
            loop {
                match self.siguiente(respuestas) {
                    Paso::Llego((lugar, respuesta)) => {
                        llega(&mut self.pantalla, a_quienes[lugar], respuesta);
                    }
                    Paso::Interrumpido => {
                        parada.cortar();
                        return false;
                    }
                    Paso::Acabo => return true,
                    // Lo que se escriba antes de tiempo no contesta a nada.
                    Paso::Escrito(_) | Paso::FinDeEntrada => {}
                }
            }
        });
        self.teclado.terminal.reponer();
        acabo
    }
}

/// Hace la misma `pregunta` a todos a la vez, cada una en su hilo, y da las respuestas según llegan (con
/// el lugar de cada uno en la lista) por el canal que recibe `atender`. No vuelve hasta que acaban
/// todas: `pregunta` tiene sus propios plazos.
///
/// Si el sistema no da tantos hilos, los que haya se las reparten; sin ninguno, las hace quien llama.
/// Callárselo sería decir que nadie lo tiene.
pub fn preguntar_a_todos<P: Copy + Sync, T: Send, R>(
    a_quienes: &[P],
    pregunta: impl Fn(P) -> T + Sync,
    atender: impl FnOnce(&Receiver<(usize, T)>) -> R,
) -> R {
    // Con sitio para todas: ningún hilo espera a que alguien lea su respuesta.
    let (contestar, respuestas) = bounded(a_quienes.len());
    let (pregunta, por_preguntar) = (&pregunta, &AtomicUsize::new(0));
    let preguntar = move || {
        loop {
            let lugar = por_preguntar.fetch_add(1, Ordering::Relaxed);
            let Some(quien) = a_quienes.get(lugar) else {
                return;
            };
            // Sólo falla si quien preguntaba ya no quiere saberlo.
            let _ = contestar.send((lugar, pregunta(*quien)));
        }
    };
    thread::scope(|ambito| {
        for n in 1..=a_quienes.len() {
            let hilo = arrancar_en(ambito, &format!("pregunta-{n}"), preguntar.clone());
            if let Err(fallo) = hilo {
                log::warn!("{fallo}");
                if n == 1 {
                    preguntar();
                }
                break;
            }
        }
        drop(preguntar);
        atender(&respuestas)
    })
}
