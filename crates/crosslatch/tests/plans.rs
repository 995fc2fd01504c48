//! Plans, tested by text.
//!
//! Each file in `tests/plans/` is a program with what the planner must decide about it written
//! above: `#> copy VALUE: REASON` for every copy that stays (the reason may be cut short),
//! `#> store VALUE: REASON` where a new value has to be brought to its place in other memory,
//! `#> no copies`, or `#> refused: MESSAGE`; and, for the values that the file is about,
//! `#> %NAME in MEMORY`, or `#> %NAME nowhere` where a kernel passes it on in registers. Whatever the decisions, the planned run must equal
//! the reference interpreter bit for bit, outputs and state, over several runs of one session on
//! random inputs; state is seen through the outputs, so programs return it.

mod models;
mod random;

use std::path::Path;

use crosslatch::ir::parse::parse;
use crosslatch::ir::verify::verify;
use crosslatch::ops::Catalogue;
use crosslatch::reference::ReferenceSession;
use crosslatch::{Bool, DType, Input, KernelSet, Layout, Model, Options, Session, Tensor};

use models::model;
use random::Random;

const RUNS: usize = 4;

#[test]
fn every_program_is_planned_as_its_file_says_and_runs_as_it_means() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|f| f.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 10, "the folder of programs is nearly empty");
    let mut failures = Vec::new();
    for file in &files {
        if let Err(failure) = check(file) {
            failures.push(format!("{}: {failure}", file.display()));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    println!("{} programs", files.len());
}

fn check(file: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(file).unwrap();
    let expected = text.lines().filter_map(|l| l.strip_prefix("#> "));
    let (homes, expected): (Vec<&str>, Vec<&str>) = expected.partition(|l| l.starts_with('%'));
    assert!(!expected.is_empty(), "{}: expects nothing", file.display());
    let program = parse(&text, Catalogue::builtin()).map_err(|e| e.to_string())?;
    verify(&program).map_err(|e| e.to_string())?;
    let printed = program.to_string();
    let again = parse(&printed, Catalogue::builtin()).map_err(|e| format!("printed: {e}"))?;
    if again.to_string() != printed {
        return Err("what is printed is not read back as the same".into());
    }

    let mut random = Random(7);
    let name = program.name.clone();
    let (model, inputs) = model(program, &mut random, 2)?;

    let mut session = Session::new(
        &model,
        Options {
            threads: 2,
            kernels: KernelSet::Fast,
            ..Options::default()
        },
    )
    .unwrap();
    let types: Vec<_> = inputs
        .iter()
        .map(|(_, dtype, shape)| (*dtype, Layout::contiguous(shape)))
        .collect();
    let decided = match session.plan(&name, &types) {
        Ok(plan) => {
            let lives = |home: &str| {
                if let Some(value) = home[1..].strip_suffix(" nowhere") {
                    return plan.values.iter().all(|v| v.name != value);
                }
                let (value, memory) = home[1..].split_once(" in ").unwrap_or((home, ""));
                let is_there = |v: &crosslatch::plan::PlannedValue| {
                    v.name == value && v.memory.to_string() == memory
                };
                plan.values.iter().any(is_there)
            };
            if let Some(home) = homes.iter().find(|home| !lives(home)) {
                let all = plan
                    .values
                    .iter()
                    .map(|v| format!("%{} in {}", v.name, v.memory));
                let all: Vec<String> = all.collect();
                return Err(format!("not so: {home}; but\n  {}", all.join("\n  ")));
            }
            plan.copies
                .iter()
                .map(|c| {
                    let what = if c.store { "store" } else { "copy" };
                    format!("{what} {}: {}", c.value, c.reason)
                })
                .collect::<Vec<_>>()
        }
        Err(error) => vec![format!("refused: {error}")],
    };
    let decided = match decided.is_empty() {
        true => vec!["no copies".to_owned()],
        false => decided,
    };
    let as_expected = decided.len() == expected.len()
        && decided.iter().zip(&expected).all(|(d, e)| d.starts_with(e));
    if !as_expected {
        return Err(format!("decided\n  {}", decided.join("\n  ")));
    }
    if decided[0].starts_with("refused") {
        return Ok(());
    }

    let mut draw = || -> Vec<(&str, Tensor)> {
        let tensors = inputs
            .iter()
            .map(|(name, dtype, shape)| (name.as_str(), random.tensor(*dtype, shape, 2)));
        tensors.collect()
    };
    let mut reference = ReferenceSession::new(&model, KernelSet::Fast).unwrap();
    let mut history = Vec::new();
    for run in 0..RUNS {
        let tensors = draw();
        run_both(&mut reference, &mut session, &tensors).map_err(|e| format!("run {run}: {e}"))?;
        history.push(tensors);
        // A fork goes on by itself, and so does the session, in the runs to come.
        let mut oracle = ReferenceSession::new(&model, KernelSet::Fast).unwrap();
        for tensors in &history {
            let viewed: Vec<_> = tensors.iter().map(|(n, t)| (*n, t.view())).collect();
            oracle.run(&name, &viewed).map_err(|e| e.to_string())?;
        }
        let mut fork = session.fork().unwrap();
        for _ in 0..2 {
            let in_fork = run_both(&mut oracle, &mut fork, &draw());
            in_fork.map_err(|e| format!("fork after run {run}: {e}"))?;
        }
    }
    Ok(())
}

/// Runs the only method of both and compares the outputs.
fn run_both(
    reference: &mut ReferenceSession,
    session: &mut Session,
    tensors: &[(&str, Tensor)],
) -> Result<(), String> {
    let name = session.model().methods()[0].program.name.clone();
    let viewed: Vec<_> = tensors.iter().map(|(n, t)| (*n, t.view())).collect();
    let wanted = reference.run(&name, &viewed).map_err(|e| e.to_string())?;
    let named: Vec<_> = viewed.iter().map(|(n, t)| (*n, Input::from(*t))).collect();
    let outputs = session.run(&name, &named).map_err(|e| e.to_string())?;
    for (name, tensor) in &wanted {
        let got = outputs.get(name).map_err(|e| e.to_string())?;
        let got = Tensor::copy_of(&got);
        if got.bytes() != tensor.bytes() {
            return Err(format!(
                "output `{name}`: {:?}, the reference has {:?}",
                values(&got),
                values(tensor)
            ));
        }
    }
    Ok(())
}

#[test]
fn a_fork_shares_what_neither_writes() {
    let text = include_str!("plans/conditional_cache_is_updated_in_place_and_aliased.ir");
    let program = parse(text, Catalogue::builtin()).unwrap();
    let mut random = Random(3);
    let state = |slot: &str| {
        (
            slot.to_owned(),
            Tensor::zeros(DType::F32, &[1, 2, 4, 3]).unwrap(),
        )
    };
    let contents = ["keys", "values"].map(state);
    let contents = contents.each_ref().map(|(n, t)| (n.as_str(), t.clone()));
    let model = Model::in_memory(program, &contents).unwrap();
    let mut session = Session::new(&model, Options::default()).unwrap();
    let k = random.tensor(DType::F32, &[1, 2, 2, 3], 2);
    let [first, later] = [true, false].map(|b| Tensor::from_slice(&[1], &[Bool::new(b)]).unwrap());
    let run = |session: &mut Session, first: &Tensor| {
        let inputs = [("k", k.view().into()), ("first", first.view().into())];
        session.run("model", &inputs).unwrap();
    };
    let both = 2 * 4 * 2 * 4 * 3;
    run(&mut session, &first);
    let mut fork = session.fork().unwrap();
    for session in [&mut session, &mut fork] {
        run(session, &later);
        assert_eq!(session.shared_state_bytes("model").unwrap(), both);
    }
    let [ours, theirs] = [&session, &fork].map(|s| s.state("model", "keys").unwrap().bytes());
    assert_eq!(ours.as_ptr(), theirs.as_ptr());
    run(&mut fork, &first);
    assert_eq!(fork.shared_state_bytes("model").unwrap(), 0);
    let mut second = session.fork().unwrap();
    second.reset();
    assert_eq!(second.shared_state_bytes("model").unwrap(), 0);
}

fn values(tensor: &Tensor) -> Vec<f64> {
    use crosslatch_kernels::Element;
    crosslatch_kernels::with_element!(tensor.dtype(), T => {
        tensor.view().to_vec::<T>().into_iter().map(Element::to_f64).collect()
    })
}
