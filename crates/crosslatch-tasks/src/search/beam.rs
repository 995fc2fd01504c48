//! Several hypotheses at once, the best of which wins.
//!
//! Greedy choice cannot take back a token that looked best and led nowhere. Beam search follows the
//! `beams` most probable texts at once: at each step every one of them is continued by every token,
//! and the most probable continuations are kept. Texts that end are put aside, scored by the mean
//! logarithm of their tokens' probabilities (`length_penalty` is the exponent of the length that the
//! sum is divided by), and the search stops when no running text can be expected to beat them.
//!
//! The rules, down to when it stops, are those of `GenerationMixin._beam_search` of transformers
//! (5.23) without sampling. Scores are compared in `f32`, as there.
//!
//! Each hypothesis goes to the [lane](super::Lanes) that holds most of it already: the first
//! continuation of a text stays where the text is and costs one token; a second one takes over the
//! lane of a text that died, which becomes a branch of the lane where the two were one. A decoder
//! that cannot branch is fed the tokens since then once more.

use std::cmp::Reverse;

use super::scores::log_sum_exp;
use super::{Decoder, Generated, Lanes, Request, SearchError};

/// How to search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BeamOptions {
    /// Hypotheses followed at once, at least one.
    pub beams: usize,
    /// Exponent of the length by which the score of an ended text is divided.
    pub length_penalty: f32,
    /// When to stop.
    pub early_stopping: EarlyStopping,
}

/// When a search has found enough ended texts (`early_stopping` of transformers).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EarlyStopping {
    /// When no running text, ended now, would beat the worst of them (`false`).
    #[default]
    Heuristic,
    /// As soon as there are as many as beams (`true`).
    WhenFull,
    /// When no running text could, ended now or at the greatest length (`"never"`).
    WhenHopeless,
}

/// A text that is still being continued.
#[derive(Debug, Clone)]
struct Running {
    /// Prompt included.
    tokens: Vec<u32>,
    /// Sum of the log-probabilities of the tokens, among all tokens.
    score: f32,
    /// The same among the tokens that the rules allowed.
    logprobs: f64,
}

/// A running text and a token after it.
#[derive(Debug, Clone, Copy)]
struct Continuation {
    score: f32,
    parent: usize,
    token: u32,
    logprob: f64,
}

/// Follows several hypotheses and returns the best.
///
/// # Errors
/// Any [`SearchError`].
pub fn beam_search<D: Decoder>(
    model: &mut D,
    lanes: &mut Lanes,
    request: &Request<'_>,
    options: BeamOptions,
) -> Result<Generated, SearchError<D::Error>> {
    let ended = beam_search_all(model, lanes, request, options)?;
    ended.into_iter().next().ok_or_else(|| nothing(request))
}

/// Follows several hypotheses and returns those that have ended, best first: as many as beams, or
/// fewer if the rules allow fewer.
///
/// # Errors
/// Any [`SearchError`].
pub fn beam_search_all<D: Decoder>(
    model: &mut D,
    lanes: &mut Lanes,
    request: &Request<'_>,
    options: BeamOptions,
) -> Result<Vec<Generated>, SearchError<D::Error>> {
    request.check()?;
    let beams = options.beams.max(1);
    let lane_count = model
        .lanes(beams)
        .map_err(|source| SearchError::Decoder {
            position: 0,
            source,
        })?
        .clamp(1, beams);
    // As many as may end at once, and one more for each beam, so that all beams can go on.
    let kept = beams * (1 + request.eos.len()).max(2);
    let mut running = vec![Running {
        tokens: request.prompt.to_vec(),
        score: 0.0,
        logprobs: 0.0,
    }];
    let mut ended: Vec<Generated> = Vec::new();
    let mut row = Vec::new();
    loop {
        let mut best = Vec::with_capacity(kept + 1);
        let texts = assign(lanes, lane_count, &running)
            .into_iter()
            .zip(&running);
        let texts: Vec<(usize, &[u32])> = texts.map(|(l, text)| (l, &text.tokens[..])).collect();
        let mut wrong = Ok(());
        let mut parents = running.iter().enumerate();
        let mut take = |scores: &[f32]| {
            let Some((parent, text)) = parents.next() else {
                return;
            };
            row.clear();
            row.extend_from_slice(scores);
            let position = text.tokens.len() - 1;
            if let Err(cause) = normalize(&mut row) {
                wrong = Err(SearchError::Scores { position, cause });
                return;
            }
            request.apply_rules(&text.tokens, &mut row);
            collect(&mut best, kept, parent, text.score, &row);
        };
        // With fewer lanes than texts, several take turns in the first.
        let at_once = if lane_count < running.len() {
            1
        } else {
            texts.len()
        };
        for texts in texts.chunks(at_once) {
            lanes.feed_all(model, texts, &mut take)?;
        }
        wrong?;
        let generated = running[0].tokens.len() + 1 - request.prompt.len();
        let is_last = running[0].tokens.len() + 1 >= request.max_length;
        let ends = |c: &Continuation| is_last || request.eos.contains(&c.token);
        if best.is_empty() {
            return Err(SearchError::Scores {
                position: running[0].tokens.len() - 1,
                cause: "allow no token at all",
            });
        }

        for continuation in best.iter().take(beams).filter(|c| ends(c)) {
            let text = end(request, &running, *continuation, options.length_penalty);
            let place = ended.partition_point(|other| other.score >= text.score);
            ended.insert(place, text);
            ended.truncate(beams);
        }
        running = best
            .iter()
            .filter(|c| !ends(c))
            .take(beams)
            .map(|c| continue_with(&running[c.parent], *c))
            .collect();
        let Some(first) = running.first() else {
            break;
        };
        let length = match options.early_stopping {
            EarlyStopping::WhenHopeless if options.length_penalty > 0.0 => {
                request.max_length - request.prompt.len()
            }
            _ => generated,
        };
        let hope = penalized(first.score, length, options.length_penalty);
        let is_full = ended.len() == beams;
        let is_beaten = is_full && ended.last().is_some_and(|worst| hope <= worst.score);
        if is_beaten || (is_full && options.early_stopping == EarlyStopping::WhenFull) {
            break;
        }
    }
    match ended.is_empty() {
        true => Err(nothing(request)),
        false => Ok(ended),
    }
}

/// The error for a search that found no text.
fn nothing<E: std::error::Error>(request: &Request<'_>) -> SearchError<E> {
    SearchError::Scores {
        position: request.prompt.len() - 1,
        cause: "allow no token at all",
    }
}

/// A lane for each text, so that as little as possible has to be fed again.
fn assign(lanes: &Lanes, count: usize, running: &[Running]) -> Vec<usize> {
    let mut pairs: Vec<(usize, usize, usize)> = (0..running.len())
        .flat_map(|text| (0..count).map(move |lane| (text, lane)))
        .map(|(text, lane)| (lanes.in_common(lane, &running[text].tokens), text, lane))
        .collect();
    pairs.sort_by_key(|&(common, text, lane)| (Reverse(common), text, lane));
    let mut chosen = vec![None; running.len()];
    let mut taken = vec![false; count];
    for (_, text, lane) in pairs {
        if chosen[text].is_none() && !taken[lane] {
            chosen[text] = Some(lane);
            taken[lane] = true;
        }
    }
    // With fewer lanes than texts, the rest take turns in the first.
    chosen.into_iter().map(|lane| lane.unwrap_or(0)).collect()
}

/// Scores to logarithms of probabilities.
fn normalize(scores: &mut [f32]) -> Result<(), &'static str> {
    let total = log_sum_exp(scores);
    if total.is_nan() {
        return Err("are not numbers (NaN)");
    }
    if total.is_infinite() {
        return Err("are infinite");
    }
    for score in scores {
        *score = (f64::from(*score) - total) as f32;
    }
    Ok(())
}

/// Merges the continuations of one text into the `kept` best, best first.
fn collect(best: &mut Vec<Continuation>, kept: usize, parent: usize, score: f32, row: &[f32]) {
    let allowed = log_sum_exp(row);
    for (token, &logprob) in (0_u32..).zip(row) {
        let score = score + logprob;
        let beaten = best.len() == kept && best.last().is_some_and(|worst| score <= worst.score);
        if beaten || !score.is_finite() {
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

fn continue_with(parent: &Running, continuation: Continuation) -> Running {
    let mut tokens = Vec::with_capacity(parent.tokens.len() + 1);
    tokens.extend(&parent.tokens);
    tokens.push(continuation.token);
    Running {
        tokens,
        score: continuation.score,
        logprobs: parent.logprobs + continuation.logprob,
    }
}

fn end(
    request: &Request<'_>,
    running: &[Running],
    continuation: Continuation,
    length_penalty: f32,
) -> Generated {
    let mut text = continue_with(&running[continuation.parent], continuation);
    let mut tokens = text.tokens.split_off(request.prompt.len());
    let generated = tokens.len();
    let end = tokens.pop_if(|token| request.eos.contains(token));
    Generated {
        tokens,
        end,
        avg_logprob: (text.logprobs / generated as f64) as f32,
        score: penalized(continuation.score, generated, length_penalty),
    }
}

/// A score by length.
fn penalized(score: f32, length: usize, penalty: f32) -> f32 {
    score / (length as f64).powf(f64::from(penalty)) as f32
}
