//! `nodo`: un nodo P2P para compartir archivos en una LAN, escrito para leerse con la guía de laboratorio al lado.

#![cfg_attr(not(test), warn(clippy::unwrap_used))]

pub mod argumentos;
pub mod conexion;
pub mod config;
pub mod eventos;
pub mod fallo;
pub mod hilos;
pub mod http;
pub mod nodo;
pub mod pantalla;
pub mod practicas;
pub mod red;
pub mod teclado;
pub mod texto;
pub mod turnos;
