//! Elementwise kernels: one function, applied to each element.

pub mod blocks;
pub mod elementwise;
