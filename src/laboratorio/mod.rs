//! El laboratorio: ver cada mensaje, romperlo a propósito, medir los defectos de la guía y entregar
//! un informe.
//!
//! Nada de esto está en la guía, y el nodo funciona sin ello. Aquí se declaran sus órdenes; cada
//! una vive en su archivo, y habla con el nodo desde fuera, como otro proceso más. Lo único que se
//! mete en él es el [`puesto`], por el hueco de `testigo.rs`.

pub mod demostrar;
pub mod diagrama;
pub mod diario;
pub mod fallas;
pub mod fronteras;
pub mod hablar;
pub mod informe;
pub mod puesto;
pub mod suceso;
pub mod vivo;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use crate::consola::Consola;
use crate::fallo::{Fallo, Salida};
use crate::ordenes::valores::leer_direccion;

/// Las órdenes del laboratorio.
#[derive(Debug, Subcommand)]
pub enum Experimento {
    /// Laboratorio: los defectos de la guía, vistos en esta máquina
    Demostrar {
        /// El número del defecto, o «todo»; sin esto, la lista
        #[arg(value_name = "N|todo")]
        cual: Option<String>,
        /// Escribe además la tabla en Markdown
        #[arg(long, value_name = "ARCHIVO")]
        informe: Option<PathBuf>,
    },
    /// Laboratorio: dibuja los mensajes de uno o varios diarios
    Diagrama {
        /// Los diarios (los escribe --diario)
        #[arg(value_name = "DIARIO", required = true)]
        diarios: Vec<PathBuf>,
        /// Dónde se escribe (si no se dice, por la salida)
        #[arg(short = 'o', long = "salida", value_name = "ARCHIVO")]
        salida: Option<PathBuf>,
        /// svg, mermaid o shiviz (svg si no se dice)
        // clap sólo sabe enumerarlos en inglés.
        #[arg(
            long,
            value_name = "FORMATO",
            value_enum,
            default_value = "svg",
            hide_default_value = true,
            hide_possible_values = true
        )]
        formato: Formato,
    },
    /// Laboratorio: el acta de la práctica, en Markdown
    Informe {
        /// Los diarios (los escribe --diario)
        #[arg(value_name = "DIARIO", required = true)]
        diarios: Vec<PathBuf>,
        /// Dónde se escribe (si no se dice, por la salida)
        #[arg(short = 'o', long = "salida", value_name = "ARCHIVO")]
        salida: Option<PathBuf>,
    },
    /// Laboratorio: habla a mano con quien escuche en una dirección
    #[command(after_help = hablar::AYUDA)]
    Hablar {
        /// Con quién
        #[arg(value_name = "IP:PUERTO", value_parser = leer_direccion)]
        con: SocketAddr,
        /// Cuenta cada lectura y cada escritura: sus bytes y si trae líneas enteras
        #[arg(long)]
        bytes: bool,
    },
}

/// Cómo se dibuja un diagrama.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Formato {
    /// Un dibujo autónomo, para un navegador
    Svg,
    /// Texto que GitHub dibuja
    Mermaid,
    /// Registro con relojes de vector para ShiViz
    Shiviz,
}

/// Cumple una orden del laboratorio.
pub fn cumplir(experimento: Experimento, consola: &mut Consola) -> Result<Salida, Fallo> {
    match experimento {
        Experimento::Demostrar { cual, informe } => {
            demostrar::abrir(cual.as_deref(), informe.as_deref(), consola)
        }
        Experimento::Diagrama {
            diarios,
            salida,
            formato,
        } => diagrama::abrir(&diarios, salida.as_deref(), formato, consola),
        Experimento::Informe { diarios, salida } => {
            informe::abrir(&diarios, salida.as_deref(), consola)
        }
        Experimento::Hablar { con, bytes } => hablar::abrir(con, bytes, consola),
    }
}
