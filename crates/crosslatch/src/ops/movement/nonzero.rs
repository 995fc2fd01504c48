//! Where a tensor is not zero.
//!
//! How many such elements there are depends on data, and a plan is made for sizes that are known. So there
//! is one operator with a kernel, `nonzero_static`, which is told the number of rows. The others are written
//! with it when a program is loaded ([`crate::passes::segments`]), and are met here only inside branches and
//! loops, where the number cannot be known before the program runs.

use crosslatch_kernels::movement::nonzero;
use crosslatch_kernels::{DType, Dims, Operands};

use crate::ir::catalogue::{Table, op};
use crate::ir::{Call, Lowering, OpError};
use crate::ops::operands::shapes::{checked_shape, length};

pub(super) const OPERATORS: Table = &[
    op(
        "aten::nonzero_static(Tensor self, *, SymInt size, int fill_value=-1) -> Tensor",
        nonzero_static,
    ),
    op("aten::nonzero(Tensor self) -> Tensor", refuse),
    op("aten::nonzero_numpy(Tensor self) -> Tensor[]", refuse),
    op("aten::where(Tensor condition) -> Tensor[]", refuse),
    op(
        "aten::masked_select(Tensor self, Tensor mask) -> Tensor",
        refuse,
    ),
];

fn nonzero_static(call: &Call<'_>) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    let rows = length(call.int("size")?, "`size`")?;
    let fill = call.int("fill_value")?;
    let of = this.index;
    Ok(Lowering::compute(
        DType::I64,
        &checked_shape(Dims::from_slice(&[rows, this.rank()]))?,
        move |o: &mut Operands<'_, '_>| {
            nonzero(&mut o.outputs[0], &o.inputs[of], fill);
            Ok(())
        },
    ))
}

fn refuse(call: &Call<'_>) -> Result<Lowering, OpError> {
    Err(OpError::unsupported(format!(
        "the size of the result of `{}` depends on data, which is not supported in a branch or a loop",
        call.schema.name
    )))
}
