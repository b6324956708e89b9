//! El nodo de la guía tal cual, función por función y con sus defectos: se lee con ella al lado,
//! antes que el de verdad. Cada `Defecto N` acaba en el archivo de `src/` donde está arreglado, y
//! `nodo demostrar N` lo provoca. Es la excepción de la casa: usa sólo `std`, pinta desde cualquier
//! hilo y no los espera, como la guía. Sirve `../../etc/passwd`: por eso sólo escucha en 127.x.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

// ----- SERVIDOR DEL NODO -----
fn atender_conexiones(ip: IpAddr, puerto: u16, carpeta: &Path) -> io::Result<()> {
    let servidor = TcpListener::bind((ip, puerto))?;
    let puerto = servidor.local_addr()?.port();
    println!("[ESCUCHANDO] Nodo activo en puerto {puerto}");
    // Defecto 1: no hay manera de terminar; Salir corta los envíos a la mitad → red/parada.rs
    loop {
        let (conn, addr) = servidor.accept()?;
        // Defecto 2: cualquier hilo pinta, y lo ajeno se pinta sin limpiar → consola/pantalla.rs
        println!("[CONEXIÓN] Desde ('{}', {})", addr.ip(), addr.port());
        let carpeta = carpeta.to_path_buf();
        // Defecto 3: hilos sin tope ni dueño; cuando no caben más, muere el bucle → red/hilos.rs
        thread::spawn(move || {
            gestionar_peticion(conn, &carpeta).inspect_err(|e| println!("[ERROR] {e}"))
        });
    }
}

fn gestionar_peticion(mut conn: TcpStream, carpeta: &Path) -> io::Result<()> {
    // Defecto 4: un cliente mudo retiene aquí su hilo para siempre → red/conexion.rs
    // Defecto 5: una lectura no es una petición, que puede llegar partida → nodo/servidor.rs
    let solicitud = String::from_utf8(recv(&mut conn)?).map_err(io::Error::other)?;
    if let Some(nombre) = solicitud.strip_prefix("BUSCAR:") {
        // Defecto 6: con `../` o una ruta absoluta se sale de la carpeta → nodo/carpeta/nombres.rs
        let ruta = carpeta.join(nombre);
        // Defecto 7: `BUSCAR:` sin nombre dice SI: la carpeta existe → nodo/carpeta/mod.rs
        conn.write_all(if ruta.exists() { b"SI" } else { b"NO" })?;
    } else if let Some(nombre_archivo) = solicitud.strip_prefix("DESCARGAR:") {
        let ruta = carpeta.join(nombre_archivo);
        if ruta.exists() {
            conn.write_all(b"OK")?;
            io::copy(&mut File::open(ruta)?, &mut conn)?;
            println!("[ENVÍO COMPLETO] {nombre_archivo}");
        } else {
            conn.write_all(b"NOFILE")?;
        }
    }
    Ok(())
}

// ----- CLIENTE DEL NODO -----
fn buscar_en_peers(peers: &[SocketAddr], nombre_archivo: &str) -> Vec<SocketAddr> {
    let lo_tiene = |peer: &SocketAddr| -> io::Result<bool> {
        let mut s = TcpStream::connect_timeout(peer, Duration::from_secs(2))?;
        s.set_read_timeout(Some(Duration::from_secs(2)))?;
        s.write_all(format!("BUSCAR:{nombre_archivo}").as_bytes())?;
        Ok(recv(&mut s)? == b"SI")
    };
    // Defecto 8: pregunta en serie; cada mudo hace esperar 2 s a los demás → nodo/cliente.rs
    // Defecto 9: si uno mismo está en la lista, se descarga de sí → nodo/vecinos.rs
    // Defecto 10: no poder preguntar parece un NO; quién calla lo dice → nodo/acciones/mod.rs
    let disponibles = peers.iter().filter(|peer| lo_tiene(peer).unwrap_or(false));
    disponibles.copied().collect()
}

fn descargar_archivo(ip: IpAddr, puerto: u16, carpeta: &Path, nombre: &str) -> io::Result<()> {
    // Defecto 11: va a su propio puerto, que puede no ser el del peer → nodo/cliente.rs
    let mut cliente = TcpStream::connect((ip, puerto))?;
    cliente.write_all(format!("DESCARGAR:{nombre}").as_bytes())?;
    // Defecto 12: el OK pegado a los datos parece otra palabra → nodo/descarga/sin_comprobar.rs
    if recv(&mut cliente)? == b"OK" {
        // Defecto 13: pisa el archivo que hubiera con ese nombre → nodo/carpeta/a_medias.rs
        let mut f = File::create(carpeta.join(nombre))?;
        // Defecto 14: sin longitud, un corte parece el final → nodo/palabras/protocolo.rs
        // Defecto 15: sin huella, un byte cambiado no lo nota nadie → nodo/carpeta/huella.rs
        io::copy(&mut cliente, &mut f)?;
        println!("[DESCARGADO EN COMPARTIDOS] {nombre}");
    } else {
        println!("[NO ENCONTRADO] El archivo no está disponible.");
    }
    Ok(())
}

// ----- INICIO DEL SISTEMA -----
/// Abre el nodo de la guía y su menú. Falla si la IP no es 127.x, o donde la guía revienta.
pub fn abrir(ip: IpAddr, puerto: u16, carpeta: PathBuf, peers: &[SocketAddr]) -> io::Result<()> {
    if !matches!(ip, IpAddr::V4(ip) if ip.is_loopback()) {
        return Err(io::Error::other("sólo escucha en 127.x, por seguridad"));
    }
    fs::create_dir_all(&carpeta)?;
    let suya = carpeta.clone();
    // Defecto 16: si el puerto está ocupado, el menú sigue sin servidor → nodo/arranque.rs
    thread::spawn(move || atender_conexiones(ip, puerto, &suya).inspect_err(|e| eprintln!("{e}")));
    match menu(puerto, &carpeta, peers) {
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => Ok(()),
        otro_final => otro_final,
    }
}

fn menu(puerto: u16, carpeta: &Path, peers: &[SocketAddr]) -> io::Result<()> {
    loop {
        println!("\n--- MENÚ P2P ---\n1. Ver archivos compartidos");
        println!("2. Buscar y descargar archivo\n3. Salir");
        match input("Seleccione una opción: ")?.as_str() {
            "1" => {
                println!("\nArchivos disponibles en este nodo:");
                for f in fs::read_dir(carpeta)? {
                    println!(" - {}", f?.file_name().display());
                }
            }
            "2" => {
                let archivo = input("Nombre del archivo que deseas buscar: ")?;
                let disponibles = buscar_en_peers(peers, &archivo);
                if disponibles.is_empty() {
                    println!("No se encontró ese archivo en la red.");
                    continue;
                }
                println!("Archivo disponible en:");
                for (idx, peer) in disponibles.iter().enumerate() {
                    println!("{}. {}", idx + 1, peer.ip());
                }
                let eleccion = input("Selecciona de dónde deseas descargar (número): ")?;
                // Defecto 17: lo que no es un número de la lista acaba con todo → nodo/menu.rs
                let mala = io::Error::other("ese número no está en la lista");
                let indice = eleccion.trim().parse().unwrap_or(0_usize).wrapping_sub(1);
                let ip = disponibles.get(indice).ok_or(mala)?.ip();
                let descarga = descargar_archivo(ip, puerto, carpeta, &archivo);
                descarga.unwrap_or_else(|e| println!("[ERROR AL DESCARGAR] {e}"));
            }
            "3" => break,
            _ => println!("Opción inválida."),
        }
    }
    println!("Saliendo...");
    Ok(())
}

// ----- LO QUE EN PYTHON VIENE HECHO -----
fn recv(s: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut datos = [0; 1024];
    s.read(&mut datos).map(|leido| datos[..leido].to_vec())
}

fn input(pregunta: &str) -> io::Result<String> {
    print!("{pregunta}");
    io::stdout().flush()?;
    io::stdin().lines().next().ok_or(ErrorKind::UnexpectedEof)?
}
