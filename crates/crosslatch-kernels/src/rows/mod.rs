//! Kernels that normalise rows, softmax and the norms, and what a search asks of a row of scores.

pub(crate) mod blocks;
pub(crate) mod channels;
pub(crate) mod normalization;
pub(crate) mod scores;
pub(crate) mod softmax;
pub(crate) mod weight_norm;

pub use channels::ChannelNorm;
pub use normalization::{Norm, norm};
pub use scores::{ScoreSum, greatest, log_probabilities, next_above};
pub use softmax::{Softmax, softmax};
pub use weight_norm::weight_norm;
