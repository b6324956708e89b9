//! El nodo en el maestro: se registra al empezar, renueva, avisa cuando su carpeta cambia y se despide al salir.
//!
//! El maestro olvida a quien no renueva, y por eso un nodo que muere de golpe desaparece solo, y un maestro que se
//! reinicia vuelve a saberlo todo en unos segundos. Que el maestro no esté no es un error: se dice una vez, se sigue
//! probando, y se dice cuando vuelve. No sabe de rutas ni escribe en pantalla.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};
use serde_json::json;

use crate::config::{Limites, MAX_ARCHIVOS, MAX_NOMBRE_DE_ARCHIVO};
use crate::fallo::Fallo;
use crate::http::cliente::{pedir, resolver};
use crate::http::url::Url;
use crate::nodo::Nodo;
use crate::nodo::maestro::localizar::motivo;
use crate::red::hilos::{Hilo, arrancar};
use crate::red::maquina::ip_en_la_red;
use crate::red::parada::Parada;

/// Cada cuánto se renueva.
const RENOVAR: Duration = Duration::from_secs(5);
/// Cuánto vale un registro, en segundos: tres renovaciones.
const TTL: u64 = 15;
/// Lo que ocupan los nombres que caben en un registro, en bytes. El maestro admite 8 MiB, y en JSON ocupan algo más.
const TOPE_DE_NOMBRES: usize = 4 * 1024 * 1024;
/// Plazos para hablar con el maestro: cortos, porque al salir hay que esperar a que termine la última pregunta.
const LIMITES: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(3));
/// El de la despedida, que retrasa la salida.
const DESPEDIDA: Duration = Duration::from_secs(1);

/// La relación de un nodo con su maestro. La comparten el hilo que renueva y `POST /refresh`.
pub struct Inscripcion {
    url: String,
    escucha: SocketAddr,
    /// Se retiene desde que se mira la carpeta hasta que el maestro contesta: así una lista vieja no puede llegarle
    /// después de una nueva. Dice si ya se despidió, y entonces no hay que volver a registrarse.
    fuera: Mutex<bool>,
    /// Por aquí se despierta al hilo antes de su hora. Cabe un aviso: si ya hay uno sin atender, otro no cambia nada.
    despertar: (Sender<()>, Receiver<()>),
}

impl Inscripcion {
    /// La de un nodo que escucha en `escucha`, en el maestro de `url`.
    pub fn nueva(url: String, escucha: SocketAddr) -> Inscripcion {
        Inscripcion {
            url,
            escucha,
            fuera: Mutex::default(),
            despertar: bounded(1),
        }
    }

    /// La URL del maestro.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Se registra con los nombres que dé `listar`, que también devuelve.
    ///
    /// # Errores
    /// No se pudo leer la carpeta, o el maestro no contesta o no lo admite.
    pub fn renovar(
        &self,
        parada: &Parada,
        listar: impl FnOnce() -> Result<Vec<String>, Fallo>,
    ) -> Result<Vec<String>, Fallo> {
        let fuera = self.fuera.lock().unwrap_or_else(PoisonError::into_inner);
        if *fuera {
            return Err(Fallo::nuevo("este nodo ya está saliendo"));
        }
        let archivos = listar()?;
        let registro = json!({
            "peer": self.quien_soy()?, "files": los_que_caben(&archivos),
            "grpc_port": 0, "puerto": self.escucha.port(), "ttl": TTL,
        });
        let (conectar, respuesta) = LIMITES;
        self.mandar(
            "/register",
            &registro,
            Limites {
                conectar,
                respuesta,
                ..Limites::default()
            },
            parada,
        )?;
        Ok(archivos)
    }

    /// La carpeta cambió: que el maestro lo sepa sin esperar a la próxima renovación.
    pub fn despertar(&self) {
        let _ = self.despertar.0.try_send(());
    }

    fn despedirse(&self) -> Result<(), Fallo> {
        let mut fuera = self.fuera.lock().unwrap_or_else(PoisonError::into_inner);
        *fuera = true;
        let limites = Limites {
            conectar: DESPEDIDA,
            respuesta: DESPEDIDA,
            ..Limites::default()
        };
        self.mandar(
            "/leave",
            &json!({"peer": self.quien_soy()?}),
            limites,
            &Parada::nueva(),
        )
    }

    fn mandar(
        &self,
        ruta: &str,
        cuerpo: &serde_json::Value,
        limites: Limites,
        parada: &Parada,
    ) -> Result<(), Fallo> {
        let url = format!("{}{ruta}", self.url);
        match pedir("POST", &url, Some(cuerpo), limites, parada)? {
            (200, _) => Ok(()),
            (codigo, valor) => Err(Fallo::nuevo(format!(
                "el maestro {} no lo admite: {}",
                self.url,
                motivo(codigo, &valor)
            ))),
        }
    }

    /// La URL con que los demás llegan a este nodo. Se mira cada vez: un portátil cambia de red.
    fn quien_soy(&self) -> Result<String, Fallo> {
        let maestro = Url::leer(&self.url)
            .ok_or_else(|| Fallo::nuevo(format!("«{}» no es la URL de un maestro", self.url)))?;
        let ip = match self.escucha.ip() {
            ip if ip.is_unspecified() => ip_visible(resolver(&maestro)?),
            ip => ip,
        };
        Ok(format!(
            "http://{}",
            SocketAddr::new(ip, self.escucha.port())
        ))
    }
}

/// La IP con que nos ve el maestro. Si está en esta misma máquina nos ve como 127.0.0.1, que a los demás no les sirve:
/// entonces, la de la red.
fn ip_visible(maestro: SocketAddr) -> IpAddr {
    // Una dirección de los ejemplos, que no es de nadie: no se le manda nada, sólo se mira por dónde se saldría.
    const FUERA: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9);
    let hacia = if maestro.ip().is_loopback() {
        FUERA
    } else {
        maestro
    };
    ip_en_la_red(hacia).unwrap_or(Ipv4Addr::LOCALHOST.into())
}

/// Los nombres que caben en un registro, desde el principio.
fn los_que_caben(archivos: &[String]) -> Vec<&str> {
    let mut ocupan = 0;
    let cortos = archivos
        .iter()
        .map(String::as_str)
        .filter(|nombre| nombre.len() <= MAX_NOMBRE_DE_ARCHIVO);
    let caben = cortos.take(MAX_ARCHIVOS).take_while(|nombre| {
        ocupan += nombre.len();
        ocupan <= TOPE_DE_NOMBRES
    });
    caben.collect()
}

/// Arranca el hilo que mantiene el registro de `nodo` en su maestro, hasta que se sale. `None` si no tiene maestro.
///
/// # Errores
/// El sistema no da más hilos.
pub fn mantener(nodo: &Arc<Nodo>) -> Result<Option<Hilo<()>>, Fallo> {
    let Some(maestro) = nodo.maestro.clone() else {
        return Ok(None);
    };
    let nodo = Arc::clone(nodo);
    arrancar("registro", move || renovar_hasta_salir(&nodo, &maestro)).map(Some)
}

fn renovar_hasta_salir(nodo: &Nodo, maestro: &Inscripcion) {
    let mut dentro = None;
    while !nodo.saliendo.avisada() {
        let renovado = maestro.renovar(&nodo.saliendo, || nodo.nombres());
        if dentro != Some(renovado.is_ok()) {
            nodo.avisador.destacar(vec![match &renovado {
                Ok(_) => format!("[MAESTRO] Registrado en {}", maestro.url()),
                Err(fallo) => format!("[MAESTRO] {fallo}. Se sigue sin él y se vuelve a probar."),
            }]);
        }
        dentro = Some(renovado.is_ok());
        select! {
            recv(maestro.despertar.1) -> _ => {}
            recv(nodo.saliendo.canal()) -> _ => {}
            default(RENOVAR) => {}
        }
    }
    if let Err(fallo) = maestro.despedirse() {
        log::debug!("al despedirse: {fallo}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn se_registra_lo_que_cabe() {
        let nombre = |n: usize, largo| format!("{n:0>largo$}");
        let muchos: Vec<String> = (0..MAX_ARCHIVOS + 5).map(|n| nombre(n, 8)).collect();
        assert_eq!(los_que_caben(&muchos).len(), MAX_ARCHIVOS);
        let largos: Vec<String> = (0..9000).map(|n| nombre(n, 1000)).collect();
        assert_eq!(los_que_caben(&largos).len(), TOPE_DE_NOMBRES / 1000);
        assert_eq!(los_que_caben(&[nombre(1, 1025), nombre(2, 1024)]).len(), 1);
    }

    #[test]
    fn cada_uno_se_presenta_como_los_demas_pueden_llamarlo() {
        let soy = |escucha: &str, maestro: &str| {
            Inscripcion::nueva(maestro.into(), escucha.parse().unwrap())
                .quien_soy()
                .unwrap()
        };
        assert_eq!(
            soy("127.0.0.1:6001", "http://127.0.0.1:9000"),
            "http://127.0.0.1:6001"
        );
        assert_eq!(
            soy("127.0.0.2:6001", "http://localhost:9000"),
            "http://127.0.0.2:6001"
        );
        let visible = soy("0.0.0.0:6001", "http://127.0.0.1:9000");
        assert!(
            !visible.contains("0.0.0.0") && visible.ends_with(":6001"),
            "{visible}"
        );
    }
}
