//! Lo que una conexión hace de más cuando hay clave: saludarse con ella, y cifrar y descifrar lo
//! que pasa. Quien la usa no lo nota: las palabras y los plazos son los mismos.

use std::io::Read;
use std::time::{Duration, Instant};

use crate::red::cifrado::{Cifrado, Clave, LONGITUD, PALABRA, Papel, SALUDO, Saludo, TANDA};
use crate::red::conexion::{Conexion, FalloRed, LECTURA};

/// Con lo que contesta quien tiene otra clave, antes de cerrar: un mensaje de cero bytes.
const NO_ES_ESA: [u8; LONGITUD] = [0; LONGITUD];
/// Lo que se espera a que cierre quien tiene otra clave, para que alcance a saberlo.
const DESPEDIDA: Duration = Duration::from_millis(500);
/// Lo que se lee del socket de una vez, en bytes, si lo que se espera son datos: varios mensajes.
const LECTURA_DE_DATOS: usize = 256 * 1024;

impl Conexion {
    /// ¿Va cifrada?
    pub fn cifrada(&self) -> bool {
        self.cifrado.is_some()
    }

    /// El saludo de quien se conecta: todo antes de `limite`.
    pub fn pedir_cifrado(&mut self, clave: &Clave, limite: Instant) -> Result<(), FalloRed> {
        self.escribir_linea(PALABRA)?;
        let falta = limite.saturating_duration_since(Instant::now());
        match self.leer_linea(falta, "que se presente con su clave")? {
            Some(linea) if linea == PALABRA => {}
            Some(_) => return Err(FalloRed::SinClave),
            None => return Err(FalloRed::SinSaludo),
        }
        let mut saludo = Saludo::nuevo(clave, Papel::Inicia);
        self.mandar_en_claro(&saludo.escribir())?;
        let suyo = self.recibir_saludo(limite)?;
        saludo.leer(&suyo).map_err(|_| FalloRed::OtraClave)?;
        self.empezar_a_cifrar(saludo)
    }

    /// El saludo de quien recibió la palabra, que ya se leyó: todo antes de `limite`.
    pub fn aceptar_cifrado(&mut self, clave: &Clave, limite: Instant) -> Result<(), FalloRed> {
        self.escribir_linea(PALABRA)?;
        let mut saludo = Saludo::nuevo(clave, Papel::Contesta);
        let suyo = self.recibir_saludo(limite)?;
        if saludo.leer(&suyo).is_err() {
            self.mandar_en_claro(&NO_ES_ESA)?;
            self.cerrar_con_calma(DESPEDIDA);
            return Err(FalloRed::OtraClave);
        }
        self.mandar_en_claro(&saludo.escribir())?;
        self.empezar_a_cifrar(saludo)
    }

    fn recibir_saludo(&mut self, limite: Instant) -> Result<Vec<u8>, FalloRed> {
        self.juntar(LONGITUD, limite)?;
        if self.pendiente().starts_with(&NO_ES_ESA) {
            return Err(FalloRed::OtraClave);
        }
        if !self.pendiente().starts_with(&(SALUDO as u16).to_be_bytes()) {
            return Err(FalloRed::Alterado);
        }
        self.juntar(LONGITUD + SALUDO, limite)?;
        let mensaje = self.pendiente()[LONGITUD..LONGITUD + SALUDO].to_vec();
        self.consumir(LONGITUD + SALUDO);
        Ok(mensaje)
    }

    fn juntar(&mut self, cuantos: usize, limite: Instant) -> Result<(), FalloRed> {
        while self.pendiente().len() < cuantos {
            if self.recibir(limite, "el saludo con la clave")? == 0 {
                return Err(FalloRed::Cortada);
            }
        }
        Ok(())
    }

    /// Lo que llegara pegado al saludo ya va cifrado.
    fn empezar_a_cifrar(&mut self, saludo: Saludo) -> Result<(), FalloRed> {
        let mut cifrado = saludo.acabar();
        let pegado = self.pendiente();
        cifrado.sitio(pegado.len()).copy_from_slice(pegado);
        cifrado.llegaron(pegado.len());
        (self.recibido, self.consumido) = (Vec::new(), 0);
        self.cifrado = Some(cifrado);
        Ok(())
    }

    /// Lee hasta tener una línea entera, que queda sin consumir, y tira lo que la siga: es de quien
    /// sólo hace una petición. Cifrado, un fin no acaba una línea: pudo ponerlo cualquiera.
    pub fn quedarse_con_una_linea(&mut self, limite: Instant) -> Result<(), FalloRed> {
        loop {
            if let Some(donde) = self.pendiente().iter().position(|&b| b == b'\n') {
                self.recibido.truncate(self.consumido + donde + 1);
                return Ok(());
            }
            if self.pendiente().len() >= self.limites.linea {
                return Err(FalloRed::LineaLarga);
            }
            if self.recibir(limite, "la petición")? == 0 {
                return Err(FalloRed::Cortada);
            }
        }
    }

    /// Como una lectura: descifra un mensaje, lo añade a lo pendiente y dice de cuánto era; 0 es el
    /// fin.
    pub(super) fn recibir_cifrado(
        &mut self,
        limite: Instant,
        que: &'static str,
    ) -> Result<usize, FalloRed> {
        self.recibido.drain(..self.consumido);
        self.consumido = 0;
        if let Some(cifrado) = &mut self.cifrado {
            cifrado.adelgazar();
        }
        let Some(largo) = self.esperar_mensaje(limite, que, LECTURA)? else {
            return Ok(0);
        };
        let antes = self.recibido.len();
        self.recibido.resize(antes + largo, 0);
        let destino = &mut self.recibido[antes..];
        let abierto = abrir(&mut self.cifrado, destino);
        if abierto.is_err() {
            self.recibido.truncate(antes);
        }
        abierto
    }

    /// Descifra en `destino` los mensajes que ya llegaron, al menos uno; 0 es el fin.
    pub(super) fn leer_cifrado(
        &mut self,
        destino: &mut [u8],
        limite: Instant,
    ) -> Result<usize, FalloRed> {
        let Some(largo) = self.esperar_mensaje(limite, "datos", LECTURA_DE_DATOS)? else {
            return Ok(0);
        };
        if largo > destino.len() {
            self.recibir_cifrado(limite, "datos")?;
            let cuantos = destino.len();
            destino.copy_from_slice(&self.pendiente()[..cuantos]);
            self.consumir(cuantos);
            return Ok(cuantos);
        }
        let mut leidos = 0;
        while self.cabe_otro(destino.len() - leidos) {
            leidos += abrir(&mut self.cifrado, &mut destino[leidos..])?;
        }
        Ok(leidos)
    }

    fn cabe_otro(&self, sitio: usize) -> bool {
        let siguiente = self.cifrado.as_ref().and_then(Cifrado::siguiente);
        siguiente.is_some_and(|largo| largo <= sitio)
    }

    /// Espera a tener entero un mensaje que diga algo, y da su longitud. `None` es el fin. Lee del
    /// socket de `lectura` en `lectura` bytes.
    fn esperar_mensaje(
        &mut self,
        limite: Instant,
        que: &'static str,
        lectura: usize,
    ) -> Result<Option<usize>, FalloRed> {
        loop {
            let cifrado = self.cifrado.as_mut().expect("sólo se llama con clave");
            match cifrado.siguiente() {
                _ if cifrado.roto() => return Err(FalloRed::Alterado),
                Some(largo @ 1..) => return Ok(Some(largo)),
                // Vacío: se comprueba y se sigue.
                Some(0) => drop(abrir(&mut self.cifrado, &mut [])?),
                None => {
                    if self.traer(limite, que, lectura)? == 0 {
                        return self.fin_del_cifrado();
                    }
                }
            }
        }
    }

    /// Un fin a mitad de mensaje es un corte.
    fn fin_del_cifrado(&self) -> Result<Option<usize>, FalloRed> {
        self.nada_a_medias()
            .then_some(None)
            .ok_or(FalloRed::Cortada)
    }

    /// ¿No ha llegado una parte de un mensaje cifrado?
    pub(super) fn nada_a_medias(&self) -> bool {
        self.cifrado.as_ref().is_none_or(Cifrado::en_limpio)
    }

    /// Una lectura del socket, sin descifrar.
    fn traer(
        &mut self,
        limite: Instant,
        que: &'static str,
        lectura: usize,
    ) -> Result<usize, FalloRed> {
        let mut cifrado = self.cifrado.take().expect("sólo se llama con clave");
        let leido = self.traer_a(&mut cifrado, limite, que, lectura);
        cifrado.llegaron(*leido.as_ref().unwrap_or(&0));
        self.cifrado = Some(cifrado);
        leido
    }

    fn traer_a(
        &mut self,
        cifrado: &mut Cifrado,
        limite: Instant,
        que: &'static str,
        lectura: usize,
    ) -> Result<usize, FalloRed> {
        if cifrado.sin_sitio() {
            // Como sin cifrar: se reserva cuando ya hay algo que leer.
            self.esperar(limite, que, |socket| socket.peek(&mut [0]))?;
        }
        let sitio = cifrado.sitio(lectura);
        self.esperar(limite, que, |mut socket| socket.read(sitio))
    }

    /// Cifra y manda `bytes`; de lo que salga, `tope` bytes como mucho.
    pub(super) fn mandar_cifrado(&mut self, bytes: &[u8], tope: usize) -> Result<(), FalloRed> {
        let mut cifrado = self.cifrado.take().expect("sólo se llama con clave");
        let (mut caben, mut mandado) = (tope, Ok(()));
        for tanda in bytes.chunks(TANDA) {
            let cerrada = cifrado.cerrar(tanda).map_err(|_| FalloRed::Alterado);
            mandado = cerrada.and_then(|cerrada| {
                let sale = &cerrada[..cerrada.len().min(caben)];
                caben -= sale.len();
                self.mandar_en_claro(sale)
            });
            if mandado.is_err() || caben == 0 {
                break;
            }
        }
        self.cifrado = Some(cifrado);
        mandado
    }
}

fn abrir(cifrado: &mut Option<Cifrado>, destino: &mut [u8]) -> Result<usize, FalloRed> {
    let cifrado = cifrado.as_mut().ok_or(FalloRed::Cortada)?;
    cifrado.abrir(destino).map_err(|_| FalloRed::Alterado)
}
