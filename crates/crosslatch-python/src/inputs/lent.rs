//! Tensors that borrow the memory of Python objects, through DLPack.
//!
//! An object hands out a pointer, an element type, a shape and strides, and keeps the memory until
//! it is given back, which happens when the run is over. The engine reads any strides that are not
//! negative. What NumPy cannot lend like that (reversed, unaligned, byte-swapped or, in old
//! versions, write-protected arrays) it is asked to copy first.
//!
//! Assumed: nobody writes an array while a run reads it. The engine stays within the memory that it
//! was lent, but what it computes then is undefined.

use crosslatch::{DType, Layout, TensorRef};
use crosslatch_kernels::Dims;
use crosslatch_kernels::tensor::checked_numel;
use dlpark::ffi::{DLDataType, DLDataTypeCode, DLDeviceType};
use dlpark::python::{ImportRequest, ImportedDlpack};
use pyo3::exceptions::PyBufferError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::outputs::numpy;

/// Why an object cannot be taken as a tensor.
pub enum Refusal {
    /// For this reason.
    Reason(String),
    /// Python code raised an exception when it was asked.
    Raised(PyErr),
}

impl From<PyErr> for Refusal {
    fn from(error: PyErr) -> Self {
        Refusal::Raised(error)
    }
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Refusal::Reason(reason)
    }
}

/// A NumPy array, lent if NumPy can lend it, otherwise a copy of it.
pub fn numpy_array(array: &Bound<'_, PyAny>) -> Result<Lent, Refusal> {
    let dtype = array.getattr("dtype")?;
    let name: String = dtype.getattr("name")?.extract()?;
    if name == "bfloat16" {
        // A type of `ml_dtypes`, of which NumPy knows only the size, so it lends the bits.
        let bits = array.call_method1("view", ("uint16",))?;
        return plain_array(&bits, Some(DType::BF16));
    }
    match plain_array(array, None) {
        Err(Refusal::Raised(error)) if error.is_instance_of::<PyBufferError>(array.py()) => {
            Err(unsupported(&name).into())
        }
        other => other,
    }
}

fn plain_array(array: &Bound<'_, PyAny>, meaning: Option<DType>) -> Result<Lent, Refusal> {
    let py = array.py();
    if is_lendable(array)? {
        match lend(array, meaning) {
            Err(Refusal::Raised(error)) if error.is_instance_of::<PyBufferError>(py) => {}
            other => return other,
        }
    }
    let native = array
        .getattr("dtype")?
        .call_method1("newbyteorder", ("=",))?;
    let options = PyDict::new(py);
    options.set_item("order", "C")?;
    let copy = numpy(py)?.call_method("array", (array, native), Some(&options))?;
    lend(&copy, meaning)
}

/// Whether the engine can read an array where it lies: aligned, and no stride negative.
fn is_lendable(array: &Bound<'_, PyAny>) -> PyResult<bool> {
    let strides: Vec<isize> = array.getattr("strides")?.extract()?;
    let aligned = array.getattr("flags")?.getattr("aligned")?.extract()?;
    Ok(aligned && strides.iter().all(|stride| *stride >= 0))
}

/// Borrows an object's memory. `meaning` is the element type, if the object does not know it
/// itself.
pub fn lend(object: &Bound<'_, PyAny>, meaning: Option<DType>) -> Result<Lent, Refusal> {
    let request = ImportRequest::new(object.as_borrowed())?;
    if let Ok(device) = request.device()
        && device.device_type != DLDeviceType::CPU
    {
        return Err(NOT_ON_CPU.to_owned().into());
    }
    Lent::new(request.import(None, None)?, meaning)
}

const NOT_ON_CPU: &str =
    "is not in the CPU's memory; move it there first, with `.cpu()` or the like";

fn unsupported(name: &str) -> String {
    let known: Vec<&str> = DType::ALL
        .into_iter()
        .map(crate::outputs::dtype_name)
        .collect();
    format!(
        "has elements of type {name}, which the engine does not have; it has {}",
        known.join(", ")
    )
}

/// Memory lent through DLPack, given back when this is dropped.
pub struct Lent {
    dtype: DType,
    layout: Layout,
    /// The first byte; dangling if there is none.
    start: *const u8,
    /// Number of bytes up to the end of the last element.
    len: usize,
    /// Keeps the memory alive.
    _owner: ImportedDlpack,
}

impl Lent {
    fn new(owner: ImportedDlpack, meaning: Option<DType>) -> Result<Lent, Refusal> {
        let tensor = owner.validate().map_err(|e| e.to_string())?;
        if tensor.device().device_type != DLDeviceType::CPU {
            return Err(NOT_ON_CPU.to_owned().into());
        }
        let dtype = meaning
            .or_else(|| element_type(tensor.dtype()))
            .ok_or_else(|| unsupported(&type_text(tensor.dtype())))?;
        let strides = tensor.strides_or_compact().map_err(|e| e.to_string())?;
        let layout = layout(tensor.shape(), &strides)?;
        let end = match layout.numel() {
            0 => Some(0),
            _ => layout.end(),
        };
        let len = end
            .and_then(|end| end.checked_mul(dtype.size()))
            .filter(|len| isize::try_from(*len).is_ok())
            .ok_or_else(|| "has a size that overflows".to_owned())?;
        // SAFETY: only adds the offset that the producer states to the pointer that it gave, which
        // it promises to lie inside its memory; nothing is read.
        let start = unsafe { tensor.offset_bytes_ptr() }.map_err(|e| e.to_string())?;
        if len > 0 && !(start as usize).is_multiple_of(dtype.size()) {
            return Err("is not aligned to its elements; give a copy of it"
                .to_owned()
                .into());
        }
        Ok(Lent {
            dtype,
            layout,
            start,
            len,
            _owner: owner,
        })
    }

    /// The tensor.
    pub fn view(&self) -> TensorRef<'_> {
        let bytes: &[u8] = match self.len {
            0 => &[],
            // SAFETY: the producer promises memory for every element of shape and strides until
            // `_owner` is dropped, and `len` ends with the last of them (no stride is negative). It
            // is initialized, as all memory of array libraries that is lent; that nobody writes it
            // meanwhile is what the module's opening and the documentation of `run` ask for.
            len => unsafe { std::slice::from_raw_parts(self.start, len) },
        };
        TensorRef::new(self.dtype, &self.layout, bytes)
            .unwrap_or_else(|e| unreachable!("checked when it was lent: {e}"))
    }
}

/// The engine's layout for a shape and strides. Strides that mean the same give the same layout, so
/// that as few plans as possible are made.
fn layout(shape: &[i64], strides: &[i64]) -> Result<Layout, String> {
    let lengths: Option<Dims> = shape.iter().map(|&d| usize::try_from(d).ok()).collect();
    let shape = lengths.ok_or("has a dimension of negative length")?;
    checked_numel(&shape).ok_or("has a size that overflows")?;
    let mut layout = Layout::contiguous(&shape);
    if shape.contains(&0) {
        return Ok(layout);
    }
    for d in 0..shape.len() {
        // The stride of a dimension of length 1 is never used.
        if shape[d] > 1 {
            layout.strides[d] = usize::try_from(strides[d])
                .map_err(|_| "has a negative stride; give a copy of it")?;
        }
    }
    Ok(match layout.is_contiguous() {
        true => Layout::contiguous(&shape),
        false => layout,
    })
}

fn element_type(ty: DLDataType) -> Option<DType> {
    Some(match (ty.code, ty.bits, ty.lanes) {
        (DLDataTypeCode::BOOL, 8, 1) => DType::Bool,
        (DLDataTypeCode::UINT, 8, 1) => DType::U8,
        (DLDataTypeCode::INT, 8, 1) => DType::I8,
        (DLDataTypeCode::INT, 16, 1) => DType::I16,
        (DLDataTypeCode::INT, 32, 1) => DType::I32,
        (DLDataTypeCode::INT, 64, 1) => DType::I64,
        (DLDataTypeCode::FLOAT, 16, 1) => DType::F16,
        (DLDataTypeCode::BFLOAT, 16, 1) => DType::BF16,
        (DLDataTypeCode::FLOAT, 32, 1) => DType::F32,
        (DLDataTypeCode::FLOAT, 64, 1) => DType::F64,
        (DLDataTypeCode::COMPLEX, 64, 1) => DType::C64,
        (DLDataTypeCode::COMPLEX, 128, 1) => DType::C128,
        _ => return None,
    })
}

fn type_text(ty: DLDataType) -> String {
    let kind = match ty.code {
        DLDataTypeCode::INT => "int",
        DLDataTypeCode::UINT => "uint",
        DLDataTypeCode::FLOAT => "float",
        DLDataTypeCode::COMPLEX => "complex",
        _ => return format!("number {} of DLPack with {} bits", ty.code.0, ty.bits),
    };
    format!("{kind}{}", ty.bits)
}
