//! Text to text with any model that can encode tokens and decode a step: translation, summaries,
//! answers.
//!
//! The way is short: text to tokens, one encoder run, a [search](crate::search), tokens to text.
//! What makes it long is that models differ in what has to be around the tokens (a language before
//! or behind the source, or as the first word of the text; a task in words) and in what they must
//! not write; their own files say so. The idea is that of [`speech`](crate::speech): the loop
//! ([`TextPipeline`]) knows a model by a trait ([`TextModel`]), and everything that decides *what*
//! to decode comes from a [`TextPlan`], which is made of the model's files ([`TextConfig`]) and a
//! caller's options ([`GenerateOptions`]).
//!
//! A model of one stack has no encoder: the source is the beginning of what it writes.
//!
//! The reference is `generate` of transformers (5.23).

mod alignment;
mod batch;
mod config;
mod languages;
mod options;
mod pipeline;
mod plan;
mod source;

pub use config::TextConfig;
pub use options::GenerateOptions;
pub use pipeline::TextPipeline;
pub use plan::TextPlan;

use crate::config::{ConfigError, OptionsError};
use crate::search::{Decoder, SearchError};
use crate::tokenizer::TokenizerError;

/// A text model: one encoder run for each text, then decoder steps; or steps only.
pub trait TextModel: Decoder {
    /// Encodes the tokens of a text, at least one, and starts the decoder afresh: no sequence holds
    /// any token. A model that goes on with texts only does the latter; it is fed the tokens next.
    ///
    /// # Errors
    /// Whatever the model's runtime reports.
    fn encode(&mut self, tokens: &[i64]) -> Result<(), Self::Error>;
}

/// How long the texts that a model reads and writes may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TextLimits {
    /// Greatest number of tokens of a source; `None` for no limit.
    pub source: Option<usize>,
    /// Number of the decoder's positions; `None` for no limit. A text may be one token longer,
    /// because its last token is not fed.
    pub positions: Option<usize>,
    /// Whether the model goes on with the source, in place of reading it with an encoder and writing
    /// something else.
    pub goes_on: bool,
}

/// What a model wrote for a text.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Generation {
    /// The text that the model was given, without the prefix.
    pub source: String,
    /// The best text that it wrote.
    #[serde(flatten)]
    pub best: Candidate,
    /// The tokens of the source, with those that the model wants around them; `None` unless an alignment
    /// was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_tokens: Option<Vec<u32>>,
    /// The next best texts, best first; empty if none were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alternatives: Vec<Candidate>,
}

/// One text that a model wrote.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Candidate {
    /// The text.
    pub text: String,
    /// The tokens that the model chose, without start and end.
    pub tokens: Vec<u32>,
    /// With beams, what they are compared by: the sum of the tokens' log-probabilities, divided by
    /// their number to the power of the length penalty. Without beams, the mean log-probability.
    pub score: f32,
    /// Whether the model ended the text itself; `false` if it was cut off at the greatest length.
    pub complete: bool,
    /// For each token, the index of the token of the source that the model looked at most when it chose
    /// it; `None` unless it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alignment: Option<Vec<usize>>,
}

/// Why no text can be generated; `E` is the model's own error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError<E: std::error::Error + 'static> {
    /// The model cannot be used for text.
    #[error(transparent)]
    Model(E),
    /// A file of the model cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The model cannot do what the options ask for.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The text could not be turned into tokens, or back.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The text is longer than the model takes.
    #[error(
        "the text has {tokens} tokens, and the model takes at most {limit}; shorten it, or ask for it to be truncated"
    )]
    TooLong {
        /// Number of tokens, those that the model puts around the text included.
        tokens: usize,
        /// Greatest number of tokens.
        limit: usize,
    },
    /// The model cannot say where in the source it looks.
    #[error("the model cannot say where in the source it looks: {0}")]
    Unaligned(String),
    /// The tokenizer makes no token of the text.
    #[error("the text has no tokens")]
    NoTokens,
    /// The encoder failed.
    #[error("the encoder failed: {0}")]
    Encoder(#[source] E),
    /// The search failed.
    #[error(transparent)]
    Search(#[from] SearchError<E>),
}
