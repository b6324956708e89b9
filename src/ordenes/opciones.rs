//! La línea de órdenes: qué se puede escribir, y cómo se dice en español lo que está mal escrito.
//!
//! La guía no tiene órdenes sueltas: todo se hace desde el menú. Las opciones del nodo están en `config.rs`; aquí,
//! las órdenes que las llevan. clap las lee; este archivo no hace nada con ellas.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::{OpcionesNodo, leer_direccion, leer_ip, leer_maestro, leer_peer, leer_puerto};

/// Nodo P2P para compartir archivos en una LAN. Sin orden, abre el menú.
#[derive(Debug, Parser)]
#[command(name = "nodo", version, disable_version_flag = true)]
pub struct Argumentos {
    /// Las opciones escritas antes de la orden.
    #[command(flatten)]
    pub nodo: OpcionesNodo,
    /// La orden, si la hay.
    #[command(subcommand)]
    pub orden: Option<Orden>,
}

impl Argumentos {
    /// Las prácticas no son el nodo: de las opciones del nodo escritas antes de su orden toman las que ellas también
    /// tienen (lo escrito después manda), y las demás sobran.
    fn dar_a_la_practica(mut self) -> Result<Argumentos, String> {
        let antes = &mut self.nodo;
        let orden = match &mut self.orden {
            Some(Orden::Balanceador(o)) => {
                o.donde.completar(antes);
                "balanceador"
            }
            Some(Orden::Backend(o)) => {
                o.donde.completar(antes);
                o.nombre = o.nombre.take().or(antes.nombre.take());
                "backend"
            }
            Some(Orden::Maestro(o)) => {
                o.donde.completar(antes);
                "maestro"
            }
            Some(Orden::Chat(_)) => "chat",
            Some(Orden::Solicitar(_)) => "solicitar",
            _ => return Ok(self),
        };
        match alguna_escrita(antes) {
            Some(opcion) => Err(format!(
                "{opcion} es una opción del nodo y no vale para «{orden}»"
            )),
            None => Ok(self),
        }
    }
}

/// La primera opción del nodo que esté escrita. Sin `..`: una opción nueva no compila hasta que se ponga aquí.
fn alguna_escrita(opciones: &OpcionesNodo) -> Option<&'static str> {
    let OpcionesNodo {
        nodo,
        ip,
        puerto,
        carpeta,
        peers,
        nombre,
        espera,
        max_conexiones,
        maestro,
    } = opciones;
    let escritas = [
        ("--nodo", nodo.is_some()),
        ("--ip", ip.is_some()),
        ("--puerto", puerto.is_some()),
        ("--carpeta", carpeta.is_some()),
        ("--peer", !peers.is_empty()),
        ("--nombre", nombre.is_some()),
        ("--espera", espera.is_some()),
        ("--max-conexiones", max_conexiones.is_some()),
        ("--maestro", maestro.is_some()),
    ];
    escritas
        .into_iter()
        .find_map(|(opcion, escrita)| escrita.then_some(opcion))
}

/// Lo que se puede pedir.
#[derive(Debug, Subcommand)]
pub enum Orden {
    /// El nodo sin menú (para scripts)
    Servir(SoloNodo),
    /// Archivos de la carpeta, o de todos los peers
    Listar(Listar),
    /// Qué peers tienen un archivo
    Buscar(Buscar),
    /// Baja un archivo de todos los que lo tengan
    Descargar(Descargar),
    /// Envía un archivo a otro nodo
    Enviar(Enviar),
    /// Manda un mensaje a todos los peers, o a uno
    Mensaje(EnviarMensaje),
    /// Qué peers responden, quiénes son y en cuánto
    Estado(SoloNodo),
    /// La huella BLAKE3 de un archivo, como la escribe b3sum
    Huella(DeHuella),
    /// Pregunta al maestro (o a un peer) quién tiene un archivo
    Localizar(Localizar),
    /// Práctica: chat entre dos o más
    Chat(Chat),
    /// Práctica: balanceador de carga round-robin
    Balanceador(Balanceador),
    /// Práctica: servidor de prueba para el balanceador
    Backend(Backend),
    /// Práctica: manda solicitudes al balanceador y cuenta quién contesta
    Solicitar(Solicitar),
    /// Práctica: directorio «maestro» con REST
    Maestro(Maestro),
}

/// Una orden que sólo lleva las opciones del nodo.
#[derive(Debug, Args)]
pub struct SoloNodo {
    /// Opciones escritas después de la orden.
    #[command(flatten)]
    pub nodo: OpcionesNodo,
}

/// `nodo listar`.
#[derive(Debug, Args)]
pub struct Listar {
    /// Los archivos de todos los peers, cada uno con su nodo
    #[arg(long)]
    pub red: bool,
    /// Opciones escritas después de la orden.
    #[command(flatten)]
    pub nodo: OpcionesNodo,
}

/// `nodo buscar`.
#[derive(Debug, Args)]
pub struct Buscar {
    /// Nombre del archivo
    #[arg(value_name = "NOMBRE")]
    pub archivo: String,
    /// Opciones escritas después de la orden.
    #[command(flatten)]
    pub nodo: OpcionesNodo,
}

/// `nodo descargar`.
#[derive(Debug, Args)]
pub struct Descargar {
    /// Nombre del archivo
    #[arg(value_name = "NOMBRE")]
    pub archivo: String,
    /// De quién (se repite); sin esto, de todos los que lo tengan
    #[arg(long = "de", value_name = "IP:PUERTO", value_parser = leer_peer)]
    pub de: Vec<SocketAddr>,
    /// Opciones escritas después de la orden.
    #[command(flatten)]
    pub nodo: OpcionesNodo,
}

/// `nodo enviar`.
#[derive(Debug, Args)]
pub struct Enviar {
    /// El archivo, esté donde esté
    #[arg(value_name = "ARCHIVO")]
    pub archivo: PathBuf,
    /// A quién
    #[arg(long = "a", value_name = "IP:PUERTO", value_parser = leer_peer)]
    pub a: SocketAddr,
    /// Opciones escritas después de la orden.
    #[command(flatten)]
    pub nodo: OpcionesNodo,
}

/// `nodo mensaje`.
#[derive(Debug, Args)]
pub struct EnviarMensaje {
    /// El texto (2000 bytes como mucho)
    #[arg(value_name = "TEXTO")]
    pub texto: String,
    /// A quién; sin esto, a todos los peers
    #[arg(long = "a", value_name = "IP:PUERTO", value_parser = leer_peer)]
    pub a: Option<SocketAddr>,
    /// Opciones escritas después de la orden.
    #[command(flatten)]
    pub nodo: OpcionesNodo,
}

/// `nodo huella`.
#[derive(Debug, Args)]
pub struct DeHuella {
    /// Los archivos
    #[arg(value_name = "ARCHIVO", required = true)]
    pub archivos: Vec<PathBuf>,
    /// Opciones escritas después de la orden.
    #[command(flatten)]
    pub nodo: OpcionesNodo,
}

/// `nodo localizar`.
#[derive(Debug, Args)]
pub struct Localizar {
    /// Nombre del archivo
    #[arg(value_name = "NOMBRE")]
    pub archivo: String,
    /// Preguntar a este peer en vez de al maestro
    #[arg(long, value_name = "URL", value_parser = leer_maestro)]
    pub por: Option<String>,
    /// Opciones escritas después de la orden.
    #[command(flatten)]
    pub nodo: OpcionesNodo,
}

/// `nodo chat`.
#[derive(Debug, Args)]
pub struct Chat {
    /// Espera a los demás en esta dirección
    #[arg(long, value_name = "IP:PUERTO", value_parser = leer_direccion, conflicts_with = "conectar")]
    pub servidor: Option<SocketAddr>,
    /// Se conecta a quien espera en esta dirección
    #[arg(long, value_name = "IP:PUERTO", value_parser = leer_direccion)]
    pub conectar: Option<SocketAddr>,
}

/// Dónde escucha una práctica.
#[derive(Debug, Args)]
pub struct DondeEscucha {
    /// IP en que escucha (127.0.0.1 si no se dice)
    #[arg(long, value_name = "IP", value_parser = leer_ip)]
    pub ip: Option<IpAddr>,
    /// Puerto en que escucha (0 = el que esté libre)
    #[arg(long, value_name = "PUERTO", value_parser = leer_puerto)]
    pub puerto: Option<u16>,
}

impl DondeEscucha {
    /// Toma de las opciones de `antes` de la orden lo que no se escribió después.
    fn completar(&mut self, antes: &mut OpcionesNodo) {
        // `or` y no `or_else`: escrita a los dos lados vale la de después, y la de antes tampoco sobra.
        self.ip = self.ip.or(antes.ip.take());
        self.puerto = self.puerto.or(antes.puerto.take());
    }

    /// La IP y el puerto en que escuchar; `puerto` es el de la práctica si no se escribió otro.
    pub fn o_en(&self, puerto: u16) -> SocketAddr {
        let ip = self.ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        SocketAddr::new(ip, self.puerto.unwrap_or(puerto))
    }
}

/// `nodo balanceador`.
#[derive(Debug, Args)]
pub struct Balanceador {
    /// Dónde escucha (puerto 8000 si no se dice).
    #[command(flatten)]
    pub donde: DondeEscucha,
    /// Un servidor entre los que repartir (se repite; sin esto, los puertos 8001, 8002 y 8003 de 127.0.0.1)
    #[arg(long = "backend", value_name = "IP:PUERTO", value_parser = leer_direccion)]
    pub backends: Vec<SocketAddr>,
}

/// `nodo backend`.
#[derive(Debug, Args)]
pub struct Backend {
    /// Dónde escucha (puerto 8001 si no se dice).
    #[command(flatten)]
    pub donde: DondeEscucha,
    /// Nombre con que contesta («Server 1» si no se dice)
    #[arg(long, value_name = "NOMBRE")]
    pub nombre: Option<String>,
}

/// `nodo solicitar`.
#[derive(Debug, Args)]
pub struct Solicitar {
    /// El balanceador
    #[arg(long = "a", value_name = "IP:PUERTO", value_parser = leer_direccion)]
    pub a: Option<SocketAddr>,
    /// Cuántas solicitudes
    #[arg(long, value_name = "N", value_parser = leer_veces, default_value = "1", hide_default_value = true)]
    pub veces: u32,
    /// Lo que se manda
    #[arg(
        long,
        value_name = "TEXTO",
        default_value = "Hello Load Balancer",
        hide_default_value = true
    )]
    pub texto: String,
}

/// `nodo maestro`.
#[derive(Debug, Args)]
pub struct Maestro {
    /// Dónde escucha (puerto 9000 si no se dice).
    #[command(flatten)]
    pub donde: DondeEscucha,
}

fn leer_veces(escrito: &str) -> Result<u32, String> {
    match escrito.parse() {
        Ok(veces @ 1..=1_000_000) => Ok(veces),
        _ => Err("se esperaba un número de 1 a 1000000".into()),
    }
}

/// Qué hacer si no hay una orden que cumplir.
#[derive(Debug)]
pub enum SinOrden {
    /// Pidieron la ayuda o la versión: este texto, y todo bien.
    Ayuda(String),
    /// Está mal escrito: esta frase.
    MalEscrito(String),
}

/// Lee la línea de órdenes (`palabras` empieza por el nombre del programa).
///
/// # Errores
/// La ayuda, la versión, o la frase que dice qué está mal escrito.
pub fn leer<I, T>(palabras: I) -> Result<Argumentos, SinOrden>
where
    I: IntoIterator<Item = T>,
    T: Into<std::ffi::OsString> + Clone,
{
    let leido = comando()
        .try_get_matches_from(palabras)
        .and_then(|mut m| Argumentos::from_arg_matches_mut(&mut m));
    let mal_escrito = |frase| SinOrden::MalEscrito(format!("{frase}\nLa ayuda: nodo --help"));
    let leido = leido.map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => SinOrden::Ayuda(error.to_string()),
        _ => mal_escrito(que_esta_mal(&error)),
    })?;
    leido.dar_a_la_practica().map_err(mal_escrito)
}

/// Los argumentos con la ayuda en español. clap sólo sabe inglés: se sustituyen sus títulos y sus opciones propias.
fn comando() -> Command {
    let version = Arg::new("version")
        .short('V')
        .long("version")
        .action(ArgAction::Version)
        .help("Muestra la versión");
    en_espanol(Argumentos::command().arg(version), "nodo")
}

fn en_espanol(comando: Command, escrito: &str) -> Command {
    let ayuda = Arg::new("ayuda")
        .short('h')
        .long("help")
        .action(ArgAction::Help)
        .help("Muestra esta ayuda");
    let posicionales: String = comando
        .get_positionals()
        .map(|arg| format!(" {arg}"))
        .collect();
    let orden = if comando.has_subcommands() {
        " [ORDEN]"
    } else {
        ""
    };
    let uso = format!(
        "{escrito} [OPCIONES]{orden}{}",
        posicionales.replace("...", "…")
    );
    let ordenes: Vec<String> = comando
        .get_subcommands()
        .map(|c| c.get_name().to_string())
        .collect();
    let comando = comando
        .disable_help_flag(true)
        .disable_help_subcommand(true)
        .arg(ayuda)
        .override_usage(uso)
        .subcommand_help_heading("Órdenes")
        .mut_args(|arg| match (arg.is_positional(), arg.get_help_heading()) {
            (true, _) => arg.help_heading("Argumentos"),
            (false, None) => arg.help_heading("Opciones"),
            (false, Some(_)) => arg,
        })
        .help_template("{about}\n\nUso: {usage}\n\n{all-args}");
    ordenes.into_iter().fold(comando, |comando, orden| {
        comando.mut_subcommand(&orden, |c| en_espanol(c, &format!("{escrito} {orden}")))
    })
}

fn que_esta_mal(error: &clap::Error) -> String {
    let dato = |clave| match error.get(clave) {
        Some(ContextValue::String(texto)) => texto.clone(),
        Some(ContextValue::Strings(varios)) => varios.join(", "),
        _ => String::new(),
    };
    let (arg, valor) = (
        dato(ContextKind::InvalidArg),
        dato(ContextKind::InvalidValue),
    );
    match error.kind() {
        ErrorKind::UnknownArgument => {
            format!(
                "no conozco «{arg}»{}",
                parecido(&dato(ContextKind::SuggestedArg))
            )
        }
        ErrorKind::InvalidSubcommand => format!(
            "no conozco la orden «{}»{}",
            dato(ContextKind::InvalidSubcommand),
            parecido(&dato(ContextKind::SuggestedSubcommand))
        ),
        ErrorKind::MissingRequiredArgument => format!("falta {arg}"),
        ErrorKind::InvalidValue if valor.is_empty() => format!("a {arg} le falta el valor"),
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => {
            let motivo =
                std::error::Error::source(error).map_or(String::new(), |e| format!(": {e}"));
            format!("«{valor}» no vale para {arg}{motivo}")
        }
        ErrorKind::ArgumentConflict => match dato(ContextKind::PriorArg) {
            otro if otro == arg || otro.is_empty() => format!("{arg} está escrito más de una vez"),
            otro => format!("{arg} y {otro} no van juntos"),
        },
        ErrorKind::InvalidUtf8 => "hay un argumento que no es texto UTF-8".into(),
        ErrorKind::NoEquals
        | ErrorKind::TooManyValues
        | ErrorKind::TooFewValues
        | ErrorKind::WrongNumberOfValues => {
            format!("{arg} no lleva ese número de valores")
        }
        _ => "no se entiende la orden".into(),
    }
}

fn parecido(sugerencia: &str) -> String {
    if sugerencia.is_empty() {
        String::new()
    } else {
        format!(" (¿querías decir {sugerencia}?)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leer_linea(linea: &str) -> Argumentos {
        leer(linea.split(' ')).unwrap_or_else(|e| panic!("{linea}: {e:?}"))
    }

    fn fallo(linea: &str) -> String {
        match leer(linea.split(' ')) {
            Err(SinOrden::MalEscrito(frase)) => frase,
            otro => panic!("{linea}: {otro:?}"),
        }
    }

    #[test]
    fn clap_da_por_buena_la_definicion() {
        comando().debug_assert();
    }

    #[test]
    fn cada_opcion_vale_a_los_dos_lados() {
        let opciones = [
            "--nodo 2",
            "--ip 127.0.0.1",
            "--puerto 0",
            "--carpeta x",
            "--peer 127.0.0.1:7",
            "--nombre yo",
            "--espera 1",
            "--max-conexiones 9",
            "--maestro http://127.0.0.1:9000",
        ];
        for opcion in opciones {
            for linea in [
                format!("nodo {opcion} buscar foto"),
                format!("nodo buscar foto {opcion}"),
            ] {
                let Argumentos {
                    nodo,
                    orden: Some(Orden::Buscar(buscar)),
                } = leer_linea(&linea)
                else {
                    panic!("{linea}");
                };
                let juntas = format!("{:?}", nodo.unir(buscar.nodo));
                assert_ne!(juntas, format!("{:?}", OpcionesNodo::default()), "{linea}");
                assert_eq!(buscar.archivo, "foto");
            }
        }
    }

    #[test]
    fn un_peer_a_cada_lado_son_dos_peers() {
        let linea = "nodo --peer 127.0.0.1:1 buscar x --peer 127.0.0.1:2 --peer 127.0.0.1";
        let Argumentos {
            nodo,
            orden: Some(Orden::Buscar(buscar)),
        } = leer_linea(linea)
        else {
            panic!()
        };
        let puertos: Vec<u16> = nodo
            .unir(buscar.nodo)
            .peers
            .iter()
            .map(|p| p.port())
            .collect();
        assert_eq!(puertos, [1, 2, 6000]);
    }

    #[test]
    fn una_practica_toma_lo_suyo_de_los_dos_lados() {
        let linea = "nodo --puerto 9001 --nombre uno --ip 127.0.0.2 backend --nombre dos";
        let Some(Orden::Backend(backend)) = leer_linea(linea).orden else {
            panic!("{linea}")
        };
        assert_eq!(backend.donde.o_en(8001), "127.0.0.2:9001".parse().unwrap());
        assert_eq!(backend.nombre.as_deref(), Some("dos"));
        for orden in ["balanceador", "maestro"] {
            let linea = format!("nodo --puerto 1 --ip 127.0.0.3 {orden} --puerto 2");
            let Some(
                Orden::Balanceador(Balanceador { donde, .. }) | Orden::Maestro(Maestro { donde }),
            ) = leer_linea(&linea).orden
            else {
                panic!("{linea}")
            };
            assert_eq!(donde.o_en(0), "127.0.0.3:2".parse().unwrap(), "{linea}");
        }
    }

    #[test]
    fn lo_del_nodo_no_vale_para_una_practica() {
        for (linea, sobra) in [
            ("nodo --nombre yo balanceador", "--nombre"),
            ("nodo --carpeta x backend", "--carpeta"),
            ("nodo --puerto 1 --peer 127.0.0.1 maestro", "--peer"),
            ("nodo --puerto 1 chat", "--puerto"),
            ("nodo --espera 1 solicitar", "--espera"),
        ] {
            let frase = fallo(linea);
            assert!(
                frase.starts_with(&format!("{sobra} es una opción del nodo y no vale")),
                "{linea}: {frase}"
            );
        }
    }

    #[test]
    fn lo_mal_escrito_se_dice_en_espanol() {
        for (linea, dice) in [
            ("nodo --colador", "no conozco «--colador»"),
            ("nodo busca x", "no conozco la orden «busca»"),
            ("nodo buscar", "falta <NOMBRE>"),
            (
                "nodo --puerto hola",
                "«hola» no vale para --puerto <PUERTO>: se esperaba",
            ),
            ("nodo --puerto 70000", "no vale para"),
            ("nodo --nodo", "a --nodo <N> le falta el valor"),
            ("nodo --nodo 1 --nodo 2", "está escrito más de una vez"),
            (
                "nodo chat --servidor 127.0.0.1:1 --conectar 127.0.0.1:1",
                "no van juntos",
            ),
            (
                "nodo --ip casa",
                "«casa» no vale para --ip <IP>: se esperaba",
            ),
        ] {
            let frase = fallo(linea);
            assert!(frase.contains(dice), "{linea}: {frase}");
        }
    }

    #[test]
    fn la_ayuda_no_tiene_ingles() {
        for linea in [
            "nodo --help",
            "nodo descargar -h",
            "nodo balanceador --help",
            "nodo huella -h",
        ] {
            let Err(SinOrden::Ayuda(texto)) = leer(linea.split(' ')) else {
                panic!("{linea}")
            };
            for ingles in [
                "Usage",
                "Options",
                "OPTIONS",
                "Commands",
                "COMMAND",
                "Arguments",
                "default",
                "Print",
            ] {
                assert!(!texto.contains(ingles), "{linea}: {ingles}\n{texto}");
            }
        }
    }
}
