//! The decoder: tokens at some positions, with caches of self-attention, and with keys and values of
//! cross-attention computed once per source.
//!
//! One `cond` at the beginning hands out what depends on the source alone: in the first step it
//! computes the mask and all keys and values and writes them into caches of the greatest length, later
//! it returns the caches. Layers read as much of them as the source has, so what a longer source left
//! behind is never seen.

use crosslatch::DType;
use crosslatch::ir::build::{BuildError, GraphBuilder, ProgramBuilder};
use crosslatch::ir::{Arg, Catalogue, Program, Size, ValueId};

use super::architecture::{Architecture, Positions, Side, Stack};
use super::stack::{StackBuilder, attention_mask, biased_mask};
use crate::layers::{
    Affine, Attention, Direction, FeedForward, Residual, SOURCE, TOKENS, add, attend, causal_mask,
    first_position, ints, length, linear, merge_heads, multiply, range, sequence, size,
    split_heads, store,
};

/// `input_ids [1, tokens]` at `cache_position [tokens]`, `encoder_hidden_states [1, source, width]` and
/// `encoder_attention_mask [1, source]` → `logits [1, tokens, vocabulary]`.
///
/// # Errors
/// If the sizes do not fit each other.
pub fn decoder(architecture: &Architecture) -> Result<Program, BuildError> {
    let (width, longest) = (architecture.width, architecture.longest);
    let symbols = vec![length(TOKENS, longest), length(SOURCE, longest)];
    let mut program = ProgramBuilder::with_symbols("decoder", Catalogue::builtin(), symbols);
    let ids = program.input_of_sizes("input_ids", DType::I64, &sequence(TOKENS, None))?;
    let tokens = Size::Symbol(TOKENS.to_owned());
    let at = program.input_of_sizes("cache_position", DType::I64, &[tokens])?;
    let encoded = sequence(SOURCE, Some(width));
    let encoded = program.input_of_sizes("encoder_hidden_states", DType::F32, &encoded)?;
    let source = sequence(SOURCE, None);
    let source = program.input_of_sizes("encoder_attention_mask", DType::I64, &source)?;
    let mut stack = StackBuilder {
        program: &mut program,
        architecture,
        side: Side::Decoder,
    };
    let table = stack.token_table();
    let layers = (0..architecture.decoder.layers).map(|number| Layer::new(&mut stack, number));
    let layers: Vec<Layer> = layers.collect();

    let (first, is_filled) = first_position(&mut stack.program.graph, at)?;
    let latched = latch(&mut stack, &layers, is_filled, [encoded, source])?;
    let mut hidden = stack.embed(table, ids, at, Some(first))?;
    let step = Step {
        at,
        mask: own_mask(&mut stack, at)?,
        source_mask: latched.mask,
        heads: architecture.decoder.heads,
        head_size: architecture.decoder.head_size,
        scale: architecture.product_scale(&architecture.decoder),
    };
    for (layer, cross) in layers.iter().zip(latched.keys_and_values) {
        hidden = layer.apply(stack.program, &step, cross, hidden)?;
    }
    let hidden = stack.finish(hidden)?;
    let logits = logits(&mut program, architecture, table, hidden)?;
    program.output("logits", logits);
    program.finish()
}

/// What all layers share in a step.
struct Step {
    /// The positions of the tokens.
    at: ValueId,
    /// Which cached positions a token sees, with the position bias where there is one.
    mask: ValueId,
    /// Which positions of the source are tokens, `[1, 1, 1, source]`.
    source_mask: ValueId,
    heads: usize,
    head_size: usize,
    scale: f64,
}

/// The weights and the caches of a layer.
struct Layer {
    own: Attention,
    own_join: Residual,
    cross: Attention,
    cross_join: Residual,
    inner: FeedForward,
    inner_join: Residual,
    /// Keys and values of self-attention.
    caches: [ValueId; 2],
    /// Keys and values of cross-attention.
    cross_caches: [ValueId; 2],
}

impl Layer {
    fn new(stack: &mut StackBuilder<'_>, number: usize) -> Layer {
        let names = &stack.architecture.names;
        let own = stack.attention(number, names.own);
        let own_join = stack.residual(number, names.own_norm);
        let cross = stack.attention(number, names.cross);
        let cross_join = stack.residual(number, names.cross_norm);
        let (inner, inner_join) = stack.feed_forward(number);
        let longest = stack.architecture.longest;
        let Stack {
            heads, head_size, ..
        } = stack.architecture.decoder;
        let mut cache = |kind: &str| {
            let shape = [1, heads, longest, head_size];
            let name = format!("caches.{number}.{kind}");
            stack.program.state(&name, DType::F32, &shape)
        };
        Layer {
            own,
            own_join,
            cross,
            cross_join,
            inner,
            inner_join,
            caches: ["keys", "values"].map(&mut cache),
            cross_caches: ["cross_keys", "cross_values"].map(cache),
        }
    }

    fn apply(
        &self,
        program: &mut ProgramBuilder,
        step: &Step,
        [keys, values]: [ValueId; 2],
        x: ValueId,
    ) -> Result<ValueId, BuildError> {
        let g = &mut program.graph;
        let heads = |g: &mut GraphBuilder, x: ValueId, by: Affine| {
            let projected = linear(g, x, by)?;
            split_heads(g, projected, step.heads, step.head_size)
        };
        let merge = |g: &mut GraphBuilder, attended: ValueId, by: Affine| {
            let merged = merge_heads(g, attended, step.heads * step.head_size)?;
            linear(g, merged, by)
        };
        let mut stored = self.caches;
        let x = self.own_join.around(g, x, |g, x| {
            let query = heads(g, x, self.own.query)?;
            for (cache, by) in stored.iter_mut().zip([self.own.key, self.own.value]) {
                let rows = heads(g, x, by)?;
                *cache = store(g, *cache, step.at, rows)?;
            }
            let [keys, values] = stored;
            let attended = attend(g, [query, keys, values], Some(step.mask), step.scale)?;
            merge(g, attended, self.own.out)
        })?;
        let x = self.cross_join.around(g, x, |g, x| {
            let query = heads(g, x, self.cross.query)?;
            let mask = Some(step.source_mask);
            let attended = attend(g, [query, keys, values], mask, step.scale)?;
            merge(g, attended, self.cross.out)
        })?;
        let x = self
            .inner_join
            .around(g, x, |g, x| self.inner.apply(g, x))?;
        for (cache, contents) in self.caches.into_iter().zip(stored) {
            program.store(cache, contents)?;
        }
        Ok(x)
    }
}

/// Which cached positions the tokens see.
fn own_mask(stack: &mut StackBuilder<'_>, at: ValueId) -> Result<ValueId, BuildError> {
    let longest = stack.architecture.longest;
    let mask = causal_mask(&mut stack.program.graph, at, longest)?;
    let Positions::Relative(buckets) = stack.architecture.positions else {
        return Ok(mask);
    };
    let table = stack.bias_table(buckets.count);
    let g = &mut stack.program.graph;
    let all = range(g, longest as i64)?;
    let bias = buckets.bias(g, table, [at, all], Direction::Back)?;
    biased_mask(g, mask, Some(bias))
}

/// What depends on the source alone.
struct Latched {
    mask: ValueId,
    /// Of each layer.
    keys_and_values: Vec<[ValueId; 2]>,
}

/// Computes what depends on the source alone, or takes it from the caches if they are filled.
fn latch(
    stack: &mut StackBuilder<'_>,
    layers: &[Layer],
    is_filled: ValueId,
    [encoded, source]: [ValueId; 2],
) -> Result<Latched, BuildError> {
    let longest = stack.architecture.longest;
    let Stack {
        heads, head_size, ..
    } = stack.architecture.decoder;
    let shape = [1, 1, longest, 1];
    let mask = stack
        .program
        .state("caches.source_mask", DType::Bool, &shape);
    let mut operands = vec![encoded, source, mask];
    operands.extend(layers.iter().flat_map(|layer| layer.cross_caches));
    let weights_from = operands.len();
    for layer in layers {
        for by in [layer.cross.key, layer.cross.value] {
            operands.push(by.weight);
            operands.extend(by.bias);
        }
    }
    let caches = 2..weights_from;
    let g = &mut stack.program.graph;
    let results = g.cond(
        is_filled,
        &operands,
        |g, a| hand_out(g, &a[caches.clone()]),
        |g, a| {
            let mut results = vec![write_mask(g, a[1], a[2])?];
            let mut weights = a[weights_from..].iter().copied();
            let projections = layers.iter().flat_map(|l| [l.cross.key, l.cross.value]);
            for (by, cache) in projections.zip(&a[3..weights_from]) {
                let mut operand = || weights.next().ok_or(BuildError::UndefinedOperand);
                let by = Affine {
                    weight: operand()?,
                    bias: by.bias.map(|_| operand()).transpose()?,
                };
                let projected = linear(g, a[0], by)?;
                let projected = split_heads(g, projected, heads, head_size)?;
                results.push(update(g, projected, *cache)?);
            }
            Ok(results)
        },
    )?;
    let length = size(g, encoded, 1)?;
    let wide = [
        ("self", results[0].into()),
        ("size", ints(&[1, 1, 1, longest as i64])),
    ];
    let wide = g.call("aten::view", &wide)?;
    let mask = until(g, wide, 3, length)?;
    let mut keys_and_values = Vec::with_capacity(layers.len());
    for pair in results[1..].as_chunks().0 {
        let [keys, values]: [ValueId; 2] = *pair;
        keys_and_values.push([until(g, keys, 2, length)?, until(g, values, 2, length)?]);
    }
    Ok(Latched {
        mask,
        keys_and_values,
    })
}

/// The caches as they are. The operator takes two; an odd one is paired with itself.
fn hand_out(g: &mut GraphBuilder, caches: &[ValueId]) -> Result<Vec<ValueId>, BuildError> {
    let mut results = Vec::with_capacity(caches.len());
    for pair in caches.chunks(2) {
        let (x, y) = (pair[0], pair[pair.len() - 1]);
        let same = g.call_all("executorch::alias", &[("x", x.into()), ("y", y.into())])?;
        results.extend_from_slice(&same[..pair.len()]);
    }
    Ok(results)
}

/// Writes the mask of a source into its cache, in which positions are the third dimension.
fn write_mask(
    g: &mut GraphBuilder,
    source: ValueId,
    cache: ValueId,
) -> Result<ValueId, BuildError> {
    let mask = attention_mask(g, source)?;
    let sizes = ints(&[1, 1, -1, 1]);
    let tall = g.call("aten::view", &[("self", mask.into()), ("size", sizes)])?;
    update(g, tall, cache)
}

fn update(g: &mut GraphBuilder, value: ValueId, cache: ValueId) -> Result<ValueId, BuildError> {
    let args = [("value", value.into()), ("cache", cache.into())];
    g.call("executorch::update_cross_attn_cache", &args)
}

/// The first `length` of a dimension.
fn until(
    g: &mut GraphBuilder,
    x: ValueId,
    dim: i64,
    length: ValueId,
) -> Result<ValueId, BuildError> {
    let args = [
        ("self", Arg::from(x)),
        ("dim", dim.into()),
        ("start", 0i64.into()),
        ("end", length.into()),
    ];
    g.call("aten::slice.Tensor", &args)
}

/// The logits of hidden states. The projection is the table of token embeddings if they are shared.
fn logits(
    program: &mut ProgramBuilder,
    architecture: &Architecture,
    table: ValueId,
    hidden: ValueId,
) -> Result<ValueId, BuildError> {
    let vocabulary = architecture.decoder.vocabulary;
    let names = &architecture.embeddings;
    let weight = match names.output == names.decoder {
        true => table,
        false => {
            let shape = [vocabulary, architecture.width];
            program.weight(&names.output, DType::F32, &shape)
        }
    };
    let bias = architecture.biases_logits;
    let bias = bias.then(|| program.weight("final_logits_bias", DType::F32, &[1, vocabulary]));
    let g = &mut program.graph;
    let mut hidden = hidden;
    if let Some(scale) = architecture.output_scale {
        hidden = multiply(g, hidden, scale)?;
    }
    let logits = linear(g, hidden, Affine { weight, bias: None })?;
    match bias {
        Some(bias) => add(g, logits, bias),
        None => Ok(logits),
    }
}
