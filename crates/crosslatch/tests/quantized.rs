//! Weights that the quantized formats cannot hold, or not without help.

use crosslatch::ir::Catalogue;
use crosslatch::ir::parse::parse;
use crosslatch::model::Stored;
use crosslatch::reference::ReferenceSession;
use crosslatch::{Model, Options, Precision, Session, Tensor};

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

/// A step with a layer of `[rows, columns]`, whose weights are `weight(row, column)`, in a model that
/// keeps state.
fn model_of(rows: usize, columns: usize, weight: impl Fn(usize, usize) -> f32) -> Model {
    let text = format!(
        "program model\ninput %x: f32[2, {columns}]\nweight %w: f32[{rows}, {columns}]\n\
         state %last: f32[2, {rows}]\n\
         %h: f32[2, {rows}] = aten::linear(input=%x, weight=%w)\n\
         %new: f32[2, {rows}] = aten::copy_(self=%last, src=%h)\n\
         %y: f32[2, {rows}] = aten::silu(self=%h)\nreturn \"y\"=%y\n"
    );
    let program = parse(&text, Catalogue::builtin()).unwrap();
    let elements: Vec<f32> = (0..rows * columns)
        .map(|i| weight(i / columns, i % columns))
        .collect();
    let weight = Tensor::from_slice(&[rows, columns], &elements).unwrap();
    Model::in_memory(program, &[("w", weight)]).unwrap()
}

/// Pseudo-random numbers between -1 and 1.
fn noise(i: usize) -> f32 {
    ((i as u32 ^ 77).wrapping_mul(2654435761) >> 8) as f32 * 1.2e-7 - 1.0
}

/// How far the results in a precision are from those in `f32`, as a share of these. Inputs in these
/// columns are 0. The planned run has to equal the reference.
fn error(model: &Model, columns: usize, zeros: &[usize], precision: Precision) -> f32 {
    let mut x: Vec<f32> = (0..2 * columns).map(|i| noise(i + 5000)).collect();
    for zero in zeros {
        x[*zero] = 0.0;
        x[columns + zero] = 0.0;
    }
    let x = Tensor::from_slice(&[2, columns], &x).unwrap();
    let run = |precision| {
        let options = Options {
            precision,
            threads: 2,
            ..Options::default()
        };
        let mut reference = ReferenceSession::with_options(model, options).unwrap();
        let wanted = reference.run("model", &[("x", x.view())]).unwrap();
        let mut session = Session::new(model, options).unwrap();
        let outputs = session.run("model", &[("x", x.view().into())]).unwrap();
        let y: Vec<f32> = outputs.get("y").unwrap().to_vec();
        assert_eq!(wanted[0].1.view().to_vec::<f32>(), y, "{precision}");
        y
    };
    let (wide, narrow) = (run(Precision::F32), run(precision));
    let norm = |x: &mut dyn Iterator<Item = f32>| x.map(|x| x * x).sum::<f32>().sqrt();
    let difference = norm(&mut wide.iter().zip(&narrow).map(|(a, b)| a - b));
    difference / norm(&mut wide.iter().copied())
}

fn stored(model: &Model, precision: Precision) -> &Stored {
    let weights = model.quantized_weights(precision).unwrap();
    &weights.slots(0)[1]
}

#[test]
fn columns_a_thousand_times_the_others_do_not_cost_the_others_their_digits() {
    let (rows, columns) = (70, 300);
    let large = [17, 299];
    let uneven = model_of(rows, columns, |i, k| {
        let factor = if large.contains(&k) { 1000.0 } else { 1.0 };
        factor * noise(i * columns + k)
    });
    let even = model_of(rows, columns, |i, k| noise(i * columns + k));
    for (precision, tolerance) in [(Precision::Int8, 0.01), (Precision::Int4, 0.12)] {
        for zeros in [&large[..], &[]] {
            let error = error(&uneven, columns, zeros, precision);
            assert!(error < tolerance, "{precision}: {error}");
        }
        assert!(error(&even, columns, &large, precision) < tolerance);
        // The columns are stored beside the others, and ordinary matrices have none of that.
        let bytes = |model| match stored(model, precision) {
            Stored::Quantized(_, range) => range.len(),
            Stored::AsTyped(reason) => panic!("{reason}"),
        };
        let apart = bytes(&uneven) - bytes(&even).next_multiple_of(64);
        assert_eq!(apart, 64 + 2 * 4 * rows);
    }
}

#[test]
fn a_matrix_with_large_weights_all_over_it_stays_as_it_is() {
    let (rows, columns) = (70, 300);
    let model = model_of(rows, columns, |i, k| {
        let factor = if (i * 7 + k) % columns == 0 {
            1000.0
        } else {
            1.0
        };
        factor * noise(i * columns + k)
    });
    for precision in [Precision::Int8, Precision::Int4] {
        assert!(error(&model, columns, &[], precision) < 1e-6);
        let Stored::AsTyped(reason) = stored(&model, precision) else {
            panic!("it was quantized");
        };
        assert!(reason.to_string().contains("hundreds of times"), "{reason}");
    }
}
