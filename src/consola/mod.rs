//! El hilo principal, una vez: espera a quien está delante y a los demás hilos, y es el único que
//! pinta.
//!
//! La guía espera en `input()` y no se entera de nada más. Aquí el menú, las órdenes sueltas, el
//! chat, el balanceador y el maestro esperan con la misma [`Consola`]: el único `select!` del hilo
//! principal está en [`Consola::siguiente`], y lo demás (preguntar, consultar a todos, hacer un
//! trabajo largo, mirar lo que pasa) se apoya en él. No sabe qué se pregunta ni qué se baja.

mod barra;
mod consulta;
pub mod editor;
pub mod eventos;
pub mod pantalla;
mod preguntas;
pub mod progreso;
mod registro;
mod teclado;
mod terminal;

use std::sync::Arc;
use std::thread;
use std::time::Instant;

use crossbeam_channel::{Receiver, bounded, never, select, tick};
use log::debug;

pub use consulta::preguntar_a_todos;
pub use editor::Impresor;
pub use preguntas::{Fin, elegir, numerados};
pub use registro::encender_registro;

use crate::fallo::{Fallo, Salida};
use crate::red::DESPEDIDA;
use crate::red::hilos::arrancar_en;
use crate::red::maquina::hacer_sitio_a_los_descriptores;
use crate::red::parada::Parada;
use crate::red::servidor::Servidor;
use crate::texto::cuenta;
use barra::REPINTAR;
use editor::Nombres;
use eventos::{Avisador, Oyente};
use pantalla::Pantalla;
use progreso::Progreso;
use teclado::{Teclado, avisos_de_ctrl_c};

/// Avisos de un trabajo que caben sin que espere a la pantalla.
const TOPE_DE_AVISOS: usize = 64;

/// Quien está delante: su pantalla, su teclado y su Ctrl-C, y lo que los demás hilos quieren
/// contarle.
pub struct Consola {
    /// Donde se pinta.
    pub pantalla: Pantalla,
    /// Los avisos de Ctrl-C, para quien está terminando y ya no pregunta nada.
    pub ctrl_c: Receiver<()>,
    teclado: Teclado,
    oyente: Option<Oyente>,
    /// Por dónde va el trabajo en curso, y cada cuánto se repinta.
    trabajo: Option<(Arc<Progreso>, Receiver<Instant>)>,
    menu_a_la_vista: bool,
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

/// Con qué cuenta un trabajo largo: cómo saber si lo cancelan, por dónde va y cómo avisar.
pub struct Encargo<'a> {
    /// ¿Hay que dejarlo?
    pub parada: &'a Parada,
    /// Por dónde va.
    pub progreso: &'a Progreso,
    /// Lo que conviene saber.
    pub avisar: &'a (dyn Fn(String) + Sync),
    /// Un resultado que ya se puede enseñar.
    pub decir: &'a (dyn Fn(String) + Sync),
}

/// Lo que un trabajo va diciendo.
enum Dicho {
    Aviso(String),
    Resultado(String),
}

impl Consola {
    /// La consola del programa. Desde aquí, un Ctrl-C ya no mata: se atiende.
    /// Mientras se teclea, todo lo que se pinte va por `impresor`.
    pub fn nueva(impresor: Impresor) -> Result<Consola, Fallo> {
        hacer_sitio_a_los_descriptores();
        // Aquí nace el segundo hilo.
        let (avisar_ctrl_c, ctrl_c) = avisos_de_ctrl_c()?;
        debug!("Ctrl-C se atiende");
        let nombres = Nombres::default();
        let teclado = Teclado::nuevo(impresor.clone(), &nombres, avisar_ctrl_c);
        Ok(Consola {
            pantalla: Pantalla::nueva(impresor, nombres),
            ctrl_c,
            teclado,
            menu_a_la_vista: false,
            oyente: None,
            trabajo: None,
        })
    }

    /// Desde ahora se pinta también lo que los demás hilos cuenten por lo que devuelve: de lo
    /// corriente, `por_tanda` líneas de una vez.
    pub fn oir(&mut self, por_tanda: usize) -> Avisador {
        let (avisador, oyente) = Avisador::nuevo(por_tanda);
        self.oyente = Some(oyente);
        avisador
    }

    /// Detiene un servidor. Si tarda porque hay envíos en curso lo dice, y otro Ctrl-C los corta
    /// ya.
    pub fn despedir(&mut self, servidor: Servidor) {
        self.pintar_avisos();
        let pantalla = &mut self.pantalla;
        servidor.detener(&self.ctrl_c, |quedan| {
            if quedan == 0 {
                return;
            }
            let cuantas = cuenta(quedan, "conexión", "conexiones");
            let plazo = DESPEDIDA.as_secs();
            let limite = format!("{plazo} s como mucho; Ctrl-C las corta ya");
            pantalla.aviso(format!("Terminando {cuantas} en curso ({limite})"));
        });
        self.pintar_avisos();
    }

    /// Lo último: con qué se sale. Si no se pudo escribir el resultado, no salió bien.
    pub fn cerrar(self, salida: Salida) -> Salida {
        match salida {
            Salida::Bien if self.pantalla.rota() => Salida::NoSePudo,
            salida => salida,
        }
    }

    /// Espera lo siguiente que pase: algo por `canal`, una línea del teclado (si se está leyendo)
    /// o un Ctrl-C. Lo que cuenten los demás hilos mientras tanto se pinta.
    pub fn siguiente<T>(&mut self, canal: &Receiver<T>) -> Paso<T> {
        self.teclado.seguir();
        loop {
            if self.teclado.vuelve_de_la_shell() {
                self.pantalla.repintar();
            }
            let oyente = self.oyente.as_ref();
            let (hay_avisos, reposo) = oyente.map_or((never(), never()), Oyente::canales);
            let trabajo = self.trabajo.as_ref();
            let repintar = trabajo.map_or(never(), |(_, reloj)| reloj.clone());
            select! {
                recv(self.ctrl_c) -> _ => {
                    self.soltar_la_linea();
                    return Paso::Interrumpido;
                }
                recv(canal) -> algo => return algo.map_or(Paso::Acabo, Paso::Llego),
                recv(self.teclado.lineas()) -> linea => {
                    self.teclado.contestada();
                    return linea.map_or(Paso::FinDeEntrada, Paso::Escrito);
                }
                recv(self.teclado.pulso()) -> _ => {}
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

    /// Hace `trabajo` en otro hilo y mientras tanto pinta la barra y los avisos. Un Ctrl-C lo
    /// cancela. Devuelve lo que dio, y si lo dejó un Ctrl-C.
    pub fn trabajar<T: Send>(
        &mut self,
        trabajo: impl FnOnce(Encargo) -> T + Send,
    ) -> Result<(T, bool), Fallo> {
        let (parada, progreso) = (Parada::nueva(), Arc::new(Progreso::default()));
        let (avisar, avisos) = bounded(TOPE_DE_AVISOS);
        self.pantalla.poner_barra();
        self.teclado.terminal.callar_el_eco();
        self.trabajo = Some((Arc::clone(&progreso), tick(REPINTAR)));
        let hecho = thread::scope(|ambito| {
            let (parada, progreso) = (&parada, &*progreso);
            let hilo = arrancar_en(ambito, "trabajo", move || {
                // Sólo falla si el hilo principal se fue, y no se va antes de tener el resultado.
                let hablar = |dicho| avisar.send(dicho).unwrap_or_default();
                trabajo(Encargo {
                    parada,
                    progreso,
                    avisar: &|frase| hablar(Dicho::Aviso(frase)),
                    decir: &|linea| hablar(Dicho::Resultado(linea)),
                })
            })?;
            // Hasta que el trabajo suelte su lado de los avisos.
            loop {
                match self.siguiente(&avisos) {
                    Paso::Llego(Dicho::Aviso(frase)) => self.pantalla.aviso(frase),
                    Paso::Llego(Dicho::Resultado(linea)) => self.pantalla.linea(linea),
                    Paso::Interrumpido => parada.cortar(),
                    Paso::Acabo => break,
                    Paso::Escrito(_) | Paso::FinDeEntrada => {}
                }
            }
            let roto = |_| Fallo::nuevo("el trabajo terminó por un error interno");
            let hecho = hilo.join().map_err(roto)?;
            Ok((hecho, parada.avisada()))
        });
        self.trabajo = None;
        self.pantalla.quitar_barra();
        self.teclado.terminal.reponer();
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
