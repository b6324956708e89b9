//! Parar: la única señal de «déjalo» del programa, y los sockets que hay que soltar con ella.
//!
//! El nodo de la guía no se puede terminar con orden. Aquí quien manda avisa una [`Parada`] y todos
//! los que la miran se enteran a la vez: quien espera en un `select!` (un canal que se cierra),
//! quien pregunta de vez en cuando y quien está leyendo o conectándose, porque su socket está
//! apuntado. La usan igual un servidor que se cierra, una descarga que se cancela y una pregunta
//! que ya no interesa. No sabe qué se dice por los sockets.

use std::collections::HashMap;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};

/// Por el canal de una parada no viaja nada: sólo se cierra.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nada {}

/// Una señal de parada, compartida: clonarla da la misma, para otro.
#[derive(Debug, Clone)]
pub struct Parada {
    canal: Receiver<Nada>,
    corte: Receiver<Nada>,
    sockets: Arc<Mutex<Sockets>>,
}

#[derive(Debug, Default)]
struct Sockets {
    /// Soltarlos cierra el canal de cada cosa.
    sin_avisar: Option<Sender<Nada>>,
    sin_cortar: Option<Sender<Nada>>,
    siguiente: u64,
    vivos: HashMap<u64, (Trato, Arc<TcpStream>)>,
}

/// Qué se hace con un socket al avisar. Al cortar, todos se cierran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trato {
    /// Deja de leer: si estaba ociosa lee un fin, y si estaba enviando sigue hasta acabar.
    DejaDeLeer,
    /// No se toca: quien lo lleva mira la parada y se despide a su manera.
    LoMiraEl,
    /// Sigue como si nada, y no cuenta como una conexión del servidor.
    Sigue,
}

impl Parada {
    /// Una parada sin avisar.
    pub fn nueva() -> Parada {
        let ((sin_avisar, canal), (sin_cortar, corte)) = (bounded(0), bounded(0));
        let sockets = Arc::new(Mutex::new(Sockets {
            sin_avisar: Some(sin_avisar),
            sin_cortar: Some(sin_cortar),
            ..Sockets::default()
        }));
        Parada {
            canal,
            corte,
            sockets,
        }
    }

    /// ¿Hay que dejarlo ya?
    pub fn avisada(&self) -> bool {
        self.canal.try_recv() == Err(TryRecvError::Disconnected)
    }

    /// ¿Se cortó ya?
    pub fn cortada(&self) -> bool {
        self.corte.try_recv() == Err(TryRecvError::Disconnected)
    }

    /// El canal, para un `select!`: está listo cuando hay que dejarlo.
    pub fn canal(&self) -> &Receiver<Nada> {
        &self.canal
    }

    /// Lo mismo, para quien sólo lo deja cuando se corta.
    pub fn corte(&self) -> &Receiver<Nada> {
        &self.corte
    }

    /// Que nadie empiece nada más. Lo que está a medias puede acabar.
    pub fn avisar(&self) {
        let mut sockets = cerrojo(&self.sockets);
        sockets.sin_avisar = None;
        for (trato, socket) in sockets.vivos.values() {
            if *trato == Trato::DejaDeLeer {
                cerrar(socket, Shutdown::Read);
            }
        }
    }

    /// Avisa y además corta ya todos los sockets apuntados, y los que se apunten después.
    pub fn cortar(&self) {
        let mut sockets = cerrojo(&self.sockets);
        sockets.sin_avisar = None;
        sockets.sin_cortar = None;
        for (_, socket) in sockets.vivos.values() {
            cerrar(socket, Shutdown::Both);
        }
    }

    /// Apunta un socket mientras viva lo que devuelve. Si ya se avisó o se cortó, se le hace lo
    /// mismo.
    pub fn apuntar(&self, socket: &Arc<TcpStream>, trato: Trato) -> Apuntado {
        let mut sockets = cerrojo(&self.sockets);
        if sockets.sin_cortar.is_none() {
            cerrar(socket, Shutdown::Both);
        } else if sockets.sin_avisar.is_none() && trato == Trato::DejaDeLeer {
            cerrar(socket, Shutdown::Read);
        }
        sockets.siguiente += 1;
        let numero = sockets.siguiente;
        sockets.vivos.insert(numero, (trato, Arc::clone(socket)));
        drop(sockets);
        let parada = self.clone();
        Apuntado { parada, numero }
    }

    /// Cuántos sockets apuntados son conexiones de un servidor.
    pub fn conexiones(&self) -> usize {
        let sockets = cerrojo(&self.sockets);
        let tratos = sockets.vivos.values().map(|(trato, _)| *trato);
        tratos.filter(|trato| *trato != Trato::Sigue).count()
    }
}

/// Cierra un sentido de un socket. Falla si el otro ya cerró, y es lo que se quería.
pub fn cerrar(socket: &TcpStream, sentido: Shutdown) {
    let _ = socket.shutdown(sentido);
}

/// Un socket apuntado con [`Parada::apuntar`]; al soltarlo se borra de la lista.
#[derive(Debug)]
pub struct Apuntado {
    parada: Parada,
    numero: u64,
}

impl Apuntado {
    /// La parada en que está.
    pub fn parada(&self) -> &Parada {
        &self.parada
    }

    /// Desde ahora, al avisar se le trata así.
    pub fn tratar(&self, trato: Trato) {
        if let Some(vivo) = cerrojo(&self.parada.sockets).vivos.get_mut(&self.numero) {
            vivo.0 = trato;
        }
    }
}

impl Drop for Apuntado {
    fn drop(&mut self) {
        let socket = cerrojo(&self.parada.sockets).vivos.remove(&self.numero);
        // Si es la última copia se cierra aquí, fuera del cerrojo.
        drop(socket);
    }
}

/// Lo que guarda un cerrojo. En ningún sitio se deja a medias lo que hay dentro: aunque el hilo que
/// lo tenía terminara por un error interno, sigue siendo bueno.
pub fn cerrojo<T>(guardado: &Mutex<T>) -> MutexGuard<'_, T> {
    guardado.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, Read};
    use std::net::TcpListener;
    use std::time::Duration;

    #[test]
    fn avisar_no_toca_lo_que_sigue_y_cortar_alcanza_a_todos() {
        let escucha = TcpListener::bind("127.0.0.1:0").unwrap();
        let conectar = || Arc::new(TcpStream::connect(escucha.local_addr().unwrap()).unwrap());
        let vivo = |socket: &TcpStream| {
            let un_momento = Some(Duration::from_millis(50));
            socket.set_read_timeout(un_momento).unwrap();
            { socket }
                .read(&mut [0])
                .is_err_and(|e| e.kind() != io::ErrorKind::NotConnected)
        };
        let parada = Parada::nueva();
        let (entrante, antes, olvidado, tarde) = (conectar(), conectar(), conectar(), conectar());
        let _entrante = parada.apuntar(&entrante, Trato::DejaDeLeer);
        let _antes = parada.apuntar(&antes, Trato::Sigue);
        drop(parada.apuntar(&olvidado, Trato::Sigue));
        assert!(!parada.avisada());
        parada.avisar();
        assert!(parada.avisada());
        assert!(vivo(&antes) && !vivo(&entrante));
        assert_eq!(parada.conexiones(), 1);
        parada.cortar();
        let _tarde = parada.apuntar(&tarde, Trato::Sigue);
        assert!(!vivo(&antes) && !vivo(&tarde) && vivo(&olvidado));
    }

    #[test]
    fn quien_espera_en_un_select_se_entera() {
        let parada = Parada::nueva();
        let otra = parada.clone();
        std::thread::scope(|ambito| {
            let espera = ambito.spawn(|| parada.canal().recv().is_err());
            otra.avisar();
            assert!(espera.join().unwrap());
        });
    }
}
