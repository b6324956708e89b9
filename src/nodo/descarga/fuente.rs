//! Una fuente de una descarga: el hilo que le pregunta qué tiene y le saca bloques.
//!
//! Recibe encomiendas de quien dirige (`director.rs`) y le da partes. Nunca decide por las demás
//! fuentes: si la suya falla o miente, devuelve el bloque a la cola y lo cuenta. Hay dos clases: la
//! que tiene el archivo entero, y se le pide por su nombre; y la que sólo tiene algunos bloques
//! (porque también lo está bajando), o lo tiene con otro nombre: a esa se le pregunta cada poco
//! cuáles tiene y se le piden por su huella.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::iter;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError::{Disconnected, Timeout};
use crossbeam_channel::{Receiver, Sender};

use crate::nodo::descarga::cola::{PorDonde, Sacado};
use crate::nodo::descarga::linea::Linea;
use crate::nodo::descarga::pedido::{NoDescargado, Pedido};
use crate::nodo::descarga::plan::Plan;
use crate::nodo::palabras::pedir::FalloPar;
use crate::nodo::palabras::protocolo::Info;
use crate::red::conexion::FalloRed;
use crate::red::hilos::arrancar_en;

/// Cada cuánto se vuelve a preguntar a quien aún calcula la huella.
const OTRA_VEZ: Duration = Duration::from_secs(1);
/// Cada cuánto se dice «sigo aquí» (con un `INFO`) por una conexión que abrió el otro, mientras se
/// comprueba o se guarda: él cierra a los 10 s de silencio, y no se puede reabrir.
const SIGO_AQUI: Duration = Duration::from_secs(3);
/// Bloques que se piden por una conexión sin esperar el primero: mientras viaja la petición del
/// segundo, llega el primero. Con 100 ms de ida y vuelta, de uno en uno se pierde un 15 %.
const PEDIDOS_EN_VUELO: usize = 2;
/// Cada cuánto se pregunta a un par qué bloques tiene.
const MIRAR: Duration = Duration::from_millis(500);
/// Lo que se espera antes de pedir otra cosa a quien no da abasto.
const SI_ESTA_OCUPADA: Duration = Duration::from_millis(200);
/// Cada cuánto se vuelve a llamar a un par que se fue.
pub const OTRA_LLAMADA: Duration = Duration::from_secs(2);
/// Reconexiones seguidas sin un bloque nuevo tras las que se deja.
pub const EN_VANO: u32 = 2;
/// Lo que se espera un bloque antes de volver a mirar, si no hay que preguntar nada.
const SIN_PRISA: Duration = Duration::from_secs(60);

/// Lo que una fuente cuenta a quien dirige (el número es su lugar en la lista).
pub enum Parte {
    /// Tarda en decir qué tiene: estará leyendo el archivo para saber su huella.
    Tarda(usize),
    /// Qué tiene; sin huella, si aún la calcula.
    Presentada(usize, Result<Info, FalloPar>),
    /// Con su lista, ya se sabe qué bloques faltan.
    Empezado,
    /// Se fue por la red; y si fue en vano llamarla.
    SeFue(usize, FalloPar, bool),
    /// No sirve más, y por qué.
    Retirada(usize, FalloPar),
    /// Con un bloque suyo está todo.
    Completo,
    /// Lo que llega no se puede guardar.
    NoSeGuarda(NoDescargado),
}

/// Lo que quien dirige manda hacer a una fuente.
pub struct Encomienda<'a> {
    /// Lo que se baja.
    pub plan: Arc<Plan<'a>>,
    /// ¿Tiene el archivo entero, con ese nombre? Si no, se le pregunta qué bloques tiene.
    pub entero: bool,
}

/// Lo que sabe el hilo de una fuente.
pub struct Fuente<'a> {
    /// Cuál es, en la lista de quien dirige.
    pub lugar: usize,
    /// ¿Se le pregunta nada más empezar qué tiene?
    pub se_presenta: bool,
    /// Conexiones que se le abren.
    pub conexiones: usize,
    /// Qué se baja.
    pub pedido: &'a Pedido<'a>,
    /// A quién dar partes.
    pub partes: Sender<Parte>,
}

/// Algo que se le pidió a una fuente y aún no ha contestado.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EnCamino {
    Bloque(u64),
    /// Qué tiene, desde ese bloque.
    Existencias(u64),
}

/// Lo que se lleva por una conexión.
struct Tanda {
    quien: PorDonde,
    /// Con qué nombre se pide.
    nombre: String,
    en_camino: VecDeque<EnCamino>,
    /// Hasta cuándo no se le pide otro bloque.
    no_antes: Instant,
    /// Cuándo hay que preguntarle qué tiene, si no lo tiene todo.
    mirar: Option<Instant>,
    /// Los bloques que lleva dichos, si aún no los ha dicho todos.
    dichos: Vec<u64>,
}

impl Tanda {
    fn nueva(quien: PorDonde, nombre: String, mirar: Option<Instant>) -> Tanda {
        Tanda {
            quien,
            nombre,
            en_camino: VecDeque::new(),
            no_antes: Instant::now(),
            mirar,
            dichos: Vec::new(),
        }
    }

    fn bloques(&self) -> impl Iterator<Item = u64> {
        self.en_camino.iter().filter_map(|pedido| match pedido {
            EnCamino::Bloque(bloque) => Some(*bloque),
            EnCamino::Existencias(_) => None,
        })
    }

    /// ¿Toca preguntarle qué tiene? Nunca dos veces a la vez.
    fn toca_mirar(&self) -> bool {
        let ya = |pedido: &EnCamino| matches!(pedido, EnCamino::Existencias(_));
        let toca = self.mirar.is_some_and(|mirar| mirar <= Instant::now());
        toca && !self.en_camino.iter().any(ya)
    }
}

impl<'a> Fuente<'a> {
    /// La vida de una fuente: se presenta y cumple encomiendas hasta que no haya quien las dé.
    /// Devuelve su línea.
    pub fn atender<'l>(
        &self,
        mut linea: Linea<'l>,
        encomiendas: &Receiver<Encomienda<'a>>,
    ) -> Linea<'l> {
        let mut calcula = self.se_presenta && self.presentarse(&mut linea);
        loop {
            let plazo = if calcula { OTRA_VEZ } else { SIGO_AQUI };
            match encomiendas.recv_timeout(plazo) {
                Ok(Encomienda { plan, entero }) if entero => {
                    calcula = self.cumplir(&mut linea, &plan);
                }
                Ok(Encomienda { plan, .. }) => self.acompanar(&mut linea, &plan),
                Err(Disconnected) => return linea,
                Err(Timeout) if calcula => calcula = self.presentarse(&mut linea),
                Err(Timeout) if linea.prestada => _ = self.seguir_aqui(&mut linea),
                Err(Timeout) => {}
            }
        }
    }

    fn decir(&self, parte: Parte) {
        // Falla si quien dirige ya terminó: no hay a quién decírselo.
        let _ = self.partes.send(parte);
    }

    /// Pregunta qué tiene y lo cuenta. Verdadero si hay que volver a preguntar.
    fn presentarse(&self, linea: &mut Linea) -> bool {
        let tarda = || self.decir(Parte::Tarda(self.lugar));
        let info = linea.pedir_info(self.pedido.nombre, tarda);
        let calcula = matches!(info, Ok(Info { huella: None, .. }));
        self.decir(Parte::Presentada(self.lugar, info));
        calcula
    }

    /// Para que quien abrió la conexión no crea que nos fuimos. Falso si ya no sirve.
    fn seguir_aqui(&self, linea: &mut Linea) -> bool {
        let dicho = linea.pedir_info(self.pedido.nombre, || ());
        let contar = |fallo| self.decir(Parte::Retirada(self.lugar, fallo));
        dicho.map_err(contar).is_ok()
    }

    // ----- Quien lo tiene entero -----

    /// Baja los bloques que pueda y cuenta si no sirve. Verdadero si aún calcula la huella.
    fn cumplir(&self, linea: &mut Linea, plan: &Plan) -> bool {
        let fin = self.bajar(linea, plan);
        plan.cola.olvidar(self.lugar);
        let Err(fallo) = fin else { return false };
        let calcula = matches!(fallo, FalloPar::Calculando);
        self.decir(match fallo {
            FalloPar::Calculando => {
                let (tamano, huella) = (plan.contenido.tamano, None);
                Parte::Presentada(self.lugar, Ok(Info { tamano, huella }))
            }
            fallo if es_de_la_red(&fallo) && !linea.prestada => {
                let en_vano = linea.romper() || la_cortaron(&fallo);
                Parte::SeFue(self.lugar, fallo, en_vano)
            }
            fallo => Parte::Retirada(self.lugar, fallo),
        });
        calcula
    }

    /// Pide la lista de bloques y empieza el plan con ella, sin que la fuente crea que nos fuimos
    /// mientras se comprueba lo que había.
    fn empezar(&self, linea: &mut Linea, plan: &Plan) -> Result<(), FalloPar> {
        let lista = linea.pedir_lista(self.pedido.nombre, plan.contenido)?;
        let mut dicho = Instant::now();
        let completo = plan.empezar(lista, &mut || {
            if !linea.prestada || dicho.elapsed() < SIGO_AQUI {
                return true;
            }
            dicho = Instant::now();
            self.seguir_aqui(linea)
        });
        self.decir(match completo {
            true => Parte::Completo,
            false => Parte::Empezado,
        });
        Ok(())
    }

    /// Empieza el plan, si no lo hizo ya otra, y baja por varias conexiones. Sólo falla si fallan
    /// todas, o si miente por alguna.
    fn bajar(&self, linea: &mut Linea, plan: &Plan) -> Result<(), FalloPar> {
        if plan.lista().is_none() {
            self.empezar(linea, plan)?;
        }
        plan.cola.tiene_todo(self.lugar);
        let tanda = |conexion| {
            let fuente = self.lugar;
            let nombre = self.pedido.nombre.to_string();
            Tanda::nueva(PorDonde { fuente, conexion }, nombre, None)
        };
        // Más conexiones que bloques no harían nada.
        let utiles = usize::try_from(plan.cola.faltan()).unwrap_or(usize::MAX);
        let otras = 1..self.conexiones.min(utiles);
        let otras: Vec<_> = otras.filter_map(|n| Some((linea.otra()?, n))).collect();
        let finales: Vec<_> = thread::scope(|ambito| {
            let nombre = format!("fuente-{}+", self.lugar);
            let arrancar = |(mut otra, n)| {
                let sacar = move || self.sacar_bloques(&mut otra, plan, tanda(n));
                arrancar_en(ambito, &nombre, sacar).ok()
            };
            let hilos: Vec<_> = otras.into_iter().filter_map(arrancar).collect();
            let suya = self.sacar_bloques(linea, plan, tanda(0));
            let otras = hilos.into_iter().filter_map(|hilo| hilo.join().ok());
            iter::once(suya).chain(otras).collect()
        });
        let alguna = finales.iter().any(Result::is_ok);
        let mut fallos: Vec<_> = finales.into_iter().filter_map(Result::err).collect();
        fallos.sort_by_key(|fallo| !es_culpa_suya(fallo));
        match fallos.into_iter().next() {
            Some(fallo) if !alguna || es_culpa_suya(&fallo) => Err(fallo),
            _ => Ok(()),
        }
    }

    // ----- Quien tiene algunos bloques, o los tendrá -----

    /// Le pregunta cada poco qué bloques tiene y baja los que pueda, hasta que se acabe o no sirva.
    /// Si no está, se le vuelve a llamar: puede que aún no haya empezado.
    fn acompanar(&self, linea: &mut Linea, plan: &Plan) {
        let (mut en_vano, mut dados) = (0, 0);
        loop {
            let fuente = self.lugar;
            let quien = PorDonde {
                fuente,
                conexion: 0,
            };
            let nombre = plan.contenido.huella.to_string();
            let tanda = Tanda::nueva(quien, nombre, Some(Instant::now()));
            let fin = self.sacar_bloques(linea, plan, tanda);
            plan.cola.olvidar(fuente);
            let Err(fallo) = fin else { return };
            // No conoce la palabra, o no quiere: no es mentir, pero no hay qué pedirle.
            if let FalloPar::Rechaza(motivo) = &fallo {
                log::debug!("{} no dice qué bloques tiene: {motivo}", linea.direccion);
                return;
            }
            if !es_de_la_red(&fallo) {
                return self.decir(Parte::Retirada(fuente, fallo));
            }
            let (ahora, fue_en_vano) = (plan.dados(fuente), linea.romper() || la_cortaron(&fallo));
            en_vano = match ahora > dados {
                true => 0,
                false => en_vano + u32::from(fue_en_vano),
            };
            dados = ahora;
            self.decir(Parte::SeFue(fuente, fallo, fue_en_vano));
            if en_vano >= EN_VANO || !plan.cola.descansar(fuente, OTRA_LLAMADA) {
                return;
            }
        }
    }

    // ----- Por una conexión -----

    /// Saca bloques de la cola, por una conexión, hasta que no quede ninguno.
    fn sacar_bloques(
        &self,
        linea: &mut Linea,
        plan: &Plan,
        mut tanda: Tanda,
    ) -> Result<(), FalloPar> {
        plan.cola.entrar(tanda.quien);
        let fin = self.pedir_y_recibir(linea, plan, &mut tanda);
        plan.cola.salir(tanda.quien);
        if fin.as_ref().is_err_and(es_culpa_suya) {
            plan.cola.echar(self.lugar);
        }
        for bloque in tanda.bloques() {
            plan.cola.devolver(bloque, tanda.quien);
        }
        fin
    }

    /// Pide, recibe y guarda. En la tanda queda lo que se pidió y no llegó.
    fn pedir_y_recibir(
        &self,
        linea: &mut Linea,
        plan: &Plan,
        tanda: &mut Tanda,
    ) -> Result<(), FalloPar> {
        while let Some(esperado) = pedir_mas(linea, plan, tanda)? {
            let recibido = match esperado {
                EnCamino::Bloque(bloque) => self.recibir_bloque(linea, plan, tanda, bloque),
                EnCamino::Existencias(desde) => recibir_existencias(linea, plan, tanda, desde),
            };
            match recibido {
                // Por otra conexión, y de uno en uno hasta ver que aguanta.
                Err(FalloPar::Cerro) if linea.soltar() => empezar_otra_vez(linea, plan, tanda)?,
                recibido => {
                    recibido?;
                    tanda.en_camino.pop_front();
                }
            }
        }
        Ok(())
    }

    /// Recibe y guarda un bloque; o lo devuelve, si su fuente no lo puede dar ahora.
    fn recibir_bloque(
        &self,
        linea: &mut Linea,
        plan: &Plan,
        tanda: &mut Tanda,
        bloque: u64,
    ) -> Result<(), FalloPar> {
        let cola = &plan.cola;
        let luego = Instant::now() + SI_ESTA_OCUPADA;
        match linea.recibir_bloque(plan, bloque, tanda.en_camino.len() > 1) {
            Ok(datos) => match plan.guardar(self.lugar, bloque, &datos) {
                Ok(false) => {}
                Ok(true) => self.decir(Parte::Completo),
                Err(fallo) => {
                    cola.cerrar();
                    self.decir(Parte::NoSeGuarda(fallo));
                }
            },
            Err(FalloPar::Ocupado) => {
                tanda.no_antes = luego;
                cola.devolver_por_ocupada(bloque, tanda.quien);
            }
            // Quien lo tiene entero no puede decir que no. Un par sí: pudo dejarlo a medias, o está
            // dándole su nombre.
            Err(FalloPar::NoLoTiene) if tanda.mirar.is_none() => return Err(FalloPar::NoLoTiene),
            Err(FalloPar::AunNo | FalloPar::NoLoTiene) => {
                tanda.no_antes = luego;
                cola.devolver_porque_no_lo_tiene(bloque, tanda.quien);
            }
            Err(fallo) => return Err(fallo),
        }
        Ok(())
    }
}

/// Se cerró sin contestar: lo que se esperaba se pide otra vez, y lo demás vuelve a la cola.
fn empezar_otra_vez(linea: &mut Linea, plan: &Plan, tanda: &mut Tanda) -> Result<(), FalloPar> {
    for bloque in tanda.bloques().skip(1) {
        plan.cola.devolver(bloque, tanda.quien);
    }
    let primero = tanda.bloques().next();
    tanda.en_camino.clear();
    tanda.mirar = tanda.mirar.map(|_| Instant::now());
    if let Some(bloque) = primero {
        tanda.en_camino.push_back(EnCamino::Bloque(bloque));
        linea.pedir_bloque(&tanda.nombre, plan, bloque)?;
    }
    Ok(())
}

/// Apunta qué bloques tiene; si no cabían todos en la línea, pregunta por los que siguen.
fn recibir_existencias(
    linea: &mut Linea,
    plan: &Plan,
    tanda: &mut Tanda,
    desde: u64,
) -> Result<(), FalloPar> {
    let (tramos, siguiente) = linea.recibir_existencias(plan, desde)?;
    tanda.dichos.extend(tramos.bloques());
    match siguiente {
        Some(siguiente) => {
            linea.pedir_existencias(plan, siguiente)?;
            let otra = EnCamino::Existencias(siguiente);
            tanda.en_camino.push_back(otra);
        }
        None => {
            let dichos = std::mem::take(&mut tanda.dichos);
            plan.cola.tiene(tanda.quien.fuente, dichos.into_iter());
        }
    }
    Ok(())
}

/// Pregunta lo que toque y pide bloques hasta tener en vuelo los que aguanta la línea. Lo primero
/// que tiene que llegar; `None` si ya no hace falta nada.
fn pedir_mas(
    linea: &mut Linea,
    plan: &Plan,
    tanda: &mut Tanda,
) -> Result<Option<EnCamino>, FalloPar> {
    loop {
        if tanda.toca_mirar() {
            linea.pedir_existencias(plan, 0)?;
            tanda.en_camino.push_back(EnCamino::Existencias(0));
            tanda.mirar = Some(Instant::now() + MIRAR);
        }
        let pedidos = tanda.bloques().count();
        let cabe = pedidos < PEDIDOS_EN_VUELO && linea.aguanta_dos();
        let sacado = match tanda.en_camino.is_empty() {
            true => {
                let hasta = tanda.mirar.unwrap_or_else(|| Instant::now() + SIN_PRISA);
                plan.cola.sacar(tanda.quien, tanda.no_antes, hasta)
            }
            false if pedidos > 0 && cabe && tanda.no_antes <= Instant::now() => {
                let otro = plan.cola.sacar_otro(tanda.quien);
                otro.map_or(Sacado::Nada, Sacado::Bloque)
            }
            false => Sacado::Nada,
        };
        match sacado {
            Sacado::Bloque(bloque) => {
                tanda.en_camino.push_back(EnCamino::Bloque(bloque));
                linea.pedir_bloque(&tanda.nombre, plan, bloque)?;
            }
            Sacado::Nada if tanda.en_camino.is_empty() => {}
            Sacado::Nada | Sacado::Fin => return Ok(tanda.en_camino.front().copied()),
        }
    }
}

/// Una conexión caída puede ser mala suerte; esto otro retira a la fuente entera.
fn es_culpa_suya(fallo: &FalloPar) -> bool {
    match fallo {
        FalloPar::Miente(_) | FalloPar::NoLoTiene | FalloPar::Rechaza(_) => true,
        FalloPar::Clave(_) => true,
        FalloPar::Cerro | FalloPar::Red(_) | FalloPar::Lento => false,
        FalloPar::Calculando | FalloPar::Repetido(_) => false,
        FalloPar::Ocupado | FalloPar::AunNo => false,
    }
}

/// Ni mintió ni dijo que no: dejó de estar.
fn es_de_la_red(fallo: &FalloPar) -> bool {
    matches!(fallo, FalloPar::Cerro | FalloPar::Red(_))
}

/// Había alguien, y cortó; también si fue antes de que esta máquina diera la conexión por abierta.
/// Que nadie conteste o que no haya camino es otra cosa.
fn la_cortaron(fallo: &FalloPar) -> bool {
    match fallo {
        FalloPar::Red(FalloRed::Cortada) => true,
        FalloPar::Red(FalloRed::Sistema(error)) => error.kind() == ErrorKind::Other,
        _ => false,
    }
}
