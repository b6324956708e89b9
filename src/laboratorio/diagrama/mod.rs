//! `nodo diagrama`: une los diarios de unos nodos y dibuja qué mensajes viajaron, con sus relojes
//! lógicos.
//!
//! No está en la guía. Los pasos, cada uno en su archivo: [`leer`] los diarios, [`emparejar`] cada
//! envío con su recepción, poner [`relojes`] a los sucesos, y escribirlo: [`svg`], [`mermaid`] o
//! [`shiviz`]. De lo mismo salen las [`transferencias`] del acta. No habla con ningún nodo: sólo
//! lee archivos.

pub mod emparejar;
mod flechas;
pub mod leer;
pub mod mermaid;
pub mod relojes;
pub mod shiviz;
pub mod svg;
pub mod transferencias;

use std::fs;
use std::path::{Path, PathBuf};

use crate::consola::{Consola, Paso};
use crate::fallo::{Fallo, Salida};
use crate::laboratorio::Formato;
use crate::laboratorio::suceso::Clase;
use crate::red::hilos::arrancar;
use crate::texto::{cuenta, limpiar, tamano};
use emparejar::Parejas;
use leer::{Hecho, Rumbo, Traza};
use relojes::Recorte;

/// Lo que pasó: los diarios unidos, con cada envío y su recepción casados y los relojes puestos.
pub struct Ejecucion {
    /// Los procesos y sus hechos.
    pub traza: Traza,
    /// Con cuál casa cada uno.
    pub parejas: Parejas,
    /// El reloj de Lamport de cada uno.
    pub lamport: Vec<u32>,
    /// La fila en que se dibuja cada uno.
    pub filas: Vec<u32>,
    /// Lo que conviene saber de los diarios.
    pub avisos: Vec<String>,
}

impl Ejecucion {
    /// La que cuentan esos diarios.
    pub fn de_diarios(diarios: &[PathBuf]) -> Result<Ejecucion, Fallo> {
        Ok(Ejecucion::de_traza(leer::leer(diarios)?))
    }

    /// La de una traza ya leída.
    pub fn de_traza(mut traza: Traza) -> Ejecucion {
        let mut avisos = std::mem::take(&mut traza.avisos);
        let (mut parejas, duda) = emparejar::emparejar(&traza);
        avisos.extend(duda);
        let (lamport, sueltas) = relojes::lamport(&traza, &mut parejas, relojes::causa);
        if sueltas > 0 {
            let flechas = cuenta(sueltas, "flecha se suelta", "flechas se sueltan");
            avisos.push(format!(
                "los diarios se contradicen (algo llega antes de salir): {flechas}"
            ));
        }
        Ejecucion {
            filas: relojes::filas(&traza, &mut parejas),
            traza,
            parejas,
            lamport,
            avisos,
        }
    }

    /// Sus primeros sucesos, con los vectores.
    pub fn recortar(&self, tope: usize) -> Recorte<'_> {
        Recorte::nuevo(self, tope)
    }

    /// En una línea, cuánto hay.
    pub fn resumen(&self) -> String {
        let (mut casadas, mut sueltas) = (0, 0);
        for (este, hecho) in self.traza.hechos.iter().enumerate() {
            match (self.parejas.de(este), hecho.sentido()) {
                (Some(_), Rumbo::Llega) => casadas += 1,
                (None, Rumbo::Sale | Rumbo::Llega) if !hecho.no_conecto() => sueltas += 1,
                _ => {}
            }
        }
        format!(
            "{} · {} · {} · {sueltas} sin pareja",
            cuenta(self.traza.procesos.len(), "nodo", "nodos"),
            cuenta(self.traza.hechos.len(), "suceso", "sucesos"),
            cuenta(casadas, "flecha", "flechas"),
        )
    }
}

/// Los primeros avisos, y cuántos más hay.
fn primeros(avisos: &[String], tope: usize) -> Vec<String> {
    let mut van: Vec<String> = avisos.iter().take(tope).cloned().collect();
    if avisos.len() > tope {
        van.push(format!(
            "Y {}.",
            cuenta(avisos.len() - tope, "aviso más", "avisos más")
        ));
    }
    van
}

/// Lo que hay que decir si no van todos.
fn recortado(van: usize, todos: usize) -> Option<String> {
    (van < todos).then(|| format!("Recortado: van los primeros {van} sucesos, de {todos}."))
}

/// `nodo diagrama`.
pub fn abrir(
    diarios: &[PathBuf],
    salida: Option<&Path>,
    formato: Formato,
    consola: &mut Consola,
) -> Result<Salida, Fallo> {
    entregar(diarios, salida, consola, move |ejecucion| match formato {
        Formato::Svg => svg::dibujar(ejecucion),
        Formato::Mermaid => mermaid::escribir(ejecucion, mermaid::TOPE),
        Formato::Shiviz => shiviz::escribir(ejecucion),
    })
}

/// Lee unos diarios, escribe con ellos un documento y lo entrega en un archivo o por la salida.
/// Leer de una tubería no se puede despertar: va en su hilo, y un Ctrl-C lo deja.
pub fn entregar(
    diarios: &[PathBuf],
    salida: Option<&Path>,
    consola: &mut Consola,
    escribir: impl FnOnce(&Ejecucion) -> Documento + Send + 'static,
) -> Result<Salida, Fallo> {
    let (diarios, destino) = (diarios.to_vec(), salida.map(Path::to_path_buf));
    let hilo = arrancar("diagrama", move || {
        let ejecucion = Ejecucion::de_diarios(&diarios)?;
        let documento = escribir(&ejecucion);
        if let Some(destino) = destino {
            guardar(&destino, &diarios, &documento.texto)?;
        }
        let avisos = ejecucion.avisos.iter().chain(&documento.aviso);
        let avisos: Vec<String> = avisos.cloned().collect();
        Ok((documento.texto, ejecucion.resumen(), avisos))
    })?;
    if consola.siguiente(&hilo.fin) == Paso::Interrumpido {
        return Ok(Salida::Interrumpido);
    }
    let Some(hecho) = hilo.esperar() else {
        return Ok(Salida::NoSePudo);
    };
    let (texto, resumen, avisos) = hecho?;
    let pantalla = &mut consola.pantalla;
    avisos.iter().for_each(|aviso| pantalla.aviso(aviso));
    match salida {
        Some(destino) => pantalla.linea(format!("{}: {resumen}", destino.display())),
        None => pantalla.tanda(texto.lines()),
    }
    Ok(Salida::Bien)
}

/// Lo escrito, y si hubo que recortarlo.
pub struct Documento {
    /// El texto.
    pub texto: String,
    /// Qué se recortó.
    pub aviso: Option<String>,
}

fn guardar(destino: &Path, diarios: &[PathBuf], texto: &str) -> Result<(), Fallo> {
    let real = |ruta: &Path| fs::canonicalize(ruta).ok();
    let suyo = real(destino);
    if suyo.is_some() && diarios.iter().any(|diario| real(diario) == suyo) {
        let frase = format!(
            "{} es uno de los diarios: di otro con -o",
            destino.display()
        );
        return Err(Fallo::nuevo(frase));
    }
    let escrito = fs::write(destino, texto);
    escrito.map_err(|e| Fallo::de_sistema(format!("escribiendo {}", destino.display()), &e))
}

/// Lo que se lee en una flecha: el número de la línea y lo que decía, sin limpiar.
fn etiqueta(hecho: &Hecho) -> String {
    match hecho.clase {
        Clase::Conecta if hecho.no_conecto() => format!("no conecta: {}", hecho.texto),
        Clase::Conecta => "conecta".to_string(),
        Clase::Acepta => "acepta".to_string(),
        Clase::Cierra => "cierra".to_string(),
        Clase::Datos => format!("datos, {}", tamano(hecho.bytes)),
        Clase::Envia | Clase::Recibe => {
            let dice = match &*hecho.texto {
                "" => &*hecho.palabra,
                texto => texto,
            };
            format!("{}. {dice}", hecho.n)
        }
    }
}

/// Qué hizo el proceso.
fn que_es(hecho: &Hecho) -> String {
    match hecho.clase {
        Clase::Envia => format!("envía {}", etiqueta(hecho)),
        Clase::Recibe => format!("recibe {}", etiqueta(hecho)),
        Clase::Datos if hecho.sentido() == Rumbo::Sale => "envía datos".to_string(),
        Clase::Datos => "recibe datos".to_string(),
        _ => etiqueta(hecho),
    }
}

/// Limpia un texto y lo deja en `tope` letras (las anchas cuentan dos), quitando las del medio: lo
/// que distingue a un nombre suele estar al final.
fn acortar(ajeno: &str, tope: usize) -> String {
    let limpio = limpiar(ajeno);
    let ancho = |letra: char| if letra >= '\u{1100}' { 2 } else { 1 };
    if limpio.chars().map(ancho).sum::<usize>() <= tope {
        return limpio;
    }
    let caben = |letras: &mut dyn Iterator<Item = char>, mut quedan: usize| -> String {
        let cabe = |letra: &char| {
            let cabe = ancho(*letra) <= quedan;
            quedan = quedan.saturating_sub(ancho(*letra));
            cabe
        };
        letras.take_while(cabe).collect()
    };
    let delante = caben(&mut limpio.chars(), tope * 3 / 5);
    let detras = caben(&mut limpio.chars().rev(), tope - tope * 3 / 5 - 1);
    let detras: String = detras.chars().rev().collect();
    format!("{delante}…{detras}")
}

#[cfg(test)]
mod tests;
