//! `#! test: plan`: which copies a plan keeps, and where values live.
//!
//! | expectation | meaning |
//! |---|---|
//! | `no copies` | below `program`: no copy is left |
//! | `copy: REASON` | this copy stays |
//! | `store: REASON` | an operator stores a new value in other memory, and it could not be computed there |
//! | ``copy `NAME`: REASON`` | the same for an output or a buffer, below `return`, or for an input, below its slot |
//! | `refused: MESSAGE` | there is no plan, because of this node |
//! | `%NAME in MEMORY`, `%NAME nowhere` | where this value lives; nowhere if a kernel passes it on in registers |
//!
//! Memory is checked, and rewritten, only for the values that a file names. All other decisions are
//! checked in every file.
//!
//! Whatever is decided, several runs of one session on random inputs must equal the reference
//! interpreter bit for bit, and so must the runs of a fork made after each of them, and those of a
//! session that takes over the state after each of them. Only outputs are compared, so programs
//! return what depends on their state.

use crosslatch::ir::Program;
use crosslatch::plan::Plan;
use crosslatch::reference::ReferenceSession;
use crosslatch::{Error, KernelSet, Layout, Model, Options, Session};

use super::Pass;
use super::file::{Decisions, Mode, TestFile};
use super::runs::{interpret, run, same};
use crate::models::{Named, SizedSlot, draw, model};
use crate::random::Random;

/// The planner.
pub const PASS: Pass = Pass {
    name: "plan",
    options: &[],
    expectations: &["no copies", "copy", "store", "refused", "%"],
    least: 80,
    check,
};

const RUNS: usize = 4;
/// Runs of each fork.
const FORK_RUNS: usize = 2;
/// Integers are below this, so that they are valid indices.
const ROWS: u64 = 2;

fn check(test: &TestFile, program: Program, mode: Mode) -> Result<(), String> {
    let mut decisions = test.decisions(&program)?;
    let outputs: Vec<String> = output_names(&program);
    let mut random = Random(7);
    let name = program.name.clone();
    let (model, inputs) = model(program, &mut random, ROWS)?;
    let options = Options {
        threads: 2,
        kernels: KernelSet::Fast,
        ..Options::default()
    };
    let mut session = Session::new(&model, options).map_err(|e| e.to_string())?;
    let types = inputs.iter();
    let types = types.map(|slot| (slot.dtype, Layout::contiguous(&slot.shape)));
    let planned = session.plan(&name, &types.collect::<Vec<_>>());
    let is_refused = planned.is_err();
    match planned {
        Ok(plan) => write_plan(&mut decisions, plan, &outputs)?,
        Err(error) => write_refusal(&mut decisions, &error)?,
    }
    decisions.settle(mode)?;
    match is_refused {
        true => Ok(()),
        false => run_and_fork(&model, &options, &mut session, &inputs, &mut random),
    }
}

/// The names that a plan gives to copies made for what the program returns.
fn output_names(program: &Program) -> Vec<String> {
    use crosslatch::ir::graph::Output;
    let outputs = program.outputs.iter().map(|output| match output {
        Output::User(name) => name,
        Output::Mutation { slot } => &program.slots[*slot].name,
    });
    outputs.map(|name| format!("`{name}`")).collect()
}

fn write_plan(
    decisions: &mut Decisions<'_>,
    plan: &Plan,
    outputs: &[String],
) -> Result<(), String> {
    if plan.copies.is_empty() {
        decisions.program("no copies".to_owned());
    }
    for copy in &plan.copies {
        let what = if copy.store { "store" } else { "copy" };
        let (of, reason) = (&copy.value, &copy.reason);
        match copy.value.ends_with(')') {
            true => decisions.node(of, format!("{what}: {reason}"))?,
            false if outputs.contains(of) => decisions.returns(format!("{what} {of}: {reason}")),
            false => {
                let slot = of.trim_matches('`');
                decisions.slot(slot, format!("{what} {of}: {reason}"))?;
            }
        }
    }
    for pin in decisions.pins()? {
        let values = plan.values.iter().filter(|v| v.name == pin.path);
        let mut memories: Vec<String> = values.map(|v| v.memory.to_string()).collect();
        memories.dedup();
        match memories.is_empty() {
            true => decisions.pinned(&pin, "nowhere"),
            false => decisions.pinned(&pin, &format!("in {}", memories.join(" and "))),
        }
    }
    Ok(())
}

fn write_refusal(decisions: &mut Decisions<'_>, error: &Error) -> Result<(), String> {
    if !decisions.pins()?.is_empty() {
        return Err(format!(
            "values live nowhere, the program is refused: {error}"
        ));
    }
    match error {
        Error::Node { node, reason, .. } => decisions.node(node, format!("refused: {reason}")),
        _ => {
            decisions.program(format!("refused: {error}"));
            Ok(())
        }
    }
}

fn run_and_fork(
    model: &Model,
    options: &Options,
    session: &mut Session,
    inputs: &[SizedSlot],
    random: &mut Random,
) -> Result<(), String> {
    let reference = || ReferenceSession::new(model, KernelSet::Fast).map_err(|e| e.to_string());
    let name = &model.methods()[0].program.name;
    let both = |oracle: &mut ReferenceSession, session: &mut Session, tensors: &Named| {
        let wanted = interpret(oracle, name, tensors)?;
        same(&wanted, &run(session, name, tensors)?)
    };
    let mut oracle = reference()?;
    let mut history = Vec::new();
    let mut follower = Session::new(model, *options).map_err(|e| e.to_string())?;
    for i in 0..RUNS {
        let tensors = draw(inputs, random, ROWS);
        both(&mut oracle, session, &tensors).map_err(|e| format!("run {i}: {e}"))?;
        history.push(tensors);
        // The fork goes on independently, and so does the session in the runs that follow.
        let mut fork = session.fork().map_err(|e| e.to_string())?;
        let taken_over = follower.continue_from(session);
        taken_over.map_err(|e| e.to_string())?;
        for (what, fork) in [("fork", &mut fork), ("follower", &mut follower)] {
            let mut forks_oracle = reference()?;
            for tensors in &history {
                interpret(&mut forks_oracle, name, tensors)?;
            }
            for _ in 0..FORK_RUNS {
                let tensors = draw(inputs, random, ROWS);
                let in_fork = both(&mut forks_oracle, fork, &tensors);
                in_fork.map_err(|e| format!("{what} after run {i}: {e}"))?;
            }
        }
    }
    Ok(())
}
