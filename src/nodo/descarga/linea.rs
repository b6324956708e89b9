//! Una línea con una fuente: la conexión de una descarga que se vuelve a abrir si hace falta, y se puede cortar.
//!
//! Quien sirve cierra las conexiones ociosas. Por eso una ya usada que se cierra antes del primer byte de la respuesta
//! se abre otra vez, una: no es culpa de la fuente. La de un envío no se puede reabrir, porque la abrió el otro.

use std::net::SocketAddr;

use crate::config::Limites;
use crate::nodo::palabras::pedir::FalloPar;
use crate::red::conexion::Conexion;
use crate::red::parada::Parada;

/// La conexión con una fuente.
pub struct Linea<'a> {
    direccion: SocketAddr,
    limites: Limites,
    parada: &'a Parada,
    conexion: Option<Conexion>,
    usada: bool,
    prestada: bool,
}

impl<'a> Linea<'a> {
    /// Una línea que se abrirá al usarla.
    pub fn por_abrir(direccion: SocketAddr, limites: Limites, parada: &'a Parada) -> Linea<'a> {
        Linea {
            direccion,
            limites,
            parada,
            conexion: None,
            usada: false,
            prestada: false,
        }
    }

    /// Una línea sobre una conexión que abrió el otro (un envío): no se puede reabrir.
    pub fn prestada(conexion: Conexion, parada: &'a Parada) -> Linea<'a> {
        let (direccion, limites) = (conexion.otro(), *conexion.limites());
        Linea {
            direccion,
            limites,
            parada,
            conexion: Some(conexion),
            usada: true,
            prestada: true,
        }
    }

    /// Otra línea con la misma fuente. `None` si no se puede abrir otra.
    pub fn otra(&self) -> Option<Linea<'a>> {
        (!self.prestada).then(|| Linea::por_abrir(self.direccion, self.limites, self.parada))
    }

    /// Con quién.
    pub fn direccion(&self) -> SocketAddr {
        self.direccion
    }

    /// ¿La abrió el otro?
    pub fn es_prestada(&self) -> bool {
        self.prestada
    }

    /// Devuelve la conexión, si la hay.
    pub fn colgar(self) -> Option<Conexion> {
        self.conexion
    }

    /// Hace algo con la conexión, abriéndola si hace falta y reabriéndola una vez si se había cerrado sola.
    ///
    /// # Errores
    /// Los de abrirla y los de `hacer`.
    pub fn con<T>(
        &mut self,
        mut hacer: impl FnMut(&mut Conexion) -> Result<T, FalloPar>,
    ) -> Result<T, FalloPar> {
        let estaba_usada = self.usada;
        let mut hecho = hacer(self.abierta()?);
        if matches!(hecho, Err(FalloPar::Cerro)) && estaba_usada && !self.prestada {
            self.conexion = None;
            hecho = hacer(self.abierta()?);
        }
        self.usada =
            hecho.is_ok() || matches!(hecho, Err(FalloPar::Calculando | FalloPar::NoLoTiene));
        hecho
    }

    fn abierta(&mut self) -> Result<&mut Conexion, FalloPar> {
        match &mut self.conexion {
            Some(conexion) => Ok(conexion),
            vacia => {
                let (a, limites) = (self.direccion, self.limites);
                let conexion = Conexion::conectar(a, limites.conectar, limites, self.parada)?;
                Ok(vacia.insert(conexion))
            }
        }
    }
}
