//! What kernels run on: memory, threads and vector instructions.

pub(crate) mod instructions;
pub mod memory;
pub mod partition;
pub(crate) mod prefetch;
pub(crate) mod shared;
pub mod threads;
