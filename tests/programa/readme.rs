//! Las páginas no mienten: los enlaces existen, las órdenes se pueden escribir y las cifras son
//! esas.
//!
//! Se miran todas: el README y las que están junto al código, en `src/`.

use super::comun::Lanzar;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::config::{ESPERA, MAX_CONEXIONES, MAX_MENSAJE, PEERS, PUERTO};
use crate::ordenes::espanol::{SinOrden, leer as leer_orden};

fn raiz() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn leer(nombre: &str) -> String {
    let texto = fs::read_to_string(raiz().join(nombre));
    let texto = texto.unwrap_or_else(|e| panic!("{nombre}: {e}"));
    // En Windows, git puede dejar los finales de línea de allí.
    texto.replace("\r\n", "\n")
}

/// Todas las páginas, desde la raíz del proyecto: `README.md` y las de `src/`.
fn paginas() -> Vec<String> {
    let mut paginas = vec!["README.md".to_string()];
    paginas.extend(archivos_de("src").filter(|ruta| ruta.ends_with("/README.md")));
    assert!(paginas.len() > 5, "{paginas:?}");
    paginas
}

/// Los archivos de una carpeta y de las que cuelgan de ella, con `/`.
fn archivos_de(carpeta: &str) -> impl Iterator<Item = String> {
    let (mut archivos, mut carpetas) = (Vec::new(), vec![carpeta.to_string()]);
    while let Some(carpeta) = carpetas.pop() {
        for entrada in fs::read_dir(raiz().join(&carpeta)).unwrap() {
            let entrada = entrada.unwrap();
            let ruta = format!("{carpeta}/{}", entrada.file_name().to_str().unwrap());
            match entrada.file_type().unwrap().is_dir() {
                true => carpetas.push(ruta),
                false => archivos.push(ruta),
            }
        }
    }
    archivos.into_iter()
}

// ----- Los enlaces -----

/// Los destinos de los enlaces `[texto](destino)`.
fn enlaces(texto: &str) -> impl Iterator<Item = &str> {
    let tras_el_texto = texto.split("](").skip(1);
    tras_el_texto.filter_map(|resto| Some(resto.split_once(')')?.0))
}

/// Los enlaces de una página que llevan a otro sitio del proyecto: el archivo, y la sección o nada.
fn enlaces_de_casa(pagina: &str) -> Vec<(PathBuf, String)> {
    let desde = raiz().join(pagina);
    let texto = leer(pagina);
    let de_casa = enlaces(&texto).filter(|destino| !destino.starts_with("https://"));
    let partido = |destino: &str| {
        let (archivo, seccion) = destino.split_once('#').unwrap_or((destino, ""));
        let archivo = match archivo {
            "" => desde.clone(),
            otro => desde.parent().unwrap().join(otro),
        };
        (archivo, seccion.to_string())
    };
    de_casa.map(partido).collect()
}

/// El ancla que GitHub da a un título: minúsculas, sin puntuación y con guiones.
fn ancla(titulo: &str) -> String {
    let titulo = titulo.trim_start_matches('#').trim().to_lowercase();
    let se_queda = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    titulo.replace(' ', "-").chars().filter(se_queda).collect()
}

#[test]
fn los_enlaces_llevan_a_alguna_parte() {
    let mut vistos = 0;
    for pagina in paginas() {
        for (archivo, seccion) in enlaces_de_casa(&pagina) {
            let adonde = archivo.display();
            assert!(archivo.exists(), "{pagina}: no existe {adonde}");
            if !seccion.is_empty() {
                let texto = fs::read_to_string(&archivo).unwrap();
                let mut titulos = texto.lines().filter(|linea| linea.starts_with('#'));
                assert!(
                    titulos.any(|titulo| ancla(titulo) == seccion),
                    "{pagina}: {adonde} no tiene la sección #{seccion}"
                );
            }
            vistos += 1;
        }
    }
    assert!(vistos > 80, "se esperaban más enlaces, y hay {vistos}");
}

/// Desde el README se llega a todas las páginas.
#[test]
fn ninguna_pagina_queda_suelta() {
    let mut llegadas = vec![raiz().join("README.md")];
    let mut por_mirar = vec!["README.md".to_string()];
    while let Some(pagina) = por_mirar.pop() {
        for (archivo, _) in enlaces_de_casa(&pagina) {
            let archivo = archivo.canonicalize().unwrap();
            let es_pagina = archivo.extension().is_some_and(|e| e == "md");
            if es_pagina
                && !llegadas
                    .iter()
                    .any(|l| l.canonicalize().unwrap() == archivo)
            {
                let suya = archivo
                    .strip_prefix(raiz().canonicalize().unwrap())
                    .unwrap();
                por_mirar.push(suya.to_str().unwrap().replace('\\', "/"));
                llegadas.push(archivo);
            }
        }
    }
    assert_eq!(llegadas.len(), paginas().len(), "{llegadas:?}");
}

/// La tabla de la guía no puede quedarse atrás: cada función está en el archivo que dice.
#[test]
fn las_funciones_de_la_guia_estan_donde_dice() {
    let readme = leer("README.md");
    for (funcion, archivo) in [
        ("atender_conexiones", "src/red/mod.rs"),
        ("gestionar_peticion", "src/nodo/servidor.rs"),
        ("buscar_en_peers", "src/nodo/cliente.rs"),
        ("descargar_archivo", "src/nodo/cliente.rs"),
    ] {
        let suya = format!("| `{funcion}` | [{archivo}]({archivo})");
        assert!(
            readme.contains(&suya),
            "el README no lleva de {funcion} a {archivo}"
        );
        let definida = format!("pub fn {funcion}");
        assert!(
            leer(archivo).contains(&definida),
            "{archivo} no tiene {funcion}"
        );
    }
}

// ----- Las órdenes -----

/// Lo que una página dice que se escriba en una terminal: los bloques de código y lo que va entre
/// acentos graves.
fn escrito_en(pagina: &str) -> Vec<String> {
    let mut escrito = Vec::new();
    for linea in leer(pagina).lines() {
        match linea.strip_prefix("    ") {
            Some(codigo) => escrito.push(codigo.trim_start_matches("$ ").to_string()),
            None => {
                let entre_acentos = linea.split('`').skip(1).step_by(2);
                escrito.extend(entre_acentos.map(|codigo| codigo.replace("\\|", "|")));
            }
        }
    }
    escrito
}

/// Las palabras de una orden, hasta donde se la pasa a otra. Entiende las comillas.
fn palabras(escrito: &str) -> Vec<String> {
    let (mut palabras, mut comilla) = (vec![String::new()], None);
    for letra in escrito.chars() {
        match (letra, comilla) {
            ('\'' | '"', None) => comilla = Some(letra),
            (_, Some(abierta)) if letra == abierta => comilla = None,
            ('|' | '>' | '<' | ';' | '&', None) => break,
            (' ', None) => palabras.push(String::new()),
            _ => palabras.last_mut().unwrap().push(letra),
        }
    }
    palabras.retain(|palabra| !palabra.is_empty());
    palabras
}

/// Si es una orden de `nodo`, sus argumentos, con un ejemplo donde las tablas ponen un hueco.
fn argumentos(escrito: &str) -> Option<Vec<String>> {
    let quitados = escrito.replace(['[', ']', '…'], "");
    let mut palabras = palabras(&quitados);
    palabras.drain(
        ..palabras
            .iter()
            .take_while(|p| p.starts_with("RUST_LOG="))
            .count(),
    );
    if palabras.starts_with(&["cargo", "run", "--"].map(String::from)) {
        palabras.drain(..3);
    } else if palabras.first()? != "nodo" {
        return None;
    } else {
        palabras.remove(0);
    }
    let con_ejemplo = |palabra: String| match palabra.as_str() {
        "IP" => "127.0.0.1".into(),
        "IP:PUERTO" => "127.0.0.1:1".into(),
        "URL" => "http://127.0.0.1:1".into(),
        "N" | "SEGUNDOS" => "1".into(),
        "SHELL" => "zsh".into(),
        _ => palabra,
    };
    Some(palabras.into_iter().map(con_ejemplo).collect())
}

#[test]
fn las_ordenes_se_pueden_escribir() {
    let mut vistas = 0;
    for pagina in paginas() {
        for escrito in escrito_en(&pagina) {
            let Some(argumentos) = argumentos(&escrito) else {
                continue;
            };
            let linea = std::iter::once("nodo".to_string()).chain(argumentos);
            if let Err(SinOrden::MalEscrito(por_que)) = leer_orden(linea) {
                panic!("{pagina}: «{escrito}»: {por_que}");
            }
            vistas += 1;
        }
    }
    assert!(vistas > 50, "se esperaban más órdenes, y hay {vistas}");
}

/// La ayuda sale de las mismas constantes: quien cambia una no tiene que acordarse de ella.
#[test]
fn la_ayuda_dice_los_valores_de_config() {
    let ayuda = ayuda_de(&["--help"]);
    for valor in [
        format!("de 1 a {}", PEERS.len()),
        format!("sin puerto, {PUERTO}"),
        format!("({ESPERA} si no se dice)"),
        format!("({MAX_CONEXIONES} si no se dice)"),
    ] {
        assert!(ayuda.contains(&valor), "la ayuda no dice «{valor}»");
    }
    let de_mensaje = ayuda_de(&["mensaje", "--help"]);
    assert!(de_mensaje.contains(&format!("{MAX_MENSAJE} bytes")));
}

fn ayuda_de(argumentos: &[&str]) -> String {
    let mut programa = Command::new(env!("CARGO_BIN_EXE_nodo"));
    let ayuda = programa.args(argumentos).recoger();
    String::from_utf8(ayuda.stdout).expect("la ayuda es texto")
}

/// Cada orden y cada opción de la ayuda está en el README, y la ayuda dice qué hace cada una.
#[test]
fn las_ordenes_y_opciones_estan_en_el_readme() {
    let ayuda = ayuda_de(&["--help"]);
    let (_, ordenes) = ayuda.split_once("Órdenes:\n").expect("hay órdenes");
    let (ordenes, opciones) = ordenes.split_once("\n\n").expect("y después, opciones");
    let mut explicadas: Vec<&str> = Vec::new();
    let mut buscadas: Vec<String> = Vec::new();
    for linea in ordenes.lines() {
        let (orden, que_hace) = linea.trim().split_once(' ').expect("lleva su explicación");
        assert!(!explicadas.contains(&que_hace.trim()), "repetida: {linea}");
        explicadas.push(que_hace.trim());
        buscadas.push(format!("`nodo {orden}"));
    }
    let opciones = opciones
        .split_whitespace()
        .filter(|palabra| palabra.starts_with("--"));
    buscadas.extend(
        opciones
            .filter(|opcion| *opcion != "--version")
            .map(String::from),
    );
    assert!(buscadas.len() > 20, "{buscadas:?}");
    let readme = leer("README.md");
    for nombre in buscadas {
        assert!(readme.contains(&nombre), "el README no nombra {nombre}");
    }
}

/// `.ci/run` saca del README lo que va tras cada marca: tiene que estar, y ser lo que se espera.
#[test]
fn lo_que_hace_ci_esta_marcado() {
    let readme = leer("README.md");
    for (paso, ordenes) in [
        ("pruebas", "cargo test"),
        (
            "antes de clase",
            "mkdir .cargo\ncargo vendor --locked > .cargo/config.toml",
        ),
        ("en clase", "cargo build --offline"),
    ] {
        let marca = readme.split_once(&format!("<!-- {paso} -->"));
        let (_, tras_la_marca) = marca.unwrap_or_else(|| panic!("falta <!-- {paso} -->"));
        assert!(tras_la_marca.starts_with(&format!("\n```sh\n{ordenes}\n```\n")));
        let lo_saca = [
            format!("del_readme {paso}"),
            format!("del_readme \"{paso}\""),
        ];
        assert!(lo_saca.iter().any(|orden| leer(".ci/run").contains(orden)));
    }
}

/// Los scripts que se nombran existen y se pueden ejecutar.
#[test]
fn los_scripts_nombrados_se_pueden_ejecutar() {
    let mut nombrados = vec![".ci/run".to_string()];
    for pagina in paginas() {
        let texto = leer(&pagina);
        let partes = texto.split(|c: char| c.is_whitespace() || "`[](),;".contains(c));
        let de_scripts = partes.filter(|p| p.starts_with("scripts/") && p.ends_with(".sh"));
        nombrados.extend(de_scripts.map(String::from));
    }
    assert!(nombrados.contains(&"scripts/tres_nodos.sh".to_string()));
    for script in nombrados {
        assert!(ejecutable(&raiz().join(&script)), "{script}");
    }
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

/// Cada biblioteca de `Cargo.toml` tiene su línea en el README, que dice para qué está.
#[test]
fn las_dependencias_se_explican() {
    let cargo = leer("Cargo.toml");
    let readme = leer("README.md");
    let mut de_dependencias = false;
    let mut vistas = 0;
    for linea in cargo.lines() {
        if linea.starts_with('[') {
            de_dependencias = linea.contains("dependencies]");
        } else if let Some((nombre, _)) = linea.split_once(" = ").filter(|_| de_dependencias) {
            let fila = format!("[{nombre}](https://docs.rs/{nombre})");
            assert!(readme.contains(&fila), "el README no explica {nombre}");
            vistas += 1;
        }
    }
    assert!(vistas > 15, "se esperaban más dependencias, y hay {vistas}");
}

// ----- Las cifras -----

/// Lo que tiene que leer quien empieza está en las primeras 200 líneas; lo demás es de consulta.
#[test]
fn lo_que_hace_falta_para_empezar_cabe_en_200_lineas() {
    let readme = leer("README.md");
    let donde = |titulo: &str| {
        let donde = readme.lines().position(|linea| linea == titulo);
        donde.unwrap_or_else(|| panic!("falta «{titulo}»"))
    };
    assert!(donde("## Tres computadoras") < donde("## Con el nodo de la guía"));
    assert!(donde("## Con el nodo de la guía") <= 200);
}

/// Las líneas de un archivo, con sus comentarios y sin sus pruebas. Las filas que se añadan a
/// `PEERS` no cuentan.
fn lineas_de(archivo: &str) -> usize {
    let texto = leer(archivo);
    let sin_pruebas = texto.split("\n#[cfg(test)]\nmod tests").next().unwrap();
    let filas_de_mas = match archivo {
        "src/config.rs" => PEERS.len().saturating_sub(3),
        _ => 0,
    };
    sin_pruebas.trim_end().lines().count() - filas_de_mas
}

/// El camino, como lo dice `src/README.md`: cada archivo y sus líneas, redondeadas.
fn camino() -> Vec<(String, usize)> {
    let pagina = leer("src/README.md");
    let filas = pagina.lines().filter(|linea| {
        let principio = linea.strip_prefix("| ").unwrap_or_default();
        principio.starts_with(|c: char| c.is_ascii_digit())
    });
    let leida = |fila: &str| {
        let archivo = enlaces(fila).next()?;
        let lineas = fila.split("| unas ").nth(1)?.split(' ').next()?;
        Some((format!("src/{archivo}"), lineas.parse().ok()?))
    };
    filas
        .map(|fila| leida(fila).unwrap_or_else(|| panic!("no se entiende: {fila}")))
        .collect()
}

#[test]
fn el_camino_se_lee_de_una_sentada() {
    let camino = camino();
    let archivos: Vec<&str> = camino.iter().map(|(archivo, _)| archivo.as_str()).collect();
    assert_eq!(
        archivos,
        [
            "src/main.rs",
            "src/config.rs",
            "src/red/mod.rs",
            "src/nodo/servidor.rs",
            "src/nodo/cliente.rs",
            "src/nodo/menu.rs",
        ]
    );
    let mut total = 0;
    for (archivo, dichas) in &camino {
        let son = lineas_de(archivo);
        assert!(
            son.abs_diff(*dichas) <= 10,
            "{archivo} tiene {son} líneas, y src/README.md dice unas {dichas}"
        );
        total += son;
    }
    assert!(
        total <= 600,
        "el camino tiene {total} líneas, y promete 600 como mucho"
    );
    assert!(leer("src/README.md").contains("**600 como mucho**"));
    assert!(lineas_de("src/practicas/ingenuo.rs") <= 150);
}

/// La receta de la palabra nueva se copia tal cual: lo que llama de la casa, como lo llama ella.
#[test]
fn la_receta_llama_a_las_cosas_como_la_casa() {
    let pagina = leer("src/README.md");
    let (_, receta) = pagina.split_once("## Añadir una palabra").expect("receta");
    let (receta, _) = receta.split_once("## Ejercicios").expect("y después");
    let de_codigo = archivos_de("src").filter(|ruta| ruta.ends_with(".rs"));
    let codigo: String = de_codigo.map(|ruta| leer(&ruta)).collect();
    let llamadas = ["vecinos.conectar(", "consola.consultar("];
    let lineas = receta.lines().map(str::trim);
    let lineas: Vec<&str> = lineas
        .filter(|linea| llamadas.iter().any(|llamada| linea.contains(llamada)))
        .collect();
    assert_eq!(lineas.len(), llamadas.len(), "{lineas:?}");
    for linea in lineas {
        assert!(codigo.contains(linea), "nadie escribe así: {linea}");
    }
}

/// Los paseos nombran funciones que hay.
#[test]
fn los_paseos_pasan_por_funciones_que_hay() {
    let pagina = leer("src/README.md");
    let (_, paseos) = pagina.split_once("## Un `BUSCAR`").expect("hay un paseo");
    let (paseos, _) = paseos
        .split_once("## Las reglas")
        .expect("y después, las reglas");
    let de_codigo = archivos_de("src").filter(|ruta| ruta.ends_with(".rs"));
    let codigo: String = de_codigo.map(|ruta| leer(&ruta)).collect();
    let nombres = paseos.split('`').skip(1).step_by(2);
    let funciones: Vec<&str> = nombres
        .filter(|n| n.contains('_') && !n.contains('.'))
        .collect();
    assert!(funciones.len() > 5, "{funciones:?}");
    for funcion in funciones {
        assert!(
            codigo.contains(&format!("fn {funcion}")),
            "no hay {funcion}"
        );
    }
}

/// Los diez ejercicios tienen su prueba, que existe, y están en orden.
#[test]
fn cada_ejercicio_tiene_su_prueba() {
    let pagina = leer("src/README.md");
    let (_, ejercicios) = pagina.split_once("## Ejercicios").expect("hay ejercicios");
    let pruebas = leer("tests/programa/ejercicios.rs");
    let cada_uno: Vec<&str> = ejercicios.split("\n### ").skip(1).collect();
    assert_eq!(cada_uno.len(), 10);
    assert_eq!(
        pruebas
            .matches("\n#[ignore = \"ejercicio\"]\nfn ejercicio_")
            .count(),
        10
    );
    for (numero, texto) in (1..).zip(cada_uno) {
        assert!(texto.starts_with(&format!("{numero}. ")), "{texto}");
        let orden = format!("`cargo test ejercicio_{numero:02} -- --ignored`");
        assert!(
            texto.contains(&orden),
            "el ejercicio {numero} no dice {orden}"
        );
        assert!(pruebas.contains(&format!("\nfn ejercicio_{numero:02}_")));
        assert!(
            enlaces(texto).count() > 0 && texto.lines().count() <= 14,
            "{texto}"
        );
    }
}

/// Cada carpeta de código está en el mapa.
#[test]
fn ningun_cuarto_falta_en_el_mapa() {
    let pagina = leer("src/README.md");
    let (_, mapa) = pagina.split_once("## El mapa").expect("hay un mapa");
    for archivo in archivos_de("src").filter(|ruta| ruta.ends_with(".rs")) {
        let cuarto = archivo.trim_start_matches("src/");
        let cuarto = cuarto
            .rsplit_once('/')
            .map_or(cuarto, |(carpeta, _)| carpeta);
        let se_nombra = mapa.contains(&format!("]({cuarto})"))
            || cuarto.starts_with("practicas/") && mapa.contains("](practicas)");
        assert!(se_nombra, "src/README.md no nombra {cuarto}");
    }
}

// ----- Lo que se prueba no ensucia -----

/// Lo que se baja en una práctica no aparece en `git status`. Sin git no hay nada que ensuciar.
#[test]
fn lo_que_se_baja_no_ensucia_git() {
    let aparte = tempfile::tempdir().unwrap();
    fs::write(aparte.path().join(".gitignore"), leer(".gitignore")).unwrap();
    let git = |argumentos: &[&str]| {
        let mut git = Command::new("git");
        git.current_dir(aparte.path())
            .args(argumentos)
            .stdout(Stdio::null());
        git.env_remove("GIT_DIR").status()
    };
    if git(&["init", "--quiet"]).is_err() {
        return;
    }
    for bajado in [
        "compartidos/nodo1/glosario.txt",
        "compartidos/nodo1/apuntes/a (1).txt",
        "compartidos/suelto.bin",
        "compartidos/nodo2/.enorme.bin.part",
        "anillo.png.torrent",
    ] {
        let olvidado = git(&["check-ignore", "--quiet", bajado]).unwrap();
        assert!(olvidado.success(), "git vería {bajado}");
    }
    assert!(
        !git(&["check-ignore", "--quiet", "src/main.rs"])
            .unwrap()
            .success()
    );
}
