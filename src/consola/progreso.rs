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

/// Las cuentas de una transferencia.
#[derive(Debug, Default)]
pub struct Progreso(Mutex<Marcha>);

impl Progreso {
    /// Empieza una fase de `total` bytes, con `hechos` ya hechos.
    pub fn empezar(&self, fase: Fase, total: u64, hechos: u64) {
        let mut marcha = cerrojo(&self.0);
        (marcha.fase, marcha.total, marcha.hechos) = (fase, total, hechos);
    }

    /// Suma bytes hechos.
    pub fn sumar(&self, bytes: u64) {
        cerrojo(&self.0).hechos += bytes;
    }

    /// Cuántas fuentes están dando bloques.
    pub fn fuentes(&self, cuantas: usize) {
        cerrojo(&self.0).fuentes = cuantas;
    }

    /// Una foto de las cuentas.
    pub fn mirar(&self) -> Marcha {
        let mut marcha = *cerrojo(&self.0);
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
