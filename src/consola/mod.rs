//! El hilo principal, una vez: espera a quien está delante y a los demás hilos, y es el único que pinta.
//!
//! La guía espera en `input()` y no se entera de nada más. Aquí el menú, las órdenes sueltas, el
//! chat, el balanceador y el maestro esperan con la misma [`Consola`]: el único `select!` del hilo
//! principal está en [`Consola::siguiente`], y lo demás (preguntar, consultar a todos, hacer un
//! trabajo largo, mirar lo que pasa) se apoya en él. No sabe qué se pregunta ni qué se baja.

pub mod eventos;
pub mod pantalla;
pub mod progreso;
pub mod teclado;

use std::sync::Arc;
use std::thread;
use std::time::Instant;

use crossbeam_channel::{Receiver, bounded, never, select, tick};
use log::debug;

use crate::fallo::{Fallo, Salida};
use crate::red::DESPEDIDA;
use crate::red::hilos::arrancar_en;
use crate::red::parada::Parada;
use crate::red::servidor::Servidor;
use crate::texto::cuenta;
use eventos::Oyente;
use pantalla::{Pantalla, REPINTAR};
use progreso::Progreso;
use teclado::{Teclado, avisos_de_ctrl_c};

/// Avisos de un trabajo que caben sin que espere a la pantalla.
const TOPE_DE_AVISOS: usize = 64;

/// Quien está delante: su pantalla, su teclado y su Ctrl-C, y lo que los demás hilos quieren contarle.
pub struct Consola {
    /// Donde se pinta.
    pub pantalla: Pantalla,
    ctrl_c: Receiver<()>,
    teclado: Teclado,
    oyente: Option<Oyente>,
    /// Por dónde va el trabajo en curso, y cada cuánto se repinta.
    trabajo: Option<(Arc<Progreso>, Receiver<Instant>)>,
}

/// Lo siguiente que pasa delante del hilo principal.
#[derive(Debug, PartialEq, Eq)]
pub enum Paso<T> {
    /// Escribieron una línea.
    Escrito(String),
    /// No hay más entrada.
    FinDeEntrada,
    /// Llegó algo por el canal que se esperaba.
    Llego(T),
    /// Por ese canal ya no llegará nada más.
    Acabo,
    /// Ctrl-C o SIGTERM.
    Interrumpido,
}

/// Por qué no hay respuesta a una pregunta.
#[derive(Debug)]
pub enum Fin {
    /// Quien está delante se va, y así acaba el programa.
    SeVa(Salida),
    /// Algo del sistema.
    Fallo(Fallo),
}

impl From<Fallo> for Fin {
    fn from(fallo: Fallo) -> Fin {
        Fin::Fallo(fallo)
    }
}

/// Con qué cuenta un trabajo largo: cómo saber si lo cancelan, por dónde va y cómo avisar.
pub struct Encargo<'a> {
    /// ¿Hay que dejarlo?
    pub parada: &'a Parada,
    /// Por dónde va.
    pub progreso: &'a Progreso,
    /// Lo que conviene saber.
    pub avisar: &'a (dyn Fn(String) + Sync),
}

impl Consola {
    /// La consola del programa. Desde aquí, un Ctrl-C ya no mata: se atiende.
    pub fn nueva() -> Result<Consola, Fallo> {
        Ok(Consola {
            pantalla: Pantalla::nueva(),
            ctrl_c: avisos_de_ctrl_c().inspect(|_| debug!("Ctrl-C se atiende"))?,
            teclado: Teclado::default(),
            oyente: None,
            trabajo: None,
        })
    }

    /// Desde ahora se pinta también lo que se cuente a ese oyente.
    pub fn oir(&mut self, oyente: Oyente) {
        self.oyente = Some(oyente);
    }

    /// Detiene un servidor. Si tarda porque hay envíos en curso lo dice, y otro Ctrl-C los corta ya.
    pub fn despedir(&mut self, servidor: Servidor) {
        let pantalla = &mut self.pantalla;
        servidor.detener(&self.ctrl_c, |quedan| {
            let cuantas = cuenta(quedan, "conexión", "conexiones");
            let plazo = DESPEDIDA.as_secs();
            pantalla.aviso(format!(
                "Terminando {cuantas} en curso ({plazo} s como mucho; Ctrl-C las corta ya)"
            ));
        });
    }

    /// Lo último: con qué se sale. Si no se pudo escribir el resultado, no salió bien.
    pub fn cerrar(self, salida: Salida) -> Salida {
        match salida {
            Salida::Bien if self.pantalla.rota() => Salida::NoSePudo,
            salida => salida,
        }
    }

    /// Los avisos de Ctrl-C, para quien está terminando y ya no pregunta nada.
    pub fn ctrl_c(&self) -> &Receiver<()> {
        &self.ctrl_c
    }

    /// Espera lo siguiente que pase: algo por `canal`, una línea del teclado (si se está leyendo) o un
    /// Ctrl-C. Lo que cuenten los demás hilos mientras tanto se pinta.
    pub fn siguiente<T>(&mut self, canal: &Receiver<T>) -> Paso<T> {
        loop {
            let (hay_avisos, reposo) = match &self.oyente {
                Some(oyente) => oyente.canales(),
                None => (never(), never()),
            };
            let repintar = self
                .trabajo
                .as_ref()
                .map_or(never(), |(_, reloj)| reloj.clone());
            select! {
                recv(self.ctrl_c) -> _ => return Paso::Interrumpido,
                recv(canal) -> algo => return algo.map_or(Paso::Acabo, Paso::Llego),
                recv(self.teclado.lineas()) -> linea => {
                    return linea.map_or(Paso::FinDeEntrada, Paso::Escrito);
                }
                recv(hay_avisos) -> _ => self.pintar_avisos(),
                recv(reposo) -> _ => {}
                recv(repintar) -> _ => self.repintar_barra(),
            }
        }
    }

    fn repintar_barra(&mut self) {
        if let Some((progreso, _)) = &self.trabajo {
            self.pantalla.avanzar(&progreso.mirar());
        }
    }

    /// Pinta lo que los demás hilos hayan contado hasta ahora.
    pub fn pintar_avisos(&mut self) {
        let lineas = self.oyente.as_ref().map(Oyente::tanda).unwrap_or_default();
        if !lineas.is_empty() {
            self.pantalla.interrumpir(lineas);
        }
    }

    /// Desde ahora [`Consola::siguiente`] da también lo que se escriba (en el chat se habla sin que
    /// nadie pregunte).
    pub fn leer_siempre(&mut self) -> Result<(), Fallo> {
        self.teclado.leer("")
    }

    /// El `input()` de la guía: pregunta y espera la respuesta. `Err` si en vez de contestar se va.
    pub fn preguntar(&mut self, texto: &str) -> Result<String, Fin> {
        self.teclado.leer(texto)?;
        self.pantalla.preguntar(texto);
        let paso = self.siguiente(&never::<()>());
        self.teclado.callar();
        self.pantalla.contestada();
        if let Paso::Escrito(linea) = paso {
            return Ok(linea);
        }
        // El cursor se quedó detrás de la pregunta.
        self.pantalla.linea("");
        // Sin más entrada es como elegir Salir.
        Err(Fin::SeVa(match paso {
            Paso::Interrumpido => Salida::Interrumpido,
            _ => Salida::Bien,
        }))
    }

    /// Hace la misma `pregunta` a todos a la vez, cada una en su hilo, y da cada respuesta a `llega`
    /// según viene. Falso si un Ctrl-C lo dejó: entonces se corta la `parada`, y con ella las preguntas.
    /// Si no caben tantos hilos es un error: callarlo parecería que no hay más respuestas.
    pub fn consultar<P: Copy + Send + Sync, T: Send>(
        &mut self,
        a_quienes: &[P],
        parada: &Parada,
        pregunta: impl Fn(P) -> T + Sync,
        mut llega: impl FnMut(&mut Pantalla, P, T),
    ) -> Result<bool, Fallo> {
        preguntar_a_todos(a_quienes, pregunta, |respuestas| {
            loop {
                match self.siguiente(respuestas) {
                    Paso::Llego((lugar, respuesta)) => {
                        llega(&mut self.pantalla, a_quienes[lugar], respuesta);
                    }
                    Paso::Interrumpido => {
                        parada.cortar();
                        return false;
                    }
                    Paso::Acabo => return true,
                    // Lo que se escriba antes de tiempo no contesta a nada.
                    Paso::Escrito(_) | Paso::FinDeEntrada => {}
                }
            }
        })
    }

    /// Hace `trabajo` en otro hilo y mientras tanto pinta la barra y los avisos. Un Ctrl-C lo cancela.
    pub fn trabajar<T: Send>(
        &mut self,
        trabajo: impl FnOnce(Encargo) -> T + Send,
    ) -> Result<T, Fallo> {
        let (parada, progreso) = (Parada::nueva(), Arc::new(Progreso::default()));
        let (avisar, avisos) = bounded(TOPE_DE_AVISOS);
        self.pantalla.poner_barra();
        self.trabajo = Some((Arc::clone(&progreso), tick(REPINTAR)));
        let hecho = thread::scope(|ambito| {
            let (parada, progreso) = (&parada, &*progreso);
            let hilo = arrancar_en(ambito, "trabajo", move || {
                // Sólo falla si el hilo principal se fue, y no se va antes de tener el resultado.
                let avisar = |frase: String| avisar.send(frase).unwrap_or_default();
                trabajo(Encargo {
                    parada,
                    progreso,
                    avisar: &avisar,
                })
            })?;
            // Hasta que el trabajo suelte su lado de los avisos.
            loop {
                match self.siguiente(&avisos) {
                    Paso::Llego(frase) => self.pantalla.aviso(frase),
                    Paso::Interrumpido => parada.cortar(),
                    Paso::Acabo => break,
                    Paso::Escrito(_) | Paso::FinDeEntrada => {}
                }
            }
            let roto = |_| Fallo::nuevo("el trabajo terminó por un error interno");
            hilo.join().map_err(roto)
        });
        self.trabajo = None;
        self.pantalla.quitar_barra();
        hecho
    }

    /// Pinta lo que pasa hasta un Ctrl-C, o hasta que no haya donde pintar.
    pub fn mirar(&mut self) -> Salida {
        while !self.pantalla.rota() {
            if self.siguiente(&never::<()>()) == Paso::Interrumpido {
                return Salida::Interrumpido;
            }
        }
        Salida::NoSePudo
    }
}

/// Hace la misma `pregunta` a todos a la vez, cada una en su hilo, y da las respuestas según llegan (con
/// el lugar de cada uno en la lista) por el canal que recibe `atender`. No vuelve hasta que acaban
/// todas: `pregunta` tiene sus propios plazos. Falla si a alguno no se le pudo preguntar, por falta de
/// hilos.
pub fn preguntar_a_todos<P: Copy + Send + Sync, T: Send, R>(
    a_quienes: &[P],
    pregunta: impl Fn(P) -> T + Sync,
    atender: impl FnOnce(&Receiver<(usize, T)>) -> R,
) -> Result<R, Fallo> {
    // Con sitio para todas: ningún hilo espera a que alguien lea su respuesta.
    let (contestar, respuestas) = bounded(a_quienes.len());
    let pregunta = &pregunta;
    thread::scope(|ambito| {
        let preguntar = |(lugar, quien): (usize, &P)| {
            let (contestar, quien) = (contestar.clone(), *quien);
            // Sólo falla si quien preguntaba ya no quiere saberlo.
            let preguntar = move || drop(contestar.send((lugar, pregunta(quien))));
            arrancar_en(ambito, &format!("pregunta-{lugar}"), preguntar).map(drop)
        };
        let preguntado = a_quienes.iter().enumerate().try_for_each(preguntar);
        drop(contestar);
        let atendido = atender(&respuestas);
        preguntado.map(|()| atendido)
    })
}
