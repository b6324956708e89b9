//! El nodo de la guía tal cual: se entiende consigo mismo y con el nodo de verdad, y tiene sus
//! defectos.
//!
//! Descarga siempre de su propio puerto. Para pedirle algo a quien ya lo tiene en 127.0.0.1 no hace
//! falta otra IP: su servidor no arranca, pero su menú sigue (es uno de los defectos). Y pierde
//! descargas: las que tienen que salir se repiten.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Output, Stdio};
use std::thread;

use super::comun::{
    Lanzar, PACIENCIA, Proceso, acabar, aceptar, codigo, conectar, datos, dicho, nodo, orden,
    preguntar, quejas,
};

const PREGUNTA: &str = "Seleccione una opción: ";

fn ingenuo(carpeta: &Path, opciones: &[&str]) -> Proceso {
    let mut programa = nodo();
    programa
        .args(["ingenuo", "--carpeta"])
        .arg(carpeta)
        .args(opciones);
    Proceso::nuevo(programa)
}

/// Un ingenuo que sólo pide, en el puerto (ya ocupado) de aquel a quien pide; a su menú se le
/// contesta con `entrada`.
fn pedir_a(puerto: u16, carpeta: &Path, entrada: &str) -> Output {
    let mut hijo = nodo()
        .args(["ingenuo", "127.0.0.1", "--puerto", &puerto.to_string()])
        .arg("--carpeta")
        .arg(carpeta)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .lanzar();
    let mut teclado = hijo.stdin.take().unwrap();
    // Si ya terminó, no le queda nada que leer.
    let _ = teclado.write_all(entrada.as_bytes());
    drop(teclado);
    acabar(hijo)
}

/// Un par que atiende dos conexiones: en la primera dice que lo tiene; en la segunda, `OK`, y la
/// corta sin un dato.
fn par_que_se_corta() -> u16 {
    let escucha = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let puerto = escucha.local_addr().unwrap().port();
    thread::spawn(move || {
        for respuesta in [b"SI", b"OK"] {
            let mut conexion = aceptar(&escucha).unwrap().0;
            conexion.set_read_timeout(Some(PACIENCIA)).unwrap();
            let _ = conexion.read(&mut [0; 1024]).unwrap();
            conexion.write_all(respuesta).unwrap();
        }
    });
    puerto
}

// ----- Se entiende -----

#[test]
fn dos_ingenuos_se_buscan_y_descargan() {
    if TcpListener::bind("127.0.0.2:0").is_err() {
        eprintln!("saltada: esta máquina no tiene 127.0.0.2, y la guía sólo descarga de su puerto");
        return;
    }
    let (suya, mia) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(suya.path().join("foto.bin"), datos(100_000)).unwrap();
    let uno = ingenuo(suya.path(), &["--puerto", "0"]);
    let mismo_puerto = uno.puerto.to_string();
    let opciones = ["--ip", "127.0.0.2", "--puerto", &mismo_puerto];
    let mut otro = ingenuo(
        mia.path(),
        &[&opciones[..], &["127.0.0.1", "127.0.0.2"]].concat(),
    );
    let mut vueltas = 1;
    while !otro
        .texto()
        .contains("[DESCARGADO EN COMPARTIDOS] foto.bin\n")
    {
        assert!(
            vueltas < 60,
            "no se pierden tantas seguidas: {}",
            otro.texto()
        );
        for linea in ["2", "foto.bin", "1"] {
            otro.escribir(linea);
        }
        vueltas += 1;
        otro.esperar_veces(PREGUNTA, vueltas);
    }
    assert!(
        otro.texto()
            .contains("Archivo disponible en:\n1. 127.0.0.1\nSelecciona")
    );
    assert!(fs::read(mia.path().join("foto.bin")).unwrap() == datos(100_000));
    uno.esperar("[CONEXIÓN] Desde ('127.0.0.1', ");
    uno.esperar("[ENVÍO COMPLETO] foto.bin");
    let otro_servidor = SocketAddr::from(([127, 0, 0, 2], otro.puerto));
    assert_eq!(preguntar(otro_servidor, b"BUSCAR:foto.bin"), b"SI");
    otro.escribir("1");
    otro.esperar("Archivos disponibles en este nodo:\n - foto.bin\n");
    // Un cliente callado no le impide salir: no espera a nadie.
    let _callado = conectar(otro_servidor);
    otro.escribir("3");
    otro.esperar("Saliendo...\n");
    assert_eq!(otro.terminar(), Some(0));
}

#[test]
fn el_nodo_de_verdad_le_pide() {
    let (suya, mia) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(suya.path().join("foto.bin"), datos(100_000)).unwrap();
    let guia = ingenuo(suya.path(), &["--puerto", "0"]);
    let (de, carpeta) = (guia.direccion().to_string(), mia.path().to_str().unwrap());
    let buscado = orden(["buscar", "foto.bin", "--peer", &de]);
    assert_eq!(dicho(&buscado), format!("{de}\n"));
    let bajado = orden(["descargar", "foto.bin", "--peer", &de, "--carpeta", carpeta]);
    assert_eq!(codigo(&bajado), Some(0), "{}", quejas(&bajado));
    assert!(fs::read(mia.path().join("foto.bin")).unwrap() == datos(100_000));
}

#[test]
fn le_pide_al_nodo_de_verdad() {
    let (suya, mia) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(suya.path().join("foto.bin"), datos(100_000)).unwrap();
    let de_verdad = Proceso::nodo(suya.path(), &[]);
    let entrada = "2\nno-esta\n".to_string() + &"2\nfoto.bin\n1\n".repeat(5) + "3\n";
    let salida = pedir_a(de_verdad.puerto, mia.path(), &entrada);
    assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
    assert!(!quejas(&salida).is_empty(), "su puerto estaba ocupado");
    for trozo in [
        "No se encontró ese archivo en la red.\n",
        "Archivo disponible en:\n1. 127.0.0.1\n",
        "[DESCARGADO EN COMPARTIDOS] foto.bin\n",
        "Saliendo...\n",
    ] {
        assert!(
            dicho(&salida).contains(trozo),
            "{trozo}: {}",
            dicho(&salida)
        );
    }
    assert!(fs::read(mia.path().join("foto.bin")).unwrap() == datos(100_000));
}

// ----- Sus defectos -----

#[test]
fn se_niega_fuera_de_127() {
    let temporal = tempfile::tempdir().unwrap();
    let carpeta = temporal.path().join("compartidos");
    for ip in ["0.0.0.0", "::1", "192.168.1.10", "128.0.0.1"] {
        let salida = orden([
            "ingenuo",
            "--ip",
            ip,
            "--carpeta",
            carpeta.to_str().unwrap(),
        ]);
        assert_eq!(codigo(&salida), Some(1), "{ip}");
        assert_eq!(dicho(&salida), "");
        assert!(quejas(&salida).contains("sólo escucha en 127.x"), "{ip}");
    }
    assert!(!carpeta.exists());
}

#[test]
fn sirve_lo_que_el_de_verdad_no() {
    let temporal = tempfile::tempdir().unwrap();
    let carpeta = temporal.path().join("compartidos");
    fs::create_dir(&carpeta).unwrap();
    fs::write(carpeta.join("nota.txt"), "mía").unwrap();
    fs::write(temporal.path().join("secreto.txt"), "secreto").unwrap();
    let guia = ingenuo(&carpeta, &["--puerto", "0"]);
    let de_verdad = Proceso::nodo(&carpeta, &[]);
    let casos: [(&str, &str, &str); 7] = [
        ("BUSCAR:nota.txt", "SI", "SI"),
        ("BUSCAR:otra.txt", "NO", "NO"),
        ("DESCARGAR:nota.txt", "OKmía", "OKmía"),
        ("DESCARGAR:otra.txt", "NOFILE", "NOFILE"),
        ("BUSCAR:", "SI", "NO"),
        ("BUSCAR:../secreto.txt", "SI", "NO"),
        ("DESCARGAR:../secreto.txt", "OKsecreto", "NOFILE"),
    ];
    for (peticion, ingenua, buena) in casos {
        let a_la_guia = preguntar(guia.direccion(), peticion.as_bytes());
        assert_eq!(a_la_guia, ingenua.as_bytes(), "{peticion}");
        let al_de_verdad = preguntar(de_verdad.direccion(), peticion.as_bytes());
        assert_eq!(al_de_verdad, buena.as_bytes(), "{peticion}");
    }
    assert_eq!(preguntar(guia.direccion(), b"LISTAR\n"), b"");
}

#[test]
fn un_corte_le_parece_un_exito_y_pisa_lo_que_habia() {
    let temporal = tempfile::tempdir().unwrap();
    let carpeta = temporal.path().join("compartidos");
    fs::create_dir(&carpeta).unwrap();
    for nombre in ["foto.bin", "../fuera.bin"] {
        fs::write(carpeta.join(nombre), "lo bueno").unwrap();
        let entrada = format!("2\n{nombre}\n1\n3\n");
        let salida = pedir_a(par_que_se_corta(), &carpeta, &entrada);
        assert!(
            dicho(&salida).contains("[DESCARGADO EN COMPARTIDOS]"),
            "{salida:?}"
        );
        assert_eq!(fs::read(carpeta.join(nombre)).unwrap(), b"");
    }
}

#[test]
fn el_fin_de_la_entrada_calla_y_una_mala_eleccion_acaba_con_el() {
    let carpeta = tempfile::tempdir().unwrap();
    let mut guia = ingenuo(carpeta.path(), &["--puerto", "0"]);
    guia.escribir("4");
    guia.esperar("Opción inválida.\n");
    guia.entrada = None;
    assert_eq!(guia.terminar(), Some(0));
    assert_eq!(guia.quejas(), "");
    for eleccion in ["", "hola", "0", "2", "-1", "99999999999999999999999"] {
        let entrada = format!("2\nfoto.bin\n{eleccion}\n3\n");
        let salida = pedir_a(par_que_se_corta(), carpeta.path(), &entrada);
        assert_eq!(codigo(&salida), Some(1), "{eleccion}");
        let frase = "ese número no está en la lista";
        assert!(
            quejas(&salida).contains(frase),
            "{eleccion}: {}",
            quejas(&salida)
        );
        assert!(!dicho(&salida).contains("Saliendo"));
    }
}

// ----- El archivo -----

#[test]
fn se_lee_de_una_vez_y_sus_defectos_estan_numerados() {
    let ruta = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/practicas/ingenuo.rs");
    let codigo = fs::read_to_string(ruta).unwrap();
    assert!(codigo.lines().count() <= 150);
    let usos: Vec<&str> = codigo.lines().filter(|l| l.starts_with("use ")).collect();
    assert!(
        usos.iter().all(|uso| uso.starts_with("use std::")),
        "{usos:?}"
    );
    let defectos = codigo.lines().filter(|linea| linea.contains("// Defecto "));
    let cuantos = defectos.clone().count();
    for (defecto, numero) in defectos.zip(1..) {
        assert!(
            defecto.contains(&format!("// Defecto {numero}: ")),
            "{defecto}"
        );
        let (_, cuarto) = defecto
            .split_once(" → ")
            .expect("dice dónde está arreglado");
        assert!(cuarto.ends_with(".rs"), "{defecto}");
    }
    assert!(cuantos >= 12);
}
