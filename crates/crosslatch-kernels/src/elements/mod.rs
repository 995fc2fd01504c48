//! Elementwise kernels: one function, applied to each element.

pub(crate) mod blocks;
pub(crate) mod elementwise;

pub use blocks::{Compute, first};
pub use elementwise::{BlockFunction, Blockwise, Class, Source, apply, blockwise, contains_zero};
