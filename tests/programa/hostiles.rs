//! Lo que el nodo tiene que aguantar: basura, pares que callan o gotean, falta de descriptores,
//! señales, mensajes con trampas. Nada de eso lo tumba, lo hace crecer ni lo notan los demás.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::comun::{
    PACIENCIA, Proceso, codigo, conectar, datos, dicho, leer_todo, nodo, orden, preguntar,
    preguntar_y_cerrar, quejas, responde,
};

/// El plazo de una petición, en el documento: 10 s en total, gotee o calle.
const PLAZO_DE_PETICION: Duration = Duration::from_secs(10);
/// Lo que se le perdona a una máquina cargada.
const MARGEN: Duration = Duration::from_secs(8);

fn nodo_con(archivos: &[(&str, &[u8])], opciones: &[&str]) -> (tempfile::TempDir, Proceso) {
    let carpeta = tempfile::tempdir().unwrap();
    for (nombre, contenido) in archivos {
        std::fs::write(carpeta.path().join(nombre), contenido).unwrap();
    }
    let nodo = Proceso::nodo(carpeta.path(), opciones);
    (carpeta, nodo)
}

/// Ningún hilo del nodo reventó: eso se ve por stderr.
fn nada_revento(nodo: &Proceso) {
    let quejas = nodo.quejas();
    assert!(!quejas.contains("panicked"), "{quejas}");
}

// ----- Basura -----

/// Números al azar, siempre los mismos (xorshift).
struct Azar(u64);

impl Azar {
    fn hasta(&mut self, tope: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % tope as u64) as usize
    }

    fn bytes(&mut self, cuantos: usize) -> Vec<u8> {
        (0..cuantos).map(|_| self.hasta(256) as u8).collect()
    }

    /// Una conversación: bytes cualesquiera, o una buena con unos cuantos cambios.
    fn conversacion(&mut self) -> Vec<u8> {
        const BUENAS: [&[u8]; 10] = [
            b"BUSCAR:a.txt",
            b"HOLA:6001:nodo1\nLISTAR\n",
            b"INFO:a.txt\nBLOQUES:a.txt\nOBTENER:0:100:a.txt\n",
            b"OBTENER:18446744073709551615:18446744073709551615:a.txt\n",
            b"OBTENER:5:0:a.txt\nOBTENER:-1:+5:a.txt\n",
            b"MENSAJE:nodo1:hola\n",
            b"OFRECER:b.txt\nINFO:3:-\n",
            b"GET /files/a.txt HTTP/1.1\r\nHost: localhost\r\nRange: bytes=0-1\r\n\r\n",
            b"POST /refresh HTTP/1.1\r\nHost: localhost\r\n\
              Content-Length: 99999999999999999999\r\n\r\n{}",
            b"LISTA:3\nOK:5\nNOFILE\nERROR:x\nACEPTADO\n",
        ];
        if self.hasta(3) == 0 {
            let cuantos = self.hasta(300);
            return self.bytes(cuantos);
        }
        let mut escrita = BUENAS[self.hasta(BUENAS.len())].to_vec();
        for _ in 0..=self.hasta(4) {
            let donde = self.hasta(escrita.len());
            match self.hasta(4) {
                0 => escrita[donde] = self.hasta(256) as u8,
                1 => drop(escrita.remove(donde)),
                2 => escrita.insert(donde, b":\n\0 /9\xff"[self.hasta(7)]),
                _ => escrita.truncate(donde + 1),
            }
            if escrita.is_empty() {
                break;
            }
        }
        escrita
    }
}

/// Manda lo que sea y se va de una de tres maneras: esperando el final, cerrando su mitad o de
/// golpe.
fn hablar_mal(a: SocketAddr, azar: &mut Azar) {
    let mut conexion = conectar(a);
    // Si el nodo ya cerró, escribirle falla: también vale.
    let _ = conexion.write_all(&azar.conversacion());
    if azar.hasta(4) > 0 {
        let _ = conexion.shutdown(Shutdown::Write);
        let _ = conexion.take(1 << 20).read_to_end(&mut Vec::new());
    }
}

fn hablar_mal_a_la_vez(a: SocketAddr, semilla: u64, veces: usize) {
    const FILAS: u64 = 8;
    thread::scope(|ambito| {
        for fila in 0..FILAS {
            ambito.spawn(move || {
                let mut azar = Azar(0x9e37_79b9_7f4a_7c15 ^ (semilla * FILAS + fila + 1));
                for _ in 0..veces / FILAS as usize {
                    hablar_mal(a, &mut azar);
                }
            });
        }
    });
}

#[test]
fn miles_de_conexiones_con_basura_ni_lo_tumban_ni_lo_hacen_crecer() {
    let (_carpeta, nodo) = nodo_con(&[("a.txt", &datos(5000))], &[]);
    // La primera mitad calienta: hilos, búferes y arenas del montículo que luego se reutilizan.
    hablar_mal_a_la_vez(nodo.direccion(), 1, 2000);
    let antes = memoria(&nodo);
    hablar_mal_a_la_vez(nodo.direccion(), 2, 2000);
    let despues = memoria(&nodo);
    if let (Some(antes), Some(despues)) = (antes, despues) {
        // 4 KiB por conexión que se quedaran sumarían 8 MiB.
        assert!(despues < antes + (6 << 20), "de {antes} a {despues} bytes");
    }
    assert!(responde(nodo.direccion()));
    nada_revento(&nodo);
}

/// Memoria residente, donde se puede saber.
fn memoria(nodo: &Proceso) -> Option<usize> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let estado = std::fs::read_to_string(format!("/proc/{}/status", nodo.hijo.id())).unwrap();
    let linea = estado.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    let kib: usize = linea.split_whitespace().nth(1).unwrap().parse().unwrap();
    Some(kib * 1024)
}

#[test]
fn muchos_que_piden_la_lista_y_no_la_leen_no_gastan_una_cada_uno() {
    let largos: Vec<String> = (0..1500).map(|n| format!("{n:0>200}.txt")).collect();
    let archivos: Vec<(&str, &[u8])> = largos.iter().map(|nombre| (&**nombre, &b"x"[..])).collect();
    let (_carpeta, nodo) = nodo_con(&archivos, &[]);
    let pedir_la_lista = || {
        let mut parado = conectar(nodo.direccion());
        // Poco sitio para recibir: así el nodo no puede dejar toda la lista en manos del sistema.
        SockRef::from(&parado).set_recv_buffer_size(4096).unwrap();
        parado.write_all(b"LISTAR\n").unwrap();
        parado
    };
    let una = leer_todo_hasta_el_fin(pedir_la_lista());
    let antes = memoria(&nodo);
    let parados: Vec<TcpStream> = (0..80).map(|_| pedir_la_lista()).collect();
    for mut parado in &parados {
        // Ya empezó a mandarla: la tiene entera, o lo que haga falta de ella.
        parado.read_exact(&mut [0; 6]).unwrap();
    }
    if let (Some(antes), Some(despues)) = (antes, memoria(&nodo)) {
        let de_una_en_una = parados.len() * una;
        assert!(
            despues < antes + de_una_en_una / 2,
            "de {antes} a {despues} bytes"
        );
    }
    assert!(responde(nodo.direccion()));
}

/// Cuántos bytes manda antes de cerrar.
fn leer_todo_hasta_el_fin(mut conexion: TcpStream) -> usize {
    conexion.shutdown(Shutdown::Write).unwrap();
    leer_todo(&mut conexion).len()
}

#[test]
fn una_linea_de_mas_de_4096_bytes_se_rechaza_y_una_justa_no() {
    let (_carpeta, nodo) = nodo_con(&[], &[]);
    let linea = |largo: usize| {
        let mut linea = b"INFO:".to_vec();
        linea.resize(largo - 1, b'x');
        [&linea[..], b"\nHOLA:1:x\n"].concat()
    };
    let justa = preguntar_y_cerrar(nodo.direccion(), &linea(4096));
    assert!(
        justa.starts_with(b"NOFILE\nHOLA:"),
        "{}",
        justa.escape_ascii()
    );
    let larga = preguntar_y_cerrar(nodo.direccion(), &linea(4097));
    assert_eq!(larga, "ERROR:línea de más de 4096 bytes\n".as_bytes());
    // Sin fin de línea no se espera a ver si acaba.
    let abierta = preguntar(nodo.direccion(), &linea(6000)[..5000]);
    assert_eq!(abierta, larga);
    // Con mucho más detrás, el cierre puede llegarle antes que la respuesta.
    let sin_fin = preguntar(
        nodo.direccion(),
        &[b"INFO:", &vec![b'x'; 1 << 20][..]].concat(),
    );
    assert!(sin_fin.is_empty() || sin_fin.starts_with(b"ERROR:"));
    assert!(responde(nodo.direccion()));
}

#[test]
fn varias_peticiones_en_un_paquete_se_contestan_por_orden() {
    let (_carpeta, nodo) = nodo_con(&[("a.txt", b"abcdef")], &["--nombre", "ana"]);
    let huella = blake3::hash(b"abcdef");
    let llego = preguntar_y_cerrar(
        nodo.direccion(),
        b"HOLA:6001:otro\nINFO:a.txt\r\nOBTENER:1:3:a.txt\nOBTENER:6:9:a.txt\n\
          BLOQUES:a.txt\nINFO:no\nLISTAR",
    );
    let esperado = format!(
        "HOLA:{}:ana\nINFO:6:{huella}\nOK:3\nbcdOK:0\nBLOQUES:1\n{huella}\n\
         NOFILE\nLISTA:1\n6:{huella}:a.txt\n",
        nodo.puerto
    );
    assert_eq!(String::from_utf8_lossy(&llego), esperado);
}

// ----- Pares lentos -----

/// Lee hasta el cierre y dice cuánto tardó en llegar, contando desde `desde`.
fn hasta_el_cierre(conexion: &mut TcpStream, desde: Instant) -> Duration {
    leer_todo(conexion);
    desde.elapsed()
}

/// La llama [`crate::a_la_vez_las_que_esperan_plazos`].
pub fn seiscientas_que_no_acaban_su_linea_no_estorban_y_se_van_en_10_s() {
    // Sube de paso el límite de descriptores de esta prueba, que el nodo hereda.
    if crate::red::maquina::conexiones_posibles(700) < 700 {
        eprintln!("sin descriptores para 600 conexiones a cada lado: no se prueba");
        return;
    }
    let (_carpeta, nodo) = nodo_con(&[("a.txt", b"abc")], &[]);
    let desde = Instant::now();
    // Con Wine todo lo que espera pasa por un solo proceso, que con tantas no da abasto.
    let cuantas = if crate::wine::bajo_wine() { 100 } else { 600 };
    let mut lentas: Vec<TcpStream> = (0..cuantas)
        .map(|n| {
            let mut lenta = conectar(nodo.direccion());
            let inicio: [&[u8]; 4] = [b"", b"LIST", b"MENSAJE:ana:ho", b"GET / HTTP/1.1\r\n"];
            lenta.write_all(inicio[n % inicio.len()]).unwrap();
            lenta
        })
        .collect();
    let a_los_demas = Instant::now();
    for _ in 0..50 {
        assert_eq!(preguntar(nodo.direccion(), b"BUSCAR:a.txt"), b"SI");
    }
    // Con que una sola tuviera que esperar a que se fueran las lentas, no llegaría.
    assert!(a_los_demas.elapsed() < Duration::from_secs(5));
    for lenta in &mut lentas {
        let tiempo = hasta_el_cierre(lenta, desde);
        assert!(tiempo < PLAZO_DE_PETICION + MARGEN, "{tiempo:?}");
    }
    assert!(desde.elapsed() > Duration::from_secs(9), "tienen sus 10 s");
}

/// La llama [`crate::a_la_vez_las_que_esperan_plazos`].
pub fn quien_gotea_su_linea_se_va_a_los_10_s_en_total() {
    let (_carpeta, nodo) = nodo_con(&[], &[]);
    thread::scope(|ambito| {
        // La primera palabra se reconoce enseguida, a los ocho segundos y nunca: el plazo es el
        // mismo para las tres.
        for (inicio, gotas) in [("MENSAJE:a:", "x"), ("", "MENSAJE:a:"), ("", "x")] {
            let a = nodo.direccion();
            ambito.spawn(move || {
                let tardo = gotear(a, inicio, gotas);
                assert!(tardo > Duration::from_secs(9), "{inicio}{gotas}: {tardo:?}");
                // Empezar a contar otra vez al reconocer la palabra serían 18.
                assert!(
                    tardo < Duration::from_secs(16),
                    "{inicio}{gotas}: {tardo:?}"
                );
            });
        }
    });
}

/// Manda `inicio` y después una de las `gotas` por segundo, hasta que el nodo cierre. Cuánto tardó
/// en cerrar.
fn gotear(a: SocketAddr, inicio: &str, gotas: &str) -> Duration {
    let desde = Instant::now();
    let mut conexion = conectar(a);
    conexion.write_all(inicio.as_bytes()).unwrap();
    let plazo = Some(Duration::from_secs(1));
    conexion.set_read_timeout(plazo).unwrap();
    for gota in gotas.bytes().cycle() {
        match conexion.read(&mut [0; 64]) {
            Ok(_) => break,
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(_) => drop(conexion.write_all(&[gota])),
        }
        assert!(desde.elapsed() < PACIENCIA, "no cierra");
    }
    desde.elapsed()
}

// ----- Sin descriptores -----

#[cfg(target_os = "linux")]
mod descriptores {
    use super::*;
    use std::process::{Command, Stdio};

    /// Segundos de procesador que lleva gastados (los `ticks` de Linux son centésimas).
    fn procesador(nodo: &Proceso) -> f64 {
        let linea = std::fs::read_to_string(format!("/proc/{}/stat", nodo.hijo.id())).unwrap();
        let tras_el_nombre = linea.rsplit_once(')').unwrap().1;
        let campos: Vec<&str> = tras_el_nombre.split_whitespace().collect();
        let ticks: u64 = campos[11].parse::<u64>().unwrap() + campos[12].parse::<u64>().unwrap();
        ticks as f64 / 100.0
    }

    fn prlimit() -> Option<Command> {
        let hay = Command::new("prlimit")
            .arg("--version")
            .stdout(Stdio::null())
            .status();
        if hay.is_ok_and(|estado| estado.success()) {
            return Some(Command::new("prlimit"));
        }
        eprintln!("sin prlimit (util-linux): no se prueba");
        None
    }

    /// Lo que gasta en un segundo con esas conexiones abiertas.
    fn gasto_en_un_segundo(nodo: &Proceso) -> f64 {
        let antes = procesador(nodo);
        thread::sleep(Duration::from_secs(1));
        procesador(nodo) - antes
    }

    #[test]
    fn con_64_descriptores_espera_sin_girar_y_se_recupera() {
        let Some(mut programa) = prlimit() else {
            return;
        };
        let carpeta = tempfile::tempdir().unwrap();
        std::fs::write(carpeta.path().join("a.txt"), "abc").unwrap();
        programa
            .args(["--nofile=64:64", env!("CARGO_BIN_EXE_nodo"), "servir"])
            .args(["--puerto", "0", "--carpeta"])
            .arg(carpeta.path());
        let nodo = Proceso::nuevo(programa);
        let mudas: Vec<TcpStream> = (0..100).map(|_| conectar(nodo.direccion())).collect();
        let gasto = gasto_en_un_segundo(&nodo);
        assert!(gasto < 0.3, "gasta {gasto} s de procesador por segundo");
        drop(mudas);
        assert_eq!(preguntar(nodo.direccion(), b"BUSCAR:a.txt"), b"SI");
        assert_eq!(preguntar(nodo.direccion(), b"DESCARGAR:a.txt"), b"OKabc");
    }

    #[test]
    fn si_accept_se_queda_sin_descriptores_ni_gira_ni_miente() {
        let Some(mut bajar_el_limite) = prlimit() else {
            return;
        };
        let carpeta = tempfile::tempdir().unwrap();
        std::fs::write(carpeta.path().join("a.txt"), "abc").unwrap();
        let mut programa = nodo();
        programa
            .args(["servir", "--puerto", "0", "--carpeta"])
            .arg(carpeta.path())
            .env("RUST_LOG", "nodo=warn");
        let nodo = Proceso::nuevo(programa);
        assert_eq!(preguntar(nodo.direccion(), b"BUSCAR:a.txt"), b"SI");
        // El nodo contó con muchos al arrancar: bajárselos después es la manera de que `accept`
        // falle de verdad.
        let pid = nodo.hijo.id();
        let abiertos = std::fs::read_dir(format!("/proc/{pid}/fd"))
            .unwrap()
            .count();
        let tope = format!("--nofile={0}:{0}", abiertos + 6);
        let bajado = bajar_el_limite
            .args(["--pid", &pid.to_string(), &tope])
            .status();
        assert!(bajado.unwrap().success());
        let mut todas: Vec<TcpStream> = (0..40)
            .map(|_| {
                let mut una = conectar(nodo.direccion());
                una.write_all(b"INFO:a.txt\n").unwrap();
                una
            })
            .collect();
        let gasto = gasto_en_un_segundo(&nodo);
        assert!(gasto < 0.3, "gasta {gasto} s de procesador por segundo");
        // Cada intento fallido deja una línea en el registro: en una máquina cargada se ven mejor
        // que el gasto.
        let intentos = nodo.quejas().matches("accept: ").count();
        assert!(
            (1..100).contains(&intentos),
            "{intentos} intentos de aceptar"
        );
        for una in &mut todas {
            una.shutdown(Shutdown::Write).unwrap();
            let llego = leer_todo(una);
            let llego = String::from_utf8(llego).unwrap();
            assert!(
                llego.is_empty() || llego.starts_with("INFO:3:"),
                "quedarse sin descriptores no es no tenerlo: {llego}"
            );
        }
        drop(todas);
        assert_eq!(preguntar(nodo.direccion(), b"BUSCAR:a.txt"), b"SI");
        nada_revento(&nodo);
    }
}

// ----- Arrancar y parar -----

#[cfg(unix)]
#[test]
fn diez_veces_seguidas_en_el_mismo_puerto() {
    let carpeta = tempfile::tempdir().unwrap();
    // En Linux cualquier 127.x es de esta máquina: en una propia, ninguna otra prueba puede ocupar
    // el puerto entre medias.
    let ip = if cfg!(target_os = "linux") {
        "127.77.0.1"
    } else {
        "127.0.0.1"
    };
    let mut puerto = 0;
    for vez in 0..10 {
        let mut programa = nodo();
        programa
            .args([
                "servir",
                "--ip",
                ip,
                "--puerto",
                &puerto.to_string(),
                "--carpeta",
            ])
            .arg(carpeta.path());
        let mut nodo = Proceso::nuevo(programa);
        puerto = nodo.puerto;
        let direccion = format!("{ip}:{puerto}").parse().unwrap();
        assert!(responde(direccion));
        // Con una conexión viva de cada clase al parar: una muda y una que ya habló.
        let _muda = conectar(direccion);
        let mut hablada = conectar(direccion);
        hablada.write_all(b"LISTAR\n").unwrap();
        assert!(hablada.read(&mut [0; 64]).unwrap() > 0);
        let antes = Instant::now();
        nodo.senal(if vez % 2 == 0 { "TERM" } else { "INT" });
        assert_eq!(nodo.terminar(), Some(130));
        assert!(
            antes.elapsed() < Duration::from_secs(4),
            "las ociosas acaban ya"
        );
    }
}

#[cfg(unix)]
pub mod senales {
    use super::*;

    /// Más de lo que cabe en los búferes de los dos lados: el envío no puede acabar si nadie lee.
    const GRANDE: u64 = 64 << 20;

    fn subiendo(peticion: &[u8]) -> (tempfile::TempDir, Proceso, TcpStream) {
        let (carpeta, nodo) = nodo_con(&[], &[]);
        let archivo = std::fs::File::create(carpeta.path().join("grande")).unwrap();
        archivo.set_len(GRANDE).unwrap();
        let mut conexion = conectar(nodo.direccion());
        conexion.write_all(peticion).unwrap();
        conexion.read_exact(&mut [0; 2]).unwrap();
        // Ya llegan datos: el envío está en marcha.
        conexion.read_exact(&mut [0; 1024]).unwrap();
        (carpeta, nodo, conexion)
    }

    #[test]
    fn el_envio_en_curso_acaba_si_le_da_tiempo() {
        for (senal, peticion) in [
            ("INT", &b"DESCARGAR:grande"[..]),
            ("TERM", b"OBTENER:0:67108864:grande\n"),
        ] {
            let (_carpeta, mut nodo, mut conexion) = subiendo(peticion);
            nodo.senal(senal);
            nodo.esperar_queja("en curso");
            let resto = leer_todo(&mut conexion).len() as u64;
            let cabecera = if senal == "INT" {
                0
            } else {
                ":67108864\n".len() as u64
            };
            assert_eq!(resto + 1024, GRANDE + cabecera, "{senal}");
            assert_eq!(nodo.terminar(), Some(130));
        }
    }

    /// La llama [`crate::a_la_vez_las_que_esperan_plazos`].
    pub fn el_envio_que_no_avanza_se_corta_a_los_5_s() {
        let (_carpeta, mut nodo, mut conexion) = subiendo(b"DESCARGAR:grande");
        let desde = Instant::now();
        nodo.senal("TERM");
        assert_eq!(nodo.terminar(), Some(130));
        assert!(desde.elapsed() < Duration::from_secs(5) + MARGEN);
        assert!((leer_todo(&mut conexion).len() as u64) < GRANDE - 1024);
    }

    #[test]
    fn otro_ctrl_c_lo_corta_ya() {
        let (_carpeta, mut nodo, _conexion) = subiendo(b"DESCARGAR:grande");
        nodo.senal("INT");
        nodo.esperar_queja("Ctrl-C");
        let desde = Instant::now();
        nodo.senal("INT");
        assert_eq!(nodo.terminar(), Some(130));
        assert!(
            desde.elapsed() < Duration::from_secs(4),
            "{:?}",
            desde.elapsed()
        );
    }
}

// ----- Mensajes -----

/// Ni controles (salvo el salto de línea), ni inversión de la escritura, ni bytes que no son texto.
fn comprobar_limpio(texto: &str) {
    let malo = texto.chars().find(|c| {
        (c.is_control() && *c != '\n')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
            || matches!(c, '\u{200e}' | '\u{200f}')
            || *c == '\u{fffd}'
    });
    assert!(malo.is_none(), "{malo:?} en {texto:?}");
}

fn mandar_mensajes_con_trampas(a: SocketAddr) {
    let trampas = [
        "\u{1b}[2J\u{1b}[Hborrado",
        "\u{1b}]0;otro título\u{7}uno",
        "\u{1b}]52;c;Y29waWFkbw==\u{1b}\\dos",
        "\u{9b}31mtres",
        "cuatro\u{8}\u{8}\u{8}\u{7f}\r[ESCUCHANDO] mentira",
        "cinco\u{202e}otxet\u{2066}",
        "seis\u{0}\u{b}\u{c}\u{85}\u{2028}siete",
        "\u{1b}",
    ];
    for trampa in trampas {
        let peticion = format!("MENSAJE:ana:{trampa}\n");
        assert_eq!(preguntar_y_cerrar(a, peticion.as_bytes()), b"RECIBIDO\n");
        // El nombre es también texto ajeno: con controles no vale, con inversión se limpia.
        let nombre: String = trampa.chars().filter(|c| *c != ':').collect();
        preguntar_y_cerrar(a, format!("MENSAJE:{nombre}:x\n").as_bytes());
        preguntar_y_cerrar(a, format!("{trampa}:{trampa}\n").as_bytes());
        preguntar(a, format!("BUSCAR:{trampa}").as_bytes());
    }
    let roto = preguntar_y_cerrar(a, b"MENSAJE:ana:\xff\xfe\xc3\n");
    assert_eq!(roto, "ERROR:la línea no es texto UTF-8\n".as_bytes());
    let enorme = [b"MENSAJE:ana:", &vec![b'x'; 1 << 20][..], b"\n"].concat();
    let mut conexion = conectar(a);
    // El nodo cierra sin leerlo entero: escribirlo puede fallar.
    let _ = conexion.write_all(&enorme);
    leer_todo(&mut conexion);
}

#[test]
fn nada_de_un_mensaje_con_trampas_llega_al_terminal() {
    let carpeta = tempfile::tempdir().unwrap();
    let mut programa = nodo();
    programa
        .args(["--puerto", "0", "--carpeta"])
        .arg(carpeta.path())
        .env("RUST_LOG", "nodo=debug");
    let mut nodo = Proceso::nuevo(programa);
    mandar_mensajes_con_trampas(nodo.direccion());
    nodo.esperar("seis");
    nodo.escribir("7");
    nodo.esperar_veces("[MENSAJE] ana (127.0.0.1): cinco", 2);
    nodo.escribir("3");
    assert_eq!(nodo.terminar(), Some(0));
    comprobar_limpio(&nodo.texto());
    comprobar_limpio(&nodo.quejas().replace('\u{fffd}', "?"));
    assert!(
        nodo.quejas().contains("BUSCAR:"),
        "el registro está encendido"
    );
    assert!(
        !nodo.texto().contains("xxxx"),
        "un mensaje enorme no se enseña"
    );
}

#[test]
fn un_mensaje_mide_2000_bytes_como_mucho_y_se_guardan_200() {
    let carpeta = tempfile::tempdir().unwrap();
    let mut nodo = Proceso::menu(carpeta.path(), &[]);
    let a = nodo.direccion();
    let mandar = |texto: &str| preguntar_y_cerrar(a, format!("MENSAJE:ana:{texto}\n").as_bytes());
    assert_eq!(mandar(&"x".repeat(2000)), b"RECIBIDO\n");
    assert!(mandar(&"x".repeat(2001)).starts_with(b"ERROR:"));
    for numero in 0..205 {
        assert_eq!(mandar(&format!("numero {numero}.")), b"RECIBIDO\n");
    }
    nodo.esperar("numero 204.");
    let ya_dicho = nodo.texto().len();
    nodo.escribir("7");
    nodo.esperar_veces("numero 204.", 2);
    nodo.escribir("3");
    assert_eq!(nodo.terminar(), Some(0));
    let ensenados = nodo.texto()[ya_dicho..].matches("[MENSAJE]").count();
    assert_eq!(ensenados, 200);
}

// ----- Muchos archivos -----

#[test]
fn veinte_mil_archivos_se_listan_todos() {
    let carpeta = tempfile::tempdir().unwrap();
    // En Windows, saber qué archivo es cada uno obliga a abrirlo, y con Wine eso cuesta milésimas:
    // 20 000 no se listarían en los 10 s que se espera a quien calla.
    let cuantos = if crate::wine::bajo_wine() {
        2_000
    } else {
        20_000
    };
    let ruta = |n: usize| format!("grupo{:03}/archivo {n}.txt", n / 100);
    for n in 0..cuantos {
        let ruta = carpeta.path().join(ruta(n));
        if n % 100 == 0 {
            std::fs::create_dir(ruta.parent().unwrap()).unwrap();
        }
        std::fs::write(ruta, n.to_string()).unwrap();
    }
    let nodo = Proceso::nodo(carpeta.path(), &[]);
    let lista = preguntar_y_cerrar(nodo.direccion(), b"LISTAR\n");
    let lista = String::from_utf8(lista).unwrap();
    let mut lineas = lista.lines();
    assert_eq!(lineas.next(), Some(format!("LISTA:{cuantos}").as_str()));
    let mut vistos: Vec<(String, u64)> = lineas
        .map(|linea| {
            let partes: Vec<&str> = linea.splitn(3, ':').collect();
            (partes[2].to_string(), partes[0].parse().unwrap())
        })
        .collect();
    vistos.sort();
    let mut esperados: Vec<(String, u64)> = (0..cuantos)
        .map(|n| (ruta(n), n.to_string().len() as u64))
        .collect();
    esperados.sort();
    assert!(vistos == esperados);
    comprobar_listar_red(&nodo, cuantos, &ruta(cuantos - 1));
}

fn comprobar_listar_red(nodo: &Proceso, cuantos: usize, uno: &str) {
    let peer = nodo.direccion().to_string();
    let salida = orden(["listar", "--red", "--peer", &peer]);
    assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
    let dicho = dicho(&salida);
    assert_eq!(dicho.lines().count(), cuantos);
    assert!(dicho.lines().any(|linea| linea == format!("{peer} {uno}")));
}

#[test]
fn lo_que_se_quita_y_se_pone_se_nota_al_listar() {
    let (carpeta, nodo) = nodo_con(&[("a", b"1"), ("b", b"22")], &[]);
    let lista = |carpeta: &Path| {
        std::fs::remove_file(carpeta.join("a")).unwrap();
        std::fs::write(carpeta.join("c"), "333").unwrap();
        preguntar_y_cerrar(nodo.direccion(), b"LISTAR\n")
    };
    let lista = String::from_utf8(lista(carpeta.path())).unwrap();
    assert!(lista.starts_with("LISTA:2\n2:"), "{lista}");
    assert!(lista.lines().nth(2).unwrap().starts_with("3:") && lista.ends_with(":c\n"));
}
