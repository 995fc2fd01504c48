//! Rules that change a row of scores before a token is chosen from it.
//!
//! A decoder scores every token at every step; which of them make sense next depends on what has
//! been chosen so far: some tokens are never wanted, some not first, some only in pairs. The idea is
//! that each such condition is one [`Rule`], a function of the tokens so far and the row, and that a
//! search applies a list of them in order. A rule forbids a token by scoring it −∞. Rules know
//! neither the model nor how the search chooses, so speech and text share them. The rule for
//! timestamps is Whisper's alone and stands [with it](crate::speech::whisper::Timestamps).

mod forced;
mod length;
mod ngrams;
mod repetition;
mod suppress;
mod words;

pub use forced::Forced;
pub use length::MinLength;
pub use ngrams::NoRepeatNgram;
pub use repetition::Repetition;
pub use suppress::Suppress;
pub use words::BadWords;

/// The tokens so far, of which some are the prompt.
#[derive(Debug, Clone, Copy)]
pub struct History<'a> {
    /// The prompt and the tokens chosen after it.
    pub tokens: &'a [u32],
    /// Number of tokens of the prompt.
    pub prompt: usize,
}

impl<'a> History<'a> {
    /// The tokens after the prompt.
    pub fn chosen(self) -> &'a [u32] {
        self.tokens.get(self.prompt..).unwrap_or_default()
    }
}

/// A condition on the next token.
pub trait Rule: std::fmt::Debug + Send + Sync {
    /// Changes `scores`, one for each token of the vocabulary, for the token after `history`.
    fn apply(&self, history: History<'_>, scores: &mut [f32]);
}

/// Forbids a range of tokens, which may reach beyond the end of the vocabulary.
pub(crate) fn forbid(scores: &mut [f32], tokens: std::ops::Range<usize>) {
    let end = tokens.end.min(scores.len());
    if let Some(scores) = scores.get_mut(tokens.start..end) {
        scores.fill(f32::NEG_INFINITY);
    }
}
