//! Poner en marcha un nodo y pararlo: el puerto, la carpeta y los hilos, con su dueño.
//!
//! Es el `threading.Thread(target=atender_conexiones).start()` de la guía, con lo que hay antes (qué fila de `PEERS`
//! toca, qué carpeta) y lo que la guía no tiene: cómo se termina. No escribe en pantalla.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use crossbeam_channel::Receiver;

use crate::config::{Config, Fila, PEERS, carpeta_de_fila};
use crate::consola::eventos::{Avisador, Oyente};
use crate::fallo::Fallo;
use crate::nodo::Nodo;
use crate::nodo::carpeta::Carpeta;
use crate::nodo::evento::Evento;
use crate::nodo::maestro::registro;
use crate::nodo::servidor::gestionar_peticion;
use crate::nodo::vecinos::Vecinos;
use crate::red::cancelacion::{Cancelador, cancelacion};
use crate::red::ip_en_la_red;
use crate::red::{Parada, Servidor, abrir_puerto, conexiones_posibles, fallo_al_abrir};

/// Un nodo en marcha.
pub struct EnMarcha {
    /// Lo que comparten sus hilos.
    pub nodo: Arc<Nodo>,
    /// Lo que sus hilos cuentan.
    pub oyente: Oyente<Evento>,
    /// La IP con que los demás lo ven, si escucha en todas las redes.
    pub ip_en_la_red: Option<SocketAddr>,
    servidor: Servidor,
    huellas: JoinHandle<()>,
    registro: Option<JoinHandle<()>>,
    cancelador: Cancelador,
}

impl EnMarcha {
    /// Abre el puerto y la carpeta y arranca los hilos.
    ///
    /// # Errores
    /// El puerto está en uso, la carpeta no se puede usar…; la frase dice qué hacer.
    pub fn arrancar(config: &Config) -> Result<EnMarcha, Fallo> {
        let (escucha, fila) = abrir_el_puerto(config)?;
        let direccion = escucha
            .local_addr()
            .map_err(|e| Fallo::de_sistema("mirando el puerto", &e))?;
        let ruta = carpeta_elegida(config, fila);
        let carpeta = Carpeta::abrir_o_crear(&ruta)?;
        let en_la_red = direccion_en_la_red(direccion, &config.peers);
        let vecinos = Vecinos::nuevos(
            config,
            nombre_elegido(config, fila, direccion, en_la_red),
            Some(direccion),
        );
        let (avisador, eventos) = Avisador::nuevo();
        let oyente = Oyente::nuevo(avisador.clone(), eventos);
        let (cancelador, saliendo) = cancelacion();
        let nodo = Arc::new(Nodo::nuevo(vecinos, direccion, carpeta, avisador, saliendo));
        let huellas = calcular_huellas(&nodo)?;
        let registro = registro::mantener(&nodo)?;
        let parada = Arc::new(Parada::nueva(conexiones_posibles(config.max_conexiones)));
        let suyo = Arc::clone(&nodo);
        let servidor = Servidor::arrancar(escucha, parada, move |conexion, desde| {
            gestionar_peticion(conexion, desde, &suyo);
        })?;
        Ok(EnMarcha {
            nodo,
            oyente,
            ip_en_la_red: en_la_red,
            servidor,
            huellas,
            registro,
            cancelador,
        })
    }

    /// Para y espera a todos los hilos. Si quedan envíos en curso llama a `decir` con cuántos; otro aviso en `ctrl_c`
    /// los corta ya.
    pub fn detener(self, ctrl_c: &Receiver<()>, decir: impl FnOnce(usize)) {
        drop(self.cancelador);
        self.servidor.detener(ctrl_c, decir);
        self.nodo.estante.cerrar();
        if self.huellas.join().is_err() {
            log::error!("el hilo de las huellas terminó por un error interno");
        }
        if self
            .registro
            .is_some_and(|registro| registro.join().is_err())
        {
            log::error!("el hilo del registro terminó por un error interno");
        }
    }
}

/// El hilo que calcula huellas, empezando por todo lo que ya hay en la carpeta.
fn calcular_huellas(nodo: &Arc<Nodo>) -> Result<JoinHandle<()>, Fallo> {
    let nodo = Arc::clone(nodo);
    let calcular = move || {
        match nodo.carpeta.listar() {
            Ok(archivos) => nodo.estante.repasar(&archivos),
            Err(fallo) => log::warn!("{fallo}"),
        }
        nodo.estante.trabajar();
    };
    Builder::new()
        .name("huellas".into())
        .spawn(calcular)
        .map_err(|e| Fallo::de_sistema("creando el hilo de las huellas", &e))
}

/// Abre el puerto que toca. Devuelve también la fila (desde 1), si hay.
fn abrir_el_puerto(config: &Config) -> Result<(TcpListener, Option<usize>), Fallo> {
    let fila = match config.fila {
        Fila::PrimeraLibre => {
            let puertos = PEERS.map(|(_, peer)| peer.port());
            return abrir_el_primero_libre(config.ip, &puertos)
                .map(|(escucha, lugar)| (escucha, Some(lugar + 1)));
        }
        Fila::Elegida(n) => Some(n),
        Fila::Ninguna => None,
    };
    let direccion = SocketAddr::new(config.ip, config.puerto);
    abrir_puerto(config.ip, config.puerto)
        .map(|escucha| (escucha, fila))
        .map_err(|e| fallo_al_abrir(direccion, "--puerto", &e))
}

/// Con `nodo` a secas, el primero de los `puertos` que esté libre, y su lugar: se sabe enlazándolo, y el socket se queda.
fn abrir_el_primero_libre(ip: IpAddr, puertos: &[u16]) -> Result<(TcpListener, usize), Fallo> {
    for (lugar, puerto) in puertos.iter().enumerate() {
        match abrir_puerto(ip, *puerto) {
            Ok(escucha) => return Ok((escucha, lugar)),
            Err(e) if e.kind() == ErrorKind::AddrInUse => {}
            Err(e) => return Err(fallo_al_abrir(SocketAddr::new(ip, *puerto), "--puerto", &e)),
        }
    }
    let puertos: Vec<String> = puertos.iter().map(u16::to_string).collect();
    Err(Fallo::nuevo(format!(
        "los puertos de PEERS ({}) ya están en uso: cierra un nodo o elige otro puerto con --puerto (0 = el que esté libre)",
        puertos.join(", ")
    )))
}

fn carpeta_elegida(config: &Config, fila: Option<usize>) -> PathBuf {
    match (&config.carpeta, fila) {
        (Some(carpeta), _) => carpeta.clone(),
        (None, Some(n)) => carpeta_de_fila(n),
        (None, None) => config.carpeta_o_la_de_la_guia(),
    }
}

/// Si escucha en todas las redes, por dónde lo alcanzan los peers de otras máquinas.
fn direccion_en_la_red(direccion: SocketAddr, peers: &[SocketAddr]) -> Option<SocketAddr> {
    if !direccion.ip().is_unspecified() {
        return None;
    }
    let fuera = peers.iter().find(|peer| !peer.ip().is_loopback())?;
    ip_en_la_red(*fuera).map(|ip| SocketAddr::new(ip, direccion.port()))
}

/// El nombre que se escribió; si no, el de la fila; si no, uno que distinga a este nodo de los demás.
fn nombre_elegido(
    config: &Config,
    fila: Option<usize>,
    direccion: SocketAddr,
    en_la_red: Option<SocketAddr>,
) -> String {
    match (&config.nombre, fila, en_la_red) {
        (Some(nombre), _, _) => nombre.clone(),
        (None, Some(n), _) => PEERS[n - 1].0.to_string(),
        (None, None, Some(SocketAddr::V4(red))) => format!("nodo-{}", red.ip()),
        (None, None, _) => format!("nodo-{}", direccion.port()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn tres_seguidos_toman_tres_filas_y_el_cuarto_dice_que_hacer() {
        let ip = Ipv4Addr::LOCALHOST.into();
        // Tres puertos que nadie tiene: el sistema no los da a otro mientras estén enlazados, y se sueltan de uno en uno.
        let guardados = [(); 3].map(|()| TcpListener::bind((ip, 0)).unwrap());
        let puertos = guardados
            .each_ref()
            .map(|escucha| escucha.local_addr().unwrap().port());
        let mut tomados = Vec::new();
        for (lugar, guardado) in guardados.into_iter().enumerate() {
            drop(guardado);
            let (escucha, tomado) = abrir_el_primero_libre(ip, &puertos).unwrap();
            assert_eq!(tomado, lugar);
            tomados.push(escucha);
        }
        let fallo = abrir_el_primero_libre(ip, &puertos).unwrap_err();
        let fallo = fallo.to_string();
        assert!(puertos.iter().all(|p| fallo.contains(&p.to_string())));
        assert!(fallo.contains("--puerto"), "{fallo}");
    }
}
