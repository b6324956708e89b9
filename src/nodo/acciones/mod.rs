//! Lo que se puede hacer con un nodo, una vez: lo usan el menú y las órdenes sueltas, que sólo
//! preguntan.
//!
//! Cada acción consulta o trabaja con la consola, pinta el resultado con los textos entre corchetes
//! de la guía y dice cómo acabó. No abre puertos ni sabe de opciones.

pub mod nuestras;
pub mod parecidos;

use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, after, never, select, unbounded};

use crate::config::MAX_MENSAJE;
use crate::consola::pantalla::Pantalla;
use crate::consola::{Consola, Encargo};
use crate::fallo::{Fallo, Salida};
use crate::guia::{ENVIO_COMPLETO, ERROR_AL_DESCARGAR, NO_ENCONTRADO};
use crate::nodo::carpeta::Carpeta;
use crate::nodo::descarga::ajenas::descargar_de;
use crate::nodo::descarga::envio::enviar_archivo;
use crate::nodo::descarga::pedido::{CONEXIONES_POR_FUENTE, Descargado, NoDescargado, Pedido};
use crate::nodo::descarga::relato::{contar_descarga, en_corto};
use crate::nodo::descarga::varios::descargar_varios as bajar_varios;
use crate::nodo::maestro::localizar::{
    Hallado, buscar_en_la_red, conocer_los_del_maestro, sin_maestro,
};
use crate::nodo::palabras::pedir::{FalloPar, enviar_mensaje, listar_de, saludar};
use crate::nodo::palabras::protocolo::{Entrada, Presentacion};
use crate::nodo::vecinos::Vecinos;
use crate::red::hilos::arrancar_en;
use crate::red::parada::Parada;
use crate::texto::duracion;

/// Lo que se espera a los demás desde que uno contesta que tiene el archivo: en una LAN sobra para
/// que contesten todos los que no callan.
const GRACIA: Duration = Duration::from_millis(200);
/// De cuántos de los que no están se busca cómo se llaman los que se parecen.
const SUGERENCIAS: usize = 3;
/// Lo que se dice cuando no hay a quién preguntar.
pub const NADIE: &str = "No hay más nodos: se añaden al arrancar con --peer, o solos con \
                         --descubrir.";

/// A quienes preguntar ahora: los peers escritos y los conocidos, con lo que diga ahora el maestro,
/// si lo hay (y si contestó). `None` si un Ctrl-C lo dejó.
pub fn todos(consola: &mut Consola, vecinos: &Vecinos) -> Result<Option<(Vecinos, bool)>, Fallo> {
    let mut contesto = false;
    if vecinos.maestro.is_some() {
        let preguntar = |encargo: Encargo| conocer_los_del_maestro(vecinos, encargo.parada);
        let (conocidos, dejado) = consola.trabajar(preguntar)?;
        match conocidos {
            _ if dejado => return Ok(None),
            Ok(()) => contesto = true,
            // No es un error: se dice y se sigue con los demás.
            Err(fallo) => consola.pantalla.error(sin_maestro(&fallo)),
        }
    }
    let todos = vecinos.para_una_tanda(&Parada::nueva());
    if todos.peers.is_empty() {
        consola.pantalla.error(NADIE);
    }
    Ok(Some((todos, contesto)))
}

/// A quiénes se puede enviar algo. `None` si no hay nadie, o si un Ctrl-C lo dejó.
pub fn a_quienes(
    consola: &mut Consola,
    vecinos: &Vecinos,
) -> Result<Option<Vec<SocketAddr>>, Fallo> {
    let todos = todos(consola, vecinos)?.map(|(todos, _)| todos.peers);
    Ok(todos.filter(|peers| !peers.is_empty()))
}

// ----- Ver archivos de la red -----

/// `LISTAR` a todos: da cada lista a `pintar` según llega.
pub fn listar_la_red(
    consola: &mut Consola,
    vecinos: &Vecinos,
    mut pintar: impl FnMut(&mut Pantalla, SocketAddr, Vec<Entrada>),
) -> Result<Salida, Fallo> {
    let Some((vecinos, _)) = &todos(consola, vecinos)? else {
        return Ok(Salida::Interrumpido);
    };
    let mut alguno = false;
    let pregunta = |peer| listar_de(vecinos, peer);
    let llega = |pantalla: &mut Pantalla, peer, lista: Result<_, _>| {
        alguno |= lista.is_ok();
        match lista {
            Ok(entradas) => pintar(pantalla, peer, entradas),
            Err(fallo) => pantalla.error(no_sabe(peer, &fallo, "no sabe listar")),
        }
    };
    let acabo = consola.consultar(&vecinos.peers, &vecinos.parada, pregunta, llega)?;
    Ok(Salida::de(acabo, alguno))
}

/// Un nodo de la guía cierra cuando no conoce la palabra: se dice así, y no como un error.
fn no_sabe(peer: SocketAddr, fallo: &FalloPar, que: &str) -> String {
    match fallo {
        FalloPar::Cerro => {
            format!("{peer}: es un nodo de la guía (o no habla este protocolo): {que}")
        }
        otro => otro.de(peer),
    }
}

// ----- Buscar y descargar -----

/// Busca en los peers, y en lo que diga el maestro si lo hay; con `segun_llegan`, pinta cada uno.
/// Los devuelve en el orden de la lista; `None` si un Ctrl-C lo dejó.
pub fn buscar(
    consola: &mut Consola,
    vecinos: &Vecinos,
    nombre: &str,
    segun_llegan: bool,
) -> Result<Option<Vec<Hallado>>, Fallo> {
    let (hallados, dejado) = consola.trabajar(|encargo| {
        let al_encontrar = |hallado: &Hallado| {
            if segun_llegan {
                (encargo.decir)(hallado.to_string());
            }
        };
        let vecinos = vecinos.para_una_tanda(encargo.parada);
        buscar_en_la_red(&vecinos, nombre, &al_encontrar, encargo.avisar)
    })?;
    if dejado {
        return Ok(None);
    }
    hallados.map(Some)
}

/// Quien busca lo que ya tiene debe saberlo, lo tengan los demás o no. Dice si se tiene.
pub fn decir_si_ya_se_tiene(consola: &mut Consola, carpeta: &Carpeta, nombre: &str) -> bool {
    let se_tiene = carpeta.abrir_archivo(nombre).is_ok();
    if se_tiene {
        let donde = en_corto(&carpeta.ruta().join(nombre));
        let frase = format!("Pero ya lo tienes tú: {donde}");
        consola.pantalla.error(frase);
    }
    se_tiene
}

/// Baja `nombre` de las `fuentes`, y de los vecinos que tengan algo de él.
pub fn descargar(
    consola: &mut Consola,
    vecinos: &Vecinos,
    carpeta: &Carpeta,
    nombre: &str,
    fuentes: &[Hallado],
) -> Result<Salida, Fallo> {
    let vecinos = &vecinos.para_una_tanda(&Parada::nueva());
    let (fin, _) = consola.trabajar(|encargo| {
        descargar_de(fuentes, &que_se_baja(nombre, vecinos, carpeta, &encargo))
    })?;
    contar_el_fin(consola, vecinos, carpeta, nombre, fin)
}

/// Busca `nombre` y lo baja de quienes lo tengan, sin esperar a quien calla.
pub fn buscar_y_descargar(
    consola: &mut Consola,
    vecinos: &Vecinos,
    carpeta: &Carpeta,
    nombre: &str,
) -> Result<Salida, Fallo> {
    let vecinos = &vecinos.para_una_tanda(&Parada::nueva());
    let (fin, _) = consola.trabajar(|encargo| {
        let pedido = que_se_baja(nombre, vecinos, carpeta, &encargo);
        de_los_que_contestan(vecinos, &pedido)
    })?;
    contar_el_fin(consola, vecinos, carpeta, nombre, fin)
}

/// Empieza con los que contestan enseguida que lo tienen; sólo si con ellos no se puede se espera a
/// los demás.
fn de_los_que_contestan(vecinos: &Vecinos, pedido: &Pedido) -> Result<Descargado, NoDescargado> {
    let tanda = vecinos.para_una_tanda(&Parada::nueva());
    let (hallar, hallados) = unbounded();
    thread::scope(|ambito| {
        let buscar = || {
            // Por valor: al acabar de buscar se cierra, y así se sabe.
            let hallar = hallar;
            let al_encontrar = |hallado: &Hallado| hallar.send(hallado.clone()).unwrap_or_default();
            let avisar = |frase| match tanda.parada.avisada() {
                true => {}
                false => (pedido.avisar)(frase),
            };
            buscar_en_la_red(&tanda, pedido.nombre, &al_encontrar, &avisar)
        };
        let busqueda = arrancar_en(ambito, "busqueda", buscar)?;
        let primeros = los_primeros(&hallados, pedido.parada);
        // Con los que haya dicho el maestro entretanto.
        let ahora = vecinos.para_una_tanda(&Parada::nueva());
        let pedido = &Pedido {
            pares: &ahora.peers,
            ..*pedido
        };
        let mut fin = match &primeros {
            Some(primeros) => descargar_de(primeros, pedido),
            None => Err(NoDescargado::NoEncontrado),
        };
        // Un maestro que falla se dice, aunque no haya hecho falta.
        let se_espera = fin.is_err() || vecinos.maestro.is_some();
        if se_espera && acaban_de_buscar(&hallados, pedido.parada) {
            let todos = busqueda.join().unwrap_or_else(|_| Ok(Vec::new()))?;
            let faltaban = todos.len() > primeros.map_or(0, |primeros| primeros.len());
            if faltaban && fin.is_err() {
                fin = descargar_de(&todos, pedido);
            }
        }
        tanda.parada.cortar();
        match fin {
            Err(_) if pedido.parada.avisada() => Err(NoDescargado::Cancelado),
            fin => fin,
        }
    })
}

/// Los que se hallen hasta un poco después del primero, si alguien calla. `None` si nadie calla: se
/// buscó a todos, y ya se sabrá en qué orden van.
fn los_primeros(hallados: &Receiver<Hallado>, parada: &Parada) -> Option<Vec<Hallado>> {
    let mut primeros = Vec::new();
    let mut limite = never();
    loop {
        select! {
            recv(hallados) -> hallado => primeros.push(hallado.ok()?),
            recv(limite) -> _ => return Some(primeros),
            recv(parada.canal()) -> _ => return None,
        }
        if primeros.len() == 1 {
            limite = after(GRACIA);
        }
    }
}

/// Espera a que se acabe de buscar. Falso si se dejó.
fn acaban_de_buscar(hallados: &Receiver<Hallado>, parada: &Parada) -> bool {
    loop {
        select! {
            recv(hallados) -> hallado => if hallado.is_err() {
                return true;
            },
            recv(parada.canal()) -> _ => return false,
        }
    }
}

fn contar_el_fin(
    consola: &mut Consola,
    vecinos: &Vecinos,
    carpeta: &Carpeta,
    nombre: &str,
    fin: Result<Descargado, NoDescargado>,
) -> Result<Salida, Fallo> {
    let pantalla = &mut consola.pantalla;
    Ok(match fin {
        Ok(descargado) => {
            pantalla.tanda(contar_descarga(nombre, &descargado, carpeta));
            Salida::Bien
        }
        Err(fallo @ NoDescargado::NoEncontrado) => {
            pantalla.error(format!("{NO_ENCONTRADO} {fallo}"));
            if decir_si_ya_se_tiene(consola, carpeta, nombre) {
                return Ok(Salida::Bien);
            }
            parecidos::sugerir(consola, vecinos, nombre)?;
            Salida::NoSePudo
        }
        Err(fallo) => {
            pantalla.error(format!("{ERROR_AL_DESCARGAR} {nombre}: {fallo}"));
            Salida::de(fallo != NoDescargado::Cancelado, false)
        }
    })
}

fn que_se_baja<'a>(
    nombre: &'a str,
    vecinos: &'a Vecinos,
    carpeta: &'a Carpeta,
    encargo: &Encargo<'a>,
) -> Pedido<'a> {
    Pedido {
        nombre,
        carpeta,
        limites: &vecinos.limites,
        conexiones: CONEXIONES_POR_FUENTE,
        pares: &vecinos.peers,
        parada: encargo.parada,
        progreso: encargo.progreso,
        avisar: encargo.avisar,
    }
}

/// Baja varios, y lo que cuelgue de las carpetas (las que acaban en `/`). Si se dijo de quiénes son
/// todos los `vecinos`; si no, también los del maestro. Bien si no falló ninguno.
pub fn descargar_varios(
    consola: &mut Consola,
    vecinos: &Vecinos,
    dichos: bool,
    carpeta: &Carpeta,
    escritos: &[String],
) -> Result<Salida, Fallo> {
    let Some((vecinos, _)) = &todos(consola, vecinos)? else {
        return Ok(Salida::Interrumpido);
    };
    let (balance, _) = consola.trabajar(|encargo| {
        let pedido = que_se_baja("", vecinos, carpeta, &encargo);
        bajar_varios(escritos, vecinos, dichos, &pedido)
    })?;
    let balance = balance?;
    consola.pantalla.linea(balance.contar());
    if balance.cancelado {
        let frase = NoDescargado::Cancelado;
        consola
            .pantalla
            .error(format!("{ERROR_AL_DESCARGAR} {frase}"));
        return Ok(Salida::Interrumpido);
    }
    for nombre in balance.no_hallados.iter().take(SUGERENCIAS) {
        parecidos::sugerir(consola, vecinos, nombre)?;
    }
    Ok(Salida::de(true, balance.fallos == 0))
}

// ----- Enviar -----

/// Ofrece el archivo de `ruta` a `peer` y espera a que lo tenga.
pub fn enviar(
    consola: &mut Consola,
    vecinos: &Vecinos,
    ruta: &Path,
    peer: SocketAddr,
) -> Result<Salida, Fallo> {
    let empezo = Instant::now();
    let (fin, cancelado) = consola.trabajar(|encargo| {
        enviar_archivo(vecinos, ruta, peer, encargo.parada, encargo.progreso)
    })?;
    Ok(match fin {
        Ok(quedo) => {
            let (que, tiempo) = (ruta.display(), duracion(empezo.elapsed()));
            let linea = format!("{ENVIO_COMPLETO} {que} quedó en {peer} como {quedo} ({tiempo})");
            consola.pantalla.linea(linea);
            Salida::Bien
        }
        Err(_) if cancelado => {
            consola.pantalla.error("[ERROR AL ENVIAR] envío cancelado");
            Salida::Interrumpido
        }
        Err(fallo) => {
            consola.pantalla.error(format!("[ERROR AL ENVIAR] {fallo}"));
            Salida::NoSePudo
        }
    })
}

// ----- Mensajes -----

/// Manda `texto` a `a`, o a todos. Bien si lo recibió alguno.
pub fn mandar_mensaje(
    consola: &mut Consola,
    vecinos: &Vecinos,
    texto: &str,
    a: Option<SocketAddr>,
) -> Result<Salida, Fallo> {
    let largo = texto.len();
    if texto.trim().is_empty() || largo > MAX_MENSAJE {
        let frase = format!("Un mensaje tiene de 1 a {MAX_MENSAJE} bytes; ese tiene {largo}.");
        consola.pantalla.error(frase);
        return Ok(Salida::NoSePudo);
    }
    let mut vecinos = vecinos.para_una_tanda(&Parada::nueva());
    match a {
        Some(a) => vecinos.peers = vec![a],
        None => match todos(consola, &vecinos)? {
            Some((todos, _)) => vecinos = todos,
            None => return Ok(Salida::Interrumpido),
        },
    }
    let mut alguno = false;
    let pregunta = |peer| enviar_mensaje(&vecinos, peer, texto);
    let llega = |pantalla: &mut Pantalla, peer, fin: Result<(), _>| {
        alguno |= fin.is_ok();
        match fin {
            Ok(()) => pantalla.linea(format!("{peer} lo recibió")),
            Err(fallo) => pantalla.error(no_sabe(peer, &fallo, "no recibe mensajes")),
        }
    };
    let acabo = consola.consultar(&vecinos.peers, &vecinos.parada, pregunta, llega)?;
    Ok(Salida::de(acabo, alguno))
}

// ----- Estado -----

/// Si contesta el maestro, qué peers responden, quiénes son y en cuánto. Bien si respondió alguno.
pub fn estado(consola: &mut Consola, vecinos: &Vecinos) -> Result<Salida, Fallo> {
    let Some((vecinos, contesta)) = &todos(consola, vecinos)? else {
        return Ok(Salida::Interrumpido);
    };
    if let (Some(maestro), true) = (&vecinos.maestro, contesta) {
        let linea = format!("{maestro} responde: el maestro");
        consola.pantalla.linea(linea);
    }
    let mut alguno = *contesta;
    let pregunta = |peer| {
        let antes = Instant::now();
        (saludar(vecinos, peer), antes.elapsed())
    };
    let llega = |pantalla: &mut Pantalla, peer, (saludo, tiempo): (_, _)| {
        alguno |= matches!(saludo, Ok(_) | Err(FalloPar::Cerro));
        pantalla.linea(contar_saludo(peer, &saludo, tiempo));
    };
    let acabo = consola.consultar(&vecinos.peers, &vecinos.parada, pregunta, llega)?;
    Ok(Salida::de(acabo, alguno))
}

type Saludado = Result<Presentacion, FalloPar>;

fn contar_saludo(peer: SocketAddr, saludo: &Saludado, tiempo: Duration) -> String {
    let tiempo = duracion(tiempo);
    match saludo {
        Ok(quien) => format!("{peer} responde: {} ({tiempo})", quien.nombre),
        Err(FalloPar::Cerro) => format!("{peer} responde: un nodo de la guía ({tiempo})"),
        // Responde, pero no a esto: que pide la clave, por ejemplo.
        Err(fallo @ (FalloPar::Repetido(_) | FalloPar::Rechaza(_))) => format!("{peer} {fallo}"),
        Err(fallo @ FalloPar::Clave(_)) => fallo.de(peer),
        Err(fallo) => format!("{peer} no responde: {fallo}"),
    }
}
