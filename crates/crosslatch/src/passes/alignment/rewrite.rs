//! The program that returns weights, made of the decoder.
//!
//! Weights are computed right behind the attention that they belong to. What then serves no weights and
//! no state is left out, the scores of tokens above all.

use std::sync::Arc;

use crosslatch_kernels::DType;
use crosslatch_kernels::tensor::scaled_rows::SCALE_BYTES;

use crate::effects::{Memory, Origins, memory};
use crate::ir::graph::{
    Arg, Graph, Node, Output, Program, Provenance, SlotKind, TensorType, ValueId, ValueType,
};
use crate::ir::size::Size;
use crate::ops::Catalogue;

use super::attention::{Attention, Weights, constant, tensor_type};
use super::{Aligned, Chosen};

/// The program that returns the weights of the chosen heads.
pub(super) fn rewrite(program: &Program, chosen: &[Chosen]) -> Aligned {
    let mut program = Program {
        name: format!("{}@alignment", program.name),
        ..program.clone()
    };
    let mut names = Vec::with_capacity(chosen.len());
    let mut outputs = Vec::with_capacity(chosen.len());
    // From the last node to the first, so that the places of the others stay as they are.
    let mut order: Vec<usize> = (0..chosen.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(chosen[i].attention.node));
    let mut results = vec![None; chosen.len()];
    for i in order {
        let Chosen {
            head, attention, ..
        } = &chosen[i];
        let mut insert = Insert {
            graph: &mut program.graph,
            nodes: Vec::new(),
        };
        results[i] = insert.weights(attention, *head);
        let nodes = insert.nodes;
        let at = attention.node + 1;
        program.graph.nodes.splice(at..at, nodes);
    }
    for (chosen, result) in chosen.iter().zip(results) {
        let Some(result) = result else {
            continue;
        };
        let name = match chosen.head {
            Some(head) => format!("alignment.{}.{head}", chosen.layer),
            None => format!("alignment.{}", chosen.layer),
        };
        names.push(name.clone());
        outputs.push((Output::User(name), Arg::Value(result)));
    }
    let stored = program.outputs.iter().zip(&program.graph.outputs);
    let stored = stored.filter(|(output, _)| matches!(output, Output::Mutation { .. }));
    outputs.extend(stored.map(|(output, arg)| (output.clone(), arg.clone())));
    (program.outputs, program.graph.outputs) = outputs.into_iter().unzip();
    drop_unneeded(&mut program);
    Aligned {
        program,
        weights: names,
    }
}

/// Nodes that are to be inserted into a graph.
struct Insert<'g> {
    graph: &'g mut Graph,
    nodes: Vec<Node>,
}

impl Insert<'_> {
    /// The weights of a head, or of all heads of an attention, in `f32`; `None` only if the catalogue
    /// lacks an operator.
    fn weights(&mut self, attention: &Attention, head: Option<usize>) -> Option<ValueId> {
        match &attention.weights {
            Weights::Value(weights, dim) => {
                let part = self.head(*weights, *dim, head)?;
                // The memory may be written later: dropout and others work in place.
                let copied = self.converted(part)?;
                match copied == part {
                    true => self.call("aten::clone", &[("self", part.into())], self.ty(part)?),
                    false => Some(copied),
                }
            }
            Weights::Product {
                query,
                key,
                own_heads,
                mask,
                scale,
            } => {
                let own = head.map(|head| head * own_heads / attention.heads);
                let query = self.head(*query, 1, head)?;
                let query = self.converted(query)?;
                let key = self.head(*key, 1, own)?;
                let key = self.keys(key)?;
                let mut ty = self.ty(key)?;
                ty.sizes.swap(2, 3);
                let turned = [
                    ("self", key.into()),
                    ("dim0", 2i64.into()),
                    ("dim1", 3i64.into()),
                ];
                let source = ty.sizes[3].clone();
                let key = self.call("aten::transpose.int", &turned, ty)?;
                let mut ty = self.ty(query)?;
                ty.sizes[3] = source;
                let factors = [("self", query.into()), ("other", key.into())];
                let mut scores = self.call("aten::matmul", &factors, ty.clone())?;
                if *scale != Arg::Float(1.0) {
                    let factors = [("self", scores.into()), ("other", scale.clone())];
                    scores = self.call("aten::mul.Scalar", &factors, ty.clone())?;
                }
                if let Some(mask) = mask {
                    scores = self.masked(scores, *mask, head)?;
                }
                let rows = [
                    ("self", scores.into()),
                    ("dim", (-1i64).into()),
                    ("half_to_float", false.into()),
                ];
                self.call("aten::_softmax", &rows, ty)
            }
        }
    }

    /// Scores to which a mask is applied: bools that keep, or numbers that are added.
    fn masked(&mut self, scores: ValueId, mask: ValueId, head: Option<usize>) -> Option<ValueId> {
        let rank = self.ty(mask)?.sizes.len();
        let mask = match rank.checked_sub(3) {
            Some(dim) if constant(&self.ty(mask)?, dim) != Some(1) => self.head(mask, dim, head)?,
            _ => mask,
        };
        let ty = self.ty(scores)?;
        let mask_type = self.ty(mask)?;
        if mask_type.dtype == DType::Bool {
            let hidden = self.call("aten::logical_not", &[("self", mask.into())], mask_type)?;
            let fill = [
                ("self", scores.into()),
                ("mask", hidden.into()),
                ("value", f64::NEG_INFINITY.into()),
            ];
            return self.call("aten::masked_fill.Scalar", &fill, ty);
        }
        let mask = self.converted(mask)?;
        let terms = [("self", scores.into()), ("other", mask.into())];
        self.call("aten::add.Tensor", &terms, ty)
    }

    /// One head of a tensor whose heads lie along this dimension, or all of it.
    fn head(&mut self, of: ValueId, dim: usize, head: Option<usize>) -> Option<ValueId> {
        let Some(head) = head else {
            return Some(of);
        };
        let mut ty = self.ty(of)?;
        ty.sizes[dim] = Size::Const(1);
        let part = [
            ("self", of.into()),
            ("dim", (dim as i64).into()),
            ("start", (head as i64).into()),
            ("end", (head as i64 + 1).into()),
        ];
        self.call("aten::slice.Tensor", &part, ty)
    }

    /// Keys in `f32`. A cache may hold them as [scaled rows](crosslatch_kernels::tensor::scaled_rows).
    fn keys(&mut self, id: ValueId) -> Option<ValueId> {
        let mut ty = self.ty(id)?;
        if ty.dtype != DType::I8 {
            return self.converted(id);
        }
        let columns = constant(&ty, ty.sizes.len() - 1)?.checked_sub(SCALE_BYTES)?;
        *ty.sizes.last_mut()? = Size::Const(columns as i64);
        ty.dtype = DType::F32;
        self.call("crosslatch::unscale_rows", &[("self", id.into())], ty)
    }

    /// A tensor in `f32`.
    fn converted(&mut self, id: ValueId) -> Option<ValueId> {
        let mut ty = self.ty(id)?;
        if ty.dtype == DType::F32 {
            return Some(id);
        }
        ty.dtype = DType::F32;
        let to = [("self", id.into()), ("dtype", DType::F32.into())];
        self.call("aten::_to_copy", &to, ty)
    }

    fn ty(&self, id: ValueId) -> Option<TensorType> {
        tensor_type(self.graph, id).cloned()
    }

    fn call(&mut self, name: &str, given: &[(&str, Arg)], ty: TensorType) -> Option<ValueId> {
        let op = Catalogue::builtin().get(name)?;
        let args = op.schema.params.iter().map(|param| {
            let given = given.iter().find(|(name, _)| *name == param.name);
            let given = given.map(|(_, arg)| arg.clone());
            given.or_else(|| param.default.clone()).unwrap_or(Arg::None)
        });
        let args = args.collect();
        let result = format!("alignment_{}", self.graph.values.len());
        let result = self.graph.add_value(result, ValueType::Tensor(ty));
        self.nodes.push(Node {
            op: Arc::clone(op),
            args,
            regions: Vec::new(),
            results: vec![result],
            provenance: Provenance::default(),
        });
        Some(result)
    }
}

/// Leaves out nodes that no output needs and no state. Checks go too: the decoder made them for the same
/// tokens.
fn drop_unneeded(program: &mut Program) {
    let graph = &mut program.graph;
    let Memory { values, writes } = memory(graph);
    let mut needed = vec![false; graph.values.len()];
    // Memory that is read later: state is read by the next run.
    let mut read = Origins::new();
    for (slot, input) in program.slots.iter().zip(&graph.inputs) {
        if slot.kind == SlotKind::State {
            read.extend(&values[input.index()]);
        }
    }
    let need = |id: ValueId, read: &mut Origins, needed: &mut Vec<bool>| {
        needed[id.index()] = true;
        read.extend(&values[id.index()]);
    };
    for id in graph.outputs.iter().flat_map(Arg::values) {
        need(id, &mut read, &mut needed);
    }
    let mut stays = vec![false; graph.nodes.len()];
    for (index, node) in graph.nodes.iter().enumerate().rev() {
        let is_made = node.results.iter().any(|id| needed[id.index()]);
        stays[index] = is_made || !writes[index].is_disjoint(&read);
        if stays[index] {
            for id in node.operands() {
                need(id, &mut read, &mut needed);
            }
        }
    }
    let mut stays = stays.into_iter();
    graph.nodes.retain(|_| stays.next().unwrap_or(true));
    // Values without a node stay in the list, so that all others keep their places.
}
