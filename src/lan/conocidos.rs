//! Los nodos que no se escribieron: los oídos en la red y los que dice el maestro.
//!
//! La lista crece y mengua mientras el nodo corre. Quien va a preguntar a todos la fotografía una
//! vez, al empezar ([`crate::nodo::vecinos::Vecinos::para_una_tanda`]), y no vuelve a mirarla. A un
//! conocido se le pregunta y se le baja como a uno escrito; escribir aquí es otra cosa, y la decide
//! `Vecinos::puede_escribir`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::lan::anuncios::{Oido, elegir_direcciones};
use crate::nodo::palabras::protocolo::Presentacion;
use crate::red::parada::cerrojo;

/// Cuántos se conocen a la vez por oírlos: cada uno tiene su hilo y su conexión.
pub const MAX_CONOCIDOS: usize = 128;
/// De ellos, los de una misma IP de la red: ninguna llena la lista sola.
const MAX_POR_IP: usize = 16;
/// Los que nos saludaron y esperan a que se les llame.
const EN_COLA: usize = 64;

/// Alguien oído en la red que contestó.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conocido {
    /// Lo que lo distingue.
    pub id: String,
    /// Cómo se llama.
    pub nombre: String,
    /// Dónde contestó.
    pub direccion: SocketAddr,
}

/// La lista, compartida.
#[derive(Debug)]
pub struct Conocidos {
    lista: Mutex<Lista>,
    /// Quienes nos saludaron: también se les conoce, aunque el cortafuegos no deje oírlos.
    saludos: Option<(Sender<Oido>, Receiver<Oido>)>,
}

#[derive(Debug, Default)]
struct Lista {
    oidos: Vec<Conocido>,
    del_maestro: Vec<SocketAddr>,
}

impl Conocidos {
    /// Ninguno todavía. Con `descubre`, quien salude puede llegar a serlo.
    pub fn nuevos(descubre: bool) -> Conocidos {
        Conocidos {
            lista: Mutex::default(),
            saludos: descubre.then(|| bounded(EN_COLA)),
        }
    }

    /// Añade a uno que acaba de contestar. Falso si no cabe, o si ya estaba.
    pub fn entra(&self, nuevo: Conocido) -> bool {
        let mut lista = cerrojo(&self.lista);
        let ya = lista.oidos.iter().any(|uno| uno.id == nuevo.id);
        let ip = nuevo.direccion.ip();
        let suyos = lista.oidos.iter().filter(|uno| uno.direccion.ip() == ip);
        let demasiados = suyos.count() >= MAX_POR_IP && !ip.is_loopback();
        if ya || demasiados || lista.oidos.len() >= MAX_CONOCIDOS {
            return false;
        }
        lista.oidos.push(nuevo);
        true
    }

    /// ¿Está ya el de ese `id`?
    pub fn tiene(&self, id: &str) -> bool {
        cerrojo(&self.lista).oidos.iter().any(|uno| uno.id == id)
    }

    /// Se le alcanza mejor en otra dirección.
    pub fn muda(&self, id: &str, direccion: SocketAddr) {
        let mut lista = cerrojo(&self.lista);
        let suyo = lista.oidos.iter_mut().find(|uno| uno.id == id);
        suyo.into_iter().for_each(|uno| uno.direccion = direccion);
    }

    /// Quita al que dejó de contestar.
    pub fn sale(&self, id: &str) {
        cerrojo(&self.lista).oidos.retain(|uno| uno.id != id);
    }

    /// Los que dice ahora el maestro, en vez de los que dijo antes.
    pub fn segun_el_maestro(&self, dichos: Vec<SocketAddr>) {
        cerrojo(&self.lista).del_maestro = dichos;
    }

    /// Todos, los oídos delante.
    pub fn direcciones(&self) -> Vec<SocketAddr> {
        let lista = cerrojo(&self.lista);
        let oidos = lista.oidos.iter().map(|uno| uno.direccion);
        oidos.chain(lista.del_maestro.iter().copied()).collect()
    }

    /// Quién está en esa IP: dónde escucha y, si se sabe, cómo se llama. `None` si no es de un
    /// conocido.
    pub fn quien_es(&self, ip: IpAddr) -> Option<(SocketAddr, Option<String>)> {
        let lista = cerrojo(&self.lista);
        let oidos = lista.oidos.iter();
        let oidos = oidos.map(|uno| (uno.direccion, Some(uno.nombre.clone())));
        let del_maestro = lista.del_maestro.iter().map(|uno| (*uno, None));
        let mut todos = oidos.chain(del_maestro);
        todos.find(|(direccion, _)| direccion.ip() == ip)
    }

    /// Alguien nos saludó `desde` ahí. Si dice en qué puerto escucha, se le llamará a esa misma IP.
    pub fn saluda(&self, mut desde: SocketAddr, quien: &Presentacion) {
        let Some(((dar, _), id)) = self.saludos.as_ref().zip(quien.id.as_ref()) else {
            return;
        };
        desde.set_port(quien.puerto);
        let direcciones = elegir_direcciones(vec![desde]);
        if !direcciones.is_empty() {
            // Si no cabe, ya volverá a saludar.
            let _ = dar.try_send(Oido {
                id: id.clone(),
                nombre: Some(quien.nombre.clone()),
                direcciones,
            });
        }
    }

    /// Por donde llegan los saludos, si se descubre.
    pub fn saludos(&self) -> Option<&Receiver<Oido>> {
        self.saludos.as_ref().map(|(_, oir)| oir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uno(n: usize, direccion: &str) -> Conocido {
        Conocido {
            id: format!("{n:08x}"),
            nombre: format!("nodo{n}"),
            direccion: direccion.parse().unwrap(),
        }
    }

    #[test]
    fn entra_una_vez_cada_uno_y_ninguna_ip_llena_la_lista() {
        let conocidos = Conocidos::nuevos(false);
        assert!(conocidos.entra(uno(1, "10.0.0.1:6001")));
        assert!(!conocidos.entra(uno(1, "10.0.0.2:6001")), "ya estaba");
        let de_la_misma = |n| conocidos.entra(uno(n, &format!("10.0.0.1:{}", 6000 + n)));
        assert_eq!(
            (2..=100).filter(|n| de_la_misma(*n)).count(),
            MAX_POR_IP - 1
        );
        let de_otras = |n| conocidos.entra(uno(n, &format!("10.0.{}.{}:6001", n / 200, n % 200)));
        let caben = (201..=600).filter(|n| de_otras(*n)).count();
        assert_eq!(caben, MAX_CONOCIDOS - MAX_POR_IP);
        conocidos.sale("00000001");
        assert!(!conocidos.tiene("00000001") && conocidos.entra(uno(1, "10.9.9.9:6001")));
    }

    #[test]
    fn los_del_maestro_se_sustituyen_y_los_oidos_quedan() {
        let conocidos = Conocidos::nuevos(false);
        let dir = |texto: &str| texto.parse::<SocketAddr>().unwrap();
        conocidos.entra(uno(1, "10.0.0.1:6001"));
        conocidos.segun_el_maestro(vec![dir("10.0.0.2:1"), dir("10.0.0.3:1")]);
        conocidos.segun_el_maestro(vec![dir("10.0.0.4:1")]);
        assert_eq!(
            conocidos.direcciones(),
            [dir("10.0.0.1:6001"), dir("10.0.0.4:1")]
        );
        conocidos.muda("00000001", dir("10.0.0.9:6001"));
        let quien = conocidos.quien_es("10.0.0.9".parse().unwrap());
        assert_eq!(quien, Some((dir("10.0.0.9:6001"), Some("nodo1".into()))));
        assert_eq!(conocidos.quien_es("10.0.0.3".parse().unwrap()), None);
    }

    #[test]
    fn los_saludos_no_se_acumulan_ni_valen_sin_puerto() {
        let conocidos = Conocidos::nuevos(true);
        let desde = "[::ffff:10.0.0.2]:40000".parse().unwrap();
        let saludo = |puerto| Presentacion {
            puerto,
            nombre: "ana".into(),
            id: Some("0000aaaa".into()),
        };
        conocidos.saluda(desde, &saludo(0));
        assert!(conocidos.saludos().unwrap().is_empty());
        (0..1000).for_each(|_| conocidos.saluda(desde, &saludo(6001)));
        assert_eq!(conocidos.saludos().unwrap().len(), EN_COLA);
        let Oido { direcciones, .. } = conocidos.saludos().unwrap().recv().unwrap();
        assert_eq!(direcciones.len(), 1);
        assert_eq!(direcciones[0].port(), 6001);
    }
}
