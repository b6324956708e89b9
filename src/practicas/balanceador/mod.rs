//! La práctica del balanceador (`load_balancer.py`): un proxy TCP que reparte conexiones por turno
//! (round-robin).
//!
//! El mismo bucle de `accept` que el nodo con otro `gestionar`: `gestionar_cliente` lee los
//! primeros bytes del cliente (si no es el servidor quien saluda), busca un backend vivo
//! (`vivos.rs`) y copia en los dos sentidos (`canal.rs`). Un backend que no acepta se retira y el
//! cliente pasa al siguiente sin perder nada; si el backend aceptó y murió después, ya no: repetir
//! una petición que quizá se cumplió sería peor.
//!
//! No entiende lo que reparte: sirve igual para HTTP, para el backend del curso o para un nodo.

pub mod backend;
pub mod canal;
pub mod vivos;

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::bounded;
use log::debug;

use crate::config::{Limites, MAX_CONEXIONES};
use crate::consola::Consola;
use crate::consola::eventos::Avisador;
use crate::fallo::{Fallo, Salida, motivo, sin_descriptores};
use crate::ordenes::opciones::{Conducta, DondeEscucha};
use crate::red::DESPEDIDA;
use crate::red::conexion::{Abierta, Conexion, FalloRed, conectar};
use crate::red::hilos::{Hilos, arrancar};
use crate::red::maquina::{alcanzable, es_la_misma};
use crate::red::parada::{Nada, Parada};
use crate::red::servidor::{Servidor, abrir_en};
use crate::texto::{cuenta, decimal, duracion};
use canal::{BUFER, Canal, SILENCIO};
use vivos::{CADA_CUANTO, Vivos, vigilar};

/// El puerto del balanceador en el documento.
const PUERTO: u16 = 8000;
/// Los puertos de `backend_servers` en el documento, en 127.0.0.1.
const PUERTOS_DE_BACKENDS: [u16; 3] = [8001, 8002, 8003];
/// Cuánto se espera a que cierre un cliente al que no se pudo atender.
const PLAZO_DE_CIERRE: Duration = Duration::from_millis(500);

/// Lo que comparten los hilos de conexión.
struct Balanceador {
    vivos: Vivos,
    conducta: Conducta,
    sin_atender: AtomicUsize,
    avisador: Avisador,
    limites: Limites,
    parada: Parada,
    /// Los que copian del backend al cliente.
    vueltas: Hilos,
}

/// `nodo balanceador`: reparte hasta que llega Ctrl-C, y al salir enseña el reparto.
pub fn abrir(
    donde: &DondeEscucha,
    escritos: &[SocketAddr],
    conducta: Conducta,
    limites: &Limites,
    consola: &mut Consola,
) -> Result<Salida, Fallo> {
    let (escucha, direccion) = abrir_en(donde.o_en(PUERTO), "--puerto")?;
    let backends = elegir_backends(escritos, direccion)?;
    let avisador = consola.oir(usize::MAX);
    let balanceador = Balanceador::nuevo(&backends, conducta, limites, avisador);
    let balanceador = Arc::new(balanceador);
    let suyo = Arc::clone(&balanceador);
    let vigilante = arrancar("vigilante", move || {
        vigilar(&suyo.vivos, CADA_CUANTO, &suyo.parada);
    })?;
    let (suyo, parada) = (Arc::clone(&balanceador), balanceador.parada.clone());
    let gestionar = move |cliente| suyo.gestionar_cliente(cliente);
    let servidor = Servidor::arrancar(escucha, MAX_CONEXIONES, limites, parada, gestionar)?;

    let pantalla = &mut consola.pantalla;
    pantalla.linea(format!("[ESCUCHANDO] Balanceador en {direccion}"));
    pantalla.tanda(backends.iter().map(|b| format!("[BACKEND] {b}")));
    let salida = consola.mirar();
    consola.despedir(servidor);
    vigilante.esperar();
    consola.pintar_avisos();
    // En una terminal, el Ctrl-C deja escrito «^C» a mitad de línea.
    consola.pantalla.linea("");
    consola.pantalla.tanda(balanceador.reparto());
    // Con el servidor y el vigilante se fueron sus copias: ya no queda más que esta.
    if let Some(balanceador) = Arc::into_inner(balanceador) {
        balanceador.vueltas.despedir(DESPEDIDA, || {});
    }
    Ok(salida)
}

/// Los escritos con `--backend`, o los del documento. Ninguno puede ser el propio balanceador,
/// tampoco por otra IP de esta máquina: cada conexión abriría otra consigo mismo hasta agotarlas.
fn elegir_backends(
    escritos: &[SocketAddr],
    direccion: SocketAddr,
) -> Result<Vec<SocketAddr>, Fallo> {
    let del_documento = PUERTOS_DE_BACKENDS.map(|puerto| (Ipv4Addr::LOCALHOST, puerto).into());
    let backends = match escritos {
        [] => &del_documento,
        _ => escritos,
    };
    let uno_mismo = |backend: &&SocketAddr| es_la_misma(alcanzable(**backend), direccion);
    match backends.iter().find(uno_mismo) {
        Some(backend) => Err(Fallo::nuevo(format!(
            "el backend {backend} es el propio balanceador: elige otro puerto con --puerto o con \
             --backend"
        ))),
        None => Ok(backends.to_vec()),
    }
}

impl Balanceador {
    fn nuevo(
        backends: &[SocketAddr],
        conducta: Conducta,
        limites: &Limites,
        avisador: Avisador,
    ) -> Balanceador {
        Balanceador {
            vivos: Vivos::nuevos(backends, avisador.clone()),
            conducta,
            sin_atender: AtomicUsize::new(0),
            avisador,
            limites: limites.clone(),
            parada: Parada::nueva(),
            vueltas: Hilos::nuevos("vuelta"),
        }
    }

    /// La vida de una conexión: lo primero que dice el cliente, un backend, y a copiar.
    fn gestionar_cliente(&self, mut conexion: Conexion) {
        let desde = conexion.otro();
        let mut bufer = vec![0; BUFER];
        let Some(leido) = self.lo_primero(&mut conexion, &mut bufer) else {
            return;
        };
        if leido == 0 && self.parada.avisada() {
            return; // No es el fin del cliente: es que estamos saliendo.
        }
        let (direccion, backend) = match self.conectar_con_un_vivo(desde) {
            Ok(conectado) => conectado,
            Err(motivo) => return self.despachar(conexion, &motivo),
        };
        let canal = match Canal::nuevo(conexion.socket(), &backend.socket, self.silencio()) {
            Ok(canal) => Arc::new(canal),
            Err(error) => return debug!("{desde}: {error}"),
        };
        self.copiar(&canal, conexion, bufer, leido);
        if canal.callado() {
            self.contar_silencio(format_args!("{desde} → {direccion}"));
        }
    }

    fn silencio(&self) -> Duration {
        self.conducta.silencio.unwrap_or(SILENCIO)
    }

    /// Lo primero que dice el cliente: cuántos bytes. El backend del curso atiende de uno en uno, y
    /// un cliente que se conecta y calla no debe ocuparlo. Si quien saluda es el servidor no se
    /// espera nada, y son cero. `None` si no hay a quién atender.
    fn lo_primero(&self, conexion: &mut Conexion, bufer: &mut [u8]) -> Option<usize> {
        if self.conducta.saluda_el_servidor {
            return Some(0);
        }
        match conexion.leer_datos(bufer, self.silencio()) {
            Ok(leido) => Some(leido),
            Err(fallo) => {
                if let FalloRed::Vencio(_) = fallo {
                    self.contar_silencio(format_args!("{}", conexion.otro()));
                }
                None
            }
        }
    }

    fn contar_silencio(&self, quienes: fmt::Arguments) {
        let cuanto = duracion(self.silencio());
        let avisador = &self.avisador;
        avisador.avisar(format_args!(
            "[SILENCIO] {quienes}: {cuanto} sin un byte, se corta (--silencio dice cuánto)"
        ));
    }

    /// Este hilo copia del cliente al backend; otro, de los que se reutilizan, la vuelta.
    fn copiar(&self, canal: &Arc<Canal>, conexion: Conexion, mut bufer: Vec<u8>, leido: usize) {
        if canal.conversacion_breve(&mut bufer, leido) {
            return canal.ida(bufer);
        }
        let (acabar, fin) = bounded::<Nada>(0);
        let suyo = Arc::clone(canal);
        let lanzado = self.vueltas.lanzar(move || {
            suyo.vuelta();
            drop(suyo);
            drop(acabar);
        });
        if let Err(error) = lanzado {
            let motivo = format!("no se pudo crear un hilo: {}", motivo(&error));
            return self.despachar(conexion, &motivo);
        }
        canal.ida(bufer);
        // Nadie manda nada por este canal: se cierra cuando acaba la vuelta, termine como termine.
        let _ = fin.recv();
    }

    /// Se conecta con quien le toque; si no acepta, lo retira y prueba con el siguiente.
    fn conectar_con_un_vivo(&self, desde: SocketAddr) -> Result<(SocketAddr, Abierta), String> {
        let mut por_que = "no queda ningún backend vivo".to_string();
        for _ in 0..self.vivos.backends.len() {
            let Some(cual) = self.vivos.siguiente() else {
                break;
            };
            let direccion = self.vivos.backends[cual];
            let (plazo, testigo) = (self.limites.conectar, &self.limites.testigo);
            match conectar(direccion, plazo, testigo, &self.parada) {
                Ok(conectado) => {
                    self.vivos.apuntar(cual);
                    let avisador = &self.avisador;
                    avisador.avisar(format_args!("[ASIGNADO] {desde} → {direccion}"));
                    return Ok((direccion, conectado));
                }
                Err(error) if self.es_cosa_nuestra(&error) => por_que = motivo(&error),
                Err(error) => self.vivos.retirar(cual, &motivo(&error)),
            }
        }
        Err(por_que)
    }

    /// ¿No se pudo conectar por culpa de esta máquina (estamos saliendo, o no hay descriptores o
    /// puertos de salida)? El backend no está caído.
    fn es_cosa_nuestra(&self, error: &io::Error) -> bool {
        self.parada.avisada()
            || sin_descriptores(error)
            || error.kind() == ErrorKind::AddrNotAvailable
    }

    /// Cierra ya a un cliente al que no se puede atender, y lo cuenta.
    fn despachar(&self, mut cliente: Conexion, motivo: &str) {
        self.sin_atender.fetch_add(1, Ordering::Relaxed);
        let desde = cliente.otro();
        let avisador = &self.avisador;
        avisador.avisar(format_args!("[SIN BACKEND] {desde}: {motivo}"));
        cliente.cerrar_con_calma(PLAZO_DE_CIERRE);
    }

    /// La tabla de todo lo repartido.
    fn reparto(&self) -> Vec<String> {
        let reparto = self.vivos.reparto();
        let total = reparto.iter().map(|(_, suyas)| suyas).sum();
        let mut lineas = tabla(cuenta(total, "conexión", "conexiones"), total, reparto);
        let sin_atender = self.sin_atender.load(Ordering::Relaxed);
        if sin_atender > 0 {
            lineas.push(format!("  {:<24} {sin_atender:>8}", "sin backend"));
        }
        lineas
    }
}

/// La tabla de un reparto: cuántos le tocaron a cada uno y qué parte del total son.
fn tabla(
    titulo: String,
    total: usize,
    reparto: impl IntoIterator<Item = (String, usize)>,
) -> Vec<String> {
    let fila = |(quien, suyas): (String, usize)| {
        let parte = decimal(suyas as f64 * 100.0 / total.max(1) as f64);
        format!("  {quien:<24} {suyas:>8} {parte:>6} %")
    };
    let titulo = format!("[REPARTO] {titulo}");
    let filas = reparto.into_iter().map(fila);
    [titulo].into_iter().chain(filas).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn direccion(puerto: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, puerto).into()
    }

    #[test]
    fn sin_backend_son_los_del_documento_y_uno_mismo_no_vale() {
        let del_documento = elegir_backends(&[], direccion(8000)).unwrap();
        assert_eq!(del_documento, [8001, 8002, 8003].map(direccion));
        assert!(elegir_backends(&[], direccion(8002)).is_err());
        assert!(elegir_backends(&[direccion(8001)], direccion(8000)).is_ok());
        let en_todas = "0.0.0.0:8000".parse().unwrap();
        assert!(elegir_backends(&[direccion(8000)], en_todas).is_err());
        assert!(elegir_backends(&[en_todas], direccion(8000)).is_err());
    }

    #[test]
    fn uno_mismo_no_vale_tampoco_por_otra_ip_de_la_maquina() {
        let en_todas = "0.0.0.0:8000".parse().unwrap();
        let otra_ip: SocketAddr = "127.0.0.2:8000".parse().unwrap();
        assert!(elegir_backends(&[direccion(8001), otra_ip], en_todas).is_err());
        assert!(elegir_backends(&[otra_ip], direccion(8000)).is_ok());
        // Una IP reservada para documentación: no es de nadie.
        assert!(elegir_backends(&["192.0.2.1:8000".parse().unwrap()], en_todas).is_ok());
    }

    #[test]
    fn la_tabla_suma_cien() {
        let balanceador = |puertos: &[u16]| {
            let backends: Vec<SocketAddr> = puertos.iter().copied().map(direccion).collect();
            let avisador = Avisador::nuevo(1).0;
            Balanceador::nuevo(
                &backends,
                Conducta::default(),
                &Limites::default(),
                avisador,
            )
        };
        let suyo = balanceador(&[8001, 8002, 8003]);
        [0, 0, 1]
            .into_iter()
            .for_each(|cual| suyo.vivos.apuntar(cual));
        suyo.sin_atender.store(4, Ordering::Relaxed);
        let lineas = suyo.reparto();
        assert_eq!(lineas[0], "[REPARTO] 3 conexiones");
        assert!(lineas[1].starts_with("  127.0.0.1:8001") && lineas[1].ends_with("2   66,7 %"));
        assert!(lineas[3].ends_with("0    0,0 %"));
        assert!(lineas[4].ends_with('4'));
        assert_eq!(balanceador(&[1]).reparto().len(), 2);
    }

    #[test]
    fn lo_que_no_cabe_se_cuenta_y_las_caidas_no_se_pierden() {
        let (avisador, oyente) = Avisador::nuevo(usize::MAX);
        let (uno, conducta) = ([direccion(8001)], Conducta::default());
        let balanceador = Balanceador::nuevo(&uno, conducta, &Limites::default(), avisador);
        for puerto in 0..5000 {
            let desde = direccion(puerto);
            balanceador
                .avisador
                .avisar(format_args!("[ASIGNADO] {desde} → {}", direccion(8001)));
        }
        balanceador.vivos.retirar(0, "se fue");
        let lineas = oyente.tanda();
        assert_eq!(lineas[0], "[CAÍDO] 127.0.0.1:8001: se fue");
        let dichas = lineas.len() - 2;
        let perdidas = format!("… y {} sucesos", 5000 - dichas);
        assert!(lineas.last().unwrap().contains(&perdidas));
        assert!(oyente.tanda().is_empty(), "ya se dijeron");
    }
}
