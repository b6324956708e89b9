//! El banco de trabajo de una demostración: una carpeta temporal y procesos de verdad.
//!
//! Los nodos se ven desde fuera, como los ve el estudiante: se arranca este mismo programa
//! (`nodo ingenuo` o `nodo`), se le escribe en su menú y se lee lo que dice. Al soltarlos se matan;
//! y si fuera este proceso el que muere, su menú se queda sin entrada y acaban solos. No sabe qué
//! defectos hay.

use std::cell::Cell;
use std::env::current_exe;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, never, select, unbounded};
use tempfile::TempDir;

use crate::config::Limites;
use crate::fallo::Fallo;
use crate::guia;
use crate::lan::clave;
use crate::red::conexion::Conexion;
use crate::red::hilos::{Hilo, arrancar};
use crate::red::parada::Parada;

/// Lo más que se espera a que un proceso diga o haga lo que tiene que hacer.
pub const PACIENCIA: Duration = Duration::from_secs(8);
/// Cada cuánto se mira si un proceso terminó.
const MIRADA: Duration = Duration::from_millis(5);
/// El archivo que se busca y se descarga en todas.
pub const NOMBRE: &str = "foto.bin";

/// Cuál de los dos nodos se pone a prueba.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quien {
    /// El de la guía, con sus defectos: `practicas/ingenuo.rs`.
    Ingenuo,
    /// El de verdad.
    Nodo,
}

/// Cómo acabó un «Buscar y descargar archivo» del menú.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Desenlace {
    /// Dijo que ya está en la carpeta.
    Descargado,
    /// Dijo que el archivo no está disponible.
    NoEncontrado,
    /// Dijo que hubo un error.
    ConError,
    /// Dijo que nadie lo tiene.
    NadieLoTiene,
}

/// Donde se hace una demostración. Al soltarlo no queda nada.
pub struct Banco<'a> {
    raiz: TempDir,
    carpetas: Cell<usize>,
    parada: &'a Parada,
}

impl<'a> Banco<'a> {
    /// Un banco vacío. Con la `parada` se deja todo a medias.
    pub fn nuevo(parada: &'a Parada) -> Result<Banco<'a>, Fallo> {
        let creada = tempfile::Builder::new().prefix("nodo-demostrar-").tempdir();
        let fallo = |e| Fallo::de_sistema("creando una carpeta temporal", &e);
        Ok(Banco {
            raiz: creada.map_err(fallo)?,
            carpetas: Cell::new(0),
            parada,
        })
    }

    /// La carpeta que contiene a todas las compartidas, y que nadie comparte.
    pub fn raiz(&self) -> &Path {
        self.raiz.path()
    }

    /// Una carpeta nueva, para que alguien la comparta.
    pub fn carpeta(&self) -> Result<PathBuf, Fallo> {
        self.carpetas.set(self.carpetas.get() + 1);
        let ruta = self
            .raiz()
            .join(format!("compartidos{}", self.carpetas.get()));
        let creada = fs::create_dir(&ruta);
        creada.map_err(|e| Fallo::de_sistema(format!("creando {}", ruta.display()), &e))?;
        Ok(ruta)
    }

    /// Una carpeta nueva, con [`NOMBRE`] dentro.
    pub fn carpeta_con(&self, contenido: &[u8]) -> Result<PathBuf, Fallo> {
        let carpeta = self.carpeta()?;
        dejar(&carpeta.join(NOMBRE), contenido)?;
        Ok(carpeta)
    }

    /// Alguien que sirve `carpeta`, y dónde.
    pub fn servidor(&self, quien: Quien, carpeta: &Path) -> Result<(Lanzado, SocketAddr), Fallo> {
        let mut proceso = self.lanzar(quien, carpeta, 0, &[], &[])?;
        let direccion = proceso.donde_escucha()?;
        Ok((proceso, direccion))
    }

    /// Alguien que pide a `peer`. El de la guía descarga siempre de su propio puerto: se le pone el
    /// de `peer`, que ya está ocupado. Se queda sin servidor, pero su menú sigue y puede pedir.
    pub fn cliente(
        &self,
        quien: Quien,
        carpeta: &Path,
        peer: SocketAddr,
    ) -> Result<Lanzado, Fallo> {
        let puerto = match quien {
            Quien::Ingenuo => peer.port(),
            Quien::Nodo => 0,
        };
        self.lanzar(quien, carpeta, puerto, &[peer], &[])
    }

    /// Arranca un nodo con su menú, y con las opciones que se digan además.
    pub fn lanzar(
        &self,
        quien: Quien,
        carpeta: &Path,
        puerto: u16,
        peers: &[SocketAddr],
        otras: &[&str],
    ) -> Result<Lanzado, Fallo> {
        let puerto = puerto.to_string();
        let mut orden = self.orden()?;
        if quien == Quien::Ingenuo {
            orden.arg("ingenuo");
            orden.args(peers.iter().map(SocketAddr::to_string));
        } else {
            orden.args(peers.iter().map(|peer| format!("--peer={peer}")));
        }
        orden.args(["--ip", "127.0.0.1", "--puerto", &puerto]);
        orden.args(otras).arg("--carpeta").arg(carpeta);
        Lanzado::arrancar(orden, self.parada)
    }

    /// Una orden suelta del nodo de verdad.
    pub fn orden_suelta(&self, argumentos: &[String]) -> Result<Lanzado, Fallo> {
        let mut orden = self.orden()?;
        orden.args(argumentos);
        Lanzado::arrancar(orden, self.parada)
    }

    /// Este mismo programa, sin la configuración de quien lo llamó.
    fn orden(&self) -> Result<Command, Fallo> {
        let fallo = |e| Fallo::de_sistema("buscando este programa", &e);
        let mut orden = Command::new(current_exe().map_err(fallo)?);
        orden.current_dir(self.raiz());
        orden.env_remove("RUST_LOG").env_remove(clave::VARIABLE);
        Ok(orden)
    }

    /// Una conexión a mano con `a`.
    pub fn llamar(&self, a: SocketAddr) -> Result<Conexion, Fallo> {
        let conexion = Conexion::conectar(a, PACIENCIA, &Limites::default(), self.parada);
        conexion.map_err(|fallo| Fallo::nuevo(format!("conectando con {a}: {fallo}")))
    }

    /// Lo que contesta `a` a una petición, hasta que cierra.
    pub fn preguntar(&self, a: SocketAddr, peticion: &str) -> Result<Vec<u8>, Fallo> {
        let mut conexion = self.llamar(a)?;
        let escrita = conexion.escribir_texto(peticion);
        escrita.map_err(|fallo| Fallo::nuevo(format!("preguntando a {a}: {fallo}")))?;
        Ok(leer_todo(&mut conexion))
    }

    /// Deja pasar un rato, o falla si ya no hay que seguir.
    pub fn pausa(&self, rato: Duration) -> Result<(), Fallo> {
        pausa(self.parada, rato)
    }
}

/// Deja un archivo con ese contenido.
pub fn dejar(ruta: &Path, contenido: &[u8]) -> Result<(), Fallo> {
    let dejado = fs::write(ruta, contenido);
    dejado.map_err(|e| Fallo::de_sistema(format!("escribiendo {}", ruta.display()), &e))
}

fn pausa(parada: &Parada, rato: Duration) -> Result<(), Fallo> {
    let _ = parada.canal().recv_timeout(rato);
    match parada.avisada() {
        true => Err(interrumpido()),
        false => Ok(()),
    }
}

fn interrumpido() -> Fallo {
    Fallo::nuevo("se dejó a medias")
}

/// Lo que llegue hasta el cierre, o hasta que calle demasiado.
pub fn leer_todo(conexion: &mut Conexion) -> Vec<u8> {
    let mut todo = conexion.pendiente().to_vec();
    conexion.consumir(todo.len());
    let mut trozo = vec![0; 64 * 1024];
    while let Ok(leido @ 1..) = conexion.leer_datos(&mut trozo, PACIENCIA) {
        todo.extend_from_slice(&trozo[..leido]);
    }
    todo
}

/// Un proceso en marcha: se le escribe, y se lee lo que dice. Al soltarlo, se mata.
pub struct Lanzado {
    hijo: Child,
    teclado: Option<ChildStdin>,
    llega: Receiver<Vec<u8>>,
    lectores: Vec<Hilo<()>>,
    dicho: Vec<u8>,
    leido: usize,
    parada: Parada,
}

impl Lanzado {
    fn arrancar(mut orden: Command, parada: &Parada) -> Result<Lanzado, Fallo> {
        orden.stdin(Stdio::piped());
        orden.stdout(Stdio::piped()).stderr(Stdio::piped());
        let fallo = |e| Fallo::de_sistema("arrancando un nodo", &e);
        let mut hijo = orden.spawn().map_err(fallo)?;
        let (teclado, salida) = (hijo.stdin.take(), hijo.stdout.take());
        let quejas = hijo.stderr.take();
        // Sin tope: lo que dicen estos procesos es poco, y quien lee no debe parar a quien escribe.
        let (mandar, llega) = unbounded();
        let mut proceso = Lanzado {
            hijo,
            teclado,
            llega,
            lectores: Vec::new(),
            dicho: Vec::new(),
            leido: 0,
            parada: parada.clone(),
        };
        proceso
            .lectores
            .extend(leer_en_otro_hilo(salida, mandar.clone())?);
        proceso.lectores.extend(leer_en_otro_hilo(quejas, mandar)?);
        Ok(proceso)
    }

    /// Escribe una línea, como quien está delante. Si ya terminó, no la lee nadie.
    pub fn escribir(&mut self, linea: &str) {
        if let Some(teclado) = &mut self.teclado {
            let _ = teclado.write_all(format!("{linea}\n").as_bytes());
        }
    }

    /// Lee hasta la primera de las `frases`: cuál fue, y lo que había antes de ella. `None` si no
    /// la dice antes de `plazo`, o si terminó sin decirla.
    pub fn leer_hasta(
        &mut self,
        frases: &[&str],
        plazo: Duration,
    ) -> Result<Option<(usize, String)>, Fallo> {
        let limite = Instant::now() + plazo;
        loop {
            if let Some((cual, donde)) = la_primera(&self.dicho[self.leido..], frases) {
                let hasta = self.leido + donde;
                let antes = String::from_utf8_lossy(&self.dicho[self.leido..hasta]).into_owned();
                self.leido = hasta + frases[cual].len();
                return Ok(Some((cual, antes)));
            }
            let falta = limite.saturating_duration_since(Instant::now());
            select! {
                recv(self.parada.canal()) -> _ => return Err(interrumpido()),
                recv(self.llega) -> trozo => match trozo {
                    Ok(trozo) => self.dicho.extend(trozo),
                    Err(_) => return Ok(None),
                },
                default(falta) => return Ok(None),
            }
        }
    }

    /// Como [`Lanzado::leer_hasta`], de algo que tiene que decir.
    pub fn esperar(&mut self, frases: &[&str]) -> Result<(usize, String), Fallo> {
        let llego = self.leer_hasta(frases, PACIENCIA)?;
        llego.ok_or_else(|| {
            let dicho = String::from_utf8_lossy(&self.dicho[self.leido..]).into_owned();
            let ultima = dicho.lines().last().unwrap_or("nada").to_string();
            Fallo::nuevo(format!(
                "no dijo «{}» a tiempo; lo último que dijo: {ultima}",
                frases.join("» ni «")
            ))
        })
    }

    /// Dónde escucha, según él. No da nada por leído: en la guía lo dice otro hilo, y a veces sale
    /// primero el menú.
    pub fn donde_escucha(&mut self) -> Result<SocketAddr, Fallo> {
        let leido = self.leido;
        self.esperar(&[guia::ESCUCHANDO])?;
        let (_, puerto) = self.esperar(&["\n"])?;
        self.leido = leido;
        let no_es = |_| Fallo::nuevo(format!("«{puerto}» no es un puerto"));
        let puerto = puerto.trim().parse().map_err(no_es)?;
        Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, puerto)))
    }

    /// «2. Buscar y descargar archivo», hasta la pregunta de dónde; ahí contesta el primero.
    pub fn buscar_y_descargar(&mut self, nombre: &str) -> Result<Desenlace, Fallo> {
        if !self.buscar(nombre)? {
            return Ok(Desenlace::NadieLoTiene);
        }
        self.escribir("1");
        let finales = [
            guia::DESCARGADO,
            guia::NO_ENCONTRADO,
            guia::ERROR_AL_DESCARGAR,
        ];
        Ok(match self.esperar(&finales)?.0 {
            0 => Desenlace::Descargado,
            1 => Desenlace::NoEncontrado,
            _ => Desenlace::ConError,
        })
    }

    /// «2. Buscar y descargar archivo», hasta que pregunta de dónde. Falso si nadie lo tiene.
    pub fn buscar(&mut self, nombre: &str) -> Result<bool, Fallo> {
        self.esperar(&[guia::SELECCIONE])?;
        self.escribir("2");
        self.esperar(&[guia::QUE_ARCHIVO])?;
        self.escribir(nombre);
        Ok(self.esperar(&[guia::NO_SE_ENCONTRO, guia::DE_DONDE])?.0 == 1)
    }

    /// Espera a que termine y da su código. `None` si sigue.
    pub fn terminar(&mut self, plazo: Duration) -> Result<Option<i32>, Fallo> {
        let limite = Instant::now() + plazo;
        loop {
            let fin = self.hijo.try_wait();
            let fin = fin.map_err(|e| Fallo::de_sistema("esperando a un nodo", &e))?;
            if let Some(estado) = fin {
                return Ok(Some(estado.code().unwrap_or(-1)));
            }
            if Instant::now() > limite {
                return Ok(None);
            }
            pausa(&self.parada, MIRADA)?;
        }
    }
}

impl Drop for Lanzado {
    fn drop(&mut self) {
        // Falla si ya había terminado.
        let _ = self.hijo.kill();
        let _ = self.hijo.wait();
        self.llega = never();
        for lector in self.lectores.drain(..) {
            lector.esperar();
        }
    }
}

/// Un hilo que manda lo que salga de una tubería, hasta que se cierre.
fn leer_en_otro_hilo(
    tuberia: Option<impl Read + Send + 'static>,
    mandar: Sender<Vec<u8>>,
) -> Result<Option<Hilo<()>>, Fallo> {
    let leer = |mut tuberia: Box<dyn Read + Send>| {
        arrancar("lector", move || {
            let mut trozo = vec![0; 4096];
            while let Ok(leido @ 1..) = tuberia.read(&mut trozo) {
                if mandar.send(trozo[..leido].to_vec()).is_err() {
                    return;
                }
            }
        })
    };
    tuberia.map(|tuberia| leer(Box::new(tuberia))).transpose()
}

/// Cuál de las frases aparece antes, y dónde.
fn la_primera(dicho: &[u8], frases: &[&str]) -> Option<(usize, usize)> {
    let donde = |frase: &str| {
        dicho
            .windows(frase.len())
            .position(|v| v == frase.as_bytes())
    };
    let halladas = (0..).zip(frases);
    let halladas = halladas.filter_map(|(cual, frase)| Some((cual, donde(frase)?)));
    halladas.min_by_key(|(_, donde)| *donde)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manda_la_frase_que_aparece_antes() {
        let dicho = "uno dos tres".as_bytes();
        assert_eq!(la_primera(dicho, &["tres", "dos"]), Some((1, 4)));
        assert_eq!(la_primera(dicho, &["cuatro"]), None);
        assert_eq!(la_primera(b"", &["uno"]), None);
    }
}
