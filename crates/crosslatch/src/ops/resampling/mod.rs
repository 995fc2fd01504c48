//! Images and sequences in another size, and images at other places.

mod grid;
mod upsample;

use crate::ir::catalogue::Table;

/// The tables of this folder.
pub(super) const TABLES: &[Table] = &[grid::OPERATORS, upsample::OPERATORS];
