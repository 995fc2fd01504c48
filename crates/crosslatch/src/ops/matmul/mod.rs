//! Matrix products and `einsum`.

mod einsum;
mod kernel;
mod products;

use crate::ir::catalogue::Table;

/// The tables of this folder.
pub(super) const TABLES: &[Table] = &[einsum::OPERATORS, products::OPERATORS];
