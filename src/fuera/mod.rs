//! Fuera del aula: `nodo torrent`, un `.torrent` con el que cualquier cliente de BitTorrent baja de
//! estos nodos.
//!
//! No está en la guía: es el motor al que se pasa cuando la clase se queda pequeña. Los nodos no
//! aprenden ninguna palabra: ya sirven sus archivos por HTTP, y un torrent puede llevar direcciones
//! HTTP de donde bajar (`url-list`, BEP 19). Aquí se decide qué lleva (`lote.rs`), se pregunta
//! quién lo tiene igual y se escribe (`bencode.rs`). No baja, no sirve y no abre ningún puerto.

mod bencode;
mod lote;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;
use log::debug;

use crate::config::Config;
use crate::consola::Consola;
use crate::fallo::{Fallo, Salida};
use crate::nodo::acciones;
use crate::nodo::arranque::direccion_en_la_red;
use crate::nodo::carpeta::Carpeta;
use crate::nodo::carpeta::huella::Huella;
use crate::nodo::descarga::linea::Linea;
use crate::nodo::descarga::relato::en_corto;
use crate::nodo::palabras::pedir::FalloPar;
use crate::nodo::vecinos::Vecinos;
use crate::red::maquina::alcanzable;
use crate::texto::{cuenta, tamano};
use bencode::Bencode;
use lote::{Leido, Lote};

/// Cada cuánto se vuelve a preguntar a quien aún calcula una huella.
const CADA_CUANTO: Duration = Duration::from_secs(1);
/// Lo más que se lee de un archivo que ya estaba donde se va a escribir.
const TOPE_DE_TORRENT: u64 = 16 << 20;

/// `nodo torrent`.
pub fn abrir(
    config: &Config,
    nombre: &str,
    salida: Option<PathBuf>,
    consola: &mut Consola,
) -> Result<Salida, Fallo> {
    if config.limites.clave.is_some() {
        let frase = "con clave no hay torrent: los nodos no dan archivos por HTTP, y un cliente \
                     de BitTorrent no sabe cifrar con ella";
        return Err(Fallo::nuevo(frase));
    }
    let carpeta = Carpeta::abrir(&config.carpeta_o_la_de_la_guia())?;
    let lote = Lote::buscar(&carpeta, nombre)?;
    let destino = salida.unwrap_or_else(|| format!("{}.torrent", lote.nombre()).into());
    let (leido, dejado) = consola.trabajar(|encargo| lote.leer(&carpeta, &encargo))?;
    if dejado {
        return Ok(Salida::Interrumpido);
    }
    let leido = leido?;
    let Some(semillas) = semillas(config, &lote, &leido, consola)? else {
        return Ok(Salida::Interrumpido);
    };
    if semillas.is_empty() {
        consola.pantalla.aviso(format!(
            "Ningún nodo comparte ahora «{}» tal como está aquí, y de un torrent sin nadie no se \
             baja nada: arranca uno con esa carpeta (nodo servir) y vuelve a hacerlo.",
            lote.nombre()
        ));
        return Ok(Salida::NoSePudo);
    }
    let urls: Vec<String> = semillas.iter().map(|s| lote.url(&s.to_string())).collect();
    guardar(&destino, &lote.info(&leido), &urls)?;
    contar(&destino, &lote, &urls, consola);
    if semillas.iter().any(|semilla| semilla.ip().is_loopback()) {
        let frase = "Las direcciones 127.x sólo valen en esta máquina: para otras, que los nodos \
                     escuchen en la red (--ip) y aquí se escriban sus IP (--peer).";
        consola.pantalla.aviso(frase);
    }
    Ok(Salida::Bien)
}

fn contar(destino: &Path, lote: &Lote, urls: &[String], consola: &mut Consola) {
    let (archivos, total) = (lote.archivos.len(), lote.total());
    let piezas = cuenta(total.div_ceil(lote.pieza) as usize, "pieza", "piezas");
    let linea = format!(
        "  {} · {} · {piezas} de {} KiB · {}",
        cuenta(archivos, "archivo", "archivos"),
        tamano(total),
        lote.pieza / 1024,
        cuenta(urls.len(), "nodo", "nodos"),
    );
    let mut lineas = vec![format!("[TORRENT] {}", en_corto(destino)), linea];
    lineas.extend(urls.iter().map(|url| format!("  {url}")));
    consola.pantalla.tanda(lineas);
}

// ----- Quién lo tiene -----

/// Los nodos que tienen ahora ese contenido, todo y con las mismas huellas. `None` si un Ctrl-C lo
/// dejó.
///
/// Una orden suelta no abre puerto: ella no es semilla de nada. El nodo de esta carpeta lo es si
/// está en marcha, y se sabe como de los demás, preguntándole. Por eso aquí nadie se excluye de la
/// lista: lo peligroso era descargarse de uno mismo.
fn semillas(
    config: &Config,
    lote: &Lote,
    leido: &Leido,
    consola: &mut Consola,
) -> Result<Option<Vec<SocketAddr>>, Fallo> {
    let mut vecinos = Vecinos::nuevos(config, "nodo".to_string(), None);
    if config.identificado && config.puerto != 0 {
        let aqui = SocketAddr::new(config.ip, config.puerto);
        let en_la_red = direccion_en_la_red(aqui, config);
        vecinos.conocer(&[en_la_red.unwrap_or_else(|| alcanzable(aqui))]);
    }
    let Some((vecinos, _)) = acciones::todos(consola, &vecinos)? else {
        return Ok(None);
    };
    let mut tienen = Vec::new();
    let pregunta = |peer| lo_tiene_igual(&vecinos, peer, lote, &leido.huellas);
    let acabo = consola.consultar(
        &vecinos.peers,
        &vecinos.parada,
        pregunta,
        |pantalla, peer, lo_tiene| match lo_tiene {
            Ok(LoTiene::Igual) if en_una_url(peer) => tienen.push(peer),
            Ok(LoTiene::Igual) => {
                pantalla.aviso(format!("{peer} lo tiene, pero esa IP no cabe en una URL"));
            }
            Ok(LoTiene::Distinto(cual)) => {
                pantalla.aviso(format!("{peer} tiene otro {cual}: no entra en la lista"));
            }
            Err(FalloPar::Calculando) => pantalla.aviso(format!(
                "{peer} aún calcula la huella: no entra en la lista; vuelve a hacerlo luego"
            )),
            Err(fallo) => debug!("{peer} no es semilla: {fallo}"),
        },
    )?;
    // En el orden de la lista, no en el de llegada: dos veces seguidas, el mismo torrent.
    let en_orden = vecinos.peers.into_iter().filter(|p| tienen.contains(p));
    Ok(acabo.then(|| en_orden.collect()))
}

/// Una IPv6 de enlace lleva su interfaz (`%eth0`), y eso no se puede escribir en una URL.
fn en_una_url(peer: SocketAddr) -> bool {
    !matches!(peer, SocketAddr::V6(v6) if v6.scope_id() != 0)
}

/// Qué tiene un nodo que dice tener los archivos.
enum LoTiene {
    /// Lo mismo que este.
    Igual,
    /// Uno con otro contenido: cuál.
    Distinto(String),
}

/// `INFO` de cada archivo, por una sola conexión, hasta el primero que no sea igual.
fn lo_tiene_igual(
    vecinos: &Vecinos,
    peer: SocketAddr,
    lote: &Lote,
    huellas: &[Huella],
) -> Result<LoTiene, FalloPar> {
    let mut linea = Linea::por_abrir(peer, &vecinos.limites, &vecinos.parada);
    // Lo que se espera a quien calcula: como al descargar, pero por todos juntos.
    let limite = Instant::now() + vecinos.limites.calcular;
    for (archivo, huella) in lote.archivos.iter().zip(huellas) {
        let suya = loop {
            match linea.pedir_info(&archivo.nombre, || ())?.huella {
                Some(suya) => break suya,
                None if Instant::now() > limite => return Err(FalloPar::Calculando),
                None => esperar(vecinos)?,
            }
        };
        if suya != *huella {
            return Ok(LoTiene::Distinto(archivo.nombre.clone()));
        }
    }
    Ok(LoTiene::Igual)
}

/// Deja pasar un momento antes de volver a preguntar, si nadie lo deja.
fn esperar(vecinos: &Vecinos) -> Result<(), FalloPar> {
    match vecinos.parada.canal().recv_timeout(CADA_CUANTO) {
        Err(RecvTimeoutError::Timeout) => Ok(()),
        _ => Err(FalloPar::Calculando),
    }
}

// ----- Guardarlo -----

/// Escribe el torrent en `destino`. Nunca pisa lo que haya, salvo que sea este mismo torrent con
/// otra lista de nodos.
fn guardar(destino: &Path, info: &Bencode, urls: &[String]) -> Result<(), Fallo> {
    let torrent = Bencode::Diccionario(BTreeMap::from([
        (
            "created by",
            Bencode::texto(concat!("nodo ", env!("CARGO_PKG_VERSION"))),
        ),
        ("encoding", Bencode::texto("UTF-8")),
        ("info", info.clone()),
        ("url-list", Bencode::textos(urls)),
    ]));
    let (mut escrito, mut su_info) = (Vec::new(), b"4:info".to_vec());
    torrent.escribir(&mut escrito);
    info.escribir(&mut su_info);
    let de_otro = || {
        let frase = "ya está, y no es de este contenido: elige otro nombre con -o";
        Fallo::nuevo(format!("{} {frase}", destino.display()))
    };
    let escribir = || match leer_el_que_haya(destino)? {
        None => poner(destino, &escrito, false).map(|()| true),
        Some(habia) if contiene(&habia, &su_info) => poner(destino, &escrito, true).map(|()| true),
        Some(_) => Ok(false),
    };
    match escribir() {
        Ok(true) => Ok(()),
        Ok(false) => Err(de_otro()),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Err(de_otro()),
        Err(e) => Err(Fallo::de_sistema(
            format!("escribiendo {}", destino.display()),
            &e,
        )),
    }
}

/// Lo que hay ya en `destino`, si hay algo; de algo enorme, el principio.
fn leer_el_que_haya(destino: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut habia = Vec::new();
    match fs::metadata(destino) {
        Ok(datos) if datos.is_file() => {}
        // Una tubería se quedaría esperando a que alguien escriba en ella.
        Ok(_) => return Ok(Some(habia)),
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    }
    File::open(destino)?
        .take(TOPE_DE_TORRENT)
        .read_to_end(&mut habia)?;
    Ok(Some(habia))
}

fn contiene(donde: &[u8], que: &[u8]) -> bool {
    donde.windows(que.len()).any(|trozo| trozo == que)
}

/// Lo escribe aparte, y le da su nombre de un golpe: nunca queda a medias.
fn poner(destino: &Path, escrito: &[u8], pisando: bool) -> io::Result<()> {
    let carpeta = destino.parent().filter(|c| !c.as_os_str().is_empty());
    let mut nuevo = tempfile::Builder::new();
    que_se_pueda_repartir(&mut nuevo);
    let mut nuevo = nuevo.tempfile_in(carpeta.unwrap_or(Path::new(".")))?;
    nuevo.write_all(escrito)?;
    match pisando {
        true => nuevo.persist(destino)?,
        false => nuevo.persist_noclobber(destino)?,
    };
    Ok(())
}

/// Un archivo temporal nace sólo para su dueño, y un torrent es para darlo.
#[cfg(unix)]
fn que_se_pueda_repartir(nuevo: &mut tempfile::Builder) {
    nuevo.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
}

/// En Windows los permisos son los de la carpeta.
#[cfg(not(unix))]
fn que_se_pueda_repartir(_: &mut tempfile::Builder) {}
