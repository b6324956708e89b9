//! La carpeta: nada se pisa, nada a medias se sirve, y un archivo que cambia o no cabe se dice y no
//! hace daño.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::comun::falsos::{BLOQUE, Charla, Compuerta, Falso, Mana, huella};
use super::comun::{
    Lanzar, PACIENCIA, Proceso, acabar, codigo, conectar, datos, dicho, leer_todo, nodo, nombres,
    preguntar, quejas, responde, senal,
};
use crate::guia::{DESCARGADO, ENVIO_COMPLETO};
use tempfile::TempDir;

const NOMBRE: &str = "apuntes.pdf";

fn empezar(nombre: &str, carpeta: &Path, fuentes: &[SocketAddr]) -> Child {
    let mut orden = nodo();
    orden.args(["descargar", nombre, "--carpeta"]).arg(carpeta);
    for fuente in fuentes {
        orden.args(["--de", &fuente.to_string()]);
    }
    orden
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .lanzar()
}

fn descargar(nombre: &str, carpeta: &Path, fuentes: &[SocketAddr]) -> Output {
    acabar(empezar(nombre, carpeta, fuentes))
}

// ----- Nunca se pisa -----

#[test]
fn si_ya_se_tiene_igual_se_dice_y_no_se_pide_nada() {
    let contenido = datos(BLOQUE + 3);
    let par = Falso::nuevo(&contenido, Mana::Honrado);
    let mudo = Falso::nuevo(&contenido, Mana::Mudo);
    for con_nombre in [NOMBRE, "apuntes (4).pdf"] {
        let carpeta = tempfile::tempdir().unwrap();
        fs::write(carpeta.path().join(con_nombre), &contenido).unwrap();
        let antes = Instant::now();
        // Otra fuente que calla no lo retrasa.
        let salida = descargar(NOMBRE, carpeta.path(), &[par.direccion, mudo.direccion]);
        assert!(
            antes.elapsed() < Duration::from_secs(8),
            "{:?}",
            antes.elapsed()
        );
        assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
        let frase = format!("[YA LO TIENES] {con_nombre}");
        assert!(dicho(&salida).starts_with(&frase), "{}", dicho(&salida));
        assert_eq!(nombres(&carpeta), [con_nombre]);
    }
    assert_eq!(
        par.registro.cuantos("BLOQUES") + par.registro.cuantos("OBTENER"),
        0
    );
}

#[test]
fn si_hay_otro_distinto_el_nuevo_lleva_numero() {
    let par = Falso::nuevo(b"el nuevo", Mana::Honrado);
    let carpeta = tempfile::tempdir().unwrap();
    for (nombre, contenido) in [(NOMBRE, "el viejo"), ("apuntes (1).pdf", "otro viejo")] {
        fs::write(carpeta.path().join(nombre), contenido).unwrap();
    }
    let salida = descargar(NOMBRE, carpeta.path(), &[par.direccion]);
    assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
    assert!(
        dicho(&salida).contains("queda como «apuntes (2).pdf»"),
        "{}",
        dicho(&salida)
    );
    assert_eq!(
        nombres(&carpeta),
        ["apuntes (1).pdf", "apuntes (2).pdf", NOMBRE]
    );
    let leer = |nombre| fs::read_to_string(carpeta.path().join(nombre)).unwrap();
    assert_eq!(leer(NOMBRE), "el viejo");
    assert_eq!(leer("apuntes (1).pdf"), "otro viejo");
    assert_eq!(leer("apuntes (2).pdf"), "el nuevo");
    // De un nodo de la guía, lo mismo.
    let guia = Falso::nuevo(b"de la guia", Mana::Guia);
    let salida = descargar(NOMBRE, carpeta.path(), &[guia.direccion]);
    assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
    assert_eq!(leer("apuntes (3).pdf"), "de la guia");
    assert_eq!(leer(NOMBRE), "el viejo");
}

#[test]
fn si_alguien_crea_el_archivo_mientras_se_baja_no_se_pisa() {
    let contenido = datos(3 * BLOQUE);
    let compuerta = Arc::new(Compuerta::default());
    let par = Falso::nuevo(&contenido, Mana::Retenido(Arc::clone(&compuerta)));
    let carpeta = tempfile::tempdir().unwrap();
    let proceso = empezar(NOMBRE, carpeta.path(), &[par.direccion]);
    par.registro.esperar("OBTENER", 1);
    fs::write(carpeta.path().join(NOMBRE), "recién puesto").unwrap();
    compuerta.abrir();
    let salida = acabar(proceso);
    assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
    assert_eq!(
        fs::read_to_string(carpeta.path().join(NOMBRE)).unwrap(),
        "recién puesto"
    );
    assert!(fs::read(carpeta.path().join("apuntes (1).pdf")).unwrap() == contenido);
    assert_eq!(nombres(&carpeta), ["apuntes (1).pdf", NOMBRE]);
}

#[test]
fn dos_descargas_de_lo_mismo_a_la_vez_no_se_estorban() {
    let contenido = datos(3 * BLOQUE);
    let compuerta = Arc::new(Compuerta::default());
    let par = Falso::nuevo(&contenido, Mana::Retenido(Arc::clone(&compuerta)));
    let carpeta = tempfile::tempdir().unwrap();
    let primera = empezar(NOMBRE, carpeta.path(), &[par.direccion]);
    par.registro.esperar("OBTENER", 1);
    let segunda = descargar(NOMBRE, carpeta.path(), &[par.direccion]);
    assert_eq!(codigo(&segunda), Some(1));
    assert!(
        quejas(&segunda).contains("ya se está bajando"),
        "{}",
        quejas(&segunda)
    );
    // Y no le ha quitado el archivo a medias a la primera.
    assert_eq!(nombres(&carpeta), [format!(".{NOMBRE}.part")]);
    compuerta.abrir();
    let primera = acabar(primera);
    assert_eq!(codigo(&primera), Some(0), "{}", quejas(&primera));
    assert!(fs::read(carpeta.path().join(NOMBRE)).unwrap() == contenido);
    assert_eq!(nombres(&carpeta), [NOMBRE]);
}

/// Sin su archivo a medias, la primera no da su nombre al de la segunda.
#[cfg(unix)]
#[test]
fn si_le_quitan_el_archivo_a_medias_no_se_queda_con_el_de_otra() {
    let contenido = datos(3 * BLOQUE);
    let media = format!(".{NOMBRE}.part");
    let carpeta = tempfile::tempdir().unwrap();
    let retenida = || {
        let compuerta = Arc::new(Compuerta::default());
        let mana = Mana::Retenido(Arc::clone(&compuerta));
        let par = Falso::nuevo(&contenido, mana);
        let proceso = empezar(NOMBRE, carpeta.path(), &[par.direccion]);
        par.registro.esperar("OBTENER", 1);
        (proceso, compuerta, par)
    };
    let (primera, abrir_primera, _par) = retenida();
    fs::remove_file(carpeta.path().join(&media)).unwrap();
    let (segunda, abrir_segunda, _par) = retenida();
    abrir_primera.abrir();
    let primera = acabar(primera);
    assert_eq!(codigo(&primera), Some(1), "{}", dicho(&primera));
    let frase = format!("alguien quitó {media} mientras se bajaba; vuelve a pedirlo");
    assert!(quejas(&primera).contains(&frase), "{}", quejas(&primera));
    assert_eq!(nombres(&carpeta), [media]);
    abrir_segunda.abrir();
    let segunda = acabar(segunda);
    assert_eq!(codigo(&segunda), Some(0), "{}", quejas(&segunda));
    assert_eq!(nombres(&carpeta), [NOMBRE]);
    assert!(fs::read(carpeta.path().join(NOMBRE)).unwrap() == contenido);
}

#[test]
fn quien_anuncia_menos_no_recorta_lo_que_ya_estaba() {
    let contenido = datos(5 * BLOQUE);
    let carpeta = tempfile::tempdir().unwrap();
    let media = carpeta.path().join(format!(".{NOMBRE}.part"));
    fs::write(&media, &contenido[..4 * BLOQUE]).unwrap();
    // También quien anuncia su principio, que está entero en lo que hay: no ha dado nada.
    for menos in [&b"x"[..], b"", &contenido[..1], &contenido[..BLOQUE]] {
        let malo = Falso::nuevo(menos, Mana::Rechaza);
        let salida = descargar(NOMBRE, carpeta.path(), &[malo.direccion]);
        assert_eq!(codigo(&salida), Some(1), "{}", dicho(&salida));
        assert!(fs::read(&media).unwrap() == contenido[..4 * BLOQUE]);
    }
    let par = Falso::nuevo(&contenido, Mana::Honrado);
    let salida = descargar(NOMBRE, carpeta.path(), &[par.direccion]);
    assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
    assert_eq!(par.registro.cuantos("OBTENER"), 1);
    assert!(fs::read(carpeta.path().join(NOMBRE)).unwrap() == contenido);
    assert_eq!(nombres(&carpeta), [NOMBRE]);
}

#[test]
fn muchas_descargas_a_la_vez_dejan_un_solo_archivo() {
    let contenido = datos(BLOQUE + 1);
    let par = Falso::nuevo(&contenido, Mana::Honrado);
    let carpeta = tempfile::tempdir().unwrap();
    let procesos: Vec<Child> = (0..12)
        .map(|_| empezar(NOMBRE, carpeta.path(), &[par.direccion]))
        .collect();
    for salida in procesos.into_iter().map(acabar) {
        let bien = codigo(&salida) == Some(0) || quejas(&salida).contains("ya se está bajando");
        assert!(bien, "{}", quejas(&salida));
    }
    assert_eq!(nombres(&carpeta), [NOMBRE]);
    assert!(fs::read(carpeta.path().join(NOMBRE)).unwrap() == contenido);
}

#[test]
fn los_nombres_que_no_se_pueden_guardar_se_dicen() {
    let par = Falso::nuevo(b"x", Mana::Honrado);
    for (nombre, frase) in [
        ("a?.txt", "«?», en la posición 2"),
        ("año|1.txt", "«|», en la posición 4"),
        ("con.txt", "reservado"),
        ("../fuera.txt", "dentro de la carpeta"),
        ("x.", "punto o espacio"),
    ] {
        let carpeta = tempfile::tempdir().unwrap();
        let salida = descargar(nombre, carpeta.path(), &[par.direccion]);
        assert_eq!(codigo(&salida), Some(1), "{nombre}");
        assert!(
            quejas(&salida).contains(frase),
            "{nombre}: {}",
            quejas(&salida)
        );
        assert!(nombres(&carpeta).is_empty());
    }
    assert_eq!(par.registro.cuantos("OBTENER"), 0);
}

#[cfg(unix)]
#[test]
fn por_un_enlace_no_se_escribe_fuera() {
    use std::os::unix::fs::symlink;
    let par = Falso::nuevo(b"nuevo", Mana::Honrado);
    let fuera = tempfile::tempdir().unwrap();
    fs::write(fuera.path().join("otro"), "intacto").unwrap();
    let carpeta = tempfile::tempdir().unwrap();
    symlink(fuera.path(), carpeta.path().join("sub")).unwrap();
    symlink(fuera.path().join("otro"), carpeta.path().join(NOMBRE)).unwrap();
    symlink(
        fuera.path().join("otro"),
        carpeta.path().join(".b.txt.part"),
    )
    .unwrap();
    for nombre in ["sub/nuevo", "b.txt"] {
        let salida = descargar(nombre, carpeta.path(), &[par.direccion]);
        assert_eq!(codigo(&salida), Some(1), "{nombre}: {}", dicho(&salida));
    }
    // Un enlace con el nombre bueno tampoco se pisa ni se sigue.
    let salida = descargar(NOMBRE, carpeta.path(), &[par.direccion]);
    assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
    assert_eq!(
        fs::read_to_string(carpeta.path().join("apuntes (1).pdf")).unwrap(),
        "nuevo"
    );
    assert_eq!(nombres(&fuera), ["otro"]);
    assert_eq!(
        fs::read_to_string(fuera.path().join("otro")).unwrap(),
        "intacto"
    );
}

#[test]
fn lo_que_esta_a_medias_ni_se_lista_ni_se_sirve() {
    let contenido = datos(3 * BLOQUE);
    let compuerta = Arc::new(Compuerta::default());
    let par = Falso::nuevo(&contenido, Mana::Retenido(Arc::clone(&compuerta)));
    let carpeta = tempfile::tempdir().unwrap();
    let nodo = Proceso::nodo(carpeta.path(), &[]);
    let proceso = empezar(NOMBRE, carpeta.path(), &[par.direccion]);
    par.registro.esperar("OBTENER", 1);
    let mut charla = Charla::con(nodo.direccion());
    assert_eq!(charla.pedir("LISTAR"), "LISTA:0");
    for nombre in [NOMBRE.to_string(), format!(".{NOMBRE}.part")] {
        assert_eq!(
            preguntar(nodo.direccion(), format!("BUSCAR:{nombre}").as_bytes()),
            b"NO"
        );
        for palabra in ["INFO:", "BLOQUES:", "OBTENER:0:9:"] {
            assert_eq!(charla.pedir(&format!("{palabra}{nombre}")), "NOFILE");
        }
    }
    compuerta.abrir();
    acabar(proceso);
    assert_eq!(charla.pedir("LISTAR"), "LISTA:1");
}

// ----- No cabe -----

/// Un disco de 20 MiB. Hace falta ser root; si no, la prueba se salta diciéndolo.
#[cfg(target_os = "linux")]
struct DiscoPequeno(TempDir);

#[cfg(target_os = "linux")]
impl DiscoPequeno {
    fn nuevo() -> Option<DiscoPequeno> {
        let carpeta = tempfile::tempdir().unwrap();
        let montado = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=20m", "nodo-prueba"])
            .arg(carpeta.path())
            .stderr(Stdio::null())
            .status();
        if montado.is_ok_and(|fin| fin.success()) {
            return Some(DiscoPequeno(carpeta));
        }
        eprintln!("sin permiso para montar un disco pequeño: prueba saltada");
        None
    }
}

#[cfg(target_os = "linux")]
impl Drop for DiscoPequeno {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .args(["-l"])
            .arg(self.0.path())
            .status();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn lo_que_no_cabe_se_dice_antes_de_pedir_nada() {
    let Some(disco) = DiscoPequeno::nuevo() else {
        return;
    };
    let par = Falso::nuevo(&datos(60 << 20), Mana::Honrado);
    let salida = descargar(NOMBRE, disco.0.path(), &[par.direccion]);
    assert_eq!(codigo(&salida), Some(1));
    let frase = quejas(&salida);
    assert!(
        frase.contains("no cabe: hacen falta 62,9 MB") && frase.contains("21,0 MB"),
        "{frase}"
    );
    assert_eq!(par.registro.cuantos("OBTENER"), 0);
    assert!(nombres(&disco.0).is_empty());
    // Lo mismo enviándolo, y lo oye quien envía.
    let nodo = Proceso::nodo(disco.0.path(), &["--peer", "127.0.0.1:1"]);
    let suya = tempfile::tempdir().unwrap();
    fs::write(suya.path().join(NOMBRE), vec![1; 60 << 20]).unwrap();
    let mut enviar = super::comun::nodo();
    enviar.arg("enviar").arg(suya.path().join(NOMBRE));
    enviar.args(["--a", &nodo.direccion().to_string()]);
    let salida = enviar.recoger();
    assert_eq!(codigo(&salida), Some(1));
    assert!(quejas(&salida).contains("no cabe"), "{}", quejas(&salida));
    assert!(nombres(&disco.0).is_empty());
    // Pero ni dónde lo guarda el otro ni cuánto le queda: eso, en la pantalla del otro.
    let ruta = disco.0.path().to_str().unwrap();
    assert!(!quejas(&salida).contains(ruta), "{}", quejas(&salida));
    assert!(!quejas(&salida).contains("quedan"), "{}", quejas(&salida));
    nodo.esperar(&format!("en {ruta} quedan 21,0 MB"));
}

#[cfg(target_os = "linux")]
#[test]
fn un_disco_que_se_llena_a_medias_es_una_frase_y_se_puede_seguir() {
    let Some(disco) = DiscoPequeno::nuevo() else {
        return;
    };
    let contenido = datos(3 * BLOQUE + 7);
    let compuerta = Arc::new(Compuerta::default());
    let par = Falso::nuevo(&contenido, Mana::RetenidoTras(1, Arc::clone(&compuerta)));
    let proceso = empezar(NOMBRE, disco.0.path(), &[par.direccion]);
    // Cuando ya se guardó el primero.
    let media = disco.0.path().join(format!(".{NOMBRE}.part"));
    let limite = Instant::now() + PACIENCIA;
    while !fs::metadata(&media).is_ok_and(|datos| datos.len() >= BLOQUE as u64) {
        assert!(Instant::now() < limite, "no se guardó ninguno");
        std::thread::yield_now();
    }
    let relleno = disco.0.path().join("relleno");
    let llenado = fs::File::create(&relleno)
        .unwrap()
        .write_all(&vec![0; 32 << 20]);
    assert!(llenado.is_err(), "no se llenó");
    compuerta.abrir();
    let salida = acabar(proceso);
    assert_eq!(codigo(&salida), Some(1));
    assert!(
        quejas(&salida).contains("lleno; libera sitio"),
        "{}",
        quejas(&salida)
    );
    assert!(!nombres(&disco.0).contains(&NOMBRE.to_string()));
    // De la guía, que no dice cuánto mide, también.
    let guia = Falso::nuevo(&contenido, Mana::Guia);
    let salida = descargar("otro.pdf", disco.0.path(), &[guia.direccion]);
    assert_eq!(codigo(&salida), Some(1));
    assert!(
        quejas(&salida).contains("lleno; libera sitio"),
        "{}",
        quejas(&salida)
    );
    // Y de eso no deja nada, porque no se podría seguir.
    assert_eq!(nombres(&disco.0), [&format!(".{NOMBRE}.part"), "relleno"]);
    fs::remove_file(relleno).unwrap();
    let salida = descargar(NOMBRE, disco.0.path(), &[par.direccion]);
    assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
    assert!(fs::read(disco.0.path().join(NOMBRE)).unwrap() == contenido);
}

/// No dice cuánto va a mandar: podría no acabar nunca.
#[cfg(target_os = "linux")]
#[test]
fn una_fuente_de_la_guia_sin_fin_no_llena_el_disco() {
    let Some(disco) = DiscoPequeno::nuevo() else {
        return;
    };
    let guia = Falso::nuevo(&datos(40 << 20), Mana::Guia);
    let salida = descargar(NOMBRE, disco.0.path(), &[guia.direccion]);
    assert_eq!(codigo(&salida), Some(1));
    // «Casi»: se para antes de que los demás programas se queden sin sitio.
    assert!(
        quejas(&salida).contains("el disco está casi lleno; libera sitio"),
        "{}",
        quejas(&salida)
    );
    assert!(nombres(&disco.0).is_empty());
}

// ----- Archivos que cambian mientras se sirven -----

/// Un nodo con un archivo grande, que no cabe en los búferes del sistema.
fn con_uno_grande() -> (TempDir, Proceso, usize) {
    const TAMANO: usize = 48 << 20;
    let carpeta = tempfile::tempdir().unwrap();
    fs::write(carpeta.path().join(NOMBRE), vec![5; TAMANO]).unwrap();
    let nodo = Proceso::nodo(carpeta.path(), &[]);
    (carpeta, nodo, TAMANO)
}

fn cortar(carpeta: &TempDir, a: u64) {
    let archivo = fs::File::options()
        .write(true)
        .open(carpeta.path().join(NOMBRE))
        .unwrap();
    archivo.set_len(a).unwrap();
}

#[test]
fn cortado_mientras_se_sirve_no_llega_lo_anunciado() {
    let (carpeta, nodo, tamano) = con_uno_grande();
    let mut conexion = conectar(nodo.direccion());
    writeln!(conexion, "OBTENER:0:{tamano}:{NOMBRE}").unwrap();
    let mut cabecera = vec![0; format!("OK:{tamano}\n").len()];
    conexion.read_exact(&mut cabecera).unwrap();
    cortar(&carpeta, 1000);
    let llegaron = leer_todo(&mut conexion).len();
    assert!(llegaron < tamano, "llegaron {llegaron}");
    assert!(responde(nodo.direccion()));
}

#[test]
fn cortado_o_crecido_mientras_se_sirve_la_guia_recibe_un_error() {
    for nuevo in [1000, 60 << 20] {
        let (carpeta, nodo, _) = con_uno_grande();
        let mut conexion = conectar(nodo.direccion());
        conexion
            .write_all(format!("DESCARGAR:{NOMBRE}").as_bytes())
            .unwrap();
        conexion.read_exact(&mut [0; 2 + 1000]).unwrap();
        cortar(&carpeta, nuevo);
        let mut todo = Vec::new();
        let fin = conexion.read_to_end(&mut todo);
        assert!(
            fin.is_err() || crate::wine::se_pierde_el_rst(),
            "un final normal con {} bytes",
            todo.len()
        );
        assert!(!nodo.texto().contains(ENVIO_COMPLETO));
    }
}

#[test]
fn tras_cambiar_la_huella_es_la_nueva() {
    let carpeta = tempfile::tempdir().unwrap();
    let ruta = carpeta.path().join(NOMBRE);
    let nodo = Proceso::nodo(carpeta.path(), &[]);
    let mut charla = Charla::con(nodo.direccion());
    let mut asegurar = |contenido: &[u8]| {
        let esperada = format!("INFO:{}:{}", contenido.len(), huella(contenido));
        assert_eq!(charla.pedir(&format!("INFO:{NOMBRE}")), esperada);
    };
    fs::write(&ruta, "uno").unwrap();
    asegurar(b"uno");
    fs::write(&ruta, "otro más largo").unwrap();
    asegurar("otro más largo".as_bytes());
    let nuevo = carpeta.path().join("nuevo");
    fs::write(&nuevo, "reemplazo").unwrap();
    fs::rename(&nuevo, &ruta).unwrap();
    asegurar(b"reemplazo");
    fs::remove_file(&ruta).unwrap();
    assert_eq!(charla.pedir(&format!("INFO:{NOMBRE}")), "NOFILE");
}

/// Dos archivos que se turnan el nombre mientras se calcula la huella (en varias tandas, por lo que
/// miden): la que se dé es la de uno o la del otro, nunca la de una mezcla.
#[test]
fn mientras_se_reemplaza_no_se_da_la_huella_de_una_mezcla() {
    let (aparte, carpeta) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ruta = carpeta.path().join(NOMBRE);
    let huellas = [1_u8, 2].map(|n| {
        let version = vec![n; 33 * BLOQUE];
        fs::write(aparte.path().join(n.to_string()), &version).unwrap();
        huella(&version)
    });
    let poner = |n: usize| {
        let nuevo = carpeta.path().join(".nuevo");
        if !nuevo.exists() {
            fs::hard_link(aparte.path().join(n.to_string()), &nuevo).unwrap();
        }
        match fs::rename(&nuevo, &ruta) {
            // No todos los Windows dejan reemplazar un archivo que se está leyendo: otra vez será.
            Err(e) if cfg!(windows) && e.kind() == ErrorKind::PermissionDenied => {}
            puesto => puesto.unwrap(),
        }
    };
    poner(1);
    let nodo = Proceso::nodo(carpeta.path(), &[]);
    let dadas = std::thread::scope(|ambito| {
        let preguntar = ambito.spawn(|| {
            let mut charla = Charla::con(nodo.direccion());
            let pregunta = |_| charla.pedir(&format!("INFO:{NOMBRE}"));
            (0..12).map(pregunta).collect::<Vec<String>>()
        });
        for n in [2, 1].into_iter().cycle() {
            if preguntar.is_finished() {
                break;
            }
            poner(n);
            std::thread::sleep(Duration::from_millis(30));
        }
        preguntar.join().unwrap()
    });
    for info in dadas {
        let dada = info.rsplit(':').next().unwrap();
        assert!(dada == "-" || huellas.iter().any(|h| h == dada), "{info}");
    }
}

// ----- Grandes -----

/// Un archivo de 50 GiB que no ocupa nada, si el disco sabe.
#[cfg(unix)]
fn enorme(carpeta: &TempDir, nombre: &str) -> bool {
    use std::os::unix::fs::MetadataExt;
    let archivo = fs::File::create(carpeta.path().join(nombre)).unwrap();
    let hecho = archivo.set_len(50 << 30).is_ok();
    if !hecho || archivo.metadata().unwrap().blocks() > 1000 {
        eprintln!("este disco no hace archivos con huecos: prueba saltada");
        return false;
    }
    true
}

#[cfg(unix)]
/// La llama [`crate::a_la_vez_las_que_esperan_plazos`].
pub fn uno_de_50_gib_recien_puesto_no_hace_esperar_a_nadie() {
    let carpeta = tempfile::tempdir().unwrap();
    if !enorme(&carpeta, "enorme.iso") {
        return;
    }
    let mut nodo = Proceso::nodo(carpeta.path(), &[]);
    let direccion = nodo.direccion();
    std::thread::scope(|ambito| {
        let info = ambito.spawn(move || {
            let antes = Instant::now();
            let info = Charla::con(direccion).pedir("INFO:enorme.iso");
            (info, antes.elapsed())
        });
        let bloques = ambito.spawn(move || Charla::con(direccion).pedir("BLOQUES:enorme.iso"));
        // Con él en marcha, uno pequeño no espera su turno.
        for n in 0..5 {
            fs::write(carpeta.path().join(format!("{n}.txt")), "hola").unwrap();
            let antes = Instant::now();
            let info = Charla::con(direccion).pedir(&format!("INFO:{n}.txt"));
            assert_eq!(info, format!("INFO:4:{}", huella(b"hola")));
            assert!(
                antes.elapsed() < Duration::from_secs(3),
                "{:?}",
                antes.elapsed()
            );
        }
        let (info, tardo) = info.join().unwrap();
        assert_eq!(info, format!("INFO:{}:-", 50_u64 << 30));
        assert!(tardo < Duration::from_secs(8), "{tardo:?}");
        assert_eq!(bloques.join().unwrap(), "ERROR:calculando la huella");
    });
    // Y salir no espera a que acabe de calcularlo.
    let antes = Instant::now();
    nodo.senal("TERM");
    assert_eq!(nodo.terminar(), Some(130));
    assert!(
        antes.elapsed() < Duration::from_secs(3),
        "{:?}",
        antes.elapsed()
    );
}

#[cfg(unix)]
#[test]
fn mirar_si_ya_se_tiene_uno_enorme_se_puede_cancelar() {
    let carpeta = tempfile::tempdir().unwrap();
    if !enorme(&carpeta, NOMBRE) {
        return;
    }
    let par = Falso::nuevo(b"", Mana::Tamano(50 << 30));
    let proceso = empezar(NOMBRE, carpeta.path(), &[par.direccion]);
    par.registro.esperar("INFO", 1);
    let antes = Instant::now();
    senal(proceso.id(), "INT");
    let salida = acabar(proceso);
    assert_eq!(codigo(&salida), Some(130), "{}", quejas(&salida));
    assert!(
        antes.elapsed() < Duration::from_secs(3),
        "{:?}",
        antes.elapsed()
    );
    assert_eq!(nombres(&carpeta), [NOMBRE]);
}

/// El máximo de memoria que ha ocupado un proceso, en KiB.
#[cfg(target_os = "linux")]
fn memoria_maxima(proceso: u32) -> u64 {
    let estado = fs::read_to_string(format!("/proc/{proceso}/status")).unwrap();
    let linea = estado.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    linea.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn la_memoria_no_crece_con_el_archivo() {
    const TOPE: u64 = 64 << 10;
    let (suya, carpeta) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // Con huecos: lo que importa es que pasen los bytes.
    let grande = fs::File::create(suya.path().join(NOMBRE)).unwrap();
    grande.set_len(256 << 20).unwrap();
    let nodos: Vec<Proceso> = (0..3).map(|_| Proceso::nodo(suya.path(), &[])).collect();
    let opciones: Vec<String> = nodos
        .iter()
        .flat_map(|nodo| ["--peer".to_string(), nodo.direccion().to_string()])
        .collect();
    let opciones: Vec<&str> = opciones.iter().map(String::as_str).collect();
    let mut menu = Proceso::menu(carpeta.path(), &opciones);
    menu.escribir("2");
    menu.escribir(NOMBRE);
    menu.escribir("0");
    menu.esperar(DESCARGADO);
    menu.esperar("comprobado");
    for proceso in nodos.iter().chain([&menu]) {
        let memoria = memoria_maxima(proceso.hijo.id());
        assert!(memoria < TOPE, "{memoria} KiB");
    }
    // El archivo a medias de una lista enorme tampoco: 50 GiB que se cancelan.
    menu.escribir("3");
    assert_eq!(menu.terminar(), Some(0));
}
