//! What a model's files and a caller's options have in common for speech and text.
//!
//! Which token the decoder starts with, which tokens may be taken, how to search and when to stop is
//! written in two files beside the weights, `generation_config.json` and `config.json`. They are
//! open-ended: one may carry dozens of settings that do not concern decoding. So each is read as a
//! JSON object and asked for [settings by name](settings), and what both kinds of model read alike is
//! read [once](DecodingConfig). What only one kind has stands with that kind:
//! [`WhisperConfig`](crate::speech::whisper::WhisperConfig) and [`TextConfig`](crate::text::TextConfig).
//!
//! The files are not trusted. A setting that would change the tokens and is not supported is refused,
//! never ignored ([`ConfigError`]). What a caller asks for and the model cannot do is an
//! [`OptionsError`].

mod decoding;
mod error;
mod languages;
mod settings;

pub(crate) use decoding::ConfigFiles;
pub use decoding::DecodingConfig;
pub use error::{ConfigError, OptionsError};
pub(crate) use languages::language_code;
pub(crate) use settings::{GENERATION, MODEL, Settings, valid_id};
