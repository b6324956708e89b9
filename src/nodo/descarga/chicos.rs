//! Archivos de un solo bloque, muchos y de varias fuentes: el reparto, y el hilo de cada fuente.
//!
//! De uno de estos ya se sabe todo por `LISTAR`: lo que mide y su huella, que es también la de su
//! único bloque. Basta un `OBTENER`, y se comprueba al llegar. Cada fuente toma del reparto los que
//! ella tiene; si se va o miente, los suyos quedan para las demás. De los que nadie pueda dar así
//! se encarga quien dirige (`varios.rs`). No da nombres finales: eso también es suyo.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use crate::fallo::Fallo;
use crate::nodo::carpeta::a_medias::{AMedias, Rincon};
use crate::nodo::carpeta::huella::huella_de_bloque;
use crate::nodo::carpeta::nombres::NombreRecibible;
use crate::nodo::descarga::catalogo::Elegido;
use crate::nodo::descarga::pedido::Pedido;
use crate::nodo::descarga::seguidas::{Cliente, Contestado, Peticion, Seguidas};
use crate::nodo::palabras::pedir::{FalloPar, no_es_respuesta};
use crate::nodo::palabras::protocolo::{Info, Palabra};
use crate::red::parada::cerrojo;

/// Un archivo que otra fuente lleva este rato sin dar, lo pide también una que no tiene más que
/// hacer.
const SE_REPITE: Duration = Duration::from_secs(5);
/// Los que llegan se cuentan de tantos en tantos: despertar a quien dirige por cada uno cuesta más
/// que guardarlo.
const DE_UNA_VEZ: usize = 32;
/// Lo que se espera a pedir más a quien dijo que ahora no puede.
const OCUPADO: Duration = Duration::from_millis(200);

/// Un archivo que falta, y con qué nombre se guarda.
pub struct Chico {
    /// Cuál.
    pub elegido: Elegido,
    /// Con qué nombre se guarda.
    pub nombre: NombreRecibible,
}

/// Lo que se cuenta a quien dirige.
pub enum DeLosChicos {
    /// Llegaron buenos y están escritos, sin asegurar.
    Llegaron(Vec<(usize, AMedias)>),
    /// No se puede guardar.
    NoSeGuarda(usize, Fallo),
    /// Ninguna fuente lo da así. Verdadero si alguna sigue ahí y dará otra cosa.
    NadieLoDa(usize, bool, String),
    /// Una fuente no sirve más.
    Retirada(u16, FalloPar),
}

impl DeLosChicos {
    /// De cuántos archivos ya no hay que esperar nada.
    pub fn cuantos(&self) -> usize {
        match self {
            DeLosChicos::Llegaron(llegados) => llegados.len(),
            DeLosChicos::NoSeGuarda(..) | DeLosChicos::NadieLoDa(..) => 1,
            DeLosChicos::Retirada(..) => 0,
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Caso {
    Falta,
    EnVuelo(Instant, u16),
    Hecho,
}

/// Lo que hace una fuente en el reparto.
#[derive(Clone, Copy, PartialEq)]
pub enum Empleo {
    /// Da archivos.
    Da,
    /// Los tiene, y no se le piden así.
    Aparte,
    /// Ya no sirve.
    Retirada,
}

struct Estado {
    casos: Vec<Caso>,
    faltan: usize,
    /// Los que volvieron: se miran antes que los demás.
    devueltos: Vec<usize>,
    /// Por dónde va cada fuente.
    siguientes: Vec<usize>,
    /// Qué hace cada una.
    fuentes: Vec<Empleo>,
    /// Quién dijo que no a cuál.
    negados: HashSet<(usize, u16)>,
}

/// Los archivos que faltan, repartidos entre las fuentes.
pub struct PorRepartir<'a> {
    chicos: &'a [Chico],
    estado: Mutex<Estado>,
    cambio: Condvar,
    /// Los de cada fuente que llegaron y aún no se contaron.
    llegados: Vec<Mutex<Vec<(usize, AMedias)>>>,
}

impl<'a> PorRepartir<'a> {
    /// El de esos, entre esas fuentes.
    pub fn nuevo(chicos: &'a [Chico], fuentes: Vec<Empleo>) -> PorRepartir<'a> {
        PorRepartir {
            chicos,
            llegados: fuentes.iter().map(|_| Mutex::default()).collect(),
            estado: Mutex::new(Estado {
                casos: vec![Caso::Falta; chicos.len()],
                faltan: chicos.len(),
                devueltos: Vec::new(),
                siguientes: vec![0; fuentes.len()],
                fuentes,
                negados: HashSet::new(),
            }),
            cambio: Condvar::new(),
        }
    }

    /// Los que llegaron de esa fuente y aún no se contaron.
    pub fn recoger(&self, fuente: usize) -> Vec<(usize, AMedias)> {
        std::mem::take(&mut cerrojo(&self.llegados[fuente]))
    }

    /// Los que llegaron de todas y aún no se contaron.
    pub fn recoger_todos(&self) -> Vec<(usize, AMedias)> {
        let fuentes = 0..self.llegados.len();
        fuentes.flat_map(|fuente| self.recoger(fuente)).collect()
    }

    /// Guarda uno sin contarlo. Verdadero si ya toca contarlos.
    fn dejar(&self, fuente: u16, llegado: (usize, AMedias)) -> bool {
        let mut llegados = cerrojo(&self.llegados[usize::from(fuente)]);
        llegados.push(llegado);
        llegados.len() >= DE_UNA_VEZ || cerrojo(&self.estado).faltan == 0
    }

    /// Que nadie tome más.
    pub fn cerrar(&self) {
        cerrojo(&self.estado).faltan = 0;
        self.cambio.notify_all();
    }

    /// El siguiente que puede dar esa fuente. Con `esperar`, si ahora no hay se espera a que lo
    /// haya; `None` es que ya no lo habrá.
    fn tomar(&self, fuente: u16, esperar: bool, no_antes: Instant) -> Option<usize> {
        let mut estado = cerrojo(&self.estado);
        while estado.faltan > 0 {
            let ahora = Instant::now();
            let espera = no_antes.saturating_duration_since(ahora);
            if espera.is_zero()
                && let Some(cual) = estado.tomar(self.chicos, fuente, esperar, ahora)
            {
                return Some(cual);
            }
            if !esperar {
                return None;
            }
            let espera = if espera.is_zero() { SE_REPITE } else { espera };
            let esperado = self.cambio.wait_timeout(estado, espera);
            (estado, _) = esperado.unwrap_or_else(PoisonError::into_inner);
        }
        None
    }

    /// Llegó bueno. Falso si ya había llegado de otra.
    fn hecho(&self, cual: usize) -> bool {
        cerrojo(&self.estado).acabar(cual, &self.cambio)
    }

    fn devolver(&self, cual: usize, fuente: u16) {
        let mut estado = cerrojo(&self.estado);
        if matches!(estado.casos[cual], Caso::EnVuelo(_, quien) if quien == fuente) {
            estado.casos[cual] = Caso::Falta;
            estado.devueltos.push(cual);
            self.cambio.notify_all();
        }
    }

    /// Esa fuente no da ese archivo. Verdadero si ya nadie lo da, y entonces se da por perdido.
    fn negar(&self, cual: usize, fuente: u16) -> bool {
        self.devolver(cual, fuente);
        let mut estado = cerrojo(&self.estado);
        estado.negados.insert((cual, fuente));
        let alguien = estado.queda_quien(self.chicos, cual);
        !alguien && estado.acabar(cual, &self.cambio)
    }

    /// Esa fuente no da nada más, y ya devolvió lo suyo. Los que se quedan sin nadie, y si alguno
    /// que lo tenía sigue ahí.
    pub fn retirar(&self, fuente: u16) -> Vec<(usize, bool)> {
        let mut estado = cerrojo(&self.estado);
        estado.fuentes[usize::from(fuente)] = Empleo::Retirada;
        let suyos = |n: &usize| self.chicos[*n].elegido.fuentes.contains(&fuente);
        let mut perdidos = Vec::new();
        for cual in (0..self.chicos.len()).filter(suyos) {
            if !estado.queda_quien(self.chicos, cual) && estado.acabar(cual, &self.cambio) {
                let vive = |f: &u16| estado.fuentes[usize::from(*f)] != Empleo::Retirada;
                let alguna = self.chicos[cual].elegido.fuentes.iter().any(vive);
                perdidos.push((cual, alguna));
            }
        }
        self.cambio.notify_all();
        perdidos
    }
}

impl Estado {
    fn tomar(
        &mut self,
        chicos: &[Chico],
        fuente: u16,
        nada_en_vuelo: bool,
        ahora: Instant,
    ) -> Option<usize> {
        let cual = self
            .un_devuelto(chicos, fuente)
            .or_else(|| self.uno_sin_pedir(chicos, fuente))
            .or_else(|| {
                self.uno_que_tarda(chicos, fuente, ahora)
                    .filter(|_| nada_en_vuelo)
            })?;
        self.casos[cual] = Caso::EnVuelo(ahora, fuente);
        Some(cual)
    }

    fn puede(&self, chicos: &[Chico], cual: usize, fuente: u16) -> bool {
        chicos[cual].elegido.fuentes.contains(&fuente)
            && (self.negados.is_empty() || !self.negados.contains(&(cual, fuente)))
    }

    fn un_devuelto(&mut self, chicos: &[Chico], fuente: u16) -> Option<usize> {
        let donde = self
            .devueltos
            .iter()
            .position(|cual| self.puede(chicos, *cual, fuente))?;
        let cual = self.devueltos.swap_remove(donde);
        (self.casos[cual] == Caso::Falta).then_some(cual)
    }

    fn uno_sin_pedir(&mut self, chicos: &[Chico], fuente: u16) -> Option<usize> {
        let desde = self.siguientes[usize::from(fuente)];
        let libre =
            |cual: &usize| self.casos[*cual] == Caso::Falta && self.puede(chicos, *cual, fuente);
        let cual = (desde..chicos.len()).find(libre);
        self.siguientes[usize::from(fuente)] = cual.map_or(chicos.len(), |cual| cual + 1);
        cual
    }

    fn uno_que_tarda(&self, chicos: &[Chico], fuente: u16, ahora: Instant) -> Option<usize> {
        (0..chicos.len()).find(|cual| match self.casos[*cual] {
            Caso::EnVuelo(desde, quien) => {
                quien != fuente
                    && ahora.saturating_duration_since(desde) >= SE_REPITE
                    && self.puede(chicos, *cual, fuente)
            }
            _ => false,
        })
    }

    fn queda_quien(&self, chicos: &[Chico], cual: usize) -> bool {
        let sirve = |fuente: &u16| {
            self.fuentes[usize::from(*fuente)] == Empleo::Da
                && !self.negados.contains(&(cual, *fuente))
        };
        chicos[cual].elegido.fuentes.iter().any(sirve)
    }

    fn acabar(&mut self, cual: usize, cambio: &Condvar) -> bool {
        if self.casos[cual] == Caso::Hecho {
            return false;
        }
        self.casos[cual] = Caso::Hecho;
        self.faltan = self.faltan.saturating_sub(1);
        if self.faltan == 0 {
            cambio.notify_all();
        }
        true
    }
}

/// El hilo de una fuente.
pub struct DeUna<'a> {
    /// Su lugar en la lista.
    lugar: u16,
    reparto: &'a PorRepartir<'a>,
    /// A dónde va. De él no se usa el nombre.
    pedido: &'a Pedido<'a>,
    partes: Sender<DeLosChicos>,
    /// La subcarpeta en que se guardó el último.
    rincon: Option<Rincon>,
    /// Llegaron y no son lo que dijo: se le pregunta qué son.
    dudosos: Vec<usize>,
    /// Hasta cuándo no se le pide nada.
    no_antes: Instant,
}

impl<'a> DeUna<'a> {
    /// El de la que está en ese lugar.
    pub fn nueva(
        lugar: u16,
        reparto: &'a PorRepartir<'a>,
        pedido: &'a Pedido<'a>,
        partes: Sender<DeLosChicos>,
    ) -> DeUna<'a> {
        DeUna {
            lugar,
            reparto,
            pedido,
            partes,
            rincon: None,
            dudosos: Vec::new(),
            no_antes: Instant::now(),
        }
    }

    /// Baja de ella lo que pueda y, si no sirve más, lo cuenta.
    pub fn atender(mut self, linea: &mut Seguidas) {
        let fin = linea.hacer(&mut self);
        self.contar_los_que_llegaron();
        let Err(fallo) = fin else {
            return;
        };
        let motivo = format!("{}: {fallo}", linea.direccion);
        let perdidos = self.reparto.retirar(self.lugar);
        self.decir(DeLosChicos::Retirada(self.lugar, fallo));
        for (cual, vive) in perdidos {
            self.decir(DeLosChicos::NadieLoDa(cual, vive, motivo.clone()));
        }
    }

    fn decir(&self, parte: DeLosChicos) {
        // Falla si quien dirige ya terminó: no hay a quién decírselo.
        let _ = self.partes.send(parte);
    }

    fn negar(&self, cual: usize, motivo: &str) {
        if self.reparto.negar(cual, self.lugar) {
            self.decir(DeLosChicos::NadieLoDa(cual, true, motivo.to_string()));
        }
    }

    /// Lo escribe en su archivo a medias.
    fn guardar(&mut self, cual: usize, datos: &[u8]) -> Result<AMedias, Fallo> {
        let (nombre, carpeta) = (&self.reparto.chicos[cual].nombre, self.pedido.carpeta);
        let rincon = match self.rincon.take() {
            Some(mismo) if mismo.es_el_de(nombre) => mismo,
            _ => carpeta.rincon(nombre)?,
        };
        let a_medias = carpeta.empezar_en(&rincon, nombre, true);
        self.rincon = Some(rincon);
        let a_medias = a_medias?;
        a_medias.escribir_en(0, datos)?;
        a_medias.rematar(datos.len() as u64)?;
        Ok(a_medias)
    }

    fn llego(&mut self, cual: usize, datos: &[u8]) {
        let contenido = self.reparto.chicos[cual].elegido.contenido;
        let tamano = datos.len() as u64;
        if tamano != contenido.tamano || huella_de_bloque(tamano, 0, datos) != contenido.huella {
            return self.dudosos.push(cual);
        }
        if !self.reparto.hecho(cual) {
            return;
        }
        self.pedido.progreso.sumar(tamano);
        match self.guardar(cual, datos) {
            Ok(a_medias) => {
                if self.reparto.dejar(self.lugar, (cual, a_medias)) {
                    self.contar_los_que_llegaron();
                }
            }
            Err(fallo) => self.decir(DeLosChicos::NoSeGuarda(cual, fallo)),
        }
    }

    fn contar_los_que_llegaron(&self) {
        let llegados = self.reparto.recoger(usize::from(self.lugar));
        if !llegados.is_empty() {
            self.decir(DeLosChicos::Llegaron(llegados));
        }
    }

    /// Mandó otra cosa: si dice tener lo que dijo, miente; si no, es que cambió.
    fn aclarar(&self, cual: usize, info: Info) -> Result<(), FalloPar> {
        let Elegido {
            nombre, contenido, ..
        } = &self.reparto.chicos[cual].elegido;
        if (info.tamano, info.huella) == (contenido.tamano, Some(contenido.huella)) {
            return Err(FalloPar::Miente(format!("mandó {nombre} falso")));
        }
        self.negar(cual, "cambió mientras se bajaba");
        Ok(())
    }
}

impl Cliente for DeUna<'_> {
    fn siguiente(&mut self, nada_en_vuelo: bool) -> Option<Peticion> {
        if let Some(cual) = self.dudosos.pop() {
            let nombre = self.reparto.chicos[cual].elegido.nombre.clone();
            return Some(Peticion {
                cual,
                palabra: Palabra::Info(nombre),
                bytes: 0,
            });
        }
        if nada_en_vuelo {
            self.contar_los_que_llegaron();
        }
        let cual = self
            .reparto
            .tomar(self.lugar, nada_en_vuelo, self.no_antes)?;
        let Elegido {
            nombre, contenido, ..
        } = &self.reparto.chicos[cual].elegido;
        Some(Peticion {
            cual,
            palabra: Palabra::Obtener {
                desde: 0,
                longitud: contenido.tamano,
                nombre: nombre.clone(),
            },
            bytes: contenido.tamano,
        })
    }

    fn llega(&mut self, peticion: &Peticion, que: Contestado) -> Result<(), FalloPar> {
        let cual = peticion.cual;
        match que {
            Contestado::Datos(datos) => self.llego(cual, datos),
            Contestado::Info(info) => self.aclarar(cual, info)?,
            Contestado::NoEsta => self.negar(cual, "ya no está"),
            Contestado::Ocupado => {
                self.no_antes = Instant::now() + OCUPADO;
                self.reparto.devolver(cual, self.lugar);
            }
            Contestado::Rechaza(motivo) => self.negar(cual, &motivo),
        }
        Ok(())
    }

    fn no_llego(&mut self, peticion: &Peticion) {
        self.reparto.devolver(peticion.cual, self.lugar);
    }
}

/// Pregunta la huella de varios a quien los tiene.
pub struct Preguntador<'a, T> {
    /// De cuáles, y con qué nombre.
    pub nombres: Vec<(T, &'a str)>,
    /// Por dónde va.
    pub siguiente: usize,
    /// Hasta cuándo se pregunta.
    pub hasta: Instant,
    /// Lo que contestó; `None` si ya no lo tiene.
    pub contestado: Vec<(T, Option<Info>)>,
}

impl<T: Copy> Cliente for Preguntador<'_, T> {
    fn siguiente(&mut self, _: bool) -> Option<Peticion> {
        let cual = self.siguiente;
        let (_, nombre) = self.nombres.get(cual)?;
        self.siguiente += 1;
        Some(Peticion {
            cual,
            palabra: Palabra::Info(nombre.to_string()),
            bytes: 0,
        })
    }

    fn llega(&mut self, peticion: &Peticion, que: Contestado) -> Result<(), FalloPar> {
        let (de, _) = self.nombres[peticion.cual];
        if Instant::now() > self.hasta {
            return Err(FalloPar::Calculando);
        }
        match que {
            Contestado::Info(info) => self.contestado.push((de, Some(info))),
            Contestado::NoEsta | Contestado::Ocupado | Contestado::Rechaza(_) => {
                self.contestado.push((de, None));
            }
            Contestado::Datos(_) => return Err(no_es_respuesta()),
        }
        Ok(())
    }

    fn no_llego(&mut self, peticion: &Peticion) {
        // Las que faltaban son las últimas, y la conexión se abre otra vez.
        self.siguiente = self.siguiente.min(peticion.cual);
    }
}
