//! From settings and wishes to a prompt, allowed ranges and a length.
//!
//! Two ideas. The prompt is built exactly as `_retrieve_init_tokens` of transformers builds it:
//! start token; then the old `forced_decoder_ids` unless a language or a task is set; then the
//! language, appended or put in second place; then the task; then the no-timestamps token. A
//! language that is neither set nor forced is left open, to be detected from the sound. And a set
//! of suppressed tokens becomes a short list of *allowed ranges*, so that choosing a token walks
//! over plain slices, with no mask to add and no copy of the scores.

use std::ops::Range;

use super::languages::language_token;
use super::{GenerationConfig, GenerationError};

/// What to do with the speech.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Write it down in its own language.
    Transcribe,
    /// Write it down in English.
    Translate,
}

impl Task {
    /// The name that configuration files use.
    pub fn name(self) -> &'static str {
        match self {
            Task::Transcribe => "transcribe",
            Task::Translate => "translate",
        }
    }
}

/// What a caller may choose for one transcript; the default leaves everything to the model's files.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GenerationOptions {
    /// The language spoken, as `de`, `german` or `<|de|>`; `None` to detect it where the model can.
    pub language: Option<String>,
    /// The task; `None` for the model's own choice.
    pub task: Option<Task>,
    /// Greatest number of tokens a window; `None` for what the files say.
    pub max_new_tokens: Option<usize>,
}

/// How to decode one window.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The prompt; `None` at the place of the language, if it has to be detected.
    prompt: Vec<Option<u32>>,
    /// Languages to choose among: token and text. Empty if nothing has to be detected.
    languages: Vec<(u32, String)>,
    language: Option<String>,
    eos: Vec<u32>,
    allowed: Vec<Range<usize>>,
    allowed_first: Vec<Range<usize>>,
    max_length: usize,
    first_timestamp: Option<u32>,
}

impl GenerationConfig {
    /// The plan for one transcript.
    ///
    /// # Errors
    /// Every [`GenerationError`] but [`GenerationError::Json`] and [`GenerationError::Missing`].
    pub fn plan(&self, options: &GenerationOptions) -> Result<Plan, GenerationError> {
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
        if let Some(id) = self.no_timestamps_token_id
            && prompt.last() != Some(&Some(id))
        {
            prompt.push(Some(id));
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
        let mut first = self.suppress_tokens.clone();
        first.extend(&self.begin_suppress_tokens);
        Ok(Plan {
            max_length: self.total_length(prompt.len(), options)?,
            prompt,
            languages,
            language: token,
            eos: self.eos_token_ids.clone(),
            allowed: complement(self.suppress_tokens.clone()),
            allowed_first: complement(first),
            first_timestamp: self.no_timestamps_token_id.map(|id| id + 1),
        })
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

    /// Greatest number of tokens with the prompt, by the rules of
    /// `_set_max_new_tokens_and_length` and `_prepare_generated_length`: new tokens go first, then
    /// `max_length` *plus the prompt*, then the library's default of 20 new tokens.
    fn total_length(
        &self,
        prompt: usize,
        options: &GenerationOptions,
    ) -> Result<usize, GenerationError> {
        let limit = self.max_target_positions;
        let too_long = |new, limit| Err(GenerationError::Length { prompt, new, limit });
        let new_tokens = options.max_new_tokens.or(self.max_new_tokens);
        let total = match (new_tokens, self.max_length) {
            (Some(new), _) if new.saturating_add(prompt) > limit => return too_long(new, limit),
            (Some(new), _) => prompt + new,
            (None, Some(length)) => length.saturating_add(prompt.min(limit / 2 - 1)).min(limit),
            (None, None) => prompt + DEFAULT_NEW_TOKENS,
        };
        if prompt >= total || prompt >= limit {
            return too_long(total.saturating_sub(prompt).max(1), total.min(limit));
        }
        Ok(total.min(limit))
    }
}

/// What transformers generates where neither file nor caller sets a length.
const DEFAULT_NEW_TOKENS: usize = 20;

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

    /// Whether a token ends the text.
    pub fn ends(&self, token: u32) -> bool {
        self.eos.contains(&token)
    }

    /// Ranges of tokens that may be chosen, ascending, the last one open-ended; `first` for the
    /// first token after the prompt.
    pub fn allowed(&self, first: bool) -> &[Range<usize>] {
        if first {
            &self.allowed_first
        } else {
            &self.allowed
        }
    }

    /// Greatest number of tokens, those of the prompt included.
    pub fn max_length(&self) -> usize {
        self.max_length
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

/// Everything but `tokens`.
fn complement(mut tokens: Vec<u32>) -> Vec<Range<usize>> {
    tokens.sort_unstable();
    tokens.dedup();
    let mut ranges = Vec::with_capacity(tokens.len() + 1);
    let mut start = 0;
    for token in tokens {
        let token = token as usize;
        if token > start {
            ranges.push(start..token);
        }
        start = token + 1;
    }
    ranges.push(start..usize::MAX);
    ranges
}
