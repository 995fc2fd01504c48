//! Multiply-adds in AVX2 and AVX-512.

use std::arch::x86_64::*;
use std::hint::black_box;

use super::{CHAINS, Numbers, ROUNDS, portable};
use crate::runtime::instructions::{Feature, features};
use crate::simd::x86_64::dot_bf16;

/// The loop for such numbers, and how many multiply-adds a step of a chain is.
pub(super) fn chain(numbers: Numbers) -> Option<(fn(), usize)> {
    // SAFETY: called only if the machine has the instructions, as the others.
    let f32_avx512 = || unsafe { f32_avx512() };
    // SAFETY: as above.
    let f32_avx2 = || unsafe { f32_avx2() };
    // SAFETY: as above.
    let bf16 = || unsafe { bf16() };
    // SAFETY: as above.
    let bytes = || unsafe { bytes() };
    let features = features();
    match numbers {
        Numbers::F32 if features.has(Feature::Avx512) => Some((f32_avx512, 16)),
        Numbers::F32 if features.has(Feature::Avx2) => Some((f32_avx2, 8)),
        Numbers::Bf16 if features.has(Feature::Avx512Bf16) => Some((bf16, 32)),
        Numbers::Bytes if features.has(Feature::Avx512Vnni) => Some((bytes, 64)),
        _ => portable::chain(numbers),
    }
}

/// Makes a function that adds products to all chains in turn.
macro_rules! chains {
    ($name:ident, $features:literal, $start:expr, ($sum:ident, $x:ident) $step:expr) => {
        #[target_feature(enable = $features)]
        fn $name() {
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
fn bf16() {
    let x = black_box(_mm512_set1_epi32(0x3f00_3f00));
    let mut chains = [_mm512_setzero_ps(); CHAINS];
    for _ in 0..ROUNDS {
        for chain in &mut chains {
            *chain = dot_bf16(*chain, x, x);
        }
    }
    black_box(chains);
}
