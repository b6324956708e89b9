//! Encontrarse: a quién de los que se oyen se le cree, y si sigue vivo.
//!
//! Un anuncio no vale nada hasta que quien está en esa dirección contesta `HOLA` con ese `id`. Así
//! uno se reconoce a sí mismo, quien tiene dos IP cuenta una vez y nadie entra por lo que otro
//! grite. Después se le vuelve a saludar cada `LATIDO` por la misma conexión: el que muere sale
//! de la lista en menos de 10 s. A quien nos saluda se le llama igual, aunque no se le oiga.
//!
//! Un hilo lleva la cuenta de los oídos (`Cuaderno`) y arranca otro por cada uno que haya que
//! vigilar. Al salir se cortan sus conexiones, y se les espera.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, after, bounded, never, select, tick};

use crate::config::{Config, Limites};
use crate::consola::Consola;
use crate::fallo::{Fallo, Salida};
use crate::lan::anuncios::{Antena, Anuncio, Oido, es_mejorable};
use crate::lan::conocidos::{Conocido, MAX_CONOCIDOS};
use crate::nodo::Nodo;
use crate::nodo::palabras::pedir::{FalloPar, pedir};
use crate::nodo::palabras::protocolo::{Palabra, Presentacion, Respuesta};
use crate::nodo::vecinos::Vecinos;
use crate::red::conexion::{Conexion, FalloRed};
use crate::red::hilos::{Hilo, arrancar, arrancar_en};
use crate::red::parada::Parada;

/// Cada cuánto se saluda a un conocido.
const LATIDO: Duration = Duration::from_secs(4);
/// Lo que tiene para contestar. Con el latido y otro intento, menos de 10 s.
const RESPUESTA: Duration = Duration::from_secs(2);
/// Lo que se tarda, como mucho, en conectar con cada dirección.
const CONECTAR: Duration = Duration::from_millis(1200);
/// Cada cuánto se mira a quién toca volver a llamar.
const RONDA: Duration = Duration::from_secs(1);
/// Lo que se espera a que un anuncio traiga una dirección mejor.
const MEJORA: Duration = Duration::from_millis(400);
/// Lo que se espera para volver a llamar a quien no contestó: el doble cada vez, hasta el tope.
const REINTENTO: Duration = Duration::from_secs(1);
const REINTENTO_MAX: Duration = Duration::from_secs(32);
/// A quien sólo nos saludó no se le llama más veces.
const INTENTOS_POR_SALUDO: u32 = 3;
/// Oídos que se recuerdan, contesten o no.
const MAX_OIDOS: usize = 2 * MAX_CONOCIDOS;
/// De los que aún no han contestado, a cuántos se llama a la vez.
const MAX_LLAMADAS: usize = 16;
/// Lo que oye una orden suelta con `--descubrir`: el primer anuncio llega en uno o dos segundos.
const UN_RATO: Duration = Duration::from_secs(2);
/// Cada cuántas rondas se mira si la antena sigue bien.
const RONDAS_POR_REPASO: u32 = 5;

// ----- Un nodo en marcha -----

/// Arranca el hilo que anuncia a `nodo` y conoce a los demás, hasta que se sale. `None` si no se
/// pidió.
pub fn mantener(nodo: &Arc<Nodo>) -> Result<Option<Hilo<()>>, Fallo> {
    if nodo.vecinos.conocidos.saludos().is_none() {
        return Ok(None);
    }
    let antena = abrir_antena(nodo)?;
    let nodo = Arc::clone(nodo);
    arrancar("descubrir", move || Cuaderno::nuevo(nodo).llevar(antena)).map(Some)
}

/// Con clave no se grita el nombre: quien la tenga lo sabrá al saludar.
fn abrir_antena(nodo: &Nodo) -> Result<Antena, Fallo> {
    let mut yo = nodo.vecinos.presentacion();
    if nodo.vecinos.limites.clave.is_some() {
        yo.nombre.clear();
    }
    Antena::abrir(nodo.direccion.ip(), Some(&yo))
}

/// Lo que se sabe de uno que se oyó.
struct Seguido {
    oido: Oido,
    /// ¿Se le oyó en la red, o sólo nos saludó?
    anunciado: bool,
    fallos: u32,
    /// Cuándo se le puede llamar.
    desde: Instant,
    /// Quien le llama o le vigila.
    vigilante: Option<Hilo<()>>,
    /// Por donde se le dice a ese que hay una dirección mejor.
    mejoras: (Sender<Oido>, Receiver<Oido>),
    /// ¿Llegó a contestar?
    vivo: bool,
}

/// La cuenta de los oídos. Sólo la toca su hilo.
struct Cuaderno {
    nodo: Arc<Nodo>,
    apuntes: HashMap<String, Seguido>,
    noticias: (Sender<Noticia>, Receiver<Noticia>),
}

/// Lo que cuenta quien vigila a uno.
enum Noticia {
    Contesta(String),
    Acabo(String),
}

impl Cuaderno {
    fn nuevo(nodo: Arc<Nodo>) -> Cuaderno {
        Cuaderno {
            nodo,
            apuntes: HashMap::new(),
            // Con sitio para las dos de cada uno: ningún vigilante espera para contarlo.
            noticias: bounded(2 * MAX_OIDOS),
        }
    }

    fn llevar(mut self, antena: Antena) {
        let saliendo = self.nodo.saliendo.clone();
        let saludos = self.nodo.vecinos.conocidos.saludos().cloned();
        let saludos = saludos.unwrap_or_else(never);
        let (ronda, mut rondas, mut antena) = (tick(RONDA), 0, Some(antena));
        while !saliendo.avisada() {
            let oidos = antena.as_ref().map_or_else(never, |a| a.oidos.clone());
            let mut rota = false;
            select! {
                recv(oidos) -> anuncio => match anuncio {
                    Ok(Anuncio::Hay(oido)) => self.apuntar(oido, true),
                    Ok(Anuncio::SeFue(id)) => self.olvidar(&id),
                    Err(_) => rota = true,
                },
                recv(saludos) -> oido => oido.into_iter().for_each(|o| self.apuntar(o, false)),
                recv(self.noticias.1) -> noticia => {
                    noticia.into_iter().for_each(|noticia| self.saber(noticia));
                }
                recv(ronda) -> _ => rondas += 1,
                recv(saliendo.canal()) -> _ => break,
            }
            drop(oidos);
            if rota || rondas == RONDAS_POR_REPASO {
                antena = repasar(antena.filter(|_| !rota), &self.nodo);
                rondas = 0;
            }
            self.llamar_a_quien_toca();
        }
        antena.into_iter().for_each(Antena::cerrar);
        let vigilantes = self.apuntes.into_values().filter_map(|a| a.vigilante);
        vigilantes.for_each(|vigilante| vigilante.esperar().unwrap_or_default());
    }

    /// Apunta a uno, o lo nuevo de uno que ya estaba. Si no cabe, deja su sitio el que más veces no
    /// haya contestado.
    fn apuntar(&mut self, oido: Oido, anunciado: bool) {
        let vecinos = &self.nodo.vecinos;
        if oido.id == vecinos.id || oido.direcciones.is_empty() {
            return;
        }
        if let Some(apunte) = self.apuntes.get_mut(&oido.id) {
            let nuevo = apunte.oido.direcciones != oido.direcciones;
            // Lo que dice el anuncio manda: quien saluda lo hace desde una sola de sus IP.
            if anunciado && (nuevo || !apunte.anunciado) {
                apunte.anunciado = true;
                if !oido.es_mejorable() {
                    let _ = apunte.mejoras.0.try_send(oido.clone());
                }
                apunte.oido = oido;
                (apunte.fallos, apunte.desde) = (0, cuando_llamar(&apunte.oido));
            }
            return;
        }
        if self.apuntes.len() >= MAX_OIDOS && !self.hacer_sitio() {
            return;
        }
        let apunte = Seguido {
            desde: cuando_llamar(&oido),
            oido,
            anunciado,
            fallos: 0,
            vigilante: None,
            mejoras: bounded(1),
            vivo: false,
        };
        self.apuntes.insert(apunte.oido.id.clone(), apunte);
    }

    fn hacer_sitio(&mut self) -> bool {
        let parados = self.apuntes.values().filter(|a| a.vigilante.is_none());
        let peor = parados.max_by_key(|a| a.fallos).filter(|a| a.fallos > 0);
        let peor = peor.map(|apunte| apunte.oido.id.clone());
        peor.and_then(|id| self.apuntes.remove(&id)).is_some()
    }

    /// Dejó de anunciarse. Si aún contesta, sigue: muchos cortafuegos dejan hablar y no oír.
    fn olvidar(&mut self, id: &str) {
        if let Some(apunte) = self.apuntes.get_mut(id) {
            apunte.anunciado = false;
            if apunte.vigilante.is_none() {
                self.apuntes.remove(id);
            }
        }
    }

    fn saber(&mut self, noticia: Noticia) {
        match noticia {
            Noticia::Contesta(id) => {
                if let Some(apunte) = self.apuntes.get_mut(&id) {
                    (apunte.vivo, apunte.fallos) = (true, 0);
                }
            }
            Noticia::Acabo(id) => self.volver_a_llamar(&id),
        }
    }

    /// Quien le vigilaba acabó: no contestó, o ya no contesta. Se le volverá a llamar mientras se
    /// anuncie.
    fn volver_a_llamar(&mut self, id: &str) {
        let Some(apunte) = self.apuntes.get_mut(id) else {
            return;
        };
        apunte.vigilante.take().map(Hilo::esperar);
        apunte.vivo = false;
        apunte.fallos += 1;
        if !apunte.anunciado && apunte.fallos >= INTENTOS_POR_SALUDO {
            self.apuntes.remove(id);
            return;
        }
        let espera = REINTENTO * 2u32.saturating_pow(apunte.fallos.min(10) - 1);
        apunte.desde = Instant::now() + espera.min(REINTENTO_MAX);
    }

    fn llamar_a_quien_toca(&mut self) {
        let con_hilo = self.apuntes.values().filter(|a| a.vigilante.is_some());
        let (vivos, llamando): (Vec<_>, Vec<_>) = con_hilo.partition(|a| a.vivo);
        let caben = MAX_CONOCIDOS.saturating_sub(vivos.len() + llamando.len());
        let caben = caben.min(MAX_LLAMADAS.saturating_sub(llamando.len()));
        let ahora = Instant::now();
        let toca = |a: &&mut Seguido| a.vigilante.is_none() && a.desde <= ahora;
        for apunte in self.apuntes.values_mut().filter(toca).take(caben) {
            let (nodo, oido) = (Arc::clone(&self.nodo), apunte.oido.clone());
            let (contar, mejoras) = (self.noticias.0.clone(), apunte.mejoras.1.clone());
            let hilo = arrancar(&format!("conocido-{}", oido.id), move || {
                vigilar(&oido, &nodo, &contar, &mejoras);
                // Sólo falla si ya se está saliendo.
                let _ = contar.send(Noticia::Acabo(oido.id));
            });
            match hilo {
                Ok(hilo) => apunte.vigilante = Some(hilo),
                Err(fallo) => {
                    log::warn!("{fallo}");
                    apunte.desde = ahora + REINTENTO_MAX;
                }
            }
        }
    }
}

fn cuando_llamar(oido: &Oido) -> Instant {
    let espera = if oido.es_mejorable() {
        MEJORA
    } else {
        Duration::ZERO
    };
    Instant::now() + espera
}

/// La antena, u otra si se rindió o guarda demasiado.
fn repasar(antena: Option<Antena>, nodo: &Nodo) -> Option<Antena> {
    match antena {
        Some(antena) if !antena.esta_llena() => return Some(antena),
        Some(llena) => llena.cerrar(),
        None => {}
    }
    let otra = abrir_antena(nodo);
    otra.inspect_err(|fallo| log::warn!("{fallo}")).ok()
}

/// Llama a uno y, si es quien dice, lo apunta entre los conocidos mientras conteste.
fn vigilar(oido: &Oido, nodo: &Nodo, contar: &Sender<Noticia>, mejoras: &Receiver<Oido>) {
    let (vecinos, saliendo) = (&nodo.vecinos, &nodo.saliendo);
    if oido.direcciones.iter().any(|una| vecinos.es_escrito(*una)) {
        return; // A ese ya se le pregunta.
    }
    let (mut conexion, mut quien) = match encontrar(oido, vecinos, saliendo) {
        Ok(encontrado) => encontrado,
        Err(fallo) => return log::debug!("se oye a nodo-{}, y {fallo}", oido.id),
    };
    if !vecinos.conocidos.entra(quien.clone()) {
        return;
    }
    let _ = contar.send(Noticia::Contesta(oido.id.clone()));
    let avisar = |que: &str, quien: &Conocido| {
        let linea = format!("[{que}] {} en {}", quien.nombre, quien.direccion);
        nodo.avisador.destacar(vec![linea]);
    };
    avisar("ENCONTRADO", &quien);
    while let Some(sigue) = sigue_vivo(conexion, &quien, vecinos, saliendo) {
        conexion = sigue;
        let mejora = mejoras.try_recv().ok();
        let mejora = mejora.filter(|_| es_mejorable(quien.direccion.ip()));
        let mejora = mejora.and_then(|mejor| encontrar(&mejor, vecinos, saliendo).ok());
        if let Some((otra, mejor)) = mejora {
            vecinos.conocidos.muda(&mejor.id, mejor.direccion);
            avisar("ENCONTRADO", &mejor);
            (conexion, quien) = (otra, mejor);
        }
    }
    vecinos.conocidos.sale(&oido.id);
    if !saliendo.avisada() {
        avisar("SE FUE", &quien);
    }
}

/// Espera al siguiente latido y saluda. Por la misma conexión o, si falla, por otra, una vez.
fn sigue_vivo(
    mut conexion: Conexion,
    quien: &Conocido,
    vecinos: &Vecinos,
    saliendo: &Parada,
) -> Option<Conexion> {
    let (direccion, id) = (quien.direccion, &quien.id);
    // Sin que se le pregunte no dice nada: si llega algo, es que se va.
    let callado = conexion.recibir(Instant::now() + LATIDO, "el latido");
    if matches!(callado, Err(FalloRed::Vencio(_))) && es_el(&mut conexion, vecinos, id).is_ok() {
        return Some(conexion);
    }
    drop(conexion);
    let (conexion, _) = llamar(direccion, vecinos, id, saliendo).ok()?;
    Some(conexion)
}

/// La primera de sus direcciones en que contesta ese `id`.
fn encontrar(
    oido: &Oido,
    vecinos: &Vecinos,
    parada: &Parada,
) -> Result<(Conexion, Conocido), FalloPar> {
    let mut ultimo = FalloPar::Cerro;
    for direccion in oido.direcciones.iter().filter(|una| !vecinos.soy_yo(**una)) {
        match llamar(*direccion, vecinos, &oido.id, parada) {
            Ok((conexion, quien)) => {
                let conocido = Conocido {
                    id: oido.id.clone(),
                    nombre: quien.nombre,
                    direccion: *direccion,
                };
                return Ok((conexion, conocido));
            }
            Err(fallo) => ultimo = fallo,
        }
    }
    Err(ultimo)
}

fn llamar(
    direccion: SocketAddr,
    vecinos: &Vecinos,
    id: &str,
    parada: &Parada,
) -> Result<(Conexion, Presentacion), FalloPar> {
    let limites = Limites {
        respuesta: RESPUESTA,
        ..vecinos.limites.clone()
    };
    let mut conexion = Conexion::conectar(direccion, CONECTAR, &limites, parada)?;
    let quien = es_el(&mut conexion, vecinos, id)?;
    Ok((conexion, quien))
}

/// Saluda, y comprueba que quien contesta es el de ese `id`.
fn es_el(conexion: &mut Conexion, vecinos: &Vecinos, id: &str) -> Result<Presentacion, FalloPar> {
    match pedir(conexion, &Palabra::Hola(vecinos.presentacion()))? {
        Respuesta::Hola(quien) if quien.id.as_deref() == Some(id) => Ok(quien),
        _ => Err(FalloPar::Miente("quien contesta ahí es otro".into())),
    }
}

// ----- La orden suelta, y las demás con `--descubrir` -----

/// `nodo descubrir`: quién hay, según contestan, sin anunciarse.
pub fn abrir(
    config: &Config,
    vecinos: &Vecinos,
    cuanto: Duration,
    consola: &mut Consola,
) -> Result<Salida, Fallo> {
    let (hallados, dejado) = consola.trabajar(|encargo| {
        let al_encontrar = |uno: &Conocido| {
            let linea = format!("{} {}", uno.direccion, uno.nombre);
            (encargo.decir)(linea);
        };
        oir_un_rato(
            config,
            vecinos,
            cuanto,
            encargo.parada,
            &al_encontrar,
            encargo.avisar,
        )
    })?;
    let hallados = hallados?;
    if hallados == 0 && !dejado {
        consola.pantalla.aviso(NADIE_SE_ANUNCIA);
    }
    Ok(Salida::de(!dejado, hallados > 0))
}

const NADIE_SE_ANUNCIA: &str = "No se oye a nadie: en los demás, nodo --descubrir. Si lo están, \
                                el cortafuegos (UDP 5353) o la red no dejan oírlos.";

/// Lo que se lleva oído en un rato.
struct Rato<'a> {
    vecinos: &'a Vecinos,
    al_encontrar: &'a (dyn Fn(&Conocido) + Sync),
    oidos: HashMap<String, Vec<SocketAddr>>,
    /// Los que esperan a que llegue una dirección mejor.
    mejorables: HashMap<String, Oido>,
    preguntados: usize,
    contestados: usize,
    hallados: usize,
    callados: HashMap<String, String>,
}

/// Lo que contestó uno de los oídos.
type Respondido = (Oido, Result<Conocido, FalloPar>);

/// Con `--descubrir`, oye un rato y conoce a los que contesten. Falso si un Ctrl-C lo dejó.
pub fn oir_si_descubre(
    config: &Config,
    vecinos: &Vecinos,
    consola: &mut Consola,
) -> Result<bool, Fallo> {
    if !config.encuentro.descubre() {
        return Ok(true);
    }
    let (oidos, dejado) = consola.trabajar(|encargo| {
        let (parada, avisar) = (encargo.parada, encargo.avisar);
        oir_un_rato(config, vecinos, UN_RATO, parada, &|_| {}, avisar)
    })?;
    oidos.map(|_| !dejado)
}

/// Oye durante `cuanto` y llama a cada uno que se anuncia, a la vez. Los que contestan quedan entre
/// los conocidos; de los que no, se avisa. Devuelve cuántos contestaron.
pub fn oir_un_rato(
    config: &Config,
    vecinos: &Vecinos,
    cuanto: Duration,
    parada: &Parada,
    al_encontrar: &(dyn Fn(&Conocido) + Sync),
    avisar: &(dyn Fn(String) + Sync),
) -> Result<usize, Fallo> {
    let antena = Antena::abrir(config.ip, None)?;
    let tanda = Parada::nueva();
    let (contar, contestan) = bounded::<Respondido>(2 * MAX_OIDOS);
    let mut rato = Rato {
        vecinos,
        al_encontrar,
        oidos: HashMap::new(),
        mejorables: HashMap::new(),
        preguntados: 0,
        contestados: 0,
        hallados: 0,
        callados: HashMap::new(),
    };
    let oido = thread::scope(|ambito| {
        let preguntar = |oido: Oido| {
            let (contar, tanda) = (contar.clone(), &tanda);
            let preguntar = move || {
                let contestado = encontrar(&oido, vecinos, tanda).map(|(_, conocido)| conocido);
                // Caben todos; y si no, sólo se deja de contar uno.
                let _ = contar.try_send((oido, contestado));
            };
            arrancar_en(ambito, "pregunta", preguntar).map(drop)
        };
        let oido = rato.oir(&antena, &contestan, (cuanto, parada), &preguntar);
        tanda.cortar();
        oido
    });
    antena.cerrar();
    rato.callados.into_values().for_each(avisar);
    oido.map(|()| rato.hallados)
}

impl Rato<'_> {
    /// Oye hasta que pasa el rato; a quien se está preguntando se le da un poco más.
    fn oir(
        &mut self,
        antena: &Antena,
        contestan: &Receiver<Respondido>,
        (cuanto, parada): (Duration, &Parada),
        preguntar: &dyn Fn(Oido) -> Result<(), Fallo>,
    ) -> Result<(), Fallo> {
        let (fin, prorroga) = (after(cuanto), after(cuanto + RESPUESTA));
        let (mut anuncios, mut acabando) = (antena.oidos.clone(), false);
        let repaso = tick(MEJORA);
        while !(acabando && self.mejorables.is_empty() && self.preguntados == self.contestados) {
            let mut listos: Vec<Oido> = Vec::new();
            select! {
                recv(anuncios) -> anuncio => match anuncio {
                    Ok(Anuncio::Hay(oido)) if !oido.es_mejorable() => listos.push(oido),
                    Ok(Anuncio::Hay(oido)) => self.dejar_para_luego(oido),
                    Ok(Anuncio::SeFue(_)) => {}
                    Err(_) => (anuncios, acabando) = (never(), true),
                },
                recv(repaso) -> _ => {
                    listos.extend(self.mejorables.drain().map(|(_, oido)| oido));
                }
                recv(contestan) -> contestado => {
                    contestado.into_iter().for_each(|contestado| self.contar(contestado));
                }
                recv(fin) -> _ => (anuncios, acabando) = (never(), true),
                recv(prorroga) -> _ => break,
                recv(parada.canal()) -> _ => break,
            }
            for oido in listos {
                self.mejorables.remove(&oido.id);
                if self.es_nuevo(&oido) {
                    preguntar(oido)?;
                }
            }
        }
        Ok(())
    }

    fn dejar_para_luego(&mut self, oido: Oido) {
        if self.mejorables.len() < MAX_OIDOS {
            self.mejorables.insert(oido.id.clone(), oido);
        }
    }

    /// ¿Hay que preguntarle? Cambiar de direcciones es volver a serlo.
    fn es_nuevo(&mut self, oido: &Oido) -> bool {
        let sabido = self.oidos.get(&oido.id) == Some(&oido.direcciones);
        if sabido || oido.id == self.vecinos.id || self.preguntados >= MAX_OIDOS {
            return false;
        }
        self.oidos.insert(oido.id.clone(), oido.direcciones.clone());
        self.preguntados += 1;
        true
    }

    fn contar(&mut self, (oido, contestado): Respondido) {
        self.contestados += 1;
        match contestado {
            Ok(conocido) => {
                self.callados.remove(&oido.id);
                if self.vecinos.conocidos.entra(conocido.clone()) {
                    self.hallados += 1;
                    (self.al_encontrar)(&conocido);
                }
            }
            Err(fallo) if self.vecinos.conocidos.tiene(&oido.id) => {
                log::debug!("nodo-{} ya contestó por otra dirección: {fallo}", oido.id);
            }
            Err(fallo) => {
                let frase = no_contesta(&oido, &fallo);
                self.callados.insert(oido.id, frase);
            }
        }
    }
}

fn no_contesta(oido: &Oido, fallo: &FalloPar) -> String {
    let nombre = oido.nombre.as_deref().unwrap_or("alguien");
    let donde: Vec<String> = oido.direcciones.iter().map(ToString::to_string).collect();
    let donde = donde.join(", ");
    format!("Se anuncia {nombre} en {donde}, pero no contesta: {fallo}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consola::eventos::Avisador;
    use crate::nodo::carpeta::Carpeta;
    use crate::ordenes::opciones::{Opciones, decidir};

    fn cuaderno(carpeta: &tempfile::TempDir) -> Cuaderno {
        let config = decidir(Opciones::default()).unwrap();
        let aqui: SocketAddr = "127.0.0.1:6001".parse().unwrap();
        let vecinos = Vecinos::nuevos(&config, "ana".into(), Some(aqui));
        let carpeta = Carpeta::abrir(carpeta.path()).unwrap();
        let avisador = Avisador::nuevo(1).0;
        Cuaderno::nuevo(Arc::new(Nodo::nuevo(
            vecinos,
            aqui,
            carpeta,
            avisador,
            Arc::default(),
        )))
    }

    fn oido(id: usize, direccion: &str) -> Oido {
        Oido {
            id: format!("{id:08x}"),
            nombre: None,
            direcciones: vec![direccion.parse().unwrap()],
        }
    }

    #[test]
    fn una_avalancha_de_anuncios_no_crece_ni_cierra_la_puerta() {
        let carpeta = tempfile::tempdir().unwrap();
        let mut cuaderno = cuaderno(&carpeta);
        for id in 0..10 * MAX_OIDOS {
            cuaderno.apuntar(oido(id, "10.0.0.2:6001"), true);
        }
        assert_eq!(cuaderno.apuntes.len(), MAX_OIDOS);
        // A los que no contestan se les acaba quitando el sitio; no hay más hilos que los dichos.
        cuaderno.volver_a_llamar(&format!("{:08x}", 7));
        cuaderno.apuntar(oido(0xb0e0, "10.0.0.3:6001"), true);
        assert!(cuaderno.apuntes.contains_key("0000b0e0"));
        assert!(!cuaderno.apuntes.contains_key("00000007"));
        assert_eq!(cuaderno.apuntes.len(), MAX_OIDOS);
        cuaderno.nodo.saliendo.cortar();
        cuaderno.llamar_a_quien_toca();
        let con_hilo = cuaderno.apuntes.values().filter(|a| a.vigilante.is_some());
        assert_eq!(con_hilo.count(), MAX_LLAMADAS);
        for apunte in cuaderno.apuntes.values_mut() {
            apunte.vigilante.take().map(Hilo::esperar);
        }
    }

    #[test]
    fn uno_mismo_no_se_apunta_y_a_quien_saluda_no_se_le_insiste() {
        let carpeta = tempfile::tempdir().unwrap();
        let mut cuaderno = cuaderno(&carpeta);
        let yo = cuaderno.nodo.vecinos.id.clone();
        let mut mio = oido(1, "10.0.0.2:6001");
        mio.id.clone_from(&yo);
        cuaderno.apuntar(mio, true);
        assert!(cuaderno.apuntes.is_empty());
        cuaderno.apuntar(oido(1, "10.0.0.2:6001"), false);
        for _ in 0..INTENTOS_POR_SALUDO {
            assert_eq!(cuaderno.apuntes.len(), 1);
            cuaderno.volver_a_llamar("00000001");
        }
        assert!(cuaderno.apuntes.is_empty());
        // A quien se anuncia, sí: hasta que deje de hacerlo.
        cuaderno.apuntar(oido(2, "10.0.0.2:6001"), true);
        (0..40).for_each(|_| cuaderno.volver_a_llamar("00000002"));
        assert!(cuaderno.apuntes["00000002"].desde <= Instant::now() + REINTENTO_MAX);
        cuaderno.olvidar("00000002");
        assert!(cuaderno.apuntes.is_empty());
    }
}
