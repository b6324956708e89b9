//! Enviar es invitar: `OFRECER`, y quien recibe pide por esa misma conexión con el motor de
//! siempre.
//!
//! La guía dice que cada equipo podrá «enviar archivos a otros nodos», pero su programa sólo
//! descarga. Aquí quien envía abre la conexión y ofrece un nombre; si el otro contesta `ACEPTADO`,
//! los papeles se invierten. Así no hay un segundo camino por el que escribir en disco, ni un
//! puerto de vuelta que el cortafuegos cierre. No escribe en pantalla.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::consola::eventos::Avisador;
use crate::consola::progreso::{Fase, Progreso};
use crate::fallo::Fallo;
use crate::nodo::Nodo;
use crate::nodo::carpeta::huellas::{Estante, Origen};
use crate::nodo::carpeta::nombres::NombreRecibible;
use crate::nodo::descarga::pedido::Pedido;
use crate::nodo::descarga::recibir;
use crate::nodo::descarga::relato::contar_descarga;
use crate::nodo::maestro::localizar::conocer_los_del_maestro;
use crate::nodo::palabras::pedir::{FalloPar, no_es_respuesta, pedir};
use crate::nodo::palabras::protocolo::{Palabra, Respuesta};
use crate::nodo::palabras::servir::{Cierre, contestar_de_archivos, rechazar};
use crate::nodo::vecinos::Vecinos;
use crate::red::conexion::{Conexion, FalloRed};
use crate::red::hilos::arrancar_en;
use crate::red::parada::Parada;
use crate::red::turnos::TurnoDeIp;

/// Cuánto se espera a que cierre quien enviaba, para que alcance a leer por qué no se quiso.
const DESPEDIDA: Duration = Duration::from_secs(2);

// ----- Quien recibe -----

/// Contesta a `OFRECER` y, si lo acepta, baja el archivo por la misma conexión.
pub fn recibir_ofrecido(conexion: &mut Conexion, nombre: &str, nodo: &Nodo) -> Result<(), Cierre> {
    let quien = conexion.otro();
    let turno = match aceptar(conexion, nombre, nodo) {
        Ok(turno) => turno,
        Err(motivo) => return rechazar(conexion, &motivo),
    };
    conexion.escribir_linea(Respuesta::Aceptado)?;
    let aviso = format!("[RECIBIENDO] {nombre}, que envía {quien}");
    nodo.avisador.destacar(vec![aviso]);
    let progreso = Progreso::default();
    let pedido = Pedido {
        nombre,
        carpeta: &nodo.carpeta,
        limites: &nodo.vecinos.limites,
        conexiones: 1,
        pares: &[],
        parada: &nodo.saliendo,
        progreso: &progreso,
        avisar: &|frase| nodo.avisador.destacar(vec![frase]),
    };
    let (descargado, sigue_viva) = recibir(conexion.ceder(), &pedido);
    drop(turno);
    let (lineas, respuesta) = match descargado {
        Ok(bueno) => {
            nodo.cambio_la_carpeta();
            let lineas = contar_descarga(&bueno.nombre, &bueno, &nodo.carpeta);
            (lineas, Respuesta::Recibido(Some(bueno.nombre)))
        }
        Err(fallo) => {
            let linea = format!("[ERROR AL RECIBIR] {nombre}, de {quien}: {fallo}");
            (vec![linea], Respuesta::Error(fallo.publico()))
        }
    };
    nodo.avisador.destacar(lineas);
    if let Some(mut viva) = sigue_viva {
        viva.escribir_linea(respuesta)?;
        // Si se dejó a medias, puede estar mandando aún un bloque que ya se le pidió.
        viva.cerrar_con_calma(DESPEDIDA);
    }
    Ok(())
}

/// Sólo de quien puede escribir aquí, con un nombre que se pueda guardar, y si no hay demasiados
/// llegando.
fn aceptar(conexion: &Conexion, nombre: &str, nodo: &Nodo) -> Result<TurnoDeIp, String> {
    let (desde, cifrada) = (conexion.otro(), conexion.cifrada());
    let (ip, vecinos) = (desde.ip(), &nodo.vecinos);
    // Del maestro se sabe lo que dijo la última vez: pudo llegar alguien.
    let preguntando = || {
        let nuevos = conocer_los_del_maestro(vecinos, &nodo.saliendo);
        nuevos.is_ok() && vecinos.puede_escribir(desde, cifrada)
    };
    let de_conocidos = vecinos.recibe_de_conocidos || cifrada;
    let deja = vecinos.puede_escribir(desde, cifrada) || (de_conocidos && preguntando());
    if !deja {
        return Err(no_se_recibe(ip, nombre, vecinos, &nodo.avisador));
    }
    NombreRecibible::nuevo(nombre).map_err(|malo| malo.to_string())?;
    let muchos = "ya está recibiendo demasiados archivos; prueba dentro de un rato";
    let turno = nodo.recepciones.pedir(ip, Duration::ZERO, &nodo.saliendo);
    turno.ok_or_else(|| muchos.into())
}

/// En pantalla, quién quiso enviar qué y cómo permitirlo. Devuelve lo que se dice al otro.
pub fn no_se_recibe(ip: IpAddr, que: &str, vecinos: &Vecinos, avisador: &Avisador) -> String {
    let (quien, como) = match vecinos.conocidos.quien_es(ip) {
        Some((peer, llamado)) => {
            let quien =
                llamado.map_or_else(|| ip.to_string(), |llamado| format!("{llamado} ({ip})"));
            (quien, format!("--peer {peer}, o --recibir-de-conocidos"))
        }
        None => (ip.to_string(), format!("--peer {ip}")),
    };
    avisador.avisar(format_args!(
        "[NO SE RECIBE] {que}, que envía {quien}; para permitirlo: {como}"
    ));
    format!("{ip} no está entre los peers de este nodo")
}

// ----- Quien envía -----

/// Ofrece el archivo `ruta` a `peer` y lo sirve (ese y ninguno más) hasta que el otro diga cómo
/// acabó. Devuelve el nombre con que quedó allí.
pub fn enviar_archivo(
    vecinos: &Vecinos,
    ruta: &Path,
    peer: SocketAddr,
    parada: &Parada,
    progreso: &Progreso,
) -> Result<String, Fallo> {
    let (nombre, tamano) = mirar(ruta)?;
    let fallo = |fallo: FalloPar| Fallo::nuevo(no_lo_acepta(peer, &fallo));
    let limites = &vecinos.limites;
    let mut conexion =
        Conexion::conectar(peer, limites.conectar, limites, parada).map_err(|f| fallo(f.into()))?;
    let contestado = pedir(&mut conexion, &Palabra::Ofrecer(nombre.clone())).map_err(fallo)?;
    if contestado != Respuesta::Aceptado {
        return Err(fallo(no_es_respuesta()));
    }
    progreso.empezar(Fase::Pasando, tamano, 0);
    let estante = Estante::nuevo(Origen::Uno(nombre.clone(), ruta.to_path_buf()));
    let quedo = thread::scope(|ambito| {
        let calcular = arrancar_en(ambito, "huellas", || estante.trabajar());
        let quedo = calcular.and_then(|_| servir_lo_ofrecido(&mut conexion, &estante, progreso));
        estante.cerrar();
        quedo
    });
    quedo.map_err(|fallo| Fallo::nuevo(format!("enviando {nombre} a {peer}: {fallo}")))
}

/// El nombre con que se ofrece un archivo y lo que mide.
pub fn mirar(ruta: &Path) -> Result<(String, u64), Fallo> {
    let que =
        |motivo: String| Fallo::nuevo(format!("no se puede enviar {}: {motivo}", ruta.display()));
    let datos = std::fs::metadata(ruta).map_err(|e| que(crate::fallo::motivo(&e)))?;
    if !datos.is_file() {
        return Err(que("no es un archivo".into()));
    }
    let nombre = ruta.file_name().and_then(|nombre| nombre.to_str());
    let nombre = nombre.ok_or_else(|| que("su nombre no es UTF-8".into()))?;
    let nombre = NombreRecibible::nuevo(nombre).map_err(|malo| que(malo.to_string()))?;
    Ok((nombre.to_string(), datos.len()))
}

fn no_lo_acepta(peer: SocketAddr, fallo: &FalloPar) -> String {
    match fallo {
        FalloPar::Rechaza(motivo) => format!("{peer} no lo acepta: {motivo}"),
        FalloPar::Cerro => format!(
            "{peer} cerró sin contestar: un nodo de la guía no recibe envíos, sólo descarga"
        ),
        otro => otro.de(peer),
    }
}

/// Contesta a lo que pida quien aceptó, hasta que diga con qué nombre quedó o por qué no.
fn servir_lo_ofrecido(
    conexion: &mut Conexion,
    estante: &Estante,
    progreso: &Progreso,
) -> Result<String, Fallo> {
    let de_red = |fallo: FalloRed| Fallo::nuevo(fallo.to_string());
    conexion.prepararse_a_enviar().map_err(de_red)?;
    loop {
        // Nadie tarda tanto en pedir el bloque siguiente: si calla, es que se fue.
        let linea = conexion.leer_linea(conexion.limites().peticion, "que siga pidiendo");
        let corto = || Fallo::nuevo("cortó antes de tenerlo entero");
        let linea = linea.map_err(de_red)?.ok_or_else(corto)?;
        match Respuesta::leer(&linea) {
            Some(Respuesta::Recibido(nombre)) => return Ok(nombre.unwrap_or_default()),
            Some(Respuesta::Error(motivo)) => {
                return Err(Fallo::nuevo(format!("no pudo guardarlo: {motivo}")));
            }
            _ => {}
        }
        let peticion = Palabra::leer(&linea)
            .map_err(|_| Fallo::nuevo("pidió algo que no es del protocolo"))?;
        let enviado = contestar_de_archivos(conexion, &peticion, estante, true)
            .map_err(|c| Fallo::nuevo(c.to_string()))?;
        progreso.sumar(enviado.map_or(0, |tramo| tramo.bytes));
    }
}
