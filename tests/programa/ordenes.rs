//! Las órdenes sueltas: qué sale por stdout y qué por stderr, con qué código, y las opciones a los
//! dos lados.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use super::comun::{Lanzar, Proceso, acabar, aceptar, codigo, datos, dicho, nodo, orden, quejas};
use crate::config::{CARPETA_ARCHIVOS, PEERS};
use crate::guia::{DESCARGADO, ENVIO_COMPLETO, NO_ENCONTRADO, NO_SE_ENCONTRO};
use socket2::{Domain, Socket, Type};

/// Nadie escucha en el puerto 1.
const NADIE: &str = "127.0.0.1:1";

fn nodo_con(archivos: &[(&str, &str)], opciones: &[&str]) -> (tempfile::TempDir, Proceso, String) {
    let carpeta = tempfile::tempdir().unwrap();
    for (nombre, contenido) in archivos {
        std::fs::write(carpeta.path().join(nombre), contenido).unwrap();
    }
    let nodo = Proceso::nodo(carpeta.path(), opciones);
    let direccion = nodo.direccion().to_string();
    (carpeta, nodo, direccion)
}

/// Hace una orden desde una carpeta vacía, para ver qué deja en ella.
fn orden_en(donde: &Path, argumentos: &[&str]) -> Output {
    let mut programa = nodo();
    programa.args(argumentos).current_dir(donde);
    programa.stdin(Stdio::null()).recoger()
}

fn esta_vacia(carpeta: &Path) -> bool {
    std::fs::read_dir(carpeta).unwrap().next().is_none()
}

/// Código, stdout y si dijo algo por stderr.
fn comprobar(salida: &Output, esperado: i32, por_stdout: &str, por_stderr: &[&str]) {
    let (dijo, se_quejo) = (dicho(salida), quejas(salida));
    assert_eq!(codigo(salida), Some(esperado), "{dijo}{se_quejo}");
    assert_eq!(dijo, por_stdout, "{se_quejo}");
    for trozo in por_stderr {
        assert!(se_quejo.contains(trozo), "falta {trozo:?} en {se_quejo:?}");
    }
    assert_eq!(se_quejo.is_empty(), por_stderr.is_empty(), "{se_quejo}");
}

// ----- Una por una -----

#[test]
fn buscar_da_uno_por_linea_y_1_si_no_hay_ninguno() {
    let (_carpeta, _nodo, peer) = nodo_con(&[("a.txt", "a")], &[]);
    let hay = orden(["buscar", "a.txt", "--peer", &peer]);
    comprobar(&hay, 0, &format!("{peer}\n"), &[]);
    let no_hay = orden(["buscar", "b.txt", "--peer", &peer]);
    comprobar(&no_hay, 1, "", &[NO_SE_ENCONTRO]);
    let nadie = orden(["buscar", "a.txt", "--peer", NADIE]);
    comprobar(&nadie, 1, "", &[NO_SE_ENCONTRO]);
}

#[test]
fn listar_lo_mio_y_lo_de_todos() {
    let (carpeta, _nodo, peer) = nodo_con(&[("a.txt", "a"), ("ñu.txt", "b")], &[]);
    let mia = carpeta.path().to_str().unwrap();
    comprobar(
        &orden(["listar", "--carpeta", mia]),
        0,
        "a.txt\nñu.txt\n",
        &[],
    );
    let red = orden(["listar", "--red", "--peer", &peer, "--peer", NADIE]);
    comprobar(&red, 0, &format!("{peer} a.txt\n{peer} ñu.txt\n"), &[NADIE]);
    comprobar(
        &orden(["listar", "--red", "--peer", NADIE]),
        1,
        "",
        &[NADIE],
    );
}

#[test]
fn ninguna_crea_la_carpeta_salvo_para_recibir() {
    let (_carpeta, _nodo, peer) = nodo_con(&[("a.txt", "hola")], &[]);
    let donde = tempfile::tempdir().unwrap();
    let listar = orden_en(donde.path(), &["listar"]);
    comprobar(
        &listar,
        1,
        "",
        &[CARPETA_ARCHIVOS, "no existe", "--carpeta"],
    );
    for argumentos in [
        &["buscar", "a.txt", "--peer", &peer][..],
        &["estado", "--peer", &peer],
        &["mensaje", "hola", "--peer", &peer],
        &["listar", "--red", "--peer", &peer],
    ] {
        assert_eq!(codigo(&orden_en(donde.path(), argumentos)), Some(0));
        assert!(esta_vacia(donde.path()), "{argumentos:?}");
    }
    for que in ["no está.txt", "../a.txt"] {
        let hondo = donde.path().join("uno/dos");
        let hondo = hondo.to_str().unwrap();
        let pedir = ["descargar", que, "--de", &peer, "--carpeta", hondo];
        assert_eq!(codigo(&orden_en(donde.path(), &pedir)), Some(1), "{que}");
        assert!(
            esta_vacia(donde.path()),
            "una descarga que falla no deja carpetas: {que}"
        );
    }
    let descargar = orden_en(donde.path(), &["descargar", "a.txt", "--peer", &peer]);
    assert_eq!(codigo(&descargar), Some(0), "{}", quejas(&descargar));
    let guardado = donde.path().join(CARPETA_ARCHIVOS).join("a.txt");
    assert_eq!(std::fs::read(guardado).unwrap(), b"hola");
}

#[test]
fn descargar_dice_el_resultado_por_stdout_y_los_fallos_por_stderr() {
    let (_carpeta, _nodo, peer) = nodo_con(&[("a.txt", "hola")], &[]);
    let destino = tempfile::tempdir().unwrap();
    let donde = destino.path().to_str().unwrap();
    let bien = orden(["descargar", "a.txt", "--peer", &peer, "--carpeta", donde]);
    assert_eq!(codigo(&bien), Some(0));
    assert!(dicho(&bien).starts_with(&format!("{DESCARGADO} a.txt\n")));
    let ya = orden(["descargar", "a.txt", "--de", &peer, "--carpeta", donde]);
    assert_eq!(codigo(&ya), Some(0), "lo que ya se tenía está bien");
    assert!(dicho(&ya).contains("[YA LO TIENES]"));
    for argumentos in [["--peer", &peer], ["--de", &peer]] {
        let [como, quien] = argumentos;
        let no = orden(["descargar", "no.txt", como, quien, "--carpeta", donde]);
        comprobar(&no, 1, "", &[NO_ENCONTRADO]);
    }
    let caido = orden(["descargar", "a.txt", "--de", NADIE, "--carpeta", donde]);
    comprobar(&caido, 1, "", &[NADIE]);
    assert_eq!(std::fs::read_dir(destino.path()).unwrap().count(), 1);
}

#[test]
fn mensaje_va_bien_si_lo_recibio_alguno() {
    let (_carpeta, nodo, peer) = nodo_con(&[], &[]);
    let uno = orden([
        "mensaje",
        "línea uno\nlínea dos",
        "--peer",
        &peer,
        "--peer",
        NADIE,
    ]);
    comprobar(&uno, 0, &format!("{peer} lo recibió\n"), &[NADIE]);
    nodo.esperar("línea uno línea dos\n");
    let a_uno = orden(["mensaje", "sólo a ti", "--a", &peer, "--nombre", "ana"]);
    comprobar(&a_uno, 0, &format!("{peer} lo recibió\n"), &[]);
    nodo.esperar("[MENSAJE] ana (127.0.0.1): sólo a ti\n");
    comprobar(&orden(["mensaje", "hola", "--a", NADIE]), 1, "", &[NADIE]);
    let largo = "x".repeat(2001);
    comprobar(
        &orden(["mensaje", &largo, "--a", &peer]),
        1,
        "",
        &["2001", "2000"],
    );
}

#[test]
fn estado_dice_quien_responde_y_quien_no() {
    let (_carpeta, _nodo, peer) = nodo_con(&[], &["--nombre", "beatriz"]);
    let salida = orden(["estado", "--peer", &peer, "--peer", NADIE]);
    assert_eq!(codigo(&salida), Some(0));
    let dijo = dicho(&salida);
    assert!(
        dijo.contains(&format!("{peer} responde: beatriz (")),
        "{dijo}"
    );
    assert!(dijo.contains(&format!("{NADIE} no responde: ")), "{dijo}");
    let nadie = orden(["estado", "--peer", NADIE]);
    assert_eq!(codigo(&nadie), Some(1), "no contestó nadie");
}

#[cfg(target_os = "linux")]
#[test]
fn quien_tiene_dos_direcciones_cuenta_una_vez() {
    let (_carpeta, _nodo, peer) = nodo_con(&[("a.txt", "hola")], &["--ip", "0.0.0.0"]);
    let otra = peer.replace("127.0.0.1", "127.0.0.2");
    let como_ipv4 = format!("[::ffff:127.0.0.1]:{}", peer.rsplit_once(':').unwrap().1);
    let en = |orden_y_mas: &[&str]| {
        let peers = ["--peer", &peer, "--peer", &otra, "--peer", &como_ipv4];
        dicho(&orden(orden_y_mas.iter().chain(&peers)))
    };
    assert_eq!(en(&["listar", "--red"]).lines().count(), 1);
    assert_eq!(en(&["mensaje", "hola"]).matches("lo recibió").count(), 1);
    let estado = en(&["estado"]);
    assert_eq!(estado.matches(" responde: ").count(), 1, "{estado}");
    assert!(
        estado.contains("que ya contestó por otra dirección"),
        "{estado}"
    );
    assert_eq!(estado.lines().count(), 2, "{estado}");
}

#[test]
fn buscar_lo_que_ya_se_tiene_lo_dice() {
    let (_carpeta, _nodo, peer) = nodo_con(&[("de_los_dos.txt", "x")], &[]);
    let suya = tempfile::tempdir().unwrap();
    for nombre in ["mio.txt", "de_los_dos.txt"] {
        std::fs::write(suya.path().join(nombre), "x").unwrap();
    }
    let donde = suya.path().to_str().unwrap();
    let los_dos = [
        "buscar",
        "de_los_dos.txt",
        "--peer",
        &peer,
        "--carpeta",
        donde,
    ];
    let salida = orden(los_dos);
    comprobar(
        &salida,
        0,
        &format!("{peer}\n"),
        &["ya lo tienes tú", "de_los_dos.txt"],
    );
    let salida = orden(["buscar", "mio.txt", "--peer", &peer, "--carpeta", donde]);
    comprobar(
        &salida,
        1,
        "",
        &[NO_SE_ENCONTRO, "ya lo tienes tú", "mio.txt"],
    );
}

#[cfg(target_os = "linux")]
#[test]
fn lo_que_no_se_pudo_escribir_no_esta_bien() {
    let carpeta = tempfile::tempdir().unwrap();
    std::fs::write(carpeta.path().join("a.txt"), "x").unwrap();
    let donde = carpeta.path().to_str().unwrap();
    let archivo = carpeta.path().join("a.txt");
    for argumentos in [
        &["listar", "--carpeta", donde][..],
        &["huella", archivo.to_str().unwrap()],
        &["completar", "fish"],
        &["--help"],
        &["--version"],
    ] {
        let lleno = std::fs::File::create("/dev/full").unwrap();
        let hijo = nodo()
            .args(argumentos)
            .stdout(lleno)
            .stderr(Stdio::piped())
            .spawn();
        let salida = hijo.unwrap().wait_with_output().unwrap();
        assert_eq!(codigo(&salida), Some(1), "{argumentos:?}");
        assert!(
            quejas(&salida).contains("el disco está lleno"),
            "{argumentos:?}"
        );
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_deja_la_huella_y_localizar_a_medias_con_130() {
    let mudo = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}", mudo.local_addr().unwrap());
    let carpeta = tempfile::tempdir().unwrap();
    let tuberia = carpeta.path().join("tuberia");
    let creada = std::process::Command::new("mkfifo").arg(&tuberia).status();
    assert!(creada.unwrap().success());
    for (argumentos, senal) in [
        (&["huella", "/dev/zero"][..], "INT"),
        (&["huella", tuberia.to_str().unwrap()], "TERM"),
        (&["huella", "-"], "INT"),
        (&["localizar", "a", "--maestro", &url], "INT"),
        (
            &["buscar", "a", "--maestro", &url, "--espera", "60"],
            "TERM",
        ),
        (
            &["descargar", "a", "--maestro", &url, "--espera", "60"],
            "INT",
        ),
    ] {
        let mut programa = nodo();
        programa.args(argumentos).env("RUST_LOG", "nodo=trace");
        programa.args(["--peer", NADIE]).current_dir(carpeta.path());
        programa.stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut hijo = programa.lanzar();
        // Una entrada en que nadie escribe, y que sigue abierta.
        let _entrada = hijo.stdin.take();
        // Cuando dice algo por el registro ya atiende las señales.
        let mut algo = [0];
        std::io::Read::read_exact(hijo.stderr.as_mut().unwrap(), &mut algo).unwrap();
        let antes = Instant::now();
        crate::programa::comun::senal(hijo.id(), senal);
        assert_eq!(hijo.wait().unwrap().code(), Some(130), "{argumentos:?}");
        assert!(antes.elapsed() < Duration::from_secs(3), "{argumentos:?}");
    }
}

#[test]
fn enviar_desde_cualquier_sitio_y_con_su_motivo_si_no_se_puede() {
    let (carpeta, _nodo, peer) = nodo_con(&[], &["--peer", NADIE]);
    let aparte = tempfile::tempdir().unwrap();
    let archivo = aparte.path().join("foto.png");
    std::fs::write(&archivo, "foto").unwrap();
    let archivo = archivo.to_str().unwrap();
    let bien = orden(["enviar", archivo, "--a", &peer]);
    assert_eq!(codigo(&bien), Some(0), "{}", quejas(&bien));
    assert!(dicho(&bien).starts_with(ENVIO_COMPLETO));
    assert_eq!(
        std::fs::read(carpeta.path().join("foto.png")).unwrap(),
        b"foto"
    );
    let no_esta = orden(["enviar", "no-esta.png", "--a", &peer]);
    comprobar(
        &no_esta,
        1,
        "",
        &["[ERROR AL ENVIAR]", "no-esta.png", "no existe"],
    );
    comprobar(
        &orden(["enviar", archivo, "--a", NADIE]),
        1,
        "",
        &["[ERROR AL ENVIAR]", NADIE],
    );
}

#[test]
fn huella_escribe_lo_que_b3sum() {
    let carpeta = tempfile::tempdir().unwrap();
    std::fs::write(carpeta.path().join("a.txt"), "hola").unwrap();
    let salida = orden_en(carpeta.path(), &["huella", "a.txt", "no-esta"]);
    let esperado = format!("{}  a.txt\n", blake3::hash(b"hola").to_hex());
    comprobar(&salida, 1, &esperado, &["no-esta", "no existe"]);
}

/// Hace `huella` de esos archivos, con `entrada` por la entrada estándar.
fn huella_con(donde: &Path, archivos: &[&str], entrada: &[u8]) -> Output {
    let mut hijo = nodo()
        .arg("huella")
        .args(archivos)
        .current_dir(donde)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .lanzar();
    let mut suya = hijo.stdin.take().unwrap();
    std::thread::scope(|ambito| {
        // Quien no la lee la cierra.
        ambito.spawn(move || drop(std::io::Write::write_all(&mut suya, entrada)));
        acabar(hijo)
    })
}

#[test]
fn huella_de_la_entrada_sola_y_entre_archivos() {
    let carpeta = tempfile::tempdir().unwrap();
    std::fs::write(carpeta.path().join("a.txt"), "hola").unwrap();
    std::fs::write(carpeta.path().join("-"), "se llama así").unwrap();
    let linea = |datos: &[u8], nombre| format!("{}  {nombre}\n", blake3::hash(datos).to_hex());
    // Más de lo que cabe en una tubería y en cualquier búfer.
    let mucho = datos(3_000_001);
    for entrada in [&mucho[..], b""] {
        let salida = huella_con(carpeta.path(), &["-"], entrada);
        comprobar(&salida, 0, &linea(entrada, "-"), &[]);
    }
    let salida = huella_con(carpeta.path(), &["a.txt", "-", "./-"], b"entra");
    let esperado = [
        linea(b"hola", "a.txt"),
        linea(b"entra", "-"),
        linea("se llama así".as_bytes(), "./-"),
    ];
    comprobar(&salida, 0, &esperado.concat(), &[]);
    let salida = huella_con(carpeta.path(), &["-", "a.txt", "-"], b"entra");
    comprobar(
        &salida,
        2,
        "",
        &["sólo se puede leer una vez", "nodo --help"],
    );
}

#[test]
fn completar_escribe_un_guion_en_espanol_con_las_opciones_a_los_dos_lados() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let salida = orden(["completar", shell]);
        let guion = dicho(&salida);
        assert_eq!((codigo(&salida), quejas(&salida)), (Some(0), String::new()));
        // Antes de la orden, y después de cada una de las del nodo.
        let veces = guion.matches("max-conexiones").count();
        assert!(veces > 8, "{shell}: sale {veces} veces");
        for de_una_orden in ["saluda-el-servidor", "localizar", "demostrar"] {
            assert!(guion.contains(de_una_orden), "{shell}: {de_una_orden}");
        }
        // bash no enseña explicaciones.
        let explica = guion.contains("Muestra esta ayuda");
        assert!(explica || shell == "bash", "{shell}");
        assert!(!guion.contains("Print help"), "{shell}");
        // En zsh un «:» sin escapar acaba el nombre del valor.
        let partidos = guion.contains(":IP:PUERTO") || guion.contains(":IP[:PUERTO]");
        assert!(!partidos, "{shell}");
    }
}

// ----- Las opciones -----

#[test]
fn las_opciones_valen_a_los_dos_lados_y_los_peers_se_suman() {
    let (_c1, _n1, uno) = nodo_con(&[("a.txt", "a")], &[]);
    let (_c2, _n2, dos) = nodo_con(&[("a.txt", "a")], &[]);
    for argumentos in [
        ["--peer", &uno, "--peer", &dos, "buscar", "a.txt"],
        ["--peer", &uno, "buscar", "a.txt", "--peer", &dos],
        ["--peer", &uno, "buscar", "--peer", &dos, "a.txt"],
        ["buscar", "a.txt", "--peer", &uno, "--peer", &dos],
    ] {
        let salida = orden(argumentos);
        let dijo = dicho(&salida);
        let mut lineas: Vec<&str> = dijo.lines().collect();
        let mut esperadas = [uno.as_str(), dos.as_str()];
        lineas.sort_unstable();
        esperadas.sort_unstable();
        assert_eq!(lineas, esperadas, "{argumentos:?}");
    }
    let (carpeta, _nodo, peer) = nodo_con(&[("ana.txt", "a")], &[]);
    let mia = carpeta.path().to_str().unwrap();
    comprobar(&orden(["--carpeta", mia, "listar"]), 0, "ana.txt\n", &[]);
    for argumentos in [
        ["--nombre", "ana", "mensaje", "hola", "--a", &peer],
        ["mensaje", "hola", "--a", &peer, "--nombre", "ana"],
    ] {
        assert_eq!(codigo(&orden(argumentos)), Some(0), "{argumentos:?}");
    }
}

#[test]
fn lo_mal_escrito_es_un_2_y_dice_que_y_como_pedir_ayuda() {
    for argumentos in [
        &["buscar"][..],
        &["busca", "x"],
        &["--colador"],
        &["--puerto", "70000"],
        &["--puerto", "hola", "servir"],
        &["--peer", "casa"],
        &["--peer", "127.0.0.1:0"],
        &["--peer", "0.0.0.0"],
        &["--espera", "0"],
        &["--espera", "-1"],
        &["--espera", "NaN"],
        &["--max-conexiones", "0"],
        &["--nombre", "a:b"],
        &["--nombre", ""],
        &["--maestro", "ftp://x"],
        &["enviar", "a.txt"],
        &["huella"],
        &["listar", "sobra"],
    ] {
        let salida = orden(argumentos);
        assert_eq!(
            codigo(&salida),
            Some(2),
            "{argumentos:?}: {}",
            quejas(&salida)
        );
        assert_eq!(dicho(&salida), "", "{argumentos:?}");
        assert!(
            quejas(&salida).contains("nodo --help"),
            "{}",
            quejas(&salida)
        );
    }
}

#[test]
fn la_ayuda_y_la_version_salen_por_stdout_con_un_0() {
    for argumentos in [
        &["--help"][..],
        &["-h"],
        &["buscar", "--help"],
        &["--version"],
    ] {
        let salida = orden(argumentos);
        assert_eq!(codigo(&salida), Some(0), "{argumentos:?}");
        assert!(!dicho(&salida).is_empty() && quejas(&salida).is_empty());
    }
}

// ----- Arrancar -----

#[test]
fn un_puerto_en_uso_se_dice_cual_y_que_hacer() {
    let (carpeta, nodo, _) = nodo_con(&[], &[]);
    let puerto = nodo.puerto.to_string();
    for como in [&["servir"][..], &[]] {
        let mut argumentos = como.to_vec();
        argumentos.extend(["--puerto", &puerto, "--carpeta"]);
        argumentos.push(carpeta.path().to_str().unwrap());
        let esperado = format!("el puerto {puerto} ya está en uso");
        comprobar(&orden(argumentos), 1, "", &[&esperado, "--puerto"]);
    }
}

#[test]
fn una_ip_que_no_es_de_aqui_se_dice() {
    let carpeta = tempfile::tempdir().unwrap();
    let donde = carpeta.path().to_str().unwrap();
    // Reservada para documentación: no es de nadie.
    let salida = orden([
        "servir",
        "--ip",
        "203.0.113.1",
        "--puerto",
        "0",
        "--carpeta",
        donde,
    ]);
    comprobar(
        &salida,
        1,
        "",
        &["203.0.113.1", "no es de esta máquina", "elige"],
    );
}

#[test]
fn una_carpeta_que_no_se_puede_crear_se_dice() {
    let aparte = tempfile::tempdir().unwrap();
    let archivo = aparte.path().join("archivo");
    std::fs::write(&archivo, "x").unwrap();
    for mala in [archivo.join("dentro"), archivo] {
        let mala = mala.to_str().unwrap();
        for como in [&["servir"][..], &[]] {
            let mut argumentos = como.to_vec();
            argumentos.extend(["--puerto", "0", "--carpeta", mala]);
            comprobar(&orden(argumentos), 1, "", &[mala, "--carpeta"]);
        }
        let descargar = ["descargar", "a", "--peer", NADIE, "--carpeta", mala];
        comprobar(&orden(descargar), 1, "", &[mala, "--carpeta"]);
    }
}

#[test]
fn una_fila_que_no_existe_se_dice() {
    let hay = PEERS.len();
    for fila in [0, hay + 1, hay + 96] {
        let salida = orden(["servir", "--nodo", &fila.to_string()]);
        assert_ne!(codigo(&salida), Some(0));
        let dijo = quejas(&salida);
        assert!(dijo.contains(&format!("de 1 a {hay}")), "{dijo}");
    }
}

// ----- A quién se pregunta -----

#[test]
fn quien_dice_quien_es_no_se_pregunta_a_si_mismo() {
    let (_carpeta, nodo, peer) = nodo_con(&[("a.txt", "a")], &[]);
    let puerto = nodo.puerto.to_string();
    // Con ese puerto, ese peer es uno mismo: escuchando en esa IP o en todas.
    for ip in ["127.0.0.1", "0.0.0.0"] {
        let salida = orden([
            "buscar", "a.txt", "--peer", &peer, "--puerto", &puerto, "--ip", ip,
        ]);
        assert_eq!(codigo(&salida), Some(1), "{ip}: {}", dicho(&salida));
    }
    // En otra IP de la máquina el mismo puerto es de otro, y sin puerto no se es nadie.
    let otra_ip = [
        "buscar",
        "a.txt",
        "--peer",
        &peer,
        "--puerto",
        &puerto,
        "--ip",
        "127.0.0.2",
    ];
    comprobar(&orden(otra_ip), 0, &format!("{peer}\n"), &[]);
    // Repetido, se le pregunta una vez.
    let repetido = orden(["buscar", "a.txt", "--peer", &peer, "--peer", &peer]);
    comprobar(&repetido, 0, &format!("{peer}\n"), &[]);
}

/// Un puerto enlazado en el que nadie escucha: conectarse se rechaza, y nadie más lo puede tomar.
fn puerto_muerto() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let cualquiera = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    socket.bind(&cualquiera.into()).unwrap();
    let direccion = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, direccion)
}

#[test]
fn diez_mudos_y_diez_muertos_cuestan_una_espera() {
    let (_carpeta, _nodo, vivo) = nodo_con(&[("a.txt", "a")], &[]);
    // Quien escucha y no acepta deja conectar, y calla.
    let mudos = [(); 10].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    let muertos = [(); 10].map(|()| puerto_muerto());
    let espera = Duration::from_secs(2);
    let mut argumentos = vec![
        "buscar".to_string(),
        "a.txt".into(),
        "--espera".into(),
        "2".into(),
    ];
    let todos = mudos.iter().map(|mudo| mudo.local_addr().unwrap());
    let todos = todos.chain(muertos.iter().map(|(_, direccion)| *direccion));
    for peer in todos.map(|peer| peer.to_string()).chain([vivo.clone()]) {
        argumentos.extend(["--peer".into(), peer]);
    }
    let antes = Instant::now();
    comprobar(&orden(argumentos), 0, &format!("{vivo}\n"), &[]);
    let tiempo = antes.elapsed();
    assert!(tiempo < espera * 2, "{tiempo:?}: de uno en uno serían 20 s");
}

#[cfg(unix)]
#[test]
fn ctrl_c_deja_una_orden_a_medias_con_130() {
    let mudo = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let peer = mudo.local_addr().unwrap().to_string();
    let carpeta = tempfile::tempdir().unwrap();
    let donde = carpeta.path().to_str().unwrap();
    for argumentos in [
        &["buscar", "a"][..],
        &["listar", "--red"],
        &["mensaje", "hola"],
        &["estado"],
        &["descargar", "a", "--de", &peer],
        &["enviar", "/etc/hosts", "--a", &peer],
    ] {
        let mut programa = nodo();
        programa
            .args(argumentos)
            .args(["--peer", &peer, "--carpeta", donde, "--espera", "60"])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut hijo = programa.lanzar();
        // En cuanto se conecta ya atiende las señales.
        let (_conexion, _) = aceptar(&mudo).unwrap();
        let antes = Instant::now();
        let pid = hijo.id().to_string();
        let kill = std::process::Command::new("kill")
            .args(["-INT", &pid])
            .status();
        assert!(kill.unwrap().success());
        assert_eq!(hijo.wait().unwrap().code(), Some(130), "{argumentos:?}");
        assert!(
            antes.elapsed() < Duration::from_secs(5),
            "{argumentos:?}: {:?}",
            antes.elapsed()
        );
    }
}
