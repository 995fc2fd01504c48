//! Beam search: several hypotheses at once, of which the best wins.
//!
//! Greedy choice cannot take back a token that looked best and led nowhere. Beam search follows the
//! `beams` most probable texts at once: at each step every one of them is continued by every token,
//! and the most probable continuations are kept. Texts that end are put aside, scored by the mean
//! logarithm of their tokens' probabilities (`length_penalty` is the exponent of the length by
//! which the sum is divided), and the search stops when no unfinished text can be expected to beat
//! them.
//!
//! The rules are those of `GenerationMixin._beam_search` of transformers (5.23) without sampling, and
//! [when to stop](super::ended) is as there or as in openai-whisper. Scores are compared in `f32`, as
//! there.
//!
//! Each hypothesis goes to the [sequence](super::Sequences) that holds most of it already. The
//! first continuation of a text stays where the text is and costs one token. A second one takes
//! over the sequence of a text that was dropped, which becomes a branch of the sequence where the
//! two were one. A decoder that cannot branch is fed the tokens since then once more.

use std::cmp::Reverse;

use crosslatch::{log_probabilities, next_above};

use super::ended::Ended;
use super::hypotheses::{BeamOptions, Continuation, Hypothesis};
use super::scores::log_sum_exp;
use super::{Decoder, Generated, Request, SearchError, Sequences, Told};

/// Follows several hypotheses and returns the best. `told` is told of what all of them have in common.
///
/// # Errors
/// Any [`SearchError`].
pub fn beam_search<D: Decoder>(
    model: &mut D,
    sequences: &mut Sequences,
    request: &Request<'_>,
    options: BeamOptions,
    told: &mut Told<'_>,
) -> Result<Generated, SearchError<D::Error>> {
    let ended = beam_search_all(model, sequences, request, options, told)?;
    ended.into_iter().next().ok_or_else(|| nothing(request))
}

/// Follows several hypotheses and returns those that have ended, best first. There are as many as
/// beams, or as the patience wants, or fewer if the rules allow fewer. `told` is told of what all of them
/// have in common; if it breaks, there is one, as far as it had got.
///
/// # Errors
/// Any [`SearchError`].
pub fn beam_search_all<D: Decoder>(
    model: &mut D,
    sequences: &mut Sequences,
    request: &Request<'_>,
    options: BeamOptions,
    told: &mut Told<'_>,
) -> Result<Vec<Generated>, SearchError<D::Error>> {
    request.check()?;
    let beams = options.beams.max(1);
    let count = model
        .sequences(beams)
        .map_err(|source| SearchError::Decoder {
            position: 0,
            source,
        })?
        .clamp(1, beams);
    // Enough that all beams can go on even if as many continuations as possible end at once.
    let kept = beams * (1 + request.eos.len()).max(2);
    let mut unfinished = vec![Hypothesis {
        tokens: request.prompt.to_vec(),
        score: 0.0,
        logprobs: Vec::new(),
    }];
    let mut ended = Ended::new(*request, options);
    let mut count_told = 0;
    let mut row = Vec::new();
    loop {
        let mut best = Vec::with_capacity(kept + 1);
        let texts = assign(sequences, count, &unfinished)
            .into_iter()
            .zip(&unfinished);
        let texts: Vec<(usize, &[u32])> = texts.map(|(s, text)| (s, &text.tokens[..])).collect();
        let mut wrong = Ok(());
        let mut parents = unfinished.iter().enumerate();
        let mut take = |scores: &[f32]| {
            let Some((parent, text)) = parents.next() else {
                return;
            };
            let position = text.tokens.len() - 1;
            if let Err(cause) = normalize(scores, &mut row) {
                wrong = Err(SearchError::Scores { position, cause });
                return;
            }
            request.apply_rules(&text.tokens, &mut row);
            collect(&mut best, kept, parent, text.score, &row);
        };
        // With fewer sequences than texts, several take turns in the first.
        let at_once = if count < unfinished.len() {
            1
        } else {
            texts.len()
        };
        for texts in texts.chunks(at_once) {
            sequences.feed_all(model, texts, &mut take)?;
        }
        wrong?;
        if best.is_empty() {
            return Err(SearchError::Scores {
                position: unfinished[0].tokens.len() - 1,
                cause: "allow no token at all",
            });
        }

        let next = ended.take(&best, &unfinished);
        if next.is_empty() || ended.is_enough(&next) {
            ended.stop(next);
            break;
        }
        let shared = ended.shared(&next);
        if shared.len() > count_told {
            count_told = shared.len();
            if told(shared).is_break() {
                let best = next.into_iter().next();
                return Ok(best.map(|text| ended.generated(text)).into_iter().collect());
            }
        }
        unfinished = next;
    }
    let ended = ended.all();
    match ended.is_empty() {
        true => Err(nothing(request)),
        false => Ok(ended),
    }
}

/// The error of a search that found no text.
fn nothing<E: std::error::Error>(request: &Request<'_>) -> SearchError<E> {
    SearchError::Scores {
        position: request.prompt.len() - 1,
        cause: "allow no token at all",
    }
}

/// Assigns a sequence to each text, so that as little as possible has to be fed again.
fn assign(sequences: &Sequences, count: usize, unfinished: &[Hypothesis]) -> Vec<usize> {
    let mut pairs: Vec<(usize, usize, usize)> = (0..unfinished.len())
        .flat_map(|text| (0..count).map(move |sequence| (text, sequence)))
        .map(|(text, sequence)| {
            (
                sequences.in_common(sequence, &unfinished[text].tokens),
                text,
                sequence,
            )
        })
        .collect();
    pairs.sort_by_key(|&(common, text, sequence)| (Reverse(common), text, sequence));
    let mut chosen = vec![None; unfinished.len()];
    let mut taken = vec![false; count];
    for (_, text, sequence) in pairs {
        if chosen[text].is_none() && !taken[sequence] {
            chosen[text] = Some(sequence);
            taken[sequence] = true;
        }
    }
    // With fewer sequences than texts, the rest take turns in the first.
    chosen
        .into_iter()
        .map(|sequence| sequence.unwrap_or(0))
        .collect()
}

/// Makes `row` the logarithms of the probabilities that scores say.
fn normalize(scores: &[f32], row: &mut Vec<f32>) -> Result<(), &'static str> {
    let total = log_sum_exp(scores);
    if total.is_nan() {
        return Err("are not numbers (NaN)");
    }
    if total.is_infinite() {
        return Err("are infinite");
    }
    row.resize(scores.len(), 0.0);
    log_probabilities(scores, total, row);
    Ok(())
}

/// Merges the continuations of one text into the list of the `kept` best, best first.
fn collect(best: &mut Vec<Continuation>, kept: usize, parent: usize, score: f32, row: &[f32]) {
    let allowed = log_sum_exp(row);
    let mut from = 0;
    loop {
        // With a little room for rounding; what is beaten is sorted out below.
        let worst = best.get(kept - 1).map(|worst| worst.score);
        let limit = worst.map_or(f32::NEG_INFINITY, |worst| {
            (worst - score) - 1e-5 * (worst.abs() + score.abs() + 1.0)
        });
        let Some(token) = next_above(row, from, limit) else {
            return;
        };
        from = token + 1;
        let logprob = row[token];
        let score = score + logprob;
        let is_beaten = worst.is_some_and(|worst| score <= worst);
        let Ok(token) = u32::try_from(token) else {
            return;
        };
        if is_beaten || !score.is_finite() {
            continue;
        }
        let place = best.partition_point(|other| other.score >= score);
        let continuation = Continuation {
            score,
            parent,
            token,
            logprob: f64::from(logprob) - allowed,
        };
        best.insert(place, continuation);
        best.truncate(kept);
    }
}
