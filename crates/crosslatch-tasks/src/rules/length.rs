//! A least length of the text.

use super::{History, Rule};

/// Forbids the tokens that end a text while it is too short (`MinLengthLogitsProcessor` and
/// `MinNewTokensLengthLogitsProcessor` of transformers).
#[derive(Debug, Clone, PartialEq)]
pub struct MinLength {
    /// Least number of tokens before the end, those of the prompt included.
    pub length: usize,
    /// The tokens that end a text.
    pub ends: Vec<u32>,
}

impl Rule for MinLength {
    fn apply(&self, history: History<'_>, scores: &mut [f32]) {
        if history.tokens.len() >= self.length {
            return;
        }
        for &end in &self.ends {
            if let Some(score) = scores.get_mut(end as usize) {
                *score = f32::NEG_INFINITY;
            }
        }
    }
}
