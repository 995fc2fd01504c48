//! The best token of a row of scores, and how probable the model found it.
//!
//! A vocabulary has some 50,000 tokens and this runs once for each token written, so it must cost
//! microseconds. The first pass finds the maximum and any NaN, in independent lanes that the
//! compiler turns into vector instructions; a search then finds the place of the maximum; the last
//! pass sums `exp(score - maximum)`. Since the chosen token is the maximum, its log-probability is
//! minus the logarithm of that sum, and no other probability has to be computed. Among equal scores
//! the lowest id wins, as with `torch.argmax`. Forbidden tokens have the score −∞.

const LANES: usize = 16;

/// A chosen token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Choice {
    pub token: u32,
    /// Natural logarithm of its probability.
    pub logprob: f32,
}

/// The token with the highest score.
pub(crate) fn choose(scores: &[f32]) -> Result<Choice, &'static str> {
    let best = highest(scores)?;
    let token = scores.iter().position(|&x| x == best).unwrap_or(0);
    Ok(Choice {
        token: u32::try_from(token).map_err(|_| "are more than there can be tokens")?,
        logprob: -(sum_exp(scores, best).ln() as f32),
    })
}

/// The probability of each of these tokens, such as those of the languages, as if there were no
/// others; the most probable first.
pub(crate) fn probabilities_among(
    scores: &[f32],
    tokens: impl Iterator<Item = u32>,
) -> Result<Vec<(u32, f32)>, &'static str> {
    let score = |token: u32| scores.get(token as usize).map(|&score| (token, score));
    let mut among: Vec<(u32, f32)> = tokens
        .map(|token| score(token).ok_or("do not reach the tokens of the languages"))
        .collect::<Result<_, _>>()?;
    let only: Vec<f32> = among.iter().map(|&(_, score)| score).collect();
    highest(&only)?;
    let total = log_sum_exp(&only);
    // Of equal scores the lowest token wins.
    among.sort_by(|(a, x), (b, y)| y.total_cmp(x).then(a.cmp(b)));
    for (_, score) in &mut among {
        *score = (f64::from(*score) - total).exp() as f32;
    }
    Ok(among)
}

/// The highest score, if a token can be chosen by these: it is finite, and none of them is NaN.
pub(crate) fn highest(scores: &[f32]) -> Result<f32, &'static str> {
    match maximum(scores).ok_or("are not numbers (NaN)")? {
        f32::INFINITY => Err("are infinite"),
        f32::NEG_INFINITY => Err("allow no token at all"),
        best => Ok(best),
    }
}

/// `ln Σ exp(score)`; −∞ if no score is finite, NaN if one is NaN.
pub(crate) fn log_sum_exp(scores: &[f32]) -> f64 {
    match maximum(scores) {
        None => f64::NAN,
        Some(best) if best.is_infinite() => f64::from(best),
        Some(best) => f64::from(best) + sum_exp(scores, best).ln(),
    }
}

/// The probability of a token; 0 if there is no such token.
pub(crate) fn probability(scores: &[f32], token: u32) -> f32 {
    let score = scores.get(token as usize).copied();
    score.map_or(0.0, |x| (f64::from(x) - log_sum_exp(scores)).exp() as f32)
}

/// The greatest value, −∞ if there is none; `None` if a value is NaN.
fn maximum(values: &[f32]) -> Option<f32> {
    let mut high = [f32::NEG_INFINITY; LANES];
    let mut nan = [false; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for lane in 0..LANES {
            let x = chunk[lane];
            high[lane] = if x > high[lane] { x } else { high[lane] };
            nan[lane] |= x.is_nan();
        }
    }
    for (lane, &x) in rest.iter().enumerate() {
        high[lane] = if x > high[lane] { x } else { high[lane] };
        nan[lane] |= x.is_nan();
    }
    if nan.contains(&true) {
        return None;
    }
    Some(high.into_iter().fold(f32::NEG_INFINITY, f32::max))
}

/// The sum of `exp(x - best)`, for `x <= best`.
fn sum_exp(values: &[f32], best: f32) -> f64 {
    let mut total = 0.0_f64;
    // Each run is short enough for sums in f32 to be exact enough.
    for run in values.chunks(LANES * 256) {
        let mut sums = [0.0_f32; LANES];
        let chunks = run.chunks_exact(LANES);
        let rest = chunks.remainder();
        for chunk in chunks {
            for lane in 0..LANES {
                sums[lane] += exp(chunk[lane] - best);
            }
        }
        for (lane, &x) in rest.iter().enumerate() {
            sums[lane] += exp(x - best);
        }
        total += sums.iter().map(|&x| f64::from(x)).sum::<f64>();
    }
    total
}

/// `e^x` for `x <= 0` with a relative error below 1e-6, without a branch.
///
/// `x log2 e = k + f` with `k` whole and `|f| <= 1/2`: adding 1.5 · 2²³ rounds to `k` and leaves it
/// in the low bits. `2^f` is its Taylor polynomial of degree 6, `2^k` is an exponent field.
fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0;
    let t = (x * std::f32::consts::LOG2_E).max(-126.0);
    let shifted = t + ROUND;
    let f = (t - (shifted - ROUND)) * std::f32::consts::LN_2;
    let p = 1.0
        + f * (1.0
            + f * (0.5
                + f * (1.0 / 6.0 + f * (1.0 / 24.0 + f * (1.0 / 120.0 + f * (1.0 / 720.0))))));
    let k = shifted.to_bits().wrapping_sub(ROUND.to_bits());
    p * f32::from_bits(k.wrapping_add(127) << 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_accurate_everywhere() {
        for i in 0..200_000 {
            let x = -(i as f32) * 4e-4;
            let exact = f64::from(x).exp();
            assert!(
                (f64::from(exp(x)) / exact - 1.0).abs() < 2e-6 * f64::from(x.abs()).max(1.0),
                "{x}"
            );
        }
        assert!(exp(f32::NEG_INFINITY) < 1e-37);
        assert_eq!(exp(0.0), 1.0);
    }

    #[test]
    fn the_highest_score_is_chosen_with_its_logprob() {
        let scores: Vec<f32> = (0..1000)
            .map(|i| ((i * 37) % 1000) as f32 / 100.0)
            .collect();
        let choice = choose(&scores).unwrap();
        assert_eq!(scores[choice.token as usize], 9.99);
        let sum: f64 = scores.iter().map(|&x| f64::from(x).exp()).sum();
        assert!((f64::from(choice.logprob) - (f64::from(9.99_f32) - sum.ln())).abs() < 1e-5);
        assert!((log_sum_exp(&scores) - sum.ln()).abs() < 1e-6);
        let expected = (f64::from(scores[7]).exp() / sum) as f32;
        assert!((probability(&scores, 7) / expected - 1.0).abs() < 1e-5);
    }

    #[test]
    fn forbidden_tokens_count_for_nothing_and_ties_go_to_the_lowest() {
        const NO: f32 = f32::NEG_INFINITY;
        let choice = choose(&[NO, 1.0, 5.0, 5.0, NO]).unwrap();
        assert_eq!(choice.token, 2);
        let probability = 1.0 / (2.0 + (-4.0_f32).exp());
        assert!((choice.logprob - probability.ln()).abs() < 1e-6);
        assert_eq!(log_sum_exp(&[NO, NO]), f64::NEG_INFINITY);
        assert_eq!(log_sum_exp(&[]), f64::NEG_INFINITY);
    }

    #[test]
    fn bad_scores_are_errors() {
        assert!(choose(&[1.0, f32::NAN]).is_err());
        assert!(choose(&[1.0, f32::INFINITY]).is_err());
        assert!(choose(&[f32::NEG_INFINITY; 40]).is_err());
        assert!(choose(&[f32::NEG_INFINITY, 0.0]).is_ok());
        assert!(choose(&[]).is_err());
        for (scores, token) in [
            (&[1.0, f32::NAN][..], 1),
            (&[1.0], 1),
            (&[f32::INFINITY], 0),
        ] {
            assert!(probabilities_among(scores, [token].into_iter()).is_err());
        }
        assert!(probabilities_among(&[1.0], [].into_iter()).is_err());
    }

    #[test]
    fn some_tokens_are_as_probable_as_if_there_were_no_others() {
        let scores = [9.0, 1.0, 2.0, 2.0, 0.5];
        let among = probabilities_among(&scores, [3, 1, 2].into_iter()).unwrap();
        let tokens: Vec<u32> = among.iter().map(|&(token, _)| token).collect();
        assert_eq!(tokens, [2, 3, 1]);
        let sum = 2.0 * 2_f32.exp() + 1_f32.exp();
        for (token, probability) in among {
            let expected = scores[token as usize].exp() / sum;
            assert!((probability - expected).abs() < 1e-6);
        }
    }
}
