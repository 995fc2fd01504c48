//! A Hugging Face folder: the configuration, the files with weights, and the files beside them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crosslatch::Access;
use crosslatch::model::ModelBuilder;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::CheckpointError;
use crate::tensors::Tensors;

/// The file that says what the model is.
pub const CONFIG: &str = "config.json";

/// The file with all weights, and the list of files where there are several.
const WEIGHTS: &str = "model.safetensors";
const SHARDS: &str = "model.safetensors.index.json";

/// The list of programs in a folder that transformers' exporters wrote: it needs none built.
const EXPORTED: &str = "export.json";

/// Files that a model carries along, if the folder has them.
const EXTRA: [&str; 11] = [
    CONFIG,
    "generation_config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    // Tokenizers that are published as SentencePiece models.
    "source.spm",
    "target.spm",
    "vocab.json",
    "target_vocab.json",
    "sentencepiece.bpe.model",
    "spiece.model",
];

/// Whether a folder has a configuration and weights.
pub fn is_checkpoint(path: &Path) -> bool {
    let has = |name: &str| path.join(name).is_file();
    has(CONFIG) && (has(WEIGHTS) || has(SHARDS)) && !has(EXPORTED)
}

/// A folder whose files have been read or mapped.
pub struct Folder {
    /// Where it is.
    pub path: PathBuf,
    family: String,
    /// The model that is built of it.
    pub model: ModelBuilder,
    /// Its weights.
    pub tensors: Tensors,
}

/// What every configuration says.
#[derive(Deserialize)]
struct Kind {
    model_type: String,
}

/// The list of shards.
#[derive(Deserialize)]
struct Shards {
    weight_map: std::collections::HashMap<String, String>,
}

impl Folder {
    /// Reads the configuration and the headers of the files with weights.
    ///
    /// # Errors
    /// If a file is missing or malformed.
    pub fn read(path: &Path, access: Access) -> Result<Folder, CheckpointError> {
        let Kind { model_type } = json(&path.join(CONFIG))?;
        let mut folder = Folder {
            path: path.to_owned(),
            family: model_type,
            model: ModelBuilder::new(path, access),
            tensors: Tensors::default(),
        };
        for name in EXTRA {
            let file = path.join(name);
            if file.is_file() {
                folder.model.extra_file(name, &file)?;
            }
        }
        for name in folder.weight_files()? {
            let file = folder.model.file(&path.join(&name))?;
            let bytes = folder.model.files().bytes(file);
            let added = folder.tensors.add(file, bytes);
            added.map_err(|reason| folder.refuse(&name, reason))?;
        }
        Ok(folder)
    }

    fn weight_files(&self) -> Result<BTreeSet<String>, CheckpointError> {
        if self.path.join(WEIGHTS).is_file() {
            return Ok([WEIGHTS.to_owned()].into());
        }
        let index = self.path.join(SHARDS);
        if !index.is_file() {
            let reason = format!(
                "there is neither {WEIGHTS} nor {SHARDS} in the folder; weights in other formats \
                 are read by transformers, which `save_pretrained` writes as safetensors"
            );
            return Err(self.refuse("", reason));
        }
        let Shards { weight_map } = json(&index)?;
        let names: BTreeSet<String> = weight_map.into_values().collect();
        match names
            .iter()
            .find(|name| Path::new(name).file_name() != Some(name.as_ref()))
        {
            Some(outside) => {
                Err(self.refuse(SHARDS, format!("`{outside}` is not a file of the folder")))
            }
            None => Ok(names),
        }
    }

    /// What the configuration calls the family: `whisper`.
    pub fn family(&self) -> &str {
        &self.family
    }

    /// The configuration.
    ///
    /// # Errors
    /// If it lacks something that the family has.
    pub fn config<T: DeserializeOwned>(&self) -> Result<T, CheckpointError> {
        json(&self.path.join(CONFIG))
    }

    /// The error of a file of the folder.
    pub fn refuse(&self, file: &str, reason: String) -> CheckpointError {
        CheckpointError::File {
            path: self.path.join(file),
            reason,
        }
    }
}

fn json<T: DeserializeOwned>(path: &Path) -> Result<T, CheckpointError> {
    let text = std::fs::read(path).map_err(|source| CheckpointError::Io {
        path: path.to_owned(),
        source,
    })?;
    serde_json::from_slice(&text).map_err(|error| CheckpointError::File {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}
