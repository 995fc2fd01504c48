//! Text to text with any model that can encode tokens and decode a step: translation, summaries,
//! answers.
//!
//! The way is short: text to tokens, one encoder run, a [search](crate::search), tokens to text. What
//! makes it long is that models differ in what has to be around the tokens (a language before or
//! behind the source, or as the first word of the text; a task in words) and in which texts they
//! must not write; their own files say so. The idea is the one of [`speech`](crate::speech): the loop
//! ([`TextPipeline`]) knows a model by a trait ([`TextModel`]), and everything that decides *what* to
//! decode comes from a [`TextPlan`], made of the model's files ([`TextConfig`]) and a caller's wishes
//! ([`GenerateOptions`]).
//!
//! The reference is `generate` of transformers (5.23) for encoder–decoder models.

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

use crate::generation::GenerationError;
use crate::search::{Decoder, SearchError};
use crate::tokenizer::TokenizerError;

/// What decoding needs of a text model: one encoder run per text, then decoder steps.
pub trait TextModel: Decoder {
    /// Encodes the tokens of a text, at least one, and starts a fresh decoder: no lane holds
    /// anything.
    ///
    /// # Errors
    /// Whatever the model's runtime reports.
    fn encode(&mut self, tokens: &[i64]) -> Result<(), Self::Error>;
}

/// How long what a model reads and writes may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Greatest number of tokens of a source; `None` for no limit.
    pub source: Option<usize>,
    /// Positions of the decoder; `None` for no limit. The last token of a text is not fed, so a text
    /// may be one token longer.
    pub positions: Option<usize>,
}

/// What a model wrote.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Generation {
    /// The text that it was given, without a prefix.
    pub source: String,
    /// What it wrote.
    #[serde(flatten)]
    pub best: Candidate,
    /// What it would rather have written next, best first; empty if nothing of the kind was asked.
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
    /// What beams are compared by: the sum of the tokens' log-probabilities, divided by their number
    /// to the power of the length penalty. Without beams, their mean log-probability.
    pub score: f32,
    /// Whether the model ended the text itself; `false` if the greatest length cut it off.
    pub complete: bool,
}

/// Why nothing can be written; `E` is the model's own error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError<E: std::error::Error + 'static> {
    /// The model cannot be used for text.
    #[error(transparent)]
    Model(E),
    /// The plan could not be made.
    #[error(transparent)]
    Generation(#[from] GenerationError),
    /// The text could not be turned into tokens, or back.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The text is longer than the model takes.
    #[error(
        "the text has {tokens} tokens, and the model takes at most {limit}; shorten it, or ask for it to be truncated"
    )]
    TooLong {
        /// Tokens of the text, with what the model puts around it.
        tokens: usize,
        /// The greatest number.
        limit: usize,
    },
    /// The tokenizer makes nothing of the text.
    #[error("the text has no tokens")]
    NoTokens,
    /// The encoder failed.
    #[error("the encoder failed: {0}")]
    Encoder(#[source] E),
    /// Nothing could be found.
    #[error(transparent)]
    Search(#[from] SearchError<E>),
}
