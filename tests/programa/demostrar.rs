//! `nodo demostrar`: los defectos se provocan de verdad, se cuentan, y no queda nada después.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::comun::{Lanzar, acabar, codigo, dicho, nodo, orden, quejas};
use crate::laboratorio::demostrar::defectos::DEFECTOS;

/// Los que dependen de una carrera: alguna vez pueden no verse.
const CARRERAS: [usize; 2] = [9, 12];

/// `nodo demostrar`, con sus carpetas temporales en `temporal`.
fn demostrar(argumentos: &[&str], temporal: &Path) -> Command {
    let mut programa = nodo();
    programa.arg("demostrar").args(argumentos);
    for variable in ["TMPDIR", "TMP", "TEMP"] {
        programa.env(variable, temporal);
    }
    programa
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    programa
}

fn hacer(argumentos: &[&str], temporal: &Path) -> Output {
    acabar(demostrar(argumentos, temporal).lanzar())
}

fn esta_vacia(carpeta: &Path) -> bool {
    fs::read_dir(carpeta).unwrap().next().is_none()
}

/// «19 de 60».
fn veces(celda: &str) -> (usize, usize) {
    let (malas, de) = celda.split_once(" de ").expect(celda);
    (malas.parse().unwrap(), de.parse().unwrap())
}

/// «6,1 s», en milisegundos.
fn milisegundos(celda: &str) -> f64 {
    let (cifra, unidad) = celda.split_once(' ').expect(celda);
    let cifra: f64 = cifra.replace(',', ".").parse().unwrap();
    if unidad == "s" { cifra * 1e3 } else { cifra }
}

// ----- Todas, de verdad -----

pub fn todo_se_ve_en_la_guia_y_nada_en_el_nodo() {
    let (temporal, aparte) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let informe = aparte.path().join("informe.md");
    let argumentos = ["todo", "--informe", informe.to_str().unwrap()];
    let mut salida = hacer(&argumentos, temporal.path());
    // Con Wine, de cada mil procesos alguno no llega a empezar, y aquí se arrancan muchos.
    while crate::wine::bajo_wine() && dicho(&salida).contains("error 1359 del sistema") {
        let _ = fs::remove_file(&informe);
        salida = hacer(&argumentos, temporal.path());
    }
    let pantalla = dicho(&salida);
    assert_eq!(codigo(&salida), Some(0), "{pantalla}{}", quejas(&salida));
    assert!(esta_vacia(temporal.path()));
    for linea in pantalla.lines() {
        assert!(linea.chars().count() <= 80, "{linea}");
    }
    let informe = fs::read_to_string(informe).unwrap();
    let filas: Vec<Vec<&str>> = informe
        .lines()
        .filter(|linea| linea.starts_with("| ") && !linea.starts_with("| N"))
        .map(|fila| fila.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    assert_eq!(filas.len(), DEFECTOS.len(), "{informe}");
    for (defecto, fila) in DEFECTOS.iter().zip(filas) {
        let [numero, _, _, ingenuo, del_nodo, veredicto, _] = fila[..] else {
            panic!("{fila:?}");
        };
        assert_eq!(numero, defecto.numero.to_string());
        comprobar(defecto.numero, ingenuo, del_nodo, veredicto);
        // La tabla de la pantalla dice lo mismo.
        let en_pantalla = pantalla.lines().find(|linea| linea.contains(defecto.corto));
        let en_pantalla = en_pantalla.unwrap_or_else(|| panic!("{}: {pantalla}", defecto.corto));
        for celda in [ingenuo, del_nodo, veredicto] {
            assert!(en_pantalla.contains(celda), "{en_pantalla}");
        }
    }
}

/// Lo que no depende de la suerte sale siempre igual; lo demás, según lo contado.
fn comprobar(numero: usize, ingenuo: &str, del_nodo: &str, veredicto: &str) {
    let fila = format!("{numero}: {ingenuo}, {del_nodo}, {veredicto}");
    if numero == 8 {
        assert!(milisegundos(ingenuo) >= 6000.0, "{fila}");
        assert!(milisegundos(del_nodo) < 2000.0, "{fila}");
        assert_eq!(veredicto, "arreglado", "{fila}");
        return;
    }
    let (malas, de) = veces(ingenuo);
    assert_eq!(veces(del_nodo).0, 0, "{fila}");
    assert!(de > 0 && veces(del_nodo).1 > 0, "{fila}");
    let esperado = if malas > 0 { "arreglado" } else { "no se vio" };
    assert_eq!(veredicto, esperado, "{fila}");
    match numero {
        // Atiende a las 24, con un tope de 8.
        3 => assert_eq!((malas, de), (16, 24), "{fila}"),
        // Si quien lee se retrasa, las dos mitades le llegan juntas.
        5 => assert!(malas > 0, "{fila}"),
        _ if CARRERAS.contains(&numero) => assert!(malas <= de, "{fila}"),
        _ => assert_eq!(malas, de, "{fila}"),
    }
}

// ----- Lo que se escribe -----

#[test]
fn sin_numero_da_la_lista() {
    let salida = orden(["demostrar"]);
    assert_eq!(codigo(&salida), Some(0));
    for defecto in DEFECTOS {
        let linea = format!("{:>2}. {}\n", defecto.numero, defecto.frase);
        assert!(dicho(&salida).contains(&linea), "{}", dicho(&salida));
    }
}

#[test]
fn uno_solo_se_cuenta_con_su_ficha() {
    let temporal = tempfile::tempdir().unwrap();
    let salida = hacer(&["7"], temporal.path());
    let pantalla = dicho(&salida);
    assert_eq!(codigo(&salida), Some(0), "{pantalla}{}", quejas(&salida));
    for trozo in [
        " 7. BUSCAR: sin nombre dice SI",
        "ingenuo: 4 de 4       nodo: 0 de 4\n",
        "Lo arregla src/nodo/carpeta/mod.rs (",
    ] {
        assert!(pantalla.contains(trozo), "{trozo}: {pantalla}");
    }
    assert!(!pantalla.contains("veredicto"), "con uno sobra la tabla");
    assert!(esta_vacia(temporal.path()));
}

#[test]
fn lo_mal_escrito_se_dice() {
    for (argumentos, frase) in [
        (&["demostrar", "0"][..], "no hay defecto «0»: van de 1 a 17"),
        (&["demostrar", "99"], "no hay defecto «99»"),
        (&["demostrar", "doce"], "no hay defecto «doce»"),
        (&["demostrar", "--informe", "x.md"], "--informe necesita"),
    ] {
        let salida = orden(argumentos);
        assert_eq!(codigo(&salida), Some(2), "{argumentos:?}");
        assert!(quejas(&salida).contains(frase), "{}", quejas(&salida));
        assert_eq!(dicho(&salida), "");
    }
}

#[test]
fn un_informe_que_no_se_puede_escribir_se_dice() {
    let temporal = tempfile::tempdir().unwrap();
    let carpeta = temporal.path().join("no-esta");
    let informe = carpeta.join("informe.md");
    let salida = hacer(
        &["7", "--informe", informe.to_str().unwrap()],
        temporal.path(),
    );
    assert_eq!(codigo(&salida), Some(1));
    let queja = quejas(&salida);
    assert!(queja.contains("informe.md: no existe"), "{queja}");
    assert_eq!(dicho(&salida), "", "se dice antes de medir nada");
}

#[cfg(unix)]
#[test]
fn un_ctrl_c_no_deja_procesos_ni_carpetas() {
    use super::comun::{PACIENCIA, senal};
    use std::io::{BufRead, BufReader};
    use std::time::Instant;

    let temporal = tempfile::tempdir().unwrap();
    // La 4 tarda 11 segundos, y la carpeta está desde que empieza.
    let mut hijo = demostrar(&["4"], temporal.path()).lanzar();
    let mut titulo = String::new();
    BufReader::new(hijo.stdout.as_mut().unwrap())
        .read_line(&mut titulo)
        .unwrap();
    let limite = Instant::now() + PACIENCIA;
    while cuantos_con(temporal.path()) < 2 {
        assert!(Instant::now() < limite, "no arrancó los dos nodos");
        std::thread::yield_now();
    }
    let antes = Instant::now();
    senal(hijo.id(), "INT");
    let salida = acabar(hijo);
    assert!(antes.elapsed().as_secs() < 5, "{:?}", antes.elapsed());
    assert_eq!(codigo(&salida), Some(130), "{}", quejas(&salida));
    assert_eq!(cuantos_con(temporal.path()), 0);
    assert!(esta_vacia(temporal.path()));
}

/// Cuántos procesos tienen esa carpeta entre sus argumentos.
#[cfg(unix)]
fn cuantos_con(carpeta: &Path) -> usize {
    let todos = Command::new("ps").args(["-A", "-o", "args="]).recoger();
    let todos = String::from_utf8_lossy(&todos.stdout).into_owned();
    let con = |linea: &&str| linea.contains(carpeta.to_str().unwrap());
    todos.lines().filter(con).count()
}

// ----- Los números -----

/// El número, el archivo que lo arregla y el comentario de `ingenuo.rs` son los mismos, y el
/// archivo existe.
#[test]
fn los_numeros_son_los_de_ingenuo() {
    let raiz = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let ingenuo = fs::read_to_string(raiz.join("practicas/ingenuo.rs")).unwrap();
    let comentarios = ingenuo
        .lines()
        .filter_map(|linea| linea.split_once("// Defecto "));
    let comentados: Vec<(usize, &str)> = comentarios
        .map(|(_, resto)| {
            let (numero, resto) = resto.split_once(": ").unwrap();
            (numero.parse().unwrap(), resto.split_once(" → ").unwrap().1)
        })
        .collect();
    let nuestros: Vec<(usize, &str)> = DEFECTOS.iter().map(|d| (d.numero, d.arreglo)).collect();
    assert_eq!(comentados, nuestros);
    for (_, arreglo) in nuestros {
        assert!(raiz.join(arreglo).is_file(), "no hay src/{arreglo}");
    }
}
