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
use crate::red::cifrado::{Clave, PALABRA};
use crate::red::conexion::Conexion;

/// Lo que se dice a quien llega sin clave.
const PIDE_CLAVE: &str = "este nodo pide la clave de la clase";
/// Lo que se espera a que cierre quien no entra, para que alcance a saber por qué.
const DESPEDIDA: Duration = Duration::from_millis(500);

/// La conexión, si se la atiende: cifrada, si este nodo tiene clave y el otro también.
pub fn dejar_pasar(mut conexion: Conexion, nodo: &Nodo) -> Option<Conexion> {
    let desde = conexion.otro();
    let de_aqui = desde.ip().is_loopback();
    if nodo.vecinos.solo_peers && !de_aqui && !nodo.vecinos.es_de_un_escrito(desde) {
        nodo.contar_que_no_entra(desde, "no es de los peers escritos (--solo-peers)");
        return None;
    }
    let Some(clave) = conexion.limites().clave.clone() else {
        return Some(conexion);
    };
    match saludar_o_rechazar(&mut conexion, &clave, de_aqui, nodo) {
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

/// Verdadero si puede seguir.
fn saludar_o_rechazar(
    conexion: &mut Conexion,
    clave: &Clave,
    de_aqui: bool,
    nodo: &Nodo,
) -> Result<bool, Cierre> {
    let limite = Instant::now() + conexion.limites().peticion;
    let habla = primeras_letras(conexion, limite)?;
    if conexion.pendiente().starts_with(PALABRA.as_bytes()) {
        let falta = limite.saturating_duration_since(Instant::now());
        if conexion.leer_linea(falta, "la petición")?.as_deref() == Some(PALABRA) {
            conexion
                .aceptar_cifrado(clave, limite)
                .inspect_err(|fallo| {
                    nodo.contar_que_no_entra(conexion.otro(), &fallo.to_string());
                })?;
            return lo_que_va_dentro(conexion, limite);
        }
        return rechazar_palabra(conexion, PIDE_CLAVE);
    }
    match habla {
        Habla::Guia | Habla::Http if de_aqui => Ok(true),
        Habla::Guia => rechazar_a_la_guia(conexion),
        Habla::Http => rechazar_http(conexion),
        Habla::Ampliada => rechazar_palabra(conexion, PIDE_CLAVE),
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

/// Cifrado se dicen las palabras nuestras y `BUSCAR`. `DESCARGAR` no dice la longitud, y un corte
/// pasaría por final; HTTP y lo demás, en claro y desde aquí.
fn lo_que_va_dentro(conexion: &mut Conexion, limite: Instant) -> Result<bool, Cierre> {
    let habla = primeras_letras(conexion, limite)?;
    let escrita = String::from_utf8_lossy(conexion.pendiente());
    match (habla, Palabra::de_la_guia(&escrita)) {
        (_, Some(Palabra::Descargar(_))) => {
            rechazar_palabra(conexion, "cifrado no se usa DESCARGAR: no dice la longitud")
        }
        (Habla::Http, _) => rechazar_palabra(conexion, "cifrado sólo se habla el protocolo"),
        (Habla::Guia | Habla::Ampliada, _) => Ok(true),
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
