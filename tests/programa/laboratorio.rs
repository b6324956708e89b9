//! Ver los mensajes y romperlos a propósito: el diario y las fallas, con nodos de verdad.

use std::collections::HashSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use super::comun::falsos::{BLOQUE, huella};
use super::comun::{
    Lanzar, PACIENCIA, Proceso, acabar, codigo, conectar, datos, dicho, leer_todo, nodo, quejas,
};
use crate::laboratorio::diagrama::Ejecucion;
use crate::laboratorio::suceso::{Clase, Suceso};
use proptest::prelude::*;
use tempfile::TempDir;

const NOMBRE: &str = "clase.bin";

fn leer_diario(ruta: &Path) -> Vec<Suceso> {
    let escrito = fs::read_to_string(ruta).unwrap();
    escrito
        .lines()
        .map(|linea| Suceso::de_json(linea).unwrap())
        .collect()
}

/// Espera a que un diario diga algo.
fn esperar_en(ruta: &Path, que: &str) {
    let limite = Instant::now() + PACIENCIA;
    while !fs::read_to_string(ruta).unwrap().contains(que) {
        assert!(Instant::now() < limite, "no apuntó {que}");
        std::thread::yield_now();
    }
}

/// Las líneas de un sentido, por conexión: la pareja de direcciones vista desde quien conecta, el
/// ordinal y el texto.
fn lineas(diario: &[Suceso], clase: Clase, quien_conecta: bool) -> Vec<(String, u64, String)> {
    let suyas = diario.iter().filter(|s| {
        s.clase == clase && {
            let abrio = |s: &&Suceso| matches!(s.clase, Clase::Conecta | Clase::Acepta);
            let c = s.c;
            let abierta = diario.iter().filter(abrio).find(|s| s.c == c).unwrap();
            (abierta.clase == Clase::Conecta) == quien_conecta
        }
    });
    let mut lineas: Vec<_> = suyas
        .map(|s| {
            let (desde, hasta) = if quien_conecta {
                (&s.yo, &s.otro)
            } else {
                (&s.otro, &s.yo)
            };
            (format!("{desde} {hasta}"), s.n, s.texto.clone())
        })
        .collect();
    lineas.sort();
    lineas
}

#[test]
fn en_los_dos_diarios_esta_lo_mismo_visto_de_los_dos_lados() {
    let (suya, mia) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(suya.path().join(NOMBRE), datos(2 * BLOQUE + 9)).unwrap();
    let (uno, otro) = (mia.path().join("uno.jsonl"), mia.path().join("otro.jsonl"));
    let mut sirve = Proceso::nodo_educado(
        suya.path(),
        &["--peer", "127.0.0.1:9", "--diario", uno.to_str().unwrap()],
    );
    let peer = sirve.direccion().to_string();
    let mut todo = Vec::new();
    for palabras in [
        &["buscar", NOMBRE][..],
        &["listar", "--red"],
        &["descargar", NOMBRE],
        &["mensaje", "¿llega? «sí»: \\ \" "],
        &["estado"],
    ] {
        let mut orden = nodo();
        orden
            .args(palabras)
            .args(["--peer", &peer, "--carpeta"])
            .arg(mia.path());
        let salida = orden.arg("--diario").arg(&otro).recoger();
        assert_eq!(
            codigo(&salida),
            Some(0),
            "{palabras:?}: {}",
            quejas(&salida)
        );
        let diario = leer_diario(&otro);
        let ordinales: Vec<u64> = {
            let mut todos: Vec<u64> = diario.iter().map(|s| s.i).collect();
            todos.sort_unstable();
            todos
        };
        assert_eq!(ordinales, (1..=diario.len() as u64).collect::<Vec<_>>());
        todo.push(diario);
    }
    sirve.despedir();
    let servido = leer_diario(&uno);
    for (aqui, alli) in [(Clase::Envia, Clase::Recibe), (Clase::Recibe, Clase::Envia)] {
        let mut pedido: Vec<_> = todo.iter().flat_map(|d| lineas(d, aqui, true)).collect();
        pedido.sort();
        assert_eq!(pedido, lineas(&servido, alli, false));
        assert!(pedido.len() > 10);
    }
    let datos_servidos = servido.iter().filter(|s| s.clase == Clase::Datos);
    let bytes: u64 = datos_servidos.map(|s| s.bytes).sum();
    assert_eq!(bytes, 2 * BLOQUE as u64 + 9);
}

#[cfg(target_os = "linux")]
#[test]
fn un_diario_que_no_cabe_se_dice_y_el_nodo_sigue() {
    let carpeta = tempfile::tempdir().unwrap();
    fs::write(carpeta.path().join(NOMBRE), b"hola").unwrap();
    let opciones = ["--peer", "127.0.0.1:9", "--diario", "/dev/full"];
    let mut sirve = Proceso::nodo(carpeta.path(), &opciones);
    let buscar = format!("BUSCAR:{NOMBRE}");
    assert_eq!(preguntar(sirve.direccion(), &buscar), b"SI");
    sirve.esperar("el diario /dev/full está incompleto");
    assert_eq!(preguntar(sirve.direccion(), &buscar), b"SI");
    sirve.senal("TERM");
    // Un SIGTERM es un SIGTERM, pero quien acaba bien con el diario a medias no acabó bien.
    assert_eq!(sirve.terminar(), Some(130));
    let mut orden = nodo();
    orden.args(["buscar", NOMBRE, "--diario", "/dev/full", "--peer"]);
    let salida = orden.arg(sirve.direccion().to_string()).recoger();
    assert_eq!(codigo(&salida), Some(1));
    assert!(quejas(&salida).contains("/dev/full está incompleto"));
    let mut orden = nodo();
    orden.args(["servir", "--diario", "/no/hay/tal/carpeta"]);
    let salida = orden.recoger();
    assert_eq!(codigo(&salida), Some(1));
    assert!(
        quejas(&salida).contains("creando el diario"),
        "{}",
        quejas(&salida)
    );
}

#[test]
fn el_diario_de_lo_que_no_se_pudo_tambien_se_guarda() {
    let carpeta = tempfile::tempdir().unwrap();
    let ruta = carpeta.path().join("d.jsonl");
    let mut programa = nodo();
    programa.args(["chat", "--conectar", "127.0.0.1:9", "--diario"]);
    let salida = programa.arg(&ruta).recoger();
    assert_eq!(codigo(&salida), Some(1), "{}", quejas(&salida));
    let clases: Vec<_> = leer_diario(&ruta).iter().map(|s| s.clase).collect();
    assert_eq!(clases, [Clase::Conecta, Clase::Cierra]);
}

#[test]
fn lo_que_no_es_texto_tambien_se_apunta() {
    let carpeta = tempfile::tempdir().unwrap();
    let ruta = carpeta.path().join("d.jsonl");
    let opciones = ["--peer", "127.0.0.1:9", "--diario", ruta.to_str().unwrap()];
    let mut sirve = Proceso::nodo_educado(carpeta.path(), &opciones);
    let mut conexion = conectar(sirve.direccion());
    conexion.write_all(b"INFO:\xff\"\n").unwrap();
    assert!(leer_todo(&mut conexion).starts_with(b"ERROR:"));
    sirve.despedir();
    let diario = leer_diario(&ruta);
    let recibido = diario.iter().find(|s| s.clase == Clase::Recibe).unwrap();
    assert_eq!((recibido.n, recibido.bytes), (1, 8));
    assert_eq!(recibido.texto, "INFO:\u{fffd}\"");
}

/// Lo que se queja una orden que no puede empezar su diario en `ruta`.
fn sin_diario(ruta: &Path) -> String {
    let mut orden = nodo();
    orden.args(["buscar", NOMBRE, "--peer", "127.0.0.1:9", "--diario"]);
    let hijo = orden.arg(ruta).stdin(Stdio::null());
    let hijo = hijo.stdout(Stdio::piped()).stderr(Stdio::piped()).lanzar();
    let salida = acabar(hijo);
    assert_eq!(codigo(&salida), Some(1));
    assert_eq!(dicho(&salida), "");
    quejas(&salida)
}

#[test]
fn un_diario_no_pisa_lo_de_otro() {
    let carpeta = tempfile::tempdir().unwrap();
    let (tarea, ruta) = (carpeta.path().join("t.txt"), carpeta.path().join("d.jsonl"));
    fs::write(&tarea, "mi tarea").unwrap();
    let queja = sin_diario(&tarea);
    assert!(
        queja.contains("t.txt: lo que hay ahí no es un diario"),
        "{queja}"
    );
    assert_eq!(fs::read_to_string(&tarea).unwrap(), "mi tarea");

    // Dos veces la misma orden: la segunda no estropea el de la primera.
    let opciones = ["--peer", "127.0.0.1:9", "--diario", ruta.to_str().unwrap()];
    let mut sirve = Proceso::nodo_educado(carpeta.path(), &opciones);
    preguntar(sirve.direccion(), "BUSCAR:nada");
    let queja = sin_diario(&ruta);
    assert!(
        queja.contains("ya lo está escribiendo otro programa"),
        "{queja}"
    );
    preguntar(sirve.direccion(), "BUSCAR:nada");
    sirve.despedir();
    let diario = leer_diario(&ruta);
    assert_eq!(
        diario.iter().filter(|s| s.clase == Clase::Acepta).count(),
        2
    );

    // Acabada la primera corrida, es de la segunda; y uno cortado a media línea también es diario.
    fs::write(&ruta, "{\"i").unwrap();
    let mut orden = nodo();
    orden.args(["buscar", NOMBRE, "--peer", "127.0.0.1:9", "--diario"]);
    orden.arg(&ruta).recoger();
    assert_eq!(leer_diario(&ruta).first().map(|s| s.i), Some(1));
}

#[cfg(unix)]
#[test]
fn un_diario_en_una_tuberia_no_cuelga_a_nadie() {
    let carpeta = tempfile::tempdir().unwrap();
    let tuberia = carpeta.path().join("tuberia");
    let creada = std::process::Command::new("mkfifo").arg(&tuberia).status();
    assert!(creada.unwrap().success());
    assert!(sin_diario(&tuberia).contains("es una tubería"));
}

#[test]
fn las_practicas_apuntan_sus_conexiones_y_el_maestro_tambien_lo_que_se_dice() {
    let carpeta = tempfile::tempdir().unwrap();
    let ruta = carpeta.path().join("d.jsonl");
    for (practica, se_dice) in [("maestro", true), ("balanceador", false)] {
        let mut programa = nodo();
        // También vale delante de la orden.
        programa.arg("--diario").arg(&ruta);
        programa.args([practica, "--puerto", "0"]);
        if practica == "balanceador" {
            programa.args(["--backend", "127.0.0.1:9"]);
        }
        let mut sirve = Proceso::nuevo(programa);
        preguntar(sirve.direccion(), "GET /peers HTTP/1.0\r\n\r\n");
        if cfg!(unix) {
            sirve.senal("TERM");
            sirve.terminar();
        } else {
            // Ahí no hay manera de pedírselo: se le deja apuntar el final, y se le mata.
            esperar_en(&ruta, "\"cierra\"");
            sirve.matar();
        }
        let diario = leer_diario(&ruta);
        let hay = |clase| {
            diario
                .iter()
                .any(|s| s.clase == clase && s.nodo == practica)
        };
        assert!(
            hay(Clase::Acepta) && hay(Clase::Cierra),
            "{practica}: {diario:?}"
        );
        assert_eq!(hay(Clase::Recibe), se_dice, "{practica}");
    }
}

// ----- Fallas -----

fn preguntar(a: SocketAddr, peticion: &str) -> Vec<u8> {
    let mut conexion = conectar(a);
    conexion.write_all(peticion.as_bytes()).unwrap();
    conexion.shutdown(Shutdown::Write).unwrap();
    leer_todo(&mut conexion)
}

fn con_fallas(carpeta: &TempDir, fallas: &str) -> Proceso {
    Proceso::nodo(
        carpeta.path(),
        &["--peer", "127.0.0.1:9", "--fallas", fallas],
    )
}

/// Lo que contesta un nodo recién arrancado a veinte conexiones, una tras otra.
fn contestado(carpeta: &TempDir, fallas: &str) -> Vec<Vec<u8>> {
    let sirve = con_fallas(carpeta, fallas);
    let peticiones = format!("OBTENER:0:9000:{NOMBRE}\nINFO:{NOMBRE}\nOBTENER:5:3000:{NOMBRE}\n");
    (0..20)
        .map(|n| match n % 2 {
            0 => preguntar(sirve.direccion(), &peticiones),
            _ => preguntar(sirve.direccion(), &format!("BUSCAR:{NOMBRE}")),
        })
        .collect()
}

#[test]
fn con_la_misma_semilla_y_las_mismas_peticiones_se_rompe_lo_mismo() {
    let carpeta = tempfile::tempdir().unwrap();
    fs::write(carpeta.path().join(NOMBRE), datos(9000)).unwrap();
    let bien = contestado(&carpeta, "trocear=7,retraso=1±1");
    assert!(bien.iter().skip(1).step_by(2).all(|r| r == b"SI"));
    let fallas = |semilla| format!("callar=20%,mentir=30%,cortar=8000,semilla={semilla}");
    let una = contestado(&carpeta, &fallas(1));
    assert_eq!(una, contestado(&carpeta, &fallas(1)));
    assert_ne!(una, contestado(&carpeta, &fallas(2)));
    // Sale todo lo que se pidió: quien calla, quien corta y quien miente.
    let buenas = bien
        .iter()
        .zip(&una)
        .filter(|(bien, rota)| bien == rota)
        .count();
    assert!(una.iter().any(|rota| rota.is_empty()), "nadie calló");
    assert!(una.iter().all(|rota| rota.len() <= 8000 + 200) && buenas < 20);
    let mienten = contestado(&carpeta, "mentir=100%");
    let distintos = |(a, b): (&Vec<u8>, &Vec<u8>)| a.iter().zip(b).filter(|(a, b)| a != b).count();
    let cambiados: Vec<_> = bien.iter().zip(&mienten).map(distintos).collect();
    // Un byte en cada `OBTENER`, y ninguno en lo demás.
    assert!(
        cambiados.chunks(2).all(|par| par == [2, 0]),
        "{cambiados:?}"
    );
}

#[test]
fn de_lo_que_se_corta_llega_siempre_lo_mismo() {
    let carpeta = tempfile::tempdir().unwrap();
    fs::write(carpeta.path().join(NOMBRE), datos(900_000)).unwrap();
    let sirve = con_fallas(&carpeta, "cortar=500000");
    for peticion in [
        format!("DESCARGAR:{NOMBRE}"),
        format!("GET /files/{NOMBRE} HTTP/1.0\r\n\r\n"),
    ] {
        let mut conexion = conectar(sirve.direccion());
        // Con un búfer pequeño, al cortar queda mucho por el camino.
        socket2::SockRef::from(&conexion)
            .set_recv_buffer_size(64 * 1024)
            .unwrap();
        conexion.write_all(peticion.as_bytes()).unwrap();
        let mut todo = Vec::new();
        conexion.read_to_end(&mut todo).unwrap();
        let suyos = &todo[todo.len().saturating_sub(500_000)..];
        assert!(
            suyos == &datos(900_000)[..500_000],
            "{peticion}: {}",
            todo.len()
        );
    }
}

#[test]
fn se_avisa_mientras_haya_fallas_puestas_y_salir_no_espera_a_los_retrasos() {
    let carpeta = tempfile::tempdir().unwrap();
    let opciones = ["--peer", "127.0.0.1:9", "--fallas", "retraso=60000"];
    let mut sirve = Proceso::menu(carpeta.path(), &opciones);
    sirve.esperar("Con fallas puestas a propósito: retraso=60000");
    let mut espera = conectar(sirve.direccion());
    espera.write_all(b"LISTAR\n").unwrap();
    sirve.esperar("[CONEXIÓN]");
    let antes = std::time::Instant::now();
    sirve.escribir("3");
    assert_eq!(sirve.terminar(), Some(0));
    assert!(antes.elapsed().as_secs() < 20);
}

fn una_lista() -> impl Strategy<Value = String> {
    let fallas = (
        prop::option::of(0u64..30),
        prop::option::of(50usize..5000),
        prop::option::of(0u64..9_000_000),
        prop::option::of(0u32..=100),
        prop::option::of(0u32..=100),
        any::<u64>(),
    );
    fallas.prop_map(|(retraso, trocear, cortar, callar, mentir, semilla)| {
        let partes = [
            retraso.map(|n| format!("retraso={n}±5")),
            trocear.map(|n| format!("trocear={n}")),
            cortar.map(|n| format!("cortar={n}")),
            callar.map(|n| format!("callar={n}%")),
            mentir.map(|n| format!("mentir={n}%")),
            Some(format!("semilla={semilla}")),
        ];
        partes.into_iter().flatten().collect::<Vec<_>>().join(",")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Una de tres fuentes falla como sea: el archivo llega entero, o nada toma su nombre.
    #[test]
    fn falle_como_falle_una_de_tres_el_archivo_llega_entero(lista in una_lista()) {
        let contenido = datos(5 * BLOQUE + 77);
        let (suya, mia) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(suya.path().join(NOMBRE), &contenido).unwrap();
        let fuentes = [
            con_fallas(&suya, &lista),
            Proceso::nodo(suya.path(), &["--peer", "127.0.0.1:9"]),
            Proceso::nodo(suya.path(), &["--peer", "127.0.0.1:9"]),
        ];
        let mut orden = nodo();
        orden.args(["descargar", NOMBRE, "--carpeta"]).arg(mia.path());
        for fuente in &fuentes {
            orden.args(["--de", &fuente.direccion().to_string()]);
        }
        let hijo = orden.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let salida = acabar(hijo.lanzar());
        prop_assert_eq!(codigo(&salida), Some(0), "{}: {}", lista, quejas(&salida));
        let llego = fs::read(mia.path().join(NOMBRE)).unwrap();
        prop_assert!(huella(&llego) == huella(&contenido), "{}", lista);
        prop_assert!(dicho(&salida).contains("· comprobado"));
    }
}

// ----- Los relojes de corridas de verdad -----

/// Una corrida: tres nodos que se conocen y unas órdenes, todos con su diario. Cada orden va contra
/// uno de ellos, y algunas hacen que ese pregunte a los demás.
fn corrida(donde: &Path, pasos: &[(u8, u8)]) -> Vec<PathBuf> {
    let diario = |n: usize| donde.join(format!("{n}.jsonl"));
    let mut nodos: Vec<Proceso> = Vec::new();
    for n in 0..3 {
        let carpeta = donde.join(n.to_string());
        fs::create_dir(&carpeta).unwrap();
        fs::write(carpeta.join(format!("{n}.bin")), datos(BLOQUE / 2 + n)).unwrap();
        let mut opciones = vec!["--nombre".to_string(), format!("n{n}")];
        opciones.extend(["--diario".into(), diario(n).display().to_string()]);
        for antes in &nodos {
            opciones.extend(["--peer".into(), antes.direccion().to_string()]);
        }
        if n == 0 {
            opciones.extend(["--peer".into(), "127.0.0.1:9".into()]);
        }
        let opciones: Vec<&str> = opciones.iter().map(String::as_str).collect();
        nodos.push(Proceso::nodo_educado(&carpeta, &opciones));
    }
    let ordenes: Vec<_> = pasos
        .iter()
        .enumerate()
        .map(|(paso, (que, a_quien))| {
            let nodo_elegido = &nodos[*a_quien as usize % 3];
            let (peer, url) = (nodo_elegido.direccion().to_string(), nodo_elegido.url());
            let mut orden = nodo();
            orden
                .arg("--carpeta")
                .arg(donde.join(format!("baja{paso}")));
            orden.arg("--diario").arg(diario(3 + paso));
            match que % 5 {
                0 => orden.args(["buscar", "1.bin", "--peer", &peer]),
                1 => orden.args([
                    "descargar",
                    &format!("{}.bin", a_quien % 3),
                    "--peer",
                    &peer,
                ]),
                2 => orden.args(["mensaje", "hola", "--peer", &peer]),
                3 => orden.args(["listar", "--red", "--peer", &peer]),
                // Ese nodo pregunta a los otros.
                _ => orden.args(["localizar", "0.bin", "--por", &url]),
            };
            orden
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            orden.lanzar()
        })
        .collect();
    ordenes.into_iter().for_each(|orden| drop(acabar(orden)));
    for mut nodo in nodos {
        nodo.despedir();
    }
    (0..3 + pasos.len()).map(diario).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5, ..ProptestConfig::default() })]

    /// Hagan lo que hagan unos nodos de verdad: toda recepción tiene su envío y un reloj mayor, y
    /// dos sucesos son concurrentes si y sólo si ninguno alcanza al otro.
    #[test]
    fn los_relojes_de_una_corrida_cualquiera(
        pasos in prop::collection::vec(any::<(u8, u8)>(), 1..8),
    ) {
        let temporal = tempfile::tempdir().unwrap();
        let ejecucion = Ejecucion::de_diarios(&corrida(temporal.path(), &pasos)).unwrap();
        prop_assert!(ejecucion.avisos.is_empty(), "{:?}", ejecucion.avisos);
        let hechos = &ejecucion.traza.hechos;
        // Quién alcanza a quién, contado aparte: por cada suceso, todos los que lo alcanzan.
        let mut alcanzan = vec![HashSet::from([usize::MAX]); hechos.len()];
        let mut orden: Vec<usize> = (0..hechos.len()).collect();
        orden.sort_by_key(|&h| ejecucion.lamport[h]);
        let mut flechas = 0;
        for &este in &orden {
            let mut antes = HashSet::new();
            if este > 0 && hechos[este - 1].proceso == hechos[este].proceso {
                antes.extend(alcanzan[este - 1].iter().copied().chain([este - 1]));
            }
            if matches!(hechos[este].clase, Clase::Recibe | Clase::Acepta) {
                let pareja = ejecucion.parejas.de(este);
                prop_assert!(pareja.is_some(), "llega sin haber salido: {:?}", hechos[este]);
                let sale = pareja.unwrap();
                prop_assert!(ejecucion.lamport[sale] < ejecucion.lamport[este]);
                prop_assert!(hechos[sale].texto == hechos[este].texto);
                antes.extend(alcanzan[sale].iter().copied().chain([sale]));
                flechas += 1;
            }
            antes.remove(&usize::MAX);
            alcanzan[este] = antes;
        }
        prop_assert!(flechas >= 2 * pasos.len());
        let recorte = ejecucion.recortar(hechos.len());
        for (a, &hecho_a) in recorte.orden.iter().enumerate() {
            for (b, &hecho_b) in recorte.orden.iter().enumerate().filter(|(b, _)| *b != a) {
                let alcanza = alcanzan[hecho_b].contains(&hecho_a);
                prop_assert_eq!(recorte.alcanza(a, b), alcanza);
                let ninguno = !alcanza && !alcanzan[hecho_a].contains(&hecho_b);
                prop_assert_eq!(recorte.concurrentes(a, b), ninguno);
            }
        }
    }
}
