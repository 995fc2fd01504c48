//! Forks of a session share the state that neither of them writes.

mod random;

use crosslatch::ir::Catalogue;
use crosslatch::ir::parse::parse;
use crosslatch::{Bool, DType, Input, Model, Options, Session, Tensor};

use random::Random;

#[test]
fn a_fork_shares_what_neither_writes() {
    let text = include_str!("filetests/plan/conditional_cache_is_updated_in_place_and_aliased.ir");
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

/// A self-attention cache with contents, a cache that is filled once, and a counter.
const BEAM: &str = "\
program model
input %at: i64[2]
input %k: f32[1, 2, 2, 3]
input %first: bool[1]
state %cache: f32[1, 2, 6, 3]
state %filled: f32[1, 2, 4, 3]
state %steps: f32[1]
%one: f32[1, 2, 6, 3] = aten::index_copy_(self=%cache, dim=2, index=%at, source=%k)
%two: f32[1, 2, 4, 3] = higher_order::cond(pred=%first, operands={%filled, %k}) then(%filled: f32[1, 2, 4, 3], %k: f32[1, 2, 2, 3]) {
  %new: f32[1, 2, 4, 3] = executorch::update_cross_attn_cache(value=%k, cache=%filled)
  return %new
} else(%filled: f32[1, 2, 4, 3], %k: f32[1, 2, 2, 3]) {
  return %filled
}
%three: f32[1] = aten::add_.Scalar(self=%steps, other=1)
%a: f32[1, 2, 6, 3] = aten::neg(self=%one)
%b: f32[1, 2, 4, 3] = aten::neg(self=%two)
%c: f32[1] = aten::neg(self=%three)
return \"a\"=%a, \"b\"=%b, \"c\"=%c
";

#[test]
fn a_session_that_takes_over_another_ones_state_is_like_a_fork_of_it() {
    let program = parse(BEAM, Catalogue::builtin()).unwrap();
    let mut random = Random(5);
    let cache = random.tensor(DType::F32, &[1, 2, 6, 3], 1);
    let model = Model::in_memory(program, &[("cache", cache)]).unwrap();
    let fresh = || Session::new(&model, Options::default()).unwrap();
    const BEAMS: u64 = 4;
    let mut taken: Vec<Session> = (0..BEAMS).map(|_| fresh()).collect();
    let mut forked: Vec<Session> = (0..BEAMS).map(|_| fresh()).collect();
    for step in 0..400 {
        if step == 200 {
            taken.iter_mut().chain(&mut forked).for_each(Session::reset);
        }
        // Each session has to fill its cache before it reads it.
        let fills = (step % 200 < BEAMS).then_some((step % 200) as usize);
        let [from, to] = [0; 2].map(|_| (random.next() % BEAMS) as usize);
        let [from, to] = fills.map_or([from, to], |who| [who; 2]);
        if let Ok([from, to]) = taken.get_disjoint_mut([from, to]) {
            to.continue_from(from).unwrap();
        }
        if from != to {
            forked[to] = forked[from].fork().unwrap();
        }
        let who = fills.unwrap_or((random.next() % BEAMS) as usize);
        let at = random.tensor(DType::I64, &[2], 1 + step % 6);
        let k = random.tensor(DType::F32, &[1, 2, 2, 3], 1);
        let first =
            Tensor::from_slice(&[1], &[Bool::new(fills.is_some() || step % 50 == 3)]).unwrap();
        let inputs: [(&str, Input<'_>); 3] = [
            ("at", at.view().into()),
            ("k", k.view().into()),
            ("first", first.view().into()),
        ];
        let mut results = Vec::new();
        for session in [&mut taken[who], &mut forked[who]] {
            let outputs = session.run("model", &inputs).unwrap();
            let outputs = outputs
                .iter()
                .map(|(_, t)| Tensor::copy_of(&t).bytes().to_vec());
            results.push(outputs.collect::<Vec<_>>());
        }
        assert_eq!(results[0], results[1], "step {step}");
    }
}
