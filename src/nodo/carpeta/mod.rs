//! La carpeta compartida: listar y abrir. El `CARPETA_ARCHIVOS`, `os.listdir` y `os.path.exists`
//! de la guía.
//!
//! Todo va por un `Dir` de cap-std: ninguna ruta sale de la carpeta, tampoco por un enlace
//! simbólico, lo diga quien lo diga. Sólo hay archivos regulares: una tubería o un dispositivo se
//! abren sin bloquear, se miran y se rechazan. Guardar lo que llega es cosa de `a_medias.rs`.

pub mod a_medias;
pub mod disco;
pub mod en_curso;
pub mod huella;
pub mod huellas;
pub mod nombres;
pub mod ventanilla;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use cap_fs_ext::{DirEntryExt, MetadataExt, OpenOptionsSyncExt};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, Metadata, OpenOptions, ReadDir};

use crate::fallo::{Fallo, motivo, sin_descriptores};
use crate::nodo::carpeta::en_curso::EnCurso;
use crate::nodo::carpeta::nombres::{en_nfc, servible};
use crate::texto::limpiar;

/// Una carpeta abierta, de la que no se sale.
pub struct Carpeta {
    ruta: PathBuf,
    dir: Dir,
    /// Lo que se está recibiendo en ella.
    pub en_curso: EnCurso,
}

/// Un archivo de la lista.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archivo {
    /// Ruta relativa con `/`, tal como está en el disco.
    pub nombre: String,
    /// Bytes.
    pub tamano: u64,
    /// Cuál es, y en qué estado.
    pub sello: Sello,
}

/// Un archivo abierto para leer, con lo que medía al abrirlo.
pub struct Abierto {
    /// El archivo, en su primer byte.
    pub archivo: File,
    /// Bytes.
    pub tamano: u64,
    /// Cuál es, y en qué estado: sea cual sea el nombre con que se pidió.
    pub sello: Sello,
}

impl Abierto {
    /// Mira un archivo recién abierto. Uno que no sea regular es como si no estuviera.
    pub fn mirar(archivo: File) -> Result<Abierto, NoSeAbre> {
        let datos = Metadata::from_file(&archivo).map_err(NoSeAbre::de_sistema)?;
        if !datos.is_file() {
            return Err(NoSeAbre::NoEsta);
        }
        let sello = Sello::de(&datos).map_err(NoSeAbre::de_sistema)?;
        Ok(Abierto {
            tamano: sello.tamano,
            sello,
            archivo,
        })
    }

    /// ¿Sigue como cuando se abrió? Si no, lo leído puede ser mitad de antes y mitad de después.
    pub fn sigue_igual(&self) -> bool {
        let datos = self.archivo.metadata();
        datos.is_ok_and(|d| {
            d.len() == self.tamano && d.modified().is_ok_and(|fecha| fecha == self.sello.fecha)
        })
    }
}

/// Qué archivo es (su disco y su número en él) y en qué estado está. Si algo de esto cambia, lo que
/// se supiera de su contenido ya no vale. No depende de con qué nombre se llegue a él.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sello {
    /// Disco y número: lo que no cambia mientras sea el mismo archivo.
    pub archivo: (u64, u64),
    /// Bytes.
    pub tamano: u64,
    /// Última modificación.
    pub fecha: SystemTime,
    /// El último cambio de cualquier clase: un archivo nuevo puede heredar el número, el tamaño y
    /// la fecha de uno borrado. Windows no repite el número, y ahí es siempre cero.
    pub cambio: (i64, i64),
}

impl Sello {
    fn de(datos: &Metadata) -> io::Result<Sello> {
        #[cfg(unix)]
        let cambio = {
            use cap_std::fs::MetadataExt;
            (datos.ctime(), datos.ctime_nsec())
        };
        #[cfg(windows)]
        let cambio = (0, 0);
        Ok(Sello {
            archivo: (datos.dev(), datos.ino()),
            tamano: datos.len(),
            fecha: datos.modified()?.into_std(),
            cambio,
        })
    }
}

/// Por qué no se abre un archivo. Quedarse sin descriptores no es «no está», y no debe parecerlo.
#[derive(Debug)]
pub enum NoSeAbre {
    /// No está, no es un archivo, no hay permiso o el nombre no vale: para quien pregunta es lo
    /// mismo.
    NoEsta,
    /// No quedan descriptores.
    SinDescriptores,
}

impl NoSeAbre {
    fn de_sistema(error: io::Error) -> NoSeAbre {
        match sin_descriptores(&error) {
            true => NoSeAbre::SinDescriptores,
            false => NoSeAbre::NoEsta,
        }
    }
}

impl Carpeta {
    /// Abre una carpeta que ya existe.
    pub fn abrir(ruta: &Path) -> Result<Carpeta, Fallo> {
        let fallo = |e| no_se_puede("leer", ruta, &e);
        let dir = Dir::open_ambient_dir(ruta, ambient_authority()).map_err(fallo)?;
        dir.entries().map_err(fallo)?;
        Ok(Carpeta {
            // La de `std` empieza en Windows por `\\\\?\\`, que no es como nadie escribe una ruta.
            ruta: dunce::canonicalize(ruta).map_err(fallo)?,
            dir,
            en_curso: EnCurso::default(),
        })
    }

    /// Abre una carpeta, creándola si hace falta, como hace la guía al empezar.
    pub fn abrir_o_crear(ruta: &Path) -> Result<Carpeta, Fallo> {
        std::fs::create_dir_all(ruta).map_err(|e| no_se_puede("crear", ruta, &e))?;
        Carpeta::abrir(ruta)
    }

    /// La ruta absoluta de la carpeta.
    pub fn ruta(&self) -> &Path {
        &self.ruta
    }

    /// Los archivos que se comparten, por nombre. Entra en las subcarpetas (sin recursión ni seguir
    /// enlaces) y se salta lo oculto, lo que no es un archivo y los nombres que no se pueden
    /// servir. Una subcarpeta que no se deja leer también se salta, y se registra.
    pub fn listar(&self) -> Result<Vec<Archivo>, Fallo> {
        let mut archivos = Vec::new();
        let mut por_mirar = vec![String::new()];
        while let Some(sub) = por_mirar.pop() {
            match self.mirar_subcarpeta(&sub, &mut archivos, &mut por_mirar) {
                Err(e) if sub.is_empty() => {
                    let que = format!("leyendo la carpeta {}", self.ruta.display());
                    let fuera = format!("no se puede leer la carpeta compartida: {}", motivo(&e));
                    return Err(Fallo::de_sistema(que, &e).que_fuera_se_cuenta(fuera));
                }
                Err(e) => log::warn!("no se lista {}: {}", limpiar(&sub), motivo(&e)),
                Ok(()) => {}
            }
        }
        archivos.sort_unstable_by(|a, b| a.nombre.cmp(&b.nombre));
        Ok(archivos)
    }

    fn mirar_subcarpeta(
        &self,
        sub: &str,
        archivos: &mut Vec<Archivo>,
        por_mirar: &mut Vec<String>,
    ) -> io::Result<()> {
        for entrada in self.entradas(sub)? {
            let entrada = entrada?;
            let (Ok(nombre), Ok(tipo)) = (entrada.file_name().into_string(), entrada.file_type())
            else {
                continue;
            };
            let nombre = unir(sub, &nombre);
            if !servible(&nombre) {
                continue;
            }
            if tipo.is_dir() {
                por_mirar.push(nombre);
            } else if tipo.is_file()
                // Si lo borraron entre leer la carpeta y mirarlo, ya no está: no se lista.
                && let Ok(sello) = entrada.full_metadata().and_then(|datos| Sello::de(&datos))
            {
                let tamano = sello.tamano;
                archivos.push(Archivo {
                    nombre,
                    tamano,
                    sello,
                });
            }
        }
        Ok(())
    }

    /// Lo que hay en una subcarpeta («», la propia carpeta).
    fn entradas(&self, sub: &str) -> io::Result<ReadDir> {
        self.dir.read_dir(if sub.is_empty() { "." } else { sub })
    }

    /// Abre un archivo compartido por su nombre. Nunca se cuelga ni sale de la carpeta.
    pub fn abrir_archivo(&self, nombre: &str) -> Result<Abierto, NoSeAbre> {
        if !servible(nombre) {
            return Err(NoSeAbre::NoEsta);
        }
        match self.abrir_tal_cual(nombre) {
            Err(NoSeAbre::NoEsta) if !nombre.is_ascii() => match self.nombre_en_disco(nombre) {
                Some(escrito_de_otra_forma) => self.abrir_tal_cual(&escrito_de_otra_forma),
                None => Err(NoSeAbre::NoEsta),
            },
            otro => otro,
        }
    }

    /// Un archivo que se llama exactamente así, si es de los que se leen.
    fn abrir_tal_cual(&self, nombre: &str) -> Result<Abierto, NoSeAbre> {
        let mut opciones = OpenOptions::new();
        // Sin bloquear: abrir una tubería esperaría a que alguien escriba en ella.
        opciones.read(true).nonblock(true);
        let archivo = self.dir.open_with(nombre, &opciones);
        Abierto::mirar(archivo.map_err(NoSeAbre::de_sistema)?.into_std())
    }

    /// El nombre tal como está en el disco, si es el mismo en NFC (macOS guarda «ñ» en dos letras).
    fn nombre_en_disco(&self, nombre: &str) -> Option<String> {
        nombre.split('/').try_fold(String::new(), |sub, parte| {
            let parte = en_nfc(parte);
            let mut nombres = nombres_de(self.entradas(&sub).ok()?);
            let en_disco = nombres.find(|candidato| en_nfc(candidato) == parte)?;
            Some(unir(&sub, &en_disco))
        })
    }
}

fn no_se_puede(que: &str, ruta: &Path, error: &io::Error) -> Fallo {
    let carpeta = ruta.display();
    let que = format!("no se puede {que} la carpeta {carpeta} (elige otra con --carpeta)");
    Fallo::de_sistema(que, error)
}

/// Los nombres que son texto.
fn nombres_de(entradas: ReadDir) -> impl Iterator<Item = String> {
    entradas.filter_map(|entrada| entrada.ok()?.file_name().into_string().ok())
}

/// `nombre` dentro de `sub` («», la propia carpeta).
fn unir(sub: &str, nombre: &str) -> String {
    match sub {
        "" => nombre.to_string(),
        _ => format!("{sub}/{nombre}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn carpeta() -> (tempfile::TempDir, Carpeta) {
        let temporal = tempfile::tempdir().unwrap();
        let carpeta = Carpeta::abrir(temporal.path()).unwrap();
        (temporal, carpeta)
    }

    fn nombres(carpeta: &Carpeta) -> Vec<String> {
        carpeta
            .listar()
            .unwrap()
            .into_iter()
            .map(|a| a.nombre)
            .collect()
    }

    #[test]
    fn lista_subcarpetas_y_se_salta_lo_oculto() {
        let (temporal, carpeta) = carpeta();
        fs::create_dir_all(temporal.path().join("sub/mas")).unwrap();
        fs::create_dir(temporal.path().join(".git")).unwrap();
        for nombre in [
            "b.txt",
            "sub/a.txt",
            "sub/mas/c.txt",
            ".git/x",
            ".b.txt.part",
            "sub/.y",
        ] {
            fs::write(temporal.path().join(nombre), nombre).unwrap();
        }
        assert_eq!(nombres(&carpeta), ["b.txt", "sub/a.txt", "sub/mas/c.txt"]);
        assert!(matches!(
            carpeta.abrir_archivo(".b.txt.part"),
            Err(NoSeAbre::NoEsta)
        ));
        assert_eq!(carpeta.abrir_archivo("sub/a.txt").unwrap().tamano, 9);
    }

    #[test]
    fn una_carpeta_no_es_un_archivo() {
        let (temporal, carpeta) = carpeta();
        fs::create_dir(temporal.path().join("sub")).unwrap();
        assert!(matches!(
            carpeta.abrir_archivo("sub"),
            Err(NoSeAbre::NoEsta)
        ));
        assert!(matches!(
            carpeta.abrir_archivo("sub/"),
            Err(NoSeAbre::NoEsta)
        ));
    }

    #[test]
    fn un_nombre_en_otra_forma_unicode_es_el_mismo() {
        let (temporal, carpeta) = carpeta();
        fs::create_dir(temporal.path().join("an\u{303}o")).unwrap();
        fs::write(temporal.path().join("an\u{303}o/n\u{303}.txt"), "x").unwrap();
        assert!(carpeta.abrir_archivo("año/ñ.txt").is_ok());
        assert!(carpeta.abrir_archivo("año/n.txt").is_err());
    }

    #[cfg(unix)]
    #[test]
    fn ni_enlaces_fuera_ni_tuberias_ni_nombres_raros() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        use std::os::unix::fs::symlink;

        let fuera = tempfile::tempdir().unwrap();
        fs::write(fuera.path().join("secreto"), "no").unwrap();
        let (temporal, carpeta) = carpeta();
        let dentro = |nombre: &str| temporal.path().join(nombre);
        symlink(fuera.path().join("secreto"), dentro("enlace")).unwrap();
        symlink(fuera.path(), dentro("carpeta")).unwrap();
        symlink("/dev/zero", dentro("cero")).unwrap();
        assert!(
            std::process::Command::new("mkfifo")
                .arg(dentro("tuberia"))
                .status()
                .unwrap()
                .success()
        );
        fs::write(dentro("con\nsalto"), "x").unwrap();
        fs::write(temporal.path().join(OsStr::from_bytes(b"\xff.txt")), "x").unwrap();
        fs::write(dentro("bueno"), "x").unwrap();
        for malo in ["enlace", "carpeta/secreto", "cero", "tuberia", "con\nsalto"] {
            assert!(
                matches!(carpeta.abrir_archivo(malo), Err(NoSeAbre::NoEsta)),
                "{malo:?}"
            );
        }
        assert_eq!(nombres(&carpeta), ["bueno"]);
    }

    #[test]
    fn si_no_se_lee_a_los_demas_no_se_les_dice_en_que_ruta() {
        let temporal = tempfile::tempdir().unwrap();
        let ruta = temporal.path().join("no es una carpeta");
        let dir = Dir::from_std_file(File::create(&ruta).unwrap());
        let en_curso = EnCurso::default();
        let carpeta = Carpeta {
            ruta,
            dir,
            en_curso,
        };
        let fallo = carpeta.listar().unwrap_err();
        assert!(fallo.to_string().contains("no es una carpeta: "), "{fallo}");
        let fuera = "no se puede leer la carpeta compartida: ";
        assert!(fallo.publico().starts_with(fuera), "{}", fallo.publico());
        assert!(!fallo.publico().contains("no es una carpeta: "));
    }

    #[test]
    fn una_carpeta_que_no_se_puede_crear_se_dice() {
        let (temporal, _) = carpeta();
        fs::write(temporal.path().join("archivo"), "x").unwrap();
        let Err(fallo) = Carpeta::abrir_o_crear(&temporal.path().join("archivo/sub")) else {
            panic!()
        };
        assert!(fallo.to_string().contains("--carpeta"), "{fallo}");
        assert!(Carpeta::abrir(&temporal.path().join("nada")).is_err());
    }
}
