//! Which files of a repository a model needs.
//!
//! Repositories hold the same weights several times: for PyTorch, Flax, TensorFlow, in other types.
//! A model takes the safetensors file, or else its shards, or else CTranslate2's file; and beside it
//! the configurations and the tokenizer, those that there are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crosslatch_checkpoints::{Kind, companions, tokenizer_parts};
use serde::Deserialize;

use crate::cache::Snapshot;

/// The file that says what the model is.
pub const CONFIG: &str = "config.json";

/// The file that is a whole tokenizer.
const TOKENIZER: &str = "tokenizer.json";

const SAFETENSORS: &str = "model.safetensors";
/// The list of the shards of a large model.
pub const INDEX: &str = "model.safetensors.index.json";
const CTRANSLATE2: &str = "model.bin";

/// The kinds of weights, the best first.
const WEIGHTS: [&str; 3] = [SAFETENSORS, INDEX, CTRANSLATE2];

/// The file that has the weights, or that lists those that have them.
pub fn weights(has: impl Fn(&str) -> bool) -> Option<&'static str> {
    WEIGHTS.into_iter().find(|name| has(name))
}

/// The files beside the weights that a model uses, of a repository that has these.
#[cfg(feature = "download")]
pub fn companions_of(has: impl Fn(&str) -> bool) -> impl Iterator<Item = &'static str> {
    let needs_parts = !has(TOKENIZER);
    companions().chain(tokenizer_parts().filter(move |_| needs_parts))
}

/// The list of shards.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The shards that an index lists, each once.
///
/// # Errors
/// What is wrong with the index.
pub fn shards(index: &[u8]) -> Result<BTreeSet<String>, String> {
    let index: Index = serde_json::from_slice(index).map_err(|e| e.to_string())?;
    let shards: BTreeSet<String> = index.weight_map.into_values().collect();
    let leads_out = |name: &&String| Path::new(name).file_name() != Some(name.as_ref());
    match shards.iter().find(leads_out) {
        Some(outside) => Err(format!("`{outside}` is not a file of the repository")),
        None => Ok(shards),
    }
}

/// What a snapshot is good for without asking the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completeness {
    /// Everything is there that the repository has.
    Whole,
    /// What every model needs is there; whether the repository has more is not known.
    Usable,
    /// Something is missing without which no model can be opened.
    Lacking,
}

/// What of a model is in the cache.
pub fn completeness(snapshot: &Snapshot) -> Completeness {
    let has = |file: &str| snapshot.has(file);
    if !has(CONFIG) {
        return Completeness::Lacking;
    }
    let weights = weights(has);
    let is_there = match weights {
        None => false,
        Some(INDEX) => {
            let index = std::fs::read(snapshot.path().join(INDEX)).unwrap_or_default();
            shards(&index).is_ok_and(|shards| shards.iter().all(|shard| has(shard)))
        }
        Some(_) => true,
    };
    if !is_there {
        return Completeness::Lacking;
    }
    let is_known = |file: &str| has(file) || snapshot.lacks(file);
    let has_tokenizer = has(TOKENIZER) || tokenizer_parts().all(is_known);
    let has_all = companions().all(is_known) && has_tokenizer;
    // Other tools ask for what they need themselves, and mark nothing else as absent.
    let is_speech = || Kind::of(snapshot.path()).is_none_or(|kind| kind.is_speech());
    let has_enough = has(TOKENIZER)
        && (weights == Some(CTRANSLATE2)
            || is_known("generation_config.json")
                && (is_known("preprocessor_config.json") || !is_speech()));
    match has_all || has_enough {
        true => Completeness::Whole,
        false => Completeness::Usable,
    }
}
