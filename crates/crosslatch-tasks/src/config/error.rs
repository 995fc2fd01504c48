//! The errors of a model's files and of a caller's options.

use crate::tokenizer::TokenizerError;

/// Why a model's `generation_config.json` or `config.json` cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file is not JSON of the expected shape.
    #[error("{file}: {source}; take the file that belongs to the model")]
    Json {
        /// Name of the file.
        file: &'static str,
        /// What the parser reported.
        source: serde_json::Error,
    },
    /// A setting is missing.
    #[error("{file}: {name} is missing; take the file that belongs to the model")]
    Missing {
        /// The file that should hold it.
        file: &'static str,
        /// Name of the setting.
        name: &'static str,
    },
    /// A setting is wrong, or would change the scores in a way that is not supported.
    #[error("{file}: {name} is {value}: {cause}")]
    Setting {
        /// The file that holds it.
        file: &'static str,
        /// Name of the setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        cause: String,
    },
}

/// Why a model cannot do what a caller's options ask for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// The model has no token for the language.
    #[error("language {language:?} is not known to this model; it knows {known}")]
    Language {
        /// The language asked for.
        language: String,
        /// The model's languages.
        known: String,
    },
    /// The language could be several of the model's.
    #[error("language {language:?} could be {known}; name one of them")]
    Ambiguous {
        /// The language asked for.
        language: String,
        /// The model's languages that it could be.
        known: String,
    },
    /// Another language, or a translation, was asked of a model that knows only English.
    #[error(
        "this model knows English only; take a model of several languages, or leave out the language and the task"
    )]
    EnglishOnly,
    /// The model's files give no token for the task.
    #[error(
        "the model's generation_config.json has no token for the task {0:?}; leave out the task"
    )]
    Task(&'static str),
    /// Timestamps were asked of a model that has no tokens for them.
    #[error("this model has no timestamp tokens; leave out the timestamps")]
    NoTimestamps,
    /// No beams, or too many.
    #[error("a beam search with {given} beams; ask for 1 to {most}")]
    Beams {
        /// Number of beams asked for.
        given: usize,
        /// Greatest number of beams.
        most: usize,
    },
    /// The prompt cannot be given to this model.
    #[error("the prompt cannot be used: {0}")]
    Prompt(String),
    /// Options that contradict each other, or a number that is out of range.
    #[error("{name}: {cause}")]
    Option {
        /// Name of the option.
        name: &'static str,
        /// What is wrong with it.
        cause: &'static str,
    },
    /// The grammar cannot be obeyed with the model's tokens.
    #[error(transparent)]
    Grammar(TokenizerError),
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
    /// A default that the model's file gives for an option cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
}
