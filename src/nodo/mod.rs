//! El nodo de la guía, por partes. Aquí, lo que comparten sus hilos: [`Nodo`].

pub mod acciones;
pub mod arranque;
pub mod carpeta;
pub mod cliente;
pub mod descarga;
pub mod maestro;
pub mod menu;
pub mod palabras;
pub mod puerta;
pub mod servidor;
pub mod vecinos;
pub mod vista;
pub mod web;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::consola::eventos::Avisador;
use crate::fallo::Fallo;
use crate::grpc;
use crate::guia::CONEXION;
use crate::laboratorio::puesto::Puesto;
use crate::lan::llamame::Llamadas;
use crate::nodo::carpeta::huellas::{Estante, Origen};
use crate::nodo::carpeta::{Archivo, Carpeta};
use crate::nodo::maestro::registro::Inscripcion;
use crate::nodo::vecinos::Vecinos;
use crate::nodo::vista::UltimaVista;
use crate::nodo::web::Web;
use crate::red::parada::Parada;
use crate::red::parada::cerrojo;
use crate::red::turnos::TurnosPorIp;
use crate::texto::hora;

/// Cuánto se calla una IP que ya se anunció en pantalla.
const YA_SE_DIJO: Duration = Duration::from_secs(60);
/// Archivos que se aceptan a la vez de quienes los envían: cada uno gasta un bloque de memoria.
const MAX_RECEPCIONES: usize = 16;
/// De ellos, los de una misma IP: ninguna ocupa todos los turnos.
const MAX_RECEPCIONES_POR_IP: usize = 4;
/// Mensajes recibidos que se guardan; después se olvidan los más viejos.
const MAX_MENSAJES: usize = 200;
/// IP de las que se recuerda cuándo se anunciaron.
const MAX_VISTAS: usize = 1024;

/// Lo que los hilos de un nodo comparten.
pub struct Nodo {
    /// Quién es y a quién conoce.
    pub vecinos: Vecinos,
    /// Dónde escucha.
    pub direccion: SocketAddr,
    /// Los archivos que sirve, con sus huellas.
    pub estante: Estante,
    /// La carpeta en que guarda lo que recibe (la misma que sirve).
    pub carpeta: Arc<Carpeta>,
    /// Por dónde cuenta lo que pasa.
    pub avisador: Avisador,
    /// Quien mira sus mensajes, si se pidió.
    pub laboratorio: Arc<Puesto>,
    /// Se corta al salir, para que lo que se esté preguntando o recibiendo termine.
    pub saliendo: Parada,
    /// Los turnos de quienes nos están enviando algo.
    pub recepciones: TurnosPorIp,
    /// A quiénes se llamó hace un momento porque lo pidieron.
    pub llamadas: Llamadas,
    /// El maestro en que se registra, si lo hay.
    pub maestro: Option<Arc<Inscripcion>>,
    /// Lo que comparten las peticiones REST.
    pub web: Web,
    /// Lo que comparten las conversaciones en gRPC.
    pub grpc: Arc<grpc::Salon>,
    /// La de esta máquina. Se mira al arrancar: leerla no cabe en la pila de un hilo de conexión.
    zona: TimeZone,
    /// Lo que se vio con la opción 4 del menú: sus números valen en la 2.
    pub ultima_vista: Mutex<UltimaVista>,
    mensajes: Mutex<VecDeque<Mensaje>>,
    vistas: Mutex<Vistas>,
    rechazadas: Mutex<Vistas>,
    ultima_lista: Mutex<UltimaLista>,
}

/// Un mensaje recibido, con su texto tal como llegó (se limpia al pintarlo).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mensaje {
    /// Nombre del nodo que dice enviarlo.
    pub de: String,
    /// Desde dónde llegó.
    pub desde: SocketAddr,
    /// A qué hora llegó.
    pub hora: String,
    /// El texto.
    pub texto: String,
}

/// `10:32 [MENSAJE] ana (192.168.1.11): hola`: cuándo, quién y qué.
impl fmt::Display for Mensaje {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hora, de, ip, texto) = (&self.hora, &self.de, self.desde.ip(), &self.texto);
        write!(f, "{hora} [MENSAJE] {de} ({ip}): {texto}")
    }
}

/// Cuándo se vio por última vez cada IP.
type Vistas = HashMap<IpAddr, Instant>;

/// ¿Es la primera vez que se ve esa IP, o hace un rato de la anterior?
fn hace_rato_que_no(vistas: &Mutex<Vistas>, ip: IpAddr) -> bool {
    let mut vistas = cerrojo(vistas);
    let ahora = Instant::now();
    let antes = vistas.get(&ip).copied();
    if antes.is_some() || vistas.len() < MAX_VISTAS {
        vistas.insert(ip, ahora);
    }
    antes.is_none_or(|antes| ahora.duration_since(antes) > YA_SE_DIJO)
}

/// La última lista de archivos. Quien pidió la suya antes de que esta empezara puede usarla: así
/// mil que la piden a la vez no la leen mil veces, ni guardan mil copias mientras la mandan.
#[derive(Default)]
struct UltimaLista {
    empezo: Option<Instant>,
    archivos: Arc<Vec<Archivo>>,
}

impl Nodo {
    /// Un nodo que escucha en `direccion` y comparte `carpeta`: sirve lo que hay y guarda en ella.
    pub fn nuevo(
        vecinos: Vecinos,
        direccion: SocketAddr,
        carpeta: Carpeta,
        avisador: Avisador,
        laboratorio: Arc<Puesto>,
    ) -> Nodo {
        let carpeta = Arc::new(carpeta);
        let estante = Estante::nuevo(Origen::Carpeta(Arc::clone(&carpeta)));
        let ritmo = vecinos.limites.caudal.tope();
        let (maestro, testigo) = (vecinos.maestro.clone(), vecinos.limites.testigo.clone());
        Nodo {
            saliendo: vecinos.parada.clone(),
            vecinos,
            direccion,
            estante: estante.con_ritmo(ritmo),
            carpeta,
            avisador,
            laboratorio,
            recepciones: TurnosPorIp::nuevos(MAX_RECEPCIONES, MAX_RECEPCIONES_POR_IP),
            llamadas: Llamadas::default(),
            maestro: maestro.map(|url| Arc::new(Inscripcion::nueva(url, direccion, &testigo))),
            web: Web::default(),
            grpc: Arc::default(),
            zona: TimeZone::system(),
            ultima_vista: Mutex::default(),
            mensajes: Mutex::default(),
            vistas: Mutex::default(),
            rechazadas: Mutex::default(),
            ultima_lista: Mutex::default(),
        }
    }

    /// Lo que comparte ahora mismo.
    pub fn lista(&self) -> Result<Arc<Vec<Archivo>>, Fallo> {
        let pedida = Instant::now();
        let mut ultima = cerrojo(&self.ultima_lista);
        if ultima.empezo.is_none_or(|empezo| empezo < pedida) {
            let empezo = Instant::now();
            let archivos = self.carpeta.listar()?;
            if *ultima.archivos != archivos {
                ultima.archivos = Arc::new(archivos);
            }
            ultima.empezo = Some(empezo);
        }
        Ok(Arc::clone(&ultima.archivos))
    }

    /// La carpeta tiene algo nuevo: si hay maestro, que lo sepa ya.
    pub fn cambio_la_carpeta(&self) {
        if let Some(maestro) = &self.maestro {
            maestro.despertar();
        }
    }

    /// Cuenta que alguien se conectó: siempre si habla como la guía; si no, sólo la primera vez que
    /// se ve esa IP (o tras un rato), porque los saludos de los nuestros llenarían la pantalla.
    pub fn contar_conexion(&self, desde: SocketAddr, como_la_guia: bool) {
        if hace_rato_que_no(&self.vistas, desde.ip()) || como_la_guia {
            self.avisador.avisar(format_args!("{CONEXION} {desde}"));
        }
    }

    /// Cuenta que a alguien no se le atiende, y por qué: una vez por IP cada rato.
    pub fn contar_que_no_entra(&self, desde: SocketAddr, por_que: &str) {
        if hace_rato_que_no(&self.rechazadas, desde.ip()) {
            let avisador = &self.avisador;
            avisador.avisar(format_args!("[NO ENTRA] {desde}: {por_que}"));
        }
    }

    /// Quién es, en la pregunta del menú; si se le pusieron fallas a propósito, también lo dice.
    pub fn quien_es(&self) -> String {
        let (nombre, puerto) = (&self.vecinos.nombre, self.direccion.port());
        let fallas = if self.laboratorio.con_fallas() {
            " · CON FALLAS"
        } else {
            ""
        };
        format!("{nombre}:{puerto}{fallas}")
    }

    /// La hora, para quien está delante.
    pub fn hora(&self) -> String {
        hora(Timestamp::now(), &self.zona)
    }

    /// Guarda un mensaje recibido. Pasado el tope, se olvida el más viejo.
    pub fn guardar_mensaje(&self, mensaje: Mensaje) {
        let mut mensajes = cerrojo(&self.mensajes);
        if mensajes.len() == MAX_MENSAJES {
            mensajes.pop_front();
        }
        mensajes.push_back(mensaje);
    }

    /// Los mensajes guardados, del más viejo al más nuevo.
    pub fn mensajes(&self) -> Vec<Mensaje> {
        cerrojo(&self.mensajes).iter().cloned().collect()
    }
}
