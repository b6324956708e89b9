//! Ayuda de las pruebas de las prácticas: el programa de verdad, con su teclado y su pantalla en la
//! mano, línea a línea y sin distinguir stdout de stderr. Y los programas del documento, para
//! ponerlos al otro lado.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::{Lanzar, PACIENCIA, conectar, entrantes, nodo};

/// Un `nodo` en marcha. Al soltarlo se mata.
pub struct Programa {
    hijo: Child,
    teclado: Option<ChildStdin>,
    pantalla: Receiver<String>,
    vistas: Vec<String>,
}

impl Programa {
    /// Arranca `nodo` con esas palabras.
    pub fn arrancar(palabras: &[&str]) -> Programa {
        let mut hijo = nodo()
            .args(palabras)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .lanzar();
        let (decir, pantalla) = channel();
        leer_lineas(hijo.stdout.take().unwrap(), decir.clone());
        leer_lineas(hijo.stderr.take().unwrap(), decir);
        Programa {
            teclado: hijo.stdin.take(),
            hijo,
            pantalla,
            vistas: Vec::new(),
        }
    }

    /// Lo mismo, y espera a que diga dónde escucha.
    pub fn servidor(palabras: &[&str]) -> (Programa, SocketAddr) {
        let mut programa = Programa::arrancar(palabras);
        let linea = programa.esperar("[ESCUCHANDO]");
        let direccion = linea.rsplit(' ').next().unwrap().parse().unwrap();
        (programa, direccion)
    }

    /// La primera línea nueva que contenga `que`.
    pub fn esperar(&mut self, que: &str) -> String {
        self.aparece(que, PACIENCIA)
            .unwrap_or_else(|error| panic!("no salió «{que}» ({error}); salió: {:#?}", self.vistas))
    }

    /// Lo mismo, si sale antes de `plazo`.
    pub fn aparece(&mut self, que: &str, plazo: Duration) -> Result<String, RecvTimeoutError> {
        let limite = Instant::now() + plazo;
        loop {
            let falta = limite.saturating_duration_since(Instant::now());
            let linea = self.pantalla.recv_timeout(falta)?;
            self.vistas.push(linea.clone());
            if linea.contains(que) {
                return Ok(linea);
            }
        }
    }

    /// Escribe una línea.
    pub fn escribir(&mut self, linea: &str) {
        self.teclado
            .as_mut()
            .unwrap()
            .write_all(format!("{linea}\n").as_bytes())
            .unwrap();
    }

    /// Cierra el teclado: fin de la entrada.
    pub fn fin_de_la_entrada(&mut self) {
        self.teclado = None;
    }

    /// Ctrl-C.
    #[cfg(unix)]
    pub fn ctrl_c(&self) {
        self.mandar(rustix::process::Signal::INT);
    }

    /// SIGTERM.
    #[cfg(unix)]
    pub fn sigterm(&self) {
        self.mandar(rustix::process::Signal::TERM);
    }

    #[cfg(unix)]
    fn mandar(&self, senal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.hijo), senal).unwrap();
    }

    /// Espera a que termine. Su código de salida y todo lo que salió en pantalla.
    pub fn terminar(mut self) -> (i32, Vec<String>) {
        let limite = Instant::now() + PACIENCIA;
        let estado = loop {
            match self.hijo.try_wait().unwrap() {
                Some(estado) => break estado,
                None if Instant::now() > limite => panic!("no termina; salió: {:#?}", self.vistas),
                None => thread::sleep(Duration::from_millis(5)),
            }
        };
        self.vistas.extend(self.pantalla.iter());
        (
            estado.code().unwrap_or(-1),
            std::mem::take(&mut self.vistas),
        )
    }
}

impl Drop for Programa {
    fn drop(&mut self) {
        // Falla si ya terminó: es lo que se quería.
        let _ = self.hijo.kill();
        let _ = self.hijo.wait();
    }
}

fn leer_lineas(de: impl Read + Send + 'static, decir: Sender<String>) {
    thread::spawn(move || {
        let mut de = BufReader::new(de);
        let mut linea = Vec::new();
        while de.read_until(b'\n', &mut linea).is_ok_and(|n| n > 0) {
            let texto = String::from_utf8_lossy(&linea)
                .trim_end_matches('\n')
                .to_string();
            if decir.send(texto).is_err() {
                return;
            }
            linea.clear();
        }
    });
}

/// Lee hasta el fin.
pub fn todo(mut de: &TcpStream) -> Vec<u8> {
    let mut leido = Vec::new();
    de.read_to_end(&mut leido).unwrap();
    leido
}

/// El cliente del documento: manda, recibe una vez y cierra.
pub fn cliente_del_curso(a: SocketAddr) -> String {
    let mut socket = conectar(a);
    socket.write_all(b"Hello Load Balancer").unwrap();
    let mut respuesta = [0; 1024];
    let leido = socket.read(&mut respuesta).unwrap();
    String::from_utf8(respuesta[..leido].to_vec()).unwrap()
}

/// El backend del documento: atiende de uno en uno, lee una vez, contesta y cierra. Como aquel, no
/// atrapa errores: un RST lo mata (y deja de escuchar).
pub fn backend_del_curso(escucha: TcpListener, nombre: &str) -> SocketAddr {
    let direccion = escucha.local_addr().unwrap();
    let respuesta = format!("Response from {nombre}\n");
    thread::spawn(move || {
        for mut conexion in entrantes(&escucha) {
            if conexion.read(&mut [0; 1024]).is_err()
                || conexion.write(respuesta.as_bytes()).is_err()
            {
                return;
            }
        }
    });
    direccion
}

/// Un backend que hace `atender` con cada conexión, en un hilo por conexión.
pub fn backend(atender: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> SocketAddr {
    let escucha = libre();
    let direccion = escucha.local_addr().unwrap();
    thread::spawn(move || {
        for conexion in entrantes(&escucha) {
            let atender = atender.clone();
            thread::spawn(move || atender(conexion));
        }
    });
    direccion
}

/// Un puerto que escucha en un número cualquiera.
pub fn libre() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}
