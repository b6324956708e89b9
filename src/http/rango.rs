//! La cabecera `Range`: qué parte de un archivo se pide. Función pura.
//!
//! Con ella `curl -C -` sigue una descarga donde se quedó y un navegador salta dentro de un vídeo.
//! Sólo se atiende un intervalo; si piden varios, se manda el archivo entero, que también es
//! correcto. No abre archivos.

/// Lo que hay que mandar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rango {
    /// Entero (200): no se pidió parte, o se pidió de una forma que se ignora.
    Entero,
    /// Los bytes de `desde` a `hasta`, los dos incluidos (206).
    Parte {
        /// El primero.
        desde: u64,
        /// El último.
        hasta: u64,
    },
    /// Nada de lo pedido existe (416).
    Imposible,
}

/// Traduce una cabecera `Range` para un archivo de `total` bytes: `bytes=a-b`, `bytes=a-` o
/// `bytes=-n` (los últimos n).
pub fn leer_rango(cabecera: Option<&str>, total: u64) -> Rango {
    partes(cabecera).map_or(Rango::Entero, |partes| match partes {
        (None, None) => Rango::Entero,
        (None, Some(ultimos)) if ultimos == 0 || total == 0 => Rango::Imposible,
        (None, Some(ultimos)) => Rango::Parte {
            desde: total.saturating_sub(ultimos),
            hasta: total - 1,
        },
        (Some(desde), Some(hasta)) if hasta < desde => Rango::Entero,
        (Some(desde), _) if desde >= total => Rango::Imposible,
        (Some(desde), hasta) => Rango::Parte {
            desde,
            hasta: hasta.unwrap_or(u64::MAX).min(total - 1),
        },
    })
}

/// Los dos números; un lado puede faltar. `None` si no se entiende o son varios intervalos.
fn partes(cabecera: Option<&str>) -> Option<(Option<u64>, Option<u64>)> {
    let (unidad, intervalo) = cabecera?.split_once('=')?;
    let (desde, hasta) = intervalo.trim().split_once('-')?;
    if !unidad.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    Some((numero(desde)?, numero(hasta)?))
}

/// Un número sólo de cifras (el que no cabe en 64 bits vale como el mayor), o nada.
fn numero(escrito: &str) -> Option<Option<u64>> {
    let escrito = escrito.trim();
    if !escrito.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some((!escrito.is_empty()).then(|| escrito.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn una_parte_o_el_archivo_entero() {
        let parte = |desde, hasta| Rango::Parte { desde, hasta };
        let casos = [
            ("bytes=0-4", 10, parte(0, 4)),
            ("bytes=4-", 10, parte(4, 9)),
            ("bytes=-3", 10, parte(7, 9)),
            ("bytes=-30", 10, parte(0, 9)),
            ("bytes=2-99", 10, parte(2, 9)),
            ("bytes=9-9", 10, parte(9, 9)),
            ("Bytes = 1-2", 10, parte(1, 2)),
            ("bytes=0-99999999999999999999999", 10, parte(0, 9)),
            ("bytes=10-", 10, Rango::Imposible),
            ("bytes=99999999999999999999999-", 10, Rango::Imposible),
            ("bytes=-0", 10, Rango::Imposible),
            ("bytes=0-0", 0, Rango::Imposible),
            ("bytes=-5", 0, Rango::Imposible),
            ("bytes=0-1,3-4", 10, Rango::Entero),
            ("bytes=5-2", 10, Rango::Entero),
            ("bytes=-", 10, Rango::Entero),
            ("bytes=+1-2", 10, Rango::Entero),
            ("bytes=a-b", 10, Rango::Entero),
            ("letras=0-1", 10, Rango::Entero),
            ("", 10, Rango::Entero),
        ];
        for (cabecera, total, esperado) in casos {
            assert_eq!(leer_rango(Some(cabecera), total), esperado, "{cabecera}");
        }
        assert_eq!(leer_rango(None, 10), Rango::Entero);
    }

    proptest! {
        #[test]
        fn lo_que_se_manda_siempre_existe(
            cabecera in "(bytes=)?[0-9,-]{0,24}", total in any::<u64>(),
        ) {
            if let Rango::Parte { desde, hasta } = leer_rango(Some(&cabecera), total) {
                prop_assert!(desde <= hasta && hasta < total);
            }
        }
    }
}
