//! Convivir con los nodos de la guía, en los dos sentidos, con un par escrito a mano que hace lo
//! mismo que el suyo.
//!
//! Lo que lo distingue: lee la petición con un solo `recv(1024)`, compara la respuesta entera con
//! `OK`, no dice longitudes y a una palabra que no conoce contesta cerrando.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Output;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::comun::{
    PACIENCIA, Proceso, codigo, conectar, datos, dicho, entrantes, orden, preguntar, quejas,
};
use crate::guia::{DESCARGADO, ERROR_AL_DESCARGAR, NO_ENCONTRADO};
use socket2::SockRef;

const TAMANOS: [usize; 7] = [0, 1, 1023, 1024, 1025, 20_000, 300_000];

// ----- El par de la guía -----

/// El `descargar_archivo` de la guía: si la primera lectura no es justo `OK`, da el archivo por no
/// encontrado.
fn descargar_como_la_guia(a: SocketAddr, nombre: &str) -> Option<Vec<u8>> {
    let mut conexion = conectar(a);
    conexion
        .write_all(format!("DESCARGAR:{nombre}").as_bytes())
        .unwrap();
    let mut trozo = [0; 1024];
    let leido = conexion.read(&mut trozo).unwrap();
    if &trozo[..leido] != b"OK" {
        return None;
    }
    let mut todo = Vec::new();
    loop {
        match conexion.read(&mut trozo).unwrap() {
            0 => return Some(todo),
            leido => todo.extend_from_slice(&trozo[..leido]),
        }
    }
}

/// Lo mismo, con otros dos intentos: si la máquina está tan cargada que este cliente tarda más en
/// leer que la pausa tras `OK`, los datos le llegan pegados. Sin la pausa pasaría casi siempre, y
/// tres intentos no bastarían para tantos archivos.
fn descargar_con_paciencia(a: SocketAddr, nombre: &str) -> Option<Vec<u8>> {
    (0..3).find_map(|_| descargar_como_la_guia(a, nombre))
}

/// En qué se aparta del suyo el nodo de la guía de una prueba.
#[derive(Clone, Copy, PartialEq)]
enum Modo {
    ComoEsElla,
    /// `OK` y los datos, en un solo envío.
    Pegado,
    /// `OK` y se cierra.
    Vacio,
    NoLoTiene,
    /// Se corta (RST) tras esos bytes.
    SeCorta(usize),
    /// A una palabra que no conoce contesta con un RST.
    CierraConError,
}

struct NodoDeLaGuia {
    direccion: SocketAddr,
    /// Lo que llegó en la primera lectura de cada conexión.
    oido: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl NodoDeLaGuia {
    fn nuevo(modo: Modo, contenido: fn(&str) -> Vec<u8>) -> NodoDeLaGuia {
        let escucha = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let direccion = escucha.local_addr().unwrap();
        let oido = Arc::new(Mutex::new(Vec::new()));
        let suyo = Arc::clone(&oido);
        // Termina con el proceso de la prueba, como el hilo `daemon` de la guía.
        thread::spawn(move || {
            for conexion in entrantes(&escucha) {
                let suyo = Arc::clone(&suyo);
                thread::spawn(move || gestionar_peticion(conexion, modo, contenido, &suyo));
            }
        });
        NodoDeLaGuia { direccion, oido }
    }

    fn de(&self) -> String {
        self.direccion.to_string()
    }

    fn oyo(&self, peticion: &str) -> bool {
        let oido = self.oido.lock().unwrap();
        oido.iter().any(|o| o == peticion.as_bytes())
    }
}

fn gestionar_peticion(
    mut conexion: TcpStream,
    modo: Modo,
    contenido: fn(&str) -> Vec<u8>,
    oido: &Mutex<Vec<Vec<u8>>>,
) {
    conexion.set_read_timeout(Some(PACIENCIA)).unwrap();
    let mut solicitud = [0; 1024];
    let leido = conexion.read(&mut solicitud).unwrap_or(0);
    oido.lock().unwrap().push(solicitud[..leido].to_vec());
    let solicitud = String::from_utf8_lossy(&solicitud[..leido]).into_owned();
    let cortar = || {
        let linger = SockRef::from(&conexion).set_linger(Some(Duration::ZERO));
        linger.unwrap();
    };
    // Si el otro ya se fue, la guía tampoco hace nada.
    let _ = match solicitud.split_once(':') {
        Some(("BUSCAR", _)) => (&conexion).write_all(b"SI"),
        Some(("DESCARGAR", _)) if modo == Modo::NoLoTiene => (&conexion).write_all(b"NOFILE"),
        Some(("DESCARGAR", nombre)) => enviar(&conexion, modo, &contenido(nombre)),
        _ if modo == Modo::CierraConError => {
            cortar();
            Ok(())
        }
        _ => Ok(()),
    };
    if let Modo::SeCorta(_) = modo
        && solicitud.starts_with("DESCARGAR:")
    {
        cortar();
    }
}

fn enviar(mut conexion: &TcpStream, modo: Modo, datos: &[u8]) -> std::io::Result<()> {
    if modo == Modo::Pegado {
        return conexion.write_all(&[b"OK", datos].concat());
    }
    conexion.write_all(b"OK")?;
    let datos = match modo {
        Modo::Vacio => &[],
        Modo::SeCorta(tras) => &datos[..tras],
        _ => datos,
    };
    for trozo in datos.chunks(1024) {
        conexion.write_all(trozo)?;
    }
    if let Modo::SeCorta(_) = modo {
        // El RST tira lo que el otro no haya recogido: se le da tiempo a tener algo.
        conexion.set_read_timeout(Some(Duration::from_millis(100)))?;
        let _ = conexion.read(&mut [0]);
    }
    Ok(())
}

fn bajar(de: &NodoDeLaGuia, nombre: &str, carpeta: &Path) -> Output {
    let carpeta = carpeta.to_str().unwrap();
    orden(["descargar", nombre, "--de", &de.de(), "--carpeta", carpeta])
}

fn cuantos_archivos(carpeta: &Path) -> usize {
    std::fs::read_dir(carpeta).unwrap().count()
}

// ----- Ellos piden -----

fn nodo_con_tamanos() -> (tempfile::TempDir, Proceso) {
    let carpeta = tempfile::tempdir().unwrap();
    for tamano in TAMANOS {
        std::fs::write(carpeta.path().join(tamano.to_string()), datos(tamano)).unwrap();
    }
    let nodo = Proceso::nodo(carpeta.path(), &[]);
    (carpeta, nodo)
}

#[test]
fn ninguna_de_120_descargas_de_la_guia_se_pierde() {
    let (_carpeta, nodo) = nodo_con_tamanos();
    let a = nodo.direccion();
    // Cada una lleva la pausa de 100 ms: unas detrás de otras, pero en seis filas.
    thread::scope(|ambito| {
        for fila in 0..6 {
            ambito.spawn(move || {
                for vuelta in 0..20 {
                    let tamano = TAMANOS[(fila + vuelta) % TAMANOS.len()];
                    let llego = descargar_con_paciencia(a, &tamano.to_string());
                    assert!(llego == Some(datos(tamano)), "{tamano} bytes");
                }
            });
        }
    });
}

#[test]
fn cuarenta_clientes_de_la_guia_a_la_vez() {
    let (_carpeta, nodo) = nodo_con_tamanos();
    let a = nodo.direccion();
    thread::scope(|ambito| {
        for _ in 0..40 {
            ambito.spawn(move || {
                assert!(descargar_con_paciencia(a, "20000") == Some(datos(20_000)));
            });
        }
    });
}

#[test]
fn las_palabras_de_la_guia_byte_a_byte() {
    let carpeta = tempfile::tempdir().unwrap();
    std::fs::write(carpeta.path().join("mi foto.txt"), "abc").unwrap();
    // Un nombre estropeado al descomprimir lleva «�» de verdad: se lista, luego se sirve.
    std::fs::write(carpeta.path().join("a\u{fffd}o"), "x").unwrap();
    let nodo = Proceso::nodo(carpeta.path(), &[]);
    let casos: [(&[u8], &[u8]); 12] = [
        (b"BUSCAR:mi foto.txt", b"SI"),
        (b"BUSCAR:mi foto.txt\n", b"SI"),
        (b"BUSCAR:mi foto.txt\r\n", b"SI"),
        (b"BUSCAR:otra", b"NO"),
        (b"BUSCAR:", b"NO"),
        (b"BUSCAR:\xff", b"NO"),
        (b"BUSCAR:a\xef\xbf\xbdo", b"SI"),
        (b"BUSCAR:a\xffo", b"NO"),
        (b"DESCARGAR:mi foto.txt", b"OKabc"),
        (b"DESCARGAR:mi foto.txt\n", b"OKabc"),
        (b"DESCARGAR:otra", b"NOFILE"),
        (b"DESCARGAR:", b"NOFILE"),
    ];
    for (peticion, respuesta) in casos {
        let llego = preguntar(nodo.direccion(), peticion);
        assert_eq!(llego, respuesta, "{}", peticion.escape_ascii());
    }
}

#[test]
fn las_palabras_de_la_guia_solo_valen_al_principio() {
    let carpeta = tempfile::tempdir().unwrap();
    let nodo = Proceso::nodo(carpeta.path(), &[]);
    assert_eq!(
        preguntar(nodo.direccion(), b"LISTAR\nBUSCAR:x\n"),
        b"LISTA:0\nERROR:palabra desconocida\n"
    );
}

// ----- Nosotros pedimos -----

#[test]
fn sesenta_archivos_de_un_nodo_de_la_guia_llegan_iguales() {
    fn contenido(nombre: &str) -> Vec<u8> {
        let numero: usize = nombre.parse().unwrap();
        datos(TAMANOS[numero % TAMANOS.len()] + numero)
    }
    let guia = NodoDeLaGuia::nuevo(Modo::ComoEsElla, contenido);
    let carpeta = tempfile::tempdir().unwrap();
    thread::scope(|ambito| {
        for fila in 0..4 {
            let (guia, carpeta) = (&guia, carpeta.path());
            ambito.spawn(move || {
                for numero in (fila..60).step_by(4) {
                    let nombre = numero.to_string();
                    let salida = bajar(guia, &nombre, carpeta);
                    assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
                    assert!(dicho(&salida).contains(DESCARGADO));
                    let guardado = std::fs::read(carpeta.join(&nombre)).unwrap();
                    assert!(guardado == contenido(&nombre), "{nombre}");
                }
            });
        }
    });
    assert_eq!(
        cuantos_archivos(carpeta.path()),
        60,
        "no queda ningún .part"
    );
}

#[test]
fn a_la_guia_se_le_pide_en_un_envio_y_sin_fin_de_linea() {
    let guia = NodoDeLaGuia::nuevo(Modo::ComoEsElla, |_| b"hola".to_vec());
    let carpeta = tempfile::tempdir().unwrap();
    let donde = carpeta.path().to_str().unwrap();
    let salida = orden([
        "descargar",
        "ñu.txt",
        "--peer",
        &guia.de(),
        "--carpeta",
        donde,
    ]);
    assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
    assert!(guia.oyo("BUSCAR:ñu.txt") && guia.oyo("DESCARGAR:ñu.txt"));
    assert!(
        quejas(&salida).contains("no se puede comprobar"),
        "se avisa de que por ese camino no hay con qué comprobar: {}",
        quejas(&salida)
    );
}

#[test]
fn lo_que_sigue_a_ok_en_la_misma_lectura_son_datos() {
    let guia = NodoDeLaGuia::nuevo(Modo::Pegado, |_| datos(5000));
    let carpeta = tempfile::tempdir().unwrap();
    assert_eq!(codigo(&bajar(&guia, "a", carpeta.path())), Some(0));
    assert!(std::fs::read(carpeta.path().join("a")).unwrap() == datos(5000));
}

#[test]
fn un_ok_sin_datos_es_un_archivo_vacio_con_aviso() {
    let guia = NodoDeLaGuia::nuevo(Modo::Vacio, |_| datos(5000));
    let carpeta = tempfile::tempdir().unwrap();
    let salida = bajar(&guia, "a", carpeta.path());
    assert_eq!(codigo(&salida), Some(0));
    assert!(quejas(&salida).contains("vacío"), "{}", quejas(&salida));
    assert_eq!(std::fs::read(carpeta.path().join("a")).unwrap(), b"");
}

#[test]
fn si_no_lo_tiene_se_dice_y_no_queda_nada() {
    let guia = NodoDeLaGuia::nuevo(Modo::NoLoTiene, |_| datos(1));
    let carpeta = tempfile::tempdir().unwrap();
    let salida = bajar(&guia, "a", carpeta.path());
    assert_eq!(codigo(&salida), Some(1));
    assert_eq!(dicho(&salida), "");
    assert!(quejas(&salida).contains(NO_ENCONTRADO));
    assert_eq!(cuantos_archivos(carpeta.path()), 0);
}

#[test]
fn un_corte_a_la_mitad_no_se_da_por_bueno() {
    for tras in [0, 3000] {
        let guia = NodoDeLaGuia::nuevo(Modo::SeCorta(tras), |_| datos(5000));
        let carpeta = tempfile::tempdir().unwrap();
        let salida = bajar(&guia, "a", carpeta.path());
        assert_eq!(codigo(&salida), Some(1), "{}", dicho(&salida));
        assert_eq!(dicho(&salida), "");
        assert!(quejas(&salida).contains(&format!("{ERROR_AL_DESCARGAR} a")));
        assert!(!carpeta.path().join("a").exists());
        if tras == 0 {
            assert_eq!(cuantos_archivos(carpeta.path()), 0, "ni un .part vacío");
        }
    }
}

#[test]
fn un_nodo_de_la_guia_se_reconoce_cierre_como_cierre() {
    for modo in [Modo::ComoEsElla, Modo::CierraConError] {
        let guia = NodoDeLaGuia::nuevo(modo, |_| b"hola".to_vec());
        let estado = orden(["estado", "--peer", &guia.de()]);
        assert!(
            dicho(&estado).contains("un nodo de la guía"),
            "{}",
            dicho(&estado)
        );
        let lista = orden(["listar", "--red", "--peer", &guia.de()]);
        assert_eq!(codigo(&lista), Some(1));
        assert!(quejas(&lista).contains("no sabe listar"));
        let mensaje = orden(["mensaje", "hola", "--peer", &guia.de()]);
        assert_eq!(codigo(&mensaje), Some(1));
        assert!(quejas(&mensaje).contains("no recibe mensajes"));
        let carpeta = tempfile::tempdir().unwrap();
        assert_eq!(codigo(&bajar(&guia, "a", carpeta.path())), Some(0));
    }
}

#[test]
fn si_tambien_lo_tiene_uno_de_los_nuestros_se_baja_comprobado() {
    let carpeta = tempfile::tempdir().unwrap();
    std::fs::write(carpeta.path().join("a"), "el bueno").unwrap();
    let nodo = Proceso::nodo(carpeta.path(), &[]);
    let guia = NodoDeLaGuia::nuevo(Modo::ComoEsElla, |_| b"el otro".to_vec());
    let destino = tempfile::tempdir().unwrap();
    let (nuestro, donde) = (
        nodo.direccion().to_string(),
        destino.path().to_str().unwrap(),
    );
    let salida = orden([
        "descargar",
        "a",
        "--peer",
        &guia.de(),
        "--peer",
        &nuestro,
        "--carpeta",
        donde,
    ]);
    assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
    assert!(
        dicho(&salida).contains("· comprobado"),
        "{}",
        dicho(&salida)
    );
    assert!(!guia.oyo("DESCARGAR:a"));
    assert_eq!(
        std::fs::read(destino.path().join("a")).unwrap(),
        b"el bueno"
    );
}
