//! What a caller chooses when a model is opened: precision, threads, memory, mapping, and whether
//! converted weights are kept.

use std::path::PathBuf;

use crosslatch::{Access, MemoryLimit, Model, Options, Precision};
use crosslatch_hub::own_cache;
use crosslatch_tasks::Grammar;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::error::failure;

/// An amount of memory.
#[derive(FromPyObject)]
pub enum MemoryAmount {
    /// In bytes.
    Bytes(usize),
    /// As text, with a unit.
    Text(String),
}

/// Whether converted weights are kept, and where.
#[derive(FromPyObject)]
pub enum Cache {
    /// In the user's folder of caches, or not.
    Flag(bool),
    /// In this folder.
    Folder(PathBuf),
}

/// How a model is opened.
pub struct Opening {
    /// How its files come into memory.
    pub access: Access,
    /// Where converted weights are kept, if they are.
    pub kept_in: Option<PathBuf>,
}

impl Opening {
    /// As a caller asked for it.
    pub fn new(map: bool, cache: Option<Cache>) -> PyResult<Opening> {
        let kept_in = match cache {
            None | Some(Cache::Flag(false)) => None,
            Some(Cache::Folder(folder)) => Some(folder),
            Some(Cache::Flag(true)) => match own_cache() {
                Some(folder) => Some(folder),
                None => {
                    return Err(PyValueError::new_err(
                        "there is no folder of caches; name one, cache=\"FOLDER\", or set \
                         XDG_CACHE_HOME",
                    ));
                }
            },
        };
        let access = match map {
            true => Access::Map,
            false => Access::Copy,
        };
        Ok(Opening { access, kept_in })
    }

    /// The model, which keeps converted weights if that was asked for.
    pub fn of(&self, model: Model) -> Model {
        if let Some(folder) = &self.kept_in {
            model.keep_weights_in(folder);
        }
        model
    }
}

/// The engine's options, from what a caller gave.
pub fn options(
    precision: &str,
    threads: Option<usize>,
    memory_limit: Option<MemoryAmount>,
) -> PyResult<Options> {
    let precision = precision
        .parse::<Precision>()
        .map_err(|e| PyValueError::new_err(e.to_string()))?;
    let mut options = Options {
        precision,
        ..Options::default()
    };
    match threads {
        Some(0) => return Err(PyValueError::new_err("threads is 0; give at least 1")),
        Some(threads) => options.threads = threads,
        None => {}
    }
    match memory_limit {
        Some(MemoryAmount::Bytes(bytes)) => options.memory_limit = MemoryLimit::bytes(bytes),
        Some(MemoryAmount::Text(text)) => {
            let limit = text.parse::<MemoryLimit>();
            options.memory_limit = limit.map_err(|e| PyValueError::new_err(e.to_string()))?;
        }
        None => {}
    }
    Ok(options)
}

/// The grammar that a text is to obey, from its text.
pub fn grammar(text: Option<&str>) -> PyResult<Option<Grammar>> {
    let wrong = |e| failure(format!("grammar: {e}"));
    text.map(Grammar::parse).transpose().map_err(wrong)
}
