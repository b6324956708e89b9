//! CLIENTE DEL NODO: preguntar a los demás. `buscar_en_peers` y `descargar_archivo`, los de la guía.
//!
//! Aquí está cada palabra del protocolo vista desde quien la pide. La guía pregunta a los peers uno tras otro y cada
//! uno que calla cuesta sus dos segundos; aquí se pregunta a todos a la vez, con un hilo por peer. Cómo se reparte
//! una descarga entre varias fuentes está en `descarga.rs`. No escribe en pantalla.

use std::fmt;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};

use crate::conexion::{Conexion, FalloRed};
use crate::nodo::Vecinos;
use crate::nodo::descarga::{Descargado, NoDescargado, Pedido};
use crate::nodo::huella::{Cuenta, Huella, cuantos_bloques, longitud_de_bloque};
use crate::nodo::protocolo::{Entrada, Info, Peticion, Presentacion, Respuesta, en_una_linea};
use crate::nodo::servidor::CALCULANDO;

/// Entradas que se aceptan en una lista ajena.
const TOPE_DE_LISTA: u64 = 1_000_000;
/// Lo que puede tardar una lista entera.
const PLAZO_DE_LISTA: Duration = Duration::from_secs(60);
/// Lo que puede tardar entera la lista de bloques, que para 1 TiB son 16 MiB: mientras llega, no se baja nada.
const PLAZO_DE_BLOQUES: Duration = Duration::from_secs(15);
/// Lo que puede tardar un bloque entero: 4 MiB a 7 KB/s. Quien va más despacio no sirve de fuente.
const PLAZO_DE_BLOQUE: Duration = Duration::from_secs(600);
/// Cada cuántos bytes recibidos se avanza la cuenta de la huella, con los datos aún en la caché del procesador.
const TRAMO: usize = 128 * 1024;

/// Por qué un par no dio lo que se le pidió.
#[derive(Debug)]
pub enum FalloPar {
    /// Cerró sin contestar ni un byte: o es un nodo de la guía, que no conoce la palabra, o se fue.
    Cerro,
    /// Falló la red o venció un plazo.
    Red(FalloRed),
    /// No tiene el archivo.
    NoLoTiene,
    /// Aún calcula la huella: hay que volver a preguntar.
    Calculando,
    /// Contestó `ERROR:<motivo>`.
    Rechaza(String),
    /// Contestó algo que no puede ser verdad, o que no es el protocolo.
    Miente(String),
}

impl From<FalloRed> for FalloPar {
    fn from(fallo: FalloRed) -> FalloPar {
        match fallo {
            FalloRed::Cerrada => FalloPar::Cerro,
            FalloRed::LineaLarga | FalloRed::NoEsTexto => FalloPar::Miente(fallo.to_string()),
            otro => FalloPar::Red(otro),
        }
    }
}

impl fmt::Display for FalloPar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FalloPar::Cerro => f.write_str("cerró la conexión sin contestar"),
            FalloPar::Red(fallo) => fallo.fmt(f),
            FalloPar::NoLoTiene => f.write_str("no tiene el archivo"),
            FalloPar::Calculando => f.write_str("aún calcula la huella"),
            FalloPar::Rechaza(motivo) => write!(f, "contestó con un error: {motivo}"),
            FalloPar::Miente(que) => write!(f, "{que}"),
        }
    }
}

// ----- Preguntar a todos a la vez -----

/// Hace la misma `pregunta` a todos los `peers` a la vez, cada una en su hilo, y da las respuestas según llegan (con
/// el lugar del peer en la lista) por el canal que recibe `atender`. No vuelve hasta que acaban todas: `pregunta`
/// tiene sus propios plazos.
pub fn preguntar_a_todos<T: Send, R>(
    peers: &[SocketAddr],
    pregunta: impl Fn(SocketAddr) -> T + Sync,
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
                .stack_size(crate::hilos::PILA);
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

fn preguntar_con_la_guia(
    vecinos: &Vecinos,
    peer: SocketAddr,
    nombre: &str,
) -> Result<bool, FalloRed> {
    let limite = Instant::now() + vecinos.espera;
    let mut conexion = Conexion::conectar(peer, vecinos.espera, vecinos.limites)?;
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

// ----- Las palabras ampliadas, desde quien las pide -----

/// Manda una petición y lee la primera línea de la respuesta.
///
/// # Errores
/// El par no contesta, rechaza o no habla el protocolo.
pub fn pedir(conexion: &mut Conexion, peticion: &Peticion) -> Result<Respuesta, FalloPar> {
    match conexion.escribir_linea(peticion) {
        Err(FalloRed::Cortada) => return Err(FalloPar::Cerro),
        escrita => escrita?,
    }
    let plazo = conexion.limites().respuesta;
    let linea = conexion
        .leer_linea(plazo, "la respuesta")?
        .ok_or(FalloPar::Cerro)?;
    match Respuesta::leer(&linea) {
        Some(Respuesta::NoLoTiene) => Err(FalloPar::NoLoTiene),
        Some(Respuesta::Error(motivo)) if motivo == CALCULANDO => Err(FalloPar::Calculando),
        Some(Respuesta::Error(motivo)) => Err(FalloPar::Rechaza(motivo)),
        Some(respuesta) => Ok(respuesta),
        None => Err(no_es_respuesta()),
    }
}

fn no_es_respuesta() -> FalloPar {
    FalloPar::Miente("contestó algo que no es del protocolo".into())
}

/// `INFO`: tamaño y huella.
///
/// # Errores
/// Los de [`pedir`].
pub fn pedir_info(conexion: &mut Conexion, nombre: &str) -> Result<Info, FalloPar> {
    match pedir(conexion, &Peticion::Info(nombre.to_string()))? {
        Respuesta::Info(info) => Ok(info),
        _ => Err(no_es_respuesta()),
    }
}

/// `BLOQUES`: las huellas de los bloques de un archivo de `tamano` bytes. El número de líneas que anuncia no se cree:
/// tiene que ser el que toca a ese tamaño, y la memoria crece con las que llegan.
///
/// # Errores
/// Los de [`pedir`], o la lista no es la de un archivo de ese tamaño.
pub fn pedir_bloques(
    conexion: &mut Conexion,
    nombre: &str,
    tamano: u64,
) -> Result<Vec<Huella>, FalloPar> {
    let anunciados = match pedir(conexion, &Peticion::Bloques(nombre.to_string()))? {
        Respuesta::Bloques(n) => n,
        _ => return Err(no_es_respuesta()),
    };
    if anunciados != cuantos_bloques(tamano) {
        return Err(FalloPar::Miente(format!(
            "anuncia {anunciados} bloques y a un archivo de {tamano} bytes le tocan {}",
            cuantos_bloques(tamano)
        )));
    }
    let limite = Instant::now() + PLAZO_DE_BLOQUES;
    let mut bloques = Vec::new();
    for _ in 0..anunciados {
        let plazo = conexion
            .limites()
            .respuesta
            .min(limite.saturating_duration_since(Instant::now()));
        let linea = conexion
            .leer_linea(plazo, "la lista de bloques")?
            .ok_or(FalloRed::Cortada)?;
        let huella = linea
            .parse()
            .map_err(|_| FalloPar::Miente("su lista de bloques no son huellas".into()))?;
        bloques.push(huella);
    }
    Ok(bloques)
}

/// `OBTENER` de un bloque entero, que queda en `destino`. Devuelve la huella de lo que llegó, contada según llegaba.
///
/// # Errores
/// Los de [`pedir`], o no mandó justo lo pedido.
pub fn pedir_bloque(
    conexion: &mut Conexion,
    nombre: &str,
    tamano: u64,
    indice: u64,
    destino: &mut Vec<u8>,
) -> Result<Huella, FalloPar> {
    let longitud = longitud_de_bloque(tamano, indice);
    let desde = indice * crate::nodo::huella::BLOQUE;
    let anunciados = match pedir(
        conexion,
        &Peticion::Obtener {
            desde,
            longitud,
            nombre: nombre.to_string(),
        },
    )? {
        Respuesta::Datos(n) => n,
        _ => return Err(no_es_respuesta()),
    };
    if anunciados != longitud {
        return Err(FalloPar::Miente(format!(
            "se le pidieron {longitud} bytes y anuncia {anunciados}"
        )));
    }
    // Sitio para un byte de más: si manda más de lo pedido, se nota en la misma lectura.
    let pedidos = longitud as usize;
    destino.resize(pedidos + 1, 0);
    let mut cuenta = Cuenta::nueva(tamano, indice);
    let limite = Instant::now() + PLAZO_DE_BLOQUE;
    let (mut leidos, mut contados) = (0, 0);
    while leidos < pedidos {
        let plazo = conexion
            .limites()
            .respuesta
            .min(limite.saturating_duration_since(Instant::now()));
        match conexion.leer_datos(&mut destino[leidos..], plazo)? {
            0 => return Err(FalloPar::Red(FalloRed::Cortada)),
            cuantos => leidos += cuantos,
        }
        if leidos - contados >= TRAMO && leidos < pedidos {
            cuenta.anadir(&destino[contados..leidos]);
            contados = leidos;
        }
    }
    destino.truncate(pedidos);
    cuenta.anadir(&destino[contados..]);
    if leidos > pedidos || !conexion.pendiente().is_empty() {
        return Err(FalloPar::Miente(format!(
            "mandó más de los {longitud} bytes pedidos"
        )));
    }
    Ok(cuenta.terminar())
}

/// `HOLA`: quién es ese peer. [`FalloPar::Cerro`] es la manera en que un nodo de la guía dice que no conoce la palabra.
///
/// # Errores
/// Los de [`pedir`].
pub fn saludar(vecinos: &Vecinos, peer: SocketAddr) -> Result<Presentacion, FalloPar> {
    let mut conexion = Conexion::conectar(peer, vecinos.espera, con_espera(vecinos))?;
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
fn con_espera(vecinos: &Vecinos) -> crate::config::Limites {
    crate::config::Limites {
        respuesta: vecinos.espera,
        ..vecinos.limites
    }
}

/// `LISTAR`: los archivos que comparte un peer.
///
/// # Errores
/// Los de [`pedir`], o una lista demasiado larga.
pub fn listar_de(vecinos: &Vecinos, peer: SocketAddr) -> Result<Vec<Entrada>, FalloPar> {
    let mut conexion = Conexion::conectar(peer, vecinos.espera, vecinos.limites)?;
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
    let mut entradas = Vec::new();
    for _ in 0..anunciadas {
        let plazo = conexion
            .limites()
            .respuesta
            .min(limite.saturating_duration_since(Instant::now()));
        let linea = conexion
            .leer_linea(plazo, "la lista")?
            .ok_or(FalloRed::Cortada)?;
        let entrada = Entrada::leer(&linea);
        entradas.push(entrada.ok_or_else(|| FalloPar::Miente("su lista no son archivos".into()))?);
    }
    Ok(entradas)
}

/// `MENSAJE`: un texto para quien esté delante de ese peer.
///
/// # Errores
/// Los de [`pedir`].
pub fn enviar_mensaje(vecinos: &Vecinos, peer: SocketAddr, texto: &str) -> Result<(), FalloPar> {
    let mut conexion = Conexion::conectar(peer, vecinos.espera, vecinos.limites)?;
    let mensaje = Peticion::Mensaje {
        de: vecinos.nombre.clone(),
        texto: en_una_linea(texto),
    };
    match pedir(&mut conexion, &mensaje)? {
        Respuesta::Recibido(_) => Ok(()),
        _ => Err(no_es_respuesta()),
    }
}
