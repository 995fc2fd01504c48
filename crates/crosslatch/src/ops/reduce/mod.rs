//! Operators along dimensions: reductions, cumulative folds, sorting.

pub(super) mod cumulative;
pub(super) mod extremes;
pub(super) mod reductions;
pub(super) mod sort;
pub(super) mod statistics;

use crate::ir::catalogue::Table;

/// The tables of this folder.
pub(super) const TABLES: &[Table] = &[
    cumulative::OPERATORS,
    extremes::OPERATORS,
    reductions::OPERATORS,
    sort::OPERATORS,
    statistics::OPERATORS,
];
