//! Las palabras ampliadas, vistas desde quien las contesta; y cómo se manda un tramo de un archivo.
//!
//! De mandar bytes se encarga [`enviar_tramo`], lo pida un nodo de la guía (`servidor.rs`), uno de
//! los nuestros, quien aceptó un envío (`descarga/envio.rs`) o un navegador (`web/`). No pinta:
//! avisa.

use std::fmt;
use std::time::{Duration, Instant};

use log::{debug, warn};

use crate::config::MAX_MENSAJE;
use crate::guia::ENVIO_COMPLETO;
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
/// Bytes que se leen del archivo y se mandan de una vez. Medido: de 64 a 256 KiB da lo mismo; 8
/// KiB, menos de la mitad.
const TROZO: usize = 256 * 1024;
/// Bytes de una lista que se juntan antes de mandarlos: ninguna está entera en memoria.
const TROZO_DE_LISTA: usize = 32 * 1024;
/// Lo que puede tardar en salir una lista entera: quien la lee a cucharadas no la retiene más.
const PLAZO_DE_LISTA: Duration = Duration::from_secs(60);
/// Cuánto se espera a que cierre quien mandó algo que no se entiende, para que alcance a leer por
/// qué.
const DESPEDIDA: Duration = Duration::from_millis(500);

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
            Cierre::CambioMientrasSeEnviaba(nombre) => {
                write!(f, "{nombre} cambió mientras se enviaba")
            }
        }
    }
}

/// Manda `cabecera` y los bytes `tramo` del archivo, en trozos grandes. La cabecera sale con el
/// primer trozo.
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
        let leido = leer_en(
            &abierto.archivo,
            desde,
            &mut bufer[ocupado..ocupado + quiero],
        )
        .map_err(|e| Cierre::Red(FalloRed::Sistema(e)))?;
        if leido == 0 && quiero > 0 {
            return Err(Cierre::CambioMientrasSeEnviaba("un archivo".into()));
        }
        conexion.escribir_datos(&bufer[..ocupado + leido])?;
        desde += leido as u64;
        ocupado = 0;
    }
    Ok(())
}

/// Una línea tras otra hasta que el otro cierre, calle o diga algo que no se entiende. La primera
/// tiene que estar entera antes de `primera`: reconocer su palabra ya gastó parte del plazo.
pub fn conversar(conexion: &mut Conexion, primera: Instant, nodo: &Nodo) -> Result<(), Cierre> {
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
            Ok(palabra) => contestar(conexion, &palabra, nodo, &mut envios),
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
fn despedir(conexion: &mut Conexion, motivo: &str) -> Result<(), Cierre> {
    conexion.escribir_linea(Respuesta::Error(motivo.to_string()))?;
    conexion.cerrar_con_calma(DESPEDIDA);
    Ok(())
}

/// Contesta una palabra. El compilador pide aquí un brazo por cada una.
fn contestar(
    conexion: &mut Conexion,
    palabra: &Palabra,
    nodo: &Nodo,
    envios: &mut Envios,
) -> Result<(), Cierre> {
    match palabra {
        Palabra::Hola(otro) => contestar_hola(conexion, otro, nodo),
        Palabra::Listar => contestar_lista(conexion, nodo),
        Palabra::Mensaje { de, texto } => contestar_mensaje(conexion, de, texto, nodo),
        Palabra::Info(_) | Palabra::Bloques(_) | Palabra::Obtener { .. } => {
            let tramo = contestar_de_archivos(conexion, palabra, &nodo.estante)?;
            nodo.avisador.destacar(envios.sumar(conexion, tramo));
            Ok(())
        }
        // Las de la guía sólo valen como primera petición, y a `OFRECER` se llega antes.
        Palabra::Buscar(_) | Palabra::Descargar(_) | Palabra::Ofrecer(_) => {
            rechazar(conexion, &NoSeEntiende::Palabra.to_string())
        }
    }
}

/// Contesta `ERROR`, y la conexión sigue.
fn rechazar(conexion: &mut Conexion, motivo: &str) -> Result<(), Cierre> {
    Ok(conexion.escribir_linea(Respuesta::Error(motivo.to_string()))?)
}

/// `HOLA`: lo mismo, nuestro; con `id` si lo trajo.
fn contestar_hola(conexion: &mut Conexion, otro: &Presentacion, nodo: &Nodo) -> Result<(), Cierre> {
    let quien = Presentacion {
        puerto: nodo.direccion.port(),
        nombre: nodo.vecinos.nombre.clone(),
        id: otro.id.as_ref().map(|_| nodo.vecinos.id.clone()),
    };
    Ok(conexion.escribir_linea(Respuesta::Hola(quien))?)
}

/// `LISTAR`: los archivos con lo que se sepa de su huella. Lo que falte se calcula de fondo.
fn contestar_lista(conexion: &mut Conexion, nodo: &Nodo) -> Result<(), Cierre> {
    let archivos = match nodo.lista() {
        Ok(archivos) => archivos,
        Err(fallo) => {
            warn!("{fallo}");
            return rechazar(conexion, fallo.publico());
        }
    };
    nodo.estante.repasar(&archivos);
    let entradas = archivos.iter().map(|archivo| Entrada {
        tamano: archivo.tamano,
        huella: nodo.estante.conocido(archivo).map(|resumen| resumen.huella),
        nombre: archivo.nombre.clone(),
    });
    escribir_lista(conexion, &Respuesta::Lista(archivos.len() as u64), entradas)
}

/// `MENSAJE`: se guarda antes de contestar, así `RECIBIDO` es verdad aunque la pantalla no dé
/// abasto.
fn contestar_mensaje(
    conexion: &mut Conexion,
    de: &str,
    texto: &str,
    nodo: &Nodo,
) -> Result<(), Cierre> {
    if texto.len() > MAX_MENSAJE {
        let largo = texto.len();
        let motivo = format!("el mensaje tiene {largo} bytes y el tope es {MAX_MENSAJE}");
        return rechazar(conexion, &motivo);
    }
    if !nombre_de_nodo_valido(de) {
        return rechazar(conexion, "nombre de nodo no válido");
    }
    let mensaje = Mensaje {
        de: de.to_string(),
        desde: conexion.otro(),
        hora: nodo.hora(),
        texto: texto.to_string(),
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
    /// Suma otro tramo. Lo que hay que contar: que con él se envió el archivo entero, o que se pasó
    /// a otro sin acabar el de antes.
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
            lineas.push(format!("{ENVIO_COMPLETO} {nombre}"));
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

/// Las tres palabras con que se transfiere, sobre lo que haya en `estante`: las pida un cliente o
/// quien aceptó un envío. Devuelve lo que se envió, si se envió algo.
pub fn contestar_de_archivos(
    conexion: &mut Conexion,
    palabra: &Palabra,
    estante: &Estante,
) -> Result<Option<Enviado>, Cierre> {
    match palabra {
        Palabra::Info(nombre) => contestar_info(conexion, nombre, estante)?,
        Palabra::Bloques(nombre) => contestar_bloques(conexion, nombre, estante)?,
        Palabra::Obtener {
            desde,
            longitud,
            nombre,
        } => return contestar_tramo(conexion, (*desde, *longitud), nombre, estante),
        Palabra::Buscar(_)
        | Palabra::Descargar(_)
        | Palabra::Hola(_)
        | Palabra::Listar
        | Palabra::Mensaje { .. }
        | Palabra::Ofrecer(_) => rechazar(conexion, "eso no se puede pedir aquí")?,
    }
    Ok(None)
}

/// Abre el archivo de que se habla. `None` si no está: ya se le ha dicho.
fn abrir(
    conexion: &mut Conexion,
    nombre: &str,
    estante: &Estante,
) -> Result<Option<Abierto>, Cierre> {
    match estante.abrir(nombre) {
        Ok(abierto) => Ok(Some(abierto)),
        Err(NoSeAbre::SinDescriptores) => Err(Cierre::SinDescriptores),
        Err(NoSeAbre::NoEsta) => {
            conexion.escribir_linea(Respuesta::NoLoTiene)?;
            Ok(None)
        }
    }
}

fn contestar_info(conexion: &mut Conexion, nombre: &str, estante: &Estante) -> Result<(), Cierre> {
    let Some(abierto) = abrir(conexion, nombre, estante)? else {
        return Ok(());
    };
    let resumen = estante.resumen(nombre, &abierto, ESPERA_DE_HUELLA);
    let info = Info {
        tamano: abierto.tamano,
        huella: resumen.map(|resumen| resumen.huella),
    };
    Ok(conexion.escribir_linea(Respuesta::Info(info))?)
}

fn contestar_bloques(
    conexion: &mut Conexion,
    nombre: &str,
    estante: &Estante,
) -> Result<(), Cierre> {
    let Some(abierto) = abrir(conexion, nombre, estante)? else {
        return Ok(());
    };
    match estante.resumen(nombre, &abierto, ESPERA_DE_HUELLA) {
        Some(resumen) => {
            let cuantos = Respuesta::Bloques(resumen.bloques.len() as u64);
            escribir_lista(conexion, &cuantos, resumen.bloques.iter())
        }
        None => rechazar(conexion, CALCULANDO),
    }
}

/// Manda una respuesta y las líneas que la siguen, por trozos: ninguna lista está entera en
/// memoria.
fn escribir_lista(
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

/// `OBTENER`: lo que pase del final se recorta. Lo que se envió, si no empezaba más allá.
fn contestar_tramo(
    conexion: &mut Conexion,
    (desde, longitud): (u64, u64),
    nombre: &str,
    estante: &Estante,
) -> Result<Option<Enviado>, Cierre> {
    let Some(abierto) = abrir(conexion, nombre, estante)? else {
        return Ok(None);
    };
    let tamano = abierto.tamano;
    if desde > tamano {
        let motivo = format!("el archivo mide {tamano} bytes");
        return rechazar(conexion, &motivo).map(|()| None);
    }
    let hasta = desde.saturating_add(longitud).min(tamano);
    let cabecera = format!("{}\n", Respuesta::Datos(hasta - desde));
    debug!("→ {} {}", conexion.otro(), cabecera.trim_end());
    enviar_tramo(conexion, &abierto, desde..hasta, cabecera.as_bytes())?;
    Ok(Some(Enviado {
        nombre: nombre.to_string(),
        bytes: hasta - desde,
        tamano,
    }))
}
