//! Models by path or name. A download can be interrupted, and shown if a callable asks for it.

use std::ffi::OsString;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crosslatch::Model;
use crosslatch_hub::{Hub, Progress};
use pyo3::prelude::*;

use crate::error::{checkpoint, hub};
use crate::options::Opening;

/// How often the interpreter is asked about interrupts, and `progress` is called.
const OFTEN: Duration = Duration::from_millis(100);

/// Opens a model. The caller does not hold the interpreter's lock.
pub fn open_model(named: &Path, opening: &Opening) -> PyResult<Model> {
    let path = locate(named, None)?;
    let model = crosslatch_checkpoints::open_model(path, opening.access).map_err(checkpoint)?;
    Ok(opening.of(model))
}

/// Downloads a model into the Hugging Face cache unless it is there, and returns the path of its
/// folder; what is a path already is returned as it is. `progress` is called now and then with the
/// bytes that have arrived and the bytes of all files.
#[pyfunction]
#[pyo3(signature = (name, *, progress = None))]
pub fn download(py: Python<'_>, name: PathBuf, progress: Option<Py<PyAny>>) -> PyResult<OsString> {
    let path = py.detach(|| locate(&name, progress.as_ref()))?;
    Ok(path.into_os_string())
}

fn locate(named: &Path, progress: Option<&Py<PyAny>>) -> PyResult<PathBuf> {
    let mut failure = None;
    let mut last: Option<Instant> = None;
    let mut observer = |state: Progress<'_>| {
        let is_end = state.done == state.total;
        if !is_end && last.is_some_and(|last| last.elapsed() < OFTEN) {
            return ControlFlow::Continue(());
        }
        last = Some(Instant::now());
        let outcome = Python::attach(|py| {
            py.check_signals()?;
            match progress {
                Some(progress) => progress.call1(py, (state.done, state.total)).map(drop),
                None => Ok(()),
            }
        });
        match outcome {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        }
    };
    let found = Hub::from_environment().locate(named, &mut observer);
    found.map_err(|error| failure.unwrap_or_else(|| hub(error)))
}
