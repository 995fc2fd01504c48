//! `cond`: one of two graphs, selected by a predicate.
//!
//! The interpreter and the planner recognise `cond` by its branches and never lower it; the row here
//! gives it a name and a schema. What it reads, writes and returns follows from its branches.

use crate::ir::catalogue::{Table, op};
use crate::ir::{Call, Lowering, OpError};

pub(super) const OPERATORS: Table = &[op(
    "higher_order::cond(Tensor pred, Tensor[] operands) -> Tensor[]",
    never_lowered,
)];

fn never_lowered(_: &Call<'_>) -> Result<Lowering, OpError> {
    Err(OpError::new("`cond` does not have two branches"))
}
