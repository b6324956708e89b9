//! La barra de progreso: una línea que cabe en la terminal y desaparece sin dejar restos.
//!
//! No está en la guía. Va por stderr, y sólo si es una terminal. Lo que enseña sale de las cuentas
//! de [`Marcha`]; este archivo no sabe qué se está haciendo.

use std::collections::VecDeque;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::consola::progreso::{Fase, Marcha};
use crate::texto::{cuenta, duracion, tamano};

/// Cada cuánto se repinta.
pub const REPINTAR: Duration = Duration::from_millis(100);
/// La velocidad que se enseña es la de este último rato: si se va una fuente, se nota.
const ULTIMO_RATO: Duration = Duration::from_secs(3);
/// Con menos bytes que estos en su fase, no hay velocidad que enseñar.
const POCO: u64 = 1 << 20;
/// Sin noticias en este rato, se dice que se está esperando.
const SIN_NOTICIAS: Duration = Duration::from_millis(500);
/// Casillas de la barra. Con todo lo demás, cabe en 80 columnas.
const CASILLAS: usize = 12;

/// La barra de un trabajo. Al soltarla se borra.
pub struct Barra {
    linea: ProgressBar,
    fase: Fase,
    empezo: Instant,
    /// Los bytes que ya estaban hechos al empezar la fase: no cuentan para la velocidad.
    habia: u64,
    /// Cada avance del último rato: cuándo fue, y por dónde iba.
    rato: VecDeque<(Instant, u64)>,
}

impl Barra {
    /// Una barra, si stderr es una terminal.
    pub fn nueva() -> Option<Barra> {
        // Todo va en el mensaje ancho, que es lo que se recorta a lo que haya.
        let estilo = ProgressStyle::with_template("{wide_msg}").ok()?;
        io::stderr().is_terminal().then(|| Barra {
            linea: ProgressBar::new_spinner().with_style(estilo),
            fase: Fase::Preguntando,
            empezo: Instant::now(),
            habia: 0,
            rato: VecDeque::new(),
        })
    }

    /// La pone donde dice `marcha`.
    pub fn avanzar(&mut self, marcha: &Marcha) {
        let ahora = Instant::now();
        if marcha.fase != self.fase {
            self.fase = marcha.fase;
            self.empezo = ahora;
            self.habia = marcha.hechos;
            self.rato.clear();
        }
        let ultimo = self.rato.back();
        if ultimo.is_none_or(|(_, iba)| *iba != marcha.hechos) {
            self.rato.push_back((ahora, marcha.hechos));
        }
        let viejo = |(cuando, _): &(Instant, u64)| ahora - *cuando > ULTIMO_RATO;
        // Siempre queda desde dónde medir: los bloques de una fuente lenta llegan de tarde en
        // tarde.
        while self.rato.get(1).is_some_and(viejo) {
            self.rato.pop_front();
        }
        let mensaje = contar(marcha, ahora - self.empezo, self.por_segundo(marcha.hechos));
        self.linea.set_message(mensaje);
    }

    /// Los bytes por segundo del último rato, si ya se puede decir algo de ellos.
    fn por_segundo(&self, hechos: u64) -> Option<f64> {
        let (desde, habia) = *self.rato.front()?;
        let bytes = hechos.saturating_sub(habia);
        let bastantes = hechos.saturating_sub(self.habia) >= POCO && bytes > 0;
        bastantes.then(|| bytes as f64 / desde.elapsed().as_secs_f64().max(1e-6))
    }

    /// La aparta mientras se pinta otra cosa.
    pub fn apartar<T>(&self, pintar: impl FnOnce() -> T) -> T {
        self.linea.suspend(pintar)
    }
}

impl Drop for Barra {
    fn drop(&mut self) {
        self.linea.finish_and_clear();
    }
}

/// Lo que dice la barra cuando lleva `tiempo` en su fase y va a `por_segundo`.
fn contar(marcha: &Marcha, tiempo: Duration, por_segundo: Option<f64>) -> String {
    let que = match marcha.fase {
        Fase::Preguntando if tiempo < SIN_NOTICIAS => return "preguntando…".into(),
        Fase::Preguntando => {
            return "esperando a que conteste (quizá está calculando la huella)".into();
        }
        Fase::Calculando => {
            let lleva = duracion(tiempo);
            return format!("la fuente está calculando la huella: lleva {lleva}");
        }
        Fase::Comprobando => "comprobando lo que había".to_string(),
        Fase::Leyendo => "leyendo".to_string(),
        Fase::Pasando if marcha.fuentes > 0 => cuenta(marcha.fuentes, "fuente", "fuentes"),
        Fase::Pasando => "enviando".to_string(),
        Fase::Guardando => return "guardando en el disco".to_string(),
        Fase::Probando => {
            let (cual, lleva) = (marcha.hechos + 1, duracion(tiempo));
            return format!("probando {cual} de {}: lleva {lleva}", marcha.total);
        }
    };
    let mut partes = vec![dibujar(marcha)];
    if let Some(por_segundo) = por_segundo {
        partes.push(format!("{}/s", tamano(por_segundo as u64)));
        if marcha.total > 0 {
            let segundos = (marcha.total - marcha.hechos) as f64 / por_segundo;
            let falta = Duration::try_from_secs_f64(segundos).unwrap_or(Duration::MAX);
            partes.push(format!("faltan {}", duracion(falta)));
        }
    }
    partes.push(que);
    partes.join(" · ")
}

/// La parte que se llena. Sin saber cuántos bytes son (con un nodo de la guía) no hay con qué.
fn dibujar(marcha: &Marcha) -> String {
    let hechos = tamano(marcha.hechos);
    if marcha.total == 0 {
        return hechos;
    }
    let parte = marcha.hechos as f64 / marcha.total as f64;
    let llenas = CASILLAS.min((CASILLAS as f64 * parte) as usize);
    let (llenas, vacias) = ("█".repeat(llenas), "░".repeat(CASILLAS - llenas));
    format!("{llenas}{vacias} {hechos} de {}", tamano(marcha.total))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marcha(fase: Fase, hechos: u64, total: u64) -> Marcha {
        Marcha {
            fase,
            hechos,
            total,
            fuentes: 12,
        }
    }

    #[test]
    fn lo_mas_largo_cabe_en_ochenta_columnas() {
        let larga = marcha(Fase::Pasando, 999_900_000, 999_900_000_000);
        for por_segundo in [None, Some(999_900_000.0 / 3.0), Some(281_000_000.0)] {
            let linea = contar(&larga, Duration::from_secs(9), por_segundo);
            assert!(linea.chars().count() <= 80, "{linea}");
        }
    }

    #[test]
    fn sin_velocidad_no_se_anuncia_ni_velocidad_ni_espera() {
        let linea = contar(&marcha(Fase::Pasando, 10, 100), Duration::ZERO, None);
        assert_eq!(linea, "█░░░░░░░░░░░ 10 bytes de 100 bytes · 12 fuentes");
        let linea = contar(&marcha(Fase::Pasando, 9, 0), Duration::ZERO, Some(2.5e6));
        assert_eq!(linea, "9 bytes · 2,5 MB/s · 12 fuentes");
        let linea = contar(
            &marcha(Fase::Pasando, 0, u64::MAX),
            Duration::ZERO,
            Some(1e-9),
        );
        assert!(linea.contains("faltan"), "{linea}");
    }

    #[test]
    fn a_quien_no_contesta_se_le_espera_diciendolo() {
        let esperar = |tiempo| contar(&marcha(Fase::Preguntando, 0, 0), tiempo, None);
        assert_eq!(esperar(Duration::from_millis(100)), "preguntando…");
        assert!(esperar(SIN_NOTICIAS).starts_with("esperando a que conteste"));
        let calcula = contar(
            &marcha(Fase::Calculando, 0, 0),
            Duration::from_secs(4),
            None,
        );
        assert_eq!(calcula, "la fuente está calculando la huella: lleva 4,0 s");
        let prueba = contar(&marcha(Fase::Probando, 2, 17), Duration::from_secs(4), None);
        assert_eq!(prueba, "probando 3 de 17: lleva 4,0 s");
    }

    #[test]
    fn lo_que_ya_estaba_no_cuenta_para_la_velocidad() {
        let mut barra = Barra {
            linea: ProgressBar::hidden(),
            fase: Fase::Comprobando,
            empezo: Instant::now(),
            habia: 0,
            rato: VecDeque::new(),
        };
        barra.avanzar(&marcha(Fase::Pasando, 900 * POCO, 1000 * POCO));
        assert_eq!(barra.por_segundo(900 * POCO), None);
        assert_eq!(barra.por_segundo(901 * POCO - 1), None);
        assert!(barra.por_segundo(901 * POCO).is_some());
    }
}
