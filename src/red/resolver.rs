//! De un nombre de máquina a su dirección, sin esperar más de la cuenta.
//!
//! La guía sólo conoce IP. Quien sabe de nombres es el sistema, y mientras busca no se le puede
//! interrumpir: se le pregunta en otro hilo y, si tarda, se le deja. Ese hilo acaba cuando el
//! sistema se rinde (unos segundos), y lo que diga ya no lo oye nadie.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use crossbeam_channel::select;

use crate::fallo::Fallo;
use crate::red::hilos::arrancar;
use crate::red::maquina::sin_mapear;
use crate::red::parada::Parada;

/// La dirección de `nombre` (o de la IP que sea), en menos de `plazo` y hasta que se corte la
/// `parada`. Nunca es `0.0.0.0` ni `::`, que no son de nadie.
pub fn resolver(
    nombre: &str,
    puerto: u16,
    plazo: Duration,
    parada: &Parada,
) -> Result<SocketAddr, Fallo> {
    let fallo = |que| Fallo::nuevo(format!("buscando la dirección de {nombre}: {que}"));
    let suyo = nombre.to_string();
    let preguntar = move || {
        (suyo.as_str(), puerto)
            .to_socket_addrs()
            .map(Vec::from_iter)
    };
    let hilo = arrancar("resolver", preguntar)?;
    select! {
        recv(hilo.fin) -> _ => {}
        recv(parada.canal()) -> _ => return Err(fallo("se dejó")),
        default(plazo) => {
            return Err(fallo("nadie contesta a tiempo; prueba con la IP"));
        }
    }
    let direcciones = hilo.esperar().and_then(Result::ok).unwrap_or_default();
    let elegida = elegir(direcciones);
    elegida.ok_or_else(|| fallo("nadie conoce ese nombre; prueba con la IP"))
}

/// La primera que sea de alguien, y mejor IPv4: los programas del curso escuchan en `0.0.0.0`.
fn elegir(direcciones: Vec<SocketAddr>) -> Option<SocketAddr> {
    let suyas = direcciones.into_iter().map(sin_mapear);
    let de_alguien = suyas.filter(|direccion| !direccion.ip().is_unspecified());
    de_alguien.min_by_key(SocketAddr::is_ipv6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn se_prefiere_ipv4_y_nunca_la_de_nadie() {
        let elegida = |todas: &[&str]| {
            let todas = todas.iter().map(|una| una.parse().unwrap()).collect();
            elegir(todas).map(|una| una.to_string())
        };
        let buena = Some("127.0.0.1:1".to_string());
        assert_eq!(elegida(&["[::1]:1", "127.0.0.1:1", "127.0.0.2:1"]), buena);
        assert_eq!(elegida(&["0.0.0.0:1", "[::ffff:127.0.0.1]:1"]), buena);
        assert_eq!(elegida(&["[::1]:1"]).as_deref(), Some("[::1]:1"));
        assert_eq!(elegida(&["0.0.0.0:1", "[::]:1"]), None);
    }

    #[test]
    fn un_nombre_que_no_es_de_nadie_es_una_frase() {
        // Tan largo no puede ser: no hace falta la red para saberlo.
        let largo = "a".repeat(300);
        let buscar = |parada: &Parada| {
            resolver(&largo, 1, Duration::from_secs(20), parada)
                .unwrap_err()
                .to_string()
        };
        let parada = Parada::nueva();
        let dice = buscar(&parada);
        assert!(
            dice.contains(&largo) && dice.contains("con la IP"),
            "{dice}"
        );
        // Cortada, no espera a lo que diga el sistema.
        parada.cortar();
        assert!(buscar(&parada).contains(&largo));
    }
}
