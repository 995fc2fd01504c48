//! The times of words.
//!
//! A model says with timestamps when a phrase is spoken, not when each word is. But while it writes a
//! token it looks at the sound that the token stands for: some heads of its cross-attention follow the
//! sound so closely that times can be read from them. Once the text of a window is chosen, one more pass
//! over its tokens gives the weights of these heads ([`Decoder::align`](crate::search::Decoder::align)).
//! They are made smooth ([`smooth`]), a path is laid through them that steps from token to token as the
//! sound goes on ([`path`]), and tokens are joined to words ([`split`]). A token ends where the path
//! leaves it, and begins where the token before it ends.
//!
//! The rules are those of transformers (5.23): `_extract_token_timestamps` and `_decode_asr` with
//! `return_timestamps="word"`. There, weights come of the steps of decoding; they are the same weights.

mod invented;
mod path;
mod smooth;
mod split;

pub(super) use invented::{Inventions, Window};

use std::ops::Range;

use crate::search::HeadWeights;
use crate::tokenizer::{TextTokenizer, TokenizerError};
use crate::transcript::Word;

/// Positions of the encoder in a second.
const POSITIONS_PER_SECOND: f64 = 50.0;
/// Frames of features in a position.
const FRAMES_PER_POSITION: usize = 2;

/// The weights of the heads by which a window is aligned, as far as they were taken.
pub(super) struct Alignment {
    /// Positions that are sound, and not padding.
    positions: usize,
    /// For each head, a row of weights for each token.
    heads: Vec<Vec<f32>>,
}

impl Alignment {
    /// No weights yet, for a window with so many frames of sound.
    pub fn new(frames: usize) -> Self {
        Self {
            positions: frames / FRAMES_PER_POSITION,
            heads: Vec::new(),
        }
    }

    /// Takes the weights of a head for some tokens.
    pub fn take(&mut self, weights: HeadWeights<'_>) {
        let HeadWeights {
            head,
            first,
            values,
            source,
        } = weights;
        self.positions = self.positions.min(source);
        let positions = self.positions;
        if self.heads.len() <= head {
            self.heads.resize_with(head + 1, Vec::new);
        }
        let rows = &mut self.heads[head];
        rows.truncate(first * positions);
        for row in values.chunks_exact(source.max(1)) {
            rows.extend_from_slice(&row[..positions]);
        }
    }

    /// When each of `tokens` tokens ends, in seconds from the beginning of the window. There are weights
    /// for the first `aligned` of them; the others end with the last of these.
    pub fn ends(mut self, tokens: usize, aligned: usize, filter: usize) -> Vec<f64> {
        let (rows, positions) = (aligned.min(tokens), self.positions);
        let is_whole = |head: &Vec<f32>| head.len() >= rows * positions;
        self.heads.retain(is_whole);
        if rows == 0 || positions == 0 || self.heads.is_empty() {
            return vec![0.0; tokens];
        }
        let mean = smooth::smooth(&mut self.heads, [rows, positions], filter);
        let ends = path::ends(&mean, [rows, positions]);
        let mut ends: Vec<f64> = ends
            .into_iter()
            .map(|position| position as f64 / POSITIONS_PER_SECOND)
            .collect();
        ends.resize(tokens, ends.last().copied().unwrap_or(0.0));
        ends
    }
}

/// The tokens of a window and when each of them ends.
pub(super) struct TimedTokens<'a> {
    pub tokens: &'a [u32],
    /// In seconds from the beginning of the window.
    pub ends: &'a [f64],
    pub logprobs: &'a [f32],
    /// Where the window begins, in seconds.
    pub offset: f64,
}

impl TimedTokens<'_> {
    /// The words of the text in a range of the tokens, spoken in this language.
    ///
    /// # Errors
    /// If the tokens cannot be decoded.
    pub fn words(
        &self,
        tokenizer: &TextTokenizer,
        range: Range<usize>,
        is_text: impl Fn(u32) -> bool,
        language: Option<&str>,
    ) -> Result<Vec<Word>, TokenizerError> {
        let known = self.ends.len().min(self.logprobs.len());
        let range = range.start..range.end.min(known).min(self.tokens.len());
        let places: Vec<usize> = range.filter(|&i| is_text(self.tokens[i])).collect();
        let ids: Vec<u32> = places.iter().map(|&i| self.tokens[i]).collect();
        let split = split::split(tokenizer, &ids, split::has_spaces(language))?;
        let words = split.into_iter().filter_map(|(word, range)| {
            let places = &places[range];
            let (first, last) = (*places.first()?, *places.last()?);
            // A token begins where the one before it ends, whether that is text or not.
            let start = first.checked_sub(1).map_or(0.0, |before| self.ends[before]);
            let sum: f32 = places.iter().map(|&i| self.logprobs[i].exp()).sum();
            Some(Word {
                start: hundredths(self.offset + start),
                end: hundredths(self.offset + self.ends[last]),
                word,
                probability: sum / places.len() as f32,
            })
        });
        Ok(words.collect())
    }
}

/// A time to the hundredth of a second: a path steps by two of them.
fn hundredths(seconds: f64) -> f64 {
    (seconds * 100.0).round() / 100.0
}
