//! The engine for Python: the extension module `crosslatch._engine`.
//!
//! Everything here is about the border. What a Python object means as a tensor (`inputs`), what a
//! tensor is as a NumPy array (`outputs`), which exception an error becomes (`error`), and who
//! may use a session when (`session`); the engine itself knows nothing of Python. The interpreter
//! lock is released whenever the engine works, so that sessions run side by side.
//!
//! Inputs are read where they lie, through DLPack, which is how array libraries lend each other
//! their memory. The interpreter's stable interface does the rest, so that one binary serves CPython
//! 3.10 and all that follow. `python/crosslatch/_engine.pyi` says what the module looks like from
//! Python; tests hold it to that.

mod error;
mod idle;
mod inputs;
mod numbers;
mod outputs;
mod process;
mod program;
mod session;
mod speech;
mod text;
mod transcription;

use pyo3::prelude::*;

/// The engine of Crosslatch; `crosslatch` is the module to import.
#[pymodule]
mod _engine {
    #[pymodule_export]
    use super::error::Error;
    #[pymodule_export]
    use super::program::{Method, Program, TensorInfo, load};
    #[pymodule_export]
    use super::session::{Output, Session};
    #[pymodule_export]
    use super::speech::Transcriber;
    #[pymodule_export]
    use super::text::{Generation, Generator};
    #[pymodule_export]
    use super::transcription::{Segment, Transcript, Transcription};
}
