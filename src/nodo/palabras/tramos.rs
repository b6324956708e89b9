//! Los tramos de `TENGO`: qué bloques se tienen, en poco sitio. Funciones puras.
//!
//! `0-12,15,20-255` son los bloques del 0 al 12, el 15 y del 20 al 255. En una línea no caben todos
//! los de un archivo enorme a medias: se escriben los primeros que quepan, y quien pregunta vuelve
//! a preguntar desde el siguiente.

use std::fmt;
use std::ops::RangeInclusive;

/// Unos bloques, de menor a mayor y sin repetir.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tramos(Vec<RangeInclusive<u64>>);

impl Tramos {
    /// Los de una lista de bloques, de menor a mayor.
    pub fn de(bloques: impl IntoIterator<Item = u64>) -> Tramos {
        let mut tramos: Vec<RangeInclusive<u64>> = Vec::new();
        for bloque in bloques {
            match tramos.last_mut() {
                Some(ultimo) if bloque.checked_sub(1) == Some(*ultimo.end()) => {
                    *ultimo = *ultimo.start()..=bloque;
                }
                _ => tramos.push(bloque..=bloque),
            }
        }
        Tramos(tramos)
    }

    /// Todos los de un archivo de `cuantos` bloques, desde ese.
    pub fn todos(desde: u64, cuantos: u64) -> Tramos {
        let alguno = desde < cuantos;
        Tramos(alguno.then(|| desde..=cuantos - 1).into_iter().collect())
    }

    /// Los lee. `None` si no están bien escritos, o no van de menor a mayor.
    pub fn leer(texto: &str) -> Option<Tramos> {
        let mut tramos: Vec<RangeInclusive<u64>> = Vec::new();
        for parte in texto.split(',') {
            let (desde, hasta) = parte.split_once('-').unwrap_or((parte, parte));
            let tramo = leer_numero(desde)?..=leer_numero(hasta)?;
            let sigue = tramos
                .last()
                .is_none_or(|antes| antes.end() < tramo.start());
            if tramo.is_empty() || !sigue {
                return None;
            }
            tramos.push(tramo);
        }
        Some(Tramos(tramos))
    }

    /// Los primeros, los que escritos caben en `bytes`.
    pub fn que_caben_en(mut self, bytes: usize) -> Tramos {
        let mut ocupan = 0;
        let caben = self.0.iter().take_while(|tramo| {
            // Con la coma que lo separa del anterior.
            ocupan += escrito(tramo).len() + usize::from(ocupan > 0);
            ocupan <= bytes
        });
        let cuantos = caben.count();
        self.0.truncate(cuantos);
        self
    }

    /// ¿No hay ninguno?
    pub fn vacios(&self) -> bool {
        self.0.is_empty()
    }

    /// El último bloque.
    pub fn ultimo(&self) -> Option<u64> {
        self.0.last().map(|tramo| *tramo.end())
    }

    /// Los bloques, uno a uno. Quien los lee de otro mira antes que [`Tramos::ultimo`] sea de ese
    /// archivo.
    pub fn bloques(&self) -> impl Iterator<Item = u64> {
        self.0.iter().cloned().flatten()
    }
}

fn escrito(tramo: &RangeInclusive<u64>) -> String {
    match (tramo.start(), tramo.end()) {
        (desde, hasta) if desde == hasta => desde.to_string(),
        (desde, hasta) => format!("{desde}-{hasta}"),
    }
}

/// Un número decimal sin signo ni adornos («+5» no vale), que quepa en 64 bits.
pub fn leer_numero(texto: &str) -> Option<u64> {
    if texto.is_empty() || !texto.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    texto.parse().ok()
}

impl fmt::Display for Tramos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let partes: Vec<String> = self.0.iter().map(escrito).collect();
        f.write_str(&partes.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn se_escriben_como_en_el_protocolo() {
        let bloques = (0..=12).chain([15]).chain(20..=255);
        let tramos = Tramos::de(bloques);
        assert_eq!(tramos.to_string(), "0-12,15,20-255");
        assert_eq!(Tramos::leer("0-12,15,20-255"), Some(tramos.clone()));
        assert_eq!(tramos.ultimo(), Some(255));
        assert_eq!(tramos.clone().que_caben_en(7).to_string(), "0-12,15");
        assert_eq!(tramos.que_caben_en(6).to_string(), "0-12");
        assert_eq!(Tramos::todos(3, 9).to_string(), "3-8");
        assert!(Tramos::todos(9, 9).vacios());
    }

    #[test]
    fn los_mal_escritos_no_se_leen() {
        for malo in [
            "",
            ",",
            "1,",
            "1-",
            "-1",
            "2-1",
            "1,1",
            "1-3,3",
            "5,2",
            "a",
            "1 ",
            "+1",
            "1-2-3",
            "99999999999999999999",
        ] {
            assert_eq!(Tramos::leer(malo), None, "{malo:?}");
        }
    }

    proptest! {
        #[test]
        fn van_y_vuelven(bloques in proptest::collection::btree_set(0..200_u64, 1..100)) {
            let tramos = Tramos::de(bloques.iter().copied());
            let leidos = Tramos::leer(&tramos.to_string()).unwrap();
            prop_assert_eq!(&leidos, &tramos);
            prop_assert_eq!(leidos.bloques().collect::<BTreeSet<_>>(), bloques);
        }

        #[test]
        fn recortados_son_los_primeros_y_preguntando_otra_vez_salen_todos(
            bloques in proptest::collection::btree_set(0..5000_u64, 1..300),
            bytes in 9..100_usize,
        ) {
            let mut vistos = BTreeSet::new();
            let mut desde = 0;
            loop {
                let quedan = bloques.range(desde..).copied();
                let caben = Tramos::de(quedan).que_caben_en(bytes);
                prop_assert!(caben.to_string().len() <= bytes);
                let Some(ultimo) = caben.ultimo() else { break };
                vistos.extend(caben.bloques());
                desde = ultimo + 1;
            }
            prop_assert_eq!(vistos, bloques);
        }

        #[test]
        fn ninguna_basura_los_tumba(texto in "[0-9,-]{0,40}|.*") {
            let _ = Tramos::leer(&texto);
        }
    }
}
