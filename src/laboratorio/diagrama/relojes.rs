//! Los relojes lógicos: el de Lamport y el de vector, sacados sólo de los diarios.
//!
//! No está en la guía. Un suceso *alcanza* a otro si se puede ir del primero al segundo avanzando
//! por los procesos y por las flechas: todo lo que pudo causarlo. Con eso:
//!
//! - **Lamport**: un número por suceso, uno más que el mayor de los que lo alcanzan. Si `a` alcanza
//!   a `b`, `L(a) < L(b)`; al revés no se puede decir.
//! - **Vector**: un número por proceso, cuántos sucesos de ese proceso alcanzan a este (o son él).
//!   `a` alcanza a `b` si y sólo si `V(b)` ya cuenta a `a`; si ninguno cuenta al otro, `a` y `b`
//!   son **concurrentes**, y ninguna hora puede decir cuál fue antes.
//!
//! Los hilos de un proceso cuentan como uno solo, ordenados por `i`. No lee diarios ni dibuja.

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::laboratorio::diagrama::Ejecucion;
use crate::laboratorio::diagrama::emparejar::Parejas;
use crate::laboratorio::diagrama::leer::{Participante, Rumbo, Traza};
use crate::laboratorio::suceso::Clase;

/// De dónde viene un hecho, si viene de otro.
type DeDonde = fn(&Traza, &Parejas, usize) -> Option<usize>;

/// El hecho de otro lado del que este es la llegada, sea una línea, una conexión o datos.
pub fn origen(traza: &Traza, parejas: &Parejas, hecho: usize) -> Option<usize> {
    let llega = traza.hechos[hecho].sentido() == Rumbo::Llega;
    parejas.de(hecho).filter(|_| llega)
}

/// El que lo causó, para los relojes. Los datos no cuentan: se apuntan con lo siguiente que pase en
/// su conexión, así que su salida puede estar apuntada después de su llegada. No se pierde nada: la
/// línea que los anuncia va delante.
pub fn causa(traza: &Traza, parejas: &Parejas, hecho: usize) -> Option<usize> {
    origen(traza, parejas, hecho).filter(|_| traza.hechos[hecho].clase != Clase::Datos)
}

/// El reloj de Lamport de cada hecho, si viene `de_donde` se dice. Si los diarios se contradicen
/// (algo llegaría antes de salir), suelta las flechas que haga falta y dice cuántas.
pub fn lamport(traza: &Traza, parejas: &mut Parejas, de_donde: DeDonde) -> (Vec<u32>, usize) {
    let mut avance = Avance {
        traza,
        de_donde,
        relojes: vec![0; traza.hechos.len()],
        siguientes: traza.procesos.iter().map(|p| p.desde).collect(),
        listos: (0..traza.procesos.len()).collect(),
    };
    let mut sueltas = 0;
    loop {
        while let Some(proceso) = avance.listos.pop() {
            avance.avanzar(parejas, proceso);
        }
        let Some(atascado) = avance.en_un_ciclo(parejas) else {
            return (avance.relojes, sueltas);
        };
        parejas.soltar(avance.siguientes[atascado]);
        sueltas += 1;
        avance.listos.push(atascado);
    }
}

/// Los procesos, andando a la vez: cada uno hasta uno que espera a otro.
struct Avance<'a> {
    traza: &'a Traza,
    de_donde: DeDonde,
    /// 0 es que aún no le tocó.
    relojes: Vec<u32>,
    /// Por dónde va cada proceso, y cuáles pueden seguir.
    siguientes: Vec<usize>,
    listos: Vec<usize>,
}

impl Avance<'_> {
    /// Da su reloj a los hechos de un proceso, hasta el final o hasta uno que espera a otro.
    fn avanzar(&mut self, parejas: &Parejas, proceso: usize) {
        let Participante { desde, hasta, .. } = self.traza.procesos[proceso];
        while self.siguientes[proceso] < hasta {
            let este = self.siguientes[proceso];
            let causa = (self.de_donde)(self.traza, parejas, este);
            if causa.is_some_and(|causa| self.relojes[causa] == 0) {
                return;
            }
            let anterior = if este > desde {
                self.relojes[este - 1]
            } else {
                0
            };
            self.relojes[este] = 1 + anterior.max(causa.map_or(0, |causa| self.relojes[causa]));
            self.siguientes[proceso] += 1;
            self.despertar(parejas, este);
        }
    }

    /// Si el otro estaba parado esperando a este, ya puede seguir.
    fn despertar(&mut self, parejas: &Parejas, este: usize) {
        let Some(pareja) = parejas.de(este) else {
            return;
        };
        let suyo = self.traza.hechos[pareja].proceso;
        if self.espera_a(parejas, suyo) == Some(este) {
            self.listos.push(suyo);
        }
    }

    /// A qué hecho espera un proceso.
    fn espera_a(&self, parejas: &Parejas, proceso: usize) -> Option<usize> {
        let este = self.siguientes[proceso];
        let queda = este < self.traza.procesos[proceso].hasta;
        queda.then(|| (self.de_donde)(self.traza, parejas, este))?
    }

    /// Cuando nadie puede avanzar, quien espera a otro que espera… acaba llegando a sí mismo: un
    /// proceso de ese ciclo, mejor uno que espera datos. `None` si no queda nadie parado.
    fn en_un_ciclo(&self, parejas: &Parejas) -> Option<usize> {
        let a_quien = |p: usize| {
            let espera = self.espera_a(parejas, p)?;
            Some(self.traza.hechos[espera].proceso)
        };
        let mut visitado = vec![false; self.siguientes.len()];
        let mut este = (0..visitado.len()).find(|&p| a_quien(p).is_some())?;
        while !std::mem::replace(&mut visitado[este], true) {
            este = a_quien(este)?;
        }
        let espera_datos = |p: &usize| self.traza.hechos[self.siguientes[*p]].clase == Clase::Datos;
        let ciclo = std::iter::successors(a_quien(este), |p| a_quien(*p).filter(|_| *p != este));
        ciclo.into_iter().find(espera_datos).or(Some(este))
    }
}

/// La fila de cada hecho, de arriba abajo desde 1: uno de los muchos órdenes en que pudo pasar.
///
/// Es su reloj de Lamport (contando aquí los datos, para que sus flechas bajen), salvo en lo que
/// sale, y en lo que hace un proceso antes de saber de los demás: eso baja hasta justo antes de lo
/// que viene detrás. Si no, quien llega tarde y conecta quedaría arriba del todo, lejos de quien le
/// acepta.
pub fn filas(traza: &Traza, parejas: &mut Parejas) -> Vec<u32> {
    const NINGUNA: u32 = u32::MAX;
    let (lamport, _) = lamport(traza, parejas, origen);
    let mut filas = lamport.clone();
    // La fila de la primera llegada de cada salida.
    let mut llegadas = vec![NINGUNA; lamport.len()];
    let sabe_de_otros = |proceso: &Participante| {
        let mut suyos = proceso.desde..proceso.hasta;
        suyos.find(|&h| origen(traza, parejas, h).is_some())
    };
    let saben: Vec<Option<usize>> = traza.procesos.iter().map(sabe_de_otros).collect();
    let mut orden: Vec<usize> = (0..lamport.len()).collect();
    orden.sort_unstable_by_key(|&h| Reverse(lamport[h]));
    for &este in &orden {
        let proceso = traza.hechos[este].proceso;
        let siguiente = filas[este + 1..traza.procesos[proceso].hasta].first();
        let tope = llegadas[este].min(siguiente.copied().unwrap_or(NINGUNA));
        let aun_solo = saben[proceso].is_none_or(|primero| este < primero);
        if tope < NINGUNA && (aun_solo || llegadas[este] < NINGUNA) {
            filas[este] = tope - 1;
        }
        if let Some(origen) = origen(traza, parejas, este) {
            llegadas[origen] = llegadas[origen].min(filas[este]);
        }
    }
    sin_huecos(&mut filas);
    filas
}

/// Vuelve a numerar las filas, sin las que quedaron vacías.
fn sin_huecos(filas: &mut [u32]) {
    let ultima = filas.iter().max().map_or(0, |fila| *fila as usize);
    let mut numeros = vec![0; ultima + 1];
    filas.iter().for_each(|fila| numeros[*fila as usize] = 1);
    let mut van = 0;
    for numero in &mut numeros {
        van += *numero;
        *numero = van;
    }
    filas
        .iter_mut()
        .for_each(|fila| *fila = numeros[*fila as usize]);
}

/// Los primeros sucesos de una ejecución, por filas, con sus relojes de vector.
///
/// Es lo que se dibuja. Todo lo que alcanza a un suceso está en una fila de más arriba, así que
/// está dentro: recortar por el final no cambia ningún vector.
pub struct Recorte<'a> {
    /// De dónde sale.
    pub traza: &'a Traza,
    /// Con cuál casa cada uno.
    pub parejas: &'a Parejas,
    /// El reloj de Lamport de cada hecho de la traza.
    pub lamport: &'a [u32],
    /// Y su fila.
    pub filas: &'a [u32],
    /// Los hechos, por su fila y, a igualdad, por su proceso.
    pub orden: Vec<usize>,
    /// Los vectores, uno detrás de otro, en el mismo orden.
    vectores: Vec<u32>,
}

impl<'a> Recorte<'a> {
    /// Los `tope` primeros.
    pub fn nuevo(ejecucion: &'a Ejecucion, tope: usize) -> Recorte<'a> {
        let Ejecucion {
            traza,
            parejas,
            lamport,
            filas,
            ..
        } = ejecucion;
        let mut orden: Vec<usize> = (0..filas.len()).collect();
        // El índice de un hecho crece con su proceso.
        orden.sort_unstable_by_key(|&h| (filas[h], h));
        orden.truncate(tope);
        let mut recorte = Recorte {
            traza,
            parejas,
            lamport,
            filas,
            orden,
            vectores: Vec::new(),
        };
        recorte.calcular();
        recorte
    }

    fn ancho(&self) -> usize {
        self.traza.procesos.len()
    }

    /// El vector de un suceso es el mayor, número a número, del anterior de su proceso y el de su
    /// causa; y él es uno más en el suyo.
    fn calcular(&mut self) {
        let ancho = self.ancho();
        self.vectores = vec![0; self.orden.len() * ancho];
        let mut ultimos: Vec<Vec<u32>> = vec![vec![0; ancho]; ancho];
        let mut donde = HashMap::new();
        for lugar in 0..self.orden.len() {
            let hecho = self.orden[lugar];
            let proceso = self.traza.hechos[hecho].proceso;
            let suyo = &mut ultimos[proceso];
            let causa = causa(self.traza, self.parejas, hecho);
            if let Some(causa) = causa.and_then(|causa| donde.get(&causa).copied()) {
                let de_la_causa = &self.vectores[causa * ancho..][..ancho];
                for (mio, otro) in suyo.iter_mut().zip(de_la_causa) {
                    *mio = (*mio).max(*otro);
                }
            }
            suyo[proceso] += 1;
            self.vectores[lugar * ancho..][..ancho].copy_from_slice(suyo);
            donde.insert(hecho, lugar);
        }
    }

    /// El vector del suceso que está en ese lugar.
    pub fn vector(&self, lugar: usize) -> &[u32] {
        &self.vectores[lugar * self.ancho()..][..self.ancho()]
    }

    /// El proceso del suceso de ese lugar, y qué número hace en él: su nombre en los libros.
    pub fn quien(&self, lugar: usize) -> (usize, u32) {
        let proceso = self.traza.hechos[self.orden[lugar]].proceso;
        (proceso, self.vector(lugar)[proceso])
    }

    /// ¿Alcanza `a` a `b`?
    pub fn alcanza(&self, a: usize, b: usize) -> bool {
        let (proceso, numero) = self.quien(a);
        a != b && self.vector(b)[proceso] >= numero
    }

    /// ¿Son concurrentes? Lo son si ninguno alcanza al otro.
    pub fn concurrentes(&self, a: usize, b: usize) -> bool {
        a != b && !self.alcanza(a, b) && !self.alcanza(b, a)
    }

    /// Cuántas parejas de sucesos son concurrentes. El vector de cada uno dice cuántos lo alcanzan:
    /// las demás parejas lo son.
    pub fn parejas_concurrentes(&self) -> u64 {
        let todas = self.orden.len() as u64 * (self.orden.len() as u64).saturating_sub(1) / 2;
        let contados: u64 = self.vectores.iter().map(|n| u64::from(*n)).sum();
        todas - (contados - self.orden.len() as u64)
    }

    /// Los lugares de los sucesos de cada proceso.
    pub fn por_proceso(&self) -> Vec<Vec<usize>> {
        let mut suyos = vec![Vec::new(); self.ancho()];
        for lugar in 0..self.orden.len() {
            suyos[self.quien(lugar).0].push(lugar);
        }
        suyos
    }

    /// Con cuáles es concurrente: de cada proceso son seguidos, del primero al último.
    /// `por_proceso` es lo que da [`Recorte::por_proceso`].
    pub fn concurrentes_con(
        &self,
        lugar: usize,
        por_proceso: &[Vec<usize>],
    ) -> Vec<(usize, u32, u32)> {
        let (mio, numero) = self.quien(lugar);
        let de = |(proceso, suyos): (usize, &Vec<usize>)| {
            // Los primeros me alcanzan; a los últimos los alcanzo yo.
            let antes = self.vector(lugar)[proceso];
            let hasta = suyos.partition_point(|&otro| self.vector(otro)[mio] < numero) as u32;
            (proceso != mio && antes < hasta).then_some((proceso, antes + 1, hasta))
        };
        por_proceso.iter().enumerate().filter_map(de).collect()
    }
}
