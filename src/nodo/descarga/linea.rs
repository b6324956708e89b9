//! Una línea con una fuente: la conexión de una descarga, que se vuelve a abrir si hace falta, y lo
//! que se pide por ella: `INFO`, `BLOQUES`, `TENGO` y `OBTENER`.
//!
//! Quien sirve cierra las conexiones ociosas. Por eso una ya usada que se cierra antes del primer
//! byte de la respuesta se abre otra vez, una: no es culpa de la fuente. La de un envío no se puede
//! reabrir, porque la abrió el otro. Lo que la fuente diga se comprueba aquí, según llega: ni la
//! lista de bloques ni un bloque salen de este archivo sin que su huella sea la que toca.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::config::Limites;
use crate::nodo::carpeta::huella::{
    BLOQUE, Cuenta, Huella, cuantos_bloques, juntar, longitud_de_bloque,
};
use crate::nodo::descarga::bandeja::Bandeja;
use crate::nodo::descarga::plan::{Contenido, Plan};
use crate::nodo::palabras::pedir::{
    FalloPar, leer_lineas, leer_respuesta, mandar, no_es_respuesta, pedir,
};
use crate::nodo::palabras::protocolo::{Existencias, Info, Palabra, Respuesta};
use crate::nodo::palabras::tramos::Tramos;
use crate::red::conexion::{Conexion, FalloRed};
use crate::red::parada::Parada;

/// Lo que se espera un `INFO` antes de decir que tarda: o es la red, o calcula la huella.
const TARDA: Duration = Duration::from_secs(1);
/// Lo que puede tardar entera la lista de bloques, que para 1 TiB son 16 MiB: mientras llega, no se
/// baja nada de esa fuente.
const PLAZO_DE_BLOQUES: Duration = Duration::from_secs(15);
/// Lo que se espera a que otro bloque deje sitio en memoria: quien lo retiene va demasiado despacio
/// antes de que pase.
const ESPERA_DE_BANDEJA: Duration = Duration::from_secs(60);
/// Bytes por segundo que tiene que dar quien manda un archivo. Con 30 que bajan a la vez por dos
/// conexiones son 4 Mbit/s, que los da la peor WiFi; y a menos, un bloque tardaría diez minutos.
const RITMO_MINIMO: f64 = 8.0 * 1024.0;
/// Cada cuántos bytes recibidos se avanza la cuenta de la huella, con los datos aún en la caché del
/// procesador.
const TRAMO: usize = 128 * 1024;
/// Bytes de una línea de `TENGO` desde los que puede que no cupieran todos los tramos.
const LINEA_LLENA: usize = 2048;
/// Respuestas tras las que se ve que el otro no cierra después de cada una.
const AGUANTA: u32 = 2;

/// La conexión con una fuente.
pub struct Linea<'a> {
    /// Con quién.
    pub direccion: SocketAddr,
    limites: Limites,
    parada: &'a Parada,
    conexion: Option<Conexion>,
    /// Las que dio la conexión que está abierta.
    respuestas: u32,
    /// Los bloques que se le han pedido a esa conexión.
    bloques_pedidos: u32,
    /// Y los que dio.
    bloques_dados: u32,
    /// ¿La abrió el otro?
    pub prestada: bool,
}

impl<'a> Linea<'a> {
    /// Una línea que se abrirá al usarla, y se corta con la `parada`.
    pub fn por_abrir(direccion: SocketAddr, limites: &Limites, parada: &'a Parada) -> Linea<'a> {
        Linea {
            direccion,
            limites: limites.clone(),
            parada,
            conexion: None,
            respuestas: 0,
            bloques_pedidos: 0,
            bloques_dados: 0,
            prestada: false,
        }
    }

    /// Una línea sobre una conexión que abrió el otro (un envío): la corta quien la aceptó.
    pub fn prestada(conexion: Conexion, parada: &'a Parada) -> Linea<'a> {
        let linea = Linea::por_abrir(conexion.otro(), conexion.limites(), parada);
        Linea {
            conexion: Some(conexion),
            prestada: true,
            ..linea
        }
    }

    /// Otra línea con la misma fuente. `None` si no se puede abrir otra.
    pub fn otra(&self) -> Option<Linea<'a>> {
        (!self.prestada).then(|| Linea::por_abrir(self.direccion, &self.limites, self.parada))
    }

    /// Devuelve la conexión, si la hay.
    pub fn colgar(self) -> Option<Conexion> {
        self.conexion
    }

    /// ¿Se le puede pedir algo antes de que conteste a lo anterior? A quien cierra tras cada
    /// respuesta no: perdería las dos. Y de quien aún no dio ninguno, de uno en uno: que el segundo
    /// se lo lleve otra conexión.
    pub fn aguanta_dos(&self) -> bool {
        self.respuestas >= AGUANTA && (self.prestada || self.bloques_dados > 0)
    }

    /// Se cerró sin contestar: si ya se había usado, la suelta para abrir otra. Falso si no se
    /// puede.
    pub fn soltar(&mut self) -> bool {
        let se_puede = self.respuestas > 0 && !self.prestada;
        if se_puede {
            self.romper();
        }
        se_puede
    }

    /// La suelta, rota: la próxima vez se abre otra. ¿Estaba abierta, y no dio nada que valiera?
    /// La que no llegó a abrirse no dice nada de la fuente.
    pub fn romper(&mut self) -> bool {
        let en_vano = self.bloques_pedidos > 0 || self.respuestas == 0;
        (self.respuestas, self.bloques_pedidos, self.bloques_dados) = (0, 0, 0);
        self.conexion.take().is_some() && en_vano
    }

    /// `INFO`: tamaño y huella. Si no contesta enseguida, llama a `tarda` y sigue esperando.
    pub fn pedir_info(&mut self, nombre: &str, tarda: impl Fn()) -> Result<Info, FalloPar> {
        self.preguntar(|conexion| {
            mandar(conexion, &Palabra::Info(nombre.to_string()))?;
            let enseguida = conexion.recibir(Instant::now() + TARDA, "la respuesta");
            if matches!(enseguida, Err(FalloRed::Vencio(_))) {
                tarda();
            }
            match leer_respuesta(conexion)? {
                Respuesta::Info(info) => Ok(info),
                _ => Err(no_es_respuesta()),
            }
        })
    }

    /// `BLOQUES`: las huellas de los bloques, que tienen que sumar la que anunció. El número de
    /// líneas que anuncia tiene que ser el que toca, y la memoria crece con las que llegan.
    pub fn pedir_lista(&mut self, nombre: &str, de: Contenido) -> Result<Vec<Huella>, FalloPar> {
        let Contenido { tamano, huella } = de;
        let tocan = cuantos_bloques(tamano);
        let lista = self.preguntar(|conexion| {
            let peticion = Palabra::Bloques(nombre.to_string());
            let Respuesta::Bloques(anunciados) = pedir(conexion, &peticion)? else {
                return Err(no_es_respuesta());
            };
            if anunciados != tocan {
                return Err(FalloPar::Miente(format!(
                    "anuncia {anunciados} bloques y a un archivo de {tamano} bytes le tocan {tocan}"
                )));
            }
            let mut lista = Vec::new();
            leer_lineas(conexion, tocan, PLAZO_DE_BLOQUES, |linea| {
                let no_es = || FalloPar::Miente("su lista de bloques no son huellas".into());
                lista.push(Huella::leer(linea).ok_or_else(no_es)?);
                Ok(())
            })?;
            Ok(lista)
        })?;
        if juntar(&lista) == Some(huella) {
            return Ok(lista);
        }
        let que = "su lista de bloques no suma la huella que anunció";
        Err(FalloPar::Miente(que.into()))
    }

    /// Pide un bloque entero con `OBTENER`. Lo que conteste se lee con [`Linea::recibir_bloque`];
    /// antes se puede pedir otro.
    pub fn pedir_bloque(&mut self, nombre: &str, plan: &Plan, bloque: u64) -> Result<(), FalloPar> {
        let peticion = Palabra::Obtener {
            desde: bloque * BLOQUE,
            longitud: longitud_de_bloque(plan.contenido.tamano, bloque),
            nombre: nombre.to_string(),
        };
        self.bloques_pedidos += 1;
        mandar(self.abierta()?, &peticion)
    }

    /// Pregunta con `TENGO`, por su huella, qué bloques tiene desde ese. Lo que conteste se lee con
    /// [`Linea::recibir_existencias`].
    pub fn pedir_existencias(&mut self, plan: &Plan, desde: u64) -> Result<(), FalloPar> {
        let nombre = plan.contenido.huella.to_string();
        mandar(self.abierta()?, &Palabra::Tengo { desde, nombre })
    }

    /// Qué bloques tiene desde ese, y desde cuál hay que volver a preguntar, si no cabían todos.
    pub fn recibir_existencias(
        &mut self,
        plan: &Plan,
        desde: u64,
    ) -> Result<(Tramos, Option<u64>), FalloPar> {
        let contestado = match leer_respuesta(self.abierta()?) {
            Ok(Respuesta::Tengo(existencias)) => Some(existencias),
            // O no lo tiene, o aún no sabe que es ese.
            Err(FalloPar::NoLoTiene | FalloPar::Calculando) => None,
            Ok(_) => return Err(no_es_respuesta()),
            Err(fallo) => return Err(fallo),
        };
        self.respuestas += 1;
        let Some(existencias) = contestado else {
            return Ok((Tramos::default(), None));
        };
        let Contenido { tamano, huella } = plan.contenido;
        let Existencias { tramos, .. } = &existencias;
        let (cuantos, ultimo) = (cuantos_bloques(tamano), tramos.ultimo().unwrap_or_default());
        let suyo = (existencias.tamano, existencias.huella) == (tamano, huella);
        if !suyo || ultimo >= cuantos || tramos.bloques().next().is_some_and(|b| b < desde) {
            let que = "dice tener bloques que ese archivo no tiene";
            return Err(FalloPar::Miente(que.into()));
        }
        let llena = tramos.to_string().len() > LINEA_LLENA;
        Ok((
            existencias.tramos,
            (llena && ultimo + 1 < cuantos).then_some(ultimo + 1),
        ))
    }

    /// Recibe en una bandeja el bloque pedido, y comprueba su huella. Si se pidieron `mas` cosas,
    /// lo que le sobre a este es el principio de la respuesta siguiente.
    pub fn recibir_bloque<'p>(
        &mut self,
        plan: &'p Plan,
        bloque: u64,
        mas: bool,
    ) -> Result<Bandeja<'p>, FalloPar> {
        let tamano = plan.contenido.tamano;
        let pedidos = longitud_de_bloque(tamano, bloque) as usize;
        let parada = self.parada;
        let conexion = self.abierta()?;
        let Respuesta::Datos(anunciados) = leer_respuesta(conexion)? else {
            return Err(no_es_respuesta());
        };
        if anunciados != pedidos as u64 {
            let que = format!("se le pidieron {pedidos} bytes y anuncia {anunciados}");
            return Err(FalloPar::Miente(que));
        }
        // Sitio para un byte de más: si manda más de lo pedido, se nota en la misma lectura.
        let sin_sitio = FalloRed::Vencio("sitio donde recibir un bloque");
        let bandeja = plan.bandejas.tomar(ESPERA_DE_BANDEJA, parada);
        let mut bandeja = bandeja.ok_or(sin_sitio)?;
        bandeja.resize(pedidos + usize::from(!mas), 0);
        let (leidos, huella) = recibir_datos(conexion, &mut bandeja, tamano, bloque)?;
        bandeja.truncate(pedidos);
        if leidos > pedidos || (!mas && !conexion.pendiente().is_empty()) {
            let que = format!("mandó más de los {pedidos} bytes pedidos");
            return Err(FalloPar::Miente(que));
        }
        let buena = plan.lista().map(|lista| lista[bloque as usize]);
        if Some(huella) != buena {
            let que = format!("mandó un bloque falso (el {})", bloque + 1);
            return Err(FalloPar::Miente(que));
        }
        self.respuestas += 1;
        self.bloques_dados += 1;
        Ok(bandeja)
    }

    /// Hace una pregunta, otra vez si la conexión se había cerrado sola.
    fn preguntar<T>(
        &mut self,
        pregunta: impl Fn(&mut Conexion) -> Result<T, FalloPar>,
    ) -> Result<T, FalloPar> {
        let mut dicho = pregunta(self.abierta()?);
        if matches!(dicho, Err(FalloPar::Cerro)) && self.soltar() {
            dicho = pregunta(self.abierta()?);
        }
        if matches!(dicho, Ok(_) | Err(FalloPar::Calculando)) {
            self.respuestas += 1;
        }
        dicho
    }

    /// La conexión, abriéndola si hace falta.
    fn abierta(&mut self) -> Result<&mut Conexion, FalloPar> {
        match &mut self.conexion {
            Some(conexion) => Ok(conexion),
            vacia => {
                let (a, limites) = (self.direccion, &self.limites);
                let conexion = Conexion::conectar(a, limites.conectar, limites, self.parada)?;
                Ok(vacia.insert(conexion))
            }
        }
    }
}

/// Recibe en `destino` al menos los bytes de ese bloque, y cuenta su huella según llegan. Cuántos
/// llegaron, y la huella.
fn recibir_datos(
    conexion: &mut Conexion,
    destino: &mut [u8],
    tamano: u64,
    bloque: u64,
) -> Result<(usize, Huella), FalloPar> {
    let pedidos = longitud_de_bloque(tamano, bloque) as usize;
    let plazo = conexion.limites().respuesta;
    let mut ritmo = Ritmo::nuevo(conexion.limites().ventana);
    let mut cuenta = Cuenta::nueva(tamano, bloque);
    let (mut leidos, mut contados) = (0, 0);
    while leidos < pedidos {
        match conexion.leer_datos(&mut destino[leidos..], plazo)? {
            0 => return Err(FalloPar::Red(FalloRed::Cortada)),
            cuantos => leidos += cuantos,
        }
        ritmo.mirar(leidos as u64)?;
        if leidos - contados >= TRAMO && leidos < pedidos {
            cuenta.anadir(&destino[contados..leidos]);
            contados = leidos;
        }
    }
    cuenta.anadir(&destino[contados..pedidos]);
    Ok((leidos, cuenta.terminar()))
}

/// Mira que lo que llega no baje de un mínimo, sostenido durante una ventana: quien gotea un byte
/// de vez en cuando no vence ningún plazo, y retendría la descarga.
pub struct Ritmo {
    ventana: Duration,
    desde: Instant,
    antes: u64,
}

impl Ritmo {
    /// Empieza a mirar. Hasta que pase una ventana no se exige nada.
    pub fn nuevo(ventana: Duration) -> Ritmo {
        Ritmo {
            ventana,
            desde: Instant::now(),
            antes: 0,
        }
    }

    /// Han llegado `llegados` bytes en total.
    pub fn mirar(&mut self, llegados: u64) -> Result<(), FalloPar> {
        let lleva = self.desde.elapsed();
        if lleva < self.ventana {
            return Ok(());
        }
        if ((llegados - self.antes) as f64) < RITMO_MINIMO * lleva.as_secs_f64() {
            return Err(FalloPar::Lento);
        }
        (self.desde, self.antes) = (Instant::now(), llegados);
        Ok(())
    }
}
