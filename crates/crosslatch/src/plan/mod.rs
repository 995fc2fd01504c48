//! Plans: a program made ready to run for one set of sizes.
//!
//! Four steps, one module each. [`lower`] walks the graph with all sizes known and writes it down
//! as a list of [`instructions`] over storages: every fresh result, every copy that the meaning of
//! the program asks for, has one of its own. What no plan can be right for is refused
//! ([`hazard`]). [`coalesce`] then proves which storages can be one
//! memory, and copies between them vanish. [`arena`] gives the storages that remain their places.
//! [`emit`] turns the instructions into steps that a session runs without another thought.

pub mod arena;
pub mod coalesce;
pub mod conflict;
pub mod emit;
pub mod hazard;
pub mod instructions;
pub mod liveness;
pub mod lower;
#[cfg(test)]
mod properties;
mod results;

use std::sync::Arc;

use crosslatch_kernels::memory::Region;
use crosslatch_kernels::{DType, Kernel, Layout};

use crate::error::Error;
use crate::ir::operator::KernelSet;
use crate::model::Model;

/// Blocks of memory that a plan's regions refer to; inputs follow as further blocks.
pub mod block {
    /// Values that live within a run.
    pub const ARENA: usize = 0;
    /// The state of the session.
    pub const STATE: usize = 1;
    /// The model's file.
    pub const FILE: usize = 2;
    /// Payloads of the file that had to be copied.
    pub const COPIED: usize = 3;
    /// The first input.
    pub const INPUTS: usize = 4;
}

/// A method made ready for one set of input shapes.
pub struct Plan {
    /// What to do, in order.
    pub steps: Vec<Step>,
    /// The named outputs.
    pub outputs: Vec<(String, PlannedOutput)>,
    /// Bytes of the arena.
    pub arena_bytes: usize,
    /// The copies that could not be avoided, each with its reason.
    pub copies: Vec<PlannedCopy>,
    /// The copies that were proved unnecessary.
    pub elided: Vec<PlannedCopy>,
}

/// Where an output is found after a run.
pub enum PlannedOutput {
    /// In memory.
    Tensor(Operand),
    /// Known without running.
    Constant(crate::tensor::Tensor),
}

/// A copy, made or avoided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedCopy {
    /// The value that it makes.
    pub value: String,
    /// Bytes copied.
    pub bytes: usize,
    /// Whether the memory that it reads or writes is state: a cache.
    pub state: bool,
    /// Why the program asks for it, and why it stays if it does.
    pub reason: String,
}

/// One thing to do.
pub enum Step {
    /// Run a kernel.
    Run(RunStep),
    /// Run one of two lists of steps.
    Cond {
        /// One element; true takes the first list.
        predicate: Operand,
        /// What to do if it is true, and if it is false.
        branches: [Vec<Step>; 2],
    },
}

/// A kernel and the memory that it works on.
pub struct RunStep {
    /// The computation.
    pub kernel: Box<dyn Kernel>,
    /// What it reads.
    pub inputs: Vec<Operand>,
    /// What it writes.
    pub outputs: Vec<Operand>,
    /// Its working memory.
    pub scratch: Region,
    /// The node that it comes from, for messages.
    pub node: Arc<str>,
}

/// A tensor in a region of memory.
#[derive(Clone, Debug)]
pub struct Operand {
    /// The bytes from its first to its last element.
    pub region: Region,
    /// Its element type.
    pub dtype: DType,
    /// Its layout, counted from the start of the region.
    pub layout: Layout,
}

/// Plans a method for inputs of these layouts.
///
/// # Errors
/// If a node cannot be computed for these sizes.
pub fn plan(
    model: &Model,
    method: usize,
    inputs: &[(DType, Layout)],
    state: &[Option<Region>],
    kernels: KernelSet,
) -> Result<Plan, Error> {
    let lowered = lower::lower(model, method, inputs, kernels)?;
    let events = liveness::Events::collect(&lowered);
    hazard::check(&lowered, &events).map_err(|hazard| Error::Node {
        method: model.methods()[method].program.name.clone(),
        node: hazard.node,
        reason: hazard.reason,
    })?;
    let decisions = coalesce::coalesce(&lowered, &events);
    emit::emit(lowered, decisions, model, method, state)
}
