//! El maestro, visto desde el nodo: preguntarle y estar registrado en él.

pub mod localizar;
pub mod registro;
