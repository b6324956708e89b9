//! Lo que viaja, cifrado con la clave de la clase.
//!
//! No está en la guía. El saludo y los mensajes son los de Noise (`NNpsk0`): cada conexión estrena
//! claves, así que quien la capture hoy y averigüe la frase mañana no lee nada. Aquí sólo se cifra
//! y se descifra: los bytes los lleva y los trae [`Conexion`], y de dónde sale la clave está en
//! `lan/clave.rs`. No sabe qué se dice.
//!
//! [`Conexion`]: crate::red::conexion::Conexion

use std::fmt;
use std::sync::Arc;

use snow::{Builder, HandshakeState, TransportState};

/// Lo que se acuerda con quien también tiene clave.
const NOISE: &str = "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s";
/// La palabra con que se pide cifrar; es además el prólogo: quien la cambie por el camino estropea
/// el saludo.
pub const PALABRA: &str = "CLAVE:1";
/// Bytes de cada uno de los dos mensajes del saludo: una clave pública y su sello.
pub const SALUDO: usize = 48;
/// Bytes que van delante de cada mensaje, con su longitud en orden de red.
pub const LONGITUD: usize = 2;
/// Bytes del sello de cada mensaje.
const SELLO: usize = 16;
/// Lo que se pone en cada mensaje, en bytes: menos de lo que cabe, para que un trozo de archivo
/// salga en mensajes iguales y aún esté en la caché del procesador al mandarlo.
const PARTE: usize = 32 * 1024;
/// Bytes que se cifran, y se mandan, de una vez.
pub const TANDA: usize = 4 * PARTE;
/// Lo que no estorba guardar mientras no se usa, en bytes.
const POCO: usize = 16 * 1024;

/// Una clave, igual en todos los que la comparten. No se pinta nunca.
#[derive(Clone, PartialEq, Eq)]
pub struct Clave(Arc<[u8; 32]>);

impl Clave {
    /// La de esos 32 bytes.
    pub fn nueva(bytes: [u8; 32]) -> Clave {
        Clave(Arc::new(bytes))
    }
}

impl fmt::Debug for Clave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clave(…)")
    }
}

/// Quién empieza el saludo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Papel {
    /// Quien se conectó y mandó la palabra.
    Inicia,
    /// Quien contesta.
    Contesta,
}

/// Lo recibido no lo cifró quien tiene la clave, o no es lo siguiente que mandó.
#[derive(Debug, PartialEq, Eq)]
pub struct NoSeDescifra;

/// El saludo, mientras dura.
pub struct Saludo(Box<HandshakeState>);

impl Saludo {
    /// Uno nuevo.
    pub fn nuevo(clave: &Clave, papel: Papel) -> Saludo {
        let noise = NOISE.parse().expect("es un nombre de Noise");
        let saludo = Builder::new(noise)
            .prologue(PALABRA.as_bytes())
            .and_then(|noise| noise.psk(0, &clave.0))
            .and_then(|noise| match papel {
                Papel::Inicia => noise.build_initiator(),
                Papel::Contesta => noise.build_responder(),
            });
        Saludo(Box::new(saludo.expect("NNpsk0 sólo necesita la clave")))
    }

    /// El mensaje que toca mandar, con su longitud delante.
    pub fn escribir(&mut self) -> Vec<u8> {
        let mut mensaje = vec![0; LONGITUD + SALUDO];
        let escrito = self.0.write_message(&[], &mut mensaje[LONGITUD..]);
        let largo = escrito.expect("cabe, y toca escribir");
        mensaje[..LONGITUD].copy_from_slice(&(largo as u16).to_be_bytes());
        mensaje
    }

    /// El mensaje del otro, sin su longitud. Con otra clave no se descifra.
    pub fn leer(&mut self, mensaje: &[u8]) -> Result<(), NoSeDescifra> {
        let leido = self.0.read_message(mensaje, &mut [0; SALUDO]);
        leido.map(drop).map_err(|_| NoSeDescifra)
    }

    /// Acabado: desde aquí todo va cifrado.
    pub fn acabar(self) -> Cifrado {
        let noise = self.0.into_transport_mode();
        Cifrado {
            noise: Box::new(noise.expect("los dos mensajes ya pasaron")),
            roto: false,
            recibido: Vec::new(),
            visto: 0,
            llegado: 0,
            por_salir: Vec::new(),
        }
    }
}

/// Las claves de una conexión ya saludada, y lo recibido que aún no se ha descifrado.
pub struct Cifrado {
    noise: Box<TransportState>,
    /// Algo no se descifró: lo que llegue después ya no se mira.
    roto: bool,
    /// Los mensajes sin descifrar son `recibido[visto..llegado]`; el último puede estar a medias.
    recibido: Vec<u8>,
    visto: usize,
    llegado: usize,
    por_salir: Vec<u8>,
}

impl Cifrado {
    /// Cifra `texto`, que no pasa de [`TANDA`] bytes. Lo que da es lo que viaja: uno o varios
    /// mensajes, cada uno con su longitud delante.
    pub fn cerrar(&mut self, texto: &[u8]) -> Result<&[u8], NoSeDescifra> {
        let mensajes = texto.len().div_ceil(PARTE);
        let largo = texto.len() + mensajes * (LONGITUD + SELLO);
        if self.por_salir.len() < largo {
            self.por_salir.resize(largo, 0);
        }
        let mut falta = &mut self.por_salir[..largo];
        for parte in texto.chunks(PARTE) {
            let (mensaje, resto) = falta.split_at_mut(LONGITUD + parte.len() + SELLO);
            let (longitud, cuerpo) = mensaje.split_at_mut(LONGITUD);
            longitud.copy_from_slice(&(cuerpo.len() as u16).to_be_bytes());
            // Falla al agotarse los números de mensaje: 2⁶⁴, que nadie gasta en una vida.
            let cerrado = self.noise.write_message(parte, cuerpo);
            cerrado.map_err(|_| NoSeDescifra)?;
            falta = resto;
        }
        Ok(&self.por_salir[..largo])
    }

    /// Dónde poner hasta `cuantos` bytes que lleguen, que se cuentan con [`Cifrado::llegaron`].
    pub fn sitio(&mut self, cuantos: usize) -> &mut [u8] {
        self.recibido.copy_within(self.visto..self.llegado, 0);
        self.llegado -= std::mem::take(&mut self.visto);
        let hasta = self.llegado + cuantos;
        if self.recibido.len() < hasta {
            self.recibido.resize(hasta, 0);
        }
        &mut self.recibido[self.llegado..hasta]
    }

    /// En [`Cifrado::sitio`] se pusieron tantos.
    pub fn llegaron(&mut self, cuantos: usize) {
        self.llegado += cuantos;
    }

    /// ¿No queda nada a medias?
    pub fn en_limpio(&self) -> bool {
        self.visto == self.llegado
    }

    /// ¿Llegó algo que no se descifra? Ya no se puede seguir.
    pub fn roto(&self) -> bool {
        self.roto
    }

    /// ¿No tiene sitio para lo que llegue?
    pub fn sin_sitio(&self) -> bool {
        self.recibido.is_empty()
    }

    /// Suelta la memoria que no hace falta: la conexión puede quedarse ociosa.
    pub fn adelgazar(&mut self) {
        if self.en_limpio() && self.recibido.len() > POCO {
            (self.recibido, self.visto, self.llegado) = (Vec::new(), 0, 0);
        }
        if self.por_salir.len() > POCO {
            self.por_salir = Vec::new();
        }
    }

    /// Cuántos bytes de texto trae el siguiente mensaje; `None` si no está entero.
    pub fn siguiente(&self) -> Option<usize> {
        let falta = &self.recibido[self.visto..self.llegado];
        let (largo, resto) = falta.split_first_chunk::<LONGITUD>()?;
        let largo = usize::from(u16::from_be_bytes(*largo));
        (resto.len() >= largo).then(|| largo.saturating_sub(SELLO))
    }

    /// Descifra el siguiente mensaje, que está entero, en el principio de `destino`, que le basta.
    /// Tras uno que no se descifra no se descifra ninguno.
    pub fn abrir(&mut self, destino: &mut [u8]) -> Result<usize, NoSeDescifra> {
        let falta = &self.recibido[self.visto..self.llegado];
        let (largo, resto) = falta.split_first_chunk::<LONGITUD>().ok_or(NoSeDescifra)?;
        let largo = usize::from(u16::from_be_bytes(*largo));
        let mensaje = resto.get(..largo).filter(|_| !self.roto);
        let mensaje = mensaje.ok_or(NoSeDescifra)?;
        let leido = self.noise.read_message(mensaje, destino);
        self.visto += LONGITUD + largo;
        self.roto = leido.is_err();
        leido.map_err(|_| NoSeDescifra)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lo más que cabe en un mensaje: los 65 535 bytes de Noise sin el sello.
    const TEXTO: usize = 65_535 - SELLO;

    fn saludados(una: [u8; 32], otra: [u8; 32]) -> Option<(Cifrado, Cifrado)> {
        let mut inicia = Saludo::nuevo(&Clave::nueva(una), Papel::Inicia);
        let mut contesta = Saludo::nuevo(&Clave::nueva(otra), Papel::Contesta);
        contesta.leer(&inicia.escribir()[LONGITUD..]).ok()?;
        inicia.leer(&contesta.escribir()[LONGITUD..]).ok()?;
        Some((inicia.acabar(), contesta.acabar()))
    }

    fn iguales() -> (Cifrado, Cifrado) {
        saludados([7; 32], [7; 32]).expect("es la misma clave")
    }

    /// Un solo mensaje, de lo que sea que quepa.
    fn mensaje(de: &mut Cifrado, texto: &[u8]) -> Vec<u8> {
        let mut mensaje = vec![0; LONGITUD + texto.len() + SELLO];
        let largo = de.noise.write_message(texto, &mut mensaje[LONGITUD..]);
        mensaje[..LONGITUD].copy_from_slice(&(largo.unwrap() as u16).to_be_bytes());
        mensaje
    }

    fn llega(a: &mut Cifrado, bytes: &[u8]) {
        a.sitio(bytes.len()).copy_from_slice(bytes);
        a.llegaron(bytes.len());
    }

    fn leer(de: &mut Cifrado) -> Result<Vec<u8>, NoSeDescifra> {
        let mut texto = vec![0; de.siguiente().expect("está entero")];
        let largo = de.abrir(&mut texto)?;
        assert_eq!(largo, texto.len());
        Ok(texto)
    }

    #[test]
    fn con_la_misma_clave_se_entienden_y_con_otra_no() {
        let (mut uno, mut otro) = iguales();
        for texto in [&b"hola"[..], b"", &vec![9; TEXTO]] {
            let cifrado = mensaje(&mut uno, texto);
            assert_eq!(cifrado.len(), LONGITUD + texto.len() + SELLO);
            llega(&mut otro, &cifrado);
            assert_eq!(leer(&mut otro).unwrap(), texto);
        }
        assert!(otro.en_limpio());
        assert!(saludados([7; 32], [8; 32]).is_none());
    }

    #[test]
    fn lo_largo_sale_en_mensajes_que_caben_y_no_se_parece_a_lo_que_era() {
        let (mut uno, mut otro) = iguales();
        for largo in [0, 1, PARTE - 1, PARTE, PARTE + 1, TANDA] {
            let texto = vec![b'a'; largo];
            let cifrado = uno.cerrar(&texto).unwrap().to_vec();
            assert!(!cifrado.windows(8).any(|trozo| trozo == [b'a'; 8]));
            llega(&mut otro, &cifrado);
            let mut leido = Vec::new();
            while otro.siguiente().is_some() {
                leido.extend(leer(&mut otro).unwrap());
            }
            assert!(otro.en_limpio() && leido == texto, "{largo}");
        }
        // Cifrar otra vez lo mismo no da lo mismo.
        assert_ne!(
            uno.cerrar(b"a").unwrap().to_vec(),
            uno.cerrar(b"a").unwrap()
        );
    }

    #[test]
    fn lo_repetido_cambiado_o_fuera_de_orden_no_se_descifra_ni_lo_que_sigue() {
        let trucos: [fn(&mut Vec<Vec<u8>>); 6] = [
            |mensajes| mensajes[0] = mensajes[1].clone(),
            |mensajes| mensajes[1] = mensajes[0].clone(),
            |mensajes| mensajes.swap(0, 1),
            |mensajes| drop(mensajes.remove(0)),
            |mensajes| *mensajes[1].last_mut().unwrap() ^= 1,
            |mensajes| mensajes[1][LONGITUD] ^= 0x80,
        ];
        for (cual, truco) in trucos.into_iter().enumerate() {
            let (mut uno, mut otro) = iguales();
            let textos = ["uno", "dos", "tres"];
            let mut mensajes = textos
                .map(|texto| mensaje(&mut uno, texto.as_bytes()))
                .to_vec();
            truco(&mut mensajes);
            mensajes
                .iter()
                .for_each(|mensaje| llega(&mut otro, mensaje));
            let leidos: Vec<_> = mensajes.iter().map(|_| leer(&mut otro)).collect();
            let buenos = leidos.iter().take_while(|leido| leido.is_ok()).count();
            assert!(buenos < leidos.len(), "{cual}");
            assert!(leidos[buenos..].iter().all(Result::is_err), "{cual}");
            for (leido, texto) in leidos[..buenos].iter().zip(textos) {
                assert_eq!(leido.as_deref(), Ok(texto.as_bytes()), "{cual}");
            }
        }
    }

    #[test]
    fn lo_que_uno_manda_no_vale_como_dicho_por_el_otro() {
        let (mut uno, _) = iguales();
        let suyo = mensaje(&mut uno, b"eco");
        llega(&mut uno, &suyo);
        assert!(leer(&mut uno).is_err());
        // Ni lo de una conexión en otra, aunque la clave sea la misma.
        let ((mut uno, _), (_, mut otro)) = (iguales(), iguales());
        let suyo = mensaje(&mut uno, b"de ayer");
        llega(&mut otro, &suyo);
        assert!(leer(&mut otro).is_err());
    }

    #[test]
    fn un_saludo_repetido_no_sirve_para_seguir() {
        let clave = Clave::nueva([7; 32]);
        let mut inicia = Saludo::nuevo(&clave, Papel::Inicia);
        let visto = inicia.escribir();
        let contestar = || {
            let mut contesta = Saludo::nuevo(&clave, Papel::Contesta);
            contesta.leer(&visto[LONGITUD..]).unwrap();
            (contesta.escribir(), contesta.acabar())
        };
        let ((respuesta, _), (_, mut repetido)) = (contestar(), contestar());
        inicia.leer(&respuesta[LONGITUD..]).unwrap();
        let dicho = mensaje(&mut inicia.acabar(), b"LISTAR\n");
        llega(&mut repetido, &dicho);
        assert!(leer(&mut repetido).is_err());
    }

    #[test]
    fn el_saludo_es_el_que_hace_otro_programa() {
        // Hecho con noiseprotocol, de Python, con esa clave y el mismo prólogo.
        let clave = "e626f6d24f7679ae28f0e67311afcfdf6a6265fabd846735b42e8a5376084734";
        let saludo = "ad79a2911ac5f6950d3279f31bb272812cdbca9978dffaaaebfcf8e97e4a042e\
                      913d28cfa0352126c4c1b89e10219b3d";
        let bytes = |escrito: &str| -> Vec<u8> {
            let pares = (0..escrito.len()).step_by(2);
            pares
                .map(|n| u8::from_str_radix(&escrito[n..n + 2], 16).unwrap())
                .collect()
        };
        let clave = Clave::nueva(bytes(clave).try_into().unwrap());
        let leer = |saludo: &[u8]| Saludo::nuevo(&clave, Papel::Contesta).leer(saludo);
        let mut saludo = bytes(saludo);
        assert_eq!(leer(&saludo), Ok(()));
        saludo[0] ^= 1;
        assert_eq!(leer(&saludo), Err(NoSeDescifra));
    }

    #[test]
    fn a_medias_no_es_un_mensaje() {
        let (mut uno, mut otro) = iguales();
        let cifrado = mensaje(&mut uno, b"hola");
        for byte in &cifrado[..cifrado.len() - 1] {
            llega(&mut otro, &[*byte]);
            assert_eq!(otro.siguiente(), None);
        }
        assert!(!otro.en_limpio());
        // Soltar memoria no pierde lo que está a medias.
        otro.adelgazar();
        llega(&mut otro, &cifrado[cifrado.len() - 1..]);
        assert_eq!(leer(&mut otro).unwrap(), b"hola");
    }

    #[test]
    fn donde_no_cabe_ni_el_sello_no_hay_mensaje() {
        // Ni se descifra ni se toma por uno vacío.
        for largo in [0_u16, 1, 15] {
            let (_, mut otro) = iguales();
            llega(&mut otro, &largo.to_be_bytes());
            llega(&mut otro, &vec![0; usize::from(largo)]);
            assert_eq!(leer(&mut otro), Err(NoSeDescifra), "{largo}");
        }
        // El mayor, hecho de basura, tampoco pasa.
        let (_, mut otro) = iguales();
        llega(&mut otro, &[0xff; LONGITUD + 65_535]);
        assert_eq!(leer(&mut otro), Err(NoSeDescifra));
    }

    #[test]
    fn diez_gib_no_gastan_los_numeros_de_mensaje() {
        // Cada mensaje, sea como sea de corto, gasta un número; los nuestros llevan PARTE bytes.
        let mensajes = (10_u64 << 30).div_ceil(PARTE as u64);
        let (mut uno, mut otro) = iguales();
        let mut sitio = [0; SELLO];
        for _ in 0..mensajes {
            uno.noise.write_message(&[], &mut sitio).unwrap();
        }
        assert_eq!(uno.noise.sending_nonce(), mensajes);
        assert!(
            u64::MAX / mensajes > 1 << 40,
            "y aún quedan para un billón de veces más"
        );
        // El siguiente se descifra con el número que le toca, y con ningún otro.
        let siguiente = mensaje(&mut uno, b"sigue");
        let leer_con = |otro: &mut Cifrado, numero| {
            otro.noise.set_receiving_nonce(numero);
            let mut texto = [0; 5];
            let leido = otro.noise.read_message(&siguiente[LONGITUD..], &mut texto);
            leido.is_ok() && texto == *b"sigue"
        };
        assert!(!leer_con(&mut otro, mensajes - 1) && !leer_con(&mut otro, 0));
        assert!(leer_con(&mut otro, mensajes));
    }

    #[test]
    fn lo_que_no_se_usa_se_suelta() {
        let (mut uno, mut otro) = iguales();
        let cifrado = uno.cerrar(&vec![1; TANDA]).unwrap().to_vec();
        llega(&mut otro, &cifrado);
        while otro.siguiente().is_some() {
            leer(&mut otro).unwrap();
        }
        assert!(uno.por_salir.len() > POCO && otro.recibido.len() > POCO);
        uno.adelgazar();
        otro.adelgazar();
        assert!(uno.por_salir.is_empty() && otro.sin_sitio());
        let despues = uno.cerrar(b"sigue").unwrap().to_vec();
        llega(&mut otro, &despues);
        assert_eq!(leer(&mut otro).unwrap(), b"sigue");
    }

    #[test]
    fn la_clave_no_se_pinta() {
        assert_eq!(format!("{:?}", Clave::nueva([7; 32])), "Clave(…)");
    }
}
