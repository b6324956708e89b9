//! Servir archivos por una conexión: `INFO`, `BLOQUES` y `OBTENER`, y el envío de un tramo en trozos grandes.
//!
//! Lo usan quien atiende a un par (`servidor.rs`), quien envía lo que le aceptaron (`envio.rs`) y quien contesta a un
//! navegador (`rest.rs`): todos mandan los bytes de la misma manera. No sabe de pantalla.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use log::debug;

use crate::nodo::carpeta::disco::leer_en;
use crate::nodo::carpeta::huellas::Estante;
use crate::nodo::carpeta::{Abierto, NoSeAbre};
use crate::nodo::evento::Evento;
use crate::nodo::palabras::protocolo::{CALCULANDO, Info, Peticion, Respuesta};
use crate::red::conexion::{Conexion, FalloRed};

/// Cuánto se espera por una huella que aún se está calculando.
const ESPERA_DE_HUELLA: Duration = Duration::from_secs(5);
/// Bytes que se leen del archivo y se mandan de una vez. Medido: de 64 a 256 KiB da lo mismo; 8 KiB, menos de la mitad.
const TROZO: usize = 256 * 1024;

/// Por qué se cierra una conexión antes de tiempo.
#[derive(Debug)]
pub enum Corte {
    /// Falló la red, venció un plazo o mandaron algo que no cabe.
    Red(FalloRed),
    /// No quedan descriptores: se cierra sin decir ni sí ni no.
    SinDescriptores,
    /// No hay una palabra que valga en los primeros 16 bytes.
    Basura,
    /// El archivo cambió o se acabó mientras se enviaba.
    CambioMientrasSeEnviaba(String),
}

impl From<FalloRed> for Corte {
    fn from(fallo: FalloRed) -> Corte {
        Corte::Red(fallo)
    }
}

impl fmt::Display for Corte {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Corte::Red(fallo) => fallo.fmt(f),
            Corte::SinDescriptores => f.write_str("no quedan descriptores de archivo"),
            Corte::Basura => f.write_str("lo que mandó no es ninguna palabra"),
            Corte::CambioMientrasSeEnviaba(nombre) => {
                write!(f, "{nombre} cambió mientras se enviaba")
            }
        }
    }
}

/// Manda `cabecera` y los bytes `tramo` del archivo, en trozos grandes. La cabecera sale con el primer trozo.
///
/// # Errores
/// El archivo se acabó antes de lo que medía, o falló la red.
pub fn enviar_tramo(
    conexion: &mut Conexion,
    abierto: &Abierto,
    tramo: std::ops::Range<u64>,
    cabecera: &[u8],
) -> Result<(), Corte> {
    let largo = (tramo.end - tramo.start).saturating_add(cabecera.len() as u64);
    let mut bufer = vec![0; usize::try_from(largo).unwrap_or(TROZO).min(TROZO)];
    bufer[..cabecera.len()].copy_from_slice(cabecera);
    let mut ocupado = cabecera.len();
    let mut desde = tramo.start;
    while ocupado > 0 || desde < tramo.end {
        let quiero = (bufer.len() - ocupado).min((tramo.end - desde) as usize);
        let leido = leer_en(
            &abierto.archivo,
            desde,
            &mut bufer[ocupado..ocupado + quiero],
        )
        .map_err(|e| Corte::Red(FalloRed::Sistema(e)))?;
        if leido == 0 && quiero > 0 {
            return Err(Corte::CambioMientrasSeEnviaba("un archivo".into()));
        }
        conexion.escribir_datos(&bufer[..ocupado + leido])?;
        desde += leido as u64;
        ocupado = 0;
    }
    Ok(())
}

/// Lo que se ha enviado de un archivo por una conexión. Con varias fuentes, cada una sólo envía una parte.
#[derive(Default)]
pub struct Enviado {
    nombre: String,
    bytes: u64,
    tamano: u64,
}

impl Enviado {
    /// Un tramo de `bytes` de un archivo de `tamano` bytes.
    fn tramo(nombre: &str, bytes: u64, tamano: u64) -> Enviado {
        Enviado {
            nombre: nombre.to_string(),
            bytes,
            tamano,
        }
    }

    /// Suma otro tramo. Si con él se envió el archivo entero, da lo que hay que contar.
    pub fn sumar(&mut self, tramo: Option<Enviado>) -> Option<Evento> {
        let tramo = tramo?;
        if tramo.nombre == self.nombre {
            self.bytes += tramo.bytes;
        } else {
            *self = tramo;
        }
        (self.bytes >= self.tamano).then(|| Evento::EnvioCompleto(std::mem::take(self).nombre))
    }

    /// Al cerrar la conexión con `a`: lo que hay que contar, si se quedó en una parte.
    pub fn parcial(self, a: SocketAddr) -> Option<Evento> {
        let Enviado { nombre, bytes, .. } = self;
        (bytes > 0).then_some(Evento::EnvioParcial { nombre, bytes, a })
    }

    /// Bytes enviados.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// `INFO`, `BLOQUES` y `OBTENER` sobre lo que haya en `estante`: las tres palabras con que se transfiere, vengan de un
/// cliente o de quien aceptó un envío. Devuelve lo que se envió, si se envió algo.
///
/// # Errores
/// Falló la red, no quedan descriptores o el archivo cambió a medias: hay que cerrar.
pub fn responder_de_archivos(
    conexion: &mut Conexion,
    peticion: &Peticion,
    estante: &Estante,
) -> Result<Option<Enviado>, Corte> {
    let (Peticion::Info(nombre) | Peticion::Bloques(nombre) | Peticion::Obtener { nombre, .. }) =
        peticion
    else {
        conexion.escribir_linea(Respuesta::Error("eso no se puede pedir aquí".into()))?;
        return Ok(None);
    };
    let abierto = match estante.abrir(nombre) {
        Ok(abierto) => abierto,
        Err(NoSeAbre::SinDescriptores) => return Err(Corte::SinDescriptores),
        Err(NoSeAbre::NoEsta) => {
            conexion.escribir_linea(Respuesta::NoLoTiene)?;
            return Ok(None);
        }
    };
    match peticion {
        Peticion::Obtener {
            desde, longitud, ..
        } => {
            let bytes = responder_tramo(conexion, &abierto, *desde, *longitud)?;
            return Ok(bytes.map(|bytes| Enviado::tramo(nombre, bytes, abierto.tamano)));
        }
        Peticion::Info(_) => responder_info(conexion, nombre, &abierto, estante)?,
        _ => responder_bloques(conexion, nombre, &abierto, estante)?,
    }
    Ok(None)
}

fn responder_info(
    conexion: &mut Conexion,
    nombre: &str,
    abierto: &Abierto,
    estante: &Estante,
) -> Result<(), Corte> {
    let resumen = estante.resumen(nombre, abierto, ESPERA_DE_HUELLA);
    let info = Info {
        tamano: abierto.tamano,
        huella: resumen.map(|r| r.huella),
    };
    Ok(conexion.escribir_linea(Respuesta::Info(info))?)
}

fn responder_bloques(
    conexion: &mut Conexion,
    nombre: &str,
    abierto: &Abierto,
    estante: &Estante,
) -> Result<(), Corte> {
    let Some(resumen) = estante.resumen(nombre, abierto, ESPERA_DE_HUELLA) else {
        return Ok(conexion.escribir_linea(Respuesta::Error(CALCULANDO.into()))?);
    };
    let mut lineas = format!("{}\n", Respuesta::Bloques(resumen.bloques.len() as u64));
    for bloque in &resumen.bloques {
        lineas.push_str(&format!("{bloque}\n"));
    }
    Ok(conexion.escribir_texto(&lineas)?)
}

/// `OBTENER`: lo que pase del final se recorta. Cuántos bytes se enviaron; `None` si empezaba más allá del final.
fn responder_tramo(
    conexion: &mut Conexion,
    abierto: &Abierto,
    desde: u64,
    longitud: u64,
) -> Result<Option<u64>, Corte> {
    if desde > abierto.tamano {
        let motivo = format!("el archivo mide {} bytes", abierto.tamano);
        conexion.escribir_linea(Respuesta::Error(motivo))?;
        return Ok(None);
    }
    let hasta = desde.saturating_add(longitud).min(abierto.tamano);
    let cabecera = Respuesta::Datos(hasta - desde).to_string();
    debug!("→ {} {cabecera}", conexion.otro());
    enviar_tramo(
        conexion,
        abierto,
        desde..hasta,
        format!("{cabecera}\n").as_bytes(),
    )?;
    Ok(Some(hasta - desde))
}
