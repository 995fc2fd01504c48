//! Tiles of `f32` in AVX2 and AVX-512.

use std::arch::x86_64::*;

use super::{F32Microkernel, F32Operands};
use crate::matmul::microkernel::Microkernel;
use crate::runtime::instructions::{Feature, Features};

/// The best first.
pub(super) const MICROKERNELS: &[F32Microkernel] =
    &[F32Microkernel::of::<Avx512>(), F32Microkernel::of::<Avx2>()];

/// A microkernel for a vector width: the same loop in its instructions.
macro_rules! microkernel {
    ($kernel:ident, $name:literal, $feature:ident, $target_features:literal,
     lanes $lanes:literal, vectors $vectors:literal, rows $most_rows:literal [$($rows:literal)*],
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
                match o.rows {
                    // SAFETY: passed on to the caller.
                    $($rows => unsafe { $kernel::tile::<$rows>(o) },)*
                    _ => {}
                }
            }
        }

        impl $kernel {
            /// # Safety
            /// As for [`Microkernel::run`].
            #[target_feature(enable = $target_features)]
            unsafe fn tile<const ROWS: usize>(o: F32Operands<'_>) {
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
    lanes 8, vectors 2, rows 6 [1 2 3 4 5 6],
    _mm256_setzero_ps _mm256_loadu_ps _mm256_storeu_ps _mm256_set1_ps _mm256_fmadd_ps _mm256_add_ps);

microkernel!(Avx512, "AVX-512 8x32", Avx512, "avx512f",
    lanes 16, vectors 2, rows 8 [1 2 3 4 5 6 7 8],
    _mm512_setzero_ps _mm512_loadu_ps _mm512_storeu_ps _mm512_set1_ps _mm512_fmadd_ps _mm512_add_ps);
