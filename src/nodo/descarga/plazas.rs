//! Las plazas de quienes nos están enviando algo: unas cuantas en total, y menos para cada IP, que
//! si no una sola las ocuparía todas.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type PorIp = Mutex<HashMap<IpAddr, usize>>;

/// Las plazas, con cuántas ocupa cada IP.
pub struct Plazas {
    ocupadas: Arc<PorIp>,
    total: usize,
    por_ip: usize,
}

/// Una plaza ocupada. Al soltarla queda libre.
pub struct Plaza {
    ocupadas: Arc<PorIp>,
    ip: IpAddr,
}

impl Plazas {
    /// `total` plazas; cada IP, `por_ip` como mucho.
    pub fn nuevas(total: usize, por_ip: usize) -> Plazas {
        Plazas {
            ocupadas: Arc::default(),
            total,
            por_ip,
        }
    }

    /// Ocupa una plaza para `ip`. `None` si no queda ninguna, o ninguna para ella.
    pub fn ocupar(&self, ip: IpAddr) -> Option<Plaza> {
        let mut ocupadas = cerrojo(&self.ocupadas);
        let suyas = ocupadas.get(&ip).copied().unwrap_or(0);
        if suyas >= self.por_ip || ocupadas.values().sum::<usize>() >= self.total {
            return None;
        }
        ocupadas.insert(ip, suyas + 1);
        let ocupadas = Arc::clone(&self.ocupadas);
        Some(Plaza { ocupadas, ip })
    }
}

impl Drop for Plaza {
    fn drop(&mut self) {
        let mut ocupadas = cerrojo(&self.ocupadas);
        match ocupadas.get_mut(&self.ip) {
            Some(suyas) if *suyas > 1 => *suyas -= 1,
            _ => drop(ocupadas.remove(&self.ip)),
        }
    }
}

fn cerrojo(ocupadas: &PorIp) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
    ocupadas.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ninguna_ip_las_ocupa_todas_y_soltar_deja_pasar() {
        let plazas = Plazas::nuevas(3, 2);
        let ip = |n| IpAddr::from([192, 0, 2, n]);
        let (una, _otra) = (plazas.ocupar(ip(1)), plazas.ocupar(ip(1)));
        assert!(una.is_some() && plazas.ocupar(ip(1)).is_none());
        let tercera = plazas.ocupar(ip(2));
        assert!(tercera.is_some() && plazas.ocupar(ip(3)).is_none());
        drop(una);
        assert!(plazas.ocupar(ip(3)).is_some());
        assert!(plazas.ocupar(ip(1)).is_some());
        drop(tercera);
        assert_eq!(cerrojo(&plazas.ocupadas).len(), 1);
    }
}
