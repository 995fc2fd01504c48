//! Kernels in which many elements along a dimension become one, or are put in order.

pub(crate) mod any_all;
pub(crate) mod cumulative;
pub(crate) mod reduction;
pub(crate) mod sort;

pub use any_all::{all, any};
pub use cumulative::cumulate;
pub use reduction::{Fold, find_first, reduce};
pub use sort::{Order, order, scratch_bytes, search_sorted};
