//! SERVIDOR DEL NODO: `gestionar_peticion`, como en la guía, con sus dos palabras y las ampliadas.
//!
//! Cada conexión tiene su hilo y llega aquí desde `atender_conexiones`. Las primeras letras deciden quién habla: un
//! nodo de la guía, uno de los nuestros o un navegador. Nada de lo que manden puede tumbar el nodo: si algo va mal se
//! cierra esa conexión y se registra el motivo. No escribe en pantalla: avisa con eventos.

use std::fmt;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use log::debug;

use crate::conexion::{Conexion, FalloRed};
use crate::config::{MAX_MENSAJE, nombre_de_nodo_valido};
use crate::eventos::{Evento, Mensaje};
use crate::nodo::carpeta::{Abierto, NoSeAbre};
use crate::nodo::estante::Estante;
use crate::nodo::protocolo::{
    Entrada, Habla, Info, NoSeEntiende, PalabraGuia, Peticion, Presentacion, Primera, Respuesta,
    quien_habla,
};
use crate::nodo::recepcion::leer_en;
use crate::nodo::{Nodo, envio, rest};
use crate::texto::limpiar;

/// Tras `OK`, el cliente de la guía compara su primera lectura con `b"OK"`: si llega pegado a los datos, da el archivo
/// por no encontrado. Con esta pausa llegan aparte.
const PAUSA_TRAS_OK: Duration = Duration::from_millis(100);
/// Cuánto se espera por una huella que aún se está calculando.
const ESPERA_DE_HUELLA: Duration = Duration::from_secs(5);
/// Cuánto se espera a que cierre quien mandó algo que no se entiende, para que alcance a leer por qué.
const DESPEDIDA: Duration = Duration::from_millis(500);
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

/// Atiende una conexión de principio a fin. Es la función de la guía, y corre en un hilo propio.
pub fn gestionar_peticion(socket: &Arc<TcpStream>, desde: SocketAddr, nodo: &Nodo) {
    nodo.avisador.avisar(Evento::Conexion(desde));
    let mut conexion = Conexion::aceptada(socket, desde, nodo.vecinos.limites);
    if let Err(corte) = conversar(&mut conexion, nodo) {
        debug!("se cierra {desde}: {corte}");
    }
}

fn conversar(conexion: &mut Conexion, nodo: &Nodo) -> Result<(), Corte> {
    let limite = Instant::now() + conexion.limites().peticion;
    match primera_palabra(conexion, limite)? {
        None => Ok(()),
        Some(Habla::Guia(palabra)) => responder_a_la_guia(conexion, palabra, nodo),
        Some(Habla::Ampliada) => responder_a_los_nuestros(conexion, limite, nodo),
        Some(Habla::Http) => rest::responder(conexion, nodo),
    }
}

/// Lee lo justo para saber quién habla, sin gastarlo. `None` si cerró sin decir nada.
fn primera_palabra(conexion: &mut Conexion, limite: Instant) -> Result<Option<Habla>, Corte> {
    loop {
        match quien_habla(conexion.pendiente()) {
            Primera::Es(habla) => return Ok(Some(habla)),
            Primera::Basura => return Err(Corte::Basura),
            Primera::Falta => {}
        }
        if conexion.recibir(limite, "la petición")? == 0 {
            // «LISTAR» y cierre: el fin también acaba una línea.
            return Ok((!conexion.pendiente().is_empty()).then_some(Habla::Ampliada));
        }
    }
}

// ----- Las palabras de la guía -----

/// `BUSCAR` y `DESCARGAR`: el nombre es lo que quede de la primera lectura, sin el fin de línea de quien prueba con `nc`.
fn responder_a_la_guia(
    conexion: &mut Conexion,
    palabra: PalabraGuia,
    nodo: &Nodo,
) -> Result<(), Corte> {
    let peticion = conexion.pendiente().to_vec();
    conexion.consumir(usize::MAX);
    let escrita = String::from_utf8_lossy(&peticion);
    debug!("← {} {}", conexion.otro(), limpiar(&escrita));
    let nombre = escrita
        .split_once(':')
        .map_or("", |(_, nombre)| nombre)
        .trim_end_matches(['\r', '\n']);
    // Lo que no es UTF-8 no es el nombre de ningún archivo que se sirva, aunque con `�` llegara a parecerlo.
    let abierto = match str::from_utf8(&peticion) {
        Ok(_) => nodo.estante.abrir(nombre),
        Err(_) => Err(NoSeAbre::NoEsta),
    };
    match (palabra, abierto) {
        (_, Err(NoSeAbre::SinDescriptores)) => Err(Corte::SinDescriptores),
        (PalabraGuia::Buscar, Ok(_)) => Ok(conexion.escribir_texto("SI")?),
        (PalabraGuia::Buscar, Err(NoSeAbre::NoEsta)) => Ok(conexion.escribir_texto("NO")?),
        (PalabraGuia::Descargar, Err(NoSeAbre::NoEsta)) => Ok(conexion.escribir_texto("NOFILE")?),
        (PalabraGuia::Descargar, Ok(abierto)) => enviar_a_la_guia(conexion, nombre, &abierto, nodo),
    }
}

fn enviar_a_la_guia(
    conexion: &mut Conexion,
    nombre: &str,
    abierto: &Abierto,
    nodo: &Nodo,
) -> Result<(), Corte> {
    conexion.prepararse_a_enviar()?;
    conexion.escribir_texto("OK")?;
    thread::sleep(PAUSA_TRAS_OK);
    let enviado = enviar_tramo(conexion, abierto, 0..abierto.tamano, b"");
    if enviado.is_err() || !abierto.sigue_igual() {
        // Quien usa estas palabras no sabe la longitud: un cierre normal le parecería un archivo completo.
        conexion.cerrar_con_error();
        enviado?;
        return Err(Corte::CambioMientrasSeEnviaba(nombre.to_string()));
    }
    nodo.avisador
        .avisar(Evento::EnvioCompleto(nombre.to_string()));
    Ok(())
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

// ----- Las palabras ampliadas -----

/// Una línea tras otra hasta que el otro cierre, calle o diga algo que no se entiende. La primera tiene que estar entera
/// antes de `primera`: reconocer su palabra ya gastó parte del plazo.
fn responder_a_los_nuestros(
    conexion: &mut Conexion,
    primera: Instant,
    nodo: &Nodo,
) -> Result<(), Corte> {
    conexion.prepararse_a_enviar()?;
    let mut enviado = Enviado::default();
    let mut plazo = primera.saturating_duration_since(Instant::now());
    let fin = loop {
        let peticion = match conexion.leer_linea(plazo, "la petición") {
            Ok(Some(linea)) => Peticion::leer(&linea),
            Ok(None) => break Ok(()),
            Err(FalloRed::LineaLarga) => break despedir(conexion, "línea de más de 4096 bytes"),
            Err(FalloRed::NoEsTexto) => break despedir(conexion, "la línea no es texto UTF-8"),
            Err(fallo) => break Err(fallo.into()),
        };
        match peticion {
            Ok(Peticion::Ofrecer(nombre)) => {
                break envio::recibir_ofrecido(conexion, &nombre, nodo);
            }
            Ok(peticion) => match responder(conexion, peticion, nodo) {
                Ok(tramo) => enviado.sumar(tramo, nodo),
                Err(corte) => break Err(corte),
            },
            Err(NoSeEntiende::Palabra) => break despedir(conexion, "palabra desconocida"),
            Err(NoSeEntiende::Forma) => break despedir(conexion, "petición mal escrita"),
        }
        plazo = conexion.limites().peticion;
    };
    enviado.avisar(conexion.otro(), nodo);
    fin
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

    fn sumar(&mut self, tramo: Option<Enviado>, nodo: &Nodo) {
        let Some(tramo) = tramo else { return };
        if tramo.nombre == self.nombre {
            self.bytes += tramo.bytes;
        } else {
            *self = tramo;
        }
        if self.bytes >= self.tamano {
            nodo.avisador
                .avisar(Evento::EnvioCompleto(std::mem::take(self).nombre));
        }
    }

    fn avisar(self, a: SocketAddr, nodo: &Nodo) {
        if self.bytes > 0 {
            nodo.avisador.avisar(Evento::EnvioParcial {
                nombre: self.nombre,
                bytes: self.bytes,
                a,
            });
        }
    }

    /// Bytes enviados.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Contesta `ERROR` y cierra de modo que el otro alcance a leerlo.
fn despedir(conexion: &mut Conexion, motivo: &str) -> Result<(), Corte> {
    conexion.escribir_linea(Respuesta::Error(motivo.to_string()))?;
    conexion.cerrar_con_calma(DESPEDIDA);
    Ok(())
}

fn responder(
    conexion: &mut Conexion,
    peticion: Peticion,
    nodo: &Nodo,
) -> Result<Option<Enviado>, Corte> {
    match peticion {
        Peticion::Hola(_) => {
            let quien = Presentacion {
                puerto: nodo.direccion.port(),
                nombre: nodo.vecinos.nombre.clone(),
            };
            conexion.escribir_linea(Respuesta::Hola(quien))?;
        }
        Peticion::Listar => responder_lista(conexion, nodo)?,
        Peticion::Mensaje { de, texto } => responder_mensaje(conexion, de, texto, nodo)?,
        de_archivos => return responder_de_archivos(conexion, &de_archivos, &nodo.estante),
    }
    Ok(None)
}

/// `LISTAR`: los archivos con lo que se sepa de su huella. Lo que falte se calcula de fondo.
fn responder_lista(conexion: &mut Conexion, nodo: &Nodo) -> Result<(), Corte> {
    let archivos = match nodo.carpeta.listar() {
        Ok(archivos) => archivos,
        Err(fallo) => return Ok(conexion.escribir_linea(Respuesta::Error(fallo.to_string()))?),
    };
    nodo.estante.repasar(&archivos);
    let mut lista = format!("{}\n", Respuesta::Lista(archivos.len() as u64));
    for archivo in archivos {
        let huella = nodo
            .estante
            .conocido(&archivo.nombre, archivo.tamano, archivo.fecha)
            .map(|resumen| resumen.huella);
        let entrada = Entrada {
            tamano: archivo.tamano,
            huella,
            nombre: archivo.nombre,
        };
        lista.push_str(&format!("{entrada}\n"));
    }
    Ok(conexion.escribir_texto(&lista)?)
}

/// `MENSAJE`: se guarda antes de contestar, así `RECIBIDO` es verdad aunque la pantalla no dé abasto.
fn responder_mensaje(
    conexion: &mut Conexion,
    de: String,
    texto: String,
    nodo: &Nodo,
) -> Result<(), Corte> {
    if texto.len() > MAX_MENSAJE {
        let motivo = format!(
            "el mensaje tiene {} bytes y el tope es {MAX_MENSAJE}",
            texto.len()
        );
        return Ok(conexion.escribir_linea(Respuesta::Error(motivo))?);
    }
    if !nombre_de_nodo_valido(&de) {
        return Ok(conexion.escribir_linea(Respuesta::Error("nombre de nodo no válido".into()))?);
    }
    let mensaje = Mensaje {
        de,
        desde: conexion.otro(),
        texto,
    };
    nodo.guardar_mensaje(mensaje.clone());
    nodo.avisador.avisar(Evento::Mensaje(mensaje));
    Ok(conexion.escribir_linea(Respuesta::Recibido(None))?)
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

/// El motivo con que se contesta a `BLOQUES` cuando la huella aún no está: quien pide vuelve a preguntar.
pub const CALCULANDO: &str = "calculando la huella";

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
