//! BART and its relatives: BART, mBART, Marian, Pegasus, M2M100 with NLLB.
//!
//! They share the names of their settings and of their weights. They differ in where the norms stand,
//! in positions and in what is done to embeddings and logits.

use serde::Deserialize;

use super::architecture::{
    Architecture, Embeddings, InnerNames, Names, NormKind, Positions, Stack,
};
use super::weights::Ties;
use crate::layers::{Activation, Biases, Place};
use crate::sizes::{check_caches, check_heads, check_layers, check_numbers};

/// A relative of BART.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Bart,
    MBart,
    Marian,
    Pegasus,
    M2M100,
}

const INNER: InnerNames = InnerNames {
    up: "fc1",
    gate: None,
    down: "fc2",
    norm: "final_layer_norm",
};

const NAMES: Names = Names {
    layers: "layers",
    own: "self_attn",
    own_norm: "self_attn_layer_norm",
    cross: "encoder_attn",
    cross_norm: "encoder_attn_layer_norm",
    projections: ["q_proj", "k_proj", "v_proj", "out_proj"],
    encoder_inner: INNER,
    decoder_inner: INNER,
    output_norm: "layer_norm",
};

/// Rows of a learned table in front of the first position.
const LEARNED_ROWS: usize = 2;

/// What of `config.json` the programs depend on.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    d_model: usize,
    encoder_layers: usize,
    encoder_attention_heads: usize,
    encoder_ffn_dim: usize,
    decoder_layers: usize,
    decoder_attention_heads: usize,
    decoder_ffn_dim: usize,
    vocab_size: usize,
    decoder_vocab_size: Option<usize>,
    max_position_embeddings: usize,
    activation_function: Option<String>,
    #[serde(default)]
    scale_embedding: Option<bool>,
    pad_token_id: Option<usize>,
    share_encoder_decoder_embeddings: Option<bool>,
    tie_word_embeddings: Option<bool>,
}

impl Config {
    /// Which weights are shared.
    pub fn ties(&self, kind: Kind) -> Ties {
        let shares = kind != Kind::Marian || self.share_encoder_decoder_embeddings != Some(false);
        match (shares, self.tie_word_embeddings != Some(false)) {
            (true, true) => Ties::All,
            (true, false) => Ties::Embeddings,
            (false, true) => Ties::Decoder,
            (false, false) => Ties::None,
        }
    }

    /// The architecture of a checkpoint with this many bytes of weights.
    ///
    /// # Errors
    /// What is not supported.
    pub fn architecture(
        &self,
        kind: Kind,
        embeddings: Embeddings,
        biases_logits: bool,
        weights: usize,
    ) -> Result<Architecture, String> {
        let target_vocabulary = match self.ties(kind) {
            Ties::All | Ties::Embeddings => self.vocab_size,
            Ties::Decoder | Ties::None => self.decoder_vocab_size.unwrap_or(self.vocab_size),
        };
        check_numbers(&[
            ("d_model", self.d_model),
            ("encoder_layers", self.encoder_layers),
            ("encoder_attention_heads", self.encoder_attention_heads),
            ("encoder_ffn_dim", self.encoder_ffn_dim),
            ("decoder_layers", self.decoder_layers),
            ("decoder_attention_heads", self.decoder_attention_heads),
            ("decoder_ffn_dim", self.decoder_ffn_dim),
            ("vocab_size", self.vocab_size),
            ("decoder_vocab_size", target_vocabulary),
            ("max_position_embeddings", self.max_position_embeddings),
        ])?;
        check_layers(&[self.encoder_layers, self.decoder_layers])?;
        check_heads(
            self.d_model,
            [self.encoder_attention_heads, self.decoder_attention_heads],
        )?;
        let positions = 2 * self.max_position_embeddings;
        check_caches(self.decoder_layers, positions, self.d_model, weights)?;
        let name = self.activation_function.as_deref();
        let name = name.unwrap_or(match kind {
            Kind::M2M100 => "relu",
            _ => "gelu",
        });
        let activation = Activation::named(name)
            .ok_or_else(|| format!("`activation_function` is `{name}`, which is not supported"))?;
        let scales = self.scale_embedding.unwrap_or(kind == Kind::M2M100);
        Ok(Architecture {
            width: self.d_model,
            encoder: Stack {
                layers: self.encoder_layers,
                heads: self.encoder_attention_heads,
                head_size: self.d_model / self.encoder_attention_heads,
                inner: self.encoder_ffn_dim,
                vocabulary: self.vocab_size,
            },
            decoder: Stack {
                layers: self.decoder_layers,
                heads: self.decoder_attention_heads,
                head_size: self.d_model / self.decoder_attention_heads,
                inner: self.decoder_ffn_dim,
                vocabulary: target_vocabulary,
            },
            longest: self.max_position_embeddings,
            positions: self.positions(kind)?,
            embedding_scale: scales.then(|| (self.d_model as f64).sqrt()),
            norms_embeddings: matches!(kind, Kind::Bart | Kind::MBart),
            norm: NormKind::Layer,
            place: match kind {
                Kind::Bart | Kind::Marian => Place::After,
                Kind::MBart | Kind::Pegasus | Kind::M2M100 => Place::Before,
            },
            norms_output: matches!(kind, Kind::MBart | Kind::Pegasus | Kind::M2M100),
            biases: Biases::All,
            scales_products: true,
            activation,
            output_scale: None,
            biases_logits: biases_logits && kind != Kind::M2M100,
            names: NAMES,
            embeddings,
        })
    }

    fn positions(&self, kind: Kind) -> Result<Positions, String> {
        match kind {
            Kind::Bart | Kind::MBart => Ok(Positions::Table {
                skipped: LEARNED_ROWS,
                is_computed: false,
            }),
            Kind::Marian | Kind::Pegasus => Ok(Positions::Table {
                skipped: 0,
                is_computed: true,
            }),
            Kind::M2M100 => {
                let padding = self.pad_token_id.unwrap_or(1);
                // Rows are counted from the padding's, and there are two more than positions.
                match (padding < 2, self.d_model >= 4) {
                    (true, true) => Ok(Positions::Counted { padding }),
                    (false, _) => Err(format!("`pad_token_id` is {padding}; expected 0 or 1")),
                    (_, false) => Err(format!("`d_model` is {}; expected 4 or more", self.d_model)),
                }
            }
        }
    }
}
