//! El nodo arranca, dice dónde escucha, sirve y se va bien.

#[cfg(unix)]
use super::comun::falsos::Charla;
use super::comun::{Proceso, dicho, orden, preguntar, quejas, responde};
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

/// En Windows la ruta literal de una carpeta empieza por `\\?\`, y nadie la escribe así.
#[test]
fn las_rutas_se_dicen_como_se_escriben() {
    let (suya, mia) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(suya.path().join("hola.txt"), "hola").unwrap();
    let nodo = Proceso::nodo(suya.path(), &[]);
    let mut visto = nodo.esperar("y comparto ");
    let peer = nodo.direccion().to_string();
    let mia = mia.path().to_str().unwrap();
    let (no_esta, es_un_archivo) = (format!("{mia}/no está"), format!("{mia}/hola.txt"));
    for argumentos in [
        &["descargar", "hola.txt", "--de", &peer, "--carpeta", mia][..],
        &["descargar", "hola.txt", "--de", &peer, "--carpeta", mia],
        &["huella", &es_un_archivo, &no_esta],
        &["listar", "--carpeta", &no_esta],
        &["listar", "--carpeta", &es_un_archivo],
        &["enviar", &no_esta, "--a", &peer],
        &[
            "torrent",
            "hola.txt",
            "--carpeta",
            mia,
            "--peer",
            &peer,
            "-o",
            &no_esta,
        ],
        &["listar", "--carpeta", mia, "--diario", &es_un_archivo],
        &["informe", &no_esta],
    ] {
        let salida = orden(argumentos);
        visto += &(dicho(&salida) + &quejas(&salida));
    }
    assert!(visto.matches("hola.txt").count() > 3, "{visto}");
    assert!(!visto.contains(r"\\?\"), "{visto}");
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
