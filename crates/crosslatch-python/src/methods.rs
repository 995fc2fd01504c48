//! What the methods of a model take and return.

use std::collections::BTreeMap;

use crosslatch::ir::Size;
use crosslatch::ir::graph::{Arg, Output, SlotKind, ValueType};
use crosslatch::{DType, Model};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::error::{engine, failure};
use crate::outputs::dtype_name;

/// The program of a method.
pub fn program<'m>(model: &'m Model, method: &str) -> PyResult<&'m crosslatch::ir::Program> {
    let index = model.method_index(method).map_err(engine)?;
    Ok(&model.methods()[index].program)
}

/// Refuses a name that is not an output of a method.
pub fn check_output(model: &Model, method: &str, name: &str) -> PyResult<()> {
    let outputs = Method::of(program(model, method)?).outputs;
    if outputs.iter().any(|o| o.name == name) {
        return Ok(());
    }
    let known: Vec<String> = outputs.iter().map(|o| format!("`{}`", o.name)).collect();
    Err(failure(format!(
        "method `{method}` has no output `{name}`; its outputs are {}",
        known.join(", ")
    )))
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
    pub fn __repr__(&self) -> String {
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
    /// The description of a method's program.
    pub fn of(program: &crosslatch::ir::Program) -> Method {
        let graph = &program.graph;
        let inputs = crosslatch::inputs::input_slots(program)
            .map(|(slot, name)| TensorInfo::of(name, &graph.value(graph.inputs[slot]).ty));
        let outputs = program.outputs.iter().zip(&graph.outputs);
        let outputs = outputs.filter_map(|(output, value)| {
            let name = match output {
                Output::User(name) => name,
                // An input that the program changes is returned under the input's name.
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
