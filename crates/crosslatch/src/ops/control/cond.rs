//! `cond`: one of two graphs, chosen by a predicate.
//!
//! The interpreter and the planner know `cond` by its branches and never lower it as an operator;
//! the entry here gives it a name and a schema. What a `cond` reads, writes and returns follows
//! from its branches ([`crate::effects`]).

use crate::ir::catalogue::{Table, op};
use crate::ir::{Call, Lowering, OpError};

pub(super) const OPERATORS: Table = &[op(
    "higher_order::cond(Tensor pred, Tensor[] operands) -> Tensor[]",
    lowered_by_its_branches,
)];

fn lowered_by_its_branches(_: &Call<'_>) -> Result<Lowering, OpError> {
    Err(OpError::new("`cond` needs two branches"))
}
