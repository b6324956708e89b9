//! El REST del nodo de verdad: rutas, archivos por HTTP, la página, y su vida en el maestro.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use super::comun::rest::{MaestroFalso, admitir, enviar, hasta_que, mandar, pedir};
use super::comun::{PACIENCIA, Proceso, orden};
use crate::grpc;
use crate::guia::ENVIO_COMPLETO;
use serde_json::{Value, json};
use tempfile::TempDir;

const MALO: &str = "<img src=x onerror=alert(1)>.txt";
/// Nadie escucha en el puerto 1.
const NADIE: &str = "127.0.0.1:1";

fn carpeta(archivos: &[(&str, &[u8])]) -> TempDir {
    let carpeta = TempDir::new().unwrap();
    for (nombre, datos) in archivos {
        let ruta = carpeta.path().join(nombre);
        fs::create_dir_all(ruta.parent().unwrap()).unwrap();
        fs::write(ruta, datos).unwrap();
    }
    carpeta
}

fn nodo(carpeta: &Path, mas: &[&str]) -> Proceso {
    let fijos: &[&str] = if mas.contains(&"--peer") {
        &["--nombre", "prueba"]
    } else {
        &["--nombre", "prueba", "--peer", NADIE]
    };
    Proceso::nodo(carpeta, &[fijos, mas].concat())
}

fn lineas(salida: &Output) -> Vec<String> {
    String::from_utf8_lossy(&salida.stdout)
        .lines()
        .map(str::to_string)
        .collect()
}

fn archivos_en(maestro: &Proceso) -> Value {
    pedir(maestro.direccion(), "/peers", "").json()["peers"].clone()
}

fn cuantos_en(maestro: &Proceso) -> usize {
    archivos_en(maestro).as_array().unwrap().len()
}

#[test]
fn las_rutas_del_nodo_tienen_la_forma_acordada() {
    let carpeta = carpeta(&[("a.txt", b"hola"), ("sub/ñandú 1.txt", b"x")]);
    let nodo = nodo(carpeta.path(), &[]);
    let (a_donde, url) = (nodo.direccion(), nodo.url());
    let inicio = pedir(a_donde, "/", "Accept: */*\r\n").json();
    assert_eq!(
        (&inicio["status"], &inicio["archivos"]),
        (&json!("activo"), &json!(2))
    );
    let files = json!(["a.txt", "sub/ñandú 1.txt"]);
    assert_eq!(
        pedir(a_donde, "/files", "").json(),
        json!({"peer": "prueba", "files": files})
    );
    assert_eq!(
        pedir(a_donde, "/info", "").json(),
        json!({
            "id": "prueba", "rest_url": url, "grpc_port": grpc::puerto(nodo.puerto),
            "puerto": nodo.puerto, "files": files,
        })
    );
    for (archivo, exists) in [("a.txt", true), ("b.txt", false), ("../a.txt", false)] {
        assert_eq!(
            pedir(a_donde, &format!("/search?file={archivo}"), "").json(),
            json!({"peer": "prueba", "file": archivo, "exists": exists})
        );
    }
    assert_eq!(
        pedir(a_donde, "/locate?file=sub/%C3%B1and%C3%BA+1.txt", "").json(),
        json!({
            "file": "sub/ñandú 1.txt",
            "peers": [{
                "rest": url, "grpc_port": grpc::puerto(nodo.puerto), "puerto": nodo.puerto,
            }],
        })
    );
    assert_eq!(
        pedir(a_donde, "/locate?file=b", "").json(),
        json!({"file": "b", "peers": []})
    );
    let refrescado = mandar(a_donde, b"POST /refresh HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(
        refrescado.json(),
        json!({"status": "refreshed", "files": files})
    );
    for (peticion, codigo) in [
        ("GET /nada HTTP/1.0\r\n\r\n", 404),
        ("GET /search HTTP/1.0\r\n\r\n", 400),
        ("GET /refresh HTTP/1.0\r\n\r\n", 405),
        (
            "PUT /files/a.txt HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc",
            405,
        ),
        ("DELETE /files/a.txt HTTP/1.0\r\n\r\n", 405),
        ("GET /files HTTP/1.1\r\nHost: malo.com\r\n\r\n", 403),
        (
            "GET /files HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://malo.com\r\n\r\n",
            403,
        ),
    ] {
        let contestado = mandar(a_donde, peticion.as_bytes()).unwrap();
        assert_eq!(contestado.codigo, codigo, "{peticion}");
        assert!(contestado.json()["error"].is_string());
    }
    assert_eq!(
        fs::read(carpeta.path().join("a.txt")).unwrap(),
        b"hola",
        "por HTTP no se escribe"
    );
}

#[test]
fn un_archivo_entero_por_partes_y_si_cambio() {
    let datos: Vec<u8> = (0..600_000u32).map(|n| (n % 251) as u8).collect();
    let carpeta = carpeta(&[("sub/ñandú 1.bin", &datos), ("vacio", b"")]);
    let nodo = nodo(carpeta.path(), &[]);
    let ruta = "/files/sub/%C3%B1and%C3%BA%201.bin";
    let get = |cabeceras: &str| pedir(nodo.direccion(), ruta, cabeceras);

    let entero = get("");
    assert_eq!((entero.codigo, &entero.cuerpo), (200, &datos));
    for (cabecera, valor) in [
        ("Content-Type", "application/octet-stream"),
        ("X-Content-Type-Options", "nosniff"),
        ("Accept-Ranges", "bytes"),
        ("Content-Length", "600000"),
    ] {
        assert_eq!(entero.cabecera(cabecera), Some(valor));
    }
    assert!(
        entero
            .cabecera("Content-Security-Policy")
            .unwrap()
            .contains("sandbox")
    );
    let descarga = entero.cabecera("Content-Disposition").unwrap();
    assert!(
        descarga.starts_with("attachment; ")
            && descarga.ends_with("filename*=UTF-8''%C3%B1and%C3%BA%201.bin")
    );
    nodo.esperar(&format!("{ENVIO_COMPLETO} sub/ñandú 1.bin"));

    for (rango, parte) in [
        ("0-9", 0..10),
        ("599990-", 599_990..600_000),
        ("-5", 599_995..600_000),
        ("300000-999999", 300_000..600_000),
    ] {
        let contestado = get(&format!("Range: bytes={rango}\r\n"));
        assert_eq!(
            (contestado.codigo, &contestado.cuerpo[..]),
            (206, &datos[parte.clone()]),
            "{rango}"
        );
        let esperado = format!("bytes {}-{}/600000", parte.start, parte.end - 1);
        assert_eq!(
            contestado.cabecera("Content-Range"),
            Some(esperado.as_str())
        );
    }
    assert_eq!(get("Range: bytes=0-1,5-6\r\n").codigo, 200);
    let fuera = get("Range: bytes=600000-\r\n");
    assert_eq!(
        (fuera.codigo, fuera.cabecera("Content-Range")),
        (416, Some("bytes */600000"))
    );

    // La huella se calcula aparte: mientras no se sabe, no hay ETag; luego es la del archivo.
    let etag = hasta_que("se sabe la ETag", || {
        get("Range: bytes=0-0\r\n")
            .cabecera("ETag")
            .map(str::to_string)
    });
    assert_eq!(etag, format!("\"{}\"", blake3::hash(&datos)));
    let igual = get(&format!("If-None-Match: \"otra\", {etag}\r\n"));
    assert_eq!(
        (igual.codigo, igual.cuerpo.len(), igual.cabecera("ETag")),
        (304, 0, Some(etag.as_str()))
    );
    assert_eq!(get("If-None-Match: \"otra\"\r\n").codigo, 200);
    assert_eq!(
        get(&format!("Range: bytes=0-9\r\nIf-Range: {etag}\r\n")).codigo,
        206
    );
    assert_eq!(
        get("Range: bytes=0-9\r\nIf-Range: \"otra\"\r\n").codigo,
        200
    );

    let cabeza = mandar(
        nodo.direccion(),
        format!("HEAD {ruta} HTTP/1.0\r\n\r\n").as_bytes(),
    )
    .unwrap();
    assert_eq!(
        (
            cabeza.codigo,
            cabeza.cuerpo.len(),
            cabeza.cabecera("Content-Length")
        ),
        (200, 0, Some("600000"))
    );
    assert_eq!(pedir(nodo.direccion(), "/files/vacio", "").codigo, 200);
    assert_eq!(
        pedir(nodo.direccion(), "/files/vacio", "Range: bytes=0-0\r\n").codigo,
        416
    );
}

#[test]
fn de_la_carpeta_no_se_sale() {
    let fuera = carpeta(&[
        ("secreto.txt", b"secreto"),
        ("dentro/.oculto", b"secreto"),
        ("dentro/sub/a", b"a"),
    ]);
    let nodo = nodo(&fuera.path().join("dentro"), &[]);
    for ruta in [
        "/files/../secreto.txt",
        "/files/%2e%2e/secreto.txt",
        "/files/sub/../../secreto.txt",
        "/files/%2fetc/passwd",
        "/files//etc/passwd",
        "/files/.oculto",
        "/files/sub",
        "/files/sub/",
        "/files/",
        "/files/a%00",
        "/files/sub%5ca",
        &format!("/files/{}", "x".repeat(300)),
    ] {
        let contestado = pedir(nodo.direccion(), ruta, "");
        assert_eq!(contestado.codigo, 404, "{ruta}");
        assert!(!String::from_utf8_lossy(&contestado.cuerpo).contains("secreto\n"));
    }
    assert_eq!(pedir(nodo.direccion(), "/files/sub/a", "").codigo, 200);
    assert_eq!(pedir(nodo.direccion(), "/files/sub%2Fa", "").codigo, 200);
}

#[cfg(unix)]
#[test]
fn un_archivo_que_encoge_mientras_se_sirve_no_llega_entero() {
    let carpeta = carpeta(&[]);
    let ruta = carpeta.path().join("grande");
    let archivo = fs::File::create(&ruta).unwrap();
    let total: u64 = 300 << 20;
    archivo.set_len(total).unwrap();
    let nodo = nodo(carpeta.path(), &[]);
    let mut socket = TcpStream::connect(nodo.direccion()).unwrap();
    socket.set_read_timeout(Some(PACIENCIA)).unwrap();
    socket
        .write_all(b"GET /files/grande HTTP/1.0\r\n\r\n")
        .unwrap();
    socket.read_exact(&mut vec![0; 100_000]).unwrap();
    archivo.set_len(50_000).unwrap();
    let leido = std::io::copy(&mut socket, &mut std::io::sink());
    assert!(leido.as_ref().is_err() || leido.unwrap() < total - 100_000);
    assert_eq!(
        pedir(nodo.direccion(), "/files/grande", "").cuerpo.len(),
        50_000
    );
}

#[cfg(unix)]
#[test]
fn un_archivo_sustituido_mientras_se_sirve_no_llega_entero() {
    let carpeta = carpeta(&[]);
    let ruta = carpeta.path().join("grande");
    let archivo = fs::File::create(&ruta).unwrap();
    let total: u64 = 300 << 20;
    archivo.set_len(total).unwrap();
    archivo
        .set_modified(std::time::SystemTime::UNIX_EPOCH)
        .unwrap();
    let nodo = nodo(carpeta.path(), &[]);
    let mut socket = TcpStream::connect(nodo.direccion()).unwrap();
    socket.set_read_timeout(Some(PACIENCIA)).unwrap();
    socket
        .write_all(b"GET /files/grande HTTP/1.0\r\n\r\n")
        .unwrap();
    socket.read_exact(&mut vec![0; 100_000]).unwrap();
    // Mide lo mismo, pero ya no es el mismo contenido.
    (&archivo).write_all(b"otro").unwrap();
    let leido = std::io::copy(&mut socket, &mut std::io::sink());
    assert!(leido.as_ref().is_err() || leido.unwrap() < total - 100_000);
}

#[test]
fn la_pagina_se_lee_y_no_ejecuta_nada_ajeno() {
    let archivos: &[(&str, &[u8])] = if cfg!(windows) {
        &[("a&b.txt", b"x")]
    } else {
        &[(MALO, b"x"), ("a&b.txt", b"x")]
    };
    let carpeta = carpeta(archivos);
    let otro = nodo(carpeta.path(), &[]);
    let peer = otro.direccion().to_string();
    let nodo = nodo(carpeta.path(), &["--peer", &peer, "--peer", NADIE]);
    let direccion = nodo.direccion().to_string();
    let mensaje = orden([
        "mensaje",
        "<script>alert(2)</script>",
        "--a",
        &direccion,
        "--nombre",
        "<b>yo</b>",
    ]);
    assert!(mensaje.status.success());

    let navegador = "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n";
    let pagina = pedir(nodo.direccion(), "/", navegador);
    assert_eq!(
        pagina.cabecera("Content-Type"),
        Some("text/html; charset=utf-8")
    );
    assert!(
        pagina
            .cabecera("Content-Security-Policy")
            .unwrap()
            .starts_with("default-src 'none';")
    );
    let html = String::from_utf8(pagina.cuerpo).unwrap();
    for hay in [
        "<html lang=\"es\">",
        "<meta name=\"viewport\"",
        "a&amp;b.txt</a>",
        "href=\"/files/a%26b.txt\"",
        &format!("{peer}</a>"),
        "responde: prueba",
        "no responde",
        "&lt;script&gt;alert(2)&lt;/script&gt;",
        "&lt;b&gt;yo&lt;/b&gt;",
    ] {
        assert!(html.contains(hay), "falta {hay}:\n{html}");
    }
    for no_hay in ["<img", "<script", "<b>yo", "https://"] {
        assert!(!html.contains(no_hay), "hay {no_hay}:\n{html}");
    }
}

#[test]
fn los_nodos_se_encuentran_solo_por_el_maestro() {
    let maestro = Proceso::maestro(0);
    let con = ["--maestro", &maestro.url()];
    let datos: Vec<u8> = (0..100_000u32).map(|n| (n / 7) as u8).collect();
    let carpetas = [
        carpeta(&[("foto.png", &datos)]),
        carpeta(&[("foto.png", &datos)]),
        carpeta(&[]),
    ];
    let nodos = carpetas
        .each_ref()
        .map(|carpeta| nodo(carpeta.path(), &con));
    hasta_que("los tres se registran", || {
        (cuantos_en(&maestro) == 3).then_some(())
    });
    let mut duenos = [
        nodos[0].direccion().to_string(),
        nodos[1].direccion().to_string(),
    ];
    duenos.sort();

    let mut localizados = lineas(&orden(["localizar", "foto.png", "--maestro", con[1]]));
    localizados.sort();
    assert_eq!(localizados, duenos);
    let por_un_peer = orden(["localizar", "foto.png", "--por", &nodos[2].url()]);
    assert_eq!(por_un_peer.status.code(), Some(0));
    assert_eq!(
        lineas(&por_un_peer).len(),
        2,
        "el tercero no lo tiene y pregunta al maestro"
    );
    assert_eq!(
        orden(["localizar", "nadie", "--maestro", con[1]])
            .status
            .code(),
        Some(1)
    );
    assert_eq!(
        orden(["localizar", "nadie", "--maestro", "http://127.0.0.1:1"])
            .status
            .code(),
        Some(1)
    );

    let mut buscados = lineas(&orden([
        "buscar",
        "foto.png",
        "--peer",
        NADIE,
        "--maestro",
        con[1],
    ]));
    buscados.sort();
    assert_eq!(buscados, duenos);
    let destino = carpeta(&[]);
    let ruta = destino.path().to_str().unwrap();
    let bajado = orden([
        "descargar",
        "foto.png",
        "--carpeta",
        ruta,
        "--peer",
        NADIE,
        "--maestro",
        con[1],
    ]);
    assert_eq!(bajado.status.code(), Some(0), "{bajado:?}");
    assert_eq!(fs::read(destino.path().join("foto.png")).unwrap(), datos);
}

/// La llama [`crate::a_la_vez_las_que_esperan_plazos`].
pub fn lo_que_llega_a_la_carpeta_se_registra_en_el_acto() {
    let maestro = Proceso::maestro(0);
    let carpeta_del_nodo = carpeta(&[]);
    // Para aceptar un envío hay que conocer a quien envía: basta su IP.
    let nodo = nodo(carpeta_del_nodo.path(), &["--maestro", &maestro.url()]);
    nodo.esperar("[MAESTRO] Registrado en");
    let registrado = Instant::now();
    let mio = carpeta(&[("regalo.txt", b"para ti")]);
    let ruta = mio.path().join("regalo.txt");
    let envio = orden([
        "enviar",
        ruta.to_str().unwrap(),
        "--a",
        &nodo.direccion().to_string(),
    ]);
    assert_eq!(envio.status.code(), Some(0), "{envio:?}");
    let esta = |archivo: &str| {
        let peers =
            pedir(maestro.direccion(), &format!("/locate?file={archivo}"), "").json()["peers"]
                .clone();
        (!peers.as_array().unwrap().is_empty()).then_some(())
    };
    hasta_que("el maestro sabe del regalo", || esta("regalo.txt"));
    assert!(
        registrado.elapsed() < Duration::from_secs(4),
        "esperó a la renovación de los 5 s"
    );

    fs::write(carpeta_del_nodo.path().join("nuevo.txt"), b"x").unwrap();
    let refrescado = enviar(nodo.direccion(), "/refresh", &json!({}));
    assert_eq!(
        refrescado.json()["files"],
        json!(["nuevo.txt", "regalo.txt"])
    );
    assert!(
        esta("nuevo.txt").is_some(),
        "al contestar ya está registrado"
    );
    // Y lo que se copia a mano se ve en la siguiente renovación.
    fs::write(carpeta_del_nodo.path().join("a_mano.txt"), b"x").unwrap();
    hasta_que("el maestro sabe de lo copiado a mano", || {
        esta("a_mano.txt")
    });
}

#[cfg(unix)]
/// La llama [`crate::a_la_vez_las_que_esperan_plazos`].
pub fn quien_sale_se_despide_y_quien_muere_caduca() {
    let maestro = Proceso::maestro(0);
    let carpeta = carpeta(&[("a", b"a")]);
    let con = ["--maestro", &maestro.url()];
    let (mut educado, mut muerto) = (nodo(carpeta.path(), &con), nodo(carpeta.path(), &con));
    hasta_que("los dos se registran", || {
        (cuantos_en(&maestro) == 2).then_some(())
    });
    educado.senal("TERM");
    assert_eq!(educado.terminar(), Some(130));
    maestro.esperar(&format!("[DESPEDIDO] {}", educado.url()));
    assert_eq!(cuantos_en(&maestro), 1);
    muerto.matar();
    maestro.esperar(&format!("[CADUCADO] {}", muerto.url()));
    assert_eq!(cuantos_en(&maestro), 0);
}

/// La llama [`crate::a_la_vez_las_que_esperan_plazos`].
pub fn un_maestro_que_se_reinicia_vuelve_a_saberlo_todo() {
    let mut maestro = Proceso::maestro(0);
    let carpeta = carpeta(&[("a", b"a")]);
    let nodo = nodo(carpeta.path(), &["--maestro", &maestro.url()]);
    nodo.esperar("[MAESTRO] Registrado en");
    maestro.matar();
    nodo.esperar("Se sigue sin él y se vuelve a probar");
    assert_eq!(
        pedir(nodo.direccion(), "/", "").codigo,
        200,
        "el nodo sigue sirviendo"
    );
    assert_eq!(enviar(nodo.direccion(), "/refresh", &json!({})).codigo, 502);
    let maestro = Proceso::maestro(maestro.puerto);
    nodo.esperar_veces("[MAESTRO] Registrado en", 2);
    assert_eq!(archivos_en(&maestro)[0]["files"], json!(["a"]));
}

#[test]
fn las_palabras_de_la_guia_siguen_en_el_mismo_puerto() {
    let carpeta = carpeta(&[("a", b"hola")]);
    let nodo = nodo(carpeta.path(), &[]);
    let preguntar = |a_donde: SocketAddr, que: &[u8]| {
        let mut socket = TcpStream::connect(a_donde).unwrap();
        socket.set_read_timeout(Some(PACIENCIA)).unwrap();
        socket.write_all(que).unwrap();
        let mut texto = String::new();
        socket.read_to_string(&mut texto).unwrap();
        texto
    };
    assert_eq!(preguntar(nodo.direccion(), b"BUSCAR:a"), "SI");
    assert_eq!(pedir(nodo.direccion(), "/files/a", "").cuerpo, b"hola");
    assert_eq!(preguntar(nodo.direccion(), b"DESCARGAR:a"), "OKhola");
    assert!(
        preguntar(nodo.direccion(), b"GET / HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 200 OK\r\n")
    );
}

#[test]
fn http_es_como_dice_la_norma() {
    let carpeta = carpeta(&[("a.txt", b"hola")]);
    let nodo = nodo(carpeta.path(), &[]);
    let a_donde = nodo.direccion();
    let codigo = |texto: String| mandar(a_donde, texto.as_bytes()).unwrap().codigo;
    assert_eq!(codigo("GET / HTTP/1.1\r\n\r\n".into()), 400, "sin Host");
    assert_eq!(codigo("\r\nGET / HTTP/1.0\r\n\r\n".into()), 200);
    let largo = "POST /refresh HTTP/1.0\r\nContent-Length: 99999999999999999999\r\n\r\n";
    assert_eq!(codigo(largo.into()), 400);
    let absoluta = |sitio: &str| {
        let peticion =
            format!("GET http://{sitio}/files/a.txt HTTP/1.1\r\nHost: {a_donde}\r\n\r\n");
        mandar(a_donde, peticion.as_bytes()).unwrap()
    };
    let contestado = absoluta(&a_donde.to_string());
    assert_eq!(
        (contestado.codigo, &contestado.cuerpo[..]),
        (200, &b"hola"[..])
    );
    assert_eq!(absoluta("malo.com").codigo, 403);
    let json = pedir(a_donde, "/files", "");
    assert_eq!(json.cabecera("Cache-Control"), Some("no-store"));
    assert!(json.cabecera("Date").unwrap().ends_with(" GMT"));
    let subir = enviar(a_donde, "/upload", &json!({}));
    assert!(subir.codigo == 403 && subir.json()["error"].as_str().unwrap().contains("OFRECER"));
}

#[test]
fn un_archivo_se_pide_segun_su_fecha_y_su_huella() {
    let carpeta = carpeta(&[("a.txt", b"hola")]);
    let ruta = carpeta.path().join("a.txt");
    let fecha = std::time::UNIX_EPOCH + Duration::from_millis(784_111_777_500);
    let archivo = fs::File::options().write(true).open(&ruta).unwrap();
    archivo.set_modified(fecha).unwrap();
    let nodo = nodo(carpeta.path(), &[]);
    let get = |cabeceras: &str| pedir(nodo.direccion(), "/files/a.txt", cabeceras);
    let escrita = "Sun, 06 Nov 1994 08:49:37 GMT";
    assert_eq!(get("").cabecera("Last-Modified"), Some(escrita));
    let igual = get(&format!("If-Modified-Since: {escrita}\r\n"));
    assert_eq!((igual.codigo, igual.cuerpo.len()), (304, 0));
    assert_eq!(igual.cabecera("Last-Modified"), Some(escrita));
    assert_eq!(
        get("If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n").codigo,
        200
    );
    let etag = format!("\"{}\"", blake3::hash(b"hola"));
    // A quien pregunta por ella se le espera, aunque aún se esté calculando.
    assert_eq!(get(&format!("If-Match: \"otra\", {etag}\r\n")).codigo, 200);
    assert_eq!(get("If-Match: *\r\n").codigo, 200);
    let otra = get("If-Match: \"otra\"\r\n");
    assert!(otra.codigo == 412 && otra.json()["error"].is_string());
    let ambas = format!("If-None-Match: \"otra\"\r\nIf-Modified-Since: {escrita}\r\n");
    assert_eq!(
        get(&ambas).codigo,
        200,
        "si dice cuál tiene, la fecha no cuenta"
    );
    // Un archivo del futuro no dice una fecha que aún no ha llegado.
    let futuro = std::time::SystemTime::now() + Duration::from_secs(1 << 33);
    archivo.set_modified(futuro).unwrap();
    let contestado = get("");
    assert_eq!(
        contestado.cabecera("Last-Modified"),
        contestado.cabecera("Date")
    );
}

#[test]
fn a_un_navegador_los_errores_van_en_una_pagina_y_el_icono_no_se_pide() {
    let carpeta = carpeta(&[]);
    let nodo = nodo(carpeta.path(), &[]);
    let navegador = "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n";
    for (ruta, codigo) in [
        ("/", 200),
        ("/nada/<b>", 404),
        ("/files/<b>", 404),
        ("/%zz", 400),
    ] {
        let ruta = ruta.replace('<', "%3C").replace('>', "%3E");
        let contestado = pedir(nodo.direccion(), &ruta, navegador);
        assert_eq!(contestado.codigo, codigo);
        let tipo = contestado.cabecera("Content-Type");
        assert_eq!(tipo, Some("text/html; charset=utf-8"), "{ruta}");
        let politica = contestado.cabecera("Content-Security-Policy").unwrap();
        assert!(politica.contains("img-src data:"), "{politica}");
        let html = String::from_utf8(contestado.cuerpo).unwrap();
        assert!(html.contains("<link rel=\"icon\" href=\"data:,\">") && !html.contains("<b>"));
    }
    let ajeno = mandar(
        nodo.direccion(),
        format!("GET / HTTP/1.1\r\nHost: malo.com\r\n{navegador}\r\n").as_bytes(),
    );
    let ajeno = ajeno.unwrap();
    assert!(ajeno.codigo == 403 && ajeno.cuerpo.starts_with(b"<!DOCTYPE html>"));
}

/// Lo que se cuenta a otro no lleva rutas de este disco.
#[cfg(unix)]
#[test]
fn un_fallo_de_la_carpeta_no_dice_donde_esta() {
    let fuera = carpeta(&[("dentro/a", b"a")]);
    let dentro = fuera.path().join("dentro");
    let nodo = nodo(&dentro, &[]);
    fs::remove_dir_all(&dentro).unwrap();
    let ruta = fuera.path().to_str().unwrap();
    for que in ["/", "/files", "/info"] {
        let contestado = pedir(nodo.direccion(), que, "");
        let texto = String::from_utf8(contestado.cuerpo).unwrap();
        assert!(!texto.contains(ruta), "{que}: {texto}");
    }
}

#[test]
fn lo_que_dice_el_maestro_de_otro_se_repite_tal_cual() {
    let maestro = Proceso::maestro(0);
    let registro =
        json!({"peer": "http://127.0.0.1:9001", "files": ["suyo"], "grpc_port": 9002, "ttl": 60});
    assert_eq!(
        enviar(maestro.direccion(), "/register", &registro).codigo,
        200
    );
    let carpeta = carpeta(&[]);
    let nodo = nodo(carpeta.path(), &["--maestro", &maestro.url()]);
    let contestado = pedir(nodo.direccion(), "/locate?file=suyo", "").json();
    assert_eq!(
        contestado["peers"],
        json!([{"rest": "http://127.0.0.1:9001", "grpc_port": 9002}])
    );
}

#[test]
fn cien_que_refrescan_a_la_vez_son_una_peticion() {
    let maestro = MaestroFalso::nuevo();
    let carpeta = carpeta(&[("a", b"a")]);
    let mut programa = super::comun::nodo();
    // El registro dice cuándo ha leído cada petición.
    programa.env("RUST_LOG", "nodo=debug").arg("servir");
    programa.args(["--puerto", "0", "--peer", "127.0.0.1:9"]);
    programa.args(["--maestro", &maestro.url, "--carpeta"]);
    let nodo = Proceso::nuevo({
        programa.arg(carpeta.path());
        programa
    });
    admitir(&maestro.siguiente().1);
    nodo.esperar("[MAESTRO] Registrado en");
    let peticion = b"POST /refresh HTTP/1.0\r\n\r\n";
    let refrescar = |_| {
        let mut socket = TcpStream::connect(nodo.direccion()).unwrap();
        socket.set_read_timeout(Some(PACIENCIA)).unwrap();
        socket.write_all(peticion).unwrap();
        socket
    };
    let cien: Vec<TcpStream> = (0..100).map(refrescar).collect();
    let (mandado, pendiente) = maestro.siguiente();
    assert!(
        mandado.starts_with("POST /register HTTP/1.0\r\n"),
        "{mandado}"
    );
    hasta_que("las cien se leen", || {
        let leidas = nodo.quejas().matches("POST /refresh HTTP/1.0").count();
        (leidas == 100).then_some(())
    });
    assert_eq!(pedir(nodo.direccion(), "/search?file=a", "").codigo, 200);
    admitir(&pendiente);
    let mut peticiones = 1;
    let leer = |mut socket: TcpStream| {
        let mut texto = String::new();
        socket.read_to_string(&mut texto).unwrap();
        texto
    };
    let lector = std::thread::spawn(move || cien.into_iter().map(leer).collect::<Vec<_>>());
    // Mientras las lee, cualquier otra que llegue al maestro tiene quien la admita.
    while !lector.is_finished() {
        if let Ok((_, otra)) = maestro.llegadas.recv_timeout(Duration::from_millis(50)) {
            admitir(&otra);
            peticiones += 1;
        }
    }
    for texto in lector.join().unwrap() {
        assert!(texto.starts_with("HTTP/1.1 200 "), "{texto}");
        assert!(texto.contains("\"files\":[\"a\"]"), "{texto}");
    }
    // Alguna pudo llegar justo después de que la primera acabara.
    assert!(peticiones <= 5, "{peticiones}");
}

#[cfg(unix)]
#[test]
fn sale_enseguida_aunque_el_maestro_acepte_y_calle() {
    let maestro = MaestroFalso::nuevo();
    let carpeta = carpeta(&[]);
    let mut nodo = nodo(carpeta.path(), &["--maestro", &maestro.url]);
    let _primera = maestro.siguiente();
    let preguntar = |peticion: &[u8]| {
        let mut socket = TcpStream::connect(nodo.direccion()).unwrap();
        socket.write_all(peticion).unwrap();
        socket
    };
    let _cien: Vec<TcpStream> = (0..100)
        .map(|_| preguntar(b"POST /refresh HTTP/1.0\r\n\r\n"))
        .collect();
    let _localizar = preguntar(b"GET /locate?file=x HTTP/1.0\r\n\r\n");
    let localizar = hasta_que("se pregunta al maestro", || {
        let (mandado, socket) = maestro.siguiente();
        mandado.starts_with("GET /locate").then_some(socket)
    });
    let antes = Instant::now();
    nodo.senal("TERM");
    assert_eq!(nodo.terminar(), Some(130));
    assert!(
        antes.elapsed() < Duration::from_millis(2500),
        "{:?}",
        antes.elapsed()
    );
    drop(localizar);
}

/// El maestro contestaba y deja de hacerlo: la despedida no retiene la salida.
#[cfg(unix)]
#[test]
fn despedirse_de_un_maestro_que_ya_no_contesta_tiene_su_plazo() {
    let maestro = MaestroFalso::nuevo();
    let carpeta = carpeta(&[]);
    let mut nodo = nodo(carpeta.path(), &["--maestro", &maestro.url]);
    admitir(&maestro.siguiente().1);
    nodo.esperar("[MAESTRO] Registrado en");
    let antes = Instant::now();
    nodo.senal("TERM");
    let (mandado, _socket) = maestro.siguiente();
    assert!(mandado.starts_with("POST /leave "), "{mandado}");
    assert_eq!(nodo.terminar(), Some(130));
    assert!(
        antes.elapsed() < Duration::from_secs(3),
        "{:?}",
        antes.elapsed()
    );
}
