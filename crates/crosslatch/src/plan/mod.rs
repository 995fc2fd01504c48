//! Plans: a program made ready to run for one set of sizes.
//!
//! Six steps, one module each. [`lower`] walks the graph with all sizes known and writes it down
//! as a list of [`instructions`] over storages: every fresh result, every copy that the meaning of
//! the program asks for, has one of its own. What asks for too much memory is refused ([`limits`]), and
//! what no plan can be right for ([`hazard`]).
//! [`fuse`] joins kernels. [`spread`] lays values where a copy would put them. [`coalesce`] then
//! proves which storages can be one memory, and copies between them vanish. [`arena`] gives the
//! storages that remain their places.
//! [`emit`] turns the instructions into steps that a session runs without another thought.

pub mod arena;
mod branches;
pub mod coalesce;
pub mod conflict;
pub mod emit;
pub mod fuse;
pub mod hazard;
pub mod instructions;
pub mod limits;
pub mod liveness;
pub mod lower;
#[cfg(test)]
mod properties;
mod results;
pub mod spread;

use std::sync::Arc;

use crosslatch_kernels::runtime::Region;
use crosslatch_kernels::{DType, Kernel, Layout};

use crate::error::Error;
use crate::ir::operator::KernelSet;
use crate::memory::MemoryLimit;
use crate::model::{Model, QuantizedWeights};

/// Blocks of memory that a plan's regions refer to; inputs follow as further blocks.
pub mod block {
    /// Values that live within a run.
    pub const ARENA: usize = 0;
    /// The state of the session.
    pub const STATE: usize = 1;
    /// Payloads of the model's files that had to be copied.
    pub const COPIED: usize = 2;
    /// Weights in a narrow format.
    pub const NARROW: usize = 3;
    /// The first of the model's files; the inputs are behind the last.
    pub const FILES: usize = 4;
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
    /// Where the tensors of the program live.
    pub values: Vec<PlannedValue>,
    /// The pieces of the arena.
    pub pieces: Vec<PlannedPiece>,
}

/// A piece of the arena, and when it is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedPiece {
    /// Its first byte.
    pub start: usize,
    /// Bytes.
    pub bytes: usize,
    /// First and last step that it is kept for, counted in the order of [`Plan::steps`], a `cond`
    /// before the steps of its branches.
    pub steps: (usize, usize),
    /// The node whose kernel works in it, if it holds no value.
    pub scratch_of: Option<Arc<str>>,
}

/// A tensor of the program and the memory that it lives in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedValue {
    /// Its name; inside a branch, behind the names of the `cond` and the branch: `k/then/p`.
    pub name: String,
    /// The memory.
    pub memory: Memory,
    /// Which piece of the arena, if it lives in one.
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
    /// Whether it stores a new value where an operator says, which somebody has to do.
    pub store: bool,
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
        /// For each branch, the state slots that it needs filled, and the other one fills.
        needs: [Vec<usize>; 2],
        /// The node that it comes from, for messages.
        node: Arc<str>,
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
    /// Arithmetic operations that it takes, about.
    pub flops: u64,
    /// Bytes that it reads and writes, about.
    pub bytes: u64,
    /// The node that it comes from, for messages.
    pub node: Arc<str>,
    /// Which of [`Plan::copies`] it makes, if it is one of them.
    pub copy: Option<usize>,
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

/// What steps cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Arithmetic operations, about.
    pub flops: u64,
    /// Bytes that are read and written, about.
    pub bytes: u64,
}

impl std::ops::Add for Work {
    type Output = Work;

    fn add(self, other: Work) -> Work {
        Work {
            flops: self.flops + other.flops,
            bytes: self.bytes + other.bytes,
        }
    }
}

impl Plan {
    /// What every run costs, whichever branches are taken, and what is added where a `cond` takes
    /// its more expensive branch: the work that is done once per input.
    pub fn work(&self) -> [Work; 2] {
        work(&self.steps)
    }
}

/// The same for a part of a plan.
pub fn work(steps: &[Step]) -> [Work; 2] {
    let mut total = [Work::default(); 2];
    for step in steps {
        let [always, more] = match step {
            Step::Run(step) => {
                let own = Work {
                    flops: step.flops,
                    bytes: step.bytes,
                };
                [own, Work::default()]
            }
            Step::Cond { branches, .. } => {
                let [a, b] = branches.each_ref().map(|branch| {
                    let [always, more] = work(branch);
                    always + more
                });
                let (low, high) = if (a.flops, a.bytes) <= (b.flops, b.bytes) {
                    (a, b)
                } else {
                    (b, a)
                };
                let more = Work {
                    flops: high.flops - low.flops,
                    bytes: high.bytes.saturating_sub(low.bytes),
                };
                [low, more]
            }
        };
        total = [total[0] + always, total[1] + more];
    }
    total
}

/// Plans a method for inputs of these layouts, with weights stored as `quantized` says, if it does.
///
/// # Errors
/// If a node cannot be computed for these sizes, or asks for more memory than the limit allows.
pub fn plan(
    model: &Model,
    method: usize,
    inputs: &[(DType, Layout)],
    state: &[Option<Region>],
    kernels: KernelSet,
    quantized: Option<&QuantizedWeights>,
    limit: MemoryLimit,
) -> Result<Plan, Error> {
    let stored = quantized.map_or(&[][..], |n| n.slots(method));
    let name = &model.methods()[method].program.name;
    let refused = |hazard: hazard::Hazard| Error::Node {
        method: name.clone(),
        node: hazard.node,
        reason: hazard.reason,
    };
    let mut lowered = lower::lower(model, method, inputs, kernels, stored)?;
    limits::check(&lowered, limit).map_err(|too_large| Error::Memory {
        what: format!("method `{name}`, node {}", too_large.node),
        source: too_large.error,
    })?;
    hazard::check_writes(&lowered.insts).map_err(refused)?;
    fuse::fuse(&mut lowered);
    spread::spread(&mut lowered);
    let events = liveness::Events::collect(&lowered);
    hazard::check(&lowered, &events).map_err(refused)?;
    let decisions = coalesce::coalesce(&lowered, &events);
    emit::emit(lowered, decisions, model, method, state, stored)
}
