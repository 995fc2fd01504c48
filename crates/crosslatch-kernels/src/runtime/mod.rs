//! What kernels run on: memory, threads and vector instructions.

pub(crate) mod caches;
pub(crate) mod instructions;
pub(crate) mod memory;
pub(crate) mod partition;
pub(crate) mod prefetch;
pub(crate) mod shared_output;
pub(crate) mod threads;

pub use memory::{Blocks, FileContents, Loan, Region, RegionError};
pub use partition::{Part, for_each_part, try_for_each_part};
pub use threads::{TASK_MEMORY, Threads};
