//! Una fuente de una descarga: el hilo que le pregunta, le pide la lista y le saca bloques.
//!
//! Recibe encargos de quien dirige (`descarga.rs`) y le da partes. Nunca decide por las demás fuentes: si la suya
//! falla o miente, devuelve el bloque a la cola y lo cuenta.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use crate::fallo::Fallo;
use crate::nodo::carpeta::a_medias::AMedias;
use crate::nodo::carpeta::huella::{BLOQUE, Huella};
use crate::nodo::descarga::cola::Cola;
use crate::nodo::descarga::linea::Linea;
use crate::nodo::descarga::pedido::Pedido;
use crate::nodo::palabras::pedir::{FalloPar, pedir_bloque, pedir_bloques, pedir_info};
use crate::nodo::palabras::protocolo::Info;

/// Cada cuánto se vuelve a preguntar a quien aún calcula la huella.
const OTRA_VEZ: Duration = Duration::from_secs(1);
/// Cada cuánto se dice «sigo aquí» (con un `INFO`) por una conexión que abrió el otro, mientras se comprueba o se guarda:
/// él cierra a los 10 s de silencio, y no se puede reabrir.
const SIGO_AQUI: Duration = Duration::from_secs(3);

/// Lo que dirige encarga a una fuente.
pub enum Encargo {
    /// La lista de bloques de un archivo de ese tamaño.
    Lista(u64),
    /// Bajar bloques hasta que no quede ninguno.
    Bajar(Arc<Plan>),
}

/// Lo que una fuente cuenta a quien dirige (el número es su lugar en la lista).
pub enum Parte {
    /// Qué contestó a `INFO`.
    Presentada(usize, Result<Info, FalloPar>),
    /// Qué contestó a `BLOQUES`.
    Lista(usize, Result<Vec<Huella>, FalloPar>),
    /// No sirve más, y por qué.
    Retirada(usize, FalloPar),
    /// Con un bloque suyo está todo.
    Completo,
    /// No se puede escribir lo que llega.
    Disco(Fallo),
}

/// Lo que hay que bajar, compartido por todas las fuentes.
pub struct Plan {
    /// Bytes del archivo.
    pub tamano: u64,
    /// La huella de cada bloque.
    pub bloques: Vec<Huella>,
    /// Los que faltan.
    pub cola: Cola,
    /// Donde se escriben.
    pub archivo: Arc<AMedias>,
    /// Bytes buenos que dio cada fuente.
    pub dados: Vec<AtomicU64>,
}

/// La vida de una fuente: se presenta y cumple encargos hasta que no haya quien los dé. Devuelve su línea.
pub fn atender_fuente<'a>(
    lugar: usize,
    mut linea: Linea<'a>,
    pedido: &Pedido,
    encargos: &Receiver<Encargo>,
    dar_parte: &Sender<Parte>,
) -> Linea<'a> {
    let decir = |parte| {
        // Falla si quien dirige ya terminó: no hay a quién decírselo.
        let _ = dar_parte.send(parte);
    };
    let mut sigue_calculando = presentarse(lugar, &mut linea, pedido, &decir);
    loop {
        let plazo = if sigue_calculando {
            OTRA_VEZ
        } else {
            SIGO_AQUI
        };
        match encargos.recv_timeout(plazo) {
            Err(RecvTimeoutError::Disconnected) => return linea,
            Err(RecvTimeoutError::Timeout) if sigue_calculando => {
                sigue_calculando = presentarse(lugar, &mut linea, pedido, &decir);
            }
            Err(RecvTimeoutError::Timeout) if linea.es_prestada() => {
                if let Err(fallo) = linea.con(|conexion| pedir_info(conexion, pedido.nombre)) {
                    decir(Parte::Retirada(lugar, fallo));
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Ok(Encargo::Lista(tamano)) => {
                let lista = linea.con(|conexion| pedir_bloques(conexion, pedido.nombre, tamano));
                sigue_calculando = matches!(lista, Err(FalloPar::Calculando));
                decir(Parte::Lista(lugar, lista));
            }
            Ok(Encargo::Bajar(plan)) => {
                sigue_calculando = false;
                if let Err(fallo) = bajar(lugar, &mut linea, pedido, &plan, dar_parte) {
                    decir(Parte::Retirada(lugar, fallo));
                }
            }
        }
    }
}

/// Pregunta `INFO` y lo cuenta. Verdadero si hay que volver a preguntar.
fn presentarse(lugar: usize, linea: &mut Linea, pedido: &Pedido, decir: &impl Fn(Parte)) -> bool {
    let info = linea.con(|conexion| pedir_info(conexion, pedido.nombre));
    let calculando = matches!(info, Ok(Info { huella: None, .. }));
    decir(Parte::Presentada(lugar, info));
    calculando
}

/// Baja bloques por varias conexiones con la misma fuente. Sólo falla si fallan todas, o si la fuente miente.
fn bajar(
    lugar: usize,
    linea: &mut Linea,
    pedido: &Pedido,
    plan: &Plan,
    dar_parte: &Sender<Parte>,
) -> Result<(), FalloPar> {
    let no_sirve = AtomicBool::new(false);
    let una_conexion = |linea: &mut Linea| {
        let fin = sacar_bloques(lugar, linea, pedido, plan, &no_sirve, dar_parte);
        if fin.as_ref().is_err_and(es_culpa_suya) {
            no_sirve.store(true, Ordering::SeqCst);
            plan.cola.despertar();
        }
        fin
    };
    let otras = (1..pedido.conexiones)
        .filter_map(|_| linea.otra())
        .collect::<Vec<_>>();
    let finales = thread::scope(|ambito| {
        let una_conexion = &una_conexion;
        let hilos: Vec<_> = otras
            .into_iter()
            .filter_map(|mut otra| {
                let hilo = thread::Builder::new()
                    .name(format!("fuente-{lugar}+"))
                    .stack_size(crate::red::hilos::PILA);
                hilo.spawn_scoped(ambito, move || una_conexion(&mut otra))
                    .ok()
            })
            .collect();
        let mut finales = vec![una_conexion(linea)];
        finales.extend(hilos.into_iter().filter_map(|hilo| hilo.join().ok()));
        finales
    });
    if finales.iter().any(Result::is_ok) && !no_sirve.load(Ordering::SeqCst) {
        return Ok(());
    }
    let mut fallos: Vec<FalloPar> = finales.into_iter().filter_map(Result::err).collect();
    fallos.sort_by_key(|fallo| !es_culpa_suya(fallo));
    fallos.into_iter().next().map_or(Ok(()), Err)
}

/// Una conexión caída puede ser mala suerte; esto otro retira a la fuente entera.
fn es_culpa_suya(fallo: &FalloPar) -> bool {
    matches!(
        fallo,
        FalloPar::Miente(_) | FalloPar::NoLoTiene | FalloPar::Rechaza(_)
    )
}

/// Saca bloques de la cola hasta que no quede ninguno, por una conexión.
fn sacar_bloques(
    lugar: usize,
    linea: &mut Linea,
    pedido: &Pedido,
    plan: &Plan,
    no_sirve: &AtomicBool,
    dar_parte: &Sender<Parte>,
) -> Result<(), FalloPar> {
    let mut datos = Vec::new();
    let sigue = || !no_sirve.load(Ordering::SeqCst);
    while let Some(bloque) = plan.cola.sacar(lugar, sigue) {
        let llegado =
            linea.con(|c| pedir_bloque(c, pedido.nombre, plan.tamano, bloque, &mut datos));
        match llegado {
            Ok(huella) if huella == plan.bloques[bloque as usize] => {
                if let Err(fallo) = guardar(lugar, bloque, &datos, pedido, plan, dar_parte) {
                    plan.cola.devolver(bloque, lugar);
                    plan.cola.cerrar();
                    let _ = dar_parte.send(Parte::Disco(fallo));
                }
            }
            Ok(_) => {
                plan.cola.devolver(bloque, lugar);
                return Err(FalloPar::Miente(format!(
                    "mandó un bloque falso (el {})",
                    bloque + 1
                )));
            }
            Err(fallo) => {
                plan.cola.devolver(bloque, lugar);
                return Err(fallo);
            }
        }
    }
    Ok(())
}

/// Escribe un bloque ya comprobado, si otra fuente no se adelantó, y avisa si con él está todo.
fn guardar(
    lugar: usize,
    bloque: u64,
    datos: &[u8],
    pedido: &Pedido,
    plan: &Plan,
    dar_parte: &Sender<Parte>,
) -> Result<(), Fallo> {
    if !plan.cola.hace_falta(bloque) {
        return Ok(());
    }
    plan.archivo.escribir_en(bloque * BLOQUE, datos)?;
    let Some(faltan) = plan.cola.dar_por_bueno(bloque) else {
        return Ok(());
    };
    pedido.progreso.sumar(datos.len() as u64);
    // Un archivo vacío también lo da alguien: cuenta como uno.
    plan.dados[lugar].fetch_add((datos.len() as u64).max(1), Ordering::Relaxed);
    if faltan == 0 {
        let _ = dar_parte.send(Parte::Completo);
    }
    Ok(())
}
