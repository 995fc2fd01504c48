//! Runs of tokens that must not be repeated.
//!
//! A summary that repeats itself repeats whole phrases, so it helps to forbid every run of `n` tokens
//! that has occurred before: if the last `n - 1` tokens have occurred in this order, the token that
//! followed them then is forbidden now.

use super::{History, Rule};

/// Forbids runs of tokens that have occurred before.
#[derive(Debug, Clone, PartialEq)]
pub struct NoRepeatNgram {
    size: usize,
    /// Where they occurred; `None` for the text so far.
    source: Option<Vec<u32>>,
}

impl NoRepeatNgram {
    /// No run of `size` tokens, at least 1, occurs twice in the text, its prompt included
    /// (`NoRepeatNGramLogitsProcessor` of transformers).
    pub fn in_text(size: usize) -> Self {
        Self { size, source: None }
    }

    /// No run of `size` tokens, at least 1, of the source occurs in the text
    /// (`EncoderNoRepeatNGramLogitsProcessor`).
    pub fn of_source(size: usize, source: &[u32]) -> Self {
        Self {
            size,
            source: Some(source.to_vec()),
        }
    }
}

impl Rule for NoRepeatNgram {
    fn apply(&self, history: History<'_>, scores: &mut [f32]) {
        let begun = self.size.saturating_sub(1);
        let Some(from) = history.tokens.len().checked_sub(begun) else {
            return;
        };
        let last = &history.tokens[from..];
        let earlier = self.source.as_deref().unwrap_or(history.tokens);
        for run in earlier.windows(begun + 1) {
            if let (true, Some(&next)) = (run.starts_with(last), run.last())
                && let Some(score) = scores.get_mut(next as usize)
            {
                *score = f32::NEG_INFINITY;
            }
        }
    }
}
