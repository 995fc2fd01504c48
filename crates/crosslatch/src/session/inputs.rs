//! The inputs of a run: which tensor feeds which slot, and which plan is for them.

use crosslatch_kernels::TensorRef;
use smallvec::SmallVec;

use super::Session;
use super::carried::Left;
use super::method::{MethodState, Numbers};
use crate::error::Error;
use crate::inputs::{self, InputTypes};
use crate::ir::graph::SlotKind;
use crate::tensor::number_of;

/// An input of a run.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A tensor of the caller's.
    Tensor(TensorRef<'a>),
    /// What another method of this session returned when it last ran.
    Output {
        /// The method.
        method: &'a str,
        /// Its output.
        name: &'a str,
    },
}

impl<'a> From<TensorRef<'a>> for Input<'a> {
    fn from(tensor: TensorRef<'a>) -> Self {
        Input::Tensor(tensor)
    }
}

/// What a session brings to a run.
pub(super) struct Prepared<'a> {
    /// The tensors that the run is fed with, in the order of the slots.
    pub tensors: SmallVec<[TensorRef<'a>; 8]>,
    /// Which of the method's plans is for them.
    pub plan: usize,
}

impl Session {
    /// The inputs of a run in order, and which plan is for them.
    pub(super) fn prepare<'a>(
        &'a self,
        index: usize,
        current: &mut MethodState,
        named: &[(&str, Input<'a>)],
        left: Option<&'a Left>,
    ) -> Result<Prepared<'a>, Error> {
        let method = &self.model.methods()[index];
        let program = &method.program;
        let fail = |reason: String| Error::Input {
            method: program.name.clone(),
            reason,
        };
        let mut tensors: SmallVec<[TensorRef<'a>; 8]> = SmallVec::new();
        let mut own = 0;
        for (i, slot) in inputs::fed_slots(program) {
            let kept = match program.slots[i].kind {
                SlotKind::Latched => {
                    let once = self.once(index).map(|once| self.outputs_of(once));
                    Some(once.and_then(|outputs| outputs.get(slot).ok()))
                }
                SlotKind::Segment => Some(self.of_segment(index, slot)),
                SlotKind::Carried => {
                    let carry = method.carry.as_ref();
                    Some(carry.and_then(|carry| self.carried(carry, i, left)))
                }
                _ => None,
            };
            if let Some(value) = kept {
                let nothing = || fail(format!("nothing has computed `{slot}`"));
                tensors.push(value.ok_or_else(nothing)?);
                own += 1;
                continue;
            }
            let given = named.iter().find(|(name, _)| *name == slot);
            tensors.push(match given {
                Some((_, Input::Tensor(tensor))) => *tensor,
                Some((_, Input::Output { method, name })) => {
                    let other = self.model.method_index(method)?;
                    if other == index {
                        return Err(fail(format!(
                            "input `{slot}` is an output of the same method"
                        )));
                    }
                    let output = self.outputs_of(other).get(name);
                    output.map_err(|error| fail(format!("input `{slot}`: {error}")))?
                }
                None => return Err(missing(&program.name, slot)),
            });
        }
        if tensors.len() != named.len() + own {
            // This says which name is unknown.
            inputs::order(program, named)?;
        }
        let mut numbers = Numbers::new();
        if method.segments.is_some() {
            for (_, slot) in inputs::number_slots(program) {
                let value = self.of_segment(index, slot);
                let value = value.ok_or_else(|| fail(format!("nothing has computed `{slot}`")))?;
                numbers.push(number_of(&value).map_err(fail)?);
            }
        }
        let plan = match current.find(&tensors, &numbers) {
            Some(plan) => plan,
            None => {
                inputs::check(program, &tensors)?;
                let types: InputTypes = tensors
                    .iter()
                    .map(|t| (t.dtype(), t.layout().clone()))
                    .collect();
                self.find_or_make(index, current, &types, &numbers)?
            }
        };
        current.plans[plan].used = current.runs;
        Ok(Prepared { tensors, plan })
    }
}

impl Session {
    /// What an earlier segment of the run of a method returned under this name.
    fn of_segment(&self, index: usize, name: &str) -> Option<TensorRef<'_>> {
        let segments = self.model.methods()[index].segments.as_ref()?;
        let mut before = segments.before.iter();
        before.find_map(|segment| self.outputs_of(*segment).get(name).ok())
    }
}

/// The error of an input that is not given.
pub(super) fn missing(method: &str, input: &str) -> Error {
    Error::Input {
        method: method.to_owned(),
        reason: format!("input `{input}` is missing"),
    }
}
