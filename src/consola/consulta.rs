//! Preguntar lo mismo a todos a la vez.
//!
//! La guía pregunta a un peer detrás de otro, y cada uno que calla retrasa a los demás. Aquí cada
//! pregunta va en su hilo y las respuestas se dan según llegan. No sabe qué se pregunta.

use std::thread;

use crossbeam_channel::{Receiver, bounded};

use crate::consola::pantalla::Pantalla;
use crate::consola::{Consola, Paso};
use crate::fallo::Fallo;
use crate::red::hilos::arrancar_en;
use crate::red::parada::Parada;

impl Consola {
    /// Hace la misma `pregunta` a todos a la vez, cada una en su hilo, y da cada respuesta a
    /// `llega` según viene. Falso si un Ctrl-C lo dejó: entonces se corta la `parada`, y con ella
    /// las preguntas. Si no caben tantos hilos es un error: callarlo parecería que no hay más
    /// respuestas.
    pub fn consultar<P: Copy + Send + Sync, T: Send>(
        &mut self,
        a_quienes: &[P],
        parada: &Parada,
        pregunta: impl Fn(P) -> T + Sync,
        mut llega: impl FnMut(&mut Pantalla, P, T),
    ) -> Result<bool, Fallo> {
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

/// Hace la misma `pregunta` a todos a la vez, cada una en su hilo, y da las respuestas según
/// llegan (con el lugar de cada uno en la lista) por el canal que recibe `atender`. No vuelve
/// hasta que acaban todas: `pregunta` tiene sus propios plazos. Falla si a alguno no se le pudo
/// preguntar, por falta de hilos.
pub fn preguntar_a_todos<P: Copy + Send + Sync, T: Send, R>(
    a_quienes: &[P],
    pregunta: impl Fn(P) -> T + Sync,
    atender: impl FnOnce(&Receiver<(usize, T)>) -> R,
) -> Result<R, Fallo> {
    // Con sitio para todas: ningún hilo espera a que alguien lea su respuesta.
    let (contestar, respuestas) = bounded(a_quienes.len());
    let pregunta = &pregunta;
    thread::scope(|ambito| {
        let preguntar = |(lugar, quien): (usize, &P)| {
            let (contestar, quien) = (contestar.clone(), *quien);
            // Sólo falla si quien preguntaba ya no quiere saberlo.
            let preguntar = move || drop(contestar.send((lugar, pregunta(quien))));
            arrancar_en(ambito, &format!("pregunta-{lugar}"), preguntar).map(drop)
        };
        let preguntado = a_quienes.iter().enumerate().try_for_each(preguntar);
        drop(contestar);
        let atendido = atender(&respuestas);
        preguntado.map(|()| atendido)
    })
}
