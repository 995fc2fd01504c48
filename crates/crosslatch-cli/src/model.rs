//! The model that a command works on: which file, and what of it is latched.

use std::path::{Path, PathBuf};

use crosslatch::{Error, Model};

/// A model, and what of it to latch.
#[derive(clap::Args)]
pub struct ModelArgs {
    /// The model: a .pt2 file, or a folder that transformers' exporters wrote.
    #[arg(value_name = "M.pt2")]
    pub model: PathBuf,
    /// Inputs that stay the same for many runs: what depends on them alone is computed again only
    /// when one of them changes.
    #[arg(long, value_name = "INPUT", value_delimiter = ',')]
    pub latch: Vec<String>,
}

impl ModelArgs {
    /// Opens it.
    pub fn open(&self) -> Result<Model, Error> {
        open(&self.model, &self.latch)
    }
}

/// Opens a model and latches these inputs.
pub fn open(path: &Path, latch: &[String]) -> Result<Model, Error> {
    let model = Model::open(path)?;
    match latch {
        [] => Ok(model),
        inputs => model.latch(&inputs.iter().map(String::as_str).collect::<Vec<_>>()),
    }
}
