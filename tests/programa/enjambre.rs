//! El enjambre: lo que se baja se reparte, a un ritmo, y nadie envenena a nadie.

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use super::comun::falsos::Charla;
use super::comun::{Proceso, conectar, datos};

const NOMBRE: &str = "clase.bin";

// ----- El ritmo -----

/// Manda `peticion`, deja de mandar y cuenta lo que llega hasta el cierre.
fn cuanto_llega(a: SocketAddr, peticion: &str) -> usize {
    let mut socket = conectar(a);
    socket.write_all(peticion.as_bytes()).unwrap();
    let mut todo = Vec::new();
    socket.read_to_end(&mut todo).unwrap();
    todo.len()
}

#[test]
fn el_ritmo_es_de_todo_lo_que_se_sirve_se_pida_como_se_pida() {
    let compartida = tempfile::tempdir().unwrap();
    fs::write(compartida.path().join(NOMBRE), datos(1 << 20)).unwrap();
    let nodo = Proceso::nodo(compartida.path(), &["--ritmo", "2MB"]);
    nodo.esperar("Sirvo 2,0 MB por segundo");
    let a = nodo.direccion();
    let empezo = Instant::now();
    let llegaron: usize = thread::scope(|ambito| {
        let de_la_guia = ambito.spawn(move || cuanto_llega(a, &format!("DESCARGAR:{NOMBRE}")));
        let por_http = ambito.spawn(move || {
            let peticion = format!("GET /files/{NOMBRE} HTTP/1.1\r\nHost: {a}\r\n\r\n");
            cuanto_llega(a, &peticion)
        });
        let mut charla = Charla::con(a);
        assert_eq!(
            charla.pedir(&format!("OBTENER:0:1048576:{NOMBRE}")),
            "OK:1048576"
        );
        charla.leer(1 << 20);
        // Lo que no son archivos no espera.
        let antes = Instant::now();
        assert!(charla.pedir("HOLA:0:x").starts_with("HOLA:"));
        assert!(antes.elapsed() < Duration::from_secs(1));
        (1 << 20) + de_la_guia.join().unwrap() + por_http.join().unwrap()
    });
    let tardo = empezo.elapsed().as_secs_f64();
    assert!(llegaron >= 3 << 20);
    // Al empezar se puede adelantar una décima de segundo.
    let esperado = llegaron as f64 / 2e6 - 0.15;
    assert!(tardo >= esperado, "{llegaron} bytes en {tardo} s");
    assert!(tardo < esperado * 3.0, "{llegaron} bytes en {tardo} s");
}
