//! The interface between panels and the numbers that their products are computed in.

use super::softmax::Weigh;
use crate::attention::problem::Shape;
use crate::tensor::matrix::Strided;

/// Most keys of a block.
pub(super) const BLOCK: usize = 256;

/// How scores and results are computed.
pub(in crate::attention) trait Products: Weigh + Copy + Sync {
    /// Most panels of a task.
    const PANELS: usize;

    /// Lanes of a panel.
    fn lanes(self) -> usize;

    /// Rows of a panel that hold queries of `inner` elements.
    fn query_rows(inner: usize) -> usize;

    /// Elements of working memory for a block.
    fn block_len(shape: &Shape) -> usize;

    /// Writes `count` queries, scaled, into the lanes of the rows of `to`, which are zeros.
    /// `memory` has room for as many numbers in as many lanes as a block has keys.
    fn put_queries(
        self,
        queries: Strided<'_>,
        size: [usize; 2],
        scale: f32,
        memory: &mut [f32],
        to: &mut [f32],
    );

    /// Brings a block into the form that the products want.
    fn prepare(self, block: &mut KeyBlock<'_>);

    /// The scores of queries, a row for each key.
    fn scores(self, block: &KeyBlock<'_>, queries: &[f32], scores: &mut [f32]);

    /// Adds the values, weighted, to results.
    fn add_values(self, block: &KeyBlock<'_>, weights: &[f32], results: &mut [f32]);
}

/// Keys and values that panels pass by.
pub(in crate::attention) struct KeyBlock<'a> {
    pub shape: &'a Shape,
    /// A row for each key.
    pub keys: Strided<'a>,
    /// A row for each value.
    pub values: Strided<'a>,
    /// Number of keys.
    pub count: usize,
    /// How many panels pass by.
    pub panels: usize,
    /// What [`Products::prepare`] makes of them.
    pub prepared: &'a mut [f32],
}
