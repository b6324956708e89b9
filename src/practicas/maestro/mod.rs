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

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::debug;
use serde_json::json;

use self::altas::{leer_registro, quien_dice_ser};
use self::directorio::{Despedida, Registro};
use self::ficha::Ficha;
use self::listados::{escribir_directorio, escribir_localizados, escribir_peers};
use self::vigilante::{Guarda, arrancar_vigilante};
use crate::config::{Limites, MAX_CONEXIONES};
use crate::consola::Consola;
use crate::consola::eventos::Avisador;
use crate::fallo::{Fallo, Salida};
use crate::http::{self, Corte, Peticion, Respuesta, rechazar};
use crate::ordenes::opciones::DondeEscucha;
use crate::red::conexion::Conexion;
use crate::red::parada::Parada;
use crate::red::servidor::{Servidor, abrir_en};
use crate::red::turnos::{Turno, Turnos};
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

/// Sucesos que se enseñan de una vez; los demás se cuentan.
const SUCESOS_POR_TANDA: usize = 20;

/// `nodo maestro`: atiende hasta Ctrl-C.
pub fn abrir(donde: &DondeEscucha, consola: &mut Consola) -> Result<Salida, Fallo> {
    let (escucha, direccion) = abrir_en(donde.o_en(PUERTO), "--puerto")?;
    let (avisador, oyente) = Avisador::nuevo(SUCESOS_POR_TANDA);
    consola.oir(oyente);
    let parada = Parada::nueva();
    let maestro = Arc::new(Maestro::nuevo(avisador.clone(), parada.clone()));
    let vigilante = arrancar_vigilante(Arc::clone(&maestro.guarda), avisador, parada.clone())?;
    let atender = move |conexion: &Arc<TcpStream>, desde| {
        gestionar_registro(conexion, desde, &maestro);
    };
    let servidor = Servidor::arrancar(escucha, MAX_CONEXIONES, parada.clone(), atender)?;
    let puerto = direccion.port();
    consola
        .pantalla
        .linea(format!("[ESCUCHANDO] Maestro activo en puerto {puerto}"));
    let salida = consola.mirar();
    consola.despedir(servidor);
    parada.cortar();
    vigilante.esperar();
    Ok(salida)
}

/// Una conexión con el maestro: una pregunta y su respuesta.
fn gestionar_registro(socket: &Arc<TcpStream>, desde: SocketAddr, maestro: &Maestro) {
    let mut conexion = Conexion::aceptada(socket, desde, Limites::default());
    if let Err(fallo) = http::atender(&mut conexion, |conexion, peticion| {
        maestro.contestar(conexion, peticion)
    }) {
        debug!("{desde}: {fallo}");
    }
}

struct Maestro {
    guarda: Arc<Guarda>,
    avisador: Avisador,
    parada: Parada,
    turnos: Turnos,
}

impl Maestro {
    fn nuevo(avisador: Avisador, parada: Parada) -> Maestro {
        Maestro {
            guarda: Arc::default(),
            avisador,
            parada,
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
        let cuantos = cuenta(ficha.archivos.len(), "archivo", "archivos");
        let llega = format!("[REGISTRADO] {} con {cuantos}", ficha.rest);
        match self
            .guarda
            .con(|directorio| directorio.registrar(ficha, ttl, Instant::now()))
        {
            Ok(Registro::Nuevo) => self.avisador.avisar(format_args!("{llega}")),
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
            Despedida::Hecha(ficha) => self
                .avisador
                .avisar(format_args!("[DESPEDIDO] {}", ficha.rest)),
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
        let turno = self.turnos.pedir(ESPERA_DE_TURNO, &self.parada);
        turno.map(Some).ok_or_else(|| {
            rechazar(
                503,
                "ahora mismo hay demasiadas peticiones grandes; prueba dentro de un rato",
            )
        })
    }
}
