//! Latched models and their sessions: what is refused, and when kept values are computed again.

mod random;

use crosslatch::ir::Catalogue;
use crosslatch::ir::parse::parse;
use crosslatch::{DType, Input, Model, Options, Session, Tensor};

use random::Random;

/// Integers are below this.
const ROWS: u64 = 3;

const PROJECTED: &str = "program model\ninput %x: f32[2, 4]\ninput %s: f32[3, 4]\n\
    weight %w: f32[4, 4]\n%k: f32[3, 4] = aten::linear(input=%s, weight=%w)\n\
    %y: f32[2, 3] = aten::linear(input=%x, weight=%k)\nreturn \"y\"=%y\n";

fn projected() -> Model {
    let program = parse(PROJECTED, Catalogue::builtin()).unwrap();
    let w = Random(4).tensor(DType::F32, &[4, 4], ROWS);
    Model::in_memory(program, &[("w", w)]).unwrap()
}

fn latch_error(model: &Model, inputs: &[&str]) -> String {
    model.latch(inputs).unwrap_err().to_string()
}

#[test]
fn an_input_that_no_method_has_cannot_be_latched() {
    let message = latch_error(&projected(), &["states"]);
    assert_eq!(
        message,
        "cannot latch `states`: no method has it; `model` takes x, s"
    );
}

#[test]
fn a_model_is_latched_once() {
    let latched = projected().latch(&["s"]).unwrap();
    assert!(latch_error(&latched, &["x"]).contains("latched already"));
}

#[test]
fn a_latched_input_that_does_not_fit_is_an_error_of_the_method_that_was_run() {
    let latched = projected().latch(&["s"]).unwrap();
    let mut session = Session::new(&latched, Options::default()).unwrap();
    let [x, s] = [[2, 4], [3, 4]].map(|shape| Random(9).tensor(DType::F32, &shape, ROWS));
    let error = session.run("model", &[("x", x.view().into()), ("s", x.view().into())]);
    let message = error.map(|_| ()).unwrap_err().to_string();
    assert!(
        message.contains("method `model`: input `s` is f32[2, 4]"),
        "{message}"
    );
    let error = session.run("model", &[("x", x.view().into())]);
    let message = error.map(|_| ()).unwrap_err().to_string();
    assert_eq!(message, "method `model`: input `s` is missing");
    session
        .run("model", &[("x", x.view().into()), ("s", s.view().into())])
        .unwrap();
}

#[test]
fn values_are_computed_again_after_a_reset_and_after_somebody_ran_their_method() {
    let latched = projected().latch(&["s"]).unwrap();
    let mut session = Session::new(&latched, Options::default()).unwrap();
    let mut random = Random(8);
    let x = random.tensor(DType::F32, &[2, 4], ROWS);
    let [s, other] = [0, 1].map(|_| random.tensor(DType::F32, &[3, 4], ROWS));
    let named = [("x", Input::from(x.view())), ("s", Input::from(s.view()))];
    let run = |session: &mut Session| {
        let outputs = session.run("model", &named).unwrap();
        Tensor::copy_of(&outputs.get("y").unwrap()).bytes().to_vec()
    };
    let first = run(&mut session);
    assert_eq!(run(&mut session), first);
    assert_eq!(session.runs("model@once").unwrap(), 1);
    session.reset();
    assert_eq!(run(&mut session), first);
    assert_eq!(session.runs("model@once").unwrap(), 2);
    session
        .run("model@once", &[("s", other.view().into())])
        .unwrap();
    assert_eq!(run(&mut session), first);
    assert_eq!(session.runs("model@once").unwrap(), 4);
}
