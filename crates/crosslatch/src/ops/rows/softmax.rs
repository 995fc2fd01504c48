//! Softmax and its logarithm.

use crosslatch_kernels::rows::{Softmax, softmax as kernel};
use crosslatch_kernels::{DType, Layout, Operands};

use crate::ir::catalogue::{Table, op};
use crate::ir::{Call, Lowering, OpError};
use crate::ops::operands::layouts::{view, view_mut};

pub(super) const OPERATORS: Table = &[
    op(
        "aten::softmax.int(Tensor self, int dim, ScalarType? dtype=None) -> Tensor",
        |c| lower(c, Softmax::Usual),
    ),
    op(
        "aten::special_softmax(Tensor self, int dim, ScalarType? dtype=None) -> Tensor",
        |c| lower(c, Softmax::Usual),
    ),
    op(
        "aten::_softmax(Tensor self, int dim, bool half_to_float) -> Tensor",
        |c| lower(c, Softmax::Usual),
    ),
    op(
        "aten::_safe_softmax(Tensor self, int dim, ScalarType? dtype=None) -> Tensor",
        |c| lower(c, Softmax::Safe),
    ),
    op(
        "aten::log_softmax.int(Tensor self, int dim, ScalarType? dtype=None) -> Tensor",
        |c| lower(c, Softmax::Log),
    ),
    op(
        "aten::special_log_softmax(Tensor self, int dim, *, ScalarType? dtype=None) -> Tensor",
        |c| lower(c, Softmax::Log),
    ),
    op(
        "aten::_log_softmax(Tensor self, int dim, bool half_to_float) -> Tensor",
        |c| lower(c, Softmax::Log),
    ),
];

fn lower(call: &Call<'_>, variant: Softmax) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let dim = x.dim(call.int("dim")?)?;
    let dtype = match call.has("dtype") {
        true => call.optional_dtype("dtype")?.unwrap_or(x.dtype),
        false if call.bool("half_to_float")? => DType::F32,
        false => x.dtype,
    };
    if !dtype.is_float() {
        return Err(OpError::new(format!("softmax is not defined for {dtype}")));
    }
    // A tensor without dimensions is a row of one element.
    let layout = match x.rank() {
        0 => x.layout_from_start().unsqueeze(0),
        _ => x.layout_from_start(),
    };
    let out = Layout::contiguous(&layout.shape);
    let (index, plain) = (x.index, call.plain());
    Ok(Lowering::compute(
        dtype,
        x.shape(),
        move |o: &mut Operands<'_, '_>| {
            let x = view(&o.inputs[index], &layout)?;
            let mut to = view_mut(&mut o.outputs[0], &out)?;
            kernel(&mut to, &x, dim, variant, plain, o.threads);
            Ok(())
        },
    ))
}
