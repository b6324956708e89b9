//! gRPC, con la opción de compilación `grpc`: pasarse archivos con los peers del curso en los dos
//! sentidos, y el tracker. Quien llama y quien contesta salen de los mismos `.proto`; lo que no
//! diría ningún cliente bueno se escribe a mano.

use std::future::Future;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tonic::codegen::Service;
use tonic::{Request, Response, Status};

use super::comun::rest::{enviar, hasta_que, pedir};
use super::comun::{Proceso, codigo, conectar, datos, nodo, nombres, quejas, responde};
use crate::config::Limites;
use crate::fallo::Fallo;
use crate::grpc::TOPE_DE_CONTENIDO;
use crate::grpc::cliente::{Llamador, con_canal};
use crate::grpc::mensajes::archivos::file_service_client::FileServiceClient;
use crate::grpc::mensajes::archivos::file_service_server::{FileService, FileServiceServer};
use crate::grpc::mensajes::archivos::*;
use crate::grpc::mensajes::tracker::tracker_service_client::TrackerServiceClient;
use crate::grpc::mensajes::tracker::*;
use crate::red::parada::Parada;

/// Una llamada a `a`, con un canal para ella sola.
fn llamar<T>(
    a: SocketAddr,
    hacer: impl AsyncFnOnce(Llamador, hyper::Uri) -> Result<Response<T>, Status>,
) -> Result<T, Fallo> {
    let limites = Limites {
        respuesta: Duration::from_secs(60),
        ..Limites::default()
    };
    let respuesta = con_canal(a, &limites, &Parada::nueva(), hacer);
    respuesta.map(Response::into_inner)
}

fn subir(a: SocketAddr, filename: &str, content: &[u8]) -> (bool, String) {
    let (filename, content) = (filename.to_string(), content.to_vec().into());
    let pedido = UploadRequest { filename, content };
    let contestado = llamar(a, async |canal, origen| {
        FileServiceClient::with_origin(canal, origen)
            .upload(pedido)
            .await
    });
    let UploadResponse { ok, message } = contestado.unwrap();
    (ok, message)
}

fn bajar(a: SocketAddr, filename: &str) -> (bool, String, Vec<u8>) {
    let filename = filename.to_string();
    let contestado = llamar(a, async |canal, origen| {
        let cliente = FileServiceClient::with_origin(canal, origen);
        let mut cliente = cliente.max_decoding_message_size(8 << 20);
        cliente.download(DownloadRequest { filename }).await
    });
    let bajado = contestado.unwrap();
    (bajado.ok, bajado.message, bajado.content.into())
}

fn bien(message: &str) -> (bool, String) {
    (true, message.to_string())
}

/// Un nodo con esos archivos y sin peers de fuera.
fn nodo_con(archivos: &[(&str, &[u8])]) -> (Proceso, tempfile::TempDir) {
    let carpeta = tempfile::tempdir().unwrap();
    for (nombre, contenido) in archivos {
        std::fs::write(carpeta.path().join(nombre), contenido).unwrap();
    }
    let proceso = Proceso::nodo(carpeta.path(), &["--peer", "127.0.0.1:9"]);
    (proceso, carpeta)
}

// ----- El nodo contesta -----

#[test]
fn por_el_puerto_del_nodo_se_baja_y_se_sube_sin_pisar() {
    let (nodo, carpeta) = nodo_con(&[("hola.txt", b"hola")]);
    let a = nodo.direccion();
    assert_eq!(bajar(a, "hola.txt"), (true, "OK".into(), b"hola".to_vec()));
    nodo.esperar("[ENVÍO COMPLETO] hola.txt");
    assert_eq!(bajar(a, "nada"), (false, "Not found".into(), vec![]));
    assert_eq!(bajar(a, "../hola.txt"), (false, "Not found".into(), vec![]));
    assert_eq!(subir(a, "sub/uno.txt", b"uno"), bien("Saved sub/uno.txt"));
    let dicho = nodo.esperar("[DESCARGADO EN COMPARTIDOS] sub/uno.txt");
    assert!(dicho.contains("[RECIBIENDO] sub/uno.txt, que sube 127.0.0.1:"));
    assert!(dicho.contains("SIN COMPROBAR"), "{dicho}");
    // Lo mismo otra vez no se guarda, y otra cosa con ese nombre no lo pisa.
    assert_eq!(subir(a, "hola.txt", b"hola"), bien("Saved hola.txt"));
    nodo.esperar("[YA LO TIENES] hola.txt");
    assert_eq!(subir(a, "hola.txt", b"otra"), bien("Saved hola (1).txt"));
    assert_eq!(subir(a, "hola.txt", b"otra"), bien("Saved hola (1).txt"));
    assert_eq!(subir(a, "vacio", b""), bien("Saved vacio"));
    assert_eq!(bajar(a, "vacio"), (true, "OK".into(), vec![]));
    let quedan = ["hola (1).txt", "hola.txt", "sub", "vacio"];
    assert_eq!(nombres(&carpeta), quedan);
    let leer = |nombre: &str| std::fs::read(carpeta.path().join(nombre)).unwrap();
    assert_eq!(
        (leer("hola.txt"), leer("sub/uno.txt")),
        (b"hola".into(), b"uno".into())
    );
    // Todo lo demás sigue en el mismo puerto.
    assert!(responde(a));
    assert_eq!(
        pedir(a, "/info", "").json()["grpc_port"],
        json!(nodo.puerto)
    );
}

#[test]
fn lo_que_no_cabe_en_un_mensaje_se_dice_y_por_donde_pedirlo() {
    let todo = datos(4 << 20);
    let (justo, pasado) = (&todo[..TOPE_DE_CONTENIDO], &todo[..TOPE_DE_CONTENIDO + 1]);
    let (nodo, carpeta) = nodo_con(&[("más.bin", pasado), ("4M.bin", &todo)]);
    let a = nodo.direccion();
    assert_eq!(subir(a, "justo.bin", justo), bien("Saved justo.bin"));
    assert_eq!(bajar(a, "justo.bin"), (true, "OK".into(), justo.to_vec()));
    for (nombre, mide, escrito) in [
        ("más.bin", TOPE_DE_CONTENIDO + 1, "m%C3%A1s.bin"),
        ("4M.bin", 4 << 20, "4M.bin"),
    ] {
        let (ok, por_que, contenido) = bajar(a, nombre);
        assert!(!ok && contenido.is_empty());
        let url = format!("http://{a}/files/{escrito}");
        assert!(
            por_que.contains(&format!("{mide} bytes")) && por_que.ends_with(&url),
            "{por_que}"
        );
        assert_eq!(
            pedir(a, &format!("/files/{escrito}"), "").cuerpo.len(),
            mide
        );
    }
    for de_mas in [pasado, &todo, &datos(10 << 20)] {
        let (ok, por_que) = subir(a, "demasiado", de_mas);
        let como = format!("nodo enviar ARCHIVO --a {a}");
        assert!(
            !ok && por_que.contains("4194200 bytes") && por_que.ends_with(&como),
            "{por_que}"
        );
    }
    assert_eq!(nombres(&carpeta), ["4M.bin", "justo.bin", "más.bin"]);
    assert!(responde(a));
}

#[test]
fn un_nombre_que_no_se_puede_guardar_no_se_guarda_y_se_dice_por_que() {
    let (nodo, carpeta) = nodo_con(&[]);
    let a = nodo.direccion();
    let largo = "x".repeat(300);
    for (malo, por_que) in [
        ("", "no es un nombre de archivo"),
        ("../x", "no es un nombre de archivo"),
        ("/x", "no es un nombre de archivo"),
        (".x.part", "no es un nombre de archivo"),
        ("CON", "reservado en Windows"),
        ("con.txt", "reservado en Windows"),
        ("a\\b", "no vale en Windows"),
        ("a\0b", "U+0000"),
        ("a.", "acaba en punto"),
        (&largo, "demasiado largo"),
    ] {
        let (ok, dicho) = subir(a, malo, b"x");
        assert!(!ok && dicho.contains(por_que), "{malo:?}: {dicho}");
        let ruta = carpeta.path().to_str().unwrap();
        assert!(!dicho.contains(ruta), "{dicho}");
        assert_eq!(
            bajar(a, malo),
            (false, "Not found".into(), vec![]),
            "{malo:?}"
        );
    }
    assert!(nombres(&carpeta).is_empty());
}

#[test]
fn cincuenta_a_la_vez_se_atienden_todos() {
    let todo = datos(TOPE_DE_CONTENIDO);
    let (nodo, carpeta) = nodo_con(&[("grande.bin", &todo)]);
    let a = nodo.direccion();
    thread::scope(|ambito| {
        for n in 0..50 {
            let todo = &todo;
            ambito.spawn(move || {
                // La mitad trae lo mismo; los demás, cada uno lo suyo con el mismo nombre.
                let suyo = if n % 2 == 0 {
                    vec![0; 1000]
                } else {
                    vec![n; 1000]
                };
                let (ok, dicho) = subir(a, "mismo.bin", &suyo);
                assert!(ok && dicho.starts_with("Saved mismo"), "{dicho}");
                let (ok, dicho, contenido) = bajar(a, "grande.bin");
                assert!(ok && contenido == *todo, "{dicho}");
            });
        }
    });
    assert_eq!(nombres(&carpeta).len(), 1 + 26);
    assert!(responde(a));
}

// ----- Lo que no diría un cliente bueno -----

const PREFACIO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn trama(tipo: u8, banderas: u8, flujo: u32, cuerpo: &[u8]) -> Vec<u8> {
    let largo = (cuerpo.len() as u32).to_be_bytes();
    let cabeza = [&largo[1..], &[tipo, banderas], &flujo.to_be_bytes()].concat();
    [cabeza.as_slice(), cuerpo].concat()
}

/// El saludo, sin dejar que el otro mande un solo byte de contenido.
fn saludo_sin_ventana() -> Vec<u8> {
    let ajustes = trama(4, 0, 0, &[0, 4, 0, 0, 0, 0]);
    [PREFACIO, &ajustes].concat()
}

/// Pedir `nombre` con `Download` por ese flujo.
fn pedir_a_mano(flujo: u32, nombre: &str) -> Vec<u8> {
    let texto = |texto: &str| [&[texto.len() as u8], texto.as_bytes()].concat();
    let cabeceras = [
        &[0x83, 0x86, 0x41][..],
        &texto("x"),
        &[0x44],
        &texto("/fileservice.FileService/Download"),
        &[0x40],
        &texto("te"),
        &texto("trailers"),
        &[0x5f],
        &texto("application/grpc"),
    ];
    let mensaje = [&[0x0a][..], &texto(nombre)].concat();
    let cuerpo = [&[0, 0, 0, 0, mensaje.len() as u8][..], &mensaje].concat();
    let cabeceras = trama(1, 4, flujo, &cabeceras.concat());
    [cabeceras, trama(0, 1, flujo, &cuerpo)].concat()
}

/// Manda eso y espera a que el otro cierre. Cuánto tardó y lo que dijo.
fn mandar_y_esperar(a: SocketAddr, bytes: &[u8]) -> (Duration, Vec<u8>) {
    let (antes, mut socket) = (Instant::now(), conectar(a));
    socket.write_all(bytes).unwrap();
    let mut dicho = Vec::new();
    let _ = socket.read_to_end(&mut dicho);
    (antes.elapsed(), dicho)
}

#[test]
fn la_basura_tras_el_prefacio_se_corta_y_no_tumba_nada() {
    let (nodo, _carpeta) = nodo_con(&[("hola.txt", b"hola")]);
    let a = nodo.direccion();
    let con_saludo = |bytes: &[u8]| [&saludo_sin_ventana(), bytes].concat();
    for basura in [
        [PREFACIO, &[b'x'; 5000]].concat(),
        [b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", &[0; 100][..]].concat(),
        b"PRI nada HTTP/1.1\r\n\r\n                    ".to_vec(),
        con_saludo(&[0xff; 5000]),
        con_saludo(&trama(1, 4, 1, &[0xff; 200])),
        con_saludo(&trama(0, 1, 7, b"datos de nadie")),
    ] {
        let (tardo, dicho) = mandar_y_esperar(a, &basura);
        assert!(tardo < Duration::from_secs(5), "{tardo:?}: {dicho:?}");
    }
    // Un mensaje que dice medir cuatro gigas, o que no es lo que dice, es un error de gRPC.
    for mensaje in [
        &[0, 0xff, 0xff, 0xff, 0xff][..],
        &[0, 0, 0, 0, 2, 0xff, 0xff],
    ] {
        let mut peticion = pedir_a_mano(1, "hola.txt");
        let datos = peticion.len() - (9 + 5 + 2 + "hola.txt".len());
        peticion.truncate(datos);
        let mut socket = conectar(a);
        let todo = [saludo_sin_ventana(), peticion, trama(0, 1, 1, mensaje)].concat();
        socket.write_all(&todo).unwrap();
        let mut dicho = vec![0; 4096];
        assert!(socket.read(&mut dicho).unwrap() > 0);
    }
    assert!(bajar(a, "hola.txt").0);
    assert!(responde(a));
}

/// Va con las que esperan (`tests/todas.rs`).
pub fn a_quien_no_acaba_su_saludo_se_le_corta_a_los_10_s() {
    let (nodo, _carpeta) = nodo_con(&[("hola.txt", b"hola")]);
    let a = nodo.direccion();
    thread::scope(|ambito| {
        for medio in [&b"PRI * HTTP/2.0\r\n"[..], PREFACIO] {
            ambito.spawn(move || {
                let (tardo, _) = mandar_y_esperar(a, medio);
                let a_su_hora = Duration::from_secs(9)..Duration::from_secs(20);
                assert!(a_su_hora.contains(&tardo), "{tardo:?}");
            });
        }
        assert!(bajar(a, "hola.txt").0);
    });
}

/// Va con las que esperan (`tests/todas.rs`). Mientras, a los demás se les atiende.
pub fn a_quien_no_lee_lo_que_pidio_se_le_corta_a_los_30_s() {
    let (nodo, _carpeta) = nodo_con(&[("grande.bin", &datos(4_000_000))]);
    let a = nodo.direccion();
    let pedidos: Vec<u8> = (0..16)
        .flat_map(|n| pedir_a_mano(2 * n + 1, "grande.bin"))
        .collect();
    let todo = [saludo_sin_ventana(), pedidos].concat();
    thread::scope(|ambito| {
        ambito.spawn(|| {
            let (tardo, dicho) = mandar_y_esperar(a, &todo);
            let a_su_hora = Duration::from_secs(29)..Duration::from_secs(45);
            assert!(a_su_hora.contains(&tardo), "{tardo:?}");
            assert!(dicho.len() < 4096, "{}", dicho.len());
        });
        assert!(bajar(a, "grande.bin").0);
    });
}

/// Las tramas enteras que hay en unos bytes: tipo y cuerpo.
#[cfg(unix)]
fn tramas(mut bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let mut todas = Vec::new();
    while bytes.len() >= 9 {
        let largo = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) as usize;
        let Some(cuerpo) = bytes.get(9..9 + largo) else {
            break;
        };
        todas.push((bytes[3], cuerpo));
        bytes = &bytes[9 + largo..];
    }
    todas
}

#[cfg(unix)]
#[test]
fn al_salir_lo_que_se_esta_mandando_acaba() {
    let (mut nodo, _carpeta) = nodo_con(&[("grande.bin", &datos(4_000_000))]);
    let a = nodo.direccion();
    let mut ociosa = conectar(a);
    ociosa.write_all(&saludo_sin_ventana()).unwrap();
    let mut socket = conectar(a);
    socket
        .write_all(&[saludo_sin_ventana(), pedir_a_mano(1, "grande.bin")].concat())
        .unwrap();
    let mut dicho = Vec::new();
    let mut leer_hasta = |socket: &mut std::net::TcpStream, basta: &dyn Fn(&[u8]) -> bool| {
        let mut bufer = vec![0; 1 << 16];
        while !basta(&dicho) {
            match socket.read(&mut bufer) {
                Ok(0) | Err(_) => break,
                Ok(n) => dicho.extend_from_slice(&bufer[..n]),
            }
        }
        dicho.clone()
    };
    // Ya contestó que sí, y no ha podido mandar nada.
    leer_hasta(&mut socket, &|dicho| {
        tramas(dicho).iter().any(|(tipo, _)| *tipo == 1)
    });
    nodo.senal("INT");
    // Se despide: que no se le pida nada más.
    leer_hasta(&mut socket, &|dicho| {
        tramas(dicho).iter().any(|(tipo, _)| *tipo == 7)
    });
    let ventana = (8_u32 << 20).to_be_bytes();
    let sigue = [trama(8, 0, 0, &ventana), trama(8, 0, 1, &ventana)].concat();
    socket.write_all(&sigue).unwrap();
    let dicho = leer_hasta(&mut socket, &|_| false);
    let contenido = tramas(&dicho)
        .iter()
        .filter(|(tipo, _)| *tipo == 0)
        .map(|(_, c)| c.len())
        .sum();
    let largo: usize = contenido;
    assert!(largo > 4_000_000, "{largo}");
    assert_eq!(nodo.terminar(), Some(130));
    assert!(nodo.texto().contains("[ENVÍO COMPLETO] grande.bin"));
}

#[cfg(unix)]
#[test]
fn al_salir_quien_no_pide_nada_no_estorba() {
    let (mut otro, _carpeta) = nodo_con(&[]);
    let mut ociosa = conectar(otro.direccion());
    ociosa.write_all(&saludo_sin_ventana()).unwrap();
    assert!(ociosa.read(&mut [0; 64]).unwrap() > 0);
    let antes = Instant::now();
    otro.senal("TERM");
    assert_eq!(otro.terminar(), Some(130));
    assert!(
        antes.elapsed() < Duration::from_secs(3),
        "{:?}",
        antes.elapsed()
    );
}

#[test]
fn en_el_diario_es_solo_quien_abre_y_cierra() {
    let carpeta = tempfile::tempdir().unwrap();
    std::fs::write(carpeta.path().join("a.txt"), "a").unwrap();
    let apuntes = tempfile::tempdir().unwrap();
    let diario = apuntes.path().join("diario.jsonl");
    let opciones = [
        "--peer",
        "127.0.0.1:9",
        "--diario",
        diario.to_str().unwrap(),
        "--fallas",
        "callar=100%",
    ];
    let nodo = Proceso::nodo(carpeta.path(), &opciones);
    assert!(bajar(nodo.direccion(), "a.txt").0);
    let dicho = hasta_que("que se apunte el cierre", || {
        let dicho = std::fs::read_to_string(&diario).ok()?;
        dicho.contains("\"cierra\"").then_some(dicho)
    });
    let sucesos: Vec<serde_json::Value> = dicho
        .lines()
        .map(|linea| serde_json::from_str(linea).unwrap())
        .collect();
    let sucesos: Vec<&str> = sucesos
        .iter()
        .filter_map(|s| s["suceso"].as_str())
        .collect();
    assert_eq!(sucesos, ["acepta", "cierra"]);
}

// ----- El nodo llama -----

/// Un peer del curso: sólo da lo que tiene, por gRPC.
struct DelCurso(Vec<u8>);

#[tonic::async_trait]
impl FileService for DelCurso {
    async fn upload(&self, _: Request<UploadRequest>) -> Result<Response<UploadResponse>, Status> {
        Err(Status::unimplemented("no"))
    }

    async fn download(
        &self,
        pedido: Request<DownloadRequest>,
    ) -> Result<Response<DownloadResponse>, Status> {
        let contestado = match pedido.into_inner().filename.as_str() {
            "suyo.bin" => DownloadResponse {
                ok: true,
                content: self.0.clone().into(),
                message: "OK".into(),
            },
            "prohibido" => DownloadResponse {
                message: "hoy\u{1b}[31m no".into(),
                ..DownloadResponse::default()
            },
            "roto" => return Err(Status::internal("se rompió")),
            _ => DownloadResponse {
                message: "Not found".into(),
                ..DownloadResponse::default()
            },
        };
        Ok(Response::new(contestado))
    }
}

/// Atiende en su hilo, hasta que acabe la prueba.
fn peer_del_curso(contenido: Vec<u8>) -> SocketAddr {
    let escucha = TcpListener::bind("127.0.0.1:0").unwrap();
    let direccion = escucha.local_addr().unwrap();
    escucha.set_nonblocking(true).unwrap();
    let servicio = FileServiceServer::new(DelCurso(contenido));
    let atender = async move {
        let escucha = tokio::net::TcpListener::from_std(escucha).unwrap();
        while let Ok((socket, _)) = escucha.accept().await {
            let servicio = servicio.clone();
            let contestar = hyper::service::service_fn(move |p| servicio.clone().call(p));
            let http2 = http2::Builder::new(TokioExecutor::new());
            tokio::spawn(http2.serve_connection(TokioIo::new(socket), contestar));
        }
    };
    thread::spawn(move || en_un_runtime(atender));
    direccion
}

fn en_un_runtime(tarea: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(tarea);
}

/// Un REST que no tiene `/files/`, como el de los peers del curso.
fn rest_sin_archivos() -> SocketAddr {
    let escucha = TcpListener::bind("127.0.0.1:0").unwrap();
    let direccion = escucha.local_addr().unwrap();
    thread::spawn(move || {
        for mut socket in escucha.incoming().map_while(Result::ok) {
            let _ = socket.read(&mut [0; 4096]);
            let _ = socket.write_all(b"HTTP/1.0 404 Not Found\r\nContent-Length: 2\r\n\r\n{}");
        }
    });
    direccion
}

/// `nodo descargar` de un maestro en que se registró un peer así.
fn descargar(
    rest: SocketAddr,
    grpc: u16,
    archivo: &str,
) -> (std::process::Child, Proceso, tempfile::TempDir) {
    let maestro = Proceso::maestro(0);
    let registro = json!({
        "peer": format!("http://{rest}"), "files": [archivo], "grpc_port": grpc, "ttl": 600,
    });
    assert_eq!(
        enviar(maestro.direccion(), "/register", &registro).codigo,
        200
    );
    let carpeta = tempfile::tempdir().unwrap();
    let hijo = nodo()
        .args([
            "descargar",
            archivo,
            "--peer",
            "127.0.0.1:9",
            "--maestro",
            &maestro.url(),
        ])
        .arg("--carpeta")
        .arg(carpeta.path())
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    (hijo, maestro, carpeta)
}

#[test]
fn de_un_peer_del_curso_se_baja_con_download_cuando_por_http_no_se_puede() {
    let contenido = datos(TOPE_DE_CONTENIDO);
    let (rest, grpc) = (
        rest_sin_archivos(),
        peer_del_curso(contenido.clone()).port(),
    );
    let (hijo, _maestro, carpeta) = descargar(rest, grpc, "suyo.bin");
    let salida = super::comun::acabar(hijo);
    assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
    assert!(
        quejas(&salida).contains("[SIN COMPROBAR]"),
        "{}",
        quejas(&salida)
    );
    assert!(
        quejas(&salida).contains("lo da por gRPC"),
        "{}",
        quejas(&salida)
    );
    let bajado = std::fs::read(carpeta.path().join("suyo.bin")).unwrap();
    assert!(bajado == contenido);
    assert_eq!(nombres(&carpeta), ["suyo.bin"]);
    for (archivo, por_que) in [
        ("otro", "El archivo no está disponible"),
        ("prohibido", "por gRPC dice que no: hoy no"),
        ("roto", "se rompió"),
    ] {
        let (hijo, _maestro, carpeta) = descargar(rest, grpc, archivo);
        let salida = super::comun::acabar(hijo);
        assert_eq!(codigo(&salida), Some(1));
        assert!(quejas(&salida).contains(por_que), "{}", quejas(&salida));
        assert!(nombres(&carpeta).is_empty());
    }
    // Más de lo que cabe en un mensaje.
    let grpc = peer_del_curso(datos(5 << 20)).port();
    let (hijo, _maestro, carpeta) = descargar(rest, grpc, "suyo.bin");
    let salida = super::comun::acabar(hijo);
    let por_que = "manda más de lo que cabe por gRPC";
    assert!(quejas(&salida).contains(por_que), "{}", quejas(&salida));
    assert!(nombres(&carpeta).is_empty());
}

#[cfg(unix)]
#[test]
fn un_ctrl_c_deja_lo_que_se_pide_por_grpc() {
    let callado = TcpListener::bind("127.0.0.1:0").unwrap();
    let grpc = callado.local_addr().unwrap().port();
    let (hijo, _maestro, _carpeta) = descargar(rest_sin_archivos(), grpc, "suyo.bin");
    let (mut socket, _) = callado.accept().unwrap();
    socket.read_exact(&mut [0; 24]).unwrap();
    let antes = Instant::now();
    super::comun::senal(hijo.id(), "INT");
    let salida = super::comun::acabar(hijo);
    assert_eq!(codigo(&salida), Some(130), "{}", quejas(&salida));
    assert!(
        antes.elapsed() < Duration::from_secs(1),
        "{:?}",
        antes.elapsed()
    );
}

/// Va con las que esperan (`tests/todas.rs`).
pub fn de_un_peer_que_calla_no_se_espera_mas_de_la_cuenta() {
    let callado = TcpListener::bind("127.0.0.1:0").unwrap();
    let grpc = callado.local_addr().unwrap().port();
    let antes = Instant::now();
    let (hijo, _maestro, _carpeta) = descargar(rest_sin_archivos(), grpc, "suyo.bin");
    let salida = super::comun::acabar(hijo);
    assert_eq!(codigo(&salida), Some(1));
    let por_que = "se acabó el plazo esperando la respuesta por gRPC";
    assert!(quejas(&salida).contains(por_que), "{}", quejas(&salida));
    assert!(
        antes.elapsed() < Duration::from_secs(30),
        "{:?}",
        antes.elapsed()
    );
}

// ----- El tracker -----

fn maestro_con_tracker() -> (Proceso, SocketAddr) {
    let mut programa = nodo();
    programa.args(["maestro", "--puerto", "0", "--tracker", "0"]);
    let maestro = Proceso::nuevo(programa);
    let que = "Tracker gRPC activo en puerto ";
    let dicho = maestro.esperar(que);
    let puerto = dicho.split_once(que).unwrap().1.lines().next().unwrap();
    let puerto: u16 = puerto.trim().parse().unwrap();
    (maestro, SocketAddr::from(([127, 0, 0, 1], puerto)))
}

fn registrar(a: SocketAddr, peer: &str, files: &[&str]) -> Result<bool, Fallo> {
    let files = files.iter().map(ToString::to_string).collect();
    let peer_id = peer.to_string();
    let hecho = llamar(a, async |canal, origen| {
        let mut cliente = TrackerServiceClient::with_origin(canal, origen);
        cliente
            .register_peer(RegisterPeerRequest { peer_id, files })
            .await
    });
    hecho.map(|r| r.success)
}

fn buscar(a: SocketAddr, archivo: &str) -> Vec<String> {
    let file_name = archivo.to_string();
    let hallados = llamar(a, async |canal, origen| {
        let mut cliente = TrackerServiceClient::with_origin(canal, origen);
        cliente.search_file(SearchFileRequest { file_name }).await
    });
    hallados.unwrap().peers
}

fn despedir(a: SocketAddr, peer: &str) -> bool {
    let peer_id = peer.to_string();
    let hecho = llamar(a, async |canal, origen| {
        let mut cliente = TrackerServiceClient::with_origin(canal, origen);
        cliente.leave_peer(LeavePeerRequest { peer_id }).await
    });
    hecho.unwrap().success
}

#[test]
fn el_tracker_y_el_rest_son_el_mismo_directorio() {
    let (maestro, tracker) = maestro_con_tracker();
    let a = maestro.direccion();
    assert_eq!(
        registrar(tracker, "127.0.0.2", &["a.txt", "ñ.txt"]),
        Ok(true)
    );
    assert_eq!(registrar(tracker, "peer_1", &["a.txt"]), Ok(true));
    maestro.esperar("[REGISTRADO] 127.0.0.2 con 2 archivos");
    let suyo = json!({"rest": "http://127.0.0.2:5000", "grpc_port": 0});
    assert_eq!(
        pedir(a, "/locate?file=a.txt", "").json()["peers"],
        json!([suyo])
    );
    let por_rest = json!({"peer": "http://127.0.0.3:6001", "files": ["a.txt"], "ttl": 600});
    assert_eq!(enviar(a, "/register", &por_rest).codigo, 200);
    let en_el_5000 = json!({"peer": "http://127.0.0.4:5000", "files": ["b.txt"], "ttl": 600});
    assert_eq!(enviar(a, "/register", &en_el_5000).codigo, 200);
    assert_eq!(
        buscar(tracker, "a.txt"),
        ["127.0.0.2", "127.0.0.3:6001", "peer_1"]
    );
    assert_eq!(buscar(tracker, "b.txt"), ["127.0.0.4"]);
    // La misma «ñ», escrita de otra manera.
    assert_eq!(buscar(tracker, "n\u{303}.txt"), ["127.0.0.2"]);
    assert!(buscar(tracker, "nada").is_empty());
    // Registrarse de nuevo sustituye.
    assert_eq!(registrar(tracker, "peer_1", &["c.txt"]), Ok(true));
    assert_eq!(buscar(tracker, "a.txt"), ["127.0.0.2", "127.0.0.3:6001"]);
    assert!(despedir(tracker, "127.0.0.2") && !despedir(tracker, "127.0.0.2"));
    assert!(despedir(tracker, "peer_1") && !despedir(tracker, "peer_1"));
    maestro.esperar("[DESPEDIDO] peer_1");
    assert_eq!(buscar(tracker, "a.txt"), ["127.0.0.3:6001"]);
    assert!(buscar(tracker, "c.txt").is_empty());
}

#[test]
fn el_tracker_no_guarda_lo_que_no_cabe() {
    let (_maestro, tracker) = maestro_con_tracker();
    let largo = "x".repeat(1025);
    for (peer, archivos) in [
        ("", vec!["a"]),
        (&largo[..65], vec!["a"]),
        ("peer_1", vec![""]),
        ("peer_1", vec![&largo]),
    ] {
        assert!(
            registrar(tracker, peer, &archivos).is_err(),
            "{peer:?} {archivos:?}"
        );
    }
    let (archivo, muchos) = ("y".repeat(1000), 1100);
    let todos = vec![archivo.as_str(); muchos];
    assert!(
        registrar(tracker, "peer_1", &todos).is_err(),
        "más de un mega"
    );
    for n in 0..256 {
        assert_eq!(
            registrar(tracker, &format!("peer_{n}"), &["a"]),
            Ok(true),
            "{n}"
        );
    }
    assert!(registrar(tracker, "peer_256", &["a"]).is_err());
    assert_eq!(registrar(tracker, "peer_255", &["b"]), Ok(true));
    assert_eq!(buscar(tracker, "a").len(), 255);
}
