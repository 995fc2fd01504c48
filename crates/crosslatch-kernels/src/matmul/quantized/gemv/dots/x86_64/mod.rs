//! Dot products with stored elements in AVX2 and AVX-512.
//!
//! All loops expect what [`check`] checks. What is not a whole block is done apart, or the loop
//! would ask for it at every step.

mod int4;

use std::arch::x86_64::*;

pub(in super::super) use int4::int4;

use super::{BLOCK, CHUNK, portable};
use crate::runtime::instructions::{Feature, features};
use crate::runtime::prefetch::fetch;
use crate::simd::x86_64::sums_of_vectors;

/// The loop for bf16. `FAST` promises that the machine has AVX2 and FMA.
#[inline(always)]
pub(in super::super) fn bf16<const FAST: bool, const R: usize, const C: usize>(
    left: [&[f32]; R],
    right: [&[u16]; C],
    ahead: usize,
) -> [[f32; C]; R] {
    if !FAST {
        return portable::bf16::<FAST, R, C>(left, right, ahead);
    }
    check(left, right);
    // A single row is as fast as memory in shorter vectors too, which are two chains.
    match features().has(Feature::Avx512) && R > 1 {
        // SAFETY: the machine has AVX-512, and the lengths are right.
        true => unsafe { bf16_avx512(left, right, ahead) },
        // SAFETY: the caller's promise, and the lengths are right.
        false => unsafe { bf16_avx2(left, right, ahead) },
    }
}

/// The loop for int8. `FAST` promises that the machine has AVX2 and FMA.
#[inline(always)]
pub(in super::super) fn int8<const FAST: bool, const R: usize, const C: usize>(
    left: [&[i16]; R],
    right: [&[i8]; C],
    ahead: usize,
) -> [[f32; C]; R] {
    if !FAST {
        return portable::int8::<FAST, R, C>(left, right, ahead);
    }
    check(left, right);
    let features = features();
    // A single chain of sums would wait for each of them.
    match (
        features.has(Feature::Avx512),
        R > 1 && features.has(Feature::Avx512Vnni),
    ) {
        // SAFETY: the machine has AVX-512 with VNNI, and the lengths are right.
        (true, true) => unsafe { int8_vnni(left, right, ahead) },
        // SAFETY: the machine has AVX-512, and the lengths are right.
        (true, false) => unsafe { int8_avx512(left, right, ahead) },
        // SAFETY: the caller's promise, and the lengths are right.
        _ => unsafe { int8_avx2(left, right, ahead) },
    }
}

/// All slices of a side are equally long, and the left ones end where the last block of the right
/// ones does.
#[inline(always)]
fn check<X, W, const R: usize, const C: usize>(left: [&[X]; R], right: [&[W]; C]) {
    let len = right[0].len();
    assert!(len <= CHUNK);
    for w in right {
        assert_eq!(w.len(), len);
    }
    for x in left {
        assert_eq!(x.len(), len.next_multiple_of(BLOCK));
    }
}

/// Calls `add` with the position and the addresses of each block of the right slices. A function
/// that does so would not have the instructions of those that it is called from.
macro_rules! each_block {
    ($right:ident, $ahead:ident, $add:ident) => {
        let whole = $right[0].len() / BLOCK * BLOCK;
        for k in (0..whole).step_by(BLOCK) {
            fetch(k, &$right, $ahead);
            $add(k, $right.map(|w| w.as_ptr().wrapping_add(k)));
        }
        if whole < $right[0].len() {
            let ends = ends($right, whole);
            $add(whole, ends.each_ref().map(|end| end.as_ptr()));
        }
    };
}

/// # Safety
/// The lengths are as [`check`] says.
#[target_feature(enable = "avx2,fma")]
unsafe fn bf16_avx2<const R: usize, const C: usize>(
    left: [&[f32]; R],
    right: [&[u16]; C],
    ahead: usize,
) -> [[f32; C]; R] {
    let upper = _mm256_set1_epi32(0xffff_0000_u32 as i32);
    let mut sums = [[[_mm256_setzero_ps(); 2]; C]; R];
    let mut add = |k: usize, w: [*const u16; C]| {
        for half in [0, 1] {
            let mut x = [[_mm256_setzero_ps(); 2]; R];
            for r in 0..R {
                let from = left[r].as_ptr().wrapping_add(k + 8 * half);
                // SAFETY: the left slices have whole blocks.
                x[r] = unsafe { [_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(16))] };
            }
            for c in 0..C {
                // SAFETY: a whole block lies there.
                let w = unsafe { _mm256_loadu_si256(w[c].add(16 * half).cast()) };
                let even = _mm256_castsi256_ps(_mm256_slli_epi32::<16>(w));
                let odd = _mm256_castsi256_ps(_mm256_and_si256(w, upper));
                for r in 0..R {
                    let sum = _mm256_fmadd_ps(x[r][0], even, sums[r][c][half]);
                    sums[r][c][half] = _mm256_fmadd_ps(x[r][1], odd, sum);
                }
            }
        }
    };
    each_block!(right, ahead, add);
    let mut results = [[0f32; C]; R];
    for r in 0..R {
        let mut folded = [_mm256_setzero_ps(); C];
        for c in 0..C {
            folded[c] = _mm256_add_ps(sums[r][c][0], sums[r][c][1]);
        }
        results[r] = sums_of_vectors(folded);
    }
    results
}

/// # Safety
/// The lengths are as [`check`] says.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn bf16_avx512<const R: usize, const C: usize>(
    left: [&[f32]; R],
    right: [&[u16]; C],
    ahead: usize,
) -> [[f32; C]; R] {
    let upper = _mm512_set1_epi32(0xffff_0000_u32 as i32);
    let mut sums = [[_mm512_setzero_ps(); C]; R];
    let mut add = |k: usize, w: [*const u16; C]| {
        let (mut even, mut odd) = ([_mm512_setzero_ps(); C], [_mm512_setzero_ps(); C]);
        for c in 0..C {
            // SAFETY: a whole block lies there.
            let w = unsafe { _mm512_loadu_si512(w[c].cast()) };
            even[c] = _mm512_castsi512_ps(_mm512_slli_epi32::<16>(w));
            odd[c] = _mm512_castsi512_ps(_mm512_and_si512(w, upper));
        }
        for r in 0..R {
            let from = left[r].as_ptr().wrapping_add(k);
            // SAFETY: the left slices have whole blocks.
            let x = unsafe { [_mm512_loadu_ps(from), _mm512_loadu_ps(from.add(16))] };
            for c in 0..C {
                let sum = _mm512_fmadd_ps(x[0], even[c], sums[r][c]);
                sums[r][c] = _mm512_fmadd_ps(x[1], odd[c], sum);
            }
        }
    };
    each_block!(right, ahead, add);
    let mut results = [[0f32; C]; R];
    for r in 0..R {
        let mut folded = [_mm256_setzero_ps(); C];
        for c in 0..C {
            let sum = sums[r][c];
            let halves = [
                _mm512_castps512_ps256(sum),
                _mm512_extractf32x8_ps::<1>(sum),
            ];
            folded[c] = _mm256_add_ps(halves[0], halves[1]);
        }
        results[r] = sums_of_vectors(folded);
    }
    results
}

/// # Safety
/// The lengths are as [`check`] says.
#[target_feature(enable = "avx2,fma")]
unsafe fn int8_avx2<const R: usize, const C: usize>(
    left: [&[i16]; R],
    right: [&[i8]; C],
    ahead: usize,
) -> [[f32; C]; R] {
    let mut sums = [[_mm256_setzero_si256(); C]; R];
    let mut add = |k: usize, w: [*const i8; C]| {
        for half in [0, 16] {
            let mut x = [_mm256_setzero_si256(); R];
            for r in 0..R {
                let from = left[r].as_ptr().wrapping_add(k + half);
                // SAFETY: the left slices have whole blocks.
                x[r] = unsafe { _mm256_loadu_si256(from.cast()) };
            }
            for c in 0..C {
                // SAFETY: a whole block lies there.
                let w = unsafe { _mm_loadu_si128(w[c].add(half).cast()) };
                let w = _mm256_cvtepi8_epi16(w);
                for r in 0..R {
                    // The lanes of both halves are added up exactly, here or at the end.
                    sums[r][c] = _mm256_add_epi32(sums[r][c], _mm256_madd_epi16(x[r], w));
                }
            }
        }
    };
    each_block!(right, ahead, add);
    let mut results = [[0f32; C]; R];
    for r in 0..R {
        let mut floats = [_mm256_setzero_ps(); C];
        for c in 0..C {
            floats[c] = _mm256_cvtepi32_ps(sums[r][c]);
        }
        results[r] = sums_of_vectors(floats);
    }
    results
}

/// The loop in AVX-512, with a way to add the products of pairs.
macro_rules! int8_avx512 {
    ($name:ident, $features:literal, ($sum:ident, $x:ident, $w:ident) $add:expr) => {
        /// # Safety
        /// The lengths are as [`check`] says.
        #[target_feature(enable = $features)]
        unsafe fn $name<const R: usize, const C: usize>(
            left: [&[i16]; R],
            right: [&[i8]; C],
            ahead: usize,
        ) -> [[f32; C]; R] {
            let mut sums = [[_mm512_setzero_si512(); C]; R];
            let mut add = |k: usize, w: [*const i8; C]| {
                let mut widened = [_mm512_setzero_si512(); C];
                for c in 0..C {
                    // SAFETY: a whole block lies there.
                    widened[c] = _mm512_cvtepi8_epi16(unsafe { _mm256_loadu_si256(w[c].cast()) });
                }
                for r in 0..R {
                    let from = left[r].as_ptr().wrapping_add(k);
                    // SAFETY: the left slices have whole blocks.
                    let $x = unsafe { _mm512_loadu_si512(from.cast()) };
                    for c in 0..C {
                        let ($sum, $w) = (sums[r][c], widened[c]);
                        sums[r][c] = $add;
                    }
                }
            };
            each_block!(right, ahead, add);
            let mut results = [[0f32; C]; R];
            for r in 0..R {
                let mut floats = [_mm256_setzero_ps(); C];
                for c in 0..C {
                    floats[c] = folded(sums[r][c]);
                }
                results[r] = sums_of_vectors(floats);
            }
            results
        }
    };
}

int8_avx512!(int8_avx512, "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma",
    (sum, x, w) _mm512_add_epi32(sum, _mm512_madd_epi16(x, w)));

// The same sums by one instruction.
int8_avx512!(int8_vnni, "avx512vnni,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma",
    (sum, x, w) _mm512_dpwssd_epi32(sum, x, w));

/// Both halves of sums, added up exactly.
#[target_feature(enable = "avx512f,avx512dq,avx2")]
#[inline]
fn folded(sum: __m512i) -> __m256 {
    let halves = [
        _mm512_castsi512_si256(sum),
        _mm512_extracti64x4_epi64::<1>(sum),
    ];
    _mm256_cvtepi32_ps(_mm256_add_epi32(halves[0], halves[1]))
}

/// What comes after the whole blocks, each filled up to one.
fn ends<T: bytemuck::Pod, const C: usize>(right: [&[T]; C], whole: usize) -> [[T; BLOCK]; C] {
    right.map(|right| {
        let mut end = [T::zeroed(); BLOCK];
        let rest = &right[whole..];
        end[..rest.len()].copy_from_slice(rest);
        end
    })
}
