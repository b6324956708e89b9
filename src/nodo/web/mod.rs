//! Las rutas REST del nodo, en su mismo puerto: lo que piden los documentos con maestro, y una
//! página para el navegador.
//!
//! Se llega aquí desde `gestionar_peticion` cuando lo primero que mandan es HTTP. Nada se escribe
//! por HTTP: recibir archivos es cosa de `OFRECER`. Servir un archivo está en `archivo.rs`; la
//! página, en `pagina.rs`; los mensajes en vivo, en `vivo.rs`; y qué es HTTP, en `http/`.

mod archivo;
mod pagina;
mod vivo;

pub use vivo::es_de_aqui;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::consola::preguntar_a_todos;
use crate::grpc;
use crate::http::{self, CorteHttp, PeticionHttp, RespuestaHttp};
use crate::http::{con_lista, pieza, rechazar, solo_admite};
use crate::nodo::Nodo;
use crate::nodo::carpeta::{Archivo, NoSeAbre};
use crate::nodo::cliente::buscar_en_peers;
use crate::nodo::maestro::localizar::{
    Hallado, con_su_grpc, conocer_los_del_maestro, localizar, para_el_maestro,
};
use crate::nodo::palabras::pedir::{FalloPar, saludar};
use crate::nodo::palabras::servir::Cierre;
use crate::nodo::vecinos::Vecinos;
use crate::nodo::web::pagina::{Datos, EstadoDePeer, pagina};
use crate::red::conexion::Conexion;
use crate::red::maquina::sin_mapear;
use crate::red::parada::cerrojo;
use crate::red::turnos::Turnos;

/// Cuántas peticiones pueden estar a la vez preguntando a los demás nodos: cada una abre un hilo
/// por peer.
const TURNOS: usize = 8;
const ESPERA_DE_TURNO: Duration = Duration::from_secs(5);
/// Lo que se espera a cada peer para la página, en cada paso: conectar y saludar. Entre los dos,
/// menos de un segundo.
const ESPERA_DE_PAGINA: Duration = Duration::from_millis(450);
/// Mientras no pase esto, la página enseña lo que se supo de los peers la vez anterior.
const VALE_EL_SONDEO: Duration = Duration::from_secs(2);

/// Los peers, y cómo está cada uno.
type Sondeo = Vec<(SocketAddr, EstadoDePeer)>;

/// Lo que las peticiones REST de un nodo comparten.
pub struct Web {
    turnos: Turnos,
    /// De preguntar a los peers para la página se encarga uno solo: el que tenga el cerrojo, menos
    /// de un segundo. Los demás le esperan.
    sondeo: Mutex<Option<(Instant, Sondeo)>>,
}

impl Default for Web {
    fn default() -> Web {
        Web {
            turnos: Turnos::nuevos(TURNOS),
            sondeo: Mutex::default(),
        }
    }
}

/// Atiende una conexión HTTP: una petición y su respuesta.
pub fn responder(conexion: &mut Conexion, nodo: &Nodo) -> Result<(), Cierre> {
    let contestar = |conexion: &mut _, peticion: &mut _| contestar(conexion, peticion, nodo);
    Ok(http::atender(conexion, contestar)?)
}

/// Las rutas.
fn contestar(
    conexion: &mut Conexion,
    peticion: &mut PeticionHttp,
    nodo: &Nodo,
) -> Result<RespuestaHttp, CorteHttp> {
    let quien = &nodo.vecinos.nombre;
    match (peticion.metodo.as_str(), peticion.ruta.as_str()) {
        ("POST", "/refresh") => refrescar(nodo),
        (_, "/refresh") => Err(solo_admite("POST")),
        ("POST", "/upload") => {
            let frase = "por HTTP no se escribe: se recibe con OFRECER (nodo enviar ARCHIVO --a …)";
            Err(rechazar(403, frase))
        }
        (otro, _) if !matches!(otro, "GET" | "HEAD") => Err(solo_admite("GET, HEAD")),
        (_, "/") => presentarse(conexion, peticion, nodo),
        (_, "/files") => con_archivos(json!({"peer": quien}), compartidos(nodo)?),
        (_, "/search") => {
            let archivo = peticion.parametro("file")?;
            let exists = lo_tengo(archivo, nodo)?;
            let valor = json!({"peer": quien, "file": archivo, "exists": exists});
            Ok(RespuestaHttp::json(200, &valor))
        }
        (_, "/info") => {
            let yo = aqui(conexion, nodo);
            let (rest_url, puerto) = (format!("http://{yo}"), yo.port());
            let grpc_port = grpc::puerto(puerto);
            let info = json!({
                "id": quien, "rest_url": rest_url, "grpc_port": grpc_port, "puerto": puerto,
            });
            con_archivos(info, compartidos(nodo)?)
        }
        (_, "/vivo") => vivo::pagina(conexion, nodo),
        (_, "/sucesos") => vivo::sucesos(conexion, peticion, nodo),
        (_, "/locate") => localizar_desde_aqui(conexion, peticion.parametro("file")?, nodo),
        (_, ruta) => match ruta.strip_prefix("/files/") {
            Some(nombre) => archivo::servir(peticion, nombre, nodo),
            None => {
                let hay = "hay /files, /files/NOMBRE, /search, /info, /locate, /refresh y /vivo";
                Err(rechazar(404, format!("aquí no hay «{ruta}»; {hay}")))
            }
        },
    }
}

/// `GET /`: una página si la pide un navegador; si no, JSON.
fn presentarse(
    conexion: &mut Conexion,
    peticion: &PeticionHttp,
    nodo: &Nodo,
) -> Result<RespuestaHttp, CorteHttp> {
    let archivos = compartidos(nodo)?;
    let nombre = &nodo.vecinos.nombre;
    let mensajes = vivo::es_de_aqui(conexion).then(|| nodo.mensajes());
    let respuesta = if peticion.quiere_html() {
        pagina(&Datos {
            nombre,
            direccion: aqui(conexion, nodo),
            archivos: &archivos,
            peers: &sondear(nodo),
            mensajes: mensajes.as_deref(),
            en_vivo: vivo::puede_mirar(conexion, nodo),
            con_fallas: nodo.laboratorio.con_fallas(),
        })
    } else {
        let message = format!("Nodo {nombre}");
        let estado = json!({"message": message, "status": "activo", "archivos": archivos.len()});
        RespuestaHttp::json(200, &estado)
    };
    Ok(respuesta.con("Vary", "Accept"))
}

/// El objeto `inicio` con `"files"`, lo que comparte el nodo.
fn con_archivos(inicio: Value, archivos: Arc<Vec<Archivo>>) -> Result<RespuestaHttp, CorteHttp> {
    let nombres = (0..archivos.len()).map(move |n| pieza(&json!(archivos[n].nombre)));
    RespuestaHttp::json_por_piezas(con_lista(inicio, "files", nombres))
}

/// Quién tiene un archivo: este nodo; si no, sus peers; si no, quien diga el maestro.
fn localizar_desde_aqui(
    conexion: &Conexion,
    archivo: &str,
    nodo: &Nodo,
) -> Result<RespuestaHttp, CorteHttp> {
    let mut peers = Vec::new();
    if lo_tengo(archivo, nodo)? {
        let yo = aqui(conexion, nodo);
        peers.push(Hallado {
            grpc_port: grpc::puerto(yo.port()),
            ..Hallado::nuestro(yo)
        });
    } else {
        let turno = nodo.web.turnos.pedir(ESPERA_DE_TURNO, &nodo.saliendo);
        let frase = "se está buscando demasiado a la vez; prueba dentro de un rato";
        let _turno = turno.ok_or_else(|| rechazar(503, frase))?;
        let vecinos = nodo.vecinos.para_una_tanda(&nodo.saliendo);
        let duenos = buscar_en_peers(&vecinos, archivo, &|_| {}, &|_| {});
        let con_grpc =
            |duenos: Vec<SocketAddr>| con_su_grpc(&vecinos, &duenos, archivo, &nodo.saliendo);
        let duenos = duenos.and_then(con_grpc);
        peers = duenos.map_err(|fallo| rechazar(503, fallo.publico()))?;
        if let (true, Some(maestro)) = (peers.is_empty(), &nodo.vecinos.maestro) {
            let limites = para_el_maestro(&nodo.vecinos.limites);
            let hallados = localizar(maestro, archivo, &limites, &nodo.saliendo);
            let hallados = hallados.inspect_err(|fallo| log::debug!("{fallo}"));
            peers = hallados.unwrap_or_default();
        }
    }
    let peers: Vec<Value> = peers.iter().map(Hallado::en_json).collect();
    let valor = json!({"file": archivo, "peers": peers});
    Ok(RespuestaHttp::json(200, &valor))
}

/// `POST /refresh`: se vuelve a registrar en el maestro, si lo hay, y no contesta hasta que está
/// hecho.
fn refrescar(nodo: &Nodo) -> Result<RespuestaHttp, CorteHttp> {
    let archivos = match &nodo.maestro {
        Some(maestro) => maestro
            .refrescar(&nodo.saliendo)
            .map_err(|fallo| rechazar(502, fallo.publico()))?,
        None => compartidos(nodo)?,
    };
    con_archivos(json!({"status": "refreshed"}), archivos)
}

fn compartidos(nodo: &Nodo) -> Result<Arc<Vec<Archivo>>, CorteHttp> {
    nodo.lista().map_err(|fallo| {
        log::warn!("{fallo}");
        rechazar(500, fallo.publico())
    })
}

fn lo_tengo(archivo: &str, nodo: &Nodo) -> Result<bool, CorteHttp> {
    match nodo.estante.abrir(archivo) {
        Ok(_) => Ok(true),
        Err(NoSeAbre::NoEsta) => Ok(false),
        Err(NoSeAbre::SinDescriptores) => Err(sin_descriptores()),
    }
}

/// No es un «no está», y no debe parecerlo.
fn sin_descriptores() -> CorteHttp {
    let frase = "ahora mismo no se pueden abrir más archivos; prueba dentro de un rato";
    rechazar(503, frase)
}

/// Este nodo, tal como lo llamó quien pregunta: si escuchamos en todas las IP, por aquella a la que
/// se conectó.
fn aqui(conexion: &Conexion, nodo: &Nodo) -> SocketAddr {
    let mut aqui = nodo.direccion;
    if aqui.ip().is_unspecified()
        && let Ok(local) = conexion.socket().local_addr()
    {
        aqui.set_ip(local.ip());
    }
    sin_mapear(aqui)
}

/// Qué peers responden, preguntando a todos a la vez. Recargar la página muchas veces seguidas no
/// pregunta más, y quien espera se suelta al salir.
fn sondear(nodo: &Nodo) -> Sondeo {
    let mut sondeo = cerrojo(&nodo.web.sondeo);
    if let Some((cuando, estados)) = &*sondeo
        && cuando.elapsed() < VALE_EL_SONDEO
    {
        return estados.clone();
    }
    let mut con_prisa = nodo.vecinos.clone();
    con_prisa.espera = ESPERA_DE_PAGINA;
    if let Err(fallo) = conocer_los_del_maestro(&con_prisa, &nodo.saliendo) {
        log::debug!("{fallo}");
    }
    let vecinos = con_prisa.para_una_tanda(&nodo.saliendo);
    let peers = vecinos.peers.iter();
    let mut estados: Sondeo = peers.map(|peer| (*peer, EstadoDePeer::Callado)).collect();
    let pregunta = |peer| como_esta(&vecinos, peer);
    let preguntado = preguntar_a_todos(&vecinos.peers, pregunta, |respuestas| {
        for (lugar, estado) in respuestas {
            estados[lugar].1 = estado;
        }
    });
    if let Err(fallo) = preguntado {
        log::warn!("{fallo}");
    }
    *sondeo = Some((Instant::now(), estados.clone()));
    estados
}

fn como_esta(vecinos: &Vecinos, peer: SocketAddr) -> EstadoDePeer {
    match saludar(vecinos, peer) {
        Ok(quien) => EstadoDePeer::Responde(quien.nombre),
        Err(FalloPar::Cerro) => EstadoDePeer::DeLaGuia,
        Err(fallo @ FalloPar::Clave(_)) => EstadoDePeer::SinEntenderse(fallo.to_string()),
        Err(_) => EstadoDePeer::Callado,
    }
}
