//! A place in the text that belongs to a certain token.
//!
//! Some translation models are told the language by the first token that they are made to write,
//! and a text that is cut off can be given a proper end.

use super::{History, Rule};

/// Allows certain tokens only, at one place (`ForcedBOSTokenLogitsProcessor` and
/// `ForcedEOSTokenLogitsProcessor` of transformers).
#[derive(Debug, Clone, PartialEq)]
pub struct Forced {
    /// Number of tokens before the place, those of the prompt included.
    pub place: usize,
    /// The tokens; each is as probable as if it were certain.
    pub tokens: Vec<u32>,
}

impl Rule for Forced {
    fn apply(&self, history: History<'_>, scores: &mut [f32]) {
        if history.tokens.len() != self.place {
            return;
        }
        scores.fill(f32::NEG_INFINITY);
        for &token in &self.tokens {
            if let Some(score) = scores.get_mut(token as usize) {
                *score = 0.0;
            }
        }
    }
}
