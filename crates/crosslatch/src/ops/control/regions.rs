//! `cond`, `while_loop` and `scan`: operators that carry graphs.
//!
//! The interpreter and the planner recognise them by their regions ([`crate::ir::control`]) and never
//! lower them; the rows here give them names and schemas. `map_impl` of a file becomes a `scan` that
//! carries nothing.

use crate::ir::catalogue::{Table, op};
use crate::ir::{Call, Lowering, OpError};

pub(super) const OPERATORS: Table = &[
    op(
        "higher_order::cond(Tensor pred, Tensor[] operands) -> Tensor[]",
        never_lowered,
    ),
    op(
        "higher_order::while_loop(Tensor[] carried, Tensor[] operands) -> Tensor[]",
        never_lowered,
    ),
    op(
        "higher_order::scan(Tensor[] carried, Tensor[] rows, Tensor[] operands) -> Tensor[]",
        never_lowered,
    ),
];

fn never_lowered(call: &Call<'_>) -> Result<Lowering, OpError> {
    let name = &call.schema.name;
    Err(OpError::new(format!("`{name}` has no graphs to run")))
}
