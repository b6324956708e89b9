//! Las órdenes sueltas: lo mismo que el menú, sin abrir puerto, para la línea de órdenes y los
//! scripts.
//!
//! No están en la guía. Lo que hacen está en `nodo/acciones/`; aquí, quién es quien pregunta y
//! cómo se escribe el resultado: por stdout, y lo demás por stderr.

use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Arg;
use clap_complete::{Shell, generate};

use crate::config::{CARPETA_ARCHIVOS, Config, Fila, PEERS, PUERTO};
use crate::consola::{Consola, Paso};
use crate::fallo::{Fallo, Salida, motivo};
use crate::guia::NO_SE_ENCONTRO;
use crate::lan::descubrir::{self, oir_si_descubre};
use crate::nodo::acciones;
use crate::nodo::carpeta::Carpeta;
use crate::nodo::maestro::localizar::{self, Hallado, MAESTRO, para_el_maestro};
use crate::nodo::vecinos::Vecinos;
use crate::ordenes::espanol::comando;
use crate::ordenes::opciones::DondeEscucha;
use crate::practicas::ingenuo;
use crate::red::hilos::arrancar;

/// Hace algo con los vecinos de una orden suelta.
pub fn con_vecinos(
    config: &Config,
    consola: &mut Consola,
    hacer: impl FnOnce(&mut Consola, &Vecinos) -> Result<Salida, Fallo>,
) -> Result<Salida, Fallo> {
    match vecinos_de(config, consola)? {
        Some(vecinos) => hacer(consola, &vecinos),
        None => Ok(Salida::Interrumpido),
    }
}

/// Los vecinos de una orden suelta; con `--descubrir`, también los que se oyen en un rato (`None`
/// si un Ctrl-C lo dejó).
fn vecinos_de(config: &Config, consola: &mut Consola) -> Result<Option<Vecinos>, Fallo> {
    let vecinos = vecinos_sin_oir(config);
    Ok(oir_si_descubre(config, &vecinos, consola)?.then_some(vecinos))
}

/// `nodo descubrir`: quién se anuncia en la red y contesta, según contestan.
pub fn descubrir(
    config: &Config,
    cuanto: Duration,
    consola: &mut Consola,
) -> Result<Salida, Fallo> {
    descubrir::abrir(config, &vecinos_sin_oir(config), cuanto, consola)
}

/// No escucha: sólo es «alguien» si se dijo quién con `--nodo` o `--puerto`.
fn vecinos_sin_oir(config: &Config) -> Vecinos {
    let direccion = SocketAddr::new(config.ip, config.puerto);
    let de_la_fila = match config.fila {
        Fila::Elegida(n) => PEERS[n - 1].0,
        Fila::PrimeraLibre | Fila::PuertoLibre | Fila::Ninguna => "nodo",
    };
    let nombre = config.nombre.as_deref().unwrap_or(de_la_fila).to_string();
    Vecinos::nuevos(config, nombre, config.identificado.then_some(direccion))
}

/// `nodo listar`: lo de la carpeta, o lo de todos los peers.
pub fn listar(config: &Config, red: bool, consola: &mut Consola) -> Result<Salida, Fallo> {
    if red {
        return con_vecinos(config, consola, |consola, vecinos| {
            acciones::listar_la_red(consola, vecinos, |pantalla, peer, entradas| {
                pantalla.tanda(entradas.iter().map(|e| format!("{peer} {}", e.nombre)));
            })
        });
    }
    let archivos = Carpeta::abrir(&config.carpeta_o_la_de_la_guia())?.listar()?;
    let nombres = archivos.into_iter().map(|archivo| archivo.nombre);
    consola.pantalla.tanda(nombres);
    Ok(Salida::Bien)
}

/// `nodo buscar`: qué peers tienen un archivo, según van contestando.
pub fn buscar(config: &Config, nombre: &str, consola: &mut Consola) -> Result<Salida, Fallo> {
    let Some(vecinos) = vecinos_de(config, consola)? else {
        return Ok(Salida::Interrumpido);
    };
    let Some(hallados) = acciones::buscar(consola, &vecinos, nombre, true)? else {
        return Ok(Salida::Interrumpido);
    };
    if hallados.is_empty() {
        consola.pantalla.error(NO_SE_ENCONTRO);
    }
    if let Ok(carpeta) = Carpeta::abrir(&config.carpeta_o_la_de_la_guia()) {
        acciones::decir_si_ya_se_tiene(consola, &carpeta, nombre);
    }
    Ok(Salida::de(true, !hallados.is_empty()))
}

/// `nodo descargar`: de las fuentes dichas, o de todos los peers que lo tengan.
pub fn descargar(
    config: &Config,
    nombres: &[String],
    de: Vec<SocketAddr>,
    consola: &mut Consola,
) -> Result<Salida, Fallo> {
    let uno = match nombres {
        [nombre] if !nombre.ends_with('/') => Some(nombre),
        _ => None,
    };
    // De los que se dijeron y de nadie más; si no se dijo ninguno, también de los que se oigan.
    let suyos = match de.is_empty() {
        true => vecinos_de(config, consola)?,
        false => Some(vecinos_sin_oir(config)),
    };
    let Some(mut vecinos) = suyos else {
        return Ok(Salida::Interrumpido);
    };
    if !de.is_empty() {
        (vecinos.peers, vecinos.maestro) = (de.clone(), None);
    }
    let ruta = config.carpeta_o_la_de_la_guia();
    let faltaban: Vec<&Path> = ruta.ancestors().filter(|ruta| !ruta.exists()).collect();
    let carpeta = Carpeta::abrir_o_crear(&ruta)?;
    let salida = match uno {
        Some(nombre) if de.is_empty() => {
            acciones::buscar_y_descargar(consola, &vecinos, &carpeta, nombre)
        }
        Some(nombre) => {
            let fuentes: Vec<Hallado> = de.into_iter().map(Hallado::nuestro).collect();
            acciones::descargar(consola, &vecinos, &carpeta, nombre, &fuentes)
        }
        None => acciones::descargar_varios(consola, &vecinos, !de.is_empty(), &carpeta, nombres),
    }?;
    if salida != Salida::Bien {
        // La carpeta que se creó para nada, y las de encima: `remove_dir` sólo quita las vacías, y
        // en Windows ninguna abierta.
        drop(carpeta);
        let _ = faltaban.iter().try_for_each(fs::remove_dir);
    }
    Ok(salida)
}

/// `nodo huella`: la misma línea que `b3sum`, una por archivo; `-` es la entrada estándar. Lo que
/// no se puede leer se dice y se sigue.
pub fn huella(archivos: Vec<PathBuf>, consola: &mut Consola) -> Result<Salida, Fallo> {
    // La segunda vez ya no habría nada que leer, y su huella sería la de nada.
    if archivos.iter().filter(|ruta| es_la_entrada(ruta)).count() > 1 {
        let frase = "«-» es la entrada estándar, y sólo se puede leer una vez: quita los demás";
        consola.pantalla.aviso(frase);
        consola.pantalla.aviso("La ayuda: nodo --help");
        return Ok(Salida::MalEscrito);
    }
    let mut fin = Salida::Bien;
    for ruta in archivos {
        let suya = ruta.clone();
        let hilo = arrancar("huella", move || huella_de(&suya))?;
        // A quien lee de una tubería sin fin no se le puede despertar: se le deja, y el programa
        // acaba.
        if consola.siguiente(&hilo.fin) == Paso::Interrumpido {
            return Ok(Salida::Interrumpido);
        }
        match hilo.esperar() {
            Some(Ok(huella)) => consola.pantalla.linea(linea_de_b3sum(&huella, &ruta)),
            Some(Err(error)) => {
                let frase = format!("nodo: {}: {}", ruta.display(), motivo(&error));
                consola.pantalla.aviso(frase);
                fin = Salida::NoSePudo;
            }
            None => fin = Salida::NoSePudo,
        }
    }
    Ok(fin)
}

/// `-`. Un archivo que se llame así se escribe `./-`.
fn es_la_entrada(ruta: &Path) -> bool {
    ruta.as_os_str() == "-"
}

/// La huella de un archivo, o de la entrada estándar, en hexadecimal.
fn huella_de(ruta: &Path) -> io::Result<String> {
    let mut cuenta = blake3::Hasher::new();
    match es_la_entrada(ruta) {
        true => cuenta.update_reader(io::stdin().lock())?,
        false => cuenta.update_reader(File::open(ruta)?)?,
    };
    Ok(cuenta.finalize().to_hex().to_string())
}

/// Un nombre con `\` o saltos de línea va escapado, y la línea empieza por `\`: así la escribe
/// `b3sum`.
fn linea_de_b3sum(huella: &str, ruta: &Path) -> String {
    let nombre = ruta.display().to_string();
    if !nombre.contains(['\\', '\n']) || cfg!(windows) {
        return format!("{huella}  {nombre}");
    }
    let nombre = nombre.replace('\\', "\\\\").replace('\n', "\\n");
    format!("\\{huella}  {nombre}")
}

/// `nodo completar`: el guion con que esa shell completa lo que se escribe. Sale por stdout, y
/// nadie lo instala: qué hacer con él lo decide quien lo pide.
pub fn completar(shell: Shell, consola: &mut Consola) -> Salida {
    let (mut comando, mut guion) = (comando(), Vec::new());
    if shell == Shell::Zsh {
        comando = comando
            .mut_args(como_lo_lee_zsh)
            .mut_subcommands(|orden| orden.mut_args(como_lo_lee_zsh));
    }
    generate(shell, &mut comando, "nodo", &mut guion);
    consola.pantalla.tal_cual(&guion);
    Salida::Bien
}

/// En los guiones de zsh un `:` separa campos, y clap_complete lo deja suelto en los nombres de los
/// valores: al pulsar Tab, zsh buscaría el programa `PUERTO`.
fn como_lo_lee_zsh(arg: Arg) -> Arg {
    let es = |nombre: &str| arg.get_value_names().is_some_and(|n| n == [nombre]);
    if es("IP:PUERTO") {
        return arg.value_name(r"IP\:PUERTO");
    }
    match es("IP[:PUERTO]") {
        true => arg.value_name(r"IP[\:PUERTO]"),
        false => arg,
    }
}

/// `nodo localizar`: quién tiene un archivo, según el maestro o un peer.
pub fn localizar(
    config: &Config,
    archivo: &str,
    por: Option<String>,
    consola: &mut Consola,
) -> Result<Salida, Fallo> {
    let a_un_peer = por.is_some();
    let a_quien = por.or_else(|| config.maestro.clone());
    let url = a_quien.as_deref().unwrap_or(MAESTRO);
    let limites = match a_un_peer {
        true => config.limites.clone(),
        false => para_el_maestro(&config.limites),
    };
    let (hallados, dejado) =
        consola.trabajar(|encargo| localizar::localizar(url, archivo, &limites, encargo.parada))?;
    if dejado {
        return Ok(Salida::Interrumpido);
    }
    let hallados = hallados?;
    let pantalla = &mut consola.pantalla;
    pantalla.tanda(hallados.iter().map(ToString::to_string));
    if hallados.is_empty() {
        pantalla.aviso(format!("Según {url}, nadie tiene «{archivo}»."));
    }
    Ok(Salida::de(true, !hallados.is_empty()))
}

/// `nodo ingenuo`: la guía tal cual, que no sabe terminar. En su hilo, para que un Ctrl-C acabe con
/// todo.
pub fn ingenuo(
    peers: &[(IpAddr, Option<u16>)],
    donde: &DondeEscucha,
    carpeta: Option<PathBuf>,
    consola: &mut Consola,
) -> Result<Salida, Fallo> {
    let aqui = donde.o_en(PUERTO);
    let con_puerto =
        |&(ip, puerto): &(IpAddr, Option<u16>)| SocketAddr::new(ip, puerto.unwrap_or(aqui.port()));
    let peers: Vec<SocketAddr> = peers.iter().map(con_puerto).collect();
    let carpeta = carpeta.unwrap_or_else(|| CARPETA_ARCHIVOS.into());
    let abrir = move || ingenuo::abrir(aqui.ip(), aqui.port(), carpeta, &peers);
    let hilo = arrancar("ingenuo", abrir)?;
    if consola.siguiente(&hilo.fin) == Paso::Interrumpido {
        return Ok(Salida::Interrumpido);
    }
    match hilo.esperar() {
        Some(Ok(())) => Ok(Salida::Bien),
        Some(Err(error)) => Err(Fallo::de_sistema("ingenuo", &error)),
        None => Ok(Salida::NoSePudo),
    }
}
