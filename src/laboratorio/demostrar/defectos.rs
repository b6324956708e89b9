//! Los defectos de la guía, con el número que llevan en `practicas/ingenuo.rs`: una frase, el
//! archivo que lo arregla y el guion que lo enseña.

use crate::fallo::Fallo;
use crate::laboratorio::demostrar::banco::Banco;
use crate::laboratorio::demostrar::medida::Medida;
use crate::laboratorio::demostrar::{al_buscar, al_descargar, al_servir, en_el_menu};

/// Un defecto de la guía.
pub struct Defecto {
    /// El de su comentario en `practicas/ingenuo.rs`.
    pub numero: usize,
    /// Qué pasa, en una línea.
    pub frase: &'static str,
    /// Lo mismo, para una tabla.
    pub corto: &'static str,
    /// Qué se cuenta con cada nodo.
    pub que: &'static str,
    /// El archivo que lo arregla, desde `src/`.
    pub arreglo: &'static str,
    /// Cómo se provoca y se cuenta.
    pub guion: fn(&Banco) -> Result<Medida, Fallo>,
}

/// Todos, por orden de número.
pub const DEFECTOS: &[Defecto] = &[
    Defecto {
        numero: 1,
        frase: "No hay manera de terminar: Salir corta los envíos a la mitad",
        corto: "no hay manera de terminar",
        que: "envíos que se cortan al salir",
        arreglo: "red/parada.rs",
        guion: al_servir::no_hay_manera_de_terminar,
    },
    Defecto {
        numero: 2,
        frase: "Cualquier hilo pinta, y tapa la pregunta que se está contestando",
        corto: "cualquier hilo pinta",
        que: "preguntas que se pierden",
        arreglo: "consola/pantalla.rs",
        guion: en_el_menu::cualquier_hilo_pinta,
    },
    Defecto {
        numero: 3,
        frase: "Hilos sin tope ni dueño: uno por conexión, lleguen las que lleguen",
        corto: "hilos sin tope",
        que: "atendidas de más, con tope de 8",
        arreglo: "red/hilos.rs",
        guion: al_servir::hilos_sin_tope,
    },
    Defecto {
        numero: 4,
        frase: "Un cliente mudo retiene un hilo para siempre",
        corto: "un cliente mudo retiene un hilo",
        que: "mudos que siguen dentro",
        arreglo: "red/conexion.rs",
        guion: al_servir::un_cliente_mudo,
    },
    Defecto {
        numero: 5,
        frase: "Una lectura no es una petición: partida en dos paquetes, no se entiende",
        corto: "petición partida en dos paquetes",
        que: "veces que dice NO, y lo tiene",
        arreglo: "nodo/servidor.rs",
        guion: al_servir::una_peticion_partida,
    },
    Defecto {
        numero: 6,
        frase: "Con ../ o una ruta absoluta se sale de la carpeta compartida",
        corto: "con ../ se sale de la carpeta",
        que: "maneras de llevarse un secreto",
        arreglo: "nodo/carpeta/nombres.rs",
        guion: al_servir::salir_de_la_carpeta,
    },
    Defecto {
        numero: 7,
        frase: "BUSCAR: sin nombre dice SI, porque la carpeta existe",
        corto: "BUSCAR: vacío dice SI",
        que: "SI a lo que no es un archivo",
        arreglo: "nodo/carpeta/mod.rs",
        guion: al_servir::buscar_sin_nombre,
    },
    Defecto {
        numero: 8,
        frase: "Pregunta en serie: cada peer mudo hace esperar 2 s a los demás",
        corto: "búsqueda en serie con mudos",
        que: "espera con 3 mudos delante",
        arreglo: "nodo/cliente.rs",
        guion: al_buscar::busca_en_serie,
    },
    Defecto {
        numero: 9,
        frase: "Descarga de sí mismo, y así destruye el archivo",
        corto: "descarga de uno mismo",
        que: "archivos destruidos",
        arreglo: "nodo/vecinos.rs",
        guion: al_descargar::se_descarga_de_si_mismo,
    },
    Defecto {
        numero: 10,
        frase: "No poder preguntar parece un NO: no se sabe qué peer no contestó",
        corto: "no poder preguntar parece un NO",
        que: "peers apagados sin nombrar",
        arreglo: "nodo/acciones/mod.rs",
        guion: al_buscar::no_poder_preguntar_parece_un_no,
    },
    Defecto {
        numero: 11,
        frase: "Descarga de su propio puerto, y no del puerto del peer",
        corto: "descarga de su propio puerto",
        que: "descargas que se pierden",
        arreglo: "nodo/cliente.rs",
        guion: al_descargar::descarga_de_su_propio_puerto,
    },
    Defecto {
        numero: 12,
        frase: "El OK que llega pegado a los datos parece otra palabra",
        corto: "OK pegado a los datos",
        que: "descargas que se pierden",
        arreglo: "nodo/descarga/sin_comprobar.rs",
        guion: al_descargar::el_ok_pegado,
    },
    Defecto {
        numero: 13,
        frase: "Pisa el archivo que ya se tenía con ese nombre",
        corto: "pisa el archivo que se tenía",
        que: "archivos pisados",
        arreglo: "nodo/carpeta/a_medias.rs",
        guion: al_descargar::pisa_lo_que_habia,
    },
    Defecto {
        numero: 14,
        frase: "Un corte a media transferencia parece un éxito",
        corto: "un corte parece un éxito",
        que: "cortados que da por buenos",
        arreglo: "nodo/palabras/protocolo.rs",
        guion: al_descargar::un_corte_parece_un_exito,
    },
    Defecto {
        numero: 15,
        frase: "Un byte cambiado en el camino no lo nota nadie",
        corto: "un byte cambiado no se nota",
        que: "estropeados que da por buenos",
        arreglo: "nodo/carpeta/huella.rs",
        guion: al_descargar::un_byte_cambiado,
    },
    Defecto {
        numero: 16,
        frase: "Con el puerto ocupado, el menú sale igual y nadie escucha",
        corto: "con el puerto ocupado sigue",
        que: "menús sin servidor",
        arreglo: "nodo/arranque.rs",
        guion: en_el_menu::sin_servidor_y_con_menu,
    },
    Defecto {
        numero: 17,
        frase: "Elegir un número que no está en la lista acaba con el programa",
        corto: "una mala elección acaba con todo",
        que: "programas que se acaban",
        arreglo: "nodo/menu.rs",
        guion: en_el_menu::una_mala_eleccion_acaba_con_todo,
    },
];
