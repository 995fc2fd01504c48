//! Tiles of short numbers, as dot products of words.
//!
//! As in [`f32`](mod@super::f32), but a step along the depth is a *word* of 32 bits that holds two
//! or four elements: each lane of a vector holds a word of the right matrix, the left word is in
//! all lanes, and one instruction multiplies the elements of both and adds the products to the
//! lane. There are four kinds of words:
//!
//! * *int16*: two signed integers of 16 bits on both sides, summed in 32 bits;
//! * *int8*: four bytes, unsigned on the left and signed on the right, summed in 32 bits;
//! * *signed int8*: four bytes, signed on both sides;
//! * *bf16*: two bf16 on both sides, summed in `f32`.
//!
//! Sums of integers are exact as long as they fit. A sum of bf16 is one chain in the order of the
//! depth, wherever in a tile it stands; how the machine rounds inside of a word is its own affair
//! (subnormal numbers count as zeros there), and so bits differ from those of the portable loop.

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use bytemuck::Pod;

use super::Microkernel;
use crate::runtime::instructions::{Features, features};

/// Elements of the largest tile.
pub(crate) const LARGEST: usize = 96 * 32;

/// Columns of the widest tile; all widths divide it.
pub(crate) const WIDEST: usize = 32;

/// The loops of this architecture for each kind of words, the best first.
#[cfg(target_arch = "x86_64")]
use x86_64::{BF16, FAST_BF16, INT8, INT16, SIGNED_INT8};
#[cfg(not(target_arch = "x86_64"))]
const INT16: &[ShortMicrokernel<i32>] = &[];
#[cfg(not(target_arch = "x86_64"))]
const INT8: &[ShortMicrokernel<i32>] = &[];
#[cfg(not(target_arch = "x86_64"))]
const SIGNED_INT8: &[ShortMicrokernel<i32>] = &[];
#[cfg(not(target_arch = "x86_64"))]
const FAST_BF16: &[ShortMicrokernel<f32>] = &[];
#[cfg(not(target_arch = "x86_64"))]
const BF16: &[ShortMicrokernel<f32>] = &[];

/// A [`Microkernel`] of this family, whichever it is, with sums of a type: `i32` or `f32`.
#[derive(Clone, Copy)]
pub(crate) struct ShortMicrokernel<S> {
    /// See [`Microkernel::NAME`].
    pub name: &'static str,
    /// See [`Microkernel::ROWS`].
    pub rows: usize,
    /// See [`Microkernel::COLUMNS`].
    pub columns: usize,
    features: Features,
    run: unsafe fn(ShortOperands<'_, S>),
}

/// What a tile is computed from and where it goes.
pub(super) struct ShortOperands<'a, S> {
    pub words: usize,
    pub left: &'a [u32],
    pub row_length: usize,
    pub rows: usize,
    pub right: &'a [u32],
    pub sums: &'a mut [S],
    pub add: bool,
    pub passes: &'a [Pass],
}

/// One of several products that are added up in a tile.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pass {
    /// Where its words begin in each left row.
    pub left: usize,
    /// Where they begin in the columns of the strip.
    pub right: usize,
}

impl<S: Pod> ShortMicrokernel<S> {
    const fn of<K>() -> ShortMicrokernel<S>
    where
        K: for<'a> Microkernel<TileOperands<'a> = ShortOperands<'a, S>>,
    {
        ShortMicrokernel {
            name: K::NAME,
            rows: K::ROWS,
            columns: K::COLUMNS,
            features: K::FEATURES,
            run: K::run,
        }
    }

    /// The first of a list that this machine can run.
    fn first_usable(list: &[ShortMicrokernel<S>]) -> Option<ShortMicrokernel<S>> {
        let usable = |kernel: &&ShortMicrokernel<S>| features().contains(kernel.features);
        list.iter().find(usable).copied()
    }

    /// All of a list that this machine can run.
    #[cfg(test)]
    fn all_usable(
        list: &[ShortMicrokernel<S>],
    ) -> impl Iterator<Item = ShortMicrokernel<S>> + use<'_, S> {
        let usable = |kernel: &&ShortMicrokernel<S>| features().contains(kernel.features);
        list.iter().filter(usable).copied()
    }
}

impl ShortMicrokernel<i32> {
    /// For words of two integers.
    pub fn int16() -> ShortMicrokernel<i32> {
        Self::first_usable(INT16).unwrap_or_else(Self::int16_portable)
    }

    /// For words of two integers, on any machine.
    pub fn int16_portable() -> ShortMicrokernel<i32> {
        ShortMicrokernel::of::<portable::Int16>()
    }

    /// For words of four bytes, unsigned on the left, if the machine has an instruction for them.
    pub fn int8() -> Option<ShortMicrokernel<i32>> {
        Self::first_usable(INT8)
    }

    /// For words of four signed bytes, if the machine has an instruction for them.
    pub fn signed_int8() -> Option<ShortMicrokernel<i32>> {
        Self::first_usable(SIGNED_INT8)
    }

    /// For words of four bytes, on any machine: what vectors are compared with.
    #[cfg(test)]
    pub fn int8_portable() -> ShortMicrokernel<i32> {
        ShortMicrokernel::of::<portable::Int8>()
    }

    /// For words of four signed bytes, on any machine: what vectors are compared with.
    #[cfg(test)]
    pub fn signed_int8_portable() -> ShortMicrokernel<i32> {
        ShortMicrokernel::of::<portable::SignedInt8>()
    }

    /// Every loop for words of four bytes, unsigned on the left, that this machine can run.
    #[cfg(test)]
    fn all_int8() -> impl Iterator<Item = ShortMicrokernel<i32>> {
        Self::all_usable(INT8).chain([Self::int8_portable()])
    }
}

impl ShortMicrokernel<f32> {
    /// For words of two bf16, if the machine multiplies them so fast that a product of `f32`, which
    /// is six of bf16, gains by it.
    pub fn fast_bf16() -> Option<ShortMicrokernel<f32>> {
        Self::first_usable(FAST_BF16)
    }

    /// Every loop for words of two bf16 that this machine can run.
    #[cfg(test)]
    fn all_bf16() -> impl Iterator<Item = ShortMicrokernel<f32>> {
        Self::all_usable(BF16).chain([Self::bf16_portable()])
    }

    /// For words of two bf16, if the machine has an instruction for them.
    pub fn bf16() -> Option<ShortMicrokernel<f32>> {
        Self::first_usable(BF16)
    }

    /// For words of two bf16, on any machine.
    pub fn bf16_portable() -> ShortMicrokernel<f32> {
        ShortMicrokernel::of::<portable::Bf16>()
    }
}

impl<S: Pod> ShortMicrokernel<S> {
    /// `sums = left * right`, or added to them: rows of `words`, `left.1` apart, and a packed
    /// strip. Row `i` of the sums begins at `i * self.columns`.
    ///
    /// # Panics
    /// If a slice is too short or `rows` too large.
    #[inline]
    pub fn multiply(
        &self,
        words: usize,
        left: (&[u32], usize),
        rows: usize,
        right: &[u32],
        sums: &mut [S],
        add: bool,
    ) {
        self.multiply_passes(words, left, rows, right, sums, add, &[Pass::default()]);
    }

    /// As [`multiply`](ShortMicrokernel::multiply), for the sum of several products of as many
    /// words each, in this order.
    ///
    /// # Panics
    /// If a slice is too short or `rows` too large.
    #[inline]
    #[expect(
        clippy::too_many_arguments,
        reason = "operands of one product, all of them needed"
    )]
    pub fn multiply_passes(
        &self,
        words: usize,
        (left, row_length): (&[u32], usize),
        rows: usize,
        right: &[u32],
        sums: &mut [S],
        add: bool,
        passes: &[Pass],
    ) {
        assert!((1..=self.rows).contains(&rows));
        for pass in passes {
            assert!((rows - 1) * row_length + pass.left + words <= left.len());
            assert!((pass.right + words) * self.columns <= right.len());
        }
        let operands = ShortOperands {
            words,
            left,
            row_length,
            rows,
            right,
            sums: &mut sums[..rows * self.columns],
            add,
            passes,
        };
        // SAFETY: the functions above hand out a loop only if the machine has the features that it
        // needs, and the lengths that it relies on have just been checked.
        unsafe { (self.run)(operands) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matmul::quantized::activations::SAFE;
    use crate::simd::convert::{from_bf16, to_bf16};

    const WORDS: [usize; 9] = [0, 1, 2, 7, 15, 16, 17, 63, 65];

    fn words(n: usize, seed: usize) -> Vec<u32> {
        let word = |i: usize| ((i + seed) as u32).wrapping_mul(2_654_435_761);
        (0..n).map(word).collect()
    }

    /// Multiplies with every number of rows and words, twice, from words that begin anywhere, and
    /// compares with `step` over the words.
    fn check<S: Pod>(
        kernel: ShortMicrokernel<S>,
        [left, right]: [fn(u32) -> u32; 2],
        step: fn(f64, u32, u32) -> f64,
        is_close: fn(S, f64) -> bool,
    ) {
        assert!(kernel.rows * kernel.columns <= LARGEST && WIDEST.is_multiple_of(kernel.columns));
        for rows in 1..=kernel.rows {
            for n in WORDS {
                let row_length = n + 3;
                let x: Vec<u32> = words(rows * row_length + 1, 5)
                    .into_iter()
                    .map(left)
                    .collect();
                let w: Vec<u32> = words(n * kernel.columns + 1, 11)
                    .into_iter()
                    .map(right)
                    .collect();
                let (x, w) = (&x[1..], &w[1..]);
                let mut sums = vec![S::zeroed(); rows * kernel.columns];
                kernel.multiply(n, (x, row_length), rows, w, &mut sums, false);
                kernel.multiply(n, (x, row_length), rows, w, &mut sums, true);
                for i in 0..rows {
                    for j in 0..kernel.columns {
                        let sum = (0..n).fold(0.0, |sum, k| {
                            step(sum, x[i * row_length + k], w[k * kernel.columns + j])
                        });
                        assert!(is_close(sums[i * kernel.columns + j], 2.0 * sum));
                    }
                }
            }
        }
    }

    fn is_equal(found: i32, sum: f64) -> bool {
        found as f64 == sum
    }

    #[test]
    fn products_of_integers_are_exact() {
        // Weights have eight bits whatever the other side has.
        let weights = |w: u32| (w & 0x00ff_00ff) ^ ((w & 0x0080_0080) / 128 * 0xff00);
        for kernel in [
            ShortMicrokernel::int16(),
            ShortMicrokernel::int16_portable(),
        ] {
            check(
                kernel,
                [|x| x, weights],
                |sum, x, w| {
                    let product = |by: u32| (x >> by) as i16 as f64 * (w >> by) as i16 as f64;
                    sum + product(0) + product(16)
                },
                is_equal,
            );
        }
        for kernel in ShortMicrokernel::all_int8() {
            check(
                kernel,
                [|x| x, |w| w],
                |sum, x, w| {
                    let product = |by: u32| (x >> by) as u8 as f64 * (w >> by) as i8 as f64;
                    sum + product(0) + product(8) + product(16) + product(24)
                },
                is_equal,
            );
        }
        let signed = [
            ShortMicrokernel::signed_int8(),
            Some(ShortMicrokernel::signed_int8_portable()),
        ];
        for kernel in signed.into_iter().flatten() {
            check(
                kernel,
                [|x| x, |w| w],
                |sum, x, w| {
                    let product = |by: u32| (x >> by) as i8 as f64 * (w >> by) as i8 as f64;
                    sum + product(0) + product(8) + product(16) + product(24)
                },
                is_equal,
            );
        }
    }

    #[test]
    fn sums_of_as_many_products_as_are_safe_do_not_overflow() {
        for kernel in [
            ShortMicrokernel::int16(),
            ShortMicrokernel::int16_portable(),
        ] {
            let left = vec![0x8001_8001; SAFE / 2];
            let right = vec![0xff81_ff81; SAFE / 2 * kernel.columns];
            let mut sums = vec![0; kernel.columns];
            kernel.multiply(SAFE / 2, (&left, 0), 1, &right, &mut sums, false);
            assert!(sums.iter().all(|s| *s == 32767 * 127 * SAFE as i32));
        }
    }

    #[test]
    fn products_of_bf16_are_as_near_as_f32_lets_them() {
        let numbers = |x: u32| {
            let number = |bits: u32| to_bf16(bits as f32 / 32768.0 - 1.0) as u32;
            number(x & 0xffff) | number(x >> 16) << 16
        };
        for kernel in ShortMicrokernel::all_bf16() {
            check(
                kernel,
                [numbers, numbers],
                |sum, x, w| {
                    let number = |x: u32, by: u32| from_bf16((x >> by) as u16) as f64;
                    sum + number(x, 0) * number(w, 0) + number(x, 16) * number(w, 16)
                },
                |found, sum| (found as f64 - sum).abs() < 1e-4,
            );
        }
    }
}
