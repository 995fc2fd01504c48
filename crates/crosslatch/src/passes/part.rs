//! Programs that are made of a part of another one.
//!
//! A pass that cuts a program in several copies nodes from one graph to another, where values have other
//! indices and some of them come from outside. `PartBuilder` keeps the books: which value of the whole
//! is which of the part, and which slot of the whole each slot of the part is.

use std::collections::HashMap;

use crate::ir::graph::{Arg, Graph, Node, Output, Program, Provenance, Slot, SlotKind, ValueId};
use crate::ops::Catalogue;

/// A program that is a part of another one.
pub struct Part {
    /// The program.
    pub program: Program,
    /// For each of its slots, the slot of the whole program; `None` where it is a value of that.
    pub slots: Vec<Option<usize>>,
}

/// A part that is being built.
pub(super) struct PartBuilder<'p> {
    whole: &'p Program,
    part: Part,
    /// The values of the whole program, by their ids in the part.
    ids: HashMap<ValueId, ValueId>,
}

impl<'p> PartBuilder<'p> {
    /// A part of a program that has nothing yet but the symbols of sizes.
    pub fn new(whole: &'p Program, name: &str) -> PartBuilder<'p> {
        let program = Program {
            name: name.to_owned(),
            symbols: whole.symbols.clone(),
            slots: Vec::new(),
            graph: Graph::default(),
            outputs: Vec::new(),
        };
        PartBuilder {
            whole,
            part: Part {
                program,
                slots: Vec::new(),
            },
            ids: HashMap::new(),
        }
    }

    /// The program that this is a part of.
    pub fn whole(&self) -> &'p Program {
        self.whole
    }

    /// The part.
    pub fn finish(self) -> Part {
        self.part
    }

    /// Whether a value of the whole is defined in the part.
    pub fn has(&self, id: ValueId) -> bool {
        self.ids.contains_key(&id)
    }

    /// Adds a slot of the whole.
    pub fn slot(&mut self, index: usize) {
        let id = self.whole.graph.inputs[index];
        self.input(id, self.whole.slots[index].clone(), Some(index));
    }

    /// Adds a slot that is fed with a value of the whole.
    pub fn fed(&mut self, id: ValueId, name: &str, kind: SlotKind) {
        let name = name.to_owned();
        self.input(id, Slot { name, kind }, None);
    }

    fn input(&mut self, id: ValueId, slot: Slot, from: Option<usize>) {
        let new = self.define(id);
        self.part.program.graph.inputs.push(new);
        self.part.program.slots.push(slot);
        self.part.slots.push(from);
    }

    /// Defines a value of the whole in the part. From here on, the last definition counts.
    fn define(&mut self, id: ValueId) -> ValueId {
        let value = self.whole.graph.value(id).clone();
        let new = self.part.program.graph.add_value(value.name, value.ty);
        self.ids.insert(id, new);
        new
    }

    /// Lets a value of the whole be another one, which the part has.
    pub fn is_same(&mut self, id: ValueId, other: ValueId) {
        if let Some(new) = self.ids.get(&other).copied() {
            self.ids.insert(id, new);
        }
    }

    /// Copies a node.
    pub fn node(&mut self, index: usize) {
        let node = &self.whole.graph.nodes[index];
        let args = node.args.iter().map(|arg| self.renamed(arg)).collect();
        let results = node.results.iter().map(|id| self.define(*id)).collect();
        self.part.program.graph.nodes.push(Node {
            args,
            results,
            ..node.clone()
        });
    }

    /// Returns a value under this name.
    pub fn output(&mut self, id: ValueId, name: &str) {
        let id = self.ids.get(&id).copied().unwrap_or(id);
        let output = Output::User(name.to_owned());
        self.part.program.graph.outputs.push(Arg::Value(id));
        self.part.program.outputs.push(output);
    }

    /// Returns a contiguous copy of a value under this name.
    pub fn output_clone(&mut self, id: ValueId, name: &str) {
        let Some(op) = Catalogue::builtin().get("aten::clone") else {
            return self.output(id, name);
        };
        let graph = &mut self.part.program.graph;
        let from = self.ids.get(&id).copied().unwrap_or(id);
        let copy = graph.add_value(name, graph.value(from).ty.clone());
        graph.nodes.push(Node {
            op: op.clone(),
            args: vec![Arg::Value(from), Arg::None],
            regions: Vec::new(),
            results: vec![copy],
            provenance: Provenance::default(),
        });
        graph.outputs.push(Arg::Value(copy));
        self.part
            .program
            .outputs
            .push(Output::User(name.to_owned()));
    }

    /// Returns what the whole returns here. The new contents of a slot that the part does not have are
    /// left out.
    pub fn output_of_whole(&mut self, output: &Output, value: &Arg) {
        let output = match output {
            Output::Mutation { slot } => {
                match self.part.slots.iter().position(|s| *s == Some(*slot)) {
                    Some(slot) => Output::Mutation { slot },
                    None => return,
                }
            }
            Output::User(name) => Output::User(name.clone()),
        };
        self.part.program.outputs.push(output);
        let value = self.renamed(value);
        self.part.program.graph.outputs.push(value);
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
