//! Views that are their operand: operators that mean something to autograd, to complex numbers or in
//! training, and nothing at inference.

use crate::ir::catalogue::{Table, op};
use crate::ir::{Call, Lowering, OpError};
use crate::ops::operands::layouts::copy_views;

pub(super) const OPERATORS: Table = &[
    op("aten::detach(Tensor(a) self) -> Tensor(a)", identity),
    op("aten::detach_(Tensor(a) self) -> Tensor(a)", identity),
    op("aten::detach_copy(Tensor self) -> Tensor", |c| {
        copy_views(c, identity(c)?)
    }),
    op("aten::alias(Tensor(a) self) -> Tensor(a)", identity),
    op("aten::alias_copy(Tensor self) -> Tensor", |c| {
        copy_views(c, identity(c)?)
    }),
    op("aten::lift(Tensor(a) self) -> Tensor(a)", identity),
    op("aten::lift_fresh(Tensor(a) self) -> Tensor(a)", identity),
    op("aten::lift_fresh_copy(Tensor self) -> Tensor", |c| {
        copy_views(c, identity(c)?)
    }),
    op("aten::positive(Tensor(a) self) -> Tensor(a)", identity),
    op("aten::resolve_conj(Tensor(a) self) -> Tensor(a)", identity),
    op("aten::resolve_neg(Tensor(a) self) -> Tensor(a)", identity),
    // These write nothing where they are supported.
    op(
        "aten::dropout_(Tensor(a) self, float p, bool train) -> Tensor(a)",
        dropout,
    ),
    op(
        "aten::resize_(Tensor(a) self, SymInt[] size, *, MemoryFormat? memory_format=None) -> Tensor(a)",
        resize,
    ),
    op(
        "aten::dropout(Tensor(a) input, float p, bool train) -> Tensor(a)",
        dropout,
    ),
];

/// The operand as it is.
pub(super) fn identity(call: &Call<'_>) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    Ok(Lowering::view(this, this.layout.clone()))
}

/// A tensor whose memory is resized, to the size that it has.
fn resize(call: &Call<'_>) -> Result<Lowering, OpError> {
    let size = call.sizes("size")?;
    match size[..] == *call.tensor("self")?.shape() {
        true => identity(call),
        false => Err(OpError::unsupported(format!(
            "memory of {:?} elements is not resized in place to {:?}",
            call.tensor("self")?.shape(),
            size.as_slice()
        ))),
    }
}

fn dropout(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor(if call.has("input") { "input" } else { "self" })?;
    match call.bool("train")? && call.float("p")? != 0.0 {
        false => Ok(Lowering::view(x, x.layout.clone())),
        true => Err(OpError::unsupported(
            "the program was exported in training mode; call .eval() on the model first",
        )),
    }
}
