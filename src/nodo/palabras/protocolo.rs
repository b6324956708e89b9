//! Las palabras del protocolo: qué se puede pedir, qué se puede contestar y cómo se escribe.
//! Funciones puras.
//!
//! `BUSCAR` y `DESCARGAR` son las de la guía, tal cual. Las demás (ampliadas) son líneas de texto
//! que terminan en `\n`; el nombre va siempre al final, así que puede llevar `:`. Leer y escribir
//! son inversas: lo comprueba una prueba. Este archivo no sabe de sockets ni de disco.

use std::fmt;
use std::net::IpAddr;

use crate::config::MAX_NOMBRE;
use crate::grpc;
use crate::nodo::carpeta::huella::Huella;
use crate::nodo::palabras::tramos::{Tramos, leer_numero};

/// Cuántos bytes se miran, como mucho, para saber quién habla.
pub const PRIMERA_PALABRA: usize = 16;

/// El motivo con que se contesta a `BLOQUES` cuando la huella aún no está: quien pide vuelve a
/// preguntar.
pub const CALCULANDO: &str = "calculando la huella";
/// El motivo con que se contesta a `OBTENER` cuando ya se mandan bastantes bloques a la vez: se
/// pide a otro, o se repite enseguida.
pub const OCUPADO: &str = "ocupado";
/// El motivo con que se contesta a `OBTENER` cuando ese bloque de lo que se está bajando no ha
/// llegado.
pub const AUN_NO: &str = "aún no lo tengo";

/// Quién habla, según la primera palabra de la conexión.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habla {
    /// Un nodo de la guía, o quien usa sus palabras: `BUSCAR` y `DESCARGAR`.
    Guia,
    /// Uno de los nuestros.
    Ampliada,
    /// Un navegador o `curl`.
    Http,
    /// Un programa con gRPC, que empieza por `PRI * HTTP/2.0`; si este nodo se compiló con él.
    Grpc,
}

/// Lo que dicen los primeros bytes de una conexión.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Primera {
    /// Ya se sabe quién habla.
    Es(Habla),
    /// Faltan bytes para saberlo.
    Falta,
    /// Son 16 bytes y no hay palabra que valga.
    Basura,
}

/// Decide quién habla mirando hasta el primer `:`, espacio o `\n`. Delante de HTTP puede haber un
/// salto de línea de más, y no cuenta; delante de otra cosa es una línea vacía.
pub fn quien_habla(bytes: &[u8]) -> Primera {
    let sin_salto = bytes.strip_prefix(b"\r\n").unwrap_or_default();
    match primera_palabra(sin_salto) {
        Primera::Es(Habla::Http) => Primera::Es(Habla::Http),
        Primera::Falta if !sin_salto.is_empty() => Primera::Falta,
        _ => primera_palabra(bytes),
    }
}

fn primera_palabra(bytes: &[u8]) -> Primera {
    let mirados = &bytes[..bytes.len().min(PRIMERA_PALABRA)];
    let separa = |b: &u8| matches!(b, b':' | b' ' | b'\n');
    match mirados.iter().position(separa) {
        Some(donde) => Primera::Es(match (&mirados[..donde], mirados[donde]) {
            (b"BUSCAR" | b"DESCARGAR", b':') => Habla::Guia,
            (b"PRI", b' ') if grpc::COMPILADO => Habla::Grpc,
            (_, b' ') => Habla::Http,
            _ => Habla::Ampliada,
        }),
        None if mirados.len() < PRIMERA_PALABRA => Primera::Falta,
        None => Primera::Basura,
    }
}

/// Algo que un par pide a otro.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Palabra {
    /// `BUSCAR:<nombre>` → `SI` o `NO` (guía).
    Buscar(String),
    /// `DESCARGAR:<nombre>` → `OK` y los bytes hasta el cierre, o `NOFILE` (guía).
    Descargar(String),
    /// `HOLA:<puerto>:<nombre del nodo>[:<id>]` → lo mismo del otro.
    Hola(Presentacion),
    /// `LISTAR` → `LISTA:<n>` y n entradas.
    Listar,
    /// `INFO:<nombre>` → tamaño y huella.
    Info(String),
    /// `BLOQUES:<nombre>` → las huellas de los bloques.
    Bloques(String),
    /// `OBTENER:<desde>:<longitud>:<nombre>` → esos bytes.
    Obtener {
        /// Primer byte, desde 0.
        desde: u64,
        /// Cuántos bytes, como mucho.
        longitud: u64,
        /// De qué archivo.
        nombre: String,
    },
    /// `TENGO:<desde bloque>:<nombre o huella>` → qué bloques se le pueden pedir ya.
    Tengo {
        /// El primer bloque por el que se pregunta.
        desde: u64,
        /// De qué archivo, por su nombre o por su huella.
        nombre: String,
    },
    /// `OFRECER:<nombre>` → `ACEPTADO`, y los papeles se invierten.
    Ofrecer(String),
    /// `MENSAJE:<nombre del nodo>:<texto>` → `RECIBIDO`.
    Mensaje {
        /// Quién dice enviarlo.
        de: String,
        /// El texto, sin saltos de línea.
        texto: String,
    },
    /// `LLAMAME:<puerto>` → `TE_VEO:<cómo fue>:<ip>`.
    Llamame(u16),
}

/// Cómo se presenta un nodo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presentacion {
    /// Puerto en que escucha.
    pub puerto: u16,
    /// Nombre que se ha puesto.
    pub nombre: String,
    /// Lo que lo distingue de los demás, se llamen como se llamen: 8 cifras al azar en cada
    /// arranque.
    pub id: Option<String>,
}

/// Por qué no se entiende: la palabra no existe (o es de la guía y no es lo primero de la
/// conexión).
pub const DESCONOCIDA: &str = "palabra desconocida";
/// Por qué no se entiende: la palabra existe, pero lo que sigue no tiene su forma.
pub const MAL_ESCRITA: &str = "petición mal escrita";

impl Palabra {
    /// Lee una palabra de la guía: el nombre es todo lo que haya llegado, sin el fin de línea de
    /// quien prueba con `nc`.
    pub fn de_la_guia(texto: &str) -> Option<Palabra> {
        let (palabra, nombre) = texto.split_once(':')?;
        let nombre = nombre.trim_end_matches(['\r', '\n']).to_string();
        match palabra {
            "BUSCAR" => Some(Palabra::Buscar(nombre)),
            "DESCARGAR" => Some(Palabra::Descargar(nombre)),
            _ => None,
        }
    }

    /// Lee una petición ampliada, de una línea sin su `\n`. Si no se entiende, dice por qué.
    pub fn leer(linea: &str) -> Result<Palabra, &'static str> {
        let (palabra, resto) = linea.split_once(':').unwrap_or((linea, ""));
        let leida = match palabra {
            "HOLA" => Presentacion::leer(resto).map(Palabra::Hola),
            "LISTAR" if resto.is_empty() => Some(Palabra::Listar),
            "INFO" => Some(Palabra::Info(resto.to_string())),
            "BLOQUES" => Some(Palabra::Bloques(resto.to_string())),
            "OBTENER" => leer_obtener(resto),
            "TENGO" => leer_tengo(resto),
            "OFRECER" => Some(Palabra::Ofrecer(resto.to_string())),
            "MENSAJE" => resto.split_once(':').map(|(de, texto)| Palabra::Mensaje {
                de: de.to_string(),
                texto: texto.to_string(),
            }),
            "LLAMAME" => leer_puerto(resto).map(Palabra::Llamame),
            _ => return Err(DESCONOCIDA),
        };
        leida.ok_or(MAL_ESCRITA)
    }
}

fn leer_obtener(resto: &str) -> Option<Palabra> {
    let mut partes = resto.splitn(3, ':');
    let (desde, longitud) = (leer_numero(partes.next()?)?, leer_numero(partes.next()?)?);
    Some(Palabra::Obtener {
        desde,
        longitud,
        nombre: partes.next()?.to_string(),
    })
}

fn leer_tengo(resto: &str) -> Option<Palabra> {
    let (desde, nombre) = resto.split_once(':')?;
    Some(Palabra::Tengo {
        desde: leer_numero(desde)?,
        nombre: nombre.to_string(),
    })
}

fn leer_puerto(texto: &str) -> Option<u16> {
    u16::try_from(leer_numero(texto)?).ok()
}

/// ¿Puede llamarse así un nodo? Su nombre viaja entre dos `:` en una línea.
pub fn nombre_de_nodo_valido(nombre: &str) -> bool {
    let entre_dos_puntos = |c: char| c == ':' || c.is_control();
    (1..=MAX_NOMBRE).contains(&nombre.len()) && !nombre.contains(entre_dos_puntos)
}

impl Presentacion {
    fn leer(resto: &str) -> Option<Presentacion> {
        let mut partes = resto.splitn(3, ':');
        let puerto = leer_puerto(partes.next()?)?;
        let vale = |nombre: &&str| nombre_de_nodo_valido(nombre);
        let nombre = partes.next().filter(vale)?;
        let id = partes.next();
        let cifras = |id: &str| id.len() == 8 && id.bytes().all(|b| b.is_ascii_hexdigit());
        id.is_none_or(cifras).then(|| Presentacion {
            puerto,
            nombre: nombre.to_string(),
            id: id.map(str::to_string),
        })
    }
}

impl fmt::Display for Presentacion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HOLA:{}:{}", self.puerto, self.nombre)?;
        self.id.iter().try_for_each(|id| write!(f, ":{id}"))
    }
}

impl fmt::Display for Palabra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Palabra::Buscar(nombre) => write!(f, "BUSCAR:{nombre}"),
            Palabra::Descargar(nombre) => write!(f, "DESCARGAR:{nombre}"),
            Palabra::Hola(quien) => quien.fmt(f),
            Palabra::Listar => f.write_str("LISTAR"),
            Palabra::Info(nombre) => write!(f, "INFO:{nombre}"),
            Palabra::Bloques(nombre) => write!(f, "BLOQUES:{nombre}"),
            Palabra::Obtener {
                desde,
                longitud,
                nombre,
            } => write!(f, "OBTENER:{desde}:{longitud}:{nombre}"),
            Palabra::Tengo { desde, nombre } => write!(f, "TENGO:{desde}:{nombre}"),
            Palabra::Ofrecer(nombre) => write!(f, "OFRECER:{nombre}"),
            Palabra::Mensaje { de, texto } => write!(f, "MENSAJE:{de}:{texto}"),
            Palabra::Llamame(puerto) => write!(f, "LLAMAME:{puerto}"),
        }
    }
}

/// Lo que se contesta a una palabra ampliada.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Respuesta {
    /// `HOLA:<puerto>:<nombre>[:<id>]`.
    Hola(Presentacion),
    /// `LISTA:<n>`: siguen n entradas.
    Lista(u64),
    /// `INFO:<tamaño>:<huella o ->`.
    Info(Info),
    /// `BLOQUES:<n>`: siguen n huellas.
    Bloques(u64),
    /// `OK:<longitud>`: siguen esos bytes.
    Datos(u64),
    /// `TENGO:<tamaño>:<huella>:<tramos>`.
    Tengo(Existencias),
    /// `NOFILE`: no lo tiene.
    NoLoTiene,
    /// `ACEPTADO`: que empiece a servir.
    Aceptado,
    /// `RECIBIDO`, o `RECIBIDO:<nombre con que quedó>`.
    Recibido(Option<String>),
    /// `TE_VEO:<cómo fue>:<ip con que te veo>`.
    TeVeo(ComoTeVeo, IpAddr),
    /// `ERROR:<motivo>`.
    Error(String),
}

/// Cómo le fue a quien llamó de vuelta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ComoTeVeo {
    /// Contestó un nodo.
    Si,
    /// La conexión fue rechazada.
    Rechazada,
    /// Se acabó el plazo.
    Plazo,
    /// No hay camino, o alguien lo prohíbe.
    SinCamino,
    /// Contestó algo que no es un nodo, o nada.
    NoEsNodo,
}

/// Cada manera, con la palabra con que viaja.
const COMO_TE_VEO: [(ComoTeVeo, &str); 5] = [
    (ComoTeVeo::Si, "SI"),
    (ComoTeVeo::Rechazada, "rechazada"),
    (ComoTeVeo::Plazo, "plazo"),
    (ComoTeVeo::SinCamino, "sin_camino"),
    (ComoTeVeo::NoEsNodo, "no_es_nodo"),
];

impl fmt::Display for ComoTeVeo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let escrito = COMO_TE_VEO.iter().find(|(como, _)| como == self);
        f.write_str(escrito.map_or("", |(_, escrito)| escrito))
    }
}

/// Tamaño y huella de un archivo (`None` mientras se calcula).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Info {
    /// Bytes.
    pub tamano: u64,
    /// BLAKE3 del archivo.
    pub huella: Option<Huella>,
}

/// Los bloques de un archivo que se pueden pedir ya.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Existencias {
    /// Lo que mide el archivo entero, en bytes.
    pub tamano: u64,
    /// BLAKE3 del archivo entero.
    pub huella: Huella,
    /// Qué bloques: todos, o los primeros que quepan en la línea.
    pub tramos: Tramos,
}

impl Existencias {
    fn leer(resto: &str) -> Option<Existencias> {
        let mut partes = resto.splitn(3, ':');
        Some(Existencias {
            tamano: leer_numero(partes.next()?)?,
            huella: Huella::leer(partes.next()?)?,
            tramos: Tramos::leer(partes.next()?)?,
        })
    }

    /// Lo mismo, con los tramos que quepan en una línea de `tope` bytes con su final.
    pub fn en_una_linea_de(self, tope: usize) -> Existencias {
        let sin_tramos = format!("TENGO:{}:{}:\n", self.tamano, self.huella);
        let tramos = self.tramos.que_caben_en(tope - sin_tramos.len());
        Existencias { tramos, ..self }
    }
}

impl Respuesta {
    /// Lee una respuesta, de una línea sin su `\n`. `None` si no es ninguna.
    pub fn leer(linea: &str) -> Option<Respuesta> {
        let (palabra, resto) = match linea.split_once(':') {
            Some((palabra, resto)) => (palabra, Some(resto)),
            None => (linea, None),
        };
        match (palabra, resto) {
            ("HOLA", Some(resto)) => Presentacion::leer(resto).map(Respuesta::Hola),
            ("LISTA", Some(resto)) => leer_numero(resto).map(Respuesta::Lista),
            ("INFO", Some(resto)) => Info::leer(resto).map(Respuesta::Info),
            ("BLOQUES", Some(resto)) => leer_numero(resto).map(Respuesta::Bloques),
            ("OK", Some(resto)) => leer_numero(resto).map(Respuesta::Datos),
            ("TENGO", Some(resto)) => Existencias::leer(resto).map(Respuesta::Tengo),
            ("NOFILE", None) => Some(Respuesta::NoLoTiene),
            ("ACEPTADO", None) => Some(Respuesta::Aceptado),
            ("TE_VEO", Some(resto)) => leer_te_veo(resto),
            ("RECIBIDO", nombre) => Some(Respuesta::Recibido(nombre.map(str::to_string))),
            ("ERROR", motivo) => Some(Respuesta::Error(motivo.unwrap_or_default().to_string())),
            _ => None,
        }
    }
}

fn leer_te_veo(resto: &str) -> Option<Respuesta> {
    let (como, ip) = resto.split_once(':')?;
    let (como, _) = COMO_TE_VEO.iter().find(|(_, escrito)| *escrito == como)?;
    Some(Respuesta::TeVeo(*como, ip.parse().ok()?))
}

impl Info {
    fn leer(resto: &str) -> Option<Info> {
        let (tamano, huella) = resto.split_once(':')?;
        Some(Info {
            tamano: leer_numero(tamano)?,
            huella: leer_huella(huella)?,
        })
    }
}

/// Una huella, o `-` si aún no se sabe.
fn leer_huella(texto: &str) -> Option<Option<Huella>> {
    match texto {
        "-" => Some(None),
        cifras => Huella::leer(cifras).map(Some),
    }
}

fn huella_o_guion(huella: Option<Huella>) -> String {
    huella.map_or_else(|| "-".to_string(), |huella| huella.to_string())
}

impl fmt::Display for Respuesta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Respuesta::Hola(quien) => quien.fmt(f),
            Respuesta::Lista(n) => write!(f, "LISTA:{n}"),
            Respuesta::Info(Info { tamano, huella }) => {
                write!(f, "INFO:{tamano}:{}", huella_o_guion(*huella))
            }
            Respuesta::Bloques(n) => write!(f, "BLOQUES:{n}"),
            Respuesta::Datos(n) => write!(f, "OK:{n}"),
            Respuesta::Tengo(Existencias {
                tamano,
                huella,
                tramos,
            }) => write!(f, "TENGO:{tamano}:{huella}:{tramos}"),
            Respuesta::NoLoTiene => f.write_str("NOFILE"),
            Respuesta::Aceptado => f.write_str("ACEPTADO"),
            Respuesta::Recibido(None) => f.write_str("RECIBIDO"),
            Respuesta::Recibido(Some(nombre)) => write!(f, "RECIBIDO:{nombre}"),
            Respuesta::TeVeo(como, ip) => write!(f, "TE_VEO:{como}:{ip}"),
            Respuesta::Error(motivo) => write!(f, "ERROR:{motivo}"),
        }
    }
}

/// Una línea de la respuesta a `LISTAR`: `<tamaño>:<huella o ->:<nombre>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entrada {
    /// Bytes.
    pub tamano: u64,
    /// BLAKE3 del archivo, si ya se calculó.
    pub huella: Option<Huella>,
    /// Ruta relativa a la carpeta compartida, con `/`.
    pub nombre: String,
}

impl Entrada {
    /// Lee una entrada. `None` si no tiene su forma.
    pub fn leer(linea: &str) -> Option<Entrada> {
        let mut partes = linea.splitn(3, ':');
        let (tamano, huella) = (leer_numero(partes.next()?)?, leer_huella(partes.next()?)?);
        Some(Entrada {
            tamano,
            huella,
            nombre: partes.next()?.to_string(),
        })
    }
}

impl fmt::Display for Entrada {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let huella = huella_o_guion(self.huella);
        write!(f, "{}:{huella}:{}", self.tamano, self.nombre)
    }
}

/// Un texto en una sola línea: los saltos se vuelven espacios.
pub fn en_una_linea(texto: &str) -> String {
    texto.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodo::carpeta::huella::huella_de_bloque;
    use proptest::prelude::*;

    #[test]
    fn las_primeras_letras_deciden() {
        let casos: [(&[u8], Primera); 12] = [
            (b"BUSCAR:foto", Primera::Es(Habla::Guia)),
            (b"DESCARGAR:", Primera::Es(Habla::Guia)),
            (b"GET / HTTP/1.1", Primera::Es(Habla::Http)),
            (b"LISTAR\n", Primera::Es(Habla::Ampliada)),
            (b"HOLA:1:x\n", Primera::Es(Habla::Ampliada)),
            (b"buscar:x", Primera::Es(Habla::Ampliada)),
            (b"\n", Primera::Es(Habla::Ampliada)),
            (b"", Primera::Falta),
            (b"BUSCA", Primera::Falta),
            (b"xxxxxxxxxxxxxxx", Primera::Falta),
            (b"xxxxxxxxxxxxxxxx", Primera::Basura),
            (b"xxxxxxxxxxxxxxxx:", Primera::Basura),
        ];
        let http_o_nada: [(&[u8], _); 5] = [
            (b"\r\nGET / HTTP/1.1", Primera::Es(Habla::Http)),
            (b"\r\nGE", Primera::Falta),
            (b"\r\n", Primera::Es(Habla::Ampliada)),
            (b"\r\nBUSCAR:x", Primera::Es(Habla::Ampliada)),
            (b"\r\n\r\nGET / ", Primera::Es(Habla::Ampliada)),
        ];
        // Sin gRPC, es un HTTP que no se entiende.
        let de_grpc = if grpc::COMPILADO {
            Habla::Grpc
        } else {
            Habla::Http
        };
        let por_grpc: [(&[u8], _); 3] = [
            (b"PRI * HTTP/2.0\r\n", Primera::Es(de_grpc)),
            (b"PRI", Primera::Falta),
            (b"PRIMO / HTTP/1.1", Primera::Es(Habla::Http)),
        ];
        let todos = casos.into_iter().chain(http_o_nada).chain(por_grpc);
        for (bytes, quien) in todos {
            assert_eq!(
                quien_habla(bytes),
                quien,
                "{:?}",
                String::from_utf8_lossy(bytes)
            );
        }
    }

    #[test]
    fn lo_mal_escrito_no_se_entiende() {
        for mala in [
            "OBTENER:1:2",
            "OBTENER:-1:2:x",
            "OBTENER:+1:2:x",
            "OBTENER::2:x",
            "HOLA",
            "HOLA:99999:x",
            "HOLA:1:",
            "MENSAJE:solo",
            "OBTENER:99999999999999999999:1:x",
            "TENGO:x",
            "TENGO::x",
            "TENGO:-1:x",
            "LLAMAME",
            "LLAMAME:70000",
            "LLAMAME:6000:10.0.0.9",
        ] {
            assert_eq!(Palabra::leer(mala), Err(MAL_ESCRITA), "{mala}");
        }
        for mala in ["", "BUSCAR:x", "DESCARGAR:x", "listar", "LISTAR:x", "QUÉ"] {
            assert_eq!(Palabra::leer(mala), Err(DESCONOCIDA), "{mala}");
        }
    }

    fn nombre() -> impl Strategy<Value = String> {
        "[^\n\r]{0,40}"
    }

    fn peticion() -> impl Strategy<Value = Palabra> {
        prop_oneof![
            (any::<u16>(), "[a-zñ ]{1,20}").prop_map(|(puerto, nombre)| Palabra::Hola(
                Presentacion {
                    puerto,
                    nombre,
                    id: None
                }
            )),
            (any::<u16>(), "[a-zñ ]{1,20}", "[0-9a-f]{8}").prop_map(|(puerto, nombre, id)| {
                Palabra::Hola(Presentacion {
                    puerto,
                    nombre,
                    id: Some(id),
                })
            }),
            Just(Palabra::Listar),
            nombre().prop_map(Palabra::Info),
            nombre().prop_map(Palabra::Bloques),
            nombre().prop_map(Palabra::Ofrecer),
            (any::<u64>(), any::<u64>(), nombre()).prop_map(|(desde, longitud, nombre)| {
                Palabra::Obtener {
                    desde,
                    longitud,
                    nombre,
                }
            }),
            (any::<u64>(), nombre()).prop_map(|(desde, nombre)| Palabra::Tengo { desde, nombre }),
            ("[^:\n\r]{0,20}", nombre()).prop_map(|(de, texto)| Palabra::Mensaje { de, texto }),
            any::<u16>().prop_map(Palabra::Llamame),
        ]
    }

    fn existencias() -> impl Strategy<Value = Existencias> {
        let tramos = proptest::collection::btree_set(any::<u64>(), 1..400).prop_map(Tramos::de);
        (any::<u64>(), any::<u8>(), tramos).prop_map(|(tamano, n, tramos)| Existencias {
            tamano,
            huella: huella_de_bloque(1, 0, &[n]),
            tramos,
        })
    }

    fn respuesta() -> impl Strategy<Value = Respuesta> {
        let huella = any::<Option<u8>>().prop_map(|n| n.map(|n| huella_de_bloque(1, 0, &[n])));
        prop_oneof![
            any::<u64>().prop_map(Respuesta::Lista),
            any::<u64>().prop_map(Respuesta::Bloques),
            any::<u64>().prop_map(Respuesta::Datos),
            existencias().prop_map(Respuesta::Tengo),
            (any::<u64>(), huella)
                .prop_map(|(tamano, huella)| Respuesta::Info(Info { tamano, huella })),
            Just(Respuesta::NoLoTiene),
            Just(Respuesta::Aceptado),
            proptest::option::of(nombre()).prop_map(Respuesta::Recibido),
            (prop::sample::select(&COMO_TE_VEO[..]), any::<IpAddr>())
                .prop_map(|((como, _), ip)| Respuesta::TeVeo(como, ip)),
            nombre().prop_map(Respuesta::Error),
        ]
    }

    /// La que sigue a cada una. Con una palabra nueva esto no compila hasta ponerla aquí, y
    /// entonces la prueba dice si falta en `leer`.
    fn siguiente(palabra: &Palabra) -> Option<Palabra> {
        let nombre = || "x".to_string();
        Some(match palabra {
            Palabra::Buscar(_) => Palabra::Descargar(nombre()),
            Palabra::Descargar(_) => Palabra::Listar,
            Palabra::Listar => Palabra::Info(nombre()),
            Palabra::Info(_) => Palabra::Bloques(nombre()),
            Palabra::Bloques(_) => Palabra::Ofrecer(nombre()),
            Palabra::Ofrecer(_) => Palabra::Mensaje {
                de: nombre(),
                texto: nombre(),
            },
            Palabra::Mensaje { .. } => Palabra::Llamame(6000),
            Palabra::Llamame(_) => Palabra::Obtener {
                desde: 1,
                longitud: 2,
                nombre: nombre(),
            },
            Palabra::Obtener { .. } => Palabra::Tengo {
                desde: 1,
                nombre: nombre(),
            },
            Palabra::Tengo { .. } => Palabra::Hola(Presentacion {
                puerto: 1,
                nombre: nombre(),
                id: None,
            }),
            Palabra::Hola(_) => return None,
        })
    }

    #[test]
    fn ninguna_palabra_se_queda_sin_leer() {
        let todas = std::iter::successors(Some(Palabra::Buscar("x".into())), siguiente);
        for palabra in todas {
            let escrita = palabra.to_string();
            let de_la_guia = Palabra::de_la_guia(&escrita);
            let leida = de_la_guia.or_else(|| Palabra::leer(&escrita).ok());
            assert_eq!(leida, Some(palabra));
        }
    }

    proptest! {
        #[test]
        fn leer_lo_escrito_da_lo_mismo(peticion in peticion(), respuesta in respuesta()) {
            prop_assert_eq!(Palabra::leer(&peticion.to_string()), Ok(peticion.clone()));
            prop_assert_eq!(Respuesta::leer(&respuesta.to_string()), Some(respuesta.clone()));
        }

        #[test]
        fn lo_que_se_tiene_cabe_en_una_linea(
            existencias in existencias(),
            tope in 200..5000_usize,
        ) {
            let recortadas = existencias.clone().en_una_linea_de(tope);
            prop_assert!(!recortadas.tramos.vacios());
            let linea = format!("{}\n", Respuesta::Tengo(recortadas));
            prop_assert!(linea.len() <= tope);
            let entera = format!("{}\n", Respuesta::Tengo(existencias));
            prop_assert!(entera.starts_with(linea.trim_end()));
            prop_assert!(linea == entera || linea.len() + 42 > tope, "se recorta lo justo");
        }

        #[test]
        fn ninguna_basura_lo_tumba(bytes in any::<Vec<u8>>(), texto in any::<String>()) {
            quien_habla(&bytes);
            let _ = (Palabra::leer(&texto), Respuesta::leer(&texto), Entrada::leer(&texto));
        }

        #[test]
        fn una_entrada_va_y_vuelve(tamano in any::<u64>(), nombre in nombre()) {
            let entrada = Entrada { tamano, huella: None, nombre };
            prop_assert_eq!(Entrada::leer(&entrada.to_string()), Some(entrada.clone()));
        }

        #[test]
        fn una_palabra_mutada_no_tumba_nada(
            peticion in peticion(),
            donde in any::<usize>(),
            letra in any::<char>(),
        ) {
            let mut letras: Vec<char> = peticion.to_string().chars().collect();
            let donde = donde % letras.len();
            letras[donde] = letra;
            let _ = Palabra::leer(&letras.into_iter().collect::<String>());
        }
    }
}
