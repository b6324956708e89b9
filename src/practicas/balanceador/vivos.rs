//! Los backends del balanceador: a quién le toca, quién está caído y quién ha vuelto.
//!
//! En el documento la lista `backend_servers` es fija y el turno avanza aunque el servidor no
//! conteste. Aquí el turno rota sólo entre los vivos: saltar al siguiente del caído cargaría el
//! doble a su vecino. Un backend se retira cuando no acepta una conexión, y un hilo ([`vigilar`])
//! pregunta por los retirados hasta que vuelven.
//!
//! A los vivos no se les pregunta nada: el backend del curso atiende de uno en uno, y cada pregunta
//! le gasta un turno. No copia bytes (`canal.rs`) ni escribe en pantalla.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;
use log::debug;

use crate::config::Limites;
use crate::consola::eventos::Avisador;
use crate::red::conexion::Conexion;
use crate::red::parada::Parada;
use crate::red::parada::cerrojo;

/// Cada cuánto se pregunta por los retirados.
pub const CADA_CUANTO: Duration = Duration::from_secs(1);
/// Cuánto se espera a que un retirado acepte la conexión, y luego a que la cierre.
const PLAZO_DE_SALUD: Duration = Duration::from_secs(1);
/// Respuestas seguidas que hacen falta para volver: una sola puede ser un servidor que se está
/// apagando.
const ACIERTOS_PARA_VOLVER: u8 = 2;

/// La lista de backends, compartida entre los hilos de conexión, el que vigila y el principal.
pub struct Vivos {
    /// Todos, vivos o no: cada uno se conoce por su lugar aquí.
    pub backends: Vec<SocketAddr>,
    rueda: Mutex<Rueda>,
    avisador: Avisador,
}

struct Rueda {
    /// Números de los vivos, en el orden en que se escribieron.
    vivos: Vec<usize>,
    /// A qué posición de `vivos` le toca.
    siguiente: usize,
    /// Cuántas conexiones recibió cada backend.
    asignadas: Vec<usize>,
}

impl Vivos {
    /// Todos vivos mientras no se demuestre lo contrario; los cambios se cuentan por `avisador`.
    pub fn nuevos(direcciones: &[SocketAddr], avisador: Avisador) -> Vivos {
        let rueda = Rueda {
            vivos: (0..direcciones.len()).collect(),
            siguiente: 0,
            asignadas: vec![0; direcciones.len()],
        };
        Vivos {
            backends: direcciones.to_vec(),
            rueda: Mutex::new(rueda),
            avisador,
        }
    }

    /// A quién le toca, en turno rotatorio entre los vivos. `None` si no queda ninguno.
    pub fn siguiente(&self) -> Option<usize> {
        let mut rueda = cerrojo(&self.rueda);
        let elegido = *rueda.vivos.get(rueda.siguiente)?;
        rueda.siguiente = (rueda.siguiente + 1) % rueda.vivos.len();
        Some(elegido)
    }

    /// Apunta una conexión más a su cuenta.
    pub fn apuntar(&self, cual: usize) {
        cerrojo(&self.rueda).asignadas[cual] += 1;
    }

    /// Cuántas conexiones recibió cada uno.
    pub fn reparto(&self) -> Vec<(String, usize)> {
        let asignadas = cerrojo(&self.rueda).asignadas.clone();
        let quienes = self.backends.iter().map(ToString::to_string);
        quienes.zip(asignadas).collect()
    }

    /// Deja de darle conexiones. Si varios clientes descubren a la vez la misma caída, se cuenta
    /// una.
    pub fn retirar(&self, cual: usize, motivo: &str) {
        let mut rueda = cerrojo(&self.rueda);
        let Some(donde) = rueda.vivos.iter().position(|&vivo| vivo == cual) else {
            return;
        };
        rueda.vivos.remove(donde);
        // El turno sigue siendo de quien era: si no, alguno se lo saltaría.
        if donde < rueda.siguiente {
            rueda.siguiente -= 1;
        }
        if rueda.siguiente == rueda.vivos.len() {
            rueda.siguiente = 0;
        }
        let linea = format!("[CAÍDO] {}: {motivo}", self.backends[cual]);
        self.avisador.destacar(vec![linea]);
    }

    fn devolver(&self, cual: usize) {
        let mut rueda = cerrojo(&self.rueda);
        let Err(donde) = rueda.vivos.binary_search(&cual) else {
            return;
        };
        rueda.vivos.insert(donde, cual);
        if donde < rueda.siguiente {
            rueda.siguiente += 1;
        }
        let linea = format!("[VUELVE] {}", self.backends[cual]);
        self.avisador.destacar(vec![linea]);
    }
}

/// Pregunta por los retirados hasta que se avise la `parada`. Entonces acaba en lo que dure la
/// pregunta que esté haciendo.
pub fn vigilar(vivos: &Vivos, cada_cuanto: Duration, parada: &Parada) {
    let mut aciertos = vec![0; vivos.backends.len()];
    while parada.canal().recv_timeout(cada_cuanto) == Err(RecvTimeoutError::Timeout) {
        for (cual, aciertos) in aciertos.iter_mut().enumerate() {
            let retirado = !parada.avisada() && !cerrojo(&vivos.rueda).vivos.contains(&cual);
            *aciertos = match retirado && esta_sano(vivos.backends[cual], parada) {
                true => *aciertos + 1,
                false => 0,
            };
            if *aciertos == ACIERTOS_PARA_VOLVER {
                vivos.devolver(cual);
                *aciertos = 0;
            }
        }
    }
}

/// ¿Acepta una conexión? Se cierra con FIN y se espera un poco el suyo: un RST mata al backend del
/// curso, que no atrapa errores, y dejarla abierta sin decir nada lo bloquea, porque atiende de uno
/// en uno.
fn esta_sano(direccion: SocketAddr, parada: &Parada) -> bool {
    match Conexion::conectar(direccion, PLAZO_DE_SALUD, &Limites::default(), parada) {
        Ok(mut conexion) => {
            conexion.cerrar_con_calma(PLAZO_DE_SALUD);
            true
        }
        Err(fallo) => {
            debug!("{direccion} sigue caído: {fallo}");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consola::eventos::Oyente;
    use crate::red::maquina::aceptar;
    use crossbeam_channel::select;
    use std::collections::HashMap;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    fn vivos(cuantos: u16) -> (Vivos, Oyente) {
        let direcciones: Vec<SocketAddr> =
            (1..=cuantos).map(|n| ([127, 0, 0, 1], n).into()).collect();
        let (avisador, oir) = Avisador::nuevo(usize::MAX);
        (Vivos::nuevos(&direcciones, avisador), oir)
    }

    fn siguiente_aviso(oir: &Oyente) -> String {
        loop {
            let (avisos, reposo) = oir.canales();
            select! {
                recv(avisos) -> _ => if let Some(linea) = oir.tanda().pop() {
                    return linea;
                },
                recv(reposo) -> _ => {}
                default(Duration::from_secs(5)) => panic!("nadie avisa"),
            }
        }
    }

    fn repartir(vivos: &Vivos, veces: usize) -> HashMap<usize, usize> {
        let mut cuenta = HashMap::new();
        (0..veces).for_each(|_| *cuenta.entry(vivos.siguiente().unwrap()).or_default() += 1);
        cuenta
    }

    #[test]
    fn reparte_por_turno_y_por_igual_entre_los_vivos() {
        let (vivos, oir) = vivos(4);
        assert_eq!(
            [(); 5].map(|()| vivos.siguiente().unwrap()),
            [0, 1, 2, 3, 0]
        );
        // Le tocaba al 1: caído él, le toca al siguiente, y nadie pierde su turno.
        vivos.retirar(1, "caído");
        assert_eq!([(); 4].map(|()| vivos.siguiente().unwrap()), [2, 3, 0, 2]);
        vivos.retirar(2, "caído");
        assert_eq!(vivos.siguiente(), Some(3));
        vivos.devolver(2);
        assert_eq!([(); 3].map(|()| vivos.siguiente().unwrap()), [0, 2, 3]);
        assert_eq!(
            repartir(&vivos, 300),
            HashMap::from([(0, 100), (2, 100), (3, 100)])
        );
        vivos.devolver(1);
        assert_eq!(repartir(&vivos, 400).values().max(), Some(&100));
        let cambios = oir.tanda();
        assert_eq!(cambios[0], "[CAÍDO] 127.0.0.1:2: caído");
        assert_eq!(cambios[3], "[VUELVE] 127.0.0.1:2");
    }

    #[test]
    fn una_caida_descubierta_por_muchos_se_cuenta_una_vez() {
        let (vivos, oir) = vivos(1);
        vivos.retirar(0, "uno");
        vivos.retirar(0, "dos");
        assert_eq!(oir.tanda().len(), 1);
        assert_eq!(vivos.siguiente(), None);
    }

    #[test]
    fn la_pregunta_de_salud_acaba_en_fin_aunque_el_backend_conteste() {
        let escucha = TcpListener::bind("127.0.0.1:0").unwrap();
        let direccion = escucha.local_addr().unwrap();
        let backend = thread::spawn(move || {
            let mut conexion = aceptar(&escucha).unwrap().0;
            let leido = conexion.read(&mut [0; 1024]).unwrap();
            conexion.write_all(b"Response from Server 1\n").unwrap();
            // Si el otro cerrara sin leer la respuesta, aquí llegaría un RST y no un final.
            conexion.shutdown(std::net::Shutdown::Write).unwrap();
            (leido, conexion.read(&mut [0; 1]).unwrap_or(99))
        });
        let parada = Parada::nueva();
        assert!(esta_sano(direccion, &parada));
        assert_eq!(backend.join().unwrap(), (0, 0));
        assert!(!esta_sano(direccion, &parada));
    }

    #[test]
    fn vuelve_tras_dos_aciertos_y_quien_vigila_se_para() {
        let escucha = TcpListener::bind("127.0.0.1:0").unwrap();
        let (avisador, oir) = Avisador::nuevo(usize::MAX);
        let vivos = Vivos::nuevos(&[escucha.local_addr().unwrap()], avisador);
        vivos.retirar(0, "caído");
        assert!(oir.tanda()[0].starts_with("[CAÍDO]"));
        let parada = Parada::nueva();
        thread::scope(|ambito| {
            ambito.spawn(|| vigilar(&vivos, Duration::from_millis(10), &parada));
            drop(aceptar(&escucha).unwrap());
            assert_eq!(vivos.siguiente(), None, "con un acierto no basta");
            drop(aceptar(&escucha).unwrap());
            assert!(siguiente_aviso(&oir).starts_with("[VUELVE]"));
            assert_eq!(vivos.siguiente(), Some(0));
            parada.avisar();
        });
    }
}
