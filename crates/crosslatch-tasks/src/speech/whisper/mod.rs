//! What is particular to Whisper: its files, its prompt, its timestamps.
//!
//! A Whisper model is told what to do by the first tokens that its decoder is given: start,
//! language, task, and whether to write timestamps. Its own files say which tokens these are, which
//! tokens may be taken, and when to stop. This module reads the files ([`WhisperConfig`]), adds a
//! caller's
//! [options](crate::TranscribeOptions), and answers with a [`WhisperPlan`]: the prompt, the
//! [rules](crate::rules), the tokens that end the text, and the lengths. One of the rules is
//! Whisper's own: it says where [timestamps](Timestamps) may stand.
//!
//! The reference is `transformers.WhisperForConditionalGeneration.generate`, version 5.23. The
//! order in which it consults its settings is kept, even where it surprises, so that the same model
//! gives the same tokens. `do_sample`, `temperature` and `top_p` are not consulted: temperatures
//! are the caller's.

mod config;
mod languages;
mod plan;
mod timestamps;

pub use config::{WhisperConfig, alignment_heads};
pub(crate) use languages::code_of;
pub use plan::WhisperPlan;
pub(crate) use plan::WindowLengths;
pub use timestamps::Timestamps;
