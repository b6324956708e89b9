//! Los otros sistemas del curso, cada uno sobre el mismo `atender_conexiones` que el nodo.

pub mod altas;
pub mod backend;
pub mod balanceador;
pub mod canal;
pub mod charla;
pub mod chat;
pub mod cupo;
pub mod directorio;
pub mod ficha;
pub mod listados;
pub mod maestro;
pub mod vigilante;
pub mod vivos;
