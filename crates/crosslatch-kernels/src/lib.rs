//! CPU kernels over strided tensors.
//!
//! This crate knows tensors, not graphs. A kernel gets views of memory (an element type, a shape,
//! strides, bytes) and fills other views; who owns the memory, why an operand lies where it lies
//! and in which order kernels run is decided above. Everything unsafe that the engine needs is in
//! here: handing out disjoint pieces of one arena ([`memory`]), vector instructions and the
//! threads ([`threads`]); the crates above forbid it.
//!
//! Read [`dtype`], [`layout`] and [`tensor`] first: the nouns. [`kernel`] is the verb. The other
//! modules are the kernels themselves, one family each.

pub mod approximate;
pub mod attention;
pub mod bandwidth;
pub mod bits;
pub mod blocks;
pub mod contraction;
pub mod convolution;
pub mod copy;
mod dots;
pub mod dtype;
pub mod elementwise;
pub mod embedding;
mod few_narrow;
mod few_rows;
pub mod fill;
pub mod functions;
pub mod gather;
mod gemm;
pub mod indexing;
mod instructions;
pub mod kernel;
pub mod layout;
mod many_narrow;
pub mod masked;
pub mod matmul;
pub mod memory;
pub mod narrow;
pub mod normalization;
pub mod peak;
mod prefetch;
mod real;
pub mod rearrange;
pub mod reduction;
mod result;
mod rounded;
pub mod scan;
pub mod scatter;
pub mod slabs;
pub mod softmax;
pub mod sort;
pub mod stacked;
pub mod storage;
mod target;
pub mod tensor;
pub mod threads;
mod tile;
mod transpose;
pub mod truth;
pub mod vector;
mod weighted;
pub mod wide;
mod word_tile;

pub use dtype::{Bool, DType, Element};
pub use kernel::{Kernel, KernelError, Operands};
pub use layout::{Dims, Layout};
pub use memory::FileContents;
pub use narrow::NarrowMatrix;
pub use storage::Storage;
pub use tensor::{TensorMut, TensorRef};
pub use threads::Threads;
