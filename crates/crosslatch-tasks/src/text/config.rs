//! `generation_config.json` and `config.json` of a text model.
//!
//! The first file alone says how to generate, as in transformers; where a model has none, its place
//! is taken by the second. Settings that would change the tokens and are not supported are refused,
//! never ignored; those of drawing by chance matter only together with `do_sample`.

use serde_json::Value;

use crate::generation::GenerationError;
use crate::generation::settings::{GENERATION, MODEL, Settings, valid_id};
use crate::search::EarlyStopping;

/// What the files say about generating.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TextConfig {
    /// The decoder's first token.
    pub decoder_start_token_id: u32,
    /// Tokens that end a text.
    pub eos_token_ids: Vec<u32>,
    /// The one token that may follow the start.
    pub forced_bos_token_id: Option<u32>,
    /// The tokens of which one ends a text that reaches its greatest length.
    pub forced_eos_token_ids: Vec<u32>,
    /// Greatest number of tokens, the start included.
    pub max_length: Option<usize>,
    /// Greatest number of tokens after the start; takes precedence over `max_length`.
    pub max_new_tokens: Option<usize>,
    /// Least number of tokens, the start included.
    pub min_length: usize,
    /// Least number of tokens after the start.
    pub min_new_tokens: usize,
    /// No run of so many tokens comes twice; 0 for any.
    pub no_repeat_ngram_size: usize,
    /// No run of so many tokens of the source comes in the text; 0 for any.
    pub encoder_no_repeat_ngram_size: usize,
    /// Above 1, tokens of the text so far become less probable.
    pub repetition_penalty: f32,
    /// Above 1, tokens of the source become more probable.
    pub encoder_repetition_penalty: f32,
    /// Words that are never written.
    pub bad_words_ids: Vec<Vec<u32>>,
    /// Tokens never taken.
    pub suppress_tokens: Vec<u32>,
    /// Tokens not taken as the first one.
    pub begin_suppress_tokens: Vec<u32>,
    /// Hypotheses followed at once.
    pub num_beams: usize,
    /// How many of them are returned.
    pub num_return_sequences: usize,
    /// Exponent of the length in the score of a beam.
    pub length_penalty: f32,
    /// When a beam search stops.
    pub early_stopping: EarlyStopping,
    /// Positions of the model by its configuration, which bound a length that nobody set.
    pub max_position_embeddings: Option<usize>,
}

impl TextConfig {
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
        Ok(Self {
            decoder_start_token_id: start(file, &model)?,
            eos_token_ids: file.ids("eos_token_id")?.unwrap_or_default(),
            forced_bos_token_id: file.id("forced_bos_token_id")?,
            forced_eos_token_ids: file.ids("forced_eos_token_id")?.unwrap_or_default(),
            max_length: file.get("max_length")?,
            max_new_tokens: file.get("max_new_tokens")?,
            min_length: file.get("min_length")?.unwrap_or(0),
            min_new_tokens: file.get("min_new_tokens")?.unwrap_or(0),
            no_repeat_ngram_size: file.get("no_repeat_ngram_size")?.unwrap_or(0),
            encoder_no_repeat_ngram_size: file.get("encoder_no_repeat_ngram_size")?.unwrap_or(0),
            repetition_penalty: penalty(file, "repetition_penalty")?,
            encoder_repetition_penalty: penalty(file, "encoder_repetition_penalty")?,
            bad_words_ids: bad_words(file)?,
            suppress_tokens: file.ids("suppress_tokens")?.unwrap_or_default(),
            begin_suppress_tokens: file.ids("begin_suppress_tokens")?.unwrap_or_default(),
            num_beams: file.beams()?.unwrap_or(1),
            num_return_sequences: file.get("num_return_sequences")?.unwrap_or(1),
            length_penalty: file.get("length_penalty")?.unwrap_or(1.0),
            early_stopping: file.early_stopping()?,
            max_position_embeddings: model.get("max_position_embeddings")?,
        })
    }
}

/// The decoder's first token: its own setting, or else the one for the beginning of any text.
fn start(file: &Settings, model: &Settings) -> Result<u32, GenerationError> {
    for settings in [file, model] {
        for name in ["decoder_start_token_id", "bos_token_id"] {
            if let Some(id) = settings.id(name)? {
                return Ok(id);
            }
        }
    }
    Err(GenerationError::Missing {
        file: GENERATION,
        name: "decoder_start_token_id",
    })
}

fn penalty(file: &Settings, name: &'static str) -> Result<f32, GenerationError> {
    match file.get::<f32>(name)?.unwrap_or(1.0) {
        penalty if penalty > 0.0 && penalty.is_finite() => Ok(penalty),
        _ => Err(file.bad(name, "must be positive")),
    }
}

fn bad_words(file: &Settings) -> Result<Vec<Vec<u32>>, GenerationError> {
    let name = "bad_words_ids";
    let words = file.get::<Vec<Vec<i64>>>(name)?.unwrap_or_default();
    let ids = |word: Vec<i64>| match word.is_empty() {
        true => None,
        false => word.into_iter().map(valid_id).collect(),
    };
    words
        .into_iter()
        .map(|word| ids(word).ok_or_else(|| file.bad(name, "must be lists of token ids")))
        .collect()
}

/// Settings that change the tokens and are not implemented, unless they do nothing.
fn refuse_unsupported(file: &Settings) -> Result<(), GenerationError> {
    file.refuse_unless(&[
        ("guidance_scale", 1.0),
        ("num_beam_groups", 1.0),
        ("diversity_penalty", 0.0),
    ])?;
    for name in [
        "do_sample",
        "remove_invalid_values",
        "renormalize_logits",
        "token_healing",
        "low_memory",
        "is_assistant",
        "use_mtp",
    ] {
        if !matches!(file.value(name), None | Some(Value::Bool(false))) {
            return Err(file.unsupported(name));
        }
    }
    file.refuse(&[
        "sequence_bias",
        "exponential_decay_length_penalty",
        "penalty_alpha",
        "dola_layers",
        "constraints",
        "force_words_ids",
        "stop_strings",
        "max_time",
        "forced_decoder_ids",
        "watermarking_config",
        "prompt_lookup_num_tokens",
        "assistant_early_exit",
    ])
}
