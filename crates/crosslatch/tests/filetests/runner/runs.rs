//! Planned and interpreted runs of a program, and their comparison.

use std::collections::HashMap;

use crosslatch::ir::{Program, SlotKind};
use crosslatch::reference::ReferenceSession;
use crosslatch::{DType, Input, KernelSet, Model, Options, Precision, Session, Tensor};

use crate::models::{Named, SizedSlot, draw, slots};
use crate::random::Random;

/// Runs of a session, one after the other.
const RUNS: usize = 2;

/// How much farther from `f32` a result in four bits may be: there are sixteen values for 256.
const IN_FOUR_BITS: f32 = 8.0;

/// The outputs of an interpreted run.
pub fn interpret(
    session: &mut ReferenceSession,
    method: &str,
    inputs: &Named,
) -> Result<Named, String> {
    let views: Vec<_> = inputs.iter().map(|(n, t)| (n.as_str(), t.view())).collect();
    session.run(method, &views).map_err(|e| e.to_string())
}

/// The outputs of a planned run.
pub fn run(session: &mut Session, method: &str, inputs: &Named) -> Result<Named, String> {
    let named = inputs
        .iter()
        .map(|(n, t)| (n.as_str(), Input::from(t.view())));
    let named: Vec<_> = named.collect();
    let outputs = session.run(method, &named).map_err(|e| e.to_string())?;
    let outputs = outputs.iter();
    Ok(outputs
        .map(|(n, t)| (n.to_owned(), Tensor::copy_of(&t)))
        .collect())
}

/// Requires that all outputs are equal, bit for bit.
pub fn same(wanted: &Named, got: &Named) -> Result<(), String> {
    if wanted.len() != got.len() {
        return Err(format!("{} outputs instead of {}", got.len(), wanted.len()));
    }
    for (name, wanted) in wanted {
        let got = got.iter().find(|(n, _)| n == name);
        let (_, got) = got.ok_or(format!("no output `{name}`"))?;
        let is_same = got.dtype() == wanted.dtype()
            && got.shape() == wanted.shape()
            && got.bytes() == wanted.bytes();
        if !is_same {
            return Err(format!(
                "output `{name}`: {:?}, the reference has {:?}",
                values(got),
                values(wanted)
            ));
        }
    }
    Ok(())
}

/// Requires that planned and interpreted runs of a program without symbols return bit for bit what the
/// interpreter returns where the weights are inputs, which no pass touches. Integers are below `rows`.
pub fn as_with_inputs_for_weights(
    program: Program,
    random: &mut Random,
    rows: u64,
) -> Result<(), String> {
    let all = slots(&program, &HashMap::new());
    let of_kind = |kind| {
        all.iter()
            .filter(move |slot: &&SizedSlot| slot.kind == kind)
    };
    let weights = draw(of_kind(SlotKind::Weight), random, rows);
    let borrowed: Vec<_> = weights
        .iter()
        .map(|(n, t)| (n.as_str(), t.clone()))
        .collect();
    let model = Model::in_memory(program.clone(), &borrowed).map_err(|e| e.to_string())?;
    let mut untouched = program;
    for slot in &mut untouched.slots {
        if slot.kind == SlotKind::Weight {
            slot.kind = SlotKind::Input;
        }
    }
    let untouched = Model::in_memory(untouched, &[]).map_err(|e| e.to_string())?;
    let method = &model.methods()[0].program.name;
    let of_model = |model| {
        let session = ReferenceSession::with_options(model, Options::default());
        session.map_err(|e| e.to_string())
    };
    let (mut oracle, mut reference) = (of_model(&untouched)?, of_model(&model)?);
    let session = Session::new(&model, Options::default());
    let mut session = session.map_err(|e| e.to_string())?;
    for _ in 0..RUNS {
        let inputs = draw(of_kind(SlotKind::Input), random, rows);
        let with_weights: Named = inputs.iter().chain(&weights).cloned().collect();
        let wanted = interpret(&mut oracle, method, &with_weights)?;
        same(&wanted, &interpret(&mut reference, method, &inputs)?)?;
        same(&wanted, &run(&mut session, method, &inputs)?)?;
    }
    Ok(())
}

fn values(tensor: &Tensor) -> Vec<f64> {
    use crosslatch_kernels::Element;
    crosslatch_kernels::with_element!(tensor.dtype(), T => {
        tensor.view().to_vec::<T>().into_iter().map(Element::to_f64).collect()
    })
}

/// Runs a model in every precision. Planned runs, with one thread and with two, must equal the
/// reference interpreter in the same precision bit for bit. Interpreted with fast and with plain
/// kernels, every precision must be near `f32`, and differ from it if and only if it shows.
/// `tolerance` is that of eight bits.
pub fn in_every_precision(
    model: &Model,
    runs: &[Named],
    tolerance: f32,
    shows: &dyn Fn(Precision) -> bool,
) -> Result<(), String> {
    let method = &model.methods()[0].program.name;
    for kernels in [KernelSet::Fast, KernelSet::Plain] {
        let mut in_f32 = Vec::new();
        for precision in Precision::ALL {
            let options = Options {
                kernels,
                precision,
                ..Options::default()
            };
            let reference = ReferenceSession::with_options(model, options);
            let mut reference = reference.map_err(|e| e.to_string())?;
            let wanted = runs.iter().map(|r| interpret(&mut reference, method, r));
            let wanted: Vec<Named> = wanted.collect::<Result<_, _>>()?;
            let at = |e: String| format!("{precision}, {kernels:?} kernels: {e}");
            if kernels == KernelSet::Fast {
                planned_equals(model, options, runs, &wanted).map_err(at)?;
            }
            let floats = floats(&wanted);
            if precision == Precision::F32 {
                in_f32 = floats;
                continue;
            }
            let allowed = match precision {
                Precision::Int4 => tolerance * IN_FOUR_BITS,
                _ => tolerance,
            };
            near(&in_f32, &floats, allowed).map_err(at)?;
            if (in_f32 != floats) != shows(precision) {
                let difference = if shows(precision) {
                    "no difference from"
                } else {
                    "another result than"
                };
                return Err(at(format!("{difference} f32")));
            }
        }
    }
    Ok(())
}

fn planned_equals(
    model: &Model,
    options: Options,
    runs: &[Named],
    wanted: &[Named],
) -> Result<(), String> {
    let method = &model.methods()[0].program.name;
    for threads in [1, 2] {
        let options = Options { threads, ..options };
        let mut session = Session::new(model, options).map_err(|e| e.to_string())?;
        for (i, (inputs, wanted)) in runs.iter().zip(wanted).enumerate() {
            let got = run(&mut session, method, inputs)?;
            same(wanted, &got).map_err(|e| format!("{threads} threads, run {i}: {e}"))?;
        }
    }
    Ok(())
}

fn floats(runs: &[Named]) -> Vec<f32> {
    let tensors = runs.iter().flatten().map(|(_, tensor)| tensor);
    let tensors = tensors.filter(|tensor| tensor.dtype() == DType::F32);
    tensors
        .flat_map(|tensor| tensor.view().to_vec::<f32>())
        .collect()
}

/// Requires that no element is off by more than this share of the largest one.
fn near(wanted: &[f32], got: &[f32], tolerance: f32) -> Result<(), String> {
    let largest = wanted.iter().fold(0f32, |m, x| m.max(x.abs()));
    let far = |(x, y): &(&f32, &f32)| {
        let distance = (*x - *y).abs();
        distance.is_nan() || distance > tolerance * largest
    };
    match wanted.iter().zip(got).find(far) {
        Some((x, y)) => Err(format!("{y} instead of {x} in f32")),
        None => Ok(()),
    }
}
