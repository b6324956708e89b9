//! Los que no hablan nuestro protocolo: directorios que no dan `puerto`, nombres de máquina, peers
//! que sólo saben HTTP, y maestros que no están.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Output;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::comun::rest::{MaestroFalso, pedir};
use super::comun::{Proceso, codigo, datos, dicho, nodo, nombres, orden, quejas};

/// Un servidor HTTP de mentira: a lo que no es HTTP contesta un 400, y lo demás se lo da a
/// `contestar`, con la primera línea.
struct Ajeno {
    direccion: SocketAddr,
    /// Las peticiones que llegaron, enteras.
    pedidas: Arc<Mutex<Vec<String>>>,
}

impl Ajeno {
    fn nuevo(contestar: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static) -> Ajeno {
        let escucha = TcpListener::bind("127.0.0.1:0").unwrap();
        let direccion = escucha.local_addr().unwrap();
        let pedidas: Arc<Mutex<Vec<String>>> = Arc::default();
        let (contestar, suyas) = (Arc::new(contestar), Arc::clone(&pedidas));
        thread::spawn(move || {
            for mut socket in escucha.incoming().map_while(Result::ok) {
                let (contestar, pedidas) = (Arc::clone(&contestar), Arc::clone(&suyas));
                thread::spawn(move || {
                    let Some(peticion) = leer_peticion(&mut socket) else {
                        return;
                    };
                    pedidas.lock().unwrap().push(peticion.clone());
                    let linea = peticion.lines().next().unwrap_or_default();
                    match linea.contains(" HTTP/1.") {
                        true => contestar(linea, &mut socket),
                        false => decir(&mut socket, "HTTP/1.0 400 Bad Request\r\n\r\nmal"),
                    }
                });
            }
        });
        Ajeno { direccion, pedidas }
    }

    /// Uno que a todo contesta lo mismo.
    fn con(respuesta: impl Into<Vec<u8>>) -> Ajeno {
        let respuesta = respuesta.into();
        Ajeno::nuevo(move |_, socket| drop(socket.write_all(&respuesta)))
    }

    /// Uno que contesta ese JSON.
    fn con_json(valor: &Value) -> Ajeno {
        Ajeno::con(con_longitud(valor.to_string().as_bytes()))
    }

    fn url(&self) -> String {
        format!("http://{}", self.direccion)
    }

    fn pedidas(&self) -> Vec<String> {
        self.pedidas.lock().unwrap().clone()
    }
}

/// Como los servidores del curso: hasta la línea en blanco, por mucho que tarde. (De `INFO` basta su
/// línea: a los que la esperan entera se les deja a los 10 s, y la prueba no enseñaría más.)
fn leer_peticion(socket: &mut TcpStream) -> Option<String> {
    let mut peticion = Vec::new();
    let mut byte = [0];
    let entera = |peticion: &[u8]| {
        let fin: &[u8] = match peticion.starts_with(b"INFO:") {
            true => b"\n",
            false => b"\r\n\r\n",
        };
        peticion.ends_with(fin)
    };
    while !entera(&peticion) && peticion.len() < 8192 {
        match socket.read(&mut byte) {
            Ok(1) => peticion.push(byte[0]),
            _ => return None,
        }
    }
    Some(String::from_utf8_lossy(&peticion).into_owned())
}

fn decir(socket: &mut TcpStream, que: &str) {
    let _ = socket.write_all(que.as_bytes());
}

fn con_longitud(cuerpo: &[u8]) -> Vec<u8> {
    let cabeza = format!(
        "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n",
        cuerpo.len()
    );
    [cabeza.as_bytes(), cuerpo].concat()
}

/// Un maestro que da esos peers, le pregunten lo que le pregunten.
fn maestro_que_da(peers: &Value) -> Ajeno {
    Ajeno::con_json(&json!({"file": "x", "peers": peers}))
}

/// Nadie escucha ahí.
fn puerto_sin_nadie() -> SocketAddr {
    let escucha = TcpListener::bind("127.0.0.1:0").unwrap();
    escucha.local_addr().unwrap()
}

/// `nodo descargar` de quien diga `maestro`, y la carpeta en que lo deja.
fn descargar(maestro: &str, nombre: &str) -> (Output, tempfile::TempDir) {
    let carpeta = tempfile::tempdir().unwrap();
    let salida = nodo()
        .args(["descargar", nombre, "--peer", "127.0.0.1:9", "--maestro"])
        .arg(maestro)
        .arg("--carpeta")
        .arg(carpeta.path())
        .output()
        .unwrap();
    (salida, carpeta)
}

/// Lo mismo, de un solo peer ajeno.
fn descargar_de(peer: &Ajeno, nombre: &str) -> (Output, tempfile::TempDir) {
    let maestro = maestro_que_da(&json!([{"rest": peer.url()}]));
    descargar(&maestro.url(), nombre)
}

fn nodo_con(nombre: &str, contenido: &[u8], opciones: &[&str]) -> (Proceso, tempfile::TempDir) {
    let carpeta = tempfile::tempdir().unwrap();
    std::fs::write(carpeta.path().join(nombre), contenido).unwrap();
    let mut todas = vec!["--peer", "127.0.0.1:9"];
    todas.extend(opciones);
    (Proceso::nodo(carpeta.path(), &todas), carpeta)
}

// ----- Directorios -----

#[test]
fn a_quien_no_da_puerto_se_le_prueba_en_el_de_rest() {
    let contenido = datos(100_000);
    let (nuestro, _suya) = nodo_con("a.bin", &contenido, &[]);
    let ajeno = Ajeno::con(con_longitud(b"otra cosa"));
    let muerto = puerto_sin_nadie();
    let maestro = maestro_que_da(&json!([
        {"rest": nuestro.url(), "grpc_port": 0},
        {"rest": nuestro.url()},
        {"rest": ajeno.url(), "grpc_port": 0},
        {"rest": format!("http://{muerto}"), "grpc_port": 9002},
        {"rest": format!("http://0.0.0.0:{}", nuestro.puerto)},
        {"rest": "https://127.0.0.1:9001"},
    ]));
    let buscado = orden([
        "buscar",
        "a.bin",
        "--peer",
        "127.0.0.1:9",
        "--maestro",
        &maestro.url(),
    ]);
    let mut lineas: Vec<_> = dicho(&buscado).lines().map(String::from).collect();
    lineas.sort();
    assert_eq!(lineas, [nuestro.direccion().to_string(), ajeno.url()]);
    assert_eq!(codigo(&buscado), Some(0));
    // Con una fuente de las nuestras, a la ajena no se le pide nada.
    let (salida, carpeta) = descargar(&maestro.url(), "a.bin");
    assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
    assert!(
        dicho(&salida).contains("· comprobado"),
        "{}",
        dicho(&salida)
    );
    assert_eq!(
        std::fs::read(carpeta.path().join("a.bin")).unwrap(),
        contenido
    );
    let archivos = |peticion: &String| peticion.contains("/files/");
    assert!(!ajeno.pedidas().iter().any(archivos));
    // Y quien no lo tiene no es una fuente, aunque lo diga el maestro.
    let (salida, _) = descargar(
        &maestro_que_da(&json!([{"rest": nuestro.url()}])).url(),
        "b.bin",
    );
    assert!(
        quejas(&salida).contains("[NO ENCONTRADO]"),
        "{}",
        quejas(&salida)
    );
}

/// `127.1` no es una IP bien escrita: sólo el sistema sabe qué es, como con un nombre, y no le hace
/// falta la red. Y `0` es `0.0.0.0`.
#[test]
fn un_nombre_de_maquina_vale_en_cualquier_url() {
    let contenido = datos(5_000);
    let (nuestro, _suya) = nodo_con("a.bin", &contenido, &[]);
    let por_nombre = |puerto: u16| format!("http://127.1:{puerto}");
    // El nodo rechaza un `Host` que no sea una IP: se le manda la suya.
    let localizado = orden(["localizar", "a.bin", "--por", &por_nombre(nuestro.puerto)]);
    assert_eq!(dicho(&localizado), format!("{}\n", nuestro.direccion()));
    let maestro = maestro_que_da(&json!([
        {"rest": por_nombre(nuestro.puerto)},
        {"rest": format!("http://0:{}", nuestro.puerto)},
    ]));
    let url = por_nombre(maestro.direccion.port());
    let buscado = orden([
        "buscar",
        "a.bin",
        "--peer",
        "127.0.0.1:9",
        "--maestro",
        &url,
    ]);
    assert_eq!(dicho(&buscado), format!("{}\n", nuestro.direccion()));
    let (salida, carpeta) = descargar(&url, "a.bin");
    assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
    assert_eq!(
        std::fs::read(carpeta.path().join("a.bin")).unwrap(),
        contenido
    );
    // También para lo que va a todos.
    let listado = orden([
        "listar",
        "--red",
        "--peer",
        "127.0.0.1:9",
        "--maestro",
        &url,
    ]);
    assert!(dicho(&listado).contains(&format!("{} a.bin", nuestro.direccion())));
    // A un ajeno se le nombra como lo escribieron: puede servir varios sitios.
    let ajeno = Ajeno::con(con_longitud(b"hola"));
    let suyo = por_nombre(ajeno.direccion.port());
    let maestro = maestro_que_da(&json!([{"rest": suyo}]));
    let (salida, carpeta) = descargar(&maestro.url(), "h.txt");
    assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
    assert_eq!(
        std::fs::read(carpeta.path().join("h.txt")).unwrap(),
        b"hola"
    );
    let host = format!("Host: 127.1:{}", ajeno.direccion.port());
    assert!(
        ajeno
            .pedidas()
            .iter()
            .any(|p| p.contains("/files/h.txt") && p.contains(&host))
    );
}

#[test]
fn el_grpc_de_un_peer_se_repite_como_lo_dio() {
    // Uno que habla lo nuestro y dice de sí que habla gRPC en otro puerto.
    let escucha = TcpListener::bind("127.0.0.1:0").unwrap();
    let suya = escucha.local_addr().unwrap();
    thread::spawn(move || {
        for mut socket in escucha.incoming().map_while(Result::ok) {
            let mut leido = [0; 1024];
            let largo = socket.read(&mut leido).unwrap_or(0);
            let respuesta = match leido[..largo].starts_with(b"GET /locate?file=a.bin ") {
                true => con_longitud(
                    json!({"file": "a.bin", "peers": [
                        {"rest": format!("http://{suya}"), "grpc_port": 7777, "puerto": suya.port()}
                    ]})
                    .to_string()
                    .as_bytes(),
                ),
                false => b"SI".to_vec(),
            };
            let _ = socket.write_all(&respuesta);
        }
    });
    let (nodo, _carpeta) = nodo_con("otro", b"", &["--peer", &suya.to_string()]);
    let contestado = pedir(nodo.direccion(), "/locate?file=a.bin", "").json();
    let suyo = json!({"rest": format!("http://{suya}"), "grpc_port": 7777, "puerto": suya.port()});
    assert_eq!(contestado["peers"], json!([suyo]));
}

#[test]
fn un_maestro_que_no_esta_se_dice_y_los_peers_bastan() {
    let contenido = datos(5_000);
    let (peer, _suya) = nodo_con("a.bin", &contenido, &[]);
    let caido = format!("http://{}", puerto_sin_nadie());
    let mudo = MaestroFalso::nuevo();
    let roto = Ajeno::con("HTTP/1.0 500 X\r\n\r\n");
    for (maestro, causa) in [
        (&caido, "rechaz"),
        (&mudo.url, "plazo"),
        (&roto.url(), "código HTTP 500"),
    ] {
        let direccion = peer.direccion().to_string();
        let comunes = ["--peer", &direccion, "--maestro", maestro, "--espera", "1"];
        let se_dice = |salida: &Output| {
            let quejas = quejas(salida);
            assert!(
                quejas.contains(&format!("[MAESTRO] {maestro}"))
                    && quejas.contains(causa)
                    && quejas.contains("comprueba que esté en marcha"),
                "{quejas}"
            );
            assert_eq!(codigo(salida), Some(0), "{quejas}");
        };
        let antes = Instant::now();
        let buscado = orden(["buscar", "a.bin"].iter().chain(&comunes));
        assert_eq!(dicho(&buscado), format!("{direccion}\n"));
        se_dice(&buscado);
        let carpeta = tempfile::tempdir().unwrap();
        let ruta = carpeta.path().to_str().unwrap();
        let bajar = ["descargar", "a.bin", "--carpeta", ruta];
        se_dice(&orden(bajar.iter().chain(&comunes)));
        assert_eq!(
            std::fs::read(carpeta.path().join("a.bin")).unwrap(),
            contenido
        );
        assert!(antes.elapsed() < Duration::from_secs(20));
        // Sin peers que basten, no está.
        let nadie = orden(["buscar", "no-esta"].iter().chain(&comunes));
        assert_eq!(codigo(&nadie), Some(1));
        let carpeta = tempfile::tempdir().unwrap();
        let mut menu = Proceso::menu(carpeta.path(), &comunes);
        for linea in ["2", "a.bin", "1", "3"] {
            menu.escribir(linea);
        }
        assert_eq!(menu.terminar(), Some(0));
        let todo = menu.texto() + &menu.quejas();
        assert!(todo.contains("[DESCARGADO EN COMPARTIDOS] a.bin"), "{todo}");
        // Al buscar, además de lo que diga al no poder registrarse.
        assert!(todo.contains("comprueba que esté en marcha"), "{todo}");
    }
}

// ----- HTTP, el último recurso -----

#[test]
fn de_quien_solo_habla_http_se_baja_y_queda_sin_comprobar() {
    let contenido = datos(700_000);
    let a_trozos = {
        let mut todo = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for trozo in contenido.chunks(100_003) {
            todo.extend(format!("{:X};x=y\r\n", trozo.len()).as_bytes());
            todo.extend(trozo);
            todo.extend(b"\r\n");
        }
        [todo, b"0\r\nX: y\r\n\r\n".to_vec()].concat()
    };
    let sin_longitud = [b"HTTP/1.0 200 OK\r\n\r\n".as_slice(), &contenido].concat();
    for (respuesta, no_dice) in [
        (con_longitud(&contenido), "no dice la huella"),
        (a_trozos, "no dice la huella"),
        (sin_longitud, "no dice la longitud ni la huella"),
    ] {
        let ajeno = Ajeno::con(respuesta);
        let (salida, carpeta) = descargar_de(&ajeno, "sub/mi ñu");
        assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
        assert_eq!(
            std::fs::read(carpeta.path().join("sub/mi ñu")).unwrap(),
            contenido
        );
        let quejas = quejas(&salida);
        assert!(
            quejas.contains(&format!("[SIN COMPROBAR] {}", ajeno.url())),
            "{quejas}"
        );
        assert!(quejas.contains(no_dice), "{quejas}");
        assert!(dicho(&salida).contains("[DESCARGADO EN COMPARTIDOS] sub/mi ñu"));
        assert!(dicho(&salida).contains("· SIN COMPROBAR"));
        let linea = "GET /files/sub/mi%20%C3%B1u HTTP/1.0\r\n";
        assert!(
            ajeno
                .pedidas()
                .iter()
                .any(|pedida| pedida.starts_with(linea))
        );
        // Nunca pisa: si es el mismo lo dice, y si no, queda con otro nombre.
        let maestro = maestro_que_da(&json!([{"rest": ajeno.url()}]));
        let otra_vez = |espera: &str| {
            let salida = orden([
                "descargar",
                "sub/mi ñu",
                "--peer",
                "127.0.0.1:9",
                "--maestro",
                &maestro.url(),
                "--carpeta",
                carpeta.path().to_str().unwrap(),
            ]);
            assert!(dicho(&salida).contains(espera), "{}", dicho(&salida));
        };
        otra_vez("[YA LO TIENES] sub/mi ñu");
        std::fs::write(carpeta.path().join("sub/mi ñu"), b"mio").unwrap();
        otra_vez("queda como «sub/mi ñu (1)»");
        assert_eq!(
            std::fs::read(carpeta.path().join("sub/mi ñu")).unwrap(),
            b"mio"
        );
    }
}

#[test]
fn tambien_se_baja_por_http_de_quien_se_dice_con_de() {
    let ajeno = Ajeno::con(con_longitud(b"hola"));
    let carpeta = tempfile::tempdir().unwrap();
    let salida = orden([
        "descargar",
        "h.txt",
        "--de",
        &ajeno.direccion.to_string(),
        "--carpeta",
        carpeta.path().to_str().unwrap(),
    ]);
    assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
    assert!(quejas(&salida).contains("[SIN COMPROBAR]"));
    assert_eq!(nombres(&carpeta), ["h.txt"]);
}

/// Falla, lo dice, y no deja nada en la carpeta.
#[test]
fn lo_que_no_llega_como_se_prometio_se_borra() {
    let otro_sitio = Ajeno::con(con_longitud(b"trampa"));
    let redirige = |codigo: u16| {
        let donde = otro_sitio.url();
        format!("HTTP/1.1 {codigo} X\r\nLocation: {donde}/b\r\nContent-Length: 6\r\n\r\ntrampa")
    };
    let trozos =
        |cuerpo: &str| format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{cuerpo}");
    let largas = "x".repeat(20_000);
    let ultima = "habla nada que entienda";
    for (respuesta, dice) in [
        (
            "HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nhola".to_string(),
            "se cortó",
        ),
        (
            "HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nholas".into(),
            "más de lo que dijo",
        ),
        (
            "HTTP/1.0 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nhola".into(),
            ultima,
        ),
        (
            "HTTP/1.0 200 OK\r\nContent-Length: -4\r\n\r\nhola".into(),
            ultima,
        ),
        (
            format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", u64::MAX),
            "no cabe",
        ),
        (
            "HTTP/1.0 200 OK\r\nContent-Encoding: gzip\r\n\r\nhola".into(),
            "comprimido (gzip)",
        ),
        (trozos("4\r\nhola\r\n"), "se cortó"),
        (trozos("4\r\nholas\r\n0\r\n\r\n"), "más de lo que dijo"),
        (trozos("+4\r\nhola\r\n0\r\n\r\n"), "no se entienden"),
        (trozos("ffffffffffffffffff\r\nhola"), "no se entienden"),
        (trozos(&largas), "no se entienden"),
        (redirige(302), "y no se va"),
        (redirige(308), "y no se va"),
        ("HTTP/1.0 500 X\r\n\r\nhola".into(), "código HTTP 500"),
        (
            "HTTP/1.0 206 X\r\nContent-Length: 4\r\n\r\nhola".into(),
            "código HTTP 206",
        ),
        ("HTTP/1.0 405 X\r\n\r\n".into(), ultima),
        ("SSH-2.0-hola\r\n".into(), ultima),
        (
            format!("HTTP/1.0 200 OK\r\nX: {largas}\r\n\r\nhola"),
            ultima,
        ),
        ("HTTP/1.0 404 X\r\n\r\nno".into(), "[NO ENCONTRADO]"),
    ] {
        let ajeno = Ajeno::con(respuesta.clone());
        let (salida, carpeta) = descargar_de(&ajeno, "a.bin");
        let quejas = quejas(&salida);
        assert!(quejas.contains(dice), "{dice} / {respuesta:.80} / {quejas}");
        assert_eq!(codigo(&salida), Some(1), "{respuesta:.80}");
        assert_eq!(nombres(&carpeta), [""; 0], "{respuesta:.80}");
        assert!(
            dice.starts_with('[') || quejas.contains(&ajeno.url()),
            "{quejas}"
        );
    }
    assert_eq!(otro_sitio.pedidas(), [""; 0]);
}

/// Los peers de uno de los documentos sólo dan archivos por gRPC.
#[test]
fn que_no_lo_den_por_http_no_es_que_no_lo_tengan() {
    let ajeno = Ajeno::con("HTTP/1.0 404 X\r\n\r\n");
    let suyo = puerto_sin_nadie().port();
    let maestro = maestro_que_da(&json!([{"rest": ajeno.url(), "grpc_port": suyo}]));
    let (salida, carpeta) = descargar(&maestro.url(), "a.bin");
    let quejas = quejas(&salida);
    assert!(
        quejas.contains(&ajeno.url()) && quejas.contains("gRPC"),
        "{quejas}"
    );
    assert!(!quejas.contains("[NO ENCONTRADO]"), "{quejas}");
    assert_eq!((codigo(&salida), nombres(&carpeta)), (Some(1), vec![]));
}

/// Si una fuente ajena no sirve, se prueba la siguiente; y si falla la nuestra, la ajena.
#[test]
fn se_prueban_las_ajenas_una_tras_otra() {
    let cortado = Ajeno::con("HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nhola");
    let no_esta = Ajeno::con("HTTP/1.0 404 X\r\n\r\n");
    let bueno = Ajeno::con(con_longitud(b"hola"));
    let peers = [&cortado, &no_esta, &bueno].map(|ajeno| json!({"rest": ajeno.url()}));
    let maestro = maestro_que_da(&json!(peers));
    let (salida, carpeta) = descargar(&maestro.url(), "a.bin");
    assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
    assert!(quejas(&salida).contains(&format!("[FUENTE RETIRADA] {}", cortado.url())));
    assert_eq!(nombres(&carpeta), ["a.bin"]);
}

#[test]
fn en_el_menu_se_elige_la_ajena() {
    let ajeno = Ajeno::con(con_longitud(b"hola"));
    let maestro = maestro_que_da(&json!([{"rest": ajeno.url(), "grpc_port": 0}]));
    let carpeta = tempfile::tempdir().unwrap();
    let opciones = ["--peer", "127.0.0.1:9", "--maestro", &maestro.url()];
    let mut menu = Proceso::menu(carpeta.path(), &opciones);
    for linea in ["2", "h.txt", "1", "3"] {
        menu.escribir(linea);
    }
    assert_eq!(menu.terminar(), Some(0));
    let texto = menu.texto();
    assert!(texto.contains(&format!("1. {}", ajeno.url())), "{texto}");
    assert!(
        texto.contains("[DESCARGADO EN COMPARTIDOS] h.txt"),
        "{texto}"
    );
    assert_eq!(
        std::fs::read(carpeta.path().join("h.txt")).unwrap(),
        b"hola"
    );
}

/// Un byte de vez en cuando, sin acabar nunca.
fn que_gotea() -> Ajeno {
    Ajeno::nuevo(|_, socket| {
        decir(socket, "HTTP/1.0 200 OK\r\nContent-Length: 100000\r\n\r\n");
        while socket.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(100));
        }
    })
}

pub fn a_quien_gotea_por_http_se_le_deja() {
    let antes = Instant::now();
    let (salida, carpeta) = descargar_de(&que_gotea(), "a.bin");
    assert!(
        quejas(&salida).contains("menos de 8 KiB por segundo"),
        "{}",
        quejas(&salida)
    );
    assert_eq!((codigo(&salida), nombres(&carpeta)), (Some(1), vec![]));
    assert!(antes.elapsed() < Duration::from_secs(40));
}

#[cfg(unix)]
#[test]
fn ctrl_c_deja_una_descarga_por_http_sin_restos() {
    let ajeno = que_gotea();
    let maestro = maestro_que_da(&json!([{"rest": ajeno.url()}]));
    let carpeta = tempfile::tempdir().unwrap();
    let hijo = nodo()
        .args(["descargar", "a.bin", "--peer", "127.0.0.1:9", "--maestro"])
        .arg(maestro.url())
        .arg("--carpeta")
        .arg(carpeta.path())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    super::comun::rest::hasta_que("se está bajando", || {
        (!nombres(&carpeta).is_empty()).then_some(())
    });
    let antes = Instant::now();
    super::comun::senal(hijo.id(), "INT");
    let salida = super::comun::acabar(hijo);
    assert_eq!(codigo(&salida), Some(130), "{}", quejas(&salida));
    assert!(antes.elapsed() < Duration::from_secs(5));
    assert_eq!(nombres(&carpeta), [""; 0]);
}
