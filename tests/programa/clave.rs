//! La clave de la clase: quién se entiende con quién, qué se ve en el cable y qué pasa si alguien
//! se mete en medio.
//!
//! Quien «llega de fuera» es aquí un socket enlazado a una IP de esta máquina que no es 127.x, y
//! que llama a 127.0.0.1. Donde no la hay, esas pruebas no dicen nada.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use super::comun::falsos::{BLOQUE, Charla, Falso, Mana};
use super::comun::rest::hasta_que;
use super::comun::*;
use crate::config::Limites;
use crate::guia::SELECCIONE;
use crate::lan::clave::OpcionesDeClave;
use crate::red::conexion::{Conexion, FalloRed};
use crate::red::parada::Parada;

const FRASE: &str = "batuki domite karusa lenopi";
const OTRA: &str = "batuki domite karusa lenopo";
const PIDE_CLAVE: &str = "ERROR:este nodo pide la clave de la clase";

// ----- Lo que usan las pruebas -----

/// Una carpeta con archivos y un nodo que la sirve; su único peer escrito es 127.0.0.1.
fn nodo_con(archivos: &[(&str, &[u8])], opciones: &[&str]) -> (tempfile::TempDir, Proceso) {
    let carpeta = tempfile::tempdir().unwrap();
    for (nombre, contenido) in archivos {
        fs::write(carpeta.path().join(nombre), contenido).unwrap();
    }
    let opciones = [&["--peer", "127.0.0.1:9"], opciones].concat();
    let proceso = Proceso::nodo(carpeta.path(), &opciones);
    (carpeta, proceso)
}

/// Una conexión cifrada, a mano.
fn con_clave(a: SocketAddr, frase: &str) -> Result<Conexion, FalloRed> {
    let opciones = OpcionesDeClave {
        clave: Some(frase.into()),
        clave_de: None,
    };
    let limites = Limites {
        clave: opciones.clave().unwrap(),
        respuesta: PACIENCIA,
        ..Limites::default()
    };
    Conexion::conectar(a, PACIENCIA, &limites, &Parada::nueva())
}

fn pedir(conexion: &mut Conexion, linea: &str) -> String {
    conexion.escribir_datos(linea.as_bytes()).unwrap();
    oir(conexion)
}

fn oir(conexion: &mut Conexion) -> String {
    let linea = conexion.leer_linea(PACIENCIA, "la respuesta").unwrap();
    linea.unwrap_or_default()
}

/// Una conexión que no llega de 127.x. `None` si esta máquina no tiene otra IP.
fn desde_fuera(a: SocketAddr) -> Option<TcpStream> {
    let otra = UdpSocket::bind("0.0.0.0:0").ok()?;
    otra.connect("192.0.2.1:9").ok()?;
    let ip = otra.local_addr().ok()?.ip();
    if ip.is_loopback() {
        return None;
    }
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
    socket.bind(&SocketAddr::new(ip, 0).into()).ok()?;
    socket.connect_timeout(&a.into(), PACIENCIA).ok()?;
    socket.set_read_timeout(Some(PACIENCIA)).unwrap();
    Some(socket.into())
}

/// Lo que contesta a unos bytes que llegan de fuera, hasta el cierre.
fn de_fuera(a: SocketAddr, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut conexion = desde_fuera(a)?;
    conexion.write_all(bytes).unwrap();
    Some(leer_todo(&mut conexion))
}

/// Lo que se le hace a un mensaje cifrado que pasa por el cable. El 0 es el del saludo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Truco {
    Nada,
    /// Le cambia un bit al sello.
    Cambiar(usize),
    /// Le cambia la longitud que lleva delante.
    CambiarLongitud(usize),
    Repetir(usize),
    Saltar(usize),
    /// Lo manda después del siguiente.
    Cruzar(usize),
    /// Manda la mitad y cierra con un final limpio.
    Truncar(usize),
    /// Tras él, cierra con un final limpio.
    CerrarTras(usize),
}

/// Un cable con alguien en medio, que guarda todo lo que pasa y puede estropear lo que va o lo que
/// vuelve.
struct Cable {
    direccion: SocketAddr,
    /// Lo de cada conexión, en cada sentido.
    ida: Arc<Mutex<Vec<u8>>>,
    vuelta: Arc<Mutex<Vec<u8>>>,
}

impl Cable {
    fn nuevo(hacia: SocketAddr) -> Cable {
        Cable::con(hacia, Truco::Nada, Truco::Nada)
    }

    fn con(hacia: SocketAddr, a_la_ida: Truco, a_la_vuelta: Truco) -> Cable {
        let escucha = TcpListener::bind("127.0.0.1:0").unwrap();
        let direccion = escucha.local_addr().unwrap();
        let (ida, vuelta) = <(Arc<Mutex<Vec<u8>>>, Arc<Mutex<Vec<u8>>>)>::default();
        let guardado = (Arc::clone(&ida), Arc::clone(&vuelta));
        thread::spawn(move || {
            for cliente in escucha.incoming() {
                let (cliente, nodo) = (cliente.unwrap(), TcpStream::connect(hacia).unwrap());
                let (otro_cliente, otro_nodo) =
                    (cliente.try_clone().unwrap(), nodo.try_clone().unwrap());
                let (ida, vuelta) = (Arc::clone(&guardado.0), Arc::clone(&guardado.1));
                thread::spawn(move || drop(pasar(&cliente, &nodo, a_la_ida, &ida)));
                thread::spawn(move || drop(pasar(&otro_nodo, &otro_cliente, a_la_vuelta, &vuelta)));
            }
        });
        Cable {
            direccion,
            ida,
            vuelta,
        }
    }

    fn todo(&self) -> [Vec<u8>; 2] {
        [&self.ida, &self.vuelta].map(|lado| lado.lock().unwrap().clone())
    }
}

/// Pasa la línea `CLAVE:1`, y después mensaje a mensaje.
fn pasar(
    de: &TcpStream,
    a: &TcpStream,
    truco: Truco,
    guardado: &Mutex<Vec<u8>>,
) -> std::io::Result<()> {
    let pasado = pasar_mensajes(BufReader::new(de), a, truco, guardado);
    let _ = a.shutdown(Shutdown::Write);
    pasado
}

fn pasar_mensajes(
    mut de: impl BufRead,
    mut a: &TcpStream,
    truco: Truco,
    guardado: &Mutex<Vec<u8>>,
) -> std::io::Result<()> {
    let mut mandar = |bytes: &[u8]| {
        guardado.lock().unwrap().extend_from_slice(bytes);
        a.write_all(bytes)
    };
    let mut linea = Vec::new();
    de.read_until(b'\n', &mut linea)?;
    mandar(&linea)?;
    let mut retenido = None;
    for numero in 0.. {
        let mut longitud = [0; 2];
        de.read_exact(&mut longitud)?;
        let mut mensaje = vec![0; usize::from(u16::from_be_bytes(longitud))];
        de.read_exact(&mut mensaje)?;
        mensaje.splice(0..0, longitud);
        match truco {
            Truco::Cambiar(este) if este == numero => *mensaje.last_mut().unwrap() ^= 4,
            Truco::CambiarLongitud(este) if este == numero => mensaje[1] ^= 1,
            Truco::Repetir(este) if este == numero => mandar(&mensaje)?,
            Truco::Saltar(este) if este == numero => continue,
            Truco::Cruzar(este) if este == numero => {
                retenido = Some(mensaje);
                continue;
            }
            Truco::Truncar(este) if este == numero => {
                return mandar(&mensaje[..mensaje.len() / 2]);
            }
            _ => {}
        }
        mandar(&mensaje)?;
        if let Some(retenido) = retenido.take() {
            mandar(&retenido)?;
        }
        if truco == Truco::CerrarTras(numero) {
            return Ok(());
        }
    }
    Ok(())
}

// ----- Cada uno con cada uno -----

/// Las maneras de tener, o no, una clave: las opciones y la variable que llevan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Tiene {
    Nada,
    Una,
    Otra,
}

impl Tiene {
    const TODAS: [Tiene; 3] = [Tiene::Nada, Tiene::Una, Tiene::Otra];

    fn opciones(self) -> &'static [&'static str] {
        match self {
            Tiene::Nada => &[],
            Tiene::Una => &["--clave", FRASE],
            Tiene::Otra => &["--clave", OTRA],
        }
    }

    /// Una orden suelta, con la frase en un archivo o en la variable.
    fn orden(self, donde: &Path, argumentos: &[&str]) -> Output {
        let mut programa = nodo();
        programa.current_dir(donde).args(argumentos);
        match self {
            Tiene::Nada => {}
            Tiene::Una => {
                programa.env("NODO_CLAVE", FRASE);
            }
            Tiene::Otra => {
                let archivo = donde.join("frase");
                fs::write(
                    &archivo,
                    format!("\u{feff}{OTRA}\r\nlo demás no cuenta\r\n"),
                )
                .unwrap();
                programa.arg("--clave-de").arg(archivo);
            }
        }
        programa.recoger()
    }
}

/// Las seis órdenes, contra un nodo. Cada una, si fue bien, y todo lo que dijo.
fn las_seis(quien: Tiene, a: SocketAddr) -> Vec<(&'static str, bool, String)> {
    let aparte = tempfile::tempdir().unwrap();
    fs::write(aparte.path().join("suelto.txt"), "va suelto").unwrap();
    let a = a.to_string();
    let ordenes: [&[&str]; 6] = [
        &["buscar", "acta.txt", "--peer", &a],
        &["listar", "--red", "--peer", &a],
        &["descargar", "acta.txt", "--de", &a, "--carpeta", "bajado"],
        &["enviar", "suelto.txt", "--a", &a],
        &["mensaje", "hola", "--a", &a],
        &["estado", "--peer", &a],
    ];
    let nombres = [
        "buscar",
        "listar",
        "descargar",
        "enviar",
        "mensaje",
        "estado",
    ];
    nombres
        .into_iter()
        .zip(ordenes)
        .map(|(nombre, argumentos)| {
            let salida = quien.orden(aparte.path(), argumentos);
            let dijo = format!("{}{}", dicho(&salida), quejas(&salida));
            (nombre, codigo(&salida) == Some(0), dijo)
        })
        .collect()
}

fn cada_cliente_contra_uno_que(tiene: Tiene) {
    let acta = datos(100_000);
    let (carpeta, servidor) = nodo_con(&[("acta.txt", &acta)], tiene.opciones());
    let a = servidor.direccion();
    for quien in Tiene::TODAS {
        for (orden, bien, dijo) in las_seis(quien, a) {
            let caso = format!("{orden}, {quien:?} a {tiene:?}: {dijo}");
            // Desde esta máquina, la palabra de la guía sigue.
            let como_la_guia = (quien, orden) == (Tiene::Nada, "buscar");
            assert_eq!(bien, quien == tiene || como_la_guia, "{caso}");
            if bien {
                continue;
            }
            let por_que = match (quien, tiene) {
                (Tiene::Nada, _) => "este nodo pide la clave de la clase".into(),
                (_, Tiene::Nada) => format!("{a} no tiene clave"),
                _ if orden == "descargar" => "su clave no es la nuestra".into(),
                _ => format!("la clave de {a} no es la nuestra"),
            };
            let por_que = match (orden, tiene) {
                ("descargar", Tiene::Nada) => "no tiene clave".to_string(),
                _ => por_que,
            };
            assert!(dijo.contains(&por_que), "{caso}");
        }
    }
    // Lo que se envió llegó una vez, y sólo de quien debía.
    assert_eq!(nombres(&carpeta), ["acta.txt", "suelto.txt"]);
    assert_eq!(servidor.texto().matches("[MENSAJE]").count(), 1);
}

#[test]
fn contra_uno_sin_clave() {
    cada_cliente_contra_uno_que(Tiene::Nada);
}

#[test]
fn contra_uno_con_clave() {
    cada_cliente_contra_uno_que(Tiene::Una);
}

#[test]
fn contra_uno_con_otra_clave() {
    cada_cliente_contra_uno_que(Tiene::Otra);
}

#[test]
fn el_menu_tambien_lo_dice_y_la_pagina_y_el_otro() {
    let (_a, otro) = nodo_con(&[("acta.txt", b"hola")], Tiene::Otra.opciones());
    let (_b, sin) = nodo_con(&[("acta.txt", b"hola")], &[]);
    let (_c, bueno) = nodo_con(&[("acta.txt", b"hola")], Tiene::Una.opciones());
    let peers = [&otro, &sin, &bueno].map(|nodo| nodo.direccion().to_string());
    let mut opciones = vec!["--clave", FRASE];
    peers
        .iter()
        .for_each(|peer| opciones.extend(["--peer", peer]));
    let carpeta = tempfile::tempdir().unwrap();
    let mut menu = Proceso::menu(carpeta.path(), &opciones);
    menu.escribir("2");
    menu.escribir("acta.txt");
    menu.escribir("1");
    let dijo = menu.esperar("[DESCARGADO EN COMPARTIDOS] acta.txt") + &menu.quejas();
    assert!(
        dijo.contains(&format!("la clave de {} no es la nuestra", peers[0])),
        "{dijo}"
    );
    assert!(
        dijo.contains(&format!("{} no tiene clave", peers[1])),
        "{dijo}"
    );
    // El que tiene otra clave ve quién llamó.
    otro.esperar("[NO ENTRA] 127.0.0.1:");
    // La página, que los sondea, se ve desde aquí. Y quién tiene un archivo, que lo pregunta.
    let pagina = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/html\r\n\r\n";
    let pagina = String::from_utf8(preguntar(menu.direccion(), pagina)).unwrap();
    assert!(pagina.starts_with("HTTP/1.1 200"), "{pagina}");
    for dice in ["su clave no es la nuestra", "no tiene clave", "responde: "] {
        assert!(pagina.contains(dice), "{dice}: {pagina}");
    }
    fs::remove_file(carpeta.path().join("acta.txt")).unwrap();
    let quien = b"GET /locate?file=acta.txt HTTP/1.0\r\n\r\n";
    let quien = String::from_utf8(preguntar(menu.direccion(), quien)).unwrap();
    assert!(quien.contains(&peers[2]), "{quien}");
    assert!(
        !quien.contains(&peers[0]) && !quien.contains(&peers[1]),
        "{quien}"
    );
}

// ----- Nada en claro -----

const EN_BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Lo que no cambia de `texto` en base64 cuando delante van otros `antes` bytes.
fn base64(texto: &[u8], antes: usize) -> Vec<u8> {
    let bits: Vec<u8> = std::iter::repeat_n(0, antes)
        .chain(texto.iter().copied())
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
        .collect();
    let letras = bits.chunks_exact(6);
    let letras: Vec<u8> = letras
        .map(|seis| seis.iter().fold(0, |suma, bit| suma << 1 | bit))
        .map(|seis: u8| EN_BASE64[usize::from(seis)])
        .collect();
    letras[(antes * 8).div_ceil(6)..].to_vec()
}

/// Las formas en que `texto` se podría leer.
fn maneras(texto: &str) -> Vec<Vec<u8>> {
    let en_utf16: Vec<u16> = texto.encode_utf16().collect();
    let al_reves = |orden: fn(u16) -> [u8; 2]| en_utf16.iter().flat_map(|u| orden(*u)).collect();
    let mut maneras = vec![
        texto.as_bytes().to_vec(),
        al_reves(u16::to_le_bytes),
        al_reves(u16::to_be_bytes),
    ];
    for n in 0..3 {
        maneras.extend(
            (0..3)
                .map(|antes| base64(&maneras[n].clone(), antes))
                .collect::<Vec<_>>(),
        );
    }
    maneras
}

fn esta(donde: &[u8], que: &[u8]) -> bool {
    donde.windows(que.len()).any(|trozo| trozo == que)
}

/// Lo que pasa por el cable con todas las órdenes, con clave o sin ella.
fn lo_que_pasa_por_el_cable(opciones: &'static [&'static str]) -> [Vec<u8>; 2] {
    let contenido = "El ñandú duerme en la biblioteca. ".repeat(3000);
    let archivos: [(&str, &[u8]); 1] = [("examen final.txt", contenido.as_bytes())];
    let (carpeta, servidor) = nodo_con(&archivos, &[opciones, &["--nombre", "profesora"]].concat());
    let cable = Cable::nuevo(servidor.direccion());
    let a = cable.direccion.to_string();
    let aparte = tempfile::tempdir().unwrap();
    fs::write(aparte.path().join("entrega de Ana.txt"), &contenido).unwrap();
    let ordenes: [&[&str]; 6] = [
        &["buscar", "examen final.txt", "--peer", &a],
        &["listar", "--red", "--peer", &a],
        &["descargar", "examen final.txt", "--de", &a],
        &["enviar", "entrega de Ana.txt", "--a", &a],
        &[
            "mensaje",
            "mañana hay examen",
            "--a",
            &a,
            "--nombre",
            "estudiante",
        ],
        &["estado", "--peer", &a],
    ];
    for argumentos in ordenes {
        let mut programa = nodo();
        let salida = programa
            .current_dir(aparte.path())
            .args(argumentos)
            .args(opciones)
            .recoger();
        assert_eq!(
            codigo(&salida),
            Some(0),
            "{argumentos:?}: {}",
            quejas(&salida)
        );
    }
    assert_eq!(
        nombres(&carpeta),
        ["entrega de Ana.txt", "examen final.txt"]
    );
    cable.todo()
}

#[test]
fn en_el_cable_no_se_lee_nada() {
    let secretos = [
        "examen final.txt",
        "El ñandú duerme en la biblioteca",
        "entrega de Ana.txt",
        "mañana hay examen",
        "profesora",
        "estudiante",
        "OBTENER",
        "127.0.0.1",
        FRASE,
    ];
    let cifrado = lo_que_pasa_por_el_cable(Tiene::Una.opciones());
    for secreto in secretos {
        for manera in maneras(secreto) {
            for pasado in &cifrado {
                assert!(!esta(pasado, &manera), "se lee «{secreto}»");
            }
        }
    }
    for pasado in &cifrado {
        // Pasó todo, y empieza como tiene que empezar.
        assert!(pasado.len() > 100_000 && pasado.starts_with(b"CLAVE:1\n\0\x30"));
    }
}

/// Lo que se busca se encontraría: sin clave, ahí está.
#[test]
fn en_claro_se_lee_todo() {
    let contenido = "El ñandú duerme en la biblioteca. ".repeat(10);
    let (_carpeta, servidor) = nodo_con(&[("examen final.txt", contenido.as_bytes())], &[]);
    let leido = preguntar(servidor.direccion(), b"DESCARGAR:examen final.txt");
    assert!(esta(
        &leido,
        &maneras("El ñandú duerme en la biblioteca")[0]
    ));
    // Y de las otras maneras, si alguien lo mandara así.
    for antes in 0..3 {
        let todo = [&vec![b'-'; antes], "xx examen final.txt xx".as_bytes()].concat();
        let todo = base64(&todo, 0);
        assert!(
            maneras("examen final.txt")
                .iter()
                .any(|manera| esta(&todo, manera))
        );
    }
}

/// Con qué contesta quien no tiene la clave.
const EN_VEZ_DE_LA_CLAVE: [(&str, &[u8]); 7] = [
    ("la conoce pero no la tiene", b"ERROR:palabra desconocida\n"),
    ("dice que no la conoce", b"no conozco CLAVE\n"),
    (
        "habla HTTP",
        b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
    ),
    ("dice que lo tiene, como la guía", b"SI"),
    ("tiene otra", b"CLAVE:1\n\0\0"),
    (
        "la inventa",
        b"CLAVE:1\n\0\x300123456789abcdef0123456789abcdef0123456789abcdef",
    ),
    ("cierra, como la guía", b""),
];

/// Quien no tiene la clave: contesta eso a lo primero y guarda todo lo que le manden.
fn trampa(respuesta: &'static [u8]) -> (SocketAddr, Arc<Mutex<Vec<Vec<u8>>>>) {
    let escucha = TcpListener::bind("127.0.0.1:0").unwrap();
    let direccion = escucha.local_addr().unwrap();
    let oido = Arc::new(Mutex::new(Vec::new()));
    let suyo = Arc::clone(&oido);
    thread::spawn(move || {
        for conexion in escucha.incoming() {
            let (mut conexion, suyo) = (conexion.unwrap(), Arc::clone(&suyo));
            thread::spawn(move || {
                let mut linea = Vec::new();
                let mut lector = BufReader::new(conexion.try_clone().unwrap());
                let _ = lector.read_until(b'\n', &mut linea);
                let _ = conexion.write_all(respuesta);
                let _ = conexion.shutdown(Shutdown::Write);
                let _ = lector.read_to_end(&mut linea);
                suyo.lock().unwrap().push(linea);
            });
        }
    });
    (direccion, oido)
}

#[test]
fn con_clave_no_sale_nada_en_claro_le_contesten_lo_que_le_contesten() {
    for (que_hace, respuesta) in EN_VEZ_DE_LA_CLAVE {
        let (direccion, oido) = trampa(respuesta);
        for (orden, bien, dijo) in las_seis(Tiene::Una, direccion) {
            assert!(!bien, "{que_hace}, {orden}: {dijo}");
            let lo_dice = ["clave", "no la cifró", "no lo cifró", "se cortó"];
            assert!(
                lo_dice.iter().any(|dice| dijo.contains(dice)),
                "{que_hace}, {orden}: {dijo}"
            );
        }
        // Quien escucha acaba de enterarse un momento después de que el otro cuelgue.
        let limite = Instant::now() + PACIENCIA;
        while oido.lock().unwrap().len() < 6 && Instant::now() < limite {
            thread::sleep(Duration::from_millis(5));
        }
        let oido = oido.lock().unwrap();
        assert!(oido.len() >= 6, "{que_hace}: {}", oido.len());
        for dicho in oido.iter() {
            // La palabra; y a quien dice que la conoce, el saludo, que no dice nada.
            let saludo = dicho.strip_prefix(b"CLAVE:1\n").unwrap_or(b"en claro");
            let vale =
                saludo.is_empty() || respuesta.starts_with(b"CLAVE:1\n") && saludo.len() == 50;
            assert!(vale, "{que_hace}: {:?}", String::from_utf8_lossy(dicho));
        }
    }
}

#[test]
fn a_un_nodo_de_la_guia_no_se_le_dice_nada() {
    let guia = Falso::nuevo(b"hola", Mana::Guia);
    for (orden, bien, dijo) in las_seis(Tiene::Una, guia.direccion) {
        assert!(
            !bien && dijo.contains("es un nodo de la guía, que no tiene"),
            "{orden}: {dijo}"
        );
    }
    assert_eq!(guia.registro.cuantos("CLAVE:1"), guia.registro.cuantos(""));
}

#[test]
fn por_http_no_se_pregunta_salvo_al_maestro_y_avisando() {
    let (_carpeta, sin) = nodo_con(&[("acta.txt", b"hola")], &[]);
    let salida = orden([
        "localizar",
        "acta.txt",
        "--por",
        &sin.url(),
        "--clave",
        FRASE,
    ]);
    assert_eq!(codigo(&salida), Some(1));
    assert!(
        quejas(&salida).contains("con clave no se pregunta por HTTP"),
        "{}",
        quejas(&salida)
    );
    assert!(!sin.texto().contains("[CONEXIÓN]"), "{}", sin.texto());
    let maestro = Proceso::maestro(0);
    let (_carpeta, dentro) = nodo_con(
        &[("acta.txt", b"hola")],
        &["--maestro", &maestro.url(), "--clave", FRASE],
    );
    let avisa = "al maestro se le dicen en claro los nombres";
    dentro.esperar_queja(avisa);
    let limite = Instant::now() + PACIENCIA;
    let hallado = loop {
        let salida = orden([
            "buscar",
            "acta.txt",
            "--peer",
            "127.0.0.1:9",
            "--maestro",
            &maestro.url(),
            "--clave",
            FRASE,
        ]);
        if codigo(&salida) == Some(0) || Instant::now() > limite {
            break salida;
        }
    };
    assert_eq!(dicho(&hallado), format!("{}\n", dentro.direccion()));
    assert!(quejas(&hallado).contains(avisa), "{}", quejas(&hallado));
    let salida = orden([
        "localizar",
        "acta.txt",
        "--maestro",
        &maestro.url(),
        "--clave",
        FRASE,
    ]);
    assert_eq!(codigo(&salida), Some(0));
    assert!(quejas(&salida).contains(avisa), "{}", quejas(&salida));
}

#[test]
fn con_clave_no_hay_torrent() {
    let carpeta = tempfile::tempdir().unwrap();
    fs::write(carpeta.path().join("acta.txt"), "hola").unwrap();
    let mut programa = nodo();
    programa
        .current_dir(carpeta.path())
        .args(["torrent", "acta.txt", "--carpeta", "."]);
    let salida = programa.args(["--clave", FRASE]).recoger();
    assert_eq!(codigo(&salida), Some(1));
    assert!(
        quejas(&salida).contains("con clave no hay torrent"),
        "{}",
        quejas(&salida)
    );
    assert_eq!(nombres(&carpeta), ["acta.txt"]);
}

// ----- A quien llega sin ella -----

#[test]
fn de_fuera_sin_clave_no_se_saca_nada() {
    let (_carpeta, servidor) = nodo_con(&[("acta.txt", b"hola")], &["--clave", FRASE]);
    let a = servidor.direccion();
    let pide = format!("{PIDE_CLAVE}\n").into_bytes();
    let casos: [(&[u8], &[u8]); 9] = [
        (b"BUSCAR:acta.txt", b"NO"),
        (b"DESCARGAR:acta.txt", b"NOFILE"),
        (b"LISTAR\n", &pide),
        (b"HOLA:1:x\n", &pide),
        (b"INFO:acta.txt\n", &pide),
        (b"MENSAJE:x:hola\n", &pide),
        (b"CLAVE:2\n", &pide),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b""),
        (b"\xff\xff\n", &pide),
    ];
    for (peticion, espera) in casos {
        let Some(contesta) = de_fuera(a, peticion) else {
            return eprintln!("aquí no hay una IP que no sea 127.x: no se prueba");
        };
        let peticion = String::from_utf8_lossy(peticion);
        assert_eq!(
            contesta,
            espera,
            "{peticion:?}: {}",
            String::from_utf8_lossy(&contesta)
        );
    }
    for ruta in [
        "/",
        "/files",
        "/files/acta.txt",
        "/search?file=acta.txt",
        "/info",
        "/vivo",
    ] {
        let peticion = format!("GET {ruta} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
        let contesta = String::from_utf8(de_fuera(a, peticion.as_bytes()).unwrap()).unwrap();
        assert!(contesta.starts_with("HTTP/1.1 403 "), "{contesta}");
        assert!(contesta.contains("pide la clave de la clase"), "{contesta}");
        assert!(!contesta.contains("acta.txt"), "{contesta}");
    }
    servidor.esperar("no tiene clave");
    assert!(!servidor.texto().contains("[MENSAJE]"));
}

#[test]
fn desde_aqui_la_guia_y_la_pagina_siguen_y_grpc_no() {
    let (_carpeta, servidor) = nodo_con(&[("acta.txt", b"hola")], &["--clave", FRASE]);
    let a = servidor.direccion();
    assert_eq!(preguntar(a, b"BUSCAR:acta.txt"), b"SI");
    assert_eq!(preguntar(a, b"DESCARGAR:acta.txt"), b"OKhola");
    let pagina = preguntar(a, b"GET /files HTTP/1.0\r\n\r\n");
    assert!(esta(&pagina, b"acta.txt"));
    // Una petición partida no deja de serlo.
    let mut partida = conectar(a);
    for trozo in [&b"\r\nGET /fi"[..], b"les HTTP/1.0\r\n", b"\r\n"] {
        partida.write_all(trozo).unwrap();
        thread::sleep(Duration::from_millis(30));
    }
    assert!(esta(&leer_todo(&mut partida), b"acta.txt"));
    assert_eq!(preguntar(a, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), b"");
    assert_eq!(
        preguntar(a, b"LISTAR\n"),
        format!("{PIDE_CLAVE}\n").as_bytes()
    );
    // Quien sólo mira si hay alguien no es nadie a quien negar la entrada.
    assert_eq!(preguntar_y_cerrar(a, b""), b"");
}

// ----- Lo que va dentro -----

#[test]
fn dentro_se_habla_por_lineas_y_descargar_es_un_error() {
    let (_carpeta, servidor) = nodo_con(&[("acta.txt", b"hola")], &["--clave", FRASE]);
    let a = servidor.direccion();
    let abrir = || con_clave(a, FRASE).unwrap();
    assert_eq!(pedir(&mut abrir(), "BUSCAR:acta.txt\n"), "SI");
    assert_eq!(pedir(&mut abrir(), "BUSCAR:acta\n"), "NO");
    // Es un flujo: da igual en cuántos mensajes venga, y lo que siga a la línea no es del nombre.
    assert_eq!(pedir(&mut abrir(), "BUSCAR:acta.txt\nLISTAR\n"), "SI");
    let mut partida = abrir();
    for trozo in ["BUS", "CAR:acta", ".t", "xt"] {
        partida.escribir_datos(trozo.as_bytes()).unwrap();
        thread::sleep(Duration::from_millis(60));
    }
    assert_eq!(pedir(&mut partida, "\n"), "SI");
    assert!(pedir(&mut abrir(), "DESCARGAR:acta.txt\n").starts_with("ERROR:"));
    assert!(pedir(&mut abrir(), "GET / HTTP/1.1\r\n\r\n").starts_with("ERROR:"));
    assert!(pedir(&mut abrir(), "CLAVE:1\n").starts_with("ERROR:"));
    // Varias, por la misma.
    let mut varias = abrir();
    assert_eq!(pedir(&mut varias, "LISTAR\nINFO:acta.txt\n"), "LISTA:1");
    assert!(oir(&mut varias).ends_with(":acta.txt"));
    assert!(oir(&mut varias).starts_with("INFO:4:"));
    varias.escribir_datos(b"OBTENER:1:2:acta.txt\n").unwrap();
    assert_eq!(oir(&mut varias), "OK:2");
    let mut dos = [0; 2];
    assert_eq!(varias.leer_datos(&mut dos, PACIENCIA).unwrap(), 2);
    assert_eq!(&dos, b"ol");
}

#[test]
fn la_palabra_partida_es_la_palabra() {
    let (_carpeta, servidor) = nodo_con(&[], &["--clave", FRASE]);
    let mut conexion = conectar(servidor.direccion());
    conexion.set_nodelay(true).unwrap();
    for trozo in ["CL", "AVE", ":", "1", "\r", "\n"] {
        conexion.write_all(trozo.as_bytes()).unwrap();
        thread::sleep(Duration::from_millis(20));
    }
    let mut charla = Charla::de(conexion);
    assert_eq!(charla.oir().as_deref(), Some("CLAVE:1"));
    charla.mandar(&[&[0, 48][..], &[1; 48]].concat());
    assert_eq!(charla.leer(2), [0, 0], "no es la clave");
    assert_eq!(charla.oir(), None);
    servidor.esperar("su clave no es la nuestra");
}

#[test]
fn una_lista_larga_llega_entera() {
    // Ni una línea de más ni de menos, caiga donde caiga el final de cada trozo.
    let carpeta = tempfile::tempdir().unwrap();
    for n in 0..900 {
        let nombre = format!("{n:04}{}", "x".repeat(n % 90));
        fs::write(carpeta.path().join(nombre), "").unwrap();
    }
    let servidor = Proceso::nodo(carpeta.path(), &["--peer", "127.0.0.1:9", "--clave", FRASE]);
    let mut conexion = con_clave(servidor.direccion(), FRASE).unwrap();
    for _ in 0..3 {
        assert_eq!(pedir(&mut conexion, "LISTAR\n"), "LISTA:900");
        for n in 0..900 {
            assert!(oir(&mut conexion).contains(&format!(":{n:04}")), "{n}");
        }
        assert!(pedir(&mut conexion, "HOLA:1:yo\n").starts_with("HOLA:"));
    }
}

// ----- Alguien en medio -----

/// Baja un archivo por un cable con truco. Si se bajó, y lo que dijo.
fn bajar_por(hacia: SocketAddr, ida: Truco, vuelta: Truco) -> (Option<Vec<u8>>, String) {
    bajar_directo(Cable::con(hacia, ida, vuelta).direccion)
}

fn bajar_directo(de: SocketAddr) -> (Option<Vec<u8>>, String) {
    let destino = tempfile::tempdir().unwrap();
    let de = de.to_string();
    let argumentos = ["descargar", "acta.bin", "--carpeta", ".", "--de", &de];
    let salida = Tiene::Una.orden(destino.path(), &argumentos);
    let bajado = fs::read(destino.path().join("acta.bin")).ok();
    assert_eq!(bajado.is_some(), codigo(&salida) == Some(0));
    (bajado, dicho(&salida) + &quejas(&salida))
}

#[test]
fn lo_que_se_estropea_por_el_camino_no_se_da_por_bueno() {
    let acta = datos(300_000);
    let (_carpeta, servidor) = nodo_con(&[("acta.bin", &acta)], &["--clave", FRASE]);
    let a = servidor.direccion();
    let (bajado, dijo) = bajar_por(a, Truco::Nada, Truco::Nada);
    assert_eq!(bajado.as_ref(), Some(&acta), "{dijo}");
    // A la vuelta: 0 es el saludo; 1, INFO; 2, BLOQUES; y desde 3, los datos.
    let de_la_clave = "no lo cifró quien tiene la clave";
    for (truco, dice) in [
        (Truco::Cambiar(0), "su clave no es la nuestra"),
        (Truco::CambiarLongitud(0), de_la_clave),
        (Truco::Repetir(0), de_la_clave),
        (Truco::Truncar(0), "se cortó"),
        (Truco::Cambiar(1), de_la_clave),
        (Truco::Cambiar(4), de_la_clave),
        (Truco::Repetir(4), de_la_clave),
        (Truco::Saltar(4), de_la_clave),
        (Truco::Cruzar(4), de_la_clave),
        (Truco::Truncar(4), "se cortó"),
        (Truco::CerrarTras(4), "se cortó"),
    ] {
        let (bajado, dijo) = bajar_por(a, Truco::Nada, truco);
        assert!(bajado.is_none() && dijo.contains(dice), "{truco:?}: {dijo}");
    }
    // A la ida, un saludo con un bit cambiado es de quien no tiene la clave.
    let (bajado, dijo) = bajar_por(a, Truco::Cambiar(0), Truco::Nada);
    assert!(
        bajado.is_none() && dijo.contains("su clave no es la nuestra"),
        "{dijo}"
    );
    for truco in [Truco::Cambiar(1), Truco::Saltar(0)] {
        let (bajado, dijo) = bajar_por(a, truco, Truco::Nada);
        assert!(bajado.is_none(), "{truco:?}: {dijo}");
    }
}

#[test]
fn un_mensaje_repetido_o_cambiado_por_el_camino_no_se_recibe() {
    let (_carpeta, servidor) = nodo_con(&[], &["--clave", FRASE]);
    let mandar = |truco, texto: &str| {
        let cable = Cable::con(servidor.direccion(), truco, Truco::Nada);
        let a = cable.direccion.to_string();
        codigo(&orden(["mensaje", texto, "--a", &a, "--clave", FRASE]))
    };
    // A la ida: 0 es el saludo; 1, HOLA; 2, MENSAJE.
    assert_eq!(mandar(Truco::Cambiar(2), "cambiado"), Some(1));
    assert_eq!(mandar(Truco::Saltar(1), "sin saludar"), Some(1));
    assert_eq!(mandar(Truco::Repetir(2), "una vez"), Some(0));
    assert_eq!(mandar(Truco::Nada, "el último"), Some(0));
    let dijo = servidor.esperar("el último");
    assert_eq!(dijo.matches("[MENSAJE]").count(), 2, "{dijo}");
    assert_eq!(dijo.matches("una vez").count(), 1, "{dijo}");
}

#[test]
fn una_conversacion_vista_no_se_puede_repetir() {
    let (_carpeta, servidor) = nodo_con(&[], &["--clave", FRASE]);
    let cable = Cable::nuevo(servidor.direccion());
    let a = cable.direccion.to_string();
    let salida = orden(["mensaje", "vale por uno", "--a", &a, "--clave", FRASE]);
    assert_eq!(codigo(&salida), Some(0));
    servidor.esperar("vale por uno");
    // Todo lo que se mandó, otra vez, tal cual.
    let [ida, _] = cable.todo();
    let contesta = preguntar_y_cerrar(servidor.direccion(), &ida);
    assert!(
        contesta.starts_with(b"CLAVE:1\n\0\x30"),
        "el saludo, por sí solo, vale"
    );
    assert_eq!(contesta.len(), 8 + 50, "pero no se contesta a nada más");
    let salida = orden(["mensaje", "el último", "--a", &a, "--clave", FRASE]);
    assert_eq!(codigo(&salida), Some(0));
    let dijo = servidor.esperar("el último");
    assert_eq!(dijo.matches("vale por uno").count(), 1, "{dijo}");
}

#[test]
fn un_fin_falso_no_acaba_una_linea() {
    // Quien corta entre dos mensajes puede partir una línea, si venía en los dos.
    let escucha = TcpListener::bind("127.0.0.1:0").unwrap();
    let a = escucha.local_addr().unwrap();
    let opciones = OpcionesDeClave {
        clave: Some(FRASE.into()),
        clave_de: None,
    };
    let limites = Limites {
        clave: opciones.clave().unwrap(),
        ..Limites::default()
    };
    let servidor = thread::spawn(move || {
        let (socket, otro) = escucha.accept().unwrap();
        let mut suya = Conexion::aceptada(&Arc::new(socket), otro, &limites);
        let limite = Instant::now() + PACIENCIA;
        suya.leer_linea(PACIENCIA, "la palabra").unwrap();
        suya.aceptar_cifrado(&limites.clave.clone().unwrap(), limite)
            .unwrap();
        // Nada es nada: ni una línea vacía.
        suya.escribir_texto("").unwrap();
        suya.escribir_datos(b"LISTA:1\n4:-:acta.tx").unwrap();
    });
    let mut nuestra = con_clave(a, FRASE).unwrap();
    assert_eq!(oir(&mut nuestra), "LISTA:1");
    let cortada = nuestra.leer_linea(PACIENCIA, "la lista");
    assert!(matches!(cortada, Err(FalloRed::Cortada)), "{cortada:?}");
    servidor.join().unwrap();
}

#[test]
fn cifrado_tambien_se_reparte_lo_que_se_esta_bajando() {
    let contenido = datos(8 * BLOQUE);
    let opciones = ["--clave", FRASE, "--ritmo", "10MB"];
    let (_suya, semilla) = nodo_con(&[("clase.bin", &contenido)], &opciones);
    let semilla = semilla.direccion().to_string();
    let (una, otra) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut baja = Proceso::menu(una.path(), &["--clave", FRASE, "--peer", &semilla]);
    baja.esperar(SELECCIONE);
    for linea in ["2", "clase.bin", "1"] {
        baja.escribir(linea);
    }
    hasta_que("que tenga algún bloque", || {
        let mut conexion = con_clave(baja.direccion(), FRASE).ok()?;
        let dicho = pedir(&mut conexion, "TENGO:0:clase.bin\n");
        dicho.starts_with("TENGO:").then_some(())
    });
    let (donde, reparte) = (otra.path().to_str().unwrap(), baja.direccion().to_string());
    let de = ["--peer", &semilla, "--peer", &reparte, "--clave", FRASE];
    let bajar = ["descargar", "clase.bin", "--carpeta", donde];
    let salida = orden(bajar.into_iter().chain(de));
    assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
    assert!(dicho(&salida).contains("2 fuentes"), "{}", dicho(&salida));
    assert!(fs::read(otra.path().join("clase.bin")).unwrap() == contenido);
}

#[test]
fn doscientos_saludos_equivocados_a_la_vez_no_estorban_a_uno_bueno() {
    let acta = datos(1_000_000);
    let (_carpeta, servidor) = nodo_con(&[("acta.bin", &acta)], &["--clave", FRASE]);
    let a = servidor.direccion();
    let malos: Vec<TcpStream> = (0..200).map(|_| conectar(a)).collect();
    thread::scope(|ambito| {
        for (n, mut malo) in malos.iter().enumerate() {
            ambito.spawn(move || {
                let saludo = [&b"CLAVE:1\n\0\x30"[..], &[n as u8; 48]].concat();
                malo.write_all(&saludo).unwrap();
                let mut contesta = [0; 10];
                malo.read_exact(&mut contesta).unwrap();
                assert_eq!(&contesta, b"CLAVE:1\n\0\0");
                assert!(
                    matches!(malo.read(&mut contesta), Ok(0) | Err(_)),
                    "y cierra"
                );
            });
        }
        let (bajado, dijo) = bajar_por(a, Truco::Nada, Truco::Nada);
        assert_eq!(bajado.as_ref(), Some(&acta), "{dijo}");
    });
    // Se ve, pero no doscientas veces.
    let dijo = servidor.esperar("[NO ENTRA]");
    assert_eq!(dijo.matches("[NO ENTRA]").count(), 1, "{dijo}");
}

/// Cada saludo que no acaba se va a los 10 s en total; y mientras, los buenos entran.
pub fn un_saludo_que_no_acaba_se_va_a_los_10_s_en_total() {
    let (_carpeta, servidor) = nodo_con(&[("acta.txt", b"hola")], &["--clave", FRASE]);
    let a = servidor.direccion();
    let goteo: &[u8] = b"CLAVE:1\n\0\x30";
    let casos: [(&str, &[u8], bool); 4] = [
        ("la palabra a medias", b"CLAV", false),
        ("la palabra, y nada", b"CLAVE:1\n", false),
        ("medio saludo", b"CLAVE:1\n\0\x30abc", false),
        ("gota a gota", goteo, true),
    ];
    let esperar_el_cierre = |caso: &str, empieza: &[u8], gotea: bool| {
        let mut conexion = conectar(a);
        let antes = Instant::now();
        conexion.write_all(empieza).unwrap();
        let mut otra = conexion.try_clone().unwrap();
        let goteo = thread::spawn(move || {
            while gotea && otra.write_all(b"x").is_ok() && antes.elapsed() < PACIENCIA {
                thread::sleep(Duration::from_millis(400));
            }
        });
        leer_todo(&mut conexion);
        let tardo = antes.elapsed().as_secs_f64();
        assert!((9.0..20.0).contains(&tardo), "{caso}: {tardo} s");
        let _ = conexion.shutdown(Shutdown::Both);
        goteo.join().unwrap();
    };
    thread::scope(|ambito| {
        for (caso, empieza, gotea) in casos {
            ambito.spawn(move || esperar_el_cierre(caso, empieza, gotea));
        }
        // Saludado, y luego callado.
        ambito.spawn(|| {
            let mut callado = con_clave(a, FRASE).unwrap();
            let antes = Instant::now();
            assert!(callado.leer_linea(PACIENCIA, "nada").unwrap().is_none());
            assert!((8.0..20.0).contains(&antes.elapsed().as_secs_f64()));
        });
        assert_eq!(
            pedir(&mut con_clave(a, FRASE).unwrap(), "BUSCAR:acta.txt\n"),
            "SI"
        );
    });
}

// ----- El laboratorio -----

#[test]
fn las_fallas_van_antes_de_cifrar_menos_trocear_y_cortar() {
    let acta = datos(300_000);
    let con_fallas = |lista: &str| {
        let opciones = ["--clave", FRASE, "--fallas", lista];
        nodo_con(&[("acta.bin", &acta)], &opciones)
    };
    // Mentir cambia lo que se cifra: se descifra bien, y es falso.
    let (_a, miente) = con_fallas("mentir=100%");
    let (bajado, dijo) = bajar_por(miente.direccion(), Truco::Nada, Truco::Nada);
    assert!(
        bajado.is_none() && dijo.contains("mandó un bloque falso"),
        "{dijo}"
    );
    // Trocear parte lo ya cifrado, y no se nota.
    let (_b, trocea) = con_fallas("trocear=1001");
    let (bajado, dijo) = bajar_por(trocea.direccion(), Truco::Nada, Truco::Nada);
    assert_eq!(bajado.as_ref(), Some(&acta), "{dijo}");
    // Callar: ni a la palabra.
    let (_c, calla) = con_fallas("callar=100%");
    let (bajado, dijo) = bajar_por(calla.direccion(), Truco::Nada, Truco::Nada);
    assert!(
        bajado.is_none() && dijo.contains("cerró cuando se le pidió la clave"),
        "{dijo}"
    );
    // Cortar corta lo cifrado, a mitad de un mensaje.
    let (_d, corta) = con_fallas("cortar=4096");
    let (bajado, dijo) = bajar_directo(corta.direccion());
    assert!(
        bajado.is_none() && dijo.contains("se cortó a la mitad"),
        "{dijo}"
    );
    let mut nuestra = con_clave(corta.direccion(), FRASE).unwrap();
    nuestra
        .escribir_datos(b"OBTENER:0:300000:acta.bin\n")
        .unwrap();
    let cortada = nuestra.leer_linea(PACIENCIA, "la respuesta");
    assert!(
        matches!(cortada, Ok(None) | Err(FalloRed::Cortada)),
        "{cortada:?}"
    );
}

#[test]
fn el_diario_cuenta_las_palabras_como_si_no_se_cifrara() {
    let aparte = tempfile::tempdir().unwrap();
    let (suyo, nuestro) = (aparte.path().join("suyo"), aparte.path().join("nuestro"));
    let suyo_escrito = suyo.to_str().unwrap();
    let carpeta = tempfile::tempdir().unwrap();
    fs::write(carpeta.path().join("acta.txt"), "hola").unwrap();
    let opciones = [
        "--peer",
        "127.0.0.1:9",
        "--clave",
        FRASE,
        "--diario",
        suyo_escrito,
    ];
    let mut servidor = Proceso::menu(carpeta.path(), &opciones);
    let a = servidor.direccion().to_string();
    let nuestro_escrito = nuestro.to_str().unwrap();
    let salida = orden([
        "buscar",
        "acta.txt",
        "--peer",
        &a,
        "--clave",
        FRASE,
        "--diario",
        nuestro_escrito,
    ]);
    assert_eq!(codigo(&salida), Some(0));
    servidor.escribir("3");
    assert_eq!(servidor.terminar(), Some(0));
    let palabras = |diario: &PathBuf| -> Vec<String> {
        let todo = fs::read_to_string(diario).unwrap();
        let linea = |linea: &str| -> Option<String> {
            let suceso: serde_json::Value = serde_json::from_str(linea).ok()?;
            let texto = suceso["texto"].as_str().filter(|texto| !texto.is_empty())?;
            Some(format!(
                "{} {} {texto}",
                suceso["suceso"].as_str()?,
                suceso["n"]
            ))
        };
        todo.lines().filter_map(linea).collect()
    };
    assert_eq!(
        palabras(&nuestro),
        [
            "envia 1 CLAVE:1",
            "recibe 1 CLAVE:1",
            "envia 2 BUSCAR:acta.txt",
            "recibe 2 SI"
        ]
    );
    assert_eq!(
        palabras(&suyo),
        [
            "recibe 1 CLAVE:1",
            "envia 1 CLAVE:1",
            "recibe 2 BUSCAR:acta.txt",
            "envia 2 SI"
        ]
    );
}

#[test]
fn hablar_habla_siempre_en_claro() {
    let (_carpeta, servidor) = nodo_con(&[], &["--clave", FRASE]);
    let mut programa = nodo();
    programa.args(["hablar", &servidor.direccion().to_string()]);
    let mut hablar = programa
        .env("NODO_CLAVE", FRASE)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .lanzar();
    hablar.stdin.take().unwrap().write_all(b"LISTAR\n").unwrap();
    let salida = acabar(hablar);
    assert!(dicho(&salida).contains(PIDE_CLAVE), "{}", dicho(&salida));
}

// ----- Lo que se escribe -----

#[test]
fn una_frase_que_no_vale_es_un_2() {
    let aparte = tempfile::tempdir().unwrap();
    let archivo = |nombre: &str, bytes: &[u8]| {
        fs::write(aparte.path().join(nombre), bytes).unwrap();
    };
    archivo("corta", b"corta\nuna segunda linea que no cuenta");
    archivo("vacia", b"");
    archivo("utf16", b"\xff\xfeb\0a\0");
    let con = |argumentos: &[&str], variable: Option<&str>| {
        let mut programa = nodo();
        programa.current_dir(aparte.path()).args(argumentos);
        variable.iter().for_each(|frase| {
            programa.env("NODO_CLAVE", frase);
        });
        programa.recoger()
    };
    let casos: [(&[&str], Option<&str>, &str); 9] = [
        (
            &["buscar", "x", "--clave", "diecinueve letras.."],
            None,
            "nodo clave",
        ),
        (
            &["--clave", "ñññññññññññññññññññ", "buscar", "x"],
            None,
            "nodo clave",
        ),
        (&["buscar", "x", "--clave", ""], None, "nodo clave"),
        (&["buscar", "x", "--clave-de", "corta"], None, "nodo clave"),
        (&["buscar", "x", "--clave-de", "vacia"], None, "nodo clave"),
        (
            &["buscar", "x", "--clave-de", "utf16"],
            None,
            "no es texto UTF-8",
        ),
        (&["buscar", "x", "--clave-de", "no-esta"], None, "no-esta"),
        (&["buscar", "x"], Some("corta"), "nodo clave"),
        (
            &["--clave-de", "corta", "buscar", "x", "--clave", FRASE],
            None,
            "no van juntos",
        ),
    ];
    for (argumentos, variable, dice) in casos {
        let salida = con(argumentos, variable);
        assert_eq!(
            codigo(&salida),
            Some(2),
            "{argumentos:?}: {}",
            quejas(&salida)
        );
        assert!(
            quejas(&salida).contains(dice),
            "{argumentos:?}: {}",
            quejas(&salida)
        );
    }
    // Una variable vacía no es «sin clave»: sin querer, se hablaría en claro.
    #[cfg(unix)]
    assert_eq!(codigo(&con(&["buscar", "x"], Some(""))), Some(2));
    // La que manda es la opción; y quien no habla con nadie no la necesita.
    assert_eq!(
        codigo(&con(
            &["listar", "--carpeta", ".", "--clave", FRASE],
            Some("corta")
        )),
        Some(0)
    );
    let inventada = con(&["clave"], Some("corta"));
    assert_eq!(codigo(&inventada), Some(0));
    let frase = dicho(&inventada);
    assert_eq!(frase.lines().count(), 1);
    archivo("buena", frase.as_bytes());
    assert_eq!(
        codigo(&con(
            &["listar", "--carpeta", ".", "--clave-de", "buena"],
            None
        )),
        Some(0)
    );
}

// ----- Sólo los escritos -----

#[test]
fn solo_entran_los_escritos_y_esta_maquina_y_se_ve() {
    let (_carpeta, servidor) = nodo_con(&[("acta.txt", b"hola")], &["--solo-peers"]);
    let a = servidor.direccion();
    assert_eq!(preguntar(a, b"BUSCAR:acta.txt"), b"SI");
    let Some(fuera) = desde_fuera(a) else {
        return eprintln!("aquí no hay una IP que no sea 127.x: no se prueba");
    };
    let ip: IpAddr = fuera.local_addr().unwrap().ip();
    // Se le cierra sin esperar a que hable.
    assert_eq!(leer_todo(&mut { fuera }), b"");
    assert_eq!(de_fuera(a, b"BUSCAR:acta.txt"), Some(Vec::new()));
    let dijo = servidor.esperar("[NO ENTRA]");
    assert!(dijo.contains(&format!("[NO ENTRA] {ip}:")), "{dijo}");
    assert!(dijo.contains("--solo-peers"), "{dijo}");
    // Escrito, aunque sea como IPv6, entra. Y sin la opción entra cualquiera.
    let escritos = [ip.to_string(), format!("[::ffff:{ip}]:7")];
    for escrito in &escritos {
        let opciones = ["--solo-peers", "--peer", escrito];
        let (_carpeta, servidor) = nodo_con(&[("acta.txt", b"hola")], &opciones);
        let contesta = de_fuera(servidor.direccion(), b"BUSCAR:acta.txt");
        // Con un peer de otra máquina se escucha en todas las redes, también en 127.0.0.1.
        assert_eq!(contesta.as_deref(), Some(&b"SI"[..]), "{escrito}");
    }
    let (_carpeta, abierto) = nodo_con(&[("acta.txt", b"hola")], &[]);
    assert_eq!(
        de_fuera(abierto.direccion(), b"BUSCAR:acta.txt").as_deref(),
        Some(&b"SI"[..])
    );
}
