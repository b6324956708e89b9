//! `nodo diagnostico`: por qué no nos vemos.
//!
//! Mira cómo está esta máquina en la red y pregunta a todos a la vez, sin ser root y en 8 segundos
//! como mucho. De cada uno dice la causa, qué hacer y lo que vio. La guía, si un peer no contesta,
//! imprime el error del sistema y sigue.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::config::{Config, Fila, PEERS};
use crate::consola::Consola;
use crate::consola::pantalla::Pantalla;
use crate::fallo::{Fallo, Salida};
use crate::lan::causa::Causa;
use crate::lan::descubrir::oir_si_descubre;
use crate::lan::hechos::Hechos;
use crate::lan::interfaces::{Interfaz, interfaces, vpn_que_se_lleva};
use crate::lan::puerto::MiPuerto;
use crate::lan::remedio::{Botica, Cortafuegos};
use crate::lan::sondas::Sondas;
use crate::nodo::acciones;
use crate::nodo::palabras::protocolo::Presentacion;
use crate::nodo::vecinos::Vecinos;
use crate::red::maquina::ip_en_la_red;
use crate::red::parada::Parada;
use crate::texto::{cuenta, duracion};

/// Lo que dura todo, como mucho: con lo que se tarda en pintar, menos de 8 s.
const PLAZO: Duration = Duration::from_millis(7500);
/// Lo que se espera al maestro, antes de mirar a nadie.
const ESPERA_DEL_MAESTRO: Duration = Duration::from_secs(1);

/// Mira a los peers (los escritos y los que dé el maestro) y dice qué pasa con cada uno.
pub fn abrir(config: &Config, consola: &mut Consola) -> Result<Salida, Fallo> {
    let (empezo, config) = (Instant::now(), &en_su_puerto(config));
    let aqui = SocketAddr::new(config.ip, config.puerto);
    let nombre = config.nombre.as_deref().unwrap_or("diagnostico");
    let mut vecinos = Vecinos::nuevos(config, nombre.into(), Some(aqui));
    vecinos.espera = vecinos.espera.min(ESPERA_DEL_MAESTRO);
    if !oir_si_descubre(config, &vecinos, consola)? {
        return Ok(Salida::Interrumpido);
    }
    let Some((vecinos, _)) = acciones::todos(consola, &vecinos)? else {
        return Ok(Salida::Interrumpido);
    };
    let (mias, parada) = (interfaces(), Parada::nueva());
    // Sin puerto: nadie tiene que apuntarse a quien se va enseguida.
    let yo = Presentacion {
        puerto: 0,
        ..vecinos.presentacion()
    };
    let puerto = MiPuerto::abrir(config, &yo, &mias, &parada)?;
    presentar(&puerto, &mias, &vecinos.peers, &mut consola.pantalla);
    decir_los_mios(config, &vecinos, &mut consola.pantalla);
    let vistos = mirar_a_todos(
        consola,
        &Sondas {
            yo: &yo,
            puerto: &puerto,
            peers: &vecinos.peers,
            interfaces: &mias,
            limites: &config.limites,
            parada: &parada,
            limite: empezo + PLAZO,
        },
    )?;
    let mi_puerto = puerto.direccion.port();
    // Si otro nos está pidiendo que le llamemos, no se le espera.
    parada.cortar();
    puerto.cerrar(consola);
    let Some(vistos) = vistos else {
        return Ok(Salida::Interrumpido);
    };
    let bien = contar(&vistos, &mias, mi_puerto, &mut consola.pantalla);
    let tiempo = duracion(empezo.elapsed());
    consola.pantalla.aviso(format!("Mirado en {tiempo}."));
    Ok(Salida::de(true, bien && !vistos.is_empty()))
}

/// Quien descubre escucha desde el puerto de la primera fila: es el que los demás tienen que poder
/// alcanzar.
fn en_su_puerto(config: &Config) -> Config {
    let mut config = config.clone();
    if config.encuentro.descubre() && config.fila == Fila::PrimeraLibre {
        config.puerto = PEERS[0].2;
    }
    config
}

/// A todos a la vez. Lo que se vio de cada uno, en el orden en que se escribieron; `None` si un
/// Ctrl-C lo dejó.
fn mirar_a_todos(consola: &mut Consola, sondas: &Sondas) -> Result<Option<Vec<Hechos>>, Fallo> {
    let a_cuantos = cuenta(sondas.peers.len(), "nodo", "nodos");
    let espera = format!("Mirando {a_cuantos}: 8 s como mucho.");
    consola.pantalla.aviso(espera);
    let mut vistos: Vec<Hechos> = Vec::new();
    let mirar = |peer| sondas.mirar(peer);
    let llega = |_: &mut Pantalla, _, hechos| vistos.push(hechos);
    let acabo = consola.consultar(sondas.peers, sondas.parada, mirar, llega)?;
    vistos.sort_unstable_by_key(|hechos| sondas.peers.iter().position(|peer| *peer == hechos.peer));
    Ok(acabo.then_some(vistos))
}

/// Cómo está esta máquina en la red.
fn presentar(puerto: &MiPuerto, mias: &[Interfaz], peers: &[SocketAddr], pantalla: &mut Pantalla) {
    let ips: Vec<String> = mias.iter().map(ToString::to_string).collect();
    pantalla.linea(match ips.is_empty() {
        true => "Esta computadora no está en ninguna red.".into(),
        false => format!("Esta computadora: {}.", ips.join(", ")),
    });
    pantalla.linea(puerto.to_string());
    let mut vpns: Vec<(String, SocketAddr)> = Vec::new();
    for peer in peers {
        vpns.extend(vpn_que_se_lleva(*peer, mias).map(|vpn| (vpn, *peer)));
    }
    if vpns.is_empty() {
        pantalla.linea("Ninguna VPN se lleva lo que va a ellos.");
    }
    pantalla.tanda(vpns.iter().map(|(vpn, peer)| {
        format!("Tu VPN ({vpn}) se lleva lo que va a {peer}: no sale por tu red local.")
    }));
}

/// Los que se escribieron y son esta misma máquina.
fn decir_los_mios(config: &Config, vecinos: &Vecinos, pantalla: &mut Pantalla) {
    let mios = config.peers.iter().filter(|peer| vecinos.soy_yo(**peer));
    pantalla.tanda(mios.map(|peer| format!("{peer} es esta computadora: no hay nada que mirar.")));
}

/// Pinta cada uno. Dice si están bien todos.
fn contar(vistos: &[Hechos], mias: &[Interfaz], mi_puerto: u16, pantalla: &mut Pantalla) -> bool {
    let cortafuegos = Cortafuegos::de_aqui();
    let mut bien = true;
    for hechos in vistos {
        let otros = vistos
            .iter()
            .filter(|otro| otro.peer.ip() != hechos.peer.ip());
        let causa = Causa::de(hechos, otros.clone().any(Hechos::da_senales));
        bien &= causa.esta_bien();
        let interfaz = interfaz_hacia(hechos.peer, mias);
        let botica = Botica {
            cortafuegos,
            mi_puerto,
            interfaz,
        };
        let remedio = botica.remedio(hechos.peer, &causa);
        pantalla.tanda([
            String::new(),
            format!("{}: {causa}.", hechos.peer),
            format!("  Qué hacer: {remedio}"),
        ]);
        pantalla.tanda(hechos.contar().iter().map(|visto| format!("    {visto}")));
    }
    bien
}

fn interfaz_hacia(peer: SocketAddr, mias: &[Interfaz]) -> &str {
    let desde = ip_en_la_red(peer);
    let suya = mias.iter().find(|i| Some(i.ip) == desde);
    suya.map_or("eth0", |i| &i.nombre)
}
