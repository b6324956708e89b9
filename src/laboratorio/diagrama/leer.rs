//! Lee los diarios y los une en una sola traza: los procesos, y los sucesos de cada uno en orden.
//!
//! No está en la guía. Un diario puede venir cortado (`kill -9`), con líneas estropeadas o de quien
//! quiere estropear el dibujo: lo que no se entiende se deja, se cuenta y se dice; y nada de lo que
//! traiga reserva memoria sin tope. No mira relojes ni empareja.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::fallo::Fallo;
use crate::laboratorio::suceso::{Clase, Suceso};
use crate::texto::{cuenta, limpiar};

/// Procesos que se leen, como mucho: cada uno es una columna y un número en cada vector.
const TOPE_DE_PROCESOS: usize = 40;
/// Sucesos que se leen, como mucho, entre todos los diarios.
const TOPE_DE_SUCESOS: usize = 3_000_000;
/// Bytes de una línea de diario. Una del protocolo no pasa de 4096, y escapada no llega a esto.
const TOPE_DE_LINEA: usize = 64 * 1024;
/// Letras de texto que se guardan enteras, entre todos los sucesos; pasadas, cada texto se acorta.
const TEXTO_ENTERO: usize = 32 << 20;
/// Letras que quedan de un texto acortado.
const TEXTO_CORTO: usize = 60;
/// Letras que quedan de una dirección, de un hilo, de una palabra o de un nombre.
const NOMBRE: usize = 48;

/// Un proceso: un nodo, desde que arrancó hasta que acabó.
#[derive(Debug)]
pub struct Participante {
    /// Su nombre, limpio; si dos se llaman igual, el segundo lleva «(2)».
    pub nombre: String,
    /// Dónde empiezan sus hechos en la traza.
    pub desde: usize,
    /// Y dónde acaban.
    pub hasta: usize,
}

/// Un suceso leído, con lo que hace falta de él. Hay un millón: los textos repetidos se comparten.
#[derive(Debug)]
pub struct Hecho {
    /// De quién es: su lugar en [`Traza::procesos`].
    pub proceso: usize,
    /// Su ordinal en el diario.
    pub i: u64,
    /// La hora de su máquina, en microsegundos.
    pub t: u64,
    /// Qué pasó.
    pub clase: Clase,
    /// La conexión.
    pub c: u64,
    /// La línea, en su sentido de la conexión.
    pub n: u64,
    /// Bytes.
    pub bytes: u64,
    /// Este lado.
    pub yo: Rc<str>,
    /// El otro lado.
    pub otro: Rc<str>,
    /// El hilo.
    pub hilo: Rc<str>,
    /// La palabra del protocolo; en los datos, su sentido.
    pub palabra: Rc<str>,
    /// La línea, tal como viajó: sin limpiar.
    pub texto: Box<str>,
    /// La falla puesta a propósito.
    pub falla: Option<Rc<str>>,
}

/// Hacia dónde va lo que pasó.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rumbo {
    /// Sale de este proceso: es causa de lo que pase al otro lado.
    Sale,
    /// Llega a este proceso.
    Llega,
    /// Ni una cosa ni otra.
    Aqui,
}

impl Hecho {
    /// ¿Intentó conectar y no pudo? Entonces el texto dice por qué.
    pub fn no_conecto(&self) -> bool {
        self.clase == Clase::Conecta && !self.texto.is_empty()
    }

    /// Hacia dónde va.
    pub fn sentido(&self) -> Rumbo {
        match (self.clase, &*self.palabra) {
            (Clase::Conecta | Clase::Envia, _) | (Clase::Datos, "envia") => Rumbo::Sale,
            (Clase::Acepta | Clase::Recibe, _) | (Clase::Datos, "recibe") => Rumbo::Llega,
            (Clase::Cierra | Clase::Datos, _) => Rumbo::Aqui,
        }
    }
}

/// Lo leído: los hechos van juntos los de cada proceso, en su orden.
#[derive(Debug, Default)]
pub struct Traza {
    /// Los procesos, en el orden en que aparecieron.
    pub procesos: Vec<Participante>,
    /// Los hechos.
    pub hechos: Vec<Hecho>,
    /// Lo que no se pudo leer, contado.
    pub avisos: Vec<String>,
}

/// Lee y une unos diarios.
///
/// # Errores
/// Un diario no se puede abrir o leer, o en ninguno hay sucesos.
pub fn leer(diarios: &[PathBuf]) -> Result<Traza, Fallo> {
    let mut union = Union::default();
    let tope = TOPE_DE_SUCESOS / diarios.len().max(1);
    for (cual, ruta) in diarios.iter().enumerate() {
        let leido = union.un_diario(cual, ruta, tope);
        leido.map_err(|e| Fallo::de_sistema(format!("el diario {}", ruta.display()), &e))?;
    }
    let traza = union.terminar();
    match traza.hechos.is_empty() {
        true => Err(Fallo::nuevo(
            "en esos diarios no hay ningún suceso (un diario lo escribe el nodo con --diario)",
        )),
        false => Ok(traza),
    }
}

/// Lo que se va leyendo.
#[derive(Default)]
pub struct Union {
    hechos: Vec<Hecho>,
    /// El nombre de cada proceso, y si ya se vio su primer suceso.
    procesos: Vec<(Rc<str>, bool)>,
    /// El último proceso con ese nombre en ese diario.
    ultimos: HashMap<(usize, Rc<str>), usize>,
    compartidos: HashSet<Rc<str>>,
    letras: usize,
    sin_sitio: usize,
    avisos: Vec<String>,
}

impl Union {
    fn un_diario(&mut self, cual: usize, ruta: &Path, tope: usize) -> io::Result<()> {
        let mut diario = BufReader::with_capacity(1 << 18, File::open(ruta)?);
        let (mut linea, mut leidos, mut ilegibles) = (Vec::new(), 0, 0);
        let mut dichos = Vec::new();
        while let Some(fin) = siguiente_linea(&mut diario, &mut linea)? {
            if leidos == tope {
                dichos.push(format!("sólo se leen sus primeros {tope} sucesos"));
                break;
            }
            match (suceso_de(&linea), fin) {
                (Some(suceso), Renglon::Entera | Renglon::Cortada) => {
                    leidos += 1;
                    self.anotar(cual, &suceso);
                }
                (None, Renglon::Cortada) => {
                    dichos.push("su última línea está cortada, y se deja".to_string());
                }
                _ if linea.trim_ascii().is_empty() => {}
                _ => ilegibles += 1,
            }
        }
        if ilegibles > 0 {
            let cuantas = cuenta(ilegibles, "línea no se entiende", "líneas no se entienden");
            dichos.push(format!("{cuantas}, y se dejan"));
        }
        let de_este = dichos
            .iter()
            .map(|que| format!("{}: {que}", ruta.display()));
        self.avisos.extend(de_este);
        Ok(())
    }

    /// Añade un suceso del diario `cual`.
    pub fn anotar(&mut self, cual: usize, suceso: &Suceso) {
        let Some(proceso) = self.proceso(cual, suceso) else {
            self.sin_sitio += 1;
            return;
        };
        let cabe = match self.letras + suceso.texto.len() <= TEXTO_ENTERO {
            true => suceso.texto.len(),
            false => TEXTO_CORTO,
        };
        let texto: Box<str> = recortar(&suceso.texto, cabe).into();
        self.letras += texto.len();
        let hecho = Hecho {
            proceso,
            i: suceso.i,
            t: suceso.t,
            clase: suceso.clase,
            c: suceso.c,
            n: suceso.n,
            bytes: suceso.bytes,
            yo: self.compartir(&suceso.yo),
            otro: self.compartir(&suceso.otro),
            hilo: self.compartir(&suceso.hilo),
            palabra: self.compartir(&suceso.palabra),
            texto,
            falla: suceso.falla.as_ref().map(|falla| self.compartir(falla)),
        };
        self.hechos.push(hecho);
    }

    /// De qué proceso es: en un diario, los sucesos con un mismo nombre son de uno. Si vuelve a
    /// empezar por el 1 es que el nodo se arrancó otra vez sobre el mismo archivo.
    fn proceso(&mut self, cual: usize, suceso: &Suceso) -> Option<usize> {
        let nombre = self.compartir(&suceso.nodo);
        let ultimo = self.ultimos.get(&(cual, Rc::clone(&nombre))).copied();
        let empieza = suceso.i == 1;
        let este = match ultimo {
            Some(este) if !(empieza && self.procesos[este].1) => este,
            _ if self.procesos.len() == TOPE_DE_PROCESOS => return None,
            _ => {
                self.procesos.push((Rc::clone(&nombre), false));
                self.ultimos.insert((cual, nombre), self.procesos.len() - 1);
                self.procesos.len() - 1
            }
        };
        self.procesos[este].1 |= empieza;
        Some(este)
    }

    fn compartir(&mut self, texto: &str) -> Rc<str> {
        let texto = recortar(texto, NOMBRE);
        if let Some(ya) = self.compartidos.get(texto) {
            return Rc::clone(ya);
        }
        let nuevo: Rc<str> = texto.into();
        self.compartidos.insert(Rc::clone(&nuevo));
        nuevo
    }

    /// Ya está todo: cada proceso con sus hechos, por orden.
    pub fn terminar(mut self) -> Traza {
        if self.sin_sitio > 0 {
            let fuera = cuenta(self.sin_sitio, "suceso queda", "sucesos quedan");
            self.avisos.push(format!(
                "hay más de {TOPE_DE_PROCESOS} procesos: {fuera} fuera, los de los demás"
            ));
        }
        self.hechos.sort_unstable_by_key(|h| (h.proceso, h.i));
        let nombres = distintos(self.procesos.iter().map(|(nombre, _)| &**nombre));
        let procesos = nombres
            .into_iter()
            .enumerate()
            .map(|(p, nombre)| Participante {
                nombre,
                desde: self.hechos.partition_point(|h| h.proceso < p),
                hasta: self.hechos.partition_point(|h| h.proceso <= p),
            });
        Traza {
            procesos: procesos.collect(),
            hechos: self.hechos,
            avisos: self.avisos,
        }
    }
}

/// Cómo acabó una línea.
enum Renglon {
    /// Con su salto.
    Entera,
    /// Con el fin del archivo.
    Cortada,
    /// Pasó del tope: sólo está su principio.
    Larga,
}

/// La línea siguiente, con un tope; lo que pase de él se salta.
fn siguiente_linea(diario: &mut impl BufRead, linea: &mut Vec<u8>) -> io::Result<Option<Renglon>> {
    linea.clear();
    let leidos = diario.take(TOPE_DE_LINEA as u64).read_until(b'\n', linea)?;
    if leidos == 0 {
        return Ok(None);
    }
    if linea.ends_with(b"\n") {
        return Ok(Some(Renglon::Entera));
    }
    if leidos < TOPE_DE_LINEA {
        return Ok(Some(Renglon::Cortada));
    }
    diario.skip_until(b'\n')?;
    Ok(Some(Renglon::Larga))
}

fn suceso_de(linea: &[u8]) -> Option<Suceso> {
    Suceso::de_json(str::from_utf8(linea).ok()?).ok()
}

/// Los primeros `bytes` de un texto, sin partir una letra.
fn recortar(texto: &str, bytes: usize) -> &str {
    let mut fin = bytes.min(texto.len());
    while !texto.is_char_boundary(fin) {
        fin -= 1;
    }
    &texto[..fin]
}

/// Nombres limpios, sin blancos dentro que confundan y sin dos iguales.
fn distintos<'a>(nombres: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut puestos: Vec<String> = Vec::new();
    for nombre in nombres {
        let limpio = limpiar(nombre);
        let limpio = match limpio.trim() {
            "" => "(sin nombre)",
            limpio => limpio,
        };
        let con_numero = (2..).map(|n| format!("{limpio} ({n})"));
        let mut posibles = std::iter::once(limpio.to_string()).chain(con_numero);
        puestos.extend(posibles.find(|posible| !puestos.contains(posible)));
    }
    puestos
}
