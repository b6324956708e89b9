//! El registro: lo que viaja y lo que falla, para quien lo pida con `RUST_LOG`.
//!
//! Es la excepción de que sólo pinte el hilo principal: escribe cualquiera. Calla si no se pide.

use std::io::Write;

use env_logger::Target;

use crate::consola::Impresor;
use crate::texto::limpiar;

/// El registro va a stderr, sin pisar lo que se teclee. Por ejemplo, con `RUST_LOG=nodo=debug`.
pub fn encender_registro(donde: Impresor) {
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
