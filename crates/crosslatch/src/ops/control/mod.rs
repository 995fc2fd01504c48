//! Operators that compute no tensor: `cond`, assertions, arithmetic on sizes.

pub(super) mod assertions;
pub(super) mod cond;
pub(super) mod sizes;

pub use cond::COND;

use super::Table;

/// The tables of this folder.
pub(super) const TABLES: &[Table] = &[assertions::OPERATORS, cond::OPERATORS, sizes::OPERATORS];
