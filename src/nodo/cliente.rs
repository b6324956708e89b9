//! CLIENTE DEL NODO: preguntar a los demás. `buscar_en_peers` y `descargar_archivo`, los de la guía.
//!
//! La guía pregunta a los peers uno tras otro y cada
//! uno que calla cuesta sus dos segundos; aquí se pregunta a todos a la vez, con un hilo por peer. Cómo se reparte
//! una descarga entre varias fuentes está en `descarga.rs`. No escribe en pantalla.

use std::fmt;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};

use crate::config::Limites;
use crate::nodo::descarga::pedido::{Descargado, NoDescargado, Pedido};
use crate::nodo::palabras::pedir::{FalloPar, no_es_respuesta, pedir};
use crate::nodo::palabras::protocolo::{Entrada, Peticion, Presentacion, Respuesta, en_una_linea};
use crate::nodo::vecinos::Vecinos;
use crate::red::conexion::{Conexion, FalloRed};

/// Entradas que se aceptan en una lista ajena.
const TOPE_DE_LISTA: u64 = 1_000_000;
/// Bytes de todos los nombres de una lista ajena: un millón de nombres de 4 KB no cabría en memoria.
const TOPE_DE_NOMBRES: usize = 64 << 20;
/// Lo que puede tardar una lista entera.
const PLAZO_DE_LISTA: Duration = Duration::from_secs(60);

// ----- Preguntar a todos a la vez -----

/// Hace la misma `pregunta` a todos los `peers` a la vez, cada una en su hilo, y da las respuestas según llegan (con
/// el lugar del peer en la lista) por el canal que recibe `atender`. No vuelve hasta que acaban todas: `pregunta`
/// tiene sus propios plazos.
pub fn preguntar_a_todos<P: Copy + Sync + fmt::Display, T: Send, R>(
    peers: &[P],
    pregunta: impl Fn(P) -> T + Sync,
    atender: impl FnOnce(&Receiver<(usize, T)>) -> R,
) -> R {
    // Con sitio para todas: ningún hilo espera a que alguien lea su respuesta.
    let (contestar, respuestas) = bounded(peers.len());
    let pregunta = &pregunta;
    thread::scope(|ambito| {
        for (lugar, peer) in peers.iter().enumerate() {
            let contestar = contestar.clone();
            let preguntar = move || {
                // Sólo falla si quien preguntaba ya no quiere saberlo.
                let _ = contestar.send((lugar, pregunta(*peer)));
            };
            let hilo = thread::Builder::new()
                .name(format!("pregunta-{lugar}"))
                .stack_size(crate::red::hilos::PILA);
            if let Err(error) = hilo.spawn_scoped(ambito, preguntar) {
                log::warn!("no se pudo preguntar a {peer}: {error}");
            }
        }
        drop(contestar);
        atender(&respuestas)
    })
}

/// Qué peers tienen un archivo: la función de la guía, preguntando a todos a la vez. Llama a `al_encontrar` según
/// llegan y devuelve los que lo tienen en el orden de la lista (uno mismo no está en ella).
pub fn buscar_en_peers(
    vecinos: &Vecinos,
    nombre: &str,
    mut al_encontrar: impl FnMut(SocketAddr),
) -> Vec<SocketAddr> {
    let pregunta = |peer| lo_tiene(vecinos, peer, nombre);
    let mut lugares = preguntar_a_todos(&vecinos.peers, pregunta, |respuestas| {
        let mut lugares = Vec::new();
        for (lugar, tiene) in respuestas {
            if tiene {
                al_encontrar(vecinos.peers[lugar]);
                lugares.push(lugar);
            }
        }
        lugares
    });
    lugares.sort_unstable();
    lugares
        .into_iter()
        .map(|lugar| vecinos.peers[lugar])
        .collect()
}

/// ¿Tiene `peer` el archivo? Con las palabras de la guía, que entienden todos, y en menos de [`Vecinos::espera`].
pub fn lo_tiene(vecinos: &Vecinos, peer: SocketAddr, nombre: &str) -> bool {
    match preguntar_con_la_guia(vecinos, peer, nombre) {
        Ok(tiene) => tiene,
        Err(fallo) => {
            log::debug!("{peer} no contesta a la búsqueda: {fallo}");
            false
        }
    }
}

/// Se conecta a `peer` para preguntarle algo, salvo que ya se haya cortado la tanda.
fn conectar(vecinos: &Vecinos, peer: SocketAddr, limites: Limites) -> Result<Conexion, FalloRed> {
    let conexion = Conexion::conectar(peer, vecinos.espera, limites)?;
    if vecinos.preguntas.apuntar(conexion.socket()) {
        Ok(conexion)
    } else {
        Err(FalloRed::Cerrada)
    }
}

fn preguntar_con_la_guia(
    vecinos: &Vecinos,
    peer: SocketAddr,
    nombre: &str,
) -> Result<bool, FalloRed> {
    let limite = Instant::now() + vecinos.espera;
    let mut conexion = conectar(vecinos, peer, vecinos.limites)?;
    // Un nodo de la guía lee la petición de una vez: un solo `write`, sin fin de línea.
    conexion.escribir_texto(&Peticion::Buscar(nombre.to_string()).to_string())?;
    while conexion.pendiente().len() < 2 {
        if conexion.recibir(limite, "la respuesta")? == 0 {
            break;
        }
    }
    log::debug!(
        "← {peer} {}",
        crate::texto::limpiar(&String::from_utf8_lossy(conexion.pendiente()))
    );
    Ok(conexion.pendiente().starts_with(b"SI"))
}

/// Baja un archivo de las `fuentes`: la función de la guía. Comprueba cada bloque, reanuda, reparte y nunca pisa.
///
/// # Errores
/// No se pudo; la frase dice por qué y si se puede seguir después.
pub fn descargar_archivo(
    fuentes: &[SocketAddr],
    pedido: &Pedido,
) -> Result<Descargado, NoDescargado> {
    crate::nodo::descarga::descargar(fuentes, pedido)
}

// ----- Las demás preguntas -----

/// `HOLA`: quién es ese peer. [`FalloPar::Cerro`] es la manera en que un nodo de la guía dice que no conoce la palabra.
///
/// # Errores
/// Los de [`pedir`].
pub fn saludar(vecinos: &Vecinos, peer: SocketAddr) -> Result<Presentacion, FalloPar> {
    let mut conexion = conectar(vecinos, peer, con_espera(vecinos))?;
    let quien = Presentacion {
        puerto: vecinos.puerto,
        nombre: vecinos.nombre.clone(),
    };
    match pedir(&mut conexion, &Peticion::Hola(quien))? {
        Respuesta::Hola(quien) => Ok(quien),
        _ => Err(no_es_respuesta()),
    }
}

/// Los límites de una pregunta corta: se espera lo que diga `--espera`, no más.
fn con_espera(vecinos: &Vecinos) -> Limites {
    Limites {
        respuesta: vecinos.espera,
        ..vecinos.limites
    }
}

/// `LISTAR`: los archivos que comparte un peer.
///
/// # Errores
/// Los de [`pedir`], o una lista demasiado larga.
pub fn listar_de(vecinos: &Vecinos, peer: SocketAddr) -> Result<Vec<Entrada>, FalloPar> {
    let mut conexion = conectar(vecinos, peer, vecinos.limites)?;
    let anunciadas = match pedir(&mut conexion, &Peticion::Listar)? {
        Respuesta::Lista(n) if n <= TOPE_DE_LISTA => n,
        Respuesta::Lista(n) => {
            return Err(FalloPar::Miente(format!(
                "anuncia una lista de {n} archivos"
            )));
        }
        _ => return Err(no_es_respuesta()),
    };
    let limite = Instant::now() + PLAZO_DE_LISTA;
    let (mut entradas, mut bytes) = (Vec::new(), 0);
    for _ in 0..anunciadas {
        let plazo = conexion
            .limites()
            .respuesta
            .min(limite.saturating_duration_since(Instant::now()));
        let linea = conexion
            .leer_linea(plazo, "la lista")?
            .ok_or(FalloRed::Cortada)?;
        let entrada = Entrada::leer(&linea)
            .ok_or_else(|| FalloPar::Miente("su lista no son archivos".into()))?;
        bytes += entrada.nombre.len();
        if bytes > TOPE_DE_NOMBRES {
            return Err(FalloPar::Miente("su lista ocupa demasiado".into()));
        }
        entradas.push(entrada);
    }
    Ok(entradas)
}

/// `MENSAJE`: un texto para quien esté delante de ese peer.
///
/// # Errores
/// Los de [`pedir`].
pub fn enviar_mensaje(vecinos: &Vecinos, peer: SocketAddr, texto: &str) -> Result<(), FalloPar> {
    let mut conexion = conectar(vecinos, peer, vecinos.limites)?;
    let mensaje = Peticion::Mensaje {
        de: vecinos.nombre.clone(),
        texto: en_una_linea(texto),
    };
    match pedir(&mut conexion, &mensaje)? {
        Respuesta::Recibido(_) => Ok(()),
        _ => Err(no_es_respuesta()),
    }
}
