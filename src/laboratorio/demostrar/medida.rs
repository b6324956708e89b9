//! Lo que se contó en una demostración, y el veredicto que sale de ello: nada más.

use std::fmt;
use std::time::Duration;

use crate::texto::duracion;

/// Lo que se contó con uno de los dos nodos.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contado {
    /// Las veces que salió mal, de las que se probó.
    Veces(usize, usize),
    /// Lo que hubo que esperar, y desde cuánto es un defecto.
    Espera(Duration, Duration),
}

impl Contado {
    /// ¿Se vio el defecto?
    pub fn se_vio(self) -> bool {
        match self {
            Contado::Veces(malas, _) => malas > 0,
            Contado::Espera(tiempo, desde) => tiempo >= desde,
        }
    }
}

impl fmt::Display for Contado {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Contado::Veces(malas, probadas) => write!(f, "{malas} de {probadas}"),
            Contado::Espera(tiempo, _) => f.write_str(&duracion(*tiempo)),
        }
    }
}

/// Lo mismo, contado con los dos.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Medida {
    /// Con el nodo de la guía.
    pub ingenuo: Contado,
    /// Con el de verdad.
    pub nodo: Contado,
    /// Qué se vio, en una o dos frases.
    pub visto: String,
}

/// Qué dicen los números.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Veredicto {
    /// El defecto se vio en el de la guía y no en el nodo.
    Arreglado,
    /// No se vio en ninguno.
    NoSeVio,
    /// Se vio en el nodo.
    SigueEnElNodo,
    /// No se pudo probar.
    NoSePudo,
}

impl Medida {
    /// El veredicto, que sale sólo de lo contado.
    pub fn veredicto(&self) -> Veredicto {
        match (self.ingenuo.se_vio(), self.nodo.se_vio()) {
            (true, false) => Veredicto::Arreglado,
            (false, false) => Veredicto::NoSeVio,
            (_, true) => Veredicto::SigueEnElNodo,
        }
    }
}

impl fmt::Display for Veredicto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Veredicto::Arreglado => "arreglado",
            Veredicto::NoSeVio => "no se vio",
            Veredicto::SigueEnElNodo => "¡EN EL NODO!",
            Veredicto::NoSePudo => "no se pudo",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn el_veredicto_sale_de_lo_contado() {
        let veredicto = |ingenuo, nodo| {
            let visto = String::new();
            Medida {
                ingenuo,
                nodo,
                visto,
            }
            .veredicto()
        };
        let veces = |malas| Contado::Veces(malas, 60);
        assert_eq!(veredicto(veces(1), veces(0)), Veredicto::Arreglado);
        assert_eq!(veredicto(veces(0), veces(0)), Veredicto::NoSeVio);
        assert_eq!(veredicto(veces(0), veces(1)), Veredicto::SigueEnElNodo);
        assert_eq!(veredicto(veces(60), veces(60)), Veredicto::SigueEnElNodo);
        let espera = |ms| Contado::Espera(Duration::from_millis(ms), Duration::from_secs(2));
        assert_eq!(veredicto(espera(6000), espera(20)), Veredicto::Arreglado);
        assert_eq!(veredicto(espera(1999), espera(20)), Veredicto::NoSeVio);
    }
}
