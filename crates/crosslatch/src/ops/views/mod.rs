//! Operators whose result is a view of an operand's memory.

pub(super) mod dims;
pub(super) mod expand;
mod identity;
pub(super) mod reshape;
mod shuffles;
pub(super) mod slice;

use crate::ir::catalogue::Table;

/// The tables of this folder.
pub(super) const TABLES: &[Table] = &[
    dims::OPERATORS,
    expand::OPERATORS,
    identity::OPERATORS,
    reshape::OPERATORS,
    shuffles::OPERATORS,
    slice::OPERATORS,
];
