//! Nombres hostiles: por donde se pidan, la respuesta es que no está, enseguida y sin soltar nada
//! de fuera.

#![cfg(unix)]

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::comun::{
    Proceso, codigo, conectar, dicho, orden, preguntar, preguntar_y_cerrar, quejas,
};
use crate::guia::ERROR_AL_DESCARGAR;

/// Lo que está fuera de la carpeta y no debe salir por ningún camino.
const SECRETO: &str = "esto no se comparte";
/// Sobra para contestar, y es mucho menos que cualquier plazo en que algo se hubiera colgado.
const ENSEGUIDA: Duration = Duration::from_secs(5);

/// Una carpeta con de todo, y al lado un archivo que no está en ella. Devuelve los nombres con que
/// se intenta llegar a donde no se debe.
fn preparar(raiz: &Path) -> Vec<Vec<u8>> {
    let dentro = |nombre: &str| raiz.join("carpeta").join(nombre);
    fs::create_dir_all(dentro("sub")).unwrap();
    fs::create_dir(dentro(".oculta")).unwrap();
    fs::create_dir(raiz.join("fuera")).unwrap();
    for ruta in [
        raiz.join("fuera/secreto"),
        raiz.join("secreto"),
        dentro(".secreto"),
        dentro(".oculta/secreto"),
        dentro(".a.txt.part"),
        dentro("sin permiso"),
        dentro("a\nb"),
        dentro("con\\barra"),
    ] {
        fs::write(ruta, SECRETO).unwrap();
    }
    fs::write(
        raiz.join("carpeta").join(OsStr::from_bytes(b"\xff.txt")),
        SECRETO,
    )
    .unwrap();
    fs::write(dentro("bueno.txt"), "bueno").unwrap();
    fs::set_permissions(dentro("sin permiso"), fs::Permissions::from_mode(0o000)).unwrap();
    symlink(raiz.join("fuera/secreto"), dentro("enlace")).unwrap();
    symlink("../fuera/secreto", dentro("enlace relativo")).unwrap();
    symlink(raiz.join("fuera"), dentro("enlace a carpeta")).unwrap();
    symlink("/dev/zero", dentro("dispositivo")).unwrap();
    let tuberia = Command::new("mkfifo").arg(dentro("tuberia")).status();
    assert!(tuberia.unwrap().success());
    drop(UnixListener::bind(dentro("enchufe")).unwrap());
    let absoluta = raiz.join("secreto").to_str().unwrap().to_string();
    let mut nombres: Vec<Vec<u8>> = [
        "",
        ".",
        "..",
        "/",
        "//",
        "../secreto",
        "../fuera/secreto",
        "sub/../../secreto",
        "sub/../bueno.txt",
        "./bueno.txt",
        "sub//../bueno.txt",
        "//bueno.txt",
        "/bueno.txt",
        "bueno.txt/",
        "bueno.txt/.",
        "..\\secreto",
        "con\\barra",
        "%2e%2e/secreto",
        "%2e%2e%2fsecreto",
        "bueno.txt\0",
        "\0",
        "bueno.txt\0.png",
        ".secreto",
        ".oculta/secreto",
        ".a.txt.part",
        "sub",
        "sub/",
        "enlace",
        "enlace relativo",
        "enlace a carpeta",
        "enlace a carpeta/secreto",
        "dispositivo",
        "tuberia",
        "enchufe",
        "bueno.txt ",
        "BUENO~1.TXT",
        "a\tb",
        "a\u{7f}b",
    ]
    .map(|nombre| nombre.as_bytes().to_vec())
    .into();
    nombres.push(absoluta.clone().into_bytes());
    nombres.push(format!("/{absoluta}").into_bytes());
    nombres.push(vec![b'x'; 300]);
    nombres.push(vec![b'x'; 4010]);
    nombres.push("../".repeat(100).into_bytes());
    nombres.push("a/".repeat(1500).into_bytes());
    nombres.push(b"\xff.txt".to_vec());
    // Al administrador no le falta ningún permiso: para él es un archivo como los demás.
    if fs::read(dentro("sin permiso")).is_err() {
        nombres.push(b"sin permiso".to_vec());
    }
    nombres
}

fn con_nodo(prueba: impl FnOnce(&Proceso, &[Vec<u8>])) {
    let raiz = tempfile::tempdir().unwrap();
    let nombres = preparar(raiz.path());
    let nodo = Proceso::nodo(&raiz.path().join("carpeta"), &[]);
    prueba(&nodo, &nombres);
    assert_eq!(preguntar(nodo.direccion(), b"BUSCAR:bueno.txt"), b"SI");
}

fn pegar(palabra: &str, nombre: &[u8], resto: &str) -> Vec<u8> {
    [palabra.as_bytes(), nombre, resto.as_bytes()].concat()
}

#[test]
fn por_las_palabras_de_la_guia_no_se_llega() {
    con_nodo(|nodo, nombres| {
        for nombre in nombres {
            let antes = Instant::now();
            let buscado = preguntar(nodo.direccion(), &pegar("BUSCAR:", nombre, ""));
            assert_eq!(buscado, b"NO", "{}", nombre.escape_ascii());
            let bajado = preguntar(nodo.direccion(), &pegar("DESCARGAR:", nombre, ""));
            assert_eq!(bajado, b"NOFILE", "{}", nombre.escape_ascii());
            assert!(antes.elapsed() < ENSEGUIDA, "{}", nombre.escape_ascii());
        }
        // Con un salto de línea en medio; al final, en cambio, es de quien prueba con `nc`.
        assert_eq!(preguntar(nodo.direccion(), b"BUSCAR:a\nb"), b"NO");
    });
}

#[test]
fn por_las_palabras_ampliadas_no_se_llega() {
    con_nodo(|nodo, nombres| {
        for nombre in nombres {
            let antes = Instant::now();
            for palabra in ["INFO:", "BLOQUES:", "OBTENER:0:100:"] {
                let peticion = pegar(palabra, nombre, "\n");
                let llego = preguntar_y_cerrar(nodo.direccion(), &peticion);
                let llego = String::from_utf8(llego).unwrap();
                let bien = if nombre == b"\xff.txt" {
                    llego == "ERROR:la línea no es texto UTF-8\n"
                } else if peticion.len() > 4096 {
                    llego == "ERROR:línea de más de 4096 bytes\n"
                } else {
                    llego == "NOFILE\n"
                };
                assert!(bien, "{} → {llego}", peticion.escape_ascii());
            }
            assert!(antes.elapsed() < ENSEGUIDA, "{}", nombre.escape_ascii());
        }
    });
}

#[test]
fn no_se_ofrece_con_un_nombre_que_salga_de_la_carpeta() {
    let raiz = tempfile::tempdir().unwrap();
    let nombres = preparar(raiz.path());
    let carpeta = raiz.path().join("carpeta");
    let nodo = Proceso::nodo(&carpeta, &["--peer", "127.0.0.1:9"]);
    let antes = fs::read_dir(&carpeta).unwrap().count();
    let no_valen_para_guardar = nombres.iter().filter(|nombre| {
        // Estos son nombres corrientes: lo que hay con ellos en la carpeta no estorba para
        // ofrecerlos.
        let corrientes: [&[u8]; 7] = [
            b"sub",
            b"enlace",
            b"enlace relativo",
            b"enlace a carpeta",
            b"enlace a carpeta/secreto",
            b"dispositivo",
            b"tuberia",
        ];
        let otros: [&[u8]; 5] = [
            b"enchufe",
            b"BUENO~1.TXT",
            b"sin permiso",
            b"%2e%2e/secreto",
            b"%2e%2e%2fsecreto",
        ];
        !corrientes.contains(&nombre.as_slice()) && !otros.contains(&nombre.as_slice())
    });
    for nombre in no_valen_para_guardar {
        let llego = preguntar_y_cerrar(nodo.direccion(), &pegar("OFRECER:", nombre, "\n"));
        assert!(
            llego.starts_with(b"ERROR:"),
            "{} → {}",
            nombre.escape_ascii(),
            llego.escape_ascii()
        );
    }
    assert_eq!(fs::read_dir(&carpeta).unwrap().count(), antes);
}

#[test]
fn lo_ofrecido_no_se_guarda_a_traves_de_un_enlace() {
    let raiz = tempfile::tempdir().unwrap();
    preparar(raiz.path());
    let nodo = Proceso::nodo(&raiz.path().join("carpeta"), &["--peer", "127.0.0.1:9"]);
    // Quien ofrece acepta y sirve un archivo de verdad: lo único que lo impide es la carpeta.
    let contenido = b"intruso";
    let huella = blake3::hash(contenido);
    let mut conexion = conectar(nodo.direccion());
    conexion
        .write_all(b"OFRECER:enlace a carpeta/nuevo.txt\n")
        .unwrap();
    let mut oido = Vec::new();
    let mut trozo = [0; 1024];
    while !oido.ends_with(b"ERROR") {
        let leido = conexion.read(&mut trozo).unwrap_or(0);
        if leido == 0 {
            break;
        }
        oido.extend_from_slice(&trozo[..leido]);
        let linea = String::from_utf8_lossy(&trozo[..leido]).into_owned();
        let respuesta = match linea.lines().last().unwrap_or("").split(':').next() {
            Some("INFO") => format!("INFO:{}:{huella}\n", contenido.len()),
            Some("BLOQUES") => format!("BLOQUES:1\n{huella}\n"),
            Some("OBTENER") => format!("OK:{}\nintruso", contenido.len()),
            Some("RECIBIDO" | "ERROR") => break,
            _ => continue,
        };
        conexion.write_all(respuesta.as_bytes()).unwrap();
    }
    let fuera: Vec<_> = fs::read_dir(raiz.path().join("fuera")).unwrap().collect();
    assert_eq!(fuera.len(), 1, "{}", oido.escape_ascii());
    assert!(String::from_utf8_lossy(&oido).contains("ERROR:"));
}

#[test]
fn no_se_listan() {
    con_nodo(|nodo, _| {
        let lista = preguntar_y_cerrar(nodo.direccion(), b"LISTAR\n");
        let lista = String::from_utf8(lista).unwrap();
        let esperados = ["bueno.txt", "sin permiso"];
        let nombres: Vec<&str> = lista
            .lines()
            .skip(1)
            .map(|linea| linea.splitn(3, ':').nth(2).unwrap())
            .collect();
        assert_eq!(nombres, esperados, "{lista}");
        assert!(lista.starts_with(&format!("LISTA:{}\n", esperados.len())));
    });
}

#[test]
fn pedir_uno_asi_desde_la_linea_de_ordenes_se_dice_sin_tocar_nada() {
    let carpeta = tempfile::tempdir().unwrap();
    fs::write(carpeta.path().join("bueno.txt"), "bueno").unwrap();
    let nodo = Proceso::nodo(carpeta.path(), &[]);
    let de = nodo.direccion().to_string();
    let destino = tempfile::tempdir().unwrap();
    for nombre in [
        "../fuera.txt",
        "/fuera.txt",
        "a/../b",
        ".oculto",
        "a:b",
        "NUL",
    ] {
        let salida = orden([
            "descargar",
            nombre,
            "--de",
            &de,
            "--carpeta",
            destino.path().to_str().unwrap(),
        ]);
        assert_eq!(codigo(&salida), Some(1), "{nombre}");
        assert!(
            quejas(&salida).contains(ERROR_AL_DESCARGAR),
            "{nombre}: {}",
            quejas(&salida)
        );
        assert_eq!(dicho(&salida), "");
    }
    assert_eq!(fs::read_dir(destino.path()).unwrap().count(), 0);
}

#[test]
fn por_http_no_se_llega() {
    con_nodo(|nodo, nombres| {
        for nombre in nombres {
            // Tal como se escribiría, y con cada byte escapado: `%2e%2e%2f` también sube.
            let escapado: String = nombre.iter().map(|b| format!("%{b:02x}")).collect();
            let crudo: Vec<u8> = nombre
                .iter()
                .copied()
                .filter(|b| b.is_ascii_graphic())
                .collect();
            for ruta in [escapado.as_bytes(), &crudo] {
                let peticion = [
                    b"GET /files/",
                    ruta,
                    b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
                ]
                .concat();
                let antes = Instant::now();
                let llego = preguntar(nodo.direccion(), &peticion);
                let llego = String::from_utf8_lossy(&llego).into_owned();
                let visto = ruta.escape_ascii();
                assert!(!llego.contains(SECRETO), "{visto}: {llego}");
                // Sólo lo que sin los caracteres quitados es otro nombre (el de un archivo que sí
                // se comparte) se da.
                let otro_nombre = ruta == b"bueno.txt";
                assert!(
                    llego.starts_with("HTTP/1.1 4") || otro_nombre || nombre.is_empty(),
                    "{visto}: {llego}"
                );
                assert!(antes.elapsed() < ENSEGUIDA, "{visto}");
            }
        }
    });
}
