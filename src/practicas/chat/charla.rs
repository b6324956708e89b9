//! Una charla con un par: un hilo lee lo que dice, otro le escribe. Es la misma en el servidor y en
//! el cliente.
//!
//! El documento también usa un hilo por sentido, pero imprime desde los dos, da por hecho que cada
//! `recv` trae letras enteras (una `ñ` partida entre dos paquetes lo tumba), no sabe qué hacer con
//! un par que no lee y no se entera de que otro desapareció. Por el cable va sólo lo escrito y
//! `\n`; lo que llega se cuenta al hilo principal nada más llegar, traiga o no fin de línea.
//!
//! No sabe cuántas charlas hay ni escribe en pantalla (`chat/mod.rs`).

use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select, unbounded};
use log::debug;
use socket2::{SockRef, TcpKeepalive};

use crate::config::Limites;
use crate::fallo::motivo;
use crate::red::conexion::{Conexion, FalloRed};
use crate::red::hilos::arrancar_en;
use crate::red::parada::{Nada, cerrar};
use crate::texto::letra_a_medias;

/// Lo que se lee de un par de una vez, en bytes.
const TROZO: usize = 4096;
/// Lo que puede esperar a que un par lo lea, en bytes. Pegar un texto largo cabe.
const TOPE_DEL_BUZON: usize = 1 << 20;
/// Lo que ocupa una línea además de sus letras: mil líneas vacías también ocupan.
const PESO_DE_UNA_CARTA: usize = 64;
/// Tras cuánto silencio el sistema pregunta al otro si sigue ahí, cada cuánto insiste y cuántas
/// veces.
const SIGUES_AHI: (Duration, Duration, u32) = (Duration::from_secs(15), Duration::from_secs(5), 3);
/// Cuánto se reenvía lo que el otro no confirma: lo mismo que se tarda en preguntar sin respuesta.
#[cfg(any(target_os = "linux", target_os = "android"))]
const SIN_CONFIRMAR: Duration = Duration::from_secs(30);
/// Cada cuánto deja de esperar una lectura para volver a empezar: en una charla, callar no es un
/// fallo.
const RATO: Duration = Duration::from_secs(3600);
/// Cuánto espera una línea a que llegue el resto de una letra partida entre dos paquetes.
const ESPERA_DE_MEDIA_LETRA: Duration = Duration::from_secs(1);

/// Lo que una charla cuenta al hilo principal.
#[derive(Debug)]
pub enum Novedad {
    /// Empieza una charla, y este es su buzón.
    Llega(SocketAddr, Buzon),
    /// Alguien dice estas líneas (tal como llegaron: se limpian al pintarlas).
    Dice(SocketAddr, Vec<String>),
    /// La conexión se acabó o se rompió (por qué).
    Rota(SocketAddr, String),
}

/// Por donde se deja a un par lo que se le quiere decir. Al soltarlo, el par recibe el fin.
#[derive(Debug)]
pub struct Buzon {
    entrar: Sender<Arc<str>>,
    ocupado: Arc<AtomicUsize>,
}

/// El otro lado de un buzón: lo que hay que mandar, según llega. Se acaba cuando sueltan el buzón,
/// o cuando ya no hay quien lea la respuesta.
pub struct Cartas {
    salir: Receiver<Arc<str>>,
    fin: Receiver<Nada>,
    ocupado: Arc<AtomicUsize>,
}

impl Buzon {
    /// Un buzón vacío, que sirve hasta el `fin`.
    pub fn nuevo(fin: Receiver<Nada>) -> (Buzon, Cartas) {
        // El tope no es de cartas sino de bytes: lo lleva `ocupado`.
        let (entrar, salir) = unbounded();
        let ocupado = Arc::<AtomicUsize>::default();
        let cartas = Cartas {
            salir,
            fin,
            ocupado: Arc::clone(&ocupado),
        };
        (Buzon { entrar, ocupado }, cartas)
    }

    /// Deja una carta sin esperar a nadie. Falso si no cabe: el par no lee. Al `sordo` no le cabe
    /// nada hasta que lea la mitad de lo que tiene: si no, le llegarían las líneas cortas y las
    /// largas no.
    pub fn dejar(&self, carta: &Arc<str>, sordo: bool) -> bool {
        let tope = TOPE_DEL_BUZON / if sordo { 2 } else { 1 };
        if self.ocupado.load(Ordering::Relaxed) + peso(carta) > tope {
            return false;
        }
        self.ocupado.fetch_add(peso(carta), Ordering::Relaxed);
        // Si ya no hay quien escriba, su «conexión rota» viene de camino.
        let _ = self.entrar.send(Arc::clone(carta));
        true
    }
}

impl Iterator for Cartas {
    type Item = Arc<str>;

    fn next(&mut self) -> Option<Arc<str>> {
        let carta = select! {
            recv(self.salir) -> carta => carta.ok()?,
            // Lo que ya estaba en el buzón sale igual.
            recv(self.fin) -> _ => self.salir.try_recv().ok()?,
        };
        self.ocupado.fetch_sub(peso(&carta), Ordering::Relaxed);
        Some(carta)
    }
}

fn peso(carta: &str) -> usize {
    carta.len() + PESO_DE_UNA_CARTA
}

/// Charla con `otro` hasta que cierre o se corte. `contar` frena: si el hilo principal no da abasto
/// se deja de leer, y el propio TCP frena a quien manda; en un chat no se pierde nada de lo dicho.
pub fn gestionar_charla(mut conexion: Conexion, contar: &Sender<Novedad>) {
    let otro = conexion.otro();
    let socket = &Arc::clone(conexion.socket());
    if let Err(error) = notar_si_desaparece(socket) {
        debug!("{otro}: {}", motivo(&error));
    }
    let (acabar, fin) = bounded(0);
    let (buzon, cartas) = Buzon::nuevo(fin);
    if contar.send(Novedad::Llega(otro, buzon)).is_err() {
        return; // Ya estamos saliendo.
    }
    thread::scope(|ambito| {
        let escribe = format!("escribe-{otro}");
        let escritor = arrancar_en(ambito, &escribe, || escribir(socket, otro, cartas, contar));
        let por_que = match escritor {
            Ok(_) => leer(&mut conexion, contar),
            Err(fallo) => fallo.to_string(),
        };
        // Si nadie lo oye es que estamos saliendo.
        let _ = contar.send(Novedad::Rota(otro, por_que));
        drop(acabar);
    });
}

/// Un cable desenchufado no manda ningún aviso: que el sistema pregunte si el otro sigue ahí.
/// Mientras haya algo sin confirmar no pregunta, reenvía, y Linux lo haría durante un cuarto de
/// hora; donde ese plazo no se puede cambiar, desaparecer con algo a medias se nota cuando el
/// sistema se cansa.
fn notar_si_desaparece(socket: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(socket);
    let (silencio, insistir, veces) = SIGUES_AHI;
    let preguntas = TcpKeepalive::new().with_time(silencio);
    socket.set_tcp_keepalive(&preguntas.with_interval(insistir).with_retries(veces))?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(SIN_CONFIRMAR))?;
    Ok(())
}

/// Cuenta lo que dice el par hasta que deja de hablar. Devuelve por qué.
fn leer(conexion: &mut Conexion, contar: &Sender<Novedad>) -> String {
    let otro = conexion.otro();
    let mut oido = Recibida::default();
    let mut trozo = vec![0; TROZO];
    loop {
        let plazo = match oido.espera() {
            true => ESPERA_DE_MEDIA_LETRA,
            false => RATO,
        };
        let (lineas, fin) = match conexion.leer_datos(&mut trozo, plazo) {
            Ok(0) => (oido.despedida(), Some(como_acabo(conexion.socket()))),
            Ok(leido) => (oido.lineas(&trozo[..leido]), None),
            Err(FalloRed::Vencio(_)) => (oido.dejar_de_esperar(), None),
            Err(fallo) => (oido.despedida(), Some(por_que(fallo))),
        };
        if !lineas.is_empty() && contar.send(Novedad::Dice(otro, lineas)).is_err() {
            return "fin".into();
        }
        if let Some(por_que) = fin {
            return por_que;
        }
    }
}

/// Un error del socket se da una vez: si se lo llevó quien escribe, quien lee ve un final como el
/// de quien cierra, pero ya no hay conexión.
fn como_acabo(socket: &TcpStream) -> String {
    match socket.peer_addr() {
        Ok(_) => "la cerró el otro lado".into(),
        Err(_) => FalloRed::Cortada.to_string(),
    }
}

/// Por qué se rompió. El sistema llama «plazo» o «sin camino» a que el otro no contesta.
fn por_que(fallo: FalloRed) -> String {
    match fallo {
        FalloRed::Sistema(error) if desaparecio(&error) => {
            "dejó de contestar (¿se apagó, o se quedó sin red?)".into()
        }
        fallo => fallo.to_string(),
    }
}

fn desaparecio(error: &io::Error) -> bool {
    /// El `WSAENETRESET` de Windows, que la biblioteca estándar no nombra.
    const SIN_RESPUESTA: Option<i32> = Some(10052);
    let clases = [ErrorKind::TimedOut, ErrorKind::HostUnreachable];
    clases.contains(&error.kind()) || cfg!(windows) && error.raw_os_error() == SIN_RESPUESTA
}

/// Manda lo que caiga en el buzón hasta que lo suelten o se acabe quien lee, y entonces el fin.
fn escribir(
    socket: &Arc<TcpStream>,
    otro: SocketAddr,
    mut cartas: Cartas,
    contar: &Sender<Novedad>,
) {
    let mut conexion = Conexion::sin_testigo(socket, otro, &Limites::default());
    let preparada = conexion.prepararse_a_enviar();
    let mut mandar = |carta: Arc<str>| conexion.escribir_texto(&carta);
    let escrito = preparada.and_then(|()| cartas.try_for_each(&mut mandar));
    match escrito {
        Ok(()) => cerrar(socket, Shutdown::Write),
        Err(fallo) => {
            let _ = contar.send(Novedad::Rota(otro, por_que(fallo)));
            // Despierta a quien lee.
            cerrar(socket, Shutdown::Both);
        }
    }
}

/// De los bytes que llegan a las líneas que se enseñan.
#[derive(Default)]
pub struct Recibida {
    /// Lo que aún no se ha enseñado: nada, o una línea que acaba a mitad de una letra (dos trozos
    /// como mucho).
    pendiente: Vec<u8>,
    /// Lo último que se enseñó no acababa en fin de línea.
    abierta: bool,
}

impl Recibida {
    /// Lo que se puede enseñar ya, por líneas. Un trozo sin fin de línea se enseña igual: puede que
    /// nunca llegue. Pero si acaba a mitad de una letra lo que falta viene de camino, y se le
    /// espera con su línea para no partirla.
    pub fn lineas(&mut self, bytes: &[u8]) -> Vec<String> {
        self.pendiente.extend_from_slice(bytes);
        let entero = self.pendiente.len() - letra_a_medias(&self.pendiente);
        let espera = entero < self.pendiente.len() && self.pendiente.len() <= TROZO;
        let ultimo_fin = self.pendiente.iter().rposition(|&b| b == b'\n');
        let ultima_linea = ultimo_fin.map_or(0, |fin| fin + 1);
        self.mostrar(if espera { ultima_linea } else { entero })
    }

    /// ¿Hay algo legible esperando al resto de una letra?
    fn espera(&self) -> bool {
        self.pendiente.len() > letra_a_medias(&self.pendiente)
    }

    /// La letra no acaba de llegar: lo que va delante no espera más.
    fn dejar_de_esperar(&mut self) -> Vec<String> {
        self.mostrar(self.pendiente.len() - letra_a_medias(&self.pendiente))
    }

    /// Lo que quedara a medias cuando ya no va a llegar más.
    pub fn despedida(&mut self) -> Vec<String> {
        self.mostrar(self.pendiente.len())
    }

    fn mostrar(&mut self, hasta: usize) -> Vec<String> {
        let texto = String::from_utf8_lossy(&self.pendiente[..hasta]).into_owned();
        self.pendiente.drain(..hasta);
        self.en_lineas(&texto)
    }

    fn en_lineas(&mut self, texto: &str) -> Vec<String> {
        if texto.is_empty() {
            return Vec::new();
        }
        // Este fin de línea es el de lo que ya se enseñó: no es una línea vacía.
        let resto = texto.strip_prefix('\n');
        let resto = resto.or_else(|| texto.strip_prefix("\r\n"));
        let texto = resto.filter(|_| self.abierta).unwrap_or(texto);
        self.abierta = !texto.is_empty() && !texto.ends_with('\n');
        texto.lines().map(str::to_string).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::red::maquina::aceptar;
    use proptest::prelude::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::time::Instant;

    fn oir(trozos: &[&[u8]]) -> Vec<String> {
        let mut oido = Recibida::default();
        let mut lineas: Vec<String> = trozos.iter().flat_map(|trozo| oido.lineas(trozo)).collect();
        lineas.extend(oido.despedida());
        lineas
    }

    #[test]
    fn una_letra_partida_entre_dos_paquetes_se_recompone() {
        assert_eq!(oir(&[b"ma\xc3", b"\xb1ana"]), ["mañana"]);
        assert_eq!(
            oir(&[b"una\ndos\xc3", b"\xb1", b"tres"]),
            ["una", "dosñ", "tres"]
        );
        assert_eq!(oir(&[b"\xf0", b"\x9f", b"\x99", b"\x82"]), ["🙂"]);
        assert_eq!(oir(&[b"a\xff\xfeb"]), ["a\u{fffd}\u{fffd}b"]);
        assert_eq!(oir(&[b"a\xc3", b"b"]), ["a\u{fffd}b"]);
        assert_eq!(oir(&[b"fin\xf0\x9f"]), ["fin\u{fffd}"]);
    }

    #[test]
    fn por_media_letra_no_se_espera_siempre() {
        let mut oido = Recibida::default();
        assert!(oido.lineas(b"ma\xc3").is_empty() && oido.espera());
        assert_eq!(oido.dejar_de_esperar(), ["ma"]);
        assert!(!oido.espera());
        assert_eq!(oido.lineas(b"\xb1ana"), ["ñana"]);
    }

    #[test]
    fn se_ensena_lo_que_llega_con_o_sin_fin_de_linea() {
        assert_eq!(oir(&[b"hola", b"que tal"]), ["hola", "que tal"]);
        assert_eq!(oir(&[b"ho", b"la\n", b"dos\r\n"]), ["ho", "la", "dos"]);
        assert_eq!(
            oir(&[b"hola", b"\n", b"dos"]),
            ["hola", "dos"],
            "el \\n cierra lo ya enseñado"
        );
        assert_eq!(
            oir(&[b"hola\n", b"\n"]),
            ["hola", ""],
            "una línea vacía de verdad"
        );
        assert_eq!(oir(&[b"a\nb\n\nc\n"]), ["a", "b", "", "c"]);
    }

    proptest! {
        #[test]
        fn partido_por_donde_sea_dice_lo_mismo(
            texto in any::<String>(),
            corte in any::<prop::sample::Index>(),
        ) {
            let bytes = texto.as_bytes();
            let (uno, dos) = bytes.split_at(corte.index(bytes.len() + 1));
            let junto: String = oir(&[uno, dos]).concat();
            prop_assert_eq!(junto, texto.lines().collect::<String>());
        }

        #[test]
        fn lo_que_se_guarda_tiene_tope(trozos in prop::collection::vec(any::<u8>(), 0..6)) {
            let mut oido = Recibida::default();
            for ultimo in trozos {
                let mut trozo = vec![b'x'; TROZO];
                trozo[TROZO - 1] = ultimo;
                oido.lineas(&trozo);
                prop_assert!(oido.pendiente.len() <= TROZO);
            }
        }
    }

    fn pareja() -> (Arc<TcpStream>, TcpStream) {
        let escucha = TcpListener::bind("127.0.0.1:0").unwrap();
        let suyo = TcpStream::connect(escucha.local_addr().unwrap()).unwrap();
        suyo.set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        (Arc::new(aceptar(&escucha).unwrap().0), suyo)
    }

    fn conexion(socket: &Arc<TcpStream>, otro: SocketAddr) -> Conexion {
        Conexion::aceptada(socket, otro, &Limites::default())
    }

    #[test]
    fn el_sistema_pregunta_por_el_que_calla_y_se_dice_la_verdad_de_quien_desaparece() {
        let (nuestro, suyo) = pareja();
        let (contar, novedades) = bounded(8);
        let otro = suyo.local_addr().unwrap();
        let suya = Arc::clone(&nuestro);
        let charla = thread::spawn(move || gestionar_charla(conexion(&suya, otro), &contar));
        // Con el buzón dentro: al soltarlo, los dos lados cerrarían a la vez.
        let _llega = novedades.recv().unwrap();
        let socket = SockRef::from(&*nuestro);
        assert!(socket.keepalive().unwrap());
        // En Windows se ponen igual, pero no se pueden mirar.
        #[cfg(unix)]
        {
            let silencio = socket.tcp_keepalive_time().unwrap();
            let insistir = socket.tcp_keepalive_interval().unwrap();
            let veces = socket.tcp_keepalive_retries().unwrap();
            assert!(silencio + insistir * veces <= Duration::from_secs(60));
        }
        #[cfg(any(target_os = "linux", target_os = "android"))]
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(SIN_CONFIRMAR));
        drop(suyo);
        let fin = novedades.iter().find_map(|novedad| match novedad {
            Novedad::Rota(_, por_que) => Some(por_que),
            _ => None,
        });
        assert_eq!(fin.as_deref(), Some("la cerró el otro lado"));
        charla.join().unwrap();
        for clase in [ErrorKind::TimedOut, ErrorKind::HostUnreachable] {
            let por_que = por_que(FalloRed::Sistema(clase.into()));
            assert!(por_que.starts_with("dejó de contestar"), "{por_que}");
        }
        assert_eq!(por_que(FalloRed::Cortada), "se cortó a la mitad");
    }

    #[test]
    fn va_y_viene_solo_lo_escrito_y_al_soltar_el_buzon_llega_el_fin() {
        let (nuestro, mut suyo) = pareja();
        let otro = suyo.local_addr().unwrap();
        let (contar, novedades) = bounded(8);
        thread::scope(|ambito| {
            ambito.spawn(|| gestionar_charla(conexion(&nuestro, otro), &contar));
            let Novedad::Llega(_, buzon) = novedades.recv().unwrap() else {
                panic!()
            };
            assert!(buzon.dejar(&"hola\n".into(), false));
            suyo.write_all(b"adios").unwrap();
            assert!(
                matches!(novedades.recv().unwrap(), Novedad::Dice(_, lineas) if lineas == ["adios"])
            );
            drop(buzon);
            let mut leido = String::new();
            suyo.read_to_string(&mut leido).unwrap();
            assert_eq!(leido, "hola\n");
            drop(suyo);
            assert!(matches!(novedades.recv().unwrap(), Novedad::Rota(..)));
        });
    }

    #[test]
    fn lo_dicho_justo_antes_de_cerrar_se_oye() {
        let (nuestro, mut suyo) = pareja();
        let otro = suyo.local_addr().unwrap();
        suyo.write_all(b"lo ultimo").unwrap();
        drop(suyo);
        let (contar, novedades) = bounded(8);
        let charla = thread::spawn(move || gestionar_charla(conexion(&nuestro, otro), &contar));
        let oidos: Vec<Novedad> = novedades
            .iter()
            .map(|s| {
                if let Novedad::Llega(a, _) = s {
                    Novedad::Dice(a, vec![])
                } else {
                    s
                }
            })
            .collect();
        assert!(
            matches!(&oidos[1], Novedad::Dice(_, lineas) if lineas == &["lo ultimo"]),
            "{oidos:?}"
        );
        assert!(matches!(&oidos[2], Novedad::Rota(..)));
        charla.join().unwrap();
    }

    #[test]
    fn si_nadie_oye_se_deja_de_leer_y_al_irse_el_que_oye_termina() {
        let (nuestro, mut suyo) = pareja();
        let otro = suyo.local_addr().unwrap();
        suyo.set_write_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        let (contar, novedades) = bounded(2);
        let charla = thread::spawn(move || gestionar_charla(conexion(&nuestro, otro), &contar));
        let mandado = suyo.write_all(&vec![b'x'; 64 << 20]);
        assert!(
            mandado.is_err(),
            "sin nadie que lea, el TCP tiene que frenar"
        );
        let antes = Instant::now();
        drop(novedades);
        drop(suyo);
        charla.join().unwrap();
        assert!(antes.elapsed() < Duration::from_secs(5));
    }
}
