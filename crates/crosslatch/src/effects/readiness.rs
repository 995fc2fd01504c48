//! Caches that a predicate declares ready.
//!
//! Problem. A `cond` that either returns a cache as it is or computes it trusts its predicate. In a
//! fresh session the cache holds what the file has: zeros. If the predicate says "ready" then,
//! because a position does not start at 0 or a flag was set too early, the result is plausible and
//! wrong.
//!
//! Idea. Such a `cond` is recognised by its branches: one returns a state slot unchanged, or a clone
//! of it, and the other returns something else. If nothing else in the program writes the slot, then
//! it is an error to take the first branch in a session that has never taken the second. A slot that
//! is not zeros in the file is ready from the start.

use std::collections::{BTreeSet, HashMap};

use super::{Origins, Summary, node_effects, summarize};
use crate::ir::graph::{Arg, Graph, Node, Output, Program, SlotKind, ValueId};

/// A `cond` of which one branch needs what the other leaves in a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// Index of the `cond` among the nodes of the program.
    pub node: usize,
    /// The branch that needs the slot to be filled; the other one fills it.
    pub branch: usize,
    /// The slot.
    pub slot: usize,
}

/// Finds every such `cond` and slot.
pub fn readiness(program: &Program) -> Vec<Readiness> {
    let graph = &program.graph;
    let slots = graph.inputs.iter().enumerate();
    let slot_of: HashMap<ValueId, usize> = slots.map(|(slot, id)| (*id, slot)).collect();
    let writers = Writers::of(program);
    let mut found = BTreeSet::new();
    for (index, node) in graph.nodes.iter().enumerate().filter(|(_, n)| n.is_cond()) {
        let (Some(Arg::Values(operands)), [then, otherwise]) =
            (node.args.get(1), &node.regions[..])
        else {
            continue;
        };
        let branches = [then, otherwise].map(Branch::of);
        for (j, operand) in operands.iter().flatten().enumerate() {
            let Some(&slot) = slot_of.get(operand) else {
                continue;
            };
            let is_state = program.slots[slot].kind == SlotKind::State;
            if !is_state || writers.include_others(program, index, slot) {
                continue;
            }
            for result in 0..node.results.len() {
                let hands_back = branches.each_ref().map(|b| b.returns_unchanged(result, j));
                if hands_back[0] != hands_back[1] {
                    let branch = if hands_back[0] { 0 } else { 1 };
                    found.insert((index, branch, slot));
                }
            }
        }
    }
    let found = found.into_iter();
    found
        .map(|(node, branch, slot)| Readiness { node, branch, slot })
        .collect()
}

/// A branch of a `cond`, and what it does to its operands.
struct Branch<'g> {
    graph: &'g Graph,
    summary: Summary,
    /// For each clone in the branch, the value that it is a clone of.
    clones: HashMap<ValueId, ValueId>,
}

impl<'g> Branch<'g> {
    fn of(graph: &'g Graph) -> Branch<'g> {
        let clones = graph
            .nodes
            .iter()
            .filter(|n| n.op.schema.name == "aten::clone");
        let clones = clones.filter_map(|n| Some((*n.results.first()?, n.operands().next()?)));
        Branch {
            graph,
            summary: summarize(graph),
            clones: clones.collect(),
        }
    }

    /// Whether a result is operand `j` with its contents unchanged, or a clone of it.
    fn returns_unchanged(&self, result: usize, j: usize) -> bool {
        if self.summary.writes.contains(&j) {
            return false;
        }
        let origins = self.summary.returns.get(result);
        if origins.is_some_and(|origins| origins.contains(&j)) {
            return true;
        }
        let Some(Arg::Value(returned)) = self.graph.outputs.get(result) else {
            return false;
        };
        let of = self.clones.get(returned).copied();
        of.is_some() && of == self.graph.inputs.get(j).copied()
    }
}

/// For each slot, what writes it.
struct Writers {
    /// The nodes that write its memory.
    nodes: HashMap<usize, Vec<usize>>,
    /// The values that become its contents when the run ends.
    stored: HashMap<usize, Vec<Option<ValueId>>>,
}

impl Writers {
    fn of(program: &Program) -> Writers {
        let graph = &program.graph;
        let mut nodes: HashMap<usize, Vec<usize>> = HashMap::new();
        let mut origins: Vec<Origins> = vec![Origins::new(); graph.values.len()];
        for (i, input) in graph.inputs.iter().enumerate() {
            origins[input.index()].insert(i);
        }
        for (i, node) in graph.nodes.iter().enumerate() {
            let (results, written) = node_effects(node, &origins);
            for slot in written {
                nodes.entry(slot).or_default().push(i);
            }
            for (id, set) in node.results.iter().zip(results) {
                origins[id.index()] = set;
            }
        }
        let mut stored: HashMap<usize, Vec<Option<ValueId>>> = HashMap::new();
        for (output, value) in program.outputs.iter().zip(&graph.outputs) {
            if let Output::Mutation { slot } = output {
                let value = match value {
                    Arg::Value(id) => Some(*id),
                    _ => None,
                };
                stored.entry(*slot).or_default().push(value);
            }
        }
        Writers { nodes, stored }
    }

    /// Whether anything writes a slot other than this `cond` and a store of one of its results.
    fn include_others(&self, program: &Program, cond: usize, slot: usize) -> bool {
        let graph = &program.graph;
        let (index, cond) = (cond, &graph.nodes[cond]);
        let mut nodes = self.nodes.get(&slot).into_iter().flatten();
        let mut stored = self.stored.get(&slot).into_iter().flatten();
        let memory = graph.inputs[slot];
        nodes.any(|&i| i != index && !is_copy_of_own_result(&graph.nodes[i], cond, memory))
            || stored.any(|value| value.is_none_or(|value| !cond.results.contains(&value)))
    }
}

/// Whether a node copies a result of `cond` over the whole of `memory`.
fn is_copy_of_own_result(node: &Node, cond: &Node, memory: ValueId) -> bool {
    let mut operands = node.operands();
    node.op.schema.name == "aten::copy_"
        && operands.next() == Some(memory)
        && operands.next().is_some_and(|v| cond.results.contains(&v))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Catalogue;

    fn found(branches: &str, rest: &str) -> Vec<(usize, usize)> {
        let text = format!(
            "program model\ninput %x: f32[1, 1, 2, 2]\ninput %p: bool[1]\n\
             state %cache: f32[1, 1, 2, 2]\n\
             %k: f32[1, 1, 2, 2] = higher_order::cond(pred=%p, operands={{%cache, %x}}) {branches}\n\
             {rest}\n"
        );
        let program = crate::ir::parse::parse(&text, Catalogue::builtin()).unwrap();
        readiness(&program)
            .into_iter()
            .map(|r| (r.branch, r.slot))
            .collect()
    }

    const TYPES: &str = "(%c: f32[1, 1, 2, 2], %n: f32[1, 1, 2, 2])";
    const UPDATE: &str = "%u: f32[1, 1, 2, 2] = executorch::update_cross_attn_cache(value=%n, cache=%c)\n  return %u";

    #[test]
    fn one_branch_hands_back_and_the_other_fills() {
        let branches = format!("then{TYPES} {{\n  return %c\n}} else{TYPES} {{\n  {UPDATE}\n}}");
        assert_eq!(found(&branches, "return \"k\"=%k"), [(0, 2)]);
        let elsewhere = "%z: f32[1, 1, 2, 2] = aten::relu_(self=%cache)\nreturn \"k\"=%k";
        assert_eq!(found(&branches, elsewhere), []);
    }

    #[test]
    fn a_clone_that_is_stored_again_hands_back_too() {
        let clone = "%u: f32[1, 1, 2, 2] = aten::clone(self=%c)\n  return %u";
        let new = "%u: f32[1, 1, 2, 2] = aten::neg(self=%n)\n  return %u";
        let branches = format!("then{TYPES} {{\n  {new}\n}} else{TYPES} {{\n  {clone}\n}}");
        assert_eq!(found(&branches, "return @cache=%k, \"k\"=%k"), [(1, 2)]);
        assert_eq!(found(&branches, "return @cache=%x, \"k\"=%k"), []);
        let stored = |source| {
            format!("%z: f32[1, 1, 2, 2] = aten::copy_(self=%cache, src={source})\nreturn \"k\"=%k")
        };
        assert_eq!(found(&branches, &stored("%k")), [(1, 2)]);
        assert_eq!(found(&branches, &stored("%x")), []);
    }

    #[test]
    fn a_choice_between_computations_needs_nothing() {
        let sum = "%u: f32[1, 1, 2, 2] = aten::add.Tensor(self=%c, other=%n)\n  return %u";
        let new = "%u: f32[1, 1, 2, 2] = aten::neg(self=%n)\n  return %u";
        let branches = format!("then{TYPES} {{\n  {sum}\n}} else{TYPES} {{\n  {new}\n}}");
        assert_eq!(found(&branches, "return @cache=%k, \"k\"=%k"), []);
    }
}
