//! CPU kernels over strided tensors.
//!
//! This crate knows tensors, not graphs. A kernel gets views of memory (an element type, a shape,
//! strides, bytes) and fills other views; who owns the memory, why an operand lies where it lies
//! and in which order kernels run is decided above. Everything unsafe that the engine needs is in
//! here: handing out disjoint pieces of one arena ([`runtime::Blocks`]), vector instructions
//! (`runtime/instructions`) and threads ([`runtime::Threads`]); the crates above forbid it.
//!
//! [`tensor`] has the nouns and [`kernel`] the verb; read them first. [`runtime`] and [`simd`] are
//! what kernels are built from. The other modules are the kernels, a wing for each family. A wing
//! uses those above it in this list only:
//!
//! | wing | what is in it |
//! |---|---|
//! | [`tensor`] | element types, layouts, views, owned memory, strided matrices, quantized weights |
//! | [`runtime`] | memory regions, threads, partition of results, instruction sets, prefetch |
//! | [`simd`] | approximate functions, dot products, axpy, transposes, conversions: loops over slices |
//! | [`kernel`] | what a kernel is, its operands, its errors |
//! | [`elements`] | elementwise functions |
//! | [`movement`] | copies, fills, gather, scatter, indexing, embedding, quantization |
//! | [`reduce`] | reductions, any and all, cumulative folds, sorting |
//! | [`rows`] | softmax and normalization |
//! | [`matmul`] | gemm, gemv, quantized products, microkernels |
//! | [`attention`], [`convolution`] | what is built of products |
//! | [`complex`] | arithmetic on complex numbers, Fourier transforms |
//! | [`recurrent`] | LSTM, GRU and plain recurrence, over sequences |
//! | [`pooling`], [`resampling`] | windows of images: the greatest element, the mean; images in another size |
//! | [`random`] | random numbers, as PyTorch draws them |
//! | [`probes`] | what the machine can do: memory bandwidth, peak arithmetic |

pub mod attention;
pub mod complex;
pub mod convolution;
pub mod elements;
pub mod kernel;
pub mod matmul;
pub mod movement;
pub mod pooling;
pub mod probes;
pub mod random;
pub mod recurrent;
pub mod reduce;
pub mod resampling;
pub mod rows;
pub mod runtime;
pub mod simd;
pub mod tensor;

pub use kernel::{Kernel, KernelError, Operands};
pub use runtime::{FileContents, Threads};
pub use tensor::{
    Bool, DType, Dims, Element, Layout, QuantizedMatrix, Storage, TensorMut, TensorRef,
};
