//! Lo que hace este cuarto sin la opción `grpc`: nada, y decir cómo se enciende.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::config::Limites;
use crate::consola::eventos::Avisador;
use crate::fallo::Fallo;
use crate::nodo::palabras::servir::Cierre;
use crate::nodo::{Nodo, web};
use crate::practicas::maestro::vigilante::Guarda;
use crate::red::conexion::Conexion;
use crate::red::parada::Parada;
use crate::red::servidor::Servidor;

/// Lo que comparten las conversaciones: no hay ninguna.
#[derive(Default)]
pub struct Salon;

/// A `PRI * HTTP/2.0` se contesta lo que a cualquier HTTP que no se entiende.
pub fn responder(conexion: &mut Conexion, _: Instant, nodo: &Nodo) -> Result<(), Cierre> {
    web::responder(conexion, nodo)
}

/// No se sabe llamar.
pub fn bajar(_: SocketAddr, _: &str, _: &Limites, _: &Parada) -> Result<Option<Vec<u8>>, Fallo> {
    Err(Fallo::nuevo(super::SIN_GRPC))
}

/// No hay tracker. Antes lo dice quien lee las opciones, y aquí no se llega.
pub fn abrir_tracker(
    _: SocketAddr,
    _: &Arc<Guarda>,
    _: &Avisador,
    _: &Limites,
    _: &Parada,
) -> Result<(Servidor, SocketAddr), Fallo> {
    Err(Fallo::nuevo(super::SIN_GRPC))
}
