//! Dot products of several slices with several others, side by side.
//!
//! What is loaded is used several times, and enough sums are under way to hide the latency of the
//! addition. Each sum has sixteen lanes; step `k` goes into lane `k % 16`, and the lanes are added
//! up in one order at the end ([`sum`]), so that any other loop that keeps to this gives the same
//! bits.

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use half::{bf16, f16};

use crate::Element;
use crate::simd::vectors::sum_lanes;
use crate::tensor::scaled_rows::ScaledByte;

#[cfg(not(target_arch = "x86_64"))]
use portable as machine;
#[cfg(target_arch = "x86_64")]
use x86_64 as machine;

/// Partial sums of a dot product.
pub(crate) const LANES: usize = 16;

/// What the right side of a dot product is stored as. The bits are those that the widened elements
/// give.
pub(crate) trait Dot: Copy + machine::Load {
    /// The element in `f32`.
    fn wide(self) -> f32;
}

/// Such elements that tensors have.
pub(crate) trait DotElement: Element<Accumulator = f32> + machine::Load {}

impl<T: DotElement> Dot for T {
    #[inline(always)]
    fn wide(self) -> f32 {
        self.widen()
    }
}

/// Without the scale of its row.
impl Dot for ScaledByte {
    #[inline(always)]
    fn wide(self) -> f32 {
        self.0 as f32
    }
}

impl DotElement for f32 {}
impl DotElement for bf16 {}
impl DotElement for f16 {}

/// Sum of the lanes: those of the upper half are added to those of the lower one.
#[inline(always)]
pub(crate) fn sum(lanes: [f32; LANES]) -> f32 {
    sum_lanes(std::array::from_fn(|i| lanes[i] + lanes[i + LANES / 2]))
}

/// The dot product of each left slice with each right one; all must be equally long. What lies
/// `ahead` elements behind each right slice will be wanted next; 0 if nothing is known.
///
/// # Panics
/// If they are not.
#[inline]
pub(crate) fn dots<W: Dot, const ROWS: usize, const COLUMNS: usize>(
    left: [&[f32]; ROWS],
    right: [&[W]; COLUMNS],
    ahead: usize,
) -> [[f32; COLUMNS]; ROWS] {
    let len = left[0].len();
    for slice in left {
        assert_eq!(slice.len(), len);
    }
    for slice in right {
        assert_eq!(slice.len(), len);
    }
    machine::dots(left, right, ahead)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::instructions::is_fused;
    use crate::simd::approximate::multiply_add;

    #[test]
    fn every_length_gives_the_bits_of_sixteen_chains() {
        let data: Vec<f32> = (0..400u32)
            .map(|i| (i.wrapping_mul(2654435761) >> 8) as f32 * 1e-7 - 0.8)
            .collect();
        for len in 0..70 {
            let slices = |n: usize| &data[n * 71..][..len];
            let left: [&[f32]; 3] = [slices(0), slices(1), slices(2)];
            let right: [&[f32]; 2] = [slices(3), slices(4)];
            let results = dots(left, right, 3);
            let plain = portable::dots(left, right, 0);
            for r in 0..3 {
                for c in 0..2 {
                    let mut sums = [0f32; LANES];
                    for k in 0..len {
                        let s = sums[k % LANES];
                        sums[k % LANES] = match is_fused() {
                            true => multiply_add::<true>(left[r][k], right[c][k], s),
                            false => multiply_add::<false>(left[r][k], right[c][k], s),
                        };
                    }
                    assert_eq!(results[r][c].to_bits(), sum(sums).to_bits());
                    assert!((plain[r][c] - results[r][c]).abs() < 1e-4);
                }
            }
            // Elements of 16 bits give the bits that they give when they are widened.
            as_widened::<bf16>(left, &data[3 * 71 + 1..][..len]);
            as_widened::<f16>(left, &data[3 * 71 + 1..][..len]);
            let bytes: Vec<ScaledByte> = right[0]
                .iter()
                .map(|x| ScaledByte((x * 160.0) as i8))
                .collect();
            let widened: Vec<f32> = bytes.iter().map(|x| x.wide()).collect();
            assert_eq!(dots(left, [&bytes], 0), dots(left, [&widened], 0));
        }
    }

    fn as_widened<W: DotElement>(left: [&[f32]; 3], right: &[f32]) {
        let stored: Vec<W> = right.iter().map(|x| W::from_accumulator(*x)).collect();
        let widened: Vec<f32> = stored.iter().map(|x| x.widen()).collect();
        assert_eq!(dots(left, [&stored], 0), dots(left, [&widened], 0));
    }
}
