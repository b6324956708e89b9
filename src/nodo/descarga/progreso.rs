//! Por dónde va una transferencia: cuentas que los hilos suman y el hilo principal mira para pintar la barra.

use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

/// En qué está una transferencia.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fase {
    /// Averiguando quién lo tiene y cómo es.
    Preguntando,
    /// Comprobando lo que quedó de otra vez.
    Comprobando,
    /// Pasando bytes.
    Pasando,
    /// Asegurándolo en el disco.
    Guardando,
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

    /// La fase, los bytes hechos, el total y las fuentes.
    pub fn mirar(&self) -> (Fase, u64, u64, usize) {
        let fase = match self.fase.load(Ordering::Relaxed) {
            0 => Fase::Preguntando,
            1 => Fase::Comprobando,
            2 => Fase::Pasando,
            _ => Fase::Guardando,
        };
        let (hechos, total) = (
            self.hechos.load(Ordering::Relaxed),
            self.total.load(Ordering::Relaxed),
        );
        (
            fase,
            hechos,
            total.max(hechos),
            self.fuentes.load(Ordering::Relaxed),
        )
    }
}
