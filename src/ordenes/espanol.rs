//! clap en español: sólo sabe inglés, así que se sustituyen sus títulos, sus opciones propias y sus
//! quejas.
//!
//! No sabe qué hace cada orden: eso, en [`crate::ordenes`].

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, CommandFactory, FromArgMatches};

use crate::ordenes::opciones::{Argumentos, Opciones, es_practica};

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
pub fn leer(
    palabras: impl IntoIterator<Item: Into<OsString> + Clone>,
) -> Result<Argumentos, SinOrden> {
    let mal_escrito = |frase| SinOrden::MalEscrito(format!("{frase}\nLa ayuda: nodo --help"));
    let de_clap = |error: clap::Error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => SinOrden::Ayuda(error.to_string()),
        _ => mal_escrito(que_esta_mal(&error)),
    };
    let leidas = comando().try_get_matches_from(palabras).map_err(de_clap)?;
    match lo_que_sobra(&leidas).or_else(|| fallas_sin_nodo(&leidas)) {
        Some(frase) => Err(mal_escrito(frase)),
        None => juntar(&leidas).map_err(de_clap),
    }
}

/// Las prácticas no son el nodo: qué opción suya, escrita antes de la orden de una práctica, no
/// tiene también ella.
fn lo_que_sobra(leidas: &ArgMatches) -> Option<String> {
    let (practica, _) = leidas
        .subcommand()
        .filter(|(orden, _)| es_practica(orden))?;
    let comando = Argumentos::command();
    let suyas = comando.find_subcommand(practica)?;
    let es_suya = |larga| suyas.get_opts().any(|suya| suya.get_long() == Some(larga));
    let escrita = |una: &&Arg| leidas.contains_id(una.get_id().as_str());
    // También las que no llevan valor, que para clap no son «opts».
    let opciones = comando.get_arguments().filter(escrita);
    let mut escritas = opciones.filter_map(Arg::get_long);
    let sobra = escritas.find(|larga| !es_suya(larga))?;
    let no_vale = "es una opción del nodo y no vale para";
    Some(format!("--{sobra} {no_vale} «{practica}»"))
}

/// Una orden suelta no contesta a nadie: pedirle que lo rompa no haría nada, y parecería que sí.
fn fallas_sin_nodo(leidas: &ArgMatches) -> Option<String> {
    let suelta = |orden: &str| !es_practica(orden) && orden != "servir";
    let (orden, suyas) = leidas.subcommand().filter(|(orden, _)| suelta(orden))?;
    let escritas = [leidas, suyas].iter().any(|m| m.contains_id("fallas"));
    let que = "--fallas rompe lo que contesta un nodo en marcha, y no vale para";
    escritas.then(|| format!("{que} «{orden}»"))
}

/// Lo escrito antes de la orden, la orden y lo escrito después, en un solo valor: manda lo de
/// después, y los peers se suman.
fn juntar(leidas: &ArgMatches) -> Result<Argumentos, clap::Error> {
    let mut argumentos = Argumentos::from_arg_matches(leidas)?;
    match leidas.subcommand() {
        Some((orden, suyas)) if !es_practica(orden) => {
            let peers = std::mem::take(&mut argumentos.nodo.peers);
            let listas = std::mem::take(&mut argumentos.nodo.listas);
            argumentos.nodo.update_from_arg_matches(suyas)?;
            argumentos.nodo.peers.splice(0..0, peers);
            argumentos.nodo.listas.splice(0..0, listas);
        }
        _ => argumentos.dar_a_la_practica(),
    }
    let de_archivos = argumentos.nodo.listas.drain(..).flat_map(|lista| lista.0);
    argumentos.nodo.peers.extend(de_archivos);
    Ok(argumentos)
}

/// Los argumentos con la ayuda en español. clap sólo sabe inglés: se sustituyen sus títulos y sus
/// opciones propias.
pub fn comando() -> Command {
    let version = Arg::new("version")
        .short('V')
        .long("version")
        .action(ArgAction::Version)
        .help("Muestra la versión");
    let a_los_dos_lados = |comando: Command, orden: &str| match es_practica(orden) {
        true => comando,
        false => comando.mut_subcommand(orden, |suya| {
            // Con las opciones vendría su explicación, en lugar de la de la orden.
            let que_hace = suya.get_about().cloned().unwrap_or_default();
            Opciones::augment_args(suya).about(que_hace)
        }),
    };
    let comando = Argumentos::command().arg(version);
    let ordenes = nombres_de_ordenes(&comando);
    let ordenes = ordenes.iter();
    let comando = ordenes.fold(comando, |c, orden| a_los_dos_lados(c, orden));
    en_espanol(comando, "nodo")
}

fn nombres_de_ordenes(comando: &Command) -> Vec<String> {
    let ordenes = comando.get_subcommands();
    ordenes.map(|orden| orden.get_name().to_string()).collect()
}

fn en_espanol(comando: Command, escrito: &str) -> Command {
    let ayuda = Arg::new("ayuda")
        .short('h')
        .long("help")
        .action(ArgAction::Help)
        .help("Muestra esta ayuda");
    let obligadas = comando.get_opts().filter(|opcion| opcion.is_required_set());
    let obligadas: String = obligadas.filter_map(como_se_escribe).collect();
    let posicionales = comando.get_positionals();
    let posicionales: String = posicionales.map(|arg| format!(" {arg}")).collect();
    let ordenes = nombres_de_ordenes(&comando);
    let orden = if ordenes.is_empty() { "" } else { " [ORDEN]" };
    let uso = format!("{escrito} [OPCIONES]{orden}{obligadas}{posicionales}").replace("...", "…");
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
        .help_template("{about}\n\nUso: {usage}\n\n{all-args}{after-help}");
    ordenes.into_iter().fold(comando, |comando, orden| {
        comando.mut_subcommand(&orden, |c| en_espanol(c, &format!("{escrito} {orden}")))
    })
}

/// Una opción con su valor: ` --a <IP:PUERTO>`. clap aún no sabe pintarla.
fn como_se_escribe(opcion: &Arg) -> Option<String> {
    let (larga, valores) = (opcion.get_long()?, opcion.get_value_names()?);
    Some(format!(" --{larga} <{}>", valores.join("> <")))
}

fn que_esta_mal(error: &clap::Error) -> String {
    let dato = |clave| match error.get(clave) {
        Some(ContextValue::String(texto)) => texto.clone(),
        Some(ContextValue::Strings(varios)) => varios.join(", "),
        _ => String::new(),
    };
    let arg = dato(ContextKind::InvalidArg);
    let valor = dato(ContextKind::InvalidValue);
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let parecido = parecido(&dato(ContextKind::SuggestedArg));
            format!("no conozco «{arg}»{parecido}")
        }
        ErrorKind::InvalidSubcommand => {
            let orden = dato(ContextKind::InvalidSubcommand);
            let parecido = parecido(&dato(ContextKind::SuggestedSubcommand));
            format!("no conozco la orden «{orden}»{parecido}")
        }
        ErrorKind::MissingRequiredArgument => format!("falta {arg}"),
        ErrorKind::InvalidValue if valor.is_empty() => format!("a {arg} le falta el valor"),
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => {
            let motivo = match (
                std::error::Error::source(error),
                dato(ContextKind::ValidValue),
            ) {
                (Some(motivo), _) => format!(": {motivo}"),
                (None, valen) => format!(": puede ser {valen}"),
            };
            format!("«{valor}» no vale para {arg}{motivo}")
        }
        ErrorKind::ArgumentConflict => match dato(ContextKind::PriorArg) {
            otro if otro == arg || otro.is_empty() => format!("{arg} está escrito más de una vez"),
            otro => format!("{arg} y {otro} no van juntos"),
        },
        ErrorKind::InvalidUtf8 => "hay un argumento que no es texto UTF-8".into(),
        ErrorKind::TooManyValues => format!("{arg} no lleva ningún valor"),
        _ => "no se entiende la orden".into(),
    }
}

fn parecido(sugerencia: &str) -> String {
    match sugerencia {
        "" => String::new(),
        otra => format!(" (¿querías decir {otra}?)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PUERTO;
    use crate::lan::escritos::con_ip;
    use crate::ordenes::opciones::{Orden, Practica};

    fn leer_linea(linea: &str) -> Argumentos {
        leer(linea.split(' ')).unwrap_or_else(|e| panic!("{linea}: {e:?}"))
    }

    fn fallo(linea: &str) -> String {
        match leer(linea.split(' ')) {
            Err(SinOrden::MalEscrito(frase)) => frase,
            otro => panic!("{linea}: {otro:?}"),
        }
    }

    fn ayuda(linea: &str) -> String {
        match leer(linea.split(' ')) {
            Err(SinOrden::Ayuda(texto)) => texto,
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
            "--ritmo 5MB",
            "--esperar-red 0",
            "--maestro http://127.0.0.1:9000",
        ];
        for opcion in opciones {
            for linea in [
                format!("nodo {opcion} buscar foto"),
                format!("nodo buscar foto {opcion}"),
            ] {
                let Argumentos { nodo, orden } = leer_linea(&linea);
                let Some(Orden::Buscar { archivo, .. }) = orden else {
                    panic!("{linea}");
                };
                let juntas = format!("{nodo:?}");
                assert_ne!(juntas, format!("{:?}", Opciones::default()), "{linea}");
                assert_eq!(archivo, "foto");
            }
        }
    }

    #[test]
    fn un_peer_a_cada_lado_son_dos_peers() {
        let linea = "nodo --peer 127.0.0.1:1 buscar x --peer 127.0.0.1:2 --peer 127.0.0.1";
        let peers = leer_linea(linea).nodo.peers;
        let puertos: Vec<u16> = con_ip(&peers).iter().map(|p| p.port()).collect();
        assert_eq!(puertos, [1, 2, PUERTO]);
        let linea = "nodo --peer 127.0.0.1:1 estado --peer 127.0.0.1:2";
        assert_eq!(leer_linea(linea).nodo.peers.len(), 2);
        let linea = "nodo --puerto 1 --peer 127.0.0.1:1 estado --puerto 2";
        let nodo = leer_linea(linea).nodo;
        assert_eq!((nodo.puerto, nodo.peers.len()), (Some(2), 1));
    }

    #[test]
    fn una_practica_toma_lo_suyo_de_los_dos_lados() {
        let linea = "nodo --puerto 9001 --nombre uno --ip 127.0.0.2 backend --nombre dos";
        let Some(Orden::Practica(Practica::Backend { donde, nombre })) = leer_linea(linea).orden
        else {
            panic!("{linea}")
        };
        assert_eq!(donde.o_en(8001), "127.0.0.2:9001".parse().unwrap());
        assert_eq!(nombre.as_deref(), Some("dos"));
        for orden in ["balanceador", "maestro"] {
            let linea = format!("nodo --puerto 1 --ip 127.0.0.3 {orden} --puerto 2");
            let Some(Orden::Practica(
                Practica::Balanceador { donde, .. } | Practica::Maestro { donde, .. },
            )) = leer_linea(&linea).orden
            else {
                panic!("{linea}")
            };
            assert_eq!(donde.o_en(0), "127.0.0.3:2".parse().unwrap(), "{linea}");
        }
    }

    #[test]
    fn el_ingenuo_toma_lo_suyo_de_los_dos_lados() {
        let linea = "nodo --puerto 7000 --carpeta x ingenuo 127.0.0.2 127.0.0.3:6000";
        let Some(Orden::Practica(Practica::Ingenuo {
            peers,
            donde,
            carpeta,
        })) = leer_linea(linea).orden
        else {
            panic!("{linea}")
        };
        let puertos: Vec<Option<u16>> = peers.iter().map(|(_, puerto)| *puerto).collect();
        assert_eq!(puertos, [None, Some(6000)]);
        assert_eq!(donde.o_en(0), "127.0.0.1:7000".parse().unwrap());
        assert_eq!(carpeta, Some("x".into()));
    }

    #[test]
    fn lo_del_nodo_no_vale_para_una_practica() {
        for (linea, sobra) in [
            ("nodo --nombre yo balanceador", "--nombre"),
            ("nodo --carpeta x backend", "--carpeta"),
            ("nodo --puerto 1 --peer 127.0.0.1 maestro", "--peer"),
            ("nodo --puerto 1 chat", "--puerto"),
            ("nodo --espera 1 solicitar", "--espera"),
            ("nodo --vivo-para-todos maestro", "--vivo-para-todos"),
            ("nodo --nodo 1 completar bash", "--nodo"),
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
            ("nodo --fallas callar=1% buscar x", "no vale para «buscar»"),
            ("nodo estado --fallas callar=1%", "no vale para «estado»"),
            ("nodo --fallas callar=1% maestro", "no vale para «maestro»"),
            (
                "nodo completar ksh",
                "«ksh» no vale para <SHELL>: puede ser bash, ",
            ),
        ] {
            let frase = fallo(linea);
            assert!(frase.contains(dice), "{linea}: {frase}");
        }
    }

    #[test]
    fn las_fallas_valen_donde_se_contesta_a_otros() {
        for linea in ["nodo --fallas callar=1%", "nodo servir --fallas callar=1%"] {
            assert!(leer(linea.split(' ')).is_ok(), "{linea}");
        }
    }

    #[test]
    fn el_uso_dice_lo_que_no_puede_faltar() {
        let enviar = ayuda("nodo enviar --help");
        let uso = "Uso: nodo enviar [OPCIONES] --a <IP:PUERTO> <ARCHIVO>\n";
        assert!(enviar.contains(uso), "{enviar}");
        let mensaje = ayuda("nodo mensaje --help");
        assert!(mensaje.contains("Uso: nodo mensaje [OPCIONES] <TEXTO>\n"));
    }

    #[test]
    fn la_ayuda_no_tiene_ingles() {
        let ordenes = nombres_de_ordenes(&comando());
        assert!(ordenes.len() > 15, "{ordenes:?}");
        let lineas = ordenes
            .iter()
            .flat_map(|orden| [format!("nodo {orden} -h"), format!("nodo {orden} --help")]);
        for linea in lineas.chain(["nodo --help".to_string()]) {
            let texto = ayuda(&linea);
            for ingles in [
                "Usage",
                "Options",
                "OPTIONS",
                "Commands",
                "COMMAND",
                "Arguments",
                "default",
                "Print",
                "Possible",
                "values",
            ] {
                assert!(!texto.contains(ingles), "{linea}: {ingles}\n{texto}");
            }
        }
    }
}
