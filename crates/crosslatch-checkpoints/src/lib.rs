//! Opens checkpoints as models: what people have already, without Python and without exporting.
//!
//! A checkpoint has weights and a configuration, but no program. This crate builds the programs of
//! the families that it knows with the engine's own builder, in the form in which PyTorch exports
//! them: the cross-attention keys and values are computed once per input, inside the graph. The
//! engine plans and proves them as any other program. Weights are read from the mapped file in the
//! type that they have there.
//!
//! | checkpoint | families |
//! |---|---|
//! | Hugging Face folder: `config.json`, `model.safetensors` or shards of it | Whisper; Marian, M2M100, NLLB, BART, mBART, Pegasus; T5, T5 v1.1, flan, mT5 |
//! | faster-whisper's folder (CTranslate2): `config.json`, `model.bin` | Whisper |
//! | whisper.cpp's file: `ggml-tiny.en.bin` | Whisper |
//!
//! ```no_run
//! let model = crosslatch_checkpoints::open_model("whisper-tiny.en", crosslatch::Access::Map)?;
//! # Ok::<(), crosslatch_checkpoints::CheckpointError>(())
//! ```

#![forbid(unsafe_code)]

mod checkpoint;
mod encoding;
mod error;
mod formats;
mod layers;
mod sizes;
mod tensors;
mod text;
mod whisper;

use std::path::Path;

use crosslatch::{Access, Model};

pub use error::CheckpointError;
pub use formats::{Format, companions, tokenizer_parts};

/// What a checkpoint is, by its smallest file.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Kind {
    /// The format.
    pub format: Format,
    /// The family, as transformers calls it: `whisper`.
    pub family: String,
}

impl Kind {
    /// What a file or folder is; `None` if it is no checkpoint.
    pub fn of(path: impl AsRef<Path>) -> Option<Kind> {
        let path = path.as_ref();
        let format = Format::of(path)?;
        let family = match format {
            Format::HuggingFace => formats::family(path)?,
            Format::CTranslate2 | Format::Ggml => WHISPER.to_owned(),
        };
        Some(Kind { format, family })
    }

    /// Whether it is a model of speech.
    pub fn is_speech(&self) -> bool {
        self.family == WHISPER
    }

    /// Whether [`open`] builds models of this family.
    pub fn is_supported(&self) -> bool {
        self.is_speech() || text::Family::named(&self.family).is_some()
    }
}

/// The family of models of speech.
const WHISPER: &str = "whisper";

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
    let checkpoint = formats::read(path, access)?;
    if let Some(family) = text::Family::named(checkpoint.family()) {
        return text::model(checkpoint, family);
    }
    match checkpoint.family() {
        WHISPER => whisper::model(checkpoint),
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
