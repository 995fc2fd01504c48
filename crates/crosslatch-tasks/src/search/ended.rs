//! Texts of a beam search that have ended, and when there are enough of them.
//!
//! There are two rules. transformers looks at the best continuations of a step, as many as there are
//! beams, and keeps the best of the texts that end among them; it stops when no unfinished text can be
//! expected to beat those ([`EarlyStopping`] says what is to be expected). openai-whisper
//! (`BeamSearchDecoder`) goes through the continuations from the best on until it has an unfinished text
//! for every beam, and keeps each text that ends on this way, in the order in which texts end; it stops as
//! soon as there are enough, which is what its *patience* says (Kasai et al., 2022), or at the greatest
//! length. If fewer have ended by then than there are beams, unfinished texts fill them up. Where it
//! compares texts by their length, the token that ends a text does not count.

use super::hypotheses::{BeamOptions, Continuation, EarlyStopping, Hypothesis};
use super::{Generated, Request};

/// The texts that have ended.
pub(super) struct Ended<'r> {
    request: Request<'r>,
    options: BeamOptions,
    /// Best first, or in the order in which they ended.
    texts: Vec<Generated>,
    /// What was unfinished when the search stopped.
    cut: Vec<Hypothesis>,
}

impl<'r> Ended<'r> {
    /// None yet.
    pub fn new(request: Request<'r>, options: BeamOptions) -> Self {
        Self {
            request,
            options,
            texts: Vec::new(),
            cut: Vec::new(),
        }
    }

    /// Takes the texts that end among the best continuations of the unfinished texts, and returns those
    /// that go on.
    pub fn take(&mut self, best: &[Continuation], unfinished: &[Hypothesis]) -> Vec<Hypothesis> {
        let length = unfinished.first().map_or(0, |text| text.tokens.len()) + 1;
        let is_last = length >= self.request.max_length;
        let beams = self.options.beams.max(1);
        let continued = |c: &Continuation| continue_with(&unfinished[c.parent], *c);
        if let EarlyStopping::Patience(_) = self.options.early_stopping {
            let enough = self.enough();
            let mut next = Vec::new();
            for continuation in best {
                let text = continued(continuation);
                if !self.request.eos.contains(&continuation.token) {
                    next.push(text);
                    if next.len() == beams {
                        break;
                    }
                } else if self.texts.len() < enough {
                    let text = self.generated(text);
                    self.texts.push(text);
                }
            }
            if is_last {
                self.cut = std::mem::take(&mut next);
            }
            return next;
        }
        let ends = |c: &Continuation| is_last || self.request.eos.contains(&c.token);
        let (ending, going): (Vec<_>, Vec<_>) = best.iter().enumerate().partition(|(_, c)| ends(c));
        let going = going.into_iter().take(beams).map(|(_, c)| continued(c));
        let next = going.collect();
        for (_, continuation) in ending.into_iter().filter(|(place, _)| *place < beams) {
            let text = self.generated(continued(continuation));
            let place = self
                .texts
                .partition_point(|other| other.score >= text.score);
            self.texts.insert(place, text);
            self.texts.truncate(beams);
        }
        next
    }

    /// What all texts begin with, those that have ended and those that go on: so will the one that wins.
    pub fn shared<'t>(&self, going: &'t [Hypothesis]) -> &'t [u32] {
        let prompt = self.request.prompt.len();
        let Some((first, others)) = going.split_first() else {
            return &[];
        };
        let first = &first.tokens[prompt..];
        let others = others.iter().map(|text| &text.tokens[prompt..]);
        let all = others.chain(self.texts.iter().map(|text| &text.tokens[..]));
        let common = |text: &[u32]| first.iter().zip(text).take_while(|(a, b)| a == b).count();
        &first[..all.map(common).min().unwrap_or(first.len())]
    }

    /// Whether there are enough, while these texts are unfinished.
    pub fn is_enough(&self, unfinished: &[Hypothesis]) -> bool {
        let is_full = self.texts.len() >= self.enough();
        let (Some(worst), Some(first), true) = (self.texts.last(), unfinished.first(), is_full)
        else {
            return false;
        };
        let prompt = self.request.prompt.len();
        let length = match self.options.early_stopping {
            EarlyStopping::WhenFull | EarlyStopping::Patience(_) => return true,
            EarlyStopping::WhenHopeless if self.options.length_penalty > 0.0 => {
                self.request.max_length - prompt
            }
            _ => first.tokens.len() - prompt,
        };
        penalized(first.score, length, self.options.length_penalty) <= worst.score
    }

    /// Takes the texts that are unfinished because the search stops.
    pub fn stop(&mut self, unfinished: Vec<Hypothesis>) {
        if matches!(self.options.early_stopping, EarlyStopping::Patience(_)) {
            self.cut.extend(unfinished);
        }
    }

    /// All of them, best first.
    pub fn all(mut self) -> Vec<Generated> {
        let missing = self.options.beams.saturating_sub(self.texts.len());
        for text in std::mem::take(&mut self.cut).into_iter().take(missing) {
            let text = self.generated(text);
            self.texts.push(text);
        }
        self.texts.sort_by(|a, b| b.score.total_cmp(&a.score));
        self.texts
    }

    /// How many are enough, at least one.
    fn enough(&self) -> usize {
        let beams = self.options.beams.max(1);
        match self.options.early_stopping {
            EarlyStopping::Patience(patience) => {
                ((beams as f32 * patience).round_ties_even() as usize).max(1)
            }
            _ => beams,
        }
    }

    /// A text as it is now.
    pub fn generated(&self, mut text: Hypothesis) -> Generated {
        let mut tokens = text.tokens.split_off(self.request.prompt.len());
        let generated = tokens.len();
        let end = tokens.pop_if(|token| self.request.eos.contains(token));
        let total: f64 = text.logprobs.iter().sum();
        text.logprobs.truncate(tokens.len());
        let compared = match self.options.early_stopping {
            EarlyStopping::Patience(_) => tokens.len().max(1),
            _ => generated,
        };
        Generated {
            tokens,
            end,
            logprobs: text
                .logprobs
                .iter()
                .map(|&logprob| logprob as f32)
                .collect(),
            avg_logprob: (total / generated as f64) as f32,
            score: penalized(text.score, compared, self.options.length_penalty),
        }
    }
}

fn continue_with(parent: &Hypothesis, continuation: Continuation) -> Hypothesis {
    let mut tokens = Vec::with_capacity(parent.tokens.len() + 1);
    tokens.extend(&parent.tokens);
    tokens.push(continuation.token);
    let mut logprobs = Vec::with_capacity(parent.logprobs.len() + 1);
    logprobs.extend(&parent.logprobs);
    logprobs.push(continuation.logprob);
    Hypothesis {
        tokens,
        score: continuation.score,
        logprobs,
    }
}

/// A score with the length penalty.
fn penalized(score: f32, length: usize, penalty: f32) -> f32 {
    score / (length as f64).powf(f64::from(penalty)) as f32
}
