//! The formats in which people have checkpoints, each brought into the form of transformers.

mod bytes;
mod ctranslate2;
mod folder;
mod ggml;
mod openai;
mod vocabulary;

use std::path::Path;

use crosslatch::Access;

use crate::checkpoint::Checkpoint;
use crate::error::CheckpointError;

pub use folder::family;

/// The format of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A Hugging Face folder.
    HuggingFace,
    /// A folder of CTranslate2.
    CTranslate2,
    /// A file of whisper.cpp.
    Ggml,
}

impl Format {
    /// That of what is at this path, if it is a checkpoint. Where a folder has weights in two
    /// formats, those of transformers are what the others were made of.
    pub fn of(path: &Path) -> Option<Format> {
        match path.is_dir() {
            true if folder::is_checkpoint(path) => Some(Format::HuggingFace),
            true if ctranslate2::is_ctranslate2(path) => Some(Format::CTranslate2),
            false if ggml::is_ggml(path) => Some(Format::Ggml),
            _ => None,
        }
    }
}

/// Reads a checkpoint.
///
/// # Errors
/// If it is none, or a file is missing or malformed.
pub fn read(path: &Path, access: Access) -> Result<Checkpoint, CheckpointError> {
    match Format::of(path) {
        Some(Format::Ggml) => ggml::read(path, access),
        Some(Format::CTranslate2) => ctranslate2::read(path, access),
        Some(Format::HuggingFace) | None => folder::read(path, access),
    }
}

/// Names of the files that a checkpoint's folder may have beside its weights, and that are used.
pub fn companions() -> impl Iterator<Item = &'static str> {
    folder::COMPANIONS
        .into_iter()
        .chain(ctranslate2::VOCABULARIES)
}

/// Names of the files that make a tokenizer where a checkpoint's folder has no `tokenizer.json`.
pub fn tokenizer_parts() -> impl Iterator<Item = &'static str> {
    folder::TOKENIZER_PARTS.into_iter()
}
