//! Operators that move elements without computing on them, and operators that create tensors.

mod concatenate;
mod creation;
mod cross_attention_cache;
mod dropout;
mod embedding;
mod embedding_bag;
mod indexing;
mod nonzero;
mod patches;
mod rearrange;
mod repeat;
mod scaled_rows;
mod scatter;

use crate::ir::catalogue::Table;

/// The tables of this folder.
pub(super) const TABLES: &[Table] = &[
    concatenate::OPERATORS,
    creation::OPERATORS,
    cross_attention_cache::OPERATORS,
    dropout::OPERATORS,
    embedding::OPERATORS,
    embedding_bag::OPERATORS,
    indexing::OPERATORS,
    nonzero::OPERATORS,
    patches::OPERATORS,
    rearrange::OPERATORS,
    repeat::OPERATORS,
    scaled_rows::OPERATORS,
    scatter::OPERATORS,
];
