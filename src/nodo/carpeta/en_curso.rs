//! Lo que se está recibiendo en la carpeta y ya se puede dar a otros, bloque a bloque.
//!
//! En la guía un archivo se sirve cuando está entero. Si doce lo piden a la vez, todos tiran del
//! único que lo tiene; aquí cada bloque comprobado se reparte en cuanto está escrito. Quien lo
//! recibe apunta sus bloques ([`Parcial::anadir`]) y quien sirve los mira (`huellas.rs`): ninguno
//! sabe del otro. Para los demás no es un archivo hasta que lo es: ni se lista ni se busca.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use crate::nodo::carpeta::huella::{BLOQUE, Huella, Resumen, cuantos_bloques};
use crate::nodo::carpeta::{Abierto, Sello};
use crate::red::parada::cerrojo;

/// Archivos recién acabados que se guardan hasta que alguien pregunte por ellos.
const TOPE_DE_ACABADOS: usize = 256;

/// Lo que se está recibiendo en una carpeta.
#[derive(Default)]
pub struct EnCurso {
    parciales: Mutex<Vec<Arc<Parcial>>>,
    acabados: Mutex<VecDeque<Acabado>>,
}

/// Uno que ya tiene su nombre: su huella se sabe, y no hace falta volver a leerlo.
pub struct Acabado {
    /// Con cuál quedó.
    pub nombre: String,
    /// En qué estado quedó.
    pub sello: Sello,
    /// Sus huellas.
    pub resumen: Arc<Resumen>,
}

/// Un archivo a medias del que se sabe qué bloques están bien.
pub struct Parcial {
    /// El nombre con que se recibe.
    pub nombre: String,
    /// El archivo a medias, con lo que medirá entero.
    pub abierto: Abierto,
    /// Sus huellas: la lista que dio una fuente, comprobada.
    pub resumen: Arc<Resumen>,
    hechos: Mutex<Vec<bool>>,
}

/// Un [`Parcial`] que los demás ven mientras viva este valor.
pub struct ALaVista<'a> {
    parcial: Arc<Parcial>,
    en_curso: &'a EnCurso,
}

impl EnCurso {
    /// Desde ahora se puede dar lo que `parcial` tenga.
    pub fn ensenar(&self, parcial: Parcial) -> ALaVista<'_> {
        let parcial = Arc::new(parcial);
        cerrojo(&self.parciales).push(Arc::clone(&parcial));
        ALaVista {
            parcial,
            en_curso: self,
        }
    }

    /// El que se recibe con ese nombre o, si no, el que tendrá esa huella.
    pub fn buscar(&self, nombre: &str, huella: Option<Huella>) -> Option<Arc<Parcial>> {
        let parciales = cerrojo(&self.parciales);
        let con_nombre = parciales.iter().find(|p| p.nombre == nombre);
        let con_huella = || parciales.iter().find(|p| Some(p.resumen.huella) == huella);
        con_nombre.or_else(con_huella).cloned()
    }

    /// Uno ya está entero, con su nombre.
    pub fn acabar(&self, acabado: Acabado) {
        let mut acabados = cerrojo(&self.acabados);
        if acabados.len() == TOPE_DE_ACABADOS {
            acabados.pop_front();
        }
        acabados.push_back(acabado);
    }

    /// Los que acabaron desde la última vez.
    pub fn acabados(&self) -> VecDeque<Acabado> {
        std::mem::take(&mut cerrojo(&self.acabados))
    }
}

impl Parcial {
    /// Uno del que están bien esos bloques.
    pub fn nuevo(
        nombre: String,
        abierto: Abierto,
        resumen: Arc<Resumen>,
        buenos: &[u64],
    ) -> Parcial {
        let mut hechos = vec![false; resumen.bloques.len()];
        buenos
            .iter()
            .for_each(|bloque| hechos[*bloque as usize] = true);
        Parcial {
            nombre,
            abierto,
            resumen,
            hechos: Mutex::new(hechos),
        }
    }

    /// Ese bloque está comprobado y escrito.
    pub fn anadir(&self, bloque: u64) {
        cerrojo(&self.hechos)[bloque as usize] = true;
    }

    /// Los bloques que están bien, desde ese.
    pub fn bloques(&self, desde: u64) -> Vec<u64> {
        let hechos = cerrojo(&self.hechos);
        let todos = (0..).zip(hechos.iter());
        let buenos = todos.filter(|(bloque, hecho)| **hecho && *bloque >= desde);
        buenos.map(|(bloque, _)| bloque).collect()
    }

    /// ¿Están bien todos los bloques de esos bytes?
    pub fn tiene(&self, bytes: &Range<u64>) -> bool {
        let hasta = cuantos_bloques(bytes.end).max(bytes.start / BLOQUE + 1);
        let hechos = cerrojo(&self.hechos);
        let tramo = hechos.get((bytes.start / BLOQUE) as usize..hasta as usize);
        bytes.is_empty() || tramo.is_some_and(|tramo| tramo.iter().all(|hecho| *hecho))
    }

    /// Lo que hay ahí va a ser otra cosa: ya no se da nada de él.
    fn olvidar(&self) {
        cerrojo(&self.hechos).fill(false);
    }
}

impl ALaVista<'_> {
    /// Ese bloque está comprobado y escrito.
    pub fn anadir(&self, bloque: u64) {
        self.parcial.anadir(bloque);
    }

    /// Ya tiene su nombre: sigue a la vista como un archivo más.
    pub fn acabar(&self, nombre: &str, sello: Sello) {
        self.en_curso.acabar(Acabado {
            nombre: nombre.to_string(),
            sello,
            resumen: Arc::clone(&self.parcial.resumen),
        });
    }

    /// Se deja: lo que hay ahí va a ser otra cosa.
    pub fn olvidar(&self) {
        self.parcial.olvidar();
    }
}

impl Drop for ALaVista<'_> {
    fn drop(&mut self) {
        let mut parciales = cerrojo(&self.en_curso.parciales);
        parciales.retain(|otro| !Arc::ptr_eq(otro, &self.parcial));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodo::carpeta::huella::huella_de_bloque;

    fn parcial(nombre: &str, tamano: u64, buenos: &[u64]) -> Parcial {
        let abierto = Abierto::mirar(tempfile::tempfile().unwrap());
        let Ok(abierto) = abierto else { panic!() };
        let abierto = Abierto { tamano, ..abierto };
        let bloques = (0..cuantos_bloques(tamano)).map(|n| huella_de_bloque(tamano, n, b"x"));
        let resumen = Arc::new(Resumen::de_bloques(bloques.collect()).unwrap());
        Parcial::nuevo(nombre.into(), abierto, resumen, buenos)
    }

    #[test]
    fn solo_tiene_lo_que_esta_entero() {
        let parcial = parcial("a", 3 * BLOQUE + 5, &[0, 3]);
        let tiene = |desde, hasta| parcial.tiene(&(desde..hasta));
        assert!(tiene(0, BLOQUE) && tiene(7, 9) && tiene(3 * BLOQUE, 3 * BLOQUE + 5));
        assert!(!tiene(0, BLOQUE + 1) && !tiene(BLOQUE, BLOQUE + 1) && !tiene(0, 3 * BLOQUE + 5));
        assert_eq!(parcial.bloques(1), [3]);
        parcial.anadir(1);
        parcial.anadir(2);
        assert!(tiene(0, 3 * BLOQUE + 5));
        parcial.olvidar();
        assert!(!tiene(0, 1) && parcial.bloques(0).is_empty());
    }

    #[test]
    fn se_encuentra_por_nombre_o_por_huella_mientras_viva() {
        let en_curso = EnCurso::default();
        let uno = parcial("uno", 5, &[]);
        let huella = uno.resumen.huella;
        let a_la_vista = en_curso.ensenar(uno);
        let _otro = en_curso.ensenar(parcial("otro", 2 * BLOQUE, &[]));
        assert_eq!(en_curso.buscar("uno", None).unwrap().nombre, "uno");
        assert_eq!(en_curso.buscar("x", Some(huella)).unwrap().nombre, "uno");
        drop(a_la_vista);
        assert!(en_curso.buscar("uno", Some(huella)).is_none());
        assert!(en_curso.buscar("otro", None).is_some());
    }
}
