//! El socket de una conexión, visto desde el lado asíncrono: primero da los bytes que ya se habían
//! leído (con ellos se supo quién habla), y apunta cuándo pasó algo por él.

use std::io;
use std::net::TcpStream as Bloqueante;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::red::parada::cerrojo;

/// Lo que ha pasado por un enchufe. Lo mira quien pone los plazos.
pub struct Trasiego {
    /// Bytes leídos, contando los de antes.
    pub leidos: u64,
    /// Cuándo pasó el último byte, en cualquier sentido.
    pub ultimo: Instant,
}

/// El socket, con lo ya leído por delante.
pub struct Enchufe {
    socket: TcpStream,
    ya_leido: Vec<u8>,
    paso: Arc<Mutex<Trasiego>>,
}

impl Enchufe {
    /// Enchufa `socket` al *runtime* del hilo que llama. Desde aquí ya no se puede leer de él de la
    /// otra manera.
    pub fn nuevo(socket: &Bloqueante, ya_leido: Vec<u8>) -> io::Result<Enchufe> {
        socket.set_nonblocking(true)?;
        Ok(Enchufe {
            socket: TcpStream::from_std(socket.try_clone()?)?,
            ya_leido,
            paso: Arc::new(Mutex::new(Trasiego {
                leidos: 0,
                ultimo: Instant::now(),
            })),
        })
    }

    /// Lo que va pasando por él.
    pub fn paso(&self) -> Arc<Mutex<Trasiego>> {
        Arc::clone(&self.paso)
    }

    fn apuntar(&self, leidos: usize) {
        let mut paso = cerrojo(&self.paso);
        paso.leidos += leidos as u64;
        paso.ultimo = Instant::now();
    }
}

impl AsyncRead for Enchufe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        contexto: &mut Context<'_>,
        destino: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let antes = destino.filled().len();
        let leido = if self.ya_leido.is_empty() {
            Pin::new(&mut self.socket).poll_read(contexto, destino)
        } else {
            let cuantos = self.ya_leido.len().min(destino.remaining());
            destino.put_slice(&self.ya_leido[..cuantos]);
            self.ya_leido.drain(..cuantos);
            Poll::Ready(Ok(()))
        };
        match destino.filled().len() - antes {
            0 => {}
            leidos => self.apuntar(leidos),
        }
        leido
    }
}

impl AsyncWrite for Enchufe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        contexto: &mut Context<'_>,
        datos: &[u8],
    ) -> Poll<io::Result<usize>> {
        let escrito = Pin::new(&mut self.socket).poll_write(contexto, datos);
        if escrito.is_ready() {
            self.apuntar(0);
        }
        escrito
    }

    fn poll_flush(mut self: Pin<&mut Self>, contexto: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(contexto)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, contexto: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(contexto)
    }
}
