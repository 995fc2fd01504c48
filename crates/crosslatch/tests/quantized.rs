//! Weights that the quantized formats cannot hold.

use crosslatch::ir::Catalogue;
use crosslatch::ir::parse::parse;
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
