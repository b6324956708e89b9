//! Direcciones: los `%xx`, la consulta (`?clave=valor`) y las URL `http://…` que se escriben o
//! llegan. Funciones puras.
//!
//! Sólo `http`, con IP o nombre. Resolver el nombre y conectarse es cosa de [`super::cliente`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Traduce los `%xx` de una ruta. `None` si alguno está mal escrito o el resultado no es UTF-8.
pub fn descodificar(escrito: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(escrito.len());
    let mut resto = escrito.bytes();
    while let Some(byte) = resto.next() {
        bytes.push(match byte {
            b'%' => cifra(resto.next()?)? * 16 + cifra(resto.next()?)?,
            otro => otro,
        });
    }
    String::from_utf8(bytes).ok()
}

fn cifra(byte: u8) -> Option<u8> {
    let valor = char::from(byte).to_digit(16)?;
    u8::try_from(valor).ok()
}

/// Las parejas de una consulta (sin el `?`). Ahí, además, `+` es un espacio. `None` si está mal
/// escrita.
pub fn leer_consulta(escrita: &str) -> Option<Vec<(String, String)>> {
    let parejas = escrita.split('&').filter(|pareja| !pareja.is_empty());
    parejas
        .map(|pareja| {
            let (clave, valor) = pareja.split_once('=').unwrap_or((pareja, ""));
            let traducir = |texto: &str| descodificar(&texto.replace('+', " "));
            Some((traducir(clave)?, traducir(valor)?))
        })
        .collect()
}

/// Escribe `texto` para una URL: todo lo que no es letra, cifra o `-._~` va como `%xx`.
pub fn codificar(texto: &str) -> String {
    let mut escrito = String::with_capacity(texto.len());
    for byte in texto.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escrito.push(char::from(byte));
        } else {
            escrito.push_str(&format!("%{byte:02X}"));
        }
    }
    escrito
}

/// Como [`codificar`], para una ruta: las `/` se quedan.
pub fn codificar_ruta(ruta: &str) -> String {
    let partes: Vec<String> = ruta.split('/').map(codificar).collect();
    partes.join("/")
}

/// Tope de la URL de un peer, en bytes. Llegan de fuera y se guardan.
pub const MAX_URL: usize = 256;

/// Una URL `http://` partida en trozos.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// IP (sin corchetes) o nombre.
    pub anfitrion: String,
    /// Puerto; 80 si no se escribió.
    pub puerto: u16,
    /// La ruta y la consulta, tal como se escribieron; `/` si no había.
    pub ruta: String,
}

impl Url {
    /// Parte `escrita`. `None` si no es `http://` seguido de IP o nombre y, quizá, puerto y ruta.
    pub fn leer(escrita: &str) -> Option<Url> {
        let (esquema, resto) = escrita.split_at_checked("http://".len())?;
        if !esquema.eq_ignore_ascii_case("http://") {
            return None;
        }
        if !resto.bytes().all(|b| b.is_ascii_graphic()) || resto.contains(['@', '#', '\\']) {
            return None;
        }
        let corte = resto.find(['/', '?']).unwrap_or(resto.len());
        let (sitio, ruta) = resto.split_at(corte);
        let (anfitrion, puerto) = match sitio.strip_prefix('[') {
            Some(ip) => {
                let (ip, puerto) = ip.split_once(']')?;
                ip.parse::<Ipv6Addr>().ok()?;
                (ip, puerto)
            }
            None => sitio.split_at(sitio.find(':').unwrap_or(sitio.len())),
        };
        let puerto = match puerto {
            "" => 80,
            _ => puerto.strip_prefix(':')?.parse().ok()?,
        };
        let ruta = match ruta.starts_with('/') {
            true => ruta.to_string(),
            false => format!("/{ruta}"),
        };
        let bueno = !anfitrion.is_empty() && puerto != 0;
        bueno.then(|| Url {
            anfitrion: anfitrion.to_string(),
            puerto,
            ruta,
        })
    }

    /// La IP, si no hace falta preguntar a nadie: está escrita, o es `localhost`.
    pub fn ip(&self) -> Option<IpAddr> {
        if self.anfitrion.eq_ignore_ascii_case("localhost") {
            return Some(Ipv4Addr::LOCALHOST.into());
        }
        let ip: IpAddr = self.anfitrion.parse().ok()?;
        Some(ip.to_canonical())
    }

    /// `IP:PUERTO` como va en la cabecera `Host`.
    pub fn sitio(&self) -> String {
        let (anfitrion, puerto) = (&self.anfitrion, self.puerto);
        match anfitrion.contains(':') {
            true => format!("[{anfitrion}]:{puerto}"),
            false => format!("{anfitrion}:{puerto}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn los_porcentajes_son_estrictos() {
        assert_eq!(
            descodificar("/files/a%20%C3%B1+b%2Fc").as_deref(),
            Some("/files/a ñ+b/c")
        );
        for malo in ["%", "%2", "%zz", "%+1", "%ff", "%c3", "ñ%ff"] {
            assert_eq!(descodificar(malo), None, "{malo}");
        }
    }

    #[test]
    fn la_consulta_se_parte_antes_de_traducir() {
        let leida = leer_consulta("file=a%26b%3Dc+d&vacio=&suelto&&x=1=2").unwrap();
        let parejas: Vec<_> = leida
            .iter()
            .map(|(c, v)| (c.as_str(), v.as_str()))
            .collect();
        assert_eq!(
            parejas,
            [
                ("file", "a&b=c d"),
                ("vacio", ""),
                ("suelto", ""),
                ("x", "1=2")
            ]
        );
        assert_eq!(leer_consulta("").unwrap(), []);
        assert_eq!(leer_consulta("a=%"), None);
    }

    #[test]
    fn una_url_se_parte_bien_o_no_se_parte() {
        let partes = |escrita| Url::leer(escrita).map(|u| (u.sitio(), u.ruta));
        let buena = |sitio: &str, ruta: &str| Some((sitio.to_string(), ruta.to_string()));
        assert_eq!(
            partes("http://127.0.0.1:9000"),
            buena("127.0.0.1:9000", "/")
        );
        assert_eq!(
            partes("http://localhost/x?y=/z"),
            buena("localhost:80", "/x?y=/z")
        );
        assert_eq!(partes("http://[::1]:9000/a"), buena("[::1]:9000", "/a"));
        assert_eq!(partes("http://h:1?q"), buena("h:1", "/?q"));
        for mala in [
            "",
            "127.0.0.1:9000",
            "https://x",
            "http://",
            "http://:80",
            "http://a:0",
            "http://a:70000",
            "http://a:",
            "http://a b",
            "http://u@a",
            "http://a\r\nX: y",
            "http://[x]:1",
        ] {
            assert_eq!(partes(mala), None, "{mala:?}");
        }
    }

    proptest! {
        #[test]
        fn ida_y_vuelta(texto in any::<String>()) {
            prop_assert_eq!(descodificar(&codificar(&texto)), Some(texto.clone()));
            prop_assert_eq!(descodificar(&codificar_ruta(&texto)), Some(texto.clone()));
            let consulta = leer_consulta(&format!("file={}", codificar(&texto))).unwrap();
            prop_assert_eq!(&consulta[0].1, &texto);
        }

        #[test]
        fn nada_revienta(texto in any::<String>()) {
            let _ = descodificar(&texto);
            let _ = leer_consulta(&texto);
            let _ = Url::leer(&format!("http://{texto}"));
        }
    }
}
