//! From settings and wishes to a prompt, rules and lengths.
//!
//! The prompt is built exactly as `_retrieve_init_tokens` of transformers builds it: start token;
//! then the old `forced_decoder_ids` unless a language or a task is set; then the language, appended
//! or put in second place; then the task; then, unless points in time are wanted, the no-timestamps
//! token. A language that is neither set nor forced is left open, to be detected from the sound.

use super::languages::language_token;
use super::settings::BEAMS;
use super::{GenerationConfig, GenerationError, Task, TranscribeOptions};
use crate::rules::{Rule, Suppress, Timestamps};
use crate::search::BeamOptions;

/// How to decode one transcript.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The prompt; `None` at the place of the language, if it has to be detected.
    prompt: Vec<Option<u32>>,
    /// Languages to choose among: token and text. Empty if nothing has to be detected.
    languages: Vec<(u32, String)>,
    language: Option<String>,
    eos: Vec<u32>,
    suppressed: Vec<u32>,
    suppressed_first: Vec<u32>,
    timestamps: Option<Timestamps>,
    lengths: Lengths,
    beam: BeamOptions,
    first_timestamp: Option<u32>,
}

/// How long a window's text may be. transformers raises `max_length` by the prompt of every window
/// anew and keeps the sum, so that this is a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lengths {
    max_length: usize,
    max_new_tokens: Option<usize>,
    limit: usize,
}

impl GenerationConfig {
    /// Whether the model has tokens for points in time.
    pub fn has_timestamps(&self) -> bool {
        let first = self.no_timestamps_token_id.map(|id| id as usize + 1);
        first.is_some_and(|first| self.vocab_size.is_none_or(|size| size > first))
    }

    /// The plan for one transcript; `is_long` says that the sound is longer than one window.
    ///
    /// # Errors
    /// Every [`GenerationError`] but [`GenerationError::Json`] and [`GenerationError::Missing`].
    pub fn plan(
        &self,
        options: &TranscribeOptions,
        is_long: bool,
    ) -> Result<Plan, GenerationError> {
        let timestamps = match options.timestamps {
            Some(true) if !self.has_timestamps() => return Err(GenerationError::NoTimestamps),
            Some(wanted) => wanted,
            None => self.has_timestamps() && (is_long || self.return_timestamps),
        };
        let beams = options.beam_size.or(self.num_beams).unwrap_or(1);
        if !BEAMS.contains(&beams) {
            return Err(GenerationError::Beams {
                given: beams,
                most: *BEAMS.end(),
            });
        }
        if self.is_multilingual == Some(false)
            && (options.language.is_some() || options.task.is_some())
        {
            return Err(GenerationError::EnglishOnly);
        }
        let language = options.language.as_deref().or(self.language.as_deref());
        let task = options.task.map(Task::name).or(self.task.as_deref());

        let mut prompt = vec![Some(self.decoder_start_token_id)];
        if language.is_none() && task.is_none() {
            let forced = self.forced_decoder_ids.iter().flatten();
            prompt.extend(forced);
        }
        let undefined = prompt.get(1).is_none_or(Option::is_none);
        let mut languages = Vec::new();
        let mut token = None;
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
            // Only the open place of the language, the second, stays.
            let mut place = 0;
            prompt.retain(|id| {
                place += 1;
                id.is_some() || place == 2
            });
        }
        // An end that is not known forbids nothing.
        let timestamps = timestamps.then(|| Timestamps {
            no_timestamps: self.no_timestamps_token_id.unwrap_or(u32::MAX - 1),
            eos: self.eos_token_ids.first().copied().unwrap_or(0),
            max_initial_index: self.max_initial_timestamp_index,
        });
        let plan = Plan {
            prompt,
            languages,
            language: token,
            eos: self.eos_token_ids.clone(),
            suppressed: self.suppress_tokens.clone(),
            suppressed_first: self.begin_suppress_tokens.clone(),
            timestamps,
            lengths: Lengths {
                max_length: self.max_length.unwrap_or(DEFAULT_MAX_LENGTH),
                max_new_tokens: options.max_new_tokens.or(self.max_new_tokens),
                limit: self.max_target_positions,
            },
            beam: BeamOptions {
                beams,
                length_penalty: self.length_penalty,
                early_stopping: self.early_stopping,
            },
            first_timestamp: self.no_timestamps_token_id.map(|id| id + 1),
        };
        plan.lengths().next(plan.prompt.len())?;
        Ok(plan)
    }

    fn language_id(&self, language: &str) -> Result<(String, u32), GenerationError> {
        let known = self.lang_to_id.as_ref();
        language_token(language)
            .and_then(|token| Some((known?.get(&token).copied()?, token)))
            .map(|(id, token)| (token, id))
            .ok_or_else(|| {
                let names = known.into_iter().flatten().map(|(name, _)| bare(name));
                let mut known = names.collect::<Vec<_>>().join(", ");
                if known.is_empty() {
                    known = "none by name (no lang_to_id in generation_config.json)".to_owned();
                }
                GenerationError::Language {
                    language: language.to_owned(),
                    known,
                }
            })
    }

    fn task_id(&self, task: &str) -> Result<u32, GenerationError> {
        let name = match task {
            "transcribe" => "transcribe",
            "translate" => "translate",
            other => {
                return Err(GenerationError::Setting {
                    file: "generation_config.json",
                    name: "task",
                    value: other.to_owned(),
                    cause: "must be transcribe or translate".to_owned(),
                });
            }
        };
        let known = self.task_to_id.as_ref().and_then(|tasks| tasks.get(name));
        known.copied().ok_or(GenerationError::Task(name))
    }
}

/// The `max_length` of transformers where neither file nor caller sets a length.
const DEFAULT_MAX_LENGTH: usize = 20;

impl Lengths {
    /// Greatest number of tokens of the next window, those of its prompt included, by the rules of
    /// `_set_max_new_tokens_and_length`: new tokens go first, then `max_length` *plus the prompt*.
    pub fn next(&mut self, prompt: usize) -> Result<usize, GenerationError> {
        let limit = self.limit;
        let too_long = |new, limit| Err(GenerationError::Length { prompt, new, limit });
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
        Ok(total)
    }
}

impl Plan {
    /// The prompt, with `language` (a token of [`Plan::languages`]) at the open place, if any.
    pub fn prompt(&self, language: Option<u32>) -> Vec<u32> {
        self.prompt
            .iter()
            .filter_map(|id| id.or(language))
            .collect()
    }

    /// Languages to detect among, token and text such as `<|en|>`; empty if there is no need.
    pub fn languages(&self) -> &[(u32, String)] {
        &self.languages
    }

    /// The language that the prompt names, such as `en`; `None` if it names none or it is open.
    pub fn language(&self) -> Option<&str> {
        self.language.as_deref().map(bare)
    }

    /// Tokens that end the text.
    pub fn eos(&self) -> &[u32] {
        &self.eos
    }

    /// Conditions on the next token, in the order in which transformers applies them.
    pub fn rules(&self) -> Vec<Box<dyn Rule>> {
        let mut rules: Vec<Box<dyn Rule>> = vec![
            Box::new(Suppress::first(self.suppressed_first.clone())),
            Box::new(Suppress::always(self.suppressed.clone())),
        ];
        if let Some(timestamps) = &self.timestamps {
            rules.push(Box::new(timestamps.clone()));
        }
        rules
    }

    /// The token that is time zero, if the text is to have points in time.
    pub fn time_zero(&self) -> Option<u32> {
        self.first_timestamp.filter(|_| self.timestamps.is_some())
    }

    /// How to search with several hypotheses; one beam is greedy choice.
    pub fn beam(&self) -> BeamOptions {
        self.beam
    }

    /// The lengths of windows, beginning with the first.
    pub(crate) fn lengths(&self) -> Lengths {
        self.lengths
    }

    /// Whether a token stands for text or a special token, not for a point in time.
    pub fn is_text(&self, token: u32) -> bool {
        self.first_timestamp.is_none_or(|first| token < first)
    }
}

/// `<|en|>` to `en`.
pub(crate) fn bare(token: &str) -> &str {
    token
        .strip_prefix("<|")
        .and_then(|t| t.strip_suffix("|>"))
        .unwrap_or(token)
}

fn set_second(prompt: &mut Vec<Option<u32>>, id: Option<u32>) {
    match prompt.get_mut(1) {
        Some(place) => *place = id,
        None => prompt.push(id),
    }
}
