//! Tiles of `f32` in AVX2 and AVX-512.

use std::arch::x86_64::*;

use super::{F32Microkernel, F32Operands, OfPanels};
use crate::matmul::microkernel::Microkernel;
use crate::runtime::instructions::{Feature, Features};

/// The best first.
pub(super) const MICROKERNELS: &[F32Microkernel] =
    &[F32Microkernel::of::<Avx512>(), F32Microkernel::of::<Avx2>()];

/// Steps along the depth that a loop over a panel does before it asks whether to go on: counting
/// takes place in units that could multiply.
const UNROLLED: usize = 4;

/// A microkernel for a vector width: the same loops in its instructions.
macro_rules! microkernel {
    ($kernel:ident, $name:literal, $feature:ident, $target_features:literal,
     $vector:ident, lanes $lanes:literal, vectors $vectors:literal,
     rows $most_rows:literal [$($rows:literal)*],
     panel rows $panel_rows:literal [$($more_rows:literal)*],
     $zero:ident $load:ident $store:ident $splat:ident $fma:ident $add:ident) => {
        struct $kernel;

        impl Microkernel for $kernel {
            type TileOperands<'a> = F32Operands<'a>;
            const NAME: &'static str = $name;
            const FEATURES: Features = Features::of(&[Feature::$feature]);
            const ROWS: usize = $most_rows;
            const COLUMNS: usize = $lanes * $vectors;

            #[target_feature(enable = $target_features)]
            unsafe fn run(o: F32Operands<'_>) {
                let is_panel = o.left.is_panel($panel_rows);
                match o.rows {
                    // SAFETY: passed on to the caller.
                    $($rows if is_panel => unsafe { $kernel::panel::<$rows>(o) },
                      // SAFETY: likewise.
                      $rows => unsafe { $kernel::strided::<$rows>(o) },)*
                    // SAFETY: likewise.
                    $($more_rows if is_panel => unsafe { $kernel::panel::<$more_rows>(o) },)*
                    _ => {}
                }
            }
        }

        impl OfPanels for $kernel {
            const PANEL_ROWS: usize = $panel_rows;
        }

        impl $kernel {
            /// A tile whose left rows lie anywhere.
            ///
            /// # Safety
            /// As for [`Microkernel::run`].
            #[target_feature(enable = $target_features)]
            unsafe fn strided<const ROWS: usize>(o: F32Operands<'_>) {
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
                    right = right.wrapping_add(Self::COLUMNS);
                    at = at.wrapping_add(o.left.column_stride);
                }
                // SAFETY: passed on to the caller.
                unsafe { Self::store(&sums, &o) };
            }

            /// A tile whose left rows are those of a packed panel: all addresses are one pointer
            /// and a constant, so that there is room for more rows.
            ///
            /// # Safety
            /// As for [`Microkernel::run`], and `left` is a panel.
            #[target_feature(enable = $target_features)]
            unsafe fn panel<const ROWS: usize>(o: F32Operands<'_>) {
                let mut sums = [[$zero(); $vectors]; ROWS];
                let (mut left, mut right) = (o.left.data.as_ptr(), o.right.as_ptr());
                for _ in 0..o.depth / UNROLLED {
                    for _ in 0..UNROLLED {
                        // SAFETY: one of `depth` steps of both sides.
                        unsafe { Self::step(left, right, &mut sums) };
                        left = left.wrapping_add(Self::PANEL_ROWS);
                        right = right.wrapping_add(Self::COLUMNS);
                    }
                }
                for _ in 0..o.depth % UNROLLED {
                    // SAFETY: as above.
                    unsafe { Self::step(left, right, &mut sums) };
                    left = left.wrapping_add(Self::PANEL_ROWS);
                    right = right.wrapping_add(Self::COLUMNS);
                }
                // SAFETY: passed on to the caller.
                unsafe { Self::store(&sums, &o) };
            }

            /// # Safety
            /// `left` has `ROWS` elements, `right` has `COLUMNS`.
            #[inline]
            #[target_feature(enable = $target_features)]
            unsafe fn step<const ROWS: usize>(
                left: *const f32,
                right: *const f32,
                sums: &mut [[$vector; $vectors]; ROWS],
            ) {
                let mut b = [$zero(); $vectors];
                for v in 0..$vectors {
                    // SAFETY: the caller's promise.
                    b[v] = unsafe { $load(right.add(v * $lanes)) };
                }
                for i in 0..ROWS {
                    // SAFETY: the caller's promise.
                    let a = $splat(unsafe { *left.add(i) });
                    for v in 0..$vectors {
                        sums[i][v] = $fma(a, b[v], sums[i][v]);
                    }
                }
            }

            /// # Safety
            /// As for [`Microkernel::run`].
            #[inline]
            #[target_feature(enable = $target_features)]
            unsafe fn store<const ROWS: usize>(
                sums: &[[$vector; $vectors]; ROWS],
                o: &F32Operands<'_>,
            ) {
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

microkernel!(Avx2, "AVX2 6x16", Avx2, "avx2,fma",
    __m256, lanes 8, vectors 2, rows 6 [1 2 3 4 5 6], panel rows 6 [],
    _mm256_setzero_ps _mm256_loadu_ps _mm256_storeu_ps _mm256_set1_ps _mm256_fmadd_ps _mm256_add_ps);

microkernel!(Avx512, "AVX-512 14x32", Avx512, "avx512f",
    __m512, lanes 16, vectors 2, rows 8 [1 2 3 4 5 6 7 8], panel rows 14 [9 10 11 12 13 14],
    _mm512_setzero_ps _mm512_loadu_ps _mm512_storeu_ps _mm512_set1_ps _mm512_fmadd_ps _mm512_add_ps);
