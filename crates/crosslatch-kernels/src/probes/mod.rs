//! What the machine can do at best: the floors that benchmarks compare kernels with.

pub mod bandwidth;
pub mod peak;
