//! Bajar varios y carpetas enteras: por una conexión por fuente, sin que se cuele nada falso, y
//! siguiendo con los demás si algo falla. Y, en el menú, pedir por número o por un trozo.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use tempfile::{TempDir, tempdir};

use super::comun::falsos::{
    BLOQUE, Compuerta, Falso, Mana, Puente, Registro, huella, huellas_de_bloques,
};
use super::comun::{Lanzar, Proceso, acabar, codigo, datos, dicho, nodo, nombres, quejas};
use crate::guia::{
    DESCARGADO, DISPONIBLE_EN, NO_ENCONTRADO, NO_SE_ENCONTRO, OPCION_INVALIDA, SELECCIONE,
};

// ----- Un par de mentira con muchos archivos -----

/// Lo que hace con una petición.
enum Hace {
    /// Lo que toca.
    LoSuyo,
    /// Contesta esto.
    Dice(Vec<u8>),
    /// Desaparece del todo.
    SeVa,
    /// Cierra esta conexión.
    Cierra,
}

type Mania = dyn Fn(&str, usize) -> Hace + Send + Sync;

struct Muchos {
    direccion: SocketAddr,
    registro: Arc<Registro>,
    conexiones: Arc<AtomicUsize>,
}

/// Un par con esos archivos. `mania` recibe cada petición y cuántas van de su palabra.
fn muchos(
    archivos: &[(String, Vec<u8>)],
    mania: impl Fn(&str, usize) -> Hace + Send + Sync + 'static,
) -> Muchos {
    let escucha = TcpListener::bind("127.0.0.1:0").unwrap();
    let direccion = escucha.local_addr().unwrap();
    let archivos: Arc<BTreeMap<String, Vec<u8>>> = Arc::new(archivos.iter().cloned().collect());
    let (registro, conexiones) = (Arc::new(Registro::default()), Arc::new(AtomicUsize::new(0)));
    let (suyo, cuenta, mania) = (registro.clone(), conexiones.clone(), Arc::new(mania));
    let vivo = Arc::new(AtomicBool::new(true));
    thread::spawn(move || {
        for conexion in escucha.incoming().map_while(Result::ok) {
            if !vivo.load(Ordering::SeqCst) {
                continue;
            }
            cuenta.fetch_add(1, Ordering::SeqCst);
            let (archivos, registro) = (archivos.clone(), suyo.clone());
            let (mania, vivo) = (mania.clone(), vivo.clone());
            thread::spawn(move || {
                let _ = atender(&conexion, &archivos, &registro, &*mania, &vivo);
                let _ = conexion.shutdown(Shutdown::Both);
            });
        }
    });
    Muchos {
        direccion,
        registro,
        conexiones,
    }
}

fn atender(
    mut conexion: &TcpStream,
    archivos: &BTreeMap<String, Vec<u8>>,
    registro: &Registro,
    mania: &Mania,
    vivo: &AtomicBool,
) -> std::io::Result<()> {
    let mut lector = BufReader::new(conexion);
    loop {
        let primero = lector.fill_buf()?;
        if let Some(nombre) = primero.strip_prefix(b"BUSCAR:") {
            let esta = archivos.contains_key(&*String::from_utf8_lossy(nombre));
            return conexion.write_all(if esta { b"SI" } else { b"NO" });
        }
        let mut linea = String::new();
        if lector.read_line(&mut linea)? == 0 {
            return Ok(());
        }
        let pedido = linea.trim_end();
        match mania(pedido, registro.apuntar(pedido)) {
            Hace::LoSuyo => conexion.write_all(&contestar(pedido, archivos))?,
            Hace::Dice(bytes) => conexion.write_all(&bytes)?,
            Hace::Cierra => return Ok(()),
            Hace::SeVa => {
                vivo.store(false, Ordering::SeqCst);
                return Ok(());
            }
        }
    }
}

fn contestar(pedido: &str, archivos: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let (palabra, resto) = pedido.split_once(':').unwrap_or((pedido, ""));
    let nombre = match palabra {
        "OBTENER" => resto.splitn(3, ':').nth(2).unwrap(),
        _ => resto,
    };
    match (palabra, archivos.get(nombre)) {
        ("HOLA", _) => b"HOLA:1:falso\n".to_vec(),
        ("LISTAR", _) => lista(archivos, huella).into_bytes(),
        (_, None) => b"NOFILE\n".to_vec(),
        ("INFO", Some(datos)) => format!("INFO:{}:{}\n", datos.len(), huella(datos)).into_bytes(),
        ("BLOQUES", Some(datos)) => {
            let bloques = huellas_de_bloques(datos);
            format!("BLOQUES:{}\n{}\n", bloques.len(), bloques.join("\n")).into_bytes()
        }
        ("OBTENER", Some(datos)) => {
            let mut numeros = resto.splitn(3, ':').map_while(|n| n.parse::<usize>().ok());
            let (desde, largo) = (numeros.next().unwrap(), numeros.next().unwrap());
            let hasta = (desde + largo).min(datos.len());
            let cabecera = format!("OK:{}\n", hasta - desde);
            [cabecera.as_bytes(), &datos[desde..hasta]].concat()
        }
        _ => b"ERROR:palabra desconocida\n".to_vec(),
    }
}

fn lista(archivos: &BTreeMap<String, Vec<u8>>, huella: impl Fn(&[u8]) -> String) -> String {
    let una = |(n, d): (&String, &Vec<u8>)| format!("{}:{}:{n}\n", d.len(), huella(d));
    let lineas: String = archivos.iter().map(una).collect();
    format!("LISTA:{}\n{lineas}", archivos.len())
}

/// `cuantos` archivos distintos en `apuntes/`.
fn apuntes(cuantos: usize) -> Vec<(String, Vec<u8>)> {
    let uno = |n: usize| {
        (
            format!("apuntes/{n:04}.txt"),
            format!("el {n}\n").repeat(9).into(),
        )
    };
    (0..cuantos).map(uno).collect()
}

// ----- Pedir -----

fn orden(que: &[&str], carpeta: &Path, de: &[SocketAddr]) -> Command {
    let mut orden = nodo();
    orden
        .arg("descargar")
        .args(que)
        .arg("--carpeta")
        .arg(carpeta);
    for fuente in de {
        orden.args(["--de", &fuente.to_string()]);
    }
    orden
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    orden
}

fn descargar(que: &[&str], carpeta: &TempDir, de: &[SocketAddr]) -> Output {
    acabar(orden(que, carpeta.path(), de).lanzar())
}

fn con(archivos: &[(&str, &[u8])]) -> TempDir {
    let carpeta = tempdir().unwrap();
    for (nombre, datos) in archivos {
        let ruta = carpeta.path().join(nombre);
        fs::create_dir_all(ruta.parent().unwrap()).unwrap();
        fs::write(ruta, datos).unwrap();
    }
    carpeta
}

fn estan(carpeta: &TempDir, archivos: &[(String, Vec<u8>)]) {
    for (nombre, datos) in archivos {
        let leido = fs::read(carpeta.path().join(nombre));
        assert_eq!(leido.as_ref().ok(), Some(datos), "{nombre}");
    }
}

/// Acabó con ese código y esa última línea, y no queda nada a medias.
#[track_caller]
fn acabo(salida: &Output, con_codigo: i32, linea: &str) {
    let contado = (codigo(salida), dicho(salida));
    assert_eq!(
        contado,
        (Some(con_codigo), format!("{linea}\n")),
        "{}",
        quejas(salida)
    );
}

// ----- Lo que se pide -----

#[test]
fn una_carpeta_entera_con_lo_que_cuelga_y_nada_mas() {
    let grande = datos(BLOQUE + 7);
    let suyos: &[(&str, &[u8])] = &[
        ("apuntes/uno.txt", b"uno"),
        ("apuntes/año 2/ñandú en línea.txt", "ñ".as_bytes()),
        ("apuntes/año 2/b/vacio", b""),
        ("apuntes/grande.bin", &grande),
        ("apuntes2/no.txt", b"no"),
        ("suelto.txt", b"suelto"),
    ];
    let servida = con(suyos);
    let servidor = Proceso::nodo(servida.path(), &[]);
    let carpeta = con(&[
        ("apuntes/uno.txt", b"otro distinto"),
        ("apuntes/año 2/b/vacio", b""),
    ]);
    let de = [servidor.direccion()];
    let salida = descargar(&["apuntes/"], &carpeta, &de);
    acabo(&salida, 0, "3 archivos · 4,2 MB · 1 ya lo tenías");
    assert!(
        quejas(&salida).contains("queda como «apuntes/uno (1).txt»"),
        "{}",
        quejas(&salida)
    );
    let leer = |nombre: &str| fs::read(carpeta.path().join(nombre)).unwrap();
    assert_eq!(leer("apuntes/uno.txt"), b"otro distinto", "no se pisa");
    assert_eq!(leer("apuntes/uno (1).txt"), b"uno");
    assert_eq!(leer("apuntes/año 2/ñandú en línea.txt"), "ñ".as_bytes());
    assert_eq!(leer("apuntes/grande.bin"), grande);
    assert_eq!(
        nombres(&carpeta),
        ["apuntes"],
        "lo que no cuelga de ella no se baja"
    );
    let quedan = fs::read_dir(carpeta.path().join("apuntes"))
        .unwrap()
        .count();
    assert_eq!(quedan, 4, "no queda nada a medias");
    // Otra vez: no se baja nada, ni el que quedó con número.
    let salida = descargar(&["apuntes/", "suelto.txt"], &carpeta, &de);
    acabo(&salida, 0, "1 archivo · 6 bytes · 4 ya los tenías");
}

#[test]
fn varios_nombres_y_uno_que_nadie_tiene() {
    let servida = con(&[("a.txt", b"a"), ("b.txt", b"bb"), ("c.txt", b"c")]);
    let servidor = Proceso::nodo(servida.path(), &[]);
    let carpeta = con(&[("solo mio.txt", b"mio")]);
    let que = [
        "a.txt",
        "b.txt",
        "falta.txt",
        "a.txt",
        "solo mio.txt",
        "nada/",
    ];
    let salida = descargar(&que, &carpeta, &[servidor.direccion()]);
    let linea = "2 archivos · 3 bytes · 1 ya lo tenías · 2 fallaron (nada/: nadie tiene esa \
                 carpeta; falta.txt: nadie lo tiene)";
    acabo(&salida, 1, linea);
    let dijo = quejas(&salida);
    assert!(
        dijo.contains(&format!("{NO_ENCONTRADO} falta.txt")),
        "{dijo}"
    );
    assert!(
        dijo.contains("solo mio.txt: no está en la red, pero ya lo tienes tú"),
        "{dijo}"
    );
    assert_eq!(nombres(&carpeta), ["a.txt", "b.txt", "solo mio.txt"]);
}

#[test]
fn con_un_solo_nombre_se_cuenta_como_siempre() {
    let servida = con(&[("a.txt", b"a")]);
    let servidor = Proceso::nodo(servida.path(), &[]);
    let carpeta = con(&[]);
    let salida = descargar(&["a.txt"], &carpeta, &[servidor.direccion()]);
    assert!(
        dicho(&salida).starts_with(&format!("{DESCARGADO} a.txt\n")),
        "{}",
        dicho(&salida)
    );
}

#[test]
fn lo_que_no_esta_pero_se_parece_se_sugiere_y_no_se_baja() {
    let servida = con(&[("Ñandú.txt", b"n"), ("apuntes/x.txt", b"x")]);
    let servidor = Proceso::nodo(servida.path(), &[]);
    let carpeta = con(&[("tarea.txt", b"t")]);
    let de = [servidor.direccion()];
    for (escrito, sugerido) in [
        ("nandu.txt", "¿querías decir «Ñandú.txt»?"),
        ("Ñanduu.txt", "¿querías decir «Ñandú.txt»?"),
        ("x.txt", "¿querías decir «apuntes/x.txt»?"),
        ("Apunte/", "¿querías decir «apuntes/»?"),
    ] {
        let salida = descargar(&[escrito], &carpeta, &de);
        assert_eq!(codigo(&salida), Some(1));
        assert!(
            quejas(&salida).contains(sugerido),
            "{escrito}: {}",
            quejas(&salida)
        );
    }
    let salida = descargar(&["nandu.txt", "zzzzzz"], &carpeta, &de);
    assert!(
        quejas(&salida).contains("¿querías decir «Ñandú.txt»?"),
        "{}",
        quejas(&salida)
    );
    // Lo que no está y ya se tiene no es un fallo.
    let salida = descargar(&["tarea.txt"], &carpeta, &de);
    assert_eq!(codigo(&salida), Some(0));
    assert!(
        quejas(&salida).contains("ya lo tienes tú"),
        "{}",
        quejas(&salida)
    );
    assert_eq!(nombres(&carpeta), ["tarea.txt"], "nada de adivinar");
}

// ----- Cómo se baja -----

/// No contesta al primero hasta que se le hayan pedido veinte: de uno en uno no llegaría ninguno.
#[test]
fn por_una_sola_conexion_y_con_pedidos_en_vuelo() {
    let archivos = apuntes(50);
    // Las veinte primeras se contestan juntas: quien lee las líneas es el mismo hilo.
    let guardados = Mutex::new(Vec::new());
    let (todos, mapa) = (
        archivos.clone(),
        archivos.iter().cloned().collect::<BTreeMap<_, _>>(),
    );
    let par = muchos(&todos, move |pedido, vez| {
        if !pedido.starts_with("OBTENER") || vez > 20 {
            return Hace::LoSuyo;
        }
        let mut guardados = guardados.lock().unwrap();
        guardados.extend(contestar(pedido, &mapa));
        Hace::Dice(if vez == 20 {
            std::mem::take(&mut *guardados)
        } else {
            Vec::new()
        })
    });
    let carpeta = con(&[]);
    let salida = descargar(&["apuntes/"], &carpeta, &[par.direccion]);
    assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
    estan(&carpeta, &archivos);
    assert_eq!(par.conexiones.load(Ordering::SeqCst), 1);
    assert_eq!(par.registro.cuantos("BLOQUES"), 0);
    assert_eq!(par.registro.cuantos("INFO"), 0);
    // Lo que ya se tiene no se vuelve a pedir.
    let salida = descargar(&["apuntes/"], &carpeta, &[par.direccion]);
    acabo(&salida, 0, "0 archivos · 0 bytes · 50 ya los tenías");
    assert_eq!(par.registro.cuantos("OBTENER"), 50);
}

#[test]
fn con_varias_fuentes_se_reparte() {
    let archivos = apuntes(600);
    let (uno, otro) = (
        Arc::new(Registro::default()),
        Arc::new(Compuerta::default()),
    );
    let _ = uno;
    // El primero no pasa de trescientos hasta que al otro se le pida alguno.
    let (abre, espera) = (otro.clone(), otro);
    let segundo = muchos(&archivos, move |pedido, _| {
        if pedido.starts_with("OBTENER") {
            abre.abrir();
        }
        Hace::LoSuyo
    });
    let primero = muchos(&archivos, move |pedido, vez| {
        if pedido.starts_with("OBTENER") && vez == 300 {
            espera.pasar();
        }
        Hace::LoSuyo
    });
    let carpeta = con(&[]);
    let de = [primero.direccion, segundo.direccion];
    let salida = descargar(&["apuntes/"], &carpeta, &de);
    assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
    estan(&carpeta, &archivos);
    let pedidos = [&primero, &segundo].map(|par| par.registro.cuantos("OBTENER"));
    assert!(pedidos.iter().all(|cuantos| *cuantos > 0), "{pedidos:?}");
    assert_eq!(
        pedidos.iter().sum::<usize>(),
        600,
        "ninguno se pide dos veces"
    );
}

/// Quien cierra tras cada respuesta, y quien dice a veces que está ocupado.
#[test]
fn a_quien_cierra_o_esta_ocupado_se_le_vuelve_a_pedir() {
    let archivos = apuntes(12);
    let mapa: BTreeMap<_, _> = archivos.iter().cloned().collect();
    let cierra = muchos(&archivos, |pedido, vez| {
        match pedido.starts_with("OBTENER") {
            true if vez % 2 == 0 => Hace::Cierra,
            _ => Hace::LoSuyo,
        }
    });
    let ocupado = muchos(&archivos, move |pedido, vez| {
        match pedido.starts_with("OBTENER") {
            true if vez % 4 == 1 => Hace::Dice(b"ERROR:ocupado\n".to_vec()),
            true => Hace::Dice(contestar(pedido, &mapa)),
            false => Hace::LoSuyo,
        }
    });
    for par in [&cierra, &ocupado] {
        let carpeta = con(&[]);
        let salida = descargar(&["apuntes/"], &carpeta, &[par.direccion]);
        assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
        estan(&carpeta, &archivos);
        assert!(!quejas(&salida).contains("RETIRADA"), "{}", quejas(&salida));
    }
}

#[test]
fn de_quien_aun_calcula_la_huella_se_espera_a_que_la_sepa() {
    let archivos = apuntes(5);
    let mapa: BTreeMap<_, _> = archivos.iter().cloned().collect();
    let par = muchos(&archivos, move |pedido, vez| match pedido {
        "LISTAR" => Hace::Dice(lista(&mapa, |_| "-".into()).into_bytes()),
        _ if pedido.starts_with("INFO") && vez == 2 => {
            let largo = mapa["apuntes/0001.txt"].len();
            Hace::Dice(format!("INFO:{largo}:-\n").into_bytes())
        }
        _ => Hace::LoSuyo,
    });
    let carpeta = con(&[]);
    let salida = descargar(&["apuntes/"], &carpeta, &[par.direccion]);
    assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
    estan(&carpeta, &archivos);
    assert!(quejas(&salida).contains("aún se calcula la huella de 1 archivo"));
    assert_eq!(
        par.registro.cuantos("INFO"),
        6,
        "sólo se vuelve a preguntar por el que falta"
    );
}

// ----- Los que no son de fiar -----

#[test]
fn un_mentiroso_en_uno_de_mil_se_descubre_y_sus_archivos_los_da_otro() {
    let archivos = apuntes(1000);
    let cual = "apuntes/0500.txt";
    let falso: Vec<u8> = archivos[500].1.iter().map(|byte| byte ^ 1).collect();
    let mentira = move |pedido: &str, _| match pedido.starts_with("OBTENER") {
        true if pedido.ends_with(cual) => {
            Hace::Dice([format!("OK:{}\n", falso.len()).as_bytes(), &falso].concat())
        }
        _ => Hace::LoSuyo,
    };
    let mentiroso = muchos(&archivos, mentira.clone());
    // El honrado sólo sirve cuando el otro ya mintió: así le toca ese.
    let visto = mentiroso.registro.clone();
    let honrado = muchos(&archivos, move |pedido, _| {
        if pedido.starts_with("OBTENER") {
            visto.esperar(&format!("INFO:{cual}"), 1);
        }
        Hace::LoSuyo
    });
    let carpeta = con(&[]);
    let de = [mentiroso.direccion, honrado.direccion];
    let salida = descargar(&["apuntes/"], &carpeta, &de);
    assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
    estan(&carpeta, &archivos);
    let dijo = quejas(&salida);
    let retirada = format!(
        "[FUENTE RETIRADA] {}: mandó {cual} falso",
        mentiroso.direccion
    );
    assert!(dijo.contains(&retirada), "{dijo}");
    // Él solo: lo que dio bueno se queda, y lo falso no está con ningún nombre.
    let (solo, carpeta) = (muchos(&archivos, mentira), con(&[]));
    let salida = descargar(&["apuntes/"], &carpeta, &[solo.direccion]);
    assert_eq!(codigo(&salida), Some(1));
    assert!(dicho(&salida).contains("fallaron (") && dicho(&salida).contains("mandó "));
    estan(&carpeta, &archivos[..400]);
    assert!(!carpeta.path().join(cual).exists());
}

#[test]
fn si_una_fuente_se_va_a_la_mitad_sigue_otra() {
    let archivos = apuntes(400);
    let se_va = muchos(&archivos, |pedido, vez| {
        match pedido.starts_with("OBTENER") {
            true if vez > 30 => Hace::SeVa,
            _ => Hace::LoSuyo,
        }
    });
    let visto = se_va.registro.clone();
    let queda = muchos(&archivos, move |pedido, _| {
        if pedido.starts_with("OBTENER") {
            visto.esperar("OBTENER", 31);
        }
        Hace::LoSuyo
    });
    let carpeta = con(&[]);
    let de = [se_va.direccion, queda.direccion];
    let salida = descargar(&["apuntes/"], &carpeta, &de);
    acabo(
        &salida,
        0,
        &format!("400 archivos · {}", crate::texto::tamano(suma(&archivos))),
    );
    estan(&carpeta, &archivos);
    let retirada = format!("[FUENTE RETIRADA] {}", se_va.direccion);
    assert!(quejas(&salida).contains(&retirada), "{}", quejas(&salida));
    // Si era la única, se dice cuántos faltan y lo demás queda.
    let se_va = muchos(&archivos, |pedido, vez| {
        match pedido.starts_with("OBTENER") {
            true if vez > 30 => Hace::SeVa,
            _ => Hace::LoSuyo,
        }
    });
    let carpeta = con(&[]);
    let salida = descargar(&["apuntes/"], &carpeta, &[se_va.direccion]);
    assert_eq!(codigo(&salida), Some(1));
    assert!(
        dicho(&salida).starts_with("30 archivos · "),
        "{}",
        dicho(&salida)
    );
    assert!(
        dicho(&salida).contains("370 fallaron ("),
        "{}",
        dicho(&salida)
    );
    estan(&carpeta, &archivos[..30]);
}

fn suma(archivos: &[(String, Vec<u8>)]) -> u64 {
    archivos.iter().map(|(_, datos)| datos.len() as u64).sum()
}

#[test]
fn los_nombres_hostiles_no_salen_de_la_carpeta() {
    let malos = [
        "../fuera",
        "/tmp/nodo-absoluta",
        "a/../../fuera",
        "CON",
        "a/.oculto",
        "b\\c",
        "x:y",
    ];
    let mut archivos: Vec<(String, Vec<u8>)> = malos
        .iter()
        .map(|n| (n.to_string(), b"malo".to_vec()))
        .collect();
    archivos.push(("bueno.txt".into(), b"bueno".to_vec()));
    let par = muchos(&archivos, |_, _| Hace::LoSuyo);
    let madre = tempdir().unwrap();
    let carpeta = madre.path().join("c");
    let salida = acabar(orden(&["./"], &carpeta, &[par.direccion]).lanzar());
    assert_eq!(codigo(&salida), Some(1));
    assert!(
        dicho(&salida).starts_with("1 archivo · 5 bytes · 7 fallaron ("),
        "{}",
        dicho(&salida)
    );
    for malo in malos {
        let dijo = quejas(&salida);
        assert!(
            dijo.contains(&format!("{malo}: no se puede guardar")),
            "{malo}: {dijo}"
        );
    }
    assert_eq!(nombres(&madre), ["c"]);
    let dentro: Vec<_> = fs::read_dir(&carpeta)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(dentro, ["bueno.txt"]);
    assert_eq!(
        par.registro.cuantos("OBTENER"),
        1,
        "lo que no se va a guardar no se pide"
    );
}

#[test]
fn lo_que_no_puede_caber_no_impide_lo_demas() {
    let bueno = ("bueno.txt".to_string(), b"bueno".to_vec());
    let par = muchos(std::slice::from_ref(&bueno), |pedido, _| match pedido {
        "LISTAR" => {
            let (enorme, suya) = (u64::MAX, huella(b"bueno"));
            let lista =
                format!("LISTA:3\n{enorme}:{suya}:a\n{enorme}:{suya}:b\n5:{suya}:bueno.txt\n");
            Hace::Dice(lista.into_bytes())
        }
        _ => Hace::LoSuyo,
    });
    let carpeta = con(&[]);
    let salida = descargar(&["./"], &carpeta, &[par.direccion]);
    assert_eq!(codigo(&salida), Some(1));
    let dijo = dicho(&salida);
    assert!(
        dijo.starts_with("1 archivo · 5 bytes · 2 fallaron (a: a no cabe"),
        "{dijo}"
    );
    estan(&carpeta, &[bueno]);
}

#[test]
fn si_hay_dos_distintos_con_el_mismo_nombre_se_baja_el_que_tengan_mas() {
    let el = |texto: &str| vec![("a.txt".to_string(), texto.as_bytes().to_vec())];
    let pares =
        [el("raro"), el("comun"), el("comun")].map(|suyo| muchos(&suyo, |_, _| Hace::LoSuyo));
    let de: Vec<SocketAddr> = pares.iter().map(|par| par.direccion).collect();
    let carpeta = con(&[]);
    // Con dos nombres, para que sea por aquí.
    let salida = descargar(&["a.txt", "./"], &carpeta, &de);
    assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
    assert_eq!(fs::read(carpeta.path().join("a.txt")).unwrap(), b"comun");
    let dijo = quejas(&salida);
    assert!(
        dijo.contains("hay 2 archivos distintos llamados a.txt; se baja el que tienen 2"),
        "{dijo}"
    );
    assert_eq!(pares[0].registro.cuantos("OBTENER"), 0);
}

/// Entre que lo lista y que lo manda, el archivo cambia (o lo borran): llega el de ahora, y quien
/// lo tiene no es un mentiroso.
#[test]
fn uno_que_cambia_entre_la_lista_y_la_peticion_llega_como_esta() {
    let servida = con(&[("c/a.txt", b"antes"), ("c/b.txt", b"b"), ("c/z.txt", b"z")]);
    let servidor = Proceso::nodo(servida.path(), &[]);
    let ruta = servida.path().to_path_buf();
    let puente = Puente::nuevo(servidor.direccion(), move |pedido, vez| {
        if pedido.starts_with("OBTENER") && vez == 1 {
            fs::write(ruta.join("c/a.txt"), "despues").unwrap();
            fs::remove_file(ruta.join("c/z.txt")).unwrap();
        }
    });
    let carpeta = con(&[]);
    let salida = descargar(&["c/"], &carpeta, &[puente.direccion]);
    acabo(
        &salida,
        1,
        "2 archivos · 8 bytes · 1 falló (c/z.txt: nadie lo tiene)",
    );
    assert_eq!(
        fs::read(carpeta.path().join("c/a.txt")).unwrap(),
        b"despues"
    );
    let dijo = quejas(&salida);
    assert!(
        dijo.contains("c/a.txt: cambió mientras se bajaba") && !dijo.contains("RETIRADA"),
        "{dijo}"
    );
}

// ----- La guía, mezclada -----

#[test]
fn lo_que_solo_tiene_la_guia_llega_como_ella_lo_da() {
    let servida = con(&[("a.txt", b"a"), ("b.txt", b"b")]);
    let servidor = Proceso::nodo(servida.path(), &[]);
    let guia = Falso::nuevo(b"de la guia", Mana::Guia);
    let carpeta = con(&[]);
    let mut pedir = orden(&["a.txt", "b.txt", "guia.txt"], carpeta.path(), &[]);
    for peer in [servidor.direccion(), guia.direccion] {
        pedir.args(["--peer", &peer.to_string()]);
    }
    let salida = acabar(pedir.lanzar());
    acabo(&salida, 0, "3 archivos · 12 bytes");
    assert_eq!(
        fs::read(carpeta.path().join("guia.txt")).unwrap(),
        b"de la guia"
    );
    assert!(
        quejas(&salida).contains("[SIN COMPROBAR]"),
        "{}",
        quejas(&salida)
    );
    // De una carpeta suya no se puede saber qué cuelga, y se dice.
    let salida = descargar(&["apuntes/"], &carpeta, &[guia.direccion]);
    assert_eq!(codigo(&salida), Some(1));
    assert!(quejas(&salida).contains("es un nodo de la guía: no sabe listar"));
}

// ----- Dejarlo y seguir -----

#[cfg(unix)]
#[test]
fn con_ctrl_c_queda_lo_comprobado_y_al_repetir_sigue() {
    let archivos = apuntes(200);
    let compuerta = Arc::new(Compuerta::default());
    let espera = compuerta.clone();
    let par = muchos(&archivos, move |pedido, vez| {
        if pedido.starts_with("OBTENER") && vez > 120 {
            espera.pasar();
        }
        Hace::LoSuyo
    });
    let carpeta = con(&[]);
    let hijo = orden(&["apuntes/"], carpeta.path(), &[par.direccion]).lanzar();
    par.registro.esperar("OBTENER", 121);
    super::comun::senal(hijo.id(), "INT");
    let salida = acabar(hijo);
    compuerta.abrir();
    assert_eq!(codigo(&salida), Some(130), "{}", quejas(&salida));
    let hay = fs::read_dir(carpeta.path().join("apuntes")).map_or(0, Iterator::count);
    let buenos = archivos
        .iter()
        .take_while(|(n, _)| carpeta.path().join(n).exists())
        .count();
    assert_eq!(hay, buenos, "no queda nada a medias");
    estan(&carpeta, &archivos[..buenos]);
    assert!(
        dicho(&salida).starts_with(&format!("{buenos} archivo")),
        "{}",
        dicho(&salida)
    );
    let otro = muchos(&archivos, |_, _| Hace::LoSuyo);
    let salida = descargar(&["apuntes/"], &carpeta, &[otro.direccion]);
    assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
    estan(&carpeta, &archivos);
    assert_eq!(otro.registro.cuantos("OBTENER"), 200 - buenos);
}

// ----- El menú -----

#[test]
fn en_el_menu_se_pide_por_numero_o_por_un_trozo() {
    let suyos: &[(&str, &[u8])] = &[
        ("3", b"se llama 3"),
        ("Ñandú rojo.txt", b"rojo"),
        ("apuntes/ñandú.txt", b"apunte"),
        ("foto.png", b"foto"),
        ("haiku.txt", b"haiku"),
    ];
    let servida = con(suyos);
    let servidor = Proceso::nodo(servida.path(), &[]);
    let carpeta = con(&[]);
    let mut menu = Proceso::menu(
        carpeta.path(),
        &["--peer", &servidor.direccion().to_string()],
    );
    menu.esperar(SELECCIONE);
    let mut pedir = |lineas: &[&str]| {
        let antes = menu.texto();
        let preguntas = antes.matches(SELECCIONE).count();
        lineas.iter().for_each(|linea| menu.escribir(linea));
        menu.esperar_veces(SELECCIONE, preguntas + 1)[antes.len()..].to_string()
    };
    let hay = |nombre: &str| fs::read(carpeta.path().join(nombre)).is_ok();
    let lista = pedir(&["4"]);
    for linea in [
        " 1. 3 (",
        " 2. apuntes/ñandú.txt (",
        " 3. foto.png (",
        " 4. haiku.txt (",
    ] {
        assert!(lista.contains(linea), "{lista}");
    }
    // Un nombre exacto manda sobre un número; y sobre un trozo.
    assert!(pedir(&["2", "3", "1"]).contains(&format!("{DESCARGADO} 3\n")));
    // Por número, y por un trozo que sólo está en uno: con los textos de la guía.
    let dijo = pedir(&["2", "4", "1"]);
    assert!(dijo.contains(DISPONIBLE_EN) && hay("haiku.txt"), "{dijo}");
    let dijo = pedir(&["2", "FOT", "1"]);
    assert!(dijo.contains(DISPONIBLE_EN) && hay("foto.png"), "{dijo}");
    // Está en dos: se elige.
    let dijo = pedir(&["2", "NANDU", "2", "1"]);
    assert!(
        dijo.contains("1. apuntes/ñandú.txt") && dijo.contains("2. Ñandú rojo.txt"),
        "{dijo}"
    );
    assert!(hay("Ñandú rojo.txt") && !hay("apuntes/ñandú.txt"), "{dijo}");
    assert!(pedir(&["2", "nandu", "9"]).contains(OPCION_INVALIDA));
    // Varios números, y una carpeta.
    assert!(pedir(&["2", "3 4"]).contains("0 archivos · 0 bytes · 2 ya los tenías"));
    assert!(pedir(&["2", "apuntes/"]).contains("1 archivo · 6 bytes") && hay("apuntes/ñandú.txt"));
    // El número de uno que ya no está.
    fs::remove_file(servida.path().join("foto.png")).unwrap();
    fs::remove_file(servida.path().join("3")).unwrap();
    assert!(pedir(&["2", "3"]).contains(NO_SE_ENCONTRO));
    let dijo = pedir(&["2", "hiaku.txt"]);
    assert!(
        dijo.contains(NO_SE_ENCONTRO) && dijo.contains("¿querías decir «haiku.txt»?"),
        "{dijo}"
    );
}
