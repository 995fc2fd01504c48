//! Kernels that move elements without computing on them, and kernels that make tensors from
//! nothing.

pub(crate) mod copy;
pub(crate) mod embedding;
pub(crate) mod embedding_bag;
pub(crate) mod fill;
pub(crate) mod gather;
pub(crate) mod indexing;
pub(crate) mod masked;
pub(crate) mod patches;
pub(crate) mod quantize;
pub(crate) mod rearrange;
pub(crate) mod scale_rows;
pub(crate) mod scatter;

pub use copy::{convert, copy};
pub use embedding::{embedding, quantized_embedding};
pub use embedding_bag::{Bag, EmbeddingBag};
pub use fill::{Scalar, Triangle, arange, eye, fill, fill_with, linspace, read_one, triangle};
pub use gather::{gather, take};
pub use indexing::{Index, Indexing, Integers, Negative, Write, index, index_put, position};
pub use masked::{fill_masked, nonzero, scatter_masked, write_masked};
pub use patches::{Patches, add_windows};
pub use quantize::{Rounding, Unquantized, dequantize_row, outlying_columns, quantize};
pub use rearrange::{DimMap, OUTSIDE, rearrange};
pub use scale_rows::{scale_rows, unscale_rows};
pub use scatter::{
    Combine, ScatterSource, clear_scattered, mean_scratch_bytes, scatter, scatter_mean,
};
