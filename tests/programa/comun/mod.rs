//! Lo que comparten las pruebas: arrancar nodos de verdad, hablarles y recoger lo que dicen.
//!
//! Cada nodo escucha en el puerto 0 y dice cuál le tocó en su primera línea; se lee de ahí. Al
//! soltarlo, se mata.

pub mod falsos;
pub mod practicas;
pub mod rest;

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::iter;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

pub use crate::red::maquina::aceptar;

/// Lo más que se espera por algo que tiene que pasar. Sobra en una máquina libre; en una cargada
/// (o con Wine), no estorba.
pub const PACIENCIA: Duration = Duration::from_secs(if cfg!(windows) { 300 } else { 60 });

/// El programa, sin la configuración de quien lo prueba.
pub fn nodo() -> Command {
    let mut programa = Command::new(env!("CARGO_BIN_EXE_nodo"));
    programa.env_remove("RUST_LOG").env_remove("NODO_CLAVE");
    programa
}

/// Arrancar un proceso, que tiene que salir bien.
pub trait Lanzar {
    fn lanzar(&mut self) -> Child;
    /// Y esperarlo.
    fn recoger(&mut self) -> Output;
}

impl Lanzar for Command {
    fn lanzar(&mut self) -> Child {
        insistir(|| self.spawn())
    }

    fn recoger(&mut self) -> Output {
        insistir(|| self.output())
    }
}

/// Con Wine, de cada mil procesos alguno no llega ni a empezar («error interno»): otro sí.
fn insistir<T>(mut arrancar: impl FnMut() -> io::Result<T>) -> T {
    const ERROR_INTERNO: Option<i32> = Some(1359);
    let sin_empezar = |e: &io::Error| crate::wine::bajo_wine() && e.raw_os_error() == ERROR_INTERNO;
    loop {
        match arrancar() {
            Err(error) if sin_empezar(&error) => {}
            arrancado => return arrancado.unwrap(),
        }
    }
}

/// Hace una orden suelta y recoge su salida.
pub fn orden<A: AsRef<OsStr>>(argumentos: impl IntoIterator<Item = A>) -> Output {
    nodo().args(argumentos).stdin(Stdio::null()).recoger()
}

/// Espera a que termine un proceso y recoge lo que dijo. Si no termina a tiempo, lo mata y falla.
pub fn acabar(mut hijo: Child) -> Output {
    let (mut salida, mut quejas) = (hijo.stdout.take().unwrap(), hijo.stderr.take().unwrap());
    let limite = Instant::now() + PACIENCIA;
    thread::scope(|ambito| {
        let leer = |mut de: Box<dyn Read + Send>| {
            ambito.spawn(move || {
                let mut todo = Vec::new();
                let _ = de.read_to_end(&mut todo);
                todo
            })
        };
        let (stdout, stderr) = (
            leer(Box::new(salida.by_ref())),
            leer(Box::new(quejas.by_ref())),
        );
        let estado = loop {
            if let Some(estado) = hijo.try_wait().unwrap() {
                break Some(estado);
            }
            if Instant::now() > limite {
                let _ = hijo.kill();
                break hijo.wait().ok().filter(|_| false);
            }
            thread::sleep(Duration::from_millis(5));
        };
        let (stdout, stderr) = (stdout.join().unwrap(), stderr.join().unwrap());
        let dijo = (
            String::from_utf8_lossy(&stdout).into_owned(),
            String::from_utf8_lossy(&stderr).into_owned(),
        );
        Output {
            status: estado.unwrap_or_else(|| panic!("no termina; dijo: {dijo:?}")),
            stdout,
            stderr,
        }
    })
}

/// Los nombres que hay en una carpeta, ordenados: también los ocultos.
pub fn nombres(carpeta: &tempfile::TempDir) -> Vec<String> {
    let mut nombres: Vec<String> = std::fs::read_dir(carpeta.path())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    nombres.sort();
    nombres
}

/// stdout como texto.
pub fn dicho(salida: &Output) -> String {
    String::from_utf8(salida.stdout.clone()).unwrap()
}

/// stderr como texto.
pub fn quejas(salida: &Output) -> String {
    String::from_utf8(salida.stderr.clone()).unwrap()
}

/// El código de salida; una señal no tiene.
pub fn codigo(salida: &Output) -> Option<i32> {
    salida.status.code()
}

/// Un proceso en marcha, con lo que va diciendo.
pub struct Proceso {
    pub hijo: Child,
    pub entrada: Option<ChildStdin>,
    pub puerto: u16,
    salida: Arc<Salida>,
    quejas: Arc<Salida>,
}

#[derive(Default)]
struct Salida {
    texto: Mutex<(Vec<u8>, bool)>,
    cambio: Condvar,
}

impl Proceso {
    /// Arranca el programa y espera a que diga en qué puerto escucha: `… puerto N` o `…:N` al final
    /// de una línea.
    pub fn nuevo(mut programa: Command) -> Proceso {
        let mut hijo = programa
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .lanzar();
        let entrada = hijo.stdin.take();
        let salida = recoger(hijo.stdout.take().unwrap());
        let quejas = recoger(hijo.stderr.take().unwrap());
        let mut proceso = Proceso {
            hijo,
            entrada,
            puerto: 0,
            salida,
            quejas,
        };
        let dicho = proceso
            .salida
            .esperar_que(|dicho| puerto_en(dicho).is_some());
        proceso.puerto = match &dicho {
            Ok(dicho) => puerto_en(dicho).unwrap(),
            Err(dicho) => panic!("no dijo dónde escucha: {dicho}{}", proceso.quejas()),
        };
        proceso
    }

    /// Un nodo sin menú, con esa carpeta, en un puerto libre de 127.0.0.1 y sin más peers que los
    /// que se digan.
    pub fn nodo(carpeta: &Path, opciones: &[&str]) -> Proceso {
        let mut programa = nodo();
        programa
            .args(["servir", "--puerto", "0", "--carpeta"])
            .arg(carpeta)
            .args(opciones);
        Proceso::nuevo(programa)
    }

    /// Un nodo con su menú.
    pub fn menu(carpeta: &Path, opciones: &[&str]) -> Proceso {
        let mut programa = nodo();
        programa
            .args(["--puerto", "0", "--carpeta"])
            .arg(carpeta)
            .args(opciones);
        Proceso::nuevo(programa)
    }

    /// Un nodo al que se le pedirá que termine con [`Proceso::despedir`]. En Windows un proceso no
    /// puede mandar un Ctrl-C a otro: ahí va con menú, que se puede cerrar.
    pub fn nodo_educado(carpeta: &Path, opciones: &[&str]) -> Proceso {
        match cfg!(windows) {
            true => Proceso::menu(carpeta, opciones),
            false => Proceso::nodo(carpeta, opciones),
        }
    }

    /// Un maestro, en ese puerto (0: el que esté libre).
    pub fn maestro(puerto: u16) -> Proceso {
        let mut programa = nodo();
        programa.args(["maestro", "--puerto", &puerto.to_string()]);
        Proceso::nuevo(programa)
    }

    /// Dónde escucha.
    pub fn direccion(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.puerto))
    }

    /// Dónde escucha, como lo dice quien habla HTTP.
    pub fn url(&self) -> String {
        format!("http://{}", self.direccion())
    }

    /// Lo dicho hasta ahora por stdout.
    pub fn texto(&self) -> String {
        self.salida.hasta_ahora()
    }

    /// Lo dicho hasta ahora por stderr.
    pub fn quejas(&self) -> String {
        self.quejas.hasta_ahora()
    }

    /// Espera a que diga algo.
    pub fn esperar(&self, trozo: &str) -> String {
        self.esperar_veces(trozo, 1)
    }

    /// Espera a que lo haya dicho tantas veces.
    pub fn esperar_veces(&self, trozo: &str, veces: usize) -> String {
        let dicho = self.salida.esperar(trozo, veces);
        dicho.unwrap_or_else(|dijo| {
            panic!(
                "no dijo {trozo:?} {veces} veces; dijo:\n{dijo}\ny por stderr:\n{}",
                self.quejas()
            )
        })
    }

    /// Espera a que diga algo por stderr.
    pub fn esperar_queja(&self, trozo: &str) -> String {
        let dicho = self.quejas.esperar(trozo, 1);
        dicho.unwrap_or_else(|dijo| panic!("no se quejó de {trozo:?}; por stderr dijo:\n{dijo}"))
    }

    /// Escribe una línea en su entrada.
    pub fn escribir(&mut self, linea: &str) {
        let entrada = self.entrada.as_mut().unwrap();
        writeln!(entrada, "{linea}").unwrap();
    }

    /// Escribe unos bytes en su entrada, tal cual.
    pub fn teclear(&mut self, bytes: &[u8]) {
        self.entrada.as_mut().unwrap().write_all(bytes).unwrap();
    }

    /// Manda una señal (`INT`, `TERM`, `KILL`).
    pub fn senal(&self, cual: &str) {
        senal(self.hijo.id(), cual);
    }

    /// Le pide que termine (a uno de [`Proceso::nodo_educado`]) y espera.
    pub fn despedir(&mut self) {
        match cfg!(windows) {
            true => self.escribir("3"),
            false => self.senal("TERM"),
        }
        self.terminar();
    }

    /// Lo mata sin avisar (`kill -9`).
    pub fn matar(&mut self) {
        let _ = self.hijo.kill();
        let _ = self.hijo.wait();
    }

    /// Espera a que termine y da su código.
    pub fn terminar(&mut self) -> Option<i32> {
        let limite = Instant::now() + PACIENCIA;
        loop {
            if let Some(estado) = self.hijo.try_wait().unwrap() {
                // Lo último que dijo puede estar aún en la tubería.
                self.salida.esperar_el_fin();
                return estado.code();
            }
            assert!(
                Instant::now() < limite,
                "no termina; dijo:\n{}",
                self.texto()
            );
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Manda una señal (`INT`, `TERM`, `KILL`) a un proceso.
pub fn senal(proceso: u32, cual: &str) {
    let mandada = Command::new("kill")
        .arg(format!("-{cual}"))
        .arg(proceso.to_string())
        .status();
    assert!(mandada.unwrap().success());
}

impl Drop for Proceso {
    fn drop(&mut self) {
        if thread::panicking() {
            let estado = self.hijo.try_wait();
            eprintln!("el nodo: {estado:?}; por stderr:\n{}", self.quejas());
        }
        self.matar();
    }
}

impl Salida {
    fn hasta_ahora(&self) -> String {
        String::from_utf8_lossy(&self.texto.lock().unwrap().0).into_owned()
    }

    /// Espera a que un trozo esté tantas veces. Si no llega, da lo que hubiera.
    fn esperar(&self, trozo: &str, veces: usize) -> Result<String, String> {
        self.esperar_que(|texto| texto.matches(trozo).count() >= veces)
    }

    /// Espera a que no pueda decir nada más.
    fn esperar_el_fin(&self) {
        let _ = self.esperar_que(|_| false);
    }

    /// Espera a que lo dicho cumpla algo. Si no llega, da lo que hubiera.
    fn esperar_que(&self, cumple: impl Fn(&str) -> bool) -> Result<String, String> {
        let limite = Instant::now() + PACIENCIA;
        let mut guardado = self.texto.lock().unwrap();
        loop {
            let texto = String::from_utf8_lossy(&guardado.0).into_owned();
            if cumple(&texto) {
                return Ok(texto);
            }
            let falta = limite.saturating_duration_since(Instant::now());
            if falta.is_zero() || guardado.1 {
                return Err(texto);
            }
            guardado = self.cambio.wait_timeout(guardado, falta).unwrap().0;
        }
    }
}

/// El puerto con que acaba una línea, si ya está entera.
fn puerto_en(dicho: &str) -> Option<u16> {
    let enteras = dicho
        .split_inclusive('\n')
        .filter_map(|linea| linea.strip_suffix('\n'));
    let ultimas = enteras.filter_map(|linea| linea.trim_end().rsplit([' ', ':']).next());
    ultimas.filter_map(|ultima| ultima.parse().ok()).next()
}

/// Recoge en otro hilo lo que salga de una tubería.
fn recoger(tuberia: impl Read + Send + 'static) -> Arc<Salida> {
    let salida = Arc::new(Salida::default());
    let suya = Arc::clone(&salida);
    thread::spawn(move || recoger_en(tuberia, &suya));
    salida
}

fn recoger_en(tuberia: impl Read, salida: &Salida) {
    let mut tuberia = BufReader::new(tuberia);
    loop {
        let leido = tuberia.fill_buf().map(<[u8]>::to_vec).unwrap_or_default();
        tuberia.consume(leido.len());
        let mut guardado = salida.texto.lock().unwrap();
        guardado.0.extend_from_slice(&leido);
        guardado.1 = leido.is_empty();
        salida.cambio.notify_all();
        if guardado.1 {
            return;
        }
    }
}

/// Una conexión con plazos para que ninguna prueba se quede colgada.
pub fn conectar(a: SocketAddr) -> TcpStream {
    let conexion = TcpStream::connect_timeout(&a, PACIENCIA).unwrap();
    conexion.set_read_timeout(Some(PACIENCIA)).unwrap();
    conexion.set_write_timeout(Some(PACIENCIA)).unwrap();
    conexion
}

/// Las conexiones que van llegando, sin fin.
pub fn entrantes(escucha: &TcpListener) -> impl Iterator<Item = TcpStream> {
    iter::repeat_with(|| aceptar(escucha).unwrap().0)
}

/// Manda unos bytes de una vez y lee hasta el cierre, como hace un cliente de la guía.
pub fn preguntar(a: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut conexion = conectar(a);
    conexion.write_all(bytes).unwrap();
    leer_todo(&mut conexion)
}

/// Manda unos bytes, cierra su mitad y lee hasta el cierre.
pub fn preguntar_y_cerrar(a: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut conexion = conectar(a);
    conexion.write_all(bytes).unwrap();
    conexion.shutdown(Shutdown::Write).unwrap();
    leer_todo(&mut conexion)
}

/// Lee hasta el cierre; un corte con error también vale, con lo que llegara antes.
pub fn leer_todo(conexion: &mut TcpStream) -> Vec<u8> {
    let mut todo = Vec::new();
    let _ = conexion.read_to_end(&mut todo);
    todo
}

/// ¿Contesta el nodo a una búsqueda?
pub fn responde(a: SocketAddr) -> bool {
    preguntar(a, b"BUSCAR:no-esta-en-ningun-sitio") == b"NO"
}

/// `tamano` bytes que no se repiten (y siempre los mismos): cambiar o mover un trozo se nota.
/// BLAKE3 da cuantos se quieran, y deprisa aun sin optimizar.
pub fn datos(tamano: usize) -> Vec<u8> {
    let mut todos = vec![0; tamano];
    blake3::Hasher::new().finalize_xof().fill(&mut todos);
    todos
}
