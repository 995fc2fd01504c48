//! The model that a command works on: which file, how it is read, and which inputs are latched.

use std::path::{Path, PathBuf};

use crosslatch::{Access, Error, Model};
use crosslatch_checkpoints::{CheckpointError, open_model};

use crate::CommandError;

/// Where the bundled model lies, relative to the folder of the program: beside an installed
/// program, or in the source tree above a built one.
const BUNDLED: [&str; 3] = [
    "model.pt2",
    "../share/crosslatch/model.pt2",
    "../../demo/model.pt2",
];

/// A model and the inputs to latch.
#[derive(clap::Args)]
pub struct ModelArgs {
    /// The model: a .pt2 file, a folder that transformers' exporters wrote, or a Hugging Face folder.
    #[arg(value_name = "M.pt2")]
    pub model: PathBuf,
    /// Inputs that stay the same for many runs: what depends on them alone is computed again only
    /// when one of them changes.
    #[arg(long, value_name = "INPUT", value_delimiter = ',')]
    pub latch: Vec<String>,
    #[command(flatten)]
    pub file: FileArgs,
}

/// How a model's file is read.
#[derive(clap::Args)]
pub struct FileArgs {
    /// Read the model into memory instead of mapping its file, which must otherwise stay as it is
    /// while it is used.
    #[arg(long)]
    no_map: bool,
}

impl ModelArgs {
    /// Opens the model and latches these inputs.
    pub fn open(&self) -> Result<Model, CheckpointError> {
        open(&self.model, &self.latch, self.file.access(Access::Map))
    }
}

impl FileArgs {
    /// How to read the file: as asked for on the command line, otherwise as is usual for the
    /// command.
    pub fn access(&self, usual: Access) -> Access {
        match self.no_map {
            true => Access::Copy,
            false => usual,
        }
    }
}

/// Opens a model and latches these inputs.
pub fn open(path: &Path, latch: &[String], access: Access) -> Result<Model, CheckpointError> {
    Ok(latched(open_model(path, access)?, latch)?)
}

/// The model with these inputs latched.
pub fn latched(model: Model, latch: &[String]) -> Result<Model, Error> {
    match latch {
        [] => Ok(model),
        inputs => model.latch(&inputs.iter().map(String::as_str).collect::<Vec<_>>()),
    }
}

/// Names the model to use where the command line names none.
const DEFAULT: &str = "CROSSLATCH_MODEL";

/// The model for speech: the one that is named on the command line or by `CROSSLATCH_MODEL`, or
/// else the bundled one, about which a note on standard error says what it is for.
pub fn speech_model(named: Option<&Path>) -> Result<PathBuf, CommandError> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    if let Some(path) = std::env::var_os(DEFAULT).filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    let path = bundled_model()?;
    eprintln!(
        "note: the bundled model knows a few voice commands only; for real speech, \
         name a Whisper model with --model or in {DEFAULT}: a Hugging Face folder such as \
         openai/whisper-tiny.en (`hf download openai/whisper-tiny.en --local-dir whisper-tiny.en`), \
         or a .pt2 file"
    );
    Ok(path)
}

/// The file of the bundled model.
fn bundled_model() -> Result<PathBuf, CommandError> {
    let program = std::env::current_exe()?;
    let folder = program.parent().unwrap_or(Path::new("."));
    BUNDLED
        .iter()
        .map(|relative| folder.join(relative))
        .find(|path| path.is_file())
        .ok_or_else(|| "the bundled model is not beside the program; name one with --model".into())
}
