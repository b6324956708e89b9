//! El directorio del maestro: quién está y qué archivos dice tener. En memoria, puro: ni sockets, ni hilos, ni reloj.
//!
//! Los documentos del curso lo llaman *tracker* o directorio central. Aquí su estado es **blando**: quien se registró
//! con `ttl` desaparece si no renueva, y a quien no lo dio se le pregunta de vez en cuando (lo hace `vigilante.rs`).
//! La hora la trae quien llama, y así las pruebas no esperan.
//!
//! Con un índice por archivo, localizar no depende de cuántos peers haya, y registrarse cuesta según los archivos
//! propios. Cuánto cabe lo dice `cupo.rs`.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use unicode_normalization::{UnicodeNormalization, is_nfc};

use super::cupo::{Cupo, NoCabe};
use super::ficha::Ficha;

/// Cada cuánto se pregunta si sigue a quien no dio `ttl`.
pub const REVISION: Duration = Duration::from_secs(5);
/// Tras cuántas preguntas seguidas sin respuesta desaparece.
const FALLOS: u8 = 3;

/// Número que identifica a un peer mientras está registrado.
pub type Id = u32;

/// Qué pasó con un registro.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registro {
    /// Es un peer que no estaba.
    Nuevo,
    /// Ya estaba y su lista cambió.
    Cambiado,
    /// Ya estaba y todo sigue igual.
    Renovado,
}

/// Qué pasó con una despedida.
#[derive(Debug, PartialEq, Eq)]
pub enum Despedida {
    /// Se fue.
    Hecha(Arc<Ficha>),
    /// No estaba.
    NoEstaba,
    /// Lo registró otra máquina, y sólo ella puede despedirlo.
    DeOtro,
}

/// Lo que toca hacer ahora.
#[derive(Debug, Default)]
pub struct Pendientes {
    /// Los que acaban de quitarse porque no renovaron.
    pub caducados: Vec<Arc<Ficha>>,
    /// Los que hay que ver si siguen.
    pub por_ver: Vec<(Id, SocketAddr)>,
}

struct Registrado {
    ficha: Arc<Ficha>,
    /// Con `ttl`: cuándo caduca. Sin él: cuándo se le vuelve a preguntar.
    cuando: Instant,
    caduca: bool,
    fallos: u8,
}

/// El directorio.
#[derive(Default)]
pub struct Directorio {
    peers: HashMap<Id, Registrado>,
    por_direccion: HashMap<SocketAddr, Id>,
    /// De cada archivo (en NFC), quién lo tiene, por orden.
    por_archivo: HashMap<Arc<str>, Vec<Id>>,
    /// Qué toca y cuándo; lo primero es lo más próximo.
    agenda: BTreeSet<(Instant, Id)>,
    cupo: Cupo,
    siguiente: Id,
}

impl Directorio {
    /// Registra a `ficha` (o **sustituye** lo que hubiera dicho antes) durante `ttl`, o sin plazo.
    ///
    /// # Errores
    /// No cabe. Lo que hubiera antes se queda como estaba.
    pub fn registrar(
        &mut self,
        ficha: Ficha,
        ttl: Option<Duration>,
        ahora: Instant,
    ) -> Result<Registro, NoCabe> {
        let anterior = self.por_direccion.get(&ficha.direccion).copied();
        let vigente = anterior
            .and_then(|id| self.peers.get(&id))
            .filter(|peer| peer.vive(ahora));
        let registro = match vigente {
            Some(peer) if *peer.ficha == ficha => Registro::Renovado,
            Some(_) => Registro::Cambiado,
            None => Registro::Nuevo,
        };
        let (cuando, caduca) = (ahora + ttl.unwrap_or(REVISION), ttl.is_some());
        match anterior {
            Some(id) if registro == Registro::Renovado => self.reprogramar(id, cuando, caduca),
            _ => self.sustituir(anterior, ficha, cuando, caduca)?,
        }
        Ok(registro)
    }

    fn sustituir(
        &mut self,
        anterior: Option<Id>,
        ficha: Ficha,
        cuando: Instant,
        caduca: bool,
    ) -> Result<(), NoCabe> {
        let antes = anterior
            .and_then(|id| self.peers.get(&id))
            .map(|peer| &*peer.ficha);
        self.cupo.comprobar(&ficha, antes)?;
        let id = match anterior {
            Some(id) => {
                self.quitar(id);
                id
            }
            None => self.numero_libre(),
        };
        for nombre in &ficha.archivos {
            let clave = match clave(nombre) {
                Cow::Borrowed(_) => Arc::clone(nombre),
                Cow::Owned(otra) => Arc::from(otra),
            };
            let duenos = self.por_archivo.entry(clave).or_default();
            if let Err(sitio) = duenos.binary_search(&id) {
                duenos.insert(sitio, id);
            }
        }
        self.cupo.sumar(&ficha);
        self.por_direccion.insert(ficha.direccion, id);
        self.agenda.insert((cuando, id));
        self.peers.insert(
            id,
            Registrado {
                ficha: Arc::new(ficha),
                cuando,
                caduca,
                fallos: 0,
            },
        );
        Ok(())
    }

    fn numero_libre(&mut self) -> Id {
        // Da la vuelta tras cuatro mil millones de registros; los ocupados son, como mucho, MAX_PEERS.
        while self.peers.contains_key(&self.siguiente) {
            self.siguiente = self.siguiente.wrapping_add(1);
        }
        let id = self.siguiente;
        self.siguiente = id.wrapping_add(1);
        id
    }

    fn reprogramar(&mut self, id: Id, cuando: Instant, caduca: bool) {
        if let Some(peer) = self.peers.get_mut(&id) {
            self.agenda.remove(&(peer.cuando, id));
            self.agenda.insert((cuando, id));
            (peer.cuando, peer.caduca, peer.fallos) = (cuando, caduca, 0);
        }
    }

    fn quitar(&mut self, id: Id) -> Option<Arc<Ficha>> {
        let Registrado { ficha, cuando, .. } = self.peers.remove(&id)?;
        self.agenda.remove(&(cuando, id));
        self.por_direccion.remove(&ficha.direccion);
        for nombre in &ficha.archivos {
            let clave = clave(nombre);
            let Some(duenos) = self.por_archivo.get_mut(&*clave) else {
                continue;
            };
            if let Ok(sitio) = duenos.binary_search(&id) {
                duenos.remove(sitio);
            }
            if duenos.is_empty() {
                self.por_archivo.remove(&*clave);
            }
        }
        self.cupo.restar(&ficha);
        Some(ficha)
    }

    /// Quita al peer de `direccion`, si quien lo pide (`desde`) es quien lo registró.
    pub fn despedir(&mut self, direccion: SocketAddr, desde: IpAddr) -> Despedida {
        let Some(&id) = self.por_direccion.get(&direccion) else {
            return Despedida::NoEstaba;
        };
        if self
            .peers
            .get(&id)
            .is_some_and(|peer| peer.ficha.desde != desde)
        {
            return Despedida::DeOtro;
        }
        self.quitar(id)
            .map_or(Despedida::NoEstaba, Despedida::Hecha)
    }

    /// Quién tiene `archivo`.
    pub fn localizar(&self, archivo: &str, ahora: Instant) -> Vec<Arc<Ficha>> {
        let duenos = self
            .por_archivo
            .get(&*clave(archivo))
            .map_or(&[][..], Vec::as_slice);
        let peers = duenos.iter().filter_map(|id| self.peers.get(id));
        peers
            .filter(|peer| peer.vive(ahora))
            .map(|peer| Arc::clone(&peer.ficha))
            .collect()
    }

    /// Una foto de todos los que están, sin orden.
    pub fn todos(&self, ahora: Instant) -> Vec<Arc<Ficha>> {
        self.vivos(ahora)
            .map(|peer| Arc::clone(&peer.ficha))
            .collect()
    }

    /// Cuántos hay.
    pub fn cuantos(&self, ahora: Instant) -> usize {
        self.vivos(ahora).count()
    }

    fn vivos(&self, ahora: Instant) -> impl Iterator<Item = &Registrado> {
        self.peers.values().filter(move |peer| peer.vive(ahora))
    }

    /// Cuándo hay que volver a llamar a [`Directorio::pendientes`].
    pub fn proxima(&self) -> Option<Instant> {
        self.agenda.first().map(|&(cuando, _)| cuando)
    }

    /// Lo que ya toca, `tope` peers como mucho: quita a los caducados, y da los que hay que ver si siguen. A estos los
    /// aplaza, por si la respuesta tarda: dígase con [`Directorio::revisado`].
    pub fn pendientes(&mut self, ahora: Instant, tope: usize) -> Pendientes {
        let tocan: Vec<Id> = self
            .agenda
            .iter()
            .take_while(|(cuando, _)| *cuando <= ahora)
            .take(tope)
            .map(|&(_, id)| id)
            .collect();
        let Pendientes {
            mut caducados,
            mut por_ver,
        } = Pendientes::default();
        for id in tocan {
            match self.peers.get_mut(&id) {
                Some(peer) if peer.caduca => caducados.extend(self.quitar(id)),
                Some(peer) => {
                    let cuando = ahora + REVISION;
                    self.agenda.remove(&(peer.cuando, id));
                    self.agenda.insert((cuando, id));
                    peer.cuando = cuando;
                    por_ver.push((id, peer.ficha.direccion));
                }
                None => {}
            }
        }
        Pendientes { caducados, por_ver }
    }

    /// Se miró si el peer `id` sigue en `direccion`. A la tercera vez seguida que no, lo quita y devuelve su ficha.
    pub fn revisado(&mut self, id: Id, direccion: SocketAddr, sigue: bool) -> Option<Arc<Ficha>> {
        let peer = self.peers.get_mut(&id)?;
        // Mientras se miraba pudo irse, y su número ser de otro; o registrarse con `ttl`.
        if peer.ficha.direccion != direccion || peer.caduca {
            return None;
        }
        peer.fallos = if sigue { 0 } else { peer.fallos + 1 };
        if peer.fallos < FALLOS {
            None
        } else {
            self.quitar(id)
        }
    }
}

impl Registrado {
    /// Un caducado deja de verse en el acto, aunque el vigilante aún no lo haya quitado.
    fn vive(&self, ahora: Instant) -> bool {
        !self.caduca || ahora < self.cuando
    }
}

/// Cómo se busca un nombre: en NFC, porque la misma «ñ» se puede escribir de dos maneras y macOS usa la otra.
fn clave(nombre: &str) -> Cow<'_, str> {
    if is_nfc(nombre) {
        Cow::Borrowed(nombre)
    } else {
        Cow::Owned(nombre.nfc().collect())
    }
}

/// Los nombres sin repetir, en el orden en que vinieron.
pub fn sin_repetidos(nombres: Vec<Arc<str>>) -> Vec<Arc<str>> {
    let mut vistos = HashSet::with_capacity(nombres.len());
    nombres
        .into_iter()
        .filter(|nombre| vistos.insert(Arc::clone(nombre)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ficha(n: u16, archivos: &[&str]) -> Ficha {
        let direccion = SocketAddr::from(([127, 0, 0, 1], n));
        Ficha {
            rest: format!("http://{direccion}"),
            direccion,
            desde: [127, 0, 0, 1].into(),
            de_aqui: true,
            grpc_port: 0,
            puerto: None,
            archivos: archivos.iter().map(|&nombre| nombre.into()).collect(),
        }
    }

    fn puertos(directorio: &Directorio, archivo: &str, ahora: Instant) -> Vec<u16> {
        directorio
            .localizar(archivo, ahora)
            .iter()
            .map(|ficha| ficha.direccion.port())
            .collect()
    }

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn registrarse_de_nuevo_sustituye() {
        let (mut d, t) = (Directorio::default(), Instant::now());
        assert_eq!(
            d.registrar(ficha(1, &["a", "b"]), None, t),
            Ok(Registro::Nuevo)
        );
        assert_eq!(d.registrar(ficha(2, &["b"]), None, t), Ok(Registro::Nuevo));
        assert_eq!(puertos(&d, "b", t), [1, 2]);
        assert_eq!(
            d.registrar(ficha(1, &["c"]), None, t),
            Ok(Registro::Cambiado)
        );
        assert_eq!(
            d.registrar(ficha(1, &["c"]), None, t),
            Ok(Registro::Renovado)
        );
        assert_eq!(
            (
                puertos(&d, "a", t),
                puertos(&d, "b", t),
                puertos(&d, "c", t)
            ),
            (vec![], vec![2], vec![1])
        );
        assert_eq!(d.cuantos(t), 2);
        assert_eq!(d.por_archivo.len(), 2, "«a» ya no ocupa");
    }

    #[test]
    fn quien_dio_ttl_y_no_renueva_desaparece_en_el_acto() {
        let (mut d, t) = (Directorio::default(), Instant::now());
        d.registrar(ficha(1, &["a"]), Some(15 * S), t).unwrap();
        d.registrar(ficha(1, &["a"]), Some(15 * S), t + 10 * S)
            .unwrap();
        assert_eq!(puertos(&d, "a", t + 24 * S), [1]);
        assert!(puertos(&d, "a", t + 25 * S).is_empty());
        assert_eq!((d.cuantos(t + 25 * S), d.todos(t + 25 * S).len()), (0, 0));
        assert_eq!(d.proxima(), Some(t + 25 * S));
        let Pendientes { caducados, por_ver } = d.pendientes(t + 25 * S, 9);
        assert_eq!((caducados.len(), por_ver.len(), d.proxima()), (1, 0, None));
        // Y quien vuelve tras caducar es nuevo, aunque nadie lo hubiera barrido.
        d.registrar(ficha(1, &["a"]), Some(S), t).unwrap();
        assert_eq!(
            d.registrar(ficha(1, &["a"]), Some(S), t + 5 * S),
            Ok(Registro::Nuevo)
        );
    }

    #[test]
    fn a_quien_no_dio_ttl_se_le_pregunta_y_a_la_tercera_desaparece() {
        let (mut d, t) = (Directorio::default(), Instant::now());
        d.registrar(ficha(1, &["a"]), None, t).unwrap();
        let mut ahora = t;
        let mut mirar = |d: &mut Directorio, sigue| {
            ahora += REVISION;
            let por_ver = d.pendientes(ahora, 9).por_ver;
            assert_eq!(
                d.pendientes(ahora, 9).por_ver.len(),
                0,
                "no se pregunta dos veces a la vez"
            );
            let (id, direccion) = por_ver[0];
            d.revisado(id, direccion, sigue)
        };
        for sigue in [false, false, true, false, false] {
            assert_eq!(mirar(&mut d, sigue), None);
        }
        assert_eq!(mirar(&mut d, false).map(|f| f.direccion.port()), Some(1));
        assert_eq!((puertos(&d, "a", ahora), d.proxima()), (vec![], None));
    }

    #[test]
    fn solo_se_despide_desde_donde_se_registro() {
        let (mut d, t) = (Directorio::default(), Instant::now());
        d.registrar(ficha(1, &["a"]), None, t).unwrap();
        let direccion = ficha(1, &[]).direccion;
        assert_eq!(
            d.despedir(direccion, [10, 0, 0, 9].into()),
            Despedida::DeOtro
        );
        assert!(matches!(
            d.despedir(direccion, [127, 0, 0, 1].into()),
            Despedida::Hecha(_)
        ));
        assert_eq!(
            d.despedir(direccion, [127, 0, 0, 1].into()),
            Despedida::NoEstaba
        );
        assert!(
            d.peers.is_empty() && d.por_archivo.is_empty() && d.agenda.is_empty() && d.cupo.vacio()
        );
    }

    #[test]
    fn lo_que_no_cabe_deja_lo_anterior_como_estaba() {
        let (mut d, t) = (Directorio::default(), Instant::now());
        let otra = |archivos: &[&str]| Ficha {
            desde: [10, 0, 0, 9].into(),
            de_aqui: false,
            ..ficha(1, archivos)
        };
        d.registrar(otra(&["a"]), None, t).unwrap();
        let largos: Vec<String> = (0..70_000).map(|n| format!("{n:0>1000}")).collect();
        let largos: Vec<&str> = largos.iter().map(String::as_str).collect();
        assert_eq!(
            d.registrar(otra(&largos), None, t),
            Err(NoCabe::DeEsaMaquina)
        );
        assert_eq!(puertos(&d, "a", t), [1]);
    }

    #[test]
    fn la_misma_letra_escrita_de_dos_maneras_es_el_mismo_archivo() {
        let (mut d, t) = (Directorio::default(), Instant::now());
        d.registrar(ficha(1, &["nin\u{303}o.txt", "niño.txt"]), None, t)
            .unwrap();
        assert_eq!(
            (
                puertos(&d, "niño.txt", t),
                puertos(&d, "nin\u{303}o.txt", t)
            ),
            (vec![1], vec![1])
        );
        d.despedir(ficha(1, &[]).direccion, [127, 0, 0, 1].into());
        assert!(d.por_archivo.is_empty());
    }

    proptest! {
        /// El índice dice siempre lo mismo que mirar la lista de cada peer.
        #[test]
        fn el_indice_no_se_desvia(pasos in prop::collection::vec((0u16..6, prop::collection::vec(0u8..8, 0..6), 0u8..4), 0..60)) {
            let (mut d, mut ahora) = (Directorio::default(), Instant::now());
            let mut modelo: HashMap<u16, (HashSet<String>, Option<Instant>)> = HashMap::new();
            for (n, archivos, que) in pasos {
                ahora += S;
                let nombres: HashSet<String> = archivos.iter().map(|a| format!("archivo{a}")).collect();
                let lista: Vec<&str> = nombres.iter().map(String::as_str).collect();
                match que {
                    0 => drop((d.despedir(ficha(n, &[]).direccion, [127, 0, 0, 1].into()), modelo.remove(&n))),
                    1 => drop(d.pendientes(ahora, 2)),
                    _ => {
                        let ttl = (que == 2).then_some(7 * S);
                        d.registrar(ficha(n, &lista), ttl, ahora).unwrap();
                        modelo.insert(n, (nombres, ttl.map(|ttl| ahora + ttl)));
                    }
                }
                modelo.retain(|_, (_, hasta)| hasta.is_none_or(|hasta| ahora < hasta));
                for a in 0..8 {
                    let archivo = format!("archivo{a}");
                    let mut hay = puertos(&d, &archivo, ahora);
                    hay.sort_unstable();
                    let mut debe: Vec<u16> = modelo.iter().filter(|(_, m)| m.0.contains(&archivo)).map(|(&n, _)| n).collect();
                    debe.sort_unstable();
                    prop_assert_eq!(hay, debe);
                }
                prop_assert_eq!(d.cuantos(ahora), modelo.len());
                prop_assert_eq!(d.agenda.len(), d.peers.len());
                prop_assert_eq!(d.cupo.vacio(), d.peers.is_empty());
            }
        }
    }
}
