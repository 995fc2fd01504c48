//! A row of scores, of which one token or a few are chosen.
//!
//! A vocabulary has some 50,000 tokens, and a search looks at all of them for each token that it
//! writes, for each of its beams; so this must cost microseconds. What a search wants to know of a
//! row is its greatest score and the sum of the exponentials, from which the probability of any
//! token follows; no other probability has to be computed. [`ScoreSum`] finds both in one pass:
//! block by block, the sum is corrected where a greater score turns up. The best tokens are found by
//! passing over the blocks in which none is good enough ([`next_above`]).

use crate::runtime::instructions::multiversion;
use crate::simd::approximate::multiply_add;

/// Partial sums.
const LANES: usize = 16;

/// Scores of a block: few enough for sums in `f32` to be exact enough.
const BLOCK: usize = LANES * 256;

/// Scores that are looked at together.
const PIECE: usize = LANES * 8;

/// The greatest of a row of scores, and the sum of the exponentials.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreSum {
    /// The greatest score; minus infinity if there is none.
    pub greatest: f32,
    /// Index of the first score of the block that it is in.
    block: usize,
    /// Sum of `exp(score - greatest)`; 0 if no score is finite.
    pub sum: f64,
}

impl ScoreSum {
    /// That of these scores; `None` if one is NaN.
    pub fn of(scores: &[f32]) -> Option<ScoreSum> {
        let found = score_sum(scores);
        (!found.greatest.is_nan()).then_some(found)
    }

    /// `ln Σ exp(score)`.
    pub fn logarithm(&self) -> f64 {
        match self.greatest.is_infinite() {
            true => f64::from(self.greatest),
            false => f64::from(self.greatest) + self.sum.ln(),
        }
    }

    /// Where the greatest of these scores is first, if they are those that this is about.
    pub fn position(&self, scores: &[f32]) -> Option<usize> {
        let block = scores.get(self.block..)?;
        let at = block.iter().position(|x| *x == self.greatest)?;
        Some(self.block + at)
    }
}

multiversion! {
    /// The sum; the greatest is NaN if a score is.
    fn score_sum(scores: &[f32]) -> ScoreSum, score_sum_portable
}

#[inline(always)]
fn score_sum_portable<const FUSED: bool>(scores: &[f32]) -> ScoreSum {
    let mut all = ScoreSum {
        greatest: f32::NEG_INFINITY,
        block: 0,
        sum: 0.0,
    };
    for (i, block) in scores.chunks(BLOCK).enumerate() {
        let (greatest, is_nan) = greatest_of(block);
        if is_nan {
            all.greatest = f32::NAN;
            return all;
        }
        if greatest > all.greatest {
            all.sum *= f64::from(all.greatest - greatest).exp();
            (all.greatest, all.block) = (greatest, i * BLOCK);
        }
        if all.greatest.is_finite() {
            all.sum += sum_of_exponentials::<FUSED>(block, all.greatest);
        }
    }
    all
}

multiversion! {
    /// The greatest score, minus infinity if there is none. A NaN is passed over.
    pub fn greatest(scores: &[f32]) -> f32, greatest_portable
}

#[inline(always)]
fn greatest_portable<const FUSED: bool>(scores: &[f32]) -> f32 {
    greatest_of(scores).0
}

/// The greatest score, minus infinity if there is none, and whether one is NaN.
#[inline(always)]
fn greatest_of(scores: &[f32]) -> (f32, bool) {
    let mut high = [f32::NEG_INFINITY; LANES];
    let mut nan = [0u32; LANES];
    let (blocks, rest) = scores.as_chunks::<LANES>();
    for block in blocks {
        for lane in 0..LANES {
            let x = block[lane];
            high[lane] = if x > high[lane] { x } else { high[lane] };
            nan[lane] |= u32::from(x.is_nan());
        }
    }
    for (lane, x) in rest.iter().enumerate() {
        high[lane] = if *x > high[lane] { *x } else { high[lane] };
        nan[lane] |= u32::from(x.is_nan());
    }
    let high = high.into_iter().fold(f32::NEG_INFINITY, f32::max);
    (high, nan.iter().any(|nan| *nan != 0))
}

/// The sum of `exp(x - greatest)`, for `x <= greatest`.
#[inline(always)]
fn sum_of_exponentials<const FUSED: bool>(scores: &[f32], greatest: f32) -> f64 {
    let mut sums = [0f32; LANES];
    let (blocks, rest) = scores.as_chunks::<LANES>();
    for block in blocks {
        for lane in 0..LANES {
            sums[lane] += exp::<FUSED>(block[lane] - greatest);
        }
    }
    for (lane, x) in rest.iter().enumerate() {
        sums[lane] += exp::<FUSED>(x - greatest);
    }
    sums.iter().map(|x| f64::from(*x)).sum()
}

/// `e^x` for `x <= 0` with a relative error below 1e-6. What is less than 2^-126, as for a token that
/// is forbidden, becomes that: numbers smaller still take processors long.
///
/// `x log2 e = k + f` with `k` whole and `|f| <= 1/2`: adding 1.5 · 2²³ rounds to `k` and leaves it
/// in the low bits. `2^f` is its Taylor polynomial of degree 6, `2^k` is an exponent field.
#[inline(always)]
fn exp<const FUSED: bool>(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0;
    let t = x * std::f32::consts::LOG2_E;
    let t = if t > -126.0 { t } else { -126.0 };
    let shifted = t + ROUND;
    let f = (t - (shifted - ROUND)) * std::f32::consts::LN_2;
    let p = multiply_add::<FUSED>(f, 1.0 / 720.0, 1.0 / 120.0);
    let p = multiply_add::<FUSED>(f, p, 1.0 / 24.0);
    let p = multiply_add::<FUSED>(f, p, 1.0 / 6.0);
    let p = multiply_add::<FUSED>(f, p, 0.5);
    let p = multiply_add::<FUSED>(f, p, 1.0);
    let p = multiply_add::<FUSED>(f, p, 1.0);
    let k = shifted.to_bits().wrapping_sub(ROUND.to_bits());
    p * f32::from_bits(k.wrapping_add(127) << 23)
}

multiversion! {
    /// `to = from - total`, rounded once: logarithms of probabilities, if `total` is the logarithm of
    /// the sum of the exponentials. As many as both sides have.
    pub fn log_probabilities(from: &[f32], total: f64, to: &mut [f32]), log_probabilities_portable
}

#[inline(always)]
fn log_probabilities_portable<const FUSED: bool>(from: &[f32], total: f64, to: &mut [f32]) {
    for (to, x) in to.iter_mut().zip(from) {
        *to = (f64::from(*x) - total) as f32;
    }
}

multiversion! {
    /// The first place, at `from` or behind it, of a score that is above `limit`.
    pub fn next_above(scores: &[f32], from: usize, limit: f32) -> Option<usize>, next_above_portable
}

#[inline(always)]
fn next_above_portable<const FUSED: bool>(
    scores: &[f32],
    from: usize,
    limit: f32,
) -> Option<usize> {
    let mut start = from;
    for piece in scores.get(from..)?.chunks(PIECE) {
        let above = piece
            .iter()
            .fold(0u32, |any, x| any | u32::from(*x > limit));
        if above != 0 {
            let at = piece.iter().position(|x| *x > limit)?;
            return Some(start + at);
        }
        start += piece.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(count: usize) -> Vec<f32> {
        let hash = |i: usize| (i as u32 + 3).wrapping_mul(2_654_435_761) >> 8;
        (0..count).map(|i| hash(i) as f32 * 1e-6 - 12.0).collect()
    }

    #[test]
    fn exponentials_are_accurate_everywhere() {
        for i in 0..200_000 {
            let x = -(i as f32) * 4e-4;
            let exact = f64::from(x).exp();
            for y in [exp::<false>(x), exp::<true>(x)] {
                let error = (f64::from(y) / exact - 1.0).abs();
                assert!(error < 2e-6 * f64::from(x.abs()).max(1.0), "{x}");
            }
        }
        assert!(exp::<true>(f32::NEG_INFINITY) < 2e-38);
        assert_eq!(exp::<true>(0.0), 1.0);
    }

    #[test]
    fn the_sum_is_that_of_a_plain_loop_at_odd_sizes() {
        for count in [1, 15, 16, 17, 300, BLOCK, BLOCK + 1, 3 * BLOCK + 77] {
            let mut scores = scores(count);
            // Forbidden tokens, a whole block of them.
            for i in (0..count).filter(|i| i % 5 == 1 || i / BLOCK == 1) {
                scores[i] = f32::NEG_INFINITY;
            }
            let found = ScoreSum::of(&scores).unwrap();
            let greatest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(
                (found.greatest, super::greatest(&scores)),
                (greatest, greatest)
            );
            let first = scores.iter().position(|x| *x == greatest);
            assert_eq!(found.position(&scores), first);
            let sum: f64 = scores.iter().map(|x| f64::from(*x).exp()).sum();
            assert!((found.logarithm() - sum.ln()).abs() < 1e-6, "{count}");
        }
    }

    #[test]
    fn what_no_token_can_be_chosen_by_is_told() {
        const NO: f32 = f32::NEG_INFINITY;
        assert_eq!(ScoreSum::of(&[]).unwrap().logarithm(), f64::NEG_INFINITY);
        let none = ScoreSum::of(&[NO; 40]).unwrap();
        assert_eq!((none.greatest, none.sum), (NO, 0.0));
        let infinite = ScoreSum::of(&[1.0, f32::INFINITY, NO]).unwrap();
        assert_eq!(infinite.logarithm(), f64::INFINITY);
        for at in [0, 3, BLOCK + 5] {
            let mut scores = scores(BLOCK + 10);
            scores[at] = f32::NAN;
            assert!(ScoreSum::of(&scores).is_none());
        }
    }

    #[test]
    fn no_score_above_a_limit_is_passed_over() {
        let scores = scores(1003);
        for limit in [-20.0, -5.0, 3.0, 4.7, 10.0] {
            for from in [0, 1, 500, 1002, 1003, 2000] {
                let mut behind = scores.iter().enumerate().skip(from);
                let wanted = behind.find(|(_, x)| **x > limit).map(|(i, _)| i);
                assert_eq!(next_above(&scores, from, limit), wanted);
            }
        }
    }

    #[test]
    fn log_probabilities_are_rounded_once() {
        let from = scores(99);
        let mut to = vec![0.0; 99];
        log_probabilities(&from, 3.3, &mut to);
        for (x, y) in from.iter().zip(&to) {
            assert_eq!(*y, (f64::from(*x) - 3.3) as f32);
        }
    }
}
