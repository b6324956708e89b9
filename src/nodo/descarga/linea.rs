//! Una línea con una fuente: la conexión de una descarga, que se vuelve a abrir si hace falta.
//!
//! Quien sirve cierra las conexiones ociosas. Por eso una ya usada que se cierra antes del primer
//! byte de la respuesta se abre otra vez, una: no es culpa de la fuente. La de un envío no se puede
//! reabrir, porque la abrió el otro.

use std::net::SocketAddr;

use crate::config::Limites;
use crate::nodo::palabras::pedir::FalloPar;
use crate::red::conexion::Conexion;
use crate::red::parada::Parada;

/// Respuestas tras las que se ve que el otro no cierra después de cada una.
const AGUANTA: u32 = 2;

/// La conexión con una fuente.
pub struct Linea<'a> {
    /// Con quién.
    pub direccion: SocketAddr,
    limites: Limites,
    parada: &'a Parada,
    conexion: Option<Conexion>,
    /// Las que dio la conexión que está abierta.
    respuestas: u32,
    /// ¿La abrió el otro?
    pub prestada: bool,
}

impl<'a> Linea<'a> {
    /// Una línea que se abrirá al usarla, y se corta con la `parada`.
    pub fn por_abrir(direccion: SocketAddr, limites: &Limites, parada: &'a Parada) -> Linea<'a> {
        Linea {
            direccion,
            limites: limites.clone(),
            parada,
            conexion: None,
            respuestas: 0,
            prestada: false,
        }
    }

    /// Una línea sobre una conexión que abrió el otro (un envío): la corta quien la aceptó.
    pub fn prestada(conexion: Conexion, parada: &'a Parada) -> Linea<'a> {
        let linea = Linea::por_abrir(conexion.otro(), conexion.limites(), parada);
        Linea {
            conexion: Some(conexion),
            prestada: true,
            ..linea
        }
    }

    /// Otra línea con la misma fuente. `None` si no se puede abrir otra.
    pub fn otra(&self) -> Option<Linea<'a>> {
        (!self.prestada).then(|| Linea::por_abrir(self.direccion, &self.limites, self.parada))
    }

    /// Devuelve la conexión, si la hay.
    pub fn colgar(self) -> Option<Conexion> {
        self.conexion
    }

    /// La conexión, abriéndola si hace falta.
    pub fn abierta(&mut self) -> Result<&mut Conexion, FalloPar> {
        match &mut self.conexion {
            Some(conexion) => Ok(conexion),
            vacia => {
                let (a, limites) = (self.direccion, &self.limites);
                let conexion = Conexion::conectar(a, limites.conectar, limites, self.parada)?;
                Ok(vacia.insert(conexion))
            }
        }
    }

    /// Por la conexión llegó una respuesta entera.
    pub fn contesto(&mut self) {
        self.respuestas += 1;
    }

    /// ¿Se le puede pedir algo antes de que conteste a lo anterior? A quien cierra tras cada
    /// respuesta no: perdería las dos.
    pub fn aguanta_dos(&self) -> bool {
        self.respuestas >= AGUANTA
    }

    /// Se cerró sin contestar: si ya se había usado, la suelta para abrir otra. Falso si no se
    /// puede.
    pub fn soltar(&mut self) -> bool {
        let se_puede = self.respuestas > 0 && !self.prestada;
        if se_puede {
            self.conexion = None;
            self.respuestas = 0;
        }
        se_puede
    }

    /// Hace una pregunta, otra vez si la conexión se había cerrado sola.
    pub fn preguntar<T>(
        &mut self,
        pregunta: impl Fn(&mut Conexion) -> Result<T, FalloPar>,
    ) -> Result<T, FalloPar> {
        let mut dicho = pregunta(self.abierta()?);
        if matches!(dicho, Err(FalloPar::Cerro)) && self.soltar() {
            dicho = pregunta(self.abierta()?);
        }
        if matches!(dicho, Ok(_) | Err(FalloPar::Calculando)) {
            self.contesto();
        }
        dicho
    }
}
