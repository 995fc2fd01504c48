//! Kernels in which many elements along a dimension become one, or are put in order.

pub mod any_all;
pub mod cumulative;
pub mod reduction;
pub mod sort;
