//! The Crosslatch engine: runs encoder–decoder models that PyTorch exported, with the
//! cross-attention keys and values computed once per input and never copied.
//!
//! Data flows one way. [`pt2`] reads an archive; what is in it becomes programs of the [`ir`],
//! calls of operators from [`ops`], collected in a [`model`]. [`effects`] says what the operators
//! may do to whose memory. The [`passes`] change programs: what depends on latched inputs alone is
//! computed once. The plan decides the memory of every value, kernels of the crate
//! `crosslatch-kernels` fill it, a session runs it. The [`mod@reference`] interpreter says what a
//! program means, and everything else is measured against it.

#![forbid(unsafe_code)]

pub mod effects;
pub mod error;
pub mod inputs;
pub mod ir;
pub mod memory;
pub mod model;
pub mod ops;
pub mod options;
pub mod passes;
pub mod plan;
pub mod precision;
pub mod pt2;
pub mod reference;
pub mod session;
pub mod tensor;

pub use crosslatch_kernels::probes::BandwidthProbe;
pub use crosslatch_kernels::{Bool, DType, Layout, TensorRef, Threads};
pub use error::Error;
pub use ir::operator::KernelSet;
pub use memory::{MemoryError, MemoryLimit};
pub use model::Model;
pub use options::Options;
pub use precision::Precision;
pub use pt2::file::{Access, OtherWriter};
pub use session::{Input, Outputs, Session};
pub use tensor::Tensor;
