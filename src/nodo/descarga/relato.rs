//! Cómo se cuenta que un archivo ya está aquí, lo haya pedido este nodo o se lo hayan enviado.
//!
//! La línea de la guía, y debajo lo que ella no puede saber. No pinta: da las líneas.

use std::path::Path;

use crate::consola::pantalla::huella_en_pantalla;
use crate::guia::DESCARGADO;
use crate::nodo::carpeta::Carpeta;
use crate::nodo::carpeta::nombres::en_nfc;
use crate::nodo::descarga::pedido::Descargado;
use crate::texto::{cuenta, duracion, ritmo, tamano};

/// Cómo acabó la descarga de lo que se pidió como `pedido`: la línea de la guía, dónde quedó (que
/// puede no ser `compartidos`) y las cifras.
pub fn contar_descarga(pedido: &str, fin: &Descargado, carpeta: &Carpeta) -> Vec<String> {
    log::info!("{pedido}: huella {}", fin.huella);
    let huella = huella_en_pantalla(&fin.huella);
    let nombre = &fin.nombre;
    if fin.ya_estaba {
        return vec![format!(
            "[YA LO TIENES] {nombre} es el mismo archivo (huella {huella}); no se guarda otra vez"
        )];
    }
    let mut lineas = vec![format!("{DESCARGADO} {nombre}")];
    if *nombre != en_nfc(pedido) {
        lineas.push(format!(
            "  queda como «{nombre}»: ya había otro archivo distinto llamado {pedido}"
        ));
    }
    let donde = en_corto(&carpeta.ruta().join(nombre));
    lineas.push(format!("  en {donde}"));
    let fuentes = cuenta(fin.fuentes, "fuente", "fuentes");
    let como_llego = match ritmo(fin.bajados, fin.bajando) {
        _ if fin.fuentes == 0 => "ya estaba entero de otra vez".to_string(),
        Some(ritmo) if fin.bajados < fin.tamano => {
            format!("bajó {} a {ritmo} · {fuentes}", tamano(fin.bajados))
        }
        Some(ritmo) => format!("{ritmo} · {fuentes}"),
        None => fuentes,
    };
    let comprobado = match fin.comprobado {
        true => "comprobado",
        false => "SIN COMPROBAR",
    };
    let (cuanto, tiempo) = (tamano(fin.tamano), duracion(fin.tiempo));
    lineas.push(format!("  {cuanto} en {tiempo} · {como_llego}"));
    lineas.push(format!("  huella {huella} · {comprobado}"));
    lineas
}

/// Una ruta como se escribiría desde aquí: sin la carpeta de trabajo delante.
pub fn en_corto(ruta: &Path) -> String {
    let aqui = std::env::current_dir().unwrap_or_default();
    let corta = ruta.strip_prefix(aqui).unwrap_or(ruta);
    corta.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodo::carpeta::huella::huella_de_bloque;
    use std::time::Duration;

    #[test]
    fn el_final_dice_si_se_comprobo_y_con_que_nombre_quedo() {
        let fin = Descargado {
            nombre: "a (1).txt".into(),
            tamano: 3,
            bajados: 3,
            bajando: Duration::from_millis(5),
            tiempo: Duration::from_millis(5),
            fuentes: 1,
            huella: huella_de_bloque(3, 0, b"abc"),
            comprobado: false,
            ya_estaba: false,
        };
        let temporal = tempfile::tempdir().unwrap();
        let carpeta = Carpeta::abrir(temporal.path()).unwrap();
        let lineas = contar_descarga("a.txt", &fin, &carpeta).join("\n");
        assert!(lineas.starts_with(&format!("{DESCARGADO} a (1).txt")));
        let quedo = carpeta.ruta().join("a (1).txt");
        assert!(
            lineas.contains(&format!("  en {}", quedo.display())),
            "{lineas}"
        );
        assert!(
            lineas.contains("ya había otro")
                && lineas.contains("SIN COMPROBAR")
                && lineas.contains("1 fuente")
        );
    }
}
