//! `#! test: alignment`: where a decoder's cross-attention is, and what returns its weights.
//!
//! The tokens are the input `ids`. The header `#! heads: LAYER.HEAD, …` says whose weights are returned;
//! without it, those of the last half of the layers are.
//!
//! | expectation | meaning |
//! |---|---|
//! | `layer N: cross-attention of H heads` | this node attends to the source |
//! | `layer N: not read: REASON` | it does, and its weights cannot be got |
//! | `left out` | the program that returns weights does without this node |
//! | `returns NAME, …` | below `return`: the outputs of that program |
//! | `not aligned: REASON` | below `program`: there is no such program |
//!
//! An output of the program with the name of one of these, or of its layer (`alignment.0`), is what the
//! weights have to be: the test computes it in its own way. Decoder and alignment run in turns in one
//! session, whose state they share, and in the reference interpreter; planned results must be those of
//! the interpreter, bit for bit, in every precision. In a session that does without the alignment, the
//! decoder must return the same.

use std::collections::HashMap;

use crosslatch::ir::verify::label;
use crosslatch::ir::{Program, SlotKind};
use crosslatch::passes::alignment::{Heads, align, layers};
use crosslatch::reference::ReferenceSession;
use crosslatch::{Bool, DType, Model, Options, Precision, Session, Tensor};

use super::Pass;
use super::file::{Decisions, Mode, TestFile};
use super::runs::{interpret, run, same};
use crate::models::{Named, draw, slots};
use crate::random::Random;

/// The pass that makes programs that return weights.
pub const PASS: Pass = Pass {
    name: "alignment",
    options: &["heads"],
    expectations: &["layer", "left out", "returns", "not aligned"],
    least: 7,
    check,
};

const TOKENS: &str = "ids";
const RUNS: usize = 3;
/// Integers are below this, so that they are valid indices.
const ROWS: u64 = 5;
/// How far weights may be from those that the program computes.
const TOLERANCE: f32 = 1e-5;

fn check(test: &TestFile, program: Program, mode: Mode) -> Result<(), String> {
    let heads = heads(test)?;
    let mut decisions = test.decisions(&program)?;
    let aligned = align(&program, TOKENS, &heads);
    if let Ok(layers) = layers(&program, TOKENS) {
        for (i, layer) in layers.into_iter().enumerate() {
            let decision = match layer.heads {
                Ok(heads) => format!("layer {i}: cross-attention of {heads} heads"),
                Err(reason) => format!("layer {i}: not read: {reason}"),
            };
            decisions.node(&layer.node, decision)?;
        }
    }
    let aligned = match aligned {
        Ok(aligned) => aligned,
        Err(reason) => {
            decisions.program(format!("not aligned: {reason}"));
            return decisions.settle(mode);
        }
    };
    left_out(&mut decisions, &program, &aligned.program)?;
    decisions.returns(format!("returns {}", aligned.weights.join(", ")));
    decisions.settle(mode)?;

    let mut random = Random(3);
    let sizes = program.symbols.iter().map(|s| (s.name.clone(), s.min));
    let all = slots(&program, &sizes.collect());
    let others = all.iter().filter(|s| s.kind == SlotKind::Weight);
    let contents = draw(others, &mut random, ROWS);
    let contents: Vec<_> = contents
        .iter()
        .map(|(n, t)| (n.as_str(), t.clone()))
        .collect();
    let name = program.name.clone();
    let model = Model::in_memory(program.clone(), &contents).map_err(|e| e.to_string())?;
    let aligned = model.aligned(&name, TOKENS, &heads);
    let aligned = aligned.map_err(|e| e.to_string())?;
    for precision in Precision::ALL {
        let at = |e: String| format!("{precision}: {e}");
        let options = Options {
            precision,
            ..Options::default()
        };
        in_turns(&program, [&model, &aligned], options, &mut random).map_err(at)?;
    }
    Ok(())
}

fn heads(test: &TestFile) -> Result<Heads, String> {
    let named = test.option("heads").unwrap_or_default().into_iter();
    let named = named.map(|head| {
        let (layer, head) = head.split_once('.')?;
        Some((layer.parse().ok()?, head.parse().ok()?))
    });
    let named = named.collect::<Option<Vec<_>>>();
    let named = named.ok_or("a head is written as LAYER.HEAD")?;
    Ok(match named.is_empty() {
        true => Heads::LastHalf,
        false => Heads::Named(named),
    })
}

fn left_out(
    decisions: &mut Decisions<'_>,
    program: &Program,
    aligned: &Program,
) -> Result<(), String> {
    let nodes = aligned.graph.nodes.iter();
    let kept: Vec<String> = nodes.map(|node| label(&aligned.graph, node)).collect();
    for node in &program.graph.nodes {
        let label = label(&program.graph, node);
        if !kept.contains(&label) {
            decisions.node(&label, "left out".to_owned())?;
        }
    }
    Ok(())
}

fn in_turns(
    program: &Program,
    [model, aligned]: [&Model; 2],
    options: Options,
    random: &mut Random,
) -> Result<(), String> {
    let failed = |e: crosslatch::Error| e.to_string();
    let mut reference = ReferenceSession::with_options(aligned, options).map_err(failed)?;
    let mut session = Session::new(aligned, options).map_err(failed)?;
    let mut without = Session::new(model, options).map_err(failed)?;
    let (name, weights) = (&program.name, format!("{}@alignment", program.name));
    for i in 0..RUNS {
        let sizes = program.symbols.iter().map(|s| {
            let range = s.max.unwrap_or(s.min + 4) - s.min + 1;
            (
                s.name.clone(),
                s.min + (random.next() % range as u64) as i64,
            )
        });
        let sizes: HashMap<String, i64> = sizes.collect();
        let inputs = slots(program, &sizes);
        let inputs = inputs.iter().filter(|s| s.kind == SlotKind::Input);
        let mut inputs = draw(inputs, random, ROWS);
        if i == 0 {
            begin(&mut inputs)?;
        }
        let wanted = interpret(&mut reference, name, &inputs)?;
        for (who, session) in [("alone", &mut without), ("in turns", &mut session)] {
            let got = run(session, name, &inputs)?;
            same(&wanted, &got).map_err(|e| format!("run {i}, {who}: {e}"))?;
        }
        let aligned = interpret(&mut reference, &weights, &inputs)?;
        let got = run(&mut session, &weights, &inputs)?;
        same(&aligned, &got).map_err(|e| format!("run {i}, weights: {e}"))?;
        if options.precision == Precision::F32 {
            are_weights(&aligned, &wanted).map_err(|e| format!("run {i}: {e}"))?;
        }
    }
    Ok(())
}

/// Makes all predicates true: the first run fills what a branch fills.
fn begin(inputs: &mut Named) -> Result<(), String> {
    let predicates = inputs.iter_mut().filter(|(_, t)| t.dtype() == DType::Bool);
    for (_, tensor) in predicates {
        let all = vec![Bool::new(true); tensor.shape().iter().product()];
        *tensor = Tensor::from_slice(tensor.shape(), &all).map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// Requires that these are weights, and those that the decoder says, if it does.
fn are_weights(aligned: &Named, decoded: &Named) -> Result<(), String> {
    for (name, tensor) in aligned {
        let values = tensor.view().to_vec::<f32>();
        let source = *tensor.shape().last().unwrap_or(&1);
        let sums = values.chunks(source).map(|row| row.iter().sum::<f32>());
        if let Some(sum) = sums.into_iter().find(|sum| (sum - 1.0).abs() > TOLERANCE) {
            return Err(format!("`{name}` has a row whose sum is {sum}"));
        }
        let mut parts = name.split('.').skip(1);
        let (layer, head) = (parts.next().unwrap_or_default(), parts.next());
        let of_layer = format!("alignment.{layer}");
        let Some((_, own)) = decoded.iter().find(|(n, _)| *n == of_layer) else {
            continue;
        };
        let own = of_head(own, head)?;
        let far = values
            .iter()
            .zip(&own)
            .find(|(x, y)| (*x - *y).abs() > TOLERANCE);
        if own.len() != values.len() || far.is_some() {
            return Err(format!("`{name}` is {values:?}, and should be {own:?}"));
        }
    }
    Ok(())
}

/// The weights of a head, or of all, of a tensor `[1, heads, tokens, source]`.
fn of_head(layer: &Tensor, head: Option<&str>) -> Result<Vec<f32>, String> {
    let values = layer.view().to_vec::<f32>();
    let Some(head) = head else {
        return Ok(values);
    };
    let head: usize = head.parse().map_err(|_| "a head is no number")?;
    let each = layer.shape()[2..].iter().product::<usize>();
    Ok(values[head * each..][..each].to_vec())
}
