//! Un servidor con dueño: quién arranca `atender_conexiones` en su hilo, y cómo se le hace volver.
//!
//! La guía lanza el hilo como `daemon` y lo abandona. Aquí quien lo arranca lo detiene y lo espera.
//! A quien está en `accept` se le despierta conectándose a uno mismo. No escribe en pantalla.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crossbeam_channel::{Receiver, never};
use log::debug;
use socket2::SockRef;

use crate::config::Limites;
use crate::fallo::Fallo;
use crate::red::conexion::Conexion;
use crate::red::hilos::{Hilo, arrancar};
use crate::red::maquina::{alcanzable, conexiones_posibles};
use crate::red::parada::Parada;
use crate::red::{abrir_puerto, atender_conexiones};

/// Cuánto se espera en silencio antes de decir que hay envíos en curso.
const DESPEDIDA_CALLADA: Duration = Duration::from_millis(200);
/// Cuánto se espera a conectarse a uno mismo: si tarda, es que hay otras conexiones en la cola, y
/// una de ellas despertará a `accept`.
const TIMBRE: Duration = Duration::from_secs(1);

/// Un servidor en marcha.
pub struct Servidor {
    parada: Parada,
    direccion: SocketAddr,
    /// Un descriptor que se suelta justo antes de conectarse a uno mismo, por si no queda ninguno.
    reserva: TcpListener,
    hilo: Hilo<()>,
}

impl Servidor {
    /// Arranca [`atender_conexiones`] en un hilo aparte, como hace la guía al empezar.
    pub fn arrancar(
        escucha: TcpListener,
        max_conexiones: usize,
        limites: &Limites,
        parada: Parada,
        gestionar: impl Fn(Conexion) + Send + Sync + 'static,
    ) -> Result<Servidor, Fallo> {
        let fallo = |e: io::Error| Fallo::de_sistema("preparando el servidor", &e);
        let direccion = escucha.local_addr().map_err(fallo)?;
        // En Windows, la copia de la biblioteca estándar la heredaría un proceso que se arranque.
        let reserva = SockRef::from(&escucha).try_clone().map_err(fallo)?.into();
        let tope = conexiones_posibles(max_conexiones);
        let (suya, limites) = (parada.clone(), limites.clone());
        let hilo = arrancar("servidor", move || {
            atender_conexiones(escucha, tope, &limites, &suya, gestionar);
        })?;
        Ok(Servidor {
            parada,
            direccion,
            reserva,
            hilo,
        })
    }

    /// Manda parar y espera. Si pasado un momento quedan conexiones, llama una vez a `decir` con
    /// cuántas; otro aviso en `ctrl_c` mientras tanto las corta ya.
    pub fn detener(self, ctrl_c: &Receiver<()>, decir: impl FnOnce(usize)) {
        self.parada.avisar();
        // En Linux esto basta, aunque no haya por dónde llamarse a uno mismo; en los demás sistemas
        // no hace nada, y despierta el timbre.
        let callado = SockRef::from(&self.reserva).shutdown(Shutdown::Both);
        drop(self.reserva);
        let timbre = TcpStream::connect_timeout(&alcanzable(self.direccion), TIMBRE);
        debug!(
            "parada: {callado:?}, timbre en {}: {timbre:?}",
            self.direccion
        );
        drop(timbre);
        if !self.hilo.acaba_antes(DESPEDIDA_CALLADA, &never()) {
            decir(self.parada.conexiones());
            if !self.hilo.acaba_antes(Duration::MAX, ctrl_c) {
                self.parada.cortar();
            }
        }
        self.hilo.esperar();
    }
}

/// Abre el puerto de `pedida` y dice en qué dirección quedó (si se pidió el 0, con el que tocó).
/// `opcion` es la que lo elige en la línea de órdenes.
pub fn abrir_en(pedida: SocketAddr, opcion: &str) -> Result<(TcpListener, SocketAddr), Fallo> {
    let abrir = || {
        let escucha = abrir_puerto(pedida.ip(), pedida.port())?;
        let direccion = escucha.local_addr()?;
        Ok((escucha, direccion))
    };
    abrir().map_err(|e| fallo_al_abrir(pedida, opcion, &e))
}

/// La frase para un puerto que no se pudo abrir; `opcion` es la que lo elige («--puerto»).
pub fn fallo_al_abrir(direccion: SocketAddr, opcion: &str, error: &io::Error) -> Fallo {
    let (ip, puerto) = (direccion.ip(), direccion.port());
    Fallo::nuevo(match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "el puerto {puerto} ya está en uso en {ip}: cierra el programa que lo tiene o elige \
             otro con {opcion} (0 = el que esté libre)"
        ),
        io::ErrorKind::PermissionDenied => format!(
            "no hay permiso para abrir el puerto {puerto}: elige con {opcion} uno de \
             1024 en adelante"
        ),
        io::ErrorKind::AddrNotAvailable => {
            format!("la IP {ip} no es de esta máquina: elige una que lo sea")
        }
        _ => return Fallo::de_sistema(format!("abriendo el puerto {puerto}"), error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::Ipv4Addr;
    use std::time::Instant;

    fn servidor(tope: usize) -> (Servidor, SocketAddr) {
        let escucha = abrir_puerto(Ipv4Addr::LOCALHOST.into(), 0).unwrap();
        let direccion = escucha.local_addr().unwrap();
        let eco = |mut conexion: Conexion| {
            let mut letra = [0];
            while let Ok(1) = conexion.leer_datos(&mut letra, Duration::from_secs(60)) {
                let _ = conexion.escribir_datos(&letra);
            }
        };
        (
            Servidor::arrancar(escucha, tope, &Limites::default(), Parada::nueva(), eco).unwrap(),
            direccion,
        )
    }

    fn nunca() -> Receiver<()> {
        crossbeam_channel::never()
    }

    fn contesta(mut cliente: &TcpStream) -> bool {
        cliente
            .set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        cliente.write_all(b"x").unwrap();
        cliente.read_exact(&mut [0]).is_ok()
    }

    #[test]
    fn parar_con_un_par_mudo_es_inmediato_y_deja_libre_el_puerto() {
        let (servidor, direccion) = servidor(8);
        let mudo = TcpStream::connect(direccion).unwrap();
        assert!(contesta(&mudo));
        let antes = Instant::now();
        servidor.detener(&nunca(), |_| {});
        assert!(antes.elapsed() < Duration::from_secs(2));
        assert!(TcpListener::bind(direccion).is_ok());
    }

    #[test]
    fn parar_despierta_a_quien_espera_permiso() {
        let (servidor, direccion) = servidor(1);
        let dentro = TcpStream::connect(direccion).unwrap();
        assert!(contesta(&dentro));
        servidor.detener(&nunca(), |_| {});
    }

    #[test]
    fn la_que_no_cabe_espera_su_turno() {
        let (servidor, direccion) = servidor(1);
        let primera = TcpStream::connect(direccion).unwrap();
        assert!(contesta(&primera));
        let segunda = TcpStream::connect(direccion).unwrap();
        assert!(
            !contesta(&segunda),
            "con un solo permiso, la segunda no puede estar dentro"
        );
        drop(primera);
        segunda
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        assert!((&segunda).read_exact(&mut [0]).is_ok());
        servidor.detener(&nunca(), |_| {});
    }

    #[test]
    fn parar_antes_de_empezar_no_se_cuelga() {
        let escucha = abrir_puerto(Ipv4Addr::LOCALHOST.into(), 0).unwrap();
        let parada = Parada::nueva();
        parada.avisar();
        atender_conexiones(escucha, 1, &Limites::default(), &parada, |_| {});
    }
}
