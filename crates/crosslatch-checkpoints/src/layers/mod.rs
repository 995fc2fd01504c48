//! The parts that transformer layers are made of: norms, projections, attention, feed-forward parts,
//! positions.
//!
//! Families differ in which norm stands where, which activation they use and how their weights are
//! called. Here those differences are data, so that a family is a description and not a copy of the
//! code. Each part adds the calls that PyTorch exports for it, in their order, so that results are
//! those of an exported model.
//!
//! A sequence is `[1, positions, width]`; heads are `[1, heads, positions, size]`.

mod attention;
mod feed_forward;
mod norm;
mod positions;
mod relative;

use crosslatch::DType;
use crosslatch::ir::build::{BuildError, GraphBuilder, ProgramBuilder};
use crosslatch::ir::graph::Symbol;
use crosslatch::ir::{Arg, Size, ValueId};

pub use attention::{Attention, Biases, attend, merge_heads, queries, split_heads, store};
pub use feed_forward::{Activation, FeedForward};
pub use norm::{Norm, Place, Residual};
pub use positions::{counted_sines, halved_sines};
pub use relative::{Buckets, Direction};

/// A number of positions that is given at each run.
pub const SOURCE: &str = "source";
pub const TOKENS: &str = "tokens";

/// The symbol of this name, for 1 to `most` positions.
pub fn length(name: &str, most: usize) -> Symbol {
    Symbol {
        name: name.to_owned(),
        min: 1,
        max: Some(most as i64),
    }
}

/// The sizes `[1, positions]`, or with a width, `[1, positions, width]`.
pub fn sequence(name: &str, width: Option<usize>) -> Vec<Size> {
    let width = width.map(|n| Size::Const(n as i64));
    [Size::Const(1), Size::Symbol(name.to_owned())]
        .into_iter()
        .chain(width)
        .collect()
}

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

/// A list of numbers as an argument.
pub fn ints(numbers: &[i64]) -> Arg {
    Arg::List(numbers.iter().map(|&n| Arg::Int(n)).collect())
}

pub fn linear(g: &mut GraphBuilder, x: ValueId, by: Affine) -> Result<ValueId, BuildError> {
    let mut args: Vec<(&str, Arg)> = vec![("input", x.into()), ("weight", by.weight.into())];
    args.extend(by.bias.map(|bias| ("bias", bias.into())));
    g.call("aten::linear", &args)
}

/// `operator(self)`.
pub fn unary(g: &mut GraphBuilder, operator: &str, x: ValueId) -> Result<ValueId, BuildError> {
    g.call(operator, &[("self", x.into())])
}

/// `operator(self, other)`, where `other` is a tensor or a number, as the operator takes it.
pub fn binary(
    g: &mut GraphBuilder,
    operator: &str,
    x: ValueId,
    other: impl Into<Arg>,
) -> Result<ValueId, BuildError> {
    g.call(operator, &[("self", x.into()), ("other", other.into())])
}

pub fn add(g: &mut GraphBuilder, x: ValueId, y: impl Into<Arg>) -> Result<ValueId, BuildError> {
    binary(g, "aten::add.Tensor", x, y)
}

pub fn multiply(
    g: &mut GraphBuilder,
    x: ValueId,
    y: impl Into<Arg>,
) -> Result<ValueId, BuildError> {
    binary(g, "aten::mul.Tensor", x, y)
}

/// The rows of a table.
pub fn embedding(
    g: &mut GraphBuilder,
    table: ValueId,
    indices: ValueId,
) -> Result<ValueId, BuildError> {
    let args = [("weight", table.into()), ("indices", indices.into())];
    g.call("aten::embedding", &args)
}

/// `x` with a dimension of size 1 at `dim`.
pub fn unsqueeze(g: &mut GraphBuilder, x: ValueId, dim: i64) -> Result<ValueId, BuildError> {
    g.call(
        "aten::unsqueeze",
        &[("self", x.into()), ("dim", dim.into())],
    )
}

/// The numbers from 0 to `end`, which is a number or a size.
pub fn range(g: &mut GraphBuilder, end: impl Into<Arg>) -> Result<ValueId, BuildError> {
    g.call("aten::arange", &[("end", end.into())])
}

/// The size of a dimension.
pub fn size(g: &mut GraphBuilder, x: ValueId, dim: i64) -> Result<ValueId, BuildError> {
    let args = [("self", x.into()), ("dim", dim.into())];
    g.call("aten::sym_size.int", &args)
}

/// Which of `positions` cached positions each token sees: `[tokens, positions]`, for tokens at
/// `at [tokens]`.
pub fn causal_mask(
    g: &mut GraphBuilder,
    at: ValueId,
    positions: usize,
) -> Result<ValueId, BuildError> {
    let all = range(g, positions as i64)?;
    let row = unsqueeze(g, all, 0)?;
    let column = unsqueeze(g, at, 1)?;
    binary(g, "aten::le.Tensor", row, column)
}

/// The first of the tokens' positions, and whether it is a later one than 0: whether what is computed
/// once per input has been computed.
pub fn first_position(g: &mut GraphBuilder, at: ValueId) -> Result<(ValueId, ValueId), BuildError> {
    let args = [
        ("self", at.into()),
        ("dim", 0i64.into()),
        ("index", 0i64.into()),
    ];
    let first = g.call("aten::select.int", &args)?;
    Ok((first, binary(g, "aten::gt.Scalar", first, 0i64)?))
}
