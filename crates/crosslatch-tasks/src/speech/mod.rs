//! Sound to text with any model that can encode a window and decode a step.
//!
//! The problem is a loop: put a window on the sound, run the encoder once for it, let a
//! [search](crate::search) find the text, decide whether it is good enough, cut it into segments, and
//! place the next window. The idea is to keep the loop apart from whatever runs the model
//! ([`SpeechModel`]), and everything that decides *what* to decode (the prompt, the tokens that are
//! allowed, the length) apart from the loop: it comes from a [`Plan`](crate::generation::Plan). A
//! test drives the same loop with a scripted model.
//!
//! Assumed of the model: the scores of a step are finite for at least one allowed token. Scores
//! that are not numbers end the transcript with an error that says at which position.

mod batch;
mod context;
mod fallback;
mod join;
mod seek;
mod silence;
mod transcribe;
mod window;

pub use join::append as append_text;
pub use transcribe::SpeechPipeline;

use crate::features::FeatureError;
use crate::generation::GenerationError;
use crate::search::Decoder;
use crate::tokenizer::TokenizerError;

/// What decoding needs of a speech model: one encoder run per window, then decoder steps.
pub trait SpeechModel: Decoder {
    /// Encodes one window of features, `[mels, frames]` row-major, and starts a fresh decoder: no
    /// lane holds anything.
    ///
    /// # Errors
    /// Whatever the model's runtime reports.
    fn encode(&mut self, features: &[f32], mels: usize, frames: usize) -> Result<(), Self::Error>;
}

/// What happens while a transcript is made.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// So many seconds of all are done.
    Progress {
        /// Seconds done.
        done: f64,
        /// Seconds in all.
        total: f64,
    },
    /// A segment has been decoded and will not change.
    Segment(&'a Segment),
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
    /// Segments in order of time: between points in time where the model writes them, else one a
    /// window.
    pub segments: Vec<Segment>,
}

/// The text of one window, or of a part of it between two points in time.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Segment {
    /// Where it begins, in seconds.
    pub start: f64,
    /// Where it, or the sound in it, ends, in seconds.
    pub end: f64,
    /// The text, without space around it.
    pub text: String,
    /// The tokens that the model chose, without prompt and end, with points in time.
    pub tokens: Vec<u32>,
    /// Mean natural logarithm of the probability of each token of the window, the end included.
    pub avg_logprob: f32,
    /// How well the window's tokens can be compressed; high for a text that repeats itself.
    pub compression_ratio: f32,
    /// Probability that nothing is spoken in the window; `None` if no threshold asks for it.
    pub no_speech_prob: Option<f32>,
    /// Temperature at which the window was decoded; 0 if nothing was left to chance.
    pub temperature: f32,
    /// Whether the model ended the text itself, or closed it with a point in time; `false` if the
    /// greatest length cut it off.
    pub complete: bool,
}

impl<E: std::error::Error + 'static> TranscribeError<E> {
    /// The same error in a sound that began so many seconds earlier.
    fn later(mut self, by: f64) -> Self {
        if let TranscribeError::Encoder { seconds, .. }
        | TranscribeError::Decoder { seconds, .. }
        | TranscribeError::Scores { seconds, .. } = &mut self
        {
            *seconds += by;
        }
        self
    }
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
