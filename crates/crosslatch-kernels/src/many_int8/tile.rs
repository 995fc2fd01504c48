//! A tile of a product of 16-bit numbers, in registers.
//!
//! As [`crate::tile`], but a step along the depth is a pair of elements: each 32-bit lane of a vector
//! holds a pair of the right matrix, the left pair is in all lanes, and one instruction multiplies both
//! and adds the two products. Sums are exact for as many steps as [`crate::rounded`] allows.

use std::sync::OnceLock;

/// Elements of the largest tile.
pub(super) const LARGEST: usize = 8 * 32;

/// The loop for tiles of a certain size.
#[derive(Clone, Copy)]
pub(super) struct Tile {
    /// Most rows of a tile.
    pub rows: usize,
    /// Columns of a tile, always all of them.
    pub columns: usize,
    run: unsafe fn(Operands<'_>),
}

/// What a tile is computed from and where it goes.
struct Operands<'a> {
    pairs: usize,
    left: &'a [i16],
    row_length: usize,
    rows: usize,
    right: &'a [i16],
    sums: &'a mut [i32],
}

impl Tile {
    /// The best one for this machine.
    pub fn best() -> Tile {
        static BEST: OnceLock<Tile> = OnceLock::new();
        *BEST.get_or_init(|| Tile::all()[0])
    }

    /// All that this machine can run, the best first.
    fn all() -> Vec<Tile> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        if std::env::var_os("CROSSLATCH_PORTABLE").is_none() {
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni") {
                all.push(Tile {
                    rows: 8,
                    columns: 32,
                    run: vnni::run,
                });
            }
            if is_x86_feature_detected!("avx2") {
                all.push(Tile {
                    rows: 6,
                    columns: 16,
                    run: avx2::run,
                });
            }
        }
        all.push(Tile {
            rows: 4,
            columns: 8,
            run: portable,
        });
        all
    }

    /// `sums = left * right`: rows of `depth` elements, `left.1` apart, and a packed strip. Both have a
    /// zero after an odd depth. Row `i` of the sums begins at `i * self.columns`.
    ///
    /// # Panics
    /// If a slice is too short or `rows` too large.
    #[inline]
    pub fn multiply(
        &self,
        depth: usize,
        (left, row_length): (&[i16], usize),
        rows: usize,
        right: &[i16],
        sums: &mut [i32],
    ) {
        let pairs = depth.div_ceil(2);
        assert!((1..=self.rows).contains(&rows));
        assert!((rows - 1) * row_length + 2 * pairs <= left.len());
        let operands = Operands {
            pairs,
            left,
            row_length,
            rows,
            right: &right[..2 * pairs * self.columns],
            sums: &mut sums[..rows * self.columns],
        };
        // SAFETY: `all` lists a function only if the machine has the instructions that it needs, and the
        // lengths that it relies on have just been checked.
        unsafe { (self.run)(operands) }
    }
}

/// For any machine.
///
/// # Safety
/// None is needed; this is the type of the others.
unsafe fn portable(o: Operands<'_>) {
    for (i, sums) in o.sums.chunks_exact_mut(8).enumerate() {
        let mut lanes = [0i32; 8];
        let left = o.left[i * o.row_length..].as_chunks::<2>().0;
        for (x, right) in left.iter().zip(o.right.as_chunks::<16>().0).take(o.pairs) {
            for (lane, w) in lanes.iter_mut().zip(right.as_chunks::<2>().0) {
                *lane += x[0] as i32 * w[0] as i32 + x[1] as i32 * w[1] as i32;
            }
        }
        sums.copy_from_slice(&lanes);
    }
}

/// One module for each vector width: the same loop in its instructions.
#[cfg(target_arch = "x86_64")]
macro_rules! vector_tile {
    ($name:ident, $features:literal, lanes $lanes:literal, vectors $vectors:literal,
     rows [$($rows:literal)*], $zero:ident $load:ident $store:ident $splat:ident,
     ($sum:ident, $x:ident, $w:ident) $accumulate:expr) => {
        mod $name {
            use super::Operands;
            use std::arch::x86_64::*;

            /// # Safety
            /// The machine has the instructions, and the lengths are those that
            /// [`super::Tile::multiply`] checks.
            #[target_feature(enable = $features)]
            pub unsafe fn run(o: Operands<'_>) {
                match o.rows {
                    // SAFETY: passed on to the caller.
                    $($rows => unsafe { rows::<$rows>(o) },)*
                    _ => {}
                }
            }

            /// # Safety
            /// As above.
            #[target_feature(enable = $features)]
            unsafe fn rows<const ROWS: usize>(o: Operands<'_>) {
                const COLUMNS: usize = $lanes * $vectors;
                let mut sums = [[$zero(); $vectors]; ROWS];
                let mut right = o.right.as_ptr();
                let mut left = [o.left.as_ptr(); ROWS];
                for i in 0..ROWS {
                    left[i] = left[i].wrapping_add(i * o.row_length);
                }
                for p in 0..o.pairs {
                    let mut w = [$zero(); $vectors];
                    for v in 0..$vectors {
                        // SAFETY: `right` has `pairs` times `COLUMNS` pairs.
                        w[v] = unsafe { $load(right.add(2 * v * $lanes).cast()) };
                    }
                    for i in 0..ROWS {
                        // SAFETY: row `i < rows` has `pairs` pairs.
                        let pair = unsafe { left[i].add(2 * p).cast::<i32>().read_unaligned() };
                        let $x = $splat(pair);
                        for v in 0..$vectors {
                            let ($sum, $w) = (sums[i][v], w[v]);
                            sums[i][v] = $accumulate;
                        }
                    }
                    right = right.wrapping_add(2 * COLUMNS);
                }
                for i in 0..ROWS {
                    for v in 0..$vectors {
                        let to = &mut o.sums[i * COLUMNS + v * $lanes..][..$lanes];
                        // SAFETY: as many elements as a vector has.
                        unsafe { $store(to.as_mut_ptr().cast(), sums[i][v]) };
                    }
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
vector_tile!(avx2, "avx2", lanes 8, vectors 2, rows [1 2 3 4 5 6],
    _mm256_setzero_si256 _mm256_loadu_si256 _mm256_storeu_si256 _mm256_set1_epi32,
    (sum, x, w) _mm256_add_epi32(sum, _mm256_madd_epi16(x, w)));

#[cfg(target_arch = "x86_64")]
vector_tile!(vnni, "avx512f,avx512vnni", lanes 16, vectors 2, rows [1 2 3 4 5 6 7 8],
    _mm512_setzero_si512 _mm512_loadu_si512 _mm512_storeu_si512 _mm512_set1_epi32,
    (sum, x, w) _mm512_dpwssd_epi32(sum, x, w));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rounded::SAFE;

    #[test]
    fn every_kind_of_tile_is_exact_for_every_number_of_rows_and_at_the_limits() {
        let numbers = |n: usize, seed: usize| -> Vec<i16> {
            (0..n).map(|i| ((i * 7919 + seed) % 65535) as i16).collect()
        };
        for tile in Tile::all() {
            assert!(tile.rows * tile.columns <= LARGEST);
            for rows in 1..=tile.rows {
                for depth in [1, 2, 7, 64, SAFE - 1, SAFE] {
                    let row_length = depth.next_multiple_of(2) + 3;
                    let mut left = numbers(rows * row_length, 5);
                    let mut right = numbers(depth.next_multiple_of(2) * tile.columns, 11);
                    right.iter_mut().for_each(|w| *w %= 128);
                    let at_limit = depth == SAFE;
                    if at_limit {
                        left.fill(-32767);
                        right.fill(-127);
                    } else if depth % 2 == 1 {
                        for row in left.chunks_mut(row_length) {
                            row[depth] = 0;
                        }
                    }
                    let mut sums = vec![1; rows * tile.columns];
                    tile.multiply(depth, (&left, row_length), rows, &right, &mut sums);
                    for i in 0..rows {
                        for j in 0..tile.columns {
                            let sum: i64 = (0..depth)
                                .map(|k| {
                                    let w = right[(k / 2 * tile.columns + j) * 2 + k % 2];
                                    left[i * row_length + k] as i64 * w as i64
                                })
                                .sum();
                            assert_eq!(sums[i * tile.columns + j] as i64, sum);
                        }
                    }
                }
            }
        }
    }
}
