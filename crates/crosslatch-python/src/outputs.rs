//! From the engine's tensors to NumPy arrays.
//!
//! A session uses the same memory again at its next run, so what goes out is a copy. The copy is
//! owned by a `bytearray`, of which the array is a view: NumPy is called like any Python function,
//! and this crate does not depend on a version of NumPy's C interface.
//!
//! NumPy has no bfloat16. If the package `ml_dtypes` is installed, which adds it, that is used;
//! otherwise such a tensor comes out as float32, which can hold each of its values.

use crosslatch::{Bool, DType, Outputs, TensorRef};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyByteArray, PyDict, PyTuple};

/// The name that NumPy (or `ml_dtypes`) has for an element type.
pub fn dtype_name(dtype: DType) -> &'static str {
    match dtype {
        DType::Bool => "bool",
        DType::U8 => "uint8",
        DType::I8 => "int8",
        DType::I16 => "int16",
        DType::I32 => "int32",
        DType::I64 => "int64",
        DType::F16 => "float16",
        DType::BF16 => "bfloat16",
        DType::F32 => "float32",
        DType::F64 => "float64",
        DType::C64 => "complex64",
        DType::C128 => "complex128",
    }
}

/// NumPy, imported when it is first needed.
pub fn numpy<'py>(py: Python<'py>) -> PyResult<&'py Bound<'py, PyModule>> {
    static NUMPY: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    let module = NUMPY.get_or_try_init(py, || py.import("numpy").map(Bound::unbind))?;
    Ok(module.bind(py))
}

/// Copies of a run's outputs by name, of all of them or of the chosen ones.
pub fn arrays<'py>(
    py: Python<'py>,
    outputs: &Outputs<'_>,
    chosen: Option<&[String]>,
) -> PyResult<Bound<'py, PyDict>> {
    let arrays = PyDict::new(py);
    for (name, tensor) in outputs.iter() {
        if chosen.is_none_or(|chosen| chosen.iter().any(|c| c == name)) {
            arrays.set_item(name, array(py, &tensor)?)?;
        }
    }
    Ok(arrays)
}

/// A copy of a tensor as a NumPy array that may be written.
pub fn array<'py>(py: Python<'py>, tensor: &TensorRef<'_>) -> PyResult<Bound<'py, PyAny>> {
    let name = dtype_name(tensor.dtype());
    let (dtype, memory) = match tensor.dtype() {
        DType::BF16 => match bfloat16(py)? {
            Some(dtype) => (dtype, row_major(py, tensor)?),
            None => {
                let data = tensor.data::<half::bf16>();
                let widened = each(py, tensor, |p| data[p].to_f32().to_ne_bytes())?;
                ("float32".into_pyobject(py)?.into_any(), widened)
            }
        },
        DType::Bool => {
            // The engine takes any byte but zero for true, NumPy only the byte 1.
            let data = tensor.data::<Bool>();
            let bytes = each(py, tensor, |p| [data[p].get() as u8])?;
            (name.into_pyobject(py)?.into_any(), bytes)
        }
        _ => (name.into_pyobject(py)?.into_any(), row_major(py, tensor)?),
    };
    let shape = PyTuple::new(py, tensor.shape())?;
    numpy(py)?.call_method1("ndarray", (shape, dtype, memory))
}

/// The elements' bytes in row-major order.
fn row_major<'py>(py: Python<'py>, tensor: &TensorRef<'_>) -> PyResult<Bound<'py, PyByteArray>> {
    let (layout, size) = (tensor.layout(), tensor.dtype().size());
    let in_order = layout.is_contiguous().then(|| {
        let start = layout.offset * size;
        tensor.bytes().get(start..start + layout.numel() * size)
    });
    match in_order.flatten() {
        Some(bytes) => PyByteArray::new_with(py, bytes.len(), |to| {
            to.copy_from_slice(bytes);
            Ok(())
        }),
        None => match size {
            1 => each(py, tensor, |p| element::<1>(tensor, p)),
            2 => each(py, tensor, |p| element::<2>(tensor, p)),
            4 => each(py, tensor, |p| element::<4>(tensor, p)),
            _ => each(py, tensor, |p| element::<8>(tensor, p)),
        },
    }
}

/// The bytes of the element at a position.
fn element<const SIZE: usize>(tensor: &TensorRef<'_>, position: usize) -> [u8; SIZE] {
    let mut bytes = [0; SIZE];
    bytes.copy_from_slice(&tensor.bytes()[position * SIZE..][..SIZE]);
    bytes
}

/// The bytes that `of` gives for the position of each element, in row-major order. Python allocates
/// the memory, and raises its own exception if there is none.
fn each<'py, const N: usize>(
    py: Python<'py>,
    tensor: &TensorRef<'_>,
    of: impl Fn(usize) -> [u8; N],
) -> PyResult<Bound<'py, PyByteArray>> {
    PyByteArray::new_with(py, tensor.layout().numel() * N, |to| {
        let elements = to.chunks_exact_mut(N).zip(tensor.layout().positions());
        elements.for_each(|(to, position)| to.copy_from_slice(&of(position)));
        Ok(())
    })
}

/// The type `ml_dtypes.bfloat16`, if that package is installed.
fn bfloat16(py: Python<'_>) -> PyResult<Option<Bound<'_, PyAny>>> {
    static BFLOAT16: PyOnceLock<Option<Py<PyAny>>> = PyOnceLock::new();
    let found = BFLOAT16.get_or_try_init(py, || match py.import("ml_dtypes") {
        Ok(module) => Ok(Some(module.getattr("bfloat16")?.unbind())),
        Err(error) if error.is_instance_of::<pyo3::exceptions::PyImportError>(py) => Ok(None),
        Err(error) => Err(error),
    })?;
    Ok(found.as_ref().map(|dtype| dtype.bind(py).clone()))
}
