//! Operators that move elements without computing on them, and operators that create tensors.

pub(super) mod concatenate;
pub(super) mod creation;
pub(super) mod cross_attention_cache;
pub(super) mod embedding;
pub(super) mod indexing;
pub(super) mod rearrange;
pub(super) mod repeat;
pub(super) mod scatter;

use crate::ir::catalogue::Table;

/// The tables of this folder.
pub(super) const TABLES: &[Table] = &[
    concatenate::OPERATORS,
    creation::OPERATORS,
    cross_attention_cache::OPERATORS,
    embedding::OPERATORS,
    indexing::OPERATORS,
    rearrange::OPERATORS,
    repeat::OPERATORS,
    scatter::OPERATORS,
];
