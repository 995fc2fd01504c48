//! The nouns: what a tensor is made of and where its elements lie.

pub(crate) mod arithmetic;
pub(crate) mod dtype;
pub(crate) mod int4;
pub(crate) mod layout;
pub(crate) mod matrix;
pub(crate) mod quantized;
pub mod scaled_rows;
pub(crate) mod storage;
pub(crate) mod untyped;
pub(crate) mod view;
pub(crate) mod wide_columns;

pub use arithmetic::Accumulate;
pub use dtype::{Bool, DType, Element, no_real_element};
pub use layout::{
    Dims, Layout, MAX_RANK, broadcast_shapes, checked_numel, for_each_run, is_addressable,
};
pub use quantized::{MAX_COLUMNS, QuantizeError, QuantizedMatrix, WeightFormat};
pub use storage::{OutOfMemory, Storage};
pub use view::{TensorError, TensorMut, TensorRef};
pub use wide_columns::MOST_WIDE;
