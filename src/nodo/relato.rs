//! Las frases con que se cuenta lo que pasa, con los textos entre corchetes de la guía. Funciones puras.

use crate::nodo::carpeta::nombres::en_nfc;
use crate::nodo::descarga::pedido::Descargado;
use crate::nodo::evento::{Evento, Mensaje};
use crate::texto::{cuenta, decimal, duracion, tamano};

/// Conexiones que se enseñan de una tanda; las demás se cuentan. Nadie lee mil líneas por segundo.
const CONEXIONES_POR_TANDA: usize = 20;

/// Las líneas de una tanda de eventos, y de los que se perdieron por no caber.
pub fn contar_tanda(eventos: &[Evento], perdidos: usize) -> Vec<String> {
    let mut conexiones = 0;
    let mut lineas: Vec<String> = eventos
        .iter()
        .filter(|evento| {
            conexiones += usize::from(matches!(evento, Evento::Conexion(_)));
            !matches!(evento, Evento::Conexion(_)) || conexiones <= CONEXIONES_POR_TANDA
        })
        .flat_map(contar)
        .collect();
    if conexiones > CONEXIONES_POR_TANDA {
        lineas.push(format!(
            "[CONEXIÓN] … y {} más",
            conexiones - CONEXIONES_POR_TANDA
        ));
    }
    if perdidos > 0 {
        lineas.push(format!(
            "[AVISO] … y {} que no dio tiempo a mostrar",
            cuenta(perdidos, "suceso", "sucesos")
        ));
    }
    lineas
}

/// Las líneas de un evento.
fn contar(evento: &Evento) -> Vec<String> {
    match evento {
        Evento::Conexion(desde) => vec![format!("[CONEXIÓN] Desde {desde}")],
        Evento::EnvioCompleto(nombre) => vec![format!("[ENVÍO COMPLETO] {nombre}")],
        Evento::EnvioParcial { nombre, bytes, a } => {
            vec![format!("[ENVÍO] {} de {nombre} a {a}", tamano(*bytes))]
        }
        Evento::Mensaje(mensaje) => vec![contar_mensaje(mensaje)],
        Evento::Recibiendo(nombre, desde) => {
            vec![format!("[RECIBIENDO] {nombre}, que envía {desde}")]
        }
        Evento::Recibido(descargado) => contar_descarga(&descargado.nombre, descargado),
        Evento::Aviso(frase) => vec![frase.clone()],
    }
}

/// Un mensaje recibido, en una línea.
pub fn contar_mensaje(mensaje: &Mensaje) -> String {
    format!(
        "[MENSAJE] {} ({}): {}",
        mensaje.de,
        mensaje.desde.ip(),
        mensaje.texto
    )
}

/// Cómo acabó la descarga de lo que se pidió como `pedido`: la línea de la guía y la de las cifras.
pub fn contar_descarga(pedido: &str, fin: &Descargado) -> Vec<String> {
    if fin.ya_estaba {
        return vec![format!(
            "[YA LO TIENES] {} es el mismo archivo (huella {}); no se guarda otra vez",
            fin.nombre, fin.huella
        )];
    }
    let mut lineas = vec![format!("[DESCARGADO EN COMPARTIDOS] {}", fin.nombre)];
    if fin.nombre != en_nfc(pedido) {
        lineas.push(format!(
            "  queda como «{}»: ya había otro archivo distinto llamado {pedido}",
            fin.nombre
        ));
    }
    let como_llego = if fin.fuentes == 0 {
        "ya estaba entero de otra vez".to_string()
    } else {
        let segundos = fin.tiempo.as_secs_f64().max(1e-6);
        let ritmo = decimal(fin.bajados as f64 / 1e6 / segundos);
        format!(
            "{ritmo} MB/s · {}",
            cuenta(fin.fuentes, "fuente", "fuentes")
        )
    };
    lineas.push(format!(
        "  {} en {} · {como_llego} · huella {} · {}",
        tamano(fin.tamano),
        duracion(fin.tiempo),
        fin.huella,
        if fin.comprobado {
            "comprobado"
        } else {
            "SIN COMPROBAR"
        }
    ));
    lineas
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodo::carpeta::huella::huella_de_bloque;
    use std::time::Duration;

    #[test]
    fn una_avalancha_se_resume_y_nada_se_calla() {
        let desde = "127.0.0.1:1".parse().unwrap();
        let mut eventos = vec![Evento::Conexion(desde); 50];
        eventos.push(Evento::EnvioCompleto("a".into()));
        let lineas = contar_tanda(&eventos, 3);
        assert_eq!(lineas.len(), CONEXIONES_POR_TANDA + 3);
        assert!(lineas.contains(&"[ENVÍO COMPLETO] a".to_string()));
        assert!(lineas.contains(&"[CONEXIÓN] … y 30 más".to_string()));
        assert!(lineas.last().unwrap().contains("3 sucesos"));
    }

    #[test]
    fn el_final_dice_si_se_comprobo_y_con_que_nombre_quedo() {
        let fin = Descargado {
            nombre: "a (1).txt".into(),
            tamano: 3,
            bajados: 3,
            tiempo: Duration::from_millis(5),
            fuentes: 1,
            huella: huella_de_bloque(3, 0, b"abc"),
            comprobado: false,
            ya_estaba: false,
        };
        let lineas = contar_descarga("a.txt", &fin).join("\n");
        assert!(lineas.starts_with("[DESCARGADO EN COMPARTIDOS] a (1).txt"));
        assert!(
            lineas.contains("ya había otro")
                && lineas.contains("SIN COMPROBAR")
                && lineas.contains("1 fuente")
        );
    }
}
