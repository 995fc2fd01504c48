//! Narrow caches, tested by text.
//!
//! Each file in `tests/caches/` is a program whose state starts as zeros, with, above it, which of its
//! state a narrow precision stores in bf16: `#> narrow @NAME`. In a narrow precision, the planned run
//! must equal the reference interpreter bit for bit, with one thread and with two, and both must be near
//! `f32`.

mod random;

use std::path::Path;

use crosslatch::ir::parse::parse;
use crosslatch::ir::{SlotKind, ValueType};
use crosslatch::ops::Catalogue;
use crosslatch::passes::caches::convert_caches;
use crosslatch::reference::ReferenceSession;
use crosslatch::{DType, Input, Model, Options, Precision, Session, Tensor};

use random::Random;

const RUNS: usize = 4;

#[test]
fn every_cache_is_stored_as_its_file_says_and_runs_equal_the_reference() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/caches");
    let files = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = files.map(|f| f.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 4, "the folder of programs is nearly empty");
    for file in &files {
        check(file);
    }
}

fn check(file: &Path) {
    let at = file.display();
    let text = std::fs::read_to_string(file).unwrap();
    let expected: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix("#> ")).collect();
    let program = parse(&text, Catalogue::builtin()).unwrap_or_else(|e| panic!("{at}: {e}"));
    let chosen = convert_caches(&program, &|_| true).map(|(_, chosen)| chosen);
    let slots = program.slots.iter().zip(chosen.into_iter().flatten());
    let decided: Vec<String> = slots
        .filter(|(_, chosen)| *chosen)
        .map(|(slot, _)| format!("narrow @{}", slot.name))
        .collect();
    assert_eq!(decided, expected, "{at}");

    let mut random = Random(5);
    let (mut weights, mut inputs) = (Vec::new(), Vec::new());
    for (slot, id) in program.slots.iter().zip(&program.graph.inputs) {
        let ValueType::Tensor(ty) = &program.graph.value(*id).ty else {
            continue;
        };
        let sizes = ty.sizes.iter().map(|s| s.constant().unwrap() as usize);
        let (dtype, shape): (DType, Vec<usize>) = (ty.dtype, sizes.collect());
        match slot.kind {
            SlotKind::Input => inputs.push((slot.name.clone(), dtype, shape)),
            SlotKind::Weight => {
                weights.push((slot.name.clone(), random.tensor(dtype, &shape, 9)));
            }
            _ => {}
        }
    }
    // State without contents starts as zeros.
    let weights: Vec<(&str, Tensor)> = (weights.iter())
        .map(|(name, tensor)| (name.as_str(), tensor.clone()))
        .collect();
    let model = Model::in_memory(program.clone(), &weights).unwrap();
    let runs: Vec<Vec<(String, Tensor)>> = (0..RUNS)
        .map(|run| {
            let given = |(name, dtype, shape): &(String, DType, Vec<usize>)| {
                let tensor = match dtype {
                    // The caches are filled first, and read in every run after that.
                    DType::Bool => Tensor::from_slice(shape, &[crosslatch::Bool::new(run == 0)]),
                    _ => Ok(random.tensor(*dtype, shape, 9)),
                };
                (name.clone(), tensor.unwrap())
            };
            inputs.iter().map(given).collect()
        })
        .collect();

    let mut wide = Vec::new();
    for precision in Precision::ALL {
        let mut oracle = {
            let options = Options {
                precision,
                ..Options::default()
            };
            ReferenceSession::with_options(&model, options).unwrap()
        };
        let wanted: Vec<Vec<(String, Tensor)>> = (runs.iter())
            .map(|run| {
                let named: Vec<_> = run.iter().map(|(n, t)| (n.as_str(), t.view())).collect();
                oracle.run("model", &named).unwrap()
            })
            .collect();
        for threads in [1, 2] {
            let options = Options {
                threads,
                precision,
                ..Options::default()
            };
            let mut session = Session::new(&model, options).unwrap();
            for (run, wanted) in runs.iter().zip(&wanted) {
                let named = run.iter().map(|(n, t)| (n.as_str(), Input::from(t.view())));
                let named: Vec<_> = named.collect();
                let got = session.run("model", &named).unwrap();
                for (name, tensor) in wanted {
                    let got = Tensor::copy_of(&got.get(name).unwrap());
                    assert_eq!(got.bytes(), tensor.bytes(), "{at}, {precision}, `{name}`");
                }
            }
        }
        let floats: Vec<f32> = wanted
            .iter()
            .flatten()
            .filter(|(_, tensor)| tensor.dtype() == DType::F32)
            .flat_map(|(_, tensor)| tensor.view().to_vec::<f32>())
            .collect();
        if precision == Precision::F32 {
            wide = floats;
            continue;
        }
        let largest = wide.iter().fold(0f32, |m, x| m.max(x.abs()));
        for (x, y) in wide.iter().zip(&floats) {
            assert!(
                (x - y).abs() <= 0.03 * largest,
                "{at}, {precision}: {x} {y}"
            );
        }
        assert_ne!(wide, floats, "{at}: narrow caches must show");
    }
}
