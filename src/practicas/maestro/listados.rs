//! Los listados del maestro, de fichas a JSON. Funciones puras.
//!
//! El JSON de los listados se escribe directamente: con un millón de archivos, montarlo antes como `Value` ocuparía
//! cientos de megas. `serde_json` pone las comillas y los escapes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ficha::Ficha;

/// `GET /locate`: quién tiene `archivo`.
pub fn escribir_localizados(archivo: &str, duenos: &[Arc<Ficha>]) -> Vec<u8> {
    let mut texto = Vec::with_capacity(64 + 80 * duenos.len());
    texto.extend(b"{\"file\":");
    escribir_texto(&mut texto, archivo);
    texto.extend(b",\"peers\":[");
    separados(&mut texto, duenos, |texto, ficha| {
        escribir_contacto(texto, ficha);
        if let Some(puerto) = ficha.puerto {
            texto.extend(format!(",\"puerto\":{puerto}").bytes());
        }
        texto.push(b'}');
    });
    texto.extend(b"]}\n");
    texto
}

fn escribir_texto(salida: &mut Vec<u8>, texto: &str) {
    serde_json::to_writer(salida, texto).expect("escribir un texto en memoria no falla");
}

fn separados<T>(salida: &mut Vec<u8>, cosas: &[T], escribir: impl Fn(&mut Vec<u8>, &T)) {
    for (n, cosa) in cosas.iter().enumerate() {
        if n > 0 {
            salida.push(b',');
        }
        escribir(salida, cosa);
    }
}

/// `{"rest":…,"grpc_port":…`, sin cerrar.
fn escribir_contacto(salida: &mut Vec<u8>, ficha: &Ficha) {
    salida.extend(b"{\"rest\":");
    escribir_texto(salida, &ficha.rest);
    salida.extend(format!(",\"grpc_port\":{}", ficha.grpc_port).bytes());
}

/// `GET /peers`.
pub fn escribir_peers(fichas: &[Arc<Ficha>]) -> Vec<u8> {
    let mut salida = Vec::new();
    salida.extend(b"{\"peers\":[");
    separados(&mut salida, fichas, |salida, ficha| {
        escribir_contacto(salida, ficha);
        salida.extend(b",\"files\":[");
        separados(salida, &ficha.archivos, |salida, nombre| {
            escribir_texto(salida, nombre)
        });
        salida.extend(b"]}");
    });
    salida.extend(b"]}\n");
    salida
}

/// `GET /directory`: de cada archivo, quién lo tiene.
pub fn escribir_directorio(fichas: &[Arc<Ficha>]) -> Vec<u8> {
    let mut salida = Vec::new();
    let mut por_archivo: BTreeMap<&str, Vec<&Ficha>> = BTreeMap::new();
    for ficha in fichas {
        for nombre in &ficha.archivos {
            por_archivo.entry(nombre).or_default().push(ficha);
        }
    }
    salida.extend(b"{\"directory\":{");
    separados(
        &mut salida,
        &Vec::from_iter(por_archivo),
        |salida, (nombre, duenos)| {
            escribir_texto(salida, nombre);
            salida.extend(b":[");
            separados(salida, duenos, |salida, ficha| {
                escribir_contacto(salida, ficha);
                salida.push(b'}');
            });
            salida.push(b']');
        },
    );
    salida.extend(b"}}\n");
    salida
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::practicas::maestro::altas::leer_registro;
    use serde_json::Value;
    use serde_json::json;
    use std::net::Ipv4Addr;

    #[test]
    fn los_listados_son_json_aunque_los_nombres_sean_raros() {
        let raro = "a\"b\\c\n\u{1}ñ</script>";
        let cuerpo = json!({"peer": "http://127.0.0.1:1", "files": [raro, "b"], "grpc_port": 9002});
        let fichas = [Arc::new(
            leer_registro(cuerpo, Ipv4Addr::LOCALHOST.into()).unwrap().0,
        )];
        let escrito = |escribir: fn(&[Arc<Ficha>]) -> Vec<u8>| {
            serde_json::from_slice::<Value>(&escribir(&fichas)).unwrap()
        };
        let contacto = json!({"rest": "http://127.0.0.1:1", "grpc_port": 9002});
        assert_eq!(
            escrito(escribir_directorio),
            json!({"directory": {raro: [contacto], "b": [contacto]}})
        );
        let peer = json!({"rest": "http://127.0.0.1:1", "grpc_port": 9002, "files": [raro, "b"]});
        assert_eq!(escrito(escribir_peers), json!({"peers": [peer]}));
    }
}
