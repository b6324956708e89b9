//! Cuánto gRPC cabe a la vez en un servidor. Nada de lo de aquí es asíncrono: son los turnos de
//! siempre.
//!
//! Está también sin la opción `grpc`, para que un nodo sea el mismo con ella y sin ella; entonces no
//! pide turno nadie.

use std::sync::Mutex;

use crate::red::turnos::TurnosPorIp;

/// Conversaciones a la vez, de todos y de cada IP.
const CONVERSACIONES: (usize, usize) = (256, 64);
/// Llamadas en marcha a la vez, de todos y de cada IP.
const LLAMADAS: (usize, usize) = (16, 4);

/// Lo que comparten todas las conversaciones de un servidor.
pub struct Salon {
    /// Turnos para conversar.
    pub conversaciones: TurnosPorIp,
    /// Turnos para tener una llamada en marcha.
    pub llamadas: TurnosPorIp,
    /// Lo que se sube se guarda de uno en uno: los que traen lo mismo no se estorban.
    pub guardando: Mutex<()>,
}

impl Default for Salon {
    fn default() -> Salon {
        Salon {
            conversaciones: TurnosPorIp::nuevos(CONVERSACIONES.0, CONVERSACIONES.1),
            llamadas: TurnosPorIp::nuevos(LLAMADAS.0, LLAMADAS.1),
            guardando: Mutex::default(),
        }
    }
}
