//! The feed-forward part of a layer.

use crosslatch::ir::ValueId;
use crosslatch::ir::build::{BuildError, GraphBuilder};

use super::{Affine, add, linear, multiply, unary};

/// The function between two projections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    Relu,
    /// By the error function.
    Gelu,
    /// By the hyperbolic tangent, term by term.
    GeluNew,
    Silu,
}

impl Activation {
    /// The activation that transformers calls by this name.
    pub fn named(name: &str) -> Option<Activation> {
        match name {
            "relu" => Some(Activation::Relu),
            "gelu" => Some(Activation::Gelu),
            "gelu_new" => Some(Activation::GeluNew),
            "silu" | "swish" => Some(Activation::Silu),
            _ => None,
        }
    }

    fn apply(self, g: &mut GraphBuilder, x: ValueId) -> Result<ValueId, BuildError> {
        match self {
            Activation::Relu => unary(g, "aten::relu", x),
            Activation::Gelu => unary(g, "aten::gelu", x),
            Activation::Silu => unary(g, "aten::silu", x),
            Activation::GeluNew => {
                let half = multiply(g, x, 0.5)?;
                let cube = [("self", x.into()), ("exponent", 3.0.into())];
                let cube = g.call("aten::pow.Tensor_Scalar", &cube)?;
                let cube = multiply(g, cube, 0.044715)?;
                let sum = add(g, x, cube)?;
                let inner = multiply(g, sum, (2.0 / std::f64::consts::PI).sqrt())?;
                let tanh = unary(g, "aten::tanh", inner)?;
                let sum = add(g, tanh, 1.0)?;
                multiply(g, half, sum)
            }
        }
    }
}

/// `down(activation(up(x)))`, or, with a gate, `down(activation(up(x)) * gate(x))`.
#[derive(Clone, Copy)]
pub struct FeedForward {
    pub up: Affine,
    pub gate: Option<Affine>,
    pub down: Affine,
    pub activation: Activation,
}

impl FeedForward {
    pub fn apply(&self, g: &mut GraphBuilder, x: ValueId) -> Result<ValueId, BuildError> {
        let inner = linear(g, x, self.up)?;
        let mut inner = self.activation.apply(g, inner)?;
        if let Some(gate) = self.gate {
            let gate = linear(g, x, gate)?;
            inner = multiply(g, inner, gate)?;
        }
        linear(g, inner, self.down)
    }
}
