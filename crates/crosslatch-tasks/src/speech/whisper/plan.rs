//! From a model's settings and a caller's options to a prompt, rules and lengths.
//!
//! The prompt is built exactly as `_retrieve_init_tokens` of transformers builds it: the start
//! token; then the old `forced_decoder_ids`, unless a language or a task is set; then the language,
//! appended or put in second place; then the task; then, unless timestamps are wanted, the
//! no-timestamps token. A language that is neither set nor forced is left open, to be detected from
//! the sound.
//!
//! A model that knows English only has no tokens for languages and tasks. transformers refuses both
//! words there; here English and `transcribe` are what such a model does anyway, so they are
//! accepted, change nothing, and the language of the transcript is English.

use super::config::WhisperConfig;
use super::languages::{code_of, language_token};
use super::timestamps::Timestamps;
use crate::config::{ConfigError, OptionsError};
use crate::rules::{NoRepeatNgram, Rule, Suppress};
use crate::search::{BeamOptions, EarlyStopping};
use crate::speech::options::{Task, TranscribeOptions};

/// The token of the only language of a model that is not multilingual.
const ENGLISH: &str = "<|en|>";

/// How to decode one transcript.
#[derive(Debug, Clone, PartialEq)]
pub struct WhisperPlan {
    /// The prompt, with `None` at the place of a language that has to be detected.
    prompt: Vec<Option<u32>>,
    /// The languages to detect one of, each as token and text; empty if none has to be detected.
    languages: Vec<(u32, String)>,
    language: Option<String>,
    eos: Vec<u32>,
    suppressed: Vec<u32>,
    suppressed_first: Vec<u32>,
    timestamps: Option<Timestamps>,
    lengths: WindowLengths,
    beam: BeamOptions,
    first_timestamp: Option<u32>,
    /// Length of runs of tokens that must not repeat; 0 for none.
    unrepeated: usize,
}

/// How long the text of a window may be. This is a state, because transformers raises `max_length`
/// by the length of each window's prompt and keeps the sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WindowLengths {
    max_length: usize,
    max_new_tokens: Option<usize>,
    limit: usize,
    /// Further bound of the number of new tokens.
    most: usize,
}

impl WhisperConfig {
    /// Whether the model has timestamp tokens.
    pub fn has_timestamps(&self) -> bool {
        let first = self.no_timestamps_token_id.map(|id| id as usize + 1);
        first.is_some_and(|first| self.vocab_size.is_none_or(|size| size > first))
    }

    /// Codes of the languages that the model can be asked for; empty if its files name none.
    pub fn languages(&self) -> Vec<&str> {
        if self.is_multilingual == Some(false) {
            return vec![code_of(ENGLISH)];
        }
        let known = self.lang_to_id.iter().flatten();
        known.map(|(token, _)| code_of(token)).collect()
    }

    /// The plan for one transcript; `is_long` says that the sound is longer than one window.
    ///
    /// # Errors
    /// Any [`OptionsError`].
    pub fn plan(
        &self,
        options: &TranscribeOptions,
        is_long: bool,
    ) -> Result<WhisperPlan, OptionsError> {
        let timestamps = match options.timestamps {
            Some(true) if !self.has_timestamps() => return Err(OptionsError::NoTimestamps),
            Some(wanted) => wanted,
            None => {
                let are_useful = is_long
                    || self.return_timestamps
                    || options.needs_words()
                    || options.format.needs_timestamps();
                self.has_timestamps() && are_useful
            }
        };
        let decoding = &self.decoding;
        if options
            .length_penalty
            .is_some_and(|penalty| !penalty.is_finite())
        {
            return Err(OptionsError::Option {
                name: "length_penalty",
                cause: "must be a finite number",
            });
        }
        let mut beam = decoding.beam_options(options.beam_size, options.length_penalty)?;
        if let Some(patience) = options.patience {
            if !(patience > 0.0 && patience <= MOST_PATIENCE) {
                return Err(OptionsError::Option {
                    name: "patience",
                    cause: "must be above 0 and at most 100",
                });
            }
            beam.early_stopping = EarlyStopping::Patience(patience);
        }
        let mut language = options.language.as_deref().or(self.language.as_deref());
        let mut task = options.task.map(Task::name).or(self.task.as_deref());
        if self.is_multilingual == Some(false) {
            let is_english = language.is_none_or(|l| language_token(l).as_deref() == Some(ENGLISH));
            if !is_english || task == Some(Task::Translate.name()) {
                return Err(OptionsError::EnglishOnly);
            }
            (language, task) = (None, None);
        }

        let mut prompt = vec![Some(decoding.decoder_start_token_id)];
        if language.is_none() && task.is_none() {
            let forced = self.forced_decoder_ids.iter().flatten();
            prompt.extend(forced);
        }
        let undefined = prompt.get(1).is_none_or(Option::is_none);
        let mut languages = Vec::new();
        let mut token = (self.is_multilingual == Some(false)).then(|| ENGLISH.to_owned());
        if let Some(language) = language {
            let (name, id) = self.language_id(language)?;
            set_second(&mut prompt, Some(id));
            token = Some(name);
        } else if let (true, Some(known)) = (undefined, &self.lang_to_id) {
            set_second(&mut prompt, None);
            languages = known.iter().map(|(name, &id)| (id, name.clone())).collect();
        } else if let (Some(&Some(id)), Some(known)) = (prompt.get(1), &self.lang_to_id) {
            token = known
                .iter()
                .find(|&(_, &known)| known == id)
                .map(|(name, _)| name.clone());
        }
        match task {
            Some(task) => prompt.push(Some(self.task_id(task)?)),
            None if language.is_some() => {
                let known = self.task_to_id.iter().flatten().map(|(_, &id)| Some(id));
                let named = known.into_iter().any(|id| prompt.contains(&id));
                if !named && self.task_to_id.is_some() {
                    prompt.push(Some(self.task_id(Task::Transcribe.name())?));
                }
            }
            None => {}
        }
        if let Some(id) = self.no_timestamps_token_id {
            let last = prompt.last() == Some(&Some(id));
            match (timestamps, last) {
                (false, false) => prompt.push(Some(id)),
                (true, true) => prompt.truncate(prompt.len() - 1),
                _ => {}
            }
        }
        if languages.is_empty() {
            prompt.retain(Option::is_some);
        } else {
            // Of the places without a token, only that of the language stays, which is the second.
            let mut place = 0;
            prompt.retain(|id| {
                place += 1;
                id.is_some() || place == 2
            });
        }
        // If the end is not known, the rule must forbid nothing because of it.
        let timestamps = timestamps.then(|| Timestamps {
            no_timestamps: self.no_timestamps_token_id.unwrap_or(u32::MAX - 1),
            eos: decoding.eos_token_ids.first().copied().unwrap_or(0),
            max_initial_index: self.max_initial_timestamp_index,
        });
        let plan = WhisperPlan {
            prompt,
            languages,
            language: token,
            eos: decoding.eos_token_ids.clone(),
            suppressed: self.suppressed(options)?,
            suppressed_first: decoding.begin_suppress_tokens.clone(),
            timestamps,
            lengths: WindowLengths {
                max_length: decoding.max_length.unwrap_or(DEFAULT_MAX_LENGTH),
                max_new_tokens: options.max_new_tokens.or(decoding.max_new_tokens),
                limit: self.max_target_positions,
                most: usize::MAX,
            },
            beam,
            first_timestamp: self.no_timestamps_token_id.map(|id| id + 1),
            unrepeated: options
                .no_repeat_ngram_size
                .unwrap_or(self.no_repeat_ngram_size),
        };
        plan.lengths().next(plan.prompt.len())?;
        Ok(plan)
    }

    /// The tokens that are never taken.
    fn suppressed(&self, options: &TranscribeOptions) -> Result<Vec<u32>, OptionsError> {
        let own = &self.decoding.suppress_tokens;
        let Some(wanted) = &options.suppress_tokens else {
            return Ok(own.clone());
        };
        let mut suppressed = Vec::new();
        for &token in wanted {
            match u32::try_from(token) {
                Ok(id) => suppressed.push(id),
                Err(_) if token == -1 => suppressed.extend(own),
                Err(_) => {
                    return Err(OptionsError::Option {
                        name: "suppress_tokens",
                        cause: "must be ids of tokens, or -1 for those that the model's file names",
                    });
                }
            }
        }
        Ok(suppressed)
    }

    fn language_id(&self, language: &str) -> Result<(String, u32), OptionsError> {
        let known = self.lang_to_id.as_ref();
        language_token(language)
            .and_then(|token| Some((known?.get(&token).copied()?, token)))
            .map(|(id, token)| (token, id))
            .ok_or_else(|| {
                let names = known.into_iter().flatten().map(|(name, _)| code_of(name));
                let mut known = names.collect::<Vec<_>>().join(", ");
                if known.is_empty() {
                    known = "none by name (no lang_to_id in generation_config.json)".to_owned();
                }
                OptionsError::Language {
                    language: language.to_owned(),
                    known,
                }
            })
    }

    fn task_id(&self, task: &str) -> Result<u32, OptionsError> {
        let name = match task {
            "transcribe" => "transcribe",
            "translate" => "translate",
            other => {
                return Err(OptionsError::Config(ConfigError::Setting {
                    file: "generation_config.json",
                    name: "task",
                    value: other.to_owned(),
                    cause: "must be transcribe or translate".to_owned(),
                }));
            }
        };
        let known = self.task_to_id.as_ref().and_then(|tasks| tasks.get(name));
        known.copied().ok_or(OptionsError::Task(name))
    }
}

/// Greatest patience: a hundred times as many ended texts as beams are waited for.
const MOST_PATIENCE: f32 = 100.0;

/// The `max_length` of transformers where neither the file nor the caller sets a length.
const DEFAULT_MAX_LENGTH: usize = 20;

impl WindowLengths {
    /// Greatest number of tokens of the next window, those of its prompt included, by the rules of
    /// `_set_max_new_tokens_and_length`: a number of new tokens takes precedence over `max_length`,
    /// to which the prompt is added.
    pub fn next(&mut self, prompt: usize) -> Result<usize, OptionsError> {
        let limit = self.limit;
        let too_long = |new, limit| Err(OptionsError::Length { prompt, new, limit });
        let total = match self.max_new_tokens {
            Some(new) if new.saturating_add(prompt) > limit => return too_long(new, limit),
            Some(new) => prompt + new,
            None => {
                let added = prompt.min(limit / 2 - 1);
                self.max_length = self.max_length.saturating_add(added).min(limit);
                self.max_length
            }
        };
        if prompt >= total || prompt >= limit {
            return too_long(total.saturating_sub(prompt).max(1), total.min(limit));
        }
        Ok(total.min(prompt.saturating_add(self.most)))
    }

    /// The same, but at most so many new tokens, at least one.
    pub fn at_most(self, new: usize) -> Self {
        let most = new.max(1);
        Self { most, ..self }
    }
}

impl WhisperPlan {
    /// The prompt, with `language` (a token of [`WhisperPlan::languages`]) at the open place, if
    /// there is one.
    pub fn prompt(&self, language: Option<u32>) -> Vec<u32> {
        self.prompt
            .iter()
            .filter_map(|id| id.or(language))
            .collect()
    }

    /// The languages to detect one of, each as token and text such as `<|en|>`; empty if the
    /// language need not be detected.
    pub fn languages(&self) -> &[(u32, String)] {
        &self.languages
    }

    /// The code of the language that the prompt names, such as `en`; `None` if it names none, or if
    /// it has to be detected.
    pub fn language(&self) -> Option<&str> {
        self.language.as_deref().map(code_of)
    }

    /// Tokens that end the text.
    pub fn eos(&self) -> &[u32] {
        &self.eos
    }

    /// The rules for the next token, in the order in which transformers applies them.
    pub fn rules(&self) -> Vec<Box<dyn Rule>> {
        let mut rules: Vec<Box<dyn Rule>> = Vec::new();
        if self.unrepeated > 0 {
            rules.push(Box::new(NoRepeatNgram::in_text(self.unrepeated)));
        }
        rules.push(Box::new(Suppress::first(self.suppressed_first.clone())));
        rules.push(Box::new(Suppress::always(self.suppressed.clone())));
        if let Some(timestamps) = &self.timestamps {
            rules.push(Box::new(timestamps.clone()));
        }
        rules
    }

    /// The token of time zero, if the text is to have timestamps.
    pub fn time_zero(&self) -> Option<u32> {
        self.first_timestamp.filter(|_| self.timestamps.is_some())
    }

    /// The first token that is a point in time, and whether such tokens are wanted.
    pub(crate) fn times(&self) -> Option<(u32, bool)> {
        self.first_timestamp
            .map(|first| (first, self.timestamps.is_some()))
    }

    /// How to search with beams; one beam means greedy choice.
    pub fn beam(&self) -> BeamOptions {
        self.beam
    }

    /// The lengths of the windows, beginning with the first.
    pub(crate) fn lengths(&self) -> WindowLengths {
        self.lengths
    }

    /// Whether a token is anything but a timestamp.
    pub fn is_text(&self, token: u32) -> bool {
        self.first_timestamp.is_none_or(|first| token < first)
    }
}

fn set_second(prompt: &mut Vec<Option<u32>>, id: Option<u32>) {
    match prompt.get_mut(1) {
        Some(place) => *place = id,
        None => prompt.push(id),
    }
}
