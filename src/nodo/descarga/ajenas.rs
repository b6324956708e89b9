//! Bajar de quien no habla nuestro protocolo: los peers de otros cursos, que da un maestro o se
//! escriben con `--de`.
//!
//! De cada fuente se usa lo primero que entienda: nuestro protocolo, por bloques y de todas a la
//! vez; las palabras de la guía; y, si nada de eso dio el archivo, las [`maneras`] de aquí, una
//! fuente detrás de otra. Ninguna trae huella: lo que llega queda sin comprobar, y se dice. No está
//! en la guía. No escribe en pantalla.

use std::net::SocketAddr;
use std::time::Instant;

use crate::consola::preguntar_a_todos;
use crate::fallo::Fallo;
use crate::http::cliente::{Archivo, Cabeza, pedir_archivo};
use crate::http::url::codificar_ruta;
use crate::nodo::cliente::descargar_archivo;
use crate::nodo::descarga::pedido::{Descargado, NoDescargado, Pedido};
use crate::nodo::descarga::plan::Destino;
use crate::nodo::descarga::sin_comprobar::guardar_sin_comprobar;
use crate::nodo::maestro::localizar::Hallado;
use crate::nodo::palabras::pedir::{FIN_HTTP, Habla, que_habla};

/// Baja un archivo de las `fuentes`: de las que hablan lo nuestro; y si no puede ser, de las
/// ajenas.
pub fn descargar_de(fuentes: &[Hallado], pedido: &Pedido) -> Result<Descargado, NoDescargado> {
    let nuestras: Vec<SocketAddr> = fuentes.iter().filter_map(Hallado::direccion).collect();
    let mut fin = Err(NoDescargado::NoEncontrado);
    if !nuestras.is_empty() {
        fin = descargar_archivo(&nuestras, pedido);
    }
    if matches!(fin, Ok(_) | Err(NoDescargado::Cancelado)) {
        return fin;
    }
    for ajena in ajenas(fuentes, pedido)? {
        match de_una_ajena(ajena, pedido) {
            Err(NoDescargado::NoEncontrado) => {}
            Err(NoDescargado::Fallo(fallo)) => {
                if fuentes.len() > 1 {
                    (pedido.avisar)(format!("[FUENTE RETIRADA] {fallo}"));
                }
                fin = Err(NoDescargado::Fallo(fallo));
            }
            acabo => return acabo,
        }
    }
    match pedido.parada.avisada() {
        true => Err(NoDescargado::Cancelado),
        false => fin,
    }
}

/// Las que no hablan lo nuestro. A quien se escribió con `--de` no se le había preguntado: se
/// pregunta ahora, a todos a la vez.
fn ajenas<'f>(fuentes: &'f [Hallado], pedido: &Pedido) -> Result<Vec<&'f Hallado>, Fallo> {
    let fuentes: Vec<&Hallado> = fuentes.iter().collect();
    let (limites, parada) = (pedido.limites, pedido.parada);
    let es_ajena = |fuente: &Hallado| {
        fuente.direccion().is_none_or(|direccion| {
            let pregunta = (pedido.nombre, FIN_HTTP);
            let habla = que_habla(direccion, pregunta, limites.conectar, limites, parada);
            matches!(habla, Ok(Habla::Otra))
        })
    };
    let mut lo_son = vec![false; fuentes.len()];
    preguntar_a_todos(&fuentes, es_ajena, |respuestas| {
        for (lugar, lo_es) in respuestas {
            lo_son[lugar] = lo_es;
        }
    })?;
    let con_respuesta = fuentes.into_iter().zip(lo_son);
    Ok(con_respuesta
        .filter(|(_, lo_es)| *lo_es)
        .map(|(fuente, _)| fuente)
        .collect())
}

/// Una manera de bajar de una fuente ajena.
type Manera = fn(&Hallado, &Pedido) -> Result<Descargado, Tropiezo>;

/// Por qué una manera no sirvió.
pub enum Tropiezo {
    /// La fuente no la habla, o nosotros no; y por qué se sabe.
    NoSeHabla(String),
    /// La habla, y no se pudo.
    NoSePudo(NoDescargado),
}

impl<E: Into<NoDescargado>> From<E> for Tropiezo {
    fn from(fallo: E) -> Tropiezo {
        Tropiezo::NoSePudo(fallo.into())
    }
}

/// Las maneras de bajar de `ajena`, en el orden en que se prueban.
fn maneras(ajena: &Hallado) -> Vec<Manera> {
    let mut maneras: Vec<Manera> = vec![por_http];
    if ajena.grpc_port != 0 {
        maneras.push(por_grpc);
    }
    maneras
}

/// Baja de una, de la primera manera que sirva.
fn de_una_ajena(ajena: &Hallado, pedido: &Pedido) -> Result<Descargado, NoDescargado> {
    let (mut motivos, mut fallo_alguna, mut queda_alguna) = (Vec::new(), false, false);
    for manera in maneras(ajena) {
        match manera(ajena, pedido) {
            Ok(descargado) => return Ok(descargado),
            Err(Tropiezo::NoSePudo(NoDescargado::Cancelado)) => {
                return Err(NoDescargado::Cancelado);
            }
            Err(Tropiezo::NoSePudo(NoDescargado::NoEncontrado)) => {
                motivos.push("a GET /files/ dice que no lo tiene".to_string());
            }
            Err(Tropiezo::NoSePudo(NoDescargado::Fallo(fallo))) => {
                motivos.push(fallo.to_string());
                fallo_alguna = true;
            }
            Err(Tropiezo::NoSeHabla(motivo)) => {
                motivos.push(motivo);
                queda_alguna = true;
            }
        }
    }
    let (quien, motivos) = (&ajena.rest, motivos.join("; "));
    Err(match (fallo_alguna, queda_alguna) {
        (true, _) => Fallo::nuevo(format!("{quien}: {motivos}")).into(),
        (false, true) => {
            let pero = "pero no habla nada que entienda";
            Fallo::nuevo(format!("lo tiene {quien}, {pero} ({motivos})")).into()
        }
        (false, false) => NoDescargado::NoEncontrado,
    })
}

/// `Download`, por gRPC, que este programa no habla.
fn por_grpc(ajena: &Hallado, _: &Pedido) -> Result<Descargado, Tropiezo> {
    let puerto = ajena.grpc_port;
    let motivo = format!("habla gRPC en el puerto {puerto}, y este programa no");
    Err(Tropiezo::NoSeHabla(motivo))
}

/// `GET /files/<nombre>`.
fn por_http(ajena: &Hallado, pedido: &Pedido) -> Result<Descargado, Tropiezo> {
    let empezo = Instant::now();
    let nombre = &Destino::nuevo(pedido.nombre, false)?.nombre;
    let base = ajena.rest.trim_end_matches('/');
    let url = format!("{base}/files/{}", codificar_ruta(pedido.nombre));
    let pedida = pedir_archivo(&url, pedido.limites, pedido.parada);
    if pedido.parada.avisada() {
        return Err(NoDescargado::Cancelado.into());
    }
    let no_es_http = || Tropiezo::NoSeHabla("a GET /files/ no contesta HTTP".into());
    let Archivo {
        mut conexion,
        cabeza,
        mut cuerpo,
    } = pedida?.ok_or_else(no_es_http)?;
    comprobar_cabeza(&cabeza)?;
    let anunciados = cabeza.largo.filter(|_| !cabeza.a_trozos);
    if let Some(tamano) = anunciados {
        pedido.carpeta.ver_si_cabe(nombre, tamano)?;
    }
    let que_falta = match cuerpo.se_sabra_el_final() {
        true => "la huella",
        false => "la longitud ni la huella",
    };
    (pedido.avisar)(format!(
        "[SIN COMPROBAR] {} lo da por HTTP: no dice {que_falta} de {nombre}, así que no se puede \
         comprobar",
        ajena.rest
    ));
    let plazo = pedido.limites.respuesta;
    let llega = |destino: &mut [u8]| cuerpo.leer(&mut conexion, destino, plazo);
    Ok(guardar_sin_comprobar(
        nombre, anunciados, empezo, pedido, llega,
    )?)
}

/// ¿Viene detrás el archivo, tal cual?
fn comprobar_cabeza(cabeza: &Cabeza) -> Result<(), Tropiezo> {
    let no_se_pudo = |frase: String| Err(Fallo::nuevo(frase).into());
    match cabeza.codigo {
        200 => match &cabeza.comprimido {
            Some(como) => no_se_pudo(format!(
                "lo manda comprimido ({}) sin que se le pida",
                en_corto(como)
            )),
            None => Ok(()),
        },
        404 | 410 => Err(NoDescargado::NoEncontrado.into()),
        codigo @ (405 | 501) => Err(Tropiezo::NoSeHabla(format!(
            "a GET /files/ contesta con el código HTTP {codigo}"
        ))),
        codigo @ 300..400 => {
            let donde = cabeza.donde.as_deref().unwrap_or("no dice cuál");
            no_se_pudo(format!(
                "manda a otro sitio ({}; código HTTP {codigo}), y no se va: si te fías, bájalo tú \
                 de ahí",
                en_corto(donde)
            ))
        }
        codigo => no_se_pudo(format!(
            "a GET /files/ contesta con el código HTTP {codigo}"
        )),
    }
}

/// El principio de un texto ajeno, que puede ser de lo más largo.
fn en_corto(ajeno: &str) -> String {
    ajeno.chars().take(200).collect()
}
