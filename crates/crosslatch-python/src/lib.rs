//! The engine for Python: the extension module `crosslatch._engine`.
//!
//! Everything here is about the border between the two: what a Python object means as a tensor
//! (`inputs`), what a tensor is as a NumPy array (`outputs`), which exception an error becomes
//! (`error`), and who may use a session when (`session`). The engine itself knows nothing of
//! Python. The interpreter's lock is released whenever the engine works, so that sessions run side
//! by side.
//!
//! Inputs are read where they lie, through DLPack, by which array libraries lend each other memory.
//! For the rest the interpreter's stable interface is used, so that one binary serves CPython 3.10
//! and all later versions. `python/crosslatch/_engine.pyi` describes the module for Python, and
//! tests compare the two.

mod error;
mod idle;
mod inputs;
mod methods;
mod models;
mod options;
mod outputs;
mod process;
mod program;
mod session;
mod shown;
mod speech;
mod text;

use pyo3::prelude::*;

/// The engine of Crosslatch; `crosslatch` is the module to import.
#[pymodule]
mod _engine {
    #[pymodule_export]
    use super::error::Error;
    #[pymodule_export]
    use super::methods::{Method, TensorInfo};
    #[pymodule_export]
    use super::models::download;
    #[pymodule_export]
    use super::program::{Program, load};
    #[pymodule_export]
    use super::session::{Output, Session};
    #[pymodule_export]
    use super::speech::{
        Deltas, Segment, Stream, Transcriber, Transcript, Transcription, TranscriptionInfo, Update,
        Word, decode_audio,
    };
    #[pymodule_export]
    use super::text::{Generation, Generator};

    /// Version of the engine, which is that of the package.
    #[pymodule_export]
    #[expect(non_upper_case_globals, reason = "Python's name for it")]
    const __version__: &str = env!("CARGO_PKG_VERSION");
}
