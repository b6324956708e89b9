//! El README no miente: los enlaces existen, y lo que dice que se escriba es lo que se comprueba.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn raiz() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn leer(nombre: &str) -> String {
    fs::read_to_string(raiz().join(nombre)).unwrap_or_else(|e| panic!("{nombre}: {e}"))
}

/// Los destinos de los enlaces `[texto](destino)`.
fn enlaces(texto: &str) -> Vec<&str> {
    texto
        .split("](")
        .skip(1)
        .filter_map(|resto| resto.split_once(')'))
        .map(|(destino, _)| destino)
        .collect()
}

/// El ancla que GitHub da a un título: minúsculas, sin puntuación y con guiones.
fn ancla(titulo: &str) -> String {
    titulo
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[test]
fn los_enlaces_a_archivos_existen() {
    let readme = leer("README.md");
    let a_archivos: Vec<&str> = enlaces(&readme)
        .into_iter()
        .filter(|destino| !destino.starts_with('#') && !destino.starts_with("https://"))
        .collect();
    let rotos: Vec<&&str> = a_archivos
        .iter()
        .filter(|destino| !raiz().join(destino).exists())
        .collect();
    assert!(
        a_archivos.len() > 20,
        "se esperaban más enlaces: {a_archivos:?}"
    );
    assert!(rotos.is_empty(), "no existen: {rotos:?}");
}

#[test]
fn los_enlaces_a_secciones_existen() {
    let readme = leer("README.md");
    let anclas: Vec<String> = readme
        .lines()
        .filter(|linea| linea.starts_with("##"))
        .map(|linea| ancla(linea.trim_start_matches('#').trim()))
        .collect();
    for destino in enlaces(&readme) {
        if let Some(seccion) = destino.strip_prefix('#') {
            assert!(
                anclas.iter().any(|ancla| ancla == seccion),
                "no hay sección {seccion}: {anclas:?}"
            );
        }
    }
}

/// `.ci/run` saca la orden de pruebas de la marca del README: tiene que estar, y ser una.
#[test]
fn la_orden_de_pruebas_esta_marcada() {
    let readme = leer("README.md");
    let (_, tras_la_marca) = readme
        .split_once("<!-- pruebas -->")
        .expect("falta la marca <!-- pruebas -->");
    assert!(tras_la_marca.starts_with("\n```sh\ncargo test\n```\n"));
    assert!(leer(".ci/run").contains("<!-- pruebas -->"));
}

/// La tabla de la guía no puede quedarse atrás: cada función está en el archivo que dice.
#[test]
fn las_funciones_de_la_guia_estan_donde_dice() {
    let readme = leer("README.md");
    for (funcion, archivo) in [
        ("atender_conexiones", "src/red.rs"),
        ("gestionar_peticion", "src/nodo/servidor.rs"),
        ("buscar_en_peers", "src/nodo/cliente.rs"),
        ("descargar_archivo", "src/nodo/cliente.rs"),
    ] {
        let fila = readme
            .lines()
            .find(|linea| linea.starts_with("| `") && linea.contains(&format!("`{funcion}`")));
        assert!(
            fila.is_some_and(|fila| fila.contains(archivo)),
            "el README no lleva de {funcion} a {archivo}"
        );
        assert!(
            leer(archivo).contains(&format!("pub fn {funcion}")),
            "{archivo} no tiene {funcion}"
        );
    }
}

/// Cada orden y cada opción de la ayuda está en el README.
#[test]
fn las_ordenes_y_opciones_estan_en_el_readme() {
    let ayuda = Command::new(env!("CARGO_BIN_EXE_nodo"))
        .arg("--help")
        .output()
        .expect("nodo --help");
    let ayuda = String::from_utf8(ayuda.stdout).expect("la ayuda es texto");
    let (_, ordenes) = ayuda.split_once("Órdenes:\n").expect("hay órdenes");
    let (ordenes, opciones) = ordenes.split_once("\n\n").expect("y después, opciones");
    let ordenes = ordenes
        .lines()
        .filter_map(|linea| linea.split_whitespace().next())
        .map(|orden| format!("`nodo {orden}"));
    let opciones = opciones
        .split_whitespace()
        .filter(|palabra| palabra.starts_with("--") && *palabra != "--version")
        .map(str::to_string);
    let readme = leer("README.md");
    let buscadas: Vec<String> = ordenes.chain(opciones).collect();
    assert!(buscadas.len() > 20, "{buscadas:?}");
    for nombre in buscadas {
        assert!(readme.contains(&nombre), "el README no nombra {nombre}");
    }
}

/// Los scripts que el README nombra existen y se pueden ejecutar.
#[test]
fn los_scripts_nombrados_se_pueden_ejecutar() {
    let readme = leer("README.md");
    let nombrados: Vec<&str> = readme
        .split(|c: char| c.is_whitespace() || "`[](),".contains(c))
        .filter(|palabra| palabra.starts_with("scripts/") && palabra.ends_with(".sh"))
        .collect();
    assert!(nombrados.contains(&"scripts/tres_nodos.sh"));
    for script in nombrados {
        assert!(ejecutable(&raiz().join(script)), "{script}");
    }
    assert!(ejecutable(&raiz().join(".ci/run")));
}

#[cfg(unix)]
fn ejecutable(ruta: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    ruta.metadata()
        .is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

/// Windows no guarda ese permiso: basta que estén.
#[cfg(not(unix))]
fn ejecutable(ruta: &Path) -> bool {
    ruta.is_file()
}
