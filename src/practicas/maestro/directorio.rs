//! El directorio del maestro: quién está y qué archivos dice tener. En memoria, puro: ni sockets,
//! ni hilos, ni reloj.
//!
//! Los documentos del curso lo llaman *tracker* o directorio central. Aquí su estado es **blando**:
//! quien se registró con `ttl` desaparece si no renueva, y a quien no lo dio se le pregunta de vez
//! en cuando (lo hace `vigilante.rs`). La hora la trae quien llama, y así las pruebas no esperan.
//!
//! Con un índice por archivo, localizar no depende de cuántos peers haya, y registrarse cuesta
//! según los archivos propios.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use unicode_normalization::{UnicodeNormalization, is_nfc};

/// Cada cuánto se pregunta si sigue a quien no dio `ttl`.
pub const REVISION: Duration = Duration::from_secs(5);
/// Tras cuántas preguntas seguidas sin respuesta desaparece.
const FALLOS: u8 = 3;
/// Cuántos peers caben, y lo que ocupa cada uno sin contar sus archivos, en bytes, más o menos.
const MAX_PEERS: usize = 20_000;
const PESO_DE_UN_PEER: usize = 1024;
/// Lo que gasta un archivo además de su nombre: su sitio en la ficha (50 bytes) y en el índice
/// (100).
const PESO_DE_UN_ARCHIVO: usize = 150;
/// Lo que pueden ocupar todos los peers, y los que registró otra máquina: sola no puede llenarlo.
const MAX_PESO: usize = 256 * 1024 * 1024;
const MAX_PESO_DE_UNA_IP: usize = MAX_PESO / 4;
/// Cuántos peers puede registrar otra máquina. (Desde la propia no hay más tope que el de todos.)
const MAX_PEERS_DE_UNA_IP: usize = 256;

/// Lo que un peer dice de sí. No cambia: quien se registra de nuevo trae otra.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ficha {
    /// Su URL, `http://IP:PUERTO`.
    pub rest: String,
    /// Su dirección, que es lo que lo distingue de los demás.
    pub direccion: SocketAddr,
    /// La IP desde la que se registró.
    pub desde: IpAddr,
    /// ¿Se registró desde la máquina del maestro?
    pub de_aqui: bool,
    /// El puerto gRPC que dijo (0 si no tiene).
    pub grpc_port: u16,
    /// El puerto en que habla el protocolo de la guía, si lo dijo.
    pub puerto: Option<u16>,
    /// Sus archivos, sin repetidos.
    pub archivos: Vec<Arc<str>>,
}

/// Qué pasó con un registro.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alta {
    /// Es un peer que no estaba.
    Nuevo,
    /// Ya estaba y su lista cambió.
    Cambiado,
    /// Ya estaba y todo sigue igual.
    Renovado,
}

/// Qué pasó con una despedida.
#[derive(Debug, PartialEq, Eq)]
pub enum Baja {
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
    pub por_ver: Vec<SocketAddr>,
}

/// Un archivo de un peer, en el índice: por orden, cómo se busca, cómo lo llamó y quién lo tiene.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tenencia {
    /// En NFC: la misma «ñ» se puede escribir de dos maneras, y macOS usa la otra.
    clave: Arc<str>,
    /// El nombre tal como lo dijo.
    pub nombre: Arc<str>,
    direccion: SocketAddr,
}

impl Tenencia {
    fn nueva(nombre: &Arc<str>, direccion: SocketAddr) -> Tenencia {
        let clave = match is_nfc(nombre) {
            true => Arc::clone(nombre),
            false => nombre.nfc().collect::<String>().into(),
        };
        Tenencia {
            clave,
            nombre: Arc::clone(nombre),
            direccion,
        }
    }
}

struct Registrado {
    ficha: Arc<Ficha>,
    peso: usize,
    /// Con `ttl`: cuándo caduca. Sin él: cuándo se le vuelve a preguntar.
    cuando: Instant,
    caduca: bool,
    fallos: u8,
}

/// El directorio.
#[derive(Default)]
pub struct Directorio {
    peers: BTreeMap<SocketAddr, Registrado>,
    indice: BTreeSet<Tenencia>,
    /// Qué toca y cuándo; lo primero es lo más próximo.
    agenda: BTreeSet<(Instant, SocketAddr)>,
}

impl Directorio {
    /// Registra a `ficha` (o **sustituye** lo que hubiera dicho antes) durante `ttl`, o sin plazo.
    /// Da la ficha que queda. Si no cabe dice por qué, y lo que hubiera antes se queda como estaba.
    pub fn registrar(
        &mut self,
        ficha: Ficha,
        ttl: Option<Duration>,
        ahora: Instant,
    ) -> Result<(Alta, Arc<Ficha>), &'static str> {
        let direccion = ficha.direccion;
        let (cuando, caduca) = (ahora + ttl.unwrap_or(REVISION), ttl.is_some());
        let alta = match self.vivo(&direccion, ahora) {
            Some(suya) if **suya == ficha => Alta::Renovado,
            Some(_) => Alta::Cambiado,
            None => Alta::Nuevo,
        };
        if alta != Alta::Renovado {
            let peso = self.comprobar_que_cabe(&ficha)?;
            self.quitar(direccion);
            for nombre in &ficha.archivos {
                self.indice.insert(Tenencia::nueva(nombre, direccion));
            }
            let registrado = Registrado {
                ficha: Arc::new(ficha),
                peso,
                cuando,
                caduca,
                fallos: 0,
            };
            self.peers.insert(direccion, registrado);
        }
        let peer = self.peers.get_mut(&direccion).expect("acaba de entrar");
        self.agenda.remove(&(peer.cuando, direccion));
        self.agenda.insert((cuando, direccion));
        (peer.cuando, peer.caduca, peer.fallos) = (cuando, caduca, 0);
        Ok((alta, Arc::clone(&peer.ficha)))
    }

    /// Lo que pesa `ficha`, si cabe con las demás. Se suman cada vez: son pocas, y no hay cuenta
    /// que llevar.
    fn comprobar_que_cabe(&self, ficha: &Ficha) -> Result<usize, &'static str> {
        let nombres = ficha.archivos.iter();
        let peso = nombres.map(|nombre| nombre.len() + PESO_DE_UN_ARCHIVO);
        let peso = PESO_DE_UN_PEER + peso.sum::<usize>();
        let (mut todos, mut suyos) = ((1, peso), (1, peso));
        for otro in self.peers.values() {
            if otro.ficha.direccion == ficha.direccion {
                continue;
            }
            todos = (todos.0 + 1, todos.1 + otro.peso);
            if otro.ficha.desde == ficha.desde {
                suyos = (suyos.0 + 1, suyos.1 + otro.peso);
            }
        }
        let de_mas = suyos.0 > MAX_PEERS_DE_UNA_IP || suyos.1 > MAX_PESO_DE_UNA_IP;
        match todos {
            _ if de_mas && !ficha.de_aqui => Err("desde esa máquina ya se registró demasiado"),
            (..=MAX_PEERS, ..=MAX_PESO) => Ok(peso),
            (..=MAX_PEERS, _) => Err("el directorio está lleno: no caben más archivos"),
            _ => Err("el directorio está lleno: no caben más peers"),
        }
    }

    fn quitar(&mut self, direccion: SocketAddr) -> Option<Arc<Ficha>> {
        let Registrado { ficha, cuando, .. } = self.peers.remove(&direccion)?;
        self.agenda.remove(&(cuando, direccion));
        for nombre in &ficha.archivos {
            self.indice.remove(&Tenencia::nueva(nombre, direccion));
        }
        Some(ficha)
    }

    /// Quita al peer de `direccion`, si quien lo pide (`desde`) es quien lo registró.
    pub fn despedir(&mut self, direccion: SocketAddr, desde: IpAddr) -> Baja {
        match self.peers.get(&direccion) {
            Some(peer) if peer.ficha.desde != desde => Baja::DeOtro,
            _ => self.quitar(direccion).map_or(Baja::NoEstaba, Baja::Hecha),
        }
    }

    /// La ficha del peer de `direccion`, si está. Un caducado deja de verse en el acto, aunque el
    /// vigilante aún no lo haya quitado.
    fn vivo(&self, direccion: &SocketAddr, ahora: Instant) -> Option<&Arc<Ficha>> {
        let peer = self.peers.get(direccion)?;
        (!peer.caduca || ahora < peer.cuando).then_some(&peer.ficha)
    }

    /// Quién tiene `archivo`, por su dirección.
    pub fn localizar(&self, archivo: &str, ahora: Instant) -> Vec<Arc<Ficha>> {
        let primera = Tenencia {
            nombre: "".into(),
            ..Tenencia::nueva(&archivo.into(), PRIMERA)
        };
        let suyas = self.indice.range(&primera..);
        let suyas = suyas.take_while(|tenencia| tenencia.clave == primera.clave);
        let duenos: BTreeSet<_> = suyas.map(|tenencia| tenencia.direccion).collect();
        let vivos = duenos.iter().filter_map(|d| self.vivo(d, ahora));
        vivos.map(Arc::clone).collect()
    }

    /// Una foto de todos los que están, por su dirección.
    pub fn todos(&self, ahora: Instant) -> Vec<Arc<Ficha>> {
        let vivos = self.peers.keys().filter_map(|d| self.vivo(d, ahora));
        vivos.map(Arc::clone).collect()
    }

    /// Qué archivos hay y quién tiene cada uno, en orden, a partir de `tras` (sin ella).
    pub fn archivos<'a>(
        &'a self,
        tras: Option<&'a Tenencia>,
        ahora: Instant,
    ) -> impl Iterator<Item = (&'a Tenencia, &'a Ficha)> {
        let desde = tras.map_or(Bound::Unbounded, Bound::Excluded);
        let siguen = self.indice.range::<Tenencia, _>((desde, Bound::Unbounded));
        siguen.filter_map(move |una| Some((una, &**self.vivo(&una.direccion, ahora)?)))
    }

    /// Cuándo hay que volver a llamar a [`Directorio::pendientes`].
    pub fn proxima(&self) -> Option<Instant> {
        self.agenda.first().map(|&(cuando, _)| cuando)
    }

    /// Lo que ya toca, `tope` peers como mucho: quita a los caducados, y da los que hay que ver si
    /// siguen. A estos los aplaza, por si la respuesta tarda: dígase con [`Directorio::revisado`].
    pub fn pendientes(&mut self, ahora: Instant, tope: usize) -> Pendientes {
        let tocan = self.agenda.iter().take(tope).copied();
        let tocan: Vec<_> = tocan.take_while(|(cuando, _)| *cuando <= ahora).collect();
        let mut pendientes = Pendientes::default();
        for (cuando, direccion) in tocan {
            match self.peers.get_mut(&direccion) {
                Some(peer) if !peer.caduca => {
                    peer.cuando = ahora + REVISION;
                    self.agenda.remove(&(cuando, direccion));
                    self.agenda.insert((peer.cuando, direccion));
                    pendientes.por_ver.push(direccion);
                }
                _ => pendientes.caducados.extend(self.quitar(direccion)),
            }
        }
        pendientes
    }

    /// Se miró si el peer de `direccion` sigue ahí. A la tercera vez seguida que no, lo quita y
    /// devuelve su ficha.
    pub fn revisado(&mut self, direccion: SocketAddr, sigue: bool) -> Option<Arc<Ficha>> {
        // Mientras se miraba pudo irse, o registrarse con `ttl`.
        let peer = self.peers.get_mut(&direccion).filter(|p| !p.caduca)?;
        peer.fallos = if sigue { 0 } else { peer.fallos + 1 };
        match peer.fallos {
            ..FALLOS => None,
            _ => self.quitar(direccion),
        }
    }
}

/// La menor de todas las direcciones.
const PRIMERA: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Los nombres sin repetir, en el orden en que vinieron.
pub fn sin_repetidos(mut nombres: Vec<Arc<str>>) -> Vec<Arc<str>> {
    let mut vistos = HashSet::with_capacity(nombres.len());
    nombres.retain(|nombre| vistos.insert(Arc::clone(nombre)));
    nombres
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

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

    fn registrar(d: &mut Directorio, ficha: Ficha, ttl: Option<Duration>, ahora: Instant) -> Alta {
        d.registrar(ficha, ttl, ahora).unwrap().0
    }

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn registrarse_de_nuevo_sustituye() {
        let (mut d, t) = (Directorio::default(), Instant::now());
        let de_uno =
            |d: &mut Directorio, archivos: &[&str]| registrar(d, ficha(1, archivos), None, t);
        assert_eq!(de_uno(&mut d, &["a", "b"]), Alta::Nuevo);
        assert_eq!(registrar(&mut d, ficha(2, &["b"]), None, t), Alta::Nuevo);
        assert_eq!(puertos(&d, "b", t), [1, 2]);
        assert_eq!(de_uno(&mut d, &["c"]), Alta::Cambiado);
        let primera = Arc::as_ptr(&d.todos(t)[0]);
        assert_eq!(de_uno(&mut d, &["c"]), Alta::Renovado);
        assert_eq!(
            Arc::as_ptr(&d.todos(t)[0]),
            primera,
            "no se guarda otra igual"
        );
        assert_eq!(
            (
                puertos(&d, "a", t),
                puertos(&d, "b", t),
                puertos(&d, "c", t)
            ),
            (vec![], vec![2], vec![1])
        );
        assert_eq!(d.todos(t).len(), 2);
        assert_eq!(d.indice.len(), 2, "«a» ya no ocupa");
    }

    #[test]
    fn quien_dio_ttl_y_no_renueva_desaparece_en_el_acto() {
        let (mut d, t) = (Directorio::default(), Instant::now());
        d.registrar(ficha(1, &["a"]), Some(15 * S), t).unwrap();
        d.registrar(ficha(1, &["a"]), Some(15 * S), t + 10 * S)
            .unwrap();
        assert_eq!(puertos(&d, "a", t + 24 * S), [1]);
        assert!(puertos(&d, "a", t + 25 * S).is_empty());
        assert_eq!(d.todos(t + 25 * S), []);
        assert_eq!(d.archivos(None, t + 25 * S).count(), 0);
        assert_eq!(d.proxima(), Some(t + 25 * S));
        let Pendientes { caducados, por_ver } = d.pendientes(t + 25 * S, 9);
        assert_eq!((caducados.len(), por_ver.len(), d.proxima()), (1, 0, None));
        // Y quien vuelve tras caducar es nuevo, aunque nadie lo hubiera barrido.
        d.registrar(ficha(1, &["a"]), Some(S), t).unwrap();
        assert_eq!(
            registrar(&mut d, ficha(1, &["a"]), Some(S), t + 5 * S),
            Alta::Nuevo
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
            d.revisado(por_ver[0], sigue)
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
        assert_eq!(d.despedir(direccion, [10, 0, 0, 9].into()), Baja::DeOtro);
        assert!(matches!(
            d.despedir(direccion, [127, 0, 0, 1].into()),
            Baja::Hecha(_)
        ));
        assert_eq!(d.despedir(direccion, [127, 0, 0, 1].into()), Baja::NoEstaba);
        assert!(d.peers.is_empty() && d.indice.is_empty() && d.agenda.is_empty());
    }

    /// Una ficha registrada desde otra máquina.
    fn de_otra(n: u16, ip: u8, archivos: &[&str]) -> Ficha {
        Ficha {
            desde: [10, 0, 0, ip].into(),
            de_aqui: false,
            ..ficha(n, archivos)
        }
    }

    #[test]
    fn lo_que_no_cabe_deja_lo_anterior_como_estaba() {
        let (mut d, t) = (Directorio::default(), Instant::now());
        d.registrar(de_otra(1, 9, &["a"]), None, t).unwrap();
        let largos: Vec<String> = (0..70_000).map(|n| format!("{n:0>1000}")).collect();
        let largos: Vec<&str> = largos.iter().map(String::as_str).collect();
        let motivo = d.registrar(de_otra(1, 9, &largos), None, t).unwrap_err();
        assert!(motivo.contains("desde esa máquina"), "{motivo}");
        assert_eq!(puertos(&d, "a", t), [1]);
    }

    /// Mete a alguien que ya pesa lo suyo.
    fn meter(d: &mut Directorio, ficha: Ficha, peso: usize) {
        let registrado = Registrado {
            peso,
            cuando: Instant::now(),
            caduca: false,
            fallos: 0,
            ficha: Arc::new(ficha),
        };
        d.peers.insert(registrado.ficha.direccion, registrado);
    }

    #[test]
    fn otra_maquina_no_puede_llenarlo_y_esta_solo_hasta_el_tope() {
        let (mut d, t) = (Directorio::default(), Instant::now());
        for n in 0..MAX_PEERS_DE_UNA_IP as u16 {
            assert_eq!(registrar(&mut d, de_otra(n, 9, &[]), None, t), Alta::Nuevo);
        }
        let motivo = d.registrar(de_otra(999, 9, &[]), None, t).unwrap_err();
        assert!(motivo.contains("desde esa máquina"), "{motivo}");
        let cambiado = registrar(&mut d, de_otra(1, 9, &["a"]), None, t);
        assert_eq!(cambiado, Alta::Cambiado, "los que ya están siguen pudiendo");
        meter(&mut d, de_otra(1000, 8, &[]), MAX_PESO_DE_UNA_IP);
        let motivo = d.registrar(de_otra(1001, 8, &[]), None, t).unwrap_err();
        assert!(motivo.contains("desde esa máquina"), "{motivo}");
        for n in 1..=2 {
            meter(&mut d, ficha(2000 + n, &[]), MAX_PESO_DE_UNA_IP);
        }
        assert_eq!(registrar(&mut d, ficha(3000, &["b"]), None, t), Alta::Nuevo);
        meter(&mut d, ficha(2003, &[]), MAX_PESO_DE_UNA_IP);
        let motivo = d.registrar(ficha(3001, &[]), None, t).unwrap_err();
        assert!(motivo.contains("más archivos"), "{motivo}");
    }

    #[test]
    fn tiene_tope_de_peers() {
        let (mut d, t) = (Directorio::default(), Instant::now());
        for n in 0..MAX_PEERS as u16 {
            meter(&mut d, ficha(n, &[]), PESO_DE_UN_PEER);
        }
        let motivo = d.registrar(ficha(60_000, &[]), None, t).unwrap_err();
        assert!(motivo.contains("más peers"), "{motivo}");
        assert!(d.registrar(ficha(1, &["a"]), None, t).is_ok(), "ya estaba");
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
        assert_eq!(
            d.archivos(None, t).count(),
            2,
            "cada nombre, tal como se dijo"
        );
        d.despedir(ficha(1, &[]).direccion, [127, 0, 0, 1].into());
        assert!(d.indice.is_empty());
    }

    proptest! {
        /// El índice dice siempre lo mismo que mirar la lista de cada peer.
        #[test]
        fn el_indice_no_se_desvia(
            pasos in prop::collection::vec(
                (0u16..6, prop::collection::vec(0u8..8, 0..6), 0u8..4),
                0..60,
            ),
        ) {
            let (mut d, mut ahora) = (Directorio::default(), Instant::now());
            let mut modelo: HashMap<u16, (HashSet<String>, Option<Instant>)> = HashMap::new();
            for (n, archivos, que) in pasos {
                ahora += S;
                let nombres = archivos.iter().map(|a| format!("archivo{a}"));
                let nombres: HashSet<String> = nombres.collect();
                let lista: Vec<&str> = nombres.iter().map(String::as_str).collect();
                match que {
                    0 => {
                        d.despedir(ficha(n, &[]).direccion, [127, 0, 0, 1].into());
                        modelo.remove(&n);
                    }
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
                    let suyos = modelo.iter().filter(|(_, m)| m.0.contains(&archivo));
                    let mut debe: Vec<u16> = suyos.map(|(&n, _)| n).collect();
                    debe.sort_unstable();
                    prop_assert_eq!(hay, debe);
                }
                prop_assert_eq!(d.todos(ahora).len(), modelo.len());
                prop_assert_eq!(d.agenda.len(), d.peers.len());
                prop_assert!(!d.peers.is_empty() || d.indice.is_empty());
            }
        }
    }
}
