//! How fast the machine multiplies and adds: the floor under everything that is bound by
//! arithmetic.
//!
//! Like the speed of memory ([`crate::probes::bandwidth`]), it moves with the machine's neighbours
//! and its clock.

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use std::time::Instant;

use crate::Threads;

#[cfg(not(target_arch = "x86_64"))]
use portable as machine;
#[cfg(target_arch = "x86_64")]
use x86_64 as machine;

/// Chains of additions: enough to hide the latency of each (two units, four or five cycles), and
/// few enough to stay in registers. AVX2 has 16 of them; the 17th value would go to memory and back
/// at each step.
const CHAINS: usize = 12;

/// Steps of each chain: some milliseconds.
const ROUNDS: usize = 1_000_000;

/// The numbers that are multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// `f32`.
    F32,
    /// bf16, summed in `f32`, where the machine has an instruction for that.
    Bf16,
    /// Integers of 8 bits, summed in 32, where the machine has an instruction for that.
    Bytes,
}

/// Multiply-adds a second, in registers, by all threads with the longest vectors that kernels use
/// for such numbers; nothing if the machine has no instruction for them.
pub fn multiply_adds_per_second(numbers: Numbers, threads: &Threads) -> Option<f64> {
    let (chain, lanes) = machine::chain(numbers)?;
    let start = Instant::now();
    threads.run(threads.count(), &|_| chain());
    let multiply_adds = threads.count() * ROUNDS * CHAINS * lanes;
    Some(multiply_adds as f64 / start.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "some milliseconds of arithmetic are hours")]
    fn every_machine_multiplies_floats() {
        let threads = Threads::new(1);
        assert!(multiply_adds_per_second(Numbers::F32, &threads).is_some_and(|rate| rate > 1e8));
    }
}
