//! Opens checkpoints as models: what people have already, without Python and without exporting.
//!
//! A checkpoint has weights and a configuration, but no program. This crate builds the programs of
//! the families that it knows with the engine's own builder, in the form in which PyTorch exports
//! them: the cross-attention keys and values are computed once per input, inside the graph. The
//! engine plans and proves them as any other program. Weights of type `f32` are read from the
//! mapped file.
//!
//! | checkpoint | families |
//! |---|---|
//! | Hugging Face folder: `config.json`, `model.safetensors` or shards of it | Whisper; Marian, M2M100, NLLB, BART, mBART, Pegasus; T5, T5 v1.1, flan, mT5 |
//!
//! ```no_run
//! let model = crosslatch_checkpoints::open_model("whisper-tiny.en", crosslatch::Access::Map)?;
//! # Ok::<(), crosslatch_checkpoints::CheckpointError>(())
//! ```

#![forbid(unsafe_code)]

mod error;
mod folder;
mod layers;
mod sizes;
mod tensors;
mod text;
mod whisper;

use std::path::Path;

use crosslatch::{Access, Model};

pub use error::CheckpointError;

/// Whether [`open`] reads this as a checkpoint: a folder with a `config.json` and weights.
pub fn is_checkpoint(path: impl AsRef<Path>) -> bool {
    folder::is_checkpoint(path.as_ref())
}

/// Opens a model, whatever it is: a `.pt2` file, a folder that transformers' exporters wrote, or a
/// checkpoint. Files are mapped or copied as `access` says.
///
/// # Errors
/// As for [`Model::open_with`] and [`open`].
pub fn open_model(path: impl AsRef<Path>, access: Access) -> Result<Model, CheckpointError> {
    match is_checkpoint(&path) {
        true => open(path, access),
        false => Ok(Model::open_with(path, access)?),
    }
}

/// Opens a checkpoint. Files are mapped or copied as `access` says.
///
/// # Errors
/// If a file is missing or malformed, or the checkpoint is of an unknown family.
pub fn open(path: impl AsRef<Path>, access: Access) -> Result<Model, CheckpointError> {
    let folder = folder::Folder::read(path.as_ref(), access)?;
    if let Some(family) = text::Family::named(folder.family()) {
        return text::model(folder, family);
    }
    match folder.family() {
        "whisper" => whisper::model(folder),
        other => Err(folder.refuse(
            folder::CONFIG,
            format!(
                "Crosslatch does not build models of type `{other}` itself; export the checkpoint \
                 with `crosslatch-export {} OUT.pt2`",
                path.as_ref().display()
            ),
        )),
    }
}
