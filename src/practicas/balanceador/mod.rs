//! La práctica del balanceador (`load_balancer.py`): un proxy TCP que reparte conexiones por turno (round-robin).
//!
//! El mismo bucle de `accept` que el nodo con otro `gestionar`: `gestionar_cliente`
//! lee los primeros bytes del cliente, busca un backend vivo (`vivos.rs`) y copia en los dos sentidos (`canal.rs`). Un
//! backend que no acepta se retira y el cliente pasa al siguiente sin perder nada; si el backend aceptó y murió
//! después, ya no: repetir una petición que quizá se cumplió sería peor.
//!
//! No entiende lo que reparte: sirve igual para HTTP, para el backend del curso o para un nodo.

pub mod backend;
pub mod canal;
pub mod vivos;

use std::io::{self, ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded, select};
use log::debug;

use crate::config::{Limites, MAX_CONEXIONES};
use crate::consola::eventos::Avisador;
use crate::consola::pantalla::Pantalla;
use crate::consola::teclado::avisos_de_ctrl_c;
use crate::fallo::{Fallo, Salida, motivo, sin_descriptores};
use crate::ordenes::opciones as argumentos;
use crate::practicas::balanceador::canal::{BUFER, Canal, SILENCIO};
use crate::practicas::balanceador::vivos::{Cambio, Vigilante, Vivos, conectar};
use crate::red::conexion::Conexion;
use crate::red::hilos::Hilos;
use crate::red::{Parada, Servidor, abrir_en, alcanzable, atender_conexiones, conexiones_posibles};
use crate::texto::{cuenta, decimal};

/// El puerto del balanceador en el documento.
const PUERTO: u16 = 8000;
/// Los puertos de `backend_servers` en el documento, en 127.0.0.1.
const PUERTOS_DE_BACKENDS: [u16; 3] = [8001, 8002, 8003];
/// Cuánto se juntan las asignaciones antes de pintarlas de un golpe: quien mira no lo nota, y miles de conexiones por
/// segundo no despiertan al hilo principal una a una.
const JUNTAR: Duration = Duration::from_millis(50);
/// Cuánto se espera a que cierre un cliente al que no se pudo atender.
const PLAZO_DE_CIERRE: Duration = Duration::from_millis(500);

/// Lo que pasó con un cliente.
enum Evento {
    /// Le tocó este backend.
    Asignado(SocketAddr, SocketAddr),
    /// No se le pudo atender (por qué).
    SinAtender(SocketAddr, String),
}

/// Lo que comparten los hilos de conexión.
struct Balanceador {
    vivos: Arc<Vivos>,
    sin_atender: AtomicU64,
    avisador: Avisador<Evento>,
}

/// `nodo balanceador`: reparte hasta que llega Ctrl-C, y al salir enseña el reparto.
///
/// # Errores
/// No se pudo abrir el puerto, o un backend es el propio balanceador.
pub fn abrir(opciones: argumentos::Balanceador, pantalla: &mut Pantalla) -> Result<Salida, Fallo> {
    let ctrl_c = avisos_de_ctrl_c()?;
    let pedida = opciones.donde.o_en(PUERTO);
    let (escucha, direccion) = abrir_en(pedida, "--puerto")?;
    let backends = elegir_backends(opciones.backends, direccion)?;

    let (avisador_de_cambios, cambios) = Avisador::nuevo();
    let (avisador, eventos) = Avisador::nuevo();
    let vivos = Arc::new(Vivos::nuevos(&backends, avisador_de_cambios));
    let balanceador = Arc::new(Balanceador {
        vivos: Arc::clone(&vivos),
        sin_atender: AtomicU64::new(0),
        avisador,
    });
    let vigilante = Vigilante::arrancar(Arc::clone(&vivos))?;
    let parada = Arc::new(Parada::nueva(conexiones_posibles(MAX_CONEXIONES)));
    let suyo = Arc::clone(&balanceador);
    let servidor = Servidor::con_bucle(parada, move |parada| suyo.servir(escucha, parada))?;

    pantalla.linea(format!("[ESCUCHANDO] Balanceador en {direccion}"));
    pantalla.tanda(
        backends
            .iter()
            .map(|backend| format!("[BACKEND] {backend}")),
    );
    let mut tablero = Tablero {
        eventos,
        cambios,
        lineas: Vec::new(),
    };
    tablero.pintar_hasta(&ctrl_c, &balanceador.avisador, pantalla);
    servidor.detener(&ctrl_c, |cuantas| {
        let quedan = cuenta(cuantas, "conexión en curso", "conexiones en curso");
        pantalla.aviso(format!(
            "Esperando a {quedan} (Ctrl-C otra vez para cortar ya)…"
        ));
    });
    vigilante.detener();
    tablero.pintar(&balanceador.avisador, pantalla);
    // En una terminal, el Ctrl-C deja escrito «^C» a mitad de línea.
    pantalla.linea("");
    pantalla.tanda(tabla(
        &vivos.reparto(),
        balanceador.sin_atender.load(Ordering::Relaxed),
    ));
    Ok(Salida::Interrumpido)
}

/// Los escritos con `--backend`, o los del documento. Ninguno puede ser el propio balanceador: cada conexión abriría
/// otra consigo mismo hasta agotarlas.
fn elegir_backends(
    escritos: Vec<SocketAddr>,
    direccion: SocketAddr,
) -> Result<Vec<SocketAddr>, Fallo> {
    if escritos.is_empty() {
        return Ok(PUERTOS_DE_BACKENDS
            .map(|puerto| (Ipv4Addr::LOCALHOST, puerto).into())
            .to_vec());
    }
    match escritos
        .iter()
        .find(|&&backend| alcanzable(backend) == alcanzable(direccion))
    {
        Some(backend) => Err(Fallo::nuevo(format!(
            "el backend {backend} es el propio balanceador: elige otro puerto con --puerto o con --backend"
        ))),
        None => Ok(escritos),
    }
}

impl Balanceador {
    fn servir(&self, escucha: TcpListener, parada: &Parada) {
        thread::scope(|ambito| {
            let vueltas = Hilos::nuevos(ambito, "vuelta");
            atender_conexiones(escucha, parada, |cliente, desde| {
                self.gestionar_cliente(cliente, desde, parada, &vueltas);
            });
        });
    }

    /// La vida de una conexión: este hilo copia del cliente al backend; otro, de los que se reutilizan, la vuelta.
    fn gestionar_cliente(
        &self,
        cliente: &Arc<TcpStream>,
        desde: SocketAddr,
        parada: &Parada,
        vueltas: &Hilos<'_, '_>,
    ) {
        let mut bufer = vec![0; BUFER];
        // El backend del curso atiende de uno en uno: un cliente que se conecta y calla no debe ocuparlo.
        let Some(leido) = primeros_bytes(cliente, &mut bufer) else {
            return;
        };
        if leido == 0 && parada.avisada() {
            return; // No es el fin del cliente: es que estamos saliendo.
        }
        let backend = match self.conectar_con_un_vivo(desde) {
            Ok(backend) => Arc::new(backend),
            Err(motivo) => return self.despachar(cliente, desde, motivo),
        };
        let _acompanante = parada.acompanar(&backend);
        let canal = match Canal::nuevo(cliente, &backend, SILENCIO) {
            Ok(canal) => canal,
            Err(error) => return debug!("{desde}: {error}"),
        };
        if canal.conversacion_breve(&mut bufer, leido) {
            return canal.ida(bufer);
        }
        let canal = Arc::new(canal);
        let (acabar, fin) = bounded::<()>(0);
        let suyo = Arc::clone(&canal);
        let lanzado = vueltas.lanzar(move || {
            suyo.vuelta();
            drop(suyo);
            drop(acabar);
        });
        if let Err(error) = lanzado {
            return self.despachar(
                cliente,
                desde,
                format!("no se pudo crear un hilo: {}", motivo(&error)),
            );
        }
        canal.ida(bufer);
        // Nadie manda nada por este canal: se cierra cuando acaba la vuelta, termine como termine.
        let _ = fin.recv();
    }

    /// Se conecta con quien le toque; si no acepta, lo retira y prueba con el siguiente.
    fn conectar_con_un_vivo(&self, desde: SocketAddr) -> Result<TcpStream, String> {
        let mut por_que = "no queda ningún backend vivo".to_string();
        for _ in 0..self.vivos.cuantos() {
            let Some(cual) = self.vivos.siguiente() else {
                break;
            };
            let direccion = self.vivos.direccion(cual);
            match conectar(direccion, Limites::default().conectar) {
                Ok(backend) => {
                    self.vivos.apuntar(cual);
                    self.avisador.avisar(Evento::Asignado(desde, direccion));
                    return Ok(backend);
                }
                Err(error) if es_cosa_nuestra(&error) => por_que = motivo(&error),
                Err(error) => self.vivos.retirar(cual, motivo(&error)),
            }
        }
        Err(por_que)
    }

    /// Cierra ya a un cliente al que no se puede atender, y lo cuenta.
    fn despachar(&self, cliente: &Arc<TcpStream>, desde: SocketAddr, motivo: String) {
        self.sin_atender.fetch_add(1, Ordering::Relaxed);
        self.avisador.avisar(Evento::SinAtender(desde, motivo));
        Conexion::aceptada(cliente, desde, Limites::default()).cerrar_con_calma(PLAZO_DE_CIERRE);
    }
}

/// Lo primero que dice un cliente; 0 bytes es su fin. `None` si calla todo el plazo o se corta.
fn primeros_bytes(mut cliente: &TcpStream, bufer: &mut [u8]) -> Option<usize> {
    cliente.set_read_timeout(Some(SILENCIO)).ok()?;
    loop {
        match cliente.read(bufer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            leido => return leido.ok(),
        }
    }
}

/// ¿No se pudo conectar por culpa de esta máquina (sin descriptores, o sin puertos de salida)? El backend no está caído.
fn es_cosa_nuestra(error: &io::Error) -> bool {
    sin_descriptores(error) || error.kind() == ErrorKind::AddrNotAvailable
}

/// Lo que falta por pintar.
struct Tablero {
    eventos: Receiver<Evento>,
    cambios: Receiver<Cambio>,
    lineas: Vec<String>,
}

impl Tablero {
    fn pintar_hasta(
        &mut self,
        ctrl_c: &Receiver<()>,
        avisador: &Avisador<Evento>,
        pantalla: &mut Pantalla,
    ) {
        loop {
            select! {
                recv(ctrl_c) -> _ => return,
                recv(self.cambios) -> cambio => self.lineas.extend(cambio.iter().map(linea_de_cambio)),
                recv(self.eventos) -> evento => self.lineas.extend(evento.iter().map(linea_de_evento)),
            }
            let salir = ctrl_c.recv_timeout(JUNTAR).is_ok();
            self.pintar(avisador, pantalla);
            if salir {
                return;
            }
        }
    }

    /// Pinta de un golpe todo lo que haya.
    fn pintar(&mut self, avisador: &Avisador<Evento>, pantalla: &mut Pantalla) {
        self.reunir(avisador);
        pantalla.tanda(self.lineas.drain(..));
    }

    /// Pasa a líneas lo que haya llegado. Las caídas tienen su propia cola: una avalancha de clientes no las tapa.
    fn reunir(&mut self, avisador: &Avisador<Evento>) {
        self.lineas.extend(
            self.cambios
                .try_iter()
                .map(|cambio| linea_de_cambio(&cambio)),
        );
        // Ni uno más de los que hay ahora: si siguen llegando, esto no acabaría.
        let cuantos = self.eventos.len();
        self.lineas.extend(
            self.eventos
                .try_iter()
                .take(cuantos)
                .map(|evento| linea_de_evento(&evento)),
        );
        let perdidas = avisador.perdidos();
        if perdidas > 0 {
            let perdidas = cuenta(perdidas, "línea que no cupo", "líneas que no cupieron");
            self.lineas.push(format!(
                "… y {perdidas} en pantalla (la tabla del final las cuenta todas)"
            ));
        }
    }
}

fn linea_de_evento(evento: &Evento) -> String {
    match evento {
        Evento::Asignado(cliente, backend) => format!("[ASIGNADO] {cliente} → {backend}"),
        Evento::SinAtender(cliente, motivo) => format!("[SIN BACKEND] {cliente}: {motivo}"),
    }
}

fn linea_de_cambio(cambio: &Cambio) -> String {
    match cambio {
        Cambio::Cae(backend, motivo) => format!("[CAÍDO] {backend}: {motivo}"),
        Cambio::Vuelve(backend) => format!("[VUELVE] {backend}"),
    }
}

/// La tabla del reparto: conexiones de cada backend y qué parte del total son.
fn tabla(reparto: &[(SocketAddr, u64)], sin_atender: u64) -> Vec<String> {
    let total: u64 = reparto.iter().map(|(_, suyas)| suyas).sum();
    let mut lineas = vec![format!(
        "[REPARTO] {}",
        cuenta(total as usize, "conexión", "conexiones")
    )];
    lineas.extend(reparto.iter().map(|(backend, suyas)| {
        let parte = *suyas as f64 * 100.0 / total.max(1) as f64;
        format!(
            "  {:<21} {suyas:>8} {:>6} %",
            backend.to_string(),
            decimal(parte)
        )
    }));
    if sin_atender > 0 {
        lineas.push(format!("  {:<21} {sin_atender:>8}", "sin backend"));
    }
    lineas
}

#[cfg(test)]
mod tests {
    use super::*;

    fn direccion(puerto: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, puerto).into()
    }

    #[test]
    fn sin_backend_son_los_del_documento_y_uno_mismo_no_vale() {
        let del_documento = elegir_backends(Vec::new(), direccion(8000)).unwrap();
        assert_eq!(del_documento, [8001, 8002, 8003].map(direccion));
        assert!(elegir_backends(vec![direccion(8001)], direccion(8000)).is_ok());
        assert!(elegir_backends(vec![direccion(8000)], "0.0.0.0:8000".parse().unwrap()).is_err());
    }

    #[test]
    fn la_tabla_suma_cien() {
        let lineas = tabla(
            &[
                (direccion(8001), 2),
                (direccion(8002), 1),
                (direccion(8003), 0),
            ],
            4,
        );
        assert_eq!(lineas[0], "[REPARTO] 3 conexiones");
        assert!(lineas[1].starts_with("  127.0.0.1:8001") && lineas[1].ends_with("2   66,7 %"));
        assert!(lineas[3].ends_with("0    0,0 %"));
        assert!(lineas[4].ends_with('4'));
        assert_eq!(tabla(&[(direccion(1), 0)], 0).len(), 2);
    }

    #[test]
    fn lo_que_no_cabe_se_cuenta_y_las_caidas_no_se_pierden() {
        let (avisador, eventos) = Avisador::nuevo();
        let (cae, cambios) = Avisador::nuevo();
        for puerto in 0..5000 {
            avisador.avisar(Evento::Asignado(direccion(puerto), direccion(8001)));
        }
        cae.avisar(Cambio::Cae(direccion(8001), "se fue".into()));
        let mut tablero = Tablero {
            eventos,
            cambios,
            lineas: Vec::new(),
        };
        tablero.reunir(&avisador);
        assert_eq!(tablero.lineas[0], "[CAÍDO] 127.0.0.1:8001: se fue");
        let dichas = tablero.lineas.len() - 2;
        let perdidas = format!("… y {} líneas que no cupieron en pantalla", 5000 - dichas);
        assert!(tablero.lineas.last().unwrap().starts_with(&perdidas));
        assert_eq!(avisador.perdidos(), 0, "ya se dijeron");
    }
}
