//! Servir archivos: `INFO`, `BLOQUES`, `TENGO` y `OBTENER`, y cómo se manda un tramo, en trozos
//! grandes.
//!
//! De mandar bytes se encarga [`enviar_tramo`], lo pida un nodo de la guía (`servidor.rs`), uno de
//! los nuestros, quien aceptó un envío (`descarga/envio.rs`) o un navegador (`web/`). No sabe quién
//! es este nodo ni qué más comparte.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::nodo::carpeta::disco::leer_en;
use crate::nodo::carpeta::huella::{BLOQUE, Resumen};
use crate::nodo::carpeta::huellas::{Estante, Existente};
use crate::nodo::carpeta::{Abierto, NoSeAbre};
use crate::nodo::palabras::protocolo::*;
use crate::nodo::palabras::tramos::Tramos;
use crate::red::conexion::{Conexion, FalloRed};

/// Cuánto se espera por una huella que aún se está calculando.
const ESPERA_DE_HUELLA: Duration = Duration::from_secs(5);
/// Bytes que se leen del archivo y se mandan de una vez. Medido: de 64 a 256 KiB da lo mismo; 8
/// KiB, menos de la mitad.
const TROZO: usize = 256 * 1024;
/// Bytes de una lista que se juntan antes de mandarlos: ninguna está entera en memoria.
const TROZO_DE_LISTA: usize = 32 * 1024;
/// Lo que puede tardar en salir una lista entera: quien la lee a cucharadas no la retiene más.
const PLAZO_DE_LISTA: Duration = Duration::from_secs(60);

/// Por qué se cierra una conexión antes de tiempo.
#[derive(Debug)]
pub enum Cierre {
    /// Falló la red, venció un plazo o mandaron algo que no cabe.
    Red(FalloRed),
    /// No quedan descriptores: se cierra sin decir ni sí ni no.
    SinDescriptores,
    /// No hay una palabra que valga en los primeros 16 bytes.
    Basura,
    /// El archivo cambió o se acabó mientras se enviaba.
    CambioMientrasSeEnviaba(String),
}

impl From<FalloRed> for Cierre {
    fn from(fallo: FalloRed) -> Cierre {
        Cierre::Red(fallo)
    }
}

impl fmt::Display for Cierre {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cierre::Red(fallo) => fallo.fmt(f),
            Cierre::SinDescriptores => f.write_str("no quedan descriptores de archivo"),
            Cierre::Basura => f.write_str("lo que mandó no es ninguna palabra"),
            Cierre::CambioMientrasSeEnviaba(que) => write!(f, "{que} cambió mientras se enviaba"),
        }
    }
}

/// Manda `cabecera` y los bytes `tramo` del archivo, en trozos grandes, o al ritmo que se haya
/// pedido. La cabecera sale con el primer trozo.
pub fn enviar_tramo(
    conexion: &mut Conexion,
    abierto: &Abierto,
    tramo: std::ops::Range<u64>,
    cabecera: &[u8],
) -> Result<(), Cierre> {
    let largo = (tramo.end - tramo.start).saturating_add(cabecera.len() as u64);
    let mut bufer = vec![0; usize::try_from(largo).unwrap_or(TROZO).min(TROZO)];
    bufer[..cabecera.len()].copy_from_slice(cabecera);
    let mut ocupado = cabecera.len();
    let mut desde = tramo.start;
    while ocupado > 0 || desde < tramo.end {
        let quiero = (bufer.len() - ocupado).min((tramo.end - desde) as usize);
        let quiero = conexion.limites().caudal.tomar(quiero);
        let destino = &mut bufer[ocupado..ocupado + quiero];
        let leido = leer_en(&abierto.archivo, desde, destino).map_err(FalloRed::Sistema)?;
        if leido == 0 && quiero > 0 {
            return Err(Cierre::CambioMientrasSeEnviaba("un archivo".into()));
        }
        conexion.escribir_datos(&bufer[..ocupado + leido])?;
        desde += leido as u64;
        ocupado = 0;
    }
    Ok(())
}

/// Contesta `ERROR`, y la conexión sigue.
pub fn rechazar(conexion: &mut Conexion, motivo: &str) -> Result<(), Cierre> {
    Ok(conexion.escribir_linea(Respuesta::Error(motivo.to_string()))?)
}

/// Bytes enviados de un archivo que mide `tamano`.
#[derive(Default)]
pub struct Enviado {
    /// De qué archivo.
    pub nombre: String,
    /// Cuántos.
    pub bytes: u64,
    /// Lo que mide entero.
    pub tamano: u64,
}

/// Las palabras con que se transfiere, sobre lo que haya en `estante`: las pida un cliente o quien
/// aceptó un envío, acabe de llegar o no. Devuelve lo que se envió, si se envió algo.
pub fn contestar_de_archivos(
    conexion: &mut Conexion,
    palabra: &Palabra,
    estante: &Estante,
    recien: bool,
) -> Result<Option<Enviado>, Cierre> {
    let fin = match palabra {
        Palabra::Info(nombre) => contestar_info(conexion, nombre, estante),
        Palabra::Bloques(que) => contestar_bloques(conexion, que, estante),
        Palabra::Tengo { desde, nombre } => contestar_tengo(conexion, *desde, nombre, estante),
        Palabra::Obtener {
            desde,
            longitud,
            nombre,
        } => {
            let pedido = (nombre.as_str(), *desde, *longitud);
            return contestar_tramo(conexion, pedido, estante, recien);
        }
        // A quien aceptó un envío sólo se le sirven esas, haya las que haya.
        _ => rechazar(conexion, "eso no se puede pedir aquí"),
    };
    fin.map(|()| None)
}

/// Contesta que no está, o cierra si es que no quedan descriptores.
fn no_esta(conexion: &mut Conexion, por_que: NoSeAbre) -> Result<(), Cierre> {
    match por_que {
        NoSeAbre::SinDescriptores => Err(Cierre::SinDescriptores),
        NoSeAbre::NoEsta => Ok(conexion.escribir_linea(Respuesta::NoLoTiene)?),
    }
}

/// `INFO`: sólo los archivos enteros tienen.
fn contestar_info(conexion: &mut Conexion, nombre: &str, estante: &Estante) -> Result<(), Cierre> {
    let abierto = match estante.abrir(nombre) {
        Ok(abierto) => abierto,
        Err(por_que) => return no_esta(conexion, por_que),
    };
    let resumen = estante.resumen(nombre, &abierto, ESPERA_DE_HUELLA);
    let (tamano, huella) = (abierto.tamano, resumen.map(|resumen| resumen.huella));
    Ok(conexion.escribir_linea(Respuesta::Info(Info { tamano, huella }))?)
}

/// Sus huellas, si se saben: las de lo que se está bajando, siempre.
fn resumen_de(existente: &Existente, estante: &Estante) -> Option<Arc<Resumen>> {
    match existente {
        Existente::Entero { nombre, abierto } => estante.resumen(nombre, abierto, ESPERA_DE_HUELLA),
        Existente::AMedio(parcial) => Some(Arc::clone(&parcial.resumen)),
    }
}

fn contestar_bloques(conexion: &mut Conexion, que: &str, estante: &Estante) -> Result<(), Cierre> {
    let existente = match estante.buscar(que) {
        Ok(existente) => existente,
        Err(por_que) => return no_esta(conexion, por_que),
    };
    match resumen_de(&existente, estante) {
        Some(resumen) => {
            let cuantos = Respuesta::Bloques(resumen.bloques.len() as u64);
            escribir_lista(conexion, &cuantos, resumen.bloques.iter())
        }
        None => rechazar(conexion, CALCULANDO),
    }
}

/// `TENGO`: los bloques que se pueden pedir ya, desde ese.
fn contestar_tengo(
    conexion: &mut Conexion,
    desde: u64,
    que: &str,
    estante: &Estante,
) -> Result<(), Cierre> {
    let existente = match estante.buscar(que) {
        Ok(existente) => existente,
        Err(por_que) => return no_esta(conexion, por_que),
    };
    let Some(resumen) = resumen_de(&existente, estante) else {
        return rechazar(conexion, CALCULANDO);
    };
    let tramos = match &existente {
        Existente::Entero { .. } => Tramos::todos(desde, resumen.bloques.len() as u64),
        Existente::AMedio(parcial) => Tramos::de(parcial.bloques(desde)),
    };
    if tramos.vacios() {
        return Ok(conexion.escribir_linea(Respuesta::NoLoTiene)?);
    }
    let existencias = Existencias {
        tamano: existente.abierto().tamano,
        huella: resumen.huella,
        tramos,
    };
    let caben = existencias.en_una_linea_de(conexion.limites().linea);
    Ok(conexion.escribir_linea(Respuesta::Tengo(caben))?)
}

/// Manda una respuesta y las líneas que la siguen, por trozos: ninguna lista está entera en
/// memoria.
pub fn escribir_lista(
    conexion: &mut Conexion,
    respuesta: &Respuesta,
    lineas: impl Iterator<Item = impl fmt::Display>,
) -> Result<(), Cierre> {
    conexion.limitar_envio(PLAZO_DE_LISTA);
    let mut trozo = format!("{respuesta}\n");
    for linea in lineas {
        trozo.push_str(&format!("{linea}\n"));
        if trozo.len() >= TROZO_DE_LISTA {
            conexion.escribir_texto(&trozo)?;
            trozo.clear();
        }
    }
    conexion.escribir_texto(&trozo)?;
    conexion.sin_limite_de_envio();
    Ok(())
}

/// `OBTENER`: lo que pase del final se recorta. Lo que se envió, si no empezaba más allá, si ya
/// está aquí y si no se mandaba ya bastante a la vez.
fn contestar_tramo(
    conexion: &mut Conexion,
    (que, desde, longitud): (&str, u64, u64),
    estante: &Estante,
    recien: bool,
) -> Result<Option<Enviado>, Cierre> {
    let existente = match estante.buscar(que) {
        Ok(existente) => existente,
        Err(por_que) => return no_esta(conexion, por_que).map(|()| None),
    };
    let tamano = existente.abierto().tamano;
    if desde > tamano {
        let motivo = format!("el archivo mide {tamano} bytes");
        return rechazar(conexion, &motivo).map(|()| None);
    }
    let tramo = desde..desde.saturating_add(longitud).min(tamano);
    if let Existente::AMedio(parcial) = &existente
        && !parcial.tiene(&tramo)
    {
        return rechazar(conexion, AUN_NO).map(|()| None);
    }
    let es_un_bloque = desde % BLOQUE == 0 && tramo.end - tramo.start == BLOQUE;
    let bloque = es_un_bloque.then_some((existente.abierto().sello.archivo, desde));
    let Some(_turno) = estante.ventanilla.tomar(bloque, recien) else {
        return rechazar(conexion, OCUPADO).map(|()| None);
    };
    let bytes = tramo.end - tramo.start;
    let cabecera = format!("{}\n", Respuesta::Datos(bytes));
    conexion.anunciar(&cabecera, cabecera.len())?;
    enviar_tramo(conexion, existente.abierto(), tramo, cabecera.as_bytes())?;
    Ok(Some(Enviado {
        nombre: existente.nombre().to_string(),
        bytes,
        tamano,
    }))
}
