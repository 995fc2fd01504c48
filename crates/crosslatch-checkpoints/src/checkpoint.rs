//! A checkpoint whose files have been read or mapped, whatever their format.
//!
//! Readers of formats bring what they find into the form of transformers: its names for tensors, and its
//! configuration. So the families know one form only.

use std::path::{Path, PathBuf};

use crosslatch::Access;
use crosslatch::model::ModelBuilder;
use serde::de::DeserializeOwned;

use crate::error::CheckpointError;
use crate::tensors::Tensors;

/// The file that says what the model is.
pub const CONFIG: &str = "config.json";

/// A checkpoint.
pub struct Checkpoint {
    /// Where it is: a folder or a file.
    pub path: PathBuf,
    family: String,
    config: Vec<u8>,
    /// The model that is built of it.
    pub model: ModelBuilder,
    /// Its weights.
    pub tensors: Tensors,
}

impl Checkpoint {
    /// One of this family, without anything else.
    pub fn new(path: &Path, family: &str, access: Access) -> Checkpoint {
        Checkpoint {
            path: path.to_owned(),
            family: family.to_owned(),
            config: Vec::new(),
            model: ModelBuilder::new(path, access),
            tensors: Tensors::default(),
        }
    }

    /// Adds the file of this name that lies in the checkpoint's folder.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn add_file(&mut self, name: &str) -> Result<(), CheckpointError> {
        let path = self.path.join(name);
        if name == CONFIG {
            self.config = contents(&path)?;
        }
        Ok(self.model.extra_file(name, &path)?)
    }

    /// Adds a file that the checkpoint does not have, with these contents.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn add_contents(&mut self, name: &str, contents: &str) -> Result<(), CheckpointError> {
        if name == CONFIG {
            self.config = contents.into();
        }
        Ok(self.model.extra_contents(name, contents.as_bytes())?)
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
        serde_json::from_slice(&self.config).map_err(|e| self.refuse(CONFIG, e.to_string()))
    }

    /// The error of a file of the checkpoint.
    pub fn refuse(&self, file: &str, reason: String) -> CheckpointError {
        let path = match self.path.is_dir() {
            true => self.path.join(file),
            false => self.path.clone(),
        };
        CheckpointError::File { path, reason }
    }
}

/// What is in a JSON file.
///
/// # Errors
/// If it cannot be read, or lacks something.
pub fn json<T: DeserializeOwned>(path: &Path) -> Result<T, CheckpointError> {
    serde_json::from_slice(&contents(path)?).map_err(|error| CheckpointError::File {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

fn contents(path: &Path) -> Result<Vec<u8>, CheckpointError> {
    std::fs::read(path).map_err(|source| CheckpointError::Io {
        path: path.to_owned(),
        source,
    })
}
