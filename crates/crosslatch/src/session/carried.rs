//! Carried slots: a run reads what an earlier run left.
//!
//! The first run of a method that carries reads its carried slots where the method before it left them
//! as outputs; later runs read them where the run before left them. While a run reads the arena of the
//! run before, which is set aside, it works in another one: two arenas take turns, and nothing is
//! copied. If a run fails, everything is as if it had not begun.

use std::sync::Arc;

use crosslatch_kernels::{Storage, TensorRef};

use super::Session;
use super::method::MethodState;
use super::outputs::in_memory;
use crate::error::Error;
use crate::model::{Carry, Model};
use crate::plan::{Plan, PlannedOutput};

/// What the last run of a method left, set aside for the next one to read.
pub(super) struct Left {
    arena: Arc<Storage>,
    plan: Arc<Plan>,
}

impl Left {
    /// An output of that run.
    fn get<'s>(&'s self, model: &'s Model, name: &str) -> Option<TensorRef<'s>> {
        let (_, output) = self.plan.outputs.iter().find(|(n, _)| n == name)?;
        match output {
            PlannedOutput::Tensor(operand) => in_memory(model, self.arena.bytes(), operand),
            PlannedOutput::Constant(tensor) => Some(tensor.view()),
        }
    }
}

impl Session {
    /// Sets aside what the last run of a method left, if this one carries on from there. `current` is
    /// the state of the method.
    ///
    /// # Errors
    /// If the method carries and the one before it has not run.
    pub(super) fn set_aside(
        &self,
        index: usize,
        current: &mut MethodState,
    ) -> Result<Option<Left>, Error> {
        let Some(carry) = &self.model.methods()[index].carry else {
            return Ok(None);
        };
        let first = &self.methods[carry.first];
        if first.last.is_none() {
            let name = |method: usize| self.model.methods()[method].program.name.clone();
            return Err(Error::Input {
                method: name(index),
                reason: format!(
                    "run `{}` first: it leaves what this takes up",
                    name(carry.first)
                ),
            });
        }
        if current.follows.replace(first.runs) != Some(first.runs) {
            // What this method's last run left belongs to another input.
            current.last = None;
        }
        Ok(current.last.map(|last| current.leave(last)))
    }

    /// The contents of a carried slot for a run after the one that left this.
    pub(super) fn carried<'s>(
        &'s self,
        carry: &Carry,
        slot: usize,
        left: Option<&'s Left>,
    ) -> Option<TensorRef<'s>> {
        let link = carry.links.iter().find(|link| link.slot == slot)?;
        match (left, &link.next) {
            (Some(left), Some(next)) => left.get(&self.model, next),
            _ => self.outputs_of(carry.first).get(&link.first).ok(),
        }
    }
}

impl MethodState {
    fn leave(&mut self, last: usize) -> Left {
        let spare = std::mem::replace(&mut self.spare, Storage::zeroed(0));
        let arena = std::mem::replace(&mut self.arena, spare);
        Left {
            arena: self.shared_arena.take().unwrap_or_else(|| Arc::new(arena)),
            plan: Arc::clone(&self.plans[last].plan),
        }
    }

    /// Ends a run for which these outputs were set aside. Their arena serves the run after the next;
    /// if the run failed, it is again the arena of the last run.
    pub(super) fn take_back(&mut self, left: Option<Left>, done: bool) {
        let Some(left) = left else {
            return;
        };
        if done {
            if let Ok(arena) = Arc::try_unwrap(left.arena) {
                self.spare = arena;
            }
        } else {
            self.spare = std::mem::replace(&mut self.arena, Storage::zeroed(0));
            self.shared_arena = Some(left.arena);
            let is_it = |plan: &Arc<Plan>| Arc::ptr_eq(plan, &left.plan);
            self.last = self.plans.iter().position(|kept| is_it(&kept.plan));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::ir::parse::parse;
    use crate::ops::Catalogue;
    use crate::reference::ReferenceSession;
    use crate::{Error, Input, KernelSet, Model, Options, Session, Tensor};

    const FIRST: &str = "program prefill\nsymbol s0 in 1..\ninput %x: f32[s0]\n\
        %k: f32[s0] = aten::neg(self=%x)\n%v: f32[s0] = aten::mul.Tensor(self=%x, other=%x)\n\
        return \"y\"=%x, \"past.0\"=%k, \"past.1\"=%v\n";
    const NEXT: &str = "program decode\nsymbol s0 in 1..\nsymbol s1 in 1..\ninput %x: f32[1]\n\
        input %fine: bool[]\ninput %past_0: f32[s0]\ninput %past_1: f32[s1]\n\
        %k: f32[s0 + 1] = aten::cat(tensors={%past_0, %x})\n\
        aten::_assert_async(self=%fine)\n\
        %a: f32[] = aten::sum(self=%k)\n%y: f32[s1] = aten::mul.Tensor(self=%past_1, other=%a)\n\
        return \"y\"=%y, \"past.0\"=%k, \"past.1\"=%past_1\n";

    fn model() -> Model {
        let programs = [FIRST, NEXT].map(|text| parse(text, Catalogue::builtin()).unwrap());
        Model::of_programs(programs.into()).unwrap()
    }

    fn tensor(values: &[f32]) -> Tensor {
        Tensor::from_slice(&[values.len()], values).unwrap()
    }

    /// One run and what it returned as `y`.
    enum Run {
        First(Vec<f32>),
        Next(f32, bool),
    }
    use Run::{First, Next};

    impl Run {
        fn inputs(&self) -> (&str, Vec<(&'static str, Tensor)>) {
            match self {
                First(x) => ("prefill", vec![("x", tensor(x))]),
                Next(x, fine) => {
                    let fine = Tensor::from_slice(&[], &[crate::Bool::new(*fine)]).unwrap();
                    ("decode", vec![("x", tensor(&[*x])), ("fine", fine)])
                }
            }
        }

        fn of(&self, session: &mut Session) -> Result<Vec<f32>, Error> {
            let (method, inputs) = self.inputs();
            let named = inputs.iter().map(|(n, t)| (*n, Input::Tensor(t.view())));
            let outputs = session.run(method, &named.collect::<Vec<_>>())?;
            Ok(outputs.get("y").unwrap().to_vec())
        }

        fn interpreted(&self, session: &mut ReferenceSession) -> Result<Vec<f32>, Error> {
            let (method, inputs) = self.inputs();
            let named = inputs.iter().map(|(n, t)| (*n, t.view()));
            let outputs = session.run(method, &named.collect::<Vec<_>>())?;
            let (_, y) = outputs.iter().find(|(name, _)| name == "y").unwrap();
            Ok(y.view().to_vec())
        }
    }

    #[test]
    fn runs_go_on_from_what_the_runs_before_left() {
        let model = model();
        let mut session = Session::new(&model, Options::default()).unwrap();
        let mut reference = ReferenceSession::new(&model, KernelSet::Plain).unwrap();
        // Two inputs, the second one shorter; a step that fails in the middle; one input with no
        // step at all.
        let runs = [
            First(vec![1.0, 2.0, 3.0]),
            Next(4.0, true),
            Next(-1.0, true),
            Next(7.0, false),
            Next(0.5, true),
            First(vec![8.0]),
            Next(1.0, true),
            First(vec![2.0, 2.0]),
            First(vec![1.0, 5.0]),
            Next(3.0, false),
            Next(3.0, true),
            Next(3.0, true),
        ];
        for (i, run) in runs.iter().enumerate() {
            let wanted = run.interpreted(&mut reference);
            match run.of(&mut session) {
                Ok(y) => assert_eq!(y, wanted.unwrap(), "run {i}"),
                Err(error) => assert_eq!(error.to_string(), wanted.unwrap_err().to_string()),
            }
        }
        // -1, -5, 3, 3 and 1 are added up; the squares of 1 and 5 are scaled by it.
        assert_eq!(Next(1.0, true).of(&mut session).unwrap(), [1.0, 25.0]);
    }

    #[test]
    fn a_step_before_its_input_is_refused() {
        let mut session = Session::new(&model(), Options::default()).unwrap();
        let error = |session: &mut Session| Next(1.0, true).of(session).unwrap_err().to_string();
        let expected = "method `decode`: run `prefill` first: it leaves what this takes up";
        assert_eq!(error(&mut session), expected);
        First(vec![1.0]).of(&mut session).unwrap();
        Next(1.0, true).of(&mut session).unwrap();
        session.reset();
        assert_eq!(error(&mut session), expected);
    }

    #[test]
    fn forks_go_on_by_themselves_and_side_by_side() {
        let model = model();
        let mut one = Session::new(&model, Options::default()).unwrap();
        let mut apart: Vec<Session> = Vec::new();
        for session in 0..3 {
            let mut alone = Session::new(&model, Options::default()).unwrap();
            First(vec![1.0, 2.0]).of(&mut alone).unwrap();
            Next(3.0, true).of(&mut alone).unwrap();
            Next(session as f32, true).of(&mut alone).unwrap();
            apart.push(alone);
        }
        First(vec![1.0, 2.0]).of(&mut one).unwrap();
        Next(3.0, true).of(&mut one).unwrap();
        let mut forks = vec![one.fork().unwrap(), one.fork().unwrap()];
        forks.insert(0, one);
        for (i, fork) in forks.iter_mut().enumerate() {
            Next(i as f32, true).of(fork).unwrap();
        }
        for step in [5.0, -2.0] {
            let steps: Vec<_> = (0..3).map(|i| Next(step + i as f32, true)).collect();
            let wanted = steps.iter().zip(&mut apart).map(|(s, a)| s.of(a).unwrap());
            let wanted: Vec<_> = wanted.collect();
            let inputs: Vec<_> = steps.iter().map(|s| s.inputs().1).collect();
            let named = inputs.iter().map(|inputs| {
                let named = inputs.iter().map(|(n, t)| (*n, Input::Tensor(t.view())));
                named.collect::<Vec<_>>()
            });
            let named: Vec<_> = named.collect();
            let named: Vec<_> = named.iter().map(|n| &n[..]).collect();
            let mut together: Vec<_> = forks.iter_mut().collect();
            Session::run_together(&mut together, "decode", &named).unwrap();
            let got = forks
                .iter()
                .map(|f| f.outputs("decode").unwrap().get("y").unwrap().to_vec());
            assert_eq!(got.collect::<Vec<Vec<f32>>>(), wanted);
        }
    }

    #[test]
    fn what_stays_is_read_where_it_was_left_and_latching_goes_with_it() {
        let model = model();
        let decode = model.method_index("decode").unwrap();
        let mut session = Session::new(&model, Options::default()).unwrap();
        First(vec![1.0; 9]).of(&mut session).unwrap();
        Next(1.0, true).of(&mut session).unwrap();
        let kept = &session.methods[decode].plans[0].plan;
        assert!(kept.copies.is_empty(), "{:?}", kept.copies);
        assert!(kept.outputs.iter().all(|(name, _)| name != "past.1"));
        let latched = model.latch(&["fine"]).unwrap();
        let mut other = Session::new(&latched, Options::default()).unwrap();
        First(vec![1.0; 9]).of(&mut other).unwrap();
        for x in [1.0, 2.0] {
            assert_eq!(Next(x, true).of(&mut other).unwrap().len(), 9);
        }
    }
}
