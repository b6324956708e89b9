//! Lo que se puede pedir para encontrarse con los demás. Sólo se declara aquí: quien decide a quién
//! se cree es `descubrir.rs`, y a quién se deja escribir, `nodo/vecinos.rs`.

use clap::Args;

/// Cómo se encuentra un nodo con los demás, y a quién deja escribir.
#[derive(Debug, Clone, Default, Args)]
pub struct Encuentro {
    /// Se anuncia en la red local y añade a los nodos que oiga
    // Con `bool`, clap lo daría por escrito aunque no lo esté.
    #[arg(long, num_args = 0, default_missing_value = "true")]
    pub descubrir: Option<bool>,
    /// Recibe archivos también de quien no se escribió: de los oídos y los del maestro
    #[arg(long, num_args = 0, default_missing_value = "true")]
    pub recibir_de_conocidos: Option<bool>,
}

impl Encuentro {
    /// ¿Se anuncia y busca a los demás?
    pub fn descubre(&self) -> bool {
        self.descubrir.unwrap_or_default()
    }
}
