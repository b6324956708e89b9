//! Lo que se le pide al disco sin pasar por un nombre: leer y escribir en un sitio de un archivo,
//! saber cuál es y cuánto ocupa. Y cambiarle el nombre sin pisar a nadie.
//!
//! La guía sólo usa `open`. Aquí están, además, las diferencias entre Unix y Windows.

use std::fs::File;
use std::io;

use cap_fs_ext::MetadataExt;
use cap_std::fs::{Dir, Metadata};

/// Escribe `datos` en `archivo` a partir del byte `desde`, sin mover su posición (en Windows la
/// mueve, y nadie la usa).
pub fn escribir_en(archivo: &File, desde: u64, datos: &[u8]) -> io::Result<()> {
    #[cfg(unix)]
    let escrito = std::os::unix::fs::FileExt::write_all_at(archivo, datos, desde);
    #[cfg(windows)]
    let escrito = {
        let (mut desde, mut datos) = (desde, datos);
        while !datos.is_empty() {
            let cuantos = std::os::windows::fs::FileExt::seek_write(archivo, datos, desde)?;
            desde += cuantos as u64;
            datos = &datos[cuantos..];
        }
        Ok(())
    };
    escrito
}

/// Lee de `archivo` a partir del byte `desde`, sin mover su posición (en Windows la mueve, y nadie
/// la usa).
pub fn leer_en(archivo: &File, desde: u64, destino: &mut [u8]) -> io::Result<usize> {
    #[cfg(unix)]
    let leido = std::os::unix::fs::FileExt::read_at(archivo, destino, desde);
    #[cfg(windows)]
    let leido = std::os::windows::fs::FileExt::seek_read(archivo, destino, desde);
    leido
}

/// Lo que ya ocupa de verdad: un `.part` reanudado tiene huecos que aún no gastan disco.
pub fn bytes_en_disco(archivo: &File) -> u64 {
    let datos = archivo.metadata();
    // La unidad de `blocks` es 512 bytes en todos los Unix, sea cual sea la del disco.
    #[cfg(unix)]
    let ocupa = |d| std::os::unix::fs::MetadataExt::blocks(&d).saturating_mul(512);
    // Windows no lo dice; sin huecos, es lo que mide.
    #[cfg(windows)]
    let ocupa = |d: std::fs::Metadata| d.len();
    datos.map_or(0, ocupa)
}

/// Asegura en el disco lo escrito en todos esos. En Linux, de una vez por disco: mil archivos de 4
/// KiB son una espera y no mil. Es el disco entero, y si otro programa escribe mucho también se
/// espera por lo suyo.
#[cfg(target_os = "linux")]
pub fn asegurar_todos(archivos: &[&File]) -> io::Result<()> {
    if let [unico] = archivos {
        return unico.sync_data();
    }
    let mut discos = std::collections::BTreeSet::new();
    archivos.iter().try_for_each(|archivo| {
        let disco = Metadata::from_file(archivo)?.dev();
        match discos.insert(disco) {
            true => Ok(rustix::fs::syncfs(archivo)?),
            false => Ok(()),
        }
    })
}

/// Asegura en el disco lo escrito en todos esos, uno a uno: aquí no hay otra manera.
#[cfg(not(target_os = "linux"))]
pub fn asegurar_todos(archivos: &[&File]) -> io::Result<()> {
    archivos.iter().try_for_each(|archivo| archivo.sync_data())
}

/// Los datos de lo que se llama `nombre` en `dir` (sin seguir enlaces), si es ese `archivo`.
pub fn datos_si_es(dir: &Dir, nombre: &str, archivo: &File) -> io::Result<Option<Metadata>> {
    let abierto = Metadata::from_file(archivo)?;
    match dir.symlink_metadata(nombre) {
        Ok(datos) => {
            let es = (datos.dev(), datos.ino()) == (abierto.dev(), abierto.ino());
            Ok(es.then_some(datos))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Cambia un nombre por otro dentro de `dir`. Si el nuevo ya existe, falla con `AlreadyExists`.
///
/// De un golpe si el sistema sabe; si no, enlazando y borrando, como hace tempfile. En un disco sin
/// ninguna de las dos cosas (un FAT fuera de Linux) hay que mirar antes, y quien cree ese nombre
/// justo después de mirar lo pierde.
pub fn renombrar_sin_pisar(dir: &Dir, de: &str, a: &str) -> io::Result<()> {
    use io::ErrorKind::{AlreadyExists, NotFound};
    let es_respuesta = |hecho: &io::Result<()>| match hecho {
        Ok(()) => true,
        Err(e) => matches!(e.kind(), AlreadyExists | NotFound),
    };
    let hecho = renombrar_de_un_golpe(dir, de, a);
    if es_respuesta(&hecho) {
        return hecho;
    }
    let hecho = dir.hard_link(de, dir, a);
    if es_respuesta(&hecho) {
        return hecho.and_then(|()| dir.remove_file(de));
    }
    if dir.symlink_metadata(a).is_ok() {
        return Err(AlreadyExists.into());
    }
    dir.rename(de, dir, a)
}

#[cfg(any(target_os = "linux", target_vendor = "apple"))]
fn renombrar_de_un_golpe(dir: &Dir, de: &str, a: &str) -> io::Result<()> {
    use rustix::fs::{RenameFlags, renameat_with};
    Ok(renameat_with(dir, de, dir, a, RenameFlags::NOREPLACE)?)
}

/// `rename` pisaría: en Windows el de la biblioteca estándar también.
#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
fn renombrar_de_un_golpe(_: &Dir, _: &str, _: &str) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cap_std::ambient_authority;

    #[test]
    fn renombrar_no_pisa_ni_sigue_enlaces() {
        let temporal = tempfile::tempdir().unwrap();
        let dir = Dir::open_ambient_dir(temporal.path(), ambient_authority()).unwrap();
        dir.write("a", "a").unwrap();
        dir.write("b", "b").unwrap();
        let fallo = renombrar_sin_pisar(&dir, "a", "b").unwrap_err();
        assert_eq!(fallo.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(dir.read("b").unwrap(), b"b");
        let fallo = renombrar_sin_pisar(&dir, "nada", "c").unwrap_err();
        assert_eq!(fallo.kind(), io::ErrorKind::NotFound);
        renombrar_sin_pisar(&dir, "a", "c").unwrap();
        assert_eq!(dir.read("c").unwrap(), b"a");
        assert!(!dir.exists("a"));
    }

    #[test]
    fn otro_archivo_con_el_mismo_nombre_no_es_el_mismo() {
        let temporal = tempfile::tempdir().unwrap();
        let dir = Dir::open_ambient_dir(temporal.path(), ambient_authority()).unwrap();
        let mio = dir.create("a").unwrap().into_std();
        assert!(datos_si_es(&dir, "a", &mio).unwrap().is_some());
        dir.rename("a", &dir, "b").unwrap();
        assert!(datos_si_es(&dir, "a", &mio).unwrap().is_none());
        dir.write("a", "").unwrap();
        assert!(datos_si_es(&dir, "a", &mio).unwrap().is_none());
        assert!(datos_si_es(&dir, "b", &mio).unwrap().is_some());
    }
}
