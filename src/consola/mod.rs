//! Lo que hace el hilo principal mientras otro trabaja: pintar la barra y los avisos, y atender el Ctrl-C.

pub mod eventos;
pub mod pantalla;
pub mod teclado;

use std::thread;

use crossbeam_channel::{Receiver, bounded, never, select, tick};

use crate::consola::eventos::Oyente;
use crate::consola::pantalla::{Pantalla, REPINTAR};
use crate::fallo::Fallo;
use crate::nodo::descarga::progreso::{Fase, Progreso};
use crate::nodo::evento::Evento;
use crate::nodo::relato::contar_tanda;
use crate::red::cancelacion::{Cancelacion, cancelacion};
use crate::texto::cuenta;

/// Avisos que caben sin que el trabajo espere a la pantalla.
const TOPE_DE_AVISOS: usize = 64;

/// Con qué cuenta un trabajo largo: cómo saber si lo cancelan, por dónde va y cómo avisar.
pub struct Encargo<'a> {
    /// ¿Hay que dejarlo?
    pub cancelacion: &'a Cancelacion,
    /// Por dónde va.
    pub progreso: &'a Progreso,
    /// Lo que conviene saber.
    pub avisar: &'a (dyn Fn(String) + Sync),
}

/// Hace `trabajo` en otro hilo y mientras tanto pinta la barra, los avisos y los eventos. Un Ctrl-C lo cancela.
///
/// # Errores
/// El sistema no da más hilos.
pub fn esperar_trabajo<T: Send>(
    pantalla: &mut Pantalla,
    oyente: Option<&Oyente<Evento>>,
    ctrl_c: &Receiver<()>,
    trabajo: impl FnOnce(Encargo) -> T + Send,
) -> Result<T, Fallo> {
    let (cancelador, cancelacion) = cancelacion();
    let progreso = Progreso::default();
    let (avisar, avisos) = bounded(TOPE_DE_AVISOS);
    let (entregar, fin) = bounded(1);
    pantalla.poner_barra(0);
    let hecho = thread::scope(|ambito| {
        let (cancelacion, progreso_suyo) = (&cancelacion, &progreso);
        let hacer = move || {
            // Sólo falla si el hilo principal se fue, y no se va antes de tener el resultado.
            let avisar = |frase: String| avisar.send(frase).unwrap_or_default();
            let hecho = trabajo(Encargo {
                cancelacion,
                progreso: progreso_suyo,
                avisar: &avisar,
            });
            let _ = entregar.send(hecho);
        };
        let hilo = thread::Builder::new().name("trabajo".into());
        hilo.spawn_scoped(ambito, hacer)
            .map_err(|e| Fallo::de_sistema("creando un hilo", &e))?;
        let mut cancelador = Some(cancelador);
        let repintar = tick(REPINTAR);
        let mut fase = Fase::Preguntando;
        loop {
            let (eventos, reposo) = oyente.map_or_else(|| (never(), never()), Oyente::canales);
            select! {
                recv(fin) -> hecho => break hecho.map_err(|_| Fallo::nuevo("el trabajo terminó por un error interno")),
                recv(avisos) -> aviso => aviso.into_iter().for_each(|frase| pantalla.aviso(frase)),
                recv(eventos) -> evento => pintar_tanda(pantalla, oyente, evento.ok()),
                recv(reposo) -> _ => {}
                recv(ctrl_c) -> _ => drop(cancelador.take()),
                recv(repintar) -> _ => fase = repintar_barra(pantalla, &progreso, fase),
            }
        }
    });
    pantalla.quitar_barra();
    avisos.try_iter().for_each(|frase| pantalla.aviso(frase));
    hecho
}

fn pintar_tanda(pantalla: &mut Pantalla, oyente: Option<&Oyente<Evento>>, primero: Option<Evento>) {
    if let Some(oyente) = oyente {
        let (tanda, perdidos) = oyente.tanda(primero);
        pantalla.tanda(contar_tanda(&tanda, perdidos));
    }
}

fn repintar_barra(pantalla: &mut Pantalla, progreso: &Progreso, antes: Fase) -> Fase {
    let (fase, hechos, total, fuentes) = progreso.mirar();
    if fase != antes {
        // Lo comprobado de otra vez no cuenta para la velocidad.
        pantalla.avanzar(hechos, total, String::new());
        pantalla.reiniciar_barra();
    }
    let detalle = match fase {
        Fase::Preguntando => "preguntando".to_string(),
        Fase::Comprobando => "comprobando lo que había".to_string(),
        Fase::Pasando if fuentes > 0 => cuenta(fuentes, "fuente", "fuentes"),
        Fase::Pasando => "enviando".to_string(),
        Fase::Guardando => "guardando".to_string(),
    };
    pantalla.avanzar(hechos, total, detalle);
    fase
}
