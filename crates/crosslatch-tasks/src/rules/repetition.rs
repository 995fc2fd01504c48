//! Tokens that have occurred become less probable, or more.
//!
//! The published definition (Keskar et al., 2019, "CTRL", section 4.1) divides the score of such a
//! token by a penalty. A negative score is multiplied instead, so that a penalty above 1 lowers it
//! as well.

use super::{History, Rule};

/// Changes the score of each token that has occurred, once however often it has.
#[derive(Debug, Clone, PartialEq)]
pub struct Repetition {
    penalty: f32,
    /// Where the tokens occurred; `None` for the text so far.
    source: Option<Vec<u32>>,
}

impl Repetition {
    /// Penalises tokens of the text so far, its prompt included
    /// (`RepetitionPenaltyLogitsProcessor` of transformers). The penalty is positive; 1 has no effect.
    pub fn of_text(penalty: f32) -> Self {
        Self {
            penalty,
            source: None,
        }
    }

    /// Favours tokens of the source (`EncoderRepetitionPenaltyLogitsProcessor`), so that above 1 the
    /// text stays closer to it. The penalty is positive; 1 has no effect.
    pub fn of_source(penalty: f32, source: &[u32]) -> Self {
        // In double precision and rounded once, as in transformers.
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
