//! Guardar lo que llega: el archivo a medias (`.nombre.part`) y cómo toma su nombre sin pisar a nadie.
//!
//! La guía abre el destino con `'wb'`, que borra lo que hubiera, y si la descarga se corta deja medio archivo con
//! el nombre bueno. Aquí se escribe en un `.part` con cerrojo y el nombre final se toma de un golpe, al acabar. No
//! sabe de dónde vienen los bytes ni si son buenos: eso lo decide `descarga.rs`.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use cap_fs_ext::{MetadataExt, OpenOptionsSyncExt};
use cap_std::fs::{Dir, OpenOptions};
use tempfile::TempPath;

use crate::fallo::{Fallo, motivo};
use crate::nodo::carpeta::disco::{bytes_en_disco, escribir_en, leer_en};
use crate::nodo::carpeta::huella::{Huella, Resumen};
use crate::nodo::carpeta::huellas::resumir;
use crate::nodo::carpeta::nombres::{NombreRecibible, con_numero, en_nfc, es_copia_de};
use crate::nodo::carpeta::{Abierto, Carpeta};
use crate::red::parada::Parada;
use crate::texto::tamano as texto_tamano;

/// Cuántos `(n)` se prueban antes de rendirse.
const TOPE_DE_NUMEROS: u32 = 10_000;
/// Cuántas veces se intenta abrir el `.part` si otro lo quita justo entre abrirlo y cerrarlo con llave.
const INTENTOS: usize = 8;

/// Un archivo a medias, nuestro mientras exista este valor.
pub struct AMedias {
    archivo: File,
    nombre: NombreRecibible,
    /// Carpeta (absoluta) en que están el `.part` y el nombre final.
    lugar: PathBuf,
}

/// Por qué no se puede empezar a recibir.
#[derive(Debug)]
pub enum NoSeRecibe {
    /// Otro (proceso o hilo) ya lo está bajando.
    YaSeEstaBajando,
    /// El sistema no deja; la frase lo cuenta.
    Sistema(Fallo),
}

impl Carpeta {
    /// Abre (o crea) el archivo a medias de `nombre` y le echa el cerrojo. Lo que ya tuviera dentro se conserva.
    ///
    /// # Errores
    /// Otro lo está bajando, o no se puede crear.
    pub fn empezar_a_recibir(&self, nombre: &NombreRecibible) -> Result<AMedias, NoSeRecibe> {
        let fallo = |e: io::Error| {
            let que = format!("no se puede guardar {nombre} en {}", self.ruta().display());
            NoSeRecibe::Sistema(Fallo::de_sistema(que, &e))
        };
        let (sub, archivo) = nombre.partes();
        let dir = self.subcarpeta(sub).map_err(fallo)?;
        for _ in 0..INTENTOS {
            let abierto = abrir_a_medias(&dir, archivo).map_err(fallo)?;
            match abierto.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(NoSeRecibe::YaSeEstaBajando),
                Err(TryLockError::Error(e)) => return Err(fallo(e)),
            }
            if sigue_a_medias(&dir, archivo, &abierto).map_err(fallo)? {
                let lugar = match sub {
                    "" => self.ruta().to_path_buf(),
                    sub => self.ruta().join(sub),
                };
                return Ok(AMedias {
                    archivo: abierto,
                    nombre: nombre.clone(),
                    lugar,
                });
            }
        }
        Err(NoSeRecibe::YaSeEstaBajando)
    }

    /// Un archivo que ya tenemos con ese contenido: con ese nombre o con uno de sus `(n)`. Si se cancela, `None`.
    pub fn copia_igual(
        &self,
        nombre: &NombreRecibible,
        tamano: u64,
        huella: Huella,
        parada: &Parada,
    ) -> Option<String> {
        let (sub, archivo) = nombre.partes();
        let con_sub = |n: String| {
            if sub.is_empty() {
                n
            } else {
                format!("{sub}/{n}")
            }
        };
        let entradas = if sub.is_empty() {
            self.dir().entries()
        } else {
            self.dir().read_dir(sub)
        };
        entradas
            .ok()?
            .filter_map(|entrada| entrada.ok()?.file_name().into_string().ok())
            .filter(|candidato| es_copia_de(candidato, archivo))
            .map(con_sub)
            .find(|candidato| {
                self.abrir_archivo(candidato).is_ok_and(|abierto| {
                    abierto.tamano == tamano
                        && resumir(&abierto, parada).is_ok_and(|r| r.huella == huella)
                })
            })
    }

    fn subcarpeta(&self, sub: &str) -> io::Result<Dir> {
        if sub.is_empty() {
            return self.dir().try_clone();
        }
        self.dir().create_dir_all(sub)?;
        self.dir().open_dir(sub)
    }
}

/// `foto.png` → `.foto.png.part`.
fn nombre_a_medias(archivo: &str) -> String {
    format!(".{archivo}.part")
}

fn abrir_a_medias(dir: &Dir, archivo: &str) -> io::Result<File> {
    let mut opciones = OpenOptions::new();
    opciones
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .nonblock(true);
    dir.open_with(nombre_a_medias(archivo), &opciones)
        .map(cap_std::fs::File::into_std)
}

/// ¿Lo que tenemos abierto y con llave sigue siendo el `.part`, y nada más que el `.part`?
///
/// Entre abrirlo y cerrarlo con llave, quien lo tenía pudo darle su nombre final: entonces lo abierto es un archivo
/// bueno, y escribir en él lo rompería. Lo mismo si tiene además otro nombre (un corte entre enlazar y borrar): se le
/// quita el de `.part`, y se empieza otro.
fn sigue_a_medias(dir: &Dir, archivo: &str, abierto: &File) -> io::Result<bool> {
    let parte = nombre_a_medias(archivo);
    let lo_abierto = cap_std::fs::Metadata::from_file(abierto)?;
    let en_la_carpeta = match dir.symlink_metadata(&parte) {
        Ok(datos) => datos,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(e),
    };
    if !en_la_carpeta.is_file() {
        return Err(io::Error::other(format!(
            "{parte} no es un archivo; quítalo de ahí"
        )));
    }
    if (en_la_carpeta.dev(), en_la_carpeta.ino()) != (lo_abierto.dev(), lo_abierto.ino()) {
        return Ok(false);
    }
    if en_la_carpeta.nlink() > 1 {
        dir.remove_file(&parte)?;
        return Ok(false);
    }
    Ok(true)
}

impl AMedias {
    /// Comprueba que caben los bytes que faltan y da al `.part` su tamaño final.
    ///
    /// # Errores
    /// No caben: la frase dice cuánto falta.
    pub fn hacer_sitio(&self, tamano: u64) -> Result<(), Fallo> {
        self.ver_si_cabe(tamano)?;
        self.archivo
            .set_len(tamano)
            .map_err(|e| self.fallo_al_escribir(&e))
    }

    /// Mira si caben los bytes que faltan para `tamano`, sin tocar nada.
    ///
    /// # Errores
    /// No caben: la frase dice cuánto falta.
    pub fn ver_si_cabe(&self, tamano: u64) -> Result<(), Fallo> {
        let ocupado = self
            .archivo
            .metadata()
            .map_or(0, |datos| bytes_en_disco(&datos));
        let hacen_falta = tamano.saturating_sub(ocupado);
        // Un disco que no sabe cuánto tiene (dice 0 en total) se prueba escribiendo.
        let Ok(disco) = fs4::statvfs(&self.lugar) else {
            return Ok(());
        };
        if disco.total_space() > 0 && hacen_falta > disco.available_space() {
            return Err(Fallo::nuevo(format!(
                "{} no cabe: hacen falta {} y en {} quedan {}; libera sitio o elige otra carpeta con --carpeta",
                self.nombre,
                texto_tamano(hacen_falta),
                self.lugar.display(),
                texto_tamano(disco.available_space())
            )));
        }
        Ok(())
    }

    /// El archivo, para que varios hilos escriban a la vez en sitios distintos.
    ///
    /// # Errores
    /// No quedan descriptores.
    pub fn para_escribir(&self) -> Result<Escribible, Fallo> {
        let archivo = self
            .archivo
            .try_clone()
            .map_err(|e| self.fallo_al_escribir(&e))?;
        Ok(Escribible {
            archivo,
            nombre: self.nombre.clone(),
            lugar: self.lugar.clone(),
        })
    }

    /// Llena `destino` con lo que hay a partir del byte `desde`. Falso si no hay bastante o el disco falla.
    pub fn leer_entero(&self, desde: u64, destino: &mut [u8]) -> bool {
        let mut leidos = 0;
        while leidos < destino.len() {
            match leer_en(&self.archivo, desde + leidos as u64, &mut destino[leidos..]) {
                Ok(0) | Err(_) => return false,
                Ok(cuantos) => leidos += cuantos,
            }
        }
        true
    }

    /// El resumen de lo que tiene dentro, leyéndolo entero.
    ///
    /// # Errores
    /// El disco falló, o se canceló.
    pub fn resumir(&self, parada: &Parada) -> io::Result<Resumen> {
        let archivo = self.archivo.try_clone()?;
        let abierto =
            Abierto::mirar(archivo).map_err(|_| io::Error::other("el .part no se deja leer"))?;
        resumir(&abierto, parada)
    }

    /// Bytes que tiene ahora.
    pub fn tamano(&self) -> u64 {
        self.archivo.metadata().map_or(0, |datos| datos.len())
    }

    /// Borra el `.part` si no tiene nada dentro.
    pub fn descartar_si_vacio(&self) {
        if self.tamano() == 0 {
            self.descartar();
        }
    }

    /// Borra el `.part`.
    pub fn descartar(&self) {
        let (_, archivo) = self.nombre.partes();
        if let Err(error) = std::fs::remove_file(self.lugar.join(nombre_a_medias(archivo))) {
            log::warn!(
                "no se pudo borrar el .part de {}: {}",
                self.nombre,
                motivo(&error)
            );
        }
    }

    /// Corta lo que pase de `tamano` bytes.
    ///
    /// # Errores
    /// El disco falló.
    pub fn cortar(&self, tamano: u64) -> Result<(), Fallo> {
        self.archivo
            .set_len(tamano)
            .map_err(|e| self.fallo_al_escribir(&e))
    }

    /// Lo asegura en el disco y le da su nombre, o el primer `(n)` libre. Devuelve con cuál quedó.
    ///
    /// El nombre se toma de un golpe y sin pisar: si alguien lo crea justo antes, se prueba con el siguiente.
    ///
    /// # Errores
    /// El disco falló. El `.part` se queda.
    pub fn terminar(&self) -> Result<String, Fallo> {
        self.archivo
            .sync_data()
            .map_err(|e| self.fallo_al_escribir(&e))?;
        let (sub, archivo) = self.nombre.partes();
        let mut parte = TempPath::try_from_path(self.lugar.join(nombre_a_medias(archivo)))
            .map_err(|e| self.fallo_al_escribir(&e))?;
        // Es el archivo de alguien, no un temporal: si algo falla, que no se borre.
        parte.disable_cleanup(true);
        for n in 0..TOPE_DE_NUMEROS {
            let candidato = con_numero(archivo, n);
            // En un disco que distingue formas de Unicode, otra escritura del mismo nombre también es el mismo.
            if !candidato.is_ascii() && self.hay_otro_igual_en_nfc(&candidato) {
                continue;
            }
            match parte.persist_noclobber(self.lugar.join(&candidato)) {
                Ok(()) => {
                    return Ok(if sub.is_empty() {
                        candidato
                    } else {
                        format!("{sub}/{candidato}")
                    });
                }
                Err(ocupado) if ocupado.error.kind() == io::ErrorKind::AlreadyExists => {
                    parte = ocupado.path;
                    parte.disable_cleanup(true);
                }
                Err(otro) => {
                    let mut parte = otro.path;
                    parte.disable_cleanup(true);
                    return Err(self.fallo_al_escribir(&otro.error));
                }
            }
        }
        Err(Fallo::nuevo(format!(
            "hay demasiados archivos llamados {}; borra o renombra alguno",
            self.nombre
        )))
    }

    fn hay_otro_igual_en_nfc(&self, candidato: &str) -> bool {
        let Ok(entradas) = std::fs::read_dir(&self.lugar) else {
            return false;
        };
        entradas
            .filter_map(|entrada| entrada.ok()?.file_name().into_string().ok())
            .any(|otro| en_nfc(&otro) == candidato)
    }

    fn fallo_al_escribir(&self, error: &io::Error) -> Fallo {
        fallo_al_escribir(&self.nombre, &self.lugar, error)
    }
}

fn fallo_al_escribir(nombre: &NombreRecibible, lugar: &Path, error: &io::Error) -> Fallo {
    let remedio = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; libera sitio y vuelve a pedirlo"
        }
        _ => "",
    };
    Fallo::nuevo(format!(
        "guardando {nombre} en {}: {}{remedio}",
        lugar.display(),
        motivo(error)
    ))
}

/// El contenido de un archivo a medias, compartido entre los hilos que lo llenan.
pub struct Escribible {
    archivo: File,
    nombre: NombreRecibible,
    lugar: PathBuf,
}

impl Escribible {
    /// Escribe `datos` a partir del byte `desde`.
    ///
    /// # Errores
    /// El disco está lleno o falló.
    pub fn escribir_en(&self, desde: u64, datos: &[u8]) -> Result<(), Fallo> {
        escribir_en(&self.archivo, desde, datos)
            .map_err(|e| fallo_al_escribir(&self.nombre, &self.lugar, &e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodo::carpeta::huella::huella_de_bloque;
    use std::fs;

    fn carpeta() -> (tempfile::TempDir, Carpeta) {
        let temporal = tempfile::tempdir().unwrap();
        let carpeta = Carpeta::abrir(temporal.path()).unwrap();
        (temporal, carpeta)
    }

    fn nombre(texto: &str) -> NombreRecibible {
        NombreRecibible::nuevo(texto).unwrap()
    }

    fn recibir(carpeta: &Carpeta, texto: &str, datos: &[u8]) -> String {
        let a_medias = carpeta.empezar_a_recibir(&nombre(texto)).ok().unwrap();
        a_medias.hacer_sitio(datos.len() as u64).unwrap();
        a_medias
            .para_escribir()
            .unwrap()
            .escribir_en(0, datos)
            .unwrap();
        a_medias.terminar().unwrap()
    }

    #[test]
    fn nunca_pisa_y_numera() {
        let (temporal, carpeta) = carpeta();
        assert_eq!(recibir(&carpeta, "a.txt", b"uno"), "a.txt");
        assert_eq!(recibir(&carpeta, "a.txt", b"dos"), "a (1).txt");
        assert_eq!(recibir(&carpeta, "sub/b/a.txt", b"tres"), "sub/b/a.txt");
        assert_eq!(fs::read(temporal.path().join("a.txt")).unwrap(), b"uno");
        assert_eq!(fs::read(temporal.path().join("a (1).txt")).unwrap(), b"dos");
        assert_eq!(
            fs::read_dir(temporal.path()).unwrap().count(),
            3,
            "no queda ningún .part"
        );
    }

    #[test]
    fn dos_a_la_vez_no_se_mezclan() {
        let (_temporal, carpeta) = carpeta();
        let primero = carpeta.empezar_a_recibir(&nombre("a.txt")).ok().unwrap();
        assert!(matches!(
            carpeta.empezar_a_recibir(&nombre("a.txt")),
            Err(NoSeRecibe::YaSeEstaBajando)
        ));
        drop(primero);
        assert!(carpeta.empezar_a_recibir(&nombre("a.txt")).is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn un_part_que_es_tambien_un_archivo_bueno_no_se_toca() {
        let (temporal, carpeta) = carpeta();
        fs::write(temporal.path().join("a.txt"), "bueno").unwrap();
        fs::hard_link(
            temporal.path().join("a.txt"),
            temporal.path().join(".a.txt.part"),
        )
        .unwrap();
        assert_eq!(recibir(&carpeta, "a.txt", b"otro"), "a (1).txt");
        assert_eq!(fs::read(temporal.path().join("a.txt")).unwrap(), b"bueno");
    }

    #[test]
    fn reconoce_lo_que_ya_tiene_con_cualquier_numero() {
        let (temporal, carpeta) = carpeta();
        fs::write(temporal.path().join("a.txt"), "otro").unwrap();
        fs::write(temporal.path().join("a (7).txt"), "abc").unwrap();
        let huella = huella_de_bloque(3, 0, b"abc");
        let parada = Parada::nueva();
        assert_eq!(
            carpeta
                .copia_igual(&nombre("a.txt"), 3, huella, &parada)
                .as_deref(),
            Some("a (7).txt")
        );
        let otra = carpeta.copia_igual(&nombre("b.txt"), 3, huella, &parada);
        assert_eq!(otra, None);
    }

    #[test]
    fn lo_que_no_cabe_se_dice_antes_de_empezar() {
        let (_temporal, carpeta) = carpeta();
        let a_medias = carpeta.empezar_a_recibir(&nombre("enorme")).ok().unwrap();
        let fallo = a_medias.hacer_sitio(u64::MAX / 4).unwrap_err().to_string();
        assert!(fallo.contains("no cabe"), "{fallo}");
    }
}
