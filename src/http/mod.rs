//! HTTP/1.1 por la misma [`Conexion`] que todo lo demás: lee peticiones y escribe respuestas.
//!
//! No está en la guía: lo piden los documentos del curso que hablan de REST. Aquí está la
//! conversación, con sus plazos y sus topes: una petición por conexión (`Connection: close`). Qué
//! es una petición, en `peticion.rs`; una respuesta, en `respuesta.rs`; preguntar a otro, en
//! [`cliente`] y [`cuerpo`]. No sabe qué rutas hay ni qué es un archivo compartido.

pub mod cliente;
pub mod cuerpo;
mod peticion;
pub mod rango;
mod respuesta;
pub mod url;

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::red::conexion::{Conexion, FalloRed};
pub use peticion::{PeticionHttp, solo_admite};
use peticion::{interpretar, parece_de_navegador};
use respuesta::Cuerpo;
pub use respuesta::{
    Envio, Pieza, RespuestaHttp, con_lista, escapar, fecha_http, leer_fecha, pieza,
};

/// Plazo total para recibir un cuerpo corto, o el principio de uno largo.
const PLAZO_CUERPO: Duration = Duration::from_secs(30);
/// Hasta aquí un cuerpo es corto, en bytes: mil a la vez caben en memoria.
const CUERPO_CORTO: usize = 64 * 1024;
/// Lo que pase de ahí tiene que llegar sin pararse y a este ritmo, en bytes por segundo.
const RITMO: u64 = 128 * 1024;
const SIN_AVANCE: Duration = Duration::from_secs(2);
/// Plazo total para entregar una respuesta que no es un archivo.
const PLAZO_RESPUESTA: Duration = Duration::from_secs(60);
/// Hasta aquí una respuesta cabe en el búfer del sistema y sale sin plazo de escritura, en un solo
/// `write`.
const CORTA: usize = 8 * 1024;
/// Al cerrar con algo sin leer, cuánto se espera para que el otro vea la respuesta.
const DESPEDIDA: Duration = Duration::from_secs(2);

/// Por qué no se llegó a contestar lo normal.
#[derive(Debug)]
pub enum CorteHttp {
    /// Hay que contestar esto (un 4xx).
    Rechazo(Box<RespuestaHttp>),
    /// La conexión falló: ya no hay a quién contestar.
    Red(FalloRed),
}

impl From<FalloRed> for CorteHttp {
    fn from(fallo: FalloRed) -> CorteHttp {
        CorteHttp::Red(fallo)
    }
}

/// Un rechazo: `codigo` y el motivo, que va en el cuerpo.
pub fn rechazar(codigo: u16, motivo: impl Into<String>) -> CorteHttp {
    CorteHttp::Rechazo(Box::new(RespuestaHttp::fallo(codigo, motivo)))
}

/// Una conversación entera: lee la petición, escribe lo que diga `contestar` y deja la conexión
/// lista para cerrar.
pub fn atender(
    conexion: &mut Conexion,
    contestar: impl FnOnce(&mut Conexion, &mut PeticionHttp) -> Result<RespuestaHttp, CorteHttp>,
) -> Result<(), FalloRed> {
    let (peticion, contestado) = match leer_peticion(conexion) {
        Ok(mut peticion) => {
            let procede = peticion.comprobar_procedencia();
            let contestado = procede.and_then(|()| contestar(conexion, &mut peticion));
            (Some(peticion), contestado)
        }
        Err(corte) => (None, Err(corte)),
    };
    let de_navegador = match &peticion {
        Some(peticion) => peticion.quiere_html(),
        None => parece_de_navegador(conexion.pendiente()),
    };
    let mut respuesta = match contestado {
        Ok(respuesta) => respuesta,
        Err(CorteHttp::Rechazo(respuesta)) => *respuesta,
        Err(CorteHttp::Red(fallo)) => return Err(fallo),
    };
    if de_navegador {
        respuesta = respuesta.para_un_navegador();
    }
    let es_head = |peticion: &PeticionHttp| peticion.metodo == "HEAD";
    let solo_cabeza = peticion.as_ref().is_some_and(es_head);
    responder(conexion, solo_cabeza, respuesta).inspect_err(|_| conexion.cerrar_con_error())?;
    if peticion.is_none_or(|p| p.falta.is_some_and(|bytes| bytes > 0)) {
        conexion.cerrar_con_calma(DESPEDIDA);
    }
    Ok(())
}

/// Lee una petición hasta el final de sus cabeceras, en el plazo de
/// [`crate::config::Limites::peticion`] en total. Lo que ya estuviera pendiente en la conexión es
/// su principio.
fn leer_peticion(conexion: &mut Conexion) -> Result<PeticionHttp, CorteHttp> {
    let limite = Instant::now() + conexion.limites().peticion;
    loop {
        if let Some((peticion, largo)) = interpretar(conexion.pendiente())? {
            let linea = primera_linea(conexion.pendiente());
            conexion.anotar(&linea, largo);
            conexion.consumir(largo);
            return Ok(peticion);
        }
        if conexion.recibir(limite, "una petición HTTP")? == 0 {
            return Err(CorteHttp::Red(FalloRed::Cortada));
        }
    }
}

/// Lee el cuerpo de `peticion`, de `tope` bytes como mucho. Si es largo, para recibir lo que pase
/// de `CUERPO_CORTO` hay que conseguir un `permiso`, que se devuelve con él: es lo que ocupa de
/// verdad. La memoria crece con lo que llega, no con lo que se anuncia.
pub fn leer_cuerpo<P>(
    conexion: &mut Conexion,
    peticion: &mut PeticionHttp,
    tope: usize,
    permiso: impl FnOnce() -> Result<P, CorteHttp>,
) -> Result<(Vec<u8>, Option<P>), CorteHttp> {
    let largo = peticion.falta;
    let largo = largo.ok_or_else(|| rechazar(411, "falta Content-Length"))?;
    let largo = usize::try_from(largo).ok().filter(|&largo| largo <= tope);
    let no_cabe = || rechazar(413, format!("el cuerpo pasa del tope, {tope} bytes"));
    let largo = largo.ok_or_else(no_cabe)?;
    let pregunta = peticion.cabecera("expect");
    let pregunta = pregunta.is_some_and(|que| que.eq_ignore_ascii_case("100-continue"));
    if pregunta && conexion.pendiente().is_empty() {
        conexion.escribir_datos(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let (mut cuerpo, mut dado) = (Vec::new(), None);
    let limite = Instant::now() + PLAZO_CUERPO;
    recibir_hasta(conexion, &mut cuerpo, largo.min(CUERPO_CORTO), || limite)?;
    if cuerpo.len() < largo {
        dado = Some(permiso()?);
        let falta = largo - cuerpo.len();
        cuerpo.reserve_exact(falta);
        let limite = Instant::now() + SIN_AVANCE + Duration::from_secs(falta as u64 / RITMO);
        let limite = || limite.min(Instant::now() + SIN_AVANCE);
        recibir_hasta(conexion, &mut cuerpo, largo, limite)?;
    }
    peticion.falta = Some(0);
    conexion.anotar_datos(cuerpo.len());
    Ok((cuerpo, dado))
}

fn recibir_hasta(
    conexion: &mut Conexion,
    cuerpo: &mut Vec<u8>,
    largo: usize,
    limite: impl Fn() -> Instant,
) -> Result<(), CorteHttp> {
    while cuerpo.len() < largo {
        if conexion.pendiente().is_empty() {
            match conexion.recibir(limite(), "el cuerpo de la petición") {
                Ok(0) => return Err(CorteHttp::Red(FalloRed::Cortada)),
                Ok(_) => {}
                Err(FalloRed::Vencio(_)) => {
                    return Err(rechazar(408, "el cuerpo llega demasiado despacio"));
                }
                Err(fallo) => return Err(fallo.into()),
            }
        }
        let pendiente = conexion.pendiente();
        let cuantos = pendiente.len().min(largo - cuerpo.len());
        cuerpo.extend_from_slice(&pendiente[..cuantos]);
        conexion.consumir(cuantos);
    }
    Ok(())
}

/// Entiende un cuerpo como JSON, o lo rechaza (400) diciendo dónde está mal.
pub fn leer_json(cuerpo: &[u8]) -> Result<Value, CorteHttp> {
    serde_json::from_slice(cuerpo).map_err(|error| {
        let donde = format!("línea {}, columna {}", error.line(), error.column());
        rechazar(400, format!("el cuerpo no es JSON bien escrito ({donde})"))
    })
}

/// Escribe `respuesta`, o sólo su cabeza (`HEAD`). Lo que ya está en memoria, en un solo `write`.
fn responder(
    conexion: &mut Conexion,
    solo_cabeza: bool,
    respuesta: RespuestaHttp,
) -> Result<(), FalloRed> {
    let mut cabeza = respuesta.cabeza();
    conexion.anunciar(&primera_linea(&cabeza), cabeza.len())?;
    match respuesta.cuerpo {
        _ if solo_cabeza || respuesta.codigo == 304 => conexion.escribir_datos(&cabeza),
        Cuerpo::Memoria(datos) => {
            cabeza.extend(datos);
            if cabeza.len() > CORTA {
                conexion.prepararse_a_enviar()?;
                conexion.limitar_envio(PLAZO_RESPUESTA);
            }
            conexion.escribir_datos(&cabeza)
        }
        Cuerpo::Flujo { enviar, .. } => {
            conexion.prepararse_a_enviar()?;
            enviar(conexion, &cabeza)
        }
    }
}

/// Lo que se anota de un mensaje HTTP: su primera línea.
fn primera_linea(mensaje: &[u8]) -> String {
    let mensaje = mensaje.trim_ascii_start();
    let linea = mensaje.split(|&b| b == b'\r' || b == b'\n').next();
    String::from_utf8_lossy(linea.unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests;
