//! What is put in front of a window's own prompt: words to be expected, the caller's prompt, and the
//! text so far.
//!
//! A model spells names right and keeps its style better if it sees what came before. The text so
//! far takes at most half of the decoder's positions, and its end is what is kept. After a window
//! that had to be decoded at a high temperature it is left out once, because it may be wrong.
//!
//! The rules are those of `_prepare_decoder_input_ids` in transformers (5.23), except that a prompt
//! that does not fit loses its beginning here, where transformers refuses it.

use super::options::TranscribeOptions;
use super::whisper::WhisperConfig;
use crate::config::OptionsError;
use crate::tokenizer::{TextTokenizer, TokenizerError};

/// The token that opens the text so far, where the file does not give its id.
const START_OF_PREVIOUS: &str = "<|startofprev|>";

/// The caller's prompt and the text so far.
#[derive(Debug, Clone)]
pub(super) struct Context {
    /// The words that every window is shown.
    hotwords: Vec<u32>,
    /// The caller's prompt, without the token that opens it.
    prompt: Option<Vec<u32>>,
    always: bool,
    opening: Option<u32>,
    /// The tokens of the last segments.
    history: Vec<u32>,
    has_history: bool,
    /// Whether the file or the caller wants the history, and the last window can be trusted.
    pub uses_history: bool,
    /// Greatest number of tokens of the history, and of the prompt.
    most: usize,
    limit: usize,
}

impl Context {
    pub fn new(
        options: &TranscribeOptions,
        file: &WhisperConfig,
        tokenizer: &TextTokenizer,
    ) -> Result<Self, OptionsError> {
        let uses_history = wants_history(options, file);
        if options.prompt_always && !uses_history {
            return Err(OptionsError::Option {
                name: "prompt_always",
                cause: "needs condition_on_previous; without it the prompt stays anyway",
            });
        }
        let most = file.max_target_positions / 2 - 1;
        let mut opening = file.prev_sot_token_id;
        let mut prompt = None;
        let mut hotwords = Vec::new();
        if options.prompt.is_some() || options.hotwords.is_some() {
            opening = opening.or_else(|| tokenizer.id(START_OF_PREVIOUS));
            if opening.is_none() {
                return Err(OptionsError::Prompt(
                    "this model has no token that opens a prompt".to_owned(),
                ));
            }
        }
        if let Some(text) = &options.hotwords {
            hotwords = encode(head(text.trim(), most), file, tokenizer)?;
            hotwords.truncate(most);
        }
        if let Some(text) = &options.prompt {
            let mut tokens = last_tokens(text.trim(), most, |text| encode(text, file, tokenizer))?;
            tokens.drain(..tokens.len().saturating_sub(most));
            prompt = Some(tokens);
        } else if opening.is_none() {
            // Older files do not name it; transformers then takes the last but one of these.
            opening = file.decoding.suppress_tokens.iter().rev().nth(1).copied();
        }
        let history = prompt.clone().filter(|_| !options.prompt_always);
        Ok(Self {
            always: options.prompt_always && prompt.is_some(),
            has_history: history.is_some(),
            history: history.unwrap_or_default(),
            hotwords,
            prompt,
            opening,
            uses_history,
            most,
            limit: file.max_target_positions,
        })
    }

    /// The whole prompt of the next window, which ends in its `own`.
    pub fn prompt(&self, own: &[u32]) -> Vec<u32> {
        // A quarter of the positions is left to the window's own text.
        let room = |before: usize| (self.limit / 4 * 3).saturating_sub(before + own.len());
        let last =
            |tokens: &[u32], most: usize| tokens[tokens.len().saturating_sub(most)..].to_vec();
        let mut all: Vec<u32> = self.opening.into_iter().collect();
        all.extend(&self.hotwords);
        let most = match self.hotwords.is_empty() {
            true => self.most,
            false => self.most.min(room(all.len())),
        };
        let prompt = last(self.prompt.as_deref().unwrap_or_default(), most);
        if self.uses_history && self.has_history {
            if self.always {
                all.extend(prompt);
            }
            let most = self.most.min(room(all.len()));
            all.extend(last(&self.history, most));
        } else if self.prompt.is_some() || !self.hotwords.is_empty() {
            all.extend(prompt);
        } else {
            all.clear();
        }
        all.extend(own);
        all
    }

    /// Adds a segment's tokens. Of two timestamps at its end, the second belongs to the next
    /// segment.
    pub fn add(&mut self, tokens: &[u32], time_zero: Option<u32>) {
        let is_time = |token: u32| time_zero.is_some_and(|zero| token >= zero);
        let tokens = match tokens {
            [most @ .., _] if most.len() > 1 && is_time(most[most.len() - 1]) => most,
            all => all,
        };
        self.history.extend(tokens);
        let excess = self.history.len().saturating_sub(self.most);
        self.history.drain(..excess);
        self.has_history = true;
    }
}

/// Whether windows are shown the text before them.
pub(super) fn wants_history(options: &TranscribeOptions, file: &WhisperConfig) -> bool {
    options
        .condition_on_previous
        .unwrap_or(file.condition_on_prev_tokens)
}

/// So many tokens are encoded beyond those that are wanted, because cutting the text in front of
/// them may change the first ones.
const MARGIN: usize = 16;

/// At least the last `most` tokens of a text, if it has so many. Little more of the text is
/// encoded, so that nobody who gives a book as a prompt waits for all of it.
fn last_tokens(
    text: &str,
    most: usize,
    encode: impl Fn(&str) -> Result<Vec<u32>, OptionsError>,
) -> Result<Vec<u32>, OptionsError> {
    // A guess at the number of bytes of so many tokens; only time depends on it.
    let mut length = most.saturating_add(MARGIN).saturating_mul(8);
    loop {
        let tail = tail(text, length);
        let tokens = encode(tail)?;
        if tail.len() == text.len() || tokens.len() >= most.saturating_add(MARGIN) {
            return Ok(tokens);
        }
        length = length.saturating_mul(4);
    }
}

/// The beginning of a text, with at least its first `most` tokens: none is longer than a few dozen
/// bytes, and nobody who gives a book waits for all of it.
fn head(text: &str, most: usize) -> &str {
    let length = most.saturating_add(MARGIN).saturating_mul(64);
    &text[..text.floor_char_boundary(length.min(text.len()))]
}

/// About the last `length` bytes of a text, from the beginning of a word if there is one nearby.
fn tail(text: &str, length: usize) -> &str {
    let start = text.ceil_char_boundary(text.len().saturating_sub(length));
    let tail = &text[start..];
    match tail.find(char::is_whitespace) {
        Some(word) if start > 0 && word < length / 2 => tail[word..].trim_start(),
        _ => tail,
    }
}

/// The tokens of a prompt, as `get_prompt_ids` of transformers makes them: a space is put in front,
/// and special tokens inside are refused.
fn encode(
    text: &str,
    file: &WhisperConfig,
    tokenizer: &TextTokenizer,
) -> Result<Vec<u32>, OptionsError> {
    let bad = |e: TokenizerError| OptionsError::Prompt(e.to_string());
    let tokens = tokenizer.encode(&format!(" {text}"), false).map_err(bad)?;
    let first_special = file.decoding.eos_token_ids.iter().min().copied();
    if let Some(special) = first_special
        && tokens.iter().any(|&token| token >= special)
    {
        return Err(OptionsError::Prompt(
            "it has a special token in it, such as <|endoftext|>; leave that out".to_owned(),
        ));
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// One token for each word.
    fn words(text: &str) -> Vec<u32> {
        text.split_whitespace().map(|w| w.len() as u32).collect()
    }

    #[test]
    fn the_end_of_a_long_prompt_has_the_same_tokens_and_little_of_it_is_encoded() {
        let text: String = (0..200_000)
            .map(|i| format!("{}{}", "x".repeat(i * 31 % 97), [" ", "\n", "  "][i % 3]))
            .collect();
        let text = text.trim();
        let seen = Cell::new(0);
        let encode = |part: &str| {
            seen.set(seen.get() + part.len());
            Ok(words(part))
        };
        let tokens = last_tokens(text, 223, encode).unwrap();
        let whole = words(text);
        assert!(tokens.len() >= 223);
        assert_eq!(tokens[tokens.len() - 223..], whole[whole.len() - 223..]);
        assert!(seen.get() < text.len() / 100, "{}", seen.get());
    }

    #[test]
    fn a_text_of_few_tokens_is_encoded_as_a_whole() {
        for text in ["", "a", "a b c", "é".repeat(100_000).as_str()] {
            let tokens = last_tokens(text, 223, |part| Ok(words(part))).unwrap();
            assert_eq!(tokens, words(text));
        }
    }
}
