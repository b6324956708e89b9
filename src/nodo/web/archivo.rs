//! `GET /files/<nombre>`: un archivo por HTTP, entero o una parte, para curl y para navegadores.
//!
//! Un navegador que abre un archivo ajeno no debe ejecutarlo: va siempre como descarga, sin tipo, y con `sandbox`. La
//! `ETag` es la huella, así que sólo la hay si ya se sabe: por ella no se hace esperar a nadie.

use std::ops::Range;

use super::sin_descriptores;
use crate::consola::eventos::Avisador;
use crate::guia::ENVIO_COMPLETO;
use crate::http::rango::{Rango, leer_rango};
use crate::http::url::codificar;
use crate::http::{Corte, Envio, Metodo, Peticion, Respuesta, rechazar};
use crate::nodo::Nodo;
use crate::nodo::carpeta::{Abierto, NoSeAbre};
use crate::nodo::palabras::contestar::enviar_tramo;
use crate::red::conexion::{Conexion, FalloRed};
use crate::texto::tamano;

/// Lo que se guarda para el final: no se manda hasta ver que el archivo sigue como estaba.
const ULTIMO_TROZO: u64 = 64 * 1024;

/// Sirve un archivo de la carpeta.
///
/// # Errores
/// No está (404), la parte pedida no existe (416) o no quedan descriptores (503).
pub fn servir(
    conexion: &Conexion,
    peticion: &Peticion,
    nombre: &str,
    nodo: &Nodo,
) -> Result<Respuesta, Corte> {
    let abierto = match nodo.estante.abrir(nombre) {
        Ok(abierto) => abierto,
        Err(NoSeAbre::NoEsta) => return Err(rechazar(404, format!("no comparto «{nombre}»"))),
        Err(NoSeAbre::SinDescriptores) => return Err(sin_descriptores()),
    };
    // Sin esperar: si aún no se sabe, esta vez no hay `ETag`, y queda pedida para la siguiente.
    let resumen = nodo
        .estante
        .resumen(nombre, &abierto, std::time::Duration::ZERO);
    let etag = resumen.map(|resumen| format!("\"{}\"", resumen.huella));
    if etag
        .as_deref()
        .is_some_and(|etag| ya_lo_tiene(peticion.si_no_coincide.as_deref(), etag))
    {
        return Ok(con_etag(Respuesta::vacia(304), etag));
    }
    let (codigo, tramo) = match que_parte(peticion, etag.as_deref(), abierto.tamano) {
        Rango::Entero => (200, 0..abierto.tamano),
        Rango::Parte { desde, hasta } => (206, desde..hasta + 1),
        Rango::Imposible => {
            let total = abierto.tamano;
            let fallo = Respuesta::fallo(416, format!("«{nombre}» mide {total} bytes"));
            return Ok(fallo.con("Content-Range", format!("bytes */{total}")));
        }
    };
    let (largo, rango) = (tramo.end - tramo.start, en_cabecera(&tramo, abierto.tamano));
    let aviso = (peticion.metodo == Metodo::Get)
        .then(|| al_terminar(conexion, nombre, largo, abierto.tamano));
    let respuesta = Respuesta::flujo(
        codigo,
        largo,
        enviar(abierto, tramo, nodo.avisador.clone(), aviso),
    )
    .con("Accept-Ranges", "bytes")
    .con("Content-Disposition", como_descarga(nombre))
    .con("Content-Security-Policy", "sandbox; default-src 'none'");
    let respuesta = con_etag(respuesta, etag);
    Ok(if codigo == 206 {
        respuesta.con("Content-Range", rango)
    } else {
        respuesta
    })
}

/// Qué parte se pide. `Range` sólo cuenta en un `GET`; y con un `If-Range` de otra versión lo que ya tiene no le sirve,
/// así que se le manda entero.
fn que_parte(peticion: &Peticion, etag: Option<&str>, total: u64) -> Rango {
    let suya = peticion.si_rango.as_deref();
    let vale = peticion.metodo == Metodo::Get && (suya.is_none() || suya == etag);
    leer_rango(peticion.rango.as_deref().filter(|_| vale), total)
}

fn en_cabecera(tramo: &Range<u64>, total: u64) -> String {
    format!(
        "bytes {}-{}/{total}",
        tramo.start,
        tramo.end.saturating_sub(1)
    )
}

fn con_etag(respuesta: Respuesta, etag: Option<String>) -> Respuesta {
    match etag {
        // `no-cache` es «pregunta antes de usar lo guardado», y con la `ETag` preguntar es barato.
        Some(etag) => respuesta.con("ETag", etag).con("Cache-Control", "no-cache"),
        None => respuesta.con("Cache-Control", "no-store"),
    }
}

/// ¿Está `etag` en la lista de `If-None-Match`?
fn ya_lo_tiene(lista: Option<&str>, etag: &str) -> bool {
    lista.is_some_and(|lista| {
        let mut suyas = lista
            .split(',')
            .map(str::trim)
            .map(|una| una.strip_prefix("W/").unwrap_or(una));
        suyas.any(|una| una == "*" || una == etag)
    })
}

/// Lo que se contará en pantalla cuando acabe.
fn al_terminar(conexion: &Conexion, nombre: &str, bytes: u64, total: u64) -> String {
    if bytes == total {
        format!("{ENVIO_COMPLETO} {nombre}")
    } else {
        format!(
            "[ENVÍO] {} de {nombre} a {}",
            tamano(bytes),
            conexion.otro()
        )
    }
}

/// Manda el tramo. El final espera a comprobar que el archivo no cambió: quien cuenta los bytes no debe recibir los
/// prometidos si son mitad de antes y mitad de después.
fn enviar(abierto: Abierto, tramo: Range<u64>, avisador: Avisador, aviso: Option<String>) -> Envio {
    Box::new(move |conexion, cabeza| {
        let cambio = |_| FalloRed::Cortada;
        let corte = tramo.end.saturating_sub(ULTIMO_TROZO).max(tramo.start);
        let mut cabeza = cabeza;
        if corte > tramo.start {
            enviar_tramo(conexion, &abierto, tramo.start..corte, cabeza).map_err(cambio)?;
            cabeza = b"";
        }
        if !abierto.sigue_igual() {
            return Err(FalloRed::Cortada);
        }
        enviar_tramo(conexion, &abierto, corte..tramo.end, cabeza).map_err(cambio)?;
        avisador.destacar(aviso.into_iter().collect());
        Ok(())
    })
}

/// «Guárdalo con este nombre»: en ASCII para los programas viejos, y tal cual (codificado) para los demás.
fn como_descarga(nombre: &str) -> String {
    let ultimo = nombre.rsplit('/').next().unwrap_or(nombre);
    let seguro =
        |letra: char| letra.is_ascii_graphic() && !"\"\\%;".contains(letra) || letra == ' ';
    let ascii: String = ultimo
        .chars()
        .map(|letra| if seguro(letra) { letra } else { '_' })
        .collect();
    format!(
        "attachment; filename=\"{ascii}\"; filename*=UTF-8''{}",
        codificar(ultimo)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn el_nombre_de_descarga_no_rompe_la_cabecera() {
        assert_eq!(
            como_descarga("fotos/a\"b;ñ.txt"),
            "attachment; filename=\"a_b__.txt\"; filename*=UTF-8''a%22b%3B%C3%B1.txt"
        );
    }

    #[test]
    fn if_none_match_es_una_lista() {
        for (lista, coincide) in [
            ("\"a\"", true),
            ("\"b\", W/\"a\"", true),
            ("*", true),
            ("\"b\"", false),
            ("a", false),
        ] {
            assert_eq!(ya_lo_tiene(Some(lista), "\"a\""), coincide, "{lista}");
        }
        assert!(!ya_lo_tiene(None, "\"a\""));
    }
}
