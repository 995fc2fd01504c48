//! Lowering one node: from what its operator answers to instructions.

use std::sync::Arc;

use crosslatch_kernels::Layout;

use super::lowerer::{Lowerer, Value};
use crate::ir::bind::{Known, bind_call};
use crate::ir::graph::{Graph, Node, ValueId};
use crate::ir::verify::label;
use crate::ir::{Lowering, OpError, View};
use crate::plan::conflict::Conflict;
use crate::plan::instructions::{CopyReason, Inst, Place};

impl Lowerer<'_> {
    /// Lowers a node without regions; returns what its results are.
    pub(super) fn node(
        &mut self,
        graph: &Graph,
        node: &Node,
        values: &[Option<Value>],
        insts: &mut Vec<Inst>,
    ) -> Result<Vec<Value>, String> {
        let text = |e: OpError| e.to_string();
        let known = |id: ValueId| {
            Some(match values[id.index()].as_ref()? {
                Value::Place(p) => {
                    let typed = self.stored_as(p).map(|(_, dtype)| dtype);
                    Known::Tensor(typed.unwrap_or(p.dtype), p.layout.clone())
                }
                Value::Number(n) => Known::Number(*n),
            })
        };
        let stored = |id: ValueId| match values[id.index()].as_ref()? {
            Value::Place(p) => self.stored_as(p).map(|(stored, _)| stored),
            Value::Number(_) => None,
        };
        let bound = bind_call(node, &known, &stored).map_err(text)?;
        let operands: Vec<Place> = bound
            .operands
            .iter()
            .filter_map(|id| match values[id.index()].as_ref() {
                Some(Value::Place(p)) => Some(p.clone()),
                _ => None,
            })
            .collect();
        let lowering = bound.lower(node, self.kernels).map_err(text)?;
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
                let (from, to) = (result.clone(), target.clone());
                self.copy(from, to, CopyReason::InPlaceResult, &name, insts);
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
                let from = Place { layout, ..source };
                let to = Place {
                    layout: part,
                    ..target.clone()
                };
                self.copy(from, to, CopyReason::Assignment, &name, insts);
                Ok(vec![Value::Place(target)])
            }
            Lowering::Update(update) => {
                let operand = operands.get(update.of).ok_or("an update of nothing")?;
                let target = self.target(operand, in_place, &name, insts)?;
                let mut inputs = Vec::new();
                for (i, other) in operands.iter().enumerate() {
                    inputs.push(if i == update.of {
                        // The kernel gets it as its output. An empty tensor keeps its position.
                        Place {
                            layout: Layout::contiguous(&[0]),
                            ..other.clone()
                        }
                    } else {
                        self.apart_from(&target, other, &name, insts)?
                    });
                }
                // The kernel changes as many bytes as it stores, not the whole target.
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

    /// A view of an operand. It must lie inside the operand's storage.
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

    /// The source of a write, or a copy of it if it may be the memory that is written.
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
}
