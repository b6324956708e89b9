//! La clase entera: lo que hace falta cuando los nodos no están en una mesa sino en treinta
//! portátiles. No está en la guía, y el nodo funciona sin ello.

pub mod qr;
