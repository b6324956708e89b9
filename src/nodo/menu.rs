//! El menú de la guía, en el hilo principal, con sus textos y sus números; del 4 en adelante, los nuestros.
//!
//! La guía espera en `input()` y no se entera de nada más. Aquí el hilo principal espera con `select!` tres cosas a la
//! vez: lo que se escribe, lo que cuentan los otros hilos y Ctrl-C. Por eso lo que llega se ve al momento, y la
//! pregunta se repite debajo.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, select};

use crate::config::{CONEXIONES_POR_FUENTE, Config, MAX_MENSAJE};
use crate::consola::esperar_trabajo;
use crate::consola::eventos::Oyente;
use crate::consola::pantalla::Pantalla;
use crate::consola::teclado::{avisos_de_ctrl_c, lineas_del_teclado};
use crate::fallo::{Fallo, Salida};
use crate::nodo::arranque::EnMarcha;
use crate::nodo::cliente::{descargar_archivo, listar_de, preguntar_a_todos, saludar};
use crate::nodo::descarga::envio::enviar_archivo;
use crate::nodo::descarga::pedido::{NoDescargado, Pedido};
use crate::nodo::evento::Evento;
use crate::nodo::maestro::localizar::{a_quien_preguntar, quienes_lo_tienen};
use crate::nodo::palabras::pedir::FalloPar;
use crate::nodo::relato::{contar_descarga, contar_mensaje, contar_tanda};
use crate::nodo::vecinos::Vecinos;
use crate::nodo::{Nodo, cliente};
use crate::ordenes::sueltas::{contar_saludo, no_sabe};
use crate::texto::{cuenta, tamano};

/// Abre el nodo con su menú y no vuelve hasta que se sale.
///
/// # Errores
/// No se pudo abrir el puerto o la carpeta.
pub fn abrir(config: Config, pantalla: &mut Pantalla) -> Result<Salida, Fallo> {
    let ctrl_c = avisos_de_ctrl_c()?;
    let marcha = EnMarcha::arrancar(&config)?;
    presentar(&marcha, pantalla);
    let teclado = lineas_del_teclado()?;
    let mut menu = Menu {
        nodo: &marcha.nodo,
        pantalla,
        teclado: &teclado,
        oyente: &marcha.oyente,
        ctrl_c: &ctrl_c,
    };
    let fin = menu.recorrer();
    pantalla.linea("Saliendo...");
    detener(marcha, &ctrl_c, pantalla);
    fin
}

/// El nodo sin menú: sirve y cuenta lo que pasa, hasta un Ctrl-C o un SIGTERM.
///
/// # Errores
/// No se pudo abrir el puerto o la carpeta.
pub fn servir(config: Config, pantalla: &mut Pantalla) -> Result<Salida, Fallo> {
    let ctrl_c = avisos_de_ctrl_c()?;
    let marcha = EnMarcha::arrancar(&config)?;
    presentar(&marcha, pantalla);
    loop {
        let (eventos, reposo) = marcha.oyente.canales();
        select! {
            recv(eventos) -> evento => pintar(evento.ok(), &marcha.oyente, pantalla),
            recv(reposo) -> _ => {}
            recv(ctrl_c) -> _ => break,
        }
    }
    detener(marcha, &ctrl_c, pantalla);
    Ok(Salida::Interrumpido)
}

fn presentar(marcha: &EnMarcha, pantalla: &mut Pantalla) {
    let nodo = &marcha.nodo;
    pantalla.linea(format!(
        "[ESCUCHANDO] Nodo activo en puerto {}",
        nodo.direccion.port()
    ));
    pantalla.linea(format!(
        "Soy {} y comparto {}",
        nodo.vecinos.nombre,
        nodo.carpeta.ruta().display()
    ));
    if let Some(en_la_red) = marcha.ip_en_la_red {
        pantalla.linea(format!(
            "Los demás me encuentran en {en_la_red} (para ellos: --peer {en_la_red})"
        ));
    }
}

fn detener(marcha: EnMarcha, ctrl_c: &Receiver<()>, pantalla: &mut Pantalla) {
    marcha.detener(ctrl_c, |quedan| {
        let cuantas = cuenta(quedan, "conexión", "conexiones");
        pantalla.aviso(format!(
            "Terminando {cuantas} en curso (5 s como mucho; Ctrl-C las corta ya)"
        ));
    });
}

/// Pinta un evento y los que hayan llegado mientras tanto, en un solo `write`.
fn pintar(primero: Option<Evento>, oyente: &Oyente<Evento>, pantalla: &mut Pantalla) {
    let (tanda, perdidos) = oyente.tanda(primero);
    pantalla.interrumpir(contar_tanda(&tanda, perdidos));
}

struct Menu<'a> {
    nodo: &'a Nodo,
    pantalla: &'a mut Pantalla,
    teclado: &'a Receiver<String>,
    oyente: &'a Oyente<Evento>,
    ctrl_c: &'a Receiver<()>,
}

/// Por qué se deja el menú.
enum Fin {
    /// Opción 3, o no hay más entrada.
    Salir,
    /// Ctrl-C.
    Interrumpido,
    /// Algo del sistema.
    Fallo(Fallo),
}

impl From<Fallo> for Fin {
    fn from(fallo: Fallo) -> Fin {
        Fin::Fallo(fallo)
    }
}

impl Menu<'_> {
    fn recorrer(&mut self) -> Result<Salida, Fallo> {
        loop {
            match self.una_vuelta() {
                Ok(()) => {}
                Err(Fin::Salir) => return Ok(Salida::Bien),
                Err(Fin::Interrumpido) => return Ok(Salida::Interrumpido),
                Err(Fin::Fallo(fallo)) => return Err(fallo),
            }
            if self.pantalla.rota() {
                return Ok(Salida::NoSePudo);
            }
        }
    }

    fn una_vuelta(&mut self) -> Result<(), Fin> {
        self.pantalla.tanda([
            "",
            "--- MENÚ P2P ---",
            "1. Ver archivos compartidos",
            "2. Buscar y descargar archivo",
            "3. Salir",
            "4. Ver archivos de la red",
            "5. Enviar archivo",
            "6. Enviar mensaje",
            "7. Mensajes recibidos",
            "8. Estado de los nodos",
        ]);
        let opcion = self.preguntar("Seleccione una opción: ")?;
        match opcion.trim() {
            "4" | "5" | "6" if self.nodo.vecinos.peers.is_empty() => self
                .pantalla
                .linea("No hay más nodos en la lista: se añaden al arrancar, con --peer."),
            "1" => self.ver_archivos(),
            "2" => return self.buscar_y_descargar(),
            "3" => return Err(Fin::Salir),
            "4" => return self.ver_archivos_de_la_red(),
            "5" => return self.enviar(),
            "6" => return self.enviar_mensaje(),
            "7" => self.ver_mensajes(),
            "8" => return self.ver_estado(),
            _ => self.pantalla.linea("Opción inválida."),
        }
        Ok(())
    }

    /// Hace una pregunta y espera la respuesta; lo que llegue mientras tanto se pinta y la pregunta se repite.
    fn preguntar(&mut self, texto: &str) -> Result<String, Fin> {
        self.pantalla.preguntar(texto);
        loop {
            let (eventos, reposo) = self.oyente.canales();
            select! {
                recv(self.teclado) -> linea => {
                    self.pantalla.contestada();
                    // Sin más entrada es como elegir Salir; el cursor se quedó detrás de la pregunta.
                    return linea.map_err(|_| { self.pantalla.linea(""); Fin::Salir });
                }
                recv(eventos) -> evento => pintar(evento.ok(), self.oyente, self.pantalla),
                recv(reposo) -> _ => {}
                recv(self.ctrl_c) -> _ => {
                    self.pantalla.contestada();
                    self.pantalla.linea("");
                    return Err(Fin::Interrumpido);
                }
            }
        }
    }

    // ----- 1. Ver archivos compartidos -----

    fn ver_archivos(&mut self) {
        let archivos = match self.nodo.carpeta.listar() {
            Ok(archivos) => archivos,
            Err(fallo) => return self.pantalla.linea(format!("[ERROR] {fallo}")),
        };
        self.nodo.estante.repasar(&archivos);
        self.pantalla
            .tanda(["", "Archivos disponibles en este nodo:"]);
        if archivos.is_empty() {
            self.pantalla.linea(format!(
                " (ninguno: copia alguno en {})",
                self.nodo.carpeta.ruta().display()
            ));
        }
        self.pantalla.tanda(
            archivos
                .iter()
                .map(|a| format!(" - {} ({})", a.nombre, tamano(a.tamano))),
        );
    }

    // ----- 2. Buscar y descargar archivo -----

    fn buscar_y_descargar(&mut self) -> Result<(), Fin> {
        let nombre = self
            .preguntar("Nombre del archivo que deseas buscar: ")?
            .trim()
            .to_string();
        if nombre.is_empty() {
            self.pantalla.linea("No escribiste ningún nombre.");
            return Ok(());
        }
        let Some(disponibles) = self.buscar(&nombre) else {
            return Ok(());
        };
        if disponibles.is_empty() {
            self.pantalla.linea("No se encontró ese archivo en la red.");
            return Ok(());
        }
        self.pantalla.linea("Archivo disponible en:");
        if disponibles.len() > 1 {
            self.pantalla.linea("0. de todos a la vez");
        }
        self.pantalla.tanda(
            disponibles
                .iter()
                .enumerate()
                .map(|(lugar, peer)| format!("{}. {peer}", lugar + 1)),
        );
        let eleccion = self.preguntar("Selecciona de dónde deseas descargar (número): ")?;
        match elegir(&eleccion, &disponibles) {
            Some(fuentes) => self.descargar(&nombre, &fuentes),
            None => {
                self.pantalla.linea("Opción inválida.");
                Ok(())
            }
        }
    }

    /// Pregunta a todos los peers, y al maestro si lo hay. `None` si Ctrl-C lo dejó.
    fn buscar(&mut self, nombre: &str) -> Option<Vec<SocketAddr>> {
        let vecinos = &self.nodo.vecinos.para_una_tanda();
        let mut por_lugar = Vec::new();
        let acabo = self.consultar(
            vecinos,
            &a_quien_preguntar(vecinos),
            |a_quien| quienes_lo_tienen(vecinos, a_quien, nombre),
            |_, lugar, duenos: Vec<SocketAddr>| por_lugar.push((lugar, duenos)),
        );
        por_lugar.sort_unstable_by_key(|(lugar, _)| *lugar);
        acabo.then(|| {
            por_lugar
                .into_iter()
                .flat_map(|(_, duenos)| duenos)
                .collect()
        })
    }

    fn descargar(&mut self, nombre: &str, fuentes: &[SocketAddr]) -> Result<(), Fin> {
        let nodo = self.nodo;
        let fin = esperar_trabajo(self.pantalla, Some(self.oyente), self.ctrl_c, |encargo| {
            let pedido = Pedido {
                nombre,
                carpeta: &nodo.carpeta,
                limites: nodo.vecinos.limites,
                conexiones: CONEXIONES_POR_FUENTE,
                cancelacion: encargo.cancelacion,
                progreso: encargo.progreso,
                avisar: encargo.avisar,
            };
            descargar_archivo(fuentes, &pedido)
        })?;
        match fin {
            Ok(descargado) => {
                nodo.cambio_la_carpeta();
                self.pantalla.tanda(contar_descarga(nombre, &descargado));
            }
            Err(NoDescargado::NoEncontrado) => {
                self.pantalla
                    .linea(format!("[NO ENCONTRADO] {}", NoDescargado::NoEncontrado));
            }
            Err(fallo) => self
                .pantalla
                .linea(format!("[ERROR AL DESCARGAR] {nombre}: {fallo}")),
        }
        Ok(())
    }

    // ----- 4. Ver archivos de la red -----

    fn ver_archivos_de_la_red(&mut self) -> Result<(), Fin> {
        let vecinos = &self.nodo.vecinos.para_una_tanda();
        self.consultar(
            vecinos,
            &vecinos.peers,
            |peer| listar_de(vecinos, peer),
            |pantalla, lugar, lista| {
                let peer = vecinos.peers[lugar];
                match lista {
                    Ok(entradas) => {
                        pantalla.linea(format!(
                            "{peer}: {}",
                            cuenta(entradas.len(), "archivo", "archivos")
                        ));
                        pantalla.tanda(
                            entradas
                                .iter()
                                .map(|e| format!(" - {} ({})", e.nombre, tamano(e.tamano))),
                        );
                    }
                    Err(fallo) => {
                        pantalla.linea(format!("{peer}: {}", no_sabe(&fallo, "no sabe listar")))
                    }
                }
            },
        );
        Ok(())
    }

    // ----- 5. Enviar archivo -----

    fn enviar(&mut self) -> Result<(), Fin> {
        let ruta = self
            .preguntar("Archivo que deseas enviar (nombre de la carpeta compartida, o ruta): ")?;
        if ruta.trim().is_empty() {
            self.pantalla.linea("No escribiste ningún nombre.");
            return Ok(());
        }
        let ruta = self.donde_esta(ruta.trim());
        let peers = self.nodo.vecinos.peers.clone();
        self.pantalla.linea("Nodos:");
        self.pantalla.tanda(
            peers
                .iter()
                .enumerate()
                .map(|(lugar, peer)| format!("{}. {peer}", lugar + 1)),
        );
        let eleccion = self.preguntar("Selecciona a quién deseas enviarlo (número): ")?;
        match elegir(&eleccion, &peers).as_deref() {
            Some([peer]) => self.enviar_a(&ruta, *peer),
            _ => {
                self.pantalla.linea("Opción inválida.");
                Ok(())
            }
        }
    }

    /// Un nombre es primero el de un archivo de la carpeta; si no está en ella, una ruta cualquiera.
    fn donde_esta(&self, escrito: &str) -> PathBuf {
        match self.nodo.carpeta.abrir_archivo(escrito) {
            Ok(_) => self.nodo.carpeta.ruta().join(escrito),
            Err(_) => PathBuf::from(escrito),
        }
    }

    fn enviar_a(&mut self, ruta: &Path, peer: SocketAddr) -> Result<(), Fin> {
        let vecinos = &self.nodo.vecinos;
        let fin = esperar_trabajo(self.pantalla, Some(self.oyente), self.ctrl_c, |encargo| {
            enviar_archivo(vecinos, ruta, peer, encargo.cancelacion, encargo.progreso)
        })?;
        match fin {
            Ok(quedo) => self
                .pantalla
                .linea(format!("[ENVÍO COMPLETO] quedó en {peer} como {quedo}")),
            Err(fallo) => self.pantalla.linea(format!("[ERROR AL ENVIAR] {fallo}")),
        }
        Ok(())
    }

    // ----- 6 y 7. Mensajes -----

    fn enviar_mensaje(&mut self) -> Result<(), Fin> {
        let texto = self.preguntar("Mensaje para todos: ")?;
        if texto.trim().is_empty() || texto.len() > MAX_MENSAJE {
            let largo = texto.len();
            self.pantalla.linea(format!(
                "Un mensaje tiene de 1 a {MAX_MENSAJE} bytes; ese tiene {largo}."
            ));
            return Ok(());
        }
        let vecinos = &self.nodo.vecinos.para_una_tanda();
        let enviar = |peer| cliente::enviar_mensaje(vecinos, peer, &texto);
        self.consultar(
            vecinos,
            &vecinos.peers,
            enviar,
            |pantalla, lugar, recibido: Result<(), FalloPar>| {
                let peer = vecinos.peers[lugar];
                pantalla.linea(match recibido {
                    Ok(()) => format!("{peer} lo recibió"),
                    Err(fallo) => format!("{peer}: {}", no_sabe(&fallo, "no recibe mensajes")),
                });
            },
        );
        Ok(())
    }

    fn ver_mensajes(&mut self) {
        let mensajes = self.nodo.mensajes();
        if mensajes.is_empty() {
            self.pantalla.linea("No ha llegado ningún mensaje.");
        }
        self.pantalla.tanda(mensajes.iter().map(contar_mensaje));
    }

    // ----- 8. Estado de los nodos -----

    fn ver_estado(&mut self) -> Result<(), Fin> {
        let Nodo {
            direccion, carpeta, ..
        } = self.nodo;
        let vecinos = &self.nodo.vecinos.para_una_tanda();
        let peers: Vec<String> = vecinos.peers.iter().map(SocketAddr::to_string).collect();
        let a_quienes = match peers.is_empty() {
            true => "nadie".to_string(),
            false => peers.join(", "),
        };
        self.pantalla.tanda([
            format!("Este nodo: {} (se cambia con --nombre)", vecinos.nombre),
            format!("  escucha en {direccion} (--ip, --puerto)"),
            format!("  comparte {} (--carpeta)", carpeta.ruta().display()),
            format!("  pregunta a {a_quienes} (--peer, una vez por cada uno)"),
        ]);
        let pregunta = |peer| {
            let antes = Instant::now();
            (saludar(vecinos, peer), antes.elapsed())
        };
        self.consultar(
            vecinos,
            &vecinos.peers,
            pregunta,
            |pantalla, lugar, (saludo, tiempo): (_, Duration)| {
                pantalla.linea(contar_saludo(vecinos.peers[lugar], &saludo, tiempo));
            },
        );
        Ok(())
    }

    /// Pregunta a todos a la vez y da cada respuesta a `llega`, sin dejar de pintar lo que pase. Falso si Ctrl-C lo dejó.
    fn consultar<P: Copy + Sync + fmt::Display, T: Send>(
        &mut self,
        vecinos: &Vecinos,
        peers: &[P],
        pregunta: impl Fn(P) -> T + Sync,
        mut llega: impl FnMut(&mut Pantalla, usize, T),
    ) -> bool {
        preguntar_a_todos(peers, pregunta, |respuestas| {
            loop {
                let (eventos, reposo) = self.oyente.canales();
                select! {
                    recv(respuestas) -> respuesta => match respuesta {
                        Ok((lugar, respuesta)) => llega(self.pantalla, lugar, respuesta),
                        Err(_) => return true,
                    },
                    recv(eventos) -> evento => pintar(evento.ok(), self.oyente, self.pantalla),
                    recv(reposo) -> _ => {}
                    recv(self.ctrl_c) -> _ => {
                        vecinos.preguntas.cortar();
                        return false;
                    }
                }
            }
        })
    }
}

/// Lo elegido de una lista: `0` es toda (si hay más de uno), o el número de uno.
fn elegir(escrito: &str, peers: &[SocketAddr]) -> Option<Vec<SocketAddr>> {
    match escrito.trim().parse::<usize>().ok()? {
        0 if peers.len() > 1 => Some(peers.to_vec()),
        numero => peers.get(numero.checked_sub(1)?).map(|peer| vec![*peer]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solo_vale_un_numero_de_la_lista() {
        let peers: Vec<SocketAddr> = vec![
            "127.0.0.1:1".parse().unwrap(),
            "127.0.0.1:2".parse().unwrap(),
        ];
        assert_eq!(elegir(" 2 ", &peers), Some(vec![peers[1]]));
        assert_eq!(elegir("0", &peers), Some(peers.clone()));
        for malo in [
            "",
            "3",
            "-1",
            "99",
            "uno",
            "1 2",
            "99999999999999999999",
            "\u{fffd}",
        ] {
            assert_eq!(elegir(malo, &peers), None, "{malo:?}");
        }
        assert_eq!(elegir("0", &peers[..1]), None);
    }
}
