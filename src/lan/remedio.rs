//! Qué hacer con cada causa: una frase, con la orden exacta del sistema en que se está.

use std::net::SocketAddr;
use std::path::Path;

use crate::lan::causa::Causa;
use crate::lan::hechos::Desacuerdo;
use crate::lan::puerto::QuienEscucha;
use crate::red::llegar::NoLlega;

/// El cortafuegos de un sistema, por la orden con que se le habla.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cortafuegos {
    /// Ubuntu y parecidos.
    Ufw,
    /// Fedora y parecidos.
    Firewalld,
    /// Un Linux sin ninguno de los dos.
    Nft,
    /// El de Windows.
    Windows,
    /// El de macOS.
    Mac,
}

/// En qué sentido se abre un puerto.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sentido {
    Entrada,
    Salida,
}

impl Cortafuegos {
    /// El de este sistema. En Linux, el que esté encendido; si no se sabe, el que esté instalado.
    pub fn de_aqui() -> Cortafuegos {
        if cfg!(windows) {
            return Cortafuegos::Windows;
        }
        if cfg!(target_os = "macos") {
            return Cortafuegos::Mac;
        }
        let hay = |rutas: [&str; 2]| rutas.iter().any(|ruta| Path::new(ruta).exists());
        let ufw = std::fs::read_to_string("/etc/ufw/ufw.conf").unwrap_or_default();
        match ufw.contains("ENABLED=yes") {
            true => Cortafuegos::Ufw,
            _ if hay(["/usr/bin/firewall-cmd", "/usr/sbin/firewall-cmd"]) => Cortafuegos::Firewalld,
            _ if hay(["/usr/sbin/ufw", "/usr/bin/ufw"]) => Cortafuegos::Ufw,
            _ => Cortafuegos::Nft,
        }
    }

    fn abrir(self, puerto: u16, sentido: Sentido) -> String {
        let entra = sentido == Sentido::Entrada;
        match self {
            Cortafuegos::Ufw if entra => format!("sudo ufw allow {puerto}/tcp"),
            Cortafuegos::Ufw => format!("sudo ufw allow out {puerto}/tcp"),
            Cortafuegos::Firewalld if entra => {
                format!("sudo firewall-cmd --add-port={puerto}/tcp")
            }
            Cortafuegos::Firewalld | Cortafuegos::Nft => {
                let cadena = if entra { "input" } else { "output" };
                format!("sudo nft insert rule inet filter {cadena} tcp dport {puerto} accept")
            }
            Cortafuegos::Windows => {
                let (hacia, cual) = match sentido {
                    Sentido::Entrada => ("Inbound", "LocalPort"),
                    Sentido::Salida => ("Outbound", "RemotePort"),
                };
                format!(
                    "New-NetFirewallRule -DisplayName nodo -Direction {hacia} -Protocol TCP \
                     -{cual} {puerto} -Action Allow (en PowerShell, como administrador)"
                )
            }
            Cortafuegos::Mac => "Ajustes del Sistema → Red → Firewall → Opciones: permitir \
                                 conexiones entrantes a nodo"
                .into(),
        }
    }

    fn bajar_la_mtu(self, interfaz: &str) -> String {
        match self {
            Cortafuegos::Windows => format!(
                "netsh interface ipv4 set subinterface \"{interfaz}\" mtu=1280 store=active (como \
                 administrador)"
            ),
            Cortafuegos::Mac => format!("sudo networksetup -setMTU {interfaz} 1280"),
            _ => format!("sudo ip link set dev {interfaz} mtu 1280"),
        }
    }
}

/// Con qué se escribe un remedio.
pub struct Botica<'a> {
    /// El cortafuegos de aquí.
    pub cortafuegos: Cortafuegos,
    /// El puerto de aquí.
    pub mi_puerto: u16,
    /// La interfaz por la que se va a ese par.
    pub interfaz: &'a str,
}

impl Botica<'_> {
    /// Qué hacer.
    pub fn remedio(&self, peer: SocketAddr, causa: &Causa) -> String {
        let (ip, puerto) = (peer.ip(), peer.port());
        match causa {
            Causa::Bien(_) => "Nada.".into(),
            Causa::BienDeIda(..) => {
                "Nada; con la misma versión en los dos se comprueba todo.".into()
            }
            Causa::DeLaGuia => "Nada: sabe buscar y bajar; listas, mensajes y envíos, no.".into(),
            Causa::NoLlega(por_que) => self.para_llegar(peer, *por_que),
            Causa::NadieConEsaIp => self.mirar_su_ip(peer),
            Causa::Aislamiento => {
                "Usa otra red: el punto de acceso de un teléfono, un cable entre \
                                   las dos, o una WiFi que no sea para invitados."
                    .into()
            }
            Causa::CallaEsePuerto(_) => en_la_otra(peer),
            Causa::OtroPuerto(nodos) => {
                let puerto = nodos.first().unwrap_or(&puerto);
                format!(
                    "Escribe ese puerto: --peer {}",
                    SocketAddr::new(ip, *puerto)
                )
            }
            Causa::Vpn(vpn) => format!(
                "Apaga la VPN ({vpn}) mientras dure la práctica, o dile que deje fuera la red \
                 local."
            ),
            Causa::Clave(cual) => con_la_clave(*cual).into(),
            Causa::OtroPrograma | Causa::Mudo => format!(
                "En esa computadora, cierra el programa que tiene el puerto {puerto}, o arranca el \
                 nodo en otro: nodo --puerto 6001, y aquí --peer {}",
                SocketAddr::new(ip, 6001)
            ),
            Causa::SoloEnUnSentido(_) => {
                format!(
                    "Abre tu puerto: {}",
                    self.cortafuegos.abrir(self.mi_puerto, Sentido::Entrada)
                )
            }
            Causa::Nat(_) => "Pónganse en la misma red (si esto es WSL o una máquina virtual, su \
                              red en modo puente); mientras tanto, pide y envía tú, que sí llegas."
                .into(),
            Causa::NoEscuchamos(quien) => self.para_escuchar(peer, quien),
            Causa::Mtu(_) => format!(
                "Apaga el túnel o la VPN que haya en medio, o manda paquetes más cortos: {}",
                self.cortafuegos.bajar_la_mtu(self.interfaz)
            ),
            Causa::Otra(_) => "Arregla eso y vuelve a probar.".into(),
        }
    }

    fn para_llegar(&self, peer: SocketAddr, por_que: NoLlega) -> String {
        match por_que {
            NoLlega::NoSale if self.cortafuegos == Cortafuegos::Mac => {
                "Permite nodo en Ajustes del Sistema → Privacidad → Red local, y en el cortafuegos \
                 que hayas instalado."
                    .into()
            }
            NoLlega::NoSale => {
                let orden = self.cortafuegos.abrir(peer.port(), Sentido::Salida);
                format!("Déjalo salir: {orden}")
            }
            NoLlega::SinCamino | NoLlega::NoSeAlcanza if self.cortafuegos == Cortafuegos::Mac => {
                "Conecta las dos a la misma red, y mira que nodo esté permitido en Ajustes del \
                 Sistema → Privacidad → Red local."
                    .into()
            }
            NoLlega::NoSeAlcanza => {
                format!("Conecta las dos a la misma red. {}", self.mirar_su_ip(peer))
            }
            NoLlega::SinCamino => {
                "Conecta las dos computadoras a la misma red (la misma WiFi, con \
                                   el mismo nombre), y vuelve a mirar las IP."
                    .into()
            }
            NoLlega::NadieConEsaIp => format!(
                "{} Si es esa, la red aísla: usa el punto de acceso de un teléfono o un cable.",
                self.mirar_su_ip(peer)
            ),
            NoLlega::Rechaza => en_la_otra(peer),
            NoLlega::Calla => format!(
                "{} Si ya está abierto, o la red aísla a los equipos o acaba de irse: en un minuto \
                 se sabrá.",
                en_la_otra(peer)
            ),
            NoLlega::Rechazada => format!(
                "En esa computadora arranca el nodo y mira qué puerto dice; si es el {}, {}",
                peer.port(),
                abrir_alla(peer.port())
            ),
            NoLlega::NoContesta => format!(
                "{} Si es esa, {}",
                self.mirar_su_ip(peer),
                abrir_alla(peer.port())
            ),
        }
    }

    fn mirar_su_ip(&self, peer: SocketAddr) -> String {
        format!(
            "Mira en esa computadora que esté encendida y cuál es su IP (hostname -I en Linux, \
             ipconfig en Windows, ipconfig getifaddr en0 en macOS), y escríbela en lugar de {}.",
            peer.ip()
        )
    }

    fn para_escuchar(&self, peer: SocketAddr, quien: &QuienEscucha) -> String {
        match quien {
            QuienEscucha::SoloAqui(_) => {
                format!("Arranca tu nodo para todas las redes: nodo --ip 0.0.0.0 --peer {peer}")
            }
            QuienEscucha::Nadie(motivo) => {
                format!("Arregla antes por qué no se abre tu puerto: {motivo}")
            }
            QuienEscucha::NoCasa => con_la_clave(Desacuerdo::NoCasan).into(),
            _ => format!("Elige un puerto que esté libre: nodo --puerto 6001 --peer {peer}"),
        }
    }
}

fn con_la_clave(cual: Desacuerdo) -> &'static str {
    match cual {
        Desacuerdo::NoCasan => "Pongan la misma los dos, letra por letra: nodo --clave-de ARCHIVO.",
        Desacuerdo::SoloNosotros => {
            "Que arranque con la misma: nodo --clave-de ARCHIVO. O prueba tú sin ella."
        }
        Desacuerdo::SoloEl => {
            "Pide la clave a quien la repartió, y arranca con ella: nodo --clave-de ARCHIVO."
        }
    }
}

/// Qué se hace en la otra computadora para abrir su puerto. Qué sistema tiene no se sabe desde
/// aquí.
fn en_la_otra(peer: SocketAddr) -> String {
    let abrir = abrir_alla(peer.port());
    format!("En esa computadora, {abrir}")
}

fn abrir_alla(puerto: u16) -> String {
    let abrir = |cual: Cortafuegos| cual.abrir(puerto, Sentido::Entrada);
    format!(
        "abre el puerto {puerto}. Linux: {} (o {}); Windows: {}; macOS: {}.",
        abrir(Cortafuegos::Ufw),
        abrir(Cortafuegos::Firewalld),
        abrir(Cortafuegos::Windows),
        abrir(Cortafuegos::Mac)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodo::palabras::protocolo::ComoTeVeo;

    fn botica(cortafuegos: Cortafuegos) -> Botica<'static> {
        Botica {
            cortafuegos,
            mi_puerto: 6005,
            interfaz: "eth0",
        }
    }

    #[test]
    fn abrir_mi_puerto_es_la_orden_de_mi_sistema() {
        let peer = "192.168.1.11:6000".parse().unwrap();
        for (cortafuegos, orden) in [
            (Cortafuegos::Ufw, "sudo ufw allow 6005/tcp"),
            (
                Cortafuegos::Firewalld,
                "sudo firewall-cmd --add-port=6005/tcp",
            ),
            (
                Cortafuegos::Nft,
                "sudo nft insert rule inet filter input tcp dport 6005 accept",
            ),
            (
                Cortafuegos::Windows,
                "-Direction Inbound -Protocol TCP -LocalPort 6005",
            ),
            (Cortafuegos::Mac, "Firewall → Opciones"),
        ] {
            let entrada = Causa::SoloEnUnSentido(ComoTeVeo::Plazo);
            let remedio = botica(cortafuegos).remedio(peer, &entrada);
            assert!(remedio.contains(orden), "{remedio}");
        }
    }

    #[test]
    fn dejar_salir_es_hacia_su_puerto() {
        let peer = "192.168.1.11:6000".parse().unwrap();
        for (cortafuegos, orden) in [
            (Cortafuegos::Ufw, "sudo ufw allow out 6000/tcp"),
            (
                Cortafuegos::Firewalld,
                "filter output tcp dport 6000 accept",
            ),
            (Cortafuegos::Nft, "filter output tcp dport 6000 accept"),
            (
                Cortafuegos::Windows,
                "-Direction Outbound -Protocol TCP -RemotePort 6000",
            ),
            (Cortafuegos::Mac, "Red local"),
        ] {
            let remedio = botica(cortafuegos).remedio(peer, &Causa::NoLlega(NoLlega::NoSale));
            assert!(remedio.contains(orden), "{remedio}");
        }
    }

    #[test]
    fn en_la_otra_computadora_se_dicen_los_tres_sistemas() {
        let peer = "192.168.1.11:6007".parse().unwrap();
        for causa in [
            Causa::NoLlega(NoLlega::Rechaza),
            Causa::NoLlega(NoLlega::Calla),
            Causa::NoLlega(NoLlega::Rechazada),
            Causa::CallaEsePuerto(6007),
        ] {
            let remedio = botica(Cortafuegos::Nft).remedio(peer, &causa);
            for orden in [
                "sudo ufw allow 6007/tcp",
                "sudo firewall-cmd --add-port=6007/tcp",
                "New-NetFirewallRule",
                "LocalPort 6007",
                "macOS",
            ] {
                assert!(remedio.contains(orden), "{remedio}");
            }
        }
    }
}
