//! CONFIGURACIÓN DEL NODO, como en la guía: constantes, la lista `PEERS` y lo que se decidió al
//! arrancar.
//!
//! Las opciones que sustituyen a las constantes están en `ordenes/opciones.rs`; se leen una vez y
//! de ellas sale una [`Config`] que ya no cambia. Nadie más las mira. No abre puertos ni toca el
//! disco.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::lan::encuentro::Encuentro;
use crate::red::caudal::Caudal;
use crate::red::cifrado::Clave;
use crate::testigo::Testigo;

/// Los nodos de la práctica: nombre, IP y puerto. La fila da también la carpeta.
///
/// Es el `peers` de la guía. Los puertos empiezan en 6001 porque los navegadores se niegan a abrir
/// el 6000. Para cambiarlos sin recompilar: `--peer IP:PUERTO`, una vez por cada nodo.
pub const PEERS: &[(&str, &str, u16)] = &[
    ("nodo1", "127.0.0.1", 6001),
    ("nodo2", "127.0.0.1", 6002),
    ("nodo3", "127.0.0.1", 6003),
];

/// El `PUERTO` de la guía: de un nodo que no está en [`PEERS`], y de un peer escrito sin puerto.
pub const PUERTO: u16 = 6000;
/// La `CARPETA_ARCHIVOS` de la guía.
pub const CARPETA_ARCHIVOS: &str = "compartidos";
/// Segundos que se espera a cada peer al buscar: los 2 de la guía.
pub const ESPERA: u64 = 2;
/// Cuántas conexiones atiende a la vez si no se dice otra cosa.
pub const MAX_CONEXIONES: usize = 1024;
/// Tope de peers: al buscar hay un hilo por cada uno.
pub const MAX_PEERS: usize = 512;
/// Tope del nombre de un nodo, en bytes.
pub const MAX_NOMBRE: usize = 64;
/// Tope de un mensaje, en bytes.
pub const MAX_MENSAJE: usize = 2000;

/// Los plazos y topes de una conversación. Las pruebas usan otros más cortos en vez de esperar.
#[derive(Debug, Clone)]
pub struct Limites {
    /// Para establecer una conexión.
    pub conectar: Duration,
    /// Para que llegue entera la línea de una petición (en total, no por lectura).
    pub peticion: Duration,
    /// Para que el otro empiece a contestar, o siga contestando.
    pub respuesta: Duration,
    /// Cada cuánto se mira que quien manda un archivo no vaya demasiado despacio.
    pub ventana: Duration,
    /// Para que vuelva la red, si se pierde a mitad de una descarga; cero, no se espera.
    pub esperar_red: Duration,
    /// Para que el otro calcule la huella de un archivo, además de lo que cueste leerlo.
    pub calcular: Duration,
    /// Sin que el otro reciba un solo byte de lo que se le manda.
    pub escribir: Duration,
    /// Bytes de una línea.
    pub linea: usize,
    /// Bytes por segundo que se sirven, entre todas las conexiones.
    pub caudal: Caudal,
    /// Con qué se cifra lo que se dice a otros nodos, si la clase tiene clave.
    pub clave: Option<Clave>,
    /// Quién mira lo que se dice: el laboratorio, si se pidió.
    pub testigo: Testigo,
}

impl Default for Limites {
    fn default() -> Self {
        Limites {
            conectar: Duration::from_secs(2),
            peticion: Duration::from_secs(10),
            respuesta: Duration::from_secs(10),
            ventana: Duration::from_secs(15),
            esperar_red: Duration::from_secs(60),
            calcular: Duration::from_secs(60),
            escribir: Duration::from_secs(30),
            linea: 4096,
            caudal: Caudal::default(),
            clave: None,
            testigo: Testigo::default(),
        }
    }
}

/// Quién es este nodo dentro de la lista de la práctica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fila {
    /// La fila N de [`PEERS`] (desde 1), elegida con `--nodo`.
    Elegida(usize),
    /// La primera cuyo puerto esté libre: `nodo` a secas.
    PrimeraLibre,
    /// Ninguna, porque el maestro está en otra máquina: el primer puerto libre desde el suyo.
    PuertoLibre,
    /// Ninguna: todo se dijo con opciones.
    Ninguna,
}

/// Lo que se decidió al arrancar, ya comprobado.
#[derive(Debug, Clone)]
pub struct Config {
    /// Fila de [`PEERS`].
    pub fila: Fila,
    /// IP en que escucha: el `IP_LOCAL` de la guía.
    pub ip: IpAddr,
    /// Puerto en que escucha; con [`Fila::PrimeraLibre`] lo da la fila que resulte.
    pub puerto: u16,
    /// Carpeta compartida; `None` con [`Fila::PrimeraLibre`] si la da la fila que resulte.
    pub carpeta: Option<PathBuf>,
    /// Los demás nodos (y quizá uno mismo, que se excluye al preguntar).
    pub peers: Vec<SocketAddr>,
    /// Nombre con que se presenta, si se escribió.
    pub nombre: Option<String>,
    /// Plazo total de cada peer al buscar.
    pub espera: Duration,
    /// Conexiones que atiende a la vez.
    pub max_conexiones: usize,
    /// ¿Se atiende sólo a los peers escritos y a esta máquina?
    pub solo_peers: bool,
    /// La URL del maestro en que registrarse.
    pub maestro: Option<String>,
    /// ¿Se dijo quién es (`--nodo` o `--puerto`)? Sin esto, una orden suelta no es nadie.
    pub identificado: bool,
    /// Si se anuncia en la red, y a quién deja escribir.
    pub encuentro: Encuentro,
    /// Plazos y topes.
    pub limites: Limites,
}

impl Config {
    /// La carpeta, o `compartidos` si nadie la dijo (las órdenes sueltas).
    pub fn carpeta_o_la_de_la_guia(&self) -> PathBuf {
        self.carpeta.clone().unwrap_or(CARPETA_ARCHIVOS.into())
    }
}

/// La dirección de la fila `n` (desde 1) de [`PEERS`].
pub fn direccion_de_fila(n: usize) -> SocketAddr {
    let (_, ip, puerto) = PEERS[n - 1];
    let ip = ip.parse().expect("las filas de PEERS llevan una IP");
    SocketAddr::new(ip, puerto)
}

/// La carpeta de la fila `n` (desde 1): `compartidos/nodoN`.
pub fn carpeta_de_fila(n: usize) -> PathBuf {
    [CARPETA_ARCHIVOS, PEERS[n - 1].0].iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodo::palabras::protocolo::nombre_de_nodo_valido;

    #[test]
    fn cada_fila_lleva_una_ip_y_un_nombre_que_vale() {
        for n in 1..=PEERS.len() {
            assert_ne!(direccion_de_fila(n).port(), 0);
            assert!(nombre_de_nodo_valido(PEERS[n - 1].0));
            assert!(carpeta_de_fila(n).ends_with(PEERS[n - 1].0));
        }
    }
}
