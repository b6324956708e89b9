//! El nodo en el maestro: se registra al empezar, renueva, avisa cuando su carpeta cambia y se
//! despide al salir.
//!
//! El maestro olvida a quien no renueva, y por eso un nodo que muere de golpe desaparece solo, y un
//! maestro que se reinicia vuelve a saberlo todo en unos segundos. Que el maestro no esté no es un
//! error: se dice una vez, se sigue probando, y se dice cuando vuelve. Sólo un hilo habla con él,
//! así que las listas le llegan en orden y cien que piden renovar a la vez son una sola petición.
//! No sabe de rutas ni escribe en pantalla.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};
use serde_json::{Value, json};

use crate::config::{Limites, MAX_CONEXIONES};
use crate::fallo::Fallo;
use crate::grpc;
use crate::http::cliente::{pedir, resolver};
use crate::http::url::Url;
use crate::nodo::Nodo;
use crate::nodo::carpeta::Archivo;
use crate::nodo::maestro::localizar::motivo;
use crate::red::hilos::{Hilo, arrancar};
use crate::red::maquina::{FUERA_V4, FUERA_V6, ip_en_la_red};
use crate::red::parada::Parada;
use crate::testigo::Testigo;

/// Cuántos archivos caben en un registro.
pub const MAX_ARCHIVOS: usize = 100_000;
/// Tope del nombre de un archivo en el maestro, en bytes.
pub const MAX_NOMBRE_DE_ARCHIVO: usize = 1024;
/// Cada cuánto se renueva.
const RENOVAR: Duration = Duration::from_secs(5);
/// Cuánto vale un registro, en segundos: tres renovaciones.
const TTL: u64 = 15;
/// Lo que ocupan los nombres que caben en un registro, en bytes. El maestro admite 8 MiB, y en JSON
/// ocupan algo más.
const TOPE_DE_NOMBRES: usize = 4 * 1024 * 1024;
/// Plazos para registrarse: conectar, y que conteste.
const PLAZOS: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(3));
/// Los de la despedida, que retrasa la salida.
const DESPEDIDA: (Duration, Duration) = (Duration::from_millis(500), Duration::from_millis(500));
/// Lo que espera quien pidió renovar: que acabe la renovación en curso y la suya.
const ESPERA: Duration = Duration::from_secs(12);

/// Cómo fue una renovación: lo que se registró.
type Renovado = Result<Arc<Vec<Archivo>>, Fallo>;

/// La relación de un nodo con su maestro. La comparten el hilo que renueva y `POST /refresh`.
pub struct Inscripcion {
    url: String,
    escucha: SocketAddr,
    testigo: Testigo,
    /// Por aquí se despierta al hilo antes de su hora, y se le dice a quién contestar, si alguien
    /// espera.
    avisos: (Sender<Aviso>, Receiver<Aviso>),
}

type Aviso = Option<Sender<Renovado>>;

impl Inscripcion {
    /// La de un nodo que escucha en `escucha`, en el maestro de `url`.
    pub fn nueva(url: String, escucha: SocketAddr, testigo: &Testigo) -> Inscripcion {
        Inscripcion {
            url,
            escucha,
            testigo: testigo.clone(),
            avisos: bounded(MAX_CONEXIONES),
        }
    }

    /// La carpeta cambió: que el maestro lo sepa sin esperar a la próxima renovación.
    pub fn despertar(&self) {
        // Si no cabe, ya hay de sobra quien despierte al hilo.
        let _ = self.avisos.0.try_send(None);
    }

    /// Se registra otra vez y espera a que esté hecho. Quienes lo piden a la vez comparten el
    /// resultado.
    pub fn refrescar(&self, parada: &Parada) -> Renovado {
        let (contestar, contestado) = bounded(1);
        let en_cola = self.avisos.0.try_send(Some(contestar));
        en_cola.map_err(|_| Fallo::nuevo("ya hay demasiados esperando al maestro"))?;
        select! {
            recv(contestado) -> renovado => renovado.unwrap_or_else(|_| Err(saliendo())),
            recv(parada.canal()) -> _ => Err(saliendo()),
            default(ESPERA) => {
                let frase = format!("el maestro {} tarda demasiado", self.url);
                Err(Fallo::nuevo(frase))
            }
        }
    }

    /// Registra `archivos`. Devuelve cómo despedirse de ese maestro.
    fn registrar(&self, archivos: &[Archivo], parada: &Parada) -> Result<Registrada, Fallo> {
        let yo = self.quien_soy(parada)?;
        let registro = json!({
            "peer": yo.peer, "files": los_que_caben(archivos),
            "grpc_port": grpc::puerto(self.escucha.port()),
            "puerto": self.escucha.port(), "ttl": TTL,
        });
        yo.mandar("/register", &registro, PLAZOS, parada)?;
        Ok(yo)
    }

    /// Dónde está el maestro y con qué URL llegan los demás a este nodo. Se mira cada vez: un
    /// portátil cambia de red.
    fn quien_soy(&self, parada: &Parada) -> Result<Registrada, Fallo> {
        let mut maestro = Url::leer(&self.url)
            .ok_or_else(|| Fallo::nuevo(format!("«{}» no es la URL de un maestro", self.url)))?;
        let direccion = resolver(&maestro, PLAZOS.0, parada)?;
        maestro.anfitrion = direccion.ip().to_string();
        let ip = match self.escucha.ip().to_canonical() {
            ip if ip.is_unspecified() => ip_visible(direccion, ip),
            ip => ip,
        };
        let yo = SocketAddr::new(ip, self.escucha.port());
        let base = maestro.ruta.trim_end_matches('/');
        Ok(Registrada {
            maestro: format!("http://{}{base}", maestro.sitio()),
            peer: format!("http://{yo}"),
            testigo: self.testigo.clone(),
        })
    }
}

/// En qué maestro y con qué nombre se registró.
struct Registrada {
    /// Con su IP: despedirse no debe esperar a que nadie traduzca un nombre.
    maestro: String,
    peer: String,
    testigo: Testigo,
}

impl Registrada {
    fn mandar(
        &self,
        ruta: &str,
        cuerpo: &Value,
        (conectar, respuesta): (Duration, Duration),
        parada: &Parada,
    ) -> Result<(), Fallo> {
        let limites = Limites {
            conectar,
            respuesta,
            testigo: self.testigo.clone(),
            ..Limites::default()
        };
        let maestro = &self.maestro;
        let url = format!("{maestro}{ruta}");
        match pedir(&url, Some(cuerpo), &limites, parada)? {
            (200, _) => Ok(()),
            (codigo, valor) => {
                let motivo = motivo(codigo, &valor);
                let frase = format!("el maestro {maestro} no lo admite: {motivo}");
                Err(Fallo::nuevo(frase))
            }
        }
    }
}

fn saliendo() -> Fallo {
    Fallo::nuevo("este nodo ya está saliendo")
}

/// La IP con que nos ve el maestro, que no admite otra. Si está en esta misma máquina nos ve como
/// 127.0.0.1, que a los demás no les sirve: entonces, la de la red, de la misma familia en que se
/// `escucha`.
fn ip_visible(maestro: SocketAddr, escucha: IpAddr) -> IpAddr {
    let (fuera, aqui): (IpAddr, IpAddr) = match escucha {
        IpAddr::V4(_) => (FUERA_V4.into(), Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(_) => (FUERA_V6.into(), Ipv6Addr::LOCALHOST.into()),
    };
    let hacia = match maestro.ip().is_loopback() {
        true => SocketAddr::new(fuera, maestro.port()),
        false => maestro,
    };
    ip_en_la_red(hacia).unwrap_or(aqui)
}

/// Los nombres que caben en un registro, desde el principio.
fn los_que_caben(archivos: &[Archivo]) -> Vec<&str> {
    let mut ocupan = 0;
    let nombres = archivos.iter().map(|archivo| archivo.nombre.as_str());
    let cortos = nombres.filter(|nombre| nombre.len() <= MAX_NOMBRE_DE_ARCHIVO);
    let caben = cortos.take(MAX_ARCHIVOS).take_while(|nombre| {
        ocupan += nombre.len();
        ocupan <= TOPE_DE_NOMBRES
    });
    caben.collect()
}

/// Arranca el hilo que mantiene el registro de `nodo` en su maestro, hasta que se sale. `None` si
/// no tiene maestro.
pub fn mantener(nodo: &Arc<Nodo>) -> Result<Option<Hilo<()>>, Fallo> {
    let Some(maestro) = nodo.maestro.clone() else {
        return Ok(None);
    };
    let nodo = Arc::clone(nodo);
    arrancar("registro", move || renovar_hasta_salir(&nodo, &maestro)).map(Some)
}

fn renovar_hasta_salir(nodo: &Nodo, maestro: &Inscripcion) {
    let (pedidos, saliendo) = (&maestro.avisos.1, &nodo.saliendo);
    let (mut dentro, mut registrada) = (None, None);
    let mut esperan: Vec<Sender<Renovado>> = Vec::new();
    while !saliendo.avisada() {
        let renovado = nodo.lista().and_then(|archivos| {
            registrada = Some(maestro.registrar(&archivos, saliendo)?);
            Ok(archivos)
        });
        if dentro != Some(renovado.is_ok()) && !saliendo.avisada() {
            nodo.avisador.destacar(vec![match &renovado {
                Ok(_) => format!("[MAESTRO] Registrado en {}", maestro.url),
                Err(fallo) => format!("[MAESTRO] {fallo}. Se sigue sin él y se vuelve a probar."),
            }]);
        }
        dentro = Some(renovado.is_ok());
        for quien in esperan.drain(..) {
            let _ = quien.send(renovado.clone());
        }
        select! {
            // A todos los que llegaron entretanto les vale la siguiente.
            recv(pedidos) -> aviso => esperan.extend(aviso.ok().flatten()),
            recv(saliendo.canal()) -> _ => {}
            default(RENOVAR) => {}
        }
        esperan.extend(pedidos.try_iter().flatten());
    }
    if let Some(registrada) = registrada {
        let baja = json!({"peer": registrada.peer});
        // Con una parada suya: la del nodo ya está cortada.
        if let Err(fallo) = registrada.mandar("/leave", &baja, DESPEDIDA, &Parada::nueva()) {
            log::debug!("al despedirse: {fallo}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodo::carpeta::Abierto;

    #[test]
    fn se_registra_lo_que_cabe() {
        let uno = Abierto::mirar(tempfile::tempfile().unwrap()).unwrap();
        let archivo = |n: usize, largo| Archivo {
            nombre: format!("{n:0>largo$}"),
            tamano: uno.tamano,
            sello: uno.sello,
        };
        let muchos: Vec<_> = (0..MAX_ARCHIVOS + 5).map(|n| archivo(n, 8)).collect();
        assert_eq!(los_que_caben(&muchos).len(), MAX_ARCHIVOS);
        let largos: Vec<_> = (0..9000).map(|n| archivo(n, 1000)).collect();
        assert_eq!(los_que_caben(&largos).len(), TOPE_DE_NOMBRES / 1000);
        let justos = [archivo(1, 1025), archivo(2, 1024)];
        assert_eq!(los_que_caben(&justos).len(), 1);
    }

    #[test]
    fn cada_uno_se_presenta_como_los_demas_pueden_llamarlo() {
        let soy = |escucha: &str, maestro: &str| {
            let inscripcion = Inscripcion::nueva(
                maestro.into(),
                escucha.parse().unwrap(),
                &Testigo::default(),
            );
            inscripcion.quien_soy(&Parada::nueva()).unwrap().peer
        };
        for (escucha, maestro, yo) in [
            (
                "127.0.0.1:6001",
                "http://127.0.0.1:9000",
                "http://127.0.0.1:6001",
            ),
            (
                "127.0.0.2:6001",
                "http://localhost:9000",
                "http://127.0.0.2:6001",
            ),
            ("[::1]:6001", "http://127.0.0.1:9000", "http://[::1]:6001"),
            (
                "[::ffff:127.0.0.1]:6001",
                "http://127.0.0.1:9000",
                "http://127.0.0.1:6001",
            ),
        ] {
            assert_eq!(soy(escucha, maestro), yo);
        }
        let visible = soy("0.0.0.0:6001", "http://127.0.0.1:9000");
        assert!(
            !visible.contains("0.0.0.0") && visible.ends_with(":6001"),
            "{visible}"
        );
        // En `::`, una IPv6 que se pueda llamar, aunque el maestro esté aquí mismo en IPv4.
        let visible = soy("[::]:6001", "http://127.0.0.1:9000");
        let url = Url::leer(&visible).unwrap();
        let ip = url.ip().unwrap();
        assert!(ip.is_ipv6() && !ip.is_unspecified(), "{visible}");
    }
}
