//! Las palabras ampliadas, vistas desde quien las pide: mandar una petición por una conexión y leer
//! lo que contesta.
//!
//! De lo que diga el otro no se cree nada que no se compruebe: ni longitudes, ni cuántas líneas
//! anuncia. Las tres con que se baja un archivo están en `descarga/linea.rs`. No toca el disco.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::config::Limites;
use crate::nodo::palabras::protocolo::*;
use crate::nodo::vecinos::Vecinos;
use crate::red::conexion::{Conexion, FalloRed};
use crate::red::parada::Parada;

/// Entradas que se aceptan en una lista ajena.
const TOPE_DE_LISTA: u64 = 1_000_000;
/// Bytes de todos los nombres de una lista ajena: un millón de nombres de 4 KB no cabría en
/// memoria.
const TOPE_DE_NOMBRES: usize = 64 << 20;
/// Lo que puede tardar una lista entera.
const PLAZO_DE_LISTA: Duration = Duration::from_secs(60);

/// Por qué un par no dio lo que se le pidió.
#[derive(Debug)]
pub enum FalloPar {
    /// Cerró sin contestar ni un byte: o es un nodo de la guía, que no conoce la palabra, o se fue.
    Cerro,
    /// Falló la red o venció un plazo.
    Red(FalloRed),
    /// Su clave y la nuestra no casan, o sólo la tiene uno.
    Clave(FalloRed),
    /// Manda, pero tan despacio que no acabaría nunca.
    Lento,
    /// No tiene el archivo.
    NoLoTiene,
    /// Aún calcula la huella: hay que volver a preguntar.
    Calculando,
    /// Ya manda bastantes bloques a la vez: hay que pedirlo a otro, o repetirlo.
    Ocupado,
    /// Ese bloque no le ha llegado todavía.
    AunNo,
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
            FalloRed::SinClave | FalloRed::OtraClave => FalloPar::Clave(fallo),
            otro => FalloPar::Red(otro),
        }
    }
}

impl FalloPar {
    /// La frase entera, con de quién se dice.
    pub fn de(&self, quien: SocketAddr) -> String {
        match self {
            FalloPar::Clave(fallo) | FalloPar::Red(fallo) => fallo.de_clave(quien),
            _ => None,
        }
        .unwrap_or_else(|| format!("{quien}: {self}"))
    }
}

impl fmt::Display for FalloPar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FalloPar::Cerro => f.write_str("cerró la conexión sin contestar"),
            FalloPar::Red(fallo) | FalloPar::Clave(fallo) => fallo.fmt(f),
            FalloPar::Lento => f.write_str("manda menos de 8 KiB por segundo"),
            FalloPar::NoLoTiene => f.write_str("no tiene el archivo"),
            FalloPar::Calculando => f.write_str("aún calcula la huella"),
            FalloPar::Ocupado => f.write_str("está ocupado"),
            FalloPar::AunNo => f.write_str("aún no tiene ese bloque"),
            FalloPar::Rechaza(motivo) => write!(f, "contestó con un error: {motivo}"),
            FalloPar::Repetido(nombre) => {
                write!(f, "es {nombre}, que ya contestó por otra dirección")
            }
            FalloPar::Miente(que) => f.write_str(que),
        }
    }
}

/// Manda una petición y lee la primera línea de la respuesta.
pub fn pedir(conexion: &mut Conexion, peticion: &Palabra) -> Result<Respuesta, FalloPar> {
    mandar(conexion, peticion)?;
    leer_respuesta(conexion)
}

/// Una pregunta suelta.
fn preguntar(conexion: &mut Conexion, peticion: &Palabra) -> Result<Respuesta, FalloPar> {
    pedir(conexion, peticion).map_err(|fallo| no_es_la_guia(conexion, fallo))
}

/// Con clave, quien cierra sin contestar no es un nodo de la guía.
fn no_es_la_guia(conexion: &Conexion, fallo: FalloPar) -> FalloPar {
    match fallo {
        FalloPar::Cerro if conexion.cifrada() => FalloPar::Red(FalloRed::Cerrada),
        otro => otro,
    }
}

/// Manda una petición. Lo que conteste se lee con [`leer_respuesta`]; antes se puede mandar otra.
pub fn mandar(conexion: &mut Conexion, peticion: &Palabra) -> Result<(), FalloPar> {
    match conexion.escribir_linea(peticion) {
        // Lo que alcanzara a contestar antes de cerrar aún se puede leer; si no, se verá ahí.
        Err(FalloRed::Cortada) => Ok(()),
        mandada => Ok(mandada?),
    }
}

/// Lee la primera línea de la respuesta a lo que se mandó.
pub fn leer_respuesta(conexion: &mut Conexion) -> Result<Respuesta, FalloPar> {
    let plazo = conexion.limites().respuesta;
    leer_respuesta_en(conexion, plazo)
}

/// Lo mismo, con otro plazo.
pub fn leer_respuesta_en(conexion: &mut Conexion, plazo: Duration) -> Result<Respuesta, FalloPar> {
    let linea = conexion.leer_linea(plazo, "la respuesta")?;
    match Respuesta::leer(&linea.ok_or(FalloPar::Cerro)?) {
        Some(Respuesta::NoLoTiene) => Err(FalloPar::NoLoTiene),
        Some(Respuesta::Error(motivo)) => Err(match motivo.as_str() {
            CALCULANDO => FalloPar::Calculando,
            OCUPADO => FalloPar::Ocupado,
            AUN_NO => FalloPar::AunNo,
            _ => FalloPar::Rechaza(motivo),
        }),
        Some(respuesta) => Ok(respuesta),
        None => Err(no_es_respuesta()),
    }
}

/// Lo que se dice de una respuesta que no es de las que tocaban.
pub fn no_es_respuesta() -> FalloPar {
    FalloPar::Miente("contestó algo que no es del protocolo".into())
}

/// Lee las `cuantas` líneas que siguen a una respuesta, todas antes de `plazo`.
pub fn leer_lineas(
    conexion: &mut Conexion,
    cuantas: u64,
    plazo: Duration,
    mut con_cada: impl FnMut(&str) -> Result<(), FalloPar>,
) -> Result<(), FalloPar> {
    let limite = Instant::now() + plazo;
    for _ in 0..cuantas {
        let falta = limite.saturating_duration_since(Instant::now());
        let plazo = conexion.limites().respuesta.min(falta);
        let linea = conexion.leer_linea(plazo, "la lista")?;
        con_cada(&linea.ok_or(FalloRed::Cortada)?)?;
    }
    Ok(())
}

// ----- Preguntas sueltas, cada una por su conexión -----

/// `HOLA`: quién es ese peer. [`FalloPar::Cerro`] es la manera en que un nodo de la guía dice que
/// no conoce la palabra.
pub fn saludar(vecinos: &Vecinos, peer: SocketAddr) -> Result<Presentacion, FalloPar> {
    // Es una pregunta corta: se espera lo que diga `--espera`, no más.
    let limites = Limites {
        respuesta: vecinos.espera,
        ..vecinos.limites.clone()
    };
    presentarse(&mut vecinos.conectar(peer, &limites)?, vecinos)
}

/// Saluda por una conexión. Quien tiene dos direcciones cuenta una vez: la segunda es un error.
fn presentarse(conexion: &mut Conexion, vecinos: &Vecinos) -> Result<Presentacion, FalloPar> {
    let saludo = Palabra::Hola(vecinos.presentacion());
    let Respuesta::Hola(quien) = preguntar(conexion, &saludo)? else {
        return Err(no_es_respuesta());
    };
    match &quien.id {
        Some(id) if !vecinos.es_nuevo(id) => Err(FalloPar::Repetido(quien.nombre)),
        _ => Ok(quien),
    }
}

/// Abre una conexión con `peer` y le saluda. Con quien no sabe saludar se abre otra: la primera la
/// cerró.
fn saludando(vecinos: &Vecinos, peer: SocketAddr) -> Result<Conexion, FalloPar> {
    let mut conexion = vecinos.conectar(peer, &vecinos.limites)?;
    match presentarse(&mut conexion, vecinos) {
        Ok(_) => Ok(conexion),
        Err(fallo @ (FalloPar::Red(_) | FalloPar::Repetido(_))) => Err(fallo),
        Err(_) => Ok(vecinos.conectar(peer, &vecinos.limites)?),
    }
}

/// `LISTAR`: los archivos que comparte un peer.
pub fn listar_de(vecinos: &Vecinos, peer: SocketAddr) -> Result<Vec<Entrada>, FalloPar> {
    let mut entradas = Vec::new();
    let mut conexion = saludando(vecinos, peer)?;
    let plazo = conexion.limites().respuesta;
    listar_por(&mut conexion, plazo, |entrada| entradas.push(entrada))?;
    Ok(entradas)
}

/// `LISTAR`, y la conexión queda abierta para pedir por ella: da cada archivo a `con_cada` según
/// llega, y no guarda ninguno. A quien no saluda se le espera lo que diga `--espera`, no más.
pub fn listar_y_seguir(
    vecinos: &Vecinos,
    peer: SocketAddr,
    con_cada: impl FnMut(Entrada),
) -> Result<Conexion, FalloPar> {
    let mut sin_paciencia = vecinos.clone();
    sin_paciencia.limites.respuesta = vecinos.espera;
    let mut conexion = saludando(&sin_paciencia, peer)?;
    listar_por(&mut conexion, vecinos.limites.respuesta, con_cada)?;
    Ok(conexion)
}

fn listar_por(
    conexion: &mut Conexion,
    plazo: Duration,
    mut con_cada: impl FnMut(Entrada),
) -> Result<(), FalloPar> {
    mandar(conexion, &Palabra::Listar)?;
    let respuesta = leer_respuesta_en(conexion, plazo);
    let respuesta = respuesta.map_err(|fallo| no_es_la_guia(conexion, fallo));
    let Respuesta::Lista(anunciadas) = respuesta? else {
        return Err(no_es_respuesta());
    };
    if anunciadas > TOPE_DE_LISTA {
        let que = format!("anuncia una lista de {anunciadas} archivos");
        return Err(FalloPar::Miente(que));
    }
    let mut bytes = 0;
    leer_lineas(conexion, anunciadas, PLAZO_DE_LISTA, |linea| {
        let no_es = || FalloPar::Miente("su lista no son archivos".into());
        let entrada = Entrada::leer(linea).ok_or_else(no_es)?;
        bytes += entrada.nombre.len();
        if bytes > TOPE_DE_NOMBRES {
            return Err(FalloPar::Miente("su lista ocupa demasiado".into()));
        }
        con_cada(entrada);
        Ok(())
    })
}

/// `MENSAJE`: un texto para quien esté delante de ese peer.
pub fn enviar_mensaje(vecinos: &Vecinos, peer: SocketAddr, texto: &str) -> Result<(), FalloPar> {
    let mut conexion = saludando(vecinos, peer)?;
    let mensaje = Palabra::Mensaje {
        de: vecinos.nombre.clone(),
        texto: en_una_linea(texto),
    };
    match preguntar(&mut conexion, &mensaje)? {
        Respuesta::Recibido(_) => Ok(()),
        _ => Err(no_es_respuesta()),
    }
}

// ----- A quien no se sabe qué habla -----

/// Lo que habla alguien a quien se le pregunta por un archivo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoQueHabla {
    /// Lo nuestro, o lo de la guía; y si tiene el archivo.
    LoNuestro(bool),
    /// Otra cosa.
    Otra,
    /// Nada: cerró sin contestar.
    Nada,
}

/// Como acaba una petición HTTP. Los nuestros lo quitan, y un servidor HTTP contesta enseguida que
/// no entiende lo de delante, en vez de esperar a que siga.
pub const FIN_HTTP: &str = "\r\n\r\n";

/// Qué habla quien esté en `direccion`, y si tiene `nombre`: se le pregunta con la palabra de la
/// guía, y detrás `fin`.
///
/// # Errores
/// No hay nadie, o no contestó antes de `espera`.
pub fn que_habla(
    direccion: SocketAddr,
    (nombre, fin): (&str, &str),
    espera: Duration,
    limites: &Limites,
    parada: &Parada,
) -> Result<LoQueHabla, FalloRed> {
    let limite = Instant::now() + espera;
    let mut conexion = Conexion::conectar(direccion, espera, limites, parada)?;
    conexion.escribir_texto(&format!("{}{fin}", Palabra::Buscar(nombre.into())))?;
    while conexion.pendiente().len() < 2 {
        match conexion.recibir(limite, "la respuesta") {
            Ok(0) | Err(FalloRed::Cerrada | FalloRed::Cortada) => return Ok(LoQueHabla::Nada),
            Ok(_) => {}
            Err(fallo) => return Err(fallo),
        }
    }
    let respuesta = String::from_utf8_lossy(conexion.pendiente()).into_owned();
    conexion.anotar(&respuesta, respuesta.len());
    Ok(match respuesta.trim_end() {
        "SI" => LoQueHabla::LoNuestro(true),
        "NO" => LoQueHabla::LoNuestro(false),
        _ => LoQueHabla::Otra,
    })
}
