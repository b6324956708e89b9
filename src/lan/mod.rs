//! La clase entera en una red de verdad: por qué dos nodos no se ven.
//!
//! La guía supone que los `peers` están y se alcanzan. Aquí se averigua por qué no, cuando no:
//! [`diagnostico`] es la orden, y [`llamame`], la palabra con que se sabe si el otro nos alcanza.

pub mod llamame;
