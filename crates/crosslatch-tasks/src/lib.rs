//! Speech to text and text to text with models that Crosslatch runs.
//!
//! ```
//! use crosslatch::{Model, Options};
//! use crosslatch_tasks::{ExportedSpeechModel, Format, TranscribeOptions, audio, speech_pipeline};
//!
//! // One file holds the weights, and beside them the files that say how to use them.
//! let model = Model::open("../../demo/model.pt2")?;
//! let pipeline = speech_pipeline(&model)?;
//! let mut session = ExportedSpeechModel::new(&model, Options::default())?;
//!
//! // A sound file becomes segments of text, and these become subtitles.
//! let sound = audio::read_file("../../demo/samples/light.wav", pipeline.sample_rate())?;
//! let options = TranscribeOptions {
//!     format: Format::Srt,
//!     ..TranscribeOptions::default()
//! };
//! let transcript = pipeline.transcribe(&mut session, &sound.samples, &options)?;
//! for segment in &transcript.segments {
//!     println!("{:.2} to {:.2} s: {}", segment.start, segment.end, segment.text);
//! }
//! let subtitles = Format::Srt.write(&transcript);
//! assert!(subtitles.starts_with("1\n00:00:00,000 --> 00:00:0"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A speech model takes a small matrix of numbers and gives back, token by token, a row of scores;
//! people have a sound file and want text. This crate is the way between the two. It reads the file
//! ([`audio`]), turns samples into the features that the model was trained on ([`LogMel`]), reads
//! the model's own files and makes the prompt and the rules for choosing tokens of them, finds the
//! tokens ([`search`], which knows nothing of speech), runs the loop over windows ([`speech`]),
//! turns tokens into text ([`TextTokenizer`]), and writes text or subtitles ([`Format`]). A text
//! model takes tokens, so the way there and back is shorter ([`text`]); rules and search are the
//! same.
//!
//! The idea is that every step has a published definition (Hugging Face's `transformers`) and that
//! each module is tested against numbers that it produced. The model itself is known only by the
//! traits [`SpeechModel`] and [`TextModel`]: one encoder run for each window or text, then decoder
//! steps. [`ExportedSpeechModel`] and [`ExportedTextModel`] implement them with the engine's
//! sessions.
//!
//! Files and configurations are not trusted: every failure is an error value that says which file,
//! why and what to do. Nothing here prints or ends the process.

#![forbid(unsafe_code)]

pub mod audio;
#[doc(hidden)]
pub mod config;
mod exported;
#[doc(hidden)]
pub mod features;
mod grammar;
#[doc(hidden)]
pub mod rules;
pub mod search;
pub mod speech;
mod subtitles;
pub mod text;
mod tokenizer;
mod transcript;
mod voice;

pub use audio::{Audio, AudioError};
pub use config::{ConfigError, OptionsError};
pub use exported::{
    BatchError, ExportedError, ExportedModel, ExportedSpeechModel, ExportedTextModel, SpeechSource,
    StepBatcher, speech_pipeline, text_pipeline,
};
pub use features::{FeatureError, LogMel};
pub use grammar::{Grammar, GrammarError};
pub use search::{Decoder, Feed, HeadWeights};
pub use speech::{
    Event, SpeechModel, SpeechPipeline, SpeechStream, SpokenLanguage, StreamUpdate, Task,
    TranscribeError, TranscribeOptions, UnknownTask, whisper::WhisperConfig,
};
pub use subtitles::{Format, Style, UnknownFormat, Writer, clock};
pub use text::{
    Candidate, GenerateError, GenerateOptions, Generation, TextConfig, TextLimits, TextModel,
    TextPipeline,
};
pub use tokenizer::{TextTokenizer, TokenizerError};
pub use transcript::{Segment, Transcript, Word};
pub use voice::{Voice, VoiceFilter};
