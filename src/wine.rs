//! Lo que cambia en las pruebas cuando las de Windows se corren con Wine. Sólo está en las pruebas.

/// ¿Se corre con Wine y no con Windows? Ninguno más pone esta variable a sus programas.
pub fn bajo_wine() -> bool {
    cfg!(windows) && std::env::var_os("WINEDATADIR").is_some()
}

/// Con Wine no se ve llegar un RST: al notarlo, su servidor lee el error del socket (`SO_ERROR`), y
/// leerlo lo borra. Quien estaba leyendo encuentra un final normal.
pub fn se_pierde_el_rst() -> bool {
    bajo_wine()
}
