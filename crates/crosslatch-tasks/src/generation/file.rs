//! `generation_config.json` and `config.json`, as transformers writes them.
//!
//! Both files are open-ended: a model may carry dozens of settings that do not concern decoding.
//! So each is read as a JSON object and asked for names; absent and `null` mean the same. Where a
//! model has no `generation_config.json`, transformers takes the generation settings out of
//! `config.json`, and so does this reader.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::GenerationError;
use crate::search::EarlyStopping;

const GENERATION: &str = "generation_config.json";
const MODEL: &str = "config.json";

/// Token ids beyond this are no ids: no model has such a vocabulary, and memory may follow.
const MAX_ID: i64 = 1 << 24;

/// Beams that make sense: each has a cache of its own.
pub(super) const BEAMS: std::ops::RangeInclusive<usize> = 1..=64;

/// What transformers draws among where the file does not say.
const DEFAULT_TOP_K: usize = 50;

/// What the two files say about decoding.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct GenerationConfig {
    /// The decoder's first token.
    pub decoder_start_token_id: u32,
    /// Tokens that end the text.
    pub eos_token_ids: Vec<u32>,
    /// Deprecated form of the prompt: the tokens at positions 1, 2, …, `None` where one is to be
    /// detected.
    pub forced_decoder_ids: Option<Vec<Option<u32>>>,
    /// Token of each language, by its text such as `<|en|>`; `None` for an older or English model.
    pub lang_to_id: Option<BTreeMap<String, u32>>,
    /// Token of each task: `transcribe`, `translate`.
    pub task_to_id: Option<BTreeMap<String, u32>>,
    /// The token that says that no timestamps follow; larger ids are timestamps.
    pub no_timestamps_token_id: Option<u32>,
    /// Whether the model knows several languages.
    pub is_multilingual: Option<bool>,
    /// Language that the file presets.
    pub language: Option<String>,
    /// Task that the file presets.
    pub task: Option<String>,
    /// Tokens never taken.
    pub suppress_tokens: Vec<u32>,
    /// Tokens not taken as the first one.
    pub begin_suppress_tokens: Vec<u32>,
    /// The token that opens the text so far, before the start token.
    pub prev_sot_token_id: Option<u32>,
    /// Greatest point in time that may come first, in steps of 20 ms.
    pub max_initial_timestamp_index: Option<u32>,
    /// Whether the file asks for points in time.
    pub return_timestamps: bool,
    /// Whether the file asks for each window's prompt to be the text before it.
    pub condition_on_prev_tokens: bool,
    /// Thresholds that the file presets.
    pub compression_ratio_threshold: Option<f32>,
    /// See [`GenerationConfig::compression_ratio_threshold`].
    pub logprob_threshold: Option<f32>,
    /// See [`GenerationConfig::compression_ratio_threshold`].
    pub no_speech_threshold: Option<f32>,
    /// Beams that the file presets.
    pub num_beams: Option<usize>,
    /// Exponent of the length in the score of a beam.
    pub length_penalty: f32,
    /// When a beam search stops.
    pub early_stopping: EarlyStopping,
    /// Tokens drawn among, at temperatures above 0; 0 for all.
    pub top_k: usize,
    /// Greatest number of tokens with the prompt, as the file has it.
    pub max_length: Option<usize>,
    /// Greatest number of tokens after the prompt; takes precedence over `max_length`.
    pub max_new_tokens: Option<usize>,
    /// Positions that the decoder has.
    pub max_target_positions: usize,
    /// Tokens that the model scores; `None` if the file does not say.
    pub vocab_size: Option<usize>,
}

impl GenerationConfig {
    /// From the texts of the two files; the first is optional.
    ///
    /// # Errors
    /// [`GenerationError::Json`], [`GenerationError::Missing`] or [`GenerationError::Setting`].
    pub fn from_json(generation: Option<&[u8]>, config: &[u8]) -> Result<Self, GenerationError> {
        let model = File::parse(MODEL, config)?;
        let parsed = generation
            .map(|text| File::parse(GENERATION, text))
            .transpose()?;
        let file = parsed.as_ref().unwrap_or(&model);
        file.refuse_unsupported()?;
        let forced = match file.forced_ids()? {
            Some(ids) => Some(ids),
            None => model.forced_ids()?,
        };
        let max_target_positions =
            model
                .get::<usize>("max_target_positions")?
                .ok_or(GenerationError::Missing {
                    file: MODEL,
                    name: "max_target_positions",
                })?;
        if !(2..=1 << 20).contains(&max_target_positions) {
            return Err(model.bad("max_target_positions", "must be 2 to 2^20"));
        }
        Ok(Self {
            decoder_start_token_id: match file.id("decoder_start_token_id")? {
                Some(id) => id,
                None => model
                    .id("decoder_start_token_id")?
                    .ok_or(GenerationError::Missing {
                        file: MODEL,
                        name: "decoder_start_token_id",
                    })?,
            },
            eos_token_ids: match file.ids("eos_token_id")? {
                Some(ids) => ids,
                None => model.ids("eos_token_id")?.unwrap_or_default(),
            },
            forced_decoder_ids: forced,
            lang_to_id: file.id_map("lang_to_id")?,
            task_to_id: file.id_map("task_to_id")?,
            no_timestamps_token_id: file.id("no_timestamps_token_id")?,
            is_multilingual: file.get("is_multilingual")?,
            language: file.get("language")?,
            task: file.get("task")?,
            suppress_tokens: file.ids("suppress_tokens")?.unwrap_or_default(),
            begin_suppress_tokens: file.ids("begin_suppress_tokens")?.unwrap_or_default(),
            prev_sot_token_id: file.id("prev_sot_token_id")?,
            max_initial_timestamp_index: file.id("max_initial_timestamp_index")?,
            return_timestamps: file.get("return_timestamps")?.unwrap_or(false),
            condition_on_prev_tokens: file.get("condition_on_prev_tokens")?.unwrap_or(false),
            compression_ratio_threshold: file.get("compression_ratio_threshold")?,
            logprob_threshold: file.get("logprob_threshold")?,
            no_speech_threshold: file.get("no_speech_threshold")?,
            num_beams: file.beams()?,
            length_penalty: file.get("length_penalty")?.unwrap_or(1.0),
            early_stopping: file.early_stopping()?,
            top_k: file.get("top_k")?.unwrap_or(DEFAULT_TOP_K),
            max_length: file.get("max_length")?,
            max_new_tokens: file.get("max_new_tokens")?,
            max_target_positions,
            vocab_size: model.get("vocab_size")?,
        })
    }
}

/// One JSON object and its name in messages.
struct File {
    name: &'static str,
    fields: Map<String, Value>,
}

impl File {
    fn parse(name: &'static str, text: &[u8]) -> Result<Self, GenerationError> {
        let fields = serde_json::from_slice(text)
            .map_err(|source| GenerationError::Json { file: name, source })?;
        Ok(Self { name, fields })
    }

    fn value(&self, name: &str) -> Option<&Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    fn bad(&self, name: &'static str, cause: impl Into<String>) -> GenerationError {
        let mut value = self.value(name).map(Value::to_string).unwrap_or_default();
        if let Some((at, _)) = value.char_indices().nth(80) {
            value.truncate(at);
            value.push('…');
        }
        GenerationError::Setting {
            file: self.name,
            name,
            value,
            cause: cause.into(),
        }
    }

    fn get<T: DeserializeOwned>(&self, name: &'static str) -> Result<Option<T>, GenerationError> {
        self.value(name)
            .map(|value| T::deserialize(value).map_err(|e| self.bad(name, e.to_string())))
            .transpose()
    }

    fn id(&self, name: &'static str) -> Result<Option<u32>, GenerationError> {
        self.get::<i64>(name)?
            .map(|id| valid_id(id).ok_or_else(|| self.bad(name, "is no token id")))
            .transpose()
    }

    /// One id or a list; negative ones match no token and are dropped.
    fn ids(&self, name: &'static str) -> Result<Option<Vec<u32>>, GenerationError> {
        let list = match self.value(name) {
            Some(Value::Number(_)) => self.get::<i64>(name)?.map(|id| vec![id]),
            _ => self.get::<Vec<i64>>(name)?,
        };
        Ok(list.map(|ids| ids.into_iter().filter_map(valid_id).collect()))
    }

    fn id_map(&self, name: &'static str) -> Result<Option<BTreeMap<String, u32>>, GenerationError> {
        let Some(map) = self.get::<BTreeMap<String, i64>>(name)? else {
            return Ok(None);
        };
        map.into_iter()
            .map(|(key, id)| {
                let id = valid_id(id).ok_or_else(|| self.bad(name, format!("{key}: no token id")));
                Ok((key, id?))
            })
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// Pairs of position and token. transformers takes the positions 1, 2, … in order and refuses
    /// a gap after them; a list that does not start at 1 is not used at all.
    fn forced_ids(&self) -> Result<Option<Vec<Option<u32>>>, GenerationError> {
        let name = "forced_decoder_ids";
        let Some(pairs) = self.get::<Vec<(usize, Option<i64>)>>(name)? else {
            return Ok(None);
        };
        if pairs.first().is_some_and(|&(position, _)| position != 1) {
            return Ok(Some(Vec::new()));
        }
        let mut forced = Vec::with_capacity(pairs.len());
        for (i, (position, id)) in pairs.into_iter().enumerate() {
            if position != i + 1 {
                return Err(self.bad(name, format!("position {} is missing", i + 1)));
            }
            let id = match id {
                None => None,
                Some(id) => Some(valid_id(id).ok_or_else(|| self.bad(name, "holds no token id"))?),
            };
            forced.push(id);
        }
        Ok(Some(forced))
    }

    fn beams(&self) -> Result<Option<usize>, GenerationError> {
        let name = "num_beams";
        match self.get::<usize>(name)? {
            Some(beams) if !BEAMS.contains(&beams) => {
                Err(self.bad(name, format!("must be 1 to {}", BEAMS.end())))
            }
            beams => Ok(beams),
        }
    }

    fn early_stopping(&self) -> Result<EarlyStopping, GenerationError> {
        let name = "early_stopping";
        match self.value(name) {
            None | Some(Value::Bool(false)) => Ok(EarlyStopping::Heuristic),
            Some(Value::Bool(true)) => Ok(EarlyStopping::WhenFull),
            Some(Value::String(word)) if word == "never" => Ok(EarlyStopping::WhenHopeless),
            Some(_) => Err(self.bad(name, "must be true, false or \"never\"")),
        }
    }

    /// Settings that change the scores and are not implemented. Each has a value at which it does
    /// nothing.
    fn refuse_unsupported(&self) -> Result<(), GenerationError> {
        let neutral: &[(&'static str, f64)] = &[
            ("repetition_penalty", 1.0),
            ("encoder_repetition_penalty", 1.0),
            ("guidance_scale", 1.0),
            ("no_repeat_ngram_size", 0.0),
            ("encoder_no_repeat_ngram_size", 0.0),
            ("min_length", 0.0),
            ("min_new_tokens", 0.0),
        ];
        for &(name, nothing) in neutral {
            if self
                .value(name)
                .is_some_and(|value| value.as_f64() != Some(nothing))
            {
                return Err(self.bad(name, "is not supported; remove it from the file"));
            }
        }
        for name in [
            "sequence_bias",
            "bad_words_ids",
            "forced_bos_token_id",
            "forced_eos_token_id",
            "exponential_decay_length_penalty",
        ] {
            if self.value(name).is_some() {
                return Err(self.bad(name, "is not supported; remove it from the file"));
            }
        }
        Ok(())
    }
}

fn valid_id(id: i64) -> Option<u32> {
    (0..MAX_ID).contains(&id).then_some(id as u32)
}
