//! gRPC, para entenderse con los programas del curso que lo usan: pasarse archivos
//! (`archivos.proto`) y el directorio (`tracker.proto`). Con la opción de compilación `grpc`.
//!
//! No está en la guía. Es el único cuarto donde hay `async`, y no sale de aquí: lo que los demás
//! ven son funciones que vuelven cuando acaban. Por qué hay un *runtime* en el hilo de cada
//! conexión lo cuenta `conversacion.rs`. Sin la opción, estas mismas funciones dicen que no hay
//! (`apagado.rs`), y el resto del programa no nota la diferencia.

#[cfg(feature = "grpc")]
mod archivos;
#[cfg(feature = "grpc")]
pub mod cliente;
#[cfg(feature = "grpc")]
mod conversacion;
#[cfg(feature = "grpc")]
mod enchufe;
#[cfg(feature = "grpc")]
mod tracker;

#[cfg(not(feature = "grpc"))]
mod apagado;

#[cfg(not(feature = "grpc"))]
pub use apagado::{Salon, abrir_tracker, bajar, responder};
#[cfg(feature = "grpc")]
pub use {archivos::responder, cliente::bajar, conversacion::Salon, tracker::abrir_tracker};

/// ¿Se compiló con la opción `grpc`?
pub const COMPILADO: bool = cfg!(feature = "grpc");
/// Cómo se enciende, para quien pide algo que sin la opción no hay.
pub const SIN_GRPC: &str = "este programa se compiló sin gRPC; con él: cargo build --features grpc";
/// El puerto del tracker de los documentos, como se escribe.
pub const PUERTO_DEL_TRACKER: &str = "50051";
/// Bytes de contenido que caben en un mensaje: los programas del curso no admiten mensajes de más
/// de 4 MiB, y en el mensaje va algo más que el contenido.
pub const TOPE_DE_CONTENIDO: usize = 4_194_200;

/// El mensaje más grande que se lee, en bytes: los que pasan por poco del tope de esos programas se
/// entienden lo justo para contestar por qué no.
pub const TOPE_DE_MENSAJE: usize = 4 * 1024 * 1024 + 64 * 1024;
/// Lo que se contesta de lo que no está: lo mismo que esos programas.
pub const NO_ESTA: &str = "Not found";

/// El `grpc_port` de un nodo que escucha en `puerto`: el mismo, o 0 si no habla gRPC.
pub fn puerto(puerto: u16) -> u16 {
    if COMPILADO { puerto } else { 0 }
}

/// Lo que sale de los `.proto` al compilar (`compilar.rs`).
#[cfg(feature = "grpc")]
pub mod mensajes {
    #![allow(missing_docs, reason = "no está escrito a mano")]
    #![allow(clippy::all, clippy::pedantic, reason = "no está escrito a mano")]

    /// `archivos.proto`.
    pub mod archivos {
        tonic::include_proto!("fileservice");
    }

    /// `tracker.proto`, que no tiene paquete.
    pub mod tracker {
        tonic::include_proto!("_");
    }
}
