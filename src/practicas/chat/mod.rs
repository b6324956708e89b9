//! La práctica del chat (`p2p.py`): uno espera y otros se conectan; lo que cada uno escribe llega a los demás.
//!
//! Pregunta lo mismo que el documento. El servidor es el mismo bucle de `accept` que el nodo con otro `gestionar`
//! ([`gestionar_charla`]) y admite a varios: lo que escribe llega a todos (lo que dice uno no se reenvía a los demás: la
//! charla es de cada uno con el servidor). El hilo principal espera a la vez el teclado, lo que cuentan las charlas y el
//! Ctrl-C, y es el único que pinta.

pub mod charla;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::Builder;
use std::time::Duration;

use crossbeam_channel::{Receiver, SendTimeoutError, Sender, bounded, never, select};

use crate::config::{Limites, MAX_CONEXIONES, leer_ip, leer_puerto};
use crate::consola::pantalla::Pantalla;
use crate::consola::teclado::{avisos_de_ctrl_c, lineas_del_teclado};
use crate::fallo::{Fallo, Salida};
use crate::ordenes::opciones as argumentos;
use crate::practicas::chat::charla::{Buzon, Suceso, gestionar_charla};
use crate::red::conexion::Conexion;
use crate::red::{DESPEDIDA, Parada, Servidor, abrir_en, conexiones_posibles};

/// El `HOST` del documento.
const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// El `PORT` del documento.
const PORT: u16 = 5000;
/// Lo que se escribe para terminar.
const SALIR: &str = "exit";
/// Sucesos que esperan a pintarse; con más, las charlas dejan de leer.
const COLA_DE_SUCESOS: usize = 64;
/// Cuánto se espera a que en el buzón de un par quepa otra línea.
const ESPERA_AL_QUE_NO_LEE: Duration = Duration::from_secs(1);

/// De qué lado se está.
#[derive(Debug, PartialEq, Eq)]
enum Papel {
    Servidor(SocketAddr),
    Cliente(SocketAddr),
}

/// `nodo chat`: charla hasta `exit`, el fin de la entrada o Ctrl-C.
///
/// # Errores
/// No se pudo abrir el puerto o no hay nadie donde conectarse.
pub fn abrir(opciones: argumentos::Chat, pantalla: &mut Pantalla) -> Result<Salida, Fallo> {
    let delante = Delante {
        ctrl_c: avisos_de_ctrl_c()?,
        teclado: lineas_del_teclado()?,
    };
    let papel = match (opciones.servidor, opciones.conectar) {
        (Some(direccion), _) => Papel::Servidor(direccion),
        (None, Some(direccion)) => Papel::Cliente(direccion),
        (None, None) => match delante.preguntar_papel(pantalla) {
            Ok(papel) => papel,
            Err(salida) => return Ok(salida),
        },
    };
    match papel {
        Papel::Servidor(direccion) => esperar_a_otros(direccion, &delante, pantalla),
        Papel::Cliente(direccion) => conectarse(direccion, &delante, pantalla),
    }
}

fn esperar_a_otros(
    pedida: SocketAddr,
    delante: &Delante,
    pantalla: &mut Pantalla,
) -> Result<Salida, Fallo> {
    let (escucha, direccion) = abrir_en(pedida, "--servidor")?;
    let (contar, sala) = Sala::nueva();
    let parada = Arc::new(Parada::nueva(conexiones_posibles(MAX_CONEXIONES)));
    let servidor = Servidor::arrancar(escucha, parada, move |socket, desde| {
        gestionar_charla(socket, desde, &contar);
    })?;
    pantalla.linea(format!("[ESCUCHANDO] Chat en {direccion}"));
    pantalla.linea(format!(
        "Lo que escribas llega a todos los que se conecten; «{SALIR}» termina."
    ));
    let salida = sala.charlar(delante, pantalla);
    servidor.detener(&delante.ctrl_c, |_| {});
    Ok(salida)
}

fn conectarse(
    direccion: SocketAddr,
    delante: &Delante,
    pantalla: &mut Pantalla,
) -> Result<Salida, Fallo> {
    let limites = Limites::default();
    let conexion = Conexion::conectar(direccion, limites.conectar, limites).map_err(|fallo| {
        Fallo::nuevo(format!(
            "conectando con {direccion}: {fallo}; ¿hay ahí un chat en modo servidor?"
        ))
    })?;
    let socket = Arc::clone(conexion.socket());
    drop(conexion);
    let (contar, mut sala) = Sala::nueva();
    let (acabar, fin) = bounded::<()>(0);
    let suyo = Arc::clone(&socket);
    let hilo = Builder::new()
        .name("charla".into())
        .spawn(move || {
            gestionar_charla(&suyo, direccion, &contar);
            drop(acabar);
        })
        .map_err(|e| Fallo::de_sistema("creando el hilo de la charla", &e))?;
    pantalla.linea(format!(
        "Lo que escribas llega al otro lado; «{SALIR}» termina."
    ));
    // Lo primero que cuenta la charla es que empieza: hasta entonces no se lee el teclado, que puede ser una tubería.
    if let Ok(empieza) = sala.sucesos.recv() {
        sala.atender(empieza, pantalla);
    }
    let salida = sala.charlar(delante, pantalla);
    despedirse(&socket, &fin, &delante.ctrl_c);
    if hilo.join().is_err() {
        log::error!("el hilo de la charla terminó por un error interno");
    }
    Ok(salida)
}

/// Lo escrito que aún no ha salido tiene [`DESPEDIDA`] para salir (u otro Ctrl-C lo corta); luego se corta.
fn despedirse(socket: &TcpStream, fin: &Receiver<()>, ctrl_c: &Receiver<()>) {
    // Los dos cierres fallan si la conexión ya no existe: es lo que se quería.
    let _ = socket.shutdown(Shutdown::Read);
    select! {
        recv(fin) -> _ => {}
        recv(ctrl_c) -> _ => {}
        default(DESPEDIDA) => {}
    }
    let _ = socket.shutdown(Shutdown::Both);
}

/// Quien está delante: su teclado y su Ctrl-C.
struct Delante {
    teclado: Receiver<String>,
    ctrl_c: Receiver<()>,
}

impl Delante {
    /// Las tres preguntas del documento. `Err` si en vez de contestar se va.
    fn preguntar_papel(&self, pantalla: &mut Pantalla) -> Result<Papel, Salida> {
        let quiere_servir =
            self.preguntar(pantalla, "¿Servidor (s) o cliente (c)? ", leer_papel)?;
        let ip = self.preguntar(pantalla, "IP (Entrar: 127.0.0.1): ", |escrito| {
            if escrito.is_empty() {
                Ok(HOST)
            } else {
                leer_ip(escrito)
            }
        })?;
        let puerto = self.preguntar(
            pantalla,
            "Puerto (Entrar: 5000): ",
            |escrito| match escrito {
                "" => Ok(PORT),
                "0" if !quiere_servir => Err("nadie escucha en el puerto 0".into()),
                _ => leer_puerto(escrito),
            },
        )?;
        let direccion = SocketAddr::new(ip, puerto);
        Ok(if quiere_servir {
            Papel::Servidor(direccion)
        } else {
            Papel::Cliente(direccion)
        })
    }

    /// Pregunta hasta que la respuesta valga.
    fn preguntar<T>(
        &self,
        pantalla: &mut Pantalla,
        pregunta: &str,
        leer: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, Salida> {
        loop {
            pantalla.preguntar(pregunta);
            let escrito = select! {
                recv(self.ctrl_c) -> _ => Err(Salida::Interrumpido),
                recv(self.teclado) -> linea => linea.map_err(|_| Salida::Bien),
            };
            pantalla.contestada();
            let escrito = escrito.inspect_err(|_| pantalla.linea(""))?;
            match escrito.trim() {
                SALIR => return Err(Salida::Bien),
                escrito => match leer(escrito) {
                    Ok(leido) => return Ok(leido),
                    Err(motivo) => pantalla.linea(format!("«{escrito}» no vale: {motivo}")),
                },
            }
        }
    }
}

/// ¿Quiere ser servidor?
fn leer_papel(escrito: &str) -> Result<bool, String> {
    match escrito.to_lowercase().as_str() {
        "s" | "servidor" => Ok(true),
        "c" | "cliente" => Ok(false),
        _ => Err("escribe s o c".into()),
    }
}

/// Un par conectado.
struct Par {
    buzon: Buzon,
    /// Tiene el buzón lleno: no lee. Ya se esperó por él y se dijo; hasta que lea, no se le vuelve a esperar.
    sordo: bool,
}

/// Todos los que están conectados ahora, vistos desde el hilo principal.
struct Sala {
    sucesos: Receiver<Suceso>,
    pares: BTreeMap<SocketAddr, Par>,
    /// ¿Se rompió ya alguna conexión?
    rota: bool,
}

impl Sala {
    /// Una sala vacía, y por dónde le cuentan las charlas.
    fn nueva() -> (Sender<Suceso>, Sala) {
        let (contar, sucesos) = bounded(COLA_DE_SUCESOS);
        (
            contar,
            Sala {
                sucesos,
                pares: BTreeMap::new(),
                rota: false,
            },
        )
    }

    /// Charla hasta que quien está delante se va. Al volver ya no queda quien oiga ni buzón alguno: eso despide a todos.
    fn charlar(mut self, delante: &Delante, pantalla: &mut Pantalla) -> Salida {
        let salida = loop {
            select! {
                recv(delante.ctrl_c) -> _ => break Salida::Interrumpido,
                recv(delante.teclado) -> linea => match linea {
                    Ok(linea) if linea.trim() != SALIR => self.decir_a_todos(&linea, pantalla),
                    Ok(_) | Err(_) => break Salida::Bien,
                },
                recv(self.sucesos) -> suceso => match suceso {
                    Ok(suceso) => self.atender(suceso, pantalla),
                    // Ya no hay charla que cuente nada, pero el programa sigue hasta que se diga.
                    Err(_) => self.sucesos = never(),
                },
            }
        };
        // Lo que ya había llegado cuando se fue.
        while let Ok(suceso) = self.sucesos.try_recv() {
            self.atender(suceso, pantalla);
        }
        salida
    }

    fn atender(&mut self, suceso: Suceso, pantalla: &mut Pantalla) {
        match suceso {
            Suceso::Llega(otro, buzon) => {
                pantalla.linea(format!("[CONEXIÓN] Con {otro}"));
                self.pares.insert(
                    otro,
                    Par {
                        buzon,
                        sordo: false,
                    },
                );
            }
            Suceso::Dice(otro, lineas) => {
                pantalla.tanda(lineas.iter().map(|linea| format!("[{otro}] {linea}")));
            }
            // La cuentan quien lee y quien escribe: con una vez basta.
            Suceso::Rota(otro, motivo) => {
                if self.pares.remove(&otro).is_some() {
                    self.rota = true;
                    pantalla.linea(format!("[{otro}] conexión rota: {motivo}"));
                }
            }
        }
    }

    fn decir_a_todos(&mut self, linea: &str, pantalla: &mut Pantalla) {
        if self.pares.is_empty() {
            let por_que = if self.rota {
                "conexión rota"
            } else {
                "todavía no hay nadie"
            };
            pantalla.linea(format!("{por_que}: lo que escribiste no llegó a nadie"));
            return;
        }
        let carta: Arc<str> = format!("{linea}\n").into();
        for (otro, par) in &mut self.pares {
            let espera = if par.sordo {
                Duration::ZERO
            } else {
                ESPERA_AL_QUE_NO_LEE
            };
            let lleno = match par.buzon.send_timeout(Arc::clone(&carta), espera) {
                Err(SendTimeoutError::Timeout(_)) => true,
                // Si ya no hay quien escriba, su «conexión rota» viene de camino.
                Ok(()) | Err(SendTimeoutError::Disconnected(_)) => false,
            };
            if lleno && !par.sordo {
                pantalla.linea(format!(
                    "[{otro}] no lee: hasta que lo haga, lo que escribas no le llega"
                ));
            }
            par.sordo = lleno;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn el_papel_se_lee_como_se_escribe() {
        assert_eq!(leer_papel("s"), Ok(true));
        assert_eq!(leer_papel("C"), Ok(false));
        assert!(leer_papel("").is_err() && leer_papel("x").is_err());
    }

    #[test]
    fn quien_se_va_sale_de_la_lista_y_se_dice_una_vez() {
        let (_contar, mut sala) = Sala::nueva();
        let otro = SocketAddr::new(HOST, 9);
        let (buzon, cartas) = bounded(1);
        let mut pantalla = Pantalla::nueva();
        sala.atender(Suceso::Llega(otro, buzon), &mut pantalla);
        sala.decir_a_todos("hola", &mut pantalla);
        assert_eq!(&*cartas.recv().unwrap(), "hola\n");
        sala.atender(Suceso::Rota(otro, "x".into()), &mut pantalla);
        assert!(sala.pares.is_empty() && sala.rota && cartas.recv().is_err());
        sala.atender(Suceso::Rota(otro, "x".into()), &mut pantalla);
    }

    #[test]
    fn un_par_que_no_lee_no_retiene_al_que_escribe() {
        let (_contar, mut sala) = Sala::nueva();
        let (lleno, _cartas) = bounded(0);
        let (otro, cartas) = bounded(1);
        for (puerto, buzon) in [(1, lleno), (2, otro)] {
            sala.pares.insert(
                SocketAddr::new(HOST, puerto),
                Par {
                    buzon,
                    sordo: false,
                },
            );
        }
        let antes = Instant::now();
        for linea in ["uno", "dos", "tres"] {
            sala.decir_a_todos(linea, &mut Pantalla::nueva());
            assert_eq!(*cartas.recv().unwrap(), format!("{linea}\n"));
        }
        assert!(
            antes.elapsed() < ESPERA_AL_QUE_NO_LEE * 2,
            "por un sordo se espera una vez, no en cada línea"
        );
    }
}
