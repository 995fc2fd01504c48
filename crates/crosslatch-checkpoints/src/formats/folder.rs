//! A Hugging Face folder: the configuration, the files with weights, and the files beside them.

use std::collections::BTreeSet;
use std::path::Path;

use crosslatch::Access;
use serde::Deserialize;

use crate::checkpoint::{CONFIG, Checkpoint, json};
use crate::error::CheckpointError;

/// The file with all weights, and the list of files where there are several.
const WEIGHTS: &str = "model.safetensors";
const SHARDS: &str = "model.safetensors.index.json";

/// The list of programs in a folder that transformers' exporters wrote: it needs none built.
const EXPORTED: &str = "export.json";

/// Files that a model carries along, if its folder has them.
pub const COMPANIONS: [&str; 5] = [
    CONFIG,
    "generation_config.json",
    "preprocessor_config.json",
    TOKENIZER,
    "tokenizer_config.json",
];

/// The file that is a whole tokenizer.
const TOKENIZER: &str = "tokenizer.json";

/// Files that make a tokenizer where there is no such file: SentencePiece models and vocabularies.
pub const TOKENIZER_PARTS: [&str; 6] = [
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

/// The family that the configuration of a folder names, such as `whisper`; `None` if it has none.
pub fn family(path: &Path) -> Option<String> {
    let kind: Kind = json(&path.join(CONFIG)).ok()?;
    Some(kind.model_type)
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

/// Reads the configuration and the headers of the files with weights.
///
/// # Errors
/// If a file is missing or malformed.
pub fn read(path: &Path, access: Access) -> Result<Checkpoint, CheckpointError> {
    let Kind { model_type } = json(&path.join(CONFIG))?;
    let mut checkpoint = Checkpoint::new(path, &model_type, access);
    let parts: &[&str] = match path.join(TOKENIZER).is_file() {
        true => &[],
        false => &TOKENIZER_PARTS,
    };
    for name in COMPANIONS.iter().chain(parts) {
        if path.join(name).is_file() {
            checkpoint.add_file(name)?;
        }
    }
    for name in weight_files(&checkpoint)? {
        let file = checkpoint.model.file(&path.join(&name))?;
        let bytes = checkpoint.model.files().bytes(file);
        let added = checkpoint.tensors.add(file, bytes);
        added.map_err(|reason| checkpoint.refuse(&name, reason))?;
    }
    Ok(checkpoint)
}

fn weight_files(checkpoint: &Checkpoint) -> Result<BTreeSet<String>, CheckpointError> {
    let path = &checkpoint.path;
    if path.join(WEIGHTS).is_file() {
        return Ok([WEIGHTS.to_owned()].into());
    }
    let index = path.join(SHARDS);
    if !index.is_file() {
        let reason = format!(
            "there is neither {WEIGHTS} nor {SHARDS} in the folder; weights in other formats \
             are read by transformers, which `save_pretrained` writes as safetensors"
        );
        return Err(checkpoint.refuse("", reason));
    }
    let Shards { weight_map } = json(&index)?;
    let names: BTreeSet<String> = weight_map.into_values().collect();
    match names
        .iter()
        .find(|name| Path::new(name).file_name() != Some(name.as_ref()))
    {
        Some(outside) => {
            let reason = format!("`{outside}` is not a file of the folder");
            Err(checkpoint.refuse(SHARDS, reason))
        }
        None => Ok(names),
    }
}
