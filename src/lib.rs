//! `nodo`: un nodo P2P para compartir archivos en una LAN, escrito para leerse con la guía de
//! laboratorio al lado.

#![cfg_attr(not(test), warn(clippy::unwrap_used))]

pub mod config;
pub mod consola;
pub mod fallo;
pub mod fuera;
pub mod grpc;
pub mod guia;
pub mod http;
pub mod laboratorio;
pub mod lan;
pub mod nodo;
pub mod ordenes;
pub mod practicas;
pub mod red;
pub mod testigo;
pub mod texto;
#[cfg(test)]
pub mod wine;
