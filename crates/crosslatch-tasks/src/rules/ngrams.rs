//! Runs of tokens that must not come again.
//!
//! A summary that repeats itself repeats whole phrases, so it helps to forbid any run of `n` tokens
//! that was there before: after `n - 1` tokens that were there in this order, the token that came
//! next then is forbidden now.

use super::{History, Rule};

/// Forbids runs of tokens that were there already.
#[derive(Debug, Clone, PartialEq)]
pub struct NoRepeatNgram {
    size: usize,
    /// Where they were; the text so far if `None`.
    source: Option<Vec<u32>>,
}

impl NoRepeatNgram {
    /// No run of `size` tokens comes twice in the text, its prompt included
    /// (`NoRepeatNGramLogitsProcessor` of transformers). At least 1.
    pub fn in_text(size: usize) -> Self {
        Self { size, source: None }
    }

    /// No run of `size` tokens of the source comes in the text
    /// (`EncoderNoRepeatNGramLogitsProcessor`). At least 1.
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
