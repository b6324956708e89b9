//! El nodo de la guía, por partes. Aquí, lo que comparten sus hilos: [`Nodo`].

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::MAX_MENSAJES;
use crate::consola::eventos::Avisador;
use crate::fallo::Fallo;
use crate::nodo::carpeta::Carpeta;
use crate::nodo::carpeta::huellas::Estante;
use crate::nodo::evento::{Evento, Mensaje};
use crate::nodo::maestro::registro::Inscripcion;
use crate::nodo::vecinos::Vecinos;
use crate::nodo::web::Web;
use crate::red::cancelacion::Cancelacion;

pub mod arranque;
pub mod carpeta;
pub mod cliente;
pub mod descarga;
pub mod evento;
pub mod maestro;
pub mod menu;
pub mod palabras;
pub mod relato;
pub mod servidor;
pub mod vecinos;
pub mod web;

/// Lo que los hilos de un nodo comparten.
pub struct Nodo {
    /// Quién es y a quién conoce.
    pub vecinos: Vecinos,
    /// Dónde escucha.
    pub direccion: SocketAddr,
    /// Los archivos que sirve, con sus huellas.
    pub estante: Estante,
    /// La carpeta en que guarda lo que recibe (la misma que sirve).
    pub carpeta: Arc<Carpeta>,
    /// Por dónde cuenta lo que pasa.
    pub avisador: Avisador<Evento>,
    /// Se dispara al salir, para que lo que se esté recibiendo termine.
    pub saliendo: Cancelacion,
    /// Archivos que otros nos están enviando ahora.
    pub recepciones: AtomicUsize,
    /// El maestro en que se registra, si lo hay.
    pub maestro: Option<Arc<Inscripcion>>,
    /// Lo que comparten las peticiones REST.
    pub web: Web,
    mensajes: Mutex<VecDeque<Mensaje>>,
}

impl Nodo {
    /// Un nodo que escucha en `direccion` y comparte `carpeta`: sirve lo que hay y guarda en ella.
    pub fn nuevo(
        vecinos: Vecinos,
        direccion: SocketAddr,
        carpeta: Carpeta,
        avisador: Avisador<Evento>,
        saliendo: Cancelacion,
    ) -> Nodo {
        let carpeta = Arc::new(carpeta);
        let maestro = vecinos.maestro.clone();
        Nodo {
            vecinos,
            direccion,
            estante: Estante::de_carpeta(Arc::clone(&carpeta)),
            carpeta,
            avisador,
            saliendo,
            recepciones: AtomicUsize::new(0),
            maestro: maestro.map(|url| Arc::new(Inscripcion::nueva(url, direccion))),
            web: Web::default(),
            mensajes: Mutex::default(),
        }
    }

    /// Los nombres de lo que comparte.
    ///
    /// # Errores
    /// No se puede leer la carpeta.
    pub fn nombres(&self) -> Result<Vec<String>, Fallo> {
        let archivos = self.carpeta.listar()?.into_iter();
        Ok(archivos.map(|archivo| archivo.nombre).collect())
    }

    /// La carpeta tiene algo nuevo: si hay maestro, que lo sepa ya.
    pub fn cambio_la_carpeta(&self) {
        if let Some(maestro) = &self.maestro {
            maestro.despertar();
        }
    }

    /// Guarda un mensaje recibido. Pasado el tope, se olvida el más viejo.
    pub fn guardar_mensaje(&self, mensaje: Mensaje) {
        let mut mensajes = self.con_mensajes();
        if mensajes.len() == MAX_MENSAJES {
            mensajes.pop_front();
        }
        mensajes.push_back(mensaje);
    }

    /// Los mensajes guardados, del más viejo al más nuevo.
    pub fn mensajes(&self) -> Vec<Mensaje> {
        self.con_mensajes().iter().cloned().collect()
    }

    fn con_mensajes(&self) -> MutexGuard<'_, VecDeque<Mensaje>> {
        self.mensajes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
