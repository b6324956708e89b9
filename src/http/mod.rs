//! HTTP/1.1 por la misma [`Conexion`] que todo lo demás: lee peticiones y escribe respuestas.
//!
//! No está en la guía: lo piden los documentos del curso que hablan de REST. Aquí está la conversación, con sus plazos
//! y sus topes: una petición por conexión (`Connection: close`). Qué es una petición, en `peticion.rs`; una respuesta, en
//! `respuesta.rs`; preguntar a otro, en [`cliente`]. No sabe qué rutas hay ni qué es un archivo compartido.

pub mod cliente;
mod peticion;
pub mod rango;
mod respuesta;
pub mod url;

use std::time::{Duration, Instant};

use log::debug;
use serde_json::Value;

use crate::red::conexion::{Conexion, FalloRed};
use peticion::interpretar;
pub use peticion::{Metodo, Peticion};
use respuesta::Cuerpo;
pub use respuesta::{Envio, Respuesta};

/// Plazo total para recibir el cuerpo de una petición.
const PLAZO_CUERPO: Duration = Duration::from_secs(30);
/// Plazo total para entregar una respuesta que está entera en memoria.
const PLAZO_RESPUESTA: Duration = Duration::from_secs(60);
/// Hasta aquí una respuesta cabe en el búfer del sistema y sale sin plazo de escritura, en un solo `write`.
const CORTA: usize = 8 * 1024;
/// Lo que se escribe de una vez en una respuesta larga, en bytes.
const TROZO: usize = 256 * 1024;
/// Al cerrar con algo sin leer, cuánto se espera para que el otro vea la respuesta.
const DESPEDIDA: Duration = Duration::from_secs(2);

/// Por qué no se llegó a contestar lo normal.
#[derive(Debug)]
pub enum Corte {
    /// Hay que contestar esto (un 4xx).
    Rechazo(Box<Respuesta>),
    /// La conexión falló: ya no hay a quién contestar.
    Red(FalloRed),
}

impl From<FalloRed> for Corte {
    fn from(fallo: FalloRed) -> Corte {
        Corte::Red(fallo)
    }
}

/// Un rechazo: `codigo` y el motivo, que va en el cuerpo.
pub fn rechazar(codigo: u16, motivo: impl Into<String>) -> Corte {
    Corte::Rechazo(Box::new(Respuesta::fallo(codigo, motivo)))
}

/// Una conversación entera: lee la petición, escribe lo que diga `contestar` y deja la conexión lista para cerrar.
///
/// # Errores
/// La conexión falló o el otro no mandó una petición entera a tiempo.
pub fn atender(
    conexion: &mut Conexion,
    contestar: impl FnOnce(&mut Conexion, &mut Peticion) -> Result<Respuesta, Corte>,
) -> Result<(), FalloRed> {
    let (respuesta, sin_cuerpo, queda_algo) = match leer_peticion(conexion) {
        Ok(mut peticion) => {
            let respuesta = o_rechazo(contestar(conexion, &mut peticion))?;
            (
                respuesta,
                peticion.metodo == Metodo::Head,
                peticion.largo() > 0,
            )
        }
        Err(corte) => (o_rechazo(Err(corte))?, false, true),
    };
    responder(conexion, sin_cuerpo, respuesta)?;
    if queda_algo {
        conexion.cerrar_con_calma(DESPEDIDA);
    }
    Ok(())
}

fn o_rechazo(contestado: Result<Respuesta, Corte>) -> Result<Respuesta, FalloRed> {
    match contestado {
        Ok(respuesta) => Ok(respuesta),
        Err(Corte::Rechazo(respuesta)) => Ok(*respuesta),
        Err(Corte::Red(fallo)) => Err(fallo),
    }
}

/// Lee una petición hasta el final de sus cabeceras, en el plazo de [`crate::config::Limites::peticion`] en total. Lo
/// que ya estuviera pendiente en la conexión es su principio.
///
/// # Errores
/// No es HTTP/1, no cabe o no se admite (con lo que hay que contestar); o la conexión falló.
pub fn leer_peticion(conexion: &mut Conexion) -> Result<Peticion, Corte> {
    let limite = Instant::now() + conexion.limites().peticion;
    loop {
        if let Some((peticion, largo)) = interpretar(conexion.pendiente())? {
            conexion.consumir(largo);
            debug!(
                "← {} HTTP {:?} {}",
                conexion.otro(),
                peticion.metodo,
                peticion.ruta
            );
            return Ok(peticion);
        }
        if conexion.recibir(limite, "una petición HTTP")? == 0 {
            return Err(Corte::Red(FalloRed::Cortada));
        }
    }
}

/// Lee el cuerpo de `peticion`, de `tope` bytes como mucho y en 30 s en total. La memoria crece con lo
/// que llega, no con lo que se anuncia.
///
/// # Errores
/// No dice cuánto ocupa (411) o es demasiado (413); o la conexión falló.
pub fn leer_cuerpo(
    conexion: &mut Conexion,
    peticion: &mut Peticion,
    tope: usize,
) -> Result<Vec<u8>, Corte> {
    let largo = peticion
        .falta
        .ok_or_else(|| rechazar(411, "falta Content-Length"))?;
    let largo = usize::try_from(largo)
        .ok()
        .filter(|&largo| largo <= tope)
        .ok_or_else(|| rechazar(413, format!("el cuerpo pasa del tope, {tope} bytes")))?;
    if peticion.espera_permiso && conexion.pendiente().is_empty() {
        conexion.escribir_datos(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let limite = Instant::now() + PLAZO_CUERPO;
    let mut cuerpo = Vec::new();
    while cuerpo.len() < largo {
        if conexion.pendiente().is_empty()
            && conexion.recibir(limite, "el cuerpo de la petición")? == 0
        {
            return Err(Corte::Red(FalloRed::Cortada));
        }
        let pendiente = conexion.pendiente();
        let cuantos = pendiente.len().min(largo - cuerpo.len());
        cuerpo.extend_from_slice(&pendiente[..cuantos]);
        conexion.consumir(cuantos);
    }
    peticion.falta = Some(0);
    Ok(cuerpo)
}

/// Lee el cuerpo como JSON.
///
/// # Errores
/// Los de [`leer_cuerpo`], y 400 si no es JSON.
pub fn leer_json(
    conexion: &mut Conexion,
    peticion: &mut Peticion,
    tope: usize,
) -> Result<Value, Corte> {
    let cuerpo = leer_cuerpo(conexion, peticion, tope)?;
    serde_json::from_slice(&cuerpo).map_err(|error| {
        let donde = format!("línea {}, columna {}", error.line(), error.column());
        rechazar(400, format!("el cuerpo no es JSON bien escrito ({donde})"))
    })
}

/// Escribe `respuesta` (`sin_cuerpo`: sólo la cabeza, como pide `HEAD`). Si es corta, en un solo `write`.
///
/// # Errores
/// El otro cerró o no recibe.
pub fn responder(
    conexion: &mut Conexion,
    sin_cuerpo: bool,
    respuesta: Respuesta,
) -> Result<(), FalloRed> {
    debug!("→ {} HTTP {}", conexion.otro(), respuesta.codigo);
    let mut cabeza = respuesta.cabeza();
    match respuesta.cuerpo {
        _ if sin_cuerpo || respuesta.codigo == 304 => conexion.escribir_datos(&cabeza),
        Cuerpo::Memoria(datos) if cabeza.len() + datos.len() <= CORTA => {
            cabeza.extend(datos);
            conexion.escribir_datos(&cabeza)
        }
        Cuerpo::Memoria(datos) => {
            conexion.prepararse_a_enviar()?;
            conexion.escribir_datos(&cabeza)?;
            escribir_larga(conexion, &datos)
        }
        Cuerpo::Flujo { enviar, .. } => {
            conexion.prepararse_a_enviar()?;
            enviar(conexion, &cabeza).inspect_err(|_| conexion.cerrar_con_error())
        }
    }
}

/// Quien lee a cucharadas no puede retener para siempre una respuesta grande en nuestra memoria.
fn escribir_larga(conexion: &mut Conexion, datos: &[u8]) -> Result<(), FalloRed> {
    let limite = Instant::now() + PLAZO_RESPUESTA;
    for trozo in datos.chunks(TROZO) {
        if Instant::now() >= limite {
            conexion.cerrar_con_error();
            return Err(FalloRed::Vencio("que el otro reciba la respuesta"));
        }
        conexion.escribir_datos(trozo)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
