//! Tiles of short numbers in AVX2, AVX-VNNI and AVX-512; those in AMX are in a file of their own.

mod amx;

use std::arch::x86_64::*;

use super::{ShortMicrokernel, ShortOperands};
use crate::matmul::microkernel::Microkernel;
use crate::runtime::instructions::{Feature, Features};
use crate::simd::x86_64::dot_bf16;

pub(super) use amx::{FAST_BF16, SIGNED_INT8};

/// For words of two integers, the best first.
pub(super) const INT16: &[ShortMicrokernel<i32>] = &[ShortMicrokernel::of::<Int16Avx2>()];

/// For words of four bytes, those on the left without a sign.
pub(super) const INT8: &[ShortMicrokernel<i32>] = &[
    ShortMicrokernel::of::<Int8Vnni>(),
    ShortMicrokernel::of::<Int8AvxVnni>(),
];

/// For words of two bf16.
pub(super) const BF16: &[ShortMicrokernel<f32>] =
    &[FAST_BF16[0], ShortMicrokernel::of::<Bf16Avx512>()];

/// A microkernel for a kind of words in a vector width: the same loop in its instructions.
macro_rules! microkernel {
    ($kernel:ident, $name:literal, $sum_type:ty, [$($feature:ident)*], $target_features:literal,
     lanes $lanes:literal, vectors $vectors:literal, rows $most_rows:literal [$($rows:literal)*],
     right $load:ident $splat:ident,
     sums $zero:ident $load_sum:ident $store_sum:ident $add:ident,
     ($sum:ident, $x:ident, $w:ident) $accumulate:expr) => {
        struct $kernel;

        impl Microkernel for $kernel {
            type TileOperands<'a> = ShortOperands<'a, $sum_type>;
            const NAME: &'static str = $name;
            const FEATURES: Features = Features::of(&[$(Feature::$feature),*]);
            const ROWS: usize = $most_rows;
            const COLUMNS: usize = $lanes * $vectors;

            #[target_feature(enable = $target_features)]
            unsafe fn run(o: ShortOperands<'_, $sum_type>) {
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
            unsafe fn tile<const ROWS: usize>(o: ShortOperands<'_, $sum_type>) {
                let mut sums = [[$zero(); $vectors]; ROWS];
                for pass in o.passes {
                    let mut right = o.right.as_ptr().wrapping_add(pass.right * Self::COLUMNS);
                    let mut left = [o.left.as_ptr().wrapping_add(pass.left); ROWS];
                    for i in 0..ROWS {
                        left[i] = left[i].wrapping_add(i * o.row_length);
                    }
                    for k in 0..o.words {
                        // SAFETY: `right` has `words` times `COLUMNS` words from the pass's first.
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
                        right = right.wrapping_add(Self::COLUMNS);
                    }
                }
                for i in 0..ROWS {
                    for v in 0..$vectors {
                        let to = &mut o.sums[i * Self::COLUMNS + v * $lanes..][..$lanes];
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

microkernel!(Int16Avx2, "AVX2 6x16", i32, [Avx2], "avx2",
    lanes 8, vectors 2, rows 6 [1 2 3 4 5 6],
    right _mm256_loadu_si256 _mm256_set1_epi32,
    sums _mm256_setzero_si256 _mm256_loadu_si256 _mm256_storeu_si256 _mm256_add_epi32,
    (sum, x, w) _mm256_add_epi32(sum, _mm256_madd_epi16(x, w)));

microkernel!(Int8AvxVnni, "AVX-VNNI 6x16", i32, [Avx2 AvxVnni], "avx2,avxvnni",
    lanes 8, vectors 2, rows 6 [1 2 3 4 5 6],
    right _mm256_loadu_si256 _mm256_set1_epi32,
    sums _mm256_setzero_si256 _mm256_loadu_si256 _mm256_storeu_si256 _mm256_add_epi32,
    (sum, x, w) _mm256_dpbusd_avx_epi32(sum, x, w));

microkernel!(Int8Vnni, "AVX-512 VNNI 8x32", i32, [Avx512 Avx512Vnni], "avx512f,avx512vnni",
    lanes 16, vectors 2, rows 8 [1 2 3 4 5 6 7 8],
    right _mm512_loadu_si512 _mm512_set1_epi32,
    sums _mm512_setzero_si512 _mm512_loadu_si512 _mm512_storeu_si512 _mm512_add_epi32,
    (sum, x, w) _mm512_dpbusd_epi32(sum, x, w));

microkernel!(Bf16Avx512, "AVX-512 BF16 8x32", f32, [Avx512 Avx512Bf16], "avx512f,avx512bf16",
    lanes 16, vectors 2, rows 8 [1 2 3 4 5 6 7 8],
    right _mm512_loadu_si512 _mm512_set1_epi32,
    sums _mm512_setzero_ps _mm512_loadu_ps _mm512_storeu_ps _mm512_add_ps,
    (sum, x, w) dot_bf16(sum, x, w));
