//! El maestro: el directorio central de los documentos con *tracker* y REST, en el puerto 9000.
//!
//! Los peers le cuentan qué archivos tienen y él contesta quién tiene cada uno; los archivos no pasan por aquí. Es el
//! mismo `atender_conexiones` que el nodo, con otro `gestionar`: leer una petición HTTP, decidir, contestar. Lo que
//! sabe está en `directorio.rs`, quien lo mantiene al día en `vigilante.rs`, y a quién se admite en `altas.rs`. No guarda nada en disco: si se reinicia,
//! los nodos vuelven solos.

pub mod altas;
pub mod cupo;
pub mod directorio;
pub mod ficha;
pub mod listados;
pub mod vigilante;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, select};
use log::debug;
use serde_json::json;

use self::altas::{leer_registro, quien_dice_ser};
use self::directorio::{Despedida, Registro};
use self::ficha::Ficha;
use self::listados::{escribir_directorio, escribir_localizados, escribir_peers};
use self::vigilante::{Ausencia, Guarda, Vigilante};
use crate::config::{Limites, MAX_CONEXIONES};
use crate::consola::eventos::Avisador;
use crate::consola::pantalla::Pantalla;
use crate::consola::teclado::avisos_de_ctrl_c;
use crate::fallo::{Fallo, Salida};
use crate::http::{self, Corte, Peticion, Respuesta, rechazar};
use crate::ordenes::opciones as argumentos;
use crate::red::conexion::Conexion;
use crate::red::turnos::{Turno, Turnos};
use crate::red::{self, Parada, Servidor};
use crate::texto::cuenta;

/// El puerto de los documentos.
const PUERTO: u16 = 9000;
/// Tope del cuerpo de un registro, en bytes.
const TOPE_REGISTRO: usize = 8 * 1024 * 1024;
/// Tope del cuerpo de una despedida, en bytes.
const TOPE_DESPEDIDA: usize = 64 * 1024;
/// A partir de aquí un cuerpo (bytes) o un listado (archivos) es grande, y se hace por turno: su memoria es de verdad.
const GRANDE: usize = 64 * 1024;
/// Cuántas cosas grandes a la vez, y cuánto se espera el turno.
const TURNOS: usize = 4;
const ESPERA_DE_TURNO: Duration = Duration::from_secs(10);

/// `nodo maestro`: atiende hasta Ctrl-C.
///
/// # Errores
/// El puerto no se puede abrir o el sistema no da hilos.
pub fn abrir(opciones: argumentos::Maestro, pantalla: &mut Pantalla) -> Result<Salida, Fallo> {
    let ip = opciones.donde.ip.unwrap_or(Ipv4Addr::LOCALHOST.into());
    let direccion = SocketAddr::new(ip, opciones.donde.puerto.unwrap_or(PUERTO));
    let fallo = |error| red::fallo_al_abrir(direccion, "--puerto", &error);
    let escucha = red::abrir_puerto(direccion.ip(), direccion.port()).map_err(fallo)?;
    let puerto = escucha.local_addr().map_err(fallo)?.port();
    let ctrl_c = avisos_de_ctrl_c()?;

    let (avisador, oir) = Avisador::nuevo();
    let maestro = Arc::new(Maestro::nuevo(avisador.clone()));
    let contar = avisador.clone();
    let vigilante = Vigilante::arrancar(Arc::clone(&maestro.guarda), move |ficha, por| {
        contar.avisar(Suceso::Falta(ficha.rest.clone(), por));
    })?;
    let parada = Arc::new(Parada::nueva(red::conexiones_posibles(MAX_CONEXIONES)));
    let servidor = Servidor::arrancar(escucha, parada, move |socket, desde| {
        gestionar_registro(
            Conexion::aceptada(socket, desde, Limites::default()),
            &maestro,
        );
    })?;

    pantalla.linea(format!("[ESCUCHANDO] Maestro activo en puerto {puerto}"));
    pintar_hasta_ctrl_c(&oir, &avisador, &ctrl_c, pantalla);
    servidor.detener(&ctrl_c, |quedan| {
        pantalla.aviso(format!(
            "Terminando {}…",
            cuenta(quedan, "petición", "peticiones")
        ));
    });
    vigilante.detener();
    Ok(Salida::Interrumpido)
}

fn pintar_hasta_ctrl_c(
    oir: &Receiver<Suceso>,
    avisador: &Avisador<Suceso>,
    ctrl_c: &Receiver<()>,
    pantalla: &mut Pantalla,
) {
    while !pantalla.rota() {
        select! {
            recv(ctrl_c) -> _ => return,
            recv(oir) -> suceso => {
                pantalla.tanda(suceso.into_iter().chain(oir.try_iter()).map(|s| s.to_string()));
                match avisador.perdidos() {
                    0 => {}
                    n => pantalla.aviso(format!("(y {} que no dio tiempo a contar)", cuenta(n, "suceso", "sucesos"))),
                }
            }
        }
    }
}

/// Lo que quien mira la pantalla debe ver. Las renovaciones no: serían una línea por nodo cada cinco segundos.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Suceso {
    Llega(String, usize),
    SeVa(String),
    Falta(String, Ausencia),
}

impl fmt::Display for Suceso {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Suceso::Llega(quien, n) => {
                write!(
                    f,
                    "[REGISTRADO] {quien} con {}",
                    cuenta(*n, "archivo", "archivos")
                )
            }
            Suceso::SeVa(quien) => write!(f, "[DESPEDIDO] {quien}"),
            Suceso::Falta(quien, Ausencia::Caduco) => {
                write!(f, "[CADUCADO] {quien} dejó de renovar")
            }
            Suceso::Falta(quien, Ausencia::NoResponde) => write!(f, "[CAÍDO] {quien} no responde"),
        }
    }
}

/// Una conexión con el maestro: una pregunta y su respuesta.
fn gestionar_registro(mut conexion: Conexion, maestro: &Maestro) {
    let desde = conexion.otro();
    if let Err(fallo) = http::atender(&mut conexion, |conexion, peticion| {
        maestro.contestar(conexion, peticion)
    }) {
        debug!("{desde}: {fallo}");
    }
}

struct Maestro {
    guarda: Arc<Guarda>,
    avisador: Avisador<Suceso>,
    turnos: Turnos,
}

impl Maestro {
    fn nuevo(avisador: Avisador<Suceso>) -> Maestro {
        Maestro {
            guarda: Arc::default(),
            avisador,
            turnos: Turnos::nuevos(TURNOS),
        }
    }

    /// Las seis rutas.
    fn contestar(
        &self,
        conexion: &mut Conexion,
        peticion: &mut Peticion,
    ) -> Result<Respuesta, Corte> {
        match peticion.ruta.as_str() {
            "/register" | "/leave" => peticion.exigir_envio()?,
            "/" | "/locate" | "/peers" | "/directory" => peticion.exigir_lectura()?,
            otra => {
                return Err(rechazar(
                    404,
                    format!(
                        "aquí no hay «{otra}»; hay /register, /leave, /locate, /peers y /directory"
                    ),
                ));
            }
        }
        match peticion.ruta.as_str() {
            "/register" => self.registrar(conexion, peticion),
            "/leave" => self.despedir(conexion, peticion),
            "/locate" => Ok(self.localizar(peticion.exigir_parametro("file")?)),
            "/peers" => self.listar(escribir_peers),
            "/directory" => self.listar(escribir_directorio),
            _ => Ok(self.presentarse()),
        }
    }

    fn presentarse(&self) -> Respuesta {
        let peers = self
            .guarda
            .con(|directorio| directorio.cuantos(Instant::now()));
        Respuesta::json(
            200,
            &json!({"message": "Maestro: el directorio de la red", "status": "activo", "peers_registrados": peers}),
        )
    }

    fn registrar(
        &self,
        conexion: &mut Conexion,
        peticion: &mut Peticion,
    ) -> Result<Respuesta, Corte> {
        let _turno = self.turno_si(peticion.largo() > GRANDE as u64)?;
        let cuerpo = http::leer_json(conexion, peticion, TOPE_REGISTRO)?;
        let desde = conexion.otro().ip().to_canonical();
        let (ficha, ttl) = leer_registro(cuerpo, desde)?;
        let contestado = json!({
            "status": "registered", "peer": ficha.rest, "grpc_port": ficha.grpc_port,
            "files": ficha.archivos.iter().map(|nombre| &**nombre).collect::<Vec<&str>>(),
        });
        let llega = Suceso::Llega(ficha.rest.clone(), ficha.archivos.len());
        match self
            .guarda
            .con(|directorio| directorio.registrar(ficha, ttl, Instant::now()))
        {
            Ok(Registro::Nuevo) => self.avisador.avisar(llega),
            Ok(Registro::Cambiado | Registro::Renovado) => {}
            Err(no_cabe) => return Err(rechazar(503, no_cabe.to_string())),
        }
        Ok(Respuesta::json(200, &contestado))
    }

    fn despedir(
        &self,
        conexion: &mut Conexion,
        peticion: &mut Peticion,
    ) -> Result<Respuesta, Corte> {
        let cuerpo = http::leer_json(conexion, peticion, TOPE_DESPEDIDA)?;
        let desde = conexion.otro().ip().to_canonical();
        let (rest, direccion) = quien_dice_ser(&cuerpo, desde)?;
        match self
            .guarda
            .con(|directorio| directorio.despedir(direccion, desde))
        {
            Despedida::Hecha(ficha) => self.avisador.avisar(Suceso::SeVa(ficha.rest.clone())),
            // Quien se despide dos veces, o de un maestro recién reiniciado, ya está fuera: es lo que quería.
            Despedida::NoEstaba => {}
            Despedida::DeOtro => {
                return Err(rechazar(
                    403,
                    format!("{rest} se registró desde otra IP: sólo desde ella se puede despedir"),
                ));
            }
        }
        Ok(Respuesta::json(
            200,
            &json!({"status": "left", "peer": rest}),
        ))
    }

    fn localizar(&self, archivo: &str) -> Respuesta {
        let duenos = self
            .guarda
            .con(|directorio| directorio.localizar(archivo, Instant::now()));
        Respuesta::json_escrito(200, escribir_localizados(archivo, &duenos))
    }

    /// Un listado de todo: del directorio se toma una foto, y se escribe ya sin retener a nadie.
    fn listar(&self, escribir: fn(&[Arc<Ficha>]) -> Vec<u8>) -> Result<Respuesta, Corte> {
        let mut fichas = self
            .guarda
            .con(|directorio| directorio.todos(Instant::now()));
        let archivos: usize = fichas.iter().map(|ficha| ficha.archivos.len()).sum();
        let turno = self.turno_si(archivos + fichas.len() > GRANDE)?;
        fichas.sort_by_key(|ficha| ficha.direccion);
        Ok(Respuesta::json_escrito(200, escribir(&fichas)).reteniendo(turno))
    }

    /// Las cosas grandes, de pocas en pocas: mil a la vez no cabrían en memoria.
    fn turno_si(&self, grande: bool) -> Result<Option<Turno>, Corte> {
        if !grande {
            return Ok(None);
        }
        let turno = self.turnos.pedir(ESPERA_DE_TURNO);
        turno.map(Some).ok_or_else(|| {
            rechazar(
                503,
                "ahora mismo hay demasiadas peticiones grandes; prueba dentro de un rato",
            )
        })
    }
}
