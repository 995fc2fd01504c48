//! From Python objects to tensors, without a copy wherever that is possible.
//!
//! Array libraries lend each other memory through DLPack. NumPy arrays, PyTorch tensors and whatever
//! else has `__dlpack__` come in that way ([`lent`]). Python's own numbers and lists of them are
//! converted to the type that the program declares ([`numbers`]). Arrays never are, because a program
//! that gets another type than it was exported for is most likely called by mistake.

mod lent;
mod numbers;

use crosslatch::{DType, Tensor, TensorRef};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt, PyList, PyTuple};

pub use lent::Refusal;
use lent::{Lent, lend, numpy_array};

use crate::outputs::numpy;

/// A tensor that came from Python, for as long as a run reads it.
pub enum Given {
    /// Memory that its owner lends.
    Lent(Lent),
    /// A tensor made from Python numbers.
    Made(Tensor),
}

impl Given {
    /// The tensor.
    pub fn view(&self) -> TensorRef<'_> {
        match self {
            Given::Lent(lent) => lent.view(),
            Given::Made(tensor) => tensor.view(),
        }
    }
}

/// Takes an object as a tensor. Python numbers become elements of type `declared`, if there is one.
pub fn take(object: &Bound<'_, PyAny>, declared: Option<DType>) -> Result<Given, Refusal> {
    let py = object.py();
    let is_numpy = |class: &str| object.is_instance(&numpy(py)?.getattr(class)?);
    if is_numpy("ndarray")? {
        return numpy_array(object).map(Given::Lent);
    }
    if object.hasattr("__dlpack__")? {
        return lend(object, None).map(Given::Lent);
    }
    if is_numpy("generic")? || object.hasattr("__array__")? {
        let array = numpy(py)?.call_method1("asarray", (object,))?;
        return numpy_array(&array).map(Given::Lent);
    }
    let is_number = object.is_instance_of::<PyBool>()
        || object.is_instance_of::<PyInt>()
        || object.is_instance_of::<PyFloat>()
        || object.is_instance_of::<PyList>()
        || object.is_instance_of::<PyTuple>();
    match (is_number, declared) {
        (true, Some(dtype)) => numbers::tensor(object, dtype).map(Given::Made),
        _ => Err(format!(
            "is a {}; give a NumPy array, a PyTorch tensor or another object with `__dlpack__`",
            object.get_type().name()?
        )
        .into()),
    }
}
