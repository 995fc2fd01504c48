//! Tasks around an encoder–decoder model: what comes before the encoder and what comes after the
//! decoder.
//!
//! A speech model takes a small matrix of numbers and gives back, token by token, a row of scores.
//! People have a sound file and want text. This crate is the way between: it reads the file
//! ([`audio`]), turns samples into the features that the model was trained on ([`features`]),
//! builds the prompt and the [`rules`] for choosing tokens from the model's own configuration files
//! ([`generation`]), finds the tokens ([`search`], which knows nothing of speech), runs the loop over
//! windows ([`speech`]), turns tokens into text ([`tokenizer`]) and writes text or subtitles
//! ([`subtitle`]). A text model takes tokens, and the way there and back is shorter ([`text`]); rules
//! and search are the same.
//!
//! The idea is that every step has a published definition (Hugging Face's `transformers` for
//! Whisper) and that each module is tested against it with numbers that it produced. The model
//! itself is known only by the traits [`speech::SpeechModel`] and [`text::TextModel`]: one encoder run
//! a window or a text, then decoder steps. Only [`exported`] knows what runs it.
//!
//! Files and configurations are treated as written by an enemy: every failure is an error value
//! that says which file, why and what to do; nothing here prints or ends the process.

#![forbid(unsafe_code)]

pub mod audio;
pub mod exported;
pub mod features;
pub mod generation;
pub mod rules;
pub mod search;
pub mod speech;
pub mod subtitle;
pub mod text;
pub mod tokenizer;

pub use audio::{Audio, AudioError};
pub use features::{FeatureError, LogMel};
pub use generation::{GenerationConfig, GenerationError, Task, TranscribeOptions};
pub use search::{Decoder, Feed};
pub use speech::{Event, Segment, SpeechModel, SpeechPipeline, TranscribeError, Transcript};
pub use subtitle::Format;
pub use text::{
    Candidate, GenerateError, GenerateOptions, Generation, Limits, TextConfig, TextModel,
    TextPipeline,
};
pub use tokenizer::{TextTokenizer, TokenizerError};
