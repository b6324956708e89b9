//! INICIO DEL SISTEMA, como en la guía: de lo que se escribió a lo que se hace, y de ahí al código de salida.

use std::io::Write;
use std::process::ExitCode;

use nodo::config::Config;
use nodo::consola::pantalla::Pantalla;
use nodo::fallo::{Fallo, Salida};
use nodo::nodo::menu;
use nodo::ordenes::opciones::{self as argumentos, Argumentos, Orden, SinOrden};
use nodo::ordenes::sueltas as ordenes;
use nodo::practicas::balanceador::{self, backend};
use nodo::practicas::{chat, maestro};
use nodo::texto::limpiar;

fn main() -> ExitCode {
    encender_registro();
    let mut pantalla = Pantalla::nueva();
    let salida = match argumentos::leer(std::env::args_os()) {
        Ok(argumentos) => cumplir(argumentos, &mut pantalla).unwrap_or_else(|fallo| {
            pantalla.aviso(format!("nodo: {fallo}"));
            Salida::NoSePudo
        }),
        Err(SinOrden::Ayuda(texto)) => {
            pantalla.tanda(texto.lines());
            Salida::Bien
        }
        Err(SinOrden::MalEscrito(frase)) => {
            frase.lines().for_each(|linea| pantalla.aviso(linea));
            Salida::MalEscrito
        }
    };
    ExitCode::from(salida.codigo())
}

fn cumplir(argumentos: Argumentos, pantalla: &mut Pantalla) -> Result<Salida, Fallo> {
    let Argumentos { nodo: antes, orden } = argumentos;
    let config = |despues| Config::desde(antes.clone().unir(despues));
    match orden {
        None => menu::abrir(config(Default::default())?, pantalla),
        Some(Orden::Servir(o)) => menu::servir(config(o.nodo)?, pantalla),
        Some(Orden::Listar(o)) => ordenes::listar(&config(o.nodo)?, o.red, pantalla),
        Some(Orden::Buscar(o)) => ordenes::buscar(&config(o.nodo)?, &o.archivo, pantalla),
        Some(Orden::Descargar(o)) => {
            ordenes::descargar(&config(o.nodo)?, &o.archivo, o.de, pantalla)
        }
        Some(Orden::Enviar(o)) => ordenes::enviar(&config(o.nodo)?, &o.archivo, o.a, pantalla),
        Some(Orden::Mensaje(o)) => ordenes::mensaje(&config(o.nodo)?, &o.texto, o.a, pantalla),
        Some(Orden::Estado(o)) => ordenes::estado(&config(o.nodo)?, pantalla),
        Some(Orden::Huella(o)) => ordenes::huella(&o.archivos, pantalla),
        Some(Orden::Localizar(o)) => {
            ordenes::localizar(&config(o.nodo)?, &o.archivo, o.por, pantalla)
        }
        Some(Orden::Chat(o)) => chat::abrir(o, pantalla),
        Some(Orden::Balanceador(o)) => balanceador::abrir(o, pantalla),
        Some(Orden::Backend(o)) => backend::abrir(o, pantalla),
        Some(Orden::Solicitar(o)) => backend::solicitar(o, pantalla),
        Some(Orden::Maestro(o)) => maestro::abrir(o, pantalla),
    }
}

/// El registro va a stderr y calla si no se pide con `RUST_LOG` (por ejemplo `RUST_LOG=nodo=debug`).
fn encender_registro() {
    let callado = env_logger::Env::default().default_filter_or("off");
    env_logger::Builder::from_env(callado)
        .format(|salida, apunte| {
            let hilo = std::thread::current();
            let texto = limpiar(&apunte.args().to_string());
            writeln!(
                salida,
                "[{} {}] {texto}",
                apunte.level(),
                hilo.name().unwrap_or("-")
            )
        })
        .init();
}
