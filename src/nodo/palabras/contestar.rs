//! Las palabras ampliadas, vistas desde quien las contesta; y cómo se manda un tramo de un archivo.
//!
//! De mandar bytes se encarga [`enviar_tramo`], lo pida un nodo de la guía (`servidor.rs`), uno de los
//! nuestros, quien aceptó un envío (`descarga/envio.rs`) o un navegador (`web/`). No pinta: avisa.

use std::fmt;
use std::time::{Duration, Instant};

use log::{debug, warn};

use crate::config::{MAX_MENSAJE, nombre_de_nodo_valido};
use crate::nodo::carpeta::disco::leer_en;
use crate::nodo::carpeta::huellas::Estante;
use crate::nodo::carpeta::{Abierto, NoSeAbre};
use crate::nodo::descarga::envio;
use crate::nodo::palabras::protocolo::*;
use crate::nodo::{Mensaje, Nodo};
use crate::red::conexion::{Conexion, FalloRed};
use crate::texto::tamano as texto_tamano;

/// Cuánto se espera por una huella que aún se está calculando.
const ESPERA_DE_HUELLA: Duration = Duration::from_secs(5);
/// Bytes que se leen del archivo y se mandan de una vez. Medido: de 64 a 256 KiB da lo mismo; 8 KiB,
/// menos de la mitad.
const TROZO: usize = 256 * 1024;
/// Bytes de una lista que se juntan antes de mandarlos: ninguna está entera en memoria.
const TROZO_DE_LISTA: usize = 32 * 1024;
/// Lo que puede tardar en salir una lista entera: quien la lee a cucharadas no la retiene más.
const PLAZO_DE_LISTA: Duration = Duration::from_secs(60);
/// Cuánto se espera a que cierre quien mandó algo que no se entiende, para que alcance a leer por qué.
const DESPEDIDA: Duration = Duration::from_millis(500);

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

/// Una línea tras otra hasta que el otro cierre, calle o diga algo que no se entiende. La primera tiene
/// que estar entera antes de `primera`: reconocer su palabra ya gastó parte del plazo.
pub fn conversar(conexion: &mut Conexion, primera: Instant, nodo: &Nodo) -> Result<(), Corte> {
    conexion.prepararse_a_enviar()?;
    let mut envios = Envios::default();
    let mut plazo = primera.saturating_duration_since(Instant::now());
    let fin = loop {
        let palabra = match conexion.leer_linea(plazo, "la petición") {
            Ok(Some(linea)) => Palabra::leer(&linea),
            Ok(None) => break Ok(()),
            Err(FalloRed::LineaLarga) => break despedir(conexion, "línea de más de 4096 bytes"),
            Err(FalloRed::NoEsTexto) => break despedir(conexion, "la línea no es texto UTF-8"),
            Err(fallo) => break Err(fallo.into()),
        };
        let contestado = match palabra {
            Ok(Palabra::Ofrecer(nombre)) => break envio::recibir_ofrecido(conexion, &nombre, nodo),
            Ok(palabra) => contestar(conexion, palabra, nodo, &mut envios),
            Err(no_se_entiende) => break despedir(conexion, &no_se_entiende.to_string()),
        };
        if let Err(corte) = contestado {
            break Err(corte);
        }
        plazo = conexion.limites().peticion;
    };
    nodo.avisador.destacar(envios.contar_el_ultimo(conexion));
    fin
}

/// Contesta `ERROR` y cierra de modo que el otro alcance a leerlo.
fn despedir(conexion: &mut Conexion, motivo: &str) -> Result<(), Corte> {
    conexion.escribir_linea(Respuesta::Error(motivo.to_string()))?;
    conexion.cerrar_con_calma(DESPEDIDA);
    Ok(())
}

/// Contesta una palabra. El compilador pide aquí un brazo por cada una.
fn contestar(
    conexion: &mut Conexion,
    palabra: Palabra,
    nodo: &Nodo,
    envios: &mut Envios,
) -> Result<(), Corte> {
    match palabra {
        Palabra::Hola(_) => {
            let quien = Presentacion {
                puerto: nodo.direccion.port(),
                nombre: nodo.vecinos.nombre.clone(),
            };
            Ok(conexion.escribir_linea(Respuesta::Hola(quien))?)
        }
        Palabra::Listar => contestar_lista(conexion, nodo),
        Palabra::Mensaje { de, texto } => contestar_mensaje(conexion, de, texto, nodo),
        Palabra::Info(_) | Palabra::Bloques(_) | Palabra::Obtener { .. } => {
            let tramo = contestar_de_archivos(conexion, &palabra, &nodo.estante)?;
            nodo.avisador.destacar(envios.sumar(conexion, tramo));
            Ok(())
        }
        // Las de la guía sólo valen como primera petición, y a `OFRECER` se llega antes.
        Palabra::Buscar(_) | Palabra::Descargar(_) | Palabra::Ofrecer(_) => {
            let motivo = NoSeEntiende::Palabra.to_string();
            Ok(conexion.escribir_linea(Respuesta::Error(motivo))?)
        }
    }
}

/// `LISTAR`: los archivos con lo que se sepa de su huella. Lo que falte se calcula de fondo.
fn contestar_lista(conexion: &mut Conexion, nodo: &Nodo) -> Result<(), Corte> {
    let archivos = match nodo.lista() {
        Ok(archivos) => archivos,
        Err(fallo) => {
            warn!("{fallo}");
            let motivo = fallo.publico().to_string();
            return Ok(conexion.escribir_linea(Respuesta::Error(motivo))?);
        }
    };
    nodo.estante.repasar(&archivos);
    conexion.limitar_envio(PLAZO_DE_LISTA);
    let mut trozo = format!("{}\n", Respuesta::Lista(archivos.len() as u64));
    for archivo in archivos.iter() {
        let conocido = nodo.estante.conocido(archivo);
        let entrada = Entrada {
            tamano: archivo.tamano,
            huella: conocido.map(|resumen| resumen.huella),
            nombre: archivo.nombre.clone(),
        };
        trozo.push_str(&format!("{entrada}\n"));
        if trozo.len() >= TROZO_DE_LISTA {
            conexion.escribir_texto(&trozo)?;
            trozo.clear();
        }
    }
    conexion.escribir_texto(&trozo)?;
    conexion.sin_limite_de_envio();
    Ok(())
}

/// `MENSAJE`: se guarda antes de contestar, así `RECIBIDO` es verdad aunque la pantalla no dé abasto.
fn contestar_mensaje(
    conexion: &mut Conexion,
    de: String,
    texto: String,
    nodo: &Nodo,
) -> Result<(), Corte> {
    if texto.len() > MAX_MENSAJE {
        let largo = texto.len();
        let motivo = format!("el mensaje tiene {largo} bytes y el tope es {MAX_MENSAJE}");
        return Ok(conexion.escribir_linea(Respuesta::Error(motivo))?);
    }
    if !nombre_de_nodo_valido(&de) {
        let motivo = "nombre de nodo no válido".into();
        return Ok(conexion.escribir_linea(Respuesta::Error(motivo))?);
    }
    let mensaje = Mensaje {
        de,
        desde: conexion.otro(),
        cuando: Instant::now(),
        texto,
    };
    let linea = mensaje.to_string();
    nodo.guardar_mensaje(mensaje);
    nodo.avisador.destacar(vec![linea]);
    Ok(conexion.escribir_linea(Respuesta::Recibido(None))?)
}

/// Bytes enviados de un archivo que mide `tamano`.
#[derive(Default)]
pub struct Enviado {
    nombre: String,
    /// Cuántos.
    pub bytes: u64,
    tamano: u64,
}

/// Lo que se lleva enviado del último archivo por una conexión, para contarlo una vez. Con varias
/// fuentes, cada una sólo envía una parte.
#[derive(Default)]
struct Envios(Enviado);

impl Envios {
    /// Suma otro tramo. Lo que hay que contar: que con él se envió el archivo entero, o que se pasó a
    /// otro sin acabar el de antes.
    fn sumar(&mut self, conexion: &Conexion, tramo: Option<Enviado>) -> Vec<String> {
        let Some(tramo) = tramo else {
            return Vec::new();
        };
        let mut lineas = Vec::new();
        if tramo.nombre == self.0.nombre {
            self.0.bytes += tramo.bytes;
        } else {
            lineas = self.contar_el_ultimo(conexion);
            self.0 = tramo;
        }
        if self.0.bytes >= self.0.tamano {
            let nombre = std::mem::take(&mut self.0).nombre;
            lineas.push(format!("[ENVÍO COMPLETO] {nombre}"));
        }
        lineas
    }

    /// Lo que hay que contar si el último se quedó en una parte.
    fn contar_el_ultimo(&mut self, conexion: &Conexion) -> Vec<String> {
        let Enviado { nombre, bytes, .. } = std::mem::take(&mut self.0);
        let parte = (bytes > 0).then(|| {
            let cuanto = texto_tamano(bytes);
            format!("[ENVÍO] {cuanto} de {nombre} a {}", conexion.otro())
        });
        parte.into_iter().collect()
    }
}

/// `INFO`, `BLOQUES` y `OBTENER` sobre lo que haya en `estante`: las tres palabras con que se transfiere, vengan de un
/// cliente o de quien aceptó un envío. Devuelve lo que se envió, si se envió algo.
///
/// # Errores
/// Falló la red, no quedan descriptores o el archivo cambió a medias: hay que cerrar.
pub fn contestar_de_archivos(
    conexion: &mut Conexion,
    peticion: &Palabra,
    estante: &Estante,
) -> Result<Option<Enviado>, Corte> {
    let (Palabra::Info(nombre) | Palabra::Bloques(nombre) | Palabra::Obtener { nombre, .. }) =
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
        Palabra::Obtener {
            desde, longitud, ..
        } => {
            let bytes = responder_tramo(conexion, &abierto, *desde, *longitud)?;
            return Ok(bytes.map(|bytes| Enviado {
                nombre: nombre.clone(),
                bytes,
                tamano: abierto.tamano,
            }));
        }
        Palabra::Info(_) => responder_info(conexion, nombre, &abierto, estante)?,
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
