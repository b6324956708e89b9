//! `nodo torrent`, leído por una biblioteca que no es nuestra y bajado de donde dice: qué lleva, de
//! quién se baja, y qué se dice cuando no se puede.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Output;

use bt_bencode::Value;
use sha1::{Digest, Sha1};
use tempfile::{TempDir, tempdir};

use super::comun::falsos::{Falso, Mana};
use super::comun::rest::pedir;
use super::comun::{Lanzar, Proceso, codigo, datos, dicho, nombres, orden, quejas};
use crate::http::url::{Url, codificar_ruta};

/// Nadie escucha en el puerto 1.
const NADIE: &str = "127.0.0.1:1";

fn carpeta_con(archivos: &[(&str, &[u8])]) -> TempDir {
    let carpeta = tempdir().unwrap();
    for (nombre, contenido) in archivos {
        let ruta = carpeta.path().join(nombre);
        fs::create_dir_all(ruta.parent().unwrap()).unwrap();
        fs::write(ruta, contenido).unwrap();
    }
    carpeta
}

fn nodo_con(archivos: &[(&str, &[u8])]) -> (TempDir, Proceso) {
    let carpeta = carpeta_con(archivos);
    let nodo = Proceso::nodo(carpeta.path(), &["--peer", NADIE]);
    (carpeta, nodo)
}

/// Hace el torrent de `nombre`, que está en `carpeta`, preguntando a esos.
fn torrent(carpeta: &TempDir, nombre: &str, peers: &[SocketAddr], destino: &Path) -> Output {
    let mut argumentos = vec!["torrent".into(), nombre.to_string(), "-o".into()];
    argumentos.push(destino.to_str().unwrap().into());
    argumentos.extend(["--carpeta".into(), carpeta.path().to_str().unwrap().into()]);
    for peer in peers {
        argumentos.extend(["--peer".into(), peer.to_string()]);
    }
    orden(argumentos)
}

/// Lo que hay en un `.torrent`, que tiene que estar escrito como manda la norma: vuelto a escribir
/// por otro, da los mismos bytes.
fn leer(torrent: &Path) -> Value {
    let bytes = fs::read(torrent).unwrap();
    let valor: Value = bt_bencode::from_slice(&bytes).unwrap();
    assert_eq!(bt_bencode::to_vec(&valor).unwrap(), bytes);
    valor
}

fn textos(lista: &Value) -> Vec<&str> {
    let lista = lista.as_list().unwrap();
    lista.iter().map(|texto| texto.as_str().unwrap()).collect()
}

/// ¿Son las piezas de `info` las de esos bytes?
fn comprobar_piezas(info: &Value, bytes: &[u8]) {
    let largo = info["piece length"].as_u64().unwrap() as usize;
    assert!(largo.is_power_of_two() && largo >= 16 * 1024, "{largo}");
    let piezas = bytes.chunks(largo).map(Sha1::digest);
    let esperadas: Vec<u8> = piezas.flat_map(|pieza| pieza.to_vec()).collect();
    assert!(info["pieces"].as_byte_str().unwrap().as_slice() == esperadas);
    assert!(esperadas.len() <= 2000 * 20);
}

/// Lo que da esa URL.
fn bajar(url: &str) -> Vec<u8> {
    let url = Url::leer(url).unwrap();
    let respuesta = pedir(url.sitio().parse().unwrap(), &url.ruta, "");
    assert_eq!(respuesta.codigo, 200, "{url:?}");
    respuesta.cuerpo
}

fn en_otra_parte() -> (TempDir, PathBuf) {
    let aparte = tempdir().unwrap();
    let destino = aparte.path().join("x.torrent");
    (aparte, destino)
}

#[test]
fn uno_de_un_archivo_lleva_a_los_nodos_que_tienen_ese_y_no_otro() {
    let contenido = datos(3_000_000);
    let nombre = "sub/año 1.bin";
    let (mia, uno) = nodo_con(&[(nombre, &contenido)]);
    let (_c, dos) = nodo_con(&[(nombre, &contenido)]);
    let (_c, otro) = nodo_con(&[(nombre, &contenido[1..])]);
    let (_c, sin_el) = nodo_con(&[("y", b"y")]);
    let calcula = Falso::nuevo(&contenido, Mana::Calculando(1));
    let de_la_guia = Falso::nuevo(&contenido, Mana::Guia);
    let (aparte, destino) = en_otra_parte();
    let peers = [
        dos.direccion(),
        otro.direccion(),
        NADIE.parse().unwrap(),
        de_la_guia.direccion,
        calcula.direccion,
        sin_el.direccion(),
        uno.direccion(),
    ];
    let salida = torrent(&mia, nombre, &peers, &destino);
    assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
    let que_otro = format!("{} tiene otro {nombre}", otro.direccion());
    assert!(quejas(&salida).contains(&que_otro), "{}", quejas(&salida));
    assert!(quejas(&salida).contains("sólo valen en esta máquina"));

    let leido = leer(&destino);
    let info = &leido["info"];
    assert_eq!(info["name"].as_str(), Some("año 1.bin"));
    assert_eq!(info["length"].as_u64(), Some(3_000_000));
    comprobar_piezas(info, &contenido);
    let urls = textos(&leido["url-list"]);
    let url = |a: SocketAddr| format!("http://{a}/files/sub/a%C3%B1o%201.bin");
    let esperadas = [dos.direccion(), calcula.direccion, uno.direccion()].map(url);
    assert_eq!(urls, esperadas);
    assert!(dicho(&salida).contains(&esperadas[2]), "{}", dicho(&salida));
    assert!(bajar(urls[0]) == contenido && bajar(urls[2]) == contenido);
    assert_eq!(nombres(&aparte), ["x.torrent"]);
}

#[test]
fn uno_de_una_carpeta_se_baja_como_dice_la_norma() {
    let (a, c) = (datos(100_000), datos(20_000));
    // Uno con el nombre en dos letras, como los guarda macOS; y uno que no es de la carpeta.
    let archivos: &[(&str, &[u8])] = &[
        ("fotos/de ayer/a.bin", &a),
        ("fotos/de ayer/mas/n\u{303}.bin", &c),
        ("fotos/de ayer/vacio", b""),
        ("fotos/de ayer.txt", b"no"),
    ];
    let (mia, uno) = nodo_con(archivos);
    // A este le falta uno: no se puede bajar de él.
    let (_c, a_medias) = nodo_con(&archivos[..1]);
    let (_aparte, destino) = en_otra_parte();
    let peers = [a_medias.direccion(), uno.direccion()];
    let salida = torrent(&mia, "fotos/de ayer/", &peers, &destino);
    assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));

    let leido = leer(&destino);
    let info = &leido["info"];
    assert_eq!(info["name"].as_str(), Some("de ayer"));
    let urls = textos(&leido["url-list"]);
    assert_eq!(urls, [format!("{}/files/fotos/", uno.url())]);
    let mut seguidos = Vec::new();
    let mut rutas = Vec::new();
    for archivo in info["files"].as_list().unwrap() {
        let ruta = textos(&archivo["path"]).join("/");
        // Lo que hace el cliente: la URL, el nombre del torrent y la ruta del archivo.
        let suya = codificar_ruta(&format!("de ayer/{ruta}"));
        let bajado = bajar(&format!("{}{suya}", urls[0]));
        assert_eq!(archivo["length"].as_u64(), Some(bajado.len() as u64));
        seguidos.extend(bajado);
        rutas.push(ruta);
    }
    assert_eq!(rutas, ["a.bin", "mas/ñ.bin", "vacio"]);
    assert!(seguidos == [a, c].concat());
    comprobar_piezas(info, &seguidos);
}

#[test]
fn lo_que_no_esta_aqui_lo_vacio_y_lo_que_no_sirve_nadie_se_dicen() {
    let (mia, uno) = nodo_con(&[("a.bin", b"a"), ("vacio", b"")]);
    let (aparte, destino) = en_otra_parte();
    for (nombre, peer, dice) in [
        ("b.bin", uno.direccion(), "bájalo antes (nodo descargar"),
        ("../a.bin", uno.direccion(), "no está en"),
        ("vacio", uno.direccion(), "está vacío"),
        (
            "a.bin",
            NADIE.parse().unwrap(),
            "arranca uno con esa carpeta",
        ),
    ] {
        let salida = torrent(&mia, nombre, &[peer], &destino);
        assert_eq!(codigo(&salida), Some(1), "{nombre}");
        assert!(quejas(&salida).contains(dice), "{}", quejas(&salida));
        assert_eq!((dicho(&salida), nombres(&aparte).len()), (String::new(), 0));
    }
}

/// La orden no abre puerto. Si con `--puerto` se dice quién es, el nodo que escuche ahí cuenta como
/// los demás: se le pregunta.
#[test]
fn el_propio_nodo_cuenta_si_esta_en_marcha() {
    let (mia, uno) = nodo_con(&[("a.bin", b"a")]);
    let (_aparte, destino) = en_otra_parte();
    let carpeta = mia.path().to_str().unwrap();
    let (puerto, destino) = (uno.puerto.to_string(), destino.to_str().unwrap());
    let salida = orden([
        "torrent",
        "a.bin",
        "-o",
        destino,
        "--puerto",
        &puerto,
        "--peer",
        NADIE,
        "--carpeta",
        carpeta,
    ]);
    assert_eq!(codigo(&salida), Some(0), "{}", quejas(&salida));
    let leido = leer(Path::new(destino));
    let suya = format!("{}/files/a.bin", uno.url());
    assert_eq!(textos(&leido["url-list"]), [suya]);
}

#[test]
fn no_pisa_lo_de_otro_pero_pone_al_dia_lo_suyo() {
    let (mia, uno) = nodo_con(&[("a.bin", b"a"), ("b.bin", b"b")]);
    let (_c, dos) = nodo_con(&[("a.bin", b"a")]);
    let (aparte, destino) = en_otra_parte();
    let hacer = |nombre, peers: &[SocketAddr]| torrent(&mia, nombre, peers, &destino);

    fs::write(&destino, "otra cosa").unwrap();
    let salida = hacer("a.bin", &[uno.direccion()]);
    assert_eq!(codigo(&salida), Some(1));
    assert!(quejas(&salida).contains("elige otro nombre con -o"));
    assert_eq!(fs::read(&destino).unwrap(), b"otra cosa");
    fs::remove_file(&destino).unwrap();

    assert_eq!(codigo(&hacer("a.bin", &[uno.direccion()])), Some(0));
    let antes = fs::read(&destino).unwrap();
    let de_otro_archivo = hacer("b.bin", &[uno.direccion()]);
    assert_eq!(codigo(&de_otro_archivo), Some(1));
    assert_eq!(codigo(&hacer("a.bin", &[uno.direccion()])), Some(0));
    assert_eq!(fs::read(&destino).unwrap(), antes, "el mismo, byte a byte");

    let los_dos = [uno.direccion(), dos.direccion()];
    assert_eq!(codigo(&hacer("a.bin", &los_dos)), Some(0));
    assert_eq!(textos(&leer(&destino)["url-list"]).len(), 2);
    assert_eq!(nombres(&aparte), ["x.torrent"], "no queda nada de más");

    let sin_carpeta = aparte.path().join("no/existe.torrent");
    let salida = torrent(&mia, "a.bin", &los_dos, &sin_carpeta);
    assert_eq!(codigo(&salida), Some(1));
    assert!(
        quejas(&salida).contains("escribiendo"),
        "{}",
        quejas(&salida)
    );
}

/// Es para repartirlo: lo puede leer quien pueda leer cualquier archivo de quien lo hizo.
#[cfg(unix)]
#[test]
fn no_nace_solo_para_su_dueno() {
    use std::os::unix::fs::PermissionsExt;
    let (mia, uno) = nodo_con(&[("a.bin", b"a")]);
    let (aparte, destino) = en_otra_parte();
    assert_eq!(
        codigo(&torrent(&mia, "a.bin", &[uno.direccion()], &destino)),
        Some(0)
    );
    let corriente = aparte.path().join("corriente");
    fs::write(&corriente, "x").unwrap();
    let permisos = |ruta: &Path| ruta.metadata().unwrap().permissions().mode();
    assert_eq!(permisos(&destino), permisos(&corriente));
}

#[cfg(unix)]
#[test]
fn ctrl_c_lo_deja_sin_escribir_nada() {
    let (mia, mudo) = (
        carpeta_con(&[("a.bin", b"a")]),
        Falso::nuevo(b"a", Mana::Mudo),
    );
    let (aparte, destino) = en_otra_parte();
    let peer = mudo.direccion.to_string();
    let mut programa = super::comun::nodo();
    programa.args(["torrent", "a.bin", "--peer", &peer, "-o"]);
    programa.arg(&destino).arg("--carpeta").arg(mia.path());
    programa
        .env("RUST_LOG", "nodo=debug")
        .stderr(std::process::Stdio::piped());
    let mut hijo = programa.lanzar();
    // Cuando le ha preguntado ya atiende las señales.
    let mut registro = std::io::BufReader::new(hijo.stderr.take().unwrap());
    let mut linea = String::new();
    while !linea.contains("INFO:a.bin") {
        linea.clear();
        let leidos = std::io::BufRead::read_line(&mut registro, &mut linea).unwrap();
        assert!(leidos > 0, "acabó sin preguntar");
    }
    super::comun::senal(hijo.id(), "INT");
    assert_eq!(hijo.wait().unwrap().code(), Some(130));
    assert!(nombres(&aparte).is_empty());
}
