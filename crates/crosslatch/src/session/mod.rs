//! Sessions: state, run, reset.
//!
//! A session is one input being worked on: it has its own caches and flags, and its own memory for
//! a run. The model, its weights and its programs are shared by all sessions. The first run of a
//! method with new input sizes makes a plan, which the session keeps until many other plans have been
//! used more recently; a run whose plan exists allocates nothing.
//!
//! A method's outputs stay in the session until the method runs again, and another method may take one
//! as its input where it lies: this is how a decoder reads what the encoder wrote without a copy.
//! Latched values are such outputs too, of a method that the session runs without being asked, and so
//! is what a method carries from run to run.

mod carried;
mod fork;
mod inputs;
mod latched;
mod method;
mod outputs;
mod run;
mod steps;
mod written;

use std::sync::Arc;

use crosslatch_kernels::random::Generator;
use crosslatch_kernels::{DType, Layout, Storage, TensorRef, Threads};

use crate::error::Error;
use crate::inputs::{InputTypes, fed_slots, number_slots, smallest_types};
use crate::ir::{KernelSet, Number};
use crate::memory::MemoryLimit;
use crate::model::{Model, QuantizedWeights};
use crate::options::{Options, TurnLimit};
use crate::passes::random::GENERATOR;
use crate::plan::{self, Plan};
use crate::precision::Precision;

use method::MethodState;

pub use inputs::Input;
pub use outputs::Outputs;

/// State of one input being worked on, and the memory to work in.
pub struct Session {
    model: Model,
    kernels: KernelSet,
    precision: Precision,
    limit: MemoryLimit,
    turn_limit: TurnLimit,
    threads: Arc<Threads>,
    methods: Vec<MethodState>,
    /// Working memory for steps that this session takes together with others, if it is the first.
    memory: Storage,
}

impl Session {
    /// A fresh session.
    ///
    /// # Errors
    /// If its state, or the weights in its precision, take more memory than the limit allows.
    pub fn new(model: &Model, options: Options) -> Result<Session, Error> {
        let model = model.in_precision(options.precision).segmented();
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
            turn_limit: options.turn_limit,
            threads,
            methods,
            memory: Storage::zeroed(0),
        })
    }

    /// The model, as it is in this session's precision.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// This session's quantized weights; `None` if all weights have the types of the file.
    pub fn quantized_weights(&self) -> Option<&QuantizedWeights> {
        self.model.quantized_weights(self.precision)
    }

    /// Puts all state back to what the file has, as in a fresh session. Plans are kept.
    pub fn reset(&mut self) {
        for (i, method) in self.methods.iter_mut().enumerate() {
            method.reset(&self.model, i);
        }
    }

    /// Seeds the generators of random numbers, as `torch.manual_seed` does: a method then draws the numbers that
    /// PyTorch draws when it runs the same program. Without a seed, and after [`reset`](Session::reset), they
    /// are those of a fresh process of PyTorch; a [`fork`](Session::fork) goes on with the numbers of its
    /// session. Each method has a generator of its own. Returns whether any method has one.
    pub fn seed(&mut self, seed: u64) -> bool {
        let state = Generator::seeded(seed).state();
        let mut is_seeded = false;
        for (state_of, method) in self.methods.iter_mut().zip(self.model.methods()) {
            let mut slots = method.program.slots.iter();
            if let Some(slot) = slots.position(|slot| slot.name == GENERATOR) {
                is_seeded |= state_of.overwrite(slot, bytemuck::cast_slice(&state));
            }
        }
        is_seeded
    }

    /// An independent session that continues from the state of this one. What has been computed so
    /// far is shared and not copied: each of the two copies a slot of the state when it first writes
    /// it. Outputs of methods that keep no state, an encoder's for example, and latched values are in
    /// both sessions; outputs of other methods are in the new session only after it has run them.
    ///
    /// Both share their threads: if they run at the same time, one of them works on its own thread
    /// alone.
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
            turn_limit: self.turn_limit,
            threads: Arc::clone(&self.threads),
            methods,
            memory: Storage::zeroed(0),
        })
    }

    /// Makes this session what a [`fork`](Session::fork) of another one would be, in the memory that
    /// it has: state that both write is copied, as far as it has been written, and nothing is
    /// allocated. This is how one of the texts that a search follows takes over another one.
    ///
    /// # Errors
    /// As for [`fork`](Session::fork).
    pub fn continue_from(&mut self, other: &mut Session) -> Result<(), Error> {
        let is_alike = self.model.is(&other.model)
            && self.kernels == other.kernels
            && self.precision == other.precision;
        if !is_alike {
            *self = other.fork()?;
            return Ok(());
        }
        let methods = self.methods.iter_mut().zip(&mut other.methods);
        for ((mine, theirs), method) in methods.zip(self.model.methods()) {
            let done = mine.continue_from(theirs, method);
            done.map_err(|e| Error::Memory {
                what: "a fork of the session".to_owned(),
                source: e.into(),
            })?;
        }
        Ok(())
    }

    /// Bytes of a method's state that this session shares with the session that it was forked from,
    /// or with sessions that were forked from it.
    ///
    /// # Errors
    /// If there is no such method.
    pub fn shared_state_bytes(&self, method: &str) -> Result<usize, Error> {
        Ok(self.methods[self.model.method_index(method)?].borrowed_bytes())
    }

    /// The outputs of a method's last run.
    pub fn outputs(&self, method: &str) -> Result<Outputs<'_>, Error> {
        Ok(self.outputs_of(self.model.method_index(method)?))
    }

    /// How often this session has run a method, whether it was called or computes latched values.
    pub fn runs(&self, method: &str) -> Result<u64, Error> {
        Ok(self.methods[self.model.method_index(method)?].runs)
    }

    /// What a state slot of a method holds now; `None` if there is no such slot.
    pub fn state(&self, method: &str, slot: &str) -> Option<TensorRef<'_>> {
        let index = self.model.method_index(method).ok()?;
        let state = &self.methods[self.works_on(index).unwrap_or(index)];
        let method = &self.model.methods()[index];
        let i = method.program.slots.iter().position(|s| s.name == slot)?;
        let (range, weight) = (state.slots[i].as_ref()?, method.bindings[i].as_ref()?);
        let bytes = state.state(range)?;
        TensorRef::new(weight.dtype, &weight.layout, bytes).ok()
    }

    /// The plan for inputs of these types and layouts.
    ///
    /// # Errors
    /// If they are not as many as the method takes, there is no plan for them, or sizes of the method depend on
    /// contents.
    pub fn plan(&mut self, method: &str, inputs: &[(DType, Layout)]) -> Result<&Plan, Error> {
        let index = self.model.method_index(method)?;
        let program = &self.model.methods()[index].program;
        let reason = match (fed_slots(program).count(), number_slots(program).next()) {
            (_, Some(_)) => Some("it is planned when it runs, for numbers of contents".to_owned()),
            (count, None) if count != inputs.len() => Some(format!(
                "a plan is for {count} tensors, and {} are given",
                inputs.len()
            )),
            _ => None,
        };
        if let Some(reason) = reason {
            let method = method.to_owned();
            return Err(Error::Input { method, reason });
        }
        let mut current = std::mem::replace(&mut self.methods[index], MethodState::empty());
        let plan = self.find_or_make(index, &mut current, inputs, &[]);
        self.methods[index] = current;
        let (state, plan) = (&self.methods[index], plan?);
        Ok(&state.plans[plan].plan)
    }

    /// The plan for the [smallest inputs](crate::inputs::smallest_types) for which there is one, and their
    /// types; `None` if sizes cannot be chosen for the method, or depend on contents.
    ///
    /// # Errors
    /// Why there is no plan for the last choice.
    pub fn smallest_plan(&mut self, method: &str) -> Result<Option<(InputTypes, &Plan)>, Error> {
        let index = self.model.method_index(method)?;
        let program = &self.model.methods()[index].program;
        if number_slots(program).next().is_some() {
            return Ok(None);
        }
        let choices = smallest_types(program);
        let mut choices = choices.into_iter().peekable();
        while let Some(types) = choices.next() {
            match self.plan(method, &types).map(|_| ()) {
                Err(_) if choices.peek().is_some() => {}
                done => {
                    done?;
                    let plan = self.plan(method, &types)?;
                    return Ok(Some((types, plan)));
                }
            }
        }
        Ok(None)
    }

    /// The method that computes the latched values of this one.
    fn once(&self, index: usize) -> Option<usize> {
        let latch = self.model.methods()[index].latch.as_ref()?;
        Some(latch.once)
    }

    /// The method whose state this one works on, if that is another one.
    fn works_on(&self, index: usize) -> Option<usize> {
        self.model.methods()[index].works_on(index)
    }

    /// The plan of a method for inputs of these types, made if there is none.
    fn find_or_make(
        &self,
        index: usize,
        current: &mut MethodState,
        types: &[(DType, Layout)],
        numbers: &[Number],
    ) -> Result<usize, Error> {
        let method = &self.model.methods()[index];
        if let Some(refusal) = &method.uncut {
            return Err(Error::Node {
                method: method.program.name.clone(),
                node: refusal.node.clone(),
                reason: refusal.reason.clone(),
            });
        }
        current.find_or_make(types, numbers, |state| {
            plan::plan(&plan::Request {
                model: &self.model,
                method: index,
                inputs: types,
                numbers,
                state,
                kernels: self.kernels,
                precision: self.precision,
                limit: self.limit,
            })
        })
    }

    /// Makes sure that a method, taken out of the session, has an arena for this plan.
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
            program: &self.model.methods()[index].program,
            method: &self.methods[index],
        }
    }
}
