//! El puerto en que los demás nos encuentran, mientras dura un diagnóstico.
//!
//! Si está libre se abre, y contesta lo justo para que otro sepa que llegó: `HOLA` y `LLAMAME`. Si
//! lo tiene otro nodo de esta máquina, se usa el suyo. No sirve archivos.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::config::{Config, Limites};
use crate::consola::Consola;
use crate::fallo::{Fallo, motivo};
use crate::lan::interfaces::Interfaz;
use crate::lan::llamame::{self, Llamadas};
use crate::nodo::palabras::pedir::{FalloPar, no_es_respuesta, pedir};
use crate::nodo::palabras::protocolo::{Palabra, Presentacion, Respuesta};
use crate::nodo::palabras::servir::{Cierre, rechazar};
use crate::nodo::puerta::PIDE_CLAVE;
use crate::red::abrir_puerto;
use crate::red::cifrado::PALABRA;
use crate::red::conexion::Conexion;
use crate::red::maquina::alcanzable;
use crate::red::parada::Parada;
use crate::red::servidor::Servidor;

/// Lo que puede tardar una línea de quien llama a este puerto.
const PLAZO: Duration = Duration::from_secs(2);
/// Lo que se espera a un nodo de esta misma máquina.
const PLAZO_DE_AQUI: Duration = Duration::from_millis(500);
/// Conexiones que se atienden a la vez.
const CONEXIONES: usize = 64;

/// Quién escucha en el puerto de esta máquina.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QuienEscucha {
    /// Este diagnóstico, mientras dura.
    Nosotros,
    /// Otro nodo de esta máquina, que se llama así.
    OtroNodo(String),
    /// Otro nodo de esta máquina, que no atiende a las demás.
    SoloAqui(String),
    /// Un programa con el que la clave de la clase no casa: un nodo que tiene otra, o uno solo de
    /// los dos la tiene.
    NoCasa,
    /// Un programa que no es un nodo.
    OtroPrograma,
    /// Nadie: no se pudo abrir, y por qué.
    Nadie(String),
}

/// El puerto de esta máquina.
pub struct MiPuerto {
    /// Dónde se escucha, o se quería.
    pub direccion: SocketAddr,
    /// Quién.
    pub quien: QuienEscucha,
    servidor: Option<Servidor>,
}

impl fmt::Display for MiPuerto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let puerto = self.direccion.port();
        match &self.quien {
            QuienEscucha::Nosotros if self.direccion.ip().is_loopback() => {
                write!(
                    f,
                    "Escucho en el puerto {puerto}, sólo para esta computadora."
                )
            }
            QuienEscucha::Nosotros => {
                write!(
                    f,
                    "Escucho para los demás en el puerto {puerto}, mientras dura esto."
                )
            }
            QuienEscucha::OtroNodo(nombre) => {
                write!(
                    f,
                    "En el puerto {puerto} ya escucha para los demás tu nodo {nombre}."
                )
            }
            QuienEscucha::SoloAqui(nombre) => write!(
                f,
                "Tu nodo {nombre} tiene el puerto {puerto}, pero sólo escucha en esta computadora: \
                 los demás no pueden llegar a él."
            ),
            QuienEscucha::NoCasa => write!(
                f,
                "El puerto {puerto} lo tiene un nodo de esta computadora con el que la clave de la \
                 clase no casa: repite esto con la suya (--clave-de ARCHIVO), o sin ninguna."
            ),
            QuienEscucha::OtroPrograma => write!(
                f,
                "El puerto {puerto} lo tiene otro programa, que no es un nodo: elige otro con \
                 --puerto."
            ),
            QuienEscucha::Nadie(motivo) => {
                write!(f, "No se pudo abrir el puerto {puerto}: {motivo}.")
            }
        }
    }
}

impl MiPuerto {
    /// Lo abre, o mira quién lo tiene.
    pub fn abrir(
        config: &Config,
        yo: &Presentacion,
        mias: &[Interfaz],
        parada: &Parada,
    ) -> Result<MiPuerto, Fallo> {
        let mut direccion = SocketAddr::new(config.ip, config.puerto);
        let (quien, servidor) = match abrir_puerto(config.ip, config.puerto) {
            Ok(escucha) => {
                direccion = escucha.local_addr().unwrap_or(direccion);
                let atender = atendiendo(yo, direccion.port(), parada);
                let limites = &config.limites;
                let servidor =
                    Servidor::arrancar(escucha, CONEXIONES, limites, Parada::nueva(), atender)?;
                (QuienEscucha::Nosotros, Some(servidor))
            }
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => (
                quien_lo_tiene(direccion, yo, mias, parada, &config.limites),
                None,
            ),
            Err(e) => (QuienEscucha::Nadie(motivo(&e)), None),
        };
        Ok(MiPuerto {
            direccion,
            quien,
            servidor,
        })
    }

    /// El puerto al que puede llamar quien tiene esa IP; si no hay, quién lo impide.
    pub fn al_que_llamar(&self, quien_llama: IpAddr) -> Result<u16, QuienEscucha> {
        let solo_aqui = self.direccion.ip().is_loopback() && !quien_llama.is_loopback();
        match &self.quien {
            QuienEscucha::Nosotros if solo_aqui => {
                Err(QuienEscucha::SoloAqui("diagnostico".into()))
            }
            QuienEscucha::OtroNodo(nombre) if solo_aqui => {
                Err(QuienEscucha::SoloAqui(nombre.clone()))
            }
            QuienEscucha::Nosotros | QuienEscucha::OtroNodo(_) => Ok(self.direccion.port()),
            QuienEscucha::SoloAqui(_)
            | QuienEscucha::NoCasa
            | QuienEscucha::OtroPrograma
            | QuienEscucha::Nadie(_) => Err(self.quien.clone()),
        }
    }

    /// Deja de escuchar.
    pub fn cerrar(self, consola: &mut Consola) {
        self.servidor
            .into_iter()
            .for_each(|servidor| consola.despedir(servidor));
    }
}

/// Lo que se hace con cada conexión que llega.
fn atendiendo(
    yo: &Presentacion,
    puerto: u16,
    parada: &Parada,
) -> impl Fn(Conexion) + Send + Sync + 'static {
    let yo = Presentacion {
        puerto,
        ..yo.clone()
    };
    let (llamadas, parada) = (Llamadas::default(), parada.clone());
    move |mut conexion| {
        if !se_saluda(&mut conexion) {
            return;
        }
        while let Ok(Some(linea)) = conexion.leer_linea(PLAZO, "la petición") {
            if contestar(&mut conexion, &linea, &yo, &llamadas, &parada).is_err() {
                return;
            }
        }
    }
}

/// Con clave, sólo con quien la tenga.
fn se_saluda(conexion: &mut Conexion) -> bool {
    let Some(clave) = conexion.limites().clave.clone() else {
        return true;
    };
    match conexion.leer_linea(PLAZO, "la clave") {
        Ok(Some(linea)) if linea == PALABRA => {
            let limite = Instant::now() + PLAZO;
            conexion.aceptar_cifrado(&clave, limite).is_ok()
        }
        Ok(Some(_)) => {
            // Si no alcanza a saberlo, tampoco entra.
            let _ = rechazar(conexion, PIDE_CLAVE);
            false
        }
        _ => false,
    }
}

fn contestar(
    conexion: &mut Conexion,
    linea: &str,
    yo: &Presentacion,
    llamadas: &Llamadas,
    parada: &Parada,
) -> Result<(), Cierre> {
    match Palabra::leer(linea) {
        Ok(Palabra::Hola(otro)) => {
            let id = yo.id.clone().filter(|_| otro.id.is_some());
            Ok(conexion.escribir_linea(Respuesta::Hola(Presentacion { id, ..yo.clone() }))?)
        }
        Ok(Palabra::Llamame(puerto)) => llamame::contestar(conexion, puerto, yo, llamadas, parada),
        _ => rechazar(conexion, "aquí sólo hay un diagnóstico en marcha"),
    }
}

/// El puerto está ocupado: ¿por un nodo?, ¿y atiende a las demás máquinas?
fn quien_lo_tiene(
    direccion: SocketAddr,
    yo: &Presentacion,
    mias: &[Interfaz],
    parada: &Parada,
    limites: &Limites,
) -> QuienEscucha {
    let limites = Limites {
        respuesta: PLAZO_DE_AQUI,
        ..limites.clone()
    };
    let en = |ip: IpAddr| SocketAddr::new(ip, direccion.port());
    let hola = |ip: IpAddr| saludar(en(ip), yo, &limites, parada);
    let de_aqui = alcanzable(direccion).ip();
    match mias.iter().find_map(|i| hola(i.ip).ok()) {
        Some(nombre) => QuienEscucha::OtroNodo(nombre),
        None => match hola(de_aqui) {
            Ok(nombre) if direccion.ip().is_loopback() || mias.is_empty() => {
                QuienEscucha::OtroNodo(nombre)
            }
            Ok(nombre) => QuienEscucha::SoloAqui(nombre),
            Err(FalloPar::Clave(_)) => QuienEscucha::NoCasa,
            Err(FalloPar::Rechaza(motivo)) if motivo == PIDE_CLAVE => QuienEscucha::NoCasa,
            Err(_) => QuienEscucha::OtroPrograma,
        },
    }
}

fn saludar(
    a: SocketAddr,
    yo: &Presentacion,
    limites: &Limites,
    parada: &Parada,
) -> Result<String, FalloPar> {
    let mut conexion = Conexion::conectar(a, PLAZO_DE_AQUI, limites, parada)?;
    match pedir(&mut conexion, &Palabra::Hola(yo.clone()))? {
        Respuesta::Hola(quien) => Ok(quien.nombre),
        _ => Err(no_es_respuesta()),
    }
}
