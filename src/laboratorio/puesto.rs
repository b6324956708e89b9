//! El puesto de observación: quien mira cada conexión de este programa, la apunta en el diario, la
//! enseña en vivo y le pone las fallas que se pidieron.
//!
//! Se engancha en la [`Conexion`](crate::red::conexion::Conexion) por el hueco de `testigo.rs`,
//! y nadie más sabe que existe. Sin diario, sin espectadores y sin fallas no hace nada. El orden
//! es: diario, luego mentir, callar y retrasar, y por último (ya cifrado, si hay clave) trocear y
//! cortar.

use std::io;
use std::mem;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, SystemTime};

use clap::Args;

use crate::config::Limites;
use crate::consola::eventos::Avisador;
use crate::fallo::{Fallo, motivo};
use crate::laboratorio::diario::{Diario, guardar_a_ratos};
use crate::laboratorio::fallas::{Cual, Fallas};
use crate::laboratorio::suceso::{Apunte, Clase};
use crate::laboratorio::vivo::Vivo;
use crate::red::hilos::Hilo;
use crate::red::maquina::sin_mapear;
use crate::red::parada::Parada;
use crate::testigo::{Mirar, Ojo, QuienLlama, Testigo};

/// Las opciones del laboratorio en un nodo.
#[derive(Debug, Clone, Default, Args)]
pub struct Instrumental {
    /// Apunta en un archivo cada mensaje que sale y entra
    #[arg(long, value_name = "ARCHIVO")]
    pub diario: Option<PathBuf>,
    /// Rompe a propósito lo que contesta.
    #[arg(long, value_name = "LISTA", value_parser = Fallas::leer,
          help = "Rompe a propósito lo que contesta: \
                  retraso=200±50,trocear=7,cortar=4096,callar=10%,mentir=1%,semilla=42")]
    pub fallas: Option<Fallas>,
    /// /vivo, también desde otras máquinas (sin textos)
    // Con `bool`, clap lo daría por escrito aunque no lo esté.
    #[arg(long, num_args = 0, default_missing_value = "true")]
    pub vivo_para_todos: Option<bool>,
}

/// Lo mismo, para las prácticas: sólo el diario.
#[derive(Debug, Clone, Default, Args)]
pub struct ConDiario {
    /// Apunta en un archivo cada conexión
    #[arg(long, value_name = "ARCHIVO")]
    pub diario: Option<PathBuf>,
}

/// Lo que comparten quienes miran las conexiones de este programa.
#[derive(Default)]
pub struct Puesto {
    diario: Option<Arc<Diario>>,
    fallas: Option<Fallas>,
    /// Quienes miran en vivo.
    pub vivo: Arc<Vivo>,
    /// ¿También desde otras máquinas?
    pub vivo_para_todos: bool,
    /// De una charla o de lo que pasa por el balanceador no se apunta lo que se dice.
    solo_conexiones: bool,
    /// Cómo se llama en el diario, si no es un nodo: una orden suelta o una práctica.
    nombre: String,
    nodo: OnceLock<(String, Parada, Avisador)>,
    sucesos: AtomicU64,
    conexiones: AtomicU64,
    aceptadas: AtomicU64,
}

impl Puesto {
    /// Quién es el nodo, qué parada acaba con los retrasos puestos a propósito y por dónde decir
    /// que el diario dejó de escribirse.
    pub fn presentar(&self, nombre: &str, parada: &Parada, avisador: &Avisador) {
        // Sólo hay un nodo por programa, y se presenta una vez.
        let _ = self
            .nodo
            .set((nombre.to_string(), parada.clone(), avisador.clone()));
    }

    /// ¿Se están poniendo fallas?
    pub fn con_fallas(&self) -> bool {
        self.fallas.is_some()
    }

    /// Lo que se dice al arrancar si se están poniendo.
    pub fn aviso_de_fallas(&self) -> Option<String> {
        let escrita = self.fallas.as_ref().map(|fallas| &fallas.escrita)?;
        Some(format!("Con fallas puestas a propósito: {escrita}"))
    }

    fn atento(&self) -> bool {
        self.diario.is_some() || self.vivo.hay()
    }

    fn apuntar(&self, apunte: &Apunte, en_vivo: bool) {
        if let Some(diario) = &self.diario {
            diario.apuntar(apunte);
        }
        if en_vivo {
            self.vivo.ensenar(apunte);
        }
    }

    fn siguiente(&self) -> u64 {
        self.sucesos.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn nombre(&self) -> &str {
        let nodo = self.nodo.get();
        nodo.map_or(&self.nombre, |(nombre, ..)| nombre)
    }

    /// Deja pasar un rato, o menos si hay que salir.
    fn esperar(&self, cuanto: Duration) {
        if let Some((_, parada, _)) = self.nodo.get() {
            let _ = parada.canal().recv_timeout(cuanto);
        }
    }
}

/// El puesto montado, con el hilo que guarda el diario.
pub struct Montado {
    /// El puesto.
    pub puesto: Arc<Puesto>,
    parada: Parada,
    guarda: Option<Hilo<()>>,
}

impl Montado {
    /// El de un nodo, o el de una orden suelta.
    pub fn nuevo(instrumental: Instrumental, nombre: Option<&str>) -> Result<Montado, Fallo> {
        Montado::con(Puesto {
            nombre: nombre.unwrap_or("nodo").to_string(),
            diario: abrir_diario(instrumental.diario.as_deref())?,
            fallas: instrumental.fallas,
            vivo_para_todos: instrumental.vivo_para_todos.unwrap_or_default(),
            ..Puesto::default()
        })
    }

    /// El de una práctica; con `solo_conexiones`, de lo que se dice no se apunta nada.
    pub fn de_practica(
        nombre: &str,
        opcion: &ConDiario,
        solo_conexiones: bool,
    ) -> Result<Montado, Fallo> {
        Montado::con(Puesto {
            nombre: nombre.to_string(),
            diario: abrir_diario(opcion.diario.as_deref())?,
            solo_conexiones,
            ..Puesto::default()
        })
    }

    fn con(puesto: Puesto) -> Result<Montado, Fallo> {
        let (puesto, parada) = (Arc::new(puesto), Parada::nueva());
        let suyo = Arc::clone(&puesto);
        let al_fallar = move |frase| {
            if let Some((.., avisador)) = suyo.nodo.get() {
                avisador.destacar(vec![frase]);
            }
        };
        let guarda = match &puesto.diario {
            Some(diario) => Some(guardar_a_ratos(diario, &parada, al_fallar)?),
            None => None,
        };
        Ok(Montado {
            puesto,
            parada,
            guarda,
        })
    }

    /// Los límites de las conexiones de este programa, con quien las mirará.
    pub fn limites(&self) -> Limites {
        Limites {
            testigo: Testigo::nuevo(Arc::clone(&self.puesto) as Arc<dyn Mirar>),
            ..Limites::default()
        }
    }

    /// Acaba el diario.
    ///
    /// # Errores
    /// No se pudo escribir entero.
    pub fn cerrar(self) -> Result<(), Fallo> {
        self.parada.avisar();
        self.guarda.map(Hilo::esperar);
        self.puesto.diario.as_ref().map_or(Ok(()), |d| d.guardar())
    }
}

fn abrir_diario(ruta: Option<&Path>) -> Result<Option<Arc<Diario>>, Fallo> {
    ruta.map(|ruta| Diario::crear(ruta).map(Arc::new))
        .transpose()
}

impl Mirar for Puesto {
    fn empezar(self: Arc<Self>, otro: SocketAddr, llama: QuienLlama) -> Box<dyn Ojo> {
        let aceptada = match llama {
            QuienLlama::ElOtro => self.aceptadas.fetch_add(1, Ordering::Relaxed) + 1,
            QuienLlama::Nosotros => 0,
        };
        // El ordinal de «conecta» se toma antes de conectar: lo que el otro haga al aceptar va
        // después.
        let primero = self.atento().then(|| self.siguiente());
        Box::new(Mirilla {
            c: self.conexiones.fetch_add(1, Ordering::Relaxed) + 1,
            yo: String::new(),
            otro: String::new(),
            direccion: otro,
            primero,
            enviadas: 0,
            recibidas: 0,
            enviados: 0,
            recibidos: 0,
            respuesta: Cual {
                conexion: aceptada,
                respuesta: 0,
            },
            empezada: false,
            datos_de_la_respuesta: 0,
            lleva_archivo: false,
            falla: None,
            saltados: 0,
            puesto: self,
        })
    }
}

/// Cuándo pasa algo, y si da tiempo a verlo en vivo.
#[derive(Clone, Copy)]
struct Momento {
    /// Microsegundos desde 1970.
    t: u64,
    en_vivo: bool,
}

/// Quien mira una conexión.
struct Mirilla {
    puesto: Arc<Puesto>,
    c: u64,
    yo: String,
    /// El otro lado; escrito, sólo desde que hace falta: puede que nadie mire.
    otro: String,
    direccion: SocketAddr,
    /// El ordinal del suceso con que empieza, si entonces miraba alguien.
    primero: Option<u64>,
    /// Líneas que han pasado en cada sentido.
    enviadas: u64,
    recibidas: u64,
    /// Datos que han pasado y aún no se han apuntado: se apuntan juntos, con lo siguiente que pase.
    enviados: u64,
    recibidos: u64,
    /// La respuesta que toca dar; `conexion` es 0 si la abrimos nosotros.
    respuesta: Cual,
    /// ¿Ya salió algo de esa respuesta?
    empezada: bool,
    datos_de_la_respuesta: u64,
    /// ¿Lo que se pidió se contesta con los bytes de un archivo?
    lleva_archivo: bool,
    /// Las fallas que se acaban de poner, por apuntar.
    falla: Option<String>,
    /// Los que no dio tiempo a ver en vivo y aún no se han contado.
    saltados: u64,
}

impl Mirilla {
    /// Si hay quien apunte lo que pasa ahora. Se mira antes de dar forma a nada: con el nodo a
    /// tope, casi nada de lo que pasa da tiempo a verse.
    fn momento(&mut self) -> Option<Momento> {
        let puesto = &self.puesto;
        if !puesto.atento() {
            return None;
        }
        let desde_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let t = desde_1970.map_or(0, |t| t.as_micros() as u64);
        let mira_alguien = puesto.vivo.hay();
        let en_vivo = mira_alguien && puesto.vivo.hay_sitio(t);
        match mira_alguien && !en_vivo {
            true => self.saltados += 1,
            false => puesto.vivo.saltar(mem::take(&mut self.saltados)),
        }
        (en_vivo || puesto.diario.is_some()).then_some(Momento { t, en_vivo })
    }

    /// Apunta un suceso, y antes los datos que haya pendientes.
    fn suceso(&mut self, clase: Clase, n: u64, texto: &str, bytes: u64) {
        let Some(momento) = self.momento() else {
            // La falla era de este.
            self.falla = None;
            return;
        };
        for (sentido, pasaron) in [
            ("envia", mem::take(&mut self.enviados)),
            ("recibe", mem::take(&mut self.recibidos)),
        ] {
            if pasaron > 0 {
                let i = self.puesto.siguiente();
                let datos = (Clase::Datos, sentido);
                self.escribir(momento, i, datos, 0, ("", pasaron));
            }
        }
        let i = self.puesto.siguiente();
        self.escribir(momento, i, (clase, palabra(texto)), n, (texto, bytes));
    }

    fn escribir(
        &mut self,
        momento: Momento,
        i: u64,
        (clase, palabra): (Clase, &str),
        n: u64,
        (texto, bytes): (&str, u64),
    ) {
        let hilo = thread::current();
        let falla = self.falla.take();
        if self.otro.is_empty() {
            self.otro = self.direccion.to_string();
        }
        let apunte = Apunte {
            i,
            t: momento.t,
            nodo: self.puesto.nombre(),
            hilo: hilo.name().unwrap_or_default(),
            clase,
            c: self.c,
            yo: &self.yo,
            otro: &self.otro,
            n,
            palabra,
            texto,
            bytes,
            falla: falla.as_deref(),
        };
        self.puesto.apuntar(&apunte, momento.en_vivo);
    }

    /// Las fallas que tocan a esta conexión: sólo se rompe lo que se contesta.
    fn fallas(&self) -> Option<&Fallas> {
        self.puesto
            .fallas
            .as_ref()
            .filter(|_| self.respuesta.conexion > 0)
    }

    /// Lo que le pasa a la respuesta que empieza: nada, se retrasa o no sale.
    fn empezar_respuesta(&mut self) -> Result<Option<Duration>, &'static str> {
        let Some(fallas) = self.fallas() else {
            return Ok(None);
        };
        if fallas.calla(self.respuesta) {
            self.poner("callar".into());
            return Err("callar");
        }
        let retraso = fallas.retraso(self.respuesta);
        if let Some(cuanto) = retraso {
            self.poner(format!("retraso={}", cuanto.as_millis()));
        }
        Ok(retraso)
    }

    fn poner(&mut self, falla: String) {
        self.falla = Some(match self.falla.take() {
            Some(otra) => format!("{otra}, {falla}"),
            None => falla,
        });
    }
}

impl Ojo for Mirilla {
    fn abierta(&mut self, socket: &TcpStream, fallo: Option<&io::Error>) {
        let Some(i) = self.primero else {
            return;
        };
        let momento = self.momento();
        let clase = match self.respuesta.conexion {
            0 => Clase::Conecta,
            _ => Clase::Acepta,
        };
        // Si no se apunta que se aceptó, para lo que siga basta saber quién es el otro.
        if momento.is_some() || clase == Clase::Conecta {
            let yo = socket.local_addr();
            self.yo = yo.map_or(String::new(), |yo| sin_mapear(yo).to_string());
        }
        let texto = fallo.map(motivo).unwrap_or_default();
        if let Some(momento) = momento {
            self.escribir(momento, i, (clase, ""), 0, (&texto, 0));
        }
    }

    fn recibida(&mut self, linea: &str, bytes: usize) {
        if self.puesto.solo_conexiones {
            return;
        }
        self.recibidas += 1;
        self.respuesta.respuesta += 1;
        self.empezada = false;
        self.datos_de_la_respuesta = 0;
        let con_archivo = ["OBTENER:", "DESCARGAR:", "GET /files/"];
        self.lleva_archivo = con_archivo
            .iter()
            .any(|principio| linea.starts_with(principio));
        self.suceso(Clase::Recibe, self.recibidas, linea, bytes as u64);
    }

    fn recibidos(&mut self, bytes: usize) {
        if !self.puesto.solo_conexiones {
            self.recibidos += bytes as u64;
        }
    }

    fn por_enviar(&mut self, lineas: &str, bytes: usize) -> Result<(), &'static str> {
        if self.puesto.solo_conexiones {
            return Ok(());
        }
        let retraso = match mem::replace(&mut self.empezada, true) {
            true => None,
            false => self.empezar_respuesta()?,
        };
        for linea in lineas.split_inclusive('\n') {
            self.enviadas += 1;
            // De HTTP se anota la primera línea, pero ocupa toda la cabecera.
            let bytes = linea.len().max(bytes) as u64;
            self.suceso(
                Clase::Envia,
                self.enviadas,
                linea.trim_end_matches('\n'),
                bytes,
            );
        }
        if let Some(cuanto) = retraso {
            self.puesto.esperar(cuanto);
        }
        Ok(())
    }

    fn datos_por_enviar(&mut self, datos: &[u8]) -> Option<(Vec<u8>, Result<(), &'static str>)> {
        if self.puesto.solo_conexiones {
            return None;
        }
        let van = self.datos_de_la_respuesta;
        self.datos_de_la_respuesta += datos.len() as u64;
        self.enviados += datos.len() as u64;
        let fallas = self.fallas()?;
        let primeros = van == 0 && self.lleva_archivo;
        let miente = primeros
            .then(|| fallas.miente(self.respuesta, datos.len()))
            .flatten();
        let caben = fallas
            .corte()
            .map_or(u64::MAX, |corte| corte.saturating_sub(van));
        let corta = caben < datos.len() as u64;
        if miente.is_none() && !corta {
            return None;
        }
        let mut salen = datos.to_vec();
        if let Some(byte) = miente {
            salen[byte] = salen[byte].wrapping_add(1);
            self.poner("mentir".into());
        }
        if !corta {
            return Some((salen, Ok(())));
        }
        salen.truncate(caben as usize);
        self.enviados -= datos.len() as u64 - caben;
        self.poner("cortar".into());
        Some((salen, Err("cortar")))
    }

    fn trozo(&self) -> usize {
        self.fallas().map_or(usize::MAX, Fallas::trozo)
    }
}

impl Drop for Mirilla {
    fn drop(&mut self) {
        self.suceso(Clase::Cierra, 0, "", 0);
        self.puesto.vivo.saltar(self.saltados);
    }
}

/// La palabra de una línea: `BUSCAR`, `OK`, `GET`, `HTTP/1.1`… Las líneas de una lista no la
/// tienen.
fn palabra(linea: &str) -> &str {
    let palabra = linea.split([':', ' ']).next().unwrap_or_default();
    let vale = |c: char| c.is_ascii_uppercase() || matches!(c, '_' | '/' | '.' | '0'..='9');
    let es_palabra = palabra.starts_with(|c: char| c.is_ascii_uppercase());
    match es_palabra && palabra.len() <= 16 && palabra.chars().all(vale) {
        true => palabra,
        false => "",
    }
}
