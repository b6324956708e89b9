//! Qué fronteras de mensaje cruza cada lectura: TCP es un flujo, y no las guarda.
//!
//! La guía da por hecho que un `recv` es una petición. Aquí se cuenta lo que trajo cada uno: una
//! línea entera, dos y media, o el final de la de antes. No lee ni pinta.

use crate::texto::{cuenta, letra_a_medias};

/// Lo que ha pasado en un sentido de la conexión.
#[derive(Debug, Default)]
pub struct Cuentas {
    veces: usize,
    bytes: u64,
    lineas: usize,
    /// Lo último acabó a mitad de una línea.
    a_medias: bool,
}

impl Cuentas {
    /// Cuenta una lectura (o una escritura): «3: 9 bytes, una línea entera».
    pub fn contar(&mut self, bytes: &[u8]) -> String {
        let saltos = bytes.iter().filter(|&&byte| byte == b'\n').count();
        let acaba = bytes.last() == Some(&b'\n');
        let mut que = frontera(self.a_medias, saltos, acaba);
        if letra_a_medias(bytes) > 0 {
            que += ", y corta una letra por la mitad";
        }
        self.veces += 1;
        self.bytes += bytes.len() as u64;
        self.lineas += saltos;
        self.a_medias = !acaba;
        let cuantos = cuenta(bytes.len(), "byte", "bytes");
        format!("{}: {cuantos}, {que}", self.veces)
    }

    /// Las cuentas: «2 lecturas, 14 bytes, 1 línea y otra sin acabar».
    pub fn total(&self, una: &str, varias: &str) -> String {
        let (veces, lineas) = (
            cuenta(self.veces, una, varias),
            cuenta(self.lineas, "línea", "líneas"),
        );
        let sin_acabar = if self.a_medias {
            " y otra sin acabar"
        } else {
            ""
        };
        let bytes = match self.bytes {
            1 => "1 byte".into(),
            bytes => format!("{bytes} bytes"),
        };
        format!("{veces}, {bytes}, {lineas}{sin_acabar}")
    }
}

/// Lo que cruzó: si `sigue` una línea empezada antes, cuántos `saltos` trajo y si `acaba` en uno.
fn frontera(sigue: bool, saltos: usize, acaba: bool) -> String {
    let mas = cuenta(saltos.saturating_sub(1), "línea más", "líneas más");
    match (sigue, saltos, acaba) {
        (false, 0, _) => "sin fin de línea".into(),
        (false, 1, true) => "una línea entera".into(),
        (false, 1, false) => "una línea y termina a media línea".into(),
        (false, n, true) => format!("{n} líneas enteras"),
        (false, n, false) => format!("{n} líneas y termina a media línea"),
        (true, 0, _) => "sigue la línea de antes, y no la acaba".into(),
        (true, 1, true) => "acaba la línea de antes".into(),
        (true, 1, false) => "acaba la línea de antes y termina a media línea".into(),
        (true, _, true) => format!("acaba la línea de antes y trae {mas}"),
        (true, _, false) => format!("acaba la línea de antes, trae {mas} y termina a media línea"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn contadas(trozos: &[&str]) -> Vec<String> {
        let mut sentido = Cuentas::default();
        let contar = |trozo: &&str| sentido.contar(trozo.as_bytes());
        trozos.iter().map(contar).collect()
    }

    #[test]
    fn cada_lectura_dice_que_frontera_cruzo() {
        assert_eq!(contadas(&["SI"]), ["1: 2 bytes, sin fin de línea"]);
        assert_eq!(
            contadas(&["LISTA:1\n", "12:-", ":a", "\n", "x\ny", "\nz\n", "\nu\nv"]),
            [
                "1: 8 bytes, una línea entera",
                "2: 4 bytes, sin fin de línea",
                "3: 2 bytes, sigue la línea de antes, y no la acaba",
                "4: 1 byte, acaba la línea de antes",
                "5: 3 bytes, una línea y termina a media línea",
                "6: 3 bytes, acaba la línea de antes y trae 1 línea más",
                "7: 4 bytes, 2 líneas y termina a media línea",
            ]
        );
        assert_eq!(
            contadas(&["a", "\nb"])[1],
            "2: 2 bytes, acaba la línea de antes y termina a media línea"
        );
        assert!(
            contadas(&["a", "\nb\nc"])[1].ends_with("trae 1 línea más y termina a media línea")
        );
        let mut sentido = Cuentas::default();
        assert!(
            sentido
                .contar(b"ma\xc3")
                .ends_with("corta una letra por la mitad")
        );
        assert!(!sentido.contar(b"\xb1ana\n").contains("letra"));
        assert_eq!(
            sentido.total("lectura", "lecturas"),
            "2 lecturas, 8 bytes, 1 línea"
        );
    }

    proptest! {
        /// Partido por donde sea, suman lo mismo; y cada frase dice la verdad de su trozo.
        #[test]
        fn las_fronteras_cuadran(trozos in prop::collection::vec("[a\n]{1,5}", 0..9)) {
            let (mut sentido, mut antes) = (Cuentas::default(), String::new());
            for trozo in &trozos {
                let dicho = sentido.contar(trozo.as_bytes());
                let sigue = !antes.is_empty() && !antes.ends_with('\n');
                prop_assert_eq!(dicho.contains("la línea de antes"), sigue);
                let a_medias = ["a media", "sin fin", "no la acaba"];
                let a_medias = a_medias.iter().any(|frase| dicho.contains(frase));
                prop_assert_eq!(a_medias, !trozo.ends_with('\n'));
                antes.push_str(trozo);
            }
            prop_assert_eq!(sentido.veces, trozos.len());
            prop_assert_eq!(sentido.bytes, antes.len() as u64);
            prop_assert_eq!(sentido.lineas, antes.matches('\n').count());
            let sin_acabar = !antes.is_empty() && !antes.ends_with('\n');
            prop_assert_eq!(sentido.total("x", "x").ends_with("sin acabar"), sin_acabar);
        }
    }
}
