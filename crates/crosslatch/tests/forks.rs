//! Forks of a session share the state that neither of them writes.

mod random;

use crosslatch::ir::Catalogue;
use crosslatch::ir::parse::parse;
use crosslatch::{Bool, DType, Model, Options, Session, Tensor};

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
