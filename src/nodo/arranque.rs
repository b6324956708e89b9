//! Poner en marcha un nodo y pararlo: el puerto, la carpeta y los hilos, con su dueño.
//!
//! Es el `threading.Thread(target=atender_conexiones).start()` de la guía, con lo que hay antes
//! (qué fila de `PEERS` toca, qué carpeta) y lo que la guía no tiene: cómo se termina.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::{
    CARPETA_ARCHIVOS, Config, Fila, Limites, MAX_NOMBRE, PEERS, PUERTO, carpeta_de_fila,
};
use crate::consola::Consola;
use crate::fallo::{Fallo, Salida};
use crate::guia::ESCUCHANDO;
use crate::http::url::Url;
use crate::laboratorio::puesto::Puesto;
use crate::lan::descubrir;
use crate::nodo::Nodo;
use crate::nodo::carpeta::Carpeta;
use crate::nodo::maestro::registro;
use crate::nodo::puerta;
use crate::nodo::servidor::gestionar_peticion;
use crate::nodo::vecinos::Vecinos;
use crate::red::abrir_puerto;
use crate::red::hilos::{Hilo, arrancar};
use crate::red::maquina::{ip_de_salida, ip_en_la_red, nombre_de_la_maquina};
use crate::red::parada::Parada;
use crate::red::servidor::{Servidor, fallo_al_abrir};
use crate::texto::tamano;

/// Conexiones que se enseñan de una vez; las demás se cuentan. Nadie lee mil líneas por segundo.
const CONEXIONES_POR_TANDA: usize = 20;
/// Puertos que se prueban, desde el de la primera fila, cuando no hay fila que lo diga.
const PUERTOS_A_PROBAR: u16 = 10;
/// Lo que se dice al arrancar con clave.
const CON_CLAVE: &str = "Con clave: sólo se habla, cifrado, con quien la tenga";

/// Un nodo en marcha.
pub struct EnMarcha {
    /// Lo que comparten sus hilos.
    pub nodo: Arc<Nodo>,
    servidor: Servidor,
    huellas: Hilo<()>,
    registro: Option<Hilo<()>>,
    descubrir: Option<Hilo<()>>,
}

impl EnMarcha {
    /// Abre el puerto y la carpeta, arranca los hilos y se presenta.
    pub fn arrancar(
        config: &Config,
        laboratorio: &Arc<Puesto>,
        consola: &mut Consola,
    ) -> Result<EnMarcha, Fallo> {
        let (escucha, fila) = abrir_el_puerto(config)?;
        let mirando = |e| Fallo::de_sistema("mirando el puerto", &e);
        let direccion = escucha.local_addr().map_err(mirando)?;
        let ruta = carpeta_elegida(config, fila, direccion.port());
        let carpeta = Carpeta::abrir_o_crear(&ruta)?;
        let en_la_red = direccion_en_la_red(direccion, config);
        let nombre = nombre_elegido(config, fila, direccion);
        let vecinos = Vecinos::nuevos(config, nombre, Some(direccion));
        let avisador = consola.oir(CONEXIONES_POR_TANDA);
        laboratorio.presentar(&vecinos.nombre, &vecinos.parada, &avisador);
        let laboratorio = Arc::clone(laboratorio);
        let nodo = Nodo::nuevo(vecinos, direccion, carpeta, avisador, laboratorio);
        let nodo = Arc::new(nodo);
        // Ya hay quien espere en el puerto: a quien lo oiga y llame se le atenderá.
        let descubrir = descubrir::mantener(&nodo)?;
        let huellas = calcular_huellas(&nodo)?;
        let registro = registro::mantener(&nodo)?;
        let suyo = Arc::clone(&nodo);
        let atender = move |conexion| {
            if let Some(conexion) = puerta::dejar_pasar(conexion, &suyo) {
                gestionar_peticion(conexion, &suyo);
            }
        };
        let (tope, parada) = (config.max_conexiones, Parada::nueva());
        let limites = Limites {
            caudal: config.limites.caudal.hasta_que(&parada),
            ..config.limites.clone()
        };
        let servidor = Servidor::arrancar(escucha, tope, &limites, parada, atender)?;
        presentar(&nodo, en_la_red, consola);
        Ok(EnMarcha {
            nodo,
            servidor,
            huellas,
            registro,
            descubrir,
        })
    }

    /// Para y espera a todos los hilos. Si quedan envíos en curso lo dice, y otro Ctrl-C los corta
    /// ya.
    pub fn detener(self, consola: &mut Consola) {
        self.nodo.saliendo.cortar();
        consola.despedir(self.servidor);
        self.nodo.estante.cerrar();
        self.huellas.esperar();
        let los_demas = self.registro.into_iter().chain(self.descubrir);
        los_demas.for_each(|hilo| hilo.esperar().unwrap_or_default());
    }
}

fn presentar(nodo: &Nodo, en_la_red: Option<SocketAddr>, consola: &mut Consola) {
    let (puerto, nombre) = (nodo.direccion.port(), &nodo.vecinos.nombre);
    let carpeta = nodo.carpeta.ruta().display();
    consola.pantalla.tanda([
        format!("{ESCUCHANDO} {puerto}"),
        format!("Soy {nombre} y comparto {carpeta}"),
    ]);
    consola.pantalla.tanda(nodo.laboratorio.aviso_de_fallas());
    if let Some(tope) = nodo.vecinos.limites.caudal.tope() {
        let linea = format!("Sirvo {} por segundo, como mucho", tamano(tope));
        consola.pantalla.linea(linea);
    }
    if nodo.vecinos.limites.clave.is_some() {
        consola.pantalla.linea(CON_CLAVE);
    }
    if let Some(yo) = en_la_red {
        let peer = como_la_escriben(yo);
        let linea = format!("Los demás me encuentran en {yo} (para ellos: --peer {peer})");
        consola.pantalla.linea(linea);
    }
    if nodo.vecinos.conocidos.saludos().is_some() {
        let linea = "Me anuncio en la red local; quien se anuncie se añade solo (opción 8)";
        consola.pantalla.linea(linea);
    }
    // Está entre los que los navegadores tienen por peligrosos.
    if puerto == PUERTO {
        let otro = PEERS[0].2;
        let linea =
            format!("Un navegador no abre el puerto {puerto}; para ver mi página, --puerto {otro}");
        consola.pantalla.linea(linea);
    }
}

/// Una IPv6 de enlace se escribe con la interfaz por la que va cada uno, y esa sólo la sabe él.
fn como_la_escriben(yo: SocketAddr) -> String {
    match yo.ip() {
        IpAddr::V6(ip) if ip.is_unicast_link_local() => {
            format!("[{ip}%INTERFAZ]:{}", yo.port())
        }
        _ => yo.to_string(),
    }
}

/// El nodo sin menú: sirve y cuenta lo que pasa, hasta un Ctrl-C o un SIGTERM.
pub fn servir(
    config: &Config,
    laboratorio: &Arc<Puesto>,
    consola: &mut Consola,
) -> Result<Salida, Fallo> {
    let marcha = EnMarcha::arrancar(config, laboratorio, consola)?;
    let salida = consola.mirar();
    marcha.detener(consola);
    Ok(salida)
}

/// El hilo que calcula huellas, empezando por todo lo que ya hay en la carpeta.
fn calcular_huellas(nodo: &Arc<Nodo>) -> Result<Hilo<()>, Fallo> {
    let nodo = Arc::clone(nodo);
    arrancar("huellas", move || {
        nodo.estante.repasar_la_carpeta();
        nodo.estante.trabajar();
    })
}

/// Abre el puerto que toca. Devuelve también la fila (desde 1), si hay.
fn abrir_el_puerto(config: &Config) -> Result<(TcpListener, Option<usize>), Fallo> {
    let candidatos: Vec<(u16, Option<usize>)> = match config.fila {
        Fila::PrimeraLibre => {
            let filas = PEERS.iter().map(|(_, _, puerto)| *puerto);
            let mut candidatos: Vec<_> = filas.zip((1..).map(Some)).collect();
            if config.encuentro.descubre() {
                candidatos.extend(puertos_sin_fila().map(|puerto| (puerto, None)));
            }
            candidatos
        }
        Fila::PuertoLibre => {
            let puertos = config.puerto..config.puerto.saturating_add(PUERTOS_A_PROBAR);
            puertos.map(|puerto| (puerto, None)).collect()
        }
        Fila::Elegida(n) => vec![(config.puerto, Some(n))],
        Fila::Ninguna => vec![(config.puerto, None)],
    };
    abrir_el_primero_libre(config, &candidatos)
}

/// Los que siguen a los de las filas, para cuando estén todas en marcha y aun así se descubra.
fn puertos_sin_fila() -> impl Iterator<Item = u16> {
    let primero = PEERS[0].2;
    let en_fila = |puerto: &u16| PEERS.iter().any(|(_, _, suyo)| suyo == puerto);
    (primero..primero.saturating_add(PUERTOS_A_PROBAR)).filter(move |puerto| !en_fila(puerto))
}

/// El primero que esté libre: se sabe enlazándolo, y el socket se queda.
fn abrir_el_primero_libre(
    config: &Config,
    candidatos: &[(u16, Option<usize>)],
) -> Result<(TcpListener, Option<usize>), Fallo> {
    for (puerto, fila) in candidatos {
        match abrir_puerto(config.ip, *puerto) {
            Ok(escucha) => return Ok((escucha, *fila)),
            Err(e) if e.kind() == ErrorKind::AddrInUse && candidatos.len() > 1 => {}
            Err(e) => {
                let direccion = SocketAddr::new(config.ip, *puerto);
                return Err(fallo_al_abrir(direccion, "--puerto", &e));
            }
        }
    }
    let puertos = candidatos.iter().map(|(puerto, _)| puerto.to_string());
    let puertos = puertos.collect::<Vec<_>>().join(", ");
    Err(Fallo::nuevo(format!(
        "los puertos {puertos} ya están en uso: cierra un nodo o elige otro con --puerto \
         (0 = el que esté libre)"
    )))
}

fn carpeta_elegida(config: &Config, fila: Option<usize>, puerto: u16) -> PathBuf {
    match (&config.carpeta, fila, config.fila) {
        (None, Some(n), _) => carpeta_de_fila(n),
        (None, None, Fila::PrimeraLibre) => [CARPETA_ARCHIVOS, &format!("nodo{puerto}")]
            .iter()
            .collect(),
        _ => config.carpeta_o_la_de_la_guia(),
    }
}

/// Si escucha en todas las redes, por dónde lo alcanzan los demás: la IP de la interfaz por la que
/// se va al primer peer (o al maestro) que tenga camino y al que se pueda atender.
pub fn direccion_en_la_red(direccion: SocketAddr, config: &Config) -> Option<SocketAddr> {
    if !direccion.ip().is_unspecified() {
        return None;
    }
    let maestro = config.maestro.as_deref().and_then(Url::leer);
    let maestro = maestro.and_then(|url| Some(SocketAddr::new(url.ip()?, url.puerto)));
    // En `::` se atiende también a los de IPv4.
    let vale = |a: &SocketAddr| a.is_ipv4() || direccion.is_ipv6();
    let lleva_fuera = |a: &SocketAddr| !a.ip().is_loopback() && vale(a);
    let todos = config.peers.iter().copied().chain(maestro);
    let hacia_ellos = todos.filter(lleva_fuera).find_map(ip_en_la_red);
    // Quien descubre aún no sabe de nadie: por donde se sale.
    let de_salida = || ip_de_salida().filter(|_| config.encuentro.descubre());
    let ip = hacia_ellos.or_else(de_salida)?;
    Some(SocketAddr::new(ip, direccion.port()))
}

/// El nombre que se escribió. Si no, en esta máquina, el de la fila, o uno con el puerto; y en la
/// red, el de la máquina, y con el puerto si no es el de siempre: puede haber otro.
fn nombre_elegido(config: &Config, fila: Option<usize>, direccion: SocketAddr) -> String {
    let puerto = direccion.port();
    let de_la_fila = fila.filter(|_| !config.encuentro.descubre());
    match (&config.nombre, de_la_fila) {
        (Some(nombre), _) => nombre.clone(),
        (None, Some(n)) => PEERS[n - 1].0.to_string(),
        (None, None) if direccion.ip().is_loopback() => format!("nodo-{puerto}"),
        (None, None) => {
            let el_de_siempre = [PEERS[0].2, PUERTO].contains(&puerto);
            let sufijo = if el_de_siempre {
                String::new()
            } else {
                format!("-{puerto}")
            };
            let maquina = nombre_de_la_maquina().unwrap_or_else(|| "nodo".into());
            nombre_que_cabe(&maquina, &sufijo)
        }
    }
}

/// `maquina` y `sufijo`, sin lo que no puede llevar el nombre de un nodo.
fn nombre_que_cabe(maquina: &str, sufijo: &str) -> String {
    let valen = maquina.chars().filter(|c| *c != ':' && !c.is_control());
    let mut nombre = String::new();
    for letra in valen {
        if nombre.len() + letra.len_utf8() + sufijo.len() > MAX_NOMBRE {
            break;
        }
        nombre.push(letra);
    }
    nombre + sufijo
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ordenes::opciones::{Opciones, decidir};

    #[test]
    fn tres_seguidos_toman_tres_filas_y_el_cuarto_dice_que_hacer() {
        let config = decidir(Opciones::default()).unwrap();
        // Tres puertos que nadie tiene: el sistema no los da a otro mientras estén enlazados, y se
        // sueltan de uno en uno.
        let guardados = [(); 3].map(|()| TcpListener::bind((config.ip, 0)).unwrap());
        let candidatos: Vec<_> = guardados
            .iter()
            .zip(1..)
            .map(|(escucha, n)| (escucha.local_addr().unwrap().port(), Some(n)))
            .collect();
        let mut tomados = Vec::new();
        for (guardado, n) in guardados.into_iter().zip(1..) {
            drop(guardado);
            let (escucha, tomado) = abrir_el_primero_libre(&config, &candidatos).unwrap();
            assert_eq!(tomado, Some(n));
            tomados.push(escucha);
        }
        let fallo = abrir_el_primero_libre(&config, &candidatos).unwrap_err();
        let fallo = fallo.to_string();
        assert!(
            candidatos
                .iter()
                .all(|(p, _)| fallo.contains(&p.to_string()))
        );
        assert!(fallo.contains("--puerto"), "{fallo}");
    }

    #[test]
    fn quien_descubre_y_no_tiene_fila_toma_un_puerto_y_una_carpeta_suyos() {
        let puertos: Vec<u16> = puertos_sin_fila().collect();
        assert_eq!(puertos.len(), usize::from(PUERTOS_A_PROBAR) - PEERS.len());
        assert!(PEERS.iter().all(|(_, _, suyo)| !puertos.contains(suyo)));
        let mut opciones = Opciones::default();
        opciones.encuentro.descubrir = Some(true);
        let config = decidir(opciones).unwrap();
        let carpeta = carpeta_elegida(&config, None, puertos[0]);
        let suya = format!("nodo{}", puertos[0]);
        assert!(carpeta.starts_with(CARPETA_ARCHIVOS) && carpeta.ends_with(suya));
        assert_eq!(carpeta_elegida(&config, Some(1), 0), carpeta_de_fila(1));
    }

    #[test]
    fn en_la_red_se_llama_como_la_maquina_y_dos_se_distinguen() {
        let mut opciones = Opciones::default();
        opciones.encuentro.descubrir = Some(true);
        let config = decidir(opciones).unwrap();
        let nombre = |fila, donde: &str| nombre_elegido(&config, fila, donde.parse().unwrap());
        let (uno, dos) = (nombre(Some(1), "[::]:6001"), nombre(None, "[::]:6004"));
        assert_eq!(dos, format!("{uno}-6004"));
        assert_eq!(nombre(Some(2), "127.0.0.1:6002"), "nodo-6002");
        assert_eq!(nombre_que_cabe("a:b\n", "-1"), "ab-1");
        let largo = nombre_que_cabe(&"ñ".repeat(80), "-6002");
        assert!(
            largo.len() <= MAX_NOMBRE && largo.ends_with("ñ-6002"),
            "{largo}"
        );
    }
}
