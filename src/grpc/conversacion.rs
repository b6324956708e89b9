//! Una conversación en gRPC: HTTP/2 sobre el socket de una conexión, en su mismo hilo.
//!
//! En HTTP/2 van varias llamadas a la vez por un socket, con sus bytes mezclados y cada una con su
//! ventana; las bibliotecas que lo saben hacer son asíncronas. Una función `async` no corre sola:
//! se para cada vez que tendría que esperar, y alguien la tiene que despertar. Ese alguien es el
//! *runtime*. Aquí lo hay **dentro del hilo de la conexión**, sólo para ella: `block_on` es una
//! llamada que bloquea, como cualquier lectura de las demás conexiones, y vuelve cuando la
//! conversación acaba. Así sigue habiendo un hilo por conexión, con su turno, sus plazos y su
//! parada, y nadie fuera de este cuarto sabe qué es `async`.
//!
//! Nadie puede llenar la memoria. En una conexión hay **una llamada a la vez**: las demás esperan
//! detrás de ella, sin que se lea lo que traen. El peor caso:
//!
//! | qué | cuánto |
//! |---|---|
//! | lo que mandan sin que nadie lo lea aún: una ventana de 32 KiB por flujo | 256 × 16 × 32 KiB |
//! | las llamadas en marcha: un mensaje de 4 MiB, y lo que ocupa al escribirlo | 16 × 12 MiB |

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::body::{Body as Cuerpo, Bytes, Frame, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use log::debug;
use tokio::runtime::{self, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tonic::body::Body;
use tonic::{Code, Status};

use super::enchufe::Enchufe;
use super::salon::Salon;
use crate::consola::eventos::Avisador;
use crate::red::conexion::{Conexion, FalloRed};
use crate::red::parada::{Parada, Trato, cerrojo};
use crate::red::turnos::TurnoDeIp;
use crate::texto::limpiar;

/// Flujos que un cliente puede tener abiertos a la vez en una conexión.
const FLUJOS: u32 = 16;
/// Bytes que puede mandar por un flujo sin que nadie los haya leído aún.
const VENTANA: u32 = 32 * 1024;
/// Bytes que ocupan, como mucho, las cabeceras de una llamada.
const CABECERAS: u32 = 16 * 1024;
/// Bytes de una respuesta que se dan cada vez: el trozo siguiente no se da hasta que este sale.
const TROZO: usize = 64 * 1024;
/// Cuánto espera su turno una llamada.
const ESPERA_DE_TURNO: Duration = Duration::from_secs(20);
/// Lo que puede durar una llamada.
const PLAZO_DE_LLAMADA: Duration = Duration::from_secs(60);
/// Sin ninguna llamada en este tiempo, se cierra.
const OCIOSA: Duration = Duration::from_secs(60);
/// Cada cuánto se miran los plazos y la parada: al lado asíncrono no le llegan de otra manera.
pub const TIC: Duration = Duration::from_millis(100);
/// Al despedirse sin nada en marcha, cuánto se espera a que el otro se entere.
const DESPEDIDA: Duration = Duration::from_millis(500);
/// El saludo: las 24 letras del principio, y la cabecera de la primera trama.
const SALUDO: u64 = 24 + 9;

/// Quien sabe contestar las llamadas de un servicio.
pub trait Contesta: Clone + Send + Sync + 'static {
    /// Contesta una.
    fn contestar(
        &self,
        peticion: Request<Body>,
    ) -> impl Future<Output = Response<Body>> + Send + 'static;
}

/// Lo que hay que decir en pantalla cuando la respuesta que lo lleva haya salido.
#[derive(Clone)]
pub struct CuandoSalga(pub Avisador, pub String);

/// Un *runtime* para el hilo que llama, y para ninguno más.
pub fn runtime_del_hilo() -> io::Result<Runtime> {
    runtime::Builder::new_current_thread().enable_all().build()
}

/// Conversa hasta que el otro cierre, calle demasiado o haya que parar. Su saludo tiene que estar
/// entero antes de `saludo`.
pub fn conversar(
    conexion: &mut Conexion,
    saludo: Instant,
    sala: &Arc<Salon>,
    contesta: impl Contesta,
) -> Result<(), FalloRed> {
    let Some(apunte) = conexion.apunte() else {
        return Err(FalloRed::Cerrada);
    };
    let (parada, ip) = (apunte.parada().clone(), conexion.otro().ip());
    let espera = saludo.saturating_duration_since(Instant::now());
    let turno = sala.conversaciones.pedir(ip, espera, &parada);
    let _turno = turno.ok_or(FalloRed::Vencio("un turno para hablar gRPC"))?;
    // La despedida de HTTP/2 es cosa suya: si se le cortara la lectura no podría acabar.
    apunte.tratar(Trato::LoMiraEl);
    let ya_leido = conexion.pendiente().to_vec();
    conexion.consumir(ya_leido.len());
    let mesa = Arc::new(Mesa {
        sala: Arc::clone(sala),
        ip,
        parada,
        de_una_en_una: Arc::new(Semaphore::new(1)),
        marcha: Mutex::new(EnTramite {
            llamadas: 0,
            empezo: None,
            ociosa_desde: Instant::now(),
        }),
    });
    let plazos = (saludo, conexion.limites().escribir);
    let runtime = runtime_del_hilo().map_err(FalloRed::Sistema)?;
    runtime.block_on(async {
        let enchufe = Enchufe::nuevo(conexion.socket(), ya_leido).map_err(FalloRed::Sistema)?;
        servir(enchufe, mesa, plazos, contesta).await
    })
}

/// Lo que comparten las llamadas de una conversación.
struct Mesa {
    sala: Arc<Salon>,
    ip: IpAddr,
    parada: Parada,
    de_una_en_una: Arc<Semaphore>,
    marcha: Mutex<EnTramite>,
}

/// Qué hay en marcha en una conversación.
struct EnTramite {
    /// Cuántas llamadas, contando las que esperan.
    llamadas: usize,
    /// Cuándo empezó la que se está atendiendo.
    empezo: Option<Instant>,
    /// Desde cuándo no hay ninguna, si no la hay.
    ociosa_desde: Instant,
}

async fn servir(
    enchufe: Enchufe,
    mesa: Arc<Mesa>,
    (saludo, sin_avance): (Instant, Duration),
    contesta: impl Contesta,
) -> Result<(), FalloRed> {
    let paso = enchufe.paso();
    let suya = Arc::clone(&mesa);
    let llamar = service_fn(move |peticion| atender(Arc::clone(&suya), contesta.clone(), peticion));
    let mut http2 = http2::Builder::new(TokioExecutor::new());
    http2
        .max_concurrent_streams(FLUJOS)
        .initial_stream_window_size(VENTANA)
        .initial_connection_window_size(FLUJOS * VENTANA)
        .max_header_list_size(CABECERAS)
        .max_send_buf_size(TROZO);
    // En el montículo: la pila de este hilo es pequeña.
    let mut conversacion = Box::pin(http2.serve_connection(TokioIo::new(enchufe), llamar));
    let mut despedida: Option<Instant> = None;
    loop {
        if let Ok(fin) = timeout(TIC, conversacion.as_mut()).await {
            return fin.map_err(|error| FalloRed::Sistema(io::Error::other(error)));
        }
        let (leidos, quieta) = {
            let paso = cerrojo(&paso);
            (paso.leidos, paso.ultimo.elapsed())
        };
        if leidos < SALUDO && Instant::now() >= saludo {
            return Err(FalloRed::Vencio("el saludo de HTTP/2"));
        }
        let nada = mesa.sin_llamadas(quieta, sin_avance)?;
        match despedida {
            None if mesa.parada.avisada() || nada.is_some_and(|ociosa| ociosa > OCIOSA) => {
                // Se le dice que no empiece más; lo que está en marcha acaba.
                conversacion.as_mut().graceful_shutdown();
                despedida = Some(Instant::now());
            }
            Some(desde) if nada.is_some() && desde.elapsed() > DESPEDIDA => return Ok(()),
            _ => {}
        }
    }
}

impl Mesa {
    /// Cuánto lleva sin ninguna llamada, si no la hay.
    ///
    /// # Errores
    /// Hay que cortar: la que hay dura demasiado o no avanza, o se cortó la parada.
    fn sin_llamadas(
        &self,
        quieta: Duration,
        sin_avance: Duration,
    ) -> Result<Option<Duration>, FalloRed> {
        let marcha = cerrojo(&self.marcha);
        let dura = marcha.empezo.map_or(Duration::ZERO, |e| e.elapsed());
        let nada = (marcha.llamadas == 0).then(|| marcha.ociosa_desde.elapsed());
        match nada {
            _ if self.parada.cortada() => Err(FalloRed::Cortada),
            None if dura > PLAZO_DE_LLAMADA || quieta > sin_avance => {
                Err(FalloRed::Vencio("que acabe una llamada"))
            }
            nada => Ok(nada),
        }
    }
}

/// Una llamada: espera a que acabe la de delante, pide turno y contesta.
async fn atender(
    mesa: Arc<Mesa>,
    contesta: impl Contesta,
    peticion: Request<Incoming>,
) -> Result<Response<RespuestaATrozos>, Infallible> {
    debug!("gRPC: {}", limpiar(peticion.uri().path()));
    let mut llamada = Llamada::nueva(&mesa);
    let delante = Arc::clone(&mesa.de_una_en_una).acquire_owned().await;
    llamada.empieza(delante.expect("ese semáforo no se cierra nunca"));
    // Esto bloquea el hilo, y no importa: en él no hay otra llamada que pueda avanzar.
    llamada.turno = (mesa.sala.llamadas).pedir(mesa.ip, ESPERA_DE_TURNO, &mesa.parada);
    let respuesta = match &llamada.turno {
        Some(_) => contesta.contestar(peticion.map(Body::new)).await,
        None => {
            let frase = "ahora mismo hay demasiadas llamadas a la vez; prueba dentro de un rato";
            Status::new(Code::Unavailable, frase).into_http()
        }
    };
    let (mut cabeza, cuerpo) = respuesta.into_parts();
    let cuerpo = RespuestaATrozos {
        cuerpo,
        resto: Bytes::new(),
        al_salir: cabeza.extensions.remove(),
        _llamada: llamada,
    };
    Ok(Response::from_parts(cabeza, cuerpo))
}

/// Una llamada, desde que llega hasta que su respuesta ha salido, o nadie la espera ya.
struct Llamada {
    mesa: Arc<Mesa>,
    delante: Option<OwnedSemaphorePermit>,
    turno: Option<TurnoDeIp>,
}

impl Llamada {
    fn nueva(mesa: &Arc<Mesa>) -> Llamada {
        cerrojo(&mesa.marcha).llamadas += 1;
        Llamada {
            mesa: Arc::clone(mesa),
            delante: None,
            turno: None,
        }
    }

    fn empieza(&mut self, delante: OwnedSemaphorePermit) {
        self.delante = Some(delante);
        cerrojo(&self.mesa.marcha).empezo = Some(Instant::now());
    }
}

impl Drop for Llamada {
    fn drop(&mut self) {
        let mut marcha = cerrojo(&self.mesa.marcha);
        marcha.llamadas -= 1;
        marcha.ociosa_desde = Instant::now();
        if self.delante.is_some() {
            marcha.empezo = None;
        }
    }
}

/// El cuerpo de una respuesta, a trozos. La llamada dura, con su turno, hasta que sale el último:
/// si se diera entero, quien no lee lo dejaría en memoria y podría pedir otro.
struct RespuestaATrozos {
    cuerpo: Body,
    resto: Bytes,
    al_salir: Option<CuandoSalga>,
    _llamada: Llamada,
}

impl Cuerpo for RespuestaATrozos {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        contexto: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.resto.is_empty() {
            let trama = ready!(Pin::new(&mut self.cuerpo).poll_frame(contexto));
            match trama.map(|trama| trama.map(Frame::into_data)) {
                Some(Ok(Ok(datos))) => self.resto = datos,
                // Lo último que va en una llamada: cómo acabó.
                Some(Ok(Err(fin))) => {
                    if let Some(CuandoSalga(avisador, linea)) = self.al_salir.take() {
                        avisador.destacar(vec![linea]);
                    }
                    return Poll::Ready(Some(Ok(fin)));
                }
                Some(Err(fallo)) => return Poll::Ready(Some(Err(fallo))),
                None => return Poll::Ready(None),
            }
        }
        let cuantos = self.resto.len().min(TROZO);
        let trozo = self.resto.split_to(cuantos);
        Poll::Ready(Some(Ok(Frame::data(trozo))))
    }

    fn is_end_stream(&self) -> bool {
        self.resto.is_empty() && self.cuerpo.is_end_stream()
    }
}
