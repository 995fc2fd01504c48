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

pub use graph::{
    Arg, Graph, Node, Output, Program, Slot, SlotKind, Symbol, TensorType, Value, ValueId,
    ValueType,
};
pub use operator::{Call, Lowering, OpError, Operator};
pub use size::Size;
