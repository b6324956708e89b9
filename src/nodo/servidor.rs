//! SERVIDOR DEL NODO: `gestionar_peticion`, como en la guía, con sus dos palabras y las ampliadas.
//!
//! Cada conexión tiene su hilo y llega aquí desde `atender_conexiones`. Las primeras letras deciden quién habla: un
//! nodo de la guía, uno de los nuestros o un navegador. Nada de lo que manden puede tumbar el nodo: si algo va mal se
//! cierra esa conexión y se registra el motivo. No escribe en pantalla: avisa con eventos.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use log::{debug, warn};

use crate::config::{MAX_MENSAJE, nombre_de_nodo_valido};
use crate::nodo::carpeta::{Abierto, NoSeAbre};
use crate::nodo::descarga::envio;
use crate::nodo::evento::{Evento, Mensaje};
use crate::nodo::palabras::contestar::{Corte, Enviado, enviar_tramo, responder_de_archivos};
use crate::nodo::palabras::protocolo::{
    Entrada, Habla, NoSeEntiende, PalabraGuia, Peticion, Presentacion, Primera, Respuesta,
    quien_habla,
};
use crate::nodo::{Nodo, web};
use crate::red::conexion::{Conexion, FalloRed};
use crate::texto::limpiar;

/// Tras `OK`, el cliente de la guía compara su primera lectura con `b"OK"`: si llega pegado a los datos, da el archivo
/// por no encontrado. Con esta pausa llegan aparte.
const PAUSA_TRAS_OK: Duration = Duration::from_millis(100);
/// Cuánto se espera a que cierre quien mandó algo que no se entiende, para que alcance a leer por qué.
const DESPEDIDA: Duration = Duration::from_millis(500);

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
        Some(Habla::Http) => web::responder(conexion, nodo),
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
    let avisar = |evento| nodo.avisador.avisar(evento);
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
                Ok(tramo) => enviado.sumar(tramo).into_iter().for_each(avisar),
                Err(corte) => break Err(corte),
            },
            Err(NoSeEntiende::Palabra) => break despedir(conexion, "palabra desconocida"),
            Err(NoSeEntiende::Forma) => break despedir(conexion, "petición mal escrita"),
        }
        plazo = conexion.limites().peticion;
    };
    enviado
        .parcial(conexion.otro())
        .into_iter()
        .for_each(avisar);
    fin
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
        Err(fallo) => {
            warn!("{fallo}");
            return Ok(conexion.escribir_linea(Respuesta::Error(fallo.publico().into()))?);
        }
    };
    nodo.estante.repasar(&archivos);
    let mut lista = format!("{}\n", Respuesta::Lista(archivos.len() as u64));
    for archivo in archivos {
        let huella = nodo
            .estante
            .conocido(&archivo)
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
