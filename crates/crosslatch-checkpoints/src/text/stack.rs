//! What both stacks have: embedded tokens and the parts of a layer.

use crosslatch::DType;
use crosslatch::ir::build::{BuildError, GraphBuilder, ProgramBuilder};
use crosslatch::ir::{Arg, ValueId};

use super::architecture::{Architecture, COUNTED_ROWS, InnerNames, NormKind, Positions, Side};
use crate::layers::{
    Affine, Attention, Biases, FeedForward, Norm, Residual, add, binary, embedding, ints, multiply,
    unsqueeze,
};

/// The name of a computed table of positions, below its stack.
pub const COUNTED_TABLE: &str = "embed_positions.weights";
/// The name of any other table of positions.
pub const TABLE: &str = "embed_positions.weight";

/// A stack that is being built.
pub struct StackBuilder<'b> {
    pub program: &'b mut ProgramBuilder,
    pub architecture: &'b Architecture,
    pub side: Side,
}

impl StackBuilder<'_> {
    fn name(&self, part: &str) -> String {
        format!("{}.{part}", self.side.name())
    }

    /// The name of a part of a layer.
    fn in_layer(&self, number: usize, part: &str) -> String {
        let layers = self.architecture.names.layers;
        self.name(&format!("{layers}.{number}.{part}"))
    }

    /// The table of token embeddings.
    pub fn token_table(&mut self) -> ValueId {
        let architecture = self.architecture;
        let name = match self.side {
            Side::Encoder => &architecture.embeddings.encoder,
            Side::Decoder => &architecture.embeddings.decoder,
        };
        let vocabulary = architecture.stack(self.side).vocabulary;
        let shape = [vocabulary, architecture.width];
        self.program.weight(name, DType::F32, &shape)
    }

    /// Tokens as the first layer takes them. They stand at the positions `at [tokens]`, the first of
    /// which is `first`, if it is not 0.
    ///
    /// # Errors
    /// If a call cannot be built.
    pub fn embed(
        &mut self,
        table: ValueId,
        ids: ValueId,
        at: ValueId,
        first: Option<ValueId>,
    ) -> Result<ValueId, BuildError> {
        let positions = self.positions_table();
        let norm = self.architecture.norms_embeddings;
        let norm = norm.then(|| self.norm(&self.name("layernorm_embedding")));
        let g = &mut self.program.graph;
        let mut hidden = embedding(g, table, ids)?;
        if let Some(scale) = self.architecture.embedding_scale {
            hidden = multiply(g, hidden, scale)?;
        }
        if let Some(positions) = positions {
            let rows = match self.architecture.positions {
                Positions::Counted { padding } => counted(g, ids, first, padding as i64)?,
                Positions::Table { skipped: 0, .. } | Positions::Relative(_) => at,
                Positions::Table { skipped, .. } => add(g, at, skipped as i64)?,
            };
            let rows = embedding(g, positions, rows)?;
            hidden = add(g, hidden, rows)?;
        }
        match norm {
            Some(norm) => norm.apply(g, hidden),
            None => Ok(hidden),
        }
    }

    fn positions_table(&mut self) -> Option<ValueId> {
        let (name, skipped) = match self.architecture.positions {
            Positions::Table { skipped, .. } => (TABLE, skipped),
            Positions::Counted { .. } => (COUNTED_TABLE, COUNTED_ROWS),
            Positions::Relative(_) => return None,
        };
        let shape = [self.architecture.longest + skipped, self.architecture.width];
        let name = self.name(name);
        Some(self.program.weight(&name, DType::F32, &shape))
    }

    /// The table of the position bias.
    pub fn bias_table(&mut self, buckets: usize) -> ValueId {
        let own = self.architecture.names.own;
        let name = self.in_layer(0, &format!("{own}.relative_attention_bias.weight"));
        let heads = self.architecture.stack(self.side).heads;
        self.program.weight(&name, DType::F32, &[buckets, heads])
    }

    fn norm(&mut self, name: &str) -> Norm {
        let width = self.architecture.width;
        match self.architecture.norm {
            NormKind::Layer => Norm::layer(self.program, name, width),
            NormKind::RootMeanSquare { epsilon } => {
                Norm::root_mean_square(self.program, name, width, epsilon)
            }
        }
    }

    /// The join of a part of a layer, by the name of its norm.
    pub fn residual(&mut self, number: usize, norm: &str) -> Residual {
        let norm = self.norm(&self.in_layer(number, norm));
        let place = self.architecture.place;
        Residual { norm, place }
    }

    /// An attention of a layer.
    pub fn attention(&mut self, number: usize, part: &str) -> Attention {
        let Architecture {
            width,
            names,
            biases,
            ..
        } = self.architecture;
        let stack = self.architecture.stack(self.side);
        let shape = [stack.heads * stack.head_size, *width];
        let name = self.in_layer(number, part);
        Attention::new(self.program, &name, names.projections, shape, *biases)
    }

    /// The feed-forward part of a layer, and its join.
    pub fn feed_forward(&mut self, number: usize) -> (FeedForward, Residual) {
        let architecture = self.architecture;
        let InnerNames {
            up,
            gate,
            down,
            norm,
        } = match self.side {
            Side::Encoder => architecture.names.encoder_inner,
            Side::Decoder => architecture.names.decoder_inner,
        };
        let (inner, width) = (architecture.stack(self.side).inner, architecture.width);
        let has_bias = architecture.biases != Biases::None;
        let mut linear = |part: &str, shape: [usize; 2]| {
            let name = self.in_layer(number, part);
            Affine::linear(self.program, &name, shape, has_bias)
        };
        let part = FeedForward {
            up: linear(up, [inner, width]),
            gate: gate.map(|gate| linear(gate, [inner, width])),
            down: linear(down, [width, inner]),
            activation: architecture.activation,
        };
        (part, self.residual(number, norm))
    }

    /// The output of the last layer, normed if the family does that.
    ///
    /// # Errors
    /// If a call cannot be built.
    pub fn finish(&mut self, hidden: ValueId) -> Result<ValueId, BuildError> {
        if !self.architecture.norms_output {
            return Ok(hidden);
        }
        let norm = self.norm(&self.name(self.architecture.names.output_norm));
        norm.apply(&mut self.program.graph, hidden)
    }
}

/// Rows of a counted table: tokens count from the row after that of padding, which takes none.
fn counted(
    g: &mut GraphBuilder,
    ids: ValueId,
    first: Option<ValueId>,
    padding: i64,
) -> Result<ValueId, BuildError> {
    let is_token = binary(g, "aten::ne.Scalar", ids, padding)?;
    let is_token = [("self", is_token.into()), ("dtype", DType::I64.into())];
    let is_token = g.call("aten::_to_copy", &is_token)?;
    let count = [("self", is_token.into()), ("dim", 1i64.into())];
    let mut count = g.call("aten::cumsum", &count)?;
    if let Some(first) = first {
        count = add(g, count, first)?;
    }
    let count = multiply(g, count, is_token)?;
    let rows = add(g, count, padding)?;
    g.call(
        "aten::view",
        &[("self", rows.into()), ("size", ints(&[-1]))],
    )
}

/// A mask over a source `[1, source]` as attention takes it: true for tokens, `[1, 1, 1, source]`.
///
/// # Errors
/// If a call cannot be built.
pub fn attention_mask(g: &mut GraphBuilder, mask: ValueId) -> Result<ValueId, BuildError> {
    let mask = binary(g, "aten::ne.Scalar", mask, 0i64)?;
    let mask = unsqueeze(g, mask, 1)?;
    unsqueeze(g, mask, 1)
}

/// A mask and a position bias as one number to add to each product.
///
/// # Errors
/// If a call cannot be built.
pub fn biased_mask(
    g: &mut GraphBuilder,
    mask: ValueId,
    bias: Option<ValueId>,
) -> Result<ValueId, BuildError> {
    let Some(bias) = bias else {
        return Ok(mask);
    };
    // The lowest number, not minus infinity: a row that sees nothing must not become NaN.
    let lowest: Arg = f64::from(f32::MIN).into();
    let args = [
        ("condition", mask.into()),
        ("self", bias.into()),
        ("other", lowest),
    ];
    g.call("aten::where.ScalarOther", &args)
}
