//! Lo que se sirve: abrir un archivo por su nombre y saber su huella, sin hacer esperar a nadie de más.
//!
//! Un nodo sirve su carpeta; `nodo enviar` sirve un solo archivo, esté donde esté. Para las palabras del protocolo
//! es lo mismo. Las huellas se calculan en un hilo aparte ([`Estante::trabajar`]), por turnos de unos cuantos
//! bloques: lo pedido va delante, y un archivo de 50 GiB no retiene a uno pequeño. Se recuerdan por nombre, tamaño y
//! fecha; nada se guarda en disco.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::nodo::carpeta::disco::leer_en;
use crate::nodo::carpeta::huella::{
    BLOQUE, Cuenta, Huella, Resumen, cuantos_bloques, longitud_de_bloque,
};
use crate::nodo::carpeta::{Abierto, Archivo, Carpeta, NoSeAbre};
use crate::red::parada::Parada;

/// Bloques que se leen de un archivo antes de dar el turno a otro: 64 MiB, unas centésimas de segundo.
const BLOQUES_POR_TURNO: usize = 16;
/// Bytes que se leen de una vez.
const LECTURA: usize = 256 * 1024;
/// Archivos pedidos a la vez que se apuntan; los demás esperan a que vuelvan a preguntar.
const TOPE_DE_PEDIDOS: usize = 4096;

/// De dónde salen los archivos.
enum Origen {
    Carpeta(Carpeta),
    Uno { nombre: String, ruta: PathBuf },
}

/// Archivos que se pueden servir, con sus huellas.
pub struct Estante {
    origen: Origen,
    cuentas: Mutex<Cuentas>,
    cambio: Condvar,
}

#[derive(Default)]
struct Cuentas {
    hechas: HashMap<String, (Version, Arc<Resumen>)>,
    pedidas: VecDeque<Tarea>,
    de_fondo: VecDeque<Tarea>,
    en_curso: Option<(String, Version)>,
    cerrado: bool,
}

/// Tamaño y fecha: si cambian, la huella ya no vale.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Version {
    tamano: u64,
    fecha: SystemTime,
}

/// Una huella a medio calcular.
struct Tarea {
    nombre: String,
    version: Version,
    bloques: Vec<Huella>,
}

impl Tarea {
    fn nueva(nombre: &str, version: Version) -> Tarea {
        Tarea {
            nombre: nombre.to_string(),
            version,
            bloques: Vec::new(),
        }
    }

    fn es(&self, nombre: &str, version: Version) -> bool {
        self.nombre == nombre && self.version == version
    }
}

impl From<&Abierto> for Version {
    fn from(abierto: &Abierto) -> Version {
        Version {
            tamano: abierto.tamano,
            fecha: abierto.fecha,
        }
    }
}

impl Estante {
    /// Lo que hay en una carpeta.
    pub fn de_carpeta(carpeta: Carpeta) -> Estante {
        Estante::con(Origen::Carpeta(carpeta))
    }

    /// Un solo archivo, que se llamará `nombre` y está en `ruta`.
    pub fn de_uno(nombre: String, ruta: PathBuf) -> Estante {
        Estante::con(Origen::Uno { nombre, ruta })
    }

    fn con(origen: Origen) -> Estante {
        Estante {
            origen,
            cuentas: Mutex::default(),
            cambio: Condvar::new(),
        }
    }

    /// Abre un archivo por su nombre.
    ///
    /// # Errores
    /// No está, o no quedan descriptores.
    pub fn abrir(&self, nombre: &str) -> Result<Abierto, NoSeAbre> {
        match &self.origen {
            Origen::Carpeta(carpeta) => carpeta.abrir_archivo(nombre),
            Origen::Uno {
                nombre: unico,
                ruta,
            } if unico == nombre => {
                let archivo = std::fs::File::open(ruta).map_err(|_| NoSeAbre::NoEsta)?;
                Abierto::mirar(archivo)
            }
            Origen::Uno { .. } => Err(NoSeAbre::NoEsta),
        }
    }

    /// El resumen de un archivo, si ya se sabe. No espera.
    pub fn conocido(&self, nombre: &str, tamano: u64, fecha: SystemTime) -> Option<Arc<Resumen>> {
        self.cuentas().hecha(nombre, Version { tamano, fecha })
    }

    /// El resumen de un archivo abierto. Si no se sabe, lo pone delante de la cola y espera hasta `espera`.
    pub fn resumen(
        &self,
        nombre: &str,
        abierto: &Abierto,
        espera: Duration,
    ) -> Option<Arc<Resumen>> {
        let version = Version::from(abierto);
        let limite = Instant::now() + espera;
        let mut cuentas = self.cuentas();
        if let Some(hecha) = cuentas.hecha(nombre, version) {
            return Some(hecha);
        }
        cuentas.pedir(nombre, version);
        self.cambio.notify_all();
        loop {
            if let Some(hecha) = cuentas.hecha(nombre, version) {
                return Some(hecha);
            }
            let falta = limite.saturating_duration_since(Instant::now());
            let sigue = cuentas.esta_pedida(nombre, version) || cuentas.adelantar(nombre, version);
            if falta.is_zero() || cuentas.cerrado || !sigue {
                return None;
            }
            cuentas = self
                .cambio
                .wait_timeout(cuentas, falta)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Apunta, para cuando no haya nada pedido, lo que aún no tiene huella. Olvida lo que ya no está en la lista.
    pub fn repasar(&self, archivos: &[Archivo]) {
        let actuales: HashMap<&str, Version> = archivos
            .iter()
            .map(|a| {
                (
                    a.nombre.as_str(),
                    Version {
                        tamano: a.tamano,
                        fecha: a.fecha,
                    },
                )
            })
            .collect();
        let mut cuentas = self.cuentas();
        cuentas
            .hechas
            .retain(|nombre, (version, _)| actuales.get(nombre.as_str()) == Some(version));
        let ya: HashMap<String, Version> = cuentas
            .de_fondo
            .iter()
            .map(|tarea| (tarea.nombre.clone(), tarea.version))
            // Lo que se está calculando tampoco: un archivo enorme se leería dos veces.
            .chain(cuentas.en_curso.clone())
            .collect();
        let nuevas: Vec<Tarea> = actuales
            .iter()
            .filter(|(nombre, version)| {
                !cuentas.hechas.contains_key(**nombre) && ya.get(**nombre) != Some(version)
            })
            .map(|(nombre, version)| Tarea::nueva(nombre, *version))
            .collect();
        let hay = !nuevas.is_empty();
        cuentas.de_fondo.extend(nuevas);
        drop(cuentas);
        if hay {
            self.cambio.notify_all();
        }
    }

    /// Calcula huellas hasta que se llame a [`Estante::cerrar`]. Es el cuerpo de un hilo.
    pub fn trabajar(&self) {
        let mut bufer = vec![0; LECTURA];
        while let Some((tarea, pedida)) = self.siguiente() {
            let nombre = tarea.nombre.clone();
            let resultado = self.un_turno(tarea, &mut bufer);
            let mut cuentas = self.cuentas();
            cuentas.en_curso = None;
            match resultado {
                Ok(Turno::Falta(tarea)) if pedida => cuentas.pedidas.push_back(tarea),
                Ok(Turno::Falta(tarea)) => cuentas.de_fondo.push_back(tarea),
                Ok(Turno::Hecha(version, resumen)) => {
                    cuentas.hechas.insert(nombre, (version, Arc::new(resumen)));
                }
                Err(motivo) => log::info!("huella de {nombre}: {motivo}"),
            }
            drop(cuentas);
            self.cambio.notify_all();
        }
    }

    /// Manda terminar a [`Estante::trabajar`] y suelta a quien espere una huella.
    pub fn cerrar(&self) {
        self.cuentas().cerrado = true;
        self.cambio.notify_all();
    }

    fn cuentas(&self) -> MutexGuard<'_, Cuentas> {
        self.cuentas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn siguiente(&self) -> Option<(Tarea, bool)> {
        let mut cuentas = self.cuentas();
        loop {
            if cuentas.cerrado {
                return None;
            }
            let pedida = cuentas.pedidas.pop_front();
            let es_pedida = pedida.is_some();
            if let Some(tarea) = pedida.or_else(|| cuentas.de_fondo.pop_front()) {
                if cuentas.hecha(&tarea.nombre, tarea.version).is_some() {
                    continue;
                }
                cuentas.en_curso = Some((tarea.nombre.clone(), tarea.version));
                return Some((tarea, es_pedida));
            }
            cuentas = self
                .cambio
                .wait(cuentas)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Un turno: los bloques que tocan, volviendo a abrir el archivo (así una cola larga no gasta descriptores).
    fn un_turno(&self, mut tarea: Tarea, bufer: &mut [u8]) -> Result<Turno, String> {
        let abierto = self.abrir(&tarea.nombre).map_err(|e| format!("{e:?}"))?;
        if Version::from(&abierto) != tarea.version {
            return Err("cambió antes de leerlo".into());
        }
        let total = cuantos_bloques(tarea.version.tamano);
        for _ in 0..BLOQUES_POR_TURNO {
            if tarea.bloques.len() as u64 == total || self.cuentas().cerrado {
                break;
            }
            let indice = tarea.bloques.len() as u64;
            let bloque =
                leer_bloque(&abierto, indice, bufer).map_err(|e| crate::fallo::motivo(&e))?;
            tarea.bloques.push(bloque);
        }
        if !abierto.sigue_igual() {
            return Err("cambió mientras se leía".into());
        }
        if (tarea.bloques.len() as u64) < total {
            return Ok(Turno::Falta(tarea));
        }
        let resumen = Resumen::de_bloques(tarea.bloques).ok_or("sin bloques")?;
        Ok(Turno::Hecha(tarea.version, resumen))
    }
}

enum Turno {
    Falta(Tarea),
    Hecha(Version, Resumen),
}

/// La huella del bloque `indice`, leyéndolo.
fn leer_bloque(abierto: &Abierto, indice: u64, bufer: &mut [u8]) -> io::Result<Huella> {
    let mut cuenta = Cuenta::nueva(abierto.tamano, indice);
    let mut desde = indice * BLOQUE;
    let hasta = desde + longitud_de_bloque(abierto.tamano, indice);
    while desde < hasta {
        let quiero = bufer.len().min((hasta - desde) as usize);
        match leer_en(&abierto.archivo, desde, &mut bufer[..quiero])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            leido => {
                cuenta.anadir(&bufer[..leido]);
                desde += leido as u64;
            }
        }
    }
    Ok(cuenta.terminar())
}

/// El resumen de un archivo abierto, leyéndolo entero aquí mismo.
///
/// # Errores
/// No se puede leer, cambió mientras se leía o se canceló.
pub fn resumir(abierto: &Abierto, parada: &Parada) -> io::Result<Resumen> {
    let mut bufer = vec![0; LECTURA];
    let bloques: io::Result<Vec<Huella>> = (0..cuantos_bloques(abierto.tamano))
        .map(|indice| {
            if parada.avisada() {
                return Err(io::Error::other("cancelado"));
            }
            leer_bloque(abierto, indice, &mut bufer)
        })
        .collect();
    if !abierto.sigue_igual() {
        return Err(io::Error::other("cambió mientras se leía"));
    }
    Resumen::de_bloques(bloques?).ok_or_else(|| io::Error::other("sin bloques"))
}

impl Cuentas {
    fn hecha(&self, nombre: &str, version: Version) -> Option<Arc<Resumen>> {
        self.hechas
            .get(nombre)
            .filter(|(de, _)| *de == version)
            .map(|(_, resumen)| Arc::clone(resumen))
    }

    /// Pone la tarea delante, salvo que ya lo esté.
    fn pedir(&mut self, nombre: &str, version: Version) {
        if self.esta_pedida(nombre, version) || self.pedidas.len() >= TOPE_DE_PEDIDOS {
            return;
        }
        if !self.adelantar(nombre, version) {
            self.pedidas.push_back(Tarea::nueva(nombre, version));
        }
    }

    /// Pasa una tarea del fondo a las pedidas, por donde fuera. Falso si no estaba en el fondo.
    fn adelantar(&mut self, nombre: &str, version: Version) -> bool {
        let donde = self
            .de_fondo
            .iter()
            .position(|tarea| tarea.es(nombre, version));
        let tarea = donde.and_then(|donde| self.de_fondo.remove(donde));
        let estaba = tarea.is_some();
        self.pedidas.extend(tarea);
        estaba
    }

    fn esta_pedida(&self, nombre: &str, version: Version) -> bool {
        self.pedidas.iter().any(|tarea| tarea.es(nombre, version))
            || self
                .en_curso
                .as_ref()
                .is_some_and(|(n, v)| n == nombre && *v == version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::thread;

    const ESPERA: Duration = Duration::from_secs(20);

    fn con_estante(prueba: impl FnOnce(&std::path::Path, &Estante)) {
        let temporal = tempfile::tempdir().unwrap();
        let estante = Estante::de_carpeta(Carpeta::abrir(temporal.path()).unwrap());
        thread::scope(|ambito| {
            ambito.spawn(|| estante.trabajar());
            prueba(temporal.path(), &estante);
            estante.cerrar();
        });
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
            let abierto = estante.abrir("grande").unwrap();
            assert!(
                estante
                    .conocido("grande", abierto.tamano, abierto.fecha)
                    .is_some()
            );
            fs::write(carpeta.join("grande"), b"otro").unwrap();
            assert_eq!(
                huella(estante, "grande").unwrap(),
                blake3::hash(b"otro").to_string()
            );
        });
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
            while !lista
                .iter()
                .all(|a| estante.conocido(&a.nombre, a.tamano, a.fecha).is_some())
            {
                assert!(Instant::now() < limite);
                thread::yield_now();
            }
        });
    }

    #[test]
    fn sin_nadie_que_calcule_no_se_espera_mas_de_lo_dicho() {
        let temporal = tempfile::tempdir().unwrap();
        fs::write(temporal.path().join("a"), "a").unwrap();
        let estante = Estante::de_carpeta(Carpeta::abrir(temporal.path()).unwrap());
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
        let carpeta = Carpeta::abrir(temporal.path()).unwrap();
        let archivos = carpeta.listar().unwrap();
        let estante = Estante::de_carpeta(carpeta);
        estante.repasar(&archivos);
        assert!(estante.siguiente().is_some());
        estante.repasar(&archivos);
        assert!(estante.cuentas().de_fondo.is_empty());
    }

    #[test]
    fn uno_solo_no_sirve_nada_mas() {
        let temporal = tempfile::tempdir().unwrap();
        let ruta = temporal.path().join("x");
        fs::write(&ruta, "x").unwrap();
        fs::write(temporal.path().join("y"), "y").unwrap();
        let estante = Estante::de_uno("nombre".into(), ruta);
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
