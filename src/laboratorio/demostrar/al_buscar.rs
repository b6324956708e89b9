//! Los defectos de quien busca: pregunta a los peers de uno en uno, y no dice quién calló.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::fallo::Fallo;
use crate::guia;
use crate::laboratorio::demostrar::banco::{Banco, NOMBRE, PACIENCIA, Quien};
use crate::laboratorio::demostrar::medida::{Contado, Medida};
use crate::texto::duracion;

const AQUI: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

// ----- 8. En serie -----

const MUDOS: usize = 3;
/// Lo que la guía espera a un mudo.
const UN_MUDO: Duration = Duration::from_secs(2);

pub fn busca_en_serie(banco: &Banco) -> Result<Medida, Fallo> {
    let carpeta = banco.carpeta_con(b"aqui esta")?;
    let (_sirve, quien_lo_tiene) = banco.servidor(Quien::Nodo, &carpeta)?;
    let (_mudos, mut peers) = mudos()?;
    peers.push(quien_lo_tiene);
    let en_la_guia = buscar_en_el_menu(banco, &peers)?;
    let (en_el_nodo, del_todo) = buscar_con_la_orden(banco, &peers)?;
    let visto = format!(
        "Hay {MUDOS} peers que aceptan y callan, y detrás uno que lo tiene. La guía espera 2 s a \
         cada mudo antes de preguntar al siguiente: lo encuentra a los {}. `nodo buscar` \
         pregunta a todos a la vez: lo dice a los {}, y acaba a los {}.",
        duracion(en_la_guia),
        duracion(en_el_nodo),
        duracion(del_todo),
    );
    Ok(Medida {
        ingenuo: Contado::Espera(en_la_guia, UN_MUDO),
        nodo: Contado::Espera(en_el_nodo, UN_MUDO),
        visto,
    })
}

/// Peers que callan: el sistema les acepta las conexiones, y nadie las atiende.
fn mudos() -> Result<(Vec<TcpListener>, Vec<SocketAddr>), Fallo> {
    let fallo = |e| Fallo::de_sistema("abriendo un puerto", &e);
    let mudos = (0..MUDOS)
        .map(|_| TcpListener::bind(AQUI))
        .collect::<Result<Vec<_>, _>>();
    let mudos = mudos.map_err(fallo)?;
    let donde = mudos
        .iter()
        .map(TcpListener::local_addr)
        .collect::<Result<_, _>>();
    Ok((mudos, donde.map_err(fallo)?))
}

/// Cuánto tarda la guía en decir quién lo tiene.
fn buscar_en_el_menu(banco: &Banco, peers: &[SocketAddr]) -> Result<Duration, Fallo> {
    let mut proceso = banco.lanzar(Quien::Ingenuo, &banco.carpeta()?, 0, peers, &[])?;
    let antes = Instant::now();
    match proceso.buscar(NOMBRE)? {
        true => Ok(antes.elapsed()),
        false => Err(Fallo::nuevo("no encontró el archivo, y estaba")),
    }
}

/// Cuánto tarda el nodo en decir quién lo tiene, y cuánto en acabar con todos.
fn buscar_con_la_orden(banco: &Banco, peers: &[SocketAddr]) -> Result<(Duration, Duration), Fallo> {
    let mut orden = vec!["buscar".to_string(), NOMBRE.to_string()];
    orden.extend(peers.iter().map(|peer| format!("--peer={peer}")));
    let quien_lo_tiene = peers[peers.len() - 1].to_string();
    let antes = Instant::now();
    let mut proceso = banco.orden_suelta(&orden)?;
    proceso.esperar(&[&quien_lo_tiene])?;
    let hallado = antes.elapsed();
    proceso.terminar(PACIENCIA)?;
    Ok((hallado, antes.elapsed()))
}

// ----- 10. No poder preguntar parece un NO -----

const APAGADOS: usize = 3;

pub fn no_poder_preguntar_parece_un_no(banco: &Banco) -> Result<Medida, Fallo> {
    let apagados = (0..APAGADOS)
        .map(|_| apagado())
        .collect::<Result<Vec<_>, _>>()?;
    let peers: Vec<SocketAddr> = apagados.iter().map(|(_, peer)| *peer).collect();
    let ingenuo = sin_nombrar(banco, Quien::Ingenuo, &peers)?;
    let nodo = sin_nombrar(banco, Quien::Nodo, &peers)?;
    let visto = format!(
        "Los {APAGADOS} peers de la lista están apagados. La guía dice «{}», lo mismo que si \
         hubieran contestado que no. En el nodo, «8. Estado de los nodos» nombra a cada uno y \
         dice por qué no contesta.",
        guia::NO_SE_ENCONTRO
    );
    Ok(Medida {
        ingenuo,
        nodo,
        visto,
    })
}

/// Un puerto que nadie más puede abrir y en que nadie escucha.
fn apagado() -> Result<(Socket, SocketAddr), Fallo> {
    let reservar = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from(AQUI).into())?;
        let donde = socket.local_addr()?.as_socket();
        Ok((socket, donde.unwrap_or_else(|| SocketAddr::from(AQUI))))
    };
    reservar().map_err(|e| Fallo::de_sistema("reservando un puerto", &e))
}

/// De cuántos peers apagados no llega a decir nada.
fn sin_nombrar(banco: &Banco, quien: Quien, peers: &[SocketAddr]) -> Result<Contado, Fallo> {
    let mut proceso = banco.lanzar(quien, &banco.carpeta()?, 0, peers, &[])?;
    proceso.buscar(NOMBRE)?;
    let (_, mut dicho) = proceso.esperar(&[guia::SELECCIONE])?;
    if quien == Quien::Nodo {
        proceso.escribir("8");
        dicho += &proceso.esperar(&[guia::SELECCIONE])?.1;
    }
    let nombrados = peers
        .iter()
        .filter(|peer| dicho.contains(&peer.to_string()));
    Ok(Contado::Veces(peers.len() - nombrados.count(), peers.len()))
}
