//! The two files of a model, and the settings of decoding that speech and text share.
//!
//! Where a model has no `generation_config.json`, transformers takes the generation settings out of
//! `config.json`, and so does this reader.

use super::settings::{GENERATION, MODEL, Settings};
use super::{ConfigError, OptionsError};
use crate::search::{BeamOptions, EarlyStopping};

/// Numbers of beams that make sense: each beam has a cache of its own.
const BEAMS: std::ops::RangeInclusive<usize> = 1..=64;

/// The settings of decoding that every encoder–decoder model has.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DecodingConfig {
    /// The decoder's first token.
    pub decoder_start_token_id: u32,
    /// Tokens that end a text.
    pub eos_token_ids: Vec<u32>,
    /// Tokens that are never taken.
    pub suppress_tokens: Vec<u32>,
    /// Tokens that are not taken as the first one.
    pub begin_suppress_tokens: Vec<u32>,
    /// Greatest number of tokens, those of the prompt included.
    pub max_length: Option<usize>,
    /// Greatest number of tokens after the prompt; takes precedence over `max_length`.
    pub max_new_tokens: Option<usize>,
    /// Number of beams.
    pub num_beams: Option<usize>,
    /// Exponent of the length in the score of a beam.
    pub length_penalty: f32,
    /// When a beam search stops.
    pub early_stopping: EarlyStopping,
}

impl DecodingConfig {
    /// How to search with the number of beams and the length penalty that a caller chose, or else
    /// with those of the file.
    pub(crate) fn beam_options(
        &self,
        beams: Option<usize>,
        length_penalty: Option<f32>,
    ) -> Result<BeamOptions, OptionsError> {
        let beams = beams.or(self.num_beams).unwrap_or(1);
        if !BEAMS.contains(&beams) {
            return Err(OptionsError::Beams {
                given: beams,
                most: *BEAMS.end(),
            });
        }
        Ok(BeamOptions {
            beams,
            length_penalty: length_penalty.unwrap_or(self.length_penalty),
            early_stopping: self.early_stopping,
        })
    }
}

/// `generation_config.json`, which not every model has, and `config.json`.
pub(crate) struct ConfigFiles {
    generation: Option<Settings>,
    model: Settings,
}

impl ConfigFiles {
    /// Parses the contents of the two files.
    pub fn parse(generation: Option<&[u8]>, model: &[u8]) -> Result<Self, ConfigError> {
        let model = Settings::parse(MODEL, model)?;
        let generation = generation.map(|text| Settings::parse(GENERATION, text));
        Ok(Self {
            generation: generation.transpose()?,
            model,
        })
    }

    /// The file that says how to generate.
    pub fn generation(&self) -> &Settings {
        self.generation.as_ref().unwrap_or(&self.model)
    }

    /// The file that says how the model is built.
    pub fn model(&self) -> &Settings {
        &self.model
    }

    /// The decoder's first token: the first of these settings that is there, in the first file that
    /// has one. If none is, the error names `expected_in` as the file that lacks it.
    pub fn start_token(
        &self,
        names: &[&'static str],
        expected_in: &'static str,
    ) -> Result<u32, ConfigError> {
        for file in [self.generation(), self.model()] {
            for name in names {
                if let Some(id) = file.id(name)? {
                    return Ok(id);
                }
            }
        }
        Err(ConfigError::Missing {
            file: expected_in,
            name: "decoder_start_token_id",
        })
    }

    /// The shared settings. Where the decoder starts and what ends a text is looked up in a
    /// different order for speech and for text, so the caller says it.
    pub fn decoding(
        &self,
        decoder_start_token_id: u32,
        eos_token_ids: Vec<u32>,
    ) -> Result<DecodingConfig, ConfigError> {
        let file = self.generation();
        Ok(DecodingConfig {
            decoder_start_token_id,
            eos_token_ids,
            suppress_tokens: file.ids("suppress_tokens")?.unwrap_or_default(),
            begin_suppress_tokens: file.ids("begin_suppress_tokens")?.unwrap_or_default(),
            max_length: file.get("max_length")?,
            max_new_tokens: file.get("max_new_tokens")?,
            num_beams: beams(file)?,
            length_penalty: file.get("length_penalty")?.unwrap_or(1.0),
            early_stopping: early_stopping(file)?,
        })
    }
}

fn beams(file: &Settings) -> Result<Option<usize>, ConfigError> {
    let name = "num_beams";
    match file.get::<usize>(name)? {
        Some(beams) if !BEAMS.contains(&beams) => {
            Err(file.bad(name, format!("must be 1 to {}", BEAMS.end())))
        }
        beams => Ok(beams),
    }
}

fn early_stopping(file: &Settings) -> Result<EarlyStopping, ConfigError> {
    use serde_json::Value;
    let name = "early_stopping";
    match file.value(name) {
        None | Some(Value::Bool(false)) => Ok(EarlyStopping::Heuristic),
        Some(Value::Bool(true)) => Ok(EarlyStopping::WhenFull),
        Some(Value::String(word)) if word == "never" => Ok(EarlyStopping::WhenHopeless),
        Some(_) => Err(file.bad(name, "must be true, false or \"never\"")),
    }
}
