//! Operators that normalise rows: norms and softmax.

mod batch_norm;
mod normalization;
mod softmax;

use crate::ir::catalogue::Table;

/// The tables of this folder.
pub(super) const TABLES: &[Table] = &[
    batch_norm::OPERATORS,
    normalization::OPERATORS,
    softmax::OPERATORS,
];
