//! A loaded model: its methods, what they take and return, and the files beside them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::PathBuf;

use crosslatch::ir::Size;
use crosslatch::ir::graph::{Arg, Output, SlotKind, ValueType};
use crosslatch::{Access, DType, MemoryLimit, Model, Options, Precision};
use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};

use crate::error::{engine, failure};
use crate::outputs::dtype_name;
use crate::session::Session;

/// Loads a `.pt2` file, or a folder that transformers' exporters wrote; or, from a dictionary of
/// methods and their files, one model of several files.
///
/// Weights stay in the file, mapped into memory, and the file must then not be changed or shortened;
/// with `map=False` it is read into memory, and may be. In `precision` "bf16" or "int8" those of linear
/// layers are converted, once, when the first session is made. `threads` is the number of threads that each
/// session uses, all cores if it is `None`. `latch` names inputs that stay the same for many runs:
/// what depends on them alone is computed again only when one of them changes.
#[pyfunction]
#[pyo3(signature = (path, *, precision = "f32", threads = None, latch = None, map = true, memory_limit = None))]
pub fn load(
    py: Python<'_>,
    path: Place,
    precision: &str,
    threads: Option<usize>,
    latch: Option<Vec<String>>,
    map: bool,
    memory_limit: Option<MemoryAmount>,
) -> PyResult<Program> {
    let options = options(precision, threads, memory_limit)?;
    let latch: Vec<&str> = latch.iter().flatten().map(String::as_str).collect();
    let open = || match path.open(access(map))? {
        model if latch.is_empty() => Ok(model),
        model => model.latch(&latch),
    };
    let model = py.detach(open).map_err(engine)?;
    let path = model.path().map(PathBuf::from).unwrap_or_default();
    Ok(Program {
        model,
        options,
        path,
    })
}

/// Where a model is.
#[derive(FromPyObject)]
pub enum Place {
    /// In a file or folder.
    One(PathBuf),
    /// In a file for each method.
    Parts(BTreeMap<String, PathBuf>),
}

impl Place {
    fn open(&self, access: Access) -> Result<Model, crosslatch::Error> {
        match self {
            Place::One(path) => Model::open_with(path, access),
            Place::Parts(parts) => {
                let parts = parts.iter().map(|(n, path)| (n.as_str(), path.as_path()));
                Model::open_parts_with(&parts.collect::<Vec<_>>(), access)
            }
        }
    }
}

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

/// What a caller may choose about running, checked.
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

/// A loaded model. Its sessions share its weights.
#[pyclass(frozen, module = "crosslatch")]
pub struct Program {
    pub model: Model,
    pub options: Options,
    pub path: PathBuf,
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
        Session::new(slf)
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

impl Program {
    /// Index of a method.
    pub fn method(&self, name: &str) -> PyResult<&crosslatch::ir::Program> {
        let index = self.model.method_index(name).map_err(engine)?;
        Ok(&self.model.methods()[index].program)
    }

    /// Refuses a name that is no output of a method.
    pub fn check_output(&self, method: &str, name: &str) -> PyResult<()> {
        let outputs = Method::of(self.method(method)?).outputs;
        if outputs.iter().any(|o| o.name == name) {
            return Ok(());
        }
        let known: Vec<String> = outputs.iter().map(|o| format!("`{}`", o.name)).collect();
        Err(failure(format!(
            "method `{method}` has no output `{name}`; its outputs are {}",
            known.join(", ")
        )))
    }
}

/// What a method takes and returns.
#[pyclass(frozen, module = "crosslatch", get_all)]
pub struct Method {
    /// Its name.
    name: String,
    /// Its inputs.
    inputs: Vec<TensorInfo>,
    /// Its outputs.
    outputs: Vec<TensorInfo>,
    /// Smallest and largest value of each symbolic size; the largest is `None` if there is none.
    sizes: BTreeMap<String, (i64, Option<i64>)>,
}

#[pymethods]
impl Method {
    fn __repr__(&self) -> String {
        let list = |tensors: &[TensorInfo]| {
            let texts: Vec<String> = tensors.iter().map(|t| t.__repr__()).collect();
            texts.join(", ")
        };
        format!(
            "{}({}) -> {}",
            self.name,
            list(&self.inputs),
            list(&self.outputs)
        )
    }
}

impl Method {
    fn of(program: &crosslatch::ir::Program) -> Method {
        let graph = &program.graph;
        let inputs = crosslatch::inputs::input_slots(program)
            .map(|(slot, name)| TensorInfo::of(name, &graph.value(graph.inputs[slot]).ty));
        let outputs = program.outputs.iter().zip(&graph.outputs);
        let outputs = outputs.filter_map(|(output, value)| {
            let name = match output {
                Output::User(name) => name,
                // A changed input is returned, under the input's name.
                Output::Mutation { slot } if program.slots[*slot].kind != SlotKind::State => {
                    &program.slots[*slot].name
                }
                Output::Mutation { .. } => return None,
            };
            let ty = match value {
                Arg::Value(id) => &graph.value(*id).ty,
                Arg::Int(_) => &ValueType::Int,
                Arg::Float(_) => &ValueType::Float,
                Arg::Bool(_) => &ValueType::Bool,
                _ => return None,
            };
            Some(TensorInfo::of(name, ty))
        });
        let sizes = program.symbols.iter();
        Method {
            name: program.name.clone(),
            inputs: inputs.collect(),
            outputs: outputs.collect(),
            sizes: sizes.map(|s| (s.name.clone(), (s.min, s.max))).collect(),
        }
    }
}

/// Name, element type and shape of an input or output.
#[pyclass(frozen, module = "crosslatch", from_py_object)]
#[derive(Clone)]
pub struct TensorInfo {
    /// Its name.
    #[pyo3(get)]
    name: String,
    /// The element type, as NumPy calls it: `float32`, `int64`, `bool`, …
    #[pyo3(get)]
    dtype: &'static str,
    shape: Vec<Length>,
}

/// Length of a dimension: a number, or an expression over symbols such as `s0 + 1`.
#[derive(Clone, IntoPyObject)]
enum Length {
    Fixed(i64),
    Symbolic(String),
}

#[pymethods]
impl TensorInfo {
    /// Length of each dimension: a number, or an expression over the names in `Method.sizes`.
    #[getter]
    fn shape<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.shape.clone())
    }

    fn __repr__(&self) -> String {
        let lengths: Vec<String> = self
            .shape
            .iter()
            .map(|length| match length {
                Length::Fixed(n) => n.to_string(),
                Length::Symbolic(text) => text.clone(),
            })
            .collect();
        format!("{}: {}[{}]", self.name, self.dtype, lengths.join(", "))
    }
}

impl TensorInfo {
    fn of(name: &str, ty: &ValueType) -> TensorInfo {
        // A number that a program returns comes out as a tensor without dimensions.
        let (dtype, sizes) = match ty {
            ValueType::Tensor(ty) => (ty.dtype, &ty.sizes[..]),
            ValueType::Int => (DType::I64, &[][..]),
            ValueType::Float => (DType::F64, &[][..]),
            ValueType::Bool => (DType::Bool, &[][..]),
        };
        let length = |size: &Size| match size.constant() {
            Some(n) => Length::Fixed(n),
            None => Length::Symbolic(size.to_string()),
        };
        TensorInfo {
            name: name.to_owned(),
            dtype: dtype_name(dtype),
            shape: sizes.iter().map(length).collect(),
        }
    }
}
