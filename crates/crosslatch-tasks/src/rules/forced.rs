//! A position of the text at which the token is given.
//!
//! Some translation models are told the language by the first token that they are made to write, and
//! a text that is cut off at its greatest length can be given a proper end.

use super::{History, Rule};

/// Allows only certain tokens at one position (`ForcedBOSTokenLogitsProcessor` and
/// `ForcedEOSTokenLogitsProcessor` of transformers).
#[derive(Debug, Clone, PartialEq)]
pub struct Forced {
    /// Number of tokens before it, those of the prompt included.
    pub position: usize,
    /// The tokens that are allowed, each with the score of certainty.
    pub tokens: Vec<u32>,
}

impl Rule for Forced {
    fn apply(&self, history: History<'_>, scores: &mut [f32]) {
        if history.tokens.len() != self.position {
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
