//! Por dónde va un trabajo largo: cuentas que los hilos suman y el principal mira para pintar la
//! barra.

use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

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
    /// Pasando bytes.
    Pasando,
    /// Asegurándolo en el disco.
    Guardando,
    /// Haciendo un experimento de varios.
    Probando,
}

/// Las cuentas de una transferencia.
#[derive(Debug, Default)]
pub struct Progreso {
    fase: AtomicU8,
    total: AtomicU64,
    hechos: AtomicU64,
    fuentes: AtomicUsize,
}

impl Progreso {
    /// Empieza una fase de `total` bytes, con `hechos` ya hechos.
    pub fn empezar(&self, fase: Fase, total: u64, hechos: u64) {
        self.total.store(total, Ordering::Relaxed);
        self.hechos.store(hechos, Ordering::Relaxed);
        self.fase.store(fase as u8, Ordering::Relaxed);
    }

    /// Suma bytes hechos.
    pub fn sumar(&self, bytes: u64) {
        self.hechos.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Cuántas fuentes están dando bloques.
    pub fn fuentes(&self, cuantas: usize) {
        self.fuentes.store(cuantas, Ordering::Relaxed);
    }

    /// Una foto de las cuentas.
    pub fn mirar(&self) -> Marcha {
        let fase = match self.fase.load(Ordering::Relaxed) {
            0 => Fase::Preguntando,
            1 => Fase::Calculando,
            2 => Fase::Comprobando,
            3 => Fase::Pasando,
            4 => Fase::Guardando,
            _ => Fase::Probando,
        };
        let hechos = self.hechos.load(Ordering::Relaxed);
        let total = self.total.load(Ordering::Relaxed);
        Marcha {
            fase,
            hechos,
            total: if total == 0 { 0 } else { total.max(hechos) },
            fuentes: self.fuentes.load(Ordering::Relaxed),
        }
    }
}

/// Por dónde va.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
