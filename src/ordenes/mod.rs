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
use crate::grpc;
use crate::laboratorio;
use crate::laboratorio::puesto::{Instrumental, Montado};
use crate::lan::{clave, diagnostico, escritos, qr};
use crate::nodo::{acciones, arranque, menu};
use crate::practicas::balanceador::{self, backend};
use crate::practicas::{chat, maestro};
use crate::red::caudal::Caudal;
use opciones::{Argumentos, OIR, Opciones, Orden, Practica, decidir};
use sueltas::con_vecinos;

/// Lo que se avisa con clave y con maestro.
const AL_MAESTRO_EN_CLARO: &str =
    "Aunque haya clave, al maestro se le dicen en claro los nombres de los archivos.";

/// Cumple lo que se escribió, con quien mire los mensajes si se pidió.
pub fn cumplir(argumentos: Argumentos, consola: &mut Consola) -> Result<Salida, Fallo> {
    let Argumentos { mut nodo, orden } = argumentos;
    if let Some(Orden::Diagnostico { a_quienes }) = &orden {
        nodo.solo_con(a_quienes);
    }
    if habla_con_nodos(&orden)
        && let Err(frase) = nodo.clave.leer_frase()
    {
        consola.pantalla.aviso(frase);
        consola.pantalla.aviso("La ayuda: nodo --help");
        return Ok(Salida::MalEscrito);
    }
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

/// Las demás no cifran nada: ni siquiera se mira si la frase vale.
fn habla_con_nodos(orden: &Option<Orden>) -> bool {
    !matches!(
        orden,
        Some(Orden::Practica(_) | Orden::Laboratorio(_) | Orden::Completar { .. } | Orden::Clave)
    )
}

fn cumplir_con(
    mut nodo: Opciones,
    orden: Option<Orden>,
    montado: &Montado,
    consola: &mut Consola,
) -> Result<Salida, Fallo> {
    let limites = montado.limites();
    if nodo.clave.clave.is_some() && dice_algo_al_maestro(&nodo, &orden) {
        consola.pantalla.aviso(AL_MAESTRO_EN_CLARO);
    }
    if let Some(Orden::Descubrir { .. }) = orden {
        nodo.encuentro.descubrir = Some(true);
    }
    if let Some(salida) = escritos::resolver_nombres(&mut nodo.peers, consola)? {
        return Ok(salida);
    }
    let config = || config_de(nodo, &limites);
    match orden {
        None => menu::abrir(&config()?, &montado.puesto, consola),
        Some(Orden::Servir) => arranque::servir(&config()?, &montado.puesto, consola),
        Some(Orden::Listar { red }) => sueltas::listar(&config()?, red, consola),
        Some(Orden::Buscar { archivo }) => sueltas::buscar(&config()?, &archivo, consola),
        Some(Orden::Descargar { archivos, de }) => {
            sueltas::descargar(&config()?, &archivos, de, consola)
        }
        Some(Orden::Enviar { archivo, a }) => con_vecinos(&config()?, consola, |consola, suyos| {
            acciones::enviar(consola, suyos, &archivo, a)
        }),
        Some(Orden::Mensaje { texto, a }) => con_vecinos(&config()?, consola, |consola, suyos| {
            acciones::mandar_mensaje(consola, suyos, &texto, a)
        }),
        Some(Orden::Estado) => con_vecinos(&config()?, consola, acciones::estado),
        Some(Orden::Descubrir { segundos }) => {
            sueltas::descubrir(&config()?, segundos.unwrap_or(OIR), consola)
        }
        Some(Orden::Diagnostico { .. }) => diagnostico::abrir(&config()?, consola),
        Some(Orden::Huella { archivos }) => sueltas::huella(archivos, consola),
        Some(Orden::Localizar { archivo, por }) => {
            sueltas::localizar(&config()?, &archivo, por, consola)
        }
        Some(Orden::Practica(practica)) => cumplir_practica(practica, &limites, consola),
        Some(Orden::Torrent { archivo, salida }) => {
            fuera::abrir(&config()?, &archivo, salida, consola)
        }
        Some(Orden::Clave) => clave::inventar(consola),
        Some(Orden::Qr) => qr::mostrar(&config()?, consola),
        Some(Orden::Completar { shell }) => Ok(sueltas::completar(shell, consola)),
        Some(Orden::Laboratorio(experimento)) => laboratorio::cumplir(experimento, consola),
    }
}

fn dice_algo_al_maestro(nodo: &Opciones, orden: &Option<Orden>) -> bool {
    match orden {
        Some(Orden::Localizar { por, .. }) => por.is_none(),
        _ => nodo.maestro.is_some(),
    }
}

fn config_de(nodo: Opciones, limites: &Limites) -> Result<Config, Fallo> {
    let limites = Limites {
        caudal: Caudal::nuevo(nodo.ritmo),
        clave: nodo.clave.clave()?,
        esperar_red: nodo.esperar_red.unwrap_or(limites.esperar_red),
        ..limites.clone()
    };
    Ok(Config {
        limites,
        ..decidir(nodo)?
    })
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
        Practica::Maestro {
            tracker: Some(_), ..
        } if !grpc::COMPILADO => {
            consola
                .pantalla
                .aviso(format!("nodo: --tracker: {}", grpc::SIN_GRPC));
            Ok(Salida::MalEscrito)
        }
        Practica::Maestro { donde, tracker, .. } => {
            maestro::abrir(&donde, tracker, limites, consola)
        }
    }
}
