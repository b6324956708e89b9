//! Las palabras ampliadas, vistas desde quien las contesta: una línea tras otra, y
//! cada palabra, su brazo del `match`.
//!
//! Las que piden un archivo están en `servir.rs`. No pinta: avisa.

use std::time::{Duration, Instant};

use log::warn;

use crate::config::MAX_MENSAJE;
use crate::guia::ENVIO_COMPLETO;
use crate::lan::llamame;
use crate::nodo::descarga::envio;
use crate::nodo::palabras::protocolo::*;
use crate::nodo::palabras::servir::{
    Cierre, Enviado, contestar_de_archivos, escribir_lista, rechazar,
};
use crate::nodo::{Mensaje, Nodo};
use crate::red::conexion::{Conexion, FalloRed};
use crate::texto::tamano as texto_tamano;

/// Cuánto se espera a que cierre quien mandó algo que no se entiende, para que alcance a leer por
/// qué.
const DESPEDIDA: Duration = Duration::from_millis(500);

/// Mientras alguien lleva menos de esto pidiendo, se le da el bloque que quiera: aún no sabe a quién
/// más pedir.
const RECIEN_LLEGADO: Duration = Duration::from_secs(3);

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
            Err(por_que) => break despedir(conexion, por_que),
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
        Palabra::Info(_)
        | Palabra::Bloques(_)
        | Palabra::Obtener { .. }
        | Palabra::Tengo { .. } => {
            let recien = envios.acaba_de_llegar(palabra);
            let tramo = contestar_de_archivos(conexion, palabra, &nodo.estante, recien)?;
            nodo.avisador.destacar(envios.sumar(conexion, tramo));
            Ok(())
        }
        Palabra::Llamame(puerto) => {
            let yo = nodo.vecinos.presentacion();
            llamame::contestar(conexion, *puerto, &yo, &nodo.llamadas, &nodo.saliendo)
        }
        // Las de la guía sólo valen como primera petición, y a `OFRECER` se llega antes.
        Palabra::Buscar(_) | Palabra::Descargar(_) | Palabra::Ofrecer(_) => {
            rechazar(conexion, DESCONOCIDA)
        }
    }
}

/// `HOLA`: lo mismo, nuestro; con `id` si lo trajo. Quien saluda puede acabar entre los conocidos.
fn contestar_hola(conexion: &mut Conexion, otro: &Presentacion, nodo: &Nodo) -> Result<(), Cierre> {
    nodo.vecinos.conocidos.saluda(conexion.otro(), otro);
    let mut quien = nodo.vecinos.presentacion();
    quien.id = quien.id.filter(|_| otro.id.is_some());
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

/// Lo que se lleva enviado del último archivo por una conexión, para contarlo una vez. Con varias
/// fuentes, cada una sólo envía una parte.
#[derive(Default)]
struct Envios {
    ultimo: Enviado,
    /// Cuándo se pidió el primer tramo, se diera o no.
    desde: Option<Instant>,
}

impl Envios {
    /// ¿Hace poco que pide tramos, si esa palabra pide uno?
    fn acaba_de_llegar(&mut self, palabra: &Palabra) -> bool {
        matches!(palabra, Palabra::Obtener { .. })
            && self.desde.get_or_insert_with(Instant::now).elapsed() < RECIEN_LLEGADO
    }

    /// Suma otro tramo. Lo que hay que contar: que con él se envió el archivo entero, o que se pasó
    /// a otro sin acabar el de antes.
    fn sumar(&mut self, conexion: &Conexion, tramo: Option<Enviado>) -> Vec<String> {
        let Some(tramo) = tramo else {
            return Vec::new();
        };
        let mut lineas = Vec::new();
        if tramo.nombre == self.ultimo.nombre {
            self.ultimo.bytes += tramo.bytes;
        } else {
            lineas = self.contar_el_ultimo(conexion);
            self.ultimo = tramo;
        }
        if self.ultimo.bytes >= self.ultimo.tamano {
            let nombre = std::mem::take(&mut self.ultimo).nombre;
            lineas.push(format!("{ENVIO_COMPLETO} {nombre}"));
        }
        lineas
    }

    /// Lo que hay que contar si el último se quedó en una parte.
    fn contar_el_ultimo(&mut self, conexion: &Conexion) -> Vec<String> {
        let Enviado { nombre, bytes, .. } = std::mem::take(&mut self.ultimo);
        let parte = (bytes > 0).then(|| {
            let cuanto = texto_tamano(bytes);
            format!("[ENVÍO] {cuanto} de {nombre} a {}", conexion.otro())
        });
        parte.into_iter().collect()
    }
}
