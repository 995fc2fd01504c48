//! What a plan tells of itself: copies made and avoided, where values live, pieces of the arena.

use std::sync::Arc;

/// A copy, made or avoided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedCopy {
    /// The value that it makes.
    pub value: String,
    /// Bytes copied.
    pub bytes: usize,
    /// Whether the memory that it reads or writes is state: a cache.
    pub state: bool,
    /// Whether it stores a new value where an operator says: work that cannot be avoided.
    pub store: bool,
    /// Why the program asks for it, and why it stays if it does.
    pub reason: String,
}

/// A tensor of the program and the memory that it lives in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedValue {
    /// Its name; inside a branch, behind the names of the `cond` and the branch: `k/then/p`.
    pub name: String,
    /// The memory.
    pub memory: Memory,
    /// The piece of the arena, by number, if it lives in one.
    pub piece: Option<usize>,
    /// What made it: an operator, or for a `cond` what its branches return.
    pub made_by: String,
}

/// Memory that a value lives in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Memory {
    /// A state slot, by name.
    State(String),
    /// A weight, by name.
    Weight(String),
    /// An input of the caller, by name.
    Input(String),
    /// The memory of the run.
    Run,
}

impl std::fmt::Display for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Memory::State(name) => write!(f, "state @{name}"),
            Memory::Weight(name) => write!(f, "weight @{name}"),
            Memory::Input(name) => write!(f, "input @{name}"),
            Memory::Run => f.write_str("the run's memory"),
        }
    }
}

/// A piece of the arena, and when it is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedPiece {
    /// Its first byte.
    pub start: usize,
    /// Bytes.
    pub bytes: usize,
    /// First and last step that it is kept for, counted in the order of
    /// [`Plan::steps`](super::Plan::steps), a `cond` before the steps of its branches.
    pub steps: (usize, usize),
    /// The node whose kernel works in it, if it holds no value.
    pub scratch_of: Option<Arc<str>>,
}
