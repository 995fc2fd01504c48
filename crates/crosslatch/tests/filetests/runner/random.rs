//! `#! test: random`: what draws from a generator that is state.
//!
//! | expectation | meaning |
//! |---|---|
//! | `drawn by OPERATOR` | below a value: this operator computes it from the generator, which another one then changes |
//! | `nothing is drawn` | below `program` |
//!
//! A session and the interpreter run several times, are put back to the start, and must agree bit for bit; the
//! numbers of the start must return.

use crosslatch::ir::Program;
use crosslatch::ir::verify::verify;
use crosslatch::passes::random::draw_from_state;
use crosslatch::reference::ReferenceSession;
use crosslatch::{KernelSet, Options, Session};

use super::Pass;
use super::file::{Mode, TestFile};
use super::runs::{interpret, run, same};
use crate::models::{draw, model};
use crate::random::Random;

/// The pass that makes the generator a slot of state.
pub const PASS: Pass = Pass {
    name: "random",
    options: &[],
    expectations: &["drawn", "nothing is drawn"],
    least: 3,
    check,
};

const RUNS: usize = 3;
/// Integers are below this.
const ROWS: u64 = 5;

fn check(test: &TestFile, program: Program, mode: Mode) -> Result<(), String> {
    let mut decisions = test.decisions(&program)?;
    let mut drawing = program.clone();
    if !draw_from_state(&mut drawing) {
        decisions.program("nothing is drawn".to_owned());
    }
    verify(&drawing).map_err(|e| e.to_string())?;
    for node in &drawing.graph.nodes {
        let name = node.op.schema.name.as_str();
        let result = node
            .results
            .first()
            .map(|id| &drawing.graph.value(*id).name);
        let is_new = |name: &String| program.graph.values.iter().all(|value| value.name != *name);
        if let Some(result) =
            result.filter(|result| name.starts_with("crosslatch::") && !is_new(result))
        {
            decisions.value(result, format!("drawn by {name}"))?;
        }
    }
    decisions.settle(mode)?;

    let name = program.name.clone();
    let mut random = Random(13);
    let (model, inputs) = model(program, &mut random, ROWS)?;
    let session = Session::new(&model, Options::default());
    let mut session = session.map_err(|e| e.to_string())?;
    let reference = ReferenceSession::new(&model, KernelSet::Fast);
    let mut reference = reference.map_err(|e| e.to_string())?;
    let tensors = draw(inputs.iter(), &mut random, ROWS);
    let first = run(&mut session, &name, &tensors)?;
    same(&interpret(&mut reference, &name, &tensors)?, &first)?;
    for _ in 1..RUNS {
        let wanted = interpret(&mut reference, &name, &tensors)?;
        same(&wanted, &run(&mut session, &name, &tensors)?)?;
    }
    session.reset();
    same(&first, &run(&mut session, &name, &tensors)?)
}
