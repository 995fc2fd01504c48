//! Elementwise operators: one function of numbers, applied to each element.

mod activations;
mod arithmetic;
mod comparisons;
mod complex;
mod conversions;
mod division;
pub(super) mod pointwise;
mod powers;
mod select;
mod unary;

use crate::ir::catalogue::Table;

/// The tables of this folder.
pub(super) const TABLES: &[Table] = &[
    activations::OPERATORS,
    arithmetic::OPERATORS,
    comparisons::OPERATORS,
    complex::OPERATORS,
    conversions::OPERATORS,
    division::OPERATORS,
    powers::OPERATORS,
    select::OPERATORS,
    unary::OPERATORS,
];
