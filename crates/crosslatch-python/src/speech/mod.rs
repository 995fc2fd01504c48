//! Speech to text for Python: sound in, a transcript out while it is made.
//!
//! A `Transcriber` holds a model ([`model`]), takes sound in whatever form Python has it ([`sound`]),
//! and starts a transcription in a thread ([`transcription`]), whose segments and whole are plain
//! values ([`transcript`]).

mod model;
mod sound;
mod steps;
mod stream;
mod transcriber;
mod transcript;
mod transcription;

pub use sound::decode_audio;
pub use stream::{Stream, Update};
pub use transcriber::Transcriber;
pub use transcript::{Segment, Transcript, TranscriptionInfo, Word};
pub use transcription::{Deltas, Transcription};
