//! El nodo de la guía, por partes.

pub mod huella;
pub mod menu;
pub mod nombres;
pub mod ordenes;
pub mod protocolo;
