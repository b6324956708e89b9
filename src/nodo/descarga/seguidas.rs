//! Pedir muchas cosas pequeñas por una conexión, una detrás de otra y sin esperar cada respuesta.
//!
//! De uno en uno, mil archivos de 4 KiB son mil idas y vueltas. Aquí se mandan juntas las
//! peticiones que caben en vuelo y las respuestas llegan en el mismo orden. Qué se pide y qué se
//! hace con lo que llega lo dice un [`Cliente`]. Como en `linea.rs`, una conexión ya usada que se
//! cierra antes de contestar se abre otra vez: quien sirve cierra las ociosas. No toca el disco.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::config::Limites;
use crate::nodo::descarga::linea::Ritmo;
use crate::nodo::palabras::pedir::{FalloPar, leer_respuesta_en, no_es_respuesta};
use crate::nodo::palabras::protocolo::{Info, Palabra, Respuesta};
use crate::red::conexion::{Conexion, FalloRed};
use crate::red::parada::{Apuntado, Parada, Trato};

/// Peticiones en vuelo, como mucho.
const EN_VUELO: usize = 256;
/// Con las que se empieza por una conexión que ya contestó a un saludo y a una lista.
const AL_EMPEZAR: usize = 32;
/// Bytes de las peticiones en vuelo: caben en lo que guarda cualquier sistema. Si no, quien sirve
/// podría estar esperando a que se lea, y quien pide, a que le lean.
const BYTES_DE_PETICIONES: usize = 16 * 1024;
/// Bytes de las respuestas en vuelo, salvo que sea una sola.
const BYTES_DE_RESPUESTAS: u64 = 8 << 20;
/// Lo que cuenta una respuesta, por pequeña que sea, para ver si quien manda va demasiado despacio.
const COMO_POCO: u64 = 4096;

/// Algo que se pide.
pub struct Peticion {
    /// Cuál es, para quien la hizo.
    pub cual: usize,
    /// `INFO` u `OBTENER`.
    pub palabra: Palabra,
    /// Bytes que se esperan.
    pub bytes: u64,
}

/// Lo que se contestó.
pub enum Contestado<'a> {
    /// Los bytes de un archivo, que pueden ser menos de los pedidos.
    Datos(&'a [u8]),
    /// Qué archivo es.
    Info(Info),
    /// No lo tiene.
    NoEsta,
    /// Ahora no puede.
    Ocupado,
    /// Contestó `ERROR`, y por qué.
    Rechaza(String),
}

/// Quien pide y recibe.
pub trait Cliente {
    /// Lo siguiente que se pide, si hay algo. Sin nada en vuelo puede esperar a que lo haya.
    fn siguiente(&mut self, nada_en_vuelo: bool) -> Option<Peticion>;
    /// Llegó una respuesta. Un error acaba con la fuente.
    fn llega(&mut self, peticion: &Peticion, que: Contestado) -> Result<(), FalloPar>;
    /// Lo que se pidió no llegó: se puede volver a pedir.
    fn no_llego(&mut self, peticion: &Peticion);
}

/// Una conexión por la que se piden cosas seguidas.
pub struct Seguidas<'a> {
    /// Con quién.
    pub direccion: SocketAddr,
    limites: &'a Limites,
    parada: &'a Parada,
    conexion: Option<(Conexion, Apuntado)>,
    /// Cuántas caben en vuelo. Crece según contesta: a quien cierra tras cada respuesta, de una en
    /// una.
    ventana: usize,
    /// ¿Contestó algo por la conexión que está abierta?
    usada: bool,
}

impl<'a> Seguidas<'a> {
    /// Por una conexión que ya contestó a una lista. Se corta con la `parada`.
    pub fn por(conexion: Conexion, limites: &'a Limites, parada: &'a Parada) -> Seguidas<'a> {
        let apuntada = parada.apuntar(conexion.socket(), Trato::Sigue);
        Seguidas {
            direccion: conexion.otro(),
            limites,
            parada,
            conexion: Some((conexion, apuntada)),
            ventana: AL_EMPEZAR,
            usada: true,
        }
    }

    /// Pide y recibe hasta que el cliente no tenga más que pedir. Lo que no llegue se le devuelve.
    pub fn hacer(&mut self, cliente: &mut impl Cliente) -> Result<(), FalloPar> {
        let mut en_vuelo = VecDeque::new();
        let fin = self.hasta_el_final(cliente, &mut en_vuelo);
        en_vuelo.iter().for_each(|una| cliente.no_llego(una));
        fin
    }

    fn hasta_el_final(
        &mut self,
        cliente: &mut impl Cliente,
        en_vuelo: &mut VecDeque<Peticion>,
    ) -> Result<(), FalloPar> {
        let (mut datos, mut llegados) = (Vec::new(), 0);
        let mut ritmo = Ritmo::nuevo(self.limites.ventana);
        loop {
            if en_vuelo.is_empty() {
                // Esperando a que hubiera qué pedir no se va despacio.
                (ritmo, llegados) = (Ritmo::nuevo(self.limites.ventana), 0);
            }
            self.pedir_mas(cliente, en_vuelo)?;
            let Some(primera) = en_vuelo.front() else {
                return Ok(());
            };
            let mut mirar = |leidos: u64| ritmo.mirar(llegados + leidos);
            match self.recibir(primera, &mut datos, &mut mirar) {
                Err(FalloPar::Cerro) if self.usada => {
                    self.soltar();
                    en_vuelo.drain(..).for_each(|una| cliente.no_llego(&una));
                }
                llegada => {
                    let llegada = llegada?;
                    llegados += COMO_POCO.max(primera.bytes);
                    cliente.llega(primera, llegada)?;
                    en_vuelo.pop_front();
                    self.usada = true;
                    self.ventana = (self.ventana + 1).min(EN_VUELO);
                }
            }
        }
    }

    fn soltar(&mut self) {
        self.conexion = None;
        self.usada = false;
        self.ventana = 1;
    }

    /// Cuando queda en vuelo menos de la mitad de lo que cabe, pide lo que quepa, en un `write`.
    fn pedir_mas(
        &mut self,
        cliente: &mut impl Cliente,
        en_vuelo: &mut VecDeque<Peticion>,
    ) -> Result<(), FalloPar> {
        if en_vuelo.len() > self.ventana / 2 {
            return Ok(());
        }
        let mut texto = String::new();
        let mut por_llegar: u64 = en_vuelo.iter().map(|una| una.bytes).sum();
        let mut letras: usize = en_vuelo
            .iter()
            .map(|una| una.palabra.to_string().len() + 1)
            .sum();
        while en_vuelo.len() < self.ventana
            && (en_vuelo.is_empty()
                || (letras < BYTES_DE_PETICIONES && por_llegar < BYTES_DE_RESPUESTAS))
        {
            let Some(peticion) = cliente.siguiente(en_vuelo.is_empty()) else {
                break;
            };
            let linea = format!("{}\n", peticion.palabra);
            letras += linea.len();
            por_llegar += peticion.bytes;
            texto.push_str(&linea);
            en_vuelo.push_back(peticion);
        }
        if texto.is_empty() {
            return Ok(());
        }
        match self.abierta()?.escribir_texto(&texto) {
            // Lo que alcanzara a contestar antes de cerrar aún se puede leer; si no, se verá ahí.
            Err(FalloRed::Cortada | FalloRed::Cerrada) => Ok(()),
            mandada => Ok(mandada?),
        }
    }

    /// Lee la respuesta a esa petición, con sus datos si los trae.
    fn recibir<'d>(
        &mut self,
        peticion: &Peticion,
        datos: &'d mut Vec<u8>,
        mirar: &mut impl FnMut(u64) -> Result<(), FalloPar>,
    ) -> Result<Contestado<'d>, FalloPar> {
        let plazo = self.limites.respuesta;
        let conexion = self.abierta()?;
        let anunciados = match (leer_respuesta_en(conexion, plazo), &peticion.palabra) {
            (Ok(Respuesta::Datos(anunciados)), Palabra::Obtener { .. }) => anunciados,
            (Ok(Respuesta::Info(info)), Palabra::Info(_)) => return Ok(Contestado::Info(info)),
            (Ok(_), _) => return Err(no_es_respuesta()),
            (Err(FalloPar::NoLoTiene), _) => return Ok(Contestado::NoEsta),
            (Err(FalloPar::Ocupado), _) => return Ok(Contestado::Ocupado),
            (Err(fallo @ FalloPar::AunNo), _) => {
                return Ok(Contestado::Rechaza(fallo.to_string()));
            }
            (Err(FalloPar::Rechaza(motivo)), _) => return Ok(Contestado::Rechaza(motivo)),
            (Err(fallo), _) => return Err(fallo),
        };
        let pedidos = peticion.bytes;
        if anunciados > pedidos {
            let que = format!("se le pidieron {pedidos} bytes y anuncia {anunciados}");
            return Err(FalloPar::Miente(que));
        }
        // No son más que los pedidos, que son un bloque como mucho.
        datos.resize(anunciados as usize, 0);
        let mut leidos = 0;
        while leidos < datos.len() {
            match conexion.leer_datos(&mut datos[leidos..], plazo)? {
                0 => return Err(FalloPar::Red(FalloRed::Cortada)),
                cuantos => leidos += cuantos,
            }
            mirar(leidos as u64)?;
        }
        Ok(Contestado::Datos(datos))
    }

    fn abierta(&mut self) -> Result<&mut Conexion, FalloPar> {
        if self.conexion.is_none() {
            let (a, limites) = (self.direccion, self.limites);
            let nueva = Conexion::conectar(a, limites.conectar, limites, self.parada)?;
            let apuntada = self.parada.apuntar(nueva.socket(), Trato::Sigue);
            self.conexion = Some((nueva, apuntada));
        }
        let abierta = self.conexion.as_mut().expect("se acaba de abrir");
        Ok(&mut abierta.0)
    }
}
