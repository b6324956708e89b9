//! Las órdenes: qué se puede escribir (`opciones.rs`) y qué hace cada una suelta (`sueltas.rs`).

pub mod opciones;
pub mod sueltas;
