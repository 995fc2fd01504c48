//! Search with a single hypothesis: the best token at each step, or one drawn at random.
//!
//! The steady loop allocates nothing: the token list is made for its greatest length, and one row
//! of scores is reused.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::RngCore;

use super::scores::{Choice, choose, highest, log_sum_exp};
use super::{Decoder, Generated, Request, SearchError, Sequences, Told};

/// How to draw a token at random.
#[derive(Debug)]
pub struct Sampling<'r> {
    /// Positive number by which scores are divided: above 1 it evens them out, below 1 it sharpens
    /// them.
    pub temperature: f32,
    /// Draw from so many of the best tokens; 0 stands for all.
    pub top_k: usize,
    /// The source of randomness: the same seed gives the same tokens.
    pub random: &'r mut ChaCha8Rng,
}

/// Takes the best token at each step. `told` is told of each.
///
/// # Errors
/// Any [`SearchError`].
pub fn greedy<D: Decoder>(
    model: &mut D,
    sequences: &mut Sequences,
    request: &Request<'_>,
    told: &mut Told<'_>,
) -> Result<Generated, SearchError<D::Error>> {
    one_by_one(model, sequences, request, told, |scores| choose(scores))
}

/// Draws each token at random, with the probabilities that `sampling` gives. `told` is told of each.
///
/// # Errors
/// Any [`SearchError`].
pub fn sample<D: Decoder>(
    model: &mut D,
    sequences: &mut Sequences,
    request: &Request<'_>,
    sampling: Sampling<'_>,
    told: &mut Told<'_>,
) -> Result<Generated, SearchError<D::Error>> {
    let Sampling {
        temperature,
        top_k,
        random,
    } = sampling;
    let mut sorted = Vec::new();
    one_by_one(model, sequences, request, told, |scores| {
        keep_best(scores, top_k, &mut sorted);
        draw(scores, temperature, random)
    })
}

/// Number of tokens that a text has room for before its memory grows.
const USUAL_LENGTH: usize = 1 << 10;

fn one_by_one<D: Decoder>(
    model: &mut D,
    sequences: &mut Sequences,
    request: &Request<'_>,
    told: &mut Told<'_>,
    mut choose: impl FnMut(&mut [f32]) -> Result<Choice, &'static str>,
) -> Result<Generated, SearchError<D::Error>> {
    request.check()?;
    // The greatest length may come from a file and be any number, so it decides about memory only
    // up to a usual length.
    let mut tokens = Vec::with_capacity(request.max_length.min(USUAL_LENGTH));
    tokens.extend(request.prompt);
    let mut row = Vec::new();
    let mut logprobs = Vec::with_capacity(request.max_length.min(USUAL_LENGTH));
    let mut total = 0.0_f64;
    let mut steps = 0_u32;
    let mut end = None;
    while end.is_none() && tokens.len() < request.max_length {
        row.clear();
        row.extend_from_slice(sequences.feed(model, 0, &tokens)?);
        request.apply_rules(&tokens, &mut row);
        let position = tokens.len() - 1;
        let choice = choose(&mut row).map_err(|cause| SearchError::Scores { position, cause })?;
        total += f64::from(choice.logprob);
        steps += 1;
        if request.eos.contains(&choice.token) {
            end = Some(choice.token);
        } else {
            tokens.push(choice.token);
            logprobs.push(choice.logprob);
            if told(&tokens[request.prompt.len()..]).is_break() {
                break;
            }
        }
    }
    let avg_logprob = (total / f64::from(steps)) as f32;
    Ok(Generated {
        tokens: tokens.split_off(request.prompt.len()),
        end,
        logprobs,
        avg_logprob,
        score: avg_logprob,
    })
}

/// Forbids all but the `count` best tokens. Tokens that tie with the last of these stay allowed.
pub(super) fn keep_best(scores: &mut [f32], count: usize, sorted: &mut Vec<f32>) {
    if count == 0 || count >= scores.len() {
        return;
    }
    sorted.clear();
    sorted.extend_from_slice(scores);
    let (_, &mut least, _) = sorted.select_nth_unstable_by(count - 1, |a, b| b.total_cmp(a));
    for score in scores.iter_mut().filter(|score| **score < least) {
        *score = f32::NEG_INFINITY;
    }
}

/// A token drawn at random. Its log-probability is the model's own, without the temperature.
pub(super) fn draw(
    scores: &[f32],
    temperature: f32,
    random: &mut ChaCha8Rng,
) -> Result<Choice, &'static str> {
    let best = highest(scores)?;
    let weight = |score: f32| f64::from((score - best) / temperature).exp();
    let total: f64 = scores.iter().map(|&score| weight(score)).sum();
    // 53 random bits: a number in [0, 1).
    let mut left = (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64 * total;
    let mut drawn = None;
    for (token, &score) in scores.iter().enumerate() {
        let weight = weight(score);
        if weight > 0.0 {
            drawn = Some((token, score));
            left -= weight;
            if left < 0.0 {
                break;
            }
        }
    }
    // The best token has weight 1, so there is one.
    let (token, score) = drawn.ok_or("allow no token at all")?;
    Ok(Choice {
        token: u32::try_from(token).map_err(|_| "are more than there can be tokens")?,
        logprob: (f64::from(score) - log_sum_exp(scores)) as f32,
    })
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    #[test]
    fn tokens_are_drawn_as_often_as_their_probability_says() {
        let scores = [1.0, f32::NEG_INFINITY, 2.0, 0.0];
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut counts = [0_u32; 4];
        const DRAWS: u32 = 40_000;
        for _ in 0..DRAWS {
            let choice = draw(&scores, 0.5, &mut random).unwrap();
            counts[choice.token as usize] += 1;
            let expected = f64::from(scores[choice.token as usize]) - log_sum_exp(&scores);
            assert!((f64::from(choice.logprob) - expected).abs() < 1e-5);
        }
        assert_eq!(counts[1], 0);
        let sum = 2_f64.exp() + 4_f64.exp() + 1.0;
        for (token, weight) in [(0, 2_f64.exp()), (2, 4_f64.exp()), (3, 1.0)] {
            let share = f64::from(counts[token]) / f64::from(DRAWS);
            assert!((share - weight / sum).abs() < 0.01, "{token}: {share}");
        }
    }

    #[test]
    fn only_the_best_stay_and_those_that_tie_with_them() {
        let kept = |count| {
            let mut scores = [1.0, 4.0, f32::NEG_INFINITY, 2.0, 2.0, 3.0];
            keep_best(&mut scores, count, &mut Vec::new());
            (0..6)
                .filter(|&i| scores[i].is_finite())
                .collect::<Vec<_>>()
        };
        assert_eq!(kept(1), [1]);
        assert_eq!(kept(3), [1, 3, 4, 5]);
        assert_eq!(kept(0), [0, 1, 3, 4, 5]);
        assert_eq!(kept(60), [0, 1, 3, 4, 5]);
    }
}
