//! Pruebas de la parte que sirve: qué se entiende, qué se rechaza y cómo sale.

use super::peticion::{TOPE_CABECERAS, TOPE_CABEZA};
use super::*;
use crate::config::Limites;
use proptest::prelude::*;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

fn leer(texto: &str) -> Result<Peticion, u16> {
    match interpretar(texto.as_bytes()) {
        Ok(Some((peticion, largo))) => {
            assert!(largo <= texto.len());
            Ok(peticion)
        }
        Ok(None) => Err(0),
        Err(Corte::Rechazo(respuesta)) => Err(respuesta.codigo),
        Err(Corte::Red(fallo)) => panic!("{fallo}"),
    }
}

fn con_cabecera(cabecera: &str) -> Result<Peticion, u16> {
    leer(&format!("GET / HTTP/1.1\r\n{cabecera}\r\n\r\n"))
}

#[test]
fn una_peticion_se_entiende_entera() {
    let texto = "GET /files/a%20+b/%C3%B1?file=x+y%2B&vacio= HTTP/1.1\r\nHost: LocalHost:6001\r\n\
        Accept: text/html\r\nRange: bytes=0-1\r\nIf-None-Match: \"a\"\r\nIf-Range: \"b\"\r\nContent-Length: 3\r\n\r\nabc";
    let peticion = leer(texto).unwrap();
    assert_eq!(peticion.metodo, Metodo::Get);
    assert_eq!(peticion.ruta, "/files/a +b/ñ");
    assert_eq!(peticion.parametro("file"), Some("x y+"));
    assert_eq!(
        (peticion.parametro("vacio"), peticion.parametro("otro")),
        (None, None)
    );
    assert_eq!(peticion.acepta.as_deref(), Some("text/html"));
    assert_eq!(peticion.rango.as_deref(), Some("bytes=0-1"));
    assert_eq!(peticion.si_no_coincide.as_deref(), Some("\"a\""));
    assert_eq!(peticion.si_rango.as_deref(), Some("\"b\""));
    assert_eq!(peticion.falta, Some(3));
}

#[test]
fn lo_que_falta_se_espera_y_lo_que_sobra_se_rechaza() {
    for incompleta in ["", "G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: x"] {
        assert_eq!(leer(incompleta).unwrap_err(), 0, "{incompleta:?}");
    }
    let larga = "a".repeat(TOPE_CABEZA);
    assert_eq!(leer(&format!("GET /{larga}")).unwrap_err(), 414);
    assert_eq!(
        leer(&format!("GET /{larga} HTTP/1.1\r\n\r\n")).unwrap_err(),
        414
    );
    assert_eq!(con_cabecera(&format!("A: {larga}")).unwrap_err(), 431);
    assert_eq!(
        leer(&format!("GET / HTTP/1.1\r\nA: {larga}")).unwrap_err(),
        431
    );
    assert_eq!(
        con_cabecera(&"A: b\r\n".repeat(TOPE_CABECERAS + 1)).unwrap_err(),
        431
    );
    for (mala, codigo) in [
        ("GET / HTTP/2.0\r\n\r\n", 505),
        ("GET /%zz HTTP/1.1\r\n\r\n", 400),
        ("GET /%ff HTTP/1.1\r\n\r\n", 400),
        ("GET /?a=%f HTTP/1.1\r\n\r\n", 400),
        ("GET x HTTP/1.1\r\n\r\n", 400),
        ("GET http://a/ HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nsin dos puntos\r\n\r\n", 400),
    ] {
        assert_eq!(leer(mala).unwrap_err(), codigo, "{mala:?}");
    }
}

#[test]
fn la_longitud_del_cuerpo_no_admite_dudas() {
    for mala in ["-1", "+1", "1 2", "0x10", "", "1,1"] {
        assert_eq!(
            con_cabecera(&format!("Content-Length: {mala}")).unwrap_err(),
            400,
            "{mala}"
        );
    }
    assert_eq!(
        con_cabecera("Content-Length: 1\r\nContent-Length: 2").unwrap_err(),
        400
    );
    assert_eq!(con_cabecera("Transfer-Encoding: chunked").unwrap_err(), 411);
    assert_eq!(
        con_cabecera("Content-Length: 99999999999999999999")
            .unwrap()
            .falta,
        Some(u64::MAX)
    );
}

#[test]
fn solo_se_atiende_a_quien_llama_por_ip_o_por_localhost() {
    for bueno in [
        "127.0.0.1",
        "127.0.0.1:6001",
        "localhost",
        "LOCALHOST:80",
        "[::1]:6001",
        "[::1]",
        "10.0.0.7:1",
    ] {
        assert!(con_cabecera(&format!("Host: {bueno}")).is_ok(), "{bueno}");
    }
    for malo in [
        "malo.com",
        "malo.com:6001",
        "127.0.0.1.malo.com",
        "localhost.malo.com",
        "[x]",
        "127.0.0.1:x",
        "",
        "::1",
    ] {
        assert_eq!(
            con_cabecera(&format!("Host: {malo}")).unwrap_err(),
            403,
            "{malo}"
        );
    }
    assert_eq!(
        con_cabecera("Host: 127.0.0.1\r\nHost: localhost").unwrap_err(),
        400
    );
    assert!(con_cabecera("Host: 127.0.0.1:6001\r\nOrigin: http://127.0.0.1:6001").is_ok());
    for ajeno in [
        "http://malo.com",
        "null",
        "http://127.0.0.1:6002",
        "https://127.0.0.1:6001",
    ] {
        let cabeceras = format!("Host: 127.0.0.1:6001\r\nOrigin: {ajeno}");
        assert_eq!(con_cabecera(&cabeceras).unwrap_err(), 403, "{ajeno}");
    }
}

#[test]
fn una_cabecera_no_puede_traer_otra_dentro() {
    let respuesta = Respuesta::vacia(200).con("X-Nombre", "a\r\nSet-Cookie: b");
    let cabeza = String::from_utf8(respuesta.cabeza()).unwrap();
    assert!(
        cabeza.contains("X-Nombre: aSet-Cookie: b\r\n\r\n"),
        "{cabeza}"
    );
}

/// Un servidor de un cliente, con `contestar` detrás; devuelve lo que el cliente recibe tras mandar `pregunta`.
fn conversar(
    pregunta: &[u8],
    contestar: impl FnOnce(&mut Conexion, &mut Peticion) -> Result<Respuesta, Corte> + Send + 'static,
) -> Result<Vec<u8>, std::io::Error> {
    let escucha = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut cliente = TcpStream::connect(escucha.local_addr().unwrap()).unwrap();
    let servidor = thread::spawn(move || {
        let (socket, desde) = escucha.accept().unwrap();
        let mut conexion = Conexion::aceptada(&Arc::new(socket), desde, Limites::default());
        let _ = atender(&mut conexion, contestar);
    });
    cliente.write_all(pregunta)?;
    let mut recibido = Vec::new();
    let leido = cliente.read_to_end(&mut recibido);
    servidor.join().unwrap();
    leido.map(|_| recibido)
}

#[test]
fn quien_manda_demasiado_llega_a_ver_el_413() {
    let mut pregunta = b"POST / HTTP/1.1\r\nContent-Length: 20000000\r\n\r\n".to_vec();
    pregunta.resize(20_000_000, b'x');
    let recibido = conversar(&pregunta, |c, p| {
        leer_cuerpo(c, p, 1024).map(|_| Respuesta::vacia(200))
    })
    .unwrap();
    let texto = String::from_utf8(recibido).unwrap();
    assert!(
        texto.starts_with("HTTP/1.1 413 ") && texto.contains("\"error\""),
        "{texto}"
    );
}

#[test]
fn a_quien_pregunta_antes_de_mandar_se_le_dice_que_siga() {
    let escucha = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut cliente = TcpStream::connect(escucha.local_addr().unwrap()).unwrap();
    let servidor = thread::spawn(move || {
        let (socket, desde) = escucha.accept().unwrap();
        let mut conexion = Conexion::aceptada(&Arc::new(socket), desde, Limites::default());
        let eco = |c: &mut Conexion, p: &mut Peticion| {
            leer_json(c, p, 99).map(|v| Respuesta::json(200, &v))
        };
        atender(&mut conexion, eco).unwrap();
    });
    cliente
        .write_all(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        .unwrap();
    let mut sigue = [0; 25];
    cliente.read_exact(&mut sigue).unwrap();
    assert_eq!(&sigue, b"HTTP/1.1 100 Continue\r\n\r\n");
    cliente.write_all(b"[]").unwrap();
    let mut texto = String::new();
    cliente.read_to_string(&mut texto).unwrap();
    assert!(
        texto.starts_with("HTTP/1.1 200 OK\r\n") && texto.ends_with("\r\n\r\n[]\n"),
        "{texto}"
    );
    servidor.join().unwrap();
}

#[test]
fn head_no_lleva_cuerpo_pero_dice_cuanto_seria() {
    let contestar =
        |_: &mut Conexion, _: &mut Peticion| Ok(Respuesta::json(200, &serde_json::json!([1])));
    let texto =
        String::from_utf8(conversar(b"HEAD / HTTP/1.1\r\n\r\n", contestar).unwrap()).unwrap();
    assert!(
        texto.contains("Content-Length: 4\r\n") && texto.ends_with("\r\n\r\n"),
        "{texto}"
    );
    assert!(
        texto.contains("Connection: close\r\n")
            && texto.contains("X-Content-Type-Options: nosniff\r\n")
    );
}

#[test]
fn un_envio_que_falla_a_medias_no_parece_entero() {
    let contestar = |_: &mut Conexion, _: &mut Peticion| {
        let enviar: Envio = Box::new(|conexion, cabeza| {
            conexion.escribir_datos(cabeza)?;
            conexion.escribir_datos(b"mitad")?;
            Err(FalloRed::Cortada)
        });
        Ok(Respuesta::flujo(200, 10, enviar))
    };
    assert!(
        conversar(b"GET / HTTP/1.1\r\n\r\n", contestar).is_err(),
        "tenía que llegar un RST"
    );
}

proptest! {
    #[test]
    fn ninguna_peticion_revienta(bytes in any::<Vec<u8>>()) {
        let _ = interpretar(&bytes);
    }

    #[test]
    fn ninguna_peticion_casi_buena_revienta(
        sitio in 0usize..90, byte in any::<u8>(), ruta in "[ -~]{0,20}", valor in "[ -~]{0,20}",
    ) {
        let texto = format!("GET /{ruta} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {valor}\r\nRange: {valor}\r\n\r\n");
        let mut bytes = texto.into_bytes();
        let sitio = sitio % bytes.len();
        bytes[sitio] = byte;
        let _ = interpretar(&bytes);
    }
}
