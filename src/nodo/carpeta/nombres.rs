//! Qué nombres de archivo valen: para servirlos y, con más cuidado, para recibirlos. Funciones
//! puras.
//!
//! La guía une la carpeta con lo que pida el otro (`os.path.join`), y `../../etc/passwd` sale de
//! ella. Aquí un nombre es una ruta relativa con `/` que no puede subir. Además, lo que se recibe
//! debe poder guardarse también en Windows: si no, quien lo comparta después desde allí no podría.
//! El disco lo vigila `carpeta/mod.rs` por su lado.

use std::fmt;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use crate::texto::cambia_direccion;

/// Bytes de una ruta entera: con él cabe en una línea de 4096 la petición más larga, `OBTENER` con
/// dos números.
pub const TOPE_DE_RUTA: usize = 4000;
/// Bytes de cada componente al recibir: deja sitio para el nombre del archivo a medias y para el
/// número de ` (1)` en los 255 de los discos usuales.
pub const TOPE_DE_COMPONENTE: usize = 240;

/// ¿Es `nombre` una ruta relativa que se puede servir? Con `/`, sin `..`, sin componentes vacíos,
/// `.` ni ocultos (que empiecen por `.`), sin `\` ni caracteres de control.
pub fn servible(nombre: &str) -> bool {
    let en_windows = |nombre: &str| {
        nombre.chars().all(letra_valida) && nombre.split('/').try_for_each(vale_en_windows).is_ok()
    };
    nombre.len() <= TOPE_DE_RUTA
        && !nombre.chars().any(|c| c.is_control() || c == '\\')
        && no_sube(nombre)
        && (!cfg!(windows) || en_windows(nombre))
}

/// Sin componentes vacíos ni que empiecen por `.`: ni `..`, ni ocultos.
fn no_sube(nombre: &str) -> bool {
    let vale = |parte: &str| !parte.is_empty() && !parte.starts_with('.');
    nombre.split('/').all(vale)
}

/// `nombre` en NFC, la forma en que se comparan: «ñ» puede escribirse con una letra o con dos.
pub fn en_nfc(nombre: &str) -> String {
    match is_nfc_quick(nombre.chars()) {
        IsNormalized::Yes => nombre.to_string(),
        _ => nombre.nfc().collect(),
    }
}

/// Un nombre con el que se puede guardar un archivo que llega, ya en NFC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NombreRecibible(String);

/// Por qué un nombre no sirve para guardar un archivo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NombreMalo {
    /// No es una ruta relativa con `/`, sin `..` ni componentes vacíos u ocultos.
    Ruta,
    /// Lleva un carácter que no vale; dice cuál y en qué posición (desde 1).
    Caracter(char, usize),
    /// Un componente acaba en punto o en espacio.
    Final(String),
    /// Un componente es un nombre reservado de Windows.
    Reservado(String),
    /// Un componente, o la ruta entera, es demasiado largo.
    Largo,
}

impl fmt::Display for NombreMalo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let frase = match self {
            NombreMalo::Ruta => {
                "no es un nombre de archivo dentro de la carpeta (sin «..», sin / al principio o \
                 al final, sin partes vacías u ocultas)"
                    .to_string()
            }
            NombreMalo::Caracter(cual, donde) => {
                let (cual, para) = if cual.is_control() || cambia_direccion(*cual) {
                    (format!("U+{:04X}", u32::from(*cual)), "un nombre")
                } else {
                    (format!("«{cual}»"), "Windows")
                };
                format!("el carácter {cual}, en la posición {donde}, no vale en {para}")
            }
            NombreMalo::Final(parte) => {
                format!("«{parte}» acaba en punto o espacio, y eso no vale en Windows")
            }
            NombreMalo::Reservado(parte) => format!("«{parte}» es un nombre reservado en Windows"),
            NombreMalo::Largo => {
                let tope = TOPE_DE_COMPONENTE;
                format!("el nombre es demasiado largo (hasta {tope} bytes cada parte)")
            }
        };
        f.write_str(&frase)
    }
}

impl NombreRecibible {
    /// Comprueba un nombre ajeno. Si no vale, dice por qué.
    pub fn nuevo(ajeno: &str) -> Result<NombreRecibible, NombreMalo> {
        let nombre = en_nfc(ajeno);
        if let Some((donde, cual)) = nombre.chars().enumerate().find(|(_, c)| !letra_valida(*c)) {
            return Err(NombreMalo::Caracter(cual, donde + 1));
        }
        if !no_sube(&nombre) {
            return Err(NombreMalo::Ruta);
        }
        let larga = |parte: &str| parte.len() > TOPE_DE_COMPONENTE;
        if nombre.len() > TOPE_DE_RUTA || nombre.split('/').any(larga) {
            return Err(NombreMalo::Largo);
        }
        nombre.split('/').try_for_each(vale_en_windows)?;
        Ok(NombreRecibible(nombre))
    }

    /// La subcarpeta («» si va en la raíz) y el nombre dentro de ella.
    pub fn partes(&self) -> (&str, &str) {
        self.0.rsplit_once('/').unwrap_or(("", &self.0))
    }
}

impl fmt::Display for NombreRecibible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn letra_valida(letra: char) -> bool {
    !letra.is_control()
        && !cambia_direccion(letra)
        && !matches!(letra, '<' | '>' | ':' | '"' | '|' | '?' | '*' | '\\')
}

/// Las reglas de Windows para un componente, aparte de sus letras: el final y los nombres
/// reservados (mirando hasta el primer punto: `NUL.txt` también es el dispositivo nulo).
fn vale_en_windows(parte: &str) -> Result<(), NombreMalo> {
    if parte.ends_with(['.', ' ']) {
        return Err(NombreMalo::Final(parte.to_string()));
    }
    let base = parte.split('.').next().unwrap_or(parte);
    let base = base.trim_end().to_uppercase();
    let numerado = |prefijo| {
        let resto: Option<Vec<char>> = base.strip_prefix(prefijo).map(|n| n.chars().collect());
        resto.is_some_and(|n| matches!(n[..], ['0'..='9' | '¹' | '²' | '³']))
    };
    let fijo = matches!(&*base, "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$");
    if fijo || numerado("COM") || numerado("LPT") {
        return Err(NombreMalo::Reservado(parte.to_string()));
    }
    Ok(())
}

/// `foto.png` → `foto (1).png`: el nombre que toma el archivo `n` cuando los anteriores ya están (0
/// es el suyo).
pub fn con_numero(nombre: &str, n: u32) -> String {
    if n == 0 {
        return nombre.to_string();
    }
    match nombre.rsplit_once('.') {
        Some((base, extension)) if !base.is_empty() => format!("{base} ({n}).{extension}"),
        _ => format!("{nombre} ({n})"),
    }
}

/// ¿Es `candidato` el propio `nombre`, o uno de sus `(n)`?
pub fn es_copia_de(candidato: &str, nombre: &str) -> bool {
    let (candidato, nombre) = (en_nfc(candidato), en_nfc(nombre));
    if candidato == nombre {
        return true;
    }
    let (base, extension) = match nombre.rsplit_once('.') {
        Some((base, extension)) if !base.is_empty() => (base, format!(".{extension}")),
        _ => (nombre.as_str(), String::new()),
    };
    candidato
        .strip_prefix(base)
        .and_then(|resto| resto.strip_prefix(" ("))
        .and_then(|resto| resto.strip_suffix(&extension))
        .and_then(|resto| resto.strip_suffix(')'))
        .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOSTILES: [&str; 16] = [
        "",
        ".",
        "..",
        "../x",
        "a/../b",
        "a/..",
        "/etc/passwd",
        "//x",
        "a//b",
        "a/",
        ".oculto",
        "a/.b",
        "a\0b",
        "..\\x",
        "C:\\x",
        "a\nb",
    ];

    #[test]
    fn lo_hostil_ni_se_sirve_ni_se_recibe() {
        for nombre in HOSTILES {
            assert!(!servible(nombre), "{nombre:?}");
            assert!(NombreRecibible::nuevo(nombre).is_err(), "{nombre:?}");
        }
    }

    #[test]
    fn lo_normal_vale() {
        for nombre in [
            "foto.png",
            "apuntes/tema 1.pdf",
            "ñandú 🙂",
            "a.b.c",
            "%2e%2e",
            "x (1).txt",
        ] {
            assert!(servible(nombre), "{nombre:?}");
            assert_eq!(NombreRecibible::nuevo(nombre).unwrap().0, nombre);
        }
    }

    #[test]
    fn lo_que_windows_no_admite_dice_que_y_donde() {
        let malo = |nombre: &str| NombreRecibible::nuevo(nombre).unwrap_err();
        assert_eq!(malo("acta: final.txt"), NombreMalo::Caracter(':', 5));
        assert_eq!(
            malo("foto\u{202e}gpj.exe"),
            NombreMalo::Caracter('\u{202e}', 5)
        );
        for reservado in [
            "NUL",
            "nul.txt",
            "con",
            "a/COM1.log",
            "lpt¹.x",
            "aux.tar.gz",
            "NUL .txt",
        ] {
            assert!(
                matches!(malo(reservado), NombreMalo::Reservado(_)),
                "{reservado}"
            );
        }
        for final_malo in ["x.", "x ", "a./b"] {
            assert!(
                matches!(malo(final_malo), NombreMalo::Final(_)),
                "{final_malo}"
            );
        }
        assert_eq!(malo(&"x".repeat(241)), NombreMalo::Largo);
        assert!(NombreRecibible::nuevo(&"x".repeat(240)).is_ok());
        assert!(NombreRecibible::nuevo("COMO.txt").is_ok());
        assert!(NombreRecibible::nuevo("COM10").is_ok());
    }

    #[test]
    fn se_comparan_en_nfc() {
        assert_eq!(en_nfc("n\u{303}"), "ñ");
        assert_eq!(NombreRecibible::nuevo("n\u{303}.txt").unwrap().0, "ñ.txt");
        assert!(es_copia_de("n\u{303} (2).txt", "ñ.txt"));
    }

    #[test]
    fn numeros_y_copias() {
        assert_eq!(con_numero("foto.png", 0), "foto.png");
        assert_eq!(con_numero("foto.tar.gz", 2), "foto.tar (2).gz");
        assert_eq!(con_numero("LEEME", 1), "LEEME (1)");
        for (candidato, es) in [
            ("a.txt", true),
            ("a (1).txt", true),
            ("a (x).txt", false),
            ("a ().txt", false),
            ("a(1).txt", false),
            ("b.txt", false),
            ("a (1).txt.txt", false),
        ] {
            assert_eq!(es_copia_de(candidato, "a.txt"), es, "{candidato}");
        }
    }

    proptest! {
        #[test]
        fn lo_recibible_siempre_se_puede_servir(nombre in any::<String>()) {
            if let Ok(recibible) = NombreRecibible::nuevo(&nombre) {
                prop_assert!(servible(&recibible.0));
                let otra_vez = NombreRecibible::nuevo(&recibible.0);
                prop_assert_eq!(otra_vez, Ok(recibible.clone()));
                let (_, archivo) = recibible.partes();
                prop_assert!(es_copia_de(&con_numero(archivo, 3), archivo));
            }
        }
    }
}
