//! Peticiones cortas, cada una por una conexión nueva: cuántas por segundo atiende un servidor y
//! cuánto tarda la peor.
//!
//! Es un cliente de carga, el mismo para todos los servidores que compara `scripts/comparar.sh`:
//!
//! ```text
//! cargo bench --bench conexiones -- carga 127.0.0.1:6001 "BUSCAR:foto.png" SI 16 3
//! cargo bench --bench conexiones -- ociosas 127.0.0.1:6001 5000
//! ```
//!
//! `carga` imprime peticiones por segundo, errores y las latencias p50, p99 y máxima en
//! milisegundos. `ociosas` abre tantas conexiones calladas y las mantiene hasta que se cierra su
//! entrada. Sin argumentos no hace nada: `cargo bench` no afirma cifras.

#![allow(
    missing_docs,
    reason = "un programa de medir no tiene interfaz que documentar"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

fn main() {
    let argumentos: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let argumentos: Vec<&str> = argumentos.iter().map(String::as_str).collect();
    match argumentos[..] {
        ["carga", a, peticion, respuesta, clientes, segundos] => {
            carga(
                leer(a),
                &peticion.replace("\\r", "\r").replace("\\n", "\n"),
                respuesta,
                leer(clientes),
                leer(segundos),
            );
        }
        ["ociosas", a, cuantas] => ociosas(leer(a), leer(cuantas)),
        _ => println!("conexiones: sin argumentos no mide nada; lo usa scripts/comparar.sh"),
    }
}

fn leer<T: std::str::FromStr>(texto: &str) -> T {
    texto
        .parse()
        .unwrap_or_else(|_| panic!("no se entiende «{texto}»"))
}

/// Lo que vio un cliente: la duración de cada petición buena, y cuántas fallaron.
#[derive(Default)]
struct Visto {
    tiempos: Vec<Duration>,
    errores: usize,
}

fn carga(a: SocketAddr, peticion: &str, respuesta: &str, clientes: usize, segundos: f64) {
    let fin = AtomicBool::new(false);
    let empezo = Instant::now();
    let vistos: Vec<Visto> = thread::scope(|ambito| {
        let hilos: Vec<_> = (0..clientes)
            .map(|_| {
                ambito.spawn(|| un_cliente(a, peticion.as_bytes(), respuesta.as_bytes(), &fin))
            })
            .collect();
        thread::sleep(Duration::from_secs_f64(segundos));
        fin.store(true, Ordering::Relaxed);
        hilos
            .into_iter()
            .map(|hilo| hilo.join().expect("un cliente no entra en pánico"))
            .collect()
    });
    let duro = empezo.elapsed().as_secs_f64();
    let errores: usize = vistos.iter().map(|v| v.errores).sum();
    let mut tiempos: Vec<Duration> = vistos.into_iter().flat_map(|v| v.tiempos).collect();
    tiempos.sort_unstable();
    let en = |parte: f64| {
        let lugar = ((tiempos.len() as f64 * parte) as usize).min(tiempos.len().saturating_sub(1));
        tiempos.get(lugar).map_or(0.0, |t| t.as_secs_f64() * 1e3)
    };
    let ritmo = tiempos.len() as f64 / duro;
    println!(
        "{ritmo:.0} {errores} {:.2} {:.2} {:.2}",
        en(0.5),
        en(0.99),
        en(1.0)
    );
}

fn un_cliente(a: SocketAddr, peticion: &[u8], respuesta: &[u8], fin: &AtomicBool) -> Visto {
    let mut visto = Visto::default();
    let mut bufer = [0; 1024];
    while !fin.load(Ordering::Relaxed) {
        let antes = Instant::now();
        match una_peticion(a, peticion, respuesta, &mut bufer) {
            Ok(true) => visto.tiempos.push(antes.elapsed()),
            Ok(false) | Err(_) => visto.errores += 1,
        }
    }
    visto
}

fn una_peticion(
    a: SocketAddr,
    peticion: &[u8],
    respuesta: &[u8],
    bufer: &mut [u8],
) -> std::io::Result<bool> {
    let mut conexion = TcpStream::connect(a)?;
    conexion.write_all(peticion)?;
    let mut leidos = 0;
    loop {
        match conexion.read(&mut bufer[leidos..])? {
            0 => return Ok(bufer[..leidos].starts_with(respuesta)),
            cuantos => leidos += cuantos,
        }
    }
}

fn ociosas(a: SocketAddr, cuantas: usize) {
    let abiertas: Vec<TcpStream> = (0..cuantas)
        .map_while(|_| TcpStream::connect(a).ok())
        .collect();
    println!("{}", abiertas.len());
    // Hasta que quien mide cierre nuestra entrada.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}
