//! Dot products of rows of `f32` with rows of stored elements.
//!
//! The left rows are prepared, so that widening a right one costs less than the bytes that it saves:
//!
//! * *bf16*: of the elements that a vector load brings, the odd ones are `f32`s as they stand once the
//!   lower half is masked out, the even ones after a shift; so the left rows are held with even
//!   and odd elements apart, sixteen of each at a time.
//! * *int8*: the left rows are rounded to 16 bits ([`crate::matmul::quantized::activations`]), one scale for each [`CHUNK`]
//!   elements. Products are then added up in 32-bit integers, exactly.
//!
//! A row with a value that is not finite gives NaN in int8.
//!
//! A sum has sixteen lanes: elements `2i` and `2i + 1` of each thirty-two go into lane `i`. The lanes are
//! added up in one order; sums of chunks too. So the bits depend on nothing but the shape.

use crate::matmul::microkernel::tile::Strided;
use crate::matmul::quantized::activations::{SAFE, round_row};
use crate::runtime::instructions::{has_avx512, has_vnni};
use crate::simd::approximate::multiply_add;
use crate::simd::dot_products::{LANES, sum};
use crate::simd::vectors::sum_lanes;
use crate::tensor::quantized::from_bf16;

/// Elements that are summed without a break.
pub const CHUNK: usize = 4096;

/// Elements that are widened together.
pub const BLOCK: usize = 2 * LANES;

// No lane of an integer sum overflows.
const _: () = assert!(2 * CHUNK / LANES <= SAFE);

/// Dot products with stored elements.
pub trait Dots {
    /// What the left rows become.
    type Left: bytemuck::Pod;
    /// A stored element.
    type Right: bytemuck::Pod + Sync;

    /// Whether a sum is one register of AVX2, not two.
    const ONE_REGISTER: bool;

    /// Brings `filled` elements of a row into the form that [`dots`](Dots::dots) takes, and fills
    /// `to` up with zeros; returns the factor of the sums.
    fn prepare(row: Strided<'_>, filled: usize, to: &mut [Self::Left]) -> f32;

    /// The dot product of each left slice, which is filled up to whole blocks, with each right
    /// one. `FAST` promises that the machine has AVX2 and FMA. What lies `ahead` elements behind each
    /// right slice will be wanted next.
    fn dots<const FAST: bool, const R: usize, const C: usize>(
        left: [&[Self::Left]; R],
        right: [&[Self::Right]; C],
        ahead: usize,
    ) -> [[f32; C]; R];
}

pub struct Bf16;

impl Dots for Bf16 {
    type Left = f32;
    type Right = u16;

    const ONE_REGISTER: bool = false;

    #[inline(always)]
    fn prepare(row: Strided<'_>, filled: usize, to: &mut [f32]) -> f32 {
        for (b, block) in to.chunks_exact_mut(BLOCK).enumerate() {
            for (i, x) in block.iter_mut().enumerate() {
                let k = b * BLOCK + i % LANES * 2 + i / LANES;
                *x = match k < filled {
                    true => row.data[k * row.column_stride],
                    false => 0.0,
                };
            }
        }
        1.0
    }

    #[inline(always)]
    fn dots<const FAST: bool, const R: usize, const C: usize>(
        left: [&[f32]; R],
        right: [&[u16]; C],
        ahead: usize,
    ) -> [[f32; C]; R] {
        #[cfg(target_arch = "x86_64")]
        if FAST {
            check(left, right);
            // SAFETY: the caller's promise, and the lengths are right.
            return unsafe {
                // A single row is as fast as memory in shorter vectors too, which are two chains.
                match has_avx512() && R > 1 {
                    true => vectors::bf16_avx512(left, right, ahead),
                    false => vectors::bf16(left, right, ahead),
                }
            };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = ahead;
        bf16_portable::<FAST, R, C>(left, right)
    }
}

#[inline(always)]
fn bf16_portable<const FUSED: bool, const R: usize, const C: usize>(
    left: [&[f32]; R],
    right: [&[u16]; C],
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

pub struct Int8;

impl Dots for Int8 {
    type Left = i16;
    type Right = i8;

    const ONE_REGISTER: bool = true;

    #[inline(always)]
    fn prepare(row: Strided<'_>, filled: usize, to: &mut [i16]) -> f32 {
        let (to, rest) = to.split_at_mut(filled);
        rest.fill(0);
        round_row(row, to)
    }

    #[inline(always)]
    fn dots<const FAST: bool, const R: usize, const C: usize>(
        left: [&[i16]; R],
        right: [&[i8]; C],
        ahead: usize,
    ) -> [[f32; C]; R] {
        #[cfg(target_arch = "x86_64")]
        if FAST {
            check(left, right);
            // SAFETY: the caller's promise, and the lengths are right.
            return unsafe {
                // A single chain of sums would wait for each of them.
                match (has_avx512(), R > 1 && has_vnni()) {
                    (true, true) => vectors::int8_vnni(left, right, ahead),
                    (true, false) => vectors::int8_avx512(left, right, ahead),
                    _ => vectors::int8(left, right, ahead),
                }
            };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = ahead;
        int8_portable(left, right)
    }
}

#[inline(always)]
fn int8_portable<const R: usize, const C: usize>(
    left: [&[i16]; R],
    right: [&[i8]; C],
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

/// The sum of integer lanes: those of both halves are added up exactly, then as `f32`.
#[inline(always)]
fn sum_integers(lanes: [i32; LANES]) -> f32 {
    sum_lanes(std::array::from_fn(|i| {
        (lanes[i] + lanes[i + LANES / 2]) as f32
    }))
}

/// All slices of a side are equally long, and the left ones end where the last block of the right
/// ones does.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn check<X, W, const R: usize, const C: usize>(left: [&[X]; R], right: [&[W]; C]) {
    let len = right[0].len();
    assert!(len <= CHUNK);
    for w in right {
        assert_eq!(w.len(), len);
    }
    for x in left {
        assert_eq!(x.len(), len.next_multiple_of(BLOCK));
    }
}

/// The loops in AVX2 and AVX-512. All expect what [`check`] checks. What is not a whole block is done apart,
/// or the loop would ask for it at every step.
#[cfg(target_arch = "x86_64")]
mod vectors {
    use std::arch::x86_64::*;

    use super::BLOCK;
    use crate::runtime::prefetch::fetch;
    use crate::simd::vectors::sums_of_vectors;

    /// Calls `add` with the position and the addresses of each block of the right slices. A function that
    /// does so would not have the instructions of those that it is called from.
    macro_rules! each_block {
        ($right:ident, $ahead:ident, $add:ident) => {
            let whole = $right[0].len() / BLOCK * BLOCK;
            for k in (0..whole).step_by(BLOCK) {
                fetch(k, &$right, $ahead);
                $add(k, $right.map(|w| w.as_ptr().wrapping_add(k)));
            }
            if whole < $right[0].len() {
                let ends = ends($right, whole);
                $add(whole, ends.each_ref().map(|end| end.as_ptr()));
            }
        };
    }

    /// # Safety
    /// The lengths are as [`super::check`] says.
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn bf16<const R: usize, const C: usize>(
        left: [&[f32]; R],
        right: [&[u16]; C],
        ahead: usize,
    ) -> [[f32; C]; R] {
        let upper = _mm256_set1_epi32(0xffff_0000_u32 as i32);
        let mut sums = [[[_mm256_setzero_ps(); 2]; C]; R];
        let mut add = |k: usize, w: [*const u16; C]| {
            for half in [0, 1] {
                let mut x = [[_mm256_setzero_ps(); 2]; R];
                for r in 0..R {
                    let from = left[r].as_ptr().wrapping_add(k + 8 * half);
                    // SAFETY: the left slices have whole blocks.
                    x[r] = unsafe { [_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(16))] };
                }
                for c in 0..C {
                    // SAFETY: a whole block lies there.
                    let w = unsafe { _mm256_loadu_si256(w[c].add(16 * half).cast()) };
                    let even = _mm256_castsi256_ps(_mm256_slli_epi32::<16>(w));
                    let odd = _mm256_castsi256_ps(_mm256_and_si256(w, upper));
                    for r in 0..R {
                        let sum = _mm256_fmadd_ps(x[r][0], even, sums[r][c][half]);
                        sums[r][c][half] = _mm256_fmadd_ps(x[r][1], odd, sum);
                    }
                }
            }
        };
        each_block!(right, ahead, add);
        let mut results = [[0f32; C]; R];
        for r in 0..R {
            let mut folded = [_mm256_setzero_ps(); C];
            for c in 0..C {
                folded[c] = _mm256_add_ps(sums[r][c][0], sums[r][c][1]);
            }
            results[r] = sums_of_vectors(folded);
        }
        results
    }

    /// # Safety
    /// The lengths are as [`super::check`] says.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub unsafe fn bf16_avx512<const R: usize, const C: usize>(
        left: [&[f32]; R],
        right: [&[u16]; C],
        ahead: usize,
    ) -> [[f32; C]; R] {
        let upper = _mm512_set1_epi32(0xffff_0000_u32 as i32);
        let mut sums = [[_mm512_setzero_ps(); C]; R];
        let mut add = |k: usize, w: [*const u16; C]| {
            let (mut even, mut odd) = ([_mm512_setzero_ps(); C], [_mm512_setzero_ps(); C]);
            for c in 0..C {
                // SAFETY: a whole block lies there.
                let w = unsafe { _mm512_loadu_si512(w[c].cast()) };
                even[c] = _mm512_castsi512_ps(_mm512_slli_epi32::<16>(w));
                odd[c] = _mm512_castsi512_ps(_mm512_and_si512(w, upper));
            }
            for r in 0..R {
                let from = left[r].as_ptr().wrapping_add(k);
                // SAFETY: the left slices have whole blocks.
                let x = unsafe { [_mm512_loadu_ps(from), _mm512_loadu_ps(from.add(16))] };
                for c in 0..C {
                    let sum = _mm512_fmadd_ps(x[0], even[c], sums[r][c]);
                    sums[r][c] = _mm512_fmadd_ps(x[1], odd[c], sum);
                }
            }
        };
        each_block!(right, ahead, add);
        let mut results = [[0f32; C]; R];
        for r in 0..R {
            let mut folded = [_mm256_setzero_ps(); C];
            for c in 0..C {
                let sum = sums[r][c];
                let halves = [
                    _mm512_castps512_ps256(sum),
                    _mm512_extractf32x8_ps::<1>(sum),
                ];
                folded[c] = _mm256_add_ps(halves[0], halves[1]);
            }
            results[r] = sums_of_vectors(folded);
        }
        results
    }

    /// # Safety
    /// The lengths are as [`super::check`] says.
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn int8<const R: usize, const C: usize>(
        left: [&[i16]; R],
        right: [&[i8]; C],
        ahead: usize,
    ) -> [[f32; C]; R] {
        let mut sums = [[_mm256_setzero_si256(); C]; R];
        let mut add = |k: usize, w: [*const i8; C]| {
            for half in [0, 16] {
                let mut x = [_mm256_setzero_si256(); R];
                for r in 0..R {
                    let from = left[r].as_ptr().wrapping_add(k + half);
                    // SAFETY: the left slices have whole blocks.
                    x[r] = unsafe { _mm256_loadu_si256(from.cast()) };
                }
                for c in 0..C {
                    // SAFETY: a whole block lies there.
                    let w = unsafe { _mm_loadu_si128(w[c].add(half).cast()) };
                    let w = _mm256_cvtepi8_epi16(w);
                    for r in 0..R {
                        // The lanes of both halves are added up exactly, here or at the end.
                        sums[r][c] = _mm256_add_epi32(sums[r][c], _mm256_madd_epi16(x[r], w));
                    }
                }
            }
        };
        each_block!(right, ahead, add);
        let mut results = [[0f32; C]; R];
        for r in 0..R {
            let mut floats = [_mm256_setzero_ps(); C];
            for c in 0..C {
                floats[c] = _mm256_cvtepi32_ps(sums[r][c]);
            }
            results[r] = sums_of_vectors(floats);
        }
        results
    }

    /// The loop in AVX-512, with a way to add the products of pairs.
    macro_rules! int8_avx512 {
        ($name:ident, $features:literal, ($sum:ident, $x:ident, $w:ident) $add:expr) => {
            /// # Safety
            /// The lengths are as [`super::check`] says.
            #[target_feature(enable = $features)]
            pub unsafe fn $name<const R: usize, const C: usize>(
                left: [&[i16]; R],
                right: [&[i8]; C],
                ahead: usize,
            ) -> [[f32; C]; R] {
                let mut sums = [[_mm512_setzero_si512(); C]; R];
                let mut add = |k: usize, w: [*const i8; C]| {
                    let mut wide = [_mm512_setzero_si512(); C];
                    for c in 0..C {
                        // SAFETY: a whole block lies there.
                        wide[c] = _mm512_cvtepi8_epi16(unsafe { _mm256_loadu_si256(w[c].cast()) });
                    }
                    for r in 0..R {
                        let from = left[r].as_ptr().wrapping_add(k);
                        // SAFETY: the left slices have whole blocks.
                        let $x = unsafe { _mm512_loadu_si512(from.cast()) };
                        for c in 0..C {
                            let ($sum, $w) = (sums[r][c], wide[c]);
                            sums[r][c] = $add;
                        }
                    }
                };
                each_block!(right, ahead, add);
                let mut results = [[0f32; C]; R];
                for r in 0..R {
                    let mut floats = [_mm256_setzero_ps(); C];
                    for c in 0..C {
                        let sum = sums[r][c];
                        let halves = [
                            _mm512_castsi512_si256(sum),
                            _mm512_extracti64x4_epi64::<1>(sum),
                        ];
                        floats[c] = _mm256_cvtepi32_ps(_mm256_add_epi32(halves[0], halves[1]));
                    }
                    results[r] = sums_of_vectors(floats);
                }
                results
            }
        };
    }

    int8_avx512!(int8_avx512, "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma",
        (sum, x, w) _mm512_add_epi32(sum, _mm512_madd_epi16(x, w)));

    // The same sums by one instruction.
    int8_avx512!(int8_vnni, "avx512vnni,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma",
        (sum, x, w) _mm512_dpwssd_epi32(sum, x, w));

    /// What comes after the whole blocks, each filled up to one.
    fn ends<T: bytemuck::Pod, const C: usize>(right: [&[T]; C], whole: usize) -> [[T; BLOCK]; C] {
        right.map(|right| {
            let mut end = [T::zeroed(); BLOCK];
            let rest = &right[whole..];
            end[..rest.len()].copy_from_slice(rest);
            end
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::instructions::has_avx2;

    fn numbers(n: usize, seed: u32) -> Vec<f32> {
        (0..n as u32)
            .map(|i| ((i ^ (seed << 20)).wrapping_mul(2654435761) >> 8) as f32 * 1.2e-7 - 1.0)
            .collect()
    }

    /// Lengths around blocks, and addresses that fit no vector.
    fn lengths() -> impl Iterator<Item = (usize, usize)> {
        let lengths = [0, 1, 7, 15, 16, 17, 31, 63, 64, 65, 200, 513, CHUNK];
        lengths
            .into_iter()
            .flat_map(|n| (0..3).map(move |offset| (n, offset)))
    }

    fn prepared<D: Dots>(row: &[f32]) -> (Vec<D::Left>, f32) {
        let mut to = vec![bytemuck::Zeroable::zeroed(); row.len().next_multiple_of(BLOCK)];
        let row_of = |data| Strided {
            data,
            row_stride: 1,
            column_stride: 1,
        };
        let scale = D::prepare(row_of(row), row.len(), &mut to);
        (to, scale)
    }

    fn every_loop_gives_the_same_bits<D: Dots>(stored: impl Fn(u32) -> D::Right) {
        for (n, offset) in lengths() {
            let x: [Vec<D::Left>; 3] =
                std::array::from_fn(|r| prepared::<D>(&numbers(n, r as u32)).0);
            let w: [Vec<D::Right>; 5] = std::array::from_fn(|c| {
                (0..(n + offset) as u32)
                    .map(|i| stored(i * 7 + c as u32 * 31))
                    .collect()
            });
            let left: [&[D::Left]; 3] = std::array::from_fn(|r| &x[r][..]);
            let right: [&[D::Right]; 5] = std::array::from_fn(|c| &w[c][offset..]);
            let plain = D::dots::<false, 3, 5>(left, right, 0);
            let single = D::dots::<false, 1, 1>([left[2]], [right[3]], 0);
            assert_eq!(single[0][0].to_bits(), plain[2][3].to_bits());
            if has_avx2() {
                // A single row has loops of its own.
                let [one] = D::dots::<true, 1, 5>([left[0]], right, 40);
                let [_, two, three] = D::dots::<true, 3, 5>(left, right, 40);
                let fast = [one, two, three];
                for (f, p) in fast.as_flattened().iter().zip(plain.as_flattened()) {
                    let near = (f - p).abs() <= 1e-5 * (1.0 + n as f32);
                    assert!(near || f.to_bits() == p.to_bits(), "{n}: {f} {p}");
                }
            }
        }
    }

    #[test]
    fn bf16_loops_agree_at_odd_lengths_and_addresses() {
        every_loop_gives_the_same_bits::<Bf16>(|i| {
            half::bf16::from_f32((i * 37 % 61) as f32 / 30.0 - 1.0).to_bits()
        });
        if !has_avx2() {
            return;
        }
        // With fused multiply-adds, the bits are equal too.
        #[cfg(target_arch = "x86_64")]
        for (n, offset) in lengths() {
            #[target_feature(enable = "avx2,fma")]
            fn fused(x: &[f32], w: &[u16]) -> f32 {
                bf16_portable::<true, 1, 1>([x], [w])[0][0]
            }
            let (x, _) = prepared::<Bf16>(&numbers(n, 5));
            let w: Vec<u16> = numbers(n + offset, 9)
                .iter()
                .map(|w| half::bf16::from_f32(*w).to_bits())
                .collect();
            // SAFETY: the machine has AVX2 and FMA.
            let wanted = unsafe { fused(&x, &w[offset..]) }.to_bits();
            let fast = Bf16::dots::<true, 1, 1>([&x], [&w[offset..]], 0)[0][0];
            let fast_too = Bf16::dots::<true, 2, 1>([&x, &x], [&w[offset..]], 0)[1][0];
            assert_eq!([fast, fast_too].map(f32::to_bits), [wanted; 2]);
        }
    }

    #[test]
    fn int8_loops_agree_in_every_bit_also_at_the_limits() {
        every_loop_gives_the_same_bits::<Int8>(|i| (i * 37) as i8);
        let (x, w) = (vec![-32767i16; CHUNK], vec![-127i8; CHUNK]);
        let exact = 32767.0 * 127.0 * CHUNK as f32;
        assert_eq!(int8_portable([&x[..]], [&w[..]])[0][0], exact);
        if has_avx2() {
            assert_eq!(Int8::dots::<true, 1, 1>([&x], [&w], 0)[0][0], exact);
        }
    }
}
