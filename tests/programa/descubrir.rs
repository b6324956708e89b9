//! Encontrarse en la red local: `--descubrir`, `nodo descubrir`, y quién puede escribir.
//!
//! Las «computadoras» son espacios de red, con su cable a un conmutador: hace falta Linux y ser
//! root, y quien no pueda lo lee y se salta esas. Las que sólo usan la interfaz interna corren en
//! cualquier Unix; ahí se oye también a otros nodos, y por eso se mira sólo a los propios.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
#[cfg(unix)]
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::comun::*;

/// El texto con que se salta una prueba, aunque no se vea lo que dicen las que pasan.
fn se_salta(por_que: &str) {
    let _ = writeln!(std::io::stderr(), "se salta una de descubrir: {por_que}");
}

// ----- Computadoras de mentira -----

#[cfg(target_os = "linux")]
mod aula {
    use super::*;
    use std::path::Path;
    use std::process::{Command, Output};
    use std::sync::atomic::{AtomicU32, Ordering};

    static CUANTAS: AtomicU32 = AtomicU32::new(0);

    /// Unas computadoras unidas a un conmutador, sin salida a ninguna parte. Al soltarla no queda
    /// nada.
    pub struct Aula {
        prefijo: String,
        computadoras: usize,
        carpetas: Vec<TempDir>,
    }

    fn ip(argumentos: &str) -> bool {
        let hecho = Command::new("ip").args(argumentos.split(' ')).output();
        hecho.is_ok_and(|salida| salida.status.success())
    }

    impl Aula {
        /// Con `computadoras` en la misma red, cada una con su `eth0` y sin IPv4 todavía.
        pub fn nueva(computadoras: usize) -> Option<Aula> {
            let cual = CUANTAS.fetch_add(1, Ordering::Relaxed);
            let aula = Aula {
                prefijo: format!("nodo{}-{cual}", std::process::id()),
                computadoras,
                carpetas: (0..=computadoras)
                    .map(|_| tempfile::tempdir().unwrap())
                    .collect(),
            };
            if !ip(&format!("netns add {}", aula.espacio(0))) {
                se_salta("hace falta ser root, y la orden ip, para tener espacios de red");
                return None;
            }
            aula.ip(0, "link add puente type bridge");
            aula.ip(0, "link set puente up");
            for n in 1..=computadoras {
                assert!(ip(&format!("netns add {}", aula.espacio(n))));
                aula.ip(n, "link set lo up");
                aula.cable(n, "eth0");
            }
            Some(aula)
        }

        fn espacio(&self, n: usize) -> String {
            format!("{}-{n}", self.prefijo)
        }

        /// `ip -n ESPACIO …`.
        pub fn ip(&self, n: usize, argumentos: &str) {
            let entera = format!("-n {} {argumentos}", self.espacio(n));
            assert!(ip(&entera), "ip {entera}");
        }

        /// Une la computadora `n` al conmutador por otra interfaz.
        pub fn cable(&self, n: usize, interfaz: &str) {
            // Sin comprobar que la IPv6 de enlace no la tenga otro, que tarda uno o dos segundos.
            let sin_dad = "echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad";
            let hecho = self.en(n, "sh").args(["-c", sin_dad]).status();
            assert!(hecho.unwrap().success());
            let (suyo, conmutador) = (format!("{interfaz}-{n}"), self.espacio(0));
            let par = format!("link add {interfaz} type veth peer name {suyo} netns {conmutador}");
            self.ip(n, &par);
            self.ip(0, &format!("link set {suyo} master puente up"));
            self.ip(n, &format!("link set {interfaz} up"));
        }

        /// Desenchufa o vuelve a enchufar, en el conmutador: nadie se entera al momento.
        pub fn enchufar(&self, n: usize, enchufado: bool) {
            let como = if enchufado { "up" } else { "down" };
            self.ip(0, &format!("link set eth0-{n} {como}"));
        }

        fn en(&self, n: usize, programa: &str) -> Command {
            let mut orden = Command::new("ip");
            orden.args(["netns", "exec", &self.espacio(n), programa]);
            orden.env_remove("RUST_LOG");
            orden
        }

        /// El programa, en la computadora `n` y desde su carpeta.
        pub fn programa(&self, n: usize, argumentos: &[&str]) -> Command {
            let mut orden = self.en(n, env!("CARGO_BIN_EXE_nodo"));
            orden.args(argumentos).current_dir(self.carpeta(n));
            orden
        }

        pub fn nodo(&self, n: usize, argumentos: &[&str]) -> Proceso {
            let todos = [&["servir", "--descubrir"], argumentos].concat();
            Proceso::nuevo(self.programa(n, &todos))
        }

        pub fn orden(&self, n: usize, argumentos: &[&str]) -> Output {
            self.programa(n, argumentos).output().unwrap()
        }

        pub fn carpeta(&self, n: usize) -> &Path {
            self.carpetas[n].path()
        }
    }

    impl Drop for Aula {
        fn drop(&mut self) {
            for n in 0..=self.computadoras {
                ip(&format!("netns del {}", self.espacio(n)));
            }
        }
    }
}

/// Tres en una red sin salida: se encuentran, dos se llaman igual, una tiene otra red además, otra
/// cambia de IP y a otra se le quita el cable.
#[cfg(target_os = "linux")]
pub fn en_una_red_se_encuentran_y_quien_se_va_sale_en_10_s() {
    let Some(aula) = aula::Aula::nueva(3) else {
        return;
    };
    for n in 1..=3 {
        aula.ip(n, &format!("addr add 10.77.0.{n}/24 dev eth0"));
    }
    aula.ip(1, "link add otra type veth peer name suelto");
    aula.ip(1, "link set suelto up");
    aula.ip(1, "link set otra up");
    aula.ip(1, "addr add 172.31.9.1/24 dev otra");
    let uno = aula.nodo(1, &["--nombre", "ana"]);
    let dos = aula.nodo(2, &["--nombre", "gemelo"]);
    let tres = aula.nodo(3, &["--nombre", "gemelo"]);
    for (nodo, otros) in [
        (&uno, ["gemelo en 10.77.0.2", "gemelo en 10.77.0.3"]),
        (&dos, ["ana en 10.77.0.1", "gemelo en 10.77.0.3"]),
        (&tres, ["ana en 10.77.0.1", "gemelo en 10.77.0.2"]),
    ] {
        for otro in otros {
            nodo.esperar(&format!("[ENCONTRADO] {otro}:6001\n"));
        }
    }
    let salida = aula.orden(1, &["descubrir", "--segundos", "2"]);
    let dicho = dicho(&salida);
    let mut hallados: Vec<&str> = dicho.lines().collect();
    hallados.sort_unstable();
    assert_eq!(codigo(&salida), Some(0), "{dicho}{}", quejas(&salida));
    // La primera tiene dos IP, y cuenta una vez.
    assert_eq!(hallados.len(), 3, "{hallados:?}");
    assert!(dicho.contains("10.77.0.2:6001 gemelo\n") && dicho.contains("10.77.0.3:6001 gemelo\n"));
    // Se le quita el cable: nadie lo dice, y se nota.
    let antes = Instant::now();
    aula.enchufar(3, false);
    uno.esperar("[SE FUE] gemelo en 10.77.0.3:6001\n");
    assert!(
        antes.elapsed() < Duration::from_secs(10),
        "{:?}",
        antes.elapsed()
    );
    // Vuelve, sin que nadie haga nada.
    aula.enchufar(3, true);
    uno.esperar_veces("[ENCONTRADO] gemelo en 10.77.0.3:6001\n", 2);
    // Cambia de IP.
    aula.ip(2, "addr del 10.77.0.2/24 dev eth0");
    aula.ip(2, "addr add 10.77.0.22/24 dev eth0");
    uno.esperar("[SE FUE] gemelo en 10.77.0.2:6001\n");
    // Mientras tanto se le puede hallar por la IPv6 de enlace; al final, por la nueva.
    uno.esperar("[ENCONTRADO] gemelo en 10.77.0.22:6001\n");
}

/// Anunciarse no da permiso para escribir.
#[cfg(target_os = "linux")]
pub fn de_un_conocido_solo_se_recibe_si_se_pidio() {
    let Some(aula) = aula::Aula::nueva(2) else {
        return;
    };
    for n in 1..=2 {
        aula.ip(n, &format!("addr add 10.77.0.{n}/24 dev eth0"));
    }
    let mut cerrado = aula.nodo(1, &["--nombre", "ana"]);
    let conocido = aula.nodo(2, &["--nombre", "luis"]);
    cerrado.esperar("[ENCONTRADO] luis en 10.77.0.2:6001\n");
    conocido.esperar("[ENCONTRADO] ana en 10.77.0.1:6001\n");
    fs::write(aula.carpeta(2).join("tarea.txt"), "hecha").unwrap();
    let enviar = ["enviar", "tarea.txt", "--a", "10.77.0.1:6001"];
    let salida = aula.orden(2, &enviar);
    assert_eq!(codigo(&salida), Some(1), "{}", quejas(&salida));
    assert!(
        quejas(&salida).contains("no lo acepta"),
        "{}",
        quejas(&salida)
    );
    let dijo = cerrado.esperar("[NO SE RECIBE] tarea.txt, que envía luis (10.77.0.2)");
    assert!(
        dijo.contains("--peer 10.77.0.2:6001, o --recibir-de-conocidos"),
        "{dijo}"
    );
    // Lo demás, sí: se le baja y se le habla.
    fs::write(aula.carpeta(1).join("compartidos/nodo1/apuntes.txt"), "a").unwrap();
    let salida = aula.orden(2, &["descargar", "apuntes.txt", "--descubrir"]);
    assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
    let salida = aula.orden(2, &["--descubrir", "mensaje", "hola"]);
    assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
    cerrado.esperar("hola\n");
    cerrado.matar();
    let abierto = aula.nodo(1, &["--nombre", "ana", "--recibir-de-conocidos"]);
    abierto.esperar("[ENCONTRADO] luis en 10.77.0.2:6001\n");
    let salida = aula.orden(2, &enviar);
    assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
    assert_eq!(
        fs::read(aula.carpeta(1).join("compartidos/nodo1/tarea.txt")).unwrap(),
        b"hecha"
    );
}

/// Con clave se encuentran los que la tienen, y entre ellos se reciben sin pedirlo aparte.
#[cfg(target_os = "linux")]
pub fn con_clave_se_encuentran_y_se_reciben_y_quien_no_la_tiene_no() {
    const CLAVE: [&str; 2] = ["--clave", "batuki domite karusa lenopi"];
    let Some(aula) = aula::Aula::nueva(3) else {
        return;
    };
    for n in 1..=3 {
        aula.ip(n, &format!("addr add 10.77.0.{n}/24 dev eth0"));
    }
    let con_clave = |opciones: &[&'static str]| [opciones, &CLAVE[..]].concat();
    let ana = aula.nodo(1, &con_clave(&["--nombre", "ana"]));
    let luis = aula.nodo(2, &con_clave(&["--nombre", "luis"]));
    let _sin_clave = aula.nodo(3, &["--nombre", "eva"]);
    ana.esperar("[ENCONTRADO] luis en 10.77.0.2:6001\n");
    luis.esperar("[ENCONTRADO] ana en 10.77.0.1:6001\n");
    fs::write(aula.carpeta(2).join("tarea.txt"), "hecha").unwrap();
    fs::write(aula.carpeta(3).join("tarea.txt"), "otra").unwrap();
    let enviar = ["enviar", "tarea.txt", "--a", "10.77.0.1:6001"];
    let salida = aula.orden(2, &con_clave(&enviar));
    assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
    let salida = aula.orden(3, &enviar);
    assert_eq!(codigo(&salida), Some(1), "{}", quejas(&salida));
    assert!(
        quejas(&salida).contains("clave de la clase"),
        "{}",
        quejas(&salida)
    );
    let suyos = fs::read_dir(aula.carpeta(1).join("compartidos/nodo1")).unwrap();
    assert_eq!(suyos.count(), 1);
    // A cada uno lo oyen sólo los suyos.
    let ver = |n, opciones: &[&str]| {
        let salida = aula.orden(n, &[&["descubrir", "--segundos", "2"], opciones].concat());
        dicho(&salida)
    };
    let los_dos = ver(3, &CLAVE);
    assert!(los_dos.contains("10.77.0.1:6001 ana\n") && los_dos.contains("10.77.0.2:6001 luis\n"));
    assert!(!los_dos.contains("eva"), "{los_dos}");
    let sola = ver(3, &[]);
    assert!(!sola.contains("ana") && !sola.contains("luis"), "{sola}");
}

/// Cuatro en una computadora sin ninguna red: las tres filas, y el primer puerto que no lo es.
#[cfg(target_os = "linux")]
pub fn sin_mas_interfaz_que_la_interna_tambien() {
    let Some(aula) = aula::Aula::nueva(1) else {
        return;
    };
    aula.ip(1, "link del eth0");
    let nodos = [(); 4].map(|()| aula.nodo(1, &[]));
    let puertos = nodos.each_ref().map(|nodo| nodo.puerto);
    assert_eq!(puertos, [6001, 6002, 6003, 6004]);
    for nodo in &nodos {
        let otros = puertos.into_iter().filter(|puerto| *puerto != nodo.puerto);
        for otro in otros {
            nodo.esperar(&format!("en 127.0.0.1:{otro}\n"));
        }
    }
    assert!(aula.carpeta(1).join("compartidos/nodo6004").is_dir());
    // Todos se llaman como la máquina, y se distinguen.
    let salida = aula.orden(1, &["descubrir"]);
    let dicho = dicho(&salida);
    let mut nombres: Vec<&str> = dicho
        .lines()
        .filter_map(|l| l.split_once(' '))
        .map(|l| l.1)
        .collect();
    nombres.sort_unstable();
    nombres.dedup();
    assert_eq!(nombres.len(), 4, "{dicho}");
}

/// Dos que sólo tienen la IPv6 de enlace: se encuentran y se bajan archivos; y un par escrito con
/// su interfaz es ese mismo.
#[cfg(target_os = "linux")]
pub fn con_ipv6_de_enlace_y_nada_mas() {
    let Some(aula) = aula::Aula::nueva(2) else {
        return;
    };
    let uno = aula.nodo(1, &["--nombre", "ana"]);
    let dos = aula.nodo(2, &["--nombre", "luis"]);
    let dijo = uno.esperar("[ENCONTRADO] luis en [fe80::");
    dos.esperar("[ENCONTRADO] ana en [fe80::");
    fs::write(aula.carpeta(2).join("compartidos/nodo1/foto.txt"), "foto").unwrap();
    let salida = aula.orden(1, &["--descubrir", "descargar", "foto.txt"]);
    assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
    let desde = dijo.find("luis en [").unwrap() + "luis en [".len();
    let ip = dijo[desde..].split('%').next().unwrap();
    for peer in [format!("[{ip}%eth0]:6001"), format!("{ip}%eth0:6001")] {
        let salida = aula.orden(1, &["estado", "--peer", &peer]);
        let vale = peer.starts_with('[');
        assert_eq!(
            codigo(&salida) == Some(0),
            vale,
            "{peer}: {}",
            quejas(&salida)
        );
        assert_eq!(dicho(&salida).contains("responde: luis"), vale);
    }
}

// ----- Sin espacios de red -----

/// ¿Se puede oír aquí, por la interfaz interna, lo que se grita en ella?
#[cfg(unix)]
fn se_oye_por_dentro() -> bool {
    use std::net::UdpSocket;
    let grupo = Ipv4Addr::new(224, 0, 0, 251);
    let oye = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|oye| {
        oye.join_multicast_v4(&grupo, &Ipv4Addr::LOCALHOST)?;
        oye.set_read_timeout(Some(Duration::from_secs(2)))?;
        let grita = socket2::SockRef::from(&oye).set_multicast_if_v4(&Ipv4Addr::LOCALHOST);
        grita.and_then(|()| oye.send_to(b"?", (grupo, oye.local_addr()?.port())))?;
        oye.recv(&mut [0])
    });
    oye.inspect_err(|e| se_salta(&format!("por la interfaz interna no se oye: {e}")))
        .is_ok()
}

fn por_dentro(opciones: &[&str]) -> (TempDir, Proceso) {
    let carpeta = tempfile::tempdir().unwrap();
    let todas = [&["--descubrir", "--ip", "127.0.0.1"], opciones].concat();
    let nodo = Proceso::nodo(carpeta.path(), &todas);
    (carpeta, nodo)
}

/// Dos de esta máquina; el segundo sale, y el primero lo nota al momento.
#[cfg(unix)]
pub fn dos_de_esta_maquina_se_encuentran() {
    if !se_oye_por_dentro() {
        return;
    }
    let (_una, uno) = por_dentro(&["--nombre", "ana"]);
    let (_otra, mut dos) = por_dentro(&[]);
    uno.esperar(&format!(
        "[ENCONTRADO] nodo-{} en {}\n",
        dos.puerto,
        dos.direccion()
    ));
    dos.esperar(&format!("[ENCONTRADO] ana en {}\n", uno.direccion()));
    let salida = orden(["descubrir", "--ip", "127.0.0.1", "--segundos", "1.5"]);
    let dicho = dicho(&salida);
    assert!(
        dicho.contains(&format!("{} ana\n", uno.direccion())),
        "{dicho}{}",
        quejas(&salida)
    );
    assert_eq!(codigo(&salida), Some(0));
    let antes = Instant::now();
    dos.senal("TERM");
    assert_eq!(dos.terminar(), Some(130));
    assert!(
        antes.elapsed() < Duration::from_secs(3),
        "salir tardó {:?}",
        antes.elapsed()
    );
    uno.esperar(&format!(
        "[SE FUE] nodo-{} en {}\n",
        dos.puerto,
        dos.direccion()
    ));
}

/// A quien se anuncia y no contesta `HOLA` con su `id` no se le añade; ni se le llama si dice estar
/// donde no puede haber nadie.
#[cfg(unix)]
pub fn un_anuncio_falso_no_entra_en_la_lista() {
    if !se_oye_por_dentro() {
        return;
    }
    let impostor = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let donde = impostor.local_addr().unwrap();
    std::thread::spawn(move || {
        for socket in impostor.incoming().map_while(Result::ok) {
            let mut linea = String::new();
            let _ = BufReader::new(&socket).read_line(&mut linea);
            let _ = (&socket).write_all(b"HOLA:6001:impostor:00000bad\n");
        }
    });
    use mdns_sd::{IfKind, ServiceDaemon, ServiceInfo};
    let demonio = ServiceDaemon::new().unwrap();
    demonio.disable_interface(IfKind::All).unwrap();
    demonio.enable_interface(IfKind::LoopbackV4).unwrap();
    let anunciar = |instancia: &str, ip: &str, puerto: u16| {
        let maquina = format!("{instancia}.local.");
        let txt = [("nombre", "\u{1b}[31mmalo\u{202e}")];
        let ficha = ServiceInfo::new(
            crate::lan::anuncios::SERVICIO,
            instancia,
            &maquina,
            ip,
            puerto,
            &txt[..],
        );
        let mut ficha = ficha.unwrap();
        ficha.set_requires_probe(false);
        demonio.register(ficha).unwrap();
    };
    anunciar("nodo-0000f001", "127.0.0.1", donde.port());
    anunciar("nodo-0000f002", "224.0.0.251", 7000);
    anunciar("nodo-0000f003", "0.0.0.0", 7000);
    anunciar("no-es-un-id", "127.0.0.1", donde.port());
    let (_carpeta, nodo) = por_dentro(&["--nombre", "ana"]);
    let (_otra, bueno) = por_dentro(&["--nombre", "luis"]);
    nodo.esperar(&format!("[ENCONTRADO] luis en {}\n", bueno.direccion()));
    let salida = orden(["descubrir", "--ip", "127.0.0.1", "--segundos", "2"]);
    let (dicho, quejas) = (dicho(&salida), quejas(&salida));
    assert!(dicho.contains(" luis\n"), "{dicho}");
    for texto in [&dicho, &nodo.texto()] {
        assert!(
            !texto.contains("impostor") && !texto.contains("malo"),
            "{texto}"
        );
        assert!(!texto.contains(&format!("{donde}\n")), "{texto}");
    }
    // Se dice que se anuncia y no es, limpio.
    assert!(quejas.contains("quien contesta ahí es otro"), "{quejas}");
    assert!(
        !quejas.contains('\u{1b}') && !quejas.contains('\u{202e}'),
        "{quejas:?}"
    );
    assert!(!quejas.contains("224.0.0.251"), "{quejas}");
    let _ = demonio.shutdown();
}

/// Quien sólo saluda también se conoce: se le llama a la IP desde la que habló, y a ninguna otra.
#[test]
fn a_quien_saluda_se_le_devuelve_el_saludo() {
    let escucha = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let puerto = escucha.local_addr().unwrap().port();
    let (carpeta, nodo) = por_dentro(&["--nombre", "ana"]);
    let saludo = format!("HOLA:{puerto}:luis:0000aaaa\n");
    let contestado = preguntar_y_cerrar(nodo.direccion(), saludo.as_bytes());
    assert!(contestado.starts_with(format!("HOLA:{}:ana:", nodo.puerto).as_bytes()));
    let (socket, _) = escucha.accept().unwrap();
    let mut lector = BufReader::new(&socket);
    let mut linea = String::new();
    lector.read_line(&mut linea).unwrap();
    assert!(
        linea.starts_with(&format!("HOLA:{}:ana:", nodo.puerto)),
        "{linea}"
    );
    (&socket).write_all(saludo.as_bytes()).unwrap();
    nodo.esperar(&format!("[ENCONTRADO] luis en 127.0.0.1:{puerto}\n"));
    drop(carpeta);
    // Sin `--descubrir`, nada de eso.
    let carpeta = tempfile::tempdir().unwrap();
    let callado = Proceso::nodo(carpeta.path(), &[]);
    let escucha = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    escucha.set_nonblocking(true).unwrap();
    let puerto = escucha.local_addr().unwrap().port();
    let saludo = format!("HOLA:{puerto}:luis:0000aaaa\n");
    preguntar_y_cerrar(callado.direccion(), saludo.as_bytes());
    assert!(responde(callado.direccion()));
    assert!(escucha.accept().is_err());
}

// ----- Los escritos -----

#[test]
fn los_peers_de_un_archivo_son_escritos() {
    let (suya, otra) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let nodo = Proceso::nodo(suya.path(), &["--nombre", "ana"]);
    let lista = otra.path().join("clase.txt");
    let escribir = |texto: String| fs::write(&lista, texto).unwrap();
    let estado = || orden(["estado", "--peers", lista.to_str().unwrap()]);
    escribir(format!(
        "# la clase\n{} ana # la primera\n\n",
        nodo.direccion()
    ));
    let salida = estado();
    assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
    assert_eq!(dicho(&salida).matches("responde: ana").count(), 1);
    escribir("127.0.0.1:6001\n127.0.0.1:99999\n".into());
    let salida = estado();
    assert_eq!(codigo(&salida), Some(2));
    let queja = quejas(&salida);
    assert!(
        queja.contains("línea 2") && queja.contains("127.0.0.1:99999"),
        "{queja}"
    );
    // Y con el nombre de una máquina.
    let peer = format!("localhost:{}", nodo.puerto);
    let salida = orden(["--peer", &peer, "estado"]);
    assert!(
        dicho(&salida).contains("responde: ana"),
        "{}",
        quejas(&salida)
    );
    let salida = orden(["estado", "--peer", &peer, "--peer", "nadie.invalid"]);
    assert!(dicho(&salida).contains("responde: ana"));
    assert!(quejas(&salida).contains("nadie.invalid"));
    let salida = orden(["estado", "--peer", "nadie.invalid"]);
    assert_eq!(codigo(&salida), Some(2));
}

#[test]
fn quien_escucha_en_el_6000_lo_lee() {
    // En una IP que sólo usa esta prueba: el puerto es el de la guía.
    let carpeta = tempfile::tempdir().unwrap();
    let Ok(libre) = TcpListener::bind("127.60.0.1:6000") else {
        return se_salta("el sistema no tiene toda 127.x");
    };
    drop(libre);
    let mut programa = nodo();
    programa.args(["servir", "--ip", "127.60.0.1", "--peer", "127.60.0.2"]);
    programa.current_dir(carpeta.path());
    let nodo = Proceso::nuevo(programa);
    let dijo = nodo.esperar("navegador");
    assert!(dijo.contains("--puerto 6001"), "{dijo}");
}

/// Los que dice el maestro son peers en todo, también en la página.
#[test]
fn los_del_maestro_son_peers_en_todo() {
    let maestro = Proceso::maestro(0);
    let (url, nuevas) = (
        maestro.url(),
        [(); 2].map(|()| tempfile::tempdir().unwrap()),
    );
    let con_maestro = |n: usize, nombre: &str, mas: &[&str]| {
        let opciones = ["--ip", "127.0.0.1", "--nombre", nombre, "--maestro", &url];
        Proceso::nodo(nuevas[n].path(), &[&opciones, mas].concat())
    };
    let uno = con_maestro(0, "ana", &[]);
    let mut dos = con_maestro(1, "luis", &[]);
    for nodo in [&uno, &dos] {
        nodo.esperar("[MAESTRO] Registrado");
    }
    let pedir = b"GET / HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\n\r\n";
    let pagina = String::from_utf8(preguntar(uno.direccion(), pedir)).unwrap();
    assert!(pagina.contains(&dos.direccion().to_string()), "{pagina}");
    assert!(pagina.contains("luis"), "{pagina}");
    let salida = orden(["estado", "--puerto", "1", "--maestro", &url]);
    assert!(
        dicho(&salida).contains("responde: luis"),
        "{}",
        dicho(&salida)
    );
    dos.matar();
}

/// También los del maestro son conocidos: se les recibe si se pidió, aunque acaben de llegar.
#[test]
fn de_los_del_maestro_solo_se_recibe_si_se_pidio() {
    let maestro = Proceso::maestro(0);
    let url = maestro.url();
    let suya = tempfile::tempdir().unwrap();
    let con_maestro = ["--ip", "127.0.0.1", "--maestro", &url];
    let registrado = Proceso::nodo(suya.path(), &con_maestro);
    registrado.esperar("[MAESTRO] Registrado");
    let archivo = suya.path().join("tarea.txt");
    fs::write(&archivo, "hecha").unwrap();
    for (mas, codigo_esperado) in [(&[][..], 1), (&["--recibir-de-conocidos"], 0)] {
        let carpeta = tempfile::tempdir().unwrap();
        // Un peer escrito que no es de la IP de nadie: los de PEERS son de esta máquina.
        let opciones = [&con_maestro[..], &["--peer", "192.0.2.7:6001"], mas].concat();
        let receptor = Proceso::nodo(carpeta.path(), &opciones);
        let donde = receptor.direccion().to_string();
        let salida = orden(["enviar", archivo.to_str().unwrap(), "--a", &donde]);
        assert_eq!(
            codigo(&salida),
            Some(codigo_esperado),
            "{}",
            quejas(&salida)
        );
        if codigo_esperado == 1 {
            receptor.esperar("[NO SE RECIBE] tarea.txt, que envía 127.0.0.1; para permitirlo: ");
        }
    }
}
