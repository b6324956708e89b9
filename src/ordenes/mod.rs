//! De la orden escrita a quien la cumple. Sin orden, el menú.
//!
//! Qué se puede escribir está en [`opciones`], cómo se dice en español lo que está mal escrito en
//! [`espanol`], y lo que hace cada orden suelta en [`sueltas`].

pub mod espanol;
pub mod opciones;
pub mod sueltas;
pub mod valores;

use crate::config::{Config, Limites};
use crate::consola::Consola;
use crate::fallo::{Fallo, Salida};
use crate::fuera;
use crate::laboratorio;
use crate::laboratorio::puesto::{Instrumental, Montado};
use crate::lan::qr;
use crate::nodo::{acciones, arranque, menu};
use crate::practicas::balanceador::{self, backend};
use crate::practicas::{chat, maestro};
use opciones::{Argumentos, Opciones, Orden, Practica, decidir};
use sueltas::vecinos_de;

/// Cumple lo que se escribió, con quien mire los mensajes si se pidió.
pub fn cumplir(argumentos: Argumentos, consola: &mut Consola) -> Result<Salida, Fallo> {
    let Argumentos { mut nodo, orden } = argumentos;
    let montado = match &orden {
        Some(Orden::Practica(practica)) => montar_para(practica),
        _ => {
            let instrumental = std::mem::take(&mut nodo.laboratorio);
            Montado::nuevo(instrumental, nodo.nombre.as_deref())
        }
    }?;
    let salida = cumplir_con(nodo, orden, &montado, consola);
    // También si no se pudo: el diario de lo que falló es el que más falta hace.
    let Err(incompleto) = montado.cerrar() else {
        return salida;
    };
    consola.pantalla.aviso(format!("nodo: {incompleto}"));
    match salida {
        Ok(Salida::Bien) => Ok(Salida::NoSePudo),
        salida => salida,
    }
}

fn cumplir_con(
    nodo: Opciones,
    orden: Option<Orden>,
    montado: &Montado,
    consola: &mut Consola,
) -> Result<Salida, Fallo> {
    let limites = montado.limites();
    let config = || {
        Ok(Config {
            limites: limites.clone(),
            ..decidir(nodo)?
        })
    };
    match orden {
        None => menu::abrir(&config()?, &montado.puesto, consola),
        Some(Orden::Servir) => arranque::servir(&config()?, &montado.puesto, consola),
        Some(Orden::Listar { red }) => sueltas::listar(&config()?, red, consola),
        Some(Orden::Buscar { archivo }) => sueltas::buscar(&config()?, &archivo, consola),
        Some(Orden::Descargar { archivo, de }) => {
            sueltas::descargar(&config()?, &archivo, de, consola)
        }
        Some(Orden::Enviar { archivo, a }) => {
            acciones::enviar(consola, &vecinos_de(&config()?), &archivo, a)
        }
        Some(Orden::Mensaje { texto, a }) => {
            acciones::mandar_mensaje(consola, &vecinos_de(&config()?), &texto, a)
        }
        Some(Orden::Estado) => acciones::estado(consola, &vecinos_de(&config()?)),
        Some(Orden::Huella { archivos }) => sueltas::huella(archivos, consola),
        Some(Orden::Localizar { archivo, por }) => {
            sueltas::localizar(&config()?, &archivo, por, consola)
        }
        Some(Orden::Practica(practica)) => cumplir_practica(practica, &limites, consola),
        Some(Orden::Torrent { archivo, salida }) => {
            fuera::abrir(&config()?, &archivo, salida, consola)
        }
        Some(Orden::Qr) => qr::mostrar(&config()?, consola),
        Some(Orden::Completar { shell }) => Ok(sueltas::completar(shell, consola)),
        Some(Orden::Laboratorio(experimento)) => laboratorio::cumplir(experimento, consola),
    }
}

/// El diario de una práctica: del maestro, también lo que se dice; de una charla o de lo que pasa
/// por el balanceador, sólo quién abre y cierra.
fn montar_para(practica: &Practica) -> Result<Montado, Fallo> {
    match practica {
        Practica::Maestro { diario, .. } => Montado::de_practica("maestro", diario, false),
        Practica::Chat { diario, .. } => Montado::de_practica("chat", diario, true),
        Practica::Balanceador { diario, .. } => Montado::de_practica("balanceador", diario, true),
        Practica::Ingenuo { .. } | Practica::Backend { .. } | Practica::Solicitar { .. } => {
            Montado::nuevo(Instrumental::default(), None)
        }
    }
}

fn cumplir_practica(
    practica: Practica,
    limites: &Limites,
    consola: &mut Consola,
) -> Result<Salida, Fallo> {
    match practica {
        Practica::Ingenuo {
            peers,
            donde,
            carpeta,
        } => sueltas::ingenuo(&peers, &donde, carpeta, consola),
        Practica::Chat {
            servidor, conectar, ..
        } => chat::abrir(servidor, conectar, limites, consola),
        Practica::Balanceador {
            donde,
            backends,
            conducta,
            ..
        } => balanceador::abrir(&donde, &backends, conducta, limites, consola),
        Practica::Backend { donde, nombre } => backend::abrir(&donde, nombre, limites, consola),
        Practica::Solicitar { a, veces, texto } => backend::solicitar(a, veces, &texto, consola),
        Practica::Maestro { donde, .. } => maestro::abrir(&donde, limites, consola),
    }
}
