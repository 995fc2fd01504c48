//! The intermediate representation: what a program is between the archive and the plan.
//!
//! A [`Program`] is a graph of operator calls in the order in which they mean to run, together
//! with the slots that hold what comes from outside of it: inputs, weights, constants and state.
//! Values are tensors or numbers; sizes may be symbolic ([`size`]). Operators keep the meaning
//! that PyTorch gives them, views and in-place writes included: two values may be the same
//! memory, and the [`schema`] of an operator says which. `cond` carries its branches as graphs
//! without captures.
//!
//! The IR has a text form, which [`mod@print`] writes and [`parse`] reads, and rules, which
//! [`verify`] checks; a pass is tested by text in, text out.

pub mod build;
pub mod call;
pub mod graph;
pub mod infer;
pub mod operator;
pub mod parse;
pub mod print;
pub mod schema;
pub mod size;
pub mod verify;

/// How deep anything may be nested that a file or a text says: branches within branches, operations
/// of a size, lists within lists. No exporter comes near it, a hostile file might; and whoever walks
/// what is nested calls itself, which a thread with a small stack bears so often.
pub const MAX_DEPTH: usize = 32;

/// Something is nested deeper than [`MAX_DEPTH`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("nested more than {MAX_DEPTH} deep")]
pub struct TooDeep;

impl TooDeep {
    /// Whether so many levels may be.
    pub fn check(depth: usize) -> Result<(), TooDeep> {
        match depth {
            0..=MAX_DEPTH => Ok(()),
            _ => Err(TooDeep),
        }
    }
}

pub use graph::{
    Arg, Graph, Node, Output, Program, Slot, SlotKind, Symbol, TensorType, Value, ValueId,
    ValueType,
};
pub use operator::{Call, Lowering, OpError, Operator};
pub use size::Size;
