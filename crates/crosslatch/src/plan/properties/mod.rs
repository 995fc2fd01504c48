//! Random programs: plans compute what the reference interpreter computes, bit for bit.
//!
//! The plan and the interpreter run each program several times in one session, with a reset in
//! between; after each run, outputs and state must be equal. A program that has no meaning (it
//! writes a view whose elements share memory) or that exceeds the memory limit must be refused
//! before anything runs. When a program fails, a smaller one that fails is searched for and
//! reported. `CROSSLATCH_PROGRAMS` sets the number of programs.
//!
//! These tests are tested in turn: if the plan forgets any one rule of [`Conflict`], some program
//! among the first thousand fails.

mod control;
mod generate;

use super::conflict::{Conflict, FORGOTTEN};
use crate::ir::graph::{SlotKind, ValueType};
use crate::ir::{Program, TensorType};
use crate::reference::ReferenceSession;
use crate::{Error, Input, KernelSet, MemoryLimit, Model, Options, Session, Tensor};
use generate::{Random, program};

/// Statements per program; fewer in the search for a smaller one that fails.
const SIZE: usize = 14;

/// Runs per session, which is reset half way.
const RUNS: usize = 4;

/// The memory limit of a session: ordinary programs take a few kilobytes.
const LIMIT: MemoryLimit = MemoryLimit::bytes(1 << 20);

#[derive(Debug)]
enum Outcome {
    Equal,
    /// The plan was refused.
    Refused(Error),
    Different(String),
}

/// Why a program is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// After one branch of a `cond` only, its result is the memory of an operand or another result.
    Undecided,
    /// It writes a view whose elements share memory.
    SharedElements,
    /// It exceeds the memory limit.
    Memory,
    /// A loop writes what it is given anew at each turn.
    CarriedIsWritten,
}

impl Refusal {
    fn of(error: &Error) -> Option<Refusal> {
        match error {
            Error::Memory { .. } => Some(Refusal::Memory),
            Error::Node { reason, .. } if reason.contains("is the memory of an operand") => {
                Some(Refusal::Undecided)
            }
            Error::Node { reason, .. } if reason.contains("whose elements share memory") => {
                Some(Refusal::SharedElements)
            }
            Error::Node { reason, .. } if reason.contains("writes what it is carried") => {
                Some(Refusal::CarriedIsWritten)
            }
            _ => None,
        }
    }
}

#[test]
fn random_programs_mean_the_same_planned_and_interpreted() {
    let programs = std::env::var("CROSSLATCH_PROGRAMS").ok();
    let programs = programs.and_then(|n| n.parse().ok()).unwrap_or(10_000);
    let all = [
        Refusal::Undecided,
        Refusal::SharedElements,
        Refusal::Memory,
        Refusal::CarriedIsWritten,
    ];
    let mut refused = [0; 4];
    for seed in 0..programs {
        match outcome(seed, SIZE) {
            Outcome::Equal => {}
            Outcome::Refused(error) => {
                let why = all.iter().position(|r| Some(*r) == Refusal::of(&error));
                let why = why.unwrap_or_else(|| panic!("seed {seed}: {error}"));
                refused[why] += 1;
            }
            Outcome::Different(_) => panic!("{}", smallest(seed)),
        }
    }
    println!(
        "{programs} programs, refused: {:?}",
        all.iter().zip(refused).collect::<Vec<_>>()
    );
    let sum: u64 = refused.iter().sum();
    assert!(
        sum * 3 < programs,
        "{sum} of {programs} programs were refused"
    );
    assert!(
        refused.iter().all(|n| *n * 200 > programs),
        "hardly any program is refused for one of the reasons: {refused:?}"
    );
}

#[test]
fn some_program_fails_for_every_rule_that_is_forgotten() {
    for rule in Conflict::ALL {
        FORGOTTEN.set(Some(rule));
        // A wrong plan may also end in an error, or in the panic of a kernel whose operands
        // overlap.
        let found = (0..1000).find(|&seed| {
            let result = std::panic::catch_unwind(|| outcome(seed, SIZE));
            matches!(result, Err(_) | Ok(Outcome::Different(_)))
        });
        FORGOTTEN.set(None);
        assert!(found.is_some(), "nothing misses the rule {rule:?}");
    }
}

/// A failing program with as few statements as can be found, and how it fails.
fn smallest(seed: u64) -> String {
    let seeds = (0..3000).chain([seed]);
    let mut all = (1..=SIZE).flat_map(|size| seeds.clone().map(move |seed| (seed, size)));
    let failing = all.find_map(|(seed, size)| match outcome(seed, size) {
        Outcome::Different(how) => Some((seed, size, how)),
        _ => None,
    });
    match failing {
        Some((seed, size, how)) => {
            format!(
                "seed {seed}, {size} statements: {how}\n{}",
                program(seed, size)
            )
        }
        None => format!("seed {seed} fails in one of two equal runs"),
    }
}

fn outcome(seed: u64, size: usize) -> Outcome {
    let program = program(seed, size);
    let mut random = Random::new(seed ^ 0x5eed);
    let mut contents = Vec::new();
    let mut inputs = Vec::new();
    for (name, kind, ty) in slots(&program) {
        match kind {
            SlotKind::Input => inputs.push((name, ty)),
            _ => contents.push((name, random.tensor(&ty))),
        }
    }
    let contents: Vec<_> = contents
        .iter()
        .map(|(n, t)| (n.as_str(), t.clone()))
        .collect();
    let method = program.name.clone();
    let states: Vec<String> = slots(&program)
        .filter(|(_, kind, _)| *kind == SlotKind::State)
        .map(|(name, ..)| name)
        .collect();
    let model = match Model::in_memory(program, &contents) {
        Ok(model) => model,
        Err(error) => return Outcome::Different(format!("does not verify: {error}")),
    };
    let options = Options {
        threads: 1,
        kernels: KernelSet::Fast,
        memory_limit: LIMIT,
        ..Options::default()
    };
    let mut planned = Session::new(&model, options).unwrap();
    let mut reference = ReferenceSession::with_options(&model, options).unwrap();
    let types: Vec<_> = inputs
        .iter()
        .map(|(_, ty)| ty.with_sizes(&|_| None).unwrap())
        .collect();
    let refused = planned.plan(&method, &types).err();
    for run in 0..RUNS {
        if run == RUNS / 2 {
            planned.reset();
            reference.reset().unwrap();
        }
        let tensors: Vec<(&str, Tensor)> = inputs
            .iter()
            .map(|(name, ty)| (name.as_str(), random.tensor(ty)))
            .collect();
        let views: Vec<_> = tensors.iter().map(|(n, t)| (*n, t.view())).collect();
        let expected = match reference.run(&method, &views) {
            Ok(outputs) => outputs,
            // No tensor is too large, but all of them together are.
            Err(error @ Error::Memory { .. }) if run == 0 => return Outcome::Refused(error),
            Err(error) => {
                let refusals = [Some(&error), refused.as_ref()].map(|e| Refusal::of(e?));
                return match (refused, refusals) {
                    // The interpreter makes copies that the plan avoids, so it may need more
                    // memory.
                    (None, [Some(Refusal::Memory), _]) => Outcome::Refused(error),
                    (Some(refused), [Some(_), Some(_)]) => Outcome::Refused(refused),
                    _ => Outcome::Different(format!("only the reference refuses: {error}")),
                };
            }
        };
        if let Some(error) = refused {
            // The plan may be refused because of a branch that the interpreter did not take.
            return Outcome::Refused(error);
        }
        let named: Vec<_> = views.iter().map(|(n, t)| (*n, Input::from(*t))).collect();
        let outputs = match planned.run(&method, &named) {
            Ok(outputs) => outputs,
            // No tensor is too large, but all of them together are.
            Err(error @ Error::Memory { .. }) if run == 0 => return Outcome::Refused(error),
            Err(error) => return Outcome::Different(error.to_string()),
        };
        for (name, tensor) in &expected {
            let got = outputs.get(name).ok().map(|t| Tensor::copy_of(&t));
            if got.as_ref().map(Tensor::bytes) != Some(tensor.bytes()) {
                return Outcome::Different(format!("run {run}, output `{name}`"));
            }
        }
        for name in &states {
            let got = planned.state(&method, name).map(|t| Tensor::copy_of(&t));
            let expected = reference.state(&method, name);
            if got.is_none()
                || got.as_ref().map(Tensor::bytes) != expected.as_ref().map(Tensor::bytes)
            {
                return Outcome::Different(format!("run {run}, state `{name}`"));
            }
        }
    }
    Outcome::Equal
}

fn slots(program: &Program) -> impl Iterator<Item = (String, SlotKind, TensorType)> + '_ {
    let inputs = program.slots.iter().zip(&program.graph.inputs);
    inputs.filter_map(|(slot, id)| match &program.graph.value(*id).ty {
        ValueType::Tensor(ty) => Some((slot.name.clone(), slot.kind, ty.clone())),
        _ => None,
    })
}
