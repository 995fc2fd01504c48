//! What a plan consists of: steps over operands, each at a known place in memory; and what the steps
//! cost.

use std::ops::Range;
use std::sync::Arc;

use crosslatch_kernels::{DType, Kernel, Layout};

use super::report::{PlannedCopy, PlannedPiece, PlannedValue};
use crate::tensor::Tensor;

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

/// Where an output is found after a run.
pub enum PlannedOutput {
    /// In memory.
    Tensor(Operand),
    /// Known without running.
    Constant(Tensor),
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
        /// For each branch, the state slots that it needs filled and that the other branch fills.
        needs: [Vec<usize>; 2],
        /// The node that it comes from, for messages.
        node: Arc<str>,
    },
    /// Run a list of steps again and again.
    Loop {
        /// For how long.
        repeat: Repeat,
        /// What each turn does.
        body: Vec<Step>,
        /// The node that it comes from, for messages.
        node: Arc<str>,
    },
}

/// For how long a loop takes turns.
pub enum Repeat {
    /// For as long as the element of the operand is true after these steps.
    While(Vec<Step>, Operand),
    /// This often.
    Times(usize),
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
    pub scratch: Location,
    /// Arithmetic operations that it takes, about.
    pub flops: u64,
    /// Bytes that it reads and writes, about.
    pub bytes: u64,
    /// The node that it comes from, for messages.
    pub node: Arc<str>,
    /// Which of [`Plan::copies`] it makes, if it is one of them.
    pub copy: Option<usize>,
}

/// A tensor in memory.
#[derive(Clone, Debug)]
pub struct Operand {
    /// The bytes from its first to its last element.
    pub location: Location,
    /// Its element type.
    pub dtype: DType,
    /// Its layout, relative to the start of the location.
    pub layout: Layout,
}

/// A block of memory that a plan works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Block {
    /// Values that live within a run.
    Arena,
    /// The state of the session.
    State,
    /// Payloads of the model's files that had to be copied.
    Copied,
    /// Quantized weights.
    Quantized,
    /// One of the model's files, by number.
    File(usize),
    /// One of the tensors that the run is fed with, by number.
    Input(usize),
}

/// Bytes in a block of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// The block.
    pub block: Block,
    /// The first byte.
    pub start: usize,
    /// Number of bytes.
    pub len: usize,
}

impl Location {
    /// No bytes.
    pub const EMPTY: Location = Location {
        block: Block::Arena,
        start: 0,
        len: 0,
    };

    /// These bytes of a block.
    pub fn of(block: Block, range: &Range<usize>) -> Location {
        Location {
            block,
            start: range.start,
            len: range.len(),
        }
    }
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
            flops: self.flops.saturating_add(other.flops),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }
}

impl Plan {
    /// What every run costs, whichever branches are taken; and what is added where each `cond` takes
    /// its more expensive branch, which is the work that is done once per input. A loop that repeats for
    /// as long as something holds counts as one turn.
    pub fn work(&self) -> [Work; 2] {
        work(&self.steps)
    }
}

/// As [`Plan::work`], for a part of a plan.
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
            Step::Loop { repeat, body, .. } => {
                let (head, turns) = match repeat {
                    Repeat::While(head, _) => (work(head), 1),
                    Repeat::Times(turns) => ([Work::default(); 2], *turns as u64),
                };
                let [a, b] = work(body).map(|work| Work {
                    flops: work.flops.saturating_mul(turns),
                    bytes: work.bytes.saturating_mul(turns),
                });
                [head[0] + a, head[1] + b]
            }
        };
        total = [total[0] + always, total[1] + more];
    }
    total
}
