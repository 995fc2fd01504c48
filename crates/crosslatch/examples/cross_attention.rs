//! A decoder's cross-attention, built in Rust. The graph itself computes keys and values in the
//! first step of an input and keeps them in the session. The example prints the memory of each
//! value, then decodes two inputs one after the other.
//!
//! ```sh
//! cargo run --release -p crosslatch --example cross_attention
//! ```

use crosslatch::ir::build::{BuildError, GraphBuilder, ProgramBuilder};
use crosslatch::ir::{Catalogue, Program, ValueId};
use crosslatch::{Bool, DType, Input, Model, Options, Session, Tensor, TensorSizeError};

const HEADS: usize = 2;
const POSITIONS: usize = 5;
const CHANNELS: usize = 4;
const WIDTH: usize = HEADS * CHANNELS;

/// `x · wᵀ`, as `[1, heads, positions, channels]`.
fn project(g: &mut GraphBuilder, x: ValueId, w: ValueId) -> Result<ValueId, BuildError> {
    let flat = g.call("aten::linear", &[("input", x.into()), ("weight", w.into())])?;
    let size = [1, -1, HEADS as i64, CHANNELS as i64];
    let split = g.call(
        "aten::view",
        &[("self", flat.into()), ("size", size[..].into())],
    )?;
    g.call(
        "aten::transpose.int",
        &[
            ("self", split.into()),
            ("dim0", 1.into()),
            ("dim1", 2.into()),
        ],
    )
}

fn store(g: &mut GraphBuilder, value: ValueId, cache: ValueId) -> Result<ValueId, BuildError> {
    let update = "executorch::update_cross_attn_cache";
    g.call(update, &[("value", value.into()), ("cache", cache.into())])
}

fn decoder() -> Result<Program, BuildError> {
    let mut program = ProgramBuilder::new("decoder", Catalogue::builtin());
    let cached = program.input("cached", DType::Bool, &[1]);
    let hidden = program.input("hidden", DType::F32, &[1, 1, WIDTH]);
    let encoded = program.input("encoded", DType::F32, &[1, POSITIONS, WIDTH]);
    let [wq, wk, wv] = ["wq", "wk", "wv"].map(|w| program.weight(w, DType::F32, &[WIDTH, WIDTH]));
    let shape = [1, HEADS, POSITIONS, CHANNELS];
    let [keys, values] = ["keys", "values"].map(|c| program.state(c, DType::F32, &shape));
    let g = &mut program.graph;
    let kv = g.cond(
        cached,
        &[keys, values, encoded, wk, wv],
        |g, a| {
            g.call_all(
                "executorch::alias",
                &[("x", a[0].into()), ("y", a[1].into())],
            )
        },
        |g, a| {
            let (k, v) = (project(g, a[2], a[3])?, project(g, a[2], a[4])?);
            Ok(vec![store(g, k, a[0])?, store(g, v, a[1])?])
        },
    )?;
    let query = project(g, hidden, wq)?;
    let attended = g.call(
        "aten::scaled_dot_product_attention",
        &[
            ("query", query.into()),
            ("key", kv[0].into()),
            ("value", kv[1].into()),
        ],
    )?;
    program.output("attended", attended);
    program.finish()
}

fn random(shape: &[usize], seed: usize) -> Result<Tensor, TensorSizeError> {
    let numel: usize = shape.iter().product();
    let number = |i: usize| ((i * 7919 + seed * 104_729) % 101) as f32 / 50.0 - 1.0;
    Tensor::from_slice(shape, &(0..numel).map(number).collect::<Vec<_>>())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let weight = |seed| random(&[WIDTH, WIDTH], seed);
    let weights = [("wq", weight(1)?), ("wk", weight(2)?), ("wv", weight(3)?)];
    let model = Model::in_memory(decoder()?, &weights)?;
    print!("{}", model.methods()[0].program);
    let mut session = Session::new(&model, Options::default())?;
    for input in 0..2 {
        session.reset();
        let encoded = random(&[1, POSITIONS, WIDTH], 10 + input)?;
        for step in 0..3 {
            let hidden = random(&[1, 1, WIDTH], 20 + step)?;
            let cached = Tensor::from_slice(&[1], &[Bool::new(step > 0)])?;
            let [a, b, c] = [&cached, &hidden, &encoded].map(|t| Input::from(t.view()));
            let inputs = [("cached", a), ("hidden", b), ("encoded", c)];
            let outputs = session.run("decoder", &inputs)?;
            let attended = outputs.get("attended")?.to_vec::<f32>();
            println!("input {input}, step {step}: {:.3?}", &attended[..4]);
        }
    }
    let types = [DType::Bool, DType::F32, DType::F32];
    let shapes: [&[usize]; 3] = [&[1], &[1, 1, WIDTH], &[1, POSITIONS, WIDTH]];
    let inputs: Vec<_> = types
        .into_iter()
        .zip(shapes.map(crosslatch::Layout::contiguous))
        .collect();
    let plan = session.plan("decoder", &inputs)?;
    for value in &plan.values {
        println!("%{} in {} ({})", value.name, value.memory, value.made_by);
    }
    println!(
        "{} copies, {} proved unnecessary",
        plan.copies.len(),
        plan.elided.len()
    );
    Ok(())
}
