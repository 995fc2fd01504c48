//! The reference interpreter: what a program means.
//!
//! It runs node by node, as the contract has it: every computed result gets memory of its own, a
//! view shares its operand's memory, a write changes that memory there and then, and every value
//! that shares the memory sees the change. Nothing is planned, reused or fused. It is slow on
//! purpose: it is the oracle that the planned execution is compared with, and small enough to be
//! believed. It shares the operators' lowerings with the planned execution, and nothing else;
//! nothing of the engine uses it.

mod interpreter;
mod loops;
mod values;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use crosslatch_kernels::{Storage, TensorRef, Threads};

use crate::error::Error;
use crate::inputs;
use crate::ir::graph::{Output, Slot, SlotKind};
use crate::ir::{KernelSet, Number, StoredAs};
use crate::memory::{MemoryError, MemoryLimit};
use crate::model::{Model, QuantizedWeights, Stored};
use crate::options::{Options, TurnLimit, TurnsTaken};
use crate::precision::Precision;
use crate::tensor::Tensor;

use interpreter::Interpreter;
use values::{Shared, Value};

/// A session that the interpreter runs.
pub struct ReferenceSession {
    model: Model,
    kernels: KernelSet,
    precision: Precision,
    limit: MemoryLimit,
    turn_limit: TurnLimit,
    threads: Threads,
    /// For each method, the contents of its slots that are not inputs.
    slots: Vec<Vec<Option<Shared>>>,
    /// For each method, the slots that a `cond` has filled in this session.
    filled: Vec<Rc<RefCell<BTreeSet<usize>>>>,
    /// For each method that carries, what its carried slots hold now.
    carried: Vec<Vec<(usize, Tensor)>>,
}

impl ReferenceSession {
    /// A fresh session. `kernels` chooses between plain loops, the oracle for kernels, and the
    /// kernels that the planned execution uses, the oracle for plans.
    ///
    /// # Errors
    /// As [`with_options`](ReferenceSession::with_options).
    pub fn new(model: &Model, kernels: KernelSet) -> Result<ReferenceSession, Error> {
        let options = Options {
            kernels,
            ..Options::default()
        };
        ReferenceSession::with_options(model, options)
    }

    /// A fresh session with these kernels and this precision. The memory limit holds for each tensor
    /// separately. The interpreter uses one thread, whatever the options say.
    ///
    /// # Errors
    /// If weights or state take more memory than there is.
    pub fn with_options(model: &Model, options: Options) -> Result<ReferenceSession, Error> {
        let (precision, limit) = (options.precision, options.memory_limit);
        let model = model.in_precision(precision);
        let threads = Threads::new(1);
        model.quantize_weights(precision, &threads, limit)?;
        let mut session = ReferenceSession {
            model,
            kernels: precision.kernels(options.kernels),
            precision,
            limit,
            turn_limit: options.turn_limit,
            threads,
            slots: Vec::new(),
            filled: Vec::new(),
            carried: Vec::new(),
        };
        session.reset()?;
        Ok(session)
    }

    /// Puts all state back to what the file has.
    ///
    /// # Errors
    /// As [`with_options`](ReferenceSession::with_options).
    pub fn reset(&mut self) -> Result<(), Error> {
        let quantized = self.model.quantized_weights(self.precision);
        let methods = self.model.methods().iter().enumerate();
        let slots = methods.map(|(i, method)| {
            let slots = initial_slots(&self.model, i, quantized, self.limit);
            slots.map_err(|source| Error::Memory {
                what: format!("weights and state of method `{}`", method.program.name),
                source,
            })
        });
        self.slots = slots.collect::<Result<_, _>>()?;
        self.filled = vec![Rc::default(); self.slots.len()];
        for (i, method) in self.model.methods().iter().enumerate() {
            let Some(alignment) = &method.alignment else {
                continue;
            };
            // It works on the state of another method.
            self.filled[i] = Rc::clone(&self.filled[alignment.of]);
            for (j, slot) in method.program.slots.iter().enumerate() {
                if slot.kind == SlotKind::State {
                    self.slots[i][j] = self.slots[alignment.of][j].clone();
                }
            }
        }
        self.carried = vec![Vec::new(); self.slots.len()];
        Ok(())
    }

    /// What a state slot of a method holds now; `None` if there is no such slot.
    pub fn state(&self, method: &str, slot: &str) -> Option<Tensor> {
        let index = self.model.method_index(method).ok()?;
        let slots = &self.model.methods()[index].program.slots;
        let is_it = |s: &Slot| s.name == slot && s.kind == SlotKind::State;
        let i = slots.iter().position(is_it)?;
        self.slots[index][i].as_ref()?.to_tensor().ok()
    }

    /// The latched values of a method. The oracle keeps none: they are computed at each run.
    fn latched(
        &mut self,
        index: usize,
        named: &[(&str, TensorRef<'_>)],
    ) -> Result<Vec<(String, Tensor)>, Error> {
        let model = self.model.clone();
        let Some(latch) = &model.methods()[index].latch else {
            return Ok(Vec::new());
        };
        let once = &model.methods()[latch.once].program;
        let takes = |name: &str| inputs::input_slots(once).any(|(_, slot)| slot == name);
        let named: Vec<_> = named.iter().copied().filter(|(n, _)| takes(n)).collect();
        self.run(&once.name, &named)
    }

    /// Runs a method; returns its named outputs.
    pub fn run(
        &mut self,
        method: &str,
        named: &[(&str, TensorRef<'_>)],
    ) -> Result<Vec<(String, Tensor)>, Error> {
        let index = self.model.method_index(method)?;
        let model = self.model.clone();
        let program = &model.methods()[index].program;
        let mut given = inputs::order(program, named)?.into_iter();
        let latched = self.latched(index, named)?;
        let mut fed = Vec::new();
        for (slot, name) in inputs::fed_slots(program) {
            let tensor = match program.slots[slot].kind {
                SlotKind::Latched => latched.iter().find(|(n, _)| n == name).map(|l| l.1.view()),
                SlotKind::Carried => {
                    let mut carried = self.carried[index].iter();
                    carried.find(|(i, _)| *i == slot).map(|c| c.1.view())
                }
                _ => given.next(),
            };
            fed.push(tensor.ok_or_else(|| Error::Input {
                method: method.to_owned(),
                reason: format!("nothing has computed `{name}`"),
            })?);
        }
        inputs::check(program, &fed)?;
        let mut fed = inputs::fed_slots(program).zip(&fed).peekable();
        let mut values: Vec<Value> = Vec::new();
        for (i, contents) in self.slots[index].iter().enumerate() {
            let tensor = fed.next_if(|((slot, _), _)| *slot == i);
            values.push(match (contents, tensor) {
                (Some(shared), _) => Value::Tensor(shared.clone()),
                (None, Some((_, tensor))) => {
                    let own = Shared::copy_of(tensor, self.limit);
                    let input = || format!("input {i}");
                    Value::Tensor(own.map_err(|e| e.of_node(method, input()))?)
                }
                (None, None) => Value::Number(Number::Int(0)),
            });
        }
        let interpreter = Interpreter {
            method: &model.methods()[index],
            filled: &self.filled[index],
            kernels: self.kernels,
            limit: self.limit,
            threads: &self.threads,
            turns: RefCell::new(TurnsTaken::none(self.turn_limit)),
        };
        let results = interpreter.graph(&program.graph, values)?;
        let mut outputs = Vec::new();
        let mut written = Vec::new();
        for (output, result) in program.outputs.iter().zip(results) {
            match output {
                Output::User(name) => {
                    let tensor = result.to_tensor(self.limit);
                    let tensor = tensor.map_err(|e| e.of_node(method, format!("`{name}`")))?;
                    outputs.push((name.clone(), tensor));
                }
                // All outputs are taken before any slot changes, as a functional graph means it.
                Output::Mutation { slot } => {
                    let name = &program.slots[*slot].name;
                    let tensor = result.to_tensor(self.limit);
                    let tensor = tensor.map_err(|e| e.of_node(method, format!("`{name}`")))?;
                    written.push((*slot, tensor));
                }
            }
        }
        for (slot, tensor) in written {
            match &self.slots[index][slot] {
                Some(shared) => {
                    let name = &program.slots[slot].name;
                    let stored = shared.write(&tensor.view(), &self.threads);
                    stored.map_err(|e| e.of_node(method, format!("`{name}`")))?;
                }
                // An input that the program writes: its new contents are an output.
                None => outputs.push((program.slots[slot].name.clone(), tensor)),
            }
        }
        self.leave(index, &outputs);
        Ok(outputs)
    }

    /// Puts outputs of a method into the carried slots that they are for.
    fn leave(&mut self, index: usize, outputs: &[(String, Tensor)]) {
        for (method, carried) in self.model.methods().iter().zip(0..) {
            let Some(carry) = &method.carry else {
                continue;
            };
            for link in &carry.links {
                let name = match (carry.first == index, carried == index) {
                    (true, _) => Some(&link.first),
                    (_, true) => link.next.as_ref(),
                    _ => None,
                };
                let output = outputs.iter().find(|(n, _)| Some(n) == name);
                if let Some((_, tensor)) = output {
                    let slots = &mut self.carried[carried];
                    slots.retain(|(slot, _)| *slot != link.slot);
                    slots.push((link.slot, tensor.clone()));
                }
            }
        }
    }
}

fn initial_slots(
    model: &Model,
    method: usize,
    quantized: Option<&QuantizedWeights>,
    limit: MemoryLimit,
) -> Result<Vec<Option<Shared>>, MemoryError> {
    let stored = quantized.map_or(&[][..], |n| n.slots(method));
    let method = &model.methods()[method];
    let bindings = method.bindings.iter();
    bindings
        .enumerate()
        .map(|(i, binding)| {
            let Some(weight) = binding else {
                return Ok(None);
            };
            let (bytes, as_stored) = match (stored.get(i), quantized) {
                (Some(Stored::Quantized(format, range)), Some(quantized)) => {
                    let bytes = &quantized.bytes()[range.clone()];
                    (Some(bytes), Some(StoredAs::Quantized(*format)))
                }
                _ => (model.weight_bytes(weight), weight.halves()),
            };
            let storage = match bytes {
                Some(bytes) => Storage::try_copy_of(bytes)?,
                None => {
                    let bytes = weight.layout.numel().saturating_mul(weight.dtype.size());
                    limit.allocate(bytes, 0)?
                }
            };
            Ok(Some(Shared {
                storage: Rc::new(RefCell::new(storage)),
                dtype: weight.stored,
                layout: weight.layout.clone(),
                stored: as_stored.map(|stored| (stored, weight.dtype)),
            }))
        })
        .collect()
}
