//! La puerta: a quién se atiende, antes de `gestionar_peticion`.
//!
//! No está en la guía, donde entra cualquiera. Sin clave ni `--solo-peers`, aquí tampoco se para a
//! nadie. Con clave, quien la tiene entra cifrado y los demás se enteran de por qué no, cada uno en
//! su lengua; desde esta misma máquina, la guía y la página siguen entrando. Cómo se cifra está en
//! `red/cifrado.rs`.

use std::time::{Duration, Instant};

use log::debug;

use crate::http;
use crate::nodo::Nodo;
use crate::nodo::palabras::protocolo::{Habla, Palabra, Primera, Respuesta, quien_habla};
use crate::nodo::palabras::servir::Cierre;
use crate::nodo::web::es_de_aqui;
use crate::red::cifrado::{Clave, PALABRA};
use crate::red::conexion::{Conexion, FalloRed};

/// Lo que se dice a quien llega sin clave.
pub const PIDE_CLAVE: &str = "este nodo pide la clave de la clase";
/// Lo que se dice a quien pide cifrado lo que no puede acabar bien.
const SIN_LONGITUD: &str = "cifrado no se usa DESCARGAR: no dice la longitud, y un corte pasaría \
    por el final";
/// Con lo que empieza HTTP/2, y con él gRPC, también si este nodo se compiló sin él.
const GRPC: &[u8] = b"PRI ";
/// Lo que se espera a que cierre quien no entra, para que alcance a saber por qué.
const DESPEDIDA: Duration = Duration::from_millis(500);

/// La conexión, si se la atiende: cifrada, si este nodo tiene clave y el otro también.
pub fn dejar_pasar(mut conexion: Conexion, nodo: &Nodo) -> Option<Conexion> {
    let (desde, vecinos) = (conexion.otro(), &nodo.vecinos);
    if vecinos.solo_peers && !vecinos.es_de_un_escrito(desde) && !es_de_aqui(&conexion) {
        nodo.contar_que_no_entra(desde, "no es de los peers escritos (--solo-peers)");
        return None;
    }
    let Some(clave) = conexion.limites().clave.clone() else {
        return Some(conexion);
    };
    match saludar_o_rechazar(&mut conexion, &clave, nodo) {
        Ok(true) => {
            conexion.devolver_lo_leido();
            Some(conexion)
        }
        Ok(false) => None,
        Err(corte) => {
            debug!("{desde} no entra: {corte}");
            None
        }
    }
}

/// Verdadero si puede seguir. Desde esta máquina, la guía y la página siguen; gRPC no, que
/// no cifra.
fn saludar_o_rechazar(conexion: &mut Conexion, clave: &Clave, nodo: &Nodo) -> Result<bool, Cierre> {
    let limite = Instant::now() + conexion.limites().peticion;
    let de_aqui = conexion.otro().ip().is_loopback();
    match primeras_letras(conexion, limite)? {
        Habla::Ampliada => saludar(conexion, clave, limite, nodo),
        Habla::Grpc => Err(Cierre::Basura),
        Habla::Http if conexion.pendiente().starts_with(GRPC) => Err(Cierre::Basura),
        Habla::Guia | Habla::Http if de_aqui => Ok(true),
        Habla::Guia => rechazar_a_la_guia(conexion),
        Habla::Http => rechazar_http(conexion),
    }
}

/// Quien empieza por `CLAVE:1` se saluda; a las demás palabras se les dice qué falta.
fn saludar(
    conexion: &mut Conexion,
    clave: &Clave,
    limite: Instant,
    nodo: &Nodo,
) -> Result<bool, Cierre> {
    let falta = limite.saturating_duration_since(Instant::now());
    match conexion.leer_linea(falta, "la petición") {
        Ok(Some(linea)) if linea == PALABRA => {
            let saludado = conexion.aceptar_cifrado(clave, limite);
            if let Err(fallo @ FalloRed::OtraClave) = &saludado {
                nodo.contar_que_no_entra(conexion.otro(), &fallo.to_string());
            }
            saludado?;
            lo_que_va_dentro(conexion, limite)
        }
        Ok(None) => Ok(false),
        Ok(Some(_)) | Err(FalloRed::LineaLarga | FalloRed::NoEsTexto) => {
            nodo.contar_que_no_entra(conexion.otro(), "no tiene clave");
            rechazar_palabra(conexion, PIDE_CLAVE)
        }
        Err(fallo) => Err(fallo.into()),
    }
}

fn primeras_letras(conexion: &mut Conexion, limite: Instant) -> Result<Habla, Cierre> {
    loop {
        let leido = conexion.recibir(limite, "la petición")?;
        match quien_habla(conexion.pendiente()) {
            Primera::Es(habla) => return Ok(habla),
            Primera::Basura => return Err(Cierre::Basura),
            Primera::Falta if leido == 0 => return Ok(Habla::Ampliada),
            Primera::Falta => {}
        }
    }
}

/// Cifrado se dicen las palabras nuestras y `BUSCAR`, todas con su fin de línea. `DESCARGAR` no
/// dice la longitud, y un corte pasaría por final; HTTP y lo demás, en claro y desde aquí.
fn lo_que_va_dentro(conexion: &mut Conexion, limite: Instant) -> Result<bool, Cierre> {
    match primeras_letras(conexion, limite)? {
        Habla::Ampliada => Ok(true),
        Habla::Http | Habla::Grpc => {
            rechazar_palabra(conexion, "cifrado sólo se habla el protocolo")
        }
        Habla::Guia => {
            conexion.quedarse_con_una_linea(limite)?;
            match conexion.pendiente().starts_with(b"BUSCAR:") {
                true => Ok(true),
                false => rechazar_palabra(conexion, SIN_LONGITUD),
            }
        }
    }
}

fn rechazar_palabra(conexion: &mut Conexion, por_que: &str) -> Result<bool, Cierre> {
    conexion.escribir_linea(Respuesta::Error(por_que.to_string()))?;
    conexion.cerrar_con_calma(DESPEDIDA);
    Ok(false)
}

/// Un nodo de la guía no entiende razones: para él, aquí no está.
fn rechazar_a_la_guia(conexion: &mut Conexion) -> Result<bool, Cierre> {
    let escrita = String::from_utf8_lossy(conexion.pendiente()).into_owned();
    conexion.anotar(escrita.trim_end(), escrita.len());
    conexion.escribir_texto(match Palabra::de_la_guia(&escrita) {
        Some(Palabra::Descargar(_)) => "NOFILE",
        _ => "NO",
    })?;
    conexion.cerrar_con_calma(DESPEDIDA);
    Ok(false)
}

fn rechazar_http(conexion: &mut Conexion) -> Result<bool, Cierre> {
    conexion.devolver_lo_leido();
    let frase = "este nodo pide la clave de la clase: su página sólo se ve desde su máquina";
    http::atender(conexion, |_, _| Err(http::rechazar(403, frase)))?;
    Ok(false)
}
