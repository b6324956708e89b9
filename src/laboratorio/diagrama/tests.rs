//! Ejecuciones al azar de procesos que mandan y reciben, contra lo que de verdad pasó; y diarios
//! sin sentido, que no tumban nada.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::leer::{Traza, Union};
use super::*;
use crate::laboratorio::suceso::Suceso;

/// Un suceso de nadie, para rellenar.
fn suceso(nodo: &str, i: u64, clase: Clase) -> Suceso {
    Suceso {
        i,
        t: 0,
        nodo: nodo.to_string(),
        hilo: "conexion-1".to_string(),
        clase,
        c: 1,
        yo: "10.0.0.1:6000".to_string(),
        otro: "10.0.0.2:6000".to_string(),
        n: 0,
        palabra: String::new(),
        texto: String::new(),
        bytes: 0,
        falla: None,
    }
}

fn unir(diarios: &[Vec<Suceso>]) -> Traza {
    let mut union = Union::default();
    for (cual, diario) in diarios.iter().enumerate() {
        diario.iter().for_each(|suceso| union.anotar(cual, suceso));
    }
    union.terminar()
}

// ----- Lo que de verdad pasó -----

/// Un proceso que conecta con otro, lo que va de camino y quién falta por cerrar.
#[derive(Debug)]
struct Tubo {
    lados: [usize; 2],
    c: [u64; 2],
    direcciones: [String; 2],
    aceptada: bool,
    cerrado: [bool; 2],
    /// Lo que se mandó y aún no se leyó: dónde está el envío, y cómo era.
    de_camino: [VecDeque<((usize, usize), Suceso)>; 2],
    n: [u64; 2],
    /// Por apuntar en cada lado: los que mandó y los que recibió.
    datos: [[u64; 2]; 2],
}

/// Unos procesos, lo que apuntó cada uno y quién causó cada llegada.
#[derive(Debug)]
struct Mundo {
    diarios: Vec<Vec<Suceso>>,
    conexiones: Vec<u64>,
    tubos: Vec<Tubo>,
    /// Dónde está el envío y dónde su llegada.
    flechas: Vec<((usize, usize), (usize, usize))>,
}

impl Mundo {
    fn nuevo(procesos: usize) -> Mundo {
        Mundo {
            diarios: vec![Vec::new(); procesos],
            conexiones: vec![0; procesos],
            tubos: Vec::new(),
            flechas: Vec::new(),
        }
    }

    /// Apunta un suceso, y antes los datos que haya pendientes: se apuntan con lo siguiente.
    fn apuntar(&mut self, tubo: usize, lado: usize, clase: Clase) -> (usize, usize) {
        let datos = std::mem::take(&mut self.tubos[tubo].datos[lado]);
        for (sentido, bytes) in ["envia", "recibe"].into_iter().zip(datos) {
            if bytes > 0 {
                let donde = self.escribir(tubo, lado, Clase::Datos);
                let suceso = self.ultimo(donde);
                (suceso.bytes, suceso.palabra) = (bytes, sentido.to_string());
            }
        }
        self.escribir(tubo, lado, clase)
    }

    fn escribir(&mut self, tubo: usize, lado: usize, clase: Clase) -> (usize, usize) {
        let Tubo {
            lados,
            c,
            direcciones,
            ..
        } = &self.tubos[tubo];
        let proceso = lados[lado];
        let i = self.diarios[proceso].len() as u64 + 1;
        let nuevo = Suceso {
            // Los relojes difieren horas, y alguno anda hacia atrás.
            t: (10_000_000 * (7 + proceso as u64)).wrapping_add(i * (proceso as u64 % 3)),
            c: c[lado],
            yo: direcciones[lado].clone(),
            otro: direcciones[1 - lado].clone(),
            ..suceso(&format!("nodo{proceso}"), i, clase)
        };
        self.diarios[proceso].push(nuevo);
        (proceso, i as usize - 1)
    }

    fn ultimo(&mut self, (proceso, donde): (usize, usize)) -> &mut Suceso {
        &mut self.diarios[proceso][donde]
    }

    fn conectar(&mut self, de: usize, a: usize, puerto: usize) {
        let direcciones = [
            format!("10.0.0.{de}:5000{puerto}"),
            format!("10.0.0.{a}:6000"),
        ];
        let ocupada = |tubo: &Tubo| tubo.direcciones == direcciones && tubo.cerrado != [true; 2];
        if self.tubos.iter().any(ocupada) {
            return;
        }
        self.conexiones[de] += 1;
        self.tubos.push(Tubo {
            lados: [de, a],
            c: [self.conexiones[de], 0],
            direcciones,
            aceptada: false,
            cerrado: [false; 2],
            de_camino: Default::default(),
            n: [0; 2],
            datos: [[0; 2]; 2],
        });
        let tubo = self.tubos.len() - 1;
        let sale = self.apuntar(tubo, 0, Clase::Conecta);
        let como = self.ultimo(sale).clone();
        self.tubos[tubo].de_camino[0].push_back((sale, como));
    }

    fn mandar(&mut self, tubo: usize, lado: usize, bytes: Option<u64>) {
        let este = &mut self.tubos[tubo];
        if este.cerrado[lado] || lado == 1 && !este.aceptada {
            return;
        }
        if let Some(bytes) = bytes {
            este.datos[lado][0] += bytes;
            let van = Suceso {
                bytes,
                ..suceso("", 0, Clase::Datos)
            };
            return este.de_camino[lado].push_back(((0, 0), van));
        }
        este.n[lado] += 1;
        let n = este.n[lado];
        let sale = self.apuntar(tubo, lado, Clase::Envia);
        let suceso = self.ultimo(sale);
        (suceso.n, suceso.texto) = (n, format!("LINEA:{n}"));
        let como = suceso.clone();
        self.tubos[tubo].de_camino[lado].push_back((sale, como));
    }

    /// El `lado` recibe lo primero que venga.
    fn recibir(&mut self, tubo: usize, lado: usize) {
        let este = &mut self.tubos[tubo];
        if este.cerrado[lado] {
            return;
        }
        let Some((sale, como)) = este.de_camino[1 - lado].pop_front() else {
            return;
        };
        let clase = match como.clase {
            Clase::Conecta => {
                este.aceptada = true;
                self.conexiones[este.lados[1]] += 1;
                este.c[1] = self.conexiones[este.lados[1]];
                Clase::Acepta
            }
            Clase::Datos => {
                este.datos[lado][1] += como.bytes;
                return;
            }
            _ => Clase::Recibe,
        };
        let llega = self.apuntar(tubo, lado, clase);
        self.ultimo(llega).n = como.n;
        self.flechas.push((sale, llega));
    }

    fn cerrar(&mut self, tubo: usize, lado: usize) {
        let este = &self.tubos[tubo];
        if este.aceptada && !este.cerrado[lado] {
            self.apuntar(tubo, lado, Clase::Cierra);
            self.tubos[tubo].cerrado[lado] = true;
        }
    }
}

fn mundo() -> impl Strategy<Value = Mundo> {
    let paso = (
        0..9u8,
        any::<prop::sample::Index>(),
        0..2usize,
        0..5usize,
        0..2usize,
    );
    (2..5usize, prop::collection::vec(paso, 1..70)).prop_map(|(procesos, pasos)| {
        let mut mundo = Mundo::nuevo(procesos);
        for (que, cual, lado, otro, puerto) in pasos {
            if mundo.tubos.is_empty() || que == 0 {
                let de = cual.index(procesos);
                mundo.conectar(de, (de + 1 + otro % (procesos - 1)) % procesos, puerto);
                continue;
            }
            let tubo = cual.index(mundo.tubos.len());
            match que {
                1..=3 => mundo.mandar(tubo, lado, None),
                4 => mundo.mandar(tubo, lado, Some(otro as u64 + 1)),
                5 => mundo.cerrar(tubo, lado),
                _ => mundo.recibir(tubo, lado),
            }
        }
        mundo
    })
}

/// Quién alcanza a quién, siguiendo lo que de verdad pasó: `alcanza[a]` son los que `a` alcanza.
fn cierre(traza: &Traza, flechas: &[(usize, usize)]) -> Vec<Vec<bool>> {
    let todos = traza.hechos.len();
    let mut alcanza = vec![vec![false; todos]; todos];
    for a in 1..todos {
        alcanza[a - 1][a] = traza.hechos[a - 1].proceso == traza.hechos[a].proceso;
    }
    flechas
        .iter()
        .for_each(|&(sale, llega)| alcanza[sale][llega] = true);
    for medio in 0..todos {
        let desde_el = alcanza[medio].clone();
        for suyos in alcanza.iter_mut().filter(|suyos| suyos[medio]) {
            suyos
                .iter_mut()
                .zip(&desde_el)
                .for_each(|(este, otro)| *este |= otro);
        }
    }
    alcanza
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn cada_llegada_tiene_su_salida_y_los_relojes_dicen_lo_que_pasa(
        mundo in mundo(),
        tope in 1..40usize,
    ) {
        // En el archivo pueden ir desordenados: manda `i`.
        let mut diarios = mundo.diarios.clone();
        diarios.iter_mut().for_each(|diario| diario.reverse());
        diarios.retain(|diario| !diario.is_empty());
        prop_assume!(!diarios.is_empty());
        let ejecucion = Ejecucion::de_traza(unir(&diarios));
        prop_assert!(ejecucion.avisos.is_empty(), "{:?}", ejecucion.avisos);
        let traza = &ejecucion.traza;
        let lugar = |(proceso, donde): (usize, usize)| {
            let nombre = format!("nodo{proceso}");
            traza.procesos.iter().find(|p| p.nombre == nombre).unwrap().desde + donde
        };
        let flechas = mundo.flechas.iter().map(|&(sale, llega)| (lugar(sale), lugar(llega)));
        let flechas: Vec<(usize, usize)> = flechas.collect();
        for &(sale, llega) in &flechas {
            prop_assert_eq!(ejecucion.parejas.de(llega), Some(sale));
            prop_assert_eq!(ejecucion.parejas.de(sale), Some(llega));
            prop_assert!(ejecucion.lamport[sale] < ejecucion.lamport[llega]);
        }
        let llegadas = (0..traza.hechos.len()).filter(|&h| {
            relojes::causa(traza, &ejecucion.parejas, h).is_some()
        });
        prop_assert_eq!(llegadas.count(), flechas.len());
        las_filas_bajan(&ejecucion)?;
        let entera = ejecucion.recortar(usize::MAX);
        los_concurrentes_lo_son(&entera, &cierre(traza, &flechas))?;
        // Recortar por el final no cambia los relojes de lo que queda.
        let recorte = ejecucion.recortar(tope);
        for lugar in 0..recorte.orden.len() {
            prop_assert_eq!(recorte.orden[lugar], entera.orden[lugar]);
            prop_assert_eq!(recorte.vector(lugar), entera.vector(lugar));
        }
    }
}

/// Toda flecha y toda columna va hacia abajo, y ninguna fila sobra.
fn las_filas_bajan(ejecucion: &Ejecucion) -> Result<(), TestCaseError> {
    let (traza, filas) = (&ejecucion.traza, &ejecucion.filas);
    for este in 0..filas.len() {
        if este > 0 && traza.hechos[este - 1].proceso == traza.hechos[este].proceso {
            prop_assert!(filas[este - 1] < filas[este]);
        }
        if let Some(origen) = relojes::origen(traza, &ejecucion.parejas, este) {
            prop_assert!(filas[origen] < filas[este]);
        }
    }
    let distintas: std::collections::BTreeSet<u32> = filas.iter().copied().collect();
    prop_assert!(distintas.into_iter().eq(1..=*filas.iter().max().unwrap()));
    Ok(())
}

fn los_concurrentes_lo_son(todo: &Recorte, alcanza: &[Vec<bool>]) -> Result<(), TestCaseError> {
    let por_proceso = todo.por_proceso();
    let mut cuantas = 0;
    for a in 0..todo.orden.len() {
        let con = todo.concurrentes_con(a, &por_proceso);
        for b in 0..todo.orden.len() {
            let (x, y) = (todo.orden[a], todo.orden[b]);
            let de_verdad = a != b && !alcanza[x][y] && !alcanza[y][x];
            prop_assert_eq!(todo.alcanza(a, b), alcanza[x][y]);
            prop_assert_eq!(todo.concurrentes(a, b), de_verdad);
            let (proceso, numero) = todo.quien(b);
            let dicha = |&(suyo, desde, hasta): &(usize, u32, u32)| {
                suyo == proceso && (desde..=hasta).contains(&numero)
            };
            prop_assert_eq!(con.iter().any(dicha), de_verdad);
            cuantas += u64::from(de_verdad && a < b);
        }
    }
    prop_assert_eq!(todo.parejas_concurrentes(), cuantas);
    Ok(())
}

// ----- Lo que no tiene sentido -----

fn cualquiera() -> impl Strategy<Value = Suceso> {
    let clases = [
        Clase::Conecta,
        Clase::Acepta,
        Clase::Envia,
        Clase::Recibe,
        Clase::Cierra,
        Clase::Datos,
    ];
    let lugar = || prop_oneof![Just("a:1"), Just("b:2"), Just("<script>]]>")];
    let texto = prop_oneof![
        any::<String>(),
        Just("</title><script>x</script>".to_string()),
        Just("]]>&\u{fffe}\u{ffff}\u{0}\u{1b}[31m;#end".to_string()),
        Just("OBTENER:".to_string()),
    ];
    let palabra = prop_oneof![Just("envia"), Just("recibe"), Just("INFO"), Just("OBTENER")];
    (
        (
            0..12u64,
            0..3u64,
            0..3u64,
            prop_oneof![Just(0u64), Just(3), Just(u64::MAX)],
        ),
        prop::sample::select(clases.to_vec()),
        (
            lugar(),
            lugar(),
            palabra,
            texto.clone(),
            prop::option::of(texto),
        ),
        any::<u64>(),
    )
        .prop_map(
            |((i, c, n, bytes), clase, (yo, otro, palabra, texto, falla), t)| Suceso {
                t,
                c,
                n,
                bytes,
                yo: yo.to_string(),
                otro: otro.to_string(),
                palabra: palabra.to_string(),
                texto,
                falla,
                ..suceso("<script>", i, clase)
            },
        )
}

/// Las etiquetas de un SVG se abren y se cierran, y no hay más que las nuestras ni nada que XML no
/// admita.
fn es_un_svg(texto: &str) -> Result<(), TestCaseError> {
    let admite = |c: char| matches!(c, '\n' | ' '..='\u{fffd}' | '\u{10000}'..);
    prop_assert!(texto.chars().all(admite));
    let mut abiertas = Vec::new();
    for trozo in texto.split('<').skip(1) {
        let (etiqueta, dentro) = trozo.split_once('>').expect("la etiqueta se cierra");
        prop_assert!(!dentro.contains('>'), "{}", dentro);
        match etiqueta.strip_prefix('/') {
            Some(nombre) => prop_assert_eq!(abiertas.pop(), Some(nombre)),
            None if etiqueta.ends_with('/') => {}
            None => abiertas.push(etiqueta.split(' ').next().unwrap()),
        }
        let nombre = etiqueta.trim_matches('/').split(' ').next().unwrap();
        let nuestras = "svg title style defs marker path rect text g circle";
        prop_assert!(nuestras.split(' ').any(|suya| suya == nombre), "{}", nombre);
    }
    prop_assert!(abiertas.is_empty());
    for entidad in texto.split('&').skip(1) {
        let conocida = ["amp;", "lt;", "gt;", "quot;", "#39;"];
        prop_assert!(conocida.iter().any(|suya| entidad.starts_with(suya)));
    }
    Ok(())
}

proptest! {
    #[test]
    fn un_diario_sin_sentido_se_dibuja_igual(
        diarios in prop::collection::vec(prop::collection::vec(cualquiera(), 1..40), 1..4),
    ) {
        let ejecucion = Ejecucion::de_traza(unir(&diarios));
        for este in 0..ejecucion.traza.hechos.len() {
            prop_assert!(ejecucion.lamport[este] > 0);
            if let Some(causa) = relojes::causa(&ejecucion.traza, &ejecucion.parejas, este) {
                prop_assert!(ejecucion.lamport[causa] < ejecucion.lamport[este]);
            }
        }
        las_filas_bajan(&ejecucion)?;
        es_un_svg(&svg::dibujar(&ejecucion).texto)?;
        let mermaid = mermaid::escribir(&ejecucion, mermaid::TOPE).texto;
        prop_assert!(!mermaid.contains('<') && !mermaid.contains("script]"));
        let lineas = shiviz::escribir(&ejecucion).texto.lines().count();
        prop_assert_eq!(lineas, 2 * ejecucion.lamport.len());
        transferencias::transferencias(&ejecucion);
    }
}

// ----- Casos contados -----

/// El ejemplo de los libros: tres procesos y dos mensajes.
#[test]
fn los_relojes_son_los_del_libro() {
    let mut mundo = Mundo::nuevo(3);
    mundo.conectar(0, 1, 0);
    mundo.recibir(0, 1);
    mundo.mandar(0, 1, None);
    mundo.conectar(2, 1, 0);
    mundo.recibir(0, 0);
    mundo.recibir(1, 1);
    let ejecucion = Ejecucion::de_traza(unir(&mundo.diarios));
    let todo = ejecucion.recortar(usize::MAX);
    let relojes: Vec<(u32, &[u32])> = (0..todo.orden.len())
        .map(|lugar| (ejecucion.lamport[todo.orden[lugar]], todo.vector(lugar)))
        .collect();
    let esperados: [(u32, &[u32]); 6] = [
        (1, &[1, 0, 0]),
        (2, &[1, 1, 0]),
        (3, &[1, 2, 0]),
        // Pudo conectar antes que nadie; se dibuja donde hace falta.
        (1, &[0, 0, 1]),
        (4, &[2, 2, 0]),
        (4, &[1, 3, 1]),
    ];
    assert_eq!(relojes, esperados);
}

/// El sistema reutiliza un puerto: son dos conexiones con las mismas direcciones. Y aunque se
/// pierda la línea que abría la primera, la segunda casa con la segunda.
#[test]
fn la_segunda_vez_que_se_conecta_es_la_segunda_que_se_acepta() {
    let mut mundo = Mundo::nuevo(2);
    for tubo in 0..2 {
        mundo.conectar(0, 1, 7);
        mundo.recibir(tubo, 1);
        mundo.mandar(tubo, 0, None);
        mundo.recibir(tubo, 1);
        mundo.cerrar(tubo, 0);
        mundo.cerrar(tubo, 1);
    }
    assert_eq!(mundo.flechas.len(), 4);
    let segunda = |ejecucion: &Ejecucion| {
        let traza = &ejecucion.traza;
        let mandada = |h: &usize| traza.hechos[*h].clase == Clase::Envia && traza.hechos[*h].c == 2;
        let mandada = (0..traza.hechos.len()).find(mandada).unwrap();
        ejecucion.parejas.de(mandada).map(|h| traza.hechos[h].c)
    };
    assert_eq!(segunda(&Ejecucion::de_traza(unir(&mundo.diarios))), Some(2));
    mundo.diarios[1].remove(0);
    assert_eq!(segunda(&Ejecucion::de_traza(unir(&mundo.diarios))), Some(2));
}

/// Quien no pudo conectar gastó una dirección, pero nadie le aceptó: la vez siguiente es la
/// primera.
#[test]
fn lo_que_no_llego_a_conectarse_no_cuenta() {
    let mut mundo = Mundo::nuevo(2);
    mundo.conectar(0, 1, 7);
    mundo.recibir(0, 1);
    for suceso in &mut mundo.diarios[0] {
        suceso.i += 1;
    }
    let rechazada = Suceso {
        i: 1,
        c: 9,
        texto: "conexión rechazada".to_string(),
        ..mundo.diarios[0][0].clone()
    };
    mundo.diarios[0].insert(0, rechazada);
    let ejecucion = Ejecucion::de_traza(unir(&mundo.diarios));
    assert_eq!(ejecucion.parejas.de(0), None);
    assert_eq!(ejecucion.parejas.de(1), Some(2));
    assert!(ejecucion.resumen().ends_with("1 flecha · 0 sin pareja"));
    let svg = svg::dibujar(&ejecucion).texto;
    assert!(svg.contains("no conecta: conexión rechazada"), "{svg}");
}

#[test]
fn unos_diarios_que_se_contradicen_sueltan_flechas_y_lo_dicen() {
    let mut mundo = Mundo::nuevo(2);
    mundo.conectar(0, 1, 0);
    mundo.recibir(0, 1);
    for lado in [0, 1] {
        mundo.mandar(0, lado, None);
        mundo.recibir(0, 1 - lado);
    }
    // Uno dice que le contestaron antes de preguntar.
    let total = mundo.diarios[0].len() as u64;
    for suceso in &mut mundo.diarios[0] {
        suceso.i = total + 1 - suceso.i;
    }
    let ejecucion = Ejecucion::de_traza(unir(&mundo.diarios));
    assert!(ejecucion.lamport.iter().all(|reloj| *reloj > 0));
    let aviso = ejecucion.avisos.join("\n");
    assert!(aviso.contains("se contradicen"), "{aviso}");
    assert!(svg::dibujar(&ejecucion).texto.contains("se contradicen"));
}

#[test]
fn los_datos_casan_donde_acaban_aunque_lleguen_en_trozos() {
    let datos = |i, sentido: &str, bytes| Suceso {
        palabra: sentido.to_string(),
        bytes,
        ..suceso("a", i, Clase::Datos)
    };
    let mut aqui = vec![suceso("a", 1, Clase::Conecta), datos(2, "envia", 10)];
    aqui.push(datos(3, "envia", 5));
    let mut alla = vec![suceso("b", 1, Clase::Acepta), datos(2, "recibe", 4)];
    alla.extend([datos(3, "recibe", 6), datos(4, "recibe", 5)]);
    for suceso in &mut alla {
        std::mem::swap(&mut suceso.yo, &mut suceso.otro);
        suceso.nodo = "b".to_string();
    }
    let ejecucion = Ejecucion::de_traza(unir(&[aqui, alla]));
    let parejas: Vec<Option<usize>> = (0..7).map(|h| ejecucion.parejas.de(h)).collect();
    let esperadas = [
        Some(3),
        Some(5),
        Some(6),
        Some(0),
        Some(1),
        Some(1),
        Some(2),
    ];
    assert_eq!(parejas, esperadas);
}

/// Quien manda los datos los apunta con lo siguiente que pase, y para entonces otro hilo suyo puede
/// saber ya que llegaron. No es una contradicción, y la línea que viene de vuelta sigue contando.
#[test]
fn unos_datos_apuntados_tarde_no_estropean_los_relojes() {
    let mut mundo = Mundo::nuevo(2);
    mundo.conectar(0, 1, 0);
    mundo.recibir(0, 1);
    mundo.mandar(0, 1, Some(9));
    mundo.recibir(0, 0);
    mundo.cerrar(0, 0);
    mundo.conectar(0, 1, 1);
    mundo.recibir(1, 1);
    mundo.cerrar(0, 1);
    let al_reves: Vec<Vec<Suceso>> = mundo.diarios.iter().rev().cloned().collect();
    for (diarios, primero) in [(&mundo.diarios, 0), (&al_reves, 1)] {
        let ejecucion = Ejecucion::de_traza(unir(diarios));
        assert!(ejecucion.avisos.is_empty(), "{:?}", ejecucion.avisos);
        let lugar = |(proceso, donde): (usize, usize)| {
            ejecucion.traza.procesos[proceso.abs_diff(primero)].desde + donde
        };
        for &(sale, llega) in &mundo.flechas {
            let (sale, llega) = (lugar(sale), lugar(llega));
            assert_eq!(ejecucion.parejas.de(llega), Some(sale));
            assert!(ejecucion.lamport[sale] < ejecucion.lamport[llega]);
        }
    }
}

#[test]
fn dos_nodos_con_un_nombre_y_uno_que_vuelve_a_arrancar_son_distintos() {
    let uno = || {
        vec![
            suceso("nodo1", 1, Clase::Cierra),
            suceso("nodo1", 2, Clase::Cierra),
        ]
    };
    let dos_veces = [uno(), uno()].concat();
    let traza = unir(&[
        uno(),
        dos_veces,
        vec![suceso("\u{1b}[2J", 1, Clase::Cierra)],
    ]);
    let nombres: Vec<&str> = traza.procesos.iter().map(|p| p.nombre.as_str()).collect();
    assert_eq!(nombres, ["nodo1", "nodo1 (2)", "nodo1 (3)", "(sin nombre)"]);
    let cuantos: Vec<usize> = traza.procesos.iter().map(|p| p.hasta - p.desde).collect();
    assert_eq!(cuantos, [2, 2, 2, 1]);
}

#[test]
fn las_columnas_tienen_un_tope_y_se_dice() {
    let diarios: Vec<Vec<Suceso>> = (0..1000)
        .map(|n| vec![suceso(&format!("nodo{n}"), 1, Clase::Cierra)])
        .collect();
    let ejecucion = Ejecucion::de_traza(unir(&diarios));
    assert_eq!(ejecucion.traza.procesos.len(), 40);
    let aviso = ejecucion.avisos.join("\n");
    assert!(
        aviso.contains("más de 40") && aviso.contains("960"),
        "{aviso}"
    );
}

#[test]
fn lo_largo_pierde_el_medio() {
    assert_eq!(acortar("corto", 5), "corto");
    assert_eq!(acortar("0123456789", 6), "012…89");
    assert_eq!(acortar("日本語日本語", 6), "日…語");
    assert_eq!(acortar("\u{1b}[31mrojo", 10), "rojo");
}

#[test]
fn lo_ajeno_no_es_mermaid() {
    let conecta = Suceso {
        texto: "hola; end <b> \"x\" #35; %% adiós".to_string(),
        n: 3,
        ..suceso("a;b as c", 1, Clase::Envia)
    };
    let ejecucion = Ejecucion::de_traza(unir(&[vec![conecta]]));
    assert_eq!(
        mermaid::escribir(&ejecucion, 10).texto,
        "sequenceDiagram\n    participant p0 as a#59;b as c\n    \
         participant fuera as fuera de los diarios\n    p0--xfuera: 3. hola#59; #101;nd \
         #60;b#62; #34;x#34; #35;35#59; #37;#37; adiós (L1)\n"
    );
}

/// GitHub no dibuja más de 50.000 letras.
#[test]
fn el_mermaid_cabe_aunque_todo_haya_que_escaparlo() {
    let feo = |i| Suceso {
        texto: "𐄀;".repeat(2000),
        falla: Some(";".repeat(2000)),
        ..suceso(&";".repeat(2000), i, Clase::Envia)
    };
    let diarios: Vec<Vec<Suceso>> = (0..50).map(|_| (1..20).map(feo).collect()).collect();
    let documento = mermaid::escribir(&Ejecucion::de_traza(unir(&diarios)), mermaid::TOPE);
    assert!(documento.texto.len() < 50_000, "{}", documento.texto.len());
    assert!(documento.aviso.unwrap().contains("Recortado"));
}

#[test]
fn shiviz_lleva_quien_y_su_vector_en_una_linea_y_que_paso_en_otra() {
    let mut mundo = Mundo::nuevo(2);
    mundo.conectar(0, 1, 0);
    mundo.recibir(0, 1);
    mundo.diarios[0][0].nodo = "mi nodo".to_string();
    let ejecucion = Ejecucion::de_traza(unir(&mundo.diarios));
    assert_eq!(
        shiviz::escribir(&ejecucion).texto,
        "mi_nodo#1 {\"mi_nodo#1\":1}\nconecta\nnodo1 {\"mi_nodo#1\":1,\"nodo1\":1}\nacepta\n"
    );
}

// ----- Las transferencias -----

/// Lo que pasa por una conexión, visto por los dos lados: quién, en qué sentido y qué.
fn charla(lineas: &[(usize, &str)]) -> Vec<Vec<Suceso>> {
    let mut mundo = Mundo::nuevo(2);
    mundo.conectar(0, 1, 0);
    mundo.recibir(0, 1);
    for (lado, linea) in lineas {
        match linea.parse() {
            Ok(bytes) => mundo.mandar(0, *lado, Some(bytes)),
            Err(_) => mundo.mandar(0, *lado, None),
        }
        mundo.recibir(0, 1 - lado);
        let es_linea = linea.parse::<u64>().is_err();
        for diario in mundo.diarios.iter_mut().filter(|_| es_linea) {
            let ultimo = diario.last_mut().unwrap();
            ultimo.palabra = linea.split(':').next().unwrap().to_string();
            ultimo.texto = linea.to_string();
        }
    }
    mundo.diarios
}

#[test]
fn una_transferencia_se_cuenta_una_vez_la_vea_quien_la_vea() {
    let huella = "ab".repeat(32);
    let info = format!("INFO:30:{huella}");
    let diarios = charla(&[
        (0, "INFO:a:b.txt"),
        (1, &info),
        (0, "OBTENER:0:20:a:b.txt"),
        (1, "OK:20"),
        (1, "20"),
        (0, "OBTENER:20:10:a:b.txt"),
        (1, "OK:10"),
        (1, "10"),
        (0, "OBTENER:0:1:no.txt"),
        (1, "NOFILE"),
    ]);
    let [pide, sirve] = &diarios[..] else {
        panic!("son dos")
    };
    for (cuales, quien, fuente) in [
        (diarios.clone(), "nodo0", "nodo1"),
        (vec![pide.clone()], "nodo0", "10.0.0.1:6000"),
        (vec![sirve.clone()], "10.0.0.0:50000", "nodo1"),
    ] {
        let todas = transferencias::transferencias(&Ejecucion::de_traza(unir(&cuales)));
        assert_eq!(todas.len(), 1, "{todas:?}");
        let una = &todas[&(quien.to_string(), "a:b.txt".to_string())];
        assert_eq!(una.fuentes.get(fuente), Some(&30), "{una:?}");
        assert_eq!(una.huella.as_ref(), Some(&huella));
        assert!(una.desde <= una.hasta);
    }
}
