//! El motor de las transferencias: de una fuente o de muchas, pidiendo o siendo invitado, es
//! siempre este.
//!
//! El `descargar_archivo` de la guía no sabe la longitud, no comprueba, no reanuda y pisa lo que
//! hubiera. Aquí:
//!
//! 1. cada fuente, en su hilo, dice qué tiene con `INFO` (`fuente.rs`);
//! 2. con la primera se hace un plan, que se da a cuantas tengan ese archivo (`director.rs`);
//! 3. una da la lista de `BLOQUES`, que tiene que sumar la huella; con ella se comprueba lo que
//!    quedó de otra vez en el `.part`, y lo que falta va a una cola (`plan.rs`, `cola.rs`);
//! 4. cada conexión saca un bloque, lo pide con `OBTENER`, lo comprueba y lo escribe en su sitio;
//!    desde entonces otros pueden pedirlo (`carpeta/en_curso.rs`);
//! 5. a los demás pares se les pregunta cada poco, con `TENGO`, qué bloques tienen ya;
//! 6. cuando están todos, el archivo toma su nombre.
//!
//! Aquí se ponen en marcha los hilos y se esperan. Nadie escribe en pantalla: los avisos van por
//! [`Pedido::avisar`].

pub mod ajenas;
pub mod balance;
pub mod bandeja;
pub mod catalogo;
pub mod chicos;
pub mod cola;
pub mod director;
pub mod envio;
pub mod fuente;
pub mod linea;
pub mod lotes;
pub mod pedido;
pub mod plan;
pub mod relato;
pub mod seguidas;
pub mod sin_comprobar;
pub mod varios;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::thread;

use crossbeam_channel::unbounded;

use crate::fallo::Fallo;
use crate::nodo::descarga::director::{Director, Obtenido};
use crate::nodo::descarga::fuente::Fuente;
use crate::nodo::descarga::linea::Linea;
use crate::nodo::descarga::pedido::{CONEXIONES_POR_DESCARGA, Descargado, NoDescargado, Pedido};
use crate::nodo::descarga::plan::Destino;
use crate::red::conexion::Conexion;
use crate::red::hilos::arrancar_en;
use crate::red::parada::Parada;

/// Pares a los que se pregunta qué bloques tienen, como mucho: cada uno gasta una conexión.
const MAX_PARES: usize = 64;

/// Baja un archivo, por bloques comprobados, de las `fuentes` que den su huella y de los pares que
/// tengan algo de él.
pub fn por_bloques(fuentes: &[SocketAddr], pedido: &Pedido) -> Result<Obtenido, NoDescargado> {
    let sockets = Parada::nueva();
    let mut vistas = HashSet::new();
    let mut linea = |fuente: &SocketAddr| {
        let nueva = vistas.insert(*fuente);
        nueva.then(|| Linea::por_abrir(*fuente, pedido.limites, &sockets))
    };
    let fuentes: Vec<Linea> = fuentes.iter().filter_map(&mut linea).collect();
    let pares = pedido.pares.iter().filter_map(linea).take(MAX_PARES);
    con_fuentes(fuentes, pares.collect(), &sockets, pedido).0
}

/// Baja por una conexión que abrió el otro, que nos invita. La devuelve, si sigue viva, para
/// decirle cómo acabó.
pub fn recibir(
    conexion: Conexion,
    pedido: &Pedido,
) -> (Result<Descargado, NoDescargado>, Option<Conexion>) {
    let sockets = Parada::nueva();
    let linea = Linea::prestada(conexion, &sockets);
    let (obtenido, lineas) = con_fuentes(vec![linea], Vec::new(), &sockets, pedido);
    let se_fue = Fallo::nuevo("quien lo ofrecía cerró la conexión");
    let descargado = match obtenido {
        Ok(Obtenido::Comprobado(descargado)) => Ok(descargado),
        Ok(Obtenido::SoloLaGuia(_)) => Err(se_fue.into()),
        Err(fallo) => Err(fallo),
    };
    let linea = lineas.into_iter().next();
    (descargado, linea.and_then(Linea::colgar))
}

/// Pone un hilo por fuente y por par, dirige, y no vuelve con ninguno vivo.
fn con_fuentes<'s>(
    fuentes: Vec<Linea<'s>>,
    pares: Vec<Linea<'s>>,
    sockets: &Parada,
    pedido: &Pedido,
) -> (Result<Obtenido, NoDescargado>, Vec<Linea<'s>>) {
    let invitado = fuentes.iter().any(|linea| linea.prestada);
    let cuantas = fuentes.len();
    let caben = (CONEXIONES_POR_DESCARGA / cuantas.max(1)).max(1);
    let lineas: Vec<Linea> = fuentes.into_iter().chain(pares).collect();
    let destino = match Destino::nuevo(pedido.nombre, invitado) {
        Ok(destino) => destino,
        Err(malo) => return (Err(malo.into()), lineas),
    };
    thread::scope(|ambito| {
        let (dar_parte, partes) = unbounded();
        let mut director = Director::nuevo(pedido, &destino, partes);
        let mut hilos = Vec::new();
        for (lugar, linea) in lineas.into_iter().enumerate() {
            let (encargar, encomiendas) = unbounded();
            let se_presenta = lugar < cuantas;
            director.sumar(linea.direccion, se_presenta, encargar);
            let fuente = Fuente {
                lugar,
                se_presenta,
                conexiones: pedido.conexiones.min(caben),
                pedido,
                partes: dar_parte.clone(),
            };
            let vida = move || fuente.atender(linea, &encomiendas);
            match arrancar_en(ambito, &format!("fuente-{lugar}"), vida) {
                Ok(hilo) => hilos.push(hilo),
                Err(fallo) => director.retirar(lugar, &fallo),
            }
        }
        drop(dar_parte);
        let obtenido = director.dirigir();
        // Acabe como acabe, que nadie siga: ni presentándose ni recibiendo un bloque que otro dio.
        sockets.cortar();
        // Sin encomiendas que esperar, los hilos de las fuentes terminan.
        drop(director);
        let lineas = hilos.into_iter().filter_map(|hilo| hilo.join().ok());
        (obtenido, lineas.collect())
    })
}
