//! What `generation_config.json` and `config.json` of a text model say about generating.
//!
//! Settings that would change the tokens and are not supported are refused, never ignored. Those of
//! random sampling have an effect only together with `do_sample`, which is refused.

use serde_json::Value;

use crate::config::{ConfigError, ConfigFiles, DecodingConfig, GENERATION, Settings, valid_id};

/// What the two files of a text model say about generating.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TextConfig {
    /// What speech and text have in common.
    pub decoding: DecodingConfig,
    /// The only token that may follow the start.
    pub forced_bos_token_id: Option<u32>,
    /// The tokens one of which ends a text that reaches its greatest length.
    pub forced_eos_token_ids: Vec<u32>,
    /// Least number of tokens, the start included.
    pub min_length: usize,
    /// Least number of tokens after the start.
    pub min_new_tokens: usize,
    /// No run of so many tokens occurs twice; 0 allows any.
    pub no_repeat_ngram_size: usize,
    /// No run of so many tokens of the source occurs in the text; 0 allows any.
    pub encoder_no_repeat_ngram_size: usize,
    /// Above 1, tokens of the text so far become less probable.
    pub repetition_penalty: f32,
    /// Above 1, tokens of the source become more probable.
    pub encoder_repetition_penalty: f32,
    /// Words that are never written.
    pub bad_words_ids: Vec<Vec<u32>>,
    /// How many of the hypotheses are returned.
    pub num_return_sequences: usize,
    /// Number of the model's positions, which bounds the length where none is set.
    pub max_position_embeddings: Option<usize>,
}

impl TextConfig {
    /// Reads the contents of the two files; a model may lack the first.
    ///
    /// # Errors
    /// Any [`ConfigError`].
    pub fn from_json(generation: Option<&[u8]>, config: &[u8]) -> Result<Self, ConfigError> {
        let files = ConfigFiles::parse(generation, config)?;
        let file = files.generation();
        refuse_unsupported(file)?;
        // A text may also start with the token that begins any text.
        let start = files.start_token(&["decoder_start_token_id", "bos_token_id"], GENERATION);
        // A model of one stack starts with the text that it is given.
        let start = match files.model().get("is_encoder_decoder")? {
            Some(false) => start.unwrap_or(0),
            _ => start?,
        };
        let eos = file.ids("eos_token_id")?.unwrap_or_default();
        Ok(Self {
            decoding: files.decoding(start, eos)?,
            forced_bos_token_id: file.id("forced_bos_token_id")?,
            forced_eos_token_ids: file.ids("forced_eos_token_id")?.unwrap_or_default(),
            min_length: file.get("min_length")?.unwrap_or(0),
            min_new_tokens: file.get("min_new_tokens")?.unwrap_or(0),
            no_repeat_ngram_size: file.get("no_repeat_ngram_size")?.unwrap_or(0),
            encoder_no_repeat_ngram_size: file.get("encoder_no_repeat_ngram_size")?.unwrap_or(0),
            repetition_penalty: penalty(file, "repetition_penalty")?,
            encoder_repetition_penalty: penalty(file, "encoder_repetition_penalty")?,
            bad_words_ids: bad_words(file)?,
            num_return_sequences: file.get("num_return_sequences")?.unwrap_or(1),
            max_position_embeddings: files.model().get("max_position_embeddings")?,
        })
    }
}

fn penalty(file: &Settings, name: &'static str) -> Result<f32, ConfigError> {
    match file.get::<f32>(name)?.unwrap_or(1.0) {
        penalty if penalty > 0.0 && penalty.is_finite() => Ok(penalty),
        _ => Err(file.bad(name, "must be positive")),
    }
}

fn bad_words(file: &Settings) -> Result<Vec<Vec<u32>>, ConfigError> {
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

/// Refuses settings that change the tokens and are not implemented, unless they have no effect.
fn refuse_unsupported(file: &Settings) -> Result<(), ConfigError> {
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
