//! Softmax and its logarithm.

use crosslatch_kernels::rows::{Softmax, softmax as kernel};
use crosslatch_kernels::{DType, Layout, Operands};

use crate::ir::operator::{Call, Lowering, OpError};
use crate::ops::Table;
use crate::ops::matmul::matrices::{from_start, internal};

pub(in crate::ops) const OPERATORS: Table = &[
    (
        "aten::softmax.int(Tensor self, int dim, ScalarType? dtype=None) -> Tensor",
        |c| lower(c, Softmax::Usual),
    ),
    (
        "aten::special_softmax(Tensor self, int dim, ScalarType? dtype=None) -> Tensor",
        |c| lower(c, Softmax::Usual),
    ),
    (
        "aten::_softmax(Tensor self, int dim, bool half_to_float) -> Tensor",
        |c| lower(c, Softmax::Usual),
    ),
    (
        "aten::_safe_softmax(Tensor self, int dim, ScalarType? dtype=None) -> Tensor",
        |c| lower(c, Softmax::Safe),
    ),
    (
        "aten::log_softmax.int(Tensor self, int dim, ScalarType? dtype=None) -> Tensor",
        |c| lower(c, Softmax::Log),
    ),
    (
        "aten::special_log_softmax(Tensor self, int dim, *, ScalarType? dtype=None) -> Tensor",
        |c| lower(c, Softmax::Log),
    ),
    (
        "aten::_log_softmax(Tensor self, int dim, bool half_to_float) -> Tensor",
        |c| lower(c, Softmax::Log),
    ),
];

fn lower(call: &Call<'_>, what: Softmax) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let dim = x.dim(call.int("dim")?)?;
    let dtype = match call.has("dtype") {
        true => call.optional_dtype("dtype")?.unwrap_or(x.dtype),
        false if call.bool("half_to_float")? => DType::F32,
        false => x.dtype,
    };
    if !dtype.is_float() {
        return Err(OpError::new(format!("a softmax of type {dtype}")));
    }
    // A tensor without dimensions is a line of one.
    let layout = match x.rank() {
        0 => from_start(x).unsqueeze(0),
        _ => from_start(x),
    };
    let out = Layout::contiguous(&layout.shape);
    let (index, plain) = (x.index, call.plain());
    Ok(Lowering::compute(
        dtype,
        x.shape(),
        move |o: &mut Operands<'_, '_>| {
            let x = o.inputs[index].with_layout(&layout).map_err(internal)?;
            let mut to = o.outputs[0].with_layout(&out).map_err(internal)?;
            kernel(&mut to, &x, dim, what, plain, o.threads);
            Ok(())
        },
    ))
}
