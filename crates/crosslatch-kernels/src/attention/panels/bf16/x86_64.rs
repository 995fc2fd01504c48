//! Weights of attention in bf16, in AVX-512.
//!
//! Two of its instructions are made for powers of two: one gives what is left of a number above a
//! whole one, the other multiplies by two to a whole power, whatever the exponent is. With them an
//! exponential is six instructions, and needs no care for what is too small.

use std::arch::x86_64::*;

use crate::attention::panels::softmax::SoftmaxState;
use crate::runtime::instructions::{Feature, has};
use crate::simd::approximate::exp;

/// Lanes of a vector.
const LANES: usize = 16;

/// 2^f for 0 <= f < 1, the highest coefficient first, with the least greatest relative error:
/// 7.5e-5.
const POWER: [f32; 4] = [0.078_024_49, 0.226_067_57, 0.695_833_2, 0.999_925_26];

/// See [`Weigh::weigh_lanes`](crate::attention::panels::softmax::Weigh::weigh_lanes), for all
/// lanes. Returns false, and does nothing, if the machine has no AVX-512 or the lanes are not whole
/// vectors.
#[inline(always)]
pub(super) fn weigh(lanes: usize, scores: &mut [f32], state: &mut SoftmaxState<'_>) -> bool {
    if !has(Feature::Avx512) || !lanes.is_multiple_of(LANES) {
        return false;
    }
    for l in (0..lanes).step_by(LANES) {
        // SAFETY: the machine has AVX-512.
        unsafe { weigh_lanes((lanes, l), scores, state) };
    }
    true
}

/// Lanes `l ..` of a vector.
#[target_feature(enable = "avx512f,avx512dq,avx2,fma")]
fn weigh_lanes((lanes, l): (usize, usize), scores: &mut [f32], state: &mut SoftmaxState<'_>) {
    let keys = scores.len() / lanes;
    let old = load(&state.greatest[l..]);
    let mut greatest = old;
    for row in scores.chunks_exact(lanes) {
        // The second operand stays where the first is NaN.
        greatest = _mm512_max_ps(load(&row[l..]), greatest);
    }
    store(greatest, &mut state.greatest[l..]);
    // With nothing seen so far, any shift does; minus infinity itself would give NaN.
    let is_seen = _mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(greatest, _mm512_set1_ps(f32::NEG_INFINITY));
    let shift = _mm512_maskz_mov_ps(is_seen, greatest);
    let mut factor = [0f32; LANES];
    store(_mm512_sub_ps(old, shift), &mut factor);
    factor = factor.map(exp::<true>);
    let log2_e = _mm512_set1_ps(std::f32::consts::LOG2_E);
    let shift = _mm512_mul_ps(shift, log2_e);
    let mut total = _mm512_setzero_ps();
    for p in 0..keys.div_ceil(2) {
        let mut words = _mm512_setzero_si512();
        for half in 0..2.min(keys - 2 * p) {
            let x = load(&scores[(2 * p + half) * lanes + l..]);
            let weight = rounded(power(_mm512_fmsub_ps(x, log2_e, shift)));
            total = _mm512_add_ps(total, _mm512_castsi512_ps(weight));
            words = match half {
                0 => _mm512_srli_epi32::<16>(weight),
                _ => _mm512_or_si512(words, weight),
            };
        }
        // The place of a row of words is that of scores that have been read.
        store(_mm512_castsi512_ps(words), &mut scores[p * lanes + l..]);
    }
    let factor = load(&factor);
    let sums = _mm512_fmadd_ps(load(&state.sums[l..]), factor, total);
    store(sums, &mut state.sums[l..]);
    store(factor, &mut state.correction[l..]);
}

/// `2^x` for `x` up to 0, to four digits.
#[target_feature(enable = "avx512f,avx512dq")]
#[inline]
fn power(x: __m512) -> __m512 {
    let above = _mm512_reduce_ps::<{ _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC }>(x);
    let mut sum = _mm512_set1_ps(POWER[0]);
    for c in &POWER[1..] {
        sum = _mm512_fmadd_ps(sum, above, _mm512_set1_ps(*c));
    }
    _mm512_scalef_ps(sum, x)
}

/// Weights rounded to bf16, in the upper halves. Every NaN becomes the same one, because rounding
/// could make a number of another.
#[target_feature(enable = "avx512f")]
#[inline]
fn rounded(weight: __m512) -> __m512i {
    let nan = _mm512_set1_epi32(f32::NAN.to_bits() as i32);
    let bits = _mm512_min_epu32(_mm512_castps_si512(weight), nan);
    let bits = _mm512_add_epi32(bits, _mm512_set1_epi32(0x8000));
    _mm512_and_si512(bits, _mm512_set1_epi32(0xffff_0000_u32 as i32))
}

#[target_feature(enable = "avx512f")]
#[inline]
fn load(from: &[f32]) -> __m512 {
    let from = &from[..LANES];
    // SAFETY: as many elements as a vector has.
    unsafe { _mm512_loadu_ps(from.as_ptr()) }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn store(vector: __m512, to: &mut [f32]) {
    let to = &mut to[..LANES];
    // SAFETY: as many elements as a vector has.
    unsafe { _mm512_storeu_ps(to.as_mut_ptr(), vector) };
}
