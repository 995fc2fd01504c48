//! A loaded model: its methods and the files beside them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::PathBuf;

use crosslatch::{Model, Options};
use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::error::engine;
use crate::methods::Method;
use crate::models::open_model;
use crate::options::{Cache, MemoryAmount, Opening, options};
use crate::session::Session;

/// Loads a model: a `.pt2` file, a folder that transformers' exporters wrote, a checkpoint, or a name
/// on the hub such as "tiny.en", which is downloaded once; or, from a dictionary of methods and their
/// files, one model of several files.
///
/// Weights stay in the file, mapped into memory, and the file must then not be changed or
/// shortened; with `map=False` it is read into memory, and may be. In `precision` "bf16",
/// "int8" or "int4" those of linear layers are converted, once, when the first session is made.
/// `threads` is the number of threads that each session uses, all cores if it is `None`. `latch`
/// names inputs that stay the same for many runs: what depends on them alone is computed again only
/// when one of them changes. With `cache`, converted weights are kept, in that folder or, for `True`,
/// in crosslatch below the user's folder of caches, and mapped the next time.
#[pyfunction]
#[pyo3(signature = (path, *, precision = "f32", threads = None, latch = None, map = true, memory_limit = None, cache = None))]
#[expect(clippy::too_many_arguments, reason = "they are named in Python")]
pub fn load(
    py: Python<'_>,
    path: Location,
    precision: &str,
    threads: Option<usize>,
    latch: Option<Vec<String>>,
    map: bool,
    memory_limit: Option<MemoryAmount>,
    cache: Option<Cache>,
) -> PyResult<Program> {
    let options = options(precision, threads, memory_limit)?;
    let opening = Opening::new(map, cache)?;
    let latch: Vec<&str> = latch.iter().flatten().map(String::as_str).collect();
    let open = || match path.open(&opening)? {
        model if latch.is_empty() => Ok(model),
        model => model.latch(&latch).map_err(engine),
    };
    let model = py.detach(open)?;
    let path = model.path().map(PathBuf::from).unwrap_or_default();
    Ok(Program {
        model,
        options,
        path,
    })
}

/// Where a model is.
#[derive(FromPyObject)]
pub enum Location {
    /// In a file or folder.
    One(PathBuf),
    /// In a file for each method.
    Parts(BTreeMap<String, PathBuf>),
}

impl Location {
    fn open(&self, opening: &Opening) -> PyResult<Model> {
        match self {
            Location::One(path) => open_model(path, opening),
            Location::Parts(parts) => {
                let parts = parts.iter().map(|(n, path)| (n.as_str(), path.as_path()));
                let parts: Vec<_> = parts.collect();
                let model = Model::open_parts_with(&parts, opening.access).map_err(engine)?;
                Ok(opening.of(model))
            }
        }
    }
}

/// A loaded model. Its sessions share its weights.
#[pyclass(frozen, module = "crosslatch")]
pub struct Program {
    model: Model,
    options: Options,
    path: PathBuf,
}

#[pymethods]
impl Program {
    /// The file that the program was loaded from.
    #[getter]
    fn path(&self) -> &OsStr {
        self.path.as_os_str()
    }

    /// The methods by name.
    #[getter]
    fn methods<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let methods = PyDict::new(py);
        for method in self.model.methods() {
            methods.set_item(&method.program.name, Method::of(&method.program))?;
        }
        Ok(methods)
    }

    /// Names of the files beside the programs, such as `tokenizer.json`.
    #[getter]
    fn extra_files(&self) -> Vec<&str> {
        self.model.extra_files().collect()
    }

    /// The contents of one of them; `KeyError` if there is no such file.
    fn extra_file<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyBytes>> {
        match self.model.extra_file(name) {
            Some(bytes) => Ok(PyBytes::new(py, bytes)),
            None => Err(PyKeyError::new_err(name.to_owned())),
        }
    }

    /// A fresh session: state of its own, at the start.
    fn session(slf: &Bound<'_, Self>) -> PyResult<Session> {
        let Program {
            model,
            options,
            path,
        } = slf.get();
        Session::new(slf.as_any(), model, *options, path)
    }

    fn __repr__(&self) -> String {
        let methods: Vec<String> = self
            .model
            .methods()
            .iter()
            .map(|m| Method::of(&m.program).__repr__())
            .collect();
        let path = self.path.display();
        format!("<crosslatch.Program {path}: {}>", methods.join("; "))
    }
}
