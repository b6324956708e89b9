//! Lo que comparten las pruebas de REST: hablar por HTTP con un socket a secas.

use super::entrantes;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};
use serde_json::Value;

use super::PACIENCIA;

/// Una respuesta HTTP partida.
#[derive(Debug)]
pub struct Contestado {
    pub codigo: u16,
    pub cabeza: String,
    pub cuerpo: Vec<u8>,
}

impl Contestado {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.cuerpo).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// El valor de una cabecera.
    pub fn cabecera(&self, nombre: &str) -> Option<&str> {
        self.cabeza.lines().find_map(|linea| {
            let (clave, valor) = linea.split_once(": ")?;
            clave.eq_ignore_ascii_case(nombre).then_some(valor)
        })
    }
}

/// Manda `peticion` tal cual y lee hasta el cierre.
pub fn mandar(direccion: SocketAddr, peticion: &[u8]) -> std::io::Result<Contestado> {
    let mut socket = TcpStream::connect(direccion)?;
    socket.set_read_timeout(Some(PACIENCIA))?;
    socket.write_all(peticion)?;
    let mut todo = Vec::new();
    socket.read_to_end(&mut todo)?;
    let corte = todo
        .windows(4)
        .position(|v| v == b"\r\n\r\n")
        .unwrap_or_else(|| {
            panic!(
                "{:?} contesta {:?}",
                String::from_utf8_lossy(peticion),
                String::from_utf8_lossy(&todo)
            )
        });
    let cabeza = String::from_utf8(todo[..corte].to_vec()).unwrap();
    let codigo = cabeza.split(' ').nth(1).unwrap().parse().unwrap();
    Ok(Contestado {
        codigo,
        cabeza,
        cuerpo: todo[corte + 4..].to_vec(),
    })
}

/// `GET ruta`, con `cabeceras` de más (cada una acabada en `\r\n`).
pub fn pedir(direccion: SocketAddr, ruta: &str, cabeceras: &str) -> Contestado {
    let peticion = format!("GET {ruta} HTTP/1.1\r\nHost: {direccion}\r\n{cabeceras}\r\n");
    mandar(direccion, peticion.as_bytes()).unwrap()
}

/// `POST ruta` con un cuerpo JSON.
pub fn enviar(direccion: SocketAddr, ruta: &str, cuerpo: &Value) -> Contestado {
    let cuerpo = cuerpo.to_string();
    let peticion = format!(
        "POST {ruta} HTTP/1.1\r\nHost: {direccion}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{cuerpo}",
        cuerpo.len()
    );
    mandar(direccion, peticion.as_bytes()).unwrap()
}

/// Repite hasta que `mirar` dé algo, sin agotar la paciencia.
pub fn hasta_que<T>(que: &str, mut mirar: impl FnMut() -> Option<T>) -> T {
    let limite = Instant::now() + PACIENCIA;
    while Instant::now() < limite {
        if let Some(visto) = mirar() {
            return visto;
        }
        // Lo que se espera ocurre en otro proceso y no avisa a este: sólo queda volver a preguntar.
        thread::sleep(Duration::from_millis(50));
    }
    panic!("no llegó a pasar: {que}");
}

/// Manda `bytes`, deja de mandar y espera a que el otro cierre, conteste lo que conteste.
pub fn molestar(direccion: SocketAddr, bytes: &[u8]) {
    let Ok(mut socket) = TcpStream::connect(direccion) else {
        return;
    };
    let _ = socket.set_read_timeout(Some(PACIENCIA));
    let _ = socket.write_all(bytes);
    let _ = socket.shutdown(Shutdown::Write);
    let _ = socket.read_to_end(&mut Vec::new());
}

/// Un maestro de mentira: acepta a todos y da cada conexión, con lo que le hayan mandado, a quien
/// haga la prueba. Si no la contesta, se queda callado.
pub struct MaestroFalso {
    pub url: String,
    pub llegadas: Receiver<(String, TcpStream)>,
}

impl MaestroFalso {
    pub fn nuevo() -> MaestroFalso {
        let escucha = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", escucha.local_addr().unwrap());
        let (dar, llegadas) = unbounded();
        thread::spawn(move || {
            for mut socket in entrantes(&escucha) {
                let mut mandado = vec![0; 1 << 16];
                let leido = socket.read(&mut mandado).unwrap_or(0);
                let mandado = String::from_utf8_lossy(&mandado[..leido]).into_owned();
                if dar.send((mandado, socket)).is_err() {
                    return;
                }
            }
        });
        MaestroFalso { url, llegadas }
    }

    /// La siguiente petición.
    pub fn siguiente(&self) -> (String, TcpStream) {
        self.llegadas.recv_timeout(PACIENCIA).unwrap()
    }
}

/// Contesta `{}` a una petición que llegó a un [`MaestroFalso`].
pub fn admitir(mut socket: &TcpStream) {
    let respuesta = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}";
    socket.write_all(respuesta).unwrap();
}
