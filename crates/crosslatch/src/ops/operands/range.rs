//! Whether a number is in the range of an element type.
//!
//! PyTorch converts numbers to elements in two ways. As an operand of a binary operator, a number is
//! converted like a tensor without dimensions: it wraps, truncates or becomes infinite. As a
//! parameter (of `fill`, `masked_fill`, as `alpha`, …), a number that is out of range is an error.
//! This module has the rules of the second way.

use crosslatch_kernels::movement::Scalar;
use crosslatch_kernels::{DType, KernelError};

use crate::ir::{Number, OpError};

/// A number as kernels take it.
pub(in crate::ops) fn value_of(number: Number) -> Scalar {
    match number {
        Number::Float(x) => Scalar::Float(x),
        other => Scalar::Int(other.to_i64()),
    }
}

/// A number as kernels take it, if it is in the range of this type.
pub(in crate::ops) fn checked_value(number: Number, dtype: DType) -> Result<Scalar, OpError> {
    let value = value_of(number);
    match is_in_range(value, dtype) {
        true => Ok(value),
        false => Err(OpError::new(out_of_range(value, dtype))),
    }
}

/// A number, if it is in the range of this type.
pub(in crate::ops) fn checked_number(number: Number, dtype: DType) -> Result<Number, OpError> {
    checked_value(number, dtype).map(|_| number)
}

/// A value that is known only when a kernel runs, if it is in the range of this type.
pub(in crate::ops) fn check_value(value: Scalar, dtype: DType) -> Result<Scalar, KernelError> {
    match is_in_range(value, dtype) {
        true => Ok(value),
        false => Err(KernelError::Assertion(out_of_range(value, dtype))),
    }
}

fn out_of_range(value: Scalar, dtype: DType) -> String {
    match value {
        Scalar::Int(i) => format!("the number {i} is out of range for {dtype}"),
        Scalar::Float(x) => format!("the number {x} is out of range for {dtype}"),
    }
}

/// The smallest and the largest element of an integer type.
pub(in crate::ops) fn integer_range(dtype: DType) -> (i64, i64) {
    match dtype {
        DType::U8 => (0, u8::MAX as i64),
        DType::I8 => (i8::MIN as i64, i8::MAX as i64),
        DType::I16 => (i16::MIN as i64, i16::MAX as i64),
        DType::I32 => (i32::MIN as i64, i32::MAX as i64),
        DType::Bool => (0, 1),
        _ => (i64::MIN, i64::MAX),
    }
}

/// The largest finite number of a float type.
fn largest_float(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => half::f16::MAX.to_f64(),
        DType::BF16 => half::bf16::MAX.to_f64(),
        DType::F32 => f32::MAX as f64,
        _ => f64::MAX,
    }
}

/// Whether a number is in the range of a type. It may still be rounded or truncated.
fn is_in_range(value: Scalar, dtype: DType) -> bool {
    let (low, high) = integer_range(dtype);
    // The number becomes the real part of a complex one.
    match (value, dtype.of_parts()) {
        (_, DType::Bool) => true,
        // Negative numbers wrap in an unsigned type.
        (Scalar::Int(i), DType::U8) => (-high..=high).contains(&i),
        (Scalar::Int(i), d) if !d.is_float() => (low..=high).contains(&i),
        (Scalar::Int(i), d) => (i as f64).abs() <= largest_float(d),
        (Scalar::Float(x), d) if d.is_float() => !x.is_finite() || x.abs() <= largest_float(d),
        // `i64::MAX as f64` is rounded up, to the first float that is out of range.
        (Scalar::Float(x), DType::I64) => x >= low as f64 && x < high as f64,
        (Scalar::Float(x), _) => x >= low as f64 && x < high as f64 + 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_in_range_where_pytorch_takes_it() {
        use Scalar::{Float, Int};
        for (value, dtype) in [
            (Int(-255), DType::U8),
            (Int(300), DType::Bool),
            (Float(f64::NAN), DType::Bool),
            (Float(255.9), DType::U8),
            (Float(f64::NEG_INFINITY), DType::F16),
            (Float(65504.0), DType::F16),
            (Float(-2_147_483_648.0), DType::I32),
        ] {
            assert!(is_in_range(value, dtype), "{value:?} as {dtype}");
        }
        for (value, dtype) in [
            (Int(-256), DType::U8),
            (Int(256), DType::U8),
            (Int(200), DType::I8),
            (Int(70_000), DType::F16),
            (Float(-0.5), DType::U8),
            (Float(256.0), DType::U8),
            (Float(f64::NAN), DType::I32),
            (Float(2f64.powi(31)), DType::I32),
            (Float(2f64.powi(63)), DType::I64),
            (Float(65519.0), DType::F16),
            (Float(1e300), DType::F32),
        ] {
            assert!(!is_in_range(value, dtype), "{value:?} as {dtype}");
        }
    }
}
