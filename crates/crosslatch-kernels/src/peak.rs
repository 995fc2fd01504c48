//! How fast the machine multiplies and adds: the floor under everything that computes much with little.
//!
//! As the speed of memory ([`crate::bandwidth`]), it moves with the machine's neighbours and its clock.

use std::time::Instant;

use crate::Threads;
use crate::instructions::compiled;

/// Chains of additions, enough to hide the latency of each.
const CHAINS: usize = 12;

/// Elements of a chain: a vector, or two of AVX2.
const LANES: usize = 16;

/// Steps of each chain: some milliseconds.
const ROUNDS: usize = 1_000_000;

/// Multiply-adds in `f32` a second, in registers, by all threads with the vectors that most kernels use.
pub fn multiply_adds_per_second(threads: &Threads) -> f64 {
    let start = Instant::now();
    threads.run(threads.count(), &|_| {
        std::hint::black_box(chains(std::hint::black_box([0.999_999; LANES])));
    });
    (threads.count() * ROUNDS * CHAINS * LANES) as f64 / start.elapsed().as_secs_f64()
}

compiled!(fn chains(factors: [f32; LANES]) -> f32, chains_portable);

#[inline(always)]
fn chains_portable<const FUSED: bool>(factors: [f32; LANES]) -> f32 {
    let mut chains = [[1f32; LANES]; CHAINS];
    for _ in 0..ROUNDS {
        for chain in &mut chains {
            for (x, factor) in chain.iter_mut().zip(factors) {
                *x = crate::approximate::multiply_add::<FUSED>(*x, factor, factor);
            }
        }
    }
    chains.as_flattened().iter().sum()
}
