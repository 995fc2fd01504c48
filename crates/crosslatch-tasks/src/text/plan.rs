//! From a model's settings and a caller's options to a start, rules and lengths.
//!
//! The rules and their order are those of `_get_logits_processor` of transformers, and the lengths
//! are those of `_prepare_generated_length`: a number of new tokens takes precedence over
//! `max_length`, and the default is 20. Where the file asks for more than the exported decoder has
//! positions, the positions are the limit; a caller who asks for more gets an error.

use super::config::TextConfig;
use super::languages::Languages;
use super::{GenerateOptions, TextLimits};
use crate::config::OptionsError;
use crate::rules::{BadWords, Forced, MinLength, NoRepeatNgram, Repetition, Rule, Suppress};
use crate::search::BeamOptions;

/// Number of new tokens where neither the file nor the caller sets a length.
const DEFAULT_NEW_TOKENS: usize = 20;

/// How to generate texts: the settings of the model's files with a caller's options applied.
#[derive(Debug, Clone, PartialEq)]
pub struct TextPlan {
    settings: TextConfig,
    prompt: Vec<u32>,
    max_length: usize,
    min_length: usize,
    beam: BeamOptions,
    alternatives: usize,
    /// The token that goes before the source.
    pub(super) before_source: Option<u32>,
    /// The language that replaces the one which the tokenizer puts around a text.
    pub(super) source_language: Option<u32>,
}

impl TextConfig {
    /// The plan for texts with these options; `source` are the tokens of the text, if they are known.
    pub(super) fn plan(
        &self,
        options: &GenerateOptions,
        languages: &Languages,
        limits: TextLimits,
        source: &[u32],
    ) -> Result<TextPlan, OptionsError> {
        let mut settings = self.clone();
        let mut before_source = None;
        if let Some(wanted) = &options.target_language {
            let language = languages.find(wanted)?;
            if language.is_of_source {
                before_source = Some(language.id);
            } else if languages.contains(settings.decoding.decoder_start_token_id) {
                settings.decoding.decoder_start_token_id = language.id;
            } else {
                settings.forced_bos_token_id = Some(language.id);
            }
        }
        let wanted = options.source_language.as_ref();
        let source_language = wanted.map(|l| languages.find(l)).transpose()?.map(|l| l.id);
        if let Some(size) = options.no_repeat_ngram_size {
            settings.no_repeat_ngram_size = size;
        }
        if let Some(penalty) = options.repetition_penalty {
            settings.repetition_penalty = penalty;
        }
        if !(settings.repetition_penalty > 0.0 && settings.repetition_penalty.is_finite()) {
            return Err(bad("repetition penalty", "must be a positive number"));
        }
        let length_penalty = options
            .length_penalty
            .unwrap_or(self.decoding.length_penalty);
        if !length_penalty.is_finite() {
            return Err(bad("length penalty", "must be a finite number"));
        }
        let decoding = &self.decoding;
        let beam = decoding.beam_options(options.beam_size, Some(length_penalty))?;
        let from_file = self.num_return_sequences.saturating_sub(1);
        let alternatives = options.alternatives.unwrap_or(from_file);
        if alternatives >= beam.beams {
            return Err(bad("alternatives", "must be fewer than beams"));
        }
        let prompt = match limits.goes_on {
            true => source.to_vec(),
            false => vec![settings.decoding.decoder_start_token_id],
        };
        Ok(TextPlan {
            max_length: self.max_length(options, prompt.len(), limits)?,
            min_length: match options.min_new_tokens.unwrap_or(self.min_new_tokens) {
                0 => self.min_length,
                new => new.saturating_add(prompt.len()),
            },
            settings,
            prompt,
            beam,
            alternatives,
            before_source,
            source_language,
        })
    }

    fn max_length(
        &self,
        options: &GenerateOptions,
        prompt: usize,
        limits: TextLimits,
    ) -> Result<usize, OptionsError> {
        let longest = limits.positions.map_or(usize::MAX, |n| n.saturating_add(1));
        let wanted = match (
            options.max_new_tokens,
            self.decoding.max_new_tokens,
            self.decoding.max_length,
        ) {
            (Some(0), ..) => return Err(bad("greatest number of tokens", "must be at least 1")),
            (Some(new), ..) if new.saturating_add(prompt) > longest => {
                return Err(OptionsError::Length {
                    prompt,
                    new,
                    limit: longest - 1,
                });
            }
            (Some(new), ..) | (None, Some(new), _) => new.saturating_add(prompt),
            (None, None, Some(length)) => length,
            (None, None, None) => {
                let most = self.max_position_embeddings.unwrap_or(usize::MAX);
                (DEFAULT_NEW_TOKENS + prompt).min(most)
            }
        };
        let length = wanted.min(longest);
        if length <= prompt {
            return Err(OptionsError::Length {
                prompt,
                new: 1,
                limit: length,
            });
        }
        Ok(length)
    }
}

impl TextPlan {
    /// The tokens that the decoder starts with.
    pub fn prompt(&self) -> &[u32] {
        &self.prompt
    }

    /// Tokens that end a text.
    pub fn eos(&self) -> &[u32] {
        &self.settings.decoding.eos_token_ids
    }

    /// Greatest number of tokens, the prompt included.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// How to search with beams; one beam means greedy choice.
    pub fn beam(&self) -> BeamOptions {
        self.beam
    }

    /// How many of the next best texts to return.
    pub fn alternatives(&self) -> usize {
        self.alternatives
    }

    /// The rules for the next token after a source, in the order in which transformers applies
    /// them.
    pub fn rules(&self, source: &[u32]) -> Vec<Box<dyn Rule>> {
        let settings = &self.settings;
        let mut rules: Vec<Box<dyn Rule>> = Vec::new();
        if settings.encoder_repetition_penalty != 1.0 {
            let penalty = settings.encoder_repetition_penalty;
            rules.push(Box::new(Repetition::of_source(penalty, source)));
        }
        if settings.repetition_penalty != 1.0 {
            rules.push(Box::new(Repetition::of_text(settings.repetition_penalty)));
        }
        if settings.no_repeat_ngram_size > 0 {
            let size = settings.no_repeat_ngram_size;
            rules.push(Box::new(NoRepeatNgram::in_text(size)));
        }
        if settings.encoder_no_repeat_ngram_size > 0 {
            let size = settings.encoder_no_repeat_ngram_size;
            rules.push(Box::new(NoRepeatNgram::of_source(size, source)));
        }
        if !settings.bad_words_ids.is_empty() {
            let words = settings.bad_words_ids.clone();
            rules.push(Box::new(BadWords::new(words, self.eos())));
        }
        if self.min_length > self.prompt.len() {
            rules.push(Box::new(MinLength {
                length: self.min_length,
                ends: self.eos().to_vec(),
            }));
        }
        if let Some(token) = settings.forced_bos_token_id {
            rules.push(Box::new(Forced {
                position: 1,
                tokens: vec![token],
            }));
        }
        if !settings.forced_eos_token_ids.is_empty() {
            rules.push(Box::new(Forced {
                position: self.max_length - 1,
                tokens: settings.forced_eos_token_ids.clone(),
            }));
        }
        if !settings.decoding.suppress_tokens.is_empty() {
            let tokens = settings.decoding.suppress_tokens.clone();
            rules.push(Box::new(Suppress::always(tokens)));
        }
        if !settings.decoding.begin_suppress_tokens.is_empty() {
            // A token that is forced to come first does not count as the first one chosen.
            let first = usize::from(settings.forced_bos_token_id.is_some());
            let tokens = settings.decoding.begin_suppress_tokens.clone();
            rules.push(Box::new(Suppress::after(first, tokens)));
        }
        rules
    }
}

fn bad(name: &'static str, cause: &'static str) -> OptionsError {
    OptionsError::Option { name, cause }
}
