//! Turnos: que no más de unos cuantos hagan algo a la vez.
//!
//! Es el semáforo de las clases de concurrencia, hecho con un canal con tope: pedir turno es meter
//! una ficha, y si no cabe se espera. El turno se devuelve solo, con `Drop`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, select};

use crate::red::parada::Parada;
use crate::red::parada::cerrojo;

/// Un número fijo de turnos.
pub struct Turnos {
    entrar: Sender<()>,
    salir: Receiver<()>,
}

/// Un turno concedido. Al soltarlo pasa el siguiente.
pub struct Turno {
    salir: Receiver<()>,
}

impl Turnos {
    /// `cuantos` a la vez (uno como mínimo).
    pub fn nuevos(cuantos: usize) -> Turnos {
        let (entrar, salir) = bounded(cuantos.max(1));
        Turnos { entrar, salir }
    }

    /// Un turno, si lo hay ahora mismo.
    pub fn tomar(&self) -> Option<Turno> {
        self.entrar.try_send(()).ok()?;
        let salir = self.salir.clone();
        Some(Turno { salir })
    }

    /// Espera su turno hasta `espera`, o hasta que se avise la `parada`. `None` si no llegó.
    pub fn pedir(&self, espera: Duration, parada: &Parada) -> Option<Turno> {
        if parada.avisada() {
            return None;
        }
        if self.entrar.try_send(()).is_err() {
            select! {
                send(self.entrar, ()) -> _ => {}
                recv(parada.canal()) -> _ => return None,
                default(espera) => return None,
            }
        }
        let salir = self.salir.clone();
        Some(Turno { salir })
    }
}

impl Drop for Turno {
    fn drop(&mut self) {
        // Al menos está la ficha de este turno, así que no puede faltar.
        let _ = self.salir.try_recv();
    }
}

/// Turnos de los que nadie puede tomar más de unos cuantos: una sola máquina no deja fuera a las
/// demás.
pub struct TurnosPorIp {
    todos: Turnos,
    de_cada_una: usize,
    /// Los de cada IP, mientras alguien los use o los espere.
    suyos: Mutex<HashMap<IpAddr, Weak<Turnos>>>,
}

impl TurnosPorIp {
    /// `todos` a la vez, y `de_cada_una` por IP.
    pub fn nuevos(todos: usize, de_cada_una: usize) -> TurnosPorIp {
        TurnosPorIp {
            todos: Turnos::nuevos(todos),
            de_cada_una,
            suyos: Mutex::default(),
        }
    }

    /// Como [`Turnos::pedir`]: primero entre los de `ip`, y después entre todos.
    pub fn pedir(&self, ip: IpAddr, espera: Duration, parada: &Parada) -> Option<TurnoDeIp> {
        let limite = Instant::now() + espera;
        let suyos = self.de(ip);
        let suyo = suyos.pedir(espera, parada)?;
        let queda = limite.saturating_duration_since(Instant::now());
        Some(TurnoDeIp {
            _de_todos: self.todos.pedir(queda, parada)?,
            _suyo: suyo,
            _suyos: suyos,
        })
    }

    fn de(&self, ip: IpAddr) -> Arc<Turnos> {
        let mut suyos = cerrojo(&self.suyos);
        suyos.retain(|_, turnos| turnos.strong_count() > 0);
        let ya = suyos.get(&ip).and_then(Weak::upgrade);
        ya.unwrap_or_else(|| {
            let nuevos = Arc::new(Turnos::nuevos(self.de_cada_una));
            suyos.insert(ip, Arc::downgrade(&nuevos));
            nuevos
        })
    }
}

/// Un turno concedido por [`TurnosPorIp`].
pub struct TurnoDeIp {
    _de_todos: Turno,
    _suyo: Turno,
    _suyos: Arc<Turnos>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_pasan_mas_de_los_que_caben_y_soltar_deja_pasar() {
        let (turnos, parada) = (Turnos::nuevos(2), Parada::nueva());
        let nada = Duration::from_millis(10);
        let (uno, _otro) = (
            turnos.pedir(nada, &parada).unwrap(),
            turnos.pedir(nada, &parada).unwrap(),
        );
        assert!(turnos.pedir(nada, &parada).is_none());
        drop(uno);
        assert!(turnos.pedir(nada, &parada).is_some());
    }

    #[test]
    fn una_ip_espera_detras_de_los_suyos_y_no_quita_el_sitio_a_las_demas() {
        let (turnos, parada) = (TurnosPorIp::nuevos(3, 2), Parada::nueva());
        let pedir =
            |ip: u8| turnos.pedir([10, 0, 0, ip].into(), Duration::from_millis(10), &parada);
        let suyos = [pedir(1).unwrap(), pedir(1).unwrap()];
        assert!(pedir(1).is_none());
        let otro = pedir(2).unwrap();
        assert!(pedir(3).is_none(), "entre todos sólo hay tres");
        drop(suyos);
        assert!(pedir(3).is_some() && pedir(1).is_some());
        drop(otro);
        assert!(pedir(1).is_some());
        assert_eq!(turnos.suyos.lock().unwrap().len(), 1, "nadie usa los demás");
    }

    #[test]
    fn sin_esperar_ninguna_ip_los_ocupa_todos_y_soltar_deja_pasar() {
        let (turnos, parada) = (TurnosPorIp::nuevos(3, 2), Parada::nueva());
        let pedir = |n: u8| turnos.pedir([192, 0, 2, n].into(), Duration::ZERO, &parada);
        let (uno, _otro) = (pedir(1), pedir(1));
        assert!(uno.is_some() && pedir(1).is_none());
        let tercero = pedir(2);
        assert!(tercero.is_some() && pedir(3).is_none());
        drop(uno);
        assert!(pedir(3).is_some());
        assert!(pedir(1).is_some());
        drop(tercero);
        assert!(pedir(1).is_some());
        assert_eq!(cerrojo(&turnos.suyos).len(), 1, "nadie usa los demás");
    }

    #[test]
    fn la_parada_despierta_a_quien_espera() {
        let (turnos, parada) = (Turnos::nuevos(1), Parada::nueva());
        let _dentro = turnos.pedir(Duration::ZERO, &parada).unwrap();
        std::thread::scope(|ambito| {
            let espera = ambito.spawn(|| turnos.pedir(Duration::MAX, &parada).is_none());
            parada.avisar();
            assert!(espera.join().unwrap());
        });
    }
}
