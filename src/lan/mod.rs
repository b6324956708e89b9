//! La clase entera en una red de verdad: por qué dos nodos no se ven, y que nadie más entre.
//!
//! La guía supone que los `peers` están y se alcanzan. Aquí se averigua por qué no, cuando no:
//! [`diagnostico`] es la orden, que echa las [`sondas`], saca de lo que vieron ([`hechos`]) la
//! [`causa`] y dice el [`remedio`]. Con [`llamame`] se sabe si el otro nos alcanza. La [`clave`] es
//! la frase con que se cifra lo que se dicen. El nodo funciona sin nada de esto.

pub mod causa;
pub mod clave;
pub mod diagnostico;
pub mod hechos;
pub mod interfaces;
pub mod llamame;
pub mod puerto;
pub mod remedio;
pub mod sondas;
