//! El balanceador, el backend y el cliente de verdad, con los programas del documento a los dos
//! lados.

use super::comun::aceptar;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::comun::conectar;
use super::comun::practicas::{
    Programa, backend, backend_del_curso, cliente_del_curso, libre, todo,
};

fn balanceador(backends: &[SocketAddr]) -> (Programa, SocketAddr) {
    balanceador_con(&[], backends)
}

fn balanceador_con(opciones: &[&str], backends: &[SocketAddr]) -> (Programa, SocketAddr) {
    let backends: Vec<String> = backends.iter().map(|b| format!("--backend={b}")).collect();
    let mut palabras = vec!["balanceador", "--puerto", "0"];
    palabras.extend(opciones);
    palabras.extend(backends.iter().map(String::as_str));
    Programa::servidor(&palabras)
}

fn repartir(a: SocketAddr, veces: usize) -> HashMap<String, usize> {
    let mut cuenta = HashMap::new();
    (0..veces).for_each(|_| *cuenta.entry(cliente_del_curso(a)).or_default() += 1);
    cuenta
}

/// Un puerto en que no escucha nadie, y que nadie más tomará: sigue enlazado, pero sin `listen`.
fn muerto() -> (socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket
        .bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into())
        .unwrap();
    let direccion = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, direccion)
}

#[test]
fn con_los_programas_del_documento_reparte_por_turno() {
    let backends =
        ["Server 1", "Server 2", "Server 3"].map(|nombre| backend_del_curso(libre(), nombre));
    let (_programa, a) = balanceador(&backends);
    let respuestas: Vec<String> = (0..6).map(|_| cliente_del_curso(a)).collect();
    let esperadas = ["1", "2", "3", "1", "2", "3"].map(|n| format!("Response from Server {n}\n"));
    assert_eq!(respuestas, esperadas);
}

#[test]
fn con_tres_de_cuatro_vivos_un_tercio_a_cada_uno_y_nadie_se_pierde() {
    let vivos = ["a", "b", "c"].map(|nombre| backend_del_curso(libre(), nombre));
    let (_muerto, caido) = muerto();
    let (mut programa, a) = balanceador(&[vivos[0], caido, vivos[1], vivos[2]]);
    let reparto = repartir(a, 30);
    assert_eq!(reparto.len(), 3, "{reparto:?}");
    assert!(reparto.values().all(|&veces| veces == 10), "{reparto:?}");
    assert!(programa.esperar("[CAÍDO]").contains(&caido.to_string()));
}

#[test]
fn el_caido_vuelve_sin_que_la_pregunta_de_salud_lo_mate() {
    let (reservado, caido) = muerto();
    let vivo = backend_del_curso(libre(), "vivo");
    let (mut programa, a) = balanceador(&[caido, vivo]);
    assert_eq!(repartir(a, 2)["Response from vivo\n"], 2);
    programa.esperar("[CAÍDO]");
    reservado.listen(5).unwrap();
    backend_del_curso(TcpListener::from(reservado), "nuevo");
    programa.esperar("[VUELVE]");
    let reparto = repartir(a, 10);
    assert_eq!(
        (
            reparto["Response from vivo\n"],
            reparto["Response from nuevo\n"]
        ),
        (5, 5)
    );
}

#[test]
fn sin_ningun_backend_se_cierra_al_cliente_al_momento_y_se_dice() {
    let (_muerto, caido) = muerto();
    let (mut programa, a) = balanceador(&[caido]);
    let mut cliente = conectar(a);
    let antes = Instant::now();
    cliente.write_all(b"hola").unwrap();
    assert_eq!(todo(&cliente), b"");
    assert!(antes.elapsed() < Duration::from_secs(2));
    programa.esperar("[SIN BACKEND]");
}

#[test]
fn un_cliente_mudo_no_ocupa_al_backend_que_atiende_de_uno_en_uno() {
    let (_programa, a) = balanceador(&[backend_del_curso(libre(), "uno")]);
    let _mudos: Vec<TcpStream> = (0..20).map(|_| conectar(a)).collect();
    assert_eq!(cliente_del_curso(a), "Response from uno\n");
}

#[test]
fn el_fin_de_un_cliente_que_no_dijo_nada_tambien_llega() {
    let (_programa, a) = balanceador(&[backend_del_curso(libre(), "uno")]);
    let cliente = conectar(a);
    cliente.shutdown(Shutdown::Write).unwrap();
    assert_eq!(todo(&cliente), b"Response from uno\n");
}

/// Saluda al llegar, como SMTP o MySQL, y después repite lo que le digan.
fn que_saluda() -> SocketAddr {
    backend(|mut conexion| {
        conexion.write_all(b"220 aqui estoy\r\n").unwrap();
        let mut leido = [0; 1024];
        while let Ok(n @ 1..) = conexion.read(&mut leido) {
            conexion.write_all(&leido[..n]).unwrap();
        }
    })
}

#[test]
fn si_saluda_el_servidor_no_se_espera_al_cliente() {
    let (mut programa, a) = balanceador_con(&["--saluda-el-servidor"], &[que_saluda()]);
    let mut cliente = conectar(a);
    let mut saludo = [0; 16];
    cliente.read_exact(&mut saludo).unwrap();
    assert_eq!(&saludo, b"220 aqui estoy\r\n");
    programa.esperar("[ASIGNADO]");
    // Y después hablan los dos, como siempre.
    for frase in [&b"EHLO yo\r\n"[..], b"QUIT\r\n"] {
        cliente.write_all(frase).unwrap();
        let mut eco = vec![0; frase.len()];
        cliente.read_exact(&mut eco).unwrap();
        assert_eq!(eco, frase);
    }
    cliente.shutdown(Shutdown::Write).unwrap();
    assert_eq!(todo(&cliente), b"");
}

#[test]
fn el_silencio_se_dice_al_cortar_a_los_dos_y_al_cliente_que_no_empezo() {
    let callado = backend(|conexion| drop(todo(&conexion)));
    let (mut programa, a) = balanceador_con(&["--silencio", "0.3"], &[callado]);
    let mudo = conectar(a);
    assert_eq!(todo(&mudo), b"");
    let linea = programa.esperar("[SILENCIO]");
    let quien = mudo.local_addr().unwrap().to_string();
    assert!(linea.contains(&quien) && !linea.contains("→"), "{linea}");

    let mut cliente = conectar(a);
    cliente.write_all(b"hola").unwrap();
    assert_eq!(todo(&cliente), b"", "el backend no contesta nunca");
    let linea = programa.esperar("[SILENCIO]");
    let quienes = format!("{} → {callado}: ", cliente.local_addr().unwrap());
    assert!(linea.contains(&quienes), "{linea}");
    assert!(linea.contains("--silencio"), "{linea}");
}

#[test]
fn quien_acaba_por_su_cuenta_no_es_silencio() {
    for opciones in [&["--silencio", "0"][..], &["--silencio", "86400"]] {
        let (mut programa, a) = balanceador_con(opciones, &[que_saluda()]);
        let mut cliente = conectar(a);
        cliente.write_all(b"hola").unwrap();
        cliente.shutdown(Shutdown::Write).unwrap();
        assert_eq!(todo(&cliente), b"220 aqui estoy\r\nhola");
        // Lo que siga a esta línea ya se habría dicho al acabar el canal de la primera.
        programa.esperar("[ASIGNADO]");
        assert_eq!(cliente_que_saluda(a), b"220 aqui estoy\r\n");
        let siguiente = programa.esperar("[");
        assert!(siguiente.contains("[ASIGNADO]"), "{siguiente}");
    }
}

fn cliente_que_saluda(a: SocketAddr) -> Vec<u8> {
    let cliente = conectar(a);
    cliente.shutdown(Shutdown::Write).unwrap();
    todo(&cliente)
}

#[test]
fn quien_acaba_de_preguntar_puede_seguir_oyendo() {
    let contar = backend(|conexion| {
        let cuantos = todo(&conexion).len();
        (&conexion)
            .write_all(format!("{cuantos} bytes").as_bytes())
            .unwrap();
    });
    let (_programa, a) = balanceador(&[contar]);
    let mut cliente = conectar(a);
    cliente.write_all(&vec![7; 3_000_000]).unwrap();
    cliente.shutdown(Shutdown::Write).unwrap();
    assert_eq!(todo(&cliente), b"3000000 bytes");
}

#[test]
fn mucho_en_cada_sentido_a_la_vez_pasa_intacto() {
    fn datos(semilla: u32) -> Vec<u8> {
        (0..48u32 << 20)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 13 ^ semilla) as u8)
            .collect()
    }
    let conversar = |conexion: TcpStream, semilla: u32, suya: u32| {
        thread::scope(|ambito| {
            ambito.spawn(|| {
                (&conexion).write_all(&datos(semilla)).unwrap();
                conexion.shutdown(Shutdown::Write).unwrap();
            });
            assert!(todo(&conexion) == datos(suya));
        });
    };
    let (_programa, a) = balanceador(&[backend(move |conexion| conversar(conexion, 1, 2))]);
    conversar(conectar(a), 2, 1);
}

#[test]
fn quinientos_a_la_vez() {
    let respondon = backend(|mut conexion| {
        let _ = conexion.read(&mut [0; 1024]);
        let _ = conexion.write_all(b"si");
    });
    let (programa, a) = balanceador(&[respondon]);
    // Primero se conectan todos y luego hablan todos.
    let mut clientes: Vec<TcpStream> = (0..500).map(|_| conectar(a)).collect();
    clientes
        .iter_mut()
        .for_each(|cliente| cliente.write_all(b"hola").unwrap());
    assert!(clientes.iter().all(|cliente| todo(cliente) == b"si"));
    drop(clientes);
    #[cfg(unix)]
    {
        programa.ctrl_c();
        let (codigo, pantalla) = programa.terminar();
        assert_eq!(codigo, 130);
        assert!(
            pantalla.contains(&"[REPARTO] 500 conexiones".to_string()),
            "{:?}",
            pantalla.last()
        );
    }
    #[cfg(not(unix))]
    drop(programa);
}

#[test]
fn clientes_y_backends_que_se_cortan_no_tumban_nada() {
    let traga = backend(|conexion| {
        let mut leido = vec![0; 1 << 16];
        while (&conexion).read(&mut leido).is_ok_and(|n| n > 0) {}
    });
    let corta = backend(|conexion| {
        let _ = (&conexion).read(&mut [0; 1]);
        socket2::SockRef::from(&conexion)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    });
    let (_programa, a) = balanceador(&[traga, corta]);
    for _ in 0..10 {
        let mut cliente = conectar(a);
        cliente
            .set_write_timeout(Some(Duration::from_secs(2)))
            .unwrap();
        let _ = cliente.write_all(&vec![0; 1 << 20]);
        socket2::SockRef::from(&cliente)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }
    // Siguen contestando los dos, por turno: uno con su fin, el otro cortando.
    for _ in 0..2 {
        let mut cliente = conectar(a);
        cliente.write_all(b"x").unwrap();
        cliente.shutdown(Shutdown::Write).unwrap();
        assert_eq!(todo(&cliente), b"");
    }
}

#[cfg(unix)]
#[test]
fn al_salir_ensena_la_tabla_y_otro_ctrl_c_corta_a_un_backend_callado() {
    let callado = backend(|conexion| drop(todo(&conexion)));
    let (mut programa, a) = balanceador(&[callado]);
    let mut cliente = conectar(a);
    cliente.write_all(b"hola").unwrap();
    programa.esperar("[ASIGNADO]");
    // Un backend que lee y nunca contesta ni cierra.
    let antes = Instant::now();
    programa.sigterm();
    let (codigo, pantalla) = programa.terminar();
    assert_eq!(codigo, 130);
    assert!(
        antes.elapsed() < Duration::from_secs(4),
        "el backend recibió el fin del cliente y cerró"
    );
    assert!(
        pantalla.contains(&"[REPARTO] 1 conexión".to_string()),
        "{pantalla:?}"
    );

    let (dejar, esperar) = std::sync::mpsc::channel::<()>();
    let esperar = std::sync::Arc::new(std::sync::Mutex::new(esperar));
    let eterno = backend(move |_conexion| {
        let _ = esperar.lock().unwrap().recv();
    });
    let (mut programa, a) = balanceador(&[eterno]);
    let mut cliente = conectar(a);
    cliente.write_all(b"hola").unwrap();
    programa.esperar("[ASIGNADO]");
    programa.ctrl_c();
    programa.esperar("Terminando 1 conexión en curso");
    let antes = Instant::now();
    programa.ctrl_c();
    assert_eq!(programa.terminar().0, 130);
    assert!(
        antes.elapsed() < Duration::from_secs(3),
        "el segundo Ctrl-C corta ya"
    );
    drop(dejar);
}

#[test]
fn el_backend_contesta_como_el_del_documento_y_no_pierde_la_respuesta() {
    let (mut programa, a) =
        Programa::servidor(&["--puerto", "0", "backend", "--nombre", "Server 7"]);
    assert_eq!(cliente_del_curso(a), "Response from Server 7\n");
    assert!(
        programa
            .esperar("Conexión desde")
            .starts_with("[Server 7] ")
    );
    let mut cliente = conectar(a);
    cliente.write_all(&vec![b'x'; 500_000]).unwrap();
    assert_eq!(todo(&cliente), b"Response from Server 7\n");
}

#[test]
fn solicitar_ensena_las_respuestas_y_el_reparto() {
    let backends = ["Server 1", "Server 2"].map(|nombre| backend_del_curso(libre(), nombre));
    let (_programa, a) = balanceador(&backends);
    let (codigo, pantalla) =
        Programa::arrancar(&["solicitar", "--a", &a.to_string(), "--veces", "4"]).terminar();
    assert_eq!(codigo, 0);
    assert_eq!(
        pantalla[..2],
        ["Response from Server 1", "Response from Server 2"]
    );
    assert_eq!(pantalla[4], "[REPARTO] 4 solicitudes");
    assert!(pantalla[5].contains("Response from Server 1") && pantalla[5].ends_with("2   50,0 %"));

    let (_muerto, caido) = muerto();
    let (codigo, pantalla) =
        Programa::arrancar(&["solicitar", "--a", &caido.to_string()]).terminar();
    assert_eq!(codigo, 1);
    assert!(pantalla[0].contains("rechazada"), "{pantalla:?}");
}

#[cfg(unix)]
#[test]
fn ctrl_c_deja_de_solicitar_aunque_nadie_conteste() {
    let escucha = libre();
    let a = escucha.local_addr().unwrap().to_string();
    let programa = Programa::arrancar(&["solicitar", "--a", &a, "--veces", "3"]);
    let (muda, _) = aceptar(&escucha).unwrap();
    let antes = Instant::now();
    programa.ctrl_c();
    assert_eq!(programa.terminar().0, 130);
    assert!(antes.elapsed() < Duration::from_secs(3));
    drop(muda);
}

#[test]
fn lo_mal_escrito_y_lo_imposible_se_dicen() {
    let salida = |palabras: &[&str]| Programa::arrancar(palabras).terminar();
    let (codigo, pantalla) = salida(&["--carpeta", "x", "balanceador"]);
    assert_eq!(codigo, 2);
    assert!(pantalla[0].contains("--carpeta"), "{pantalla:?}");
    let ocupado = libre();
    let puerto = ocupado.local_addr().unwrap().port().to_string();
    let (codigo, pantalla) = salida(&["balanceador", "--puerto", &puerto]);
    assert_eq!(codigo, 1);
    assert!(
        pantalla[0].contains(&puerto) && pantalla[0].contains("en uso"),
        "{pantalla:?}"
    );
}
