//! Operators that normalise rows.

pub(super) mod normalization;
pub(super) mod softmax;

use crate::ir::catalogue::Table;

/// The tables of this folder.
pub(super) const TABLES: &[Table] = &[normalization::OPERATORS, softmax::OPERATORS];
