//! Las órdenes sueltas: lo mismo que el menú, sin abrir puerto, para usar desde la línea de órdenes y en scripts.
//!
//! No están en la guía. El resultado va por stdout y lo demás por stderr.

use std::fmt;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crossbeam_channel::select;

use crate::config::{CONEXIONES_POR_FUENTE, Config, Fila, MAX_MENSAJE, PEERS};
use crate::consola::esperar_trabajo;
use crate::consola::pantalla::Pantalla;
use crate::consola::teclado::avisos_de_ctrl_c;
use crate::fallo::{Fallo, Salida, motivo};
use crate::nodo::carpeta::Carpeta;
use crate::nodo::cliente::{
    descargar_archivo, enviar_mensaje, listar_de, preguntar_a_todos, saludar,
};
use crate::nodo::descarga::envio::enviar_archivo;
use crate::nodo::descarga::pedido::{NoDescargado, Pedido};
use crate::nodo::maestro::localizar::{
    self, a_quien_preguntar, buscar_en_la_red, quienes_lo_tienen,
};
use crate::nodo::palabras::pedir::FalloPar;
use crate::nodo::palabras::protocolo::{Entrada, Presentacion};
use crate::nodo::relato::contar_descarga;
use crate::nodo::vecinos::Vecinos;
use crate::texto::duracion;

/// Los vecinos de una orden suelta. No escucha: sólo es «alguien» si se dijo quién con `--nodo` o `--puerto`.
fn vecinos_de(config: &Config) -> Vecinos {
    let direccion = config
        .identificado
        .then(|| SocketAddr::new(config.ip, config.puerto));
    let de_la_fila = match config.fila {
        Fila::Elegida(n) => PEERS[n - 1].0,
        Fila::PrimeraLibre | Fila::Ninguna => "nodo",
    };
    let nombre = config
        .nombre
        .clone()
        .unwrap_or_else(|| de_la_fila.to_string());
    Vecinos::nuevos(config, nombre, direccion)
}

/// Pregunta a todos y da cada respuesta a `llega`, hasta que estén todas o llegue un Ctrl-C, que corta las preguntas.
fn consultar<P: Copy + Sync + fmt::Display, T: Send>(
    vecinos: &Vecinos,
    peers: &[P],
    pregunta: impl Fn(P) -> T + Sync,
    mut llega: impl FnMut(usize, T),
) -> Result<bool, Fallo> {
    let ctrl_c = avisos_de_ctrl_c()?;
    Ok(preguntar_a_todos(peers, pregunta, |respuestas| {
        loop {
            select! {
                recv(respuestas) -> respuesta => match respuesta {
                    Ok((lugar, respuesta)) => llega(lugar, respuesta),
                    Err(_) => return true,
                },
                recv(ctrl_c) -> _ => {
                    vecinos.preguntas.cortar();
                    return false;
                }
            }
        }
    }))
}

/// `nodo listar`: lo de la carpeta, o lo de todos los peers.
///
/// # Errores
/// No se puede leer la carpeta.
pub fn listar(config: &Config, red: bool, pantalla: &mut Pantalla) -> Result<Salida, Fallo> {
    if !red {
        let archivos = Carpeta::abrir(&config.carpeta_o_la_de_la_guia())?.listar()?;
        pantalla.tanda(archivos.into_iter().map(|archivo| archivo.nombre));
        return Ok(Salida::Bien);
    }
    let vecinos = vecinos_de(config);
    let mut alguno = false;
    let acabo = consultar(
        &vecinos,
        &vecinos.peers,
        |peer| listar_de(&vecinos, peer),
        |lugar, lista| {
            alguno |= lista.is_ok();
            pintar_lista(vecinos.peers[lugar], lista, pantalla);
        },
    )?;
    Ok(salida(acabo, alguno))
}

fn pintar_lista(peer: SocketAddr, lista: Result<Vec<Entrada>, FalloPar>, pantalla: &mut Pantalla) {
    match lista {
        Ok(entradas) => {
            pantalla.tanda(entradas.into_iter().map(|e| format!("{peer} {}", e.nombre)))
        }
        Err(fallo) => pantalla.aviso(format!("{peer}: {}", no_sabe(&fallo, "no sabe listar"))),
    }
}

/// Un nodo de la guía cierra cuando no conoce la palabra: se dice así, y no como un error.
pub fn no_sabe(fallo: &FalloPar, que: &str) -> String {
    match fallo {
        FalloPar::Cerro => format!("es un nodo de la guía (o no habla este protocolo): {que}"),
        otro => otro.to_string(),
    }
}

fn salida(acabo: bool, bien: bool) -> Salida {
    match (acabo, bien) {
        (false, _) => Salida::Interrumpido,
        (true, true) => Salida::Bien,
        (true, false) => Salida::NoSePudo,
    }
}

/// `nodo buscar`: qué peers tienen un archivo, según van contestando.
///
/// # Errores
/// El sistema no deja atender Ctrl-C.
pub fn buscar(config: &Config, nombre: &str, pantalla: &mut Pantalla) -> Result<Salida, Fallo> {
    let vecinos = vecinos_de(config);
    let mut alguno = false;
    let acabo = consultar(
        &vecinos,
        &a_quien_preguntar(&vecinos),
        |a_quien| quienes_lo_tienen(&vecinos, a_quien, nombre),
        |_, duenos: Vec<SocketAddr>| {
            alguno |= !duenos.is_empty();
            pantalla.tanda(duenos.iter().map(SocketAddr::to_string));
        },
    )?;
    if acabo && !alguno {
        pantalla.aviso("No se encontró ese archivo en la red.");
    }
    Ok(salida(acabo, alguno))
}

/// `nodo descargar`: de las fuentes dichas, o de todos los peers que lo tengan.
///
/// # Errores
/// La carpeta no se puede usar.
pub fn descargar(
    config: &Config,
    nombre: &str,
    de: Vec<SocketAddr>,
    pantalla: &mut Pantalla,
) -> Result<Salida, Fallo> {
    let vecinos = vecinos_de(config);
    let carpeta = Carpeta::abrir_o_crear(&config.carpeta_o_la_de_la_guia())?;
    let ctrl_c = avisos_de_ctrl_c()?;
    let fin = esperar_trabajo(pantalla, None, &ctrl_c, |encargo| {
        let fuentes = if de.is_empty() {
            buscar_en_la_red(&vecinos, nombre)
        } else {
            de
        };
        let pedido = Pedido {
            nombre,
            carpeta: &carpeta,
            limites: vecinos.limites,
            conexiones: CONEXIONES_POR_FUENTE,
            cancelacion: encargo.cancelacion,
            progreso: encargo.progreso,
            avisar: encargo.avisar,
        };
        descargar_archivo(&fuentes, &pedido)
    })?;
    Ok(match fin {
        Ok(descargado) => {
            pantalla.tanda(contar_descarga(nombre, &descargado));
            Salida::Bien
        }
        Err(NoDescargado::NoEncontrado) => {
            pantalla.aviso(format!("[NO ENCONTRADO] {}", NoDescargado::NoEncontrado));
            Salida::NoSePudo
        }
        Err(fallo) => {
            pantalla.aviso(format!("[ERROR AL DESCARGAR] {nombre}: {fallo}"));
            if fallo == NoDescargado::Cancelado {
                Salida::Interrumpido
            } else {
                Salida::NoSePudo
            }
        }
    })
}

/// `nodo enviar`: ofrece un archivo a un nodo y espera a que lo tenga.
///
/// # Errores
/// El sistema no deja atender Ctrl-C.
pub fn enviar(
    config: &Config,
    archivo: &Path,
    a: SocketAddr,
    pantalla: &mut Pantalla,
) -> Result<Salida, Fallo> {
    let vecinos = vecinos_de(config);
    let ctrl_c = avisos_de_ctrl_c()?;
    let empezo = Instant::now();
    let (fin, cancelado) = esperar_trabajo(pantalla, None, &ctrl_c, |encargo| {
        let fin = enviar_archivo(&vecinos, archivo, a, encargo.cancelacion, encargo.progreso);
        (fin, encargo.cancelacion.cancelada())
    })?;
    Ok(match fin {
        Ok(quedo) => {
            let tiempo = duracion(empezo.elapsed());
            pantalla.linea(format!(
                "[ENVÍO COMPLETO] {} quedó en {a} como {quedo} ({tiempo})",
                archivo.display()
            ));
            Salida::Bien
        }
        Err(_) if cancelado => {
            pantalla.aviso("[ERROR AL ENVIAR] envío cancelado");
            Salida::Interrumpido
        }
        Err(fallo) => {
            pantalla.aviso(format!("[ERROR AL ENVIAR] {fallo}"));
            Salida::NoSePudo
        }
    })
}

/// `nodo mensaje`: un texto a un nodo, o a todos. Bien si lo recibió alguno.
///
/// # Errores
/// El mensaje no cabe.
pub fn mensaje(
    config: &Config,
    texto: &str,
    a: Option<SocketAddr>,
    pantalla: &mut Pantalla,
) -> Result<Salida, Fallo> {
    if texto.len() > MAX_MENSAJE {
        return Err(Fallo::nuevo(format!(
            "el mensaje tiene {} bytes y el tope es {MAX_MENSAJE}",
            texto.len()
        )));
    }
    let vecinos = vecinos_de(config);
    let peers = a.map_or_else(|| vecinos.peers.clone(), |a| vec![a]);
    let mut alguno = false;
    let acabo = consultar(
        &vecinos,
        &peers,
        |peer| enviar_mensaje(&vecinos, peer, texto),
        |lugar, recibido| {
            let peer = peers[lugar];
            match recibido {
                Ok(()) => {
                    alguno = true;
                    pantalla.linea(format!("{peer} lo recibió"));
                }
                Err(fallo) => {
                    pantalla.aviso(format!("{peer}: {}", no_sabe(&fallo, "no recibe mensajes")))
                }
            }
        },
    )?;
    Ok(salida(acabo, alguno))
}

/// `nodo estado`: qué peers responden, quiénes son y en cuánto.
///
/// # Errores
/// El sistema no deja atender Ctrl-C.
pub fn estado(config: &Config, pantalla: &mut Pantalla) -> Result<Salida, Fallo> {
    let vecinos = vecinos_de(config);
    let pregunta = |peer| {
        let antes = Instant::now();
        (saludar(&vecinos, peer), antes.elapsed())
    };
    let acabo = consultar(
        &vecinos,
        &vecinos.peers,
        pregunta,
        |lugar, (saludo, tiempo)| {
            pantalla.linea(contar_saludo(vecinos.peers[lugar], &saludo, tiempo));
        },
    )?;
    Ok(salida(acabo, true))
}

/// Lo que dice `estado` de un peer, en una línea.
pub fn contar_saludo(
    peer: SocketAddr,
    saludo: &Result<Presentacion, FalloPar>,
    tiempo: std::time::Duration,
) -> String {
    match saludo {
        Ok(quien) => format!("{peer} responde: {} ({})", quien.nombre, duracion(tiempo)),
        Err(FalloPar::Cerro) => {
            format!("{peer} responde: un nodo de la guía ({})", duracion(tiempo))
        }
        Err(fallo) => format!("{peer} no responde: {fallo}"),
    }
}

/// `nodo huella`: la misma línea que `b3sum`, una por archivo.
///
/// # Errores
/// Ninguno: lo que no se puede leer se dice y se sigue.
pub fn huella(archivos: &[PathBuf], pantalla: &mut Pantalla) -> Result<Salida, Fallo> {
    let mut fin = Salida::Bien;
    for ruta in archivos {
        let mut cuenta = blake3::Hasher::new();
        match File::open(ruta)
            .and_then(|archivo| cuenta.update_reader(archivo).map(|c| c.finalize()))
        {
            Ok(huella) => pantalla.linea(linea_de_b3sum(&huella.to_hex(), ruta)),
            Err(error) => {
                pantalla.aviso(format!("nodo: {}: {}", ruta.display(), motivo(&error)));
                fin = Salida::NoSePudo;
            }
        }
    }
    Ok(fin)
}

/// Un nombre con `\` o saltos de línea va escapado, y la línea empieza por `\`: así la escribe `b3sum`.
fn linea_de_b3sum(huella: &str, ruta: &Path) -> String {
    let nombre = ruta.display().to_string();
    if nombre.contains(['\\', '\n']) && !cfg!(windows) {
        format!(
            "\\{huella}  {}",
            nombre.replace('\\', "\\\\").replace('\n', "\\n")
        )
    } else {
        format!("{huella}  {nombre}")
    }
}

/// `nodo localizar`: quién tiene un archivo, según el maestro o un peer.
///
/// # Errores
/// No contesta, o contesta otra cosa.
pub fn localizar(
    config: &Config,
    archivo: &str,
    por: Option<String>,
    pantalla: &mut Pantalla,
) -> Result<Salida, Fallo> {
    let a_quien = por.or_else(|| config.maestro.clone());
    let url = a_quien.as_deref().unwrap_or(localizar::MAESTRO);
    let hallados = localizar::localizar(url, archivo, config.limites)?;
    pantalla.tanda(hallados.iter().map(ToString::to_string));
    if hallados.is_empty() {
        pantalla.aviso(format!("Según {url}, nadie tiene «{archivo}»."));
    }
    Ok(salida(true, !hallados.is_empty()))
}
