//! Qué archivos pasaron, contado por sus mensajes: quién pidió, quién dio, cuánto y en cuánto.
//!
//! Lo cuenta el lado que recibe; si ese no llevaba diario, el que sirve. El tiempo es siempre el de
//! un solo reloj: el de quien lo cuenta. No mira el disco.

use std::collections::BTreeMap;

use crate::laboratorio::diagrama::Ejecucion;
use crate::laboratorio::diagrama::emparejar::{misma_conexion, por_conexion};
use crate::laboratorio::diagrama::leer::{Hecho, Rumbo};
use crate::laboratorio::suceso::Clase;

/// Un archivo que llegó, o empezó a llegar, a un nodo.
#[derive(Debug, Default)]
pub struct Transferencia {
    /// Cuánto dio cada fuente.
    pub fuentes: BTreeMap<String, u64>,
    /// La huella, si alguna fuente la dijo.
    pub huella: Option<String>,
    /// La primera petición y los últimos datos, en microsegundos del reloj de quien lo cuenta.
    pub desde: u64,
    /// El final.
    pub hasta: u64,
}

/// Las transferencias, por quién recibe y qué archivo.
pub type Transferencias = BTreeMap<(String, String), Transferencia>;

/// Las de una ejecución. Las peticiones a las que se contestó que no, no cuentan.
pub fn transferencias(ejecucion: &Ejecucion) -> Transferencias {
    let mut todas = Transferencias::new();
    let hechos = &ejecucion.traza.hechos;
    let orden = por_conexion(hechos);
    for conexion in orden.chunk_by(|a, b| misma_conexion(hechos, *a, *b)) {
        let mut charla = Canje::de(ejecucion, conexion);
        for &este in conexion {
            charla.seguir(ejecucion, este as usize, &mut todas);
        }
    }
    todas.retain(|_, una| !una.fuentes.is_empty());
    todas
}

/// Lo que se lleva hablado en una conexión.
struct Canje {
    /// El otro lado: su nombre, si lleva diario; si no, su dirección.
    con: String,
    con_diario: bool,
    /// Quién preguntó `INFO`, de qué archivo y en qué sentido: la respuesta va en el contrario.
    pregunta: Option<(String, String, Clase)>,
    /// Quién pide, qué archivo y cómo se ven aquí sus datos.
    pedido: Option<(String, String, Rumbo)>,
}

impl Canje {
    fn de(ejecucion: &Ejecucion, conexion: &[u32]) -> Canje {
        let traza = &ejecucion.traza;
        let otro = conexion
            .iter()
            .find_map(|&h| ejecucion.parejas.de(h as usize));
        let con = match otro {
            Some(otro) => traza.procesos[traza.hechos[otro].proceso].nombre.clone(),
            None => traza.hechos[conexion[0] as usize].otro.to_string(),
        };
        Canje {
            con,
            con_diario: otro.is_some(),
            pregunta: None,
            pedido: None,
        }
    }

    fn seguir(&mut self, ejecucion: &Ejecucion, este: usize, todas: &mut Transferencias) {
        let hecho = &ejecucion.traza.hechos[este];
        let yo = &ejecucion.traza.procesos[hecho.proceso].nombre;
        let quien = || match hecho.clase {
            Clase::Envia => yo.clone(),
            _ => self.con.clone(),
        };
        match (hecho.clase, &*hecho.palabra) {
            (Clase::Envia | Clase::Recibe, "INFO") => match self.pregunta.take() {
                Some((quien, cual, clase)) if clase != hecho.clase => {
                    let una = todas.entry((quien, cual)).or_default();
                    una.huella = huella(&hecho.texto).or(una.huella.take());
                }
                _ => self.pregunta = Some((quien(), archivo(&hecho.texto, 1), hecho.clase)),
            },
            (Clase::Envia, "OBTENER" | "DESCARGAR") => {
                self.pedir(hecho, quien(), Rumbo::Llega, todas);
            }
            // Si quien pide lleva diario, lo cuenta él.
            (Clase::Recibe, "OBTENER" | "DESCARGAR") if !self.con_diario => {
                self.pedir(hecho, quien(), Rumbo::Sale, todas);
            }
            (Clase::Datos, _) => self.pasar(yo, hecho, hecho.bytes, todas),
            (Clase::Envia | Clase::Recibe, "OK") => self.pasar(yo, hecho, 0, todas),
            _ => {}
        }
    }

    fn pedir(&mut self, de: &Hecho, quien: String, trae: Rumbo, todas: &mut Transferencias) {
        let cual = archivo(&de.texto, if &*de.palabra == "OBTENER" { 3 } else { 1 });
        let una = todas.entry((quien.clone(), cual.clone())).or_default();
        una.desde = if una.desde == 0 {
            de.t
        } else {
            una.desde.min(de.t)
        };
        self.pedido = Some((quien, cual, trae));
    }

    /// Llegaron (o salieron) bytes de lo pedido.
    fn pasar(&self, yo: &str, hecho: &Hecho, bytes: u64, todas: &mut Transferencias) {
        let Some((quien, cual, trae)) = &self.pedido else {
            return;
        };
        if *trae != hecho.sentido() {
            return;
        }
        let una = todas.entry((quien.clone(), cual.clone())).or_default();
        una.hasta = una.hasta.max(hecho.t);
        let fuente = match trae {
            Rumbo::Llega => &self.con,
            _ => yo,
        };
        let suyos = una.fuentes.entry(fuente.to_string()).or_default();
        *suyos = suyos.saturating_add(bytes);
    }
}

/// El nombre de un archivo va detrás de tantos `:`, y puede llevar más.
fn archivo(texto: &str, partes: usize) -> String {
    let nombre = texto.splitn(partes + 1, ':').nth(partes);
    nombre.unwrap_or_default().to_string()
}

/// `INFO:<tamaño>:<huella o ->`.
fn huella(respuesta: &str) -> Option<String> {
    let huella = respuesta.rsplit(':').next()?;
    let es_huella = huella.len() == 64 && huella.bytes().all(|b| b.is_ascii_hexdigit());
    es_huella.then(|| huella.to_string())
}
