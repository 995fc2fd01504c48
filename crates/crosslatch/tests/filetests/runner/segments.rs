//! `#! test: segments`: where a program is cut because it makes numbers of contents.
//!
//! | expectation | meaning |
//! |---|---|
//! | `N segments` | below `program`: the number of programs that it is cut into |
//! | `returned by segment K` | below a value: the segment `K` returns it for those behind it |
//! | `refused: REASON` | below a node: the program cannot be cut there |
//!
//! A session and the interpreter, which knows of no segments, run with several sets of inputs, and must
//! agree bit for bit, in the results and in the state behind the last run.

use crosslatch::ir::{Program, SlotKind};
use crosslatch::passes::segments::segments;
use crosslatch::reference::ReferenceSession;
use crosslatch::{KernelSet, Model, Options, Session};

use super::Pass;
use super::file::{Decisions, Mode, TestFile};
use super::runs::{interpret, run, same};
use crate::models::{draw, model};
use crate::random::Random;

/// The pass that cuts programs.
pub const PASS: Pass = Pass {
    name: "segments",
    options: &[],
    expectations: &[
        "1 segment",
        "2 segments",
        "3 segments",
        "returned",
        "refused",
    ],
    least: 8,
    check,
};

const RUNS: usize = 12;
/// Integers are below this, so that they are lengths of every tensor.
const ROWS: u64 = 3;

fn check(test: &TestFile, program: Program, mode: Mode) -> Result<(), String> {
    let mut decisions = test.decisions(&program)?;
    let mut random = Random(11);
    let name = program.name.clone();
    let cut = segments(&program);
    let (model, inputs) = model(program, &mut random, ROWS)?;
    let session = Session::new(&model, Options::default());
    let mut session = session.map_err(|e| e.to_string())?;
    if let Err(refusal) = cut {
        decisions.node(&refusal.node, format!("refused: {}", refusal.reason))?;
        return decisions.settle(mode);
    }
    write(&mut decisions, &session.model().clone())?;
    decisions.settle(mode)?;
    let reference = ReferenceSession::new(&model, KernelSet::Fast);
    let mut reference = reference.map_err(|e| e.to_string())?;
    for i in 0..RUNS {
        let tensors = draw(inputs.iter(), &mut random, ROWS);
        let wanted = interpret(&mut reference, &name, &tensors)?;
        let got = run(&mut session, &name, &tensors)?;
        same(&wanted, &got).map_err(|e| format!("run {i}: {e}"))?;
    }
    let program = &model.methods()[0].program;
    for slot in program.slots.iter().filter(|s| s.kind == SlotKind::State) {
        let wanted = reference.state(&name, &slot.name);
        let got = session.state(&name, &slot.name);
        if wanted.map(|t| t.bytes().to_vec()) != got.map(|t| t.bytes().to_vec()) {
            return Err(format!("state `{}` differs", slot.name));
        }
    }
    Ok(())
}

fn write(decisions: &mut Decisions<'_>, model: &Model) -> Result<(), String> {
    let count = model.methods().len();
    let plural = if count == 1 { "" } else { "s" };
    decisions.program(format!("{count} segment{plural}"));
    for (segment, method) in model.methods().iter().skip(1).enumerate() {
        let program = &method.program;
        for output in &program.outputs {
            let crosslatch::ir::graph::Output::User(name) = output else {
                continue;
            };
            let of = name.split('@').next().unwrap_or(name);
            let decision = format!("returned by segment {segment}");
            match decisions.value(of, decision.clone()) {
                Ok(_) => {}
                Err(_) => decisions.slot(of, decision)?,
            }
        }
    }
    Ok(())
}
