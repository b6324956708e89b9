//! `LLAMAME`: pedirle a otro que se conecte con nosotros, para saber si también él nos alcanza.
//!
//! No está en la guía: a ella le basta con que uno de los dos llegue. Quien contesta sólo llama a
//! la IP que le habló, sólo dice `HOLA` y cuenta cómo le fue, no lo que oyó: con él no se puede
//! llamar a un tercero, ni leer lo que otro contesta.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::config::Limites;
use crate::nodo::palabras::pedir::pedir;
use crate::nodo::palabras::protocolo::{ComoTeVeo, Palabra, Presentacion, Respuesta};
use crate::nodo::palabras::servir::{Cierre, rechazar};
use crate::red::conexion::{Conexion, FalloRed};
use crate::red::parada::{Parada, cerrojo};

/// Cuánto espera quien la pide.
pub const ESPERA: Duration = Duration::from_secs(5);
/// Cuánto se da al otro para que conteste a la llamada. Con lo de conectar, menos que [`ESPERA`].
const PLAZO_DE_HOLA: Duration = Duration::from_secs(2);
/// Por debajo están los puertos que el sistema guarda para otras cosas.
const PRIMER_PUERTO: u16 = 1024;
/// Llamadas que se hacen a una misma IP en un segundo.
const POR_SEGUNDO: usize = 4;
/// Cuánto se recuerda una llamada.
const UN_SEGUNDO: Duration = Duration::from_secs(1);
/// IP de las que se lleva la cuenta a la vez.
const MAX_IPS: usize = 1024;

/// Las llamadas del último segundo, por IP.
#[derive(Default)]
pub struct Llamadas(Mutex<HashMap<IpAddr, Vec<Instant>>>);

impl Llamadas {
    /// ¿Se puede llamar otra vez a esa IP? Si se puede, queda apuntado.
    fn cabe_otra(&self, ip: IpAddr, ahora: Instant) -> bool {
        let hace_poco = |cuando: &Instant| ahora.duration_since(*cuando) < UN_SEGUNDO;
        let mut todas = cerrojo(&self.0);
        todas.retain(|_, suyas| suyas.last().is_some_and(hace_poco));
        let ip = de_quien_es(ip);
        if todas.len() >= MAX_IPS && !todas.contains_key(&ip) {
            return false;
        }
        let suyas = todas.entry(ip).or_default();
        suyas.retain(hace_poco);
        let cabe = suyas.len() < POR_SEGUNDO;
        if cabe {
            suyas.push(ahora);
        }
        cabe
    }
}

/// En IPv6 una sola máquina tiene todas las IP de su `/64`: cuentan como una.
fn de_quien_es(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
    }
}

/// Contesta `LLAMAME`: se conecta a ese puerto de la IP que lo pidió y dice cómo fue. La `parada`
/// del nodo corta la llamada.
pub fn contestar(
    conexion: &mut Conexion,
    puerto: u16,
    yo: &Presentacion,
    llamadas: &Llamadas,
    parada: &Parada,
) -> Result<(), Cierre> {
    if puerto < PRIMER_PUERTO {
        let motivo = format!("el puerto de LLAMAME va de {PRIMER_PUERTO} a 65535");
        return rechazar(conexion, &motivo);
    }
    let mut a_quien = conexion.otro();
    if !llamadas.cabe_otra(a_quien.ip(), Instant::now()) {
        let motivo = format!("como mucho {POR_SEGUNDO} LLAMAME por segundo");
        return rechazar(conexion, &motivo);
    }
    a_quien.set_port(puerto);
    let limites = Limites {
        respuesta: PLAZO_DE_HOLA,
        ..conexion.limites().clone()
    };
    let como = match Conexion::conectar(a_quien, limites.conectar, &limites, parada) {
        Ok(suya) => saludar(suya, yo),
        Err(
            FalloRed::SinClave | FalloRed::SinSaludo | FalloRed::OtraClave | FalloRed::Alterado,
        ) => ComoTeVeo::NoEsNodo,
        Err(fallo) => segun(&fallo),
    };
    Ok(conexion.escribir_linea(Respuesta::TeVeo(como, a_quien.ip()))?)
}

fn saludar(mut suya: Conexion, yo: &Presentacion) -> ComoTeVeo {
    match pedir(&mut suya, &Palabra::Hola(yo.clone())) {
        Ok(Respuesta::Hola(_)) => ComoTeVeo::Si,
        _ => ComoTeVeo::NoEsNodo,
    }
}

fn segun(fallo: &FalloRed) -> ComoTeVeo {
    let clase = match fallo {
        FalloRed::Vencio(_) => io::ErrorKind::TimedOut,
        FalloRed::Sistema(error) => error.kind(),
        _ => io::ErrorKind::Other,
    };
    match clase {
        io::ErrorKind::ConnectionRefused => ComoTeVeo::Rechazada,
        io::ErrorKind::TimedOut => ComoTeVeo::Plazo,
        _ => ComoTeVeo::SinCamino,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(texto: &str) -> IpAddr {
        texto.parse().unwrap()
    }

    #[test]
    fn cuatro_por_segundo_a_cada_ip() {
        let (llamadas, ahora) = (Llamadas::default(), Instant::now());
        let (una, otra) = (ip("10.0.0.1"), ip("10.0.0.2"));
        for n in 0..POR_SEGUNDO as u64 {
            assert!(llamadas.cabe_otra(una, ahora + Duration::from_millis(n)));
        }
        let al_final = ahora + Duration::from_millis(999);
        assert!(!llamadas.cabe_otra(una, al_final) && llamadas.cabe_otra(otra, al_final));
        // Pasado un segundo de la primera, cabe otra y sólo otra.
        let despues = ahora + UN_SEGUNDO;
        assert!(llamadas.cabe_otra(una, despues) && !llamadas.cabe_otra(una, despues));
    }

    #[test]
    fn en_ipv6_cuenta_la_red_de_cada_maquina() {
        let (llamadas, ahora) = (Llamadas::default(), Instant::now());
        let cabe = |texto: &str| llamadas.cabe_otra(ip(texto), ahora);
        assert!(
            [
                "2001:db8::1",
                "2001:db8::2",
                "2001:db8::ffff:0:1",
                "2001:db8::3"
            ]
            .map(cabe)
                == [true; 4]
        );
        assert!(!cabe("2001:db8::4") && cabe("2001:db8:0:1::4"));
    }

    #[test]
    fn la_memoria_tiene_tope_y_se_vacia_sola() {
        let (llamadas, ahora) = (Llamadas::default(), Instant::now());
        let numero = |n: u32| IpAddr::from(n.to_be_bytes());
        for n in 0..MAX_IPS as u32 {
            assert!(llamadas.cabe_otra(numero(n), ahora));
        }
        assert!(!llamadas.cabe_otra(numero(1 << 20), ahora));
        assert!(
            llamadas.cabe_otra(numero(7), ahora),
            "de esa ya se lleva la cuenta"
        );
        assert!(llamadas.cabe_otra(numero(1 << 20), ahora + UN_SEGUNDO));
        assert_eq!(cerrojo(&llamadas.0).len(), 1);
    }
}
