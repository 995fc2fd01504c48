//! The sizes of a Whisper model, from its `config.json`.

use serde::Deserialize;

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

/// The largest number that a configuration may have: far above any model, far below an overflow.
const MOST: usize = 1 << 24;

/// Caches may take this many times the bytes of the weights (in real models, a fifth of them), and
/// these bytes beside.
const MOST_CACHES: usize = 4;
const FREE_CACHES: usize = 64 << 20;

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
        if let Some((name, n)) = numbers.iter().find(|(_, n)| !(1..=MOST).contains(n)) {
            return Err(format!("`{name}` is {n}; expected 1 to {MOST}"));
        }
        if self.encoder_layers > 1000 || self.decoder_layers > 1000 {
            return Err("there are more than 1000 layers".to_owned());
        }
        for (side, heads) in [
            ("encoder", self.encoder_attention_heads),
            ("decoder", self.decoder_attention_heads),
        ] {
            if !self.d_model.is_multiple_of(heads) {
                return Err(format!(
                    "`d_model` is {}, which {heads} {side} heads cannot share",
                    self.d_model
                ));
            }
        }
        // Caches are memory that a few numbers ask for, so the weights have to justify it.
        let positions = self.max_source_positions + self.max_target_positions;
        let caches = (2 * self.decoder_layers * size_of::<f32>())
            .checked_mul(positions)
            .and_then(|bytes| bytes.checked_mul(self.d_model));
        if caches.is_none_or(|bytes| bytes > MOST_CACHES * weights + FREE_CACHES) {
            return Err(format!(
                "the caches for {positions} positions need far more memory than the weights have"
            ));
        }
        match (self.activation_function.as_str(), self.scale_embedding) {
            ("gelu", false) => Ok(()),
            ("gelu", true) => Err("`scale_embedding` is not supported for Whisper".to_owned()),
            (other, _) => Err(format!("activation function `{other}` is not supported")),
        }
    }
}
