//! El motor de las transferencias: de una fuente o de muchas, pidiendo o siendo invitado, es siempre este.
//!
//! El `descargar_archivo` de la guía no sabe la longitud, no comprueba, no reanuda y pisa lo que hubiera. Aquí:
//!
//! 1. a cada fuente se le pregunta `INFO`, en su hilo; se elige la huella que tengan más;
//! 2. una da la lista de `BLOQUES`, que tiene que sumar esa huella;
//! 3. lo que quedó de otra vez en el `.part` se comprueba, y lo que falta va a una cola;
//! 4. cada conexión saca un bloque, lo pide con `OBTENER`, lo comprueba y lo escribe en su sitio;
//! 5. cuando están todos, el archivo toma su nombre.
//!
//! Aquí se ponen en marcha los hilos y se esperan. El hilo que llama dirige (`direccion.rs`): reparte encargos y recibe
//! partes. Lo que hace cada fuente está en `fuente.rs`. Nadie escribe en pantalla: los avisos van por
//! [`Pedido::avisar`].

pub mod cola;
pub mod director;
pub mod envio;
pub mod fuente;
pub mod linea;
pub mod pedido;
pub mod sin_comprobar;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::thread;

use crossbeam_channel::unbounded;

use crate::fallo::Fallo;
use crate::nodo::descarga::director::{Direccion, Fuente, Obtenido};
use crate::nodo::descarga::fuente::atender_fuente;
use crate::nodo::descarga::linea::Linea;
use crate::nodo::descarga::pedido::{Descargado, NoDescargado, Pedido};
use crate::red::conexion::Conexion;
use crate::red::parada::Parada;

/// Baja un archivo, por bloques comprobados, de las `fuentes` que den su huella.
///
/// # Errores
/// Nadie lo tiene, se canceló o no se pudo.
pub fn por_bloques(fuentes: &[SocketAddr], pedido: &Pedido) -> Result<Obtenido, NoDescargado> {
    let sockets = Parada::nueva();
    let mut vistas = HashSet::new();
    let lineas = fuentes
        .iter()
        .filter(|fuente| vistas.insert(**fuente))
        .map(|fuente| Linea::por_abrir(*fuente, pedido.limites, &sockets))
        .collect();
    con_fuentes(lineas, &sockets, pedido).0
}

/// Baja por una conexión que abrió el otro, que nos invita. La devuelve, si sigue viva, para decirle cómo acabó.
pub fn recibir(
    conexion: Conexion,
    pedido: &Pedido,
) -> (Result<Descargado, NoDescargado>, Option<Conexion>) {
    let sockets = Parada::nueva();
    let linea = Linea::prestada(conexion, &sockets);
    let (obtenido, lineas) = con_fuentes(vec![linea], &sockets, pedido);
    let descargado = match obtenido {
        Ok(Obtenido::Comprobado(descargado)) => Ok(descargado),
        Ok(Obtenido::SoloLaGuia(_)) => {
            Err(Fallo::nuevo("quien lo ofrecía cerró la conexión").into())
        }
        Err(fallo) => Err(fallo),
    };
    (
        descargado,
        lineas.into_iter().next().and_then(Linea::colgar),
    )
}

/// Pone un hilo por fuente, dirige, y no vuelve con ninguno vivo.
fn con_fuentes<'s>(
    lineas: Vec<Linea<'s>>,
    sockets: &'s Parada,
    pedido: &Pedido,
) -> (Result<Obtenido, NoDescargado>, Vec<Linea<'s>>) {
    thread::scope(|ambito| {
        let (dar_parte, partes) = unbounded();
        let (mut fuentes, mut hilos) = (Vec::new(), Vec::new());
        for (lugar, linea) in lineas.into_iter().enumerate() {
            let (encargar, encargos) = unbounded();
            let direccion = linea.direccion();
            let dar_parte = dar_parte.clone();
            let hilo = thread::Builder::new()
                .name(format!("fuente-{lugar}"))
                .stack_size(crate::red::hilos::PILA)
                .spawn_scoped(ambito, move || {
                    atender_fuente(lugar, linea, pedido, &encargos, &dar_parte)
                });
            fuentes.push(Fuente::nueva(direccion, encargar, hilo.is_ok()));
            match hilo {
                Ok(hilo) => hilos.push(hilo),
                Err(error) => log::warn!("sin hilo para {direccion}: {error}"),
            }
        }
        drop(dar_parte);
        let mut direccion = Direccion::nueva(pedido, fuentes, partes);
        let obtenido = direccion.dirigir();
        // Acabe como acabe, que nadie siga: ni presentándose ni recibiendo un bloque que otro ya dio.
        sockets.cortar();
        // Sin encargos que esperar, los hilos de las fuentes terminan.
        drop(direccion);
        (
            obtenido,
            hilos
                .into_iter()
                .filter_map(|hilo| hilo.join().ok())
                .collect(),
        )
    })
}
