//! `any` and `all`.

use crosslatch_kernels::{DType, TensorMut, TensorRef, reduce};

use crate::ir::catalogue::{Table, op};
use crate::ir::{Call, CallArg, Lowering, OpError};
use crate::ops::reduce::reduction::Reduction;

pub(super) const OPERATORS: Table = &[
    op("aten::any(Tensor self) -> Tensor", any),
    op(
        "aten::any.dim(Tensor self, int dim, bool keepdim=False) -> Tensor",
        any,
    ),
    op(
        "aten::any.dims(Tensor self, int[]? dim=None, bool keepdim=False) -> Tensor",
        any,
    ),
    op("aten::all(Tensor self) -> Tensor", all),
    op("aten::_is_any_true(Tensor self) -> Tensor", any),
    op("aten::_is_all_true(Tensor self) -> Tensor", all),
    op(
        "aten::all.dim(Tensor self, int dim, bool keepdim=False) -> Tensor",
        all,
    ),
    op(
        "aten::all.dims(Tensor self, int[]? dim=None, bool keepdim=False) -> Tensor",
        all,
    ),
];

/// The result is bool, but `u8` for `u8`, as in PyTorch.
fn lower(
    call: &Call<'_>,
    kernel: fn(&mut TensorMut<'_>, &TensorRef<'_>, &[usize]),
) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let dtype = if x.dtype == DType::U8 {
        DType::U8
    } else {
        DType::Bool
    };
    let mut reduction = Reduction::of(call, x)?;
    // Unlike elsewhere, an empty list names no dimension, not all of them.
    let position = call.schema.position("dim");
    if let Some(CallArg::Ints(named)) = position.and_then(|i| call.args.get(i))
        && named.is_empty()
    {
        reduction = Reduction::of_nothing(x);
    }
    Ok(reduction.lower(dtype, move |out, x, dims, _| kernel(out, x, dims)))
}

fn any(call: &Call<'_>) -> Result<Lowering, OpError> {
    lower(call, reduce::any)
}

fn all(call: &Call<'_>) -> Result<Lowering, OpError> {
    lower(call, reduce::all)
}
