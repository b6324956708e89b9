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
//! 5. cuando están todos, el archivo toma su nombre.
//!
//! Aquí se ponen en marcha los hilos y se esperan. Nadie escribe en pantalla: los avisos van por
//! [`Pedido::avisar`].

pub mod ajenas;
pub mod balance;
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
use crate::nodo::descarga::pedido::{Descargado, NoDescargado, Pedido};
use crate::nodo::descarga::plan::Destino;
use crate::red::conexion::Conexion;
use crate::red::hilos::arrancar_en;
use crate::red::parada::Parada;

/// Baja un archivo, por bloques comprobados, de las `fuentes` que den su huella.
pub fn por_bloques(fuentes: &[SocketAddr], pedido: &Pedido) -> Result<Obtenido, NoDescargado> {
    let sockets = Parada::nueva();
    let mut vistas = HashSet::new();
    let distintas = fuentes.iter().filter(|fuente| vistas.insert(**fuente));
    let linea = |fuente: &SocketAddr| Linea::por_abrir(*fuente, pedido.limites, &sockets);
    con_fuentes(distintas.map(linea).collect(), &sockets, pedido).0
}

/// Baja por una conexión que abrió el otro, que nos invita. La devuelve, si sigue viva, para
/// decirle cómo acabó.
pub fn recibir(
    conexion: Conexion,
    pedido: &Pedido,
) -> (Result<Descargado, NoDescargado>, Option<Conexion>) {
    let sockets = Parada::nueva();
    let linea = Linea::prestada(conexion, &sockets);
    let (obtenido, lineas) = con_fuentes(vec![linea], &sockets, pedido);
    let se_fue = Fallo::nuevo("quien lo ofrecía cerró la conexión");
    let descargado = match obtenido {
        Ok(Obtenido::Comprobado(descargado)) => Ok(descargado),
        Ok(Obtenido::SoloLaGuia(_)) => Err(se_fue.into()),
        Err(fallo) => Err(fallo),
    };
    let linea = lineas.into_iter().next();
    (descargado, linea.and_then(Linea::colgar))
}

/// Pone un hilo por fuente, dirige, y no vuelve con ninguno vivo.
fn con_fuentes<'s>(
    lineas: Vec<Linea<'s>>,
    sockets: &Parada,
    pedido: &Pedido,
) -> (Result<Obtenido, NoDescargado>, Vec<Linea<'s>>) {
    let invitado = lineas.iter().any(|linea| linea.prestada);
    let destino = match Destino::nuevo(pedido.nombre, invitado) {
        Ok(destino) => destino,
        Err(malo) => return (Err(malo.into()), lineas),
    };
    thread::scope(|ambito| {
        let (dar_parte, partes) = unbounded();
        let mut director = Director::nuevo(pedido, &destino, partes);
        let mut hilos = Vec::new();
        for (lugar, linea) in lineas.into_iter().enumerate() {
            let (dar_plan, planes) = unbounded();
            director.sumar(linea.direccion, dar_plan);
            let fuente = Fuente {
                lugar,
                pedido,
                partes: dar_parte.clone(),
            };
            let vida = move || fuente.atender(linea, &planes);
            match arrancar_en(ambito, &format!("fuente-{lugar}"), vida) {
                Ok(hilo) => hilos.push(hilo),
                Err(fallo) => director.retirar(lugar, &fallo),
            }
        }
        drop(dar_parte);
        let obtenido = director.dirigir();
        // Acabe como acabe, que nadie siga: ni presentándose ni recibiendo un bloque que otro dio.
        sockets.cortar();
        // Sin planes que esperar, los hilos de las fuentes terminan.
        drop(director);
        let lineas = hilos.into_iter().filter_map(|hilo| hilo.join().ok());
        (obtenido, lineas.collect())
    })
}
