//! `nodo qr`: a qué nodo llega un teléfono, y qué se dice si a ninguno.

use tempfile::tempdir;

use super::comun::{Proceso, codigo, orden, quejas};

/// Nadie escucha en el puerto 1.
const NADIE: &str = "127.0.0.1:1";

#[test]
fn si_no_llega_ningun_telefono_dice_que_hacer() {
    let carpeta = tempdir().unwrap();
    let mut nodo = Proceso::nodo(carpeta.path(), &["--peer", NADIE]);
    let puerto = nodo.direccion().port().to_string();
    let visto = orden(["qr", "--puerto", &puerto]);
    assert_eq!(codigo(&visto), Some(1));
    assert!(
        quejas(&visto).contains("sólo escucha en esta máquina"),
        "{}",
        quejas(&visto)
    );
    nodo.matar();
    let visto = orden(["qr", "--puerto", &puerto]);
    assert_eq!(codigo(&visto), Some(1));
    assert!(
        quejas(&visto).contains("no hay ningún nodo en marcha"),
        "{}",
        quejas(&visto)
    );
}
