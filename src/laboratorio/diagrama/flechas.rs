//! Un suceso en el SVG: su flecha, su punto, lo que se lee a los lados y lo que se lee al pasar el
//! ratón por encima.

use crate::laboratorio::diagrama::leer::{Hecho, Rumbo};
use crate::laboratorio::diagrama::svg::{CABEN, FILA, Lienzo, VECTORES_A_LA_VISTA, xml};
use crate::laboratorio::diagrama::{acortar, etiqueta, que_es};
use crate::laboratorio::suceso::Clase;
use crate::texto::tamano;

/// Lo que hace falta para poner una flecha.
struct Trazo {
    desde: (f64, f64),
    hasta: (f64, f64),
    /// A qué lado de su línea cae: 1 a la derecha, -1 a la izquierda.
    lado: f64,
    casa: bool,
}

impl Lienzo<'_> {
    /// La flecha de un suceso: la que sale de él, o la que le llega si no se sabe de dónde.
    pub(super) fn flecha(&mut self, lugar: usize) {
        let este = self.recorte.orden[lugar];
        let hecho = &self.recorte.traza.hechos[este];
        let Some(trazo) = self.trazo(este, hecho) else {
            return;
        };
        let pareja = self.recorte.parejas.de(este);
        let ya_sale = pareja.is_some_and(|sale| self.recorte.parejas.de(sale) == Some(este));
        if ya_sale && hecho.sentido() == Rumbo::Llega {
            return;
        }
        let clase = clase_de(hecho, trazo.casa);
        let punta = clase.split(' ').next_back().unwrap_or_default();
        let (titulo, flecha) = (self.titulo(lugar, hecho), flecha(&trazo, punta));
        self.svg += &format!("<g class=\"suceso {clase}\"><title>{titulo}</title>{flecha}</g>\n");
    }

    /// Un suceso: su punto, lo que dice y sus relojes.
    pub(super) fn suceso(&mut self, lugar: usize) {
        let este = self.recorte.orden[lugar];
        let hecho = &self.recorte.traza.hechos[este];
        let (x, y) = (self.x(hecho.proceso), self.y(este));
        let trazo = self.trazo(este, hecho);
        let clase = clase_de(hecho, trazo.as_ref().is_none_or(|trazo| trazo.casa));
        let titulo = self.titulo(lugar, hecho);
        let (izquierda, arriba) = (x - 4.0, y - 4.0);
        self.svg += &format!("<g class=\"suceso {clase}\"><title>{titulo}</title>");
        self.svg += &match hecho.clase {
            Clase::Cierra => {
                format!("<path class=\"cierre\" d=\"M{izquierda} {arriba}l8 8m0 -8l-8 8\"/>\n")
            }
            _ => format!("<circle class=\"punto\" cx=\"{x}\" cy=\"{y}\" r=\"4\"/>\n"),
        };
        self.rotulos(lugar, hecho, trazo.as_ref());
        self.svg += "</g>\n";
    }

    /// Lo que dice, al lado de la flecha; sus relojes, al otro.
    fn rotulos(&mut self, lugar: usize, hecho: &Hecho, trazo: Option<&Trazo>) {
        let este = self.recorte.orden[lugar];
        let (x, y) = (self.x(hecho.proceso), self.y(este));
        let lado = trazo.map_or(1.0, |trazo| trazo.lado);
        let fin = |lado: f64| if lado < 0.0 { " fin" } else { "" };
        let llega = hecho.sentido() == Rumbo::Llega;
        let casa = trazo.is_none_or(|trazo| trazo.casa);
        if !(llega && casa) {
            let baja = match (hecho.sentido(), hecho.clase) {
                (Rumbo::Sale, _) => -5.0,
                (Rumbo::Llega, _) => 13.0,
                (Rumbo::Aqui, _) => 4.0,
            };
            let dice = con_falla(hecho);
            self.texto(
                (x + 10.0 * lado, y + baja),
                &format!("dice{}", fin(lado)),
                &dice,
            );
        }
        let vector = match self.por_proceso.len() <= VECTORES_A_LA_VISTA {
            true => self.vector(lugar),
            false => String::new(),
        };
        let reloj = format!("{} {vector}", self.recorte.lamport[este]);
        let clase = format!("reloj{}", fin(-lado));
        self.texto((x - 10.0 * lado, y + 4.0), &clase, reloj.trim_end());
    }

    fn vector(&self, lugar: usize) -> String {
        let numeros = self.recorte.vector(lugar).iter().map(u32::to_string);
        format!("({})", numeros.collect::<Vec<String>>().join(","))
    }

    /// Por dónde va la flecha de un suceso, si la tiene.
    fn trazo(&self, este: usize, hecho: &Hecho) -> Option<Trazo> {
        let (x, y) = (self.x(hecho.proceso), self.y(este));
        let pareja = self.recorte.parejas.de(este);
        let proceso_de = |h: usize| self.recorte.traza.hechos[h].proceso;
        let hacia = pareja
            .map(proceso_de)
            .or_else(|| self.quien_es(&hecho.otro));
        let lado = match hacia {
            Some(otro) if otro < hecho.proceso => -1.0,
            _ => 1.0,
        };
        let punta = |subir: f64| (x + lado * 170.0, y + subir * FILA as f64);
        let (desde, hasta) = match (hecho.sentido(), pareja) {
            (Rumbo::Aqui, _) => return None,
            (Rumbo::Sale, Some(otra)) if !self.esta(otra) => ((x, y), punta(0.3)),
            (Rumbo::Sale, Some(otra)) => ((x, y), (self.x(proceso_de(otra)), self.y(otra))),
            (Rumbo::Sale, None) => ((x, y), punta(0.3)),
            (Rumbo::Llega, Some(otra)) => ((self.x(proceso_de(otra)), self.y(otra)), (x, y)),
            (Rumbo::Llega, None) => (punta(-0.3), (x, y)),
        };
        let casa = pareja.is_some();
        Some(Trazo {
            desde,
            hasta,
            lado,
            casa,
        })
    }

    /// ¿Cae dentro del recorte?
    fn esta(&self, hecho: usize) -> bool {
        self.recorte.filas[hecho] as usize <= self.filas()
    }

    /// El proceso que acepta en esa dirección.
    fn quien_es(&self, direccion: &str) -> Option<usize> {
        self.sitios.iter().position(|sitio| sitio == direccion)
    }

    /// El texto entero de un suceso, para cuando se le pasa el ratón por encima.
    fn titulo(&self, lugar: usize, hecho: &Hecho) -> String {
        let este = self.recorte.orden[lugar];
        let mut lineas = vec![
            format!("{}: {}", self.quien(lugar), que_es(hecho)),
            match hecho.bytes {
                0 => format!("conexión {}", hecho.c),
                bytes => format!("{}, conexión {}", tamano(bytes), hecho.c),
            },
            format!("{} con {}, hilo {}", hecho.yo, hecho.otro, hecho.hilo),
            format!(
                "Lamport {}, vector {}",
                self.recorte.lamport[este],
                self.vector(lugar)
            ),
        ];
        if let Some(falla) = &hecho.falla {
            lineas.push(format!("falla puesta a propósito: {falla}"));
        }
        match self.recorte.parejas.de(este) {
            None if hecho.sentido() != Rumbo::Aqui && !hecho.no_conecto() => {
                lineas.push("sin pareja en estos diarios".to_string());
            }
            Some(otra) if !self.esta(otra) => {
                lineas.push("llega más abajo de lo que se dibuja".to_string());
            }
            _ => {}
        }
        lineas.push(self.sus_concurrentes(lugar));
        let lineas: Vec<String> = lineas.iter().map(|linea| xml(linea)).collect();
        lineas.join("\n")
    }

    fn sus_concurrentes(&self, lugar: usize) -> String {
        let con = self.recorte.concurrentes_con(lugar, &self.por_proceso);
        let con: Vec<String> = con
            .into_iter()
            .map(|(proceso, desde, hasta)| match desde == hasta {
                true => format!("el {desde} de {}", self.nombre(proceso)),
                false => format!("del {desde} al {hasta} de {}", self.nombre(proceso)),
            })
            .collect();
        match con.is_empty() {
            true => "concurrente con ninguno".to_string(),
            false => format!("concurrente con: {}", con.join("; ")),
        }
    }
}

/// Con qué colores va un suceso: el último es el de su flecha.
fn clase_de(hecho: &Hecho, casa: bool) -> &'static str {
    match (casa, hecho.falla.is_some(), hecho.clase) {
        (false, true, _) => "sola falla",
        (false, false, _) => "sola",
        (true, true, _) => "falla",
        (true, false, Clase::Datos) => "datos",
        _ => "normal",
    }
}

/// Lo que se lee en su flecha, con la falla delante.
fn con_falla(hecho: &Hecho) -> String {
    let Some(falla) = &hecho.falla else {
        return acortar(&etiqueta(hecho), CABEN);
    };
    let falla = acortar(falla, CABEN / 2);
    let quedan = CABEN - 3 - falla.chars().count();
    format!("[{falla}] {}", acortar(&etiqueta(hecho), quedan))
}

/// Una flecha; la que vuelve a su misma línea, en curva.
fn flecha(trazo: &Trazo, punta: &str) -> String {
    let ((x1, y1), (x2, y2)) = (trazo.desde, trazo.hasta);
    let camino = match x1 == x2 {
        true => format!("M{x1} {y1}C{} {y1} {} {y2} {x2} {y2}", x1 + 60.0, x1 + 60.0),
        false => format!("M{x1} {y1}L{x2} {y2}"),
    };
    format!("<path class=\"flecha\" marker-end=\"url(#{punta})\" d=\"{camino}\"/>")
}
