//! What a text model is made of, as data.
//!
//! All families have the same two stacks; what differs is listed here, and the configuration of a
//! family is turned into such a list. The programs are built from it without knowing the family.

use crate::layers::{Activation, Biases, Buckets, Place};

/// A text model: sizes, choices and names of weights.
#[derive(Clone, Debug)]
pub struct Architecture {
    /// Features of a position.
    pub width: usize,
    pub encoder: Stack,
    pub decoder: Stack,
    /// The most positions of a source, and of a text.
    pub longest: usize,
    pub positions: Positions,
    /// What token embeddings are multiplied by.
    pub embedding_scale: Option<f64>,
    /// Whether embeddings are normed before the first layer.
    pub norms_embeddings: bool,
    pub norm: NormKind,
    pub place: Place,
    /// Whether the output of the last layer is normed.
    pub norms_output: bool,
    /// Which projections have a bias.
    pub biases: Biases,
    /// Whether products of queries and keys are divided by the root of their size.
    pub scales_products: bool,
    pub activation: Activation,
    /// What the last hidden state is multiplied by before it becomes logits.
    pub output_scale: Option<f64>,
    /// Whether logits have a bias.
    pub biases_logits: bool,
    pub names: Names,
    pub embeddings: Embeddings,
}

/// The sizes of the encoder or the decoder.
#[derive(Clone, Debug)]
pub struct Stack {
    pub layers: usize,
    pub heads: usize,
    /// Features of a head.
    pub head_size: usize,
    /// Features inside the feed-forward part.
    pub inner: usize,
    /// Number of tokens.
    pub vocabulary: usize,
}

/// How a stack knows the positions of tokens.
#[derive(Clone, Copy, Debug)]
pub enum Positions {
    /// By a table, whose first rows are `skipped`. If it `is_computed`, files may leave it out.
    Table { skipped: usize, is_computed: bool },
    /// By a computed table, in which padding has the row of its token and everything else is counted
    /// from there.
    Counted { padding: usize },
    /// By a bias of the first layer for distances.
    Relative(Buckets),
}

/// Rows of a counted table in front of the longest text.
pub const COUNTED_ROWS: usize = 2;

/// The kind of all norms.
#[derive(Clone, Copy, Debug)]
pub enum NormKind {
    Layer,
    RootMeanSquare { epsilon: f64 },
}

/// The names of weights, below the stack or the layer that they belong to.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    pub layers: &'static str,
    pub own: &'static str,
    pub own_norm: &'static str,
    pub cross: &'static str,
    pub cross_norm: &'static str,
    /// Of queries, keys, values and the output of an attention.
    pub projections: [&'static str; 4],
    pub encoder_inner: InnerNames,
    pub decoder_inner: InnerNames,
    pub output_norm: &'static str,
}

/// The names of the weights of a feed-forward part.
#[derive(Clone, Copy, Debug)]
pub struct InnerNames {
    pub up: &'static str,
    pub gate: Option<&'static str>,
    pub down: &'static str,
    pub norm: &'static str,
}

/// The names of the token embeddings and of the output projection. They are equal where the model
/// shares a weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Embeddings {
    pub encoder: String,
    pub decoder: String,
    pub output: String,
}

/// The stack that is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Encoder,
    Decoder,
}

impl Side {
    /// The name in front of the stack's weights.
    pub fn name(self) -> &'static str {
        match self {
            Side::Encoder => "encoder",
            Side::Decoder => "decoder",
        }
    }
}

impl Architecture {
    pub fn stack(&self, side: Side) -> &Stack {
        match side {
            Side::Encoder => &self.encoder,
            Side::Decoder => &self.decoder,
        }
    }

    /// What products of queries and keys are multiplied by.
    pub fn product_scale(&self, stack: &Stack) -> f64 {
        match self.scales_products {
            true => (stack.head_size as f64).powf(-0.5),
            false => 1.0,
        }
    }
}
