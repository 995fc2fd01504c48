//! The encoder: embedded tokens, then layers of self-attention over the whole source.

use crosslatch::DType;
use crosslatch::ir::build::{BuildError, ProgramBuilder};
use crosslatch::ir::{Catalogue, Program, ValueId};

use super::architecture::{Architecture, Positions, Side};
use super::stack::{StackBuilder, attention_mask, biased_mask};
use crate::layers::{
    Affine, Direction, SOURCE, attend, length, linear, merge_heads, range, sequence, size,
    split_heads,
};

/// `input_ids [1, source]` and `attention_mask [1, source]` → `last_hidden_state [1, source, width]`.
///
/// # Errors
/// If the sizes do not fit each other.
pub fn encoder(architecture: &Architecture) -> Result<Program, BuildError> {
    let symbols = vec![length(SOURCE, architecture.longest)];
    let mut program = ProgramBuilder::with_symbols("encoder", Catalogue::builtin(), symbols);
    let shape = sequence(SOURCE, None);
    let ids = program.input_of_sizes("input_ids", DType::I64, &shape)?;
    let mask = program.input_of_sizes("attention_mask", DType::I64, &shape)?;
    let mut stack = StackBuilder {
        program: &mut program,
        architecture,
        side: Side::Encoder,
    };
    let table = stack.token_table();
    let g = &mut stack.program.graph;
    let tokens = size(g, ids, 1)?;
    let at = range(g, tokens)?;
    let mask = attention_mask(g, mask)?;
    let mut hidden = stack.embed(table, ids, at, None)?;
    let bias = match architecture.positions {
        Positions::Relative(buckets) => {
            let table = stack.bias_table(buckets.count);
            let g = &mut stack.program.graph;
            Some(buckets.bias(g, table, [at, at], Direction::Both)?)
        }
        _ => None,
    };
    let mask = biased_mask(&mut stack.program.graph, mask, bias)?;
    for number in 0..architecture.encoder.layers {
        hidden = layer(&mut stack, number, mask, hidden)?;
    }
    let hidden = stack.finish(hidden)?;
    program.output("last_hidden_state", hidden);
    program.finish()
}

fn layer(
    stack: &mut StackBuilder<'_>,
    number: usize,
    mask: ValueId,
    x: ValueId,
) -> Result<ValueId, BuildError> {
    let names = &stack.architecture.names;
    let own = stack.attention(number, names.own);
    let own_join = stack.residual(number, names.own_norm);
    let (inner, inner_join) = stack.feed_forward(number);
    let sizes = &stack.architecture.encoder;
    let (heads, size) = (sizes.heads, sizes.head_size);
    let scale = stack.architecture.product_scale(sizes);
    let g = &mut stack.program.graph;
    let x = own_join.around(g, x, |g, x| {
        let mut project = |by: Affine| {
            let projected = linear(g, x, by)?;
            split_heads(g, projected, heads, size)
        };
        let all = [project(own.query)?, project(own.key)?, project(own.value)?];
        let attended = attend(g, all, Some(mask), scale)?;
        let attended = merge_heads(g, attended, heads * size)?;
        linear(g, attended, own.out)
    })?;
    inner_join.around(g, x, |g, x| inner.apply(g, x))
}
