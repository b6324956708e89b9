//! Pruebas de la parte que sirve: qué se entiende, qué se rechaza y cómo sale.

use super::peticion::{TOPE_CABECERAS, TOPE_CABEZA};
use super::*;
use crate::config::Limites;
use crate::red::maquina::aceptar;
use proptest::prelude::*;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

fn leer(texto: &str) -> Result<PeticionHttp, u16> {
    match interpretar(texto.as_bytes()) {
        Ok(Some((peticion, largo))) => {
            assert!(largo <= texto.len());
            match peticion.comprobar_procedencia() {
                Ok(()) => Ok(peticion),
                Err(CorteHttp::Rechazo(respuesta)) => Err(respuesta.codigo),
                Err(CorteHttp::Red(fallo)) => panic!("{fallo}"),
            }
        }
        Ok(None) => Err(0),
        Err(CorteHttp::Rechazo(respuesta)) => Err(respuesta.codigo),
        Err(CorteHttp::Red(fallo)) => panic!("{fallo}"),
    }
}

fn con_cabecera(cabecera: &str) -> Result<PeticionHttp, u16> {
    leer(&format!("GET / HTTP/1.0\r\n{cabecera}\r\n\r\n"))
}

#[test]
fn una_peticion_se_entiende_entera() {
    let texto = "GET /files/a%20+b/%C3%B1?file=x+y%2B&vacio= HTTP/1.1\r\nHost: LocalHost:6001\r\n\
        Accept: text/html\r\nRange: bytes=0-1\r\nIf-None-Match: \"a\"\r\nIf-Range: \"b\"\r\n\
        Content-Length: 3\r\n\r\nabc";
    let peticion = leer(texto).unwrap();
    assert_eq!(peticion.metodo, "GET");
    assert_eq!(peticion.ruta, "/files/a +b/ñ");
    assert_eq!(peticion.parametro("file").unwrap(), "x y+");
    assert!(peticion.parametro("vacio").is_err() && peticion.parametro("otro").is_err());
    assert_eq!(peticion.cabecera("accept"), Some("text/html"));
    assert!(peticion.quiere_html());
    assert_eq!(peticion.cabecera("range"), Some("bytes=0-1"));
    assert_eq!(peticion.cabecera("if-none-match"), Some("\"a\""));
    assert_eq!(peticion.cabecera("if-range"), Some("\"b\""));
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
    let imposible = "Content-Length: 99999999999999999999";
    assert_eq!(con_cabecera(imposible).unwrap_err(), 400);
    let enorme = format!("Content-Length: {}", u64::MAX);
    assert_eq!(con_cabecera(&enorme).unwrap().falta, Some(u64::MAX));
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
    assert_eq!(
        con_cabecera("Origin: http://127.0.0.1").unwrap_err(),
        403,
        "sin Host no hay con qué compararlo"
    );
}

#[test]
fn host_y_origin_no_admiten_dudas() {
    let codigo = |bytes: &[u8]| match interpretar(bytes) {
        Err(CorteHttp::Rechazo(respuesta)) => respuesta.codigo,
        otra => panic!("{otra:?}"),
    };
    let host = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\xff\r\n\r\n";
    assert_eq!(codigo(host), 400);
    let origen = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://malo\xff\r\n\r\n";
    assert_eq!(codigo(origen), 400);
    let bueno = "Origin: http://127.0.0.1";
    let dos = format!("Host: 127.0.0.1\r\nOrigin: http://malo.com\r\n{bueno}");
    assert_eq!(con_cabecera(&dos).unwrap_err(), 400, "no vale la última");
    // De las demás, lo que no es texto no cuenta, y las listas se juntan.
    let texto = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: \xff\r\nAccept: a\r\nAccept: b\r\n\r\n";
    let (peticion, _) = interpretar(texto).unwrap().unwrap();
    assert_eq!(
        (peticion.cabecera("x"), peticion.cabecera("accept")),
        (None, Some("a, b"))
    );
    assert_eq!(
        leer("GET / HTTP/1.1\r\n\r\n").unwrap_err(),
        400,
        "falta Host"
    );
    assert!(leer("GET / HTTP/1.0\r\n\r\n").is_ok());
}

#[test]
fn la_direccion_puede_llevar_a_quien_se_llama() {
    let absoluta = |sitio: &str, host: &str| {
        leer(&format!(
            "GET http://{sitio} HTTP/1.1\r\nHost: {host}\r\n\r\n"
        ))
    };
    let leida = absoluta("127.0.0.1:6001/files/a%20b?file=c", "127.0.0.1:6001").unwrap();
    assert_eq!(
        (leida.ruta.as_str(), leida.parametro("file").ok()),
        ("/files/a b", Some("c"))
    );
    assert_eq!(absoluta("localhost", "x.y").unwrap_err(), 403);
    assert_eq!(absoluta("malo.com/", "127.0.0.1").unwrap_err(), 403);
    assert_eq!(absoluta("[::1]:6001", "[::1]:6001").unwrap().ruta, "/");
    let con_origen = |origen: &str| {
        let host = format!("127.0.0.1\r\nOrigin: {origen}");
        absoluta("127.0.0.1:6001/", &host).map(|_| ())
    };
    assert_eq!(
        con_origen("http://127.0.0.1:6001"),
        Ok(()),
        "manda la dirección"
    );
    assert_eq!(con_origen("http://127.0.0.1"), Err(403));
}

#[test]
fn un_salto_de_linea_de_mas_delante_no_estorba() {
    assert_eq!(leer("\r\nGET /a HTTP/1.0\r\n\r\n").unwrap().ruta, "/a");
}

#[test]
fn una_cabecera_no_puede_traer_otra_dentro() {
    let respuesta = RespuestaHttp::vacia(200).con("X-Nombre", "a\r\nSet-Cookie: b");
    let cabeza = String::from_utf8(respuesta.cabeza()).unwrap();
    assert!(
        cabeza.contains("X-Nombre: aSet-Cookie: b\r\n\r\n"),
        "{cabeza}"
    );
}

#[test]
fn las_fechas_son_de_http_y_ninguna_revienta() {
    use std::time::{SystemTime, UNIX_EPOCH};
    let fecha = UNIX_EPOCH + Duration::from_millis(784_111_777_900);
    assert_eq!(fecha_http(fecha), "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(
        leer_fecha("Sun, 06 Nov 1994 08:49:37 GMT"),
        Some(UNIX_EPOCH + Duration::from_secs(784_111_777))
    );
    let antes = UNIX_EPOCH - Duration::from_secs(1);
    assert_eq!(fecha_http(antes), fecha_http(UNIX_EPOCH));
    // Más allá no llega el reloj de Windows.
    let despues = UNIX_EPOCH + Duration::from_secs(1 << 39);
    assert_eq!(fecha_http(despues), "Fri, 31 Dec 9999 23:59:59 GMT");
    let cabeza = String::from_utf8(RespuestaHttp::vacia(200).cabeza()).unwrap();
    let escrita = cabeza
        .split("Date: ")
        .nth(1)
        .unwrap()
        .split("\r\n")
        .next()
        .unwrap();
    let hace = SystemTime::now()
        .duration_since(leer_fecha(escrita).unwrap())
        .unwrap();
    assert!(hace < Duration::from_secs(60), "{cabeza}");
    assert!(cabeza.contains("Cache-Control: no-store\r\n"), "{cabeza}");
}

/// Un servidor de un cliente, con `contestar` detrás; devuelve lo que el cliente recibe tras mandar
/// `pregunta`.
fn conversar(
    pregunta: &[u8],
    contestar: impl FnOnce(&mut Conexion, &mut PeticionHttp) -> Result<RespuestaHttp, CorteHttp>
    + Send
    + 'static,
) -> Result<Vec<u8>, std::io::Error> {
    let escucha = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut cliente = TcpStream::connect(escucha.local_addr().unwrap()).unwrap();
    let servidor = thread::spawn(move || {
        let (socket, desde) = aceptar(&escucha).unwrap();
        let mut conexion = Conexion::aceptada(&Arc::new(socket), desde, &Limites::default());
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
    // Tirarlo todo cabe de sobra en lo que dura la despedida, pero con Wine cada lectura es lenta.
    let cuanto = if crate::wine::bajo_wine() {
        4_000_000
    } else {
        20_000_000
    };
    let mut pregunta = format!("POST / HTTP/1.0\r\nContent-Length: {cuanto}\r\n\r\n").into_bytes();
    pregunta.resize(cuanto, b'x');
    let recibido = conversar(&pregunta, |c, p| {
        leer_cuerpo(c, p, 1024, || Ok(())).map(|_| RespuestaHttp::vacia(200))
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
        let (socket, desde) = aceptar(&escucha).unwrap();
        let mut conexion = Conexion::aceptada(&Arc::new(socket), desde, &Limites::default());
        let eco = |c: &mut Conexion, p: &mut PeticionHttp| {
            let (cuerpo, _) = leer_cuerpo(c, p, 99, || Ok(()))?;
            leer_json(&cuerpo).map(|v| RespuestaHttp::json(200, &v))
        };
        atender(&mut conexion, eco).unwrap();
    });
    let cabeza = b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: 100-continue\r\n\
        Content-Length: 2\r\n\r\n";
    cliente.write_all(cabeza).unwrap();
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
    let contestar = |_: &mut Conexion, _: &mut PeticionHttp| {
        Ok(RespuestaHttp::json(200, &serde_json::json!([1])))
    };
    let texto =
        String::from_utf8(conversar(b"HEAD / HTTP/1.0\r\n\r\n", contestar).unwrap()).unwrap();
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
    let contestar = |_: &mut Conexion, _: &mut PeticionHttp| {
        let enviar: Envio = Box::new(|conexion, cabeza| {
            conexion.escribir_datos(cabeza)?;
            conexion.escribir_datos(b"mitad")?;
            Err(FalloRed::Cortada)
        });
        Ok(RespuestaHttp::flujo(200, 10, enviar))
    };
    let recibido = conversar(b"GET / HTTP/1.0\r\n\r\n", contestar);
    assert!(
        recibido.is_err() || crate::wine::se_pierde_el_rst(),
        "tenía que llegar un RST"
    );
}

#[test]
fn un_navegador_lee_los_errores_en_una_pagina() {
    let preguntar = |acepta: &str| {
        let contestar = |_: &mut Conexion, _: &mut PeticionHttp| {
            let fallo = RespuestaHttp::fallo(404, "aquí no hay «<b>»");
            Ok(fallo.con("X-Mas", "sigue"))
        };
        let pregunta = format!("GET / HTTP/1.0\r\nAccept: {acepta}\r\n\r\n");
        String::from_utf8(conversar(pregunta.as_bytes(), contestar).unwrap()).unwrap()
    };
    let pagina = preguntar("text/html,*/*;q=0.8");
    for hay in [
        "HTTP/1.1 404 Not Found\r\n",
        "Content-Type: text/html; charset=utf-8\r\n",
        "X-Mas: sigue\r\n",
        "Content-Security-Policy: default-src 'none';",
        "aquí no hay «&lt;b&gt;»",
    ] {
        assert!(pagina.contains(hay), "falta {hay}:\n{pagina}");
    }
    let json = preguntar("*/*");
    assert!(
        json.ends_with("\r\n\r\n{\"error\":\"aquí no hay «<b>»\"}\n"),
        "{json}"
    );
    for texto in [&pagina, &json] {
        assert!(texto.contains("Vary: Accept\r\n"), "{texto}");
        assert_eq!(texto.matches("Cache-Control: no-store\r\n").count(), 1);
    }
}

#[test]
fn una_lista_larga_sale_por_trozos_y_una_corta_dice_cuanto_mide() {
    let pedir = |cuantos: u32| {
        let contestar = move |_: &mut Conexion, _: &mut PeticionHttp| {
            let elementos = (0..cuantos).map(|n| pieza(&Value::from(n)));
            let inicio = serde_json::json!({"a": 1});
            RespuestaHttp::json_por_piezas(con_lista(inicio, "b", elementos))
        };
        let recibido = conversar(b"GET / HTTP/1.0\r\n\r\n", contestar).unwrap();
        String::from_utf8(recibido).unwrap()
    };
    let corta = pedir(2);
    assert!(corta.contains("Content-Length: 18\r\n"), "{corta}");
    assert!(
        corta.ends_with("\r\n\r\n{\"a\":1,\"b\":[0,1]}\n"),
        "{corta}"
    );
    let larga = pedir(100_000);
    assert!(!larga.contains("Content-Length"));
    let (_, cuerpo) = larga.split_once("\r\n\r\n").unwrap();
    let leida: Value = serde_json::from_str(cuerpo).unwrap();
    assert_eq!(leida["b"].as_array().unwrap().len(), 100_000);
}

#[test]
fn para_recibir_un_cuerpo_largo_hace_falta_permiso() {
    let mandar = |largo: usize, dar: bool| {
        let mut pregunta = format!("POST / HTTP/1.0\r\nContent-Length: {largo}\r\n\r\n");
        pregunta.push_str(&"x".repeat(largo));
        let contestar = move |c: &mut Conexion, p: &mut PeticionHttp| {
            let permiso = || dar.then_some(7).ok_or_else(|| rechazar(503, "no"));
            let (cuerpo, dado) = leer_cuerpo(c, p, 1 << 20, permiso)?;
            let valor = serde_json::json!([cuerpo.len(), dado]);
            Ok(RespuestaHttp::json(200, &valor))
        };
        let recibido = conversar(pregunta.as_bytes(), contestar).unwrap();
        let texto = String::from_utf8(recibido).unwrap();
        texto.split_once("\r\n\r\n").unwrap().1.to_string()
    };
    assert_eq!(
        mandar(CUERPO_CORTO, false),
        format!("[{CUERPO_CORTO},null]\n")
    );
    assert_eq!(
        mandar(CUERPO_CORTO + 1, true),
        format!("[{},7]\n", CUERPO_CORTO + 1)
    );
    assert!(mandar(CUERPO_CORTO + 1, false).contains("error"));
}

proptest! {
    #[test]
    fn ninguna_fecha_revienta(
        escrita in "[ -~]{0,40}",
        mes in "Jan|Feb|Mar|Dec|[A-Z][a-z]{2}",
        cifras in prop::array::uniform4(0u32..100),
        anno in 0u32..10_000,
    ) {
        let [dia, hora, minuto, segundo] = cifras;
        let reloj = format!("{hora:02}:{minuto:02}:{segundo:02}");
        let parecida = format!("Sun, {dia:02} {mes} {anno:04} {reloj} GMT");
        let _ = (leer_fecha(&escrita), leer_fecha(&parecida));
    }

    #[test]
    fn ninguna_peticion_revienta(bytes in any::<Vec<u8>>()) {
        let _ = interpretar(&bytes);
    }

    #[test]
    fn ninguna_peticion_casi_buena_revienta(
        sitio in 0usize..90, byte in any::<u8>(), ruta in "[ -~]{0,20}", valor in "[ -~]{0,20}",
    ) {
        let cabeceras = format!("Content-Length: {valor}\r\nRange: {valor}\r\n");
        let texto = format!("GET /{ruta} HTTP/1.1\r\nHost: 127.0.0.1\r\n{cabeceras}\r\n");
        let mut bytes = texto.into_bytes();
        let sitio = sitio % bytes.len();
        bytes[sitio] = byte;
        let _ = interpretar(&bytes);
    }
}
