//! The rules by which a model's scores become tokens.
//!
//! A speech model gives a score to every token at every step; which token may be taken, with which
//! tokens the decoder starts, and when it stops, is written in two files beside the weights,
//! `generation_config.json` and `config.json`. This module reads them and answers with a [`Plan`]:
//! the prompt, the token ranges that are allowed, the tokens that end the text and the greatest
//! length.
//!
//! The reference is `transformers.WhisperForConditionalGeneration.generate`, version 5.23, for one
//! window, greedy, without timestamps; the order in which it consults its settings is kept, even
//! where it surprises, so that the same model gives the same tokens. Settings that would change the
//! scores in ways not supported here are refused, never ignored. Beams and sampling do not
//! apply to a greedy decoder and are not consulted.

mod file;
mod languages;
mod plan;

pub use file::GenerationConfig;
pub(crate) use plan::bare;
pub use plan::{GenerationOptions, Plan, Task};

/// Why a plan cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerationError {
    /// A file is not JSON of the expected shape.
    #[error("{file}: {source}; take the file that belongs to the model")]
    Json {
        /// `generation_config.json` or `config.json`.
        file: &'static str,
        /// What the parser met.
        source: serde_json::Error,
    },
    /// A setting is missing.
    #[error("{file}: {name} is missing; take the file that belongs to the model")]
    Missing {
        /// File that should hold it.
        file: &'static str,
        /// Name of the setting.
        name: &'static str,
    },
    /// A setting is wrong, or would change the scores in a way that is not supported.
    #[error("{file}: {name} is {value}: {cause}")]
    Setting {
        /// File that holds it.
        file: &'static str,
        /// Name of the setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        cause: String,
    },
    /// A language that the model has no token for.
    #[error("language {language:?} is not known to this model; it knows {known}")]
    Language {
        /// The language asked for.
        language: String,
        /// The model's languages.
        known: String,
    },
    /// A language or a task was asked of a model that has only one.
    #[error("this model knows English only; leave out the language and the task")]
    EnglishOnly,
    /// A task was asked for that the model's files do not give a token for.
    #[error(
        "the model's generation_config.json has no token for the task {0:?}; leave out the task"
    )]
    Task(&'static str),
    /// Prompt and new tokens do not fit the decoder.
    #[error(
        "a prompt of {prompt} tokens and {new} new ones exceed the decoder's {limit} positions; ask for fewer new tokens"
    )]
    Length {
        /// Tokens of the prompt.
        prompt: usize,
        /// New tokens asked for.
        new: usize,
        /// Positions that the decoder has, or the `max_length` in force.
        limit: usize,
    },
}
