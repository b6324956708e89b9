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

    fn saludados(una: [u8; 32], otra: [u8; 32]) -> Option<(Cifrado, Cifrado)> {
        let mut inicia = Saludo::nuevo(&Clave::nueva(una), Papel::Inicia);
        let mut contesta = Saludo::nuevo(&Clave::nueva(otra), Papel::Contesta);
        contesta.leer(&inicia.escribir()[LONGITUD..]).ok()?;
        inicia.leer(&contesta.escribir()[LONGITUD..]).ok()?;
        Some((inicia.acabar(), contesta.acabar()))
    }

    fn cerrar(de: &mut Cifrado, texto: &[u8]) -> Vec<u8> {
        let mut cifrado = Vec::new();
        de.cerrar(texto, &mut cifrado).unwrap();
        cifrado
    }

    fn llega(a: &mut Cifrado, bytes: &[u8]) {
        a.sitio()[..bytes.len()].copy_from_slice(bytes);
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
        let (mut uno, mut otro) = saludados([7; 32], [7; 32]).unwrap();
        for texto in [&b"hola"[..], b"", &vec![9; TEXTO]] {
            let cifrado = cerrar(&mut uno, texto);
            assert_eq!(cifrado.len(), LONGITUD + texto.len() + SELLO);
            llega(&mut otro, &cifrado);
            assert_eq!(leer(&mut otro).unwrap(), texto);
        }
        assert!(otro.en_limpio());
        assert!(saludados([7; 32], [8; 32]).is_none());
    }

    #[test]
    fn lo_repetido_cambiado_o_fuera_de_orden_no_se_descifra() {
        let trucos: [fn(&mut Vec<Vec<u8>>); 4] = [
            |mensajes| mensajes[0] = mensajes[1].clone(),
            |mensajes| mensajes[1] = mensajes[0].clone(),
            |mensajes| *mensajes[1].last_mut().unwrap() ^= 1,
            |mensajes| mensajes[1][LONGITUD] ^= 0x80,
        ];
        for truco in trucos {
            let (mut uno, mut otro) = saludados([7; 32], [7; 32]).unwrap();
            let textos = [b"uno".as_slice(), b"dos"];
            let mut mensajes = textos.map(|texto| cerrar(&mut uno, texto)).to_vec();
            truco(&mut mensajes);
            mensajes
                .iter()
                .for_each(|mensaje| llega(&mut otro, mensaje));
            assert!((0..2).any(|_| leer(&mut otro).is_err()));
        }
        // Lo que uno manda no vale como dicho por el otro.
        let (mut uno, _) = saludados([7; 32], [7; 32]).unwrap();
        let suyo = cerrar(&mut uno, b"eco");
        llega(&mut uno, &suyo);
        assert!(leer(&mut uno).is_err());
    }

    #[test]
    fn a_medias_no_es_un_mensaje() {
        let (mut uno, mut otro) = saludados([7; 32], [7; 32]).unwrap();
        let cifrado = cerrar(&mut uno, b"hola");
        for byte in &cifrado[..cifrado.len() - 1] {
            llega(&mut otro, &[*byte]);
            assert_eq!(otro.siguiente(), None);
        }
        assert!(!otro.en_limpio());
        // Ni siquiera cabe el sello: no se descifra, y no se toma por uno vacío.
        let (_, mut otro) = saludados([7; 32], [7; 32]).unwrap();
        llega(&mut otro, &[0, 3, 1, 2, 3]);
        assert_eq!(leer(&mut otro), Err(NoSeDescifra));
    }
}
