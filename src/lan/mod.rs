//! La clase entera en una red de verdad: que los nodos se encuentren, por qué no, y que nadie más
//! entre.
//!
//! La guía escribe sus `peers` a mano, y supone que están y se alcanzan. Para encontrarse,
//! [`anuncios`] es lo que se grita y se oye en la red, [`descubrir`] decide a quién se cree y mira
//! que siga vivo, y [`conocidos`] es la lista que sale de ahí; los que sí se escriben, con nombre o
//! en un archivo, los lee [`escritos`]. Nadie se anuncia sin pedirlo: con qué, en [`encuentro`].
//!
//! Cuando alguno no se ve, [`diagnostico`] es la orden que averigua por qué: echa las [`sondas`],
//! saca de lo que vieron ([`hechos`]) la [`causa`] y dice el [`remedio`]; con [`llamame`] se sabe
//! si el otro nos alcanza. La [`clave`] es la frase con que se cifra lo que se dicen, y [`qr`], la
//! página de un nodo para un teléfono. Nada de esto pasa sin pedirlo.

pub mod anuncios;
pub mod causa;
pub mod clave;
pub mod conocidos;
pub mod descubrir;
pub mod diagnostico;
pub mod encuentro;
pub mod escritos;
pub mod hechos;
pub mod interfaces;
pub mod llamame;
pub mod puerto;
pub mod qr;
pub mod remedio;
pub mod sondas;
