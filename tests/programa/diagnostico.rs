//! `nodo diagnostico` y `LLAMAME`: cada causa, provocada, y lo que se dice de ella.
//!
//! Las que se ven en una sola máquina corren siempre, con pares falsos. Las que necesitan una red
//! (cortafuegos, aislamiento, NAT, MTU…) se hacen con computadoras de mentira, que en Linux son
//! espacios de red: hace falta ser root y tener `ip`, `nft` y `nsenter`. Sin eso se dice, y se
//! saltan.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Output;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::comun::{PACIENCIA, Proceso, codigo, conectar, dicho, orden, quejas};
use socket2::{Domain, Socket, Type};

/// Lo que dura un diagnóstico, como mucho.
const PLAZO: Duration = Duration::from_secs(8);

// ----- En una sola máquina -----

/// Un par falso: atiende cada conexión en su hilo, hasta que acabe el programa de pruebas.
fn falso(atender: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let escucha = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let direccion = escucha.local_addr().unwrap();
    let atender = Arc::new(atender);
    thread::spawn(move || {
        for conexion in escucha.incoming().flatten() {
            conexion.set_read_timeout(Some(PACIENCIA)).unwrap();
            let atender = Arc::clone(&atender);
            thread::spawn(move || atender(conexion));
        }
    });
    direccion
}

/// Uno que contesta cada línea con lo que diga `que`.
fn por_lineas(que: impl Fn(&str) -> String + Send + Sync + 'static) -> SocketAddr {
    falso(move |mut conexion| {
        let lineas = BufReader::new(conexion.try_clone().unwrap()).lines();
        for linea in lineas.map_while(Result::ok) {
            if conexion.write_all(que(&linea).as_bytes()).is_err() {
                return;
            }
        }
    })
}

/// Un nodo falso, que a `LLAMAME` contesta eso.
fn nodo_que_dice(te_veo: &'static str) -> SocketAddr {
    por_lineas(move |linea| match linea.starts_with("HOLA:") {
        true => "HOLA:6000:falso\n".into(),
        false => format!("{te_veo}\n"),
    })
}

/// Un diagnóstico con el puerto que esté libre.
fn diagnostico(peers: &[SocketAddr]) -> Output {
    let antes = Instant::now();
    let peers = peers.iter().map(ToString::to_string);
    let opciones = ["diagnostico", "--puerto", "0"].map(String::from);
    let salida = orden(opciones.into_iter().chain(peers));
    assert!(antes.elapsed() < PLAZO, "{:?}", antes.elapsed());
    salida
}

/// Lo que se dice de un par: la causa y qué hacer.
fn de(salida: &Output, peer: SocketAddr) -> String {
    let todo = dicho(salida);
    let principio = format!("\n{peer}: ");
    let (_, suyo) = todo
        .split_once(&principio)
        .unwrap_or_else(|| panic!("nada de {peer} en:\n{todo}{}", quejas(salida)));
    suyo.split("\n\n").next().unwrap().to_string()
}

fn comprobar(salida: &Output, peer: SocketAddr, esperado: i32, palabras: &[&str]) {
    let suyo = de(salida, peer);
    for palabra in palabras {
        assert!(suyo.contains(palabra), "falta {palabra:?} en:\n{suyo}");
    }
    assert!(suyo.contains("\n  Qué hacer: "), "{suyo}");
    assert!(suyo.contains("\n    TCP "), "dice lo que vio: {suyo}");
    assert_eq!(codigo(salida), Some(esperado), "{suyo}");
}

#[test]
fn con_un_nodo_se_ven_en_los_dos_sentidos_y_sale_con_0() {
    let (_carpeta, otro) = un_nodo();
    let salida = diagnostico(&[otro.direccion()]);
    comprobar(
        &salida,
        otro.direccion(),
        0,
        &["bien, es ana", "en los dos sentidos", "TE_VEO:SI:127.0.0.1"],
    );
    let dijo = dicho(&salida);
    assert!(dijo.contains("Esta computadora"), "{dijo}");
    assert!(dijo.contains("Escucho en el puerto"), "{dijo}");
    assert!(dijo.contains("VPN"), "{dijo}");
    // Uno mal basta para que no esté bien.
    let mudo = falso(|conexion| drop(leer_algo(&conexion)));
    let salida = diagnostico(&[otro.direccion(), mudo]);
    comprobar(&salida, otro.direccion(), 1, &["bien, es ana"]);
}

fn leer_algo(mut conexion: &TcpStream) -> Vec<u8> {
    let mut algo = vec![0; 4096];
    let leidos = conexion.read(&mut algo).unwrap_or(0);
    algo.truncate(leidos);
    algo
}

#[test]
fn rechazada_otro_programa_y_nodo_de_la_guia() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let cualquiera = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    socket.bind(&cualquiera.into()).unwrap();
    let nadie = socket.local_addr().unwrap().as_socket().unwrap();
    let salida = diagnostico(&[nadie]);
    // Si en esta máquina hay algún nodo de verdad en los puertos de siempre, se dice cuál.
    comprobar(&salida, nadie, 1, &["otro puerto", "TCP", "rechazada"]);

    let web = por_lineas(|_| "HTTP/1.0 400 Bad Request\n".into());
    let salida = diagnostico(&[web]);
    comprobar(
        &salida,
        web,
        1,
        &["otro programa tiene ese puerto", "--puerto"],
    );

    let de_la_guia = falso(|mut conexion| {
        if leer_algo(&conexion).starts_with(b"BUSCAR:") {
            let _ = conexion.write_all(b"NO");
        }
    });
    let salida = diagnostico(&[de_la_guia]);
    comprobar(&salida, de_la_guia, 0, &["es un nodo de la guía"]);

    // Cierra a todo: no es la guía.
    let cierra = falso(|conexion| drop(leer_algo(&conexion)));
    let salida = diagnostico(&[cierra]);
    comprobar(&salida, cierra, 1, &["otro programa tiene ese puerto"]);
}

/// Deja conectar y calla: vence un plazo.
pub fn quien_deja_conectar_y_calla_es_otro_programa_o_esta_parado() {
    let mudo = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let direccion = mudo.local_addr().unwrap();
    let salida = diagnostico(&[direccion]);
    comprobar(
        &salida,
        direccion,
        1,
        &["deja conectar y calla", "otro programa", "parado"],
    );
}

#[test]
fn lo_que_cuenta_el_otro_del_camino_de_vuelta() {
    for (te_veo, esperado, palabras) in [
        ("TE_VEO:SI:127.0.0.1", 0, &["en los dos sentidos"][..]),
        (
            "TE_VEO:plazo:127.0.0.1",
            1,
            &["sólo en un sentido", "tu cortafuegos de entrada"],
        ),
        (
            "TE_VEO:rechazada:127.0.0.1",
            1,
            &["sólo en un sentido", "tu cortafuegos de entrada"],
        ),
        (
            "TE_VEO:sin_camino:127.0.0.1",
            1,
            &["sólo en un sentido", "tu cortafuegos de entrada"],
        ),
        (
            "TE_VEO:no_es_nodo:127.0.0.1",
            1,
            &["sólo en un sentido", "no contesta un nodo"],
        ),
        // Una IP de los ejemplos: no es de esta máquina.
        (
            "TE_VEO:rechazada:192.0.2.7",
            1,
            &["sólo en un sentido", "NAT", "192.0.2.7"],
        ),
        // Uno que aún no conoce la palabra.
        (
            "ERROR:palabra desconocida",
            0,
            &["no se pudo comprobar", "palabra desconocida"],
        ),
        ("TE_VEO:quizá:127.0.0.1", 0, &["no se pudo comprobar"]),
        ("TE_VEO:SI:casa", 0, &["no se pudo comprobar"]),
    ] {
        let otro = nodo_que_dice(te_veo);
        comprobar(&diagnostico(&[otro]), otro, esperado, palabras);
    }
}

/// Uno al que sólo le llega lo corto: vencen los dos plazos de lo largo.
pub fn lo_largo_que_se_pierde_suele_ser_la_mtu() {
    let sordo = falso(|mut conexion| {
        let oido = leer_algo(&conexion);
        if oido.iter().filter(|b| **b == b'\n').count() == 1 {
            let _ = conexion.write_all(b"HOLA:6000:falso\n");
        }
        while !leer_algo(&conexion).is_empty() {}
    });
    let salida = diagnostico(&[sordo]);
    let con_cortos = if cfg!(unix) {
        "con MSS 536 tampoco"
    } else {
        "no se puede probar"
    };
    let no_pasan = "150 HOLA de un golpe: no pasan";
    comprobar(
        &salida,
        sordo,
        1,
        &["suele ser la MTU", no_pasan, con_cortos],
    );
}

#[test]
fn el_puerto_de_aqui_si_lo_tiene_otro_nodo_se_usa_y_si_otro_programa_se_dice() {
    let (c1, c2) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let otro = Proceso::nodo(c1.path(), &["--nombre", "ana"]);
    let mio = Proceso::nodo(c2.path(), &["--nombre", "bea"]);
    let (peer, puerto) = (otro.direccion().to_string(), mio.puerto.to_string());
    let salida = orden(["diagnostico", &peer, "--puerto", &puerto]);
    comprobar(&salida, otro.direccion(), 0, &["bien, es ana"]);
    assert!(dicho(&salida).contains("tu nodo bea"), "{}", dicho(&salida));

    let programa = falso(|conexion| drop(leer_algo(&conexion)));
    let puerto = programa.port().to_string();
    let salida = orden(["diagnostico", &peer, "--puerto", &puerto]);
    comprobar(
        &salida,
        otro.direccion(),
        1,
        &[
            "sólo en un sentido",
            "en tu puerto no escucha ningún nodo",
            "--puerto",
        ],
    );
    assert!(dicho(&salida).contains("lo tiene otro programa"));
}

#[test]
fn si_el_puerto_de_aqui_lo_tiene_un_nodo_con_otra_clave_se_dice() {
    const UNA: [&str; 2] = ["--clave", "batuki domite karusa lenopi"];
    const OTRA: [&str; 2] = ["--clave", "batuki domite karusa lenopo"];
    let (c1, c2) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (con, sin) = (
        Proceso::nodo(c1.path(), &UNA),
        Proceso::nodo(c2.path(), &[]),
    );
    for (mio, otro, clave) in [
        (&con, &sin, &[][..]),
        (&con, &sin, &OTRA),
        (&sin, &con, &UNA),
    ] {
        let (peer, puerto) = (otro.direccion().to_string(), mio.puerto.to_string());
        let opciones = ["diagnostico", &peer, "--puerto", &puerto].into_iter();
        let dijo = dicho(&orden(opciones.chain(clave.iter().copied())));
        assert!(dijo.contains("la clave de la clase no casa"), "{dijo}");
        assert!(!dijo.contains("lo tiene otro programa"), "{dijo}");
    }
}

#[test]
fn uno_mismo_no_se_mira_y_sin_nadie_sale_con_1() {
    let (_carpeta, mio) = un_nodo();
    let (peer, puerto) = (mio.direccion().to_string(), mio.puerto.to_string());
    let salida = orden(["diagnostico", &peer, "--puerto", &puerto]);
    let dijo = dicho(&salida);
    assert_eq!(codigo(&salida), Some(1), "{dijo}");
    assert!(dijo.contains("es esta computadora"), "{dijo}");
}

/// Con `--ip`, se llama desde esa: es a la que le contestarán.
#[cfg(target_os = "linux")]
#[test]
fn con_otra_ip_de_esta_maquina_tambien_se_ven() {
    let (_carpeta, otro) = un_nodo();
    let peer = otro.direccion().to_string();
    let salida = orden(["diagnostico", &peer, "--puerto", "0", "--ip", "127.0.0.29"]);
    comprobar(
        &salida,
        otro.direccion(),
        0,
        &["bien, es ana", "TE_VEO:SI:127.0.0.29"],
    );
}

// ----- LLAMAME -----

/// Manda una línea y lee otra.
fn pedir(conexion: &mut TcpStream, linea: &str) -> String {
    conexion.write_all(format!("{linea}\n").as_bytes()).unwrap();
    let mut respuesta = String::new();
    BufReader::new(conexion).read_line(&mut respuesta).unwrap();
    respuesta.trim_end().to_string()
}

fn un_nodo() -> (tempfile::TempDir, Proceso) {
    let carpeta = tempfile::tempdir().unwrap();
    let nodo = Proceso::nodo(carpeta.path(), &["--nombre", "ana"]);
    (carpeta, nodo)
}

#[test]
fn si_la_clave_no_casa_o_solo_la_tiene_uno_se_dice_cual() {
    const UNA: [&str; 2] = ["--clave", "batuki domite karusa lenopi"];
    const OTRA: [&str; 2] = ["--clave", "batuki domite karusa lenopo"];
    let carpeta = tempfile::tempdir().unwrap();
    let con = Proceso::nodo(carpeta.path(), &[&["--nombre", "ana"], &UNA[..]].concat());
    let (_otra, sin) = un_nodo();
    let ver = |a: SocketAddr, clave: &[&str]| {
        let opciones = ["diagnostico", "--puerto", "0"].into_iter();
        let a = a.to_string();
        orden(opciones.chain(clave.iter().copied()).chain([a.as_str()]))
    };
    let (con, sin) = (con.direccion(), sin.direccion());
    let casan = ver(con, &UNA);
    comprobar(
        &casan,
        con,
        0,
        &[
            "bien, es ana y se ven en los dos sentidos",
            "HOLA de un golpe: pasan",
        ],
    );
    for (a, clave, frase) in [
        (con, &OTRA[..], "la clave de la clase no casa"),
        (con, &[], "la clave de la clase sólo la tiene él"),
        (sin, &UNA, "la clave de la clase sólo la tienes tú"),
    ] {
        comprobar(&ver(a, clave), a, 1, &[frase, "--clave-de"]);
    }
}

#[test]
fn llamame_cuenta_como_fue_y_no_repite_lo_que_oyo() {
    let (_carpeta, nodo) = un_nodo();
    let oido = Arc::new(Mutex::new(Vec::new()));
    let suyo = Arc::clone(&oido);
    let contesta = por_lineas(move |linea| {
        suyo.lock().unwrap().push(linea.to_string());
        "HOLA:6000:yo\n".into()
    });
    let mut conexion = conectar(nodo.direccion());
    let te_veo = pedir(&mut conexion, &format!("LLAMAME:{}", contesta.port()));
    assert_eq!(te_veo, "TE_VEO:SI:127.0.0.1");
    let dijo = oido.lock().unwrap().clone();
    assert_eq!(dijo.len(), 1, "sólo dice HOLA: {dijo:?}");
    assert!(
        dijo[0].starts_with(&format!("HOLA:{}:ana:", nodo.puerto)),
        "{dijo:?}"
    );

    let web = por_lineas(|_| "HTTP/1.0 200 una-contraseña\n".into());
    let te_veo = pedir(&mut conexion, &format!("LLAMAME:{}", web.port()));
    assert_eq!(te_veo, "TE_VEO:no_es_nodo:127.0.0.1");

    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket
        .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
        .unwrap();
    let nadie = socket.local_addr().unwrap().as_socket().unwrap().port();
    let te_veo = pedir(&mut conexion, &format!("LLAMAME:{nadie}"));
    assert_eq!(te_veo, "TE_VEO:rechazada:127.0.0.1");
    // La conexión sigue sirviendo para lo demás.
    assert!(pedir(&mut conexion, "HOLA:0:yo").starts_with("HOLA:"));
}

/// A quien deja conectar y calla no se le espera más de lo que espera quien lo pide.
pub fn llamame_a_quien_calla_contesta_antes_de_5_s() {
    let (_carpeta, nodo) = un_nodo();
    let mudo = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let puerto = mudo.local_addr().unwrap().port();
    let antes = Instant::now();
    let te_veo = pedir(
        &mut conectar(nodo.direccion()),
        &format!("LLAMAME:{puerto}"),
    );
    assert_eq!(te_veo, "TE_VEO:no_es_nodo:127.0.0.1");
    assert!(
        antes.elapsed() < Duration::from_secs(5),
        "{:?}",
        antes.elapsed()
    );
}

#[test]
fn llamame_no_llama_a_puertos_bajos_ni_mas_de_cuatro_veces_por_segundo() {
    let (_carpeta, nodo) = un_nodo();
    let mut conexion = conectar(nodo.direccion());
    for bajo in ["0", "22", "80", "1023"] {
        let motivo = pedir(&mut conexion, &format!("LLAMAME:{bajo}"));
        assert!(
            motivo.starts_with("ERROR:") && motivo.contains("1024"),
            "{motivo}"
        );
    }
    for mala in [
        "LLAMAME:70000",
        "LLAMAME:",
        "LLAMAME:6000:127.0.0.2",
        "LLAMAME",
    ] {
        let motivo = pedir(&mut conectar(nodo.direccion()), mala);
        assert!(motivo.starts_with("ERROR:"), "{mala}: {motivo}");
    }
    let contesta = por_lineas(|_| "HOLA:6000:yo\n".into());
    let llamame = format!("LLAMAME:{}\n", contesta.port());
    // De un golpe y por dos conexiones: la cuenta es de la IP.
    let mut otra = conectar(nodo.direccion());
    let antes = Instant::now();
    let mut dichas = Vec::new();
    for conexion in [&mut conexion, &mut otra] {
        conexion.write_all(llamame.repeat(6).as_bytes()).unwrap();
        let lineas = BufReader::new(conexion).lines().take(6);
        dichas.extend(lineas.map(Result::unwrap));
    }
    let segundos = antes.elapsed().as_secs() as usize + 1;
    let hechas = dichas
        .iter()
        .filter(|l| *l == "TE_VEO:SI:127.0.0.1")
        .count();
    assert!(
        (4..=4 * segundos).contains(&hechas),
        "{segundos} s: {dichas:?}"
    );
    let negadas = dichas.iter().filter(|l| l.contains("por segundo")).count();
    assert_eq!(hechas + negadas, 12, "{dichas:?}");
}

/// Llama a la IP desde la que le hablan, y no a otra de la misma máquina.
#[cfg(target_os = "linux")]
#[test]
fn llamame_llama_a_quien_habla_y_a_nadie_mas() {
    let (_carpeta, nodo) = un_nodo();
    let ip = Ipv4Addr::new(127, 0, 0, 23);
    let (mia, puerto) = loop {
        let mia = TcpListener::bind((ip, 0)).unwrap();
        let puerto = mia.local_addr().unwrap().port();
        if let Ok(ajena) = TcpListener::bind((Ipv4Addr::LOCALHOST, puerto)) {
            ajena.set_nonblocking(true).unwrap();
            break ((mia, ajena), puerto);
        }
    };
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((ip, 0)).into()).unwrap();
    socket.connect(&nodo.direccion().into()).unwrap();
    let mut conexion = TcpStream::from(socket);
    let contestar = thread::spawn(move || {
        let (mut suya, desde) = mia.0.accept().unwrap();
        assert_eq!(desde.ip(), Ipv4Addr::LOCALHOST, "llama el nodo");
        leer_algo(&suya);
        suya.write_all(b"HOLA:6000:yo\n").unwrap();
        mia.1
    });
    let te_veo = pedir(&mut conexion, &format!("LLAMAME:{puerto}"));
    assert_eq!(te_veo, "TE_VEO:SI:127.0.0.23");
    assert!(
        contestar.join().unwrap().accept().is_err(),
        "nadie llamó a la otra"
    );
}

#[cfg(unix)]
#[test]
fn salir_corta_una_llamada_a_medias() {
    let (_carpeta, mut nodo) = un_nodo();
    let mudo = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut conexion = conectar(nodo.direccion());
    let llamame = format!("LLAMAME:{}\n", mudo.local_addr().unwrap().port());
    conexion.write_all(llamame.as_bytes()).unwrap();
    let (_llamada, _) = mudo.accept().unwrap();
    let antes = Instant::now();
    nodo.senal("INT");
    assert_eq!(nodo.terminar(), Some(130));
    assert!(
        antes.elapsed() < Duration::from_millis(1500),
        "{:?}",
        antes.elapsed()
    );
}

#[cfg(unix)]
#[test]
fn ctrl_c_deja_un_diagnostico_con_130() {
    use std::process::Stdio;

    let mudo = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let peer = mudo.local_addr().unwrap().to_string();
    let mut programa = super::comun::nodo();
    programa.args(["diagnostico", "--puerto", "0", &peer]);
    let mut hijo = programa
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (_conexion, _) = mudo.accept().unwrap();
    let antes = Instant::now();
    super::comun::senal(hijo.id(), "INT");
    assert_eq!(hijo.wait().unwrap().code(), Some(130));
    assert!(
        antes.elapsed() < Duration::from_secs(1),
        "{:?}",
        antes.elapsed()
    );
}

// ----- Con computadoras de mentira -----

/// Las filas de la tabla que necesitan una red, cada una en la suya y todas a la vez.
#[cfg(target_os = "linux")]
pub use espacios::cada_causa_se_dice_con_su_frase;

#[cfg(target_os = "linux")]
mod espacios {
    use super::*;
    use crate::programa::comun::acabar;
    use std::process::{Child, Command, Stdio};
    use tempfile::TempDir;

    /// Un espacio de red, vivo mientras lo esté un proceso que sólo espera el fin de su entrada: se
    /// va con estas pruebas, acaben como acaben, y no deja ni un nombre detrás.
    struct Espacio(Child);

    impl Espacio {
        fn nuevo() -> Espacio {
            let mut guarda = Command::new("unshare");
            guarda.args(["-n", "sh", "-c", "echo; exec cat"]);
            guarda.stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut guarda = guarda.spawn().unwrap();
            // Cuando dice algo ya está en su espacio.
            guarda
                .stdout
                .as_mut()
                .unwrap()
                .read_exact(&mut [0])
                .unwrap();
            Espacio(guarda)
        }

        /// Un programa dentro.
        fn programa(&self, cual: &str) -> Command {
            let mut dentro = Command::new("nsenter");
            dentro
                .arg(format!("--net=/proc/{}/ns/net", self.0.id()))
                .arg(cual);
            dentro.env_remove("RUST_LOG");
            dentro
        }

        /// Hace un guion de la shell. Si algo falla, lo dice todo.
        fn hacer(&self, guion: &str) {
            let hecho = self.programa("sh").args(["-ec", guion]).output().unwrap();
            assert!(hecho.status.success(), "{guion}\n{}", quejas(&hecho));
        }

        /// Un cortafuegos con una regla en una cadena (`input` u `output`).
        fn regla(&self, cadena: &str, politica: &str, regla: &str) {
            self.hacer(&format!(
                "nft 'add table inet filter; add chain inet filter {cadena} \
                 {{ type filter hook {cadena} priority 0; policy {politica}; }}; \
                 add rule inet filter {cadena} {regla}'"
            ));
        }
    }

    impl Drop for Espacio {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    /// Tres computadoras en una red (10.77.0.1, .2 y .3), una en otra (10.78.0.2), y el aparato que
    /// las une: puente de las primeras y puerta de enlace de todas. En las que se diga hay un nodo.
    struct Aula {
        puerta: Espacio,
        yo: Espacio,
        ana: Espacio,
        bea: Espacio,
        lejos: Espacio,
        nodos: Vec<Proceso>,
        carpeta: TempDir,
    }

    const ANA: &str = "10.77.0.2:6000";
    const BEA: &str = "10.77.0.3:6000";
    const LEJOS: &str = "10.78.0.2:6000";
    const NADIE: &str = "10.77.0.9:6000";

    impl Aula {
        fn nueva() -> Aula {
            let aula = Aula {
                puerta: Espacio::nuevo(),
                yo: Espacio::nuevo(),
                ana: Espacio::nuevo(),
                bea: Espacio::nuevo(),
                lejos: Espacio::nuevo(),
                nodos: Vec::new(),
                carpeta: tempfile::tempdir().unwrap(),
            };
            aula.puerta.hacer(
                "ip link add br0 type bridge; ip link set br0 up
                 ip addr add 10.77.0.254/24 dev br0; ip addr add fd00:77::fe/64 dev br0 nodad
                 echo 1 > /proc/sys/net/ipv4/ip_forward",
            );
            aula.enchufar(&aula.yo, "yo", "10.77.0.1");
            aula.enchufar(&aula.ana, "ana", "10.77.0.2");
            aula.enchufar(&aula.bea, "bea", "10.77.0.3");
            for cable in ["yo", "ana", "bea"] {
                aula.puerta
                    .hacer(&format!("ip link set {cable} master br0"));
            }
            aula.enchufar(&aula.lejos, "lejos", "10.78.0.2");
            aula.puerta.hacer("ip addr add 10.78.0.254/24 dev lejos");
            aula
        }

        /// Un cable de la puerta a una computadora, que se queda con esa IP.
        fn enchufar(&self, computadora: &Espacio, cable: &str, ip: &str) {
            let suyo = computadora.0.id();
            self.puerta.hacer(&format!(
                "ip link add {cable} type veth peer name eth0 netns {suyo}; ip link set {cable} up"
            ));
            let (red, numero) = ip.rsplit_once('.').unwrap();
            computadora.hacer(&format!(
                "ip link set lo up; ip addr add {ip}/24 dev eth0
                 ip addr add fd00:77::{numero}/64 dev eth0 nodad
                 ip link set eth0 up; ip route add default via {red}.254"
            ));
        }

        fn con_nodos(mut self) -> Aula {
            for (computadora, nombre) in [
                (&self.ana, "ana"),
                (&self.bea, "bea"),
                (&self.lejos, "lejos"),
            ] {
                let mut programa = computadora.programa(env!("CARGO_BIN_EXE_nodo"));
                programa.args([
                    "servir", "--ip", "::", "--puerto", "6000", "--nombre", nombre,
                ]);
                programa.args(["--peer", "10.77.0.1", "--carpeta"]);
                programa.arg(self.carpeta.path().join(nombre));
                self.nodos.push(Proceso::nuevo(programa));
            }
            self
        }

        /// Lo que dice `nodo` desde aquí, en menos de 8 s.
        fn decir(&self, argumentos: &[&str]) -> Output {
            let mut programa = self.yo.programa(env!("CARGO_BIN_EXE_nodo"));
            programa.args(argumentos).stdin(Stdio::null());
            programa.stdout(Stdio::piped()).stderr(Stdio::piped());
            let antes = Instant::now();
            let salida = acabar(programa.spawn().unwrap());
            assert!(antes.elapsed() < PLAZO, "{:?}", antes.elapsed());
            salida
        }

        /// Un diagnóstico de `peers`: del primero se dice esto.
        fn diagnostico(&self, peers: &[&str], esperado: i32, palabras: &[&str]) {
            let salida = self.decir(&[&["diagnostico"], peers].concat());
            comprobar(&salida, peers[0].parse().unwrap(), esperado, palabras);
        }

        /// El de quien sólo se dice que está mal.
        fn mal(&self, peer: &str, palabras: &[&str]) {
            self.diagnostico(&[peer], 1, palabras);
        }

        /// `estado` dice lo mismo en una línea.
        fn estado(&self, peer: &str, palabras: &[&str]) {
            let dijo = dicho(&self.decir(&["estado", "--peer", peer]));
            for palabra in palabras {
                assert!(dijo.contains(palabra), "falta {palabra:?} en: {dijo}");
            }
        }
    }

    /// Por qué no se pueden hacer aquí, si no se puede.
    fn impedimento() -> Option<String> {
        let vale = |programa: &str, argumentos: &[&str]| {
            let mut prueba = Command::new(programa);
            prueba
                .args(argumentos)
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            prueba.status().is_ok_and(|fin| fin.success())
        };
        for (programa, argumentos) in [
            ("ip", &["-V"][..]),
            ("nft", &["--version"]),
            ("nsenter", &["--version"]),
        ] {
            if !vale(programa, argumentos) {
                return Some(format!("falta el programa {programa}"));
            }
        }
        let red = "ip link add br0 type bridge && nft add table inet x";
        let espacios = vale("unshare", &["-n", "sh", "-c", red]);
        let motivo = "aquí no se pueden crear espacios de red (hace falta ser root)";
        (!espacios).then(|| motivo.to_string())
    }

    /// Cada fila de la tabla, en un aula propia.
    pub fn cada_causa_se_dice_con_su_frase() {
        if let Some(por_que) = impedimento() {
            // Por el descriptor, y no con `eprintln!`, que en una prueba que pasa no se ve.
            let _ = writeln!(std::io::stderr(), "SE SALTAN las de la red: {por_que}");
            return;
        }
        let filas: &[fn(&Aula)] = &[
            todo_bien,
            calla_en_ese_puerto,
            calla_en_todo,
            rechaza_con_un_rst_o_un_puerto_inalcanzable,
            rechaza_como_firewalld,
            nadie_con_esa_ip,
            la_red_aisla,
            solo_en_un_sentido,
            un_nat_en_medio,
            una_mtu_que_calla,
            sin_camino,
            mi_cortafuegos_de_salida,
            apagado_o_en_otro_puerto,
            una_vpn_se_lleva_la_red,
            en_ipv6,
        ];
        thread::scope(|ambito| {
            for fila in filas {
                ambito.spawn(|| fila(&Aula::nueva().con_nodos()));
            }
        });
    }

    fn todo_bien(aula: &Aula) {
        let bien = &["bien, es ana", "en los dos sentidos", "TE_VEO:SI:10.77.0.1"];
        aula.diagnostico(&[ANA, BEA, LEJOS], 0, bien);
        let solo_aqui = &[
            "sólo en un sentido",
            "sólo escucha en esta computadora",
            "0.0.0.0",
        ];
        aula.diagnostico(&[ANA, "--ip", "127.0.0.1"], 1, solo_aqui);
        let dijo = dicho(&aula.decir(&["diagnostico", ANA]));
        assert!(dijo.contains("10.77.0.1 por eth0"), "{dijo}");
        assert!(
            dijo.contains("Escucho para los demás en el puerto 6000"),
            "{dijo}"
        );
        assert!(dijo.contains("Ninguna VPN"), "{dijo}");
    }

    fn calla_en_ese_puerto(aula: &Aula) {
        aula.ana.regla("input", "accept", "tcp dport 6000 drop");
        let abrir = "sudo ufw allow 6000/tcp";
        aula.mal(
            ANA,
            &[
                "cortafuegos calla en el puerto 6000",
                "contesta a lo demás",
                abrir,
            ],
        );
        aula.estado(ANA, &["no responde", "cortafuegos calla"]);
    }

    fn calla_en_todo(aula: &Aula) {
        aula.ana
            .regla("input", "drop", "ct state established accept");
        aula.mal(
            ANA,
            &[
                "cortafuegos calla",
                "New-NetFirewallRule",
                "TCP 9: sin respuesta",
            ],
        );
    }

    fn rechaza_con_un_rst_o_un_puerto_inalcanzable(aula: &Aula) {
        let las_tres = &[
            "rechazada",
            "el nodo no corre",
            "otro puerto",
            "su cortafuegos",
        ];
        aula.ana
            .regla("input", "accept", "tcp dport 6000 reject with tcp reset");
        aula.mal(ANA, las_tres);
        aula.estado(ANA, las_tres);
        let inalcanzable = "tcp dport 6000 reject with icmpx type port-unreachable";
        aula.bea.regla("input", "accept", inalcanzable);
        aula.mal(BEA, las_tres);
    }

    fn rechaza_como_firewalld(aula: &Aula) {
        let prohibido = "tcp dport 6000 reject with icmpx type admin-prohibited";
        aula.ana.regla("input", "accept", prohibido);
        let abrir = "sudo firewall-cmd --add-port=6000/tcp";
        aula.mal(ANA, &["su cortafuegos rechaza", abrir]);
        aula.estado(ANA, &["su cortafuegos rechaza"]);
        // Con un router en medio no es un vecino, pero a lo demás contesta.
        aula.lejos.regla("input", "accept", prohibido);
        aula.mal(LEJOS, &["su cortafuegos rechaza"]);
    }

    fn nadie_con_esa_ip(aula: &Aula) {
        let nadie = &[
            "no hay nadie con esa IP",
            "hostname -I",
            "nadie dijo tener esa IP",
        ];
        aula.diagnostico(&[NADIE, ANA], 1, nadie);
        aula.estado(NADIE, &["no responde", "no hay nadie con esa IP"]);
    }

    fn la_red_aisla(aula: &Aula) {
        aula.puerta
            .hacer("for cable in yo ana bea; do bridge link set dev $cable isolated on; done");
        let aisla = &[
            "la red aísla a los equipos",
            "teléfono",
            "10.77.0.254: está",
        ];
        aula.diagnostico(&[ANA, BEA], 1, aisla);
    }

    fn solo_en_un_sentido(aula: &Aula) {
        let entrada = [
            "sólo en un sentido",
            "tu cortafuegos de entrada",
            "tcp dport 6000 accept",
        ];
        aula.yo
            .regla("input", "drop", "ct state established accept");
        aula.yo
            .hacer("nft add rule inet filter input iif lo accept");
        aula.mal(ANA, &entrada[..2]);
        aula.yo.hacer("nft flush ruleset");
        let prohibido = "tcp dport 6000 reject with icmpx type admin-prohibited";
        aula.yo.regla("input", "accept", prohibido);
        aula.mal(ANA, &entrada[..2]);
    }

    fn un_nat_en_medio(aula: &Aula) {
        aula.puerta.hacer(
            "nft 'add table ip nat; add chain ip nat post \
             { type nat hook postrouting priority srcnat; }; \
             add rule ip nat post oif lejos masquerade'",
        );
        aula.mal(
            LEJOS,
            &["sólo en un sentido", "NAT", "10.78.0.254", "misma red"],
        );
    }

    fn una_mtu_que_calla(aula: &Aula) {
        aula.puerta.hacer("ip link set lejos mtu 1000");
        aula.puerta
            .regla("output", "accept", "icmp type destination-unreachable drop");
        aula.mal(
            LEJOS,
            &[
                "es la MTU",
                "con MSS 536 sí",
                "ip link set dev eth0 mtu 1280",
            ],
        );
    }

    fn sin_camino(aula: &Aula) {
        aula.yo.hacer("ip route del default");
        aula.mal(LEJOS, &["no hay camino", "redes distintas", "misma red"]);
        aula.estado(LEJOS, &["no hay camino", "redes distintas"]);
    }

    fn mi_cortafuegos_de_salida(aula: &Aula) {
        let salida = &["tu cortafuegos de salida", "Déjalo salir"];
        aula.yo.regla("output", "accept", "ip daddr 10.77.0.2 drop");
        aula.mal(ANA, salida);
        aula.yo.hacer("nft flush ruleset");
        // Uno que sólo mira TCP no se nota en un UDP.
        aula.yo.regla("output", "accept", "tcp dport 6000 drop");
        aula.mal(BEA, salida);
    }

    fn apagado_o_en_otro_puerto(aula: &Aula) {
        aula.mal("10.77.0.2:6001", &["otro puerto", "--peer 10.77.0.2:6000"]);
        aula.mal(
            "10.77.0.254:6000",
            &["rechazada", "el nodo no corre", "otro puerto"],
        );
    }

    fn una_vpn_se_lleva_la_red(aula: &Aula) {
        aula.yo.hacer(
            "ip link add wg9 type veth peer name wg8; ip addr add 10.99.0.2/24 dev wg9
             ip link set wg8 up; ip link set wg9 up; ip route add 10.77.0.0/25 dev wg9",
        );
        aula.mal(ANA, &["tu VPN (wg9)", "Apaga la VPN"]);
        let dijo = dicho(&aula.decir(&["diagnostico", ANA]));
        assert!(
            dijo.contains("Tu VPN (wg9) se lleva lo que va a 10.77.0.2:6000"),
            "{dijo}"
        );
    }

    fn en_ipv6(aula: &Aula) {
        let ana = "[fd00:77::2]:6000";
        aula.diagnostico(&[ana], 0, &["bien, es ana", "TE_VEO:SI:fd00:77::1"]);
        let prohibido = "tcp dport 6000 reject with icmpx type admin-prohibited";
        aula.ana.regla("input", "accept", prohibido);
        aula.mal(
            ana,
            &[
                "su cortafuegos rechaza",
                "no se puede ver la tabla de vecinos",
            ],
        );
        aula.mal(
            "[fd00:77::9]:6000",
            &["no se puede llegar", "se sabe menos"],
        );
    }
}
