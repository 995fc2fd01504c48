//! Looking up in AVX2: a shuffle of bytes takes thirty-two of them from a table of sixteen.

use std::arch::x86_64::*;

use super::portable;
use crate::runtime::instructions::{Feature, has};
use crate::tensor::int4::{BLOCK, BLOCK_BYTES, GROUP, GROUPS, TABLES};

/// See [`unpack_block`](super::unpack_block).
#[inline]
pub(super) fn unpack_block(
    factors: &[u8; GROUPS],
    indices: &[u8; BLOCK_BYTES],
    to: &mut [i8; BLOCK],
) {
    match has(Feature::Avx2) {
        // SAFETY: the machine has AVX2.
        true => unsafe { unpack_block_avx2(factors, indices, to) },
        false => portable::unpack_block(factors, indices, to),
    }
}

#[target_feature(enable = "avx2")]
fn unpack_block_avx2(factors: &[u8; GROUPS], indices: &[u8; BLOCK_BYTES], to: &mut [i8; BLOCK]) {
    let nibbles = _mm256_set1_epi8(0x0f);
    let bytes = _mm256_set1_epi16(0x00ff);
    // SAFETY: the indices are two vectors.
    let halves = [0, 32].map(|i| unsafe { _mm256_loadu_si256(indices.as_ptr().add(i).cast()) });
    // The lower bytes of words are indices of one group, the upper ones of another.
    let pairs = [
        halves.map(|v| _mm256_and_si256(v, nibbles)),
        halves.map(|v| _mm256_and_si256(_mm256_srli_epi16::<4>(v), nibbles)),
    ];
    for (group, to) in to.as_chunks_mut::<GROUP>().0.iter_mut().enumerate() {
        let found = pairs[group % 2].map(|v| _mm256_shuffle_epi8(table(factors[group]), v));
        let words = match group / 2 {
            0 => found.map(|v| _mm256_and_si256(v, bytes)),
            _ => found.map(|v| _mm256_srli_epi16::<8>(v)),
        };
        let packed = _mm256_packus_epi16(words[0], words[1]);
        // Packing works on both halves of a vector apart.
        let in_order = _mm256_permute4x64_epi64::<0b11_01_10_00>(packed);
        // SAFETY: a group is a vector.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), in_order) };
    }
}

/// The table of a factor, in both halves.
#[target_feature(enable = "avx2")]
#[inline]
pub(crate) fn table(factor: u8) -> __m256i {
    let table = &TABLES[factor as usize];
    // SAFETY: a table is half a vector.
    _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(table.as_ptr().cast()) })
}
