//! Cómo acabó una descarga de varios, y la línea con que se cuenta. Sólo tipos.

use crate::texto::{cuenta, tamano as texto_tamano};

/// Fallos que se cuentan con su motivo en la última línea; de todos se avisa según pasan.
const FALLOS_EN_EL_FINAL: usize = 3;

/// Cómo acabó.
#[derive(Debug, Default)]
pub struct Balance {
    /// Archivos bajados.
    pub bajados: usize,
    /// Lo que miden.
    pub bytes: u64,
    /// Los que ya se tenían.
    pub ya: usize,
    /// Los que no se pudo.
    pub fallos: usize,
    /// Los primeros de ellos, y por qué.
    primeros: Vec<String>,
    /// Lo pedido que nadie tiene, y aquí tampoco está.
    pub no_hallados: Vec<String>,
    /// ¿Lo dejó un Ctrl-C?
    pub cancelado: bool,
}

impl Balance {
    /// La última línea: `37 archivos · 1,2 GB · 2 ya los tenías · 1 falló (nombre: motivo)`.
    pub fn contar(&self) -> String {
        let mut partes = vec![
            cuenta(self.bajados, "archivo", "archivos"),
            texto_tamano(self.bytes),
        ];
        match self.ya {
            0 => {}
            1 => partes.push("1 ya lo tenías".into()),
            varios => partes.push(format!("{varios} ya los tenías")),
        }
        if self.fallos > 0 {
            let mut motivos = self.primeros.join("; ");
            if self.fallos > self.primeros.len() {
                motivos.push_str(&format!("; y {} más", self.fallos - self.primeros.len()));
            }
            let cuantos = cuenta(self.fallos, "falló", "fallaron");
            partes.push(format!("{cuantos} ({motivos})"));
        }
        partes.join(" · ")
    }

    /// Uno que no se pudo.
    pub fn sumar_fallo(&mut self, nombre: &str, motivo: &str) {
        self.fallos += 1;
        if self.primeros.len() < FALLOS_EN_EL_FINAL {
            self.primeros.push(format!("{nombre}: {motivo}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn la_ultima_linea_dice_lo_que_hubo_y_nada_mas() {
        let mut balance = Balance {
            bajados: 37,
            bytes: 1_200_000_000,
            ..Balance::default()
        };
        assert_eq!(balance.contar(), "37 archivos · 1,2 GB");
        balance.ya = 2;
        balance.sumar_fallo("a.txt", "no cabe");
        let linea = "37 archivos · 1,2 GB · 2 ya los tenías · 1 falló (a.txt: no cabe)";
        assert_eq!(balance.contar(), linea);
        (0..4).for_each(|n| balance.sumar_fallo(&n.to_string(), "no"));
        let linea = "5 fallaron (a.txt: no cabe; 0: no; 1: no; y 2 más)";
        assert!(balance.contar().ends_with(linea), "{}", balance.contar());
    }
}
