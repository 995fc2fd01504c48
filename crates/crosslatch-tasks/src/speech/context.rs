//! What is put in front of a window's own prompt: the caller's prompt, the text so far.
//!
//! A model spells names and keeps its style better if it sees what came before. The text so far
//! takes at most half of the decoder's positions, its end being kept; after a window that had to be
//! decoded at a high temperature it is left out once, because it may be wrong.
//!
//! The rules are those of `_prepare_decoder_input_ids` in transformers (5.23), except that a prompt
//! that does not fit loses its beginning here, where transformers refuses it.

use crate::generation::{GenerationConfig, GenerationError, TranscribeOptions};
use crate::tokenizer::{TextTokenizer, TokenizerError};

/// The token that opens the text so far, where the file does not give its id.
const START_OF_PREVIOUS: &str = "<|startofprev|>";

/// The text so far.
#[derive(Debug)]
pub(super) struct Context {
    /// The caller's prompt, without the token that opens it.
    prompt: Option<Vec<u32>>,
    always: bool,
    opening: Option<u32>,
    /// The tokens of the last segments.
    history: Vec<u32>,
    has_history: bool,
    /// Whether the file or the caller wants the history, and the last window can be trusted.
    pub uses_history: bool,
    /// Tokens of history or prompt at most.
    most: usize,
    limit: usize,
}

impl Context {
    pub fn new(
        options: &TranscribeOptions,
        file: &GenerationConfig,
        tokenizer: &TextTokenizer,
    ) -> Result<Self, GenerationError> {
        let uses_history = wants_history(options, file);
        if options.prompt_always && !uses_history {
            return Err(GenerationError::Option {
                name: "prompt_always",
                cause: "needs condition_on_previous: without it the prompt always stays",
            });
        }
        let most = file.max_target_positions / 2 - 1;
        let mut opening = file.prev_sot_token_id;
        let mut prompt = None;
        if let Some(text) = &options.prompt {
            opening = opening.or_else(|| tokenizer.id(START_OF_PREVIOUS));
            let mut tokens = encode(text, file, tokenizer)?;
            if opening.is_none() {
                return Err(GenerationError::Prompt(
                    "this model has no token to open it with".to_owned(),
                ));
            }
            tokens.drain(..tokens.len().saturating_sub(most));
            prompt = Some(tokens);
        } else if opening.is_none() {
            // Where older files do not name it, transformers takes the last but one of these.
            opening = file.suppress_tokens.iter().rev().nth(1).copied();
        }
        let history = prompt.clone().filter(|_| !options.prompt_always);
        Ok(Self {
            always: options.prompt_always && prompt.is_some(),
            has_history: history.is_some(),
            history: history.unwrap_or_default(),
            prompt,
            opening,
            uses_history,
            most,
            limit: file.max_target_positions,
        })
    }

    /// The next window's prompt, of which `own` is the end.
    pub fn prompt(&self, own: &[u32]) -> Vec<u32> {
        let mut all = Vec::new();
        let shown = self.prompt.as_deref().unwrap_or_default();
        if self.uses_history && self.has_history {
            all.extend(self.opening);
            if self.always {
                all.extend(shown);
            }
            // A quarter of the positions stays for the window's own text.
            let room = (self.limit / 4 * 3).saturating_sub(all.len() + own.len());
            let skipped = self.history.len().saturating_sub(self.most.min(room));
            all.extend(&self.history[skipped..]);
        } else if self.prompt.is_some() {
            all.extend(self.opening);
            all.extend(shown);
        }
        all.extend(own);
        all
    }

    /// Adds a segment's tokens. Of two points in time at its end, the second opens the next.
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

/// Whether windows are to see the text before them.
pub(super) fn wants_history(options: &TranscribeOptions, file: &GenerationConfig) -> bool {
    options
        .condition_on_previous
        .unwrap_or(file.condition_on_prev_tokens)
}

/// A prompt's tokens, as `get_prompt_ids` of transformers makes them: a space in front, and no
/// special tokens inside.
fn encode(
    text: &str,
    file: &GenerationConfig,
    tokenizer: &TextTokenizer,
) -> Result<Vec<u32>, GenerationError> {
    let bad = |e: TokenizerError| GenerationError::Prompt(e.to_string());
    let tokens = tokenizer
        .encode(&format!(" {}", text.trim()), false)
        .map_err(bad)?;
    let first_special = file.eos_token_ids.iter().min().copied();
    if let Some(special) = first_special
        && tokens.iter().any(|&token| token >= special)
    {
        return Err(GenerationError::Prompt(
            "it holds a special token, such as <|endoftext|>; leave that out".to_owned(),
        ));
    }
    Ok(tokens)
}
