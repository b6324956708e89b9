//! El nodo en una terminal de verdad (un pseudo-terminal, con un emulador detrás): lo que se ve,
//! lo que se teclea y cómo queda al irse. Sólo en Unix: en Windows no hay pseudo-terminales que
//! abrir desde aquí.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::num::NonZeroU16;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::comun::{
    PACIENCIA, aceptar, codigo, conectar, entrantes, nodo, preguntar_y_cerrar, quejas, senal,
};
use crate::guia::{ESCUCHANDO, NO_SE_ENCONTRO, OPCION_INVALIDA, QUE_ARCHIVO, SALIENDO, SELECCIONE};
use crate::nodo::menu;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, OptionalActions, Termios, Winsize};
use rustix::termios::{tcgetattr, tcsetattr, tcsetwinsize};

/// Nadie escucha en el puerto 1.
const NADIE: &str = "127.0.0.1:1";
const MENU: &str = menu::MENU[1];

/// Lo que se pregunta al buscar, como se ve: sin el espacio del final.
fn pregunta() -> &'static str {
    QUE_ARCHIVO.trim_end()
}

/// Lo que se ve, y un aviso de que cambió.
type Vista = Arc<(Mutex<vt100::Parser>, Condvar)>;

/// Un programa con una terminal para él solo. Al soltarla se mata.
struct Pseudoterminal {
    hijo: Child,
    maestro: File,
    esclavo: File,
    antes: Termios,
    vista: Vista,
}

impl Pseudoterminal {
    /// Arranca el programa en una terminal de `filas` por `columnas`.
    fn con(mut programa: Command, filas: u16, columnas: u16) -> Pseudoterminal {
        let maestro = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&maestro).unwrap();
        unlockpt(&maestro).unwrap();
        let nombre = ptsname(&maestro, Vec::new()).unwrap();
        let mut abrir = File::options();
        let esclavo = abrir.read(true).write(true);
        let esclavo = esclavo.open(nombre.to_str().unwrap()).unwrap();
        let ancho = Winsize {
            ws_row: filas,
            ws_col: columnas,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&esclavo, ancho).unwrap();
        let suyo = || Stdio::from(esclavo.try_clone().unwrap());
        programa.env("TERM", "xterm").env_remove("NO_COLOR");
        programa.stdin(suyo()).stdout(suyo()).stderr(suyo());
        let tamano = |n| NonZeroU16::new(n).unwrap();
        let emulador = vt100::Parser::new(tamano(filas), tamano(columnas), 0);
        let vista: Vista = Arc::new((Mutex::new(emulador), Condvar::new()));
        let maestro = File::from(maestro);
        let (leer, mirar) = (maestro.try_clone().unwrap(), Arc::clone(&vista));
        thread::spawn(move || emular(leer, &mirar));
        Pseudoterminal {
            antes: tcgetattr(&esclavo).unwrap(),
            hijo: programa.spawn().unwrap(),
            maestro,
            esclavo,
            vista,
        }
    }

    /// Un nodo con su menú, ya preguntando.
    fn menu(carpeta: &Path, opciones: &[&str]) -> (Pseudoterminal, SocketAddr) {
        Pseudoterminal::menu_de(nodo(), carpeta, opciones)
    }

    fn menu_de(
        mut programa: Command,
        carpeta: &Path,
        opciones: &[&str],
    ) -> (Pseudoterminal, SocketAddr) {
        programa.args(["--puerto", "0", "--nombre", "yo", "--carpeta"]);
        programa.arg(carpeta).args(opciones);
        let terminal = Pseudoterminal::con(programa, 24, 80);
        terminal.esperar("(Entrar: menú):");
        let puerto = terminal.texto();
        let puerto = puerto.split_once(&format!("{ESCUCHANDO} ")).unwrap().1;
        let puerto = puerto.lines().next().unwrap().parse().unwrap();
        (terminal, SocketAddr::from((Ipv4Addr::LOCALHOST, puerto)))
    }

    fn teclear(&mut self, teclas: &str) {
        self.maestro.write_all(teclas.as_bytes()).unwrap();
    }

    /// Las líneas que se ven, sin los huecos del final.
    fn texto(&self) -> String {
        ver(&self.vista.0.lock().unwrap())
    }

    /// La línea en que está el cursor.
    fn ultima(&self) -> String {
        self.texto().lines().last().unwrap_or_default().into()
    }

    fn esperar_que(&self, que: &str, cierto: impl Fn(&str) -> bool) -> String {
        let limite = Instant::now() + PACIENCIA;
        let (emulador, cambio) = &*self.vista;
        let mut emulador = emulador.lock().unwrap();
        loop {
            let texto = ver(&emulador);
            if cierto(&texto) {
                return texto;
            }
            let falta = limite.saturating_duration_since(Instant::now());
            assert!(!falta.is_zero(), "{que}: no pasó; se ve:\n{texto}");
            emulador = cambio.wait_timeout(emulador, falta).unwrap().0;
        }
    }

    /// Espera a que se vea un trozo.
    fn esperar(&self, trozo: &str) -> String {
        self.esperar_que(trozo, |texto| texto.contains(trozo))
    }

    /// Espera a que la última línea sea esa.
    fn esperar_ultima(&self, linea: &str) -> String {
        self.esperar_que(linea, |texto| texto.lines().last() == Some(linea))
    }

    fn modos(&self) -> LocalModes {
        tcgetattr(&self.esclavo).unwrap().local_modes
    }

    /// Espera a que el editor tenga la terminal (o la haya soltado).
    fn esperar_al_editor(&self, editando: bool) {
        let limite = Instant::now() + PACIENCIA;
        while self.modos().contains(LocalModes::ICANON) == editando {
            assert!(Instant::now() < limite, "editando: {}", !editando);
            thread::yield_now();
        }
    }

    /// Espera a que termine, mira que deje la terminal como estaba y da el código.
    fn terminar(&mut self) -> Option<i32> {
        let limite = Instant::now() + PACIENCIA;
        let codigo = loop {
            if let Some(estado) = self.hijo.try_wait().unwrap() {
                break estado.code();
            }
            assert!(Instant::now() < limite, "no termina:\n{}", self.texto());
            thread::sleep(Duration::from_millis(10));
        };
        assert_eq!(self.modos(), self.antes.local_modes);
        let entrada = tcgetattr(&self.esclavo).unwrap().input_modes;
        assert_eq!(entrada, self.antes.input_modes);
        codigo
    }
}

impl Drop for Pseudoterminal {
    fn drop(&mut self) {
        let _ = self.hijo.kill();
        let _ = self.hijo.wait();
    }
}

fn emular(mut de: File, vista: &Vista) {
    let mut trozo = [0; 4096];
    while let Ok(leido @ 1..) = de.read(&mut trozo) {
        vista.0.lock().unwrap().process(&trozo[..leido]);
        vista.1.notify_all();
    }
}

fn ver(emulador: &vt100::Parser) -> String {
    let filas = emulador.screen().contents();
    let lineas: Vec<&str> = filas.lines().map(str::trim_end).collect();
    lineas.join("\n").trim_end().to_string()
}

fn carpeta(archivos: &[&str]) -> tempfile::TempDir {
    let carpeta = tempfile::tempdir().unwrap();
    for nombre in archivos {
        std::fs::write(carpeta.path().join(nombre), "hola").unwrap();
    }
    carpeta
}

fn mandar_mensaje(a: SocketAddr, texto: &str) {
    let mensaje = format!("MENSAJE:ana:{texto}\n");
    assert_eq!(preguntar_y_cerrar(a, mensaje.as_bytes()), b"RECIBIDO\n");
}

/// Muchos mensajes por una sola conexión.
fn mandar_muchos(a: SocketAddr, cuantos: usize) {
    let mut conexion = BufReader::new(conectar(a));
    let mut respuesta = String::new();
    for n in 0..cuantos {
        let mensaje = format!("MENSAJE:ana:lluvia {n}\n");
        conexion.get_mut().write_all(mensaje.as_bytes()).unwrap();
        conexion.read_line(&mut respuesta).unwrap();
    }
    assert_eq!(respuesta, "RECIBIDO\n".repeat(cuantos));
}

// ----- El menú -----

#[test]
fn el_menu_entero_solo_al_empezar_y_cuando_se_pide() {
    let carpeta = carpeta(&["a.txt"]);
    let (mut terminal, yo) = Pseudoterminal::menu(carpeta.path(), &["--peer", NADIE]);
    let seleccione = SELECCIONE.trim_end_matches(": ");
    let linea = format!("yo:{} · {seleccione} (Entrar: menú):", yo.port());
    assert_eq!(terminal.ultima(), linea);
    assert_eq!(terminal.texto().matches(MENU).count(), 1);
    let la_ultima = *menu::MENU.last().unwrap();
    // Lo pedido se queda a la vista, con la pregunta debajo.
    terminal.teclear("1\r");
    let texto = terminal.esperar_que("la lista", |texto| {
        texto.contains(" - a.txt") && texto.lines().last() == Some(&linea)
    });
    assert_eq!(texto.matches(MENU).count(), 1, "{texto}");
    for (teclas, dice) in [
        ("\r", ""),
        ("?\r", ""),
        ("99\r", &format!("{OPCION_INVALIDA}\n")),
    ] {
        terminal.teclear("7\r");
        terminal.esperar("No ha llegado ningún mensaje.");
        terminal.teclear(teclas);
        let menu = format!(" {}\n{dice}{MENU}\n", teclas.trim_end());
        terminal.esperar_que("el menú otra vez", |texto| {
            let texto = texto.replace("menú):\n", "menú): \n");
            texto.rsplit_once(&menu).is_some_and(|(_, despues)| {
                despues.contains(la_ultima) && despues.ends_with(&linea)
            })
        });
    }
    terminal.teclear("3\r");
    assert_eq!(terminal.terminar(), Some(0));
}

// ----- Lo que se está tecleando -----

#[test]
fn lo_tecleado_se_vuelve_a_ver_cuando_llega_algo() {
    let carpeta = carpeta(&[]);
    let (mut terminal, yo) = Pseudoterminal::menu(carpeta.path(), &["--peer", NADIE]);
    terminal.teclear("2\r");
    terminal.esperar(pregunta());
    terminal.teclear("hai");
    terminal.esperar_ultima(&format!("{QUE_ARCHIVO}hai"));
    mandar_mensaje(yo, "\u{1b}[2Jhola");
    let texto = terminal.esperar_que("el mensaje, y debajo lo tecleado", |texto| {
        texto.contains("[MENSAJE] ana (127.0.0.1") && texto.ends_with(&format!("{QUE_ARCHIVO}hai"))
    });
    assert!(texto.contains(": hola"), "{texto}");
    // La pregunta sólo está una vez: se borró y se repuso.
    assert_eq!(texto.matches(pregunta()).count(), 1, "{texto}");
    terminal.teclear("haiku.txt\r");
    let texto = terminal.esperar(NO_SE_ENCONTRO);
    assert!(
        texto.contains(&format!("{QUE_ARCHIVO}haihaiku.txt\n")),
        "{texto}"
    );
}

#[test]
fn entre_miles_de_avisos_no_se_pierde_ni_una_tecla() {
    let carpeta = carpeta(&[]);
    let (mut terminal, yo) = Pseudoterminal::menu(carpeta.path(), &["--peer", NADIE]);
    terminal.teclear("2\r");
    terminal.esperar(pregunta());
    let nombre: String = ('a'..='z').chain('A'..='Z').chain('0'..='9').collect();
    thread::scope(|ambito| {
        let lluvia = || mandar_muchos(yo, 5000);
        let lloviendo = [(); 4].map(|()| ambito.spawn(lluvia));
        for tecla in nombre.chars() {
            terminal.teclear(&tecla.to_string());
            terminal.esperar_que("se ve la tecla", |texto| texto.ends_with(tecla));
        }
        for hilo in lloviendo {
            hilo.join().unwrap();
        }
    });
    mandar_mensaje(yo, "y escampa");
    terminal.esperar_que("sigue todo", |texto| {
        texto.contains("y escampa") && texto.ends_with(&format!("{QUE_ARCHIVO}{nombre}"))
    });
}

#[test]
fn el_registro_no_pisa_lo_tecleado() {
    let carpeta = carpeta(&[]);
    let mut programa = nodo();
    programa.env("RUST_LOG", "nodo=debug");
    let (mut terminal, yo) = Pseudoterminal::menu_de(programa, carpeta.path(), &["--peer", NADIE]);
    terminal.teclear("2\r");
    terminal.esperar(pregunta());
    terminal.teclear("hai");
    terminal.esperar_ultima(&format!("{QUE_ARCHIVO}hai"));
    mandar_mensaje(yo, "hola");
    let texto = terminal.esperar_que("el registro", |texto| {
        texto.contains(" RECIBIDO\n") && texto.ends_with(&format!("{QUE_ARCHIVO}hai"))
    });
    assert_eq!(texto.matches(pregunta()).count(), 1, "{texto}");
}

#[test]
fn lo_pegado_son_varias_respuestas_y_hay_historial_y_tab() {
    let carpeta = carpeta(&["un nombre largo.txt"]);
    let (mut terminal, _) = Pseudoterminal::menu(carpeta.path(), &["--peer", NADIE]);
    terminal.teclear("1\r2\rno-esta\r2\r");
    terminal.esperar(" - un nombre largo.txt");
    terminal.esperar_ultima(pregunta());
    terminal.teclear("un n\t");
    terminal.esperar_ultima(&format!("{QUE_ARCHIVO}un nombre largo.txt"));
    // Ctrl-U borra la línea, y la flecha hacia arriba trae la de antes.
    terminal.teclear("\u{15}\u{1b}[A");
    terminal.esperar_ultima(&format!("{QUE_ARCHIVO}no-esta"));
    terminal.teclear("\r");
    terminal.esperar_que("buscó dos veces", |texto| {
        texto.matches(NO_SE_ENCONTRO).count() == 2
    });
}

#[test]
fn en_el_chat_tambien_se_conserva_lo_tecleado() {
    let mut programa = nodo();
    programa.args(["chat", "--servidor", "127.0.0.1:0"]);
    let mut terminal = Pseudoterminal::con(programa, 24, 80);
    let texto = terminal.esperar("termina.");
    let donde = texto.split_once("Chat en ").unwrap().1;
    let mut otro = BufReader::new(conectar(donde.lines().next().unwrap().parse().unwrap()));
    terminal.esperar("[CONEXIÓN]");
    terminal.teclear("hola a to");
    terminal.esperar_ultima("hola a to");
    otro.get_mut().write_all(b"buenas\n").unwrap();
    terminal.esperar_que("lo que llega, y debajo lo tecleado", |texto| {
        texto.ends_with("] buenas\nhola a to")
    });
    terminal.teclear("dos\r");
    let mut oido = String::new();
    otro.read_line(&mut oido).unwrap();
    assert_eq!(oido, "hola a todos\n");
    terminal.teclear("exit\r");
    assert_eq!(terminal.terminar(), Some(0));
}

// ----- Irse -----

#[test]
fn de_cualquier_manera_de_irse_la_terminal_queda_como_estaba() {
    let carpeta = carpeta(&[]);
    for (teclas, senal_de, sale_con) in [
        ("3\r", "", 0),
        ("\u{4}", "", 0),
        ("2\r\u{4}", "", 0),
        ("\u{3}", "", 130),
        ("2\rhai\u{3}", "", 130),
        ("2\rhai", "INT", 130),
        ("2\rhai", "TERM", 130),
        ("2\rhai", "HUP", 130),
    ] {
        let (mut terminal, _) = Pseudoterminal::menu(carpeta.path(), &["--peer", NADIE]);
        terminal.esperar_al_editor(true);
        terminal.teclear(teclas);
        if !senal_de.is_empty() {
            terminal.esperar_ultima(&format!("{QUE_ARCHIVO}hai"));
            senal(terminal.hijo.id(), senal_de);
        }
        let caso = format!("{teclas:?} {senal_de}");
        assert_eq!(terminal.terminar(), Some(sale_con), "{caso}");
        let texto = terminal.esperar_ultima(SALIENDO);
        let con_hai = teclas.contains("hai");
        assert!(
            !con_hai || texto.ends_with(&format!("hai\n{SALIENDO}")),
            "{caso}: {texto}"
        );
    }
}

#[test]
fn al_volver_de_la_shell_se_recupera_lo_tecleado() {
    let carpeta = carpeta(&[]);
    let (mut terminal, yo) = Pseudoterminal::menu(carpeta.path(), &["--peer", NADIE]);
    terminal.teclear("2\r");
    terminal.esperar(pregunta());
    terminal.teclear("hai");
    terminal.esperar_ultima(&format!("{QUE_ARCHIVO}hai"));
    // Si se ven dos, el hilo principal ya miró cómo deja la terminal el editor.
    for texto in ["uno", "dos"] {
        mandar_mensaje(yo, texto);
        terminal.esperar(&format!(": {texto}"));
    }
    // Lo que hace una shell con un trabajo detenido: recupera sus modos, y con ellos lo devuelve.
    senal(terminal.hijo.id(), "STOP");
    let now = OptionalActions::Now;
    tcsetattr(&terminal.esclavo, now, &terminal.antes).unwrap();
    terminal.esclavo.write_all(b"\r\n$ fg\r\n").unwrap();
    senal(terminal.hijo.id(), "CONT");
    terminal.esperar_que("la pregunta con lo tecleado", |texto| {
        let despues = texto.split_once("$ fg").map(|(_, despues)| despues);
        despues.is_some_and(|despues| despues.ends_with(&format!("{QUE_ARCHIVO}hai")))
    });
    terminal.esperar_al_editor(true);
    terminal.teclear("ku");
    terminal.esperar_ultima(&format!("{QUE_ARCHIVO}haiku"));
}

// ----- La barra -----

/// Un nodo de la guía que da un poco de archivo y calla.
fn guia_que_no_acaba() -> SocketAddr {
    let escucha = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let direccion = escucha.local_addr().unwrap();
    thread::spawn(move || {
        for mut conexion in entrantes(&escucha) {
            thread::spawn(move || {
                let mut pedido = [0; 100];
                let leido = conexion.read(&mut pedido).unwrap_or(0);
                match &pedido[..leido] {
                    [b'B', ..] => conexion.write_all(b"SI").unwrap(),
                    [b'D', ..] => {
                        conexion.write_all(b"OKun poco").unwrap();
                        // Hasta que el otro se vaya.
                        let _ = conexion.read(&mut [0]);
                    }
                    _ => {}
                }
            });
        }
    });
    direccion
}

#[test]
fn la_barra_cabe_y_al_cancelar_no_deja_restos() {
    let carpeta = carpeta(&[]);
    let peer = guia_que_no_acaba().to_string();
    let mut programa = nodo();
    let (peer, de) = (peer.as_str(), carpeta.path().to_str().unwrap());
    programa.args(["descargar", "a.txt", "--carpeta", de, "--de", peer]);
    let mut terminal = Pseudoterminal::con(programa, 10, 14);
    // «7 bytes · 1 fuente» no cabe en 14 columnas: se recorta, y no pasa a la línea siguiente.
    terminal.esperar_que("la barra, recortada", |texto| {
        texto.lines().last() == Some("7 bytes · 1 fu")
    });
    terminal.teclear("hola\r\r");
    // Lo que se teclea mientras tanto no se ve, ni mueve la barra.
    assert!(!terminal.modos().contains(LocalModes::ECHO));
    senal(terminal.hijo.id(), "INT");
    assert_eq!(terminal.terminar(), Some(130));
    // La frase se parte entre palabras: ninguna queda a medias en el borde.
    let texto = terminal.esperar("comprobado");
    for entera in ["comprobado", "seguirá con", "pedirlo"] {
        assert!(texto.contains(entera), "{entera:?} se partió: {texto}");
    }
    for resto in ["7 bytes", "^C", "hola"] {
        assert!(!texto.contains(resto), "queda {resto:?}: {texto}");
    }
}

// ----- Los hilos que faltan -----

/// Un programa sin permiso para crear más hilos que los dos primeros. Hace falta ser root, para
/// ser otro que no tenga ninguno; si no, la prueba se salta diciéndolo.
#[cfg(target_os = "linux")]
#[test]
fn quedarse_sin_hilos_no_es_no_haberlo_encontrado() {
    let quien = Command::new("id").arg("-u").output().unwrap();
    if quien.stdout != b"0\n" {
        return eprintln!("se salta: hace falta ser root para limitar los hilos de otro usuario");
    }
    let donde = tempfile::tempdir().unwrap();
    let programa = donde.path().join("nodo");
    std::fs::copy(env!("CARGO_BIN_EXE_nodo"), &programa).unwrap();
    for ruta in [donde.path(), &programa] {
        std::fs::set_permissions(ruta, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut otro = Command::new("setpriv");
    otro.args(["--reuid", "54321", "--clear-groups", "prlimit", "--nproc=2"]);
    otro.arg(&programa)
        .args(["buscar", "a.txt", "--peer", NADIE]);
    let salida = otro.args(["--peer", "127.0.0.1:2"]).output().unwrap();
    let dijo = quejas(&salida);
    assert_eq!(codigo(&salida), Some(1), "{dijo}");
    assert!(
        dijo.contains("hilo") && !dijo.contains(NO_SE_ENCONTRO),
        "{dijo}"
    );
}

#[test]
fn al_hablar_a_mano_lo_ajeno_se_limpia_y_lo_partido_se_junta() {
    let escucha = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut programa = nodo();
    programa.args(["hablar", &escucha.local_addr().unwrap().to_string()]);
    let mut terminal = Pseudoterminal::con(programa, 24, 80);
    let mut otro = BufReader::new(aceptar(&escucha).unwrap().0);
    terminal.esperar("[CONECTADO] Con 127.0.0.1:");
    let mut leido = String::new();
    terminal.teclear("LISTAR\n");
    otro.read_line(&mut leido).unwrap();
    assert_eq!(leido, "LISTAR\n");
    otro.get_mut().write_all(b"\x1b[2Juno\nparti").unwrap();
    otro.get_mut().write_all(b"da\n").unwrap();
    terminal.esperar_ultima("partida");
    assert!(terminal.texto().contains("[CONECTADO]"), "no borra");
    // Sin salto: y el fin.
    terminal.teclear("BUSCAR:x\\c\n\x04");
    let mut resto = Vec::new();
    otro.read_to_end(&mut resto).unwrap();
    assert_eq!(resto, b"BUSCAR:x");
    otro.get_mut().write_all(b"SI").unwrap();
    drop(otro);
    let visto = terminal.esperar("cerró la conexión");
    assert!(visto.contains("\nSI\n[FIN]"), "{visto}");
    assert_eq!(terminal.hijo.wait().unwrap().code(), Some(0));
}
