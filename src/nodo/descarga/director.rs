//! Quien dirige una descarga: elige qué archivo bajar, da el plan a las fuentes y atiende sus
//! partes.
//!
//! Corre en el hilo que pidió la descarga; cada fuente tiene el suyo (`fuente.rs`). Se empieza con
//! la primera que diga qué tiene, y las demás se suman según llegan. Si hay dos archivos distintos
//! con ese nombre, mientras no llegue un bloque bueno gana el que tengan más. A los demás pares se
//! les manda acompañar: que den los bloques que tengan, cuando los tengan. No habla con nadie por
//! la red: sólo manda encomiendas y recibe partes, por canales.

use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, at, never, select};

use crate::consola::progreso::{Fase, Marcha};
use crate::fallo::Fallo;
use crate::nodo::carpeta::huella::cuantos_bloques;
use crate::nodo::descarga::fuente::{EN_VANO, Encomienda, OTRA_LLAMADA, Parte};
use crate::nodo::descarga::pedido::{Descargado, NoDescargado, Pedido};
use crate::nodo::descarga::plan::{Contenido, Destino, Plan, ya_se_tiene};
use crate::nodo::palabras::pedir::FalloPar;
use crate::nodo::palabras::protocolo::Info;
use crate::texto::tamano as texto_tamano;

/// Con una fuente ya presentada, lo que se espera a las que no han dicho nada: bastante para que en
/// una LAN contesten todas y se vea si tienen lo mismo, y nada que se note si alguna calla.
const GRACIA: Duration = Duration::from_millis(50);
/// Cada cuánto se mira, mientras se baja, si aún queda quien tenga algo.
const REPASO: Duration = Duration::from_secs(1);
/// Bytes por segundo a los que, como poco, se lee un archivo para saber su huella: los de un disco
/// viejo. Lo que se espera a quien la calcula es [`Limites::calcular`] más lo que dé esto.
///
/// [`Limites::calcular`]: crate::config::Limites::calcular
const LECTURA_LENTA: u64 = 50_000_000;
/// Lo más que se espera a quien calcula una huella, diga lo que diga que mide el archivo.
const TOPE_DE_CALCULO: Duration = Duration::from_secs(3600);

/// Lo que se consiguió por bloques.
pub enum Obtenido {
    /// El archivo, comprobado.
    Comprobado(Descargado),
    /// Nada: sólo hay nodos de la guía, que no dan con qué comprobar.
    SoloLaGuia(Vec<SocketAddr>),
}

/// Lo que quien dirige sabe de una fuente.
struct Candidata<'a> {
    direccion: SocketAddr,
    /// Por dónde darle encomiendas. Al soltarlo, su hilo termina.
    encargar: Option<Sender<Encomienda<'a>>>,
    situacion: Situacion,
    /// ¿Se le mandó dar los bloques que tenga del plan?
    acompana: bool,
    /// Si se fue por la red, lo que se sabe de ello.
    se_fue: Option<SeFue>,
    /// Qué archivo tiene, si ya lo dijo.
    contenido: Option<Contenido>,
    /// Hasta cuándo se espera a que calcule la huella, si dijo que la calculaba.
    calcula_hasta: Option<Instant>,
}

/// Una fuente que se fue por la red.
struct SeFue {
    por_que: FalloPar,
    /// Bytes buenos que había dado.
    dados: u64,
    /// Reconexiones seguidas que no sirvieron de nada.
    en_vano: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Situacion {
    /// No se le preguntó si lo tiene: es un par más.
    Par,
    SinContestar,
    /// Tiene uno de ese tamaño, y aún calcula la huella.
    Calculando(u64),
    /// Dijo qué tiene, y espera.
    Disponible,
    /// Está bajando bloques del plan.
    Bajando,
    /// Sólo conoce las palabras de la guía.
    Guia,
    NoLoTiene,
    /// Se acaba de ir por la red.
    SeFue,
    /// Se fue por la red, y se le vuelve a llamar entonces.
    SeLaLlama(Instant),
    Retirada,
}

impl Candidata<'_> {
    /// ¿Cuenta para decidir qué archivo se baja?
    fn vota(&self) -> Option<Contenido> {
        let esta = matches!(self.situacion, Situacion::Disponible | Situacion::Bajando);
        self.contenido.filter(|_| esta)
    }

    /// Si calcula la huella, hasta cuándo se la espera.
    fn vence(&self) -> Option<Instant> {
        let calcula = matches!(self.situacion, Situacion::Calculando(_));
        self.calcula_hasta.filter(|_| calcula)
    }
}

/// El hilo que dirige una descarga.
pub(super) struct Director<'a> {
    pedido: &'a Pedido<'a>,
    destino: &'a Destino,
    fuentes: Vec<Candidata<'a>>,
    partes: Receiver<Parte>,
    empezo: Instant,
    /// Cuándo dijo la primera qué tiene.
    primera: Option<Instant>,
    plan: Option<Arc<Plan<'a>>>,
    /// Cuántos archivos distintos se dijo que hay.
    distintos_dichos: usize,
    /// Por qué no cabe, si alguna dio uno que no cabe.
    no_cabe: Option<Fallo>,
    /// Qué fuente se retiró la última, y por qué.
    ultima_retirada: Option<String>,
    /// Si se espera a que vuelva la red: hasta cuándo, y cuántos bloques faltaban.
    espera: Option<(Instant, u64)>,
}

impl<'a> Director<'a> {
    /// Quien dirigirá la descarga de `pedido`, sin ninguna fuente todavía.
    pub(super) fn nuevo(
        pedido: &'a Pedido<'a>,
        destino: &'a Destino,
        partes: Receiver<Parte>,
    ) -> Director<'a> {
        Director {
            pedido,
            destino,
            fuentes: Vec::new(),
            partes,
            empezo: Instant::now(),
            primera: None,
            plan: None,
            distintos_dichos: 1,
            no_cabe: None,
            ultima_retirada: None,
            espera: None,
        }
    }

    /// Una fuente más, que recibe encomiendas por `encargar`. La que no se presenta sólo acompaña.
    pub(super) fn sumar(
        &mut self,
        direccion: SocketAddr,
        se_presenta: bool,
        encargar: Sender<Encomienda<'a>>,
    ) {
        self.fuentes.push(Candidata {
            direccion,
            encargar: Some(encargar),
            situacion: match se_presenta {
                true => Situacion::SinContestar,
                false => Situacion::Par,
            },
            acompana: false,
            se_fue: None,
            contenido: None,
            calcula_hasta: None,
        });
    }

    /// Dirige de principio a fin.
    pub(super) fn dirigir(&mut self) -> Result<Obtenido, NoDescargado> {
        let fin = self.hasta_el_fin();
        // Ya esté todo o falle, que nadie siga comprobando ni esperando un bloque.
        if let Some(plan) = &self.plan {
            plan.cola.cerrar();
        }
        fin
    }

    fn hasta_el_fin(&mut self) -> Result<Obtenido, NoDescargado> {
        loop {
            if let Some(ya) = self.elegir()? {
                return Ok(Obtenido::Comprobado(ya));
            }
            if let Some(plan) = self.plan.as_ref().filter(|plan| plan.cola.faltan() == 0)
                && let Some(descargado) = plan.terminar(self.empezo)?
            {
                return Ok(Obtenido::Comprobado(descargado));
            }
            self.poner_a_bajar();
            let queda_alguna = self.queda_alguna();
            let se_espera = (!queda_alguna || self.esperando()) && self.esperar_a_la_red();
            if !se_espera {
                self.retirar_las_que_se_fueron();
            }
            if !queda_alguna && !se_espera {
                return self.sin_nadie();
            }
            self.atender_un_parte()?;
        }
    }

    // ----- Qué archivo se baja -----

    /// Hace el plan del archivo que tengan más fuentes, si no hay otro en marcha. Si ya se tenía
    /// ese archivo, lo dice.
    fn elegir(&mut self) -> Result<Option<Descargado>, NoDescargado> {
        let (pedido, nombre) = (self.pedido, &self.destino.nombre);
        while let Some(mejor) = self.el_que_tienen_mas()
            && !self.conviene_esperar()
            && self.hace_falta_otro_plan(mejor)
        {
            if let Some(ya) = ya_se_tiene(nombre, mejor, pedido)? {
                return Ok(Some(self.ya_estaba(ya, mejor)));
            }
            match pedido.carpeta.ver_si_cabe(nombre, mejor.tamano) {
                Ok(()) => {
                    let plan = Plan::nuevo(mejor, pedido, self.destino, self.fuentes.len())?;
                    self.plan = Some(Arc::new(plan));
                    self.distintos_dichos = 1;
                }
                Err(no_cabe) => self.retirar_las_que_tienen(mejor, no_cabe),
            }
        }
        self.decir_si_hay_varios();
        Ok(None)
    }

    /// Con un bloque bueno sólo se deja el plan si no queda quien dé los demás.
    fn hace_falta_otro_plan(&mut self, mejor: Contenido) -> bool {
        let nadie_baja = self.cuantas_bajan() == 0;
        let sigue = |plan: &Arc<Plan>| plan.contenido == mejor || !plan.cola.abandonar(nadie_baja);
        if self.plan.as_ref().is_some_and(sigue) {
            return false;
        }
        self.dejar_el_plan();
        true
    }

    /// Uno que anuncia un tamaño imposible no debe impedir bajarlo de los demás.
    fn retirar_las_que_tienen(&mut self, contenido: Contenido, no_cabe: Fallo) {
        for lugar in 0..self.fuentes.len() {
            if self.fuentes[lugar].vota() == Some(contenido) {
                self.retirar(lugar, &no_cabe);
            }
        }
        self.no_cabe = Some(no_cabe);
    }

    /// ¿Queda alguna que aún pueda decir que tiene otra cosa?
    fn conviene_esperar(&self) -> bool {
        let hace_poco = |primera: Instant| primera.elapsed() < GRACIA;
        self.plan.is_none()
            && self.primera.is_some_and(hace_poco)
            && self.cuantas(Situacion::SinContestar) > 0
    }

    /// A igualdad, el que ya se baja; si no, el de la primera fuente de la lista.
    fn el_que_tienen_mas(&self) -> Option<Contenido> {
        let en_marcha = self.plan.as_ref().map(|plan| plan.contenido);
        let puntos = |de: &Contenido| (self.cuantas_tienen(*de), en_marcha == Some(*de));
        let votos = self.fuentes.iter().rev().filter_map(Candidata::vota);
        votos.max_by_key(puntos)
    }

    fn cuantas_tienen(&self, contenido: Contenido) -> usize {
        let votos = self.fuentes.iter().filter_map(Candidata::vota);
        votos.filter(|otro| *otro == contenido).count()
    }

    fn decir_si_hay_varios(&mut self) {
        let Some(plan) = &self.plan else { return };
        let votos = self.fuentes.iter().filter_map(Candidata::vota);
        let distintos = votos.collect::<HashSet<_>>().len();
        if distintos > self.distintos_dichos {
            let quienes = match self.cuantas_tienen(plan.contenido) {
                1 => "tiene la primera fuente".to_string(),
                varias => format!("tienen {varias} fuentes"),
            };
            (self.pedido.avisar)(format!(
                "hay {distintos} archivos distintos llamados {}; se baja el que {quienes} \
                 (huella {})",
                self.pedido.nombre, plan.contenido.huella
            ));
            self.distintos_dichos = distintos;
        }
    }

    /// Las que bajaban un plan abandonado vuelven a estar disponibles.
    fn dejar_el_plan(&mut self) {
        let Some(plan) = self.plan.take() else { return };
        plan.esconder();
        self.fuentes.iter_mut().for_each(|f| f.acompana = false);
        let bajando = self.fuentes.iter_mut();
        for fuente in bajando.filter(|fuente| fuente.situacion == Situacion::Bajando) {
            fuente.situacion = match fuente.contenido {
                Some(_) => Situacion::Disponible,
                None => Situacion::Calculando(plan.contenido.tamano),
            };
        }
    }

    fn ya_estaba(&self, nombre: String, contenido: Contenido) -> Descargado {
        Descargado {
            nombre,
            tamano: contenido.tamano,
            bajados: 0,
            bajando: Duration::ZERO,
            tiempo: self.empezo.elapsed(),
            fuentes: 0,
            huella: contenido.huella,
            comprobado: true,
            ya_estaba: true,
        }
    }

    // ----- Quién lo baja -----

    /// Da el plan a las que tienen ese archivo y aún no lo bajan. Con la lista de bloques, una que
    /// no ha terminado su huella vale si mide lo mismo: cada uno se comprueba al llegar. Y a las
    /// demás se les manda que acompañen.
    fn poner_a_bajar(&mut self) {
        let Some(plan) = &self.plan else { return };
        let con_lista = plan.lista().is_some();
        let ahora = Instant::now();
        for fuente in &mut self.fuentes {
            let entero = match fuente.situacion {
                Situacion::Disponible => fuente.contenido == Some(plan.contenido),
                Situacion::Calculando(tamano) => con_lista && tamano == plan.contenido.tamano,
                Situacion::SeLaLlama(cuando) => cuando <= ahora,
                _ => false,
            };
            let otra_cosa = matches!(
                fuente.situacion,
                Situacion::Par | Situacion::NoLoTiene | Situacion::Disponible
            );
            let acompana = con_lista && otra_cosa && !entero && !fuente.acompana;
            if let Some(encargar) = fuente.encargar.as_ref().filter(|_| entero || acompana) {
                let plan = Arc::clone(plan);
                // Si su hilo ya no está, lo dirá el parte que no llega.
                let _ = encargar.send(Encomienda { plan, entero });
                match entero {
                    true => fuente.situacion = Situacion::Bajando,
                    false => fuente.acompana = true,
                }
            }
        }
        self.pedido.progreso.fuentes(self.cuantas_bajan());
    }

    /// Cuántas dan bloques, o pueden darlos.
    fn cuantas_bajan(&self) -> usize {
        let lugares = 0..self.fuentes.len();
        let acompanan = lugares.filter(|lugar| self.acompana_y_tiene(*lugar));
        self.cuantas(Situacion::Bajando) + acompanan.count()
    }

    fn acompana_y_tiene(&self, lugar: usize) -> bool {
        let plan = self.plan.as_ref().filter(|_| self.fuentes[lugar].acompana);
        plan.is_some_and(|plan| plan.cola.puede_dar(lugar))
    }

    fn cuantas(&self, situacion: Situacion) -> usize {
        let fuentes = self.fuentes.iter();
        fuentes.filter(|f| f.situacion == situacion).count()
    }

    fn queda_alguna(&self) -> bool {
        let mut lugares = 0..self.fuentes.len();
        lugares.any(|lugar| self.puede_servir(&self.fuentes[lugar]) || self.acompana_y_tiene(lugar))
    }

    /// ¿Puede aún salir algo de esa fuente? Con un archivo empezado, de quien calcula otro no.
    fn puede_servir(&self, fuente: &Candidata) -> bool {
        match fuente.situacion {
            Situacion::SinContestar | Situacion::Bajando | Situacion::SeLaLlama(_) => true,
            Situacion::Calculando(_) => {
                !self.plan.as_ref().is_some_and(|plan| plan.cola.empezada())
            }
            Situacion::Par
            | Situacion::Disponible
            | Situacion::Guia
            | Situacion::NoLoTiene
            | Situacion::SeFue
            | Situacion::Retirada => false,
        }
    }

    /// Ya no sirve, y se dice por qué.
    pub(super) fn retirar(&mut self, lugar: usize, motivo: &dyn fmt::Display) {
        let fuente = &mut self.fuentes[lugar];
        if fuente.situacion != Situacion::Retirada {
            fuente.situacion = Situacion::Retirada;
            fuente.encargar = None;
            fuente.se_fue = None;
            let quien = format!("{}: {motivo}", fuente.direccion);
            (self.pedido.avisar)(format!("[FUENTE RETIRADA] {quien}"));
            self.ultima_retirada = Some(quien);
        }
    }

    // ----- Cuando se van por la red -----

    /// `fuente` dejó de estar; y si fue `en_vano` volver a llamarla.
    fn se_fue(&mut self, lugar: usize, por_que: FalloPar, en_vano: bool) {
        let dados = self.plan.as_ref().map_or(0, |plan| plan.dados(lugar));
        let fuente = &mut self.fuentes[lugar];
        let antes = fuente.se_fue.as_ref().filter(|antes| antes.dados == dados);
        let en_vano = antes.map_or(0, |antes| antes.en_vano + u32::from(en_vano));
        fuente.se_fue = Some(SeFue {
            por_que,
            dados,
            en_vano,
        });
        if fuente.situacion == Situacion::Bajando {
            fuente.situacion = Situacion::SeFue;
        }
    }

    /// Si hay otras, o ya no se espera, las que se fueron no sirven más.
    fn retirar_las_que_se_fueron(&mut self) {
        for lugar in 0..self.fuentes.len() {
            let fuente = &mut self.fuentes[lugar];
            if fuente.situacion == Situacion::SeFue
                && let Some(se_fue) = fuente.se_fue.take()
            {
                let encargar = fuente.encargar.clone();
                self.retirar(lugar, &se_fue.por_que);
                // Se dice, pero si se queda sin ninguna se la puede volver a llamar.
                let fuente = &mut self.fuentes[lugar];
                (fuente.se_fue, fuente.encargar) = (Some(se_fue), encargar);
            }
        }
    }

    /// No queda nadie. Si se fueron por la red, y habían dado algo bueno, se las vuelve a llamar
    /// durante `--esperar-red`. Falso si no hay a quién, o ya se esperó bastante.
    fn esperar_a_la_red(&mut self) -> bool {
        let (plazo, ahora) = (self.pedido.limites.esperar_red, Instant::now());
        // Si lo bajado lo dieron otros, que también lo están bajando, puede que aún lo completen.
        let lo_dieron_otros = self.dieron_los_que_acompanan();
        let sirvio = |se_fue: &SeFue| se_fue.dados > 0 || lo_dieron_otros;
        let puede_volver = |se_fue: &SeFue| sirvio(se_fue) && se_fue.en_vano < EN_VANO;
        let vuelven = |fuente: &Candidata| fuente.se_fue.as_ref().is_some_and(puede_volver);
        if plazo.is_zero() || !self.fuentes.iter().any(vuelven) {
            return false;
        }
        if !self.esperando() {
            let frase = "[ESPERANDO] se perdió la conexión; se vuelve a intentar…";
            (self.pedido.avisar)(frase.into());
            self.espera = Some((ahora + plazo, self.faltan()));
        }
        if self.espera.is_some_and(|(hasta, _)| hasta <= ahora) {
            return false;
        }
        for fuente in self.fuentes.iter_mut().filter(|fuente| vuelven(fuente)) {
            // A la que acompaña la vuelve a llamar su propio hilo.
            if let Situacion::SeFue | Situacion::Retirada = fuente.situacion {
                fuente.situacion = Situacion::SeLaLlama(ahora + OTRA_LLAMADA);
            }
        }
        true
    }

    fn dieron_los_que_acompanan(&self) -> bool {
        let Some(plan) = &self.plan else { return false };
        let mut lugares = 0..self.fuentes.len();
        lugares.any(|lugar| self.fuentes[lugar].acompana && plan.dados(lugar) > 0)
    }

    /// ¿Se está esperando a la red, y desde entonces no ha llegado nada?
    fn esperando(&self) -> bool {
        self.espera.is_some_and(|(_, antes)| antes == self.faltan())
    }

    fn faltan(&self) -> u64 {
        self.plan.as_ref().map_or(0, |plan| plan.cola.faltan())
    }

    // ----- Los partes -----

    fn atender_un_parte(&mut self) -> Result<(), NoDescargado> {
        let vence = self.cuando_mirar().map_or_else(never, at);
        select! {
            recv(self.partes) -> parte => match parte {
                Ok(Parte::NoSeGuarda(fallo)) => return Err(fallo),
                Ok(Parte::Completo | Parte::Empezado) => {}
                Ok(Parte::SeFue(lugar, fallo, en_vano)) => self.se_fue(lugar, fallo, en_vano),
                Ok(Parte::Tarda(lugar)) => self.decir_que_calcula(lugar, 0),
                Ok(Parte::Presentada(lugar, que)) => self.anotar(lugar, que),
                Ok(Parte::Retirada(lugar, fallo)) => self.retirar(lugar, &fallo),
                // Ningún hilo vive.
                Err(_) => self.fuentes.iter_mut().for_each(|f| f.situacion = Situacion::Retirada),
            },
            recv(self.pedido.parada.canal()) -> _ => return Err(self.cancelada()),
            recv(vence) -> _ => self.cansarse_de_esperar(),
        }
        Ok(())
    }

    /// La dejaron. Si hay algo bajado, se dice cuánto queda para la próxima vez.
    fn cancelada(&self) -> NoDescargado {
        if let Some(plan) = &self.plan {
            let todos = cuantos_bloques(plan.contenido.tamano);
            let (nombre, quedan) = (self.pedido.nombre, todos - plan.cola.faltan());
            if quedan > 0 {
                let frase = format!("quedan guardados {quedan} de sus {todos} bloques");
                (self.pedido.avisar)(format!("{nombre}: {frase}"));
            }
        }
        NoDescargado::Cancelado
    }

    /// Cuándo acaba algún plazo.
    fn cuando_mirar(&self) -> Option<Instant> {
        if self.conviene_esperar() {
            return self.primera.map(|primera| primera + GRACIA);
        }
        let llamadas = self
            .fuentes
            .iter()
            .filter_map(|fuente| match fuente.situacion {
                Situacion::SeLaLlama(cuando) => Some(cuando),
                _ => None,
            });
        let repaso = self.plan.as_ref().map(|_| Instant::now() + REPASO);
        let vencen = self.fuentes.iter().filter_map(Candidata::vence);
        vencen.chain(llamadas).chain(repaso).min()
    }

    fn anotar(&mut self, lugar: usize, presentada: Result<Info, FalloPar>) {
        let fuente = &mut self.fuentes[lugar];
        if fuente.situacion == Situacion::Retirada {
            return;
        }
        match presentada {
            Ok(Info {
                tamano,
                huella: Some(huella),
            }) => {
                fuente.contenido = Some(Contenido { tamano, huella });
                fuente.situacion = Situacion::Disponible;
                self.primera.get_or_insert_with(Instant::now);
            }
            Ok(Info { tamano, .. }) => self.sigue_calculando(lugar, tamano),
            // Con clave, quien cierra no es un nodo de la guía, ni se le hablaría como a uno.
            Err(FalloPar::Cerro) if self.pedido.limites.clave.is_none() => {
                fuente.situacion = Situacion::Guia;
            }
            Err(FalloPar::NoLoTiene) => fuente.situacion = Situacion::NoLoTiene,
            Err(fallo) => self.retirar(lugar, &fallo),
        }
    }

    /// Aún no sabe la huella: se dice una vez, y su hilo vuelve a preguntar.
    fn sigue_calculando(&mut self, lugar: usize, tamano: u64) {
        self.decir_que_calcula(lugar, tamano);
        let fuente = &mut self.fuentes[lugar];
        fuente.situacion = Situacion::Calculando(tamano);
        if fuente.calcula_hasta.is_none() {
            let leerlo = Duration::from_secs(tamano / LECTURA_LENTA).min(TOPE_DE_CALCULO);
            fuente.calcula_hasta = Some(Instant::now() + self.pedido.limites.calcular + leerlo);
            (self.pedido.avisar)(format!(
                "{} aún calcula la huella de {}; se le vuelve a preguntar cada segundo",
                fuente.direccion, self.pedido.nombre
            ));
        }
    }

    /// Sin nada mejor que hacer, que se vea a qué se espera.
    fn decir_que_calcula(&self, lugar: usize, tamano: u64) {
        if self.plan.is_none() && self.fuentes[lugar].situacion == Situacion::SinContestar {
            self.pedido.progreso.empezar(Fase::Calculando, tamano, 0);
        }
    }

    fn cansarse_de_esperar(&mut self) {
        let ahora = Instant::now();
        for lugar in 0..self.fuentes.len() {
            let vence = self.fuentes[lugar].vence();
            if vence.is_some_and(|vence| vence <= ahora) {
                self.retirar(lugar, &"lleva demasiado calculando la huella");
            }
        }
    }

    // ----- Cuando no queda ninguna -----

    /// Las fuentes se acabaron. Sin un solo bloque bueno queda, si la hay, la guía.
    fn sin_nadie(&self) -> Result<Obtenido, NoDescargado> {
        let hechos =
            |plan: &&Arc<Plan>| plan.cola.faltan() < cuantos_bloques(plan.contenido.tamano);
        if let Some(plan) = self.plan.as_ref().filter(hechos) {
            return Err(self.a_medias(plan).into());
        }
        let fuentes = self.fuentes.iter();
        let de_la_guia = fuentes.filter(|f| f.situacion == Situacion::Guia);
        let de_la_guia: Vec<SocketAddr> = de_la_guia.map(|f| f.direccion).collect();
        if !de_la_guia.is_empty() {
            return Ok(Obtenido::SoloLaGuia(de_la_guia));
        }
        let no_lo_tiene =
            |f: &Candidata| matches!(f.situacion, Situacion::NoLoTiene | Situacion::Par);
        if self.fuentes.iter().all(no_lo_tiene) {
            return Err(NoDescargado::NoEncontrado);
        }
        let nadie = || {
            Fallo::nuevo(format!(
                "ninguna fuente pudo dar {}{}: comprueba con «nodo estado» que estén en marcha y \
                 vuelve a pedirlo",
                self.pedido.nombre,
                self.la_ultima()
            ))
        };
        Err(self.no_cabe.clone().unwrap_or_else(nadie).into())
    }

    fn a_medias(&self, plan: &Plan) -> Fallo {
        let (faltan, total) = (plan.cola.faltan(), cuantos_bloques(plan.contenido.tamano));
        let Marcha { hechos, .. } = self.pedido.progreso.mirar();
        Fallo::nuevo(format!(
            "no queda ninguna fuente de {}{}: hay {} de {total} bloques buenos, y por bajar, {}; \
             lo bueno queda guardado: vuelve a pedirlo cuando haya otra fuente y seguirá por \
             donde iba",
            self.pedido.nombre,
            self.la_ultima(),
            total - faltan,
            texto_tamano(plan.contenido.tamano.saturating_sub(hechos))
        ))
    }

    /// « (la última, …: por qué)»: quien envía sólo oye esta frase, y así sabe qué hizo mal.
    fn la_ultima(&self) -> String {
        let contar = |quien| format!(" (la última, {quien})");
        let ultima = self.ultima_retirada.as_ref();
        ultima.map_or_else(String::new, contar)
    }
}
