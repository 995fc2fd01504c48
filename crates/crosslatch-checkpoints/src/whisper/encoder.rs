//! The encoder: two convolutions over the log-mel spectrogram, then layers of self-attention.

use crosslatch::DType;
use crosslatch::ir::build::{BuildError, ProgramBuilder};
use crosslatch::ir::{Catalogue, Program, ValueId};

use super::config::Config;
use super::parts::{attention, feed_forward, residual};
use crate::layers::{Norm, add, attend, ints, linear, merge_heads, queries, split_heads};

/// `input_features [1, mel bins, 2 * positions]` → `last_hidden_state [1, positions, width]`.
///
/// # Errors
/// If the sizes do not fit each other.
pub fn encoder(config: &Config) -> Result<Program, BuildError> {
    let (width, positions) = (config.d_model, config.max_source_positions);
    let mut program = ProgramBuilder::new("encoder", Catalogue::builtin());
    let mel = [1, config.num_mel_bins, 2 * positions];
    let features = program.input("input_features", DType::F32, &mel);
    let first = convolution(&mut program, features, 1, [width, config.num_mel_bins], 1)?;
    let second = convolution(&mut program, first, 2, [width, width], 2)?;
    let table = "encoder.embed_positions.weight";
    let table = program.weight(table, DType::F32, &[positions, width]);
    let dims = ints(&[0, 2, 1]);
    let g = &mut program.graph;
    let hidden = g.call("aten::permute", &[("self", second.into()), ("dims", dims)])?;
    let mut hidden = add(g, hidden, table)?;
    for i in 0..config.encoder_layers {
        hidden = layer(&mut program, config, &format!("encoder.layers.{i}"), hidden)?;
    }
    let norm = Norm::layer(&mut program, "encoder.layer_norm", width);
    let hidden = norm.apply(&mut program.graph, hidden)?;
    program.output("last_hidden_state", hidden);
    program.finish()
}

fn convolution(
    program: &mut ProgramBuilder,
    x: ValueId,
    number: usize,
    [output, input]: [usize; 2],
    stride: i64,
) -> Result<ValueId, BuildError> {
    let name = format!("encoder.conv{number}");
    let weight = program.weight(&format!("{name}.weight"), DType::F32, &[output, input, 3]);
    let bias = program.weight(&format!("{name}.bias"), DType::F32, &[output]);
    let g = &mut program.graph;
    let convolved = g.call(
        "aten::conv1d",
        &[
            ("input", x.into()),
            ("weight", weight.into()),
            ("bias", bias.into()),
            ("stride", ints(&[stride])),
            ("padding", ints(&[1])),
        ],
    )?;
    g.call("aten::gelu", &[("self", convolved.into())])
}

fn layer(
    program: &mut ProgramBuilder,
    config: &Config,
    name: &str,
    x: ValueId,
) -> Result<ValueId, BuildError> {
    let (width, heads) = (config.d_model, config.encoder_attention_heads);
    let own = attention(program, &format!("{name}.self_attn"), width);
    let own_join = residual(program, &format!("{name}.self_attn_layer_norm"), width);
    let inner = feed_forward(program, name, [config.encoder_ffn_dim, width]);
    let inner_join = residual(program, &format!("{name}.final_layer_norm"), width);
    let g = &mut program.graph;
    let size = width / heads;
    let x = own_join.around(g, x, |g, normed| {
        let query = queries(g, normed, own.query, heads, size)?;
        let key = linear(g, normed, own.key)?;
        let key = split_heads(g, key, heads, size)?;
        let value = linear(g, normed, own.value)?;
        let value = split_heads(g, value, heads, size)?;
        let attended = attend(g, [query, key, value], None, 1.0)?;
        let attended = merge_heads(g, attended, width)?;
        linear(g, attended, own.out)
    })?;
    inner_join.around(g, x, |g, normed| inner.apply(g, normed))
}
