//! El maestro de verdad, por la red: las seis rutas, la caducidad y lo que se rechaza.

use super::comun::rest::{enviar, mandar, molestar, pedir};
use super::comun::{Proceso, aceptar, codigo, dicho, orden, quejas};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

fn maestro() -> Proceso {
    Proceso::maestro(0)
}

fn localizar(maestro: &Proceso, archivo: &str) -> Value {
    let contestado = pedir(maestro.direccion(), &format!("/locate?file={archivo}"), "");
    assert_eq!(contestado.codigo, 200);
    let valor = contestado.json();
    assert_eq!(valor["file"], archivo);
    valor["peers"].clone()
}

#[test]
fn las_seis_rutas_tienen_la_forma_acordada() {
    let maestro = maestro();
    let a_donde = maestro.direccion();
    let registro =
        json!({"peer": "http://127.0.0.1:9001", "files": ["a.txt", "b.txt"], "grpc_port": 9002});
    let contestado = enviar(a_donde, "/register", &registro);
    assert_eq!(contestado.codigo, 200);
    assert_eq!(
        contestado.cabecera("Content-Type"),
        Some("application/json; charset=utf-8")
    );
    assert_eq!(contestado.cabecera("Connection"), Some("close"));
    assert_eq!(
        contestado.json(),
        json!({
            "status": "registered", "peer": "http://127.0.0.1:9001",
            "files": ["a.txt", "b.txt"], "grpc_port": 9002,
        })
    );
    let nuestro = json!({
        "peer": "http://127.0.0.1:6001", "files": ["b.txt"],
        "grpc_port": 0, "puerto": 6001, "ttl": 60,
    });
    assert_eq!(enviar(a_donde, "/register", &nuestro).codigo, 200);
    maestro.esperar("[REGISTRADO] http://127.0.0.1:9001 con 2 archivos");

    let del_curso = json!({"rest": "http://127.0.0.1:9001", "grpc_port": 9002});
    let de_los_nuestros = json!({"rest": "http://127.0.0.1:6001", "grpc_port": 0});
    let con_puerto = json!({"rest": "http://127.0.0.1:6001", "grpc_port": 0, "puerto": 6001});
    assert_eq!(localizar(&maestro, "a.txt"), json!([del_curso]));
    assert_eq!(localizar(&maestro, "b.txt"), json!([con_puerto, del_curso]));
    assert_eq!(localizar(&maestro, "nadie"), json!([]));
    assert_eq!(
        pedir(a_donde, "/directory", "").json(),
        json!({"directory": {"a.txt": [del_curso], "b.txt": [de_los_nuestros, del_curso]}})
    );
    assert_eq!(
        pedir(a_donde, "/peers", "").json(),
        json!({"peers": [
            {"rest": "http://127.0.0.1:6001", "grpc_port": 0, "files": ["b.txt"]},
            {"rest": "http://127.0.0.1:9001", "grpc_port": 9002, "files": ["a.txt", "b.txt"]},
        ]})
    );
    let inicio = pedir(a_donde, "/", "").json();
    assert_eq!(
        (&inicio["status"], &inicio["peers_registrados"]),
        (&json!("activo"), &json!(2))
    );
    assert!(inicio["message"].is_string());

    let contestado = enviar(a_donde, "/leave", &json!({"peer": "http://127.0.0.1:9001"}));
    assert_eq!(
        contestado.json(),
        json!({"status": "left", "peer": "http://127.0.0.1:9001"})
    );
    maestro.esperar("[DESPEDIDO] http://127.0.0.1:9001");
    assert_eq!(localizar(&maestro, "a.txt"), json!([]));
    assert_eq!(pedir(a_donde, "/", "").json()["peers_registrados"], 1);
}

#[test]
fn registrarse_de_nuevo_sustituye_la_lista() {
    let maestro = maestro();
    for archivos in [json!(["viejo"]), json!(["nuevo"])] {
        let registro = json!({"peer": "http://localhost:9001/", "files": archivos, "grpc_port": 0});
        assert_eq!(
            enviar(maestro.direccion(), "/register", &registro).codigo,
            200
        );
    }
    assert_eq!(localizar(&maestro, "viejo"), json!([]));
    assert_eq!(
        localizar(&maestro, "nuevo"),
        json!([{"rest": "http://localhost:9001", "grpc_port": 0}])
    );
}

#[test]
fn quien_dio_ttl_y_no_renueva_desaparece() {
    let maestro = maestro();
    let registro = json!({"peer": "http://127.0.0.1:9001", "files": ["a"], "ttl": 1});
    enviar(maestro.direccion(), "/register", &registro);
    maestro.esperar("[CADUCADO] http://127.0.0.1:9001");
    assert_eq!(localizar(&maestro, "a"), json!([]));
}

/// La llama [`crate::a_la_vez_las_que_esperan_plazos`].
pub fn a_quien_no_dio_ttl_se_le_pregunta_con_un_final_limpio_hasta_que_falta() {
    let maestro = maestro();
    let escucha = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = format!("http://{}", escucha.local_addr().unwrap());
    enviar(
        maestro.direccion(),
        "/register",
        &json!({"peer": peer, "files": ["a"]}),
    );
    let mut visita = aceptar(&escucha).unwrap().0;
    assert_eq!(
        visita.read(&mut [0; 8]).unwrap(),
        0,
        "la visita no dice nada y acaba con FIN"
    );
    assert_eq!(
        localizar(&maestro, "a"),
        json!([{"rest": peer, "grpc_port": 0}])
    );
    drop((escucha, visita));
    maestro.esperar(&format!("[CAÍDO] {peer}"));
    assert_eq!(localizar(&maestro, "a"), json!([]));
}

/// Todo 127.0.0.0/8 es de esta máquina, pero son IP distintas: vale para probar quién registró a
/// quién.
#[cfg(target_os = "linux")]
#[test]
fn solo_se_despide_desde_la_ip_que_registro() {
    let maestro = maestro();
    let desde = |ip: [u8; 4], ruta: &str| {
        use socket2::{Domain, Socket, Type};
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket
            .bind(&std::net::SocketAddr::from((ip, 0)).into())
            .unwrap();
        socket.connect(&maestro.direccion().into()).unwrap();
        let mut socket = TcpStream::from(socket);
        let cuerpo = json!({"peer": "http://127.0.0.1:9001", "files": ["a"]}).to_string();
        let peticion = format!(
            "POST {ruta} HTTP/1.0\r\nContent-Length: {}\r\n\r\n{cuerpo}",
            cuerpo.len()
        );
        socket.write_all(peticion.as_bytes()).unwrap();
        let mut texto = String::new();
        socket.read_to_string(&mut texto).unwrap();
        texto.split(' ').nth(1).unwrap().to_string()
    };
    assert_eq!(desde([127, 0, 0, 1], "/register"), "200");
    assert_eq!(desde([127, 0, 0, 2], "/leave"), "403");
    assert_eq!(localizar(&maestro, "a").as_array().unwrap().len(), 1);
    assert_eq!(desde([127, 0, 0, 1], "/leave"), "200");
    assert_eq!(localizar(&maestro, "a"), json!([]));
}

#[test]
fn lo_que_esta_mal_tiene_su_codigo_y_su_frase() {
    let maestro = maestro();
    let peticion = |texto: &str| {
        let contestado = mandar(maestro.direccion(), texto.as_bytes()).unwrap();
        assert!(contestado.json()["error"].is_string(), "{contestado:?}");
        contestado
    };
    for (texto, codigo) in [
        ("GET /nada HTTP/1.0\r\n\r\n", 404),
        ("GET /locate HTTP/1.0\r\n\r\n", 400),
        ("GET /locate?file= HTTP/1.0\r\n\r\n", 400),
        ("GET /locate?file=%ff HTTP/1.0\r\n\r\n", 400),
        ("POST /register HTTP/1.0\r\n\r\n", 411),
        (
            "POST /register HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            411,
        ),
        (
            "POST /register HTTP/1.0\r\nContent-Length: 2\r\n\r\n{]",
            400,
        ),
        (
            "POST /register HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}",
            400,
        ),
        (
            "POST /register HTTP/1.0\r\nContent-Length: 2\r\n\r\n[]",
            400,
        ),
        (
            "POST /register HTTP/1.0\r\nContent-Length: 99999999\r\n\r\n{}",
            413,
        ),
        (
            "POST /leave HTTP/1.0\r\nContent-Length: 70000\r\n\r\n{}",
            413,
        ),
        ("GET /peers HTTP/1.1\r\nHost: malo.com\r\n\r\n", 403),
        (
            "GET /peers HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://malo.com\r\n\r\n",
            403,
        ),
        ("basura\r\n\r\n", 400),
    ] {
        assert_eq!(peticion(texto).codigo, codigo, "{texto}");
    }
    for (texto, valen) in [
        ("DELETE /peers HTTP/1.0\r\n\r\n", "GET, HEAD"),
        ("GET /register HTTP/1.0\r\n\r\n", "POST"),
        (
            "PUT /leave HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc",
            "POST",
        ),
    ] {
        let contestado = peticion(texto);
        assert_eq!(
            (contestado.codigo, contestado.cabecera("Allow")),
            (405, Some(valen)),
            "{texto}"
        );
    }
    let cabeza = mandar(maestro.direccion(), b"HEAD /peers HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(
        (
            cabeza.codigo,
            cabeza.cuerpo.len(),
            cabeza.cabecera("Content-Length")
        ),
        (200, 0, Some("13"))
    );
}

#[test]
fn nada_de_lo_que_le_manden_lo_tumba() {
    let maestro = maestro();
    let callados: Vec<TcpStream> = (0..200)
        .map(|_| TcpStream::connect(maestro.direccion()).unwrap())
        .collect();
    let largo = [b"GET /".as_slice(), &[b'a'; 100_000]].concat();
    let hondo = format!(
        "POST /register HTTP/1.0\r\nContent-Length: 50000\r\n\r\n{}",
        "[".repeat(50_000)
    );
    for basura in [
        b"\0\xff\n\r\n".as_slice(),
        b"",
        b"BUSCAR:x",
        &largo,
        hondo.as_bytes(),
        b"POST /leave HTTP/1.0\r\nContent-Length: 9\r\n\r\n{",
    ] {
        for _ in 0..20 {
            molestar(maestro.direccion(), basura);
        }
    }
    assert_eq!(localizar(&maestro, "a"), json!([]));
    drop(callados);
}

#[cfg(unix)]
#[test]
fn sigterm_lo_cierra_con_130_aunque_haya_quien_calle() {
    let mut maestro = maestro();
    let _callado = TcpStream::connect(maestro.direccion()).unwrap();
    assert_eq!(pedir(maestro.direccion(), "/", "").codigo, 200);
    let antes = std::time::Instant::now();
    maestro.senal("TERM");
    assert_eq!(maestro.terminar(), Some(130));
    assert!(antes.elapsed() < Duration::from_secs(4));
}

#[test]
fn un_puerto_ocupado_es_una_frase_y_un_1() {
    let ocupado = TcpListener::bind("127.0.0.1:0").unwrap();
    let puerto = ocupado.local_addr().unwrap().port().to_string();
    let salida = orden(["maestro", "--puerto", &puerto]);
    assert_eq!(codigo(&salida), Some(1));
    assert!(quejas(&salida).contains(&puerto));
}

/// Una lista que en JSON ocupa más de cuatro megabytes; con otro `n`, otra.
fn lista_larga(n: usize) -> Vec<String> {
    let relleno = "x".repeat(1000);
    (0..LARGA).map(|k| format!("{n}-{k}-{relleno}")).collect()
}

const LARGA: usize = 4_000;

/// Manda `peticion` sin leer lo que contesten; con un búfer pequeño, para que no quepa en él.
fn preguntar_sin_leer(maestro: &Proceso, peticion: &[u8]) -> TcpStream {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(2048).unwrap();
    socket.connect(&maestro.direccion().into()).unwrap();
    let mut socket = TcpStream::from(socket);
    socket.write_all(peticion).unwrap();
    socket
}

fn peticion_de_registro(puerto: u16, archivos: &[String]) -> Vec<u8> {
    let peer = format!("http://127.0.0.1:{puerto}");
    let cuerpo = json!({"peer": peer, "files": archivos}).to_string();
    let largo = cuerpo.len();
    format!("POST /register HTTP/1.0\r\nContent-Length: {largo}\r\n\r\n{cuerpo}").into_bytes()
}

#[test]
fn quien_no_acaba_de_mandar_o_no_lee_no_deja_fuera_a_los_demas() {
    let maestro = maestro();
    let registrar = |puerto, archivos: &[String]| {
        let contestado = mandar(maestro.direccion(), &peticion_de_registro(puerto, archivos));
        let contestado = contestado.unwrap();
        assert_eq!(contestado.codigo, 200);
        contestado.json()["files"].as_array().unwrap().len()
    };
    assert_eq!(registrar(1, &lista_larga(1)), LARGA);
    // Unos mandaron muy poco, otros bastante, y ninguno acaba.
    let a_medias = b"POST /register HTTP/1.0\r\nContent-Length: 8000000\r\n\r\n";
    let bastante = [&a_medias[..], &[b'x'; 66_000]].concat();
    let parados: Vec<TcpStream> = [&a_medias[..]; 20]
        .into_iter()
        .chain([&bastante[..]; 3])
        .chain([&b"GET /directory HTTP/1.0\r\n\r\n"[..]; 10])
        .chain([&b"GET /peers HTTP/1.0\r\n\r\n"[..]; 10])
        .map(|peticion| preguntar_sin_leer(&maestro, peticion))
        .collect();
    let antes = std::time::Instant::now();
    assert_eq!(registrar(2, &["a".into()]), 1);
    assert_eq!(localizar(&maestro, "a").as_array().unwrap().len(), 1);
    let directorio = pedir(maestro.direccion(), "/directory", "").json();
    assert_eq!(
        directorio["directory"].as_object().unwrap().len(),
        LARGA + 1
    );
    let peers = pedir(maestro.direccion(), "/peers", "").json();
    assert_eq!(peers["peers"][0]["files"].as_array().unwrap().len(), LARGA);
    assert!(
        antes.elapsed() < Duration::from_secs(20),
        "{:?}",
        antes.elapsed()
    );
    // Uno largo, de la misma IP que los parados, espera su turno; no se rechaza.
    assert_eq!(registrar(3, &lista_larga(2)), LARGA);
    assert!(
        antes.elapsed() < Duration::from_secs(30),
        "{:?}",
        antes.elapsed()
    );
    // Y al que se paró a mitad de uno largo se le dice por qué no se le esperó más.
    let mut dicho = [0; 12];
    let mut parado = &parados[20];
    parado.read_exact(&mut dicho).unwrap();
    assert_eq!(&dicho, b"HTTP/1.1 408");
}

/// Cada uno sustituye la lista del anterior: si su respuesta la retuviera, se sumarían.
#[cfg(target_os = "linux")]
#[test]
fn quien_no_lee_la_respuesta_a_su_registro_no_ocupa_memoria() {
    let maestro = maestro();
    let ocupa = || {
        let estado = std::fs::read_to_string(format!("/proc/{}/status", maestro.hijo.id()));
        let estado = estado.unwrap();
        let linea = estado.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
        linea
            .split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<usize>()
            .unwrap()
            / 1024
    };
    let peticion = |n| peticion_de_registro(1, &lista_larga(n));
    let mut sordos = vec![preguntar_sin_leer(&maestro, &peticion(0))];
    maestro.esperar("[REGISTRADO]");
    let mut mas = 0;
    let con_uno = ocupa();
    for n in 1..=8 {
        sordos.push(preguntar_sin_leer(&maestro, &peticion(n)));
        // Ya se registró: empieza a contestar.
        sordos[n].peek(&mut [0]).unwrap();
        mas = mas.max(ocupa().saturating_sub(con_uno));
    }
    assert!(
        mas < 60,
        "veinticinco respuestas sin leer ocupan {mas} MiB más"
    );
}

/// A quien sólo conoce el maestro también se le lista, se le habla y se le ve.
#[test]
fn lo_que_va_a_todos_va_tambien_a_quien_da_el_maestro() {
    const NADIE: &str = "127.0.0.1:1";
    let maestro = maestro();
    let url = format!("http://{}", maestro.direccion());
    let carpeta = tempfile::tempdir().unwrap();
    std::fs::write(carpeta.path().join("suyo.txt"), "hola").unwrap();
    let del_maestro = ["--peer", NADIE, "--maestro", &url];
    let nodo = Proceso::nodo(carpeta.path(), &del_maestro);
    maestro.esperar("[REGISTRADO]");
    let direccion = nodo.direccion().to_string();
    let hacer = |que: &[&str]| {
        let salida = orden(que.iter().chain(&del_maestro));
        assert_eq!(codigo(&salida), Some(0), "{que:?}: {}", quejas(&salida));
        dicho(&salida)
    };
    assert_eq!(
        hacer(&["listar", "--red"]),
        format!("{direccion} suyo.txt\n")
    );
    assert_eq!(hacer(&["buscar", "suyo.txt"]), format!("{direccion}\n"));
    assert_eq!(
        hacer(&["mensaje", "hola"]),
        format!("{direccion} lo recibió\n")
    );
    nodo.esperar("hola\n");
    let estado = hacer(&["estado"]);
    assert!(
        estado.contains(&format!("{url} responde: el maestro\n")),
        "{estado}"
    );
    assert!(
        estado.contains(&format!("{direccion} responde: ")),
        "{estado}"
    );
    // Y si el maestro no está se dice, y se sigue.
    drop(maestro);
    let salida = orden(["listar", "--red"].iter().chain(&del_maestro));
    assert_eq!(codigo(&salida), Some(1));
    assert!(
        quejas(&salida).contains(&format!("[MAESTRO] {url}")),
        "{}",
        quejas(&salida)
    );
}

#[cfg(not(feature = "grpc"))]
#[test]
fn sin_grpc_no_hay_tracker_y_se_dice_como_tenerlo() {
    for opciones in [
        &["maestro", "--tracker"][..],
        &["maestro", "--tracker", "0"],
    ] {
        let salida = super::comun::orden(opciones);
        assert_eq!(super::comun::codigo(&salida), Some(2));
        let frase = super::comun::quejas(&salida);
        assert!(frase.contains("cargo build --features grpc"), "{frase}");
        assert!(super::comun::dicho(&salida).is_empty());
    }
}
