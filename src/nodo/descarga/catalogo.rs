//! Qué hay en la red de lo que se pide por carpetas o de varios en varios, según el `LISTAR` de
//! cada uno, y qué se baja de ello.
//!
//! De cada nombre guarda las versiones que hay y quién tiene cada una: si hay varias se baja la que
//! tengan más, como con un solo archivo. Lo que no se pidió no se guarda, y hay un tope. No está en
//! la guía. No habla con nadie ni toca el disco.

use std::cmp::Reverse;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::nodo::carpeta::huella::Huella;
use crate::nodo::carpeta::nombres::en_nfc;
use crate::nodo::descarga::plan::Contenido;
use crate::nodo::palabras::protocolo::{Entrada, Info};

/// Archivos distintos que se bajan de una vez, como mucho: con sus nombres, unas decenas de MiB.
pub const TOPE_DE_ARCHIVOS: usize = 100_000;
/// Versiones y fuentes que se apuntan, entre todos los archivos: quien da listas inventadas no
/// ocupa más memoria.
const TOPE_DE_APUNTES: usize = 4_000_000;

/// Lo que se pide: nombres exactos, y carpetas si acaban en `/`.
#[derive(Debug, Default)]
pub struct Pedidos {
    /// Los nombres, en NFC.
    pub nombres: BTreeSet<String>,
    /// Las carpetas, en NFC y con su `/`. La vacía es todo.
    pub carpetas: BTreeSet<String>,
}

impl Pedidos {
    /// Lo que se escribió.
    pub fn leer(escritos: &[String]) -> Pedidos {
        let mut pedidos = Pedidos::default();
        for escrito in escritos {
            let nombre = en_nfc(escrito);
            match nombre.ends_with('/') {
                true => pedidos
                    .carpetas
                    .insert(nombre.trim_start_matches("./").into()),
                false => pedidos.nombres.insert(nombre),
            };
        }
        pedidos
    }

    fn quiere(&self, nombre: &str) -> bool {
        let cuelga = |carpeta: &String| nombre.starts_with(carpeta);
        self.nombres.contains(nombre) || self.carpetas.iter().any(cuelga)
    }
}

/// Una de las cosas que hay con un nombre.
struct Version {
    tamano: u64,
    huella: Option<Huella>,
    /// Los lugares en la lista de quienes la tienen.
    fuentes: Vec<u16>,
}

/// Lo que hay con un nombre.
#[derive(Default)]
struct ConEseNombre {
    /// Cómo lo escribe quien lo dijo primero, si no es en NFC.
    escrito: Option<String>,
    versiones: Vec<Version>,
}

/// Lo que hay de lo que se pide.
pub struct Catalogo {
    /// Qué se pide.
    pub pedidos: Pedidos,
    fichas: BTreeMap<String, ConEseNombre>,
    apuntes: usize,
    /// ¿Había más de lo que cabe?
    pub sobran: bool,
}

/// Un archivo que se va a bajar.
pub struct Elegido {
    /// Con qué nombre se pide.
    pub nombre: String,
    /// Qué archivo es.
    pub contenido: Contenido,
    /// Quiénes lo tienen.
    pub fuentes: Vec<u16>,
}

/// Alguien tiene un archivo y aún no se sabe su huella.
pub struct SinHuella {
    /// El nombre, en NFC.
    pub clave: String,
    /// Con qué nombre se pide.
    pub nombre: String,
    /// Lo que dijo que mide.
    pub tamano: u64,
    /// A quién preguntar.
    pub fuente: u16,
}

impl Catalogo {
    /// Uno vacío.
    pub fn nuevo(pedidos: Pedidos) -> Catalogo {
        Catalogo {
            pedidos,
            fichas: BTreeMap::new(),
            apuntes: 0,
            sobran: false,
        }
    }

    /// `fuente` dice tener ese archivo. Lo que no se pidió se olvida.
    pub fn anotar(&mut self, fuente: u16, entrada: Entrada) {
        let clave = en_nfc(&entrada.nombre);
        if !self.pedidos.quiere(&clave) {
            return;
        }
        let cuantos = self.fichas.len();
        let ficha = match self.fichas.entry(clave) {
            Entry::Occupied(ya) if self.apuntes < TOPE_DE_APUNTES => ya.into_mut(),
            Entry::Vacant(nueva) if cuantos < TOPE_DE_ARCHIVOS => {
                let otro = (*nueva.key() != entrada.nombre).then_some(entrada.nombre);
                nueva.insert(ConEseNombre {
                    escrito: otro,
                    versiones: Vec::new(),
                })
            }
            _ => {
                self.sobran = true;
                return;
            }
        };
        self.apuntes += 1;
        ficha.sumar(entrada.tamano, entrada.huella, fuente);
    }

    /// De qué archivos no ha dicho nadie la huella, y a quién de los que `viven` preguntársela.
    pub fn sin_huella(&self, viven: impl Fn(u16) -> bool) -> Vec<SinHuella> {
        let mut faltan = Vec::new();
        for (clave, ficha) in &self.fichas {
            if ficha.versiones.iter().any(|una| una.huella.is_some()) {
                continue;
            }
            for version in &ficha.versiones {
                let fuente = version.fuentes.iter().find(|fuente| viven(**fuente));
                faltan.extend(fuente.map(|fuente| SinHuella {
                    nombre: ficha.escrito.as_ref().unwrap_or(clave).clone(),
                    clave: clave.clone(),
                    tamano: version.tamano,
                    fuente: *fuente,
                }));
            }
        }
        faltan
    }

    /// La `fuente` contestó qué tiene con ese nombre; `None` si ya no lo tiene.
    pub fn saber(&mut self, de: &SinHuella, info: Option<Info>) {
        let Some(ficha) = self.fichas.get_mut(&de.clave) else {
            return;
        };
        let listada = |v: &&mut Version| v.tamano == de.tamano && v.huella.is_none();
        let Some(version) = ficha.versiones.iter_mut().find(listada) else {
            return;
        };
        match info {
            Some(info) if info.tamano == de.tamano => version.huella = info.huella,
            otra => {
                version.fuentes.retain(|fuente| *fuente != de.fuente);
                if let Some(Info { tamano, huella }) = otra {
                    ficha.sumar(tamano, huella, de.fuente);
                }
            }
        }
    }

    /// Qué se baja de lo que hay. Los que siguen sin huella van aparte, con quienes los tienen.
    pub fn elegir(&mut self, avisar: &dyn Fn(String)) -> (Vec<Elegido>, Vec<(String, Vec<u16>)>) {
        let (mut elegidos, mut sin_huella) = (Vec::new(), Vec::new());
        for (clave, ficha) in std::mem::take(&mut self.fichas) {
            self.pedidos.nombres.remove(&clave);
            let ConEseNombre { escrito, versiones } = ficha;
            let nombre = escrito.unwrap_or(clave);
            if versiones.iter().all(|una| una.huella.is_none()) {
                let fuentes = versiones.into_iter().flat_map(|una| una.fuentes);
                sin_huella.push((nombre, fuentes.collect()));
                continue;
            }
            let mejor = la_mejor(juntar_las_que_calculan(versiones), &nombre, avisar);
            elegidos.extend(mejor.map(|(contenido, fuentes)| Elegido {
                nombre,
                contenido,
                fuentes,
            }));
        }
        (elegidos, sin_huella)
    }
}

impl ConEseNombre {
    fn sumar(&mut self, tamano: u64, huella: Option<Huella>, fuente: u16) {
        // Cada uno da un archivo por nombre: lo demás que diga de él no cuenta.
        if self
            .versiones
            .iter()
            .any(|una| una.fuentes.contains(&fuente))
        {
            return;
        }
        let igual = |una: &&mut Version| (una.tamano, una.huella) == (tamano, huella);
        match self.versiones.iter_mut().find(igual) {
            Some(version) => version.fuentes.push(fuente),
            None => self.versiones.push(Version {
                tamano,
                huella,
                fuentes: vec![fuente],
            }),
        }
    }
}

/// Quien aún no sabe la huella cuenta con los que tienen uno que mide lo mismo: cada archivo se
/// comprueba al llegar.
fn juntar_las_que_calculan(versiones: Vec<Version>) -> Vec<Version> {
    let (mut sabidas, calculan): (Vec<_>, Vec<_>) =
        versiones.into_iter().partition(|una| una.huella.is_some());
    for una in calculan {
        let mide_igual = |otra: &&mut Version| otra.tamano == una.tamano;
        let iguales = sabidas.iter_mut().filter(mide_igual);
        if let Some(otra) = iguales.max_by_key(|otra| otra.fuentes.len()) {
            otra.fuentes.extend(una.fuentes);
        }
    }
    sabidas
}

/// La que tengan más; a igualdad, la de la primera fuente de la lista. Si hay varias, se dice.
fn la_mejor(
    mut versiones: Vec<Version>,
    nombre: &str,
    avisar: &dyn Fn(String),
) -> Option<(Contenido, Vec<u16>)> {
    for version in &mut versiones {
        version.fuentes.sort_unstable();
    }
    let distintas = versiones.len();
    versiones.sort_by_key(|una| (Reverse(una.fuentes.len()), una.fuentes.first().copied()));
    let mejor = versiones.into_iter().next()?;
    let huella = mejor.huella?;
    if distintas > 1 {
        let quienes = match mejor.fuentes.len() {
            1 => "tiene la primera fuente".to_string(),
            varias => format!("tienen {varias} fuentes"),
        };
        avisar(format!(
            "hay {distintas} archivos distintos llamados {nombre}; se baja el que {quienes} \
             (huella {huella})"
        ));
    }
    let tamano = mejor.tamano;
    Some((Contenido { tamano, huella }, mejor.fuentes))
}

/// De quiénes hay que bajar, de los que `sirven`: las que hagan falta para que ningún archivo se
/// quede sin ninguna y, hasta `tope`, las demás.
pub fn fuentes_que_hacen_falta<'e>(
    elegidos: impl Iterator<Item = &'e Elegido>,
    tope: usize,
    sirven: impl Fn(u16) -> bool,
) -> BTreeSet<u16> {
    let mut elegidas = BTreeSet::new();
    let mut tienen: HashMap<u16, usize> = HashMap::new();
    for elegido in elegidos {
        let fuentes: Vec<u16> = elegido
            .fuentes
            .iter()
            .copied()
            .filter(|f| sirven(*f))
            .collect();
        if !fuentes.iter().any(|fuente| elegidas.contains(fuente)) {
            elegidas.extend(fuentes.first());
        }
        for fuente in fuentes {
            *tienen.entry(fuente).or_default() += 1;
        }
    }
    let mut demas: Vec<_> = tienen.into_iter().collect();
    demas.sort_by_key(|(fuente, cuantos)| (Reverse(*cuantos), *fuente));
    for (fuente, _) in demas {
        if elegidas.len() >= tope {
            break;
        }
        elegidas.insert(fuente);
    }
    elegidas
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodo::carpeta::huella::huella_de_bloque;

    fn catalogo(escritos: &[&str]) -> Catalogo {
        let escritos: Vec<String> = escritos.iter().map(|e| e.to_string()).collect();
        Catalogo::nuevo(Pedidos::leer(&escritos))
    }

    fn entrada(nombre: &str, datos: &str, con_huella: bool) -> Entrada {
        let tamano = datos.len() as u64;
        let huella = huella_de_bloque(tamano, 0, datos.as_bytes());
        Entrada {
            tamano,
            huella: con_huella.then_some(huella),
            nombre: nombre.into(),
        }
    }

    fn elegidos(catalogo: &mut Catalogo) -> Vec<(String, u64, Vec<u16>)> {
        let (elegidos, _) = catalogo.elegir(&|_| ());
        let contar = |e: Elegido| (e.nombre, e.contenido.tamano, e.fuentes);
        elegidos.into_iter().map(contar).collect()
    }

    #[test]
    fn solo_lo_pedido_y_lo_que_cuelga_de_la_carpeta() {
        let mut catalogo = catalogo(&["a.txt", "apuntes/", "falta.txt"]);
        let hay = [
            "a.txt",
            "b.txt",
            "apuntes/x",
            "apuntes/sub/y",
            "apuntes2/z",
            "../a.txt",
        ];
        hay.iter()
            .for_each(|n| catalogo.anotar(0, entrada(n, "x", true)));
        let nombres: Vec<_> = elegidos(&mut catalogo).into_iter().map(|e| e.0).collect();
        assert_eq!(nombres, ["a.txt", "apuntes/sub/y", "apuntes/x"]);
        let faltan: Vec<_> = catalogo.pedidos.nombres.iter().collect();
        assert_eq!(faltan, ["falta.txt"]);
    }

    #[test]
    fn gana_la_que_tengan_mas_y_quien_calcula_cuenta_con_la_que_mide_lo_mismo() {
        let mut catalogo = catalogo(&["a"]);
        catalogo.anotar(0, entrada("a", "uno", true));
        catalogo.anotar(1, entrada("a", "cinco", true));
        catalogo.anotar(2, entrada("a", "cinco", false));
        // Lo que uno diga dos veces cuenta una.
        catalogo.anotar(0, entrada("a", "uno", false));
        assert_eq!(elegidos(&mut catalogo), [("a".into(), 5, vec![1, 2])]);
    }

    #[test]
    fn la_misma_letra_escrita_de_dos_formas_es_el_mismo_archivo() {
        let mut catalogo = catalogo(&["n\u{303}u"]);
        catalogo.anotar(0, entrada("n\u{303}u", "x", true));
        catalogo.anotar(1, entrada("ñu", "x", true));
        assert_eq!(
            elegidos(&mut catalogo),
            [("n\u{303}u".into(), 1, vec![0, 1])]
        );
    }

    #[test]
    fn una_lista_inventada_no_crece_sin_tope() {
        let mut catalogo = catalogo(&["./"]);
        for n in 0..TOPE_DE_ARCHIVOS + 10 {
            catalogo.anotar(0, entrada(&format!("{n}"), "x", true));
        }
        assert!(catalogo.sobran);
        assert_eq!(elegidos(&mut catalogo).len(), TOPE_DE_ARCHIVOS);
    }

    #[test]
    fn ningun_archivo_se_queda_sin_quien_lo_de() {
        let mut catalogo = catalogo(&["./"]);
        (0..20).for_each(|f| catalogo.anotar(f, entrada(&format!("{f}"), "x", true)));
        let (elegidos, _) = catalogo.elegir(&|_| ());
        let cuantas = |elegidos: &[Elegido], sirven: fn(u16) -> bool| {
            fuentes_que_hacen_falta(elegidos.iter(), 16, sirven).len()
        };
        assert_eq!(cuantas(&elegidos, |_| true), 20);
        assert_eq!(cuantas(&elegidos[..2], |_| true), 2);
        assert_eq!(cuantas(&elegidos, |fuente| fuente < 3), 3);
    }
}
