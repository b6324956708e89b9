//! `TrackerService`: el directorio de los documentos con *tracker*, en otro puerto del maestro y
//! sobre el mismo directorio.
//!
//! Sus peers dicen quiénes son con un texto, y sus clientes piden
//! `http://<ese texto>:5000/files/…`: quien se llama como una IP está también en el REST, en ese
//! puerto, y a quien está en él por el REST se le llama por su IP. Los que se llaman de otra manera
//! (`peer_1`) no dicen dónde están: sólo los ve quien pregunta aquí.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use hyper::{Request, Response};
use log::debug;
use serde_json::json;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;

use super::Salon;
use super::conversacion::{Contesta, conversar};
use super::mensajes::tracker::tracker_service_server::{TrackerService, TrackerServiceServer};
use super::mensajes::tracker::{
    LeavePeerRequest, LeavePeerResponse, RegisterPeerRequest, RegisterPeerResponse,
    SearchFileRequest, SearchFileResponse,
};
use crate::config::{Limites, MAX_CONEXIONES, MAX_NOMBRE};
use crate::consola::eventos::Avisador;
use crate::fallo::Fallo;
use crate::http::CorteHttp;
use crate::nodo::carpeta::nombres::en_nfc;
use crate::nodo::maestro::registro::{MAX_ARCHIVOS, MAX_NOMBRE_DE_ARCHIVO};
use crate::practicas::maestro::altas::quien_dice_ser;
use crate::practicas::maestro::directorio::{Alta, Baja, Ficha, sin_repetidos};
use crate::practicas::maestro::vigilante::Guarda;
use crate::red::conexion::Conexion;
use crate::red::maquina::es_de_esta_maquina;
use crate::red::parada::{Parada, cerrojo};
use crate::red::servidor::{Servidor, abrir_en};
use crate::texto::cuenta;

/// El puerto en que sirven sus archivos los peers de esos documentos.
const PUERTO_DE_SUS_PEERS: u16 = 5000;
/// El mensaje más grande que se lee, en bytes. Una lista de nombres ocupa, ya leída, bastante más.
const TOPE_DE_MENSAJE: usize = 1024 * 1024;
/// Cuántos se recuerdan por un nombre que no es una IP, de todos y de cada IP; y lo que pueden
/// ocupar sus listas, en bytes, más o menos.
const APODOS: (usize, usize) = (1024, 256);
const MAX_PESO: usize = 32 * 1024 * 1024;
/// Lo que gasta un nombre de archivo además de sus letras.
const PESO_DE_UN_NOMBRE: usize = 32;
/// A cuántos se nombra en una respuesta.
const MAX_HALLADOS: usize = 1024;

/// Abre el tracker en `donde`, con su propio bucle de `accept`.
pub fn abrir_tracker(
    donde: SocketAddr,
    guarda: &Arc<Guarda>,
    avisador: &Avisador,
    limites: &Limites,
    parada: &Parada,
) -> Result<(Servidor, SocketAddr), Fallo> {
    let (escucha, direccion) = abrir_en(donde, "--tracker")?;
    let tracker = Arc::new(Tracker {
        guarda: Arc::clone(guarda),
        avisador: avisador.clone(),
        apodos: Mutex::default(),
    });
    let sala = Arc::<Salon>::default();
    let gestionar = move |conexion| gestionar_llamadas(conexion, &tracker, &sala);
    let servidor = Servidor::arrancar(escucha, MAX_CONEXIONES, limites, parada.clone(), gestionar)?;
    Ok((servidor, direccion))
}

/// Una conexión con el tracker: todo lo que llega es gRPC.
fn gestionar_llamadas(mut conexion: Conexion, tracker: &Arc<Tracker>, sala: &Arc<Salon>) {
    let limite = Instant::now() + conexion.limites().peticion;
    let (tracker, desde) = (Arc::clone(tracker), conexion.otro().ip());
    if let Err(fallo) = conversar(&mut conexion, limite, sala, Llamante { tracker, desde }) {
        debug!("{}: {fallo}", conexion.otro());
    }
}

struct Tracker {
    guarda: Arc<Guarda>,
    avisador: Avisador,
    apodos: Mutex<BTreeMap<String, Apodo>>,
}

/// Un peer que no dice dónde está.
struct Apodo {
    /// Desde dónde se registró: sólo desde ahí se puede cambiar o quitar.
    desde: IpAddr,
    /// Sus archivos, en NFC.
    archivos: Vec<Arc<str>>,
}

impl Apodo {
    fn peso(&self) -> usize {
        let nombres = self.archivos.iter();
        nombres.map(|nombre| nombre.len() + PESO_DE_UN_NOMBRE).sum()
    }
}

/// Quien llama, desde una IP.
#[derive(Clone)]
struct Llamante {
    tracker: Arc<Tracker>,
    desde: IpAddr,
}

impl Contesta for Llamante {
    fn contestar(
        &self,
        peticion: Request<Body>,
    ) -> impl Future<Output = Response<Body>> + Send + 'static {
        let servicio = TrackerServiceServer::new(self.clone());
        let mut servicio = servicio.max_decoding_message_size(TOPE_DE_MENSAJE);
        async move {
            match servicio.call(peticion).await {
                Ok(respuesta) => respuesta,
                Err(imposible) => match imposible {},
            }
        }
    }
}

impl Llamante {
    fn registrar(&self, peer: &str, files: Vec<String>) -> Result<(), Status> {
        let archivos = leer_archivos(files)?;
        let cuantos = cuenta(archivos.len(), "archivo", "archivos");
        let nuevo = match peer.parse::<IpAddr>() {
            Ok(ip) => self.registrar_ip(ip, archivos)?,
            Err(_) => self.registrar_apodo(peer, archivos)?,
        };
        if nuevo {
            let avisador = &self.tracker.avisador;
            avisador.avisar(format_args!("[REGISTRADO] {peer} con {cuantos}, por gRPC"));
        }
        Ok(())
    }

    /// Con las reglas del REST: cada uno se registra a sí mismo. Verdadero si no estaba.
    fn registrar_ip(&self, ip: IpAddr, archivos: Vec<Arc<str>>) -> Result<bool, Status> {
        let (rest, direccion) = self.quien_es(ip)?;
        let ficha = Ficha {
            rest,
            direccion,
            desde: self.desde,
            de_aqui: es_de_esta_maquina(self.desde),
            grpc_port: 0,
            puerto: None,
            archivos,
        };
        let guarda = &self.tracker.guarda;
        let alta = guarda.con(|d| d.registrar(ficha, None, Instant::now()));
        let (alta, _) = alta.map_err(Status::resource_exhausted)?;
        Ok(alta == Alta::Nuevo)
    }

    fn registrar_apodo(&self, peer: &str, archivos: Vec<Arc<str>>) -> Result<bool, Status> {
        if !(1..=MAX_NOMBRE).contains(&peer.len()) {
            let frase = format!("«peer_id» es una IP o un nombre de 1 a {MAX_NOMBRE} bytes");
            return Err(Status::invalid_argument(frase));
        }
        let mut apodos = cerrojo(&self.tracker.apodos);
        let apodo = Apodo {
            desde: self.desde,
            archivos,
        };
        if apodos
            .get(peer)
            .is_some_and(|otro| otro.desde != apodo.desde)
        {
            let frase = format!("ya hay un «{peer}», registrado desde otra IP");
            return Err(Status::permission_denied(frase));
        }
        let otros = || apodos.iter().filter(|(nombre, _)| *nombre != peer);
        let suyos = otros().filter(|(_, otro)| otro.desde == apodo.desde);
        let peso = apodo.peso() + otros().map(|(_, otro)| otro.peso()).sum::<usize>();
        if otros().count() >= APODOS.0 || suyos.count() >= APODOS.1 || peso > MAX_PESO {
            return Err(Status::resource_exhausted("el directorio está lleno"));
        }
        Ok(apodos.insert(peer.to_string(), apodo).is_none())
    }

    fn quien_es(&self, ip: IpAddr) -> Result<(String, SocketAddr), Status> {
        let peer = SocketAddr::new(ip, PUERTO_DE_SUS_PEERS);
        let cuerpo = json!({"peer": format!("http://{peer}")});
        quien_dice_ser(&cuerpo, self.desde).map_err(|corte| {
            Status::permission_denied(match corte {
                CorteHttp::Rechazo(respuesta) => respuesta.por_que().to_string(),
                CorteHttp::Red(fallo) => fallo.to_string(),
            })
        })
    }

    fn buscar(&self, archivo: &str) -> Vec<String> {
        let guarda = &self.tracker.guarda;
        let duenos = guarda.con(|d| d.localizar(archivo, Instant::now()));
        let con_ip = duenos.iter().map(|ficha| como_se_llama(ficha.direccion));
        let (archivo, apodos) = (en_nfc(archivo), cerrojo(&self.tracker.apodos));
        let tiene = |apodo: &Apodo| apodo.archivos.iter().any(|nombre| **nombre == *archivo);
        let suyos = apodos.iter().filter(|(_, apodo)| tiene(apodo));
        let con_apodo = suyos.map(|(nombre, _)| nombre.clone());
        con_ip.chain(con_apodo).take(MAX_HALLADOS).collect()
    }

    /// Verdadero si estaba y se fue.
    fn despedir(&self, peer: &str) -> Result<bool, Status> {
        let de_otro = || {
            let frase = format!("{peer} se registró desde otra IP: sólo desde ella se va");
            Status::permission_denied(frase)
        };
        if let Ok(ip) = peer.parse::<IpAddr>() {
            let (_, direccion) = self.quien_es(ip)?;
            let baja = self
                .tracker
                .guarda
                .con(|d| d.despedir(direccion, self.desde));
            return match baja {
                Baja::Hecha(_) => Ok(true),
                Baja::NoEstaba => Ok(false),
                Baja::DeOtro => Err(de_otro()),
            };
        }
        let mut apodos = cerrojo(&self.tracker.apodos);
        match apodos.get(peer) {
            Some(apodo) if apodo.desde != self.desde => Err(de_otro()),
            _ => Ok(apodos.remove(peer).is_some()),
        }
    }
}

/// Su IP, si sirve en el puerto de siempre; si no, hay que decir también cuál.
fn como_se_llama(direccion: SocketAddr) -> String {
    match direccion.port() {
        PUERTO_DE_SUS_PEERS => direccion.ip().to_string(),
        _ => direccion.to_string(),
    }
}

fn leer_archivos(files: Vec<String>) -> Result<Vec<Arc<str>>, Status> {
    let cabe = |nombre: &String| (1..=MAX_NOMBRE_DE_ARCHIVO).contains(&nombre.len());
    if files.len() > MAX_ARCHIVOS || !files.iter().all(cabe) {
        let largos = format!("cada uno con un nombre de 1 a {MAX_NOMBRE_DE_ARCHIVO} bytes");
        let frase = format!("hasta {MAX_ARCHIVOS} archivos, {largos}");
        return Err(Status::invalid_argument(frase));
    }
    let nombres = files.iter().map(|nombre| Arc::from(en_nfc(nombre)));
    Ok(sin_repetidos(nombres.collect()))
}

#[tonic::async_trait]
impl TrackerService for Llamante {
    async fn register_peer(
        &self,
        peticion: tonic::Request<RegisterPeerRequest>,
    ) -> Result<tonic::Response<RegisterPeerResponse>, Status> {
        let RegisterPeerRequest { peer_id, files } = peticion.into_inner();
        self.registrar(&peer_id, files)?;
        Ok(tonic::Response::new(RegisterPeerResponse { success: true }))
    }

    async fn search_file(
        &self,
        peticion: tonic::Request<SearchFileRequest>,
    ) -> Result<tonic::Response<SearchFileResponse>, Status> {
        let peers = self.buscar(&peticion.into_inner().file_name);
        Ok(tonic::Response::new(SearchFileResponse { peers }))
    }

    async fn leave_peer(
        &self,
        peticion: tonic::Request<LeavePeerRequest>,
    ) -> Result<tonic::Response<LeavePeerResponse>, Status> {
        let peer = peticion.into_inner().peer_id;
        let success = self.despedir(&peer)?;
        if success {
            let avisador = &self.tracker.avisador;
            avisador.avisar(format_args!("[DESPEDIDO] {peer}, por gRPC"));
        }
        Ok(tonic::Response::new(LeavePeerResponse { success }))
    }
}
