//! Quien dirige una descarga: elige qué versión bajar, reparte encargos a las fuentes y atiende sus partes.
//!
//! Corre en el hilo que pidió la descarga (`descarga.rs`); cada fuente tiene el suyo (`fuente.rs`). No habla con nadie por
//! la red: sólo manda encargos y recibe partes, por canales.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, after, never, select};

use crate::consola::progreso::{Fase, Marcha};
use crate::fallo::Fallo;
use crate::nodo::carpeta::a_medias::AMedias;
use crate::nodo::carpeta::huella::{BLOQUE, Huella, Resumen, huella_de_bloque, longitud_de_bloque};
use crate::nodo::carpeta::nombres::NombreRecibible;
use crate::nodo::descarga::cola::Cola;
use crate::nodo::descarga::fuente::{Encargo, Parte, Plan};
use crate::nodo::descarga::pedido::{Descargado, NoDescargado, Pedido};
use crate::nodo::palabras::pedir::FalloPar;
use crate::texto::{cuenta, tamano as texto_tamano};

/// Con una huella ya en la mano, cuánto se espera a que contesten las demás fuentes antes de decidir.
const GRACIA: Duration = Duration::from_millis(300);

/// Lo que se consiguió por bloques.
pub enum Obtenido {
    /// El archivo, comprobado.
    Comprobado(Descargado),
    /// Nada: sólo hay nodos de la guía, que no dan con qué comprobar.
    SoloLaGuia(Vec<SocketAddr>),
}

/// Lo que quien dirige sabe de una fuente.
pub(super) struct Fuente {
    direccion: SocketAddr,
    encargar: Sender<Encargo>,
    estado: Estado,
    dijo_que_calcula: bool,
}

impl Fuente {
    /// Una fuente en `direccion`, que recibe encargos por `encargar`. Sin hilo (`viva` falso) no sirve.
    pub(super) fn nueva(direccion: SocketAddr, encargar: Sender<Encargo>, viva: bool) -> Fuente {
        let estado = if viva {
            Estado::SinContestar
        } else {
            Estado::Retirada
        };
        Fuente {
            direccion,
            encargar,
            estado,
            dijo_que_calcula: false,
        }
    }
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
pub(super) struct Direccion<'a> {
    pedido: &'a Pedido<'a>,
    fuentes: Vec<Fuente>,
    partes: Receiver<Parte>,
    empezo: Instant,
    /// Qué fuente se retiró la última, y por qué.
    ultima_retirada: Option<String>,
}

impl<'a> Direccion<'a> {
    /// Quien dirigirá la descarga de `pedido` con esas fuentes, que le dan sus partes por `partes`.
    pub(super) fn nueva(
        pedido: &'a Pedido<'a>,
        fuentes: Vec<Fuente>,
        partes: Receiver<Parte>,
    ) -> Direccion<'a> {
        Direccion {
            pedido,
            fuentes,
            partes,
            empezo: Instant::now(),
            ultima_retirada: None,
        }
    }

    /// Dirige de principio a fin.
    ///
    /// # Errores
    /// Nadie lo tiene, se canceló o no se pudo.
    pub(super) fn dirigir(&mut self) -> Result<Obtenido, NoDescargado> {
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
        a_medias: &mut Option<Arc<AMedias>>,
    ) -> Result<Obtenido, NoDescargado> {
        loop {
            self.esperar_presentaciones()?;
            let Some(version) = self.elegir_version() else {
                return self.sin_nadie_que_lo_compruebe();
            };
            let (tamano, huella) = version;
            let a_medias = match &mut *a_medias {
                Some(abierto) => abierto,
                vacio => vacio.insert(Arc::new(self.pedido.carpeta.empezar_a_recibir(nombre)?)),
            };
            // Con el cerrojo ya echado: así no puede aparecer justo después, recién bajado por otro.
            let (carpeta, parada) = (self.pedido.carpeta, self.pedido.parada);
            if let Some(ya) = carpeta.copia_igual(nombre, tamano, huella, parada) {
                return Ok(Obtenido::Comprobado(self.ya_estaba(ya, version)));
            }
            if parada.avisada() {
                return Err(NoDescargado::Cancelado);
            }
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
            recv(self.pedido.parada.canal()) -> _ => Err(NoDescargado::Cancelado),
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
            let quien = format!("{}: {fallo}", fuente.direccion);
            (self.pedido.avisar)(format!("[FUENTE RETIRADA] {quien}"));
            self.ultima_retirada = Some(quien);
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

    /// « (la última, …: por qué)»: quien envía sólo oye esta frase, y así sabe qué hizo mal.
    fn la_ultima(&self) -> String {
        let contar = |quien| format!(" (la última, {quien})");
        self.ultima_retirada
            .as_ref()
            .map_or_else(String::new, contar)
    }

    fn queda_otra_version(&self) -> bool {
        self.versiones().next().is_some()
    }

    fn retirar_version(&mut self, version: Version, motivo: &Fallo) {
        for lugar in 0..self.fuentes.len() {
            if self.fuentes[lugar].estado == Estado::Lista(version) {
                self.retirar(lugar, &FalloPar::Miente(motivo.publico().into()));
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
            "ninguna fuente pudo dar {}{}: comprueba con «nodo estado» que estén en marcha y vuelve a pedirlo",
            self.pedido.nombre,
            self.la_ultima()
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
        a_medias: &Arc<AMedias>,
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
            archivo: Arc::clone(a_medias),
            dados: self.fuentes.iter().map(|_| AtomicU64::new(0)).collect(),
        });
        let repartido = self.repartir(&plan, huella);
        // Ya esté todo o falle, que nadie siga esperando un bloque.
        plan.cola.cerrar();
        if !repartido? {
            return self.sin_fuentes(&plan);
        }
        self.guardar(a_medias, &plan, huella, por_bajar)
            .map(|descargado| Some(Obtenido::Comprobado(descargado)))
    }

    /// Está todo: lo asegura en el disco y le da su nombre.
    fn guardar(
        &self,
        a_medias: &AMedias,
        plan: &Plan,
        huella: Huella,
        bajados: u64,
    ) -> Result<Descargado, NoDescargado> {
        let tamano = plan.tamano;
        self.pedido
            .progreso
            .empezar(Fase::Guardando, tamano, tamano);
        let nombre = a_medias.terminar(tamano)?;
        let dio_algo = |dados: &&AtomicU64| dados.load(Ordering::Relaxed) > 0;
        Ok(Descargado {
            nombre,
            tamano,
            bajados,
            tiempo: self.empezo.elapsed(),
            fuentes: plan.dados.iter().filter(dio_algo).count(),
            huella,
            comprobado: true,
            ya_estaba: false,
        })
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
            if self.pedido.parada.avisada() {
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
        let Marcha {
            hechos, total: de, ..
        } = self.pedido.progreso.mirar();
        let frase = format!(
            "no queda ninguna fuente de {}{}: hay {} de {total} bloques buenos y faltan {}; lo bueno queda guardado: vuelve a pedirlo cuando haya otra fuente y seguirá por donde iba",
            self.pedido.nombre,
            self.la_ultima(),
            total - faltan,
            texto_tamano(de.saturating_sub(hechos))
        );
        Err(Fallo::nuevo(frase).into())
    }
}
