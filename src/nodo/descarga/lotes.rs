//! Los archivos de un solo bloque, cuando llegan: asegurarlos en el disco y darles nombre, por
//! lotes.
//!
//! Asegurar es lo que más cuesta de un archivo pequeño: mil veces son segundos; una, décimas. Por
//! eso se juntan, y ninguno toma su nombre hasta que está asegurado: un apagón no deja uno a medias
//! con el nombre bueno. Es parte de quien dirige (`varios.rs`). No habla con nadie.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded, select};

use crate::nodo::carpeta::a_medias::AMedias;
use crate::nodo::descarga::catalogo::{Elegido, fuentes_que_hacen_falta};
use crate::nodo::descarga::chicos::{Chico, DeLosChicos, DeUna, Empleo, PorRepartir};
use crate::nodo::descarga::pedido::NoDescargado;
use crate::nodo::descarga::plan::ya_se_tiene;
use crate::nodo::descarga::seguidas::Seguidas;
use crate::nodo::descarga::varios::{Lineas, Varios};
use crate::red::hilos::arrancar_en;
use crate::red::maquina::conexiones_posibles;

/// Archivos que se aseguran en el disco de una vez, si los descriptores alcanzan. Mientras se
/// aseguran unos se reciben los siguientes: con lotes de 1024, bajar mil tarda hasta el doble.
const LOTE: usize = 256;
/// Partes que caben sin que nadie los lea: lo que llega mientras se asegura un lote.
const PARTES: usize = 8;
/// Bytes de un lote, para que ninguno espere demasiado.
const BYTES_DE_UN_LOTE: u64 = 64 << 20;
/// Sin que llegue otro en este rato, el lote se asegura como esté.
const REPOSO: Duration = Duration::from_millis(250);
/// Fuentes de las que se baja a la vez, salvo que hagan falta más.
const FUENTES: usize = 16;

impl<'s> Varios<'s> {
    /// Los baja, de todas las fuentes a la vez. Devuelve los que hay que bajar de otra manera.
    pub(super) fn los_chicos(
        &mut self,
        chicos: Vec<Chico>,
        lineas: Lineas<'s>,
    ) -> Result<Vec<Elegido>, NoDescargado> {
        let sirven = |fuente: u16| lineas[usize::from(fuente)].is_some();
        let fuentes = fuentes_que_hacen_falta(chicos.iter().map(|c| &c.elegido), FUENTES, sirven);
        let papel = |lugar| match fuentes.contains(&lugar) {
            true => Empleo::Da,
            false => Empleo::Aparte,
        };
        let da = |chico: &Chico| chico.elegido.fuentes.iter().any(|f| fuentes.contains(f));
        let (chicos, otros): (Vec<_>, Vec<_>) = chicos.into_iter().partition(da);
        let mut otros: Vec<Elegido> = otros.into_iter().map(|chico| chico.elegido).collect();
        let reparto = PorRepartir::nuevo(&chicos, (0..).map(papel).take(lineas.len()).collect());
        let lineas = (0..)
            .zip(lineas)
            .filter(|(lugar, _)| fuentes.contains(lugar));
        let perdidos = self.repartir(&chicos, &reparto, lineas)?;
        drop(reparto);
        let mut chicos: Vec<Option<Chico>> = chicos.into_iter().map(Some).collect();
        let perdidos = perdidos.into_iter().filter_map(|cual| chicos[cual].take());
        otros.extend(perdidos.map(|chico| chico.elegido));
        Ok(otros)
    }

    /// Pone un hilo por fuente, y no vuelve con ninguno vivo. Los que no se pudo así.
    fn repartir(
        &mut self,
        chicos: &[Chico],
        reparto: &PorRepartir,
        lineas: impl Iterator<Item = (u16, Option<Mutex<Seguidas<'s>>>)>,
    ) -> Result<Vec<usize>, NoDescargado> {
        let tope = conexiones_posibles(2 * LOTE).div_ceil(2);
        let (dar_parte, partes) = bounded(PARTES);
        let pedido = self.pedido;
        thread::scope(|ambito| {
            let (mut vivas, mut perdidos) = (0, Vec::new());
            for (lugar, linea) in lineas {
                let Some(linea) = linea else { continue };
                let mut linea = linea.into_inner().unwrap_or_else(PoisonError::into_inner);
                let una = DeUna::nueva(lugar, reparto, pedido, dar_parte.clone());
                let vida = move || una.atender(&mut linea);
                match arrancar_en(ambito, &format!("fuente-{lugar}"), vida) {
                    Ok(_) => vivas += 1,
                    Err(fallo) => {
                        self.avisar(fallo.to_string());
                        perdidos.extend(reparto.retirar(lugar).into_iter().map(|(cual, _)| cual));
                    }
                }
            }
            drop(dar_parte);
            pedido.progreso.fuentes(vivas);
            let fin = self.dirigir((chicos, reparto), &partes, tope, &mut perdidos);
            // Que nadie siga: ni esperando una respuesta ni que alguien lea su parte.
            reparto.cerrar();
            self.sockets.cortar();
            drop(partes);
            fin.map(|()| perdidos)
        })
    }

    /// Atiende los partes hasta que estén todos. En `perdidos` quedan los que hay que bajar de otra
    /// manera.
    fn dirigir(
        &mut self,
        (chicos, reparto): (&[Chico], &PorRepartir),
        partes: &Receiver<DeLosChicos>,
        tope: usize,
        perdidos: &mut Vec<usize>,
    ) -> Result<(), NoDescargado> {
        let mut lote = SinAsegurar::default();
        let mut faltan = chicos.len() - perdidos.len();
        while faltan > 0 {
            select! {
                recv(partes) -> parte => match parte {
                    Ok(parte) => {
                        faltan -= parte.cuantos();
                        self.anotar(parte, chicos, &mut lote, perdidos);
                    }
                    // Ningún hilo vive.
                    Err(_) => break,
                },
                recv(self.pedido.parada.canal()) -> _ => {
                    // Lo que ya llegó está comprobado: se queda, también lo que se está
                    // escribiendo.
                    reparto.cerrar();
                    self.sockets.cortar();
                    let llegaron = |parte: &_| matches!(parte, DeLosChicos::Llegaron(..));
                    for parte in partes.iter().filter(llegaron) {
                        self.anotar(parte, chicos, &mut lote, perdidos);
                    }
                    self.asegurar(chicos, &mut lote)?;
                    return Err(NoDescargado::Cancelado);
                }
                default(REPOSO) => {
                    // Los de una fuente que se quedó callada antes de contarlos.
                    let callados = DeLosChicos::Llegaron(reparto.recoger_todos());
                    faltan -= callados.cuantos();
                    self.anotar(callados, chicos, &mut lote, perdidos);
                    self.asegurar(chicos, &mut lote)?;
                }
            }
            if lote.llegados.len() >= tope || lote.bytes >= BYTES_DE_UN_LOTE {
                self.asegurar(chicos, &mut lote)?;
            }
        }
        self.asegurar(chicos, &mut lote)
    }

    fn anotar(
        &mut self,
        parte: DeLosChicos,
        chicos: &[Chico],
        lote: &mut SinAsegurar,
        perdidos: &mut Vec<usize>,
    ) {
        let nombre = |cual: usize| &chicos[cual].elegido.nombre;
        match parte {
            DeLosChicos::Llegaron(llegados) => {
                let mide = |(cual, _): &(usize, AMedias)| chicos[*cual].elegido.contenido.tamano;
                lote.bytes += llegados.iter().map(mide).sum::<u64>();
                lote.llegados.extend(llegados);
            }
            DeLosChicos::NoSeGuarda(cual, fallo) => self.fallo(nombre(cual), &fallo.to_string()),
            DeLosChicos::NadieLoDa(cual, true, motivo) => {
                self.avisar(format!("{}: {motivo}; se vuelve a pedir", nombre(cual)));
                perdidos.push(cual);
            }
            DeLosChicos::NadieLoDa(cual, false, motivo) => {
                self.fallo(nombre(cual), &format!("no queda quien lo dé ({motivo})"));
            }
            DeLosChicos::Retirada(fuente, fallo) => self.decir_que_se_retira(fuente, &fallo),
        }
    }

    /// Asegura en el disco los del lote, de una vez, y cada uno toma su nombre.
    fn asegurar(&mut self, chicos: &[Chico], lote: &mut SinAsegurar) -> Result<(), NoDescargado> {
        let SinAsegurar { llegados, .. } = std::mem::take(lote);
        let archivos: Vec<&AMedias> = llegados.iter().map(|(_, archivo)| archivo).collect();
        if let Err(fallo) = AMedias::asegurar(&archivos) {
            for (cual, _) in &llegados {
                self.fallo(&chicos[*cual].elegido.nombre, &fallo.to_string());
            }
            return Ok(());
        }
        for (lugar, (cual, archivo)) in llegados.iter().enumerate() {
            let chico = &chicos[*cual];
            // La subcarpeta se mira una vez, con el último que se guarda en ella.
            let sub = |cual: usize| chicos[cual].nombre.partes().0;
            let siguiente = llegados.get(lugar + 1).map(|(otro, _)| sub(*otro));
            let es_el_ultimo = siguiente != Some(sub(*cual));
            match self.nombrar(chico, archivo, es_el_ultimo) {
                Ok((quedo, ya)) => {
                    let Elegido {
                        nombre, contenido, ..
                    } = &chico.elegido;
                    self.bajado(nombre, &quedo, contenido.tamano, ya);
                }
                Err(NoDescargado::Fallo(fallo)) => {
                    self.fallo(&chico.elegido.nombre, &fallo.to_string());
                }
                Err(otro) => return Err(otro),
            }
        }
        Ok(())
    }

    /// Con qué nombre quedó, y si ya se tenía.
    fn nombrar(
        &self,
        Chico { elegido, nombre }: &Chico,
        archivo: &AMedias,
        mirar_donde: bool,
    ) -> Result<(String, bool), NoDescargado> {
        if archivo.tomar_su_nombre()? {
            if mirar_donde {
                archivo.ver_que_sigue_ahi()?;
            }
            return Ok((nombre.to_string(), false));
        }
        // Hay otro: el de antes, que es distinto, o uno que llegó mientras tanto.
        if let Some(ya) = ya_se_tiene(nombre, elegido.contenido, self.pedido)? {
            archivo.descartar();
            return Ok((ya, true));
        }
        Ok((archivo.terminar(elegido.contenido.tamano)?, false))
    }
}

/// Los que llegaron y aún no están asegurados.
#[derive(Default)]
struct SinAsegurar {
    llegados: Vec<(usize, AMedias)>,
    bytes: u64,
}
