//! Tokens that were there already become less probable, or more.
//!
//! The published definition (Keskar et al., 2019, "CTRL", section 4.1) divides the score of such a
//! token by a penalty. A negative score is multiplied instead, so that a penalty above 1 lowers it
//! as well.

use super::{History, Rule};

/// Changes the scores of tokens that were there already, once each however often they were.
#[derive(Debug, Clone, PartialEq)]
pub struct Repetition {
    penalty: f32,
    /// The tokens that count; those of the text so far if `None`.
    source: Option<Vec<u32>>,
}

impl Repetition {
    /// Penalises tokens of the text so far, its prompt included
    /// (`RepetitionPenaltyLogitsProcessor` of transformers). Positive; 1 does nothing.
    pub fn of_text(penalty: f32) -> Self {
        Self {
            penalty,
            source: None,
        }
    }

    /// Favours tokens of the source (`EncoderRepetitionPenaltyLogitsProcessor`): above 1 the text
    /// stays closer to it. Positive; 1 does nothing.
    pub fn of_source(penalty: f32, source: &[u32]) -> Self {
        // In double precision and rounded once, as there.
        let penalty = (1.0 / f64::from(penalty)) as f32;
        Self {
            penalty,
            source: Some(source.to_vec()),
        }
    }
}

impl Rule for Repetition {
    fn apply(&self, history: History<'_>, scores: &mut [f32]) {
        let tokens = self.source.as_deref().unwrap_or(history.tokens);
        for (i, token) in tokens.iter().enumerate() {
            if tokens[..i].contains(token) {
                continue;
            }
            if let Some(score) = scores.get_mut(*token as usize) {
                *score = match *score < 0.0 {
                    true => *score * self.penalty,
                    false => *score / self.penalty,
                };
            }
        }
    }
}
