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
//! | Hugging Face folder: `config.json`, `model.safetensors` or shards of it | Whisper |
//! | faster-whisper's folder (CTranslate2): `config.json`, `model.bin` | Whisper |
//! | whisper.cpp's file: `ggml-tiny.en.bin` | Whisper |
//!
//! ```no_run
//! let model = crosslatch_checkpoints::open_model("whisper-tiny.en", crosslatch::Access::Map)?;
//! # Ok::<(), crosslatch_checkpoints::CheckpointError>(())
//! ```

#![forbid(unsafe_code)]

mod bytes;
mod checkpoint;
mod ctranslate2;
mod encoding;
mod error;
mod folder;
mod ggml;
mod openai;
mod tensors;
mod vocabulary;
mod whisper;

use std::path::Path;

use crosslatch::{Access, Model};

pub use error::CheckpointError;
pub use folder::family;

/// The format of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    HuggingFace,
    CTranslate2,
    Ggml,
}

impl Format {
    /// That of what is at this path, if it is a checkpoint. Weights of a Hugging Face folder come
    /// first, because they are what others are made of.
    fn of(path: &Path) -> Option<Format> {
        match path.is_dir() {
            true if folder::is_checkpoint(path) => Some(Format::HuggingFace),
            true if ctranslate2::is_ctranslate2(path) => Some(Format::CTranslate2),
            false if ggml::is_ggml(path) => Some(Format::Ggml),
            _ => None,
        }
    }
}

/// Names of the files that a checkpoint's folder may have beside its weights, and that are used.
pub fn companions() -> impl Iterator<Item = &'static str> {
    folder::COMPANIONS
        .into_iter()
        .chain(ctranslate2::VOCABULARIES)
}

/// Whether [`open`] reads this as a checkpoint.
pub fn is_checkpoint(path: impl AsRef<Path>) -> bool {
    Format::of(path.as_ref()).is_some()
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
    let path = path.as_ref();
    let checkpoint = match Format::of(path) {
        Some(Format::Ggml) => ggml::read(path, access)?,
        Some(Format::CTranslate2) => ctranslate2::read(path, access)?,
        Some(Format::HuggingFace) | None => folder::read(path, access)?,
    };
    match checkpoint.family() {
        "whisper" => whisper::model(checkpoint),
        other => Err(checkpoint.refuse(
            checkpoint::CONFIG,
            format!(
                "Crosslatch does not build models of type `{other}` itself; export the checkpoint \
                 with `crosslatch-export {} OUT.pt2`",
                path.display()
            ),
        )),
    }
}
