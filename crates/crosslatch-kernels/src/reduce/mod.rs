//! Kernels in which many elements along a dimension become one, or are put in order.

pub(crate) mod any_all;
pub(crate) mod cumulative;
pub(crate) mod distances;
pub(crate) mod histogram;
pub(crate) mod reduction;
pub(crate) mod sort;

pub use any_all::{all, any};
pub use cumulative::{cumulate, fold_neighbours};
pub use distances::{distances, distances_of_pairs};
pub use histogram::histogram;
pub use reduction::{Fold, find_first, reduce};
pub use sort::{Order, order, scratch_bytes, search_sorted};
