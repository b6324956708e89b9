//! Los errores de `nodo`: valores con una frase en español que dice qué pasó, a qué archivo o par,
//! y qué hacer.
//!
//! La guía atrapa `Exception as e` e imprime lo que diga el sistema, en inglés. Aquí cada capa
//! añade su parte a la frase y quien decide (el hilo principal) la pinta una vez. Este archivo no
//! pinta nada ni abre sockets; por qué no se llega a otra máquina lo dice `red/llegar.rs`.

use std::fmt;
use std::io;

use crate::red::llegar::NoLlega;

/// Un error que ya está contado en una frase completa, lista para la pantalla de este nodo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fallo {
    frase: String,
    fuera: Option<String>,
}

impl Fallo {
    /// Un fallo con la frase tal cual.
    pub fn nuevo(frase: impl Into<String>) -> Fallo {
        Fallo {
            frase: frase.into(),
            fuera: None,
        }
    }

    /// «`que`: motivo», con el motivo del sistema en español (`que` dice qué se intentaba y con
    /// quién).
    pub fn de_sistema(que: impl fmt::Display, error: &io::Error) -> Fallo {
        Fallo::nuevo(format!("{que}: {}", motivo(error)))
    }

    /// El mismo fallo, con otra frase para los demás: la suya lleva rutas de este disco, o cuánto
    /// sitio queda en él, y eso no le importa a nadie más.
    pub fn que_fuera_se_cuenta(mut self, frase: impl Into<String>) -> Fallo {
        self.fuera = Some(frase.into());
        self
    }

    /// La frase que se le dice a otro, por el protocolo o por HTTP.
    pub fn publico(&self) -> &str {
        self.fuera.as_ref().unwrap_or(&self.frase)
    }
}

impl fmt::Display for Fallo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.frase)
    }
}

/// Cómo acaba el programa, con el código que recibe quien lo arrancó.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Salida {
    /// Se hizo lo pedido.
    Bien = 0,
    /// No se pudo; el motivo ya se dijo.
    NoSePudo = 1,
    /// La orden estaba mal escrita.
    MalEscrito = 2,
    /// Ctrl-C o SIGTERM.
    Interrumpido = 130,
}

impl Salida {
    /// Cómo acaba algo que sirvió o no (`bien`), si nadie lo dejó antes de que acabara.
    pub fn de(acabo: bool, bien: bool) -> Salida {
        match (acabo, bien) {
            (false, _) => Salida::Interrumpido,
            (true, true) => Salida::Bien,
            (true, false) => Salida::NoSePudo,
        }
    }

    /// El código que recibe quien arrancó el programa.
    pub fn codigo(self) -> u8 {
        self as u8
    }
}

/// ¿Falló porque no quedan descriptores de archivo (del proceso o de la máquina)?
///
/// La biblioteca estándar no le da nombre a este caso; los números son los de `EMFILE` y `ENFILE`
/// en Unix y los de `WSAEMFILE` y `ERROR_TOO_MANY_OPEN_FILES` en Windows.
pub fn sin_descriptores(error: &io::Error) -> bool {
    match error.raw_os_error() {
        Some(codigo) if cfg!(windows) => codigo == 10024 || codigo == 4,
        Some(codigo) => codigo == 24 || codigo == 23,
        None => false,
    }
}

/// El motivo de un error del sistema, en español.
pub fn motivo(error: &io::Error) -> String {
    use io::ErrorKind as Clase;
    if let Some(no_llega) = NoLlega::en(error) {
        return no_llega.to_string();
    }
    if sin_descriptores(error) {
        return "no quedan descriptores de archivo (ulimit -n dice cuántos hay)".to_string();
    }
    let frase = match error.kind() {
        Clase::NotFound => "no existe",
        Clase::PermissionDenied => "no hay permiso",
        Clase::ConnectionRefused => "conexión rechazada, ahí no escucha nadie",
        Clase::ConnectionReset | Clase::ConnectionAborted | Clase::BrokenPipe => {
            "el otro lado cortó la conexión"
        }
        Clase::NotConnected => "no hay conexión",
        Clase::TimedOut | Clase::WouldBlock => "no respondió a tiempo",
        Clase::UnexpectedEof => "se cortó antes de acabar",
        Clase::AddrInUse => "ese puerto ya está en uso",
        Clase::AddrNotAvailable => "esa IP no es de esta máquina",
        Clase::HostUnreachable | Clase::NetworkUnreachable | Clase::NetworkDown => {
            return NoLlega::SinCamino.to_string();
        }
        Clase::StorageFull | Clase::QuotaExceeded => "el disco está lleno",
        Clase::AlreadyExists => "ya existe",
        Clase::IsADirectory => "es una carpeta",
        Clase::NotADirectory => "no es una carpeta",
        Clase::ReadOnlyFilesystem => "el disco es de sólo lectura",
        Clase::FileTooLarge => "es demasiado grande para este disco",
        Clase::InvalidFilename => "el disco no admite ese nombre",
        Clase::InvalidInput => "dato no válido",
        _ => {
            let raro = error
                .raw_os_error()
                .map(|n| format!("error {n} del sistema"));
            // Los que fabricamos nosotros ya vienen en español.
            return raro.unwrap_or_else(|| error.to_string());
        }
    };
    frase.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn los_motivos_estan_en_espanol() {
        let rechazada = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(
            motivo(&rechazada),
            "conexión rechazada, ahí no escucha nadie"
        );
        assert_eq!(motivo(&io::Error::other("cosa propia")), "cosa propia");
        assert_eq!(
            Fallo::de_sistema(
                "abriendo foto.png",
                &io::Error::from(io::ErrorKind::NotFound)
            )
            .to_string(),
            "abriendo foto.png: no existe"
        );
    }

    #[test]
    fn a_los_demas_se_les_cuenta_otra_cosa() {
        let fallo = Fallo::nuevo("leyendo /home/ana/compartidos: no hay permiso");
        assert_eq!(fallo.publico(), fallo.to_string());
        let fallo = fallo.que_fuera_se_cuenta("no se puede leer: no hay permiso");
        assert_eq!(fallo.publico(), "no se puede leer: no hay permiso");
        assert!(fallo.to_string().contains("/home/ana"));
    }

    #[cfg(unix)]
    #[test]
    fn quedarse_sin_descriptores_se_reconoce() {
        assert!(sin_descriptores(&io::Error::from_raw_os_error(24)));
        assert!(!sin_descriptores(&io::Error::from_raw_os_error(2)));
    }
}
