//! Cuánto cabe en el directorio del maestro: ni todos juntos ni una máquina sola pueden llenar su memoria. Cuentas puras.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;

use super::ficha::Ficha;

/// Cuántos peers caben.
pub const MAX_PEERS: usize = 20_000;
/// Cuántos archivos puede anunciar un peer.
pub const MAX_ARCHIVOS: usize = 100_000;
/// Tope de un nombre de archivo, en bytes.
pub const MAX_NOMBRE_DE_ARCHIVO: usize = 1024;
/// Tope de lo que ocupan los nombres de todos, en bytes.
const MAX_PESO: usize = 512 * 1024 * 1024;
/// Cuántos peers puede registrar otra máquina. (Desde la propia no hay más tope que el de todos.)
const MAX_PEERS_DE_UNA_IP: usize = 256;
/// Tope de lo que ocupan los nombres registrados desde otra máquina, en bytes.
const MAX_PESO_DE_UNA_IP: usize = 64 * 1024 * 1024;
/// Lo que gasta una entrada del índice además del nombre, en bytes, más o menos.
const PESO_DE_UNA_ENTRADA: usize = 64;

/// Por qué no se admite un registro.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoCabe {
    /// Ya hay [`MAX_PEERS`].
    Peers,
    /// Los nombres de todos ocupan demasiado.
    Memoria,
    /// Esa máquina ya registró bastante.
    DeEsaMaquina,
}

impl fmt::Display for NoCabe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NoCabe::Peers => "el directorio está lleno: no caben más peers",
            NoCabe::Memoria => "el directorio está lleno: no caben más archivos",
            NoCabe::DeEsaMaquina => "desde esa máquina ya se registró demasiado",
        })
    }
}

/// Cuántos peers hay y cuánto ocupan sus nombres.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Gasto {
    peers: usize,
    peso: usize,
}

impl Gasto {
    /// El de una ficha.
    fn de(ficha: &Ficha) -> Gasto {
        let nombres = ficha
            .archivos
            .iter()
            .map(|nombre| nombre.len() + PESO_DE_UNA_ENTRADA);
        Gasto {
            peers: 1,
            peso: PESO_DE_UNA_ENTRADA + nombres.sum::<usize>(),
        }
    }

    fn mas(self, otro: Gasto) -> Gasto {
        Gasto {
            peers: self.peers + otro.peers,
            peso: self.peso + otro.peso,
        }
    }

    fn menos(self, otro: Gasto) -> Gasto {
        Gasto {
            peers: self.peers.saturating_sub(otro.peers),
            peso: self.peso.saturating_sub(otro.peso),
        }
    }
}

/// La cuenta de lo gastado, en total y por cada máquina que no es la del maestro.
#[derive(Debug, Default)]
pub struct Cupo {
    total: Gasto,
    por_maquina: HashMap<IpAddr, Gasto>,
}

impl Cupo {
    /// ¿Cabe `ficha` en lugar de `antes`?
    ///
    /// # Errores
    /// No; y por qué.
    pub fn comprobar(&self, ficha: &Ficha, antes: Option<&Ficha>) -> Result<(), NoCabe> {
        let nuevo = Gasto::de(ficha);
        let total = self
            .total
            .menos(antes.map(Gasto::de).unwrap_or_default())
            .mas(nuevo);
        if total.peers > MAX_PEERS {
            return Err(NoCabe::Peers);
        }
        if total.peso > MAX_PESO {
            return Err(NoCabe::Memoria);
        }
        if ficha.de_aqui {
            return Ok(());
        }
        let suyo = self
            .por_maquina
            .get(&ficha.desde)
            .copied()
            .unwrap_or_default();
        let de_antes = antes.filter(|antes| antes.desde == ficha.desde && !antes.de_aqui);
        let suyo = suyo
            .menos(de_antes.map(Gasto::de).unwrap_or_default())
            .mas(nuevo);
        if suyo.peers > MAX_PEERS_DE_UNA_IP || suyo.peso > MAX_PESO_DE_UNA_IP {
            return Err(NoCabe::DeEsaMaquina);
        }
        Ok(())
    }

    /// Apunta una ficha que entra.
    pub fn sumar(&mut self, ficha: &Ficha) {
        let gasto = Gasto::de(ficha);
        self.total = self.total.mas(gasto);
        if !ficha.de_aqui {
            let suyo = self.por_maquina.entry(ficha.desde).or_default();
            *suyo = suyo.mas(gasto);
        }
    }

    /// Apunta una ficha que sale.
    pub fn restar(&mut self, ficha: &Ficha) {
        let gasto = Gasto::de(ficha);
        self.total = self.total.menos(gasto);
        if ficha.de_aqui {
            return;
        }
        if let Some(suyo) = self.por_maquina.get_mut(&ficha.desde) {
            *suyo = suyo.menos(gasto);
            if suyo.peers == 0 {
                self.por_maquina.remove(&ficha.desde);
            }
        }
    }

    /// ¿No hay nada apuntado?
    pub fn vacio(&self) -> bool {
        self.total == Gasto::default() && self.por_maquina.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ficha(n: u16, ip: [u8; 4], de_aqui: bool, nombres: &[String]) -> Ficha {
        Ficha {
            rest: String::new(),
            direccion: (ip, n).into(),
            desde: ip.into(),
            de_aqui,
            grpc_port: 0,
            puerto: None,
            archivos: nombres
                .iter()
                .map(|nombre| nombre.as_str().into())
                .collect(),
        }
    }

    #[test]
    fn otra_maquina_no_puede_llenarlo_y_esta_solo_hasta_el_tope() {
        let mut cupo = Cupo::default();
        let otra = |n| ficha(n, [10, 0, 0, 9], false, &[]);
        for n in 0..MAX_PEERS_DE_UNA_IP as u16 {
            assert_eq!(cupo.comprobar(&otra(n), None), Ok(()));
            cupo.sumar(&otra(n));
        }
        assert_eq!(cupo.comprobar(&otra(999), None), Err(NoCabe::DeEsaMaquina));
        assert_eq!(
            cupo.comprobar(&otra(1), Some(&otra(1))),
            Ok(()),
            "los que ya están siguen pudiendo"
        );
        let largos: Vec<String> = (0..MAX_ARCHIVOS).map(|n| format!("{n:0>1000}")).collect();
        assert_eq!(
            cupo.comprobar(&ficha(1, [10, 0, 0, 8], false, &largos), None),
            Err(NoCabe::DeEsaMaquina)
        );
        let de_aqui = ficha(1, [127, 0, 0, 1], true, &largos);
        for _ in 0..5 {
            assert_eq!(cupo.comprobar(&de_aqui, None), Ok(()));
            cupo.sumar(&de_aqui);
        }
        assert_eq!(cupo.comprobar(&de_aqui, None), Err(NoCabe::Memoria));
        for _ in 0..5 {
            cupo.restar(&de_aqui);
        }
        for n in 0..(MAX_PEERS - MAX_PEERS_DE_UNA_IP) as u16 {
            cupo.sumar(&ficha(n, [127, 0, 0, 1], true, &[]));
        }
        assert_eq!(
            cupo.comprobar(&ficha(1, [127, 0, 0, 1], true, &[]), None),
            Err(NoCabe::Peers)
        );
    }
}
