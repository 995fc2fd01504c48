//! Operators that compute no tensor: `cond` and loops, assertions, arithmetic on sizes.

mod assertions;
mod regions;
mod size_arithmetic;

use crate::ir::catalogue::Table;

/// The tables of this folder.
pub(super) const TABLES: &[Table] = &[
    assertions::OPERATORS,
    regions::OPERATORS,
    size_arithmetic::OPERATORS,
];
