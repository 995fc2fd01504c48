//! Kernels that move elements without computing on them, and kernels that make tensors from nothing.

pub mod copy;
pub mod embedding;
pub mod fill;
pub mod gather;
pub mod indexing;
pub mod masked;
pub mod rearrange;
pub mod scatter;
