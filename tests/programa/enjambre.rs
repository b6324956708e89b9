//! El enjambre: lo que se baja se reparte, a un ritmo, y nadie envenena a nadie.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::comun::falsos::{BLOQUE, Charla, Compuerta, Falso, Mana, huella, huellas_de_bloques};
use super::comun::practicas::libre;
use super::comun::rest::{self, hasta_que};
use super::comun::{
    Lanzar, Proceso, acabar, codigo, conectar, datos, dicho, nodo, nombres, quejas,
};
use crate::guia::{DESCARGADO, SELECCIONE};
use crate::nodo::palabras::tramos::Tramos;
use tempfile::TempDir;

const NOMBRE: &str = "clase.bin";

// ----- El ritmo -----

/// Manda `peticion`, deja de mandar y cuenta lo que llega hasta el cierre.
fn cuanto_llega(a: SocketAddr, peticion: &str) -> usize {
    let mut socket = conectar(a);
    socket.write_all(peticion.as_bytes()).unwrap();
    let mut todo = Vec::new();
    socket.read_to_end(&mut todo).unwrap();
    todo.len()
}

#[test]
fn el_ritmo_es_de_todo_lo_que_se_sirve_se_pida_como_se_pida() {
    let compartida = tempfile::tempdir().unwrap();
    fs::write(compartida.path().join(NOMBRE), datos(1 << 20)).unwrap();
    let nodo = Proceso::nodo(compartida.path(), &["--ritmo", "2MB"]);
    nodo.esperar("Sirvo 2,0 MB por segundo");
    let a = nodo.direccion();
    let empezo = Instant::now();
    let llegaron: usize = thread::scope(|ambito| {
        let de_la_guia = ambito.spawn(move || cuanto_llega(a, &format!("DESCARGAR:{NOMBRE}")));
        let por_http = ambito.spawn(move || {
            let peticion = format!("GET /files/{NOMBRE} HTTP/1.1\r\nHost: {a}\r\n\r\n");
            cuanto_llega(a, &peticion)
        });
        let mut charla = Charla::con(a);
        assert_eq!(
            charla.pedir(&format!("OBTENER:0:1048576:{NOMBRE}")),
            "OK:1048576"
        );
        charla.leer(1 << 20);
        // Lo que no son archivos no espera.
        let antes = Instant::now();
        assert!(charla.pedir("HOLA:0:x").starts_with("HOLA:"));
        assert!(antes.elapsed() < Duration::from_secs(1));
        (1 << 20) + de_la_guia.join().unwrap() + por_http.join().unwrap()
    });
    let tardo = empezo.elapsed().as_secs_f64();
    assert!(llegaron >= 3 << 20);
    // Al empezar se puede adelantar una décima de segundo.
    let esperado = llegaron as f64 / 2e6 - 0.15;
    assert!(tardo >= esperado, "{llegaron} bytes en {tardo} s");
    assert!(tardo < esperado * 3.0, "{llegaron} bytes en {tardo} s");
}

// ----- Lo que se baja, se reparte -----

/// Cuatro bloques y un pico.
fn contenido() -> Vec<u8> {
    datos(4 * BLOQUE + 5)
}

/// Un nodo con menú, sin nada, que conoce a esos pares.
fn menu(carpeta: &TempDir, pares: &[SocketAddr], opciones: &[&str]) -> Proceso {
    let pares: Vec<String> = pares.iter().map(ToString::to_string).collect();
    let mut todas: Vec<&str> = opciones.to_vec();
    pares.iter().for_each(|par| todas.extend(["--peer", par]));
    Proceso::menu(carpeta.path(), &todas)
}

/// Busca el archivo y lo baja del primero que salga.
fn pedir(menu: &mut Proceso) {
    menu.esperar(SELECCIONE);
    for linea in ["2", NOMBRE, "1"] {
        menu.escribir(linea);
    }
}

fn asegurar_bueno(carpeta: &TempDir, contenido: &[u8]) {
    assert_eq!(nombres(carpeta), [NOMBRE]);
    assert!(fs::read(carpeta.path().join(NOMBRE)).unwrap() == contenido);
}

/// Pregunta hasta que conteste algo que empiece así. Una conexión por pregunta: sin prisa.
fn preguntar_hasta(a: SocketAddr, pregunta: &str, principio: &str) -> String {
    hasta_que(&format!("{pregunta} → {principio}"), || {
        let dicho = Charla::con(a).pedir(pregunta);
        dicho.starts_with(principio).then_some(dicho)
    })
}

#[test]
fn lo_entero_se_tiene_entero_por_su_nombre_y_por_su_huella() {
    let contenido = contenido();
    let compartida = tempfile::tempdir().unwrap();
    fs::write(compartida.path().join("otro nombre.bin"), &contenido).unwrap();
    let nodo = Proceso::nodo(compartida.path(), &[]);
    let cifras = huella(&contenido);
    let todo = format!("TENGO:{}:{cifras}:0-4", contenido.len());
    preguntar_hasta(nodo.direccion(), "TENGO:0:otro nombre.bin", &todo);
    let mut charla = Charla::con(nodo.direccion());
    assert_eq!(charla.pedir(&format!("TENGO:0:{cifras}")), todo);
    let desde_el_3 = todo.replace(":0-4", ":3-4");
    assert_eq!(charla.pedir(&format!("TENGO:3:{cifras}")), desde_el_3);
    assert_eq!(charla.pedir(&format!("TENGO:5:{cifras}")), "NOFILE");
    assert_eq!(
        charla.pedir(&format!("TENGO:0:{}", "0".repeat(64))),
        "NOFILE"
    );
    assert_eq!(charla.pedir("TENGO:0:no está"), "NOFILE");
    assert_eq!(charla.pedir(&format!("BLOQUES:{cifras}")), "BLOQUES:5");
    for bloque in huellas_de_bloques(&contenido) {
        assert_eq!(charla.oir().unwrap(), bloque);
    }
    assert_eq!(charla.pedir(&format!("OBTENER:7:9:{cifras}")), "OK:9");
    assert_eq!(charla.leer(9), &contenido[7..16]);
    // `INFO` sólo sabe de nombres.
    assert_eq!(charla.pedir(&format!("INFO:{cifras}")), "NOFILE");
    // También lo que se copie mientras está en marcha: preguntar hace que se mire.
    fs::write(compartida.path().join("recién puesto.bin"), "nuevo").unwrap();
    let nuevo = huella(b"nuevo");
    let pregunta = format!("TENGO:0:{nuevo}");
    let todo = format!("TENGO:5:{nuevo}:0");
    preguntar_hasta(nodo.direccion(), &pregunta, &todo);
    // El nombre de un archivo manda sobre lo que sus cifras nombrarían.
    fs::write(compartida.path().join(&cifras), "hola").unwrap();
    assert_eq!(charla.pedir(&format!("OBTENER:0:9:{cifras}")), "OK:4");
    assert_eq!(charla.leer(4), b"hola");
}

#[test]
fn un_nodo_que_baja_da_ya_lo_comprobado_y_nadie_mas_lo_ve() {
    let contenido = contenido();
    let compuerta = Arc::new(Compuerta::default());
    let par = Falso::nuevo(&contenido, Mana::RetenidoTras(2, Arc::clone(&compuerta)));
    let carpeta = tempfile::tempdir().unwrap();
    let mut nodo = menu(&carpeta, &[par.direccion], &[]);
    pedir(&mut nodo);
    let (a, cifras) = (nodo.direccion(), huella(&contenido));
    let principio = format!("TENGO:{}:{cifras}:", contenido.len());
    // Cuando tiene dos de los cinco.
    let tramos = hasta_que("que tenga dos bloques", || {
        let dicho = Charla::con(a).pedir(&format!("TENGO:0:{cifras}"));
        let tramos = dicho.strip_prefix(&principio)?.to_string();
        let bloques = Tramos::leer(&tramos).unwrap().bloques().count();
        (bloques == 2).then_some(tramos)
    });
    let tiene: Vec<usize> = Tramos::leer(&tramos)
        .unwrap()
        .bloques()
        .map(|b| b as usize)
        .collect();
    let mut charla = Charla::con(a);
    assert_eq!(
        charla.pedir(&format!("TENGO:0:{NOMBRE}")),
        format!("{principio}{tramos}")
    );
    assert_eq!(charla.pedir(&format!("BLOQUES:{cifras}")), "BLOQUES:5");
    for bloque in huellas_de_bloques(&contenido) {
        assert_eq!(charla.oir().unwrap(), bloque);
    }
    for bloque in 0..5 {
        let desde = bloque * BLOQUE;
        let trozo = &contenido[desde..contenido.len().min(desde + BLOQUE)];
        let dicho = charla.pedir(&format!("OBTENER:{desde}:{BLOQUE}:{cifras}"));
        if tiene.contains(&bloque) {
            assert_eq!(dicho, format!("OK:{}", trozo.len()));
            assert!(charla.leer(trozo.len()) == trozo);
        } else {
            assert_eq!(dicho, "ERROR:aún no lo tengo");
        }
    }
    let de_todo = charla.pedir(&format!("OBTENER:0:{}:{NOMBRE}", contenido.len()));
    assert_eq!(de_todo, "ERROR:aún no lo tengo");
    // Para todo lo demás no está.
    assert_eq!(charla.pedir(&format!("INFO:{NOMBRE}")), "NOFILE");
    assert_eq!(charla.pedir("LISTAR"), "LISTA:0");
    assert_eq!(cuanto_llega(a, &format!("BUSCAR:{NOMBRE}")), 2);
    assert_eq!(rest::pedir(a, &format!("/files/{NOMBRE}"), "").codigo, 404);
    assert_eq!(rest::pedir(a, &format!("/files/{cifras}"), "").codigo, 404);
    // Y en cuanto está entero, es uno más, sin volver a leerlo.
    compuerta.abrir();
    nodo.esperar(DESCARGADO);
    assert_eq!(
        charla.pedir(&format!("TENGO:0:{cifras}")),
        format!("{principio}0-4")
    );
    asegurar_bueno(&carpeta, &contenido);
}

#[cfg(unix)]
#[test]
fn lo_que_se_deja_a_medias_ya_no_se_da_y_se_puede_volver_a_pedir() {
    let contenido = contenido();
    let par = Falso::nuevo(&contenido, Mana::CallaTras(1));
    let carpeta = tempfile::tempdir().unwrap();
    let mut nodo = menu(&carpeta, &[par.direccion], &[]);
    pedir(&mut nodo);
    let pregunta = format!("TENGO:0:{}", huella(&contenido));
    preguntar_hasta(nodo.direccion(), &pregunta, "TENGO:");
    nodo.senal("INT");
    nodo.esperar("descarga cancelada");
    assert_eq!(Charla::con(nodo.direccion()).pedir(&pregunta), "NOFILE");
    // Al seguir, lo que había se da desde el principio.
    nodo.escribir("2");
    nodo.escribir(NOMBRE);
    nodo.escribir("1");
    nodo.esperar_queja("[REANUDANDO]");
    preguntar_hasta(nodo.direccion(), &pregunta, "TENGO:");
}

#[test]
fn se_baja_de_quien_aun_lo_esta_bajando_aunque_llegue_despues() {
    let contenido = datos(12 * BLOQUE);
    let compuerta = Arc::new(Compuerta::default());
    // Da ocho bloques a quien se los pida; después, nada hasta que se abra. Al segundo le retendrá
    // cuatro: de los del primero, alguno queda que pedirle a él.
    let semilla = Falso::nuevo(&contenido, Mana::RetenidoTras(8, Arc::clone(&compuerta)));
    let (una, otra) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut primero = menu(&una, &[semilla.direccion], &[]);
    pedir(&mut primero);
    let pregunta = format!("TENGO:0:{}", huella(&contenido));
    semilla.registro.esperar("OBTENER", 9);
    preguntar_hasta(primero.direccion(), &pregunta, "TENGO:");
    // El segundo sólo puede sacar algo del primero, que no lo tiene entero.
    let mut segundo = menu(&otra, &[semilla.direccion, primero.direccion()], &[]);
    pedir(&mut segundo);
    // La semilla no da más: lo que tenga se lo dio el primero.
    preguntar_hasta(segundo.direccion(), &pregunta, "TENGO:");
    compuerta.abrir();
    primero.esperar(DESCARGADO);
    segundo.esperar(DESCARGADO);
    primero.esperar("[ENVÍO");
    asegurar_bueno(&una, &contenido);
    asegurar_bueno(&otra, &contenido);
    assert_eq!(segundo.quejas(), "");
}

/// Quien sólo sabe de los demás por el maestro también les pide, aunque no tengan el archivo.
#[test]
fn tambien_se_baja_de_quien_lo_esta_bajando_si_solo_lo_conoce_el_maestro() {
    let contenido = datos(12 * BLOQUE);
    let compuerta = Arc::new(Compuerta::default());
    let semilla = Falso::nuevo(&contenido, Mana::RetenidoTras(8, Arc::clone(&compuerta)));
    let maestro = Proceso::maestro(0);
    let con_el = ["--maestro", &maestro.url()];
    let (una, otra) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut primero = menu(&una, &[semilla.direccion], &con_el);
    primero.esperar("[MAESTRO] Registrado");
    pedir(&mut primero);
    let pregunta = format!("TENGO:0:{}", huella(&contenido));
    semilla.registro.esperar("OBTENER", 9);
    preguntar_hasta(primero.direccion(), &pregunta, "TENGO:");
    let mut segundo = menu(&otra, &[semilla.direccion], &con_el);
    pedir(&mut segundo);
    preguntar_hasta(segundo.direccion(), &pregunta, "TENGO:");
    compuerta.abrir();
    segundo.esperar(DESCARGADO);
    asegurar_bueno(&otra, &contenido);
}

// ----- Los que mienten, los ocupados y los que no saben -----

/// Empieza a bajarlo, sin servidor, con esas opciones.
fn empezar(carpeta: &TempDir, opciones: &[String]) -> Child {
    nodo()
        .args(["descargar", NOMBRE, "--carpeta"])
        .arg(carpeta.path())
        .args(opciones)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .lanzar()
}

fn de(fuente: SocketAddr) -> [String; 2] {
    ["--de".into(), fuente.to_string()]
}

#[test]
fn los_bloques_de_un_mentiroso_no_se_guardan_ni_se_pasan_y_se_dice_quien_es() {
    let contenido = contenido();
    let compuerta = Arc::new(Compuerta::default());
    let semilla = Falso::nuevo(&contenido, Mana::Retenido(Arc::clone(&compuerta)));
    // Dice tenerlo todo, y todo lo que da es falso.
    let mut otro = contenido.clone();
    otro.iter_mut().step_by(1 << 20).for_each(|b| *b ^= 1);
    let malo = Falso::con_datos(&contenido, otro, Mana::Par);
    let carpeta = tempfile::tempdir().unwrap();
    let mut nodo = menu(&carpeta, &[semilla.direccion, malo.direccion], &[]);
    pedir(&mut nodo);
    let queja = nodo.esperar_queja("bloque falso");
    let retirada = format!("[FUENTE RETIRADA] {}: ", malo.direccion);
    assert!(queja.contains(&retirada), "{queja}");
    let pregunta = format!("TENGO:0:{}", huella(&contenido));
    assert_eq!(Charla::con(nodo.direccion()).pedir(&pregunta), "NOFILE");
    compuerta.abrir();
    nodo.esperar(DESCARGADO);
    asegurar_bueno(&carpeta, &contenido);
    assert_eq!(
        nodo.quejas().matches("RETIRADA").count(),
        1,
        "{}",
        nodo.quejas()
    );
}

#[test]
fn a_quien_esta_ocupado_o_aun_no_lo_tiene_se_le_repite_y_no_se_retira() {
    let contenido = contenido();
    for motivo in ["ocupado", "aún no lo tengo"] {
        let par = Falso::nuevo(&contenido, Mana::TrasVarios(9, motivo));
        let carpeta = tempfile::tempdir().unwrap();
        let salida = acabar(empezar(&carpeta, &de(par.direccion)));
        assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
        assert_eq!(quejas(&salida), "");
        asegurar_bueno(&carpeta, &contenido);
        assert_eq!(par.registro.cuantos("OBTENER"), 9 + 5);
    }
}

#[test]
fn lo_que_un_ocupado_no_da_se_pide_a_otro() {
    let contenido = contenido();
    let ocupado = Falso::nuevo(&contenido, Mana::TrasVarios(usize::MAX, "ocupado"));
    let compuerta = Arc::new(Compuerta::default());
    let bueno = Falso::nuevo(&contenido, Mana::Retenido(Arc::clone(&compuerta)));
    let carpeta = tempfile::tempdir().unwrap();
    let fuentes = [de(ocupado.direccion), de(bueno.direccion)].concat();
    let proceso = empezar(&carpeta, &fuentes);
    ocupado.registro.esperar("OBTENER", 3);
    compuerta.abrir();
    let salida = acabar(proceso);
    assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
    assert_eq!(quejas(&salida), "");
    assert!(dicho(&salida).contains("1 fuente"), "{}", dicho(&salida));
    asegurar_bueno(&carpeta, &contenido);
}

#[test]
fn quien_lo_guarda_con_otro_nombre_se_suma_y_quien_no_sabe_o_calla_no_estorba() {
    let contenido = contenido();
    let compuerta = Arc::new(Compuerta::default());
    let semilla = Falso::nuevo(&contenido, Mana::Retenido(Arc::clone(&compuerta)));
    let con_otro_nombre = Falso::nuevo(&contenido, Mana::Par);
    // Acepta y calla; no conoce la palabra; es de la guía; no hay nadie.
    let mudo = Falso::nuevo(&contenido, Mana::Mudo);
    let antiguo = Falso::nuevo(&contenido, Mana::NoLoTiene);
    let guia = Falso::nuevo(&contenido, Mana::Guia);
    let nadie = libre().local_addr().unwrap();
    let carpeta = tempfile::tempdir().unwrap();
    let pares = [con_otro_nombre.direccion, mudo.direccion, antiguo.direccion];
    let pares = pares
        .into_iter()
        .chain([guia.direccion, nadie])
        .collect::<Vec<_>>();
    let mut todos = vec![semilla.direccion];
    todos.extend(pares);
    let mut nodo = menu(&carpeta, &todos, &[]);
    pedir(&mut nodo);
    // La semilla retiene los suyos: lo demás sólo puede darlo quien lo tiene con otro nombre.
    con_otro_nombre.registro.esperar("OBTENER", 1);
    compuerta.abrir();
    let antes = Instant::now();
    nodo.esperar("comprobado");
    assert!(
        antes.elapsed() < Duration::from_secs(8),
        "{:?}",
        antes.elapsed()
    );
    asegurar_bueno(&carpeta, &contenido);
    assert!(!nodo.quejas().contains("RETIRADA"), "{}", nodo.quejas());
    let por_huella = format!("OBTENER:0:{BLOQUE}:{}", huella(&contenido));
    assert_eq!(semilla.registro.cuantos(&por_huella), 0, "por su nombre");
    assert_eq!(
        con_otro_nombre.registro.cuantos(&format!("INFO:{NOMBRE}")),
        0
    );
}

#[test]
fn ni_un_par_ni_un_maestro_mudos_retrasan_el_principio() {
    let contenido = datos(1000);
    let (par, mudo) = (Falso::nuevo(&contenido, Mana::Honrado), libre());
    let mudo = mudo
        .local_addr()
        .map(|direccion| (direccion, mudo))
        .unwrap();
    let maestro = ["--maestro".to_string(), format!("http://{}", mudo.0)];
    for con_maestro in [&maestro[..0], &maestro[..]] {
        let peers = [mudo.0, par.direccion].map(|peer| ["--peer".into(), peer.to_string()]);
        let espera = ["--espera".into(), "20".into()];
        let opciones = [&peers.concat()[..], &espera, con_maestro].concat();
        let carpeta = tempfile::tempdir().unwrap();
        let empezo = Instant::now();
        let mut proceso = empezar(&carpeta, &opciones);
        hasta_que("que lo baje", || {
            carpeta.path().join(NOMBRE).exists().then_some(())
        });
        assert!(
            empezo.elapsed() < Duration::from_secs(8),
            "{:?}",
            empezo.elapsed()
        );
        if con_maestro.is_empty() {
            assert_eq!(codigo(&acabar(proceso)), Some(0));
        } else {
            // Para decir que el maestro no contesta, sí se le espera.
            proceso.kill().unwrap();
            proceso.wait().unwrap();
        }
        asegurar_bueno(&carpeta, &contenido);
    }
}

#[test]
fn con_de_no_se_pregunta_a_nadie_mas() {
    let contenido = contenido();
    let (uno, otro) = (
        Falso::nuevo(&contenido, Mana::Honrado),
        Falso::nuevo(&contenido, Mana::Par),
    );
    let carpeta = tempfile::tempdir().unwrap();
    let peer = ["--peer".into(), otro.direccion.to_string()];
    let salida = acabar(empezar(&carpeta, &[de(uno.direccion), peer].concat()));
    assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
    assert_eq!(otro.registro.cuantos(""), 0);
}

#[test]
fn con_ritmo_manda_cuatro_bloques_a_la_vez_y_al_quinto_le_dice_ocupado() {
    let contenido = contenido();
    let compartida = tempfile::tempdir().unwrap();
    fs::write(compartida.path().join(NOMBRE), &contenido).unwrap();
    let nodo = Proceso::nodo(compartida.path(), &["--ritmo", "1MB"]);
    let pedido = format!("OBTENER:0:{BLOQUE}:{NOMBRE}");
    let mut cuatro: Vec<Charla> = (0..4).map(|_| Charla::con(nodo.direccion())).collect();
    for charla in &mut cuatro {
        assert_eq!(charla.pedir(&pedido), format!("OK:{BLOQUE}"));
    }
    let mut quinto = Charla::con(nodo.direccion());
    let antes = Instant::now();
    assert_eq!(quinto.pedir(&pedido), "ERROR:ocupado");
    assert!(antes.elapsed() < Duration::from_secs(1), "enseguida");
    // No se cierra: en cuanto uno se va, hay sitio.
    drop(cuatro.pop());
    hasta_que("sitio para otro", || {
        (quinto.pedir(&pedido) == format!("OK:{BLOQUE}")).then_some(())
    });
}

/// El segundo se lo podrá pedir al primero; mientras, que se mande otro.
#[test]
fn con_ritmo_el_mismo_bloque_no_se_manda_a_dos_salvo_a_quien_acaba_de_llegar() {
    let contenido = contenido();
    let compartida = tempfile::tempdir().unwrap();
    fs::write(compartida.path().join(NOMBRE), &contenido).unwrap();
    // Así un bloque tarda cuarenta segundos, y al final de la prueba sigue a medias.
    let nodo = Proceso::nodo(compartida.path(), &["--ritmo", "100KB"]);
    let bloque = |n: usize| format!("OBTENER:{}:{BLOQUE}:{NOMBRE}", n * BLOQUE);
    let bueno = format!("OK:{BLOQUE}");
    let mut viejo = Charla::con(nodo.direccion());
    assert_eq!(viejo.pedir(&format!("OBTENER:0:1:{NOMBRE}")), "OK:1");
    viejo.leer(1);
    let desde = Instant::now();
    let mut otros = [0, 1].map(|_| Charla::con(nodo.direccion()));
    assert_eq!(otros[0].pedir(&bloque(0)), bueno);
    hasta_que("que deje de ser nuevo", || {
        (desde.elapsed() > Duration::from_secs(3)).then_some(())
    });
    assert_eq!(viejo.pedir(&bloque(0)), "ERROR:ocupado");
    assert_eq!(otros[1].pedir(&bloque(0)), bueno, "acaba de llegar");
    assert_eq!(viejo.pedir(&bloque(1)), bueno, "otro sí");
}

// ----- Cuando se pierde la red -----

const ESPERANDO: &str = "[ESPERANDO] se perdió la conexión; se vuelve a intentar…";

#[test]
fn si_la_fuente_vuelve_la_descarga_sigue() {
    let contenido = datos(12 * BLOQUE);
    let compartida = tempfile::tempdir().unwrap();
    fs::write(compartida.path().join(NOMBRE), &contenido).unwrap();
    let mut fuente = Proceso::nodo(compartida.path(), &["--ritmo", "16MB"]);
    let carpeta = tempfile::tempdir().unwrap();
    let mut proceso = empezar(&carpeta, &de(fuente.direccion()));
    let mut suyas = BufReader::new(proceso.stderr.take().unwrap());
    // Con algún bloque ya guardado.
    hasta_que("el primer bloque", || {
        let parte = fs::metadata(carpeta.path().join(format!(".{NOMBRE}.part")));
        (parte.ok()?.len() >= BLOQUE as u64).then_some(())
    });
    fuente.matar();
    let mut queja = String::new();
    suyas.read_line(&mut queja).unwrap();
    assert_eq!(queja.trim_end(), ESPERANDO);
    let puerto = fuente.puerto.to_string();
    let mut otra_vez = nodo();
    let opciones = [
        "servir",
        "--puerto",
        &puerto,
        "--peer",
        "127.0.0.1:9",
        "--carpeta",
    ];
    otra_vez.args(opciones).arg(compartida.path());
    let _fuente = Proceso::nuevo(otra_vez);
    let salida = acabar_sin_quejas(proceso, suyas);
    assert!(salida.contains("comprobado"), "{salida}");
    asegurar_bueno(&carpeta, &contenido);
}

/// Espera a que acabe bien y sin decir nada más por stderr. Lo que dijo por stdout.
fn acabar_sin_quejas(mut proceso: Child, mut suyas: BufReader<ChildStderr>) -> String {
    let mut dicho = String::new();
    let mut stdout = proceso.stdout.take().unwrap();
    stdout.read_to_string(&mut dicho).unwrap();
    let mut quejas = String::new();
    suyas.read_to_string(&mut quejas).unwrap();
    assert_eq!(quejas, "");
    assert_eq!(proceso.wait().unwrap().code(), Some(0));
    dicho
}

#[test]
fn dos_reconexiones_sin_un_bloque_la_retiran() {
    let contenido = contenido();
    // Da dos bloques y desde entonces cierra todo lo que le llegue.
    let par = Falso::nuevo(&contenido, Mana::DesapareceTras(2));
    let carpeta = tempfile::tempdir().unwrap();
    let empezo = Instant::now();
    let salida = acabar(empezar(&carpeta, &de(par.direccion)));
    let (quejas, tardo) = (quejas(&salida), empezo.elapsed());
    assert_eq!(codigo(&salida), Some(1), "{quejas}");
    assert_eq!(quejas.matches(ESPERANDO).count(), 1, "{quejas}");
    assert_eq!(quejas.matches("RETIRADA").count(), 1, "{quejas}");
    assert!(quejas.contains("no queda ninguna fuente"), "{quejas}");
    let plazos = Duration::from_secs(4)..Duration::from_secs(20);
    assert!(plazos.contains(&tardo), "{tardo:?}");
}

#[test]
fn no_se_espera_a_quien_miente_ni_a_quien_no_dio_nada_ni_si_se_dice_que_no() {
    let contenido = contenido();
    let sin_esperar = ["--esperar-red".to_string(), "0".to_string()];
    let casos = [
        (Mana::ByteCambiado(4), &sin_esperar[..0]),
        (Mana::DesapareceTras(0), &sin_esperar[..0]),
        (Mana::DesapareceTras(2), &sin_esperar[..]),
    ];
    for (mana, opciones) in casos {
        let par = Falso::nuevo(&contenido, mana);
        let carpeta = tempfile::tempdir().unwrap();
        let empezo = Instant::now();
        let opciones = [&de(par.direccion), opciones].concat();
        let salida = acabar(empezar(&carpeta, &opciones));
        let (quejas, tardo) = (quejas(&salida), empezo.elapsed());
        assert_eq!(codigo(&salida), Some(1), "{quejas}");
        assert!(
            !quejas.contains("ESPERANDO") && quejas.contains("RETIRADA"),
            "{quejas}"
        );
        assert!(tardo < Duration::from_secs(3), "{tardo:?}");
    }
}

#[cfg(unix)]
#[test]
fn mientras_se_espera_ctrl_c_lo_deja() {
    let contenido = datos(12 * BLOQUE);
    let compartida = tempfile::tempdir().unwrap();
    fs::write(compartida.path().join(NOMBRE), &contenido).unwrap();
    let mut fuente = Proceso::nodo(compartida.path(), &["--ritmo", "16MB"]);
    let carpeta = tempfile::tempdir().unwrap();
    let mut proceso = empezar(&carpeta, &de(fuente.direccion()));
    hasta_que("el primer bloque", || {
        let parte = fs::metadata(carpeta.path().join(format!(".{NOMBRE}.part")));
        (parte.ok()?.len() >= BLOQUE as u64).then_some(())
    });
    fuente.matar();
    let mut queja = String::new();
    let mut suyas = BufReader::new(proceso.stderr.take().unwrap());
    suyas.read_line(&mut queja).unwrap();
    assert_eq!(queja.trim_end(), ESPERANDO);
    let antes = Instant::now();
    super::comun::senal(proceso.id(), "INT");
    assert_eq!(proceso.wait().unwrap().code(), Some(130));
    assert!(
        antes.elapsed() < Duration::from_secs(2),
        "{:?}",
        antes.elapsed()
    );
}
