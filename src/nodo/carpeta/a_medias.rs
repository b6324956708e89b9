//! Guardar lo que llega: el archivo a medias (`.nombre.part`) y cómo toma su nombre sin pisar.
//!
//! La guía abre el destino con `'wb'`, que borra lo que hubiera, y si la descarga se corta deja
//! medio archivo con el nombre bueno. Aquí se escribe en un `.part` con cerrojo y el nombre final
//! se toma de un golpe, al acabar. Lo que se nombra es el archivo en que se escribió, no lo que
//! haya entonces en esa ruta: la carpeta se queda abierta, y antes y después se mira cuál es.
//!
//! No sabe de dónde vienen los bytes ni si son buenos: eso lo decide `descarga/`.

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::io;
use std::io::ErrorKind::{AlreadyExists, QuotaExceeded, StorageFull};
use std::ops::Bound::{Included, Unbounded};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_fs_ext::{MetadataExt, OpenOptionsSyncExt};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};

use crate::fallo::{Fallo, motivo};
use crate::nodo::carpeta::disco::{
    asegurar_todos, bytes_en_disco, datos_si_es, escribir_en, renombrar_sin_pisar,
};
use crate::nodo::carpeta::huella::Huella;
use crate::nodo::carpeta::huellas::resumir;
use crate::nodo::carpeta::nombres::{NombreRecibible, con_numero, en_nfc, es_copia_de};
use crate::nodo::carpeta::{Abierto, Carpeta, nombres_de, unir};
use crate::red::parada::Parada;
use crate::texto::tamano as texto_tamano;

/// Cuántos `(n)` se prueban antes de rendirse.
const TOPE_DE_NUMEROS: u32 = 10_000;
/// Cuántas veces se intenta abrir el `.part` si otro lo quita justo entre abrirlo y echarle el
/// cerrojo.
const INTENTOS: usize = 8;
/// Lo que se deja libre en el disco cuando no se sabe cuánto va a llegar: un veinteavo, y no más de
/// esto. Una fuente que no acaba nunca no debe dejar sin sitio a los demás programas; y en un disco
/// grande un veinteavo sería prohibir lo que cabe de sobra.
const MARGEN: u64 = 64 * 1024 * 1024;

/// Un archivo a medias, nuestro mientras exista este valor. Varios hilos pueden escribir a la vez.
pub struct AMedias {
    archivo: File,
    nombre: NombreRecibible,
    /// La carpeta en que está, abierta: aunque la muevan o pongan otra en su sitio, es esta.
    dir: Arc<Dir>,
    /// Cómo se llama en ella.
    parte: String,
    /// La ruta de esa carpeta: para decirla y para preguntar cuánto sitio queda, nada más.
    lugar: PathBuf,
    /// Con huella, lo que se corta se puede seguir; sin ella, lo que no se acaba no vale.
    comprobable: bool,
}

/// Una subcarpeta en que se van a guardar archivos, abierta: quien guarda mil en ella la abre una
/// vez.
pub struct Rincon {
    sub: String,
    dir: Arc<Dir>,
}

impl Rincon {
    /// ¿Es en el que va `nombre`?
    pub fn es_el_de(&self, nombre: &NombreRecibible) -> bool {
        nombre.partes().0 == self.sub
    }
}

impl Carpeta {
    /// Abre (o crea) el archivo a medias de `nombre` y le echa el cerrojo. Lo que ya tuviera dentro
    /// se conserva: puede haber bloques buenos.
    pub fn empezar_a_recibir(&self, nombre: &NombreRecibible) -> Result<AMedias, Fallo> {
        self.empezar(nombre, true)
    }

    /// Lo mismo para lo que viene sin huella: en otro archivo, vacío, para no estropear los bloques
    /// buenos que hubiera, y que se borra solo si no llega a [`AMedias::terminar`].
    pub fn empezar_sin_comprobar(&self, nombre: &NombreRecibible) -> Result<AMedias, Fallo> {
        let a_medias = self.empezar(nombre, false)?;
        a_medias.medir(0)?;
        Ok(a_medias)
    }

    fn empezar(&self, nombre: &NombreRecibible, comprobable: bool) -> Result<AMedias, Fallo> {
        self.empezar_en(&self.rincon(nombre)?, nombre, comprobable)
    }

    /// La subcarpeta en que va `nombre`; si no está, la crea.
    pub fn rincon(&self, nombre: &NombreRecibible) -> Result<Rincon, Fallo> {
        let (sub, _) = nombre.partes();
        let dir = self.subcarpeta(sub);
        let no_se_guarda = |e| self.no_se_guarda(nombre, &e);
        Ok(Rincon {
            sub: sub.to_string(),
            dir: Arc::new(dir.map_err(no_se_guarda)?),
        })
    }

    /// Abre (o crea) con cerrojo el archivo a medias de `nombre`, en el rincón en que va.
    pub fn empezar_en(
        &self,
        rincon: &Rincon,
        nombre: &NombreRecibible,
        comprobable: bool,
    ) -> Result<AMedias, Fallo> {
        let (sub, archivo) = nombre.partes();
        let dir = Arc::clone(&rincon.dir);
        let parte = nombre_a_medias(archivo, comprobable);
        let archivo = abrir_con_cerrojo(&dir, &parte)
            .map_err(|e| self.no_se_guarda(nombre, &e))?
            .ok_or_else(|| Fallo::nuevo(format!("{nombre} ya se está bajando")))?;
        Ok(AMedias {
            archivo,
            nombre: nombre.clone(),
            dir,
            parte,
            lugar: self.ruta.join(sub).components().collect(),
            comprobable,
        })
    }

    /// Lo que quedó de `nombre` de otra vez, para leerlo sin quitárselo a nadie: sin cerrojo, puede
    /// cambiar mientras tanto.
    pub fn lo_que_quedo(&self, nombre: &NombreRecibible) -> Option<Abierto> {
        let (sub, archivo) = nombre.partes();
        let parte = unir(sub, &nombre_a_medias(archivo, true));
        self.abrir_tal_cual(&parte).ok()
    }

    fn no_se_guarda(&self, nombre: &NombreRecibible, error: &io::Error) -> Fallo {
        let que = format!("no se puede guardar {nombre}");
        fallo_en(&self.ruta, &que, &motivo(error))
    }

    /// Mira si cabe un archivo de `tamano` bytes, contando con lo que ya haya de él.
    pub fn ver_si_cabe(&self, nombre: &NombreRecibible, tamano: u64) -> Result<(), Fallo> {
        match self.libre().filter(|libre| tamano > *libre) {
            Some(libre) => self.ver_si_cabe_en(libre, nombre, tamano).map(drop),
            None => Ok(()),
        }
    }

    /// Bytes libres, si el disco sabe cuántos.
    pub fn libre(&self) -> Option<u64> {
        sitio(&self.ruta).map(|(libre, _)| libre)
    }

    /// Lo mismo, con esos bytes libres. Cuántos quedarían con él.
    pub fn ver_si_cabe_en(
        &self,
        libre: u64,
        nombre: &NombreRecibible,
        tamano: u64,
    ) -> Result<u64, Fallo> {
        let habia = self.lo_que_quedo(nombre);
        let ocupa = habia.map_or(0, |habia| bytes_en_disco(&habia.archivo));
        let falta = tamano.saturating_sub(ocupa);
        if falta <= libre {
            return Ok(libre - falta);
        }
        let frase = format!("{nombre} no cabe: hacen falta {}", texto_tamano(falta));
        let (lugar, quedan) = (self.ruta.display(), texto_tamano(libre));
        let aqui = format!(
            "{frase} y en {lugar} quedan {quedan}; libera sitio o elige otra carpeta con --carpeta"
        );
        Err(Fallo::nuevo(aqui).que_fuera_se_cuenta(frase))
    }

    /// Un archivo que ya tenemos con ese contenido: con ese nombre o con uno de sus `(n)`. Si se
    /// cancela, `None`.
    pub fn copia_igual(
        &self,
        nombre: &NombreRecibible,
        tamano: u64,
        huella: Huella,
        parada: &Parada,
    ) -> Option<String> {
        let (sub, archivo) = nombre.partes();
        let copias = nombres_de(self.entradas(sub).ok()?)
            .filter(|candidato| es_copia_de(candidato, archivo))
            .map(|candidato| unir(sub, &candidato));
        self.el_igual(copias, tamano, huella, parada)
    }

    /// Lo mismo, sin leer la carpeta: con los nombres que ya se sabe que hay en ella.
    pub fn copia_igual_entre(
        &self,
        hay: &BTreeSet<String>,
        nombre: &NombreRecibible,
        (tamano, huella): (u64, Huella),
        parada: &Parada,
    ) -> Option<String> {
        let (sub, archivo) = nombre.partes();
        // Las copias empiezan por lo que va delante de su ` (n)`, y están seguidas.
        let (base, _) = archivo.rsplit_once('.').unwrap_or((archivo, ""));
        let base = if base.is_empty() { archivo } else { base };
        let numeradas = format!("{base} (");
        let desde = hay.range::<str, _>((Included(&*numeradas), Unbounded));
        let copias = desde.take_while(|otro| otro.starts_with(&numeradas));
        let copias = hay.get(archivo).into_iter().chain(copias);
        let copias = copias.filter(|candidato| es_copia_de(candidato, archivo));
        self.el_igual(copias.map(|c| unir(sub, c)), tamano, huella, parada)
    }

    fn el_igual(
        &self,
        mut copias: impl Iterator<Item = String>,
        tamano: u64,
        huella: Huella,
        parada: &Parada,
    ) -> Option<String> {
        let es_igual = |abierto: Abierto| {
            abierto.tamano == tamano && resumir(&abierto, parada).is_ok_and(|r| r.huella == huella)
        };
        copias.find(|candidato| self.abrir_archivo(candidato).is_ok_and(es_igual))
    }

    /// Los nombres que hay en la subcarpeta en que va `nombre`, en NFC.
    pub fn nombres_junto_a(&self, nombre: &NombreRecibible) -> BTreeSet<String> {
        let (sub, _) = nombre.partes();
        let entradas = self.entradas(sub);
        entradas.map_or_else(
            |_| BTreeSet::new(),
            |entradas| nombres_de(entradas).map(|nombre| en_nfc(&nombre)).collect(),
        )
    }

    fn subcarpeta(&self, sub: &str) -> io::Result<Dir> {
        if sub.is_empty() {
            return self.dir.try_clone();
        }
        self.dir.create_dir_all(sub)?;
        self.dir.open_dir(sub)
    }
}

/// Bytes libres y totales del disco. Uno que no sabe cuánto tiene (o dice 0) se prueba escribiendo.
fn sitio(lugar: &Path) -> Option<(u64, u64)> {
    let disco = fs4::statvfs(lugar).ok()?;
    (disco.total_space() > 0).then(|| (disco.available_space(), disco.total_space()))
}

/// `foto.png` → `.foto.png.part`, o `.foto.png.guia..part` si no se va a poder comprobar: nada que
/// se reciba acaba en punto, así que no puede ser el archivo a medias de otro.
fn nombre_a_medias(archivo: &str, comprobable: bool) -> String {
    format!(".{archivo}{}.part", if comprobable { "" } else { ".guia." })
}

/// `None` si otro (proceso o hilo) ya lo está bajando.
fn abrir_con_cerrojo(dir: &Dir, parte: &str) -> io::Result<Option<File>> {
    let mut opciones = OpenOptions::new();
    opciones.read(true).write(true).create(true).nonblock(true);
    for _ in 0..INTENTOS {
        let abierto = dir.open_with(parte, &opciones)?.into_std();
        match abierto.try_lock() {
            Ok(()) if sigue_a_medias(dir, parte, &abierto)? => return Ok(Some(abierto)),
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(e)) => return Err(e),
        }
    }
    Ok(None)
}

/// ¿Lo que tenemos abierto y con llave sigue siendo el `.part`, y nada más que el `.part`?
///
/// Entre abrirlo y echarle el cerrojo, quien lo tenía pudo darle su nombre final: entonces lo
/// abierto es un archivo bueno, y escribir en él lo rompería. Lo mismo si tiene además otro nombre
/// (un corte entre enlazar y borrar): se le quita el de `.part`, y se empieza otro.
fn sigue_a_medias(dir: &Dir, parte: &str, abierto: &File) -> io::Result<bool> {
    match datos_si_es(dir, parte, abierto)? {
        Some(datos) if datos.is_file() && datos.nlink() > 1 => {
            dir.remove_file(parte)?;
            Ok(false)
        }
        Some(datos) => Ok(datos.is_file()),
        None => match dir.symlink_metadata(parte) {
            Ok(datos) if !datos.is_file() => {
                let que = format!("{parte} no es un archivo; quítalo de ahí");
                Err(io::Error::other(que))
            }
            _ => Ok(false),
        },
    }
}

/// A los demás no se les dice en qué `lugar` del disco.
fn fallo_en(lugar: &Path, que: &str, que_paso: &str) -> Fallo {
    let aqui = Fallo::nuevo(format!("{que} en {}: {que_paso}", lugar.display()));
    aqui.que_fuera_se_cuenta(format!("{que}: {que_paso}"))
}

impl AMedias {
    /// Escribe `datos` a partir del byte `desde`. Sin huella no se sabe cuánto falta, y se para
    /// antes de llenar el disco.
    pub fn escribir_en(&self, desde: u64, datos: &[u8]) -> Result<(), Fallo> {
        let casi_lleno = |(libre, total): (u64, u64)| libre < MARGEN.min(total / 20);
        if !self.comprobable && sitio(&self.lugar).is_some_and(casi_lleno) {
            let lleno = "el disco está casi lleno; libera sitio y vuelve a pedirlo";
            return Err(self.al_guardar(lleno));
        }
        escribir_en(&self.archivo, desde, datos).map_err(|e| self.fallo(&e))
    }

    /// Lo que tiene dentro, para leerlo, y en qué estado está.
    pub fn abierto(&self) -> Result<Abierto, Fallo> {
        let otro = self.archivo.try_clone().map_err(|e| self.fallo(&e))?;
        Abierto::mirar(otro).map_err(|_| self.al_guardar("no se deja leer"))
    }

    /// Bytes que tiene ahora.
    pub fn tamano(&self) -> u64 {
        self.archivo.metadata().map_or(0, |datos| datos.len())
    }

    /// Borra el `.part`, si sigue siendo este.
    pub fn descartar(&self) {
        let borrado = match datos_si_es(&self.dir, &self.parte, &self.archivo) {
            Ok(Some(_)) => self.dir.remove_file(&self.parte),
            Ok(None) => Ok(()),
            Err(e) => Err(e),
        };
        if let Err(error) = borrado {
            log::warn!("no se pudo borrar {}: {}", self.parte, motivo(&error));
        }
    }

    /// Lo deja en `tamano` bytes.
    fn medir(&self, tamano: u64) -> Result<(), Fallo> {
        self.archivo.set_len(tamano).map_err(|e| self.fallo(&e))
    }

    /// Con sus `tamano` bytes ya escritos: quita lo que sobre, lo asegura en el disco y le da su
    /// nombre, o el primer `(n)` libre. Devuelve con cuál quedó.
    ///
    /// Hasta aquí nada lo encoge: lo que hubiera de otra vez vale hasta que esté todo comprobado.
    pub fn terminar(&self, tamano: u64) -> Result<String, Fallo> {
        self.medir(tamano)?;
        self.archivo.sync_data().map_err(|e| self.fallo(&e))?;
        self.tomar_un_nombre()
    }

    /// Lo deja en sus `tamano` bytes ya escritos, sin asegurarlos.
    pub fn rematar(&self, tamano: u64) -> Result<(), Fallo> {
        match self.tamano() == tamano {
            true => Ok(()),
            false => self.medir(tamano),
        }
    }

    /// Asegura en el disco varios ya rematados, de una vez si el sistema sabe.
    pub fn asegurar(varios: &[&AMedias]) -> Result<(), Fallo> {
        let Some(primero) = varios.first() else {
            return Ok(());
        };
        let archivos: Vec<&File> = varios.iter().map(|uno| &uno.archivo).collect();
        asegurar_todos(&archivos).map_err(|e| primero.fallo(&e))
    }

    /// Asegurado ya, toma su nombre. Falso si está ocupado, y entonces no toca nada.
    pub fn tomar_su_nombre(&self) -> Result<bool, Fallo> {
        let (_, archivo) = self.nombre.partes();
        match self.llamarse(archivo) {
            Ok(()) => Ok(true),
            Err(ocupado) if ocupado.kind() == AlreadyExists => Ok(false),
            Err(otro) => Err(self.fallo(&otro)),
        }
    }

    /// ¿Lleva todavía su carpeta la ruta que se va a decir?
    pub fn ver_que_sigue_ahi(&self) -> Result<(), Fallo> {
        self.ver_que_esta(self.nombre.partes().1)
    }

    fn tomar_un_nombre(&self) -> Result<String, Fallo> {
        let (sub, archivo) = self.nombre.partes();
        for n in 0..TOPE_DE_NUMEROS {
            let candidato = con_numero(archivo, n);
            if self.hay_otro_igual_en_nfc(&candidato) {
                continue;
            }
            match self.llamarse(&candidato) {
                Ok(()) => {
                    self.ver_que_esta(&candidato)?;
                    return Ok(unir(sub, &candidato));
                }
                Err(ocupado) if ocupado.kind() == AlreadyExists => {}
                Err(otro) => return Err(self.fallo(&otro)),
            }
        }
        Err(Fallo::nuevo(format!(
            "hay demasiados archivos llamados {}; borra o renombra alguno",
            self.nombre
        )))
    }

    /// Cambia su nombre de `.part` por ese, si está libre y es él quien lo lleva.
    fn llamarse(&self, candidato: &str) -> io::Result<()> {
        let soy = |nombre| datos_si_es(&self.dir, nombre, &self.archivo).map(|es| es.is_some());
        if soy(&self.parte)? {
            renombrar_sin_pisar(&self.dir, &self.parte, candidato)?;
            if soy(candidato)? {
                return Ok(());
            }
            // Lo cambiaron entre mirar y renombrar: es el archivo a medias de otro. Se le devuelve,
            // o se aparta si ya hay uno: que no quede con el nombre bueno.
            let apartar =
                |n| renombrar_sin_pisar(&self.dir, candidato, &con_numero(&self.parte, n)).is_ok();
            let _ = (0..TOPE_DE_NUMEROS).any(apartar);
        }
        Err(io::Error::other(format!(
            "alguien quitó {} mientras se bajaba; vuelve a pedirlo",
            self.parte
        )))
    }

    /// ¿Lleva todavía la ruta que se va a decir a la carpeta en que está?
    fn ver_que_esta(&self, candidato: &str) -> Result<(), Fallo> {
        let ahora = Dir::open_ambient_dir(&self.lugar, ambient_authority());
        let esta = ahora.and_then(|dir| datos_si_es(&dir, candidato, &self.archivo));
        if matches!(esta, Ok(Some(_))) {
            return Ok(());
        }
        Err(self.al_guardar(&format!(
            "movieron esa carpeta mientras tanto; está entero, con el nombre {candidato}, donde \
             haya quedado"
        )))
    }

    /// En un disco que distingue formas de Unicode, otra escritura del nombre también es el mismo.
    fn hay_otro_igual_en_nfc(&self, candidato: &str) -> bool {
        let hay = |entradas| nombres_de(entradas).any(|otro| en_nfc(&otro) == candidato);
        !candidato.is_ascii() && self.dir.entries().is_ok_and(hay)
    }

    fn fallo(&self, error: &io::Error) -> Fallo {
        let remedio = match error.kind() {
            StorageFull | QuotaExceeded => "; libera sitio y vuelve a pedirlo",
            _ => "",
        };
        self.al_guardar(&format!("{}{remedio}", motivo(error)))
    }

    fn al_guardar(&self, que_paso: &str) -> Fallo {
        fallo_en(&self.lugar, &format!("guardando {}", self.nombre), que_paso)
    }
}

impl Drop for AMedias {
    fn drop(&mut self) {
        // Ni lo que no se puede seguir ni lo que está vacío vale nada.
        if !self.comprobable || self.tamano() == 0 {
            self.descartar();
        }
        // Quien aún esté dando un bloque a otro tiene el mismo archivo abierto, y el cerrojo con
        // él.
        let _ = self.archivo.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodo::carpeta::huella::huella_de_bloque;
    use std::fs;

    fn carpeta() -> (tempfile::TempDir, Carpeta) {
        let temporal = tempfile::tempdir().unwrap();
        let carpeta = Carpeta::abrir(temporal.path()).unwrap();
        (temporal, carpeta)
    }

    fn nombre(texto: &str) -> NombreRecibible {
        NombreRecibible::nuevo(texto).unwrap()
    }

    fn recibir(carpeta: &Carpeta, texto: &str, datos: &[u8]) -> String {
        let a_medias = empezar(carpeta, texto);
        a_medias.escribir_en(0, datos).unwrap();
        a_medias.terminar(datos.len() as u64).unwrap()
    }

    fn empezar(carpeta: &Carpeta, texto: &str) -> AMedias {
        carpeta.empezar_a_recibir(&nombre(texto)).unwrap()
    }

    fn frase<T>(fin: Result<T, Fallo>) -> String {
        fin.err().unwrap().to_string()
    }

    #[test]
    fn nunca_pisa_y_numera() {
        let (temporal, carpeta) = carpeta();
        assert_eq!(recibir(&carpeta, "a.txt", b"uno"), "a.txt");
        assert_eq!(recibir(&carpeta, "a.txt", b"dos"), "a (1).txt");
        assert_eq!(recibir(&carpeta, "sub/b/a.txt", b"tres"), "sub/b/a.txt");
        assert_eq!(fs::read(temporal.path().join("a.txt")).unwrap(), b"uno");
        assert_eq!(fs::read(temporal.path().join("a (1).txt")).unwrap(), b"dos");
        assert_eq!(
            fs::read_dir(temporal.path()).unwrap().count(),
            3,
            "no queda ningún .part"
        );
    }

    #[test]
    fn dos_a_la_vez_no_se_mezclan() {
        let (_temporal, carpeta) = carpeta();
        let primero = empezar(&carpeta, "a.txt");
        let segundo = carpeta.empezar_a_recibir(&nombre("a.txt"));
        assert_eq!(frase(segundo), "a.txt ya se está bajando");
        drop(primero);
        assert!(carpeta.empezar_a_recibir(&nombre("a.txt")).is_ok());
    }

    #[test]
    fn sin_su_part_no_se_da_nombre_al_de_otro() {
        let (temporal, carpeta) = carpeta();
        let primero = empezar(&carpeta, "a.txt");
        primero.escribir_en(0, b"bueno").unwrap();
        let ruta = |nombre: &str| temporal.path().join(nombre);
        fs::rename(ruta(".a.txt.part"), ruta("quitado")).unwrap();
        let segundo = empezar(&carpeta, "a.txt");
        segundo.escribir_en(0, b"a me").unwrap();
        let queja = frase(primero.terminar(5));
        assert!(queja.contains("alguien quitó .a.txt.part"), "{queja}");
        assert!(queja.contains("vuelve a pedirlo"), "{queja}");
        // Ni lo descarta: es del otro, que acaba bien.
        primero.descartar();
        assert!(!ruta("a.txt").exists());
        segundo.escribir_en(4, b"dias").unwrap();
        assert_eq!(segundo.terminar(8).unwrap(), "a.txt");
        assert_eq!(fs::read(ruta("a.txt")).unwrap(), b"a medias");
    }

    /// En Windows no se puede mover una carpeta que alguien tiene abierta.
    #[cfg(unix)]
    #[test]
    fn si_ponen_otra_carpeta_en_su_sitio_no_se_toca() {
        let temporal = tempfile::tempdir().unwrap();
        let ruta = |nombre: &str| temporal.path().join(nombre);
        for sub in ["c/sub", "c2/sub", "fuera"] {
            fs::create_dir_all(ruta(sub)).unwrap();
        }
        let ajenos = ["c2/.x.part", "c2/sub/.x.part", "fuera/.x.part"];
        for ajeno in ajenos {
            fs::write(ruta(ajeno), "ajeno").unwrap();
        }
        let carpeta = Carpeta::abrir(&ruta("c")).unwrap();
        let (en_ella, debajo) = (empezar(&carpeta, "x"), empezar(&carpeta, "sub/x"));
        en_ella.escribir_en(0, b"mio").unwrap();
        debajo.escribir_en(0, b"mio").unwrap();
        // La subcarpeta pasa a ser un enlace a otra de fuera, y luego la carpeta entera, otra.
        fs::rename(ruta("c/sub"), ruta("c/antes")).unwrap();
        std::os::unix::fs::symlink(ruta("fuera"), ruta("c/sub")).unwrap();
        // Se guarda donde se empezó, y no se dice una ruta en la que no está.
        assert!(frase(debajo.terminar(3)).contains("movieron esa carpeta"));
        fs::rename(ruta("c"), ruta("c1")).unwrap();
        fs::rename(ruta("c2"), ruta("c")).unwrap();
        assert!(frase(en_ella.terminar(3)).contains("con el nombre x"));
        for bueno in ["c1/x", "c1/antes/x"] {
            assert_eq!(fs::read(ruta(bueno)).unwrap(), b"mio");
        }
        for ajeno in ["c/.x.part", "c/sub/.x.part", "fuera/.x.part"] {
            assert_eq!(fs::read(ruta(ajeno)).unwrap(), b"ajeno", "{ajeno}");
        }
        assert_eq!(fs::read_dir(ruta("fuera")).unwrap().count(), 1);
    }

    #[test]
    fn lo_que_no_se_puede_comprobar_va_aparte_y_se_borra_solo() {
        let (temporal, carpeta) = carpeta();
        let part = temporal.path().join(".a.txt.part");
        fs::write(&part, "bloques buenos").unwrap();
        let nombre = nombre("a.txt");
        let a_medias = carpeta.empezar_sin_comprobar(&nombre).unwrap();
        a_medias.escribir_en(0, b"de la guia").unwrap();
        let segundo = carpeta.empezar_sin_comprobar(&nombre);
        assert_eq!(frase(segundo), "a.txt ya se está bajando");
        drop(a_medias);
        let hay = || fs::read_dir(temporal.path()).unwrap().count();
        assert_eq!(hay(), 1);
        // Lo que un corte de luz dejara dentro no se mezcla.
        fs::write(temporal.path().join(".a.txt.guia..part"), "lo de antes").unwrap();
        let a_medias = carpeta.empezar_sin_comprobar(&nombre).unwrap();
        a_medias.escribir_en(0, b"guia").unwrap();
        assert_eq!(a_medias.terminar(4).unwrap(), "a.txt");
        drop(a_medias);
        assert_eq!(fs::read(temporal.path().join("a.txt")).unwrap(), b"guia");
        assert_eq!(fs::read(part).unwrap(), b"bloques buenos");
        assert_eq!(hay(), 2);
    }

    #[test]
    fn lo_que_habia_no_se_encoge_hasta_terminar() {
        let (temporal, carpeta) = carpeta();
        fs::write(temporal.path().join(".a.txt.part"), "bueno y de sobra").unwrap();
        let a_medias = empezar(&carpeta, "a.txt");
        a_medias.escribir_en(0, b"bueno").unwrap();
        assert_eq!(a_medias.tamano(), 16);
        assert_eq!(a_medias.terminar(5).unwrap(), "a.txt");
        assert_eq!(fs::read(temporal.path().join("a.txt")).unwrap(), b"bueno");
    }

    #[test]
    fn a_los_demas_no_se_les_dice_donde_ni_cuanto_queda() {
        let (temporal, carpeta) = carpeta();
        let a_medias = empezar(&carpeta, "a.txt");
        let no_cabe = carpeta.ver_si_cabe(&nombre("a.txt"), u64::MAX / 4);
        let no_cabe = no_cabe.unwrap_err();
        let lleno = a_medias.fallo(&io::ErrorKind::StorageFull.into());
        fs::create_dir(temporal.path().join(".b.txt.part")).unwrap();
        let no_se_abre = carpeta.empezar_a_recibir(&nombre("b.txt")).err().unwrap();
        let ruta = carpeta.ruta();
        for fallo in [no_cabe, lleno, no_se_abre] {
            let aqui = fallo.to_string();
            assert!(aqui.contains(ruta.to_str().unwrap()), "{aqui}");
            let fuera = fallo.publico();
            assert!(!fuera.contains(ruta.to_str().unwrap()), "{fuera}");
            assert!(!fuera.contains("quedan"), "{fuera}");
            assert!(fuera.contains(".txt"), "{fuera}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn un_part_que_es_tambien_un_archivo_bueno_no_se_toca() {
        let (temporal, carpeta) = carpeta();
        fs::write(temporal.path().join("a.txt"), "bueno").unwrap();
        fs::hard_link(
            temporal.path().join("a.txt"),
            temporal.path().join(".a.txt.part"),
        )
        .unwrap();
        assert_eq!(recibir(&carpeta, "a.txt", b"otro"), "a (1).txt");
        assert_eq!(fs::read(temporal.path().join("a.txt")).unwrap(), b"bueno");
    }

    #[test]
    fn reconoce_lo_que_ya_tiene_con_cualquier_numero() {
        let (temporal, carpeta) = carpeta();
        fs::write(temporal.path().join("a.txt"), "otro").unwrap();
        fs::write(temporal.path().join("a (7).txt"), "abc").unwrap();
        let huella = huella_de_bloque(3, 0, b"abc");
        let parada = Parada::nueva();
        assert_eq!(
            carpeta
                .copia_igual(&nombre("a.txt"), 3, huella, &parada)
                .as_deref(),
            Some("a (7).txt")
        );
        let otra = carpeta.copia_igual(&nombre("b.txt"), 3, huella, &parada);
        assert_eq!(otra, None);
    }

    #[test]
    fn sin_volver_a_leer_la_carpeta_reconoce_lo_mismo() {
        let (temporal, carpeta) = carpeta();
        for otro in [
            "a (2).txt",
            "a (3).tar.gz",
            "a (x).txt",
            "a.b.txt",
            "sin (1)",
            ".a.txt.part",
        ] {
            fs::write(temporal.path().join(otro), "abc").unwrap();
        }
        let huella = huella_de_bloque(3, 0, b"abc");
        let parada = Parada::nueva();
        let hay = carpeta.nombres_junto_a(&nombre("a.txt"));
        assert_eq!(hay.len(), 6);
        for pedido in [
            "a.txt",
            "a.tar.gz",
            "a",
            "a.b.txt",
            "sin",
            "b.txt",
            "a (2).txt",
        ] {
            let pedido = nombre(pedido);
            let leyendola = carpeta.copia_igual(&pedido, 3, huella, &parada);
            let sin_leerla = carpeta.copia_igual_entre(&hay, &pedido, (3, huella), &parada);
            assert_eq!(leyendola, sin_leerla, "{pedido}");
        }
    }

    #[test]
    fn quien_no_toma_su_nombre_porque_esta_ocupado_no_toca_nada() {
        let (temporal, carpeta) = carpeta();
        let rincon = carpeta.rincon(&nombre("sub/a.txt")).unwrap();
        let empezar = |que| {
            let que = nombre(que);
            carpeta.empezar_en(&rincon, &que, true).unwrap()
        };
        let uno = empezar("sub/a.txt");
        uno.escribir_en(0, b"uno y de sobra").unwrap();
        uno.rematar(3).unwrap();
        AMedias::asegurar(&[&uno]).unwrap();
        assert!(uno.tomar_su_nombre().unwrap());
        uno.ver_que_sigue_ahi().unwrap();
        // En Windows el nombre de antes sigue ahí hasta que se cierra.
        drop(uno);
        let (otro, ademas) = (empezar("sub/a.txt"), empezar("sub/b.txt"));
        otro.escribir_en(0, b"dos").unwrap();
        AMedias::asegurar(&[&ademas, &otro]).unwrap();
        assert!(!otro.tomar_su_nombre().unwrap());
        assert_eq!(otro.terminar(3).unwrap(), "sub/a (1).txt");
        assert_eq!(fs::read(temporal.path().join("sub/a.txt")).unwrap(), b"uno");
    }

    #[test]
    fn lo_que_no_cabe_se_dice_antes_de_empezar() {
        let (_temporal, carpeta) = carpeta();
        let fallo = frase(carpeta.ver_si_cabe(&nombre("enorme"), u64::MAX / 4));
        assert!(fallo.contains("no cabe"), "{fallo}");
    }
}
