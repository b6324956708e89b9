//! La práctica del chat (`p2p.py`): uno espera y otros se conectan; lo que cada uno escribe llega a
//! los demás.
//!
//! Pregunta lo mismo que el documento. El servidor es el mismo bucle de `accept` que el nodo con
//! otro `gestionar` ([`gestionar_charla`]) y admite a varios: lo que escribe llega a todos (lo que
//! dice uno no se reenvía a los demás: la charla es de cada uno con el servidor). El hilo principal
//! no espera a nadie: lo que a un par no le cabe no le llega, y se dice.

pub mod charla;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, never};

use crate::config::{Limites, MAX_CONEXIONES};
use crate::consola::pantalla::Pantalla;
use crate::consola::{Consola, Encargo, Fin, Paso};
use crate::fallo::{Fallo, Salida};
use crate::ordenes::valores::{leer_ip, leer_puerto};
use crate::red::DESPEDIDA;
use crate::red::conexion::Conexion;
use crate::red::hilos::arrancar;
use crate::red::parada::{Parada, Trato};
use crate::red::servidor::{Servidor, abrir_en};
use crate::texto::cuenta;
use charla::{Buzon, Novedad, gestionar_charla};

/// El `HOST` del documento.
const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// El `PORT` del documento.
const PORT: u16 = 5000;
/// Lo que se escribe para terminar.
const SALIR: &str = "exit";
/// Novedades que esperan a pintarse; con más, las charlas dejan de leer.
const COLA_DE_NOVEDADES: usize = 64;
/// Quien se va con Ctrl-C no espera más que esto a que salga lo que acaba de escribir.
const DESPEDIDA_CON_PRISA: Duration = Duration::from_millis(200);

/// De qué lado se está.
#[derive(Debug, PartialEq, Eq)]
enum Lado {
    Servidor(SocketAddr),
    Cliente(SocketAddr),
}

/// `nodo chat`: charla hasta `exit`, el fin de la entrada o Ctrl-C.
pub fn abrir(
    servidor: Option<SocketAddr>,
    conectar: Option<SocketAddr>,
    limites: &Limites,
    consola: &mut Consola,
) -> Result<Salida, Fallo> {
    let escrito = servidor.map(Lado::Servidor);
    let escrito = escrito.or(conectar.map(Lado::Cliente));
    match escrito.map_or_else(|| preguntar_lado(consola), Ok) {
        Ok(Lado::Servidor(direccion)) => esperar_a_otros(direccion, limites, consola),
        Ok(Lado::Cliente(direccion)) => conectarse(direccion, limites, consola),
        Err(Fin::SeVa(salida)) => Ok(salida),
        Err(Fin::Fallo(fallo)) => Err(fallo),
    }
}

fn esperar_a_otros(
    pedida: SocketAddr,
    limites: &Limites,
    consola: &mut Consola,
) -> Result<Salida, Fallo> {
    let (escucha, direccion) = abrir_en(pedida, "--servidor")?;
    let (contar, sala) = Sala::nueva();
    let parada = Parada::nueva();
    let gestionar = move |conexion| gestionar_charla(conexion, &contar);
    let servidor = Servidor::arrancar(escucha, MAX_CONEXIONES, limites, parada.clone(), gestionar)?;
    consola.pantalla.tanda([
        format!("[ESCUCHANDO] Chat en {direccion}"),
        format!("Lo que escribas llega a todos los que se conecten; «{SALIR}» termina."),
    ]);
    let salida = sala.charlar(consola);
    match salida {
        Ok(Salida::Interrumpido) => servidor.detener(&consola.ctrl_c, |_| parada.cortar()),
        _ => consola.despedir(servidor),
    }
    salida
}

fn conectarse(
    direccion: SocketAddr,
    limites: &Limites,
    consola: &mut Consola,
) -> Result<Salida, Fallo> {
    let plazo = limites.conectar;
    let conectar = |encargo: Encargo| Conexion::conectar(direccion, plazo, limites, encargo.parada);
    let (conectado, dejado) = consola.trabajar(conectar)?;
    if dejado {
        return Ok(Salida::Interrumpido);
    }
    let conexion = conectado.map_err(|fallo| {
        let motivo = format!("{fallo}; ¿hay ahí un chat en modo servidor?");
        Fallo::nuevo(format!("conectando con {direccion}: {motivo}"))
    })?;
    let parada = Parada::nueva();
    let apuntado = parada.apuntar(conexion.socket(), Trato::DejaDeLeer);
    let (contar, mut sala) = Sala::nueva();
    let hilo = arrancar("charla", move || {
        gestionar_charla(conexion, &contar);
        drop(apuntado);
    })?;
    let bienvenida = format!("Lo que escribas llega al otro lado; «{SALIR}» termina.");
    consola.pantalla.linea(bienvenida);
    // Lo primero que hace la charla es contar que empieza: hasta entonces no se lee el teclado, que
    // puede ser una tubería.
    if let Ok(empieza) = sala.novedades.recv() {
        sala.atender(empieza, &mut consola.pantalla);
    }
    let salida = sala.charlar(consola);
    parada.avisar();
    let plazo = match salida {
        Ok(Salida::Interrumpido) => DESPEDIDA_CON_PRISA,
        _ => DESPEDIDA,
    };
    hilo.acaba_antes(plazo, &consola.ctrl_c);
    parada.cortar();
    hilo.esperar();
    salida
}

/// Las tres preguntas del documento.
fn preguntar_lado(consola: &mut Consola) -> Result<Lado, Fin> {
    let quiere_servir = insistir(consola, "¿Servidor (s) o cliente (c)? ", leer_papel)?;
    let leer_o_host = |escrito: &str| match escrito {
        "" => Ok(HOST),
        _ => leer_ip(escrito),
    };
    let ip = insistir(consola, "IP (Entrar: 127.0.0.1): ", leer_o_host)?;
    let leer_o_port = |escrito: &str| match escrito {
        "" => Ok(PORT),
        "0" if !quiere_servir => Err("nadie escucha en el puerto 0".into()),
        _ => leer_puerto(escrito),
    };
    let puerto = insistir(consola, "Puerto (Entrar: 5000): ", leer_o_port)?;
    let direccion = SocketAddr::new(ip, puerto);
    Ok(match quiere_servir {
        true => Lado::Servidor(direccion),
        false => Lado::Cliente(direccion),
    })
}

/// Pregunta hasta que la respuesta valga.
fn insistir<T>(
    consola: &mut Consola,
    pregunta: &str,
    leer: impl Fn(&str) -> Result<T, String>,
) -> Result<T, Fin> {
    loop {
        let escrito = consola.preguntar(pregunta)?;
        let escrito = escrito.trim();
        if escrito == SALIR {
            return Err(Fin::SeVa(Salida::Bien));
        }
        let queja = match leer(escrito) {
            Ok(leido) => return Ok(leido),
            Err(motivo) => format!("«{escrito}» no vale: {motivo}"),
        };
        consola.pantalla.linea(queja);
    }
}

/// ¿Quiere ser servidor?
fn leer_papel(escrito: &str) -> Result<bool, String> {
    match escrito.to_lowercase().as_str() {
        "s" | "servidor" => Ok(true),
        "c" | "cliente" => Ok(false),
        _ => Err("escribe s o c".into()),
    }
}

/// Un par conectado.
struct Par {
    buzon: Buzon,
    /// Líneas seguidas que no le cupieron, porque no lee.
    sin_llegar: usize,
}

/// Todos los que están conectados ahora, vistos desde el hilo principal.
struct Sala {
    novedades: Receiver<Novedad>,
    pares: BTreeMap<SocketAddr, Par>,
    /// ¿Se rompió ya alguna conexión?
    rota: bool,
}

impl Sala {
    /// Una sala vacía, y por dónde le cuentan las charlas.
    fn nueva() -> (Sender<Novedad>, Sala) {
        let (contar, novedades) = bounded(COLA_DE_NOVEDADES);
        let sala = Sala {
            novedades,
            pares: BTreeMap::new(),
            rota: false,
        };
        (contar, sala)
    }

    /// Charla hasta que quien está delante se va. Al volver ya no queda quien oiga ni buzón alguno:
    /// eso despide a todos.
    fn charlar(mut self, consola: &mut Consola) -> Result<Salida, Fallo> {
        consola.leer_siempre()?;
        let salida = loop {
            match consola.siguiente(&self.novedades) {
                Paso::Llego(novedad) => self.atender(novedad, &mut consola.pantalla),
                Paso::Escrito(linea) if linea.trim() != SALIR => {
                    self.decir_a_todos(&linea, &mut consola.pantalla);
                }
                Paso::Escrito(_) | Paso::FinDeEntrada => break Salida::Bien,
                Paso::Interrumpido => break Salida::Interrumpido,
                // Ya no hay charla que cuente nada, pero el programa sigue hasta que se diga.
                Paso::Acabo => self.novedades = never(),
            }
        };
        // Lo que ya había llegado cuando se fue.
        while let Ok(novedad) = self.novedades.try_recv() {
            self.atender(novedad, &mut consola.pantalla);
        }
        Ok(salida)
    }

    fn atender(&mut self, novedad: Novedad, pantalla: &mut Pantalla) {
        match novedad {
            Novedad::Llega(otro, buzon) => {
                pantalla.interrumpir([format!("[CONEXIÓN] Con {otro}")]);
                let sin_llegar = 0;
                self.pares.insert(otro, Par { buzon, sin_llegar });
            }
            Novedad::Dice(otro, lineas) => {
                pantalla.interrumpir(lineas.iter().map(|linea| format!("[{otro}] {linea}")));
            }
            // La cuentan quien lee y quien escribe: con una vez basta.
            Novedad::Rota(otro, motivo) => {
                if self.pares.remove(&otro).is_some() {
                    self.rota = true;
                    pantalla.interrumpir([format!("[{otro}] conexión rota: {motivo}")]);
                }
            }
        }
    }

    fn decir_a_todos(&mut self, linea: &str, pantalla: &mut Pantalla) {
        if self.pares.is_empty() {
            let por_que = match self.rota {
                true => "conexión rota",
                false => "todavía no hay nadie",
            };
            pantalla.linea(format!("{por_que}: lo que escribiste no llegó a nadie"));
        }
        let carta: Arc<str> = format!("{linea}\n").into();
        for (otro, par) in &mut self.pares {
            if !par.buzon.dejar(&carta, par.sin_llegar > 0) {
                if par.sin_llegar == 0 {
                    let hasta = "hasta que lo haga, lo que escribas no le llega";
                    pantalla.linea(format!("[{otro}] no lee: {hasta}"));
                }
                par.sin_llegar += 1;
            } else if par.sin_llegar > 0 {
                let cuantas = cuenta(par.sin_llegar, "línea", "líneas");
                pantalla.linea(format!("[{otro}] ya lee; se quedó sin {cuantas}"));
                par.sin_llegar = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consola::editor::{Impresor, Nombres};
    use std::time::Instant;

    #[test]
    fn el_papel_se_lee_como_se_escribe() {
        assert_eq!(leer_papel("s"), Ok(true));
        assert_eq!(leer_papel("C"), Ok(false));
        assert!(leer_papel("").is_err() && leer_papel("x").is_err());
    }

    #[test]
    fn quien_se_va_sale_de_la_lista_y_se_dice_una_vez() {
        let (_contar, mut sala) = Sala::nueva();
        let otro = SocketAddr::new(HOST, 9);
        let (buzon, mut cartas) = Buzon::nuevo(never());
        let mut pantalla = Pantalla::nueva(Impresor::nuevo(), Nombres::default());
        sala.atender(Novedad::Llega(otro, buzon), &mut pantalla);
        sala.decir_a_todos("hola", &mut pantalla);
        assert_eq!(cartas.next().as_deref(), Some("hola\n"));
        sala.atender(Novedad::Rota(otro, "x".into()), &mut pantalla);
        assert!(sala.pares.is_empty() && sala.rota && cartas.next().is_none());
        sala.atender(Novedad::Rota(otro, "x".into()), &mut pantalla);
    }

    #[test]
    fn cuarenta_que_no_leen_no_retienen_al_que_escribe_y_se_cuenta_lo_que_no_les_llega() {
        let (_contar, mut sala) = Sala::nueva();
        let mut pantalla = Pantalla::nueva(Impresor::nuevo(), Nombres::default());
        let mut llega = |puerto| {
            let (buzon, cartas) = Buzon::nuevo(never());
            let otro = SocketAddr::new(HOST, puerto);
            sala.atender(Novedad::Llega(otro, buzon), &mut pantalla);
            cartas
        };
        let (mut oye, mut sordos): (_, Vec<_>) = (llega(100), (0..40).map(llega).collect());
        let mucho = "x".repeat(60_000);
        let antes = Instant::now();
        for _ in 0..30 {
            sala.decir_a_todos(&mucho, &mut pantalla);
            assert_eq!(oye.next().map(|carta| carta.len()), Some(60_001));
        }
        assert!(antes.elapsed() < Duration::from_secs(1));
        let sin_llegar =
            |sala: &Sala| -> Vec<usize> { sala.pares.values().map(|par| par.sin_llegar).collect() };
        let (los_sordos, el_que_oye) = (sin_llegar(&sala)[..40].to_vec(), sin_llegar(&sala)[40]);
        assert!(los_sordos.iter().all(|&n| n > 0 && n == los_sordos[0]) && el_que_oye == 0);
        // Una línea corta cabría, pero no han leído nada.
        sala.decir_a_todos("corta", &mut pantalla);
        assert_eq!(sin_llegar(&sala)[..40], [los_sordos[0] + 1; 40]);
        // Uno vuelve a leer: le llega lo que le cupo, y desde ahí todo.
        let le_cupo = 30 - los_sordos[0];
        (0..le_cupo).for_each(|_| assert!(sordos[7].next().is_some()));
        sala.decir_a_todos("ya", &mut pantalla);
        assert_eq!(sordos[7].next().as_deref(), Some("ya\n"));
        assert!(sin_llegar(&sala)[7] == 0 && sin_llegar(&sala)[8] > 0);
    }
}
