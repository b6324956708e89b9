//! `nodo demostrar`: los defectos de la guía, provocados y contados en esta máquina.
//!
//! Cada demostración es el guion de un experimento: preparar un banco, provocar el defecto con el
//! nodo de la guía, repetir lo mismo con el de verdad, y contar. Ningún resultado está escrito: el
//! veredicto sale de lo contado, y lo que no se ve aquí se dice.
//!
//! Qué defectos hay, en [`defectos`]; los guiones, en `al_servir`, `al_buscar`, `al_descargar` y
//! `en_el_menu`; con qué se hacen, en [`banco`] y [`trampas`]; cómo se cuentan, en [`acta`].

pub mod acta;
mod al_buscar;
mod al_descargar;
mod al_servir;
pub mod banco;
pub mod defectos;
mod en_el_menu;
pub mod medida;
pub mod trampas;

use std::fs;
use std::io;
use std::path::Path;
use std::time::Instant;

use crate::consola::progreso::Fase;
use crate::consola::{Consola, Encargo};
use crate::fallo::{Fallo, Salida};
use acta::Hecha;
use banco::Banco;
use defectos::{DEFECTOS, Defecto};
use medida::Veredicto;

/// `nodo demostrar`: la lista; o uno, o todos, con su informe si se pide.
pub fn abrir(
    cual: Option<&str>,
    informe: Option<&Path>,
    consola: &mut Consola,
) -> Result<Salida, Fallo> {
    let elegidos = match (elegir(cual), informe) {
        (Ok([]), None) => {
            consola.pantalla.tanda(acta::lista());
            return Ok(Salida::Bien);
        }
        (Ok([]), Some(_)) => Err("--informe necesita qué demostrar: un número o «todo»".into()),
        (elegidos, _) => elegidos,
    };
    let elegidos = match elegidos {
        Ok(elegidos) => elegidos,
        Err(frase) => {
            consola.pantalla.aviso(format!("nodo: {frase}"));
            return Ok(Salida::MalEscrito);
        }
    };
    informe.map_or(Ok(()), que_haya_donde)?;
    let (hechas, dejado) = consola.trabajar(|encargo| demostrar(elegidos, &encargo))?;
    if dejado {
        return Ok(Salida::Interrumpido);
    }
    if elegidos.len() > 1 {
        consola.pantalla.tanda(acta::tabla(&hechas));
    }
    if let Some(ruta) = informe {
        fs::write(ruta, acta::informe(&hechas)).map_err(|e| no_se_escribe(ruta, &e))?;
        let frase = format!("El informe está en {}", ruta.display());
        consola.pantalla.aviso(frase);
    }
    let va_bien = |h: &Hecha| matches!(h.veredicto(), Veredicto::Arreglado | Veredicto::NoSeVio);
    Ok(match hechas.iter().all(va_bien) {
        true => Salida::Bien,
        false => Salida::NoSePudo,
    })
}

/// Un informe para una carpeta que no está se dice antes de medir nada.
fn que_haya_donde(ruta: &Path) -> Result<(), Fallo> {
    let carpeta = ruta.parent().filter(|carpeta| *carpeta != Path::new(""));
    let hay = carpeta.map_or(Ok(()), |carpeta| fs::metadata(carpeta).map(drop));
    hay.map_err(|e| no_se_escribe(ruta, &e))
}

fn no_se_escribe(ruta: &Path, error: &io::Error) -> Fallo {
    Fallo::de_sistema(format!("escribiendo {}", ruta.display()), error)
}

/// Los que se piden: ninguno, uno o todos.
fn elegir(cual: Option<&str>) -> Result<&'static [Defecto], String> {
    let hay = DEFECTOS.len();
    let Some(cual) = cual else { return Ok(&[]) };
    if cual == "todo" {
        return Ok(DEFECTOS);
    }
    let numero = cual.parse().ok().and_then(|n: usize| n.checked_sub(1));
    let elegido = numero.and_then(|n| DEFECTOS.get(n..=n));
    elegido.ok_or_else(|| format!("no hay defecto «{cual}»: van de 1 a {hay}, o «todo»"))
}

/// Hace cada demostración y la cuenta según acaba, hasta la última o hasta que lo dejen.
fn demostrar(elegidos: &'static [Defecto], encargo: &Encargo) -> Vec<Hecha> {
    let mut hechas = Vec::new();
    for defecto in elegidos {
        let van = hechas.len() as u64;
        encargo
            .progreso
            .empezar(Fase::Probando, elegidos.len() as u64, van);
        (encargo.decir)(acta::titulo(defecto));
        let empezo = Instant::now();
        let fin = Banco::nuevo(encargo.parada).and_then(|banco| (defecto.guion)(&banco));
        if encargo.parada.avisada() {
            break;
        }
        let tiempo = empezo.elapsed();
        let hecha = Hecha {
            defecto,
            fin,
            tiempo,
        };
        acta::ficha(&hecha).into_iter().for_each(encargo.decir);
        hechas.push(hecha);
    }
    hechas
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn se_elige_por_su_numero() {
        assert!(elegir(None).unwrap().is_empty());
        assert_eq!(elegir(Some("todo")).unwrap().len(), DEFECTOS.len());
        for defecto in DEFECTOS {
            let elegido = elegir(Some(&defecto.numero.to_string())).unwrap();
            assert_eq!((elegido.len(), elegido[0].numero), (1, defecto.numero));
        }
        for malo in ["0", "18", "-1", "doce", "", "99999999999999999999999"] {
            assert!(elegir(Some(malo)).is_err(), "{malo}");
        }
    }
}
