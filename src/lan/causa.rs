//! De lo que se vio, la causa: una función pura, y la frase de cada una.
//!
//! Es la tabla de «¿por qué no nos vemos?». Las frases de cuando no se llega son las de
//! `red/llegar.rs`, que dicen también `estado` y cualquier error de red. Qué hacer con cada causa
//! está en `remedio.rs`.

use std::fmt;
use std::net::IpAddr;

use crate::lan::hechos::{
    Alrededor, Charla, Desacuerdo, Hechos, Llegada, Rafaga, Vuelta, los_puertos,
};
use crate::lan::puerto::QuienEscucha;
use crate::nodo::palabras::protocolo::ComoTeVeo;
use crate::red::llegar::NoLlega;

/// Qué pasa con un par.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Causa {
    /// Nada: es este nodo, y se ven en los dos sentidos.
    Bien(String),
    /// Bien de aquí para allá; de allá para acá no se supo, y por qué.
    BienDeIda(String, String),
    /// Es un nodo de la guía.
    DeLaGuia,
    /// No se llega.
    NoLlega(NoLlega),
    /// No hay nadie con esa IP: otros sí contestan.
    NadieConEsaIp,
    /// La red aísla: la puerta de enlace contesta y los demás no.
    Aislamiento,
    /// Su cortafuegos calla sólo en este puerto.
    CallaEsePuerto(u16),
    /// En su puerto no, pero en estos hay un nodo.
    OtroPuerto(Vec<u16>),
    /// Una VPN se lleva lo que va a él.
    Vpn(String),
    /// Su clave de clase y la nuestra no se entienden.
    Clave(Desacuerdo),
    /// Otro programa tiene su puerto.
    OtroPrograma,
    /// Deja conectar y no dice nada.
    Mudo,
    /// Él no llega a nosotros: cómo le fue.
    SoloEnUnSentido(ComoTeVeo),
    /// Él nos ve con esta IP, que no es nuestra.
    Nat(IpAddr),
    /// Él no llega a nosotros porque nadie escucha aquí para los demás.
    NoEscuchamos(QuienEscucha),
    /// Lo largo se pierde; `true` si es seguro que es por la MTU.
    Mtu(bool),
    /// Algo de este sistema.
    Otra(String),
}

impl Causa {
    /// ¿Se puede trabajar con él?
    pub fn esta_bien(&self) -> bool {
        matches!(
            self,
            Causa::Bien(_) | Causa::BienDeIda(..) | Causa::DeLaGuia
        )
    }

    /// La causa de lo que se vio. `otros_contestan` dice si algún otro par dio señales.
    pub fn de(hechos: &Hechos, otros_contestan: bool) -> Causa {
        match &hechos.llegada {
            Llegada::Llega(charla) => Causa::de_lo_hablado(charla),
            _ if !hechos.sale => Causa::NoLlega(NoLlega::NoSale),
            Llegada::Otra(motivo) => Causa::Otra(motivo.clone()),
            Llegada::No(por_que) => {
                let alrededor = hechos.alrededor.as_ref();
                let vpn = hechos.vpn.as_ref().filter(|_| !hechos.contesta_algo());
                let nodos = alrededor
                    .map(|a| &a.nodos)
                    .filter(|nodos| !nodos.is_empty());
                match (vpn, nodos) {
                    (Some(vpn), _) => Causa::Vpn(vpn.clone()),
                    (None, Some(nodos)) => Causa::OtroPuerto(nodos.clone()),
                    (None, None) => {
                        let puerto = hechos.peer.port();
                        Causa::de_no_llegar(*por_que, puerto, alrededor, otros_contestan)
                    }
                }
            }
        }
    }

    fn de_no_llegar(
        por_que: NoLlega,
        puerto: u16,
        alrededor: Option<&Alrededor>,
        otros_contestan: bool,
    ) -> Causa {
        let esta_la_puerta = alrededor
            .and_then(|a| a.puerta)
            .is_some_and(|(_, esta)| esta);
        let a_lo_demas = alrededor.is_some_and(|a| a.tcp_9 || a.udp);
        match por_que {
            NoLlega::NadieConEsaIp if otros_contestan => Causa::NadieConEsaIp,
            NoLlega::NadieConEsaIp if esta_la_puerta => Causa::Aislamiento,
            NoLlega::Calla | NoLlega::NoContesta if a_lo_demas => Causa::CallaEsePuerto(puerto),
            NoLlega::NoSeAlcanza if a_lo_demas => Causa::NoLlega(NoLlega::Rechaza),
            por_que => Causa::NoLlega(por_que),
        }
    }

    fn de_lo_hablado(charla: &Charla) -> Causa {
        let (nombre, vuelta, rafaga) = match charla {
            Charla::Nodo {
                nombre,
                vuelta,
                rafaga,
            } => (nombre.clone(), vuelta, rafaga),
            Charla::DeLaGuia => return Causa::DeLaGuia,
            Charla::Clave(cual) => return Causa::Clave(*cual),
            Charla::OtraCosa(_) => return Causa::OtroPrograma,
            Charla::Calla => return Causa::Mudo,
        };
        let lo_largo = match rafaga {
            Rafaga::NoPasa { con_536 } => Some(Causa::Mtu(*con_536 == Some(true))),
            Rafaga::Pasa | Rafaga::NoSeSabe(_) => None,
        };
        match vuelta {
            Vuelta::TeVeo { como, .. } if *como == ComoTeVeo::Si => {
                lo_largo.unwrap_or(Causa::Bien(nombre))
            }
            Vuelta::NoSeSabe(por_que) => {
                lo_largo.unwrap_or_else(|| Causa::BienDeIda(nombre, por_que.clone()))
            }
            Vuelta::TeVeo { ip, es_mia, .. } if !es_mia => Causa::Nat(*ip),
            Vuelta::TeVeo { como, .. } => Causa::SoloEnUnSentido(*como),
            Vuelta::NoEscuchamos(quien) => Causa::NoEscuchamos(quien.clone()),
        }
    }

    /// Por qué él no llega a nosotros.
    fn por_que_no_llega_a_mi(&self) -> String {
        match self {
            Causa::SoloEnUnSentido(ComoTeVeo::NoEsNodo) => {
                "donde él llama no contesta un nodo".into()
            }
            Causa::SoloEnUnSentido(ComoTeVeo::Plazo) => "tu cortafuegos de entrada calla".into(),
            Causa::Nat(ip) => {
                format!("hay un NAT en medio (te ve con la IP {ip}, que no es tuya)")
            }
            Causa::NoEscuchamos(QuienEscucha::SoloAqui(nodo)) => {
                format!("tu nodo {nodo} sólo escucha en esta computadora")
            }
            Causa::NoEscuchamos(QuienEscucha::NoCasa) => {
                "el nodo que escucha en tu puerto no tiene la misma clave".into()
            }
            Causa::NoEscuchamos(_) => "en tu puerto no escucha ningún nodo".into(),
            _ => "tu cortafuegos de entrada lo rechaza".into(),
        }
    }
}

impl fmt::Display for Causa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Causa::Bien(nombre) => write!(f, "bien, es {nombre} y se ven en los dos sentidos"),
            Causa::BienDeIda(nombre, por_que) => write!(
                f,
                "bien, es {nombre}; si él llega a ti no se pudo comprobar (a LLAMAME {por_que})"
            ),
            Causa::DeLaGuia => f.write_str("bien, es un nodo de la guía"),
            Causa::NoLlega(por_que) => por_que.fmt(f),
            Causa::NadieConEsaIp => {
                f.write_str("no hay nadie con esa IP en tu red, donde otros sí contestan")
            }
            Causa::Aislamiento => f.write_str(
                "la red aísla a los equipos: la puerta de enlace contesta y nadie más (o no hay \
                 nadie con esa IP)",
            ),
            Causa::CallaEsePuerto(puerto) => write!(
                f,
                "esa máquina contesta a lo demás, pero su cortafuegos calla en el puerto {puerto}"
            ),
            Causa::OtroPuerto(nodos) => {
                let nodos = los_puertos(nodos);
                write!(f, "es otro puerto: hay un nodo en el {nodos}, y ahí no")
            }
            Causa::Vpn(vpn) => {
                write!(f, "tu VPN ({vpn}) se lleva lo que va a él, y no llega")
            }
            Causa::Clave(cual) => f.write_str(de_la_clave(*cual)),
            Causa::OtroPrograma => {
                f.write_str("otro programa tiene ese puerto: contesta, y no habla el protocolo")
            }
            Causa::Mudo => f.write_str(
                "deja conectar y calla: otro programa tiene ese puerto, o el nodo está parado",
            ),
            Causa::SoloEnUnSentido(_) | Causa::Nat(_) | Causa::NoEscuchamos(_) => {
                let por_que = self.por_que_no_llega_a_mi();
                let un_sentido = "sólo en un sentido: tú llegas a él y él no llega a ti";
                write!(f, "{un_sentido}, porque {por_que}")
            }
            Causa::Mtu(true) => f.write_str(
                "lo corto pasa y lo largo se pierde: es la MTU, un túnel en medio tira los \
                 paquetes grandes sin avisar",
            ),
            Causa::Mtu(false) => f.write_str(
                "lo corto pasa y lo largo se pierde: suele ser la MTU de un túnel en medio",
            ),
            Causa::Otra(motivo) => f.write_str(motivo),
        }
    }
}

fn de_la_clave(cual: Desacuerdo) -> &'static str {
    match cual {
        Desacuerdo::NoCasan => "la clave de la clase no casa: él tiene otra",
        Desacuerdo::SoloNosotros => {
            "la clave de la clase sólo la tienes tú: ahí hay un nodo que no la usa (o uno de la \
             guía, u otro programa)"
        }
        Desacuerdo::SoloEl => "la clave de la clase sólo la tiene él, y no habla sin ella",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::red::llegar::Vecino;
    use std::time::Duration;

    fn hechos(llegada: Llegada) -> Hechos {
        Hechos {
            peer: "192.168.1.11:6000".parse().unwrap(),
            sale: true,
            llegada,
            tiempo: Duration::from_millis(7),
            alrededor: None,
            vpn: None,
        }
    }

    /// Lo que hay cerca de quien no contesta: nada de nada.
    fn nada() -> Alrededor {
        Alrededor {
            vecino: Vecino::NoSeSabe,
            tcp_9: false,
            udp: false,
            nodos: Vec::new(),
            puerta: None,
        }
    }

    fn sin_llegar(por_que: NoLlega, alrededor: Alrededor) -> Hechos {
        Hechos {
            alrededor: Some(alrededor),
            ..hechos(Llegada::No(por_que))
        }
    }

    fn hablado(vuelta: Vuelta, rafaga: Rafaga) -> Causa {
        let charla = Charla::Nodo {
            nombre: "ana".into(),
            vuelta,
            rafaga,
        };
        Causa::de(&hechos(Llegada::Llega(charla)), false)
    }

    fn te_veo(como: ComoTeVeo, es_mia: bool) -> Vuelta {
        Vuelta::TeVeo {
            como,
            ip: [192, 168, 1, 10].into(),
            es_mia,
        }
    }

    /// La frase lleva estas palabras.
    fn dice(causa: &Causa, palabras: &[&str]) {
        let frase = causa.to_string();
        for palabra in palabras {
            assert!(frase.contains(palabra), "{frase:?} no dice {palabra:?}");
        }
    }

    #[test]
    fn mi_cortafuegos_de_salida_se_nota_en_un_udp() {
        let no_sale = Hechos {
            sale: false,
            ..sin_llegar(NoLlega::Calla, nada())
        };
        let causa = Causa::de(&no_sale, true);
        assert_eq!(causa, Causa::NoLlega(NoLlega::NoSale));
        dice(&causa, &["cortafuegos de salida"]);
        // Si se llegó, no estorba.
        let llega = Hechos {
            sale: false,
            ..hechos(Llegada::Llega(Charla::DeLaGuia))
        };
        assert_eq!(Causa::de(&llega, true), Causa::DeLaGuia);
    }

    #[test]
    fn sin_camino_son_redes_distintas() {
        let causa = Causa::de(&hechos(Llegada::No(NoLlega::SinCamino)), false);
        dice(&causa, &["no hay camino", "redes distintas"]);
    }

    #[test]
    fn sin_vecino_lo_dicen_los_demas_y_la_puerta_de_enlace() {
        let nadie = |puerta: Option<bool>, otros| {
            let puerta = puerta.map(|esta| ([192, 168, 1, 1].into(), esta));
            let cerca = Alrededor {
                vecino: Vecino::NoEsta,
                puerta,
                ..nada()
            };
            Causa::de(&sin_llegar(NoLlega::NadieConEsaIp, cerca), otros)
        };
        assert_eq!(nadie(Some(true), true), Causa::NadieConEsaIp);
        assert_eq!(nadie(None, true), Causa::NadieConEsaIp);
        assert_eq!(nadie(Some(true), false), Causa::Aislamiento);
        for puerta in [None, Some(false)] {
            assert_eq!(nadie(puerta, false), Causa::NoLlega(NoLlega::NadieConEsaIp));
        }
        dice(&nadie(None, true), &["no hay nadie con esa IP"]);
        dice(&nadie(Some(true), false), &["aísla"]);
        dice(&nadie(None, false), &["no hay nadie con esa IP", "aísla"]);
    }

    #[test]
    fn su_cortafuegos_rechaza_o_calla() {
        let cerca = |udp, tcp_9| Alrededor {
            vecino: Vecino::Esta,
            udp,
            tcp_9,
            ..nada()
        };
        let rechaza = Causa::de(&sin_llegar(NoLlega::Rechaza, cerca(false, true)), false);
        dice(&rechaza, &["cortafuegos", "rechaza"]);
        let calla = Causa::de(&sin_llegar(NoLlega::Calla, cerca(false, false)), false);
        dice(&calla, &["cortafuegos", "calla"]);
        for (udp, tcp_9) in [(true, false), (false, true), (true, true)] {
            let causa = Causa::de(&sin_llegar(NoLlega::Calla, cerca(udp, tcp_9)), false);
            assert_eq!(causa, Causa::CallaEsePuerto(6000));
            dice(&causa, &["calla en el puerto 6000", "lo demás"]);
        }
        // Sin tabla de vecinos que mirar, lo demás también orienta.
        let sin_tabla = Alrededor {
            tcp_9: true,
            ..nada()
        };
        let causa = Causa::de(&sin_llegar(NoLlega::NoContesta, sin_tabla), false);
        assert_eq!(causa, Causa::CallaEsePuerto(6000));
        let sin_tabla = Alrededor {
            udp: true,
            ..nada()
        };
        let causa = Causa::de(&sin_llegar(NoLlega::NoSeAlcanza, sin_tabla), false);
        assert_eq!(causa, Causa::NoLlega(NoLlega::Rechaza));
        let causa = Causa::de(&sin_llegar(NoLlega::NoSeAlcanza, nada()), false);
        dice(&causa, &["no se puede llegar", "redes distintas"]);
        let causa = Causa::de(&sin_llegar(NoLlega::NoContesta, nada()), true);
        dice(&causa, &["plazo", "calla", "aísla"]);
    }

    #[test]
    fn rechazada_son_tres_cosas_salvo_que_el_nodo_aparezca() {
        let rechazada = |nodos| {
            let cerca = Alrededor {
                vecino: Vecino::Esta,
                tcp_9: true,
                udp: true,
                nodos,
                ..nada()
            };
            Causa::de(&sin_llegar(NoLlega::Rechazada, cerca), false)
        };
        dice(
            &rechazada(vec![]),
            &["rechazada", "no corre", "otro puerto", "cortafuegos"],
        );
        dice(&rechazada(vec![6001]), &["otro puerto", "6001"]);
        dice(&rechazada(vec![6001, 6003]), &["6001 y en el 6003"]);
    }

    #[test]
    fn lo_que_se_habla_dice_quien_es() {
        let con = |charla| Causa::de(&hechos(Llegada::Llega(charla)), false);
        dice(&con(Charla::DeLaGuia), &["nodo de la guía"]);
        dice(
            &con(Charla::OtraCosa("dice hola".into())),
            &["otro programa tiene ese puerto"],
        );
        dice(
            &con(Charla::Calla),
            &["otro programa tiene ese puerto", "parado"],
        );
    }

    #[test]
    fn si_la_clave_no_casa_o_solo_la_tiene_uno_se_dice() {
        use Desacuerdo::*;
        let casos = [
            (NoCasan, "la clave de la clase no casa"),
            (SoloNosotros, "la clave de la clase sólo la tienes tú"),
            (SoloEl, "la clave de la clase sólo la tiene él"),
        ];
        for (cual, frase) in casos {
            let causa = Causa::de(&hechos(Llegada::Llega(Charla::Clave(cual))), true);
            dice(&causa, &[frase]);
            assert!(!causa.esta_bien());
        }
    }

    #[test]
    fn solo_en_un_sentido_es_mi_cortafuegos_o_un_nat() {
        use ComoTeVeo::*;
        assert_eq!(
            hablado(te_veo(Si, true), Rafaga::Pasa),
            Causa::Bien("ana".into())
        );
        assert_eq!(
            hablado(te_veo(Si, false), Rafaga::Pasa),
            Causa::Bien("ana".into())
        );
        for como in [Rechazada, Plazo, SinCamino, NoEsNodo] {
            let causa = hablado(te_veo(como, true), Rafaga::Pasa);
            assert_eq!(causa, Causa::SoloEnUnSentido(como));
            dice(&causa, &["sólo en un sentido"]);
            let causa = hablado(te_veo(como, false), Rafaga::Pasa);
            dice(&causa, &["sólo en un sentido", "NAT", "192.168.1.10"]);
        }
        for como in [Rechazada, Plazo, SinCamino] {
            dice(
                &Causa::SoloEnUnSentido(como),
                &["tu cortafuegos de entrada"],
            );
        }
    }

    #[test]
    fn sin_escuchar_nadie_puede_llamarnos() {
        for quien in [
            QuienEscucha::SoloAqui("bea".into()),
            QuienEscucha::NoCasa,
            QuienEscucha::OtroPrograma,
            QuienEscucha::Nadie("no hay permiso".into()),
        ] {
            let causa = hablado(Vuelta::NoEscuchamos(quien.clone()), Rafaga::Pasa);
            assert_eq!(causa, Causa::NoEscuchamos(quien));
            dice(&causa, &["sólo en un sentido", "escucha"]);
        }
    }

    #[test]
    fn lo_largo_que_no_pasa_es_la_mtu_y_con_paquetes_cortos_es_seguro() {
        let mtu = |con_536| hablado(te_veo(ComoTeVeo::Si, true), Rafaga::NoPasa { con_536 });
        assert_eq!(mtu(Some(true)), Causa::Mtu(true));
        for con_536 in [Some(false), None] {
            assert_eq!(mtu(con_536), Causa::Mtu(false));
        }
        dice(&mtu(Some(true)), &["MTU", "es la"]);
        dice(&mtu(None), &["MTU", "suele"]);
        let no_se = || Rafaga::NoSeSabe("no dio tiempo".into());
        assert!(hablado(te_veo(ComoTeVeo::Si, true), no_se()).esta_bien());
    }

    #[test]
    fn quien_no_sabe_llamar_esta_bien_de_ida() {
        let causa = hablado(Vuelta::NoSeSabe("palabra desconocida".into()), Rafaga::Pasa);
        assert!(causa.esta_bien());
        dice(&causa, &["ana", "no se pudo comprobar"]);
    }

    #[test]
    fn una_vpn_solo_tiene_la_culpa_si_nadie_contesta() {
        let con_vpn = |por_que, cerca| Hechos {
            vpn: Some("tun0".into()),
            ..sin_llegar(por_que, cerca)
        };
        dice(
            &Causa::de(&con_vpn(NoLlega::NoContesta, nada()), false),
            &["VPN", "tun0"],
        );
        let rechazada = Causa::de(&con_vpn(NoLlega::Rechazada, nada()), false);
        assert_eq!(rechazada, Causa::NoLlega(NoLlega::Rechazada));
    }
}
