//! La práctica del balanceador, por los extremos: el servidor de prueba (`backend_server.py`) y el cliente que pregunta.
//!
//! El backend contesta a lo primero que lea con `Response from <nombre>` y cierra, como el del documento; pero con un
//! hilo por conexión, y sin perder la respuesta si el cliente manda más de lo que se leyó. El cliente repite la
//! solicitud y cuenta quién contestó cada vez: así se ve el reparto. Ninguno de los dos sabe que hay un balanceador.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Builder};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, select};

use crate::config::{Limites, MAX_CONEXIONES};
use crate::consola::eventos::Avisador;
use crate::consola::pantalla::Pantalla;
use crate::consola::teclado::avisos_de_ctrl_c;
use crate::fallo::{Fallo, Salida};
use crate::ordenes::opciones as argumentos;
use crate::red::conexion::{Conexion, FalloRed};
use crate::red::hilos::PILA;
use crate::red::{Parada, Servidor, abrir_en, conexiones_posibles};
use crate::texto::{cuenta, decimal};

/// El puerto del primer backend del documento.
const PUERTO: u16 = 8001;
/// El nombre del primer backend del documento.
const NOMBRE: &str = "Server 1";
/// El balanceador del documento.
const BALANCEADOR: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8000);
/// Cuánto se espera, tras contestar, a que el cliente cierre.
const PLAZO_DE_CIERRE: Duration = Duration::from_secs(2);
/// Tope de una respuesta, en bytes: lo que siga no se lee.
const TOPE_DE_RESPUESTA: usize = 4096;
/// Tope de respuestas distintas en la tabla; las demás se cuentan juntas.
const TOPE_DE_TABLA: usize = 64;

/// `nodo backend`: contesta hasta que llega Ctrl-C.
///
/// # Errores
/// No se pudo abrir el puerto.
pub fn abrir(opciones: argumentos::Backend, pantalla: &mut Pantalla) -> Result<Salida, Fallo> {
    let ctrl_c = avisos_de_ctrl_c()?;
    let nombre = opciones.nombre.unwrap_or_else(|| NOMBRE.into());
    let pedida = opciones.donde.o_en(PUERTO);
    let (escucha, direccion) = abrir_en(pedida, "--puerto")?;
    let (avisador, lineas) = Avisador::nuevo();
    let (suyo, respuesta) = (avisador.clone(), format!("Response from {nombre}\n"));
    let parada = Arc::new(Parada::nueva(conexiones_posibles(MAX_CONEXIONES)));
    let servidor = Servidor::arrancar(escucha, parada, move |socket, desde| {
        let conexion = Conexion::aceptada(socket, desde, Limites::default());
        suyo.avisar(gestionar_solicitud(conexion, &respuesta));
    })?;

    pantalla.linea(format!("[ESCUCHANDO] {nombre} en {direccion}"));
    loop {
        let primera = select! {
            recv(ctrl_c) -> _ => break,
            recv(lineas) -> linea => linea,
        };
        let cuantas = lineas.len();
        let tanda = primera.into_iter().chain(lineas.try_iter().take(cuantas));
        pantalla.tanda(tanda.map(|linea| format!("[{nombre}] {linea}")));
        let perdidas = avisador.perdidos();
        if perdidas > 0 {
            pantalla.linea(format!(
                "[{nombre}] … y {perdidas} más que no cupieron en pantalla"
            ));
        }
    }
    servidor.detener(&ctrl_c, |_| {});
    Ok(Salida::Interrumpido)
}

/// Lee una vez, contesta y cierra. Devuelve lo que hay que contar en pantalla.
fn gestionar_solicitud(mut conexion: Conexion, respuesta: &str) -> String {
    let desde = conexion.otro();
    let limite = Instant::now() + conexion.limites().peticion;
    let leido = match conexion.recibir(limite, "una solicitud") {
        Ok(leido) => leido,
        Err(fallo) => return format!("Conexión desde {desde}: {fallo}"),
    };
    // Como el del documento, contesta aunque el otro no haya pedido nada (así pregunta el balanceador si vive).
    if let Err(fallo) = conexion.escribir_texto(respuesta) {
        return format!("Conexión desde {desde}: {fallo}");
    }
    conexion.cerrar_con_calma(PLAZO_DE_CIERRE);
    format!(
        "Conexión desde {desde}{}",
        if leido == 0 { " (sin solicitud)" } else { "" }
    )
}

/// `nodo solicitar`: manda `--veces` solicitudes, una detrás de otra, y enseña cada respuesta y el reparto.
///
/// # Errores
/// El sistema no da más hilos.
pub fn solicitar(
    opciones: argumentos::Solicitar,
    pantalla: &mut Pantalla,
) -> Result<Salida, Fallo> {
    let ctrl_c = avisos_de_ctrl_c()?;
    let cliente = Cliente {
        a: opciones.a.unwrap_or(BALANCEADOR),
        texto: opciones.texto,
        limites: Limites::default(),
        en_curso: Mutex::default(),
    };
    let (entregar, respuestas) = bounded(0);
    thread::scope(|ambito| {
        Builder::new()
            .name("solicitudes".into())
            .stack_size(PILA)
            .spawn_scoped(ambito, || cliente.solicitar(opciones.veces, entregar))
            .map_err(|e| Fallo::de_sistema("creando el hilo de las solicitudes", &e))?;
        let salida = contar(respuestas, &ctrl_c, pantalla, opciones.veces);
        cliente.dejarlo();
        Ok(salida)
    })
}

/// Quien pregunta, en su propio hilo: el principal sigue atento al Ctrl-C.
struct Cliente {
    a: SocketAddr,
    texto: String,
    limites: Limites,
    en_curso: Mutex<EnCurso>,
}

#[derive(Default)]
struct EnCurso {
    dejarlo: bool,
    socket: Option<Arc<TcpStream>>,
}

impl Cliente {
    /// Acaba antes si nadie quiere ya las respuestas.
    fn solicitar(&self, veces: u32, entregar: Sender<Result<String, String>>) {
        for _ in 0..veces {
            let respuesta = self.una().map_err(|fallo| format!("{}: {fallo}", self.a));
            if entregar.send(respuesta).is_err() {
                return;
            }
        }
    }

    /// Como el cliente del documento: conectar, mandar, recibir y cerrar.
    fn una(&self) -> Result<String, FalloRed> {
        let mut conexion = Conexion::conectar(self.a, self.limites.conectar, self.limites)?;
        let sigue = self.apuntar(Some(Arc::clone(conexion.socket())));
        let respuesta = if sigue {
            self.preguntar(&mut conexion)
        } else {
            Err(FalloRed::Cortada)
        };
        self.apuntar(None);
        respuesta
    }

    /// La respuesta se lee hasta el fin (o el tope), no de una vez: puede llegar a trozos.
    fn preguntar(&self, conexion: &mut Conexion) -> Result<String, FalloRed> {
        // Aunque falle, puede que ya haya contestado: quien no lee lo que se le pide cierra con un RST.
        let escrito = conexion.escribir_texto(&self.texto);
        let limite = Instant::now() + self.limites.respuesta;
        while conexion.pendiente().len() < TOPE_DE_RESPUESTA {
            match conexion.recibir(limite, "la respuesta") {
                Ok(1..) => {}
                Ok(0) if conexion.pendiente().is_empty() => {
                    return escrito.and(Err(FalloRed::Cerrada));
                }
                Err(fallo) if conexion.pendiente().is_empty() => return escrito.and(Err(fallo)),
                // Contestó y luego calla o se corta: la respuesta ya está.
                Ok(0) | Err(_) => break,
            }
        }
        let respuesta = &conexion.pendiente()[..conexion.pendiente().len().min(TOPE_DE_RESPUESTA)];
        Ok(String::from_utf8_lossy(respuesta).trim_end().to_string())
    }

    /// Deja dicho con qué socket se pregunta ahora. Falso si ya no hay que preguntar.
    fn apuntar(&self, socket: Option<Arc<TcpStream>>) -> bool {
        let mut en_curso = self.en_curso.lock().unwrap_or_else(PoisonError::into_inner);
        en_curso.socket = socket;
        !en_curso.dejarlo
    }

    /// Despierta al hilo si está esperando una respuesta.
    fn dejarlo(&self) {
        let mut en_curso = self.en_curso.lock().unwrap_or_else(PoisonError::into_inner);
        en_curso.dejarlo = true;
        if let Some(socket) = &en_curso.socket {
            // Falla si ya estaba cerrado: es lo que se quería.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

/// Pinta las respuestas según llegan y, si se pidieron varias, el reparto.
fn contar(
    respuestas: Receiver<Result<String, String>>,
    ctrl_c: &Receiver<()>,
    pantalla: &mut Pantalla,
    veces: u32,
) -> Salida {
    let mut reparto = Reparto::default();
    let interrumpido = loop {
        let respuesta = select! {
            recv(ctrl_c) -> _ => break true,
            recv(respuestas) -> respuesta => respuesta,
        };
        match respuesta {
            Ok(Ok(respuesta)) => {
                pantalla.linea(&respuesta);
                reparto.apuntar(respuesta);
            }
            Ok(Err(fallo)) => {
                pantalla.aviso(format!("nodo: {fallo}"));
                reparto.fallidas += 1;
            }
            Err(_) => break false,
        }
    };
    if veces > 1 {
        pantalla.tanda(reparto.tabla());
    }
    match (interrumpido, reparto.fallidas) {
        (true, _) => Salida::Interrumpido,
        (false, 0) => Salida::Bien,
        (false, _) => Salida::NoSePudo,
    }
}

/// Cuántas veces llegó cada respuesta.
#[derive(Default)]
struct Reparto {
    veces: BTreeMap<String, u32>,
    fallidas: u32,
}

impl Reparto {
    fn apuntar(&mut self, respuesta: String) {
        let cabe = self.veces.len() < TOPE_DE_TABLA || self.veces.contains_key(&respuesta);
        *self
            .veces
            .entry(if cabe {
                respuesta
            } else {
                "(otras respuestas)".into()
            })
            .or_default() += 1;
    }

    fn tabla(&self) -> Vec<String> {
        let total = self.veces.values().sum::<u32>() + self.fallidas;
        let fila = |que: &str, veces: u32| {
            let parte = f64::from(veces) * 100.0 / f64::from(total.max(1));
            format!("  {que:<24} {veces:>8} {:>6} %", decimal(parte))
        };
        let mut lineas = vec![format!(
            "[REPARTO] {}",
            cuenta(total as usize, "solicitud", "solicitudes")
        )];
        lineas.extend(
            self.veces
                .iter()
                .map(|(respuesta, &veces)| fila(respuesta, veces)),
        );
        if self.fallidas > 0 {
            lineas.push(fila("(sin respuesta)", self.fallidas));
        }
        lineas
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    fn pareja() -> (Conexion, TcpStream) {
        let escucha = TcpListener::bind("127.0.0.1:0").unwrap();
        let cliente = TcpStream::connect(escucha.local_addr().unwrap()).unwrap();
        let (socket, desde) = escucha.accept().unwrap();
        (
            Conexion::aceptada(&Arc::new(socket), desde, Limites::default()),
            cliente,
        )
    }

    fn cliente_de(a: SocketAddr, respuesta: Duration) -> Cliente {
        let limites = Limites {
            respuesta,
            ..Default::default()
        };
        Cliente {
            a,
            texto: "Hello".into(),
            limites,
            en_curso: Mutex::default(),
        }
    }

    #[test]
    fn la_respuesta_llega_aunque_la_solicitud_sea_mas_larga_que_una_lectura() {
        let (conexion, mut cliente) = pareja();
        let backend =
            thread::spawn(move || gestionar_solicitud(conexion, "Response from Server 1\n"));
        cliente.write_all(&vec![b'x'; 300_000]).unwrap();
        cliente.shutdown(Shutdown::Write).unwrap();
        let mut respuesta = String::new();
        cliente.read_to_string(&mut respuesta).unwrap();
        assert_eq!(respuesta, "Response from Server 1\n");
        assert!(
            backend
                .join()
                .unwrap()
                .starts_with("Conexión desde 127.0.0.1:")
        );
    }

    #[test]
    fn contesta_tambien_a_quien_solo_pregunta_si_vive() {
        let (conexion, mut cliente) = pareja();
        cliente.shutdown(Shutdown::Write).unwrap();
        assert!(gestionar_solicitud(conexion, "Response from x\n").ends_with("(sin solicitud)"));
        let mut respuesta = String::new();
        cliente.read_to_string(&mut respuesta).unwrap();
        assert_eq!(respuesta, "Response from x\n");
    }

    /// Un servidor que hace `contestar` con la primera conexión y lo que contó de él el cliente.
    fn contra(
        plazo: Duration,
        contestar: impl FnOnce(TcpStream) + Send,
    ) -> Result<String, FalloRed> {
        let escucha = TcpListener::bind("127.0.0.1:0").unwrap();
        let cliente = cliente_de(escucha.local_addr().unwrap(), plazo);
        thread::scope(|ambito| {
            ambito.spawn(|| {
                let mut conexion = escucha.accept().unwrap().0;
                // Se lee lo pedido: cerrar sin leerlo mandaría un RST.
                conexion.read_exact(&mut [0; 5]).unwrap();
                contestar(conexion);
            });
            cliente.una()
        })
    }

    #[test]
    fn una_respuesta_a_trozos_o_sin_cerrar_vale_y_el_silencio_no() {
        let (largo, corto) = (Duration::from_secs(20), Duration::from_secs(1));
        let a_trozos = contra(largo, |mut s| {
            s.write_all(b"Response ").unwrap();
            s.write_all(b"from x\n").unwrap();
        });
        assert_eq!(a_trozos.unwrap(), "Response from x");
        let sin_cerrar = contra(corto, |mut s| {
            s.write_all(b"aqui\n").unwrap();
            let _ = s.read_to_end(&mut Vec::new());
        });
        assert_eq!(sin_cerrar.unwrap(), "aqui");
        let sin_fin = contra(largo, |mut s| while s.write_all(&[b'x'; 4096]).is_ok() {});
        assert_eq!(sin_fin.unwrap().len(), TOPE_DE_RESPUESTA);
        let callado = contra(corto, |mut s| drop(s.read_to_end(&mut Vec::new())));
        assert!(matches!(callado, Err(FalloRed::Vencio(_))));
        assert!(matches!(
            contra(largo, drop),
            Err(FalloRed::Cerrada | FalloRed::Cortada)
        ));
    }

    #[test]
    fn dejarlo_despierta_a_quien_espera_una_respuesta() {
        let escucha = TcpListener::bind("127.0.0.1:0").unwrap();
        let cliente = cliente_de(escucha.local_addr().unwrap(), Duration::from_secs(60));
        thread::scope(|ambito| {
            let espera = ambito.spawn(|| cliente.una());
            let _mudo = escucha.accept().unwrap();
            cliente.dejarlo();
            assert!(espera.join().unwrap().is_err());
        });
        assert!(cliente.una().is_err(), "después ya no se pregunta más");
    }

    #[test]
    fn la_tabla_tiene_tope_y_cuenta_todo() {
        let mut reparto = Reparto::default();
        (0..1000).for_each(|n| reparto.apuntar(n.to_string()));
        reparto.fallidas = 1;
        let tabla = reparto.tabla();
        assert_eq!(tabla[0], "[REPARTO] 1001 solicitudes");
        assert_eq!(tabla.len(), TOPE_DE_TABLA + 3);
        assert!(tabla[1].starts_with("  (otras respuestas)") && tabla[1].ends_with("936   93,5 %"));
    }
}
