//! `fileservice.FileService`: lo que un nodo contesta a los peers de los documentos, en su mismo
//! puerto.
//!
//! Bajar es lo de siempre: se abre por su nombre en la carpeta y se manda. Subir es recibir, y vale
//! lo mismo que para un envío: sólo de un peer de la lista (o de esta máquina), con un nombre que
//! se pueda guardar, en un archivo a medias que toma su nombre sin pisar a nadie. Lo que no se
//! puede no es un error de gRPC: es una respuesta con `ok` a falso y la razón. No escribe en
//! pantalla: avisa.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use hyper::{Request, Response};
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::{Code, Status};

use super::conversacion::{Contesta, CuandoSalga, conversar};
use super::mensajes::archivos::file_service_server::{FileService, FileServiceServer};
use super::mensajes::archivos::{DownloadRequest, DownloadResponse, UploadRequest, UploadResponse};
use super::{NO_ESTA, Salon, TOPE_DE_CONTENIDO, TOPE_DE_MENSAJE};
use crate::consola::eventos::Avisador;
use crate::consola::progreso::Progreso;
use crate::fallo::Fallo;
use crate::guia::ENVIO_COMPLETO;
use crate::http::url::codificar;
use crate::nodo::Nodo;
use crate::nodo::carpeta::disco::leer_en;
use crate::nodo::carpeta::huella::Huella;
use crate::nodo::carpeta::nombres::NombreRecibible;
use crate::nodo::carpeta::{Abierto, Carpeta, NoSeAbre};
use crate::nodo::descarga::envio::no_se_recibe;
use crate::nodo::descarga::pedido::{Descargado, NoDescargado, Pedido};
use crate::nodo::descarga::plan::{Contenido, dar_nombre};
use crate::nodo::descarga::relato::contar_descarga;
use crate::nodo::maestro::registro::Inscripcion;
use crate::nodo::palabras::servir::Cierre;
use crate::nodo::vecinos::Vecinos;
use crate::red::caudal::Caudal;
use crate::red::conexion::Conexion;
use crate::red::maquina::{es_de_esta_maquina, sin_mapear};
use crate::red::parada::cerrojo;

/// El mensaje más grande que se lee de quien sólo manda un nombre, en bytes.
const TOPE_DE_PREGUNTA: usize = 8 * 1024;
/// La llamada con que se sube.
const SUBIR: &str = "/fileservice.FileService/Upload";
/// Un mensaje vacío, como viaja: sin comprimir y de longitud cero.
const VACIO: &str = "\0\0\0\0\0";

/// Atiende una conexión que empezó por `PRI * HTTP/2.0`.
pub fn responder(conexion: &mut Conexion, saludo: Instant, nodo: &Nodo) -> Result<(), Cierre> {
    let aqui = conexion.socket().local_addr().unwrap_or(nodo.direccion);
    let archivos = Archivos {
        desde: conexion.otro(),
        aqui: sin_mapear(aqui),
        carpeta: Arc::clone(&nodo.carpeta),
        vecinos: nodo.vecinos.clone(),
        maestro: nodo.maestro.clone(),
        avisador: nodo.avisador.clone(),
        sala: Arc::clone(&nodo.grpc),
        caudal: conexion.limites().caudal.clone(),
    };
    Ok(conversar(conexion, saludo, &nodo.grpc, Arc::new(archivos))?)
}

/// Lo que hace falta del nodo para contestar a uno, y quién es.
struct Archivos {
    desde: SocketAddr,
    aqui: SocketAddr,
    carpeta: Arc<Carpeta>,
    vecinos: Vecinos,
    maestro: Option<Arc<Inscripcion>>,
    avisador: Avisador,
    sala: Arc<Salon>,
    caudal: Caudal,
}

/// Por qué no se lee lo que se iba a subir. Viaja con la petición.
#[derive(Clone)]
struct SinLeer(String);

impl Contesta for Arc<Archivos> {
    fn contestar(
        &self,
        peticion: Request<Body>,
    ) -> impl Future<Output = Response<Body>> + Send + 'static {
        let suyo = Arc::clone(self);
        async move {
            if peticion.uri().path() != SUBIR {
                return suyo.llamar(peticion, TOPE_DE_PREGUNTA).await;
            }
            let (cabeza, cuerpo) = peticion.into_parts();
            let sin_leer = |motivo| {
                let mut otra = Request::from_parts(cabeza.clone(), Body::new(VACIO.to_string()));
                otra.extensions_mut().insert(SinLeer(motivo));
                otra
            };
            // A quien no puede subir no se le leen cuatro megas para decirle que no.
            if let Err(motivo) = suyo.puede_subir() {
                return suyo.llamar(sin_leer(motivo), TOPE_DE_PREGUNTA).await;
            }
            let otra = sin_leer(suyo.no_cabe("lo que subes", None));
            let entera = Request::from_parts(cabeza, cuerpo);
            let respuesta = suyo.llamar(entera, TOPE_DE_MENSAJE).await;
            match Status::from_header_map(respuesta.headers()) {
                Some(fallo) if fallo.code() == Code::OutOfRange => {
                    suyo.llamar(otra, TOPE_DE_PREGUNTA).await
                }
                _ => respuesta,
            }
        }
    }
}

impl Archivos {
    async fn llamar(self: &Arc<Self>, peticion: Request<Body>, tope: usize) -> Response<Body> {
        let servicio = FileServiceServer::from_arc(Arc::clone(self));
        let mut servicio = servicio.max_decoding_message_size(tope);
        match servicio.call(peticion).await {
            Ok(respuesta) => respuesta,
            Err(imposible) => match imposible {},
        }
    }

    /// Sólo quien puede escribir aquí (por gRPC nadie prueba la clave), o quien esté en esta
    /// máquina. El puerto no cuenta.
    fn puede_subir(&self) -> Result<(), String> {
        let ip = self.desde.ip();
        match self.vecinos.puede_escribir(self.desde, false) || es_de_esta_maquina(ip) {
            true => Ok(()),
            false => {
                let que = "un archivo, por gRPC";
                Err(no_se_recibe(ip, que, &self.vecinos, &self.avisador))
            }
        }
    }

    /// La frase para lo que no cabe en un mensaje, y por dónde pedirlo: por HTTP si está aquí, y si
    /// no, enviándolo con un nodo como este.
    fn no_cabe(&self, que: &str, esta_aqui: Option<(&str, u64)>) -> String {
        let caben = TOPE_DE_CONTENIDO;
        let aqui = self.aqui;
        match esta_aqui {
            Some((nombre, mide)) => {
                let nombre = codificar(nombre);
                format!(
                    "{que} mide {mide} bytes y por gRPC caben {caben}; pídelo en \
                     http://{aqui}/files/{nombre}"
                )
            }
            None => format!(
                "{que} pasa de los {caben} bytes que caben por gRPC; envíalo con: nodo enviar \
                 ARCHIVO --a {aqui}"
            ),
        }
    }

    /// El contenido de un archivo de la carpeta, o por qué no.
    fn leer(&self, nombre: &str) -> Result<Vec<u8>, NoSeDa> {
        let abierto = self.carpeta.abrir_archivo(nombre)?;
        if abierto.tamano > TOPE_DE_CONTENIDO as u64 {
            let frase = self.no_cabe(nombre, Some((nombre, abierto.tamano)));
            return Err(NoSeDa::Por(frase));
        }
        let caudal = &self.caudal;
        let leido = leer_entero(&abierto, caudal).filter(|_| abierto.sigue_igual());
        let cambio = || {
            NoSeDa::Por(format!(
                "{nombre} cambió mientras se leía; vuelve a pedirlo"
            ))
        };
        leido.ok_or_else(cambio)
    }

    /// Guarda lo que subió otro. Con qué nombre quedó, o por qué no.
    fn guardar(&self, ajeno: &str, contenido: &[u8]) -> Result<Descargado, NoDescargado> {
        let empezo = Instant::now();
        let que = |malo| Fallo::nuevo(format!("no se puede guardar «{ajeno}»: {malo}"));
        let nombre = NombreRecibible::nuevo(ajeno).map_err(que)?;
        if contenido.len() > TOPE_DE_CONTENIDO {
            return Err(Fallo::nuevo(self.no_cabe(ajeno, None)).into());
        }
        let (quien, avisador) = (self.desde, &self.avisador);
        avisador.destacar(vec![format!("[RECIBIENDO] {nombre}, que sube {quien}")]);
        // De uno en uno: si dos traen lo mismo, el segundo ve que ya está.
        let _guardando = cerrojo(&self.sala.guardando);
        let tamano = contenido.len() as u64;
        self.carpeta.ver_si_cabe(&nombre, tamano)?;
        let a_medias = self.carpeta.empezar_sin_comprobar(&nombre)?;
        a_medias.escribir_en(0, contenido)?;
        let pedido = Pedido {
            nombre: ajeno,
            carpeta: &self.carpeta,
            limites: &self.vecinos.limites,
            conexiones: 1,
            pares: &[],
            parada: &self.vecinos.parada,
            progreso: &Progreso::default(),
            avisar: &|frase| avisador.destacar(vec![frase]),
        };
        let huella = Huella::from(blake3::hash(contenido));
        let contenido = Contenido { tamano, huella };
        let (nombre, ya_estaba) = dar_nombre(&a_medias, &nombre, contenido, &pedido)?;
        Ok(Descargado {
            nombre,
            tamano,
            bajados: tamano,
            bajando: empezo.elapsed(),
            tiempo: empezo.elapsed(),
            fuentes: 1,
            huella,
            comprobado: false,
            ya_estaba,
        })
    }
}

/// Por qué no se lee un archivo.
enum NoSeDa {
    /// No quedan descriptores: no es un «no está», y no debe parecerlo.
    SinDescriptores,
    /// Hay que contestar esto.
    Por(String),
}

impl From<NoSeAbre> for NoSeDa {
    fn from(fallo: NoSeAbre) -> NoSeDa {
        match fallo {
            NoSeAbre::NoEsta => NoSeDa::Por(NO_ESTA.into()),
            NoSeAbre::SinDescriptores => NoSeDa::SinDescriptores,
        }
    }
}

/// Todo lo que mide, al ritmo con que se puede mandar: el mensaje sale entero después. `None` si no
/// se deja, o ya mide otra cosa.
fn leer_entero(abierto: &Abierto, caudal: &Caudal) -> Option<Vec<u8>> {
    let mut todo = vec![0; usize::try_from(abierto.tamano).ok()?];
    let mut leidos = 0;
    while leidos < todo.len() {
        let hasta = leidos + caudal.tomar(todo.len() - leidos);
        match leer_en(&abierto.archivo, leidos as u64, &mut todo[leidos..hasta]) {
            Ok(0) | Err(_) => return None,
            Ok(cuantos) => leidos += cuantos,
        }
    }
    Some(todo)
}

#[tonic::async_trait]
impl FileService for Archivos {
    async fn upload(
        &self,
        peticion: tonic::Request<UploadRequest>,
    ) -> Result<tonic::Response<UploadResponse>, Status> {
        if let Some(SinLeer(motivo)) = peticion.extensions().get() {
            let (ok, message) = (false, motivo.clone());
            return Ok(tonic::Response::new(UploadResponse { ok, message }));
        }
        let UploadRequest { filename, content } = peticion.into_inner();
        let (ok, message, lineas) = match self.guardar(&filename, &content) {
            Ok(bueno) => {
                if let Some(maestro) = &self.maestro {
                    maestro.despertar();
                }
                let lineas = contar_descarga(&bueno.nombre, &bueno, &self.carpeta);
                (true, format!("Saved {}", bueno.nombre), lineas)
            }
            Err(fallo) => {
                let linea = format!("[ERROR AL RECIBIR] {filename}, de {}: {fallo}", self.desde);
                (false, fallo.publico(), vec![linea])
            }
        };
        self.avisador.destacar(lineas);
        Ok(tonic::Response::new(UploadResponse { ok, message }))
    }

    async fn download(
        &self,
        peticion: tonic::Request<DownloadRequest>,
    ) -> Result<tonic::Response<DownloadResponse>, Status> {
        let nombre = peticion.into_inner().filename;
        let (ok, content, message) = match self.leer(&nombre) {
            Ok(todo) => (true, todo.into(), "OK".to_string()),
            Err(NoSeDa::Por(motivo)) => (false, Default::default(), motivo),
            Err(NoSeDa::SinDescriptores) => {
                let frase = "ahora mismo no se pueden abrir más archivos; prueba dentro de un rato";
                return Err(Status::unavailable(frase));
            }
        };
        let respuesta = DownloadResponse {
            ok,
            content,
            message,
        };
        let mut respuesta = tonic::Response::new(respuesta);
        if ok {
            let linea = format!("{ENVIO_COMPLETO} {nombre}");
            let al_salir = CuandoSalga(self.avisador.clone(), linea);
            respuesta.extensions_mut().insert(al_salir);
        }
        Ok(respuesta)
    }
}

#[cfg(test)]
mod tests {
    use super::super::conversacion::runtime_del_hilo;
    use super::*;
    use crate::ordenes::opciones::{Opciones, decidir};
    use hyper::body::{Body as Cuerpo, Bytes, Frame};
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    /// Nadie tiene que leerlo.
    struct NoSeLee;

    impl Cuerpo for NoSeLee {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            panic!("se leyó lo que mandaba quien no puede subir")
        }
    }

    /// Lo que ve un nodo con un peer en 203.0.113.1 (la red de los ejemplos) de quien llama desde
    /// esa IP.
    fn visto_desde(ip: &str) -> (Arc<Archivos>, tempfile::TempDir) {
        let temporal = tempfile::tempdir().unwrap();
        let mut config = decidir(Opciones::default()).unwrap();
        config.peers = vec!["203.0.113.1:6000".parse().unwrap()];
        let archivos = Archivos {
            desde: SocketAddr::new(ip.parse().unwrap(), 40_000),
            aqui: "203.0.113.9:6001".parse().unwrap(),
            carpeta: Arc::new(Carpeta::abrir(temporal.path()).unwrap()),
            vecinos: Vecinos::nuevos(&config, "yo".into(), None),
            maestro: None,
            avisador: Avisador::nuevo(20).0,
            sala: Arc::default(),
            caudal: Caudal::nuevo(Some(1_000_000)),
        };
        (Arc::new(archivos), temporal)
    }

    #[test]
    fn de_quien_no_es_un_peer_no_se_recibe_ni_se_lee() {
        let (archivos, temporal) = visto_desde("203.0.113.2");
        let peticion = Request::post(SUBIR).body(Body::new(NoSeLee)).unwrap();
        let respuesta = runtime_del_hilo().unwrap().block_on(async {
            let mut cuerpo = archivos.contestar(peticion).await.into_body();
            let trama = std::future::poll_fn(|c| Pin::new(&mut cuerpo).poll_frame(c)).await;
            trama.unwrap().unwrap().into_data().unwrap()
        });
        let respuesta = String::from_utf8_lossy(&respuesta).into_owned();
        let razon = "203.0.113.2 no está entre los peers de este nodo";
        assert!(respuesta.ends_with(razon), "{respuesta:?}");
        assert_eq!(std::fs::read_dir(temporal.path()).unwrap().count(), 0);
    }

    #[test]
    fn lo_que_se_manda_va_al_ritmo_que_se_pidio() {
        let (archivos, temporal) = visto_desde("203.0.113.1");
        std::fs::write(temporal.path().join("a.bin"), vec![7; 300_000]).unwrap();
        let empezo = Instant::now();
        assert!(
            archivos
                .leer("a.bin")
                .is_ok_and(|todo| todo.len() == 300_000)
        );
        // A un millón por segundo: los 0,3 s, menos lo que se puede recuperar y el último hueco.
        assert!(empezo.elapsed().as_millis() >= 150);
    }

    #[test]
    fn de_un_peer_y_de_esta_maquina_si() {
        for (ip, puede) in [
            ("203.0.113.1", true),
            ("127.0.0.1", true),
            ("203.0.113.2", false),
        ] {
            assert_eq!(visto_desde(ip).0.puede_subir().is_ok(), puede, "{ip}");
        }
    }
}
