//! T5's position bias: a number for each head and each distance between two positions.
//!
//! Distances fall into buckets, of which the table has a row each: one for each small distance, and
//! larger ones for ranges that grow with the logarithm.

use crosslatch::DType;
use crosslatch::ir::ValueId;
use crosslatch::ir::build::{BuildError, GraphBuilder};

use super::{add, binary, embedding, ints, multiply, unary, unsqueeze};

/// The buckets that distances fall into.
#[derive(Clone, Copy, Debug)]
pub struct Buckets {
    /// Number of buckets.
    pub count: usize,
    /// From this distance on, all distances are in the last one.
    pub furthest: usize,
}

/// Which positions there are distances to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To earlier and later positions, with buckets of their own for each side.
    Both,
    /// To earlier positions.
    Back,
}

impl Buckets {
    /// The bias `[1, heads, queries, keys]` of the positions `keys [keys]` seen from `queries
    /// [queries]`, by the table `[buckets, heads]`.
    ///
    /// # Errors
    /// If a call cannot be built.
    pub fn bias(
        self,
        g: &mut GraphBuilder,
        table: ValueId,
        [queries, keys]: [ValueId; 2],
        direction: Direction,
    ) -> Result<ValueId, BuildError> {
        let queries = unsqueeze(g, queries, 1)?;
        let keys = unsqueeze(g, keys, 0)?;
        let distance = binary(g, "aten::sub.Tensor", keys, queries)?;
        let bucket = match direction {
            Direction::Both => {
                let side = self.count / 2;
                let later = binary(g, "aten::gt.Scalar", distance, 0i64)?;
                let later = convert(g, later, DType::I64)?;
                let first = multiply(g, later, side as i64)?;
                let distance = unary(g, "aten::abs", distance)?;
                let bucket = self.of_one_side(g, distance, side)?;
                add(g, first, bucket)?
            }
            Direction::Back => {
                let zeros = unary(g, "aten::zeros_like", distance)?;
                let earlier = binary(g, "aten::min.other", distance, zeros)?;
                let distance = unary(g, "aten::neg", earlier)?;
                self.of_one_side(g, distance, self.count)?
            }
        };
        let bias = embedding(g, table, bucket)?;
        let dims = [("self", bias.into()), ("dims", ints(&[2, 0, 1]))];
        let bias = g.call("aten::permute", &dims)?;
        unsqueeze(g, bias, 0)
    }

    /// The bucket of each distance, of `count` buckets.
    fn of_one_side(
        self,
        g: &mut GraphBuilder,
        distance: ValueId,
        count: usize,
    ) -> Result<ValueId, BuildError> {
        let exact = count / 2;
        let is_small = binary(g, "aten::lt.Scalar", distance, exact as i64)?;
        let number = convert(g, distance, DType::F32)?;
        let ratio = binary(g, "aten::div.Tensor", number, exact as i64)?;
        let log = unary(g, "aten::log", ratio)?;
        let whole = (self.furthest as f64 / exact as f64).ln();
        let share = binary(g, "aten::div.Tensor", log, whole)?;
        let step = multiply(g, share, (count - exact) as i64)?;
        let step = convert(g, step, DType::I64)?;
        let large = add(g, step, exact as i64)?;
        let last = [
            ("self", large.into()),
            ("fill_value", (count as i64 - 1).into()),
        ];
        let last = g.call("aten::full_like", &last)?;
        let large = binary(g, "aten::min.other", large, last)?;
        g.call(
            "aten::where.self",
            &[
                ("condition", is_small.into()),
                ("self", distance.into()),
                ("other", large.into()),
            ],
        )
    }
}

fn convert(g: &mut GraphBuilder, x: ValueId, dtype: DType) -> Result<ValueId, BuildError> {
    g.call(
        "aten::_to_copy",
        &[("self", x.into()), ("dtype", dtype.into())],
    )
}
