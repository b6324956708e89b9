//! Bajar varios archivos y carpetas enteras: quién dirige.
//!
//! 1. `LISTAR` a todos a la vez, y por esas mismas conexiones lo demás (`catalogo.rs`);
//! 2. lo que ya se tiene no se baja, y se mira si cabe lo que falta;
//! 3. los de un solo bloque, encadenados y de todas las fuentes a la vez (`chicos.rs`); llegan aquí
//!    escritos en su archivo a medias, y se aseguran en el disco y toman su nombre por lotes;
//! 4. los demás, con el motor de siempre, uno detrás de otro; también lo que sólo tengan los nodos
//!    de la guía y los ajenos, que no saben listar.
//!
//! Ninguno toma su nombre antes de estar asegurado, como con uno solo: lo que cambia es que se
//! asegura un lote de una vez. No escribe en pantalla.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crossbeam_channel::{Receiver, select};

use crate::consola::preguntar_a_todos;
use crate::consola::progreso::Fase;
use crate::fallo::Fallo;
use crate::guia::{ERROR_AL_DESCARGAR, NO_ENCONTRADO};
use crate::nodo::carpeta::huella::cuantos_bloques;
use crate::nodo::carpeta::nombres::en_nfc;
use crate::nodo::descarga::ajenas::descargar_de;
use crate::nodo::descarga::balance::Balance;
use crate::nodo::descarga::catalogo::{Catalogo, Elegido, Pedidos, TOPE_DE_ARCHIVOS};
use crate::nodo::descarga::chicos::{Chico, Preguntador};
use crate::nodo::descarga::pedido::{Descargado, NoDescargado, Pedido};
use crate::nodo::descarga::plan::Destino;
use crate::nodo::descarga::seguidas::Seguidas;
use crate::nodo::maestro::localizar::{Hallado, buscar_en_la_red};
use crate::nodo::palabras::pedir::{FalloPar, listar_y_seguir};
use crate::nodo::vecinos::Vecinos;
use crate::red::parada::{Parada, cerrojo};
use crate::texto::cuenta;

/// Quien dirige: qué se pide, y cómo va.
pub struct Varios<'a> {
    /// A dónde va. De él no se usa el nombre.
    pub pedido: &'a Pedido<'a>,
    /// A quiénes se pregunta: los peers, o los que se dijeran con `--de`.
    pub vecinos: &'a Vecinos,
    /// ¿Se dijo de quiénes?
    pub dichos: bool,
    /// Corta las conexiones al acabar, o si lo cancelan.
    pub sockets: &'a Parada,
    /// Cómo va.
    pub balance: Balance,
}

/// Baja todo lo que diga `escritos`: nombres exactos, y carpetas si acaban en `/`.
pub fn descargar_varios(
    escritos: &[String],
    vecinos: &Vecinos,
    dichos: bool,
    pedido: &Pedido,
) -> Result<Balance, Fallo> {
    let sockets = Parada::nueva();
    let vecinos = &vecinos.para_una_tanda(&sockets);
    let mut varios = Varios {
        pedido,
        vecinos,
        dichos,
        sockets: &sockets,
        balance: Balance::default(),
    };
    let hecho = varios.de_principio_a_fin(Pedidos::leer(escritos));
    sockets.cortar();
    varios.balance.cancelado = pedido.parada.avisada();
    match hecho {
        Err(NoDescargado::Fallo(fallo)) => Err(fallo),
        _ => Ok(varios.balance),
    }
}

/// Las conexiones con los que contestaron, en el orden de la lista.
pub(super) type Lineas<'s> = Vec<Option<Mutex<Seguidas<'s>>>>;

impl<'s> Varios<'s> {
    fn de_principio_a_fin(&mut self, pedidos: Pedidos) -> Result<(), NoDescargado> {
        let (mut catalogo, mut lineas) = self.listar(pedidos)?;
        self.preguntar_huellas(&mut catalogo, &mut lineas)?;
        if catalogo.sobran {
            self.avisar(format!(
                "hay más de {TOPE_DE_ARCHIVOS} archivos: los demás, por subcarpetas"
            ));
        }
        let (elegidos, sin_huella) = catalogo.elegir(&|frase| self.avisar(frase));
        if !sin_huella.is_empty() {
            let cuantos = cuenta(sin_huella.len(), "archivo", "archivos");
            self.avisar(format!("aún se calcula la huella de {cuantos}: al final"));
        }
        self.mirar_las_carpetas(&catalogo.pedidos, &elegidos, &sin_huella);
        let (chicos, mut grandes) = self.separar(elegidos)?;
        let todos = chicos.iter().map(|chico| &chico.elegido).chain(&grandes);
        let tamanos = todos.map(|uno| uno.contenido.tamano);
        let total = tamanos.fold(0, u64::saturating_add);
        self.pedido.progreso.empezar(Fase::Pasando, total, 0);
        let direcciones = self.vecinos.peers.clone();
        grandes.extend(self.los_chicos(chicos, lineas)?);
        let grandes = grandes.into_iter().map(|uno| (uno.nombre, uno.fuentes));
        for (nombre, fuentes) in grandes.chain(sin_huella) {
            let de = |fuente: u16| Hallado::nuestro(direcciones[usize::from(fuente)]);
            let fuentes: Vec<_> = fuentes.into_iter().map(de).collect();
            self.como_siempre(&nombre, &fuentes)?;
        }
        for nombre in &catalogo.pedidos.nombres {
            self.el_que_no_lista_nadie(nombre)?;
        }
        Ok(())
    }

    pub(super) fn avisar(&self, frase: String) {
        (self.pedido.avisar)(frase);
    }

    pub(super) fn fallo(&mut self, nombre: &str, motivo: &str) {
        self.avisar(format!("{ERROR_AL_DESCARGAR} {nombre}: {motivo}"));
        self.balance.sumar_fallo(nombre, motivo);
    }

    fn no_esta(&mut self, nombre: &str, motivo: &str) {
        self.avisar(format!("{NO_ENCONTRADO} {nombre}: {motivo}"));
        self.balance.sumar_fallo(nombre, motivo);
        self.balance.no_hallados.push(nombre.to_string());
    }

    pub(super) fn bajado(&mut self, pedido: &str, quedo: &str, tamano: u64, ya_estaba: bool) {
        if ya_estaba {
            self.balance.ya += 1;
            return;
        }
        self.balance.bajados += 1;
        self.balance.bytes += tamano;
        if quedo != en_nfc(pedido) {
            self.avisar(format!(
                "{pedido} queda como «{quedo}»: ya había otro archivo distinto con ese nombre"
            ));
        }
    }

    fn seguir(&self) -> Result<(), NoDescargado> {
        match self.pedido.parada.avisada() {
            true => Err(NoDescargado::Cancelado),
            false => Ok(()),
        }
    }

    /// Hace la misma pregunta a todos a la vez. Un Ctrl-C la corta.
    fn a_todos<P: Copy + Send + Sync, T: Send>(
        &self,
        a_quienes: &[P],
        pregunta: impl Fn(P) -> T + Sync,
        mut llega: impl FnMut(usize, T),
    ) -> Result<(), NoDescargado> {
        preguntar_a_todos(a_quienes, pregunta, |respuestas: &Receiver<(usize, T)>| {
            loop {
                select! {
                    recv(respuestas) -> respuesta => match respuesta {
                        Ok((lugar, respuesta)) => llega(lugar, respuesta),
                        Err(_) => return,
                    },
                    recv(self.pedido.parada.canal()) -> _ => return self.sockets.cortar(),
                }
            }
        })?;
        self.seguir()
    }

    // ----- Qué hay -----

    /// `LISTAR` a todos, y las conexiones de los que contestan.
    fn listar(&self, pedidos: Pedidos) -> Result<(Catalogo, Lineas<'s>), NoDescargado> {
        let peers: Vec<(u16, SocketAddr)> = (0..).zip(self.vecinos.peers.iter().copied()).collect();
        let con_carpetas = !pedidos.carpetas.is_empty();
        let catalogo = Mutex::new(Catalogo::nuevo(pedidos));
        let preguntar = |(lugar, peer)| {
            listar_y_seguir(self.vecinos, peer, |entrada| {
                cerrojo(&catalogo).anotar(lugar, entrada);
            })
        };
        let mut lineas: Lineas = peers.iter().map(|_| None).collect();
        self.a_todos(&peers, preguntar, |lugar, fin| match fin {
            Ok(conexion) => {
                let linea = Seguidas::por(conexion, self.pedido.limites, self.sockets);
                lineas[lugar] = Some(Mutex::new(linea));
            }
            Err(FalloPar::Repetido(_)) => {}
            Err(FalloPar::Cerro) if !con_carpetas => {}
            Err(fallo) => {
                let motivo = match fallo {
                    FalloPar::Cerro => "es un nodo de la guía: no sabe listar".to_string(),
                    otro => otro.to_string(),
                };
                self.avisar(format!("{}: {motivo}", peers[lugar].1));
            }
        })?;
        let catalogo = catalogo.into_inner();
        Ok((catalogo.unwrap_or_else(PoisonError::into_inner), lineas))
    }

    /// De los que nadie dijo la huella se pregunta, un rato. Quien sirve espera un poco a saberla.
    fn preguntar_huellas(
        &self,
        catalogo: &mut Catalogo,
        lineas: &mut Lineas<'s>,
    ) -> Result<(), NoDescargado> {
        let faltan = catalogo.sin_huella(|fuente| lineas[usize::from(fuente)].is_some());
        let tamanos = faltan.iter().map(|falta| falta.tamano);
        let total = tamanos.fold(0, u64::saturating_add);
        self.pedido.progreso.empezar(Fase::Calculando, total, 0);
        let a_quienes: BTreeSet<u16> = faltan.iter().map(|falta| falta.fuente).collect();
        let a_quienes: Vec<u16> = a_quienes.into_iter().collect();
        let hasta = Instant::now() + self.pedido.limites.calcular;
        let preguntar = |fuente: u16| {
            let suyos = faltan.iter().filter(|falta| falta.fuente == fuente);
            let mut pregunta = Preguntador {
                nombres: suyos.map(|falta| (falta, &*falta.nombre)).collect(),
                siguiente: 0,
                hasta,
                contestado: Vec::new(),
            };
            let linea = lineas[usize::from(fuente)].as_ref();
            let fin = linea.map(|linea| cerrojo(linea).hacer(&mut pregunta));
            (pregunta.contestado, fin.unwrap_or(Ok(())))
        };
        let mut muertas = Vec::new();
        self.a_todos(&a_quienes, preguntar, |lugar, (contestado, fin)| {
            for (de, info) in contestado {
                catalogo.saber(de, info);
            }
            if let Err(fallo) = fin {
                muertas.push((a_quienes[lugar], fallo));
            }
        })?;
        for (fuente, fallo) in muertas {
            self.decir_que_se_retira(fuente, &fallo);
            lineas[usize::from(fuente)] = None;
        }
        Ok(())
    }

    pub(super) fn decir_que_se_retira(&self, fuente: u16, fallo: &FalloPar) {
        let quien = self.vecinos.peers[usize::from(fuente)];
        self.avisar(format!("[FUENTE RETIRADA] {}", fallo.de(quien)));
    }

    /// Una carpeta de la que no cuelga nada es que no está.
    fn mirar_las_carpetas(
        &mut self,
        pedidos: &Pedidos,
        elegidos: &[Elegido],
        otros: &[(String, Vec<u16>)],
    ) {
        for carpeta in &pedidos.carpetas {
            let cuelga = |nombre: &String| en_nfc(nombre).starts_with(carpeta);
            let nombres = elegidos.iter().map(|uno| &uno.nombre);
            if !nombres
                .chain(otros.iter().map(|(nombre, _)| nombre))
                .any(cuelga)
            {
                self.no_esta(carpeta, "nadie tiene esa carpeta");
            }
        }
    }

    // ----- Qué falta -----

    /// Los que hay que bajar: los de un solo bloque y los demás. No están los que ya se tienen, los
    /// que no se pueden guardar ni los que no caben.
    fn separar(
        &mut self,
        elegidos: Vec<Elegido>,
    ) -> Result<(Vec<Chico>, Vec<Elegido>), NoDescargado> {
        let (mut chicos, mut grandes) = (Vec::new(), Vec::new());
        let (carpeta, parada) = (self.pedido.carpeta, self.pedido.parada);
        let total = elegidos.iter().map(|uno| uno.contenido.tamano);
        let total = total.fold(0, u64::saturating_add);
        self.pedido.progreso.empezar(Fase::Leyendo, 0, 0);
        let mut libre = carpeta.libre();
        let justo = libre.is_some_and(|libre| total > libre);
        // Cada subcarpeta se lee una vez: los de una misma van casi siempre seguidos.
        let (mut sub, mut hay) = (None, BTreeSet::new());
        for elegido in elegidos {
            let nombre = match Destino::nuevo(&elegido.nombre, false) {
                Ok(destino) => destino.nombre,
                Err(malo) => {
                    self.fallo(&elegido.nombre, &malo.to_string());
                    continue;
                }
            };
            if sub.as_deref() != Some(nombre.partes().0) {
                sub = Some(nombre.partes().0.to_string());
                hay = carpeta.nombres_junto_a(&nombre);
            }
            let contenido = (elegido.contenido.tamano, elegido.contenido.huella);
            if carpeta
                .copia_igual_entre(&hay, &nombre, contenido, parada)
                .is_some()
            {
                self.balance.ya += 1;
                continue;
            }
            self.seguir()?;
            if let Some(cabe) = libre.filter(|_| justo) {
                match carpeta.ver_si_cabe_en(cabe, &nombre, elegido.contenido.tamano) {
                    Ok(quedan) => libre = Some(quedan),
                    Err(no_cabe) => {
                        self.fallo(&elegido.nombre, &no_cabe.to_string());
                        continue;
                    }
                }
            }
            match cuantos_bloques(elegido.contenido.tamano) {
                1 => chicos.push(Chico { elegido, nombre }),
                _ => grandes.push(elegido),
            }
        }
        Ok((chicos, grandes))
    }

    // ----- Los demás -----

    /// Uno, con el motor de siempre.
    fn como_siempre(&mut self, nombre: &str, fuentes: &[Hallado]) -> Result<(), NoDescargado> {
        self.seguir()?;
        self.pedido.progreso.seguir_contando();
        match descargar_de(
            fuentes,
            &Pedido {
                nombre,
                ..*self.pedido
            },
        ) {
            Ok(Descargado {
                nombre: quedo,
                tamano,
                ya_estaba,
                ..
            }) => {
                self.bajado(nombre, &quedo, tamano, ya_estaba);
            }
            Err(NoDescargado::Cancelado) => return Err(NoDescargado::Cancelado),
            Err(NoDescargado::NoEncontrado) => self.el_que_nadie_tiene(nombre),
            Err(NoDescargado::Fallo(fallo)) => self.fallo(nombre, &fallo.to_string()),
        }
        Ok(())
    }

    /// Quizá lo tenga un nodo de la guía o uno ajeno, o quien no contestó a la lista.
    fn el_que_no_lista_nadie(&mut self, nombre: &str) -> Result<(), NoDescargado> {
        self.seguir()?;
        let fuentes = match self.dichos {
            true => self
                .vecinos
                .peers
                .iter()
                .copied()
                .map(Hallado::nuestro)
                .collect(),
            false => {
                let vecinos = self.vecinos.para_una_tanda(self.pedido.parada);
                buscar_en_la_red(&vecinos, nombre, &|_| (), self.pedido.avisar)?
            }
        };
        match fuentes.is_empty() {
            true => self.el_que_nadie_tiene(nombre),
            false => return self.como_siempre(nombre, &fuentes),
        }
        self.seguir()
    }

    fn el_que_nadie_tiene(&mut self, nombre: &str) {
        if self.pedido.carpeta.abrir_archivo(nombre).is_ok() {
            self.avisar(format!("{nombre}: no está en la red, pero ya lo tienes tú"));
            self.balance.ya += 1;
        } else {
            self.no_esta(nombre, "nadie lo tiene");
        }
    }
}
