//! Todas las pruebas en una sola caja: se enlaza una vez y da un solo resumen.
//!
//! Son de dos clases. Las de cada pieza van junto a su código, en `src/`, y llegan aquí con
//! [`biblioteca`]. Las del programa entero arrancan procesos de verdad, y están en
//! `tests/programa/`, un archivo por tema.
//!
//! Se hacen a la vez tantas como núcleos hay, por orden alfabético. Por eso las que sólo esperan
//! van juntas, y primero.
//!
//! `cargo test --test todas guia` hace sólo aquellas cuyo nombre contenga `guia`.

/// El mismo código que la biblioteca, con sus pruebas. Dentro se llama a todo por `crate::`, y por
/// eso sus nombres se traen a la raíz.
#[path = "../src/lib.rs"]
pub mod biblioteca;
use biblioteca::*;

use std::thread;
use std::time::Duration;

/// Lo que se da de más cuando lo que se mide es un rato corto: con Wine, arrancar un proceso cuesta
/// de uno a varios segundos.
pub fn holgura() -> Duration {
    Duration::from_secs(if wine::bajo_wine() { 10 } else { 0 })
}

/// El programa, por fuera: lo que se escribe, lo que viaja y lo que queda en el disco.
#[cfg_attr(
    not(unix),
    allow(
        dead_code,
        unused_imports,
        reason = "lo de las pruebas que sólo son de Unix"
    )
)]
mod programa {
    mod comun;

    pub mod ajenos;
    pub mod arranque;
    pub mod balanceador;
    pub mod carpeta;
    pub mod chat;
    pub mod clave;
    pub mod demostrar;
    pub mod descarga;
    pub mod descubrir;
    pub mod diagnostico;
    pub mod diagrama;
    pub mod ejercicios;
    pub mod enjambre;
    pub mod envio;
    #[cfg(feature = "grpc")]
    pub mod grpc;
    pub mod guia;
    pub mod hablar;
    pub mod hostiles;
    pub mod ingenuo;
    pub mod laboratorio;
    pub mod maestro;
    pub mod menu;
    pub mod nombres;
    pub mod ordenes;
    pub mod qr;
    pub mod readme;
    pub mod rest;
    #[cfg(unix)]
    pub mod terminal;
    pub mod torrent;
    pub mod varios;
    pub mod vivo;
}

/// Las que esperan cinco segundos o más a que venza un plazo casi no gastan procesador, y de dos en
/// dos tardarían minutos. Cada una va en su hilo: todas tardan lo que la más larga. Las que fallen
/// lo dicen con su archivo y su línea.
#[test]
fn a_la_vez_las_que_esperan_plazos() {
    use programa::*;
    let pruebas: &[fn()] = &[
        ajenos::a_quien_gotea_por_http_se_le_deja,
        #[cfg(unix)]
        carpeta::uno_de_50_gib_recien_puesto_no_hace_esperar_a_nadie,
        chat::un_par_que_no_lee_no_para_a_los_demas_ni_la_salida,
        clave::un_saludo_que_no_acaba_se_va_a_los_10_s_en_total,
        demostrar::todo_se_ve_en_la_guia_y_nada_en_el_nodo,
        descarga::a_los_mudos_y_a_los_que_gotean_no_se_les_espera,
        #[cfg(target_os = "linux")]
        descubrir::con_clave_se_encuentran_y_se_reciben_y_quien_no_la_tiene_no,
        #[cfg(target_os = "linux")]
        descubrir::con_ipv6_de_enlace_y_nada_mas,
        #[cfg(target_os = "linux")]
        descubrir::de_un_conocido_solo_se_recibe_si_se_pidio,
        #[cfg(unix)]
        descubrir::dos_de_esta_maquina_se_encuentran,
        #[cfg(target_os = "linux")]
        descubrir::en_una_red_se_encuentran_y_quien_se_va_sale_en_10_s,
        #[cfg(target_os = "linux")]
        descubrir::sin_mas_interfaz_que_la_interna_tambien,
        #[cfg(unix)]
        descubrir::un_anuncio_falso_no_entra_en_la_lista,
        diagnostico::quien_deja_conectar_y_calla_es_otro_programa_o_esta_parado,
        diagnostico::lo_largo_que_se_pierde_suele_ser_la_mtu,
        #[cfg(target_os = "linux")]
        diagnostico::cada_causa_se_dice_con_su_frase,
        diagnostico::llamame_a_quien_calla_contesta_antes_de_5_s,
        envio::a_quien_calla_no_se_le_espera,
        #[cfg(feature = "grpc")]
        grpc::a_quien_no_acaba_su_saludo_se_le_corta_a_los_10_s,
        #[cfg(feature = "grpc")]
        grpc::a_quien_no_lee_lo_que_pidio_se_le_corta_a_los_30_s,
        #[cfg(feature = "grpc")]
        grpc::de_un_peer_que_calla_no_se_espera_mas_de_la_cuenta,
        hablar::tras_el_fin_al_que_calla_se_le_espera_10_s,
        hostiles::quien_gotea_su_linea_se_va_a_los_10_s_en_total,
        hostiles::seiscientas_que_no_acaban_su_linea_no_estorban_y_se_van_en_10_s,
        #[cfg(unix)]
        hostiles::senales::el_envio_que_no_avanza_se_corta_a_los_5_s,
        maestro::a_quien_no_dio_ttl_se_le_pregunta_con_un_final_limpio_hasta_que_falta,
        rest::lo_que_llega_a_la_carpeta_se_registra_en_el_acto,
        #[cfg(unix)]
        rest::quien_sale_se_despide_y_quien_muere_caduca,
        rest::un_maestro_que_se_reinicia_vuelve_a_saberlo_todo,
    ];
    thread::scope(|ambito| {
        for prueba in pruebas {
            ambito.spawn(prueba);
        }
    });
}
