//! Preguntar quién tiene un archivo al maestro, o a un peer por su REST: el `GET /locate` de los
//! documentos.
//!
//! Lo que contestan son direcciones de otros: aquí sólo se leen, con tope. Buscar preguntando a
//! cada peer con las palabras de la guía está en `cliente.rs`. No escribe en pantalla.

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

use crate::config::{Limites, MAX_PEERS};
use crate::consola::preguntar_a_todos;
use crate::fallo::Fallo;
use crate::http::cliente::{pedir, resolver};
use crate::http::url::{MAX_URL, Url, codificar};
use crate::nodo::cliente::buscar_en_peers;
use crate::nodo::palabras::pedir::{FIN_HTTP, LoQueHabla, que_habla};
use crate::nodo::vecinos::Vecinos;
use crate::red::hilos::arrancar_en;
use crate::red::maquina::es_de_esta_maquina;
use crate::red::parada::Parada;

/// Todos los que tienen `nombre`: los peers, en el orden de la lista, y los que además conozca el
/// maestro, al que se pregunta a la vez. Que el maestro falle no es un error: se avisa.
pub fn buscar_en_la_red(
    vecinos: &Vecinos,
    nombre: &str,
    al_encontrar: &(dyn Fn(&Hallado) + Sync),
    avisar: &(dyn Fn(String) + Sync),
) -> Result<Vec<Hallado>, Fallo> {
    thread::scope(|ambito| {
        let los_suyos = |url| otros_segun(vecinos, url, nombre, al_encontrar, avisar);
        let preguntar = |url| arrancar_en(ambito, "maestro", move || los_suyos(url));
        let maestro = vecinos.maestro.as_deref().map(preguntar).transpose()?;
        let llega = |peer| al_encontrar(&Hallado::nuestro(peer));
        let duenos = buscar_en_peers(vecinos, nombre, &llega, avisar)?;
        let mut hallados: Vec<_> = duenos.into_iter().map(Hallado::nuestro).collect();
        match maestro.map(ScopedJoinHandle::join) {
            Some(Ok(Ok(otros))) => hallados.extend(otros),
            Some(Ok(Err(fallo))) => avisar(sin_maestro(&fallo)),
            None | Some(Err(_)) => {}
        }
        Ok(hallados)
    })
}

/// Lo que se dice de un maestro que no contesta: no es un error, y los demás bastan.
pub fn sin_maestro(fallo: &Fallo) -> String {
    format!(
        "[MAESTRO] {fallo}. Se sigue sin él: comprueba que esté en marcha, y la URL de --maestro."
    )
}

/// Los que según el maestro tienen `nombre` y no están en la lista. Falta ver si es verdad:
/// pudieron irse. Los demás que conozca quedan como conocidos: puede que lo estén bajando.
fn otros_segun(
    vecinos: &Vecinos,
    maestro: &str,
    nombre: &str,
    al_encontrar: &(dyn Fn(&Hallado) + Sync),
    avisar: &(dyn Fn(String) + Sync),
) -> Result<Vec<Hallado>, Fallo> {
    let mut dichos = localizar(maestro, nombre, &con_espera(vecinos), &vecinos.parada)?;
    dichos.truncate(MAX_FUENTES);
    if let Err(fallo) = conocer_los_del_maestro(vecinos, &vecinos.parada) {
        log::debug!("{fallo}");
    }
    let dichos: Vec<&Hallado> = dichos.iter().collect();
    let mut otros = vec![None; dichos.len()];
    let mut vistos = HashSet::new();
    preguntar_a_todos(
        &dichos,
        |dicho| comprobar(vecinos, dicho, nombre, avisar),
        |respuestas| {
            for (lugar, respuesta) in respuestas {
                if let Some((direccion, hallado)) = respuesta
                    && vistos.insert(direccion)
                {
                    al_encontrar(&hallado);
                    otros[lugar] = Some(hallado);
                }
            }
        },
    )?;
    Ok(otros.into_iter().flatten().collect())
}

/// Mira si sigue ahí quien dice el maestro, y qué habla. A quien no da `puerto` se le pregunta en
/// el de su REST, que es donde lo hablan los nuestros; si ahí se habla otra cosa es una fuente
/// ajena, y se cree al maestro. `None` si no está, si no lo tiene o si ya se le preguntó.
fn comprobar(
    vecinos: &Vecinos,
    dicho: &Hallado,
    nombre: &str,
    avisar: &(dyn Fn(String) + Sync),
) -> Option<(SocketAddr, Hallado)> {
    let (espera, parada) = (vecinos.espera, &vecinos.parada);
    let url = Url::leer(&dicho.rest)?;
    let direccion = resolver(&url, espera, parada).ok()?;
    let direccion = SocketAddr::new(direccion.ip(), dicho.puerto.unwrap_or(url.puerto));
    if direccion.ip().is_unspecified()
        || direccion.port() == 0
        || vecinos.soy_yo(direccion)
        || vecinos.peers.contains(&direccion)
    {
        return None;
    }
    // Un nodo de la guía no quita nada de lo que le llega, y quien dio su puerto puede serlo.
    let fin = dicho.puerto.map_or(FIN_HTTP, |_| "");
    match que_habla(direccion, (nombre, fin), espera, &vecinos.limites, parada) {
        Ok(LoQueHabla::LoNuestro(true)) => {
            let nuestro = Hallado::nuestro(direccion);
            let grpc_port = dicho.grpc_port;
            Some((
                direccion,
                Hallado {
                    grpc_port,
                    ..nuestro
                },
            ))
        }
        Ok(LoQueHabla::Otra | LoQueHabla::Nada) if dicho.puerto.is_none() => {
            Some((direccion, dicho.clone()))
        }
        Ok(_) => None,
        Err(fallo) => {
            log::debug!("{dicho} no contesta a la búsqueda: {fallo}");
            fallo.de_clave(direccion).into_iter().for_each(avisar);
            None
        }
    }
}

/// Los peers de esas direcciones, que tienen `nombre`, con el puerto de gRPC que dé cada uno. Con
/// clave nadie lo da, y no se pregunta: iría en claro.
pub fn con_su_grpc(
    vecinos: &Vecinos,
    duenos: &[SocketAddr],
    nombre: &str,
    parada: &Parada,
) -> Result<Vec<Hallado>, Fallo> {
    let mut hallados: Vec<_> = duenos.iter().copied().map(Hallado::nuestro).collect();
    if vecinos.limites.clave.is_some() {
        return Ok(hallados);
    }
    let limites = con_espera(vecinos);
    let pregunta = |peer: SocketAddr| {
        // Quien lo tiene se nombra a sí mismo.
        let dichos = localizar(&format!("http://{peer}"), nombre, &limites, parada);
        let suyo = |dicho: &Hallado| dicho.puerto == Some(peer.port());
        dichos.ok()?.into_iter().find(suyo)
    };
    preguntar_a_todos(duenos, pregunta, |respuestas| {
        for (lugar, suyo) in respuestas {
            hallados[lugar].grpc_port = suyo.map_or(0, |suyo| suyo.grpc_port);
        }
    })?;
    Ok(hallados)
}

/// Los límites de una pregunta al maestro: se espera lo que diga `--espera`, no más.
fn con_espera(vecinos: &Vecinos) -> Limites {
    Limites {
        conectar: vecinos.espera,
        respuesta: vecinos.espera,
        ..para_el_maestro(&vecinos.limites)
    }
}

/// El maestro no cifra: con clave, es al único a quien se le habla en claro. Quien la pone, avisa.
pub fn para_el_maestro(limites: &Limites) -> Limites {
    Limites {
        clave: None,
        ..limites.clone()
    }
}

/// Pregunta al maestro a quién conoce, y esos son desde ahora los conocidos por él. Sin maestro no
/// hace nada.
pub fn conocer_los_del_maestro(vecinos: &Vecinos, parada: &Parada) -> Result<(), Fallo> {
    if let Some(maestro) = &vecinos.maestro {
        let dichos = peers_del_maestro(maestro, vecinos, parada)?;
        vecinos.conocidos.segun_el_maestro(dichos);
    }
    Ok(())
}

/// Los nodos que conoce el maestro de `url`.
fn peers_del_maestro(
    url: &str,
    vecinos: &Vecinos,
    parada: &Parada,
) -> Result<Vec<SocketAddr>, Fallo> {
    let peers = preguntar(url, "/peers", &con_espera(vecinos), parada)?;
    // Aquí no viene el puerto: el de los nuestros es el mismo que el de su REST.
    let leer = |peer: &Value| Url::leer(peer["rest"].as_str()?);
    let urls: Vec<Url> = peers.iter().filter_map(leer).take(MAX_PEERS).collect();
    direcciones(&urls, vecinos.espera, parada)
}

/// Las direcciones de esas URL, sin las que no son de nadie. Los nombres de máquina se preguntan
/// todos a la vez.
fn direcciones(urls: &[Url], espera: Duration, parada: &Parada) -> Result<Vec<SocketAddr>, Fallo> {
    let escrita = |url: &Url| Some(SocketAddr::new(url.ip()?, url.puerto));
    let mut direcciones: Vec<_> = urls.iter().map(escrita).collect();
    let con_nombre: Vec<usize> = (0..urls.len())
        .filter(|n| direcciones[*n].is_none())
        .collect();
    let con_nombre = &con_nombre[..con_nombre.len().min(MAX_FUENTES)];
    let preguntar = |n: usize| resolver(&urls[n], espera, parada).ok();
    preguntar_a_todos(con_nombre, preguntar, |respuestas| {
        for (lugar, direccion) in respuestas {
            direcciones[con_nombre[lugar]] = direccion;
        }
    })?;
    let de_alguien = direcciones.into_iter().flatten();
    Ok(de_alguien
        .filter(|una| !una.ip().is_unspecified())
        .collect())
}

/// Los `peers` de lo que conteste `url`, un maestro o un peer.
fn preguntar(
    url: &str,
    ruta: &str,
    limites: &Limites,
    parada: &Parada,
) -> Result<Vec<Value>, Fallo> {
    let (codigo, mut valor) = pedir(&format!("{url}{ruta}"), None, limites, parada)?;
    match valor.get_mut("peers").map(Value::take) {
        Some(Value::Array(mut peers)) if codigo == 200 => {
            // Saber de qué máquina es la URL puede costar: sólo si hace falta.
            if peers.iter().any(|peer| localhost(peer).is_some())
                && let Some(quien) = Url::leer(url)
                && let Ok(quien) = resolver(&quien, limites.conectar, parada)
                && !es_de_esta_maquina(quien.ip())
            {
                let ip = quien.ip();
                peers.iter_mut().for_each(|peer| en_su_maquina(peer, ip));
            }
            Ok(peers)
        }
        _ => {
            let motivo = motivo(codigo, &valor);
            Err(Fallo::nuevo(format!("{url} no dice quién: {motivo}")))
        }
    }
}

/// Su URL, si dice `localhost`.
fn localhost(peer: &Value) -> Option<Url> {
    let rest = peer["rest"].as_str().and_then(Url::leer);
    rest.filter(|rest| rest.ip().is_some_and(|ip| ip.is_loopback()))
}

/// `localhost`, dicho por quien está en otra máquina, es esa máquina: así se registran allí los
/// programas del curso.
fn en_su_maquina(peer: &mut Value, ip: IpAddr) {
    if let Some(rest) = localhost(peer) {
        peer["rest"] = format!("http://{}", SocketAddr::new(ip, rest.puerto)).into();
    }
}

/// El maestro de los documentos, para cuando no se dice otro.
pub const MAESTRO: &str = "http://127.0.0.1:9000";
/// Cuántas fuentes se toman de lo que diga el maestro.
const MAX_FUENTES: usize = 64;

/// Alguien que, según otro, tiene el archivo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hallado {
    /// Su URL.
    pub rest: String,
    /// El puerto en que habla el protocolo de la guía. Los peers de otros cursos no lo tienen.
    pub puerto: Option<u16>,
    /// El puerto en que habla gRPC; 0 si no lo habla.
    pub grpc_port: u16,
    /// La interfaz por la que se va, si su IPv6 es de enlace: en una URL no cabe.
    pub interfaz: u32,
}

impl Hallado {
    /// Un nodo de los nuestros, que habla lo suyo y REST en el mismo puerto.
    pub fn nuestro(mut direccion: SocketAddr) -> Hallado {
        let mut interfaz = 0;
        if let SocketAddr::V6(v6) = &mut direccion {
            interfaz = v6.scope_id();
            v6.set_scope_id(0);
        }
        Hallado {
            rest: format!("http://{direccion}"),
            puerto: Some(direccion.port()),
            grpc_port: 0,
            interfaz,
        }
    }

    /// Dónde habla el protocolo de la guía, si lo habla.
    pub fn direccion(&self) -> Option<SocketAddr> {
        let ip = Url::leer(&self.rest)?.ip()?;
        let puerto = self.puerto.filter(|puerto| *puerto != 0)?;
        let mut direccion = SocketAddr::new(ip, puerto);
        if let SocketAddr::V6(v6) = &mut direccion {
            v6.set_scope_id(self.interfaz);
        }
        (!ip.is_unspecified()).then_some(direccion)
    }

    fn leer(peer: &Value) -> Option<Hallado> {
        let puerto = |campo: &str| peer[campo].as_u64().and_then(|n| u16::try_from(n).ok());
        let rest = peer["rest"].as_str().filter(|rest| rest.len() <= MAX_URL)?;
        Some(Hallado {
            rest: rest.to_string(),
            puerto: puerto("puerto"),
            grpc_port: puerto("grpc_port").unwrap_or(0),
            interfaz: 0,
        })
    }

    /// Como lo dice `GET /locate`.
    pub fn en_json(&self) -> Value {
        let mut peer = json!({"rest": self.rest, "grpc_port": self.grpc_port});
        if let Some(puerto) = self.puerto {
            peer["puerto"] = puerto.into();
        }
        peer
    }
}

/// `IP:PUERTO` si habla el protocolo de la guía; si no, su URL.
impl fmt::Display for Hallado {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.direccion() {
            Some(direccion) => direccion.fmt(f),
            None => f.write_str(&self.rest),
        }
    }
}

/// Pregunta a `url` (un maestro o un peer) quién tiene `nombre`.
pub fn localizar(
    url: &str,
    nombre: &str,
    limites: &Limites,
    parada: &Parada,
) -> Result<Vec<Hallado>, Fallo> {
    let pregunta = format!("/locate?file={}", codificar(nombre));
    let peers = preguntar(url, &pregunta, limites, parada)?;
    let hallados = peers.iter().filter_map(Hallado::leer);
    Ok(hallados.take(MAX_PEERS).collect())
}

/// Por qué contestó `codigo`: lo que diga su `{"error": …}`, o el número.
pub fn motivo(codigo: u16, valor: &Value) -> String {
    match valor["error"].as_str() {
        Some(motivo) => motivo.to_string(),
        None => format!("contesta con el código HTTP {codigo}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_dicho_desde_otra_maquina_es_esa_maquina() {
        // 203.0.113.x no es de nadie: es la red de los ejemplos.
        for (maestro, rest, queda) in [
            (
                "203.0.113.1",
                "http://localhost:9005",
                "http://203.0.113.1:9005",
            ),
            ("fd00::1", "http://127.0.0.1:1", "http://[fd00::1]:1"),
            (
                "203.0.113.1",
                "http://203.0.113.2:1",
                "http://203.0.113.2:1",
            ),
            ("203.0.113.1", "http://otra:1", "http://otra:1"),
        ] {
            let mut peer = json!({"rest": rest, "grpc_port": 7});
            en_su_maquina(&mut peer, maestro.parse().unwrap());
            assert_eq!(peer, json!({"rest": queda, "grpc_port": 7}), "{rest}");
        }
    }

    #[test]
    fn quien_no_habla_el_protocolo_queda_con_su_url() {
        let leer = |valor| Hallado::leer(&valor).map(|hallado| hallado.to_string());
        assert_eq!(
            leer(json!({"rest": "http://127.0.0.1:9001", "puerto": 6001})).as_deref(),
            Some("127.0.0.1:6001")
        );
        assert_eq!(
            leer(json!({"rest": "http://localhost:9001", "puerto": 6001})).as_deref(),
            Some("127.0.0.1:6001")
        );
        for sin_direccion in [
            json!({"rest": "http://127.0.0.1:9001", "grpc_port": 9002}),
            json!({"rest": "http://127.0.0.1:9001", "puerto": 0}),
            json!({"rest": "http://127.0.0.1:9001", "puerto": 70000}),
            json!({"rest": "http://127.0.0.1:9001", "puerto": "6001"}),
        ] {
            assert_eq!(
                leer(sin_direccion).as_deref(),
                Some("http://127.0.0.1:9001")
            );
        }
        assert_eq!(
            leer(json!({"rest": "http://0.0.0.0:1", "puerto": 1})).as_deref(),
            Some("http://0.0.0.0:1")
        );
        let de_otro = json!({"rest": "http://127.0.0.1:9001", "grpc_port": 9002});
        assert_eq!(Hallado::leer(&de_otro).map(|h| h.grpc_port), Some(9002));
        assert_eq!(leer(json!({"puerto": 1})), None);
        assert_eq!(leer(json!("x")), None);
    }
}
