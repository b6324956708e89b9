//! `--fallas LISTA`: romper a propósito lo que este nodo contesta, y poder repetirlo.
//!
//! La red de verdad falla cuando quiere; aquí, cuando se le dice. Cada decisión sale de la semilla
//! y de qué respuesta es (qué conexión aceptada, qué respuesta dentro de ella): con la misma
//! semilla y las mismas peticiones se rompe lo mismo, haya los hilos que haya. Aquí sólo se decide;
//! quien lo hace es `puesto.rs`.

use std::time::Duration;

/// Lo que más se puede retrasar una respuesta, en milisegundos: con más, el otro ya se fue.
const MAX_RETRASO: u64 = 60_000;
/// Partes en que se cuenta un porcentaje: hasta milésimas de uno por ciento.
const PARTES: u64 = 100_000;

/// Las fallas que se pidieron.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fallas {
    /// La lista, como se escribió.
    pub escrita: String,
    /// Cada respuesta sale este rato después, más o menos el segundo: milisegundos.
    retraso: Option<(u64, u64)>,
    /// Bytes que se escriben de una vez.
    trocear: Option<usize>,
    /// De cada respuesta sale, como mucho, esto de datos; luego se corta.
    cortar: Option<u64>,
    /// De cada cien mil peticiones, a cuántas no se contesta.
    callar: u64,
    /// De cada cien mil respuestas con datos, cuántas llevan un byte cambiado.
    mentir: u64,
    semilla: u64,
}

/// Qué respuesta es: lo que, con la semilla, decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cual {
    /// Ordinal de la conexión aceptada, desde 1.
    pub conexion: u64,
    /// Ordinal de la respuesta en su conexión, desde 1.
    pub respuesta: u64,
}

impl Fallas {
    /// Lee `retraso=200±50,trocear=7,cortar=4096,callar=10%,mentir=1%,semilla=42`: las que haga
    /// falta, en cualquier orden.
    ///
    /// # Errores
    /// La frase que dice qué está mal escrito y cómo se escribe.
    pub fn leer(escrito: &str) -> Result<Fallas, String> {
        let mut fallas = Fallas {
            escrita: escrito.to_string(),
            ..Fallas::default()
        };
        let mut vistas = Vec::new();
        for parte in escrito.split(',') {
            let (nombre, valor) = parte.trim().split_once('=').unwrap_or((parte.trim(), ""));
            if vistas.contains(&nombre) {
                return Err(format!("«{nombre}» está dos veces"));
            }
            vistas.push(nombre);
            match nombre {
                "retraso" => fallas.retraso = Some(leer_retraso(valor)?),
                "trocear" => fallas.trocear = Some(leer_cuenta(nombre, valor, 1)? as usize),
                "cortar" => fallas.cortar = Some(leer_cuenta(nombre, valor, 0)?),
                "callar" => fallas.callar = leer_porcentaje(nombre, valor)?,
                "mentir" => fallas.mentir = leer_porcentaje(nombre, valor)?,
                "semilla" => fallas.semilla = leer_cuenta(nombre, valor, 0)?,
                _ => {
                    let hay = "hay retraso, trocear, cortar, callar, mentir y semilla";
                    return Err(format!("no hay una falla «{nombre}»: {hay}"));
                }
            }
        }
        Ok(fallas)
    }

    /// Cuánto se retrasa esta respuesta.
    pub fn retraso(&self, cual: Cual) -> Option<Duration> {
        let (base, vaiven) = self.retraso?;
        let suerte = self.suerte(cual, "retraso") % (2 * vaiven + 1);
        let milisegundos = (base + suerte).saturating_sub(vaiven);
        Some(Duration::from_millis(milisegundos))
    }

    /// ¿No se contesta a esta petición?
    pub fn calla(&self, cual: Cual) -> bool {
        self.suerte(cual, "callar") % PARTES < self.callar
    }

    /// Si esta respuesta miente, qué byte cambia de los `cuantos` primeros.
    pub fn miente(&self, cual: Cual, cuantos: usize) -> Option<usize> {
        let miente = cuantos > 0 && self.suerte(cual, "mentir") % PARTES < self.mentir;
        miente.then(|| (self.suerte(cual, "byte") % cuantos as u64) as usize)
    }

    /// Tras cuántos bytes de datos se corta cada respuesta.
    pub fn corte(&self) -> Option<u64> {
        self.cortar
    }

    /// Bytes que se escriben de una vez.
    pub fn trozo(&self) -> usize {
        self.trocear.unwrap_or(usize::MAX)
    }

    fn suerte(&self, cual: Cual, falla: &str) -> u64 {
        let mut cuenta = blake3::Hasher::new();
        for numero in [self.semilla, cual.conexion, cual.respuesta] {
            cuenta.update(&numero.to_le_bytes());
        }
        cuenta.update(falla.as_bytes());
        let mut ocho = [0; 8];
        cuenta.finalize_xof().fill(&mut ocho);
        u64::from_le_bytes(ocho)
    }
}

fn leer_retraso(valor: &str) -> Result<(u64, u64), String> {
    // El teclado de algunos no tiene «±».
    let (base, vaiven) = match valor.split_once('±').or_else(|| valor.split_once("+-")) {
        Some((base, vaiven)) => (base, vaiven),
        None => (valor, "0"),
    };
    let leer = |escrito: &str| escrito.trim().parse::<u64>().ok();
    match (leer(base), leer(vaiven)) {
        (Some(base), Some(vaiven)) if base.saturating_add(vaiven) <= MAX_RETRASO => {
            Ok((base, vaiven))
        }
        _ => Err(format!(
            "retraso va en milisegundos, por ejemplo retraso=200±50, hasta {MAX_RETRASO}"
        )),
    }
}

fn leer_cuenta(nombre: &str, valor: &str, minimo: u64) -> Result<u64, String> {
    let leido = valor.trim().parse().ok().filter(|n| *n >= minimo);
    leido.ok_or_else(|| format!("{nombre} lleva un número, por ejemplo {nombre}=42"))
}

fn leer_porcentaje(nombre: &str, valor: &str) -> Result<u64, String> {
    let leido = valor
        .trim()
        .strip_suffix('%')
        .and_then(|n| n.parse::<f64>().ok());
    match leido.filter(|n| (0.0..=100.0).contains(n)) {
        Some(porcentaje) => Ok((porcentaje * PARTES as f64 / 100.0).round() as u64),
        None => Err(format!(
            "{nombre} lleva un porcentaje, por ejemplo {nombre}=10%"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cual(conexion: u64, respuesta: u64) -> Cual {
        Cual {
            conexion,
            respuesta,
        }
    }

    #[test]
    fn lo_escrito_se_entiende_o_se_dice_que_esta_mal() {
        let todas = "retraso=200±50,trocear=7,cortar=4096,callar=10%,mentir=1.5%,semilla=42";
        let fallas = Fallas::leer(todas).unwrap();
        assert_eq!(fallas.retraso, Some((200, 50)));
        assert_eq!((fallas.trocear, fallas.cortar), (Some(7), Some(4096)));
        assert_eq!((fallas.callar, fallas.mentir), (10_000, 1_500));
        assert_eq!(
            Fallas::leer("retraso=200+-50").unwrap().retraso,
            Some((200, 50))
        );
        for (mal, dice) in [
            ("", "no hay una falla"),
            ("romper=1", "no hay una falla «romper»"),
            ("callar=10", "callar=10%"),
            ("callar=101%", "porcentaje"),
            ("trocear=0", "trocear=42"),
            ("retraso=x", "milisegundos"),
            ("retraso=99999999999999999999", "milisegundos"),
            ("retraso=60000±1", "hasta 60000"),
            ("cortar=1,cortar=2", "dos veces"),
        ] {
            let queja = Fallas::leer(mal).unwrap_err();
            assert!(queja.contains(dice), "{mal}: {queja}");
        }
    }

    #[test]
    fn se_cumple_el_porcentaje_y_cada_respuesta_tiene_su_suerte() {
        let fallas = Fallas::leer("callar=10%,mentir=0%,semilla=7").unwrap();
        let calladas = (1..=10_000).filter(|n| fallas.calla(cual(*n, 1))).count();
        assert!((800..1200).contains(&calladas), "{calladas}");
        assert!((1..1000).all(|n| fallas.miente(cual(1, n), 10).is_none()));
        let siempre = Fallas::leer("mentir=100%").unwrap();
        let byte = |n| siempre.miente(cual(1, n), 1000).unwrap();
        assert!((1..1000).any(|n| byte(n) != byte(n + 1)));
        assert_eq!(siempre.miente(cual(1, 1), 0), None);
    }

    proptest! {
        #[test]
        fn con_la_misma_semilla_se_decide_lo_mismo(
            semilla in any::<u64>(), conexion in any::<u64>(), respuesta in any::<u64>(),
        ) {
            let leer = || Fallas::leer(&format!("retraso=50±50,callar=50%,semilla={semilla}"));
            let (una, otra, esta) = (leer().unwrap(), leer().unwrap(), cual(conexion, respuesta));
            prop_assert_eq!(una.calla(esta), otra.calla(esta));
            prop_assert_eq!(una.retraso(esta), otra.retraso(esta));
            prop_assert!(una.retraso(esta).unwrap() <= Duration::from_millis(100));
        }

        #[test]
        fn ninguna_lista_tumba_la_lectura(escrito in "[a-z=%±0-9,. +-]{0,60}") {
            let _ = Fallas::leer(&escrito);
        }
    }
}
