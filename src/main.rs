//! INICIO DEL SISTEMA, como en la guía: de lo que se escribió a lo que se hace. Sin orden,
//! `cumplir` abre el menú (`nodo/menu.rs`), que primero lanza el servidor (`nodo/arranque.rs`).

use std::io::Write;
use std::process::ExitCode;

use nodo::consola::{Consola, Impresor, encender_registro};
use nodo::fallo::Salida;
use nodo::ordenes;
use nodo::ordenes::espanol::{SinOrden, leer};

fn main() -> ExitCode {
    let impresor = Impresor::nuevo();
    encender_registro(impresor.clone());
    let mut consola = match Consola::nueva(impresor) {
        Ok(consola) => consola,
        Err(fallo) => {
            // Sin consola no hay otra manera de decirlo.
            let _ = writeln!(std::io::stderr(), "nodo: {fallo}");
            return ExitCode::from(Salida::NoSePudo.codigo());
        }
    };
    let salida = match leer(std::env::args_os()) {
        Ok(argumentos) => ordenes::cumplir(argumentos, &mut consola).unwrap_or_else(|fallo| {
            consola.pantalla.aviso(format!("nodo: {fallo}"));
            Salida::NoSePudo
        }),
        Err(SinOrden::Ayuda(texto)) => {
            consola.pantalla.tanda(texto.lines());
            Salida::Bien
        }
        Err(SinOrden::MalEscrito(frase)) => {
            let lineas = frase.lines();
            lineas.for_each(|linea| consola.pantalla.aviso(linea));
            Salida::MalEscrito
        }
    };
    ExitCode::from(consola.cerrar(salida).codigo())
}
