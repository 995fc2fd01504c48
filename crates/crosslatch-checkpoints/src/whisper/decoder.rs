//! The decoder: tokens at some positions, with caches of self-attention, and of cross-attention
//! computed once per input.

use crosslatch::DType;
use crosslatch::ir::build::{BuildError, GraphBuilder, ProgramBuilder};
use crosslatch::ir::graph::Symbol;
use crosslatch::ir::{Arg, Catalogue, Program, Size, ValueId};

use super::config::Config;
use super::layers::{
    Affine, Attention, FeedForward, add, attend, layer_norm, linear, merge_heads, queries,
    split_heads,
};

/// The symbol for the number of tokens in a step.
const TOKENS: &str = "tokens";

/// `input_ids [1, tokens]` at `cache_position [tokens]` and `encoder_hidden_states [1, source
/// positions, width]` → `logits [1, tokens, vocabulary]`.
///
/// # Errors
/// If the sizes do not fit each other.
pub fn decoder(config: &Config) -> Result<Program, BuildError> {
    let width = config.d_model;
    let symbol = Symbol {
        name: TOKENS.to_owned(),
        min: 1,
        max: Some(config.max_target_positions as i64),
    };
    let catalogue = Catalogue::builtin();
    let mut program = ProgramBuilder::with_symbols("decoder", catalogue, vec![symbol]);
    let tokens = Size::Symbol(TOKENS.to_owned());
    let ids = [Size::Const(1), tokens.clone()];
    let ids = program.input_of_sizes("input_ids", DType::I64, &ids)?;
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
    let embedded = g.call(
        "aten::embedding",
        &[("weight", embeddings.into()), ("indices", ids.into())],
    )?;
    let indices = Arg::Values(vec![Some(at)]);
    let position = g.call(
        "aten::index.Tensor",
        &[("self", positions.into()), ("indices", indices)],
    )?;
    let mut hidden = add(g, embedded, position)?;
    for i in 0..config.decoder_layers {
        hidden = layer(&mut program, config, &step, i, hidden)?;
    }
    let norm = Affine::norm(&mut program, "decoder.layer_norm", width);
    let g = &mut program.graph;
    let hidden = layer_norm(g, hidden, norm)?;
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
        let end = config.max_target_positions as i64;
        let all = g.call("aten::arange", &[("end", end.into())])?;
        let row = g.call(
            "aten::unsqueeze",
            &[("self", all.into()), ("dim", 0i64.into())],
        )?;
        let column = g.call(
            "aten::unsqueeze",
            &[("self", at.into()), ("dim", 1i64.into())],
        )?;
        let mask = g.call(
            "aten::le.Tensor",
            &[("self", row.into()), ("other", column.into())],
        )?;
        let first = [
            ("self", at.into()),
            ("dim", 0i64.into()),
            ("index", 0i64.into()),
        ];
        let first = g.call("aten::select.int", &first)?;
        let filled = [("self", first.into()), ("other", 0i64.into())];
        Ok(Step {
            at,
            encoded,
            mask,
            is_filled: g.call("aten::gt.Scalar", &filled)?,
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
    let own = Attention::new(program, &format!("{name}.self_attn"), width);
    let own_norm = Affine::norm(program, &format!("{name}.self_attn_layer_norm"), width);
    let cross = Attention::new(program, &format!("{name}.encoder_attn"), width);
    let cross_norm = Affine::norm(program, &format!("{name}.encoder_attn_layer_norm"), width);
    let feed_forward = FeedForward::new(program, &name, width, config.decoder_ffn_dim);
    let mut cache = |kind: &str, positions: usize| {
        let shape = [1, heads, positions, size];
        program.state(&format!("caches.{number}.{kind}"), DType::F32, &shape)
    };
    let [keys, values] = ["keys", "values"].map(|kind| cache(kind, config.max_target_positions));
    let cross_caches =
        ["cross_keys", "cross_values"].map(|kind| cache(kind, config.max_source_positions));

    let g = &mut program.graph;
    let normed = layer_norm(g, x, own_norm)?;
    let mut store = |cache: ValueId, by: Affine| {
        let projected = linear(g, normed, by)?;
        let projected = split_heads(g, projected, heads, size)?;
        g.call(
            "aten::index_copy",
            &[
                ("self", cache.into()),
                ("dim", 2i64.into()),
                ("index", step.at.into()),
                ("source", projected.into()),
            ],
        )
    };
    let [new_keys, new_values] = [store(keys, own.key)?, store(values, own.value)?];
    let query = queries(g, normed, own.query, heads, size)?;
    let attended = attend(g, [query, new_keys, new_values], Some(step.mask))?;
    let attended = merge_heads(g, attended, width)?;
    let out = linear(g, attended, own.out)?;
    let x = add(g, x, out)?;

    let normed = layer_norm(g, x, cross_norm)?;
    let [key, value] = cross_attention(g, step, &cross, cross_caches, [heads, size])?;
    let query = queries(g, normed, cross.query, heads, size)?;
    let attended = attend(g, [query, key, value], None)?;
    let attended = merge_heads(g, attended, width)?;
    let out = linear(g, attended, cross.out)?;
    let x = add(g, x, out)?;
    let x = feed_forward.apply(g, x)?;

    program.store(keys, new_keys)?;
    program.store(values, new_values)?;
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
