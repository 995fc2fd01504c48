//! Narrow weights, tested by text.
//!
//! Each file in `tests/narrow/` is a program with, above it, what becomes of each of its weights:
//! `#> narrow @NAME` or `#> keep @NAME: REASON`. In every precision the planned run must equal the
//! reference interpreter in the same precision bit for bit, with one thread and with two, and both
//! must be near `f32`.

mod models;
mod random;

use std::path::Path;

use crosslatch::ir::SlotKind;
use crosslatch::ir::parse::parse;
use crosslatch::ops::Catalogue;
use crosslatch::passes::quantize::not_quantized;
use crosslatch::reference::ReferenceSession;
use crosslatch::{DType, Input, KernelSet, Model, Options, Precision, Session, Tensor};

use models::model;
use random::Random;

const RUNS: usize = 3;
/// Rows of the tables that integers look up.
const ROWS: u64 = 6;

#[test]
fn every_weight_is_stored_as_its_file_says_and_runs_equal_the_reference() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/narrow");
    let files = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = files.map(|f| f.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 5, "the folder of programs is nearly empty");
    for file in &files {
        check(file);
    }
}

fn check(file: &Path) {
    let at = file.display();
    let text = std::fs::read_to_string(file).unwrap();
    let expected: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix("#> ")).collect();
    let program = parse(&text, Catalogue::builtin()).unwrap_or_else(|e| panic!("{at}: {e}"));
    let decisions = not_quantized(&program);
    let weights = program.slots.iter().zip(&decisions);
    let decided: Vec<String> = weights
        .filter(|(slot, _)| slot.kind == SlotKind::Weight)
        .map(|(slot, reason)| match reason {
            None => format!("narrow @{}", slot.name),
            Some(reason) => format!("keep @{}: {reason}", slot.name),
        })
        .collect();
    assert_eq!(decided, expected, "{at}");

    let mut random = Random(11);
    let name = program.name.clone();
    let (model, inputs) = model(program, &mut random, ROWS).unwrap();
    let runs: Vec<Vec<Tensor>> = (0..RUNS)
        .map(|_| {
            inputs
                .iter()
                .map(|(_, dtype, shape)| random.tensor(*dtype, shape, ROWS))
                .collect()
        })
        .collect();

    let mut wide: Vec<Vec<f32>> = Vec::new();
    for precision in Precision::ALL {
        let outputs = reference(&model, KernelSet::Fast, precision, &name, &inputs, &runs);
        for threads in [1, 2] {
            let options = Options {
                threads,
                precision,
                ..Options::default()
            };
            let mut session = Session::new(&model, options).unwrap();
            for (run, wanted) in runs.iter().zip(&outputs) {
                let named = inputs.iter().zip(run);
                let named: Vec<_> = named
                    .map(|((n, ..), t)| (n.as_str(), Input::from(t.view())))
                    .collect();
                let got = session.run(&name, &named).unwrap();
                for (output, tensor) in wanted {
                    let got = Tensor::copy_of(&got.get(output).unwrap());
                    assert_eq!(got.bytes(), tensor.bytes(), "{at}, {precision}, `{output}`");
                }
            }
        }
        let plain = reference(&model, KernelSet::Plain, precision, &name, &inputs, &runs);
        for (which, outputs) in [outputs, plain].into_iter().enumerate() {
            let flat = outputs
                .iter()
                .flatten()
                .flat_map(|(_, t)| t.view().to_vec::<f32>());
            let flat: Vec<f32> = flat.collect();
            if precision == Precision::F32 {
                wide.push(flat);
                continue;
            }
            let largest = wide[which].iter().fold(0f32, |m, x| m.max(x.abs()));
            for (x, y) in wide[which].iter().zip(&flat) {
                assert!(
                    (x - y).abs() <= 0.02 * largest,
                    "{at}, {precision}: {x} {y}"
                );
            }
            let narrowed = decisions.iter().any(Option::is_none);
            assert_eq!(
                wide[which] != flat,
                narrowed,
                "{at}: narrow weights must show"
            );
        }
    }
}

type Named = (String, Tensor);

fn reference(
    model: &Model,
    kernels: KernelSet,
    precision: Precision,
    method: &str,
    inputs: &[(String, DType, Vec<usize>)],
    runs: &[Vec<Tensor>],
) -> Vec<Vec<Named>> {
    let options = Options {
        kernels,
        precision,
        ..Options::default()
    };
    let mut session = ReferenceSession::with_options(model, options).unwrap();
    let run = |tensors: &Vec<Tensor>| {
        let named = inputs.iter().zip(tensors);
        let named: Vec<_> = named.map(|((n, ..), t)| (n.as_str(), t.view())).collect();
        session.run(method, &named).unwrap()
    };
    runs.iter().map(run).collect()
}

#[test]
fn a_weight_that_is_not_finite_stays_as_it_is_in_int8() {
    let text = "program model\ninput %x: f32[1, 2]\nweight %w: f32[2, 2]\n\
                %y: f32[1, 2] = aten::linear(input=%x, weight=%w)\nreturn \"y\"=%y\n";
    let program = parse(text, Catalogue::builtin()).unwrap();
    let weight = Tensor::from_slice(&[2, 2], &[f32::INFINITY, 0.0, 0.0, 0.3f32]).unwrap();
    let model = Model::in_memory(program, &[("w", weight)]).unwrap();
    let x = Tensor::from_slice(&[1, 2], &[1f32, 1.0]).unwrap();
    let options = Options {
        precision: Precision::Int8,
        ..Options::default()
    };
    let mut session = Session::new(&model, options).unwrap();
    let outputs = session.run("model", &[("x", x.view().into())]).unwrap();
    assert_eq!(
        outputs.get("y").unwrap().to_vec::<f32>(),
        [f32::INFINITY, 0.3]
    );
}
