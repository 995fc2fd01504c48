//! Sound to text with any model that can encode a window and decode a step.
//!
//! The problem is a loop: put a window on the sound, run the encoder once for it, let a
//! [search](crate::search) find the text, decide whether it is good enough, cut it into segments,
//! and place the next window. The idea is to keep the loop apart from whatever runs the model
//! ([`SpeechModel`]), and to keep everything that decides *what* to decode (the prompt, the tokens
//! that are allowed, the length) apart from the loop: that comes from a [`whisper::WhisperPlan`]. A
//! test drives the same loop with a scripted model.
//!
//! Assumed of the model: the scores of a step are finite for at least one allowed token. Scores
//! that are not numbers end the transcript with an error that says at which position.

mod batch;
mod channels;
mod clips;
mod context;
mod cursor;
mod fallback;
mod followed;
mod join;
mod live;
mod options;
mod pieces;
mod seek;
mod silence;
mod spoken;
mod transcribe;
#[doc(hidden)]
pub mod whisper;
mod window;
mod words;

pub use channels::transcribe_channels;
#[doc(hidden)]
pub use join::append as append_text;
pub use live::{SpeechStream, StreamUpdate, stream_events, transcript_event};
pub use options::{Task, TranscribeOptions, UnknownTask};
pub use transcribe::SpeechPipeline;

use crate::audio::AudioError;
use crate::config::{ConfigError, OptionsError};
use crate::features::FeatureError;
use crate::search::Decoder;
use crate::tokenizer::TokenizerError;
use crate::transcript::Segment;

/// A speech model: one encoder run for each window, then decoder steps.
pub trait SpeechModel: Decoder {
    /// Encodes one window of features, `[mels, frames]` in row-major order, and starts the decoder
    /// afresh: no sequence holds any token.
    ///
    /// # Errors
    /// Whatever the model's runtime reports.
    fn encode(&mut self, features: &[f32], mels: usize, frames: usize) -> Result<(), Self::Error>;
}

/// What an observer of a transcript in the making is told.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// How much of the sound is done.
    Progress {
        /// Seconds done.
        done: f64,
        /// Seconds in all.
        total: f64,
    },
    /// The language of the sound is known, before the first segment is decoded: those that the model
    /// found, most probable first; or the one that was asked for, or is the only one, as certain;
    /// or none, if the model's prompt names none.
    Languages(&'a [SpokenLanguage]),
    /// Text that follows all text before it, and will not change: whole letters. All such texts, joined,
    /// are the text of the transcript, and those of a segment come before it. Where nothing can refuse a
    /// window's text, they come as its tokens are decoded.
    Text(&'a str),
    /// A segment has been decoded and will not change.
    Segment(&'a Segment),
}

/// A language that may be spoken.
#[derive(Debug, Clone, PartialEq)]
pub struct SpokenLanguage {
    /// Its code, such as `en`.
    pub code: String,
    /// How probable it is among those that the model knows.
    pub probability: f32,
}

impl<E: std::error::Error + 'static> TranscribeError<E> {
    /// The error with other times, for a window in a piece of a longer sound.
    fn retimed(mut self, time: impl Fn(f64) -> f64) -> Self {
        if let TranscribeError::Encoder { seconds, .. }
        | TranscribeError::Decoder { seconds, .. }
        | TranscribeError::Scores { seconds, .. } = &mut self
        {
            *seconds = time(*seconds);
        }
        self
    }
}

/// Why a transcript cannot be made; `E` is the model's own error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TranscribeError<E: std::error::Error + 'static> {
    /// The model cannot be used for speech.
    #[error(transparent)]
    Model(E),
    /// The sound has no samples.
    #[error("there is no sound to transcribe; give at least one sample")]
    NoSound,
    /// The sound could not be brought to the rate at which speech is found in it.
    #[error(transparent)]
    Resample(AudioError),
    /// The features could not be computed.
    #[error(transparent)]
    Features(#[from] FeatureError),
    /// A file of the model cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The model cannot do what the options ask for.
    #[error(transparent)]
    Options(#[from] OptionsError),
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
    /// No token can be chosen by the scores of a step.
    #[error(
        "the model's scores at position {position} of the window at {seconds:.2} s {cause}; the model file is damaged, or its precision too low for it, or rules contradict each other"
    )]
    Scores {
        /// Where the window begins, in seconds.
        seconds: f64,
        /// Position of the token that was scored.
        position: usize,
        /// What is wrong with the scores.
        cause: &'static str,
    },
}
