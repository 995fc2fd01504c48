//! Running a target on many inputs, on any toolchain.
//!
//! The inputs run in a *child* process: a panic is caught there, but an abort, a stack that overflows or
//! an endless loop take the process with them. Before each input the child writes it down
//! (`record`), so that the *parent* knows which one it was, keeps it as a finding and starts another
//! child. The child's threads have small stacks and its address space is limited.
//!
//! An input is a finding if the target panics, if the process ends, if it takes longer than
//! [`LONGEST_TIME`] (three times in a row, since a busy machine is not the input's fault), or if it
//! takes more memory than [`FACTOR`] times its own size plus [`FREE_MEMORY`].
//!
//! Nothing tells the child which code an input has reached, but the answer of the target says how far
//! it came. An input with an answer that was not there before becomes one that others are made of.

pub mod child;
mod known;
mod memory;
pub mod parent;
mod record;

use std::time::Duration;

/// The longest that one input may take.
pub const LONGEST_TIME: Duration = Duration::from_secs(1);

/// Memory that an input may take beside a multiple of its size: tables of a fixed size (a Fourier
/// transform's, a resampler's, a decoder's, the tokenizer's caches) and the runtime's own.
pub const FREE_MEMORY: usize = 32 << 20;

/// How many times its size an input may take of memory.
pub const FACTOR: usize = 10;

/// Stack of the thread that runs a target: that of a thread of Rust's or of a server.
pub const STACK: usize = 2 << 20;

/// Address space of a child, in KiB.
const ADDRESS_SPACE: usize = 2_000_000;

/// How long a child may be silent before it is ended.
const LONGEST_SILENCE: Duration = Duration::from_secs(10);
