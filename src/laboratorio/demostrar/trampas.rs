//! Un intermediario con malas intenciones: se pone entre quien pide y quien sirve, y estropea lo
//! que se sirve.
//!
//! Es el mismo bucle de `accept` de todo lo demás. No sabe qué se dice por la conexión: cuenta
//! bytes. En una red de verdad lo hacen un cable, una WiFi que se va o alguien.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use crossbeam_channel::never;

use crate::config::Limites;
use crate::fallo::Fallo;
use crate::red::conexion::{Conexion, conectar, vencio};
use crate::red::hilos::arrancar_en;
use crate::red::parada::{Parada, cerrar};
use crate::red::servidor::{Servidor, abrir_en};
use crate::testigo::Testigo;

/// Conexiones que caben a la vez en una trampa.
const TOPE: usize = 16;
/// Cuánto se espera a conectarse con quien sirve.
const CONECTAR: Duration = Duration::from_secs(2);
/// Cada cuánto mira quien lee si ya no hace falta.
const MIRADA: Duration = Duration::from_millis(100);

/// Qué se hace con lo que se sirve. Los bytes se cuentan en cada conexión, desde 0.
#[derive(Debug, Clone, Copy)]
pub enum Travesura {
    /// Cierra tras tantos bytes, como si ya hubiera acabado.
    Cortar(usize),
    /// Cambia ese byte.
    Cambiar(usize),
}

/// Una trampa puesta. Al soltarla se quita.
pub struct Trampa {
    /// Donde espera.
    pub direccion: SocketAddr,
    parada: Parada,
    servidor: Option<Servidor>,
}

impl Trampa {
    /// Pone una delante de `sirve`.
    pub fn poner(sirve: SocketAddr, travesura: Travesura) -> Result<Trampa, Fallo> {
        let pedida = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (escucha, direccion) = abrir_en(pedida, "--puerto")?;
        let parada = Parada::nueva();
        let suya = parada.clone();
        let pasar_una = move |pide: Conexion| {
            // Si falla se cierra, y es lo que se vería en una red que falla.
            let _ = pasar(pide.socket(), sirve, travesura, &suya);
        };
        let servidor = Servidor::arrancar(
            escucha,
            TOPE,
            &Limites::default(),
            parada.clone(),
            pasar_una,
        )?;
        Ok(Trampa {
            direccion,
            parada,
            servidor: Some(servidor),
        })
    }
}

impl Drop for Trampa {
    fn drop(&mut self) {
        self.parada.cortar();
        if let Some(servidor) = self.servidor.take() {
            servidor.detener(&never(), |_| {});
        }
    }
}

/// Pasa las peticiones tal cual en otro hilo, y en este las respuestas, con la travesura.
fn pasar(
    pide: &TcpStream,
    sirve: SocketAddr,
    travesura: Travesura,
    parada: &Parada,
) -> Result<(), Fallo> {
    let fallo = |e| Fallo::de_sistema(format!("conectando con {sirve}"), &e);
    let abierta = conectar(sirve, CONECTAR, &Testigo::default(), parada).map_err(fallo)?;
    let sirve = &abierta.socket;
    let fin = Parada::nueva();
    thread::scope(|ambito| {
        let ida = || copiar(pide, sirve, &fin, |_, _| None);
        arrancar_en(ambito, "ida", ida)?;
        copiar(sirve, pide, &fin, |pasados, trozo| {
            travesura.hacer(pasados, trozo)
        });
        fin.avisar();
        cerrar(pide, Shutdown::Write);
        cerrar(sirve, Shutdown::Both);
        Ok(())
    })
}

/// Copia de un socket a otro hasta que uno cierre, haya `fin` o `estropear` diga cuántos bytes son
/// los últimos. Recibe los ya pasados y los que van a pasar.
fn copiar(
    de: &TcpStream,
    a: &TcpStream,
    fin: &Parada,
    estropear: impl Fn(usize, &mut [u8]) -> Option<usize>,
) {
    let mut trozo = vec![0; 64 * 1024];
    let mut pasados = 0;
    // Si no se pudiera poner, el otro lado cierra al acabar y despierta igual.
    let _ = de.set_read_timeout(Some(MIRADA));
    while !fin.avisada() {
        let leido = match { de }.read(&mut trozo) {
            Ok(0) => return,
            Ok(leido) => leido,
            Err(e) if vencio(&e) || e.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        let ultimos = estropear(pasados, &mut trozo[..leido]);
        if { a }.write_all(&trozo[..ultimos.unwrap_or(leido)]).is_err() || ultimos.is_some() {
            return;
        }
        pasados += leido;
    }
}

impl Travesura {
    /// Estropea `trozo`, que va detrás de `pasados` bytes. Si hay que cortar, cuántos pasan aún.
    fn hacer(self, pasados: usize, trozo: &mut [u8]) -> Option<usize> {
        match self {
            Travesura::Cortar(tras) => (pasados + trozo.len() >= tras).then(|| tras - pasados),
            Travesura::Cambiar(cual) => {
                let aqui = cual.checked_sub(pasados);
                let byte = aqui.and_then(|aqui| trozo.get_mut(aqui));
                byte.into_iter().for_each(|byte| *byte ^= 1);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn se_cuentan_los_bytes_de_toda_la_conexion() {
        let mut trozo = *b"abcd";
        assert_eq!(Travesura::Cortar(10).hacer(0, &mut trozo), None);
        assert_eq!(Travesura::Cortar(10).hacer(8, &mut trozo), Some(2));
        for (pasados, queda) in [(0, b"abcd"), (8, b"abbd"), (11, b"abbd")] {
            assert_eq!(Travesura::Cambiar(10).hacer(pasados, &mut trozo), None);
            assert_eq!(&trozo, queda);
        }
    }
}
