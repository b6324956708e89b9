//! El otro lado: llamar a un peer de los documentos. Funciones que bloquean, con los plazos de
//! siempre y cortadas por la misma parada.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper::http::Uri;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::time::timeout;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::{Code, Status};

use super::conversacion::{TIC, runtime_del_hilo};
use super::enchufe::Enchufe;
use super::mensajes::archivos::DownloadRequest;
use super::mensajes::archivos::file_service_client::FileServiceClient;
use super::{NO_ESTA, TOPE_DE_MENSAJE};
use crate::config::Limites;
use crate::fallo::{Fallo, motivo};
use crate::red::conexion::{FalloRed, conectar};
use crate::red::parada::{Parada, cerrojo};
use crate::texto::limpiar;

/// Bytes que el otro puede mandar sin que se hayan leído: que un archivo no espere a cada ventana.
const VENTANA: u32 = 1024 * 1024;
/// Lo que puede durar una llamada, por poco que avance.
const PLAZO: Duration = Duration::from_secs(300);
/// Lo que se cuenta de por qué no lo da, en letras.
const MAX_MOTIVO: usize = 200;

/// Baja `nombre` de `peer` con `Download`: el archivo entero, en un mensaje. `None` si no lo tiene.
///
/// # Errores
/// No contesta a tiempo, no lo da, o se avisó la `parada`.
pub fn bajar(
    peer: SocketAddr,
    nombre: &str,
    limites: &Limites,
    parada: &Parada,
) -> Result<Option<Vec<u8>>, Fallo> {
    let filename = nombre.to_string();
    let llamar = async |canal, origen| {
        let cliente = FileServiceClient::with_origin(canal, origen);
        let mut cliente = cliente.max_decoding_message_size(TOPE_DE_MENSAJE);
        let respuesta = cliente.download(DownloadRequest { filename }).await?;
        Ok(respuesta.into_inner())
    };
    let respuesta = con_canal(peer, limites, parada, llamar)?;
    match (respuesta.ok, respuesta.message.as_str()) {
        (true, _) => Ok(Some(respuesta.content.into())),
        (false, NO_ESTA) => Ok(None),
        (false, por_que) => {
            let por_que: String = limpiar(por_que).chars().take(MAX_MOTIVO).collect();
            Err(Fallo::nuevo(format!("por gRPC dice que no: {por_que}")))
        }
    }
}

/// Se conecta y hace una llamada, en este hilo. A `llamar` se le da el canal, y la URL del otro.
///
/// # Errores
/// No contesta a tiempo, contesta con un error de gRPC, hay clave (y gRPC no cifra), o se avisó la
/// `parada`.
pub fn con_canal<T>(
    peer: SocketAddr,
    limites: &Limites,
    parada: &Parada,
    llamar: impl AsyncFnOnce(Llamador, Uri) -> Result<T, Status>,
) -> Result<T, Fallo> {
    let de_red = |e: &io::Error| Fallo::nuevo(format!("por gRPC, {peer}: {}", motivo(e)));
    if limites.clave.is_some() {
        let frase = "con clave no se habla gRPC, que iría en claro";
        return Err(Fallo::nuevo(format!("{peer}: {frase}")));
    }
    let abierta = conectar(peer, limites.conectar, &limites.testigo, parada);
    let abierta = abierta.map_err(|e| de_red(&e))?;
    let runtime = runtime_del_hilo().map_err(|e| de_red(&e))?;
    runtime.block_on(async {
        let enchufe = Enchufe::nuevo(&abierta.socket, Vec::new()).map_err(|e| de_red(&e))?;
        let paso = enchufe.paso();
        let mut tarea = Box::pin(async {
            let http2 = http2::Builder::new(TokioExecutor::new())
                .initial_stream_window_size(VENTANA)
                .initial_connection_window_size(VENTANA)
                .handshake(TokioIo::new(enchufe));
            let (canal, conversacion) = http2.await.map_err(|e| no_habla(&e))?;
            tokio::spawn(conversacion);
            let origen = Uri::builder().scheme("http").authority(peer.to_string());
            let origen = origen.path_and_query("/").build();
            let origen = origen.map_err(|e| Status::invalid_argument(e.to_string()))?;
            llamar(Llamador(canal), origen).await
        });
        let empezo = Instant::now();
        loop {
            if let Ok(fin) = timeout(TIC, tarea.as_mut()).await {
                return fin.map_err(|fallo| en_frase(&fallo));
            }
            let quieto = cerrojo(&paso).ultimo.elapsed();
            if parada.avisada() {
                return Err(Fallo::nuevo("se dejó"));
            }
            if quieto > limites.respuesta || empezo.elapsed() > PLAZO {
                let vencio = FalloRed::Vencio("la respuesta por gRPC");
                return Err(Fallo::nuevo(format!("{peer}: {vencio}")));
            }
        }
    })
}

fn no_habla(error: &hyper::Error) -> Status {
    Status::unavailable(error.to_string())
}

/// Lo que dice gRPC, en español.
fn en_frase(fallo: &Status) -> Fallo {
    let dice = limpiar(fallo.message());
    Fallo::nuevo(match fallo.code() {
        Code::OutOfRange | Code::ResourceExhausted => {
            "manda más de lo que cabe por gRPC (4 MiB)".to_string()
        }
        Code::Unimplemented => "no sabe dar archivos por gRPC".to_string(),
        Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled => {
            format!("no contesta por gRPC ({dice})")
        }
        codigo => format!("por gRPC contesta {codigo:?}: {dice}"),
    })
}

/// La conversación por la que va la llamada, como la quiere el cliente que sale del `.proto`.
pub struct Llamador(http2::SendRequest<Body>);

impl Service<Request<Body>> for Llamador {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Incoming>, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, contexto: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(contexto)
    }

    fn call(&mut self, peticion: Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(peticion))
    }
}
