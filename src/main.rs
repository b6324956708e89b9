//! INICIO DEL SISTEMA, como en la guía: de lo que se escribió a lo que se hace, y de ahí al código
//! de salida.

use std::io::Write;
use std::process::ExitCode;

use env_logger::Target;
use nodo::consola::{Consola, Impresor};
use nodo::fallo::Salida;
use nodo::ordenes;
use nodo::ordenes::espanol::{SinOrden, leer};
use nodo::texto::limpiar;

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
            frase
                .lines()
                .for_each(|linea| consola.pantalla.aviso(linea));
            Salida::MalEscrito
        }
    };
    ExitCode::from(consola.cerrar(salida).codigo())
}

/// El registro va a stderr (sin pisar lo que se teclee) y calla si no se pide con `RUST_LOG` (por
/// ejemplo `RUST_LOG=nodo=debug`).
fn encender_registro(donde: Impresor) {
    let callado = env_logger::Env::default().default_filter_or("off");
    env_logger::Builder::from_env(callado)
        .format(|salida, apunte| {
            let hilo = std::thread::current();
            let texto = limpiar(&apunte.args().to_string());
            let nombre = hilo.name().unwrap_or("-");
            writeln!(salida, "[{} {nombre}] {texto}", apunte.level())
        })
        .target(Target::Pipe(Box::new(donde)))
        .init();
}
