//! `GET /vivo` y `GET /sucesos`: los mensajes de este nodo, según pasan, en un navegador.
//!
//! `/vivo` es una página sola, sin nada de fuera (`vivo.html`); lo que dibuja le llega por
//! `/sucesos`, una respuesta que no acaba (SSE). Quien mira ocupa el hilo de su conexión, y son
//! pocos. Los mensajes de otros no son de cualquiera: sólo se ven desde esta máquina, o desde todas
//! sin los textos con `--vivo-para-todos`. Qué se enseña y qué se salta lo decide
//! `laboratorio/vivo.rs`. No está en la guía.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::http::{CorteHttp, Envio, PeticionHttp, RespuestaHttp, escapar, rechazar};
use crate::laboratorio::vivo::{Espectador, MAX_ESPECTADORES};
use crate::nodo::Nodo;
use crate::nodo::web::pagina::CON_FALLAS;
use crate::red::conexion::{Conexion, FalloRed};
use crate::red::parada::{Parada, Trato};

const PAGINA: &str = include_str!("vivo.html");
/// Los peers que tienen su columna desde el principio.
const MAX_COLUMNAS: usize = 40;
/// Cada cuánto se dice algo aunque no pase nada: se nota si el otro se fue, y él, que seguimos.
const LATIDO: Duration = Duration::from_secs(2);
/// Lo que se junta antes de mandar más: nadie ve nada más corto, y mirar no compite con atender.
const RATO: Duration = Duration::from_millis(100);
/// Lo que se espera para ver si quien mira cerró: lo normal es que no llegue nada.
const UN_INSTANTE: Duration = Duration::from_millis(1);

const SIN_TEXTOS: &str = "<p>Desde otra computadora no se ven los textos.</p>\n";

/// ¿Llama desde esta misma máquina?
pub fn es_de_aqui(conexion: &Conexion) -> bool {
    let nuestra = conexion.socket().local_addr();
    nuestra.is_ok_and(|nuestra| misma_maquina(conexion.otro().ip(), nuestra.ip()))
}

/// ¿Puede mirar en vivo, aunque sea sin los textos?
pub fn puede_mirar(conexion: &Conexion, nodo: &Nodo) -> bool {
    nodo.laboratorio.vivo_para_todos || es_de_aqui(conexion)
}

/// Quien se llama a sí mismo por una IP de su red llega con esa misma IP. No se pregunta al sistema
/// cuáles son las suyas: puede estar configurado para decir que sí a todas.
fn misma_maquina(otra: IpAddr, nuestra: IpAddr) -> bool {
    let (otra, nuestra) = (otra.to_canonical(), nuestra.to_canonical());
    otra.is_loopback() || otra == nuestra
}

/// `GET /vivo`: la página.
pub fn pagina(conexion: &mut Conexion, nodo: &Nodo) -> Result<RespuestaHttp, CorteHttp> {
    admitir(conexion, nodo)?;
    // El sello es nuevo cada vez: sólo corre el guion de esta página, no uno que alguien colara.
    let sello = sello();
    let politica = format!(
        "default-src 'none'; script-src 'nonce-{sello}'; style-src 'nonce-{sello}'; \
         connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    );
    let html = PAGINA.replace("{sello}", &sello);
    let html = con_lo_del_nodo(&html, nodo, es_de_aqui(conexion));
    Ok(RespuestaHttp::documento(200, html, &politica))
}

fn con_lo_del_nodo(plantilla: &str, nodo: &Nodo, de_aqui: bool) -> String {
    let mut avisos = String::new();
    if nodo.laboratorio.con_fallas() {
        avisos.push_str(CON_FALLAS);
    }
    if !de_aqui {
        avisos.push_str(SIN_TEXTOS);
    }
    let vecinos = nodo.vecinos.para_una_tanda(&nodo.saliendo);
    let peers = vecinos.peers.iter().take(MAX_COLUMNAS);
    let peers: String = peers.map(|peer| format!("<li>{peer}</li>")).collect();
    let puerto = nodo.direccion.port().to_string();
    let plantilla = plantilla.replace("{avisos}", &avisos);
    let plantilla = plantilla.replace("{peers}", &peers);
    let plantilla = plantilla.replace("{puerto}", &puerto);
    // Lo ajeno, lo último: en un nombre puede poner «{peers}».
    plantilla.replace("{nombre}", &escapar(&nodo.vecinos.nombre))
}

/// `GET /sucesos`: lo que va pasando, hasta que quien mira se vaya o el nodo salga.
pub fn sucesos(
    conexion: &mut Conexion,
    peticion: &PeticionHttp,
    nodo: &Nodo,
) -> Result<RespuestaHttp, CorteHttp> {
    // Una página ajena no podría leerlos, pero sí ocupar los sitios.
    let desde = peticion.cabecera("sec-fetch-site");
    if desde.is_some_and(|desde| !["same-origin", "none"].contains(&desde)) {
        return Err(rechazar(
            403,
            "los sucesos son para la página /vivo de este nodo",
        ));
    }
    admitir(conexion, nodo)?;
    let espectador = nodo.laboratorio.vivo.mirar(es_de_aqui(conexion));
    let llena = || {
        let frase = format!("ya hay {MAX_ESPECTADORES} páginas mirando: cierra alguna");
        rechazar(503, frase)
    };
    let espectador = espectador.ok_or_else(llena)?;
    let saliendo = nodo.saliendo.clone();
    let enviar: Envio = Box::new(move |conexion, cabeza| {
        // Quien no lee no retrasa la salida: apuntado, se le corta a media escritura.
        let _apuntada = saliendo.apuntar(conexion.socket(), Trato::Sigue);
        conexion.escribir_datos(cabeza)?;
        contar_lo_que_pasa(conexion, espectador, &saliendo)
    });
    Ok(RespuestaHttp::sucesos(enviar))
}

/// Deja pasar a quien puede mirar, y desde ahí no se mira su propia conexión: dibujar que se dibuja
/// no acabaría nunca. Tampoco se estropea, aunque haya fallas puestas: es con lo que se ven.
fn admitir(conexion: &mut Conexion, nodo: &Nodo) -> Result<(), CorteHttp> {
    if !puede_mirar(conexion, nodo) {
        let frase = "los mensajes de este nodo sólo se ven desde su propia computadora; para que \
            se vean desde otras, sin los textos, hay que arrancarlo con --vivo-para-todos";
        return Err(rechazar(403, frase));
    }
    // Quien la miraba se va con la que se cede, y en el diario acaba aquí.
    drop(conexion.ceder());
    Ok(())
}

fn contar_lo_que_pasa(
    conexion: &mut Conexion,
    mut espectador: Espectador,
    saliendo: &Parada,
) -> Result<(), FalloRed> {
    // El primer latido, ya: un navegador no da la respuesta por empezada hasta ver algo.
    let mut plazo = Duration::ZERO;
    while let Some(lineas) = espectador.siguientes(plazo, saliendo) {
        plazo = LATIDO;
        conexion.escribir_datos(en_sse(&lineas).as_bytes())?;
        if se_fue(conexion) {
            break;
        }
        // Si se sale, la vuelta siguiente se entera.
        let _ = saliendo.canal().recv_timeout(RATO);
    }
    Ok(())
}

/// Cada línea, un suceso: el JSON no lleva saltos de línea. Sin ninguna, un latido.
fn en_sse(lineas: &[impl AsRef<str>]) -> String {
    if lineas.is_empty() {
        return "data: {}\n\n".to_string();
    }
    let sucesos = lineas.iter().map(|linea| linea.as_ref());
    sucesos.map(|linea| format!("data: {linea}\n\n")).collect()
}

/// ¿Cerró? Que no llegue nada es que sigue ahí; lo que llegue es su final (o algo que no toca).
fn se_fue(conexion: &mut Conexion) -> bool {
    let limite = Instant::now() + UN_INSTANTE;
    let leido = conexion.recibir(limite, "que quien mira cierre");
    !matches!(leido, Err(FalloRed::Vencio(_)))
}

/// 128 bits que nadie puede adivinar: cada `RandomState` nace con una semilla al azar del sistema.
fn sello() -> String {
    let al_azar = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", al_azar(), al_azar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solo_es_de_aqui_quien_llega_con_una_ip_de_aqui() {
        let misma = |otra: &str, nuestra: &str| {
            misma_maquina(otra.parse().unwrap(), nuestra.parse().unwrap())
        };
        for (otra, nuestra) in [
            ("127.0.0.1", "127.0.0.1"),
            ("127.0.0.9", "127.0.0.1"),
            ("::1", "::1"),
            ("::ffff:127.0.0.1", "::ffff:127.0.0.1"),
            ("192.168.1.10", "192.168.1.10"),
            ("::ffff:192.168.1.10", "192.168.1.10"),
            ("fe80::1", "fe80::1"),
        ] {
            assert!(misma(otra, nuestra), "{otra} en {nuestra}");
        }
        for (otra, nuestra) in [
            ("192.168.1.11", "192.168.1.10"),
            ("192.0.2.1", "127.0.0.1"),
            ("::ffff:192.168.1.11", "::ffff:192.168.1.10"),
            ("fe80::2", "fe80::1"),
            ("0.0.0.0", "192.168.1.10"),
        ] {
            assert!(!misma(otra, nuestra), "{otra} en {nuestra}");
        }
    }

    #[test]
    fn cada_suceso_es_uno_y_sin_ninguno_hay_un_latido() {
        assert_eq!(
            en_sse(&["{\"i\":1}", "{\"i\":2}"]),
            "data: {\"i\":1}\n\ndata: {\"i\":2}\n\n"
        );
        assert_eq!(en_sse(&[""; 0]), "data: {}\n\n");
    }

    #[test]
    fn ningun_sello_se_repite() {
        let (uno, otro) = (sello(), sello());
        assert!(uno != otro && uno.len() == 32);
    }

    #[test]
    fn la_pagina_no_trae_nada_de_fuera_ni_escribe_html() {
        for no_hay in [
            "http:",
            "https:",
            "innerHTML",
            "document.write",
            "eval(",
            "style=",
            "onclick",
        ] {
            assert!(!PAGINA.contains(no_hay), "{no_hay}");
        }
        assert_eq!(PAGINA.matches("nonce=\"{sello}\"").count(), 2);
    }
}
