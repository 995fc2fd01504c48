//! `generation_config.json` and `config.json`, as transformers writes them.
//!
//! Where a model has no `generation_config.json`, transformers takes the generation settings out of
//! `config.json`, and so does this reader.

use std::collections::BTreeMap;

use super::GenerationError;
use super::settings::{GENERATION, MODEL, Settings, valid_id};
use crate::search::EarlyStopping;

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
        let model = Settings::parse(MODEL, config)?;
        let parsed = generation
            .map(|text| Settings::parse(GENERATION, text))
            .transpose()?;
        let file = parsed.as_ref().unwrap_or(&model);
        refuse_unsupported(file)?;
        let forced = match forced_ids(file)? {
            Some(ids) => Some(ids),
            None => forced_ids(&model)?,
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

/// Pairs of position and token. transformers takes the positions 1, 2, … in order and refuses
/// a gap after them; a list that does not start at 1 is not used at all.
fn forced_ids(file: &Settings) -> Result<Option<Vec<Option<u32>>>, GenerationError> {
    let name = "forced_decoder_ids";
    let Some(pairs) = file.get::<Vec<(usize, Option<i64>)>>(name)? else {
        return Ok(None);
    };
    if pairs.first().is_some_and(|&(position, _)| position != 1) {
        return Ok(Some(Vec::new()));
    }
    let mut forced = Vec::with_capacity(pairs.len());
    for (i, (position, id)) in pairs.into_iter().enumerate() {
        if position != i + 1 {
            return Err(file.bad(name, format!("position {} is missing", i + 1)));
        }
        let id = match id {
            None => None,
            Some(id) => Some(valid_id(id).ok_or_else(|| file.bad(name, "holds no token id"))?),
        };
        forced.push(id);
    }
    Ok(Some(forced))
}

/// Settings that change the scores and are not implemented.
fn refuse_unsupported(file: &Settings) -> Result<(), GenerationError> {
    file.refuse_unless(&[
        ("repetition_penalty", 1.0),
        ("encoder_repetition_penalty", 1.0),
        ("guidance_scale", 1.0),
        ("no_repeat_ngram_size", 0.0),
        ("encoder_no_repeat_ngram_size", 0.0),
        ("min_length", 0.0),
        ("min_new_tokens", 0.0),
    ])?;
    file.refuse(&[
        "sequence_bias",
        "bad_words_ids",
        "forced_bos_token_id",
        "forced_eos_token_id",
        "exponential_decay_length_penalty",
    ])
}
