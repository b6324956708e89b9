//! La ejecución como un SVG autónomo: una columna por proceso y una flecha por mensaje.
//!
//! Es el diagrama de espacio y tiempo de los libros, con el tiempo hacia abajo. Cada suceso tiene
//! para sí media columna a cada lado de su línea, en su fila: a un lado va lo que dice y al otro
//! sus relojes, y ningún texto cae sobre otro (cada uno se dibuja en `flechas.rs`). No lleva
//! guiones ni pide nada de fuera, y todo lo ajeno va escapado.

use crate::http::escapar;
use crate::laboratorio::diagrama::leer::Participante;
use crate::laboratorio::diagrama::relojes::Recorte;
use crate::laboratorio::diagrama::{Documento, Ejecucion, acortar, primeros, que_es, recortado};
use crate::laboratorio::suceso::Clase;
use crate::texto::cuenta;

/// Sucesos que se dibujan, como mucho: más no se leen.
const TOPE: usize = 1000;
/// Con más procesos, el vector sólo se ve al pasar el ratón.
pub(super) const VECTORES_A_LA_VISTA: usize = 6;
/// Parejas de sucesos concurrentes que se ponen de ejemplo.
const EJEMPLOS: usize = 10;

/// Avisos que se escriben en el dibujo; en la pantalla salen todos.
const AVISOS: usize = 12;

/// Entre una columna y la siguiente.
const COLUMNA: usize = 440;
/// A la izquierda de la primera columna: los números de Lamport y lo que cae a ese lado.
const MARGEN: usize = 230;
/// Entre una fila y la siguiente.
pub(super) const FILA: usize = 34;
/// Cada cuántas filas se repiten los nombres.
const REPETIR: usize = 30;
/// Lo que ocupan.
const BANDA: usize = 40;
/// Letras que caben en media columna.
pub(super) const CABEN: usize = 28;
/// Lo que ocupa una línea de explicación.
const LINEA: usize = 20;
/// Letras de una línea de explicación.
const RENGLON: usize = 150;

const ESTILO: &str = "\
text{font-family:'DejaVu Sans',Verdana,sans-serif;font-size:12px;fill:#1a1a1a}\
.titulo{font-size:20px;font-weight:bold}.subtitulo{font-size:16px;font-weight:bold}\
.aviso{fill:#8a3b00;font-weight:bold}\
.nombre{font-size:14px;font-weight:bold;text-anchor:middle}\
.sitio,.reloj{font-size:11px;fill:#555}.sitio{text-anchor:middle}\
.reloj{font-family:'DejaVu Sans Mono',Consolas,monospace}\
.fin{text-anchor:end}.fondo{fill:#fff}.fila{stroke:#eee}.banda{fill:#f2f2f2}.vida{stroke:#9e9e9e}\
.suceso text{paint-order:stroke;stroke:#fff;stroke-width:4px;stroke-linejoin:round}\
.flecha{fill:none;stroke:#1f4e8c;stroke-width:1.4}.punto{fill:#1f4e8c}\
.datos .flecha{stroke:#2e7d32;stroke-width:3}.datos .punto{fill:#2e7d32}\
.sola .flecha{stroke:#757575;stroke-dasharray:5 4}.sola .punto{fill:#757575}\
.sola text{fill:#555}\
.falla .flecha{stroke:#c62828}.falla .punto{fill:#c62828}.falla .dice{fill:#c62828}\
.cierre{fill:none;stroke:#757575;stroke-width:1.6}\
.suceso:hover .flecha,.suceso:hover .punto{stroke-width:4;stroke:#e08600}\
.suceso:hover text{font-weight:bold}";

/// Qué se dice siempre debajo del título.
const COMO_SE_LEE: &str = "Cómo se lee: el tiempo va hacia abajo y toda flecha baja, pero la \
altura no es la hora: dos sucesos que no se alcanzan por flechas y columnas pudieron pasar en \
otro orden. Junto a cada suceso, su reloj de Lamport y su vector: cuántos sucesos de cada columna \
lo alcanzan, contándolo a él. El número de una flecha es el de la línea en su sentido de la \
conexión; al pasar el ratón se lee entera. Los hilos de un nodo cuentan como uno solo: sus \
sucesos van en el orden en que el nodo los numeró, aunque dos hilos no se hablaran. Los datos de \
un archivo no llevan número, y su flecha no cuenta para los relojes.";

/// Dibuja una ejecución.
pub fn dibujar(ejecucion: &Ejecucion) -> Documento {
    let recorte = ejecucion.recortar(TOPE);
    let aviso = recortado(recorte.orden.len(), ejecucion.lamport.len());
    let mut lienzo = Lienzo {
        svg: String::new(),
        por_proceso: recorte.por_proceso(),
        sitios: sitios(&recorte),
        recorte: &recorte,
        cabecera: 0,
    };
    let cabecera = lienzo.explicar(ejecucion, aviso.as_ref());
    lienzo.cabecera = cabecera + 50;
    lienzo.columnas();
    // Las flechas debajo: así ninguna tacha un texto.
    (0..recorte.orden.len()).for_each(|lugar| lienzo.flecha(lugar));
    (0..recorte.orden.len()).for_each(|lugar| lienzo.suceso(lugar));
    let alto = lienzo.concurrentes(lienzo.alto() + 40) + 20;
    let ancho = MARGEN + COLUMNA * recorte.traza.procesos.len();
    let ancho = ancho.max(RENGLON * 7);
    let texto = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{ancho}\" height=\"{alto}\" \
         viewBox=\"0 0 {ancho} {alto}\">\n<title>Diagrama de espacio y tiempo</title>\n\
         <style>{ESTILO}</style>\n{}\n<rect class=\"fondo\" width=\"100%\" height=\"100%\"/>\n\
         {}</svg>\n",
        puntas(),
        lienzo.svg
    );
    Documento { texto, aviso }
}

/// Las puntas de flecha, una de cada color.
fn puntas() -> String {
    let colores = [
        ("normal", "#1f4e8c"),
        ("datos", "#2e7d32"),
        ("sola", "#757575"),
        ("falla", "#c62828"),
    ];
    let punta = |(nombre, color): (&str, &str)| {
        format!(
            "<marker id=\"{nombre}\" viewBox=\"0 0 10 10\" refX=\"10\" refY=\"5\" \
             markerWidth=\"9\" markerHeight=\"9\" markerUnits=\"userSpaceOnUse\" orient=\"auto\">\
             <path d=\"M0 1L10 5L0 9z\" fill=\"{color}\"/></marker>"
        )
    };
    let puntas = colores.map(punta).concat();
    format!("<defs>{puntas}</defs>")
}

/// Dónde escucha cada proceso: la dirección en que aceptó su primera conexión.
fn sitios(recorte: &Recorte) -> Vec<String> {
    let sitio = |proceso: &Participante| {
        let mut hechos = recorte.traza.hechos[proceso.desde..proceso.hasta].iter();
        let acepta = hechos.find(|hecho| hecho.clase == Clase::Acepta);
        acepta.map_or(String::new(), |hecho| hecho.yo.to_string())
    };
    recorte.traza.procesos.iter().map(sitio).collect()
}

/// Lo que se va dibujando.
pub(super) struct Lienzo<'a> {
    pub(super) svg: String,
    pub(super) recorte: &'a Recorte<'a>,
    pub(super) por_proceso: Vec<Vec<usize>>,
    /// Dónde escucha cada proceso.
    pub(super) sitios: Vec<String>,
    /// Dónde empieza la primera fila.
    cabecera: usize,
}

impl Lienzo<'_> {
    pub(super) fn x(&self, proceso: usize) -> f64 {
        (MARGEN + COLUMNA * proceso) as f64
    }

    pub(super) fn y(&self, hecho: usize) -> f64 {
        self.altura(self.recorte.filas[hecho] as usize)
    }

    /// La altura de una fila: cada tantas hay una banda con los nombres.
    fn altura(&self, fila: usize) -> f64 {
        (self.cabecera + fila * FILA + (fila.saturating_sub(1)) / REPETIR * BANDA) as f64
    }

    pub(super) fn filas(&self) -> usize {
        let ultimo = self.recorte.orden.last();
        ultimo.map_or(0, |&hecho| self.recorte.filas[hecho] as usize)
    }

    fn alto(&self) -> usize {
        self.altura(self.filas()) as usize
    }

    pub(super) fn texto(&mut self, (x, y): (f64, f64), clase: &str, dice: &str) {
        let dice = xml(dice);
        self.svg += &format!("<text x=\"{x}\" y=\"{y}\" class=\"{clase}\">{dice}</text>\n");
    }

    /// El título y lo que hay que saber. Devuelve dónde acaba.
    fn explicar(&mut self, ejecucion: &Ejecucion, recortado: Option<&String>) -> usize {
        let titulo = "Diagrama de espacio y tiempo";
        self.texto((20.0, 36.0), "titulo", titulo);
        self.texto((20.0, 60.0), "", &ejecucion.resumen());
        let mut y = 84;
        for linea in renglones(COMO_SE_LEE) {
            self.texto((20.0, y as f64), "", &linea);
            y += LINEA;
        }
        y = self.leyenda(y + 4);
        for aviso in primeros(&ejecucion.avisos, AVISOS).iter().chain(recortado) {
            for linea in renglones(aviso) {
                self.texto((20.0, y as f64), "aviso", &linea);
                y += LINEA;
            }
        }
        y
    }

    fn leyenda(&mut self, y: usize) -> usize {
        let casos = [
            ("normal", "mensaje"),
            ("datos", "datos de un archivo"),
            ("sola", "sin pareja en los diarios"),
            ("falla", "falla puesta a propósito"),
        ];
        for (n, (clase, dice)) in casos.into_iter().enumerate() {
            let (x, y) = (20 + n * 230, y - 4);
            self.svg += &format!(
                "<g class=\"{clase}\"><path class=\"flecha\" marker-end=\"url(#{clase})\" \
                 d=\"M{x} {y}h40\"/></g>\n"
            );
            self.texto((x as f64 + 48.0, y as f64 + 4.0), "", dice);
        }
        y + LINEA
    }

    /// Las filas, con su número de Lamport, y las columnas.
    fn columnas(&mut self) {
        let procesos = self.recorte.traza.procesos.len();
        let derecha = self.x(procesos - 1) + 210.0;
        for fila in 1..=self.filas() {
            let y = self.altura(fila);
            self.svg += &format!("<path class=\"fila\" d=\"M20 {y}H{derecha}\"/>\n");
        }
        (0..procesos).for_each(|proceso| self.columna(proceso));
    }

    /// La línea de vida de un proceso, con su nombre arriba y repetido.
    fn columna(&mut self, proceso: usize) {
        let (x, nombre) = (self.x(proceso), self.nombre(proceso));
        let (arriba, abajo) = (self.altura(0), self.alto() + FILA / 2);
        self.svg += &format!("<path class=\"vida\" d=\"M{x} {arriba}V{abajo}\"/>\n");
        self.texto((x, arriba - 24.0), "nombre", &nombre);
        let sitio = acortar(&self.sitios[proceso], 40);
        self.texto((x, arriba - 8.0), "sitio", &sitio);
        for fila in (REPETIR + 1..=self.filas()).step_by(REPETIR) {
            let y = self.altura(fila) - 30.0;
            let (izquierda, encima) = (x - 90.0, y - 14.0);
            self.svg += &format!(
                "<rect class=\"banda\" x=\"{izquierda}\" y=\"{encima}\" \
                 width=\"180\" height=\"20\"/>\n"
            );
            self.texto((x, y), "nombre", &nombre);
        }
    }

    pub(super) fn nombre(&self, proceso: usize) -> String {
        acortar(&self.recorte.traza.procesos[proceso].nombre, 24)
    }

    pub(super) fn quien(&self, lugar: usize) -> String {
        let (proceso, numero) = self.recorte.quien(lugar);
        format!("{} suceso {numero}", self.nombre(proceso))
    }

    /// Debajo, qué sucesos son concurrentes. Devuelve dónde acaba.
    fn concurrentes(&mut self, y: usize) -> usize {
        let mut y = y;
        self.texto((20.0, y as f64), "subtitulo", "Sucesos concurrentes");
        let cuantas = self.recorte.parejas_concurrentes() as usize;
        let que = match cuantas {
            0 => "Ninguno: cada suceso alcanza al siguiente o es alcanzado por él.".to_string(),
            _ => format!(
                "{}: ninguno de los dos alcanza al otro, y ninguna hora puede decir cuál fue \
                 antes. Con cuáles lo es cada uno se lee al pasarle el ratón por encima. Algunas:",
                cuenta(cuantas, "pareja", "parejas")
            ),
        };
        let ejemplos = self.ejemplos();
        for linea in renglones(&que).iter().chain(&ejemplos) {
            y += LINEA;
            self.texto((20.0, y as f64), "", linea);
        }
        y
    }

    /// De cada suceso, el primero de los que vienen detrás que es concurrente con él.
    fn ejemplos(&self) -> Vec<String> {
        let lugares = 0..self.recorte.orden.len();
        let pareja = |a: usize| {
            let b = (a + 1..lugares.end).find(|&b| self.recorte.concurrentes(a, b))?;
            let dice = |lugar: usize| {
                let hecho = &self.recorte.traza.hechos[self.recorte.orden[lugar]];
                let que = acortar(&que_es(hecho), 40);
                format!("{} ({que})", self.quien(lugar))
            };
            Some(format!("{}  ∥  {}", dice(a), dice(b)))
        };
        lugares.clone().filter_map(pareja).take(EJEMPLOS).collect()
    }
}

/// Un texto ajeno dentro del SVG: escapado, y sin los dos caracteres que XML no admite y no son de
/// control.
pub(super) fn xml(ajeno: &str) -> String {
    escapar(ajeno).replace(['\u{fffe}', '\u{ffff}'], "")
}

/// Parte un texto en renglones.
fn renglones(texto: &str) -> Vec<String> {
    let mut renglones = vec![String::new()];
    for palabra in acortar(texto, RENGLON * 8).split(' ') {
        let ultimo = renglones.last_mut().expect("siempre hay uno");
        if ultimo.is_empty() {
            ultimo.push_str(palabra);
        } else if ultimo.chars().count() + palabra.chars().count() < RENGLON {
            ultimo.push(' ');
            ultimo.push_str(palabra);
        } else {
            renglones.push(palabra.to_string());
        }
    }
    renglones
}
