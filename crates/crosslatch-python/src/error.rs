//! Which exception an error becomes.
//!
//! There is one exception for everything that Crosslatch itself reports, with the text that the
//! command prints. What the operating system refuses is an `OSError`, as everywhere in Python: a
//! file that does not exist is a `FileNotFoundError`.

use std::path::Path;

use crosslatch_checkpoints::CheckpointError;
use crosslatch_hub::HubError;
use crosslatch_tasks::AudioError;
use pyo3::exceptions::{PyFileNotFoundError, PyOSError, PyRuntimeError};
use pyo3::prelude::*;

pyo3::create_exception!(
    crosslatch,
    Error,
    PyRuntimeError,
    "A model or an input cannot be used; the text says what is wrong, where, and what to do."
);

/// The exception for a failure that Crosslatch reports.
pub fn failure(message: impl std::fmt::Display) -> PyErr {
    Error::new_err(message.to_string())
}

/// The exception for an error of the engine.
pub fn engine(error: crosslatch::Error) -> PyErr {
    match &error {
        crosslatch::Error::Io { path, source } => {
            system(path, source).unwrap_or_else(|| failure(error))
        }
        _ => failure(error),
    }
}

/// The exception for a model that cannot be opened.
pub fn checkpoint(error: CheckpointError) -> PyErr {
    match error {
        CheckpointError::Model(error) => engine(error),
        CheckpointError::Io { path, source } => {
            let failed = failure(format!("{}: {source}", path.display()));
            system(&path, &source).unwrap_or(failed)
        }
        _ => failure(error),
    }
}

/// The exception for a model that cannot be had.
pub fn hub(error: HubError) -> PyErr {
    match error {
        HubError::Unknown { path } => {
            let text = HubError::Unknown { path: path.clone() }.to_string();
            let path = path.into_os_string();
            let prefix = format!("{}: ", path.display());
            let text = text.strip_prefix(&prefix).unwrap_or(&text).to_owned();
            PyFileNotFoundError::new_err((NOT_FOUND, text, path))
        }
        HubError::Io { path, source } => {
            let failed = failure(format!("{}: {source}", path.display()));
            system(&path, &source).unwrap_or(failed)
        }
        _ => failure(error),
    }
}

/// ENOENT, which is the same everywhere.
const NOT_FOUND: i32 = 2;

/// The exception for sound that cannot be read.
pub fn audio(error: AudioError) -> PyErr {
    match &error {
        AudioError::Io { file, source } => {
            system(Path::new(file), source).unwrap_or_else(|| failure(error))
        }
        _ => failure(error),
    }
}

/// The exception for an error of the operating system, of which Python chooses the subclass by the
/// error's number; `None` if there is no number.
fn system(path: &Path, source: &std::io::Error) -> Option<PyErr> {
    let number = source.raw_os_error()?;
    let mut text = source.to_string();
    // Rust appends the number, and so does Python.
    if let Some(end) = text.find(" (os error") {
        text.truncate(end);
    }
    Some(PyOSError::new_err((
        number,
        text,
        path.as_os_str().to_owned(),
    )))
}
