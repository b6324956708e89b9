//! Lo que se sirve: abrir un archivo por su nombre y saber su huella, sin hacer esperar de más.
//!
//! También se encuentra por su huella, se llame aquí como se llame, y aunque se esté bajando aún
//! (`en_curso.rs`). Un nodo sirve su carpeta; `nodo enviar` sirve un solo archivo, esté donde esté.
//! Para las palabras del protocolo es lo mismo.
//!
//! Las huellas se calculan en un hilo aparte ([`Estante::trabajar`]), por turnos de unos cuantos
//! bloques: lo pedido va delante, y un archivo de 50 GiB no retiene a uno pequeño. Se recuerdan por
//! archivo (no por el nombre con que se pida: «ñ» se escribe de dos formas) mientras su tamaño y su
//! fecha no cambien. Nada se guarda en disco.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::nodo::carpeta::disco::leer_en;
use crate::nodo::carpeta::en_curso::{EnCurso, Parcial};
use crate::nodo::carpeta::huella::{
    BLOQUE, Cuenta, Huella, Resumen, cuantos_bloques, longitud_de_bloque,
};
use crate::nodo::carpeta::nombres::en_nfc;
use crate::nodo::carpeta::ventanilla::Ventanilla;
use crate::nodo::carpeta::{Abierto, Archivo, Carpeta, NoSeAbre, Sello};
use crate::red::parada::Parada;
use crate::red::parada::cerrojo;

/// Bloques que se leen de un archivo antes de dar el turno a otro: 64 MiB, unas centésimas de
/// segundo.
const BLOQUES_POR_TURNO: usize = 16;
/// Bytes que se leen de una vez.
pub const LECTURA: usize = 256 * 1024;
/// Archivos pedidos a la vez que se apuntan; los demás esperan a que vuelvan a preguntar.
const TOPE_DE_PEDIDOS: usize = 4096;
/// Entre dos miradas a la carpeta por si hay algo nuevo, cuando piden una huella que no se conoce:
/// en un enjambre, quien no tiene nada oye esa pregunta sin parar.
const ENTRE_REPASOS: Duration = Duration::from_secs(5);
/// Archivos cuya huella se recuerda: unos 20 MiB, más 8 bytes por cada MiB compartido.
const TOPE_DE_HUELLAS: usize = 100_000;

/// De dónde salen los archivos.
pub enum Origen {
    /// Todos los de una carpeta.
    Carpeta(Arc<Carpeta>),
    /// Uno solo: con qué nombre, y dónde está.
    Uno(String, PathBuf),
}

/// Archivos que se pueden servir, con sus huellas.
pub struct Estante {
    /// Los turnos de mandarlos.
    pub ventanilla: Ventanilla,
    origen: Origen,
    huellas: Mutex<Huellas>,
    cambio: Condvar,
}

/// Algo que se puede servir.
pub enum Existente {
    /// Un archivo de la carpeta.
    Entero {
        /// Cómo se llama.
        nombre: String,
        /// El archivo.
        abierto: Abierto,
    },
    /// Uno que se está bajando, con los bloques que ya tenga.
    AMedio(Arc<Parcial>),
}

impl Existente {
    /// Cómo se llama aquí.
    pub fn nombre(&self) -> &str {
        match self {
            Existente::Entero { nombre, .. } => nombre,
            Existente::AMedio(parcial) => &parcial.nombre,
        }
    }

    /// El archivo, con lo que mide o medirá entero.
    pub fn abierto(&self) -> &Abierto {
        match self {
            Existente::Entero { abierto, .. } => abierto,
            Existente::AMedio(parcial) => &parcial.abierto,
        }
    }
}

/// Las huellas que se saben y las que faltan.
#[derive(Default)]
struct Huellas {
    /// De cada archivo, la última que se calculó, y de qué estado suyo.
    sabidas: HashMap<(u64, u64), Sabida>,
    /// Qué archivo tenía cada huella; si cambió o ya no se sabe, no vale.
    por_huella: HashMap<Huella, (u64, u64)>,
    /// Lo pedido, delante. El que se está leyendo sigue aquí hasta que acabe.
    cola: VecDeque<PorLeer>,
    /// ¿Hay que volver a mirar qué hay en la carpeta?
    por_repasar: bool,
    repasada: Option<Instant>,
    cerrado: bool,
}

/// La huella de un archivo, en un estado suyo.
struct Sabida {
    nombre: String,
    sello: Sello,
    resumen: Arc<Resumen>,
}

/// Una huella a medio calcular.
struct PorLeer {
    nombre: String,
    sello: Sello,
    pedido: bool,
    bloques: Vec<Huella>,
}

impl PorLeer {
    fn nuevo(nombre: &str, sello: Sello) -> PorLeer {
        PorLeer {
            nombre: nombre.to_string(),
            sello,
            pedido: false,
            bloques: Vec::new(),
        }
    }
}

impl Estante {
    /// Lo que hay en `origen`, sin ninguna huella todavía.
    pub fn nuevo(origen: Origen) -> Estante {
        Estante {
            origen,
            huellas: Mutex::default(),
            cambio: Condvar::new(),
            ventanilla: Ventanilla::nueva(None),
        }
    }

    /// Lo mismo, pero para servirlo a tantos bytes por segundo, si hay un tope.
    pub fn con_ritmo(self, ritmo: Option<u64>) -> Estante {
        Estante {
            ventanilla: Ventanilla::nueva(ritmo),
            ..self
        }
    }

    /// Abre un archivo por su nombre.
    pub fn abrir(&self, nombre: &str) -> Result<Abierto, NoSeAbre> {
        match &self.origen {
            Origen::Carpeta(carpeta) => carpeta.abrir_archivo(nombre),
            Origen::Uno(unico, ruta) if unico == nombre => {
                Abierto::mirar(File::open(ruta).map_err(NoSeAbre::de_sistema)?)
            }
            Origen::Uno(..) => Err(NoSeAbre::NoEsta),
        }
    }

    /// Lo que nombra `que`: un archivo, o lo que se está bajando con ese nombre; si no, y son 64
    /// cifras, lo que tiene o tendrá esa huella.
    pub fn buscar(&self, que: &str) -> Result<Existente, NoSeAbre> {
        let por_nombre = self.abrir(que).map(|abierto| Existente::Entero {
            nombre: que.to_string(),
            abierto,
        });
        if !matches!(por_nombre, Err(NoSeAbre::NoEsta)) {
            return por_nombre;
        }
        let huella = Huella::leer(que);
        if let Some(entero) = huella.and_then(|huella| self.entero_con(huella)) {
            return Ok(entero);
        }
        let parcial = self.en_curso().and_then(|c| c.buscar(&en_nfc(que), huella));
        parcial.map(Existente::AMedio).ok_or(NoSeAbre::NoEsta)
    }

    /// Si ninguno la tiene, se mirará si hay alguno nuevo: puede que la tenga la próxima vez.
    fn entero_con(&self, huella: Huella) -> Option<Existente> {
        let mut huellas = self.sabidas();
        let Some((nombre, sello)) = huellas.con_huella(&huella) else {
            huellas.pedir_un_repaso();
            self.cambio.notify_all();
            return None;
        };
        drop(huellas);
        let abierto = self.abrir(&nombre).ok().filter(|a| a.sello == sello)?;
        Some(Existente::Entero { nombre, abierto })
    }

    /// Lo que se está recibiendo, si es una carpeta.
    fn en_curso(&self) -> Option<&EnCurso> {
        match &self.origen {
            Origen::Carpeta(carpeta) => Some(&carpeta.en_curso),
            Origen::Uno(..) => None,
        }
    }

    /// Las huellas, con las de lo que se acaba de bajar: al bajarlo se calcularon.
    fn sabidas(&self) -> MutexGuard<'_, Huellas> {
        let acabados = self.en_curso().map(EnCurso::acabados).unwrap_or_default();
        let mut huellas = cerrojo(&self.huellas);
        for acabado in acabados {
            huellas.recordar(acabado.nombre, acabado.sello, acabado.resumen);
        }
        huellas
    }

    /// El resumen de un archivo de la lista, si ya se sabe. No espera.
    pub fn conocido(&self, archivo: &Archivo) -> Option<Arc<Resumen>> {
        self.sabidas().sabida(&archivo.sello)
    }

    /// El resumen de un archivo abierto como `nombre`. Si no se sabe, lo pone delante de la cola y
    /// espera hasta `espera`.
    pub fn resumen(
        &self,
        nombre: &str,
        abierto: &Abierto,
        espera: Duration,
    ) -> Option<Arc<Resumen>> {
        let sello = &abierto.sello;
        let mut huellas = self.sabidas();
        if huellas.sabida(sello).is_none() {
            huellas.pedir(nombre, *sello);
            self.cambio.notify_all();
        }
        let falta =
            |h: &mut Huellas| h.sabida(sello).is_none() && !h.cerrado && h.esta_pedido(sello);
        let esperada = self.cambio.wait_timeout_while(huellas, espera, falta);
        let (huellas, _) = esperada.unwrap_or_else(PoisonError::into_inner);
        huellas.sabida(sello)
    }

    /// Apunta, para cuando no haya nada pedido, lo que aún no tiene huella. Olvida lo que ya no
    /// está en la lista.
    pub fn repasar(&self, archivos: &[Archivo]) {
        let actuales: HashSet<&Sello> = archivos.iter().map(|archivo| &archivo.sello).collect();
        let mut huellas = self.sabidas();
        let actual = |sello: &Sello| actuales.contains(sello);
        huellas.olvidar_si(|sabida| !actual(&sabida.sello));
        let en_cola: HashSet<Sello> = huellas.cola.iter().map(|otro| otro.sello).collect();
        let sitio = TOPE_DE_HUELLAS.saturating_sub(huellas.sabidas.len() + en_cola.len());
        let nuevos: Vec<PorLeer> = archivos
            .iter()
            .filter(|a| !en_cola.contains(&a.sello) && huellas.sabida(&a.sello).is_none())
            .take(sitio)
            .map(|archivo| PorLeer::nuevo(&archivo.nombre, archivo.sello))
            .collect();
        huellas.cola.extend(nuevos);
        drop(huellas);
        self.cambio.notify_all();
    }

    /// [`Estante::repasar`] con lo que haya ahora en la carpeta.
    pub fn repasar_la_carpeta(&self) {
        if let Origen::Carpeta(carpeta) = &self.origen {
            match carpeta.listar() {
                Ok(archivos) => self.repasar(&archivos),
                Err(fallo) => log::warn!("{fallo}"),
            }
        }
    }

    /// Calcula huellas hasta que se llame a [`Estante::cerrar`]. Es el cuerpo de un hilo.
    pub fn trabajar(&self) {
        let mut bufer = vec![0; LECTURA];
        while let Some(mut primero) = self.siguiente() {
            let leido = self.leer_un_turno(&mut primero, &mut bufer);
            cerrojo(&self.huellas).anotar(primero, leido);
            self.cambio.notify_all();
        }
    }

    /// Manda terminar a [`Estante::trabajar`] y suelta a quien espere una huella.
    pub fn cerrar(&self) {
        cerrojo(&self.huellas).cerrado = true;
        self.cambio.notify_all();
    }

    /// El primero de la cola, que se queda en ella con su sitio y sin sus bloques.
    fn siguiente(&self) -> Option<PorLeer> {
        let nada = |h: &mut Huellas| !h.cerrado && !h.por_repasar && h.cola.is_empty();
        let esperar = || {
            let esperadas = self.cambio.wait_while(cerrojo(&self.huellas), nada);
            esperadas.unwrap_or_else(PoisonError::into_inner)
        };
        let mut huellas = esperar();
        while std::mem::take(&mut huellas.por_repasar) && !huellas.cerrado {
            drop(huellas);
            self.repasar_la_carpeta();
            huellas = esperar();
        }
        if huellas.cerrado {
            return None;
        }
        let primero = huellas.cola.front_mut()?;
        Some(PorLeer {
            bloques: std::mem::take(&mut primero.bloques),
            ..PorLeer::nuevo(&primero.nombre, primero.sello)
        })
    }

    /// Los bloques que tocan, volviendo a abrir el archivo (así una cola larga no gasta
    /// descriptores). `None` si aún faltan.
    fn leer_un_turno(
        &self,
        leyendo: &mut PorLeer,
        bufer: &mut [u8],
    ) -> Result<Option<Resumen>, String> {
        let abierto = self.abrir(&leyendo.nombre).map_err(|e| format!("{e:?}"))?;
        if abierto.sello != leyendo.sello {
            return Err("cambió antes de leerlo".into());
        }
        let total = cuantos_bloques(abierto.tamano);
        let faltan = leyendo.bloques.len() as u64..total;
        for indice in faltan.take(BLOQUES_POR_TURNO) {
            if cerrojo(&self.huellas).cerrado {
                break;
            }
            let bloque = leer_bloque(&abierto.archivo, abierto.tamano, indice, bufer)
                .map_err(|e| crate::fallo::motivo(&e))?;
            leyendo.bloques.push(bloque);
        }
        if !abierto.sigue_igual() {
            return Err("cambió mientras se leía".into());
        }
        if (leyendo.bloques.len() as u64) < total {
            return Ok(None);
        }
        Ok(Resumen::de_bloques(std::mem::take(&mut leyendo.bloques)))
    }
}

/// La huella del bloque `indice` de un archivo de `tamano` bytes, leyéndolo.
pub fn leer_bloque(
    archivo: &File,
    tamano: u64,
    indice: u64,
    bufer: &mut [u8],
) -> io::Result<Huella> {
    let mut cuenta = Cuenta::nueva(tamano, indice);
    let mut desde = indice * BLOQUE;
    let hasta = desde + longitud_de_bloque(tamano, indice);
    while desde < hasta {
        let quiero = bufer.len().min((hasta - desde) as usize);
        let leido = leer_en(archivo, desde, &mut bufer[..quiero])?;
        if leido == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        cuenta.anadir(&bufer[..leido]);
        desde += leido as u64;
    }
    Ok(cuenta.terminar())
}

/// El resumen de un archivo abierto, leyéndolo entero aquí mismo. Falla si cambió mientras se leía
/// o se canceló.
pub fn resumir(abierto: &Abierto, parada: &Parada) -> io::Result<Resumen> {
    let mut bufer = vec![0; LECTURA];
    let bloques: io::Result<Vec<Huella>> = (0..cuantos_bloques(abierto.tamano))
        .map(|indice| {
            if parada.avisada() {
                return Err(io::Error::other("cancelado"));
            }
            leer_bloque(&abierto.archivo, abierto.tamano, indice, &mut bufer)
        })
        .collect();
    if !abierto.sigue_igual() {
        return Err(io::Error::other("cambió mientras se leía"));
    }
    Resumen::de_bloques(bloques?).ok_or_else(|| io::Error::other("sin bloques"))
}

impl Huellas {
    fn sabida(&self, sello: &Sello) -> Option<Arc<Resumen>> {
        let sabida = self.sabidas.get(&sello.archivo)?;
        (sabida.sello == *sello).then(|| Arc::clone(&sabida.resumen))
    }

    /// El archivo que la tenía la última vez que se leyó: su nombre, y en qué estado estaba.
    fn con_huella(&self, huella: &Huella) -> Option<(String, Sello)> {
        let sabida = self.sabidas.get(self.por_huella.get(huella)?)?;
        let es = sabida.resumen.huella == *huella;
        es.then(|| (sabida.nombre.clone(), sabida.sello))
    }

    fn pedir_un_repaso(&mut self) {
        let hace_poco = |repasada: Instant| repasada.elapsed() < ENTRE_REPASOS;
        if !self.repasada.is_some_and(hace_poco) {
            (self.por_repasar, self.repasada) = (true, Some(Instant::now()));
        }
    }

    fn olvidar_si(&mut self, sobra: impl Fn(&Sabida) -> bool) {
        self.sabidas.retain(|_, sabida| !sobra(sabida));
        let sabidas = &self.sabidas;
        self.por_huella
            .retain(|_, archivo| sabidas.contains_key(archivo));
    }

    /// Cuántos hay pedidos: son los primeros de la cola.
    fn pedidos(&self) -> usize {
        self.cola.partition_point(|otro| otro.pedido)
    }

    fn esta_pedido(&self, sello: &Sello) -> bool {
        let mut pedidos = self.cola.iter().take_while(|otro| otro.pedido);
        pedidos.any(|otro| otro.sello == *sello)
    }

    /// Lo pone con los pedidos, salvo que ya lo esté, con lo que se llevara leído.
    fn pedir(&mut self, nombre: &str, sello: Sello) {
        if self.esta_pedido(&sello) || self.pedidos() >= TOPE_DE_PEDIDOS {
            return;
        }
        let estaba = self.sacar(&sello);
        let mut por_leer = estaba.unwrap_or_else(|| PorLeer::nuevo(nombre, sello));
        por_leer.pedido = true;
        self.encolar(por_leer);
    }

    /// Lo pone el último de los suyos.
    fn encolar(&mut self, por_leer: PorLeer) {
        let donde = match por_leer.pedido {
            true => self.pedidos(),
            false => self.cola.len(),
        };
        self.cola.insert(donde, por_leer);
    }

    fn sacar(&mut self, sello: &Sello) -> Option<PorLeer> {
        let donde = self.cola.iter().position(|otro| otro.sello == *sello)?;
        self.cola.remove(donde)
    }

    /// Tras un turno: lo recuerda si está entero, lo devuelve a la cola si le falta, o lo deja.
    fn anotar(&mut self, leyendo: PorLeer, leido: Result<Option<Resumen>, String>) {
        // Mientras se leía pudieron pedirlo: vale el de la cola.
        let Some(mut por_leer) = self.sacar(&leyendo.sello) else {
            return;
        };
        match leido {
            Ok(Some(resumen)) => self.recordar(leyendo.nombre, leyendo.sello, Arc::new(resumen)),
            Ok(None) => {
                por_leer.bloques = leyendo.bloques;
                self.encolar(por_leer);
            }
            Err(motivo) => log::info!("huella de {}: {motivo}", leyendo.nombre),
        }
    }

    /// Con el tope lleno, olvida cualquiera: si hace falta, se volverá a pedir.
    fn recordar(&mut self, nombre: String, sello: Sello, resumen: Arc<Resumen>) {
        if self.sabidas.len() >= TOPE_DE_HUELLAS
            && let Some(cualquiera) = self.sabidas.keys().next().copied()
            && let Some(olvidada) = self.sabidas.remove(&cualquiera)
        {
            self.por_huella.remove(&olvidada.resumen.huella);
        }
        self.por_huella.insert(resumen.huella, sello.archivo);
        let sabida = Sabida {
            nombre,
            sello,
            resumen,
        };
        self.sabidas.insert(sello.archivo, sabida);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodo::carpeta::en_curso::Acabado;
    use std::fs;
    use std::path::Path;
    use std::thread;
    use std::time::Instant;

    const ESPERA: Duration = Duration::from_secs(20);

    fn de(ruta: &Path) -> Estante {
        Estante::nuevo(Origen::Carpeta(Arc::new(Carpeta::abrir(ruta).unwrap())))
    }

    fn con_estante(prueba: impl FnOnce(&Path, &Estante)) {
        let temporal = tempfile::tempdir().unwrap();
        let estante = de(temporal.path());
        thread::scope(|ambito| {
            ambito.spawn(|| estante.trabajar());
            // Que se cierre también si la prueba falla: si no, se quedaría esperando a este hilo.
            let _al_salir = AlSalir(&estante);
            prueba(temporal.path(), &estante);
        });
    }

    struct AlSalir<'a>(&'a Estante);

    impl Drop for AlSalir<'_> {
        fn drop(&mut self) {
            self.0.cerrar();
        }
    }

    fn huella(estante: &Estante, nombre: &str) -> Option<String> {
        let abierto = estante.abrir(nombre).unwrap();
        estante
            .resumen(nombre, &abierto, ESPERA)
            .map(|r| r.huella.to_string())
    }

    #[test]
    fn calcula_recuerda_y_nota_los_cambios() {
        con_estante(|carpeta, estante| {
            let grande = vec![7; 3 * BLOQUE as usize + 11];
            fs::write(carpeta.join("grande"), &grande).unwrap();
            assert_eq!(
                huella(estante, "grande").unwrap(),
                blake3::hash(&grande).to_string()
            );
            let lista = Carpeta::abrir(carpeta).unwrap().listar().unwrap();
            assert!(estante.conocido(&lista[0]).is_some());
            fs::write(carpeta.join("grande"), b"otro").unwrap();
            assert_eq!(
                huella(estante, "grande").unwrap(),
                blake3::hash(b"otro").to_string()
            );
        });
    }

    #[test]
    fn por_su_huella_se_encuentra_se_llame_como_se_llame_y_el_nombre_manda() {
        con_estante(|carpeta, estante| {
            fs::write(carpeta.join("uno"), "x").unwrap();
            let cifras = huella(estante, "uno").unwrap();
            let se_llama = |que: &str| match estante.buscar(que) {
                Ok(existente) => existente.nombre().to_string(),
                Err(_) => "nada".into(),
            };
            assert_eq!(se_llama(&cifras), "uno");
            assert_eq!(se_llama(&"0".repeat(64)), "nada");
            // Cambia y vuelve a cambiar: lo que se supiera ya no vale.
            fs::write(carpeta.join("uno"), "otra cosa").unwrap();
            assert_eq!(se_llama(&cifras), "nada");
            fs::write(carpeta.join(&cifras), "con ese nombre").unwrap();
            assert_eq!(se_llama(&cifras), cifras);
            assert_eq!(se_llama("uno"), "uno");
        });
    }

    #[test]
    fn lo_que_se_acaba_de_bajar_no_se_vuelve_a_leer() {
        let temporal = tempfile::tempdir().unwrap();
        fs::write(temporal.path().join("a"), "x").unwrap();
        // Nadie calcula: si se sabe es porque lo dijo quien lo bajó.
        let estante = de(temporal.path());
        let abierto = estante.abrir("a").unwrap();
        let resumen = Arc::new(resumir(&abierto, &Parada::nueva()).unwrap());
        estante.en_curso().unwrap().acabar(Acabado {
            nombre: "a".into(),
            sello: abierto.sello,
            resumen: Arc::clone(&resumen),
        });
        let cifras = resumen.huella.to_string();
        assert!(
            matches!(estante.buscar(&cifras), Ok(Existente::Entero { nombre, .. }) if nombre == "a")
        );
        assert!(estante.resumen("a", &abierto, Duration::ZERO).is_some());
    }

    #[test]
    fn lo_de_fondo_se_calcula_sin_que_nadie_lo_pida() {
        con_estante(|carpeta, estante| {
            for n in 0..20 {
                fs::write(carpeta.join(format!("{n}")), format!("{n}")).unwrap();
            }
            let lista = Carpeta::abrir(carpeta).unwrap().listar().unwrap();
            estante.repasar(&lista);
            let limite = Instant::now() + ESPERA;
            while !lista.iter().all(|a| estante.conocido(a).is_some()) {
                assert!(Instant::now() < limite);
                thread::yield_now();
            }
        });
    }

    #[test]
    fn sin_nadie_que_calcule_no_se_espera_mas_de_lo_dicho() {
        let temporal = tempfile::tempdir().unwrap();
        fs::write(temporal.path().join("a"), "a").unwrap();
        let estante = de(temporal.path());
        let abierto = estante.abrir("a").unwrap();
        let antes = Instant::now();
        assert!(
            estante
                .resumen("a", &abierto, Duration::from_millis(50))
                .is_none()
        );
        assert!(antes.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn lo_que_ya_se_calcula_no_se_apunta_otra_vez() {
        let temporal = tempfile::tempdir().unwrap();
        fs::write(temporal.path().join("a"), "a").unwrap();
        let archivos = Carpeta::abrir(temporal.path()).unwrap().listar().unwrap();
        let estante = de(temporal.path());
        estante.repasar(&archivos);
        assert!(estante.siguiente().is_some());
        estante.repasar(&archivos);
        assert_eq!(cerrojo(&estante.huellas).cola.len(), 1);
    }

    #[test]
    fn lo_pedido_va_delante_y_lo_enorme_cede_el_turno() {
        let temporal = tempfile::tempdir().unwrap();
        let enorme = fs::File::create(temporal.path().join("1")).unwrap();
        enorme.set_len(40 * BLOQUE).unwrap();
        for nombre in ["2", "3"] {
            fs::write(temporal.path().join(nombre), nombre).unwrap();
        }
        let archivos = Carpeta::abrir(temporal.path()).unwrap().listar().unwrap();
        let estante = de(temporal.path());
        estante.repasar(&archivos);
        let pedir = |nombre: &str| {
            let abierto = estante.abrir(nombre).unwrap();
            estante.resumen(nombre, &abierto, Duration::ZERO);
        };
        let mut bufer = vec![0; LECTURA];
        let mut turno = |mientras: &dyn Fn()| {
            let mut primero = estante.siguiente().unwrap();
            mientras();
            let leido = estante.leer_un_turno(&mut primero, &mut bufer);
            let nombre = primero.nombre.clone();
            cerrojo(&estante.huellas).anotar(primero, leido);
            nombre
        };
        // El enorme se pide mientras se lee de fondo, y luego otro: se turnan, y el 2 espera.
        assert_eq!(turno(&|| pedir("1")), "1");
        pedir("3");
        pedir("3");
        assert_eq!(turno(&|| ()), "1");
        assert_eq!(turno(&|| ()), "3");
        assert_eq!(turno(&|| ()), "1");
        assert!(estante.conocido(&archivos[0]).is_some());
        assert_eq!(turno(&|| ()), "2");
        assert!(cerrojo(&estante.huellas).cola.is_empty());
    }

    #[test]
    fn un_archivo_se_lee_una_vez_se_escriba_como_se_escriba() {
        con_estante(|carpeta, estante| {
            fs::write(carpeta.join("ñáéí"), "x").unwrap();
            let formas = [["ñ", "n\u{303}"], ["á", "a\u{301}"], ["é", "e\u{301}"]];
            let resumenes: Vec<Arc<Resumen>> = (0..8)
                .map(|n| {
                    let letra = |i: usize| formas[i][n >> i & 1];
                    let nombre = format!("{}{}{}í", letra(0), letra(1), letra(2));
                    let abierto = estante.abrir(&nombre).unwrap();
                    estante.resumen(&nombre, &abierto, ESPERA).unwrap()
                })
                .collect();
            assert!(resumenes.iter().all(|r| Arc::ptr_eq(r, &resumenes[0])));
            assert_eq!(cerrojo(&estante.huellas).sabidas.len(), 1);
        });
    }

    #[cfg(unix)]
    #[test]
    fn otro_archivo_con_la_misma_fecha_y_tamano_no_hereda_la_huella() {
        con_estante(|carpeta, estante| {
            let fecha = std::time::UNIX_EPOCH;
            for contenido in ["uno", "dos", "mil"] {
                // Borrado y vuelto a crear, suele tocarle el mismo número en el disco.
                let _ = fs::remove_file(carpeta.join("a"));
                fs::write(carpeta.join("a"), contenido).unwrap();
                let archivo = fs::File::options().write(true).open(carpeta.join("a"));
                archivo.unwrap().set_modified(fecha).unwrap();
                assert_eq!(
                    huella(estante, "a").unwrap(),
                    blake3::hash(contenido.as_bytes()).to_string()
                );
            }
        });
    }

    #[test]
    fn lo_que_se_recuerda_tiene_tope() {
        let mut huellas = Huellas::default();
        let temporal = tempfile::tempdir().unwrap();
        fs::write(temporal.path().join("a"), "a").unwrap();
        let sello = Carpeta::abrir(temporal.path()).unwrap().listar().unwrap()[0].sello;
        let resumen = Resumen::de_bloques(vec![Huella::leer(&"a".repeat(64)).unwrap()]).unwrap();
        let resumen = Arc::new(resumen);
        for n in 0..TOPE_DE_HUELLAS as u64 + 10 {
            let archivo = (0, n);
            let sello = Sello { archivo, ..sello };
            huellas.recordar("a".into(), sello, Arc::clone(&resumen));
        }
        assert_eq!(huellas.sabidas.len(), TOPE_DE_HUELLAS);
        assert!(huellas.por_huella.len() <= TOPE_DE_HUELLAS);
    }

    #[test]
    fn uno_solo_no_sirve_nada_mas() {
        let temporal = tempfile::tempdir().unwrap();
        let ruta = temporal.path().join("x");
        fs::write(&ruta, "x").unwrap();
        fs::write(temporal.path().join("y"), "y").unwrap();
        let estante = Estante::nuevo(Origen::Uno("nombre".into(), ruta));
        assert!(estante.abrir("nombre").is_ok());
        for otro in ["x", "y", "../y", "", "/etc/passwd"] {
            assert!(estante.abrir(otro).is_err());
        }
        let parada = Parada::nueva();
        let abierto = estante.abrir("nombre").unwrap();
        assert_eq!(
            resumir(&abierto, &parada).unwrap().huella.to_string(),
            blake3::hash(b"x").to_string()
        );
        parada.avisar();
        assert!(resumir(&abierto, &parada).is_err());
    }
}
