//! Operators along dimensions: reductions, cumulative operators, sorting and searching.

mod any_all;
mod cumulative;
mod distances;
mod extremes;
mod histogram;
mod reduction;
mod sort;
mod statistics;
mod sums;

use crate::ir::catalogue::Table;

/// The tables of this folder.
pub(super) const TABLES: &[Table] = &[
    any_all::OPERATORS,
    cumulative::OPERATORS,
    distances::OPERATORS,
    extremes::OPERATORS,
    histogram::OPERATORS,
    sort::OPERATORS,
    statistics::OPERATORS,
    sums::OPERATORS,
];
