//! Sound to text with any model that can encode a window and decode a step.
//!
//! The problem is a loop: cut the sound into windows, run the encoder once for each, then ask the
//! decoder for one token after another until it says that the text has ended. The idea is to keep
//! the loop apart from whatever runs the model: [`SpeechModel`] has two methods, and everything
//! that decides *what* to decode (the prompt, the tokens that are allowed, the length) comes from a
//! [`Plan`](crate::generation::Plan). A test drives the same loop with a scripted model.
//!
//! In the steady loop nothing is allocated: the token list has its greatest length from the start
//! and scores are read where the model left them.
//!
//! Assumed of the model: the scores of a step are finite for at least one allowed token. Scores
//! that are not numbers end the transcript with an error that says at which position.

mod greedy;
mod join;
mod transcribe;

pub use transcribe::SpeechPipeline;

use crate::features::FeatureError;
use crate::generation::GenerationError;
use crate::tokenizer::TokenizerError;

/// What decoding needs of a speech model: one encoder run per window, then decoder steps.
pub trait SpeechModel {
    /// Why the model failed.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Encodes one window of features, `[mels, frames]` row-major, and starts a fresh decoder.
    ///
    /// # Errors
    /// Whatever the model's runtime reports.
    fn encode(&mut self, features: &[f32], mels: usize, frames: usize) -> Result<(), Self::Error>;

    /// Feeds `tokens` at positions `position..position + tokens.len()`, returns the logits of the
    /// last token, `[vocab]`.
    ///
    /// # Errors
    /// Whatever the model's runtime reports.
    fn decode(&mut self, tokens: &[i64], position: usize) -> Result<&[f32], Self::Error>;
}

/// The text of a sound, whole and in pieces.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Transcript {
    /// The whole text.
    pub text: String,
    /// Language spoken, as its code such as `en`; `None` if the model's prompt names none.
    pub language: Option<String>,
    /// Length of the sound in seconds.
    pub duration: f64,
    /// One segment a window, in order of time.
    pub segments: Vec<Segment>,
}

/// The text of one window.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Segment {
    /// Where the window begins, in seconds.
    pub start: f64,
    /// Where the window, or the sound in it, ends, in seconds.
    pub end: f64,
    /// The text, without space around it.
    pub text: String,
    /// The tokens that the model chose, without prompt and end.
    pub tokens: Vec<u32>,
    /// Mean natural logarithm of the probability of each token chosen, the end included.
    pub avg_logprob: f32,
    /// Whether the model ended the text itself; `false` if the greatest length cut it off.
    pub complete: bool,
}

/// Why a transcript cannot be made; `E` is the model's own error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TranscribeError<E: std::error::Error + 'static> {
    /// The sound has no samples.
    #[error("there is no sound to transcribe; give at least one sample")]
    NoSound,
    /// The features could not be computed.
    #[error(transparent)]
    Features(#[from] FeatureError),
    /// The plan could not be made.
    #[error(transparent)]
    Generation(#[from] GenerationError),
    /// The tokens could not be turned into text.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The encoder failed.
    #[error("the encoder failed on the window at {seconds:.2} s: {source}")]
    Encoder {
        /// Where the window begins, in seconds.
        seconds: f64,
        /// What the model's runtime reported.
        source: E,
    },
    /// The decoder failed.
    #[error("the decoder failed at position {position} of the window at {seconds:.2} s: {source}")]
    Decoder {
        /// Where the window begins, in seconds.
        seconds: f64,
        /// Position of the first token fed.
        position: usize,
        /// What the model's runtime reported.
        source: E,
    },
    /// The scores of a step cannot be chosen from.
    #[error(
        "the model's scores at position {position} of the window at {seconds:.2} s {cause}; the model file is damaged, or its precision too low for it"
    )]
    Scores {
        /// Where the window begins, in seconds.
        seconds: f64,
        /// Position of the token whose scores they are.
        position: usize,
        /// What is wrong with them.
        cause: &'static str,
    },
}
