//! El maestro: el directorio central de los documentos con *tracker* y REST, en el puerto 9000.
//!
//! Los peers le cuentan qué archivos tienen y él contesta quién tiene cada uno; los archivos no
//! pasan por aquí. Es el mismo `atender_conexiones` que el nodo, con otro `gestionar`: leer una
//! petición HTTP, decidir, contestar. Lo que sabe está en `directorio.rs`, quien lo mantiene al día
//! en `vigilante.rs`, y a quién se admite en `altas.rs`. No guarda nada en disco: si se reinicia,
//! los nodos vuelven solos.
//!
//! Nadie puede llenar su memoria ni dejar fuera a los demás. El peor caso, con 1024 conexiones:
//!
//! | qué | cuánto |
//! |---|---|
//! | quienes mandan poco a poco: la cabeza y un cuerpo corto (hasta 64 KiB) | 1024 × 72 KiB |
//! | cuerpos largos que están llegando: 8 MiB, por turno y a buen ritmo | 16 × 8 MiB |
//! | el registro que se está entendiendo, en el único hilo que lo hace | 40 MiB |
//! | quienes no leen su respuesta: sale por trozos y no retiene el directorio | 1024 × 64 KiB |
//! | el directorio | 256 MiB |

pub mod altas;
pub mod directorio;
pub mod vigilante;

use std::iter;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded, select};
use log::debug;
use serde_json::{Value, json};

use self::altas::{leer_registro, quien_dice_ser};
use self::directorio::{Alta, Baja, Directorio, Ficha, Tenencia};
use self::vigilante::{Guarda, vigilar};
use crate::config::{Limites, MAX_CONEXIONES};
use crate::consola::Consola;
use crate::consola::eventos::Avisador;
use crate::fallo::{Fallo, Salida};
use crate::grpc;
use crate::http::{CorteHttp, PeticionHttp, Pieza, RespuestaHttp, con_lista, pieza};
use crate::http::{atender, leer_cuerpo, leer_json, rechazar, solo_admite};
use crate::ordenes::opciones::DondeEscucha;
use crate::red::conexion::{Conexion, FalloRed};
use crate::red::hilos::arrancar;
use crate::red::parada::Parada;
use crate::red::servidor::{Servidor, abrir_en};
use crate::red::turnos::TurnosPorIp;
use crate::texto::cuenta;

/// El puerto de los documentos.
const PUERTO: u16 = 9000;
/// Sucesos que se enseñan de una vez; los demás se cuentan.
const SUCESOS_POR_TANDA: usize = 20;
/// Tope del cuerpo de un registro, en bytes.
const TOPE_REGISTRO: usize = 8 * 1024 * 1024;
/// Tope del cuerpo de una despedida, en bytes.
const TOPE_DESPEDIDA: usize = 4 * 1024;
/// Cuerpos largos que pueden estar llegando a la vez, de todos y de cada IP.
const LLEGADAS: usize = 16;
const LLEGADAS_POR_IP: usize = 2;
/// Cuánto se espera un turno.
const ESPERA_DE_TURNO: Duration = Duration::from_secs(20);
/// Archivos de `GET /directory` que se escriben cada vez que se toca el directorio.
const POR_VEZ: usize = 32;

/// `nodo maestro`: atiende hasta Ctrl-C. Con `tracker`, también por gRPC en ese puerto.
pub fn abrir(
    donde: &DondeEscucha,
    tracker: Option<u16>,
    limites: &Limites,
    consola: &mut Consola,
) -> Result<Salida, Fallo> {
    let (escucha, direccion) = abrir_en(donde.o_en(PUERTO), "--puerto")?;
    let avisador = consola.oir(SUCESOS_POR_TANDA);
    let parada = Parada::nueva();
    let (tareas, por_hacer) = bounded(0);
    let maestro = Arc::new(Maestro {
        guarda: Arc::default(),
        avisador: avisador.clone(),
        parada: parada.clone(),
        llegadas: TurnosPorIp::nuevos(LLEGADAS, LLEGADAS_POR_IP),
        tareas,
    });
    // Entender un registro son cien mil trozos pequeños de memoria. Si lo hiciera el hilo de cada
    // conexión quedarían huecos en la de todos, que el sistema no recupera: lo hace uno solo, hasta
    // que no queda quien le dé tareas.
    let registros = arrancar("registros", move || {
        por_hacer.into_iter().for_each(|tarea: Tarea| tarea());
    })?;
    let por_grpc = |puerto| {
        let en = SocketAddr::new(direccion.ip(), puerto);
        grpc::abrir_tracker(en, &maestro.guarda, &avisador, limites, &parada)
    };
    let tracker = tracker.map(por_grpc).transpose()?;
    let (guarda, hasta) = (Arc::clone(&maestro.guarda), parada.clone());
    let vigilante = arrancar("vigilante", move || vigilar(&guarda, &avisador, &hasta))?;
    let gestionar = move |conexion| gestionar_registro(conexion, &maestro);
    let servidor = Servidor::arrancar(escucha, MAX_CONEXIONES, limites, parada.clone(), gestionar)?;
    let linea = format!("[ESCUCHANDO] Maestro activo en puerto {}", direccion.port());
    consola.pantalla.linea(linea);
    if let Some((_, en)) = &tracker {
        let linea = format!("[ESCUCHANDO] Tracker gRPC activo en puerto {}", en.port());
        consola.pantalla.linea(linea);
    }
    let salida = consola.mirar();
    consola.despedir(servidor);
    if let Some((servidor, _)) = tracker {
        consola.despedir(servidor);
    }
    parada.cortar();
    vigilante.esperar();
    registros.esperar();
    Ok(salida)
}

type Tarea = Box<dyn FnOnce() + Send>;

/// Una conexión con el maestro: una pregunta y su respuesta.
fn gestionar_registro(mut conexion: Conexion, maestro: &Maestro) {
    let contestar = |conexion: &mut _, peticion: &mut _| maestro.contestar(conexion, peticion);
    if let Err(fallo) = atender(&mut conexion, contestar) {
        debug!("{}: {fallo}", conexion.otro());
    }
}

struct Maestro {
    guarda: Arc<Guarda>,
    avisador: Avisador,
    parada: Parada,
    llegadas: TurnosPorIp,
    /// Lo que ha de hacer el hilo `registros`.
    tareas: Sender<Tarea>,
}

impl Maestro {
    /// Las seis rutas.
    fn contestar(
        &self,
        conexion: &mut Conexion,
        peticion: &mut PeticionHttp,
    ) -> Result<RespuestaHttp, CorteHttp> {
        let ahora = Instant::now();
        match (peticion.metodo.as_str(), peticion.ruta.as_str()) {
            ("POST", "/register") => self.registrar(conexion, peticion),
            ("POST", "/leave") => self.despedir(conexion, peticion),
            (_, "/register" | "/leave") => Err(solo_admite("POST")),
            (otro, _) if !matches!(otro, "GET" | "HEAD") => Err(solo_admite("GET, HEAD")),
            (_, "/") => {
                let peers = self.guarda.con(|d| d.todos(ahora)).len();
                let message = "Maestro: el directorio de la red";
                let estado =
                    json!({"message": message, "status": "activo", "peers_registrados": peers});
                Ok(RespuestaHttp::json(200, &estado))
            }
            (_, "/locate") => {
                let archivo = peticion.parametro("file")?;
                let duenos = self.guarda.con(|d| d.localizar(archivo, ahora));
                RespuestaHttp::json_por_piezas(localizados(archivo, &duenos))
            }
            (_, "/peers") => {
                RespuestaHttp::json_por_piezas(peers(&self.guarda.con(|d| d.todos(ahora))))
            }
            (_, "/directory") => {
                RespuestaHttp::json_por_piezas(directorio(Arc::clone(&self.guarda)))
            }
            (_, otra) => {
                let hay = "hay /register, /leave, /locate, /peers y /directory";
                Err(rechazar(404, format!("aquí no hay «{otra}»; {hay}")))
            }
        }
    }

    /// Hace `tarea` en el hilo `registros` y espera su resultado.
    fn hacer<T: Send + 'static>(
        &self,
        tarea: impl FnOnce() -> Result<T, CorteHttp> + Send + 'static,
    ) -> Result<T, CorteHttp> {
        let (contestar, contestado) = bounded(1);
        let tarea: Tarea = Box::new(move || {
            // Sólo falla si quien preguntaba se cansó de esperar.
            let _ = contestar.send(tarea());
        });
        select! {
            send(self.tareas, tarea) -> _ => {}
            recv(self.parada.canal()) -> _ => return Err(ocupado()),
            default(ESPERA_DE_TURNO) => return Err(ocupado()),
        }
        contestado.recv().unwrap_or_else(|_| Err(ocupado()))
    }

    fn registrar(
        &self,
        conexion: &mut Conexion,
        peticion: &mut PeticionHttp,
    ) -> Result<RespuestaHttp, CorteHttp> {
        let desde = conexion.otro().ip();
        let permiso = || {
            let turno = self.llegadas.pedir(desde, ESPERA_DE_TURNO, &self.parada);
            turno.ok_or_else(ocupado)
        };
        let (cuerpo, _llegada) = leer_cuerpo(conexion, peticion, TOPE_REGISTRO, permiso)?;
        let guarda = Arc::clone(&self.guarda);
        let (alta, ficha) = self.hacer(move || {
            let (ficha, ttl) = leer_registro(&cuerpo, desde)?;
            let registrada = guarda.con(|d| d.registrar(ficha, ttl, Instant::now()));
            registrada.map_err(|no_cabe| rechazar(503, no_cabe))
        })?;
        // Las renovaciones no se cuentan: serían una línea por nodo cada cinco segundos.
        if alta == Alta::Nuevo {
            let cuantos = cuenta(ficha.archivos.len(), "archivo", "archivos");
            self.avisador
                .avisar(format_args!("[REGISTRADO] {} con {cuantos}", ficha.rest));
        }
        RespuestaHttp::json_por_piezas(registrado(&ficha))
    }

    fn despedir(
        &self,
        conexion: &mut Conexion,
        peticion: &mut PeticionHttp,
    ) -> Result<RespuestaHttp, CorteHttp> {
        let (cuerpo, _) = leer_cuerpo(conexion, peticion, TOPE_DESPEDIDA, || Ok(()))?;
        let desde = conexion.otro().ip();
        let quien = self.hacer(move || quien_dice_ser(&leer_json(&cuerpo)?, desde));
        let (rest, direccion) = quien?;
        match self.guarda.con(|d| d.despedir(direccion, desde)) {
            Baja::Hecha(ficha) => self
                .avisador
                .avisar(format_args!("[DESPEDIDO] {}", ficha.rest)),
            // Quien se despide dos veces, o de un maestro recién reiniciado, ya está fuera: es lo
            // que quería.
            Baja::NoEstaba => {}
            Baja::DeOtro => {
                let solo = "sólo desde ella se puede despedir";
                let frase = format!("{rest} se registró desde otra IP: {solo}");
                return Err(rechazar(403, frase));
            }
        }
        let contestado = json!({"status": "left", "peer": rest});
        Ok(RespuestaHttp::json(200, &contestado))
    }
}

fn ocupado() -> CorteHttp {
    let frase = "ahora mismo hay demasiados registros a la vez; prueba dentro de un rato";
    rechazar(503, frase)
}

// ----- Las respuestas largas, pieza a pieza: entre una y otra no retienen ninguna ficha -----

/// La respuesta a `POST /register`.
fn registrado(ficha: &Arc<Ficha>) -> impl Iterator<Item = Pieza> + use<> {
    let (rest, grpc_port) = (&ficha.rest, ficha.grpc_port);
    let estado = json!({"status": "registered", "peer": rest, "grpc_port": grpc_port});
    con_lista(estado, "files", archivos_de(ficha))
}

/// `GET /locate`: quién tiene `archivo`.
fn localizados(archivo: &str, duenos: &[Arc<Ficha>]) -> impl Iterator<Item = Pieza> + use<> {
    let duenos = los_que_sigan(duenos).map(|ficha| {
        let mut dueno = contacto(&ficha);
        if let Some(puerto) = ficha.puerto {
            dueno["puerto"] = puerto.into();
        }
        pieza(&dueno)
    });
    con_lista(json!({"file": archivo}), "peers", duenos)
}

/// `GET /peers`: quiénes están, y qué tiene cada uno.
fn peers(fichas: &[Arc<Ficha>]) -> impl Iterator<Item = Pieza> + use<> {
    let fichas = los_que_sigan(fichas)
        .map(|ficha| con_lista(contacto(&ficha), "files", archivos_de(&ficha)));
    con_lista(json!({}), "peers", fichas)
}

/// `GET /directory`: de cada archivo, quién lo tiene. Se sigue siempre tras lo último escrito.
fn directorio(guarda: Arc<Guarda>) -> impl Iterator<Item = Pieza> {
    let (mut ultima, mut acabado) = (None, false);
    iter::from_fn(move || {
        if acabado {
            return None;
        }
        let (trozo, siguiente) = guarda.con(|d| seguir(d, ultima.as_ref()));
        acabado = siguiente.is_none();
        ultima = siguiente;
        Some(Ok(trozo.into()))
    })
}

/// Lo que sigue del listado de archivos tras `ultima`, y cuál es ahora la última; `None` si ya no
/// hay más.
fn seguir(directorio: &Directorio, ultima: Option<&Tenencia>) -> (String, Option<Tenencia>) {
    let (mut trozo, mut anterior) = (String::new(), ultima);
    let mut quedan = directorio.archivos(ultima, Instant::now());
    for (tenencia, ficha) in quedan.by_ref().take(POR_VEZ) {
        let nombre = json!(*tenencia.nombre);
        trozo += &match anterior {
            Some(otra) if otra.nombre == tenencia.nombre => ",".to_string(),
            Some(_) => format!("],{nombre}:["),
            None => format!("{{\"directory\":{{{nombre}:["),
        };
        trozo += &contacto(ficha).to_string();
        anterior = Some(tenencia);
    }
    let hay_mas = quedan.next().is_some();
    trozo += match anterior {
        _ if hay_mas => "",
        Some(_) => "]}}",
        None => "{\"directory\":{}}",
    };
    (trozo, anterior.filter(|_| hay_mas).cloned())
}

fn los_que_sigan(fichas: &[Arc<Ficha>]) -> impl Iterator<Item = Arc<Ficha>> + use<> {
    let fichas: Vec<Weak<Ficha>> = fichas.iter().map(Arc::downgrade).collect();
    fichas.into_iter().filter_map(|ficha| ficha.upgrade())
}

fn contacto(ficha: &Ficha) -> Value {
    json!({"rest": ficha.rest, "grpc_port": ficha.grpc_port})
}

/// Los archivos de `ficha`. Si se registra de nuevo o se va mientras se escriben, la respuesta se
/// corta: esa lista ya no existe.
fn archivos_de(ficha: &Arc<Ficha>) -> impl Iterator<Item = iter::Once<Pieza>> + use<> {
    let (cuantos, ficha) = (ficha.archivos.len(), Arc::downgrade(ficha));
    (0..cuantos).map(move |n| match ficha.upgrade() {
        Some(ficha) => pieza(&json!(*ficha.archivos[n])),
        None => iter::once(Err(FalloRed::Cortada)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leer(piezas: impl Iterator<Item = Pieza>) -> Value {
        let texto: String = piezas.map(Result::unwrap).collect();
        serde_json::from_str(&texto).unwrap_or_else(|error| panic!("{error}: {texto}"))
    }

    fn alta(guarda: &Guarda, puerto: u16, files: &[&str]) -> Arc<Ficha> {
        let peer = format!("http://127.0.0.1:{puerto}");
        let cuerpo = json!({"peer": peer, "files": files, "grpc_port": 9002}).to_string();
        let (ficha, ttl) = leer_registro(cuerpo.as_bytes(), [127, 0, 0, 1].into()).unwrap();
        let registrada = guarda.con(|d| d.registrar(ficha, ttl, Instant::now()));
        registrada.unwrap().1
    }

    #[test]
    fn los_listados_son_json_aunque_los_nombres_sean_raros() {
        let raro = "a\"b\\c\n\u{1}ñ</script>";
        let guarda = Arc::<Guarda>::default();
        assert_eq!(
            leer(directorio(Arc::clone(&guarda))),
            json!({"directory": {}})
        );
        assert_eq!(leer(peers(&[])), json!({"peers": []}));
        let ficha = alta(&guarda, 1, &[raro, "b"]);
        let contacto = json!({"rest": "http://127.0.0.1:1", "grpc_port": 9002});
        assert_eq!(
            leer(directorio(Arc::clone(&guarda))),
            json!({"directory": {raro: [contacto], "b": [contacto]}})
        );
        let peer = json!({"rest": "http://127.0.0.1:1", "grpc_port": 9002, "files": [raro, "b"]});
        assert_eq!(leer(peers(&[Arc::clone(&ficha)])), json!({"peers": [peer]}));
        assert_eq!(
            leer(localizados(raro, &[Arc::clone(&ficha)])),
            json!({"file": raro, "peers": [contacto]})
        );
        assert_eq!(leer(registrado(&ficha))["files"], json!([raro, "b"]));
    }

    #[test]
    fn un_directorio_largo_se_sigue_por_donde_iba() {
        let guarda = Arc::<Guarda>::default();
        let nombres: Vec<String> = (0..POR_VEZ * 3).map(|n| format!("{n:03}")).collect();
        let nombres: Vec<&str> = nombres.iter().map(String::as_str).collect();
        // Con tres dueños de cada uno, los trozos acaban en mitad de una lista de dueños.
        for puerto in 1..=3 {
            alta(&guarda, puerto, &nombres);
        }
        let leido = leer(directorio(Arc::clone(&guarda)));
        let leido = leido["directory"].as_object().unwrap();
        assert_eq!(leido.len(), nombres.len());
        assert!(
            leido
                .values()
                .all(|duenos| duenos.as_array().unwrap().len() == 3)
        );
    }

    #[test]
    fn una_respuesta_a_medias_no_retiene_lo_que_ya_se_sustituyo() {
        let guarda = Arc::<Guarda>::default();
        let ficha = alta(&guarda, 1, &["a", "b"]);
        let (mut suya, mut todos) = (registrado(&ficha), peers(&[Arc::clone(&ficha)]));
        // La apertura, la coma que no hay y el primer nombre; en la otra, además, lo de su
        // contacto.
        assert!(
            suya.by_ref()
                .take(3)
                .chain(todos.by_ref().take(5))
                .all(|p| p.is_ok())
        );
        let vieja = Arc::downgrade(&ficha);
        drop(ficha);
        alta(&guarda, 1, &["c"]);
        assert_eq!(vieja.strong_count(), 0);
        assert!(suya.any(|pieza| pieza.is_err()) && todos.any(|pieza| pieza.is_err()));
    }
}
