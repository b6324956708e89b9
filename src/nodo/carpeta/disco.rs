//! Leer y escribir en un sitio de un archivo, y cuánto ocupa: lo que en Unix y en Windows se llama distinto.

use std::fs::File;
use std::io;

/// Escribe `datos` en `archivo` a partir del byte `desde`, sin mover su posición (en Windows la mueve, y nadie la usa).
///
/// # Errores
/// El disco está lleno o falló.
#[cfg(unix)]
pub fn escribir_en(archivo: &File, desde: u64, datos: &[u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(archivo, datos, desde)
}

/// Escribe `datos` en `archivo` a partir del byte `desde`, sin mover su posición (en Windows la mueve, y nadie la usa).
///
/// # Errores
/// El disco está lleno o falló.
#[cfg(windows)]
pub fn escribir_en(archivo: &File, mut desde: u64, mut datos: &[u8]) -> io::Result<()> {
    while !datos.is_empty() {
        let escrito = std::os::windows::fs::FileExt::seek_write(archivo, datos, desde)?;
        desde += escrito as u64;
        datos = &datos[escrito..];
    }
    Ok(())
}

/// Lee de `archivo` a partir del byte `desde`, sin mover su posición (en Windows la mueve, y nadie la usa).
///
/// # Errores
/// El disco falló.
#[cfg(unix)]
pub fn leer_en(archivo: &File, desde: u64, destino: &mut [u8]) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(archivo, destino, desde)
}

/// Lee de `archivo` a partir del byte `desde`, sin mover su posición (en Windows la mueve, y nadie la usa).
///
/// # Errores
/// El disco falló.
#[cfg(windows)]
pub fn leer_en(archivo: &File, desde: u64, destino: &mut [u8]) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(archivo, destino, desde)
}

/// Lo que ya ocupa de verdad: un `.part` reanudado tiene huecos que aún no gastan disco.
#[cfg(unix)]
pub fn bytes_en_disco(datos: &std::fs::Metadata) -> u64 {
    // La unidad de `blocks` es 512 bytes en todos los Unix, sea cual sea la del disco.
    std::os::unix::fs::MetadataExt::blocks(datos).saturating_mul(512)
}

/// Windows no dice cuánto ocupa; sin huecos, es lo que mide.
#[cfg(windows)]
pub fn bytes_en_disco(datos: &std::fs::Metadata) -> u64 {
    datos.len()
}
