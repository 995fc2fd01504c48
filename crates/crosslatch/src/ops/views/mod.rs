//! Operators whose result is a view of an operand's memory.

pub(super) mod dims;
pub(super) mod expand;
pub(super) mod reshape;
pub(super) mod slice;

use super::Table;

/// The tables of this folder.
pub(super) const TABLES: &[Table] = &[
    dims::OPERATORS,
    expand::OPERATORS,
    reshape::OPERATORS,
    slice::OPERATORS,
];
