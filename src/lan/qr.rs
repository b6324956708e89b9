//! La página de un nodo en un teléfono: su dirección, como código QR.
//!
//! No está en la guía. Sirve para quien no tiene terminal: apunta con la cámara y ve los archivos.
//! Sólo dibuja la dirección; la página está en `nodo/web/pagina.rs`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

use crate::config::{Config, Fila, PEERS};
use crate::consola::Consola;
use crate::consola::pantalla::Pantalla;
use crate::fallo::{Fallo, Salida};
use crate::nodo::palabras::pedir::saludar;
use crate::nodo::vecinos::Vecinos;
use crate::red::maquina::ip_en_la_red;

/// Puertos a partir del 1024 que los navegadores se niegan a abrir: los de la norma `fetch` de
/// WHATWG («bad port»). Entre ellos, el de la guía.
const NO_SE_ABREN: &[u16] = &[
    1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669,
    6679, 6697, 10080,
];
/// Una dirección de los ejemplos, para saber por qué IP se sale cuando no hay peers de fuera.
const AFUERA: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9);
/// El blanco de alrededor, en columnas: sin él, la cámara no sabe dónde empieza.
const MARGEN: usize = 2;

/// `nodo qr`: el código de la página del nodo que esté en marcha aquí. Sin decir cuál, el primero
/// de `PEERS` que lo esté.
pub fn mostrar(config: &Config, consola: &mut Consola) -> Result<Salida, Fallo> {
    if config.limites.clave.is_some() {
        let frase = "Con clave, la página sólo se ve desde esta computadora, no desde un teléfono";
        consola.pantalla.aviso(frase);
        return Ok(Salida::NoSePudo);
    }
    let puertos: Vec<u16> = match config.fila {
        Fila::PrimeraLibre => PEERS.iter().map(|(_, _, puerto)| *puerto).collect(),
        Fila::Elegida(_) | Fila::PuertoLibre | Fila::Ninguna => vec![config.puerto],
    };
    let mut vecinos = Vecinos::nuevos(config, "nodo".to_string(), None);
    let (hallado, dejado) = consola.trabajar(|encargo| {
        vecinos.parada = encargo.parada.clone();
        let contesta = |donde: &SocketAddr| saludar(&vecinos, *donde).is_ok();
        let por_fuera = |puerto: &u16| {
            let escucha = SocketAddr::new(la_que_sea(config.ip), *puerto);
            visto_desde_fuera(escucha, &config.peers).filter(contesta)
        };
        let por_dentro = |puerto: &&u16| contesta(&(Ipv4Addr::LOCALHOST, **puerto).into());
        match puertos.iter().find_map(por_fuera) {
            Some(direccion) => Ok(direccion),
            None => Err(puertos.iter().find(por_dentro).copied()),
        }
    })?;
    let pantalla = &mut consola.pantalla;
    match hallado {
        _ if dejado => return Ok(Salida::Interrumpido),
        Ok(direccion) => return Ok(pintar(direccion, pantalla)),
        Err(Some(puerto)) => pantalla.aviso(format!(
            "El nodo del puerto {puerto} sólo escucha en esta máquina, y un teléfono no llega a \
             él: arráncalo con --ip 0.0.0.0"
        )),
        Err(None) => pantalla.aviso(
            "Aquí no hay ningún nodo en marcha al que llegue un teléfono. Arranca uno con «nodo \
             --ip 0.0.0.0 --puerto 6001»; si ya lo está en otro puerto, dilo: nodo qr --puerto N",
        ),
    }
    Ok(Salida::NoSePudo)
}

/// Si sólo se escucha en esta máquina porque nadie dijo otra cosa, puede que el nodo lo haga en
/// todas.
fn la_que_sea(ip: IpAddr) -> IpAddr {
    match ip.is_loopback() {
        true => Ipv4Addr::UNSPECIFIED.into(),
        false => ip,
    }
}

/// El código de la página de un nodo que escucha en `escucha`, si se llega a él desde un teléfono y
/// el dibujo cabe.
pub fn mostrar_si_cabe(escucha: SocketAddr, peers: &[SocketAddr], pantalla: &mut Pantalla) {
    let Some(direccion) = visto_desde_fuera(escucha, peers) else {
        return;
    };
    let cabe = |lineas: &Vec<String>| pantalla.cabe(lineas);
    match dibujar(direccion).filter(cabe).is_some() {
        true => drop(pintar(direccion, pantalla)),
        false => pantalla.linea(format!(
            "  su página: http://{direccion}/ (como código: nodo qr)"
        )),
    }
}

fn pintar(direccion: SocketAddr, pantalla: &mut Pantalla) -> Salida {
    let puerto = direccion.port();
    if NO_SE_ABREN.contains(&puerto) {
        pantalla.error(format!(
            "Los navegadores no abren el puerto {puerto}: para ver la página en un teléfono, \
             arranca el nodo en otro (--puerto 6001)"
        ));
        return Salida::NoSePudo;
    }
    if let Some(lineas) = dibujar(direccion) {
        pantalla.negro_sobre_blanco(&lineas);
    }
    pantalla.linea(format!("http://{direccion}/"));
    Salida::Bien
}

/// Dos puntos del código por letra, uno encima de otro.
fn dibujar(direccion: SocketAddr) -> Option<Vec<String>> {
    let url = format!("http://{direccion}/");
    let codigo = QrCode::with_error_correction_level(url, EcLevel::L).ok()?;
    let dibujo = codigo.render::<Dense1x2>().quiet_zone(false).build();
    let lado = " ".repeat(MARGEN);
    let lineas = dibujo.lines().map(|linea| format!("{lado}{linea}{lado}"));
    let mut lineas: Vec<String> = lineas.collect();
    let borde = " ".repeat(lineas.first()?.chars().count());
    lineas.insert(0, borde.clone());
    lineas.push(borde);
    Some(lineas)
}

/// Por dónde se llega desde otra máquina a quien escucha en `escucha`, si se llega.
fn visto_desde_fuera(escucha: SocketAddr, peers: &[SocketAddr]) -> Option<SocketAddr> {
    let ip = escucha.ip();
    if !ip.is_unspecified() {
        return (!ip.is_loopback()).then_some(escucha);
    }
    let de_fuera = peers
        .iter()
        .copied()
        .filter(|peer| !peer.ip().is_loopback());
    let ip = de_fuera.chain([AFUERA]).find_map(ip_en_la_red)?;
    (!ip.is_loopback()).then_some(SocketAddr::new(ip, escucha.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lo lee otra biblioteca, como lo haría una cámara: cada letra son dos puntos.
    fn leer(lineas: &[String]) -> String {
        let ancho = lineas[0].chars().count();
        let punto = |x: usize, y: usize| {
            let letra = lineas.get(y / 2).and_then(|linea| linea.chars().nth(x));
            match (letra, y % 2) {
                (Some('█'), _) | (Some('▀'), 0) | (Some('▄'), 1) => 0,
                _ => 255,
            }
        };
        let (lado, alto) = (4, lineas.len() * 2);
        let mut foto =
            rqrr::PreparedImage::prepare_from_greyscale(ancho * lado, alto * lado, |x, y| {
                punto(x / lado, y / lado)
            });
        let hallados = foto.detect_grids();
        assert_eq!(hallados.len(), 1);
        hallados[0].decode().unwrap().1
    }

    #[test]
    fn lo_que_se_dibuja_es_la_direccion_de_la_pagina() {
        for escrita in [
            "10.0.0.2:6001",
            "192.168.100.100:60001",
            "[fd00:1:2:3:4:5:6:7]:6001",
        ] {
            let direccion: SocketAddr = escrita.parse().unwrap();
            let lineas = dibujar(direccion).unwrap();
            assert_eq!(leer(&lineas), format!("http://{escrita}/"));
            // Cabe en 80×24, con la pregunta debajo.
            assert!(lineas.len() <= 20 && lineas[0].chars().count() <= 40);
        }
    }

    #[test]
    fn solo_vale_la_direccion_a_la_que_llega_un_telefono() {
        let visto = |escucha: &str| visto_desde_fuera(escucha.parse().unwrap(), &[]);
        assert_eq!(visto("127.0.0.1:6001"), None);
        assert_eq!(visto("[::1]:6001"), None);
        let suya = "10.0.0.2:6001".parse().unwrap();
        assert_eq!(visto("10.0.0.2:6001"), Some(suya));
        // En todas: la de la red, si esta máquina tiene alguna.
        let alguna = visto("0.0.0.0:6001");
        assert!(alguna.is_none_or(|una| !una.ip().is_loopback() && una.port() == 6001));
    }
}
