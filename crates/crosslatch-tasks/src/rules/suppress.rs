//! Tokens that are never chosen, or not chosen first.

use super::{History, Rule};

/// Forbids a set of tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Suppress {
    tokens: Vec<u32>,
    /// The step at which they are forbidden, given by the number of tokens chosen before it; `None` for
    /// every step.
    step: Option<usize>,
}

impl Suppress {
    /// At every step (`SuppressTokensLogitsProcessor` of transformers).
    pub fn always(tokens: Vec<u32>) -> Self {
        Self { tokens, step: None }
    }

    /// At the first step after the prompt (`SuppressTokensAtBeginLogitsProcessor`).
    pub fn first(tokens: Vec<u32>) -> Self {
        Self::after(0, tokens)
    }

    /// At the step before which this many tokens were chosen.
    pub fn after(chosen: usize, tokens: Vec<u32>) -> Self {
        Self {
            tokens,
            step: Some(chosen),
        }
    }
}

impl Rule for Suppress {
    fn apply(&self, history: History<'_>, scores: &mut [f32]) {
        let chosen = history.chosen().len();
        if self.step.is_some_and(|step| step != chosen) {
            return;
        }
        for &token in &self.tokens {
            if let Some(score) = scores.get_mut(token as usize) {
                *score = f32::NEG_INFINITY;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_forbidden_always_or_first_and_unknown_ones_ignored() {
        let scores = |rule: &Suppress, tokens: &[u32]| {
            let mut scores = [0.0; 4];
            rule.apply(History { tokens, prompt: 1 }, &mut scores);
            scores.map(|x| x == 0.0)
        };
        let always = Suppress::always(vec![1, 9]);
        assert_eq!(scores(&always, &[7]), [true, false, true, true]);
        assert_eq!(scores(&always, &[7, 8]), [true, false, true, true]);
        let first = Suppress::first(vec![0, 3]);
        assert_eq!(scores(&first, &[7]), [false, true, true, false]);
        assert_eq!(scores(&first, &[7, 8]), [true; 4]);
    }
}
