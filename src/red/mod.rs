//! SERVIDOR DEL NODO, la mitad que no sabe qué se dice: `atender_conexiones`, como en la guía.
//!
//! Es el único bucle de `accept` del proyecto. Lo usan el nodo, el balanceador, los backends, el
//! maestro y el chat: sólo cambia `gestionar`. Lo que la guía no tiene está en el cuarto de al
//! lado: cómo se para ([`parada`]), quién arranca el bucle y lo espera ([`servidor`]), los hilos
//! ([`hilos`]), cuántos caben ([`turnos`]), qué es una conexión con plazos ([`conexion`])…

pub mod caudal;
pub mod cifrado;
pub mod conexion;
pub mod hilos;
pub mod llegar;
pub mod maquina;
pub mod parada;
pub mod resolver;
pub mod servidor;
pub mod turnos;

use std::io;
use std::net::{IpAddr, Ipv6Addr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use log::warn;
use socket2::SockRef;

use crate::config::Limites;
use crate::fallo::motivo;
use conexion::Conexion;
use hilos::Hilos;
use maquina::sin_mapear;
use parada::{Parada, Trato};
use turnos::Turnos;

/// Cuántas conexiones pueden esperar en la cola de `listen` (el 5 de la guía). `TcpListener::bind`
/// la deja en 128; con más clientes a la vez se pierde el SYN, que se repite al segundo.
const COLA_DE_LISTEN: i32 = 1024;
/// Cuánto se descansa cuando `accept` falla (sin descriptores), para no girar en vacío.
const DESCANSO: Duration = Duration::from_millis(100);
/// Cuánto se espera, al salir, a que terminen los envíos en curso.
pub const DESPEDIDA: Duration = Duration::from_secs(5);

/// Abre el puerto `puerto` (0 = el que esté libre) en `ip`: el `bind` y el `listen` de la guía. En
/// `::` se atiende también a los de IPv4.
pub fn abrir_puerto(ip: IpAddr, puerto: u16) -> io::Result<TcpListener> {
    let escucha = match ip == Ipv6Addr::UNSPECIFIED {
        true => maquina::enlazar_en_todas(puerto)?,
        false => TcpListener::bind((ip, puerto))?,
    };
    SockRef::from(&escucha).listen(COLA_DE_LISTEN)?;
    Ok(escucha)
}

/// Acepta conexiones y da cada una a un hilo propio, que llama a `gestionar`: la función de la
/// guía.
///
/// `escucha` ya está enlazado. Caben `tope` a la vez; las demás esperan en la cola de `listen`.
/// Termina cuando se avisa la `parada`, y no deja ninguna conexión viva: deja libre el puerto,
/// despierta a las ociosas, da a los envíos en curso [`DESPEDIDA`] para acabar y corta lo que
/// quede.
pub fn atender_conexiones(
    escucha: TcpListener,
    tope: usize,
    limites: &Limites,
    parada: &Parada,
    gestionar: impl Fn(Conexion) + Send + Sync + 'static,
) {
    let gestionar = Arc::new(gestionar);
    let hilos = Hilos::nuevos("conexion");
    let turnos = Turnos::nuevos(tope);
    // El turno va antes que `accept`: así lo que no cabe espera fuera, sin gastar un descriptor.
    while let Some(turno) = turnos.pedir(Duration::MAX, parada) {
        let (socket, desde) = match maquina::aceptar(&escucha) {
            _ if parada.avisada() => break,
            Ok((socket, desde)) => (Arc::new(socket), sin_mapear(desde)),
            Err(error) => {
                warn!("accept: {}", motivo(&error));
                let _ = parada.canal().recv_timeout(DESCANSO);
                continue;
            }
        };
        // Sin retardo de Nagle: una respuesta corta sale ya. Si falla, sólo irá más lenta.
        let _ = socket.set_nodelay(true);
        let apuntada = parada.apuntar(&socket, Trato::DejaDeLeer);
        let conexion = Conexion::aceptada(&socket, desde, limites).apuntada(apuntada);
        let gestionar = Arc::clone(&gestionar);
        let lanzado = hilos.lanzar(move || {
            gestionar(conexion);
            // Primero se cierra el socket y luego pasa el siguiente: cabe en los mismos
            // descriptores.
            drop(socket);
            drop(turno);
        });
        if let Err(error) = lanzado {
            warn!("no se pudo crear un hilo para {desde}: {}", motivo(&error));
        }
    }
    drop(escucha);
    hilos.despedir(DESPEDIDA, || parada.cortar());
}
