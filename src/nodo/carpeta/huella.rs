//! La huella de un archivo (BLAKE3, la misma que imprime `b3sum`) y la de cada uno de sus bloques.
//! Funciones puras.
//!
//! La guía no comprueba lo que recibe. BLAKE3 es un árbol, y eso permite comprobar trozos sueltos:
//! la huella de un bloque de 4 MiB es su nodo en el árbol, y juntando los nodos de dos en dos se
//! llega a la huella del archivo. Con tres bloques:
//!
//! ```text
//!              huella del archivo          ← merge_subtrees_root
//!               /              \
//!          nodo(0,1)         bloque 2      ← la mayor potencia de dos que deje algo a la derecha
//!          /       \
//!     bloque 0   bloque 1                  ← merge_subtrees_non_root
//! ```
//!
//! Quien recibe la lista de bloques la junta antes de pedir nada: si no da la huella, la lista es
//! falsa. Después cada bloque se comprueba solo, nada más llegar, venga de quien venga. Con un solo
//! bloque (o un archivo vacío) no hay árbol: la lista es la propia huella.
//!
//! No toca el disco ni la red.

use std::fmt;

use blake3::Hasher;
use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root,
};

/// Bytes de un bloque: 4 MiB. Bastan pocos para repartir entre varias fuentes, y cada conexión
/// guarda uno en memoria.
pub const BLOQUE: u64 = 4 * 1024 * 1024;

/// 32 bytes que identifican un contenido: el de un archivo entero o el de un bloque.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Huella([u8; 32]);

impl Huella {
    /// La que escriben 64 cifras hexadecimales.
    pub fn leer(texto: &str) -> Option<Huella> {
        let leida = blake3::Hash::from_hex(texto).ok()?;
        Some(Huella(*leida.as_bytes()))
    }
}

/// La de un archivo entero, calculada de una vez.
impl From<blake3::Hash> for Huella {
    fn from(entera: blake3::Hash) -> Huella {
        Huella(*entera.as_bytes())
    }
}

impl fmt::Display for Huella {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(blake3::Hash::from_bytes(self.0).to_hex().as_str())
    }
}

/// Cuántos bloques tiene un archivo de `tamano` bytes: uno como mínimo, aunque esté vacío.
pub fn cuantos_bloques(tamano: u64) -> u64 {
    tamano.div_ceil(BLOQUE).max(1)
}

/// Bytes del bloque `indice` (desde 0) de un archivo de `tamano` bytes: todos llenos menos, quizá,
/// el último.
pub fn longitud_de_bloque(tamano: u64, indice: u64) -> u64 {
    let antes = indice.saturating_mul(BLOQUE);
    tamano.saturating_sub(antes).min(BLOQUE)
}

/// La cuenta de la huella de un bloque, que se hace según llegan sus bytes.
pub struct Cuenta {
    resumen: Hasher,
    es_todo_el_archivo: bool,
}

impl Cuenta {
    /// Empieza la del bloque `indice` de un archivo de `tamano` bytes.
    pub fn nueva(tamano: u64, indice: u64) -> Cuenta {
        let es_todo_el_archivo = cuantos_bloques(tamano) == 1;
        let mut resumen = Hasher::new();
        if !es_todo_el_archivo {
            resumen.set_input_offset(indice * BLOQUE);
        }
        Cuenta {
            resumen,
            es_todo_el_archivo,
        }
    }

    /// Añade los `datos` que siguen. Entre todos no pueden pasar de un bloque.
    pub fn anadir(&mut self, datos: &[u8]) {
        self.resumen.update(datos);
    }

    /// La huella de lo añadido.
    pub fn terminar(self) -> Huella {
        if self.es_todo_el_archivo {
            Huella(*self.resumen.finalize().as_bytes())
        } else {
            Huella(self.resumen.finalize_non_root())
        }
    }
}

/// La huella del bloque `indice`, con sus `datos` enteros.
pub fn huella_de_bloque(tamano: u64, indice: u64, datos: &[u8]) -> Huella {
    let mut cuenta = Cuenta::nueva(tamano, indice);
    cuenta.anadir(datos);
    cuenta.terminar()
}

/// La huella del archivo que tiene estos `bloques`. `None` si la lista está vacía.
pub fn juntar(bloques: &[Huella]) -> Option<Huella> {
    match bloques {
        [] => None,
        [unico] => Some(*unico),
        varios => {
            let (izquierda, derecha) = partir(varios);
            let raiz = merge_subtrees_root(&izquierda, &derecha, Mode::Hash);
            Some(Huella(*raiz.as_bytes()))
        }
    }
}

fn partir(bloques: &[Huella]) -> (ChainingValue, ChainingValue) {
    let (izquierda, derecha) = bloques.split_at(bloques.len().next_power_of_two() / 2);
    (nodo(izquierda), nodo(derecha))
}

fn nodo(bloques: &[Huella]) -> ChainingValue {
    if let [unico] = bloques {
        return unico.0;
    }
    let (izquierda, derecha) = partir(bloques);
    merge_subtrees_non_root(&izquierda, &derecha, Mode::Hash)
}

/// La huella de un archivo y la de sus bloques.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resumen {
    /// La del archivo.
    pub huella: Huella,
    /// La de cada bloque, en orden.
    pub bloques: Vec<Huella>,
}

impl Resumen {
    /// El resumen que resulta de unos `bloques`. `None` si la lista está vacía.
    pub fn de_bloques(bloques: Vec<Huella>) -> Option<Resumen> {
        juntar(&bloques).map(|huella| Resumen { huella, bloques })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datos(tamano: u64) -> Vec<u8> {
        (0..tamano).map(|n| (n % 251) as u8).collect()
    }

    #[test]
    fn los_bloques_juntos_dan_la_huella_de_b3sum() {
        for tamano in [
            0,
            1,
            1024,
            BLOQUE - 1,
            BLOQUE,
            BLOQUE + 1,
            2 * BLOQUE,
            2 * BLOQUE + 5,
            7 * BLOQUE + 3,
        ] {
            let contenido = datos(tamano);
            let bloques: Vec<Huella> = (0..cuantos_bloques(tamano))
                .map(|i| {
                    let desde = (i * BLOQUE) as usize;
                    let hasta = desde + longitud_de_bloque(tamano, i) as usize;
                    huella_de_bloque(tamano, i, &contenido[desde..hasta])
                })
                .collect();
            assert_eq!(
                juntar(&bloques).unwrap().to_string(),
                blake3::hash(&contenido).to_hex().as_str()
            );
        }
    }

    #[test]
    fn un_bloque_cambiado_o_movido_no_da_la_huella() {
        let bloques: Vec<Huella> = (0..3)
            .map(|i| huella_de_bloque(3 * BLOQUE, i, b"abc"))
            .collect();
        let buena = juntar(&bloques).unwrap();
        let mut movidos = bloques.clone();
        movidos.swap(0, 1);
        assert_ne!(juntar(&movidos), Some(buena));
        assert_ne!(juntar(&bloques[..2]), Some(buena));
        assert_eq!(juntar(&[]), None);
    }

    #[test]
    fn se_escribe_y_se_lee_en_hexadecimal() {
        let huella = huella_de_bloque(3, 0, b"abc");
        assert_eq!(Huella::leer(&huella.to_string()), Some(huella));
        for mala in ["", "abc", &"g".repeat(64), &"a".repeat(63), &"ñ".repeat(32)] {
            assert_eq!(Huella::leer(mala), None);
        }
    }

    #[test]
    fn longitudes_en_los_bordes() {
        assert_eq!((cuantos_bloques(0), longitud_de_bloque(0, 0)), (1, 0));
        assert_eq!(
            (cuantos_bloques(BLOQUE), longitud_de_bloque(BLOQUE, 0)),
            (1, BLOQUE)
        );
        assert_eq!(
            (
                cuantos_bloques(BLOQUE + 1),
                longitud_de_bloque(BLOQUE + 1, 1)
            ),
            (2, 1)
        );
        assert_eq!(longitud_de_bloque(u64::MAX, u64::MAX), 0);
    }
}
