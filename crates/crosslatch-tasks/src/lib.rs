//! Speech tasks around an encoder–decoder model: what comes before the encoder and what comes
//! after the decoder.
//!
//! A speech model takes a small matrix of numbers and gives back, token by token, a row of scores.
//! People have a sound file and want text. This crate is the way between: it reads the file
//! ([`audio`]), turns samples into the features that the model was trained on ([`features`]),
//! builds the prompt and the [`rules`] for choosing tokens from the model's own configuration files
//! ([`generation`]), finds the tokens ([`search`], which knows nothing of speech), runs the loop over
//! windows ([`speech`]), turns tokens into text ([`tokenizer`]) and writes text or subtitles
//! ([`subtitle`]).
//!
//! The idea is that every step has a published definition (Hugging Face's `transformers` for
//! Whisper) and that each module is tested against it with numbers that it produced. The model
//! itself is known only by the trait [`speech::SpeechModel`]: one encoder run a window, then
//! decoder steps. Nothing here knows what runs it.
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
pub mod tokenizer;

pub use audio::{Audio, AudioError};
pub use features::{FeatureError, LogMel};
pub use generation::{GenerationConfig, GenerationError, Task, TranscribeOptions};
pub use search::Decoder;
pub use speech::{Event, Segment, SpeechModel, SpeechPipeline, TranscribeError, Transcript};
pub use subtitle::Format;
pub use tokenizer::{TextTokenizer, TokenizerError};
