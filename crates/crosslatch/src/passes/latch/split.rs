//! Splitting a program in two.

use std::collections::HashMap;

use crate::ir::graph::{Arg, Graph, Node, Output, Program, Provenance, Slot, SlotKind, ValueId};
use crate::ops::Catalogue;

use super::costs::Cost;
use super::dependence::Fixed;
use super::frontier::Choice;
use super::{Latched, Part};

/// Splits a program at the values that are kept.
pub(super) fn split(
    program: &Program,
    fixed: &Fixed,
    costs: &[Option<Cost>],
    choice: Choice,
) -> Latched {
    let graph = &program.graph;
    let result = |index: usize| graph.nodes[index].results[0];
    let names: Vec<(ValueId, String)> = choice
        .kept
        .iter()
        .map(|&i| {
            (
                result(i),
                format!("latched.{}", graph.value(result(i)).name),
            )
        })
        .collect();
    let once = once(program, fixed, costs, &choice.kept, &names);
    let step = step(program, fixed, &names);
    let left = choice.left.into_iter().filter_map(|(i, why)| {
        let id = graph.nodes[i].results.first()?;
        Some((graph.value(*id).name.clone(), why))
    });
    Latched {
        once,
        step,
        left: left.collect(),
    }
}

/// The program that computes the kept values. They are contiguous, so that every step reads them in
/// order; the planner lets the computation write them there.
fn once(
    program: &Program,
    fixed: &Fixed,
    costs: &[Option<Cost>],
    kept: &[usize],
    names: &[(ValueId, String)],
) -> Part {
    let graph = &program.graph;
    let needs = names.iter().map(|(id, _)| *id);
    let is_check = |i: usize| fixed.node(i) && graph.nodes[i].results.is_empty();
    let used = used(graph, needs, is_check, &[]);
    let mut part = Builder::new(program, &format!("{}@once", program.name));
    for slot in 0..program.slots.len() {
        let is_fixed = fixed.value(graph.inputs[slot]);
        // A latched input that nothing here reads need not be given.
        if is_fixed && used[graph.inputs[slot].index()] {
            part.slot(slot);
        }
    }
    part.nodes(&used, is_check);
    for (&index, (id, name)) in kept.iter().zip(names) {
        let contiguous = costs[index].as_ref().is_none_or(|cost| cost.contiguous);
        part.output(*id, name, contiguous);
    }
    part.part
}

/// The program that every run does.
fn step(program: &Program, fixed: &Fixed, names: &[(ValueId, String)]) -> Part {
    let graph = &program.graph;
    let cut: Vec<ValueId> = names.iter().map(|(id, _)| *id).collect();
    let needs = graph.outputs.iter().flat_map(|arg| arg.values());
    // A fixed node is here only if something needs it; assertions about fixed values are in the
    // other part.
    let stays = |i: usize| !fixed.node(i);
    let used = used(graph, needs, stays, &cut);
    let mut part = Builder::new(program, &program.name);
    for slot in 0..program.slots.len() {
        // The caller gives all inputs at every step, whether this part reads them or not.
        if program.slots[slot].kind != SlotKind::Weight || used[graph.inputs[slot].index()] {
            part.slot(slot);
        }
    }
    for (id, name) in names {
        part.kept(*id, name);
    }
    part.nodes(&used, stays);
    let mut outputs = Vec::with_capacity(graph.outputs.len());
    for (output, arg) in program.outputs.iter().zip(&graph.outputs) {
        let output = match output {
            Output::Mutation { slot } => {
                match part.part.slots.iter().position(|s| *s == Some(*slot)) {
                    Some(slot) => Output::Mutation { slot },
                    None => continue,
                }
            }
            Output::User(name) => Output::User(name.clone()),
        };
        outputs.push(output);
        let arg = part.renamed(arg);
        part.part.program.graph.outputs.push(arg);
    }
    part.part.program.outputs = outputs;
    part.part
}

/// For each value, whether it is needed: because it is in `needs`, or by a node that `stays`. Values
/// in `cut` are available, and need nothing.
fn used(
    graph: &Graph,
    needs: impl Iterator<Item = ValueId>,
    stays: impl Fn(usize) -> bool,
    cut: &[ValueId],
) -> Vec<bool> {
    let mut used = vec![false; graph.values.len()];
    for id in needs {
        used[id.index()] = true;
    }
    for (index, node) in graph.nodes.iter().enumerate().rev() {
        let made = node
            .results
            .iter()
            .any(|id| used[id.index()] && !cut.contains(id));
        if made || stays(index) {
            node.operands().for_each(|id| used[id.index()] = true);
        }
    }
    used
}

/// A part that is being built.
struct Builder<'p> {
    whole: &'p Program,
    part: Part,
    /// The values of the whole program, by their ids in the part.
    ids: HashMap<ValueId, ValueId>,
}

impl<'p> Builder<'p> {
    fn new(whole: &'p Program, name: &str) -> Builder<'p> {
        let program = Program {
            name: name.to_owned(),
            symbols: whole.symbols.clone(),
            slots: Vec::new(),
            graph: Graph::default(),
            outputs: Vec::new(),
        };
        Builder {
            whole,
            part: Part {
                program,
                slots: Vec::new(),
            },
            ids: HashMap::new(),
        }
    }

    fn input(&mut self, id: ValueId, slot: Slot, from: Option<usize>) {
        let new = self.define(id);
        self.part.program.graph.inputs.push(new);
        self.part.program.slots.push(slot);
        self.part.slots.push(from);
    }

    fn slot(&mut self, index: usize) {
        let id = self.whole.graph.inputs[index];
        self.input(id, self.whole.slots[index].clone(), Some(index));
    }

    fn kept(&mut self, id: ValueId, name: &str) {
        let slot = Slot {
            name: name.to_owned(),
            kind: SlotKind::Latched,
        };
        self.input(id, slot, None);
    }

    fn define(&mut self, id: ValueId) -> ValueId {
        let value = self.whole.graph.value(id).clone();
        let new = self.part.program.graph.add_value(value.name, value.ty);
        self.ids.insert(id, new);
        new
    }

    /// Copies the nodes that define a value that is used and not available, and those that `stay`.
    fn nodes(&mut self, used: &[bool], stays: impl Fn(usize) -> bool) {
        for (index, node) in self.whole.graph.nodes.iter().enumerate() {
            let is_available = |id: &ValueId| self.ids.contains_key(id) || !used[id.index()];
            if !stays(index) && node.results.iter().all(is_available) {
                continue;
            }
            let args = node.args.iter().map(|arg| self.renamed(arg)).collect();
            let results = node.results.iter().map(|id| self.define(*id)).collect();
            self.part.program.graph.nodes.push(Node {
                args,
                results,
                ..node.clone()
            });
        }
    }

    fn output(&mut self, id: ValueId, name: &str, contiguous: bool) {
        let mut id = self.ids.get(&id).copied().unwrap_or(id);
        let clone = Catalogue::builtin().get("aten::clone");
        if let (false, Some(op)) = (contiguous, clone) {
            let ty = self.part.program.graph.value(id).ty.clone();
            let copy = self.part.program.graph.add_value(name, ty);
            self.part.program.graph.nodes.push(Node {
                op: op.clone(),
                args: vec![Arg::Value(id), Arg::None],
                regions: Vec::new(),
                results: vec![copy],
                provenance: Provenance::default(),
            });
            id = copy;
        }
        self.part.program.graph.outputs.push(Arg::Value(id));
        self.part
            .program
            .outputs
            .push(Output::User(name.to_owned()));
    }

    fn renamed(&self, arg: &Arg) -> Arg {
        let rename = |id: &ValueId| self.ids.get(id).copied().unwrap_or(*id);
        match arg {
            Arg::Value(id) => Arg::Value(rename(id)),
            Arg::Values(list) => {
                Arg::Values(list.iter().map(|id| id.as_ref().map(rename)).collect())
            }
            Arg::List(list) => Arg::List(list.iter().map(|arg| self.renamed(arg)).collect()),
            other => other.clone(),
        }
    }
}
