//! How fast the machine multiplies and adds: the floor under everything that computes much with little.
//!
//! As the speed of memory ([`crate::probes::bandwidth`]), it moves with the machine's neighbours and its clock.

use std::time::Instant;

use crate::Threads;
use crate::runtime::instructions::{Instructions, has_bf16, has_vnni, instructions};

/// Chains of additions, enough to hide the latency of each.
const CHAINS: usize = 16;

/// Steps of each chain: some milliseconds.
const ROUNDS: usize = 1_000_000;

/// What is multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// `f32`.
    F32,
    /// bf16, summed in `f32`, where the machine has an instruction for that.
    Bf16,
    /// Integers of 8 bits, summed in 32, where the machine has an instruction for that.
    Bytes,
}

/// Multiply-adds a second, in registers, by all threads with the longest vectors that kernels use for such
/// numbers; nothing if the machine has no instruction for them.
pub fn multiply_adds_per_second(numbers: Numbers, threads: &Threads) -> Option<f64> {
    let (chain, lanes) = chains(numbers)?;
    let start = Instant::now();
    threads.run(threads.count(), &|_| chain());
    let multiply_adds = threads.count() * ROUNDS * CHAINS * lanes;
    Some(multiply_adds as f64 / start.elapsed().as_secs_f64())
}

/// The loop for such numbers, and how many multiply-adds a step of a chain is.
fn chains(numbers: Numbers) -> Option<(fn(), usize)> {
    #[cfg(target_arch = "x86_64")]
    {
        let level = instructions();
        // SAFETY: called only if the machine has the instructions, as the others.
        let f32_avx512 = || unsafe { vectors::f32_avx512() };
        // SAFETY: as above.
        let f32_avx2 = || unsafe { vectors::f32_avx2() };
        // SAFETY: as above.
        let bf16 = || unsafe { vectors::bf16() };
        // SAFETY: as above.
        let bytes = || unsafe { vectors::bytes() };
        match numbers {
            Numbers::F32 if level == Instructions::Avx512 => return Some((f32_avx512, 16)),
            Numbers::F32 if level == Instructions::Avx2 => return Some((f32_avx2, 8)),
            Numbers::Bf16 if has_bf16() => return Some((bf16, 32)),
            Numbers::Bytes if has_vnni() => return Some((bytes, 64)),
            _ => {}
        }
    }
    (numbers == Numbers::F32).then_some((portable, 4))
}

fn portable() {
    let factor = std::hint::black_box(0.999_999f32);
    let mut chains = [[1f32; 4]; CHAINS];
    for _ in 0..ROUNDS {
        for x in chains.as_flattened_mut() {
            *x = *x * factor + factor;
        }
    }
    std::hint::black_box(chains);
}

#[cfg(target_arch = "x86_64")]
mod vectors {
    use std::arch::x86_64::*;
    use std::hint::black_box;

    use super::{CHAINS, ROUNDS};
    use crate::matmul::microkernel::words::dot_bf16;

    /// A function that adds products to all chains in turns.
    macro_rules! chains {
        ($name:ident, $features:literal, $start:expr, ($sum:ident, $x:ident) $step:expr) => {
            #[target_feature(enable = $features)]
            pub fn $name() {
                let $x = black_box($start);
                let mut chains = [$x; CHAINS];
                for _ in 0..ROUNDS {
                    for chain in &mut chains {
                        let $sum = *chain;
                        *chain = $step;
                    }
                }
                black_box(chains);
            }
        };
    }

    chains!(f32_avx2, "avx2,fma", _mm256_set1_ps(0.999_999), (sum, x) _mm256_fmadd_ps(sum, x, x));

    chains!(f32_avx512, "avx512f", _mm512_set1_ps(0.999_999), (sum, x) _mm512_fmadd_ps(sum, x, x));

    chains!(bytes, "avx512f,avx512vnni", _mm512_set1_epi32(0x0101_0101),
        (sum, x) _mm512_dpbusd_epi32(sum, x, x));

    #[target_feature(enable = "avx512f,avx512bf16")]
    pub fn bf16() {
        let x = black_box(_mm512_set1_epi32(0x3f00_3f00));
        let mut chains = [_mm512_setzero_ps(); CHAINS];
        for _ in 0..ROUNDS {
            for chain in &mut chains {
                *chain = dot_bf16(*chain, x, x);
            }
        }
        black_box(chains);
    }
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
