//! Qué es esta máquina para la red: sus IP, por dónde la ven los demás y cuántas conexiones le
//! caben.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// Descriptores que no son de conexiones: los tres del proceso, la carpeta, el que escucha, la
/// reserva y las conexiones que abre el propio nodo.
const DESCRIPTORES_PROPIOS: usize = 32;

/// Direcciones de los ejemplos, que no son de nadie: no se les manda nada, sólo se mira por dónde
/// se saldría.
pub const FUERA_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// La de IPv6.
pub const FUERA_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

/// La dirección con que uno puede conectarse a sí mismo: 0.0.0.0 significa «todas», y no se puede
/// llamar.
pub fn alcanzable(direccion: SocketAddr) -> SocketAddr {
    let ip = match direccion.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, direccion.port())
}

/// Quien escucha en `::` ve llegar a los de IPv4 como `::ffff:10.0.0.2`: es 10.0.0.2.
pub fn sin_mapear(direccion: SocketAddr) -> SocketAddr {
    match direccion.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), direccion.port()),
        IpAddr::V6(_) => direccion,
    }
}

/// ¿Es una IP de esta máquina? Lo es si el sistema deja enlazar un puerto en ella.
pub fn es_de_esta_maquina(ip: IpAddr) -> bool {
    ip.is_loopback() || TcpListener::bind((ip, 0)).is_ok()
}

/// ¿Lleva `otra` al mismo sitio que `nuestra`, donde se escucha aquí? El puerto es el mismo y la IP
/// es aquella en que se escucha o, si se escucha en todas, una de esta máquina.
pub fn es_la_misma(otra: SocketAddr, nuestra: SocketAddr) -> bool {
    if otra.port() != nuestra.port() {
        return false;
    }
    let ip = otra.ip().to_canonical();
    ip == nuestra.ip().to_canonical() || (nuestra.ip().is_unspecified() && es_de_esta_maquina(ip))
}

/// Enlaza `::` para los de IPv6 y los de IPv4. Linux y macOS suelen hacerlo sin pedírselo; Windows,
/// nunca.
pub fn enlazar_en_todas(puerto: u16) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_only_v6(false)?;
    // Como `TcpListener::bind`: en Windows significaría quitarle el puerto a otro.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, puerto)).into())?;
    // La cola, la de la biblioteca estándar: quien abre el puerto la cambia.
    socket.listen(128)?;
    Ok(socket.into())
}

/// El `accept` del sistema, y que el socket no lo herede ningún proceso que se arranque después:
/// mientras tuviera su copia, cerrarlo aquí no lo cerraría. El de la biblioteca estándar no lo
/// asegura en Windows.
pub fn aceptar(escucha: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (socket, desde) = SockRef::from(escucha).accept()?;
    let desde = desde.as_socket().ok_or(io::ErrorKind::Unsupported)?;
    Ok((socket.into(), desde))
}

/// La IP con que los demás ven a esta máquina al hablar con `peer`. No manda ningún paquete:
/// conectar un socket UDP sólo pregunta al sistema por dónde saldría.
pub fn ip_en_la_red(peer: SocketAddr) -> Option<IpAddr> {
    let cualquiera: IpAddr = match peer {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((cualquiera, 0)).ok()?;
    socket.connect(peer).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// La IP con que esta máquina sale a la red, aunque no haya a quién llamar: la de IPv4 si la hay.
/// `None` si no tiene ruta por defecto.
pub fn ip_de_salida() -> Option<IpAddr> {
    let fuera: [IpAddr; 2] = [FUERA_V4.into(), FUERA_V6.into()];
    fuera
        .into_iter()
        .find_map(|ip| ip_en_la_red(SocketAddr::new(ip, 9)))
}

/// Cómo se llama esta máquina, sin su dominio.
pub fn nombre_de_la_maquina() -> Option<String> {
    let entero = nombre_segun_el_sistema()?;
    let nombre = entero.split('.').next().unwrap_or_default().trim();
    let dice_algo = !nombre.is_empty() && nombre != "localhost";
    dice_algo.then(|| nombre.to_string())
}

#[cfg(unix)]
fn nombre_segun_el_sistema() -> Option<String> {
    let sistema = rustix::system::uname();
    sistema.nodename().to_str().ok().map(str::to_string)
}

#[cfg(not(unix))]
fn nombre_segun_el_sistema() -> Option<String> {
    std::env::var("COMPUTERNAME").ok()
}

/// Hace sitio de una vez para los descriptores que un Linux de fábrica deja tener. Se llama antes de
/// que haya un segundo hilo: su tabla crece a saltos, y con varios hilos cada salto espera a todos
/// los procesadores (medido: tres de unos 10 ms, con mil archivos abiertos). Si no se puede, crecerá
/// como siempre.
#[cfg(target_os = "linux")]
pub fn hacer_sitio_a_los_descriptores() {
    const ULTIMO: i32 = 1023;
    // Un duplicado de uno cualquiera, en el último lugar, que se cierra aquí mismo.
    let _ = rustix::io::fcntl_dupfd_cloexec(std::io::stderr(), ULTIMO);
}

/// En los demás sistemas no hay qué hacer.
#[cfg(not(target_os = "linux"))]
pub fn hacer_sitio_a_los_descriptores() {}

/// Cuántas conexiones se admiten: las `pedidas`, o las que permitan los descriptores del proceso
/// (cada una puede necesitar dos: su socket y el archivo que sirve). Antes se sube el límite blando
/// al duro.
pub fn conexiones_posibles(pedidas: usize) -> usize {
    let sobran = descriptores_del_proceso().saturating_sub(DESCRIPTORES_PROPIOS);
    pedidas.min(sobran / 2).max(1)
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
    let tope = |n| usize::try_from(n).unwrap_or(usize::MAX);
    limite.current.map_or(usize::MAX, tope)
}

/// En Windows los sockets no gastan descriptores de un cupo por proceso.
#[cfg(not(unix))]
fn descriptores_del_proceso() -> usize {
    usize::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(texto: &str) -> SocketAddr {
        texto.parse().unwrap()
    }

    #[test]
    fn una_ipv4_no_se_ensena_como_ipv6() {
        assert_eq!(sin_mapear(dir("[::ffff:10.0.0.2]:80")), dir("10.0.0.2:80"));
        assert_eq!(sin_mapear(dir("[fe80::1%3]:80")), dir("[fe80::1%3]:80"));
    }

    #[test]
    fn uno_mismo_se_reconoce() {
        assert!(es_la_misma(dir("127.0.0.1:6001"), dir("127.0.0.1:6001")));
        assert!(es_la_misma(dir("127.0.0.1:6001"), dir("0.0.0.0:6001")));
        assert!(es_la_misma(
            dir("[::ffff:127.0.0.1]:6001"),
            dir("127.0.0.1:6001")
        ));
        assert!(!es_la_misma(dir("127.0.0.1:6002"), dir("0.0.0.0:6001")));
        // El mismo puerto en otra IP de la máquina es otro nodo, si no escuchamos en todas.
        assert!(!es_la_misma(dir("127.0.0.2:6001"), dir("127.0.0.1:6001")));
        // Una IP reservada para documentación: no es de nadie.
        assert!(!es_la_misma(dir("192.0.2.1:6001"), dir("0.0.0.0:6001")));
    }

    #[test]
    fn en_todas_se_atiende_a_las_dos_familias() {
        let Ok(escucha) = enlazar_en_todas(0) else {
            return; // Aquí no hay IPv6.
        };
        let puerto = escucha.local_addr().unwrap().port();
        TcpStream::connect((Ipv4Addr::LOCALHOST, puerto)).unwrap();
        let desde = sin_mapear(aceptar(&escucha).unwrap().1);
        assert_eq!(desde.ip(), Ipv4Addr::LOCALHOST);
    }

    #[test]
    fn cabe_al_menos_una_y_no_mas_de_las_pedidas() {
        assert_eq!(conexiones_posibles(1), 1);
        assert!(conexiones_posibles(1024) <= 1024);
    }
}
