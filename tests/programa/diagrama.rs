//! `nodo diagrama` y `nodo informe`, con diarios escritos a mano: enteros, cortados, con las horas
//! cambiadas y de quien quiere estropear el dibujo.

use std::collections::HashMap;
use std::path::Path;
use std::process::Output;
use std::thread;

use super::comun::{Proceso, codigo, dicho, orden, quejas};

/// Una línea de diario.
fn suceso(
    nodo: &str,
    i: u64,
    t: u64,
    que: &str,
    [yo, otro]: [&str; 2],
    n: u64,
    texto: &str,
) -> String {
    let palabra = texto.split(':').next().unwrap();
    serde_json::json!({
        "i": i, "t": t, "nodo": nodo, "hilo": "conexion-1", "suceso": que, "c": 1, "yo": yo,
        "otro": otro, "n": n, "palabra": palabra, "texto": texto, "bytes": texto.len(),
    })
    .to_string()
        + "\n"
}

const UNO: &str = "10.0.0.1:50000";
const DOS: &str = "10.0.0.2:6000";
const HORA: u64 = 3_600_000_000;

/// Una búsqueda, vista por los dos: el reloj del segundo va una hora atrás.
fn busqueda(uno: &str, dos: &str, archivo: &str) -> [String; 2] {
    let pregunta = format!("BUSCAR:{archivo}");
    let t = 1_790_000_000_000_000;
    let de_uno = [
        suceso(uno, 1, t, "conecta", [UNO, DOS], 0, ""),
        suceso(uno, 2, t + 10, "envia", [UNO, DOS], 1, &pregunta),
        suceso(uno, 3, t + 90, "recibe", [UNO, DOS], 1, "SI"),
        suceso(uno, 4, t + 95, "cierra", [UNO, DOS], 0, ""),
    ];
    let de_dos = [
        suceso(dos, 1, t - HORA, "acepta", [DOS, UNO], 0, ""),
        suceso(dos, 2, t - HORA + 20, "recibe", [DOS, UNO], 1, &pregunta),
        suceso(dos, 3, t - HORA + 30, "envia", [DOS, UNO], 1, "SI"),
        suceso(dos, 4, t - HORA + 99, "cierra", [DOS, UNO], 0, ""),
    ];
    [de_uno.concat(), de_dos.concat()]
}

/// Escribe los diarios y hace la orden con ellos.
fn con(diarios: &[impl AsRef<[u8]>], argumentos: &[&str]) -> (tempfile::TempDir, Output) {
    let carpeta = tempfile::tempdir().unwrap();
    let mut linea: Vec<String> = vec![argumentos[0].to_string()];
    for (n, diario) in diarios.iter().enumerate() {
        let ruta = carpeta.path().join(format!("{}.jsonl", n + 1));
        std::fs::write(&ruta, diario).unwrap();
        linea.push(ruta.to_str().unwrap().to_string());
    }
    linea.extend(argumentos[1..].iter().map(ToString::to_string));
    let salida = orden(linea);
    (carpeta, salida)
}

fn bien(diarios: &[impl AsRef<[u8]>], argumentos: &[&str]) -> (String, String) {
    let (_carpeta, salida) = con(diarios, argumentos);
    assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
    (dicho(&salida), quejas(&salida))
}

#[test]
fn una_busqueda_se_dibuja_con_las_horas_cambiadas() {
    let diarios = busqueda("nodo1", "nodo2", "foto.png");
    let (svg, avisos) = bien(&diarios, &["diagrama"]);
    assert_eq!(avisos, "");
    assert!(
        svg.starts_with("<svg ") && svg.ends_with("</svg>\n"),
        "{svg}"
    );
    for trozo in [
        "2 nodos · 8 sucesos · 3 flechas · 0 sin pareja",
        ">1. BUSCAR:foto.png</text>",
        "vector (3,3)",
        "3 parejas: ninguno",
        "concurrente con: del 3 al 4 de nodo1",
    ] {
        assert!(svg.contains(trozo), "falta {trozo:?} en {svg}");
    }
    assert!(!svg.contains("class=\"suceso sola"), "{svg}");
    let (registro, _) = bien(&diarios, &["diagrama", "--formato", "shiviz"]);
    let esperado = "nodo1 {\"nodo1\":1}\nconecta\nnodo1 {\"nodo1\":2}\nenvía 1. BUSCAR:foto.png\n\
        nodo2 {\"nodo1\":1,\"nodo2\":1}\nacepta\n";
    assert!(registro.starts_with(esperado), "{registro}");
    let (mermaid, _) = bien(&diarios, &["diagrama", "--formato", "mermaid"]);
    let flechas = [
        "    p0->>p1: conecta (L1 → L2)\n",
        "    p0->>p1: 1. BUSCAR#58;foto.png (L2 → L3)\n",
        "    p1->>p0: 1. SI (L4 → L5)\n",
    ];
    assert!(mermaid.ends_with(&flechas.concat()), "{mermaid}");
}

#[test]
fn sin_el_otro_diario_va_a_trazos() {
    let [uno, _] = busqueda("nodo1", "nodo2", "foto.png");
    let (svg, _) = bien(&[uno], &["diagrama"]);
    assert!(svg.contains("1 nodo · 4 sucesos · 0 flechas · 3 sin pareja"));
    assert_eq!(svg.matches("<g class=\"suceso sola").count(), 6, "{svg}");
    assert!(svg.contains("sin pareja en estos diarios"));
}

#[test]
fn un_diario_cortado_o_estropeado_se_lee_hasta_donde_se_puede() {
    let [uno, dos] = busqueda("nodo1", "nodo2", "foto.png");
    // Como lo deja un `kill -9`: la última línea, a medias.
    let cortado = &uno[..uno.len() - 30];
    let mut estropeado = b"\xff\xfe\x00basura\n{}\n[1,2]\n\n".to_vec();
    estropeado.extend(std::iter::repeat_n(b'x', 200_000));
    estropeado.push(b'\n');
    estropeado.extend(dos.as_bytes());
    let (svg, avisos) = bien(&[cortado.as_bytes(), &estropeado], &["diagrama"]);
    assert!(
        avisos.contains("1.jsonl: su última línea está cortada, y se deja\n"),
        "{avisos}"
    );
    assert!(
        avisos.contains("2.jsonl: 4 líneas no se entienden, y se dejan\n"),
        "{avisos}"
    );
    assert_eq!(avisos.lines().count(), 2, "{avisos}");
    assert!(svg.contains("7 sucesos · 3 flechas"));
    assert!(svg.contains("su última línea está cortada"));
    // Sin su salto, pero entera: vale.
    let (svg, avisos) = bien(&[uno.trim_end(), dos.trim_end()], &["diagrama"]);
    assert!(svg.contains("8 sucesos"));
    assert_eq!(avisos, "");
}

#[test]
fn los_textos_hostiles_no_salen_de_su_sitio() {
    let malo = "</title><script>alert(1)</script>]]>\u{1b}[2J\u{fffe}`|\n# h;#end";
    let diarios = busqueda("<script>", "]]>", malo);
    let (svg, _) = bien(&diarios, &["diagrama"]);
    assert!(!svg.contains("<script") && !svg.contains("]]>"), "{svg}");
    assert!(!svg.contains(['\u{1b}', '\u{fffe}']));
    assert!(svg.contains("&lt;script&gt;"));
    let (mermaid, _) = bien(&diarios, &["diagrama", "--formato", "mermaid"]);
    assert!(!mermaid.contains(['<', '`', '\u{1b}']), "{mermaid}");
    assert_eq!(mermaid.lines().count(), 6, "{mermaid}");
    let (acta, _) = bien(&diarios, &["informe"]);
    assert!(acta.contains("| `<script>` |"), "{acta}");
    assert_eq!(acta.matches("```").count(), 2);
}

#[test]
fn dos_nodos_con_un_nombre_son_dos_columnas() {
    let diarios = busqueda("nodo1", "nodo1", "foto.png");
    let (svg, _) = bien(&diarios, &["diagrama"]);
    assert!(svg.contains(">nodo1</text>") && svg.contains(">nodo1 (2)</text>"));
    let (registro, _) = bien(&diarios, &["diagrama", "--formato", "shiviz"]);
    assert!(registro.contains("\nnodo1_(2)#2 {\"nodo1\":1,\"nodo1_(2)#2\":1}\nacepta\n"));
}

#[test]
fn lo_que_no_cabe_se_recorta_y_se_dice() {
    let linea = |i| suceso("nodo1", i, i, "envia", [UNO, DOS], i, "HOLA:6001:nodo1");
    let diario: String = (1..=10_000).map(linea).collect();
    for (formato, van) in [("svg", "1000 sucesos"), ("mermaid", "300 sucesos")] {
        let (dibujo, avisos) = bien(&[&diario], &["diagrama", "--formato", formato]);
        let dice = format!("Recortado: van los primeros {van}, de 10000.");
        assert_eq!(avisos, format!("{dice}\n"));
        assert!(dibujo.replace("#58;", ":").contains(&dice));
    }
    let (_, avisos) = bien(&[&diario], &["diagrama", "--formato", "shiviz"]);
    assert_eq!(avisos, "");
}

#[test]
fn con_o_se_escribe_en_un_archivo() {
    let diarios = busqueda("nodo1", "nodo2", "foto.png");
    let carpeta = tempfile::tempdir().unwrap();
    let destino = carpeta.path().join("clase.svg");
    let destino = destino.to_str().unwrap();
    let (dice, avisos) = bien(&diarios, &["diagrama", "-o", destino]);
    assert_eq!(
        dice,
        format!("{destino}: 2 nodos · 8 sucesos · 3 flechas · 0 sin pareja\n")
    );
    assert_eq!(avisos, "");
    let (por_la_salida, _) = bien(&diarios, &["diagrama"]);
    assert_eq!(std::fs::read_to_string(destino).unwrap(), por_la_salida);
}

/// Código 1 y una frase.
fn mal(diarios: &[impl AsRef<[u8]>], argumentos: &[&str], dice: &str) {
    let (_carpeta, salida) = con(diarios, argumentos);
    let frase = quejas(&salida);
    assert_eq!(codigo(&salida), Some(1), "{argumentos:?}: {frase}");
    assert_eq!(dicho(&salida), "");
    assert!(frase.contains(dice), "falta {dice:?} en {frase:?}");
}

#[test]
fn lo_que_no_se_puede_leer_o_escribir_se_dice() {
    let diarios = busqueda("nodo1", "nodo2", "foto.png");
    for orden in ["diagrama", "informe"] {
        mal(
            &diarios,
            &[orden, "-o", "no/hay/carpeta.svg"],
            "no/hay/carpeta.svg: no existe",
        );
        mal(
            &diarios,
            &[orden, "no está.jsonl"],
            "no está.jsonl: no existe",
        );
        mal(&[""], &[orden], "no hay ningún suceso");
        #[cfg(unix)]
        mal(
            &diarios,
            &[orden, "-o", "/dev/full"],
            "/dev/full: el disco está lleno",
        );
    }
    let (carpeta, _) = con(&diarios, &["diagrama"]);
    let diario = carpeta.path().join("1.jsonl");
    pisar_un_diario(&diario);
    assert_eq!(std::fs::read_to_string(diario).unwrap(), diarios[0]);
}

fn pisar_un_diario(diario: &Path) {
    let ruta = diario.to_str().unwrap();
    let salida = orden(["diagrama", ruta, "-o", ruta]);
    assert_eq!(codigo(&salida), Some(1));
    assert!(quejas(&salida).contains("es uno de los diarios"));
}

#[test]
fn el_acta_cuenta_lo_que_paso_y_deja_las_preguntas() {
    let huella = "ab".repeat(32);
    let [yo, otro] = [[UNO, DOS], [DOS, UNO]];
    let linea = |i, que, n, texto: &str| suceso("nodo1", i, i * 1_000_000, que, yo, n, texto);
    let datos = |nodo, i: u64, sentido, donde: [&str; 2]| {
        let linea = suceso(nodo, i, i * 1_000_000, "datos", donde, 0, sentido);
        linea
            .replace("\"bytes\":6", "\"bytes\":5000")
            .replace("\"bytes\":5,", "\"bytes\":5000,")
    };
    let uno = [
        linea(1, "conecta", 0, ""),
        linea(2, "envia", 1, "INFO:foto.png"),
        linea(3, "recibe", 1, &format!("INFO:5000:{huella}")),
        linea(4, "envia", 2, "OBTENER:0:5000:foto.png"),
        linea(5, "recibe", 2, "OK:5000"),
        datos("nodo1", 7, "recibe", yo),
    ];
    let con_falla = suceso("nodo2", 3, 9, "envia", otro, 2, "OK:5000");
    let con_falla = con_falla.replace("\"bytes\"", "\"falla\":\"retraso=212\",\"bytes\"");
    let dos = [
        suceso("nodo2", 1, 1, "acepta", otro, 0, ""),
        suceso("nodo2", 2, 5, "recibe", otro, 2, "OBTENER:0:5000:foto.png"),
        con_falla,
        datos("nodo2", 4, "envia", otro),
    ];
    let (acta, avisos) = bien(&[uno.concat(), dos.concat()], &["informe"]);
    assert_eq!(avisos, "");
    for trozo in [
        "# Acta de la práctica\n",
        "| `nodo2` | `10.0.0.2:6000` | 4 |",
        &format!("| `foto.png` | `nodo1` | 1 | `nodo2` (5,0 kB) | 5000 | 3,0 s | `{huella}` |"),
        "| `nodo2` | `retraso` | 1 | `retraso=212` |",
        "```mermaid\nsequenceDiagram\n",
        "\n1. ",
        "\n10. ",
    ] {
        assert!(acta.contains(trozo), "falta {trozo:?} en {acta}");
    }
    assert_eq!(acta.matches("Respuesta:\n").count(), 10);
}

/// Con nodos de verdad y varias órdenes a la vez: todo lo que se recibió casa con lo que se mandó.
#[test]
fn lo_que_viajo_entre_nodos_de_verdad_casa_entero() {
    let carpeta = tempfile::tempdir().unwrap();
    let diario = |n: usize| {
        carpeta
            .path()
            .join(format!("{n}.jsonl"))
            .display()
            .to_string()
    };
    let mut nodos: Vec<Proceso> = (0..2)
        .map(|n| {
            let suya = carpeta.path().join(format!("nodo{n}"));
            std::fs::create_dir(&suya).unwrap();
            std::fs::write(suya.join("a.txt"), "hola".repeat(1000)).unwrap();
            Proceso::menu(
                &suya,
                &["--nombre", &format!("nodo{n}"), "--diario", &diario(n)],
            )
        })
        .collect();
    let peers = nodos
        .iter()
        .map(|nodo| ["--peer".to_string(), nodo.direccion().to_string()]);
    let peers: Vec<String> = peers.flatten().collect();
    let destino = carpeta.path().join("destino").display().to_string();
    let ordenes: [&[&str]; 4] = [
        &["buscar", "a.txt"],
        &["mensaje", "hola"],
        &["listar", "--red"],
        &["descargar", "a.txt", "--carpeta", &destino],
    ];
    thread::scope(|ambito| {
        for (n, palabras) in ordenes.iter().enumerate() {
            let (peers, diario) = (&peers, diario(n + 2));
            ambito.spawn(move || {
                let linea = palabras.iter().map(ToString::to_string);
                let linea = linea
                    .chain(peers.clone())
                    .chain(["--diario".to_string(), diario]);
                assert_eq!(codigo(&orden(linea)), Some(0), "{palabras:?}");
            });
        }
    });
    for nodo in &mut nodos {
        nodo.escribir("3");
        assert_eq!(nodo.terminar(), Some(0));
    }
    let pedir = |formato: &str| {
        let diarios = (0..6).map(diario);
        let pedido = [
            "diagrama".to_string(),
            "--formato".to_string(),
            formato.to_string(),
        ];
        let salida = orden(pedido.into_iter().chain(diarios));
        assert_eq!(quejas(&salida), "");
        dicho(&salida)
    };
    let svg = pedir("svg");
    assert!(svg.contains(" flechas · 0 sin pareja<"), "{svg}");
    assert!(svg.contains(">1. BUSCAR:a.txt<") && svg.contains("datos, 4,0 kB"));
    cada_suceso_cuenta_uno_mas_en_su_nodo(&pedir("shiviz"));
}

/// Y lo que se recibe sabe de quien lo mandó.
fn cada_suceso_cuenta_uno_mas_en_su_nodo(registro: &str) {
    let lineas: Vec<&str> = registro.lines().collect();
    let mut van = HashMap::new();
    for suceso in lineas.chunks(2) {
        let (quien, reloj) = suceso[0].split_once(' ').unwrap();
        let reloj: HashMap<String, u64> = serde_json::from_str(reloj).unwrap();
        let suyos = van.entry(quien).or_insert(0);
        *suyos += 1;
        assert_eq!(reloj[quien], *suyos, "{registro}");
        let llega = ["acepta", "recibe 1"]
            .iter()
            .any(|que| suceso[1].starts_with(que));
        assert!(!llega || reloj.len() > 1, "{suceso:?}");
    }
}
