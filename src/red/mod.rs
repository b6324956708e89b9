//! El servidor de la guía: `atender_conexiones`, el único bucle de `accept` del proyecto.
//!
//! Es la función del mismo nombre de `nodo_p2p.py`: aceptar y dar la conexión a un hilo propio. La usan el nodo, el
//! balanceador, los backends, el maestro y el chat; sólo cambia `gestionar`. Lo que la guía no tiene está aquí al
//! lado: cuántas conexiones caben (`Permiso`), cómo se sobrevive sin descriptores y cómo se sale ([`Parada`]).
//!
//! No sabe qué se dice por las conexiones, ni escribe en pantalla.

pub mod cancelacion;
pub mod conexion;
pub mod hilos;
pub mod turnos;

use std::collections::HashMap;
use std::io;
use std::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket,
};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Builder, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded, select};
use log::{debug, warn};
use socket2::SockRef;

use crate::fallo::Fallo;
use crate::red::hilos::Hilos;

/// Cuántas conexiones pueden esperar en la cola de `listen`. `TcpListener::bind` la deja en 128; con más clientes
/// a la vez se pierde el SYN y el cliente no lo repite hasta un segundo después.
const COLA_DE_LISTEN: i32 = 1024;
/// Cuánto se espera cuando `accept` falla (sin descriptores): que acabe una conexión, o esto como mucho.
const PAUSA_SIN_DESCRIPTORES: Duration = Duration::from_millis(200);
/// Cuánto se espera, al salir, a que terminen los envíos en curso.
pub const DESPEDIDA: Duration = Duration::from_secs(5);
/// Cuánto se espera en silencio antes de decir que hay envíos en curso.
const DESPEDIDA_CALLADA: Duration = Duration::from_millis(200);
/// Descriptores que no son de conexiones: los tres del proceso, la carpeta, el que escucha, la reserva y las
/// conexiones que abre el propio nodo.
const DESCRIPTORES_PROPIOS: usize = 32;

/// Abre el puerto `puerto` (0 = el que esté libre) en `ip`: el `bind` y el `listen` de la guía.
///
/// # Errores
/// El puerto está en uso, la IP no es de esta máquina o no hay permiso; la frase dice qué hacer.
pub fn abrir_puerto(ip: IpAddr, puerto: u16) -> io::Result<TcpListener> {
    let escucha = TcpListener::bind((ip, puerto))?;
    SockRef::from(&escucha).listen(COLA_DE_LISTEN)?;
    Ok(escucha)
}

/// Abre el puerto de `pedida` y dice en qué dirección quedó (si se pidió el 0, con el que tocó). `opcion` es la que
/// lo elige en la línea de órdenes.
///
/// # Errores
/// Los de [`abrir_puerto`], ya contados en una frase.
pub fn abrir_en(pedida: SocketAddr, opcion: &str) -> Result<(TcpListener, SocketAddr), Fallo> {
    let abrir = || {
        let escucha = abrir_puerto(pedida.ip(), pedida.port())?;
        let direccion = escucha.local_addr()?;
        Ok((escucha, direccion))
    };
    abrir().map_err(|e| fallo_al_abrir(pedida, opcion, &e))
}

/// La frase para un puerto que no se pudo abrir; `opcion` es la que lo elige («--puerto»).
pub fn fallo_al_abrir(direccion: SocketAddr, opcion: &str, error: &io::Error) -> Fallo {
    let (ip, puerto) = (direccion.ip(), direccion.port());
    Fallo::nuevo(match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "el puerto {puerto} ya está en uso en {ip}: cierra el programa que lo tiene o elige otro con {opcion} (0 = el que esté libre)"
        ),
        io::ErrorKind::PermissionDenied => format!(
            "no hay permiso para abrir el puerto {puerto}: elige con {opcion} uno de 1024 en adelante"
        ),
        io::ErrorKind::AddrNotAvailable => {
            format!("la IP {ip} no es de esta máquina: elige una que lo sea")
        }
        _ => return Fallo::de_sistema(format!("abriendo el puerto {puerto}"), error),
    })
}

/// Acepta conexiones hasta que se avise la `parada` y da cada una a un hilo propio, que llama a `gestionar`.
///
/// `escucha` ya está enlazado: quien llama decide el puerto. Vuelve cuando no queda ninguna conexión viva: al avisar
/// deja libre el puerto al instante, despierta a las ociosas y da a los envíos en curso [`DESPEDIDA`] para terminar.
pub fn atender_conexiones<G>(escucha: TcpListener, parada: &Parada, gestionar: G)
where
    G: Fn(&Arc<TcpStream>, SocketAddr) + Sync,
{
    let gestionar = &gestionar;
    thread::scope(|ambito| {
        let hilos = Hilos::nuevos(ambito, "conexion");
        if parada.abrir_puerta(&escucha) {
            // El permiso va antes que `accept`: lo que no cabe espera en la cola de `listen`.
            while let Some(permiso) = parada.pedir_permiso() {
                match escucha.accept() {
                    Ok(_) if parada.avisada() => break,
                    Ok((conexion, desde)) => {
                        let conexion = permiso.dejar_pasar(conexion);
                        let lanzado = hilos.lanzar(move || {
                            gestionar(&conexion, desde);
                            drop(conexion);
                            drop(permiso);
                        });
                        lanzado.unwrap_or_else(|e| {
                            warn!("no se pudo crear un hilo para {desde}: {e}")
                        });
                    }
                    Err(error) => parada.descansar(&error),
                }
            }
        }
        drop(escucha);
        parada.despedir();
    });
}

/// La señal de parada de un servidor y la lista de quién está dentro.
///
/// Se comparte entre el hilo que acepta, los de conexión y quien manda parar.
pub struct Parada {
    avisada: AtomicBool,
    tope: usize,
    dentro: Mutex<Dentro>,
    cambio: Condvar,
}

#[derive(Default)]
struct Dentro {
    permisos: usize,
    siguiente: u64,
    /// Hilos que esperan un cambio. Avisar cuesta una llamada al sistema aunque no espere nadie.
    esperando: usize,
    vivas: HashMap<u64, Arc<TcpStream>>,
    /// Los sockets que las conexiones abrieron por su cuenta ([`Parada::acompanar`]).
    acompanantes: HashMap<u64, Arc<TcpStream>>,
    cortadas: bool,
    puerta: Option<Puerta>,
}

/// Cómo despertar a quien espera en `accept`: conectándose a su dirección.
struct Puerta {
    direccion: SocketAddr,
    /// Un descriptor que se suelta justo antes de conectarse, por si no queda ninguno.
    _reserva: TcpListener,
}

impl Parada {
    /// Una parada sin avisar, con sitio para `tope` conexiones a la vez (una como mínimo).
    pub fn nueva(tope: usize) -> Parada {
        Parada {
            avisada: AtomicBool::new(false),
            tope: tope.max(1),
            dentro: Mutex::default(),
            cambio: Condvar::new(),
        }
    }

    /// ¿Hay que ir terminando?
    pub fn avisada(&self) -> bool {
        self.avisada.load(Ordering::SeqCst)
    }

    /// Cuántas conexiones hay dentro ahora.
    pub fn conexiones(&self) -> usize {
        self.dentro().vivas.len()
    }

    /// Manda parar: despierta a quien espera un permiso y a quien espera en `accept`.
    pub fn avisar(&self) {
        let mut dentro = self.dentro();
        self.avisada.store(true, Ordering::SeqCst);
        let puerta = dentro.puerta.take();
        drop(dentro);
        self.cambio.notify_all();
        if let Some(Puerta {
            direccion,
            _reserva,
        }) = puerta
        {
            drop(_reserva);
            // Si no se puede conectar es que hay otras conexiones en la cola, y una de ellas lo despertará.
            let timbre = TcpStream::connect_timeout(&direccion, Duration::from_secs(1));
            debug!(
                "parada: timbre en {direccion} {}",
                if timbre.is_ok() {
                    "oído"
                } else {
                    "no hizo falta"
                }
            );
        }
    }

    /// Corta todas las conexiones ya, sin esperar a que terminen.
    pub fn cortar(&self) {
        self.cerrar_todas(Shutdown::Both);
    }

    /// Apunta un socket que una conexión abrió por su cuenta (el del backend, en el balanceador). Al despedir no se
    /// toca, para que lo que está en curso termine; pero se corta cuando se cortan todas.
    pub fn acompanar(&self, socket: &Arc<TcpStream>) -> Acompanante<'_> {
        let mut dentro = self.dentro();
        dentro.siguiente += 1;
        let numero = dentro.siguiente;
        if dentro.cortadas {
            cerrar(socket, Shutdown::Both);
        }
        dentro.acompanantes.insert(numero, Arc::clone(socket));
        Acompanante {
            parada: self,
            numero,
        }
    }

    fn dentro(&self) -> MutexGuard<'_, Dentro> {
        // Ninguna sección crítica deja la lista a medias, así que un cerrojo envenenado sigue siendo bueno.
        self.dentro.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Deja dicho cómo despertar a `accept`. Falso si ya se había mandado parar.
    fn abrir_puerta(&self, escucha: &TcpListener) -> bool {
        let mut dentro = self.dentro();
        if self.avisada() {
            return false;
        }
        match (escucha.local_addr(), escucha.try_clone()) {
            (Ok(direccion), Ok(_reserva)) => {
                dentro.puerta = Some(Puerta {
                    direccion: alcanzable(direccion),
                    _reserva,
                });
                true
            }
            (direccion, reserva) => {
                warn!(
                    "no se puede escuchar: {:?} {:?}",
                    direccion.err(),
                    reserva.err()
                );
                false
            }
        }
    }

    /// Espera a que quepa una conexión más. `None` si hay que parar.
    fn pedir_permiso(&self) -> Option<Permiso<'_>> {
        let mut dentro = self.dentro();
        while dentro.permisos >= self.tope && !self.avisada() {
            dentro = self.esperar_cambio(dentro, Duration::MAX);
        }
        if self.avisada() {
            return None;
        }
        dentro.permisos += 1;
        dentro.siguiente += 1;
        Some(Permiso {
            parada: self,
            numero: dentro.siguiente,
        })
    }

    /// `accept` falló: espera a que termine alguna conexión (devolverá un descriptor) o una pausa corta.
    fn descansar(&self, error: &io::Error) {
        warn!("accept: {}", crate::fallo::motivo(error));
        let dentro = self.dentro();
        if !self.avisada() {
            drop(self.esperar_cambio(dentro, PAUSA_SIN_DESCRIPTORES));
        }
    }

    /// Las ociosas terminan ya (leerán un fin); las que envían tienen [`DESPEDIDA`]; las demás se cortan.
    fn despedir(&self) {
        self.cerrar_todas(Shutdown::Read);
        let limite = Instant::now() + DESPEDIDA;
        let mut dentro = self.dentro();
        while !dentro.vivas.is_empty() {
            let falta = limite.saturating_duration_since(Instant::now());
            if falta.is_zero() {
                break;
            }
            dentro = self.esperar_cambio(dentro, falta);
        }
        drop(dentro);
        self.cerrar_todas(Shutdown::Both);
    }

    /// Espera a que entre o salga alguien, o se mande parar, o pase el `plazo`.
    fn esperar_cambio<'a>(
        &'a self,
        mut dentro: MutexGuard<'a, Dentro>,
        plazo: Duration,
    ) -> MutexGuard<'a, Dentro> {
        dentro.esperando += 1;
        let esperado = self.cambio.wait_timeout(dentro, plazo);
        let mut dentro = esperado.unwrap_or_else(PoisonError::into_inner).0;
        dentro.esperando -= 1;
        dentro
    }

    fn cerrar_todas(&self, sentido: Shutdown) {
        let mut dentro = self.dentro();
        dentro
            .vivas
            .values()
            .for_each(|conexion| cerrar(conexion, sentido));
        if sentido == Shutdown::Both {
            dentro.cortadas = true;
            dentro
                .acompanantes
                .values()
                .for_each(|socket| cerrar(socket, sentido));
        }
    }
}

fn cerrar(socket: &TcpStream, sentido: Shutdown) {
    // Falla si el otro ya cerró: es lo que se quería.
    let _ = socket.shutdown(sentido);
}

/// Un socket apuntado con [`Parada::acompanar`]; al soltarlo se borra de la lista.
pub struct Acompanante<'a> {
    parada: &'a Parada,
    numero: u64,
}

impl Drop for Acompanante<'_> {
    fn drop(&mut self) {
        let socket = self.parada.dentro().acompanantes.remove(&self.numero);
        // Si es la última copia se cierra aquí, fuera del cerrojo.
        drop(socket);
    }
}

/// Sitio para una conexión. Se pide antes de `accept` y vuelve solo, con `Drop`, pase lo que pase en el hilo.
struct Permiso<'a> {
    parada: &'a Parada,
    numero: u64,
}

impl Permiso<'_> {
    /// Apunta la conexión entre las vivas, para poder cerrarla al parar.
    fn dejar_pasar(&self, conexion: TcpStream) -> Arc<TcpStream> {
        if let Err(error) = conexion.set_nodelay(true) {
            debug!("TCP_NODELAY: {error}");
        }
        let conexion = Arc::new(conexion);
        self.parada
            .dentro()
            .vivas
            .insert(self.numero, Arc::clone(&conexion));
        conexion
    }
}

impl Drop for Permiso<'_> {
    fn drop(&mut self) {
        let mut dentro = self.parada.dentro();
        let conexion = dentro.vivas.remove(&self.numero);
        dentro.permisos -= 1;
        let hay_quien_espera = dentro.esperando > 0;
        drop(dentro);
        // La última copia del socket: aquí se cierra, fuera del cerrojo y antes de avisar a quien espera sitio.
        drop(conexion);
        if hay_quien_espera {
            self.parada.cambio.notify_all();
        }
    }
}

/// La dirección con que uno puede conectarse a sí mismo: 0.0.0.0 significa «todas», y no se puede llamar.
pub fn alcanzable(direccion: SocketAddr) -> SocketAddr {
    let ip = match direccion.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, direccion.port())
}

/// Cuántas conexiones se admiten: las `pedidas`, o las que permitan los descriptores del proceso (cada una puede
/// necesitar dos: su socket y el archivo que sirve). Antes se sube el límite blando hasta el duro.
pub fn conexiones_posibles(pedidas: usize) -> usize {
    let descriptores = descriptores_del_proceso();
    pedidas
        .min(descriptores.saturating_sub(DESCRIPTORES_PROPIOS) / 2)
        .max(1)
}

#[cfg(unix)]
fn descriptores_del_proceso() -> usize {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limite = getrlimit(Resource::Nofile);
    let blando = limite.current;
    limite.current = limite.maximum;
    if setrlimit(Resource::Nofile, limite).is_err() {
        limite.current = blando;
    }
    limite
        .current
        .map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX))
}

/// En Windows los sockets no gastan descriptores de un cupo por proceso.
#[cfg(not(unix))]
fn descriptores_del_proceso() -> usize {
    usize::MAX
}

/// ¿Es una IP de esta máquina? Lo es si el sistema deja enlazar un puerto en ella.
pub fn es_de_esta_maquina(ip: IpAddr) -> bool {
    ip.is_loopback() || TcpListener::bind((ip, 0)).is_ok()
}

/// La IP con que los demás ven a esta máquina al hablar con `peer`. No manda ningún paquete: conectar un socket
/// UDP sólo pregunta al sistema por dónde saldría.
pub fn ip_en_la_red(peer: SocketAddr) -> Option<IpAddr> {
    let cualquiera: SocketAddr = if peer.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    }
    .parse()
    .ok()?;
    let socket = UdpSocket::bind(cualquiera).ok()?;
    socket.connect(peer).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Un servidor en marcha en su propio hilo, con dueño: quien lo arranca lo detiene y lo espera.
pub struct Servidor {
    parada: Arc<Parada>,
    fin: Receiver<()>,
    hilo: JoinHandle<()>,
}

impl Servidor {
    /// Arranca [`atender_conexiones`] en un hilo aparte, como hace la guía al empezar.
    ///
    /// # Errores
    /// El sistema no da más hilos.
    pub fn arrancar<G>(
        escucha: TcpListener,
        parada: Arc<Parada>,
        gestionar: G,
    ) -> Result<Servidor, Fallo>
    where
        G: Fn(&Arc<TcpStream>, SocketAddr) + Send + Sync + 'static,
    {
        Servidor::con_bucle(parada, move |parada| {
            atender_conexiones(escucha, parada, gestionar)
        })
    }

    /// Como [`Servidor::arrancar`], para quien rodea [`atender_conexiones`] de algo más (hilos propios). El `bucle`
    /// termina cuando se avisa la parada que recibe.
    ///
    /// # Errores
    /// El sistema no da más hilos.
    pub fn con_bucle<B>(parada: Arc<Parada>, bucle: B) -> Result<Servidor, Fallo>
    where
        B: FnOnce(&Parada) + Send + 'static,
    {
        let (acabar, fin) = bounded::<()>(0);
        let suya = Arc::clone(&parada);
        let hilo = Builder::new()
            .name("servidor".into())
            .spawn(move || {
                bucle(&suya);
                drop(acabar);
            })
            .map_err(|e| Fallo::de_sistema("creando el hilo servidor", &e))?;
        Ok(Servidor { parada, fin, hilo })
    }

    /// La señal de parada de este servidor.
    pub fn parada(&self) -> &Arc<Parada> {
        &self.parada
    }

    /// Manda parar y espera. Si pasado un momento quedan conexiones, llama una vez a `decir` con cuántas; otro
    /// aviso en `ctrl_c` mientras tanto las corta ya.
    pub fn detener(self, ctrl_c: &Receiver<()>, decir: impl FnOnce(usize)) {
        self.parada.avisar();
        if self
            .fin
            .recv_timeout(DESPEDIDA_CALLADA)
            .is_err_and(|e| e.is_timeout())
        {
            decir(self.parada.conexiones());
            select! {
                recv(self.fin) -> _ => {}
                recv(ctrl_c) -> _ => self.parada.cortar(),
            }
        }
        if self.hilo.join().is_err() {
            log::error!("el hilo servidor terminó por un error interno");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    fn servidor(tope: usize) -> (Servidor, SocketAddr) {
        let escucha = abrir_puerto(Ipv4Addr::LOCALHOST.into(), 0).unwrap();
        let direccion = escucha.local_addr().unwrap();
        let eco = |conexion: &Arc<TcpStream>, _| {
            let mut letra = [0];
            while let Ok(1) = (&**conexion).read(&mut letra) {
                let _ = (&**conexion).write_all(&letra);
            }
        };
        (
            Servidor::arrancar(escucha, Arc::new(Parada::nueva(tope)), eco).unwrap(),
            direccion,
        )
    }

    fn nunca() -> Receiver<()> {
        crossbeam_channel::never()
    }

    fn contesta(mut cliente: &TcpStream) -> bool {
        cliente
            .set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        cliente.write_all(b"x").unwrap();
        cliente.read_exact(&mut [0]).is_ok()
    }

    #[test]
    fn parar_con_un_par_mudo_es_inmediato_y_deja_libre_el_puerto() {
        let (servidor, direccion) = servidor(8);
        let mudo = TcpStream::connect(direccion).unwrap();
        assert!(contesta(&mudo));
        let antes = Instant::now();
        servidor.detener(&nunca(), |_| {});
        assert!(antes.elapsed() < Duration::from_secs(2));
        assert!(TcpListener::bind(direccion).is_ok());
    }

    #[test]
    fn parar_despierta_a_quien_espera_permiso() {
        let (servidor, direccion) = servidor(1);
        let dentro = TcpStream::connect(direccion).unwrap();
        assert!(contesta(&dentro));
        servidor.detener(&nunca(), |_| {});
    }

    #[test]
    fn la_que_no_cabe_espera_su_turno() {
        let (servidor, direccion) = servidor(1);
        let primera = TcpStream::connect(direccion).unwrap();
        assert!(contesta(&primera));
        let segunda = TcpStream::connect(direccion).unwrap();
        assert!(
            !contesta(&segunda),
            "con un solo permiso, la segunda no puede estar dentro"
        );
        drop(primera);
        segunda
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        assert!((&segunda).read_exact(&mut [0]).is_ok());
        servidor.detener(&nunca(), |_| {});
    }

    #[test]
    fn parar_antes_de_empezar_no_se_cuelga() {
        let escucha = abrir_puerto(Ipv4Addr::LOCALHOST.into(), 0).unwrap();
        let parada = Parada::nueva(1);
        parada.avisar();
        atender_conexiones(escucha, &parada, |_, _| {});
    }

    #[test]
    fn cortar_alcanza_a_los_acompanantes_y_despedir_no() {
        let escucha = abrir_puerto(Ipv4Addr::LOCALHOST.into(), 0).unwrap();
        let conectar = || Arc::new(TcpStream::connect(escucha.local_addr().unwrap()).unwrap());
        let vivo = |socket: &TcpStream| {
            socket
                .set_read_timeout(Some(Duration::from_millis(50)))
                .unwrap();
            { socket }
                .read(&mut [0])
                .is_err_and(|e| e.kind() != io::ErrorKind::NotConnected)
        };
        let parada = Parada::nueva(1);
        let (antes, olvidado, tarde) = (conectar(), conectar(), conectar());
        let _guardia = parada.acompanar(&antes);
        drop(parada.acompanar(&olvidado));
        parada.cerrar_todas(Shutdown::Read);
        assert!(vivo(&antes));
        parada.cortar();
        let _guardia = parada.acompanar(&tarde);
        assert!(!vivo(&antes) && !vivo(&tarde) && vivo(&olvidado));
    }

    #[test]
    fn cabe_al_menos_una_y_no_mas_de_las_pedidas() {
        assert_eq!(conexiones_posibles(1), 1);
        assert!(conexiones_posibles(1024) <= 1024);
    }
}
