//! El chat de verdad, con pares que mandan y reciben bytes a secas, como los del documento.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::comun::practicas::{Programa, libre, todo};
use super::comun::{PACIENCIA, aceptar, conectar};

fn servidor() -> (Programa, SocketAddr) {
    Programa::servidor(&["chat", "--servidor", "127.0.0.1:0"])
}

/// Un cliente de `nodo` y el par a secas con que habla.
fn cliente() -> (Programa, TcpStream) {
    let escucha = libre();
    let a = escucha.local_addr().unwrap().to_string();
    let programa = Programa::arrancar(&["chat", "--conectar", &a]);
    let par = aceptar(&escucha).unwrap().0;
    par.set_read_timeout(Some(PACIENCIA)).unwrap();
    (programa, par)
}

/// Se conecta y espera a que el servidor lo tenga en su lista.
fn entrar(programa: &mut Programa, a: SocketAddr) -> TcpStream {
    let par = conectar(a);
    programa.esperar(&format!("[CONEXIÓN] Con {}", par.local_addr().unwrap()));
    par
}

fn recibir(mut par: &TcpStream, cuantos: usize) -> String {
    let mut leido = vec![0; cuantos];
    par.read_exact(&mut leido).unwrap();
    String::from_utf8(leido).unwrap()
}

#[test]
fn lo_que_llega_se_ensena_al_llegar_y_por_el_cable_va_solo_lo_escrito() {
    let (mut programa, a) = servidor();
    let mut par = entrar(&mut programa, a);
    let quien = format!("[{}]", par.local_addr().unwrap());
    par.write_all(b"hola sin fin de linea").unwrap();
    assert_eq!(
        programa.esperar("hola"),
        format!("{quien} hola sin fin de linea")
    );
    par.write_all(b"ma\xc3").unwrap();
    par.write_all(b"\xb1ana").unwrap();
    assert_eq!(programa.esperar("ana"), format!("{quien} mañana"));
    par.write_all(b"se\xc3").unwrap();
    assert_eq!(
        programa.esperar("se"),
        format!("{quien} se"),
        "por media letra no se espera siempre"
    );
    par.write_all(b"\xb1as").unwrap();
    assert_eq!(programa.esperar("as"), format!("{quien} ñas"));
    programa.escribir("¿qué tal?");
    programa.escribir("exit");
    assert_eq!(todo(&par), "¿qué tal?\n".as_bytes());
    assert_eq!(programa.terminar().0, 0);
}

#[test]
fn lo_que_escribe_el_servidor_llega_a_todos() {
    let (mut programa, a) = servidor();
    let pares = [(); 3].map(|()| entrar(&mut programa, a));
    programa.escribir("a todos");
    for par in &pares {
        assert_eq!(recibir(par, 8), "a todos\n");
    }
    (&pares[1]).write_all(b"soy yo").unwrap();
    let linea = programa.esperar("soy yo");
    assert!(linea.starts_with(&format!("[{}]", pares[1].local_addr().unwrap())));
}

#[test]
fn una_conexion_rota_se_dice_y_se_repite_y_el_programa_sigue() {
    let (mut programa, mut par) = cliente();
    programa.esperar("[CONEXIÓN]");
    // Lo dicho justo antes de cerrar también se ve, y antes que el final.
    par.write_all(b"adios").unwrap();
    drop(par);
    programa.esperar("adios");
    programa.esperar("conexión rota");
    programa.escribir("¿estás?");
    programa.esperar("conexión rota");
    programa.escribir("¿y ahora?");
    programa.esperar("conexión rota");
    programa.escribir("exit");
    assert_eq!(programa.terminar().0, 0);
}

#[test]
fn el_servidor_sigue_con_los_demas_cuando_uno_se_corta() {
    let (mut programa, a) = servidor();
    programa.escribir("¿hay alguien?");
    programa.esperar("todavía no hay nadie");
    let cortado = entrar(&mut programa, a);
    let par = entrar(&mut programa, a);
    socket2::SockRef::from(&cortado)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(cortado);
    programa.esperar("conexión rota");
    programa.escribir("sigo");
    assert_eq!(recibir(&par, 5), "sigo\n");
}

/// La llama [`crate::a_la_vez_las_que_esperan_plazos`].
pub fn un_par_que_no_lee_no_para_a_los_demas_ni_la_salida() {
    let (mut programa, a) = servidor();
    let _sordo = entrar(&mut programa, a);
    let par = Arc::new(entrar(&mut programa, a));
    // Más de lo que cabe en los búferes del sistema y en su buzón.
    let mucho = "x".repeat(60_000);
    let lector = std::thread::spawn({
        let par = Arc::clone(&par);
        move || todo(&par).len()
    });
    let veces = 200;
    (0..veces).for_each(|_| programa.escribir(&mucho));
    programa.esperar("no lee: hasta que lo haga");
    (&*par).write_all(b"yo si leo").unwrap();
    programa.esperar("yo si leo");
    programa.escribir("exit");
    let antes = Instant::now();
    assert_eq!(programa.terminar().0, 0);
    assert!(
        antes.elapsed() < Duration::from_secs(12),
        "al sordo se le corta al salir"
    );
    assert!(lector.join().unwrap() > 60_000);
}

#[test]
fn pregunta_como_el_documento_y_lo_que_no_vale_lo_vuelve_a_preguntar() {
    let escucha = libre();
    let puerto = escucha.local_addr().unwrap().port();
    let mut programa = Programa::arrancar(&["chat"]);
    for respuesta in ["x", "c", "casa", "", "99999", "0", &puerto.to_string()] {
        programa.escribir(respuesta);
    }
    let mut par = aceptar(&escucha).unwrap().0;
    par.write_all(b"buenas").unwrap();
    programa.esperar("buenas");
    programa.fin_de_la_entrada();
    let (codigo, pantalla) = programa.terminar();
    assert_eq!(codigo, 0);
    let todo = pantalla.join("\n");
    assert_eq!(
        todo.matches("¿Servidor (s) o cliente (c)? ").count(),
        2,
        "{todo}"
    );
    assert_eq!(todo.matches(" no vale: ").count(), 4, "{todo}");
}

#[test]
fn irse_en_medio_de_las_preguntas_es_salir_bien() {
    let mut programa = Programa::arrancar(&["chat"]);
    programa.escribir("s");
    programa.fin_de_la_entrada();
    assert_eq!(programa.terminar().0, 0);
}

#[cfg(unix)]
#[test]
fn ctrl_c_sale_con_130_tambien_en_las_preguntas() {
    let (mut programa, a) = servidor();
    let par = entrar(&mut programa, a);
    programa.ctrl_c();
    assert_eq!(programa.terminar().0, 130);
    assert_eq!(todo(&par), b"");
    let mut programa = Programa::arrancar(&["chat"]);
    programa.escribir("x");
    programa.esperar("no vale");
    programa.ctrl_c();
    assert_eq!(programa.terminar().0, 130);
}

#[cfg(unix)]
#[test]
fn ctrl_c_no_espera_a_los_que_no_leen() {
    let (mut programa, a) = servidor();
    let _sordos = [(); 3].map(|()| entrar(&mut programa, a));
    let mucho = "x".repeat(60_000);
    (0..200).for_each(|_| programa.escribir(&mucho));
    for _ in 0..3 {
        programa.esperar("no lee: hasta que lo haga");
    }
    let antes = Instant::now();
    programa.ctrl_c();
    assert_eq!(programa.terminar().0, 130);
    assert!(antes.elapsed() < Duration::from_secs(3));
}

#[cfg(unix)]
#[test]
fn el_cliente_tampoco_espera_a_un_servidor_que_no_lee() {
    let (mut programa, _par) = cliente();
    programa.esperar("[CONEXIÓN]");
    let mucho = "x".repeat(60_000);
    (0..200).for_each(|_| programa.escribir(&mucho));
    programa.esperar("no lee: hasta que lo haga");
    let antes = Instant::now();
    programa.ctrl_c();
    assert_eq!(programa.terminar().0, 130);
    assert!(antes.elapsed() < Duration::from_secs(3));
}

#[test]
fn al_que_vuelve_a_leer_se_le_dice_cuanto_le_falta() {
    let (mut programa, a) = servidor();
    let sordo = entrar(&mut programa, a);
    let mucho = "x".repeat(60_000);
    (0..200).for_each(|_| programa.escribir(&mucho));
    programa.esperar("no lee: hasta que lo haga");
    let lector = std::thread::spawn(move || todo(&sordo).len());
    let un_momento = Duration::from_millis(50);
    let limite = Instant::now() + PACIENCIA;
    programa.escribir("¿y ahora?");
    while programa
        .aparece("ya lee; se quedó sin", un_momento)
        .is_err()
    {
        assert!(Instant::now() < limite, "no dice que ya lee");
        programa.escribir("¿y ahora?");
    }
    programa.escribir("exit");
    assert_eq!(programa.terminar().0, 0);
    assert!(lector.join().unwrap() > 60_000);
}

#[test]
fn lo_escrito_justo_antes_de_salir_llega() {
    let (mut programa, par) = cliente();
    programa.esperar("[CONEXIÓN]");
    programa.escribir("lo último");
    programa.escribir("exit");
    assert_eq!(todo(&par), "lo último\n".as_bytes());
    par.shutdown(Shutdown::Both).ok();
    assert_eq!(programa.terminar().0, 0);
}

#[test]
fn el_texto_ajeno_no_toca_la_terminal() {
    let (mut programa, mut par) = cliente();
    par.write_all("\x1b[2J\x1b]0;falso\x07rojo\u{202e}revés\x08\n".as_bytes())
        .unwrap();
    par.write_all(&vec![0xff; 100_000]).unwrap();
    par.write_all(b"\nya").unwrap();
    assert!(programa.esperar("rojo").ends_with("] rojorevés"));
    programa.esperar("] ya");
    programa.escribir("exit");
    let (_, pantalla) = programa.terminar();
    assert!(!pantalla.concat().chars().any(char::is_control));
}

#[test]
fn sin_nadie_al_otro_lado_se_dice_y_da_1() {
    let direccion = libre().local_addr().unwrap().to_string();
    let (codigo, pantalla) = Programa::arrancar(&["chat", "--conectar", &direccion]).terminar();
    assert_eq!(codigo, 1);
    assert!(
        pantalla[0].contains(&direccion) && pantalla[0].contains("rechazada"),
        "{pantalla:?}"
    );
}
