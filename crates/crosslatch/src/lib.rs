//! The Crosslatch engine: it runs encoder–decoder models that PyTorch exported (`.pt2`), with the
//! cross-attention keys and values computed once per input and never copied.
//!
//! A [`Model`] is the programs and weights of a file. A [`Session`] is one input being worked on: it
//! has the caches and flags of the model's programs, here called methods, and the memory to run them.
//! [`Outputs`] are read where the run left them.
//!
//! ```
//! use crosslatch::{Input, Model, Options, Session, Tensor};
//!
//! # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../demo/model.pt2");
//! let model = Model::open(path)?;
//! let mut session = Session::new(&model, Options::default())?;
//!
//! let features = Tensor::from_slice(&[1, 80, 600], &vec![0.0f32; 80 * 600])?;
//! session.run("encoder", &[("input_features", features.view().into())])?;
//!
//! for (step, token) in [50i64, 7, 12].into_iter().enumerate() {
//!     let token = Tensor::from_slice(&[1, 1], &[token])?;
//!     let position = Tensor::from_slice(&[1], &[step as i64])?;
//!     let outputs = session.run(
//!         "decoder",
//!         &[
//!             ("input_ids", token.view().into()),
//!             ("cache_position", position.view().into()),
//!             // What the encoder returned, read where it lies.
//!             ("encoder_hidden_states", Input::Output { method: "encoder", name: "layer_norm_8" }),
//!         ],
//!     )?;
//!     let logits = outputs.get("linear_16")?;
//!     println!("{:?}", logits.shape());
//! }
//!
//! session.reset(); // ready for the next input
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Several inputs at once
//!
//! Sessions of one model share its weights and are independent of each other; each may be used by
//! another thread. [`Session::fork`] makes a second session that goes on from the same state, which is
//! how the beams of a search share their caches. [`Session::run_together`] takes several sessions
//! through one step and reads each weight once for all of them.
//!
//! # Precision
//!
//! [`Options::precision`] stores the weights of linear layers in bf16, int8 or int4. In `f32`,
//! results are those of the reference interpreter ([`mod@reference`]), bit for bit; in the other
//! precisions they equal those of the interpreter in that precision. [`Model::keep_weights_in`] keeps
//! what was converted for the next process.
//!
//! # Hostile files
//!
//! A file is checked before anything in it is believed, and the memory that a session takes is bounded
//! by [`Options::memory_limit`]. [`Model::open`] maps the file, under the condition that nobody changes
//! it meanwhile; [`Model::read`] copies it. The crate has no unsafe code; that is in
//! `crosslatch-kernels`.
//!
//! # Inside
//!
//! Data flows one way. `pt2` reads an archive; what is in it becomes programs of the [`ir`], calls of
//! operators from `ops`, collected in a [`model`]. `effects` says what the operators may do to whose
//! memory. `passes` change programs: what depends on latched inputs alone is computed once. The
//! [`plan`] decides the memory of every value, kernels fill it, and a session runs the kernels. The
//! [`mod@reference`] interpreter says what a program means, and everything else is measured against it.

#![forbid(unsafe_code)]

#[doc(hidden)]
pub mod effects;
mod error;
#[doc(hidden)]
pub mod inputs;
pub mod ir;
mod memory;
pub mod model;
#[doc(hidden)]
pub mod ops;
mod options;
#[doc(hidden)]
pub mod passes;
pub mod plan;
mod precision;
#[doc(hidden)]
pub mod pt2;
pub mod reference;
mod session;
mod tensor;

pub use crosslatch_kernels::probes::BandwidthProbe;
pub use crosslatch_kernels::rows::{ScoreSum, greatest, log_probabilities, next_above};
pub use crosslatch_kernels::{Bool, DType, Layout, TensorRef, Threads};
pub use error::{ArchiveError, Error, MissingCall, MissingOperators};
pub use ir::KernelSet;
pub use memory::{MemoryError, MemoryLimit};
pub use model::Model;
pub use options::{Options, TurnLimit};
pub use precision::{Precision, UnknownPrecision};
pub use pt2::file::{Access, OtherWriter};
pub use session::{Input, Outputs, Session};
pub use tensor::{Tensor, TensorSizeError};
