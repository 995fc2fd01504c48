//! What a Whisper model's own files say about decoding.
//!
//! With which tokens the decoder starts, which tokens may be taken, and when it stops, is written in
//! two files beside the weights, `generation_config.json` and `config.json`. This module reads them,
//! adds a caller's wishes ([`TranscribeOptions`]) and answers with a [`Plan`]: the prompt, the
//! [rules](crate::rules), the tokens that end the text and the lengths.
//!
//! The reference is `transformers.WhisperForConditionalGeneration.generate`, version 5.23; the order
//! in which it consults its settings is kept, even where it surprises, so that the same model gives
//! the same tokens. Settings that would change the scores in ways not supported here are refused,
//! never ignored. `do_sample`, `temperature` and `top_p` are not consulted: temperatures are the
//! caller's.

mod file;
mod languages;
mod options;
mod plan;
pub(crate) mod settings;

pub use file::GenerationConfig;
pub(crate) use languages::language_code;
pub use options::{Task, TranscribeOptions};
pub use plan::Plan;
pub(crate) use plan::{Lengths, bare};

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
    /// A language that could be several of the model's.
    #[error("language {language:?} could be {known}; name one of them")]
    Ambiguous {
        /// The language asked for.
        language: String,
        /// The model's languages that it could be.
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
    /// Timestamps were asked of a model that has no tokens for them.
    #[error("this model has no tokens for points in time; leave out the timestamps")]
    NoTimestamps,
    /// No or too many beams.
    #[error("a beam search with {given} beams; ask for 1 to {most}")]
    Beams {
        /// Beams asked for.
        given: usize,
        /// Greatest number.
        most: usize,
    },
    /// A prompt that cannot be given to this model.
    #[error("the prompt cannot be used: {0}")]
    Prompt(String),
    /// Options that contradict each other, or a number out of range.
    #[error("{name}: {cause}")]
    Option {
        /// Name of the option.
        name: &'static str,
        /// What is wrong with it.
        cause: &'static str,
    },
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
