//! Las rutas REST del nodo, en su mismo puerto: lo que piden los documentos con maestro, y una página para el navegador.
//!
//! Se llega aquí desde `gestionar_peticion` cuando lo primero que mandan es HTTP. Nada se escribe por HTTP: recibir
//! archivos es cosa de `OFRECER`. Servir un archivo está en `rest/archivo.rs`; la página, en `pagina.rs`; y qué es
//! HTTP, en `http.rs`.

mod archivo;
mod pagina;

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::consola::preguntar_a_todos;
use crate::fallo::Fallo;
use crate::http::{self, Corte, Peticion, Respuesta, rechazar};
use crate::nodo::Nodo;
use crate::nodo::carpeta::NoSeAbre;
use crate::nodo::cliente::buscar_en_peers;
use crate::nodo::maestro::localizar::localizar;
use crate::nodo::palabras::contestar;
use crate::nodo::palabras::pedir::{FalloPar, saludar};
use crate::nodo::vecinos::Vecinos;
use crate::nodo::web::pagina::{Datos, Estado, pagina};
use crate::red::conexion::Conexion;
use crate::red::turnos::Turnos;

/// Cuántas peticiones pueden estar a la vez preguntando a los demás nodos: cada una abre un hilo por peer.
const TURNOS: usize = 8;
const ESPERA_DE_TURNO: Duration = Duration::from_secs(5);
/// Lo que se espera a cada peer para la página, en cada paso: conectar y saludar. Entre los dos, menos de un segundo.
const ESPERA_DE_PAGINA: Duration = Duration::from_millis(450);
/// Mientras no pase esto, la página enseña lo que se supo de los peers la vez anterior.
const VALE_EL_SONDEO: Duration = Duration::from_secs(2);
/// La página es de una máquina que no nos fía nada: sólo su propio estilo, y ni guiones ni marcos.
const POLITICA: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Los peers, y cómo está cada uno.
type Sondeo = Vec<(SocketAddr, Estado)>;

/// Lo que las peticiones REST de un nodo comparten.
pub struct Web {
    turnos: Turnos,
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
///
/// # Errores
/// La conexión falló.
pub fn responder(conexion: &mut Conexion, nodo: &Nodo) -> Result<(), contestar::Cierre> {
    Ok(http::atender(conexion, |conexion, peticion| {
        contestar(conexion, peticion, nodo)
    })?)
}

/// Las rutas.
fn contestar(
    conexion: &mut Conexion,
    peticion: &mut Peticion,
    nodo: &Nodo,
) -> Result<Respuesta, Corte> {
    let ruta = peticion.ruta.as_str();
    let nombre = ruta.strip_prefix("/files/");
    match ruta {
        "/refresh" => peticion.exigir_envio()?,
        "/" | "/files" | "/search" | "/info" | "/locate" => peticion.exigir_lectura()?,
        _ if nombre.is_some() => peticion.exigir_lectura()?,
        _ => {
            let hay = "hay /files, /files/NOMBRE, /search, /info, /locate y /refresh";
            return Err(rechazar(404, format!("aquí no hay «{ruta}»; {hay}")));
        }
    }
    match ruta {
        "/" => presentarse(conexion, peticion, nodo),
        "/files" => Ok(Respuesta::json(
            200,
            &json!({"peer": nodo.vecinos.nombre, "files": nombres(nodo)?}),
        )),
        "/search" => buscar_aqui(peticion.exigir_parametro("file")?, nodo),
        "/info" => informar(conexion, nodo),
        "/locate" => localizar_desde_aqui(conexion, peticion.exigir_parametro("file")?, nodo),
        "/refresh" => refrescar(nodo),
        _ => archivo::servir(conexion, peticion, nombre.unwrap_or_default(), nodo),
    }
}

/// `GET /`: una página si la pide un navegador; si no, JSON.
fn presentarse(
    conexion: &mut Conexion,
    peticion: &Peticion,
    nodo: &Nodo,
) -> Result<Respuesta, Corte> {
    let archivos = nodo.lista().map_err(no_se_lee)?;
    if peticion
        .acepta
        .as_deref()
        .is_some_and(|acepta| acepta.contains("text/html"))
    {
        let html = pagina(&Datos {
            nombre: &nodo.vecinos.nombre,
            direccion: aqui(conexion, nodo),
            archivos: &archivos,
            peers: &sondear(nodo),
            mensajes: &nodo.mensajes(),
        });
        let respuesta = Respuesta::html(html).con("Content-Security-Policy", POLITICA);
        return Ok(respuesta
            .con("Vary", "Accept")
            .con("Referrer-Policy", "no-referrer"));
    }
    let message = format!("Nodo {}", nodo.vecinos.nombre);
    let estado = json!({"message": message, "status": "activo", "archivos": archivos.len()});
    Ok(Respuesta::json(200, &estado).con("Vary", "Accept"))
}

fn buscar_aqui(archivo: &str, nodo: &Nodo) -> Result<Respuesta, Corte> {
    let exists = lo_tengo(archivo, nodo)?;
    Ok(Respuesta::json(
        200,
        &json!({"peer": nodo.vecinos.nombre, "file": archivo, "exists": exists}),
    ))
}

fn informar(conexion: &Conexion, nodo: &Nodo) -> Result<Respuesta, Corte> {
    let direccion = aqui(conexion, nodo);
    let info = json!({
        "id": nodo.vecinos.nombre, "rest_url": format!("http://{direccion}"),
        "grpc_port": 0, "puerto": direccion.port(), "files": nombres(nodo)?,
    });
    Ok(Respuesta::json(200, &info))
}

/// Quién tiene un archivo: este nodo; si no, sus peers; si no, quien diga el maestro.
fn localizar_desde_aqui(
    conexion: &Conexion,
    archivo: &str,
    nodo: &Nodo,
) -> Result<Respuesta, Corte> {
    let nuestro = |direccion: SocketAddr| json!({"rest": format!("http://{direccion}"), "grpc_port": 0, "puerto": direccion.port()});
    let mut peers: Vec<Value> = Vec::new();
    if lo_tengo(archivo, nodo)? {
        peers.push(nuestro(aqui(conexion, nodo)));
    } else {
        let turno = nodo.web.turnos.pedir(ESPERA_DE_TURNO, &nodo.saliendo);
        let _turno = turno.ok_or_else(|| {
            rechazar(
                503,
                "se está buscando demasiado a la vez; prueba dentro de un rato",
            )
        })?;
        peers.extend(
            buscar_en_peers(&nodo.vecinos, archivo)
                .into_iter()
                .map(nuestro),
        );
        if let (true, Some(maestro)) = (peers.is_empty(), &nodo.maestro) {
            peers = preguntar_al_maestro(maestro.url(), archivo, nodo);
        }
    }
    Ok(Respuesta::json(
        200,
        &json!({"file": archivo, "peers": peers}),
    ))
}

fn preguntar_al_maestro(maestro: &str, archivo: &str, nodo: &Nodo) -> Vec<Value> {
    let hallados = localizar(maestro, archivo, nodo.vecinos.limites, &nodo.saliendo)
        .unwrap_or_else(|fallo| {
            log::debug!("{fallo}");
            Vec::new()
        });
    hallados
        .into_iter()
        .map(|hallado| {
            let mut peer = json!({"rest": hallado.rest, "grpc_port": 0});
            if let Some(puerto) = hallado.puerto {
                peer["puerto"] = puerto.into();
            }
            peer
        })
        .collect()
}

/// `POST /refresh`: se vuelve a registrar en el maestro, si lo hay, y no contesta hasta que está hecho.
fn refrescar(nodo: &Nodo) -> Result<Respuesta, Corte> {
    let archivos = match &nodo.maestro {
        Some(maestro) => maestro
            .renovar(&nodo.saliendo, || nodo.nombres())
            .map_err(|fallo| rechazar(502, fallo.publico().to_string()))?,
        None => nombres(nodo)?,
    };
    Ok(Respuesta::json(
        200,
        &json!({"status": "refreshed", "files": archivos}),
    ))
}

fn nombres(nodo: &Nodo) -> Result<Vec<String>, Corte> {
    nodo.nombres().map_err(no_se_lee)
}

fn no_se_lee(fallo: Fallo) -> Corte {
    log::warn!("{fallo}");
    rechazar(500, fallo.publico().to_string())
}

fn lo_tengo(archivo: &str, nodo: &Nodo) -> Result<bool, Corte> {
    match nodo.estante.abrir(archivo) {
        Ok(_) => Ok(true),
        Err(NoSeAbre::NoEsta) => Ok(false),
        Err(NoSeAbre::SinDescriptores) => Err(sin_descriptores()),
    }
}

/// No es un «no está», y no debe parecerlo.
fn sin_descriptores() -> Corte {
    rechazar(
        503,
        "ahora mismo no se pueden abrir más archivos; prueba dentro de un rato",
    )
}

/// Este nodo, tal como lo llamó quien pregunta: si escuchamos en todas las IP, por aquella a la que se conectó.
fn aqui(conexion: &Conexion, nodo: &Nodo) -> SocketAddr {
    if !nodo.direccion.ip().is_unspecified() {
        return nodo.direccion;
    }
    let ip = conexion
        .socket()
        .local_addr()
        .map_or(nodo.direccion.ip(), |local| local.ip().to_canonical());
    SocketAddr::new(ip, nodo.direccion.port())
}

/// Qué peers responden, preguntando a todos a la vez. Recargar la página muchas veces seguidas no pregunta más.
fn sondear(nodo: &Nodo) -> Sondeo {
    let mut sondeo = nodo
        .web
        .sondeo
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    if let Some((cuando, estados)) = &*sondeo
        && cuando.elapsed() < VALE_EL_SONDEO
    {
        return estados.clone();
    }
    let vecinos = Vecinos {
        espera: ESPERA_DE_PAGINA,
        ..nodo.vecinos.clone()
    };
    let mut estados: Vec<_> = vecinos
        .peers
        .iter()
        .map(|peer| (*peer, Estado::Callado))
        .collect();
    preguntar_a_todos(
        &vecinos.peers,
        |peer| como_esta(&vecinos, peer),
        |respuestas| {
            for (lugar, estado) in respuestas {
                estados[lugar].1 = estado;
            }
        },
    );
    *sondeo = Some((Instant::now(), estados.clone()));
    estados
}

fn como_esta(vecinos: &Vecinos, peer: SocketAddr) -> Estado {
    match saludar(vecinos, peer) {
        Ok(quien) => Estado::Responde(quien.nombre),
        Err(FalloPar::Cerro) => Estado::DeLaGuia,
        Err(_) => Estado::Callado,
    }
}
