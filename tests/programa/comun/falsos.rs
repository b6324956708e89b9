//! Pares falsos que hablan por el cable: uno honrado y todas las maneras de no serlo. Y un puente
//! hacia un nodo de verdad que avisa de lo que se le pide, para estropear algo en el momento justo.
//!
//! Las huellas se calculan aquí aparte, con `blake3`: son el patrón con que se mide al programa, no
//! su propio código.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use blake3::hazmat::HasherExt;
use socket2::SockRef;

use super::{PACIENCIA, conectar, entrantes};

/// Bytes de un bloque del protocolo.
pub const BLOQUE: usize = 4 << 20;

/// La huella de un archivo, en hexadecimal.
pub fn huella(contenido: &[u8]) -> String {
    blake3::hash(contenido).to_hex().to_string()
}

/// Las huellas de sus bloques, en hexadecimal.
pub fn huellas_de_bloques(contenido: &[u8]) -> Vec<String> {
    if contenido.len() <= BLOQUE {
        return vec![huella(contenido)];
    }
    let una = |(lugar, bloque): (usize, &[u8])| {
        let mut cuenta = blake3::Hasher::new();
        cuenta.set_input_offset((lugar * BLOQUE) as u64);
        cuenta.update(bloque);
        blake3::Hash::from_bytes(cuenta.finalize_non_root())
            .to_hex()
            .to_string()
    };
    contenido.chunks(BLOQUE).enumerate().map(una).collect()
}

/// Lo que se le ha pedido a un par, en orden.
#[derive(Default)]
pub struct Registro {
    pedidos: Mutex<Vec<String>>,
    cambio: Condvar,
}

impl Registro {
    pub fn apuntar(&self, pedido: &str) -> usize {
        let mut pedidos = self.pedidos.lock().unwrap();
        pedidos.push(pedido.to_string());
        self.cambio.notify_all();
        let palabra = pedido.split(':').next().unwrap();
        pedidos.iter().filter(|p| p.starts_with(palabra)).count()
    }

    /// Cuántas veces se pidió algo que empieza así.
    pub fn cuantos(&self, prefijo: &str) -> usize {
        let pedidos = self.pedidos.lock().unwrap();
        pedidos.iter().filter(|p| p.starts_with(prefijo)).count()
    }

    /// Los números de bloque pedidos con `OBTENER`, de menor a mayor.
    pub fn bloques(&self) -> Vec<usize> {
        let pedidos = self.pedidos.lock().unwrap();
        let desde = |p: &String| p.strip_prefix("OBTENER:")?.split(':').next()?.parse().ok();
        let mut bloques: Vec<usize> = pedidos
            .iter()
            .filter_map(desde)
            .map(|desde: usize| desde / BLOQUE)
            .collect();
        bloques.sort_unstable();
        bloques
    }

    /// Espera a que se haya pedido tantas veces algo que empieza así.
    pub fn esperar(&self, prefijo: &str, veces: usize) {
        let limite = Instant::now() + PACIENCIA;
        let mut pedidos = self.pedidos.lock().unwrap();
        while pedidos.iter().filter(|p| p.starts_with(prefijo)).count() < veces {
            let falta = limite.saturating_duration_since(Instant::now());
            assert!(!falta.is_zero(), "nadie pidió {prefijo} {veces} veces");
            pedidos = self.cambio.wait_timeout(pedidos, falta).unwrap().0;
        }
    }
}

/// Una puerta que se abre una vez.
#[derive(Default)]
pub struct Compuerta {
    abierta: Mutex<bool>,
    cambio: Condvar,
}

impl Compuerta {
    /// Una que no retiene a nadie.
    pub fn abierta() -> Arc<Compuerta> {
        let compuerta = Compuerta::default();
        compuerta.abrir();
        Arc::new(compuerta)
    }

    pub fn abrir(&self) {
        *self.abierta.lock().unwrap() = true;
        self.cambio.notify_all();
    }

    /// Espera a que se abra.
    pub fn pasar(&self) {
        let abierta = self.abierta.lock().unwrap();
        drop(
            self.cambio
                .wait_timeout_while(abierta, PACIENCIA, |abierta| !*abierta),
        );
    }
}

/// En qué no es honrado un par, o qué le pasa.
#[derive(Clone, Default)]
pub enum Mana {
    #[default]
    Honrado,
    /// Un byte cambiado en ese bloque.
    ByteCambiado(usize),
    /// Anuncia lo pedido, manda la mitad y cierra.
    Corto,
    /// Anuncia y manda más de lo pedido.
    AnunciaDeMas,
    /// Anuncia lo pedido y manda mil bytes más.
    MandaDeMas,
    /// Anuncia menos de lo pedido.
    AnunciaDeMenos,
    /// La huella de `INFO` no es la del archivo; la lista sí.
    HuellaFalsa,
    /// La huella de `INFO` y su lista (de un solo bloque) cuadran, pero no son las del archivo.
    HuellaInventada,
    /// Una línea de la lista está cambiada.
    ListaFalsa,
    /// Anuncia 10^12 bloques.
    UnBillonDeBloques,
    /// Dice que el archivo mide esto.
    Tamano(u64),
    /// Da una línea de la lista cada pocos segundos.
    ListaGoteada,
    /// Contesta a todo menos a `OBTENER`: se calla.
    MudoEnBloques,
    /// Da tantos bloques y a los siguientes se calla.
    CallaTras(usize),
    /// De cada bloque da un byte cada tanto.
    Gotea(Duration),
    /// Acepta la conexión y se calla.
    Mudo,
    /// Da tantos bloques y desaparece del todo (FIN).
    DesapareceTras(usize),
    /// Da tantos bloques y desaparece del todo (RST).
    RstTras(usize),
    /// Bytes por segundo y conexión.
    Lento(usize),
    /// Tantas veces contesta `INFO:<tamaño>:-` antes de saber la huella.
    Calculando(usize),
    /// Da la huella, pero a `BLOQUES` dice que la calcula, tantas veces.
    BloquesCalculando(usize),
    /// Cierra cada conexión tras una respuesta.
    CierraOciosas,
    /// `ERROR` a todo `OBTENER`.
    Rechaza,
    /// Contesta algo que no es del protocolo.
    Basura,
    /// No da bloques hasta que se le pidan a ese otro.
    TrasPedirA(Arc<Registro>),
    /// No dice qué tiene hasta que a todos esos se les pida eso, ni da bloques hasta que se abra.
    Tardia(Vec<Arc<Registro>>, &'static str, Arc<Compuerta>),
    /// No da bloques hasta que se abra.
    Retenido(Arc<Compuerta>),
    /// Da tantos bloques, y los demás cuando se abra.
    RetenidoTras(usize, Arc<Compuerta>),
    /// Sólo conoce las palabras de la guía.
    Guia,
    /// De la guía, y manda la mitad y un RST.
    GuiaCortada,
    /// De la guía, y manda un byte cada tanto.
    GuiaGoteada(Duration),
    /// De la guía, y no acaba nunca.
    GuiaSinFin,
    /// Sabe las palabras, pero no tiene el archivo.
    NoLoTiene,
    /// No lo tiene con ese nombre, pero por su huella dice tener todos sus bloques, y los da.
    Par,
    /// A los primeros `OBTENER`, tantas veces, contesta ese error; después es honrado.
    TrasVarios(usize, &'static str),
}

/// Un par falso, que escucha en un puerto libre y atiende a cada cual en un hilo.
pub struct Falso {
    pub direccion: SocketAddr,
    pub registro: Arc<Registro>,
}

struct Archivo {
    contenido: Vec<u8>,
    huella: String,
    bloques: Vec<String>,
}

impl Falso {
    pub fn nuevo(contenido: &[u8], mana: Mana) -> Falso {
        Falso::con_datos(contenido, contenido.to_vec(), mana)
    }

    /// Dice las huellas de `contenido`, pero lo que da son estos `datos`.
    pub fn con_datos(contenido: &[u8], datos: Vec<u8>, mana: Mana) -> Falso {
        let escucha = TcpListener::bind("127.0.0.1:0").unwrap();
        let direccion = escucha.local_addr().unwrap();
        let registro = Arc::new(Registro::default());
        let archivo = Arc::new(Archivo {
            contenido: datos,
            huella: huella(contenido),
            bloques: huellas_de_bloques(contenido),
        });
        let suyo = Arc::clone(&registro);
        let vivo = Arc::new(Mutex::new(true));
        thread::spawn(move || {
            for conexion in entrantes(&escucha) {
                if !*vivo.lock().unwrap() {
                    // Desapareció: ni esta ni las siguientes.
                    let _ = SockRef::from(&conexion).set_linger(Some(Duration::ZERO));
                    continue;
                }
                let (archivo, registro, mana, vivo) = (
                    Arc::clone(&archivo),
                    Arc::clone(&suyo),
                    mana.clone(),
                    Arc::clone(&vivo),
                );
                thread::spawn(move || {
                    // Que el otro corte es parte de la prueba.
                    let _ = atender(&conexion, &archivo, &registro, &mana, &vivo);
                });
            }
        });
        Falso {
            direccion,
            registro,
        }
    }
}

fn atender(
    conexion: &TcpStream,
    archivo: &Archivo,
    registro: &Registro,
    mana: &Mana,
    vivo: &Mutex<bool>,
) -> std::io::Result<()> {
    conexion.set_nodelay(true)?;
    let mut lector = BufReader::new(conexion);
    loop {
        let primero = lector.fill_buf()?;
        if primero.starts_with(b"BUSCAR:") || primero.starts_with(b"DESCARGAR:") {
            let peticion = String::from_utf8_lossy(primero).into_owned();
            return hablar_como_la_guia(conexion, &peticion, archivo, registro, mana);
        }
        let mut linea = String::new();
        if lector.read_line(&mut linea)? == 0 {
            return Ok(());
        }
        let pedido = linea.trim_end();
        let vez = registro.apuntar(pedido);
        match mana {
            Mana::Guia | Mana::GuiaCortada | Mana::GuiaGoteada(_) | Mana::GuiaSinFin => {
                return Ok(());
            }
            Mana::Mudo => return callar(conexion),
            _ => {}
        }
        let sigue = responder(conexion, pedido, vez, archivo, mana)?;
        if !sigue {
            *vivo.lock().unwrap() = false;
            return Ok(());
        }
        if matches!(mana, Mana::CierraOciosas) {
            return Ok(());
        }
    }
}

/// Sin cerrar ni decir nada hasta que el otro se canse.
fn callar(mut conexion: &TcpStream) -> std::io::Result<()> {
    let mut nada = [0; 64];
    while conexion.read(&mut nada)? > 0 {}
    Ok(())
}

fn hablar_como_la_guia(
    mut conexion: &TcpStream,
    peticion: &str,
    archivo: &Archivo,
    registro: &Registro,
    mana: &Mana,
) -> std::io::Result<()> {
    registro.apuntar(peticion);
    if peticion.starts_with("BUSCAR:") {
        return conexion.write_all(if matches!(mana, Mana::NoLoTiene | Mana::Par) {
            b"NO"
        } else {
            b"SI"
        });
    }
    conexion.write_all(b"OK")?;
    match mana {
        Mana::GuiaCortada => {
            conexion.write_all(&archivo.contenido[..archivo.contenido.len() / 2])?;
            SockRef::from(conexion).set_linger(Some(Duration::ZERO))
        }
        Mana::GuiaGoteada(cada) => gotear(conexion, archivo.contenido.chunks(1), *cada),
        Mana::GuiaSinFin => loop {
            conexion.write_all(&archivo.contenido)?;
        },
        _ => conexion.write_all(&archivo.contenido),
    }
}

/// Contesta a una petición ampliada. Falso si tras ella el par desaparece.
fn responder(
    mut conexion: &TcpStream,
    pedido: &str,
    vez: usize,
    archivo: &Archivo,
    mana: &Mana,
) -> std::io::Result<bool> {
    let cambiada = "0".repeat(64);
    let (palabra, resto) = pedido.split_once(':').unwrap_or((pedido, ""));
    let texto = match (palabra, mana) {
        (_, Mana::Basura) => "ni idea\n".into(),
        ("INFO" | "BLOQUES" | "OBTENER", Mana::NoLoTiene) => "NOFILE\n".into(),
        ("INFO", Mana::Par) => "NOFILE\n".into(),
        ("TENGO", Mana::Par) => {
            let (largo, ultimo) = (archivo.contenido.len(), archivo.bloques.len() - 1);
            format!("TENGO:{largo}:{}:0-{ultimo}\n", archivo.huella)
        }
        ("INFO", _) => {
            if let Mana::Tardia(otros, que, _) = mana {
                otros.iter().for_each(|otro| otro.esperar(que, 1));
            }
            let huella = match mana {
                Mana::HuellaFalsa | Mana::HuellaInventada => &cambiada,
                Mana::Calculando(veces) if vez <= *veces => "-",
                _ => &archivo.huella,
            };
            let tamano = match mana {
                Mana::Tamano(otro) => *otro,
                _ => archivo.contenido.len() as u64,
            };
            format!("INFO:{tamano}:{huella}\n")
        }
        ("BLOQUES", Mana::UnBillonDeBloques) => {
            conexion.write_all(b"BLOQUES:1000000000000\n")?;
            // Sin fin, hasta que el otro corte.
            let lineas = format!("{cambiada}\n").repeat(1000);
            loop {
                conexion.write_all(lineas.as_bytes())?;
            }
        }
        ("BLOQUES", Mana::BloquesCalculando(veces)) if vez <= *veces => {
            "ERROR:calculando la huella\n".into()
        }
        ("BLOQUES", Mana::HuellaInventada) => format!("BLOQUES:1\n{cambiada}\n"),
        ("BLOQUES", _) => {
            let mut bloques = archivo.bloques.clone();
            if let Mana::ListaFalsa = mana {
                *bloques.last_mut().unwrap() = cambiada;
            }
            let lista = format!("BLOQUES:{}\n{}\n", bloques.len(), bloques.join("\n"));
            if let Mana::ListaGoteada = mana {
                let lineas = lista.split_inclusive('\n').map(str::as_bytes);
                return gotear(conexion, lineas, Duration::from_secs(6)).map(|()| true);
            }
            lista
        }
        ("OBTENER", _) => return dar_bloque(conexion, resto, vez, archivo, mana),
        _ => "ERROR:palabra desconocida\n".into(),
    };
    conexion.write_all(texto.as_bytes())?;
    Ok(true)
}

fn gotear<'a>(
    mut conexion: &TcpStream,
    trozos: impl Iterator<Item = &'a [u8]>,
    cada: Duration,
) -> std::io::Result<()> {
    for trozo in trozos {
        conexion.write_all(trozo)?;
        thread::sleep(cada);
    }
    Ok(())
}

fn dar_bloque(
    mut conexion: &TcpStream,
    resto: &str,
    vez: usize,
    archivo: &Archivo,
    mana: &Mana,
) -> std::io::Result<bool> {
    let mut numeros = resto.splitn(3, ':').map(str::parse::<usize>);
    let (desde, longitud) = (
        numeros.next().unwrap().unwrap(),
        numeros.next().unwrap().unwrap(),
    );
    let hasta = (desde + longitud).min(archivo.contenido.len());
    let mut datos = archivo.contenido[desde..hasta].to_vec();
    let mut anunciado = datos.len();
    match mana {
        Mana::DesapareceTras(n) if vez > *n => return Ok(false),
        Mana::RstTras(n) if vez > *n => {
            SockRef::from(conexion).set_linger(Some(Duration::ZERO))?;
            return Ok(false);
        }
        Mana::TrasVarios(n, motivo) if vez <= *n => {
            writeln!(conexion, "ERROR:{motivo}")?;
            return Ok(true);
        }
        Mana::Rechaza => {
            conexion.write_all(b"ERROR:hoy no\n")?;
            return Ok(true);
        }
        Mana::MudoEnBloques => return callar(conexion).map(|()| true),
        Mana::CallaTras(n) if vez > *n => return callar(conexion).map(|()| true),
        Mana::Gotea(cada) => {
            writeln!(conexion, "OK:{anunciado}")?;
            return gotear(conexion, datos.chunks(1), *cada).map(|()| true);
        }
        Mana::TrasPedirA(otro) => otro.esperar("OBTENER", 1),
        Mana::Retenido(compuerta) | Mana::Tardia(_, _, compuerta) => compuerta.pasar(),
        Mana::RetenidoTras(n, compuerta) if vez > *n => compuerta.pasar(),
        Mana::ByteCambiado(bloque) if desde / BLOQUE == *bloque => {
            let mitad = datos.len() / 2;
            datos[mitad] ^= 1;
        }
        Mana::Corto => {
            writeln!(conexion, "OK:{anunciado}")?;
            conexion.write_all(&datos[..anunciado / 2])?;
            conexion.shutdown(Shutdown::Both)?;
            return Ok(true);
        }
        Mana::AnunciaDeMas => {
            datos.extend([7; 1000]);
            anunciado = datos.len();
        }
        Mana::MandaDeMas => datos.extend([7; 1000]),
        Mana::AnunciaDeMenos => {
            datos.pop();
            anunciado = datos.len();
        }
        _ => {}
    }
    let mut respuesta = format!("OK:{anunciado}\n").into_bytes();
    respuesta.extend(datos);
    if let Mana::Lento(por_segundo) = mana {
        for trozo in respuesta.chunks((por_segundo / 50).max(1)) {
            conexion.write_all(trozo)?;
            thread::sleep(Duration::from_millis(20));
        }
        return Ok(true);
    }
    conexion.write_all(&respuesta)?;
    Ok(true)
}

/// Un puente hacia un nodo de verdad: pasa todo tal cual y, antes de dejar pasar cada línea, llama
/// a `al_pedir`.
pub struct Puente {
    pub direccion: SocketAddr,
    pub registro: Arc<Registro>,
}

impl Puente {
    /// `al_pedir` recibe cada línea que va hacia el nodo y cuántas van de esa palabra (desde 1).
    pub fn nuevo(
        hacia: SocketAddr,
        al_pedir: impl Fn(&str, usize) + Send + Sync + 'static,
    ) -> Puente {
        Puente::con(hacia, false, al_pedir)
    }

    /// Lo mismo con las líneas que vienen del nodo: en un envío, quien pide es él.
    pub fn al_reves(
        hacia: SocketAddr,
        al_pedir: impl Fn(&str, usize) + Send + Sync + 'static,
    ) -> Puente {
        Puente::con(hacia, true, al_pedir)
    }

    fn con(
        hacia: SocketAddr,
        al_reves: bool,
        al_pedir: impl Fn(&str, usize) + Send + Sync + 'static,
    ) -> Puente {
        let escucha = TcpListener::bind("127.0.0.1:0").unwrap();
        let direccion = escucha.local_addr().unwrap();
        let registro = Arc::new(Registro::default());
        let (suyo, al_pedir) = (Arc::clone(&registro), Arc::new(al_pedir));
        thread::spawn(move || {
            for cliente in entrantes(&escucha) {
                let Ok(nodo) = TcpStream::connect(hacia) else {
                    let _ = SockRef::from(&cliente).set_linger(Some(Duration::ZERO));
                    continue;
                };
                let (pide, sirve) = if al_reves {
                    (nodo, cliente)
                } else {
                    (cliente, nodo)
                };
                let (pide, sirve) = (Arc::new(pide), Arc::new(sirve));
                let otra = (Arc::clone(&pide), Arc::clone(&sirve));
                let (registro, al_pedir) = (Arc::clone(&suyo), Arc::clone(&al_pedir));
                thread::spawn(move || {
                    let _ = pasar_lineas(&pide, &sirve, &registro, &*al_pedir);
                    let _ = sirve.shutdown(Shutdown::Write);
                });
                thread::spawn(move || {
                    let _ = std::io::copy(&mut &*otra.1, &mut &*otra.0);
                    let _ = otra.0.shutdown(Shutdown::Both);
                });
            }
        });
        Puente {
            direccion,
            registro,
        }
    }
}

fn pasar_lineas(
    de: &TcpStream,
    mut a: &TcpStream,
    registro: &Registro,
    al_pedir: &dyn Fn(&str, usize),
) -> std::io::Result<()> {
    for linea in BufReader::new(de).lines() {
        let linea = linea?;
        let vez = registro.apuntar(&linea);
        al_pedir(&linea, vez);
        writeln!(a, "{linea}")?;
    }
    Ok(())
}

/// Una conexión con la que se habla a mano, línea a línea.
pub struct Charla {
    lector: BufReader<TcpStream>,
}

impl Charla {
    pub fn con(a: SocketAddr) -> Charla {
        Charla::de(conectar(a))
    }

    pub fn de(conexion: TcpStream) -> Charla {
        conexion.set_read_timeout(Some(PACIENCIA)).unwrap();
        Charla {
            lector: BufReader::new(conexion),
        }
    }

    pub fn decir(&mut self, linea: &str) {
        writeln!(self.lector.get_ref(), "{linea}").unwrap();
    }

    /// La línea siguiente, sin su final; `None` si el otro cerró.
    pub fn oir(&mut self) -> Option<String> {
        let mut linea = String::new();
        match self.lector.read_line(&mut linea) {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(linea.trim_end_matches('\n').to_string()),
        }
    }

    pub fn pedir(&mut self, linea: &str) -> String {
        self.decir(linea);
        self.oir().unwrap_or_default()
    }

    pub fn leer(&mut self, cuantos: usize) -> Vec<u8> {
        let mut datos = vec![0; cuantos];
        self.lector.read_exact(&mut datos).unwrap();
        datos
    }

    pub fn mandar(&mut self, datos: &[u8]) {
        self.lector.get_ref().write_all(datos).unwrap();
    }
}
