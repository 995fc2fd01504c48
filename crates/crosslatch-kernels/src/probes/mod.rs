//! What the machine can do at best: the floors that benchmarks compare kernels with.

pub(crate) mod bandwidth;
pub(crate) mod peak;

pub use bandwidth::BandwidthProbe;
pub use peak::{Numbers, multiply_adds_per_second};
