//! Las palabras ampliadas, vistas desde quien las pide: mandar una petición por una conexión y leer lo que contesta.
//!
//! De lo que diga el otro no se cree nada que no se compruebe: ni longitudes, ni cuántas líneas anuncia. No abre
//! conexiones ni toca el disco.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::config::Limites;
use crate::nodo::carpeta::huella::{BLOQUE, Cuenta, Huella, cuantos_bloques, longitud_de_bloque};
use crate::nodo::palabras::protocolo::*;
use crate::nodo::vecinos::Vecinos;
use crate::red::conexion::{Conexion, FalloRed};

/// Entradas que se aceptan en una lista ajena.
const TOPE_DE_LISTA: u64 = 1_000_000;
/// Bytes de todos los nombres de una lista ajena: un millón de nombres de 4 KB no cabría en memoria.
const TOPE_DE_NOMBRES: usize = 64 << 20;
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
    /// Es un nodo (que se llama así) que ya contestó por otra dirección, o nosotros mismos.
    Repetido(String),
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
            FalloPar::Repetido(nombre) => {
                write!(f, "es {nombre}, que ya contó por otra dirección")
            }
            FalloPar::Miente(que) => write!(f, "{que}"),
        }
    }
}

/// Manda una petición y lee la primera línea de la respuesta.
///
/// # Errores
/// El par no contesta, rechaza o no habla el protocolo.
pub fn pedir(conexion: &mut Conexion, peticion: &Palabra) -> Result<Respuesta, FalloPar> {
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

pub(crate) fn no_es_respuesta() -> FalloPar {
    FalloPar::Miente("contestó algo que no es del protocolo".into())
}

/// `INFO`: tamaño y huella.
///
/// # Errores
/// Los de [`pedir`].
pub fn pedir_info(conexion: &mut Conexion, nombre: &str) -> Result<Info, FalloPar> {
    match pedir(conexion, &Palabra::Info(nombre.to_string()))? {
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
    let anunciados = match pedir(conexion, &Palabra::Bloques(nombre.to_string()))? {
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
    let desde = indice * BLOQUE;
    let anunciados = match pedir(
        conexion,
        &Palabra::Obtener {
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
    let mut cuenta = Cuenta::nueva(tamano, indice);
    recibir_bloque(conexion, longitud as usize, destino, &mut cuenta)?;
    Ok(cuenta.terminar())
}

/// Recibe en `destino` los bytes `pedidos`, ni uno más, y los va sumando a la `cuenta`.
fn recibir_bloque(
    conexion: &mut Conexion,
    pedidos: usize,
    destino: &mut Vec<u8>,
    cuenta: &mut Cuenta,
) -> Result<(), FalloPar> {
    // Sitio para un byte de más: si manda más de lo pedido, se nota en la misma lectura.
    destino.resize(pedidos + 1, 0);
    let limite = Instant::now() + PLAZO_DE_BLOQUE;
    let (mut leidos, mut contados) = (0, 0);
    while leidos < pedidos {
        let falta = limite.saturating_duration_since(Instant::now());
        let plazo = conexion.limites().respuesta.min(falta);
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
            "mandó más de los {pedidos} bytes pedidos"
        )));
    }
    Ok(())
}

// ----- Preguntas sueltas, cada una por su conexión -----

/// `HOLA`: quién es ese peer. [`FalloPar::Cerro`] es la manera en que un nodo de la guía dice que no
/// conoce la palabra.
pub fn saludar(vecinos: &Vecinos, peer: SocketAddr) -> Result<Presentacion, FalloPar> {
    presentarse(&mut vecinos.conectar(peer, con_espera(vecinos))?, vecinos)
}

/// Saluda por una conexión. Quien tiene dos direcciones cuenta una vez: la segunda es un error.
fn presentarse(conexion: &mut Conexion, vecinos: &Vecinos) -> Result<Presentacion, FalloPar> {
    let quien = Presentacion {
        puerto: vecinos.puerto(),
        nombre: vecinos.nombre.clone(),
        id: Some(vecinos.id.clone()),
    };
    let quien = match pedir(conexion, &Palabra::Hola(quien))? {
        Respuesta::Hola(quien) => quien,
        _ => return Err(no_es_respuesta()),
    };
    match &quien.id {
        Some(id) if !vecinos.es_nuevo(id) => Err(FalloPar::Repetido(quien.nombre)),
        _ => Ok(quien),
    }
}

/// Abre una conexión con `peer` y le saluda. Con quien no sabe saludar se abre otra: la primera la cerró.
fn saludando(vecinos: &Vecinos, peer: SocketAddr) -> Result<Conexion, FalloPar> {
    let mut conexion = vecinos.conectar(peer, vecinos.limites)?;
    match presentarse(&mut conexion, vecinos) {
        Ok(_) => Ok(conexion),
        Err(fallo @ (FalloPar::Red(_) | FalloPar::Repetido(_))) => Err(fallo),
        Err(_) => Ok(vecinos.conectar(peer, vecinos.limites)?),
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
    let mut conexion = saludando(vecinos, peer)?;
    let anunciadas = match pedir(&mut conexion, &Palabra::Listar)? {
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
    let mut conexion = saludando(vecinos, peer)?;
    let mensaje = Palabra::Mensaje {
        de: vecinos.nombre.clone(),
        texto: en_una_linea(texto),
    };
    match pedir(&mut conexion, &mensaje)? {
        Respuesta::Recibido(_) => Ok(()),
        _ => Err(no_es_respuesta()),
    }
}
