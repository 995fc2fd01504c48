//! Operators that normalise rows: norms and softmax.

mod normalization;
mod softmax;

use crate::ir::catalogue::Table;

/// The tables of this folder.
pub(super) const TABLES: &[Table] = &[normalization::OPERATORS, softmax::OPERATORS];
