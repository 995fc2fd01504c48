//! Rounding a row to int4: a factor for each group, and the nearest of its sixteen values for each
//! weight.
//!
//! The lowest level is the one of the greatest magnitude, so a group's factor is the weight of the
//! greatest magnitude with its sign turned: that weight is then stored as well as int8 would. A
//! smaller factor often suits the other weights better, though, so a few are tried, and the one with
//! the least sum of squared errors is taken.

use crate::runtime::instructions::multiversion;
use crate::simd::convert::largest_magnitude;
use crate::tensor::int4::{BLOCK, BLOCK_BYTES, GROUP, GROUPS, table};

/// Parts of the greatest magnitude that are tried as factors. On trained weights, the first alone
/// leaves 2 % more error, and five more parts leave 2 % less.
const TRIED: [f32; 3] = [1.0, 0.93, 0.85];

multiversion! {
    /// Rounds a row; `factors` and `indices` are those of its blocks. Returns its scale, or nothing
    /// if an element is not finite.
    pub(super) fn f32_to_int4(
        from: &[f32],
        factors: &mut [[u8; GROUPS]],
        indices: &mut [[u8; BLOCK_BYTES]],
    ) -> Option<f32>, f32_to_int4_portable
}

#[inline(always)]
fn f32_to_int4_portable<const FUSED: bool>(
    from: &[f32],
    factors: &mut [[u8; GROUPS]],
    indices: &mut [[u8; BLOCK_BYTES]],
) -> Option<f32> {
    let largest = largest_magnitude(from);
    if !largest.is_finite() {
        return None;
    }
    // A row of numbers too small to have a factor is stored as zeros.
    let by = Some(127.0 / largest).filter(|by| by.is_finite());
    let blocks = from.chunks(BLOCK).zip(factors).zip(indices);
    for ((from, factors), indices) in blocks {
        let mut words = [0u16; GROUP];
        for (group, factor) in factors.iter_mut().enumerate() {
            let from = from.get(group * GROUP..).unwrap_or_default();
            let from = &from[..from.len().min(GROUP)];
            let mut x = [0f32; GROUP];
            for (x, from) in x.iter_mut().zip(from) {
                *x = from * by.unwrap_or(0.0);
            }
            let rounded = Rounded::best(&x);
            *factor = rounded.factor as u8;
            for (word, index) in words.iter_mut().zip(rounded.indices) {
                *word |= (index as u16) << (4 * group);
            }
        }
        for (to, word) in indices.as_chunks_mut::<2>().0.iter_mut().zip(words) {
            *to = word.to_le_bytes();
        }
    }
    Some(by.map_or(0.0, |_| largest / 127.0))
}

/// A group, rounded.
struct Rounded {
    factor: i8,
    indices: [i32; GROUP],
    /// Sum of the squared differences.
    error: f32,
}

impl Rounded {
    /// Rounds numbers between -127 and 127 as well as is tried.
    #[inline(always)]
    fn best(x: &[f32; GROUP]) -> Rounded {
        let lowest = x.iter().fold(0f32, |least, x| least.min(*x));
        let highest = x.iter().fold(0f32, |most, x| most.max(*x));
        let extreme = if highest > -lowest { highest } else { lowest };
        let mut best = Rounded::with(x, -extreme);
        for part in &TRIED[1..] {
            let other = Rounded::with(x, -extreme * part);
            if other.error < best.error {
                best = other;
            }
        }
        best
    }

    #[inline(always)]
    fn with(x: &[f32; GROUP], factor: f32) -> Rounded {
        let factor = factor.round() as i8;
        // With a positive factor, which the numbers are turned for, the values ascend.
        let (sign, table) = match factor < 0 {
            true => (-1.0, table(-factor)),
            false => (1.0, table(factor)),
        };
        let (mut indices, mut nearest) = ([0i32; GROUP], [table[0] as f32; GROUP]);
        for pair in table.windows(2) {
            let (here, next) = (pair[0] as f32, pair[1] as f32);
            let between = (here + next) / 2.0;
            for i in 0..GROUP {
                let is_above = x[i] * sign > between;
                indices[i] += is_above as i32;
                nearest[i] += if is_above { next - here } else { 0.0 };
            }
        }
        let mut errors = [0f32; GROUP];
        for i in 0..GROUP {
            let error = x[i] * sign - nearest[i];
            errors[i] = error * error;
        }
        Rounded {
            factor,
            indices,
            error: errors.iter().sum(),
        }
    }
}
