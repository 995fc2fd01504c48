//! Dot products with int4 weights in AVX2 and AVX-512.
//!
//! In AVX-512, a permutation of words takes thirty-two of them, a whole group, from a table, and
//! needs no mask: it looks at five bits of an index, and a table of thirty-two has every entry
//! twice. In AVX2, a shuffle of bytes looks indices up, of which half belong to another group.

use std::arch::x86_64::*;

use super::{folded, portable};
use crate::runtime::instructions::{Feature, features};
use crate::runtime::prefetch::fetch;
use crate::simd::nibbles::x86_64::table;
use crate::simd::x86_64::sums_of_vectors;
use crate::tensor::int4::{BLOCK, GROUP, GROUPS, Int4Blocks, TABLES};

/// The tables in words, every entry twice, each in a line of its own.
#[repr(align(64))]
struct WideTables([[i16; 32]; 256]);

static WIDE_TABLES: WideTables = wide_tables();

const fn wide_tables() -> WideTables {
    let mut tables = [[0; 32]; 256];
    let mut at = 0;
    while at < 256 * 32 {
        tables[at / 32][at % 32] = TABLES[at / 32][at % 16] as i16;
        at += 1;
    }
    WideTables(tables)
}

/// The loop for int4. `FAST` promises that the machine has AVX2 and FMA.
#[inline(always)]
pub(in super::super::super) fn int4<const FAST: bool, const R: usize, const C: usize>(
    left: [&[i16]; R],
    right: [Int4Blocks<'_>; C],
    ahead: usize,
) -> [[f32; C]; R] {
    if !FAST {
        return portable::int4::<FAST, R, C>(left, right, ahead);
    }
    let blocks = right[0].len();
    for w in right {
        assert_eq!([w.factors.len(), w.indices.len()], [blocks; 2]);
    }
    for x in left {
        assert_eq!(x.len(), blocks * BLOCK);
    }
    let features = features();
    match (
        features.has(Feature::Avx512),
        features.has(Feature::Avx512Vnni),
    ) {
        // SAFETY: the machine has AVX-512 with VNNI, and the lengths are right.
        (true, true) => unsafe { int4_vnni(left, right, ahead) },
        // SAFETY: the machine has AVX-512, and the lengths are right.
        (true, false) => unsafe { int4_avx512(left, right, ahead) },
        // SAFETY: the caller's promise, and the lengths are right.
        _ => unsafe { int4_avx2(left, right, ahead) },
    }
}

/// # Safety
/// All right sides have as many blocks, and the left ones as many elements.
#[target_feature(enable = "avx2,fma")]
unsafe fn int4_avx2<const R: usize, const C: usize>(
    left: [&[i16]; R],
    right: [Int4Blocks<'_>; C],
    ahead: usize,
) -> [[f32; C]; R] {
    let nibbles = _mm256_set1_epi8(0x0f);
    let bytes = right.map(|w| w.indices.as_flattened());
    let mut sums = [[_mm256_setzero_si256(); C]; R];
    for block in 0..right[0].len() {
        fetch(block * 64, &bytes, ahead);
        for half in [0, 1] {
            let mut pairs = [[_mm256_setzero_si256(); 2]; C];
            for c in 0..C {
                let from = right[c].indices[block].as_ptr().wrapping_add(32 * half);
                // SAFETY: the indices of a block are two vectors.
                let words = unsafe { _mm256_loadu_si256(from.cast()) };
                pairs[c] = [
                    _mm256_and_si256(words, nibbles),
                    _mm256_and_si256(_mm256_srli_epi16::<4>(words), nibbles),
                ];
            }
            for group in 0..GROUPS {
                let mut w = [_mm256_setzero_si256(); C];
                for c in 0..C {
                    let table = table(right[c].factors[block][group]);
                    let found = _mm256_shuffle_epi8(table, pairs[c][group % 2]);
                    let upper = match group / 2 {
                        0 => _mm256_slli_epi16::<8>(found),
                        _ => found,
                    };
                    w[c] = _mm256_srai_epi16::<8>(upper);
                }
                let k = block * BLOCK + group * GROUP + half * GROUP / 2;
                for r in 0..R {
                    let from = left[r].as_ptr().wrapping_add(k);
                    // SAFETY: the left slices have whole blocks.
                    let x = unsafe { _mm256_loadu_si256(from.cast()) };
                    for c in 0..C {
                        let products = _mm256_madd_epi16(x, w[c]);
                        sums[r][c] = _mm256_add_epi32(sums[r][c], products);
                    }
                }
            }
        }
    }
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
macro_rules! int4_avx512 {
    ($name:ident, $features:literal, ($sum:ident, $x:ident, $w:ident) $add:expr) => {
        /// # Safety
        /// All right sides have as many blocks, and the left ones as many elements.
        #[target_feature(enable = $features)]
        unsafe fn $name<const R: usize, const C: usize>(
            left: [&[i16]; R],
            right: [Int4Blocks<'_>; C],
            ahead: usize,
        ) -> [[f32; C]; R] {
            let bytes = right.map(|w| w.indices.as_flattened());
            let mut sums = [[_mm512_setzero_si512(); C]; R];
            for block in 0..right[0].len() {
                fetch(block * 64, &bytes, ahead);
                let mut words = [_mm512_setzero_si512(); C];
                for c in 0..C {
                    let from = right[c].indices[block].as_ptr();
                    // SAFETY: the indices of a block are a vector.
                    words[c] = unsafe { _mm512_loadu_si512(from.cast()) };
                }
                for group in 0..GROUPS {
                    let mut found = [_mm512_setzero_si512(); C];
                    for c in 0..C {
                        let indices = match group {
                            0 => words[c],
                            1 => _mm512_srli_epi16::<4>(words[c]),
                            2 => _mm512_srli_epi16::<8>(words[c]),
                            _ => _mm512_srli_epi16::<12>(words[c]),
                        };
                        let table = &WIDE_TABLES.0[right[c].factors[block][group] as usize];
                        // SAFETY: a table is a vector, and aligned as one.
                        let table = unsafe { _mm512_load_si512(table.as_ptr().cast()) };
                        found[c] = _mm512_permutexvar_epi16(indices, table);
                    }
                    let k = block * BLOCK + group * GROUP;
                    for r in 0..R {
                        let from = left[r].as_ptr().wrapping_add(k);
                        // SAFETY: the left slices have whole blocks.
                        let $x = unsafe { _mm512_loadu_si512(from.cast()) };
                        for c in 0..C {
                            let ($sum, $w) = (sums[r][c], found[c]);
                            sums[r][c] = $add;
                        }
                    }
                }
            }
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

int4_avx512!(int4_avx512, "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma",
    (sum, x, w) _mm512_add_epi32(sum, _mm512_madd_epi16(x, w)));

// The same sums by one instruction.
int4_avx512!(int4_vnni, "avx512vnni,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma",
    (sum, x, w) _mm512_dpwssd_epi32(sum, x, w));
