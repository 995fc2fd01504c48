//! From a graph to instructions over storages.
//!
//! With all sizes known, views cost nothing: a value is a [`Place`], a layout in a storage. What
//! is left to do is a list of instructions, kernels and copies, with `cond` as a structure. The
//! list is written as the program means it and no cleverer: each computed result in a fresh
//! storage, a functional update as a copy followed by a change in place, the result of a `cond`
//! as a copy at the end of each branch, the new contents of a buffer as a copy at the end. That
//! most of these copies are not needed is for [`super::coalesce`] to prove.
//!
//! A `cond` whose branches both return the same view of the same memory returns that view: this
//! is aliasing that the program means, not an optimisation.

use std::collections::HashMap;
use std::sync::Arc;

use crosslatch_kernels::{DType, Layout, tensor::checked_numel};

use super::branches::{Joined, made_by};
use super::conflict::Conflict;
use super::instructions::{
    Copy, CopyReason, Inst, Join, Lowered, NamedValue, Origin, Place, StorageId, StorageInfo,
};
use crate::effects::Readiness;
use crate::error::Error;
use crate::ir::call::{Known, bind_call};
use crate::ir::graph::{Arg, Graph, Node, SlotKind, ValueId};
use crate::ir::operator::{KernelSet, Lowering, Number, OpError, View};
use crate::ir::verify::label;
use crate::model::{Model, Stored};

/// What a value of the graph is when sizes are known.
#[derive(Clone)]
pub(super) enum Value {
    Place(Place),
    Number(Number),
}

/// Lowers a method of a model for inputs of these layouts, with its slots stored like this; with
/// none given, as they are typed.
pub fn lower(
    model: &Model,
    method: usize,
    inputs: &[(DType, Layout)],
    kernels: KernelSet,
    stored: &[Stored],
) -> Result<Lowered, Error> {
    let method = &model.methods()[method];
    let program = &method.program;
    let mut lowerer = Lowerer {
        method: &program.name,
        readiness_of: HashMap::new(),
        kernels,
        stored,
        storages: Vec::new(),
        joins: Vec::new(),
        joined: Joined::default(),
        values: Vec::new(),
        path: String::new(),
    };
    for readiness in &method.readiness {
        if let Some(node) = program.graph.nodes.get(readiness.node) {
            let of_node = lowerer.readiness_of.entry(std::ptr::from_ref(node));
            of_node.or_default().push(readiness);
        }
    }
    // For each slot that is fed, which of the inputs feeds it.
    let fed: HashMap<usize, usize> = crate::inputs::fed_slots(program)
        .enumerate()
        .map(|(n, (slot, _))| (slot, n))
        .collect();
    let mut values = Vec::new();
    let mut slot_places = Vec::new();
    let mut prologue = Vec::new();
    let written = crate::effects::summarize(&program.graph).writes;
    for (i, (slot, binding)) in program.slots.iter().zip(&method.bindings).enumerate() {
        let place = match (slot.kind, binding) {
            (SlotKind::Weight, Some(w)) => {
                Some(lowerer.slot(Origin::Weight(i), w.dtype, &w.layout))
            }
            (SlotKind::State, Some(w)) => Some(lowerer.slot(Origin::State(i), w.dtype, &w.layout)),
            _ => fed.get(&i).map(|&n| {
                let (dtype, layout) = &inputs[n];
                lowerer.slot(Origin::Input(n), *dtype, layout)
            }),
        };
        slot_places.push(place.clone());
        values.push(match place {
            // A program may write its input; the caller's tensor stays as it is.
            Some(place) if slot.kind != SlotKind::State && written.contains(&i) => {
                let label: Arc<str> = format!("`{}`", slot.name).into();
                let node_error = |reason| lowerer_error(&program.name, &label, reason);
                let own = lowerer
                    .fresh(place.dtype, &place.layout.shape)
                    .map_err(node_error)?;
                prologue.push(Inst::Copy(Copy {
                    from: place,
                    to: own.clone(),
                    why: CopyReason::FunctionalUpdate,
                    node: label.clone(),
                }));
                Some(Value::Place(own))
            }
            Some(place) => Some(Value::Place(place)),
            // A number that nothing uses (`ir::verify`).
            None => None,
        });
    }
    let (mut insts, results) = lowerer.graph(&program.graph, values)?;
    insts.splice(0..0, prologue);
    let outputs = lowerer.outputs(program, results, &slot_places, &mut insts)?;
    Ok(Lowered {
        storages: lowerer.storages,
        insts,
        outputs,
        joins: lowerer.joins,
        values: lowerer.values,
    })
}

pub(super) fn lowerer_error(method: &str, node: &str, reason: String) -> Error {
    Error::Node {
        method: method.to_owned(),
        node: node.to_owned(),
        reason,
    }
}

/// The walk over a graph, and what it has found.
pub(super) struct Lowerer<'a> {
    pub(super) method: &'a str,
    /// For the conds that have caches to be filled, which.
    pub(super) readiness_of: HashMap<*const Node, Vec<&'a Readiness>>,
    kernels: KernelSet,
    stored: &'a [Stored],
    pub(super) storages: Vec<StorageInfo>,
    pub(super) joins: Vec<Join>,
    pub(super) joined: Joined,
    values: Vec<NamedValue>,
    /// The branches around the graph that is being lowered, each with a slash behind it.
    pub(super) path: String,
}

impl Lowerer<'_> {
    fn storage(&mut self, origin: Origin, bytes: usize) -> StorageId {
        self.storages.push(StorageInfo {
            origin,
            bytes,
            contents: bytes,
        });
        StorageId(self.storages.len() - 1)
    }

    fn slot(&mut self, origin: Origin, dtype: DType, layout: &Layout) -> Place {
        let bytes = layout.end().unwrap_or(0) * dtype.size();
        Place {
            storage: self.storage(origin, bytes),
            dtype,
            layout: layout.clone(),
        }
    }

    /// A place in a storage of its own.
    pub(super) fn fresh(&mut self, dtype: DType, shape: &[usize]) -> Result<Place, String> {
        let bytes = checked_numel(shape)
            .and_then(|n| n.checked_mul(dtype.size()))
            .filter(|b| isize::try_from(*b).is_ok())
            .ok_or_else(|| format!("a tensor of shape {shape:?} is too large"))?;
        Ok(Place {
            storage: self.storage(Origin::Fresh, bytes),
            dtype,
            layout: Layout::contiguous(shape),
        })
    }

    pub(super) fn graph(
        &mut self,
        graph: &Graph,
        inputs: Vec<Option<Value>>,
    ) -> Result<(Vec<Inst>, Vec<Option<Value>>), Error> {
        let mut values: Vec<Option<Value>> = vec![None; graph.values.len()];
        for (id, value) in graph.inputs.iter().zip(inputs) {
            values[id.index()] = value;
        }
        let mut insts = Vec::new();
        for node in &graph.nodes {
            let results = if node.is_cond() {
                self.cond(graph, node, &values, &mut insts)?
            } else {
                self.node(graph, node, &values, &mut insts)
                    .map_err(|reason| self.error(graph, node, reason))?
            };
            let makers = made_by(node).into_iter();
            for ((id, value), made_by) in node.results.iter().zip(results).zip(makers) {
                if let Value::Place(place) = &value {
                    self.values.push(NamedValue {
                        name: format!("{}{}", self.path, graph.value(*id).name),
                        storage: place.storage,
                        made_by,
                    });
                }
                values[id.index()] = Some(value);
            }
        }
        let results = graph
            .outputs
            .iter()
            .map(|output| match output {
                Arg::Value(id) => values[id.index()].clone(),
                Arg::Int(i) => Some(Value::Number(Number::Int(*i))),
                Arg::Float(x) => Some(Value::Number(Number::Float(*x))),
                Arg::Bool(b) => Some(Value::Number(Number::Bool(*b))),
                _ => None,
            })
            .collect();
        Ok((insts, results))
    }

    pub(super) fn error(&self, graph: &Graph, node: &Node, reason: String) -> Error {
        let line = node.provenance.line.as_ref().map(|s| format!(", {s}"));
        lowerer_error(
            self.method,
            &format!("{}{}", label(graph, node), line.unwrap_or_default()),
            reason,
        )
    }

    fn node(
        &mut self,
        graph: &Graph,
        node: &Node,
        values: &[Option<Value>],
        insts: &mut Vec<Inst>,
    ) -> Result<Vec<Value>, String> {
        let text = |e: OpError| e.to_string();
        let known = |id: ValueId| {
            Some(match values[id.index()].as_ref()? {
                Value::Place(p) => Known::Tensor(p.dtype, p.layout.clone()),
                Value::Number(n) => Known::Number(*n),
            })
        };
        let narrow = |id: ValueId| match values[id.index()].as_ref()? {
            Value::Place(p) => match self.storages[p.storage.0].origin {
                Origin::Weight(slot) => self.stored.get(slot)?.format(),
                _ => None,
            },
            Value::Number(_) => None,
        };
        let bound = bind_call(node, &known, &narrow).map_err(text)?;
        let operands: Vec<Place> = bound
            .operands
            .iter()
            .filter_map(|id| match values[id.index()].as_ref() {
                Some(Value::Place(p)) => Some(p.clone()),
                _ => None,
            })
            .collect();
        let lowering = bound.lowered(node, self.kernels).map_err(text)?;
        let in_place = node.op.schema.written().next().is_some();
        let name: Arc<str> = label(graph, node).into();
        match lowering {
            Lowering::Nothing => Ok(Vec::new()),
            Lowering::Numbers(numbers) => Ok(numbers.into_iter().map(Value::Number).collect()),
            Lowering::Views(views) => views
                .into_iter()
                .map(|view| Ok(Value::Place(self.view(&operands, view)?)))
                .collect(),
            Lowering::Copy(copy) => {
                let from = self.view(&operands, copy.view)?;
                let to = self.copy_of(&from, CopyReason::Explicit, &name, insts)?;
                Ok(vec![Value::Place(Place {
                    layout: Layout::contiguous(&copy.shape),
                    ..to
                })])
            }
            Lowering::Compute(compute) => {
                let outputs = compute
                    .results
                    .iter()
                    .map(|(dtype, shape)| self.fresh(*dtype, shape))
                    .collect::<Result<Vec<_>, _>>()?;
                insts.push(Inst::Run {
                    kernel: compute.kernel,
                    inputs: operands.clone(),
                    outputs: outputs.clone(),
                    partial: false,
                    flops: compute.flops,
                    bytes: compute.bytes,
                    node: name.clone(),
                });
                if !in_place {
                    return Ok(outputs.into_iter().map(Value::Place).collect());
                }
                let (Some(target), Some(result)) = (operands.first(), outputs.first()) else {
                    return Err("an in-place operator without an operand".into());
                };
                if target.layout.shape != result.layout.shape {
                    return Err("the result does not have the shape of what it replaces".into());
                }
                insts.push(Inst::Copy(Copy {
                    from: result.clone(),
                    to: target.clone(),
                    why: CopyReason::InPlaceResult,
                    node: name,
                }));
                Ok(vec![Value::Place(target.clone())])
            }
            Lowering::Assign(assign) => {
                let operand = operands.get(assign.of).ok_or("an update of nothing")?;
                let source = operands.get(assign.from).ok_or("an update from nothing")?;
                let target = self.target(operand, in_place, &name, insts)?;
                let source = self.apart_from(&target, source, &name, insts)?;
                let [part, layout] = assign
                    .places(&target.layout, &source.layout)
                    .map_err(text)?;
                insts.push(Inst::Copy(Copy {
                    from: Place { layout, ..source },
                    to: Place {
                        layout: part,
                        ..target.clone()
                    },
                    why: CopyReason::Assignment,
                    node: name,
                }));
                Ok(vec![Value::Place(target)])
            }
            Lowering::Update(update) => {
                let operand = operands.get(update.of).ok_or("an update of nothing")?;
                let target = self.target(operand, in_place, &name, insts)?;
                let mut inputs = Vec::new();
                for (i, other) in operands.iter().enumerate() {
                    inputs.push(if i == update.of {
                        // The kernel has it as its output; its index is kept by an empty tensor.
                        Place {
                            layout: Layout::contiguous(&[0]),
                            ..other.clone()
                        }
                    } else {
                        self.apart_from(&target, other, &name, insts)?
                    });
                }
                // What is changed is as much as what is stored there, not the whole target.
                let stored_bytes = inputs.iter().map(Place::bytes).sum::<usize>() as u64 * 2;
                insts.push(Inst::Run {
                    kernel: update.kernel,
                    inputs,
                    outputs: vec![target.clone()],
                    partial: true,
                    flops: 0,
                    bytes: Some(stored_bytes),
                    node: name,
                });
                Ok(vec![Value::Place(target)])
            }
        }
    }

    /// A view of an operand, which must not leave the operand's storage.
    fn view(&self, operands: &[Place], view: View) -> Result<Place, String> {
        let base = operands.get(view.of).ok_or("a view of nothing")?;
        let size = base.dtype.size();
        let end = view.layout.end().and_then(|e| e.checked_mul(size));
        let bytes = self.storages[base.storage.0].bytes;
        if view.layout.numel() > 0 && end.is_none_or(|end| end > bytes) {
            return Err("a view reaches outside its memory".to_owned());
        }
        Ok(Place {
            layout: view.layout,
            ..base.clone()
        })
    }

    /// What an update changes: its operand, or a copy of it.
    fn target(
        &mut self,
        operand: &Place,
        in_place: bool,
        node: &Arc<str>,
        insts: &mut Vec<Inst>,
    ) -> Result<Place, String> {
        match in_place {
            true => Ok(operand.clone()),
            false => self.copy_of(operand, CopyReason::FunctionalUpdate, node, insts),
        }
    }

    /// A source that is not the memory which is written.
    fn apart_from(
        &mut self,
        target: &Place,
        source: &Place,
        node: &Arc<str>,
        insts: &mut Vec<Inst>,
    ) -> Result<Place, String> {
        match source.storage == target.storage && Conflict::OverlappingSource.counts() {
            true => self.copy_of(source, CopyReason::OverlappingSource, node, insts),
            false => Ok(source.clone()),
        }
    }

    pub(super) fn copy_of(
        &mut self,
        from: &Place,
        why: CopyReason,
        node: &Arc<str>,
        insts: &mut Vec<Inst>,
    ) -> Result<Place, String> {
        let to = self.fresh(from.dtype, &from.layout.shape)?;
        insts.push(Inst::Copy(Copy {
            from: from.clone(),
            to: to.clone(),
            why,
            node: node.clone(),
        }));
        Ok(to)
    }
}
