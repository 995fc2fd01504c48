//! Tiles of short numbers on any machine.

use bytemuck::Pod;

use super::ShortOperands;
use crate::matmul::microkernel::Microkernel;
use crate::runtime::instructions::Features;
use crate::simd::convert::from_bf16;

const ROWS: usize = 4;
const COLUMNS: usize = 8;

/// The loop for all kinds of words: a sum with the products of a word's elements is `step(sum,
/// left, right)`.
#[inline(always)]
fn tile<S: Pod + std::ops::Add<Output = S>>(
    o: ShortOperands<'_, S>,
    step: impl Fn(S, u32, u32) -> S,
) {
    let rows = o.sums.chunks_exact_mut(COLUMNS).take(o.rows);
    for (i, sums) in rows.enumerate() {
        let mut lanes = [S::zeroed(); COLUMNS];
        let right = o.right.as_chunks::<COLUMNS>().0;
        for pass in o.passes {
            let left = &o.left[i * o.row_length + pass.left..][..o.words];
            for (x, right) in left.iter().zip(&right[pass.right..]) {
                for (lane, w) in lanes.iter_mut().zip(right) {
                    *lane = step(*lane, *x, *w);
                }
            }
        }
        for (sum, lane) in sums.iter_mut().zip(lanes) {
            *sum = if o.add { *sum + lane } else { lane };
        }
    }
}

pub(super) struct Int16;

impl Microkernel for Int16 {
    type TileOperands<'a> = ShortOperands<'a, i32>;
    const NAME: &'static str = "portable 4x8";
    const FEATURES: Features = Features::NONE;
    const ROWS: usize = ROWS;
    const COLUMNS: usize = COLUMNS;

    unsafe fn run(o: ShortOperands<'_, i32>) {
        tile(o, |sum, x, w| {
            let products = [0, 16].map(|by| (x >> by) as i16 as i32 * (w >> by) as i16 as i32);
            sum + products[0] + products[1]
        });
    }
}

#[cfg(test)]
pub(super) struct Int8;

#[cfg(test)]
impl Microkernel for Int8 {
    type TileOperands<'a> = ShortOperands<'a, i32>;
    const NAME: &'static str = "portable 4x8";
    const FEATURES: Features = Features::NONE;
    const ROWS: usize = ROWS;
    const COLUMNS: usize = COLUMNS;

    unsafe fn run(o: ShortOperands<'_, i32>) {
        tile(o, |sum, x, w| {
            let products = [0, 8, 16, 24].map(|by| (x >> by) as u8 as i32 * (w >> by) as i8 as i32);
            sum + products.iter().sum::<i32>()
        });
    }
}

#[cfg(test)]
pub(super) struct SignedInt8;

#[cfg(test)]
impl Microkernel for SignedInt8 {
    type TileOperands<'a> = ShortOperands<'a, i32>;
    const NAME: &'static str = "portable 4x8";
    const FEATURES: Features = Features::NONE;
    const ROWS: usize = ROWS;
    const COLUMNS: usize = COLUMNS;

    unsafe fn run(o: ShortOperands<'_, i32>) {
        tile(o, |sum, x, w| {
            let products = [0, 8, 16, 24].map(|by| (x >> by) as i8 as i32 * (w >> by) as i8 as i32);
            sum + products.iter().sum::<i32>()
        });
    }
}

pub(super) struct Bf16;

impl Microkernel for Bf16 {
    type TileOperands<'a> = ShortOperands<'a, f32>;
    const NAME: &'static str = "portable 4x8";
    const FEATURES: Features = Features::NONE;
    const ROWS: usize = ROWS;
    const COLUMNS: usize = COLUMNS;

    unsafe fn run(o: ShortOperands<'_, f32>) {
        tile(o, |sum, x, w| {
            let [low, high] =
                [0, 16].map(|by| from_bf16((x >> by) as u16) * from_bf16((w >> by) as u16));
            // The upper element first, as the machines have it.
            (sum + high) + low
        });
    }
}
