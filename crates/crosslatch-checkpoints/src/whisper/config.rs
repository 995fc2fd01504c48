//! The sizes of a Whisper model, from its `config.json`.

use serde::Deserialize;

use crate::sizes::{check_caches, check_heads, check_layers, check_numbers};

/// What of `config.json` the programs depend on.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    pub d_model: usize,
    pub encoder_layers: usize,
    pub encoder_attention_heads: usize,
    pub encoder_ffn_dim: usize,
    pub decoder_layers: usize,
    pub decoder_attention_heads: usize,
    pub decoder_ffn_dim: usize,
    pub vocab_size: usize,
    pub num_mel_bins: usize,
    pub max_source_positions: usize,
    pub max_target_positions: usize,
    #[serde(default = "gelu")]
    pub activation_function: String,
    #[serde(default)]
    pub scale_embedding: bool,
}

fn gelu() -> String {
    "gelu".to_owned()
}

impl Config {
    /// Checks that the programs can be built, for a checkpoint with this many bytes of weights.
    ///
    /// # Errors
    /// What is not supported.
    pub fn check(&self, weights: usize) -> Result<(), String> {
        let numbers = [
            ("d_model", self.d_model),
            ("encoder_layers", self.encoder_layers),
            ("encoder_attention_heads", self.encoder_attention_heads),
            ("encoder_ffn_dim", self.encoder_ffn_dim),
            ("decoder_layers", self.decoder_layers),
            ("decoder_attention_heads", self.decoder_attention_heads),
            ("decoder_ffn_dim", self.decoder_ffn_dim),
            ("vocab_size", self.vocab_size),
            ("num_mel_bins", self.num_mel_bins),
            ("max_source_positions", self.max_source_positions),
            ("max_target_positions", self.max_target_positions),
        ];
        check_numbers(&numbers)?;
        check_layers(&[self.encoder_layers, self.decoder_layers])?;
        check_heads(
            self.d_model,
            [self.encoder_attention_heads, self.decoder_attention_heads],
        )?;
        let positions = self.max_source_positions + self.max_target_positions;
        check_caches(self.decoder_layers, positions, self.d_model, weights)?;
        match (self.activation_function.as_str(), self.scale_embedding) {
            ("gelu", false) => Ok(()),
            ("gelu", true) => Err("`scale_embedding` is not supported for Whisper".to_owned()),
            (other, _) => Err(format!("activation function `{other}` is not supported")),
        }
    }
}
