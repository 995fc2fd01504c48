//! Sessions: state, run, reset.
//!
//! A session is one input being worked on: it has its own caches and flags, and its own memory for
//! a run. The model, its weights and its programs are shared by all sessions. The first run of a
//! method with new input sizes makes a plan, which the session keeps until it has used many others
//! since; a run with a plan at hand allocates nothing.
//!
//! A method's outputs stay in the session until the method runs again, and another method may
//! take one as its input where it lies: this is how a decoder reads what the encoder wrote without
//! a copy. Latched values are such outputs too, of a method that the session runs by itself, and so is
//! what a method carries from run to run.

mod carried;
mod latched;
mod method;
mod steps;
mod together;

use std::sync::Arc;

use crosslatch_kernels::{DType, Layout, Storage, TensorRef, Threads};
use smallvec::{SmallVec, smallvec};

use crate::error::Error;
use crate::inputs;
use crate::ir::KernelSet;
use crate::ir::graph::SlotKind;
use crate::memory::MemoryLimit;
use crate::model::{Model, QuantizedWeights};
use crate::options::Options;
use crate::plan::{Operand, Plan, PlannedOutput, block};
use crate::precision::Precision;

use carried::Left;
use latched::Given;
use method::{InputTypes, MethodState};
use steps::Run;

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

/// State of one input being worked on, and the memory to work in.
pub struct Session {
    model: Model,
    kernels: KernelSet,
    precision: Precision,
    limit: MemoryLimit,
    threads: Arc<Threads>,
    methods: Vec<MethodState>,
    /// Memory for what this session does together with others, if it is the first of them.
    memory: Storage,
}

impl Session {
    /// A fresh session.
    ///
    /// # Errors
    /// If its state, or weights in its precision, take more memory than it may have.
    pub fn new(model: &Model, options: Options) -> Result<Session, Error> {
        let model = model.in_precision(options.precision);
        let limit = options.memory_limit;
        let mut methods: Vec<MethodState> = Vec::new();
        for (i, method) in model.methods().iter().enumerate() {
            let taken = methods.iter().map(MethodState::bytes).sum();
            let state = MethodState::new(&model, i, limit, taken);
            methods.push(state.map_err(|source| Error::Memory {
                what: format!("the state of method `{}`", method.program.name),
                source,
            })?);
        }
        let threads = Arc::new(Threads::new(options.threads));
        model.quantize_weights(options.precision, &threads, limit)?;
        Ok(Session {
            model,
            kernels: options.precision.kernels(options.kernels),
            precision: options.precision,
            limit,
            threads,
            methods,
            memory: Storage::zeroed(0),
        })
    }

    /// The model, as it is in this session's precision.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// How this session's weights are stored, if not as they are typed.
    pub fn quantized_weights(&self) -> Option<&QuantizedWeights> {
        self.model.quantized_weights(self.precision)
    }

    /// Puts all state back to what the file has, as in a fresh session. Plans are kept.
    pub fn reset(&mut self) {
        for (i, method) in self.methods.iter_mut().enumerate() {
            method.reset(&self.model, i);
        }
    }

    /// A session that goes on from where this one is, by itself. What has been computed so far is
    /// shared and not copied: of the state, each of the two copies a slot when it first writes it.
    /// Outputs of methods that keep no state, an encoder's for example, and latched values are there
    /// in both; of other methods the new session has no outputs before it has run them.
    ///
    /// Both share their threads: if they run at the same time, one of them does its work alone.
    ///
    /// # Errors
    /// If the system has no memory for what the new session may write.
    pub fn fork(&mut self) -> Result<Session, Error> {
        let methods = self.methods.iter_mut().map(MethodState::fork);
        let methods = methods
            .collect::<Result<_, _>>()
            .map_err(|e| Error::Memory {
                what: "a fork of the session".to_owned(),
                source: e.into(),
            })?;
        Ok(Session {
            model: self.model.clone(),
            kernels: self.kernels,
            precision: self.precision,
            limit: self.limit,
            threads: Arc::clone(&self.threads),
            methods,
            memory: Storage::zeroed(0),
        })
    }

    /// Bytes of a method's state that this session shares with the one that it was forked from, or
    /// that was forked from it.
    ///
    /// # Errors
    /// If there is no such method.
    pub fn shared_state_bytes(&self, method: &str) -> Result<usize, Error> {
        Ok(self.methods[self.model.method_index(method)?].borrowed_bytes())
    }

    /// Runs a method with these inputs, given by name. The outputs stay valid until the session
    /// is used again.
    ///
    /// # Errors
    /// If an input is missing, unknown or does not fit, or a node cannot be computed. State is
    /// then what the nodes before the failing one made of it.
    pub fn run(&mut self, method: &str, named: &[(&str, Input<'_>)]) -> Result<Outputs<'_>, Error> {
        let index = self.model.method_index(method)?;
        if let Some(once) = self.once(index) {
            self.compute_latched(index, once, named)?;
        }
        self.run_method(index, named)?;
        Ok(self.outputs_of(index))
    }

    /// The method that computes the latched values of this one.
    fn once(&self, index: usize) -> Option<usize> {
        let latch = self.model.methods()[index].latch.as_ref()?;
        Some(latch.once)
    }

    /// Sees to it that the latched values of a method are those for these inputs.
    fn compute_latched(
        &mut self,
        index: usize,
        once: usize,
        named: &[(&str, Input<'_>)],
    ) -> Result<(), Error> {
        let model = self.model.clone();
        let [step, part] = [index, once].map(|i| &model.methods()[i].program);
        let mut inputs: SmallVec<[(&str, Input<'_>); 8]> = SmallVec::new();
        let mut given: SmallVec<[Given<'_>; 8]> = SmallVec::new();
        for (_, slot) in inputs::input_slots(part) {
            let (_, input) = named
                .iter()
                .find(|(name, _)| *name == slot)
                .ok_or_else(|| missing(&step.name, slot))?;
            inputs.push((slot, *input));
            given.push(match *input {
                Input::Tensor(tensor) => Given::Tensor(tensor),
                Input::Output { method, name } => {
                    let method = model.method_index(method)?;
                    let run = self.methods[method].runs;
                    Given::Output { method, run, name }
                }
            });
        }
        // A run that failed since has left nothing.
        let is_there = self.methods[once].last.is_some();
        if is_there && self.methods[index].seen.is(self.methods[once].runs, &given) {
            return Ok(());
        }
        self.methods[index].seen.forget();
        self.run_method(once, &inputs).map_err(|e| match e {
            // It is the step that the caller gave them to.
            Error::Input { reason, .. } => Error::Input {
                method: step.name.clone(),
                reason,
            },
            other => other,
        })?;
        let run = self.methods[once].runs;
        self.methods[index].seen.remember(run, &given);
        Ok(())
    }

    fn run_method(&mut self, index: usize, named: &[(&str, Input<'_>)]) -> Result<(), Error> {
        // Taken out, so that its memory can be written while other methods' outputs are read.
        let mut current = std::mem::replace(&mut self.methods[index], MethodState::empty());
        current.runs += 1;
        let result = self.run_taken(index, &mut current, named);
        self.methods[index] = current;
        result
    }

    fn run_taken(
        &self,
        index: usize,
        current: &mut MethodState,
        named: &[(&str, Input<'_>)],
    ) -> Result<(), Error> {
        let left = self.set_aside(index, current)?;
        let result = self.run_after(index, current, named, left.as_ref());
        current.take_back(left, result.is_ok());
        result
    }

    /// Runs a method after the run that left this for it.
    fn run_after(
        &self,
        index: usize,
        current: &mut MethodState,
        named: &[(&str, Input<'_>)],
        left: Option<&Left>,
    ) -> Result<(), Error> {
        let (tensors, number) = self.prepare(index, current, named, left)?;
        let plan = Arc::clone(&current.plans[number].plan);
        current.last = None;
        self.make_room(current, &plan, index)?;
        let member = current.member(&self.model, self.quantized_weights(), &tensors);
        let mut run = Run {
            members: smallvec![member],
            threads: &self.threads,
            method: &self.model.methods()[index],
            memory: &mut Storage::zeroed(0),
        };
        run.steps(&plan.steps, &[0])?;
        drop(run);
        current.last = Some(number);
        Ok(())
    }

    /// The outputs of a method's last run.
    pub fn outputs(&self, method: &str) -> Result<Outputs<'_>, Error> {
        Ok(self.outputs_of(self.model.method_index(method)?))
    }

    /// How often this session has run a method, by itself for latched values or at a call.
    pub fn runs(&self, method: &str) -> Result<u64, Error> {
        Ok(self.methods[self.model.method_index(method)?].runs)
    }

    /// What a state slot of a method holds now; `None` if there is no such slot.
    pub fn state(&self, method: &str, slot: &str) -> Option<TensorRef<'_>> {
        let index = self.model.method_index(method).ok()?;
        let (state, method) = (&self.methods[index], &self.model.methods()[index]);
        let i = method.program.slots.iter().position(|s| s.name == slot)?;
        let (region, weight) = (state.slots[i]?, method.bindings[i].as_ref()?);
        let bytes = state.state(&region)?;
        TensorRef::new(weight.dtype, &weight.layout, bytes).ok()
    }

    /// The plan for inputs of these types and layouts.
    pub fn plan(&mut self, method: &str, inputs: &[(DType, Layout)]) -> Result<&Plan, Error> {
        let index = self.model.method_index(method)?;
        let mut current = std::mem::replace(&mut self.methods[index], MethodState::empty());
        let plan = self.find_or_make(index, &mut current, inputs);
        self.methods[index] = current;
        let (state, plan) = (&self.methods[index], plan?);
        Ok(&state.plans[plan].plan)
    }

    /// The plan of a method for inputs of these types, made if there is none.
    fn find_or_make(
        &self,
        index: usize,
        current: &mut MethodState,
        types: &[(DType, Layout)],
    ) -> Result<usize, Error> {
        current.find_or_make(types, |slots| {
            let quantized = self.quantized_weights();
            crate::plan::plan(
                &self.model,
                index,
                types,
                slots,
                self.kernels,
                quantized,
                self.limit,
            )
        })
    }

    /// Sees to it that a method, taken out of the session, has an arena for this plan.
    fn make_room(&self, current: &mut MethodState, plan: &Plan, index: usize) -> Result<(), Error> {
        let others = self.methods.iter().map(MethodState::bytes).sum();
        let room = current.make_room(plan, self.limit, others);
        room.map_err(|source| Error::Memory {
            what: format!("method `{}`", self.model.methods()[index].program.name),
            source,
        })
    }

    fn outputs_of(&self, index: usize) -> Outputs<'_> {
        Outputs {
            model: &self.model,
            method: &self.methods[index],
        }
    }

    /// The inputs of a run in order, and which plan is for them.
    fn prepare<'a>(
        &'a self,
        index: usize,
        current: &mut MethodState,
        named: &[(&str, Input<'a>)],
        left: Option<&'a Left>,
    ) -> Result<(SmallVec<[TensorRef<'a>; 8]>, usize), Error> {
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
                    Some(once.and_then(|outputs| outputs.get(slot)))
                }
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
                    self.outputs_of(other).get(name).ok_or_else(|| {
                        fail(format!(
                            "input `{slot}` is to be `{name}` of `{method}`, which has no such \
                             output or has not run"
                        ))
                    })?
                }
                None => return Err(missing(&program.name, slot)),
            });
        }
        if tensors.len() != named.len() + own {
            // Finds out which one is not known.
            inputs::order(program, named)?;
        }
        let plan = match current.find(&tensors) {
            Some(plan) => plan,
            None => {
                inputs::check(program, &tensors)?;
                let types: InputTypes = tensors
                    .iter()
                    .map(|t| (t.dtype(), t.layout().clone()))
                    .collect();
                self.find_or_make(index, current, &types)?
            }
        };
        current.plans[plan].used = current.runs;
        Ok((tensors, plan))
    }
}

fn missing(method: &str, input: &str) -> Error {
    Error::Input {
        method: method.to_owned(),
        reason: format!("input `{input}` is missing"),
    }
}

/// The outputs of a method's last run.
#[derive(Clone, Copy)]
pub struct Outputs<'s> {
    model: &'s Model,
    method: &'s MethodState,
}

impl<'s> Outputs<'s> {
    fn planned(&self) -> &'s [(String, PlannedOutput)] {
        match self.method.last {
            Some(plan) => &self.method.plans[plan].plan.outputs,
            None => &[],
        }
    }

    /// The output with this name; `None` if there is none, or the method has not run.
    pub fn get(&self, name: &str) -> Option<TensorRef<'s>> {
        let (_, output) = self.planned().iter().find(|(n, _)| n == name)?;
        self.tensor(output)
    }

    /// All outputs, in the order of the program.
    pub fn iter(&self) -> impl Iterator<Item = (&'s str, TensorRef<'s>)> + '_ {
        self.planned()
            .iter()
            .filter_map(|(name, output)| Some((name.as_str(), self.tensor(output)?)))
    }

    fn tensor(&self, output: &'s PlannedOutput) -> Option<TensorRef<'s>> {
        let operand = match output {
            PlannedOutput::Tensor(operand) => operand,
            PlannedOutput::Constant(tensor) => return Some(tensor.view()),
        };
        let region = &operand.region;
        if region.block != block::STATE {
            return in_memory(self.model, self.method.arena(), operand);
        }
        // A slot is borrowed as a whole; an output may be a part of it.
        let slots = self.method.slots.iter().flatten();
        let mut slots = slots
            .filter(|s| s.start <= region.start && region.start + region.len <= s.start + s.len);
        let slot = slots.next()?;
        let bytes = self.method.state(slot)?.get(region.start - slot.start..)?;
        TensorRef::new(operand.dtype, &operand.layout, bytes.get(..region.len)?).ok()
    }
}

/// A tensor that a run left in its arena, or that is a weight.
fn in_memory<'s>(model: &'s Model, arena: &'s [u8], operand: &'s Operand) -> Option<TensorRef<'s>> {
    let region = &operand.region;
    let block = match region.block {
        block::ARENA => arena,
        block::COPIED => model.copied_bytes(),
        // The plan copies what would be an input.
        other => {
            let file = other.checked_sub(block::FILES)?;
            model.files().get(file)?.contents().bytes()
        }
    };
    let bytes = block.get(region.start..)?.get(..region.len)?;
    TensorRef::new(operand.dtype, &operand.layout, bytes).ok()
}
