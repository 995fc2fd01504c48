//! The model that a command works on: which file, how it comes into memory, what of it is latched.

use std::path::{Path, PathBuf};

use crosslatch::{Access, Error, Model};

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
    #[command(flatten)]
    pub file: FileArgs,
}

/// How a model's file comes into memory.
#[derive(clap::Args)]
pub struct FileArgs {
    /// Read the model into memory instead of mapping its file, which must otherwise stay as it is
    /// while it is used.
    #[arg(long)]
    no_map: bool,
}

impl ModelArgs {
    /// Opens it.
    pub fn open(&self) -> Result<Model, Error> {
        open(&self.model, &self.latch, self.file.access(Access::Map))
    }
}

impl FileArgs {
    /// How, if nothing is asked for in particular.
    pub fn access(&self, usual: Access) -> Access {
        match self.no_map {
            true => Access::Copy,
            false => usual,
        }
    }
}

/// Opens a model and latches these inputs.
pub fn open(path: &Path, latch: &[String], access: Access) -> Result<Model, Error> {
    latched(Model::open_with(path, access)?, latch)
}

/// The model with these inputs latched.
pub fn latched(model: Model, latch: &[String]) -> Result<Model, Error> {
    match latch {
        [] => Ok(model),
        inputs => model.latch(&inputs.iter().map(String::as_str).collect::<Vec<_>>()),
    }
}
