//! Runs a target on many inputs, on any toolchain.
//!
//! The inputs run in a *child* process: a panic is caught there, but an abort, a stack overflow or an
//! endless loop takes the process down. The child records each input before it runs (`record`), so that
//! the *parent* knows the culprit, keeps it as a finding and starts another child. The child's threads
//! have small stacks, and its address space is limited.
//!
//! An input is a finding if the target panics, if the process ends, if it takes longer than
//! [`LONGEST_TIME`] (three times in a row, since a busy machine is not the input's fault), or if it
//! takes more memory than [`FACTOR`] times its own size plus [`FREE_MEMORY`].
//!
//! The child does not know which code an input has reached, but the target's answer tells how far it got.
//! An input with a new answer becomes a basis for others.

pub mod child;
mod known;
mod memory;
pub mod parent;
mod record;

use std::time::Duration;

/// The longest that one input may take.
pub const LONGEST_TIME: Duration = Duration::from_secs(1);

/// Memory that an input may take in addition to a multiple of its size: tables of fixed size (of a Fourier
/// transform, a resampler, a decoder, the tokenizer's caches) and the runtime's own.
pub const FREE_MEMORY: usize = 32 << 20;

/// The multiple of its size that an input may take as memory.
pub const FACTOR: usize = 10;

/// Stack of the thread that runs a target: the default of Rust's threads, and of a server's.
pub const STACK: usize = 2 << 20;

/// Address space of a child, in KiB.
const ADDRESS_SPACE: usize = 2_000_000;

/// How long a child may be silent before it is killed.
const LONGEST_SILENCE: Duration = Duration::from_secs(10);
