//! Descargar: de una fuente o de muchas, honradas o no, sin que quede nunca un archivo malo con el
//! nombre bueno.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::slice;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use super::comun::falsos::{BLOQUE, Compuerta, Falso, Mana, Puente, huella, huellas_de_bloques};
use super::comun::{
    Lanzar, PACIENCIA, Proceso, acabar, codigo, datos, dicho, nodo, nombres, quejas,
};
use crate::config::Limites;
use crate::consola::progreso::Progreso;
use crate::guia::{DESCARGADO, NO_ENCONTRADO, SELECCIONE};
use crate::nodo::carpeta::Carpeta;
use crate::nodo::cliente::descargar_archivo;
use crate::nodo::descarga::pedido::{Descargado, NoDescargado, Pedido};
use crate::red::parada::Parada;
use tempfile::TempDir;

const NOMBRE: &str = "clase.bin";
const MEDIA: &str = ".clase.bin.part";

/// Seis bloques y un pico: bastantes para que a todas las fuentes les toque alguno.
fn contenido() -> Vec<u8> {
    datos(6 * BLOQUE + 5)
}

fn orden_de_descargar(
    nombre: &str,
    carpeta: &Path,
    fuentes: &[SocketAddr],
) -> std::process::Command {
    let mut orden = nodo();
    orden.args(["descargar", nombre, "--carpeta"]).arg(carpeta);
    for fuente in fuentes {
        orden.args(["--de", &fuente.to_string()]);
    }
    orden.stdin(Stdio::null());
    orden
}

fn descargar(carpeta: &TempDir, fuentes: &[SocketAddr]) -> Output {
    acabar(empezar(carpeta, fuentes))
}

/// Empieza una descarga y la deja en marcha, con lo que diga a la espera.
fn empezar(carpeta: &TempDir, fuentes: &[SocketAddr]) -> Child {
    orden_de_descargar(NOMBRE, carpeta.path(), fuentes)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .lanzar()
}

fn leer(carpeta: &TempDir, nombre: &str) -> Vec<u8> {
    fs::read(carpeta.path().join(nombre)).unwrap()
}

/// Está, es el bueno, está solo y se dijo que está comprobado.
fn asegurar_bueno(salida: &Output, carpeta: &TempDir, contenido: &[u8]) {
    assert_eq!(
        codigo(salida),
        Some(0),
        "{}{}",
        dicho(salida),
        quejas(salida)
    );
    assert_eq!(nombres(carpeta), [NOMBRE], "{}", quejas(salida));
    assert!(
        leer(carpeta, NOMBRE) == contenido,
        "no es el mismo contenido"
    );
    let dicho = dicho(salida);
    assert!(
        dicho.starts_with(&format!("{DESCARGADO} {NOMBRE}\n")),
        "{dicho}"
    );
    assert!(
        dicho.contains(&format!("huella {} · comprobado", huella(contenido))),
        "{dicho}"
    );
}

/// No se pudo, se dice, y no hay nada con el nombre bueno.
fn asegurar_que_no(salida: &Output, carpeta: &TempDir) {
    assert_eq!(
        codigo(salida),
        Some(1),
        "{}{}",
        dicho(salida),
        quejas(salida)
    );
    assert!(dicho(salida).is_empty(), "{}", dicho(salida));
    assert!(!nombres(carpeta).contains(&NOMBRE.to_string()));
}

fn retirada(fuente: SocketAddr) -> String {
    format!("[FUENTE RETIRADA] {fuente}: ")
}

// ----- Lo que va bien -----

#[test]
fn tamanos_en_los_bordes_de_bloque_y_de_bufer_de_una_y_de_tres_fuentes() {
    let compartida = tempfile::tempdir().unwrap();
    let tamanos = [
        0,
        1,
        4095,
        4096,
        4097,
        (256 << 10) - 1,
        256 << 10,
        (256 << 10) + 1,
        BLOQUE - 1,
        BLOQUE,
        BLOQUE + 1,
        2 * BLOQUE,
        3 * BLOQUE + 5,
    ];
    let todo = datos(3 * BLOQUE + 5);
    for tamano in tamanos {
        fs::write(
            compartida.path().join(format!("{tamano}.bin")),
            &todo[..tamano],
        )
        .unwrap();
    }
    let nodos: Vec<Proceso> = (0..3)
        .map(|_| Proceso::nodo(compartida.path(), &[]))
        .collect();
    let todas: Vec<SocketAddr> = nodos.iter().map(Proceso::direccion).collect();
    for fuentes in [&todas[..1], &todas[..]] {
        let carpeta = tempfile::tempdir().unwrap();
        for tamano in tamanos {
            let nombre = format!("{tamano}.bin");
            let salida = orden_de_descargar(&nombre, carpeta.path(), fuentes).recoger();
            assert_eq!(codigo(&salida), Some(0), "{tamano}: {}", quejas(&salida));
            assert!(leer(&carpeta, &nombre) == todo[..tamano], "{tamano}");
            let esperada = format!("huella {} · comprobado", huella(&todo[..tamano]));
            assert!(dicho(&salida).contains(&esperada), "{}", dicho(&salida));
            assert_eq!(quejas(&salida), "", "{tamano}");
        }
        assert_eq!(
            nombres(&carpeta).len(),
            tamanos.len(),
            "no queda ningún .part"
        );
    }
}

#[test]
fn sin_decir_de_quien_se_baja_de_todos_los_que_lo_tienen() {
    let contenido = contenido();
    let compuerta = Arc::new(Compuerta::default());
    let uno = Falso::nuevo(&contenido, Mana::Retenido(Arc::clone(&compuerta)));
    let otro = Falso::nuevo(&contenido, Mana::Retenido(Arc::clone(&compuerta)));
    let sin = Falso::nuevo(b"", Mana::NoLoTiene);
    let carpeta = tempfile::tempdir().unwrap();
    let mut orden = orden_de_descargar(NOMBRE, carpeta.path(), &[]);
    for par in [&uno, &otro, &sin] {
        orden.args(["--peer", &par.direccion.to_string()]);
    }
    let proceso = orden.stdout(Stdio::piped()).stderr(Stdio::piped()).lanzar();
    for par in [&uno, &otro] {
        par.registro.esperar("OBTENER:", 1);
    }
    compuerta.abrir();
    let salida = acabar(proceso);
    asegurar_bueno(&salida, &carpeta, &contenido);
    assert_eq!(sin.registro.cuantos("INFO"), 0, "dijo que no lo tiene");
}

#[test]
fn nadie_lo_tiene() {
    let par = Falso::nuevo(b"", Mana::NoLoTiene);
    let carpeta = tempfile::tempdir().unwrap();
    let salida = descargar(&carpeta, &[par.direccion]);
    asegurar_que_no(&salida, &carpeta);
    assert!(
        quejas(&salida).starts_with(NO_ENCONTRADO),
        "{}",
        quejas(&salida)
    );
    assert!(nombres(&carpeta).is_empty());
}

#[test]
fn quien_cierra_las_ociosas_no_se_retira() {
    let contenido = contenido();
    let par = Falso::nuevo(&contenido, Mana::CierraOciosas);
    let carpeta = tempfile::tempdir().unwrap();
    let salida = descargar(&carpeta, &[par.direccion]);
    asegurar_bueno(&salida, &carpeta, &contenido);
    assert_eq!(quejas(&salida), "");
    assert_eq!(par.registro.bloques(), [0, 1, 2, 3, 4, 5, 6]);
}

#[test]
fn quien_aun_calcula_la_huella_se_espera() {
    let contenido = datos(2 * BLOQUE);
    for mana in [Mana::Calculando(2), Mana::BloquesCalculando(2)] {
        let par = Falso::nuevo(&contenido, mana);
        let carpeta = tempfile::tempdir().unwrap();
        let salida = descargar(&carpeta, &[par.direccion]);
        asegurar_bueno(&salida, &carpeta, &contenido);
        let quejas = quejas(&salida);
        assert_eq!(
            quejas.matches("aún calcula la huella").count(),
            1,
            "{quejas}"
        );
        assert!(!quejas.contains("RETIRADA"), "{quejas}");
    }
}

#[test]
fn quien_calcula_sin_fin_no_retiene_a_los_demas() {
    let contenido = datos(2 * BLOQUE);
    for mana in [
        Mana::Calculando(usize::MAX),
        Mana::BloquesCalculando(usize::MAX),
    ] {
        let eterno = Falso::nuevo(&contenido, mana);
        let bueno = Falso::nuevo(&contenido, Mana::Honrado);
        let carpeta = tempfile::tempdir().unwrap();
        let salida = descargar(&carpeta, &[eterno.direccion, bueno.direccion]);
        asegurar_bueno(&salida, &carpeta, &contenido);
    }
}

#[test]
fn quien_calcula_otra_cosa_no_alarga_una_descarga_sin_fuentes() {
    let contenido = contenido();
    let eterno = Falso::nuevo(&contenido[..5], Mana::Calculando(usize::MAX));
    let par = Falso::nuevo(&contenido, Mana::DesapareceTras(2));
    let carpeta = tempfile::tempdir().unwrap();
    let salida = descargar(&carpeta, &[eterno.direccion, par.direccion]);
    asegurar_que_no(&salida, &carpeta);
    assert!(quejas(&salida).contains("no queda ninguna fuente"));
}

// ----- Los que mienten -----

/// Baja, abriendo la compuerta cuando se queje de algo. Tiene que bajarlo bien.
fn descargar_abriendo(
    fuentes: &[SocketAddr],
    cuando: &str,
    compuerta: &Compuerta,
    contenido: &[u8],
) -> String {
    let carpeta = tempfile::tempdir().unwrap();
    let mut proceso = empezar(&carpeta, fuentes);
    let mut suyas = BufReader::new(proceso.stderr.take().unwrap());
    let mut quejas = String::new();
    while !quejas.contains(cuando) {
        let leido = suyas.read_line(&mut quejas).unwrap();
        assert!(leido > 0, "no dijo {cuando}; dijo: {quejas}");
    }
    compuerta.abrir();
    suyas.read_to_string(&mut quejas).unwrap();
    let salida = proceso.wait_with_output().unwrap();
    asegurar_bueno(&salida, &carpeta, contenido);
    quejas
}

/// Un mentiroso y un honrado que no da nada hasta que se ha retirado al mentiroso.
fn con_un_mentiroso(contenido: &[u8], mana: Mana) {
    let malo = Falso::nuevo(contenido, mana);
    let compuerta = Arc::new(Compuerta::default());
    let bueno = Falso::nuevo(contenido, Mana::Retenido(Arc::clone(&compuerta)));
    let fuentes = [malo.direccion, bueno.direccion];
    let cuando = retirada(malo.direccion);
    let quejas = descargar_abriendo(&fuentes, &cuando, &compuerta, contenido);
    assert_eq!(quejas.matches("RETIRADA").count(), 1, "{quejas}");
    solo_un_mentiroso(malo.direccion);
}

/// Sin nadie más, no se puede.
fn solo_un_mentiroso(malo: SocketAddr) {
    let carpeta = tempfile::tempdir().unwrap();
    let salida = descargar(&carpeta, &[malo]);
    asegurar_que_no(&salida, &carpeta);
    assert!(
        quejas(&salida).contains(&retirada(malo)),
        "{}",
        quejas(&salida)
    );
}

#[test]
fn un_byte_cambiado() {
    for bloque in 0..=6 {
        let contenido = contenido();
        let malo = Falso::nuevo(&contenido, Mana::ByteCambiado(bloque));
        let carpeta = tempfile::tempdir().unwrap();
        let salida = descargar(&carpeta, &[malo.direccion]);
        asegurar_que_no(&salida, &carpeta);
        let quejas = quejas(&salida);
        let culpa = format!("bloque falso (el {})", bloque + 1);
        assert!(
            quejas.contains(&retirada(malo.direccion)) && quejas.contains(&culpa),
            "{quejas}"
        );
    }
}

#[test]
fn un_byte_cambiado_entre_honrados() {
    // Los honrados pueden acabar (también el bloque del otro) antes de que llegue el falso:
    // entonces no hay a quién culpar. El archivo tiene que ser bueno siempre; en alguno de los
    // intentos se tiene que haber notado.
    let contenido = contenido();
    assert!((0..10).any(|_| se_nota_el_falso(&contenido)));
}

fn se_nota_el_falso(contenido: &[u8]) -> bool {
    // Todos sus bloques son falsos: le toque el que le toque, se nota.
    let mut otro = contenido.to_vec();
    otro.iter_mut().step_by(1 << 20).for_each(|b| *b ^= 1);
    let malo = Falso::con_datos(contenido, otro, Mana::Honrado);
    let buenos: Vec<Falso> = (0..2)
        .map(|_| Falso::nuevo(contenido, Mana::TrasPedirA(Arc::clone(&malo.registro))))
        .collect();
    let carpeta = tempfile::tempdir().unwrap();
    let fuentes = [buenos[0].direccion, malo.direccion, buenos[1].direccion];
    let salida = descargar(&carpeta, &fuentes);
    asegurar_bueno(&salida, &carpeta, contenido);
    let quejas = quejas(&salida);
    let retiradas = quejas.matches("RETIRADA").count();
    let el_falso = quejas.contains(&retirada(malo.direccion)) && quejas.contains("bloque falso");
    assert!(retiradas == usize::from(el_falso), "{quejas}");
    el_falso
}

#[test]
fn cuerpo_corto() {
    con_un_mentiroso(&contenido(), Mana::Corto);
}

#[test]
fn anuncia_de_mas() {
    con_un_mentiroso(&contenido(), Mana::AnunciaDeMas);
}

#[test]
fn anuncia_de_menos() {
    con_un_mentiroso(&contenido(), Mana::AnunciaDeMenos);
}

#[test]
fn manda_de_mas() {
    con_un_mentiroso(&contenido(), Mana::MandaDeMas);
}

#[test]
fn rechaza_todo() {
    con_un_mentiroso(&contenido(), Mana::Rechaza);
}

#[test]
fn mentir_en_la_lista_se_nota_antes_de_pedir_un_bloque() {
    let contenido = contenido();
    for (mana, hasta) in [
        (Mana::HuellaFalsa, "BLOQUES"),
        (Mana::ListaFalsa, "BLOQUES"),
        (Mana::UnBillonDeBloques, "BLOQUES"),
        (Mana::Basura, "INFO"),
    ] {
        let malo = Falso::nuevo(&contenido, mana);
        // Si no dijera el bueno lo que tiene después, al malo no se le pediría su lista.
        let compuerta = Arc::new(Compuerta::default());
        let mana = Mana::Tardia(
            vec![Arc::clone(&malo.registro)],
            hasta,
            Arc::clone(&compuerta),
        );
        let bueno = Falso::nuevo(&contenido, mana);
        let fuentes = [malo.direccion, bueno.direccion];
        descargar_abriendo(&fuentes, &retirada(malo.direccion), &compuerta, &contenido);
        assert_eq!(malo.registro.cuantos("OBTENER"), 0);
        solo_un_mentiroso(malo.direccion);
        assert_eq!(malo.registro.cuantos("OBTENER"), 0);
    }
}

#[test]
fn una_huella_inventada_que_cuadra_no_impide_bajarlo_de_los_demas() {
    // De un solo bloque, la lista es la propia huella: cuadra siempre. Se nota al llegar el bloque.
    let contenido = datos(100_000);
    let malo = Falso::nuevo(&contenido, Mana::HuellaInventada);
    let bueno = Falso::nuevo(&contenido, tras_pedir_bloques(slice::from_ref(&malo)));
    let carpeta = tempfile::tempdir().unwrap();
    let salida = descargar(&carpeta, &[malo.direccion, bueno.direccion]);
    asegurar_bueno(&salida, &carpeta, &contenido);
    assert!(
        quejas(&salida).contains(&retirada(malo.direccion)),
        "{}",
        quejas(&salida)
    );
    solo_un_mentiroso(malo.direccion);
}

#[test]
fn un_tamano_imposible_no_impide_bajarlo_de_los_demas() {
    let contenido = contenido();
    for tamano in [u64::MAX, u64::MAX / 2, 1 << 60] {
        let malo = Falso::nuevo(&contenido, Mana::Tamano(tamano));
        let mana = Mana::Tardia(
            vec![Arc::clone(&malo.registro)],
            "INFO",
            Compuerta::abierta(),
        );
        let bueno = Falso::nuevo(&contenido, mana);
        let carpeta = tempfile::tempdir().unwrap();
        let salida = descargar(&carpeta, &[malo.direccion, bueno.direccion]);
        asegurar_bueno(&salida, &carpeta, &contenido);
        assert!(
            quejas(&salida).contains(&retirada(malo.direccion)),
            "{}",
            quejas(&salida)
        );
        let salida = descargar(&tempfile::tempdir().unwrap(), &[malo.direccion]);
        assert_eq!(codigo(&salida), Some(1));
        assert!(quejas(&salida).contains("no cabe"), "{}", quejas(&salida));
    }
}

/// No dice qué tiene hasta que se les pide un bloque a los otros.
fn tras_pedir_bloques(otros: &[Falso]) -> Mana {
    let otros = otros.iter().map(|otro| Arc::clone(&otro.registro));
    Mana::Tardia(otros.collect(), "OBTENER", Compuerta::abierta())
}

#[test]
fn si_hay_dos_distintos_se_baja_el_que_tienen_mas_y_se_dice() {
    let (uno, otro) = (datos(BLOQUE + 1), contenido());
    let compuerta = Arc::new(Compuerta::default());
    let mana = Mana::Retenido(Arc::clone(&compuerta));
    let pares = [(); 2].map(|()| Falso::nuevo(&otro, mana.clone()));
    // El raro lo dice cuando los otros ya dan bloques: no se le pide ninguno.
    let mana = tras_pedir_bloques(&pares[..1]);
    let raro = Falso::nuevo(&uno, mana);
    let fuentes = [raro.direccion, pares[0].direccion, pares[1].direccion];
    let quejas = descargar_abriendo(&fuentes, "2 archivos distintos", &compuerta, &otro);
    assert!(quejas.contains("tienen 2 fuentes"), "{quejas}");
    assert_eq!(raro.registro.cuantos("OBTENER"), 0);
}

#[test]
fn mientras_no_da_ningun_bloque_la_primera_no_se_impone_a_las_demas() {
    let otro = contenido();
    // Se presenta sola y retiene lo que se le pide; las demás llegan después, y son más.
    let raro = Falso::nuevo(&datos(2), Mana::MudoEnBloques);
    let mana = tras_pedir_bloques(slice::from_ref(&raro));
    let pares = [(); 2].map(|()| Falso::nuevo(&otro, mana.clone()));
    let carpeta = tempfile::tempdir().unwrap();
    let fuentes = [raro.direccion, pares[0].direccion, pares[1].direccion];
    let antes = Instant::now();
    let salida = descargar(&carpeta, &fuentes);
    asegurar_bueno(&salida, &carpeta, &otro);
    assert!(
        antes.elapsed() < Duration::from_secs(8),
        "esperó a quien callaba"
    );
    assert!(raro.registro.cuantos("OBTENER") > 0);
}

#[test]
fn si_se_va_la_unica_que_tenia_lo_empezado_se_baja_lo_que_tengan_las_demas() {
    let (uno, otro) = (datos(7 * BLOQUE), contenido()[1..].to_vec());
    let raro = Falso::nuevo(&uno, Mana::ByteCambiado(5));
    let mana = tras_pedir_bloques(slice::from_ref(&raro));
    let par = Falso::nuevo(&otro, mana);
    let carpeta = tempfile::tempdir().unwrap();
    let salida = descargar(&carpeta, &[raro.direccion, par.direccion]);
    asegurar_bueno(&salida, &carpeta, &otro);
    assert!(quejas(&salida).contains(&retirada(raro.direccion)));
}

// ----- Los que callan, los lentos y los que se van -----

/// La llama [`crate::a_la_vez_las_que_esperan_plazos`].
pub fn a_los_mudos_y_a_los_que_gotean_no_se_les_espera() {
    let contenido = &contenido();
    let acompanado = |mana| {
        let malo = Falso::nuevo(contenido, mana);
        let bueno = Falso::nuevo(contenido, Mana::Honrado);
        let carpeta = tempfile::tempdir().unwrap();
        let antes = Instant::now();
        let salida = descargar(&carpeta, &[malo.direccion, bueno.direccion]);
        asegurar_bueno(&salida, &carpeta, contenido);
        // Un bloque de la lenta tardaría 200 s; la lista goteada, 48.
        assert!(antes.elapsed() < Duration::from_secs(35));
    };
    let solo = |mana| {
        let malo = Falso::nuevo(contenido, mana);
        let carpeta = tempfile::tempdir().unwrap();
        let antes = Instant::now();
        let salida = descargar(&carpeta, &[malo.direccion]);
        asegurar_que_no(&salida, &carpeta);
        assert!(quejas(&salida).contains(&retirada(malo.direccion)));
        assert!(antes.elapsed() < Duration::from_secs(35));
    };
    std::thread::scope(|ambito| {
        for mana in [
            Mana::Mudo,
            Mana::MudoEnBloques,
            Mana::ListaGoteada,
            Mana::Lento(20_000),
            Mana::Gotea(GOTEO),
        ] {
            ambito.spawn(|| acompanado(mana));
        }
        for mana in [
            Mana::Mudo,
            Mana::MudoEnBloques,
            Mana::ListaGoteada,
            Mana::Gotea(GOTEO),
        ] {
            ambito.spawn(|| solo(mana));
        }
        ambito.spawn(|| dos_que_gotean_y_una_buena(contenido));
        ambito.spawn(|| la_guia_que_gotea(contenido));
    });
}

/// Cada cuánto da un byte quien gotea: nunca calla lo bastante para que venza un plazo.
const GOTEO: Duration = Duration::from_secs(5);

/// El único bloque lo tienen ya dos que gotean cuando la buena dice que lo tiene.
fn dos_que_gotean_y_una_buena(contenido: &[u8]) {
    let contenido = &contenido[..100_000];
    let gotean = [(); 2].map(|()| Falso::nuevo(contenido, Mana::Gotea(GOTEO)));
    let buena = Falso::nuevo(contenido, tras_pedir_bloques(&gotean));
    let carpeta = tempfile::tempdir().unwrap();
    let antes = Instant::now();
    let fuentes = [gotean[0].direccion, gotean[1].direccion, buena.direccion];
    let salida = descargar(&carpeta, &fuentes);
    asegurar_bueno(&salida, &carpeta, contenido);
    // Diez segundos para poder pedir la tercera copia; de las otras no se cansa hasta los quince.
    let tardo = antes.elapsed();
    let tope = Duration::from_secs(14) + crate::holgura();
    assert!(tardo < tope, "{tardo:?}");
    let quejas = quejas(&salida);
    assert!(!quejas.contains("[FUENTE RETIRADA]"), "{quejas}");
}

fn la_guia_que_gotea(contenido: &[u8]) {
    let guia = Falso::nuevo(contenido, Mana::GuiaGoteada(GOTEO));
    let carpeta = tempfile::tempdir().unwrap();
    let antes = Instant::now();
    let salida = descargar(&carpeta, &[guia.direccion]);
    asegurar_que_no(&salida, &carpeta);
    assert!(quejas(&salida).contains("menos de 8 KiB por segundo"));
    assert!(antes.elapsed() < Duration::from_secs(35));
    assert!(
        nombres(&carpeta).is_empty(),
        "no se puede seguir: no se deja nada"
    );
}

#[test]
fn quien_calla_no_retrasa_a_quien_contesta() {
    let contenido = datos(100);
    let mudas = [(); 3].map(|()| Falso::nuevo(&contenido, Mana::Mudo));
    let buena = Falso::nuevo(&contenido, Mana::Honrado);
    let carpeta = tempfile::tempdir().unwrap();
    let fuentes = [&mudas[0], &mudas[1], &mudas[2], &buena].map(|par| par.direccion);
    let antes = Instant::now();
    let salida = descargar(&carpeta, &fuentes);
    asegurar_bueno(&salida, &carpeta, &contenido);
    assert!(
        antes.elapsed() < Duration::from_secs(5),
        "{:?}",
        antes.elapsed()
    );
}

#[test]
fn quien_calcula_sin_fin_y_no_hay_otra_se_deja_con_el_tiempo() {
    let contenido = contenido();
    let guia = Falso::nuevo(&contenido, Mana::Guia);
    for mana in [
        Mana::Calculando(usize::MAX),
        Mana::BloquesCalculando(usize::MAX),
    ] {
        let eterna = Falso::nuevo(&contenido, mana);
        let fin = con_plazos_cortos(&[eterna.direccion]);
        let frase = fin.unwrap_err().to_string();
        assert!(frase.contains("demasiado calculando la huella"), "{frase}");
        // Y entonces sirve la guía.
        let fin = con_plazos_cortos(&[eterna.direccion, guia.direccion]);
        assert!(!fin.unwrap().comprobado);
    }
}

/// Baja en este mismo proceso, sin esperar más de un segundo a quien calcula una huella.
fn con_plazos_cortos(fuentes: &[SocketAddr]) -> Result<Descargado, NoDescargado> {
    let temporal = tempfile::tempdir().unwrap();
    let parada = Parada::nueva();
    let pedido = Pedido {
        nombre: NOMBRE,
        carpeta: &Carpeta::abrir(temporal.path()).unwrap(),
        limites: &Limites {
            calcular: Duration::from_secs(1),
            ..Limites::default()
        },
        conexiones: 2,
        pares: &[],
        parada: &parada,
        progreso: &Progreso::default(),
        avisar: &|_| (),
    };
    std::thread::scope(|ambito| {
        let (acabo, espera) = std::sync::mpsc::channel::<()>();
        let parada = &parada;
        ambito.spawn(move || {
            if espera.recv_timeout(PACIENCIA) == Err(RecvTimeoutError::Timeout) {
                parada.cortar();
            }
        });
        let fin = descargar_archivo(fuentes, &pedido);
        drop(acabo);
        fin
    })
}

#[test]
fn la_que_se_va_a_medias_se_retira_y_las_demas_siguen() {
    let contenido = contenido();
    for mana in [Mana::DesapareceTras(1), Mana::RstTras(1), Mana::RstTras(0)] {
        con_un_mentiroso(&contenido, mana);
    }
}

#[cfg(unix)]
#[test]
fn de_tres_nodos_uno_muere_con_kill_9() {
    let contenido = Arc::new(datos(16 * BLOQUE + 1));
    let compartida = tempfile::tempdir().unwrap();
    fs::write(compartida.path().join(NOMBRE), &*contenido).unwrap();
    let nodos: Vec<Proceso> = (0..3)
        .map(|_| Proceso::nodo(compartida.path(), &[]))
        .collect();
    let todas: Vec<SocketAddr> = nodos.iter().map(Proceso::direccion).collect();
    // El primero muere justo cuando se le pide el tercer bloque.
    let primero = nodos[0].hijo.id();
    let puente = Puente::nuevo(todas[0], move |pedido, vez| {
        if pedido.starts_with("OBTENER") && vez == 3 {
            super::comun::senal(primero, "KILL");
        }
    });
    // Los otros dos no dan nada hasta entonces.
    let de = Arc::clone(&puente.registro);
    let otros: Vec<Puente> = todas[1..]
        .iter()
        .map(|nodo| {
            let de = Arc::clone(&de);
            Puente::nuevo(*nodo, move |pedido, _| {
                if pedido.starts_with("OBTENER") {
                    de.esperar("OBTENER", 3);
                }
            })
        })
        .collect();
    let carpeta = tempfile::tempdir().unwrap();
    let fuentes = [puente.direccion, otros[0].direccion, otros[1].direccion];
    let salida = descargar(&carpeta, &fuentes);
    asegurar_bueno(&salida, &carpeta, &contenido);
    let quejas = quejas(&salida);
    assert!(quejas.contains(&retirada(puente.direccion)), "{quejas}");
    assert_eq!(quejas.matches("RETIRADA").count(), 1, "{quejas}");
}

#[test]
fn sin_ninguna_fuente_se_dice_como_seguir_y_se_sigue() {
    let contenido = contenido();
    let par = Falso::nuevo(&contenido, Mana::DesapareceTras(2));
    let carpeta = tempfile::tempdir().unwrap();
    let salida = descargar(&carpeta, &[par.direccion]);
    asegurar_que_no(&salida, &carpeta);
    let frase = quejas(&salida);
    assert!(
        frase.contains("no queda ninguna fuente") && frase.contains("vuelve a pedirlo"),
        "{frase}"
    );
    assert_eq!(nombres(&carpeta), [MEDIA]);
    seguir_y_contar(&carpeta, &contenido);
}

// ----- Reanudar -----

/// Los bloques que en el `.part` no están o están mal.
fn bloques_malos(carpeta: &TempDir, contenido: &[u8]) -> Vec<usize> {
    let mut hay = fs::read(carpeta.path().join(MEDIA)).unwrap_or_default();
    let buenas = huellas_de_bloques(contenido);
    hay.truncate(contenido.len());
    let tenia = hay.len();
    hay.resize(contenido.len(), 0);
    let estas = huellas_de_bloques(&hay);
    (0..buenas.len())
        .filter(|b| estas[*b] != buenas[*b] || (b + 1) * BLOQUE > tenia.next_multiple_of(BLOQUE))
        .collect()
}

/// Termina de bajarlo de un par honrado, al que sólo se le pide lo que falta.
fn seguir_y_contar(carpeta: &TempDir, contenido: &[u8]) {
    let faltaban = bloques_malos(carpeta, contenido);
    let habia = fs::metadata(carpeta.path().join(MEDIA));
    let habia_algo = habia.is_ok_and(|datos| datos.len() > 0);
    let par = Falso::nuevo(contenido, Mana::Honrado);
    let salida = descargar(carpeta, &[par.direccion]);
    asegurar_bueno(&salida, carpeta, contenido);
    assert_eq!(par.registro.bloques(), faltaban);
    let reanuda = quejas(&salida).contains("[REANUDANDO]");
    assert_eq!(reanuda, habia_algo, "{}", quejas(&salida));
}

#[cfg(unix)]
#[test]
fn un_kill_9_en_cualquier_momento_se_reanuda_sin_pedir_lo_que_ya_estaba() {
    let contenido = contenido();
    std::thread::scope(|ambito| {
        for hilo in 0..3 {
            let contenido = &contenido;
            ambito.spawn(move || {
                let carpeta = tempfile::tempdir().unwrap();
                for vez in 0..5 {
                    let faltan = bloques_malos(&carpeta, contenido).len();
                    let lento = Falso::nuevo(contenido, Mana::Lento(160 << 20));
                    let mut proceso = empezar(&carpeta, &[lento.direccion]);
                    // En momentos distintos: al preguntar, al pedir la lista, con varios bloques en
                    // marcha…
                    match (hilo, vez) {
                        (0, 0) => lento.registro.esperar("INFO", 1),
                        (0, 1) => lento.registro.esperar("BLOQUES", 1),
                        _ => lento
                            .registro
                            .esperar("OBTENER", faltan.min(1 + (hilo + vez) % 3)),
                    }
                    std::thread::sleep(Duration::from_millis(7 * hilo as u64 * vez as u64));
                    proceso.kill().unwrap();
                    proceso.wait().unwrap();
                    if nombres(&carpeta) == [NOMBRE] {
                        break;
                    }
                    // Mientras no esté entero no hay nada más que el archivo a medias.
                    assert!(nombres(&carpeta).iter().all(|n| n == MEDIA));
                }
                if nombres(&carpeta) != [NOMBRE] {
                    seguir_y_contar(&carpeta, contenido);
                }
                assert!(leer(&carpeta, NOMBRE) == *contenido);
            });
        }
    });
}

#[test]
fn lo_estropeado_del_part_se_vuelve_a_pedir_y_nada_mas() {
    let contenido = contenido();
    let con = |estropear: fn(&mut Vec<u8>)| {
        let carpeta = tempfile::tempdir().unwrap();
        let mut part = contenido.clone();
        estropear(&mut part);
        fs::write(carpeta.path().join(MEDIA), part).unwrap();
        seguir_y_contar(&carpeta, &contenido);
    };
    con(|part| part[BLOQUE + 17] ^= 1);
    con(|part| *part.last_mut().unwrap() ^= 1);
    // Cortado, con bytes de más, y de otro archivo.
    con(|part| part.truncate(3 * BLOQUE + 9));
    con(|part| part.extend([1; 5000]));
    con(|part| part.fill(9));
}

#[test]
fn un_part_entero_solo_cambia_de_nombre() {
    let contenido = contenido();
    let carpeta = tempfile::tempdir().unwrap();
    fs::write(carpeta.path().join(MEDIA), &contenido).unwrap();
    seguir_y_contar(&carpeta, &contenido);
}

// ----- La guía, el último recurso -----

#[test]
fn de_la_guia_se_baja_avisando_de_que_no_se_comprueba() {
    for contenido in [datos(300_000), Vec::new()] {
        let guia = Falso::nuevo(&contenido, Mana::Guia);
        let carpeta = tempfile::tempdir().unwrap();
        // Lo que hubiera a medias no se mezcla con lo que no se puede comprobar, ni se pierde.
        fs::write(carpeta.path().join(MEDIA), datos(BLOQUE)).unwrap();
        let salida = descargar(&carpeta, &[guia.direccion]);
        assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
        assert!(leer(&carpeta, NOMBRE) == contenido);
        assert!(leer(&carpeta, MEDIA) == datos(BLOQUE));
        fs::remove_file(carpeta.path().join(MEDIA)).unwrap();
        assert_eq!(nombres(&carpeta), [NOMBRE]);
        assert!(dicho(&salida).contains("SIN COMPROBAR"));
        assert!(
            quejas(&salida).contains("[SIN COMPROBAR]"),
            "{}",
            quejas(&salida)
        );
        assert_eq!(
            quejas(&salida).contains("llegó vacío"),
            contenido.is_empty()
        );
        // Otra vez: ya se tiene.
        let salida = descargar(&carpeta, &[guia.direccion]);
        assert_eq!(codigo(&salida), Some(0));
        assert!(
            dicho(&salida).contains("[YA LO TIENES]"),
            "{}",
            dicho(&salida)
        );
        assert_eq!(nombres(&carpeta), [NOMBRE]);
    }
}

#[test]
fn si_uno_sabe_bloques_a_la_guia_no_se_le_pide() {
    let contenido = contenido();
    let guia = Falso::nuevo(b"otra cosa", Mana::Guia);
    // Aunque tarde en tener la huella.
    let bueno = Falso::nuevo(&contenido, Mana::Calculando(1));
    let carpeta = tempfile::tempdir().unwrap();
    let salida = descargar(&carpeta, &[guia.direccion, bueno.direccion]);
    asegurar_bueno(&salida, &carpeta, &contenido);
    assert_eq!(guia.registro.cuantos("DESCARGAR"), 0);
}

#[test]
fn si_quien_sabe_bloques_miente_queda_la_guia() {
    let contenido = datos(300_000);
    let guia = Falso::nuevo(&contenido, Mana::Guia);
    for mana in [Mana::Basura, Mana::HuellaInventada] {
        let malo = Falso::nuevo(&contenido, mana);
        let carpeta = tempfile::tempdir().unwrap();
        let salida = descargar(&carpeta, &[malo.direccion, guia.direccion]);
        assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
        assert!(leer(&carpeta, NOMBRE) == contenido);
        assert!(quejas(&salida).contains(&retirada(malo.direccion)));
        assert!(dicho(&salida).contains("SIN COMPROBAR"));
    }
}

#[test]
fn la_guia_que_se_corta_no_deja_un_archivo_bueno() {
    let guia = Falso::nuevo(&datos(3 << 20), Mana::GuiaCortada);
    let carpeta = tempfile::tempdir().unwrap();
    let salida = descargar(&carpeta, &[guia.direccion]);
    if crate::wine::se_pierde_el_rst() {
        return; // Y sin longitud ni RST, media es como entera: es lo que le pasa a la guía.
    }
    asegurar_que_no(&salida, &carpeta);
    // Si otro de la guía lo tiene, de él.
    let entera = Falso::nuevo(b"corto y entero", Mana::Guia);
    let salida = descargar(&carpeta, &[guia.direccion, entera.direccion]);
    assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
    assert_eq!(leer(&carpeta, NOMBRE), b"corto y entero");
    assert_eq!(nombres(&carpeta), [NOMBRE]);
}

#[cfg(unix)]
#[test]
fn una_guia_sin_fin_que_llena_el_disco_no_deja_nada() {
    let guia = Falso::nuevo(&datos(1 << 20), Mana::GuiaSinFin);
    let carpeta = tempfile::tempdir().unwrap();
    // Un tope de 10 MiB por archivo hace de disco lleno.
    let orden = orden_de_descargar(NOMBRE, carpeta.path(), &[guia.direccion]);
    let salida = std::process::Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 20480; exec \"$0\" \"$@\""])
        .arg(orden.get_program())
        .args(orden.get_args())
        .stdin(Stdio::null())
        .recoger();
    asegurar_que_no(&salida, &carpeta);
    assert!(nombres(&carpeta).is_empty(), "{}", quejas(&salida));
}

// ----- Cancelar -----

#[cfg(unix)]
#[test]
fn ctrl_c_y_sigterm_cancelan_enseguida_y_se_puede_seguir() {
    let contenido = contenido();
    std::thread::scope(|ambito| {
        // Con cinco bloques pedidos ha llegado al menos uno: hay cuatro en vuelo como mucho.
        for (senal, mana, hasta, veces) in [
            ("INT", Mana::CallaTras(4), "OBTENER", 5),
            ("TERM", Mana::Lento(8 << 20), "OBTENER", 5),
            ("INT", Mana::MudoEnBloques, "OBTENER", 1),
            ("TERM", Mana::Lento(1 << 20), "OBTENER", 1),
            ("INT", Mana::Mudo, "INFO", 1),
            ("INT", Mana::ListaGoteada, "BLOQUES", 1),
            ("INT", Mana::Calculando(usize::MAX), "INFO", 1),
        ] {
            let contenido = &contenido;
            ambito.spawn(move || {
                let par = Falso::nuevo(contenido, mana);
                let carpeta = tempfile::tempdir().unwrap();
                let proceso = empezar(&carpeta, &[par.direccion]);
                par.registro.esperar(hasta, veces);
                let antes = Instant::now();
                super::comun::senal(proceso.id(), senal);
                let salida = acabar(proceso);
                assert!(
                    antes.elapsed() < Duration::from_secs(3),
                    "{hasta}: {:?}",
                    antes.elapsed()
                );
                assert_eq!(codigo(&salida), Some(130), "{}", quejas(&salida));
                assert!(quejas(&salida).contains("cancelada"), "{}", quejas(&salida));
                assert!(dicho(&salida).is_empty());
                if veces > 1 {
                    assert_eq!(nombres(&carpeta), [MEDIA]);
                    seguir_y_contar(&carpeta, contenido);
                } else {
                    assert!(nombres(&carpeta).is_empty(), "sin nada dentro, no se deja");
                }
            });
        }
    });
}

#[cfg(target_os = "linux")]
#[test]
fn cancelar_en_el_menu_no_deja_hilos() {
    let par = Falso::nuevo(&contenido(), Mana::MudoEnBloques);
    let carpeta = tempfile::tempdir().unwrap();
    let mut menu = Proceso::menu(carpeta.path(), &["--peer", &par.direccion.to_string()]);
    menu.esperar(SELECCIONE);
    let hilos = |menu: &Proceso| {
        let tareas = fs::read_dir(format!("/proc/{}/task", menu.hijo.id())).unwrap();
        tareas.count()
    };
    let antes = hilos(&menu);
    menu.escribir("2");
    menu.escribir(NOMBRE);
    menu.escribir("1");
    par.registro.esperar("OBTENER", 1);
    assert!(hilos(&menu) > antes);
    menu.senal("INT");
    menu.esperar("descarga cancelada");
    menu.esperar_veces(SELECCIONE, 2);
    // El sistema tarda un instante en olvidar un hilo que ya terminó.
    let limite = Instant::now() + PACIENCIA;
    while hilos(&menu) > antes {
        assert!(Instant::now() < limite, "quedan hilos");
        std::thread::yield_now();
    }
    menu.escribir("3");
    assert_eq!(menu.terminar(), Some(0));
}

// ----- Archivos que cambian -----

/// Baja de un nodo de verdad y, en el momento justo, hace algo con su archivo.
fn mientras_se_baja(
    cuando: &'static str,
    vez: usize,
    hacer: impl Fn(&Path) + Send + Sync + 'static,
) {
    let contenido = contenido();
    let compartida = tempfile::tempdir().unwrap();
    let ruta = compartida.path().join(NOMBRE);
    fs::write(&ruta, &contenido).unwrap();
    let nodo = Proceso::nodo(compartida.path(), &[]);
    let puente = Puente::nuevo(nodo.direccion(), move |pedido, van| {
        if pedido.starts_with(cuando) && van == vez {
            hacer(&ruta);
        }
    });
    let carpeta = tempfile::tempdir().unwrap();
    let salida = descargar(&carpeta, &[puente.direccion]);
    // O se dio cuenta, o se bajó entero tal como quedó (o como era).
    let ahora = fs::read(compartida.path().join(NOMBRE)).unwrap_or_default();
    if codigo(&salida) == Some(0) {
        let bajado = leer(&carpeta, NOMBRE);
        assert!(
            bajado == ahora || bajado == contenido,
            "{cuando} {vez}: una mezcla"
        );
    } else {
        asegurar_que_no(&salida, &carpeta);
        let quejas = quejas(&salida);
        assert!(
            quejas.contains(&retirada(puente.direccion)) || quejas.starts_with(NO_ENCONTRADO),
            "{quejas}"
        );
    }
}

#[test]
fn un_archivo_que_cambia_mientras_se_baja_nunca_da_uno_malo() {
    fn reescribir(ruta: &Path) {
        fs::write(ruta, vec![3; 6 * BLOQUE + 5]).unwrap();
    }
    fn reemplazar(ruta: &Path) {
        let otro = ruta.with_extension("nuevo");
        fs::write(&otro, vec![4; 6 * BLOQUE + 5]).unwrap();
        fs::rename(otro, ruta).unwrap();
    }
    fn cortar(ruta: &Path) {
        let archivo = fs::File::options().write(true).open(ruta).unwrap();
        archivo.set_len(2 * BLOQUE as u64 + 1).unwrap();
    }
    fn crecer(ruta: &Path) {
        let archivo = fs::File::options().write(true).open(ruta).unwrap();
        archivo.set_len(9 * BLOQUE as u64).unwrap();
    }
    fn borrar(ruta: &Path) {
        fs::remove_file(ruta).unwrap();
    }
    std::thread::scope(|ambito| {
        for hacer in [reescribir, reemplazar, cortar, crecer, borrar] {
            ambito.spawn(move || {
                for (cuando, vez) in [("INFO", 1), ("BLOQUES", 1), ("OBTENER", 1), ("OBTENER", 4)] {
                    mientras_se_baja(cuando, vez, hacer);
                }
            });
        }
    });
}
