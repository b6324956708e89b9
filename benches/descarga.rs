//! Piezas para medir transferencias; las combina `scripts/comparar.sh`.
//!
//! ```text
//! cargo bench --bench descarga -- chicos 127.0.0.1:6001 DESTINO 1000
//!     archivos chico-0…, por una conexión
//! cargo bench --bench descarga -- chicos-guia 127.0.0.1:6000 DESTINO 1000
//!     lo mismo, como los pide la guía
//! cargo bench --bench descarga -- limitado 127.0.0.1:6001 20
//!     un paso de 20 MB/s hacia ese nodo
//! ```
//!
//! Los dos primeros imprimen los segundos que tardaron. `limitado` imprime el puerto en que escucha
//! y dura hasta que se cierra su entrada. Sin argumentos no hace nada: `cargo bench` no afirma
//! cifras.

#![allow(
    missing_docs,
    reason = "un programa de medir no tiene interfaz que documentar"
)]

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nodo::config::Limites;
use nodo::nodo::carpeta::huella::{BLOQUE, huella_de_bloque};
use nodo::nodo::palabras::protocolo::Respuesta;
use nodo::red::conexion::Conexion;
use nodo::red::parada::Parada;

fn main() {
    let argumentos: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let argumentos: Vec<&str> = argumentos.iter().map(String::as_str).collect();
    match argumentos[..] {
        ["chicos", a, destino, cuantos] => {
            medir(|| chicos(leer(a), Path::new(destino), leer(cuantos)))
        }
        ["chicos-guia", a, destino, cuantos] => {
            medir(|| chicos_de_la_guia(leer(a), Path::new(destino), leer(cuantos)));
        }
        ["limitado", a, ritmo] => limitado(leer(a), leer::<f64>(ritmo) * 1e6),
        _ => println!("descarga: sin argumentos no mide nada; lo usa scripts/comparar.sh"),
    }
}

fn leer<T: std::str::FromStr>(texto: &str) -> T {
    texto
        .parse()
        .unwrap_or_else(|_| panic!("no se entiende «{texto}»"))
}

fn medir(hacer: impl FnOnce()) {
    let empezo = Instant::now();
    hacer();
    println!("{:.4}", empezo.elapsed().as_secs_f64());
}

/// Archivos que se piden en un solo `write`: el protocolo contesta en orden, así que no hay que
/// esperar a cada uno.
const TANDA: usize = 50;

/// Baja `chico-0`, `chico-1`… por una sola conexión, comprobando cada uno.
fn chicos(a: SocketAddr, destino: &Path, cuantos: usize) {
    let limites = Limites::default();
    let parada = Parada::nueva();
    let conectada = Conexion::conectar(a, limites.conectar, &limites, &parada);
    let mut conexion = conectada.unwrap_or_else(|f| panic!("{f}"));
    let mut datos = vec![0; BLOQUE as usize];
    for primero in (0..cuantos).step_by(TANDA) {
        let tanda = primero..(primero + TANDA).min(cuantos);
        let pedir = |n: usize| format!("INFO:chico-{n}\nOBTENER:0:{BLOQUE}:chico-{n}\n");
        let peticiones: String = tanda.clone().map(pedir).collect();
        conexion
            .escribir_texto(&peticiones)
            .unwrap_or_else(|f| panic!("{f}"));
        for n in tanda {
            let Some(Respuesta::Info(info)) = leer_respuesta(&mut conexion) else {
                panic!("INFO de {n}")
            };
            let Some(Respuesta::Datos(bytes)) = leer_respuesta(&mut conexion) else {
                panic!("OBTENER de {n}")
            };
            let datos = &mut datos[..bytes as usize];
            leer_entero(&mut conexion, datos);
            assert_eq!(
                Some(huella_de_bloque(info.tamano, 0, datos)),
                info.huella,
                "chico-{n} no llegó bien"
            );
            fs::write(destino.join(format!("chico-{n}")), datos)
                .expect("el destino se puede escribir");
        }
    }
}

fn leer_respuesta(conexion: &mut Conexion) -> Option<Respuesta> {
    let plazo = conexion.limites().respuesta;
    Respuesta::leer(&conexion.leer_linea(plazo, "la respuesta").ok()??)
}

fn leer_entero(conexion: &mut Conexion, destino: &mut [u8]) {
    let (mut leidos, plazo) = (0, conexion.limites().respuesta);
    while leidos < destino.len() {
        match conexion.leer_datos(&mut destino[leidos..], plazo) {
            Ok(cuantos @ 1..) => leidos += cuantos,
            otro => panic!("se cortó: {otro:?}"),
        }
    }
}

/// Baja los mismos como el cliente de la guía: una conexión por archivo, hasta el cierre. La guía
/// compara su primera lectura con `OK` y falla si viene con datos; aquí se acepta, para medir al
/// que sirve y no a ese fallo.
fn chicos_de_la_guia(a: SocketAddr, destino: &Path, cuantos: usize) {
    for n in 0..cuantos {
        let mut conexion = TcpStream::connect(a).expect("el nodo de la guía escucha");
        conexion
            .write_all(format!("DESCARGAR:chico-{n}").as_bytes())
            .expect("se puede pedir");
        let mut datos = Vec::new();
        conexion.read_to_end(&mut datos).expect("se puede leer");
        let contenido = datos.strip_prefix(b"OK").expect("lo tiene");
        fs::write(destino.join(format!("chico-{n}")), contenido)
            .expect("el destino se puede escribir");
    }
}

/// Reenvía a `destino` todo lo que le llega, dejando volver sólo `ritmo` bytes por segundo entre
/// todas las conexiones.
fn limitado(destino: SocketAddr, ritmo: f64) {
    let escucha = TcpListener::bind("127.0.0.1:0").expect("hay puertos libres");
    println!("{}", escucha.local_addr().expect("está enlazado").port());
    let cupo = Arc::new(Cupo {
        ritmo,
        desde: Mutex::new(Instant::now()),
    });
    thread::spawn(move || {
        for cliente in escucha.incoming().map_while(Result::ok) {
            let cupo = Arc::clone(&cupo);
            let nodo = TcpStream::connect(destino).expect("el nodo escucha");
            let (de_vuelta, ida) = (copia(&nodo), copia(&cliente));
            thread::spawn(move || pasar(&ida, &nodo, None));
            thread::spawn(move || pasar(&de_vuelta, &cliente, Some(&cupo)));
        }
    });
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

fn copia(socket: &TcpStream) -> TcpStream {
    socket.try_clone().expect("quedan descriptores")
}

/// Cuándo se puede mandar el trozo siguiente.
struct Cupo {
    ritmo: f64,
    desde: Mutex<Instant>,
}

impl Cupo {
    /// Espera hasta que toque mandar `bytes` más, sin acumular lo que no se usó.
    fn esperar(&self, bytes: usize) {
        let hasta = {
            let mut desde = self
                .desde
                .lock()
                .expect("nadie entra en pánico con el cerrojo");
            *desde =
                (*desde).max(Instant::now()) + Duration::from_secs_f64(bytes as f64 / self.ritmo);
            *desde
        };
        thread::sleep(hasta.saturating_duration_since(Instant::now()));
    }
}

fn pasar(mut de: &TcpStream, mut a: &TcpStream, cupo: Option<&Cupo>) {
    let mut bufer = vec![0; 32 * 1024];
    while let Ok(cuantos @ 1..) = de.read(&mut bufer) {
        if let Some(cupo) = cupo {
            cupo.esperar(cuantos);
        }
        if a.write_all(&bufer[..cuantos]).is_err() {
            break;
        }
    }
    let _ = a.shutdown(Shutdown::Write);
}
