//! Plans, tested by text.
//!
//! Each file in `tests/plans/` is a program with what the planner must decide about it written
//! above: `#> copy VALUE: REASON` for every copy that stays (the reason may be cut short),
//! `#> store VALUE: REASON` where a new value has to be brought to its place in other memory,
//! `#> no copies`, or `#> refused: MESSAGE`; and, for the values that the file is about,
//! `#> %NAME in MEMORY`. Whatever the decisions, the planned run must equal
//! the reference interpreter bit for bit, outputs and state, over several runs of one session on
//! random inputs; state is seen through the outputs, so programs return it.

mod random;

use std::path::Path;

use crosslatch::ir::parse::parse;
use crosslatch::ir::verify::verify;
use crosslatch::ops::Catalogue;
use crosslatch::reference::ReferenceSession;
use crosslatch::{Input, KernelSet, Layout, Model, Options, Session, Tensor};

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
    let mut contents = Vec::new();
    let mut inputs = Vec::new();
    for (slot, id) in program.slots.iter().zip(&program.graph.inputs) {
        let crosslatch::ir::ValueType::Tensor(ty) = &program.graph.value(*id).ty else {
            continue;
        };
        let shape: Vec<usize> = ty
            .sizes
            .iter()
            .map(|s| s.constant().unwrap() as usize)
            .collect();
        match slot.kind {
            crosslatch::ir::SlotKind::Input => inputs.push((slot.name.clone(), ty.dtype, shape)),
            _ => contents.push((slot.name.clone(), random.tensor(ty.dtype, &shape, 2))),
        }
    }
    let contents: Vec<(&str, Tensor)> = contents
        .iter()
        .map(|(n, t)| (n.as_str(), t.clone()))
        .collect();
    let name = program.name.clone();
    let model = Model::in_memory(program, &contents).map_err(|e| e.to_string())?;

    let mut session = Session::new(
        &model,
        Options {
            threads: 2,
            kernels: KernelSet::Fast,
            ..Options::default()
        },
    );
    let types: Vec<_> = inputs
        .iter()
        .map(|(_, dtype, shape)| (*dtype, Layout::contiguous(shape)))
        .collect();
    let decided = match session.plan(&name, &types) {
        Ok(plan) => {
            let lives = |home: &str| {
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

    let mut reference = ReferenceSession::new(&model, KernelSet::Fast);
    for run in 0..RUNS {
        let tensors: Vec<_> = inputs
            .iter()
            .map(|(name, dtype, shape)| (name.as_str(), random.tensor(*dtype, shape, 2)))
            .collect();
        let viewed: Vec<_> = tensors.iter().map(|(n, t)| (*n, t.view())).collect();
        let wanted = reference.run(&name, &viewed).map_err(|e| e.to_string())?;
        let named: Vec<_> = viewed.iter().map(|(n, t)| (*n, Input::from(*t))).collect();
        let outputs = session.run(&name, &named).map_err(|e| e.to_string())?;
        for (name, tensor) in &wanted {
            let got = outputs.get(name).ok_or(format!("no output `{name}`"))?;
            let got = Tensor::copy_of(&got);
            if got.bytes() != tensor.bytes() {
                return Err(format!(
                    "run {run}, output `{name}`: {:?}, the reference has {:?}",
                    values(&got),
                    values(tensor)
                ));
            }
        }
    }
    Ok(())
}

fn values(tensor: &Tensor) -> Vec<f64> {
    use crosslatch_kernels::Element;
    crosslatch_kernels::with_element!(tensor.dtype(), T => {
        tensor.view().to_vec::<T>().into_iter().map(Element::to_f64).collect()
    })
}
