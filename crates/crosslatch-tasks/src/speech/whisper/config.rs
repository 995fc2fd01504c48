//! What `generation_config.json` and `config.json` of a Whisper model say about decoding.

use std::collections::BTreeMap;

use crate::config::{
    ConfigError, ConfigFiles, DecodingConfig, GENERATION, MODEL, Settings, valid_id,
};

/// The `top_k` of transformers where the file gives none.
const DEFAULT_TOP_K: usize = 50;

/// Whisper's own width of the median filter, and the greatest that makes sense.
const DEFAULT_FILTER: usize = 7;
const WIDEST_FILTER: usize = 99;

/// More heads than any model is aligned by.
const MOST_HEADS: usize = 1 << 12;

/// What the two files of a Whisper model say about decoding.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct WhisperConfig {
    /// What speech and text have in common.
    pub decoding: DecodingConfig,
    /// The deprecated form of the prompt: the tokens at positions 1, 2, …, with `None` for one that
    /// has to be detected.
    pub forced_decoder_ids: Option<Vec<Option<u32>>>,
    /// Token of each language by its text, such as `<|en|>`; `None` for old and for English models.
    pub lang_to_id: Option<BTreeMap<String, u32>>,
    /// Token of each task, `transcribe` and `translate`.
    pub task_to_id: Option<BTreeMap<String, u32>>,
    /// The token that says that no timestamps follow; larger ids are timestamps.
    pub no_timestamps_token_id: Option<u32>,
    /// Whether the model knows several languages.
    pub is_multilingual: Option<bool>,
    /// Default language.
    pub language: Option<String>,
    /// Default task.
    pub task: Option<String>,
    /// The token that opens the text so far, which stands before the start token.
    pub prev_sot_token_id: Option<u32>,
    /// Latest timestamp that may come first, in steps of 20 ms.
    pub max_initial_timestamp_index: Option<u32>,
    /// No run of so many tokens may occur twice; 0 for any.
    pub no_repeat_ngram_size: usize,
    /// Whether timestamps are written by default.
    pub return_timestamps: bool,
    /// Whether each window's prompt is the text before it by default.
    pub condition_on_prev_tokens: bool,
    /// Default of [`TranscribeOptions::compression_ratio_threshold`].
    ///
    /// [`TranscribeOptions::compression_ratio_threshold`]:
    /// crate::TranscribeOptions::compression_ratio_threshold
    pub compression_ratio_threshold: Option<f32>,
    /// Default of the threshold of the same name.
    pub logprob_threshold: Option<f32>,
    /// Default of the threshold of the same name.
    pub no_speech_threshold: Option<f32>,
    /// At temperatures above 0, only so many of the best tokens are drawn from; 0 stands for all.
    pub top_k: usize,
    /// Number of the decoder's positions.
    pub max_target_positions: usize,
    /// Number of tokens that the model scores; `None` if the file does not say.
    pub vocab_size: Option<usize>,
    /// How many neighbouring positions of the sound the median is taken of when words are given
    /// times; an odd number.
    pub median_filter_width: usize,
}

impl WhisperConfig {
    /// Reads the contents of the two files; a model may lack the first.
    ///
    /// # Errors
    /// Any [`ConfigError`].
    pub fn from_json(generation: Option<&[u8]>, config: &[u8]) -> Result<Self, ConfigError> {
        let files = ConfigFiles::parse(generation, config)?;
        let (file, model) = (files.generation(), files.model());
        refuse_unsupported(file)?;
        let forced = match forced_ids(file)? {
            Some(ids) => Some(ids),
            None => forced_ids(model)?,
        };
        let positions = "max_target_positions";
        let max_target_positions = model.get::<usize>(positions)?;
        let max_target_positions = max_target_positions.ok_or(ConfigError::Missing {
            file: MODEL,
            name: positions,
        })?;
        if !(2..=1 << 20).contains(&max_target_positions) {
            return Err(model.bad(positions, "must be 2 to 2^20"));
        }
        let start = files.start_token(&["decoder_start_token_id"], MODEL)?;
        let eos = match file.ids("eos_token_id")? {
            Some(ids) => ids,
            None => model.ids("eos_token_id")?.unwrap_or_default(),
        };
        Ok(Self {
            decoding: files.decoding(start, eos)?,
            forced_decoder_ids: forced,
            lang_to_id: file.id_map("lang_to_id")?,
            task_to_id: file.id_map("task_to_id")?,
            no_timestamps_token_id: file.id("no_timestamps_token_id")?,
            is_multilingual: file.get("is_multilingual")?,
            language: file.get("language")?,
            task: file.get("task")?,
            prev_sot_token_id: file.id("prev_sot_token_id")?,
            max_initial_timestamp_index: file.id("max_initial_timestamp_index")?,
            no_repeat_ngram_size: file.get("no_repeat_ngram_size")?.unwrap_or(0),
            return_timestamps: file.get("return_timestamps")?.unwrap_or(false),
            condition_on_prev_tokens: file.get("condition_on_prev_tokens")?.unwrap_or(false),
            compression_ratio_threshold: file.get("compression_ratio_threshold")?,
            logprob_threshold: file.get("logprob_threshold")?,
            no_speech_threshold: file.get("no_speech_threshold")?,
            top_k: file.get("top_k")?.unwrap_or(DEFAULT_TOP_K),
            max_target_positions,
            vocab_size: model.get("vocab_size")?,
            median_filter_width: median_filter_width(model)?,
        })
    }
}

/// The heads of the decoder's cross-attention that follow the sound, each as layer and head from 0, by
/// the contents of `generation_config.json`; `None` if it does not say.
///
/// # Errors
/// If the file or the setting is malformed.
pub fn alignment_heads(
    generation: Option<&[u8]>,
) -> Result<Option<Vec<(usize, usize)>>, ConfigError> {
    let Some(generation) = generation else {
        return Ok(None);
    };
    let name = "alignment_heads";
    let file = Settings::parse(GENERATION, generation)?;
    let heads = file.get::<Vec<(usize, usize)>>(name)?;
    match heads {
        Some(heads) if heads.len() > MOST_HEADS => Err(file.bad(name, "has too many entries")),
        heads => Ok(heads.filter(|heads| !heads.is_empty())),
    }
}

fn median_filter_width(model: &Settings) -> Result<usize, ConfigError> {
    let name = "median_filter_width";
    match model.get::<usize>(name)?.unwrap_or(DEFAULT_FILTER) {
        width if width % 2 == 1 && width <= WIDEST_FILTER => Ok(width),
        _ => Err(model.bad(name, format!("must be odd and at most {WIDEST_FILTER}"))),
    }
}

/// Reads pairs of position and token. transformers takes the positions 1, 2, … in order and refuses
/// a gap between them; a list that does not start at 1 is not used at all.
fn forced_ids(file: &Settings) -> Result<Option<Vec<Option<u32>>>, ConfigError> {
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
            Some(id) => Some(
                valid_id(id)
                    .ok_or_else(|| file.bad(name, "has an entry that is not a token id"))?,
            ),
        };
        forced.push(id);
    }
    Ok(Some(forced))
}

/// Refuses settings that change the scores and are not implemented.
fn refuse_unsupported(file: &Settings) -> Result<(), ConfigError> {
    file.refuse_unless(&[
        ("repetition_penalty", 1.0),
        ("encoder_repetition_penalty", 1.0),
        ("guidance_scale", 1.0),
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
