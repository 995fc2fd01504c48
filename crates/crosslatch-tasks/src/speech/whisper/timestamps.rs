//! The rule that says where timestamps may stand in the text of a Whisper model.
//!
//! Whisper marks time with tokens of its own, the last ones of its vocabulary, 20 ms apart:
//! `<|0.00|> a sentence<|2.40|><|2.40|> and another<|5.16|>`. A model that was trained on such
//! transcripts still breaks the pattern now and then, so the pattern is enforced: the text begins
//! with a timestamp that is not too late; timestamps come in pairs, one that closes a segment and
//! one that opens the next, or one before the end; time does not run backwards, and a segment is
//! not empty. And since the probability of "a timestamp here" is spread over many neighbours, a
//! timestamp is taken when all of them together are more probable than the best other token.
//!
//! The conditions and their order are those of transformers' `WhisperTimeStampLogitsProcessor`
//! (5.23), which follows `ApplyTimestampRules` of openai-whisper.

use crosslatch::greatest;

use crate::rules::{History, Rule, forbid};
use crate::search::log_sum_exp;

/// Enforces the pattern of timestamps.
#[derive(Debug, Clone, PartialEq)]
pub struct Timestamps {
    /// The token that says that no timestamps follow; the next id is time zero.
    pub no_timestamps: u32,
    /// The token that ends the text; smaller ids are words.
    pub eos: u32,
    /// Latest timestamp that may come first, in steps of 20 ms; `None` for no limit.
    pub max_initial_index: Option<u32>,
}

impl Rule for Timestamps {
    fn apply(&self, history: History<'_>, scores: &mut [f32]) {
        let begin = self.no_timestamps + 1;
        let first = begin as usize;
        forbid(scores, self.no_timestamps as usize..first);
        let chosen = history.chosen();
        let is_time = |token: u32| token >= begin;
        let (last_is_time, pair_is_open) = match chosen {
            [] => (false, false),
            [only] => (is_time(*only), false),
            [.., before, last] if is_time(*last) => (true, !is_time(*before)),
            _ => (false, false),
        };
        // The pair is open: the last token closes a segment, and the timestamp that opens the next
        // one has to follow.
        if last_is_time && pair_is_open {
            forbid(scores, 0..self.eos as usize);
        } else if last_is_time {
            forbid(scores, first..usize::MAX);
        }
        if let Some(&last) = chosen.iter().rev().find(|&&token| is_time(token)) {
            // The second of a pair may be the same timestamp; any other must be later.
            let earliest = if pair_is_open {
                last
            } else {
                last.saturating_add(1)
            };
            forbid(scores, first..earliest as usize);
        }
        if chosen.is_empty() {
            forbid(scores, 0..first);
            if let Some(index) = self.max_initial_index {
                forbid(scores, first.saturating_add(index as usize + 1)..usize::MAX);
            }
        }
        let Some((words, times)) = scores.split_at_mut_checked(first) else {
            return;
        };
        if log_sum_exp(times) > f64::from(greatest(words)) {
            words.fill(f32::NEG_INFINITY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tokens 0 to 3 are words, 4 the end, 5 special, 6 "no timestamps", 7 to 11 time.
    const RULE: Timestamps = Timestamps {
        no_timestamps: 6,
        eos: 4,
        max_initial_index: Some(2),
    };

    fn allowed(chosen: &[u32], scores: [f32; 12]) -> Vec<usize> {
        let mut scores = scores;
        let mut tokens = vec![99];
        tokens.extend(chosen);
        let history = History {
            tokens: &tokens,
            prompt: 1,
        };
        RULE.apply(history, &mut scores);
        (0..12).filter(|&i| scores[i].is_finite()).collect()
    }

    /// Words are far more probable than timestamps, so that the last condition has no effect.
    fn wordy() -> [f32; 12] {
        let mut scores = [9.0; 12];
        scores[7..].fill(-9.0);
        scores
    }

    #[test]
    fn the_first_token_is_an_early_timestamp() {
        assert_eq!(allowed(&[], wordy()), [7, 8, 9]);
    }

    #[test]
    fn timestamps_come_in_pairs_and_time_does_not_run_backwards() {
        let words_and_end = [0, 1, 2, 3, 4, 5];
        assert_eq!(allowed(&[8], wordy()), words_and_end);
        assert_eq!(allowed(&[8, 1], wordy()), [0, 1, 2, 3, 4, 5, 9, 10, 11]);
        assert_eq!(allowed(&[8, 1, 9], wordy()), [4, 5, 9, 10, 11]);
        assert_eq!(allowed(&[8, 1, 9, 9], wordy()), words_and_end);
        assert_eq!(allowed(&[8, 1, 9, 10, 2], wordy()), [0, 1, 2, 3, 4, 5, 11]);
    }

    #[test]
    fn timestamps_win_when_together_they_are_more_probable_than_any_word() {
        let mut scores = [0.0; 12];
        scores[0] = 1.0;
        scores[9..].fill(0.1);
        assert_eq!(allowed(&[8, 1], scores), [9, 10, 11]);
        scores[0] = 1.3;
        assert_eq!(allowed(&[8, 1], scores), [0, 1, 2, 3, 4, 5, 9, 10, 11]);
    }

    #[test]
    fn a_vocabulary_without_timestamps_does_no_harm() {
        let mut scores = [0.0; 5];
        let history = History {
            tokens: &[1, 2],
            prompt: 1,
        };
        RULE.apply(history, &mut scores);
        assert_eq!(scores, [0.0; 5]);
    }
}
