//! Los peers que se escriben: con IP, con el nombre de una máquina, o en un archivo.
//!
//! La guía los escribe en el código. Una IPv6 de enlace lleva su interfaz (`fe80::2%eth0`), que
//! sólo sabe traducir el sistema, como los nombres: los dos se le preguntan antes de empezar.

use std::net::SocketAddr;
use std::time::Duration;

use crate::config::{MAX_PEERS, PUERTO};
use crate::consola::{Consola, preguntar_a_todos};
use crate::fallo::{Fallo, Salida, motivo};
use crate::ordenes::valores::{leer_nombre, leer_peer};
use crate::red::resolver::resolver;

/// Lo que se espera a que el sistema sepa de un nombre.
const PLAZO: Duration = Duration::from_secs(3);
/// Lo que puede medir un archivo de peers.
const MAX_ARCHIVO: u64 = 1 << 20;

/// Un peer, como se escribió.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerEscrito {
    /// Con su IP.
    Direccion(SocketAddr),
    /// Por su nombre, o con la interfaz por la que se va.
    Nombre(String, u16),
}

/// Los de un archivo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListaDePeers(pub Vec<PeerEscrito>);

/// Lee `IP[:PUERTO]`, o lo mismo con el nombre de una máquina en vez de la IP.
pub fn leer_peer_escrito(escrito: &str) -> Result<PeerEscrito, String> {
    leer_peer(escrito)
        .map(PeerEscrito::Direccion)
        .or_else(|queja| leer_con_nombre(escrito).ok_or(queja))
}

fn leer_con_nombre(escrito: &str) -> Option<PeerEscrito> {
    let entre_corchetes = escrito.strip_prefix('[').and_then(|e| e.split_once(']'));
    // Una IPv6 sin corchetes no puede llevar puerto.
    let corte = match escrito.find(':') {
        Some(donde) if !escrito[donde + 1..].contains(':') => donde,
        _ => escrito.len(),
    };
    let (nombre, puerto) = entre_corchetes.unwrap_or_else(|| escrito.split_at(corte));
    let puerto = match puerto {
        "" => PUERTO,
        _ => puerto.strip_prefix(':')?.parse().ok().filter(|n| *n != 0)?,
    };
    let vale = es_de_enlace(nombre) || (entre_corchetes.is_none() && es_un_nombre(nombre));
    vale.then(|| PeerEscrito::Nombre(nombre.to_string(), puerto))
}

/// `fe80::2%eth0`.
fn es_de_enlace(escrita: &str) -> bool {
    let partida = escrita.split_once('%');
    partida.is_some_and(|(ip, interfaz)| {
        ip.parse::<std::net::Ipv6Addr>().is_ok() && !interfaz.is_empty()
    })
}

/// ¿Puede llamarse así una máquina? Lo que acaba en cifras es una IP mal escrita.
fn es_un_nombre(nombre: &str) -> bool {
    let letra = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let etiqueta = |una: &str| {
        (1..=63).contains(&una.len()) && !una.starts_with('-') && una.bytes().all(letra)
    };
    let sin_punto = nombre.strip_suffix('.').unwrap_or(nombre);
    let ultima = sin_punto.rsplit('.').next().unwrap_or_default();
    let cifras = ultima.bytes().all(|b| b.is_ascii_digit());
    nombre.len() <= 253 && !cifras && sin_punto.split('.').all(etiqueta)
}

/// Lee un archivo de peers: uno por línea, `IP[:PUERTO] [nombre]`; desde `#`, comentario.
pub fn leer_lista(ruta: &str) -> Result<ListaDePeers, String> {
    let leido = std::fs::metadata(ruta).and_then(|datos| match datos.len() {
        0..=MAX_ARCHIVO => std::fs::read_to_string(ruta),
        _ => Err(std::io::Error::other(
            "no es una lista de peers: mide más de 1 MiB",
        )),
    });
    let texto = leido.map_err(|error| motivo(&error))?;
    let con_numero = texto.trim_start_matches('\u{feff}').lines().zip(1..);
    let leidas = con_numero.map(|(linea, n): (&str, u32)| {
        leer_linea(linea).map_err(|queja| format!("línea {n}: {queja}"))
    });
    let peers: Vec<PeerEscrito> = leidas
        .filter_map(Result::transpose)
        .collect::<Result<_, _>>()?;
    match peers.len() {
        0 => Err("no tiene ningún peer".into()),
        1..=MAX_PEERS => Ok(ListaDePeers(peers)),
        muchos => Err(format!("son {muchos} peers, y el tope es {MAX_PEERS}")),
    }
}

/// El nombre es para quien lee el archivo: cada nodo dice luego el suyo.
fn leer_linea(linea: &str) -> Result<Option<PeerEscrito>, String> {
    let linea = linea.split('#').next().unwrap_or_default();
    let (peer, nombre) = match linea.trim().split_once(char::is_whitespace) {
        Some((peer, nombre)) => (peer, nombre.trim()),
        None => (linea.trim(), ""),
    };
    if peer.is_empty() {
        return Ok(None);
    }
    let queja = |queja: String| format!("«{peer}»: {queja}");
    if !nombre.is_empty() {
        leer_nombre(nombre).map_err(queja)?;
    }
    leer_peer_escrito(peer).map(Some).map_err(queja)
}

/// Las direcciones de los escritos con IP.
pub fn con_ip(escritos: &[PeerEscrito]) -> Vec<SocketAddr> {
    let con_ip = |uno: &PeerEscrito| match uno {
        PeerEscrito::Direccion(direccion) => Some(*direccion),
        PeerEscrito::Nombre(..) => None,
    };
    escritos.iter().filter_map(con_ip).collect()
}

/// Pone su dirección a los que se escribieron con nombre. Los que nadie conoce se dicen y se
/// quitan; si no queda ninguno, están mal escritos. `Some` si no se puede seguir.
pub fn resolver_nombres(
    escritos: &mut Vec<PeerEscrito>,
    consola: &mut Consola,
) -> Result<Option<Salida>, Fallo> {
    let con_nombre = |uno: &PeerEscrito| matches!(uno, PeerEscrito::Nombre(..));
    if !escritos.iter().any(con_nombre) {
        return Ok(None);
    }
    let (resueltos, dejado) = consola.trabajar(|encargo| {
        let todos: Vec<&PeerEscrito> = escritos.iter().collect();
        let mut resueltos: Vec<Option<PeerEscrito>> = vec![None; todos.len()];
        let preguntar = |uno: &PeerEscrito| match uno {
            PeerEscrito::Direccion(direccion) => Ok(*direccion),
            PeerEscrito::Nombre(nombre, puerto) => resolver(nombre, *puerto, PLAZO, encargo.parada),
        };
        let preguntado = preguntar_a_todos(&todos, preguntar, |respuestas| {
            for (lugar, respuesta) in respuestas {
                match respuesta {
                    Ok(direccion) => resueltos[lugar] = Some(PeerEscrito::Direccion(direccion)),
                    Err(fallo) => (encargo.avisar)(format!("nodo: {fallo}")),
                }
            }
        });
        preguntado.map(|()| resueltos)
    })?;
    *escritos = resueltos?.into_iter().flatten().collect();
    if dejado {
        return Ok(Some(Salida::Interrumpido));
    }
    if escritos.is_empty() {
        consola.pantalla.aviso("La ayuda: nodo --help");
        return Ok(Some(Salida::MalEscrito));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn nombre(nombre: &str, puerto: u16) -> Result<PeerEscrito, String> {
        Ok(PeerEscrito::Nombre(nombre.into(), puerto))
    }

    #[test]
    fn un_peer_se_escribe_de_muchas_maneras() {
        let ip = |direccion: &str| Ok(PeerEscrito::Direccion(direccion.parse().unwrap()));
        for (escrito, leido) in [
            ("10.0.0.2", ip("10.0.0.2:6000")),
            ("10.0.0.2:7000", ip("10.0.0.2:7000")),
            ("fe80::2", ip("[fe80::2]:6000")),
            ("[fe80::2]:7000", ip("[fe80::2]:7000")),
            ("::ffff:10.0.0.2", ip("10.0.0.2:6000")),
            ("[::ffff:10.0.0.2]:7000", ip("10.0.0.2:7000")),
            ("fe80::2%eth0", nombre("fe80::2%eth0", 6000)),
            ("[fe80::2%eth0]:7000", nombre("fe80::2%eth0", 7000)),
            ("[fe80::2%eth0]", nombre("fe80::2%eth0", 6000)),
            ("aula3", nombre("aula3", 6000)),
            ("aula3.local:7000", nombre("aula3.local", 7000)),
        ] {
            assert_eq!(leer_peer_escrito(escrito), leido, "{escrito}");
        }
        for malo in [
            "",
            ":",
            "a b",
            "10.0.0",
            "10.0.0.300",
            "1.2.3.4.5:1",
            "aula3:",
            "aula3:0",
            "aula3:x",
            "aula3:70000",
            "-a",
            "a..b",
            "[aula3]:1",
            "fe80::2%",
            "x%eth0",
            "0.0.0.0",
            "10.0.0.2:0",
            "http://a",
        ] {
            assert!(leer_peer_escrito(malo).is_err(), "{malo}");
        }
    }

    #[test]
    fn un_archivo_de_peers_dice_en_que_linea_esta_el_error() {
        let carpeta = tempfile::tempdir().unwrap();
        let ruta = carpeta.path().join("clase.txt");
        let leer = |texto: &str| {
            fs::write(&ruta, texto).unwrap();
            leer_lista(ruta.to_str().unwrap())
        };
        let bueno =
            "\u{feff}# la clase\r\n10.0.0.2 ana\r\n\n  10.0.0.3:7000\tluis # atrás\naula4\n";
        let ListaDePeers(peers) = leer(bueno).unwrap();
        let esperados = ["10.0.0.2", "10.0.0.3:7000", "aula4"];
        let esperados = esperados.map(|e| leer_peer_escrito(e).unwrap());
        assert_eq!(peers, esperados);
        let queja = leer("10.0.0.2\n\n10.0.0.300 luis\n").unwrap_err();
        assert!(queja.starts_with("línea 3: «10.0.0.300»"), "{queja}");
        let queja = leer("10.0.0.2 a:b").unwrap_err();
        assert!(
            queja.contains("línea 1") && queja.contains("nombre"),
            "{queja}"
        );
        assert!(leer("# nadie\n").unwrap_err().contains("ningún peer"));
        let muchos: String = (0..=MAX_PEERS)
            .map(|n| format!("10.0.{}.{}\n", n / 250, n % 250))
            .collect();
        assert!(leer(&muchos).unwrap_err().contains("tope"));
        assert!(leer_lista("/no/existe").is_err());
    }
}
