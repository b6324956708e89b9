//! Lo que lleva un torrent: qué archivos de la carpeta son, y sus piezas.
//!
//! Un torrent pone sus archivos uno detrás de otro, como si fueran uno solo, y lo corta en piezas
//! iguales; de cada una lleva su SHA-1. De la misma lectura sale la huella BLAKE3 de cada archivo,
//! que es con lo que se pregunta a los demás nodos si tienen lo mismo. No toca la red.

use std::collections::BTreeMap;

use sha1::{Digest, Sha1};

use crate::consola::Encargo;
use crate::consola::progreso::Fase;
use crate::fallo::{Fallo, motivo};
use crate::fuera::bencode::Bencode;
use crate::http::url::codificar_ruta;
use crate::nodo::carpeta::disco::leer_en;
use crate::nodo::carpeta::huella::Huella;
use crate::nodo::carpeta::huellas::LECTURA;
use crate::nodo::carpeta::nombres::en_nfc;
use crate::nodo::carpeta::{Abierto, Archivo, Carpeta, NoSeAbre};
use crate::texto::{cuenta, tamano};

/// Bytes de la pieza más pequeña: lo que un cliente pide de una vez.
const PIEZA_MINIMA: u64 = 16 * 1024;
/// Bytes de la mayor. Hay clientes que no toman piezas más grandes.
const PIEZA_MAXIMA: u64 = 64 * 1024 * 1024;
/// Piezas, como mucho: con 20 bytes cada una, el `.torrent` de un archivo no pasa de 40 KB.
const MAX_PIEZAS: u64 = 2000;
/// Archivos de una carpeta, como mucho: por cada uno se pregunta a cada nodo.
const MAX_ARCHIVOS: usize = 10_000;

/// Los archivos de un torrent.
pub struct Lote {
    /// La ruta, dentro de la carpeta compartida, del archivo o de la subcarpeta.
    ruta: String,
    /// ¿Es un archivo suelto?
    suelto: bool,
    /// Sus archivos, con la ruta entera.
    pub archivos: Vec<Archivo>,
    /// Bytes de cada pieza.
    pub pieza: u64,
}

/// Lo que se supo leyendo un lote entero.
pub struct Leido {
    /// La huella de cada archivo, en el mismo orden.
    pub huellas: Vec<Huella>,
    /// Los SHA-1 de las piezas, seguidos.
    piezas: Vec<u8>,
}

impl Lote {
    /// Lo que en `carpeta` se llama `nombre`: un archivo, o todo lo que cuelga de una subcarpeta.
    pub fn buscar(carpeta: &Carpeta, nombre: &str) -> Result<Lote, Fallo> {
        let ruta = en_nfc(nombre.trim_end_matches('/'));
        let (suelto, archivos) = match carpeta.abrir_archivo(&ruta) {
            Ok(Abierto { tamano, sello, .. }) => {
                let nombre = ruta.clone();
                let archivo = Archivo {
                    nombre,
                    tamano,
                    sello,
                };
                (true, vec![archivo])
            }
            Err(NoSeAbre::NoEsta) => (false, los_de(carpeta, &ruta)?),
            Err(NoSeAbre::SinDescriptores) => {
                let frase = format!("abriendo {ruta}: no quedan descriptores de archivo");
                return Err(Fallo::nuevo(frase));
            }
        };
        // Un archivo con huecos puede decir que mide cualquier cosa.
        let tamanos = archivos.iter().map(|archivo| archivo.tamano);
        let total = tamanos.fold(0, u64::saturating_add);
        cabe(&ruta, archivos.len(), total, carpeta)?;
        let pieza = largo_de_pieza(total).ok_or_else(|| {
            let tope = tamano(PIEZA_MAXIMA * MAX_PIEZAS);
            Fallo::nuevo(format!("{ruta} mide más de {tope}, y es el tope"))
        })?;
        Ok(Lote {
            ruta,
            suelto,
            archivos,
            pieza,
        })
    }

    /// Bytes de todos sus archivos.
    pub fn total(&self) -> u64 {
        self.archivos.iter().map(|archivo| archivo.tamano).sum()
    }

    /// La carpeta en que está («» si es la compartida), y cómo se llama en ella.
    fn partes(&self) -> (&str, &str) {
        self.ruta.rsplit_once('/').unwrap_or(("", &self.ruta))
    }

    /// Cómo se llama: el del archivo, o el de la carpeta en que se guardará.
    pub fn nombre(&self) -> &str {
        self.partes().1
    }

    /// De dónde lo baja un cliente, sabiendo en qué `sitio` está un nodo que lo tiene. La de un
    /// archivo es la suya; la de una carpeta acaba en `/`, y el cliente le añade el nombre del
    /// torrent y la ruta de cada archivo (BEP 19).
    pub fn url(&self, sitio: &str) -> String {
        let (padre, _) = self.partes();
        match (self.suelto, padre) {
            (true, _) => format!("http://{sitio}/files/{}", codificar_ruta(&self.ruta)),
            (false, "") => format!("http://{sitio}/files/"),
            (false, padre) => format!("http://{sitio}/files/{}/", codificar_ruta(padre)),
        }
    }

    /// Lo lee entero, una vez.
    pub fn leer(&self, carpeta: &Carpeta, encargo: &Encargo) -> Result<Leido, Fallo> {
        encargo.progreso.empezar(Fase::Leyendo, self.total(), 0);
        let mut cortador = Cortador::nuevo(self.pieza);
        let leer = |archivo| leer_uno(carpeta, archivo, &mut cortador, encargo);
        let huellas: Result<_, Fallo> = self.archivos.iter().map(leer).collect();
        Ok(Leido {
            huellas: huellas?,
            piezas: cortador.terminar(),
        })
    }

    /// El diccionario `info`: lo que identifica al torrent, esté donde esté.
    pub fn info(&self, leido: &Leido) -> Bencode {
        let mut info = BTreeMap::from([
            ("name", Bencode::texto(self.nombre())),
            ("piece length", Bencode::Entero(self.pieza)),
            ("pieces", Bencode::Bytes(leido.piezas.clone())),
        ]);
        match self.suelto {
            true => info.insert("length", Bencode::Entero(self.total())),
            false => {
                let archivos = self.archivos.iter().map(|archivo| self.entrada(archivo));
                info.insert("files", Bencode::Lista(archivos.collect()))
            }
        };
        Bencode::Diccionario(info)
    }

    /// Un archivo de una carpeta: cuánto mide, y su ruta dentro de ella.
    fn entrada(&self, archivo: &Archivo) -> Bencode {
        let dentro = archivo.nombre.split('/').skip(self.ruta.split('/').count());
        Bencode::Diccionario(BTreeMap::from([
            ("length", Bencode::Entero(archivo.tamano)),
            ("path", Bencode::textos(dentro)),
        ]))
    }
}

/// Los archivos que cuelgan de una subcarpeta, con sus nombres en NFC.
fn los_de(carpeta: &Carpeta, ruta: &str) -> Result<Vec<Archivo>, Fallo> {
    let delante = format!("{ruta}/");
    let en_nfc = |archivo: Archivo| Archivo {
        nombre: en_nfc(&archivo.nombre),
        ..archivo
    };
    let todos = carpeta.listar()?.into_iter().map(en_nfc);
    Ok(todos.filter(|a| a.nombre.starts_with(&delante)).collect())
}

/// ¿Se puede hacer un torrent de eso? Si no, por qué.
fn cabe(ruta: &str, cuantos: usize, total: u64, carpeta: &Carpeta) -> Result<(), Fallo> {
    let donde = carpeta.ruta().display();
    match (cuantos, total) {
        (0, _) => Err(Fallo::nuevo(format!(
            "«{ruta}» no está en {donde}: bájalo antes (nodo descargar NOMBRE), o di con --carpeta \
             en cuál está"
        ))),
        (_, 0) => Err(Fallo::nuevo(format!("{ruta} está vacío: no hay qué bajar"))),
        _ if cuantos > MAX_ARCHIVOS => {
            let hay = cuenta(cuantos, "archivo", "archivos");
            let frase = format!("en {ruta} hay {hay}, y el tope es {MAX_ARCHIVOS}");
            Err(Fallo::nuevo(frase))
        }
        _ => Ok(()),
    }
}

/// La menor potencia de dos que no da más piezas de la cuenta. `None` si ninguna.
fn largo_de_pieza(total: u64) -> Option<u64> {
    let largos = std::iter::successors(Some(PIEZA_MINIMA), |largo| Some(largo * 2));
    let mut posibles = largos.take_while(|largo| *largo <= PIEZA_MAXIMA);
    posibles.find(|largo| total.div_ceil(*largo) <= MAX_PIEZAS)
}

/// Lee un archivo, que tiene que ser el mismo del principio al fin.
fn leer_uno(
    carpeta: &Carpeta,
    archivo: &Archivo,
    cortador: &mut Cortador,
    encargo: &Encargo,
) -> Result<Huella, Fallo> {
    let nombre = &archivo.nombre;
    let cambio = || {
        let que_hacer = "espera a que esté entero y vuelve a hacerlo";
        Fallo::nuevo(format!("{nombre} cambió mientras se leía: {que_hacer}"))
    };
    let abierto = carpeta.abrir_archivo(nombre).map_err(|_| cambio())?;
    let (mut bufer, mut cuenta) = (vec![0; LECTURA], blake3::Hasher::new());
    let mut desde = 0;
    while desde < archivo.tamano {
        if encargo.parada.avisada() {
            return Err(Fallo::nuevo("cancelado"));
        }
        let quiero = bufer.len().min((archivo.tamano - desde) as usize);
        let leido = leer_en(&abierto.archivo, desde, &mut bufer[..quiero])
            .map_err(|e| Fallo::nuevo(format!("leyendo {nombre}: {}", motivo(&e))))?;
        if leido == 0 {
            return Err(cambio());
        }
        cortador.anadir(&bufer[..leido]);
        cuenta.update(&bufer[..leido]);
        desde += leido as u64;
        encargo.progreso.sumar(leido as u64);
    }
    match abierto.sello == archivo.sello && abierto.sigue_igual() {
        true => Ok(cuenta.finalize().into()),
        false => Err(cambio()),
    }
}

/// Corta en piezas iguales lo que se le va dando.
struct Cortador {
    largo: u64,
    /// Bytes que lleva la pieza a medias.
    lleva: u64,
    pieza: Sha1,
    hechas: Vec<u8>,
}

impl Cortador {
    fn nuevo(largo: u64) -> Cortador {
        Cortador {
            largo,
            lleva: 0,
            pieza: Sha1::new(),
            hechas: Vec::new(),
        }
    }

    fn anadir(&mut self, mut datos: &[u8]) {
        while !datos.is_empty() {
            let caben = datos.len().min((self.largo - self.lleva) as usize);
            let (suyos, resto) = datos.split_at(caben);
            self.pieza.update(suyos);
            self.lleva += caben as u64;
            if self.lleva == self.largo {
                self.cerrar_pieza();
            }
            datos = resto;
        }
    }

    fn cerrar_pieza(&mut self) {
        self.hechas.extend_from_slice(&self.pieza.finalize_reset());
        self.lleva = 0;
    }

    /// Los SHA-1 de todas; la última puede ser más corta.
    fn terminar(mut self) -> Vec<u8> {
        if self.lleva > 0 {
            self.cerrar_pieza();
        }
        self.hechas
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn las_piezas_son_las_mas_pequenas_que_no_pasan_de_2000() {
        let kib = 1024;
        for (total, largo) in [
            (1, Some(16 * kib)),
            (2000 * 16 * kib, Some(16 * kib)),
            (2000 * 16 * kib + 1, Some(32 * kib)),
            (4 << 30, Some(4 << 20)),
            (2000 * PIEZA_MAXIMA, Some(PIEZA_MAXIMA)),
            (2000 * PIEZA_MAXIMA + 1, None),
            (u64::MAX, None),
        ] {
            assert_eq!(largo_de_pieza(total), largo, "{total}");
        }
    }

    #[test]
    fn las_piezas_no_dependen_de_como_lleguen_los_bytes() {
        let datos: Vec<u8> = (0..1000u32).map(|n| n as u8).collect();
        let esperado: Vec<u8> = datos
            .chunks(64)
            .flat_map(|pieza| Sha1::digest(pieza).to_vec())
            .collect();
        for trozo in [1, 63, 64, 65, 1000] {
            let mut cortador = Cortador::nuevo(64);
            datos.chunks(trozo).for_each(|t| cortador.anadir(t));
            assert!(cortador.terminar() == esperado, "de {trozo} en {trozo}");
        }
        assert!(Cortador::nuevo(64).terminar().is_empty());
    }

    #[test]
    fn la_url_de_un_archivo_es_la_suya_y_la_de_una_carpeta_la_de_su_padre() {
        let url = |ruta: &str, suelto| {
            let (archivos, pieza) = (Vec::new(), PIEZA_MINIMA);
            let ruta = ruta.to_string();
            let lote = Lote {
                ruta,
                suelto,
                archivos,
                pieza,
            };
            lote.url("10.0.0.2:6001")
        };
        assert_eq!(
            url("sub/año 1.txt", true),
            "http://10.0.0.2:6001/files/sub/a%C3%B1o%201.txt"
        );
        assert_eq!(url("fotos", false), "http://10.0.0.2:6001/files/");
        assert_eq!(
            url("mis fotos/de ayer", false),
            "http://10.0.0.2:6001/files/mis%20fotos/"
        );
    }
}
