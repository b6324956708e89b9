//! La práctica del balanceador, por los extremos: el servidor de prueba (`backend_server.py`) y el
//! cliente que pregunta.
//!
//! El backend contesta a lo primero que lea con `Response from <nombre>` y cierra, como el del
//! documento; pero con un hilo por conexión, y sin perder la respuesta si el cliente manda más de
//! lo que se leyó. El cliente repite la solicitud y cuenta quién contestó cada vez: así se ve el
//! reparto. Ninguno de los dos sabe que hay un balanceador.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::config::{Limites, MAX_CONEXIONES};
use crate::consola::Consola;
use crate::consola::pantalla::Pantalla;
use crate::fallo::{Fallo, Salida};
use crate::ordenes::opciones::DondeEscucha;
use crate::practicas::balanceador::tabla;
use crate::red::conexion::{Conexion, FalloRed};
use crate::red::parada::Parada;
use crate::red::servidor::{Servidor, abrir_en};
use crate::texto::cuenta;

/// El puerto del primer backend del documento.
const PUERTO: u16 = 8001;
/// El nombre del primer backend del documento.
const NOMBRE: &str = "Server 1";
/// El balanceador del documento.
const BALANCEADOR: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8000);
/// Cuánto se espera, tras contestar, a que el cliente cierre.
const PLAZO_DE_CIERRE: Duration = Duration::from_secs(2);
/// Tope de una respuesta, en bytes: lo que siga no se lee.
const TOPE_DE_RESPUESTA: usize = 4096;
/// Tope de respuestas distintas en la tabla; las demás se cuentan juntas.
const TOPE_DE_TABLA: usize = 64;

/// `nodo backend`: contesta hasta que llega Ctrl-C.
pub fn abrir(
    donde: &DondeEscucha,
    nombre: Option<String>,
    limites: &Limites,
    consola: &mut Consola,
) -> Result<Salida, Fallo> {
    let nombre = nombre.unwrap_or_else(|| NOMBRE.into());
    let (escucha, direccion) = abrir_en(donde.o_en(PUERTO), "--puerto")?;
    let avisador = consola.oir(usize::MAX);
    let (suyo, respuesta) = (nombre.clone(), format!("Response from {nombre}\n"));
    let gestionar = move |conexion| {
        let frase = gestionar_solicitud(conexion, &respuesta);
        avisador.avisar(format_args!("[{suyo}] {frase}"));
    };
    let servidor =
        Servidor::arrancar(escucha, MAX_CONEXIONES, limites, Parada::nueva(), gestionar)?;
    let linea = format!("[ESCUCHANDO] {nombre} en {direccion}");
    consola.pantalla.linea(linea);
    let salida = consola.mirar();
    consola.despedir(servidor);
    Ok(salida)
}

/// Lee una vez, contesta y cierra. Devuelve lo que hay que contar en pantalla.
fn gestionar_solicitud(mut conexion: Conexion, respuesta: &str) -> String {
    let desde = conexion.otro();
    let limite = Instant::now() + conexion.limites().peticion;
    let leido = match conexion.recibir(limite, "una solicitud") {
        Ok(leido) => leido,
        Err(fallo) => return format!("Conexión desde {desde}: {fallo}"),
    };
    // Como el del documento, contesta aunque el otro no haya pedido nada (así pregunta el
    // balanceador si vive).
    if let Err(fallo) = conexion.escribir_texto(respuesta) {
        return format!("Conexión desde {desde}: {fallo}");
    }
    conexion.cerrar_con_calma(PLAZO_DE_CIERRE);
    let que = if leido == 0 { " (sin solicitud)" } else { "" };
    format!("Conexión desde {desde}{que}")
}

/// `nodo solicitar`: manda `veces` solicitudes, una detrás de otra, y enseña cada respuesta y el
/// reparto.
pub fn solicitar(
    a: Option<SocketAddr>,
    veces: usize,
    texto: &str,
    consola: &mut Consola,
) -> Result<Salida, Fallo> {
    let (parada, mut reparto) = (Parada::nueva(), Reparto::default());
    let limites = Limites::default();
    let una = |a| una_solicitud(a, texto, &limites, &parada);
    let a_quien = [a.unwrap_or(BALANCEADOR)];
    let mut llega = |pantalla: &mut Pantalla, a, respuesta: Result<String, FalloRed>| {
        match &respuesta {
            Ok(respuesta) => pantalla.linea(respuesta),
            Err(fallo) => pantalla.aviso(format!("nodo: {a}: {fallo}")),
        }
        reparto.apuntar(respuesta.ok());
    };
    let mut acabo = true;
    for _ in 0..veces {
        acabo = consola.consultar(&a_quien, &parada, una, &mut llega)?;
        if !acabo {
            break;
        }
    }
    let fin = Salida::de(acabo, reparto.fallidas == 0);
    if veces > 1 {
        consola.pantalla.tanda(reparto.tabla());
    }
    Ok(fin)
}

/// Como el cliente del documento: conectar, mandar, recibir y cerrar. La respuesta se lee hasta el
/// fin (o el tope), no de una vez: puede llegar a trozos.
fn una_solicitud(
    a: SocketAddr,
    texto: &str,
    limites: &Limites,
    parada: &Parada,
) -> Result<String, FalloRed> {
    let mut conexion = Conexion::conectar(a, limites.conectar, limites, parada)?;
    // Aunque falle, puede que ya haya contestado: quien no lee lo que se le pide cierra con un RST.
    let escrito = conexion.escribir_texto(texto);
    let limite = Instant::now() + limites.respuesta;
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

/// Cuántas veces llegó cada respuesta.
#[derive(Default)]
struct Reparto {
    veces: BTreeMap<String, usize>,
    fallidas: usize,
}

impl Reparto {
    /// Apunta una respuesta, o que no la hubo.
    fn apuntar(&mut self, respuesta: Option<String>) {
        let Some(mut respuesta) = respuesta else {
            self.fallidas += 1;
            return;
        };
        if self.veces.len() >= TOPE_DE_TABLA && !self.veces.contains_key(&respuesta) {
            respuesta = "(otras respuestas)".into();
        }
        *self.veces.entry(respuesta).or_default() += 1;
    }

    fn tabla(self) -> Vec<String> {
        let total = self.veces.values().sum::<usize>() + self.fallidas;
        let sin_respuesta = ("(sin respuesta)".to_string(), self.fallidas);
        let fallidas = (self.fallidas > 0).then_some(sin_respuesta);
        let filas = self.veces.into_iter().chain(fallidas);
        tabla(cuenta(total, "solicitud", "solicitudes"), total, filas)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::red::maquina::aceptar;
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::sync::Arc;
    use std::thread;

    fn pareja() -> (Conexion, TcpStream) {
        let escucha = TcpListener::bind("127.0.0.1:0").unwrap();
        let cliente = TcpStream::connect(escucha.local_addr().unwrap()).unwrap();
        let (socket, desde) = aceptar(&escucha).unwrap();
        (
            Conexion::aceptada(&Arc::new(socket), desde, &Limites::default()),
            cliente,
        )
    }

    fn una(a: SocketAddr, respuesta: Duration, parada: &Parada) -> Result<String, FalloRed> {
        let limites = Limites {
            respuesta,
            ..Default::default()
        };
        una_solicitud(a, "Hello", &limites, parada)
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
        let a = escucha.local_addr().unwrap();
        thread::scope(|ambito| {
            ambito.spawn(|| {
                let mut conexion = aceptar(&escucha).unwrap().0;
                // Se lee lo pedido: cerrar sin leerlo mandaría un RST.
                conexion.read_exact(&mut [0; 5]).unwrap();
                contestar(conexion);
            });
            una(a, plazo, &Parada::nueva())
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
    fn cortar_despierta_a_quien_espera_una_respuesta() {
        let escucha = TcpListener::bind("127.0.0.1:0").unwrap();
        let (a, parada) = (escucha.local_addr().unwrap(), Parada::nueva());
        thread::scope(|ambito| {
            let espera = ambito.spawn(|| una(a, Duration::from_secs(60), &parada));
            let _mudo = aceptar(&escucha).unwrap();
            parada.cortar();
            assert!(espera.join().unwrap().is_err());
        });
        let otra = una(a, Duration::from_secs(60), &parada);
        assert!(otra.is_err(), "después ya no se pregunta más");
    }

    #[test]
    fn la_tabla_tiene_tope_y_cuenta_todo() {
        let mut reparto = Reparto::default();
        (0..1000).for_each(|n| reparto.apuntar(Some(n.to_string())));
        reparto.apuntar(None);
        let tabla = reparto.tabla();
        assert_eq!(tabla[0], "[REPARTO] 1001 solicitudes");
        assert_eq!(tabla.len(), TOPE_DE_TABLA + 3);
        assert!(tabla[1].starts_with("  (otras respuestas)") && tabla[1].ends_with("936   93,5 %"));
    }
}
