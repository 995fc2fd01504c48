//! Passes: programs in, programs out, one pass a module.

pub mod caches;
pub mod carry;
pub mod latch;
pub mod quantize;
