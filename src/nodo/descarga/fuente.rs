//! Una fuente de una descarga: el hilo que le pregunta qué tiene y le saca bloques.
//!
//! Recibe planes de quien dirige (`director.rs`) y le da partes. Nunca decide por las demás
//! fuentes: si la suya falla o miente, devuelve el bloque a la cola y lo cuenta.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError::{Disconnected, Timeout};
use crossbeam_channel::{Receiver, Sender};

use crate::nodo::descarga::linea::Linea;
use crate::nodo::descarga::pedido::{NoDescargado, Pedido};
use crate::nodo::descarga::plan::Plan;
use crate::nodo::palabras::pedir::FalloPar;
use crate::nodo::palabras::protocolo::Info;
use crate::red::hilos::arrancar_en;

/// Cada cuánto se vuelve a preguntar a quien aún calcula la huella.
const OTRA_VEZ: Duration = Duration::from_secs(1);
/// Cada cuánto se dice «sigo aquí» (con un `INFO`) por una conexión que abrió el otro, mientras se
/// comprueba o se guarda: él cierra a los 10 s de silencio, y no se puede reabrir.
const SIGO_AQUI: Duration = Duration::from_secs(3);
/// Bloques que se piden por una conexión sin esperar el primero: mientras viaja la petición del
/// segundo, llega el primero. Con 100 ms de ida y vuelta, de uno en uno se pierde un 15 %.
const PEDIDOS_EN_VUELO: usize = 2;

/// Lo que una fuente cuenta a quien dirige (el número es su lugar en la lista).
pub enum Parte {
    /// Tarda en decir qué tiene: estará leyendo el archivo para saber su huella.
    Tarda(usize),
    /// Qué tiene; sin huella, si aún la calcula.
    Presentada(usize, Result<Info, FalloPar>),
    /// No sirve más, y por qué.
    Retirada(usize, FalloPar),
    /// Con un bloque suyo está todo.
    Completo,
    /// Lo que llega no se puede guardar.
    NoSeGuarda(NoDescargado),
}

/// Lo que sabe el hilo de una fuente.
pub struct Fuente<'a> {
    /// Cuál es, en la lista de quien dirige.
    pub lugar: usize,
    /// Qué se baja.
    pub pedido: &'a Pedido<'a>,
    /// A quién dar partes.
    pub partes: Sender<Parte>,
}

impl<'a> Fuente<'a> {
    /// La vida de una fuente: se presenta y cumple planes hasta que no haya quien los dé. Devuelve
    /// su línea.
    pub fn atender<'l>(&self, mut linea: Linea<'l>, planes: &Receiver<Arc<Plan<'a>>>) -> Linea<'l> {
        let mut calcula = self.presentarse(&mut linea);
        loop {
            let plazo = if calcula { OTRA_VEZ } else { SIGO_AQUI };
            match planes.recv_timeout(plazo) {
                Ok(plan) => calcula = self.cumplir(&mut linea, &plan),
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

    /// Baja los bloques que pueda y cuenta si no sirve. Verdadero si aún calcula la huella.
    fn cumplir(&self, linea: &mut Linea, plan: &Plan) -> bool {
        match self.bajar(linea, plan) {
            Ok(()) => false,
            Err(FalloPar::Calculando) => {
                let (tamano, huella) = (plan.contenido.tamano, None);
                let calcula = Ok(Info { tamano, huella });
                self.decir(Parte::Presentada(self.lugar, calcula));
                true
            }
            Err(fallo) => {
                self.decir(Parte::Retirada(self.lugar, fallo));
                false
            }
        }
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
        if completo {
            self.decir(Parte::Completo);
        }
        Ok(())
    }

    /// Empieza el plan, si no lo hizo ya otra, y baja por varias conexiones. Sólo falla si fallan
    /// todas, o si miente por alguna.
    fn bajar(&self, linea: &mut Linea, plan: &Plan) -> Result<(), FalloPar> {
        if plan.lista().is_none() {
            self.empezar(linea, plan)?;
        }
        let otras = 1..self.pedido.conexiones;
        let otras: Vec<_> = otras.filter_map(|_| linea.otra()).collect();
        let finales: Vec<_> = thread::scope(|ambito| {
            let nombre = format!("fuente-{}+", self.lugar);
            let arrancar = |mut otra| {
                let sacar = move || self.sacar_bloques(&mut otra, plan);
                arrancar_en(ambito, &nombre, sacar).ok()
            };
            let hilos: Vec<_> = otras.into_iter().filter_map(arrancar).collect();
            let suya = self.sacar_bloques(linea, plan);
            let otras = hilos.into_iter().filter_map(|hilo| hilo.join().ok());
            [suya].into_iter().chain(otras).collect()
        });
        let alguna = finales.iter().any(Result::is_ok);
        let mut fallos: Vec<_> = finales.into_iter().filter_map(Result::err).collect();
        fallos.sort_by_key(|fallo| !es_culpa_suya(fallo));
        match fallos.into_iter().next() {
            Some(fallo) if !alguna || es_culpa_suya(&fallo) => Err(fallo),
            _ => Ok(()),
        }
    }

    /// Saca bloques de la cola, por una conexión, hasta que no quede ninguno.
    fn sacar_bloques(&self, linea: &mut Linea, plan: &Plan) -> Result<(), FalloPar> {
        plan.cola.entrar();
        let mut pedidos = VecDeque::new();
        let fin = self.pedir_y_recibir(linea, plan, &mut pedidos);
        plan.cola.salir();
        if fin.as_ref().is_err_and(es_culpa_suya) {
            plan.cola.echar(self.lugar);
        }
        for bloque in pedidos {
            plan.cola.devolver(bloque, self.lugar);
        }
        fin
    }

    /// Pide, recibe y guarda. En `pedidos` queda lo que se pidió y no llegó.
    fn pedir_y_recibir(
        &self,
        linea: &mut Linea,
        plan: &Plan,
        pedidos: &mut VecDeque<u64>,
    ) -> Result<(), FalloPar> {
        let mut datos = Vec::new();
        while let Some(bloque) = self.pedir_mas(linea, plan, pedidos)? {
            loop {
                match linea.recibir_bloque(plan, bloque, pedidos.len() > 1, &mut datos) {
                    // Por otra conexión, y de uno en uno hasta ver que aguanta.
                    Err(FalloPar::Cerro) if linea.soltar() => {
                        let otros = pedidos.drain(1..);
                        otros.for_each(|otro| plan.cola.devolver(otro, self.lugar));
                        linea.pedir_bloque(self.pedido.nombre, plan, bloque)?;
                    }
                    recibido => break recibido?,
                }
            }
            pedidos.pop_front();
            match plan.guardar(self.lugar, bloque, &datos) {
                Ok(false) => {}
                Ok(true) => self.decir(Parte::Completo),
                Err(fallo) => {
                    plan.cola.cerrar();
                    self.decir(Parte::NoSeGuarda(fallo));
                }
            }
        }
        Ok(())
    }

    /// Pide bloques hasta tener en vuelo los que aguanta la línea. El primero que tiene que llegar;
    /// `None` si no queda ninguno.
    fn pedir_mas(
        &self,
        linea: &mut Linea,
        plan: &Plan,
        pedidos: &mut VecDeque<u64>,
    ) -> Result<Option<u64>, FalloPar> {
        while pedidos.is_empty() || (pedidos.len() < PEDIDOS_EN_VUELO && linea.aguanta_dos()) {
            let bloque = match pedidos.is_empty() {
                true => plan.cola.sacar(self.lugar),
                false => plan.cola.sacar_otro(self.lugar),
            };
            let Some(bloque) = bloque else { break };
            pedidos.push_back(bloque);
            linea.pedir_bloque(self.pedido.nombre, plan, bloque)?;
        }
        Ok(pedidos.front().copied())
    }
}

/// Una conexión caída puede ser mala suerte; esto otro retira a la fuente entera.
fn es_culpa_suya(fallo: &FalloPar) -> bool {
    match fallo {
        FalloPar::Miente(_) | FalloPar::NoLoTiene | FalloPar::Rechaza(_) => true,
        FalloPar::Clave(_) => true,
        FalloPar::Cerro | FalloPar::Red(_) | FalloPar::Lento => false,
        FalloPar::Calculando | FalloPar::Repetido(_) => false,
    }
}
