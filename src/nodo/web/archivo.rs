//! `GET /files/<nombre>`: un archivo por HTTP, entero o una parte, para curl y para navegadores.
//!
//! Un navegador que abre un archivo ajeno no debe ejecutarlo: va siempre como descarga, sin tipo, y
//! con `sandbox`. La `ETag` es la huella, así que sólo la hay si ya se sabe: por ella no se hace
//! esperar a nadie, salvo a quien pregunta precisamente por ella.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use super::sin_descriptores;
use crate::consola::eventos::Avisador;
use crate::guia::ENVIO_COMPLETO;
use crate::http::rango::{Rango, leer_rango};
use crate::http::url::codificar;
use crate::http::{CorteHttp, Envio, PeticionHttp, RespuestaHttp};
use crate::http::{fecha_http, leer_fecha, rechazar};
use crate::nodo::Nodo;
use crate::nodo::carpeta::{Abierto, NoSeAbre};
use crate::nodo::palabras::servir::enviar_tramo;
use crate::red::conexion::{Conexion, FalloRed};
use crate::texto::tamano;

/// Lo que se guarda para el final: no se manda hasta ver que el archivo sigue como estaba.
const ULTIMO_TROZO: u64 = 64 * 1024;
/// Lo que se espera por una huella de la que depende la respuesta.
const ESPERA_DE_HUELLA: Duration = Duration::from_secs(5);

/// Sirve un archivo de la carpeta, o dice que no está (404) o que no quedan descriptores (503).
pub fn servir(
    peticion: &PeticionHttp,
    nombre: &str,
    nodo: &Nodo,
) -> Result<RespuestaHttp, CorteHttp> {
    let abierto = match nodo.estante.abrir(nombre) {
        Ok(abierto) => abierto,
        Err(NoSeAbre::NoEsta) => return Err(rechazar(404, format!("no comparto «{nombre}»"))),
        Err(NoSeAbre::SinDescriptores) => return Err(sin_descriptores()),
    };
    // Si aún no se sabe, esta vez no hay `ETag`, y queda pedida para la siguiente.
    let exige = peticion.cabecera("if-match");
    let espera = exige.map_or(Duration::ZERO, |_| ESPERA_DE_HUELLA);
    let resumen = nodo.estante.resumen(nombre, &abierto, espera);
    let etag = resumen.map(|resumen| format!("\"{}\"", resumen.huella));
    let etag = etag.as_deref();
    if exige.is_some_and(|lista| !esta_en(lista, etag)) {
        return Err(rechazar(412, format!("«{nombre}» ya no es esa versión")));
    }
    let (total, fecha) = (abierto.tamano, abierto.sello.fecha);
    let lista = peticion.cabecera("if-none-match");
    let desde = peticion.cabecera("if-modified-since");
    if ya_lo_tiene(lista, desde, etag, fecha) {
        return Ok(con_version(RespuestaHttp::vacia(304), etag, fecha));
    }
    let (codigo, tramo) = match que_parte(peticion, etag, total) {
        Rango::Entero => (200, 0..total),
        Rango::Parte { desde, hasta } => (206, desde..hasta + 1),
        Rango::Imposible => {
            let fallo = RespuestaHttp::fallo(416, format!("«{nombre}» mide {total} bytes"));
            return Ok(fallo.con("Content-Range", format!("bytes */{total}")));
        }
    };
    let largo = tramo.end - tramo.start;
    let rango = format!("bytes {}-{}/{total}", tramo.start, tramo.end.max(1) - 1);
    let enviar = enviar(abierto, tramo, nombre.to_string(), nodo.avisador.clone());
    let respuesta = RespuestaHttp::flujo(codigo, largo, enviar)
        .con("Accept-Ranges", "bytes")
        .con("Content-Disposition", como_descarga(nombre))
        .con("Content-Security-Policy", "sandbox; default-src 'none'");
    let respuesta = con_version(respuesta, etag, fecha);
    Ok(match codigo {
        206 => respuesta.con("Content-Range", rango),
        _ => respuesta,
    })
}

/// Qué parte se pide. `Range` sólo cuenta en un `GET`; y con un `If-Range` de otra versión lo que
/// ya tiene no le sirve, así que se le manda entero.
fn que_parte(peticion: &PeticionHttp, etag: Option<&str>, total: u64) -> Rango {
    let suya = peticion.cabecera("if-range");
    let vale = peticion.metodo == "GET" && (suya.is_none() || suya == etag);
    leer_rango(peticion.cabecera("range").filter(|_| vale), total)
}

/// Con qué reconocer esta versión la próxima vez.
fn con_version(respuesta: RespuestaHttp, etag: Option<&str>, fecha: SystemTime) -> RespuestaHttp {
    // Nunca una fecha que aún no ha llegado: la norma no deja.
    let fecha = fecha_http(fecha.min(SystemTime::now()));
    let respuesta = respuesta.con("Last-Modified", fecha);
    match etag {
        // `no-cache` es «pregunta antes de usar lo guardado», y con la `ETag` preguntar es barato.
        Some(etag) => respuesta.con("ETag", etag).con("Cache-Control", "no-cache"),
        None => respuesta,
    }
}

/// ¿Tiene ya esta versión, según su `If-None-Match` o, si no lo manda, su `If-Modified-Since`?
fn ya_lo_tiene(
    lista: Option<&str>,
    desde: Option<&str>,
    etag: Option<&str>,
    fecha: SystemTime,
) -> bool {
    if let Some(lista) = lista {
        return esta_en(&lista.replace("W/", ""), etag);
    }
    let desde = desde.and_then(leer_fecha);
    // En HTTP las fechas van por segundos.
    desde.is_some_and(|desde| fecha < desde + Duration::from_secs(1))
}

/// ¿Está `etag` en la lista de `If-Match` o `If-None-Match`? `*` es cualquiera.
fn esta_en(lista: &str, etag: Option<&str>) -> bool {
    let mut suyas = lista.split(',').map(str::trim);
    suyas.any(|una| una == "*" || Some(una) == etag)
}

/// Lo que se cuenta en pantalla cuando acaba.
fn al_terminar(conexion: &Conexion, nombre: &str, bytes: u64, total: u64) -> String {
    let otro = conexion.otro();
    if bytes == total {
        format!("{ENVIO_COMPLETO} {nombre}")
    } else {
        format!("[ENVÍO] {} de {nombre} a {otro}", tamano(bytes))
    }
}

/// Manda el tramo. El final espera a comprobar que el archivo no cambió: quien cuenta los bytes no
/// debe recibir los prometidos si son mitad de antes y mitad de después.
fn enviar(abierto: Abierto, tramo: Range<u64>, nombre: String, avisador: Avisador) -> Envio {
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
        let bytes = tramo.end - tramo.start;
        avisador.destacar(vec![al_terminar(conexion, &nombre, bytes, abierto.tamano)]);
        Ok(())
    })
}

/// «Guárdalo con este nombre»: en ASCII para los programas viejos, y tal cual (codificado) para los
/// demás.
fn como_descarga(nombre: &str) -> String {
    let ultimo = nombre.rsplit('/').next().unwrap_or(nombre);
    let seguro =
        |letra: char| letra.is_ascii_graphic() && !"\"\\%;".contains(letra) || letra == ' ';
    let ascii = ultimo.replace(|letra| !seguro(letra), "_");
    let entero = codificar(ultimo);
    format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{entero}")
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
            let ya = ya_lo_tiene(Some(lista), None, Some("\"a\""), SystemTime::now());
            assert_eq!(ya, coincide, "{lista}");
        }
        assert!(!ya_lo_tiene(None, None, Some("\"a\""), SystemTime::now()));
    }

    #[test]
    fn la_fecha_cuenta_por_segundos_y_solo_si_no_hay_lista() {
        let fecha = SystemTime::UNIX_EPOCH + Duration::from_millis(784_111_777_900);
        let desde = |escrita, lista| ya_lo_tiene(lista, Some(escrita), Some("\"a\""), fecha);
        assert!(desde("Sun, 06 Nov 1994 08:49:37 GMT", None));
        assert!(desde("Sun, 06 Nov 1994 08:49:38 GMT", None));
        assert!(!desde("Sun, 06 Nov 1994 08:49:36 GMT", None));
        assert!(!desde("ayer", None));
        assert!(!desde("Sun, 06 Nov 1994 08:49:38 GMT", Some("\"b\"")));
    }
}
