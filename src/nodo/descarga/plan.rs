//! El plan de una descarga: qué bloques tiene el archivo, cuáles faltan y dónde se guardan.
//!
//! Reanudar no necesita apuntes: se comprueba cada bloque de lo que quedó en el `.part`, que no se
//! toca hasta que llega uno bueno: quien anuncia un archivo y no da nada no estropea lo que había.
//! No habla con nadie por la red.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crate::consola::progreso::Fase;
use crate::fallo::Fallo;
use crate::nodo::carpeta::a_medias::AMedias;
use crate::nodo::carpeta::en_curso::{ALaVista, Parcial};
use crate::nodo::carpeta::huella::{BLOQUE, Huella, Resumen, cuantos_bloques, longitud_de_bloque};
use crate::nodo::carpeta::huellas::{LECTURA, leer_bloque};
use crate::nodo::carpeta::nombres::NombreRecibible;
use crate::nodo::carpeta::{Abierto, Carpeta, Sello};
use crate::nodo::descarga::bandeja::Bandejas;
use crate::nodo::descarga::cola::Cola;
use crate::nodo::descarga::pedido::{Descargado, NoDescargado, Pedido};
use crate::texto::cuenta;

/// Lo que distingue dos archivos con el mismo nombre.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Contenido {
    /// Bytes.
    pub tamano: u64,
    /// La huella del archivo.
    pub huella: Huella,
}

/// Dónde se guarda: el archivo a medias, con su cerrojo. Si se cambia de plan es el mismo.
pub struct Destino {
    /// Con qué nombre.
    pub nombre: NombreRecibible,
    /// ¿Lo ofreció otro? Entonces el cerrojo se echa cuando dé un bloque bueno, y no antes: ofrecer
    /// un archivo no le impide a su dueño bajarlo.
    invitado: bool,
    archivo: OnceLock<AMedias>,
}

impl Destino {
    /// Donde se guardará lo que se pide como `nombre`.
    pub fn nuevo(nombre: &str, invitado: bool) -> Result<Destino, Fallo> {
        let que = |malo| Fallo::nuevo(format!("no se puede guardar «{nombre}»: {malo}"));
        Ok(Destino {
            nombre: NombreRecibible::nuevo(nombre).map_err(que)?,
            invitado,
            archivo: OnceLock::new(),
        })
    }

    /// El archivo a medias, y si se acaba de abrir. Lo abre quien dirige antes de que haya más
    /// hilos o, con un invitado, su única conexión.
    fn archivo(&self, carpeta: &Carpeta) -> Result<(&AMedias, bool), Fallo> {
        if let Some(abierto) = self.archivo.get() {
            return Ok((abierto, false));
        }
        let nuevo = carpeta.empezar_a_recibir(&self.nombre)?;
        Ok((self.archivo.get_or_init(|| nuevo), true))
    }

    /// Lo que quedó de otra vez.
    fn lo_que_habia(&self, carpeta: &Carpeta) -> Option<Abierto> {
        match self.archivo.get() {
            // En Windows, con el cerrojo echado no se puede leer de otra manera.
            Some(nuestro) => nuestro.abierto().ok(),
            None => carpeta.lo_que_quedo(&self.nombre),
        }
    }
}

/// Lo que hay que bajar, compartido por todas las fuentes.
pub struct Plan<'a> {
    /// El archivo que se baja.
    pub contenido: Contenido,
    /// Los bloques que faltan.
    pub cola: Cola,
    /// Dónde se reciben.
    pub bandejas: Bandejas,
    pedido: &'a Pedido<'a>,
    destino: &'a Destino,
    /// La huella de cada bloque, desde que alguna fuente da la lista.
    lista: OnceLock<Arc<Resumen>>,
    /// Lo que ya está bien, a la vista de quien lo pida.
    a_la_vista: OnceLock<ALaVista<'a>>,
    /// Lo que quedó de otra vez, desde que se comprueba.
    habia: OnceLock<Habia>,
    /// Bytes buenos que dio cada fuente.
    dados: Vec<AtomicU64>,
}

/// Lo que quedó de otra vez.
struct Habia {
    /// Los bloques que estaban bien.
    buenos: Vec<u64>,
    /// En qué estado estaba, si había algo.
    sello: Option<Sello>,
    /// Cuándo se acabó de comprobar.
    visto: Instant,
}

impl<'a> Plan<'a> {
    /// El plan de bajar ese archivo. `fuentes` es cuántas podrían dar bloques.
    pub fn nuevo(
        contenido: Contenido,
        pedido: &'a Pedido<'a>,
        destino: &'a Destino,
        fuentes: usize,
    ) -> Result<Plan<'a>, NoDescargado> {
        if !destino.invitado {
            destino.archivo(pedido.carpeta)?;
        }
        Ok(Plan {
            contenido,
            cola: Cola::nueva(cuantos_bloques(contenido.tamano), destino.invitado),
            bandejas: Bandejas::nuevas(),
            pedido,
            destino,
            lista: OnceLock::new(),
            a_la_vista: OnceLock::new(),
            habia: OnceLock::new(),
            dados: (0..fuentes).map(|_| AtomicU64::new(0)).collect(),
        })
    }

    /// La huella de cada bloque, si ya se saben.
    pub fn lista(&self) -> Option<&[Huella]> {
        self.lista.get().map(|resumen| resumen.bloques.as_slice())
    }

    /// Con la lista de bloques, que ya se sabe que suma la huella, se comprueba lo que quedó de
    /// otra vez, mientras `sigue`. Verdadero si ya está todo. La segunda lista no hace falta.
    pub fn empezar(&self, lista: Vec<Huella>, sigue: &mut dyn FnMut() -> bool) -> bool {
        let resumen = Resumen {
            huella: self.contenido.huella,
            bloques: lista,
        };
        if self.lista.set(Arc::new(resumen)).is_err() {
            return false;
        }
        let (progreso, tamano) = (self.pedido.progreso, self.contenido.tamano);
        let todos = 0..cuantos_bloques(tamano);
        let habia = self.destino.lo_que_habia(self.pedido.carpeta);
        let separados = match habia.as_ref().filter(|habia| habia.tamano > 0) {
            Some(habia) => {
                progreso.empezar(Fase::Comprobando, habia.tamano.min(tamano), 0);
                self.comprobar(habia, todos, sigue)
            }
            None => Some((Vec::new(), todos.collect())),
        };
        let Some((buenos, malos)) = separados else {
            return false;
        };
        let hechos = buenos.iter().map(|b| longitud_de_bloque(tamano, *b)).sum();
        progreso.empezar(Fase::Pasando, tamano, hechos);
        if habia.as_ref().is_some_and(|habia| habia.tamano > 0) {
            self.decir_que_se_reanuda(buenos.len(), malos.len());
        }
        let habia = Habia {
            buenos,
            sello: habia.map(|habia| habia.sello),
            visto: Instant::now(),
        };
        let buenos = &self.habia.get_or_init(|| habia).buenos;
        if let Some(archivo) = self.destino.archivo.get() {
            self.ensenar(archivo, buenos);
        }
        self.cola.empezar(buenos, malos) == 0
    }

    /// Desde ahora otros pueden pedir lo que ya está bien. Si no se puede (no quedan descriptores),
    /// se baja igual.
    fn ensenar(&self, archivo: &AMedias, buenos: &[u64]) -> Option<&ALaVista<'a>> {
        if self.a_la_vista.get().is_none() {
            let abierto = Abierto {
                tamano: self.contenido.tamano,
                ..archivo.abierto().ok()?
            };
            let (nombre, resumen) = (self.destino.nombre.to_string(), self.lista.get()?);
            let parcial = Parcial::nuevo(nombre, abierto, Arc::clone(resumen), buenos);
            let nuevo = self.pedido.carpeta.en_curso.ensenar(parcial);
            return Some(self.a_la_vista.get_or_init(|| nuevo));
        }
        self.a_la_vista.get()
    }

    /// Lo que hay a medias va a ser otra cosa: que nadie lo tome por esta.
    pub fn esconder(&self) {
        if let Some(a_la_vista) = self.a_la_vista.get() {
            a_la_vista.olvidar();
        }
    }

    fn decir_que_se_reanuda(&self, buenos: usize, faltan: usize) {
        (self.pedido.avisar)(format!(
            "[REANUDANDO] {}: de lo que había, {} de {} están bien; por bajar: {}",
            self.pedido.nombre,
            cuenta(buenos, "bloque", "bloques"),
            buenos + faltan,
            cuenta(faltan, "bloque", "bloques"),
        ));
    }

    /// Separa esos bloques en los que están bien en lo que había y los que no. `None` si se dejó.
    fn comprobar(
        &self,
        habia: &Abierto,
        cuales: impl Iterator<Item = u64>,
        sigue: &mut dyn FnMut() -> bool,
    ) -> Option<(Vec<u64>, Vec<u64>)> {
        let (lista, tamano) = (self.lista()?, self.contenido.tamano);
        // Si hay más bloques que los de este archivo, puede ser el principio de otro: no se recorta
        // sin que la fuente dé al menos uno.
        let es_de_otro = cuantos_bloques(habia.tamano) > lista.len() as u64;
        let mut bufer = vec![0; LECTURA];
        let (mut buenos, mut malos) = (Vec::new(), Vec::new());
        for bloque in cuales {
            if self.pedido.parada.avisada() || self.cola.cerrada() || !sigue() {
                return None;
            }
            let huella = leer_bloque(&habia.archivo, tamano, bloque, &mut bufer);
            let esta = huella.is_ok_and(|huella| huella == lista[bloque as usize]);
            let hay_que_pedirlo = tamano == 0 || (es_de_otro && bloque + 1 == lista.len() as u64);
            let separado = match esta && !hay_que_pedirlo {
                true => &mut buenos,
                false => &mut malos,
            };
            separado.push(bloque);
            let largo = longitud_de_bloque(tamano, bloque);
            self.pedido.progreso.sumar(largo);
        }
        Some((buenos, malos))
    }

    /// Guarda un bloque ya comprobado, si otra fuente no se adelantó. Verdadero si con él está
    /// todo.
    pub fn guardar(&self, fuente: usize, bloque: u64, datos: &[u8]) -> Result<bool, NoDescargado> {
        if !self.cola.empezar_a_guardar(bloque) {
            return Ok(false);
        }
        let archivo = self.archivo()?;
        archivo.escribir_en(bloque * BLOQUE, datos)?;
        if let Some(a_la_vista) = self.ensenar(archivo, &[]) {
            a_la_vista.anadir(bloque);
        }
        let bytes = datos.len() as u64;
        self.pedido.progreso.sumar(bytes);
        // Un archivo vacío también lo da alguien: cuenta como uno.
        self.dados[fuente].fetch_add(bytes.max(1), Ordering::Relaxed);
        Ok(self.cola.guardado() == 0)
    }

    /// Bytes buenos que dio esa fuente.
    pub fn dados(&self, fuente: usize) -> u64 {
        self.dados[fuente].load(Ordering::Relaxed)
    }

    /// El archivo a medias. Si se abre ahora (con un invitado, que baja por una sola conexión) y
    /// otro lo tocó desde que se miró, lo que había se comprueba otra vez.
    fn archivo(&self) -> Result<&AMedias, NoDescargado> {
        let (archivo, recien_abierto) = self.destino.archivo(self.pedido.carpeta)?;
        if let Some(habia) = self.habia.get().filter(|_| recien_abierto) {
            let ahora = archivo.abierto()?;
            if habia.sello != Some(ahora.sello) {
                let buenos = habia.buenos.iter().copied();
                let separados = self.comprobar(&ahora, buenos, &mut || true);
                let (_, malos) = separados.ok_or(NoDescargado::Cancelado)?;
                self.cola.anadir(malos);
            }
        }
        Ok(archivo)
    }

    /// Está todo: le da su nombre. `None` si, al echarle el cerrojo, resulta que aún falta algo.
    pub fn terminar(&self, empezo: Instant) -> Result<Option<Descargado>, NoDescargado> {
        let bajando = self.habia.get().map(|habia| habia.visto.elapsed());
        let archivo = self.archivo()?;
        if self.cola.faltan() > 0 {
            return Ok(None);
        }
        let Contenido { tamano, huella } = self.contenido;
        let (nombre, ya_estaba) =
            dar_nombre(archivo, &self.destino.nombre, self.contenido, self.pedido)?;
        if let (Some(a_la_vista), Ok(entero)) = (self.a_la_vista.get(), archivo.abierto())
            && !ya_estaba
        {
            a_la_vista.acabar(&nombre, entero.sello);
        }
        let dados = self.dados.iter().map(|dados| dados.load(Ordering::Relaxed));
        let dados: Vec<u64> = dados.filter(|bytes| *bytes > 0).collect();
        Ok(Some(Descargado {
            nombre,
            tamano,
            bajados: dados.iter().sum::<u64>().min(tamano),
            bajando: bajando.unwrap_or_default(),
            tiempo: empezo.elapsed(),
            fuentes: dados.len(),
            huella,
            comprobado: true,
            ya_estaba,
        }))
    }
}

/// El nombre de un archivo que ya se tiene con ese contenido, si lo hay.
pub fn ya_se_tiene(
    nombre: &NombreRecibible,
    Contenido { tamano, huella }: Contenido,
    pedido: &Pedido,
) -> Result<Option<String>, NoDescargado> {
    let carpeta = pedido.carpeta;
    let ya = carpeta.copia_igual(nombre, tamano, huella, pedido.parada);
    match pedido.parada.avisada() {
        true => Err(NoDescargado::Cancelado),
        false => Ok(ya),
    }
}

/// Lo asegura en el disco y le da su nombre, salvo que ya se tuviera. Con cuál quedó, y si se
/// tenía.
pub fn dar_nombre(
    archivo: &AMedias,
    nombre: &NombreRecibible,
    contenido: Contenido,
    pedido: &Pedido,
) -> Result<(String, bool), NoDescargado> {
    let tamano = contenido.tamano;
    pedido.progreso.empezar(Fase::Guardando, tamano, tamano);
    // Otra descarga pudo acabarlo mientras esta empezaba.
    if let Some(ya) = ya_se_tiene(nombre, contenido, pedido)? {
        archivo.descartar();
        return Ok((ya, true));
    }
    Ok((archivo.terminar(tamano)?, false))
}
