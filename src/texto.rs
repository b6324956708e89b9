//! Texto para personas: limpia lo que llega de fuera y escribe tamaños, tiempos y cuentas.
//!
//! La guía imprime lo que llega tal cual; un mensaje con secuencias de escape podría borrar la
//! pantalla de quien lo recibe o fingir un menú. **Todo texto ajeno** (nombres, mensajes, motivos)
//! pasa por [`limpiar`] antes de pintarse o registrarse. Este archivo no pinta nada.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Deja de `ajeno` sólo lo que se puede pintar: sin secuencias de escape, sin caracteres de control
/// (los saltos de línea y tabuladores quedan como espacios), sin los que invierten la dirección de
/// la escritura y sin los que no se ven.
///
/// Lo que queda es lo que se ve, y un nombre se enseña siempre con su dirección o su número: quien
/// se llame como otro, letras invisibles aparte, no pasa por él.
pub fn limpiar(ajeno: &str) -> String {
    let mut limpio = String::with_capacity(ajeno.len());
    let mut letras = ajeno.chars().peekable();
    while let Some(letra) = letras.next() {
        match letra {
            '\u{1b}' => saltar_escape(&mut letras),
            '\u{9b}' => saltar_hasta_final_csi(&mut letras),
            '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => limpio.push(' '),
            _ if letra.is_control() || cambia_direccion(letra) || invisible(letra) => {}
            _ => limpio.push(letra),
        }
    }
    limpio
}

/// ¿Es uno de los caracteres de Unicode que invierten la dirección en que se lee el texto? Con uno
/// de ellos, «factura[U+202E]gpj.exe» se ve como «facturaexe.jpg».
pub fn cambia_direccion(letra: char) -> bool {
    matches!(letra, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        | '\u{200e}' | '\u{200f}' | '\u{61c}')
}

/// ¿No se ve? Son los que Unicode deja no pintar (`Default_Ignorable_Code_Point`), las marcas de
/// anotación y el blanco de braille. Entre ellos están los que unen emojis y eligen su dibujo: una
/// familia se verá como cada uno de los suyos.
fn invisible(letra: char) -> bool {
    matches!(letra, '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{206f}' | '\u{2800}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

type Letras<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// Tras un ESC: `[` abre una secuencia CSI; `]`, `P`, `X`, `^` y `_`, una cadena que acaba en BEL o
/// `ESC \`; lo demás dura una letra.
fn saltar_escape(letras: &mut Letras) {
    match letras.next() {
        Some('[') => saltar_hasta_final_csi(letras),
        Some(']' | 'P' | 'X' | '^' | '_') => saltar_cadena(letras),
        _ => {}
    }
}

fn saltar_hasta_final_csi(letras: &mut Letras) {
    for letra in letras.by_ref() {
        if matches!(letra, '\u{40}'..='\u{7e}') || letra == '\n' {
            return;
        }
    }
}

fn saltar_cadena(letras: &mut Letras) {
    while let Some(letra) = letras.next() {
        if letra == '\u{7}' || letra == '\n' {
            return;
        }
        if letra == '\u{1b}' {
            letras.next_if_eq(&'\\');
            return;
        }
    }
}

/// Un tamaño en bytes como se lee, en unidades decimales: «312 bytes», «4,2 MB».
pub fn tamano(bytes: u64) -> String {
    const UNIDADES: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    match bytes {
        0 | 2..1000 => return format!("{bytes} bytes"),
        1 => return "1 byte".into(),
        _ => {}
    }
    let mut cantidad = bytes as f64 / 1e3;
    let mut unidad = 0;
    // 999,95 se escribiría «1000,0».
    while cantidad >= 999.95 && unidad + 1 < UNIDADES.len() {
        cantidad /= 1e3;
        unidad += 1;
    }
    format!("{} {}", decimal(cantidad), UNIDADES[unidad])
}

/// A qué velocidad pasaron unos bytes: «4,5 MB/s». Con menos de 1 MiB lo que se mide es otra cosa.
pub fn ritmo(bytes: u64, tiempo: Duration) -> Option<String> {
    let por_segundo = bytes as f64 / tiempo.as_secs_f64().max(1e-6);
    (bytes >= 1 << 20).then(|| format!("{}/s", tamano(por_segundo as u64)))
}

/// Un número con un decimal y coma, como se escribe en español.
pub fn decimal(cantidad: f64) -> String {
    format!("{cantidad:.1}").replace('.', ",")
}

/// Una duración como se lee: «menos de 1 ms», «7 ms», «2,3 s», «4 min 5 s», «3 h 2 min».
pub fn duracion(tiempo: Duration) -> String {
    let segundos = tiempo.as_secs_f64();
    if segundos < 0.001 {
        "menos de 1 ms".to_string()
    } else if segundos < 0.1 {
        format!("{} ms", tiempo.as_millis())
    } else if segundos < 60.0 {
        format!("{} s", decimal(segundos))
    } else if segundos < 3600.0 {
        format!("{} min {} s", tiempo.as_secs() / 60, tiempo.as_secs() % 60)
    } else {
        let minutos = tiempo.as_secs() / 60;
        format!("{} h {} min", minutos / 60, minutos % 60)
    }
}

/// La hora de esta máquina, como se lee en un reloj: «10:32».
pub fn hora(cuando: Timestamp, zona: &TimeZone) -> String {
    cuando.to_zoned(zona.clone()).strftime("%H:%M").to_string()
}

/// «1 archivo», «3 archivos»: la cuenta con la palabra que le toca.
pub fn cuenta(cuantos: usize, uno: &str, varios: &str) -> String {
    format!("{cuantos} {}", if cuantos == 1 { uno } else { varios })
}

/// Cuántos bytes del final son el principio de una letra UTF-8 que no ha llegado entera.
pub fn letra_a_medias(bytes: &[u8]) -> usize {
    let ultimo = bytes.utf8_chunks().last();
    let rotos = ultimo.map_or(&[][..], |ultimo| ultimo.invalid());
    match str::from_utf8(rotos) {
        Err(error) if error.error_len().is_none() => rotos.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quita_escapes_controles_e_inversion() {
        let casos = [
            ("hola", "hola"),
            ("\u{1b}[31mrojo\u{1b}[0m", "rojo"),
            ("\u{1b}]0;título falso\u{7}hola", "hola"),
            ("\u{1b}]8;;http://x\u{1b}\\enlace", "enlace"),
            ("\u{9b}2Jborra", "borra"),
            ("a\u{7}b\u{0}c\u{8}", "abc"),
            ("uno\ndos\ttres", "uno dos tres"),
            ("foto\u{202e}gpj.exe", "fotogpj.exe"),
            ("ñandú 🙂", "ñandú 🙂"),
            ("\u{1b}", ""),
            ("\u{1b}[", ""),
        ];
        for (ajeno, limpio) in casos {
            assert_eq!(limpiar(ajeno), limpio, "{ajeno:?}");
        }
    }

    #[test]
    fn lo_que_no_se_ve_no_queda() {
        let invisibles = "\u{ad}\u{34f}\u{61c}\u{115f}\u{1160}\u{17b4}\u{17b5}\u{180b}\u{180e}\
            \u{200b}\u{200c}\u{200d}\u{200e}\u{202e}\u{2060}\u{2061}\u{2062}\u{2063}\u{2064}\
            \u{2065}\u{206a}\u{206f}\u{2800}\u{3164}\u{fe00}\u{fe0f}\u{feff}\u{ffa0}\u{fff9}\
            \u{fffa}\u{fffb}\u{1bca0}\u{1d173}\u{e0001}\u{e0020}\u{e007f}\u{e0100}\u{e01ef}";
        for letra in invisibles.chars() {
            let nombre = format!("no{letra}do1{letra}");
            assert_eq!(limpiar(&nombre), "nodo1", "{}", letra.escape_unicode());
        }
        assert_eq!(limpiar("👩\u{200d}💻 ❤\u{fe0f}"), "👩💻 ❤");
        // Lo que se parece y sí se ve.
        for visible in ["·", "-", "ñ n\u{303}", "한글", "क्ष", "�", "٣", "ـ"] {
            assert_eq!(limpiar(visible), visible);
        }
    }

    #[test]
    fn tamanos_y_tiempos_se_leen() {
        assert_eq!(tamano(0), "0 bytes");
        assert_eq!(tamano(1), "1 byte");
        assert_eq!(tamano(999), "999 bytes");
        assert_eq!(tamano(1000), "1,0 kB");
        assert_eq!(tamano(999_949), "999,9 kB");
        assert_eq!(tamano(999_950), "1,0 MB");
        assert_eq!(tamano(5_000_000), "5,0 MB");
        assert_eq!(tamano(4 << 20), "4,2 MB");
        assert_eq!(tamano(u64::MAX), "18446,7 PB");
        assert_eq!(duracion(Duration::from_micros(7)), "menos de 1 ms");
        assert_eq!(duracion(Duration::from_millis(7)), "7 ms");
        assert_eq!(duracion(Duration::from_millis(2300)), "2,3 s");
        assert_eq!(duracion(Duration::from_secs(245)), "4 min 5 s");
        assert_eq!(duracion(Duration::from_secs(10_925)), "3 h 2 min");
        assert_eq!(cuenta(1, "par", "pares"), "1 par");
    }

    #[test]
    fn por_debajo_de_un_mebibyte_no_hay_velocidad_que_decir() {
        let segundo = Duration::from_secs(1);
        assert_eq!(ritmo((1 << 20) - 1, segundo), None);
        assert_eq!(ritmo(9_000_000, 2 * segundo).unwrap(), "4,5 MB/s");
        assert!(ritmo(9_000_000, Duration::ZERO).is_some());
    }

    proptest! {
        #[test]
        fn nada_de_control_sobrevive(ajeno in any::<String>()) {
            let limpio = limpiar(&ajeno);
            let malo = |c: char| c.is_control() || cambia_direccion(c) || invisible(c);
            prop_assert!(!limpio.chars().any(malo));
            prop_assert_eq!(limpiar(&limpio), limpio.clone());
        }
    }
}
