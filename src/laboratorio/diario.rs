//! `--diario ARCHIVO`: una línea por cada cosa que este programa hace con una conexión.
//!
//! No está en la guía, que no deja ver sus mensajes. De varios diarios sale el dibujo de lo que
//! viajó (`diagrama/`). Aquí sólo se apunta: qué se apunta lo decide `puesto.rs`.

#[cfg(unix)]
use std::fs::TryLockError;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;
use log::warn;

use crate::fallo::{Fallo, motivo};
use crate::laboratorio::suceso::Apunte;
use crate::red::hilos::{Hilo, arrancar};
use crate::red::parada::Parada;

/// Cada cuánto se manda al disco lo apuntado. A un `kill -9` se le escapa, como mucho, este rato.
const AL_DISCO: Duration = Duration::from_millis(50);
/// Con lo que empieza la primera línea de todo diario.
const PRINCIPIO: &[u8] = b"{\"i\":";

/// Un diario abierto.
pub struct Diario {
    ruta: PathBuf,
    apuntes: Mutex<Apuntes>,
}

struct Apuntes {
    salida: BufWriter<File>,
    por_guardar: bool,
    /// Desde que una escritura falla no se intenta ninguna más: lo escrito sigue siendo un diario.
    fallo: Option<String>,
}

impl Diario {
    /// Empieza un diario en `ruta`. Si había otro, se pierde: un diario es de una sola corrida.
    ///
    /// # Errores
    /// No se puede abrir, lo está escribiendo otro programa, o lo que hay ahí no es un diario.
    pub fn crear(ruta: &Path) -> Result<Diario, Fallo> {
        let archivo = vacio(ruta)
            .map_err(|e| Fallo::de_sistema(format!("creando el diario {}", ruta.display()), &e))?;
        Ok(Diario {
            ruta: ruta.to_path_buf(),
            apuntes: Mutex::new(Apuntes {
                salida: BufWriter::with_capacity(64 * 1024, archivo),
                por_guardar: false,
                fallo: None,
            }),
        })
    }

    /// Apunta un suceso.
    pub fn apuntar(&self, apunte: &Apunte) {
        // Se le da forma antes de tomar el cerrojo: lo comparten todas las conexiones.
        let linea = apunte.en_json() + "\n";
        let mut apuntes = self.apuntes();
        apuntes.por_guardar = true;
        self.si_se_puede(&mut apuntes, |salida| salida.write_all(linea.as_bytes()));
    }

    /// Manda al disco lo que falte. La frase, si algo no se pudo escribir.
    pub fn guardar(&self) -> Result<(), Fallo> {
        let mut apuntes = self.apuntes();
        if std::mem::take(&mut apuntes.por_guardar) {
            self.si_se_puede(&mut apuntes, BufWriter::flush);
        }
        match &apuntes.fallo {
            Some(por_que) => Err(Fallo::nuevo(format!(
                "el diario {} está incompleto: {por_que}",
                self.ruta.display()
            ))),
            None => Ok(()),
        }
    }

    fn si_se_puede(
        &self,
        apuntes: &mut Apuntes,
        escribir: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    ) {
        if apuntes.fallo.is_some() {
            return;
        }
        if let Err(error) = escribir(&mut apuntes.salida) {
            warn!("{}: {}", self.ruta.display(), motivo(&error));
            apuntes.fallo = Some(motivo(&error));
        }
    }

    fn apuntes(&self) -> MutexGuard<'_, Apuntes> {
        self.apuntes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// El archivo de `ruta`, vacío: o no estaba, o era un diario de otra corrida que ya acabó.
fn vacio(ruta: &Path) -> io::Result<File> {
    let ya = fs::metadata(ruta).is_ok_and(|datos| datos.is_file());
    let mut opciones = OpenOptions::new();
    let opciones = opciones.read(ya).write(true).create(true).truncate(false);
    let mut archivo = abrir_solo(ruta, opciones)?;
    if ya {
        let mut principio = Vec::new();
        let hasta = PRINCIPIO.len() as u64;
        (&archivo).take(hasta).read_to_end(&mut principio)?;
        if !PRINCIPIO.starts_with(&principio) {
            let que = "lo que hay ahí no es un diario, y se perdería: elige otro nombre";
            return Err(io::Error::other(que));
        }
        archivo.set_len(0)?;
        archivo.rewind()?;
    }
    Ok(archivo)
}

/// Abre `ruta` sin esperar a nadie, y sólo si no la está escribiendo otro programa: los dos se
/// pisarían. Leerla sí se puede.
#[cfg(unix)]
fn abrir_solo(ruta: &Path, opciones: &mut OpenOptions) -> io::Result<File> {
    use std::os::unix::fs::FileTypeExt;
    // Abrir una tubería espera a quien la lea, y escribir en ella, a que lea.
    if fs::metadata(ruta).is_ok_and(|datos| datos.file_type().is_fifo()) {
        return Err(io::Error::other("es una tubería: elige un archivo"));
    }
    let archivo = opciones.open(ruta)?;
    match archivo.try_lock() {
        Err(TryLockError::WouldBlock) => Err(ocupado()),
        // Hay discos de red donde no se puede cerrar nada: ahí no se sabe, y se escribe.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(archivo),
    }
}

/// Lo mismo: aquí un cerrojo tampoco dejaría leer, así que se abre para no compartir la escritura.
#[cfg(windows)]
fn abrir_solo(ruta: &Path, opciones: &mut OpenOptions) -> io::Result<File> {
    use std::os::windows::fs::OpenOptionsExt;
    const LEER: u32 = 1;
    const NO_SE_COMPARTE: Option<i32> = Some(32);
    let abierto = opciones.share_mode(LEER).open(ruta);
    abierto.map_err(|error| match error.raw_os_error() {
        NO_SE_COMPARTE => ocupado(),
        _ => error,
    })
}

fn ocupado() -> io::Error {
    io::Error::other("ya lo está escribiendo otro programa: elige otro nombre")
}

/// El hilo que manda al disco lo apuntado, hasta que se avise la `parada`. `al_fallar` se llama una
/// vez, si deja de poder escribirse.
pub fn guardar_a_ratos(
    diario: &Arc<Diario>,
    parada: &Parada,
    al_fallar: impl FnOnce(String) + Send + 'static,
) -> Result<Hilo<()>, Fallo> {
    let (diario, parada) = (Arc::clone(diario), parada.clone());
    arrancar("diario", move || {
        while parada.canal().recv_timeout(AL_DISCO) == Err(RecvTimeoutError::Timeout) {
            if let Err(fallo) = diario.guardar() {
                return al_fallar(fallo.to_string());
            }
        }
    })
}
