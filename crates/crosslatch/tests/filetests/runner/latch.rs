//! `#! test: latch`: what is computed once for each set of latched inputs.
//!
//! The header `#! inputs: NAME, …` says which inputs are latched.
//!
//! | expectation | meaning |
//! |---|---|
//! | `kept %NAME: TYPE` | this value is kept until a latched input changes |
//! | `left %NAME: REASON` | it depends on latched inputs alone, but every run computes it |
//! | `nothing is kept` | below `program`: the method is unchanged |
//!
//! One session runs with several sets of latched inputs, of several sizes. Whatever is decided, the
//! latched method, planned and interpreted, must return bit for bit what the interpreter returns
//! for the method before latching, and the kept values must be computed once for each change of
//! set.

use std::collections::HashMap;

use crosslatch::ir::{Program, SlotKind};
use crosslatch::reference::ReferenceSession;
use crosslatch::{KernelSet, Model, Options, Session};

use super::Pass;
use super::file::{Decisions, Mode, TestFile};
use super::runs::{interpret, run, same};
use crate::models::{Named, draw, slots};
use crate::random::Random;

/// The pass that latches inputs.
pub const PASS: Pass = Pass {
    name: "latch",
    options: &["inputs"],
    expectations: &["kept", "left", "nothing is kept"],
    least: 11,
    check,
};

/// The set of latched inputs for each run. The first one returns at the end, and the third runs
/// once.
const SETS: [usize; 9] = [0, 0, 1, 1, 1, 2, 0, 0, 0];
const CHANGES: u64 = 4;
/// Integers are below this, so that they are valid indices.
const ROWS: u64 = 3;

fn check(test: &TestFile, program: Program, mode: Mode) -> Result<(), String> {
    let inputs = test.option("inputs")?;
    let mut random = Random(5);
    // Weights and state have no symbols in their sizes, so any sizes will do.
    let sizes = program.symbols.iter().map(|s| (s.name.clone(), s.min));
    let slots = slots(&program, &sizes.collect());
    let others = slots.iter().filter(|s| s.kind != SlotKind::Input);
    let contents = draw(others, &mut random, ROWS);
    let contents: Vec<_> = contents
        .iter()
        .map(|(n, t)| (n.as_str(), t.clone()))
        .collect();
    let model = Model::in_memory(program.clone(), &contents).map_err(|e| e.to_string())?;
    let latched = model.latch(&inputs).map_err(|e| e.to_string())?;

    let mut decisions = test.decisions(&program)?;
    write(&mut decisions, &latched)?;
    decisions.settle(mode)?;
    run_sets(&program, &inputs, [&model, &latched], &mut random)
}

fn write(decisions: &mut Decisions<'_>, latched: &Model) -> Result<(), String> {
    let method = &latched.methods()[0];
    let Some(latch) = &method.latch else {
        decisions.program("nothing is kept".to_owned());
        return Ok(());
    };
    let program = &method.program;
    let slots = program.slots.iter().zip(&program.graph.inputs);
    let kept = slots.filter(|(slot, _)| slot.kind == SlotKind::Latched);
    let mut lines = Vec::new();
    for (_, id) in kept {
        let value = program.graph.value(*id);
        let decision = format!("kept %{}: {}", value.name, value.ty);
        lines.push(decisions.value(&value.name, decision)?);
    }
    if !lines.is_sorted() {
        return Err("the kept values are not in the order of the program".into());
    }
    for (name, reason) in &latch.left {
        decisions.value(name, format!("left %{name}: {reason}"))?;
    }
    Ok(())
}

fn run_sets(
    program: &Program,
    latch: &[&str],
    [model, latched]: [&Model; 2],
    random: &mut Random,
) -> Result<(), String> {
    let mut reference = ReferenceSession::new(model, KernelSet::Fast).map_err(|e| e.to_string())?;
    let mut interpreted =
        ReferenceSession::new(latched, KernelSet::Fast).map_err(|e| e.to_string())?;
    let mut session = Session::new(latched, Options::default()).map_err(|e| e.to_string())?;
    let drawn = |sizes: &HashMap<String, i64>, random: &mut Random, are_latched: bool| -> Named {
        let slots = slots(program, sizes);
        let inputs = slots.iter().filter(|s| s.kind == SlotKind::Input);
        let inputs = inputs.filter(|s| latch.contains(&s.name.as_str()) == are_latched);
        draw(inputs, random, ROWS)
    };
    let sets = [Random(1), Random(2), Random(3)].map(|mut random| {
        let sizes = program.symbols.iter().map(|s| {
            let range = s.max.unwrap_or(s.min + 4) - s.min + 1;
            (
                s.name.clone(),
                s.min + (random.next() % range as u64) as i64,
            )
        });
        let sizes: HashMap<String, i64> = sizes.collect();
        let tensors = drawn(&sizes, &mut random, true);
        (sizes, tensors)
    });
    let name = &program.name;
    for (i, set) in SETS.into_iter().enumerate() {
        let (sizes, kept) = &sets[set];
        let mut tensors = drawn(sizes, random, false);
        tensors.extend(kept.iter().cloned());
        let wanted = interpret(&mut reference, name, &tensors)?;
        let got = interpret(&mut interpreted, name, &tensors)?;
        same(&wanted, &got).map_err(|e| format!("run {i}, interpreted: {e}"))?;
        let got = run(&mut session, name, &tensors)?;
        same(&wanted, &got).map_err(|e| format!("run {i}, planned: {e}"))?;
    }
    if let Some(latch) = &latched.methods()[0].latch {
        let once = &latched.methods()[latch.once].program.name;
        let runs = session.runs(once).map_err(|e| e.to_string())?;
        if runs != CHANGES {
            return Err(format!(
                "the kept values were computed {runs} times in {CHANGES} changes of the inputs"
            ));
        }
    }
    Ok(())
}
