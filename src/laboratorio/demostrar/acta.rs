//! Cómo se cuenta lo que se vio: la ficha de cada demostración, la tabla del final y el informe en
//! Markdown. No pinta: da las líneas. En pantalla, ninguna pasa de 80 columnas.

use std::env::consts::{ARCH, OS};
use std::thread::available_parallelism;
use std::time::Duration;

use crate::fallo::Fallo;
use crate::laboratorio::demostrar::defectos::{DEFECTOS, Defecto};
use crate::laboratorio::demostrar::medida::{Medida, Veredicto};
use crate::texto::{cuenta, duracion};

/// Columnas de la pantalla.
const ANCHO: usize = 80;
/// Lo que se mete hacia dentro lo que cuelga de un título.
const SANGRIA: &str = "    ";

/// Una demostración hecha.
pub struct Hecha {
    /// Cuál.
    pub defecto: &'static Defecto,
    /// Lo que se contó, o por qué no se pudo.
    pub fin: Result<Medida, Fallo>,
    /// Lo que tardó.
    pub tiempo: Duration,
}

impl Hecha {
    /// Qué dicen sus números.
    pub fn veredicto(&self) -> Veredicto {
        let medida = self.fin.as_ref();
        medida.map_or(Veredicto::NoSePudo, Medida::veredicto)
    }

    /// Lo contado con el de la guía y con el nodo.
    fn columnas(&self) -> (String, String) {
        match &self.fin {
            Ok(medida) => (medida.ingenuo.to_string(), medida.nodo.to_string()),
            Err(_) => ("-".into(), "-".into()),
        }
    }

    /// El veredicto en una frase, y lo que se vio.
    fn explicacion(&self) -> String {
        let visto = match &self.fin {
            Ok(medida) => &medida.visto,
            Err(fallo) => return format!("No se pudo probar aquí: {fallo}."),
        };
        match self.veredicto() {
            Veredicto::NoSeVio => {
                format!("No se vio en esta máquina esta vez. Cuando se ve: {visto}")
            }
            Veredicto::SigueEnElNodo => {
                format!("¡También le pasa al nodo! Tendría que ser así: {visto}")
            }
            Veredicto::Arreglado | Veredicto::NoSePudo => visto.clone(),
        }
    }
}

/// La lista de los defectos.
pub fn lista() -> Vec<String> {
    let mut lineas = vec![
        "Los defectos del nodo de la guía, como están numerados en".to_string(),
        "src/practicas/ingenuo.rs:".to_string(),
        String::new(),
    ];
    lineas.extend(DEFECTOS.iter().map(titulo));
    lineas.push(String::new());
    lineas.push("Para ver uno: nodo demostrar N. Para verlos todos: nodo demostrar todo".into());
    lineas
}

/// El número y la frase.
pub fn titulo(defecto: &Defecto) -> String {
    format!("{:>2}. {}", defecto.numero, defecto.frase)
}

/// Lo que cuelga del título: las dos columnas, qué se vio y dónde está arreglado.
pub fn ficha(hecha: &Hecha) -> Vec<String> {
    let (ingenuo, nodo) = hecha.columnas();
    let que = hecha.defecto.que;
    let mut lineas = vec![format!(
        "{SANGRIA}{que:<34}ingenuo: {ingenuo:<12} nodo: {nodo}"
    )];
    lineas.extend(en_lineas(&hecha.explicacion(), ANCHO - SANGRIA.len()));
    let tardo = duracion(hecha.tiempo);
    let arreglo = hecha.defecto.arreglo;
    lineas.push(format!("Lo arregla src/{arreglo} ({tardo})"));
    for linea in &mut lineas[1..] {
        linea.insert_str(0, SANGRIA);
    }
    lineas.push(String::new());
    lineas
}

/// Parte un texto en líneas de `ancho` columnas como mucho, sin partir palabras ni separar una
/// cifra de lo que cuenta.
fn en_lineas(texto: &str, ancho: usize) -> Vec<String> {
    let mut trozos: Vec<String> = Vec::new();
    for palabra in texto.split(' ') {
        match trozos.last_mut() {
            Some(cifra) if cifra.ends_with(|c: char| c.is_ascii_digit()) => {
                *cifra += &format!(" {palabra}");
            }
            _ => trozos.push(palabra.to_string()),
        }
    }
    let mut lineas: Vec<String> = Vec::new();
    for trozo in trozos {
        match lineas.last_mut() {
            Some(linea) if linea.chars().count() + 1 + trozo.chars().count() <= ancho => {
                *linea += &format!(" {trozo}");
            }
            _ => lineas.push(trozo),
        }
    }
    lineas
}

/// La tabla del final.
pub fn tabla(hechas: &[Hecha]) -> Vec<String> {
    let fila = |numero: &str, defecto: &str, ingenuo: &str, nodo: &str, veredicto: &str| {
        format!("{numero:>2}  {defecto:<33} {ingenuo:<12} {nodo:<12} {veredicto}")
    };
    let mut lineas = vec![
        fila("N", "defecto", "ingenuo", "nodo", "veredicto"),
        "─".repeat(ANCHO - 4),
    ];
    for hecha in hechas {
        let (ingenuo, nodo) = hecha.columnas();
        let (numero, veredicto) = (hecha.defecto.numero.to_string(), hecha.veredicto());
        let corto = hecha.defecto.corto;
        lineas.push(fila(
            &numero,
            corto,
            &ingenuo,
            &nodo,
            &veredicto.to_string(),
        ));
    }
    lineas.push(String::new());
    lineas.push(resumen(hechas));
    lineas
}

/// «De 17 defectos: 16 vistos y arreglados, 1 no se vio (31,2 s)».
fn resumen(hechas: &[Hecha]) -> String {
    let cuantas = |este| hechas.iter().filter(|h| h.veredicto() == este).count();
    let mut partes = Vec::new();
    for (veredicto, uno, varios) in [
        (
            Veredicto::Arreglado,
            "visto y arreglado",
            "vistos y arreglados",
        ),
        (Veredicto::NoSeVio, "no se vio", "no se vieron"),
        (
            Veredicto::SigueEnElNodo,
            "sigue en el nodo",
            "siguen en el nodo",
        ),
        (
            Veredicto::NoSePudo,
            "no se pudo probar",
            "no se pudieron probar",
        ),
    ] {
        if cuantas(veredicto) > 0 {
            partes.push(cuenta(cuantas(veredicto), uno, varios));
        }
    }
    let de = cuenta(hechas.len(), "defecto", "defectos");
    let tiempo = duracion(hechas.iter().map(|hecha| hecha.tiempo).sum());
    format!("De {de}: {} ({tiempo})", partes.join(", "))
}

/// El informe, en Markdown.
pub fn informe(hechas: &[Hecha]) -> String {
    let nucleos = available_parallelism().map_or(1, usize::from);
    let mut texto = format!(
        "# Los defectos de la guía, medidos\n\n\
         Contado en esta máquina ({OS}, {ARCH}, {}) con `nodo demostrar`: cada defecto se provoca \
         con el nodo de la guía (`nodo ingenuo`) y se repite lo mismo con el nodo. {}.\n\n\
         | N | defecto | qué se cuenta | ingenuo | nodo | veredicto | lo arregla |\n\
         |---|---|---|---|---|---|---|\n",
        cuenta(nucleos, "núcleo", "núcleos"),
        resumen(hechas),
    );
    for hecha in hechas {
        let Defecto {
            numero,
            frase,
            que,
            arreglo,
            ..
        } = hecha.defecto;
        let ((ingenuo, nodo), veredicto) = (hecha.columnas(), hecha.veredicto());
        texto += &format!(
            "| {numero} | {frase} | {que} | {ingenuo} | {nodo} | {veredicto} | `src/{arreglo}` |\n"
        );
    }
    texto += "\n## Qué se vio\n\n";
    for hecha in hechas {
        let numero = hecha.defecto.numero;
        texto += &format!("{numero}. {}\n", hecha.explicacion());
    }
    texto
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laboratorio::demostrar::medida::Contado;

    fn hechas() -> Vec<Hecha> {
        let medida = |n: usize| Medida {
            ingenuo: Contado::Veces(100 + n, 1000),
            nodo: Contado::Espera(Duration::from_micros(5), Duration::from_secs(2)),
            visto: "palabra y media ".repeat(20).trim_end().to_string(),
        };
        let hecha = |defecto: &'static Defecto| Hecha {
            defecto,
            fin: match defecto.numero {
                3 => Err(Fallo::nuevo("no hay puertos libres")),
                n => Ok(medida(n)),
            },
            tiempo: Duration::from_millis(1500),
        };
        DEFECTOS.iter().map(hecha).collect()
    }

    #[test]
    fn todo_cabe_en_ochenta_columnas() {
        let hechas = hechas();
        let fichas = hechas.iter().flat_map(ficha);
        for linea in fichas.chain(lista()).chain(tabla(&hechas)) {
            assert!(linea.chars().count() <= ANCHO, "{linea}");
        }
        assert!(lista().len() < 24, "la lista entera cabe en una pantalla");
    }

    #[test]
    fn el_texto_se_parte_entre_palabras() {
        assert_eq!(en_lineas("uno dos tres", 7), ["uno dos", "tres"]);
        assert_eq!(en_lineas("palabrota uno", 4), ["palabrota", "uno"]);
        assert_eq!(en_lineas("", 4), [""]);
        assert_eq!(en_lineas("son 16 MB o más", 8), ["son", "16 MB o", "más"]);
    }

    #[test]
    fn el_informe_lleva_una_fila_por_defecto_y_el_resumen_cuenta() {
        let informe = informe(&hechas());
        for defecto in DEFECTOS {
            let fila = format!("\n| {} | {} | ", defecto.numero, defecto.frase);
            assert!(informe.contains(&fila), "{informe}");
        }
        assert!(
            informe.contains("| 101 de 1000 | menos de 1 ms | arreglado | `src/red/parada.rs`")
        );
        assert!(informe.contains("| - | - | no se pudo |"));
        assert!(informe.contains("\n3. No se pudo probar aquí: no hay puertos libres.\n"));
        assert!(
            informe
                .contains("De 17 defectos: 16 vistos y arreglados, 1 no se pudo probar (25,5 s)")
        );
    }
}
