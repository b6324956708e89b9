//! El nodo de la guía, por partes.

pub mod menu;
pub mod ordenes;
