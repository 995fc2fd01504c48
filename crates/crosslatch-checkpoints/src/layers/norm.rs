//! Norms, and how a part of a layer is joined with what it is given.

use crosslatch::DType;
use crosslatch::ir::build::{BuildError, GraphBuilder, ProgramBuilder};
use crosslatch::ir::{Arg, ValueId};

use super::{Affine, add, binary, ints, multiply, unary};

/// A norm over the features of each position.
#[derive(Clone, Copy)]
pub enum Norm {
    /// Mean 0 and variance 1, then a weight and a bias.
    Layer(Affine),
    /// Root mean square 1, then a weight.
    RootMeanSquare { weight: ValueId, epsilon: f64 },
}

impl Norm {
    /// A layer norm with the weights of this name.
    pub fn layer(program: &mut ProgramBuilder, name: &str, width: usize) -> Norm {
        Norm::Layer(Affine::norm(program, name, width))
    }

    /// A norm by the root mean square with the weight of this name.
    pub fn root_mean_square(
        program: &mut ProgramBuilder,
        name: &str,
        width: usize,
        epsilon: f64,
    ) -> Norm {
        Norm::RootMeanSquare {
            weight: program.weight(&format!("{name}.weight"), DType::F32, &[width]),
            epsilon,
        }
    }

    pub fn apply(&self, g: &mut GraphBuilder, x: ValueId) -> Result<ValueId, BuildError> {
        match *self {
            Norm::Layer(by) => layer_norm(g, x, by),
            Norm::RootMeanSquare { weight, epsilon } => root_mean_square(g, x, weight, epsilon),
        }
    }
}

fn layer_norm(g: &mut GraphBuilder, x: ValueId, by: Affine) -> Result<ValueId, BuildError> {
    let width = g.tensor(by.weight).map_or(0, |(_, layout)| layout.numel());
    let mut args: Vec<(&str, Arg)> = vec![
        ("input", x.into()),
        ("normalized_shape", ints(&[width as i64])),
        ("weight", by.weight.into()),
    ];
    args.extend(by.bias.map(|bias| ("bias", bias.into())));
    g.call("aten::layer_norm", &args)
}

fn root_mean_square(
    g: &mut GraphBuilder,
    x: ValueId,
    weight: ValueId,
    epsilon: f64,
) -> Result<ValueId, BuildError> {
    let squares = [("self", x.into()), ("exponent", 2i64.into())];
    let squares = g.call("aten::pow.Tensor_Scalar", &squares)?;
    let mean = [
        ("self", squares.into()),
        ("dim", ints(&[-1])),
        ("keepdim", true.into()),
    ];
    let mean = g.call("aten::mean.dim", &mean)?;
    let shifted = binary(g, "aten::add.Tensor", mean, epsilon)?;
    let factor = unary(g, "aten::rsqrt", shifted)?;
    let normed = multiply(g, x, factor)?;
    multiply(g, weight, normed)
}

/// Where the norm of a part stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The part is given the normed input: `x + part(norm(x))`.
    Before,
    /// The sum is normed: `norm(x + part(x))`.
    After,
}

/// The join of a part of a layer with its input.
#[derive(Clone, Copy)]
pub struct Residual {
    pub norm: Norm,
    pub place: Place,
}

impl Residual {
    /// `part` around which this is.
    ///
    /// # Errors
    /// If a call cannot be built.
    pub fn around(
        &self,
        g: &mut GraphBuilder,
        x: ValueId,
        part: impl FnOnce(&mut GraphBuilder, ValueId) -> Result<ValueId, BuildError>,
    ) -> Result<ValueId, BuildError> {
        match self.place {
            Place::Before => {
                let normed = self.norm.apply(g, x)?;
                let added = part(g, normed)?;
                add(g, x, added)
            }
            Place::After => {
                let added = part(g, x)?;
                let sum = add(g, x, added)?;
                self.norm.apply(g, sum)
            }
        }
    }
}
