//! Latching, tested by text.
//!
//! Each file in `tests/latch/` is a program with, above it, the inputs to latch (`#> latch NAME`), what
//! becomes of it (`#> kept %NAME: TYPE`, in the order of the program, or `#> nothing is kept`) and
//! what is computed at every run although it depends on latched inputs alone
//! (`#> left %NAME: REASON`). Whatever is decided, runs must return what the reference interpreter
//! returns for the program as it was, bit for bit, over several sets of latched inputs of several
//! sizes in one session; and the kept values must be computed once for each set.

mod random;

use std::collections::HashMap;
use std::path::Path;

use crosslatch::ir::parse::parse;
use crosslatch::ir::verify::verify;
use crosslatch::ir::{Program, SlotKind, ValueType};
use crosslatch::ops::Catalogue;
use crosslatch::reference::ReferenceSession;
use crosslatch::{DType, Input, KernelSet, Model, Options, Session, Tensor};

use random::Random;

/// Which set of latched inputs each run has: the last is the first again, and two are run once only.
const SETS: [usize; 9] = [0, 0, 1, 1, 1, 2, 0, 0, 0];
const CHANGES: u64 = 4;
/// Rows of the tables that integers look up.
const ROWS: u64 = 3;

#[test]
fn every_program_is_latched_as_its_file_says_and_runs_as_it_means() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/latch");
    let files = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = files.map(|f| f.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 8, "the folder of programs is nearly empty");
    let failures: Vec<String> = files
        .iter()
        .filter_map(|file| Some(format!("{}: {}", file.display(), check(file).err()?)))
        .collect();
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

fn check(file: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(file).unwrap();
    let expected = text.lines().filter_map(|l| l.strip_prefix("#> "));
    let (latch, expected): (Vec<&str>, Vec<&str>) = expected.partition(|l| l.starts_with("latch "));
    let latch: Vec<&str> = latch.iter().map(|l| &l["latch ".len()..]).collect();
    let program = parse(&text, Catalogue::builtin()).map_err(|e| e.to_string())?;
    verify(&program).map_err(|e| e.to_string())?;
    let mut random = Random(5);
    let contents = contents(&program, &mut random);
    let given = contents.iter().map(|(n, t)| (n.as_str(), t.clone()));
    let model =
        Model::in_memory(program.clone(), &given.collect::<Vec<_>>()).map_err(|e| e.to_string())?;
    let latched = model.latch(&latch).map_err(|e| e.to_string())?;
    let decided = decisions(&latched);
    if decided != expected {
        return Err(format!("decided\n{}", decided.join("\n")));
    }

    let mut reference = ReferenceSession::new(&model, KernelSet::Fast).unwrap();
    let mut oracle = ReferenceSession::new(&latched, KernelSet::Fast).unwrap();
    let mut session = Session::new(&latched, Options::default()).unwrap();
    let mut sets = [Random(1), Random(2), Random(3)].map(|mut r| {
        let sizes = program.symbols.iter().map(|s| {
            let range = s.max.unwrap_or(s.min + 4) - s.min + 1;
            (s.name.clone(), s.min + (r.next() % range as u64) as i64)
        });
        let sizes: HashMap<String, i64> = sizes.collect();
        let is_latched = |name: &str| latch.contains(&name);
        let tensors = inputs(&program, &sizes, &mut r, is_latched);
        (sizes, tensors)
    });
    for (run, set) in SETS.into_iter().enumerate() {
        let (sizes, kept) = &mut sets[set];
        let is_other = |name: &str| !latch.contains(&name);
        let mut tensors = inputs(&program, sizes, &mut random, is_other);
        tensors.extend(kept.iter().cloned());
        let viewed: Vec<_> = tensors
            .iter()
            .map(|(n, t)| (n.as_str(), t.view()))
            .collect();
        let named: Vec<_> = viewed.iter().map(|(n, t)| (*n, Input::from(*t))).collect();
        let wanted = reference
            .run(&program.name, &viewed)
            .map_err(|e| e.to_string())?;
        let interpreted = oracle
            .run(&program.name, &viewed)
            .map_err(|e| e.to_string())?;
        let got = session
            .run(&program.name, &named)
            .map_err(|e| e.to_string())?;
        for ((name, wanted), (_, interpreted)) in wanted.iter().zip(&interpreted) {
            let got = Tensor::copy_of(&got.get(name).map_err(|e| e.to_string())?);
            if [&got, interpreted].map(|t| t.bytes()) != [wanted.bytes(); 2] {
                return Err(format!("run {run}, `{name}`: {wanted:?}, planned {got:?}"));
            }
        }
    }
    if let Some(latch) = &latched.methods()[0].latch {
        let once = &latched.methods()[latch.once].program.name;
        let runs = session.runs(once).map_err(|e| e.to_string())?;
        if runs != CHANGES {
            return Err(format!("the kept values were computed {runs} times"));
        }
    }
    Ok(())
}

fn decisions(model: &Model) -> Vec<String> {
    let method = &model.methods()[0];
    let Some(latch) = &method.latch else {
        return vec!["nothing is kept".to_owned()];
    };
    let program = &method.program;
    let slots = program.slots.iter().zip(&program.graph.inputs);
    let mut decided: Vec<String> = slots
        .filter(|(slot, _)| slot.kind == SlotKind::Latched)
        .map(|(_, id)| {
            let value = program.graph.value(*id);
            format!("kept %{}: {}", value.name, value.ty)
        })
        .collect();
    let left = latch.left.iter();
    decided.extend(left.map(|(name, reason)| format!("left %{name}: {reason}")));
    decided
}

fn contents(program: &Program, random: &mut Random) -> Vec<(String, Tensor)> {
    let slots = program.slots.iter().zip(&program.graph.inputs);
    let slots = slots.filter(|(slot, _)| slot.kind != SlotKind::Input);
    slots
        .map(|(slot, id)| {
            let (dtype, shape) = sized(program, *id, &HashMap::new());
            (slot.name.clone(), random.tensor(dtype, &shape, ROWS))
        })
        .collect()
}

fn inputs(
    program: &Program,
    sizes: &HashMap<String, i64>,
    random: &mut Random,
    which: impl Fn(&str) -> bool,
) -> Vec<(String, Tensor)> {
    let slots = program.slots.iter().zip(&program.graph.inputs);
    let slots = slots.filter(|(slot, _)| slot.kind == SlotKind::Input && which(&slot.name));
    slots
        .map(|(slot, id)| {
            let (dtype, shape) = sized(program, *id, sizes);
            (slot.name.clone(), random.tensor(dtype, &shape, ROWS))
        })
        .collect()
}

fn sized(
    program: &Program,
    id: crosslatch::ir::ValueId,
    sizes: &HashMap<String, i64>,
) -> (DType, Vec<usize>) {
    let ValueType::Tensor(ty) = &program.graph.value(id).ty else {
        panic!("slots are tensors here");
    };
    let (dtype, layout) = ty.with_sizes(&|name| sizes.get(name).copied()).unwrap();
    (dtype, layout.shape.to_vec())
}

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
