//! Matrix products and sums of products.

pub(super) mod einsum;
pub(super) mod products;

use crate::ir::catalogue::Table;

/// The tables of this folder.
pub(super) const TABLES: &[Table] = &[einsum::OPERATORS, products::OPERATORS];
