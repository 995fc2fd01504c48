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
}

impl Default for Options {
    fn default() -> Self {
        Options {
            threads: std::thread::available_parallelism().map_or(1, |n| n.get()),
            kernels: KernelSet::Fast,
            precision: Precision::F32,
            memory_limit: MemoryLimit::default(),
        }
    }
}
