//! Qué recepción es de qué envío, sin que el protocolo lleve nada para saberlo.
//!
//! No está en la guía. Lo que identifica a un mensaje es por dónde viajó: la conexión, el sentido y
//! su número de línea. Una conexión la ven dos procesos, uno que conecta de A a B y otro que acepta
//! en B a A; y como esa pareja de direcciones se puede repetir (el sistema reutiliza los puertos),
//! la k-ésima vez que se conecta es la k-ésima que se acepta. La hora no cuenta: dos máquinas
//! pueden llevar una de diferencia.

use std::collections::HashMap;
use std::rc::Rc;

use crate::laboratorio::diagrama::leer::{Hecho, Rumbo, Traza};
use crate::laboratorio::suceso::Clase;
use crate::texto::cuenta;

/// No casa con nadie.
const NADIE: u32 = u32::MAX;

/// Con cuál casa cada hecho de una traza.
pub struct Parejas(Vec<u32>);

impl Parejas {
    /// El hecho del otro lado.
    pub fn de(&self, hecho: usize) -> Option<usize> {
        let suya = self.0[hecho];
        (suya != NADIE).then_some(suya as usize)
    }

    /// Suelta una llegada de su salida.
    pub fn soltar(&mut self, llega: usize) {
        if let Some(sale) = self.de(llega) {
            self.0[llega] = NADIE;
            if self.de(sale) == Some(llega) {
                self.0[sale] = NADIE;
            }
        }
    }

    /// Casa por su clave los que salen con los que llegan. Si una clave se repite, vale la primera.
    fn casar(&mut self, mut salen: Vec<(u64, u32)>, mut llegan: Vec<(u64, u32)>) {
        for lado in [&mut salen, &mut llegan] {
            lado.sort_unstable();
            lado.dedup_by_key(|(clave, _)| *clave);
        }
        let mut llegan = llegan.into_iter().peekable();
        for (clave, sale) in salen {
            while llegan.next_if(|(otra, _)| *otra < clave).is_some() {}
            if let Some((_, llega)) = llegan.next_if(|(otra, _)| *otra == clave) {
                (self.0[sale as usize], self.0[llega as usize]) = (llega, sale);
            }
        }
    }

    /// Casa los datos, cada uno con el byte de su sentido en que acaba. Un lado los puede contar en
    /// más trozos que el otro: quien llega viene de quien mandó su último byte, y quien sale acaba
    /// en quien recibió el último suyo (o, si se cortó, el último que llegó).
    fn casar_datos(&mut self, salen: &[(u64, u32)], llegan: &[(u64, u32)]) {
        let que_llega_a = |lado: &[(u64, u32)], byte| {
            let cual = lado.partition_point(|(fin, _)| *fin < byte);
            lado.get(cual).map(|(_, hecho)| *hecho)
        };
        for &(fin, llega) in llegan {
            self.0[llega as usize] = que_llega_a(salen, fin).unwrap_or(NADIE);
        }
        let mut desde = 0;
        for &(fin, sale) in salen {
            let cortado = || llegan.last().filter(|(fin, _)| *fin > desde);
            let llega = que_llega_a(llegan, fin).or_else(|| cortado().map(|(_, llega)| *llega));
            self.0[sale as usize] = llega.unwrap_or(NADIE);
            desde = fin;
        }
    }
}

/// Quién conecta y quién acepta.
type Direcciones = (Rc<str>, Rc<str>);

/// Una conexión, vista por uno de sus dos lados: sus hechos, en orden.
type Extremo<'a> = &'a [u32];

/// Las veces que se vio una misma pareja de direcciones.
#[derive(Default)]
struct Veces<'a> {
    conectan: Vec<Extremo<'a>>,
    aceptan: Vec<Extremo<'a>>,
}

/// Empareja lo que sale con lo que llega, y dice lo que no está claro.
pub fn emparejar(traza: &Traza) -> (Parejas, Option<String>) {
    let hechos = &traza.hechos;
    let mut parejas = Parejas(vec![NADIE; hechos.len()]);
    let orden = por_conexion(hechos);
    let lados = orden.chunk_by(|a, b| misma_conexion(hechos, *a, *b));
    let lados: Vec<Extremo> = lados.collect();
    let mut dudosas = 0;
    for mut veces in agrupar(hechos, &lados).into_values() {
        dudosas += usize::from(ordenar(hechos, &mut veces));
        for (conecta, acepta) in veces.conectan.iter().zip(&veces.aceptan) {
            casar_conexion(hechos, &mut parejas, conecta, acepta);
        }
    }
    let duda = (dudosas > 0).then(|| {
        let cuantas = cuenta(
            dudosas,
            "pareja de direcciones la",
            "parejas de direcciones las",
        );
        format!("{cuantas} usaron varios procesos: ahí, sus conexiones se casan por la hora")
    });
    (parejas, duda)
}

/// Los hechos de cada conexión de cada proceso, juntos y en orden.
pub fn por_conexion(hechos: &[Hecho]) -> Vec<u32> {
    let mut orden: Vec<u32> = (0..hechos.len() as u32).collect();
    orden.sort_unstable_by_key(|&h| (hechos[h as usize].proceso, hechos[h as usize].c, h));
    orden
}

/// ¿Son de la misma conexión, vista por el mismo proceso?
pub fn misma_conexion(hechos: &[Hecho], a: u32, b: u32) -> bool {
    let (a, b) = (&hechos[a as usize], &hechos[b as usize]);
    (a.proceso, a.c) == (b.proceso, b.c)
}

/// Reúne los lados que hablan de la misma pareja de direcciones.
fn agrupar<'a>(hechos: &[Hecho], lados: &[Extremo<'a>]) -> HashMap<Direcciones, Veces<'a>> {
    let mut grupos: HashMap<Direcciones, Veces> = HashMap::new();
    let mut sin_papel = Vec::new();
    // Lo que no llegó a conectarse nadie lo aceptó, y no cuenta.
    let se_conecto = |lado: &&Extremo| !lado.iter().any(|h| hechos[*h as usize].no_conecto());
    for &lado in lados.iter().filter(se_conecto) {
        match papel(hechos, lado) {
            Some((direcciones, true)) => {
                grupos.entry(direcciones).or_default().conectan.push(lado);
            }
            Some((direcciones, false)) => {
                grupos.entry(direcciones).or_default().aceptan.push(lado);
            }
            None => sin_papel.push(lado),
        }
    }
    // Su primera línea se perdió: si el otro lado la vio, él dice quién conectó. Hay que contarlas,
    // o las siguientes de esa pareja casarían con la que no es.
    for lado in sin_papel {
        let hecho = &hechos[lado[0] as usize];
        let directa = (Rc::clone(&hecho.yo), Rc::clone(&hecho.otro));
        let inversa = (Rc::clone(&hecho.otro), Rc::clone(&hecho.yo));
        if let Some(veces) = grupos.get_mut(&inversa) {
            veces.aceptan.push(lado);
        } else if let Some(veces) = grupos.get_mut(&directa) {
            veces.conectan.push(lado);
        }
    }
    grupos
}

/// Las direcciones de una conexión, y si este lado es el que conecta.
fn papel(hechos: &[Hecho], lado: Extremo) -> Option<(Direcciones, bool)> {
    lado.iter().find_map(|&h| {
        let hecho = &hechos[h as usize];
        let (yo, otro) = (Rc::clone(&hecho.yo), Rc::clone(&hecho.otro));
        match hecho.clase {
            Clase::Conecta => Some(((yo, otro), true)),
            Clase::Acepta => Some(((otro, yo), false)),
            _ => None,
        }
    })
}

/// Pone cada lado en el orden en que pasó. Dentro de un proceso lo dice `i`; si son varios procesos
/// con la misma dirección (uno detrás de otro, o en máquinas distintas), sólo queda la hora, y se
/// avisa.
fn ordenar(hechos: &[Hecho], veces: &mut Veces) -> bool {
    let mut dudosa = false;
    let hay_que_casar = !veces.conectan.is_empty() && !veces.aceptan.is_empty();
    for lados in [&mut veces.conectan, &mut veces.aceptan] {
        lados.sort_unstable_by_key(|lado| lado[0]);
        let de = |lado: &Extremo| hechos[lado[0] as usize].proceso;
        if lados.first().map(de) != lados.last().map(de) {
            lados.sort_by_key(|lado| hechos[lado[0] as usize].t);
            dudosa = hay_que_casar;
        }
    }
    dudosa
}

/// Los dos lados de una conexión: casan conectar con aceptar, cada línea con la suya y los datos.
fn casar_conexion(hechos: &[Hecho], parejas: &mut Parejas, conecta: Extremo, acepta: Extremo) {
    let de_clase = |lado: Extremo, clase| {
        let suyos = lado.iter().filter(|h| hechos[**h as usize].clase == clase);
        suyos.take(1).map(|h| (0, *h)).collect()
    };
    let salen = de_clase(conecta, Clase::Conecta);
    parejas.casar(salen, de_clase(acepta, Clase::Acepta));
    for (de, a) in [(conecta, acepta), (acepta, conecta)] {
        parejas.casar(
            lineas(hechos, de, Clase::Envia),
            lineas(hechos, a, Clase::Recibe),
        );
        let salen = datos(hechos, de, Rumbo::Sale);
        parejas.casar_datos(&salen, &datos(hechos, a, Rumbo::Llega));
    }
}

/// Las líneas de un lado en un sentido, cada una con su número.
fn lineas(hechos: &[Hecho], lado: Extremo, clase: Clase) -> Vec<(u64, u32)> {
    let suyas = lado.iter().map(|h| (hechos[*h as usize].n, *h));
    suyas
        .filter(|(n, h)| *n > 0 && hechos[*h as usize].clase == clase)
        .collect()
}

/// Los datos no llevan número: los identifica en qué byte de su sentido acaban.
fn datos(hechos: &[Hecho], lado: Extremo, sentido: Rumbo) -> Vec<(u64, u32)> {
    let mut hasta: u64 = 0;
    let es_suyo = |h: &&u32| {
        let hecho = &hechos[**h as usize];
        hecho.clase == Clase::Datos && hecho.sentido() == sentido && hecho.bytes > 0
    };
    let con_final = |h: &u32| {
        hasta = hasta.saturating_add(hechos[*h as usize].bytes);
        (hasta, *h)
    };
    lado.iter().filter(es_suyo).map(con_final).collect()
}
