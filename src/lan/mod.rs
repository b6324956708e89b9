//! La clase entera en una red de verdad: que los nodos se encuentren sin escribir ninguna IP.
//!
//! La guía escribe sus `peers` a mano. Aquí, [`anuncios`] es lo que se grita y se oye en la red,
//! [`descubrir`] decide a quién se cree y mira que siga vivo, y [`conocidos`] es la lista que sale
//! de ahí. Los que sí se escriben, con nombre o en un archivo, los lee [`escritos`]. Nadie se
//! anuncia sin pedirlo.

pub mod anuncios;
pub mod conocidos;
pub mod descubrir;
pub mod escritos;
