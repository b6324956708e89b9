//! Los defectos que se ven en la pantalla: el menú y quien escribe en él.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use crate::fallo::Fallo;
use crate::guia;
use crate::laboratorio::demostrar::banco::{Banco, NOMBRE, PACIENCIA, Quien};
use crate::laboratorio::demostrar::medida::{Contado, Medida};

// ----- 2. Cualquier hilo pinta -----

const CONEXIONES: usize = 3;
/// Sobra para volver a pintar una línea.
const UN_MOMENTO: Duration = Duration::from_secs(1);

pub fn cualquier_hilo_pinta(banco: &Banco) -> Result<Medida, Fallo> {
    let ingenuo = llegar_mientras_pregunta(banco, Quien::Ingenuo)?;
    let nodo = llegar_mientras_pregunta(banco, Quien::Nodo)?;
    let visto = format!(
        "El menú está preguntando y llegan {CONEXIONES} conexiones, de una en una. En la guía \
         cada hilo escribe lo suyo donde esté el cursor y la pregunta no vuelve: parece que el \
         programa se quedó pensando. En el nodo pinta uno solo, que la repite debajo."
    );
    Ok(Medida {
        ingenuo,
        nodo,
        visto,
    })
}

/// Cuántas veces, tras anunciar una conexión, la pregunta no vuelve.
fn llegar_mientras_pregunta(banco: &Banco, quien: Quien) -> Result<Contado, Fallo> {
    let (mut proceso, direccion) = banco.servidor(quien, &banco.carpeta()?)?;
    proceso.esperar(&[guia::SELECCIONE])?;
    let mut tapadas = 0;
    for _ in 0..CONEXIONES {
        banco.preguntar(direccion, "BUSCAR:no-esta.txt")?;
        proceso.esperar(&[guia::CONEXION])?;
        let vuelve = proceso.leer_hasta(&[guia::SELECCIONE], UN_MOMENTO)?;
        tapadas += usize::from(vuelve.is_none());
    }
    Ok(Contado::Veces(tapadas, CONEXIONES))
}

// ----- 16. El puerto ocupado -----

const INTENTOS: usize = 3;

pub fn sin_servidor_y_con_menu(banco: &Banco) -> Result<Medida, Fallo> {
    let ingenuo = arrancar_en_un_puerto_ocupado(banco, Quien::Ingenuo)?;
    let nodo = arrancar_en_un_puerto_ocupado(banco, Quien::Nodo)?;
    let visto = "Otro programa ya tiene el puerto. El hilo servidor de la guía muere, pero el \
                 menú sale igual: el estudiante cree que comparte, y nadie lo encuentra. El nodo \
                 dice qué puerto es y cómo elegir otro, y acaba con código 1."
        .to_string();
    Ok(Medida {
        ingenuo,
        nodo,
        visto,
    })
}

/// Cuántas veces sale el menú sin que nadie escuche.
fn arrancar_en_un_puerto_ocupado(banco: &Banco, quien: Quien) -> Result<Contado, Fallo> {
    let fallo = |e| Fallo::de_sistema("ocupando un puerto", &e);
    let ocupado = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(fallo)?;
    let puerto = ocupado.local_addr().map_err(fallo)?.port();
    let mut siguen = 0;
    for _ in 0..INTENTOS {
        let mut proceso = banco.lanzar(quien, &banco.carpeta()?, puerto, &[], &[])?;
        let sale_el_menu = proceso.leer_hasta(&[guia::SELECCIONE], PACIENCIA)?;
        siguen += usize::from(sale_el_menu.is_some());
    }
    Ok(Contado::Veces(siguen, INTENTOS))
}

// ----- 17. Una elección mala -----

const MALAS: [&str; 4] = ["0", "7", "hola", ""];

pub fn una_mala_eleccion_acaba_con_todo(banco: &Banco) -> Result<Medida, Fallo> {
    let ingenuo = elegir_mal(banco, Quien::Ingenuo)?;
    let nodo = elegir_mal(banco, Quien::Nodo)?;
    let visto =
        "«Selecciona de dónde deseas descargar (número)»: se contesta 0, 7, «hola» y nada. \
                 En la guía es un error que nadie atrapa: se acaba el programa, y con él lo que \
                 estuviera compartiendo. El nodo vuelve al menú."
            .to_string();
    Ok(Medida {
        ingenuo,
        nodo,
        visto,
    })
}

/// Con cuántas respuestas malas se acaba el programa.
fn elegir_mal(banco: &Banco, quien: Quien) -> Result<Contado, Fallo> {
    let carpeta = banco.carpeta_con(b"aqui esta")?;
    let (_sirve, peer) = banco.servidor(Quien::Nodo, &carpeta)?;
    let mut acabados = 0;
    for mala in MALAS {
        let mut proceso = banco.lanzar(quien, &banco.carpeta()?, 0, &[peer], &[])?;
        proceso.buscar(NOMBRE)?;
        proceso.escribir(mala);
        let vuelve = proceso.leer_hasta(&[guia::SELECCIONE], PACIENCIA)?;
        acabados += usize::from(vuelve.is_none());
    }
    Ok(Contado::Veces(acabados, MALAS.len()))
}
