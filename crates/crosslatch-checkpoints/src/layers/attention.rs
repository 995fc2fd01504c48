//! Attention: projections to heads, the product, and the way back.

use crosslatch::ir::build::{BuildError, GraphBuilder, ProgramBuilder};
use crosslatch::ir::{Arg, ValueId};

use super::{Affine, ints, linear, multiply};

/// Which projections of an attention have a bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Biases {
    All,
    /// All but that of the keys, as in Whisper.
    NotKeys,
    None,
}

/// The projections of an attention.
#[derive(Clone, Copy)]
pub struct Attention {
    pub query: Affine,
    pub key: Affine,
    pub value: Affine,
    pub out: Affine,
}

impl Attention {
    /// The projections between `width` features and `inner` features of all heads. `parts` are the
    /// names of those for queries, keys, values and the output.
    pub fn new(
        program: &mut ProgramBuilder,
        name: &str,
        parts: [&str; 4],
        [inner, width]: [usize; 2],
        biases: Biases,
    ) -> Attention {
        let [query, key, value, out] = parts;
        let has = biases != Biases::None;
        let mut linear = |part: &str, shape: [usize; 2], bias: bool| {
            Affine::linear(program, &format!("{name}.{part}"), shape, bias)
        };
        Attention {
            key: linear(key, [inner, width], biases == Biases::All),
            value: linear(value, [inner, width], has),
            query: linear(query, [inner, width], has),
            out: linear(out, [width, inner], has),
        }
    }
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

/// The queries of an attention, scaled before they are split into heads.
pub fn queries(
    g: &mut GraphBuilder,
    x: ValueId,
    by: Affine,
    heads: usize,
    size: usize,
) -> Result<ValueId, BuildError> {
    let projected = linear(g, x, by)?;
    let scaled = multiply(g, projected, (size as f64).powf(-0.5))?;
    split_heads(g, scaled, heads, size)
}

/// Attention, with products multiplied by `scale`.
pub fn attend(
    g: &mut GraphBuilder,
    [query, key, value]: [ValueId; 3],
    mask: Option<ValueId>,
    scale: f64,
) -> Result<ValueId, BuildError> {
    let mut args: Vec<(&str, Arg)> = vec![
        ("query", query.into()),
        ("key", key.into()),
        ("value", value.into()),
        ("scale", scale.into()),
    ];
    args.extend(mask.map(|mask| ("attn_mask", mask.into())));
    g.call("aten::scaled_dot_product_attention", &args)
}

/// A cache `[1, heads, positions, size]` with rows of new keys or values at these positions.
pub fn store(
    g: &mut GraphBuilder,
    cache: ValueId,
    at: ValueId,
    rows: ValueId,
) -> Result<ValueId, BuildError> {
    g.call(
        "aten::index_copy",
        &[
            ("self", cache.into()),
            ("dim", 2i64.into()),
            ("index", at.into()),
            ("source", rows.into()),
        ],
    )
}
