//! The innermost loop of everything that multiplies matrices: a tile of the result in registers.
//!
//! A tile is a few rows by a few vectors of columns. For each step along the depth, one element of
//! each left row is multiplied with one row of the right matrix and added to the tile; nothing is
//! loaded twice and nothing is stored before the end. The right matrix has been packed for this
//! ([`crate::matmul::gemm`]): the columns of the tile lie side by side, one step after the other. The left
//! one is read where it is, with any strides, since only single elements of it are needed at a
//! time.
//!
//! An element of the result is one chain of fused multiply-adds in the order of the depth,
//! whatever the size of the tile and wherever the element lies in it: results do not depend on how
//! a product is cut into tiles.

use std::sync::OnceLock;

use crate::runtime::instructions::{has_avx2, has_avx512};

/// Elements of the largest tile.
pub(crate) const LARGEST: usize = 8 * 32;

/// The loop for tiles of a certain size.
#[derive(Clone, Copy)]
pub(crate) struct Tile {
    /// Most rows of a tile.
    pub rows: usize,
    /// Columns of a tile, always all of them.
    pub columns: usize,
    run: unsafe fn(Operands<'_>),
}

/// A matrix in memory that begins with its first element.
#[derive(Clone, Copy)]
pub(crate) struct Strided<'a, T = f32> {
    /// The elements.
    pub data: &'a [T],
    /// Distance between rows.
    pub row_stride: usize,
    /// Distance between columns.
    pub column_stride: usize,
}

impl<'a, T> Strided<'a, T> {
    /// The matrix without its first rows and columns.
    pub fn from(&self, row: usize, column: usize) -> Strided<'a, T> {
        let start = row * self.row_stride + column * self.column_stride;
        Strided {
            data: &self.data[start..],
            row_stride: self.row_stride,
            column_stride: self.column_stride,
        }
    }
}

/// What a tile is computed from and where it goes.
struct Operands<'a> {
    depth: usize,
    left: Strided<'a>,
    rows: usize,
    right: &'a [f32],
    out: *mut f32,
    out_stride: usize,
    add: bool,
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
        {
            if has_avx512() {
                all.push(Tile {
                    rows: 8,
                    columns: 32,
                    run: avx512::run,
                });
            }
            if has_avx2() {
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

    /// `out = left * right`, or `out += left * right` with `add`. `left` is `rows` by `depth`,
    /// `right` is `depth` by `self.columns`, `out` is `rows` by `self.columns`, the latter two
    /// without gaps.
    ///
    /// # Panics
    /// If a slice is too short or `rows` too large.
    #[inline]
    pub fn multiply(
        &self,
        depth: usize,
        left: Strided<'_>,
        rows: usize,
        right: &[f32],
        out: &mut [f32],
        add: bool,
    ) {
        let out = &mut out[..rows * self.columns];
        // SAFETY: `out` is as long as it must be, and borrowed exclusively.
        unsafe {
            self.multiply_to(
                depth,
                left,
                rows,
                right,
                out.as_mut_ptr(),
                self.columns,
                add,
            )
        }
    }

    /// As [`multiply`](Tile::multiply), into rows that are `out_stride` apart.
    ///
    /// # Safety
    /// `out.add(i * out_stride)` is `self.columns` elements that may be written, and read if `add`,
    /// for each `i < rows`.
    ///
    /// # Panics
    /// As there.
    #[inline]
    #[allow(clippy::too_many_arguments)]
    pub unsafe fn multiply_to(
        &self,
        depth: usize,
        left: Strided<'_>,
        rows: usize,
        right: &[f32],
        out: *mut f32,
        out_stride: usize,
        add: bool,
    ) {
        assert!((1..=self.rows).contains(&rows) && depth > 0);
        let last = (rows - 1) * left.row_stride + (depth - 1) * left.column_stride;
        assert!(last < left.data.len());
        let right = &right[..depth * self.columns];
        // SAFETY: `all` lists a function only if the machine has the instructions that it needs;
        // the lengths that it relies on have just been checked, and `out` is the caller's promise.
        unsafe {
            (self.run)(Operands {
                depth,
                left,
                rows,
                right,
                out,
                out_stride,
                add,
            })
        }
    }
}

/// For any machine, in a form that compilers vectorise.
///
/// # Safety
/// `out` is as [`Tile::multiply_to`] has it.
unsafe fn portable(o: Operands<'_>) {
    let mut sums = [[0f32; 8]; 4];
    for k in 0..o.depth {
        let right = &o.right[k * 8..][..8];
        for (i, sum) in sums.iter_mut().enumerate().take(o.rows) {
            let a = o.left.data[i * o.left.row_stride + k * o.left.column_stride];
            for (s, b) in sum.iter_mut().zip(right) {
                *s += a * b;
            }
        }
    }
    for (i, sum) in sums.iter().enumerate().take(o.rows) {
        // SAFETY: the caller's promise.
        let out = unsafe { std::slice::from_raw_parts_mut(o.out.add(i * o.out_stride), 8) };
        for (y, s) in out.iter_mut().zip(sum) {
            *y = if o.add { *y + s } else { *s };
        }
    }
}

/// One module for each vector width: the same loop in its instructions.
#[cfg(target_arch = "x86_64")]
macro_rules! vector_tile {
    ($name:ident, $features:literal, lanes $lanes:literal, vectors $vectors:literal,
     rows [$($rows:literal)*], $zero:ident $load:ident $store:ident $splat:ident $fma:ident $add:ident) => {
        mod $name {
            use super::Operands;
            use std::arch::x86_64::*;

            /// # Safety
            /// The machine has the instructions, the lengths are those that
            /// [`super::Tile::multiply_to`] checks, and `out` is as it says.
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
                let mut left = [o.left.data.as_ptr(); ROWS];
                for i in 0..ROWS {
                    left[i] = left[i].wrapping_add(i * o.left.row_stride);
                }
                let mut at = 0;
                for _ in 0..o.depth {
                    let mut b = [$zero(); $vectors];
                    for v in 0..$vectors {
                        // SAFETY: `right` has `depth` rows of `COLUMNS` elements.
                        b[v] = unsafe { $load(right.add(v * $lanes)) };
                    }
                    for i in 0..ROWS {
                        // SAFETY: row `i < rows` and step below `depth` lie inside `left`.
                        let a = $splat(unsafe { *left[i].add(at) });
                        for v in 0..$vectors {
                            sums[i][v] = $fma(a, b[v], sums[i][v]);
                        }
                    }
                    right = right.wrapping_add(COLUMNS);
                    at = at.wrapping_add(o.left.column_stride);
                }
                for i in 0..ROWS {
                    for v in 0..$vectors {
                        // SAFETY: the caller's promise on `out`.
                        unsafe {
                            let to = o.out.add(i * o.out_stride + v * $lanes);
                            let sum = sums[i][v];
                            $store(to, if o.add { $add($load(to), sum) } else { sum });
                        }
                    }
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
vector_tile!(avx2, "avx2,fma", lanes 8, vectors 2, rows [1 2 3 4 5 6],
    _mm256_setzero_ps _mm256_loadu_ps _mm256_storeu_ps _mm256_set1_ps _mm256_fmadd_ps _mm256_add_ps);

#[cfg(target_arch = "x86_64")]
vector_tile!(avx512, "avx512f", lanes 16, vectors 2, rows [1 2 3 4 5 6 7 8],
    _mm512_setzero_ps _mm512_loadu_ps _mm512_storeu_ps _mm512_set1_ps _mm512_fmadd_ps _mm512_add_ps);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_tile_computes_every_number_of_rows_with_any_strides() {
        let data: Vec<f32> = (0..4000).map(|i| ((i * 37) % 64) as f32 - 31.0).collect();
        for tile in Tile::all() {
            assert!(tile.rows * tile.columns <= LARGEST);
            for rows in 1..=tile.rows {
                for (depth, row_stride, column_stride) in
                    [(1, 5, 1), (7, 9, 1), (30, 1, 11), (3, 0, 2)]
                {
                    let left = Strided {
                        data: &data[3..],
                        row_stride,
                        column_stride,
                    };
                    let right = &data[100..][..depth * tile.columns];
                    let mut out = vec![1f32; rows * tile.columns];
                    tile.multiply(depth, left, rows, right, &mut out, false);
                    tile.multiply(depth, left, rows, right, &mut out, true);
                    for i in 0..rows {
                        for j in 0..tile.columns {
                            // Whole numbers, so that sums are exact in any order.
                            let sum: f32 = (0..depth)
                                .map(|k| {
                                    left.data[i * row_stride + k * column_stride]
                                        * right[k * tile.columns + j]
                                })
                                .sum();
                            assert_eq!(out[i * tile.columns + j], 2.0 * sum);
                        }
                    }
                }
            }
        }
    }
}
