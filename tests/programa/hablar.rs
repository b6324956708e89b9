//! `nodo hablar` de verdad: con un nodo, y con servidores que parten lo que dicen donde quieren.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use super::comun::practicas::{Programa, libre, todo};
use super::comun::{
    Lanzar, PACIENCIA, Proceso, acabar, aceptar, codigo, datos, dicho, nodo, quejas,
};

/// Habla con `a`, con esa entrada en una tubería, y recoge lo que sale.
fn hablar(a: &str, opciones: &[&str], entrada: &[u8]) -> Output {
    let mut programa = nodo();
    programa.args(["hablar", a]).args(opciones);
    let mut hijo = programa
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .lanzar();
    // Puede irse antes de leerla.
    let _ = hijo.stdin.take().unwrap().write_all(entrada);
    acabar(hijo)
}

/// Un nodo con un archivo, y su dirección.
fn con_un_archivo() -> (tempfile::TempDir, Proceso, String) {
    let carpeta = tempfile::tempdir().unwrap();
    fs::write(carpeta.path().join("a.txt"), "hola").unwrap();
    let nodo = Proceso::nodo(carpeta.path(), &[]);
    let a = nodo.direccion().to_string();
    (carpeta, nodo, a)
}

/// Un `nodo hablar --bytes` y el otro lado, a secas.
fn con_bytes() -> (Programa, TcpStream) {
    let escucha = libre();
    let a = escucha.local_addr().unwrap().to_string();
    let programa = Programa::arrancar(&["hablar", &a, "--bytes"]);
    let otro = aceptar(&escucha).unwrap().0;
    otro.set_read_timeout(Some(PACIENCIA)).unwrap();
    (programa, otro)
}

#[test]
fn buscar_da_si_y_el_cierre() {
    let (_carpeta, _nodo, a) = con_un_archivo();
    for entrada in ["BUSCAR:a.txt", "BUSCAR:a.txt\n"] {
        let salida = hablar(&a, &[], entrada.as_bytes());
        assert_eq!((codigo(&salida), dicho(&salida).as_str()), (Some(0), "SI"));
        assert_eq!(quejas(&salida), format!("[FIN] {a} cerró la conexión\n"));
    }
    let salida = hablar(&a, &["--bytes"], b"BUSCAR:no-esta\\c\n");
    assert_eq!(
        dicho(&salida).lines().collect::<Vec<_>>(),
        [
            "→ escritura 1: 14 bytes, sin fin de línea: BUSCAR:no-esta",
            "← lectura 1: 2 bytes, sin fin de línea: NO",
            "Mandado: 1 escritura, 14 bytes, 0 líneas y otra sin acabar",
            "Recibido: 1 lectura, 2 bytes, 0 líneas y otra sin acabar",
        ]
    );
}

#[test]
fn dos_palabras_seguidas_son_dos_lineas_lleguen_en_las_lecturas_que_lleguen() {
    let (_carpeta, _nodo, a) = con_un_archivo();
    let dos = hablar(&a, &[], b"LISTAR\nLISTAR\n");
    let una: Vec<String> = dicho(&dos).lines().map(String::from).collect();
    assert_eq!((una.len(), una[0].as_str()), (4, "LISTA:1"));
    assert!(una[1].starts_with("4:") && una[1].ends_with(":a.txt"));
    let dos = dicho(&hablar(&a, &["--bytes"], b"LISTAR\nLISTAR\n"));
    assert!(dos.contains("→ escritura 2: 7 bytes, una línea entera: LISTAR\\n\n"));
    assert!(
        dos.contains("Mandado: 2 escrituras, 14 bytes, 2 líneas\n"),
        "{dos}"
    );
    let recibido = dos.lines().last().unwrap();
    assert!(
        recibido.starts_with("Recibido: ") && recibido.ends_with(" 4 líneas"),
        "{dos}"
    );
}

/// El servidor manda cada trozo cuando le dicen que el anterior ya se vio: una lectura por trozo,
/// sin esperas.
#[test]
fn una_lectura_no_es_un_mensaje() {
    let (mut programa, otro) = con_bytes();
    let mut ordenes = BufReader::new(&otro);
    let trozos: [(&[u8], &str); 5] = [
        (b"OK", "2 bytes, sin fin de línea: OK"),
        (
            b":4\nho",
            "5 bytes, acaba la línea de antes y termina a media línea: :4\\nho",
        ),
        (
            b"la\nuna\ndos\n",
            "11 bytes, acaba la línea de antes y trae 2 líneas más: la\\nuna\\ndos\\n",
        ),
        (
            b"ma\xc3",
            "3 bytes, sin fin de línea, y corta una letra por la mitad: ma\\xc3",
        ),
        (
            b"\xb1ana\n",
            "5 bytes, acaba la línea de antes: \\xb1ana\\n",
        ),
    ];
    for (numero, (trozo, cuenta)) in (1..).zip(trozos) {
        programa.escribir("más");
        let mut orden = String::new();
        ordenes.read_line(&mut orden).unwrap();
        assert_eq!(orden, "más\n");
        (&otro).write_all(trozo).unwrap();
        let linea = programa.esperar("← lectura");
        assert_eq!(linea, format!("← lectura {numero}: {cuenta}"));
    }
    otro.shutdown(Shutdown::Write).unwrap();
    let (codigo, pantalla) = programa.terminar();
    assert_eq!(codigo, 0);
    assert!(
        pantalla.contains(&"Mandado: 5 escrituras, 25 bytes, 5 líneas".into()),
        "{pantalla:?}"
    );
    assert!(
        pantalla.contains(&"Recibido: 5 lecturas, 26 bytes, 5 líneas".into()),
        "{pantalla:?}"
    );
}

#[test]
fn lo_que_no_cabe_en_una_lectura_llega_en_varias() {
    let (mut programa, mut otro) = con_bytes();
    otro.write_all(&[b'x'; 10_000]).unwrap();
    assert!(programa.esperar("← lectura 1: ").ends_with('…'));
    programa.esperar("← lectura 3: ");
    drop(otro);
    let (_, pantalla) = programa.terminar();
    let recibido = pantalla.iter().find(|linea| linea.starts_with("Recibido"));
    assert!(
        recibido
            .unwrap()
            .contains(" 10000 bytes, 0 líneas y otra sin acabar")
    );
}

#[test]
fn por_tuberias_pasan_los_bytes_tal_cual_y_el_fin_de_la_entrada_es_el_fin() {
    let escucha = libre();
    let a = escucha.local_addr().unwrap().to_string();
    let mandado: Vec<u8> = [&b"\x1b[2J\xff\r\n\\c\n"[..], &datos(300_000)].concat();
    let suyo = std::thread::spawn(move || {
        let mut otro = aceptar(&escucha).unwrap().0;
        let leido = todo(&otro);
        otro.write_all(&leido).unwrap();
        leido
    });
    let salida = hablar(&a, &[], &mandado);
    assert!(
        suyo.join().unwrap() == mandado,
        "lo que llegó no es lo que se tecleó"
    );
    assert!(salida.stdout == mandado, "lo que salió no es lo que llegó");
    assert_eq!(codigo(&salida), Some(0));
}

#[test]
fn si_el_otro_cierra_se_dice_y_acaba_con_el_teclado_abierto() {
    let (mut programa, otro) = con_bytes();
    drop(otro);
    programa.esperar("cerró la conexión");
    assert_eq!(programa.terminar().0, 0);
}

/// Un RST no es un final: no acaba bien.
#[test]
#[cfg_attr(windows, ignore = "Wine da a veces un RST por un final normal")]
fn si_el_otro_corta_con_un_error_se_dice_y_da_1() {
    let (mut programa, otro) = con_bytes();
    programa.escribir("");
    (&otro).read_exact(&mut [0]).unwrap();
    socket2::SockRef::from(&otro)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(otro);
    programa.esperar("se cortó a la mitad");
    assert_eq!(programa.terminar().0, 1);
}

#[test]
fn sin_nadie_que_escuche_se_dice_y_da_1() {
    let a = libre().local_addr().unwrap().to_string();
    let salida = hablar(&a, &[], b"");
    assert_eq!((codigo(&salida), dicho(&salida).as_str()), (Some(1), ""));
    let queja = format!("nodo: conectando con {a}: conexión rechazada, ahí no escucha nadie\n");
    assert_eq!(quejas(&salida), queja);
    assert_eq!(codigo(&hablar("127.0.0.1", &[], b"")), Some(2));
}

/// La llama [`crate::a_la_vez_las_que_esperan_plazos`].
pub fn tras_el_fin_al_que_calla_se_le_espera_10_s() {
    let (mut programa, mut otro) = con_bytes();
    programa.fin_de_la_entrada();
    assert_eq!(otro.read(&mut [0]).unwrap(), 0, "llega el fin");
    let antes = Instant::now();
    programa.esperar("lleva 10 s sin decir nada ni cerrar");
    assert!(antes.elapsed() > Duration::from_secs(9));
    assert_eq!(programa.terminar().0, 1);
}

#[cfg(unix)]
#[test]
fn ctrl_c_sale_con_130() {
    let (mut programa, otro) = con_bytes();
    programa.escribir("hola");
    programa.esperar("→ escritura 1");
    programa.ctrl_c();
    assert_eq!(programa.terminar().0, 130);
    assert_eq!(todo(&otro), b"hola\n");
}
