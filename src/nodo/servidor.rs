//! SERVIDOR DEL NODO: `gestionar_peticion`, como en la guía, con sus dos palabras.
//!
//! Cada conexión tiene su hilo y llega aquí desde `atender_conexiones`. Las primeras letras deciden
//! quién habla: un nodo de la guía (se le contesta aquí mismo), uno de los nuestros (`palabras/`) o
//! un navegador (`web/`). Nada de lo que manden tumba el nodo: si algo va mal se cierra esa
//! conexión y se registra el motivo. No escribe en pantalla: avisa.

use std::thread;
use std::time::{Duration, Instant};

use log::debug;

use crate::guia::ENVIO_COMPLETO;
use crate::nodo::carpeta::{Abierto, NoSeAbre};
use crate::nodo::palabras::contestar;
use crate::nodo::palabras::protocolo::{Habla, Palabra, Primera, quien_habla};
use crate::nodo::palabras::servir::{Cierre, enviar_tramo};
use crate::nodo::{Nodo, web};
use crate::red::conexion::Conexion;

/// Tras `OK`, el cliente de la guía compara su primera lectura con `b"OK"`: si llega pegado a los
/// datos, da el archivo por no encontrado. Con esta pausa llegan aparte.
const PAUSA_TRAS_OK: Duration = Duration::from_millis(100);
/// El nombre es lo que llegue en la primera lectura, pero si no está se espera este poco por si la
/// petición venía partida en dos paquetes.
const ESPERA_DEL_RESTO: Duration = Duration::from_millis(20);

/// Atiende una conexión de principio a fin. Es la función de la guía, y corre en un hilo propio.
pub fn gestionar_peticion(mut conexion: Conexion, nodo: &Nodo) {
    let desde = conexion.otro();
    let limite = Instant::now() + conexion.limites().peticion;
    // Se lee lo justo para saber quién habla, sin gastarlo.
    let habla = loop {
        let leido = conexion.recibir(limite, "la petición");
        match (leido, quien_habla(conexion.pendiente())) {
            (Err(fallo), _) => break Err(fallo.into()),
            (_, Primera::Es(habla)) => break Ok(habla),
            (_, Primera::Basura) => break Err(Cierre::Basura),
            // «LISTAR» y cierre: el fin también acaba una línea. Sin nada, no hay ninguna.
            (Ok(0), Primera::Falta) => break Ok(Habla::Ampliada),
            (Ok(_), Primera::Falta) => {}
        }
    };
    // El «[CONEXIÓN] Desde» de la guía: se dice aquí porque ya se sabe quién habla.
    nodo.contar_conexion(desde, matches!(habla, Ok(Habla::Guia)));
    let atendida = habla.and_then(|habla| match habla {
        Habla::Guia => responder_a_la_guia(&mut conexion, nodo),
        Habla::Ampliada => contestar::conversar(&mut conexion, limite, nodo),
        Habla::Http => web::responder(&mut conexion, nodo),
        Habla::Grpc => crate::grpc::responder(&mut conexion, limite, nodo),
    });
    if let Err(corte) = atendida {
        debug!("se cierra {desde}: {corte}");
    }
}

/// `BUSCAR:<nombre>` y `DESCARGAR:<nombre>`: una petición por conexión, y se cierra. Lo que no es
/// UTF-8 no es el nombre de ningún archivo.
fn responder_a_la_guia(conexion: &mut Conexion, nodo: &Nodo) -> Result<(), Cierre> {
    let limite = Instant::now() + ESPERA_DEL_RESTO;
    let (palabra, abierto) = loop {
        let escrita = String::from_utf8_lossy(conexion.pendiente()).into_owned();
        let es_texto = str::from_utf8(conexion.pendiente()).is_ok();
        let palabra = Palabra::de_la_guia(&escrita);
        let abierto = match &palabra {
            Some(Palabra::Buscar(nombre) | Palabra::Descargar(nombre)) if es_texto => {
                nodo.carpeta.abrir_archivo(nombre)
            }
            _ => Err(NoSeAbre::NoEsta),
        };
        let no_esta = matches!(abierto, Err(NoSeAbre::NoEsta));
        // Si no llega nada más (un fin, o el plazo), la petición era esa.
        if no_esta && matches!(conexion.recibir(limite, "el resto"), Ok(1..)) {
            continue;
        }
        conexion.anotar(escrita.trim_end(), conexion.pendiente().len());
        break (palabra, abierto);
    };
    match (palabra, abierto) {
        (_, Err(NoSeAbre::SinDescriptores)) => Err(Cierre::SinDescriptores),
        (Some(Palabra::Descargar(nombre)), Ok(abierto)) => {
            enviar_a_la_guia(conexion, nombre, &abierto, nodo)
        }
        (Some(Palabra::Descargar(_)), Err(_)) => Ok(conexion.escribir_texto("NOFILE")?),
        (_, Ok(_)) => Ok(conexion.escribir_texto("SI")?),
        (_, Err(_)) => Ok(conexion.escribir_texto("NO")?),
    }
}

/// `OK` y los bytes hasta el cierre, como la guía.
fn enviar_a_la_guia(
    conexion: &mut Conexion,
    nombre: String,
    abierto: &Abierto,
    nodo: &Nodo,
) -> Result<(), Cierre> {
    conexion.prepararse_a_enviar()?;
    conexion.escribir_texto("OK")?;
    thread::sleep(PAUSA_TRAS_OK);
    let enviado = enviar_tramo(conexion, abierto, 0..abierto.tamano, b"");
    if enviado.is_err() || !abierto.sigue_igual() {
        // Aquí no viaja la longitud: un cierre normal le parecería un archivo completo.
        conexion.cerrar_con_error();
        return enviado.and(Err(Cierre::CambioMientrasSeEnviaba(nombre)));
    }
    nodo.avisador
        .destacar(vec![format!("{ENVIO_COMPLETO} {nombre}")]);
    Ok(())
}
