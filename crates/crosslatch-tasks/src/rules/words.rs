//! Words that are never written.
//!
//! A word may consist of several tokens, each of which is allowed by itself. So the last one is
//! forbidden where the others stand before it.

use super::{History, Rule};

/// Forbids sequences of tokens (`NoBadWordsLogitsProcessor` of transformers).
#[derive(Debug, Clone, PartialEq)]
pub struct BadWords {
    words: Vec<Vec<u32>>,
}

impl BadWords {
    /// Forbids these words, none of which is empty. A token that ends the text stays allowed even if it
    /// is listed as a word.
    pub fn new(mut words: Vec<Vec<u32>>, ends: &[u32]) -> Self {
        words.retain(|word| !matches!(word.as_slice(), [only] if ends.contains(only)));
        Self { words }
    }
}

impl Rule for BadWords {
    fn apply(&self, history: History<'_>, scores: &mut [f32]) {
        for word in &self.words {
            let Some((&last, start)) = word.split_last() else {
                continue;
            };
            if let (true, Some(score)) = (
                history.tokens.ends_with(start),
                scores.get_mut(last as usize),
            ) {
                *score = f32::NEG_INFINITY;
            }
        }
    }
}
