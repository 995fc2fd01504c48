//! The best token of a row of scores, and how probable the model found it.
//!
//! Since the chosen token is the one with the highest score, its log-probability is minus the
//! logarithm of the sum of `exp(score - highest)`, which [`ScoreSum`] finds in the same pass; no other
//! probability has to be computed. Among equal scores the lowest id wins, as with `torch.argmax`.
//! Forbidden tokens have the score −∞.

use crosslatch::ScoreSum;

/// A chosen token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Choice {
    pub token: u32,
    /// Natural logarithm of its probability.
    pub logprob: f32,
}

/// The token with the highest score.
pub(crate) fn choose(scores: &[f32]) -> Result<Choice, &'static str> {
    let sum = checked(ScoreSum::of(scores))?;
    let token = sum.position(scores).unwrap_or(0);
    Ok(Choice {
        token: u32::try_from(token).map_err(|_| "are more than there can be tokens")?,
        logprob: -(sum.sum.ln() as f32),
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
    checked(ScoreSum::of(scores)).map(|sum| sum.greatest)
}

/// The sum, if a token can be chosen by these scores.
fn checked(sum: Option<ScoreSum>) -> Result<ScoreSum, &'static str> {
    let sum = sum.ok_or("are not numbers (NaN)")?;
    match sum.greatest {
        f32::INFINITY => Err("are infinite"),
        f32::NEG_INFINITY => Err("allow no token at all"),
        _ => Ok(sum),
    }
}

/// `ln Σ exp(score)`; −∞ if no score is finite, NaN if one is NaN.
pub(crate) fn log_sum_exp(scores: &[f32]) -> f64 {
    ScoreSum::of(scores).map_or(f64::NAN, |sum| sum.logarithm())
}

/// The probability of a token; 0 if there is no such token.
pub(crate) fn probability(scores: &[f32], token: u32) -> f32 {
    let score = scores.get(token as usize).copied();
    score.map_or(0.0, |x| (f64::from(x) - log_sum_exp(scores)).exp() as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

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
