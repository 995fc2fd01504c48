//! What encoder and decoder have in common: norms, projections, heads, attention, the feed-forward
//! part.

use crosslatch::DType;
use crosslatch::ir::build::{BuildError, GraphBuilder, ProgramBuilder};
use crosslatch::ir::{Arg, ValueId};

/// A norm's or a projection's weights.
#[derive(Clone, Copy)]
pub struct Affine {
    pub weight: ValueId,
    pub bias: Option<ValueId>,
}

impl Affine {
    /// The weight and the bias of a norm.
    pub fn norm(program: &mut ProgramBuilder, name: &str, width: usize) -> Affine {
        Affine {
            weight: program.weight(&format!("{name}.weight"), DType::F32, &[width]),
            bias: Some(program.weight(&format!("{name}.bias"), DType::F32, &[width])),
        }
    }

    /// The weight and the bias of a projection from `input` to `output` features.
    pub fn linear(
        program: &mut ProgramBuilder,
        name: &str,
        [output, input]: [usize; 2],
        bias: bool,
    ) -> Affine {
        let weight = program.weight(&format!("{name}.weight"), DType::F32, &[output, input]);
        let bias = bias.then(|| program.weight(&format!("{name}.bias"), DType::F32, &[output]));
        Affine { weight, bias }
    }
}

/// The projections of an attention. Keys have no bias.
#[derive(Clone, Copy)]
pub struct Attention {
    pub query: Affine,
    pub key: Affine,
    pub value: Affine,
    pub out: Affine,
}

impl Attention {
    pub fn new(program: &mut ProgramBuilder, name: &str, width: usize) -> Attention {
        let mut linear = |part: &str, bias: bool| {
            Affine::linear(program, &format!("{name}.{part}"), [width, width], bias)
        };
        Attention {
            key: linear("k_proj", false),
            value: linear("v_proj", true),
            query: linear("q_proj", true),
            out: linear("out_proj", true),
        }
    }
}

/// The feed-forward part of a layer.
#[derive(Clone, Copy)]
pub struct FeedForward {
    pub up: Affine,
    pub down: Affine,
    pub norm: Affine,
}

impl FeedForward {
    pub fn new(program: &mut ProgramBuilder, layer: &str, width: usize, inner: usize) -> Self {
        FeedForward {
            up: Affine::linear(program, &format!("{layer}.fc1"), [inner, width], true),
            down: Affine::linear(program, &format!("{layer}.fc2"), [width, inner], true),
            norm: Affine::norm(program, &format!("{layer}.final_layer_norm"), width),
        }
    }

    /// `x + down(gelu(up(norm(x))))`.
    pub fn apply(&self, g: &mut GraphBuilder, x: ValueId) -> Result<ValueId, BuildError> {
        let normed = layer_norm(g, x, self.norm)?;
        let inner = linear(g, normed, self.up)?;
        let inner = g.call("aten::gelu", &[("self", inner.into())])?;
        let outer = linear(g, inner, self.down)?;
        add(g, x, outer)
    }
}

/// A list of numbers as an argument.
pub fn ints(numbers: &[i64]) -> Arg {
    Arg::Ints(numbers.iter().map(|&n| Arg::Int(n)).collect())
}

pub fn linear(g: &mut GraphBuilder, x: ValueId, by: Affine) -> Result<ValueId, BuildError> {
    let mut args: Vec<(&str, Arg)> = vec![("input", x.into()), ("weight", by.weight.into())];
    args.extend(by.bias.map(|bias| ("bias", bias.into())));
    g.call("aten::linear", &args)
}

pub fn layer_norm(g: &mut GraphBuilder, x: ValueId, by: Affine) -> Result<ValueId, BuildError> {
    let width = g.tensor(by.weight).map_or(0, |(_, layout)| layout.numel());
    let mut args: Vec<(&str, Arg)> = vec![
        ("input", x.into()),
        ("normalized_shape", ints(&[width as i64])),
        ("weight", by.weight.into()),
    ];
    args.extend(by.bias.map(|bias| ("bias", bias.into())));
    g.call("aten::layer_norm", &args)
}

pub fn add(g: &mut GraphBuilder, a: ValueId, b: ValueId) -> Result<ValueId, BuildError> {
    g.call(
        "aten::add.Tensor",
        &[("self", a.into()), ("other", b.into())],
    )
}

/// `[1, positions, width]` as `[1, heads, positions, width / heads]`.
pub fn split_heads(
    g: &mut GraphBuilder,
    x: ValueId,
    heads: usize,
    size: usize,
) -> Result<ValueId, BuildError> {
    let sizes = ints(&[1, -1, heads as i64, size as i64]);
    let view = g.call("aten::view", &[("self", x.into()), ("size", sizes)])?;
    transpose(g, view)
}

/// `[1, heads, positions, size]` as `[1, positions, heads * size]`.
pub fn merge_heads(g: &mut GraphBuilder, x: ValueId, width: usize) -> Result<ValueId, BuildError> {
    let x = transpose(g, x)?;
    let sizes = ints(&[1, -1, width as i64]);
    g.call("aten::reshape", &[("self", x.into()), ("shape", sizes)])
}

fn transpose(g: &mut GraphBuilder, x: ValueId) -> Result<ValueId, BuildError> {
    let dims = [("dim0", 1i64.into()), ("dim1", 2i64.into())];
    let [a, b] = dims;
    g.call("aten::transpose.int", &[("self", x.into()), a, b])
}

/// The queries of an attention, scaled, as heads.
pub fn queries(
    g: &mut GraphBuilder,
    x: ValueId,
    by: Affine,
    heads: usize,
    size: usize,
) -> Result<ValueId, BuildError> {
    let projected = linear(g, x, by)?;
    let scale = (size as f64).powf(-0.5);
    let scaled = g.call(
        "aten::mul.Tensor",
        &[("self", projected.into()), ("other", scale.into())],
    )?;
    split_heads(g, scaled, heads, size)
}

/// Attention over scaled queries.
pub fn attend(
    g: &mut GraphBuilder,
    [query, key, value]: [ValueId; 3],
    mask: Option<ValueId>,
) -> Result<ValueId, BuildError> {
    let mut args: Vec<(&str, Arg)> = vec![
        ("query", query.into()),
        ("key", key.into()),
        ("value", value.into()),
        ("scale", 1.0f64.into()),
    ];
    args.extend(mask.map(|mask| ("attn_mask", mask.into())));
    g.call("aten::scaled_dot_product_attention", &args)
}
