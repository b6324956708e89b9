//! El menú de la guía: lo que se escriba, lo que llegue mientras tanto y Ctrl-C.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::comun::{
    Lanzar, PACIENCIA, Proceso, aceptar, conectar, entrantes, nodo, preguntar_y_cerrar,
};
use crate::guia::{
    ARCHIVOS_DISPONIBLES, CONEXION, DE_DONDE, DESCARGADO, DISPONIBLE_EN, ENVIO_COMPLETO,
    ERROR_AL_DESCARGAR, ESCUCHANDO, NO_SE_ENCONTRO, OPCION_INVALIDA, QUE_ARCHIVO, SALIENDO,
    SELECCIONE,
};
use crate::nodo::menu::MENU;

/// Nadie escucha en el puerto 1.
const NADIE: &str = "127.0.0.1:1";

fn carpeta(archivos: &[(&str, &str)]) -> tempfile::TempDir {
    let carpeta = tempfile::tempdir().unwrap();
    for (nombre, contenido) in archivos {
        std::fs::write(carpeta.path().join(nombre), contenido).unwrap();
    }
    carpeta
}

fn menu_con(carpeta: &Path, peers: &[&str]) -> Proceso {
    let opciones: Vec<&str> = peers.iter().flat_map(|peer| ["--peer", peer]).collect();
    let menu = Proceso::menu(carpeta, &opciones);
    menu.esperar(SELECCIONE);
    menu
}

/// Escribe una línea en el menú y espera a que vuelva a preguntar: da lo dicho entre medias.
fn elegir(menu: &mut Proceso, lineas: &[&[u8]]) -> String {
    let antes = menu.texto();
    let preguntas = antes.matches(SELECCIONE).count();
    for linea in lineas {
        menu.teclear(&[linea, &b"\n"[..]].concat());
    }
    let despues = menu.esperar_veces(SELECCIONE, preguntas + 1);
    despues[antes.len()..].to_string()
}

fn salir(mut menu: Proceso) {
    menu.escribir("3");
    assert_eq!(menu.terminar(), Some(0));
    assert!(
        menu.texto().ends_with(&format!("{SALIENDO}\n")),
        "{}",
        menu.texto()
    );
}

// ----- Lo que se escriba -----

#[test]
fn el_menu_es_el_de_la_guia_con_cinco_mas() {
    let carpeta = carpeta(&[]);
    let menu = menu_con(carpeta.path(), &[NADIE]);
    let texto = menu.texto();
    let lineas: Vec<&str> = texto.lines().collect();
    assert_eq!(lineas[0], format!("{ESCUCHANDO} {}", menu.puerto));
    let donde = lineas.iter().position(|l| *l == MENU[1]).unwrap();
    assert_eq!(&lineas[donde - 1..donde - 1 + MENU.len()], MENU);
    // El título, con un blanco encima; las tres de la guía y, detrás, las nuestras.
    let numeros: Vec<&str> = MENU[2..]
        .iter()
        .map(|o| o.split_once(". ").unwrap().0)
        .collect();
    let del_1_en_adelante: Vec<String> = (1..=MENU.len() - 2).map(|n| n.to_string()).collect();
    assert_eq!(
        (MENU[0], numeros),
        ("", del_1_en_adelante.iter().map(|n| n.as_str()).collect())
    );
    assert!(MENU.len() - 2 >= 3 + 5);
    salir(menu);
}

#[test]
fn lo_que_no_es_una_opcion_tiene_su_frase_y_el_menu_otra_vez() {
    let carpeta = carpeta(&[]);
    let mut menu = menu_con(carpeta.path(), &[NADIE]);
    let enorme = vec![b'9'; 200_000];
    let casos: [&[u8]; 12] = [
        b"", b"   ", b"letras", b"99", b"-1", b"0", b"1.5", b"1 2", b"\xff", b"\xc3", b"\x1b[A",
        &enorme,
    ];
    for caso in casos {
        let dijo = elegir(&mut menu, &[caso]);
        let caso = &caso[..caso.len().min(20)];
        assert!(
            dijo.starts_with(&format!("{OPCION_INVALIDA}\n\n{}\n", MENU[1])),
            "{}: {dijo}",
            caso.escape_ascii()
        );
    }
    // Con espacios alrededor, o con el `\r` de un terminal de Windows, es la opción.
    for caso in [&b" 1 "[..], b"1\r"] {
        assert!(elegir(&mut menu, &[caso]).contains(ARCHIVOS_DISPONIBLES));
    }
    salir(menu);
}

#[test]
fn una_eleccion_mala_de_la_lista_vuelve_al_menu() {
    let (suya, nuestra) = (carpeta(&[("a.txt", "hola")]), carpeta(&[]));
    let otro = Proceso::nodo(suya.path(), &[]);
    let mut menu = menu_con(nuestra.path(), &[&otro.direccion().to_string()]);
    let enviable = suya.path().join("a.txt").display().to_string();
    let malas: [&[u8]; 8] = [
        b"",
        b"letras",
        b"99",
        b"-1",
        b"0",
        b"2",
        b"\xff",
        b"18446744073709551616",
    ];
    for mala in malas {
        let dijo = elegir(&mut menu, &[b"2", b"a.txt", mala]);
        assert!(
            dijo.contains(OPCION_INVALIDA),
            "{}: {dijo}",
            mala.escape_ascii()
        );
        assert!(!dijo.contains(DESCARGADO), "{dijo}");
        let dijo = elegir(&mut menu, &[b"5", enviable.as_bytes(), mala]);
        assert!(
            dijo.contains(OPCION_INVALIDA),
            "{}: {dijo}",
            mala.escape_ascii()
        );
    }
    for vacio in [&b""[..], b"  "] {
        assert!(elegir(&mut menu, &[b"2", vacio]).contains("No escribiste ningún nombre."));
        assert!(elegir(&mut menu, &[b"5", vacio]).contains("No escribiste ningún nombre."));
        elegir(&mut menu, &[b"6", vacio]);
    }
    for roto in [&b"\xff\xfe"[..], b"../../x", b"/etc/passwd", b"\x1b[2J"] {
        let dijo = elegir(&mut menu, &[b"2", roto]);
        assert!(dijo.contains(NO_SE_ENCONTRO), "{dijo}");
    }
    salir(menu);
}

#[test]
fn el_fin_de_la_entrada_en_mitad_de_cualquier_pregunta_es_salir() {
    let (suya, nuestra) = (
        carpeta(&[("a.txt", "hola")]),
        carpeta(&[("b.txt", "adiós")]),
    );
    let otro = Proceso::nodo(suya.path(), &[]);
    let peer = otro.direccion().to_string();
    for (escrito, pregunta) in [
        ("", SELECCIONE),
        ("2\n", QUE_ARCHIVO),
        ("2\na.txt\n", DE_DONDE),
        ("5\n", "enviar"),
        ("5\nb.txt\n", "(número): "),
        ("6\n", "ensaje"),
    ] {
        let mut menu = menu_con(nuestra.path(), &[&peer]);
        menu.teclear(escrito.as_bytes());
        menu.esperar(pregunta);
        menu.entrada = None;
        assert_eq!(menu.terminar(), Some(0), "{escrito:?}: {}", menu.texto());
        assert!(
            menu.texto().ends_with(&format!("{SALIENDO}\n")),
            "{}",
            menu.texto()
        );
    }
    // La última línea, sin su fin de línea, también se lee.
    let mut menu = menu_con(nuestra.path(), &[&peer]);
    menu.teclear(b"1");
    menu.entrada = None;
    assert_eq!(menu.terminar(), Some(0));
    assert!(menu.texto().contains("b.txt"));
}

#[test]
fn si_nadie_lee_la_salida_el_nodo_no_se_queda_girando() {
    let carpeta = carpeta(&[]);
    let mut programa = nodo();
    programa
        .args(["--puerto", "0", "--carpeta"])
        .arg(carpeta.path());
    let mut hijo = programa
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .lanzar();
    drop(hijo.stdout.take());
    // Cada vuelta falla al pintar: en la primera que lo nota, se va.
    let mut entrada = hijo.stdin.take().unwrap();
    while entrada.write_all(b"1\n").is_ok() {
        thread::yield_now();
    }
    assert_eq!(hijo.wait().unwrap().code(), Some(1));
}

// ----- Las ocho opciones -----

#[test]
fn las_ocho_opciones_entre_dos_nodos() {
    let suya = carpeta(&[("a.txt", "hola"), ("mi foto.txt", "foto")]);
    let nuestra = carpeta(&[("b.txt", "adiós")]);
    let otro = Proceso::nodo(suya.path(), &["--nombre", "beatriz", "--peer", NADIE]);
    let peer = otro.direccion().to_string();
    let mut menu = menu_con(nuestra.path(), &[&peer]);

    let uno = elegir(&mut menu, &[b"1"]);
    assert!(
        uno.contains(&format!("\n{ARCHIVOS_DISPONIBLES}\n - b.txt")),
        "{uno}"
    );

    let dos = elegir(&mut menu, &[b"2", b"mi foto.txt", b"1"]);
    assert!(
        dos.contains(&format!("{DISPONIBLE_EN}\n1. {peer}\n")),
        "{dos}"
    );
    assert!(
        !dos.contains("0. de todos"),
        "con uno solo no hay «todos»: {dos}"
    );
    assert!(dos.contains(&format!("{DESCARGADO} mi foto.txt")), "{dos}");
    assert_eq!(
        std::fs::read(nuestra.path().join("mi foto.txt")).unwrap(),
        b"foto"
    );
    let otra_vez = elegir(&mut menu, &[b"2", b"mi foto.txt", b"1"]);
    assert!(otra_vez.contains("[YA LO TIENES]"), "{otra_vez}");

    let cuatro = elegir(&mut menu, &[b"4"]);
    assert!(
        cuatro.contains("a.txt") && cuatro.contains(&peer),
        "{cuatro}"
    );

    let cinco = elegir(&mut menu, &[b"5", b"b.txt", b"1"]);
    assert!(cinco.contains(ENVIO_COMPLETO), "{cinco}");
    assert_eq!(
        std::fs::read(suya.path().join("b.txt")).unwrap(),
        "adiós".as_bytes()
    );

    let seis = elegir(&mut menu, &[b"6", "hola, ¿estás?".as_bytes()]);
    assert!(seis.contains(&format!("{peer} lo recibió")), "{seis}");
    otro.esperar("[MENSAJE] nodo-");
    otro.esperar("hola, ¿estás?");

    assert!(elegir(&mut menu, &[b"7"]).contains("No ha llegado ningún mensaje."));

    let ocho = elegir(&mut menu, &[b"8"]);
    for trozo in [
        "--nombre",
        "--puerto",
        "--carpeta",
        "--peer",
        "beatriz",
        &peer,
    ] {
        assert!(ocho.contains(trozo), "falta {trozo}: {ocho}");
    }
    salir(menu);
}

#[test]
fn los_resultados_salen_en_el_orden_de_la_lista_y_el_cero_es_de_todos() {
    let suya = carpeta(&[("a.txt", "hola")]);
    let rapido = Proceso::nodo(suya.path(), &[]);
    let (lento, contesta) = par_lento();
    let nuestra = carpeta(&[]);
    let (rapida, lenta) = (rapido.direccion().to_string(), lento.to_string());
    let mut menu = menu_con(nuestra.path(), &[&lenta, NADIE, &rapida]);
    menu.teclear(b"2\na.txt\n");
    // El lento contesta cuando el rápido ya lo ha hecho.
    rapido.esperar(CONEXION);
    contesta.send(()).unwrap();
    let dijo = menu.esperar(DE_DONDE);
    assert!(
        dijo.contains(&format!("0. de todos a la vez\n1. {lenta}\n2. {rapida}\n")),
        "{dijo}"
    );
    let dijo = elegir(&mut menu, &[b"2"]);
    assert!(dijo.contains(&format!("{DESCARGADO} a.txt")), "{dijo}");
    salir(menu);
}

/// Un par que contesta `SI` a la primera búsqueda cuando se le dice.
fn par_lento() -> (SocketAddr, Sender<()>) {
    let escucha = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let direccion = escucha.local_addr().unwrap();
    let (decir, oir) = channel();
    thread::spawn(move || {
        let (mut conexion, _) = aceptar(&escucha).unwrap();
        oir.recv_timeout(PACIENCIA).unwrap();
        conexion.write_all(b"SI").unwrap();
    });
    (direccion, decir)
}

#[test]
fn uno_mismo_no_sale_en_sus_busquedas() {
    let carpeta = carpeta(&[("a.txt", "hola")]);
    // Su dirección tiene que estar entre los peers antes de arrancar: se le busca un puerto libre
    // y, si justo lo toma otro, se prueba con otro.
    let mut menu = (0..5)
        .find_map(|_| {
            let libre = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let yo = libre.local_addr().unwrap();
            drop(libre);
            let mut programa = nodo();
            programa
                .args([
                    "--puerto",
                    &yo.port().to_string(),
                    "--peer",
                    &yo.to_string(),
                ])
                .arg("--carpeta")
                .arg(carpeta.path());
            let arrancar = AssertUnwindSafe(|| Proceso::nuevo(programa));
            catch_unwind(arrancar).ok()
        })
        .unwrap();
    menu.esperar(SELECCIONE);
    let dijo = elegir(&mut menu, &[b"2", b"a.txt"]);
    assert!(dijo.contains(NO_SE_ENCONTRO), "{dijo}");
    assert_eq!(
        std::fs::read(carpeta.path().join("a.txt")).unwrap(),
        b"hola"
    );
    // Sin más nodos que él, las opciones que van a los demás lo dicen.
    assert!(elegir(&mut menu, &[b"8"]).contains("pregunta a nadie"));
    for para_otros in [b"4", b"5", b"6"] {
        assert!(elegir(&mut menu, &[para_otros]).contains("No hay más nodos"));
    }
    salir(menu);
}

// ----- Lo que llegue mientras tanto -----

#[test]
fn lo_que_llega_se_ve_al_momento_y_la_pregunta_se_repite_debajo() {
    let carpeta = carpeta(&[("a.txt", "hola")]);
    let mut menu = menu_con(carpeta.path(), &[NADIE]);
    // En el menú y en mitad de otra pregunta.
    for pregunta in [SELECCIONE, QUE_ARCHIVO] {
        menu.esperar(pregunta);
        let veces = menu.texto().matches(pregunta).count();
        let mensaje = format!("MENSAJE:ana:hola {veces}{}\n", pregunta.len());
        assert_eq!(
            preguntar_y_cerrar(menu.direccion(), mensaje.as_bytes()),
            b"RECIBIDO\n"
        );
        menu.esperar(&format!(
            "[MENSAJE] ana (127.0.0.1): hola {veces}{}\n",
            pregunta.len()
        ));
        let texto = menu.esperar_veces(pregunta, veces + 1);
        assert!(
            texto.contains(&format!("\n{CONEXION} 127.0.0.1:")),
            "{texto}"
        );
        if pregunta == SELECCIONE {
            menu.escribir("2");
        }
    }
    // Lo último es siempre la pregunta, para seguir escribiendo donde se estaba.
    let texto = menu.texto();
    assert!(texto.ends_with(QUE_ARCHIVO), "{texto}");
    menu.escribir("no-esta");
    menu.esperar(NO_SE_ENCONTRO);
    salir(menu);
}

// ----- Ctrl-C -----

#[cfg(unix)]
#[test]
fn ctrl_c_en_el_menu_o_en_una_pregunta_sale_con_130() {
    let carpeta = carpeta(&[]);
    for (escrito, pregunta) in [("", SELECCIONE), ("2\n", QUE_ARCHIVO)] {
        let mut menu = menu_con(carpeta.path(), &[NADIE]);
        menu.teclear(escrito.as_bytes());
        menu.esperar(pregunta);
        menu.senal("INT");
        assert_eq!(menu.terminar(), Some(130));
        assert!(
            menu.texto().ends_with(&format!("\n{SALIENDO}\n")),
            "{}",
            menu.texto()
        );
    }
    let mut menu = menu_con(carpeta.path(), &[NADIE]);
    menu.senal("TERM");
    assert_eq!(menu.terminar(), Some(130));
}

/// Un nodo de la guía que tiene de todo y no acaba nunca: da un poco de archivo y calla, o (si se
/// le pide `callado`) ni contesta. Avisa de cada descarga que le piden.
fn guia_que_no_acaba() -> (SocketAddr, Receiver<()>) {
    let escucha = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let direccion = escucha.local_addr().unwrap();
    let (decir, oir) = channel();
    thread::spawn(move || {
        for conexion in entrantes(&escucha) {
            let decir = decir.clone();
            thread::spawn(move || no_acabar(conexion, &decir));
        }
    });
    (direccion, oir)
}

fn no_acabar(mut conexion: TcpStream, decir: &Sender<()>) {
    let mut solicitud = [0; 1024];
    let leido = conexion.read(&mut solicitud).unwrap_or(0);
    let solicitud = String::from_utf8_lossy(&solicitud[..leido]).into_owned();
    let respuesta: &[u8] = match solicitud.split_once(':') {
        Some(("BUSCAR", _)) => return conexion.write_all(b"SI").unwrap(),
        Some(("DESCARGAR", "callado")) => b"",
        Some(("DESCARGAR", _)) => b"OKun poco",
        _ => return,
    };
    conexion.write_all(respuesta).unwrap();
    decir.send(()).unwrap();
    // Hasta que el otro se vaya.
    let _ = conexion.read(&mut [0]);
}

#[cfg(unix)]
#[test]
fn ctrl_c_en_una_descarga_la_cancela_y_vuelve_al_menu() {
    let nuestra = carpeta(&[]);
    let (peer, _pedida) = guia_que_no_acaba();
    let mut menu = menu_con(nuestra.path(), &[&peer.to_string()]);
    menu.teclear(b"2\na.txt\n1\n");
    menu.esperar_queja("[SIN COMPROBAR]");
    menu.senal("INT");
    menu.esperar(&format!("{ERROR_AL_DESCARGAR} a.txt: descarga cancelada"));
    menu.esperar_veces(MENU[1], 2);
    assert!(!nuestra.path().join("a.txt").exists());
    // Sigue siendo un nodo: sirve, y se sale por donde siempre.
    conectar(menu.direccion());
    menu.esperar(CONEXION);
    salir(menu);
}

#[cfg(unix)]
#[test]
fn ctrl_c_corta_tambien_a_quien_ni_siquiera_contesta() {
    let nuestra = carpeta(&[]);
    let (peer, pedida) = guia_que_no_acaba();
    let mut menu = menu_con(nuestra.path(), &[&peer.to_string()]);
    menu.teclear(b"2\ncallado\n1\n");
    pedida.recv_timeout(PACIENCIA).unwrap();
    let antes = Instant::now();
    menu.senal("INT");
    menu.esperar(&format!("{ERROR_AL_DESCARGAR} callado: descarga cancelada"));
    // Sin cortarlo habría que esperar los 10 s que se le dan para contestar.
    assert!(antes.elapsed() < Duration::from_secs(6));
    menu.esperar_veces(SELECCIONE, 2);
    salir(menu);
}
