//! How a session runs: threads, kernels, precision, memory.

use crate::ir::KernelSet;
use crate::memory::MemoryLimit;
use crate::precision::Precision;

/// How a session runs.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Threads that kernels share their work with, the caller's included.
    pub threads: usize,
    /// Which kernels to choose. Plain kernels are for comparison only.
    pub kernels: KernelSet,
    /// How weights are stored. The first session in a precision converts them for all sessions.
    pub precision: Precision,
    /// The most memory that the session may take; by default, the memory of the machine.
    pub memory_limit: MemoryLimit,
    /// The most turns that the loops of a program may take in one run.
    pub turn_limit: TurnLimit,
}

/// The most turns that the loops of a program may take in one run, so that a loop which does not end is
/// an error: 16 million by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurnLimit(u64);

impl TurnLimit {
    /// A limit of this many turns.
    pub const fn turns(turns: u64) -> TurnLimit {
        TurnLimit(turns)
    }
}

impl Default for TurnLimit {
    fn default() -> Self {
        TurnLimit::turns(1 << 24)
    }
}

impl Default for Options {
    fn default() -> Self {
        Options {
            threads: std::thread::available_parallelism().map_or(1, |n| n.get()),
            kernels: KernelSet::Fast,
            precision: Precision::F32,
            memory_limit: MemoryLimit::default(),
            turn_limit: TurnLimit::default(),
        }
    }
}

/// The turns that the loops of a run have taken.
pub(crate) struct TurnsTaken {
    count: u64,
    limit: TurnLimit,
}

impl TurnsTaken {
    /// None so far.
    pub fn none(limit: TurnLimit) -> TurnsTaken {
        TurnsTaken { count: 0, limit }
    }

    /// Counts a turn; fails with the reason if it is one too many.
    pub fn count(&mut self) -> Result<(), String> {
        self.count += 1;
        match self.count <= self.limit.0 {
            true => Ok(()),
            false => Err(format!(
                "the loops of this run would take more than {} turns, which is the limit; if that is \
                 meant, raise it (`Options::turn_limit`)",
                self.limit.0
            )),
        }
    }
}
