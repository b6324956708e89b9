//! Las palabras del protocolo: cómo se escriben, cómo se piden y cómo se contestan.

pub mod contestar;
pub mod pedir;
pub mod protocolo;
pub mod servir;
pub mod tramos;
