//! Constant folding: what a program makes of quantized weights is made once, when it is loaded.
//!
//! Problem. A quantized program has its weights as integers and makes numbers of them in every run, in a
//! tensor of four times their size that is gone after one product.
//!
//! Idea. What depends on weights alone is the same in every run of every session, so it can be a weight
//! itself. [`fold`] finds such values, and the program that has a slot for each of them in their place. How
//! they are stored is then a matter of the binding, as it is for other weights: as numbers, or, where a low
//! precision is asked for, in the formats that kernels read ([`quantize`](super::quantize)).
//!
//! Only what is made of weights of 8 bits is folded. What programs make of other weights is mostly a view, or
//! small. A file cannot make its loading expensive: a value on the way takes at most eight times the
//! bytes of a weight that it is made of, and about as much work, and all that is kept takes at most so many
//! times the bytes of all weights of 8 bits. Regions of control operators are left as they are.

use std::collections::HashSet;

use crosslatch_kernels::DType;

use crate::ir::graph::{Arg, Graph, Node, Program, SlotKind, ValueId, ValueType};
use crate::ir::infer::Kind;

use super::costs::{Cost, costs};
use super::dependence::{Fixed, fixed};
use super::part::{Part, PartBuilder};

/// How many bytes may be made of one: eight of `f64` are.
const GROWTH: u64 = 8;
/// How much work may be done for one byte of a weight, in the unit of [`Cost::work`].
const WORK: u64 = 64;

/// A program without what depends on quantized weights alone.
pub struct Folded {
    /// The values that were taken out, in the order in which the program computes them.
    pub kept: Vec<Kept>,
    /// Indices of the nodes that compute them from weights, in order. Each has one result.
    pub nodes: Vec<usize>,
    /// What is left. Behind all others it has a slot for each value that was taken out, in the same order.
    pub rest: Part,
}

/// A value that was taken out of a program.
pub struct Kept {
    /// The value.
    pub id: ValueId,
    /// The name of its slot.
    pub name: String,
}

/// Takes out what depends on weights alone, one of them of 8 bits; `None` if nothing does.
pub fn fold(program: &Program) -> Option<Folded> {
    let graph = &program.graph;
    if !graph.inputs.iter().any(|id| is_of_bytes(graph, *id)) {
        return None;
    }
    let fixed = fixed(program, &[]);
    let costs = costs(program, &fixed);
    let foldable = Foldable::of(program, &fixed, &costs);
    let kept = kept(graph, &foldable, &costs);
    if kept.is_empty() {
        return None;
    }
    let needed = needed(graph, &foldable, kept.iter().map(|kept| kept.id), &[]);
    let nodes = graph.nodes.iter().enumerate();
    let nodes = nodes.filter(|(_, node)| foldable.has(node) && needed[node.results[0].index()]);
    Some(Folded {
        nodes: nodes.map(|(index, _)| index).collect(),
        rest: rest(program, &foldable, &kept),
        kept,
    })
}

/// Whether a value is a tensor of integers of 8 bits.
fn is_of_bytes(graph: &Graph, id: ValueId) -> bool {
    let ValueType::Tensor(ty) = &graph.value(id).ty else {
        return false;
    };
    matches!(ty.dtype, DType::I8 | DType::U8)
}

/// What can be computed when a program is loaded.
struct Foldable {
    /// For each value, the bytes of the largest weight that it is made of; `None` if it cannot be.
    justified: Vec<Option<u64>>,
    /// For each value, whether it is made of a weight of 8 bits.
    of_bytes: Vec<bool>,
    /// The bytes of all weights of 8 bits.
    bytes: u64,
}

impl Foldable {
    fn of(program: &Program, fixed: &Fixed, costs: &[Option<Cost>]) -> Foldable {
        let graph = &program.graph;
        let mut found = Foldable {
            justified: vec![None; graph.values.len()],
            of_bytes: vec![false; graph.values.len()],
            bytes: 0,
        };
        for (slot, id) in program.slots.iter().zip(&graph.inputs) {
            let ValueType::Tensor(ty) = &graph.value(*id).ty else {
                continue;
            };
            let ty = ty.with_sizes(&|_| None).filter(|_| fixed.value(*id));
            if let (SlotKind::Weight, Some((dtype, layout))) = (slot.kind, ty) {
                let bytes = (layout.numel() * dtype.size()) as u64;
                found.justified[id.index()] = Some(bytes);
                if is_of_bytes(graph, *id) {
                    found.of_bytes[id.index()] = true;
                    found.bytes = found.bytes.saturating_add(bytes);
                }
            }
        }
        for (index, node) in graph.nodes.iter().enumerate() {
            let (Some(cost), [result]) = (&costs[index], &node.results[..]) else {
                continue;
            };
            let operands = node.operands().map(|id| found.justified[id.index()]);
            let operands: Option<Vec<u64>> = operands.collect();
            let Some(justified) = operands.and_then(|all| all.into_iter().max()) else {
                continue;
            };
            let fits = cost.made <= justified.saturating_mul(GROWTH)
                && cost.work <= justified.saturating_mul(WORK);
            if fits && cost.keeping.is_some() {
                found.justified[result.index()] = Some(justified);
                found.of_bytes[result.index()] =
                    node.operands().any(|id| found.of_bytes[id.index()]);
            }
        }
        found
    }

    /// Whether a node can be computed when the program is loaded.
    fn has(&self, node: &Node) -> bool {
        let result = node.results.first();
        result.is_some_and(|id| self.justified[id.index()].is_some())
    }
}

/// How the rest of a program reads what a node computes: itself or as a view.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Read {
    Not,
    /// As this value.
    As(ValueId),
    /// As several values.
    Variously,
}

/// The values to take out. If the rest of the program reads what was computed as one view of it, that is
/// taken out, because what reads a weight may depend on its being one; otherwise what was computed is.
fn kept(graph: &Graph, foldable: &Foldable, costs: &[Option<Cost>]) -> Vec<Kept> {
    let mut maker: Vec<Option<usize>> = vec![None; graph.values.len()];
    let mut read = vec![Read::Not; graph.nodes.len()];
    for (index, node) in graph.nodes.iter().enumerate() {
        for id in &node.results {
            maker[id.index()] = Some(index);
        }
        if foldable.has(node) {
            continue;
        }
        for id in node.operands() {
            if let Some(made) = computed(graph, foldable, costs, &maker, id) {
                read[made] = match read[made] {
                    Read::Not => Read::As(id),
                    Read::As(other) if other == id => Read::As(id),
                    Read::As(_) | Read::Variously => Read::Variously,
                };
            }
        }
    }
    let made = |index: usize| costs[index].as_ref().map_or(u64::MAX, |cost| cost.made);
    let mut kept: Vec<usize> = Vec::new();
    for (index, read) in read.into_iter().enumerate() {
        let view = match read {
            Read::Not => continue,
            Read::As(id) => maker[id.index()].filter(|view| made(*view) <= made(index)),
            Read::Variously => None,
        };
        kept.push(view.unwrap_or(index));
    }
    kept.sort_unstable();
    let most = foldable.bytes.saturating_mul(GROWTH);
    let mut bytes = 0u64;
    let kept = kept.into_iter().filter_map(|index| {
        let sum = bytes.saturating_add(made(index));
        (sum <= most).then(|| {
            bytes = sum;
            let id = graph.nodes[index].results[0];
            let name = format!("folded.{}", graph.value(id).name);
            Kept { id, name }
        })
    });
    kept.collect()
}

/// The node that computed from weights of 8 bits what a value is, or is a view of.
fn computed(
    graph: &Graph,
    foldable: &Foldable,
    costs: &[Option<Cost>],
    maker: &[Option<usize>],
    mut id: ValueId,
) -> Option<usize> {
    while foldable.of_bytes[id.index()] {
        let made = maker[id.index()]?;
        if costs[made].as_ref()?.kind != Kind::View {
            return Some(made);
        }
        id = graph.nodes[made].operands().next()?;
    }
    None
}

/// For each value, whether it is one of these, or something that can be computed needs it for them. What
/// is in `cut` needs nothing.
fn needed(
    graph: &Graph,
    foldable: &Foldable,
    values: impl Iterator<Item = ValueId>,
    cut: &[Kept],
) -> Vec<bool> {
    let mut needed = vec![false; graph.values.len()];
    values.for_each(|id| needed[id.index()] = true);
    let cut: HashSet<ValueId> = cut.iter().map(|kept| kept.id).collect();
    for node in graph.nodes.iter().rev().filter(|node| foldable.has(node)) {
        let mut results = node.results.iter();
        if results.any(|id| needed[id.index()] && !cut.contains(id)) {
            node.operands().for_each(|id| needed[id.index()] = true);
        }
    }
    needed
}

/// The program with slots for these values.
fn rest(program: &Program, foldable: &Foldable, kept: &[Kept]) -> Part {
    let graph = &program.graph;
    let others = graph.nodes.iter().filter(|node| !foldable.has(node));
    let read = others.flat_map(Node::operands);
    let returned = graph.outputs.iter().flat_map(Arg::values);
    let needed = needed(graph, foldable, read.chain(returned), kept);
    let mut part = PartBuilder::new(program, &program.name);
    for (slot, id) in graph.inputs.iter().enumerate() {
        if program.slots[slot].kind != SlotKind::Weight || needed[id.index()] {
            part.slot(slot);
        }
    }
    for Kept { id, name } in kept {
        part.fed(*id, name, SlotKind::Weight);
    }
    for (index, node) in graph.nodes.iter().enumerate() {
        let is_needed = |id: &ValueId| needed[id.index()] && !part.has(*id);
        if !foldable.has(node) || node.results.iter().any(is_needed) {
            part.node(index);
        }
    }
    for (output, arg) in program.outputs.iter().zip(&graph.outputs) {
        part.output_of_whole(output, arg);
    }
    part.finish()
}
