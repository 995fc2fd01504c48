//! Matrix products, of groups as well, and `einsum`.

mod einsum;
mod grouped;
mod integers;
mod kernel;
mod products;

use crate::ir::catalogue::Table;

/// The tables of this folder.
pub(super) const TABLES: &[Table] = &[
    einsum::OPERATORS,
    grouped::OPERATORS,
    integers::OPERATORS,
    products::OPERATORS,
];
