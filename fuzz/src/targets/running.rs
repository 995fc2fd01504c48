//! A few runs of a model: planned and interpreted, which must agree bit for bit.
//!
//! Symbols get their smallest value, inputs small numbers. A program with more than a few thousand
//! elements of input is planned but not run.

use crosslatch::inputs::{fed_slots, input_slots, types_for};
use crosslatch::ir::graph::{Node, Program};
use crosslatch::reference::ReferenceSession;
use crosslatch::{
    DType, Input, Layout, MemoryLimit, Model, Options, Precision, Session, Tensor, TurnLimit,
};

use super::kind_of;

/// The most elements of all inputs of a run.
const MOST_ELEMENTS: usize = 1 << 14;

/// The most memory of a plan that is still run, in bytes.
const MOST_MEMORY: usize = 1 << 22;

const RUNS: usize = 2;

/// Plans and runs every method.
///
/// # Panics
/// If the plan's outputs differ from the reference's, which is a finding.
pub fn run(model: &Model, precision: Precision) -> String {
    let mut answers = Vec::new();
    let names = model.methods().iter().map(|m| m.program.name.clone());
    for method in names.collect::<Vec<_>>() {
        answers.push(match run_method(model, &method, precision) {
            Ok(answer) => answer,
            Err(refusal) => kind_of(&refusal),
        });
    }
    answers.join("; ")
}

fn run_method(model: &Model, name: &str, precision: Precision) -> Result<String, String> {
    let index = model.method_index(name).map_err(|e| e.to_string())?;
    let program = &model.methods()[index].program;
    let types = types_for(program, |symbol| {
        symbol
            .min
            .clamp(2, 1 << 40)
            .min(symbol.max.unwrap_or(i64::MAX))
    });
    let Some(types) = types else {
        return Ok("good: has sizes that no symbols give".to_owned());
    };
    let options = Options {
        threads: 1,
        precision,
        // The limit for plans; runs are limited to far less (`MOST_MEMORY`).
        memory_limit: MemoryLimit::bytes(1 << 24),
        turn_limit: TurnLimit::turns(1 << 10),
        ..Options::default()
    };
    let mut session = Session::new(model, options).map_err(|e| e.to_string())?;
    // What runs in segments is planned on the way.
    let memory = match session.model().methods()[index].segments {
        Some(_) => 0,
        None => {
            let plan = session.plan(name, &types).map_err(|e| e.to_string())?;
            plan.arena_bytes
        }
    };
    let elements = types.iter().try_fold(0_usize, |sum, (_, layout)| {
        let numel = crosslatch_numel(layout)?;
        sum.checked_add(numel)
    });
    if memory > MOST_MEMORY || elements.is_none_or(|n| n > MOST_ELEMENTS) {
        return Ok("good: is too large to run".to_owned());
    }
    if fed_slots(program).count() != input_slots(program).count() {
        return Ok("good: takes what other methods leave".to_owned());
    }
    let reference = ReferenceSession::with_options(model, options);
    let mut reference = reference.map_err(|e| e.to_string())?;
    let mut numbers = fastrand::Rng::with_seed(7);
    for _ in 0..RUNS {
        let drawn = input_slots(program).zip(&types);
        let drawn = drawn.map(|((_, slot), (dtype, layout))| {
            Some((slot, tensor(&mut numbers, *dtype, layout)?))
        });
        let drawn = drawn.collect::<Option<Vec<_>>>();
        let drawn = drawn.ok_or("an input cannot be made")?;
        let viewed: Vec<_> = drawn.iter().map(|(n, t)| (*n, t.view())).collect();
        let named: Vec<_> = viewed.iter().map(|(n, t)| (*n, Input::from(*t))).collect();
        let wanted = reference.run(name, &viewed);
        let outputs = session.run(name, &named).map_err(|e| format!("run: {e}"))?;
        let wanted = match wanted {
            Ok(wanted) => wanted,
            Err(error) => panic!("the reference refuses what was planned and run: {error}"),
        };
        for (output, tensor) in &wanted {
            let got = outputs.get(output).map(|t| Tensor::copy_of(&t));
            let Ok(got) = got else {
                panic!("an output of the reference is missing");
            };
            if got.shape() != tensor.shape() || got.bytes() != tensor.bytes() {
                panic!(
                    "an output differs from the reference's (made by {})",
                    last(program)
                );
            }
        }
    }
    Ok(format!("good: ran, {}", last(program)))
}

/// The last operators, because programs that end differently are worth keeping.
fn last(program: &Program) -> String {
    let name = |node: &Node| node.op.schema.name.clone();
    let last = program.graph.nodes.iter().rev().take(1).map(name);
    last.collect::<Vec<_>>().join(" ")
}

fn crosslatch_numel(layout: &Layout) -> Option<usize> {
    layout
        .shape
        .iter()
        .try_fold(1_usize, |n, d| n.checked_mul(*d))
}

/// Small numbers of a type; integers are mostly valid indices.
fn tensor(numbers: &mut fastrand::Rng, dtype: DType, layout: &Layout) -> Option<Tensor> {
    let count = crosslatch_numel(layout)?;
    let mut bytes = Vec::with_capacity(count * dtype.size());
    for _ in 0..count {
        let whole = numbers.u8(0..3);
        let tenth = f64::from(numbers.i8(-10..=10)) / 10.0;
        match dtype {
            DType::F32 => bytes.extend((tenth as f32).to_le_bytes()),
            DType::F64 => bytes.extend(tenth.to_le_bytes()),
            // 0, 1, 2 and -1 in the upper halves of their words; f16 and bf16 alike.
            DType::F16 | DType::BF16 => bytes.extend([0, [0x00, 0x3c, 0xbf][whole as usize]]),
            DType::Bool => bytes.push(whole & 1),
            _ => {
                bytes.push(whole);
                bytes.extend(std::iter::repeat_n(0, dtype.size() - 1));
            }
        }
    }
    Tensor::from_bytes(dtype, &layout.shape, &bytes).ok()
}
