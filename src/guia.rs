//! Los textos de la guía, en un solo sitio: el programa los pinta de aquí y las pruebas los esperan
//! de aquí, así que se pueden cambiar sin romper nada.
//!
//! Los del menú están en `nodo/menu.rs`, a la vista. `practicas/ingenuo.rs` no usa estos: lleva los
//! suyos escritos donde van, porque se lee con la guía al lado.

// ----- SERVIDOR DEL NODO -----
/// Detrás va el puerto.
pub const ESCUCHANDO: &str = "[ESCUCHANDO] Nodo activo en puerto";
/// Detrás va de dónde.
pub const CONEXION: &str = "[CONEXIÓN] Desde";
/// Detrás va el archivo.
pub const ENVIO_COMPLETO: &str = "[ENVÍO COMPLETO]";

// ----- CLIENTE DEL NODO -----
/// Detrás va el archivo.
pub const DESCARGADO: &str = "[DESCARGADO EN COMPARTIDOS]";
/// Detrás va la frase.
pub const NO_ENCONTRADO: &str = "[NO ENCONTRADO]";
/// Detrás va el motivo.
pub const ERROR_AL_DESCARGAR: &str = "[ERROR AL DESCARGAR]";

// ----- Menú principal -----
/// La pregunta del menú.
pub const SELECCIONE: &str = "Seleccione una opción: ";
/// Delante de los archivos de este nodo.
pub const ARCHIVOS_DISPONIBLES: &str = "Archivos disponibles en este nodo:";
/// Qué se busca.
pub const QUE_ARCHIVO: &str = "Nombre del archivo que deseas buscar: ";
/// Nadie lo tiene.
pub const NO_SE_ENCONTRO: &str = "No se encontró ese archivo en la red.";
/// Delante de los nodos que lo tienen.
pub const DISPONIBLE_EN: &str = "Archivo disponible en:";
/// De cuál de ellos.
pub const DE_DONDE: &str = "Selecciona de dónde deseas descargar (número): ";
/// Al salir.
pub const SALIENDO: &str = "Saliendo...";
/// No es una de las que hay.
pub const OPCION_INVALIDA: &str = "Opción inválida.";
