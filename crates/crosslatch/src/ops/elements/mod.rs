//! Elementwise operators: one function of numbers, applied to each element.

pub(super) mod activations;
pub(super) mod arithmetic;
pub(super) mod comparisons;
pub(super) mod conversions;
pub(super) mod division;
pub(super) mod pointwise;
pub(super) mod powers;
pub(super) mod select;
pub(super) mod unary;

use crate::ir::catalogue::Table;

/// The tables of this folder.
pub(super) const TABLES: &[Table] = &[
    activations::OPERATORS,
    arithmetic::OPERATORS,
    comparisons::OPERATORS,
    conversions::OPERATORS,
    division::OPERATORS,
    powers::OPERATORS,
    select::OPERATORS,
    unary::OPERATORS,
];
