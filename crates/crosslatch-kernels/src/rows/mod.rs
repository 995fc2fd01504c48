//! Kernels that normalise rows: softmax and the norms.

pub(crate) mod blocks;
pub(crate) mod normalization;
pub(crate) mod softmax;

pub use normalization::{Norm, norm};
pub use softmax::{Softmax, softmax};
