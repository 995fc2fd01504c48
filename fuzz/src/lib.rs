//! Hostile inputs for every reader of foreign data in Crosslatch.
//!
//! A *target* is a function from bytes to an answer: it passes the bytes to a reader, goes as far with
//! the result as a user would, and describes the outcome in a few words. Whatever the bytes are, it must
//! return soon, without a panic and without memory that they do not justify. Bytes that are mutated
//! blindly hardly ever get past the first checksum or the first brace, so each target also has *seeds*,
//! small valid inputs, and a *mutation* that knows the format.
//!
//! The targets run in two ways. The program of this crate runs on any toolchain: it mutates seeds with a
//! seeded generator, watches time, memory and the process itself, and keeps the inputs whose answers are
//! new. libFuzzer runs them on nightly, with the feature `libfuzzer`.

#![forbid(unsafe_code)]

pub mod attacks;
pub mod driver;
pub mod mutation;
pub mod pt2;
pub mod targets;

pub use targets::{TARGETS, Target, target};

#[cfg(feature = "libfuzzer")]
#[doc(hidden)]
pub use libfuzzer_sys;

/// libFuzzer's two functions for a target: one runs an input; the other mutates it, half of the time by
/// the target's mutation and half of the time by libFuzzer's own.
#[cfg(feature = "libfuzzer")]
#[macro_export]
macro_rules! libfuzzer_target {
    ($name:literal) => {
        use $crate::libfuzzer_sys;

        libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
            let target = $crate::target($name).expect("the name of a target");
            (target.run)(bytes);
        });

        libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
            let mut chance = $crate::mutation::Chance::with_seed(u64::from(seed));
            if chance.bool() {
                return libfuzzer_sys::fuzzer_mutate(data, size, max_size);
            }
            let target = $crate::target($name).expect("the name of a target");
            let changed = (target.mutate)(&mut chance, &data[..size], &data[..size]);
            let len = changed.len().min(max_size);
            data[..len].copy_from_slice(&changed[..len]);
            len
        });
    };
}
