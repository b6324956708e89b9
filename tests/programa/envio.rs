//! Enviar: quien recibe pide por la misma conexión, sólo de quien está en su lista, y los dos saben
//! cómo acabó.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::comun::falsos::{
    BLOQUE, Charla, Compuerta, Falso, Mana, Puente, huella, huellas_de_bloques,
};
use super::comun::{
    Lanzar, PACIENCIA, Proceso, acabar, aceptar, codigo, conectar, datos, dicho, nodo, nombres,
    quejas, responde, senal,
};
use crate::config::Limites;
use crate::consola::eventos::Avisador;
use crate::consola::progreso::Progreso;
use crate::guia::{CONEXION, DESCARGADO, ENVIO_COMPLETO};
use crate::nodo::Nodo;
use crate::nodo::carpeta::Carpeta;
use crate::nodo::descarga::envio::enviar_archivo;
use crate::nodo::descarga::pedido::Pedido;
use crate::nodo::descarga::recibir;
use crate::nodo::servidor::gestionar_peticion;
use crate::nodo::vecinos::Vecinos;
use crate::ordenes::opciones::{Opciones, decidir};
use crate::red::conexion::Conexion;
use crate::red::parada::Parada;
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

const NOMBRE: &str = "tarea.bin";
/// El plazo de un par callado, con margen para una máquina cargada.
const PLAZO_Y_PICO: Duration = Duration::from_secs(25);

fn empezar_a_enviar(ruta: &Path, a: SocketAddr) -> Child {
    nodo()
        .arg("enviar")
        .arg(ruta)
        .args(["--a", &a.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .lanzar()
}

fn enviar(ruta: &Path, a: SocketAddr) -> Output {
    acabar(empezar_a_enviar(ruta, a))
}

/// Un archivo que enviar, fuera de toda carpeta compartida.
fn archivo(contenido: &[u8]) -> (TempDir, std::path::PathBuf) {
    let suya = tempfile::tempdir().unwrap();
    let ruta = suya.path().join(NOMBRE);
    fs::write(&ruta, contenido).unwrap();
    (suya, ruta)
}

/// Un nodo que recibe de quien esté en esta máquina.
fn receptor() -> (TempDir, Proceso) {
    let carpeta = tempfile::tempdir().unwrap();
    let nodo = Proceso::nodo(carpeta.path(), &["--peer", "127.0.0.1:1"]);
    (carpeta, nodo)
}

/// Espera a que algo sea verdad.
fn hasta(condicion: impl Fn() -> bool) {
    let limite = Instant::now() + PACIENCIA;
    while !condicion() {
        assert!(Instant::now() < limite, "no pasa");
        thread::yield_now();
    }
}

// ----- Entre nodos de verdad -----

#[test]
fn llega_igual_y_quien_envia_oye_con_que_nombre_quedo() {
    let (carpeta, receptor) = receptor();
    for (n, tamano) in [0, 1, BLOQUE, BLOQUE + 1, 3 * BLOQUE + 5]
        .into_iter()
        .enumerate()
    {
        let contenido = datos(tamano);
        let (_suya, ruta) = archivo(&contenido);
        let salida = enviar(&ruta, receptor.direccion());
        assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
        let quedo = match n {
            0 => NOMBRE.to_string(),
            n => format!("tarea ({n}).bin"),
        };
        assert!(fs::read(carpeta.path().join(&quedo)).unwrap() == contenido);
        let frase = format!("quedó en {} como {quedo}", receptor.direccion());
        assert!(dicho(&salida).contains(&frase), "{}", dicho(&salida));
        receptor.esperar(&format!("{DESCARGADO} {quedo}\n"));
        receptor.esperar(&format!("huella {} · comprobado", huella(&contenido)));
    }
    // El mismo otra vez: no se guarda, y se dice cuál es.
    let (_suya, ruta) = archivo(&datos(BLOQUE));
    let salida = enviar(&ruta, receptor.direccion());
    assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
    assert!(
        dicho(&salida).contains("como tarea (2).bin"),
        "{}",
        dicho(&salida)
    );
    receptor.esperar("[YA LO TIENES] tarea (2).bin");
    assert_eq!(nombres(&carpeta).len(), 5);
}

#[test]
fn del_menu_se_envia_con_la_opcion_5() {
    let (carpeta, receptor) = receptor();
    let suya = tempfile::tempdir().unwrap();
    let contenido = datos(BLOQUE + 9);
    fs::write(suya.path().join(NOMBRE), &contenido).unwrap();
    let mut menu = Proceso::menu(suya.path(), &["--peer", &receptor.direccion().to_string()]);
    menu.escribir("5");
    menu.escribir(NOMBRE);
    menu.escribir("1");
    let quedo = format!("quedó en {} como {NOMBRE}", receptor.direccion());
    assert!(menu.esperar(&quedo).contains(ENVIO_COMPLETO));
    assert!(fs::read(carpeta.path().join(NOMBRE)).unwrap() == contenido);
    menu.escribir("3");
    assert_eq!(menu.terminar(), Some(0));
}

#[test]
fn lo_que_no_se_puede_enviar_se_dice_sin_molestar_a_nadie() {
    let (carpeta, receptor) = receptor();
    let suya = tempfile::tempdir().unwrap();
    let salida = enviar(&suya.path().join("no-esta"), receptor.direccion());
    assert_eq!(codigo(&salida), Some(1));
    assert!(quejas(&salida).contains("no-esta"), "{}", quejas(&salida));
    let salida = enviar(suya.path(), receptor.direccion());
    assert_eq!(codigo(&salida), Some(1));
    assert!(
        quejas(&salida).contains("no es un archivo"),
        "{}",
        quejas(&salida)
    );
    assert!(nombres(&carpeta).is_empty());
    assert!(!receptor.texto().contains(CONEXION));
}

#[test]
fn de_quien_no_esta_en_la_lista_no_se_acepta() {
    let carpeta = tempfile::tempdir().unwrap();
    let opciones = ["--ip", "127.0.0.1", "--peer", "192.0.2.1"];
    let receptor = Proceso::nodo(carpeta.path(), &opciones);
    let (_suya, ruta) = archivo(b"hola");
    let salida = enviar(&ruta, receptor.direccion());
    assert_eq!(codigo(&salida), Some(1));
    let frase = "no lo acepta: 127.0.0.1 no está entre los peers";
    assert!(quejas(&salida).contains(frase), "{}", quejas(&salida));
    assert!(nombres(&carpeta).is_empty());
}

#[test]
fn el_archivo_que_cambia_mientras_se_envia_no_llega_como_bueno() {
    let (carpeta, receptor) = receptor();
    let (_suya, ruta) = archivo(&datos(6 * BLOQUE));
    let suya = ruta.clone();
    // Quien envía abre la conexión y quien recibe pide por ella: el puente oye las peticiones en la
    // otra dirección. Cuando pide el cuarto tiene ya dos buenos.
    let puente = Puente::al_reves(receptor.direccion(), move |pedido, vez| {
        if pedido.starts_with("OBTENER") && vez == 4 {
            fs::write(&suya, vec![1; 6 * BLOQUE]).unwrap();
        }
    });
    let salida = enviar(&ruta, puente.direccion);
    assert_eq!(codigo(&salida), Some(1), "{}", dicho(&salida));
    assert!(
        quejas(&salida).contains("[ERROR AL ENVIAR]"),
        "{}",
        quejas(&salida)
    );
    receptor.esperar("[ERROR AL RECIBIR]");
    assert_eq!(nombres(&carpeta), [format!(".{NOMBRE}.part")]);
    assert!(responde(receptor.direccion()));
}

// ----- Un receptor falso: quien envía sirve ese archivo y nada más -----

/// Acepta una conexión y da lo que se le ofrece, ya leído.
fn que_me_ofrezcan(escucha: &TcpListener) -> (Charla, String) {
    let mut charla = Charla::de(aceptar(escucha).unwrap().0);
    let oferta = charla.oir().unwrap();
    (charla, oferta)
}

#[test]
fn quien_envia_sirve_ese_archivo_y_ninguno_mas() {
    let contenido = datos(BLOQUE + 100);
    let (suya, ruta) = archivo(&contenido);
    fs::write(suya.path().join("secreto.txt"), "no").unwrap();
    let escucha = TcpListener::bind("127.0.0.1:0").unwrap();
    let proceso = empezar_a_enviar(&ruta, escucha.local_addr().unwrap());
    let (mut charla, oferta) = que_me_ofrezcan(&escucha);
    assert_eq!(oferta, format!("OFRECER:{NOMBRE}"));
    charla.decir("ACEPTADO");
    let absoluta = ruta.display().to_string();
    for otro in ["secreto.txt", "../secreto.txt", &absoluta, "", "."] {
        assert_eq!(charla.pedir(&format!("INFO:{otro}")), "NOFILE");
        assert_eq!(charla.pedir(&format!("BLOQUES:{otro}")), "NOFILE");
        assert_eq!(charla.pedir(&format!("OBTENER:0:5:{otro}")), "NOFILE");
    }
    for ajena in ["LISTAR", "HOLA:1:yo", "MENSAJE:yo:hola", "OFRECER:x"] {
        assert!(charla.pedir(ajena).starts_with("ERROR:"), "{ajena}");
    }
    let info = format!("INFO:{}:{}", contenido.len(), huella(&contenido));
    assert_eq!(charla.pedir(&format!("INFO:{NOMBRE}")), info);
    assert_eq!(charla.pedir(&format!("BLOQUES:{NOMBRE}")), "BLOQUES:2");
    for bloque in huellas_de_bloques(&contenido) {
        assert_eq!(charla.oir().unwrap(), bloque);
    }
    // En pedazos que no son bloques, y más allá del final.
    assert_eq!(
        charla.pedir(&format!("OBTENER:{}:9999:{NOMBRE}", BLOQUE - 5)),
        "OK:105"
    );
    assert!(charla.leer(105) == contenido[BLOQUE - 5..]);
    let fin = contenido.len();
    assert_eq!(charla.pedir(&format!("OBTENER:{fin}:1:{NOMBRE}")), "OK:0");
    let mas_alla = charla.pedir(&format!("OBTENER:{}:1:{NOMBRE}", fin + 1));
    assert!(mas_alla.starts_with("ERROR:"), "{mas_alla}");
    let enorme = charla.pedir(&format!("OBTENER:1:{}:{NOMBRE}", u64::MAX));
    assert_eq!(enorme, format!("OK:{}", fin - 1));
    charla.leer(fin - 1);
    charla.decir("RECIBIDO:otro nombre.bin");
    let salida = acabar(proceso);
    assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
    assert!(
        dicho(&salida).contains("como otro nombre.bin"),
        "{}",
        dicho(&salida)
    );
}

/// Envía a un receptor que hace esto, y da la salida y lo que tardó.
fn a_un_receptor_que(hacer: impl FnOnce(Charla) + Send) -> (Output, Duration) {
    let (_suya, ruta) = archivo(&datos(2 * BLOQUE));
    let escucha = TcpListener::bind("127.0.0.1:0").unwrap();
    thread::scope(|ambito| {
        let proceso = empezar_a_enviar(&ruta, escucha.local_addr().unwrap());
        let antes = Instant::now();
        ambito.spawn(move || hacer(que_me_ofrezcan(&escucha).0));
        let salida = acabar(proceso);
        (salida, antes.elapsed())
    })
}

#[test]
fn lo_que_conteste_el_receptor_se_cuenta_y_se_limpia() {
    let casos: [(&str, &str); 4] = [
        ("ERROR:no quiero \x1b[31mnada", "no lo acepta: no quiero"),
        ("ni idea", "no es del protocolo"),
        ("RECIBIDO:sin pedir nada", "no es del protocolo"),
        ("", "un nodo de la guía no recibe envíos"),
    ];
    for (contesta, frase) in casos {
        let (salida, _) = a_un_receptor_que(|mut charla| {
            if !contesta.is_empty() {
                charla.decir(contesta);
            }
        });
        assert_eq!(codigo(&salida), Some(1));
        let quejas = quejas(&salida);
        assert!(
            quejas.contains(frase) && !quejas.contains('\x1b'),
            "{quejas}"
        );
    }
    for (fin, frase) in [
        ("ERROR:disco lleno", "no pudo guardarlo: disco lleno"),
        ("ni idea", "pidió algo que no es del protocolo"),
        ("", "cortó antes de tenerlo entero"),
    ] {
        let (salida, _) = a_un_receptor_que(|mut charla| {
            charla.decir("ACEPTADO");
            charla.pedir(&format!("INFO:{NOMBRE}"));
            if !fin.is_empty() {
                charla.decir(fin);
            }
        });
        assert_eq!(codigo(&salida), Some(1));
        assert!(quejas(&salida).contains(frase), "{}", quejas(&salida));
    }
}

// ----- Los que callan: diez segundos, todos a la vez -----

/// La llama [`crate::a_la_vez_las_que_esperan_plazos`].
pub fn a_quien_calla_no_se_le_espera() {
    thread::scope(|ambito| {
        ambito.spawn(|| receptor_mudo("al ofrecerle", |_| {}));
        ambito.spawn(|| receptor_mudo("tras aceptar", |charla| charla.decir("ACEPTADO")));
        ambito.spawn(|| {
            receptor_mudo("tras un bloque", |charla| {
                charla.decir("ACEPTADO");
                charla.pedir(&format!("OBTENER:0:{BLOQUE}:{NOMBRE}"));
                charla.leer(BLOQUE);
            })
        });
        ambito.spawn(|| emisor_mudo("INFO", &[]));
        ambito.spawn(|| emisor_mudo("BLOQUES", &["INFO"]));
        ambito.spawn(|| emisor_mudo("OBTENER", &["INFO", "BLOQUES"]));
    });
}

fn receptor_mudo(cuando: &str, hacer: impl FnOnce(&mut Charla) + Send) {
    let (salida, tardo) = a_un_receptor_que(|mut charla| {
        hacer(&mut charla);
        // Callado hasta que el otro se canse.
        while charla.oir().is_some() {}
    });
    assert_eq!(codigo(&salida), Some(1), "{cuando}");
    assert!(
        quejas(&salida).contains("se acabó el plazo"),
        "{}",
        quejas(&salida)
    );
    assert!(tardo < PLAZO_Y_PICO, "{cuando}: {tardo:?}");
}

/// Un emisor que contesta a esas palabras y calla al llegar a la siguiente.
fn emisor_mudo(calla_en: &str, contesta: &[&str]) {
    let (carpeta, receptor) = receptor();
    let mut charla = Charla::con(receptor.direccion());
    assert_eq!(charla.pedir(&format!("OFRECER:{NOMBRE}")), "ACEPTADO");
    let contenido = datos(BLOQUE);
    for palabra in contesta {
        let pedido = charla.oir().unwrap();
        assert!(pedido.starts_with(palabra), "{pedido}");
        charla.decir(&match *palabra {
            "INFO" => format!("INFO:{BLOQUE}:{}", huella(&contenido)),
            _ => format!("BLOQUES:1\n{}", huella(&contenido)),
        });
    }
    assert!(charla.oir().unwrap().starts_with(calla_en));
    let antes = Instant::now();
    receptor.esperar("[ERROR AL RECIBIR]");
    assert!(antes.elapsed() < PLAZO_Y_PICO);
    assert!(!nombres(&carpeta).contains(&NOMBRE.to_string()));
    assert!(responde(receptor.direccion()));
    // Y se puede volver a ofrecer: el cerrojo quedó suelto.
    let (_suya, ruta) = archivo(&contenido);
    let salida = enviar(&ruta, receptor.direccion());
    assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
}

// ----- Un emisor falso -----

/// Ofrece un archivo y contesta como diga `contestar` hasta que el receptor cuente cómo acabó.
fn ofrecer(a: SocketAddr, nombre: &str, contestar: impl Fn(&str, &mut Charla)) -> String {
    let mut charla = Charla::con(a);
    let respuesta = charla.pedir(&format!("OFRECER:{nombre}"));
    if respuesta != "ACEPTADO" {
        return respuesta;
    }
    while let Some(pedido) = charla.oir() {
        if pedido.starts_with("RECIBIDO") || pedido.starts_with("ERROR") {
            return pedido;
        }
        contestar(&pedido, &mut charla);
    }
    String::new()
}

#[test]
fn al_emisor_que_miente_se_le_dice_y_no_queda_nada() {
    let (carpeta, receptor) = receptor();
    let contenido = datos(2 * BLOQUE);
    let honrado = |pedido: &str, charla: &mut Charla| match pedido.split(':').next().unwrap() {
        "INFO" => charla.decir(&format!("INFO:{}:{}", contenido.len(), huella(&contenido))),
        "BLOQUES" => {
            let bloques = huellas_de_bloques(&contenido);
            charla.decir(&format!(
                "BLOQUES:{}\n{}",
                bloques.len(),
                bloques.join("\n")
            ));
        }
        _ => {
            let desde: usize = pedido.split(':').nth(1).unwrap().parse().unwrap();
            charla.mandar(format!("OK:{BLOQUE}\n").as_bytes());
            charla.mandar(&contenido[desde..desde + BLOQUE]);
        }
    };
    let falso = |pedido: &str, charla: &mut Charla| {
        if pedido.starts_with("OBTENER") {
            charla.mandar(format!("OK:{BLOQUE}\n").as_bytes());
            charla.mandar(&vec![7; BLOQUE]);
        } else {
            honrado(pedido, charla);
        }
    };
    let sin_lista = |pedido: &str, charla: &mut Charla| {
        if pedido.starts_with("BLOQUES") {
            charla.decir("BLOQUES:1000000000000");
        } else {
            honrado(pedido, charla);
        }
    };
    let enorme = |_: &str, charla: &mut Charla| {
        charla.decir(&format!("INFO:{}:{}", u64::MAX, huella(&contenido)));
    };
    let fin = ofrecer(receptor.direccion(), "falso.bin", falso);
    assert!(
        fin.starts_with("ERROR:") && fin.contains("bloque falso"),
        "{fin}"
    );
    let fin = ofrecer(receptor.direccion(), "lista.bin", sin_lista);
    assert!(
        fin.starts_with("ERROR:") && fin.contains("1000000000000"),
        "{fin}"
    );
    let fin = ofrecer(receptor.direccion(), "enorme.bin", enorme);
    assert!(
        fin.starts_with("ERROR:") && fin.contains("no cabe"),
        "{fin}"
    );
    assert!(
        nombres(&carpeta).iter().all(|n| n.ends_with(".part")),
        "{:?}",
        nombres(&carpeta)
    );
    assert_eq!(
        ofrecer(receptor.direccion(), "bueno.bin", honrado),
        "RECIBIDO:bueno.bin"
    );
    assert!(fs::read(carpeta.path().join("bueno.bin")).unwrap() == contenido);
}

#[test]
fn los_nombres_que_no_valen_se_rechazan_diciendo_por_que() {
    let (carpeta, receptor) = receptor();
    let casos = [
        ("a?b.txt", "«?», en la posición 2"),
        ("informe: final.txt", "«:», en la posición 8"),
        ("sub/a*.txt", "«*», en la posición 6"),
        ("a\\b.txt", "«\\», en la posición 2"),
        ("a\u{202e}txt.exe", "U+202E, en la posición 2"),
        ("a\tb", "U+0009, en la posición 2"),
        ("NUL.txt", "reservado"),
        ("sub/com1", "reservado"),
        ("final.", "punto o espacio"),
        ("sub /x", "punto o espacio"),
        ("../x", "dentro de la carpeta"),
        ("/etc/passwd", "dentro de la carpeta"),
        ("a//b", "dentro de la carpeta"),
        ("sub/", "dentro de la carpeta"),
        (".oculto", "dentro de la carpeta"),
        ("", "dentro de la carpeta"),
    ];
    let largo = "ñ".repeat(121);
    for (nombre, frase) in casos.into_iter().chain([(&*largo, "demasiado largo")]) {
        let fin = ofrecer(receptor.direccion(), nombre, |_, _| {
            panic!("{nombre:?} se aceptó")
        });
        assert!(
            fin.starts_with("ERROR:") && fin.contains(frase),
            "{nombre:?}: {fin}"
        );
    }
    assert!(nombres(&carpeta).is_empty());
    // Lo mismo dice quien envía, sin llegar a ofrecerlo.
    let (suya, _) = archivo(b"");
    let raro = suya.path().join("a|b.txt");
    if cfg!(unix) {
        fs::write(&raro, "x").unwrap();
        let salida = enviar(&raro, receptor.direccion());
        assert_eq!(codigo(&salida), Some(1));
        assert!(
            quejas(&salida).contains("«|», en la posición 2"),
            "{}",
            quejas(&salida)
        );
    }
}

#[test]
fn lo_que_llega_a_una_subcarpeta_y_en_otra_forma_unicode_se_guarda_bien() {
    let (carpeta, receptor) = receptor();
    let honrado = |pedido: &str, charla: &mut Charla| {
        charla.mandar(&match pedido.split(':').next().unwrap() {
            "INFO" => format!("INFO:2:{}\n", huella(b"si")).into_bytes(),
            "BLOQUES" => format!("BLOQUES:1\n{}\n", huella(b"si")).into_bytes(),
            _ => b"OK:2\nsi".to_vec(),
        });
    };
    let fin = ofrecer(
        receptor.direccion(),
        "clase/d\u{131}a 1/an\u{303}o.txt",
        honrado,
    );
    assert_eq!(fin, "RECIBIDO:clase/d\u{131}a 1/año.txt");
    assert_eq!(
        fs::read(carpeta.path().join("clase/d\u{131}a 1/año.txt")).unwrap(),
        b"si"
    );
    // El mismo, escrito de la otra forma: ya se tiene.
    let fin = ofrecer(receptor.direccion(), "clase/d\u{131}a 1/año.txt", honrado);
    assert_eq!(fin, "RECIBIDO:clase/d\u{131}a 1/año.txt");
}

#[test]
fn dos_que_ofrecen_lo_mismo_a_la_vez_no_se_mezclan() {
    let (carpeta, receptor) = receptor();
    let uno = datos(2 * BLOQUE);
    let obtener = |n: usize| format!("OBTENER:{}:{BLOQUE}:{NOMBRE}", n * BLOQUE);
    let mut primero = Charla::con(receptor.direccion());
    assert_eq!(primero.pedir(&format!("OFRECER:{NOMBRE}")), "ACEPTADO");
    assert_eq!(primero.oir().unwrap(), format!("INFO:{NOMBRE}"));
    primero.decir(&format!("INFO:{}:{}", uno.len(), huella(&uno)));
    assert_eq!(primero.oir().unwrap(), format!("BLOQUES:{NOMBRE}"));
    primero.decir(&format!(
        "BLOQUES:2\n{}",
        huellas_de_bloques(&uno).join("\n")
    ));
    assert_eq!(primero.oir().unwrap(), obtener(0));
    // Sin esperar el primero, pide también el segundo.
    assert_eq!(primero.oir().unwrap(), obtener(1));
    primero.mandar(format!("OK:{BLOQUE}\n").as_bytes());
    primero.mandar(&uno[..BLOQUE]);
    // Con el primero a medias, el segundo oye que ya se está bajando.
    hasta(|| nombres(&carpeta) == [format!(".{NOMBRE}.part")]);
    let (_suya, ruta) = archivo(b"dos");
    let salida = enviar(&ruta, receptor.direccion());
    assert_eq!(codigo(&salida), Some(1));
    assert!(
        quejas(&salida).contains("ya se está bajando"),
        "{}",
        quejas(&salida)
    );
    primero.mandar(format!("OK:{BLOQUE}\n").as_bytes());
    primero.mandar(&uno[BLOQUE..]);
    assert_eq!(primero.oir().unwrap(), format!("RECIBIDO:{NOMBRE}"));
    assert!(fs::read(carpeta.path().join(NOMBRE)).unwrap() == uno);
    assert_eq!(nombres(&carpeta), [NOMBRE]);
}

// ----- Ofertas que no acaban -----

/// Hace una oferta que el receptor acepta, y contesta que el archivo mide cinco bytes y aún calcula
/// su huella.
fn ofrecer_y_calcular(conexion: TcpStream, nombre: &str) -> (Charla, String) {
    let mut charla = Charla::de(conexion);
    let respuesta = charla.pedir(&format!("OFRECER:{nombre}"));
    if respuesta == "ACEPTADO" {
        assert_eq!(charla.oir().unwrap(), format!("INFO:{nombre}"));
        charla.decir("INFO:5:-");
    }
    (charla, respuesta)
}

#[test]
fn una_ip_no_ocupa_todas_las_plazas() {
    let carpeta = tempfile::tempdir().unwrap();
    let opciones = ["--peer", "127.0.0.1:1", "--peer", "127.0.0.2:1"];
    let receptor = Proceso::nodo(carpeta.path(), &opciones);
    let ofertas: Vec<_> = (0..5)
        .map(|n| ofrecer_y_calcular(conectar(receptor.direccion()), &format!("{n}.bin")))
        .collect();
    let aceptadas = ofertas.iter().filter(|(_, r)| r == "ACEPTADO").count();
    assert_eq!(aceptadas, 4);
    assert!(ofertas[4].1.contains("demasiados"), "{}", ofertas[4].1);
    // Las de otra IP no lo notan (sólo Linux tiene más de una de esta máquina sin pedirla).
    if cfg!(target_os = "linux") {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let desde = SocketAddr::from(([127, 0, 0, 2], 0));
        socket.bind(&desde.into()).unwrap();
        socket.connect(&receptor.direccion().into()).unwrap();
        let (_charla, respuesta) = ofrecer_y_calcular(socket.into(), "otra.bin");
        assert_eq!(respuesta, "ACEPTADO");
    }
    // Y al irse una, hay sitio.
    drop(ofertas);
    receptor.esperar_veces("[ERROR AL RECIBIR]", 4);
    let (_suya, ruta) = archivo(b"hola");
    let salida = enviar(&ruta, receptor.direccion());
    assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
}

#[test]
fn una_oferta_que_no_da_nada_no_le_impide_a_su_dueno_bajarlo() {
    let (carpeta, receptor) = receptor();
    let contenido = datos(2 * BLOQUE);
    let otro = datos(3 * BLOQUE);
    let mut oferta = Charla::con(receptor.direccion());
    assert_eq!(oferta.pedir(&format!("OFRECER:{NOMBRE}")), "ACEPTADO");
    oferta.oir().unwrap();
    oferta.decir(&format!("INFO:{}:{}", otro.len(), huella(&otro)));
    oferta.oir().unwrap();
    let bloques = huellas_de_bloques(&otro).join("\n");
    oferta.decir(&format!("BLOQUES:3\n{bloques}"));
    assert!(oferta.oir().unwrap().starts_with("OBTENER"));
    oferta.mandar(format!("OK:{BLOQUE}\n").as_bytes());
    oferta.mandar(&otro[..1]);
    // Con la oferta a medias, su dueño lo baja de quien quiera.
    let par = Falso::nuevo(&contenido, Mana::Honrado);
    let salida = nodo()
        .args(["descargar", NOMBRE, "--carpeta"])
        .arg(carpeta.path())
        .args(["--de", &par.direccion.to_string()])
        .recoger();
    assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
    assert!(fs::read(carpeta.path().join(NOMBRE)).unwrap() == contenido);
    // Y si al final da lo suyo, se guarda aparte.
    oferta.mandar(&otro[1..BLOQUE]);
    for bloque in otro.chunks(BLOQUE).skip(1) {
        oferta.mandar(format!("OK:{BLOQUE}\n").as_bytes());
        oferta.mandar(bloque);
    }
    receptor.esperar(&format!("{DESCARGADO} tarea (1).bin"));
    assert!(fs::read(carpeta.path().join("tarea (1).bin")).unwrap() == otro);
    assert_eq!(nombres(&carpeta).len(), 2);
}

#[test]
fn quien_ofrece_y_calcula_sin_fin_se_deja_con_el_tiempo() {
    let escucha = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut oferta = Charla::con(escucha.local_addr().unwrap());
    let (socket, desde) = aceptar(&escucha).unwrap();
    let limites = Limites {
        calcular: Duration::from_secs(2),
        ..Limites::default()
    };
    let carpeta = tempfile::tempdir().unwrap();
    let (parada, progreso) = (Parada::nueva(), Progreso::default());
    let pedido = Pedido {
        nombre: NOMBRE,
        carpeta: &Carpeta::abrir(carpeta.path()).unwrap(),
        limites: &limites,
        conexiones: 1,
        pares: &[],
        parada: &parada,
        progreso: &progreso,
        avisar: &|_| (),
    };
    thread::scope(|ambito| {
        let conexion = Conexion::aceptada(&Arc::new(socket), desde, &limites);
        let recibe = ambito.spawn(|| recibir(conexion, &pedido).0.unwrap_err());
        // Pregunta otra vez cada segundo, hasta que se cansa.
        let mut veces = 0;
        while let Some(pedido) = oferta.oir() {
            assert_eq!(pedido, format!("INFO:{NOMBRE}"));
            // Cada vez dice que es mayor: no por eso tiene más tiempo.
            veces += 1;
            assert!(veces < 20, "no se cansa");
            oferta.decir(&format!("INFO:{}:-", 5 * veces));
        }
        assert!(veces >= 2);
        let frase = recibe.join().unwrap().to_string();
        assert!(frase.contains("demasiado calculando la huella"), "{frase}");
    });
    assert!(nombres(&carpeta).is_empty());
}

// ----- El enlace que muere: los bytes no llegan, y nadie lo dice -----

#[test]
fn a_quien_deja_de_recibir_no_se_le_manda_para_siempre() {
    let (suya, ruta) = archivo(&datos(16 * BLOQUE));
    let limites = Limites {
        escribir: Duration::from_millis(600),
        ..Limites::default()
    };
    let obtener = format!("OBTENER:0:{}:{NOMBRE}", 16 * BLOQUE);
    let escucha = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = escucha.local_addr().unwrap();
    // Quien envía. La conexión sigue abierta, y de ella no se lee nada más.
    let (acabo, fin) = mpsc::channel();
    let suyos = limites.clone();
    thread::spawn(move || {
        let (parada, progreso) = (Parada::nueva(), Progreso::default());
        let enviado = enviar_archivo(&vecinos(suyos), &ruta, peer, &parada, &progreso);
        acabo.send(enviado)
    });
    let (mut recibe, _) = que_me_ofrezcan(&escucha);
    recibe.decir("ACEPTADO");
    recibe.decir(&obtener);
    let enviado = fin.recv_timeout(Duration::from_secs(10)).unwrap();
    let frase = enviado.unwrap_err().to_string();
    assert!(frase.contains("que el otro reciba"), "{frase}");
    // Quien sirve.
    let (acabo, fin) = mpsc::channel();
    let mut pide = Charla::con(peer);
    let (socket, desde) = aceptar(&escucha).unwrap();
    let carpeta = Carpeta::abrir(suya.path()).unwrap();
    thread::spawn(move || {
        let (avisador, _oyente) = Avisador::nuevo(1);
        let conexion = Conexion::aceptada(&Arc::new(socket), desde, &limites);
        let nuestro = Nodo::nuevo(vecinos(limites), desde, carpeta, avisador, Arc::default());
        gestionar_peticion(conexion, &nuestro);
        acabo.send(())
    });
    pide.decir(&obtener);
    fin.recv_timeout(Duration::from_secs(10)).unwrap();
}

/// Nadie más en la red, con esos plazos.
fn vecinos(limites: Limites) -> Vecinos {
    let mut config = decidir(Opciones::default()).unwrap();
    config.limites = limites;
    config.peers.clear();
    Vecinos::nuevos(&config, "prueba".into(), None)
}

// ----- Cortes y cancelaciones -----

#[cfg(unix)]
#[test]
fn un_envio_cortado_por_cualquier_lado_se_reanuda() {
    let contenido = datos(10 * BLOQUE);
    let (_suya, ruta) = archivo(&contenido);
    let (carpeta, receptor) = receptor();
    let en_marcha = |a: SocketAddr| {
        let (pedido, compuerta) = (
            Arc::new(Compuerta::default()),
            Arc::new(Compuerta::default()),
        );
        let (avisa, espera) = (Arc::clone(&pedido), Arc::clone(&compuerta));
        let puente = Puente::al_reves(a, move |linea, vez| {
            // Hay dos en vuelo: han llegado otros dos.
            if linea.starts_with("OBTENER") && vez == 4 {
                avisa.abrir();
                espera.pasar();
            }
        });
        let proceso = empezar_a_enviar(&ruta, puente.direccion);
        pedido.pasar();
        (proceso, compuerta)
    };
    // Ctrl-C de quien envía: 130, y quien recibe lo dice y guarda lo que tenía.
    let (proceso, _compuerta) = en_marcha(receptor.direccion());
    let antes = Instant::now();
    senal(proceso.id(), "INT");
    let salida = acabar(proceso);
    assert_eq!(codigo(&salida), Some(130), "{}", quejas(&salida));
    assert!(antes.elapsed() < Duration::from_secs(5));
    assert!(quejas(&salida).contains("cancelado"), "{}", quejas(&salida));
    receptor.esperar("[ERROR AL RECIBIR]");
    assert_eq!(nombres(&carpeta), [format!(".{NOMBRE}.part")]);
    // kill -9 de quien envía.
    let (mut proceso, _compuerta) = en_marcha(receptor.direccion());
    proceso.kill().unwrap();
    acabar(proceso);
    receptor.esperar_veces("[ERROR AL RECIBIR]", 2);
    // kill -9 de quien recibe: quien envía lo dice y sale.
    let (proceso, compuerta) = en_marcha(receptor.direccion());
    drop(receptor);
    compuerta.abrir();
    let salida = acabar(proceso);
    assert_eq!(codigo(&salida), Some(1), "{}", quejas(&salida));
    assert!(
        quejas(&salida).contains("[ERROR AL ENVIAR]"),
        "{}",
        quejas(&salida)
    );
    // A la cuarta llega, sin repetir lo que ya estaba.
    let receptor = Proceso::nodo(carpeta.path(), &["--peer", "127.0.0.1:1"]);
    let puente = Puente::al_reves(receptor.direccion(), |_, _| {});
    let salida = enviar(&ruta, puente.direccion);
    assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
    assert!(
        puente.registro.cuantos("OBTENER") <= 4,
        "se volvió a pedir lo que ya estaba"
    );
    receptor.esperar("[REANUDANDO]");
    assert!(fs::read(carpeta.path().join(NOMBRE)).unwrap() == contenido);
}

#[cfg(unix)]
#[test]
fn salir_a_medias_de_recibir_no_espera_a_nadie() {
    let (carpeta, mut receptor) = receptor();
    let mut charla = Charla::con(receptor.direccion());
    assert_eq!(charla.pedir(&format!("OFRECER:{NOMBRE}")), "ACEPTADO");
    assert!(charla.oir().unwrap().starts_with("INFO"));
    let antes = Instant::now();
    receptor.senal("TERM");
    assert_eq!(receptor.terminar(), Some(130));
    assert!(
        antes.elapsed() < Duration::from_secs(4),
        "{:?}",
        antes.elapsed()
    );
    assert!(nombres(&carpeta).is_empty());
}
