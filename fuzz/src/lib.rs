//! Hostile inputs for everything in Crosslatch that reads what others wrote.
//!
//! A *target* is a function from bytes to an answer: it hands the bytes to a reader, goes as far with
//! the result as a user would, and says in a few words what came of it. Whatever the bytes are, it has
//! to come back soon, without a panic and without memory that they do not justify. Bytes that are
//! changed blindly hardly ever get past the first checksum or the first brace, so each target also has
//! *seeds*, small inputs that are valid, and a *mutation* that knows the format.
//!
//! The targets run in two ways: by the program of this crate, on any toolchain, which changes seeds by
//! a seeded generator, watches time, memory and the process itself, and keeps the inputs whose answers
//! are new; and by libFuzzer, on nightly, with the feature `libfuzzer`.

#![forbid(unsafe_code)]

pub mod attacks;
pub mod driver;
pub mod mutation;
pub mod pt2;
pub mod targets;

pub use targets::{TARGETS, Target, target};
