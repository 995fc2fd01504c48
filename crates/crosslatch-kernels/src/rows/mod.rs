//! Kernels that normalise rows: softmax and the norms.

pub(crate) mod blocks;
pub mod normalization;
pub mod softmax;
