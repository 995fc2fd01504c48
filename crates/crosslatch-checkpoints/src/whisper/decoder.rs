//! The decoder: tokens at some positions, with caches of self-attention, and of cross-attention
//! computed once per input.

use crosslatch::DType;
use crosslatch::ir::build::{BuildError, GraphBuilder, ProgramBuilder};
use crosslatch::ir::{Arg, Catalogue, Program, Size, ValueId};

use super::config::Config;
use super::parts::{attention, feed_forward, residual};
use crate::layers::{
    Affine, Attention, Norm, TOKENS, add, attend, causal_mask, embedding, first_position, length,
    linear, merge_heads, queries, sequence, split_heads, store,
};

/// `input_ids [1, tokens]` at `cache_position [tokens]` and `encoder_hidden_states [1, source
/// positions, width]` → `logits [1, tokens, vocabulary]`.
///
/// # Errors
/// If the sizes do not fit each other.
pub fn decoder(config: &Config) -> Result<Program, BuildError> {
    let width = config.d_model;
    let symbols = vec![length(TOKENS, config.max_target_positions)];
    let mut program = ProgramBuilder::with_symbols("decoder", Catalogue::builtin(), symbols);
    let ids = program.input_of_sizes("input_ids", DType::I64, &sequence(TOKENS, None))?;
    let tokens = Size::Symbol(TOKENS.to_owned());
    let at = program.input_of_sizes("cache_position", DType::I64, &[tokens])?;
    let encoded = [1, config.max_source_positions, width];
    let encoded = program.input("encoder_hidden_states", DType::F32, &encoded);

    let vocabulary = [config.vocab_size, width];
    let output = program.weight("proj_out.weight", DType::F32, &vocabulary);
    let embeddings = program.weight("decoder.embed_tokens.weight", DType::F32, &vocabulary);
    let positions = [config.max_target_positions, width];
    let positions = program.weight("decoder.embed_positions.weight", DType::F32, &positions);
    let step = Step::new(&mut program.graph, config, at, encoded)?;
    let g = &mut program.graph;
    let embedded = embedding(g, embeddings, ids)?;
    let indices = Arg::Values(vec![Some(at)]);
    let position = g.call(
        "aten::index.Tensor",
        &[("self", positions.into()), ("indices", indices)],
    )?;
    let mut hidden = add(g, embedded, position)?;
    for i in 0..config.decoder_layers {
        hidden = layer(&mut program, config, &step, i, hidden)?;
    }
    let norm = Norm::layer(&mut program, "decoder.layer_norm", width);
    let g = &mut program.graph;
    let hidden = norm.apply(g, hidden)?;
    let by = Affine {
        weight: output,
        bias: None,
    };
    let logits = linear(g, hidden, by)?;
    program.output("logits", logits);
    program.finish()
}

/// What all layers share in a step.
struct Step {
    /// The positions of the tokens.
    at: ValueId,
    /// What the encoder returned.
    encoded: ValueId,
    /// `[tokens, target positions]`: which cached positions a token sees.
    mask: ValueId,
    /// Whether the caches of cross-attention are filled: after the first position.
    is_filled: ValueId,
}

impl Step {
    fn new(
        g: &mut GraphBuilder,
        config: &Config,
        at: ValueId,
        encoded: ValueId,
    ) -> Result<Step, BuildError> {
        let (_, is_filled) = first_position(g, at)?;
        Ok(Step {
            at,
            encoded,
            mask: causal_mask(g, at, config.max_target_positions)?,
            is_filled,
        })
    }
}

fn layer(
    program: &mut ProgramBuilder,
    config: &Config,
    step: &Step,
    number: usize,
    x: ValueId,
) -> Result<ValueId, BuildError> {
    let name = format!("decoder.layers.{number}");
    let (width, heads) = (config.d_model, config.decoder_attention_heads);
    let size = width / heads;
    let own = attention(program, &format!("{name}.self_attn"), width);
    let own_join = residual(program, &format!("{name}.self_attn_layer_norm"), width);
    let cross = attention(program, &format!("{name}.encoder_attn"), width);
    let cross_join = residual(program, &format!("{name}.encoder_attn_layer_norm"), width);
    let inner = feed_forward(program, &name, [config.decoder_ffn_dim, width]);
    let inner_join = residual(program, &format!("{name}.final_layer_norm"), width);
    let mut cache = |kind: &str, positions: usize| {
        let shape = [1, heads, positions, size];
        program.state(&format!("caches.{number}.{kind}"), DType::F32, &shape)
    };
    let [keys, values] = ["keys", "values"].map(|kind| cache(kind, config.max_target_positions));
    let cross_caches =
        ["cross_keys", "cross_values"].map(|kind| cache(kind, config.max_source_positions));

    let g = &mut program.graph;
    let mut stored = [keys, values];
    let x = own_join.around(g, x, |g, normed| {
        for (cache, by) in stored.iter_mut().zip([own.key, own.value]) {
            let projected = linear(g, normed, by)?;
            let projected = split_heads(g, projected, heads, size)?;
            *cache = store(g, *cache, step.at, projected)?;
        }
        let query = queries(g, normed, own.query, heads, size)?;
        let [keys, values] = stored;
        let attended = attend(g, [query, keys, values], Some(step.mask), 1.0)?;
        let attended = merge_heads(g, attended, width)?;
        linear(g, attended, own.out)
    })?;
    let x = cross_join.around(g, x, |g, normed| {
        let [key, value] = cross_attention(g, step, &cross, cross_caches, [heads, size])?;
        let query = queries(g, normed, cross.query, heads, size)?;
        let attended = attend(g, [query, key, value], None, 1.0)?;
        let attended = merge_heads(g, attended, width)?;
        linear(g, attended, cross.out)
    })?;
    let x = inner_join.around(g, x, |g, normed| inner.apply(g, normed))?;

    program.store(keys, stored[0])?;
    program.store(values, stored[1])?;
    Ok(x)
}

/// The keys and values of cross-attention: those in the caches, or, in the first step, new ones,
/// which are stored there.
fn cross_attention(
    g: &mut GraphBuilder,
    step: &Step,
    by: &Attention,
    [keys, values]: [ValueId; 2],
    [heads, size]: [usize; 2],
) -> Result<[ValueId; 2], BuildError> {
    let bias = by.value.bias.unwrap_or(by.value.weight);
    let operands = [
        keys,
        values,
        by.key.weight,
        by.value.weight,
        bias,
        step.encoded,
    ];
    let results = g.cond(
        step.is_filled,
        &operands,
        |g, a| {
            g.call_all(
                "executorch::alias",
                &[("x", a[0].into()), ("y", a[1].into())],
            )
        },
        |g, a| {
            let (key, value) = (
                Affine {
                    weight: a[2],
                    bias: None,
                },
                Affine {
                    weight: a[3],
                    bias: Some(a[4]),
                },
            );
            let mut update = |by: Affine, cache: ValueId| {
                let projected = linear(g, a[5], by)?;
                let projected = split_heads(g, projected, heads, size)?;
                let update = [("value", projected.into()), ("cache", cache.into())];
                g.call("executorch::update_cross_attn_cache", &update)
            };
            Ok(vec![update(key, a[0])?, update(value, a[1])?])
        },
    )?;
    Ok([results[0], results[1]])
}
