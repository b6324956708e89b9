//! Las pruebas de los ejercicios de `src/README.md`: cada una dice si el suyo está hecho.
//!
//! Todas fallan con el programa como viene, y por eso `cargo test` se las salta. Se hace una con
//! `cargo test ejercicio_01 -- --ignored`. Hablan con el programa por fuera, así que compilan antes
//! de empezar; lo que dicen al fallar orienta.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::thread;

use super::comun::practicas::{Programa, backend, libre};
use super::comun::{
    Lanzar, PACIENCIA, Proceso, codigo, conectar, dicho, nodo, orden, preguntar_y_cerrar, quejas,
};
use crate::guia::SELECCIONE;

/// Un nodo con una carpeta vacía.
fn un_nodo(opciones: &[&str]) -> (tempfile::TempDir, Proceso) {
    let carpeta = tempfile::tempdir().unwrap();
    let nodo = Proceso::nodo(carpeta.path(), opciones);
    (carpeta, nodo)
}

/// Lo que contesta un nodo a una palabra, sin su fin de línea.
fn contesta(a: SocketAddr, palabra: &str) -> String {
    let respuesta = preguntar_y_cerrar(a, format!("{palabra}\n").as_bytes());
    let respuesta = String::from_utf8_lossy(&respuesta);
    respuesta.trim_end().to_string()
}

/// Lo que no cuadra, y dónde mirar.
#[track_caller]
fn orientar(ejercicio: u8, se_pidio: &str, llego: &str, se_esperaba: &str, mira: &str) -> ! {
    let llego = llego.trim_end();
    panic!(
        "\nejercicio {ejercicio}: {se_pidio}\n  llegó:       «{llego}»\n  se esperaba: \
         «{se_esperaba}»\n  mira {mira}\n"
    )
}

/// Elige en el menú la opción que se llama así, tenga el número que tenga, y espera a que diga
/// algo que cumpla.
#[track_caller]
fn elegir_en_el_menu(
    ejercicio: u8,
    menu: &mut Proceso,
    opcion: &str,
    sirve: impl Fn(&str) -> bool,
    se_esperaba: &str,
) {
    let dicho = menu.esperar(SELECCIONE);
    let numero = dicho.lines().find_map(|linea| {
        let (numero, nombre) = linea.split_once(". ")?;
        (nombre == opcion).then(|| numero.to_string())
    });
    let en_el_menu = "src/nodo/menu.rs (MENU y una_vuelta) y src/nodo/acciones/nuestras.rs";
    let Some(numero) = numero else {
        let falta = format!("<número>. {opcion}");
        orientar(
            ejercicio,
            "el menú no tiene la opción",
            "nada",
            &falta,
            en_el_menu,
        )
    };
    menu.escribir(&numero);
    menu.escribir("3");
    menu.terminar();
    let dicho = menu.texto();
    if !dicho.lines().any(sirve) {
        let se_pidio = format!("se eligió «{numero}. {opcion}»");
        orientar(ejercicio, &se_pidio, &dicho, se_esperaba, en_el_menu)
    }
}

/// ¿Es `10:32`?
fn es_hora(texto: &str) -> bool {
    let dos_cifras = |parte: &str| parte.len() == 2 && parte.parse::<u8>().is_ok();
    let partes = texto.split_once(':');
    partes.is_some_and(|(hora, minutos)| dos_cifras(hora) && dos_cifras(minutos))
}

#[test]
#[ignore = "ejercicio"]
fn ejercicio_01_la_palabra_hora() {
    let (_carpeta, otro) = un_nodo(&[]);
    let respuesta = contesta(otro.direccion(), "HORA");
    if !respuesta.strip_prefix("HORA:").is_some_and(es_hora) {
        let mira = "src/nodo/palabras/protocolo.rs y src/nodo/palabras/contestar.rs";
        orientar(
            1,
            "al nodo se le dijo «HORA»",
            &respuesta,
            "HORA:10:32",
            mira,
        );
    }
    let dos = contesta(otro.direccion(), "HORA\nHORA");
    if dos
        .lines()
        .filter(|linea| linea.starts_with("HORA:"))
        .count()
        != 2
    {
        let se_pidio = "dos «HORA» por una conexión: tras contestar, se sigue leyendo";
        orientar(
            1,
            se_pidio,
            &dos,
            "dos líneas",
            "src/nodo/palabras/contestar.rs",
        );
    }
    let (aparte, peer) = (tempfile::tempdir().unwrap(), otro.direccion().to_string());
    let mut menu = Proceso::menu(aparte.path(), &["--peer", &peer]);
    let con_hora = |linea: &str| linea.contains(&peer) && linea.contains("HORA:");
    let se_esperaba = format!("{peer} HORA:10:32");
    elegir_en_el_menu(1, &mut menu, "Hora de los nodos", con_hora, &se_esperaba);
}

#[test]
#[ignore = "ejercicio"]
fn ejercicio_02_una_cuarta_fila() {
    let aparte = tempfile::tempdir().unwrap();
    let carpeta = aparte.path().join("compartidos").join("nodo4");
    fs::create_dir_all(&carpeta).unwrap();
    fs::write(carpeta.join("del-cuarto.txt"), "4").unwrap();
    let mut listar = nodo();
    listar.current_dir(&aparte).args(["listar", "--nodo", "4"]);
    let salida = listar.recoger();
    if dicho(&salida) != "del-cuarto.txt\n" {
        let llego = dicho(&salida) + &quejas(&salida);
        let se_pidio = "`nodo listar --nodo 4`, con compartidos/nodo4/del-cuarto.txt";
        orientar(
            2,
            se_pidio,
            &llego,
            "del-cuarto.txt",
            "src/config.rs (PEERS)",
        );
    }
    // Los otros tres le preguntan, y es el 6004.
    let mut servir = nodo();
    servir
        .current_dir(&aparte)
        .args(["--nodo", "4", "--puerto", "0"]);
    let mut cuarto = Proceso::nuevo(servir);
    cuarto.escribir("8");
    cuarto.escribir("3");
    cuarto.terminar();
    let estado = cuarto.texto();
    for puerto in 6001..=6004 {
        if !estado.contains(&format!("127.0.0.1:{puerto}")) {
            let se_pidio = format!("el estado del nodo 4 no nombra el puerto {puerto}");
            let se_esperaba = "pregunta a 127.0.0.1:6001, …, 127.0.0.1:6004";
            orientar(2, &se_pidio, &estado, se_esperaba, "src/config.rs (PEERS)");
        }
    }
    let raiz = Path::new(env!("CARGO_MANIFEST_DIR"));
    let suya = fs::read_dir(raiz.join("compartidos").join("nodo4"));
    if !suya.is_ok_and(|archivos| archivos.count() > 0) {
        let se_esperaba = "compartidos/nodo4, con algún archivo";
        orientar(
            2,
            "la carpeta del nodo 4",
            "no está, o está vacía",
            se_esperaba,
            "compartidos/",
        );
    }
}

#[test]
#[ignore = "ejercicio"]
fn ejercicio_03_una_opcion_de_menu() {
    let carpeta = tempfile::tempdir().unwrap();
    fs::write(carpeta.path().join("a.txt"), "hola").unwrap();
    fs::write(carpeta.path().join("b.txt"), vec![b'x'; 1200]).unwrap();
    let mut menu = Proceso::menu(carpeta.path(), &[]);
    let se_esperaba = "Compartes 2 archivos: 1,2 kB";
    let sirve = |linea: &str| linea.ends_with(se_esperaba);
    elegir_en_el_menu(3, &mut menu, "Cuánto comparto", sirve, se_esperaba);
    let vacia = tempfile::tempdir().unwrap();
    let mut menu = Proceso::menu(vacia.path(), &[]);
    let se_esperaba = "Compartes 0 archivos: 0 bytes";
    let sirve = |linea: &str| linea.ends_with(se_esperaba);
    elegir_en_el_menu(3, &mut menu, "Cuánto comparto", sirve, se_esperaba);
}

#[test]
#[ignore = "ejercicio"]
fn ejercicio_04_buscar_sin_distinguir_mayusculas() {
    let carpeta = tempfile::tempdir().unwrap();
    fs::create_dir(carpeta.path().join("Apuntes")).unwrap();
    fs::write(carpeta.path().join("Apuntes/Ñandú.txt"), "hola").unwrap();
    let nodo = Proceso::nodo(carpeta.path(), &[]);
    let casos = [
        ("BUSCAR:Apuntes/Ñandú.txt", "SI"),
        ("BUSCAR:apuntes/ñandú.TXT", "SI"),
        ("BUSCAR:APUNTES/ÑANDÚ.TXT", "SI"),
        // Sin tilde es otra letra, y un trozo no es el nombre.
        ("BUSCAR:apuntes/ñandu.txt", "NO"),
        ("BUSCAR:ñandú.txt", "NO"),
        ("BUSCAR:", "NO"),
        ("DESCARGAR:no-esta.txt", "NOFILE"),
    ];
    for (peticion, se_esperaba) in casos {
        let respuesta = contesta(nodo.direccion(), peticion);
        if respuesta != se_esperaba {
            let se_pidio = format!("con Apuntes/Ñandú.txt en la carpeta, «{peticion}»");
            let mira = "src/nodo/servidor.rs (responder_a_la_guia) y Nodo::lista";
            orientar(4, &se_pidio, &respuesta, se_esperaba, mira);
        }
    }
}

#[test]
#[ignore = "ejercicio"]
fn ejercicio_05_cuantos_contestaron() {
    let (carpeta, tiene) = un_nodo(&[]);
    fs::write(carpeta.path().join("a.txt"), "hola").unwrap();
    let (_otra, no_tiene) = un_nodo(&[]);
    // Uno escucha y calla; en el otro ya no escucha nadie.
    let mudo = libre();
    let nadie = libre().local_addr().unwrap();
    let peers = [
        tiene.direccion(),
        no_tiene.direccion(),
        mudo.local_addr().unwrap(),
        nadie,
    ];
    let buscar = |nombre: &str| {
        let mut palabras = vec!["buscar".to_string(), nombre.into(), "--contar".into()];
        palabras.extend(["--espera".into(), "0.5".into()]);
        palabras.extend(peers.iter().map(|peer| format!("--peer={peer}")));
        orden(palabras)
    };
    for (nombre, sale, acaba) in [
        ("a.txt", format!("{}\n", tiene.direccion()), 0),
        ("no-esta.txt", String::new(), 1),
    ] {
        let salida = buscar(nombre);
        let (dicho, queja) = (dicho(&salida), quejas(&salida));
        let mira = "src/nodo/cliente.rs (lo_tiene), src/nodo/acciones/mod.rs y src/ordenes/";
        if !queja.lines().any(|linea| linea == "Contestaron 2 de 4.") {
            let se_pidio = format!("`nodo buscar {nombre} --contar`, por stderr");
            orientar(5, &se_pidio, &queja, "Contestaron 2 de 4.", mira);
        }
        if dicho != sale || codigo(&salida) != Some(acaba) {
            orientar(5, "stdout y el código no cambian", &dicho, &sale, mira);
        }
    }
}

#[test]
#[ignore = "ejercicio"]
fn ejercicio_06_cuantas_veces_por_ip() {
    let (_carpeta, nodo) = un_nodo(&[]);
    let mira = "src/nodo/mod.rs (contar_conexion y `vistas`)";
    let preguntar = |se_pidio: &str, se_esperaba: &str| {
        let respuesta = contesta(nodo.direccion(), "CUANTOS");
        if respuesta != se_esperaba {
            orientar(6, se_pidio, &respuesta, se_esperaba, mira);
        }
    };
    preguntar(
        "la primera conexión es la de quien pregunta: «CUANTOS»",
        "CUANTOS:1",
    );
    for palabra in ["BUSCAR:x", "LISTAR"] {
        contesta(nodo.direccion(), palabra);
    }
    preguntar("tras otras dos conexiones, «CUANTOS»", "CUANTOS:4");
    thread::scope(|ambito| {
        for _ in 0..50 {
            ambito.spawn(|| contesta(nodo.direccion(), "LISTAR"));
        }
    });
    preguntar(
        "tras 50 conexiones a la vez, sin perder ninguna, «CUANTOS»",
        "CUANTOS:55",
    );
    // Cada IP lleva su cuenta (sólo Linux tiene todas las 127.x sin pedirlas).
    if cfg!(target_os = "linux") {
        let desde: SocketAddr = "127.0.0.2:0".parse().unwrap();
        let tcp = socket2::Type::STREAM;
        let socket = socket2::Socket::new(socket2::Domain::IPV4, tcp, None).unwrap();
        socket.bind(&desde.into()).unwrap();
        socket.connect(&nodo.direccion().into()).unwrap();
        let mut otra = TcpStream::from(socket);
        otra.set_read_timeout(Some(PACIENCIA)).unwrap();
        otra.write_all(b"CUANTOS\n").unwrap();
        otra.shutdown(Shutdown::Write).unwrap();
        let mut respuesta = String::new();
        otra.read_to_string(&mut respuesta).unwrap();
        if respuesta != "CUANTOS:1\n" {
            let se_pidio = "desde 127.0.0.2, que no había venido, «CUANTOS»";
            orientar(6, se_pidio, respuesta.trim_end(), "CUANTOS:1", mira);
        }
    }
}

#[test]
#[ignore = "ejercicio"]
fn ejercicio_07_quienes_estan_en_el_chat() {
    let (mut servidor, a) = Programa::servidor(&["chat", "--servidor", "127.0.0.1:0"]);
    let mut entrar = || {
        let par = conectar(a);
        servidor.esperar(&format!("[CONEXIÓN] Con {}", par.local_addr().unwrap()));
        par
    };
    let (ana, luis) = (entrar(), entrar());
    let quienes = |quien: &TcpStream| {
        (&*quien)
            .write_all("/quienes\n¿hola?\n".as_bytes())
            .unwrap();
    };
    quienes(&luis);
    // Lo demás se dice como siempre; el servidor, cuando lo ve, ya contestó a lo primero.
    servidor.esperar("¿hola?");
    servidor.escribir("fin");
    let mut oido = String::new();
    BufReader::new(&luis).read_line(&mut oido).unwrap();
    let mut presentes = [&ana, &luis].map(|par| par.local_addr().unwrap());
    presentes.sort();
    let se_esperaba = format!("[PRESENTES] {}, {}", presentes[0], presentes[1]);
    let mira = "src/practicas/chat/mod.rs (Sala::atender)";
    if oido.trim_end() != se_esperaba {
        let se_pidio = "uno de los dos que hay en el chat escribió «/quienes»";
        orientar(7, se_pidio, oido.trim_end(), &se_esperaba, mira);
    }
    let mut oido = String::new();
    BufReader::new(&ana).read_line(&mut oido).unwrap();
    if oido != "fin\n" {
        let se_pidio = "al que no preguntó no se le contesta";
        orientar(7, se_pidio, oido.trim_end(), "fin", mira);
    }
}

#[test]
#[ignore = "ejercicio"]
fn ejercicio_08_un_reloj_de_lamport() {
    let (_carpeta, nodo) = un_nodo(&[]);
    let mira = "src/nodo/palabras/ y el reloj en src/nodo/mod.rs (Nodo)";
    let casos = [
        (0, 1),
        (10, 11),
        (3, 12),
        (12, 13),
        (u64::MAX - 1, u64::MAX),
    ];
    for (suyo, nuestro) in &casos[..4] {
        let respuesta = contesta(nodo.direccion(), &format!("RELOJ:{suyo}"));
        let se_esperaba = format!("RELOJ:{nuestro}");
        if respuesta != se_esperaba {
            let se_pidio = format!("llegó un mensaje con el reloj {suyo}: «RELOJ:{suyo}»");
            orientar(8, &se_pidio, &respuesta, &se_esperaba, mira);
        }
    }
    // A la vez: cada suceso tiene su número, y en cada conexión sólo crece.
    let veinte = || {
        let respuesta = contesta(nodo.direccion(), &["RELOJ:0"; 20].join("\n"));
        let leer = |linea: &str| linea.strip_prefix("RELOJ:")?.parse::<u64>().ok();
        let relojes: Vec<u64> = respuesta.lines().filter_map(leer).collect();
        assert!(
            relojes.is_sorted(),
            "ejercicio 8: el reloj retrocede: {relojes:?}"
        );
        relojes
    };
    let todos: Vec<u64> = thread::scope(|ambito| {
        let hilos: Vec<_> = (0..8).map(|_| ambito.spawn(veinte)).collect();
        hilos
            .into_iter()
            .flat_map(|hilo| hilo.join().unwrap())
            .collect()
    });
    let distintos: BTreeSet<u64> = todos.iter().copied().collect();
    if (todos.len(), distintos.len()) != (160, 160) {
        let llego = format!("{} respuestas, {} números", todos.len(), distintos.len());
        let se_pidio = "8 conexiones a la vez, 20 «RELOJ:0» cada una";
        orientar(8, se_pidio, &llego, "160 respuestas, 160 números", mira);
    }
    for mal in ["RELOJ", "RELOJ:", "RELOJ:-1", "RELOJ:ayer"] {
        let respuesta = contesta(nodo.direccion(), mal);
        if !respuesta.starts_with("ERROR:") {
            orientar(
                8,
                &format!("«{mal}» no es un reloj"),
                &respuesta,
                "ERROR:…",
                mira,
            );
        }
    }
    let (suyo, nuestro) = casos[4];
    let respuesta = contesta(nodo.direccion(), &format!("RELOJ:{suyo}\nRELOJ:{nuestro}"));
    if !respuesta.starts_with(&format!("RELOJ:{nuestro}")) {
        let se_esperaba = format!("RELOJ:{nuestro}");
        orientar(
            8,
            "el reloj más alto que cabe",
            &respuesta,
            &se_esperaba,
            mira,
        );
    }
    assert!(
        super::comun::responde(nodo.direccion()),
        "ejercicio 8: el nodo ya no contesta"
    );
}

#[test]
#[ignore = "ejercicio"]
fn ejercicio_09_el_menos_ocupado() {
    // Cada backend dice su nombre con el primer byte y aguanta hasta que el cliente se va.
    let con_nombre = |nombre: &'static [u8]| {
        backend(move |mut conexion| {
            let _ = conexion.read(&mut [0]);
            let _ = conexion.write_all(nombre);
            while conexion.read(&mut [0; 64]).is_ok_and(|leido| leido > 0) {}
        })
    };
    let backends = [con_nombre(b"A"), con_nombre(b"B")].map(|b| format!("--backend={b}"));
    let [uno, otro] = &backends;
    let palabras = [
        "balanceador",
        "--puerto",
        "0",
        "--menos-conexiones",
        uno,
        otro,
    ];
    let mira = "src/ordenes/opciones.rs (Balanceador) y src/practicas/balanceador/vivos.rs";
    let ayuda = orden(["balanceador", "--help"]);
    if !dicho(&ayuda).contains("--menos-conexiones") {
        let se_pidio = "`nodo balanceador --help`";
        orientar(9, se_pidio, &dicho(&ayuda), "… --menos-conexiones …", mira);
    }
    let (_balanceador, a) = Programa::servidor(&palabras);
    let abrir = || {
        let mut cliente = conectar(a);
        cliente.write_all(b"x").unwrap();
        let mut nombre = [0];
        cliente.read_exact(&mut nombre).unwrap();
        (cliente, nombre[0])
    };
    let cerrar = |mut cliente: TcpStream| {
        cliente.shutdown(Shutdown::Write).unwrap();
        let _ = cliente.read(&mut [0]);
    };
    let nombres = |cuales: &[u8]| String::from_utf8_lossy(cuales).into_owned();
    // Seis que se quedan: tres en cada uno.
    let abiertas: Vec<(TcpStream, u8)> = (0..6).map(|_| abrir()).collect();
    let tocaron: Vec<u8> = abiertas.iter().map(|(_, nombre)| *nombre).collect();
    if tocaron.iter().filter(|&&nombre| nombre == b'A').count() != 3 {
        let se_pidio = "seis clientes que no se van";
        orientar(
            9,
            se_pidio,
            &nombres(&tocaron),
            "tres en A y tres en B",
            mira,
        );
    }
    // Los de B se van: los siguientes son todos para B, que los de A siguen.
    let (de_a, de_b): (Vec<_>, Vec<_>) = abiertas.into_iter().partition(|(_, n)| *n == b'A');
    de_b.into_iter().for_each(|(cliente, _)| cerrar(cliente));
    let mut tocaron = Vec::new();
    for _ in 0..6 {
        let (cliente, nombre) = abrir();
        tocaron.push(nombre);
        cerrar(cliente);
    }
    if tocaron != b"BBBBBB" {
        let se_pidio = "con tres clientes abiertos en A y ninguno en B, seis cortos";
        orientar(9, se_pidio, &nombres(&tocaron), "BBBBBB", mira);
    }
    drop(de_a);
}

#[test]
#[ignore = "ejercicio"]
fn ejercicio_10_quien_manda() {
    let (_c, mut carla) = un_nodo(&["--nombre", "carla", "--peer", "127.0.0.1:1"]);
    let de_carla = carla.direccion().to_string();
    let (_b, mut beto) = un_nodo(&["--nombre", "beto", "--peer", &de_carla]);
    let de_beto = beto.direccion().to_string();
    // Uno escucha y no contesta: tampoco es quien manda.
    let mudo = libre();
    let callado = mudo.local_addr().unwrap().to_string();
    let peers = ["--peer", &de_carla, "--peer", &de_beto, "--peer", &callado];
    let (_a, ana) = un_nodo(&[&["--nombre", "ana", "--espera", "1"][..], &peers].concat());
    let preguntar = |se_pidio: &str, se_esperaba: &str| {
        let respuesta = contesta(ana.direccion(), "LIDER");
        if respuesta != se_esperaba {
            let mira =
                "src/nodo/palabras/contestar.rs; preguntar a todos, en src/consola/consulta.rs";
            orientar(10, se_pidio, &respuesta, se_esperaba, mira);
        }
    };
    preguntar(
        "ana, beto y carla están vivos: a ana, «LIDER»",
        "LIDER:carla",
    );
    carla.matar();
    preguntar("carla ha muerto: a ana, «LIDER»", "LIDER:beto");
    beto.matar();
    preguntar("sólo queda ana: a ana, «LIDER»", "LIDER:ana");
}
