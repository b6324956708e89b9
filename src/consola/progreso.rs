//! Por dónde va un trabajo largo: cuentas que los hilos suman y el principal mira para pintar la
//! barra.

use std::sync::Mutex;

use crate::red::parada::cerrojo;

/// En qué está una transferencia.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fase {
    #[default]
    /// Averiguando quién lo tiene y cómo es.
    Preguntando,
    /// Esperando a que quien lo tiene calcule su huella.
    Calculando,
    /// Comprobando lo que quedó de otra vez.
    Comprobando,
    /// Leyendo lo que ya está aquí.
    Leyendo,
    /// Pasando bytes.
    Pasando,
    /// Asegurándolo en el disco.
    Guardando,
    /// Haciendo un experimento de varios.
    Probando,
}

/// Las cuentas de una transferencia, o de varias que se cuentan como una.
#[derive(Debug, Default)]
pub struct Progreso(Mutex<Suma>);

#[derive(Debug, Default)]
struct Suma {
    marcha: Marcha,
    /// Si lo que se hace es una parte de algo mayor, los bytes hechos antes de ella.
    antes: Option<u64>,
}

impl Progreso {
    /// Empieza una fase de `total` bytes, con `hechos` ya hechos.
    pub fn empezar(&self, fase: Fase, total: u64, hechos: u64) {
        let Suma { marcha, antes } = &mut *cerrojo(&self.0);
        marcha.fase = fase;
        marcha.hechos = antes.unwrap_or(0) + hechos;
        if antes.is_none() {
            marcha.total = total;
        }
    }

    /// Desde ahora, lo que empiece es una parte de lo mismo: el total no cambia, y sus bytes se
    /// suman a los hechos hasta aquí.
    pub fn seguir_contando(&self) {
        let mut cuentas = cerrojo(&self.0);
        cuentas.antes = Some(cuentas.marcha.hechos);
    }

    /// Suma bytes hechos.
    pub fn sumar(&self, bytes: u64) {
        cerrojo(&self.0).marcha.hechos += bytes;
    }

    /// Cuántas fuentes están dando bloques.
    pub fn fuentes(&self, cuantas: usize) {
        cerrojo(&self.0).marcha.fuentes = cuantas;
    }

    /// Una foto de las cuentas.
    pub fn mirar(&self) -> Marcha {
        let mut marcha = cerrojo(&self.0).marcha;
        if marcha.total > 0 {
            marcha.total = marcha.total.max(marcha.hechos);
        }
        marcha
    }
}

/// Por dónde va.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marcha {
    /// En qué está.
    pub fase: Fase,
    /// Bytes hechos.
    pub hechos: u64,
    /// Bytes en total; 0 si no se sabe.
    pub total: u64,
    /// Cuántas fuentes están dando bloques.
    pub fuentes: usize,
}
