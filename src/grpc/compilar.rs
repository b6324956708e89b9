//! Lo que cargo hace antes de compilar: con la opción `grpc`, del `.proto` sale el código que lee y
//! escribe esos mensajes. Sin la opción, nada.
//!
//! Lo compila `protox`, que es una biblioteca: no hace falta tener `protoc` en la máquina.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=src/grpc/compilar.rs");
    #[cfg(feature = "grpc")]
    for proto in ["src/grpc/archivos.proto", "src/grpc/tracker.proto"] {
        println!("cargo::rerun-if-changed={proto}");
        tonic_prost_build::configure()
            .build_transport(false)
            // Sin copiar el contenido de un archivo para leer el mensaje en que vino.
            .bytes(".")
            .compile_fds(protox::compile([proto], ["src/grpc"])?)?;
    }
    Ok(())
}
