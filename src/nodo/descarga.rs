//! El motor de las transferencias: de una fuente o de muchas, pidiendo o siendo invitado, es siempre este.
//!
//! El `descargar_archivo` de la guía no sabe la longitud, no comprueba, no reanuda y pisa lo que hubiera. Aquí:
//!
//! 1. a cada fuente se le pregunta `INFO`, en su hilo; se elige la huella que tengan más;
//! 2. una da la lista de `BLOQUES`, que tiene que sumar esa huella;
//! 3. lo que quedó de otra vez en el `.part` se comprueba, y lo que falta va a una cola;
//! 4. cada conexión saca un bloque, lo pide con `OBTENER`, lo comprueba y lo escribe en su sitio;
//! 5. cuando están todos, el archivo toma su nombre.
//!
//! Este archivo dirige: el hilo que llama reparte encargos y recibe partes. Lo que hace cada fuente está en
//! `fuente.rs`. Nadie escribe aquí en pantalla: los avisos van por [`Pedido::avisar`].

use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, after, never, select, unbounded};

use crate::conexion::Conexion;
use crate::config::Limites;
use crate::fallo::Fallo;
use crate::nodo::cancelacion::Cancelacion;
use crate::nodo::carpeta::Carpeta;
use crate::nodo::cliente::FalloPar;
use crate::nodo::cola::Cola;
use crate::nodo::fuente::{Encargo, Parte, Plan, atender_fuente};
use crate::nodo::guia::bajar_de_la_guia;
use crate::nodo::huella::{BLOQUE, Huella, Resumen, huella_de_bloque, longitud_de_bloque};
use crate::nodo::linea::{Linea, Sockets};
use crate::nodo::nombres::NombreRecibible;
use crate::nodo::progreso::{Fase, Progreso};
use crate::nodo::recepcion::{AMedias, NoSeRecibe};
use crate::texto::{cuenta, tamano as texto_tamano};

/// Con una huella ya en la mano, cuánto se espera a que contesten las demás fuentes antes de decidir.
const GRACIA: Duration = Duration::from_millis(300);

/// Qué se baja, a dónde y cómo se cuenta.
pub struct Pedido<'a> {
    /// El nombre con que se pide.
    pub nombre: &'a str,
    /// La carpeta en que se guarda.
    pub carpeta: &'a Carpeta,
    /// Plazos y topes.
    pub limites: Limites,
    /// Conexiones con cada fuente.
    pub conexiones: usize,
    /// Para dejarlo a medias.
    pub cancelacion: &'a Cancelacion,
    /// Por dónde va.
    pub progreso: &'a Progreso,
    /// Lo que conviene saber mientras tanto: una fuente retirada, que se reanuda…
    pub avisar: &'a (dyn Fn(String) + Sync),
}

/// Un archivo que ya está en la carpeta.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descargado {
    /// El nombre con que quedó.
    pub nombre: String,
    /// Bytes.
    pub tamano: u64,
    /// Bytes que hubo que pasar por la red.
    pub bajados: u64,
    /// Lo que tardó.
    pub tiempo: Duration,
    /// Cuántas fuentes dieron bloques.
    pub fuentes: usize,
    /// La huella del archivo.
    pub huella: Huella,
    /// ¿Se comprobó bloque a bloque? Con las palabras de la guía no hay con qué.
    pub comprobado: bool,
    /// ¿Ya se tenía, y no hizo falta bajarlo?
    pub ya_estaba: bool,
}

/// Por qué no se descargó.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoDescargado {
    /// Ninguna fuente lo tiene.
    NoEncontrado,
    /// Lo cancelaron; lo comprobado queda en el `.part`.
    Cancelado,
    /// No se pudo; la frase dice por qué y cómo seguir.
    Fallo(Fallo),
}

impl From<Fallo> for NoDescargado {
    fn from(fallo: Fallo) -> NoDescargado {
        NoDescargado::Fallo(fallo)
    }
}

impl fmt::Display for NoDescargado {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoDescargado::NoEncontrado => f.write_str("El archivo no está disponible."),
            NoDescargado::Cancelado => {
                f.write_str("descarga cancelada; lo ya comprobado queda guardado: vuelve a pedirlo y seguirá por donde iba")
            }
            NoDescargado::Fallo(fallo) => fallo.fmt(f),
        }
    }
}

/// Baja un archivo de las `fuentes` que lo den.
///
/// # Errores
/// Nadie lo tiene, se canceló o no se pudo.
pub fn descargar(fuentes: &[SocketAddr], pedido: &Pedido) -> Result<Descargado, NoDescargado> {
    let sockets = Sockets::default();
    let mut vistas = HashSet::new();
    let lineas = fuentes
        .iter()
        .filter(|fuente| vistas.insert(**fuente))
        .map(|fuente| Linea::por_abrir(*fuente, pedido.limites, &sockets))
        .collect();
    match con_fuentes(lineas, &sockets, pedido).0 {
        Ok(Obtenido::Comprobado(descargado)) => Ok(descargado),
        Ok(Obtenido::SoloLaGuia(fuentes)) => bajar_de_la_guia(&fuentes, pedido),
        Err(fallo) => Err(fallo),
    }
}

/// Baja por una conexión que abrió el otro, que nos invita. La devuelve, si sigue viva, para decirle cómo acabó.
pub fn recibir(
    conexion: Conexion,
    pedido: &Pedido,
) -> (Result<Descargado, NoDescargado>, Option<Conexion>) {
    let sockets = Sockets::default();
    let linea = Linea::prestada(conexion, &sockets);
    let (obtenido, lineas) = con_fuentes(vec![linea], &sockets, pedido);
    let descargado = match obtenido {
        Ok(Obtenido::Comprobado(descargado)) => Ok(descargado),
        Ok(Obtenido::SoloLaGuia(_)) => {
            Err(Fallo::nuevo("quien lo ofrecía cerró la conexión").into())
        }
        Err(fallo) => Err(fallo),
    };
    (
        descargado,
        lineas.into_iter().next().and_then(Linea::colgar),
    )
}

enum Obtenido {
    Comprobado(Descargado),
    SoloLaGuia(Vec<SocketAddr>),
}

/// Pone un hilo por fuente, dirige, y no vuelve con ninguno vivo.
fn con_fuentes<'s>(
    lineas: Vec<Linea<'s>>,
    sockets: &'s Sockets,
    pedido: &Pedido,
) -> (Result<Obtenido, NoDescargado>, Vec<Linea<'s>>) {
    thread::scope(|ambito| {
        let (dar_parte, partes) = unbounded();
        let (mut fuentes, mut hilos) = (Vec::new(), Vec::new());
        for (lugar, linea) in lineas.into_iter().enumerate() {
            let (encargar, encargos) = unbounded();
            let direccion = linea.direccion();
            let dar_parte = dar_parte.clone();
            let hilo = thread::Builder::new()
                .name(format!("fuente-{lugar}"))
                .stack_size(crate::hilos::PILA)
                .spawn_scoped(ambito, move || {
                    atender_fuente(lugar, linea, pedido, &encargos, &dar_parte)
                });
            let estado = match hilo {
                Ok(hilo) => {
                    hilos.push(hilo);
                    Estado::SinContestar
                }
                Err(error) => {
                    log::warn!("sin hilo para {direccion}: {error}");
                    Estado::Retirada
                }
            };
            fuentes.push(Fuente {
                direccion,
                encargar,
                estado,
                dijo_que_calcula: false,
            });
        }
        drop(dar_parte);
        let mut direccion = Direccion {
            pedido,
            fuentes,
            partes,
            empezo: Instant::now(),
        };
        let obtenido = direccion.dirigir();
        // Acabe como acabe, que nadie siga: ni presentándose ni recibiendo un bloque que otro ya dio.
        sockets.cortar();
        // Sin encargos que esperar, los hilos de las fuentes terminan.
        drop(direccion);
        (
            obtenido,
            hilos
                .into_iter()
                .filter_map(|hilo| hilo.join().ok())
                .collect(),
        )
    })
}

struct Fuente {
    direccion: SocketAddr,
    encargar: Sender<Encargo>,
    estado: Estado,
    dijo_que_calcula: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Estado {
    SinContestar,
    /// Lo tiene, y aún calcula la huella.
    Calculando(u64),
    /// Tamaño y huella.
    Lista(Version),
    /// Está bajando bloques.
    Bajando,
    /// Sólo conoce las palabras de la guía.
    Guia,
    NoLoTiene,
    Retirada,
}

impl Estado {
    /// ¿Falta saber qué archivo tiene?
    fn se_presenta(self) -> bool {
        matches!(self, Estado::SinContestar | Estado::Calculando(_))
    }
}

/// Lo que distingue dos archivos con el mismo nombre.
type Version = (u64, Huella);

/// El hilo que dirige una descarga.
struct Direccion<'a> {
    pedido: &'a Pedido<'a>,
    fuentes: Vec<Fuente>,
    partes: Receiver<Parte>,
    empezo: Instant,
}

impl Direccion<'_> {
    fn dirigir(&mut self) -> Result<Obtenido, NoDescargado> {
        let nombre = NombreRecibible::nuevo(self.pedido.nombre).map_err(|malo| {
            Fallo::nuevo(format!(
                "no se puede guardar «{}»: {malo}",
                self.pedido.nombre
            ))
        })?;
        let mut a_medias = None;
        let fin = self.probar_versiones(&nombre, &mut a_medias);
        let acabo = matches!(&fin, Ok(Obtenido::Comprobado(bueno)) if !bueno.ya_estaba);
        if let (false, Some(a_medias)) = (acabo, a_medias) {
            a_medias.descartar_si_vacio();
        }
        fin
    }

    /// Baja la versión que tengan más fuentes. Si resulta que no hay quien la dé, prueba con las que queden.
    fn probar_versiones(
        &mut self,
        nombre: &NombreRecibible,
        a_medias: &mut Option<AMedias>,
    ) -> Result<Obtenido, NoDescargado> {
        loop {
            self.esperar_presentaciones()?;
            let Some(version) = self.elegir_version() else {
                return self.sin_nadie_que_lo_compruebe();
            };
            let (tamano, huella) = version;
            if let Some(ya) = self.pedido.carpeta.copia_igual(nombre, tamano, huella) {
                return Ok(Obtenido::Comprobado(self.ya_estaba(ya, version)));
            }
            let a_medias = match &mut *a_medias {
                Some(abierto) => abierto,
                vacio => vacio.insert(self.abrir_a_medias(nombre)?),
            };
            if let Err(no_cabe) = a_medias.ver_si_cabe(tamano) {
                // Uno que anuncia un tamaño imposible no debe impedir bajarlo de los demás.
                self.retirar_version(version, &no_cabe);
                if !self.queda_otra_version() {
                    return Err(no_cabe.into());
                }
                continue;
            }
            // Sin ninguna lista buena, quienes la dieron mala ya están retirados.
            if let Some(resumen) = self.pedir_lista(version)?
                && let Some(obtenido) = self.bajar(a_medias, tamano, resumen)?
            {
                return Ok(obtenido);
            }
        }
    }

    fn abrir_a_medias(&self, nombre: &NombreRecibible) -> Result<AMedias, NoDescargado> {
        self.pedido
            .carpeta
            .empezar_a_recibir(nombre)
            .map_err(|fallo| match fallo {
                NoSeRecibe::YaSeEstaBajando => {
                    Fallo::nuevo(format!("{nombre} ya se está bajando")).into()
                }
                NoSeRecibe::Sistema(fallo) => fallo.into(),
            })
    }

    // ----- 1. Quién lo tiene -----

    /// Espera a saber qué dice cada fuente: a todas, o un poco más que a la primera que dé una huella.
    fn esperar_presentaciones(&mut self) -> Result<(), NoDescargado> {
        let mut limite = None;
        loop {
            let alguna = self
                .fuentes
                .iter()
                .any(|f| matches!(f.estado, Estado::Lista(_)));
            let pendientes = self.fuentes.iter().any(|f| f.estado.se_presenta());
            if !pendientes {
                return Ok(());
            }
            if alguna {
                limite.get_or_insert_with(|| Instant::now() + GRACIA);
            }
            match self.siguiente_parte(limite)? {
                Some(parte) => self.anotar(parte),
                None => return Ok(()),
            }
        }
    }

    /// El siguiente parte de las fuentes. `None` si pasó el `limite`, o no queda ninguna fuente viva.
    fn siguiente_parte(&self, limite: Option<Instant>) -> Result<Option<Parte>, NoDescargado> {
        let vence = limite.map_or_else(never, |l| {
            after(l.saturating_duration_since(Instant::now()))
        });
        select! {
            recv(self.partes) -> parte => Ok(parte.ok()),
            recv(self.pedido.cancelacion.canal()) -> _ => Err(NoDescargado::Cancelado),
            recv(vence) -> _ => Ok(None),
        }
    }

    fn anotar(&mut self, parte: Parte) {
        match parte {
            // Una que ya baja bloques (o ya se retiró) pudo contestar justo antes: no vuelve a empezar.
            Parte::Presentada(lugar, _) if !self.fuentes[lugar].estado.se_presenta() => {}
            Parte::Presentada(lugar, presentacion) => match presentacion {
                Ok(info) => match info.huella {
                    Some(huella) => {
                        self.fuentes[lugar].estado = Estado::Lista((info.tamano, huella));
                    }
                    None => self.sigue_calculando(lugar, info.tamano),
                },
                Err(FalloPar::Cerro) => self.fuentes[lugar].estado = Estado::Guia,
                Err(FalloPar::NoLoTiene) => self.fuentes[lugar].estado = Estado::NoLoTiene,
                Err(fallo) => self.retirar(lugar, &fallo),
            },
            Parte::Retirada(lugar, fallo) => self.retirar(lugar, &fallo),
            // Los demás partes sólo llegan cuando se han encargado, y quien los encarga los espera.
            Parte::Lista(..) | Parte::Completo | Parte::Disco(_) => {}
        }
    }

    /// Aún no sabe la huella: se dice una vez, y su hilo vuelve a preguntar.
    fn sigue_calculando(&mut self, lugar: usize, tamano: u64) {
        let fuente = &mut self.fuentes[lugar];
        fuente.estado = Estado::Calculando(tamano);
        if !std::mem::replace(&mut fuente.dijo_que_calcula, true) {
            (self.pedido.avisar)(format!(
                "{} aún calcula la huella de {}; se le vuelve a preguntar cada segundo",
                fuente.direccion, self.pedido.nombre
            ));
        }
    }

    fn retirar(&mut self, lugar: usize, fallo: &FalloPar) {
        let fuente = &mut self.fuentes[lugar];
        if fuente.estado != Estado::Retirada {
            fuente.estado = Estado::Retirada;
            (self.pedido.avisar)(format!("[FUENTE RETIRADA] {}: {fallo}", fuente.direccion));
        }
    }

    /// La versión que tengan más fuentes; a igualdad, la de la primera de la lista. Dice si hay otras.
    fn elegir_version(&self) -> Option<Version> {
        let versiones: Vec<Version> = self.versiones().collect();
        let cuantas = |version: &Version| versiones.iter().filter(|v| *v == version).count();
        let mejor = versiones
            .iter()
            .rev()
            .max_by_key(|version| cuantas(version))
            .copied()?;
        let distintas: HashSet<&Version> = versiones.iter().collect();
        if distintas.len() > 1 {
            (self.pedido.avisar)(format!(
                "hay {} archivos distintos llamados {}; se baja el que {} (huella {})",
                distintas.len(),
                self.pedido.nombre,
                match cuantas(&mejor) {
                    1 => "tiene la primera fuente".to_string(),
                    varias => format!("tienen {varias} fuentes"),
                },
                mejor.1
            ));
        }
        Some(mejor)
    }

    fn versiones(&self) -> impl Iterator<Item = Version> {
        self.fuentes.iter().filter_map(|f| match f.estado {
            Estado::Lista(version) => Some(version),
            _ => None,
        })
    }

    fn queda_otra_version(&self) -> bool {
        self.versiones().next().is_some()
    }

    fn retirar_version(&mut self, version: Version, motivo: &Fallo) {
        for lugar in 0..self.fuentes.len() {
            if self.fuentes[lugar].estado == Estado::Lista(version) {
                self.retirar(lugar, &FalloPar::Miente(motivo.to_string()));
            }
        }
    }

    /// Ninguna fuente sirve bloques: quedan, si acaso, las de la guía.
    fn sin_nadie_que_lo_compruebe(&self) -> Result<Obtenido, NoDescargado> {
        let de_la_guia: Vec<SocketAddr> = self
            .fuentes
            .iter()
            .filter(|f| f.estado == Estado::Guia)
            .map(|f| f.direccion)
            .collect();
        if !de_la_guia.is_empty() {
            return Ok(Obtenido::SoloLaGuia(de_la_guia));
        }
        if self.fuentes.iter().all(|f| f.estado == Estado::NoLoTiene) {
            return Err(NoDescargado::NoEncontrado);
        }
        Err(Fallo::nuevo(format!(
            "ninguna fuente pudo dar {}: comprueba con «nodo estado» que estén en marcha y vuelve a pedirlo",
            self.pedido.nombre
        ))
        .into())
    }

    fn ya_estaba(&self, nombre: String, (tamano, huella): Version) -> Descargado {
        let tiempo = self.empezo.elapsed();
        Descargado {
            nombre,
            tamano,
            bajados: 0,
            tiempo,
            fuentes: 0,
            huella,
            comprobado: true,
            ya_estaba: true,
        }
    }

    // ----- 2. Qué bloques son -----

    /// La lista de bloques, de la primera fuente de esa versión que dé una que sume su huella. `None` si ninguna: las
    /// que la dieron mala están retiradas, y las que aún la calculan volverán a presentarse.
    fn pedir_lista(&mut self, (tamano, huella): Version) -> Result<Option<Resumen>, NoDescargado> {
        let elegida = |f: &Fuente| f.estado == Estado::Lista((tamano, huella));
        while let Some(lugar) = self.fuentes.iter().position(elegida) {
            // Si el hilo de la fuente ya no está, su canal está cerrado y lo dirá el parte que no llega.
            let _ = self.fuentes[lugar].encargar.send(Encargo::Lista(tamano));
            match self.esperar_lista(lugar)? {
                Ok(bloques) => match Resumen::de_bloques(bloques) {
                    Some(resumen) if resumen.huella == huella => return Ok(Some(resumen)),
                    _ => {
                        let que = "su lista de bloques no suma la huella que anunció";
                        self.retirar(lugar, &FalloPar::Miente(que.into()));
                    }
                },
                Err(FalloPar::Calculando) => self.sigue_calculando(lugar, tamano),
                Err(fallo) => self.retirar(lugar, &fallo),
            }
        }
        Ok(None)
    }

    fn esperar_lista(&mut self, de: usize) -> Result<Result<Vec<Huella>, FalloPar>, NoDescargado> {
        loop {
            match self.siguiente_parte(None)? {
                Some(Parte::Lista(lugar, lista)) if lugar == de => return Ok(lista),
                Some(Parte::Retirada(lugar, fallo)) if lugar == de => return Ok(Err(fallo)),
                Some(otro) => self.anotar(otro),
                None => return Ok(Err(FalloPar::Cerro)),
            }
        }
    }

    // ----- 3, 4 y 5. Bajar lo que falta -----

    /// Baja los bloques que faltan y le da su nombre. `None` si no queda quien los dé, pero sí otra cosa que probar.
    fn bajar(
        &mut self,
        a_medias: &AMedias,
        tamano: u64,
        resumen: Resumen,
    ) -> Result<Option<Obtenido>, NoDescargado> {
        let antes = a_medias.tamano();
        a_medias.hacer_sitio(tamano)?;
        let faltan = self.comprobar_lo_que_habia(a_medias, antes, tamano, &resumen)?;
        let por_bajar: u64 = faltan
            .iter()
            .map(|bloque| longitud_de_bloque(tamano, *bloque))
            .sum();
        self.pedido
            .progreso
            .empezar(Fase::Pasando, tamano, tamano - por_bajar);
        let huella = resumen.huella;
        let plan = Arc::new(Plan {
            tamano,
            bloques: resumen.bloques,
            cola: Cola::nueva(faltan),
            archivo: a_medias.para_escribir()?,
            dados: self.fuentes.iter().map(|_| AtomicU64::new(0)).collect(),
        });
        let repartido = self.repartir(&plan, huella);
        // Ya esté todo o falle, que nadie siga esperando un bloque.
        plan.cola.cerrar();
        if !repartido? {
            return self.sin_fuentes(&plan);
        }
        self.pedido
            .progreso
            .empezar(Fase::Guardando, tamano, tamano);
        let nombre = a_medias.terminar()?;
        let fuentes = plan
            .dados
            .iter()
            .filter(|dados| dados.load(Ordering::Relaxed) > 0)
            .count();
        let tiempo = self.empezo.elapsed();
        let (bajados, comprobado, ya_estaba) = (por_bajar, true, false);
        Ok(Some(Obtenido::Comprobado(Descargado {
            nombre,
            tamano,
            bajados,
            tiempo,
            fuentes,
            huella,
            comprobado,
            ya_estaba,
        })))
    }

    /// Los bloques que faltan: los que no están en el `.part`, o están mal.
    fn comprobar_lo_que_habia(
        &self,
        a_medias: &AMedias,
        antes: u64,
        tamano: u64,
        resumen: &Resumen,
    ) -> Result<Vec<u64>, NoDescargado> {
        let todos = 0..resumen.bloques.len() as u64;
        if antes == 0 {
            return Ok(todos.collect());
        }
        self.pedido
            .progreso
            .empezar(Fase::Comprobando, antes.min(tamano), 0);
        let mut datos = vec![0; BLOQUE as usize];
        let mut faltan = Vec::new();
        for bloque in todos {
            if self.pedido.cancelacion.cancelada() {
                return Err(NoDescargado::Cancelado);
            }
            let datos = &mut datos[..longitud_de_bloque(tamano, bloque) as usize];
            let desde = bloque * BLOQUE;
            let entero = desde < antes && a_medias.leer_entero(desde, datos);
            if !entero
                || huella_de_bloque(tamano, bloque, datos) != resumen.bloques[bloque as usize]
            {
                faltan.push(bloque);
            }
            self.pedido.progreso.sumar(datos.len() as u64);
        }
        let buenos = resumen.bloques.len() - faltan.len();
        (self.pedido.avisar)(format!(
            "[REANUDANDO] {}: de lo que había, {} de {} están bien; faltan {}",
            self.pedido.nombre,
            cuenta(buenos, "bloque", "bloques"),
            resumen.bloques.len(),
            cuenta(faltan.len(), "bloque", "bloques"),
        ));
        Ok(faltan)
    }

    /// Da el plan a cada fuente que sirva y espera a que esté todo. Falso si antes se acaban las fuentes.
    fn repartir(&mut self, plan: &Arc<Plan>, huella: Huella) -> Result<bool, NoDescargado> {
        while plan.cola.faltan() > 0 {
            self.poner_a_bajar(plan, huella);
            let bajando = self
                .fuentes
                .iter()
                .filter(|f| f.estado == Estado::Bajando)
                .count();
            self.pedido.progreso.fuentes(bajando);
            // Una que calcula la huella de un archivo de otro tamaño no va a servir.
            let podria = |f: &Fuente| f.estado == Estado::SinContestar;
            if bajando == 0 && !self.fuentes.iter().any(podria) {
                return Ok(false);
            }
            match self.siguiente_parte(None)? {
                Some(Parte::Completo) => {}
                Some(Parte::Disco(fallo)) => return Err(fallo.into()),
                Some(otro) => self.anotar(otro),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Encarga el plan a las que tienen ese archivo y aún no lo bajan (también a las que contestan tarde). Una que no
    /// ha terminado su huella vale si mide lo mismo: cada bloque se comprueba al llegar.
    fn poner_a_bajar(&mut self, plan: &Arc<Plan>, huella: Huella) {
        for fuente in &mut self.fuentes {
            let sirve = match fuente.estado {
                Estado::Lista(version) => version == (plan.tamano, huella),
                Estado::Calculando(tamano) => tamano == plan.tamano,
                _ => false,
            };
            if sirve
                && fuente
                    .encargar
                    .send(Encargo::Bajar(Arc::clone(plan)))
                    .is_ok()
            {
                fuente.estado = Estado::Bajando;
            }
        }
    }

    /// Las fuentes se acabaron: `None` si aún se puede probar otra versión o, sin un solo bloque bueno, la guía.
    fn sin_fuentes(&self, plan: &Plan) -> Result<Option<Obtenido>, NoDescargado> {
        let (faltan, total) = (plan.cola.faltan(), plan.bloques.len() as u64);
        let de_la_guia = |f: &Fuente| f.estado == Estado::Guia;
        if self.queda_otra_version() || (faltan == total && self.fuentes.iter().any(de_la_guia)) {
            return Ok(None);
        }
        let (_, hechos, de, _) = self.pedido.progreso.mirar();
        let frase = format!(
            "no queda ninguna fuente de {}: hay {} de {total} bloques buenos y faltan {}; lo bueno queda guardado: vuelve a pedirlo cuando haya otra fuente y seguirá por donde iba",
            self.pedido.nombre,
            total - faltan,
            texto_tamano(de.saturating_sub(hechos))
        );
        Err(Fallo::nuevo(frase).into())
    }
}
