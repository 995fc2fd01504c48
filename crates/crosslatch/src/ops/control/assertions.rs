//! Assertions that exporters write into programs.
//!
//! An assertion about sizes and types is decided when a plan is made, and nothing is left to run.
//! Only an assertion about a tensor's contents becomes a kernel, one without results.

use crosslatch_kernels::movement::{Scalar, read_one};
use crosslatch_kernels::{KernelError, Operands};

use crate::ir::catalogue::{Table, op};
use crate::ir::{Call, Compute, Lowering, OpError};

pub(super) const OPERATORS: Table = &[
    op("aten::_assert_async(Tensor self) -> ()", assert_contents),
    op(
        "aten::_assert_async.msg(Tensor self, str assert_msg) -> ()",
        assert_contents,
    ),
    op(
        "aten::_assert_scalar(Scalar self, str assert_msg) -> ()",
        |c| match c.number("self")?.to_f64() != 0.0 {
            true => Ok(Lowering::Nothing),
            false => Err(failed(message(c)?)),
        },
    ),
    op(
        "aten::_assert_tensor_metadata(Tensor a, SymInt[]? size=None, SymInt[]? stride=None, ScalarType? dtype=None, *, Device? device=None, Layout? layout=None) -> ()",
        assert_metadata,
    ),
    op(
        "aten::sym_constrain_range(Scalar size, *, int? min=None, int? max=None) -> ()",
        in_range,
    ),
    op(
        "aten::sym_constrain_range_for_size(Scalar size, *, int? min=None, int? max=None) -> ()",
        in_range,
    ),
];

fn failed(what: impl std::fmt::Display) -> OpError {
    OpError::new(format!("an assertion in the program failed: {what}"))
}

fn message<'c>(call: &'c Call<'_>) -> Result<&'c str, OpError> {
    Ok(match call.has("assert_msg") {
        true => call.optional_str("assert_msg")?.unwrap_or_default(),
        false => "a tensor is zero",
    })
}

fn assert_contents(call: &Call<'_>) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    if this.layout.numel() != 1 {
        return Err(OpError::new("an assertion about more than one element"));
    }
    let of = this.index;
    let message = message(call)?.to_owned();
    let kernel = move |o: &mut Operands<'_, '_>| match read_one(&o.inputs[of]) {
        Scalar::Int(0) => Err(KernelError::Assertion(message.clone())),
        Scalar::Float(0.0) => Err(KernelError::Assertion(message.clone())),
        _ => Ok(()),
    };
    Ok(Lowering::Compute(Compute::new(Vec::new(), kernel)))
}

/// Checks shape and type, but not strides: those are the engine's own.
fn assert_metadata(call: &Call<'_>) -> Result<Lowering, OpError> {
    let tensor = call.tensor("a")?;
    if let Some(sizes) = call.optional_ints("size")?
        && !sizes
            .iter()
            .copied()
            .eq(tensor.shape().iter().map(|&n| n as i64))
    {
        return Err(failed(format!(
            "the shape is {:?}, not {sizes:?}",
            tensor.shape()
        )));
    }
    match call.optional_dtype("dtype")? {
        Some(dtype) if dtype != tensor.dtype => {
            Err(failed(format!("the type is {}, not {dtype}", tensor.dtype)))
        }
        _ => Ok(Lowering::Nothing),
    }
}

fn in_range(call: &Call<'_>) -> Result<Lowering, OpError> {
    let size = call.int("size")?;
    let low = call.optional_int("min")?.unwrap_or(i64::MIN);
    let high = call.optional_int("max")?.unwrap_or(i64::MAX);
    match (low..=high).contains(&size) {
        true => Ok(Lowering::Nothing),
        false => Err(failed(format!("the size {size} is not in {low}..={high}"))),
    }
}
