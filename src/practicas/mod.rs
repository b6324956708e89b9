//! La guía tal cual ([`ingenuo`]) y los otros sistemas del curso, cada uno sobre el mismo
//! `atender_conexiones` que el nodo.

pub mod balanceador;
pub mod chat;
pub mod ingenuo;
pub mod maestro;
