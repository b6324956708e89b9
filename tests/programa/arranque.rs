//! El nodo arranca, dice dónde escucha, sirve y se va bien.

#[cfg(unix)]
use super::comun::falsos::Charla;
use super::comun::{Proceso, preguntar, responde};
use crate::guia::{SALIENDO, SELECCIONE};

#[test]
fn arranca_en_un_puerto_libre_y_sirve_lo_que_hay() {
    let carpeta = tempfile::tempdir().unwrap();
    std::fs::write(carpeta.path().join("hola.txt"), "hola").unwrap();
    let nodo = Proceso::nodo(carpeta.path(), &[]);
    assert!(responde(nodo.direccion()));
    assert_eq!(preguntar(nodo.direccion(), b"BUSCAR:hola.txt"), b"SI");
    assert_eq!(
        preguntar(nodo.direccion(), b"DESCARGAR:hola.txt"),
        b"OKhola"
    );
}

#[test]
fn el_menu_sale_con_3_y_con_el_fin_de_la_entrada() {
    let carpeta = tempfile::tempdir().unwrap();
    let mut nodo = Proceso::menu(carpeta.path(), &[]);
    nodo.escribir("3");
    assert_eq!(nodo.terminar(), Some(0));
    let mut nodo = Proceso::menu(carpeta.path(), &[]);
    nodo.entrada = None;
    assert_eq!(nodo.terminar(), Some(0));
    assert!(nodo.esperar(SALIENDO).contains(SELECCIONE));
}

#[cfg(unix)]
#[test]
fn lo_que_dijo_recibir_lo_pinta_aunque_lo_paren_en_el_acto() {
    let carpeta = tempfile::tempdir().unwrap();
    let mut nodo = Proceso::nodo(carpeta.path(), &[]);
    let mut charla = Charla::con(nodo.direccion());
    for n in 0..100 {
        assert_eq!(
            charla.pedir(&format!("MENSAJE:ana:recado {n}.")),
            "RECIBIDO"
        );
    }
    nodo.senal("TERM");
    assert_eq!(nodo.terminar(), Some(130));
    nodo.esperar_veces("recado ", 100);
}
