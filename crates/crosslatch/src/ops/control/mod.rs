//! Operators that compute no tensor: `cond`, assertions, arithmetic on sizes.

mod assertions;
mod cond;
mod size_arithmetic;

use crate::ir::catalogue::Table;

/// The tables of this folder.
pub(super) const TABLES: &[Table] = &[
    assertions::OPERATORS,
    cond::OPERATORS,
    size_arithmetic::OPERATORS,
];
