//! T5: the first version, with plain feed-forward parts, and v1.1, flan and mT5, with gated ones.

use serde::Deserialize;

use super::architecture::{
    Architecture, Embeddings, InnerNames, Names, NormKind, Positions, Stack,
};
use crate::layers::{Activation, Biases, Buckets, Place};
use crate::sizes::{check_caches, check_layers, check_numbers};

/// Which of the two whose configurations are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    T5,
    /// Never scales its output.
    MT5,
}

const ENCODER_INNER: InnerNames = InnerNames {
    up: "layer.1.DenseReluDense.wi",
    gate: None,
    down: "layer.1.DenseReluDense.wo",
    norm: "layer.1.layer_norm",
};

const DECODER_INNER: InnerNames = InnerNames {
    up: "layer.2.DenseReluDense.wi",
    gate: None,
    down: "layer.2.DenseReluDense.wo",
    norm: "layer.2.layer_norm",
};

const NAMES: Names = Names {
    layers: "block",
    own: "layer.0.SelfAttention",
    own_norm: "layer.0.layer_norm",
    cross: "layer.1.EncDecAttention",
    cross_norm: "layer.1.layer_norm",
    projections: ["q", "k", "v", "o"],
    encoder_inner: ENCODER_INNER,
    decoder_inner: DECODER_INNER,
    output_norm: "final_layer_norm",
};

const GATED_NAMES: Names = Names {
    encoder_inner: InnerNames {
        up: "layer.1.DenseReluDense.wi_0",
        gate: Some("layer.1.DenseReluDense.wi_1"),
        ..ENCODER_INNER
    },
    decoder_inner: InnerNames {
        up: "layer.2.DenseReluDense.wi_0",
        gate: Some("layer.2.DenseReluDense.wi_1"),
        ..DECODER_INNER
    },
    ..NAMES
};

/// Positions where the configuration says nothing: distances have no end.
const POSITIONS: usize = 512;

/// What of `config.json` the programs depend on.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    vocab_size: usize,
    d_model: usize,
    d_kv: usize,
    d_ff: usize,
    num_layers: usize,
    num_decoder_layers: Option<usize>,
    num_heads: usize,
    n_positions: Option<usize>,
    relative_attention_num_buckets: Option<usize>,
    relative_attention_max_distance: Option<usize>,
    layer_norm_epsilon: Option<f64>,
    feed_forward_proj: Option<String>,
    tie_word_embeddings: Option<bool>,
    scale_decoder_outputs: Option<bool>,
}

impl Config {
    /// The architecture of a checkpoint with this many bytes of weights.
    ///
    /// # Errors
    /// What is not supported.
    pub fn architecture(
        &self,
        kind: Kind,
        embeddings: Embeddings,
        weights: usize,
    ) -> Result<Architecture, String> {
        let decoder_layers = self.num_decoder_layers.unwrap_or(self.num_layers);
        let longest = self.n_positions.unwrap_or(POSITIONS);
        let buckets = Buckets {
            count: self.relative_attention_num_buckets.unwrap_or(32),
            furthest: self.relative_attention_max_distance.unwrap_or(128),
        };
        check_numbers(&[
            ("vocab_size", self.vocab_size),
            ("d_model", self.d_model),
            ("d_kv", self.d_kv),
            ("d_ff", self.d_ff),
            ("num_layers", self.num_layers),
            ("num_decoder_layers", decoder_layers),
            ("num_heads", self.num_heads),
            ("n_positions", longest),
            ("relative_attention_num_buckets", buckets.count),
            ("relative_attention_max_distance", buckets.furthest),
        ])?;
        check_layers(&[self.num_layers, decoder_layers])?;
        let inner = self.num_heads.saturating_mul(self.d_kv);
        check_caches(decoder_layers, 2 * longest, inner, weights)?;
        if buckets.count < 4 || buckets.furthest <= buckets.count / 2 {
            return Err(format!(
                "`relative_attention_num_buckets` is {} and `relative_attention_max_distance` {}; \
                 expected at least 4, and more than half as far",
                buckets.count, buckets.furthest
            ));
        }
        let epsilon = self.layer_norm_epsilon.unwrap_or(1e-6);
        if !epsilon.is_finite() {
            return Err("`layer_norm_epsilon` is not a number".to_owned());
        }
        let (activation, is_gated) = self.feed_forward()?;
        let stack = |layers: usize| Stack {
            layers,
            heads: self.num_heads,
            head_size: self.d_kv,
            inner: self.d_ff,
            vocabulary: self.vocab_size,
        };
        // Where the configuration says that embeddings are not tied, it means that outputs are not
        // scaled; whether they are tied is for the file to say.
        let scales = match kind {
            Kind::T5 => self
                .scale_decoder_outputs
                .unwrap_or(self.tie_word_embeddings != Some(false)),
            Kind::MT5 => false,
        };
        Ok(Architecture {
            width: self.d_model,
            encoder: stack(self.num_layers),
            decoder: stack(decoder_layers),
            longest,
            positions: Positions::Relative(buckets),
            embedding_scale: None,
            norms_embeddings: false,
            norm: NormKind::RootMeanSquare { epsilon },
            place: Place::Before,
            norms_output: true,
            biases: Biases::None,
            scales_products: false,
            activation,
            output_scale: scales.then(|| (self.d_model as f64).powf(-0.5)),
            biases_logits: false,
            names: match is_gated {
                true => GATED_NAMES,
                false => NAMES,
            },
            embeddings,
        })
    }

    /// The activation, and whether it is gated.
    fn feed_forward(&self) -> Result<(Activation, bool), String> {
        let name = self.feed_forward_proj.as_deref().unwrap_or("relu");
        let (activation, is_gated) = match name.strip_prefix("gated-") {
            // What was published by this name is the other formula.
            Some("gelu") => (Some(Activation::GeluNew), true),
            Some(gated) => (Activation::named(gated), true),
            None => (Activation::named(name), false),
        };
        let activation = activation
            .ok_or_else(|| format!("`feed_forward_proj` is `{name}`, which is not supported"))?;
        Ok((activation, is_gated))
    }
}
