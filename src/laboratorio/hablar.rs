//! `nodo hablar`: lo que `nc`, también en Windows. Se manda lo que se teclea y se pinta lo que
//! llega.
//!
//! La guía se prueba con `nc`, que enseña las respuestas pero no cómo llegaron. Con `--bytes` se ve
//! cada lectura con su tamaño y qué frontera de mensaje cruzó: TCP es un flujo, y una lectura no es
//! un mensaje. No sabe qué significan las palabras: vale para cualquier programa que hable TCP.

use std::io::{self, BufRead, IsTerminal, Read, stdin, stdout};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};

use crate::config::Limites;
use crate::consola::pantalla::Pantalla;
use crate::consola::{Consola, Paso};
use crate::fallo::{Fallo, Salida};
use crate::laboratorio::fronteras::Cuentas;
use crate::practicas::chat::charla::Recibida;
use crate::red::conexion::{Conexion, FalloRed, conectar};
use crate::red::hilos::arrancar;
use crate::red::parada::{Nada, cerrar};
use crate::texto::limpiar;

/// Tras mandar el fin, cuánto silencio del otro se aguanta.
const SILENCIO: Duration = Duration::from_secs(10);
/// Cada cuánto se mira si ya pasó.
const PULSO: Duration = Duration::from_secs(1);
/// En una terminal, cuánto espera una línea a medias a que llegue el resto.
const ESPERA_DEL_RESTO: Duration = Duration::from_millis(200);
/// Lo que se lee de una vez, en bytes: como el `recv(4096)` de la guía.
const TROZO: usize = 4096;
/// Lo más largo que se junta antes de pintarlo, y lo más largo que se lee del teclado.
const TOPE: usize = 64 * 1024;
/// Novedades que esperan a pintarse; con más se deja de leer, y el propio TCP frena al otro.
const COLA: usize = 64;
/// Lo que se enseña de cada lectura, en bytes.
const A_LA_VISTA: usize = 60;
/// Cómo acaba la línea que se manda sin su salto: como en `echo`.
const SIN_SALTO: &[u8] = b"\\c";

/// Lo que la ayuda dice además.
pub const AYUDA: &str = "\
Cada línea se manda con su salto; la que acaba en \\c, sin él: BUSCAR:foto.png\\c
De una tubería, lo que llegue se manda tal cual; con --bytes, también línea a línea.
Al acabar la entrada se manda el fin, y se sigue leyendo hasta que el otro cierre (o calle 10 s).";

/// Lo que se cuenta al hilo principal.
enum Recado {
    /// Esto va a salir, de una vez.
    Sale(Vec<u8>),
    /// Esto llegó, de una vez.
    Llega(Vec<u8>),
    /// No se pudo mandar lo tecleado.
    NoSale(String),
    /// No llegará nada más: por qué, y cómo acaba el programa.
    Fin(String, Salida),
}

/// Cómo se enseña lo que pasa.
enum Vista {
    /// Cada lectura y cada escritura, con lo que cruzó.
    Bytes {
        escrituras: Cuentas,
        lecturas: Cuentas,
    },
    /// En una terminal: texto limpio, por líneas.
    Limpio(Recibida),
    /// En una tubería: lo que llega, tal cual.
    TalCual,
}

/// `nodo hablar`: hasta que el otro cierre, calle tras el fin o llegue un Ctrl-C.
pub fn abrir(con: SocketAddr, bytes: bool, consola: &mut Consola) -> Result<Salida, Fallo> {
    let ((conectado, parada), dejado) = consola.trabajar(|encargo| {
        let Limites {
            conectar: plazo,
            testigo,
            ..
        } = Limites::default();
        let conectado = conectar(con, plazo, &testigo, encargo.parada);
        (conectado, encargo.parada.clone())
    })?;
    if dejado {
        return Ok(Salida::Interrumpido);
    }
    let abierta =
        conectado.map_err(|error| Fallo::de_sistema(format!("conectando con {con}"), &error))?;
    let mut modo = Vista::nuevo(bytes);
    let por_lineas = bytes || stdin().is_terminal();
    if stdin().is_terminal() {
        bienvenida(con, &mut consola.pantalla);
    }
    let (contar, novedades) = bounded(COLA);
    let socket = Arc::clone(&abierta.socket);
    let (suyo, dice) = (Arc::clone(&socket), contar.clone());
    // Nadie lo espera: una lectura del teclado no se puede interrumpir. Si está mandando, lo
    // despierta el corte de abajo.
    let teclado = arrancar("teclado", move || {
        if let Err(fallo) = mandar(&suyo, con, por_lineas, &dice) {
            let _ = dice.send(Recado::NoSale(fallo.to_string()));
        }
        cerrar(&suyo, Shutdown::Write);
    })?;
    let (sin_mas, junta) = (teclado.fin.clone(), matches!(modo, Vista::Limpio(_)));
    let lector = arrancar("lector", move || {
        let (por_que, salida) = leer(&socket, con, junta, &sin_mas, &contar);
        // Si nadie lo oye es que ya se acabó.
        let _ = contar.send(Recado::Fin(por_que, salida));
    })?;
    let salida = modo.conversar(&novedades, consola);
    drop(novedades);
    parada.cortar();
    lector.esperar();
    Ok(salida)
}

fn bienvenida(con: SocketAddr, pantalla: &mut Pantalla) {
    let fin = match cfg!(windows) {
        true => "Ctrl-Z y Entrar",
        false => "Ctrl-D",
    };
    pantalla.aviso(format!("[CONECTADO] Con {con}"));
    pantalla.aviso(format!(
        "Cada línea se manda con su salto (acabada en \\c, sin él). {fin}: el fin."
    ));
}

impl Vista {
    fn nuevo(bytes: bool) -> Vista {
        match (bytes, stdout().is_terminal()) {
            (true, _) => Vista::Bytes {
                escrituras: Cuentas::default(),
                lecturas: Cuentas::default(),
            },
            (false, true) => Vista::Limpio(Recibida::default()),
            (false, false) => Vista::TalCual,
        }
    }

    /// Pinta lo que pasa hasta que se acabe. Devuelve cómo acabó.
    fn conversar(&mut self, novedades: &Receiver<Recado>, consola: &mut Consola) -> Salida {
        let mut todo_salio = true;
        while !consola.pantalla.rota() {
            match consola.siguiente(novedades) {
                Paso::Llego(Recado::Fin(por_que, salida)) => {
                    self.despedir(&mut consola.pantalla);
                    consola.pantalla.aviso(format!("[FIN] {por_que}"));
                    return if todo_salio { salida } else { Salida::NoSePudo };
                }
                Paso::Llego(Recado::NoSale(por_que)) => {
                    todo_salio = false;
                    consola
                        .pantalla
                        .aviso(format!("[NO SE MANDÓ TODO] {por_que}"));
                }
                Paso::Llego(novedad) => self.pintar(&novedad, &mut consola.pantalla),
                Paso::Interrumpido => {
                    if stdin().is_terminal() {
                        // El «^C» que escribe la terminal no acaba su línea.
                        consola.pantalla.aviso("");
                    }
                    return Salida::Interrumpido;
                }
                Paso::Acabo | Paso::Escrito(_) | Paso::FinDeEntrada => return Salida::NoSePudo,
            }
        }
        Salida::NoSePudo
    }

    fn pintar(&mut self, novedad: &Recado, pantalla: &mut Pantalla) {
        match (self, novedad) {
            (Vista::Bytes { escrituras, .. }, Recado::Sale(bytes)) => {
                let (cual, que) = (escrituras.contar(bytes), escapar(bytes));
                pantalla.linea(format!("→ escritura {cual}: {que}"));
            }
            (Vista::Bytes { lecturas, .. }, Recado::Llega(bytes)) => {
                let (cual, que) = (lecturas.contar(bytes), escapar(bytes));
                pantalla.linea(format!("← lectura {cual}: {que}"));
            }
            (Vista::Limpio(oido), Recado::Llega(bytes)) => pantalla.tanda(oido.lineas(bytes)),
            (Vista::TalCual, Recado::Llega(bytes)) => pantalla.tal_cual(bytes),
            _ => {}
        }
    }

    /// Lo que quedara por enseñar, y las cuentas.
    fn despedir(&mut self, pantalla: &mut Pantalla) {
        match self {
            Vista::Bytes {
                escrituras,
                lecturas,
            } => pantalla.tanda([
                format!("Mandado: {}", escrituras.total("escritura", "escrituras")),
                format!("Recibido: {}", lecturas.total("lectura", "lecturas")),
            ]),
            Vista::Limpio(oido) => pantalla.tanda(oido.despedida()),
            Vista::TalCual => {}
        }
    }
}

/// Manda lo que se teclea hasta que se acaba.
fn mandar(
    socket: &Arc<TcpStream>,
    con: SocketAddr,
    por_lineas: bool,
    contar: &Sender<Recado>,
) -> Result<(), FalloRed> {
    let mut conexion = Conexion::sin_testigo(socket, con, &Limites::default());
    conexion.prepararse_a_enviar()?;
    let mut entrada = stdin().lock();
    loop {
        // Si no se puede leer, no hay más.
        let leido = tecleado(&mut entrada, por_lineas).unwrap_or_default();
        if leido.is_empty() {
            return Ok(());
        }
        let bytes = match por_lineas {
            true => la_linea(leido),
            false => leido,
        };
        if !bytes.is_empty() {
            // Se cuenta antes: la respuesta podría adelantarse.
            let _ = contar.send(Recado::Sale(bytes.clone()));
            conexion.escribir_datos(&bytes)?;
        }
    }
}

/// Lo siguiente: una línea, o lo que haya en la tubería. Nada es el fin.
fn tecleado(entrada: &mut impl BufRead, por_lineas: bool) -> io::Result<Vec<u8>> {
    let mut leido = Vec::new();
    if por_lineas {
        entrada.take(TOPE as u64).read_until(b'\n', &mut leido)?;
    } else {
        leido.extend_from_slice(entrada.fill_buf()?);
        entrada.consume(leido.len());
    }
    Ok(leido)
}

/// Una línea tecleada, como se manda: con `\n`, o sin él si acaba en [`SIN_SALTO`].
fn la_linea(mut leida: Vec<u8>) -> Vec<u8> {
    if cfg!(windows) && leida.ends_with(b"\r\n") {
        leida.truncate(leida.len() - 2);
        leida.push(b'\n');
    }
    let cuerpo = leida.strip_suffix(b"\n").unwrap_or(&leida);
    match cuerpo.strip_suffix(SIN_SALTO) {
        Some(sin_salto) => sin_salto.to_vec(),
        None => leida,
    }
}

/// Cuenta lo que llega hasta que el otro cierra, o calla demasiado cuando ya no se le manda nada
/// (`sin_mas`). Con `junta`, una línea a medias espera un poco al resto. Devuelve por qué se acabó.
fn leer(
    socket: &Arc<TcpStream>,
    con: SocketAddr,
    junta: bool,
    sin_mas: &Receiver<Nada>,
    contar: &Sender<Recado>,
) -> (String, Salida) {
    let mut conexion = Conexion::sin_testigo(socket, con, &Limites::default());
    let (mut trozo, mut junto) = (vec![0; TROZO], Vec::new());
    let (mut llego_algo, mut callado_desde) = (false, None);
    loop {
        let plazo = if junto.is_empty() {
            PULSO
        } else {
            ESPERA_DEL_RESTO
        };
        let leido = conexion.leer_datos(&mut trozo, plazo);
        let nuevos = *leido.as_ref().unwrap_or(&0);
        junto.extend_from_slice(&trozo[..nuevos]);
        let espera = junta && nuevos > 0 && junto.len() < TOPE && junto.last() != Some(&b'\n');
        if !junto.is_empty() && !espera {
            let juntos = std::mem::take(&mut junto);
            if contar.send(Recado::Llega(juntos)).is_err() {
                return ("fin".into(), Salida::Bien);
            }
        }
        match leido {
            Ok(0) => return (format!("{con} cerró la conexión"), Salida::Bien),
            Ok(_) => (llego_algo, callado_desde) = (true, None),
            Err(FalloRed::Vencio(_)) if sin_mas.try_recv() == Err(TryRecvError::Empty) => {}
            Err(FalloRed::Vencio(_)) => {
                let desde = *callado_desde.get_or_insert_with(Instant::now);
                if desde.elapsed() >= SILENCIO {
                    let salida = if llego_algo {
                        Salida::Bien
                    } else {
                        Salida::NoSePudo
                    };
                    let cuanto = SILENCIO.as_secs();
                    return (
                        format!("{con} lleva {cuanto} s sin decir nada ni cerrar"),
                        salida,
                    );
                }
            }
            Err(fallo) => return (format!("con {con}: {fallo}"), Salida::NoSePudo),
        }
    }
}

/// Los bytes, como se escribirían en un programa: se ven los saltos y lo que no son letras. Con
/// tope.
fn escapar(bytes: &[u8]) -> String {
    let mut escrito = String::new();
    for trozo in bytes.utf8_chunks() {
        for letra in trozo.valid().chars() {
            match letra {
                '\\' | '\n' | '\r' | '\t' => escrito.extend(letra.escape_default()),
                _ if limpiar(letra.encode_utf8(&mut [0; 4])).is_empty() => {
                    escrito.extend(letra.escape_unicode());
                }
                _ => escrito.push(letra),
            }
            if escrito.len() >= A_LA_VISTA {
                return escrito + "…";
            }
        }
        let rotos = trozo.invalid().iter();
        escrito.extend(rotos.map(|byte| format!("\\x{byte:02x}")));
    }
    escrito
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn una_linea_que_acaba_en_c_se_manda_sin_salto() {
        let mandada = |escrita: &str| String::from_utf8(la_linea(escrita.into())).unwrap();
        assert_eq!(mandada("LISTAR\n"), "LISTAR\n");
        assert_eq!(mandada("BUSCAR:x\\c\n"), "BUSCAR:x");
        assert_eq!(mandada("\\c\n"), "");
        assert_eq!(mandada("sin final"), "sin final");
        assert_eq!(mandada("sin final\\c"), "sin final");
        assert_eq!(mandada("\\c en medio\n"), "\\c en medio\n");
    }

    #[test]
    fn de_una_tuberia_sale_lo_mismo_y_por_lineas_cada_una_aparte() {
        let escrito = b"uno\r\ndos\nfin";
        let leer = |por_lineas| {
            let mut entrada = &escrito[..];
            let trozos = std::iter::from_fn(|| tecleado(&mut entrada, por_lineas).ok());
            let trozos = trozos.take_while(|trozo| !trozo.is_empty());
            trozos.collect::<Vec<_>>()
        };
        assert_eq!(leer(false), [escrito]);
        assert_eq!(leer(true), [&b"uno\r\n"[..], b"dos\n", b"fin"]);
    }

    #[test]
    fn los_bytes_se_ven_y_no_tocan_la_terminal() {
        assert_eq!(escapar("SI\r\n\tñ\\".as_bytes()), "SI\\r\\n\\tñ\\\\");
        assert_eq!(escapar(b"a\xff\x1b[2J"), "a\\xff\\u{1b}[2J");
        assert!(escapar(&[b'x'; TROZO]).len() < 100);
    }

    proptest! {
        #[test]
        fn lo_que_se_pinta_ya_esta_limpio(bytes in any::<Vec<u8>>()) {
            let escrito = escapar(&bytes);
            prop_assert_eq!(limpiar(&escrito), escrito);
        }
    }
}
