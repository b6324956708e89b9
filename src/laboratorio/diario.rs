//! `--diario ARCHIVO`: una línea por cada cosa que este programa hace con una conexión.
//!
//! No está en la guía, que no deja ver sus mensajes. De varios diarios sale el dibujo de lo que
//! viajó (`diagrama/`). Aquí sólo se apunta: qué se apunta lo decide `puesto.rs`.

use std::fs::File;
use std::io::{self, BufWriter, Write};
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
    pub fn crear(ruta: &Path) -> Result<Diario, Fallo> {
        let archivo = File::create(ruta)
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
        let mut apuntes = self.apuntes();
        apuntes.por_guardar = true;
        self.si_se_puede(&mut apuntes, |salida| {
            apunte.escribir(salida)?;
            salida.write_all(b"\n")
        });
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
