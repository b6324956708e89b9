//! La página en vivo, con un nodo de verdad: quién la ve, qué le llega y cuándo.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::comun::rest::{hasta_que, mandar, pedir};
use super::comun::{PACIENCIA, Proceso, conectar, preguntar};
use serde_json::Value;
use tempfile::TempDir;

const UN_SEGUNDO: Duration = Duration::from_secs(1);
const NAVEGADOR: &str = "Accept: text/html,*/*;q=0.8\r\n";
const MALO: &str = "<script>alert(1)</script>]]>{peers}";

fn nodo(opciones: &[&str]) -> (TempDir, Proceso) {
    let carpeta = TempDir::new().unwrap();
    let opciones = [&["--peer", "127.0.0.1:1"], opciones].concat();
    let nodo = Proceso::menu(carpeta.path(), &opciones);
    (carpeta, nodo)
}

/// Quien mira `/sucesos`.
struct Mira(BufReader<TcpStream>);

impl Mira {
    /// Empieza a mirar. El código que contesta el nodo, y quien mira.
    fn empezar(a: SocketAddr) -> (u16, Mira) {
        let mut socket = conectar(a);
        let peticion = format!("GET /sucesos HTTP/1.1\r\nHost: {a}\r\n\r\n");
        socket.write_all(peticion.as_bytes()).unwrap();
        let mut mira = Mira(BufReader::new(socket));
        let primera = mira.linea().unwrap();
        let codigo = primera.split(' ').nth(1).unwrap().parse().unwrap();
        while !mira.linea().unwrap().is_empty() {}
        (codigo, mira)
    }

    /// Lo mismo, y espera a que le digan algo: desde ahí no se pierde nada.
    fn ya(a: SocketAddr) -> Mira {
        let (codigo, mut mira) = Mira::empezar(a);
        assert_eq!(codigo, 200);
        assert_eq!(mira.siguiente(), Some(Value::Object(Default::default())));
        mira
    }

    /// La línea que sigue. `None`: se acabó.
    fn linea(&mut self) -> Option<String> {
        let mut linea = String::new();
        let leida = self.0.read_line(&mut linea).unwrap();
        (leida > 0).then(|| linea.trim_end_matches(['\r', '\n']).to_string())
    }

    /// El suceso que sigue: siempre `data: ` con un JSON y una línea vacía.
    fn siguiente(&mut self) -> Option<Value> {
        let linea = self.linea()?;
        let json = linea.strip_prefix("data: ").expect("cada línea es un dato");
        assert_eq!(self.linea().as_deref(), Some(""));
        Some(serde_json::from_str(json).unwrap())
    }

    /// El primero que cumpla algo.
    fn hasta(&mut self, cumple: impl Fn(&Value) -> bool) -> Value {
        let limite = Instant::now() + PACIENCIA;
        while Instant::now() < limite {
            let suceso = self.siguiente().expect("el nodo sigue");
            if cumple(&suceso) {
                return suceso;
            }
        }
        panic!("no llegó");
    }
}

fn que(suceso: &Value) -> (&str, &str) {
    let campo = |campo: &str| suceso[campo].as_str().unwrap_or_default();
    (campo("suceso"), campo("palabra"))
}

#[test]
fn un_mensaje_ajeno_se_ve_en_menos_de_un_segundo() {
    let (_carpeta, nodo) = nodo(&[]);
    // Esta conexión es de antes de que nadie mire: también se sabe de quién es.
    let mut de_antes = conectar(nodo.direccion());
    de_antes.write_all(b"HOLA:6009:viejo\n").unwrap();
    assert!(
        BufReader::new(&de_antes)
            .read_line(&mut String::new())
            .unwrap()
            > 0
    );
    let mut mira = Mira::ya(nodo.direccion());
    let tardo = (0..5).map(|n| {
        let (empezo, pregunta) = (Instant::now(), format!("BUSCAR:algo{n}"));
        assert_eq!(preguntar(nodo.direccion(), pregunta.as_bytes()), b"NO");
        let suceso = mira.hasta(|s| que(s) == ("recibe", "BUSCAR"));
        assert_eq!(suceso["texto"], pregunta);
        assert!(!suceso["otro"].as_str().unwrap().is_empty());
        empezo.elapsed()
    });
    // Una máquina cargada puede tardar alguna vez; el nodo, nunca.
    let tardo = tardo.min().unwrap();
    assert!(tardo < UN_SEGUNDO, "{tardo:?}");
    de_antes.write_all(b"LISTAR\n").unwrap();
    let suceso = mira.hasta(|s| que(s) == ("recibe", "LISTAR"));
    assert_eq!(suceso["otro"], de_antes.local_addr().unwrap().to_string());
}

#[test]
fn mirar_no_se_dibuja_a_si_mismo() {
    let (_carpeta, nodo) = nodo(&[]);
    let mut mira = Mira::ya(nodo.direccion());
    let otro = Mira::ya(nodo.direccion());
    drop(otro);
    preguntar(nodo.direccion(), b"BUSCAR:fin");
    let mut vistos = Vec::new();
    loop {
        let suceso = mira.siguiente().unwrap();
        if que(&suceso) == ("recibe", "BUSCAR") {
            break;
        }
        vistos.push(suceso);
    }
    // De quien llega a mirar se ve que llegó y qué pidió, y nada de lo que se le cuenta.
    let envios = vistos
        .iter()
        .filter(|s| ["envia", "datos"].contains(&que(s).0));
    assert_eq!(envios.count(), 0, "{vistos:#?}");
}

#[test]
fn una_falla_se_ve_y_a_quien_mira_no_se_le_estropea_nada() {
    let (_carpeta, nodo) = nodo(&["--fallas", "callar=100%,trocear=1,cortar=10"]);
    let mut mira = Mira::ya(nodo.direccion());
    assert_eq!(preguntar(nodo.direccion(), b"BUSCAR:algo"), b"");
    let cierra = mira.hasta(|s| s["falla"].is_string());
    assert_eq!(
        (&cierra["suceso"], &cierra["falla"]),
        (&"cierra".into(), &"callar".into())
    );
    let pagina = pedir(nodo.direccion(), "/vivo", NAVEGADOR);
    assert_eq!(pagina.codigo, 200);
    let html = String::from_utf8(pagina.cuerpo).unwrap();
    assert!(html.contains("--fallas") && html.ends_with("</html>\n"));
}

#[test]
fn la_falla_que_nadie_vio_no_se_le_pone_a_otro_mensaje() {
    let (_carpeta, nodo) = nodo(&["--fallas", "retraso=1"]);
    let mut de_antes = conectar(nodo.direccion());
    let mut pedir = |linea: &[u8]| {
        de_antes.write_all(linea).unwrap();
        let mut lector = BufReader::new(&de_antes);
        assert!(lector.read_line(&mut String::new()).unwrap() > 0);
    };
    pedir(b"HOLA:6009:viejo\n");
    let mut mira = Mira::ya(nodo.direccion());
    pedir(b"LISTAR\n");
    let pedida = mira.hasta(|s| que(s) == ("recibe", "LISTAR"));
    assert_eq!(pedida["falla"], Value::Null);
    let contestada = mira.hasta(|s| que(s) == ("envia", "LISTA"));
    assert_eq!(contestada["falla"], "retraso=1");
}

#[test]
fn caben_ocho_y_quien_se_va_deja_su_sitio() {
    let (_carpeta, nodo) = nodo(&[]);
    let mut miran: Vec<Mira> = (0..8).map(|_| Mira::ya(nodo.direccion())).collect();
    let noveno = pedir(nodo.direccion(), "/sucesos", "");
    assert_eq!(noveno.codigo, 503);
    assert!(
        noveno.json()["error"]
            .as_str()
            .unwrap()
            .contains("8 páginas")
    );
    // La página sí se abre: dirá que no hay sitio, y probará otra vez.
    assert_eq!(pedir(nodo.direccion(), "/vivo", NAVEGADOR).codigo, 200);
    miran.pop();
    let entra = || Some(Mira::empezar(nodo.direccion())).filter(|(codigo, _)| *codigo == 200);
    hasta_que("que quede sitio", entra);
}

#[test]
fn salir_no_espera_a_quien_mira() {
    let (_carpeta, mut nodo) = nodo(&[]);
    let mut miran: Vec<Mira> = (0..8).map(|_| Mira::ya(nodo.direccion())).collect();
    let empezo = Instant::now();
    nodo.escribir("3");
    assert_eq!(nodo.terminar(), Some(0));
    assert!(empezo.elapsed() < PACIENCIA / 10, "{:?}", empezo.elapsed());
    assert!(!nodo.texto().contains("en curso"), "{}", nodo.texto());
    // Y a ellos se les dice que se acabó, sin error.
    for mira in &mut miran {
        while mira.siguiente().is_some() {}
    }
}

#[test]
fn la_pagina_es_suya_y_nada_ajeno_se_ejecuta() {
    let (_carpeta, nodo) = nodo(&["--nombre", MALO]);
    let visitas = [(); 2].map(|()| pedir(nodo.direccion(), "/vivo", NAVEGADOR));
    let sellos = visitas.map(|visita| {
        let politica = visita
            .cabecera("Content-Security-Policy")
            .unwrap()
            .to_string();
        assert!(politica.starts_with("default-src 'none'; "), "{politica}");
        assert!(politica.contains("connect-src 'self'; "), "{politica}");
        let sello = politica.split("script-src 'nonce-").nth(1).unwrap();
        let sello = sello.split('\'').next().unwrap().to_string();
        assert!(!politica.contains("unsafe") && politica.matches(&sello).count() == 2);
        assert_eq!(visita.cabecera("Cache-Control"), Some("no-store"));
        let html = String::from_utf8(visita.cuerpo).unwrap();
        assert!(html.contains(&format!("<script nonce=\"{sello}\">")));
        assert_eq!(html.matches("<script").count(), 1);
        let nombre = "&lt;script&gt;alert(1)&lt;/script&gt;]]&gt;{peers}";
        assert!(
            html.contains(&format!("<h1>{nombre} en vivo</h1>")),
            "{html}"
        );
        assert!(html.contains("<li>127.0.0.1:1</li>"));
        sello
    });
    assert_ne!(sellos[0], sellos[1]);
    // Lo que manden otros viaja como JSON, en una sola línea, y así se queda.
    let mut mira = Mira::ya(nodo.direccion());
    let hostil = format!("BUSCAR:{MALO}\n\ndata: {{}}\r\r\u{2028}x");
    preguntar(nodo.direccion(), hostil.as_bytes());
    let suceso = mira.hasta(|s| que(s) == ("recibe", "BUSCAR"));
    assert_eq!(suceso["texto"], hostil);
    assert_eq!(suceso["nodo"], MALO);
}

#[test]
fn los_sucesos_no_son_para_paginas_de_otro_sitio() {
    let (_carpeta, nodo) = nodo(&["--vivo-para-todos"]);
    let a = nodo.direccion();
    for ajena in [
        "Origin: http://malo.com\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n",
    ] {
        assert_eq!(pedir(a, "/sucesos", ajena).codigo, 403, "{ajena}");
    }
    let por_nombre = b"GET /sucesos HTTP/1.1\r\nHost: malo.com\r\n\r\n";
    assert_eq!(mandar(a, por_nombre).unwrap().codigo, 403);
    let post = format!("POST /sucesos HTTP/1.1\r\nHost: {a}\r\n\r\n");
    assert_eq!(mandar(a, post.as_bytes()).unwrap().codigo, 405);
    // Y un `HEAD` no se queda mirando.
    let head = format!("HEAD /sucesos HTTP/1.1\r\nHost: {a}\r\n\r\n");
    let head = mandar(a, head.as_bytes()).unwrap();
    assert_eq!(head.codigo, 200);
    assert_eq!(
        head.cabecera("Content-Type"),
        Some("text/event-stream; charset=utf-8")
    );
    assert_eq!(head.cabecera("Cache-Control"), Some("no-store"));
}

#[test]
fn la_pagina_del_nodo_se_refresca_sola_y_lleva_a_la_de_en_vivo() {
    let (_carpeta, sano) = nodo(&[]);
    let (_otra, con_fallas) = nodo(&["--fallas", "retraso=1"]);
    for (nodo, avisa) in [(&sano, false), (&con_fallas, true)] {
        let pagina = pedir(nodo.direccion(), "/", NAVEGADOR);
        let html = String::from_utf8(pagina.cuerpo).unwrap();
        assert!(html.contains("<meta http-equiv=\"refresh\" content=\"5\">"));
        assert!(html.contains("<a href=\"/vivo\">"));
        assert_eq!(html.contains("--fallas"), avisa);
    }
}
