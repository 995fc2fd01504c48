//! Matrix products and sums of products.

pub(super) mod einsum;
pub(super) mod matrices;

use super::Table;

/// The tables of this folder.
pub(super) const TABLES: &[Table] = &[einsum::OPERATORS, matrices::OPERATORS];
