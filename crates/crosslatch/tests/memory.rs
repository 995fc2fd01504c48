//! Memory limits: what exceeds them is refused before it is allocated, always with the same error,
//! and the session stays usable.

use crosslatch::ir::Catalogue;
use crosslatch::ir::parse::parse;
use crosslatch::reference::ReferenceSession;
use crosslatch::{Error, Input, MemoryLimit, Model, Options, Session, Tensor};

fn model(body: &str) -> Model {
    let text =
        format!("program model\nsymbol s0 in 1..\ninput %x: f32[s0]\n{body}\nreturn \"y\"=%y\n");
    let program = parse(&text, Catalogue::builtin()).unwrap_or_else(|e| panic!("{body}: {e}"));
    Model::in_memory(program, &[]).unwrap()
}

fn options(memory_limit: MemoryLimit) -> Options {
    Options {
        threads: 1,
        memory_limit,
        ..Options::default()
    }
}

/// Each way to ask for about 2^50 bytes in a line or two.
const GREEDY: [&str; 15] = [
    "%y: f32[1] = aten::full(size=[281474976710656], fill_value=1.0, dtype=f32)",
    "%y: f32[1] = aten::ones(size=[16777216, 16777216], dtype=f32)",
    "%y: f32[1] = aten::repeat(self=%x, repeats=[281474976710656])",
    "%y: f32[1] = aten::tile(self=%x, dims=[281474976710656])",
    "%y: i64[1] = aten::arange(end=140737488355328)",
    "%y: f32[1] = aten::linspace(start=0.0, end=1.0, steps=281474976710656)",
    "%y: f32[1, 1] = aten::eye(n=16777216)",
    "%y: i64[2, 1] = aten::tril_indices(row=16777216, col=8388608)",
    "%i: i64[1] = aten::full(size=[1], fill_value=0, dtype=i64)\n\
     %y: i64[1, 1] = aten::one_hot(self=%i, num_classes=140737488355328)",
    "%e: f32[1, 1] = aten::expand(self=%x, size=[281474976710656, -1])\n\
     %y: f32[1, 1] = aten::clone(self=%e)",
    "%e: f32[1, 1] = aten::expand(self=%x, size=[281474976710656, -1])\n\
     %y: f32[1, 1] = aten::neg(self=%e)",
    // No elements, but more rows than can be walked over.
    "%y: f32[1, 1] = aten::full(size=[281474976710656, 0], fill_value=1.0, dtype=f32)",
    // Views need no memory of their own, but they are walked over or returned.
    "%e: f32[1, 1] = aten::expand(self=%x, size=[281474976710656, -1])\n\
     %y: f32[] = aten::sum(self=%e)",
    "%y: f32[1, 1] = aten::expand(self=%x, size=[281474976710656, -1])",
    "%e: f32[1] = aten::expand(self=%x, size=[281474976710656])\n\
     %y: f32[] = aten::dot(self=%e, tensor=%e)",
];

#[test]
fn more_than_any_memory_is_an_error_of_plan_and_reference_that_names_the_node() {
    let x = Tensor::from_slice(&[1], &[1.0f32]).unwrap();
    for body in GREEDY {
        let model = model(body);
        let mut session = Session::new(&model, options(MemoryLimit::default())).unwrap();
        let error = session.run("model", &[("x", Input::from(x.view()))]).err();
        let text = error.as_ref().map(Error::to_string).unwrap_or_default();
        assert!(
            matches!(error, Some(Error::Memory { .. })),
            "{body}: {text}"
        );
        assert!(text.contains("PiB are needed, and the limit is"), "{text}");
        assert!(text.contains("`y`") || text.contains("node"), "{text}");
        let mut reference =
            ReferenceSession::with_options(&model, options(MemoryLimit::default())).unwrap();
        let error = reference.run("model", &[("x", x.view())]).err();
        assert!(
            matches!(error, Some(Error::Memory { .. })),
            "{body}: {error:?}"
        );
    }
}

#[test]
fn without_a_limit_the_system_refuses_and_nothing_aborts() {
    let model = model(GREEDY[0]);
    let x = Tensor::from_slice(&[1], &[1.0f32]).unwrap();
    let mut session = Session::new(&model, options(MemoryLimit::NONE)).unwrap();
    let error = session.run("model", &[("x", Input::from(x.view()))]).err();
    let text = error.as_ref().map(Error::to_string).unwrap_or_default();
    assert!(text.contains("the system has no"), "{text}");
}

#[test]
fn a_session_that_was_refused_one_run_does_the_next() {
    let model = model(
        "%a: f32[s0] = aten::neg(self=%x)\n%y: f32[s0] = aten::mul.Tensor(self=%a, other=%x)",
    );
    let mut session = Session::new(&model, options(MemoryLimit::bytes(64 << 10))).unwrap();
    for round in 0..3 {
        let large = Tensor::from_slice(&[100_000], &[1.0f32; 100_000]).unwrap();
        let error = session
            .run("model", &[("x", Input::from(large.view()))])
            .err();
        assert!(
            matches!(error, Some(Error::Memory { .. })),
            "round {round}: {error:?}"
        );
        // Each tensor fits by itself; all of them together do not.
        let together = Tensor::from_slice(&[12_000], &[1.0f32; 12_000]).unwrap();
        let error = session
            .run("model", &[("x", Input::from(together.view()))])
            .err();
        assert!(
            matches!(error, Some(Error::Memory { .. })),
            "round {round}: {error:?}"
        );
        let small = Tensor::from_slice(&[2], &[2.0f32, 3.0]).unwrap();
        let outputs = session
            .run("model", &[("x", Input::from(small.view()))])
            .unwrap();
        assert_eq!(outputs.get("y").unwrap().to_vec::<f32>(), [-4.0, -9.0]);
    }
}

#[test]
fn state_that_passes_the_limit_makes_no_session() {
    let text = "program model\ninput %x: f32[1]\nstate %big: f32[100000]\n\
                %b: f32[100000] = aten::neg_(self=%big)\n%y: f32[1] = aten::neg(self=%x)\n\
                return \"y\"=%y\n";
    let program = parse(text, Catalogue::builtin()).unwrap();
    let model = Model::in_memory(program, &[]).unwrap();
    let error = Session::new(&model, options(MemoryLimit::bytes(64 << 10))).err();
    let text = error.as_ref().map(Error::to_string).unwrap_or_default();
    assert!(
        text.starts_with("the state of method `model`: 390.6 KiB are needed"),
        "{text}"
    );
    assert!(Session::new(&model, options(MemoryLimit::bytes(1 << 20))).is_ok());
}

/// The resident memory of the process in bytes.
#[cfg(target_os = "linux")]
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
#[cfg(target_os = "linux")]
fn a_fork_takes_the_memory_of_what_it_changes() {
    let mut text = "program model\ninput %x: f32[1, 1, 1, 64]\ninput %at: i64[1]\n".to_owned();
    for i in 0..8 {
        text += &format!("state %cache{i}: f32[1, 1, 1024, 64]\n");
    }
    text += "%new: f32[1, 1, 1024, 64] = aten::index_copy_(self=%cache3, dim=2, index=%at, source=%x)\n";
    for i in 0..8 {
        text += &format!("%s{i}: f32[] = aten::sum(self=%cache{i})\n");
    }
    text += "return \"y\"=%s3, \"z\"=%s4\n";
    let program = parse(&text, Catalogue::builtin()).unwrap();
    let ones = Tensor::from_slice(&[1, 1, 1024, 64], &[1.0f32; 1 << 16]).unwrap();
    let names: Vec<String> = (0..8).map(|i| format!("cache{i}")).collect();
    let contents: Vec<_> = names.iter().map(|n| (n.as_str(), ones.clone())).collect();
    let model = Model::in_memory(program, &contents).unwrap();
    let mut session = Session::new(&model, options(MemoryLimit::default())).unwrap();
    let x = Tensor::from_slice(&[1, 1, 1, 64], &[2.0f32; 64]).unwrap();
    let at = Tensor::from_slice(&[1], &[7i64]).unwrap();
    let inputs = [("x", Input::from(x.view())), ("at", Input::from(at.view()))];
    session.run("model", &inputs).unwrap();

    let (slot, count) = (1024 * 64 * 4, 200);
    let before = resident();
    let mut forks: Vec<Session> = (0..count).map(|_| session.fork().unwrap()).collect();
    let forked = resident().saturating_sub(before);
    assert!(forked < count * slot / 8, "{} bytes each", forked / count);
    for fork in &mut forks {
        fork.run("model", &inputs).unwrap();
    }
    let run = resident().saturating_sub(before);
    assert!(run < count * slot * 2, "{} bytes each", run / count);
}

#[test]
fn a_triangle_of_a_few_elements_is_made_at_once_however_many_rows_have_none() {
    for (operator, arguments, wanted) in [
        ("tril", "row=4503599627370496, col=0", &[][..]),
        (
            "tril",
            "row=4503599627370496, col=2, offset=-4503599627370495",
            &[4503599627370495, 0],
        ),
        ("triu", "row=4503599627370496, col=2", &[0, 0, 1, 0, 1, 1]),
    ] {
        let count = wanted.len() / 2;
        let body = format!("%y: i64[2, {count}] = aten::{operator}_indices({arguments})");
        let model = model(&body);
        let mut session = Session::new(&model, options(MemoryLimit::default())).unwrap();
        let x = Tensor::from_slice(&[1], &[1.0f32]).unwrap();
        let outputs = session
            .run("model", &[("x", Input::from(x.view()))])
            .unwrap();
        let found = outputs.get("y").unwrap().to_vec::<i64>();
        assert_eq!(found, wanted, "{body}");
    }
}
