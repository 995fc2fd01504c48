//! The walk over a graph: each node runs when its turn comes, in memory of its own.

use std::cell::RefCell;
use std::collections::BTreeSet;

use crosslatch_kernels::{DType, Kernel, Layout, Operands, TensorRef, Threads};

use super::values::{Failure, Shared, Value, read, written_at};
use crate::error::Error;
use crate::ir::bind::{Known, bind_call};
use crate::ir::graph::{Arg, Graph, Node, ValueId};
use crate::ir::verify::label;
use crate::ir::{Control, KernelSet, Lowering, Number, OpError};
use crate::memory::MemoryLimit;
use crate::model::Method;
use crate::options::TurnsTaken;
use crate::passes::segments::is_item;
use crate::tensor::{is_true, number_of};

/// A run of one method.
pub(super) struct Interpreter<'a> {
    pub method: &'a Method,
    pub filled: &'a RefCell<BTreeSet<usize>>,
    pub kernels: KernelSet,
    pub limit: MemoryLimit,
    pub threads: &'a Threads,
    /// How many turns loops have taken.
    pub turns: RefCell<TurnsTaken>,
}

/// The number that a node makes of the one element of a tensor. A number stands for a tensor with it.
fn item(node: &Node, values: &[Option<Value>]) -> Result<Number, Failure> {
    let operand = node.operands().next();
    match operand.and_then(|id| values[id.index()].as_ref()) {
        Some(Value::Tensor(tensor)) => {
            let storage = tensor.storage.borrow();
            Ok(number_of(&read(tensor, &storage))?)
        }
        Some(Value::Number(number)) => Ok(*number),
        None => Err("a number is made of nothing".into()),
    }
}

impl Interpreter<'_> {
    /// Runs the nodes in order; returns the graph's outputs.
    pub fn graph(&self, graph: &Graph, inputs: Vec<Value>) -> Result<Vec<Value>, Error> {
        let mut values: Vec<Option<Value>> = vec![None; graph.values.len()];
        for (id, value) in graph.inputs.iter().zip(inputs) {
            values[id.index()] = Some(value);
        }
        for node in &graph.nodes {
            let results = match node.control() {
                Some(Control::Cond) => self.cond(graph, node, &values)?,
                Some(Control::While) => self.while_loop(graph, node, &values)?,
                Some(Control::Scan) => self.scan(graph, node, &values)?,
                None => self
                    .node(node, &values)
                    .map_err(|failure| self.error(graph, node, failure))?,
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
            // A constant that is neither a tensor nor a number (`None`, text) is not returned.
            .map(|v| v.map(|v| v.unwrap_or(Value::Number(Number::Int(0)))))
            .collect()
    }

    pub(super) fn error(&self, graph: &Graph, node: &Node, failure: Failure) -> Error {
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
                return Err(self.method.not_filled(&label(graph, node), slot));
            }
        }
        let inputs = operands.iter().flatten().filter_map(|id| value(*id));
        let results = self.graph(&node.regions[taken], inputs.collect())?;
        self.filled.borrow_mut().extend(self.waiting(node, other));
        Ok(results)
    }

    /// The slots that this branch of a `cond` needs filled.
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
                Value::Tensor(t) => {
                    let typed = t.stored.map_or(t.dtype, |(_, dtype)| dtype);
                    Known::Tensor(typed, t.layout.clone())
                }
                Value::Number(n) => Known::Number(*n),
            })
        };
        let stored = |id: ValueId| match values[id.index()].as_ref()? {
            Value::Tensor(t) => t.stored.map(|(stored, _)| stored),
            Value::Number(_) => None,
        };
        if is_item(node) {
            return Ok(vec![Value::Number(item(node, values)?)]);
        }
        let bound = bind_call(node, &known, &stored).map_err(text)?;
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
                // The source is copied, because it may be the memory that is written.
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
                            // An operand may be the memory that is updated.
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
        // A kernel may walk over far more elements than the memory of a tensor has.
        for tensor in inputs.iter().chain(outputs) {
            let extent = tensor.layout.extent() * tensor.dtype.size();
            self.limit.check(extent, 0)?;
        }
        let borrowed: Vec<_> = inputs.iter().map(|t| t.storage.borrow()).collect();
        // Kernels rely on a tensor's memory to begin at its first element, as it does in a plan. A
        // quantized weight is handed over as bytes.
        let layouts: Vec<_> = inputs
            .iter()
            .zip(&borrowed)
            .map(|(t, storage)| match t.is_quantized() {
                true => Layout::contiguous(&[storage.len()]),
                false => t.layout_at_start(),
            })
            .collect();
        let inputs: Vec<_> = inputs
            .iter()
            .zip(borrowed.iter().zip(&layouts))
            .map(|(t, (storage, layout))| {
                let (dtype, first) = match t.is_quantized() {
                    true => (DType::U8, 0),
                    false => (t.dtype, t.first_byte(storage)),
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
