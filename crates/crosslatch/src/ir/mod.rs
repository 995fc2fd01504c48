//! The intermediate representation: what a program is between the archive and the plan.
//!
//! A [`Program`] is a graph of operator calls in the order in which they mean to run, together
//! with the slots that hold what comes from outside of it: inputs, weights, constants and state.
//! Values are tensors or numbers; sizes may be symbolic ([`size`]). Operators keep the meaning
//! that PyTorch gives them, views and in-place writes included: two values may be the same
//! memory, and the [`schema`] of an operator says which. [`control`] operators (`cond`, loops) carry
//! graphs of their own, without captures.
//!
//! An operator is a row of the [`catalogue`]: its schema, and a function that lowers a [`call`] of
//! it when all sizes are known. What it may answer is a [`lowering`]. [`bind`] makes a call of a
//! node, [`infer`] asks what a node returns without running it.
//!
//! The IR has a text form, which [`mod@print`] writes and [`parse`] reads, and rules, which
//! [`verify`] checks; a pass is tested by text in, text out. [`build`] makes programs in Rust.

pub mod arg;
pub mod bind;
pub mod build;
pub mod call;
pub mod catalogue;
pub mod control;
pub mod graph;
pub mod infer;
pub mod lowering;
mod nesting;
pub mod operator;
pub mod parse;
pub mod print;
pub mod schema;
pub mod size;
pub mod verify;

pub use arg::{Arg, ValueId};
pub use call::{Call, CallArg, KernelSet, Number, OpError, StoredAs, TensorArg, wrap_dim};
pub use catalogue::Catalogue;
pub use control::{COND, Control, Entry, SCAN, WHILE_LOOP};
pub use graph::{
    Graph, Node, Output, Program, Slot, SlotKind, Symbol, TensorType, Value, ValueType,
};
pub use lowering::{Assign, Compute, Lowering, Update, View, ViewCopy, check_shape};
pub use nesting::{MAX_DEPTH, TooDeep};
pub use operator::{Lower, Operator};
pub use size::Size;
