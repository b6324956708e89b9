//! La costura: toda palabra del protocolo que entra o sale pasa por una [`Conexion`].
//!
//! Envuelve el `conn` de la guía y le da lo que le falta: plazos (ninguna espera es eterna), líneas
//! con tope (nadie reserva memoria nuestra) y registro (`RUST_LOG=nodo=debug` enseña cada línea y
//! con quién). Con clave, lo que pasa va cifrado (`conexion/saludo.rs`), y quien la usa no lo nota.
//! No sabe qué significan las palabras, ni toca el disco, ni escribe en pantalla.

mod saludo;

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::debug;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::config::Limites;
use crate::fallo::motivo;
use crate::red::cifrado::Cifrado;
use crate::red::llegar::{NoLlega, explicar};
use crate::red::parada::{Apuntado, Parada, Trato};
use crate::testigo::{Ojo, QuienLlama, Testigo};
use crate::texto::limpiar;

/// Lo que se lee del socket de una vez mientras se buscan líneas, en bytes. Cabe una línea del tope
/// más su `\n`.
const LECTURA: usize = 8 * 1024;

/// Lo que se espera a que el otro cierre cuando se le corta a propósito.
const DESPEDIDA_A_PROPOSITO: Duration = Duration::from_secs(2);

/// Bytes que se tiran, como mucho, al cerrar con calma.
const TOPE_DE_DESPEDIDA: usize = 64 << 20;

/// En Windows cerrar un socket no despierta a quien ya está leyendo de él: ahí cada lectura espera
/// como mucho esto antes de volver a mirar, y en un socket cerrado la siguiente falla.
pub const REBANADA: Duration = Duration::from_millis(if cfg!(windows) { 250 } else { u64::MAX });

/// Un plazo más corto que esto se respeta al milisegundo.
const UN_SEGUNDO: Duration = Duration::from_secs(1);

/// En cuántas partes se mira si una escritura avanza: el plazo sin avance se pasa, a lo sumo, en
/// una. En Windows no se sabe cuánto salió de una escritura que vence, así que no se repite: se
/// hace en trozos pequeños, cada uno con todo el plazo.
const PARTES_DE_ESCRIBIR: u32 = if cfg!(windows) { 1 } else { 6 };
/// Bytes que se escriben de una vez.
const ESCRITURA: usize = if cfg!(windows) { 64 * 1024 } else { 1 << 30 };

/// Por qué no se pudo leer o escribir.
#[derive(Debug)]
pub enum FalloRed {
    /// El otro cerró sin mandar ni un byte de lo que se esperaba (FIN o RST).
    Cerrada,
    /// Venció un plazo; dice cuál.
    Vencio(&'static str),
    /// Una línea pasó del tope.
    LineaLarga,
    /// Una línea que no es texto UTF-8.
    NoEsTexto,
    /// Se cortó a la mitad.
    Cortada,
    /// Tenemos clave y el otro no.
    SinClave,
    /// Se le pidió la clave y cerró: o no sabe qué es, como un nodo de la guía, o se fue.
    SinSaludo,
    /// Su clave no es la nuestra.
    OtraClave,
    /// Lo recibido no lo cifró quien tiene la clave, o no es lo siguiente que mandó.
    Alterado,
    /// No falló: se puso una falla a propósito, y dice cuál.
    Provocada(&'static str),
    /// Otro error del sistema.
    Sistema(io::Error),
}

impl FalloRed {
    /// Lo que se dice si es cosa de la clave de `quien`; si no, nada.
    pub fn de_clave(&self, quien: SocketAddr) -> Option<String> {
        match self {
            FalloRed::OtraClave => Some(format!("la clave de {quien} no es la nuestra")),
            FalloRed::SinClave | FalloRed::SinSaludo => Some(format!("{quien} {self}")),
            _ => None,
        }
    }
}

impl fmt::Display for FalloRed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FalloRed::Cerrada => f.write_str("cerró la conexión sin contestar"),
            FalloRed::Vencio(que) => write!(f, "se acabó el plazo esperando {que}"),
            FalloRed::LineaLarga => f.write_str("mandó una línea de más de 4096 bytes"),
            FalloRed::NoEsTexto => f.write_str("mandó una línea que no es texto UTF-8"),
            FalloRed::Cortada => f.write_str("se cortó a la mitad"),
            FalloRed::SinClave => f.write_str("no tiene clave, y este nodo no habla en claro"),
            FalloRed::SinSaludo => f.write_str(
                "cerró cuando se le pidió la clave: o es un nodo de la guía, que no tiene, o se \
                 fue",
            ),
            FalloRed::OtraClave => f.write_str("su clave no es la nuestra"),
            FalloRed::Alterado => f.write_str("lo que llegó no lo cifró quien tiene la clave"),
            FalloRed::Provocada(falla) => write!(f, "falla puesta a propósito: {falla}"),
            FalloRed::Sistema(error) => f.write_str(&motivo(error)),
        }
    }
}

/// Lo que se espera mientras se conecta: ni siquiera se llegó.
pub const LA_CONEXION: &str = "la conexión";

/// Un socket con plazos, líneas con tope y registro.
pub struct Conexion {
    socket: Arc<TcpStream>,
    otro: SocketAddr,
    limites: Limites,
    /// Lo recibido que aún no se ha consumido es `recibido[consumido..]`.
    recibido: Vec<u8>,
    consumido: usize,
    plazo_puesto: Option<Duration>,
    /// Cuándo tiene que haber salido todo lo que se está mandando, si tiene un plazo en total.
    limite_de_envio: Option<Instant>,
    /// Quien la mira, si hay alguien.
    ojo: Option<Box<dyn Ojo>>,
    /// De lo siguiente que se mande, cuántos bytes son una línea ya contada y no datos.
    anunciados: usize,
    /// Lo pendiente, que quien está en la puerta ya leyó: la siguiente lectura lo vuelve a dar.
    por_dar: bool,
    /// Con qué se cifra, si los dos tienen la clave de la clase.
    cifrado: Option<Cifrado>,
    /// Se cortó a propósito: lo que ya salió tiene que llegar.
    a_proposito: bool,
    /// Está apuntada en una parada mientras vive.
    apuntada: Option<Apuntado>,
}

/// Un socket que abrimos nosotros.
pub struct Abierta {
    /// El socket, ya conectado.
    pub socket: Arc<TcpStream>,
    /// Mientras viva, la parada puede cortarlo.
    pub apuntada: Apuntado,
    /// Quien lo mira, si hay alguien.
    pub ojo: Option<Box<dyn Ojo>>,
}

/// Se conecta a `otro` en menos de `plazo`. El socket está apuntado en `parada` desde antes de
/// empezar: al cortarla, ni conectarse ni leer esperan más.
pub fn conectar(
    otro: SocketAddr,
    plazo: Duration,
    testigo: &Testigo,
    parada: &Parada,
) -> io::Result<Abierta> {
    let socket = Socket::new(Domain::for_address(otro), Type::STREAM, Some(Protocol::TCP))?;
    let socket = Arc::new(TcpStream::from(socket));
    let apuntada = parada.apuntar(&socket, Trato::Sigue);
    let mut ojo = testigo.empezar(otro, QuienLlama::Nosotros);
    let conectado = conectar_a_tiempo(&socket, otro, plazo, parada);
    if let Some(ojo) = &mut ojo {
        ojo.abierta(&socket, conectado.as_ref().err());
    }
    conectado.map(|()| Abierta {
        socket,
        apuntada,
        ojo,
    })
}

fn conectar_a_tiempo(
    socket: &TcpStream,
    otro: SocketAddr,
    plazo: Duration,
    parada: &Parada,
) -> io::Result<()> {
    let a_tiempo = || match parada.cortada() {
        true => Err(io::Error::from(io::ErrorKind::ConnectionAborted)),
        false => Ok(()),
    };
    // Antes de conectarse no hay nada que cortar, así que se mira a los dos lados.
    a_tiempo()?;
    let conectado = SockRef::from(socket).connect_timeout(&otro.into(), plazo);
    a_tiempo()?;
    conectado.map_err(|e| explicar(otro, e))?;
    // En la propia máquina, si nadie escucha en un puerto de los que el sistema da a los clientes,
    // TCP puede conectar un socket consigo mismo. Ahí no hay nadie.
    if socket.local_addr()? == otro {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    socket.set_nodelay(true)
}

impl Conexion {
    /// Envuelve una conexión que se acaba de aceptar.
    pub fn aceptada(socket: &Arc<TcpStream>, otro: SocketAddr, limites: &Limites) -> Conexion {
        let mut ojo = limites.testigo.empezar(otro, QuienLlama::ElOtro);
        if let Some(ojo) = &mut ojo {
            ojo.abierta(socket, None);
        }
        Conexion {
            ojo,
            ..Conexion::sin_testigo(socket, otro, limites)
        }
    }

    /// La misma, que lleva consigo su apunte en la parada del servidor.
    pub fn apuntada(self, apunte: Apuntado) -> Conexion {
        Conexion {
            apuntada: Some(apunte),
            ..self
        }
    }

    /// Su apunte en la parada, si lo lleva.
    pub fn apunte(&self) -> Option<&Apuntado> {
        self.apuntada.as_ref()
    }

    /// Envuelve un socket que ya mira otro, o que no hace falta mirar.
    pub fn sin_testigo(socket: &Arc<TcpStream>, otro: SocketAddr, limites: &Limites) -> Conexion {
        Conexion {
            socket: Arc::clone(socket),
            otro,
            limites: limites.clone(),
            recibido: Vec::new(),
            consumido: 0,
            plazo_puesto: None,
            limite_de_envio: None,
            ojo: None,
            anunciados: 0,
            por_dar: false,
            cifrado: None,
            a_proposito: false,
            apuntada: None,
        }
    }

    /// Se conecta a `otro` en menos de `plazo`, y si hay clave se saludan con ella; al cortar la
    /// `parada` se corta.
    pub fn conectar(
        otro: SocketAddr,
        plazo: Duration,
        limites: &Limites,
        parada: &Parada,
    ) -> Result<Conexion, FalloRed> {
        if plazo.is_zero() {
            return Err(FalloRed::Vencio(LA_CONEXION));
        }
        let limite = Instant::now() + plazo;
        let abierta = conectar(otro, plazo, &limites.testigo, parada);
        let abierta = abierta.map_err(|e| match e.kind() {
            _ if NoLlega::en(&e).is_some() => FalloRed::Sistema(e),
            io::ErrorKind::TimedOut => FalloRed::Vencio(LA_CONEXION),
            _ => clasificar(e, LA_CONEXION),
        })?;
        let mut conexion = Conexion {
            ojo: abierta.ojo,
            apuntada: Some(abierta.apuntada),
            ..Conexion::sin_testigo(&abierta.socket, otro, limites)
        };
        if let Some(clave) = &limites.clave {
            conexion.pedir_cifrado(clave, limite)?;
        }
        Ok(conexion)
    }

    /// Otra conexión sobre el mismo socket, que se lleva lo recibido y aún sin consumir.
    pub fn ceder(&mut self) -> Conexion {
        Conexion {
            recibido: std::mem::take(&mut self.recibido),
            consumido: std::mem::take(&mut self.consumido),
            ojo: self.ojo.take(),
            cifrado: self.cifrado.take(),
            ..Conexion::sin_testigo(&self.socket, self.otro, &self.limites)
        }
    }

    /// Con quién se habla.
    pub fn otro(&self) -> SocketAddr {
        self.otro
    }

    /// Los límites con que se habla.
    pub fn limites(&self) -> &Limites {
        &self.limites
    }

    /// El socket, para quien necesite poder cerrarlo desde otro hilo.
    pub fn socket(&self) -> &Arc<TcpStream> {
        &self.socket
    }

    /// Lo que ya llegó y nadie ha consumido.
    pub fn pendiente(&self) -> &[u8] {
        &self.recibido[self.consumido..]
    }

    /// Da por consumidos `cuantos` bytes de [`Conexion::pendiente`].
    pub fn consumir(&mut self, cuantos: usize) {
        self.consumido += cuantos.min(self.pendiente().len());
    }

    /// Deja lo pendiente como si no se hubiera leído: para quien siga, su primera lectura lo da.
    pub fn devolver_lo_leido(&mut self) {
        self.por_dar = true;
    }

    /// Una lectura del socket (un `recv`), que se añade a lo pendiente. Cuántos bytes llegaron; 0
    /// es el fin.
    ///
    /// # Errores
    /// No llegó nada antes de `limite` (se esperaba `que`), o falló el socket.
    pub fn recibir(&mut self, limite: Instant, que: &'static str) -> Result<usize, FalloRed> {
        if std::mem::take(&mut self.por_dar) && !self.pendiente().is_empty() {
            return Ok(self.pendiente().len());
        }
        if self.cifrado.is_some() {
            return self.recibir_cifrado(limite, que);
        }
        // Lo consumido se suelta siempre: quien manda líneas sin parar, y cada lectura le acaba a
        // media línea, no hace crecer el búfer.
        self.recibido.drain(..self.consumido);
        self.consumido = 0;
        if self.recibido.capacity() == 0 {
            // Una conexión ociosa no gasta búfer: se reserva cuando ya hay algo que leer.
            self.esperar(limite, que, |socket| socket.peek(&mut [0]))?;
        }
        let mut recibido = std::mem::take(&mut self.recibido);
        let antes = recibido.len();
        recibido.resize(antes + LECTURA, 0);
        let leido = self.esperar(limite, que, |mut s| s.read(&mut recibido[antes..]));
        recibido.truncate(antes + *leido.as_ref().unwrap_or(&0));
        self.recibido = recibido;
        leido
    }

    /// Hace una lectura, con lo que queda hasta `limite` como plazo.
    fn esperar(
        &mut self,
        limite: Instant,
        que: &'static str,
        mut leer: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> Result<usize, FalloRed> {
        loop {
            self.poner_plazo(limite, que)?;
            match leer(&self.socket) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted || vencio(&e) => {}
                leido => return leido.map_err(|e| clasificar(e, que)),
            }
        }
    }

    /// Pone en el socket el plazo que queda hasta `limite` (si ya es el que tiene, no molesta al
    /// sistema).
    fn poner_plazo(&mut self, limite: Instant, que: &'static str) -> Result<(), FalloRed> {
        let falta = limite.saturating_duration_since(Instant::now());
        if falta.is_zero() {
            return Err(FalloRed::Vencio(que));
        }
        // Redondear a décimas ahorra una llamada al sistema en casi todas las lecturas.
        let decimas = Duration::from_millis((falta.as_millis() as u64 / 100 + 1) * 100);
        let corta = falta < UN_SEGUNDO;
        let falta = if corta { falta } else { decimas }.min(REBANADA);
        if self.plazo_puesto != Some(falta) {
            let puesto = self.socket.set_read_timeout(Some(falta));
            puesto.map_err(FalloRed::Sistema)?;
            self.plazo_puesto = Some(falta);
        }
        Ok(())
    }

    /// Lee una línea sin su final (`\n` o `\r\n`), entera antes de `plazo` en total, por mucho que
    /// gotee. `None` si el otro cerró sin empezarla. El fin de la conexión también acaba una línea.
    ///
    /// # Errores
    /// Pasó del tope, venció el plazo, no es UTF-8 o falló el socket.
    pub fn leer_linea(
        &mut self,
        plazo: Duration,
        que: &'static str,
    ) -> Result<Option<String>, FalloRed> {
        let limite = Instant::now() + plazo;
        let mut mirados = 0;
        let largo = loop {
            if let Some(donde) = self.pendiente()[mirados..].iter().position(|&b| b == b'\n') {
                break mirados + donde;
            }
            mirados = self.pendiente().len();
            if mirados >= self.limites.linea {
                return Err(FalloRed::LineaLarga);
            }
            match self.recibir(limite, que) {
                Ok(0) if mirados == 0 => return Ok(None),
                // Cifrado no: ese fin pudo ponerlo cualquiera.
                Ok(0) if self.cifrado.is_some() => return Err(FalloRed::Cortada),
                Ok(0) => break mirados,
                Ok(_) => {}
                // Un RST antes del primer byte es otra manera de cerrar sin contestar.
                Err(FalloRed::Cortada) if mirados == 0 && self.nada_a_medias() => return Ok(None),
                Err(fallo) => return Err(fallo),
            }
        };
        if largo >= self.limites.linea {
            return Err(FalloRed::LineaLarga);
        }
        self.sacar_linea(largo).map(Some)
    }

    fn sacar_linea(&mut self, largo: usize) -> Result<String, FalloRed> {
        let linea = &self.pendiente()[..largo];
        let linea = String::from_utf8_lossy(linea.strip_suffix(b"\r").unwrap_or(linea));
        let es_texto = matches!(linea, Cow::Borrowed(_));
        let linea = linea.into_owned();
        self.consumir(largo + 1);
        // Lo que no se entiende también llegó, y quien mira lo quiere ver.
        self.anotar(&linea, largo + 1);
        es_texto.then_some(linea).ok_or(FalloRed::NoEsTexto)
    }

    /// Anota una línea del protocolo que se recibió de otra manera que con
    /// [`Conexion::leer_linea`]: las de la guía, que no tienen final, y las de HTTP.
    pub fn anotar(&mut self, linea: &str, bytes: usize) {
        debug!("← {} {}", self.otro, limpiar(linea));
        if let Some(ojo) = &mut self.ojo {
            ojo.recibida(linea, bytes);
        }
    }

    /// Anota datos que se recibieron de otra manera que con [`Conexion::leer_datos`].
    pub fn anotar_datos(&mut self, bytes: usize) {
        if let Some(ojo) = &mut self.ojo {
            ojo.recibidos(bytes);
        }
    }

    /// Lee en `destino` lo que haya: primero lo pendiente, luego una lectura del socket. 0 es el
    /// fin.
    pub fn leer_datos(&mut self, destino: &mut [u8], plazo: Duration) -> Result<usize, FalloRed> {
        let pendiente = self.pendiente();
        let leidos = match pendiente.len().min(destino.len()) {
            0 if self.cifrado.is_some() => self.leer_cifrado(destino, Instant::now() + plazo)?,
            0 => self.esperar(Instant::now() + plazo, "datos", |mut s| s.read(destino))?,
            cuantos => {
                destino[..cuantos].copy_from_slice(&pendiente[..cuantos]);
                self.consumir(cuantos);
                cuantos
            }
        };
        self.anotar_datos(leidos);
        Ok(leidos)
    }

    /// Escribe una línea del protocolo: `linea` y `\n`, en un solo `write`.
    pub fn escribir_linea(&mut self, linea: impl fmt::Display) -> Result<(), FalloRed> {
        self.escribir_texto(&format!("{linea}\n"))
    }

    /// Escribe `texto` tal cual, sin fin de línea (las palabras de la guía no lo llevan), en un
    /// solo `write`. Cifrado sí: ahí no hay nadie que lo estorbe, y una lectura ya no es un
    /// mensaje.
    pub fn escribir_texto(&mut self, texto: &str) -> Result<(), FalloRed> {
        self.anunciar(texto, 0)?;
        let falta_el_fin = !texto.is_empty() && !texto.ends_with('\n');
        match self.cifrado.is_some() && falta_el_fin {
            true => self.mandar(format!("{texto}\n").as_bytes()),
            false => self.mandar(texto.as_bytes()),
        }
    }

    /// Anota lo que se va a mandar: una o varias líneas, que son los primeros `bytes` de los datos
    /// que se escriban después (0 si no van con ellos).
    pub fn anunciar(&mut self, lineas: &str, bytes: usize) -> Result<(), FalloRed> {
        for linea in lineas.lines() {
            debug!("→ {} {}", self.otro, limpiar(linea));
        }
        self.anunciados = bytes;
        match &mut self.ojo {
            Some(ojo) => ojo
                .por_enviar(lineas, bytes)
                .map_err(|falla| self.cortar(falla)),
            None => Ok(()),
        }
    }

    /// Cierra por una `falla` puesta a propósito. Sin prisa: cortar de golpe se llevaría lo que va
    /// de camino, que unas veces sería más y otras menos, y las fallas se tienen que poder repetir.
    fn cortar(&mut self, falla: &'static str) -> FalloRed {
        self.a_proposito = true;
        self.cerrar_con_calma(DESPEDIDA_A_PROPOSITO);
        FalloRed::Provocada(falla)
    }

    /// Escribe `datos` enteros. No se anotan uno a uno: sólo las palabras.
    pub fn escribir_datos(&mut self, datos: &[u8]) -> Result<(), FalloRed> {
        let lineas = std::mem::take(&mut self.anunciados);
        let lineas = &datos[..lineas.min(datos.len())];
        let por_enviar = &datos[lineas.len()..];
        let ojo = self.ojo.as_mut();
        match ojo.and_then(|ojo| ojo.datos_por_enviar(por_enviar)) {
            None => self.mandar(datos),
            Some((estropeados, sigue)) => {
                let salen = [lineas, &estropeados].concat();
                match sigue {
                    // Cortar va después de cifrar: se corta lo cifrado, a mitad de un mensaje.
                    Err(_) if self.cifrado.is_some() => self.mandar_cifrado(&salen, salen.len())?,
                    _ => self.mandar(&salen)?,
                }
                sigue.map_err(|falla| self.cortar(falla))
            }
        }
    }

    fn mandar(&mut self, bytes: &[u8]) -> Result<(), FalloRed> {
        match self.cifrado.is_some() {
            true => self.mandar_cifrado(bytes, usize::MAX),
            false => self.mandar_en_claro(bytes),
        }
    }

    fn mandar_en_claro(&mut self, bytes: &[u8]) -> Result<(), FalloRed> {
        let trozo = self
            .ojo
            .as_ref()
            .map_or(ESCRITURA, |ojo| ojo.trozo().min(ESCRITURA));
        let mut falta = bytes;
        let mut avance = Instant::now();
        while !falta.is_empty() {
            match (&*self.socket).write(&falta[..falta.len().min(trozo)]) {
                Ok(0) => return Err(FalloRed::Cortada),
                Ok(escrito) => {
                    falta = &falta[escrito..];
                    avance = Instant::now();
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if vencio(&e) && avance.elapsed() < self.limites.escribir => {}
                Err(e) => return Err(clasificar(e, "que el otro reciba")),
            }
            let limite = self.limite_de_envio.filter(|_| !falta.is_empty());
            if limite.is_some_and(|limite| Instant::now() >= limite) {
                return Err(FalloRed::Vencio("que el otro lo reciba todo"));
            }
        }
        Ok(())
    }

    /// Lo que se mande desde ahora tiene `plazo` en total, además de avanzar: quien lee a
    /// cucharadas no retiene para siempre una respuesta grande.
    pub fn limitar_envio(&mut self, plazo: Duration) {
        self.limite_de_envio = Some(Instant::now() + plazo);
    }

    /// Lo que se mande desde ahora sólo tiene que avanzar.
    pub fn sin_limite_de_envio(&mut self) {
        self.limite_de_envio = None;
    }

    /// Pone el plazo de escritura. Se llama antes de mandar algo que puede no caber en el búfer del
    /// sistema: una respuesta corta siempre cabe, y se ahorra la llamada.
    ///
    /// El del sistema es más corto que [`Limites::escribir`]: un `write` al que se le acaba cuenta
    /// como avance lo que aceptó al principio, y sin mirar más a menudo el plazo volvería a empezar
    /// entero.
    pub fn prepararse_a_enviar(&mut self) -> Result<(), FalloRed> {
        let plazo = self.limites.escribir / PARTES_DE_ESCRIBIR;
        let puesto = self.socket.set_write_timeout(Some(plazo));
        puesto.map_err(FalloRed::Sistema)
    }

    /// Hace que al cerrar el otro reciba un error (RST) y no un final normal: la única manera de
    /// decir «esto no está completo» a quien no sabe la longitud. Si se cortó a propósito, no.
    pub fn cerrar_con_error(&self) {
        if self.a_proposito {
            return;
        }
        if let Err(error) = SockRef::from(&*self.socket).set_linger(Some(Duration::ZERO)) {
            debug!("cerrando con error a {}: {error}", self.otro);
        }
    }

    /// Manda el FIN y, antes de que se suelte el socket, lee y tira lo que el otro siga mandando,
    /// hasta su fin, hasta `plazo` o hasta `TOPE_DE_DESPEDIDA`. Cerrar con datos sin leer manda un
    /// RST, y el otro puede perder la última respuesta antes de verla.
    pub fn cerrar_con_calma(&mut self, plazo: Duration) {
        let limite = Instant::now() + plazo;
        if self.socket.shutdown(Shutdown::Write).is_err() {
            return; // Ya no hay conexión que cerrar.
        }
        let mut tirado = 0;
        while tirado < TOPE_DE_DESPEDIDA {
            self.consumir(self.recibido.len());
            match self.recibir(limite, "que el otro cierre") {
                Ok(0) | Err(_) => return,
                Ok(cuantos) => tirado += cuantos,
            }
        }
    }
}

/// ¿Venció el plazo puesto en el socket? En Unix es `WouldBlock`: ahí `TimedOut` es el sistema, que
/// se cansó de que el otro no conteste. En Windows `TimedOut` es las dos cosas.
pub fn vencio(error: &io::Error) -> bool {
    match error.kind() {
        io::ErrorKind::TimedOut => cfg!(windows),
        io::ErrorKind::WouldBlock => cfg!(not(windows)),
        _ => false,
    }
}

fn clasificar(error: io::Error, que: &'static str) -> FalloRed {
    use io::ErrorKind as Clase;
    match error.kind() {
        _ if vencio(&error) => FalloRed::Vencio(que),
        Clase::ConnectionReset | Clase::ConnectionAborted | Clase::BrokenPipe => FalloRed::Cortada,
        _ => FalloRed::Sistema(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::red::maquina::aceptar;
    use std::net::TcpListener;
    use std::thread;

    fn pareja() -> (Conexion, TcpStream) {
        let escucha = TcpListener::bind("127.0.0.1:0").unwrap();
        let direccion = escucha.local_addr().unwrap();
        let nuestra = Conexion::conectar(
            direccion,
            Duration::from_secs(2),
            &Limites::default(),
            &Parada::nueva(),
        )
        .unwrap();
        (nuestra, aceptar(&escucha).unwrap().0)
    }

    const PLAZO: Duration = Duration::from_secs(5);

    #[test]
    fn cortar_despierta_a_quien_lee_y_a_quien_se_conecta() {
        let (parada, escucha) = (Parada::nueva(), TcpListener::bind("127.0.0.1:0").unwrap());
        let mudo = escucha.local_addr().unwrap();
        // Una IP de los ejemplos: no hay nadie que conteste, ni que rechace.
        let nadie: SocketAddr = "192.0.2.1:9".parse().unwrap();
        let limites = Limites::default();
        let antes = Instant::now();
        thread::scope(|ambito| {
            let lee = ambito.spawn(|| {
                let conexion = Conexion::conectar(mudo, PLAZO, &limites, &parada);
                conexion.and_then(|mut conexion| conexion.leer_linea(PLAZO * 12, "una línea"))
            });
            let _suya = aceptar(&escucha).unwrap();
            let conecta =
                ambito.spawn(|| Conexion::conectar(nadie, PLAZO, &limites, &parada).err());
            parada.cortar();
            assert!(!matches!(lee.join().unwrap(), Ok(Some(_))));
            assert!(conecta.join().unwrap().is_some());
        });
        assert!(antes.elapsed() < PLAZO, "{:?}", antes.elapsed());
        let tarde = Conexion::conectar(mudo, PLAZO, &limites, &parada);
        assert!(matches!(tarde.err(), Some(FalloRed::Cortada)));
    }

    #[test]
    fn lo_que_no_avanza_se_corta_y_lo_que_avanza_despacio_no() {
        let con_prisa = |(mut nuestra, suya): (Conexion, TcpStream)| {
            nuestra.limites.escribir = Duration::from_millis(900);
            nuestra.prepararse_a_enviar().unwrap();
            (nuestra, suya)
        };
        let mucho = vec![0; 32 << 20];
        // No lee nada: un `write` a medias no vuelve a empezar el plazo.
        let (mut nuestra, _sorda) = con_prisa(pareja());
        let antes = Instant::now();
        let fallo = nuestra.escribir_datos(&mucho);
        assert!(matches!(fallo, Err(FalloRed::Vencio(_))), "{fallo:?}");
        assert!(
            antes.elapsed() < Duration::from_millis(1800),
            "{:?}",
            antes.elapsed()
        );
        // Lee un poco cada vez, durante más que el plazo: llega entero.
        let (mut nuestra, mut lenta) = con_prisa(pareja());
        let leer = thread::spawn(move || {
            let (mut bufer, mut leidos) = (vec![0; 4 << 20], 0);
            while let Ok(n @ 1..) = lenta.read(&mut bufer) {
                leidos += n;
                thread::sleep(Duration::from_millis(100));
            }
            leidos
        });
        nuestra.escribir_datos(&mucho).unwrap();
        // Con plazo en total, en cambio, no basta con avanzar.
        nuestra.limitar_envio(Duration::ZERO);
        assert!(matches!(
            nuestra.escribir_datos(&mucho),
            Err(FalloRed::Vencio(_))
        ));
        drop(nuestra);
        assert!(leer.join().unwrap() >= mucho.len());
    }

    #[test]
    fn conectarse_con_uno_mismo_no_es_encontrar_a_nadie() {
        // El sistema da a un cliente un puerto de los suyos; si es el mismo al que llama, TCP se
        // conecta consigo. Se le obliga enlazando el socket antes.
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
        socket
            .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .unwrap();
        let yo = socket.local_addr().unwrap().as_socket().unwrap();
        assert!(socket.connect(&yo.into()).is_ok(), "TCP lo permite");
        drop(socket);
        let parada = Parada::nueva();
        // Nadie escucha ahí: conecte o no conecte consigo mismo, es un rechazo.
        assert!(Conexion::conectar(yo, PLAZO, &Limites::default(), &parada).is_err());
    }

    #[test]
    fn lineas_partidas_y_varias_en_un_paquete() {
        let (mut nuestra, mut suya) = pareja();
        let escritor = thread::spawn(move || {
            for letra in "HOLA:1:ñu\r\nLISTAR\nresto".bytes() {
                suya.write_all(&[letra]).unwrap();
            }
        });
        let mut leer = || nuestra.leer_linea(PLAZO, "una línea").unwrap();
        assert_eq!(leer().as_deref(), Some("HOLA:1:ñu"));
        assert_eq!(leer().as_deref(), Some("LISTAR"));
        assert_eq!(
            leer().as_deref(),
            Some("resto"),
            "el fin también acaba una línea"
        );
        assert_eq!(leer(), None);
        escritor.join().unwrap();
    }

    #[test]
    fn el_plazo_de_una_linea_es_total_aunque_gotee() {
        let (mut nuestra, mut suya) = pareja();
        let goteo = thread::spawn(move || {
            while suya.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(30));
            }
        });
        let antes = Instant::now();
        let leida = nuestra.leer_linea(Duration::from_millis(300), "una línea");
        assert!(matches!(leida, Err(FalloRed::Vencio(_))), "{leida:?}");
        assert!(antes.elapsed() < Duration::from_secs(2));
        drop(nuestra);
        goteo.join().unwrap();
    }

    #[test]
    fn cansarse_de_que_no_contesten_no_es_un_plazo() {
        let del_plazo = pareja()
            .0
            .leer_linea(Duration::from_millis(10), "una línea");
        assert!(matches!(del_plazo, Err(FalloRed::Vencio(_))));
        #[cfg(unix)]
        for clase in [io::ErrorKind::TimedOut, io::ErrorKind::HostUnreachable] {
            let fallo = clasificar(clase.into(), "una línea");
            assert!(matches!(fallo, FalloRed::Sistema(_)), "{fallo:?}");
        }
    }

    #[test]
    fn una_linea_sin_fin_se_corta_en_el_tope() {
        let (mut nuestra, mut suya) = pareja();
        let escritor = thread::spawn(move || drop(suya.write_all(&vec![b'x'; 1 << 20])));
        assert!(matches!(
            nuestra.leer_linea(PLAZO, "una línea"),
            Err(FalloRed::LineaLarga)
        ));
        assert!(nuestra.recibido.capacity() < 64 * 1024);
        drop(nuestra);
        escritor.join().unwrap();
    }

    #[test]
    fn muchas_lineas_seguidas_no_hacen_crecer_el_bufer() {
        let (mut nuestra, mut suya) = pareja();
        // 4093 bytes por línea: ninguna lectura acaba justo al final de una.
        let linea = format!("{}\n", "x".repeat(4092));
        let escritor = thread::spawn(move || {
            for _ in 0..500 {
                suya.write_all(linea.as_bytes()).unwrap();
            }
        });
        for _ in 0..500 {
            assert!(nuestra.leer_linea(PLAZO, "una línea").unwrap().is_some());
            assert!(nuestra.recibido.capacity() < 64 * 1024);
        }
        escritor.join().unwrap();
    }

    #[test]
    fn cerrar_con_error_no_parece_un_final() {
        let (nuestra, mut suya) = pareja();
        nuestra.cerrar_con_error();
        drop(nuestra);
        assert!(suya.read(&mut [0; 8]).is_err() || crate::wine::se_pierde_el_rst());
    }

    #[test]
    fn cerrar_con_calma_no_le_quita_la_respuesta_a_quien_sigue_mandando() {
        let (mut nuestra, mut suya) = pareja();
        suya.write_all(&vec![b'x'; 100_000]).unwrap();
        nuestra.escribir_texto("respuesta").unwrap();
        let cierre = thread::spawn(move || nuestra.cerrar_con_calma(PLAZO));
        let _ = suya.write_all(&vec![b'x'; 100_000]);
        suya.shutdown(Shutdown::Write).unwrap();
        let mut respuesta = String::new();
        suya.read_to_string(&mut respuesta).unwrap();
        assert_eq!(respuesta, "respuesta");
        cierre.join().unwrap();
    }

    #[test]
    fn los_datos_que_siguen_a_una_linea_no_se_pierden() {
        let (mut nuestra, mut suya) = pareja();
        suya.write_all(b"OK:5\nabcde").unwrap();
        suya.shutdown(Shutdown::Write).unwrap();
        assert_eq!(
            nuestra.leer_linea(PLAZO, "una línea").unwrap().as_deref(),
            Some("OK:5")
        );
        let mut datos = Vec::new();
        let mut trozo = [0; 3];
        loop {
            match nuestra.leer_datos(&mut trozo, PLAZO).unwrap() {
                0 => break,
                n => datos.extend_from_slice(&trozo[..n]),
            }
        }
        assert_eq!(datos, b"abcde");
    }
}
