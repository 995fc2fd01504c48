//! What a caller chooses when a model is opened: precision, threads, memory, mapping.

use crosslatch::{Access, MemoryLimit, Options, Precision};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// An amount of memory.
#[derive(FromPyObject)]
pub enum MemoryAmount {
    /// In bytes.
    Bytes(usize),
    /// As text, with a unit.
    Text(String),
}

/// How a file comes into memory.
pub fn access(map: bool) -> Access {
    match map {
        true => Access::Map,
        false => Access::Copy,
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
