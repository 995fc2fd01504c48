//! Step batching: sessions that run together compute what each computes alone, bit for bit.
//!
//! Three sessions run each program in `tests/filetests/plan/` together several times, each on its
//! own inputs, so that they take different branches of a `cond`. Then batches of several sizes run
//! linear layers of odd shapes in every precision.

mod models;
mod random;

use std::path::Path;

use crosslatch::ir::Catalogue;
use crosslatch::ir::parse::parse;
use crosslatch::{Input, Model, Options, Precision, Session, Tensor};

use models::{SizedSlot, draw, model};
use random::Random;

const RUNS: usize = 3;

/// Runs `count` sessions together and compares each of them with a session that runs alone.
fn check(
    model: &Model,
    inputs: &[SizedSlot],
    count: usize,
    options: Options,
    random: &mut Random,
) -> Result<(), String> {
    let method = &model.methods()[0].program.name;
    let fresh = || -> Vec<Session> {
        (0..count)
            .map(|_| Session::new(model, options).unwrap())
            .collect()
    };
    let (mut alone, mut together) = (fresh(), fresh());
    for run in 0..RUNS {
        let drawn: Vec<_> = (0..count).map(|_| draw(inputs, random, 2)).collect();
        let named = drawn.iter().map(|tensors| {
            let named = tensors
                .iter()
                .map(|(n, t)| (n.as_str(), Input::from(t.view())));
            named.collect()
        });
        let named: Vec<Vec<(&str, Input<'_>)>> = named.collect();
        let sets: Vec<&[(&str, Input<'_>)]> = named.iter().map(Vec::as_slice).collect();
        let mut sessions: Vec<&mut Session> = together.iter_mut().collect();
        Session::run_together(&mut sessions, method, &sets).map_err(|e| e.to_string())?;
        for (i, (session, named)) in alone.iter_mut().zip(&named).enumerate() {
            let wanted = session.run(method, named).map_err(|e| e.to_string())?;
            let got = together[i].outputs(method).map_err(|e| e.to_string())?;
            for (name, wanted) in wanted.iter() {
                let got = got.get(name).map_err(|e| e.to_string())?;
                if Tensor::copy_of(&got).bytes() != Tensor::copy_of(&wanted).bytes() {
                    return Err(format!("run {run}, session {i}: `{name}` is another one"));
                }
            }
        }
    }
    Ok(())
}

#[test]
fn sessions_side_by_side_compute_what_each_computes_alone() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/filetests/plan");
    let mut random = Random(21);
    let mut checked = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        if text.contains("#> refused") {
            continue;
        }
        let program = parse(&text, Catalogue::builtin()).unwrap();
        let (model, inputs) = model(program, &mut random, 2).unwrap();
        let result = check(&model, &inputs, 3, Options::default(), &mut random);
        assert_eq!(result, Ok(()), "{}", path.display());
        checked += 1;
    }
    assert!(checked > 50, "only {checked} programs");
}

#[test]
fn a_weight_that_is_read_once_for_all_gives_each_its_own_bits() {
    let mut random = Random(22);
    for (rows, depth, columns) in [
        (1, 33, 70),
        (1, 256, 129),
        (2, 65, 17),
        (5, 64, 64),
        (17, 8, 3),
    ] {
        for bias in ["", ", bias=%b"] {
            let text = format!(
                "program model\n\
                 input %x: f32[{rows}, 1, {depth}]\n\
                 weight %w: f32[{columns}, {depth}]\n\
                 weight %b: f32[{columns}]\n\
                 %y: f32[{rows}, 1, {columns}] = aten::linear(input=%x, weight=%w{bias})\n\
                 %h: f32[{rows}, {columns}, 1] = aten::transpose.int(self=%y, dim0=1, dim1=2)\n\
                 return \"y\"=%y, \"h\"=%h\n"
            );
            let program = parse(&text, Catalogue::builtin()).unwrap();
            let (model, inputs) = model(program, &mut random, 2).unwrap();
            for precision in Precision::ALL {
                for (count, threads) in [(1, 2), (2, 1), (3, 2), (9, 2), (20, 2)] {
                    let options = Options {
                        threads,
                        precision,
                        ..Options::default()
                    };
                    let result = check(&model, &inputs, count, options, &mut random);
                    assert_eq!(
                        result,
                        Ok(()),
                        "{rows} {depth} {columns} {precision} {count}"
                    );
                }
            }
        }
    }
}

#[test]
fn sessions_and_inputs_are_of_one_number() {
    let text =
        "program model\ninput %x: f32[2]\n%y: f32[2] = aten::neg(self=%x)\nreturn \"y\"=%y\n";
    let program = parse(text, Catalogue::builtin()).unwrap();
    let (model, _) = model(program, &mut Random(1), 2).unwrap();
    let mut session = Session::new(&model, Options::default()).unwrap();
    let error = Session::run_together(&mut [&mut session], "model", &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "method `model`: 1 sessions are given 0 sets of inputs"
    );
    Session::run_together(&mut [], "model", &[]).unwrap();
}
