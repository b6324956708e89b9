//! La página de un nodo para un navegador: qué comparte, quién más hay y los últimos mensajes. De
//! datos a HTML, pura.
//!
//! Un solo documento, que se refresca solo: ni guiones, ni nada de fuera. Todo lo que no escribimos
//! nosotros (nombres de archivo, de nodo, mensajes) pasa por [`escapar`]: un archivo llamado
//! `<img src=x onerror=…>` se lee, no se ejecuta.

use std::net::SocketAddr;

use crate::http::url::codificar_ruta;
use crate::http::{RespuestaHttp, escapar};
use crate::nodo::Mensaje;
use crate::nodo::carpeta::Archivo;
use crate::texto::{cuenta, tamano};

/// Cuántos archivos se enseñan; para ver más está `GET /files`.
const MAX_FILAS: usize = 1000;
/// Cuántos mensajes se enseñan.
const MAX_MENSAJES: usize = 20;

/// Lo que se enseña.
pub struct Datos<'a> {
    /// Nombre del nodo.
    pub nombre: &'a str,
    /// Dónde se le llama.
    pub direccion: SocketAddr,
    /// Lo que comparte.
    pub archivos: &'a [Archivo],
    /// Los demás, y qué se sabe de cada uno.
    pub peers: &'a [(SocketAddr, EstadoDePeer)],
    /// Los mensajes recibidos, del más viejo al más nuevo. Son de quien está delante: `None` si
    /// quien mira es de otra máquina.
    pub mensajes: Option<&'a [Mensaje]>,
    /// ¿Puede ver los mensajes según pasan?
    pub en_vivo: bool,
    /// ¿Estropea a propósito lo que contesta?
    pub con_fallas: bool,
}

/// Cómo está un peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EstadoDePeer {
    /// Contesta, y dijo cómo se llama.
    Responde(String),
    /// Está, pero no conoce las palabras ampliadas: es un nodo como el de la guía.
    DeLaGuia,
    /// Está, pero su clave no casa con la nuestra.
    SinEntenderse(String),
    /// No contesta.
    Callado,
}

/// La página entera.
pub fn pagina(datos: &Datos) -> RespuestaHttp {
    let cabeza = format!("{REFRESCO}{ESTILO}");
    RespuestaHttp::pagina(200, datos.nombre, &cabeza, &cuerpo(datos))
}

fn cuerpo(datos: &Datos) -> String {
    let (nombre, direccion) = (escapar(datos.nombre), datos.direccion);
    let mut html = String::with_capacity(4096 + 200 * datos.archivos.len().min(MAX_FILAS));
    html += &format!("<h1>{nombre}</h1>\n<p class=\"nota\">Nodo activo en {direccion}</p>\n");
    if datos.con_fallas {
        html.push_str(CON_FALLAS);
    }
    if datos.en_vivo {
        html.push_str(EN_VIVO);
    }
    let ninguno = "Ninguno todavía: ponlos en su carpeta.";
    let archivos = datos.archivos.iter().take(MAX_FILAS).map(fila_de_archivo);
    seccion(&mut html, "Archivos que comparte", ninguno, archivos);
    if datos.archivos.len() > MAX_FILAS {
        let mas = cuenta(datos.archivos.len() - MAX_FILAS, "archivo", "archivos");
        let todos = "<a href=\"/files\">la lista entera</a>";
        html += &format!("<p class=\"nota\">Y {mas} más: {todos}.</p>\n");
    }
    let peers = datos.peers.iter().map(fila_de_peer);
    seccion(&mut html, "Otros nodos", "No conoce a ninguno.", peers);
    let ninguno = match datos.mensajes {
        Some(_) => "No ha recibido ninguno.",
        None => "Se leen en su propia computadora.",
    };
    let mensajes = datos.mensajes.unwrap_or_default();
    let mensajes = mensajes.iter().rev().take(MAX_MENSAJES);
    let mensajes = mensajes.map(fila_de_mensaje);
    seccion(&mut html, "Últimos mensajes", ninguno, mensajes);
    html
}

/// Un título y su tabla, o lo que se dice si no tiene filas.
fn seccion(
    html: &mut String,
    titulo: &str,
    ninguna: &str,
    filas: impl ExactSizeIterator<Item = String>,
) {
    *html += &format!("<h2>{titulo}</h2>\n");
    if filas.len() == 0 {
        *html += &format!("<p class=\"nota\">{ninguna}</p>\n");
        return;
    }
    html.push_str("<table>\n");
    html.extend(filas);
    html.push_str("</table>\n");
}

fn fila_de_archivo(archivo: &Archivo) -> String {
    let (enlace, nombre) = (codificar_ruta(&archivo.nombre), escapar(&archivo.nombre));
    let cuanto = tamano(archivo.tamano);
    format!("<tr><td><a href=\"/files/{enlace}\">{nombre}</a><td class=\"n\">{cuanto}\n")
}

fn fila_de_peer((peer, estado): &(SocketAddr, EstadoDePeer)) -> String {
    let (clase, como) = match estado {
        EstadoDePeer::Responde(nombre) => ("si", format!("responde: {}", escapar(nombre))),
        EstadoDePeer::DeLaGuia => ("si", "responde (nodo de la guía)".to_string()),
        EstadoDePeer::SinEntenderse(por_que) => ("no", por_que.clone()),
        EstadoDePeer::Callado => ("no", "no responde".to_string()),
    };
    // A quien no responde no hay página que abrirle, y el nodo de la guía no tiene.
    let quien = match estado {
        EstadoDePeer::Responde(_) => format!("<a href=\"http://{peer}/\">{peer}</a>"),
        _ => peer.to_string(),
    };
    format!("<tr><td>{quien}<td class=\"{clase}\">{como}\n")
}

fn fila_de_mensaje(mensaje: &Mensaje) -> String {
    let (de, texto) = (escapar(&mensaje.de), escapar(&mensaje.texto));
    let ip = mensaje.desde.ip();
    format!("<tr><td>{de}<br><span class=\"nota\">{ip}</span><td>{texto}\n")
}

/// Se vuelve a pedir cada cinco segundos.
const REFRESCO: &str = "<meta http-equiv=\"refresh\" content=\"5\">\n";
/// El aviso de las dos páginas.
pub const CON_FALLAS: &str = "<p class=\"no\">Estropea a propósito lo que contesta \
    (<code>--fallas</code>).</p>\n";
const EN_VIVO: &str = "<p><a href=\"/vivo\">Ver sus mensajes según pasan</a></p>\n";
const ESTILO: &str = "<style>\
:root{color-scheme:light dark}\
body{font:1rem/1.5 system-ui,sans-serif;max-width:46rem;margin:0 auto;padding:1rem}\
h1,td{overflow-wrap:anywhere}\
h1{margin:0;font-size:1.6rem}h2{margin:1.8rem 0 .4rem;font-size:1.1rem}\
table{width:100%;border-collapse:collapse}\
td{padding:.5rem .4rem;border-top:1px solid #8885;vertical-align:top}\
td:first-child{padding-left:0}\
.n{text-align:right;white-space:nowrap}\
.nota{margin:0;opacity:.7}span.nota{white-space:nowrap}.si{color:#187a2f}.no{color:#b3261e}\
@media(prefers-color-scheme:dark){.si{color:#6fd08c}.no{color:#ff8a80}a{color:#8ab4f8}}</style>\n";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodo::carpeta::Abierto;

    fn archivo(nombre: &str) -> Archivo {
        let uno = Abierto::mirar(tempfile::tempfile().unwrap()).unwrap();
        Archivo {
            nombre: nombre.into(),
            tamano: 2048,
            sello: uno.sello,
        }
    }

    fn con(
        archivos: &[Archivo],
        peers: &[(SocketAddr, EstadoDePeer)],
        mensajes: Option<&[Mensaje]>,
    ) -> String {
        let direccion = SocketAddr::from(([127, 0, 0, 1], 6001));
        cuerpo(&Datos {
            nombre: "nodo1",
            direccion,
            archivos,
            peers,
            mensajes,
            en_vivo: mensajes.is_some(),
            con_fallas: mensajes.is_none(),
        })
    }

    #[test]
    fn nada_ajeno_se_ejecuta() {
        let malo = "<img src=x onerror=alert(1)>\"'&.txt";
        let peer = SocketAddr::from(([127, 0, 0, 1], 6002));
        let mensaje = Mensaje {
            de: malo.into(),
            desde: peer,
            hora: "10:32".into(),
            texto: malo.into(),
        };
        let html = con(
            &[archivo(malo)],
            &[(peer, EstadoDePeer::Responde(malo.into()))],
            Some(&[mensaje]),
        );
        assert!(
            !html.contains("<img") && !html.contains("onerror=alert(1)>\""),
            "{html}"
        );
        assert_eq!(
            html.matches("&lt;img src=x onerror=alert(1)&gt;&quot;&#39;&amp;.txt")
                .count(),
            4
        );
        assert!(
            html.contains(
                "href=\"/files/%3Cimg%20src%3Dx%20onerror%3Dalert%281%29%3E%22%27%26.txt\""
            )
        );
        assert!(html.contains("2,0 kB"));
        for de_fuera in ["<script", "@import", "url(", "src=\""] {
            assert!(!html.contains(de_fuera), "{de_fuera}");
        }
    }

    #[test]
    fn una_carpeta_enorme_no_hace_una_pagina_enorme() {
        let muchos: Vec<Archivo> = (0..3000)
            .map(|n| archivo(&format!("carpeta/{n}.txt")))
            .collect();
        let html = con(&muchos, &[], Some(&[]));
        assert_eq!(html.matches("<a href=\"/files/carpeta/").count(), MAX_FILAS);
        assert!(html.contains("Y 2000 archivos más"));
        assert!(html.contains("No conoce a ninguno") && html.contains("No ha recibido ninguno"));
    }

    #[test]
    fn los_mensajes_y_el_dibujo_son_solo_para_quien_puede_verlos() {
        let (de_aqui, de_fuera) = (con(&[], &[], Some(&[])), con(&[], &[], None));
        assert!(de_aqui.contains("href=\"/vivo\"") && !de_aqui.contains("--fallas"));
        assert!(de_fuera.contains("Se leen en su propia computadora"));
        assert!(!de_fuera.contains("/vivo") && de_fuera.contains("--fallas"));
    }
}
