//! Las órdenes sueltas.
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::fallo::{Fallo, Salida};
use crate::pantalla::Pantalla;

macro_rules! pendiente {
    ($($nombre:ident($($tipo:ty),*);)*) => {
        $(/// Pendiente.
        pub fn $nombre($(_: $tipo),*) -> Result<Salida, Fallo> { Err(Fallo::nuevo("pendiente")) })*
    };
}
pendiente! {
    listar(&Config, bool, &mut Pantalla);
    buscar(&Config, &str, &mut Pantalla);
    descargar(&Config, &str, Vec<SocketAddr>, &mut Pantalla);
    enviar(&Config, &Path, SocketAddr, &mut Pantalla);
    mensaje(&Config, &str, Option<SocketAddr>, &mut Pantalla);
    estado(&Config, &mut Pantalla);
    huella(&[PathBuf], &mut Pantalla);
    localizar(&Config, &str, Option<String>, &mut Pantalla);
}
