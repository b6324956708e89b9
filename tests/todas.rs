//! Todas las pruebas en una sola caja: se enlaza una vez y da un solo resumen.
//!
//! Son de dos clases. Las de cada pieza van junto a su código, en `src/`, y llegan aquí con [`biblioteca`]. Las del
//! programa entero arrancan procesos de verdad, y están en `tests/programa/`, un archivo por tema.
//!
//! `cargo test NOMBRE` hace sólo aquellas cuyo nombre contenga eso: `cargo test guia`.

/// El mismo código que la biblioteca, con sus pruebas. Dentro se llama a todo por `crate::`, y por eso sus nombres se
/// traen a la raíz.
#[path = "../src/lib.rs"]
pub mod biblioteca;
use biblioteca::*;

/// El programa, por fuera: lo que se escribe, lo que viaja y lo que queda en el disco.
mod programa {
    mod comun;

    mod arranque;
    mod balanceador;
    mod carpeta;
    mod chat;
    mod descarga;
    mod envio;
    mod guia;
    mod hostiles;
    mod maestro;
    mod menu;
    mod nombres;
    mod ordenes;
    mod readme;
    mod rest;
}
