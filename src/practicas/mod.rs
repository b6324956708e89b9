//! Los otros sistemas del curso, cada uno sobre el mismo `atender_conexiones` que el nodo.

pub mod altas;
pub mod backend;
pub mod balanceador;
pub mod chat;
pub mod directorio;
pub mod maestro;
pub mod vigilante;
