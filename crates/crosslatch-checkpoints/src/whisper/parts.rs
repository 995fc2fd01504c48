//! The parts of Whisper's layers, which both stacks have: how they are called and made.

use crosslatch::ir::build::ProgramBuilder;

use crate::layers::{Activation, Affine, Attention, Biases, FeedForward, Norm, Place, Residual};

pub fn attention(program: &mut ProgramBuilder, name: &str, width: usize) -> Attention {
    let parts = ["q_proj", "k_proj", "v_proj", "out_proj"];
    Attention::new(program, name, parts, [width, width], Biases::NotKeys)
}

pub fn residual(program: &mut ProgramBuilder, norm: &str, width: usize) -> Residual {
    Residual {
        norm: Norm::layer(program, norm, width),
        place: Place::Before,
    }
}

pub fn feed_forward(
    program: &mut ProgramBuilder,
    layer: &str,
    [inner, width]: [usize; 2],
) -> FeedForward {
    FeedForward {
        up: Affine::linear(program, &format!("{layer}.fc1"), [inner, width], true),
        gate: None,
        down: Affine::linear(program, &format!("{layer}.fc2"), [width, inner], true),
        activation: Activation::Gelu,
    }
}
