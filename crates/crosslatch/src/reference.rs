//! The reference interpreter: what a program means.
//!
//! It runs node by node, as the contract has it: every computed result gets memory of its own, a
//! view shares its operand's memory, a write changes it there and then, and everybody who shares
//! the memory sees the change. Nothing is planned, reused or fused. It is slow on purpose: it is
//! the oracle that the planned execution is compared with, and small enough to be believed.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use crosslatch_kernels::movement::copy::copy;
use crosslatch_kernels::tensor::quantized::Format;
use crosslatch_kernels::tensor::storage::OutOfMemory;
use crosslatch_kernels::tensor::view::TensorError;
use crosslatch_kernels::{
    DType, Element, Kernel, Layout, Operands, Storage, TensorMut, TensorRef, Threads, with_element,
};

use crate::error::Error;
use crate::inputs;
use crate::ir::bind::{Known, bind_call};
use crate::ir::graph::{Arg, Graph, Node, Output, Slot, SlotKind, ValueId};
use crate::ir::verify::label;
use crate::ir::{KernelSet, Lowering, Number, OpError};
use crate::memory::{MemoryError, MemoryLimit};
use crate::model::{Method, Model};
use crate::precision::{Narrowed, Precision, Stored};
use crate::session::{Options, not_filled};
use crate::tensor::Tensor;

/// A session that is interpreted.
pub struct ReferenceSession {
    model: Model,
    kernels: KernelSet,
    precision: Precision,
    limit: MemoryLimit,
    threads: Threads,
    /// For each method, the contents of its slots that are not inputs.
    slots: Vec<Vec<Option<Shared>>>,
    /// For each method, the slots that a `cond` has filled in this session.
    filled: Vec<RefCell<BTreeSet<usize>>>,
    /// For each method that carries, what its carried slots hold now.
    carried: Vec<Vec<(usize, Tensor)>>,
}

/// A tensor whose memory may be shared with others.
#[derive(Clone)]
struct Shared {
    storage: Rc<RefCell<Storage>>,
    dtype: DType,
    layout: Layout,
    /// The format that a weight is stored in, if not as it is typed.
    narrow: Option<Format>,
}

#[derive(Clone)]
enum Value {
    Tensor(Shared),
    Number(Number),
}

/// Why a node failed, before it is known which node it was.
enum Failure {
    Reason(String),
    Memory(MemoryError),
}

impl From<String> for Failure {
    fn from(reason: String) -> Failure {
        Failure::Reason(reason)
    }
}

impl From<&str> for Failure {
    fn from(reason: &str) -> Failure {
        Failure::Reason(reason.to_owned())
    }
}

impl From<MemoryError> for Failure {
    fn from(error: MemoryError) -> Failure {
        Failure::Memory(error)
    }
}

impl From<OutOfMemory> for Failure {
    fn from(error: OutOfMemory) -> Failure {
        Failure::Memory(error.into())
    }
}

impl Failure {
    /// The error, where it is known which node of which method it was.
    fn of_node(self, method: &str, node: String) -> Error {
        match self {
            Failure::Reason(reason) => Error::Node {
                method: method.to_owned(),
                node,
                reason,
            },
            Failure::Memory(source) => Error::Memory {
                what: format!("method `{method}`, node {node}"),
                source,
            },
        }
    }
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

    /// The same, with these kernels and this precision. The memory limit holds for each tensor by
    /// itself. Whatever the options say, it works alone.
    ///
    /// # Errors
    /// If weights or state take more memory than there is.
    pub fn with_options(model: &Model, options: Options) -> Result<ReferenceSession, Error> {
        let (precision, limit) = (options.precision, options.memory_limit);
        let model = model.in_precision(precision);
        let threads = Threads::new(1);
        model.narrow(precision, &threads, limit)?;
        let mut session = ReferenceSession {
            model,
            kernels: precision.kernels(options.kernels),
            precision,
            limit,
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
        let narrowed = self.model.narrowed(self.precision);
        let methods = self.model.methods().iter().enumerate();
        let slots = methods.map(|(i, method)| {
            let slots = initial_slots(&self.model, i, narrowed);
            slots.map_err(|error| Error::Memory {
                what: format!("weights and state of method `{}`", method.program.name),
                source: error.into(),
            })
        });
        self.slots = slots.collect::<Result<_, _>>()?;
        self.filled = vec![RefCell::default(); self.slots.len()];
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

    /// The latched values of a method. The oracle trusts no memory: they are computed at each run.
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
            model: &model,
            method: &model.methods()[index],
            filled: &self.filled[index],
            kernels: self.kernels,
            limit: self.limit,
            threads: &self.threads,
        };
        let results = interpreter.graph(&program.graph, values)?;
        let mut outputs = Vec::new();
        let mut written = Vec::new();
        for (output, result) in program.outputs.iter().zip(results) {
            match output {
                Output::User(name) => {
                    let tensor = result.to_tensor(self.limit);
                    let tensor = tensor.map_err(|e| e.of_node(method, format!("`{name}`")))?;
                    outputs.extend(tensor.map(|tensor| (name.clone(), tensor)));
                }
                // All outputs are taken before any slot changes, as a functional graph means it.
                Output::Mutation { slot } => {
                    let name = &program.slots[*slot].name;
                    let tensor = result.to_tensor(self.limit);
                    let tensor = tensor.map_err(|e| e.of_node(method, format!("`{name}`")))?;
                    written.extend(tensor.map(|tensor| (*slot, tensor)));
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
    narrowed: Option<&Narrowed>,
) -> Result<Vec<Option<Shared>>, OutOfMemory> {
    let stored = narrowed.map_or(&[][..], |n| n.slots(method));
    let method = &model.methods()[method];
    let bindings = method.bindings.iter();
    bindings
        .enumerate()
        .map(|(i, binding)| {
            let Some(weight) = binding else {
                return Ok(None);
            };
            let (bytes, narrow) = match (stored.get(i), narrowed) {
                (Some(Stored::Narrow(format, range)), Some(narrowed)) => {
                    (&narrowed.bytes()[range.clone()], Some(*format))
                }
                _ => (model.weight_bytes(weight), None),
            };
            Ok(Some(Shared {
                storage: Rc::new(RefCell::new(Storage::try_copy_of(bytes)?)),
                dtype: weight.dtype,
                layout: weight.layout.clone(),
                narrow,
            }))
        })
        .collect()
}

impl Shared {
    fn fresh(dtype: DType, shape: &[usize], limit: MemoryLimit) -> Result<Shared, Failure> {
        let bytes = crosslatch_kernels::tensor::layout::checked_numel(shape)
            .and_then(|n| n.checked_mul(dtype.size()))
            .ok_or_else(|| format!("a tensor of shape {shape:?} is too large"))?;
        Ok(Shared {
            storage: Rc::new(RefCell::new(limit.allocate(bytes, 0)?)),
            dtype,
            layout: Layout::contiguous(shape),
            narrow: None,
        })
    }

    fn copy_of(tensor: &TensorRef<'_>, limit: MemoryLimit) -> Result<Shared, Failure> {
        limit.check(tensor.layout().numel() * tensor.dtype().size(), 0)?;
        let owned = Tensor::try_copy_of(tensor)?;
        Ok(Shared {
            dtype: owned.dtype(),
            layout: Layout::contiguous(owned.shape()),
            storage: Rc::new(RefCell::new(owned.into_storage())),
            narrow: None,
        })
    }

    /// The layout in memory that begins at the first element.
    fn layout_at_start(&self) -> Layout {
        Layout {
            offset: 0,
            ..self.layout.clone()
        }
    }

    /// Where the first element begins; a tensor without elements may say anything.
    fn first_byte(&self, storage: &Storage) -> usize {
        let first = self.layout.offset.saturating_mul(self.dtype.size());
        first.min(storage.len())
    }

    /// A copy of it, in memory of its own.
    fn copied(&self, limit: MemoryLimit) -> Result<Shared, Failure> {
        let storage = self.storage.borrow();
        Shared::copy_of(&read(self, &storage), limit)
    }

    /// The bytes that its elements take, laid out one after the other.
    fn bytes(&self) -> usize {
        self.layout.numel() * self.dtype.size()
    }

    fn to_tensor(&self) -> Result<Tensor, OutOfMemory> {
        let storage = self.storage.borrow();
        Tensor::try_copy_of(&read(self, &storage))
    }

    fn write(&self, from: &TensorRef<'_>, threads: &Threads) -> Result<(), Failure> {
        let mut storage = self.storage.borrow_mut();
        copy(&mut written(self, &mut storage)?, from, threads);
        Ok(())
    }
}

/// Layouts of values come from lowerings that were checked against their memory when they were
/// made; a failure here is a bug of a lowering.
fn read<'a>(tensor: &'a Shared, storage: &'a Storage) -> TensorRef<'a> {
    TensorRef::new(tensor.dtype, &tensor.layout, storage.bytes())
        .unwrap_or_else(|e| unreachable!("{e}"))
}

/// A tensor to be written, which has no meaning if its elements share memory.
fn written<'a>(tensor: &'a Shared, storage: &'a mut Storage) -> Result<TensorMut<'a>, Failure> {
    written_at(tensor.dtype, &tensor.layout, storage.bytes_mut())
}

fn written_at<'a>(
    dtype: DType,
    layout: &'a Layout,
    bytes: &'a mut [u8],
) -> Result<TensorMut<'a>, Failure> {
    TensorMut::new(dtype, layout, bytes).map_err(|e| match e {
        overlap @ TensorError::OverlapsItself { .. } => overlap.to_string().into(),
        bug => unreachable!("{bug}"),
    })
}

impl Value {
    fn to_tensor(&self, limit: MemoryLimit) -> Result<Option<Tensor>, Failure> {
        Ok(match self {
            Value::Tensor(shared) => {
                limit.check(shared.bytes(), 0)?;
                Some(shared.to_tensor()?)
            }
            Value::Number(n) => number_tensor(*n),
        })
    }
}

/// A number that a program returns, as a tensor without dimensions.
pub(crate) fn number_tensor(number: Number) -> Option<Tensor> {
    match number {
        Number::Int(i) => Tensor::from_slice(&[], &[i]),
        Number::Float(x) => Tensor::from_slice(&[], &[x]),
        Number::Bool(b) => Tensor::from_slice(&[], &[crosslatch_kernels::Bool::new(b)]),
    }
}

struct Interpreter<'a> {
    model: &'a Model,
    method: &'a Method,
    filled: &'a RefCell<BTreeSet<usize>>,
    kernels: KernelSet,
    limit: MemoryLimit,
    threads: &'a Threads,
}

impl Interpreter<'_> {
    fn graph(&self, graph: &Graph, inputs: Vec<Value>) -> Result<Vec<Value>, Error> {
        let mut values: Vec<Option<Value>> = vec![None; graph.values.len()];
        for (id, value) in graph.inputs.iter().zip(inputs) {
            values[id.index()] = Some(value);
        }
        for node in &graph.nodes {
            let results = if node.is_cond() {
                self.cond(graph, node, &values)?
            } else {
                self.node(node, &values)
                    .map_err(|failure| self.error(graph, node, failure))?
            };
            for (id, value) in node.results.iter().zip(results) {
                values[id.index()] = Some(value);
            }
        }
        graph
            .outputs
            .iter()
            .map(|output| match output {
                Arg::Value(id) => Ok(values[id.index()].clone()),
                Arg::Int(i) => Ok(Some(Value::Number(Number::Int(*i)))),
                Arg::Float(x) => Ok(Some(Value::Number(Number::Float(*x)))),
                Arg::Bool(b) => Ok(Some(Value::Number(Number::Bool(*b)))),
                _ => Ok(None),
            })
            // A constant that is no number (`None`, text) has nothing to be returned.
            .map(|v| v.map(|v| v.unwrap_or(Value::Number(Number::Int(0)))))
            .collect()
    }

    fn error(&self, graph: &Graph, node: &Node, failure: Failure) -> Error {
        let line = node.provenance.line.as_ref().map(|s| format!(", {s}"));
        let node = format!("{}{}", label(graph, node), line.unwrap_or_default());
        failure.of_node(&self.method.program.name, node)
    }

    fn cond(
        &self,
        graph: &Graph,
        node: &Node,
        values: &[Option<Value>],
    ) -> Result<Vec<Value>, Error> {
        let value = |id: ValueId| values[id.index()].clone();
        let (Some(Arg::Value(predicate)), Some(Arg::Values(operands))) =
            (node.args.first(), node.args.get(1))
        else {
            return Err(self.error(graph, node, "malformed `cond`".into()));
        };
        let taken = match value(*predicate) {
            Some(Value::Tensor(t)) => {
                let storage = t.storage.borrow();
                is_true(&read(&t, &storage))
            }
            Some(Value::Number(n)) => n.to_i64() != 0,
            None => unreachable!("verified: defined before use"),
        };
        let (taken, other) = if taken { (0, 1) } else { (1, 0) };
        for slot in self.waiting(node, taken) {
            if !self.filled.borrow().contains(&slot) {
                let name = &self.method.program.name;
                return Err(not_filled(self.model, name, &label(graph, node), slot));
            }
        }
        let inputs = operands.iter().flatten().filter_map(|id| value(*id));
        let results = self.graph(&node.branches[taken], inputs.collect())?;
        self.filled.borrow_mut().extend(self.waiting(node, other));
        Ok(results)
    }

    /// The slots that a branch of a `cond` needs filled.
    fn waiting(&self, node: &Node, branch: usize) -> impl Iterator<Item = usize> {
        let nodes = &self.method.program.graph.nodes;
        self.method.readiness.iter().filter_map(move |r| {
            let is_it = r.branch == branch && std::ptr::eq(&nodes[r.node], node);
            is_it.then_some(r.slot)
        })
    }

    fn node(&self, node: &Node, values: &[Option<Value>]) -> Result<Vec<Value>, Failure> {
        let text = |e: OpError| e.to_string();
        let known = |id: ValueId| {
            Some(match values[id.index()].as_ref()? {
                Value::Tensor(t) => Known::Tensor(t.dtype, t.layout.clone()),
                Value::Number(n) => Known::Number(*n),
            })
        };
        let narrow = |id: ValueId| match values[id.index()].as_ref()? {
            Value::Tensor(t) => t.narrow,
            Value::Number(_) => None,
        };
        let bound = bind_call(node, &known, &narrow).map_err(text)?;
        let operands: Vec<Shared> = bound
            .operands
            .iter()
            .filter_map(|id| match values[id.index()].as_ref() {
                Some(Value::Tensor(t)) => Some(t.clone()),
                _ => None,
            })
            .collect();
        let lowering = bound.lower(node, self.kernels).map_err(text)?;
        let in_place = node.op.schema.written().next().is_some();
        let results = match lowering {
            Lowering::Nothing => Vec::new(),
            Lowering::Numbers(numbers) => numbers.into_iter().map(Value::Number).collect(),
            Lowering::Views(views) => views
                .into_iter()
                .map(|view| {
                    let base = operands.get(view.of).ok_or("a view of nothing")?;
                    let bytes = base.storage.borrow();
                    TensorRef::new(base.dtype, &view.layout, bytes.bytes())
                        .map_err(|e| e.to_string())?;
                    Ok(Value::Tensor(Shared {
                        layout: view.layout,
                        ..base.clone()
                    }))
                })
                .collect::<Result<_, Failure>>()?,
            Lowering::Copy(copy) => {
                let base = operands.get(copy.view.of).ok_or("a copy of nothing")?;
                let bytes = base.storage.borrow();
                let view = TensorRef::new(base.dtype, &copy.view.layout, bytes.bytes())
                    .map_err(|e| e.to_string())?;
                vec![Value::Tensor(Shared {
                    layout: Layout::contiguous(&copy.shape),
                    ..Shared::copy_of(&view, self.limit)?
                })]
            }
            Lowering::Compute(compute) => {
                let results = compute
                    .results
                    .iter()
                    .map(|(dtype, shape)| Shared::fresh(*dtype, shape, self.limit))
                    .collect::<Result<Vec<_>, _>>()?;
                self.kernel(&*compute.kernel, &operands, &results)?;
                if in_place {
                    // `x.add_(y)` is `x.copy_(x + y)`.
                    let (Some(target), Some(result)) = (operands.first(), results.first()) else {
                        return Err("an in-place operator without an operand".into());
                    };
                    if target.layout.shape != result.layout.shape {
                        return Err("the result does not have the shape of what it replaces".into());
                    }
                    target.write(&result.to_tensor()?.view(), self.threads)?;
                    vec![Value::Tensor(target.clone())]
                } else {
                    results.into_iter().map(Value::Tensor).collect()
                }
            }
            Lowering::Assign(assign) => {
                let operand = operands.get(assign.of).ok_or("an update of nothing")?;
                let source = operands.get(assign.from).ok_or("an update from nothing")?;
                // Copied, because it may be the very memory that is written.
                let source = source.copied(self.limit)?;
                let target = if in_place {
                    operand.clone()
                } else {
                    operand.copied(self.limit)?
                };
                let [part, layout] = assign
                    .places(&target.layout, &source.layout)
                    .map_err(text)?;
                let source = Shared { layout, ..source };
                let part = Shared {
                    layout: part,
                    ..target.clone()
                };
                let storage = source.storage.borrow();
                part.write(&read(&source, &storage), self.threads)?;
                vec![Value::Tensor(target)]
            }
            Lowering::Update(update) => {
                let operand = operands.get(update.of).ok_or("an update of nothing")?;
                let target = if in_place {
                    operand.clone()
                } else {
                    operand.copied(self.limit)?
                };
                let others = operands
                    .iter()
                    .enumerate()
                    .map(|(i, other)| {
                        if i == update.of {
                            Shared::fresh(other.dtype, &[0], self.limit)
                        } else {
                            // An operand may be the very memory that is updated.
                            other.copied(self.limit)
                        }
                    })
                    .collect::<Result<Vec<_>, _>>()?;
                self.kernel(&*update.kernel, &others, std::slice::from_ref(&target))?;
                vec![Value::Tensor(target)]
            }
        };
        Ok(results)
    }

    fn kernel(
        &self,
        kernel: &dyn Kernel,
        inputs: &[Shared],
        outputs: &[Shared],
    ) -> Result<(), Failure> {
        // What a kernel walks over may be far more than the memory that it lies in.
        for tensor in inputs.iter().chain(outputs) {
            let extent = tensor.layout.extent() * tensor.dtype.size();
            self.limit.check(extent, 0)?;
        }
        let borrowed: Vec<_> = inputs.iter().map(|t| t.storage.borrow()).collect();
        // Kernels rely on it that memory begins at the first element, as in a plan. Of a weight in a
        // narrow format, a kernel gets the bytes.
        let layouts: Vec<_> = inputs
            .iter()
            .zip(&borrowed)
            .map(|(t, storage)| match t.narrow {
                Some(_) => Layout::contiguous(&[storage.len()]),
                None => t.layout_at_start(),
            })
            .collect();
        let inputs: Vec<_> = inputs
            .iter()
            .zip(borrowed.iter().zip(&layouts))
            .map(|(t, (storage, layout))| {
                let (dtype, first) = match t.narrow {
                    Some(_) => (DType::U8, 0),
                    None => (t.dtype, t.first_byte(storage)),
                };
                TensorRef::new(dtype, layout, &storage.bytes()[first..])
                    .unwrap_or_else(|e| unreachable!("{e}"))
            })
            .collect();
        let mut borrowed: Vec<_> = outputs.iter().map(|t| t.storage.borrow_mut()).collect();
        let layouts: Vec<_> = outputs.iter().map(Shared::layout_at_start).collect();
        let mut outputs: Vec<_> = outputs
            .iter()
            .zip(borrowed.iter_mut().zip(&layouts))
            .map(|(t, (storage, layout))| {
                let first = t.first_byte(storage);
                written_at(t.dtype, layout, &mut storage.bytes_mut()[first..])
            })
            .collect::<Result<_, _>>()?;
        let mut scratch = self.limit.allocate(kernel.scratch_bytes(), 0)?;
        kernel
            .run(&mut Operands {
                inputs: &inputs,
                outputs: &mut outputs,
                scratch: scratch.bytes_mut(),
                threads: self.threads,
            })
            .map_err(|e| e.to_string().into())
    }
}

/// Whether a tensor of one element, a predicate, is true.
pub(crate) fn is_true(tensor: &TensorRef<'_>) -> bool {
    with_element!(tensor.dtype(), T => {
        let data = tensor.data::<T>();
        tensor.layout().positions().next().is_some_and(|p| data[p].to_f64() != 0.0)
    })
}
