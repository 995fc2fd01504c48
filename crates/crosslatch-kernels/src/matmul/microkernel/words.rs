//! A tile of a product of short numbers, in registers.
//!
//! As [`crate::matmul::microkernel::tile`], but a step along the depth is a *word* of 32 bits that holds two or four
//! elements: each lane of a vector holds a word of the right matrix, the left word is in all
//! lanes, and one instruction multiplies the elements of both and adds the products to the lane.
//! There are three kinds of words:
//!
//! * two signed integers of 16 bits on both sides, summed in 32 bits;
//! * four bytes, unsigned on the left and signed on the right, summed in 32 bits;
//! * two bf16 on both sides, summed in `f32`.
//!
//! Sums of integers are exact as long as they fit. A sum of bf16 is one chain in the order of the
//! depth, wherever in a tile it stands; how the machine rounds inside of a word is its own affair
//! (subnormal numbers count as zeros there), and so bits differ from those of the portable loop.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__m512, __m512bh, __m512i};

use bytemuck::Pod;

use crate::runtime::instructions::{has_avx2, has_bf16, has_vnni};
use crate::tensor::quantized::from_bf16;

/// Elements of the largest tile.
pub(crate) const LARGEST: usize = 8 * 32;

/// Columns of the widest tile; all widths divide it.
pub(crate) const WIDEST: usize = 32;

/// The loop for tiles of a certain size, with sums of a type: `i32` or `f32`.
#[derive(Clone, Copy)]
pub(crate) struct WordTile<S> {
    /// Most rows of a tile.
    pub rows: usize,
    /// Columns of a tile, always all of them.
    pub columns: usize,
    run: unsafe fn(Operands<'_, S>),
}

/// What a tile is computed from and where it goes.
struct Operands<'a, S> {
    words: usize,
    left: &'a [u32],
    row_length: usize,
    rows: usize,
    right: &'a [u32],
    sums: &'a mut [S],
    add: bool,
}

/// Columns of the portable tiles.
const PORTABLE: usize = 8;

fn portable_tile<S>(run: unsafe fn(Operands<'_, S>)) -> WordTile<S> {
    WordTile {
        rows: 4,
        columns: PORTABLE,
        run,
    }
}

impl WordTile<i32> {
    /// For words of two integers: all that this machine can run, the best first.
    fn all_of_16_bits() -> Vec<WordTile<i32>> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        if has_avx2() {
            all.push(WordTile {
                rows: 6,
                columns: 16,
                run: pairs_avx2::run,
            });
        }
        all.push(portable_tile(portable_16_bits));
        all
    }

    /// For words of two integers.
    pub fn of_16_bits() -> WordTile<i32> {
        Self::all_of_16_bits()[0]
    }

    /// For words of four bytes, in vectors, if the machine has them.
    pub fn of_bytes() -> Option<WordTile<i32>> {
        #[cfg(target_arch = "x86_64")]
        return has_vnni().then_some(WordTile {
            rows: 8,
            columns: 32,
            run: bytes::run,
        });
        #[cfg(not(target_arch = "x86_64"))]
        None
    }

    /// For words of four bytes, on any machine: what vectors are compared with.
    #[cfg(test)]
    pub fn of_bytes_portable() -> WordTile<i32> {
        portable_tile(portable_bytes)
    }
}

impl WordTile<f32> {
    /// For words of two bf16, in vectors, if the machine has them.
    pub fn of_bf16() -> Option<WordTile<f32>> {
        #[cfg(target_arch = "x86_64")]
        return has_bf16().then_some(WordTile {
            rows: 8,
            columns: 32,
            run: bf16::run,
        });
        #[cfg(not(target_arch = "x86_64"))]
        None
    }

    /// For words of two bf16, on any machine.
    pub fn of_bf16_portable() -> WordTile<f32> {
        portable_tile(portable_bf16)
    }
}

impl<S: Pod> WordTile<S> {
    /// `sums = left * right`, or added to them: rows of `words`, `left.1` apart, and a packed strip.
    /// Row `i` of the sums begins at `i * self.columns`.
    ///
    /// # Panics
    /// If a slice is too short or `rows` too large.
    #[inline]
    pub fn multiply(
        &self,
        words: usize,
        (left, row_length): (&[u32], usize),
        rows: usize,
        right: &[u32],
        sums: &mut [S],
        add: bool,
    ) {
        assert!((1..=self.rows).contains(&rows));
        assert!((rows - 1) * row_length + words <= left.len());
        let operands = Operands {
            words,
            left,
            row_length,
            rows,
            right: &right[..words * self.columns],
            sums: &mut sums[..rows * self.columns],
            add,
        };
        // SAFETY: the functions above hand out a loop only if the machine has the instructions that it
        // needs, and the lengths that it relies on have just been checked.
        unsafe { (self.run)(operands) }
    }
}

/// For any machine: a sum with the products of a word's elements is `step(sum, left, right)`.
#[inline(always)]
fn portable<S: Pod + std::ops::Add<Output = S>>(
    o: Operands<'_, S>,
    step: impl Fn(S, u32, u32) -> S,
) {
    for (i, sums) in o.sums.chunks_exact_mut(PORTABLE).enumerate() {
        let mut lanes = [S::zeroed(); PORTABLE];
        let right = o.right.as_chunks::<PORTABLE>().0;
        for (x, right) in o.left[i * o.row_length..].iter().zip(right) {
            for (lane, w) in lanes.iter_mut().zip(right) {
                *lane = step(*lane, *x, *w);
            }
        }
        for (sum, lane) in sums.iter_mut().zip(lanes) {
            *sum = if o.add { *sum + lane } else { lane };
        }
    }
}

/// # Safety
/// None is needed; this is the type of the others.
unsafe fn portable_16_bits(o: Operands<'_, i32>) {
    portable(o, |sum, x, w| {
        let products = [0, 16].map(|by| (x >> by) as i16 as i32 * (w >> by) as i16 as i32);
        sum + products[0] + products[1]
    });
}

/// # Safety
/// None is needed.
#[cfg(test)]
unsafe fn portable_bytes(o: Operands<'_, i32>) {
    portable(o, |sum, x, w| {
        let products = [0, 8, 16, 24].map(|by| (x >> by) as u8 as i32 * (w >> by) as i8 as i32);
        sum + products.iter().sum::<i32>()
    });
}

/// # Safety
/// None is needed.
unsafe fn portable_bf16(o: Operands<'_, f32>) {
    portable(o, |sum, x, w| {
        let [low, high] =
            [0, 16].map(|by| from_bf16((x >> by) as u16) * from_bf16((w >> by) as u16));
        // The upper element first, as the machines have it.
        (sum + high) + low
    });
}

/// One module for each kind of words in each vector width: the same loop in its instructions.
#[cfg(target_arch = "x86_64")]
macro_rules! vector_tile {
    ($name:ident, $sum_type:ty, $features:literal, lanes $lanes:literal, vectors $vectors:literal,
     rows [$($rows:literal)*], right $load:ident $splat:ident,
     sums $zero:ident $load_sum:ident $store_sum:ident $add:ident,
     ($sum:ident, $x:ident, $w:ident) $accumulate:expr) => {
        mod $name {
            use super::Operands;
            use std::arch::x86_64::*;

            /// # Safety
            /// The machine has the instructions, and the lengths are those that
            /// [`super::WordTile::multiply`] checks.
            #[target_feature(enable = $features)]
            pub unsafe fn run(o: Operands<'_, $sum_type>) {
                match o.rows {
                    // SAFETY: passed on to the caller.
                    $($rows => unsafe { rows::<$rows>(o) },)*
                    _ => {}
                }
            }

            /// # Safety
            /// As above.
            #[target_feature(enable = $features)]
            unsafe fn rows<const ROWS: usize>(o: Operands<'_, $sum_type>) {
                const COLUMNS: usize = $lanes * $vectors;
                let mut sums = [[$zero(); $vectors]; ROWS];
                let mut right = o.right.as_ptr();
                let mut left = [o.left.as_ptr(); ROWS];
                for i in 0..ROWS {
                    left[i] = left[i].wrapping_add(i * o.row_length);
                }
                for k in 0..o.words {
                    // SAFETY: `right` has `words` times `COLUMNS` words.
                    let w: [_; $vectors] = std::array::from_fn(|v| unsafe {
                        $load(right.add(v * $lanes).cast())
                    });
                    for i in 0..ROWS {
                        // SAFETY: row `i < rows` has as many words.
                        let $x = $splat(unsafe { *left[i].add(k) } as i32);
                        for v in 0..$vectors {
                            let ($sum, $w) = (sums[i][v], w[v]);
                            sums[i][v] = $accumulate;
                        }
                    }
                    right = right.wrapping_add(COLUMNS);
                }
                for i in 0..ROWS {
                    for v in 0..$vectors {
                        let to = &mut o.sums[i * COLUMNS + v * $lanes..][..$lanes];
                        let to = to.as_mut_ptr();
                        // SAFETY: as many elements as a vector has.
                        unsafe {
                            let sum = match o.add {
                                true => $add($load_sum(to.cast()), sums[i][v]),
                                false => sums[i][v],
                            };
                            $store_sum(to.cast(), sum);
                        }
                    }
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
vector_tile!(pairs_avx2, i32, "avx2", lanes 8, vectors 2, rows [1 2 3 4 5 6],
    right _mm256_loadu_si256 _mm256_set1_epi32,
    sums _mm256_setzero_si256 _mm256_loadu_si256 _mm256_storeu_si256 _mm256_add_epi32,
    (sum, x, w) _mm256_add_epi32(sum, _mm256_madd_epi16(x, w)));

#[cfg(target_arch = "x86_64")]
vector_tile!(bytes, i32, "avx512f,avx512vnni", lanes 16, vectors 2, rows [1 2 3 4 5 6 7 8],
    right _mm512_loadu_si512 _mm512_set1_epi32,
    sums _mm512_setzero_si512 _mm512_loadu_si512 _mm512_storeu_si512 _mm512_add_epi32,
    (sum, x, w) _mm512_dpbusd_epi32(sum, x, w));

#[cfg(target_arch = "x86_64")]
vector_tile!(bf16, f32, "avx512f,avx512bf16", lanes 16, vectors 2, rows [1 2 3 4 5 6 7 8],
    right _mm512_loadu_si512 _mm512_set1_epi32,
    sums _mm512_setzero_ps _mm512_loadu_ps _mm512_storeu_ps _mm512_add_ps,
    (sum, x, w) super::dot_bf16(sum, x, w));

/// Products of the bf16 in each lane, added to the lane.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bf16")]
#[inline]
pub(crate) fn dot_bf16(sum: __m512, x: __m512i, w: __m512i) -> __m512 {
    // SAFETY: both types are 512 bits in which any bits are right.
    let words = |v| unsafe { std::mem::transmute::<__m512i, __m512bh>(v) };
    std::arch::x86_64::_mm512_dpbf16_ps(sum, words(x), words(w))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matmul::quantized::activations::SAFE;
    use crate::tensor::quantized::to_bf16;

    const WORDS: [usize; 9] = [0, 1, 2, 7, 15, 16, 17, 63, 65];

    fn words(n: usize, seed: usize) -> Vec<u32> {
        let word = |i: usize| ((i + seed) as u32).wrapping_mul(2_654_435_761);
        (0..n).map(word).collect()
    }

    /// Multiplies with every number of rows and words, twice, from words that begin anywhere, and
    /// compares with `step` over the words.
    fn check<S: Pod>(
        tile: WordTile<S>,
        [left, right]: [fn(u32) -> u32; 2],
        step: fn(f64, u32, u32) -> f64,
        is_close: fn(S, f64) -> bool,
    ) {
        assert!(tile.rows * tile.columns <= LARGEST && WIDEST.is_multiple_of(tile.columns));
        for rows in 1..=tile.rows {
            for n in WORDS {
                let row_length = n + 3;
                let x: Vec<u32> = words(rows * row_length + 1, 5)
                    .into_iter()
                    .map(left)
                    .collect();
                let w: Vec<u32> = words(n * tile.columns + 1, 11)
                    .into_iter()
                    .map(right)
                    .collect();
                let (x, w) = (&x[1..], &w[1..]);
                let mut sums = vec![S::zeroed(); rows * tile.columns];
                tile.multiply(n, (x, row_length), rows, w, &mut sums, false);
                tile.multiply(n, (x, row_length), rows, w, &mut sums, true);
                for i in 0..rows {
                    for j in 0..tile.columns {
                        let sum = (0..n).fold(0.0, |sum, k| {
                            step(sum, x[i * row_length + k], w[k * tile.columns + j])
                        });
                        assert!(is_close(sums[i * tile.columns + j], 2.0 * sum));
                    }
                }
            }
        }
    }

    fn is_equal(found: i32, sum: f64) -> bool {
        found as f64 == sum
    }

    #[test]
    fn tiles_of_integers_are_exact() {
        // Weights have eight bits whatever the other side has.
        let weights = |w: u32| (w & 0x00ff_00ff) ^ ((w & 0x0080_0080) / 128 * 0xff00);
        for tile in WordTile::all_of_16_bits() {
            check(
                tile,
                [|x| x, weights],
                |sum, x, w| {
                    let product = |by: u32| (x >> by) as i16 as f64 * (w >> by) as i16 as f64;
                    sum + product(0) + product(16)
                },
                is_equal,
            );
        }
        let tiles = [WordTile::of_bytes(), Some(WordTile::of_bytes_portable())];
        for tile in tiles.into_iter().flatten() {
            check(
                tile,
                [|x| x, |w| w],
                |sum, x, w| {
                    let product = |by: u32| (x >> by) as u8 as f64 * (w >> by) as i8 as f64;
                    sum + product(0) + product(8) + product(16) + product(24)
                },
                is_equal,
            );
        }
    }

    #[test]
    fn sums_of_as_many_products_as_are_safe_do_not_overflow() {
        for tile in WordTile::all_of_16_bits() {
            let left = vec![0x8001_8001; SAFE / 2];
            let right = vec![0xff81_ff81; SAFE / 2 * tile.columns];
            let mut sums = vec![0; tile.columns];
            tile.multiply(SAFE / 2, (&left, 0), 1, &right, &mut sums, false);
            assert!(sums.iter().all(|s| *s == 32767 * 127 * SAFE as i32));
        }
    }

    #[test]
    fn tiles_of_bf16_are_as_near_as_f32_lets_them() {
        let numbers = |x: u32| {
            let number = |bits: u32| to_bf16(bits as f32 / 32768.0 - 1.0) as u32;
            number(x & 0xffff) | number(x >> 16) << 16
        };
        let tiles = [WordTile::of_bf16(), Some(WordTile::of_bf16_portable())];
        for tile in tiles.into_iter().flatten() {
            check(
                tile,
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
