//! Python's own numbers, and lists of them, as tensors.
//!
//! A Python number has no element type, so it takes the one that the program declares, provided
//! that there is only one way to do so: integers become integers that can hold them, or floats;
//! floats become floats; truth values become `bool`. Everything else is refused, because it would
//! change the number or guess what was meant.

use crosslatch::{DType, Tensor, TensorRef};
use crosslatch_kernels::{Element, with_element};
use pyo3::prelude::*;

use super::lent::{Refusal, numpy_array};
use crate::outputs::numpy;

/// A number, or nested lists of numbers, as a tensor of type `dtype`.
pub fn tensor(object: &Bound<'_, PyAny>, dtype: DType) -> Result<Tensor, Refusal> {
    // NumPy walks the lists, and finds 64-bit numbers of one kind.
    let array = numpy(object.py())?
        .call_method1("asarray", (object,))
        .map_err(|e| format!("is no regular list of numbers: {}", e.value(object.py())))?;
    let given = numpy_array(&array)?;
    let given = given.view();
    let converted = match given.dtype() {
        // An empty list says nothing about the kind of its numbers.
        _ if given.layout().numel() == 0 => Tensor::zeros(dtype, given.shape()).ok(),
        DType::Bool if dtype == DType::Bool => Some(Tensor::copy_of(&given)),
        from if from.is_int() && dtype != DType::Bool && !dtype.is_complex() => {
            let numbers = with_element!(from, S => wide(&given, <S as Element>::to_i64));
            with_element!(dtype, T => integers::<T>(given.shape(), &numbers)?)
        }
        from if from.is_float() && dtype.is_float() => {
            let numbers = with_element!(from, S => wide(&given, <S as Element>::to_f64));
            with_element!(dtype, T => floats::<T>(given.shape(), &numbers)?)
        }
        from => {
            let from = match from {
                DType::Bool => "truth values",
                _ if from.is_int() => "integers",
                _ if from.is_complex() => "complex numbers",
                _ => "floats",
            };
            return Err(format!("is made of Python's {from}, the program takes {dtype}").into());
        }
    };
    converted.ok_or_else(|| "has a size that overflows".to_owned().into())
}

fn wide<S: Element, W>(given: &TensorRef<'_>, widen: impl Fn(S) -> W) -> Vec<W> {
    given.to_vec::<S>().into_iter().map(widen).collect()
}

fn integers<T: Element>(shape: &[usize], numbers: &[i64]) -> Result<Option<Tensor>, String> {
    let convert = |&number: &i64| {
        let element = T::from_i64(number);
        match T::DTYPE.is_int() && element.to_i64() != number {
            true => Err(format!("has {number}, which does not fit {}", T::DTYPE)),
            false => finite(element, number as f64),
        }
    };
    let elements: Result<Vec<T>, String> = numbers.iter().map(convert).collect();
    Ok(Tensor::from_slice(shape, &elements?).ok())
}

fn floats<T: Element>(shape: &[usize], numbers: &[f64]) -> Result<Option<Tensor>, String> {
    let convert = |&number: &f64| finite(T::from_f64(number), number);
    let elements: Result<Vec<T>, String> = numbers.iter().map(convert).collect();
    Ok(Tensor::from_slice(shape, &elements?).ok())
}

/// Refuses an element that became infinite where the number is not. Rounding is as usual.
fn finite<T: Element>(element: T, number: f64) -> Result<T, String> {
    match number.is_finite() && !element.to_f64().is_finite() {
        true => Err(format!("has {number}, which does not fit {}", T::DTYPE)),
        false => Ok(element),
    }
}
