//! Operators that normalise rows: norms and softmax.

mod batch_norm;
mod normalization;
mod softmax;
mod weight_norm;

use crate::ir::catalogue::Table;

/// The tables of this folder.
pub(super) const TABLES: &[Table] = &[
    batch_norm::OPERATORS,
    normalization::OPERATORS,
    softmax::OPERATORS,
    weight_norm::OPERATORS,
];
