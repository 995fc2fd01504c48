//! Dot products with stored elements on any machine.

use super::{BLOCK, LANES};
use crate::simd::approximate::multiply_add;
use crate::simd::convert::from_bf16;
use crate::simd::dot_products::sum;
use crate::simd::nibbles::unpack_block;
use crate::simd::vectors::sum_lanes;
use crate::tensor::int4::{self, Int4Blocks};

#[inline(always)]
pub(in super::super) fn bf16<const FUSED: bool, const R: usize, const C: usize>(
    left: [&[f32]; R],
    right: [&[u16]; C],
    _ahead: usize,
) -> [[f32; C]; R] {
    let mut results = [[0f32; C]; R];
    for (row, x) in results.iter_mut().zip(left) {
        for (result, w) in row.iter_mut().zip(right) {
            let mut sums = [0f32; LANES];
            for (k, w) in w.iter().enumerate() {
                let (block, i) = (k / BLOCK, k % BLOCK);
                let x = x[block * BLOCK + i % 2 * LANES + i / 2];
                let sum = &mut sums[i / 2];
                *sum = multiply_add::<FUSED>(x, from_bf16(*w), *sum);
            }
            *result = sum(sums);
        }
    }
    results
}

#[inline(always)]
pub(in super::super) fn int8<const FUSED: bool, const R: usize, const C: usize>(
    left: [&[i16]; R],
    right: [&[i8]; C],
    _ahead: usize,
) -> [[f32; C]; R] {
    let mut results = [[0f32; C]; R];
    for (row, x) in results.iter_mut().zip(left) {
        for (result, w) in row.iter_mut().zip(right) {
            let mut sums = [0i32; LANES];
            for (k, (x, w)) in x.iter().zip(w).enumerate() {
                sums[k % BLOCK / 2] += *x as i32 * *w as i32;
            }
            *result = sum_integers(sums);
        }
    }
    results
}

#[inline(always)]
pub(in super::super) fn int4<const FUSED: bool, const R: usize, const C: usize>(
    left: [&[i16]; R],
    right: [Int4Blocks<'_>; C],
    _ahead: usize,
) -> [[f32; C]; R] {
    let mut sums = [[[0i32; LANES]; C]; R];
    for c in 0..C {
        let blocks = right[c].factors.iter().zip(right[c].indices).enumerate();
        for (block, (factors, indices)) in blocks {
            let mut w = [0; int4::BLOCK];
            unpack_block(factors, indices, &mut w);
            for r in 0..R {
                let x = &left[r][block * int4::BLOCK..][..int4::BLOCK];
                for (k, (x, w)) in x.iter().zip(w).enumerate() {
                    sums[r][c][k % BLOCK / 2] += *x as i32 * w as i32;
                }
            }
        }
    }
    sums.map(|row| row.map(sum_integers))
}

/// The sum of integer lanes: those of both halves are added up exactly, then as `f32`.
#[inline(always)]
fn sum_integers(lanes: [i32; LANES]) -> f32 {
    sum_lanes(std::array::from_fn(|i| {
        (lanes[i] + lanes[i + LANES / 2]) as f32
    }))
}
